//! The same mentions through the embedded engines, through Kafka and PostgreSQL in one process, and through two
//! triage workers beside each other: how many a second until each is stored, and what that costs in processor time.
//!
//! The bench starts a broker and a server of its own (`scripts/`). One line of JSON comes out a run, after another,
//! in one go; the machine's noise is in all of them alike.

mod input;
mod machine;

use std::{
    io::{BufRead, BufReader},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use moksori::{
    app,
    bus::{Bus, Entry},
    clock::Clock,
    config::Config,
    mention::Envelope,
    pipeline,
    queue::{self, Store},
    telemetry,
};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

/// Mentions in one append.
const PAGE: usize = 200;
/// Records that may wait between log and store.
const BACKLOG: i64 = 10_000;
const PARTITIONS: i64 = 4;

/// What one may ask of the bench.
#[derive(Debug, Parser)]
#[command(about = "Embedded engines beside Kafka and PostgreSQL; benches/README.md says how and what.")]
struct Args {
    /// Mentions as JSON lines {id, source, author, created_at, url, text}; without it the bench writes its own.
    #[arg(long)]
    mentions: Option<PathBuf>,
    /// How many mentions each run takes.
    #[arg(long, default_value_t = 40_000)]
    count: usize,
    /// Where data directories and servers are: on the disk that is to be measured.
    #[arg(long, default_value = env!("CARGO_TARGET_TMPDIR"))]
    dir: PathBuf,
    /// What `cargo bench` adds.
    #[arg(long, hide = true)]
    bench: bool,
}

/// A server that ends with us.
struct Server {
    child: Child,
    dir: PathBuf,
}

impl Server {
    fn start(script: &str, dir: &Path, port: u16) -> Result<Server> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts").join(script);
        let child = Command::new(&script)
            .args(["run", "--with-parent", "--port", &port.to_string(), "--dir"])
            .arg(dir)
            // Throughput is measured, not how soon it answers.
            .env("KAFKA_OPTS", "-XX:TieredStopAtLevel=4")
            .stdin(Stdio::piped())
            .spawn()
            .with_context(|| format!("failed to start {}", script.display()))?;
        Ok(Server { child, dir: dir.to_owned() })
    }

    /// Processor time of the server and its children so far.
    fn cpu_seconds(&self) -> f64 {
        let pid = std::fs::read_to_string(self.dir.join("pid")).unwrap_or_default();
        cpu_seconds_of_family(pid.trim())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        if self.child.wait().is_err() {
            eprintln!("a server may still run, with its files in {}", self.dir.display());
        }
    }
}

/// Processor time of another process and of its children so far; 0 when it is gone.
fn cpu_seconds_of_family(pid: &str) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let own = stat.rsplit_once(')').map_or(0.0, |(_, fields)| {
        fields.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
    });
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    own + children.split_whitespace().map(cpu_seconds_of_family).sum::<f64>()
}

fn main() -> Result<()> {
    let args = Args::parse();
    telemetry::init(Some("warn"), false)?;
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(measure(&args))
}

async fn measure(args: &Args) -> Result<()> {
    let dir = tempfile::Builder::new().prefix("engines").tempdir_in(&args.dir).context("failed to make a directory")?;
    let kafka_port = free_ports(5)?;
    let postgres_port = kafka_port + 4;
    let servers = [
        Server::start("kafka.sh", &dir.path().join("kafka"), kafka_port)?,
        Server::start("postgres.sh", &dir.path().join("postgres"), postgres_port)?,
    ];
    let file = input::prepare(args.mentions.as_deref(), args.count, None, dir.path())?;
    answer(kafka_port).await?;
    answer(postgres_port).await?;
    for (name, workers) in [("embedded", None), ("outgrown", Some(0)), ("outgrown, two triage workers", Some(2))] {
        let here = dir.path().join(name.replace([',', ' '], "-"));
        let extra = match workers {
            None => String::new(),
            Some(workers) => {
                let database = format!("bench_{workers}");
                create(&database, postgres_port)?;
                outgrown(kafka_port, postgres_port, &database)
            }
        };
        let servers = if workers.is_some() { &servers[..] } else { &[] };
        let mut report = run(&file, &here, &extra, workers.unwrap_or(0), servers).await?;
        report["engines"] = name.into();
        report["load"] = json!(machine::load()?);
        report["rss_mb"] = json!(machine::peak_megabytes()?.round());
        let mut syncs = machine::sync_times(dir.path())?;
        syncs.sort_by(f64::total_cmp);
        report["fdatasync_p50_ms"] = json!(syncs.get(syncs.len() / 2));
        println!("{report}");
    }
    Ok(())
}

/// A port with `count - 1` more above it that nobody uses now.
fn free_ports(count: u16) -> Result<u16> {
    (20_000..30_000)
        .step_by(17)
        .find(|port| (*port..port + count).all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok()))
        .context("no port is free")
}

async fn answer(port: u16) -> Result<()> {
    for _ in 0..600 {
        if tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
            return Ok(());
        }
        sleep(Duration::from_millis(100)).await;
    }
    anyhow::bail!("no server answers on port {port}: see scripts/setup.sh test")
}

