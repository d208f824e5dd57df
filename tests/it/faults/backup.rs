//! R24: a backup while the desk writes, restored elsewhere; R9 for it: a disk without room for the copy.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Duration,
};

use moksori::{
    app,
    backup::{MANIFEST, Manifest},
    case::Seq,
    clock::Clock,
    config::Config,
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
    let mut taken: Vec<(PathBuf, Manifest)> = Vec::new();
    for number in 0..backups {
        ledger.write(share, &mut dice);
        let to = shop.dir().join(format!("backup-{number}"));
        let (config, place) = (shop.path.clone(), to.clone());
        let taking = tokio::task::spawn_blocking(move || moksori(&["backup", "--config"], &[&config, &place], &[]));
        // The writer does not stop for it.
        while !taking.is_finished() {
            ledger.write((share / 200).max(1), &mut dice);
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
    line.of("equal", equal, backups).is("events_compared", compared).print();
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
