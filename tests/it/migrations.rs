//! Old schemas (R23): a filled one is brought up to date with every row, a broken one is left as it was, a newer
//! one is refused with a remedy.

use std::{path::Path, time::Duration};

use moksori::{
    clock::Clock,
    mention::Mark,
    queue::{self, Error, Metrics, Store},
};
use prometheus::Registry;
use rusqlite::{Connection, types::Value};

use crate::kit;

/// The schema that the first release wrote.
const FIRST: &str = include_str!("../../src/queue/migrations/0001_desk.sql");

/// How many schemas this program knows.
fn newest() -> i64 {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/queue/migrations");
    let names = crate::tidy::files(root.to_str().unwrap(), &["sql"]);
    let sqlite = names.iter().filter(|(path, _)| path.parent() == Some(root.as_path()));
    i64::try_from(sqlite.count()).unwrap()
}

fn open(dir: &Path) -> Result<std::sync::Arc<Store>, Error> {
    Store::open(dir, queue::Config::sqlite(1, 1_000), Clock::System, Metrics::new(&Registry::new()).unwrap())
}

fn version(connection: &Connection) -> i64 {
    connection.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap()
}

/// The tables of a file with the columns of each, in order.
fn tables(connection: &Connection) -> Vec<(String, Vec<(String, String)>)> {
    let pairs = |sql: &str| -> Vec<(String, String)> {
        let mut statement = connection.prepare(sql).unwrap();
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        rows.map(Result::unwrap).collect()
    };
    pairs("SELECT name, type FROM sqlite_schema WHERE type = 'table' ORDER BY name")
        .into_iter()
        .map(|(table, _)| {
            let columns = pairs(&format!("SELECT name, type FROM pragma_table_info('{table}') ORDER BY cid"));
            (table, columns)
        })
        .collect()
}

/// Every row of every column that the first schema had.
fn rows(connection: &Connection, of: &[(String, Vec<(String, String)>)]) -> Vec<(String, Vec<Vec<Value>>)> {
    of.iter()
        .map(|(table, columns)| {
            let names: Vec<&str> = columns.iter().map(|(name, _)| name.as_str()).collect();
            let sql = format!("SELECT {0} FROM {table} ORDER BY {0}", names.join(", "));
            let mut statement = connection.prepare(&sql).unwrap();
            let read =
                |row: &rusqlite::Row<'_>| (0..names.len()).map(|index| row.get(index)).collect::<Result<Vec<Value>, _>>();
            let found = statement.query_map([], read).unwrap().map(Result::unwrap).collect();
            (table.clone(), found)
        })
        .collect()
}

