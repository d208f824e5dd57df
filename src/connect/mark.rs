//! How far a stream is read: marks of its newest posts, and for some the highest of all.

use std::cmp::Ordering;

use minijinja::context;
use serde::{Deserialize, Serialize};

use super::{
    Error,
    format::{CursorAs, Stream, TimeFormat},
    map::{time, written},
};
use crate::clock::Time;

/// Where the last walk came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    /// The high-water mark, where the stream has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub high: Option<String>,
    /// What is remembered of the newest posts, the newest last.
    pub marks: Vec<String>,
}

impl Place {
    /// Reads a saved place.
    pub fn parse(saved: &str) -> Option<Place> {
        match serde_json::from_str(saved) {
            Ok(place) => Some(place),
            Err(_) => serde_json::from_str(saved).ok().map(|marks| Place { high: None, marks }),
        }
    }

    /// The mark to ask above: the highest, or as many posts below it as a platform may show late.
    pub fn back(&self, overlap: usize) -> Option<&str> {
        let high = self.high.as_deref()?;
        let below = self.marks.len().checked_sub(overlap + 1).and_then(|at| self.marks.get(at));
        below.filter(|_| overlap > 0).map_or(Some(high), |mark| Some(mark))
    }

    /// The place as it is saved: without a high-water mark just the list.
    pub fn to_text(&self) -> Result<String, Error> {
        let text = if self.high.is_some() { serde_json::to_string(self) } else { serde_json::to_string(&self.marks) };
        text.map_err(|error| Error::Home(error.to_string()))
    }
}

/// The high-water mark of a stream.
#[derive(Clone, Copy, Debug)]
pub(super) struct HighWater<'a> {
    stream: &'a Stream,
    time_as: TimeFormat,
}

impl<'a> HighWater<'a> {
    /// The mark of `stream`, whose times are written so.
    pub fn of(stream: &'a Stream, time_as: TimeFormat) -> HighWater<'a> {
        HighWater { stream, time_as }
    }

    /// The higher of the mark so far and the records of a page, oldest first.
    pub fn raise(self, so_far: Option<String>, records: &[String]) -> Option<String> {
        let higher = |a: &String, b: &String| match self.stream.cursor_as {
            // Its newest record is its last one, if the page is sorted at all.
            CursorAs::Text => Ordering::Less,
            CursorAs::Number => number(a).cmp(&number(b)),
            CursorAs::Time => self.at(a).cmp(&self.at(b)),
        };
        match (self.stream.cursor_as, so_far) {
            // Later pages are older.
            (CursorAs::Text, Some(high)) => Some(high),
            (_, so_far) => so_far.into_iter().chain(records.iter().cloned()).max_by(higher),
        }
    }

    /// The time of a mark, which may name its post behind it.
    fn at(self, mark: &str) -> Option<Time> {
        time(mark.split('|').next().unwrap_or(mark), self.time_as)
    }

    /// The higher of the marks of two walks.
    pub fn raise_over(self, before: Option<String>, now: Option<String>) -> Option<String> {
        match (self.stream.cursor_as, before, now) {
            (CursorAs::Number | CursorAs::Time, before, Some(now)) => self.raise(before, &[now]),
            (_, before, now) => now.or(before),
        }
    }

    /// What the stream asks with, to get what is newer than the mark; nothing if it asks for all.
    ///
    /// # Errors
    /// When the template's value is missing.
    pub fn asked(self, high: Option<&str>) -> Result<String, Error> {
        let (Some(since), Some(high)) = (&self.stream.since, high) else { return Ok(String::new()) };
        let back = self.stream.overlap_time.map(|overlap| overlap.0).unwrap_or_default();
        let lowered = match self.stream.cursor_as {
            CursorAs::Time => self.at(high).map(|at| written(at.minus(back), self.time_as)),
            CursorAs::Text | CursorAs::Number => None,
        };
        since.render(&context! { cursor => lowered.as_deref().unwrap_or(high) })
    }

    /// Whether a page whose records are all known may be followed by one with a late post: it lies within the overlap.
    pub fn overlaps(self, high: Option<&str>, oldest: &str) -> bool {
        let (Some(back), Some(high)) = (self.stream.overlap_time, high) else { return false };
        let (high, oldest) = (self.at(high), self.at(oldest));
        self.stream.cursor_as == CursorAs::Time && oldest > high.map(|high| high.minus(back.0))
    }
}

/// A number of any length, as something that sorts.
fn number(text: &str) -> (usize, &str) {
    let digits = text.trim_start_matches('0');
    (digits.len(), digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(more: &str) -> Stream {
        toml::from_str(&format!("name = 's'\npath = '/'\nrecords = '$[*]'\nsince = '{{{{ cursor }}}}'\n{more}")).unwrap()
    }

    fn texts(all: &[&str]) -> Vec<String> {
        all.iter().map(|one| (*one).to_owned()).collect()
    }

    #[test]
    fn the_mark_is_the_highest_as_the_platform_counts() {
        for (more, so_far, page, expected) in [
            ("", None, &["b", "a"][..], "a"),
            ("", Some("z"), &["a"], "z"),
            ("cursor_as = 'number'", Some("99"), &["100", "7"], "100"),
            ("cursor_as = 'number'", Some("1999999999999999999"), &["998"], "1999999999999999999"),
            ("cursor_as = 'time'", None, &["2026-11-20T03:00:00Z", "2026-11-20T11:00:00+09:00"], "2026-11-20T03:00:00Z"),
        ] {
            let stream = stream(more);
            let mark = HighWater::of(&stream, TimeFormat::Rfc3339);
            assert_eq!(mark.raise(so_far.map(str::to_owned), &texts(page)).as_deref(), Some(expected), "{more} {page:?}");
        }
    }

    #[test]
    fn a_time_is_asked_for_again_by_its_overlap_in_the_platforms_own_form() {
        let stream = stream("cursor_as = 'time'\noverlap_time = '1h'");
        let mark = |time_as| HighWater::of(&stream, time_as);
        assert_eq!(mark(TimeFormat::Unix).asked(Some("1795000000")).unwrap(), "1794996400");
        assert_eq!(mark(TimeFormat::Rfc3339).asked(Some("2026-11-20T03:00:00Z")).unwrap(), "2026-11-20T02:00:00.000Z");
        assert_eq!(mark(TimeFormat::Unix).asked(None).unwrap(), "");
        assert!(mark(TimeFormat::Unix).overlaps(Some("1795000000"), "1794996401"));
        assert!(!mark(TimeFormat::Unix).overlaps(Some("1795000000"), "1794996400"));
    }

    #[test]
    fn an_overlap_goes_back_by_posts() {
        let place = Place { high: Some("9".into()), marks: texts(&["5", "7", "9"]) };
        assert_eq!(place.back(0), Some("9"));
        assert_eq!(place.back(1), Some("7"));
        assert_eq!(place.back(9), Some("9"), "as far as it is known");
        assert_eq!(Place::default().back(1), None);
    }

    #[test]
    fn a_place_is_saved_and_read_with_and_without_a_mark() {
        for place in
            [Place { high: None, marks: texts(&["1", "2"]) }, Place { high: Some("2".into()), marks: texts(&["1", "2"]) }]
        {
            assert_eq!(Place::parse(&place.to_text().unwrap()), Some(place));
        }
        assert_eq!(Place::parse("[\"1\"]"), Some(Place { high: None, marks: texts(&["1"]) }));
    }
}
