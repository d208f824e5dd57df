//! Answers: written here and put into the outbox, or given on the site and told to us.

use super::{Desk, Error, Ledger};
use crate::{
    case::{Actor, CaseId, EventKind, ReplyId, ReplyState},
    clock::{Time, random_word},
    queue::Case,
    sla::Kind,
    staff::{Action, Viewer, authorize},
};

use std::time::Duration;

/// Within this time two people do not answer the same post.
const COLLISION: Duration = Duration::from_secs(60);

/// An answer as its writer typed it.
#[derive(Clone, Debug)]
pub struct NewReply {
    /// Plain text, unsigned.
    pub text: String,
    /// Send it although a colleague answered the same post a moment ago.
    pub despite_colleague: bool,
}

/// What became of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Its place in the outbox.
    pub id: ReplyId,
    /// When it leaves; until then its writer can take it back.
    pub due_at: Time,
}

/// `text` with the writer's initials: `... ^KG`. Signing twice changes nothing.
pub(super) fn signed(text: &str, initials: &str) -> String {
    let text = text.trim();
    let signature = format!("^{initials}");
    if text.ends_with(&signature) { text.to_owned() } else { format!("{text} {signature}") }
}

impl Desk {
    /// Answers the customer's newest mention. The answer waits a moment in the outbox, so that it can be
    /// taken back; when the clock is nearly out it leaves at once. Who answers without having claimed
    /// claims in the same transaction.
    ///
    /// # Errors
    /// [`Error::TooLong`], [`Error::LinkOnly`], [`Error::Claimed`], [`Error::Answered`].
    pub async fn reply(&self, viewer: &Viewer, id: CaseId, reply: NewReply) -> Result<Answer, Error> {
        let writer = viewer.clone();
        let answer = self.command(viewer, Action::Work, id, move |ledger, case| ledger.reply(case, &writer, &reply)).await?;
        self.outbox_changed();
        Ok(answer)
    }

    /// Takes a reply back that has not left yet, and gives its text back.
    ///
    /// # Errors
    /// [`Error::TooLate`] when it has left, or was never there.
    pub async fn undo_reply(&self, viewer: &Viewer, id: CaseId, reply: ReplyId) -> Result<String, Error> {
        let agent = viewer.id;
        let signature = format!(" ^{}", viewer.initials);
        self.command(viewer, Action::Work, id, move |ledger, case| {
            let stored = ledger
                .tx
                .load_reply(reply)?
                .filter(|stored| stored.case == case.id && stored.agent == agent && stored.state == ReplyState::Queued)
                .ok_or(Error::TooLate("the reply has left"))?;
            ledger.tx.set_reply_state(reply, ReplyState::Undone, None, None)?;
            ledger.event(case, Actor::Agent(agent), EventKind::ReplyUndone, Some(serde_json::json!({ "reply": reply })));
            Ok(stored.text.strip_suffix(&signature).unwrap_or(&stored.text).to_owned())
        })
        .await
    }

    /// Sends a failed reply again, or one whose outcome nobody knows: a person's decision, never our own.
    ///
    /// # Errors
    /// [`Error::TooLate`] when the reply is in another state.
    pub async fn retry_reply(&self, viewer: &Viewer, id: CaseId, reply: ReplyId) -> Result<(), Error> {
        self.decide(viewer, id, reply, &[ReplyState::Failed, ReplyState::Unknown], ReplyState::Queued).await
    }

    /// Sends a reply that was held back when the desk came out of a backup or from another store.
    ///
    /// # Errors
    /// [`Error::TooLate`] when the reply is in another state.
    pub async fn send_parked(&self, viewer: &Viewer, id: CaseId, reply: ReplyId) -> Result<(), Error> {
        self.decide(viewer, id, reply, &[ReplyState::Parked], ReplyState::Queued).await
    }

    /// Drops a reply that was held back: it has gone long ago, or is not wanted any more.
    ///
    /// # Errors
    /// [`Error::TooLate`] when the reply is in another state.
    pub async fn discard_reply(&self, viewer: &Viewer, id: CaseId, reply: ReplyId) -> Result<(), Error> {
        self.decide(viewer, id, reply, &[ReplyState::Parked], ReplyState::Undone).await
    }

