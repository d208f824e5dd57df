//! Cases and their clocks, as the desk loads and saves them within a transaction.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use super::{
    Case, Error, NewEvent, Tx,
    sql::{Row, Sql, Value, bulk},
};
use crate::{
    case::{AccountId, BrandId, CaseId, Priority, Status},
    clock::Time,
    mention::{ContactId, Label, MentionId},
    sla::{BreachReason, CancelReason, Kind, Origin, PolicyRef, SlaClock, State},
    staff::{AgentId, TeamId},
};

pub(super) const CASE_COLUMNS: &str = "c.id, c.brand_id, c.account_id, c.contact_id, c.conversation, c.mention_id, c.latest_mention_id, \
     c.mentions, c.status, c.priority, c.team_id, c.assignee_id, c.label, c.confidence, c.unsure, c.labelled_by, c.rule, c.rules, \
     c.opened_at, c.resolved_at, c.disposition, c.transfers, c.unanswered_since, c.signature, c.notes, p.key, p.version";

pub(super) const CLOCK_COLUMNS: &str = "k.kind, k.cycle, p.key, p.version, k.state, k.origin_at, k.origin_source, k.target, k.elapsed, k.since, \
     k.deadline_at, k.fired, k.next_fire_at, k.met_at, k.breached_at, k.detected_at, k.cancelled, k.breach_reason";

/// A column that holds what no version of this program writes.
pub(super) fn unknown(what: &'static str) -> Error {
    Error::Unknown { what }
}

/// The member of an enum that a number stands for.
pub(super) fn member<T: Copy>(all: &[T], number: i64, what: &'static str) -> Result<T, Error> {
    usize::try_from(number).ok().and_then(|index| all.get(index)).copied().ok_or_else(|| unknown(what))
}

pub(super) fn case_of(row: &Row<'_>) -> Result<Case, Error> {
    let status: String = row.get(8)?;
    let label: String = row.get(12)?;
    let policy: String = row.get(25)?;
    Ok(Case {
        id: CaseId(row.get(0)?),
        brand: BrandId(row.get(1)?),
        account: AccountId(row.get(2)?),
        contact: ContactId(row.get(3)?),
        conversation: row.get(4)?,
        mention: MentionId(row.get(5)?),
        latest_mention: MentionId(row.get(6)?),
        mentions: row.get(7)?,
        status: Status::parse(&status).ok_or_else(|| unknown("status"))?,
        priority: member(&Priority::ALL, row.get(9)?, "priority")?,
        team: TeamId(row.get(10)?),
        assignee: row.get::<Option<i64>>(11)?.map(AgentId),
        label: Label::parse(&label).ok_or_else(|| unknown("label"))?,
        confidence: row.get(13)?,
        unsure: row.get(14)?,
        labelled_by: row.get::<Option<i64>>(15)?.map(AgentId),
        rule: row.get(16)?,
        rules: row.get(17)?,
        opened_at: Time(row.get(18)?),
        resolved_at: row.get::<Option<i64>>(19)?.map(Time),
        disposition: row.get(20)?,
        transfers: row.get(21)?,
        unanswered_since: row.get::<Option<i64>>(22)?.map(Time),
        signature: row.get::<i64>(23)?.cast_unsigned(),
        notes: row.get(24)?,
        policy: PolicyRef { id: policy.into(), version: row.get(26)? },
        clocks: Vec::new(),
    })
}

