//! Transactions: everything that may change the store, and what may only read it.

use std::{
    collections::HashMap,
    sync::{Arc, mpsc::Sender},
    time::Duration,
};

use tokio::sync::watch;

use super::{
    Catalog, Error, Metrics, Urgency,
    follow::raise,
    pool::Source,
    prefetch::Known,
    sql::{Sql, connect::back_off, postgres::Failure},
};
use crate::{
    case::{Actor, CaseId, EventKind, Seq},
    clock::{Clock, Time},
    crash,
    mention::MentionId,
};

/// What the writer remembers between transactions; forgotten after a rollback.
#[derive(Default)]
pub(super) struct Memory {
    pub(super) sources: HashMap<String, i64>,
    pub(super) policies: HashMap<(Arc<str>, u32), i64>,
    pub(super) tombstones: bool,
}

impl Memory {
    /// Ids may have been given by a transaction that was rolled back; that there are tombstones is always right to believe.
    fn forget(&mut self) {
        self.sources.clear();
        self.policies.clear();
    }
}

/// The one who writes, with a connection of its own.
pub(super) struct Writer {
    /// None once it is lost, until the next transaction.
    pub(super) sql: Option<Sql>,
    pub(super) source: Source,
    pub(super) urgency: Urgency,
    pub(super) clock: Clock,
    pub(super) metrics: Metrics,
    pub(super) seq: watch::Sender<Seq>,
    pub(super) memory: Memory,
    /// Wakes the checkpoints of SQLite; true when erased text must leave its log.
    pub(super) committed: Option<Sender<bool>>,
    /// Connections in a row that could not be made.
    pub(super) failures: u32,
}

impl Writer {
    /// Runs `work` as a transaction; again, when another process is why it failed and a second try will do.
    pub(super) fn transact<T, E: From<Error>>(
        &mut self,
        catalog: &Arc<Catalog>,
        mut work: impl FnMut(&mut Tx<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut tries = 0;
        loop {
            self.connect()?;
            let Some(sql) = self.sql.take() else { return Err(Error::Closed.into()) };
            let (done, committing) = self.attempt(&sql, catalog, &mut work);
            let failure = sql.take_failure();
            if failure == Some(Failure::Lost) || sql.lost() {
                self.metrics.lost.inc();
            } else {
                self.sql = Some(sql);
            }
            tries += 1;
            let again = match failure {
                _ if done.is_ok() => false,
                // Nobody knows whether it was committed: whoever asked must look.
                Some(Failure::Lost) => !committing && tries < 2,
                Some(Failure::Taken) => tries < 2,
                Some(Failure::Again) => tries < 4,
                None => false,
            };
            if !again {
                return done;
            }
            self.metrics.retried.inc();
            std::thread::sleep(back_off(tries, Duration::from_millis(200)));
        }
    }

    /// Leaves a connection in whatever state a crash left it, and all that was remembered of it.
    pub(super) fn begin_anew(&mut self) {
        self.sql = None;
        self.memory.forget();
    }

    fn connect(&mut self) -> Result<(), Error> {
        if self.sql.as_ref().is_some_and(|sql| !sql.lost()) {
            return Ok(());
        }
        if self.failures > 0 {
            std::thread::sleep(back_off(self.failures, Duration::from_secs(1)));
        }
        self.failures = self.failures.saturating_add(1);
        self.sql = Some(self.source.writer(self.urgency)?);
        self.failures = 0;
        Ok(())
    }

    /// One try; also says whether it came as far as the commit.
    fn attempt<T, E: From<Error>>(
        &mut self,
        sql: &Sql,
        catalog: &Arc<Catalog>,
        work: &mut impl FnMut(&mut Tx<'_>) -> Result<T, E>,
    ) -> (Result<T, E>, bool) {
        let timer = self.metrics.commit_seconds.start_timer();
        if let Err(error) = sql.begin() {
            timer.stop_and_discard();
            return (Err(error.into()), false);
        }
        let last = *self.seq.borrow();
        let mut tx = Tx {
            sql,
            catalog: Arc::clone(catalog),
            memory: &mut self.memory,
            now: self.clock.now(),
            events: Vec::new(),
            erased: false,
            known: None,
        };
        let mut committing = false;
        // A crash inside a command must not take the store with it.
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let value = work(&mut tx)?;
            let last = tx.finish(last)?;
            Ok::<_, E>((value, last, tx.erased))
        }))
        .unwrap_or_else(|_| Err(Error::Closed.into()))
        .and_then(|done| {
            crash::point("store commit");
            committing = true;
            sql.commit()?;
            crash::point("store commit");
            Ok(done)
        });
        let done = match done {
            Ok((value, last, erased)) => {
                timer.observe_duration();
                self.metrics.last_event.set(last.0);
                raise(&self.seq, last);
                if let Some(committed) = &self.committed
                    && committed.send(erased).is_err()
                {
                    tracing::error!("the checkpoint thread has ended: the store's log will grow");
                }
                Ok(value)
            }
            Err(error) => {
                timer.stop_and_discard();
                self.metrics.rollbacks.inc();
                self.memory.forget();
                sql.roll_back();
                Err(error)
            }
        };
        (done, committing)
    }
}

/// A transaction: everything that may change the store. Methods live in the files of this folder.
pub struct Tx<'a> {
    pub(super) sql: &'a Sql,
    pub(super) catalog: Arc<Catalog>,
    pub(super) memory: &'a mut Memory,
    /// The time at which this transaction began; everything in it happens then.
    pub now: Time,
    pub(super) events: Vec<NewEvent>,
    pub(super) erased: bool,
    /// Answers asked for beforehand; only where asking takes long.
    pub(super) known: Option<Box<Known>>,
}

/// A reading connection with the catalog of its moment.
pub struct Reader<'a> {
    pub(super) sql: &'a Sql,
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

    /// The last statements: all is written, then numbered, and the commit follows.
    fn finish(&mut self, last: Seq) -> Result<Seq, Error> {
        self.sql.flush()?;
        let buried = self.known.as_ref().is_some_and(|known| known.buries());
        if !self.events.is_empty() || buried {
            self.sql.enter_commit()?;
            self.check_tombstones()?;
        }
        self.sql.append(last, &self.events)
    }

    /// Adds an event to the end of this transaction.
    pub fn event(&mut self, event: NewEvent) {
        self.events.push(event);
    }
}
