//! How a session of PostgreSQL begins: its address, its secrets, TLS, its limits; and the schema it must find.

use std::{iter, time::Duration};

use ::postgres::config::Host;
use openssl::ssl::{SslConnector, SslMethod};
use postgres_openssl::MakeTlsConnector;

use super::{Sql, postgres::Session};
use crate::{
    clock::random_bytes,
    queue::{Error, Postgres},
    secret::Secret,
};

const MIGRATIONS: &[&str] = &[
    include_str!("../migrations/postgres/0001_desk.sql"),
    include_str!("../migrations/postgres/0002_engines.sql"),
    include_str!("../migrations/postgres/0003_sources.sql"),
    include_str!("../migrations/postgres/0004_listening.sql"),
    include_str!("../migrations/postgres/0005_searches.sql"),
    include_str!("../migrations/postgres/0006_learning.sql"),
    include_str!("../migrations/postgres/0007_protection.sql"),
    include_str!("../migrations/postgres/0008_due.sql"),
];

/// Held while a schema is brought up to date.
const MIGRATION_LOCK: i64 = 0x6d6f_6b73_6f72_6903;

/// The oldest server that is supported, as it numbers itself.
const OLDEST: i64 = 150_000;

/// Where the server is and how to be let in.
#[derive(Clone)]
pub(in crate::queue) struct Settings {
    config: ::postgres::Config,
    tls: MakeTlsConnector,
    /// How long somebody waits for a connection, and for an answer.
    pub(in crate::queue) wait: Duration,
}

/// What a session is for; it decides how long its statements may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::queue) enum Purpose {
    /// To read what a person waits for.
    Read,
    /// To write what a person waits for.
    Command,
    /// To write batches.
    Batch,
    /// To bring the schema up to date.
    Migrate,
}

impl Settings {
    /// Reads the settings; no connection is made yet.
    pub(in crate::queue) fn new(postgres: &Postgres) -> Result<Settings, Error> {
        let wrong = |what: &str| Error::Settings { what: what.to_owned() };
        let (url, authority) = address(&postgres.url);
        let mut config: ::postgres::Config = url
            .parse()
            .map_err(|_| wrong("queue.postgres.url is no address of PostgreSQL: postgres://user@host:5432/database"))?;
        if let Some(name) = &postgres.password_env {
            let password = Secret::from_env(name);
            let password = password.map_err(|_| wrong("the variable that queue.postgres.password_env names is not set"))?;
            config.password(password.reveal());
        }
        if let Some(path) = &postgres.password_file {
            let password = Secret::from_file(path).map_err(|source| Error::File { path: path.clone(), source })?;
            config.password(password.reveal());
        }
        config.application_name("moksori").connect_timeout(postgres.wait / 2).tcp_user_timeout(postgres.wait).keepalives(true);
        config.keepalives_idle(postgres.wait).keepalives_interval(postgres.wait / 2).keepalives_retries(2);
        let tls = || {
            let mut builder = SslConnector::builder(SslMethod::tls())?;
            if let Some(path) = &authority {
                builder.set_ca_file(path)?;
            }
            Ok::<_, openssl::error::ErrorStack>(MakeTlsConnector::new(builder.build()))
        };
        let tls = tls().map_err(|error| wrong(&format!("the certificates for PostgreSQL cannot be used: {error}")))?;
        Ok(Settings { config, tls, wait: postgres.wait })
    }

    /// Where the server is looked for, for an error.
    fn server(&self) -> String {
        let hosts = self.config.get_hosts().iter().map(|host| match host {
            Host::Tcp(name) => name.clone(),
            Host::Unix(directory) => directory.display().to_string(),
        });
        let ports = self.config.get_ports().iter().copied().chain(iter::repeat(5_432));
        hosts.zip(ports).map(|(host, port)| format!("{host}:{port}")).collect::<Vec<_>>().join(", ")
    }

