//! What a second process finds on the disk once the first has ended.

use std::path::Path;

use anyhow::{Result, ensure};
use moksori::{
    config::Config,
    search::{self, Search},
};
use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};

/// Mentions that no case holds.
const LOOSE: &str = "SELECT count(*) FROM mention m
    WHERE NOT EXISTS (SELECT 1 FROM cases c WHERE c.mention_id = m.id)
    AND NOT EXISTS (SELECT 1 FROM case_mention j WHERE j.mention_id = m.id)";

/// Counts what a data directory holds.
pub(crate) fn count(data: &Path) -> Result<Value> {
    let mut records = 0;
    for entry in std::fs::read_dir(data.join("bus"))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "db") {
            records += one(&open(&path)?, "SELECT coalesce(sum(count), 0) FROM batch")?;
        }
    }
    let store = open(&data.join("desk.db"))?;
    let intact: String = store.query_row("PRAGMA quick_check", [], |row| row.get(0))?;
    ensure!(intact == "ok", "the store is damaged: {intact}");
    let config = Config::from_texts(&[], &[])?;
    let (index, opened) =
        Search::open(&data.join("index"), config.search, search::Metrics::new(&prometheus::Registry::new())?)?;
    ensure!(!opened.rebuilt, "the index is damaged");
    Ok(json!({
        "records": records,
        "mentions": one(&store, "SELECT count(*) FROM mention")?,
        "contacts": one(&store, "SELECT count(*) FROM contact")?,
        "cases": one(&store, "SELECT count(*) FROM cases")?,
        "clocks": one(&store, "SELECT count(*) FROM clock")?,
        "events": one(&store, "SELECT count(*) FROM event")?,
        "dead_letters": one(&store, "SELECT count(*) FROM dead_letter")?,
        "loose": one(&store, LOOSE)?,
        "documents": index.documents(),
        "indexed_to": opened.seq.0,
    }))
}

fn open(path: &Path) -> Result<Connection> {
    Ok(Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?)
}

fn one(connection: &Connection, sql: &str) -> Result<i64> {
    Ok(connection.query_row(sql, [], |row| row.get(0))?)
}
