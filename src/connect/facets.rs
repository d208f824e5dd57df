//! Links, mentions and tags in a text, for platforms that want to be told where they are.

use std::sync::LazyLock;

use regex::Regex;
use serde::Serialize;

use crate::text::url_at;

/// A part of a text that is more than text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Facet {
    /// Where it begins, in bytes of UTF-8.
    pub start: usize,
    /// Where it ends.
    pub end: usize,
    /// `link`, `mention` or `tag`.
    pub kind: &'static str,
    /// The address; the handle, or what it was resolved to; the tag without its #.
    pub value: String,
}

/// A handle like `@minji.example.com`, or a tag; a number alone is none.
#[expect(clippy::expect_used, reason = "a constant, and a test reads it")]
static NAMED: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?:^|[\s(\[])(?:@(?P<handle>[A-Za-z0-9_-]+(?:[.@][A-Za-z0-9_-]+)*)|[#＃](?P<tag>[\p{L}\p{N}_]*[\p{L}_][\p{L}\p{N}_]*))")
        .expect("a regular expression")
});

/// The facets of a text, in its order.
pub(super) fn find(text: &str) -> Vec<Facet> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(step) = text[at..].find(['h', 'H']) {
        at += step;
        let glued = text[..at].chars().next_back().is_some_and(|c| c.is_ascii_alphanumeric());
        match url_at(&text[at..]).filter(|_| !glued) {
            Some(length) => {
                found.push(Facet { start: at, end: at + length, kind: "link", value: text[at..at + length].to_owned() });
                at += length;
            }
            None => at += 1,
        }
    }
    let links = found.len();
    for named in NAMED.captures_iter(text) {
        let (kind, value, sign) = match (named.name("handle"), named.name("tag")) {
            (Some(handle), _) => ("mention", handle, '@'.len_utf8()),
            (_, Some(tag)) => ("tag", tag, if text[..tag.start()].ends_with('#') { 1 } else { '＃'.len_utf8() }),
            (None, None) => continue,
        };
        let facet = Facet { start: value.start() - sign, end: value.end(), kind, value: value.as_str().to_owned() };
        if !found[..links].iter().any(|link| link.start < facet.end && facet.start < link.end) {
            found.push(facet);
        }
    }
    found.sort_by_key(|facet| facet.start);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_bytes_and_addresses_hide_what_is_in_them() {
        let text = "안녕 @minji.example.com 님, https://h.kr/#a?b=@c 보세요 #배송 #2026 (#ok) a@b.kr";
        let found: Vec<(&str, &str)> = find(text).iter().map(|one| (one.kind, &text[one.start..one.end])).collect();
        assert_eq!(
            found,
            [("mention", "@minji.example.com"), ("link", "https://h.kr/#a?b=@c"), ("tag", "#배송"), ("tag", "#ok")]
        );
        assert_eq!(find(text)[0], Facet { start: 7, end: 25, kind: "mention", value: "minji.example.com".into() });
        assert_eq!(find(text)[2].value, "배송");
        assert!(find("").is_empty() && find("@ # h").is_empty());
    }
}
