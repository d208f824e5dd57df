//! What time it is, and where randomness comes from: the only file that may ask either.
//!
//! Every stage takes a [`Clock`], so a test can turn the hands itself. Times are whole milliseconds of
//! UTC, as they are stored; people's calendars and zones exist only in `sla` and on the pages.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

/// A point in time: milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Time(pub i64);

impl Time {
    /// Later than every real time; a clock that never fires again.
    pub const NEVER: Time = Time(i64::MAX);

    /// This time plus `span`, saturating.
    pub fn plus(self, span: Duration) -> Time {
        Time(self.0.saturating_add(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)))
    }

    /// This time minus `span`, saturating.
    pub fn minus(self, span: Duration) -> Time {
        Time(self.0.saturating_sub(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)))
    }

    /// How long after `earlier` this is; zero when it is not after it.
    pub fn since(self, earlier: Time) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// The same instant for calendars; the epoch where it lies outside the range of civil dates.
    pub fn timestamp(self) -> jiff::Timestamp {
        jiff::Timestamp::from_millisecond(self.0).unwrap_or(jiff::Timestamp::UNIX_EPOCH)
    }

    /// Reads RFC 3339 ("2026-11-20T03:00:00.000Z").
    pub fn parse(text: &str) -> Option<Time> {
        text.parse::<jiff::Timestamp>().ok().map(|at| Time(at.as_millisecond()))
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3}", self.timestamp())
    }
}

/// A source of time: the machine's, or one that a test turns by hand.
#[derive(Clone, Debug, Default)]
pub enum Clock {
    /// The machine's wall clock.
    #[default]
    System,
    /// Stands still until [`Clock::advance`] moves it.
    Hand(Arc<watch::Sender<Time>>),
}

impl Clock {
    /// A clock that stands at `start`.
    pub fn by_hand(start: Time) -> Clock {
        Clock::Hand(Arc::new(watch::Sender::new(start)))
    }

    /// The time now.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
    pub fn now(&self) -> Time {
        match self {
            Clock::System => {
                let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                Time(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
            }
            Clock::Hand(hand) => *hand.borrow(),
        }
    }

    /// Moves a hand clock forward and wakes all that sleep on it; the system's clock is left alone.
    pub fn advance(&self, span: Duration) {
        if let Clock::Hand(hand) = self {
            hand.send_modify(|now| *now = now.plus(span));
        }
    }

    /// Waits until the clock reads `at` or later.
    pub async fn sleep_until(&self, at: Time) {
        match self {
            // A wall clock may be set while we sleep, so long sleeps look again every half minute.
            Clock::System => loop {
                let left = at.since(self.now());
                if left.is_zero() {
                    return;
                }
                tokio::time::sleep(left.min(Duration::from_secs(30))).await;
            },
            Clock::Hand(hand) => {
                let mut hand = hand.subscribe();
                // The sender cannot be gone: `self` holds it.
                let _reached = hand.wait_for(|now| *now >= at).await;
            }
        }
    }

    /// Waits for `span` of this clock's time.
    pub async fn sleep(&self, span: Duration) {
        self.sleep_until(self.now().plus(span)).await;
    }
}

/// `N` bytes from the system's random source, for tokens and salts.
///
/// # Panics
/// When the operating system has no random source; nothing secret can be made then.
#[expect(clippy::expect_used, reason = "a machine without randomness cannot sign anybody in")]
#[expect(clippy::disallowed_methods, reason = "the one place that draws randomness")]
pub fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    bytes
}

/// `N` random bytes as hexadecimal digits: a name that nobody else has, a token.
pub fn random_word<const N: usize>() -> String {
    crate::text::hex(&random_bytes::<N>())
}

/// Spans as people write them in configuration: `300ms`, `12m`, `1h30m`, `7d`.
pub mod span {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    /// Reads whole numbers with units, greatest first; none when it is not that.
    pub fn parse(text: &str) -> Option<Duration> {
        let mut total = Duration::ZERO;
        let mut last = Duration::MAX;
        let mut rest = text;
        if rest.is_empty() {
            return None;
        }
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit())?;
            let number: u32 = rest[..digits].parse().ok()?;
            let unit_end = rest[digits..].find(|c: char| c.is_ascii_digit()).map_or(rest.len(), |end| digits + end);
            let unit = match &rest[digits..unit_end] {
                "ms" => Duration::from_millis(1),
                "s" => Duration::from_secs(1),
                "m" => Duration::from_secs(60),
                "h" => Duration::from_secs(3_600),
                "d" => Duration::from_secs(86_400),
                _ => return None,
            };
            if unit >= last {
                return None;
            }
            total = total.checked_add(unit.checked_mul(number)?)?;
            (rest, last) = (&rest[unit_end..], unit);
        }
        Some(total)
    }

    /// For `#[serde(with)]`.
    ///
    /// # Errors
    /// When the text is not a span.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse(&text).ok_or_else(|| {
            D::Error::custom(format!("\"{text}\" is not a span of time: write it like \"300ms\", \"12m\" or \"1h30m\""))
        })
    }

    /// For `#[serde(with)]`.
    ///
    /// # Errors
    /// The serializer's.
    pub fn serialize<S: Serializer>(span: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        let text = if span.subsec_millis() == 0 { format!("{}s", span.as_secs()) } else { format!("{}ms", span.as_millis()) };
        serializer.serialize_str(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_hand_clock_wakes_its_sleepers_when_it_gets_there() {
        let clock = Clock::by_hand(Time(1_000));
        let sleeper = tokio::spawn({
            let clock = clock.clone();
            async move {
                clock.sleep(Duration::from_secs(2)).await;
                clock.now()
            }
        });
        tokio::task::yield_now().await;
        clock.advance(Duration::from_secs(1));
        assert!(!sleeper.is_finished());
        clock.advance(Duration::from_secs(1));
        assert_eq!(sleeper.await.unwrap(), Time(3_000));
    }

    #[test]
    fn spans_read_as_people_write_them() {
        assert_eq!(span::parse("1h30m"), Some(Duration::from_secs(5_400)));
        assert_eq!(span::parse("300ms"), Some(Duration::from_millis(300)));
        for wrong in ["", "12", "m", "5 m", "1y", "-2m", "5m1h", "1h1h"] {
            assert_eq!(span::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn times_read_and_print_rfc_3339() {
        let at = Time::parse("2026-11-20T12:00:00.250+09:00").unwrap();
        assert_eq!(at.to_string(), "2026-11-20T03:00:00.250Z");
        assert_eq!(Time::parse("yesterday"), None);
        assert_eq!(Time(5).since(Time(9)), Duration::ZERO);
    }
}
