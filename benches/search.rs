//! Measures the search alone: how fast posts are indexed and found, how soon, and what that takes of memory and disk.
//!
//! The same posts and queries go through our search and through tantivy with its default words, one process each,
//! so that the memory of one is not counted as the other's. `benches/README.md` says what the figures mean.

mod findable;
mod machine;
mod plain;
mod texts;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use clap::{Parser, ValueEnum};
use moksori::{
    case::{CaseId, Status},
    clock::Time,
    mention::{Label, Lang, MentionId},
    query::Query,
    search::{self, Batch, Config, Facts, Metrics, Names, Order, Page, Post, Scope, Search},
    staff::TeamId,
};
use prometheus::Registry;
use serde_json::{Value, json};
use tokio::time::Instant;

use texts::{Asked, Texts};

/// Settings of the service as they come.
pub(crate) const COMMIT: usize = 20_000;
pub(crate) const HEAP: usize = 33_554_432;
/// Hits of a page.
pub(crate) const PAGE: usize = 20;
/// Rounds over all queries after the first one, which warms.
pub(crate) const ROUNDS: usize = 5;
/// Posts given to the index at once.
const BATCH: usize = 500;
/// The first post of the bench; those that come through the store count from 1.
const FIRST: i64 = 1_000_000_000;
/// 2025-12-01, and the milliseconds of the year that ends with the last post.
const BEGIN: i64 = 1_764_547_200_000;
const YEAR: usize = 31_000_000_000;
const TEAMS: i64 = 4;

/// What one may ask of the bench.
#[derive(Debug, Parser)]
#[command(about = "Measures the search; benches/README.md says how and what.")]
struct Args {
    /// How many posts are indexed.
    #[arg(long, default_value_t = 200_000)]
    docs: usize,
    /// One line of JSON an engine in place of the table.
    #[arg(long)]
    json: bool,
    /// Where the index is made: on the disk that is to be measured.
    #[arg(long, default_value = env!("CARGO_TARGET_TMPDIR"))]
    dir: PathBuf,
    /// Measures this engine in this process; what the processes of the bench do.
    #[arg(long, hide = true)]
    engine: Option<Engine>,
    /// What `cargo bench` adds.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Engine {
    Moksori,
    Plain,
}

fn main() -> Result<()> {
    let args = Args::parse();
    if let Some(engine) = args.engine {
        let dir = tempfile::tempdir_in(&args.dir).context("failed to make a directory for the index")?;
        println!("{}", measure(engine, args.docs, dir.path())?);
        return Ok(());
    }
    let engines = [("moksori", Engine::Moksori), ("plain", Engine::Plain)];
    for (name, _) in engines {
        let child = Command::new(std::env::current_exe()?)
            .args(["--engine", name, "--docs", &args.docs.to_string(), "--dir"])
            .arg(&args.dir)
            .stderr(Stdio::inherit())
            .output()?;
        ensure!(child.status.success(), "the process that measures {name} failed");
        let report: Value = serde_json::from_slice(&child.stdout)?;
        if args.json {
            println!("{report}");
        } else {
            println!("{report:#}");
        }
    }
    Ok(())
}

/// What is measured of either engine.
pub(crate) struct Figures {
    pub(crate) docs: usize,
    pub(crate) queries: Vec<Asked>,
    /// Processor time of making the texts, which is no part of indexing.
    making: f64,
    report: Value,
    /// Milliseconds, by kind of query.
    times: BTreeMap<String, Vec<f64>>,
    /// When each was asked for the first time.
    first: Vec<f64>,
    slowest: (f64, String, usize),
}

impl Figures {
    /// All posts are indexed, in so much processor time.
    pub(crate) fn indexed(&mut self, cpu: f64, dir: &Path) -> Result<()> {
        let cpu = (cpu - self.making).max(0.01);
        self.report["docs_per_cpu_second"] = json!((self.docs as f64 / cpu).round());
        let bytes = std::fs::read_dir(dir)?.map(|entry| Ok(entry?.metadata()?.len())).sum::<Result<u64>>()?;
        self.report["disk_mb"] = rounded(bytes as f64 / 1e6);
        self.report["bytes_per_doc"] = json!(bytes / self.docs.max(1) as u64);
        self.report["indexing_rss_mb"] = rounded(machine::peak_megabytes()?);
        Ok(())
    }

    /// A query found so many posts.
    pub(crate) fn answered(&mut self, round: usize, place: usize, took: Duration, total: usize) {
        let (asked, took) = (&self.queries[place], took.as_secs_f64() * 1e3);
        if round > 0 {
            self.times.entry(asked.kind.clone()).or_default().push(took);
            if took > self.slowest.0 {
                self.slowest = (took, asked.query.clone(), total);
            }
        } else {
            self.first.push(took);
        }
    }

    fn finish(mut self, rest: Value, dir: &Path) -> Result<Value> {
        let mut all: Vec<f64> = self.times.values().flatten().copied().collect();
        self.report["queries"] = json!(all.len());
        self.report["query_p50_ms"] = rounded(percentile(&mut all, 0.5));
        self.report["query_p99_ms"] = rounded(percentile(&mut all, 0.99));
        self.report["first_p50_ms"] = rounded(percentile(&mut self.first, 0.5));
        self.report["first_p99_ms"] = rounded(percentile(&mut self.first, 0.99));
        let kinds = self.times.iter_mut().map(|(kind, times)| (kind.clone(), rounded(percentile(times, 0.99))));
        self.report["p99_ms_by_kind"] = kinds.collect::<serde_json::Map<_, _>>().into();
        let (took, query, hits) = &self.slowest;
        self.report["slowest"] = json!({ "ms": rounded(*took), "query": query, "hits": hits });
        for (key, value) in rest.as_object().into_iter().flatten() {
            self.report[key] = value.clone();
        }
        let mut syncs = machine::sync_times(dir)?;
        self.report["fdatasync_p99_ms"] = rounded(percentile(&mut syncs, 0.99));
        self.report["rss_mb"] = rounded(machine::peak_megabytes()?);
        self.report["load"] = rounded(machine::load()?);
        Ok(self.report)
    }
}

