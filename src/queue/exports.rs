//! Exports: which posts somebody takes out, read part by part, so that a restart goes on where it was.
//!
//! A part names its posts from the first moment and holds their lines once it is read. When one of its posts
//! is deleted, every part that holds it goes, and the export says so.

use std::collections::HashSet;

use super::{Error, Reader, Tx, sql::Row};
use crate::{case::CaseId, clock::Time, mention::MentionId, staff::AgentId};

/// Posts of a part.
pub const EXPORT_PART: usize = 500;

/// Where an export stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExportState {
    /// Parts are still to be read.
    Running,
    /// It can be downloaded.
    Done,
    /// Its owner stopped it.
    Cancelled,
    /// It is too old, or one of its posts was deleted: the lines are gone.
    Expired,
}

impl ExportState {
    /// All of them.
    pub const ALL: [ExportState; 4] = [ExportState::Running, ExportState::Done, ExportState::Cancelled, ExportState::Expired];

    /// The word for it in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            ExportState::Running => "running",
            ExportState::Done => "done",
            ExportState::Cancelled => "cancelled",
            ExportState::Expired => "expired",
        }
    }
}

/// An export, as its page and the audit show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Export {
    /// Row id.
    pub id: i64,
    /// Who takes the posts out.
    pub agent: AgentId,
    /// Their initials.
    pub initials: String,
    /// What was asked.
    pub query: String,
    /// Why.
    pub reason: String,
    /// Where it stands.
    pub state: ExportState,
    /// Posts in it.
    pub total: u64,
    /// Posts read so far.
    pub done: u64,
    /// When it was asked for.
    pub created_at: Time,
    /// When it ended, one way or another.
    pub finished_at: Option<Time>,
    /// How often it was downloaded.
    pub downloads: u64,
}

/// A part that is still to be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportPart {
    /// Of which export.
    pub export: i64,
    /// Whose export it is: rights are looked at again.
    pub agent: AgentId,
    /// Its place, from 0.
    pub part: u32,
    /// Its posts in their order, each with the case that it was found in.
    pub posts: Vec<(MentionId, Option<CaseId>)>,
}

fn export(row: &Row<'_>) -> Result<Export, Error> {
    let state: String = row.get(5)?;
    let count = |at| Ok::<_, Error>(u64::try_from(row.get::<i64>(at)?).unwrap_or(0));
    Ok(Export {
        id: row.get(0)?,
        agent: AgentId(row.get(1)?),
        initials: row.get(2)?,
        query: row.get(3)?,
        reason: row.get(4)?,
        state: ExportState::ALL
            .into_iter()
            .find(|known| known.as_str() == state)
            .ok_or(Error::Unknown { what: "state of an export" })?,
        total: count(6)?,
        done: count(7)?,
        created_at: Time(row.get(8)?),
        finished_at: row.get::<Option<i64>>(9)?.map(Time),
        downloads: count(10)?,
    })
}

const COLUMNS: &str = "e.id, e.agent_id, a.initials, e.query, e.reason, e.state, e.total, e.done, e.created_at, \
     e.finished_at, e.downloads";

fn posts(json: &str) -> Vec<(MentionId, Option<CaseId>)> {
    serde_json::from_str(json).unwrap_or_default()
}

