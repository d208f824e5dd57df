//! Which abusive posts somebody has asked to see, in memory and until they leave the case.
//!
//! Kept by session and case, so that what is pushed to a case's page shows what its reader sees already. Where this
//! is lost, or another process has it, posts are masked again.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use crate::{case::CaseId, clock::Time, mention::MentionId};

/// A case that nobody left is forgotten after so long.
const KEPT: Duration = Duration::from_secs(3_600);

/// The hash of a session's token, and a case.
type Place = ([u8; 32], CaseId);

/// What is revealed to whom.
#[derive(Default)]
pub(super) struct Revealed(Mutex<HashMap<Place, (Time, Vec<MentionId>)>>);

impl Revealed {
    /// Shows a post until the case is left.
    pub(super) fn show(&self, session: [u8; 32], case: CaseId, post: MentionId, now: Time) {
        let mut shown = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        shown.retain(|_, (at, _)| now.since(*at) < KEPT);
        let (at, posts) = shown.entry((session, case)).or_insert_with(|| (now, Vec::new()));
        *at = now;
        posts.push(post);
    }

    /// The case is left.
    pub(super) fn leave(&self, session: [u8; 32], case: CaseId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&(session, case));
    }

    /// Every case is left: a list is shown.
    pub(super) fn leave_all(&self, session: [u8; 32]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|(of, _), _| *of != session);
    }

    /// What is shown of a case.
    pub(super) fn of(&self, session: [u8; 32], case: CaseId) -> Vec<MentionId> {
        let shown = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        shown.get(&(session, case)).map(|(_, posts)| posts.clone()).unwrap_or_default()
    }
}