pub(super) fn clock_of(row: &Row<'_>) -> Result<SlaClock, Error> {
    let policy: String = row.get(2)?;
    let span = |index: usize| -> Result<Duration, Error> {
        Ok(Duration::from_millis(u64::try_from(row.get::<i64>(index)?).unwrap_or(0)))
    };
    let cancelled: Option<String> = row.get(16)?;
    let breach_reason: Option<String> = row.get(17)?;
    Ok(SlaClock {
        kind: member(&Kind::ALL, row.get(0)?, "clock kind")?,
        cycle: row.get(1)?,
        policy: PolicyRef { id: policy.into(), version: row.get(3)? },
        state: member(&State::ALL, row.get(4)?, "clock state")?,
        origin_at: Time(row.get(5)?),
        origin_source: if row.get::<i64>(6)? == 0 { Origin::Posted } else { Origin::Ingested },
        target: span(7)?,
        elapsed: span(8)?,
        since: Time(row.get(9)?),
        deadline_at: Time(row.get(10)?),
        fired: row.get(11)?,
        next_fire_at: row.get::<Option<i64>>(12)?.map_or(Time::NEVER, Time),
        met_at: row.get::<Option<i64>>(13)?.map(Time),
        breached_at: row.get::<Option<i64>>(14)?.map(Time),
        detected_at: row.get::<Option<i64>>(15)?.map(Time),
        cancelled: cancelled.map(|word| CancelReason::parse(&word).ok_or_else(|| unknown("cancel reason"))).transpose()?,
        breach_reason: breach_reason
            .map(|word| BreachReason::parse(&word).ok_or_else(|| unknown("breach reason")))
            .transpose()?,
    })
}

/// What a new case starts with; its number comes from the store.
#[derive(Clone, Debug)]
pub struct NewCase {
    /// Whose customer it is.
    pub brand: BrandId,
    /// The account that was addressed.
    pub account: AccountId,
    /// The customer.
    pub contact: ContactId,
    /// The thread.
    pub conversation: i64,
    /// The mention that opens it.
    pub mention: MentionId,
    /// How much it presses.
    pub priority: Priority,
    /// Whose queue it goes to.
    pub team: TeamId,
    /// Its label.
    pub label: Label,
    /// The classifier's confidence.
    pub confidence: f32,
    /// A person must sort it.
    pub unsure: bool,
    /// The dispatch rule that decided.
    pub rule: String,
    /// Version of the rules.
    pub rules: u32,
    /// Which policy its clocks follow.
    pub policy: PolicyRef,
    /// Since when the customer waits.
    pub unanswered_since: Time,
    /// Signature of the text.
    pub signature: u64,
    /// Its clocks, already started.
    pub clocks: Vec<SlaClock>,
}

