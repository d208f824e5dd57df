//! Appending to the topics of one cluster: idempotent, acknowledged by all copies, in bounded memory and time.

use std::{
    collections::VecDeque,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use rdkafka::{
    ClientConfig,
    client::Client,
    error::{KafkaError, KafkaResult, RDKafkaErrorCode},
    producer::{
        FutureProducer, FutureRecord, Producer as _,
        future_producer::{DeliveryFuture, FutureProducerContext},
    },
};

use super::{MAX_RECORD_BYTES, config::Settings, watch::Watch};
use crate::bus::{Error, Metrics};

/// One record on its way; without a payload it is a tombstone.
#[derive(Clone, Copy)]
pub(super) struct Outgoing<'a> {
    pub(super) topic: &'a str,
    pub(super) part: i32,
    pub(super) key: &'a str,
    pub(super) payload: Option<&'a [u8]>,
}

/// Appends to one cluster.
pub(super) struct Producer {
    config: ClientConfig,
    watch: Watch,
    metrics: Metrics,
    /// Made anew after an error that it cannot recover from.
    client: RwLock<Arc<FutureProducer<Watch>>>,
}

impl Producer {
    pub(super) fn new(base: &ClientConfig, settings: &Settings, watch: Watch, metrics: Metrics) -> Result<Producer, Error> {
        let mut config = base.clone();
        config
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("compression.type", "lz4")
            .set("linger.ms", "2")
            .set("message.max.bytes", MAX_RECORD_BYTES.to_string())
            .set("message.timeout.ms", settings.append_timeout.as_millis().to_string())
            .set("queue.buffering.max.messages", "100000")
            .set("queue.buffering.max.kbytes", (settings.queue_bytes >> 10).max(1).to_string());
        let client = create(&config, &watch)?;
        Ok(Producer { config, watch, metrics, client: RwLock::new(client) })
    }

    /// For questions that need a client.
    pub(super) fn ask<T>(&self, question: impl FnOnce(&Client<FutureProducerContext<Watch>>) -> T) -> T {
        question(self.client().client())
    }

    /// Appends the records in this order, and returns when all copies have them.
    pub(super) async fn send(&self, records: &[Outgoing<'_>]) -> Result<(), Error> {
        let client = self.client();
        let mut under_way = VecDeque::new();
        let sent = async {
            for record in records {
                loop {
                    let mut next = FutureRecord::<str, [u8]>::to(record.topic).partition(record.part).key(record.key);
                    next.payload = record.payload;
                    match client.send_result(next) {
                        Ok(delivery) => break under_way.push_back(delivery),
                        Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => {
                            // Others filled it when none of these is under way.
                            match under_way.pop_front() {
                                Some(delivery) => delivered(delivery).await?,
                                None => tokio::time::sleep(Duration::from_millis(50)).await,
                            }
                        }
                        Err((error, _)) => return Err(error),
                    }
                }
            }
            while let Some(delivery) = under_way.pop_front() {
                delivered(delivery).await?;
            }
            Ok(())
        };
        sent.await.map_err(|error| self.failed(&client, error))
    }

    fn client(&self) -> Arc<FutureProducer<Watch>> {
        Arc::clone(&self.client.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// What the caller is told; a client that cannot go on is replaced.
    fn failed(&self, client: &Arc<FutureProducer<Watch>>, error: KafkaError) -> Error {
        let code = error.rdkafka_error_code();
        let kind = match code {
            Some(RDKafkaErrorCode::MessageTimedOut) => "timeout",
            Some(RDKafkaErrorCode::MessageSizeTooLarge) => "too_large",
            Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => "unknown_topic",
            Some(RDKafkaErrorCode::NotEnoughReplicas | RDKafkaErrorCode::NotEnoughReplicasAfterAppend) => "few_replicas",
            Some(RDKafkaErrorCode::TopicAuthorizationFailed) => "not_allowed",
            _ => "other",
        };
        self.metrics.delivery_errors.with_label_values(&[kind]).inc();
        if let Some((_, why)) = client.client().fatal_error() {
            let mut current = self.client.write().unwrap_or_else(PoisonError::into_inner);
            if Arc::ptr_eq(&current, client) {
                match create(&self.config, &self.watch) {
                    Ok(fresh) => {
                        tracing::error!(why, "the kafka producer could not go on and was made anew");
                        *current = fresh;
                    }
                    Err(error) => return error,
                }
            }
        }
        match self.watch.trouble() {
            Some(trouble) if kind == "timeout" => trouble,
            _ => Error::kafka("append")(error),
        }
    }
}

fn create(config: &ClientConfig, watch: &Watch) -> Result<Arc<FutureProducer<Watch>>, Error> {
    config.create_with_context(watch.clone()).map(Arc::new).map_err(Error::kafka("start a producer"))
}

async fn delivered(delivery: DeliveryFuture) -> KafkaResult<()> {
    match delivery.await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err((error, _))) => Err(error),
        Err(_gone) => Err(KafkaError::Canceled),
    }
}
