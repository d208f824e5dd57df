//! Where connections come from, and the few that read.

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
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
            Source::Postgres(settings) => settings.connect(Purpose::Read),
        }
    }

    /// A connection that writes. Blocks; never call it on an async thread.
    pub(super) fn writer(&self, urgency: Urgency) -> Result<Sql, Error> {
        match (self, urgency) {
            (Source::Sqlite { path, config }, _) => Ok(Sql::Sqlite(sqlite::connect(path, config, false)?)),
            (Source::Postgres(settings), Urgency::Person) => settings.connect(Purpose::Command),
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
        let sql = self.begun()?;
        self.metrics.connections.inc();
        let result = work(&sql);
        self.metrics.connections.dec();
        sql.roll_back();
        if sql.lost() {
            self.forget();
        } else {
            self.idle().push(sql);
        }
        result
    }

    /// A connection in a transaction: all statements see one moment, and SQLite locks its file once instead of
    /// for each. One that died while it was idle costs nobody an answer.
    fn begun(&self) -> Result<Sql, Error> {
        let idle = self.idle().pop();
        if let Some(sql) = idle {
            match sql.moment() {
                Ok(()) => return Ok(sql),
                Err(_) if sql.lost() => self.forget(),
                Err(error) => return Err(error),
            }
        }
        let sql = self.connect()?;
        sql.moment()?;
        Ok(sql)
    }

    /// A connection is lost: its siblings are most likely gone as well.
    fn forget(&self) {
        self.metrics.lost.inc();
        self.idle().clear();
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Sql>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
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
        self.idle().clear();
    }
}
