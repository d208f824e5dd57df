//! Measures the journey of a mention through the whole service, from the durable log to a search that finds it.
//!
//! The app starts as `moksori run` starts it, over a directory of its own, and is fed through its log. Three
//! runs: as fast as the pipeline takes them, then at 200 and at 1,000 mentions a second. Afterwards a second
//! process counts what is on the disk. One line of JSON comes out; `benches/README.md` says what it means.

mod input;
mod machine;
mod verify;

use std::{
    io::{BufRead, BufReader, Write},
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use moksori::{
    app::App,
    bus::{Bus, Entry},
    case::Seq,
    classify::Classifier,
    clock::Clock,
    config::Config,
    connect::AccountConfig,
    dispatch::{Dispatcher, Known},
    metrics, pipeline,
    pipeline::Judges,
    queue::Store,
    rules, search,
    search::Search,
    telemetry,
};
use serde_json::{Value, json};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep},
};

/// Records that may wait between log and pipeline while it runs as fast as it can.
const BACKLOG: i64 = 5_000;
/// Every so many mentions of a run at a fixed rate carry a word of their own, which a query then looks for.
const SAMPLE: usize = 100;

/// Every mention opens or joins a case, as the peers do it for all but the label other.
const DISPATCH: &str = r#"
[[rule]]
id = "unsure"
when = { unsure = true }
hold = { team = "default" }

[[rule]]
id = "abuse"
when = { label = ["abuse"] }
case = { team = "default", priority = "low" }

[[rule]]
id = "danger"
when = { label = ["complaint"], keyword = ["화재", "폭발", "연기", "다쳤", "fire", "smoke", "injured"] }
case = { team = "default", priority = "high" }

[[rule]]
id = "many-listeners"
when = { reach_min = 10000 }
case = { team = "default", priority = "high" }

[[rule]]
id = "everything-else"
case = { team = "default" }
"#;

const CONFIG: &str = r#"
[[brand]]
key = "bench"
ko = "벤치"
en = "Bench"

[[team]]
key = "cs"
brand = "bench"
ko = "상담"
en = "Customer care"
"#;

/// What one may ask of the bench.
#[derive(Debug, Parser)]
#[command(about = "Measures the journey of a mention; benches/README.md says how and what.")]
struct Args {
    /// Mentions as JSON lines {id, source, author, created_at, url, text}; without it the bench writes its own.
    #[arg(long)]
    mentions: Option<PathBuf>,
    /// Rules as lines of label, tab, regex; without it those of this repository.
    #[arg(long)]
    patterns: Option<PathBuf>,
    /// How many mentions the run at full speed takes.
    #[arg(long, default_value_t = 60_000)]
    count: usize,
    /// Seconds of each run at a fixed rate; 0 leaves them out.
    #[arg(long, default_value_t = 20)]
    seconds: usize,
    /// Where the data directories are made: on the disk that is to be measured.
    #[arg(long, default_value = env!("CARGO_TARGET_TMPDIR"))]
    dir: PathBuf,
    /// Another setting of the service: `--set pipeline.batch=1000`; as often as need be.
    #[arg(long, value_name = "KEY=VALUE", value_parser = setting)]
    set: Vec<(String, String)>,
    /// Counts what this data directory holds and prints it; what the second process does.
    #[arg(long, hide = true)]
    verify: Option<PathBuf>,
    /// What `cargo bench` adds.
    #[arg(long, hide = true)]
    bench: bool,
}

fn setting(text: &str) -> Result<(String, String), String> {
    text.split_once('=').map(|(key, value)| (key.into(), value.into())).ok_or_else(|| "write KEY=VALUE".to_owned())
}

fn main() -> Result<()> {
    let args = Args::parse();
    if let Some(directory) = &args.verify {
        println!("{}", serde_json::to_string(&verify::count(directory)?)?);
        return Ok(());
    }
    telemetry::init(Some("warn"), false)?;
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(measure(&args))
}

