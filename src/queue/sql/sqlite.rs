//! The embedded engine: how its file is opened, brought up to date, and kept from growing.

use std::{
    path::Path,
    sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError},
    time::Duration,
};

use rusqlite::{
    Connection, OpenFlags, ToSql,
    types::{ToSqlOutput, ValueRef},
};

use super::Value;
use crate::{
    clock::Clock,
    queue::{Config, Error},
};

pub(in crate::queue) const MIGRATIONS: &[&str] = &[
    include_str!("../migrations/0001_desk.sql"),
    include_str!("../migrations/0002_engines.sql"),
    include_str!("../migrations/0003_sources.sql"),
    include_str!("../migrations/0004_listening.sql"),
    include_str!("../migrations/0005_searches.sql"),
    include_str!("../migrations/0006_learning.sql"),
    include_str!("../migrations/0007_protection.sql"),
    include_str!("../migrations/0008_due.sql"),
];

impl ToSql for Value<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let json = |list: serde_json::Result<String>| ToSqlOutput::Owned(list.unwrap_or_default().into());
        Ok(match *self {
            Value::Null => ToSqlOutput::Borrowed(ValueRef::Null),
            Value::Int(number) => ToSqlOutput::Borrowed(ValueRef::Integer(number)),
            Value::Real(number) => ToSqlOutput::Borrowed(ValueRef::Real(number)),
            Value::Text(text) => ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())),
            Value::Blob(bytes) => ToSqlOutput::Borrowed(ValueRef::Blob(bytes)),
            Value::Ids(ids) => json(serde_json::to_string(ids)),
            Value::Texts(texts) => json(serde_json::to_string(texts)),
        })
    }
}

/// A column of a row; none when a text is not UTF-8, which no version of this program writes.
pub(super) fn value(column: ValueRef<'_>) -> Option<Value<'_>> {
    Some(match column {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => Value::Int(number),
        ValueRef::Real(number) => Value::Real(number),
        ValueRef::Text(text) => Value::Text(std::str::from_utf8(text).ok()?),
        ValueRef::Blob(bytes) => Value::Blob(bytes),
    })
}

/// Opens a connection.
pub(in crate::queue) fn connect(path: &Path, config: &Config, read_only: bool) -> Result<Connection, Error> {
    let mut flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    if !read_only {
        flags |= OpenFlags::SQLITE_OPEN_CREATE;
    }
    let connection = Connection::open_with_flags(path, flags)?;
    // A person's command may stand behind one batch: both together stay within what people wait for.
    connection.busy_timeout(Duration::from_secs(2))?;
    connection.set_prepared_statement_cache_capacity(128);
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    let synchronous: i64 = connection.pragma_query_value(None, "synchronous", |row| row.get(0))?;
    assert_eq!(synchronous, 2, "what is acknowledged must be durable");
    connection.pragma_update(None, "foreign_keys", "OFF")?;
    // Freed bytes are overwritten: a text that was edited must not linger when its mention is erased.
    connection.pragma_update(None, "secure_delete", true)?;
    // Checkpoints run on a connection of their own, so that no commit pays for one.
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    // A log that had to grow long gives the disk back when it begins anew.
    connection.pragma_update(None, "journal_size_limit", LONG_LOG * 4_096)?;
    connection.pragma_update(None, "cache_size", -i64::from(config.cache_kib))?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    if read_only {
        connection.pragma_update(None, "query_only", true)?;
    }
    Ok(connection)
}

/// Only the owner may read what customers wrote.
pub(in crate::queue) fn protect(path: &Path) -> Result<(), Error> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))
            .map_err(|source| Error::File { path: path.to_owned(), source })?;
    }
    Ok(())
}

/// Brings the schema up to date; returns the version found and the one reached.
pub(in crate::queue) fn migrate(connection: &mut Connection) -> Result<(usize, usize), Error> {
    let found: usize = connection.pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0))?.try_into().unwrap_or(0);
    if found > MIGRATIONS.len() {
        return Err(Error::Newer { found, known: MIGRATIONS.len() });
    }
    for (index, migration) in MIGRATIONS.iter().enumerate().skip(found) {
        let transaction = connection.transaction()?;
        transaction.execute_batch(migration)?;
        transaction.pragma_update(None, "user_version", i64::try_from(index + 1).unwrap_or(i64::MAX))?;
        transaction.commit()?;
    }
    Ok((found, MIGRATIONS.len()))
}

/// The log may have so many pages; then it begins anew as soon as nobody reads in it.
const LONG_LOG: i64 = 16_384;
/// Beginning the log anew holds writers up: nobody is waited for longer.
const ANEW_WITHIN: Duration = Duration::from_millis(200);

/// Copies the log into the database once a second while anything is written, also under steady load; begins it
/// anew when it has grown long; and empties it when asked to, so that erased text does not linger in it.
pub(in crate::queue) fn keep_checkpointing(connection: &Connection, asked: &Receiver<bool>) {
    if let Err(error) = connection.busy_timeout(ANEW_WITHIN) {
        tracing::warn!(error = %error, "checkpoints of the store may hold writers up");
    }
    let second = Duration::from_secs(1);
    let mut written_at = None;
    let mut empty = false;
    loop {
        match asked.recv_timeout(second) {
            Ok(wants_empty) => {
                empty |= wants_empty;
                let now = Clock::System.now();
                if now.since(*written_at.get_or_insert(now)) < second {
                    continue;
                }
            }
            Err(RecvTimeoutError::Timeout) if written_at.is_none() => continue,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => empty = true,
        }
        match copy_log(connection, empty) {
            Ok(done) => {
                empty &= !done;
                written_at = (!done).then(|| Clock::System.now());
            }
            Err(error) => tracing::warn!(error = %error, "could not checkpoint the store, trying again"),
        }
        if matches!(asked.try_recv(), Err(TryRecvError::Disconnected)) {
            return;
        }
    }
}

/// One checkpoint; false if the log is still to be emptied, or too long, because somebody read in it. Most is
/// copied while writers go on, so that they wait only for what was written meanwhile.
fn copy_log(connection: &Connection, empty: bool) -> rusqlite::Result<bool> {
    let checkpoint = |mode: &str| {
        let ask = format!("PRAGMA wal_checkpoint({mode})");
        connection.query_row(&ask, [], |row| Ok((row.get::<_, i64>(0)? != 0, row.get::<_, i64>(1)?)))
    };
    let (_, pages) = checkpoint("PASSIVE")?;
    let (busy, _) = match (empty, pages > LONG_LOG) {
        (true, _) => checkpoint("TRUNCATE")?,
        (false, true) => checkpoint("RESTART")?,
        (false, false) => return Ok(true),
    };
    Ok(!busy)
}
