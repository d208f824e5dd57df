//! Where connections come from, and the few that read.

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use super::{
    Config, Error, Metrics, Urgency,
    sql::{
        Sql,
        connect::{Purpose, Settings, back_off},
        sqlite,
    },
};

/// Where connections come from.
#[derive(Clone)]
pub(super) enum Source {
    Sqlite { path: PathBuf, config: Config },
    Postgres(Settings),
}

impl Source {
    /// A connection that reads. Blocks; never call it on an async thread.
    pub(super) fn reader(&self) -> Result<Sql, Error> {
        match self {
            Source::Sqlite { path, config } => Ok(Sql::Sqlite(sqlite::connect(path, config, true)?)),
            Source::Postgres(settings) => settings.connect(Purpose::Person),
        }
    }

    /// A connection that writes. Blocks; never call it on an async thread.
    pub(super) fn writer(&self, urgency: Urgency) -> Result<Sql, Error> {
        match (self, urgency) {
            (Source::Sqlite { path, config }, _) => Ok(Sql::Sqlite(sqlite::connect(path, config, false)?)),
            (Source::Postgres(settings), Urgency::Person) => settings.connect(Purpose::Person),
            (Source::Postgres(settings), Urgency::Batch) => settings.connect(Purpose::Batch),
        }
    }

    /// How long somebody may wait for an answer; none where nothing but the disk can be slow.
    pub(super) fn wait(&self) -> Option<Duration> {
        match self {
            Source::Sqlite { .. } => None,
            Source::Postgres(settings) => Some(settings.wait),
        }
    }
}

/// The connections that read.
pub(super) struct Pool {
    source: Source,
    idle: Mutex<Vec<Sql>>,
    pub(super) permits: Arc<tokio::sync::Semaphore>,
    failures: AtomicU32,
    metrics: Metrics,
}

impl Pool {
    pub(super) fn new(source: Source, size: usize, metrics: Metrics) -> Pool {
        Pool {
            source,
            idle: Mutex::new(Vec::new()),
            permits: Arc::new(tokio::sync::Semaphore::new(size.max(1))),
            failures: AtomicU32::new(0),
            metrics,
        }
    }

    /// Runs `work` with a connection of the pool. Blocks; never call it on an async thread.
    pub(super) fn with<T, E: From<Error>>(&self, work: impl FnOnce(&Sql) -> Result<T, E>) -> Result<T, E> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let sql = match idle.filter(|sql| !sql.lost()) {
            Some(sql) => sql,
            None => self.connect()?,
        };
        self.metrics.connections.inc();
        // One transaction: all statements see one moment, and SQLite locks its file once instead of for each.
        let result = sql.moment().map_err(E::from).and_then(|()| work(&sql));
        sql.roll_back();
        self.metrics.connections.dec();
        if sql.lost() {
            self.metrics.lost.inc();
            // Its siblings are most likely gone as well.
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
        } else {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(sql);
        }
        result
    }

    fn connect(&self) -> Result<Sql, Error> {
        let failures = self.failures.load(Ordering::Relaxed);
        if failures > 0 {
            std::thread::sleep(back_off(failures, Duration::from_secs(1)));
        }
        let connected = self.source.reader();
        match &connected {
            Ok(_) => self.failures.store(0, Ordering::Relaxed),
            Err(_) => self.failures.store(failures.saturating_add(1), Ordering::Relaxed),
        }
        connected
    }

    /// Lets go of the connections that nobody uses.
    pub(super) fn close(&self) {
        self.permits.close();
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}
