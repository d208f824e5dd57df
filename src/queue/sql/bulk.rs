//! Rows that a batch writes by the thousand: one by one on SQLite, a table at a time on PostgreSQL.

use std::{collections::VecDeque, sync::OnceLock};

use postgres::types::ToSql;

use super::{Value, postgres::without_nul};

/// A table whose rows are written in bulk.
pub(in crate::queue) struct Bulk {
    table: &'static str,
    columns: &'static [(&'static str, Kind)],
    write: Write,
    /// One bit, by which statements say which tables they name.
    bit: u32,
    /// Its ids come from a sequence.
    counted: bool,
    one: OnceLock<String>,
    all: OnceLock<String>,
}

/// How rows are written.
#[derive(Clone, Copy)]
enum Write {
    /// Inserted; what happens to a row that is there already.
    Insert(&'static str),
    /// Changed; the first column says which.
    Update,
}

/// The type of a column.
#[derive(Clone, Copy)]
enum Kind {
    Int,
    Real,
    Text,
    Bytes,
}

use Kind::{Bytes, Int, Real, Text};
use Write::{Insert, Update};

const fn bulk(bit: u32, table: &'static str, counted: bool, columns: &'static [(&'static str, Kind)], write: Write) -> Bulk {
    Bulk { table, columns, write, bit: 1 << bit, counted, one: OnceLock::new(), all: OnceLock::new() }
}

pub(in crate::queue) static MENTION: Bulk = bulk(
    1,
    "mention",
    true,
    &[
        ("source_id", Int),
        ("native_id", Text),
        ("local_ref", Text),
        ("version", Int),
        ("side", Text),
        ("contact_id", Int),
        ("conversation", Int),
        ("parent", Text),
        ("lang", Text),
        ("label", Text),
        ("confidence", Real),
        ("unsure", Int),
        ("posted_at", Int),
        ("time_quality", Text),
        ("first_seen_at", Int),
        ("edited_at", Int),
        ("reach", Int),
        ("replies", Int),
        ("shares", Int),
        ("likes", Int),
        ("visibility", Text),
        ("url", Text),
        ("media", Text),
        ("signature", Int),
        ("text", Text),
    ],
    Insert(""),
);

pub(in crate::queue) static MENTION_ORIGINAL: Bulk =
    bulk(2, "mention_original", false, &[("mention_id", Int), ("text", Text)], Insert(""));

pub(in crate::queue) static MENTION_EXTRA: Bulk =
    bulk(9, "mention_extra", false, &[("mention_id", Int), ("extra", Text)], Insert("ON CONFLICT DO NOTHING"));

pub(in crate::queue) static JUDGEMENT: Bulk = bulk(
    3,
    "judgement",
    false,
    &[("mention_id", Int), ("rules", Int), ("model", Int), ("reasons", Text)],
    Insert("ON CONFLICT (mention_id) DO UPDATE SET rules = excluded.rules, model = excluded.model, reasons = excluded.reasons"),
);

pub(in crate::queue) static MENTION_MATCH: Bulk = bulk(
    4,
    "mention_match",
    false,
    &[("mention_id", Int), ("brand_id", Int), ("account_id", Int), ("addressed", Int), ("query", Text)],
    Insert("ON CONFLICT DO NOTHING"),
);

pub(in crate::queue) static CASES: Bulk = bulk(
    5,
    "cases",
    true,
    &[
        ("brand_id", Int),
        ("account_id", Int),
        ("contact_id", Int),
        ("conversation", Int),
        ("mention_id", Int),
        ("latest_mention_id", Int),
        ("status", Text),
        ("priority", Int),
        ("team_id", Int),
        ("label", Text),
        ("confidence", Real),
        ("unsure", Int),
        ("rule", Text),
        ("rules", Int),
        ("policy_id", Int),
        ("opened_at", Int),
        ("changed_at", Int),
        ("unanswered_since", Int),
        ("due_at", Int),
        ("overdue", Int),
        ("signature", Int),
    ],
    Insert(""),
);

pub(in crate::queue) static CASES_SAVED: Bulk = bulk(
    10,
    "cases",
    false,
    &[
        ("id", Int),
        ("account_id", Int),
        ("latest_mention_id", Int),
        ("mentions", Int),
        ("finished", Int),
        ("status", Text),
        ("priority", Int),
        ("team_id", Int),
        ("assignee_id", Int),
        ("label", Text),
        ("confidence", Real),
        ("unsure", Int),
        ("labelled_by", Int),
        ("policy_id", Int),
        ("changed_at", Int),
        ("resolved_at", Int),
        ("disposition", Text),
        ("transfers", Int),
        ("unanswered_since", Int),
        ("due_at", Int),
        ("overdue", Int),
        ("notes", Int),
    ],
    Update,
);

pub(in crate::queue) static CLOCK: Bulk = bulk(
    6,
    "clock",
    false,
    &[
        ("case_id", Int),
        ("kind", Int),
        ("cycle", Int),
        ("policy_id", Int),
        ("state", Int),
        ("origin_at", Int),
        ("origin_source", Int),
        ("target", Int),
        ("elapsed", Int),
        ("since", Int),
        ("deadline_at", Int),
        ("fired", Int),
        ("next_fire_at", Int),
        ("met_at", Int),
        ("breached_at", Int),
        ("detected_at", Int),
        ("cancelled", Text),
        ("breach_reason", Text),
    ],
    Insert("ON CONFLICT (case_id, kind, cycle) DO UPDATE SET policy_id = excluded.policy_id, state = excluded.state,
     origin_at = excluded.origin_at, origin_source = excluded.origin_source, target = excluded.target, elapsed = excluded.elapsed,
     since = excluded.since, deadline_at = excluded.deadline_at, fired = excluded.fired, next_fire_at = excluded.next_fire_at,
     met_at = excluded.met_at, breached_at = excluded.breached_at, detected_at = excluded.detected_at,
     cancelled = excluded.cancelled, breach_reason = excluded.breach_reason"),
);

pub(in crate::queue) static CASE_MENTION: Bulk =
    bulk(7, "case_mention", false, &[("case_id", Int), ("mention_id", Int)], Insert("ON CONFLICT DO NOTHING"));

pub(in crate::queue) static DEAD_LETTER: Bulk = bulk(
    8,
    "dead_letter",
    false,
    &[("log", Text), ("part", Int), ("position", Int), ("at", Int), ("reason", Text), ("bytes", Bytes)],
    Insert("ON CONFLICT DO NOTHING"),
);

pub(in crate::queue) static ERASURE: Bulk =
    bulk(0, "erasure", false, &[("source", Text), ("native_id", Text), ("at", Int)], Insert(""));

pub(super) static ALL: [&Bulk; 11] = [
    &MENTION,
    &MENTION_ORIGINAL,
    &MENTION_EXTRA,
    &JUDGEMENT,
    &MENTION_MATCH,
    &CASES,
    &CASES_SAVED,
    &CLOCK,
    &CASE_MENTION,
    &DEAD_LETTER,
    &ERASURE,
];

/// Every table.
pub(super) const EVERY: u32 = u32::MAX;

impl Bulk {
    /// The tables that a statement names.
    pub(super) fn named_in(sql: &str) -> u32 {
        let words = sql.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
        words.flat_map(|word| ALL.iter().filter(move |bulk| bulk.table == word)).fold(0, |bits, bulk| bits | bulk.bit)
    }

    /// The bit that is its own.
    #[cfg(test)]
    pub(super) fn bit(&self) -> u32 {
        self.bit
    }

    pub(super) fn counted(&self) -> bool {
        self.counted
    }

    pub(super) fn table(&self) -> &'static str {
        self.table
    }

    /// One row at a time.
    pub(super) fn one(&self) -> &str {
        self.one.get_or_init(|| {
            let names: Vec<&str> = self.columns.iter().map(|(name, _)| *name).collect();
            match self.write {
                Insert(conflict) => {
                    let places: Vec<String> = (1..=names.len()).map(|place| format!("?{place}")).collect();
                    let (names, places) = (names.join(", "), places.join(", "));
                    format!("INSERT INTO {} ({names}) VALUES ({places}) {conflict}", self.table)
                }
                Update => {
                    let set: Vec<String> = (2..).zip(&names[1..]).map(|(place, name)| format!("{name} = ?{place}")).collect();
                    format!("UPDATE {} SET {} WHERE {} = ?1", self.table, set.join(", "), names[0])
                }
            }
        })
    }

    /// All rows at once, each column an array.
    pub(super) fn all(&self) -> &str {
        self.all.get_or_init(|| {
            let columns = self.columns.iter().copied().chain(self.counted.then_some(("id", Int)));
            let (names, kinds): (Vec<&str>, Vec<Kind>) = columns.unzip();
            let arrays: Vec<String> =
                (1..).zip(&kinds).map(|(place, kind): (usize, _)| format!("${place}::{}[]", kind.name())).collect();
            let (list, arrays) = (names.join(", "), arrays.join(", "));
            match self.write {
                Insert(conflict) => format!("INSERT INTO {} ({list}) SELECT * FROM unnest({arrays}) {conflict}", self.table),
                Update => {
                    let set: Vec<String> = names[1..].iter().map(|name| format!("{name} = saved.{name}")).collect();
                    let (table, set, key) = (self.table, set.join(", "), names[0]);
                    format!("UPDATE {table} SET {set} FROM unnest({arrays}) AS saved({list}) WHERE {table}.{key} = saved.{key}")
                }
            }
        })
    }
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Int => "bigint",
            Real => "double precision",
            Text => "text",
            Bytes => "bytea",
        }
    }
}

/// A column of the rows that wait.
enum Column {
    Ints(Vec<Option<i64>>),
    Reals(Vec<Option<f64>>),
    Texts(Vec<Option<String>>),
    Blobs(Vec<Option<Vec<u8>>>),
}

/// Rows of one table that wait to be written.
pub(super) struct Columns(Vec<Column>);

impl Columns {
    fn of(bulk: &Bulk) -> Columns {
        let kinds = bulk.columns.iter().map(|(_, kind)| *kind).chain(bulk.counted.then_some(Int));
        Columns(
            kinds
                .map(|kind| match kind {
                    Int => Column::Ints(Vec::new()),
                    Real => Column::Reals(Vec::new()),
                    Text => Column::Texts(Vec::new()),
                    Bytes => Column::Blobs(Vec::new()),
                })
                .collect(),
        )
    }

