//! What the pages and the API read: queues in order, one case whole, counts.

use std::collections::{HashMap, HashSet};

use super::{
    Case, Error, Event, Reader, Reply,
    cases::{CASE_COLUMNS, case_of, clocks_of},
    protection::{VEIL, post_text},
    sql::{Row, Value},
};
use crate::{
    case::{AccountId, Actor, CaseId, Status},
    clock::Time,
    mention::{ContactId, Label, Lang, MentionId, Reason, Side, TimeQuality},
    staff::{AgentId, TeamId},
    text::PostText,
};

/// Which cases of a queue to show. Empty means all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueueFilter {
    /// Only these teams; what the viewer may see.
    pub teams: Vec<TeamId>,
    /// Only this label.
    pub label: Option<Label>,
    /// Only unsorted ones.
    pub unsure: bool,
    /// Only in this state.
    pub status: Option<Status>,
    /// Only this language.
    pub lang: Option<Lang>,
    /// Only this platform: what stands before the colon of the source.
    pub platform: Option<String>,
    /// Only this account.
    pub account: Option<AccountId>,
    /// Only the cases of one person, or only unclaimed ones.
    pub owner: Owner,
}

/// Whose cases.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Owner {
    /// Anybody's.
    #[default]
    Any,
    /// Nobody's yet.
    Nobody,
    /// One person's.
    Agent(AgentId),
}

/// A mention as a page shows it. Text is masked.
#[derive(Clone, Debug)]
pub struct MentionView {
    /// Which.
    pub id: MentionId,
    /// Who speaks.
    pub side: Side,
    /// The author.
    pub contact: ContactId,
    /// The author's handle.
    pub handle: String,
    /// The author's displayed name.
    pub name: Option<String>,
    /// The author's reach.
    pub reach: Option<u64>,
    /// Masked text; empty once deleted.
    pub text: PostText,
    /// Its language.
    pub lang: Lang,
    /// Platform and instance.
    pub source: String,
    /// Where a person can read it.
    pub url: Option<String>,
    /// When it was posted; first seen where the source does not say.
    pub posted_at: Time,
    /// How far to trust `posted_at`.
    pub time_quality: TimeQuality,
    /// When we first saw it.
    pub first_seen_at: Time,
    /// When it was edited.
    pub edited_at: Option<Time>,
    /// When it was deleted; its text is gone.
    pub deleted_at: Option<Time>,
    /// What the classifier said.
    pub label: Label,
    /// Why.
    pub reasons: Vec<Reason>,
    /// Links to pictures and films.
    pub media: Vec<String>,
    /// It addresses our account, rather than being caught by a word.
    pub addressed: bool,
}

/// A line of a queue.
#[derive(Clone, Debug)]
pub struct QueueRow {
    /// The case; of its clocks only the open ones.
    pub case: Case,
    /// The customer's newest mention.
    pub mention: MentionView,
    /// Who has claimed it.
    pub assignee: Option<String>,
    /// Whoever looks has a draft here.
    pub draft: bool,
    /// A reply of it failed or is unknown.
    pub trouble: bool,
}

/// The figures above a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueCounts {
    /// Unfinished cases.
    pub open: u64,
    /// Of these, overdue.
    pub overdue: u64,
    /// Of these, unclaimed.
    pub unclaimed: u64,
    /// The nearest deadline that has not passed.
    pub next_due: Option<Time>,
}

/// A note or a reason, as the thread shows it.
#[derive(Clone, Debug)]
pub struct NoteView {
    /// Row id.
    pub id: i64,
    /// Its writer's initials.
    pub initials: String,
    /// When.
    pub at: Time,
    /// `note`, `handover` or `give_back`.
    pub kind: String,
    /// What it says.
    pub text: String,
}

/// An earlier case of the same contact.
#[derive(Clone, Debug)]
pub struct EarlierCase {
    /// Its number.
    pub id: CaseId,
    /// Its label.
    pub label: Label,
    /// When it was opened.
    pub opened_at: Time,
    /// Where it stands, in the store's word.
    pub status: String,
    /// How it ended.
    pub disposition: Option<String>,
    /// Its text.
    pub text: PostText,
}

