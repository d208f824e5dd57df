//! The one thread that writes the index: commits what waits, and rewrites what deleted text is still in.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::Ordering,
        mpsc::{Receiver, RecvTimeoutError, SyncSender},
    },
    time::Duration,
};

use tantivy::{Term, index::SegmentId};

use super::{
    Error, Shared,
    files::{Files, discard},
    tail::Waiting,
};
use crate::{case::Seq, crash, mention::MentionId};

/// Where an answer goes.
pub(super) type Reply = SyncSender<Result<(), Error>>;

/// What the thread can be asked for.
pub(super) enum Ask {
    /// Commit now.
    Commit(Option<Reply>),
    /// Commit, then rewrite every segment with deleted documents.
    Purge(Reply),
    /// Forget everything, on disk and in memory.
    Empty(Reply),
    /// Commit, and say on disk that everything is in it.
    Complete(Reply),
    /// Remove all files and end.
    Discard,
}

pub(super) struct Committer {
    shared: Arc<Shared>,
    files: Files,
    slot: PathBuf,
    /// The last event in the index.
    committed: Seq,
}

impl Committer {
    pub(super) fn new(shared: Arc<Shared>, files: Files, slot: PathBuf, committed: Seq) -> Committer {
        Committer { shared, files, slot, committed }
    }

    /// Runs until [`super::Search`] is dropped.
    pub(super) fn run(mut self, asks: &Receiver<Ask>) {
        let every = self.shared.config.commit_every.max(Duration::from_millis(1));
        loop {
            let (answer, reply) = match asks.recv_timeout(every) {
                Ok(Ask::Commit(reply)) => (self.commit(reply.is_some()), reply),
                Ok(Ask::Purge(reply)) => (self.purge(), Some(reply)),
                Ok(Ask::Empty(reply)) => (self.empty(), Some(reply)),
                Ok(Ask::Complete(reply)) => (self.complete(), Some(reply)),
                Ok(Ask::Discard) => return self.discard(),
                Err(RecvTimeoutError::Timeout) => (self.commit(false), None),
                Err(RecvTimeoutError::Disconnected) => return,
            };
            if let Err(error) = &answer {
                self.shared.metrics.failures.inc();
                tracing::error!("failed to {error}");
                // A writer that failed may hold half of the posts; the next one starts from the last commit.
                self.files.writer = None;
            }
            if let Some(reply) = reply {
                // Whoever asked may have stopped waiting.
                drop(reply.send(answer));
            }
        }
    }

    /// Commits what waits. Events without posts only move the position, so they may wait longer.
    fn commit(&mut self, now: bool) -> Result<(), Error> {
        let shared = Arc::clone(&self.shared);
        let (waiting, count, deletes, seq) = {
            let mut live = shared.write();
            live.asked = false;
            let behind = live.seq.0.saturating_sub(self.committed.0);
            let idle = live.tail.len() == 0 && live.dead.is_empty() && live.dying.is_empty();
            if idle && (behind == 0 || !now && behind < i64::try_from(shared.config.commit_docs).unwrap_or(i64::MAX)) {
                return Ok(());
            }
            // What a failed commit did not remove is still to be removed.
            let dead = std::mem::take(&mut live.dead);
            live.dying.extend(dead);
            let deletes: Vec<MentionId> = live.dying.iter().copied().collect();
            (live.tail.posts().cloned().collect::<Vec<_>>(), live.tail.len(), deletes, live.seq)
        };
        let timer = shared.metrics.commit_seconds.start_timer();
        self.write(&waiting, &deletes, seq)?;
        timer.observe_duration();
        shared.metrics.commits.inc();
        self.committed = seq;
        self.show(|live| {
            live.tail.forget(count);
            live.dying.clear();
        });
        Ok(())
    }

    fn write(&mut self, waiting: &[Arc<Waiting>], deletes: &[MentionId], seq: Seq) -> Result<(), Error> {
        let fields = self.files.fields;
        let payload = self.files.payload(seq, self.shared.building.load(Ordering::Relaxed));
        let writer = self.files.writer()?;
        for mention in deletes {
            writer.delete_term(Term::from_field_i64(fields.mention, mention.0));
        }
        for waiting in waiting {
            writer.add_document(fields.document(&waiting.post, waiting.signature()))?;
        }
        let mut commit = writer.prepare_commit()?;
        commit.set_payload(&payload);
        crash::point("index commit");
        commit.commit()?;
        crash::point("index commit");
        self.files.reader.reload()?;
        Ok(())
    }

    /// Lets queries see what the reader sees, in one step with `change`.
    fn show(&self, change: impl FnOnce(&mut super::Live)) {
        let mut live = self.shared.write();
        live.searcher = self.files.reader.searcher();
        change(&mut live);
        self.shared.tell(&live);
    }

    fn complete(&mut self) -> Result<(), Error> {
        self.commit(true)?;
        self.shared.building.store(false, Ordering::Relaxed);
        let told = self.write(&[], &[], self.committed);
        if told.is_err() {
            self.shared.building.store(true, Ordering::Relaxed);
        }
        told
    }

    /// Queries that still run have the files open, so they go on.
    fn discard(mut self) {
        if let Some(Err(error)) = self.files.writer.take().map(|writer| writer.wait_merging_threads()) {
            tracing::debug!("the index that is removed had failed to {error}");
        }
        drop(self.files);
        discard(&self.slot);
    }

    fn empty(&mut self) -> Result<(), Error> {
        self.shared.building.store(true, Ordering::Relaxed);
        let payload = self.files.payload(Seq(0), true);
        let writer = self.files.writer()?;
        writer.delete_all_documents()?;
        let mut commit = writer.prepare_commit()?;
        commit.set_payload(&payload);
        commit.commit()?;
        self.files.reader.reload()?;
        self.committed = Seq(0);
        self.show(|live| {
            live.tail.forget(live.tail.len());
            live.dead.clear();
            live.dying.clear();
            live.seq = Seq(0);
            live.asked = false;
        });
        Ok(())
    }

    fn purge(&mut self) -> Result<(), Error> {
        self.commit(true)?;
        // Merges that run may hold what we want to merge.
        if let Some(writer) = self.files.writer.take() {
            writer.wait_merging_threads()?;
        }
        let touched: Vec<SegmentId> = (self.files.index.searchable_segment_metas()?.iter())
            .filter(|segment| segment.has_deletes())
            .map(|segment| segment.id())
            .collect();
        let writer = self.files.writer()?;
        if !touched.is_empty() {
            writer.merge(&touched).wait()?;
            self.files.reader.reload()?;
            self.show(|_| ());
        }
        // The old files can go only now, since nobody searches in them any more.
        self.files.writer()?.garbage_collect_files().wait()?;
        Ok(())
    }
}
