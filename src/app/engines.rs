//! Opens what a desk stands on: the log, the store with the rules in force, the index.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result};
use prometheus::Registry;
use tokio::sync::watch;

use crate::{
    backup,
    bus::{self, Bus},
    clock::Clock,
    config::Config,
    desk::Desk,
    learn,
    pipeline::{self, Pipeline},
    queue::{self, Store, Urgency},
    rules::{self, RuleSet},
    search::{self, Search},
    sla::Policies,
};

/// How often a process looks for rules that another one published.
const LOOK_FOR_RULES: Duration = Duration::from_secs(2);

/// Opens the log.
///
/// # Errors
/// When it cannot be opened or reached.
pub fn open_bus(config: &Config, clock: &Clock, registry: &Registry) -> Result<Arc<Bus>> {
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
    if opened.rebuilt {
        tracing::warn!("the index was damaged or of another version: it is built again from the store");
    }
    Ok((Arc::new(search), opened))
}

/// Opens the store and the rules in force: those on disk if they are right, else the last published ones.
///
/// # Errors
/// When the store cannot be opened, or no rules were ever right.
pub async fn open_store(config: &Config, clock: &Clock, registry: &Registry) -> Result<(Arc<Store>, RuleSet)> {
    backup::unfinished(&config.data.directory)?;
    let store = Store::open(&config.data.directory, config.queue.clone(), clock.clone(), queue::Metrics::new(registry)?)
        .context("failed to open the store")?;
    backup::unfinished_import(&store).await?;
    store.set_catalog(config.catalog()).await?;
    learn::ship(&store).await?;
    let rules = match publish(&store, config).await {
        Ok(rules) => rules,
        Err(error) => {
            let Some(published) = store.read(|reader| reader.latest_rules()).await? else { return Err(error) };
            tracing::error!(
                error = format!("{error:#}"),
                version = published.version,
                "the rules on disk are wrong: the last published ones stay in force"
            );
            in_force(&store, &config.data.directory, rules::Files(published.files), published.version).await?
        }
    };
    Ok((store, rules))
}

/// Checks the rules on disk whole and publishes them.
pub(super) async fn publish(store: &Store, config: &Config) -> Result<RuleSet> {
    let files = rules::Files::load(&config.rules.directories)?;
    // Checked before it gets a number, so that a broken set never takes one.
    files.check(0, &store.catalog())?;
    let (digest, texts) = (files.digest(), files.0.clone());
    let version = store.write(Urgency::Person, move |tx| tx.publish_rules(&digest, &texts)).await?;
    in_force(store, &config.data.directory, files, version).await
}

/// A published set as this process uses it, with the models in use; older policies that open clocks follow are kept.
async fn in_force(store: &Store, data: &Path, files: rules::Files, version: u32) -> Result<RuleSet> {
    let mut rules = files.check(version, &store.catalog())?;
    let used = store.read(|reader| reader.models_in_use()).await?;
    rules.judges.choice = used.choice;
    if let Some(version) = used.judge {
        match learn::open(store, data, version).await {
            Ok(model) => {
                rules.judges.classifier = rules.judges.classifier.with_model(model);
                rules.judges.model = version;
            }
            // A model that is damaged, or of a newer program, must not keep the desk from starting.
            Err(error) => tracing::error!(
                error = format!("{error:#}"),
                version,
                "the model cannot be used: the one that came with the program judges"
            ),
        }
    }
    if let Some(version) = used.shadow {
        match learn::open(store, data, version).await {
            Ok(model) => rules.judges.shadow = Some((version, model)),
            Err(error) => tracing::error!(error = format!("{error:#}"), version, "the shadow model cannot be used"),
        }
    }
    for older in store.read(|reader| reader.rules_of_open_clocks()).await? {
        if older.version != version {
            let policies: Policies = rules::Files(older.files).policies(older.version)?;
            rules.policies.remember(policies);
        }
    }
    Ok(rules)
}

/// Puts in force what another process publishes or promotes, until `stop` turns true.
pub(super) async fn follow_rules(
    desk: Arc<Desk>,
    pipeline: Arc<Pipeline>,
    data: PathBuf,
    clock: Clock,
    mut stop: watch::Receiver<bool>,
) {
    let mut refused = None;
    loop {
        tokio::select! {
            () = clock.sleep(LOOK_FOR_RULES) => {}
            _ = stop.changed() => return,
        }
        let judges = pipeline.judges();
        let look = |reader: &queue::Reader<'_>| {
            Ok::<_, queue::Error>((reader.newest_ruleset_version()?, reader.models_in_use()?.choice))
        };
        let newest = match desk.store().read(look).await {
            Ok(newest) if newest != (judges.version, judges.choice) && Some(newest) != refused => newest,
            _ => continue,
        };
        match newest_rules(desk.store(), &data).await {
            Ok(rules) => {
                let (version, model) = (rules.judges.version, rules.judges.model);
                desk.set_policies(rules.policies);
                pipeline.set_judges(rules.judges);
                tracing::info!(version, model, "what another process published is in force");
            }
            Err(error) => {
                refused = Some(newest);
                tracing::error!(
                    error = format!("{error:#}"),
                    version = newest.0,
                    "rules that another process published do not pass here: the old ones stay in force"
                );
            }
        }
    }
}

/// The rules and the models in force, as the store has them.
pub(super) async fn newest_rules(store: &Store, data: &Path) -> Result<RuleSet> {
    let published = store.read(|reader| reader.latest_rules()).await?.context("no rules are published")?;
    in_force(store, data, rules::Files(published.files), published.version).await
}

/// Lets old days of the embedded log go.
pub(super) async fn keep_retention(log: bus::Embedded, store: Arc<Store>, clock: Clock, mut stop: watch::Receiver<bool>) {
    loop {
        match store.read(|reader| reader.mark(pipeline::CONSUMER, 0)).await {
            Ok(unread) => {
                if let Err(error) = log.retain(bus::Position(unread.next)).await {
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

/// A directory that only the owner may enter.
pub(super) fn create_private(path: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(path)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700))?;
    }
    Ok(())
}