/// One case with everything that its page shows.
#[derive(Clone, Debug)]
pub struct CaseView {
    /// The case with all its clocks.
    pub case: Case,
    /// Who has claimed it.
    pub assignee: Option<String>,
    /// The thread: the customer's mentions, ours, others', by time.
    pub thread: Vec<MentionView>,
    /// Our replies, in any state.
    pub replies: Vec<(Reply, String)>,
    /// Notes and reasons.
    pub notes: Vec<NoteView>,
    /// Other cases of the contact, newest first.
    pub earlier: Vec<EarlierCase>,
    /// Its life, with the initials of whoever acted.
    pub events: Vec<(Event, Option<String>)>,
    /// The viewer's unsent reply and note.
    pub drafts: Vec<(String, String, i64)>,
}

/// A figure of the whole desk, for the summary of a demo and for the metrics.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    /// Mentions stored.
    pub mentions: u64,
    /// Cases by label.
    pub by_label: Vec<(String, u64)>,
    /// Cases by status.
    pub by_status: Vec<(String, u64)>,
    /// Clocks ever started.
    pub clocks: u64,
    /// Reply clocks that were met in time.
    pub met: u64,
    /// Clocks that were ever breached.
    pub breached: u64,
    /// Events.
    pub events: u64,
    /// Dead letters.
    pub dead_letters: u64,
    /// Contacts.
    pub contacts: u64,
    /// Replies that the platforms have.
    pub replies_sent: u64,
}

const MENTION_COLUMNS: &str = "m.id, m.side, m.contact_id, co.handle, co.name, m.reach, m.text, m.lang, s.key, m.url, m.posted_at, m.time_quality, \
     m.first_seen_at, m.edited_at, m.deleted_at, m.label, j.reasons, m.media, \
     coalesce((SELECT max(addressed) FROM mention_match mm WHERE mm.mention_id = m.id), 0)";

const MENTION_JOINS: &str =
    "JOIN contact co ON co.id = m.contact_id JOIN source s ON s.id = m.source_id LEFT JOIN judgement j ON j.mention_id = m.id";

fn mention_of(row: &Row<'_>, at: usize) -> Result<MentionView, Error> {
    let side: String = row.get(at + 1)?;
    let lang: String = row.get(at + 7)?;
    let quality: String = row.get(at + 11)?;
    let label: String = row.get(at + 15)?;
    let reasons: Option<String> = row.get(at + 16)?;
    let media: Option<String> = row.get(at + 17)?;
    Ok(MentionView {
        id: MentionId(row.get(at)?),
        side: match side.as_str() {
            "ours" => Side::Ours,
            "other" => Side::Other,
            _ => Side::Customer,
        },
        contact: ContactId(row.get(at + 2)?),
        handle: row.get(at + 3)?,
        name: row.get(at + 4)?,
        reach: row.get::<Option<i64>>(at + 5)?.and_then(|reach| u64::try_from(reach).ok()),
        text: post_text(row, at + 6, at + 19)?,
        lang: Lang::parse(&lang).unwrap_or_default(),
        source: row.get(at + 8)?,
        url: row.get(at + 9)?,
        posted_at: Time(row.get(at + 10)?),
        time_quality: match quality.as_str() {
            "exact" => TimeQuality::Exact,
            "day" => TimeQuality::Day,
            _ => TimeQuality::Unknown,
        },
        first_seen_at: Time(row.get(at + 12)?),
        edited_at: row.get::<Option<i64>>(at + 13)?.map(Time),
        deleted_at: row.get::<Option<i64>>(at + 14)?.map(Time),
        label: Label::parse(&label).unwrap_or(Label::Other),
        reasons: reasons.and_then(|json| serde_json::from_str(&json).ok()).unwrap_or_default(),
        media: media.and_then(|json| serde_json::from_str(&json).ok()).unwrap_or_default(),
        addressed: row.get::<i64>(at + 18)? != 0,
    })
}

