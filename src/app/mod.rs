//! Builds the stages that this process has from the configuration, starts them, and stops them in the order
//! of the flow.
//!
//! Stopping goes with the stream: connectors first, then the pipeline drains, the index is written, the
//! web answers its last requests, the store closes. One deadline for all of it; what is left is named.
//! Where several processes share a store, work for one node at a time runs under a lease.

mod commands;
mod engines;

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result};
use prometheus::Registry;
use tokio::{
    net::TcpListener,
    sync::watch,
    task::{JoinHandle, JoinSet},
};

pub use self::engines::{open_bus, open_search, open_store};
use self::{commands::Commands, engines::create_private};
use crate::{
    bus::Bus,
    clock::Clock,
    config::{Config, Role},
    connect::{self, Connect},
    control::{self, DirLock},
    crash,
    desk::{self, Desk},
    index::{Exporter, Follower, Watcher},
    lease::{self, Leases, Work},
    notify::{self, Relays},
    pipeline::{self, Pipeline},
    queue::Store,
    rules::RuleSet,
    search::Search,
    web,
};

/// All stages together stop within this time.
const STOP_WITHIN: Duration = Duration::from_secs(10);
/// Replies that another process queued are looked for at most this often.
const LOOK_FOR_REPLIES: Duration = Duration::from_millis(250);

/// No call to a platform lasts longer, so what a lost node left in doubt after that is settled.
const LONGEST_CALL: Duration = Duration::from_secs(60);

struct Stage {
    name: &'static str,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

/// A running desk, or a part of one.
pub struct App {
    /// The durable log.
    pub bus: Arc<Bus>,
    /// The store.
    pub store: Arc<Store>,
    /// Commands on cases.
    pub desk: Arc<Desk>,
    /// From log to desk.
    pub pipeline: Arc<Pipeline>,
    /// The index, where this process keeps one.
    pub search: Option<Arc<Search>>,
    /// Where console and API listen.
    pub address: SocketAddr,
    /// All metrics.
    pub registry: Registry,
    /// None where nobody shares the store.
    leases: Option<Arc<Leases>>,
    clock: Clock,
    stages: Vec<Stage>,
    _lock: DirLock,
}

impl App {
    /// Starts the stages of this process; returns once it listens.
    ///
    /// # Errors
    /// When a part cannot start: the data directory is in use, a port is taken, rules are wrong.
    pub async fn start(config: Config, clock: Clock) -> Result<App> {
        let data = config.data.directory.clone();
        create_private(&data).with_context(|| format!("failed to create data.directory, {}", data.display()))?;
        let lock = control::lock(&data)?;
        // Bound first: a taken port must not cost a long start.
        let listener = TcpListener::bind(config.server.listen).await.with_context(|| {
            format!("failed to listen on {}: choose another address with server.listen", config.server.listen)
        })?;
        let address = listener.local_addr()?;
        let registry = Registry::new();

        crash::point("startup");
        let bus = engines::open_bus(&config, &clock, &registry)?;
        crash::point("startup");
        let (store, RuleSet { judges, policies }) = open_store(&config, &clock, &registry).await?;
        let desk = Desk::new(Arc::clone(&store), policies, config.desk.clone(), clock.clone(), desk::Metrics::new(&registry)?);
        let metrics = pipeline::Metrics::new(&registry)?;
        let pipeline =
            Pipeline::new(Arc::clone(&bus), Arc::clone(&desk), judges, config.pipeline.clone(), clock.clone(), metrics);
        crash::point("startup");
        let leases = match config.shared() {
            true => Some(Leases::new(Arc::clone(&store), clock.clone(), lease::Metrics::new(&registry)?)),
            false => None,
        };
        let search = None;
        let mut app =
            App { bus, store, desk, pipeline, search, address, registry, leases, clock, stages: Vec::new(), _lock: lock };

        // What other systems send to us comes in beside the console.
        let beside = if config.does(Role::Connect) { app.connect(&config)? } else { axum::Router::new() };
        if config.does(Role::Triage) {
            app.triage();
        }
        if config.does(Role::Clock) {
            app.keep_time();
            if app.bus.relays() {
                app.relay()?;
            }
        }
        let reindex = match config.does(Role::Index) || config.does(Role::Web) {
            true => Some(app.index(&config).await?),
            false => None,
        };
        let commands = Commands {
            bus: Arc::clone(&app.bus),
            desk: Arc::clone(&app.desk),
            pipeline: Arc::clone(&app.pipeline),
            index: app.search.clone().zip(reindex),
            backup: Arc::default(),
            config: config.clone(),
            base: format!("http://{address}"),
        };
        app.stage("control", |stop| commands::serve(data, Arc::new(commands), stop));
        app.serve(&config, listener, beside);
        crash::point("startup");
        tracing::info!(address = %app.address, roles = ?config.server.roles, "started");
        Ok(app)
    }

