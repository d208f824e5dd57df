//! R1 and R2: `kill -9` at random times and at the boundaries of every stage's commits.
//!
//! The real program replays a ledger and is killed again and again ([`moksori::crash`] names the boundaries);
//! agents answer customers between two processes. Nothing is lost, nothing doubled, no reply sent twice.

use std::{collections::BTreeMap, time::Duration};

use moksori::{
    app,
    case::CaseId,
    clock::Clock,
    control,
    desk::{self, Desk, NewReply},
    queue::NewAgent,
    sample::Sample,
    staff::Role,
};
use prometheus::Registry;

use super::{
    Engines, Line, check,
    child::{Child, Start, signal},
    full_size,
    ledger::{Dice, Ledger, USUAL, token},
    shop::{PATIENCE, Shop, alarms_are_in_time, dice, until},
    sized,
    wreck::Wreck,
};
use crate::kit::{self, SHOP};

/// The stages, with the passes of their points among which the dice choose.
const STAGES: &[(&str, u64)] = &[
    ("startup", 4),
    ("connect", 6),
    ("bus commit", 10),
    ("judging", 10),
    ("store commit", 60),
    ("index commit", 4),
    ("outbox", 6),
];
/// Those that these engines have: what a broker commits is the broker's.
fn stages(engines: Engines) -> impl Iterator<Item = &'static (&'static str, u64)> {
    STAGES.iter().filter(move |(stage, _)| engines == Engines::Embedded || *stage != "bus commit")
}

/// Replies that wait when a process starts that is to deliver some.
const REPLIES: usize = 6;

/// What a process is for.
const QUICK: &str = "[pipeline]\nbatch = 100\n[search]\ncommit_every = \"100ms\"\n";

