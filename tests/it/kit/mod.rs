//! The in-process desk: the real app on a temporary directory, with the sample platform and a hand clock.
//!
//! [`run`] hands a test a whole desk and, when the test leaves, stops it and fails on a dead letter that
//! nobody expected, on unread mentions and on a stage that crashed. Only the kit waits in real time.

pub mod engines;
pub mod kafka;
pub mod postgres;

use std::{path::Path, time::Duration};

use moksori::{
    app::App,
    case::CaseId,
    clock::{Clock, Time},
    config::Config,
    connect::SecretSource,
    queue::{CaseView, NewAgent, Owner, QueueFilter, QueueRow, Totals},
    sample::{Sample, SampleAccount},
    staff::{Role, TeamId, Viewer},
};
use tempfile::TempDir;

/// The shop's handle on the sample platform.
pub const SHOP: &str = "pinecone_market";

/// When every story begins: a Friday at noon in Seoul.
pub fn noon() -> Time {
    Time::parse("2026-11-20T12:00:00+09:00").unwrap()
}

/// A whole desk.
pub struct Desk {
    pub app: App,
    pub sample: Sample,
    pub clock: Clock,
    pub config: Config,
    pub expect_dead_letters: u64,
    _dir: TempDir,
}

/// The configuration of the sample shop over `directory`, with the rules of this repository.
pub fn config(directory: &Path, sample: &Sample) -> Config {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(root.join("samples/shop/moksori.toml")).unwrap();
    let mut config = Config::from_texts(&[("moksori.toml".into(), text)], &[]).unwrap();
    config.server.listen = "127.0.0.1:0".parse().unwrap();
    config.data.directory = directory.join("data");
    config.rules.directories = vec![root.join("samples/shop/rules"), root.join("rules")];
    config.connect.directory = root.join("connectors");
    let secret = directory.join("token");
    std::fs::write(&secret, "sample-token").unwrap();
    for account in config.brands.iter_mut().flat_map(|brand| &mut brand.accounts) {
        account.base = Some(sample.url.parse().unwrap());
        account.secrets.insert("token".into(), SecretSource::File(secret.clone()));
    }
    config
}

/// Starts the sample platform on `clock`.
pub async fn sample(clock: &Clock) -> Sample {
    let account = SampleAccount { handle: SHOP.into(), name: "솔방울마켓".into(), token: "sample-token".into() };
    Sample::start("127.0.0.1:0".parse().unwrap(), clock.clone(), &[account]).await.unwrap()
}

/// Runs a story on a fresh desk whose clock only the story turns.
pub async fn run<F: AsyncFnOnce(&mut Desk)>(story: F) {
    run_on(Clock::by_hand(noon()), story).await;
}

/// Runs a story on a fresh desk that keeps `clock`'s time.
pub async fn run_on<F: AsyncFnOnce(&mut Desk)>(clock: Clock, story: F) {
    run_with(clock, |_| {}, story).await;
}

/// Runs a story on a fresh desk whose configuration is the sample shop's with `changes`.
pub async fn run_with<F: AsyncFnOnce(&mut Desk)>(clock: Clock, changes: impl FnOnce(&mut Config), story: F) {
    let sample = sample(&clock).await;
    run_at(sample, clock, changes, story).await;
}

/// The same on a platform that is there already.
pub async fn run_at<F: AsyncFnOnce(&mut Desk)>(sample: Sample, clock: Clock, changes: impl FnOnce(&mut Config), story: F) {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(dir.path(), &sample);
    changes(&mut config);
    let app = App::start(config.clone(), clock.clone()).await.unwrap();
    let mut desk = Desk { app, sample, clock, config, expect_dead_letters: 0, _dir: dir };
    for (initials, role) in [("KG", Role::Agent), ("SB", Role::Agent), ("LE", Role::Lead)] {
        desk.hire(initials, role).await;
    }
    story(&mut desk).await;
    desk.all_is_read().await;
    let totals = desk.totals().await;
    assert_eq!(totals.dead_letters, desk.expect_dead_letters, "unexpected dead letters");
    let Desk { app, clock, .. } = desk;
    // A sleeping stage wakes only when its clock moves.
    let stopping = tokio::spawn(app.stop());
    clock.advance(Duration::from_secs(60));
    assert!(stopping.await.unwrap(), "a stage did not stop");
}

impl Desk {
    /// Adds a person to all teams of the shop.
    pub async fn hire(&self, initials: &str, role: Role) {
        let teams = self.app.store.catalog().teams.iter().map(|team| (team.id, role)).collect();
        let agent = NewAgent {
            name: initials.to_owned(),
            email: format!("{}@example.com", initials.to_lowercase()),
            initials: initials.to_owned(),
            password_hash: None,
            teams,
        };
        self.app.desk.put_agent(agent).await.unwrap();
    }

    pub async fn viewer(&self, initials: &str) -> Viewer {
        let initials = initials.to_owned();
        self.app
            .store
            .read(move |reader| {
                let agent = reader.agent_by_initials(&initials)?.expect("hired");
                reader.viewer(agent)
            })
            .await
            .unwrap()
            .unwrap()
    }

    /// Waits, in real time, until `look` finds what it looks for. The hand clock ticks a quarter of a
    /// second at each look, so that what polls polls.
    pub async fn until<T>(&self, what: &str, look: impl AsyncFn(&Desk) -> Option<T>) -> T {
        // A minute: a busy machine is no fault.
        for _ in 0..6_000 {
            if let Some(found) = look(self).await {
                return found;
            }
            self.clock.advance(Duration::from_millis(250));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("waited in vain until {what}; totals {:?}", self.totals().await);
    }

    /// Waits until the pipeline has read all that the bus holds.
    pub async fn all_is_read(&self) {
        self.until("the pipeline has read everything", async |desk| {
            // Asked at each look: the connectors go on, and what they bring moves the end.
            let end = desk.app.bus.ends().await.unwrap()[0].1.0;
            let position = desk.app.store.read(|reader| reader.mark("triage", 0)).await.unwrap().next;
            (position == end).then_some(())
        })
        .await;
    }

    /// The one case whose newest mention contains `words`.
    pub async fn case_saying(&self, words: &str) -> QueueRow {
        self.until(&format!("a case says \"{words}\""), async |desk| {
            desk.queue().await.into_iter().find(|row| row.mention.text.whole().contains(words))
        })
        .await
    }

    /// All unfinished cases in queue order.
    pub async fn queue(&self) -> Vec<QueueRow> {
        let teams: Vec<TeamId> = self.app.store.catalog().teams.iter().map(|team| team.id).collect();
        let viewer = self.viewer("LE").await.id;
        let now = self.clock.now();
        let filter = QueueFilter { teams, owner: Owner::Any, ..QueueFilter::default() };
        self.app.store.read(move |reader| reader.queue(&filter, viewer, now, 500)).await.unwrap()
    }

    pub async fn look(&self, id: CaseId) -> CaseView {
        let viewer = self.viewer("LE").await;
        self.app.desk.look(&viewer, id).await.unwrap()
    }

    pub async fn totals(&self) -> Totals {
        self.app.store.read(|reader| reader.totals()).await.unwrap()
    }
}

/// A short real pause, so that other tasks run.
pub async fn breathe() {
    tokio::time::sleep(Duration::from_millis(10)).await;
}
