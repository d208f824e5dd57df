//! Times, lengths of time and counts as people read them, in both languages.
//!
//! `static/clock.js` formats time left by the same rules; a test in `tests` keeps the two in step.

use std::time::Duration;

use jiff::{Zoned, tz::TimeZone};

use super::words::Language;
use crate::clock::Time;

const WEEKDAYS: [&str; 7] = ["월", "화", "수", "목", "금", "토", "일"];

fn civil(at: Time, zone: &TimeZone) -> Zoned {
    at.timestamp().to_zoned(zone.clone())
}

/// "14:28".
pub fn clock_time(at: Time, zone: &TimeZone) -> String {
    civil(at, zone).strftime("%H:%M").to_string()
}

/// "14:28:05".
pub fn clock_seconds(at: Time, zone: &TimeZone) -> String {
    civil(at, zone).strftime("%H:%M:%S").to_string()
}

/// "2026. 11. 21.(토) 14:28" or "21 Nov 2026, 14:28".
pub fn date_time(at: Time, zone: &TimeZone, language: Language) -> String {
    format!("{}{}{}", date(at, zone, language), if language == Language::Ko { " " } else { ", " }, clock_time(at, zone))
}

/// "2026. 11. 21.(토)" or "21 Nov 2026".
pub fn date(at: Time, zone: &TimeZone, language: Language) -> String {
    let at = civil(at, zone);
    match language {
        Language::Ko => {
            let weekday = usize::from(at.weekday().to_monday_zero_offset().unsigned_abs());
            format!("{}. {}. {}.({})", at.year(), at.month(), at.day(), WEEKDAYS[weekday % 7])
        }
        Language::En => at.strftime("%-d %b %Y").to_string(),
    }
}

/// "14:28" today, with the date otherwise.
pub fn short_time(at: Time, now: Time, zone: &TimeZone, language: Language) -> String {
    if civil(at, zone).date() == civil(now, zone).date() { clock_time(at, zone) } else { date_time(at, zone, language) }
}

/// "6분 10초" or "6 m 10 s"; two units at most.
pub fn duration(span: Duration, language: Language) -> String {
    let units = match language {
        Language::Ko => ["일", "시간", "분", "초"],
        Language::En => [" d", " h", " m", " s"],
    };
    let seconds = span.as_secs();
    let counts = [seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60];
    let first = counts.iter().position(|count| *count > 0).unwrap_or(3);
    let mut out = format!("{}{}", counts[first], units[first]);
    if let Some(second) = counts.get(first + 1).filter(|count| **count > 0) {
        out.push_str(&format!(" {second}{}", units[first + 1]));
    }
    out
}

/// "4분 전" or "4 min": how long ago something was posted.
pub fn age(span: Duration, language: Language) -> String {
    let seconds = span.as_secs();
    let (count, unit) = match seconds {
        0..60 => (seconds, 0),
        60..3_600 => (seconds / 60, 1),
        3_600..86_400 => (seconds / 3_600, 2),
        _ => (seconds / 86_400, 3),
    };
    match language {
        Language::Ko => format!("{count}{} 전", ["초", "분", "시간", "일"][unit]),
        Language::En => format!("{count} {}", ["s", "min", "h", "d"][unit]),
    }
}

/// "12,400".
pub fn thousands(count: u64) -> String {
    let digits = count.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// "1.2만" or "12.4K": reach, where the size matters more than the digits. Cut, never rounded up.
pub fn short_count(count: u64, language: Language) -> String {
    let steps: &[(u64, &str)] = match language {
        Language::Ko => &[(100_000_000, "억"), (10_000, "만")],
        Language::En => &[(1_000_000_000, "B"), (1_000_000, "M"), (1_000, "K")],
    };
    let Some((unit, word)) = steps.iter().find(|(unit, _)| count >= *unit) else { return thousands(count) };
    let (whole, tenth) = (count / unit, count % unit / (unit / 10));
    if tenth == 0 || whole >= 100 { format!("{}{word}", thousands(whole)) } else { format!("{whole}.{tenth}{word}") }
}

/// "1st", "2nd", "3rd", "11th".
pub fn ordinal(n: u64) -> String {
    let ending = match (n % 10, n % 100) {
        (_, 11..=13) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    };
    format!("{n}{ending}")
}

/// Time left as digits, and as a unit where the digits alone could be misread: ("3:05", Hours).
/// Past the deadline it carries a plus sign.
pub fn countdown(left_ms: i64) -> (String, Unit) {
    let (sign, seconds) = if left_ms > 0 {
        ("", u64::try_from(left_ms).unwrap_or(0).div_ceil(1_000))
    } else {
        ("+", left_ms.unsigned_abs() / 1_000)
    };
    match seconds {
        0..3_600 => (format!("{sign}{:02}:{:02}", seconds / 60, seconds % 60), Unit::Minutes),
        3_600..356_400 => (format!("{sign}{}:{:02}", seconds / 3_600, seconds / 60 % 60), Unit::Hours),
        _ => (format!("{sign}{}", seconds / 86_400), Unit::Days),
    }
}

/// What the digits of a countdown count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Minutes and seconds; no unit is shown.
    Minutes,
    /// Hours and minutes.
    Hours,
    /// Whole days.
    Days,
}

