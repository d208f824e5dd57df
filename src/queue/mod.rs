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
mod types;

use std::{
    collections::{HashMap, VecDeque},
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock},
    thread::JoinHandle,
    time::Duration,
};

use rusqlite::{Connection, OpenFlags, params};
use serde::{Deserialize, Serialize};
use tokio::sync::{oneshot, watch};

pub use cases::NewCase;
pub use feed::*;
pub use intake::*;
pub use outbox::*;
pub use pages::*;
pub use people::*;
pub use rulesets::*;
pub use types::*;

use crate::case::{Actor, CaseId, EventKind, Seq};
use crate::clock::{Clock, Time};
use crate::crash;
use crate::mention::MentionId;

const MIGRATIONS: &[&str] = &[include_str!("migrations/0001_desk.sql"), include_str!("migrations/0002_engines.sql")];

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

/// Interactive commands go before batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// Somebody waits for the answer.
    Person,
    /// The pipeline, which can wait its turn.
    Batch,
}

type Job = Box<dyn FnOnce(&mut Writer) + Send>;

#[derive(Default)]
struct Jobs {
    urgent: VecDeque<Job>,
    batch: VecDeque<Job>,
    closed: bool,
}

#[derive(Default)]
struct JobQueue {
    jobs: Mutex<Jobs>,
    arrived: Condvar,
}

impl JobQueue {
    fn locked(&self) -> MutexGuard<'_, Jobs> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next(&self) -> Option<Job> {
        let mut jobs = self.locked();
        loop {
            if let Some(job) = jobs.urgent.pop_front() {
                return Some(job);
            }
            if let Some(job) = jobs.batch.pop_front() {
                return Some(job);
            }
            if jobs.closed {
                return None;
            }
            jobs = self.arrived.wait(jobs).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// The store of one desk.
pub struct Store {
    path: PathBuf,
    config: Config,
    jobs: Arc<JobQueue>,
    readers: Mutex<Vec<Connection>>,
    permits: tokio::sync::Semaphore,
    catalog: RwLock<Arc<Catalog>>,
    seq: watch::Receiver<Seq>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Store {
    /// Opens the store in `dir`, bringing its schema up to date.
    ///
    /// # Errors
    /// When the file cannot be opened or written, or was written by a newer program.
    pub fn open(dir: &Path, config: Config, clock: Clock, metrics: Metrics) -> Result<Arc<Store>, Error> {
        let path = dir.join("desk.db");
        let mut connection = connect(&path, &config, false)?;
        protect(&path)?;
        migrate(&mut connection)?;
        let last: i64 = connection.query_row("SELECT coalesce(max(seq), 0) FROM event", [], |row| row.get(0))?;
        let tombstones: bool = connection.query_row("SELECT EXISTS (SELECT 1 FROM tombstone)", [], |row| row.get(0))?;
        let catalog = Arc::new(Catalog::load(&connection)?);
        let (sender, seq) = watch::channel(Seq(last));
        let jobs = Arc::new(JobQueue::default());
        let checkpoints = connect(&path, &config, false)?;
        let (wake_checkpoints, checkpoint_asked) = std::sync::mpsc::channel();
        let mut writer = Writer {
            connection,
            clock,
            metrics,
            last: Seq(last),
            seq: sender,
            memory: Memory { tombstones, ..Memory::default() },
            wake_checkpoints,
        };
        let queue = Arc::clone(&jobs);
        let spawn = |name: &str, body: Box<dyn FnOnce() + Send>| {
            std::thread::Builder::new()
                .name(name.into())
                .spawn(body)
                .map_err(|source| Error::File { path: path.clone(), source })
        };
        let threads = vec![
            spawn(
                "store-writer",
                Box::new(move || {
                    while let Some(job) = queue.next() {
                        job(&mut writer);
                    }
                }),
            )?,
            spawn("store-checkpoint", Box::new(move || keep_checkpointing(&checkpoints, &checkpoint_asked)))?,
        ];
        Ok(Arc::new(Store {
            path,
            permits: tokio::sync::Semaphore::new(config.readers.max(1)),
            config,
            jobs,
            readers: Mutex::new(Vec::new()),
            catalog: RwLock::new(catalog),
            seq,
            threads: Mutex::new(threads),
        }))
    }

    /// Runs `work` as one transaction: what it did is durable when this returns `Ok`, and undone otherwise.
    ///
    /// # Errors
    /// What `work` returned, or the store's own error.
    pub async fn write<T, E>(
        &self,
        urgency: Urgency,
        work: impl FnOnce(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let catalog = self.catalog();
        let job: Job = Box::new(move |writer| {
            // The asker may have gone; the transaction counts all the same.
            drop(answer.send(writer.transact(catalog, work)));
        });
        {
            let mut jobs = self.jobs.locked();
            if jobs.closed {
                return Err(Error::Closed.into());
            }
            match urgency {
                Urgency::Person => jobs.urgent.push_back(job),
                Urgency::Batch => jobs.batch.push_back(job),
            }
        }
        self.jobs.arrived.notify_one();
        answered.await.unwrap_or_else(|_| Err(Error::Closed.into()))
    }

    /// Runs `work` on a reading connection, off the async threads.
    ///
    /// # Errors
    /// What `work` returned, or the store's own error.
    pub async fn read<T, E>(&self, work: impl FnOnce(&Reader<'_>) -> Result<T, E> + Send + 'static) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        let _permit = self.permits.acquire().await.map_err(|_| Error::Closed)?;
        let idle = self.readers.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let connection = match idle {
            Some(connection) => connection,
            None => connect(&self.path, &self.config, true)?,
        };
        let catalog = self.catalog();
        let (connection, result) = tokio::task::spawn_blocking(move || {
            // One transaction: all statements see one moment, and the file is locked once instead of for each.
            let moment = connection.unchecked_transaction().map_err(|error| Error::from(error).into());
            let result = moment.and_then(|_moment| work(&Reader { connection: &connection, catalog: &catalog }));
            (connection, result)
        })
        .await
        .map_err(|_| Error::Closed)?;
        self.readers.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        result
    }

    /// Brands, accounts and teams as they were last set.
    pub fn catalog(&self) -> Arc<Catalog> {
        Arc::clone(&self.catalog.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Brings brands, accounts and teams in line with the configuration; what is gone from it stays in
    /// the store, since cases refer to it.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn set_catalog(&self, wanted: CatalogConfig) -> Result<Arc<Catalog>, Error> {
        self.write(Urgency::Person, move |tx| tx.sync_catalog(&wanted)).await?;
        self.refresh_catalog().await
    }

    /// Reads the catalog again, after somebody changed it.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn refresh_catalog(&self) -> Result<Arc<Catalog>, Error> {
        let catalog = Arc::new(self.read(|reader| Catalog::load(reader.connection)).await?);
        *self.catalog.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&catalog);
        Ok(catalog)
    }

    /// The number of the last committed event; wakes at each commit that adds one.
    pub fn follow(&self) -> watch::Receiver<Seq> {
        self.seq.clone()
    }

    /// Finishes what is queued and stops the threads; blocks until they are done.
    pub fn close(&self) {
        self.jobs.locked().closed = true;
        self.jobs.arrived.notify_all();
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a store thread had crashed");
            }
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.close();
    }
}

fn connect(path: &Path, config: &Config, read_only: bool) -> Result<Connection, Error> {
    let mut flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    if !read_only {
        flags |= OpenFlags::SQLITE_OPEN_CREATE;
    }
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.set_prepared_statement_cache_capacity(128);
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", "OFF")?;
    // Freed bytes are overwritten: a text that was edited must not linger when its mention is erased.
    connection.pragma_update(None, "secure_delete", true)?;
    // Checkpoints run on a connection of their own, so that no commit pays for one.
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    connection.pragma_update(None, "cache_size", -i64::from(config.cache_kib))?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    if read_only {
        connection.pragma_update(None, "query_only", true)?;
    }
    Ok(connection)
}

/// Only the owner may read what customers wrote.
fn protect(path: &Path) -> Result<(), Error> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))
            .map_err(|source| Error::File { path: path.to_owned(), source })?;
    }
    Ok(())
}

