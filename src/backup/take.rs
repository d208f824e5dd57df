//! Taking a backup, of a desk that runs as well as of one that does not.
//!
//! The store comes first, the log after it: so the log's copy has everything that the store's position still
//! needs and every cursor names. What came into the log in between is read again from there, which is a no-op
//! for the store. Deleted texts are taken out of the log before or after, never between the two: a post that came
//! and went meanwhile would be missing from both copies.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;

use super::{
    files::{self, Staged},
    manifest::{Kept, MANIFEST, Manifest},
};
use crate::{
    bus::{self, Bus, Embedded},
    clock::Clock,
    config::Config,
    connect,
    control::{self, Answer, Request},
    pipeline::CONSUMER,
    progress::{Progress, Unit},
    queue,
};

/// How often a running desk is asked how far it has come.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// What is to be backed up, and where to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    /// The data directory.
    pub data: PathBuf,
    /// Where the backup goes: a folder that is not there, or is empty.
    pub to: PathBuf,
    /// Files whose digests it notes.
    pub beside: Vec<PathBuf>,
}

impl Order {
    /// A backup of the desk of this configuration, which was read from `file`.
    ///
    /// # Errors
    /// When there is no working directory to complete a path with.
    pub fn new(config: &Config, file: &Path, to: &Path) -> Result<Order> {
        let absolute = |path: &Path| std::path::absolute(path).with_context(|| format!("{} has no place", path.display()));
        let mut beside = vec![absolute(file)?];
        for path in connect::toml_files(&config.connect.directory).unwrap_or_default() {
            beside.push(absolute(&path)?);
        }
        Ok(Order { data: absolute(&config.data.directory)?, to: absolute(to)?, beside })
    }
}

/// Refuses a desk whose cases or mentions are not in its data directory, and says what to do instead.
///
/// # Errors
/// When the desk stands on PostgreSQL or Kafka.
pub fn embedded(config: &Config) -> Result<()> {
    if config.queue.engine == queue::Engine::Postgres {
        bail!(
            "this desk keeps its cases in PostgreSQL: back that up with pg_dump or its continuous archive; \
             docs/backup.md says how, and what of Kafka matters"
        );
    }
    if config.bus.engine == bus::Engine::Kafka {
        bail!("this desk keeps its mentions in Kafka; docs/backup.md says what of it to keep, and how");
    }
    Ok(())
}

/// Bytes that a backup of a data directory has at most.
pub fn size(data: &Path) -> u64 {
    let store = ["desk.db", "desk.db-wal"].map(|name| std::fs::metadata(data.join(name)).map_or(0, |facts| facts.len()));
    store.iter().sum::<u64>() + files::size(&data.join("bus"))
}

/// Takes a backup; `log` is that of the desk that runs in this process, if one does. Whatever fails, nothing
/// is left of it.
///
/// # Errors
/// When the place is taken, a file cannot be read or written, or the disk is full.
pub async fn take(order: Order, log: Option<&Bus>, clock: &Clock) -> Result<Manifest> {
    let to = order.to.clone();
    make(order, log, clock).await.map_err(|error| files::say_full(error, "the backup", &to))
}

async fn make(order: Order, log: Option<&Bus>, clock: &Clock) -> Result<Manifest> {
    if !order.data.join("desk.db").exists() {
        bail!("there is no desk in {}", order.data.display());
    }
    let staged = Staged::begin(&order.to)?;
    let (store, place) = (staged.path().join("desk.db"), staged.path().join("bus"));
    files::create_dir(&place)?;

    let taken_at = clock.now().to_string();
    let log = log.and_then(Bus::embedded);
    let oldest = log.map_or(0, |log| log.start().0);
    let data = order.data.clone();
    let whole = match log {
        Some(open) => Some((open, open.keep_whole().await)),
        None => None,
    };
    let copy = spawn_blocking(move || {
        drop(files::create(&store)?);
        queue::snapshot(&data, &store).context("failed to copy the store")
    })
    .await??;
    let names = match &whole {
        Some((open, whole)) => open.snapshot(&place, whole).await,
        None => {
            let from = order.data.join("bus");
            spawn_blocking(move || if from.exists() { Embedded::copy_closed(&from, &place) } else { Ok(Vec::new()) }).await?
        }
    };
    let names = names.context("failed to copy the log")?;
    drop(whole);
    let unread = copy.marks.iter().find(|(consumer, ..)| consumer == CONSUMER).map_or(0, |(.., mark)| mark.next);
    if log.map_or(0, |log| log.start().0) > unread.max(oldest) {
        bail!("the log let records go that the copy of the store had not read: take the backup again");
    }

    let mut manifest = Manifest::new(taken_at, copy);
    spawn_blocking(move || {
        let names = names.into_iter().map(|name| format!("bus/{name}"));
        for name in std::iter::once("desk.db".to_owned()).chain(names) {
            let path = staged.path().join(&name);
            files::sync(&path)?;
            manifest.files.push(Kept::of(name, &path)?);
        }
        for path in order.beside.iter().filter(|path| path.exists()) {
            manifest.beside.push(Kept::of(path.display().to_string(), path)?);
        }
        files::write(&staged.path().join(MANIFEST), &serde_json::to_vec_pretty(&manifest)?)?;
        files::sync(&staged.path().join("bus"))?;
        staged.finish()?;
        Ok(manifest)
    })
    .await?
}

/// `moksori backup`: has the running desk take a backup and tells how far it has come, or takes it ourselves under
/// the desk's lock when none runs.
///
/// # Errors
/// Those of [`take`], and when the running desk ends before it is done.
pub async fn ask(config: &Config, order: Order, clock: &Clock) -> Result<Manifest> {
    embedded(config)?;
    let mut progress = Progress::new("backup", Unit::Bytes, size(&order.data), clock.clone());
    let mut request = Request { command: "backup".to_owned(), args: serde_json::to_value(&order)? };
    let mut begun = false;
    loop {
        let answer = match control::ask(&config.data.directory, &request).await? {
            Some(Answer::Ok(answer)) => answer,
            Some(Answer::Error(reason)) => bail!("{reason}"),
            None if begun => bail!("the desk ended before the backup was whole: nothing of it was kept"),
            None => break,
        };
        if let Some(manifest) = answer.get("done") {
            return Ok(serde_json::from_value(manifest.clone())?);
        }
        (begun, request.command) = (true, "backup status".to_owned());
        progress.at(answer["copied"].as_u64().unwrap_or(0));
        clock.sleep(LOOK_EVERY).await;
    }
    if !config.data.directory.exists() {
        bail!("there is no desk in {}", config.data.directory.display());
    }
    let _lock = control::lock(&config.data.directory)?;
    let partial = Staged::partial(&order.to);
    let taking = take(order, None, clock);
    tokio::pin!(taking);
    loop {
        tokio::select! {
            taken = &mut taking => return taken,
            () = clock.sleep(LOOK_EVERY) => progress.at(files::size(&partial)),
        }
    }
}
