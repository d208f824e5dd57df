//! R6: everything comes three times and out of order: edits and deletes before what they are about.

use std::{fs, path::Path, time::Duration};

use moksori::clock::Clock;
use regex::bytes::Regex;

use super::{
    Engines, Line,
    ledger::{Ledger, USUAL, Unruly},
    shop::{Shop, dice},
    sized,
};

/// Every post comes three times, a fifth is edited and a tenth deleted, half of all lines change places.
const UNRULY: Unruly = Unruly { doubled: 100, times: 2, swapped: 50, edited: 20, deleted: 10, ..USUAL };

#[tokio::test(flavor = "multi_thread")]
async fn r6_three_times_and_out_of_order_is_as_good_as_once_and_deleted_text_is_gone() {
    thrice(Engines::Embedded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn r6_three_times_and_out_of_order_is_as_good_as_once_and_deleted_text_is_gone_outgrown() {
    thrice(Engines::Outgrown).await;
}

async fn thrice(engines: Engines) {
    let mut dice = dice("R6");
    let Some(shop) = Shop::open("R6", engines, "[pipeline]\nbatch = 100\n") else { return };
    let mut ledger = shop.ledger(sized(1_000, 50_000), UNRULY, &mut dice);
    let lines = ledger.left();
    let mut child = shop.started().await;
    ledger.write_rest(&mut dice);
    let took = shop.catches_up(&mut child, &ledger).await;
    let (status, _) = child.terminate().await;
    assert!(status.success(), "{status}");
    // A text that came after its delete leaves the log within a minute, or at the next start.
    let found = shop.settle(shop.started().await, &ledger, 0).await;
    let left = {
        let begun_at = Clock::System.now();
        loop {
            let left = traces(shop.data(), &ledger);
            if left.is_empty() || Clock::System.now().since(begun_at) > Duration::from_secs(60) {
                break left;
            }
            let child = shop.started().await;
            Clock::System.sleep(Duration::from_millis(500)).await;
            let (status, _) = child.terminate().await;
            assert!(status.success(), "{status}");
        }
    };
    let gone = ledger.posts.iter().filter(|post| !post.alive()).count();
    Line::new("R6", engines)
        .of("lines", lines, lines)
        .found(&found)
        .is("deleted", gone)
        .is("traces", left.len())
        .is("took_ms", took.as_millis())
        .print();
    assert!(left.is_empty(), "deleted text is in {:?}", &left[..left.len().min(10)]);
}

/// Files of the data directory that hold a deleted post's own word, with the post's number.
fn traces(dir: &Path, ledger: &Ledger) -> Vec<(String, usize)> {
    let word = Regex::new(r"kz(\d{7})q").unwrap();
    let mut traces = Vec::new();
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            traces.extend(self::traces(&entry.path(), ledger));
        } else if entry.file_type().unwrap().is_file() {
            let bytes = fs::read(entry.path()).unwrap();
            for found in word.captures_iter(&bytes) {
                let number: usize = std::str::from_utf8(&found[1]).unwrap().parse().unwrap();
                if ledger.posts.get(number).is_some_and(|post| !post.alive()) {
                    traces.push((entry.path().display().to_string(), number));
                }
            }
        }
    }
    traces
}