fn migrate(connection: &mut Connection) -> Result<(), Error> {
    let found: usize = connection.pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0))?.try_into().unwrap_or(0);
    if found > MIGRATIONS.len() {
        return Err(Error::Newer { found, known: MIGRATIONS.len() });
    }
    for (index, migration) in MIGRATIONS.iter().enumerate().skip(found) {
        let transaction = connection.transaction()?;
        transaction.execute_batch(migration)?;
        transaction.pragma_update(None, "user_version", i64::try_from(index + 1).unwrap_or(i64::MAX))?;
        transaction.commit()?;
    }
    Ok(())
}

/// Copies the log into the database once a second while anything is written; empties it when asked to,
/// so that erased text does not linger in it.
fn keep_checkpointing(connection: &Connection, asked: &std::sync::mpsc::Receiver<bool>) {
    let mut written = false;
    let mut truncate = false;
    loop {
        match asked.recv_timeout(Duration::from_secs(1)) {
            Ok(wants_truncate) => {
                written = true;
                truncate |= wants_truncate;
                continue;
            }
            Err(std::sync::mpsc::RecvTimeoutError::Timeout) if !written => continue,
            Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {}
            Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => truncate = true,
        }
        let mode = if truncate { "PRAGMA wal_checkpoint(TRUNCATE)" } else { "PRAGMA wal_checkpoint(PASSIVE)" };
        match connection.query_row(mode, [], |row| row.get::<_, i64>(0)) {
            Ok(busy) => {
                written = false;
                truncate &= busy != 0;
            }
            Err(error) => tracing::warn!(error = %error, "could not checkpoint the store, trying again"),
        }
        if matches!(asked.try_recv(), Err(std::sync::mpsc::TryRecvError::Disconnected)) {
            return;
        }
    }
}

