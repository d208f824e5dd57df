//! The durable log of mentions: connectors append to it, the pipeline reads from it.
//!
//! Records are bytes with a number each, its [`Position`], in one or more partitions; what belongs to one
//! conversation is in one partition and stays in order. An append returns when its records are durable, so
//! a connector may commit its cursor then. A [`Reader`] goes on where the store says that it stands.
//!
//! **Invariant**: nothing is readable before it is durable
//! (`docs/adr/0002-no-read-before-fsync.md`).

mod embedded;
mod kafka;

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use futures_util::future::BoxFuture;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rusqlite::ErrorCode;
use serde::{Deserialize, Serialize};

use crate::{
    clock::Clock,
    mention::{Envelope, Mark},
    metrics::DELAY_SECONDS,
};

pub use self::{
    embedded::Embedded,
    kafka::{Cleanup, Cluster, Kafka, Mechanism, Security, Settings, Topic, Topics},
};

/// The most bytes one append may have; far above any page of mentions.
const MAX_APPEND_BYTES: usize = 64 << 20;

/// Number of a record in the log; the first one has number 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Position(pub i64);

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

    /// A record as it was appended first, as far as its bytes say; what is no mention gets `key`, and becomes a
    /// dead letter as before.
    pub fn again(bytes: Vec<u8>, key: String) -> Entry {
        match Envelope::parse(&bytes) {
            Ok(envelope) => Entry { key: envelope.key(), thread: envelope.thread(), bytes },
            Err(_) => Entry { key, thread: String::new(), bytes },
        }
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
    /// What carries the log.
    pub engine: Engine,
    /// Whole days that are kept besides today; a day that is not read to its end stays longer.
    pub keep_days: u32,
    /// Memory for the newest records, which consumers read without touching the disk.
    pub cache_bytes: usize,
    /// Kafka clusters by name.
    #[serde(default, rename = "cluster")]
    pub clusters: Vec<Cluster>,
    /// Kafka topics.
    pub topics: Topics,
    /// How Kafka's clients behave.
    pub kafka: Settings,
}

/// What carries the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    /// Files in the data directory.
    Embedded,
    /// A topic on a Kafka cluster.
    Kafka,
}

impl Config {
    /// The paths in it, which are relative to its file.
    pub fn paths(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        self.clusters.iter_mut().flat_map(|cluster| cluster.password_file.iter_mut().chain(&mut cluster.ca_file))
    }
}

/// What of the store is relayed to Kafka, for others to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relay {
    /// Dead letters.
    Dead,
    /// The store's events, keyed by case.
    CaseEvents,
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
    /// The configuration of a Kafka cluster is wrong.
    #[error("kafka cluster \"{cluster}\": {what}")]
    Setting {
        /// Its name.
        cluster: String,
        /// What is wrong, and the remedy.
        what: String,
    },
    /// A cluster refused user and password.
    #[error("kafka cluster \"{cluster}\": the broker refused user \"{user}\": check {key} ({why})")]
    Refused {
        /// Its name.
        cluster: String,
        /// As whom.
        user: String,
        /// The key of the configuration that says where the password is.
        key: &'static str,
        /// What it said.
        why: String,
    },
    /// No broker of a cluster answers.
    #[error(
        "kafka cluster \"{cluster}\" cannot be reached at {brokers} ({why}): look at bus.cluster.brokers and whether they are up"
    )]
    Unreachable {
        /// Its name.
        cluster: String,
        /// Where it was looked for.
        brokers: String,
        /// What the client said last.
        why: String,
    },
    /// Topics are otherwise than they are configured.
    #[error("{0}")]
    Topics(String),
    /// A broker or the client failed.
    #[error("kafka could not {doing}")]
    Kafka {
        /// What it was doing.
        doing: &'static str,
        /// What the client said.
        #[source]
        source: KafkaError,
    },
    /// The log was closed.
    #[error("the log is closed")]
    Closed,
}

impl Error {
    /// Whether the same call may succeed later.
    pub fn is_retryable(&self) -> bool {
        match self {
            Error::Full | Error::Directory { .. } | Error::Marks(_) | Error::Unreachable { .. } | Error::Refused { .. } => true,
            Error::Kafka { source, .. } => !matches!(
                source.rdkafka_error_code(),
                Some(RDKafkaErrorCode::MessageSizeTooLarge | RDKafkaErrorCode::TopicAuthorizationFailed)
            ),
            Error::Database { source, .. } => {
                !matches!(source.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
            }
            Error::Setting { .. }
            | Error::Topics(_)
            | Error::Format { .. }
            | Error::TooLarge { .. }
            | Error::TooManyKeys
            | Error::Closed => false,
        }
    }

    /// Turns what SQLite said into ours, for use in `map_err`.
    fn database(doing: &'static str) -> impl Fn(rusqlite::Error) -> Error {
        move |source| match source.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Error::Full,
            _ => Error::Database { doing, source: Arc::new(source) },
        }
    }

