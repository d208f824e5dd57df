//! Tests of the façade: values, lists, texts of both engines, and rows that wait.

use super::{
    Sql, Value,
    bulk::{self, Pending},
    connect::back_off,
    postgres::translate,
};
use crate::queue::{Config, Error, redacted};
use std::time::Duration;

fn memory() -> Sql {
    let sql = Sql::Sqlite(rusqlite::Connection::open_in_memory().unwrap());
    let table = "CREATE TABLE thing (id INTEGER PRIMARY KEY, number INTEGER, part REAL, word TEXT, bytes BLOB) STRICT";
    sql.execute(table, &[]).unwrap();
    sql
}

#[test]
fn values_come_back_as_they_went_in() {
    let sql = memory();
    let insert = "INSERT INTO thing (number, part, word, bytes) VALUES (?1, ?2, ?3, ?4)";
    let id = sql.insert(insert, &[7_u32.into(), 0.5_f32.into(), "말".into(), (&[1_u8, 2][..]).into()]).unwrap();
    let empty = sql.insert(insert, &[Value::Null, Value::Null, None::<&str>.into(), Value::Null]).unwrap();
    assert_eq!((id, empty), (1, 2));
    sql.one("SELECT number, part, word, bytes, number = 7 FROM thing WHERE id = ?1", &[id.into()], |row| {
        assert_eq!(row.get::<u32>(0)?, 7);
        assert_eq!(row.get::<f32>(1)?, 0.5);
        assert_eq!(row.get::<&str>(2)?, "말");
        assert_eq!(row.get::<Vec<u8>>(3)?, [1, 2]);
        assert!(row.get::<bool>(4)?);
        assert!(matches!(row.get::<String>(0), Err(Error::Column { index: 0 })), "a number is no text");
        Ok(())
    })
    .unwrap();
    let none = sql.optional("SELECT word FROM thing WHERE id = ?1", &[empty.into()], |row| row.get::<Option<String>>(0));
    assert_eq!(none.unwrap(), Some(None));
    assert_eq!(sql.optional("SELECT 1 FROM thing WHERE id = 9", &[], |row| row.get::<i64>(0)).unwrap(), None);
    assert!(matches!(sql.one("SELECT 1 FROM thing WHERE id = 9", &[], |row| row.get::<i64>(0)), Err(Error::NoRow)));
}

#[test]
fn a_list_is_one_value() {
    let sql = memory();
    for word in ["a", "b", "c\"d"] {
        sql.insert("INSERT INTO thing (word) VALUES (?1)", &[word.into()]).unwrap();
    }
    let words = ["b".to_owned(), "c\"d".to_owned()];
    let text = "SELECT id FROM thing WHERE word IN (SELECT value FROM json_each(?1)) ORDER BY id";
    assert_eq!(sql.all(text, &[words[..].into()], |row| row.get::<i64>(0)).unwrap(), [2, 3]);
    let text = "SELECT id FROM thing WHERE id IN (SELECT value FROM json_each(?1)) ORDER BY id";
    assert_eq!(sql.all(text, &[[3_i64, 1, 9][..].into()], |row| row.get::<i64>(0)).unwrap(), [1, 3]);
}

#[test]
fn a_text_is_translated_for_the_other_engine() {
    assert_eq!(translate("SELECT a\n   FROM b WHERE c = ?1 AND d = ?12"), "SELECT a FROM b WHERE c = $1 AND d = $12");
    assert_eq!(
        translate("x IN (SELECT value FROM json_each(?1)) OR y IN (SELECT value FROM\n  json_each(?2))"),
        "x = ANY($1) OR y = ANY($2)"
    );
}

