//! The far end of the outbox: what connectors take from it and tell of it, and how far they have read.

use tokio::sync::watch;

use super::{Desk, Error};
use crate::{
    case::{Actor, CaseId, EventKind, ReplyId, ReplyState},
    clock::Time,
    queue::{Capability, Erasure, Outgoing, Reply, Urgency, Watched},
};

/// What a platform says of a reply that it took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Its global id of our post.
    pub native_id: String,
    /// Where it can be read.
    pub url: Option<String>,
    /// When the platform took it, by its own clock.
    pub at: Time,
}

impl Desk {
    /// How far a stream has been read.
    ///
    /// # Errors
    /// The store's.
    pub async fn cursor(&self, name: &str) -> Result<Option<String>, Error> {
        let name = name.to_owned();
        self.store.read(move |reader| Ok(reader.cursor(&name)?)).await
    }

    /// Remembers how far a stream has been read; call it only when what it names is durable in the bus.
    ///
    /// # Errors
    /// The store's.
    pub async fn save_cursor(&self, name: &str, value: &str) -> Result<(), Error> {
        let (name, value) = (name.to_owned(), value.to_owned());
        self.transact(Urgency::Batch, move |ledger| Ok(ledger.tx.save_cursor(&name, &value)?)).await
    }

    /// Whether a delivery that was sent to an account was taken before.
    ///
    /// # Errors
    /// The store's.
    pub async fn knows_delivery(&self, account: &str, id: &str) -> Result<bool, Error> {
        let (account, id) = (account.to_owned(), id.to_owned());
        self.store.read(move |reader| Ok(reader.knows_delivery(&account, &id)?)).await
    }

    /// Remembers a delivery; false if it is known already. Call it only when what it brought is durable in the bus.
    ///
    /// # Errors
    /// The store's.
    pub async fn keep_delivery(&self, account: &str, id: &str) -> Result<bool, Error> {
        let (account, id) = (account.to_owned(), id.to_owned());
        self.transact(Urgency::Person, move |ledger| Ok(ledger.tx.keep_delivery(&account, &id)?)).await
    }

    /// What an account keeps under a name, such as how its streams fare.
    ///
    /// # Errors
    /// The store's.
    pub async fn source_state(&self, account: &str, name: &str) -> Result<Option<String>, Error> {
        let (account, name) = (account.to_owned(), name.to_owned());
        self.store.read(move |reader| Ok(reader.source_state(&account, &name)?)).await
    }

    /// Keeps something of an account under a name.
    ///
    /// # Errors
    /// The store's.
    pub async fn save_source_state(&self, account: &str, name: &str, value: &str) -> Result<(), Error> {
        let (account, name, value) = (account.to_owned(), name.to_owned(), value.to_owned());
        self.transact(Urgency::Batch, move |ledger| Ok(ledger.tx.save_source_state(&account, &name, &value)?)).await
    }

    /// The global id of a stored mention that is called so, globally or by the platform's API.
    ///
    /// # Errors
    /// The store's.
    pub async fn native_id(&self, source: &str, called: &str) -> Result<Option<String>, Error> {
        let (source, called) = (source.to_owned(), called.to_owned());
        self.store.read(move |reader| Ok(reader.native_id(&source, &called)?)).await
    }

    /// The posts that cases of a source began with which are still open, newest first.
    ///
    /// # Errors
    /// The store's.
    pub async fn open_threads(&self, source: &str, since: Time, limit: usize) -> Result<Vec<Watched>, Error> {
        let source = source.to_owned();
        let limit = u32::try_from(limit).unwrap_or(u32::MAX);
        self.store.read(move |reader| Ok(reader.open_threads(&source, since, limit)?)).await
    }

    /// Mentions of a source to look at again for edits and deletes, newest first.
    ///
    /// # Errors
    /// The store's.
    pub async fn watched(&self, source: &str, since: Time, limit: usize) -> Result<Vec<Watched>, Error> {
        let source = source.to_owned();
        let limit = u32::try_from(limit).unwrap_or(u32::MAX);
        self.store.read(move |reader| Ok(reader.watched(&source, since, limit)?)).await
    }

    /// The next due reply of these accounts; it is committed as sending before this returns.
    ///
    /// # Errors
    /// The store's.
    pub async fn take_reply(&self, accounts: &[String]) -> Result<Option<Outgoing>, Error> {
        let accounts = accounts.to_vec();
        self.transact(Urgency::Person, move |ledger| Ok(ledger.tx.take_reply(&accounts)?)).await
    }

    /// Replies that were being sent when the process ended.
    ///
    /// # Errors
    /// The store's.
    pub async fn replies_in_doubt(&self) -> Result<Vec<Outgoing>, Error> {
        self.store.read(|reader| Ok(reader.replies_in_doubt()?)).await
    }

