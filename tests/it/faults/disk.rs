//! R9 and R10: the disk is full, its fsync fails, its power goes.

use std::{fs, time::Duration};

use moksori::clock::{Clock, Time};
use rusqlite::Connection;

use super::{
    Engines, Line,
    child::{Child, Person, Start},
    ledger::{Dice, EVERY, Ledger, USUAL},
    shim::Disk,
    shop::{PATIENCE, Shop, dice, until},
    sized,
};

const QUICK: &str = "[pipeline]\nbatch = 100\n[search]\ncommit_every = \"100ms\"\n";

#[tokio::test(flavor = "multi_thread")]
async fn r9_a_full_disk_stops_the_intake_not_the_readers_and_space_is_all_it_needs() {
    let engines = Engines::Embedded;
    let (rounds, hold) = sized((2, Duration::from_secs(3)), (10, Duration::from_secs(8)));
    let mut dice = dice("R9");
    let Some(shop) = Shop::open("R9", engines, QUICK) else { return };
    let Some(disk) = Disk::under(&shop, "R9") else { return };
    let mut ledger = shop.ledger(sized(2_000, 100_000), USUAL, &mut dice);
    let mut child = shop.started_as(&Start { environment: disk.environment(false), ..Start::default() }).await;
    let person = begin(&shop, &mut child, &mut ledger, &mut dice).await;
    let share = ledger.left() / (rounds * 2 + 1);
    let (mut slowest, mut pages, mut told) = (Duration::ZERO, 0, 0);
    for round in 0..rounds {
        // The first byte that has no room may be the log's, the store's or the index's.
        disk.has_left(dice.below(400_000));
        let refused = disk.refused();
        let full_at = Clock::System.now();
        let mut health = false;
        while Clock::System.now().since(full_at) < hold || disk.refused() == refused || !health {
            ledger.write(share / 20, &mut dice);
            for path in ["/queue/shop-orders", "/cases/1", "/search?q=kall"] {
                let page = person.page(&child, path).await;
                assert_eq!(page.status, 200, "round {round}, {path}: {}\n{}", page.body, child.tail());
                pages += 1;
            }
            let answer = person.note(&child, 1, "디스크가 차도 읽을 수 있어요").await;
            assert!([200, 503].contains(&answer.status), "{answer:?}");
            health |= unwell(&child).await.unwrap_or(true);
            assert!(Clock::System.now().since(full_at) < PATIENCE, "health does not say it: {}", child.tail());
            Clock::System.sleep(Duration::from_millis(50)).await;
        }
        told += usize::from(child.warnings().iter().any(|line| line.contains("full") || line.contains("space")));
        disk.has_space();
        slowest = slowest.max(recovers(&shop, &mut child, &person, &mut ledger, &mut dice, share).await);
    }
    ledger.write_rest(&mut dice);
    shop.catches_up(&mut child, &ledger).await;
    let found = shop.settle(child, &ledger, 0).await;
    let files = intact(&shop);
    Line::new("R9", engines)
        .of("fills", rounds, rounds)
        .found(&found)
        .is("refused_writes", disk.refused())
        .is("pages_meanwhile", pages)
        .of("told", told, rounds)
        .is("intact_files", files)
        .is("recovery_ms", slowest.as_millis())
        .print();
    assert!(slowest < Duration::from_secs(60), "{slowest:?}; 30 s are allowed");
    assert_eq!(told, rounds, "the log does not say that the disk is full");
}

