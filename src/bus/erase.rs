//! Taking text out of the log so that no trace of it is left.

use regex::bytes::{Regex, RegexBuilder};
use rusqlite::{Connection, OpenFlags, params};

use super::{
    Error, Position, Shared,
    chunk::{self, Chunk},
    day, held,
};

/// What finds any of the keys.
pub(super) fn pattern(keys: &[String]) -> Result<Regex, Error> {
    let keys: Vec<String> = keys.iter().map(|key| regex::escape(key)).collect();
    RegexBuilder::new(&keys.join("|")).size_limit(64 << 20).build().map_err(|_size| Error::TooManyKeys)
}

/// Erases from every file. Runs beside the writer on connections of its own, one row a transaction, so
/// that appends hardly wait.
pub(super) fn erase(shared: &Shared, pattern: &Regex) -> Result<usize, Error> {
    let _one_at_a_time = held(&shared.erasing);
    let days = held(&shared.days).clone();
    let mut erased = 0;
    for day in days {
        let connection = match day::connect(&day.path, OpenFlags::empty()) {
            // Retention was faster.
            Err(_) if !day.path.exists() => continue,
            connection => connection?,
        };
        let rewritten = rewrite(&connection, pattern);
        // Also after a failure: what is rewritten already must not be served any more.
        held(&shared.recent).purge();
        erased += rewritten.map_err(Error::database("erase"))?;
        truncate_journal(&connection).map_err(Error::database("empty its journal"))?;
    }
    Ok(erased)
}

fn rewrite(connection: &Connection, pattern: &Regex) -> rusqlite::Result<usize> {
    let mut select = connection.prepare("SELECT first, body FROM batch WHERE first > ?1 ORDER BY first LIMIT 1")?;
    let mut update = connection.prepare("UPDATE batch SET body = ?2 WHERE first = ?1")?;
    let mut erased = 0;
    let mut at = -1;
    loop {
        let mut rows = select.query([at])?;
        let Some(row) = rows.next()? else { return Ok(erased) };
        at = row.get(0)?;
        let body = row.get_ref(1)?.as_blob()?;
        if !pattern.is_match(body) {
            continue;
        }
        let mut chunk = Chunk::new(Position(at));
        for record in chunk::decode(body) {
            let kept = record.filter(|bytes| !pattern.is_match(bytes));
            erased += usize::from(kept.is_none() && record.is_some());
            chunk.push(kept);
        }
        drop(rows);
        update.execute(params![at, chunk.body])?;
    }
}

/// Moves the journal's pages to the file and cuts it to nothing; waits for readers up to the busy timeout.
fn truncate_journal(connection: &Connection) -> rusqlite::Result<()> {
    let busy: bool = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
    if busy {
        let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY);
        return Err(rusqlite::Error::SqliteFailure(code, Some("a reader holds the journal".into())));
    }
    Ok(())
}
