//! The thread that polls the topic of mentions: it joins the group, begins each partition where the store
//! stands, and reads ahead until the buffer of a partition is full.
//!
//! Positions are the store's alone. The group's offsets are committed for tools that show the lag.

use std::{io, sync::Arc, thread::JoinHandle, time::Duration};

use rdkafka::{
    ClientConfig, ClientContext, Message as _, Offset, Statistics, TopicPartitionList,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, Consumer as _, ConsumerContext},
    error::{KafkaError, KafkaResult, RDKafkaErrorCode},
    types::RDKafkaRespErr,
};
use tokio::runtime::Handle;

use super::{parts::Parts, standing::Standing, topic_id::topic_id, watch::Watch};
use crate::{
    bus::{Error, Marks, Metrics, Position, Record},
    clock::Clock,
    mention::Mark,
};

/// How long one question to a broker or to the store may take before it is asked anew.
const ASK: Duration = Duration::from_secs(5);
/// How often it is looked whether the topic is still the same.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// How many records are polled before they are put into the buffers together.
const TOGETHER: usize = 1_000;
/// How long to wait before something is asked again.
const PAUSE: Duration = Duration::from_millis(500);
/// How often a position past the end of the topic is looked at again before it is believed: a broker that has
/// just come up may not know its end yet.
const DOUBTS: u32 = 3;

/// What the thread needs; the client calls it back from inside a poll, on the same thread.
pub(super) struct Context {
    pub(super) topic: String,
    pub(super) parts: Arc<Parts>,
    pub(super) marks: Marks,
    pub(super) runtime: Handle,
    pub(super) clock: Clock,
    pub(super) watch: Watch,
    pub(super) metrics: Metrics,
}

type Client = BaseConsumer<Context>;

/// Starts the thread; it ends when the parts are closing.
pub(super) fn start(config: ClientConfig, context: Context) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name("bus-kafka".into()).spawn(move || {
        let _ending = Ending(Arc::clone(&context.parts));
        let (parts, metrics, clock) = (Arc::clone(&context.parts), context.metrics.clone(), context.clock.clone());
        let topic = context.topic.clone();
        let client: Client = match config.create_with_context(context) {
            Ok(client) => client,
            Err(error) => return parts.fail(Error::kafka("start a consumer")(error)),
        };
        if let Err(error) = client.subscribe(&[&topic]) {
            return parts.fail(Error::kafka("subscribe")(error));
        }
        Polling { client: &client, topic: &topic, parts: &parts, metrics: &metrics, clock: &clock }.run();
        // The client is dropped and leaves the group, so that others get the partitions at once.
    })
}

/// Tells the reader that the thread has ended, however it did.
struct Ending(Arc<Parts>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.end();
    }
}

struct Polling<'a> {
    client: &'a Client,
    topic: &'a str,
    parts: &'a Parts,
    metrics: &'a Metrics,
    clock: &'a Clock,
}

