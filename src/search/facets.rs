//! How many hits share a value: the narrower searches that a result leads to.
//!
//! A hit counts once for each value that one of its visible rows has, so that the number beside a value is
//! the number of hits of the query with `field:value` added; a test holds that for every value.

use std::collections::HashMap;

use jiff::{civil::Date, tz::TimeZone};

use super::{
    Facet,
    plan::instant,
    table::{Row, Table},
};
use crate::{
    case::Status,
    mention::Label,
    query::{Sla, UNSORTED},
    staff::TeamId,
};

/// Fields in the order in which a page shows them.
const FIELDS: [&str; 9] = ["posted", "label", "team", "platform", "account", "lang", "status", "sla", "disposition"];

/// The labels, and that nobody has sorted it.
const LABELS: [Option<Label>; 6] =
    [Some(Label::Complaint), Some(Label::Question), Some(Label::Proposal), Some(Label::Abuse), Some(Label::Other), None];
const RESULTS: [Sla; 2] = [Sla::Breached, Sla::Met];

/// Counts over all hits so far.
pub(super) struct Facets<'a> {
    table: &'a Table,
    /// Days, when they begin, and how many hits are not older.
    since: Vec<(Date, i64, usize)>,
    labels: [usize; LABELS.len()],
    statuses: [usize; Status::ALL.len()],
    results: [usize; RESULTS.len()],
    dispositions: Vec<usize>,
    /// Few, and a hit is most often of the same as one before.
    teams: Vec<(TeamId, usize)>,
    words: HashMap<(&'static str, String), usize>,
}

fn count<T: PartialEq>(counts: &mut [usize], all: &[T], one: &T) {
    if let Some(count) = all.iter().position(|other| other == one).and_then(|at| counts.get_mut(at)) {
        *count += 1;
    }
}

impl<'a> Facets<'a> {
    /// Nothing is counted yet; hits will be counted since the beginning of each of these days.
    pub(super) fn new(table: &'a Table, since: &[Date], zone: &TimeZone) -> Facets<'a> {
        let since = since.iter().filter_map(|day| Some((*day, instant(day.at(0, 0, 0, 0), zone)?, 0)));
        Facets {
            table,
            since: since.collect(),
            labels: [0; LABELS.len()],
            statuses: [0; Status::ALL.len()],
            results: [0; RESULTS.len()],
            dispositions: vec![0; table.dispositions().len()],
            teams: Vec::new(),
            words: HashMap::new(),
        }
    }

    /// Counts a hit by its visible rows, of which there is at least one.
    pub(super) fn hit<'r>(&mut self, posted: i64, first: &'r Row, others: impl Iterator<Item = &'r Row>) {
        for (_, begins, count) in &mut self.since {
            *count += usize::from(posted >= *begins);
        }
        self.row(first, &[]);
        let mut seen = vec![];
        for row in others {
            if seen.is_empty() {
                seen.push(first);
            }
            self.row(row, &seen);
            seen.push(row);
        }
    }

    /// Counts what this row has and none of those before it.
    fn row(&mut self, row: &Row, before: &[&Row]) {
        let sorted = |row: &Row| row.case().map(|_| row.label());
        if let Some(label) = sorted(row).filter(|label| before.iter().all(|other| sorted(other) != Some(*label))) {
            count(&mut self.labels, &LABELS, &label);
        }
        if let Some(status) = row.status().filter(|status| before.iter().all(|other| other.status() != Some(*status))) {
            count(&mut self.statuses, &Status::ALL, &status);
        }
        if let Some(result) = row.sla().filter(|result| before.iter().all(|other| other.sla() != Some(*result))) {
            count(&mut self.results, &RESULTS, &result);
        }
        if let Some(team) = row.team().filter(|team| before.iter().all(|other| other.team() != Some(*team))) {
            match self.teams.iter_mut().find(|(known, _)| *known == team) {
                Some((_, count)) => *count += 1,
                None => self.teams.push((team, 1)),
            }
        }
        let ended = row.disposition().filter(|ended| before.iter().all(|other| other.disposition() != Some(*ended)));
        if let Some(count) = ended.and_then(|ended| self.dispositions.get_mut(usize::from(ended))) {
            *count += 1;
        }
    }

    /// Counts hits by a word of the post.
    pub(super) fn word(&mut self, field: &'static str, word: &str, count: usize) {
        *self.words.entry((field, word.to_owned())).or_default() += count;
    }

    /// What was counted: by field, then days from near to far, all else largest first.
    pub(super) fn counts(self) -> Vec<Facet> {
        let names = &self.table.names;
        let team_name = |team: TeamId| {
            names.teams.iter().find(|(id, _)| *id == team).map_or_else(|| team.0.to_string(), |(_, name)| name.clone())
        };
        let sla = |result: &Sla| match result {
            Sla::Breached => "breached".to_owned(),
            Sla::Met => "met".to_owned(),
        };
        let days = self.since.iter().map(|(day, _, count)| ("posted", format!(">={day}"), *count));
        let label = |label: &Option<Label>| label.map_or(UNSORTED, Label::as_str).to_owned();
        let labels = LABELS.iter().zip(self.labels).map(|(one, count)| ("label", label(one), count));
        let statuses =
            Status::ALL.iter().zip(self.statuses).map(|(status, count)| ("status", status.as_str().to_owned(), count));
        let results = RESULTS.iter().zip(self.results).map(|(result, count)| ("sla", sla(result), count));
        let ended = self.table.dispositions().iter().zip(&self.dispositions);
        let ended = ended.map(|(key, count)| ("disposition", key.clone(), *count));
        let teams = self.teams.iter().map(|(team, count)| ("team", team_name(*team), *count));
        let words = self.words.iter().map(|((field, word), count)| (*field, word.clone(), *count));
        let all = days.chain(labels).chain(teams).chain(words).chain(statuses).chain(results).chain(ended);
        let mut facets: Vec<Facet> =
            all.filter(|(_, _, count)| *count > 0).map(|(field, value, count)| Facet { field, value, count }).collect();
        let place = |field: &str| FIELDS.iter().position(|name| *name == field);
        // The sort is stable, so days stay as they were asked for.
        facets.sort_by(|a, b| {
            let in_field = if a.field == "posted" { std::cmp::Ordering::Equal } else { b.count.cmp(&a.count) };
            place(a.field).cmp(&place(b.field)).then(in_field).then_with(|| match a.field {
                "posted" => std::cmp::Ordering::Equal,
                _ => a.value.cmp(&b.value),
            })
        });
        facets
    }
}

#[cfg(test)]
mod tests;
