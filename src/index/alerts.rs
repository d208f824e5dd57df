//! Watches saved searches and tells when there is something to tell: once, whoever looks and however often.

use std::{sync::Arc, time::Duration};

use tokio::sync::watch;

use super::{Error, scope_of};
use crate::{
    clock::{Clock, Time},
    query::Query,
    queue::{self, AlertRule, SavedSearch, Store, Urgency},
    search::{Scope, Search},
};

/// How often saved searches are looked at.
const LOOK: Duration = Duration::from_secs(30);
const MINUTE: i64 = 60_000;
const WEEK: Duration = Duration::from_secs(7 * 86_400);
/// Weeks that say what is usual.
const WEEKS: u32 = 4;

/// Looks at saved searches.
pub struct Watcher {
    /// Where they are kept.
    pub store: Arc<Store>,
    /// Where they look.
    pub search: Arc<Search>,
    /// Says what "within an hour" means.
    pub clock: Clock,
}

impl Watcher {
    /// Watches until `stop` turns true.
    pub async fn run(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        while !*stop.borrow_and_update() {
            if let Err(error) = self.step().await {
                tracing::warn!(error = &error as &dyn std::error::Error, "saved searches were not all looked at");
            }
            tokio::select! {
                () = self.clock.sleep(LOOK) => {}
                _ = stop.changed() => return,
            }
        }
    }

    /// Looks at each once; returns how many alerts were told.
    ///
    /// # Errors
    /// When store or index fail; those that were not looked at are the next time.
    pub async fn step(&self) -> Result<usize, Error> {
        // Whole minutes, so that the link to the posts can name exactly this time.
        let now = Time(self.clock.now().0.div_euclid(MINUTE) * MINUTE);
        let watched = self
            .store
            .read(|reader| {
                let with_scope = |saved: SavedSearch| Ok((scope_of(reader, saved.agent, saved.team)?, saved));
                reader.searches_that_tell()?.into_iter().map(with_scope).collect::<Result<Vec<_>, queue::Error>>()
            })
            .await?;
        let mut told = 0;
        for (scope, saved) in watched {
            let Some(rule) = saved.alert else { continue };
            let from = now.minus(rule.period());
            // A query that an older version of the language took may no longer be one.
            let Ok(query) = saved.query.parse::<Query>() else { continue };
            if saved.told_until > from {
                continue;
            }
            let search = Arc::clone(&self.search);
            let look = tokio::task::spawn_blocking(move || look(&search, &query, &scope, rule, from, now));
            let Some((found, usual)) = look.await.map_err(|_| Error::Stopped)?? else { continue };
            let id = saved.id;
            let first = self.store.write(Urgency::Batch, move |tx| tx.tell_alert(id, from, now, found, usual)).await?;
            if first {
                tracing::info!(search.id = id, found, "a saved search has something to tell");
                told += 1;
            }
        }
        Ok(told)
    }
}

/// Posts found, and a hundred times what is usual, where there is something to tell.
fn look(
    search: &Search,
    query: &Query,
    scope: &Scope,
    rule: AlertRule,
    from: Time,
    until: Time,
) -> Result<Option<(u64, Option<u64>)>, crate::search::Error> {
    let count = |from, until| search.count(query, scope, from, until).map(|count| u64::try_from(count).unwrap_or(u64::MAX));
    let found = count(from, until)?;
    Ok(match rule {
        AlertRule::Count { threshold, .. } => (found >= u64::from(threshold)).then_some((found, None)),
        AlertRule::Spike { threshold, .. } if found < u64::from(threshold).max(1) => None,
        AlertRule::Spike { percent, .. } => {
            let mut before = 0;
            for weeks in 1..=WEEKS {
                before += count(from.minus(WEEK * weeks), until.minus(WEEK * weeks))?;
            }
            let usual = before * 100 / u64::from(WEEKS);
            (found * 10_000 >= usual * u64::from(percent)).then_some((found, Some(usual)))
        }
    })
}
