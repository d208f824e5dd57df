//! Who looks at a case or writes in it, in memory, for twenty seconds after each sign of life.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::sync::watch;

use crate::{
    case::CaseId,
    clock::Time,
    staff::{AgentId, Viewer},
};

/// A sign of life counts so long.
const LAPSE: Duration = Duration::from_secs(20);

#[derive(Clone, Debug)]
struct Sign {
    initials: String,
    seen: Time,
    wrote: Option<Time>,
}

/// Who is where.
pub(super) struct Presence {
    cases: Mutex<HashMap<CaseId, HashMap<AgentId, Sign>>>,
    changed: watch::Sender<CaseId>,
}

impl Default for Presence {
    fn default() -> Presence {
        Presence { cases: Mutex::default(), changed: watch::Sender::new(CaseId(0)) }
    }
}

impl Presence {
    /// Somebody looks at a case, or writes in it.
    pub(super) fn touch(&self, case: CaseId, viewer: &Viewer, writing: bool, now: Time) {
        let news = {
            let mut cases = self.cases.lock().unwrap_or_else(PoisonError::into_inner);
            cases.retain(|_, signs| {
                signs.retain(|_, sign| now < sign.seen.plus(LAPSE));
                !signs.is_empty()
            });
            let fresh = Sign { initials: viewer.initials.clone(), seen: now, wrote: None };
            let signs = cases.entry(case).or_default();
            let known = signs.contains_key(&viewer.id);
            let sign = signs.entry(viewer.id).or_insert(fresh);
            let wrote = sign.wrote.is_some_and(|at| now < at.plus(LAPSE));
            sign.seen = now;
            if writing {
                sign.wrote = Some(now);
            }
            !known || (writing && !wrote)
        };
        if news {
            self.changed.send_replace(case);
        }
    }

    /// Somebody has gone.
    pub(super) fn leave(&self, case: CaseId, agent: AgentId) {
        let mut cases = self.cases.lock().unwrap_or_else(PoisonError::into_inner);
        let gone = cases.get_mut(&case).is_some_and(|signs| signs.remove(&agent).is_some());
        drop(cases);
        if gone {
            self.changed.send_replace(case);
        }
    }

    /// The others in a case: initials, and whether they write.
    pub(super) fn others(&self, case: CaseId, me: AgentId, now: Time) -> Vec<(String, bool)> {
        let cases = self.cases.lock().unwrap_or_else(PoisonError::into_inner);
        let signs = cases.get(&case).into_iter().flatten();
        let mut others: Vec<(String, bool)> = signs
            .filter(|(agent, sign)| **agent != me && now < sign.seen.plus(LAPSE))
            .map(|(_, sign)| (sign.initials.clone(), sign.wrote.is_some_and(|at| now < at.plus(LAPSE))))
            .collect();
        others.sort();
        others
    }

    /// Wakes when somebody comes to a case, leaves it or begins to write.
    pub(super) fn follow(&self) -> watch::Receiver<CaseId> {
        self.changed.subscribe()
    }
}