impl Tx<'_> {
    fn policy_row(&mut self, policy: &PolicyRef) -> Result<i64, Error> {
        let key: Arc<str> = Arc::clone(&policy.id);
        if let Some(id) = self.memory.policies.get(&(Arc::clone(&key), policy.version)) {
            return Ok(*id);
        }
        self.sql.execute(
            "INSERT INTO policy (key, version) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
            &[(&*policy.id).into(), policy.version.into()],
        )?;
        let id = self.sql.one(
            "SELECT id FROM policy WHERE key = ?1 AND version = ?2",
            &[(&*policy.id).into(), policy.version.into()],
            |row| row.get(0),
        )?;
        self.memory.policies.insert((key, policy.version), id);
        Ok(id)
    }

    /// Opens a case with its clocks and returns its number.
    ///
    /// # Errors
    /// When the store cannot be written, or an unfinished case of this brand, contact and conversation exists.
    pub fn insert_case(&mut self, new: &NewCase) -> Result<CaseId, Error> {
        let policy = self.policy_row(&new.policy)?;
        let (due, overdue) = standing(&new.clocks);
        let id = self.sql.add(
            &bulk::CASES,
            &[
                new.brand.0.into(),
                new.account.0.into(),
                new.contact.0.into(),
                new.conversation.into(),
                new.mention.0.into(),
                new.mention.0.into(),
                Status::New.as_str().into(),
                (new.priority as i64).into(),
                new.team.0.into(),
                new.label.as_str().into(),
                new.confidence.into(),
                new.unsure.into(),
                (&new.rule).into(),
                new.rules.into(),
                policy.into(),
                self.now.0.into(),
                self.now.0.into(),
                new.unanswered_since.0.into(),
                due.into(),
                overdue.into(),
                new.signature.cast_signed().into(),
            ],
        )?;
        let case = CaseId(id);
        if let Some(known) = &mut self.known {
            known.case_is((new.brand, new.contact, new.conversation), case, 0, new.account, new.signature);
            known.hold(case, new.mention);
            known.keep(&opened(new, case, self.now));
        }
        for clock in &new.clocks {
            let values = clock_values(case, self.policy_row(&clock.policy)?, clock);
            self.sql.add(&bulk::CLOCK, &values)?;
        }
        Ok(case)
    }

    /// Loads a case with its clocks, and keeps others from changing it until this transaction ends; none when there is no such number.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn load_case(&mut self, id: CaseId) -> Result<Option<Case>, Error> {
        if let Some(case) = self.known.as_ref().and_then(|known| known.case(id)) {
            return Ok(Some(case));
        }
        let lock = self.sql.pick("", "FOR UPDATE OF c");
        let sql = format!("SELECT {CASE_COLUMNS} FROM cases c JOIN policy p ON p.id = c.policy_id WHERE c.id = ?1 {lock}");
        let case = self.sql.optional(&sql, &[id.0.into()], case_of)?;
        let Some(mut case) = case else { return Ok(None) };
        self.clocks(&[id.0], |_, clock| case.clocks.push(clock))?;
        if let Some(known) = &mut self.known {
            known.keep(&case);
        }
        Ok(Some(case))
    }

    /// Loads cases like [`Tx::load_case`], in one order for all processes.
    pub(super) fn load_cases(&self, ids: &[i64]) -> Result<Vec<Case>, Error> {
        self.load_locked(ids, self.sql.pick("", "FOR UPDATE OF c"))
    }

    /// Loads those of the cases that no other process works on right now.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn load_free_cases(&self, ids: &[CaseId]) -> Result<Vec<Case>, Error> {
        let ids: Vec<i64> = ids.iter().map(|id| id.0).collect();
        self.load_locked(&ids, self.sql.pick("", "FOR UPDATE OF c SKIP LOCKED"))
    }

    fn load_locked(&self, ids: &[i64], lock: &str) -> Result<Vec<Case>, Error> {
        let sql = format!(
            "SELECT {CASE_COLUMNS} FROM cases c JOIN policy p ON p.id = c.policy_id
             WHERE c.id IN (SELECT value FROM json_each(?1)) ORDER BY c.id {lock}"
        );
        let cases = self.sql.all(&sql, &[ids.into()], case_of)?;
        let mut cases: BTreeMap<i64, Case> = cases.into_iter().map(|case| (case.id.0, case)).collect();
        self.clocks(ids, |case, clock| {
            if let Some(case) = cases.get_mut(&case) {
                case.clocks.push(clock);
            }
        })?;
        Ok(cases.into_values().collect())
    }

    fn clocks(&self, cases: &[i64], take: impl FnMut(i64, SlaClock)) -> Result<(), Error> {
        clocks_of(self.sql, cases, take)
    }

    /// The newest case of this brand, contact and conversation, finished or not.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn case_in_conversation(
        &mut self,
        brand: BrandId,
        contact: ContactId,
        conversation: i64,
    ) -> Result<Option<Case>, Error> {
        if let Some(case) = self.known.as_ref().and_then(|known| known.thread(brand, contact, conversation)) {
            return case.map_or(Ok(None), |id| self.load_case(id));
        }
        let id: Option<i64> = self.sql.optional(
            "SELECT id FROM cases WHERE contact_id = ?1 AND conversation = ?2 AND brand_id = ?3 ORDER BY finished = 0
                 DESC, finished DESC LIMIT 1",
            &[contact.0.into(), conversation.into(), brand.0.into()],
            |row| row.get(0),
        )?;
        id.map_or(Ok(None), |id| self.load_case(CaseId(id)))
    }

    /// Unfinished cases of a contact elsewhere, with their accounts and the signatures of their first texts.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn other_cases(&self, brand: BrandId, contact: ContactId) -> Result<Vec<(CaseId, AccountId, u64)>, Error> {
        if let Some(cases) = self.known.as_ref().and_then(|known| known.other_cases(brand, contact)) {
            return Ok(cases);
        }
        // A contact with more open cases than this is no person with one problem.
        self.sql.all(
            "SELECT id, account_id, signature FROM cases WHERE contact_id = ?1 AND brand_id = ?2 AND finished = 0 LIMIT 8",
            &[contact.0.into(), brand.0.into()],
            |row| Ok((CaseId(row.get(0)?), AccountId(row.get(1)?), row.get::<i64>(2)?.cast_unsigned())),
        )
    }

    /// Brand and signature of the newest cases, opened at `since` or later, whose post addresses nobody: what copies of
    /// a text are known by.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn overheard(&self, since: Time) -> Result<Vec<(BrandId, u64)>, Error> {
        self.sql.all(
            "SELECT c.brand_id, c.signature FROM cases c JOIN mention_match m ON m.mention_id = c.mention_id AND m.brand_id =
                 c.brand_id WHERE c.id > (SELECT max(id) FROM cases) - 2000 AND c.opened_at >= ?1 AND c.signature <> 0 AND
                 m.addressed = 0",
            &[since.0.into()],
            |row| Ok((BrandId(row.get(0)?), row.get::<i64>(1)?.cast_unsigned())),
        )
    }

    /// Unfinished cases of a brand that hold mentions of a conversation: what one answer of ours answers.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn cases_of_mention(&self, mention: MentionId) -> Result<Vec<CaseId>, Error> {
        if let Some(cases) = self.known.as_ref().and_then(|known| known.holders(mention)) {
            return Ok(cases);
        }
        self.sql.all(
            "SELECT id FROM cases WHERE mention_id = ?1 UNION SELECT case_id FROM case_mention WHERE mention_id = ?1
                 ORDER BY 1",
            &[mention.0.into()],
            |row| Ok(CaseId(row.get(0)?)),
        )
    }

    /// Adds a mention to a case.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn join_mention(&mut self, case: CaseId, mention: MentionId) -> Result<(), Error> {
        if let Some(known) = &mut self.known {
            known.hold(case, mention);
        }
        self.sql.add(&bulk::CASE_MENTION, &[case.0.into(), mention.0.into()])?;
        Ok(())
    }

    /// Writes a case back with all its clocks.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn save_case(&mut self, case: &Case) -> Result<(), Error> {
        let finished = if case.status.unfinished() { 0 } else { case.id.0 };
        let policy = self.policy_row(&case.policy)?;
        let (due, overdue) = standing(&case.clocks);
        self.sql.forget(&bulk::CASES_SAVED, case.id.0);
        self.sql.add(
            &bulk::CASES_SAVED,
            &[
                case.id.0.into(),
                case.account.0.into(),
                case.latest_mention.0.into(),
                case.mentions.into(),
                finished.into(),
                case.status.as_str().into(),
                (case.priority as i64).into(),
                case.team.0.into(),
                case.assignee.map(|agent| agent.0).into(),
                case.label.as_str().into(),
                case.confidence.into(),
                case.unsure.into(),
                case.labelled_by.map(|agent| agent.0).into(),
                policy.into(),
                self.now.0.into(),
                case.resolved_at.map(|at| at.0).into(),
                (&case.disposition).into(),
                case.transfers.into(),
                case.unanswered_since.map(|at| at.0).into(),
                due.into(),
                overdue.into(),
                case.notes.into(),
            ],
        )?;
        if let Some(known) = &mut self.known {
            let key = (case.brand, case.contact, case.conversation);
            known.case_is(key, case.id, finished, case.account, case.signature);
            known.keep(case);
        }
        self.sql.forget(&bulk::CLOCK, case.id.0);
        for clock in &case.clocks {
            let values = clock_values(case.id, self.policy_row(&clock.policy)?, clock);
            self.sql.add(&bulk::CLOCK, &values)?;
        }
        Ok(())
    }

    /// Writes a note, or the reason of a hand-over.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn insert_note(&mut self, case: CaseId, agent: AgentId, kind: &str, text: &str) -> Result<i64, Error> {
        let id = self.sql.insert(
            "INSERT INTO note (case_id, agent_id, at, kind, text) VALUES (?1, ?2, ?3, ?4, ?5)",
            &[case.0.into(), agent.0.into(), self.now.0.into(), kind.into(), text.into()],
        )?;
        Ok(id)
    }

    /// Opens or closes the pause of a clock, for the record.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn record_pause(&mut self, case: CaseId, clock: &SlaClock, reason: Option<&str>) -> Result<(), Error> {
        match reason {
            Some(reason) => self.sql.execute(
                "INSERT INTO pause (case_id, kind, cycle, started_at, reason) VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO
                 NOTHING",
                &[case.0.into(), (clock.kind as i64).into(), clock.cycle.into(), self.now.0.into(), reason.into()],
            )?,
            None => self.sql.execute(
                "UPDATE pause SET ended_at = ?4 WHERE case_id = ?1 AND kind = ?2 AND cycle = ?3 AND ended_at IS NULL",
                &[case.0.into(), (clock.kind as i64).into(), clock.cycle.into(), self.now.0.into()],
            )?,
        };
        Ok(())
    }

    /// Shorthand for an event of this moment about a case.
    pub fn case_event(
        &mut self,
        case: CaseId,
        mention: Option<MentionId>,
        actor: crate::case::Actor,
        kind: crate::case::EventKind,
        payload: Option<String>,
    ) {
        let at = self.now;
        self.event(NewEvent { case: Some(case), mention, at, actor, kind, payload });
    }
}

