//! R4, R5 and what several machines promise: the broker goes and comes back, triage workers come and go, are
//! killed and replaced, and every mention counts once, in the order of its conversation.

use std::time::Duration;

use moksori::clock::Clock;

use super::{
    Engines, Line,
    child::{Child, Start},
    ledger::{Dice, USUAL},
    shop::{PATIENCE, Shop, dice, until},
    sized,
};

const ENGINES: Engines = Engines::Outgrown;
/// What a node does that shares the triage with others.
const REST: &str = "connect,clock,index,web";

/// A triage worker on a data directory of its own.
fn worker(shop: &Shop, number: usize) -> Child {
    let environment =
        vec![("MOKSORI__DATA__DIRECTORY".to_owned(), shop.dir().join(format!("worker-{number}")).display().to_string())];
    Child::start(&shop.path, &Start { roles: Some("triage"), environment, ..Start::default() })
}

async fn up(child: &mut Child) {
    until(child, "it starts", PATIENCE, async |child| child.up().then_some(())).await;
}

/// The rest of the desk.
async fn desk(shop: &Shop) -> Child {
    shop.started_as(&Start { roles: Some(REST), ..Start::default() }).await
}

/// Ends a worker in the way that the dice say; returns whether it was killed.
async fn ends(mut worker: Child, dice: &mut Dice) -> bool {
    let kill = dice.below(2) == 0;
    if kill {
        worker.kill();
    } else {
        let (status, took) = worker.terminate().await;
        assert!(status.success() && took < Duration::from_secs(10), "{status} after {took:?}");
    }
    kill
}

#[tokio::test(flavor = "multi_thread")]
async fn r4_while_the_broker_is_down_the_desk_works_and_says_so_and_then_catches_up_outgrown() {
    let outage = Duration::from_secs(sized(6, 60));
    let mut dice = dice("R4");
    let Some(shop) = Shop::open_alone("R4", ENGINES, "") else { return };
    let kafka = shop.kafka.unwrap();
    let mut ledger = shop.ledger(sized(1_500, 90_000), USUAL, &mut dice);
    let mut child = shop.started().await;
    let person = child.sign_in(&shop).await;
    ledger.write(300, &mut dice);
    until(&mut child, "there is a case", PATIENCE, async |child| {
        (person.page(child, "/api/v1/cases/1").await.status == 200).then_some(())
    })
    .await;
    let usual_kib = child.memory_kib("VmRSS");
    kafka.kill();
    let down_at = Clock::System.now();
    let share = ledger.left() / 100;
    let (mut pages, mut saved, mut told) = (0, 0, false);
    while Clock::System.now().since(down_at) < outage || !told {
        // A thousand a second at full size.
        ledger.write(share, &mut dice);
        let page = person.page(&child, "/queue/shop-orders").await;
        assert_eq!(page.status, 200, "{}", page.head);
        assert_eq!(person.note(&child, 1, "그래도 일해요").await.status, 200);
        (pages, saved) = (pages + 1, saved + 1);
        let health = child.get("/health").await.body;
        told |= health.contains("degraded") && health.contains("\"bus\":");
        assert!(Clock::System.now().since(down_at) < PATIENCE, "health does not say it: {health}");
        Clock::System.sleep(outage / 100).await;
    }
    let grown = child.memory_kib("VmHWM").saturating_sub(usual_kib) / 1024;
    kafka.restart();
    let back_at = Clock::System.now();
    ledger.write_rest(&mut dice);
    shop.catches_up_within(&mut child, &ledger, 4 * PATIENCE).await;
    let caught_up = Clock::System.now().since(back_at);
    let found = shop.settle(child, &ledger, 0).await;
    Line::new("R4", ENGINES)
        .of("down_s", outage.as_secs(), outage.as_secs())
        .found(&found)
        .is("pages_meanwhile", pages)
        .is("notes_meanwhile", saved)
        .is("health", told)
        .is("memory_mib", format!("+{grown}"))
        .is("lag_0_ms", caught_up.as_millis())
        .print();
    assert!(grown < 200, "{grown} MiB more; 64 are allowed");
}

