//! The outbox: replies on their way to a platform, and the cursors of the streams that come from there.

use std::collections::BTreeMap;

use super::{Error, Reader, Tx, sql::Row};
use crate::{
    case::{AccountId, CaseId, ReplyId, ReplyState},
    clock::Time,
    mention::{Engagement, Lang, Mark, MentionId},
    staff::AgentId,
};

/// A reply in the outbox.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Row id.
    pub id: ReplyId,
    /// The case it answers.
    pub case: CaseId,
    /// The mention it answers.
    pub mention: MentionId,
    /// The account that answers.
    pub account: AccountId,
    /// Who wrote it.
    pub agent: AgentId,
    /// What goes out, signed.
    pub text: String,
    /// Where it stands.
    pub state: ReplyState,
    /// When it was written.
    pub created_at: Time,
    /// Not before this.
    pub due_at: Time,
    /// Calls made so far.
    pub attempts: u32,
    /// The platform's own id, once sent.
    pub native_id: Option<String>,
    /// Where it can be read, once sent.
    pub url: Option<String>,
    /// The platform's time of acceptance.
    pub sent_at: Option<Time>,
    /// Why it failed or is unknown, in words.
    pub reason: Option<String>,
}

/// A reply with all that a connector needs to deliver it.
#[derive(Clone, Debug, PartialEq)]
pub struct Outgoing {
    /// Row id.
    pub id: ReplyId,
    /// Key of the account that answers.
    pub account: String,
    /// What goes out, signed.
    pub text: String,
    /// Global id of the mention that is answered.
    pub target_native_id: String,
    /// How the platform's API calls it.
    pub target_local_ref: Option<String>,
    /// Its author's handle.
    pub target_handle: String,
    /// Its visibility, which a reply never widens.
    pub visibility: Option<String>,
    /// Sent with each try, so that a platform that honours it takes the reply once.
    pub idempotency_key: String,
    /// Language of the conversation.
    pub lang: Lang,
    /// Calls made so far, this one included.
    pub attempts: u32,
    /// Global id of the post that began its thread, where that is another one.
    pub target_conversation: Option<String>,
    /// What its connector kept of it.
    pub extra: BTreeMap<String, String>,
}

/// A mention to look at again: its text may have changed, or be gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watched {
    /// Global id.
    pub native_id: String,
    /// How the platform's API calls it.
    pub local_ref: String,
    /// Which version is stored.
    pub version: i64,
    /// What the platform had counted.
    pub engagement: Option<Engagement>,
}

const REPLY_COLUMNS: &str = "r.id, r.case_id, r.mention_id, r.account_id, r.agent_id, r.text, r.state, r.created_at, r.due_at, r.attempts, \
     r.native_id, r.url, r.sent_at, r.reason";

fn reply_of(row: &Row<'_>) -> Result<Reply, Error> {
    let state: String = row.get(6)?;
    Ok(Reply {
        id: ReplyId(row.get(0)?),
        case: CaseId(row.get(1)?),
        mention: MentionId(row.get(2)?),
        account: AccountId(row.get(3)?),
        agent: AgentId(row.get(4)?),
        text: row.get(5)?,
        state: ReplyState::parse(&state).unwrap_or(ReplyState::Unknown),
        created_at: Time(row.get(7)?),
        due_at: Time(row.get(8)?),
        attempts: row.get(9)?,
        native_id: row.get(10)?,
        url: row.get(11)?,
        sent_at: row.get::<Option<i64>>(12)?.map(Time),
        reason: row.get(13)?,
    })
}

fn outgoing_of(row: &Row<'_>) -> Result<Outgoing, Error> {
    let lang: String = row.get(8)?;
    Ok(Outgoing {
        id: ReplyId(row.get(0)?),
        account: row.get(1)?,
        text: row.get(2)?,
        target_native_id: row.get(3)?,
        target_local_ref: row.get(4)?,
        target_handle: row.get(5)?,
        visibility: row.get(6)?,
        idempotency_key: row.get(7)?,
        lang: Lang::parse(&lang).unwrap_or_default(),
        attempts: row.get(9)?,
        target_conversation: row.get(10)?,
        extra: row.get::<Option<String>>(11)?.and_then(|extra| serde_json::from_str(&extra).ok()).unwrap_or_default(),
    })
}

