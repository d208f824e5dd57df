//! The log on a real Kafka broker: nothing lost, nothing doubled, whatever becomes of workers, topics and broker.

use std::{
    collections::BTreeMap,
    path::Path,
    process::{Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use moksori::{
    bus::{self, Batch, Bus, Entry, Marks, Reader, Relay},
    clock::{Clock, Time},
    config::Config,
    mention::Mark,
    metrics,
};
use prometheus::Registry;
use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    consumer::{BaseConsumer, Consumer},
    message::Message,
};

use crate::kit::kafka::{Kafka, kafka};

/// A log on Kafka with topics of its own.
pub struct Log {
    pub bus: Arc<Bus>,
    pub registry: Registry,
}

/// The `[bus]` section for topics that begin with `name`.
pub fn section(cluster: &str, name: &str, partitions: u32, more: &str) -> String {
    let topic =
        |key: &str| format!("[bus.topics.{key}]\nname = \"{name}-{key}\"\npartitions = {partitions}\nreplication = 1\n");
    let topics: String = ["mentions", "dead", "case_events"].map(topic).concat();
    format!(
        "[bus]\nengine = \"kafka\"\n[[bus.cluster]]\nname = \"main\"\n{cluster}\n{topics}\n[bus.kafka]\ngroup = \"{name}\"\n{more}"
    )
}

/// Opens a log from a `[bus]` section.
pub fn open(section: &str) -> Result<Log, bus::Error> {
    let config = Config::from_texts(&[("test.toml".into(), section.into())], &[]).unwrap();
    let registry = Registry::new();
    let metrics = bus::Metrics::new(&registry).unwrap();
    let bus = Bus::open(Path::new("unused"), config.bus, Clock::System, metrics)?;
    Ok(Log { bus: Arc::new(bus), registry })
}

impl Log {
    /// Of the real broker.
    pub fn of(kafka: &Kafka, name: &str, partitions: u32, more: &str) -> Log {
        open(&section(&format!("brokers = \"{}\"", kafka.bootstrap()), name, partitions, more)).unwrap()
    }

    /// The value of a metric, with its labels if it has any; 0 where it is not shown.
    pub fn metric(&self, name: &str) -> f64 {
        let text = metrics::scrape(&self.registry).unwrap();
        text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok()).unwrap_or(0.0)
    }
}

/// What a store does with batches: positions by compare-and-set, and what came, in order.
#[derive(Default)]
pub struct Store {
    marks: Mutex<BTreeMap<i64, Mark>>,
    came: Mutex<BTreeMap<i64, Vec<String>>>,
}

impl Store {
    pub fn marks(self: &Arc<Self>) -> Marks {
        let store = Arc::clone(self);
        Arc::new(move |part| {
            let mark = store.marks.lock().unwrap().get(&part).cloned().unwrap_or_default();
            Box::pin(std::future::ready(Ok(mark)))
        })
    }

    /// False when the batch is stale.
    pub fn take(&self, batch: &Batch) -> bool {
        let mut marks = self.marks.lock().unwrap();
        let mark = marks.entry(batch.part).or_default();
        if *mark != batch.from {
            return false;
        }
        *mark = batch.to.clone();
        let texts = batch.records.iter().filter(|record| !record.erased);
        let texts = texts.map(|record| String::from_utf8(record.bytes.clone()).unwrap());
        self.came.lock().unwrap().entry(batch.part).or_default().extend(texts);
        true
    }

    pub fn set(&self, part: i64, mark: Mark) {
        self.marks.lock().unwrap().insert(part, mark);
    }

    pub fn mark(&self, part: i64) -> Mark {
        self.marks.lock().unwrap().get(&part).cloned().unwrap_or_default()
    }

    pub fn count(&self) -> usize {
        self.came.lock().unwrap().values().map(Vec::len).sum()
    }