impl Polling<'_> {
    fn run(&self) {
        let mut polled = Vec::with_capacity(TOGETHER);
        let mut looked_at = self.clock.now();
        while !*self.parts.closing.borrow() {
            let paused = self.parts.paused();
            self.metrics.paused_partitions.set(i64::try_from(paused).unwrap_or(i64::MAX));
            self.poll(Duration::from_millis(if paused > 0 { 5 } else { 50 }), &mut polled);
            let full = self.parts.put(&mut polled);
            self.tell("pause", &full, |list| self.client.pause(list));
            self.tell("resume", &self.parts.roomy(), |list| self.client.resume(list));
            for part in self.parts.astray() {
                self.begin_again(part);
            }
            self.keep_offsets();
            if self.clock.now().since(looked_at) > LOOK_EVERY {
                looked_at = self.clock.now();
                self.look();
            }
        }
        self.keep_offsets();
    }

    /// Polls what is there, waiting `wait` for the first record.
    fn poll(&self, wait: Duration, polled: &mut Vec<(i32, Record)>) {
        let mut wait = wait;
        while polled.len() < TOGETHER {
            match self.client.poll(wait) {
                None => return,
                Some(Ok(message)) => {
                    let record = Record {
                        position: Position(message.offset()),
                        bytes: message.payload().unwrap_or_default().to_vec(),
                        erased: message.payload().is_none(),
                    };
                    polled.push((message.partition(), record));
                }
                Some(Err(error)) => return self.heed(&error),
            }
            wait = Duration::ZERO;
        }
    }

    fn heed(&self, error: &KafkaError) {
        match error.rdkafka_error_code() {
            // What comes next is not there: the policy decides.
            Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange) => {
                tracing::warn!("kafka no longer has the records that come next, the store is asked again");
                self.parts.go_astray(None);
            }
            // It may come back as another.
            Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => {
                tracing::error!(topic = self.topic, "the topic of mentions is gone");
                self.parts.go_astray(None);
            }
            _ if matches!(error, KafkaError::MessageConsumptionFatal(_)) => {
                self.parts.fail(Error::kafka("read")(error.clone()));
            }
            // The watch has heard of it.
            _ => tracing::debug!(%error, "polling kafka"),
        }
    }

    /// Whether the topic was made anew meanwhile.
    fn look(&self) {
        match self.client.context().id(self.client, None) {
            Ok(id) if self.parts.logs().iter().any(|log| **log != *id) => self.parts.go_astray(None),
            Ok(_) => {}
            Err(why) => tracing::debug!(why, "the topic's id is not to be had"),
        }
    }

    /// Asks the store once more where it stands, and goes there.
    fn begin_again(&self, part: i32) {
        let context = self.client.context();
        let position = match context.settle(self.client, part) {
            Ok(position) => position,
            // It stays astray, and other partitions go on meanwhile.
            Err(why) => return tracing::warn!(part, why, "a partition cannot go on yet, trying again"),
        };
        let mut list = TopicPartitionList::new();
        let sought = list
            .add_partition_offset(self.topic, part, Offset::Offset(position))
            .and_then(|()| self.client.seek_partitions(list, ASK))
            .and_then(|list| list.elements().iter().try_for_each(|element| element.error()));
        if let Err(error) = sought {
            tracing::warn!(part, %error, "could not go to the store's position, trying again");
            self.parts.go_astray(Some(part));
        }
        self.tell("resume", &[part], |list| self.client.resume(list));
    }

    fn tell(&self, what: &str, parts: &[i32], tell: impl FnOnce(&TopicPartitionList) -> KafkaResult<()>) {
        if parts.is_empty() {
            return;
        }
        let mut list = TopicPartitionList::new();
        for part in parts {
            list.add_partition(self.topic, *part);
        }
        if let Err(error) = tell(&list) {
            // It went to somebody else just now.
            tracing::debug!(?parts, %error, "could not {what}");
        }
    }

    fn keep_offsets(&self) {
        for (part, next) in self.parts.take_stored() {
            // The last record's, as this call has it.
            if let Err(error) = self.client.store_offset(self.topic, part, next - 1) {
                tracing::debug!(part, %error, "an offset for lag tools is not kept");
            }
        }
    }
}

impl Context {
    /// Finds out where the partition goes on, and begins it there.
    fn settle(&self, client: &Client, part: i32) -> Result<i64, String> {
        let id = self.id(client, Some(part))?;
        let mark = self.mark(part)?;
        let mut doubts = DOUBTS;
        let (standing, end) = loop {
            let (low, high) = client.fetch_watermarks(&self.topic, part, ASK).map_err(|error| error.to_string())?;
            match Standing::of(&mark, &id, low, high) {
                Standing::PastTheEnd(_) if doubts > 0 => doubts -= 1,
                standing => break (standing, high),
            }
            self.pause().ok_or("the reader closes")?;
        };
        self.say(part, &id, &mark, standing);
        let skipped = if let Standing::Expired(_, skipped) = standing { skipped } else { 0 };
        self.parts.begin(part, &id, mark, standing.position(), skipped, end);
        Ok(standing.position())
    }

    /// The topic's id, as the leader of one of its partitions knows it.
    fn id(&self, client: &Client, part: Option<i32>) -> Result<String, String> {
        let metadata = client.fetch_metadata(Some(&self.topic), ASK).map_err(|error| error.to_string())?;
        let mut parts = metadata.topics().iter().flat_map(|topic| topic.partitions());
        let led = parts.find(|known| known.leader() >= 0 && part.is_none_or(|part| known.id() == part));
        let leader = led.ok_or("it has no leader")?.leader();
        topic_id(client.client().native_client(), leader, &self.topic, ASK)
    }