/// The WHERE clause of a filter and its parameters: one JSON list of teams, then fixed places.
const FILTER: &str = "c.finished = 0 AND c.team_id IN (SELECT value FROM json_each(?1))
     AND (CAST(?2 AS TEXT) IS NULL OR c.label = ?2) AND (?3 = 0 OR c.unsure = 1)
     AND (CAST(?4 AS BIGINT) IS NULL OR c.account_id = ?4) AND (?5 = -1 OR (?5 = 0 AND c.assignee_id IS NULL) OR c.assignee_id = ?5)
     AND (CAST(?6 AS TEXT) IS NULL OR EXISTS (SELECT 1 FROM mention m WHERE m.id = c.latest_mention_id AND m.lang = ?6))
     AND (CAST(?7 AS TEXT) IS NULL OR EXISTS (SELECT 1 FROM mention m JOIN source s ON s.id = m.source_id WHERE m.id = c.latest_mention_id
          AND (s.key = ?7 OR substr(s.key, 1, length(?7) + 1) = ?7 || ':')))
     AND (CAST(?9 AS TEXT) IS NULL OR c.status = ?9)";

impl QueueFilter {
    /// The parameters 1 to 9 of [`FILTER`] and of what goes with it.
    fn values<'v>(&'v self, teams: &'v [i64], now: Time) -> Vec<Value<'v>> {
        let owner = match self.owner {
            Owner::Any => -1,
            Owner::Nobody => 0,
            Owner::Agent(agent) => agent.0,
        };
        vec![
            teams.into(),
            self.label.map(Label::as_str).into(),
            self.unsure.into(),
            self.account.map(|account| account.0).into(),
            owner.into(),
            self.lang.map(Lang::as_str).into(),
            (&self.platform).into(),
            now.0.into(),
            self.status.map(Status::as_str).into(),
        ]
    }

    fn team_ids(&self) -> Vec<i64> {
        self.teams.iter().map(|team| team.0).collect()
    }
}

/// SQL: the label that the mention `post` hands down to what answers it. A customer's post its own; our answer that of
/// the post which it answered, so that "still nothing" below it is a complaint.
pub(super) fn handed_down(post: &str) -> String {
    let above = |name: &str| {
        format!(
            "(SELECT above.label FROM mention above WHERE above.source_id = {post}.source_id AND above.{name} = {post}.parent
              AND above.side = 'customer' LIMIT 1)"
        )
    };
    let answered = format!("coalesce({}, {})", above("native_id"), above("local_ref"));
    format!("CASE {post}.side WHEN 'customer' THEN {post}.label WHEN 'ours' THEN {answered} END")
}

/// The columns of [`counts_of`], at the time in this place.
fn counted(now: &str) -> String {
    format!(
        "count(*), count(*) FILTER (WHERE c.overdue = 1 OR c.due_at <= {now}), count(*) FILTER (WHERE c.assignee_id IS NULL),
         min(CASE WHEN c.overdue = 0 AND c.due_at > {now} THEN c.due_at END)"
    )
}

fn counts_of(row: &Row<'_>, at: usize) -> Result<QueueCounts, Error> {
    let whole = |index: usize| row.get::<i64>(at + index).map(|number| u64::try_from(number).unwrap_or(0));
    let next_due = row.get::<Option<i64>>(at + 3)?.map(Time);
    Ok(QueueCounts { open: whole(0)?, overdue: whole(1)?, unclaimed: whole(2)?, next_due })
}