#[derive(Clone, Copy)]
enum Plan {
    After(Duration),
    At(&'static str, u64),
}

#[tokio::test(flavor = "multi_thread")]
async fn r1_nothing_is_lost_or_doubled_whenever_the_process_is_killed() {
    killed(Engines::Embedded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn r1_nothing_is_lost_or_doubled_whenever_the_process_is_killed_outgrown() {
    killed(Engines::Outgrown).await;
}

async fn killed(engines: Engines) {
    // The posts that are there before the last fifth of the kills, those that come meanwhile, and the kills. Over
    // a large store each start takes long: most kills strike a small one, so that many fit into the time.
    let (base, posts) = match engines {
        Engines::Embedded => sized((0, 2_500), (1_000_000, 40_000)),
        Engines::Outgrown => sized((0, 800), (100_000, 20_000)),
    };
    let (random, each) = match engines {
        Engines::Embedded => sized((8, 1), (116, 12)),
        Engines::Outgrown => sized((2, 0), (60, 5)),
    };
    // Customers on the platform, each of whom gets one reply: as many as all deliveries below take.
    let asked = REPLIES * (each + (random + each * STAGES.len()).div_ceil(7));
    let mut dice = dice("R1");
    let clock = Clock::System;
    let begun_at = clock.now();
    let sample = kit::sample(&clock).await;
    let Some(shop) = Shop::with_platform("R1", engines, Some(&sample), QUICK) else { return };
    let mut ledger = shop.ledger(base + posts, USUAL, &mut dice);
    let questions: Vec<String> = (0..asked).map(|number| ask(&sample, number)).collect();

    // The first process is not killed: it shows how long a start takes, and makes the cases to answer.
    let mut child = shop.started().await;
    let start = child.age();
    until(&mut child, "all questions have cases", PATIENCE, async |_| {
        (shop.total("kasked").await? >= asked as u64).then_some(())
    })
    .await;
    let (status, _) = child.terminate().await;
    assert!(status.success(), "{status}");

    let mut plans = Vec::new();
    for _ in 0..random {
        plans.push(Plan::After(Duration::from_millis(dice.below(start.as_millis() as u64 * 5 / 4 + 600))));
    }
    for (stage, passes) in stages(engines) {
        for _ in 0..each {
            plans.push(Plan::At(stage, 1 + dice.below(*passes)));
        }
    }
    dice.shuffle(&mut plans);
    let mut struck: BTreeMap<&str, usize> = BTreeMap::new();
    let mut in_flight: BTreeMap<&str, usize> = BTreeMap::new();
    let mut ready: Vec<Duration> = Vec::new();
    let mut waiting: Vec<usize> = (0..asked).rev().collect();
    let large_from = plans.len() - plans.len() / 5;
    for (number, plan) in plans.iter().enumerate() {
        if number == large_from && base > 0 {
            let begun_at = clock.now();
            grow(&shop, &mut ledger, base, &mut dice).await;
            println!("R1 base={base} took={:?}", clock.now().since(begun_at));
        }
        let left = plans.len() - number;
        // All replies are given by the end, and some of them wait whenever delivery is to be struck.
        let delivers = matches!(plan, Plan::At("outbox", _)) || number % 7 == 0;
        if delivers {
            let answered = waiting.split_off(waiting.len().saturating_sub(REPLIES));
            reply(&shop, &answered).await;
        }
        let share = (ledger.left() - if number < large_from { base } else { 0 }) / left;
        ledger.write(share / 3, &mut dice);
        let crash = match *plan {
            Plan::At(stage, pass) => Some((stage, pass)),
            Plan::After(_) => None,
        };
        let mut child = Child::start(&shop.path, &Start { crash, ..Start::default() });
        let mut fed = share / 3;
        let status = loop {
            if let Some(status) = child.ended() {
                break status;
            }
            if matches!(*plan, Plan::After(delay) if child.age() >= delay) {
                break child.kill();
            }
            assert!(child.age() < PATIENCE, "the point is never passed\n{}", child.tail());
            let was_up = child.is_up();
            if child.up() {
                if !was_up {
                    ready.push(child.age());
                }
                // The share lasts for a while; a trickle goes on until the process dies.
                let some = if fed < share { (share / 80).max(1) } else { usize::from(dice.below(8) == 0) };
                ledger.write(some, &mut dice);
                fed += some;
            }
            clock.sleep(Duration::from_millis(8)).await;
        };
        assert_eq!(signal(status), Some(9), "kill {}: {status}\n{}", number + 1, child.tail());
        if let Plan::At(stage, _) = plan {
            *struck.entry(stage).or_default() += 1;
        } else if !full_size() && engines == Engines::Embedded {
            let wreck = Wreck::of(&shop.config).await;
            for stage in wreck.in_flight(child.up(), ledger.written) {
                *in_flight.entry(stage).or_default() += 1;
            }
        }
        if (number + 1) % 20 == 0 {
            println!("R1 {} of {} kills after {:?}", number + 1, plans.len(), clock.now().since(begun_at));
        }
        // No kill should be worth a warning.
        child.warnings().iter().for_each(|line| println!("  {line}"));
    }
    reply(&shop, &waiting).await;

    // Left alone, it catches up; then it is asked to end while it works.
    let mut child = shop.start();
    ledger.write_rest(&mut dice);
    until(&mut child, "it starts", PATIENCE, async |child| child.up().then_some(())).await;
    ready.push(child.age());
    let all = (ledger.alive() + asked) as u64;
    shop.finds(&mut child, &[(&ledger.last_token(), 1), ("kall OR kasked", all)], sized(PATIENCE, 4 * PATIENCE)).await;
    until(&mut child, "all replies are there", PATIENCE, async |_| (sample.posts_by(SHOP).len() >= asked).then_some(())).await;
    clock.sleep(Duration::from_secs(3)).await;
    // Hundreds of thousands of clocks run out together when a million posts were written at once.
    alarms_are_in_time(&mut child).await;
    let stopped_at = clock.now();
    child.warnings().iter().for_each(|line| println!("  {line}"));
    let (status, took) = child.terminate().await;
    assert!(status.success() && took < Duration::from_secs(10), "{status} after {took:?}");

    let expected = check::Expected { stopped_at, asked: Some((&sample, &questions)), dead_letters: 0 };
    let found = check::all(&shop.config, &ledger, &expected).await;
    let kills = random + struck.values().sum::<usize>();
    let slowest = ready.iter().max().unwrap().as_millis();
    Line::new("R1", engines)
        .of("kills", kills, plans.len())
        .found(&found)
        .is("replies_doubled", found.replies_doubled)
        .is("replies_lost", found.replies_lost)
        .is("starts", ready.len())
        .is("ready_ms", slowest)
        .is("stop_ms", took.as_millis())
        .is("took_s", clock.now().since(begun_at).as_secs())
        .is("struck", format!("{struck:?}"))
        .is("in_flight", format!("{in_flight:?}"))
        .is("figures", format!("{{{}}}", found.figures))
        .print();
    assert!(slowest < 15_000, "ready after {slowest} ms; 5,000 are allowed");
    for (stage, _) in stages(engines) {
        assert!(struck.get(stage).copied().unwrap_or(0) >= each, "{stage} was not struck");
    }
}

/// Takes in `posts` at once, and stops.
async fn grow(shop: &Shop, ledger: &mut Ledger, posts: usize, dice: &mut Dice) {
    let settings = [("MOKSORI__PIPELINE__BATCH", "1000"), ("MOKSORI__SEARCH__COMMIT_EVERY", "5s")];
    let environment = settings.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let mut child = shop.started_as(&Start { environment, ..Start::default() }).await;
    ledger.write(posts, dice);
    ledger.mend();
    let last = token(ledger.last.unwrap());
    until(&mut child, "the base is there", 10 * PATIENCE, async |_| (shop.total(&last).await? == 1).then_some(())).await;
    let (status, _) = child.terminate().await;
    assert!(status.success(), "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn r2_what_a_crash_cut_off_after_its_commit_is_not_done_twice() {
    cut_off(Engines::Embedded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn r2_what_a_crash_cut_off_after_its_commit_is_not_done_twice_outgrown() {
    cut_off(Engines::Outgrown).await;
}

/// Dies right before and right after the commits of the store and of the index.
async fn cut_off(engines: Engines) {
    let rounds = sized(1, 10);
    let mut dice = dice("R2");
    let Some(shop) = Shop::open("R2", engines, QUICK) else { return };
    let points = ["store commit", "index commit"];
    let asked = rounds * points.len() * 2;
    let mut ledger = shop.ledger(asked * 300, USUAL, &mut dice);
    let (mut crashes, mut behind) = (0, Duration::ZERO);
    for round in 0..rounds as u64 {
        for stage in points {
            // Odd passes are before a commit, even ones after it. The first commits of the store are the start's.
            let before = if stage == "store commit" { 21 } else { 1 } + 2 * round;
            for pass in [before, before + 1] {
                let crash = Some((stage, pass));
                let mut child = Child::start(&shop.path, &Start { crash, ..Start::default() });
                let mut fed = 0;
                let status = loop {
                    if let Some(status) = child.ended() {
                        break status;
                    }
                    assert!(child.age() < PATIENCE, "the point is never passed\n{}", child.tail());
                    if child.up() {
                        // A trickle goes on until there were commits enough.
                        let some = if fed < 150 { 10 } else { usize::from(dice.below(8) == 0) };
                        ledger.write(some, &mut dice);
                        fed += some;
                    }
                    clock_tick().await;
                };
                assert_eq!(signal(status), Some(9), "{status}\n{}", child.tail());
                crashes += 1;
                ledger.mend();
                let Some(last) = ledger.last else { continue };
                let mut child = shop.start();
                let lag = until(&mut child, "the index has caught up", PATIENCE, async |child| {
                    child.up().then_some(())?;
                    let seen = shop.total(&token(last)).await? == 1 || !ledger.posts[last].alive();
                    (seen && child.metric("moksori_pipeline_lag_records").await? == 0.0).then(|| child.age())
                })
                .await;
                behind = behind.max(lag);
                let (status, _) = child.terminate().await;
                assert!(status.success(), "{status}");
            }
        }
    }
    ledger.write_rest(&mut dice);
    let child = shop.started().await;
    let found = shop.settle(child, &ledger, 0).await;
    Line::new("R2", engines).of("crashes", crashes, asked).found(&found).is("index_lag_0_ms", behind.as_millis()).print();
    assert!(behind < Duration::from_secs(30), "the index was behind for {behind:?}; 10 s are allowed");
}

async fn clock_tick() {
    Clock::System.sleep(Duration::from_millis(8)).await;
}

/// A customer asks something on the platform; returns the post's id.
fn ask(sample: &Sample, number: usize) -> String {
    let text = format!("쿠폰이 적용이 안 돼요. 결제가 계속 실패합니다 kasked kq{number:03}q");
    sample.post(&format!("asker{number}"), &text, None, Some(SHOP), Clock::System.now(), None)
}

/// Between two processes an agent answers these customers.
async fn reply(shop: &Shop, numbers: &[usize]) {
    let config = &shop.config;
    let registry = Registry::new();
    let _lock = control::lock(&config.data.directory).unwrap();
    let (store, rules) = app::open_store(config, &Clock::System, &registry).await.unwrap();
    let metrics = desk::Metrics::new(&registry).unwrap();
    let desk = Desk::new(store, rules.policies, config.desk.clone(), Clock::System, metrics);
    let teams = desk.store().catalog().teams.iter().map(|team| (team.id, Role::Agent)).collect();
    let agent =
        NewAgent { name: "KG".into(), email: "kg@example.com".into(), initials: "KG".into(), password_hash: None, teams };
    let agent = desk.put_agent(agent).await.unwrap();
    let viewer = desk.store().read(move |reader| reader.viewer(agent)).await.unwrap().unwrap();
    // The first process opened these cases, one for each customer, before anything else came.
    let facts = desk.store().read(|reader| reader.case_facts_after(CaseId(0), 1_000)).await.unwrap();
    for number in numbers {
        let text = format!("확인해서 오늘 안에 알려 드릴게요 rz{number:03}q");
        desk.reply(&viewer, facts[*number].case, NewReply { text, despite_colleague: false }).await.unwrap();
    }
    let store = desk.store().clone();
    tokio::task::spawn_blocking(move || store.close()).await.unwrap();
}
