//! What agents do with a case: claim, give back, hand over, label, note, wait, resolve.

use super::{Count, Desk, Error, LabelBefore, Ledger};
use crate::{
    case::{Actor, CaseId, EventKind, Status},
    mention::Label,
    queue::{Case, Urgency},
    sla::{CancelReason, Kind, PauseReason},
    staff::{Action, AgentId, TeamId, Viewer},
};

/// Where a case goes, and why.
#[derive(Clone, Debug)]
pub struct HandOver {
    /// The team that takes it.
    pub team: TeamId,
    /// The person who takes it, if it is known; giving it to a name needs a lead.
    pub agent: Option<AgentId>,
    /// Why; required.
    pub reason: String,
}

impl Desk {
    /// Claims a case: the first who asks has it, the next is told who.
    ///
    /// # Errors
    /// [`Error::Claimed`] when somebody else has it.
    pub async fn claim(&self, viewer: &Viewer, id: CaseId) -> Result<(), Error> {
        let agent = viewer.id;
        self.command(viewer, Action::Work, id, move |ledger, case| ledger.claim(case, agent)).await
    }

    /// Puts a case back into its queue.
    ///
    /// # Errors
    /// [`Error::Claimed`] when it is somebody else's and the viewer is no lead.
    pub async fn give_back(&self, viewer: &Viewer, id: CaseId) -> Result<(), Error> {
        let agent = viewer.id;
        self.command(viewer, Action::Work, id, move |ledger, case| {
            ledger.mine(case, agent)?;
            ledger.put_back(case, agent, EventKind::GivenBack);
            Ok(())
        })
        .await
    }

    /// Hands a case over to another team or person. Clocks keep what has elapsed; the customer's waiting
    /// time does not restart.
    ///
    /// # Errors
    /// [`Error::Empty`] without a reason, [`Error::Unknown`] for a team of another brand.
    pub async fn hand_over(&self, viewer: &Viewer, id: CaseId, to: HandOver) -> Result<(), Error> {
        let agent = viewer.id;
        let action = if to.agent.is_some_and(|to| to != agent) { Action::Assign } else { Action::Work };
        self.command(viewer, action, id, move |ledger, case| {
            if to.reason.trim().is_empty() {
                return Err(Error::Empty);
            }
            let catalog = ledger.tx.catalog();
            let team = catalog
                .team(to.team)
                .filter(|team| team.brand == case.brand)
                .ok_or_else(|| Error::Unknown { what: "team", name: to.team.0.to_string() })?;
            let note = ledger.tx.insert_note(case.id, agent, "handover", to.reason.trim())?;
            let from = case.team;
            if from != team.id {
                case.transfers += 1;
            }
            case.team = team.id;
            case.assignee = to.agent;
            case.status = match (case.status, to.agent) {
                (Status::New | Status::Open, Some(_)) => Status::Open,
                (Status::New | Status::Open, None) => Status::New,
                (other, _) => other,
            };
            ledger.event(
                case,
                Actor::Agent(agent),
                EventKind::HandedOver,
                Some(serde_json::json!({ "from": from, "to": team.id, "agent": to.agent, "note": note })),
            );
            Ok(())
        })
        .await
    }

    /// Sets the label: a person's word, which sorts the case, stops its triage clock and is kept for the
    /// classifier to learn from.
    ///
    /// # Errors
    /// Those of every command.
    pub async fn set_label(&self, viewer: &Viewer, id: CaseId, label: Label) -> Result<(), Error> {
        let agent = viewer.id;
        self.command(viewer, Action::Work, id, move |ledger, case| {
            let before = LabelBefore::of(case);
            case.label = label;
            case.unsure = false;
            case.labelled_by = Some(agent);
            ledger.tx.correct(case.mention, case.id, label, agent)?;
            ledger.tally.push(Count::Corrected { from: before.word(), to: label });
            ledger.turn(case, Kind::Triage, |clock, policy, now| clock.meet(policy, now, now));
            ledger.event(case, Actor::Agent(agent), EventKind::Labelled, Some(before.changed(label.as_str())));
            Ok(())
        })
        .await
    }

    /// Writes a note to colleagues; the customer never sees it and no clock stops.
    ///
    /// # Errors
    /// [`Error::Empty`] without text.
    pub async fn note(&self, viewer: &Viewer, id: CaseId, text: String) -> Result<(), Error> {
        let agent = viewer.id;
        self.command(viewer, Action::Work, id, move |ledger, case| {
            if text.trim().is_empty() {
                return Err(Error::Empty);
            }
            let note = ledger.tx.insert_note(case.id, agent, "note", text.trim())?;
            case.notes += 1;
            ledger.tx.drop_draft(agent, case.id, "note")?;
            ledger.event(case, Actor::Agent(agent), EventKind::NoteWritten, Some(serde_json::json!({ "note": note })));
            Ok(())
        })
        .await
    }