    /// Moves a reply that waits for a decision to what was decided.
    async fn decide(
        &self,
        viewer: &Viewer,
        id: CaseId,
        reply: ReplyId,
        from: &'static [ReplyState],
        to: ReplyState,
    ) -> Result<(), Error> {
        let agent = viewer.id;
        self.command(viewer, Action::Work, id, move |ledger, case| {
            let due = (to == ReplyState::Queued).then(|| ledger.now());
            ledger
                .tx
                .load_reply(reply)?
                .filter(|stored| stored.case == case.id && from.contains(&stored.state))
                .ok_or(Error::TooLate("the reply is not waiting for a decision"))?;
            ledger.tx.set_reply_state(reply, to, None, due)?;
            let kind = if to == ReplyState::Queued { EventKind::ReplyQueued } else { EventKind::ReplyUndone };
            ledger.event(case, Actor::Agent(agent), kind, Some(serde_json::json!({ "reply": reply })));
            Ok(())
        })
        .await?;
        self.outbox_changed();
        Ok(())
    }

    /// Somebody answered on the site, where no connector can see it.
    ///
    /// # Errors
    /// Those of every command.
    pub async fn answered_there(&self, viewer: &Viewer, id: CaseId) -> Result<(), Error> {
        let agent = viewer.id;
        self.command(viewer, Action::Work, id, move |ledger, case| {
            if case.assignee.is_none() {
                ledger.claim(case, agent)?;
            }
            let now = ledger.now();
            ledger.answered(case, now);
            ledger.event(case, Actor::Agent(agent), EventKind::AnsweredThere, None);
            Ok(())
        })
        .await
    }

    /// Reads a case for its page, with the rights checked.
    ///
    /// # Errors
    /// [`Error::NotFound`] for another team's case and for none alike.
    pub async fn look(&self, viewer: &Viewer, id: CaseId) -> Result<crate::queue::CaseView, Error> {
        let viewer = viewer.clone();
        self.store
            .read(move |reader| {
                let view = reader.case_view(id, viewer.id)?.ok_or(Error::NotFound(id))?;
                authorize(&viewer, Action::Read, view.case.team).map_err(|_| Error::NotFound(id))?;
                Ok(view)
            })
            .await
    }
}

impl Ledger<'_, '_> {
    fn reply(&mut self, case: &mut Case, writer: &Viewer, reply: &NewReply) -> Result<Answer, Error> {
        if reply.text.trim().is_empty() {
            return Err(Error::Empty);
        }
        let catalog = self.tx.catalog();
        let account = catalog
            .account(case.account)
            .ok_or_else(|| Error::Unknown { what: "account", name: case.account.0.to_string() })?;
        if !account.capability.reply {
            return Err(Error::LinkOnly);
        }
        let text = signed(&reply.text, &writer.initials);
        if let Some(rule) = &account.capability.length {
            // The connector puts the customer's handle in front, and the platform counts it.
            let handle = self.tx.handle_of(case.contact)?.unwrap_or_default();
            let left = rule.left(&format!("@{handle} {text}"));
            if left < 0 {
                return Err(Error::TooLong { over: left.unsigned_abs() });
            }
        }
        let recent = self.tx.recent_reply(case.id, case.latest_mention, self.now().minus(COLLISION))?;
        if let Some(recent) = recent.filter(|recent| recent.agent != writer.id && !reply.despite_colleague) {
            let initials = self.tx.initials_of(recent.agent)?.unwrap_or_default();
            return Err(Error::Answered { initials, text: recent.text });
        }
        if case.assignee != Some(writer.id) {
            self.claim(case, writer.id)?;
        }
        let left = [Kind::FirstResponse, Kind::NextResponse]
            .into_iter()
            .filter_map(|kind| case.open_clock(kind))
            .map(|clock| clock.deadline_at.since(self.now()))
            .filter(|left| !left.is_zero())
            .min();
        let hold = if left.is_some_and(|left| left < self.config.hurry) { Duration::ZERO } else { self.config.undo_window };
        let due_at = self.now().plus(hold);
        let key = random_word::<16>();
        let id = self.tx.insert_reply(
            case.id,
            case.latest_mention,
            case.account,
            writer.id,
            &text,
            ReplyState::Queued,
            due_at,
            &key,
        )?;
        self.tx.drop_draft(writer.id, case.id, "reply")?;
        self.event(case, Actor::Agent(writer.id), EventKind::ReplyQueued, Some(serde_json::json!({ "reply": id })));
        Ok(Answer { id, due_at })
    }
}

#[cfg(test)]
mod tests {
    use super::signed;

    #[test]
    fn a_reply_is_signed_once() {
        assert_eq!(signed(" 확인했어요. ", "KG"), "확인했어요. ^KG");
        assert_eq!(signed("확인했어요. ^KG", "KG"), "확인했어요. ^KG");
    }
}
