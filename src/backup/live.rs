//! A backup that the running desk takes: begun by one request, asked about by the next ones, for it may take
//! longer than anybody should hold a connection.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use anyhow::{Result, bail};
use serde_json::{Value, json};

use super::{
    files::{self, Staged},
    take::{Order, size, take},
};
use crate::{bus::Bus, clock::Clock};

/// The one backup that a desk takes at a time.
#[derive(Default)]
pub struct Live(Mutex<Option<Job>>);

struct Job {
    to: PathBuf,
    partial: PathBuf,
    total: u64,
    done: Option<Result<Value, String>>,
}

impl Live {
    /// Begins a backup.
    ///
    /// # Errors
    /// When one is being taken already.
    pub fn begin(self: &Arc<Self>, order: Order, bus: Arc<Bus>, clock: Clock) -> Result<Value> {
        let mut job = self.held();
        if let Some(job) = job.as_ref().filter(|job| job.done.is_none()) {
            bail!("a backup to {} is being taken: wait until it is done", job.to.display());
        }
        let (to, partial, total) = (order.to.clone(), Staged::partial(&order.to), size(&order.data));
        *job = Some(Job { to, partial, total, done: None });
        drop(job);
        let live = Arc::clone(self);
        tokio::spawn(async move {
            let done = take(order, Some(&bus), &clock).await.map_err(|error| format!("{error:#}"));
            match &done {
                Ok(manifest) => tracing::info!(event = manifest.event, bytes = manifest.bytes(), "backup taken"),
                Err(error) => tracing::error!(error, "the backup failed"),
            }
            let done = done.and_then(|manifest| serde_json::to_value(manifest).map_err(|error| error.to_string()));
            if let Some(job) = live.held().as_mut() {
                job.done = Some(done);
            }
        });
        Ok(json!({ "copied": 0, "total": total }))
    }

    /// How far the backup to `to` has come, or its manifest under `done`.
    ///
    /// # Errors
    /// Why it failed, or that no such backup was begun.
    pub fn status(&self, to: &PathBuf) -> Result<Value> {
        let job = self.held();
        match job.as_ref().filter(|job| job.to == *to) {
            None => bail!("no backup to {} was begun", to.display()),
            Some(Job { done: Some(Ok(manifest)), .. }) => Ok(json!({ "done": manifest })),
            Some(Job { done: Some(Err(error)), .. }) => bail!("{error}"),
            Some(Job { partial, total, .. }) => Ok(json!({ "copied": files::size(partial), "total": total })),
        }
    }

    fn held(&self) -> MutexGuard<'_, Option<Job>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
