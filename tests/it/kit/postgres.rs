//! One PostgreSQL for the whole run of the tests, and a database for whoever asks (`scripts/postgres.sh`).
//!
//! Everything here blocks until it is done; stopping and starting take about a second.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    thread,
};

use postgres::{Client, NoTls};
use rustix::process::{Pid, Signal};

use super::engines::{Alone, Server, Shared, have};

/// The server. Its role `moksori` may create databases and nothing else.
pub struct Postgres {
    pub(super) server: Server,
    databases: AtomicU32,
}

/// The server, started on first use; none if the test of `what` must be skipped.
pub fn postgres(what: &str) -> Option<&'static Postgres> {
    static SERVER: OnceLock<Result<Postgres, String>> = OnceLock::new();
    have(what, SERVER.get_or_init(Postgres::start))
}

impl Postgres {
    pub(super) fn start() -> Result<Postgres, String> {
        let postgres = Postgres { server: Server::new("postgres", "check", 1)?, databases: AtomicU32::new(0) };
        postgres.restart();
        Ok(postgres)
    }

    /// A fresh, empty database: its URL.
    pub fn database(&self) -> String {
        let name = format!("desk_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.ask(&self.url("moksori", "postgres"), &format!("CREATE DATABASE {name}")).unwrap();
        self.url("moksori", &name)
    }

    /// The URL of a role that may do everything, for what an administrator does.
    pub fn admin(&self) -> String {
        self.url("postgres", "postgres")
    }

    /// Its first process.
    pub fn pid(&self) -> Pid {
        self.server.pid()
    }

    /// Kills it with signal 9, with every connection's process.
    pub fn kill(&self) {
        self.server.end(Signal::KILL, true);
    }

    /// Asks it to end at once, whoever is connected, and waits until it has.
    pub fn stop(&self) {
        self.server.end(Signal::INT, false);
    }

    /// Starts it, after killing it if it runs, and waits until it answers.
    pub fn restart(&self) {
        self.kill();
        self.server.start(|| self.ask(&self.admin(), "SELECT 1"));
    }

    /// Held while a fault in the server would disturb.
    pub fn shared(&self) -> Shared<'_> {
        self.server.shared()
    }

    /// Held while a test kills or stops the server; leave it running.
    pub fn alone(&self) -> Alone<'_> {
        self.server.alone()
    }

    fn url(&self, role: &str, database: &str) -> String {
        format!("postgres://{role}@127.0.0.1:{}/{database}", self.server.port)
    }

    /// Runs one statement. On a thread of its own: the client brings a runtime along, and a test has one already.
    fn ask(&self, url: &str, statement: &str) -> Result<(), String> {
        let asked = || Client::connect(url, NoTls).and_then(|mut client| client.batch_execute(statement));
        thread::scope(|scope| scope.spawn(asked).join()).unwrap().map_err(|error| error.to_string())
    }
}

mod tests {
    use super::*;

    /// The numbers in a table that nobody else has.
    fn numbers(url: &str, insert: &str) -> Vec<i32> {
        let mut client = Client::connect(url, NoTls).unwrap();
        client.batch_execute(&format!("CREATE TABLE IF NOT EXISTS number (n INT); {insert}")).unwrap();
        client.query("SELECT n FROM number ORDER BY n", &[]).unwrap().iter().map(|row| row.get(0)).collect()
    }

    #[test]
    fn a_database_is_fresh_and_keeps_what_was_committed_over_a_kill_and_a_stop() {
        let Some(postgres) = postgres("that a database keeps rows") else { return };
        let _alone = postgres.alone();
        let (one, two) = (postgres.database(), postgres.database());
        assert_eq!(numbers(&one, "INSERT INTO number VALUES (1)"), [1]);
        assert_eq!(numbers(&two, ""), [0; 0]);
        let mut open = Client::connect(&one, NoTls).unwrap();
        open.batch_execute("BEGIN; INSERT INTO number VALUES (7)").unwrap();
        let first = postgres.pid();
        postgres.kill();
        assert!(open.batch_execute("COMMIT").is_err());
        assert!(Client::connect(&one, NoTls).is_err());
        postgres.restart();
        assert_ne!(postgres.pid(), first);
        assert_eq!(numbers(&one, "INSERT INTO number VALUES (2)"), [1, 2]);
        let _open = Client::connect(&one, NoTls).unwrap();
        postgres.stop();
        assert!(!postgres.server.runs());
        postgres.restart();
        assert_eq!(numbers(&one, ""), [1, 2]);
    }

    #[tokio::test]
    async fn an_async_test_gets_a_database_too() {
        let Some(postgres) = postgres("a database in an async test") else { return };
        let _shared = postgres.shared();
        assert!(postgres.database().starts_with("postgres://moksori@127.0.0.1:"));
    }
}
