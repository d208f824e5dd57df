//! Which rules can fire in a text at all, told by the literals that their patterns need.
//!
//! A pattern is read as its alternatives, each as what a text must hold for it: one of these literals, and one of
//! those. All literals are looked for in one pass, so that few patterns are tried on a text.

use regex_syntax::hir::{Class, Hir, HirKind};

/// Shorter literals stand in every text.
const LEAST_BYTES: usize = 3;
/// A class of more characters is no literal, an expression of more strings is taken in parts.
const MOST_STRINGS: usize = 16;
/// Literals are kept by their first bytes, in 2 to this power groups.
const BITS: u32 = 12;

/// Literals of which a text must hold one.
type AnyOf = Vec<Vec<u8>>;

/// One of the ways in which a rule can fire, with a bit for each [`AnyOf`] of it.
struct Way {
    rule: usize,
    wanted: u8,
}

struct Literal {
    /// Its first bytes, and which bits of eight bytes they are.
    head: u64,
    mask: u64,
    bytes: Vec<u8>,
    way: usize,
    bit: u8,
}

/// All literals of all rules.
pub(super) struct Filter {
    ways: Vec<Way>,
    literals: Vec<Literal>,
    /// Where the literals of each group begin.
    groups: Vec<u32>,
    rules: usize,
}

impl Filter {
    /// A filter for rules with these patterns, one each.
    pub(super) fn build<'a>(patterns: impl Iterator<Item = &'a str>) -> Filter {
        let mut filter = Filter { ways: Vec::new(), literals: Vec::new(), groups: Vec::new(), rules: 0 };
        for pattern in patterns {
            for parts in ways(pattern) {
                let way = filter.ways.len();
                let parts = parts.into_iter().take(8).enumerate();
                let wanted = parts.fold(0, |wanted, (part, any)| {
                    let literal = |bytes: Vec<u8>| {
                        let mask = u64::MAX >> (64 - 8 * bytes.len().min(8));
                        Literal { head: head(&bytes) & mask, mask, bytes, way, bit: 1 << part }
                    };
                    filter.literals.extend(any.into_iter().map(literal));
                    wanted | 1 << part
                });
                filter.ways.push(Way { rule: filter.rules, wanted });
            }
            filter.rules += 1;
        }
        filter.literals.sort_by_key(|literal| group(literal.head));
        let before = |wanted| filter.literals.partition_point(|literal| group(literal.head) < wanted) as u32;
        filter.groups = (0..=1 << BITS).map(before).collect();
        filter
    }

    /// For each rule, whether it may fire in a text.
    pub(super) fn candidates(&self, text: &str) -> Vec<bool> {
        let mut seen = vec![0; self.ways.len()];
        let text = text.as_bytes();
        for at in 0..text.len().saturating_sub(LEAST_BYTES - 1) {
            // Literals begin where characters do.
            if text[at] & 0xc0 == 0x80 {
                continue;
            }
            let rest = &text[at..];
            let head = head(rest);
            let group = group(head);
            for literal in &self.literals[self.groups[group] as usize..self.groups[group + 1] as usize] {
                if head & literal.mask == literal.head && (literal.bytes.len() <= 8 || rest.starts_with(&literal.bytes)) {
                    seen[literal.way] |= literal.bit;
                }
            }
        }
        let mut candidates = vec![false; self.rules];
        for (way, _) in self.ways.iter().zip(seen).filter(|(way, seen)| way.wanted == *seen) {
            candidates[way.rule] = true;
        }
        candidates
    }
}

/// The first eight bytes.
fn head(bytes: &[u8]) -> u64 {
    bytes.first_chunk().map_or_else(
        || bytes.iter().rev().fold(0, |head, byte| head << 8 | u64::from(*byte)),
        |first| u64::from_le_bytes(*first),
    )
}

/// The group of what begins with these three bytes.
fn group(head: u64) -> usize {
    ((head as u32 & 0xff_ffff).wrapping_mul(0x9e37_79b1) >> (32 - BITS)) as usize
}

/// What is known of the texts in which an expression matches.
enum Known {
    /// It matches these strings and no others.
    Exactly(AnyOf),
    /// They hold one literal of each of these.
    AllOf(Vec<AnyOf>),
}

impl Known {
    fn parts(self) -> Vec<AnyOf> {
        match self {
            Known::Exactly(strings) => Vec::from_iter(telling(strings)),
            Known::AllOf(parts) => parts,
        }
    }
}

/// Strings that are long enough to be looked for, all of them.
fn telling(strings: AnyOf) -> Option<AnyOf> {
    strings.iter().all(|string| string.len() >= LEAST_BYTES).then_some(strings)
}

/// The ways in which a pattern can match: what each needs. Of a pattern that cannot be read nothing is known.
fn ways(pattern: &str) -> Vec<Vec<AnyOf>> {
    let ways = regex_syntax::parse(pattern).map_or_else(|_| vec![Vec::new()], |hir| alternatives(&hir));
    let (single, mut ways): (Vec<_>, Vec<_>) = ways.into_iter().partition(|parts| parts.len() == 1);
    if !single.is_empty() {
        ways.push(vec![single.into_iter().flatten().flatten().collect()]);
    }
    ways
}

/// What each alternative of an expression needs.
fn alternatives(hir: &Hir) -> Vec<Vec<AnyOf>> {
    match hir.kind() {
        HirKind::Capture(capture) => alternatives(&capture.sub),
        HirKind::Alternation(subs) => subs.iter().flat_map(alternatives).collect(),
        // What stands at a word's edge has the alternatives of what stands there.
        HirKind::Concat(subs) if subs.iter().filter(|sub| !matches!(sub.kind(), HirKind::Look(_))).count() == 1 => {
            subs.iter().filter(|sub| !matches!(sub.kind(), HirKind::Look(_))).flat_map(alternatives).collect()
        }
        _ => vec![known(hir).parts()],
    }
}