/// The clocks of cases, for each case by kind and cycle.
pub(super) fn clocks_of(sql: &Sql, cases: &[i64], mut take: impl FnMut(i64, SlaClock)) -> Result<(), Error> {
    let text = format!(
        "SELECT {CLOCK_COLUMNS}, k.case_id FROM clock k JOIN policy p ON p.id = k.policy_id
         WHERE k.case_id IN (SELECT value FROM json_each(?1)) ORDER BY k.case_id, k.kind, k.cycle"
    );
    sql.each(&text, &[cases.into()], |row| {
        take(row.get(18)?, clock_of(row)?);
        Ok(())
    })
}

/// A new case as it would be loaded.
fn opened(new: &NewCase, id: CaseId, now: Time) -> Case {
    let mut clocks = new.clocks.clone();
    clocks.sort_by_key(|clock| (clock.kind as i64, clock.cycle));
    Case {
        id,
        brand: new.brand,
        account: new.account,
        contact: new.contact,
        conversation: new.conversation,
        mention: new.mention,
        latest_mention: new.mention,
        mentions: 1,
        status: Status::New,
        priority: new.priority,
        team: new.team,
        assignee: None,
        label: new.label,
        confidence: new.confidence,
        unsure: new.unsure,
        labelled_by: None,
        rule: new.rule.clone(),
        rules: new.rules,
        opened_at: now,
        resolved_at: None,
        disposition: None,
        transfers: 0,
        unanswered_since: Some(new.unanswered_since),
        signature: new.signature,
        notes: 0,
        policy: new.policy.clone(),
        clocks,
    }
}

