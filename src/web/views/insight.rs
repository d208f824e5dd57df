//! What is made of searches: saved ones with their alerts, exports, and the words that rise.

use std::time::Duration;

use askama::Template;

use super::{Choice, Frame};
use crate::{
    clock::Time,
    queue::{AlertRule, ExportState},
    web::{format, words::fill},
};

/// A saved search in the list.
#[derive(Clone, Debug)]
pub struct SavedRow {
    /// Row id.
    pub id: i64,
    /// What it is called.
    pub name: String,
    /// As typed.
    pub query: String,
    /// Where it is run.
    pub href: String,
    /// The team that shares it.
    pub team: Option<String>,
    /// It is the viewer's own.
    pub mine: bool,
    /// When it tells.
    pub alert: Option<AlertRule>,
}

impl SavedRow {
    /// When it tells, in words.
    pub fn rule(&self, f: &Frame) -> Option<String> {
        let span = |period| format::duration(period, f.language);
        Some(match self.alert? {
            AlertRule::Count { threshold, period } => {
                fill(f.w.rule_count, &[("n", &threshold.to_string()), ("time", &span(period))])
            }
            AlertRule::Spike { percent, threshold, period } => fill(
                f.w.rule_spike,
                &[("n", &threshold.to_string()), ("time", &span(period)), ("times", &times(f64::from(percent) / 100.0))],
            ),
        })
    }
}

/// "9.1", or "3" where nothing follows the point.
fn times(number: f64) -> String {
    let text = format!("{number:.1}");
    text.strip_suffix(".0").unwrap_or(&text).to_owned()
}

/// An alert in the list.
#[derive(Clone, Debug)]
pub struct AlertRow {
    /// The saved search's name.
    pub name: String,
    /// When it was told.
    pub at: Time,
    /// How many posts.
    pub found: u64,
    /// In how much time.
    pub period: Duration,
    /// A hundred times the usual, for a spike.
    pub usual: Option<u64>,
    /// The posts.
    pub href: String,
    /// The viewer has not seen it before.
    pub fresh: bool,
}

impl AlertRow {
    /// Why it was told.
    pub fn why(&self, f: &Frame) -> String {
        let (found, time) = (f.posts(self.found), format::duration(self.period, f.language));
        match self.usual {
            None => fill(f.w.told_count, &[("posts", &found), ("time", &time)]),
            Some(0) => fill(f.w.told_first, &[("posts", &found), ("time", &time)]),
            Some(usual) => {
                let more = times(self.found as f64 * 100.0 / usual as f64);
                let usual = times(usual as f64 / 100.0);
                fill(f.w.told_spike, &[("posts", &found), ("time", &time), ("usual", &usual), ("times", &more)])
            }
        }
    }
}

/// The page of saved searches.
#[derive(Clone, Debug, Template)]
#[template(path = "saved.html")]
pub struct SavedPage {
    /// Around it.
    pub f: Frame,
    /// What was told, newest first.
    pub alerts: Vec<AlertRow>,
    /// What is kept, by name.
    pub rows: Vec<SavedRow>,
}

/// An export in the list.
#[derive(Clone, Debug)]
pub struct ExportRow {
    /// Row id.
    pub id: i64,
    /// What was asked.
    pub query: String,
    /// Why.
    pub reason: String,
    /// Whose.
    pub initials: String,
    /// Where it stands.
    pub state: ExportState,
    /// Posts read so far.
    pub done: u64,
    /// Posts in it.
    pub total: u64,
    /// When it was asked for.
    pub at: Time,
    /// How often it was downloaded.
    pub downloads: u64,
    /// It is the viewer's own.
    pub mine: bool,
}

impl ExportRow {
    /// Parts of it are still to be read.
    pub fn running(&self) -> bool {
        self.state == ExportState::Running
    }

    /// It can be downloaded by the viewer.
    pub fn ready(&self) -> bool {
        self.state == ExportState::Done && self.mine
    }

    /// Kinds of file that it comes as: ending and name.
    pub fn files(&self) -> [(&'static str, &'static str); 3] {
        [("csv", "CSV"), ("xlsx", "XLSX"), ("jsonl", "JSON Lines")]
    }

