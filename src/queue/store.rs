//! The store as the rest of the program holds it: who writes waits in line, who reads borrows a connection.

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use tokio::sync::{oneshot, watch};

use super::{
    Catalog, CatalogConfig, Config, Engine, Error, Metrics, Reader, Tx,
    follow::Follower,
    pool::{Pool, Source},
    sql::{
        Sql,
        connect::{self, Purpose, Settings},
        sqlite,
    },
    tx::{Memory, Writer},
};
use crate::{case::Seq, clock::Clock};

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

    /// Adds a job; false when the line is closed.
    fn add(&self, urgency: Urgency, job: Job) -> bool {
        let mut jobs = self.locked();
        if jobs.closed {
            return false;
        }
        match urgency {
            Urgency::Person => jobs.urgent.push_back(job),
            Urgency::Batch => jobs.batch.push_back(job),
        }
        drop(jobs);
        self.arrived.notify_one();
        true
    }

    fn serve(&self, writer: &mut Writer) {
        while let Some(job) = self.next() {
            // Whoever waits for this one is told that the store is closed; the others must not wait for ever.
            if catch_unwind(AssertUnwindSafe(|| job(writer))).is_err() {
                writer.begin_anew();
            }
        }
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
    pool: Arc<Pool>,
    /// Who waits to write: persons and batches. One line on SQLite, which has one writer; two on PostgreSQL.
    persons: Arc<JobQueue>,
    batches: Arc<JobQueue>,
    wait: Option<Duration>,
    catalog: Arc<RwLock<Arc<Catalog>>>,
    /// One reads the catalog at a time: who reads later has seen more, and must not be overwritten.
    refreshing: tokio::sync::Mutex<()>,
    seq: watch::Receiver<Seq>,
    metrics: Metrics,
    stop: Arc<AtomicBool>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Store {
    /// Opens the store: the file in `dir`, whose schema is brought up to date, or the PostgreSQL that `config`
    /// names, whose schema must be up to date.
    ///
    /// # Errors
    /// When it cannot be opened or written, or was written by a newer program.
    pub fn open(dir: &Path, config: Config, clock: Clock, metrics: Metrics) -> Result<Arc<Store>, Error> {
        let open = || match config.engine {
            Engine::Sqlite => Store::open_sqlite(dir, config.clone(), clock, metrics),
            Engine::Postgres => Store::open_postgres(&config, &clock, metrics),
        };
        apart(open)
    }

    /// Brings the schema up to date; returns the version that was found and the one that was reached.
    /// SQLite's is brought up to date whenever it is opened.
    ///
    /// # Errors
    /// When it cannot be written, or was written by a newer program.
    pub fn migrate(dir: &Path, config: &Config) -> Result<(usize, usize), Error> {
        apart(|| match config.engine {
            Engine::Sqlite => {
                let path = dir.join("desk.db");
                let mut connection = sqlite::connect(&path, config, false)?;
                sqlite::protect(&path)?;
                sqlite::migrate(&mut connection)
            }
            Engine::Postgres => connect::migrate(&Settings::new(config.postgres()?)?.connect(Purpose::Migrate)?),
        })
    }

    fn open_sqlite(dir: &Path, config: Config, clock: Clock, metrics: Metrics) -> Result<Arc<Store>, Error> {
        let path = dir.join("desk.db");
        let mut connection = sqlite::connect(&path, &config, false)?;
        sqlite::protect(&path)?;
        sqlite::migrate(&mut connection)?;
        let checkpoints = sqlite::connect(&path, &config, false)?;
        let (committed, checkpoint_asked) = std::sync::mpsc::channel();
        let readers = config.readers;
        let source = Source::Sqlite { path, config };
        let line = Arc::new(JobQueue::default());
        let (mut store, seq) =
            Store::over(&Sql::Sqlite(connection), &source, readers, [Arc::clone(&line), Arc::clone(&line)], metrics)?;
        let mut writer = store.writer(&source, Urgency::Batch, &clock, &seq)?;
        writer.committed = Some(committed);
        store.threads = Mutex::new(vec![
            spawn("store-writer", move || line.serve(&mut writer))?,
            spawn("store-checkpoint", move || sqlite::keep_checkpointing(&checkpoints, &checkpoint_asked))?,
        ]);
        Ok(Arc::new(store))
    }

    fn open_postgres(config: &Config, clock: &Clock, metrics: Metrics) -> Result<Arc<Store>, Error> {
        let postgres = config.postgres()?;
        let source = Source::Postgres(Settings::new(postgres)?);
        let sql = source.reader()?;
        connect::check(&sql)?;
        // Two write, one follows; the rest read.
        let readers = postgres.connections.saturating_sub(3);
        let (persons, batches) = (Arc::new(JobQueue::default()), Arc::new(JobQueue::default()));
        let lines = [Arc::clone(&persons), Arc::clone(&batches)];
        let (mut store, seq) = Store::over(&sql, &source, readers, lines, metrics)?;
        let mut person = store.writer(&source, Urgency::Person, clock, &seq)?;
        let mut batch = store.writer(&source, Urgency::Batch, clock, &seq)?;
        let follower = Follower {
            source,
            seq,
            catalog: Arc::clone(&store.catalog),
            stop: Arc::clone(&store.stop),
            metrics: store.metrics.clone(),
        };
        store.threads = Mutex::new(vec![
            spawn("store-persons", move || persons.serve(&mut person))?,
            spawn("store-batches", move || batches.serve(&mut batch))?,
            spawn("store-events", move || follower.run())?,
        ]);
        Ok(Arc::new(store))
    }

    /// A store without threads yet, and the sender of what its followers hear.
    fn over(
        sql: &Sql,
        source: &Source,
        readers: usize,
        [persons, batches]: [Arc<JobQueue>; 2],
        metrics: Metrics,
    ) -> Result<(Store, watch::Sender<Seq>), Error> {
        let last = Seq(sql.one("SELECT coalesce(max(seq), 0) FROM event", &[], |row| row.get(0))?);
        let catalog = Arc::new(RwLock::new(Arc::new(Catalog::load(sql)?)));
        let (sender, seq) = watch::channel(last);
        let pool = Arc::new(Pool::new(source.clone(), readers, metrics.clone()));
        let (wait, threads) = (source.wait(), Mutex::default());
        let store = Store {
            pool,
            persons,
            batches,
            wait,
            catalog,
            refreshing: tokio::sync::Mutex::default(),
            seq,
            metrics,
            stop: Arc::default(),
            threads,
        };
        Ok((store, sender))
    }

    fn writer(&self, source: &Source, urgency: Urgency, clock: &Clock, seq: &watch::Sender<Seq>) -> Result<Writer, Error> {
        let sql = source.writer(urgency)?;
        // With other processes about, there may be one at any time.
        let tombstones = sql.shared() || sql.one("SELECT EXISTS (SELECT 1 FROM tombstone)", &[], |row| row.get(0))?;
        Ok(Writer {
            sql: Some(sql),
            source: source.clone(),
            urgency,
            clock: clock.clone(),
            metrics: self.metrics.clone(),
            seq: seq.clone(),
            memory: Memory { tombstones, ..Memory::default() },
            committed: None,
            failures: 0,
        })
    }

    /// Runs `work` as one transaction: what it did is durable when this returns `Ok`, and undone otherwise.
    /// On PostgreSQL it runs again when another process is why it failed.
    ///
    /// # Errors
    /// What `work` returned, or the store's own error.
    pub async fn write<T, E>(
        &self,
        urgency: Urgency,
        work: impl FnMut(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let catalog = self.catalog();
        let limit = self.wait.filter(|_| urgency == Urgency::Person);
        let job: Job = Box::new(move |writer| {
            // Who was told that it takes too long must not find it done later.
            if limit.is_some() && answer.is_closed() {
                return;
            }
            // The asker may have gone; the transaction counts all the same.
            drop(answer.send(writer.transact(&catalog, work)));
        });
        let line = if urgency == Urgency::Person { &self.persons } else { &self.batches };
        if !line.add(urgency, job) {
            return Err(Error::Closed.into());
        }
        let answered = async { answered.await.unwrap_or_else(|_| Err(Error::Closed.into())) };
        match limit {
            Some(limit) => tokio::time::timeout(limit, answered).await.unwrap_or_else(|_| Err(self.slow(limit).into())),
            None => answered.await,
        }
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
        let reading = async {
            let permit = Arc::clone(&self.pool.permits).acquire_owned().await.map_err(|_| Error::Closed)?;
            let (pool, catalog) = (Arc::clone(&self.pool), self.catalog());
            let reading = tokio::task::spawn_blocking(move || {
                // Held as long as the connection, also when nobody waits for the answer any more.
                let _permit = permit;
                pool.with(|sql| work(&Reader { sql, catalog: &catalog }))
            });
            reading.await.map_err(|_| Error::Closed)?
        };
        match self.wait {
            Some(limit) => tokio::time::timeout(limit, reading).await.unwrap_or_else(|_| Err(self.slow(limit).into())),
            None => reading.await,
        }
    }

    fn slow(&self, limit: Duration) -> Error {
        self.metrics.slow.inc();
        Error::Slow { limit }
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
        let _alone = self.refreshing.lock().await;
        let catalog = Arc::new(self.read(|reader| Catalog::load(reader.sql)).await?);
        *self.catalog.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&catalog);
        Ok(catalog)
    }

    /// The number of the last committed event; wakes at each commit that adds one.
    pub fn follow(&self) -> watch::Receiver<Seq> {
        self.seq.clone()
    }

    /// Finishes what is queued and stops the threads; blocks until they are done.
    pub fn close(&self) {
        self.stop.store(true, Ordering::Relaxed);
        for line in [&self.persons, &self.batches] {
            line.locked().closed = true;
            line.arrived.notify_all();
        }
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a store thread had crashed");
            }
        }
        self.pool.close();
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.close();
    }
}

/// Runs `work` on a thread of its own: the client of PostgreSQL must not wait on an async thread.
fn apart<T: Send>(work: impl FnOnce() -> Result<T, Error> + Send) -> Result<T, Error> {
    std::thread::scope(|scope| scope.spawn(work).join().unwrap_or(Err(Error::Closed)))
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, Error> {
    let started = std::thread::Builder::new().name(name.into()).spawn(body);
    started.map_err(|source| Error::File { path: name.into(), source })
}

#[cfg(test)]
mod tests {
    use prometheus::Registry;

    use super::*;

    #[tokio::test]
    async fn a_crash_between_transactions_stops_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let metrics = Metrics::new(&Registry::new()).unwrap();
        let store = Store::open(dir.path(), Config::sqlite(1, 1_024), Clock::System, metrics).unwrap();
        for urgency in [Urgency::Person, Urgency::Batch] {
            assert!(store.persons.add(urgency, Box::new(|_| panic!("a sample crash"))));
            let done: Result<i32, Error> = store.write(urgency, |_| Ok(7)).await;
            assert_eq!(done.unwrap(), 7);
        }
        tokio::task::spawn_blocking(move || store.close()).await.unwrap();
    }
}
