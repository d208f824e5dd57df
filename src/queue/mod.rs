//! The store: team queues, cases until they are closed, and all that is known of them. The only SQL.
//!
//! One writer thread owns the writing connection and runs one transaction after another, interactive
//! commands before batches; readers have connections of their own. Whoever writes passes a closure
//! over [`Tx`]; its events get their numbers as the transaction's last statements, so that followers
//! ([`Store::follow`]) never see a gap.

mod cases;
mod dead;
mod drafts;
mod exports;
mod feed;
mod feedback;
mod follow;
mod history;
mod intake;
mod leases;
mod listening;
mod models;
mod outbox;
mod pages;
mod people;
mod pool;
mod prefetch;
mod protection;
mod rulesets;
mod saved;
mod snapshot;
mod sources;
mod sql;
mod store;
mod transfer;
mod tx;
mod types;

use std::{path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

pub use cases::NewCase;
pub use dead::DeadLetter;
pub use exports::*;
pub use feed::*;
pub use feedback::*;
pub use history::*;
pub use intake::*;
pub use listening::*;
pub use models::*;
pub use outbox::*;
pub use pages::*;
pub use people::*;
pub use rulesets::*;
pub use saved::*;
pub use snapshot::*;
pub use store::*;
pub use transfer::*;
pub use tx::{NewEvent, Reader, Tx};
pub use types::*;

/// Settings of the store.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// What holds the desk.
    pub engine: Engine,
    /// Connections that may read at the same time; SQLite only.
    pub readers: usize,
    /// Memory for SQLite's page cache of each connection, in KiB.
    pub cache_kib: u32,
    /// Where PostgreSQL is; asked for only when it is the engine.
    pub postgres: Option<Postgres>,
}

/// What holds the desk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    /// A file in the data directory.
    #[default]
    Sqlite,
    /// A server, which several processes share.
    Postgres,
}

/// Where PostgreSQL is, and how to be let in.
#[derive(Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Postgres {
    /// `postgres://user@host:5432/database?sslmode=require`; with several hosts the one that takes writes.
    #[serde(serialize_with = "hidden")]
    pub url: String,
    /// Name of the environment variable that holds the password.
    #[serde(default)]
    pub password_env: Option<String>,
    /// File that holds the password.
    #[serde(default)]
    pub password_file: Option<PathBuf>,
    /// Connections of this process, at least 4: two write, one follows the events, the rest read.
    pub connections: usize,
    /// How long somebody waits for a connection and its answer ("5s").
    #[serde(with = "crate::clock::span")]
    pub wait: Duration,
}

impl Config {
    /// SQLite, with so many readers and so much memory for each.
    pub fn sqlite(readers: usize, cache_kib: u32) -> Config {
        Config { engine: Engine::Sqlite, readers, cache_kib, postgres: None }
    }

    /// PostgreSQL at this address, with so many connections and this long a wait.
    pub fn at(url: &str, connections: usize, wait: Duration) -> Config {
        let postgres = Postgres { url: url.to_owned(), password_env: None, password_file: None, connections, wait };
        Config { engine: Engine::Postgres, readers: connections, cache_kib: 0, postgres: Some(postgres) }
    }

    fn postgres(&self) -> Result<&Postgres, Error> {
        let wrong = |what: &str| Error::Settings { what: what.to_owned() };
        let postgres =
            self.postgres.as_ref().ok_or_else(|| wrong("queue.engine is postgres, but [queue.postgres] is missing"))?;
        if postgres.connections < 4 {
            return Err(wrong("queue.postgres.connections is less than 4: two write, one follows the events, the rest read"));
        }
        Ok(postgres)
    }
}

impl std::fmt::Debug for Postgres {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Postgres")
            .field("url", &redacted(&self.url))
            .field("password_env", &self.password_env)
            .field("password_file", &self.password_file)
            .field("connections", &self.connections)
            .field("wait", &self.wait)
            .finish()
    }
}

fn hidden<S: serde::Serializer>(url: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&redacted(url))
}

/// The address without its password.
fn redacted(url: &str) -> String {
    if url.contains("password") {
        return "[redacted]".to_owned();
    }
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    match rest.rsplit_once('@') {
        Some((user, host)) => match user.split_once(':') {
            Some((user, _)) => format!("{scheme}://{user}:[redacted]@{host}"),
            None => url.to_owned(),
        },
        None => url.to_owned(),
    }
}