    /// Pulls mentions in and delivers replies, account by account; returns the routes for what is sent to us.
    fn connect(&mut self, config: &Config) -> Result<axum::Router> {
        let files = connect::load_files(&config.connect.directory).map_err(all_of)?;
        let home = connect::Home::Live { bus: Arc::clone(&self.bus), desk: Arc::clone(&self.desk) };
        let connect =
            Connect::new(&config.connecting(), &files, home, self.clock.clone(), connect::Metrics::new(&self.registry)?)?;
        let sent_to = connect.hooks()?.routes();
        let connect = Arc::new(connect);
        let accounts: Vec<String> = connect.accounts().iter().map(|account| account.config.key.clone()).collect();
        let (replies, queued) = match self.leases {
            None => (None, self.desk.replies_due()),
            Some(_) => {
                let (sender, queued) = watch::channel(0);
                (Some(look_for_replies(Arc::clone(&self.desk), sender)), queued)
            }
        };
        let (leases, looking) = (self.leases.clone(), replies);
        let doubts_after = if leases.is_some() { LONGEST_CALL } else { Duration::ZERO };
        self.stage("connectors", move |stop| async move {
            connect.give_up_orphans().await;
            let mut tasks = JoinSet::new();
            {
                let (connect, stop) = (Arc::clone(&connect), stop.clone());
                tasks.spawn(async move { connect.follow_wishes(stop).await });
            }
            if let Some(looking) = looking {
                let mut stop = stop.clone();
                tasks.spawn(async move {
                    tokio::select! {
                        () = looking => {}
                        _ = stop.changed() => {}
                    }
                });
            }
            for account in accounts {
                let (connect, queued) = (Arc::clone(&connect), queued.clone());
                let name = format!("account:{account}");
                let work =
                    move |stop| Box::pin(Arc::clone(&connect).run(account.clone(), queued.clone(), doubts_after, stop)) as Work;
                tasks.spawn(alone(leases.clone(), name, stop.clone(), work));
            }
            tasks.join_all().await;
        });
        Ok(sent_to)
    }

    /// From the log to cases.
    fn triage(&mut self) {
        let pipeline = Arc::clone(&self.pipeline);
        self.stage("pipeline", |stop| pipeline.run(stop));
        let pipeline = Arc::clone(&self.pipeline);
        self.stage_alone("erasures", move |stop| Box::pin(Arc::clone(&pipeline).run_erasures(stop)));
    }

    /// The alarms of the clocks, and what goes by the calendar.
    fn keep_time(&mut self) {
        let desk = Arc::clone(&self.desk);
        self.stage_alone("alarms", move |stop| Box::pin(Arc::clone(&desk).run_alarms(stop)));
        // Kafka lets its old records go by itself.
        if let Some(log) = self.bus.embedded().cloned() {
            let (store, clock) = (Arc::clone(&self.store), self.clock.clone());
            self.stage("retention", |stop| engines::keep_retention(log, store, clock, stop));
        }
    }

    /// Other systems learn what happened, where they read it from Kafka.
    fn relay(&mut self) -> Result<()> {
        let relays = Arc::new(Relays {
            store: Arc::clone(&self.store),
            bus: Arc::clone(&self.bus),
            clock: self.clock.clone(),
            metrics: notify::Metrics::new(&self.registry)?,
        });
        self.stage_alone("relay", move |stop| Box::pin(Arc::clone(&relays).run(stop)));
        Ok(())
    }

