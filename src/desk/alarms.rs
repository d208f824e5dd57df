//! The alarm loop: fires what is due, at its time, once, also after a restart.
//!
//! The rows are the truth and their index is the ordered set: the loop asks the store for the next firing,
//! sleeps until then, and looks again whenever anything is committed. What was due while the process was
//! down fires at once, recorded at its deadline.

use std::{sync::Arc, time::Duration};

use tokio::sync::watch;

use super::{Desk, Error};
use crate::queue::Urgency;

/// Cases per transaction, so that a person's command never waits long behind alarms.
const AT_ONCE: u32 = 100;
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
            if next.is_some_and(|next| next <= now) {
                if let Err(error) = self.fire_due().await {
                    tracing::error!(error = &error as &dyn std::error::Error, "could not fire alarms, trying again");
                    self.clock.sleep(Duration::from_secs(1)).await;
                }
                continue;
            }
            let wake_at = next.unwrap_or(now.plus(LONGEST_SLEEP)).min(now.plus(LONGEST_SLEEP));
            tokio::select! {
                () = self.clock.sleep_until(wake_at) => {}
                changed = commits.changed() => if changed.is_err() { return },
                _ = stop.changed() => return,
            }
        }
    }

    /// Fires what is due now; returns how many cases were touched.
    ///
    /// # Errors
    /// The store's.
    pub async fn fire_due(&self) -> Result<usize, Error> {
        self.transact(Urgency::Person, |ledger| {
            let due = ledger.tx.cases_to_fire(ledger.now(), AT_ONCE)?;
            for id in &due {
                if let Some(mut case) = ledger.tx.load_case(*id)? {
                    ledger.settle(&mut case);
                    ledger.tx.save_case(&case)?;
                }
            }
            Ok(due.len())
        })
        .await
    }
}