async fn measure(args: &Args) -> Result<()> {
    let dir = tempfile::tempdir_in(&args.dir).context("failed to make a directory for the data")?;
    let mut report = throughput(args, &dir.path().join("fast")).await?;
    let mut syncs = machine::sync_times(dir.path())?;
    for rate in [200, 1_000] {
        if args.seconds > 0 {
            report[format!("at_{rate}")] = at_rate(args, &dir.path().join(rate.to_string()), rate).await?;
            syncs.extend(machine::sync_times(dir.path())?);
        }
    }
    report["fdatasync_p50_ms"] = rounded(percentile(&mut syncs, 0.5));
    report["fdatasync_p99_ms"] = rounded(percentile(&mut syncs, 0.99));
    report["rss_mb"] = rounded(machine::peak_megabytes()?);
    report["load"] = rounded(machine::load()?);
    println!("{report}");
    Ok(())
}

/// As fast as the pipeline takes them: pages of 20 to 500, while fewer than [`BACKLOG`] records wait.
async fn throughput(args: &Args, dir: &Path) -> Result<Value> {
    let file = input::prepare(args.mentions.as_deref(), args.count, None, dir)?;
    let app = start(args, dir).await?;
    let falling_behind = tokio::spawn(furthest_behind(Arc::clone(&app.store), index(&app)?));
    let mut lines = BufReader::new(std::fs::File::open(&file.path)?).split(b'\n');
    let (cpu, begun) = (machine::cpu_seconds()?, Instant::now());
    let mut page_size = 20;
    loop {
        let page = lines.by_ref().take(page_size).collect::<std::io::Result<Vec<_>>>()?;
        if page.is_empty() {
            break;
        }
        while end(&app).await? - position(&app).await? > BACKLOG {
            sleep(Duration::from_millis(10)).await;
        }
        app.bus.append(page.into_iter().map(entry).collect()).await?;
        // 20 to 500, each as often as any other: 167 has no divisor in common with 481.
        page_size = 20 + (page_size - 20 + 167) % 481;
    }
    while position(&app).await? < end(&app).await? {
        sleep(Duration::from_millis(10)).await;
    }
    let last = *app.store.follow().borrow();
    while index(&app)?.seq() < last {
        sleep(Duration::from_millis(1)).await;
    }
    let wall = begun.elapsed();
    // What is findable is yet to be written into the index; that is work too.
    let search = index(&app)?;
    tokio::task::spawn_blocking(move || search.flush()).await??;
    let cpu = machine::cpu_seconds()? - cpu;
    let behind = {
        falling_behind.abort();
        BEHIND.load(std::sync::atomic::Ordering::Relaxed)
    };
    let commits = commits(&app)?;
    ensure!(app.stop().await, "the app did not stop cleanly");
    let counts = count_in_second_process(dir)?;
    for (what, expected) in
        [("records", file.lines), ("mentions", file.unique), ("documents", file.unique), ("loose", 0), ("dead_letters", 0)]
    {
        ensure!(counts[what] == expected, "{expected} {what} expected on disk: {counts}");
    }
    ensure!(counts["clocks"].as_u64() >= counts["cases"].as_u64(), "every case has clocks: {counts}");
    let per = |seconds: f64| (args.count as f64 / seconds).round();
    Ok(json!({
        "mentions": args.count,
        "mentions_per_cpu_second": per(cpu),
        "mentions_per_second": per(wall.as_secs_f64()),
        "cpu_seconds": rounded(cpu),
        "findable_after_max_ms": rounded(behind as f64 / 1e3),
        "commits": commits,
        "counts": counts,
    }))
}

