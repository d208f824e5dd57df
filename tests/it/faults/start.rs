//! R22 and R23: two processes on one directory, an index of another version, a store of a newer program.

use std::{fs, time::Duration};

use rusqlite::Connection;

use super::{
    Engines, Line,
    child::{Child, Start},
    ledger::USUAL,
    shop::{PATIENCE, Shop, dice},
    sized,
};
use moksori::clock::Clock;

#[tokio::test(flavor = "multi_thread")]
async fn r22_a_second_process_on_the_same_directory_is_refused() {
    let engines = Engines::Embedded;
    let tries = sized(2, 20);
    let mut dice = dice("R22");
    let Some(shop) = Shop::open("R22", engines, "") else { return };
    let mut ledger = shop.ledger(200, USUAL, &mut dice);
    let first = shop.started().await;
    ledger.write_rest(&mut dice);
    let mut slowest = Duration::ZERO;
    for _ in 0..tries {
        let (took, said) = refused(&shop).await;
        assert!(said.contains("another moksori (pid "), "{said}");
        slowest = slowest.max(took);
    }
    let found = shop.settle(first, &ledger, 0).await;
    Line::new("R22", engines).of("refused", tries, tries).found(&found).is("refused_ms", slowest.as_millis()).print();
    assert!(slowest < Duration::from_secs(10), "{slowest:?}; 2 s are allowed");
}

#[tokio::test(flavor = "multi_thread")]
async fn r23_an_older_index_is_built_again_and_a_newer_store_or_log_is_refused() {
    let engines = Engines::Embedded;
    let mut dice = dice("R23");
    let Some(shop) = Shop::open("R23", engines, "[search]\ncommit_every = \"100ms\"\n") else { return };
    let mut ledger = shop.ledger(sized(500, 50_000), USUAL, &mut dice);
    let mut child = shop.started().await;
    ledger.write_rest(&mut dice);
    shop.catches_up(&mut child, &ledger).await;
    let (status, _) = child.terminate().await;
    assert!(status.success(), "{status}");

    // A newer program's files: refused in words, and left as they are.
    let bus = fs::read_dir(shop.data().join("bus")).unwrap().map(|entry| entry.unwrap().path());
    let bus = bus.filter(|path| path.extension().is_some_and(|name| name == "db")).max().unwrap();
    let store = shop.data().join("desk.db");
    let mut slowest = Duration::ZERO;
    for (path, words) in [(&store, "run a newer moksori"), (&bus, "has log format 99")] {
        let known = version(path, None);
        version(path, Some(99));
        let (took, said) = refused(&shop).await;
        assert!(said.contains(words), "{said}");
        assert_eq!(version(path, None), 99, "it was left as it is");
        version(path, Some(known));
        slowest = slowest.max(took);
    }

    // An index of another version: its position is not understood, so that it is built again from the store.
    let meta = shop.data().join("index/meta.json");
    let text = fs::read_to_string(&meta).unwrap();
    let payload = text.split("\"payload\":").nth(1).and_then(|rest| rest.split('"').nth(1)).unwrap();
    let mut older = payload.split(' ').map(str::to_owned).collect::<Vec<_>>();
    older[1] = "older".into();
    fs::write(&meta, text.replace(payload, &older.join(" "))).unwrap();
    let begun_at = Clock::System.now();
    let mut child = shop.started().await;
    shop.catches_up(&mut child, &ledger).await;
    let rebuilt = Clock::System.now().since(begun_at);
    assert!(child.log().contains("it is built again"), "{}", child.log());
    let found = shop.settle(child, &ledger, 0).await;
    Line::new("R23", engines)
        .of("refused", 2, 2)
        .found(&found)
        .is("refused_ms", slowest.as_millis())
        .is("rebuilt_ms", rebuilt.as_millis())
        .print();
}

/// How long it took to be refused, and in which words.
async fn refused(shop: &Shop) -> (Duration, String) {
    let mut second = Child::start(&shop.path, &Start::default());
    let status = loop {
        if let Some(status) = second.ended() {
            break status;
        }
        assert!(second.age() < PATIENCE, "it is not refused\n{}", second.log());
        Clock::System.sleep(Duration::from_millis(5)).await;
    };
    assert_eq!(status.code(), Some(1), "{}", second.log());
    (second.age(), second.log())
}

/// Reads, or sets, the version that a SQLite file says it has.
fn version(path: &std::path::Path, set: Option<i64>) -> i64 {
    let connection = Connection::open(path).unwrap();
    if let Some(set) = set {
        connection.pragma_update(None, "user_version", set).unwrap();
    }
    connection.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap()
}