const OUTGOING: &str =
    "SELECT r.id, a.key, r.text, m.native_id, m.local_ref, c.handle, m.visibility, r.idempotency_key, m.lang, r.attempts,
                 first.native_id, x.extra FROM reply r JOIN account a ON a.id = r.account_id JOIN mention m ON m.id =
                 r.mention_id JOIN contact c ON c.id = m.contact_id LEFT JOIN mention first ON first.id = m.conversation
                 AND first.id <> m.id LEFT JOIN mention_extra x ON x.mention_id = m.id";

impl Tx<'_> {
    /// Puts a reply into the outbox.
    ///
    /// # Errors
    /// When the store cannot be written.
    #[expect(clippy::too_many_arguments, reason = "a row has that many columns")]
    pub fn insert_reply(
        &mut self,
        case: CaseId,
        mention: MentionId,
        account: AccountId,
        agent: AgentId,
        text: &str,
        state: ReplyState,
        due_at: Time,
        idempotency_key: &str,
    ) -> Result<ReplyId, Error> {
        let id = self.sql.insert(
            "INSERT INTO reply (case_id, mention_id, account_id, agent_id, text, state, created_at, due_at, idempotency_key)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            &[
                case.0.into(),
                mention.0.into(),
                account.0.into(),
                agent.0.into(),
                text.into(),
                state.as_str().into(),
                self.now.0.into(),
                due_at.0.into(),
                idempotency_key.into(),
            ],
        )?;
        Ok(ReplyId(id))
    }

    /// Loads a reply, and keeps others from changing it until this transaction ends; none when there is no such row.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn load_reply(&self, id: ReplyId) -> Result<Option<Reply>, Error> {
        // First the case and then the reply, as every command takes them: so no two wait for each other.
        if self.sql.shared() {
            let case = "SELECT 1 FROM cases WHERE id = (SELECT case_id FROM reply WHERE id = ?1) FOR UPDATE";
            self.sql.each(case, &[id.0.into()], |_| Ok(()))?;
        }
        let lock = self.sql.pick("", "FOR UPDATE");
        let sql = format!("SELECT {REPLY_COLUMNS} FROM reply r WHERE r.id = ?1 {lock}");
        self.sql.optional(&sql, &[id.0.into()], reply_of)
    }

    /// The newest reply of a case that left or may yet leave, if it was written at `since` or later.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn recent_reply(&self, case: CaseId, mention: MentionId, since: Time) -> Result<Option<Reply>, Error> {
        let sql = format!(
            "SELECT {REPLY_COLUMNS} FROM reply r WHERE r.case_id = ?1 AND r.mention_id = ?2 AND r.created_at >= ?3
             AND r.state IN ('queued', 'sending', 'sent', 'unknown', 'parked') ORDER BY r.id DESC LIMIT 1"
        );
        self.sql.optional(&sql, &[case.0.into(), mention.0.into(), since.0.into()], reply_of)
    }

    /// The reply that the platform knows by this id.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn reply_with_native_id(&self, native_id: &str) -> Result<Option<ReplyId>, Error> {
        self.sql.optional("SELECT id FROM reply WHERE native_id = ?1", &[native_id.into()], |row| Ok(ReplyId(row.get(0)?)))
    }

    /// The reply of a case that is being sent, or may have been, and says what `text` says.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn reply_in_flight(&self, case: CaseId, text: &str) -> Result<Option<ReplyId>, Error> {
        self.sql.optional(
            self.sql.pick(
                "SELECT id FROM reply WHERE case_id = ?1 AND state IN ('sending', 'unknown', 'parked') AND instr(?2, text) > 0
                 ORDER BY id DESC LIMIT 1",
                "SELECT id FROM reply WHERE case_id = ?1 AND state IN ('sending', 'unknown', 'parked') AND strpos(?2, text) > 0
                 ORDER BY id DESC LIMIT 1",
            ),
            &[case.0.into(), text.into()],
            |row| Ok(ReplyId(row.get(0)?)),
        )
    }

    /// Moves a reply to another state.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn set_reply_state(
        &mut self,
        id: ReplyId,
        state: ReplyState,
        reason: Option<&str>,
        due_at: Option<Time>,
    ) -> Result<(), Error> {
        self.sql.execute(
            "UPDATE reply SET state = ?2, reason = ?3, due_at = coalesce(?4, due_at) WHERE id = ?1",
            &[id.0.into(), state.as_str().into(), reason.into(), due_at.map(|at| at.0).into()],
        )?;
        Ok(())
    }

    /// Notes that the platform has a reply.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn set_reply_sent(&mut self, id: ReplyId, native_id: &str, url: Option<&str>, at: Time) -> Result<(), Error> {
        self.sql.execute(
            "UPDATE reply SET state = 'sent', native_id = ?2, url = ?3, sent_at = ?4, reason = NULL WHERE id = ?1",
            &[id.0.into(), native_id.into(), url.into(), at.0.into()],
        )?;
        Ok(())
    }

    /// Takes the next due reply of these accounts and marks it as sending.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn take_reply(&mut self, accounts: &[String]) -> Result<Option<Outgoing>, Error> {
        let lock = self.sql.pick("", "FOR UPDATE OF r SKIP LOCKED");
        let sql = format!(
            "{OUTGOING} WHERE r.state = 'queued' AND r.due_at <= ?1 AND a.key IN (SELECT value FROM json_each(?2))
             ORDER BY r.due_at LIMIT 1 {lock}"
        );
        let taken = self.sql.optional(&sql, &[self.now.0.into(), accounts.into()], outgoing_of)?;
        let Some(mut taken) = taken else {
            return Ok(None);
        };
        self.sql.execute("UPDATE reply SET state = 'sending', attempts = attempts + 1 WHERE id = ?1", &[taken.id.0.into()])?;
        taken.attempts += 1;
        Ok(Some(taken))
    }

    /// Remembers how far a stream has been read; what it names is in the bus already.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn save_cursor(&mut self, name: &str, value: &str) -> Result<(), Error> {
        self.sql.execute(
            "INSERT INTO stream_cursor (name, value, saved_at) VALUES (?1, ?2, ?3)
                 ON CONFLICT (name) DO UPDATE SET value = excluded.value, saved_at = excluded.saved_at",
            &[name.into(), value.into(), self.now.0.into()],
        )?;
        Ok(())
    }
}