/// Mentions come one by one, `rate` a second; how long until each is durable, and until a search finds it.
async fn at_rate(args: &Args, dir: &Path, rate: usize) -> Result<Value> {
    let file = input::prepare(args.mentions.as_deref(), rate * args.seconds, Some(SAMPLE), dir)?;
    let app = start(args, dir).await?;
    let lines = BufReader::new(std::fs::File::open(&file.path)?).split(b'\n').collect::<std::io::Result<Vec<_>>>()?;
    let count = lines.len();
    let first = *app.store.follow().borrow();
    let durable = tokio::spawn(durable_at(Arc::clone(&app.store), Seq(first.0 + i64::try_from(count)?)));
    let findable = tokio::spawn(findable_at(index(&app)?, Seq(first.0 + i64::try_from(count)?)));
    let (cpu, begun) = (machine::cpu_seconds()?, Instant::now());
    let appended = append_at(&app.bus, lines, rate).await?;
    let durable = durable.await?;
    let findable = findable.await?;
    let cpu = (machine::cpu_seconds()? - cpu) / begun.elapsed().as_secs_f64();
    let mut queries = Vec::new();
    for index in (0..count).step_by(SAMPLE) {
        queries.push(look_for(&app, &input::marker(index)).await?);
    }
    ensure!(app.stop().await, "the app did not stop cleanly");
    let counts = count_in_second_process(dir)?;
    ensure!(counts["mentions"] == count && counts["documents"] == count && counts["loose"] == 0, "of {count}: {counts}");
    // The first second warms caches.
    let warm = i64::try_from(rate)?;
    let times = |seen: &[(Instant, Seq)]| -> Vec<f64> {
        let after = |(position, at): &(i64, Instant)| {
            let seq = Seq(first.0 + position + 1);
            let index = seen.partition_point(|(_, known)| *known < seq);
            seen.get(index).map(|(seen, _)| seen.duration_since(*at).as_secs_f64() * 1e3)
        };
        appended.iter().filter(|(position, _)| *position >= warm).filter_map(after).collect()
    };
    let (mut durable, mut findable) = (times(&durable), times(&findable));
    Ok(json!({
        "durable_p50_ms": rounded(percentile(&mut durable, 0.5)),
        "durable_p99_ms": rounded(percentile(&mut durable, 0.99)),
        "searchable_p50_ms": rounded(percentile(&mut findable, 0.5)),
        "searchable_p99_ms": rounded(percentile(&mut findable, 0.99)),
        "query_p50_ms": rounded(percentile(&mut queries, 0.5)),
        "cores_used": rounded(cpu),
    }))
}

/// Appends each line by itself at its time, without waiting for the one before; gives its position and that time.
async fn append_at(bus: &Arc<Bus>, lines: Vec<Vec<u8>>, rate: usize) -> Result<Vec<(i64, Instant)>> {
    let (done, mut appended) = mpsc::unbounded_channel();
    let runtime = tokio::runtime::Handle::current();
    let count = lines.len();
    let Bus::Embedded(log) = &**bus else { anyhow::bail!("the bench knows positions of the embedded log only") };
    let log = log.clone();
    let source = std::thread::spawn(move || {
        let begun = Instant::now();
        for (index, line) in lines.into_iter().enumerate() {
            let due = begun + Duration::from_secs_f64(index as f64 / rate as f64);
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            let (log, done, at) = (log.clone(), done.clone(), Instant::now());
            runtime.spawn(async move {
                let end = log.append(vec![entry(line)]).await;
                drop(done.send(end.map(|end| (end.0 - 1, at))));
            });
        }
    });
    let mut all = Vec::with_capacity(count);
    while let Some(result) = appended.recv().await {
        all.push(result?);
    }
    ensure!(source.join().is_ok(), "the source of mentions crashed");
    Ok(all)
}

/// When each commit of the store was seen, up to the last event.
async fn durable_at(store: Arc<Store>, last: Seq) -> Vec<(Instant, Seq)> {
    let mut commits = store.follow();
    let mut seen = Vec::new();
    while seen.last().is_none_or(|(_, seq)| *seq < last) && commits.changed().await.is_ok() {
        seen.push((Instant::now(), *commits.borrow_and_update()));
    }
    seen
}

/// When the index was seen to answer with each event, up to the last; looks every half millisecond.
async fn findable_at(search: Arc<Search>, last: Seq) -> Vec<(Instant, Seq)> {
    let mut seen: Vec<(Instant, Seq)> = Vec::new();
    while seen.last().is_none_or(|(_, seq)| *seq < last) {
        let seq = search.seq();
        if seen.last().is_none_or(|(_, known)| *known < seq) {
            seen.push((Instant::now(), seq));
        }
        sleep(Duration::from_micros(500)).await;
    }
    seen
}

/// The most microseconds from a commit of the store until search has it.
static BEHIND: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);

