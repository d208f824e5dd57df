//! PostgreSQL: one session, its prepared statements, and what it still has to write.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    error::Error as _,
    sync::Arc,
};

use postgres::{
    Client, Row, Statement,
    error::SqlState,
    types::{FromSql, IsNull, ToSql, Type, private::BytesMut},
};

use super::{
    Value,
    bulk::{Bulk, Pending},
};
use crate::queue::{Error, NewEvent};

/// The boxed error of the client's own conversions.
type Boxed = Box<dyn std::error::Error + Sync + Send>;

/// One connection.
pub(in crate::queue) struct Session {
    /// Taken out only when the session ends.
    client: RefCell<Option<Client>>,
    statements: RefCell<HashMap<String, Arc<Prepared>>>,
    pub(super) pending: RefCell<Pending>,
    failure: Cell<Option<Failure>>,
    /// A statement of this transaction failed: the server will commit nothing of it.
    failed: Cell<bool>,
}

/// A statement that the server knows.
struct Prepared {
    statement: Statement,
    /// The tables that it names, of those whose rows are written in bulk.
    tables: u32,
}

/// What the last failed statement of a transaction means for the transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::queue) enum Failure {
    /// The connection is gone.
    Lost,
    /// Another process wrote the same row first; once more, and its row is seen.
    Taken,
    /// The server wants the whole transaction again: a deadlock, or a lock that took too long.
    Again,
}

impl Session {
    pub(super) fn new(client: Client) -> Session {
        Session {
            client: RefCell::new(Some(client)),
            statements: RefCell::default(),
            pending: RefCell::default(),
            failure: Cell::new(None),
            failed: Cell::new(false),
        }
    }

    /// Runs `work` with the client and remembers what its failure means.
    fn with<T>(&self, work: impl FnOnce(&mut Client) -> Result<T, postgres::Error>) -> Result<T, Error> {
        let mut client = self.client.borrow_mut();
        let client = client.as_mut().ok_or(Error::Closed)?;
        work(client).map_err(|error| {
            self.failed.set(true);
            if let Some(failure) = failure(&error) {
                self.failure.set(Some(failure));
            }
            Error::Postgres(error)
        })
    }

