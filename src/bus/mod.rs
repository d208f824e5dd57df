//! The durable log of mentions: connectors append to it, the pipeline reads from it.
//!
//! Records are bytes with a number each, its [`Position`]. An append returns when its records are on
//! the disk, so a connector may commit its cursor then; every consumer keeps its own position and may
//! read again from any that is kept. Underneath are SQLite files, one a day, so that retention unlinks
//! a file (`docs/adr/0001-bus-on-sqlite-files.md`).
//!
//! **Invariant**: nothing is readable before it is durable
//! (`docs/adr/0002-no-read-before-fsync.md`).

mod chunk;
mod day;
mod erase;
mod recent;
#[cfg(test)]
mod tests;
mod writer;

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rusqlite::{Connection, ErrorCode};
use serde::{Deserialize, Serialize};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::spawn_blocking,
};

use crate::{clock::Clock, metrics::DELAY_SECONDS};

use self::{day::Day, recent::Recent, writer::Command};

/// Appends that may wait for the writer; more of them wait outside, which slows the connectors down.
const PENDING_APPENDS: usize = 64;

/// The most bytes one append may have; far above any page of mentions.
const MAX_APPEND_BYTES: usize = 64 << 20;

/// Number of a record in the log; the first one has number 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Position(pub i64);

/// One record of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its number.
    pub position: Position,
    /// What was appended; empty when it was erased.
    pub bytes: Vec<u8>,
    /// Its text was taken out by [`Bus::erase`]; only its place is left.
    pub erased: bool,
}

/// What one read gives: at least one record, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The records.
    pub records: Vec<Record>,
    /// Where to read on.
    pub next: Position,
    /// Numbers between the position that was asked for and the first record: retention took them.
    pub skipped: u64,
}

/// The `[bus]` section of the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Whole days that are kept besides today; a day that is not read to its end stays longer.
    pub keep_days: u32,
    /// Memory for the newest records, which consumers read without touching the disk.
    pub cache_bytes: usize,
}

/// Why the log could not do it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The disk is full; nothing of the append was kept.
    #[error("no space is left for the log")]
    Full,
    /// The database under the log failed; nothing of the append was kept.
    #[error("the log could not {doing}")]
    Database {
        /// What it was doing.
        doing: &'static str,
        /// What SQLite said; shared by all appends of one commit.
        #[source]
        source: Arc<rusqlite::Error>,
    },
    /// The directory cannot be used.
    #[error("the log's directory {} cannot be used", path.display())]
    Directory {
        /// Which one.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: Arc<io::Error>,
    },
    /// The file is not one of this program's logs, or a later version wrote it.
    #[error("{} has log format {found}, this version reads {}", path.display(), day::FORMAT)]
    Format {
        /// Which file.
        path: PathBuf,
        /// Its format.
        found: i64,
    },
    /// One append was larger than the log takes.
    #[error("an append of {bytes} bytes is more than {MAX_APPEND_BYTES}")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// Too many keys to erase at once.
    #[error("these are too many keys to erase at once")]
    TooManyKeys,
    /// The log was closed.
    #[error("the log is closed")]
    Closed,
}

impl Error {
    /// Whether the same call may succeed later.
    pub fn is_retryable(&self) -> bool {
        match self {
            Error::Full | Error::Directory { .. } => true,
            Error::Database { source, .. } => {
                !matches!(source.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
            }
            Error::Format { .. } | Error::TooLarge { .. } | Error::TooManyKeys | Error::Closed => false,
        }
    }

    /// Turns what SQLite said into ours, for use in `map_err`.
    fn database(doing: &'static str) -> impl Fn(rusqlite::Error) -> Error {
        move |source| match source.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Error::Full,
            _ => Error::Database { doing, source: Arc::new(source) },
        }
    }

    fn directory(path: &Path) -> impl Fn(io::Error) -> Error + '_ {
        move |source| Error::Directory { path: path.to_owned(), source: Arc::new(source) }
    }
}

crate::metrics! {
    /// What the log counts.
    pub struct Metrics {
        /// Records made durable.
        appended_records: IntCounter = "moksori_bus_appended_records_total",
        /// Bytes of the records made durable.
        appended_bytes: IntCounter = "moksori_bus_appended_bytes_total",
        /// Commits that failed; their appends were told to try again. Worry when it grows: the disk is full or broken.
        failed_commits: IntCounter = "moksori_bus_failed_commits_total",
        /// How long one commit took with its fsync; its count is the number of commits.
        commit_seconds: Histogram = "moksori_bus_commit_seconds" (DELAY_SECONDS),
        /// Reads served from memory.
        cache_hits: IntCounter = "moksori_bus_cache_hits_total",
        /// Reads served from the disk: a consumer catches up. Worry when it grows all the time.
        disk_reads: IntCounter = "moksori_bus_disk_reads_total",
        /// Numbers a consumer asked for too late: retention had taken them.
        skipped: IntCounter = "moksori_bus_skipped_total",
        /// Records whose text was erased.
        erased: IntCounter = "moksori_bus_erased_records_total",
        /// The number the next record gets; minus the pipeline's position it is the backlog.
        end: IntGauge = "moksori_bus_end_position",
    }
}

