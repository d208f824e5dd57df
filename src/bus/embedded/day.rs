//! The file of one day: how it is named, opened, written and read.
//!
//! A file says itself at which position it begins, so that the log's end is known even when all of its
//! records are gone.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use jiff::{civil::Date, tz::TimeZone};
use rusqlite::{Connection, OpenFlags, TransactionBehavior, params};

use super::{
    Error, Position, Record, Shared,
    chunk::{self, Chunk},
    held,
};
use crate::{clock::Time, crash};

/// Version of the files' format.
pub(in crate::bus) const FORMAT: i64 = 1;

const SCHEMA: &str = "
    CREATE TABLE log (base INTEGER NOT NULL) STRICT;
    CREATE TABLE batch (
        first INTEGER PRIMARY KEY, -- position of the first record
        count INTEGER NOT NULL,
        appended_at INTEGER NOT NULL,
        body BLOB NOT NULL -- each record with its length before it
    ) STRICT;";

/// One file of the log.
#[derive(Clone, Debug)]
pub(super) struct Day {
    pub(super) date: Date,
    pub(super) path: PathBuf,
    /// Where it begins.
    pub(super) base: Position,
}

impl Day {
    /// Opens the file of `date` for writing and makes it if need be, to begin at `base`. Returns the
    /// position after its last record too.
    pub(super) fn open(dir: &Path, date: Date, base: Position) -> Result<(Day, Connection, Position), Error> {
        let path = dir.join(name(date));
        let mut connection = connect(&path, OpenFlags::SQLITE_OPEN_CREATE)?;
        if format(&connection)? == 0 {
            create(&mut connection, base).map_err(Error::database("make a file"))?;
        }
        let found = format(&connection)?;
        if found != FORMAT {
            return Err(Error::Format { path, found });
        }
        let (base, end) = bounds(&connection).map_err(Error::database("read a file"))?;
        Ok((Day { date, path, base }, connection, end))
    }
}

/// How the file of a day is called.
pub(super) fn name(date: Date) -> String {
    format!("mentions-{date}.db")
}

/// The day of a time, in UTC.
pub(super) fn date(at: Time) -> Date {
    at.timestamp().to_zoned(TimeZone::UTC).date()
}

/// The days that have a file in `dir`, oldest first.
pub(super) fn dates(dir: &Path) -> Result<Vec<Date>, Error> {
    let mut dates = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(Error::directory(dir))? {
        let name = entry.map_err(Error::directory(dir))?.file_name();
        let day = name.to_str().and_then(|name| name.strip_prefix("mentions-")?.strip_suffix(".db"));
        dates.extend(day.and_then(|day| day.parse::<Date>().ok()));
    }
    dates.sort();
    Ok(dates)
}

/// Opens a connection that loses nothing it has committed and leaves nothing behind that it deletes.
pub(super) fn connect(path: &Path, extra: OpenFlags) -> Result<Connection, Error> {
    let open = || {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | extra;
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(Duration::from_secs(10))?;
        connection.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA secure_delete = ON;")?;
        let synchronous: i64 = connection.pragma_query_value(None, "synchronous", |row| row.get(0))?;
        assert_eq!(synchronous, 2, "what is acknowledged must be durable");
        Ok(connection)
    };
    open().map_err(Error::database("open a file"))
}

/// Writes the chunks in one transaction; all or nothing.
pub(super) fn insert(connection: &mut Connection, chunks: &[Chunk], at: Time) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut insert =
        transaction.prepare_cached("INSERT INTO batch (first, count, appended_at, body) VALUES (?1, ?2, ?3, ?4)")?;
    for chunk in chunks {
        insert.execute(params![chunk.first.0, chunk.count, at.0, chunk.body])?;
    }
    drop(insert);
    crash::point("bus commit");
    transaction.commit()?;
    crash::point("bus commit");
    Ok(())
}

/// The records from `from` on; of one file only, and empty when there are none.
pub(super) fn records(shared: &Shared, from: Position, max: usize) -> Result<Vec<Record>, Error> {
    let days = held(&shared.days).clone();
    let containing = days.partition_point(|day| day.base <= from).saturating_sub(1);
    let mut reader = held(&shared.reader);
    for day in days.iter().skip(containing) {
        if reader.as_ref().is_none_or(|(path, _)| *path != day.path) {
            *reader = Some((day.path.clone(), connect(&day.path, OpenFlags::empty())?));
        }
        let Some((_, connection)) = reader.as_ref() else { continue };
        let records = select(connection, from, max).map_err(Error::database("read records"))?;
        if !records.is_empty() {
            return Ok(records);
        }
    }
    Ok(Vec::new())
}

fn select(connection: &Connection, from: Position, max: usize) -> rusqlite::Result<Vec<Record>> {
    let mut select = connection.prepare_cached(
        "SELECT first, body FROM batch
         WHERE first >= coalesce((SELECT max(first) FROM batch WHERE first <= ?1), ?1) ORDER BY first",
    )?;
    let mut rows = select.query([from.0])?;
    let mut records = Vec::new();
    while let Some(row) = rows.next()? {
        if chunk::collect(Position(row.get(0)?), row.get_ref(1)?.as_blob()?, from, max, &mut records) {
            break;
        }
    }
    Ok(records)
}

fn format(connection: &Connection) -> Result<i64, Error> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(Error::database("open a file"))
}

fn create(connection: &mut Connection, base: Position) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch(SCHEMA)?;
    transaction.execute("INSERT INTO log (base) VALUES (?1)", [base.0])?;
    transaction.pragma_update(None, "user_version", FORMAT)?;
    transaction.commit()
}

fn bounds(connection: &Connection) -> rusqlite::Result<(Position, Position)> {
    let read = |sql| connection.query_row(sql, [], |row| row.get(0));
    let base: i64 = read("SELECT base FROM log")?;
    let end: i64 = read("SELECT coalesce((SELECT first + count FROM batch ORDER BY first DESC LIMIT 1), 0)")?;
    Ok((Position(base), Position(end.max(base))))
}
