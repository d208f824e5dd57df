//! Policies and calendars as their TOML files state them: read whole, checked whole, first match wins.

use std::{collections::BTreeMap, ops::Range, sync::Arc, time::Duration};

use jiff::{civil::Date, tz::TimeZone};
use serde::Deserialize;
use toml::Spanned;

use super::{
    Calendar, Error, Kind, Origin, PauseReason, PolicyRef,
    calendar::{Hours, Opening},
    start,
};
use crate::{
    case::Priority,
    clock::Time,
    mention::{Label, Lang, TimeQuality},
};

/// What is known of a case when its policy is chosen.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// Its label.
    pub label: Label,
    /// Key of its team.
    pub team: &'a str,
    /// Language of the post.
    pub lang: Lang,
    /// Platform, or platform and instance: `mastodon:social.example.kr`.
    pub source: &'a str,
    /// Key of the brand.
    pub brand: &'a str,
    /// How much it presses.
    pub priority: Priority,
    /// Followers or subscribers of the author; 0 if not known.
    pub reach: u64,
    /// Tags of the contact.
    pub tags: &'a [String],
}

/// Targets, calendar and warnings for the cases that it matches.
#[derive(Clone, Debug)]
pub struct Policy {
    reference: PolicyRef,
    when: When,
    targets: [Option<Duration>; Kind::ALL.len()],
    origin: Origin,
    calendar: Arc<Calendar>,
    warn: Vec<Warn>,
    pauses: Vec<PauseReason>,
    reopen_window: Duration,
    max_backdate: Duration,
    examples: Vec<(Place, Example)>,
}

impl Policy {
    /// Its id and version, as a clock keeps them.
    pub fn reference(&self) -> PolicyRef {
        self.reference.clone()
    }

    /// How much time there is for `kind`; none if it owes no such thing.
    pub fn target(&self, kind: Kind) -> Option<Duration> {
        self.targets[kind as usize]
    }

    /// The time that counts.
    pub fn calendar(&self) -> &Calendar {
        &self.calendar
    }

    /// Its warnings; the place in this list is the bit in a clock's `fired`.
    pub fn warnings(&self) -> &[Warn] {
        &self.warn
    }

    /// Does `reason` stop a resolution clock?
    pub fn pauses(&self, reason: PauseReason) -> bool {
        self.pauses.contains(&reason)
    }

    /// How long after its resolution a case comes back when its customer writes again.
    pub fn reopen_window(&self) -> Duration {
        self.reopen_window
    }

    /// A post older than this is history: no case, no clocks.
    pub fn max_backdate(&self) -> Duration {
        self.max_backdate
    }

    /// What a post's clocks count from: when it was posted if the source says so exactly, else when it was seen.
    ///
    /// A time after `seen_at` is no better than `seen_at`; the caller counts it.
    pub fn origin(&self, posted_at: Option<Time>, quality: TimeQuality, seen_at: Time) -> (Time, Origin) {
        match posted_at {
            Some(at) if quality == TimeQuality::Exact && at <= seen_at && self.origin == Origin::Posted => (at, Origin::Posted),
            _ => (seen_at, Origin::Ingested),
        }
    }
}

/// The policies of one published version of the rules.
#[derive(Clone, Debug)]
pub struct Policies {
    /// All but the last, in their order.
    special: Vec<Policy>,
    /// The last: it has no conditions.
    default: Policy,
    /// Policies of earlier versions that open clocks still go by.
    earlier: Vec<Policy>,
}

impl Policies {
    /// Reads files of policies and calendars, in order, as one list, and runs its examples.
    ///
    /// `files` are pairs of name and text; the last policy of all is the default and has no `when`.
    ///
    /// # Errors
    /// The first thing that is wrong, with file, line, key and what to write instead.
    pub fn parse(files: &[(String, String)], version: u32) -> Result<Policies, Error> {
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
        let mut special: Vec<Policy> = Vec::new();
        for (index, (file, entry)) in entries.into_iter().enumerate() {
            let place = Place::new(file, entry.id.span());
            let policy = entry.build(file, &calendars, version)?;
            let id = &policy.reference.id;
            if special.iter().any(|earlier| earlier.reference.id == *id) {
                return Err(place.refuse(format!("policy {id} exists already; give this one another id")));
            }
            let matches_all = policy.when == When::default();
            if index < last && matches_all {
                return Err(
                    place.refuse(format!("policy {id} matches everything, those after it never do; move it to the end"))
                );
            }
            if index == last && !matches_all {
                return Err(place.refuse(format!("the last policy is the default; add one without `when` after {id}")));
            }
            special.push(policy);
        }
        let Some(default) = special.pop() else {
            let files = files.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
            return Err(Error::NoPolicy { files: if files.is_empty() { "no file".into() } else { files } });
        };
        let policies = Policies { special, default, earlier: Vec::new() };
        policies.run_examples()?;
        Ok(policies)
    }

    /// The first policy that matches; the default if none does.
    pub fn choose(&self, facts: &Facts<'_>) -> &Policy {
        self.special.iter().find(|policy| policy.when.matches(facts)).unwrap_or(&self.default)
    }

    /// The policy with this id.
    pub fn named(&self, id: &str) -> Option<&Policy> {
        self.iter().find(|policy| &*policy.reference.id == id)
    }

