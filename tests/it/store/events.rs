//! The one sequence of events: numbers without a gap, in the order of the commits, for every follower.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use moksori::{
    case::{Actor, EventKind, Seq},
    queue::{Error, Event, NewEvent, Store, Tx, Urgency},
};
use tokio::task::JoinSet;

use super::on_both;

/// How long a follower may wait for a number that was committed, on a machine with much else to do.
const PATIENCE: Duration = Duration::from_secs(30);

fn note(tx: &mut Tx<'_>, payload: String) {
    let (at, actor, kind) = (tx.now, Actor::System, EventKind::Noted);
    tx.event(NewEvent { case: None, mention: None, at, actor, kind, payload: Some(payload) });
}

/// Reads the events after a number as the index does, until it has seen `last`.
async fn follow(store: Arc<Store>, last: impl Fn() -> Option<i64>) -> Vec<Event> {
    let mut seq = store.follow();
    let mut seen: Vec<Event> = Vec::new();
    loop {
        let from = seen.last().map_or(Seq(0), |event| event.seq);
        let new = store.read(move |reader| reader.events_after(from, 7)).await.unwrap();
        if !new.is_empty() {
            seen.extend(new);
            continue;
        }
        if last().is_some_and(|last| from.0 >= last) {
            return seen;
        }
        // The number may have come just now; whoever waits looks again in any case.
        let changed = tokio::time::timeout(Duration::from_millis(200), seq.wait_for(|now| *now > from)).await;
        drop(changed);
    }
}

fn without_gap(events: &[Event]) {
    for (expected, event) in (1..).zip(events) {
        assert_eq!(event.seq, Seq(expected), "after {:?}", events.get(usize::try_from(expected).unwrap().saturating_sub(2)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_numbers_its_events_in_their_order_and_a_failed_one_takes_none() {
    on_both(async |shop| {
        let tell = |names: &'static [&'static str], fails: bool| {
            shop.store.write(Urgency::Batch, move |tx| {
                names.iter().for_each(|name| note(tx, (*name).to_owned()));
                if fails { Err(Error::Closed) } else { Ok(()) }
            })
        };
        assert_eq!(*shop.store.follow().borrow(), Seq(0));
        tell(&["one", "two"], false).await.unwrap();
        tell(&["never"], true).await.unwrap_err();
        tell(&[], false).await.unwrap();
        tell(&["three"], false).await.unwrap();
        let events = shop.read(|reader| reader.events_after(Seq(0), 100)).await;
        without_gap(&events);
        let told: Vec<_> = events.iter().filter_map(|event| event.payload.as_deref()).collect();
        assert_eq!(told, ["one", "two", "three"]);
        let mut seq = shop.store.follow();
        tokio::time::timeout(PATIENCE, seq.wait_for(|seq| *seq == Seq(3))).await.unwrap().unwrap();
        let some = shop.read(|reader| reader.events_after(Seq(1), 1)).await;
        assert_eq!(some.iter().map(|event| event.seq).collect::<Vec<_>>(), [Seq(2)]);
        let again = shop.reopened();
        assert_eq!(*again.follow().borrow(), Seq(3), "the next process goes on from there");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn followers_see_every_number_once_and_in_order_while_many_write() {
    const WRITERS: usize = 8;
    const EACH: usize = 40;
    on_both(async |shop| {
        let stores = [Arc::clone(&shop.store), shop.second()];
        let done = Arc::new(AtomicBool::new(false));
        // Each writer makes 1 to 3 events a transaction, and every fifth transaction fails.
        let events = |step: usize| if step % 5 == 4 { 0 } else { 1 + step % 3 };
        let total = i64::try_from(WRITERS * (0..EACH).map(events).sum::<usize>()).unwrap();
        let followers: Vec<_> = stores
            .iter()
            .map(|store| {
                let done = Arc::clone(&done);
                tokio::spawn(follow(Arc::clone(store), move || done.load(Ordering::SeqCst).then_some(total)))
            })
            .collect();
        let mut writers = JoinSet::new();
        for writer in 0..WRITERS {
            let store = Arc::clone(&stores[writer % 2]);
            let urgency = if writer % 3 == 0 { Urgency::Person } else { Urgency::Batch };
            writers.spawn(async move {
                for step in 0..EACH {
                    let work = move |tx: &mut Tx<'_>| {
                        (0..events(step).max(1)).for_each(|part| note(tx, format!("{writer} {step:02} {part}")));
                        if events(step) == 0 { Err(Error::Unknown { what: "fault of a test" }) } else { Ok(()) }
                    };
                    let written = super::races::stubborn(&store, urgency, work).await;
                    assert_eq!(written.is_err(), events(step) == 0, "{written:?}");
                }
            });
        }
        while let Some(ended) = writers.join_next().await {
            ended.unwrap();
        }
        done.store(true, Ordering::SeqCst);
        for follower in followers {
            let seen = tokio::time::timeout(PATIENCE, follower).await.expect("it sees the last number").unwrap();
            assert_eq!(i64::try_from(seen.len()).unwrap(), total);
            without_gap(&seen);
            for writer in 0..WRITERS {
                let own: Vec<&str> = seen.iter().filter_map(|event| event.payload.as_deref()).collect();
                let own: Vec<&&str> = own.iter().filter(|told| told.starts_with(&format!("{writer} "))).collect();
                assert!(own.is_sorted(), "a writer's own order: {own:?}");
            }
            let together = seen.windows(2).filter(|pair| {
                let transaction =
                    |event: &Event| event.payload.as_deref().and_then(|told| told.rsplit_once(' ')).map(|t| t.0.to_owned());
                transaction(&pair[0]) == transaction(&pair[1])
            });
            let parts: usize = WRITERS * (0..EACH).map(|step| events(step).saturating_sub(1)).sum::<usize>();
            assert_eq!(together.count(), parts, "the events of a transaction stand together");
        }
    })
    .await;
}
