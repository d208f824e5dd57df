//! How fast a platform may be asked: its rate windows, its longer allowances, what its answers say, and back-off
//! with jitter.

use std::{collections::BTreeMap, time::Duration};

use jiff::tz::TimeZone;
use reqwest::header::HeaderMap;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::{
    format::{Allowance, Limits, ResetFormat, Told},
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

/// What one request takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Price<'a> {
    /// The stream or action that makes it: where each has a window of its own, this names it.
    pub of: &'a str,
    /// Units of the longer allowances.
    pub units: u32,
    /// Polling leaves the reserve to replies.
    pub polling: bool,
}

/// How many requests an account has left. What the platform says goes before what the file declares.
#[derive(Clone, Debug)]
pub(super) struct Budget {
    limits: Limits,
    windows: BTreeMap<String, Window>,
    left: BTreeMap<String, Left>,
    held_until: Time,
}

#[derive(Clone, Debug)]
struct Window {
    left: u32,
    resets_at: Time,
    told: bool,
}

/// What is left of one allowance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Left {
    /// Units.
    pub units: u64,
    /// When it is full again.
    pub resets_at: Time,
}

impl Budget {
    /// A full budget.
    pub fn new(limits: &Limits) -> Budget {
        Budget { limits: limits.clone(), windows: BTreeMap::new(), left: BTreeMap::new(), held_until: Time(0) }
    }

    /// Takes one request, or says when there will be one.
    ///
    /// # Errors
    /// The time at which to ask again.
    pub fn take(&mut self, now: Time, price: &Price<'_>) -> Result<(), Time> {
        if now < self.held_until {
            return Err(self.held_until);
        }
        self.renew(now, price.of);
        let floor = if price.polling { self.limits.reserve } else { 0 };
        let name = self.window_of(price.of);
        let Some(window) = self.windows.get_mut(&name) else { return Ok(()) };
        if window.left <= floor {
            return Err(window.resets_at);
        }
        let units = u64::from(price.units);
        for one in &self.limits.budgets {
            let Some(left) = self.left.get(&one.name) else { continue };
            if left.units < units + if price.polling { one.reserve } else { 0 } {
                return Err(left.resets_at);
            }
        }
        window.left -= 1;
        for left in self.left.values_mut() {
            left.units -= units;
        }
        Ok(())
    }

    fn window_of(&self, of: &str) -> String {
        if self.limits.each { of.to_owned() } else { String::new() }
    }

    /// Begins the windows that are over.
    fn renew(&mut self, now: Time, of: &str) {
        let name = self.window_of(of);
        let full = self.limits.requests.max(self.limits.reserve + 1);
        let fresh = Window { left: full, resets_at: now.plus(self.limits.per.0), told: false };
        let window = self.windows.entry(name).or_insert_with(|| fresh.clone());
        if now >= window.resets_at {
            // Until its first answer the platform has told us nothing about the new one.
            *window = fresh;
        }
        for one in &self.limits.budgets {
            let full = Left { units: one.units, resets_at: ends_at(one, now) };
            let left = self.left.entry(one.name.clone()).or_insert(full);
            if now >= left.resets_at {
                *left = full;
            }
            left.units = left.units.min(one.units);
        }
    }

    /// Learns from an answer to a request of `of`.
    pub fn learn(&mut self, headers: &HeaderMap, body: &Json, now: Time, of: &str) {
        if let Some(wait) = self.limits.backoff.as_ref().and_then(|path| seconds(&scalar(path.first(body)?)?)) {
            self.held_until = now.plus(wait.min(LONGEST_WAIT));
        }
        let remaining = match (&self.limits.rate_in, &self.limits.remaining) {
            (Some(rate), _) => headers.get(&rate.header).and_then(|value| {
                let found = rate.pattern.captures(value.to_str().ok()?)?;
                Some(found.get(1)?.as_str().to_owned())
            }),
            (None, Some(place)) => told(place, headers, body),
            (None, None) => None,
        };
        let Some(remaining) = remaining.and_then(|text| text.trim().parse::<f64>().ok()) else { return };
        let reset = self.limits.reset.as_ref().and_then(|place| told(place, headers, body));
        let reset = reset.and_then(|text| reset_at(&text, self.limits.reset_as, now));
        let name = self.window_of(of);
        let Some(window) = self.windows.get_mut(&name) else { return };
        // Answers overtake each other: within one window only a smaller number is news.
        let remaining = remaining.clamp(0.0, f64::from(u32::MAX)) as u32;
        window.left = if window.told { window.left.min(remaining) } else { remaining };
        window.told = true;
        window.resets_at = reset.unwrap_or(window.resets_at);
    }

    /// Between two walks that take `requests` and `units` together: the shortest time that the rate window can keep
    /// up, and the one at which the allowances last until they are full again.
    pub fn pace(&self, now: Time, of: &str, requests: u32, units: u32) -> (Duration, Duration) {
        let spread = |left: u64, each: u32, until: Time| match left / u64::from(each.max(1)) {
            0 => until.since(now),
            walks => until.since(now).div_f64(walks as f64),
        };
        let window = self.windows.get(&self.window_of(of)).filter(|window| window.resets_at > now);
        let window = window.map_or(Duration::ZERO, |window| {
            spread(u64::from(window.left.saturating_sub(self.limits.reserve)), requests, window.resets_at)
        });
        let longest = self.limits.budgets.iter().filter_map(|one| {
            let left = self.left.get(&one.name).filter(|left| left.resets_at > now)?;
            Some(spread(left.units.saturating_sub(one.reserve), units, left.resets_at))
        });
        (window, longest.max().unwrap_or_default())
    }

