//! Deleted texts leave the bus too, once the store says which.

use std::{sync::Arc, time::Duration};

use tokio::sync::watch;

use super::{Failure, Pipeline};

/// Texts that came after their delete leave the bus within this time.
const ERASE_EVERY: Duration = Duration::from_secs(60);
/// After a round it rests so many times as long as that took, but never longer than the time above.
const REST: u32 = 9;

/// Posts per transaction that notes them as erased.
const DONE_AT_ONCE: usize = 100;

impl Pipeline {
    /// Takes deleted texts out of the bus as well, until `stop` turns true.
    pub async fn run_erasures(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        while !*stop.borrow() {
            let begun_at = self.clock.now();
            match self.erase_pending().await {
                Ok(0) => tokio::select! {
                    () = self.erasure.notified() => {}
                    // A post that comes after its delete wakes nobody.
                    () = self.clock.sleep(ERASE_EVERY) => {}
                    _ = stop.changed() => return,
                },
                // A round reads the whole log: where deletes never end, it must not either, but most of the time rest.
                Ok(_) => tokio::select! {
                    () = self.clock.sleep((self.clock.now().since(begun_at) * REST).min(ERASE_EVERY)) => {}
                    _ = stop.changed() => return,
                },
                Err(error) => {
                    tracing::error!(error = &*error, "could not erase deleted texts from the bus, trying again");
                    tokio::select! {
                        () = self.clock.sleep(Duration::from_secs(5)) => {}
                        _ = stop.changed() => return,
                    }
                }
            }
        }
    }

    /// One round of [`Pipeline::run_erasures`]; returns how many posts it erased.
    ///
    /// # Errors
    /// Those of the bus and of the store.
    pub async fn erase_pending(&self) -> Result<usize, Failure> {
        let pending = self.desk.pending_erasures().await?;
        if pending.is_empty() {
            return Ok(0);
        }
        let posts: Vec<_> = pending.iter().map(|post| (post.source.clone(), post.native_id.clone())).collect();
        self.bus.erase(&posts).await?;
        // Each one is looked for in all dead letters: nobody should wait long behind that.
        for some in pending.chunks(DONE_AT_ONCE) {
            self.desk.erasures_done(some.to_vec()).await?;
        }
        Ok(pending.len())
    }
}