/// A file of the first schema with three rows in each table.
fn first_schema(dir: &Path) -> Connection {
    let connection = Connection::open(dir.join("desk.db")).unwrap();
    connection.pragma_update(None, "journal_mode", "WAL").unwrap();
    connection.pragma_update(None, "foreign_keys", "OFF").unwrap();
    connection.execute_batch(FIRST).unwrap();
    connection.pragma_update(None, "user_version", 1).unwrap();
    for (table, columns) in tables(&connection) {
        let places = vec!["?"; columns.len()].join(", ");
        for nth in 1..=3_i64 {
            let values = columns.iter().map(|(name, kind)| match kind.as_str() {
                "TEXT" => Value::Text(format!("{name} {nth} 솔방울")),
                "BLOB" => Value::Blob(vec![0, 255, u8::try_from(nth).unwrap()]),
                "REAL" => Value::Real(0.5),
                _ => Value::Integer(nth),
            });
            let sql = format!("INSERT INTO {table} VALUES ({places})");
            connection.execute(&sql, rusqlite::params_from_iter(values)).unwrap();
        }
    }
    connection.execute("UPDATE position SET consumer = 'triage', part = next - 1, next = next + 40", []).unwrap();
    connection
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filled_desk_of_the_first_schema_keeps_every_row() {
    let dir = tempfile::tempdir().unwrap();
    let before = first_schema(dir.path());
    let columns = tables(&before);
    let kept = rows(&before, &columns);
    assert!(kept.len() > 25 && kept.iter().all(|(_, rows)| rows.len() == 3), "each table is filled");
    drop(before);
    let store = open(dir.path()).unwrap();
    let (marks, letters) = store
        .read(|reader| {
            let marks = (0..4).map(|part| reader.mark("triage", part)).collect::<Result<Vec<_>, _>>()?;
            Ok::<_, Error>((marks, reader.totals()?.dead_letters))
        })
        .await
        .unwrap();
    let at = |next| Mark { log: "".into(), next };
    assert_eq!((marks, letters), (vec![at(41), at(42), at(43), at(0)], 3), "nobody reads the embedded log again");
    let moved = store.write(moksori::queue::Urgency::Batch, move |tx| tx.advance("triage", 0, &at(41), &at(50))).await;
    assert!(moved.unwrap());
    let buried = store.write(moksori::queue::Urgency::Batch, |tx| tx.bury("", 0, 2, "the same place again", b""));
    buried.await.unwrap();
    store.close();
    let after = Connection::open(dir.path().join("desk.db")).unwrap();
    assert_eq!(version(&after), newest());
    after.execute("UPDATE position SET next = 41 WHERE part = 0", []).unwrap();
    for (before, after) in kept.into_iter().zip(rows(&after, &columns)) {
        assert_eq!(before, after);
    }
    drop(after);
    let again = open(dir.path()).unwrap();
    again.close();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_migration_that_breaks_off_leaves_the_old_schema_working() {
    let dir = tempfile::tempdir().unwrap();
    let old = first_schema(dir.path());
    let columns = tables(&old);
    let kept = rows(&old, &columns);
    // The last thing that the second migration makes is there already: everything before it must be undone.
    old.execute_batch("CREATE TABLE lease (surprise TEXT)").unwrap();
    let failed = open(dir.path()).err().expect("it cannot go on");
    assert!(!failed.is_retryable(), "{failed:?}");
    assert_eq!(version(&old), 1);
    assert_eq!(rows(&old, &columns), kept);
    let now: Vec<_> = tables(&old).into_iter().filter(|(table, _)| table != "lease").collect();
    assert_eq!(now, columns, "no column is half there");
    old.execute("UPDATE position SET next = next + 1 WHERE part = 0", []).unwrap();
    old.execute_batch("DROP TABLE lease").unwrap();
    drop(old);
    let store = open(dir.path()).unwrap();
    assert_eq!(store.read(|reader| reader.mark("triage", 0)).await.unwrap().next, 42);
    store.close();
}

#[test]
fn a_newer_schema_is_refused_with_both_numbers_and_a_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let newer = first_schema(dir.path());
    newer.pragma_update(None, "user_version", 99).unwrap();
    let columns = tables(&newer);
    let kept = rows(&newer, &columns);
    let refused = open(dir.path()).err().expect("refused");
    let message = refused.to_string();
    assert!(!refused.is_retryable());
    for part in ["schema 99", &format!("knows {}", newest()), "run a newer moksori"] {
        assert!(message.contains(part), "{message}");
    }
    assert_eq!((version(&newer), tables(&newer), rows(&newer, &columns)), (99, columns, kept), "nothing was touched");
}

#[test]
fn on_postgresql_a_desk_of_the_first_schema_is_migrated_whole_or_not_at_all() {
    let Some(server) = kit::postgres::postgres("migrations on PostgreSQL") else { return };
    let _shared = server.shared();
    let url = server.database();
    let config = queue::Config::at(&url, 4, Duration::from_secs(30));
    let open = || Store::open(Path::new(""), config.clone(), Clock::System, Metrics::new(&Registry::new()).unwrap());
    let migrate = || Store::migrate(Path::new(""), &config);
    let ask = |sql: &str| {
        let mut client = postgres::Client::connect(&url, postgres::NoTls).unwrap();
        let rows = client.simple_query(sql).unwrap();
        let first = rows.iter().find_map(|message| match message {
            postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        });
        first.unwrap_or_default()
    };
    ask(include_str!("../../src/queue/migrations/postgres/0001_desk.sql"));
    ask("CREATE TABLE schema_version (version BIGINT PRIMARY KEY); INSERT INTO schema_version VALUES (1);
         INSERT INTO position (consumer, part, next) VALUES ('triage', 0, 41);
         INSERT INTO dead_letter (position, at, reason, bytes) VALUES (7, 5, 'nonsense', '\\x00ff');
         CREATE TABLE lease (surprise TEXT)");
    let older = open().err().expect("refused").to_string();
    assert!(older.contains("schema 1") && older.contains("moksori migrate"), "{older}");
    let failed = migrate().expect_err("it cannot go on");
    assert!(!failed.is_retryable(), "{failed:?}");
    let half = "SELECT count(*) FROM information_schema.columns WHERE table_name = 'position' AND column_name = 'log'";
    assert_eq!((ask("SELECT max(version) FROM schema_version").as_str(), ask(half).as_str()), ("1", "0"));
    ask("DROP TABLE lease");
    let known = usize::try_from(newest()).unwrap();
    assert_eq!(migrate().unwrap(), (1, known));
    assert_eq!(migrate().unwrap(), (known, known), "a second time there is nothing to do");
    open().unwrap().close();
    assert_eq!(ask("SELECT concat_ws('|', consumer, part, next, log) FROM position"), "triage|0|41|");
    assert_eq!(
        ask("SELECT concat_ws('|', log, part, position, at, reason, bytes) FROM dead_letter"),
        "|0|7|5|nonsense|\\x00ff"
    );
    ask("INSERT INTO schema_version VALUES (99)");
    for refused in [open().err().expect("refused"), migrate().expect_err("refused")] {
        let message = refused.to_string();
        for part in ["schema 99", &format!("knows {known}"), "run a newer moksori"] {
            assert!(message.contains(part), "{message}");
        }
    }
}
