//! The embedded log: SQLite files on this machine, one a day, so that retention unlinks a file
//! (`docs/adr/0001-bus-on-sqlite-files.md`).
//!
//! It has one partition, number 0. What is appended at the same time becomes one commit; the newest
//! records stay in memory for readers that keep up.

mod chunk;
mod day;
mod erase;
mod reader;
mod recent;
mod snapshot;
#[cfg(test)]
mod tests;
mod writer;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rusqlite::Connection;
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::spawn_blocking,
};

use super::{Entry, Error, MAX_APPEND_BYTES, Metrics, Position, Record};
use crate::clock::Clock;

use self::{day::Day, recent::Recent, writer::Command};

pub(super) use self::{day::FORMAT, reader::Reader};

/// Appends that may wait for the writer; more of them wait outside, which slows the connectors down.
const PENDING_APPENDS: usize = 64;

/// What one read gives: at least one record, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Read {
    records: Vec<Record>,
    /// Where to read on.
    next: Position,
    /// Numbers between the position that was asked for and the first record: retention took them.
    skipped: u64,
}

/// The log; clones are handles to the same one.
#[derive(Clone)]
pub struct Embedded {
    shared: Arc<Shared>,
    commands: mpsc::Sender<Command>,
}

/// Nothing is taken out of the log while this is held.
pub struct Whole {
    _held: tokio::sync::OwnedMutexGuard<()>,
}

/// What the writer thread and the readers both see.
struct Shared {
    dir: PathBuf,
    keep_days: u32,
    metrics: Metrics,
    /// Everything before it is durable.
    end: watch::Sender<Position>,
    /// The files, oldest first; never empty.
    days: Mutex<Vec<Day>>,
    recent: Mutex<Recent>,
    /// The connection of the last read from the disk, and the file it is open on.
    reader: Mutex<Option<(PathBuf, Connection)>>,
    /// Held by whoever takes records out, or copies the files and needs them whole.
    erasing: Arc<tokio::sync::Mutex<()>>,
}

impl Shared {
    /// Moves the end forward, never back; says whether it moved.
    fn advance(&self, to: Position) -> bool {
        let moved = *self.end.borrow() < to
            && self.end.send_if_modified(|end| {
                let behind = *end < to;
                *end = to.max(*end);
                behind
            });
        if moved {
            self.metrics.end.set(to.0);
        }
        moved
    }
}

impl Embedded {
    /// Opens the log in `dir`, which is made if it is not there, with `cache_bytes` of memory for the newest
    /// records. Blocks; call it at start only.
    ///
    /// # Errors
    /// When the directory or one of its files cannot be used.
    pub fn open(dir: &Path, keep_days: u32, cache_bytes: usize, clock: Clock, metrics: Metrics) -> Result<Embedded, Error> {
        std::fs::create_dir_all(dir).map_err(Error::directory(dir))?;
        let (days, log, end) = writer::Log::open(dir, &clock)?;
        metrics.end.set(end.0);
        let shared = Arc::new(Shared {
            dir: dir.to_owned(),
            recent: Mutex::new(Recent::new(cache_bytes)),
            keep_days,
            metrics,
            end: watch::Sender::new(end),
            days: Mutex::new(days),
            reader: Mutex::new(None),
            erasing: Arc::default(),
        });
        let (commands, receiver) = mpsc::channel(PENDING_APPENDS);
        writer::start(Arc::clone(&shared), log, clock, receiver).map_err(Error::directory(dir))?;
        Ok(Embedded { shared, commands })
    }

    /// Appends the entries, one after the other, and returns when they are durable: the position after
    /// the last of them. Waits while the writer is behind. What many callers append at once becomes one
    /// commit. A caller that is cancelled here does not know whether its records were appended.
    ///
    /// # Errors
    /// A retryable one when the disk fails; nothing is appended then.
    pub async fn append(&self, entries: Vec<Entry>) -> Result<Position, Error> {
        let bytes = entries.iter().map(|entry| entry.bytes.len()).sum();
        if bytes > MAX_APPEND_BYTES {
            return Err(Error::TooLarge { bytes });
        }
        let (done, answer) = oneshot::channel();
        self.ask(Command::Append { entries, bytes, done }, answer).await
    }

    /// Reads up to `max` records from `from` on, fewer if they are large; waits until there is one. May be
    /// cancelled at any time.
    ///
    /// A position older than [`Embedded::start`] goes on at the oldest record that is kept, and
    /// [`Read::skipped`] says so. A position past the end makes the log go on from there.
    ///
    /// # Errors
    /// When the disk fails, or the log was closed and is read to its end.
    async fn read(&self, from: Position, max: usize) -> Result<Read, Error> {
        self.go_on_from(from);
        let mut ends = self.shared.end.subscribe();
        let mut at = from;
        loop {
            let end = *ends.borrow_and_update();
            if at < end {
                let records = self.records(at, max.max(1)).await?;
                if let (Some(first), Some(last)) = (records.first(), records.last()) {
                    let skipped = u64::try_from(first.position.0 - from.0).unwrap_or(0);
                    self.shared.metrics.skipped.inc_by(skipped);
                    return Ok(Read { next: Position(last.position.0 + 1), records, skipped });
                }
                at = end;
            }
            // The writer publishes before it ends, so news win over the end.
            tokio::select! {
                biased;
                news = ends.changed() => news.map_err(|_gone| Error::Closed)?,
                () = self.commands.closed() => return Err(Error::Closed),
            }
        }
    }