    /// What the store holds of the partition.
    fn mark(&self, part: i32) -> Result<Mark, String> {
        let mut closing = self.parts.closing.subscribe();
        self.runtime.block_on(async {
            tokio::select! {
                mark = (self.marks)(part.into()) => mark,
                _ = closing.wait_for(|closing| *closing) => Err("the reader closes".to_owned()),
            }
        })
    }

    /// What must be known of where a partition goes on.
    fn say(&self, part: i32, id: &str, mark: &Mark, standing: Standing) {
        let (topic, stored) = (self.topic.as_str(), mark.next);
        match standing {
            Standing::Goes(position) | Standing::New(position) => tracing::info!(part, position, "partition begun"),
            Standing::Recreated(position) => {
                self.metrics.recreated.inc();
                let stored_in = &*mark.log;
                tracing::error!(
                    topic,
                    part,
                    stored,
                    stored_in,
                    id,
                    position,
                    "the topic is not the one that the store knows: it is read from its beginning"
                );
            }
            Standing::Expired(position, skipped) => {
                self.metrics.skipped.inc_by(skipped);
                tracing::error!(
                    topic,
                    part,
                    stored,
                    position,
                    skipped,
                    "records were deleted before they were read: raise the retention of the topic"
                );
            }
            Standing::PastTheEnd(position) => {
                self.metrics.past_the_end.inc();
                tracing::error!(
                    topic,
                    part,
                    stored,
                    position,
                    "the brokers lost records that they had acknowledged: all that is left is read again"
                );
            }
        }
    }

    /// Waits a little; none if the reader closes meanwhile.
    fn pause(&self) -> Option<()> {
        let mut closing = self.parts.closing.subscribe();
        self.runtime.block_on(async {
            tokio::select! {
                () = tokio::time::sleep(PAUSE) => Some(()),
                _ = closing.wait_for(|closing| *closing) => None,
            }
        })
    }

    /// Shows the lag of each partition.
    fn show_lags(&self) {
        for (part, lag) in self.parts.lags() {
            self.metrics.lag.with_label_values(&[&part.to_string()]).set(lag);
        }
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.watch.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.watch.error(error, reason);
    }

    fn stats(&self, statistics: Statistics) {
        for (number, part) in statistics.topics.get(&self.topic).into_iter().flat_map(|topic| &topic.partitions) {
            self.parts.ends_at(*number, part.hi_offset);
        }
        self.show_lags();
        self.watch.stats(statistics);
    }
}

impl ConsumerContext for Context {
    fn rebalance(&self, client: &Client, kind: RDKafkaRespErr, list: &mut TopicPartitionList) {
        self.metrics.rebalances.inc();
        let parts: Vec<i32> = list.elements().iter().map(|element| element.partition()).collect();
        let result = if kind == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            self.assign(client, &parts)
        } else {
            for part in &parts {
                self.parts.forget(*part);
                // Gone already if it was never shown.
                self.metrics.lag.remove_label_values(&[&part.to_string()]).ok();
            }
            tracing::info!(?parts, "partitions given up");
            client.incremental_unassign(list)
        };
        if let Err(error) = result {
            tracing::error!(?parts, %error, "a rebalance failed");
        }
        self.metrics.partitions.set(i64::try_from(self.parts.lags().len()).unwrap_or(i64::MAX));
    }
}

impl Context {
    /// Takes partitions over, each where the store stands; waits for the store as long as it is down.
    fn assign(&self, client: &Client, parts: &[i32]) -> KafkaResult<()> {
        let mut list = TopicPartitionList::new();
        for part in parts {
            let position = loop {
                match self.settle(client, *part) {
                    Ok(position) => break Some(position),
                    Err(why) => tracing::warn!(part, why, "a partition cannot begin yet, trying again"),
                }
                if self.pause().is_none() {
                    break None;
                }
            };
            // None: the reader closes and takes nothing any more, but the group wants an answer.
            list.add_partition_offset(&self.topic, *part, position.map_or(Offset::End, Offset::Offset))?;
        }
        client.incremental_assign(&list)
    }
}
