//! R12 and R13: records that are no mentions end as dead letters with a reason, the stream goes on, and they
//! can be played again.

use std::collections::BTreeSet;

use moksori::{
    app,
    bus::{self, Bus, Entry},
    clock::Clock,
    queue::Urgency,
};
use prometheus::Registry;

use super::{
    Engines, Line,
    ledger::{USUAL, Unruly},
    shop::{PATIENCE, Shop, dice, until},
    sized,
};

/// However many die, the stream goes on.
const ENDLESS: &str = "[pipeline]\ndead_limit_percent = 100\ndead_limit_run = 0\n";

#[tokio::test(flavor = "multi_thread")]
async fn r12_poison_becomes_a_dead_letter_with_its_reason_and_the_stream_goes_on() {
    poisoned(Engines::Embedded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn r12_poison_becomes_a_dead_letter_with_its_reason_and_the_stream_goes_on_outgrown() {
    poisoned(Engines::Outgrown).await;
}

async fn poisoned(engines: Engines) {
    let copies = sized(3, 200);
    let mut dice = dice("R12");
    let Some(shop) = Shop::open("R12", engines, ENDLESS) else { return };
    let mut ledger = shop.ledger(sized(300, 20_000), USUAL, &mut dice);
    let mut child = shop.started().await;
    let lines = ledger.left();
    ledger.write(lines / 2, &mut dice);
    ledger.mend();
    until(&mut child, "half of it is there", PATIENCE, async |child| {
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
    let reasons = reasons(&shop).await;
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

#[tokio::test(flavor = "multi_thread")]
async fn r12_a_flood_of_poison_halts_the_pipeline_until_a_person_has_looked() {
    let engines = Engines::Embedded;
    let mut dice = dice("R12");
    let Some(shop) = Shop::open("R12", engines, "[pipeline]\nbatch = 10\ndead_limit_run = 50\n") else { return };
    let mut ledger = shop.ledger(100, USUAL, &mut dice);
    append(&shop, vec![b"no JSON".to_vec(); 80]).await;
    let mut child = shop.started().await;
    ledger.write_rest(&mut dice);
    let told = until(&mut child, "it halts", PATIENCE, async |child| {
        let health = child.get("/health").await;
        (health.body.contains("dead letters")).then_some(health)
    })
    .await;
    assert!(told.status == 200 && told.body.contains("degraded") && told.body.contains("dead_limit_run"), "{told:?}");
    let halted_at = child.metric("moksori_pipeline_dead_letters_total").await.unwrap();
    let (status, _) = child.terminate().await;
    assert!(status.success(), "{status}");
    // Started again, it goes on: thirty are left, and the posts behind them.
    let found = shop.settle(shop.started().await, &ledger, 80).await;
    Line::new("R12", engines).of("flood_halted_at", halted_at, 50).found(&found).print();
    assert!((50.0..60.0).contains(&halted_at), "{halted_at}");
}

#[tokio::test(flavor = "multi_thread")]
async fn r13_dead_letters_that_are_played_again_count_once() {
    played_again(Engines::Embedded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn r13_dead_letters_that_are_played_again_count_once_outgrown() {
    played_again(Engines::Outgrown).await;
}

/// Posts that the store could not take once, half of which came some other way meanwhile.
async fn played_again(engines: Engines) {
    let mut dice = dice("R13");
    let Some(shop) = Shop::open("R13", engines, "") else { return };
    let mut ledger = shop.ledger(sized(400, 20_000), Unruly { deleted: 10, ..USUAL }, &mut dice);
    let withheld = ledger.withhold(10);
    let here: Vec<usize> = (0..ledger.posts.len()).filter(|number| number % 10 == 3 && ledger.posts[*number].alive()).collect();
    let buried: Vec<(i64, Vec<u8>)> =
        (1_000_000..).zip(withheld.iter().chain(&here).map(|number| ledger.envelope(*number))).collect();
    let letters = buried.len();
    std::fs::create_dir_all(shop.data()).unwrap();
    let (store, _rules) = app::open_store(&shop.config, &Clock::System, &Registry::new()).await.unwrap();
    let bury = store.write(Urgency::Person, move |tx| {
        buried.iter().try_for_each(|(at, bytes)| tx.bury("", 0, *at, "could not be stored", bytes))
    });
    bury.await.unwrap();
    tokio::task::spawn_blocking(move || store.close()).await.unwrap();

    let mut child = shop.started().await;
    ledger.write_rest(&mut dice);
    until(&mut child, "what was told is there", PATIENCE, async |_| {
        (shop.total(&ledger.last_token()).await? == 1).then_some(())
    })
    .await;
    // Letters about other posts outlive the erasure of the deleted ones.
    if shop.kafka.is_none() {
        until(&mut child, "deleted texts have left the log", PATIENCE, async |child| {
            (child.metric("moksori_bus_erased_records_total").await? > 0.0).then_some(())
        })
        .await;
    }
    let (mut played, mut begun) = (Vec::new(), Vec::new());
    for _ in 0..2 {
        let begun_at = Clock::System.now();
        let answer = shop.command("replay dead", serde_json::Value::Null).await.unwrap();
        played.push(answer["replayed"].as_u64().unwrap_or_else(|| panic!("{answer}")));
        begun.push(Clock::System.now().since(begun_at).as_millis());
    }
    shop.catches_up(&mut child, &ledger).await;
    let found = shop.settle(child, &ledger, letters as u64).await;
    Line::new("R13", engines)
        .of("replayed", played[0], letters)
        .is("replayed_again", played[1])
        .found(&found)
        .is("withheld", withheld.len())
        .is("took_ms", begun[0])
        .print();
    assert_eq!(played, [letters as u64, 0]);
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

/// The reasons of all dead letters of a desk that is down, each once.
async fn reasons(shop: &Shop) -> BTreeSet<String> {
    let (store, _rules) = app::open_store(&shop.config, &Clock::System, &Registry::new()).await.unwrap();
    let letters = store.read(|reader| reader.dead_letters(0, 1_000_000)).await.unwrap();
    tokio::task::spawn_blocking(move || store.close()).await.unwrap();
    letters.into_iter().map(|letter| letter.reason).collect()
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
