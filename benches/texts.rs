//! The posts and queries of the search bench: public posts, recombined, the same on every run.

use std::{path::Path, process::Command};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

/// What people ask besides words.
const FILTERS: [&str; 10] = [
    "label:complaint",
    "platform:forum",
    "-label:other",
    "posted:2026-10-01..10-31",
    "lang:ko",
    "team:care state:open",
    "reach:>1000",
    "account:shop_2",
    "(label:complaint OR label:question)",
    "posted:>=2026-11-10 -platform:cafe",
];
/// Every so many queries are asked once more with a filter.
const FILTERED: usize = 7;
/// Every so many posts carry an order number of their own.
const NUMBERED: usize = 10;

#[derive(Deserialize)]
struct Row {
    text: String,
}

/// A query of a kind.
#[derive(Deserialize)]
pub(crate) struct Asked {
    pub(crate) kind: String,
    pub(crate) query: String,
}

/// The rows of `tests/search`.
pub(crate) struct Texts(Vec<String>);

impl Texts {
    pub(crate) fn read(root: &Path) -> Result<Texts> {
        let path = root.join("tests/search/rows.jsonl.gz");
        let unpacked = Command::new("gzip").arg("-dc").arg(&path).output().context("failed to start gzip")?;
        ensure!(unpacked.status.success(), "gzip cannot read {}", path.display());
        let rows = String::from_utf8(unpacked.stdout)?;
        let rows: Vec<Row> = rows.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
        Ok(Texts(rows.into_iter().map(|row| row.text).collect()))
    }

    /// The text of post `number`. The first posts are the rows as they are; each later one is the first half of the
    /// words of one row and the second half of another's. A tenth has an order number of its own.
    pub(crate) fn post(&self, number: usize) -> String {
        let (rows, round) = (self.0.len(), number / self.0.len());
        let half = |row: usize, second: bool| {
            let text = &self.0[row % rows];
            let middle = text[..floor(text, text.len() / 2)].rfind(' ').unwrap_or(0);
            if second { text[middle..].trim_start() } else { text[..middle].trim_end() }
        };
        let mut text = match round {
            0 => self.0[number].clone(),
            // A large odd step, so that no pair of rows comes twice in ten million posts.
            _ => format!("{} {}", half(number, false), half(number.wrapping_add(round.wrapping_mul(7_919)), true)),
        };
        if number.is_multiple_of(NUMBERED) {
            text.push_str(&format!(" 주문번호 {}", code(number)));
        }
        text
    }
}

/// The order number that every tenth post carries.
fn code(number: usize) -> String {
    format!("MK{:09}", number.wrapping_mul(48_271) % 999_999_937)
}

fn floor(text: &str, mut at: usize) -> usize {
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// The queries of `tests/search` in both halves, some once more with a filter, and order numbers of `count` posts.
pub(crate) fn queries(root: &Path, count: usize) -> Result<Vec<Asked>> {
    let mut all: Vec<Asked> = Vec::new();
    for half in ["first", "second"] {
        let path = root.join(format!("tests/search/queries-{half}.jsonl"));
        let text = std::fs::read_to_string(&path).with_context(|| format!("failed to read {}", path.display()))?;
        for line in text.lines() {
            all.push(serde_json::from_str(line)?);
        }
    }
    let filtered = all.iter().step_by(FILTERED).zip(FILTERS.iter().cycle());
    let filtered: Vec<Asked> =
        filtered.map(|(asked, filter)| Asked { kind: "filter".into(), query: format!("{} {filter}", asked.query) }).collect();
    let numbers = (0..10).map(|part| count * part / 10 / NUMBERED * NUMBERED);
    all.extend(filtered);
    all.extend(numbers.map(|number| Asked { kind: "order number".into(), query: code(number) }));
    Ok(all)
}