impl Tx<'_> {
    /// Begins an export of these posts.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn begin_export(
        &mut self,
        agent: AgentId,
        query: &str,
        reason: &str,
        posts: &[(MentionId, Option<CaseId>)],
    ) -> Result<i64, Error> {
        let empty = posts.is_empty();
        let state = if empty { ExportState::Done } else { ExportState::Running };
        let id = self.sql.insert(
            "INSERT INTO export (agent_id, query, reason, state, total, created_at, finished_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            &[
                agent.0.into(),
                query.into(),
                reason.into(),
                state.as_str().into(),
                i64::try_from(posts.len()).unwrap_or(i64::MAX).into(),
                self.now.0.into(),
                empty.then_some(self.now.0).into(),
            ],
        )?;
        for (part, posts) in (0_i64..).zip(posts.chunks(EXPORT_PART)) {
            let posts = serde_json::to_string(posts).unwrap_or_default();
            self.sql.execute(
                "INSERT INTO export_part (export_id, part, posts) VALUES (?1, ?2, ?3)",
                &[id.into(), part.into(), (&posts).into()],
            )?;
        }
        Ok(id)
    }

    /// Fills a part with its lines; false when the export has ended or somebody else was first.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn fill_export(&mut self, part: &ExportPart, lines: &str) -> Result<bool, Error> {
        let filled = self.sql.execute(
            "UPDATE export_part SET lines = ?3 WHERE export_id = ?1 AND part = ?2 AND lines IS NULL
             AND EXISTS (SELECT 1 FROM export e WHERE e.id = ?1 AND e.state = 'running')",
            &[part.export.into(), part.part.into(), lines.into()],
        )? == 1;
        if filled {
            self.sql.execute(
                "UPDATE export SET done = done + ?2 WHERE id = ?1",
                &[part.export.into(), i64::try_from(part.posts.len()).unwrap_or(0).into()],
            )?;
            self.sql.execute(
                "UPDATE export SET state = 'done', finished_at = ?2 WHERE id = ?1 AND state = 'running' AND done >= total",
                &[part.export.into(), self.now.0.into()],
            )?;
        }
        Ok(filled)
    }

    /// Stops an export of this person; false when it is not theirs or has ended.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn cancel_export(&mut self, id: i64, agent: AgentId) -> Result<bool, Error> {
        let cancelled = self.sql.execute(
            "UPDATE export SET state = 'cancelled', finished_at = ?3 WHERE id = ?1 AND agent_id = ?2 AND state = 'running'",
            &[id.into(), agent.0.into(), self.now.0.into()],
        )? == 1;
        if cancelled {
            self.drop_parts(id)?;
        }
        Ok(cancelled)
    }

    fn drop_parts(&mut self, id: i64) -> Result<(), Error> {
        self.erased = true;
        self.sql.execute("DELETE FROM export_part WHERE export_id = ?1", &[id.into()])?;
        Ok(())
    }

    /// Counts a download.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn count_download(&mut self, id: i64) -> Result<(), Error> {
        self.sql.execute("UPDATE export SET downloads = downloads + 1 WHERE id = ?1", &[id.into()])?;
        Ok(())
    }

    /// Takes the lines away of exports that ended before `before`, and of those that hold one of these deleted
    /// posts. Returns how many exports lost theirs.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn expire_exports(&mut self, before: Time, deleted: &[MentionId]) -> Result<usize, Error> {
        let mut gone: Vec<i64> = self.sql.all(
            "SELECT id FROM export WHERE state = 'done' AND finished_at < ?1 AND EXISTS (SELECT 1 FROM export_part p WHERE
                 p.export_id = export.id)",
            &[before.0.into()],
            |row| row.get(0),
        )?;
        if !deleted.is_empty() {
            let deleted: HashSet<MentionId> = deleted.iter().copied().collect();
            self.sql.each("SELECT export_id, posts FROM export_part", &[], |row| {
                let (id, held): (i64, String) = (row.get(0)?, row.get(1)?);
                if !gone.contains(&id) && posts(&held).iter().any(|(mention, _)| deleted.contains(mention)) {
                    gone.push(id);
                }
                Ok(())
            })?;
        }
        for id in &gone {
            self.drop_parts(*id)?;
            self.sql.execute(
                "UPDATE export SET state = 'expired', finished_at = ?2 WHERE id = ?1",
                &[(*id).into(), self.now.0.into()],
            )?;
        }
        Ok(gone.len())
    }
}

impl Reader<'_> {
    /// The exports of one person, or of everybody, newest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn exports(&self, agent: Option<AgentId>, limit: u32) -> Result<Vec<Export>, Error> {
        self.sql.all(
            &format!(
                "SELECT {COLUMNS} FROM export e JOIN agent a ON a.id = e.agent_id WHERE ?1 = 0 OR e.agent_id = ?1
                 ORDER BY e.id DESC LIMIT ?2"
            ),
            &[agent.map_or(0, |agent| agent.0).into(), limit.into()],
            export,
        )
    }

    /// One export.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn export(&self, id: i64) -> Result<Option<Export>, Error> {
        let sql = format!("SELECT {COLUMNS} FROM export e JOIN agent a ON a.id = e.agent_id WHERE e.id = ?1");
        self.sql.optional(&sql, &[id.into()], export)
    }

    /// The next part to read, of the oldest export.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn next_export_part(&self) -> Result<Option<ExportPart>, Error> {
        self.sql.optional(
            "SELECT p.export_id, e.agent_id, p.part, p.posts FROM export_part p JOIN export e ON e.id = p.export_id
             WHERE e.state = 'running' AND p.lines IS NULL ORDER BY p.export_id, p.part LIMIT 1",
            &[],
            |row| {
                let held: String = row.get(3)?;
                Ok(ExportPart { export: row.get(0)?, agent: AgentId(row.get(1)?), part: row.get(2)?, posts: posts(&held) })
            },
        )
    }

    /// The lines of an export, part after part.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn export_lines(&self, id: i64) -> Result<Vec<String>, Error> {
        self.sql.all(
            "SELECT lines FROM export_part WHERE export_id = ?1 AND lines IS NOT NULL ORDER BY part",
            &[id.into()],
            |row| row.get(0),
        )
    }
}
