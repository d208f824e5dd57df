//! A copy of SQLite's file while others write to it, and what a desk that comes out of a copy must not do:
//! send what may have been sent since.

use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use super::{Error, NewEvent, Tx, sql::sqlite};
use crate::{
    case::{Actor, CaseId, EventKind, ReplyId, Seq},
    mention::Mark,
};

/// What a copy of the store holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Its schema.
    pub schema: usize,
    /// Its last event.
    pub event: Seq,
    /// How far each consumer of the log had come: its name, the partition, the mark.
    pub marks: Vec<(String, i64, Mark)>,
    /// Version and digest of the published rules.
    pub rules: Option<(u32, String)>,
}

/// Copies the store of a data directory to the file `to`, which may be there if it is empty. All of the copy is
/// of one moment; whoever writes meanwhile does not wait. Nothing that was deleted is in it. Blocks.
///
/// # Errors
/// When there is no store or not enough space.
pub fn snapshot(dir: &Path, to: &Path) -> Result<Snapshot, Error> {
    let path = dir.join("desk.db");
    let source = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    source.busy_timeout(std::time::Duration::from_secs(5))?;
    source.execute("VACUUM INTO ?1", [to.to_string_lossy()])?;
    drop(source);
    inspect(to)
}

/// What a copy holds.
fn inspect(copy: &Path) -> Result<Snapshot, Error> {
    let copy = Connection::open_with_flags(copy, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    let schema: i64 = copy.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let event = copy.query_row("SELECT coalesce(max(seq), 0) FROM event", [], |row| row.get(0))?;
    // Before schema 2 a position did not name its log.
    let log = if schema < 2 { "''" } else { "log" };
    let mut marks = copy.prepare(&format!("SELECT consumer, part, {log}, next FROM position ORDER BY consumer, part"))?;
    let marks = marks.query_map([], |row| {
        Ok((row.get(0)?, row.get(1)?, Mark { log: row.get::<_, String>(2)?.into(), next: row.get(3)? }))
    })?;
    let mut rules = copy.prepare("SELECT version, digest FROM ruleset ORDER BY version DESC LIMIT 1")?;
    let rules = rules.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.next().transpose()?;
    Ok(Snapshot { schema: schema.try_into().unwrap_or(0), event: Seq(event), marks: marks.collect::<Result<_, _>>()?, rules })
}

/// The newest schema of SQLite that this program knows.
pub fn newest_schema() -> usize {
    sqlite::MIGRATIONS.len()
}

impl Tx<'_> {
    /// Holds back every reply that was on its way, for a person to decide; returns their cases.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn park_outbox(&mut self) -> Result<Vec<CaseId>, Error> {
        let parked = self.sql.all(
            "UPDATE reply SET state = 'parked' WHERE state IN ('queued', 'sending') RETURNING id, case_id",
            &[],
            |row| Ok((ReplyId(row.get(0)?), CaseId(row.get(1)?))),
        )?;
        for (reply, case) in &parked {
            self.event(NewEvent {
                case: Some(*case),
                mention: None,
                at: self.now,
                actor: Actor::System,
                kind: EventKind::ReplyParked,
                payload: Some(serde_json::json!({ "reply": reply }).to_string()),
            });
        }
        Ok(parked.into_iter().map(|(_, case)| case).collect())
    }

    /// Signs everybody out, and makes every sign-in link useless.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn end_all_sessions(&mut self) -> Result<(), Error> {
        self.sql.execute("DELETE FROM session", &[])?;
        self.sql.execute("DELETE FROM sign_in_link", &[])?;
        Ok(())
    }
}