#[tokio::test(flavor = "multi_thread")]
async fn r9_a_log_file_without_room_stops_nothing() {
    let mut dice = dice("R9 log");
    let Some(shop) = Shop::open("R9 log", Engines::Embedded, QUICK) else { return };
    let mut ledger = shop.ledger(300, USUAL, &mut dice);
    let mut child = Child::start(&shop.path, &Start { mute: true, ..Start::default() });
    ledger.write_rest(&mut dice);
    let alive = ledger.alive() as u64;
    until(&mut child, "all posts are found", PATIENCE, async |_| (shop.total(EVERY).await? == alive).then_some(())).await;
    // What is worth a line: a platform's file that cannot be read any more, a command that is none.
    fs::remove_file(shop.dir().join("posts.jsonl")).unwrap();
    assert!(shop.command("fly", serde_json::json!({})).await.is_err());
    let (status, _) = child.terminate().await;
    assert!(status.success(), "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn r10_what_was_promised_outlives_a_failing_fsync_and_a_power_loss() {
    let engines = Engines::Embedded;
    let rounds = sized(4, 40);
    let mut dice = dice("R10");
    let Some(shop) = Shop::open("R10", engines, QUICK) else { return };
    let Some(disk) = Disk::under(&shop, "R10") else { return };
    let mut ledger = shop.ledger(sized(2_000, 60_000), USUAL, &mut dice);
    let environment = disk.environment(true);
    let mut child = shop.started_as(&Start { environment: environment.clone(), ..Start::default() }).await;
    let person = begin(&shop, &mut child, &mut ledger, &mut dice).await;
    let share = ledger.left() / (rounds + 1);
    let (mut discarded, mut promised, mut broken_promises, mut slowest) = (0, Vec::new(), 0, Duration::ZERO);
    for round in 0..rounds {
        let breaks = round % 2 == 1;
        let lives = Duration::from_millis(200 + dice.below(1_500));
        let began_at = Clock::System.now();
        while Clock::System.now().since(began_at) < lives {
            ledger.write(share / 20, &mut dice);
            promise(&child, &person, &mut promised).await;
            Clock::System.sleep(Duration::from_millis(10)).await;
        }
        if breaks {
            disk.breaks(true);
            let (failed, before) = (disk.failed(), promised.len());
            let broken_at = Clock::System.now();
            while disk.failed() < failed + 3 {
                ledger.write(share / 20, &mut dice);
                promise(&child, &person, &mut promised).await;
                assert!(Clock::System.now().since(broken_at) < PATIENCE, "nothing is synced\n{}", child.tail());
                Clock::System.sleep(Duration::from_millis(10)).await;
            }
            // One that was under way may have been synced just before.
            broken_promises += (promised.len() - before).saturating_sub(1);
            disk.breaks(false);
            if round % 4 == 1 {
                slowest = slowest.max(recovers(&shop, &mut child, &person, &mut ledger, &mut dice, share).await);
            }
        }
        child.kill();
        discarded += disk.loses_power();
        child = shop.started_as(&Start { environment: environment.clone(), ..Start::default() }).await;
        assert!(!child.log().contains("it is built again"), "the index did not survive\n{}", child.tail());
    }
    ledger.write_rest(&mut dice);
    shop.catches_up(&mut child, &ledger).await;
    let case = person.page(&child, "/api/v1/cases/1").await.body;
    let lost: Vec<_> = promised.iter().filter(|note| !case.contains(note.as_str())).collect();
    let found = shop.settle(child, &ledger, 0).await;
    let files = intact(&shop);
    Line::new("R10", engines)
        .of("power_losses", rounds, rounds)
        .is("fsync_errors", disk.failed())
        .found(&found)
        .of("promises_kept", promised.len() - lost.len(), promised.len())
        .is("promised_without_fsync", broken_promises)
        .is("writes_discarded", discarded)
        .is("intact_files", files)
        .is("recovery_ms", slowest.as_millis())
        .print();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    assert_eq!(broken_promises, 0, "something was acknowledged although its fsync failed");
    assert!(discarded > 0, "no write was ever unsynced");
}

/// Feeds the first posts until there is a case, and signs somebody in.
async fn begin(shop: &Shop, child: &mut Child, ledger: &mut Ledger, dice: &mut Dice) -> Person {
    let person = child.sign_in(shop).await;
    ledger.write(100, dice);
    until(child, "there is a case", PATIENCE, async |child| {
        (person.page(child, "/api/v1/cases/1").await.status == 200).then_some(())
    })
    .await;
    person
}

/// Writes a note; one that is answered with success is a promise.
async fn promise(child: &Child, person: &Person, promised: &mut Vec<String>) {
    let text = format!("약속 kp{:05}q", promised.len());
    if person.note(child, 1, &text).await.status == 200 {
        promised.push(text);
    }
}

/// Whether health says that something is wrong; none where nobody answers that.
async fn unwell(child: &Child) -> Option<bool> {
    let answer = child.get("/health").await;
    (answer.status != 404).then(|| answer.body.contains("degraded"))
}

/// How long after the fault notes are saved and posts are read again, with nobody's help.
async fn recovers(
    shop: &Shop,
    child: &mut Child,
    person: &Person,
    ledger: &mut Ledger,
    dice: &mut Dice,
    share: usize,
) -> Duration {
    let well_at: Time = Clock::System.now();
    ledger.write(share / 2, dice);
    ledger.mend();
    let last = ledger.last.unwrap();
    until(child, "it has recovered", PATIENCE, async |child| {
        let read = shop.total(&super::ledger::token(last)).await? == 1 || !ledger.posts[last].alive();
        (read && person.note(child, 1, "다시 돼요").await.status == 200 && unwell(child).await != Some(true)).then_some(())
    })
    .await;
    Clock::System.now().since(well_at)
}

/// Asks SQLite about each of its files; returns how many are whole.
fn intact(shop: &Shop) -> usize {
    let mut files = vec![shop.data().join("desk.db")];
    let bus = fs::read_dir(shop.data().join("bus")).unwrap().map(|entry| entry.unwrap().path());
    files.extend(bus.filter(|path| path.extension().is_some_and(|name| name == "db")));
    for path in &files {
        let connection = Connection::open(path).unwrap();
        let said: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
        assert_eq!(said, "ok", "{}", path.display());
    }
    files.len()
}
