//! The store: team queues, cases until they are closed, and all that is known of them. The only SQL.
//!
//! One writer thread owns the writing connection and runs one transaction after another, interactive
//! commands before batches; readers have connections of their own. Whoever writes passes a closure
//! over [`Tx`]; its events get their numbers as the transaction's last statements, so that followers
//! ([`Store::follow`]) never see a gap.

mod cases;
mod feed;
mod intake;
mod outbox;
mod pages;
mod people;
mod rulesets;
mod sql;
mod store;
mod tx;
mod types;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use cases::NewCase;
pub use feed::*;
pub use intake::*;
pub use outbox::*;
pub use pages::*;
pub use people::*;
pub use rulesets::*;
pub use store::*;
pub use tx::{NewEvent, Reader, Tx};
pub use types::*;

/// Settings of the store.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Connections that may read at the same time.
    pub readers: usize,
    /// Memory for SQLite's page cache of each connection, in KiB.
    pub cache_kib: u32,
}

/// What can go wrong in the store.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// SQLite refused; full disk and locked file among the causes.
    #[error("the store failed")]
    Sqlite(#[from] rusqlite::Error),
    /// The file was written by a newer program.
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
    /// Worth trying again later: the disk may have space, the lock may be free.
    pub fn is_retryable(&self) -> bool {
        matches!(
            self,
            Error::Sqlite(rusqlite::Error::SqliteFailure(
                rusqlite::ffi::Error {
                    code: rusqlite::ErrorCode::DiskFull
                        | rusqlite::ErrorCode::DatabaseBusy
                        | rusqlite::ErrorCode::DatabaseLocked
                        | rusqlite::ErrorCode::SystemIoFailure,
                    ..
                },
                _
            ))
        )
    }
}

crate::metrics! {
    /// What the store counts.
    pub struct Metrics {
        /// Seconds that a transaction took from its begin to its durable commit.
        commit_seconds: Histogram = "moksori_queue_commit_seconds" (crate::metrics::DELAY_SECONDS),
        /// Transactions that were rolled back, by an error or by a command that was refused.
        rollbacks: IntCounter = "moksori_queue_rollbacks_total",
        /// Number of the last committed event.
        last_event: IntGauge = "moksori_queue_last_event",
    }
}
