//! R4 on librdkafka's mock cluster: a slow network, leaders and coordinators that move, a broker that is gone.
//!
//! It keeps 100,000 records a partition, knows no topic's configuration and nothing of transactions.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use moksori::{bus::Marks, clock::Clock};
use rdkafka::{
    ClientContext,
    mocking::{MockCluster, MockCoordinator},
};

use crate::bus_kafka::{Log, Store, entries, insist, open, section, until, work};

/// A log on the cluster; its producer is patient, since a slow network is no failure.
fn open_on(cluster: &MockCluster<'_, impl ClientContext>) -> Log {
    for topic in ["mock-mentions", "mock-dead", "mock-case_events"] {
        cluster.create_topic(topic, 3, 3).unwrap();
    }
    let brokers = format!("brokers = \"{}\"", cluster.bootstrap_servers());
    open(&section(&brokers, "mock", 3, "append_timeout = \"20s\"")).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_waits_for_a_store_that_is_down_and_closes_all_the_same() {
    let cluster = MockCluster::new(1).unwrap();
    let log = open_on(&cluster);
    log.bus.append(entries(0..10)).await.unwrap();
    let asked = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&asked);
    let marks: Marks = Arc::new(move |_part| {
        counter.fetch_add(1, Ordering::SeqCst);
        Box::pin(std::future::ready(Err("the store is down".to_owned())))
    });
    let reader = log.bus.reader(marks).unwrap();
    until("the store was asked again", || asked.load(Ordering::SeqCst) > 1).await;
    let began = Clock::System.now();
    drop(reader);
    log.bus.close().await;
    assert!(Clock::System.now().since(began) < Duration::from_secs(4));
}

#[tokio::test(flavor = "multi_thread")]
async fn r4_a_slow_network_and_brokers_that_change_cost_time_and_no_mention() {
    let cluster = MockCluster::new(3).unwrap();
    let log = open_on(&cluster);
    let store = Arc::new(Store::default());
    let stop = Arc::new(AtomicBool::new(false));
    let worker = tokio::spawn(work(log.bus.reader(store.marks()).unwrap(), Arc::clone(&store), Arc::clone(&stop)));
    let mut sent = 0;
    let mut send = async |pages: usize| {
        for _ in 0..pages {
            insist(&log.bus, entries(sent..sent + 50)).await;
            sent += 50;
        }
        sent
    };
    let count = send(4).await;
    until("the first are taken in", || store.count() == count).await;

    // A round trip takes two seconds.
    (1..=3).for_each(|broker| cluster.broker_round_trip_time(broker, Duration::from_secs(2)).unwrap());
    let began = Clock::System.now();
    let count = send(2).await;
    assert!(Clock::System.now().since(began) > Duration::from_secs(2), "it is slow");
    until("the slow ones are taken in", || store.count() == count).await;
    (1..=3).for_each(|broker| cluster.broker_round_trip_time(broker, Duration::ZERO).unwrap());

    // Leaders and the coordinator move while mentions come.
    for round in 0..6 {
        (0..3).for_each(|part| cluster.partition_leader("mock-mentions", part, Some((part + round) % 3 + 1)).unwrap());
        let group = MockCoordinator::Group("mock".into());
        cluster.coordinator(group, round % 3 + 1).unwrap();
        send(4).await;
    }
    let count = send(1).await;
    until("those are taken in that came while leaders moved", || store.count() == count).await;

    // A broker that led everything is gone, and another leads.
    (0..3).for_each(|part| cluster.partition_leader("mock-mentions", part, Some(1)).unwrap());
    send(2).await;
    cluster.broker_down(1).unwrap();
    (0..3).for_each(|part| cluster.partition_leader("mock-mentions", part, Some(2)).unwrap());
    cluster.coordinator(MockCoordinator::Group("mock".into()), 3).unwrap();
    let count = send(4).await;
    until("those are taken in that came while a broker was down", || store.count() >= count).await;
    cluster.broker_up(1).unwrap();
    let count = send(2).await;
    until("all are taken in", || store.count() >= count).await;
    stop.store(true, Ordering::SeqCst);
    worker.await.unwrap();
    store.holds_exactly(count);
}
