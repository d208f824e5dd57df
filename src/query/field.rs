//! The fields of the query language: which there are, what each takes, how each is written.

use std::{fmt, time::Duration};

use jiff::{
    ToSpan,
    civil::{Date, DateTime},
};

use super::{Field, Has, Kind, Sla};
use crate::{
    case::Status,
    clock::span,
    mention::{Label, Lang},
};

/// The value of `label:` that no label has.
pub(crate) const UNSORTED: &str = "unsorted";

/// The field called `name`, if `value` is one of its kind.
pub(super) fn parse(name: &str, value: &str) -> Result<Field, Kind> {
    let bad = |field, takes| Kind::BadValue { field, takes };
    let text = |field| if value.is_empty() { Err(bad(field, "a name")) } else { Ok(value.to_lowercase()) };
    let lower = value.to_lowercase();
    Ok(match name.to_ascii_lowercase().as_str() {
        "label" if lower == UNSORTED => Field::Label(None),
        "label" => Field::Label(Some(
            Label::parse(&lower).ok_or(bad("label", "complaint, question, proposal, abuse, other or unsorted"))?,
        )),
        "team" => Field::Team(text("team")?),
        "lang" => Field::Lang(Lang::parse(&lower).ok_or(bad("lang", "ko, en, ja, zh or und"))?),
        "platform" => Field::Platform(text("platform")?),
        "account" => Field::Account(text("account")?),
        "author" => Field::Author(text("author")?.trim_start_matches('@').to_owned()),
        "agent" => Field::Agent(text("agent")?.trim_start_matches('^').to_owned()),
        "state" | "status" => Field::Status(
            Status::parse(&lower)
                .ok_or(bad("status", "new, open, waiting_customer, waiting_third_party, resolved or closed"))?,
        ),
        "sla" => Field::Sla(match lower.as_str() {
            "breached" => Sla::Breached,
            "met" => Sla::Met,
            _ => return Err(bad("sla", "breached or met")),
        }),
        "incident" => {
            let number = lower.trim_start_matches("inc-").trim_start_matches('#');
            Field::Incident(number.parse().map_err(|_| bad("incident", "the number of an incident"))?)
        }
        "has" => Field::Has(match lower.as_str() {
            "reply" => Has::Reply,
            "note" => Has::Note,
            "media" => Has::Media,
            _ => return Err(bad("has", "reply, note or media")),
        }),
        "disposition" => Field::Disposition(text("disposition")?),
        "reach" => {
            let (from, to) = range(value, whole).ok_or(bad("reach", "a number, >1000, <1000 or 1000..5000"))?;
            Field::Reach(from, to)
        }
        "posted" => {
            let takes = "a day as 2026-11-01, an hour as 2026-11-01T14, >day, <day or day..day";
            let (from, until) = times(&value.to_uppercase()).ok_or(bad("posted", takes))?;
            Field::Posted(from, until)
        }
        "answered" => {
            let seconds = |text: &str| span::parse(text).as_ref().map(Duration::as_secs);
            let (from, to) = range(&lower, seconds).ok_or(bad("answered", "a span as <12m, >1h or 12m..1h"))?;
            Field::Answered(from, to)
        }
        _ => return Err(Kind::UnknownField(name.to_owned())),
    })
}

fn whole(digits: &str) -> Option<u64> {
    digits.replace([',', '_'], "").parse().ok()
}

/// `10000`, `>10000`, `>=`, `<`, `<=`, `1000..5000`, either end open.
fn range(value: &str, number: impl Fn(&str) -> Option<u64>) -> Option<(u64, u64)> {
    let range = if let Some(from) = value.strip_prefix(">=") {
        (number(from)?, u64::MAX)
    } else if let Some(under) = value.strip_prefix('>') {
        (number(under)?.checked_add(1)?, u64::MAX)
    } else if let Some(to) = value.strip_prefix("<=") {
        (0, number(to)?)
    } else if let Some(over) = value.strip_prefix('<') {
        (0, number(over)?.checked_sub(1)?)
    } else if let Some((from, to)) = value.split_once("..") {
        let end = |text: &str, open| if text.is_empty() { Some(open) } else { number(text) };
        (end(from, 0)?, end(to, u64::MAX)?)
    } else {
        (number(value)?, number(value)?)
    };
    (range.0 <= range.1).then_some(range)
}

