//! R11: the store is locked by somebody else: waits are bounded, reads go on, nothing is lost.

use std::time::Duration;

use moksori::clock::Clock;
use rusqlite::Connection;

use super::{
    Engines, Line,
    child::{Child, Person},
    ledger::{Dice, Ledger, USUAL},
    shop::{PATIENCE, Shop, dice, until},
    sized,
};

#[tokio::test(flavor = "multi_thread")]
async fn r11_while_the_store_is_locked_people_read_and_are_told_soon_that_nothing_can_be_saved() {
    locked(Engines::Embedded).await;
}

/// The banner's first words, in the language of who has no preference.
const READ_ONLY: &str = "Nothing can be saved right now";

#[tokio::test(flavor = "multi_thread")]
async fn r11_while_the_store_is_down_everybody_is_told_so_soon_outgrown() {
    locked(Engines::Outgrown).await;
}

/// What people met while the store could not be written.
#[derive(Default)]
struct Met {
    /// How long they waited for the answer that something could not be saved.
    refusals: Vec<Duration>,
    saved: usize,
    /// What the pages answered, and after how long.
    pages: Vec<(u16, Duration)>,
    wrong: Vec<String>,
    banner: bool,
    health: bool,
}

async fn locked(engines: Engines) {
    let hold = Duration::from_secs(sized(8, 60));
    let mut dice = dice("R11");
    let Some(shop) = Shop::open_alone("R11", engines, "") else { return };
    let mut ledger = shop.ledger(sized(1_500, 60_000), USUAL, &mut dice);
    let mut child = shop.started().await;
    let person = child.sign_in(&shop).await;
    ledger.write(200, &mut dice);
    until(&mut child, "there is a case", PATIENCE, async |child| {
        (person.page(child, "/api/v1/cases/1").await.status == 200).then_some(())
    })
    .await;

    let met = match shop.postgres {
        None => {
            // A reader that keeps its snapshot hinders nobody.
            let reader = Connection::open(shop.data().join("desk.db")).unwrap();
            reader.execute_batch("BEGIN").unwrap();
            let _: i64 = reader.query_row("SELECT count(*) FROM mention", [], |row| row.get(0)).unwrap();
            let calm = meet(&child, &person, hold / 4, &mut ledger, &mut dice).await;
            assert!(calm.refusals.is_empty() && calm.saved > 0, "a long reader made writing fail");
            let writer = Connection::open(shop.data().join("desk.db")).unwrap();
            writer.busy_timeout(PATIENCE).unwrap();
            writer.execute_batch("BEGIN IMMEDIATE").unwrap();
            let met = meet(&child, &person, hold, &mut ledger, &mut dice).await;
            writer.execute_batch("ROLLBACK").unwrap();
            assert!(met.pages.iter().all(|(status, _)| *status == 200), "reading failed");
            met
        }
        Some(postgres) => {
            postgres.stop();
            let met = meet(&child, &person, hold, &mut ledger, &mut dice).await;
            postgres.restart();
            met
        }
    };
    let freed_at = Clock::System.now();
    until(&mut child, "notes are saved again", PATIENCE, async |child| {
        (person.note(child, 1, "다시 저장돼요").await.status == 200).then_some(())
    })
    .await;
    let writable = Clock::System.now().since(freed_at);
    ledger.write_rest(&mut dice);
    shop.catches_up(&mut child, &ledger).await;
    let caught_up = Clock::System.now().since(freed_at);
    let health = child.get("/health").await;
    let found = shop.settle(child, &ledger, 0).await;
    let p99 = |mut spans: Vec<Duration>| {
        spans.sort();
        spans.get(spans.len().saturating_sub(1) * 99 / 100).copied().unwrap_or_default()
    };
    let (refused, pages) = (met.refusals.len(), met.pages.len());
    let (refusal, page) = (p99(met.refusals), p99(met.pages.into_iter().map(|(_, took)| took).collect()));
    Line::new("R11", engines)
        .of("locked_s", hold.as_secs(), hold.as_secs())
        .found(&found)
        .is("refused", refused)
        .is("refusal_p99_ms", refusal.as_millis())
        .is("saved_meanwhile", met.saved)
        .is("pages", pages)
        .is("page_p99_ms", page.as_millis())
        .is("banner", met.banner)
        .is("health", met.health)
        .is("saved_after_ms", writable.as_millis())
        .is("caught_up_ms", caught_up.as_millis())
        .print();
    assert!(met.wrong.is_empty(), "{:?}", met.wrong);
    assert!(refused > 0 && pages > 0);
    assert!(refusal.max(page) < Duration::from_secs(15), "{refusal:?}, {page:?}; 5 s are allowed");
    assert!(met.health && (met.banner || shop.postgres.is_some()), "nobody was told");
    assert_eq!(health.status, 200, "{health:?}");
}

/// For so long somebody writes notes and looks at pages, while posts come in.
async fn meet(child: &Child, person: &Person, hold: Duration, ledger: &mut Ledger, dice: &mut Dice) -> Met {
    let clock = Clock::System;
    let until = clock.now().plus(hold);
    let mut met = Met::default();
    let share = (ledger.left() / 100).max(1);
    let notes = async {
        let (mut refusals, mut saved, mut wrong) = (Vec::new(), 0, Vec::new());
        while clock.now() < until {
            let asked_at = clock.now();
            let answer = person.note(child, 1, "확인 중이에요").await;
            match answer.status {
                200 => saved += 1,
                503 => refusals.push(clock.now().since(asked_at)),
                _ => wrong.push(format!("{answer:?}")),
            }
            clock.sleep(Duration::from_millis(50)).await;
        }
        (refusals, saved, wrong)
    };
    let looks = async {
        let (mut pages, mut wrong, mut banner, mut health) = (Vec::new(), Vec::new(), false, false);
        while clock.now() < until {
            for path in ["/queue/shop-orders", "/cases/1", "/search?q=kall", "/mine"] {
                let asked_at = clock.now();
                let answer = person.page(child, path).await;
                pages.push((answer.status, clock.now().since(asked_at)));
                if ![200, 503].contains(&answer.status) {
                    wrong.push(format!("{path}: {} {}", answer.status, answer.head));
                }
                banner |= answer.body.contains(READ_ONLY);
            }
            health |= child.get("/health").await.body.contains("\"store\":");
            clock.sleep(Duration::from_millis(100)).await;
        }
        (pages, wrong, banner, health)
    };
    let posts = async {
        while clock.now() < until {
            ledger.write(share, dice);
            clock.sleep(Duration::from_millis(200)).await;
        }
    };
    let ((refusals, saved, wrong), (pages, more, banner, health), ()) = tokio::join!(notes, looks, posts);
    met.refusals = refusals;
    met.saved = saved;
    met.wrong = wrong.into_iter().chain(more).collect();
    (met.pages, met.banner, met.health) = (pages, banner, health);
    met
}