    /// The allowances, by name: what is left of them.
    pub fn allowances(&self) -> Vec<(String, u64, u64, Time)> {
        let of =
            |one: &Allowance| self.left.get(&one.name).map(|left| (one.name.clone(), left.units, one.units, left.resets_at));
        self.limits.budgets.iter().filter_map(of).collect()
    }

    /// What must survive a restart; nothing where the file has no allowances.
    pub fn to_keep(&self) -> Option<String> {
        if self.left.is_empty() { None } else { serde_json::to_string(&self.left).ok() }
    }

    /// Goes on with what was kept.
    pub fn restore(&mut self, kept: &str) {
        self.left = serde_json::from_str(kept).unwrap_or_default();
        self.left.retain(|name, _| self.limits.budgets.iter().any(|one| one.name == *name));
    }
}

/// When a window of an allowance that begins now is over.
fn ends_at(one: &Allowance, now: Time) -> Time {
    let midnight = |zone: &String| {
        let zone = TimeZone::get(zone).ok()?;
        let day = now.timestamp().to_zoned(zone).tomorrow().ok()?.start_of_day().ok()?;
        Some(Time(day.timestamp().as_millisecond()))
    };
    one.zone.as_ref().and_then(midnight).unwrap_or_else(|| now.plus(one.per.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connect::format::Span;

    const NOW: Time = Time(1_795_000_000_000);

    fn price(polling: bool) -> Price<'static> {
        Price { of: "", units: 1, polling }
    }

    fn limits(text: &str) -> Limits {
        toml::from_str(text).unwrap()
    }

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
        let (poll, reply) = (&price(true), &price(false));
        assert_eq!((budget.take(NOW, poll), budget.take(NOW, poll)), (Ok(()), Ok(())));
        let full = NOW.plus(Duration::from_secs(10));
        assert_eq!(budget.take(NOW, poll), Err(full), "two are kept for replies");
        assert_eq!((budget.take(NOW, reply), budget.take(NOW, reply)), (Ok(()), Ok(())));
        assert_eq!(budget.take(NOW, reply), Err(full));
        assert_eq!(budget.take(full, poll), Ok(()));
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
        budget.take(NOW, &price(true)).unwrap();
        budget.learn(&headers(&[("x-left", "100"), ("x-reset", "5")]), &Json::Null, NOW, "");
        for _ in 0..100 {
            budget.take(NOW, &price(true)).unwrap();
        }
        assert_eq!(budget.take(NOW, &price(true)), Err(NOW.plus(Duration::from_secs(5))));
    }

    #[test]
    fn an_allowance_is_taken_in_units_kept_over_a_restart_and_full_at_midnight_there() {
        let limits =
            limits("requests = 1000\n[[budget]]\nname = 'day'\nunits = 100\nper = '1d'\nzone = 'Asia/Seoul'\nreserve = 10");
        let mut budget = Budget::new(&limits);
        // 2026-11-18 20:06:40 in Seoul.
        let midnight = Time::parse("2026-11-19T00:00:00+09:00").unwrap();
        let walk = Price { of: "search", units: 30, polling: true };
        for _ in 0..3 {
            budget.take(NOW, &walk).unwrap();
        }
        assert_eq!(budget.take(NOW, &walk), Err(midnight));
        let mut restarted = Budget::new(&limits);
        restarted.restore(&budget.to_keep().unwrap());
        assert_eq!(restarted.take(NOW, &price(true)), Err(midnight), "ten are kept for replies");
        assert_eq!(restarted.take(NOW, &Price { units: 10, ..price(false) }), Ok(()));
        assert_eq!(restarted.allowances(), [("day".to_owned(), 0, 100, midnight)]);
        assert_eq!(restarted.take(midnight, &walk), Ok(()));
        assert_eq!(restarted.allowances()[0].1, 70);
        assert_eq!(restarted.allowances()[0].3, midnight.plus(Duration::from_secs(24 * 3600)));
    }

    #[test]
    fn what_is_left_is_spread_over_the_rest_of_the_window() {
        let mut budget = Budget::new(&limits("requests = 1000\n[[budget]]\nname = 'month'\nunits = 120\nper = '1h'"));
        let walk = Price { units: 2, ..price(true) };
        for _ in 0..30 {
            budget.take(NOW, &walk).unwrap();
        }
        let (_, spread) = budget.pace(NOW, "", 1, 2);
        assert_eq!(spread, Duration::from_secs(120), "30 walks in an hour");
        for _ in 0..30 {
            budget.take(NOW, &walk).unwrap();
        }
        assert_eq!(budget.pace(NOW, "", 1, 2).1, Duration::from_secs(3600), "nothing is left until then");
    }

    #[test]
    fn each_stream_may_have_a_window_of_its_own_and_a_body_may_tell() {
        let mut budget =
            Budget::new(&limits("requests = 2\nreserve = 0\neach = true\nremaining = '$.left'\nbackoff = '$.backoff'"));
        let of = |of| Price { of, ..price(true) };
        budget.take(NOW, &of("a")).unwrap();
        budget.learn(&headers(&[]), &serde_json::json!({"left": 0}), NOW, "a");
        assert!(budget.take(NOW, &of("a")).is_err() && budget.take(NOW, &of("b")).is_ok());
        budget.learn(&headers(&[]), &serde_json::json!({"left": 9, "backoff": 30}), NOW, "b");
        assert_eq!(budget.take(NOW, &of("b")), Err(NOW.plus(Duration::from_secs(30))));

        let mut budget = Budget::new(&limits("rate_in = { header = 'X-Rate-Limit', pattern = 'hour-rem:(\\d+)' }"));
        budget.take(NOW, &price(false)).unwrap();
        budget.learn(&headers(&[("x-rate-limit", "user-hour-lim:3600;user-hour-rem:0;")]), &Json::Null, NOW, "");
        assert!(budget.take(NOW, &price(false)).is_err());
    }
}