    /// Makes sure that the next record gets number `at` or a later one. To be called with each consumer's
    /// stored position before anything is appended: a log restored from an older copy, or on a disk that
    /// lied about a write, may end before what a consumer has handled, and numbers must never be used twice.
    pub fn go_on_from(&self, at: Position) {
        if self.shared.advance(at) {
            tracing::warn!(position = at.0, "the log ended before its reader's position, it goes on from there");
        }
    }

    /// The position after the last record.
    pub fn end(&self) -> Position {
        *self.shared.end.borrow()
    }

    /// The oldest position that is kept.
    pub fn start(&self) -> Position {
        held(&self.shared.days).first().map_or(Position(0), |day| day.base)
    }

    /// Takes out every record of the posts, which are pairs of source and native id, and returns how many
    /// there were. The records keep their places. When this returns, neither the files nor their journals
    /// hold the text.
    ///
    /// # Errors
    /// When the disk fails or a reader holds a file for seconds; calling it again goes on.
    pub async fn erase(&self, posts: &[(String, String)]) -> Result<usize, Error> {
        if posts.is_empty() {
            return Ok(0);
        }
        let posts = erase::Posts::new(posts)?;
        let (shared, alone) = (Arc::clone(&self.shared), self.keep_whole().await);
        let erased = blocking(move || erase::erase(&shared, &posts, &alone)).await?;
        self.shared.metrics.erased.inc_by(u64::try_from(erased).unwrap_or(0));
        Ok(erased)
    }

    /// Removes the days that are older than the configuration keeps, up to the first that has records at
    /// or after `unread`: the least position of all consumers. Returns how many days went.
    ///
    /// # Errors
    /// When a file cannot be removed.
    pub async fn retain(&self, unread: Position) -> Result<usize, Error> {
        let (done, answer) = oneshot::channel();
        self.ask(Command::Retain { unread, done }, answer).await
    }

    /// Has whoever erases wait until what this returns is dropped: a copy of the store that is taken meanwhile and
    /// a later copy of the log agree about which posts there were.
    pub async fn keep_whole(&self) -> Whole {
        Whole { _held: Arc::clone(&self.shared.erasing).lock_owned().await }
    }

    /// Copies the log's files into the directory `to` while others append; returns their names.
    ///
    /// # Errors
    /// When a file cannot be read or written; [`Error::Full`] when there is no space.
    pub async fn snapshot(&self, to: &Path, _whole: &Whole) -> Result<Vec<String>, Error> {
        let (shared, to) = (Arc::clone(&self.shared), to.to_owned());
        blocking(move || snapshot::copy(&shared.dir, &to)).await
    }

    /// Copies the files of a log that nobody has open. Blocks.
    ///
    /// # Errors
    /// Those of [`Embedded::snapshot`].
    pub fn copy_closed(dir: &Path, to: &Path) -> Result<Vec<String>, Error> {
        snapshot::copy(dir, to)
    }

    /// The writer runs.
    pub(super) fn healthy(&self) -> Result<(), String> {
        if self.commands.is_closed() { Err("the log is closed".to_owned()) } else { Ok(()) }
    }

    /// Ends the writer after what was appended before; later appends fail with [`Error::Closed`].
    pub async fn close(&self) {
        let (done, answer) = oneshot::channel();
        // An error says that it is closed already.
        let _closed = self.ask(Command::Close { done }, answer).await;
        held(&self.shared.reader).take();
    }

    async fn ask<T>(&self, command: Command, answer: oneshot::Receiver<Result<T, Error>>) -> Result<T, Error> {
        self.commands.send(command).await.map_err(|_closed| Error::Closed)?;
        answer.await.unwrap_or(Err(Error::Closed))
    }

    async fn records(&self, from: Position, max: usize) -> Result<Vec<Record>, Error> {
        if let Some(records) = held(&self.shared.recent).records(from, max) {
            self.shared.metrics.cache_hits.inc();
            return Ok(records);
        }
        self.shared.metrics.disk_reads.inc();
        let shared = Arc::clone(&self.shared);
        blocking(move || day::records(&shared, from, max)).await
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Error> + Send + 'static) -> Result<T, Error> {
    // A task that cannot be joined panicked or the runtime stops: the log is of no use any more.
    spawn_blocking(work).await.unwrap_or(Err(Error::Closed))
}

/// Locks, also after a panic elsewhere: nothing here is left half-changed by one.
fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