    /// The state in words.
    pub fn words(&self, f: &Frame) -> String {
        match self.state {
            ExportState::Running => {
                let count = format::thousands;
                fill(f.w.export_running, &[("done", &count(self.done)), ("total", &count(self.total))])
            }
            ExportState::Done => fill(f.w.export_done, &[("posts", &f.posts(self.total))]),
            ExportState::Cancelled => f.w.export_cancelled.into(),
            ExportState::Expired => f.w.export_expired.into(),
        }
    }
}

/// The page of exports.
#[derive(Clone, Debug, Template)]
#[template(path = "exports.html")]
pub struct ExportsPage {
    /// Around it.
    pub f: Frame,
    /// Newest first.
    pub rows: Vec<ExportRow>,
    /// Somebody else's are shown too.
    pub everybody: bool,
}

impl ExportsPage {
    /// One of them is being read.
    pub fn running(&self) -> bool {
        self.rows.iter().any(ExportRow::running)
    }
}

/// Columns of a chart, the last of which is now.
#[derive(Clone, Debug, Default)]
pub struct Columns {
    /// What each says, left to right.
    pub values: Vec<u64>,
    /// What it shows, in a sentence.
    pub summary: String,
}

/// A column as it is drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Column {
    /// Left edge.
    pub x: usize,
    /// Upper edge.
    pub y: u64,
    /// Height.
    pub height: u64,
    /// Middle.
    pub middle: usize,
    /// What it says.
    pub value: u64,
    /// It is this week's.
    pub now: bool,
}

impl Columns {
    /// Width of the drawing.
    pub fn width(&self) -> usize {
        self.values.len() * 34
    }

    /// From zero, 40 units at most, with the value above.
    pub fn drawn(&self) -> Vec<Column> {
        let most = self.values.iter().max().copied().unwrap_or(0).max(1);
        let column = |(at, value): (usize, &u64)| {
            let height = (value * 40).div_ceil(most).max(1);
            Column {
                x: at * 34 + 4,
                y: 54 - height,
                height,
                middle: at * 34 + 17,
                value: *value,
                now: at + 1 == self.values.len(),
            }
        };
        self.values.iter().enumerate().map(column).collect()
    }
}

/// A post that has a rising term.
#[derive(Clone, Debug)]
pub struct Example {
    /// Its case.
    pub case: Option<i64>,
    /// Pieces of the text; true for the term.
    pub snippet: Vec<(bool, String)>,
}

/// A term that rises.
#[derive(Clone, Debug)]
pub struct RisingRow {
    /// The word or phrase.
    pub term: String,
    /// Its posts of this week.
    pub href: String,
    /// How many times the usual.
    pub times: f64,
    /// It was never written in the weeks before.
    pub new: bool,
    /// People by week, with its sentence.
    pub columns: Columns,
    /// Posts.
    pub examples: Vec<Example>,
}

impl RisingRow {
    /// "9.1 times the usual", or that it is new.
    pub fn said(&self, f: &Frame) -> String {
        if self.new { f.w.rise_new.into() } else { f.with(f.w.rise_times, "n", times(self.times)) }
    }
}

/// The page of what rises.
#[derive(Clone, Debug, Template)]
#[template(path = "insight.html")]
pub struct InsightPage {
    /// Around it.
    pub f: Frame,
    /// Brands to choose from.
    pub brands: Vec<Choice>,
    /// Labels to choose from.
    pub labels: Vec<Choice>,
    /// First day of each week, oldest first.
    pub weeks: Vec<String>,
    /// Posts by week.
    pub totals: Columns,
    /// Posts that were read, where not all were.
    pub read: Option<u64>,
    /// What rises, surest first.
    pub rising: Vec<RisingRow>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_on_zero_and_the_highest_fills_the_chart() {
        let chart = Columns { values: vec![0, 5, 10], summary: String::new() };
        let drawn = chart.drawn();
        assert_eq!(drawn.iter().map(|column| (column.height, column.y)).collect::<Vec<_>>(), [(1, 53), (20, 34), (40, 14)]);
        assert_eq!((drawn[2].now, drawn[1].now, chart.width()), (true, false, 102));
        assert!(Columns::default().drawn().is_empty());
        assert_eq!((times(3.0), times(9.08), times(0.25)), ("3".into(), "9.1".into(), "0.2".into()));
    }
}
