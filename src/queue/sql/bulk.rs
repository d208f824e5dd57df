//! Rows that a batch writes by the thousand: one by one on SQLite, a table at a time on PostgreSQL.

use std::{collections::VecDeque, sync::OnceLock};

use postgres::types::ToSql;

use super::{Value, postgres::without_nul};

/// A table whose rows are written in bulk.
pub(in crate::queue) struct Bulk {
    table: &'static str,
    columns: &'static [(&'static str, Kind)],
    /// What happens to a row that is there already.
    conflict: &'static str,
    /// One bit, by which statements say which tables they name.
    bit: u32,
    /// Its ids come from a sequence.
    counted: bool,
    inserted: OnceLock<String>,
    unnested: OnceLock<String>,
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

const fn bulk(
    bit: u32,
    table: &'static str,
    counted: bool,
    columns: &'static [(&'static str, Kind)],
    conflict: &'static str,
) -> Bulk {
    Bulk { table, columns, conflict, bit: 1 << bit, counted, inserted: OnceLock::new(), unnested: OnceLock::new() }
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
    "",
);

pub(in crate::queue) static MENTION_ORIGINAL: Bulk =
    bulk(2, "mention_original", false, &[("mention_id", Int), ("text", Text)], "");

pub(in crate::queue) static JUDGEMENT: Bulk = bulk(
    3,
    "judgement",
    false,
    &[("mention_id", Int), ("rules", Int), ("reasons", Text)],
    "ON CONFLICT (mention_id) DO UPDATE SET rules = excluded.rules, reasons = excluded.reasons",
);

pub(in crate::queue) static MENTION_MATCH: Bulk = bulk(
    4,
    "mention_match",
    false,
    &[("mention_id", Int), ("brand_id", Int), ("account_id", Int), ("addressed", Int), ("query", Text)],
    "ON CONFLICT DO NOTHING",
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
    "",
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
    "ON CONFLICT (case_id, kind, cycle) DO UPDATE SET policy_id = excluded.policy_id, state = excluded.state,
     origin_at = excluded.origin_at, origin_source = excluded.origin_source, target = excluded.target, elapsed = excluded.elapsed,
     since = excluded.since, deadline_at = excluded.deadline_at, fired = excluded.fired, next_fire_at = excluded.next_fire_at,
     met_at = excluded.met_at, breached_at = excluded.breached_at, detected_at = excluded.detected_at,
     cancelled = excluded.cancelled, breach_reason = excluded.breach_reason",
);

pub(in crate::queue) static CASE_MENTION: Bulk =
    bulk(7, "case_mention", false, &[("case_id", Int), ("mention_id", Int)], "ON CONFLICT DO NOTHING");

pub(in crate::queue) static DEAD_LETTER: Bulk = bulk(
    8,
    "dead_letter",
    false,
    &[("log", Text), ("part", Int), ("position", Int), ("at", Int), ("reason", Text), ("bytes", Bytes)],
    "ON CONFLICT DO NOTHING",
);

pub(in crate::queue) static ERASURE: Bulk =
    bulk(9, "erasure", false, &[("source", Text), ("native_id", Text), ("at", Int)], "");

static ALL: [&Bulk; 9] =
    [&MENTION, &MENTION_ORIGINAL, &JUDGEMENT, &MENTION_MATCH, &CASES, &CLOCK, &CASE_MENTION, &DEAD_LETTER, &ERASURE];

/// Every table.
pub(super) const EVERY: u32 = u32::MAX;

impl Bulk {
    /// The tables that a statement names.
    pub(super) fn named_in(sql: &str) -> u32 {
        let words = sql.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
        words.filter_map(|word| ALL.iter().find(|bulk| bulk.table == word)).fold(0, |bits, bulk| bits | bulk.bit)
    }

    pub(super) fn counted(&self) -> bool {
        self.counted
    }

    pub(super) fn table(&self) -> &'static str {
        self.table
    }

    pub(super) fn bit(&self) -> u32 {
        self.bit
    }

    /// One row at a time.
    pub(super) fn inserted(&self) -> &str {
        self.inserted.get_or_init(|| {
            let columns: Vec<&str> = self.columns.iter().map(|(name, _)| *name).collect();
            let places: Vec<String> = (1..=columns.len()).map(|place| format!("?{place}")).collect();
            let (columns, places) = (columns.join(", "), places.join(", "));
            format!("INSERT INTO {} ({columns}) VALUES ({places}) {}", self.table, self.conflict)
        })
    }

    /// All rows at once, each column an array.
    pub(super) fn unnested(&self) -> &str {
        self.unnested.get_or_init(|| {
            let mut columns: Vec<&str> = self.columns.iter().map(|(name, _)| *name).collect();
            let mut arrays: Vec<String> = Vec::new();
            let mut kinds: Vec<Kind> = self.columns.iter().map(|(_, kind)| *kind).collect();
            if self.counted {
                columns.push("id");
                kinds.push(Int);
            }
            for (place, kind) in kinds.iter().enumerate() {
                let kind = match kind {
                    Int => "bigint",
                    Real => "double precision",
                    Text => "text",
                    Bytes => "bytea",
                };
                arrays.push(format!("${}::{kind}[]", place + 1));
            }
            let (columns, arrays) = (columns.join(", "), arrays.join(", "));
            format!("INSERT INTO {} ({columns}) SELECT * FROM unnest({arrays}) {}", self.table, self.conflict)
        })
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

    /// Does a row with this number in its first column wait?
    fn holds(&self, first: i64) -> bool {
        matches!(self.0.first(), Some(Column::Ints(numbers)) if numbers.contains(&Some(first)))
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

    /// Takes the rows of one of these tables.
    pub(super) fn take(&mut self, tables: u32) -> Option<(&'static Bulk, Columns)> {
        let at = self.rows.iter().position(|(bulk, _)| bulk.bit & tables != 0)?;
        Some(self.rows.swap_remove(at))
    }

    /// Does a row of this table wait whose first column is `first`?
    pub(super) fn holds(&self, bulk: &Bulk, first: i64) -> bool {
        self.rows.iter().any(|(waiting, columns)| waiting.bit == bulk.bit && columns.holds(first))
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
