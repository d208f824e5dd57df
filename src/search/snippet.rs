//! The part of a text that a query found, cut to two lines, with what was looked for marked.

use std::ops::Range;

use jiff::tz::TimeZone;

use super::{
    Scope,
    check::{Memo, Text},
    plan::{self, Phrase, Plan, Prefix, Sight},
    table::Table,
    tail,
    tokens::{Cutter, composed},
};
use crate::query::Query;

/// About two lines.
const CHARS: usize = 160;
/// Characters shown before the first mark.
const BEFORE: usize = 40;

struct Seen {
    key: u64,
    text: String,
    position: u32,
    bytes: Range<usize>,
}

pub(super) fn snippet(query: &Query, text: &str) -> Vec<(String, bool)> {
    let text = composed(text);
    let mut seen = Vec::new();
    Cutter::for_posts().each(&text, &mut |token| {
        let position = u32::try_from(token.position).unwrap_or(u32::MAX);
        let bytes = token.offset_from..token.offset_to;
        seen.push(Seen { key: tail::key(&token.text), text: token.text.clone(), position, bytes });
    });
    let (table, scope, zone) = (Table::default(), Scope::default(), TimeZone::UTC);
    let mut marks = Vec::new();
    if let Some(plan) = plan::plan(query, &Sight { table: &table, scope: &scope, zone: &zone }) {
        mark(&plan, &seen, &Text::new(&text, &mut Cutter::for_posts(), &Memo::default()), &mut marks);
    }
    marks.sort_by_key(|range| range.start);
    cut(&text, &marks)
}

fn mark(plan: &Plan, seen: &[Seen], text: &Text<'_>, marks: &mut Vec<Range<usize>>) {
    match plan {
        Plan::All(parts) | Plan::Any(parts) => parts.iter().for_each(|part| mark(part, seen, text, marks)),
        Plan::Phrase(phrase) => seen.iter().for_each(|first| marks.extend(whole(phrase, first, seen))),
        Plan::Prefer(inner, _) => mark(inner, seen, text, marks),
        Plan::Word(word) => word.sought.patterns.iter().for_each(|pattern| marks.extend(text.places(pattern))),
        Plan::Prefix(Prefix { starts }) => {
            let begins = |token: &&Seen| starts.iter().any(|start| token.text.starts_with(start));
            marks.extend(seen.iter().filter(begins).map(|token| token.bytes.clone()));
        }
        _ => {}
    }
}

/// The pieces of text of a phrase that begins with the token `first`, if one does.
fn whole(phrase: &Phrase, first: &Seen, seen: &[Seen]) -> Vec<Range<usize>> {
    let mut marks = Vec::new();
    let Some((first_offset, _, first_key)) = phrase.tokens.first() else { return marks };
    if *first_key != first.key {
        return marks;
    }
    for (offset, _, key) in &phrase.tokens {
        let position = first.position + offset - first_offset;
        match seen.iter().find(|token| token.key == *key && token.position == position) {
            Some(token) => marks.push(token.bytes.clone()),
            None => return Vec::new(),
        }
    }
    marks
}

fn cut(text: &str, marks: &[Range<usize>]) -> Vec<(String, bool)> {
    let first = marks.first().map_or(0, |mark| mark.start);
    let lead = text[..first].char_indices().rev().nth(BEFORE).map(|(at, _)| at);
    // Begin with a whole word where one begins soon enough.
    let start = lead.map_or(0, |lead| text[lead..first].find(char::is_whitespace).map_or(lead, |space| lead + space));
    let start = start + text[start..].len() - text[start..].trim_start().len();
    let end = text[start..].char_indices().nth(CHARS).map_or(text.len(), |(at, _)| start + at);
    let mut pieces: Vec<(String, bool)> = Vec::new();
    let mut add = |piece: &str, marked: bool| match pieces.last_mut() {
        _ if piece.is_empty() => {}
        Some((last, same)) if *same == marked => last.push_str(piece),
        _ => pieces.push((piece.to_owned(), marked)),
    };
    if start > 0 {
        add("…", false);
    }
    let mut at = start;
    for mark in marks {
        let (from, to) = (mark.start.clamp(at, end), mark.end.clamp(at, end));
        add(&text[at..from], false);
        add(&text[from..to], true);
        at = to;
    }
    add(&text[at..end], false);
    if end < text.len() {
        add("…", false);
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marked(query: &str, text: &str) -> String {
        let pieces = snippet(&query.parse().unwrap(), text);
        pieces.iter().map(|(piece, mark)| if *mark { format!("[{piece}]") } else { piece.clone() }).collect()
    }

    #[test]
    fn what_was_looked_for_is_marked() {
        let table = [
            ("배송", "무료배송이라 좋아요", "무료[배송]이라 좋아요"),
            ("배송이 늦", "배송이 너무 늦어요", "[배송]이 너무 [늦]어요"),
            ("\"고객 센터\"", "고객센터 고객 센터", "[고객센터] [고객 센터]"),
            ("deliver*", "Delivered late, delivery", "[Delivered] late, [delivery]"),
            ("crash", "It CRASHES, crashed.", "It [CRASHES], [crashed]."),
            ("배송 -환불", "배송 말고 환불", "[배송] 말고 환불"),
            ("label:abuse", "아무 말", "아무 말"),
            ("없는말", "아무 말", "아무 말"),
            ("배송", "", ""),
        ];
        for (query, text, expected) in table {
            assert_eq!(marked(query, text), expected, "{query}");
        }
    }

    #[test]
    fn a_long_text_is_cut_around_the_first_mark() {
        let text = format!("{}환불해 주세요 {}", "가나 다라 ".repeat(50), "마바 사아 ".repeat(50));
        let shown = marked("환불", &text);
        assert!(shown.starts_with('…') && shown.ends_with('…'), "{shown}");
        assert!(shown.contains("[환불]해 주세요") && shown.chars().count() <= CHARS + 4, "{shown}");
    }
}
