//! Work that one node at a time should do: connectors, alarms, relays.
//!
//! A lease is a row with an expiry in the store, kept by its holder's node. It is an optimisation: what two
//! nodes do at once is still done once, since every effect is compare-and-set in the store. A lost node's
//! leases move within [`LASTS`] and one [`ASK_EVERY`].

use std::{pin::Pin, sync::Arc, time::Duration};

use tokio::sync::watch;

use crate::{
    clock::{Clock, random_word},
    queue::{Store, Urgency},
};

/// A lease that is not renewed ends after this.
pub const LASTS: Duration = Duration::from_secs(6);
/// How often it is renewed, and asked for.
pub const ASK_EVERY: Duration = Duration::from_secs(1);
/// A holder that could not renew stops this long before its lease ends.
const MARGIN: Duration = Duration::from_secs(1);
/// The store answers within this, or not at all.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// Work that runs until its receiver turns true.
pub type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

crate::metrics! {
    /// What a node holds.
    pub struct Metrics {
        /// 1 while this node holds the lease; over all nodes each should sum to 1. Account leases are named `account:KEY`.
        held: IntGaugeVec = "moksori_lease_held" ["lease"],
        /// Leases that this node lost while it worked, because it could not renew them in time.
        lost: IntCounterVec = "moksori_lease_lost_total" ["lease"],
    }
}

/// The leases of one node.
pub struct Leases {
    store: Arc<Store>,
    clock: Clock,
    holder: String,
    metrics: Metrics,
}

impl Leases {
    /// Leases for a node that calls itself by a name of chance.
    pub fn new(store: Arc<Store>, clock: Clock, metrics: Metrics) -> Arc<Leases> {
        let holder = random_word::<8>();
        Arc::new(Leases { store, clock, holder, metrics })
    }

    /// Does `work` whenever this node holds the lease `name`, until `stop` turns true. Work that must end is
    /// told so and waited for.
    pub async fn hold(
        self: Arc<Self>,
        name: String,
        mut stop: watch::Receiver<bool>,
        work: impl Fn(watch::Receiver<bool>) -> Work,
    ) {
        while !*stop.borrow() {
            let asked_at = self.clock.now();
            if self.take(&name).await == Some(true) {
                tracing::info!(lease = name, "this node holds the lease");
                self.metrics.held.with_label_values(&[&name]).set(1);
                let (end, ended) = watch::channel(false);
                let mut task = tokio::spawn(work(ended));
                let mut good_until = asked_at.plus(LASTS);
                let over = loop {
                    tokio::select! {
                        done = &mut task => break Some(done),
                        _ = stop.changed() => break None,
                        () = self.clock.sleep(ASK_EVERY) => {}
                    }
                    let asked_at = self.clock.now();
                    match self.take(&name).await {
                        Some(true) => good_until = asked_at.plus(LASTS),
                        None if self.clock.now().plus(MARGIN) < good_until => {}
                        _ => {
                            self.metrics.lost.with_label_values(&[&name]).inc();
                            tracing::warn!(lease = name, "the lease could not be renewed: its work stops on this node");
                            break None;
                        }
                    }
                };
                end.send_replace(true);
                let done = match over {
                    Some(done) => done,
                    None => task.await,
                };
                if let Err(error) = done {
                    tracing::error!(lease = name, error = &error as &dyn std::error::Error, "the work of a lease had crashed");
                }
                self.metrics.held.with_label_values(&[&name]).set(0);
                self.give_back(&name).await;
                if *stop.borrow() {
                    return;
                }
            }
            tokio::select! {
                () = self.clock.sleep(ASK_EVERY) => {}
                _ = stop.changed() => return,
            }
        }
    }

    /// True when this node holds the lease now, false when another does; none when the store does not say.
    async fn take(&self, name: &str) -> Option<bool> {
        let (name, holder) = (name.to_owned(), self.holder.clone());
        let taken = self.store.write(Urgency::Person, move |tx| tx.take_lease(&name, &holder, LASTS));
        match tokio::time::timeout(ANSWER_WITHIN, taken).await {
            Ok(Ok(taken)) => Some(taken),
            Ok(Err(error)) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "could not ask for a lease");
                None
            }
            Err(_) => None,
        }
    }

    /// Others need not wait for the end of a lease that nobody uses.
    async fn give_back(&self, name: &str) {
        let (name, holder) = (name.to_owned(), self.holder.clone());
        let given = self.store.write(Urgency::Person, move |tx| tx.drop_lease(&name, &holder));
        if !matches!(tokio::time::timeout(ANSWER_WITHIN, given).await, Ok(Ok(()))) {
            tracing::debug!("a lease was left to end by itself");
        }
    }
}
