//! Business time: when a desk is open, in its zone, and how deadlines count through it.
//!
//! An opening belongs to the day on which it starts, also where it runs past midnight; a dated exception
//! replaces all openings that start on its day. Where clocks are put forward, a time that does not exist
//! means the moment of the change; where they are put back, a time that comes twice means the first.

use std::{collections::BTreeMap, time::Duration};

use jiff::{
    SignedDuration, Timestamp, ToSpan,
    civil::{Date, DateTime},
    tz::{AmbiguousOffset, TimeZone},
};

use crate::clock::Time;

const DAY_MINUTES: u32 = 24 * 60;

/// When time counts.
#[derive(Clone, Debug)]
pub enum Calendar {
    /// Around the clock: a deadline is one addition.
    Always,
    /// In the openings of a business only.
    Business(Hours),
}

/// The openings of a business.
#[derive(Clone, Debug)]
pub struct Hours {
    pub(super) zone: TimeZone,
    /// Monday first.
    pub(super) week: [Vec<Opening>; 7],
    /// Days that differ from their weekday: holidays without openings, special hours.
    pub(super) dates: BTreeMap<Date, Vec<Opening>>,
}

/// From when to when, in minutes after the midnight that begins its day; `close` may lie in the next day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Deserialize)]
#[serde(try_from = "String")]
pub struct Opening {
    open: u32,
    close: u32,
}

impl Opening {
    /// How long it is on a day without a change of clocks.
    pub(super) fn length(self) -> Duration {
        Duration::from_secs(u64::from(self.close - self.open) * 60)
    }
}

impl TryFrom<String> for Opening {
    type Error = String;

    /// Reads `09:00-18:00`, or `22:00-06:00` past midnight, or `00:00-24:00`.
    fn try_from(text: String) -> Result<Opening, String> {
        let minutes = |part: &str| -> Option<u32> {
            let (hour, minute) = part.trim().split_once(':')?;
            let (hour, minute) = (hour.parse::<u32>().ok()?, minute.parse::<u32>().ok()?);
            (minute < 60 && hour * 60 + minute <= DAY_MINUTES).then_some(hour * 60 + minute)
        };
        let parts = text.split_once('-').and_then(|(open, close)| Some((minutes(open)?, minutes(close)?)));
        match parts {
            Some((open, close)) if open < close => Ok(Opening { open, close }),
            Some((open, close)) if close < open && open < DAY_MINUTES => Ok(Opening { open, close: close + DAY_MINUTES }),
            _ => Err(format!(r#""{text}" is no opening; write "09:00-18:00", "22:00-06:00" or "00:00-24:00""#)),
        }
    }
}

impl Calendar {
    /// The first moment at which `span` of this calendar's time has passed since `from`.
    ///
    /// [`Time::NEVER`] if the calendar does not open long enough before the year 9999.
    pub fn add(&self, from: Time, span: Duration) -> Time {
        let Calendar::Business(hours) = self else { return from.plus(span) };
        if span.is_zero() {
            return from;
        }
        let mut left = span;
        for (open, close) in hours.openings(from) {
            let length = close.since(open);
            if left <= length {
                return open.plus(left);
            }
            left -= length;
        }
        Time::NEVER
    }

    /// How much of this calendar's time lies between `from` and `to`; zero when `to` is not after `from`.
    pub fn between(&self, from: Time, to: Time) -> Duration {
        let Calendar::Business(hours) = self else { return to.since(from) };
        if to <= from {
            return Duration::ZERO;
        }
        hours.openings(from).take_while(|(open, _)| *open < to).map(|(open, close)| close.min(to).since(open)).sum()
    }
}

impl Hours {
    /// Openings from `from` on, in order, without overlaps; the first is cut to begin no earlier than `from`.
    fn openings(&self, from: Time) -> impl Iterator<Item = (Time, Time)> + '_ {
        let today = self.zone.to_datetime(from.timestamp()).date();
        let first = today.yesterday().unwrap_or(today);
        let mut reached = from;
        first
            .series(1.day())
            .flat_map(|date| self.on(date).iter().map(move |opening| (date, *opening)))
            .map(|(date, opening)| (self.instant(date, opening.open), self.instant(date, opening.close)))
            .filter_map(move |(open, close)| {
                let open = open.max(reached);
                reached = reached.max(close);
                (open < close).then_some((open, close))
            })
    }

    fn on(&self, date: Date) -> &[Opening] {
        let weekday = date.weekday().to_monday_zero_offset().unsigned_abs();
        self.dates.get(&date).unwrap_or(&self.week[usize::from(weekday)])
    }

    /// The moment at which the clock on the wall has gone `minutes` past the midnight that begins `date`.
    fn instant(&self, date: Date, minutes: u32) -> Time {
        let wall: DateTime = date.at(0, 0, 0, 0).saturating_add(SignedDuration::from_mins(i64::from(minutes)));
        let at = match self.zone.to_ambiguous_timestamp(wall).offset() {
            AmbiguousOffset::Unambiguous { offset } | AmbiguousOffset::Fold { before: offset, .. } => offset.to_timestamp(wall),
            AmbiguousOffset::Gap { after, .. } => after
                .to_timestamp(wall)
                .map(|before_it| self.zone.following(before_it).next().map_or(before_it, |change| change.timestamp())),
        };
        Time(at.unwrap_or(Timestamp::MAX).as_millisecond())
    }
}

#[cfg(test)]
mod tests;
