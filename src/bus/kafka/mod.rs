//! The log on Apache Kafka: one topic of mentions with as many partitions as the work wants, shared by the
//! workers of one group, and the topics that relay what the store holds.
//!
//! Where a worker stands is in the store, beside the cases: a position names the topic's id, so that a topic
//! made anew is not taken for the old one (`docs/adr/0007-positions-name-the-topics-id.md`).

mod config;
mod consumer;
mod partition;
mod parts;
mod producer;
mod reader;
mod standing;
mod topic_id;
mod topics;
mod watch;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    thread::JoinHandle,
    time::Duration,
};

use rdkafka::ClientConfig;
use tokio::{runtime::Handle, task::spawn_blocking};

use self::{
    consumer::Context,
    partition::partition,
    parts::Parts,
    producer::{Outgoing, Producer},
    watch::Watch,
};
use super::{Entry, Error, MAX_APPEND_BYTES, Marks, Metrics, Position, Relay};
use crate::clock::Clock;

pub use self::{
    config::{Cleanup, Cluster, Mechanism, Security, Settings, Topic, Topics},
    reader::Reader,
};

/// The largest record; brokers and topics that were not made here may take less.
const MAX_RECORD_BYTES: usize = 16 << 20;

/// How long the brokers have to let a reader go.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);

/// The log on Kafka.
pub struct Kafka {
    settings: Settings,
    topics: Topics,
    /// By the name of the cluster.
    clusters: BTreeMap<String, Connected>,
    /// How many partitions the topic of mentions has.
    partitions: i32,
    clock: Clock,
    metrics: Metrics,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// A cluster that answered.
struct Connected {
    config: ClientConfig,
    watch: Watch,
    producer: Producer,
    /// How many partitions each topic has.
    partitions: BTreeMap<String, i32>,
}

impl Kafka {
    /// Connects to the clusters, makes the topics that are not there and checks those that are. Blocks; call
    /// it at start only.
    ///
    /// # Errors
    /// When a cluster does not answer or refuses the password, or a topic is otherwise than configured.
    pub fn open(
        clusters: &[Cluster],
        topics: Topics,
        settings: Settings,
        clock: Clock,
        metrics: Metrics,
    ) -> Result<Kafka, Error> {
        let mut connected = BTreeMap::new();
        for topic in [&topics.mentions, &topics.dead, &topics.case_events] {
            if connected.contains_key(&topic.cluster) {
                continue;
            }
            let cluster = clusters.iter().find(|cluster| cluster.name == topic.cluster).ok_or_else(|| Error::Setting {
                cluster: topic.cluster.clone(),
                what: format!("topic \"{}\" is on it, and it is not there: add [[bus.cluster]]", topic.name),
            })?;
            connected.insert(cluster.name.clone(), connect(cluster, &topics, &settings, &clock, &metrics)?);
        }
        let known = connected.get(&topics.mentions.cluster).and_then(|cluster| cluster.partitions.get(&topics.mentions.name));
        let partitions = known.copied().unwrap_or(topics.mentions.partitions);
        Ok(Kafka { settings, topics, clusters: connected, partitions, clock, metrics, threads: Mutex::default() })
    }

    pub(super) async fn append(&self, entries: Vec<Entry>) -> Result<(), Error> {
        let bytes = entries.iter().map(|entry| entry.bytes.len()).sum();
        if bytes > MAX_APPEND_BYTES {
            return Err(Error::TooLarge { bytes });
        }
        let topic = &self.topics.mentions;
        let outgoing = outgoing(topic, self.partitions, &entries);
        let timer = self.metrics.commit_seconds.start_timer();
        match self.cluster(topic)?.producer.send(&outgoing).await {
            Ok(()) => timer.observe_duration(),
            Err(error) => {
                timer.stop_and_discard();
                self.metrics.failed_commits.inc();
                return Err(error);
            }
        }
        self.metrics.appended_records.inc_by(u64::try_from(entries.len()).unwrap_or(0));
        self.metrics.appended_bytes.inc_by(u64::try_from(bytes).unwrap_or(0));
        Ok(())
    }

    pub(super) async fn relay(&self, relay: Relay, entries: &[Entry]) -> Result<(), Error> {
        let topic = match relay {
            Relay::Dead => &self.topics.dead,
            Relay::CaseEvents => &self.topics.case_events,
        };
        let cluster = self.cluster(topic)?;
        let partitions = cluster.partitions.get(&topic.name).copied().unwrap_or(topic.partitions);
        cluster.producer.send(&outgoing(topic, partitions, entries)).await
    }

    /// Appends a tombstone to every partition, for nobody knows in which ones a post was: compaction then takes
    /// its records away.
    pub(super) async fn erase(&self, posts: &[(String, String)]) -> Result<usize, Error> {
        let topic = &self.topics.mentions;
        let keys: Vec<String> = posts.iter().map(|(source, id)| format!("{source}/{id}")).collect();
        let mut outgoing = Vec::with_capacity(keys.len());
        for key in &keys {
            outgoing.extend((0..self.partitions).map(|part| Outgoing { topic: &topic.name, part, key, payload: None }));
        }
        self.cluster(topic)?.producer.send(&outgoing).await?;
        self.metrics.erased.inc_by(u64::try_from(posts.len()).unwrap_or(0));
        Ok(posts.len())
    }

