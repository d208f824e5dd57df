//! Saved searches, their alerts, and who has seen which.

use std::time::Duration;

use super::{Error, Reader, Tx, sql::Row};
use crate::{
    clock::Time,
    staff::{AgentId, TeamId},
};

/// When a saved search tells its people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlertRule {
    /// So many posts or more within the period.
    Count {
        /// How many.
        threshold: u32,
        /// Within this.
        period: Duration,
    },
    /// So many per cent of what the same hours of the four weeks before had on average.
    Spike {
        /// 300 is three times as many.
        percent: u32,
        /// And at least so many posts.
        threshold: u32,
        /// Within this.
        period: Duration,
    },
}

impl AlertRule {
    /// The period that is looked at.
    pub fn period(self) -> Duration {
        match self {
            AlertRule::Count { period, .. } | AlertRule::Spike { period, .. } => period,
        }
    }
}

/// A search that somebody keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedSearch {
    /// Row id.
    pub id: i64,
    /// Whose.
    pub agent: AgentId,
    /// The team that shares it.
    pub team: Option<TeamId>,
    /// What it is called.
    pub name: String,
    /// In the language of the search page.
    pub query: String,
    /// When it tells.
    pub alert: Option<AlertRule>,
    /// Nothing before this is told again.
    pub told_until: Time,
}

/// Something that was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SearchAlert {
    /// Row id.
    pub id: i64,
    /// Of which saved search.
    pub saved: i64,
    /// When it was told.
    pub at: Time,
    /// The posts of this time, the end not included.
    pub from: Time,
    /// See `from`.
    pub until: Time,
    /// How many posts there were.
    pub found: u64,
    /// A hundred times what is usual, for a spike.
    pub usual: Option<u64>,
}

fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

const COLUMNS: &str = "s.id, s.agent_id, s.team_id, s.name, s.query, s.alert, s.threshold, s.percent, s.period, s.told_until";

fn saved(row: &Row<'_>) -> Result<SavedSearch, Error> {
    let alert: Option<String> = row.get(5)?;
    let (threshold, percent) = (row.get(6)?, row.get(7)?);
    let period = Duration::from_millis(unsigned(row.get(8)?));
    Ok(SavedSearch {
        id: row.get(0)?,
        agent: AgentId(row.get(1)?),
        team: row.get::<Option<i64>>(2)?.map(TeamId),
        name: row.get(3)?,
        query: row.get(4)?,
        alert: match alert.as_deref() {
            None => None,
            Some("count") => Some(AlertRule::Count { threshold, period }),
            Some("spike") => Some(AlertRule::Spike { percent, threshold, period }),
            Some(_) => return Err(Error::Unknown { what: "kind of alert" }),
        },
        told_until: Time(row.get(9)?),
    })
}

