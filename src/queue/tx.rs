//! Transactions: everything that may change the store, and what may only read it.

use std::{collections::HashMap, sync::Arc};

use tokio::sync::watch;

use super::{Catalog, Error, Metrics, sql::Sql};
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

/// The one who writes, with a connection of its own.
pub(super) struct Writer {
    pub(super) sql: Sql,
    pub(super) clock: Clock,
    pub(super) metrics: Metrics,
    pub(super) last: Seq,
    pub(super) seq: watch::Sender<Seq>,
    pub(super) memory: Memory,
    pub(super) wake_checkpoints: std::sync::mpsc::Sender<bool>,
}

impl Writer {
    pub(super) fn transact<T, E: From<Error>>(
        &mut self,
        catalog: Arc<Catalog>,
        work: impl FnOnce(&mut Tx<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let timer = self.metrics.commit_seconds.start_timer();
        self.sql.begin()?;
        let mut tx =
            Tx { sql: &self.sql, catalog, memory: &mut self.memory, now: self.clock.now(), events: Vec::new(), erased: false };
        // A crash inside a command must not take the store with it.
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let value = work(&mut tx)?;
            let last = tx.number_events(self.last)?;
            Ok::<_, E>((value, last, tx.erased))
        }))
        .unwrap_or_else(|_| Err(Error::Closed.into()))
        .and_then(|done| {
            crash::point("store commit");
            self.sql.commit()?;
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
                self.sql.roll_back();
                Err(error)
            }
        }
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

    /// Adds an event to the end of this transaction.
    pub fn event(&mut self, event: NewEvent) {
        self.events.push(event);
    }

    fn number_events(&mut self, last: Seq) -> Result<Seq, Error> {
        let mut seq = last;
        if self.events.is_empty() {
            return Ok(seq);
        }
        for event in self.events.drain(..) {
            seq.0 += 1;
            self.sql.execute(
                "INSERT INTO event (seq, case_id, mention_id, at, actor, kind, payload) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                &[
                    seq.0.into(),
                    event.case.map(|case| case.0).into(),
                    event.mention.map(|mention| mention.0).into(),
                    event.at.0.into(),
                    actor_number(event.actor).into(),
                    event.kind.as_str().into(),
                    (&event.payload).into(),
                ],
            )?;
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
