//! Builds every stage from the configuration, starts them, and stops them in the order of the flow.
//!
//! Stopping goes with the stream: connectors first, then the pipeline drains, the index is written, the
//! web answers its last requests, the store closes. One deadline for all of it; what is left is named.

use std::{
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use prometheus::Registry;
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

use crate::{
    bus::{self, Bus},
    clock::Clock,
    config::Config,
    connect::{self, Connect},
    control::{self, Answer, DirLock, Request},
    crash,
    desk::{self, Desk},
    index::{Follower, Reindex},
    pipeline::{self, Judges, Pipeline},
    queue::{self, Store, Urgency},
    rules::{self, RuleSet},
    search::{self, Search},
    sla::Policies,
    web,
};

/// All stages together stop within this time.
const STOP_WITHIN: Duration = Duration::from_secs(10);

struct Stage {
    name: &'static str,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

/// A running desk.
pub struct App {
    /// The durable log.
    pub bus: Arc<Bus>,
    /// The store.
    pub store: Arc<Store>,
    /// Commands on cases.
    pub desk: Arc<Desk>,
    /// From log to desk.
    pub pipeline: Arc<Pipeline>,
    /// The index.
    pub search: Arc<Search>,
    /// Where console and API listen.
    pub address: SocketAddr,
    /// All metrics.
    pub registry: Registry,
    stages: Vec<Stage>,
    _lock: DirLock,
}

impl App {
    /// Starts every stage; returns once the console listens.
    ///
    /// # Errors
    /// When a part cannot start: the data directory is in use, a port is taken, rules are wrong.
    pub async fn start(config: Config, clock: Clock) -> Result<App> {
        let data = config.data.directory.clone();
        create_private(&data).with_context(|| format!("failed to create the data directory {}", data.display()))?;
        let lock = control::lock(&data)?;
        // Bound first: a taken port must not cost a long start.
        let listener = TcpListener::bind(config.server.listen)
            .await
            .with_context(|| format!("failed to listen on {}", config.server.listen))?;
        let address = listener.local_addr()?;
        let registry = Registry::new();

        crash::point("startup");
        let bus = open_bus(&config, &clock, &registry)?;
        crash::point("startup");
        let (store, rules) = open_store(&config, &clock, &registry).await?;
        let RuleSet { judges, policies } = rules;
        let desk = Desk::new(Arc::clone(&store), policies, config.desk.clone(), clock.clone(), desk::Metrics::new(&registry)?);
        let pipeline = Pipeline::new(
            Arc::clone(&bus),
            Arc::clone(&desk),
            judges,
            config.pipeline.clone(),
            clock.clone(),
            pipeline::Metrics::new(&registry)?,
        );
        crash::point("startup");
        let (search, opened) = open_search(&config, &registry)?;
        if opened.rebuilt {
            tracing::warn!("the index was damaged or of another version: it is built again from the store");
        }
        let follower = Follower::new(Arc::clone(&store), Arc::clone(&search), clock.clone(), opened.seq).await?;
        let connectors = connect::load_files(&config.connect.directory).map_err(all_of)?;
        let connect = Connect::new(
            &connect::Config { directory: config.connect.directory.clone(), accounts: config.accounts() },
            &connectors,
            connect::Home::Live { bus: Arc::clone(&bus), desk: Arc::clone(&desk) },
            clock.clone(),
            connect::Metrics::new(&registry)?,
        )?;

        let mut app = App { bus, store, desk, pipeline, search, address, registry, stages: Vec::new(), _lock: lock };
        let replies = app.desk.replies_due();
        app.stage("connectors", |stop| connect.run(replies, stop));
        app.stage("pipeline", {
            let pipeline = Arc::clone(&app.pipeline);
            |stop| pipeline.run(stop)
        });
        app.stage("erasures", {
            let pipeline = Arc::clone(&app.pipeline);
            |stop| pipeline.run_erasures(stop)
        });
        app.stage("alarms", {
            let desk = Arc::clone(&app.desk);
            |stop| desk.run_alarms(stop)
        });
        app.stage("retention", {
            let (bus, store, clock) = (Arc::clone(&app.bus), Arc::clone(&app.store), clock.clone());
            |stop| keep_retention(bus, store, clock, stop)
        });
        let commands = Commands {
            desk: Arc::clone(&app.desk),
            pipeline: Arc::clone(&app.pipeline),
            search: Arc::clone(&app.search),
            config: config.clone(),
            base: format!("http://{address}"),
            reindex: follower.reindex(),
        };
        app.stage("index", |stop| follower.run(stop));
        app.stage("control", |stop| serve_control(data, Arc::new(commands), stop));
        let site = web::Site {
            desk: Arc::clone(&app.desk),
            search: Arc::clone(&app.search),
            registry: app.registry.clone(),
            config: web::Config {
                https: config.server.https,
                public_metrics: config.server.public_metrics,
                dispositions: config.dispositions.iter().map(|d| (d.key.clone(), d.ko.clone(), d.en.clone())).collect(),
            },
        };
        app.stage("web", |stop| web::serve(listener, site, stop));
        crash::point("startup");
        tracing::info!(address = %app.address, "started");
        Ok(app)
    }

    fn stage<F: Future<Output = ()> + Send + 'static>(
        &mut self,
        name: &'static str,
        body: impl FnOnce(watch::Receiver<bool>) -> F,
    ) {
        let (stop, stopped) = watch::channel(false);
        self.stages.push(Stage { name, stop, task: tokio::spawn(body(stopped)) });
    }

    /// Stops the stages in flow order within ten seconds; true when nothing was left undone.
    pub async fn stop(mut self) -> bool {
        let mut clean = true;
        let left = Mutex::new(Vec::new());
        let stages = std::mem::take(&mut self.stages);
        let in_order = async {
            for stage in stages {
                left.lock().unwrap_or_else(PoisonError::into_inner).push(stage.name);
                stage.stop.send_replace(true);
                if let Err(error) = stage.task.await {
                    tracing::error!(stage = stage.name, error = &error as &dyn std::error::Error, "a stage had crashed");
                }
                left.lock().unwrap_or_else(PoisonError::into_inner).pop();
            }
        };
        if tokio::time::timeout(STOP_WITHIN, in_order).await.is_err() {
            let stuck = left.lock().unwrap_or_else(PoisonError::into_inner).join(", ");
            tracing::error!(stages = stuck, "not everything stopped in time; what was open is done at the next start");
            clean = false;
        }
        self.bus.close().await;
        let store = Arc::clone(&self.store);
        if tokio::task::spawn_blocking(move || store.close()).await.is_err() {
            clean = false;
        }
        tracing::info!("stopped");
        clean
    }
}

fn open_bus(config: &Config, clock: &Clock, registry: &Registry) -> Result<Arc<Bus>> {
    let directory = config.data.directory.join("bus");
    create_private(&directory)?;
    let bus = Bus::open(&directory, config.bus.clone(), clock.clone(), bus::Metrics::new(registry)?);
    Ok(Arc::new(bus.context("failed to open the bus")?))
}

/// Opens the index of a data directory.
///
/// # Errors
/// When it cannot be opened or made.
pub fn open_search(config: &Config, registry: &Registry) -> Result<(Arc<Search>, search::Opened)> {
    let directory = config.data.directory.join("index");
    create_private(&directory)?;
    let (search, opened) =
        Search::open(&directory, config.search.clone(), search::Metrics::new(registry)?).context("failed to open the index")?;
    Ok((Arc::new(search), opened))
}

/// Opens the store and the rules in force: those on disk if they are right, else the last published ones.
///
/// # Errors
/// When the store cannot be opened, or no rules were ever right.
pub async fn open_store(config: &Config, clock: &Clock, registry: &Registry) -> Result<(Arc<Store>, RuleSet)> {
    let store = Store::open(&config.data.directory, config.queue.clone(), clock.clone(), queue::Metrics::new(registry)?)
        .context("failed to open the store")?;
    store.set_catalog(config.catalog()).await?;
    let rules = match publish(&store, config).await {
        Ok(rules) => rules,
        Err(error) => {
            let Some(published) = store.read(|reader| reader.latest_rules()).await? else { return Err(error) };
            tracing::error!(
                error = format!("{error:#}"),
                version = published.version,
                "the rules on disk are wrong: the last published ones stay in force"
            );
            rules::Files(published.files).check(published.version, &store.catalog())?
        }
    };
    Ok((store, rules))
}

/// Checks the rules on disk whole and publishes them; older policies that open clocks follow are kept.
async fn publish(store: &Store, config: &Config) -> Result<RuleSet> {
    let files = rules::Files::load(&config.rules.directories)?;
    // Checked before it gets a number, so that a broken set never takes one.
    files.check(0, &store.catalog())?;
    let (digest, texts) = (files.digest(), files.0.clone());
    let version = store.write(Urgency::Person, move |tx| tx.publish_rules(&digest, &texts)).await?;
    let mut rules = files.check(version, &store.catalog())?;
    for older in store.read(|reader| reader.rules_of_open_clocks()).await? {
        if older.version != version {
            let policies: Policies = rules::Files(older.files).policies(older.version)?;
            rules.policies.remember(policies);
        }
    }
    Ok(rules)
}

async fn keep_retention(bus: Arc<Bus>, store: Arc<Store>, clock: Clock, mut stop: watch::Receiver<bool>) {
    loop {
        match store.read(|reader| reader.mark(pipeline::CONSUMER, 0)).await {
            Ok(unread) => {
                if let Err(error) = bus.retain(bus::Position(unread.next)).await {
                    tracing::error!(error = &error as &dyn std::error::Error, "could not drop old files of the log");
                }
            }
            Err(error) => tracing::error!(error = &error as &dyn std::error::Error, "could not read the position"),
        }
        tokio::select! {
            () = clock.sleep(Duration::from_secs(3_600)) => {}
            _ = stop.changed() => return,
        }
    }
}

/// What the commands on a live desk need.
struct Commands {
    desk: Arc<Desk>,
    pipeline: Arc<Pipeline>,
    search: Arc<Search>,
    config: Config,
    /// What a sign-in link begins with.
    base: String,
    reindex: Reindex,
}

async fn serve_control(directory: std::path::PathBuf, commands: Arc<Commands>, mut stop: watch::Receiver<bool>) {
    let handler: control::Handler = Arc::new(move |request| {
        let commands = Arc::clone(&commands);
        Box::pin(async move {
            match commands.run(request).await {
                Ok(value) => Answer::Ok(value),
                Err(error) => Answer::Error(format!("{error:#}")),
            }
        })
    });
    let stopped = async move {
        // A dropped sender means the same as a signal.
        drop(stop.wait_for(|stop| *stop).await);
    };
    if let Err(error) = control::serve(&directory, handler, stopped).await {
        tracing::error!(error = &error as &dyn std::error::Error, "commands cannot reach this desk");
    }
}

impl Commands {
    async fn run(&self, request: Request) -> Result<serde_json::Value> {
        match request.command.as_str() {
            "search" => {
                let query = request.args["query"].as_str().unwrap_or_default().to_owned();
                let limit = request.args["limit"].as_u64().unwrap_or(20);
                crate::cli::search(self.desk.store(), &self.search, &query, usize::try_from(limit).unwrap_or(20)).await
            }
            "rules publish" => {
                let rules = publish(self.desk.store(), &self.config).await?;
                let version = rules.judges.version;
                self.desk.set_policies(rules.policies);
                self.pipeline.set_judges(Judges { version, ..rules.judges });
                tracing::info!(version, "rules published");
                Ok(serde_json::json!({ "version": version }))
            }
            "user add" => crate::cli::add_user(&self.desk, &request.args, &self.base).await,
            "reindex" => {
                let documents = self.reindex.run().await?;
                Ok(serde_json::json!({ "documents": documents }))
            }
            other => bail!("this desk has no command \"{other}\"; it may be older than your moksori program"),
        }
    }
}

/// A directory that only the owner may enter.
fn create_private(path: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(path)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700))?;
    }
    Ok(())
}

/// All errors of a list as one.
pub fn all_of<E: std::fmt::Display>(errors: Vec<E>) -> anyhow::Error {
    anyhow::anyhow!("{}", errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
}
