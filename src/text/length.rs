//! How long a reply may be, as each platform counts.

use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization;
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
    /// Unicode scalar values of the composed text (NFC), by weight: one in the `light` ranges, `weight` elsewhere.
    Weighted,
}

/// A platform's limit on the length of a post.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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
    /// So does the name of a host without `http://`, as X links it: `example.com`, `shop.example.kr/a`.
    #[serde(default)]
    pub bare_urls: bool,
    /// The domain of `@user@domain` is free.
    #[serde(default)]
    pub bare_mentions: bool,
    /// Mentions that the text starts with are free.
    #[serde(default)]
    pub lead_mentions: bool,
    /// For `weighted`: what a character weighs outside the `light` ranges; 1 where it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<usize>,
    /// For `weighted`: ranges of code points that weigh one, both ends included.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub light: Vec<(u32, u32)>,
    /// For `weighted`: what an emoji weighs, however many code points it is made of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub emoji: Option<usize>,
    /// A second limit, on bytes of UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_max: Option<usize>,
    /// How many posts a text may be divided into; one where it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parts: Option<usize>,
}

impl LengthRule {
    /// The length of `text` in this platform's units.
    pub fn measure(&self, text: &str) -> usize {
        let (mut total, mut at) = (0, if self.lead_mentions { lead(text) } else { 0 });
        let mut counted_to = at;
        let begins = |c: char| matches!(c, 'h' | 'H' | '@') || self.bare_urls && c.is_ascii_alphanumeric();
        while let Some(step) = text[at..].find(begins) {
            at += step;
            let before = text[..at].chars().next_back();
            if before.is_some_and(|c| c.is_ascii_alphanumeric()) {
                at += 1;
                continue;
            }
            let named = self.bare_urls && !before.is_some_and(|c| "._-/@".contains(c));
            let bare = || if named { host_at(&text[at..]) } else { None };
            let address = self.url.and_then(|weight| Some((weight, url_at(&text[at..]).or_else(bare)?)));
            let (keep, skip, weight) = if let Some((weight, length)) = address {
                (0, length, weight)
            } else if let (true, Some((handle, domain))) = (self.bare_mentions, mention_at(&text[at..])) {
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
        let parts = self.parts.unwrap_or(1);
        let left = |max: usize, used: usize| (max * parts) as isize - used as isize;
        left(self.max, self.measure(text)).min(self.bytes_max.map_or(isize::MAX, |max| left(max, text.len())))
    }

    /// Divides `text` into as few posts as it fits into: at ends of lines and words, inside a word only where it has
    /// to be. None if it takes more than `parts`.
    pub fn divide(&self, text: &str) -> Option<Vec<String>> {
        let one = LengthRule { parts: None, ..self.clone() };
        let (mut parts, mut rest) = (Vec::new(), text.trim());
        while one.left(rest) < 0 {
            let end = one.longest(rest, rest.split_word_bound_indices().map(|(at, word)| (at + word.len(), word)));
            let end = if end > 0 {
                end
            } else {
                one.longest(rest, rest.grapheme_indices(true).map(|(at, one)| (at + one.len(), " ")))
            };
            let (part, more) = rest.split_at_checked(end).filter(|(part, _)| !part.is_empty())?;
            parts.push(part.trim_end().to_owned());
            rest = more.trim_start();
        }
        if !rest.is_empty() || parts.is_empty() {
            parts.push(rest.to_owned());
        }
        (parts.len() <= self.parts.unwrap_or(1)).then_some(parts)
    }

    /// The last of these places, each before or after white space, up to which `text` fits.
    fn longest<'text>(&self, text: &str, places: impl Iterator<Item = (usize, &'text str)>) -> usize {
        let places: Vec<usize> = places.filter(|(_, word)| word.trim().is_empty()).map(|(end, _)| end).collect();
        let fitting = places.partition_point(|end| self.left(text[..*end].trim_end()) >= 0);
        fitting.checked_sub(1).map_or(0, |at| places[at])
    }

