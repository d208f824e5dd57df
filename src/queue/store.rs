//! The store as the rest of the program holds it: who writes waits in line, who reads borrows a connection.

use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock},
    thread::JoinHandle,
};

use tokio::sync::{oneshot, watch};

use super::{
    Catalog, CatalogConfig, Config, Error, Metrics, Reader, Tx,
    sql::{Sql, sqlite},
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
    readers: Mutex<Vec<Sql>>,
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
        let mut connection = sqlite::connect(&path, &config, false)?;
        sqlite::protect(&path)?;
        sqlite::migrate(&mut connection)?;
        let sql = Sql::Sqlite(connection);
        let last = sql.one("SELECT coalesce(max(seq), 0) FROM event", &[], |row| row.get(0))?;
        let tombstones = sql.one("SELECT EXISTS (SELECT 1 FROM tombstone)", &[], |row| row.get(0))?;
        let catalog = Arc::new(Catalog::load(&sql)?);
        let (sender, seq) = watch::channel(Seq(last));
        let jobs = Arc::new(JobQueue::default());
        let checkpoints = sqlite::connect(&path, &config, false)?;
        let (wake_checkpoints, checkpoint_asked) = std::sync::mpsc::channel();
        let mut writer = Writer {
            sql,
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
            spawn("store-checkpoint", Box::new(move || sqlite::keep_checkpointing(&checkpoints, &checkpoint_asked)))?,
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
        let sql = match idle {
            Some(sql) => sql,
            None => Sql::Sqlite(sqlite::connect(&self.path, &self.config, true)?),
        };
        let catalog = self.catalog();
        let (sql, result) = tokio::task::spawn_blocking(move || {
            // One transaction: all statements see one moment, and the file is locked once instead of for each.
            let result = sql.moment().map_err(E::from).and_then(|()| work(&Reader { sql: &sql, catalog: &catalog }));
            sql.roll_back();
            (sql, result)
        })
        .await
        .map_err(|_| Error::Closed)?;
        self.readers.lock().unwrap_or_else(PoisonError::into_inner).push(sql);
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
