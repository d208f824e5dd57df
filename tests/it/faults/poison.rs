//! R12: records that are no mentions end as dead letters with a reason, and the stream goes on.

use std::collections::BTreeSet;

use moksori::{
    bus::{self, Bus, Entry},
    clock::Clock,
};
use prometheus::Registry;
use rusqlite::Connection;

use super::{
    Engines, Line,
    ledger::USUAL,
    shop::{Shop, dice},
    sized,
};

#[tokio::test(flavor = "multi_thread")]
async fn r12_poison_becomes_a_dead_letter_with_its_reason_and_the_stream_goes_on() {
    poisoned(Engines::Embedded).await;
}

async fn poisoned(engines: Engines) {
    let copies = sized(3, 200);
    let mut dice = dice("R12");
    let Some(shop) = Shop::open(engines, "") else { return };
    let mut ledger = shop.ledger(sized(300, 20_000), USUAL, &mut dice);
    let mut child = shop.started().await;
    let lines = ledger.left();
    ledger.write(lines / 2, &mut dice);
    ledger.mend();
    super::shop::until(&mut child, "half of it is there", super::shop::PATIENCE, async |child| {
        (child.metric("moksori_pipeline_records_total").await? as usize >= lines / 2).then_some(())
    })
    .await;
    let usual_kib = child.memory_kib("VmRSS");
    let (status, _) = child.terminate().await;
    assert!(status.success(), "{status}");

    let kinds = poison();
    let mut records = Vec::new();
    for copy in 0..copies {
        // A few of the large ones say as much as many.
        records.extend(kinds.iter().filter(|(_, bytes)| copy < 3 || bytes.len() < 1 << 20).cloned());
    }
    let dead = records.len() as u64;
    append(&shop, records.iter().map(|(_, bytes)| bytes.clone()).collect()).await;
    let mut child = shop.started().await;
    ledger.write_rest(&mut dice);
    shop.catches_up(&mut child, &ledger).await;
    let lag = child.metric("moksori_pipeline_lag_records").await.unwrap();
    let peak_kib = child.memory_kib("VmHWM");
    let counted = child.metric("moksori_pipeline_dead_letters_total").await.unwrap();
    let grown = peak_kib.saturating_sub(usual_kib) / 1024;
    let found = shop.settle(child, &ledger, dead).await;
    let reasons = reasons(&shop);
    Line::new("R12", engines)
        .of("dead_letters", counted, dead)
        .found(&found)
        .is("kinds", kinds.len())
        .is("reasons", reasons.len())
        .is("lag", lag)
        .is("memory_mib", format!("+{grown}"))
        .print();
    assert_eq!((counted as u64, lag as u64), (dead, 0));
    assert!(grown < 300, "{grown} MiB more; 100 are allowed");
    assert!(reasons.iter().all(|reason| !reason.contains("secret")), "a reason holds no text: {reasons:?}");
}

/// What no producer should ever send, by what is wrong with it.
fn poison() -> Vec<(&'static str, Vec<u8>)> {
    let mention = |text: &str| {
        format!(
            r#"{{"v":1,"source":"file:shop-file","native_id":"poison","first_seen_at":5,"author":{{"native_id":"7","handle":"a"}},"text":"{text}"}}"#
        )
    };
    let mut bad = mention("secret").into_bytes();
    let at = bad.windows(6).position(|part| part == b"secret").unwrap();
    bad[at + 1] = 0xff;
    let mut nul = mention("secret").into_bytes();
    nul[at + 1] = 0;
    let deep = format!("{{\"v\":1,\"text\":{}{}}}", "[".repeat(10_000), "]".repeat(10_000));
    vec![
        ("bad UTF-8", bad),
        ("a bare NUL", nul),
        ("10 MB", mention(&"secret ".repeat(10_000_000 / 7)).into_bytes()),
        ("10,000 levels", deep.into_bytes()),
        ("wrong types", mention("secret").replace("\"poison\"", "[\"secret\"]").into_bytes()),
        ("an unpaired surrogate", mention("secret \\ud800").into_bytes()),
        ("an unknown key", mention("secret").replace("\"v\"", "\"secret\":1,\"v\"").into_bytes()),
        ("another version", mention("secret").replace("\"v\":1", "\"v\":7").into_bytes()),
        ("no author", br#"{"v":1,"source":"x:y","native_id":"1","first_seen_at":5,"text":"secret"}"#.to_vec()),
        ("nothing", Vec::new()),
        ("no JSON", b"secret".to_vec()),
        ("half of it", mention("secret").into_bytes()[..40].to_vec()),
    ]
}

/// The reasons of all dead letters, each once.
fn reasons(shop: &Shop) -> BTreeSet<String> {
    let connection = Connection::open(shop.data().join("desk.db")).unwrap();
    let mut select = connection.prepare("SELECT reason FROM dead_letter").unwrap();
    select.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

/// Puts records into the log of a desk that is down, past every connector.
async fn append(shop: &Shop, records: Vec<Vec<u8>>) {
    let metrics = bus::Metrics::new(&Registry::new()).unwrap();
    let bus = Bus::open(&shop.data().join("bus"), shop.config.bus.clone(), Clock::System, metrics).unwrap();
    for records in records.chunks(4) {
        let entry = |bytes: &Vec<u8>| Entry { bytes: bytes.clone(), ..Entry::default() };
        bus.append(records.iter().map(entry).collect()).await.unwrap();
    }
    bus.close().await;
}