#[tokio::test(flavor = "multi_thread")]
async fn r5_workers_that_come_and_go_double_nothing_outgrown() {
    let (every, storm) =
        sized((Duration::from_secs(2), Duration::from_secs(8)), (Duration::from_secs(5), Duration::from_secs(300)));
    let mut dice = dice("R5");
    let Some(shop) = Shop::open("R5", ENGINES, "[pipeline]\nbatch = 100\n") else { return };
    let mut ledger = shop.ledger(sized(2_000, 150_000), USUAL, &mut dice);
    let mut child = desk(&shop).await;
    let mut steady = worker(&shop, 0);
    up(&mut steady).await;
    let mut guest: Option<Child> = None;
    let begun_at = Clock::System.now();
    let (mut changes, mut next_at) = (0, begun_at);
    let share = (ledger.left() as f64 / storm.as_secs_f64() / 20.0) as usize + 1;
    while Clock::System.now().since(begun_at) < storm {
        ledger.write(share, &mut dice);
        if Clock::System.now() >= next_at {
            match guest.take() {
                Some(guest) => {
                    let (status, _) = guest.terminate().await;
                    assert!(status.success(), "{status}");
                }
                None => guest = Some(worker(&shop, 1)),
            }
            (changes, next_at) = (changes + 1, Clock::System.now().plus(every));
        }
        Clock::System.sleep(Duration::from_millis(50)).await;
    }
    let told = ledger.posts.len();
    ledger.write_rest(&mut dice);
    catches_up(&shop, &mut child, &ledger).await;
    let took = Clock::System.now().since(begun_at);
    drop(guest);
    let (status, _) = steady.terminate().await;
    assert!(status.success(), "{status}");
    let found = settle(&shop, child, &ledger).await;
    Line::new("R5", ENGINES)
        .of("storm_s", storm.as_secs(), storm.as_secs())
        .is("changes", changes)
        .found(&found)
        .is("per_second", told as u64 / took.as_secs().max(1))
        .print();
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_are_killed_and_the_broker_restarted_and_every_mention_counts_once_in_order_outgrown() {
    let (posts, kills, restarts) = sized((2_000, 2, 1), (100_000, 30, 5));
    let mut dice = dice("OUTGROWN");
    let Some(shop) = Shop::open_alone("workers that are killed", ENGINES, "[pipeline]\nbatch = 100\n") else { return };
    let kafka = shop.kafka.unwrap();
    let mut ledger = shop.ledger(posts, USUAL, &mut dice);
    let begun_at = Clock::System.now();
    let mut child = desk(&shop).await;
    let mut workers = [worker(&shop, 0), worker(&shop, 1)];
    for worker in &mut workers {
        up(worker).await;
    }
    let (mut killed, mut ended, mut restarted) = (0, 0, 0);
    let rounds = kills.max(restarts);
    let share = ledger.left() / (rounds + 1);
    for round in 0..rounds {
        for _ in 0..10 {
            ledger.write(share / 10, &mut dice);
            Clock::System.sleep(Duration::from_millis(50 + dice.below(100))).await;
        }
        if round % (rounds / restarts) == 0 {
            kafka.kill();
            kafka.restart();
            restarted += 1;
        }
        let number = dice.below(2) as usize;
        let victim = std::mem::replace(&mut workers[number], worker(&shop, 2 + 2 * round + number));
        if ends(victim, &mut dice).await {
            killed += 1;
        } else {
            ended += 1;
        }
    }
    ledger.write_rest(&mut dice);
    catches_up(&shop, &mut child, &ledger).await;
    let took = Clock::System.now().since(begun_at);
    for worker in workers {
        let (status, _) = worker.terminate().await;
        assert!(status.success(), "{status}");
    }
    let found = settle(&shop, child, &ledger).await;
    Line::new("OUTGROWN", ENGINES)
        .of("rounds", killed + ended, rounds)
        .is("killed", killed)
        .is("ended", ended)
        .of("broker_restarts", restarted, restarts)
        .found(&found)
        .is("took_s", took.as_secs())
        .print();
}

/// Waits until everything is found; the lag is the workers' to know, not the console's.
async fn catches_up(shop: &Shop, child: &mut Child, ledger: &super::ledger::Ledger) {
    let (alive, last) = (ledger.alive() as u64, ledger.last_token());
    let mut right_since = None;
    until(child, "all of it is found", 4 * PATIENCE, async |_| {
        if shop.total(&last).await? != 1 || shop.total(super::ledger::EVERY).await? != alive {
            right_since = None;
            return None;
        }
        // It must stay so: a delete may come after what makes the number right by chance.
        let since = *right_since.get_or_insert_with(|| Clock::System.now());
        (Clock::System.now().since(since) > Duration::from_secs(2)).then_some(())
    })
    .await;
}

async fn settle(shop: &Shop, mut child: Child, ledger: &super::ledger::Ledger) -> super::check::Found {
    super::shop::alarms_are_in_time(&mut child).await;
    let stopped_at = Clock::System.now();
    let tail = child.tail();
    let (status, took) = child.terminate().await;
    assert!(status.success() && took < Duration::from_secs(10), "{status} after {took:?}\n{tail}");
    super::check::all(&shop.config, ledger, &super::check::Expected::nothing_else(stopped_at)).await
}