/// What the queue orders by: the nearest open deadline, and whether any clock is breached and still owed.
fn standing(clocks: &[SlaClock]) -> (Option<i64>, bool) {
    let due = clocks.iter().filter(|clock| clock.state.open()).map(|clock| clock.deadline_at.0).min();
    (due, clocks.iter().any(|clock| clock.state == State::Breached))
}

/// A clock's columns, in the order of its table.
fn clock_values(case: CaseId, policy: i64, clock: &SlaClock) -> [Value<'static>; 18] {
    let time = |at: Option<Time>| at.map(|at| at.0).into();
    [
        case.0.into(),
        (clock.kind as i64).into(),
        clock.cycle.into(),
        policy.into(),
        (clock.state as i64).into(),
        clock.origin_at.0.into(),
        i64::from(clock.origin_source == Origin::Ingested).into(),
        millis(clock.target).into(),
        millis(clock.elapsed).into(),
        clock.since.0.into(),
        clock.deadline_at.0.into(),
        clock.fired.into(),
        time((clock.next_fire_at != Time::NEVER).then_some(clock.next_fire_at)),
        time(clock.met_at),
        time(clock.breached_at),
        time(clock.detected_at),
        clock.cancelled.map(CancelReason::as_str).into(),
        clock.breach_reason.map(BreachReason::as_str).into(),
    ]
}

fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}