/// What the writer remembers between transactions; forgotten after a rollback.
#[derive(Default)]
struct Memory {
    sources: HashMap<String, i64>,
    policies: HashMap<(Arc<str>, u32), i64>,
    tombstones: bool,
}

struct Writer {
    connection: Connection,
    clock: Clock,
    metrics: Metrics,
    last: Seq,
    seq: watch::Sender<Seq>,
    memory: Memory,
    wake_checkpoints: std::sync::mpsc::Sender<bool>,
}

impl Writer {
    fn transact<T, E: From<Error>>(
        &mut self,
        catalog: Arc<Catalog>,
        work: impl FnOnce(&mut Tx<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let timer = self.metrics.commit_seconds.start_timer();
        self.connection.execute_batch("BEGIN IMMEDIATE").map_err(Error::from)?;
        let mut tx = Tx {
            connection: &self.connection,
            catalog,
            memory: &mut self.memory,
            now: self.clock.now(),
            events: Vec::new(),
            erased: false,
        };
        // A crash inside a command must not take the store with it.
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let value = work(&mut tx)?;
            let last = tx.number_events(self.last)?;
            Ok::<_, E>((value, last, tx.erased))
        }))
        .unwrap_or_else(|_| Err(Error::Closed.into()))
        .and_then(|done| {
            crash::point("store commit");
            self.connection.execute_batch("COMMIT").map_err(Error::from)?;
            crash::point("store commit");
            Ok(done)
        });
        match done {
            Ok((value, last, erased)) => {
                timer.observe_duration();
                if last != self.last {
                    self.last = last;
                    self.metrics.last_event.set(last.0);
                    self.seq.send_replace(last);
                }
                if self.wake_checkpoints.send(erased).is_err() {
                    tracing::error!("the checkpoint thread has ended: the store's log will grow");
                }
                Ok(value)
            }
            Err(error) => {
                timer.stop_and_discard();
                self.metrics.rollbacks.inc();
                self.memory.sources.clear();
                self.memory.policies.clear();
                // SQLite may have rolled back by itself, on a full disk for example.
                if !self.connection.is_autocommit()
                    && let Err(error) = self.connection.execute_batch("ROLLBACK")
                {
                    tracing::error!(error = %error, "could not roll back");
                }
                Err(error)
            }
        }
    }
}

/// A transaction: everything that may change the store. Methods live in the files of this folder.
pub struct Tx<'a> {
    connection: &'a Connection,
    catalog: Arc<Catalog>,
    memory: &'a mut Memory,
    /// The time at which this transaction began; everything in it happens then.
    pub now: Time,
    events: Vec<NewEvent>,
    erased: bool,
}

/// A reading connection with the catalog of its moment.
pub struct Reader<'a> {
    connection: &'a Connection,
    /// Brands, accounts and teams.
    pub catalog: &'a Arc<Catalog>,
}

/// An event that has no number yet.
#[derive(Clone, Debug)]
pub struct NewEvent {
    /// The case it belongs to.
    pub case: Option<CaseId>,
    /// The mention it is about.
    pub mention: Option<MentionId>,
    /// When it happened; for a breach its deadline.
    pub at: Time,
    /// Who did it.
    pub actor: Actor,
    /// What happened.
    pub kind: EventKind,
    /// Ids and words of enums as JSON; never text of a post, a note or a reply.
    pub payload: Option<String>,
}

impl Tx<'_> {
    /// Brands, accounts and teams.
    pub fn catalog(&self) -> Arc<Catalog> {
        Arc::clone(&self.catalog)
    }

    /// Adds an event to the end of this transaction.
    pub fn event(&mut self, event: NewEvent) {
        self.events.push(event);
    }

    fn number_events(&mut self, last: Seq) -> Result<Seq, Error> {
        let mut seq = last;
        if self.events.is_empty() {
            return Ok(seq);
        }
        let mut insert = self.connection.prepare_cached(
            "INSERT INTO event (seq, case_id, mention_id, at, actor, kind, payload) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?;
        for event in self.events.drain(..) {
            seq.0 += 1;
            insert.execute(params![
                seq.0,
                event.case.map(|case| case.0),
                event.mention.map(|mention| mention.0),
                event.at.0,
                actor_number(event.actor),
                event.kind.as_str(),
                event.payload,
            ])?;
        }
        Ok(seq)
    }
}

fn actor_number(actor: Actor) -> i64 {
    match actor {
        Actor::System => 0,
        Actor::Customer => -1,
        Actor::Agent(agent) => agent.0,
    }
}
