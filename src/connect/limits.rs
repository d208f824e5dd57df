//! How fast a platform may be asked: its rate budget, its headers, and back-off with jitter.

use std::time::Duration;

use reqwest::header::HeaderMap;

use serde_json::Value as Json;

use super::{
    format::{Limits, ResetFormat, Told},
    template::scalar,
};
use crate::clock::{Time, random_bytes};

/// Longest wait that a platform's header can impose.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 3600);

/// Reads a reset header written as `format`.
pub fn reset_at(text: &str, format: ResetFormat, now: Time) -> Option<Time> {
    let text = text.trim();
    let at = match format {
        ResetFormat::Iso8601 => Time::parse(text)?,
        ResetFormat::Unix => Time(text.parse::<i64>().ok()?.checked_mul(1_000)?),
        ResetFormat::Seconds => now.plus(seconds(text)?),
    };
    Some(at.min(now.plus(LONGEST_WAIT)))
}

/// Reads `Retry-After`: seconds or an HTTP date.
pub fn retry_after(headers: &HeaderMap, now: Time) -> Option<Time> {
    let text = headers.get(reqwest::header::RETRY_AFTER)?.to_str().ok()?.trim();
    let at = match seconds(text) {
        Some(span) => now.plus(span),
        None => Time(jiff::fmt::rfc2822::parse(text).ok()?.timestamp().as_millisecond()),
    };
    Some(at.min(now.plus(LONGEST_WAIT)))
}

/// What an answer tells at a place.
pub(super) fn told(place: &Told, headers: &HeaderMap, body: &Json) -> Option<String> {
    match place {
        Told::Header(name) => Some(headers.get(name)?.to_str().ok()?.to_owned()),
        Told::Body(path) => scalar(path.first(body)?),
    }
}

fn seconds(text: &str) -> Option<Duration> {
    Duration::try_from_secs_f64(text.parse().ok()?).ok()
}

/// Waits longer after each failure: half a second doubling up to five minutes, and up to half as much
/// again, so that accounts which failed together do not come back together.
pub fn back_off(failures: u32) -> Duration {
    let base = Duration::from_millis(500 << failures.clamp(1, 11).saturating_sub(1)).min(Duration::from_secs(300));
    let [low, high] = random_bytes::<2>();
    base + base.mul_f64(f64::from(u16::from_be_bytes([low, high])) / f64::from(u16::MAX) / 2.0)
}

/// How long to wait after so many failures of our own log or store: nobody is spared by waiting longer than
/// some seconds, and posts that came meanwhile should be read soon after it is well again.
pub fn back_off_at_home(failures: u32) -> Duration {
    back_off(failures.min(4))
}

/// How many requests an account has left. What the platform says in headers goes before what the
/// file declares.
#[derive(Clone, Debug)]
pub struct Budget {
    limits: Limits,
    left: u32,
    resets_at: Time,
    told: bool,
}

impl Budget {
    /// A full budget.
    pub fn new(limits: &Limits) -> Budget {
        Budget { limits: limits.clone(), left: limits.requests, resets_at: Time(0), told: false }
    }

    /// Takes one request, or says when there will be one. Polling leaves the reserve to replies.
    ///
    /// # Errors
    /// The time at which to ask again.
    pub fn take(&mut self, now: Time, polling: bool) -> Result<(), Time> {
        if now >= self.resets_at {
            // A new window; until its first answer the platform has told us nothing about it.
            self.left = self.limits.requests.max(self.limits.reserve + 1);
            self.resets_at = now.plus(self.limits.per.0);
            self.told = false;
        }
        let floor = if polling { self.limits.reserve } else { 0 };
        if self.left <= floor {
            return Err(self.resets_at);
        }
        self.left -= 1;
        Ok(())
    }

