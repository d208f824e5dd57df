//! R3: SIGTERM under load ends the process within ten seconds, and the next one does hardly anything again.

use std::{fs, time::Duration};

use moksori::{
    clock::Clock,
    queue::{self, Store, Urgency},
};
use prometheus::Registry;

use super::{
    Engines, Line,
    ledger::USUAL,
    shop::{PATIENCE, Shop, dice, until},
    sized,
    wreck::Wreck,
};

const BATCH: usize = 100;

#[tokio::test(flavor = "multi_thread")]
async fn r3_asked_to_end_under_load_it_ends_in_time_and_leaves_nothing_half_done() {
    asked_to_end(Engines::Embedded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn r3_asked_to_end_under_load_it_ends_in_time_and_leaves_nothing_half_done_outgrown() {
    asked_to_end(Engines::Outgrown).await;
}

async fn asked_to_end(engines: Engines) {
    let (rounds, posts) = match engines {
        Engines::Embedded => sized((2, 2_000), (20, 400_000)),
        Engines::Outgrown => sized((1, 800), (10, 100_000)),
    };
    let mut dice = dice("R3");
    let Some(shop) = Shop::open("R3", engines, &format!("[pipeline]\nbatch = {BATCH}\n")) else { return };
    let mut ledger = shop.ledger(posts, USUAL, &mut dice);
    let lines = ledger.left();
    let (mut slowest, mut again, mut under_load) = (Duration::ZERO, 0, 0);
    for _ in 0..rounds {
        let mut child = shop.started().await;
        ledger.write(lines / rounds, &mut dice);
        until(&mut child, "it works", PATIENCE, async |child| {
            (child.metric("moksori_pipeline_records_total").await? > 0.0).then_some(())
        })
        .await;
        let (status, took) = child.terminate().await;
        assert!(status.success(), "{status}");
        slowest = slowest.max(took);
        let wreck = if shop.kafka.is_none() { Some(Wreck::of(&shop.config).await) } else { None };
        under_load +=
            usize::from(wreck.as_ref().is_none_or(|wreck| wreck.position < wreck.bus || wreck.cursor < ledger.written));
        // What the next process judges beyond what was left to it, this one had done already.
        let mut child = shop.started().await;
        ledger.mend();
        let judged = until(&mut child, "it has caught up", PATIENCE, async |child| {
            let end = child.metric("moksori_bus_end_position").await.unwrap_or(0.0);
            let lag = child.metric("moksori_pipeline_lag_records").await?;
            ((end as usize >= lines - ledger.left() || wreck.is_none()) && lag == 0.0).then_some(())?;
            child.metric("moksori_pipeline_records_total").await
        })
        .await;
        if let Some(wreck) = wreck {
            let end = child.metric("moksori_bus_end_position").await.unwrap();
            again = again.max(judged as i64 - (end as i64 - wreck.position));
        }
        let (status, took) = child.terminate().await;
        assert!(status.success(), "{status}");
        slowest = slowest.max(took);
    }
    ledger.write_rest(&mut dice);
    let mut child = shop.started().await;
    shop.catches_up(&mut child, &ledger).await;
    let end = child.metric("moksori_bus_end_position").await.unwrap_or(lines as f64);
    let found = shop.settle(child, &ledger, 0).await;
    Line::new("R3", engines)
        .of("stops", rounds * 2, rounds * 2)
        .is("under_load", under_load)
        .found(&found)
        .is("stop_ms", slowest.as_millis())
        .is("judged_again", again)
        .is("appended_again", (end as usize).saturating_sub(lines))
        .print();
    assert!(slowest < Duration::from_secs(10), "{slowest:?}");
    assert!(again <= BATCH as i64, "{again} records were judged again");
    assert!(under_load > 0, "it was never stopped while it worked");
}

#[tokio::test(flavor = "multi_thread")]
async fn steady_writing_never_keeps_the_stores_log_from_being_copied() {
    let Some(shop) = Shop::open("R3", Engines::Embedded, "") else { return };
    fs::create_dir(shop.data()).unwrap();
    let metrics = queue::Metrics::new(&Registry::new()).unwrap();
    let store = Store::open(shop.data(), shop.config.queue.clone(), Clock::System, metrics).unwrap();
    let size = || fs::metadata(shop.data().join("desk.db")).unwrap().len();
    let (fresh, begun_at, value) = (size(), Clock::System.now(), "x".repeat(100_000));
    let mut number = 0;
    while size() <= fresh + 100_000 {
        let value = value.clone();
        let saved = store.write(Urgency::Batch, move |tx| tx.save_cursor(&format!("cursor {number}"), &value));
        saved.await.unwrap();
        number += 1;
        assert!(Clock::System.now().since(begun_at) < PATIENCE / 4, "{number} commits and nothing was copied");
    }
    tokio::task::spawn_blocking(move || store.close()).await.unwrap();
}