    fn push(&mut self, values: &[Value<'_>], id: Option<i64>) {
        for (column, value) in self.0.iter_mut().zip(values.iter().copied().chain(id.map(Value::Int))) {
            match column {
                Column::Ints(numbers) => numbers.push(if let Value::Int(number) = value { Some(number) } else { None }),
                Column::Reals(numbers) => numbers.push(if let Value::Real(number) = value { Some(number) } else { None }),
                Column::Texts(texts) => {
                    texts.push(if let Value::Text(text) = value { Some(without_nul(text).into_owned()) } else { None });
                }
                Column::Blobs(blobs) => blobs.push(if let Value::Blob(bytes) = value { Some(bytes.to_vec()) } else { None }),
            }
        }
    }

    /// Drops the rows that have this number in their first column.
    fn forget(&mut self, first: i64) {
        let Some(Column::Ints(numbers)) = self.0.first() else { return };
        if !numbers.contains(&Some(first)) {
            return;
        }
        let kept: Vec<bool> = numbers.iter().map(|number| *number != Some(first)).collect();
        for column in &mut self.0 {
            let mut kept = kept.iter().copied();
            let mut keep = || kept.next().unwrap_or(true);
            match column {
                Column::Ints(numbers) => numbers.retain(|_| keep()),
                Column::Reals(numbers) => numbers.retain(|_| keep()),
                Column::Texts(texts) => texts.retain(|_| keep()),
                Column::Blobs(blobs) => blobs.retain(|_| keep()),
            }
        }
    }

    /// How many rows wait.
    #[cfg(test)]
    pub(super) fn rows(&self) -> usize {
        match self.0.first() {
            Some(Column::Ints(numbers)) => numbers.len(),
            _ => 0,
        }
    }

    pub(super) fn parameters(&self) -> Vec<&(dyn ToSql + Sync)> {
        self.0
            .iter()
            .map(|column| match column {
                Column::Ints(numbers) => numbers as &(dyn ToSql + Sync),
                Column::Reals(numbers) => numbers,
                Column::Texts(texts) => texts,
                Column::Blobs(blobs) => blobs,
            })
            .collect()
    }
}

/// What a session still has to write, and the ids that it may give out.
#[derive(Default)]
pub(super) struct Pending {
    rows: Vec<(&'static Bulk, Columns)>,
    ids: Vec<(&'static str, VecDeque<i64>)>,
    /// Ids given out since the transaction began; the next block is as large.
    given: usize,
}

impl Pending {
    pub(super) fn push(&mut self, bulk: &'static Bulk, values: &[Value<'_>], id: Option<i64>) {
        let at = self.rows.iter().position(|(waiting, _)| waiting.bit == bulk.bit).unwrap_or_else(|| {
            self.rows.push((bulk, Columns::of(bulk)));
            self.rows.len() - 1
        });
        self.rows[at].1.push(values, id);
    }

    /// Takes the rows of one of these tables; what is inserted goes before what is changed.
    pub(super) fn take(&mut self, tables: u32) -> Option<(&'static Bulk, Columns)> {
        let named = self.rows.iter().enumerate().filter(|(_, (bulk, _))| bulk.bit & tables != 0);
        let (at, _) = named.min_by_key(|(_, (bulk, _))| bulk.bit)?;
        Some(self.rows.swap_remove(at))
    }

    /// Drops the rows of a table that have `first` in their first column.
    pub(super) fn forget(&mut self, bulk: &Bulk, first: i64) {
        if let Some((_, columns)) = self.rows.iter_mut().find(|(waiting, _)| waiting.bit == bulk.bit) {
            columns.forget(first);
        }
    }

    /// The next id of a table, if one is left.
    pub(super) fn next_id(&mut self, bulk: &Bulk) -> Option<i64> {
        let (_, ids) = self.ids.iter_mut().find(|(table, _)| *table == bulk.table)?;
        let id = ids.pop_front()?;
        self.given += 1;
        Some(id)
    }

    /// How many ids to ask for: few for a person, many for a batch.
    pub(super) fn block(&self) -> i64 {
        i64::try_from(self.given.clamp(1, 512)).unwrap_or(1)
    }

    pub(super) fn add_ids(&mut self, bulk: &Bulk, new: impl IntoIterator<Item = i64>) {
        match self.ids.iter_mut().find(|(table, _)| *table == bulk.table) {
            Some((_, ids)) => ids.extend(new),
            None => self.ids.push((bulk.table, new.into_iter().collect())),
        }
    }

    /// Forgets the rows; ids stay good, since a sequence never gives one twice.
    pub(super) fn clear(&mut self) {
        self.rows.clear();
        self.given = 0;
    }
}