#[test]
fn rows_are_written_one_by_one_or_all_at_once() {
    assert_eq!(
        bulk::CASE_MENTION.one(),
        "INSERT INTO case_mention (case_id, mention_id) VALUES (?1, ?2) ON CONFLICT DO NOTHING"
    );
    assert_eq!(
        bulk::CASE_MENTION.all(),
        "INSERT INTO case_mention (case_id, mention_id) SELECT * FROM unnest($1::bigint[], $2::bigint[]) ON CONFLICT DO NOTHING"
    );
    assert!(bulk::CASES.all().contains("signature, id) SELECT"), "its ids are known before it is written");
    let one = bulk::CASES_SAVED.one();
    assert!(one.starts_with("UPDATE cases SET account_id = ?2, ") && one.ends_with("notes = ?22 WHERE id = ?1"), "{one}");
    assert!(bulk::CASES_SAVED.all().ends_with("WHERE cases.id = saved.id"));
}

#[test]
fn what_waits_is_written_in_order_and_once() {
    let mut pending = Pending::default();
    let saved = |case: i64| [Value::Int(case)].into_iter().chain([Value::Null; 21]).collect::<Vec<_>>();
    pending.push(&bulk::CASES_SAVED, &saved(5), None);
    pending.push(&bulk::CASES_SAVED, &saved(6), None);
    pending.push(&bulk::CASES, &[Value::Null; 21], Some(5));
    pending.push(&bulk::CASE_MENTION, &[5_i64.into(), 1_i64.into()], None);
    pending.forget(&bulk::CASES_SAVED, 5);
    pending.push(&bulk::CASES_SAVED, &saved(5), None);
    let tables = bulk::Bulk::named_in("SELECT 1 FROM cases c WHERE case_id = 1");
    let mut written = Vec::new();
    while let Some((bulk, columns)) = pending.take(tables) {
        written.push((bulk.one().split(' ').next().unwrap().to_owned(), columns.rows()));
    }
    assert_eq!(written, [("INSERT".to_owned(), 1), ("UPDATE".to_owned(), 2)], "a case is opened before it is changed");
    assert!(pending.take(bulk::EVERY).is_some(), "the table that was not named still waits");
}

#[test]
fn ids_are_given_out_once_in_growing_blocks() {
    let mut pending = Pending::default();
    assert_eq!((pending.next_id(&bulk::MENTION), pending.block()), (None, 1));
    pending.add_ids(&bulk::MENTION, [4, 5, 6]);
    let given: Vec<i64> = std::iter::from_fn(|| pending.next_id(&bulk::MENTION)).collect();
    assert_eq!((given, pending.block()), (vec![4, 5, 6], 3));
    pending.add_ids(&bulk::MENTION, [9]);
    pending.clear();
    assert_eq!(pending.next_id(&bulk::MENTION), Some(9), "a rollback gives no id back, and loses none");
}

#[test]
fn no_password_shows() {
    let config = Config::at("postgres://moksori:s3cret@db:5432/desk?sslmode=require", 8, Duration::from_secs(5));
    let shown = format!("{config:?} {}", serde_json::to_string(&config).unwrap());
    assert!(!shown.contains("s3cret"), "{shown}");
    assert!(shown.contains("postgres://moksori:[redacted]@db:5432/desk"), "{shown}");
    assert_eq!(redacted("host=db password=s3cret"), "[redacted]");
    assert_eq!(redacted("postgres://moksori@db/desk"), "postgres://moksori@db/desk");
}

#[test]
fn a_wrong_address_is_named_without_showing_it() {
    let config = Config::at("postgres://moksori:s3cret@db:port/desk", 8, Duration::from_secs(5));
    let error = super::connect::Settings::new(config.postgres.as_ref().unwrap()).err().unwrap();
    assert!(error.to_string().contains("queue.postgres.url"), "{error}");
    assert!(!format!("{error:?}").contains("s3cret"), "{error:?}");
}

#[test]
fn back_off_grows_to_its_limit() {
    let longest = Duration::from_secs(1);
    assert!(back_off(0, longest) <= Duration::from_millis(50));
    for failures in [8, 40, u32::MAX] {
        assert!((longest / 2..=longest).contains(&back_off(failures, longest)));
    }
}

#[test]
fn no_two_tables_share_a_bit() {
    let bits = bulk::ALL.iter().fold(0, |bits, bulk| bits | bulk.bit());
    assert_eq!(bits.count_ones() as usize, bulk::ALL.len());
}
