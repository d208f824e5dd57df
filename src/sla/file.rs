//! Policies and calendars as their TOML files state them: read whole, and checked whole before they rule.

use std::{collections::BTreeMap, ops::Range, sync::Arc, time::Duration};

use jiff::{civil::Date, tz::TimeZone};
use serde::Deserialize;
use toml::Spanned;

use super::{
    Calendar, Error, Facts, Kind, Origin, PauseReason, Policy, PolicyRef, Warn,
    calendar::{Hours, Opening},
    policy::When,
};
use crate::{
    case::Priority,
    clock::{Time, span},
    mention::{Label, Lang},
};

/// Reads files, pairs of name and text, as one list of policies; only the last of them has no conditions.
pub(super) fn read(files: &[(String, String)], version: u32) -> Result<Vec<Policy>, Error> {
    let mut calendars = BTreeMap::from([("24x7".to_owned(), Arc::new(Calendar::Always))]);
    let mut entries = Vec::new();
    for file in files {
        let rules: Rules = toml::from_str(&file.1)
            .map_err(|error| Place::new(file, error.span().unwrap_or_default()).refuse(error.message()))?;
        for calendar in rules.calendar {
            let place = Place::new(file, calendar.id.span());
            let id = calendar.id.get_ref().clone();
            if calendars.contains_key(&id) {
                return Err(place.refuse(format!("calendar {id} exists already; give this one another id")));
            }
            calendars.insert(id, Arc::new(calendar.build(file)?));
        }
        entries.extend(rules.policy.into_iter().map(|entry| (file, entry)));
    }
    let last = entries.len().saturating_sub(1);
    let mut policies: Vec<Policy> = Vec::new();
    for (index, (file, entry)) in entries.into_iter().enumerate() {
        let place = Place::new(file, entry.id.span());
        let policy = entry.build(file, &calendars, version)?;
        let id = &policy.reference.id;
        if policies.iter().any(|earlier| earlier.reference.id == *id) {
            return Err(place.refuse(format!("policy {id} exists already; give this one another id")));
        }
        let matches_all = policy.when == When::default();
        if index < last && matches_all {
            return Err(place.refuse(format!("policy {id} matches everything, those after it never do; move it to the end")));
        }
        if index == last && !matches_all {
            return Err(place.refuse(format!("the last policy is the default; add one without `when` after {id}")));
        }
        policies.push(policy);
    }
    Ok(policies)
}

/// A length of time as the files write it.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "String")]
struct Length(Duration);

impl TryFrom<String> for Length {
    type Error = String;

