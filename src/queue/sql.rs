//! One way to speak SQL, whichever engine holds the desk.
//!
//! The rest of this folder writes statements that both engines take, with places `?1`, `?2` ..., and reads
//! rows through [`Row::get`]. Where the dialects differ, [`Sql::pick`] chooses between two texts on the spot.

pub(super) mod sqlite;

use super::Error;

/// A connection to whichever engine holds the desk.
pub(super) enum Sql {
    Sqlite(rusqlite::Connection),
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
}

impl Sql {
    /// The text for the engine that runs, where no text suits both.
    #[expect(dead_code, reason = "the second engine follows")]
    pub(super) fn pick<'t>(&self, sqlite: &'t str) -> &'t str {
        match self {
            Sql::Sqlite(_) => sqlite,
        }
    }

    /// Begins a transaction that writes.
    pub(super) fn begin(&self) -> Result<(), Error> {
        match self {
            Sql::Sqlite(connection) => Ok(connection.execute_batch("BEGIN IMMEDIATE")?),
        }
    }

    /// Begins a transaction that reads: all its statements see one moment.
    pub(super) fn moment(&self) -> Result<(), Error> {
        match self {
            Sql::Sqlite(connection) => Ok(connection.execute_batch("BEGIN")?),
        }
    }

    /// Makes what was written durable.
    pub(super) fn commit(&self) -> Result<(), Error> {
        match self {
            Sql::Sqlite(connection) => Ok(connection.execute_batch("COMMIT")?),
        }
    }

    /// Ends a transaction as if it had never been.
    pub(super) fn roll_back(&self) {
        let failed = match self {
            // SQLite may have rolled back by itself, on a full disk for example.
            Sql::Sqlite(connection) if connection.is_autocommit() => None,
            Sql::Sqlite(connection) => connection.execute_batch("ROLLBACK").err(),
        };
        if let Some(error) = failed {
            tracing::error!(error = %error, "could not roll back");
        }
    }

    /// Runs a statement; returns how many rows it changed.
    pub(super) fn execute(&self, sql: &str, values: &[Value<'_>]) -> Result<usize, Error> {
        match self {
            Sql::Sqlite(connection) => Ok(connection.prepare_cached(sql)?.execute(rusqlite::params_from_iter(values))?),
        }
    }

    /// Inserts one row into a table that counts its own ids; returns the new one.
    pub(super) fn insert(&self, sql: &str, values: &[Value<'_>]) -> Result<i64, Error> {
        match self {
            Sql::Sqlite(connection) => {
                connection.prepare_cached(sql)?.execute(rusqlite::params_from_iter(values))?;
                Ok(connection.last_insert_rowid())
            }
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
        }
        Ok(())
    }
}

impl<'a> Row<'a> {
    /// The value of a column, counted from 0.
    pub(super) fn get<T: Column<'a>>(&self, index: usize) -> Result<T, Error> {
        let value = match self {
            Row::Sqlite(row) => sqlite::value(row.get_ref(index)?),
        };
        value.and_then(T::of).ok_or(Error::Column { index })
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