    pub(super) fn reader(&self, marks: Marks) -> Result<Reader, Error> {
        let runtime = Handle::try_current().map_err(|_none| Error::Closed)?;
        let topic = &self.topics.mentions;
        let cluster = self.cluster(topic)?;
        let parts = Arc::new(Parts::new(self.settings.buffer_records, self.settings.buffer_bytes));
        let context = Context {
            topic: topic.name.clone(),
            parts: Arc::clone(&parts),
            marks,
            runtime,
            clock: self.clock.clone(),
            watch: cluster.watch.clone(),
            metrics: self.metrics.clone(),
        };
        let session = self.settings.session_timeout.as_millis();
        let mut config = cluster.config.clone();
        config
            .set("group.id", &self.settings.group)
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("enable.auto.commit", "true")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "error")
            .set("session.timeout.ms", session.to_string())
            .set("heartbeat.interval.ms", (session / 5).max(100).to_string())
            // The store may be down for long while a partition begins.
            .set("max.poll.interval.ms", "900000")
            .set("topic.metadata.refresh.interval.ms", "30000")
            .set("fetch.max.bytes", "16777216")
            .set("queued.max.messages.kbytes", (self.settings.buffer_bytes >> 10).max(64).to_string());
        let thread = consumer::start(config, context).map_err(|error| Error::Setting {
            cluster: topic.cluster.clone(),
            what: format!("the thread that reads it could not be started: {error}"),
        })?;
        self.threads.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
        Ok(Reader { parts })
    }

    pub(super) async fn ends(&self) -> Result<Vec<(i64, Position)>, Error> {
        let topic = &self.topics.mentions;
        // A handful of questions, for tests and tools.
        self.cluster(topic)?.producer.ask(|client| {
            let end = |part: i32| {
                let watermarks = client.fetch_watermarks(&topic.name, part, Duration::from_secs(5));
                watermarks.map(|(_, high)| (part.into(), Position(high))).map_err(Error::kafka("say where it ends"))
            };
            (0..self.partitions).map(end).collect()
        })
    }

    pub(super) fn healthy(&self) -> Result<(), String> {
        match self.clusters.values().find_map(|cluster| cluster.watch.trouble()) {
            Some(trouble) => Err(trouble.to_string()),
            None => Ok(()),
        }
    }

    /// Waits until the readers, which must be gone, have left their groups.
    pub(super) async fn close(&self) {
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        let left = spawn_blocking(move || threads.into_iter().all(|thread| thread.join().is_ok()));
        match tokio::time::timeout(CLOSE_WITHIN, left).await {
            Ok(Ok(true)) => {}
            Ok(_) => tracing::error!("a reader of kafka had crashed"),
            Err(_) => tracing::warn!("the group was not left in time: it finds out by itself"),
        }
    }

    fn cluster(&self, topic: &Topic) -> Result<&Connected, Error> {
        self.clusters.get(&topic.cluster).ok_or(Error::Closed)
    }
}

fn connect(
    cluster: &Cluster,
    topics: &Topics,
    settings: &Settings,
    clock: &Clock,
    metrics: &Metrics,
) -> Result<Connected, Error> {
    let config = cluster.client()?;
    let watch = Watch::new(cluster, metrics.clone());
    let producer = Producer::new(&config, settings, watch.clone(), metrics.clone())?;
    let look = || producer.ask(|client| topics::connect(client, &watch, clock, settings.connect_timeout));
    let wanted: Vec<topics::Wanted<'_>> =
        [("mentions", &topics.mentions), ("dead", &topics.dead), ("case_events", &topics.case_events)]
            .into_iter()
            .filter(|(_, topic)| topic.cluster == cluster.name)
            .collect();
    topics::ensure(&config, watch.clone(), &look()?, &wanted)?;
    let metadata = look()?;
    let count = |known: &rdkafka::metadata::MetadataTopic| {
        (known.name().to_owned(), i32::try_from(known.partitions().len()).unwrap_or(i32::MAX))
    };
    let known = metadata.topics().iter().map(count).filter(|(_, count)| *count > 0).collect();
    Ok(Connected { config, watch, producer, partitions: known })
}

/// The entries, each with the partition of its thread.
fn outgoing<'a>(topic: &'a Topic, partitions: i32, entries: &'a [Entry]) -> Vec<Outgoing<'a>> {
    let record = |entry: &'a Entry| {
        let part = partition(&entry.thread, partitions);
        Outgoing { topic: &topic.name, part, key: &entry.key, payload: Some(&entry.bytes) }
    };
    entries.iter().map(record).collect()
}
