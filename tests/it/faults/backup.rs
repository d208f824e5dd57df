//! R24: a backup while the desk writes, restored elsewhere; R9 for it: a disk without room for the copy.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::Arc,
    time::Duration,
};

use moksori::{
    app,
    backup::{MANIFEST, Manifest},
    bus::Entry,
    case::Seq,
    clock::Clock,
    config::Config,
    mention::{Envelope, Mark},
    queue::{Event, PostRow},
};
use prometheus::Registry;

use super::{
    Engines, Line,
    child::Start,
    ledger::{EVERY, USUAL},
    shim::Disk,
    shop::{PATIENCE, Shop, dice, until},
    sized,
};
use crate::transfer::{assert_moved, rows};

/// Runs the program as an operator does.
fn moksori(args: &[&str], paths: &[&Path], environment: &[(String, String)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_moksori"));
    command.args(args).args(paths).envs(environment.iter().cloned());
    command.output().unwrap()
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn backup(shop: &Shop, to: &Path, environment: &[(String, String)]) -> Output {
    moksori(&["backup", "--config"], &[&shop.path, to], environment)
}

/// What a desk that is down holds: its events up to a number, and the posts that these are about.
async fn held(config: &Config, upto: i64) -> (Vec<Event>, Vec<PostRow>) {
    let (store, _rules) = app::open_store(config, &Clock::System, &Registry::new()).await.unwrap();
    let mut events: Vec<Event> = store.read(|reader| reader.events_after(Seq(0), u32::MAX)).await.unwrap();
    events.retain(|event| event.seq.0 <= upto);
    let mut ids: Vec<_> = events.iter().filter_map(|event| event.mention).collect();
    ids.sort();
    ids.dedup();
    let mut posts = Vec::new();
    for some in ids.chunks(1_000) {
        let some = some.to_vec();
        posts.extend(store.read(move |reader| reader.posts(&some)).await.unwrap());
    }
    tokio::task::spawn_blocking(move || store.close()).await.unwrap();
    (events, posts)
}

#[tokio::test(flavor = "multi_thread")]
async fn r24_a_backup_while_writing_is_of_one_moment_and_goes_on_elsewhere() {
    let engines = Engines::Embedded;
    let mut dice = dice("R24");
    let Some(shop) = Shop::open("R24", engines, "") else { return };
    let backups = sized(3, 20);
    let mut ledger = shop.ledger(sized(4_000, 200_000), USUAL, &mut dice);
    let mut child = shop.started().await;
    let share = ledger.left() / (backups * 3);
    ledger.write(share, &mut dice);
    until(&mut child, "there is something to copy", PATIENCE, async |_| shop.total(EVERY).await.filter(|total| *total > 0))
        .await;
    let person = child.sign_in(&shop).await;
    until(&mut child, "there is a case", PATIENCE, async |child| {
        (person.page(child, "/api/v1/cases/1").await.status == 200).then_some(())
    })
    .await;
    let (mut taken, mut slowest): (Vec<(PathBuf, Manifest)>, _) = (Vec::new(), Duration::ZERO);
    for number in 0..backups {
        ledger.write(share, &mut dice);
        let to = shop.dir().join(format!("backup-{number}"));
        let (config, place) = (shop.path.clone(), to.clone());
        let taking = tokio::task::spawn_blocking(move || moksori(&["backup", "--config"], &[&config, &place], &[]));
        // The writer does not stop for it.
        while !taking.is_finished() {
            ledger.write((share / 200).max(1), &mut dice);
            let begun_at = Clock::System.now();
            let answer = person.note(&child, 1, "백업하는 동안의 메모").await;
            assert_eq!(answer.status, 200, "{answer:?}\n{}", child.log());
            slowest = slowest.max(Clock::System.now().since(begun_at));
            Clock::System.sleep(Duration::from_millis(10)).await;
        }
        let output = taking.await.unwrap();
        assert!(output.status.success(), "{}\n{}", said(&output), child.log());
        taken.push((to.clone(), Manifest::check(&to, &mut |_| {}).unwrap()));
    }
    ledger.write_rest(&mut dice);
    shop.catches_up(&mut child, &ledger).await;
    let here = shop.settle(child, &ledger, 0).await;

    let last = held(&shop.config, i64::MAX).await.0.len() as i64;
    let (mut equal, mut compared, mut amid) = (0, 0, 0);
    let mut line = Line::new("R24", engines).of("backups", taken.len(), backups).found(&here);
    for (number, (from, manifest)) in taken.iter().enumerate() {
        let mode = fs::metadata(from.join("desk.db")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let other = Shop::open("R24", engines, "").unwrap();
        fs::copy(shop.dir().join("posts.jsonl"), other.dir().join("posts.jsonl")).unwrap();
        let output = moksori(&["restore", "--data"], &[other.data(), from], &[]);
        assert!(output.status.success(), "{}", said(&output));
        let (events, posts) = held(&other.config, i64::MAX).await;
        let (original, original_posts) = held(&shop.config, manifest.event).await;
        assert_eq!(events.last().map(|event| event.seq.0), Some(manifest.event));
        amid += usize::from(manifest.event < last);
        assert_eq!(events, original, "the events of backup {number}");
        let names = |posts: &[PostRow]| posts.iter().map(|post| (post.mention, post.posted_at)).collect::<Vec<_>>();
        assert_eq!(names(&posts), names(&original_posts), "the posts of backup {number}");
        equal += 1;
        compared += events.len();
        // The last one lives on: the rest of the posts comes to it, once.
        if number + 1 == taken.len() {
            let mut child = other.started().await;
            other.catches_up(&mut child, &ledger).await;
            line = line.found(&other.settle(child, &ledger, 0).await);
        }
    }
    assert_eq!(amid, backups, "a backup was taken when all was written");
    line.of("equal", equal, backups).is("events_compared", compared).is("slowest_note_ms", slowest.as_millis()).print();
    assert!(slowest < Duration::from_secs(5), "{slowest:?}: somebody waited for the backup");
}

#[tokio::test(flavor = "multi_thread")]
async fn r9_a_backup_without_room_says_so_and_leaves_nothing() {
    let engines = Engines::Embedded;
    let mut dice = dice("R9 backup");
    let Some(shop) = Shop::open("R24", engines, "") else { return };
    let mut ledger = shop.ledger(500, USUAL, &mut dice);
    let mut child = shop.started_as(&Start::default()).await;
    ledger.write_rest(&mut dice);
    shop.catches_up(&mut child, &ledger).await;
    child.terminate().await;

    let Some(disk) = Disk::under(&shop, "R9 backup") else { return };
    let (environment, place) = (disk.environment(false), shop.data().join("copies"));
    let to = place.join("one");
    for room in [0, 20_000, 200_000] {
        disk.has_left(room);
        let output = backup(&shop, &to, &environment);
        assert!(!output.status.success() && said(&output).contains("no space is left"), "{room}: {}", said(&output));
        let left: Vec<_> = fs::read_dir(&place).map(|dir| dir.map(|entry| entry.unwrap().path()).collect()).unwrap_or_default();
        assert_eq!(left, Vec::<PathBuf>::new(), "{room}");
    }
    disk.has_space();
    let output = backup(&shop, &to, &environment);
    assert!(output.status.success() && to.join(MANIFEST).exists(), "{}", said(&output));

    // Nor does a restore leave half a desk: its data directory is on that disk too.
    let data = shop.data().join("restored");
    disk.has_left(100_000);
    let output = moksori(&["restore", "--data"], &[&data, &to], &environment);
    assert!(!output.status.success() && said(&output).contains("no space is left"), "{}", said(&output));
    assert!(!data.exists());
    disk.has_space();
    let output = moksori(&["restore", "--data"], &[&data, &to], &environment);
    assert!(output.status.success() && data.join("desk.db").exists(), "{}", said(&output));
}

/// Makes sure that the log of a desk at rest has a tail: its first posts once more, of which nothing must come.
async fn unread(config: &Config) {
    let bus = app::open_bus(config, &Clock::System, &Registry::new()).unwrap();
    let end = bus.ends().await.unwrap()[0].1.0;
    let mut reader = bus.reader(Arc::new(|_| Box::pin(async { Ok(Mark::default()) }))).unwrap();
    let records = reader.next(usize::try_from(end.min(300)).unwrap()).await.unwrap().records;
    let again = records
        .iter()
        .filter(|record| !record.erased)
        .map(|record| Entry::of(&Envelope::parse(&record.bytes).unwrap()).unwrap());
    bus.append(again.collect()).await.unwrap();
    bus.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_that_is_killed_goes_on_and_loads_every_row_once() {
    moves_while_killed(Engines::Embedded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_into_postgresql_and_kafka_that_is_killed_goes_on_too() {
    moves_while_killed(Engines::Outgrown).await;
}

async fn moves_while_killed(engines: Engines) {
    let mut dice = dice("import");
    let Some(other) = Shop::open("import", engines, "") else { return };
    let Some(shop) = Shop::open("import", Engines::Embedded, "") else { return };
    let mut ledger = shop.ledger(sized(1_500, 50_000), USUAL, &mut dice);
    let mut child = shop.started_as(&Start::default()).await;
    ledger.write(ledger.left() / 2, &mut dice);
    until(&mut child, "there is something to move", PATIENCE, async |_| shop.total(EVERY).await.filter(|total| *total > 0))
        .await;
    // Not asked to stop: what is not handled yet stays in the log.
    child.kill();
    unread(&shop.config).await;
    let before = rows(&shop.config).await;
    let export = shop.dir().join("export");
    let output = moksori(&["export", "--config"], &[&shop.path, &export], &[]);
    assert!(output.status.success(), "{}", said(&output));

    let (mut kills, kinds) = (0, sized(4, 12));
    loop {
        let point = match kills {
            _ if kills >= kinds => None,
            kills if kills % 2 == 0 => Some(format!("store commit:{}", 2 + dice.below(8))),
            kills if kills + 1 == kinds && engines == Engines::Embedded => Some("bus commit:2".to_owned()),
            _ => Some(format!("store commit:{}", 1 + dice.below(4))),
        };
        let environment: Vec<_> = point.into_iter().map(|point| ("MOKSORI_CRASH_AT".to_owned(), point)).collect();
        let output = moksori(&["import", "--config"], &[&other.path, &export], &environment);
        if output.status.success() {
            break;
        }
        assert!(output.status.code().is_none(), "{}", said(&output));
        kills += 1;
        let refused = moksori(&["run", "--config"], &[&other.path], &[]);
        assert!(!refused.status.success() && said(&refused).contains("run moksori import again"), "{}", said(&refused));
    }
    assert_eq!(kills, kinds, "it was done before it could be killed");
    assert_moved(&before, &rows(&other.config).await, engines == Engines::Embedded);
    let again = moksori(&["import", "--config"], &[&other.path, &export], &[]);
    assert!(said(&again).contains("is not empty"), "{}", said(&again));

    ledger.write_rest(&mut dice);
    fs::copy(shop.dir().join("posts.jsonl"), other.dir().join("posts.jsonl")).unwrap();
    let mut child = other.started_as(&Start::default()).await;
    other.catches_up(&mut child, &ledger).await;
    let found = other.settle(child, &ledger, 0).await;
    Line::new("import", engines).of("kills", kills, kinds).found(&found).print();
}