fn known(hir: &Hir) -> Known {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => Known::Exactly(vec![Vec::new()]),
        HirKind::Literal(literal) => Known::Exactly(vec![literal.0.to_vec()]),
        HirKind::Class(class) => characters(class).map_or(Known::AllOf(Vec::new()), Known::Exactly),
        HirKind::Capture(capture) => known(&capture.sub),
        HirKind::Repetition(repetition) => match (repetition.min, repetition.max, known(&repetition.sub)) {
            (0, Some(1), Known::Exactly(mut strings)) => {
                strings.push(Vec::new());
                Known::Exactly(strings)
            }
            (0, ..) => Known::AllOf(Vec::new()),
            (_, _, known) => Known::AllOf(known.parts()),
        },
        HirKind::Concat(subs) => in_turn(subs),
        HirKind::Alternation(subs) => one_of(subs),
    }
}

/// The few characters of a class.
fn characters(class: &Class) -> Option<AnyOf> {
    let Class::Unicode(class) = class else { return None };
    let characters = || class.iter().flat_map(|range| range.start()..=range.end());
    let few = characters().nth(MOST_STRINGS).is_none();
    few.then(|| characters().map(|c| c.to_string().into_bytes()).collect())
}

/// One after the other: strings grow together as long as they are few.
fn in_turn(subs: &[Hir]) -> Known {
    let (mut parts, mut strings) = (Vec::new(), vec![Vec::new()]);
    let mut whole = true;
    for sub in subs {
        match known(sub) {
            Known::Exactly(more) if strings.len() * more.len() <= MOST_STRINGS => {
                strings = strings.iter().flat_map(|head| more.iter().map(move |tail| [&head[..], tail].concat())).collect();
            }
            known => {
                whole = false;
                parts.extend(telling(std::mem::replace(&mut strings, vec![Vec::new()])));
                match known {
                    Known::Exactly(more) => strings = more,
                    Known::AllOf(more) => parts.extend(more),
                }
            }
        }
    }
    if whole {
        return Known::Exactly(strings);
    }
    parts.extend(telling(strings));
    Known::AllOf(parts)
}

/// One of several: what all of them need.
fn one_of(subs: &[Hir]) -> Known {
    let all: Vec<Known> = subs.iter().map(known).collect();
    if all.iter().all(|known| matches!(known, Known::Exactly(_))) {
        let strings = all.into_iter().flat_map(|known| if let Known::Exactly(strings) = known { strings } else { Vec::new() });
        return Known::Exactly(strings.collect());
    }
    let all: Vec<Vec<AnyOf>> = all.into_iter().map(Known::parts).collect();
    let least = all.iter().map(Vec::len).min().unwrap_or(0);
    let part = |number: usize| all.iter().flat_map(|parts: &Vec<AnyOf>| parts[number].iter().cloned()).collect();
    Known::AllOf((0..least).map(part).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classify::pattern::rewrite;

    /// The ways of a pattern, as they are read aloud.
    fn spelt(pattern: &str) -> Vec<String> {
        let part = |any: &AnyOf| {
            let mut literals: Vec<_> = any.iter().map(|literal| String::from_utf8_lossy(literal)).collect();
            literals.sort();
            literals.join("|")
        };
        ways(&rewrite(pattern)).iter().map(|parts| parts.iter().map(part).collect::<Vec<_>>().join(" & ")).collect()
    }

    #[test]
    fn a_pattern_needs_its_literals() {
        for (pattern, expected) in [
            (r"\b(crash|bug)\b", &["bug|crash"][..]),
            ("(배송|택배)[^.!?]{0,20}(안 ?(와|옴)|늦)|분실", &["배송|택배 & 늦|안 옴|안 와|안옴|안와", "분실"]),
            ("crash(es|ed)?", &["crash|crashed|crashes"]),
            ("refund.*(never|no|not)", &["refund"]),
            ("a(late)+b", &["late"]),
            ("(late)*", &[""]),
            (r"[가-힣]{3}", &[""]),
            ("배송[이은]", &["배송은|배송이"]),
            ("(late.*order|(never|still).*arrived)now", &["late|never|still & arrived|order & now"]),
        ] {
            assert_eq!(spelt(pattern), expected, "{pattern}");
        }
    }

    #[test]
    fn no_rule_that_fires_is_passed_over() {
        let patterns = [r"(배송|택배)[^.]{0,9}(늦|안 ?와)", r"\bapp\b", "ㅠㅠ", r"\d{3}", "never (ever )?again", "x|y", "끝$"];
        let filter = Filter::build(patterns.into_iter());
        for (text, expected) in [
            ("배송이 늦어요", vec![0]),
            ("택배가 안와", vec![0]),
            ("the app", vec![1]),
            ("never ever again 끝", vec![4, 6]),
            ("never again", vec![4]),
            ("끝", vec![6]),
            ("늦은 배", vec![]),
            ("ㅠㅠ", vec![2]),
            ("", vec![]),
            ("é", vec![]),
        ] {
            let always = [3, 5];
            let candidates = filter.candidates(text);
            let found: Vec<usize> = (0..patterns.len()).filter(|rule| candidates[*rule] && !always.contains(rule)).collect();
            assert_eq!(found, expected, "{text}");
            assert!(always.iter().all(|rule| candidates[*rule]), "{text}: what has no literal is always tried");
        }
    }
}