    /// Everything came once, and what is before the dash of `thread-number` came in order, from one partition.
    pub fn holds_exactly(&self, expected: usize) {
        let came = self.came.lock().unwrap();
        let mut all: Vec<&String> = came.values().flatten().collect();
        assert_eq!(all.len(), expected, "lost or doubled");
        all.sort();
        all.dedup();
        assert_eq!(all.len(), expected, "doubled");
        let mut threads: BTreeMap<&str, (i64, u64)> = BTreeMap::new();
        for (part, texts) in came.iter() {
            for text in texts {
                let (thread, number) = text.split_once('-').unwrap();
                let number: u64 = number.parse().unwrap();
                if let Some((first, last)) = threads.insert(thread, (*part, number)) {
                    assert!(first == *part && last < number, "{text} came after {last}, from {part} and {first}");
                }
            }
        }
    }
}

/// Entries `numbers` of ten threads, each with the text `thread-number`.
pub fn entries(numbers: std::ops::Range<usize>) -> Vec<Entry> {
    let entry = |number: usize| {
        let thread = format!("t{}", number % 10);
        Entry { key: format!("s/{number}"), bytes: format!("{thread}-{number}").into_bytes(), thread }
    };
    numbers.map(entry).collect()
}

pub async fn next(reader: &mut Reader) -> Batch {
    let batch = tokio::time::timeout(Duration::from_secs(60), reader.next(500)).await;
    batch.expect("a batch in time").unwrap()
}

/// A worker: reads and stores until `stop`.
pub async fn work(mut reader: Reader, store: Arc<Store>, stop: Arc<AtomicBool>) {
    while !stop.load(Ordering::SeqCst) {
        let Ok(batch) = tokio::time::timeout(Duration::from_millis(100), reader.next(100)).await else { continue };
        let Ok(batch) = batch else { continue };
        if store.take(&batch) {
            reader.stored(batch.part, &batch.to);
        } else {
            reader.reset(batch.part).await;
        }
    }
}

/// Appends until it is durable, as a connector does.
pub async fn insist(bus: &Bus, entries: Vec<Entry>) -> u32 {
    let mut failures = 0;
    while let Err(error) = bus.append(entries.clone()).await {
        assert!(error.is_retryable(), "{error}");
        failures += 1;
        assert!(failures < 200, "{error}");
        Clock::System.sleep(Duration::from_millis(50)).await;
    }
    failures
}

/// Waits, in real time, until `look` says so.
pub async fn until(what: &str, mut look: impl FnMut() -> bool) {
    let began = Clock::System.now();
    while !look() {
        assert!(Clock::System.now().since(began) < Duration::from_secs(90), "waited in vain until {what}");
        Clock::System.sleep(Duration::from_millis(20)).await;
    }
}

fn client(kafka: &Kafka) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", kafka.bootstrap());
    config
}