    /// Turns what the Kafka client said into ours, for use in `map_err`.
    fn kafka(doing: &'static str) -> impl Fn(KafkaError) -> Error {
        move |source| Error::Kafka { doing, source }
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
        /// Partitions of the Kafka topic that this process reads.
        partitions: IntGauge = "moksori_bus_partitions",
        /// Partitions that are not read ahead for a while, since the store is behind.
        paused_partitions: IntGauge = "moksori_bus_paused_partitions",
        /// Records of each partition that this process has still to read. Should return to 0.
        lag: IntGaugeVec = "moksori_bus_lag_records" ["partition"],
        /// Times that partitions came to this process or went.
        rebalances: IntCounter = "moksori_bus_rebalances_total",
        /// Appends to Kafka that failed, by reason: timeout, too_large, unknown_topic, few_replicas, not_allowed, other.
        delivery_errors: IntCounterVec = "moksori_bus_delivery_errors_total" ["kind"],
        /// Errors of the connection to Kafka: authentication, all_brokers_down, transport, resolve, tls, other.
        kafka_errors: IntCounterVec = "moksori_bus_kafka_errors_total" ["kind"],
        /// Partitions of a topic that is not the one that the store knows: it was read from its beginning.
        recreated: IntCounter = "moksori_bus_recreated_topics_total",
        /// Positions past the end of the topic: the brokers have lost records, and the rest was read again.
        past_the_end: IntCounter = "moksori_bus_past_the_end_total",
        /// The number the next record gets; minus the pipeline's position it is the backlog.
        end: IntGauge = "moksori_bus_end_position",
    }
}

/// The log.
pub enum Bus {
    /// On this machine, in the data directory.
    Embedded(Embedded),
    /// On Apache Kafka.
    Kafka(Box<Kafka>),
}

/// The log's one consumer in this process.
pub enum Reader {
    /// Of the log on this machine.
    Embedded(embedded::Reader),
    /// Of a topic on Kafka.
    Kafka(kafka::Reader),
}

impl Bus {
    /// Opens the log that `config` chooses; the embedded one lives in `dir`. Blocks; call it at start only.
    ///
    /// # Errors
    /// When it cannot be used, with the remedy.
    pub fn open(dir: &Path, config: Config, clock: Clock, metrics: Metrics) -> Result<Bus, Error> {
        match config.engine {
            Engine::Embedded => Embedded::open(dir, config.keep_days, config.cache_bytes, clock, metrics).map(Bus::Embedded),
            Engine::Kafka => {
                Kafka::open(&config.clusters, config.topics, config.kafka, clock, metrics).map(|log| Bus::Kafka(Box::new(log)))
            }
        }
    }

    /// Appends the entries and returns when they are durable; those of one thread stay in order. Waits while
    /// the log is behind. A caller that is cancelled here does not know whether they were appended.
    ///
    /// # Errors
    /// A retryable one when the disk or the broker fails; what was appended then may be appended again.
    pub async fn append(&self, entries: Vec<Entry>) -> Result<(), Error> {
        match self {
            Bus::Embedded(log) => log.append(entries).await.map(|_end| ()),
            Bus::Kafka(log) => log.append(entries).await,
        }
    }

    /// The log of this machine, if it is one.
    pub fn embedded(&self) -> Option<&Embedded> {
        match self {
            Bus::Embedded(log) => Some(log),
            Bus::Kafka(_) => None,
        }
    }

    /// A consumer of the mentions that goes on where `marks` say.
    ///
    /// # Errors
    /// When the log refuses a consumer.
    pub fn reader(&self, marks: Marks) -> Result<Reader, Error> {
        match self {
            Bus::Embedded(log) => Ok(Reader::Embedded(embedded::Reader::new(log.clone(), marks))),
            Bus::Kafka(log) => log.reader(marks).map(Reader::Kafka),
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
            Bus::Kafka(log) => log.erase(posts).await,
        }
    }

    /// Relays what the store holds to others; the embedded log has nobody who would read it. What shares a
    /// thread stays in order.
    ///
    /// # Errors
    /// When the broker fails; what was relayed then may be relayed again.
    pub async fn relay(&self, relay: Relay, entries: &[Entry]) -> Result<(), Error> {
        match self {
            Bus::Embedded(_) => Ok(()),
            Bus::Kafka(log) => log.relay(relay, entries).await,
        }
    }

    /// Whether somebody may read what is relayed.
    pub fn relays(&self) -> bool {
        matches!(self, Bus::Kafka(_))
    }

    /// Each partition with the position after its last record.
    ///
    /// # Errors
    /// When the broker does not say.
    pub async fn ends(&self) -> Result<Vec<(i64, Position)>, Error> {
        match self {
            Bus::Embedded(log) => Ok(vec![(0, log.end())]),
            Bus::Kafka(log) => log.ends().await,
        }
    }

    /// Whether the log can be used, and why not, for `/health`.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn healthy(&self) -> Result<(), String> {
        match self {
            Bus::Embedded(log) => log.healthy(),
            Bus::Kafka(log) => log.healthy(),
        }
    }

    /// Ends the log after what was appended before; later appends fail with [`Error::Closed`].
    pub async fn close(&self) {
        match self {
            Bus::Embedded(log) => log.close().await,
            Bus::Kafka(log) => log.close().await,
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
            Reader::Kafka(reader) => reader.next(max).await,
        }
    }

    /// The store had a batch of `part` already, or somebody else's: asks it where it stands and goes on there.
    pub async fn reset(&mut self, part: i64) {
        match self {
            Reader::Embedded(reader) => {
                debug_assert_eq!(part, 0, "the embedded log has one partition");
                reader.reset();
            }
            Reader::Kafka(reader) => reader.reset(part),
        }
    }

    /// The store holds everything of `part` before `to`; what watches the log from outside may know.
    pub fn stored(&mut self, part: i64, to: &Mark) {
        match self {
            Reader::Embedded(_) => {}
            Reader::Kafka(reader) => reader.stored(part, to),
        }
    }

    /// Records that were not handed out yet, over all partitions of this reader.
    pub fn lag(&self) -> i64 {
        match self {
            Reader::Embedded(reader) => reader.lag(),
            Reader::Kafka(reader) => reader.lag(),
        }
    }
}