    /// Learns from an answer.
    pub fn learn(&mut self, headers: &HeaderMap, body: &Json, now: Time) {
        let remaining = match (&self.limits.rate_in, &self.limits.remaining) {
            (Some(rate), _) => headers.get(&rate.header).and_then(|value| {
                let found = rate.pattern.captures(value.to_str().ok()?)?;
                Some(found.get(1)?.as_str().to_owned())
            }),
            (None, Some(place)) => told(place, headers, body),
            (None, None) => None,
        };
        let Some(remaining) = remaining.and_then(|text| text.trim().parse::<f64>().ok()) else { return };
        // Answers overtake each other: within one window only a smaller number is news.
        let remaining = remaining.clamp(0.0, f64::from(u32::MAX)) as u32;
        self.left = if self.told { self.left.min(remaining) } else { remaining };
        self.told = true;
        let reset = self.limits.reset.as_ref().and_then(|place| told(place, headers, body));
        if let Some(at) = reset.and_then(|text| reset_at(&text, self.limits.reset_as, now)) {
            self.resets_at = at;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connect::format::Span;

    const NOW: Time = Time(1_795_000_000_000);

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn the_three_kinds_of_reset_header_are_read() {
        for (text, format, expected) in [
            ("2026-11-18T11:06:50.000000Z", ResetFormat::Iso8601, Some(Time::parse("2026-11-18T11:06:50Z").unwrap())),
            ("1795000060", ResetFormat::Unix, Some(Time(1_795_000_060_000))),
            ("61.5", ResetFormat::Seconds, Some(NOW.plus(Duration::from_millis(61_500)))),
            ("soon", ResetFormat::Seconds, None),
            ("-4", ResetFormat::Seconds, None),
            ("9999999999", ResetFormat::Unix, Some(NOW.plus(LONGEST_WAIT))),
        ] {
            assert_eq!(reset_at(text, format, NOW), expected, "{text}");
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        for (text, expected) in [
            ("30", Some(NOW.plus(Duration::from_secs(30)))),
            ("Wed, 18 Nov 2026 11:07:00 GMT", Some(Time::parse("2026-11-18T11:07:00Z").unwrap())),
            ("whenever", None),
        ] {
            assert_eq!(retry_after(&headers(&[("retry-after", text)]), NOW), expected, "{text}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), NOW), None);
    }

    #[test]
    fn back_off_grows_with_jitter_and_ends_growing() {
        for (failures, low, high) in [(1, 500, 750), (2, 1_000, 1_500), (5, 8_000, 12_000), (40, 300_000, 450_000)] {
            let span = back_off(failures).as_millis();
            assert!((low..=high).contains(&span), "{failures}: {span}");
        }
        assert!((0..20).any(|_| back_off(9) != back_off(9)), "jitter");
    }

    #[test]
    fn a_budget_runs_dry_keeps_its_reserve_and_fills_again() {
        let limits = Limits { requests: 4, per: Span(Duration::from_secs(10)), reserve: 2, ..Limits::default() };
        let mut budget = Budget::new(&limits);
        assert_eq!((budget.take(NOW, true), budget.take(NOW, true)), (Ok(()), Ok(())));
        let full = NOW.plus(Duration::from_secs(10));
        assert_eq!(budget.take(NOW, true), Err(full), "two are kept for replies");
        assert_eq!((budget.take(NOW, false), budget.take(NOW, false)), (Ok(()), Ok(())));
        assert_eq!(budget.take(NOW, false), Err(full));
        assert_eq!(budget.take(full, true), Ok(()));
    }

    #[test]
    fn the_platforms_word_goes_before_the_files() {
        let limits = Limits {
            requests: 2,
            reserve: 0,
            remaining: Some(Told::Header("x-left".into())),
            reset: Some(Told::Header("x-reset".into())),
            reset_as: ResetFormat::Seconds,
            ..Limits::default()
        };
        let mut budget = Budget::new(&limits);
        budget.take(NOW, true).unwrap();
        budget.learn(&headers(&[("x-left", "100"), ("x-reset", "5")]), &Json::Null, NOW);
        for _ in 0..100 {
            budget.take(NOW, true).unwrap();
        }
        assert_eq!(budget.take(NOW, true), Err(NOW.plus(Duration::from_secs(5))));
    }
}
