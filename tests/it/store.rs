//! The contract of the store: what every engine must do, however it does it.
//!
//! [`on_both`] runs a test on a fresh SQLite file and on a fresh PostgreSQL database. A test talks to the
//! store as the desk does, and looks past it with [`Shop::words`] only at what no page shows.

mod cases;
mod clocks;
mod coverage;
mod crowd;
mod events;
mod feed;
mod feedback;
mod history;
mod hostile;
mod intake;
mod leases;
mod listening;
mod outbox;
mod page;
mod people;
mod positions;
mod protection;
mod queue;
mod races;
mod rules;
mod saved;
mod sources;
mod transfer;

use std::{path::Path, sync::Arc, time::Duration};

use moksori::{
    case::{AccountId, BrandId, CaseId, Priority},
    clock::{Clock, Time},
    mention::{Author, ContactId, Envelope, Label, Lang, MentionId, Reason, TimeQuality, Verdict},
    queue::{CatalogConfig, Config, Error, Metrics, NewAgent, NewCase, Reader, Store, Texts, Tx, Urgency},
    sla::{Kind, Origin, PolicyRef, SlaClock, State},
    staff::{AgentId, Role, TeamId},
};
use prometheus::Registry;
use tempfile::TempDir;

use crate::kit::{self, engines::Shared};

/// Where every post of these tests stands.
const SQUARE: &str = "town:square";

/// The engine under a store, and where its data lie.
enum Engine {
    Sqlite(TempDir),
    /// The address of a database, and what keeps others from stopping its server.
    Postgres(String, #[expect(dead_code, reason = "what counts is when it is dropped")] Shared<'static>),
}

/// A store with a small shop in it: two brands, three teams, three accounts, two people.
struct Shop {
    engine: Engine,
    clock: Clock,
    store: Arc<Store>,
    brand: BrandId,
    account: AccountId,
    care: TeamId,
    vip: TeamId,
    kg: AgentId,
    sb: AgentId,
}

/// Runs a test on every engine that this machine has.
async fn on_both(test: impl AsyncFn(&Shop)) {
    let shop = Shop::open(Engine::Sqlite(tempfile::tempdir().unwrap())).await;
    test(&shop).await;
    drop(shop);
    if let Some(engine) = Engine::postgres() {
        let shop = Shop::open(engine).await;
        eprintln!("and now on PostgreSQL");
        test(&shop).await;
    }
}

impl Engine {
    /// A fresh PostgreSQL database with the newest schema; none where the machine has no PostgreSQL.
    fn postgres() -> Option<Engine> {
        let server = kit::postgres::postgres("the contract of the store on PostgreSQL")?;
        let shared = server.shared();
        let engine = Engine::Postgres(server.database(), shared);
        Store::migrate(Path::new(""), &engine.config()).unwrap();
        Some(engine)
    }

    fn config(&self) -> Config {
        match self {
            Engine::Sqlite(_) => Config::sqlite(4, 1_000),
            Engine::Postgres(url, _) => Config::at(url, 5, Duration::from_secs(30)),
        }
    }

    /// Opens a store here; what a second process would do, or the next one.
    fn store(&self, clock: &Clock) -> Arc<Store> {
        let metrics = Metrics::new(&Registry::new()).unwrap();
        let dir = match self {
            Engine::Sqlite(dir) => dir.path(),
            Engine::Postgres(..) => Path::new(""),
        };
        Store::open(dir, self.config(), clock.clone(), metrics).unwrap()
    }