impl Reader<'_> {
    /// The cases of a queue in its order (crisis first, then by time left, then overdue oldest first),
    /// at most `limit` of them.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn queue(&self, filter: &QueueFilter, viewer: AgentId, now: Time, limit: u32) -> Result<Vec<QueueRow>, Error> {
        let sql = format!(
            "SELECT c.id FROM cases c WHERE {FILTER} ORDER BY c.priority = 3 DESC, c.overdue = 1 OR (c.due_at IS NOT NULL
                 AND c.due_at <= ?8), c.due_at IS NULL, c.due_at, c.id LIMIT ?10"
        );
        let teams = filter.team_ids();
        let mut values = filter.values(&teams, now);
        values.push(limit.into());
        let ids: Vec<i64> = self.sql.all(&sql, &values, |row| row.get(0))?;
        self.queue_rows(&ids, viewer)
    }

    /// One line of a queue, whatever the case's state.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn queue_row(&self, id: CaseId, viewer: AgentId) -> Result<Option<QueueRow>, Error> {
        Ok(self.queue_rows(&[id.0], viewer)?.pop())
    }

    fn queue_rows(&self, ids: &[i64], viewer: AgentId) -> Result<Vec<QueueRow>, Error> {
        let sql = format!(
            "SELECT {CASE_COLUMNS}, a.initials, EXISTS (SELECT 1 FROM draft d WHERE d.case_id = c.id AND d.agent_id = ?2
                 AND d.text <> ''), EXISTS (SELECT 1 FROM reply r WHERE r.case_id = c.id AND r.state IN ('failed',
                 'unknown')), {MENTION_COLUMNS}, {VEIL} FROM cases c JOIN policy p ON p.id = c.policy_id LEFT JOIN agent a ON a.id =
                 c.assignee_id JOIN mention m ON m.id = c.latest_mention_id {MENTION_JOINS} WHERE c.id IN (SELECT value FROM
                 json_each(?1))"
        );
        let mut rows: HashMap<i64, QueueRow> = HashMap::with_capacity(ids.len());
        self.sql.each(&sql, &[ids.into(), viewer.0.into()], |row| {
            let line = QueueRow {
                case: case_of(row)?,
                assignee: row.get(27)?,
                draft: row.get(28)?,
                trouble: row.get(29)?,
                mention: mention_of(row, 30)?,
            };
            rows.insert(line.case.id.0, line);
            Ok(())
        })?;
        clocks_of(self.sql, ids, |case, clock| {
            if let Some(row) = rows.get_mut(&case) {
                row.case.clocks.push(clock);
            }
        })?;
        Ok(ids.iter().filter_map(|id| rows.remove(id)).collect())
    }

    /// The figures above a queue.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn queue_counts(&self, filter: &QueueFilter, now: Time) -> Result<QueueCounts, Error> {
        let sql = format!("SELECT {} FROM cases c WHERE {FILTER}", counted("?8"));
        let teams = filter.team_ids();
        self.sql.one(&sql, &filter.values(&teams, now), |row| counts_of(row, 0))
    }

    /// The same for whole teams; one without an open case is left out.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn team_counts(&self, now: Time) -> Result<Vec<(TeamId, QueueCounts)>, Error> {
        let sql = format!("SELECT c.team_id, {} FROM cases c WHERE c.finished = 0 GROUP BY c.team_id", counted("?1"));
        self.sql.all(&sql, &[now.0.into()], |row| Ok((TeamId(row.get(0)?), counts_of(row, 1)?)))
    }

    /// The case alone, for authorisation and for small answers.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn case(&self, id: CaseId) -> Result<Option<Case>, Error> {
        let sql = format!("SELECT {CASE_COLUMNS} FROM cases c JOIN policy p ON p.id = c.policy_id WHERE c.id = ?1");
        let Some(mut case) = self.sql.optional(&sql, &[id.0.into()], case_of)? else {
            return Ok(None);
        };
        clocks_of(self.sql, &[id.0], |_, clock| case.clocks.push(clock))?;
        Ok(Some(case))
    }

    /// Everything that a case's page shows.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn case_view(&self, id: CaseId, viewer: AgentId) -> Result<Option<CaseView>, Error> {
        let Some(case) = self.case(id)? else { return Ok(None) };
        let replies = self.replies(id)?;
        let events = self.case_events(id)?;
        let actors = events.iter().filter_map(|event| match event.actor {
            Actor::Agent(agent) => Some(agent),
            _ => None,
        });
        let people: Vec<i64> = case
            .assignee
            .into_iter()
            .chain(replies.iter().map(|reply| reply.agent))
            .chain(actors)
            .map(|agent| agent.0)
            .collect();
        let initials: HashMap<AgentId, String> = self
            .sql
            .all("SELECT id, initials FROM agent WHERE id IN (SELECT value FROM json_each(?1))", &[people[..].into()], |row| {
                Ok((AgentId(row.get(0)?), row.get(1)?))
            })?
            .into_iter()
            .collect();
        let of = |agent: AgentId| initials.get(&agent).cloned();
        Ok(Some(CaseView {
            assignee: case.assignee.and_then(of),
            thread: self.thread(&case)?,
            replies: replies
                .into_iter()
                .map(|reply| (of(reply.agent).unwrap_or_default(), reply))
                .map(|(by, reply)| (reply, by))
                .collect(),
            notes: self.notes(id)?,
            earlier: self.earlier_cases(&case)?,
            events: events
                .into_iter()
                .map(|event| {
                    let by = if let Actor::Agent(agent) = event.actor { of(agent) } else { None };
                    (event, by)
                })
                .collect(),
            drafts: self.drafts(id, viewer)?,
            case,
        }))
    }

    /// Mentions of the case's conversation, and those that joined it from elsewhere, by time.
    fn thread(&self, case: &Case) -> Result<Vec<MentionView>, Error> {
        let sql = format!(
            "SELECT {MENTION_COLUMNS}, {VEIL} FROM mention m {MENTION_JOINS} WHERE m.id IN ( SELECT id FROM mention WHERE
                 conversation = ?1 OR id = ?1 UNION SELECT mention_id FROM case_mention WHERE case_id = ?2 UNION SELECT ?3)
                 ORDER BY m.posted_at, m.id LIMIT 500"
        );
        self.sql.all(&sql, &[case.conversation.into(), case.id.0.into(), case.mention.0.into()], |row| mention_of(row, 0))
    }

    fn notes(&self, case: CaseId) -> Result<Vec<NoteView>, Error> {
        self.sql.all(
            "SELECT n.id, a.initials, n.at, n.kind, n.text FROM note n JOIN agent a ON a.id = n.agent_id WHERE n.case_id
                 = ?1 ORDER BY n.id",
            &[case.0.into()],
            |row| {
                Ok(NoteView {
                    id: row.get(0)?,
                    initials: row.get(1)?,
                    at: Time(row.get(2)?),
                    kind: row.get(3)?,
                    text: row.get(4)?,
                })
            },
        )
    }

    fn earlier_cases(&self, case: &Case) -> Result<Vec<EarlierCase>, Error> {
        let sql = format!(
            "SELECT c.id, c.label, c.opened_at, c.status, c.disposition, m.text, {VEIL} FROM cases c JOIN mention m ON m.id =
                 c.mention_id WHERE c.contact_id = ?1 AND c.brand_id = ?2 AND c.id <> ?3 ORDER BY c.id DESC LIMIT 10"
        );
        self.sql.all(&sql, &[case.contact.0.into(), case.brand.0.into(), case.id.0.into()], |row| {
            let label: String = row.get(1)?;
            Ok(EarlierCase {
                id: CaseId(row.get(0)?),
                label: Label::parse(&label).unwrap_or(Label::Other),
                opened_at: Time(row.get(2)?),
                status: row.get(3)?,
                disposition: row.get(4)?,
                text: post_text(row, 5, 6)?,
            })
        })
    }

    fn drafts(&self, case: CaseId, viewer: AgentId) -> Result<Vec<(String, String, i64)>, Error> {
        self.sql.all(
            "SELECT kind, text, version FROM draft WHERE agent_id = ?1 AND case_id = ?2",
            &[viewer.0.into(), case.0.into()],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )
    }

    /// Mentions for search results, in the order of `ids`; deleted and unknown ones are left out.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn mentions(&self, ids: &[MentionId]) -> Result<Vec<MentionView>, Error> {
        let sql = format!(
            "SELECT {MENTION_COLUMNS}, {VEIL} FROM mention m {MENTION_JOINS} WHERE m.id IN (SELECT value FROM json_each(?1)) AND
                 m.deleted_at IS NULL"
        );
        let numbers: Vec<i64> = ids.iter().map(|id| id.0).collect();
        let found = self.sql.all(&sql, &[numbers[..].into()], |row| mention_of(row, 0))?;
        let mut found: HashMap<MentionId, MentionView> = found.into_iter().map(|mention| (mention.id, mention)).collect();
        Ok(ids.iter().filter_map(|id| found.remove(id)).collect())
    }

    /// The label that each of these posts hands down to what answers it, where it has one.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn labels(&self, posts: &[(String, String)]) -> Result<Vec<Option<Label>>, Error> {
        let mut by_source: HashMap<&str, Vec<String>> = HashMap::new();
        for (source, id) in posts {
            by_source.entry(source).or_default().push(id.clone());
        }
        let mut known: HashMap<(&str, String), Option<Label>> = HashMap::with_capacity(posts.len());
        for (source, ids) in by_source {
            // The global id wins over the local reference, so it is read last.
            for name in ["local_ref", "native_id"] {
                let sql = format!(
                    "SELECT m.{name}, {} FROM source s JOIN mention m ON m.source_id = s.id
                     WHERE s.key = ?1 AND m.{name} IN (SELECT value FROM json_each(?2)) AND m.side <> 'other'",
                    handed_down("m")
                );
                self.sql.each(&sql, &[source.into(), ids[..].into()], |row| {
                    known.insert((source, row.get(0)?), row.get::<Option<&str>>(1)?.and_then(Label::parse));
                    Ok(())
                })?;
            }
        }
        Ok(posts.iter().map(|(source, id)| known.get(&(source.as_str(), id.clone())).copied().flatten()).collect())
    }

    /// When the next clock fires.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn next_fire(&self) -> Result<Option<Time>, Error> {
        let next: Option<i64> =
            self.sql.one("SELECT min(next_fire_at) FROM clock WHERE next_fire_at IS NOT NULL", &[], |row| row.get(0))?;
        Ok(next.map(Time))
    }

    /// Cases with a clock that fires by `now`: those past a deadline first, then the soonest. Each question ends at its
    /// limit: hundreds of thousands may be due at once.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn cases_to_fire(&self, now: Time, limit: u32) -> Result<Vec<CaseId>, Error> {
        let (mut due, mut seen) = (Vec::new(), HashSet::new());
        for past in ["deadline_at <= ?1", "deadline_at > ?1"] {
            let sql = format!("SELECT case_id FROM clock WHERE next_fire_at <= ?1 AND {past} ORDER BY next_fire_at LIMIT ?2");
            let rows = self.sql.all(&sql, &[now.0.into(), limit.into()], |row| Ok(CaseId(row.get(0)?)))?;
            let ended = rows.len() < limit as usize;
            due.extend(rows.into_iter().filter(|case| seen.insert(*case)));
            if !ended {
                break;
            }
        }
        due.truncate(limit as usize);
        Ok(due)
    }

    /// Counts of the whole desk.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn totals(&self) -> Result<Totals, Error> {
        let one = |sql: &str| -> Result<u64, Error> {
            let number: i64 = self.sql.one(sql, &[], |row| row.get(0))?;
            Ok(u64::try_from(number).unwrap_or(0))
        };
        let groups = |sql: &str| -> Result<Vec<(String, u64)>, Error> {
            self.sql.all(sql, &[], |row| Ok((row.get(0)?, u64::try_from(row.get::<i64>(1)?).unwrap_or(0))))
        };
        Ok(Totals {
            mentions: one("SELECT count(*) FROM mention")?,
            by_label: groups(
                "SELECT CASE WHEN unsure = 1 THEN 'unsorted' ELSE label END, count(*) FROM cases GROUP BY 1 ORDER BY 2 DESC",
            )?,
            by_status: groups("SELECT status, count(*) FROM cases GROUP BY 1 ORDER BY 2 DESC")?,
            clocks: one("SELECT count(*) FROM clock")?,
            met: one("SELECT count(*) FROM event WHERE kind = 'met'")?,
            breached: one("SELECT count(*) FROM event WHERE kind = 'breached'")?,
            events: one("SELECT count(*) FROM event")?,
            dead_letters: one("SELECT count(*) FROM dead_letter")?,
            contacts: one("SELECT count(*) FROM contact")?,
            replies_sent: one("SELECT count(*) FROM reply WHERE state = 'sent'")?,
        })
    }
}
