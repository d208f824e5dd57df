//! The event sequence as followers read it, and the rows that the search index is made of.

use std::collections::HashMap;

use super::{
    Error, Reader,
    protection::{VEIL, post_text},
    sql::Row,
};
use crate::{
    case::{AccountId, Actor, BrandId, CaseId, EventKind, Seq, Status},
    clock::Time,
    mention::{Label, Lang, MentionId},
    sla::{Kind, State},
    staff::{AgentId, TeamId},
    text::PostText,
};

/// An event with its number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its place in the one sequence.
    pub seq: Seq,
    /// The case it belongs to.
    pub case: Option<CaseId>,
    /// The mention it is about.
    pub mention: Option<MentionId>,
    /// When it happened.
    pub at: Time,
    /// Who did it.
    pub actor: Actor,
    /// What happened.
    pub kind: EventKind,
    /// Ids and words of enums as JSON.
    pub payload: Option<String>,
}

/// The facts of a mention that the index holds.
#[derive(Clone, Debug, PartialEq)]
pub struct PostRow {
    /// Which mention.
    pub mention: MentionId,
    /// Masked text; empty once deleted.
    pub text: PostText,
    /// Its language.
    pub lang: Lang,
    /// Platform and instance.
    pub source: String,
    /// Keys of the accounts that caught it.
    pub accounts: Vec<String>,
    /// Its brands.
    pub brands: Vec<BrandId>,
    /// Its author's handle.
    pub author: String,
    /// When it was posted.
    pub posted_at: Time,
    /// Its author's reach.
    pub reach: u64,
    /// What the classifier said.
    pub label: Label,
    /// Its text is gone.
    pub deleted: bool,
}

/// The facts of a case that change without its posts changing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaseFactsRow {
    /// Which case.
    pub case: CaseId,
    /// All its mentions.
    pub mentions: Vec<MentionId>,
    /// Whose.
    pub brand: BrandId,
    /// Its queue.
    pub team: TeamId,
    /// Its label; none when nobody has sorted it.
    pub label: Option<Label>,
    /// Where it stands.
    pub status: Status,
    /// Who holds it.
    pub assignee: Option<AgentId>,
    /// A clock of it was ever breached.
    pub breached: bool,
    /// A reply clock of it was met in time.
    pub met: bool,
    /// We answered.
    pub answered: bool,
    /// When the first answer came.
    pub answered_at: Option<Time>,
    /// When its first mention was posted.
    pub posted_at: Time,
    /// How it ended.
    pub disposition: Option<String>,
    /// Somebody wrote a note.
    pub noted: bool,
    /// Its first mention has pictures or films.
    pub media: bool,
}

fn event_of(row: &Row<'_>) -> Result<Event, Error> {
    let kind: String = row.get(5)?;
    Ok(Event {
        seq: Seq(row.get(0)?),
        case: row.get::<Option<i64>>(1)?.map(CaseId),
        mention: row.get::<Option<i64>>(2)?.map(MentionId),
        at: Time(row.get(3)?),
        actor: match row.get(4)? {
            0 => Actor::System,
            -1 => Actor::Customer,
            agent => Actor::Agent(AgentId(agent)),
        },
        kind: EventKind::parse(&kind).ok_or_else(|| super::cases::unknown("event kind"))?,
        payload: row.get(6)?,
    })
}

