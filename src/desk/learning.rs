//! What people say of the classifier's labels: taken back, reviewed, and so made training text or not.

use super::{Desk, Error};
use crate::{
    case::{Actor, CaseId, EventKind},
    mention::Label,
    queue::{Case, Review, Urgency},
    staff::{Action, AgentId, Viewer, authorize},
};

/// The label that a case had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LabelBefore {
    /// The label, or the classifier's guess.
    pub label: Label,
    /// The classifier had abstained.
    pub unsure: bool,
    /// Who had set it; the classifier if nobody.
    pub by: Option<AgentId>,
}

impl LabelBefore {
    /// The label that a case has now.
    pub(super) fn of(case: &Case) -> LabelBefore {
        LabelBefore { label: case.label, unsure: case.unsure, by: case.labelled_by }
    }

    /// What an event says of the change to another label.
    pub(super) fn changed(self, to: &str) -> serde_json::Value {
        serde_json::json!({ "from": self.word(), "to": to, "guess": self.label, "by": self.by })
    }

    /// As people say it.
    pub(super) fn word(self) -> &'static str {
        if self.unsure { "unsorted" } else { self.label.as_str() }
    }
}

impl Desk {
    /// Takes a label back: the one before is the case's again, and what was to be learnt from it is not.
    ///
    /// # Errors
    /// Those of every command.
    pub async fn unlabel(&self, viewer: &Viewer, id: CaseId, before: LabelBefore) -> Result<(), Error> {
        let agent = viewer.id;
        self.command(viewer, Action::Work, id, move |ledger, case| {
            let now = LabelBefore::of(case);
            (case.label, case.unsure, case.labelled_by) = (before.label, before.unsure, before.by);
            match before.by {
                Some(by) => ledger.tx.correct(case.mention, case.id, before.label, by)?,
                None => ledger.tx.drop_feedback(case.mention)?,
            }
            ledger.event(case, Actor::Agent(agent), EventKind::Labelled, Some(now.changed(before.word())));
            Ok(())
        })
        .await
    }

    /// Accepts a correction as training text, rejects it, or puts it back among those to be looked at.
    ///
    /// # Errors
    /// [`Error::TooLate`] when it has changed since or is gone, or is not this person's to review.
    pub async fn review(&self, viewer: &Viewer, review: Review) -> Result<(), Error> {
        let viewer = viewer.clone();
        self.transact(Urgency::Person, move |ledger| {
            const GONE: Error = Error::TooLate("the correction has changed or is gone");
            // Another team's correction looks exactly like none.
            let team = ledger.tx.feedback_team(review.mention)?.ok_or(GONE)?;
            authorize(&viewer, Action::Read, team).map_err(|_| GONE)?;
            authorize(&viewer, Action::Review, team)?;
            if ledger.tx.review(&review, viewer.id)? { Ok(()) } else { Err(GONE) }
        })
        .await
    }
}