async fn furthest_behind(store: Arc<Store>, search: Arc<Search>) {
    let mut commits = store.follow();
    while commits.changed().await.is_ok() {
        let (seq, at) = (*commits.borrow_and_update(), Instant::now());
        while search.seq() < seq {
            sleep(Duration::from_millis(5)).await;
        }
        let behind = u64::try_from(at.elapsed().as_micros()).unwrap_or(u64::MAX);
        BEHIND.fetch_max(behind, std::sync::atomic::Ordering::Relaxed);
    }
}

/// Finds the one mention with `word`, and says in how many milliseconds.
async fn look_for(app: &App, word: &str) -> Result<f64> {
    let catalog = app.store.catalog();
    let scope = search::Scope { teams: catalog.teams.iter().map(|team| team.id).collect(), brands: Vec::new() };
    let (search, query) = (index(app)?, word.parse()?);
    let page = search::Page { offset: 0, limit: 10 };
    let begun = Instant::now();
    let found = tokio::task::spawn_blocking(move || search.find(&query, &scope, search::Order::Best, page)).await??;
    ensure!(found.total == 1, "{} mentions with {word}", found.total);
    Ok(begun.elapsed().as_secs_f64() * 1e3)
}

async fn start(args: &Args, dir: &Path) -> Result<App> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut config = Config::from_texts(&[("bench.toml".into(), CONFIG.into())], &args.set)?;
    config.server.listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    config.data.directory = dir.join("data");
    config.rules.directories = vec![root.join("rules")];
    config.connect.directory = root.join("connectors");
    // A file that nobody writes to.
    let posts = dir.join("none.jsonl");
    std::fs::write(&posts, "")?;
    let quiet =
        AccountConfig { path: Some(posts), interval: Duration::from_secs(3_600), ..AccountConfig::new("bench", "file") };
    config.brands.iter_mut().for_each(|brand| brand.accounts.push(quiet.clone()));
    let directories = config.rules.directories.clone();
    let app = App::start(config, Clock::System).await?;

    let catalog = app.store.catalog();
    let version = app.pipeline.judges().version;
    let known = Known { teams: vec!["cs".into()], brands: vec!["bench".into()], ..Known::default() };
    let dispatcher = Dispatcher::parse(&[("dispatch.toml".into(), DISPATCH.into())], &known)?;
    let classifier = match &args.patterns {
        Some(path) => {
            let text = std::fs::read_to_string(path).with_context(|| format!("failed to read {}", path.display()))?;
            Classifier::from_patterns(text.lines())?
        }
        None => rules::Files::load(&directories)?.check(version, &catalog)?.judges.classifier,
    };
    app.pipeline.set_judges(Judges { version, classifier, model: 0, choice: 0, shadow: None, dispatcher });
    Ok(app)
}

fn index(app: &App) -> Result<Arc<Search>> {
    app.search.clone().context("the app keeps no index")
}

fn entry(bytes: Vec<u8>) -> Entry {
    Entry { bytes, ..Entry::default() }
}

async fn end(app: &App) -> Result<i64> {
    Ok(app.bus.ends().await?.iter().map(|(_, end)| end.0).sum())
}

async fn position(app: &App) -> Result<i64> {
    Ok(app.store.read(|reader| reader.mark(pipeline::CONSUMER, 0)).await?.next)
}

/// How often log, store and index were committed, one fdatasync or more each.
fn commits(app: &App) -> Result<Value> {
    let text = metrics::scrape(&app.registry)?;
    let read = |name: &str| {
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok());
        value.with_context(|| format!("there is no metric {name}"))
    };
    Ok(json!({
        "bus": read("moksori_bus_commit_seconds_count")?,
        "store": read("moksori_queue_commit_seconds_count")?,
        "index": read("moksori_search_commits_total")?,
    }))
}

fn count_in_second_process(dir: &Path) -> Result<Value> {
    std::io::stdout().flush()?;
    let child = std::process::Command::new(std::env::current_exe()?).arg("--verify").arg(dir.join("data")).output()?;
    ensure!(child.status.success(), "the second process failed: {}", String::from_utf8_lossy(&child.stderr));
    Ok(serde_json::from_slice(&child.stdout)?)
}

fn percentile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let last = values.len().saturating_sub(1);
    values.get((last as f64 * share) as usize).copied().unwrap_or(f64::NAN)
}

fn rounded(value: f64) -> Value {
    json!((value * 100.0).round() / 100.0)
}
