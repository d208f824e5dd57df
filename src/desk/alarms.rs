//! The alarm loop: fires what is due, at its time, once, also after a restart.
//!
//! The rows are the truth and their index is the ordered set: the loop asks the store for the next firing,
//! sleeps until then, and looks again whenever anything is committed. What was due while the process was
//! down fires at once, recorded at its deadline.

use std::{sync::Arc, time::Duration};

use tokio::sync::watch;

use super::{Desk, Error, Ledger};
use crate::{case::CaseId, queue::Urgency};

/// Cases per transaction, so that a person's command never waits long behind alarms.
const AT_ONCE: usize = 200;
/// Cases that are looked up at once.
const IN_SIGHT: u32 = 1_000;
/// How long to wait for those who hold everything that is due.
const OTHERS_WORK: Duration = Duration::from_millis(20);
/// Sleeps are cut here, in case the wall clock is set.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);

impl Desk {
    /// Fires alarms until `stop` turns true.
    pub async fn run_alarms(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        let mut commits = self.store.follow();
        while !*stop.borrow() {
            commits.mark_unchanged();
            let next = match self.store.read(|reader| reader.next_fire()).await {
                Ok(next) => next,
                Err(error) => {
                    tracing::error!(error = &error as &dyn std::error::Error, "could not read the next alarm, trying again");
                    None
                }
            };
            let now = self.clock.now();
            let late = next.map_or(0, |next| now.since(next).as_secs());
            self.metrics.alarms_late.set(i64::try_from(late).unwrap_or(i64::MAX));
            let wake_at = if next.is_some_and(|next| next <= now) {
                match self.fire_due().await {
                    // Others work on all of it right now.
                    Ok(0) => now.plus(OTHERS_WORK),
                    Ok(_) => continue,
                    Err(error) => {
                        tracing::error!(error = &error as &dyn std::error::Error, "could not fire alarms, trying again");
                        self.clock.sleep(Duration::from_secs(1)).await;
                        continue;
                    }
                }
            } else {
                next.unwrap_or(now.plus(LONGEST_SLEEP)).min(now.plus(LONGEST_SLEEP))
            };
            tokio::select! {
                () = self.clock.sleep_until(wake_at) => {}
                changed = commits.changed() => if changed.is_err() { return },
                _ = stop.changed() => return,
            }
        }
    }

    /// Fires what is due now, deadlines before warnings; returns how many cases were touched.
    ///
    /// # Errors
    /// The store's.
    pub async fn fire_due(&self) -> Result<usize, Error> {
        let now = self.clock.now();
        let due = self.store.read(move |reader| reader.cases_to_fire(now, IN_SIGHT)).await?;
        let mut fired = 0;
        for some in due.chunks(AT_ONCE) {
            let some = some.to_vec();
            fired += self.transact(Urgency::Person, move |ledger| ledger.fire(&some)).await?;
        }
        Ok(fired)
    }
}

impl Ledger<'_, '_> {
    /// Fires what is due in these cases. What another process works on right now is settled by it.
    fn fire(&mut self, cases: &[CaseId]) -> Result<usize, Error> {
        let mut fired = 0;
        for mut case in self.tx.load_free_cases(cases)? {
            let before = case.clocks.clone();
            self.settle(&mut case);
            if case.clocks != before {
                self.tx.save_case(&case)?;
                fired += 1;
            }
        }
        Ok(fired)
    }
}
