//! What one node at a time should do moves when that node is lost, and at once when it stops.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use moksori::{
    clock::Clock,
    lease::{LASTS, Leases, Metrics, Work},
    queue::{self, Config, Store},
};
use prometheus::Registry;
use tokio::sync::watch;

/// A node that counts itself in while it works.
struct Node {
    working: Arc<AtomicUsize>,
    stop: watch::Sender<bool>,
    task: tokio::task::JoinHandle<()>,
}

impl Node {
    fn start(store: &Arc<Store>, clock: &Clock, at_work: &Arc<AtomicUsize>) -> Node {
        let working = Arc::new(AtomicUsize::new(0));
        let (stop, stopped) = watch::channel(false);
        let leases = Leases::new(Arc::clone(store), clock.clone(), Metrics::new(&Registry::new()).unwrap());
        let (mine, all) = (Arc::clone(&working), Arc::clone(at_work));
        let work = move |mut end: watch::Receiver<bool>| {
            let (mine, all) = (Arc::clone(&mine), Arc::clone(&all));
            Box::pin(async move {
                mine.store(1, Ordering::SeqCst);
                assert_eq!(all.fetch_add(1, Ordering::SeqCst), 0, "two work at once");
                drop(end.wait_for(|end| *end).await);
                all.fetch_sub(1, Ordering::SeqCst);
                mine.store(0, Ordering::SeqCst);
            }) as Work
        };
        Node { working, stop, task: tokio::spawn(leases.hold("alarms".to_owned(), stopped, work)) }
    }

    fn works(&self) -> bool {
        self.working.load(Ordering::SeqCst) == 1
    }
}

/// Waits for it; how long that took.
async fn wait(clock: &Clock, done: impl Fn() -> bool) -> Duration {
    let begun = clock.now();
    while !done() {
        assert!(clock.now().since(begun) < Duration::from_secs(60), "it never came to that");
        clock.sleep(Duration::from_millis(20)).await;
    }
    clock.now().since(begun)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_nodes_work_moves_within_ten_seconds_and_a_stopped_ones_sooner() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Clock::System;
    let metrics = queue::Metrics::new(&Registry::new()).unwrap();
    let store = Store::open(dir.path(), Config::sqlite(2, 1_000), clock.clone(), metrics).unwrap();
    let at_work = Arc::new(AtomicUsize::new(0));
    let first = Node::start(&store, &clock, &at_work);
    wait(&clock, || first.works()).await;
    let second = Node::start(&store, &clock, &at_work);

    // Lost: nobody gives the lease back.
    first.task.abort();
    let moved = wait(&clock, || second.works()).await;
    assert!(!first.works() && moved <= Duration::from_secs(10), "{moved:?}");

    let third = Node::start(&store, &clock, &at_work);
    second.stop.send_replace(true);
    let moved = wait(&clock, || third.works()).await;
    assert!(!second.works() && moved < LASTS, "{moved:?}");
    third.stop.send_replace(true);
    wait(&clock, || third.task.is_finished() && second.task.is_finished()).await;
}
