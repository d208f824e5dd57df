//! One Apache Kafka broker for the whole run of the tests (`scripts/kafka.sh`).
//!
//! Starting, killing and stopping block until it is done, for seconds: an async test that wants its tasks to go on
//! meanwhile runs on several threads or calls them in `spawn_blocking`.

use std::{path::PathBuf, sync::OnceLock, time::Duration};

use rdkafka::{
    ClientConfig,
    consumer::{BaseConsumer, Consumer},
};
use rustix::process::{Pid, Signal};

use super::engines::{Alone, Server, Shared, have};

/// The broker. It makes no topic by itself; a test makes its own, under a name that no other uses.
pub struct Kafka {
    pub(super) server: Server,
}

/// The broker, started on first use; none if the test of `what` must be skipped.
pub fn kafka(what: &str) -> Option<&'static Kafka> {
    static BROKER: OnceLock<Result<Kafka, String>> = OnceLock::new();
    have(what, BROKER.get_or_init(Kafka::start))
}

impl Kafka {
    pub(super) fn start() -> Result<Kafka, String> {
        // Plain, SASL, SASL over TLS, and the controller's.
        let kafka = Kafka { server: Server::new("kafka", "fetch", 4)? };
        kafka.restart();
        Ok(kafka)
    }

    /// Where it speaks plain.
    pub fn bootstrap(&self) -> String {
        self.at(0)
    }

    /// Where it wants SASL (SCRAM-SHA-512, SCRAM-SHA-256 or PLAIN), with a user and the password.
    pub fn scram(&self) -> (String, &'static str, &'static str) {
        (self.at(1), "moksori", "sample-password")
    }

    /// Where it wants the same over TLS, and the certificate that it shows, which signs itself.
    pub fn tls(&self) -> (String, PathBuf) {
        (self.at(2), self.server.dir.join("ca.pem"))
    }

    /// Its process.
    pub fn pid(&self) -> Pid {
        self.server.pid()
    }

    /// Kills it with signal 9.
    pub fn kill(&self) {
        self.server.end(Signal::KILL, false);
    }

    /// Asks it to end, and waits until it has.
    pub fn stop(&self) {
        self.server.end(Signal::TERM, false);
    }

    /// Starts it, after killing it if it runs, and waits until it leads every partition.
    pub fn restart(&self) {
        self.kill();
        let client: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", self.bootstrap())
            .set("reconnect.backoff.max.ms", "200")
            .create()
            .unwrap();
        self.server.start(|| {
            let metadata = client.fetch_metadata(None, Duration::from_secs(1)).map_err(|error| error.to_string())?;
            if metadata.brokers().is_empty() {
                return Err("it is not registered".to_owned());
            }
            let mut partitions = metadata.topics().iter().flat_map(|topic| topic.partitions());
            if partitions.any(|partition| partition.leader() < 0) {
                return Err("a partition has no leader".to_owned());
            }
            Ok(())
        });
    }

    /// Held while a fault in the broker would disturb.
    pub fn shared(&self) -> Shared<'_> {
        self.server.shared()
    }

    /// Held while a test kills or stops the broker; leave it running.
    pub fn alone(&self) -> Alone<'_> {
        self.server.alone()
    }

    fn at(&self, offset: u16) -> String {
        format!("127.0.0.1:{}", self.server.port + offset)
    }
}

mod tests {
    use rdkafka::{
        TopicPartitionList,
        admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
        client::DefaultClientContext,
        message::Message,
        producer::{FutureProducer, FutureRecord},
        topic_partition_list::Offset,
    };

    use super::*;

    const TOPIC: &str = "kit-survives";

    fn config(kafka: &Kafka) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", kafka.bootstrap()).set("message.timeout.ms", "30000");
        config
    }

    async fn send(kafka: &Kafka, payload: &str) {
        let producer: FutureProducer = config(kafka).create().unwrap();
        producer.send(FutureRecord::to(TOPIC).key("key").payload(payload), Duration::ZERO).await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_broker_keeps_what_it_acknowledged_over_a_kill_and_a_stop() {
        let Some(kafka) = kafka("that the broker keeps records") else { return };
        let _alone = kafka.alone();
        let admin: AdminClient<DefaultClientContext> = config(kafka).create().unwrap();
        let topic = NewTopic::new(TOPIC, 1, TopicReplication::Fixed(1));
        for made in admin.create_topics([&topic], &AdminOptions::new()).await.unwrap() {
            made.unwrap();
        }
        send(kafka, "before the kill").await;
        let first = kafka.pid();
        kafka.kill();
        assert!(!kafka.server.runs());
        kafka.restart();
        assert_ne!(kafka.pid(), first);
        send(kafka, "before the stop").await;
        kafka.stop();
        kafka.restart();

        let consumer: BaseConsumer = config(kafka).set("group.id", TOPIC).create().unwrap();
        let mut from = TopicPartitionList::new();
        from.add_partition_offset(TOPIC, 0, Offset::Beginning).unwrap();
        consumer.assign(&from).unwrap();
        for expected in ["before the kill", "before the stop"] {
            let message = consumer.poll(Duration::from_secs(30)).expect("a record in time").unwrap();
            assert_eq!(message.payload(), Some(expected.as_bytes()));
        }
    }

    fn topics(config: &mut ClientConfig) -> Result<usize, String> {
        let client: BaseConsumer = config.set("sasl.mechanism", "SCRAM-SHA-512").create().unwrap();
        let metadata = client.fetch_metadata(None, Duration::from_secs(3));
        metadata.map(|metadata| metadata.brokers().len()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_password_opens_the_listeners_that_want_one() {
        let Some(kafka) = kafka("a password for Kafka") else { return };
        let _shared = kafka.shared();
        let (bootstrap, user, password) = kafka.scram();
        let mut plain = ClientConfig::new();
        plain.set("bootstrap.servers", bootstrap).set("security.protocol", "SASL_PLAINTEXT");
        plain.set("sasl.username", user).set("sasl.password", password);
        assert_eq!(topics(&mut plain), Ok(1));
        assert!(topics(plain.clone().set("sasl.password", "wrong")).is_err());

        let (bootstrap, certificate) = kafka.tls();
        plain.set("bootstrap.servers", bootstrap).set("security.protocol", "SASL_SSL");
        assert!(topics(&mut plain.clone()).is_err(), "an unknown certificate was accepted");
        plain.set("ssl.ca.location", certificate.to_str().unwrap());
        assert_eq!(topics(&mut plain), Ok(1));
    }
}