/// The log; clones are handles to the same one.
#[derive(Clone)]
pub struct Bus {
    shared: Arc<Shared>,
    commands: mpsc::Sender<Command>,
}

/// What the writer thread and the readers both see.
struct Shared {
    dir: PathBuf,
    config: Config,
    metrics: Metrics,
    /// Everything before it is durable.
    end: watch::Sender<Position>,
    /// The files, oldest first; never empty.
    days: Mutex<Vec<Day>>,
    recent: Mutex<Recent>,
    /// The connection of the last read from the disk, and the file it is open on.
    reader: Mutex<Option<(PathBuf, Connection)>>,
    erasing: Mutex<()>,
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

impl Bus {
    /// Opens the log in `dir`, which is made if it is not there. Blocks; call it at start only.
    ///
    /// # Errors
    /// When the directory or one of its files cannot be used.
    pub fn open(dir: &Path, config: Config, clock: Clock, metrics: Metrics) -> Result<Bus, Error> {
        std::fs::create_dir_all(dir).map_err(Error::directory(dir))?;
        let (days, log, end) = writer::Log::open(dir, &clock)?;
        metrics.end.set(end.0);
        let shared = Arc::new(Shared {
            dir: dir.to_owned(),
            recent: Mutex::new(Recent::new(config.cache_bytes)),
            config,
            metrics,
            end: watch::Sender::new(end),
            days: Mutex::new(days),
            reader: Mutex::new(None),
            erasing: Mutex::new(()),
        });
        let (commands, receiver) = mpsc::channel(PENDING_APPENDS);
        writer::start(Arc::clone(&shared), log, clock, receiver).map_err(Error::directory(dir))?;
        Ok(Bus { shared, commands })
    }

    /// Appends the records, one after the other, and returns when they are durable: the position after
    /// the last of them. Waits while the writer is behind. What many callers append at once becomes one
    /// commit. A caller that is cancelled here does not know whether its records were appended.
    ///
    /// # Errors
    /// A retryable one when the disk fails; nothing is appended then.
    pub async fn append(&self, records: Vec<Vec<u8>>) -> Result<Position, Error> {
        let bytes = records.iter().map(Vec::len).sum();
        if bytes > MAX_APPEND_BYTES {
            return Err(Error::TooLarge { bytes });
        }
        let (done, answer) = oneshot::channel();
        self.ask(Command::Append { records, bytes, done }, answer).await
    }

    /// Reads up to `max` records from `from` on, fewer if they are large; waits until there is one. May be
    /// cancelled at any time.
    ///
    /// A position older than [`Bus::start`] goes on at the oldest record that is kept, and
    /// [`Batch::skipped`] says so. A position past the end makes the log go on from there.
    ///
    /// # Errors
    /// When the disk fails, or the log was closed and is read to its end.
    pub async fn read(&self, from: Position, max: usize) -> Result<Batch, Error> {
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
                    return Ok(Batch { next: Position(last.position.0 + 1), records, skipped });
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

    /// x
    pub fn healthy(&self) -> Result<(), String> { Ok(()) }

    /// The position after the last record.
    pub fn end(&self) -> Position {
        *self.shared.end.borrow()
    }

    /// The oldest position that is kept.
    pub fn start(&self) -> Position {
        held(&self.shared.days).first().map_or(Position(0), |day| day.base)
    }

    /// Takes the text out of every record that contains one of `keys`, and returns how many there were. A
    /// key is a fragment of JSON as it was appended, such as `"native_id":"41"`. The records keep their
    /// places. When this returns, neither the files nor their journals hold the text.
    ///
    /// # Errors
    /// When the disk fails or a reader holds a file for seconds; calling it again goes on.
    pub async fn erase(&self, keys: &[String]) -> Result<usize, Error> {
        if keys.is_empty() {
            return Ok(0);
        }
        let pattern = erase::pattern(keys)?;
        let shared = Arc::clone(&self.shared);
        let erased = blocking(move || erase::erase(&shared, &pattern)).await?;
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