impl Reader<'_> {
    /// How far a stream has been read.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn cursor(&self, name: &str) -> Result<Option<String>, Error> {
        self.sql.optional("SELECT value FROM stream_cursor WHERE name = ?1", &[name.into()], |row| row.get(0))
    }

    /// Where a consumer of the bus goes on; at the beginning when it is new.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn mark(&self, consumer: &str, part: i64) -> Result<Mark, Error> {
        Ok(self
            .sql
            .optional(
                "SELECT log, next FROM position WHERE consumer = ?1 AND part = ?2",
                &[consumer.into(), part.into()],
                |row| Ok(Mark { log: row.get::<String>(0)?.into(), next: row.get(1)? }),
            )?
            .unwrap_or_default())
    }

    /// Replies that were being sent when the process ended: nobody knows what became of them.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn replies_in_doubt(&self) -> Result<Vec<Outgoing>, Error> {
        let sql = format!("{OUTGOING} WHERE r.state = 'sending' ORDER BY r.id");
        self.sql.all(&sql, &[], outgoing_of)
    }

    /// When the next queued reply is due.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn next_reply_due(&self) -> Result<Option<Time>, Error> {
        let due: Option<i64> = self.sql.one("SELECT min(due_at) FROM reply WHERE state = 'queued'", &[], |row| row.get(0))?;
        Ok(due.map(Time))
    }

    /// The replies of a case, oldest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn replies(&self, case: CaseId) -> Result<Vec<Reply>, Error> {
        let sql = format!("SELECT {REPLY_COLUMNS} FROM reply r WHERE r.case_id = ?1 ORDER BY r.id");
        self.sql.all(&sql, &[case.0.into()], reply_of)
    }
}