/// The day, hour or minute that a text names: its beginning and its end. `2026-11-01`, `2026-11-01T14`,
/// `2026-11-01T14:30`.
fn when(text: &str) -> Option<(DateTime, DateTime)> {
    let day = text.get(..10)?.parse::<Date>().ok()?;
    let number =
        |from: usize| text.get(from..from + 2).filter(|two| two.bytes().all(|digit| digit.is_ascii_digit()))?.parse().ok();
    let (start, length) = match text.len() {
        10 => (day.at(0, 0, 0, 0), 1.day()),
        13 if text.as_bytes().get(10) == Some(&b'T') => (day.to_datetime(hour(number(11)?, 0)?), 1.hour()),
        16 if text.as_bytes().get(10) == Some(&b'T') && text.as_bytes().get(13) == Some(&b':') => {
            (day.to_datetime(hour(number(11)?, number(14)?)?), 1.minute())
        }
        _ => return None,
    };
    Some((start, start.checked_add(length).ok()?))
}

fn hour(hour: i8, minute: i8) -> Option<jiff::civil::Time> {
    jiff::civil::Time::new(hour, minute, 0, 0).ok()
}

/// `2026-11-01`, `>2026-11-01`, `<2026-11-01`, `2026-11-01..11-21`, `2026-11-01..21`, either end open; hours and
/// minutes likewise: `2026-11-01T09..2026-11-01T17`. Both ends are included, as a whole day, hour or minute.
fn times(value: &str) -> Option<(Option<DateTime>, Option<DateTime>)> {
    if let Some(from) = value.strip_prefix(">=") {
        Some((Some(when(from)?.0), None))
    } else if let Some(after) = value.strip_prefix('>') {
        Some((Some(when(after)?.1), None))
    } else if let Some(to) = value.strip_prefix("<=") {
        Some((None, Some(when(to)?.1)))
    } else if let Some(before) = value.strip_prefix('<') {
        Some((None, Some(when(before)?.0)))
    } else if let Some((from, to)) = value.split_once("..") {
        let start = if from.is_empty() { None } else { Some(when(from)?.0) };
        // The end may leave out what it shares with the start: 2026-11-01..21.
        let shared = from.get(..from.len().saturating_sub(to.len())).unwrap_or_default();
        let end = if to.is_empty() { None } else { Some(when(&format!("{shared}{to}")).or_else(|| when(to))?.1) };
        let ordered = start.zip(end).is_none_or(|(start, end)| start < end);
        (ordered && (start, end) != (None, None)).then_some((start, end))
    } else {
        let (start, end) = when(value)?;
        Some((Some(start), Some(end)))
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Field::Label(label) => write!(f, "label:{}", label.map_or(UNSORTED, Label::as_str)),
            Field::Team(key) => write!(f, "team:{key}"),
            Field::Lang(lang) => write!(f, "lang:{}", lang.as_str()),
            Field::Platform(key) => write!(f, "platform:{key}"),
            Field::Account(key) => write!(f, "account:{key}"),
            Field::Author(handle) => write!(f, "author:{handle}"),
            Field::Agent(initials) => write!(f, "agent:^{initials}"),
            Field::Status(status) => write!(f, "status:{}", status.as_str()),
            Field::Sla(Sla::Breached) => f.write_str("sla:breached"),
            Field::Sla(Sla::Met) => f.write_str("sla:met"),
            Field::Incident(number) => write!(f, "incident:{number}"),
            Field::Has(Has::Reply) => f.write_str("has:reply"),
            Field::Has(Has::Note) => f.write_str("has:note"),
            Field::Has(Has::Media) => f.write_str("has:media"),
            Field::Disposition(key) => write!(f, "disposition:{key}"),
            Field::Reach(from, u64::MAX) => write!(f, "reach:{from}.."),
            Field::Reach(from, to) => write!(f, "reach:{from}..{to}"),
            Field::Answered(from, u64::MAX) => write!(f, "answered:{from}s.."),
            Field::Answered(from, to) => write!(f, "answered:{from}s..{to}s"),
            Field::Posted(from, until) => write!(f, "posted:{}..{}", start(from), last(until)),
        }
    }
}

fn start(from: &Option<DateTime>) -> String {
    from.map(|from| if from.time() == jiff::civil::Time::midnight() { from.date().to_string() } else { minute(from) })
        .unwrap_or_default()
}

/// The last day or minute before `until`.
fn last(until: &Option<DateTime>) -> String {
    let Some(until) = until else { return String::new() };
    let whole_day = until.time() == jiff::civil::Time::midnight();
    let before = if whole_day { until.checked_sub(1.day()) } else { until.checked_sub(1.minute()) };
    before.map(|last| if whole_day { last.date().to_string() } else { minute(last) }).unwrap_or_default()
}

fn minute(at: DateTime) -> String {
    format!("{}T{:02}:{:02}", at.date(), at.hour(), at.minute())
}