    fn try_from(text: String) -> Result<Length, String> {
        let length = parse_length(&text).map(Length);
        length.ok_or(format!(r#""{text}" is no length of time; write "90s", "12m", "1h30m" or "7d" (at most 3650d)"#))
    }
}

/// The longest span that a policy may name.
const LONGEST: Duration = Duration::from_secs(3_650 * 86_400);

/// Reads a span of a policy: `7d`, `1h30m`, `90s`.
pub(super) fn parse_length(text: &str) -> Option<Duration> {
    span::parse(text).filter(|length| *length <= LONGEST)
}

/// One file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rules {
    #[serde(default)]
    policy: Vec<PolicyEntry>,
    #[serde(default)]
    calendar: Vec<CalendarEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PolicyEntry {
    id: Spanned<String>,
    #[serde(default)]
    when: When,
    targets: Spanned<Targets>,
    origin: Option<Origin>,
    calendar: Option<Spanned<String>>,
    #[serde(default)]
    warn: Vec<Warn>,
    pauses: Option<Vec<PauseReason>>,
    reopen_window: Option<Length>,
    max_backdate: Option<Length>,
    #[serde(default)]
    example: Vec<Spanned<Example>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Targets {
    triage: Option<Length>,
    first_response: Option<Length>,
    next_response: Option<Length>,
    resolution: Option<Length>,
    progress: Option<Length>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Example {
    #[serde(default)]
    pub(super) facts: ExampleFacts,
    pub(super) kind: Kind,
    #[serde(deserialize_with = "moment")]
    pub(super) origin: Time,
    #[serde(deserialize_with = "moment")]
    pub(super) deadline: Time,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ExampleFacts {
    label: Label,
    team: String,
    lang: Lang,
    source: String,
    brand: String,
    priority: Priority,
    reach: u64,
    tags: Vec<String>,
}

impl Default for ExampleFacts {
    fn default() -> ExampleFacts {
        ExampleFacts {
            label: Label::Other,
            team: String::new(),
            lang: Lang::Und,
            source: String::new(),
            brand: String::new(),
            priority: Priority::Normal,
            reach: 0,
            tags: Vec::new(),
        }
    }
}

impl ExampleFacts {
    pub(super) fn borrowed(&self) -> Facts<'_> {
        Facts {
            label: self.label,
            team: &self.team,
            lang: self.lang,
            source: &self.source,
            brand: &self.brand,
            priority: self.priority,
            reach: self.reach,
            tags: &self.tags,
        }
    }
}

fn moment<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Time, D::Error> {
    let text = String::deserialize(deserializer)?;
    Time::parse(&text)
        .ok_or_else(|| serde::de::Error::custom(format!(r#""{text}" is no time; write "2026-11-20T12:00:00+09:00""#)))
}

impl PolicyEntry {
    fn build(
        self,
        file: &(String, String),
        calendars: &BTreeMap<String, Arc<Calendar>>,
        version: u32,
    ) -> Result<Policy, Error> {
        let id_place = Place::new(file, self.id.span());
        if self.id.get_ref().is_empty() {
            return Err(id_place.refuse("a policy needs an id; write one of a few letters"));
        }
        if self.warn.len() > 32 {
            return Err(id_place.refuse("more than 32 warnings; keep those that somebody acts on"));
        }
        let calendar = match &self.calendar {
            None => Arc::new(Calendar::Always),
            Some(id) => calendars.get(id.get_ref()).cloned().ok_or_else(|| {
                let known = calendars.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
                Place::new(file, id.span()).refuse(format!("no calendar {}; there are {known}", id.get_ref()))
            })?,
        };
        let place = Place::new(file, self.targets.span());
        let Targets { triage, first_response, next_response, resolution, progress } = self.targets.into_inner();
        let targets = [triage, first_response, next_response, resolution, progress, None].map(|target| target.map(|t| t.0));
        if targets.iter().all(Option::is_none) {
            return Err(place.refuse(r#"no target; write at least first_response = "12m""#));
        }
        for (kind, target) in Kind::ALL.into_iter().zip(targets).filter_map(|(kind, target)| Some((kind, target?))) {
            if target.is_zero() {
                return Err(place.refuse(format!("target {} is zero; make it longer, or leave it out", kind.as_str())));
            }
            if let Calendar::Business(hours) = &*calendar
                && target > hours.week.iter().flatten().map(|opening| opening.length()).sum::<Duration>() * 520
            {
                let problem = "takes ten years of this calendar; make it shorter, or the calendar's week longer";
                return Err(place.refuse(format!("target {} {problem}", kind.as_str())));
            }
        }
        let examples = self.example.into_iter().map(|example| (Place::new(file, example.span()), example.into_inner()));
        Ok(Policy {
            reference: PolicyRef { id: self.id.into_inner().into(), version },
            when: self.when,
            targets,
            origin: self.origin.unwrap_or(Origin::Posted),
            calendar,
            warn: self.warn,
            pauses: self.pauses.unwrap_or_else(|| PauseReason::ALL.to_vec()),
            reopen_window: self.reopen_window.map_or(Duration::from_hours(7 * 24), |length| length.0),
            max_backdate: self.max_backdate.map_or(Duration::from_hours(24), |length| length.0),
            examples: examples.collect(),
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CalendarEntry {
    id: Spanned<String>,
    zone: Spanned<String>,
    week: Spanned<Week>,
    #[serde(default)]
    dates: BTreeMap<Spanned<String>, Vec<Opening>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
#[derive(Default)]
struct Week {
    mon: Vec<Opening>,
    tue: Vec<Opening>,
    wed: Vec<Opening>,
    thu: Vec<Opening>,
    fri: Vec<Opening>,
    sat: Vec<Opening>,
    sun: Vec<Opening>,
}

impl CalendarEntry {
    fn build(self, file: &(String, String)) -> Result<Calendar, Error> {
        let zone = TimeZone::get(self.zone.get_ref()).map_err(|_| {
            let problem = format!(r#"no time zone {}; write a name like "Asia/Seoul""#, self.zone.get_ref());
            Place::new(file, self.zone.span()).refuse(problem)
        })?;
        let week_place = Place::new(file, self.week.span());
        let Week { mon, tue, wed, thu, fri, sat, sun } = self.week.into_inner();
        let mut week = [mon, tue, wed, thu, fri, sat, sun];
        if week.iter().all(Vec::is_empty) {
            return Err(week_place.refuse(r#"this calendar never opens; write mon = ["09:00-18:00"]"#));
        }
        week.iter_mut().for_each(|openings| openings.sort_unstable());
        let mut dates = BTreeMap::new();
        for (key, mut openings) in self.dates {
            let date: Date = key
                .get_ref()
                .parse()
                .map_err(|_| Place::new(file, key.span()).refuse(format!("{} is no date; write 2026-01-01", key.get_ref())))?;
            openings.sort_unstable();
            dates.insert(date, openings);
        }
        Ok(Calendar::Business(Hours { zone, week, dates }))
    }
}

/// Where in the files something stands.
#[derive(Clone, Debug)]
pub(super) struct Place {
    file: String,
    line: usize,
    key: String,
}

impl Place {
    fn new((file, text): &(String, String), span: Range<usize>) -> Place {
        let bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        let before = text.get(..span.start).unwrap_or_default();
        let here = text.get(span.start..).unwrap_or_default();
        let header = here.starts_with('[') && (before.is_empty() || before.ends_with('\n'));
        let unquoted = here.trim_start_matches(bare);
        // The span is a table's header, a key, or a value, whose key stands before the last equals sign.
        let key = if header {
            here.trim_start_matches('[').split([']', '\n']).next().unwrap_or_default()
        } else if unquoted.trim_start().starts_with('=') {
            &here[..here.len() - unquoted.len()]
        } else {
            before.rsplit_once('=').map_or("", |(left, _)| left.trim_end().rsplit(|c| !bare(c)).next().unwrap_or_default())
        };
        Place { file: file.clone(), line: before.matches('\n').count() + 1, key: key.to_owned() }
    }

    pub(super) fn refuse(&self, problem: impl Into<String>) -> Error {
        Error::Refused { file: self.file.clone(), line: self.line, key: self.key.clone(), problem: problem.into() }
    }
}
