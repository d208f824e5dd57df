//! The durable log of mentions: connectors append to it, the pipeline reads from it.
//!
//! Records are bytes with a number each, its [`Position`], in one or more partitions; what belongs to one
//! conversation is in one partition and stays in order. An append returns when its records are durable, so
//! a connector may commit its cursor then. A [`Reader`] goes on where the store says that it stands.
//!
//! **Invariant**: nothing is readable before it is durable
//! (`docs/adr/0002-no-read-before-fsync.md`).

mod embedded;

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use futures_util::future::BoxFuture;
use rusqlite::ErrorCode;
use serde::{Deserialize, Serialize};

use crate::{
    clock::Clock,
    mention::{Envelope, Mark},
    metrics::DELAY_SECONDS,
};

pub use self::embedded::Embedded;

/// The most bytes one append may have; far above any page of mentions.
const MAX_APPEND_BYTES: usize = 64 << 20;

/// Number of a record in the log; the first one has number 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Position(pub i64);

/// What a log carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topic {
    /// Mentions on their way to their cases.
    Mentions,
    /// What could not be handled: a relay of the store's dead letters.
    Dead,
    /// What happened to cases: a relay of the store's events.
    CaseEvents,
}

impl Topic {
    /// The word for it in metrics and in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Topic::Mentions => "mentions",
            Topic::Dead => "dead",
            Topic::CaseEvents => "case_events",
        }
    }
}

/// What is appended: one record and where it goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// Which post it is about: source/native_id.
    pub key: String,
    /// What the partition is chosen by: all that shares it stays in order.
    pub thread: String,
    /// The record.
    pub bytes: Vec<u8>,
}

impl Entry {
    /// A mention as it is appended.
    ///
    /// # Errors
    /// When it cannot be written as JSON, which no mention is known to do.
    pub fn of(envelope: &Envelope) -> Result<Entry, serde_json::Error> {
        Ok(Entry { key: envelope.key(), thread: envelope.thread(), bytes: serde_json::to_vec(envelope)? })
    }
}

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

/// What one read gives: at least one record, all of one partition and in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Which partition.
    pub part: i64,
    /// What the store held before it, for the compare-and-set; the records may start later, or belong to
    /// another log.
    pub from: Mark,
    /// What the store holds after it.
    pub to: Mark,
    /// The records.
    pub records: Vec<Record>,
    /// Records that were gone when the reader came for them.
    pub skipped: u64,
}

/// Where the store says that the consumer of a partition stands; asked whenever a reader takes one over.
pub type Marks = Arc<dyn Fn(i64) -> BoxFuture<'static, Result<Mark, String>> + Send + Sync>;

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
    #[error("{} has log format {found}, this version reads {}", path.display(), embedded::FORMAT)]
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
    /// Too many posts to erase at once.
    #[error("these are too many posts to erase at once")]
    TooManyKeys,
    /// The store could not say where the reader stands.
    #[error("the reader's position could not be had: {0}")]
    Marks(String),
    /// The log was closed.
    #[error("the log is closed")]
    Closed,
}