fn measure(engine: Engine, docs: usize, dir: &Path) -> Result<Value> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let texts = Texts::read(root)?;
    let cpu = machine::cpu_seconds()?;
    let bytes: usize = (0..docs).map(|number| texts.post(number).len()).sum();
    let making = machine::cpu_seconds()? - cpu;
    let mut figures = Figures {
        docs,
        queries: texts::queries(root, docs)?,
        making,
        report: json!({ "docs": docs, "text_mb": rounded(bytes as f64 / 1e6) }),
        times: BTreeMap::new(),
        first: Vec::new(),
        slowest: (0.0, String::new(), 0),
    };
    let rest = match engine {
        Engine::Moksori => ours(&dir.join("index"), &texts, &mut figures)?,
        Engine::Plain => plain::measure(&dir.join("index"), &texts, &mut figures)?,
    };
    figures.finish(rest, dir)
}

fn ours(dir: &Path, texts: &Texts, figures: &mut Figures) -> Result<Value> {
    let config = Config {
        commit_every: Duration::from_secs(5),
        commit_docs: COMMIT,
        writer_heap_bytes: HEAP,
        time_zone: "Asia/Seoul".into(),
    };
    let (search, _) = Search::open(dir, config, Metrics::new(&Registry::new())?)?;
    let names = [("care", 1), ("vip", 2), ("store", 3), ("legal", 4)];
    let teams = names.iter().map(|(key, id)| (TeamId(*id), (*key).to_owned())).collect();
    search.set_names(Names { teams, agents: Vec::new() });
    let cpu = machine::cpu_seconds()?;
    for begin in (0..figures.docs).step_by(BATCH) {
        let numbers = begin..figures.docs.min(begin + BATCH);
        let upserts = numbers.clone().map(|number| post(texts, number, figures.docs)).collect::<Result<_>>()?;
        let batch = Batch { upserts, facts: numbers.map(facts).collect::<Result<_>>()?, ..Batch::default() };
        match search.apply(batch.clone()) {
            Ok(()) => {}
            Err(search::Error::Behind(_)) => {
                search.flush()?;
                search.apply(batch)?;
            }
            Err(error) => bail!(error),
        }
    }
    search.flush()?;
    // Waits for the merges that still run.
    search.purge()?;
    figures.indexed(machine::cpu_seconds()? - cpu, dir)?;

    let scope = Scope { teams: (1..=TEAMS).map(TeamId).collect(), brands: vec![1] };
    for round in 0..=ROUNDS {
        for place in 0..figures.queries.len() {
            let begun = Instant::now();
            let query: Query = figures.queries[place].query.parse()?;
            let found = search.find_page(&query, &scope, Order::Best, Page { offset: 0, limit: PAGE }, &[])?;
            let took = begun.elapsed();
            ensure!(figures.queries[place].kind != "order number" || found.total >= 1, "an order number is not found");
            figures.answered(round, place, took, found.total);
        }
    }
    let queries: Vec<Query> = figures.queries.iter().map(|asked| asked.query.parse()).collect::<Result<_, _>>()?;
    let mut rest = findable::measure(dir, Arc::new(search), queries, scope)?;
    rest["engine"] = json!("moksori");
    Ok(rest)
}

fn post(texts: &Texts, number: usize, docs: usize) -> Result<Post> {
    let text = texts.post(number);
    let korean = text.chars().any(|char| ('가'..='힣').contains(&char));
    Ok(Post {
        mention: MentionId(FIRST + i64::try_from(number)?),
        new: true,
        lang: if korean { Lang::Ko } else { Lang::En },
        platform: ["forum", "cafe", "microblog", "reviews"][number % 4].into(),
        accounts: vec![format!("shop_{}", number % 5)],
        author: format!("user_{}", number % 50_000),
        posted_at: Time(BEGIN + i64::try_from(YEAR / docs.max(1) * number)?),
        reach: (number as u64).wrapping_mul(2_654_435_761) % 20_000,
        text,
    })
}

/// Three of four posts are cases of one of the teams.
fn facts(number: usize) -> Result<Facts> {
    let facts = Facts::new(MentionId(FIRST + i64::try_from(number)?), 1);
    if number % 4 == 3 {
        return Ok(facts);
    }
    let turn = i64::try_from(number / 4)?;
    Ok(Facts {
        case: Some(CaseId(facts.mention.0)),
        team: Some(TeamId(1 + turn % TEAMS)),
        label: Label::ALL.get(number % Label::ALL.len()).copied(),
        status: Status::ALL.get(number % Status::ALL.len()).copied(),
        ..facts
    })
}

pub(crate) fn percentile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let last = values.len().saturating_sub(1);
    values.get((last as f64 * share) as usize).copied().unwrap_or(f64::NAN)
}

pub(crate) fn rounded(value: f64) -> Value {
    json!((value * 100.0).round() / 100.0)
}