    /// The rows of a statement as text, columns with a bar between them, read past the store.
    fn words(&self, sql: &str) -> Vec<String> {
        match self {
            Engine::Sqlite(dir) => {
                let connection = rusqlite::Connection::open(dir.path().join("desk.db")).unwrap();
                let mut statement = connection.prepare(sql).unwrap();
                let columns = statement.column_count();
                let rows = statement.query_map([], |row| {
                    let value = |index| match row.get_unwrap(index) {
                        rusqlite::types::Value::Null => "-".to_owned(),
                        rusqlite::types::Value::Integer(number) => number.to_string(),
                        rusqlite::types::Value::Real(number) => number.to_string(),
                        rusqlite::types::Value::Text(text) => text,
                        rusqlite::types::Value::Blob(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
                    };
                    Ok((0..columns).map(value).collect::<Vec<_>>().join("|"))
                });
                rows.unwrap().map(Result::unwrap).collect()
            }
            // The simple protocol gives every value as text.
            Engine::Postgres(url, _) => std::thread::scope(|scope| {
                let asked = || {
                    let mut client = postgres::Client::connect(url, postgres::NoTls).unwrap();
                    let mut found = Vec::new();
                    for message in client.simple_query(sql).unwrap() {
                        if let postgres::SimpleQueryMessage::Row(row) = message {
                            let value = |index| row.get(index).unwrap_or("-").to_owned();
                            found.push((0..row.len()).map(value).collect::<Vec<_>>().join("|"));
                        }
                    }
                    found
                };
                // The client brings a runtime along, and a test has one already.
                scope.spawn(asked).join().unwrap()
            }),
        }
    }
}

fn catalog() -> CatalogConfig {
    let team = |key: &str, brand: &str| (key.into(), brand.into(), format!("{key} 팀"), key.into(), "Asia/Seoul".into());
    CatalogConfig {
        brands: vec![("shop".into(), "가게".into(), "Shop".into()), ("cafe".into(), "카페".into(), "Cafe".into())],
        teams: vec![team("care", "shop"), team("vip", "shop"), team("bar", "cafe")],
        accounts: vec![
            ("main".into(), "shop".into(), "shop_kr".into()),
            ("side".into(), "shop".into(), "shop_en".into()),
            ("cup".into(), "cafe".into(), "cafe_kr".into()),
        ],
    }
}

impl Shop {
    async fn open(engine: Engine) -> Shop {
        let clock = Clock::by_hand(kit::noon());
        let store = engine.store(&clock);
        let catalog = store.set_catalog(catalog()).await.unwrap();
        let teams: Vec<TeamId> = ["care", "vip"].iter().map(|key| catalog.team_by_key(key).unwrap().id).collect();
        let account = catalog.account_by_key("main").unwrap();
        let (brand, account, care, vip) = (account.brand, account.id, teams[0], teams[1]);
        let (kg, sb) = store
            .write(Urgency::Person, move |tx| {
                let both = vec![(care, Role::Agent), (vip, Role::Agent)];
                Ok::<_, Error>((tx.put_agent(&person("KG", both.clone()))?, tx.put_agent(&person("SB", both))?))
            })
            .await
            .unwrap();
        Shop { engine, clock, store, brand, account, care, vip, kg, sb }
    }

    /// A second process on the same desk; on SQLite, which has one process, the same store again.
    fn second(&self) -> Arc<Store> {
        match self.engine {
            Engine::Sqlite(_) => Arc::clone(&self.store),
            Engine::Postgres(..) => self.engine.store(&self.clock),
        }
    }

    /// The same desk after its process ended; [`Shop::store`] is closed from here on.
    fn reopened(&self) -> Arc<Store> {
        self.store.close();
        self.engine.store(&self.clock)
    }

    async fn write<T: Send + 'static>(&self, work: impl FnMut(&mut Tx<'_>) -> Result<T, Error> + Send + 'static) -> T {
        self.store.write(Urgency::Person, work).await.unwrap()
    }

    /// A transaction that must be refused for what is in it: trying again cannot help.
    async fn refused<T: Send + 'static>(&self, work: impl FnMut(&mut Tx<'_>) -> Result<T, Error> + Send + 'static) -> Error {
        let Err(error) = self.store.write(Urgency::Person, work).await else { panic!("it was taken") };
        assert!(!error.is_retryable(), "{error:?}");
        error
    }

    async fn read<T: Send + 'static>(&self, work: impl FnOnce(&Reader<'_>) -> Result<T, Error> + Send + 'static) -> T {
        self.store.read(work).await.unwrap()
    }

    /// See [`Engine::words`].
    fn words(&self, sql: &str) -> Vec<String> {
        self.engine.words(sql)
    }
}