    /// The policy that a clock names: of its version if that is known here, else what the id means now,
    /// else the default. A clock's target and deadline stand in the clock, so only warnings can differ.
    pub fn get(&self, policy: &PolicyRef) -> &Policy {
        let exact = self.iter().chain(&self.earlier).find(|known| known.reference == *policy);
        exact.or_else(|| self.named(&policy.id)).unwrap_or(&self.default)
    }

    /// Keeps the policies of an earlier version at hand for [`Policies::get`].
    pub fn remember(&mut self, older: Policies) {
        self.earlier.extend(older.special);
        self.earlier.push(older.default);
        self.earlier.extend(older.earlier);
    }

    /// All policies of this version, in their order; the default is last.
    pub fn iter(&self) -> impl Iterator<Item = &Policy> {
        self.special.iter().chain([&self.default])
    }

    /// Checks that every example gets the policy it stands in, and its deadline.
    ///
    /// # Errors
    /// The first example that does not.
    pub fn run_examples(&self) -> Result<(), Error> {
        for policy in self.iter() {
            for (place, example) in &policy.examples {
                let id = &policy.reference.id;
                let chosen = self.choose(&example.facts.borrowed());
                if chosen.reference != policy.reference {
                    let other = &chosen.reference.id;
                    return Err(place.refuse(format!(
                        "this example of {id} gets policy {other}; change its facts, or a `when`, or the order"
                    )));
                }
                let clock = start(policy, example.kind, 1, example.origin, Origin::Posted, example.origin);
                let Some((clock, _)) = clock else {
                    let kind = example.kind.as_str();
                    return Err(place.refuse(format!("{id} has no target {kind}; add one or give the example another kind")));
                };
                if clock.deadline_at != example.deadline {
                    return Err(place.refuse(format!(
                        "the deadline of this example is {}, not {}; change it, or targets or calendar of {id}",
                        clock.deadline_at, example.deadline
                    )));
                }
            }
        }
        Ok(())
    }
}

/// When to warn before a breach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Warn {
    /// When this many per cent of the target are used.
    Used(u32),
    /// When no more than this is left of the target.
    Left(Duration),
}

impl Warn {
    /// The business time, of a clock with this target, at which it is due.
    pub fn due(self, target: Duration) -> Duration {
        match self {
            Warn::Used(percent) => target * percent / 100,
            Warn::Left(left) => target.saturating_sub(left),
        }
    }
}

impl TryFrom<String> for Warn {
    type Error = String;

    fn try_from(text: String) -> Result<Warn, String> {
        let warn = match (text.strip_suffix('%'), text.strip_prefix('-')) {
            (Some(percent), None) => percent.parse().ok().filter(|percent| (1..100).contains(percent)).map(Warn::Used),
            (None, Some(left)) => parse_length(left).filter(|left| !left.is_zero()).map(Warn::Left),
            _ => None,
        };
        warn.ok_or(format!(r#""{text}" is no warning; write "80%" (1 to 99) or "-2m" (so long before the deadline)"#))
    }
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

/// Reads whole numbers with units, greatest first: `7d`, `1h30m`, `90s`.
fn parse_length(text: &str) -> Option<Duration> {
    let (mut seconds, mut rest, mut last) = (0_u64, text, u64::MAX);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: u64 = rest[..digits].parse().ok()?;
        let unit = match rest.as_bytes()[digits] {
            b'd' => 86_400,
            b'h' => 3_600,
            b'm' => 60,
            b's' => 1,
            _ => return None,
        };
        if unit >= last {
            return None;
        }
        seconds = seconds.checked_add(number.checked_mul(unit)?)?;
        (rest, last) = (&rest[digits + 1..], unit);
    }
    (!text.is_empty() && seconds <= 3_650 * 86_400).then_some(Duration::from_secs(seconds))
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

/// Conditions: all that are given must hold, each for one of its words.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct When {
    label: Vec<Label>,
    team: Vec<String>,
    lang: Vec<Lang>,
    platform: Vec<String>,
    source: Vec<String>,
    brand: Vec<String>,
    priority: Vec<Priority>,
    tags: Vec<String>,
    reach_min: u64,
}

impl When {
    fn matches(&self, facts: &Facts<'_>) -> bool {
        fn any<T: PartialEq<U>, U>(wanted: &[T], has: &U) -> bool {
            wanted.is_empty() || wanted.iter().any(|one| one == has)
        }
        let platform = facts.source.split(':').next().unwrap_or_default();
        any(&self.label, &facts.label)
            && any(&self.team, &facts.team)
            && any(&self.lang, &facts.lang)
            && any(&self.platform, &platform)
            && any(&self.source, &facts.source)
            && any(&self.brand, &facts.brand)
            && any(&self.priority, &facts.priority)
            && (self.tags.is_empty() || self.tags.iter().any(|tag| facts.tags.contains(tag)))
            && facts.reach >= self.reach_min
    }
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
struct Example {
    #[serde(default)]
    facts: ExampleFacts,
    kind: Kind,
    #[serde(deserialize_with = "moment")]
    origin: Time,
    #[serde(deserialize_with = "moment")]
    deadline: Time,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ExampleFacts {
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
    fn borrowed(&self) -> Facts<'_> {
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
struct Place {
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

    fn refuse(&self, problem: impl Into<String>) -> Error {
        Error::Refused { file: self.file.clone(), line: self.line, key: self.key.clone(), problem: problem.into() }
    }
}

#[cfg(test)]
mod tests;
