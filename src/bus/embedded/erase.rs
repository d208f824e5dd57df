//! Taking text out of the log so that no trace of it is left.

use std::{borrow::Cow, collections::BTreeSet};

use regex::bytes::{Regex, RegexBuilder};
use rusqlite::{Connection, OpenFlags, params};
use serde::Deserialize;

use super::{
    Error, Position, Shared, Whole,
    chunk::{self, Chunk},
    day, held,
};

/// The posts whose records go.
pub(super) struct Posts {
    /// Finds their ids, written as JSON strings; a record without one need not be parsed.
    ids: Regex,
    /// Source and native id; an old erasure does not name the source.
    posts: BTreeSet<(String, String)>,
}

/// What a record says of the post it is about.
#[derive(Deserialize)]
struct About<'a> {
    #[serde(borrow)]
    source: Cow<'a, str>,
    #[serde(borrow)]
    native_id: Cow<'a, str>,
}

impl Posts {
    pub(super) fn new(posts: &[(String, String)]) -> Result<Posts, Error> {
        let ids: Vec<String> =
            posts.iter().map(|(_, id)| regex::escape(&serde_json::Value::from(id.as_str()).to_string())).collect();
        let ids = RegexBuilder::new(&ids.join("|")).size_limit(64 << 20).build().map_err(|_size| Error::TooManyKeys)?;
        Ok(Posts { ids, posts: posts.iter().cloned().collect() })
    }

    /// The record is about one of them, or names one and cannot be read.
    fn include(&self, record: &[u8]) -> bool {
        self.ids.is_match(record)
            && serde_json::from_slice(record).map_or(true, |About { source, native_id }: About<'_>| {
                let id = native_id.into_owned();
                self.posts.contains(&(source.into_owned(), id.clone())) || self.posts.contains(&(String::new(), id))
            })
    }
}

/// Erases from every file. Runs beside the writer on connections of its own, one row a transaction, so
/// that appends hardly wait.
pub(super) fn erase(shared: &Shared, posts: &Posts, _alone: &Whole) -> Result<usize, Error> {
    let days = held(&shared.days).clone();
    let mut erased = 0;
    for day in days {
        let connection = match day::connect(&day.path, OpenFlags::empty()) {
            // Retention was faster.
            Err(_) if !day.path.exists() => continue,
            connection => connection?,
        };
        let rewritten = rewrite(&connection, posts);
        // Also after a failure: what is rewritten already must not be served any more.
        held(&shared.recent).purge();
        erased += rewritten.map_err(Error::database("erase"))?;
        truncate_journal(&connection).map_err(Error::database("empty its journal"))?;
    }
    Ok(erased)
}

fn rewrite(connection: &Connection, posts: &Posts) -> rusqlite::Result<usize> {
    let mut select = connection.prepare("SELECT first, body FROM batch WHERE first > ?1 ORDER BY first LIMIT 1")?;
    let mut update = connection.prepare("UPDATE batch SET body = ?2 WHERE first = ?1")?;
    let mut erased = 0;
    let mut at = -1;
    loop {
        let mut rows = select.query([at])?;
        let Some(row) = rows.next()? else { return Ok(erased) };
        at = row.get(0)?;
        let body = row.get_ref(1)?.as_blob()?;
        if !posts.ids.is_match(body) {
            continue;
        }
        let (mut chunk, mut here) = (Chunk::new(Position(at)), 0);
        for record in chunk::decode(body) {
            let kept = record.filter(|bytes| !posts.include(bytes));
            here += usize::from(kept.is_none() && record.is_some());
            chunk.push(kept);
        }
        drop(rows);
        if here == 0 {
            continue;
        }
        erased += here;
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
