//! One index with its tail, its facts and the thread that commits it. [`super::Search`] asks one and may build another.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread::JoinHandle,
};

use jiff::tz::TimeZone;
use tantivy::Searcher;

use super::{Batch, Config, Error, Metrics, commit, files, judged::Memory, table, tail};
use crate::{case::Seq, mention::MentionId};

/// What every index of a [`super::Search`] is opened with.
#[derive(Clone)]
pub(super) struct Settings {
    pub(super) config: Config,
    pub(super) zone: TimeZone,
    pub(super) metrics: Metrics,
}

pub(super) struct Part {
    pub(super) shared: Arc<Shared>,
    /// Its directory.
    pub(super) slot: PathBuf,
    /// `None` only while dropping, which ends the thread.
    asks: Option<mpsc::Sender<commit::Ask>>,
    committer: Mutex<Option<JoinHandle<()>>>,
}

/// What callers and the committing thread share.
pub(super) struct Shared {
    pub(super) config: Config,
    pub(super) zone: TimeZone,
    pub(super) fields: files::Fields,
    pub(super) metrics: Metrics,
    pub(super) live: RwLock<Live>,
    pub(super) memory: Arc<Memory>,
    /// Not everything is in it yet; what is on disk says so too.
    pub(super) building: AtomicBool,
}

/// What can be found at this moment. A query holds the lock for reading, so it sees one moment only.
pub(super) struct Live {
    pub(super) searcher: Searcher,
    pub(super) tail: tail::Tail,
    pub(super) table: table::Table,
    /// Committed documents that have been deleted or replaced since the last commit began.
    pub(super) dead: HashSet<MentionId>,
    /// The same before that, which the running commit removes.
    pub(super) dying: HashSet<MentionId>,
    /// The last event applied.
    pub(super) seq: Seq,
    /// An early commit has been asked for.
    pub(super) asked: bool,
}

impl Shared {
    pub(super) fn read(&self) -> RwLockReadGuard<'_, Live> {
        self.live.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn write(&self) -> RwLockWriteGuard<'_, Live> {
        self.live.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the metrics what can be found, or how far the index is that is built.
    pub(super) fn tell(&self, live: &Live) {
        let documents = i64::try_from(live.searcher.num_docs()).unwrap_or(i64::MAX);
        if self.building.load(Ordering::Relaxed) {
            self.metrics.building_documents.set(documents);
            return;
        }
        self.metrics.tail.set(i64::try_from(live.tail.len()).unwrap_or(i64::MAX));
        self.metrics.documents.set(documents);
    }
}

impl Part {
    /// Takes over open files, which contain everything up to `seq`.
    pub(super) fn new(settings: Settings, files: files::Files, slot: &Path, seq: Seq, building: bool) -> Result<Part, Error> {
        let live = Live {
            searcher: files.reader.searcher(),
            tail: tail::Tail::default(),
            table: table::Table::default(),
            dead: HashSet::new(),
            dying: HashSet::new(),
            seq,
            asked: false,
        };
        let shared = Arc::new(Shared {
            config: settings.config,
            zone: settings.zone,
            fields: files.fields,
            metrics: settings.metrics,
            live: RwLock::new(live),
            memory: Arc::default(),
            building: AtomicBool::new(building),
        });
        shared.tell(&shared.read());
        let (asks, inbox) = mpsc::channel();
        let committer = commit::Committer::new(Arc::clone(&shared), files, slot.to_owned(), seq);
        let committer = std::thread::Builder::new().name("search-commit".into()).spawn(move || committer.run(&inbox))?;
        Ok(Part { shared, slot: slot.to_owned(), asks: Some(asks), committer: Mutex::new(Some(committer)) })
    }

    pub(super) fn apply(&self, batch: Batch) -> Result<(), Error> {
        let limit = self.shared.config.commit_docs;
        let mut guard = self.shared.write();
        let live = &mut *guard;
        if live.tail.len() > limit.saturating_mul(10) {
            return Err(Error::Behind(live.tail.len()));
        }
        for post in batch.upserts {
            if !post.new {
                live.tail.remove(post.mention);
                live.dead.insert(post.mention);
            }
            live.tail.push(post);
        }
        for facts in batch.facts {
            live.table.set(&facts);
        }
        for mention in batch.deletes {
            live.tail.remove(mention);
            live.dead.insert(mention);
            live.table.remove(mention);
        }
        live.seq = live.seq.max(batch.seq);
        self.shared.tell(live);
        if live.tail.len() >= limit && !live.asked {
            live.asked = true;
            drop(guard);
            self.send(commit::Ask::Commit(None))?;
        }
        Ok(())
    }

    /// Has the thread remove all files and end; whoever wants to use the directory again waits for it.
    pub(super) fn discard(&self) -> Option<JoinHandle<()>> {
        // A thread that has ended removes nothing, and the next start does.
        drop(self.send(commit::Ask::Discard));
        self.committer.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    pub(super) fn ask(&self, ask: impl FnOnce(commit::Reply) -> commit::Ask) -> Result<(), Error> {
        let (reply, answer) = mpsc::sync_channel(1);
        self.send(ask(reply))?;
        answer.recv().map_err(|_| Error::Stopped)?
    }

    fn send(&self, ask: commit::Ask) -> Result<(), Error> {
        self.asks.as_ref().ok_or(Error::Stopped)?.send(ask).map_err(|_| Error::Stopped)
    }
}

impl Drop for Part {
    /// Ends the thread; what was not flushed is read from the store again.
    fn drop(&mut self) {
        self.asks = None;
        let committer = self.committer.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Err(_panic)) = committer.map(JoinHandle::join) {
            tracing::error!("the thread that commits the search index had panicked");
        }
    }
}