    /// Waits for the customer or a third party: the resolution clock stands still, reply clocks run on.
    ///
    /// # Errors
    /// [`Error::TooLate`] when the case is resolved.
    pub async fn wait_for(&self, viewer: &Viewer, id: CaseId, reason: PauseReason) -> Result<(), Error> {
        let agent = viewer.id;
        self.command(viewer, Action::Work, id, move |ledger, case| {
            if !case.status.unfinished() {
                return Err(Error::TooLate("the case is resolved"));
            }
            case.status = match reason {
                PauseReason::WaitingCustomer => Status::WaitingCustomer,
                _ => Status::WaitingThirdParty,
            };
            ledger.turn(case, Kind::Resolution, |clock, policy, now| clock.pause(policy, reason, now));
            if let Some(clock) = case.open_clock(Kind::Resolution).cloned() {
                ledger.tx.record_pause(case.id, &clock, Some(reason.as_str()))?;
            }
            ledger.event(case, Actor::Agent(agent), EventKind::Waiting, Some(serde_json::json!({ "for": reason.as_str() })));
            Ok(())
        })
        .await
    }

    /// Goes on with a case that waited: whoever we waited for has answered in some other way.
    ///
    /// # Errors
    /// [`Error::TooLate`] when it does not wait.
    pub async fn go_on(&self, viewer: &Viewer, id: CaseId) -> Result<(), Error> {
        let agent = viewer.id;
        self.command(viewer, Action::Work, id, move |ledger, case| {
            if !case.status.waiting() {
                return Err(Error::TooLate("the case does not wait"));
            }
            ledger.stop_waiting(case)?;
            ledger.event(case, Actor::Agent(agent), EventKind::WentOn, None);
            Ok(())
        })
        .await
    }

    /// Resolves a case. Reply clocks that nobody answered are cancelled and counted, never met.
    ///
    /// # Errors
    /// [`Error::TooLate`] when it is resolved already, [`Error::Empty`] without a disposition.
    pub async fn resolve(&self, viewer: &Viewer, id: CaseId, disposition: String) -> Result<(), Error> {
        let agent = viewer.id;
        self.command(viewer, Action::Work, id, move |ledger, case| {
            if !case.status.unfinished() {
                return Err(Error::TooLate("the case is resolved"));
            }
            if disposition.trim().is_empty() {
                return Err(Error::Empty);
            }
            let reason = if disposition == "spam" { CancelReason::Spam } else { CancelReason::NoReplyNeeded };
            ledger.turn(case, Kind::Triage, |clock, policy, now| clock.meet(policy, now, now));
            for kind in [Kind::FirstResponse, Kind::NextResponse] {
                ledger.turn(case, kind, |clock, policy, now| clock.cancel(policy, reason, now));
            }
            ledger.turn(case, Kind::Resolution, |clock, policy, now| clock.meet(policy, now, now));
            let by = if case.labelled_by.is_some() { "person" } else { "classifier" };
            ledger.tally.push(Count::Checked { label: case.label, by });
            case.status = Status::Resolved;
            case.resolved_at = Some(ledger.now());
            case.assignee = case.assignee.or(Some(agent));
            ledger.event(
                case,
                Actor::Agent(agent),
                EventKind::Resolved,
                Some(serde_json::json!({ "disposition": disposition })),
            );
            case.disposition = Some(disposition.clone());
            Ok(())
        })
        .await
    }

    /// Keeps an unsent text on the server. Returns its new version, or the stored one if `version` is not it.
    ///
    /// # Errors
    /// Those of every command.
    pub async fn put_draft(
        &self,
        viewer: &Viewer,
        id: CaseId,
        kind: String,
        text: String,
        version: i64,
    ) -> Result<Result<i64, i64>, Error> {
        let viewer = viewer.clone();
        self.transact(Urgency::Person, move |ledger| {
            let case = ledger.tx.load_case(id)?.ok_or(Error::NotFound(id))?;
            crate::staff::authorize(&viewer, Action::Work, case.team).map_err(|_| Error::NotFound(id))?;
            Ok(ledger.tx.put_draft(viewer.id, id, &kind, &text, version)?)
        })
        .await
    }
}

impl Ledger<'_, '_> {
    /// The case is `agent`'s from now on, unless somebody else was first.
    pub(super) fn claim(&mut self, case: &mut Case, agent: AgentId) -> Result<(), Error> {
        match case.assignee {
            Some(holder) if holder == agent => return Ok(()),
            Some(holder) => return Err(self.claimed_by(holder)?),
            None => {}
        }
        if !case.status.unfinished() {
            return Err(Error::TooLate("the case is resolved"));
        }
        case.assignee = Some(agent);
        if case.status == Status::New {
            case.status = Status::Open;
        }
        self.turn(case, Kind::Triage, |clock, policy, now| clock.meet(policy, now, now));
        self.event(case, Actor::Agent(agent), EventKind::Claimed, None);
        Ok(())
    }

    /// The case is nobody's again; `why` goes into its log.
    pub(super) fn put_back(&mut self, case: &mut Case, agent: AgentId, why: EventKind) {
        case.assignee = None;
        if case.status == Status::Open {
            case.status = Status::New;
        }
        self.event(case, Actor::Agent(agent), why, None);
    }

    fn mine(&self, case: &Case, agent: AgentId) -> Result<(), Error> {
        match case.assignee {
            Some(holder) if holder == agent => Ok(()),
            Some(holder) => Err(self.claimed_by(holder)?),
            None => Err(Error::TooLate("nobody has claimed the case")),
        }
    }

    fn claimed_by(&self, holder: AgentId) -> Result<Error, Error> {
        Ok(Error::Claimed { initials: self.tx.initials_of(holder)?.unwrap_or_default() })
    }
}
