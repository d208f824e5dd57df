//! The one thread that writes: it takes everything that is pending into one commit.

use std::{io, path::Path, sync::Arc, thread};

use jiff::{Span, civil::Date};
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::{
    Entry, Error, Position, Shared,
    chunk::Chunk,
    day::{self, Day},
    held,
};
use crate::clock::{Clock, Time};

/// One commit takes no more appends once it has so many bytes.
const COMMIT_BYTES: usize = 4 << 20;

/// What the writer can be asked.
pub(super) enum Command {
    Append { entries: Vec<Entry>, bytes: usize, done: oneshot::Sender<Result<Position, Error>> },
    Retain { unread: Position, done: oneshot::Sender<Result<usize, Error>> },
    Close { done: oneshot::Sender<Result<(), Error>> },
}

/// The file that is written now.
pub(super) struct Log {
    date: Date,
    /// None after a failure: the file is opened anew, and its end read, before the next commit.
    pub(super) connection: Option<Connection>,
}

impl Log {
    /// Opens all files of `dir`, and today's for writing. Returns the log's end too.
    pub(super) fn open(dir: &Path, clock: &Clock) -> Result<(Vec<Day>, Log, Position), Error> {
        let mut dates = day::dates(dir)?;
        // A clock that was set back never makes the log write into an older file.
        let date = dates.last().copied().unwrap_or(Date::ZERO).max(day::date(clock.now()));
        dates.retain(|known| *known != date);
        let mut end = Position(0);
        let mut days = Vec::new();
        for known in dates {
            let (day, _connection, day_end) = Day::open(dir, known, end)?;
            end = end.max(day_end);
            days.push(day);
        }
        let (day, connection, day_end) = Day::open(dir, date, end)?;
        days.push(day);
        Ok((days, Log { date, connection: Some(connection) }, end.max(day_end)))
    }

    /// Makes the chunks durable, in the file that [`Log::file`] opened.
    fn insert(&mut self, shared: &Shared, chunks: &[Chunk], now: Time) -> Result<(), Error> {
        day::insert(self.file(shared, self.date)?, chunks, now).map_err(|error| {
            let error = Error::database("append")(error);
            // A full disk leaves the connection whole; after any other failure it is not trusted.
            if !matches!(error, Error::Full) {
                self.connection = None;
            }
            error
        })
    }

    /// The connection to the file of `today`: a new day begins a new file.
    fn file(&mut self, shared: &Shared, today: Date) -> Result<&mut Connection, Error> {
        if today > self.date {
            self.connection = None;
        }
        let date = self.date.max(today);
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => {
                let (day, connection, end) = Day::open(&shared.dir, date, *shared.end.borrow())?;
                if end > *shared.end.borrow() {
                    // A commit that was reported failed survived: memory does not have it.
                    held(&shared.recent).purge();
                    shared.advance(end);
                }
                let mut days = held(&shared.days);
                if days.last().is_none_or(|last| last.date < day.date) {
                    days.push(day);
                }
                connection
            }
        };
        self.date = date;
        Ok(self.connection.insert(connection))
    }

    /// Removes the files before `today` minus what is kept, up to the first with unread records.
    fn retain(&mut self, shared: &Shared, today: Date, unread: Position) -> Result<usize, Error> {
        // Today's file, even if empty, holds the log's end when all others are gone.
        self.file(shared, today)?;
        let oldest = self.date.saturating_sub(Span::new().days(i64::from(shared.keep_days.min(36_500))));
        let mut removed = 0;
        loop {
            let mut days = held(&shared.days);
            let [first, second, ..] = days.as_slice() else { break };
            if first.date >= oldest || second.base > unread {
                break;
            }
            let gone = days.remove(0);
            drop(days);
            held(&shared.reader).take_if(|(path, _)| *path == gone.path);
            for suffix in ["-wal", "-shm", ""] {
                let mut path = gone.path.clone().into_os_string();
                path.push(suffix);
                match std::fs::remove_file(&path) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => {
                        held(&shared.days).insert(0, gone);
                        return Err(Error::directory(path.as_ref())(error));
                    }
                    _ => {}
                }
            }
            removed += 1;
        }
        Ok(removed)
    }
}