    /// The index of this process.
    async fn index(&mut self, config: &Config) -> Result<crate::index::Reindex> {
        let (search, opened) = open_search(config, &self.registry)?;
        let follower = Follower::new(Arc::clone(&self.store), Arc::clone(&search), self.clock.clone(), opened.seq).await?;
        let reindex = follower.reindex();
        self.search = Some(Arc::clone(&search));
        self.stage("index", |stop| follower.run(stop));
        let exporter = Arc::new(Exporter {
            store: Arc::clone(&self.store),
            clock: self.clock.clone(),
            mask_abuse: config.desk.mask_abuse,
        });
        self.stage_alone("exports", move |stop| Box::pin(Arc::clone(&exporter).run(stop)));
        let watcher = Arc::new(Watcher { store: Arc::clone(&self.store), search, clock: self.clock.clone() });
        self.stage_alone("searches", move |stop| Box::pin(Arc::clone(&watcher).run(stop)));
        Ok(reindex)
    }

    /// Console and API, or the operators' pages alone.
    fn serve(&mut self, config: &Config, listener: TcpListener, beside: axum::Router) {
        if self.leases.is_some() {
            let (desk, pipeline, clock) = (Arc::clone(&self.desk), Arc::clone(&self.pipeline), self.clock.clone());
            let data = config.data.directory.clone();
            self.stage("rules", |stop| engines::follow_rules(desk, pipeline, data, clock, stop));
        }
        let health = self.health();
        let (desk, registry) = (Arc::clone(&self.desk), self.registry.clone());
        match self.search.clone().filter(|_| config.does(Role::Web)) {
            Some(search) => {
                let config = web::Config {
                    https: config.server.https,
                    public_metrics: config.server.public_metrics,
                    dispositions: config.dispositions.iter().map(|d| (d.key.clone(), d.ko.clone(), d.en.clone())).collect(),
                };
                let site = web::Site { desk, search, registry, health, config };
                self.stage("web", |stop| web::serve(listener, site, beside, stop));
            }
            None => {
                let (public_metrics, whole_desk) = (config.server.public_metrics, false);
                let operator = web::Operator { desk, registry, public_metrics, whole_desk, health };
                self.stage("web", |stop| web::serve_operator(listener, operator, beside, stop));
            }
        }
    }

    /// What is not well in this process, besides reading the store.
    fn health(&self) -> web::Health {
        let (bus, pipeline, desk) = (Arc::clone(&self.bus), Arc::clone(&self.pipeline), Arc::clone(&self.desk));
        Arc::new(move || {
            let parts = [("bus", bus.healthy()), ("pipeline", pipeline.healthy()), ("store", desk.healthy())];
            parts.into_iter().filter_map(|(part, health)| Some((part, health.err()?))).collect()
        })
    }

    fn stage<F: Future<Output = ()> + Send + 'static>(
        &mut self,
        name: &'static str,
        body: impl FnOnce(watch::Receiver<bool>) -> F,
    ) {
        let (stop, stopped) = watch::channel(false);
        self.stages.push(Stage { name, stop, task: tokio::spawn(body(stopped)) });
    }

    /// A stage that only one node has at a time, under a lease of its name.
    fn stage_alone(&mut self, name: &'static str, work: impl Fn(watch::Receiver<bool>) -> Work + Send + 'static) {
        let leases = self.leases.clone();
        self.stage(name, |stop| alone(leases, name.to_owned(), stop, work));
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

/// Does `work` here and now, or whenever this node holds the lease `name` where the store is shared.
async fn alone(
    leases: Option<Arc<Leases>>,
    name: String,
    stop: watch::Receiver<bool>,
    work: impl Fn(watch::Receiver<bool>) -> Work,
) {
    match leases {
        Some(leases) => leases.hold(name, stop, work).await,
        None => work(stop).await,
    }
}

/// Tells connectors of replies that other processes queue.
async fn look_for_replies(desk: Arc<Desk>, queued: watch::Sender<u64>) {
    let mut commits = desk.store().follow();
    loop {
        match desk.store().read(|reader| reader.next_reply_due()).await {
            Ok(Some(_)) => queued.send_modify(|changes| *changes += 1),
            Ok(None) => {}
            Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, "could not look for replies"),
        }
        desk.clock().sleep(LOOK_FOR_REPLIES).await;
        if commits.changed().await.is_err() {
            return;
        }
    }
}

/// All errors of a list as one.
pub fn all_of<E: std::fmt::Display>(errors: Vec<E>) -> anyhow::Error {
    anyhow::anyhow!("{}", errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
}