fn admin(kafka: &Kafka) -> AdminClient<DefaultClientContext> {
    client(kafka).create().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_come_and_go_and_each_mention_is_taken_in_once_and_in_order() {
    let Some(kafka) = kafka("workers that share a topic") else { return };
    let _shared = kafka.shared();
    let log = Log::of(kafka, "rebalance", 3, "session_timeout = \"6s\"");
    let store = Arc::new(Store::default());
    let stop: Vec<Arc<AtomicBool>> = (0..3).map(|_| Arc::default()).collect();
    let start = |number: usize| {
        let reader = log.bus.reader(store.marks()).unwrap();
        tokio::spawn(work(reader, Arc::clone(&store), Arc::clone(&stop[number])))
    };
    let mut workers = vec![start(0)];
    let mut sent = 0;
    let mut send = async |count: usize| {
        for _ in 0..count {
            log.bus.append(entries(sent..sent + 50)).await.unwrap();
            sent += 50;
        }
        sent
    };
    let sent_before = send(20).await;
    until("the first worker has them", || store.count() == sent_before).await;
    workers.push(start(1));
    let changes = log.metric("moksori_bus_rebalances_total");
    let mut batches = 0;
    while log.metric("moksori_bus_rebalances_total") < changes + 2.0 {
        send(1).await;
        batches += 1;
        assert!(batches < 10_000, "the second worker gets nothing");
    }
    // The first one leaves in the middle of it, a third one comes.
    stop[0].store(true, Ordering::SeqCst);
    workers.push(start(2));
    let sent = send(40).await;
    until("all is taken in", || store.count() >= sent).await;
    stop.iter().for_each(|stop| stop.store(true, Ordering::SeqCst));
    for worker in workers {
        worker.await.unwrap();
    }
    log.bus.close().await;
    store.holds_exactly(sent);
    assert!((0..3).all(|part| store.mark(part).next > 0), "every partition has some");
    let ends: i64 = log.bus.ends().await.unwrap().iter().map(|(_, end)| end.0).sum();
    assert_eq!(ends, i64::try_from(sent).unwrap());

    // What tools see of the group is where the store stands.
    let tool: BaseConsumer = client(kafka).set("group.id", "rebalance").create().unwrap();
    let mut list = TopicPartitionList::new();
    list.add_partition_range("rebalance-mentions", 0, 2);
    let committed = tool.committed_offsets(list, Duration::from_secs(10)).unwrap();
    for element in committed.elements() {
        assert_eq!(element.offset(), Offset::Offset(store.mark(element.partition().into()).next));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_position_that_the_topic_does_not_have_is_resolved_by_the_policy() {
    let Some(kafka) = kafka("positions that a topic does not have") else { return };
    let _shared = kafka.shared();
    let store = Arc::new(Store::default());
    let log = Log::of(kafka, "policy", 1, "");
    log.bus.append(entries(0..100)).await.unwrap();
    let mut reader = log.bus.reader(store.marks()).unwrap();
    let first = next(&mut reader).await;
    assert_eq!((first.part, first.from.clone(), first.records[0].position.0), (0, Mark::default(), 0));
    let id = Arc::clone(&first.to.log);
    assert!(id.len() > 10, "{id} is a topic's id");

    // Somebody else took in 40 meanwhile.
    store.set(0, Mark { log: Arc::clone(&id), next: 40 });
    reader.reset(0).await;
    let again = next(&mut reader).await;
    assert_eq!((again.from.next, again.records[0].position.0), (40, 40));

    // While it reads on, records are deleted that the store, set back, does not have yet.
    let mut expired = TopicPartitionList::new();
    expired.add_partition_offset("policy-mentions", 0, Offset::Offset(70)).unwrap();
    admin(kafka).delete_records(&expired, &AdminOptions::new()).await.unwrap();
    store.set(0, Mark { log: Arc::clone(&id), next: 50 });
    reader.reset(0).await;
    let late = next(&mut reader).await;
    assert_eq!((late.from.next, late.skipped, late.records[0].position.0), (50, 20, 70));
    assert_eq!(log.metric("moksori_bus_skipped_total"), 20.0);

    // The store knows of more than there is.
    store.set(0, Mark { log: Arc::clone(&id), next: 5_000 });
    reader.reset(0).await;
    let past = next(&mut reader).await;
    assert_eq!((past.from.next, past.records[0].position.0), (5_000, 70));
    assert_eq!(log.metric("moksori_bus_past_the_end_total"), 1.0);
    store.set(0, past.to.clone());
    drop(reader);
    log.bus.close().await;

    // The topic is deleted and made anew.
    admin(kafka).delete_topics(&["policy-mentions"], &AdminOptions::new()).await.unwrap();
    let known: BaseConsumer = client(kafka).create().unwrap();
    until("the topic is gone", || {
        let metadata = known.fetch_metadata(None, Duration::from_secs(5)).unwrap();
        !metadata.topics().iter().any(|topic| topic.name() == "policy-mentions")
    })
    .await;
    let log = Log::of(kafka, "policy", 1, "");
    log.bus.append(entries(0..200)).await.unwrap();
    let mut reader = log.bus.reader(store.marks()).unwrap();
    let anew = next(&mut reader).await;
    assert_eq!((&anew.from, anew.records[0].position.0), (&past.to, 0), "the compare-and-set is against the old log");
    assert_ne!(anew.to.log, id);
    assert_eq!(log.metric("moksori_bus_recreated_topics_total"), 1.0);
    assert!(store.take(&anew));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_is_behind_holds_little_and_loses_nothing() {
    let Some(kafka) = kafka("a reader that is behind") else { return };
    let _shared = kafka.shared();
    let log = Log::of(kafka, "behind", 2, "buffer_records = 200\nbuffer_bytes = 65536");
    for page in 0..20 {
        log.bus.append(entries(page * 1_000..(page + 1) * 1_000)).await.unwrap();
    }
    let store = Arc::new(Store::default());
    let mut reader = log.bus.reader(store.marks()).unwrap();
    until("both partitions are paused", || log.metric("moksori_bus_paused_partitions") == 2.0).await;
    let mut largest = 0;
    while store.count() < 20_000 {
        let batch = next(&mut reader).await;
        largest = largest.max(batch.records.len());
        assert!(store.take(&batch), "a batch follows the one before");
        reader.stored(batch.part, &batch.to);
    }
    // One poll may come on top of a full buffer.
    assert!(largest <= 500, "{largest}");
    store.holds_exactly(20_000);
    until("nothing is left to read", || reader.lag() == 0).await;
    until("the metric says so", || log.metric("moksori_bus_lag_records{partition=\"1\"}") == 0.0).await;
    assert_eq!(log.metric("moksori_bus_paused_partitions"), 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_broker_costs_time_and_no_mention() {
    let Some(kafka) = kafka("a broker that is killed") else { return };
    let _alone = kafka.alone();
    let log = Log::of(kafka, "killed", 3, "append_timeout = \"1s\"\nsession_timeout = \"6s\"");
    let store = Arc::new(Store::default());
    let stop = Arc::new(AtomicBool::new(false));
    let worker = tokio::spawn(work(log.bus.reader(store.marks()).unwrap(), Arc::clone(&store), Arc::clone(&stop)));
    let (bus, back) = (Arc::clone(&log.bus), Arc::new(AtomicBool::new(false)));
    let is_back = Arc::clone(&back);
    let sender = tokio::spawn(async move {
        let (mut failures, mut sent) = (0, 0);
        // Until the broker is back, however long that takes, and a little longer.
        let mut left = 20;
        while left > 0 {
            left -= usize::from(is_back.load(Ordering::SeqCst));
            failures += insist(&bus, entries(sent..sent + 20)).await;
            sent += 20;
            Clock::System.sleep(Duration::from_millis(10)).await;
        }
        (failures, sent)
    });
    until("it is under way", || store.count() > 200).await;
    tokio::task::block_in_place(|| kafka.kill());
    until("it is said that the log is not well", || log.bus.healthy().is_err()).await;
    let why = log.bus.healthy().unwrap_err();
    assert!(why.starts_with("kafka cluster \"main\" cannot be reached at ") && why.contains("bus.cluster.brokers"), "{why}");
    let began = Clock::System.now();
    let error = log.bus.append(entries(0..0)).await;
    assert!(error.is_ok(), "nothing needs no broker");
    let down = log.bus.append(vec![Entry { bytes: b"t0-x".to_vec(), ..Entry::default() }]);
    let error = down.await.unwrap_err();
    assert!(error.is_retryable() && Clock::System.now().since(began) < Duration::from_secs(10), "{error}");
    tokio::task::block_in_place(|| kafka.restart());
    back.store(true, Ordering::SeqCst);
    let (failures, sent) = sender.await.unwrap();
    assert!(failures > 0, "the sender noticed");
    // What failed in vain may have arrived all the same.
    until("all is taken in", || store.distinct().saturating_sub(usize::from(store.has("t0-x"))) == sent).await;
    until("the log is well", || log.bus.healthy().is_ok()).await;
    stop.store(true, Ordering::SeqCst);
    worker.await.unwrap();
}

impl Store {
    fn has(&self, text: &str) -> bool {
        self.came.lock().unwrap().values().flatten().any(|came| came == text)
    }

    /// How many different texts came, for an append that failed may have been taken all the same.
    fn distinct(&self) -> usize {
        let came = self.came.lock().unwrap();
        let mut all: Vec<&String> = came.values().flatten().collect();
        all.sort();
        all.dedup();
        all.len()
    }
}

fn sasl(kafka: &Kafka, mechanism: &str, file: &Path) -> String {
    let (brokers, user, _) = kafka.scram();
    format!(
        "brokers = \"{brokers}\"\nsecurity = \"sasl_plaintext\"\nmechanism = \"{mechanism}\"\nuser = \"{user}\"\n\
         password_file = {file:?}"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn the_right_password_opens_and_a_wrong_one_is_named() {
    let Some(kafka) = kafka("passwords") else { return };
    let _shared = kafka.shared();
    let dir = tempfile::tempdir().unwrap();
    let (right, wrong) = (dir.path().join("right"), dir.path().join("wrong"));
    let (_, user, password) = kafka.scram();
    std::fs::write(&right, password).unwrap();
    std::fs::write(&wrong, "canary-password").unwrap();
    for mechanism in ["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"] {
        let log = open(&section(&sasl(kafka, mechanism, &right), "sasl", 1, "")).unwrap();
        log.bus.append(entries(0..3)).await.unwrap();
        let began = Clock::System.now();
        let refused = open(&section(&sasl(kafka, mechanism, &wrong), "sasl", 1, "")).err().unwrap();
        let said = refused.to_string();
        assert!(said.contains(&format!("refused user \"{user}\": check password_file")), "{mechanism}: {said}");
        assert!(Clock::System.now().since(began) < Duration::from_secs(15), "{mechanism}");
    }
    let (brokers, certificate) = kafka.tls();
    let tls = sasl(kafka, "SCRAM-SHA-512", &right).replace("sasl_plaintext", "sasl_tls").replace(&kafka.scram().0, &brokers);
    let log = open(&section(&format!("{tls}\nca_file = {certificate:?}"), "sasl", 1, "")).unwrap();
    log.bus.append(entries(3..6)).await.unwrap();
    let reader = &mut log.bus.reader(Arc::new(Store::default()).marks()).unwrap();
    assert!(!next(reader).await.records.is_empty());

    // The whole program, at its most talkative, says the same and never the password.
    for (name, file, secret) in [("wrong", &wrong, "canary-password"), ("right", &right, password)] {
        let said = talk(dir.path(), &section(&sasl(kafka, "SCRAM-SHA-512", file), "sasl", 1, ""), name == "right");
        assert!(said.contains(if name == "wrong" { "refused user" } else { "\"started\"" }), "{name}: {said}");
        assert!(!said.contains(secret), "{name}: the password is in the log");
    }
}

/// What `moksori run` says with everything in its log, until it ends or has started.
fn talk(dir: &Path, section: &str, starts: bool) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = dir.join("moksori.toml");
    let log = dir.join("log.txt");
    let (rules, connectors) = (root.join("rules"), root.join("connectors"));
    let text = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\n[data]\ndirectory = {:?}\n[rules]\ndirectories = [{rules:?}]\n[connect]\ndirectory = \
         {connectors:?}\n[[brand]]\nkey = \"shop\"\nko = \"a\"\nen = \"a\"\n[[team]]\nkey = \"cs\"\nbrand = \"shop\"\nko = \"a\"\nen = \
         \"a\"\n{section}",
        dir.join("data")
    );
    std::fs::write(&config, text).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_moksori"))
        .args(["run", "--config"])
        .arg(&config)
        .env("MOKSORI_LOG", "trace")
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    let began = Clock::System.now();
    let said = || std::fs::read_to_string(&log).unwrap();
    while child.try_wait().unwrap().is_none() && !(starts && said().contains("\"started\"")) {
        assert!(Clock::System.now().since(began) < Duration::from_secs(40), "{}", said());
        std::thread::yield_now();
    }
    child.kill().ok();
    child.wait().unwrap();
    said()
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_are_made_and_a_difference_is_named_with_its_remedy() {
    let Some(kafka) = kafka("how topics are made") else { return };
    let _shared = kafka.shared();
    let log = Log::of(kafka, "made", 3, "");
    log.bus.relay(Relay::CaseEvents, &entries(0..5)).await.unwrap();
    log.bus.relay(Relay::Dead, &entries(0..2)).await.unwrap();
    assert_eq!(log.bus.ends().await.unwrap().len(), 3);
    drop(log);
    drop(Log::of(kafka, "made", 3, ""));
    drop(Log::of(kafka, "made", 2, ""));

    let brokers = format!("brokers = \"{}\"", kafka.bootstrap());
    let other = section(&brokers, "made", 4, "[bus.topics.mentions.x]").replace("[bus.topics.mentions.x]", "");
    let other = other.replace("[bus.topics.mentions]\n", "[bus.topics.mentions]\nretention = \"3d\"\ncleanup = \"delete\"\n");
    let said = open(&other).err().unwrap().to_string();
    for part in [
        "topic \"made-mentions\" on cluster \"main\" has partitions 3, wanted is 4: alter the topic, or set bus.topics.mentions.partitions",
        "has retention.ms 1209600000, wanted is 259200000: alter the topic, or set bus.topics.mentions.retention",
        "has cleanup.policy compact,delete, wanted is delete: alter the topic, or set bus.topics.mentions.cleanup",
        "topic \"made-case_events\" on cluster \"main\" has partitions 3",
    ] {
        assert!(said.contains(part), "{said}");
    }
    let nowhere = section("brokers = \"127.0.0.1:1\"", "made", 1, "connect_timeout = \"1s\"");
    let said = open(&nowhere).err().unwrap();
    assert!(said.is_retryable() && said.to_string().contains("cannot be reached"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erased_post_is_gone_once_the_topic_was_compacted() {
    let Some(kafka) = kafka("erasing from Kafka") else { return };
    let _shared = kafka.shared();
    let topic = NewTopic::new("erased-mentions", 2, TopicReplication::Fixed(1))
        .set("cleanup.policy", "compact,delete")
        .set("retention.ms", "1209600000")
        .set("max.compaction.lag.ms", "86400000")
        .set("segment.ms", "200")
        .set("min.cleanable.dirty.ratio", "0.01")
        .set("delete.retention.ms", "100");
    admin(kafka).create_topics([&topic], &AdminOptions::new()).await.unwrap().remove(0).unwrap();
    let log = Log::of(kafka, "erased", 2, "");
    let post = |id: &str, text: &str| Entry { key: format!("a/{id}"), thread: id.into(), bytes: text.as_bytes().to_vec() };
    log.bus.append(vec![post("1", "canary"), post("2", "kept"), post("22", "kept")]).await.unwrap();
    assert!(texts(kafka).contains(&"canary".to_owned()));
    assert_eq!(log.bus.erase(&[("a".to_owned(), "1".to_owned())]).await.unwrap(), 1);

    // A reader passes the tombstones.
    let store = Arc::new(Store::default());
    let mut reader = log.bus.reader(store.marks()).unwrap();
    let mut erased = 0;
    while erased < 2 {
        let batch = next(&mut reader).await;
        erased += batch.records.iter().filter(|record| record.erased && record.bytes.is_empty()).count();
        assert!(store.take(&batch));
    }
    let mut number = 0;
    let began = Clock::System.now();
    while texts(kafka).contains(&"canary".to_owned()) {
        assert!(Clock::System.now().since(began) < Duration::from_secs(60), "it is still there");
        // A segment is closed by a record that comes after its time.
        number += 1;
        let more = (0..8).map(|thread| post(&format!("{number}-{thread}"), "more")).collect();
        log.bus.append(more).await.unwrap();
        Clock::System.sleep(Duration::from_millis(250)).await;
    }
    assert_eq!(texts(kafka).iter().filter(|text| *text == "kept").count(), 2);
}

/// What anybody finds in the topic from its beginning.
fn texts(kafka: &Kafka) -> Vec<String> {
    let consumer: BaseConsumer = client(kafka).set("group.id", "nobody").set("enable.partition.eof", "true").create().unwrap();
    let mut list = TopicPartitionList::new();
    for part in 0..2 {
        list.add_partition_offset("erased-mentions", part, Offset::Beginning).unwrap();
    }
    consumer.assign(&list).unwrap();
    let (mut texts, mut ends) = (Vec::new(), 0);
    let began: Time = Clock::System.now();
    while ends < 2 {
        assert!(Clock::System.now().since(began) < Duration::from_secs(30));
        match consumer.poll(Duration::from_secs(1)) {
            Some(Ok(message)) => texts.extend(message.payload().map(|bytes| String::from_utf8_lossy(bytes).into_owned())),
            Some(Err(rdkafka::error::KafkaError::PartitionEOF(_))) => ends += 1,
            _ => {}
        }
    }
    texts
}
