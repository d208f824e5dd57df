//! How soon a post is found that the store has committed, in an index of many posts that answers queries meanwhile.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use moksori::{
    case::Seq,
    clock::Clock,
    desk::{self, Desk, Finding, Intake, Judged, Route, Taken},
    index::Follower,
    mention::{Author, Envelope, Label, Lang, Mark, Verdict},
    query::Query,
    queue::{self, CatalogConfig, Store},
    search::{Order, Page, Scope, Search},
    sla::Policies,
    text,
};
use prometheus::Registry;
use serde_json::{Value, json};
use tokio::{
    sync::watch,
    time::{Instant, interval, sleep},
};

use crate::{percentile, rounded};

/// Posts that come, and how long one is after the other.
const POSTS: i64 = 1_000;
const EVERY: Duration = Duration::from_millis(10);
/// The time from one query to the next: what a busy office asks.
const ASKED: Duration = Duration::from_millis(100);

const POLICY: &str = r#"
[[policy]]
id = "all"
targets = { triage = "1h", first_response = "1h", next_response = "1h", resolution = "24h" }
"#;

#[tokio::main]
pub(crate) async fn measure(dir: &Path, search: Arc<Search>, queries: Vec<Query>, scope: Scope) -> Result<Value> {
    let store = dir.parent().context("the index lies in a directory")?.join("store");
    std::fs::create_dir_all(&store)?;
    let desk = open(&store).await?;
    let (stop, stopped) = watch::channel(false);
    let follower = Follower::new(Arc::clone(desk.store()), Arc::clone(&search), Clock::System, Seq(0)).await?;
    let following = tokio::spawn(follower.run(stopped));
    let asking = Arc::new(AtomicBool::new(true));
    let asker = {
        let (search, scope, asking) = (Arc::clone(&search), scope.clone(), Arc::clone(&asking));
        std::thread::spawn(move || {
            for query in queries.iter().cycle().take_while(|_| asking.load(Ordering::Relaxed)) {
                if search.find_page(query, &scope, Order::Best, Page { offset: 0, limit: 20 }, &[]).is_err() {
                    return false;
                }
                std::thread::sleep(ASKED);
            }
            true
        })
    };
    let (mut times, mut due) = (Vec::new(), interval(EVERY));
    for number in 0..POSTS {
        due.tick().await;
        let mut commits = desk.store().follow();
        commits.mark_unchanged();
        let given = tokio::spawn({
            let (desk, intake) = (Arc::clone(&desk), intake(&desk, number)?);
            async move { desk.take_in(Arc::new(intake)).await }
        });
        commits.changed().await?;
        let (committed, seq) = (Instant::now(), *commits.borrow());
        while search.seq() < seq {
            sleep(Duration::from_micros(100)).await;
        }
        times.push(committed.elapsed().as_secs_f64() * 1e3);
        ensure!(matches!(given.await??, Taken::Stored), "post {number} was not stored");
    }
    asking.store(false, Ordering::Relaxed);
    ensure!(asker.join().is_ok_and(|answered| answered), "a query failed meanwhile");
    for number in (0..POSTS).step_by(100) {
        let found = search.find(&word(number).parse()?, &scope, Order::Best, Page { offset: 0, limit: 1 })?;
        ensure!(found.total == 1, "{} posts with {}", found.total, word(number));
    }
    stop.send(true)?;
    following.await?;
    Ok(json!({
        "findable_p50_ms": rounded(percentile(&mut times, 0.5)),
        "findable_p99_ms": rounded(percentile(&mut times, 0.99)),
    }))
}

/// A word that only this post has.
fn word(number: i64) -> String {
    format!("zq{number}zq")
}

async fn open(dir: &Path) -> Result<Arc<Desk>> {
    let registry = Registry::new();
    let store = Store::open(dir, queue::Config::sqlite(2, 1_000), Clock::System, queue::Metrics::new(&registry)?)?;
    let catalog = CatalogConfig {
        brands: vec![("bench".into(), "벤치".into(), "Bench".into())],
        teams: vec![("care".into(), "bench".into(), "상담".into(), "Care".into(), "Asia/Seoul".into())],
        accounts: vec![("main".into(), "bench".into(), "bench_kr".into())],
    };
    store.set_catalog(catalog).await?;
    let config = desk::Config {
        undo_window: Duration::from_secs(5),
        hurry: Duration::from_secs(15),
        session: Duration::from_secs(3_600),
        link: Duration::from_secs(600),
        mask_abuse: true,
        exposure_limit: 20,
    };
    let policies = Policies::parse(&[("sla.toml".into(), POLICY.into())], 1)?;
    Ok(Desk::new(store, policies, config, Clock::System, desk::Metrics::new(&registry)?))
}

/// One post that the pipeline has judged; it opens no case.
fn intake(desk: &Desk, number: i64) -> Result<Intake> {
    let account = desk.store().catalog();
    let account = account.account_by_key("main").context("the bench has an account")?;
    let words = format!("배송이 늦어요 {}", word(number));
    let native_id = format!("post-{number}");
    let envelope = Envelope {
        v: 1,
        source: "bench:posts".into(),
        author: Some(Author { native_id: native_id.clone(), handle: native_id.clone(), name: None, reach: None }),
        native_id,
        text: words.clone(),
        posted_at: Some(Clock::System.now()),
        first_seen_at: Clock::System.now(),
        ..Envelope::default()
    };
    let finding = Finding {
        brand: account.brand,
        account: account.id,
        addressed: true,
        query: None,
        route: Route::Fold,
        rule: "all".into(),
    };
    let judged = Judged {
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
        findings: vec![finding],
        rules: 1,
    };
    let mark = |next| Mark { log: "".into(), next };
    let (from, to) = (mark(number), mark(number + 1));
    Ok(Intake { consumer: "bench", part: 0, from, to, mentions: vec![judged], dead: Vec::new() })
}