/// Two letters for a platform; never a logo.
pub fn mark(platform: &str) -> String {
    platform.chars().filter(|letter| letter.is_alphanumeric()).take(2).collect::<String>().to_uppercase()
}

/// An address that may stand in a link: http or https, nothing else.
pub fn safe_url(url: &str) -> Option<&str> {
    let parsed = url::Url::parse(url).ok()?;
    matches!(parsed.scheme(), "http" | "https").then_some(url)
}

/// A stranger's text without the signs that would play tricks: runs of control, direction and
/// zero-width signs become one box, and no letter carries more than four marks.
pub fn tame(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let (mut boxed, mut marks) = (false, 0);
    let mut signs = text.chars().peekable();
    while let Some(sign) = signs.next() {
        // One joiner between two visible signs builds emoji families and Indic letters.
        let joins = matches!(sign, '\u{200c}' | '\u{200d}')
            && out.chars().next_back().is_some_and(|before| !before.is_ascii())
            && signs.peek().is_some_and(|after| !after.is_ascii() && !plays_tricks(*after));
        if plays_tricks(sign) && !joins {
            if !boxed {
                out.push('□');
            }
            boxed = true;
            continue;
        }
        boxed = false;
        marks = if stacks(sign) { marks + 1 } else { 0 };
        if marks <= 4 {
            out.push(sign);
        }
    }
    out
}

fn plays_tricks(sign: char) -> bool {
    (sign.is_control() && !matches!(sign, '\n' | '\t'))
        || matches!(sign, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
        || matches!(sign, '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e001f}')
        || matches!(sign, '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{ffa0}')
}

fn stacks(sign: char) -> bool {
    matches!(sign, '\u{300}'..='\u{36f}' | '\u{483}'..='\u{489}' | '\u{1ab0}'..='\u{1aff}' | '\u{1dc0}'..='\u{1dff}' | '\u{20d0}'..='\u{20ff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_left_cannot_be_misread() {
        let table = [
            (60 * 60_000, "1:00", Unit::Hours),
            (60 * 60_000 - 1_000, "59:59", Unit::Minutes),
            (60 * 60_000 - 999, "1:00", Unit::Hours),
            (72_000, "01:12", Unit::Minutes),
            (1, "00:01", Unit::Minutes),
            (0, "+00:00", Unit::Minutes),
            (-999, "+00:00", Unit::Minutes),
            (-1_000, "+00:01", Unit::Minutes),
            (-185_000, "+03:05", Unit::Minutes),
            (-3 * 3_600_000 - 300_000, "+3:05", Unit::Hours),
            (99 * 3_600_000 - 1_000, "98:59", Unit::Hours),
            (5 * 86_400_000, "5", Unit::Days),
        ];
        for (left, digits, unit) in table {
            assert_eq!(countdown(left), (digits.to_string(), unit), "{left}");
        }
    }

    #[test]
    fn counts_and_lengths_read_well_in_both_languages() {
        let (ko, en) = (Language::Ko, Language::En);
        for (count, in_ko, in_en) in [
            (310, "310", "310"),
            (2_140, "2,140", "2.1K"),
            (12_400, "1.2만", "12.4K"),
            (20_000, "2만", "20K"),
            (2_100_000, "210만", "2.1M"),
        ] {
            assert_eq!((short_count(count, ko).as_str(), short_count(count, en).as_str()), (in_ko, in_en));
        }
        assert_eq!(duration(Duration::from_secs(370), ko), "6분 10초");
        assert_eq!(duration(Duration::from_secs(370), en), "6 m 10 s");
        assert_eq!(duration(Duration::from_secs(3_600), ko), "1시간");
        assert_eq!(duration(Duration::ZERO, en), "0 s");
        assert_eq!((age(Duration::from_secs(240), ko), age(Duration::from_secs(240), en)), ("4분 전".into(), "4 min".into()));
        assert_eq!([1, 2, 3, 4, 11, 22].map(ordinal).join(" "), "1st 2nd 3rd 4th 11th 22nd");
        let seoul = TimeZone::get("Asia/Seoul").unwrap();
        let at = Time::parse("2026-11-21T05:28:05Z").unwrap();
        assert_eq!(date_time(at, &seoul, ko), "2026. 11. 21.(토) 14:28");
        assert_eq!(date_time(at, &seoul, en), "21 Nov 2026, 14:28");
        assert_eq!(short_time(at, at, &seoul, ko), "14:28");
    }

    #[test]
    fn a_hostile_text_is_tamed_and_a_family_stays_together() {
        assert_eq!(tame("a\u{202e}gpj.exe"), "a□gpj.exe");
        assert_eq!(tame(&format!("값{}끝", "\u{200b}".repeat(300))), "값□끝");
        assert_eq!(tame("👨\u{200d}👩\u{200d}👧"), "👨\u{200d}👩\u{200d}👧");
        assert_eq!(tame(&format!("e{}", "\u{301}".repeat(50))).chars().count(), 5);
        assert_eq!(tame("줄\n바꿈\u{0}"), "줄\n바꿈□");
        assert_eq!(safe_url("javascript:alert(1)"), None);
        assert_eq!(safe_url(" java\nscript:alert(1)"), None);
        assert_eq!(safe_url("https://social.example/@a/1"), Some("https://social.example/@a/1"));
        assert_eq!(mark("mastodon"), "MA");
    }
}