    /// Opens a session. Blocks; never call it on an async thread.
    pub(in crate::queue) fn connect(&self, purpose: Purpose) -> Result<Sql, Error> {
        let unreached = |source| Error::Unreached { server: self.server(), source };
        let session = Session::new(self.config.connect(self.tls.clone()).map_err(unreached)?);
        let (statement, lock) = match purpose {
            Purpose::Read | Purpose::Command => (self.wait, self.wait / 2),
            Purpose::Batch => (self.wait * 12, self.wait * 2),
            Purpose::Migrate => (Duration::ZERO, Duration::ZERO),
        };
        // A process that stops in the middle of a transaction must not hold its locks for good.
        session.run(&format!(
            "SET statement_timeout = {}; SET lock_timeout = {}; SET idle_in_transaction_session_timeout = {};
             SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'",
            statement.as_millis(),
            lock.as_millis(),
            (self.wait * 2).as_millis(),
        ))?;
        if matches!(purpose, Purpose::Command | Purpose::Batch) {
            // Who writes looks up rows by their keys. A plan made while a table was empty would read all of it ever after.
            session.run("SET enable_seqscan = off")?;
        }
        Ok(Sql::Postgres(Box::new(session)))
    }
}

/// The address without what the client does not know; the file of authorities, if one is named.
fn address(url: &str) -> (String, Option<String>) {
    let Some((host, options)) = url.split_once('?') else { return (url.to_owned(), None) };
    let mut authority = None;
    let kept: Vec<&str> = options
        .split('&')
        .filter_map(|option| match option.split_once('=') {
            // The client always checks the certificate and its name.
            Some(("sslmode", "verify-ca" | "verify-full")) => Some("sslmode=require"),
            Some(("sslrootcert", path)) => {
                authority = Some(path.to_owned());
                None
            }
            _ => Some(option),
        })
        .collect();
    (if kept.is_empty() { host.to_owned() } else { format!("{host}?{}", kept.join("&")) }, authority)
}

/// Refuses a server that is too old, and a schema that this program does not know.
pub(in crate::queue) fn check(sql: &Sql) -> Result<(), Error> {
    check_server(sql)?;
    match version(sql)? {
        found if found > MIGRATIONS.len() => Err(Error::Newer { found, known: MIGRATIONS.len() }),
        found if found < MIGRATIONS.len() => Err(Error::Older { found, known: MIGRATIONS.len() }),
        _ => Ok(()),
    }
}

fn check_server(sql: &Sql) -> Result<(), Error> {
    let found: i64 = sql.one("SELECT current_setting('server_version_num')::bigint", &[], |row| row.get(0))?;
    if found < OLDEST {
        let found = sql.one("SELECT current_setting('server_version')", &[], |row| row.get(0))?;
        return Err(Error::OldServer { found });
    }
    Ok(())
}

/// The schema's version; 0 in an empty database.
fn version(sql: &Sql) -> Result<usize, Error> {
    if !sql.one("SELECT to_regclass('schema_version') IS NOT NULL", &[], |row| row.get(0))? {
        return Ok(0);
    }
    let found: i64 = sql.one("SELECT coalesce(max(version), 0) FROM schema_version", &[], |row| row.get(0))?;
    Ok(usize::try_from(found).unwrap_or(0))
}

/// Brings the schema up to date, one transaction a step; returns the version found and the one reached.
pub(in crate::queue) fn migrate(sql: &Sql) -> Result<(usize, usize), Error> {
    check_server(sql)?;
    let Sql::Postgres(session) = sql else { return Ok((0, 0)) };
    let mut first = None;
    for (index, migration) in MIGRATIONS.iter().enumerate() {
        sql.begin()?;
        let step = || {
            sql.each("SELECT pg_advisory_xact_lock(?1)", &[MIGRATION_LOCK.into()], |_| Ok(()))?;
            let found = version(sql)?;
            if found > MIGRATIONS.len() {
                return Err(Error::Newer { found, known: MIGRATIONS.len() });
            }
            if found == index {
                session.run(migration)?;
                session.run("CREATE TABLE IF NOT EXISTS schema_version (version BIGINT PRIMARY KEY)")?;
                sql.execute("INSERT INTO schema_version (version) VALUES (?1)", &[(found as i64 + 1).into()])?;
            }
            sql.commit()?;
            Ok(found)
        };
        let found = step().inspect_err(|_| sql.roll_back())?;
        first.get_or_insert(found);
    }
    Ok((first.unwrap_or(0), MIGRATIONS.len()))
}

/// How long to wait after so many failures in a row: longer each time, and never quite the same.
pub(in crate::queue) fn back_off(failures: u32, longest: Duration) -> Duration {
    let full = (Duration::from_millis(50) * 2_u32.saturating_pow(failures.min(10))).min(longest);
    let [dice] = random_bytes::<1>();
    full / 2 + full * u32::from(dice) / 512
}
