//! `kill -9` while 20,000 posts are replayed: nothing is lost, nothing doubled, no reply sent twice.
//!
//! The real program runs on a directory of its own. Thirty kills come at random times; four more in each
//! stage come at a random pass of a boundary of its commits ([`moksori::crash`]). A ledger of what was written is
//! compared with store, events and index at the end. `MOKSORI_KILL_SEED` repeats a run's dice.

mod check;
mod child;
mod ledger;

use std::{collections::BTreeMap, fs, path::Path, time::Duration};

use moksori::{
    app,
    case::CaseId,
    clock::{Clock, random_bytes},
    config::Config,
    control::{self, Answer, Request},
    desk::{self, Desk, NewReply},
    queue::NewAgent,
    sample::Sample,
    staff::Role,
};
use prometheus::Registry;

use self::{
    child::{Child, Wreck, signal},
    ledger::{Dice, Ledger},
};
use crate::kit::{self, SHOP};

/// Kills at random times.
const RANDOM: usize = 30;
/// Kills at the boundaries of each stage.
const EACH: usize = 4;
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
/// Customers on the platform, each of whom gets one reply.
const ASKED: usize = 84;
/// Replies that wait when a process starts that is to deliver some.
const REPLIES: usize = 6;

#[derive(Clone, Copy)]
enum Plan {
    After(Duration),
    At(&'static str, u64),
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_doubled_whenever_the_process_is_killed() {
    let seed = std::env::var("MOKSORI_KILL_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| u64::from_le_bytes(random_bytes()) % 1_000_000);
    println!("kill9 seed={seed}");
    let mut dice = Dice(seed);
    let clock = Clock::System;
    let begun_at = clock.now();
    let dir = tempfile::tempdir().unwrap();
    let sample = kit::sample(&clock).await;
    let path = write_config(dir.path(), &sample);
    let config = Config::load(Some(&path), &[]).unwrap();
    let mut ledger = Ledger::new(&dir.path().join("posts.jsonl"), &mut dice, begun_at);
    let asked: Vec<String> = (0..ASKED).map(|number| ask(&sample, number)).collect();

    // The first process is not killed: it shows how long a start takes, and makes the cases to answer.
    let mut child = Child::start(&path, None);
    let start = until(&mut child, async |child| child.up().then(|| child.age())).await;
    until(&mut child, async |_| (total(&config, "kasked").await >= ASKED as u64).then_some(())).await;
    let (status, took) = child.terminate().await;
    assert!(status.success(), "{status}");
    println!("kill9 start={start:?} stop={took:?}");

    let mut plans = Vec::new();
    for _ in 0..RANDOM {
        plans.push(Plan::After(Duration::from_millis(dice.below(start.as_millis() as u64 * 5 / 4 + 600))));
    }
    for (stage, passes) in STAGES {
        for _ in 0..EACH {
            plans.push(Plan::At(stage, 1 + dice.below(*passes)));
        }
    }
    dice.shuffle(&mut plans);
    let mut struck: BTreeMap<&str, usize> = BTreeMap::new();
    let mut in_flight: BTreeMap<&str, usize> = BTreeMap::new();
    let mut waiting: Vec<usize> = (0..ASKED).rev().collect();
    for (number, plan) in plans.iter().enumerate() {
        let left = plans.len() - number;
        // All replies are given by the end, and some of them wait whenever delivery is to be struck.
        let delivers = matches!(plan, Plan::At("outbox", _)) || number % 7 == 0;
        if delivers {
            let answered = waiting.split_off(waiting.len().saturating_sub(REPLIES));
            reply(&config, &answered).await;
        }
        let share = ledger.lines.len() / left;
        ledger.write(share / 3, &mut dice);
        let mut child = Child::start(
            &path,
            match *plan {
                Plan::At(stage, pass) => Some((stage, pass)),
                Plan::After(_) => None,
            },
        );
        let mut fed = share / 3;
        let status = loop {
            if let Some(status) = child.ended() {
                break status;
            }
            if matches!(*plan, Plan::After(delay) if child.age() >= delay) {
                break child.kill();
            }
            assert!(child.age() < Duration::from_secs(40), "the point is never passed\n{}", child.log());
            if child.up() {
                // The share lasts for a while; a trickle goes on until the process dies.
                let some = if fed < share { (share / 80).max(1) } else { usize::from(dice.below(8) == 0) };
                ledger.write(some, &mut dice);
                fed += some;
            }
            clock.sleep(Duration::from_millis(8)).await;
        };
        let (age, up) = (child.age(), child.up());
        assert_eq!(signal(status), Some(9), "kill {}: {status}\n{}", number + 1, child.log());
        let wreck = Wreck::of(&config).await;
        let stages = wreck.in_flight(up, ledger.written);
        let place = match plan {
            Plan::At(stage, pass) => {
                *struck.entry(stage).or_default() += 1;
                format!("{stage}, pass {pass}")
            }
            Plan::After(_) => {
                stages.iter().for_each(|stage| *in_flight.entry(stage).or_default() += 1);
                format!("at random; in flight: {}", if stages.is_empty() { "nothing".to_owned() } else { stages.join(", ") })
            }
        };
        let Wreck { cursor, bus, position, event, index, sending } = wreck;
        println!(
            "kill {} at {} ms: {place} (file {cursor} of {} bytes, bus {bus}, position {position}, event {event}, index {index}, sending {sending})",
            number + 1,
            age.as_millis(),
            ledger.written
        );
        check::log(&child.log());
    }
    reply(&config, &waiting).await;

    // Left alone, it catches up; then it is asked to end while it works.
    let mut child = Child::start(&path, None);
    let rest = ledger.lines.len();
    ledger.write(rest, &mut dice);
    until(&mut child, async |_| (total(&config, &ledger::token(ledger::POSTS)).await == 1).then_some(())).await;
    until(&mut child, async |_| (sample.posts_by(SHOP).len() >= ASKED).then_some(())).await;
    clock.sleep(Duration::from_secs(3)).await;
    let log = child.log();
    let stopped_at = clock.now();
    let (status, took) = child.terminate().await;
    check::log(&log);
    assert!(status.success() && took < Duration::from_secs(10), "{status} after {took:?}");

    let found = check::all(&config, &ledger, &sample, &asked, stopped_at).await;
    let kills: usize = plans.len();
    println!(
        "kill9 kills={kills}/{kills} random={RANDOM} lost={} doubled={} replies_doubled={} replies_lost={} stages={struck:?} random_in_flight={in_flight:?} stop={took:?} took={:?} {}",
        found.lost,
        found.doubled,
        found.replies_doubled,
        found.replies_lost,
        clock.now().since(begun_at),
        found.figures,
    );
    assert!(
        found.complaints.is_empty(),
        "{} complaints, seed {seed}\n{}",
        found.complaints.len(),
        found.complaints[..found.complaints.len().min(40)].join("\n")
    );
    for (stage, _) in STAGES {
        assert!(struck.get(stage).is_some_and(|count| *count >= 3), "{stage} was not struck three times");
    }
}

/// A customer asks something on the platform; returns the post's id.
fn ask(sample: &Sample, number: usize) -> String {
    let text = format!("쿠폰이 적용이 안 돼요. 결제가 계속 실패합니다 kasked kq{number:03}q");
    sample.post(&format!("asker{number}"), &text, None, Some(SHOP), Clock::System.now(), None)
}

/// Between two processes an agent answers these customers.
async fn reply(config: &Config, numbers: &[usize]) {
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
    let facts = desk.store().read(|reader| reader.case_facts_after(CaseId(0), ASKED as u32)).await.unwrap();
    for number in numbers {
        let text = format!("확인해서 오늘 안에 알려 드릴게요 rz{number:03}q");
        desk.reply(&viewer, facts[*number].case, NewReply { text, despite_colleague: false }).await.unwrap();
    }
    let store = desk.store().clone();
    tokio::task::spawn_blocking(move || store.close()).await.unwrap();
}

/// Asks the running desk how many posts it finds.
async fn total(config: &Config, query: &str) -> u64 {
    let request = Request { command: "search".into(), args: serde_json::json!({ "query": query, "limit": 1 }) };
    match control::ask(&config.data.directory, &request).await {
        Ok(Some(Answer::Ok(answer))) => answer["total"].as_u64().unwrap(),
        Ok(Some(Answer::Error(error))) => panic!("{error}"),
        Ok(None) | Err(_) => 0,
    }
}

async fn until<T>(child: &mut Child, look: impl AsyncFn(&mut Child) -> Option<T>) -> T {
    let begun_at = child.age();
    loop {
        if let Some(found) = look(child).await {
            return found;
        }
        assert!(child.ended().is_none(), "it ended\n{}", child.log());
        assert!(child.age() - begun_at < Duration::from_secs(90), "waited in vain\n{}", child.log());
        Clock::System.sleep(Duration::from_millis(10)).await;
    }
}

/// The sample shop with a file besides; its platform knows no idempotency keys, so that a doubled reply shows.
fn write_config(dir: &Path, sample: &Sample) -> std::path::PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let connectors = dir.join("connectors");
    fs::create_dir(&connectors).unwrap();
    fs::copy(root.join("connectors/file.toml"), connectors.join("file.toml")).unwrap();
    let platform = fs::read_to_string(root.join("connectors/mastodon.toml")).unwrap();
    let key = "headers = { Idempotency-Key = \"{{ reply.idempotency_key }}\" }\n";
    assert!(platform.contains(key));
    fs::write(connectors.join("mastodon.toml"), platform.replace(key, "")).unwrap();
    fs::write(dir.join("token"), "sample-token").unwrap();
    let shop = fs::read_to_string(root.join("samples/shop/moksori.toml")).unwrap();
    let teams = &shop[shop.find("[[team]]").unwrap()..];
    let text = format!(
        r#"
[server]
listen = "127.0.0.1:0"
[data]
directory = "data"
[rules]
directories = ["{root}/samples/shop/rules", "{root}/rules"]
[connect]
directory = "connectors"
[pipeline]
batch = 100
[desk]
undo_window = "0s"
[search]
commit_every = "100ms"

[[brand]]
key = "shop"
ko = "솔방울마켓"
en = "Pinecone Market"

[[brand.account]]
key = "shop-mastodon"
connector = "mastodon"
handle = "{SHOP}"
base = "{base}"
secrets = {{ token = {{ file = "{dir}/token" }} }}
interval = "250ms"
allow_private = true

[[brand.account]]
key = "shop-file"
connector = "file"
path = "posts.jsonl"
interval = "20ms"

{teams}"#,
        root = root.display(),
        base = sample.url,
        dir = dir.display(),
    );
    let path = dir.join("moksori.toml");
    fs::write(&path, text).unwrap();
    path
}
