//! One way to speak SQL, whichever engine holds the desk.
//!
//! The rest of this folder writes statements that both engines take, with places `?1`, `?2` ..., and reads
//! rows through [`Row::get`]. Where the dialects differ, [`Sql::pick`] chooses between two texts on the spot.

pub(super) mod bulk;
pub(super) mod connect;
pub(super) mod postgres;
pub(super) mod sqlite;
#[cfg(test)]
mod tests;

use self::{
    bulk::Bulk,
    postgres::{Failure, Session},
};
use super::{Error, NewEvent};
use crate::case::{Actor, Seq};

/// A connection to whichever engine holds the desk.
pub(super) enum Sql {
    Sqlite(rusqlite::Connection),
    Postgres(Box<Session>),
}

/// A value on its way into a statement, or out of a row; texts and bytes are borrowed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Value<'a> {
    Null,
    Int(i64),
    Real(f64),
    Text(&'a str),
    Blob(&'a [u8]),
    /// Many ids, for `IN (SELECT value FROM json_each(?1))`.
    Ids(&'a [i64]),
    /// Many texts, likewise.
    Texts(&'a [String]),
}

/// What a column can be read as.
pub(super) trait Column<'a>: Sized {
    /// The value, if it is one of this type.
    fn of(value: Value<'a>) -> Option<Self>;
}

/// A row of either engine, valid until the next.
pub(super) enum Row<'a> {
    Sqlite(&'a rusqlite::Row<'a>),
    Postgres(&'a ::postgres::Row),
}

/// Who waits for the number of the last event: the key of a lock that the server keeps for us.
const EVENTS_LOCK: i64 = 0x6d6f_6b73_6f72_6901;

impl Sql {
    /// The text for the engine that runs, where no text suits both.
    pub(super) fn pick<'t>(&self, sqlite: &'t str, postgres: &'t str) -> &'t str {
        match self {
            Sql::Sqlite(_) => sqlite,
            Sql::Postgres(_) => postgres,
        }
    }

    /// Other processes write at the same time: what is read must be locked before it is decided on.
    pub(super) fn shared(&self) -> bool {
        matches!(self, Sql::Postgres(_))
    }

    /// Begins a transaction that writes.
    pub(super) fn begin(&self) -> Result<(), Error> {
        match self {
            Sql::Sqlite(connection) => Ok(connection.execute_batch("BEGIN IMMEDIATE")?),
            Sql::Postgres(session) => session.begin("BEGIN ISOLATION LEVEL READ COMMITTED"),
        }
    }

    /// Begins a transaction that reads: all its statements see one moment.
    pub(super) fn moment(&self) -> Result<(), Error> {
        match self {
            Sql::Sqlite(connection) => Ok(connection.execute_batch("BEGIN")?),
            Sql::Postgres(session) => session.begin("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"),
        }
    }

    /// Makes what was written durable.
    pub(super) fn commit(&self) -> Result<(), Error> {
        match self {
            Sql::Sqlite(connection) => Ok(connection.execute_batch("COMMIT")?),
            Sql::Postgres(session) => session.commit(),
        }
    }

    /// Ends a transaction as if it had never been.
    pub(super) fn roll_back(&self) {
        match self {
            // SQLite may have rolled back by itself, on a full disk for example.
            Sql::Sqlite(connection) if connection.is_autocommit() => {}
            Sql::Sqlite(connection) => {
                if let Err(error) = connection.execute_batch("ROLLBACK") {
                    tracing::error!(error = %error, "could not roll back");
                }
            }
            Sql::Postgres(session) => session.roll_back(),
        }
    }

    /// What the last failure means for its transaction; always none for SQLite, which has one writer.
    pub(super) fn take_failure(&self) -> Option<Failure> {
        match self {
            Sql::Sqlite(_) => None,
            Sql::Postgres(session) => session.take_failure(),
        }
    }

    /// The connection must be replaced.
    pub(super) fn lost(&self) -> bool {
        match self {
            Sql::Sqlite(_) => false,
            Sql::Postgres(session) => session.lost(),
        }
    }

    /// Waits until this transaction is the next to commit: what is read from now on holds until it has.
    pub(super) fn enter_commit(&self) -> Result<(), Error> {
        match self {
            Sql::Sqlite(_) => Ok(()),
            // In a statement of its own: the next one must see what the holder before us has committed.
            Sql::Postgres(_) => self.each("SELECT pg_advisory_xact_lock(?1)", &[EVENTS_LOCK.into()], |_| Ok(())),
        }
    }

    /// Another process was first with what this transaction did: it must run again.
    pub(super) fn taken(&self) -> Error {
        if let Sql::Postgres(session) = self {
            session.note(Failure::Taken);
        }
        Error::Taken
    }

    /// Writes what still waits.
    pub(super) fn flush(&self) -> Result<(), Error> {
        match self {
            Sql::Sqlite(_) => Ok(()),
            Sql::Postgres(session) => session.flush(bulk::EVERY),
        }
    }

    /// Writes a row of a table that is written in bulk; returns its id where the table counts its own.
    pub(super) fn add(&self, bulk: &'static Bulk, values: &[Value<'_>]) -> Result<i64, Error> {
        match self {
            Sql::Sqlite(_) => self.insert(bulk.one(), values),
            Sql::Postgres(session) => {
                let id = bulk.counted().then(|| session.next_id(bulk)).transpose()?;
                session.pending.borrow_mut().push(bulk, values, id);
                Ok(id.unwrap_or(0))
            }
        }
    }

    /// Forgets the rows of a table that wait and have `first` in their first column: newer ones follow, or none.
    pub(super) fn forget(&self, bulk: &'static Bulk, first: i64) {
        if let Sql::Postgres(session) = self {
            session.pending.borrow_mut().forget(bulk, first);
        }
    }

    /// Runs a statement that concerns none of the rows that wait, whatever tables it names.
    pub(super) fn execute_beside(&self, sql: &str, values: &[Value<'_>]) -> Result<usize, Error> {
        match self {
            Sql::Sqlite(_) => self.execute(sql, values),
            Sql::Postgres(session) => session.execute_beside(sql, values),
        }
    }

    /// Takes ids for as many rows as are about to be added.
    pub(super) fn reserve(&self, bulk: &'static Bulk, count: usize) -> Result<(), Error> {
        match self {
            Sql::Postgres(session) if count > 0 => session.reserve(bulk, i64::try_from(count).unwrap_or(1)),
            _ => Ok(()),
        }
    }

    /// Numbers events and writes them: without a gap, in the order of the commits, since on PostgreSQL only the
    /// next to commit comes here. `last` is the last number that this process knows.
    pub(super) fn append(&self, last: Seq, events: &[NewEvent]) -> Result<Seq, Error> {
        match self {
            Sql::Sqlite(_) => {
                let mut seq = last;
                for event in events {
                    seq.0 += 1;
                    self.execute(
                        "INSERT INTO event (seq, case_id, mention_id, at, actor, kind, payload) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                        &[
                            seq.0.into(),
                            event.case.map(|case| case.0).into(),
                            event.mention.map(|mention| mention.0).into(),
                            event.at.0.into(),
                            actor_number(event.actor).into(),
                            event.kind.as_str().into(),
                            (&event.payload).into(),
                        ],
                    )?;
                }
                Ok(seq)
            }
            Sql::Postgres(_) if events.is_empty() => Ok(last),
            Sql::Postgres(session) => session.append(events).map(Seq),
        }
    }

    /// Runs a statement; returns how many rows it changed.
    pub(super) fn execute(&self, sql: &str, values: &[Value<'_>]) -> Result<usize, Error> {
        match self {
            Sql::Sqlite(connection) => Ok(connection.prepare_cached(sql)?.execute(rusqlite::params_from_iter(values))?),
            Sql::Postgres(session) => session.execute(sql, values),
        }
    }

    /// Inserts one row into a table that counts its own ids; returns the new one.
    pub(super) fn insert(&self, sql: &str, values: &[Value<'_>]) -> Result<i64, Error> {
        match self {
            Sql::Sqlite(connection) => {
                connection.prepare_cached(sql)?.execute(rusqlite::params_from_iter(values))?;
                Ok(connection.last_insert_rowid())
            }
            Sql::Postgres(_) => self.one(&format!("{sql} RETURNING id"), values, |row| row.get(0)),
        }
    }

    /// The first row, which there must be.
    pub(super) fn one<T>(
        &self,
        sql: &str,
        values: &[Value<'_>],
        read: impl FnOnce(&Row<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.optional(sql, values, read)?.ok_or(Error::NoRow)
    }

    /// The first row, if there is one.
    pub(super) fn optional<T>(
        &self,
        sql: &str,
        values: &[Value<'_>],
        read: impl FnOnce(&Row<'_>) -> Result<T, Error>,
    ) -> Result<Option<T>, Error> {
        match self {
            Sql::Sqlite(connection) => {
                let mut statement = connection.prepare_cached(sql)?;
                let mut rows = statement.query(rusqlite::params_from_iter(values))?;
                rows.next()?.map(|row| read(&Row::Sqlite(row))).transpose()
            }
            Sql::Postgres(session) => session.query(sql, values)?.first().map(|row| read(&Row::Postgres(row))).transpose(),
        }
    }

    /// All rows.
    pub(super) fn all<T>(
        &self,
        sql: &str,
        values: &[Value<'_>],
        mut read: impl FnMut(&Row<'_>) -> Result<T, Error>,
    ) -> Result<Vec<T>, Error> {
        let mut found = Vec::new();
        self.each(sql, values, |row| {
            found.push(read(row)?);
            Ok(())
        })?;
        Ok(found)
    }

    /// Hands each row to `read`.
    pub(super) fn each(
        &self,
        sql: &str,
        values: &[Value<'_>],
        mut read: impl FnMut(&Row<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        match self {
            Sql::Sqlite(connection) => {
                let mut statement = connection.prepare_cached(sql)?;
                let mut rows = statement.query(rusqlite::params_from_iter(values))?;
                while let Some(row) = rows.next()? {
                    read(&Row::Sqlite(row))?;
                }
            }
            Sql::Postgres(session) => {
                for row in &session.query(sql, values)? {
                    read(&Row::Postgres(row))?;
                }
            }
        }
        Ok(())
    }
}

impl<'a> Row<'a> {
    /// The value of a column, counted from 0.
    pub(super) fn get<T: Column<'a>>(&self, index: usize) -> Result<T, Error> {
        let value = match self {
            Row::Sqlite(row) => sqlite::value(row.get_ref(index)?),
            Row::Postgres(row) => Some(row.try_get(index)?),
        };
        value.and_then(T::of).ok_or(Error::Column { index })
    }
}

fn actor_number(actor: Actor) -> i64 {
    match actor {
        Actor::System => 0,
        Actor::Customer => -1,
        Actor::Agent(agent) => agent.0,
    }
}

impl Column<'_> for i64 {
    fn of(value: Value<'_>) -> Option<i64> {
        if let Value::Int(number) = value { Some(number) } else { None }
    }
}

impl Column<'_> for u32 {
    fn of(value: Value<'_>) -> Option<u32> {
        i64::of(value).and_then(|number| number.try_into().ok())
    }
}

impl Column<'_> for i32 {
    fn of(value: Value<'_>) -> Option<i32> {
        i64::of(value).and_then(|number| number.try_into().ok())
    }
}

impl Column<'_> for bool {
    fn of(value: Value<'_>) -> Option<bool> {
        i64::of(value).map(|number| number != 0)
    }
}

impl Column<'_> for f32 {
    #[expect(clippy::cast_possible_truncation, reason = "what is stored was an f32")]
    fn of(value: Value<'_>) -> Option<f32> {
        if let Value::Real(number) = value { Some(number as f32) } else { None }
    }
}

impl Column<'_> for f64 {
    fn of(value: Value<'_>) -> Option<f64> {
        if let Value::Real(number) = value { Some(number) } else { None }
    }
}

impl<'a> Column<'a> for &'a str {
    fn of(value: Value<'a>) -> Option<&'a str> {
        if let Value::Text(text) = value { Some(text) } else { None }
    }
}

impl Column<'_> for String {
    fn of(value: Value<'_>) -> Option<String> {
        if let Value::Text(text) = value { Some(text.to_owned()) } else { None }
    }
}

impl Column<'_> for Vec<u8> {
    fn of(value: Value<'_>) -> Option<Vec<u8>> {
        if let Value::Blob(bytes) = value { Some(bytes.to_vec()) } else { None }
    }
}

impl<'a, T: Column<'a>> Column<'a> for Option<T> {
    fn of(value: Value<'a>) -> Option<Option<T>> {
        if value == Value::Null { Some(None) } else { T::of(value).map(Some) }
    }
}

impl From<i64> for Value<'_> {
    fn from(number: i64) -> Self {
        Value::Int(number)
    }
}

impl From<i32> for Value<'_> {
    fn from(number: i32) -> Self {
        Value::Int(number.into())
    }
}

impl From<u32> for Value<'_> {
    fn from(number: u32) -> Self {
        Value::Int(number.into())
    }
}

impl From<bool> for Value<'_> {
    fn from(truth: bool) -> Self {
        Value::Int(truth.into())
    }
}

impl From<f32> for Value<'_> {
    fn from(number: f32) -> Self {
        Value::Real(number.into())
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Value::Text(text)
    }
}

impl<'a> From<&'a String> for Value<'a> {
    fn from(text: &'a String) -> Self {
        Value::Text(text)
    }
}

impl<'a> From<&'a [u8]> for Value<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Value::Blob(bytes)
    }
}

impl<'a> From<&'a [i64]> for Value<'a> {
    fn from(ids: &'a [i64]) -> Self {
        Value::Ids(ids)
    }
}

impl<'a> From<&'a [String]> for Value<'a> {
    fn from(texts: &'a [String]) -> Self {
        Value::Texts(texts)
    }
}

impl<'a, T: Into<Value<'a>>> From<Option<T>> for Value<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Value::Null, Into::into)
    }
}

impl<'a> From<&'a Option<String>> for Value<'a> {
    fn from(text: &'a Option<String>) -> Self {
        text.as_deref().into()
    }
}
