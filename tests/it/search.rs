//! Search around the heart: what is found, exported, told and rebuilt, over a real store and a real index.

mod alerts;
mod exports;
mod faults;
mod rebuild;

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use moksori::{
    case::{Priority, Seq},
    clock::{Clock, Time},
    desk::{self, Desk, Finding, Intake, Judged, Route, Taken},
    index::Follower,
    mention::{Author, Envelope, Label, Lang, Mark, TimeQuality, Verdict},
    query::Query,
    queue::{self, CatalogConfig, NewAgent, Store},
    search::{self, Found, Order, Page, Scope, Search},
    sla::Policies,
    staff::{Role, TeamId, Viewer},
    text,
};
use prometheus::Registry;
use tempfile::TempDir;

use crate::kit;

const POLICY: &str = r#"
[[policy]]
id = "all"
targets = { triage = "11m", first_response = "12m", next_response = "30m", resolution = "24h" }
warn = ["80%"]
"#;

/// A shop with two brands and three teams; its posts come as the pipeline would bring them.
struct Place {
    dir: TempDir,
    clock: Clock,
    desk: Arc<Desk>,
    search: Arc<Search>,
    posts: AtomicI64,
    seq: Seq,
}

fn open_store(dir: &Path, clock: &Clock) -> Arc<Store> {
    let metrics = queue::Metrics::new(&Registry::new()).unwrap();
    Store::open(dir, queue::Config::sqlite(4, 1_000), clock.clone(), metrics).unwrap()
}

fn open_search(dir: &Path) -> (Arc<Search>, search::Opened) {
    let config = search::Config {
        commit_every: Duration::from_secs(3_600),
        commit_docs: 2_000,
        writer_heap_bytes: 15_000_000,
        time_zone: "Asia/Seoul".into(),
    };
    let index = dir.join("index");
    std::fs::create_dir_all(&index).unwrap();
    let (search, opened) = Search::open(&index, config, search::Metrics::new(&Registry::new()).unwrap()).unwrap();
    (Arc::new(search), opened)
}

fn desk_over(store: Arc<Store>, clock: &Clock) -> Arc<Desk> {
    let policies = Policies::parse(&[("sla.toml".into(), POLICY.into())], 1).unwrap();
    let config = desk::Config {
        undo_window: Duration::from_secs(5),
        hurry: Duration::from_secs(15),
        session: Duration::from_secs(43_200),
        link: Duration::from_secs(600),
        mask_abuse: true,
        exposure_limit: 3,
    };
    Desk::new(store, policies, config, clock.clone(), desk::Metrics::new(&Registry::new()).unwrap())
}

impl Place {
    async fn open() -> Place {
        let dir = tempfile::tempdir().unwrap();
        let clock = Clock::by_hand(kit::noon());
        let store = open_store(dir.path(), &clock);
        let team = |key: &str, brand: &str| (key.into(), brand.into(), key.into(), key.into(), "Asia/Seoul".into());
        let catalog = CatalogConfig {
            brands: vec![("shop".into(), "가게".into(), "Shop".into()), ("cafe".into(), "카페".into(), "Cafe".into())],
            teams: vec![team("care", "shop"), team("vip", "shop"), team("bar", "cafe")],
            accounts: vec![("main".into(), "shop".into(), "shop_kr".into()), ("cup".into(), "cafe".into(), "cafe_kr".into())],
        };
        store.set_catalog(catalog).await.unwrap();
        let desk = desk_over(store, &clock);
        let (search, opened) = open_search(dir.path());
        Place { dir, clock, desk, search, posts: AtomicI64::new(0), seq: opened.seq }
    }

    async fn hire(&self, initials: &str, teams: &[&str]) -> Viewer {
        let catalog = self.desk.store().catalog();
        let agent = NewAgent {
            name: initials.into(),
            email: format!("{initials}@shop.kr"),
            initials: initials.into(),
            password_hash: None,
            teams: teams.iter().map(|key| (catalog.team_by_key(key).unwrap().id, Role::Agent)).collect(),
        };
        let agent = self.desk.put_agent(agent).await.unwrap();
        self.desk.store().read(move |reader| reader.viewer(agent)).await.unwrap().unwrap()
    }

    /// Posts of as many people, each a case of `team` or, without one, folded; posted at `at`.
    async fn post_at(&self, team: Option<&str>, texts: &[String], at: Time) {
        let first = self.posts.fetch_add(i64::try_from(texts.len()).unwrap(), Ordering::SeqCst);
        let catalog = self.desk.store().catalog();
        let account = catalog.account_by_key(if team == Some("bar") { "cup" } else { "main" }).unwrap();
        let judged = |(number, words): (i64, &String)| {
            let native_id = format!("post-{number}");
            let words = text::normalise(words).into_owned();
            let envelope = Envelope {
                v: 1,
                source: "town:square".into(),
                conversation: Some(native_id.clone()),
                author: Some(Author {
                    native_id: native_id.clone(),
                    handle: format!("user_{number}"),
                    name: None,
                    reach: Some(120),
                }),
                native_id,
                text: words.clone(),
                posted_at: Some(at),
                time_quality: TimeQuality::Exact,
                first_seen_at: self.clock.now(),
                ..Envelope::default()
            };
            let route = match team {
                Some(team) => Route::Case { team: team.into(), priority: Priority::Normal, policy: None },
                None => Route::Fold,
            };
            Judged {
                position: number,
                envelope,
                original: None,
                signature: text::signature(&words),
                masked: words,
                verdict: Verdict {
                    lang: Lang::Ko,
                    label: Label::Complaint,
                    confidence: 0.9,
                    unsure: false,
                    model: 0,
                    reasons: Vec::new(),
                },
                findings: vec![Finding {
                    brand: account.brand,
                    account: account.id,
                    addressed: true,
                    query: None,
                    route,
                    rule: "all".into(),
                }],
                rules: 1,
            }
        };
        let mentions: Vec<Judged> = (first..).zip(texts).map(judged).collect();
        let mark = |next| Mark { log: "".into(), next };
        let to = first + i64::try_from(texts.len()).unwrap();
        let intake = Intake { consumer: "triage", part: 0, from: mark(first), to: mark(to), mentions, dead: Vec::new() };
        assert_eq!(self.desk.take_in(Arc::new(intake)).await.unwrap(), Taken::Stored);
    }

    async fn post(&self, team: Option<&str>, texts: &[&str]) {
        let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
        self.post_at(team, &texts, self.clock.now()).await;
    }

    /// Brings the index up to date.
    async fn index(&mut self) {
        let store = Arc::clone(self.desk.store());
        let mut follower = Follower::new(store, Arc::clone(&self.search), self.clock.clone(), self.seq).await.unwrap();
        while follower.step().await.unwrap() {}
        self.seq = self.search.seq();
    }

    fn scope(&self, teams: &[&str]) -> Scope {
        let catalog = self.desk.store().catalog();
        let teams: Vec<TeamId> = teams.iter().map(|key| catalog.team_by_key(key).unwrap().id).collect();
        let brand = |team: &TeamId| u32::try_from(catalog.team(*team).unwrap().brand.0).unwrap();
        Scope { brands: teams.iter().map(brand).collect(), teams }
    }

    fn find(&self, query: &str, teams: &[&str]) -> Found {
        let query: Query = query.parse().unwrap_or_else(|error| panic!("{query}: {error}"));
        self.search.find(&query, &self.scope(teams), Order::Newest, Page { offset: 0, limit: 100_000 }).unwrap()
    }
}