    fn count(&self, text: &str) -> usize {
        match self.unit {
            Unit::Characters => text.chars().count(),
            Unit::Graphemes => text.graphemes(true).count(),
            Unit::Bytes => text.len(),
            Unit::Weighted => {
                let composed: String = text.nfc().collect();
                composed.graphemes(true).map(|one| self.weigh(one)).sum()
            }
        }
    }

    fn weigh(&self, grapheme: &str) -> usize {
        let light = |sign: u32| self.light.iter().any(|(from, to)| (*from..=*to).contains(&sign));
        match self.emoji {
            Some(weight) if emoji(grapheme) => weight,
            _ => grapheme.chars().map(|c| if light(c.into()) { 1 } else { self.weight.unwrap_or(1) }).sum(),
        }
    }
}

/// Whether a grapheme is drawn as an emoji: of the planes of pictures, or made one by a selector, a keycap or a joiner.
fn emoji(grapheme: &str) -> bool {
    grapheme.chars().any(|c| matches!(c, '\u{fe0f}' | '\u{20e3}' | '\u{1f000}'..='\u{1faff}'))
}

/// Length in bytes of the mentions that `text` starts with, and the space after each.
fn lead(text: &str) -> usize {
    let mut at = 0;
    while let Some(rest) = text[at..].strip_prefix('@') {
        let name = rest.bytes().take_while(|b| b.is_ascii_alphanumeric() || b"_.-@".contains(b)).count();
        let space = rest[name..].len() - rest[name..].trim_start().len();
        if name == 0 || (space == 0 && name < rest.len()) {
            break;
        }
        at += 1 + name + space;
    }
    at
}

/// Length in bytes of the http(s) address that `text` starts with; what a sentence adds at its end is not part of it.
pub fn url_at(text: &str) -> Option<usize> {
    let rest = ["https://", "http://"]
        .iter()
        .find(|scheme| text.get(..scheme.len()).is_some_and(|head| head.eq_ignore_ascii_case(scheme)))?;
    let end = address_end(text);
    (end > rest.len()).then_some(end)
}

/// Where the address that `text` starts with ends.
fn address_end(text: &str) -> usize {
    let end = text.bytes().position(|b| !(b'!'..=b'~').contains(&b) || matches!(b, b'<' | b'>' | b'"')).unwrap_or(text.len());
    text[..end].trim_end_matches(['.', ',', ';', ':', '!', '?', '\'', ')', ']']).len()
}

/// Endings of host names that a platform knows beside those of countries.
const ENDINGS: [&str; 28] = [
    "com", "net", "org", "info", "biz", "edu", "gov", "mil", "int", "app", "dev", "shop", "store", "online", "site", "xyz",
    "cloud", "club", "blog", "news", "live", "name", "asia", "page", "link", "tech", "world", "games",
];