/// What can go wrong in the store.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// SQLite refused; full disk and locked file among the causes.
    #[error("the store failed")]
    Sqlite(#[from] rusqlite::Error),
    /// PostgreSQL refused, or is out of reach.
    #[error("the store failed")]
    Postgres(#[from] ::postgres::Error),
    /// PostgreSQL let nobody in: it is out of reach, or refused the user or the database.
    #[error("no session with PostgreSQL at {server}: look at queue.postgres.url, the password and whether the server is up")]
    Unreached {
        /// Host and port, or the socket's directory.
        server: String,
        /// What the client says.
        source: ::postgres::Error,
    },
    /// No connection came free in time, or no answer.
    #[error("the store did not answer within {limit:?}: the database may be down or overloaded")]
    Slow {
        /// How long somebody waited.
        limit: Duration,
    },
    /// The settings are wrong.
    #[error("{what}")]
    Settings {
        /// What is wrong, and where.
        what: String,
    },
    /// The server is older than this program supports.
    #[error("the server is PostgreSQL {found}, this program needs 15 or later")]
    OldServer {
        /// What the server calls itself.
        found: String,
    },
    /// The schema is older than this program needs, and other processes may still use it.
    #[error("the store has schema {found}, this program needs {known}: run moksori migrate")]
    Older {
        /// Schema of the database.
        found: usize,
        /// The schema that this program needs.
        known: usize,
    },
    /// The store was written by a newer program.
    #[error("the store has schema {found}, this program knows {known}: run a newer moksori")]
    Newer {
        /// Schema of the file.
        found: usize,
        /// Newest schema that this program knows.
        known: usize,
    },
    /// The writer thread has stopped.
    #[error("the store is closed")]
    Closed,
    /// Another process deleted a post at the very moment at which this one stored it, or the other way round.
    #[error("another process was first with one of these posts")]
    Taken,
    /// A statement had failed, and whoever ran it went on.
    #[error("a statement of the transaction had failed")]
    Aborted,
    /// A row that must be there is not.
    #[error("the store lacks a row that must be there")]
    NoRow,
    /// A column is of another type than this program writes.
    #[error("column {index} of a row is not what this program writes")]
    Column {
        /// Which, counted from 0.
        index: usize,
    },
    /// A row holds what no version of this program writes.
    #[error("the store holds an unknown {what}")]
    Unknown {
        /// Which column.
        what: &'static str,
    },
    /// A file operation beside SQLite failed.
    #[error("could not prepare {path}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl Error {
    /// Worth trying again later: the disk may have space, the lock may be free, the server may be back.
    pub fn is_retryable(&self) -> bool {
        use rusqlite::ErrorCode::{DatabaseBusy, DatabaseLocked, DiskFull, SystemIoFailure};
        match self {
            Error::Sqlite(rusqlite::Error::SqliteFailure(error, _)) => {
                matches!(error.code, DiskFull | DatabaseBusy | DatabaseLocked | SystemIoFailure)
            }
            Error::Postgres(error) | Error::Unreached { source: error, .. } => sql::postgres::is_retryable(error),
            Error::Slow { .. } | Error::Taken => true,
            _ => false,
        }
    }
}

crate::metrics! {
    /// What the store counts.
    pub struct Metrics {
        /// Seconds that a transaction took from its begin to its durable commit.
        commit_seconds: Histogram = "moksori_queue_commit_seconds" (crate::metrics::DELAY_SECONDS),
        /// Transactions that were rolled back, by an error or by a command that was refused.
        rollbacks: IntCounter = "moksori_queue_rollbacks_total",
        /// Transactions that ran again, because another process was in the way.
        retried: IntCounter = "moksori_queue_retried_total",
        /// Connections to the database that are reading now.
        connections: IntGauge = "moksori_queue_connections",
        /// Connections to the database that were lost. Should be rare; look at the server's log.
        lost: IntCounter = "moksori_queue_lost_connections_total",
        /// Reads and commands that were given up, because no connection came free or no answer came in time.
        slow: IntCounter = "moksori_queue_timeouts_total",
        /// Number of the last committed event.
        last_event: IntGauge = "moksori_queue_last_event",
    }
}