    fn prepared(&self, sql: &str, values: &[Value<'_>]) -> Result<Arc<Prepared>, Error> {
        if let Some(known) = self.statements.borrow().get(sql) {
            return Ok(Arc::clone(known));
        }
        let types: Vec<Type> = values.iter().map(Value::kind).collect();
        self.prepared_as(sql, &translate(sql), &types, Bulk::named_in(sql))
    }

    fn prepared_as(&self, name: &str, sql: &str, types: &[Type], tables: u32) -> Result<Arc<Prepared>, Error> {
        if let Some(known) = self.statements.borrow().get(name) {
            return Ok(Arc::clone(known));
        }
        let statement = self.with(|client| client.prepare_typed(sql, types))?;
        let prepared = Arc::new(Prepared { statement, tables });
        self.statements.borrow_mut().insert(name.to_owned(), Arc::clone(&prepared));
        Ok(prepared)
    }

    /// The next id of a table, from a block of its sequence.
    pub(super) fn next_id(&self, bulk: &'static Bulk) -> Result<i64, Error> {
        loop {
            if let Some(id) = self.pending.borrow_mut().next_id(bulk) {
                return Ok(id);
            }
            let block = self.pending.borrow().block();
            self.reserve(bulk, block)?;
        }
    }

    /// Takes ids from a table's sequence, to be given out later.
    pub(super) fn reserve(&self, bulk: &'static Bulk, count: i64) -> Result<(), Error> {
        let sql = format!("SELECT nextval('{}_id_seq') FROM generate_series(1, ?1)", bulk.table());
        let rows = self.query(&sql, &[count.into()])?;
        let ids = rows.iter().map(|row| row.try_get(0)).collect::<Result<Vec<i64>, _>>()?;
        self.pending.borrow_mut().add_ids(bulk, ids);
        Ok(())
    }

    pub(super) fn execute(&self, sql: &str, values: &[Value<'_>]) -> Result<usize, Error> {
        let prepared = self.prepared(sql, values)?;
        self.flush(prepared.tables)?;
        self.execute_beside(sql, values)
    }

    /// Runs a statement that concerns none of the rows that wait.
    pub(super) fn execute_beside(&self, sql: &str, values: &[Value<'_>]) -> Result<usize, Error> {
        let prepared = self.prepared(sql, values)?;
        let changed = self.with(|client| client.execute(&prepared.statement, &parameters(values)))?;
        Ok(usize::try_from(changed).unwrap_or(usize::MAX))
    }

    pub(super) fn query(&self, sql: &str, values: &[Value<'_>]) -> Result<Vec<Row>, Error> {
        let prepared = self.prepared(sql, values)?;
        self.flush(prepared.tables)?;
        self.with(|client| client.query(&prepared.statement, &parameters(values)))
    }

    /// Writes the rows that wait for these tables.
    pub(super) fn flush(&self, tables: u32) -> Result<(), Error> {
        loop {
            let Some((bulk, columns)) = self.pending.borrow_mut().take(tables) else { return Ok(()) };
            let sql = bulk.all();
            // Its places are cast already, and it names itself, which must not flush again.
            let prepared = self.prepared_as(sql, sql, &[], 0)?;
            self.with(|client| client.execute(&prepared.statement, &columns.parameters()))?;
        }
    }

    /// Numbers events, writes them and tells the followers; returns the last number.
    pub(super) fn append(&self, events: &[NewEvent]) -> Result<i64, Error> {
        let cases: Vec<Option<i64>> = events.iter().map(|event| event.case.map(|case| case.0)).collect();
        let mentions: Vec<Option<i64>> = events.iter().map(|event| event.mention.map(|mention| mention.0)).collect();
        let at: Vec<i64> = events.iter().map(|event| event.at.0).collect();
        let actors: Vec<i64> = events.iter().map(|event| super::actor_number(event.actor)).collect();
        let kinds: Vec<&str> = events.iter().map(|event| event.kind.as_str()).collect();
        let payloads: Vec<Option<&str>> = events.iter().map(|event| event.payload.as_deref()).collect();
        let sql = "WITH added AS (
             INSERT INTO event (seq, case_id, mention_id, at, actor, kind, payload)
             SELECT (SELECT coalesce(max(seq), 0) FROM event) + e.number, e.case_id, e.mention_id, e.at, e.actor, e.kind, e.payload
             FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::text[], $6::text[])
                  WITH ORDINALITY AS e(case_id, mention_id, at, actor, kind, payload, number)
             RETURNING seq)
             SELECT last, pg_notify('moksori', last::text) FROM (SELECT max(seq) AS last FROM added) AS newest";
        let prepared = self.prepared_as(sql, sql, &[], 0)?;
        let row =
            self.with(|client| client.query_one(&prepared.statement, &[&cases, &mentions, &at, &actors, &kinds, &payloads]))?;
        Ok(row.try_get(0)?)
    }

    /// Runs statements that take no values and give no rows.
    pub(in crate::queue) fn run(&self, sql: &str) -> Result<(), Error> {
        self.with(|client| client.batch_execute(sql))
    }

    pub(super) fn begin(&self, how: &str) -> Result<(), Error> {
        self.failed.set(false);
        self.run(how)
    }

    /// Commits; refuses when a statement had failed, for which the server would roll back without an error.
    pub(super) fn commit(&self) -> Result<(), Error> {
        if self.failed.get() {
            return Err(Error::Aborted);
        }
        self.run("COMMIT")
    }

    /// Whatever the transaction wanted to write is forgotten.
    pub(super) fn roll_back(&self) {
        self.pending.borrow_mut().clear();
        if !self.lost()
            && let Err(error) = self.run("ROLLBACK")
        {
            tracing::warn!(error = &error as &dyn std::error::Error, "could not roll back, taking another connection");
            self.failure.set(Some(Failure::Lost));
        }
    }

    pub(super) fn note(&self, failure: Failure) {
        self.failure.set(Some(failure));
    }

    /// What the last failure means; none when nothing failed since the last call.
    pub(super) fn take_failure(&self) -> Option<Failure> {
        self.failure.take()
    }

    /// The connection is of no use any more.
    pub(super) fn lost(&self) -> bool {
        self.failure.get() == Some(Failure::Lost) || self.client.borrow().as_ref().is_none_or(Client::is_closed)
    }

    /// Waits until another session notifies, at most `wait`; true when one did.
    pub(in crate::queue) fn notified(&self, wait: std::time::Duration) -> Result<bool, Error> {
        use postgres::fallible_iterator::FallibleIterator;
        self.with(|client| {
            let mut notifications = client.notifications();
            let heard = notifications.timeout_iter(wait).next()?.is_some();
            // Those that came along say nothing new.
            while notifications.iter().next()?.is_some() {}
            Ok(heard)
        })
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // The client waits for its connection to close, which an async thread must not.
        if let Some(client) = self.client.take()
            && tokio::runtime::Handle::try_current().is_ok()
        {
            std::thread::spawn(move || drop(client));
        }
    }
}

fn parameters<'v>(values: &'v [Value<'_>]) -> Vec<&'v (dyn ToSql + Sync)> {
    values.iter().map(|value| value as &(dyn ToSql + Sync)).collect()
}

/// The text as PostgreSQL takes it: its own places, and its own way to look into a list.
pub(super) fn translate(sql: &str) -> String {
    let words: Vec<&str> = sql.split_whitespace().collect();
    let mut rest = words.join(" ");
    while let Some(start) = rest.find("IN (SELECT value FROM json_each(") {
        let Some(end) = rest[start..].find("))") else { break };
        let place = rest[start + "IN (SELECT value FROM json_each(".len()..start + end].to_owned();
        rest.replace_range(start..start + end + 2, &format!("= ANY({place})"));
    }
    rest.replace('?', "$")
}

/// What a failure means for its transaction.
fn failure(error: &postgres::Error) -> Option<Failure> {
    if *error.code().unwrap_or(&SqlState::SUCCESSFUL_COMPLETION) == SqlState::UNIQUE_VIOLATION {
        return Some(Failure::Taken);
    }
    if is_lost(error) {
        return Some(Failure::Lost);
    }
    match error.code() {
        Some(code) if *code == SqlState::T_R_SERIALIZATION_FAILURE || *code == SqlState::T_R_DEADLOCK_DETECTED => {
            Some(Failure::Again)
        }
        _ => None,
    }
}

/// The connection cannot be used any more, or never was.
fn is_lost(error: &postgres::Error) -> bool {
    match error.code() {
        Some(code) => {
            code.code().starts_with("08")
                || [
                    &SqlState::ADMIN_SHUTDOWN,
                    &SqlState::CRASH_SHUTDOWN,
                    &SqlState::CANNOT_CONNECT_NOW,
                    &SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT,
                    &SqlState::READ_ONLY_SQL_TRANSACTION,
                ]
                .contains(&code)
        }
        None => error.is_closed() || error.source().is_some_and(|source| source.is::<std::io::Error>()) || timed_out(error),
    }
}

/// The client has no other name for it.
fn timed_out(error: &postgres::Error) -> bool {
    error.source().is_none() && error.to_string().contains("timeout")
}

/// Worth trying again later: the server may be back, have room, or have let go of a lock.
pub(in crate::queue) fn is_retryable(error: &postgres::Error) -> bool {
    is_lost(error)
        || error.code().is_some_and(|code| {
            // Out of connections, memory or disk; cancelled by a timeout; deadlock, serialization; lock timeout; I/O.
            ["53", "40", "58"].iter().any(|class| code.code().starts_with(class))
                || [&SqlState::QUERY_CANCELED, &SqlState::LOCK_NOT_AVAILABLE].contains(&code)
        })
}

impl Value<'_> {
    /// The server's type for a value; for none it finds out itself.
    fn kind(&self) -> Type {
        match self {
            Value::Null => Type::UNKNOWN,
            Value::Int(_) => Type::INT8,
            Value::Real(_) => Type::FLOAT8,
            Value::Text(_) => Type::TEXT,
            Value::Blob(_) => Type::BYTEA,
            Value::Ids(_) => Type::INT8_ARRAY,
            Value::Texts(_) => Type::TEXT_ARRAY,
        }
    }
}

/// PostgreSQL takes no NUL in a text, which some platform will send one day.
pub(super) fn without_nul(text: &str) -> std::borrow::Cow<'_, str> {
    if text.contains('\0') { text.replace('\0', "\u{fffd}").into() } else { text.into() }
}

impl ToSql for Value<'_> {
    fn to_sql(&self, kind: &Type, out: &mut BytesMut) -> Result<IsNull, Boxed> {
        match *self {
            Value::Null => Ok(IsNull::Yes),
            Value::Int(number) if *kind == Type::INT4 => i32::try_from(number)?.to_sql(kind, out),
            Value::Int(number) => number.to_sql(kind, out),
            Value::Real(number) => number.to_sql(kind, out),
            Value::Text(text) => without_nul(text).as_ref().to_sql(kind, out),
            Value::Blob(bytes) => bytes.to_sql(kind, out),
            Value::Ids(ids) => ids.to_sql(kind, out),
            Value::Texts(texts) => texts.iter().map(|text| without_nul(text)).collect::<Vec<_>>().to_sql(kind, out),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    postgres::types::to_sql_checked!();
}

impl<'a> FromSql<'a> for Value<'a> {
    fn from_sql(kind: &Type, raw: &'a [u8]) -> Result<Self, Boxed> {
        Ok(match *kind {
            Type::INT8 => Value::Int(i64::from_sql(kind, raw)?),
            Type::INT4 => Value::Int(i32::from_sql(kind, raw)?.into()),
            Type::BOOL => Value::Int(bool::from_sql(kind, raw)?.into()),
            Type::FLOAT8 => Value::Real(f64::from_sql(kind, raw)?),
            Type::BYTEA => Value::Blob(raw),
            _ => Value::Text(<&str>::from_sql(kind, raw)?),
        })
    }

    fn from_sql_null(_: &Type) -> Result<Self, Boxed> {
        Ok(Value::Null)
    }

    fn accepts(kind: &Type) -> bool {
        [Type::INT8, Type::INT4, Type::BOOL, Type::FLOAT8, Type::BYTEA, Type::TEXT].contains(kind)
    }
}