/// Length in bytes of the host that `text` starts with, and its path. A name and a country alone (`it.so`) is none: it
/// is more often a missing space.
fn host_at(text: &str) -> Option<usize> {
    let name = text.bytes().take_while(|b| b.is_ascii_alphanumeric() || b".-".contains(b)).count();
    let name = text[..name].trim_end_matches(['.', '-']);
    let labels: Vec<&str> = name.split('.').collect();
    let whole = labels.iter().all(|label| !label.is_empty() && !label.starts_with('-') && !label.ends_with('-'));
    let ending = labels.last().filter(|_| whole && labels.len() > 1)?.to_ascii_lowercase();
    let country = ending.len() == 2 && ending.bytes().all(|b| b.is_ascii_alphabetic());
    let path = text[name.len()..].starts_with('/');
    let linked = path || labels.len() > 2 || !country || ["co", "tv"].contains(&ending.as_str());
    let known = country || ENDINGS.contains(&ending.as_str());
    (known && linked).then(|| if path { address_end(text) } else { name.len() })
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
    fn a_host_is_an_address_where_the_platform_links_it() {
        let rule = LengthRule { max: 280, url: Some(23), bare_urls: true, ..LengthRule::default() };
        for (text, addresses, beside) in [
            ("example.com", 1, 0),
            ("보기: shop.example.kr/a?b=1, 끝", 1, 7),
            ("example.com에서", 1, 2),
            ("https://example.com and example.org.", 2, 6),
            ("it.so", 0, 5),
            ("it.so/x", 1, 0),
            ("v1.2.3 e.g. main.rs", 0, 19),
            ("a@example.com _x.com", 0, 20),
            ("-a.com a-.com a..com", 0, 20),
        ] {
            assert_eq!(rule.measure(text), addresses * 23 + beside, "{text}");
        }
        assert_eq!(LengthRule { bare_urls: false, ..rule }.measure("example.com"), 11);
    }

    #[test]
    fn platforms_count_differently() {
        let mastodon =
            LengthRule { unit: Unit::Graphemes, max: 500, url: Some(23), bare_mentions: true, ..LengthRule::default() };
        let plain = |unit| LengthRule { unit, max: 300, ..LengthRule::default() };
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
        assert_eq!(
            rule,
            LengthRule { unit: Unit::Graphemes, max: 500, url: Some(23), bare_mentions: true, ..LengthRule::default() }
        );
        assert!(toml::from_str::<LengthRule>("max = 5\nmin = 1").is_err());
    }

    /// The rule that X publishes (docs, "Counting characters"; twitter-text v3): NFC, 280 of weight.
    fn weighted() -> LengthRule {
        toml::from_str(
            "unit = 'weighted'\nmax = 280\nurl = 23\nweight = 2\nemoji = 2\nlead_mentions = true\n\
             light = [[0, 4351], [8192, 8205], [8208, 8223], [8242, 8247]]",
        )
        .unwrap()
    }

    #[test]
    fn weights_are_those_of_the_published_rule() {
        let rule = weighted();
        for (text, expected) in [
            ("hello", 5),
            ("é", 1),
            ("e\u{301}", 1),
            ("안녕", 4),
            ("\u{1112}\u{1161}\u{11ab}", 2),
            ("日本語", 6),
            ("\u{201c}quoted\u{201d}", 8),
            ("👨\u{200d}👩\u{200d}👧\u{200d}👦", 2),
            ("👍🏽", 2),
            ("🇰🇷", 2),
            ("❤\u{fe0f}", 2),
            ("1\u{fe0f}\u{20e3}", 2),
            ("✅", 2),
            ("보세요 https://example.com/a/very/long/path?with=query", 6 + 1 + 23),
            ("@minji @hanbit_cs 안녕", 4),
            ("안녕 @minji", 4 + 1 + 6),
        ] {
            assert_eq!(rule.measure(text), expected, "{text}");
        }
        assert_eq!(rule.left(&"한".repeat(140)), 0, "140 syllables");
        assert_eq!(rule.left(&"한".repeat(141)), -2);
        assert_eq!(rule.left(&"a".repeat(280)), 0);
    }

    #[test]
    fn two_limits_hold_at_once() {
        let rule: LengthRule = toml::from_str("unit = 'graphemes'\nmax = 300\nbytes_max = 3000").unwrap();
        assert_eq!(rule.left(&"가".repeat(300)), 0);
        assert!(rule.left(&"👨\u{200d}👩\u{200d}👧\u{200d}👦".repeat(130)) < 0, "130 graphemes of 25 bytes");
    }

    #[test]
    fn a_long_text_is_divided_at_words_and_nothing_is_lost() {
        let rule = LengthRule { max: 10, parts: Some(3), ..LengthRule::default() };
        assert_eq!(rule.divide("short").unwrap(), ["short"]);
        assert_eq!(rule.divide("one two three four").unwrap(), ["one two", "three four"]);
        assert_eq!(rule.divide("abcdefghijklmno").unwrap(), ["abcdefghij", "klmno"]);
        assert_eq!(rule.divide("한 글자씩\n두 번째 줄입니다").unwrap(), ["한 글자씩\n두 번째", "줄입니다"]);
        assert_eq!(rule.divide(&"x".repeat(31)), None);
        for part in weighted_parts(&"배송이 일주일째 안 와요. ".repeat(40)) {
            assert!(weighted().left(&part) >= 0, "{part}");
        }
    }

    fn weighted_parts(text: &str) -> Vec<String> {
        let parts = LengthRule { parts: Some(5), ..weighted() }.divide(text).unwrap();
        assert_eq!(parts.join(" "), text.trim());
        parts
    }
}