    /// When the next queued reply is due, if any waits.
    ///
    /// # Errors
    /// The store's.
    pub async fn next_reply_due(&self) -> Result<Option<Time>, Error> {
        self.store.read(|reader| Ok(reader.next_reply_due()?)).await
    }

    /// Wakes whenever a reply was queued.
    pub fn replies_due(&self) -> watch::Receiver<u64> {
        self.outbox.subscribe()
    }

    pub(super) fn outbox_changed(&self) {
        self.outbox.send_modify(|changes| *changes += 1);
    }

    /// The platform has the reply: the clocks stop at its time of acceptance. Telling it twice changes nothing.
    ///
    /// # Errors
    /// The store's.
    pub async fn reply_sent(&self, id: ReplyId, receipt: Receipt) -> Result<(), Error> {
        self.on_reply(id, move |ledger, case, reply| {
            if reply.state == ReplyState::Sent {
                return Ok(());
            }
            ledger.tx.set_reply_sent(reply.id, &receipt.native_id, receipt.url.as_deref(), receipt.at)?;
            let Some(case) = case else { return Ok(()) };
            ledger.answered(case, receipt.at);
            ledger.event(case, Actor::Agent(reply.agent), EventKind::ReplySent, Some(serde_json::json!({ "reply": reply.id })));
            Ok(())
        })
        .await
    }

    /// The platform refused the reply, or could not be reached: tried again at `retry_at`, or left to a person.
    ///
    /// # Errors
    /// The store's.
    pub async fn reply_failed(&self, id: ReplyId, reason: &str, retry_at: Option<Time>) -> Result<(), Error> {
        let reason = reason.to_owned();
        self.on_reply(id, move |ledger, case, reply| {
            if reply.state != ReplyState::Sending {
                return Ok(());
            }
            let state = if retry_at.is_some() { ReplyState::Queued } else { ReplyState::Failed };
            ledger.tx.set_reply_state(reply.id, state, Some(&reason), retry_at)?;
            if let (Some(case), None) = (case, retry_at) {
                ledger.event(case, Actor::System, EventKind::ReplyFailed, Some(serde_json::json!({ "reply": reply.id })));
            }
            Ok(())
        })
        .await?;
        self.outbox_changed();
        Ok(())
    }

    /// Nobody knows whether the platform has it: shown to the agent, never sent again by itself.
    ///
    /// # Errors
    /// The store's.
    pub async fn reply_unknown(&self, id: ReplyId, reason: &str) -> Result<(), Error> {
        let reason = reason.to_owned();
        self.on_reply(id, move |ledger, case, reply| {
            if reply.state != ReplyState::Sending {
                return Ok(());
            }
            ledger.tx.set_reply_state(reply.id, ReplyState::Unknown, Some(&reason), None)?;
            if let Some(case) = case {
                ledger.event(case, Actor::System, EventKind::ReplyUnknown, Some(serde_json::json!({ "reply": reply.id })));
            }
            Ok(())
        })
        .await
    }

    async fn on_reply(
        &self,
        id: ReplyId,
        mut work: impl FnMut(&mut super::Ledger<'_, '_>, Option<&mut crate::queue::Case>, &Reply) -> Result<(), Error>
        + Send
        + 'static,
    ) -> Result<(), Error> {
        self.transact(Urgency::Person, move |ledger| {
            let Some(reply) = ledger.tx.load_reply(id)? else { return Ok(()) };
            let case: CaseId = reply.case;
            let mut case = ledger.tx.load_case(case)?;
            if let Some(case) = &mut case {
                ledger.settle(case);
            }
            work(ledger, case.as_mut(), &reply)?;
            if let Some(case) = &case {
                ledger.tx.save_case(case)?;
            }
            Ok(())
        })
        .await
    }

    /// Keeps what an account's connector can do, so that pages know without asking a platform.
    ///
    /// # Errors
    /// The store's.
    pub async fn set_account(&self, account: &str, capability: Capability) -> Result<(), Error> {
        let name = account.to_owned();
        self.transact(Urgency::Person, move |ledger| Ok(ledger.tx.set_capability(&name, &capability)?)).await?;
        self.store.refresh_catalog().await?;
        Ok(())
    }

    /// Ids of posts whose text must still leave the bus.
    ///
    /// # Errors
    /// The store's.
    pub async fn pending_erasures(&self) -> Result<Vec<Erasure>, Error> {
        self.transact(Urgency::Batch, |ledger| Ok(ledger.tx.pending_erasures()?)).await
    }

    /// The bus has erased these.
    ///
    /// # Errors
    /// The store's.
    pub async fn erasures_done(&self, done: Vec<Erasure>) -> Result<(), Error> {
        self.transact(Urgency::Batch, move |ledger| Ok(ledger.tx.erasures_done(&done)?)).await
    }
}
