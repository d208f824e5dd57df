//! A shop of its own for each test: a directory, a configuration, a file that a connector reads.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use moksori::{
    clock::{Clock, random_bytes},
    config::Config,
    control::{self, Answer, Request},
    sample::Sample,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{
    Engines, check,
    child::{Child, Start},
    ledger::{Dice, EVERY, Ledger, Unruly},
    sized,
};
use crate::kit::{
    SHOP,
    engines::{Alone, Shared},
    kafka::{Kafka, kafka},
    postgres::{Postgres, postgres},
};

/// How long anything may take that is not itself measured; a busy machine is no fault.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Where a test's desk lives.
pub struct Shop {
    dir: TempDir,
    pub config: Config,
    pub path: PathBuf,
    /// The server that holds the cases, where one does; a test that breaks it has it alone.
    pub postgres: Option<&'static Postgres>,
    /// The broker, where there is one.
    pub kafka: Option<&'static Kafka>,
    _shared: [Option<Shared<'static>>; 2],
    _alone: [Option<Alone<'static>>; 2],
}

/// Dice that another run can throw again: their seed is printed and read from `MOKSORI_KILL_SEED`.
pub fn dice(fault: &str) -> Dice {
    let seed = std::env::var("MOKSORI_KILL_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| u64::from_le_bytes(random_bytes()) % 1_000_000);
    println!("{fault} seed={seed}");
    Dice(seed)
}

impl Shop {
    /// A shop on these engines with nothing in it, and `more` in its configuration; none if `fault` must be skipped.
    pub fn open(fault: &str, engines: Engines, more: &str) -> Option<Shop> {
        Shop::with_platform(fault, engines, None, more)
    }

    /// The same for a fault in the engines themselves, which must not strike other tests.
    pub fn open_alone(fault: &str, engines: Engines, more: &str) -> Option<Shop> {
        let mut shop = Shop::open(fault, engines, more)?;
        // Both, in this order everywhere, so that two such tests never wait for each other.
        shop._shared = [None, None];
        shop._alone = [shop.postgres.map(Postgres::alone), shop.kafka.map(Kafka::alone)];
        Some(shop)
    }

    /// The same with an account on a sample platform. It knows no idempotency keys, so that a doubled reply shows.
    pub fn with_platform(fault: &str, engines: Engines, sample: Option<&Sample>, more: &str) -> Option<Shop> {
        let postgres = match engines {
            Engines::Embedded => None,
            Engines::Outgrown => Some(postgres(fault)?),
        };
        let kafka = match engines {
            Engines::Embedded => None,
            Engines::Outgrown => Some(kafka(fault)?),
        };
        let shared = [postgres.map(Postgres::shared), kafka.map(Kafka::shared)];
        let store = postgres.map_or_else(String::new, |postgres| {
            format!("[queue]\nengine = \"postgres\"\n[queue.postgres]\nurl = \"{}\"\n", postgres.database())
        });
        let log = kafka.map_or_else(String::new, log);
        let dir = tempfile::tempdir().unwrap();
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let connectors = dir.path().join("connectors");
        fs::create_dir(&connectors).unwrap();
        fs::copy(root.join("connectors/file.toml"), connectors.join("file.toml")).unwrap();
        let platform = fs::read_to_string(root.join("connectors/mastodon.toml")).unwrap();
        let key = "headers = { Idempotency-Key = \"{{ reply.idempotency_key }}\" }\n";
        assert!(platform.contains(key));
        fs::write(connectors.join("mastodon.toml"), platform.replace(key, "")).unwrap();
        fs::write(dir.path().join("token"), "sample-token").unwrap();
        let shop = fs::read_to_string(root.join("samples/shop/moksori.toml")).unwrap();
        let teams = &shop[shop.find("[[team]]").unwrap()..];
        let account = sample.map_or_else(String::new, |sample| {
            format!(
                "[[brand.account]]\nkey = \"shop-mastodon\"\nconnector = \"mastodon\"\nhandle = \"{SHOP}\"\nbase = \"{}\"\n\
                 secrets = {{ token = {{ file = \"{}/token\" }} }}\ninterval = \"250ms\"\nallow_private = true\n",
                sample.url,
                dir.path().display()
            )
        });
        let text = format!(
            r#"
{more}
{store}
{log}
[server]
listen = "127.0.0.1:0"
[data]
directory = "data"
[rules]
directories = ["{root}/samples/shop/rules", "{root}/rules"]
[connect]
directory = "connectors"
[desk]
undo_window = "0s"

[[brand]]
key = "shop"
ko = "솔방울마켓"
en = "Pinecone Market"

{account}
[[brand.account]]
key = "shop-file"
connector = "file"
path = "posts.jsonl"
interval = "20ms"

{teams}"#,
            root = root.display(),
        );
        let path = dir.path().join("moksori.toml");
        fs::write(&path, text).unwrap();
        let config = Config::load(Some(&path), &[]).unwrap();
        if postgres.is_some() {
            let migrated =
                Command::new(env!("CARGO_BIN_EXE_moksori")).args(["migrate", "--config"]).arg(&path).output().unwrap();
            assert!(migrated.status.success(), "{}", String::from_utf8_lossy(&migrated.stderr));
        }
        Some(Shop { dir, config, path, postgres, kafka, _shared: shared, _alone: [None, None] })
    }

    /// Its directory; the data are in `data` within.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub fn data(&self) -> &Path {
        &self.config.data.directory
    }

    /// The ledger of the file that its connector reads.
    pub fn ledger(&self, posts: usize, unruly: Unruly, dice: &mut Dice) -> Ledger {
        Ledger::new(&self.dir.path().join("posts.jsonl"), posts, unruly, dice, Clock::System.now())
    }

    pub fn start(&self) -> Child {
        Child::start(&self.path, &Start::default())
    }

    /// Starts the program and waits until it says that it has.
    pub async fn started(&self) -> Child {
        self.started_as(&Start::default()).await
    }

    pub async fn started_as(&self, start: &Start<'_>) -> Child {
        let mut child = Child::start(&self.path, start);
        until(&mut child, "it starts", PATIENCE, async |child| child.up().then_some(())).await;
        child
    }

    /// Asks the running desk how many posts it finds; none when it does not answer.
    pub async fn total(&self, query: &str) -> Option<u64> {
        let answer = self.command("search", json!({ "query": query, "limit": 1 })).await.ok()?;
        answer["total"].as_u64()
    }

    /// Has the running desk do something.
    pub async fn command(&self, command: &str, args: Value) -> Result<Value, String> {
        match control::ask(self.data(), &Request { command: command.into(), args }).await {
            Ok(Some(Answer::Ok(answer))) => Ok(answer),
            Ok(Some(Answer::Error(error))) => Err(error),
            Ok(None) => Err("nobody is there".into()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Waits until all that was written is judged, stored and found.
    pub async fn catches_up(&self, child: &mut Child, ledger: &Ledger) -> Duration {
        // A hundred thousand posts may wait at full size, on a machine that does other things besides.
        self.catches_up_within(child, ledger, sized(PATIENCE, 4 * PATIENCE)).await
    }

    pub async fn catches_up_within(&self, child: &mut Child, ledger: &Ledger, within: Duration) -> Duration {
        assert_eq!(ledger.left(), 0, "not all is written");
        self.finds(child, &[(&ledger.last_token(), 1), (EVERY, ledger.alive() as u64)], within).await
    }

    /// Waits until each query finds so many posts and nothing is unread; returns how long that took.
    pub async fn finds(&self, child: &mut Child, wanted: &[(&str, u64)], within: Duration) -> Duration {
        let begun_at = Clock::System.now();
        loop {
            let mut found = Vec::new();
            for (query, _) in wanted {
                found.push((*query, self.total(query).await.unwrap_or_default()));
            }
            let lag = child.metric("moksori_pipeline_lag_records").await;
            let took = Clock::System.now().since(begun_at);
            if found == wanted && lag == Some(0.0) {
                return took;
            }
            let waits = took < within && child.ended().is_none();
            assert!(waits, "{found:?} instead of {wanted:?}, lag {lag:?}\n{}", child.tail());
            Clock::System.sleep(Duration::from_millis(sized(10, 100))).await;
        }
    }

    /// Waits until alarms have had their time, ends the process and compares everything with the ledger.
    pub async fn settle(&self, mut child: Child, ledger: &Ledger, dead_letters: u64) -> check::Found {
        self.catches_up(&mut child, ledger).await;
        alarms_are_in_time(&mut child).await;
        let stopped_at = Clock::System.now();
        let (log, tail) = (child.log(), child.tail());
        let (status, took) = child.terminate().await;
        assert!(status.success() && took < Duration::from_secs(10), "{status} after {took:?}\n{tail}");
        let panic = log.lines().find(|line| line.contains("panicked at"));
        assert_eq!(panic, None, "{tail}");
        check::all(&self.config, ledger, &check::Expected { dead_letters, ..check::Expected::nothing_else(stopped_at) }).await
    }
}

/// Topics and a group of a shop's own on the broker.
fn log(kafka: &Kafka) -> String {
    static SHOPS: AtomicUsize = AtomicUsize::new(0);
    let number = SHOPS.fetch_add(1, Ordering::Relaxed);
    let topics = [("mentions", 3), ("dead", 1), ("case_events", 1)].map(|(topic, partitions)| {
        format!("[bus.topics.{topic}]\nname = \"shop-{number}-{topic}\"\npartitions = {partitions}\nreplication = 1\n")
    });
    format!(
        "[bus]\nengine = \"kafka\"\n[[bus.cluster]]\nname = \"main\"\nbrokers = \"{}\"\n\
         [bus.kafka]\ngroup = \"shop-{number}\"\nsession_timeout = \"6s\"\n{}",
        kafka.bootstrap(),
        topics.concat()
    )
}

/// A run of some minutes ends in the middle of a storm: most posts were written at once, so their clocks run out at once.
pub async fn alarms_are_in_time(child: &mut Child) {
    Clock::System.sleep(Duration::from_secs(1)).await;
    until(child, "no alarm is late", sized(2, 8) * PATIENCE, async |child| {
        (child.metric("moksori_sla_alarms_late_seconds").await == Some(0.0)).then_some(())
    })
    .await;
}

/// Waits until `look` finds something; the process must live on.
pub async fn until<T>(
    child: &mut Child,
    what: &str,
    within: Duration,
    mut look: impl AsyncFnMut(&mut Child) -> Option<T>,
) -> T {
    let begun_at = child.age();
    loop {
        if let Some(found) = look(child).await {
            return found;
        }
        if let Some(status) = child.ended() {
            panic!("it ended ({status}) before {what}\n{}", child.tail());
        }
        assert!(child.age() - begun_at < within, "waited in vain until {what}\n{}", child.tail());
        Clock::System.sleep(Duration::from_millis(10)).await;
    }
}
