//! Tests of the log.

use std::{fs, time::Duration};

use prometheus::Registry;
use tempfile::TempDir;

use super::*;
use crate::clock::Time;

fn metrics() -> Metrics {
    Metrics::new(&Registry::new()).unwrap()
}

fn noon() -> Clock {
    Clock::by_hand(Time::parse("2026-11-25T12:00:00Z").unwrap())
}

fn open_with(dir: &Path, cache_bytes: usize, clock: &Clock) -> Bus {
    Bus::open(dir, Config { keep_days: 2, cache_bytes }, clock.clone(), metrics()).unwrap()
}

fn open(dir: &Path) -> Bus {
    open_with(dir, 1 << 20, &noon())
}

fn records(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

fn texts(batch: &Batch) -> Vec<String> {
    batch.records.iter().map(|record| String::from_utf8(record.bytes.clone()).unwrap()).collect()
}

/// All records from `from` to the end, `max` at a time.
async fn read_all(bus: &Bus, from: Position, max: usize) -> Vec<Record> {
    let mut all = Vec::new();
    let mut at = from;
    while at < bus.end() {
        let batch = bus.read(at, max).await.unwrap();
        assert!(batch.records.len() <= max);
        at = batch.next;
        all.extend(batch.records);
    }
    all
}

fn traces(dir: &Path, needle: &str) -> Vec<String> {
    let mut traces = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let found = fs::read(&path).unwrap().windows(needle.len()).any(|window| window == needle.as_bytes());
        if found {
            traces.push(path.display().to_string());
        }
    }
    traces
}

#[tokio::test]
async fn records_come_back_in_order_from_memory_and_from_the_disk() {
    for (name, cache_bytes) in [("memory", 1 << 20), ("a little memory", 2_000), ("disk", 0)] {
        let dir = TempDir::new().unwrap();
        let bus = open_with(dir.path(), cache_bytes, &noon());
        let mut expected = Vec::new();
        for append in 0..40 {
            let texts: Vec<Vec<u8>> = (0..=append % 7).map(|n| format!("{append}/{n}").repeat(20).into_bytes()).collect();
            expected.extend(texts.clone());
            assert_eq!(bus.append(texts).await.unwrap().0, i64::try_from(expected.len()).unwrap(), "{name}");
        }
        for max in [1, 3, 1_000] {
            let all = read_all(&bus, Position(0), max).await;
            let positions: Vec<i64> = all.iter().map(|record| record.position.0).collect();
            assert_eq!(positions, (0..bus.end().0).collect::<Vec<_>>(), "{name}, {max} at a time");
            assert!(all.iter().map(|record| &record.bytes).eq(&expected), "{name}, {max} at a time");
        }
        assert_eq!(read_all(&bus, Position(101), 10).await[0].position, Position(101), "{name}");
    }
}

#[tokio::test]
async fn a_large_append_is_split_into_rows_and_stays_one() {
    let dir = TempDir::new().unwrap();
    let bus = open_with(dir.path(), 0, &noon());
    let large: Vec<Vec<u8>> = (0..100).map(|n: u32| n.to_le_bytes().repeat(5_000)).collect();
    assert_eq!(bus.append(large.clone()).await.unwrap(), Position(100));
    assert_eq!(bus.append(vec![]).await.unwrap(), Position(100), "nothing is appended, nothing is wrong");
    let all = read_all(&bus, Position(0), 7).await;
    assert!(all.iter().map(|record| &record.bytes).eq(&large));
    let too_large = bus.append(vec![vec![0; MAX_APPEND_BYTES + 1]]).await.unwrap_err();
    assert!(matches!(too_large, Error::TooLarge { .. }) && !too_large.is_retryable());
}