/// Starts the thread; it ends when it is told to, or when nobody can ask it any more.
pub(super) fn start(shared: Arc<Shared>, log: Log, clock: Clock, commands: mpsc::Receiver<Command>) -> io::Result<()> {
    thread::Builder::new().name("bus-writer".into()).spawn(move || run(&shared, log, &clock, commands))?;
    Ok(())
}

fn run(shared: &Shared, mut log: Log, clock: &Clock, mut commands: mpsc::Receiver<Command>) {
    while let Some(command) = commands.blocking_recv() {
        let mut group = Group::default();
        let mut last = Some(command);
        while let Some(Command::Append { entries, bytes, done }) = last {
            group.add(Append { entries, done }, bytes);
            last = if group.bytes < COMMIT_BYTES { commands.try_recv().ok() } else { None };
        }
        group.commit(&mut log, shared, clock);
        match last {
            Some(Command::Retain { unread, done }) => {
                answer(done, log.retain(shared, day::date(clock.now()), unread));
            }
            Some(Command::Close { done }) => {
                // Closing the file before the answer: who waits may open it again.
                drop(log);
                commands.close();
                return answer(done, Ok(()));
            }
            _ => {}
        }
    }
}

/// The appends of one commit.
#[derive(Default)]
struct Group {
    appends: Vec<Append>,
    bytes: usize,
}

struct Append {
    entries: Vec<Entry>,
    done: oneshot::Sender<Result<Position, Error>>,
}

impl Group {
    fn add(&mut self, append: Append, bytes: usize) {
        self.appends.push(append);
        self.bytes += bytes;
    }

    fn commit(self, log: &mut Log, shared: &Shared, clock: &Clock) {
        if self.appends.is_empty() {
            return;
        }
        match self.make_durable(log, shared, clock) {
            Ok(first) => {
                let mut next = first;
                for append in self.appends {
                    next.0 += i64::try_from(append.entries.len()).unwrap_or(0);
                    answer(append.done, Ok(next));
                }
            }
            Err(error) => {
                shared.metrics.failed_commits.inc();
                tracing::error!(error = &error as &dyn std::error::Error, "an append to the log failed");
                self.appends.into_iter().for_each(|append| answer(append.done, Err(error.clone())));
            }
        }
    }

    /// Commits all records and shows them to the readers. Returns the first one's position.
    fn make_durable(&self, log: &mut Log, shared: &Shared, clock: &Clock) -> Result<Position, Error> {
        let now = clock.now();
        // First, for opening a file may find that the log ends later than was known.
        log.file(shared, day::date(now))?;
        let first = *shared.end.borrow();
        let chunks = self.chunks(first);
        let purges = held(&shared.recent).purges;
        let timer = shared.metrics.commit_seconds.start_timer();
        if let Err(error) = log.insert(shared, &chunks, now) {
            timer.stop_and_discard();
            return Err(error);
        }
        timer.observe_duration();
        let next = chunks.last().map_or(first, Chunk::next);
        shared.metrics.appended_records.inc_by(u64::try_from(next.0 - first.0).unwrap_or(0));
        shared.metrics.appended_bytes.inc_by(u64::try_from(self.bytes).unwrap_or(0));
        held(&shared.recent).publish(chunks, purges);
        shared.advance(next);
        Ok(first)
    }

    fn chunks(&self, first: Position) -> Vec<Chunk> {
        let mut chunks = Vec::new();
        let mut chunk = Chunk::new(first);
        for entry in self.appends.iter().flat_map(|append| &append.entries) {
            chunk.push(Some(&entry.bytes));
            if chunk.is_full() {
                let next = Chunk::new(chunk.next());
                chunks.push(std::mem::replace(&mut chunk, next));
            }
        }
        chunks.extend(Some(chunk).filter(|chunk| chunk.count > 0));
        chunks
    }
}

/// Answers; who asked may have gone away.
fn answer<T>(done: oneshot::Sender<Result<T, Error>>, result: Result<T, Error>) {
    let _gone = done.send(result);
}
