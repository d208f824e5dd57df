//! A desk made of a backup, elsewhere or after a loss. Its outbox is held back, and everybody signs in again.

use std::path::Path;

use anyhow::{Context, Result, bail};
use prometheus::Registry;
use tokio::task::spawn_blocking;

use super::{files, manifest::Manifest};
use crate::{
    case::CaseId,
    clock::Clock,
    config::Config,
    control,
    progress::{Progress, Unit},
    queue::{self, Store, Urgency},
};

/// Where a desk is restored, within its data directory, until it is whole; no desk starts beside it.
const RESTORING: &str = "restoring";

/// What was restored.
#[derive(Clone, Debug)]
pub struct Restored {
    /// What the backup says of itself.
    pub manifest: Manifest,
    /// Cases with a reply that was held back, once for each reply.
    pub parked: Vec<CaseId>,
}

/// Refuses a data directory in which a restore was not finished.
///
/// # Errors
/// When there is one, with the remedy.
pub fn unfinished(data: &Path) -> Result<()> {
    if data.join(RESTORING).exists() {
        bail!("a restore into {} was not finished: empty it and restore again", data.display());
    }
    Ok(())
}

/// Checks a backup whole, then makes a desk of it in `data`, which must be absent or empty. Whatever fails,
/// `data` is left as it was.
///
/// # Errors
/// When the backup is not whole, `data` is not empty, or the disk is full.
pub async fn restore(from: &Path, data: &Path, clock: &Clock) -> Result<Restored> {
    let (from, data) = (std::path::absolute(from)?, std::path::absolute(data)?);
    let checked = from.clone();
    let ticking = clock.clone();
    let manifest = spawn_blocking(move || {
        let (mut progress, mut bytes) = (Progress::new("checking", Unit::Bytes, 0, ticking), 0);
        Manifest::check(&checked, &mut |more| {
            bytes += more;
            progress.at(bytes);
        })
    })
    .await??;
    files::must_be_empty(&data)?;
    let made = !data.exists();
    files::create_dir(&data)?;
    let restored = fill(&from, &data, manifest, clock).await;
    if restored.is_err() {
        for name in [RESTORING, "bus", "desk.db", "lock"] {
            files::remove_all(&data.join(name));
        }
        if made {
            files::remove_all(&data);
        }
    }
    restored.map_err(|error| files::say_full(error, "the desk in", &data))
}

async fn fill(from: &Path, data: &Path, manifest: Manifest, clock: &Clock) -> Result<Restored> {
    let _lock = control::lock(data)?;
    let restoring = data.join(RESTORING);
    files::create_dir(&restoring.join("bus"))?;
    let (from, into, ticking, copied) = (from.to_owned(), restoring.clone(), clock.clone(), manifest.clone());
    spawn_blocking(move || {
        let mut progress = Progress::new("restore", Unit::Bytes, copied.bytes(), ticking);
        let mut bytes = 0;
        for file in &copied.files {
            files::copy(&from.join(&file.name), &into.join(&file.name), &mut |more| {
                bytes += more;
                progress.at(bytes);
            })?;
        }
        anyhow::Ok(())
    })
    .await??;
    let parked = hold_back(&restoring, queue::Config::sqlite(1, 2_048), clock).await?;
    // The store last: where it is, all is.
    for name in ["bus", "desk.db"] {
        std::fs::rename(restoring.join(name), data.join(name)).with_context(|| format!("failed to put {name} in place"))?;
    }
    std::fs::remove_dir(&restoring).context("the restored store was not closed")?;
    files::sync(&data.join("bus"))?;
    files::sync(data)?;
    Ok(Restored { manifest, parked })
}

/// Brings a copied store up to date, holds its outbox back and signs everybody out.
async fn hold_back(dir: &Path, settings: queue::Config, clock: &Clock) -> Result<Vec<CaseId>> {
    let metrics = queue::Metrics::new(&Registry::new())?;
    let store = Store::open(dir, settings, clock.clone(), metrics)?;
    let parked = store
        .write(Urgency::Batch, |tx| {
            tx.end_all_sessions()?;
            tx.park_outbox()
        })
        .await;
    spawn_blocking(move || store.close()).await?;
    Ok(parked?)
}

/// `moksori park`: does to a database that was restored by its own means what [`restore`] does, and says what was
/// held back. No process of the desk may run.
///
/// # Errors
/// When a desk runs in this data directory, or the store fails.
pub async fn park(config: &Config, clock: &Clock) -> Result<String> {
    let data = &config.data.directory;
    files::create_dir(data)?;
    let _lock = control::lock(data).context("stop every process of the desk first")?;
    Ok(told(&hold_back(data, config.queue.clone(), clock).await?))
}

impl std::fmt::Display for Restored {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Manifest { taken_at, event, .. } = &self.manifest;
        write!(f, "restored: the desk as it was at {taken_at}, after event {event}\n{}", told(&self.parked))
    }
}

/// What was held back, and where to decide on it.
pub(super) fn told(parked: &[CaseId]) -> String {
    if parked.is_empty() {
        return "no reply was on its way".to_owned();
    }
    let mut cases: Vec<String> = parked.iter().map(|case| format!("#{}", case.0)).collect();
    cases.dedup();
    format!("{} replies were on their way and are held back; decide on them in these cases: {}", parked.len(), cases.join(", "))
}
