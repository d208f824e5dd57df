//! The event sequence as followers read it, and the rows that the search index is made of.

use rusqlite::{OptionalExtension, Row, params};

use super::{Error, Reader};
use crate::{
    case::{Actor, BrandId, CaseId, EventKind, Seq, Status},
    clock::Time,
    mention::{Label, Lang, MentionId},
    staff::{AgentId, TeamId},
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
    pub text: String,
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
    /// Its label.
    pub label: Label,
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
}

fn event_of(row: &Row<'_>) -> rusqlite::Result<Event> {
    let kind: String = row.get(5)?;
    Ok(Event {
        seq: Seq(row.get(0)?),
        case: row.get::<_, Option<i64>>(1)?.map(CaseId),
        mention: row.get::<_, Option<i64>>(2)?.map(MentionId),
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
        let mut statement = self.connection.prepare_cached(
            "SELECT seq, case_id, mention_id, at, actor, kind, payload FROM event WHERE seq > ?1 ORDER BY seq LIMIT ?2",
        )?;
        let rows = statement.query_map(params![seq.0, limit], event_of)?.collect::<Result<Vec<_>, _>>()?;
        Ok(rows)
    }

    /// The life of a case, oldest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn case_events(&self, case: CaseId) -> Result<Vec<Event>, Error> {
        let mut statement = self.connection.prepare_cached(
            "SELECT seq, case_id, mention_id, at, actor, kind, payload FROM event WHERE case_id = ?1 ORDER BY seq",
        )?;
        let rows = statement.query_map([case.0], event_of)?.collect::<Result<Vec<_>, _>>()?;
        Ok(rows)
    }

    /// What the index holds of these mentions; unknown ids are left out.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn posts(&self, ids: &[MentionId]) -> Result<Vec<PostRow>, Error> {
        let mut post = self.connection.prepare_cached(
            "SELECT m.text, m.lang, s.key, c.handle, m.posted_at, m.reach, m.label, m.deleted_at FROM mention m
             JOIN source s ON s.id = m.source_id JOIN contact c ON c.id = m.contact_id WHERE m.id = ?1",
        )?;
        let mut matches =
            self.connection.prepare_cached("SELECT DISTINCT account_id, brand_id FROM mention_match WHERE mention_id = ?1")?;
        let mut posts = Vec::with_capacity(ids.len());
        for id in ids {
            let found = post
                .query_row([id.0], |row| {
                    let lang: String = row.get(1)?;
                    let label: String = row.get(6)?;
                    Ok(PostRow {
                        mention: *id,
                        text: row.get(0)?,
                        lang: Lang::parse(&lang).unwrap_or_default(),
                        source: row.get(2)?,
                        accounts: Vec::new(),
                        brands: Vec::new(),
                        author: row.get(3)?,
                        posted_at: Time(row.get(4)?),
                        reach: u64::try_from(row.get::<_, Option<i64>>(5)?.unwrap_or(0)).unwrap_or(0),
                        label: Label::parse(&label).unwrap_or(Label::Other),
                        deleted: row.get::<_, Option<i64>>(7)?.is_some(),
                    })
                })
                .optional()?;
            let Some(mut row) = found else { continue };
            for pair in matches.query_map([id.0], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))? {
                let (account, brand) = pair?;
                if let Some(account) = self.catalog.account(crate::case::AccountId(account)) {
                    row.accounts.push(account.key.clone());
                }
                if !row.brands.contains(&BrandId(brand)) {
                    row.brands.push(BrandId(brand));
                }
            }
            posts.push(row);
        }
        Ok(posts)
    }

    /// What search filters by; unknown cases are left out.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn case_facts(&self, ids: &[CaseId]) -> Result<Vec<CaseFactsRow>, Error> {
        let mut case = self.connection.prepare_cached(
            "SELECT mention_id, mentions, brand_id, team_id, label, status, assignee_id FROM cases WHERE id = ?1",
        )?;
        let mut joined = self.connection.prepare_cached("SELECT mention_id FROM case_mention WHERE case_id = ?1")?;
        let mut clocks = self.connection.prepare_cached("SELECT kind, state, breached_at FROM clock WHERE case_id = ?1")?;
        let mut facts = Vec::with_capacity(ids.len());
        for id in ids {
            let found = case
                .query_row([id.0], |row| {
                    let label: String = row.get(4)?;
                    let status: String = row.get(5)?;
                    Ok((
                        CaseFactsRow {
                            case: *id,
                            mentions: vec![MentionId(row.get(0)?)],
                            brand: BrandId(row.get(2)?),
                            team: TeamId(row.get(3)?),
                            label: Label::parse(&label).unwrap_or(Label::Other),
                            status: Status::parse(&status).unwrap_or(Status::Closed),
                            assignee: row.get::<_, Option<i64>>(6)?.map(AgentId),
                            breached: false,
                            met: false,
                            answered: false,
                        },
                        row.get::<_, i64>(1)? > 1,
                    ))
                })
                .optional()?;
            let Some((mut row, more)) = found else { continue };
            if more {
                for mention in joined.query_map([id.0], |row| row.get(0).map(MentionId))? {
                    row.mentions.push(mention?);
                }
            }
            for clock in clocks
                .query_map([id.0], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, Option<i64>>(2)?)))?
            {
                let (kind, state, breached_at) = clock?;
                let answer = kind == crate::sla::Kind::FirstResponse as i64 || kind == crate::sla::Kind::NextResponse as i64;
                let met = state == crate::sla::State::Met as i64;
                row.breached |= breached_at.is_some() && !met;
                row.met |= answer && met;
                row.answered |= answer && (met || state == crate::sla::State::MetLate as i64);
            }
            facts.push(row);
        }
        Ok(facts)
    }
}