fn person(initials: &str, teams: Vec<(TeamId, Role)>) -> NewAgent {
    NewAgent {
        name: format!("{initials} 씨"),
        email: format!("{initials}@Example.com"),
        initials: initials.into(),
        password_hash: None,
        teams,
    }
}

/// A customer's post; everybody's words are the same.
fn post(native_id: &str, author: &str) -> Envelope {
    Envelope {
        v: 1,
        source: SQUARE.into(),
        native_id: native_id.into(),
        author: Some(Author { native_id: format!("id-{author}"), handle: author.into(), name: None, reach: Some(120) }),
        text: format!("{native_id} 배송이 안 와요"),
        posted_at: Some(kit::noon()),
        time_quality: TimeQuality::Exact,
        first_seen_at: kit::noon(),
        ..Envelope::default()
    }
}

fn verdict() -> Verdict {
    let reason = Reason { rule: "late".into(), words: "안 와요".into(), weight: 1.5, label: Label::Complaint };
    Verdict { lang: Lang::Ko, label: Label::Complaint, confidence: 0.93, unsure: false, model: 0, reasons: vec![reason] }
}

fn texts(masked: &str) -> Texts<'_> {
    Texts { masked, original: None, signature: u64::MAX - 7 }
}

/// Where a post went.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Posted {
    mention: MentionId,
    contact: ContactId,
}

/// Stores a new post as intake does, caught by the shop's main account.
fn take(tx: &mut Tx<'_>, envelope: &Envelope) -> Result<Posted, Error> {
    let (contact, _) = tx.contact(&envelope.source, envelope.author.as_ref().unwrap())?;
    let mention = tx.insert_mention(envelope, contact, None, &verdict(), texts(&envelope.text), 1)?;
    let catalog = tx.catalog();
    let account = catalog.account_by_key("main").unwrap();
    tx.add_match(mention, account.brand, account.id, true, None)?;
    Ok(Posted { mention, contact })
}

/// A case of the care team about a post, without clocks.
fn case_of(tx: &Tx<'_>, posted: Posted) -> NewCase {
    let catalog = tx.catalog();
    let account = catalog.account_by_key("main").unwrap();
    NewCase {
        brand: account.brand,
        account: account.id,
        contact: posted.contact,
        conversation: posted.mention.0,
        mention: posted.mention,
        priority: Priority::Normal,
        team: catalog.team_by_key("care").unwrap().id,
        label: Label::Complaint,
        confidence: 0.93,
        unsure: false,
        rule: "late".into(),
        rules: 1,
        policy: policy(1),
        unanswered_since: kit::noon(),
        signature: u64::MAX - 7,
        clocks: Vec::new(),
    }
}

/// Opens a case about a new post.
fn open_case(tx: &mut Tx<'_>, envelope: &Envelope) -> Result<(CaseId, Posted), Error> {
    let posted = take(tx, envelope)?;
    let new = case_of(tx, posted);
    Ok((tx.insert_case(&new)?, posted))
}

fn policy(version: u32) -> PolicyRef {
    PolicyRef { id: "all".into(), version }
}

/// A running clock that is due so many minutes after noon, and fires then.
fn running(kind: Kind, minutes: i64) -> SlaClock {
    let due = minutes_after_noon(minutes);
    SlaClock {
        kind,
        cycle: 1,
        policy: policy(1),
        state: State::Running,
        origin_at: kit::noon(),
        origin_source: Origin::Posted,
        target: Duration::from_secs(720),
        elapsed: Duration::ZERO,
        since: kit::noon(),
        deadline_at: due,
        fired: 0,
        next_fire_at: due,
        met_at: None,
        breached_at: None,
        detected_at: None,
        cancelled: None,
        breach_reason: None,
    }
}

fn minutes_after_noon(minutes: i64) -> Time {
    Time(kit::noon().0 + minutes * 60_000)
}

/// What has no `==` is equal when it looks equal.
fn same(left: &impl std::fmt::Debug, right: &impl std::fmt::Debug) {
    assert_eq!(format!("{left:#?}"), format!("{right:#?}"));
}