impl Tx<'_> {
    /// Keeps a search; its id and its `told_until` are not looked at.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn save_search(&mut self, search: &SavedSearch) -> Result<i64, Error> {
        let (word, threshold, percent, period) = match search.alert {
            None => (None, 0, 0, Duration::ZERO),
            Some(AlertRule::Count { threshold, period }) => (Some("count"), threshold, 0, period),
            Some(AlertRule::Spike { percent, threshold, period }) => (Some("spike"), threshold, percent, period),
        };
        self.sql.insert(
            "INSERT INTO saved_search (agent_id, team_id, name, query, created_at, alert, threshold, percent, period, told_until)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, 0)",
            &[
                search.agent.0.into(),
                search.team.map(|team| team.0).into(),
                (&search.name).into(),
                (&search.query).into(),
                self.now.0.into(),
                word.into(),
                threshold.into(),
                percent.into(),
                millis(period).into(),
            ],
        )
    }

    /// Forgets a saved search of this person with what it told; false when it is not theirs.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn drop_search(&mut self, id: i64, agent: AgentId) -> Result<bool, Error> {
        let values = [id.into(), agent.0.into()];
        let dropped = self.sql.execute("DELETE FROM saved_search WHERE id = ?1 AND agent_id = ?2", &values)? == 1;
        if dropped {
            self.sql.execute("DELETE FROM search_alert WHERE saved_id = ?1", &[id.into()])?;
        }
        Ok(dropped)
    }

    /// Tells that a saved search found so many posts from `from` until `until`, unless that time or a part of it
    /// was told already: then false. Whoever else asks at the same moment, one of them is told yes.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn tell_alert(&mut self, saved: i64, from: Time, until: Time, found: u64, usual: Option<u64>) -> Result<bool, Error> {
        let first = self.sql.execute(
            "UPDATE saved_search SET told_until = ?3 WHERE id = ?1 AND told_until <= ?2",
            &[saved.into(), from.0.into(), until.0.into()],
        )? == 1;
        if first {
            let whole = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
            self.sql.execute(
                "INSERT INTO search_alert (saved_id, at, from_at, until_at, found, usual) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                &[saved.into(), self.now.0.into(), from.0.into(), until.0.into(), whole(found).into(), usual.map(whole).into()],
            )?;
        }
        Ok(first)
    }

    /// This person has seen the alerts up to `alert`.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn see_alerts(&mut self, agent: AgentId, alert: i64) -> Result<(), Error> {
        self.sql.execute(
            "INSERT INTO alert_seen (agent_id, alert_id) VALUES (?1, ?2)
             ON CONFLICT (agent_id) DO UPDATE SET alert_id = excluded.alert_id WHERE alert_seen.alert_id < excluded.alert_id",
            &[agent.0.into(), alert.into()],
        )?;
        Ok(())
    }
}

impl Reader<'_> {
    /// The searches that a person keeps or that one of these teams shares, by name.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn saved_searches(&self, agent: AgentId, teams: &[TeamId]) -> Result<Vec<SavedSearch>, Error> {
        let teams: Vec<i64> = teams.iter().map(|team| team.0).collect();
        self.sql.all(
            &format!(
                "SELECT {COLUMNS} FROM saved_search s WHERE s.agent_id = ?1 OR s.team_id IN (SELECT value FROM json_each(?2))
                 ORDER BY s.name, s.id"
            ),
            &[agent.0.into(), teams[..].into()],
            saved,
        )
    }

    /// Every saved search that tells, whoever keeps it.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn searches_that_tell(&self) -> Result<Vec<SavedSearch>, Error> {
        self.sql.all(&format!("SELECT {COLUMNS} FROM saved_search s WHERE s.alert IS NOT NULL ORDER BY s.id"), &[], saved)
    }

    /// What these saved searches told, newest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn search_alerts(&self, searches: &[i64], limit: u32) -> Result<Vec<SearchAlert>, Error> {
        self.sql.all(
            "SELECT id, saved_id, at, from_at, until_at, found, usual FROM search_alert
             WHERE saved_id IN (SELECT value FROM json_each(?1)) ORDER BY id DESC LIMIT ?2",
            &[searches.into(), limit.into()],
            |row| {
                Ok(SearchAlert {
                    id: row.get(0)?,
                    saved: row.get(1)?,
                    at: Time(row.get(2)?),
                    from: Time(row.get(3)?),
                    until: Time(row.get(4)?),
                    found: unsigned(row.get(5)?),
                    usual: row.get::<Option<i64>>(6)?.map(unsigned),
                })
            },
        )
    }

    /// How many alerts of a person's searches, or of those that their teams share, they have not seen.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn unseen_alerts(&self, agent: AgentId, teams: &[TeamId]) -> Result<u64, Error> {
        let teams: Vec<i64> = teams.iter().map(|team| team.0).collect();
        let count: i64 = self.sql.one(
            "SELECT count(*) FROM search_alert a JOIN saved_search s ON s.id = a.saved_id
             WHERE (s.agent_id = ?1 OR s.team_id IN (SELECT value FROM json_each(?2)))
             AND a.id > coalesce((SELECT alert_id FROM alert_seen WHERE agent_id = ?1), 0)",
            &[agent.0.into(), teams[..].into()],
            |row| row.get(0),
        )?;
        Ok(unsigned(count))
    }
}