impl Reader<'_> {
    /// The events after `seq`, oldest first, at most `limit`.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn events_after(&self, seq: Seq, limit: u32) -> Result<Vec<Event>, Error> {
        self.sql.all(
            "SELECT seq, case_id, mention_id, at, actor, kind, payload FROM event WHERE seq > ?1 ORDER BY seq LIMIT ?2",
            &[seq.0.into(), limit.into()],
            event_of,
        )
    }

    /// The life of a case, oldest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn case_events(&self, case: CaseId) -> Result<Vec<Event>, Error> {
        self.sql.all(
            "SELECT seq, case_id, mention_id, at, actor, kind, payload FROM event WHERE case_id = ?1 ORDER BY seq",
            &[case.0.into()],
            event_of,
        )
    }

    /// What the index holds of these mentions; unknown ids are left out.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn posts(&self, ids: &[MentionId]) -> Result<Vec<PostRow>, Error> {
        let numbers: Vec<i64> = ids.iter().map(|id| id.0).collect();
        let mut posts: HashMap<MentionId, PostRow> = HashMap::with_capacity(ids.len());
        let sql = format!(
            "SELECT m.id, m.text, m.lang, s.key, c.handle, m.posted_at, m.reach, m.label, m.deleted_at, {VEIL} FROM mention m
                 JOIN source s ON s.id = m.source_id JOIN contact c ON c.id = m.contact_id WHERE m.id IN (SELECT value FROM
                 json_each(?1))"
        );
        self.sql.each(&sql, &[numbers[..].into()], |row| {
            let mention = MentionId(row.get(0)?);
            let post = PostRow {
                mention,
                text: post_text(row, 1, 9)?,
                lang: Lang::parse(row.get(2)?).unwrap_or_default(),
                source: row.get(3)?,
                accounts: Vec::new(),
                brands: Vec::new(),
                author: row.get(4)?,
                posted_at: Time(row.get(5)?),
                reach: u64::try_from(row.get::<Option<i64>>(6)?.unwrap_or(0)).unwrap_or(0),
                label: Label::parse(row.get(7)?).unwrap_or(Label::Other),
                deleted: row.get::<Option<i64>>(8)?.is_some(),
            };
            posts.insert(mention, post);
            Ok(())
        })?;
        self.sql.each(
            "SELECT DISTINCT mention_id, brand_id, account_id FROM mention_match WHERE mention_id IN (SELECT value FROM
                 json_each(?1)) ORDER BY mention_id, brand_id, account_id",
            &[numbers[..].into()],
            |row| {
                let brand = BrandId(row.get(1)?);
                let account = self.catalog.account(AccountId(row.get(2)?));
                if let Some(post) = posts.get_mut(&MentionId(row.get(0)?)) {
                    post.accounts.extend(account.map(|account| account.key.clone()));
                    if !post.brands.contains(&brand) {
                        post.brands.push(brand);
                    }
                }
                Ok(())
            },
        )?;
        Ok(ids.iter().filter_map(|id| posts.remove(id)).collect())
    }

    /// What search filters by; unknown cases are left out.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn case_facts(&self, ids: &[CaseId]) -> Result<Vec<CaseFactsRow>, Error> {
        let numbers: Vec<i64> = ids.iter().map(|id| id.0).collect();
        let mut joined: Vec<i64> = Vec::new();
        let mut facts: HashMap<CaseId, CaseFactsRow> = HashMap::with_capacity(ids.len());
        self.sql.each(
            "SELECT c.id, c.mention_id, c.mentions, c.brand_id, c.team_id, c.label, c.status, c.assignee_id, c.notes,
                 m.media IS NOT NULL, m.posted_at, c.disposition, c.unsure = 1 AND
                 c.labelled_by IS NULL FROM cases c JOIN mention m ON m.id = c.mention_id WHERE c.id IN (SELECT value FROM
                 json_each(?1))",
            &[numbers[..].into()],
            |row| {
                let case = CaseId(row.get(0)?);
                if row.get::<i64>(2)? > 1 {
                    joined.push(case.0);
                }
                let row = CaseFactsRow {
                    case,
                    mentions: vec![MentionId(row.get(1)?)],
                    brand: BrandId(row.get(3)?),
                    team: TeamId(row.get(4)?),
                    label: if row.get(12)? { None } else { Label::parse(row.get(5)?) },
                    status: Status::parse(row.get(6)?).unwrap_or(Status::Closed),
                    assignee: row.get::<Option<i64>>(7)?.map(AgentId),
                    breached: false,
                    met: false,
                    answered: false,
                    answered_at: None,
                    posted_at: Time(row.get(10)?),
                    disposition: row.get(11)?,
                    noted: row.get::<i64>(8)? > 0,
                    media: row.get(9)?,
                };
                facts.insert(case, row);
                Ok(())
            },
        )?;
        if !joined.is_empty() {
            self.sql.each(
                "SELECT case_id, mention_id FROM case_mention WHERE case_id IN (SELECT value FROM json_each(?1)) ORDER BY
                 case_id, mention_id",
                &[joined[..].into()],
                |row| {
                    if let Some(facts) = facts.get_mut(&CaseId(row.get(0)?)) {
                        facts.mentions.push(MentionId(row.get(1)?));
                    }
                    Ok(())
                },
            )?;
        }
        self.sql.each(
            "SELECT case_id, kind, state, breached_at, met_at FROM clock WHERE case_id IN (SELECT value FROM json_each(?1))",
            &[numbers[..].into()],
            |row| {
                let (kind, state, breached_at): (i64, i64, Option<i64>) = (row.get(1)?, row.get(2)?, row.get(3)?);
                let met_at: Option<Time> = row.get::<Option<i64>>(4)?.map(Time);
                let answer = kind == Kind::FirstResponse as i64 || kind == Kind::NextResponse as i64;
                let met = state == State::Met as i64;
                if let Some(facts) = facts.get_mut(&CaseId(row.get(0)?)) {
                    facts.breached |= breached_at.is_some() && !met;
                    facts.met |= answer && met;
                    if answer && (met || state == State::MetLate as i64) {
                        facts.answered = true;
                        facts.answered_at = [facts.answered_at, met_at].into_iter().flatten().min();
                    }
                }
                Ok(())
            },
        )?;
        Ok(ids.iter().filter_map(|id| facts.remove(id)).collect())
    }

    /// What search filters by, of the cases after `after`.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn case_facts_after(&self, after: CaseId, limit: u32) -> Result<Vec<CaseFactsRow>, Error> {
        let ids = self.sql.all(
            "SELECT id FROM cases WHERE id > ?1 ORDER BY id LIMIT ?2",
            &[after.0.into(), limit.into()],
            |row| Ok(CaseId(row.get(0)?)),
        )?;
        self.case_facts(&ids)
    }

    /// Mentions after `after` that belong to no case, with a brand that caught them.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn caseless_after(&self, after: MentionId, limit: u32) -> Result<Vec<(MentionId, BrandId)>, Error> {
        self.sql.all(
            "SELECT m.mention_id, min(m.brand_id) FROM mention_match m WHERE m.mention_id > ?1
             AND NOT EXISTS (SELECT 1 FROM cases c WHERE c.mention_id = m.mention_id)
             AND NOT EXISTS (SELECT 1 FROM case_mention j WHERE j.mention_id = m.mention_id)
             GROUP BY m.mention_id ORDER BY m.mention_id LIMIT ?2",
            &[after.0.into(), limit.into()],
            |row| Ok((MentionId(row.get(0)?), BrandId(row.get(1)?))),
        )
    }

    /// The newest mention that any event up to `seq` speaks of.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn newest_mention_at(&self, seq: Seq) -> Result<MentionId, Error> {
        let newest: Option<i64> =
            self.sql.one("SELECT max(mention_id) FROM event WHERE seq <= ?1", &[seq.0.into()], |row| row.get(0))?;
        Ok(MentionId(newest.unwrap_or(0)))
    }

    /// Initials of everybody, for the search field `agent:`.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn initials_of_all(&self) -> Result<Vec<(AgentId, String)>, Error> {
        self.sql.all("SELECT id, initials FROM agent", &[], |row| Ok((AgentId(row.get(0)?), row.get(1)?)))
    }
}