impl Error {
    /// Whether the same call may succeed later.
    pub fn is_retryable(&self) -> bool {
        match self {
            Error::Full | Error::Directory { .. } | Error::Marks(_) => true,
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

/// The log.
pub enum Bus {
    /// On this machine, in the data directory.
    Embedded(Embedded),
}

/// The log's one consumer in this process.
pub enum Reader {
    /// Of the log on this machine.
    Embedded(embedded::Reader),
}

impl Bus {
    /// Opens the log that `config` chooses; the embedded one lives in `dir`. Blocks; call it at start only.
    ///
    /// # Errors
    /// When it cannot be used, with the remedy.
    pub fn open(dir: &Path, config: Config, clock: Clock, metrics: Metrics) -> Result<Bus, Error> {
        Embedded::open(dir, config.keep_days, config.cache_bytes, clock, metrics).map(Bus::Embedded)
    }

    /// Appends the entries and returns when they are durable; those of one thread stay in order. Waits while
    /// the log is behind. A caller that is cancelled here does not know whether they were appended.
    ///
    /// # Errors
    /// A retryable one when the disk or the broker fails; what was appended then may be appended again.
    pub async fn append(&self, entries: Vec<Entry>) -> Result<(), Error> {
        match self {
            Bus::Embedded(log) => log.append(entries).await.map(|_end| ()),
        }
    }

    /// Appends to a topic other than the mentions'; the embedded log has none, and nobody reads there.
    ///
    /// # Errors
    /// A retryable one when the broker fails; what was published then may be published again.
    pub async fn publish(&self, _topic: Topic, _entries: Vec<Entry>) -> Result<(), Error> {
        match self {
            Bus::Embedded(_) => Ok(()),
        }
    }

    /// The log of this machine, if it is one.
    pub fn embedded(&self) -> Option<&Embedded> {
        match self {
            Bus::Embedded(log) => Some(log),
        }
    }

    /// A consumer of the mentions that goes on where `marks` say.
    ///
    /// # Errors
    /// When the log refuses a consumer.
    pub fn reader(&self, marks: Marks) -> Result<Reader, Error> {
        match self {
            Bus::Embedded(log) => Ok(Reader::Embedded(embedded::Reader::new(log.clone(), marks))),
        }
    }

    /// Takes every record of the posts, pairs of source and native id, out of the log, and returns how many
    /// records were erased.
    ///
    /// # Errors
    /// When the disk or the broker fails; calling it again goes on.
    pub async fn erase(&self, posts: &[(String, String)]) -> Result<usize, Error> {
        match self {
            Bus::Embedded(log) => log.erase(posts).await,
        }
    }

    /// Removes the days of the embedded log that are older than the configuration keeps, up to the first
    /// that has records at or after `unread`. Returns how many days went.
    ///
    /// # Errors
    /// When a file cannot be removed.
    pub async fn retain(&self, unread: Position) -> Result<usize, Error> {
        match self {
            Bus::Embedded(log) => log.retain(unread).await,
        }
    }

    /// Each partition with the position after its last record.
    ///
    /// # Errors
    /// When the broker does not say.
    pub async fn ends(&self) -> Result<Vec<(i64, Position)>, Error> {
        match self {
            Bus::Embedded(log) => Ok(vec![(0, log.end())]),
        }
    }

    /// Whether the log can be used, and why not, for `/health`.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn healthy(&self) -> Result<(), String> {
        match self {
            Bus::Embedded(log) => log.healthy(),
        }
    }

    /// Ends the log after what was appended before; later appends fail with [`Error::Closed`].
    pub async fn close(&self) {
        match self {
            Bus::Embedded(log) => log.close().await,
        }
    }
}

impl Reader {
    /// The next records of one partition, at most `max`; waits until there is one. May be cancelled at any
    /// time.
    ///
    /// # Errors
    /// When the log or the store fails, or the log was closed and is read to its end.
    pub async fn next(&mut self, max: usize) -> Result<Batch, Error> {
        match self {
            Reader::Embedded(reader) => reader.next(max).await,
        }
    }

    /// The store had a batch of `part` already, or somebody else's: asks it where it stands and goes on there.
    pub async fn reset(&mut self, part: i64) {
        match self {
            Reader::Embedded(reader) => {
                debug_assert_eq!(part, 0, "the embedded log has one partition");
                reader.reset();
            }
        }
    }

    /// The store holds everything of `part` before `to`; what watches the log from outside may know.
    pub fn stored(&mut self, _part: i64, _to: &Mark) {
        match self {
            Reader::Embedded(_) => {}
        }
    }

    /// Records that were not handed out yet, over all partitions of this reader.
    pub fn lag(&self) -> i64 {
        match self {
            Reader::Embedded(reader) => reader.lag(),
        }
    }
}
