//! How long a reply may be, as each platform counts.

use serde::{Deserialize, Serialize};
use unicode_segmentation::UnicodeSegmentation;

/// What a platform counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Unicode scalar values.
    #[default]
    Characters,
    /// What a person sees as one character.
    Graphemes,
    /// Bytes of UTF-8.
    Bytes,
}

/// A platform's limit on the length of a post.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LengthRule {
    /// What is counted.
    #[serde(default)]
    pub unit: Unit,
    /// How many are allowed.
    pub max: usize,
    /// What every http(s) address weighs, however long it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<usize>,
    /// The domain of `@user@domain` is free.
    #[serde(default)]
    pub bare_mentions: bool,
}

impl LengthRule {
    /// The length of `text` in this platform's units.
    pub fn measure(&self, text: &str) -> usize {
        let mut total = 0;
        let mut counted_to = 0;
        let mut at = 0;
        while let Some(step) = text[at..].find(['h', 'H', '@']) {
            at += step;
            let glued = text[..at].chars().next_back().is_some_and(|c| c.is_ascii_alphanumeric());
            let (keep, skip, weight) = if let (Some(weight), Some(length), false) = (self.url, url_at(&text[at..]), glued) {
                (0, length, weight)
            } else if let (true, Some((handle, domain)), false) = (self.bare_mentions, mention_at(&text[at..]), glued) {
                (handle, handle + domain, 0)
            } else {
                at += 1;
                continue;
            };
            total += self.count(&text[counted_to..at + keep]) + weight;
            at += skip;
            counted_to = at;
        }
        total + self.count(&text[counted_to..])
    }

    /// How much may still be written; negative when `text` is too long.
    pub fn left(&self, text: &str) -> isize {
        self.max as isize - self.measure(text) as isize
    }

    fn count(&self, text: &str) -> usize {
        match self.unit {
            Unit::Characters => text.chars().count(),
            Unit::Graphemes => text.graphemes(true).count(),
            Unit::Bytes => text.len(),
        }
    }
}

/// Length in bytes of the http(s) address that `text` starts with; what a sentence adds at its end is not part of it.
pub fn url_at(text: &str) -> Option<usize> {
    let rest = ["https://", "http://"]
        .iter()
        .find(|scheme| text.get(..scheme.len()).is_some_and(|head| head.eq_ignore_ascii_case(scheme)))?;
    let end = text.bytes().position(|b| !(b'!'..=b'~').contains(&b) || matches!(b, b'<' | b'>' | b'"')).unwrap_or(text.len());
    let end = text[..end].trim_end_matches(['.', ',', ';', ':', '!', '?', '\'', ')', ']']).len();
    (end > rest.len()).then_some(end)
}

/// Lengths of `@user` and of `@domain` where `text` starts with both.
fn mention_at(text: &str) -> Option<(usize, usize)> {
    let word = |text: &str, more: &[u8]| text.bytes().take_while(|b| b.is_ascii_alphanumeric() || more.contains(b)).count();
    let user = word(text.strip_prefix('@')?, b"_.-");
    let domain = text.get(1 + user..)?.strip_prefix('@')?;
    let length = domain[..word(domain, b".-")].trim_end_matches(['.', '-']).len();
    (user > 0 && domain[..length].contains('.')).then_some((1 + user, 1 + length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn platforms_count_differently() {
        let mastodon = LengthRule { unit: Unit::Graphemes, max: 500, url: Some(23), bare_mentions: true };
        let plain = |unit| LengthRule { unit, max: 300, url: None, bare_mentions: false };
        for (rule, text, expected) in [
            (&mastodon, "", 0),
            (&mastodon, "안녕하세요", 5),
            (&mastodon, "👨\u{200d}👩\u{200d}👧", 1),
            (&mastodon, "보세요 https://example.com/a/very/long/path?with=query.", 4 + 23 + 1),
            (&mastodon, "https://a.kr로 HTTP://b.kr", 23 + 2 + 23),
            (&mastodon, "@kim@social.example.kr 안녕", 7),
            (&mastodon, "@kim 안녕", 7),
            (&mastodon, "a@b.kr @ h", 10),
            (&plain(Unit::Characters), "👨\u{200d}👩\u{200d}👧", 5),
            (&plain(Unit::Bytes), "가a", 4),
            (&plain(Unit::Characters), "https://a.kr", 12),
        ] {
            assert_eq!(rule.measure(text), expected, "{text}");
        }
        assert_eq!(mastodon.left(&"가".repeat(501)), -1);
    }

    #[test]
    fn a_rule_is_written_as_data() {
        let rule: LengthRule = toml::from_str("unit = 'graphemes'\nmax = 500\nurl = 23\nbare_mentions = true").unwrap();
        assert_eq!(rule, LengthRule { unit: Unit::Graphemes, max: 500, url: Some(23), bare_mentions: true });
        assert!(toml::from_str::<LengthRule>("max = 5\nmin = 1").is_err());
    }
}