fn create(database: &str, port: u16) -> Result<()> {
    for _ in 0..100 {
        let made = Command::new("createdb")
            .args(["-h", "127.0.0.1", "-p", &port.to_string(), "-U", "moksori", "-E", "UTF8", database])
            .stderr(Stdio::null())
            .status()?;
        if made.success() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    anyhow::bail!("the database {database} could not be made")
}

/// Brand and team of the bench, and a place for everything.
fn config_text(dir: &Path, extra: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    format!(
        "server.listen = \"127.0.0.1:0\"\ndata.directory = {:?}\nrules.directories = [{:?}]\nconnect.directory = {:?}\n{extra}\n\
         [[brand]]\nkey = \"bench\"\nko = \"벤치\"\nen = \"Bench\"\n[[brand.account]]\nkey = \"bench\"\nconnector = \"file\"\n\
         path = {:?}\ninterval = \"1h\"\n[[team]]\nkey = \"cs\"\nbrand = \"bench\"\nko = \"상담\"\nen = \"Customer care\"\n",
        dir.join("data"),
        root.join("rules"),
        root.join("connectors"),
        dir.join("none.jsonl"),
    )
}

fn outgrown(kafka_port: u16, postgres_port: u16, database: &str) -> String {
    let topic = |key: &str, partitions: i64| {
        format!("[bus.topics.{key}]\nname = \"{database}-{key}\"\npartitions = {partitions}\nreplication = 1\n")
    };
    format!(
        "[bus]\nengine = \"kafka\"\n[[bus.cluster]]\nname = \"main\"\nbrokers = \"127.0.0.1:{kafka_port}\"\n[bus.kafka]\ngroup = \"{database}\"\n{}{}{}\
         [queue]\nengine = \"postgres\"\n[queue.postgres]\nurl = \"postgres://moksori@127.0.0.1:{postgres_port}/{database}\"\n",
        topic("mentions", PARTITIONS),
        topic("dead", 1),
        topic("case_events", 1),
    )
}

/// One run: everything in this process, or the pipeline in so many processes of its own.
async fn run(file: &input::Input, dir: &Path, extra: &str, workers: usize, servers: &[Server]) -> Result<Value> {
    std::fs::create_dir_all(dir)?;
    // A file that nobody writes to.
    std::fs::write(dir.join("none.jsonl"), "")?;
    let text = config_text(dir, extra);
    let path = dir.join("moksori.toml");
    std::fs::write(&path, &text)?;
    let mut config = Config::load(Some(&path), &[])?;
    std::fs::create_dir_all(&config.data.directory)?;
    Store::migrate(&config.data.directory, &config.queue)?;
    if workers > 0 {
        config = Config::load(Some(&path), &[("server.roles".into(), "clock".into())])?;
    }
    let app = app::App::start(config, Clock::System).await?;
    let triage = (0..workers)
        .map(|number| {
            Command::new(env!("CARGO_BIN_EXE_moksori"))
                .args(["run", "--roles", "triage", "--config"])
                .arg(&path)
                .env("MOKSORI__DATA__DIRECTORY", dir.join(format!("triage-{number}")))
                .env("MOKSORI_LOG", "warn")
                .spawn()
        })
        .collect::<std::io::Result<Vec<Child>>>()?;
    let family = || {
        let of = |child: &Child| cpu_seconds_of_family(&child.id().to_string());
        triage.iter().map(of).sum::<f64>() + servers.iter().map(Server::cpu_seconds).sum::<f64>()
    };
    let (own, theirs, begun) = (machine::cpu_seconds()?, family(), Instant::now());
    let mut lines = BufReader::new(std::fs::File::open(&file.path)?).split(b'\n');
    let mut appended = 0;
    loop {
        let page = lines.by_ref().take(PAGE).collect::<std::io::Result<Vec<_>>>()?;
        if page.is_empty() {
            break;
        }
        appended += i64::try_from(page.len())?;
        let entries =
            page.iter().map(|line| Ok(Entry::of(&serde_json::from_slice::<Envelope>(line)?)?)).collect::<Result<Vec<_>>>()?;
        app.bus.append(entries).await?;
        while appended - stored(&app.store).await? > BACKLOG {
            sleep(Duration::from_millis(10)).await;
        }
    }
    while stored(&app.store).await? < ends(&app.bus).await? {
        ensure!(begun.elapsed() < Duration::from_secs(600), "the pipeline stands still");
        sleep(Duration::from_millis(10)).await;
    }
    let wall = begun.elapsed().as_secs_f64();
    let (own, theirs) = (machine::cpu_seconds()? - own, family() - theirs);
    let mentions = app.store.read(|reader| Ok::<_, queue::Error>(reader.totals()?.mentions)).await?;
    ensure!(usize::try_from(mentions)? == file.unique, "{} mentions expected, {mentions} are stored", file.unique);
    for mut worker in triage {
        worker.kill()?;
        worker.wait()?;
    }
    ensure!(app.stop().await, "the app did not stop cleanly");
    let per = |seconds: f64| (file.lines as f64 / seconds).round();
    let round = |value: f64| (value * 100.0).round() / 100.0;
    Ok(json!({
        "mentions": file.lines,
        "mentions_per_second": per(wall),
        "mentions_per_cpu_second": per(own + theirs),
        "cpu_seconds_own": round(own),
        "cpu_seconds_of_others": round(theirs),
    }))
}

/// Records that the store has, over all partitions.
async fn stored(store: &Arc<Store>) -> Result<i64> {
    let marks = store.read(|reader| {
        (0..PARTITIONS).map(|part| Ok(reader.mark(pipeline::CONSUMER, part)?.next)).sum::<Result<i64, queue::Error>>()
    });
    Ok(marks.await?)
}

async fn ends(bus: &Bus) -> Result<i64> {
    Ok(bus.ends().await?.iter().map(|(_, end)| end.0).sum())
}
