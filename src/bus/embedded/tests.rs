//! Tests of the log.

use std::{
    fs,
    pin::{Pin, pin},
    task::{Context, Waker},
    time::Duration,
};

use prometheus::Registry;
use tempfile::TempDir;

use super::*;
use crate::{
    bus::{Error, Marks},
    clock::Time,
    mention::Mark,
};

fn metrics() -> Metrics {
    Metrics::new(&Registry::new()).unwrap()
}

fn noon() -> Clock {
    Clock::by_hand(Time::parse("2026-11-25T12:00:00Z").unwrap())
}

fn open_with(dir: &Path, cache_bytes: usize, clock: &Clock) -> Embedded {
    Embedded::open(dir, 2, cache_bytes, clock.clone(), metrics()).unwrap()
}

fn open(dir: &Path) -> Embedded {
    open_with(dir, 1 << 20, &noon())
}

fn entries(records: Vec<Vec<u8>>) -> Vec<Entry> {
    records.into_iter().map(|bytes| Entry { bytes, ..Entry::default() }).collect()
}

fn records(texts: &[&str]) -> Vec<Entry> {
    entries(texts.iter().map(|text| text.as_bytes().to_vec()).collect())
}

fn texts(batch: &Read) -> Vec<String> {
    batch.records.iter().map(|record| String::from_utf8(record.bytes.clone()).unwrap()).collect()
}

/// Polls once.
fn waits(future: Pin<&mut impl Future>) -> bool {
    future.poll(&mut Context::from_waker(Waker::noop())).is_pending()
}

/// All records from `from` to the end, `max` at a time.
async fn read_all(bus: &Embedded, from: Position, max: usize) -> Vec<Record> {
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
            assert_eq!(bus.append(entries(texts)).await.unwrap().0, i64::try_from(expected.len()).unwrap(), "{name}");
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
    assert_eq!(bus.append(entries(large.clone())).await.unwrap(), Position(100));
    assert_eq!(bus.append(vec![]).await.unwrap(), Position(100), "nothing is appended, nothing is wrong");
    let all = read_all(&bus, Position(0), 7).await;
    assert!(all.iter().map(|record| &record.bytes).eq(&large));
    bus.append(entries(vec![vec![0; chunk::READ_BYTES / 2]; 5])).await.unwrap();
    let from_disk = bus.read(Position(100), 1_000).await.unwrap();
    assert_eq!((from_disk.records.len(), from_disk.next), (2, Position(102)), "a read is bounded in bytes too");
    let mut recent = Recent::new(usize::MAX);
    let mut chunk = chunk::Chunk::new(Position(0));
    (0..5).for_each(|_| chunk.push(Some(&[0; chunk::READ_BYTES / 2])));
    recent.publish(vec![chunk], 0);
    assert_eq!(recent.records(Position(0), 1_000).unwrap().len(), 2);
    let too_large = bus.append(entries(vec![vec![0; MAX_APPEND_BYTES + 1]])).await.unwrap_err();
    assert!(matches!(too_large, Error::TooLarge { .. }) && !too_large.is_retryable());
}

#[tokio::test]
async fn consumers_keep_their_own_positions() {
    let dir = TempDir::new().unwrap();
    let bus = open(dir.path());
    bus.append(records(&["a", "b", "c"])).await.unwrap();
    let first = bus.read(Position(0), 2).await.unwrap();
    let second = bus.read(Position(2), 2).await.unwrap();
    assert_eq!((texts(&first), first.next, first.skipped), (vec!["a".into(), "b".into()], Position(2), 0));
    assert_eq!((texts(&second), second.next), (vec!["c".into()], Position(3)));
    assert_eq!(bus.read(Position(0), 2).await.unwrap(), first, "reading takes nothing away");
}

