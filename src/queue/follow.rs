//! How a process learns what others wrote to PostgreSQL: it listens, and looks once a second besides.

use std::{
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::sync::watch;

use super::{
    Catalog, Error, Metrics,
    pool::Source,
    sql::{Sql, connect::back_off},
};
use crate::case::Seq;

/// How long the follower listens before it looks whether to stop.
const LISTEN: Duration = Duration::from_millis(250);
/// So many silent rounds pass before it looks at the events unasked.
const LOOK_AFTER: u32 = 4;
/// So many rounds pass before it reads the catalog again, which another node may have changed.
const CATALOG_AFTER: u32 = 20;

/// Follows the events of all processes for one of them.
pub(super) struct Follower {
    pub(super) source: Source,
    pub(super) seq: watch::Sender<Seq>,
    pub(super) catalog: Arc<RwLock<Arc<Catalog>>>,
    pub(super) stop: Arc<AtomicBool>,
    pub(super) metrics: Metrics,
}

impl Follower {
    /// Follows until told to stop; blocks.
    pub(super) fn run(&self) {
        let mut failures = 0;
        while !self.stop.load(Ordering::Relaxed) {
            match self.follow(&mut failures) {
                Ok(()) => return,
                Err(error) if failures == 0 => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "lost sight of the store's events, trying again");
                }
                Err(error) => {
                    tracing::debug!(error = &error as &dyn std::error::Error, "the store's events are still out of sight")
                }
            }
            failures += 1;
            std::thread::sleep(back_off(failures, Duration::from_secs(1)));
        }
    }

    fn follow(&self, failures: &mut u32) -> Result<(), Error> {
        let sql = self.source.reader()?;
        let Sql::Postgres(session) = &sql else { return Ok(()) };
        session.run("LISTEN moksori")?;
        self.look(&sql)?;
        self.read_catalog(&sql)?;
        if *failures > 0 {
            tracing::info!("the store's events are in sight again");
        }
        *failures = 0;
        let (mut silent, mut rounds) = (0, 0);
        while !self.stop.load(Ordering::Relaxed) {
            let heard = session.notified(LISTEN)?;
            silent += 1;
            rounds += 1;
            if heard || silent >= LOOK_AFTER {
                silent = 0;
                self.look(&sql)?;
            }
            if rounds >= CATALOG_AFTER {
                rounds = 0;
                self.read_catalog(&sql)?;
            }
        }
        Ok(())
    }

    fn look(&self, sql: &Sql) -> Result<(), Error> {
        let last = Seq(sql.one("SELECT coalesce(max(seq), 0) FROM event", &[], |row| row.get(0))?);
        self.metrics.last_event.set(last.0);
        raise(&self.seq, last);
        Ok(())
    }

    fn read_catalog(&self, sql: &Sql) -> Result<(), Error> {
        let known = Arc::clone(&self.catalog.read().unwrap_or_else(PoisonError::into_inner));
        let catalog = Arc::new(Catalog::load(sql)?);
        let mut current = self.catalog.write().unwrap_or_else(PoisonError::into_inner);
        // Who changed it meanwhile has read it again already, later than this.
        if Arc::ptr_eq(&current, &known) {
            *current = catalog;
        }
        Ok(())
    }
}

/// Moves the followers on to `last`, never back.
pub(super) fn raise(seq: &watch::Sender<Seq>, last: Seq) {
    seq.send_if_modified(|known| {
        let newer = last > *known;
        *known = last.max(*known);
        newer
    });
}