#[tokio::test]
async fn appends_at_once_share_commits() {
    let dir = TempDir::new().unwrap();
    let bus = open(dir.path());
    let appends: Vec<_> = (0..200)
        .map(|n| {
            let bus = bus.clone();
            tokio::spawn(async move { (n, bus.append(records(&[&format!("{n} a"), &format!("{n} b")])).await.unwrap()) })
        })
        .collect();
    let mut ends = Vec::new();
    for append in appends {
        let (n, end) = append.await.unwrap();
        ends.push((end.0, n));
    }
    ends.sort_unstable();
    let expected: Vec<String> = ends.iter().flat_map(|(_, n)| [format!("{n} a"), format!("{n} b")]).collect();
    assert_eq!(texts(&bus.read(Position(0), 1_000).await.unwrap()), expected, "an append stays together where it says");
    let commits = bus.shared.metrics.commit_seconds.get_sample_count();
    assert!(commits < 100, "{commits} commits for 200 appends");
    assert_eq!(bus.shared.metrics.appended_records.get(), 400);
}

#[tokio::test]
async fn appends_wait_while_the_writer_is_behind() {
    let dir = TempDir::new().unwrap();
    let bus = open(dir.path());
    // The writer waits for this transaction to end.
    let other = Connection::open(dir.path().join("mentions-2026-11-25.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut waiting = Vec::new();
    while bus.commands.capacity() > 0 {
        let mut append = Box::pin(bus.append(records(&["a"])));
        assert!(waits(append.as_mut()));
        waiting.push(append);
    }
    let mut outside = Box::pin(bus.append(records(&["last"])));
    assert!(waits(outside.as_mut()));
    assert_eq!(bus.end(), Position(0), "nobody was told that it is durable");

    other.execute_batch("ROLLBACK").unwrap();
    let sent = i64::try_from(waiting.len()).unwrap();
    for (append, end) in waiting.into_iter().zip(1..) {
        assert_eq!(append.await.unwrap(), Position(end));
    }
    assert_eq!(outside.await.unwrap(), Position(sent + 1));
}

/// A store that holds the given position.
fn holds(log: &'static str, next: i64) -> (Arc<Mutex<Mark>>, Marks) {
    let held = Arc::new(Mutex::new(Mark { log: log.into(), next }));
    let asked = Arc::clone(&held);
    (held, Arc::new(move |_part| Box::pin(std::future::ready(Ok(asked.lock().unwrap().clone())))))
}

fn mark(next: i64) -> Mark {
    Mark { log: "".into(), next }
}

#[tokio::test]
async fn a_reader_goes_on_where_the_store_says() {
    let dir = TempDir::new().unwrap();
    let bus = open(dir.path());
    bus.append(records(&["a", "b", "c", "d"])).await.unwrap();
    let (store, marks) = holds("", 1);
    let mut reader = Reader::new(bus.clone(), marks);
    let batch = reader.next(2).await.unwrap();
    assert_eq!((batch.part, batch.from.clone(), batch.to.clone(), batch.records.len()), (0, mark(1), mark(3), 2));
    assert_eq!(reader.lag(), 1);
    let next = reader.next(2).await.unwrap();
    assert_eq!((next.from, next.to), (mark(3), mark(4)));
    assert!(waits(pin!(reader.next(2))), "there is no more");
    // Somebody else stored less than was handed out.
    *store.lock().unwrap() = mark(2);
    reader.reset();
    assert_eq!(reader.next(9).await.unwrap().from, mark(2));
}

#[tokio::test]
async fn a_position_in_another_log_is_none_in_this_one() {
    let dir = TempDir::new().unwrap();
    let bus = open(dir.path());
    bus.append(records(&["a", "b"])).await.unwrap();
    let mut reader = Reader::new(bus.clone(), holds("topic", 900).1);
    let batch = reader.next(9).await.unwrap();
    assert_eq!(batch.from, Mark { log: "topic".into(), next: 900 }, "the compare-and-set is against what is held");
    assert_eq!((batch.to, batch.records.len()), (mark(2), 2));
    assert_eq!(bus.end(), Position(2), "the log does not go on from the other's position");
}

#[tokio::test]
async fn a_store_that_is_down_is_asked_again() {
    let dir = TempDir::new().unwrap();
    let marks: Marks = Arc::new(|_part| Box::pin(std::future::ready(Err("down".to_owned()))));
    let error = Reader::new(open(dir.path()), marks).next(9).await.unwrap_err();
    assert!(matches!(&error, Error::Marks(why) if why == "down") && error.is_retryable(), "{error}");
}

#[tokio::test]
async fn a_cancelled_read_takes_nothing_with_it() {
    let dir = TempDir::new().unwrap();
    let bus = open(dir.path());
    let mut waiting = Box::pin(bus.read(Position(0), 10));
    assert!(waits(waiting.as_mut()));
    drop(waiting);
    let waiting = tokio::spawn({
        let bus = bus.clone();
        async move { bus.read(Position(0), 10).await.unwrap() }
    });
    tokio::task::yield_now().await;
    bus.append(records(&["a"])).await.unwrap();
    assert_eq!(texts(&waiting.await.unwrap()), ["a"], "a reader that waits is woken");
    assert_eq!(texts(&bus.read(Position(0), 10).await.unwrap()), ["a"]);
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_kill() {
    let dir = TempDir::new().unwrap();
    let bus = open(dir.path());
    let copies: Vec<TempDir> = (0..5).map(|_| TempDir::new().unwrap()).collect();
    let mut acknowledged = Vec::new();
    for copy in &copies {
        acknowledged.push(bus.append(records(&["one more"; 30])).await.unwrap());
        // What a killed process leaves: the files with their journals, never closed.
        for entry in fs::read_dir(dir.path()).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
        }
    }
    for (copy, end) in copies.iter().zip(acknowledged) {
        let reopened = open(copy.path());
        assert_eq!(reopened.end(), end);
        assert_eq!(read_all(&reopened, Position(0), 1_000).await.len(), usize::try_from(end.0).unwrap());
        assert_eq!(reopened.append(records(&["after"])).await.unwrap(), Position(end.0 + 1));
    }
}

#[tokio::test]
async fn a_closed_log_says_so_and_opens_again() {
    let dir = TempDir::new().unwrap();
    let bus = open(dir.path());
    bus.append(records(&["a"])).await.unwrap();
    let waiting = tokio::spawn({
        let bus = bus.clone();
        async move { bus.read(Position(1), 10).await }
    });
    tokio::task::yield_now().await;
    bus.close().await;
    bus.close().await;
    assert!(matches!(bus.append(records(&["b"])).await, Err(Error::Closed)));
    assert!(matches!(waiting.await.unwrap(), Err(Error::Closed)), "who waits for more is told");
    assert_eq!(texts(&bus.read(Position(0), 10).await.unwrap()), ["a"], "what is there can be read to the end");
    let files = fs::read_dir(dir.path()).unwrap().count();
    assert_eq!(files, 1, "a clean close leaves no journal");
    assert_eq!(open(dir.path()).end(), Position(1));
}

#[tokio::test]
async fn a_new_day_begins_a_new_file_and_old_ones_go() {
    let dir = TempDir::new().unwrap();
    let clock = noon();
    let bus = open_with(dir.path(), 0, &clock);
    for day in ["25", "26", "27", "28"] {
        bus.append(records(&[&format!("{day} a"), &format!("{day} b")])).await.unwrap();
        assert!(dir.path().join(format!("mentions-2026-11-{day}.db")).exists());
        clock.advance(Duration::from_hours(24));
    }
    assert_eq!(read_all(&bus, Position(0), 3).await.len(), 8, "readers cross from file to file");

    // It is the 29th: the 27th and later stay in any case, the 26th while somebody has not read it.
    assert_eq!(bus.retain(Position(3)).await.unwrap(), 1);
    assert_eq!(bus.start(), Position(2));
    assert_eq!(bus.retain(Position(8)).await.unwrap(), 1);
    assert_eq!(bus.start(), Position(4));
    let late = bus.read(Position(1), 10).await.unwrap();
    assert_eq!((texts(&late), late.skipped), (vec!["27 a".into(), "27 b".into()], 3));

    // A quiet month: the position is kept though no record is.
    clock.advance(Duration::from_hours(24 * 30));
    bus.retain(Position(8)).await.unwrap();
    assert_eq!((bus.start(), bus.end()), (Position(8), Position(8)));
    bus.close().await;
    let reopened = open_with(dir.path(), 0, &clock);
    assert_eq!(reopened.append(records(&["new"])).await.unwrap(), Position(9));
    assert_eq!(
        fs::read_dir(dir.path())
            .unwrap()
            .filter(|entry| { entry.as_ref().unwrap().path().extension().is_some_and(|extension| extension == "db") })
            .count(),
        1
    );
}

#[tokio::test]
async fn a_clock_set_back_goes_on_in_the_newest_file() {
    let dir = TempDir::new().unwrap();
    let bus = open(dir.path());
    bus.append(records(&["a"])).await.unwrap();
    bus.close().await;
    let earlier = Clock::by_hand(Time::parse("2026-11-20T12:00:00Z").unwrap());
    let bus = open_with(dir.path(), 0, &earlier);
    bus.append(records(&["b"])).await.unwrap();
    assert_eq!(texts(&bus.read(Position(0), 10).await.unwrap()), ["a", "b"]);
    assert!(!dir.path().join("mentions-2026-11-20.db").exists());
}

#[tokio::test]
async fn the_log_goes_on_from_a_position_past_its_end() {
    for cache_bytes in [0, 1 << 20] {
        let dir = TempDir::new().unwrap();
        let bus = open_with(dir.path(), cache_bytes, &noon());
        bus.append(records(&["a"])).await.unwrap();
        bus.go_on_from(Position(10));
        bus.go_on_from(Position(5));
        assert_eq!(bus.append(records(&["b"])).await.unwrap(), Position(11));
        let other = bus.read(Position(1), 10).await.unwrap();
        assert_eq!((texts(&other), other.skipped), (vec!["b".into()], 9));
        assert_eq!(texts(&bus.read(Position(0), 10).await.unwrap()), ["a", "b"]);
        assert!(waits(pin!(bus.read(Position(20), 10))));
        assert_eq!(bus.append(records(&["c"])).await.unwrap(), Position(21));
    }
}

#[tokio::test]
async fn erasing_leaves_no_trace_of_the_text() {
    let dir = TempDir::new().unwrap();
    let clock = noon();
    let bus = open_with(dir.path(), 1 << 20, &clock);
    let mention = |source: &str, id: &str, text: &str| {
        let text = text.repeat(900);
        format!(r#"{{"source":"{source}","native_id":"{id}","parent":"2","text":"{text}"}}"#).into_bytes()
    };
    let first = vec![mention("a", "1", "keep "), mention("a", "2", "secret "), mention("b", "2", "keep ")];
    bus.append(entries(first)).await.unwrap();
    clock.advance(Duration::from_hours(24));
    let broken = br#"{"native_id":"2","text":"secret"#.to_vec();
    bus.append(entries(vec![mention("a", "22", "keep "), mention("a", "2", "secret "), broken])).await.unwrap();
    assert_eq!(traces(dir.path(), "secret").len(), 2, "a file and a journal hold it, so the test can see it");
    let before = bus.end();
    assert_eq!(day::records(&bus.shared, Position(0), 10).unwrap().len(), 3, "a reader has a file open");

    let keys = [("a".to_owned(), "2".to_owned()), ("a".to_owned(), "a.b(".to_owned())];
    assert_eq!(bus.erase(&keys).await.unwrap(), 3, "also the one that cannot be read");
    assert_eq!(traces(dir.path(), "secret"), Vec::<String>::new());
    assert_eq!(bus.end(), before);
    for reading in ["open", "reopened"] {
        let bus = if reading == "open" { bus.clone() } else { open_with(dir.path(), 0, &clock) };
        let all = read_all(&bus, Position(0), 10).await;
        let erased: Vec<bool> = all.iter().map(|record| record.erased).collect();
        assert_eq!(erased, [false, true, false, false, true, true], "{reading}");
        assert!(all.iter().all(|record| record.erased == record.bytes.is_empty()), "{reading}");
    }
    assert_eq!(bus.erase(&keys).await.unwrap(), 0, "again, there is nothing left to do");
    assert_eq!(bus.erase(&[]).await.unwrap(), 0);
    bus.append(records(&["later"])).await.unwrap();
    assert_eq!(texts(&bus.read(Position(6), 10).await.unwrap()), ["later"]);
}

#[tokio::test]
async fn nothing_is_erased_while_the_store_and_the_log_are_copied() {
    let (dir, copies) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let bus = open(dir.path());
    bus.append(records(&[r#"{"source":"a","native_id":"1"}"#])).await.unwrap();
    let keys = [("a".to_owned(), "1".to_owned())];
    let whole = bus.keep_whole().await;
    let mut erasing = pin!(bus.erase(&keys));
    assert!(waits(erasing.as_mut()));
    bus.snapshot(copies.path(), &whole).await.unwrap();
    drop(whole);
    assert_eq!(erasing.await.unwrap(), 1);
    let copy = open(copies.path());
    assert_eq!(texts(&copy.read(Position(0), 10).await.unwrap()), [r#"{"source":"a","native_id":"1"}"#]);
}

#[test]
fn what_was_erased_during_a_commit_does_not_come_back_into_memory() {
    let mut recent = Recent::new(1_000);
    let mut chunk = chunk::Chunk::new(Position(0));
    chunk.push(Some(b"secret"));
    let purges = recent.purges;
    recent.purge();
    recent.publish(vec![chunk.clone()], purges);
    assert_eq!(recent.records(Position(0), 10), None);
    recent.publish(vec![chunk], recent.purges);
    assert_eq!(recent.records(Position(0), 10).unwrap().len(), 1);
}

#[tokio::test]
async fn a_full_disk_keeps_nothing_of_an_append_and_heals() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("mentions-2026-11-25.db");
    let (_, mut connection, _) = day::Day::open(dir.path(), day::date(noon().now()), Position(0)).unwrap();
    let chunk = |first: i64| {
        let mut chunk = chunk::Chunk::new(Position(first));
        (0..100).for_each(|_| chunk.push(Some(&[b'x'; 600])));
        chunk
    };
    day::insert(&mut connection, &[chunk(0)], Time(0)).unwrap();
    let pages: i64 = connection.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
    connection.pragma_update(None, "max_page_count", pages + 10).unwrap();
    let full = day::insert(&mut connection, &[chunk(100), chunk(200)], Time(0)).map_err(Error::database("append"));
    assert!(matches!(&full, Err(Error::Full)) && full.unwrap_err().is_retryable());
    assert_eq!(open(dir.path()).end(), Position(100), "nothing half-written");

    connection.pragma_update(None, "max_page_count", 1_000_000).unwrap();
    day::insert(&mut connection, &[chunk(100), chunk(200)], Time(0)).unwrap();
    drop(connection);
    assert!(path.exists());
    assert_eq!(open(dir.path()).end(), Position(300), "later appends work again");
}

#[tokio::test]
async fn a_file_that_breaks_is_reported_and_the_log_recovers() {
    let dir = TempDir::new().unwrap();
    let bus = open(dir.path());
    bus.append(records(&["a"])).await.unwrap();
    let path = dir.path().join("mentions-2026-11-25.db");
    // Somebody else holds the number that comes next, as a commit would that was reported failed and survived.
    let other = Connection::open(&path).unwrap();
    other.execute("INSERT INTO batch VALUES (1, 1, 0, x'0100000062')", []).unwrap();
    let error = bus.append(records(&["c"])).await.unwrap_err();
    assert!(matches!(error, Error::Database { doing: "append", .. }) && error.is_retryable(), "{error}");
    assert_eq!(bus.append(records(&["c"])).await.unwrap(), Position(3), "the retry finds the true end");
    assert_eq!(texts(&bus.read(Position(0), 10).await.unwrap()), ["a", "b", "c"]);
    assert_eq!(bus.shared.metrics.failed_commits.get(), 1);
}

#[test]
fn a_directory_or_file_that_cannot_be_used_is_named() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let error = Embedded::open(&file, 1, 0, noon(), metrics()).err().unwrap();
    assert!(error.to_string().contains("/file cannot be used"), "{error}");

    let path = dir.path().join("mentions-2026-11-25.db");
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 9).unwrap();
    let error = Embedded::open(dir.path(), 1, 0, noon(), metrics()).err().unwrap();
    assert!(error.to_string().ends_with("mentions-2026-11-25.db has log format 9, this version reads 1"), "{error}");

    fs::write(&path, "this is no database at all, and long enough to be seen as such".repeat(30)).unwrap();
    let error = Embedded::open(dir.path(), 1, 0, noon(), metrics()).err().unwrap();
    assert!(!error.is_retryable(), "{error}");
}
