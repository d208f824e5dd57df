//! From a typed word to patterns: cut where the script changes, each piece as people write it.

use super::{
    Widened,
    check::{Must, Pattern, Unit, syllable},
    english,
    korean::{self, Alternative, Class, hangul, particle},
    lexicon::Kind,
    tokens::{Cutter, composed, unhyphenated},
};

/// A stretch of one script of a typed word.
enum Piece {
    Hangul(Vec<char>),
    /// Han and Kana.
    Dense(Vec<char>),
    Word(String),
}

/// What a typed word may look like in a post; the first is how it was typed, or its stem.
pub(super) fn word(typed: &str, cutter: &mut Cutter) -> Vec<Pattern> {
    let typed = composed(typed);
    let mut pieces = pieces(&typed);
    let letter = |char: char| char.is_alphanumeric();
    let before = typed.chars().rev().skip_while(|char| letter(*char) || *char == '_').find(|char| matches!(char, '#' | '@'));
    let before = before.filter(|sign| typed.starts_with(*sign));
    let after = typed.chars().last().filter(|char| *char == '%');
    let finish = |texts: Vec<String>, parts: Vec<Vec<Unit>>, must| Pattern { parts, texts, must, before, after };
    if before.is_some() {
        return vec![finish(vec![text(&pieces)], vec![units(&pieces, cutter)], Must::Stand)];
    }
    match pieces.as_slice() {
        [] => Vec::new(),
        [Piece::Hangul(run)] => {
            let pattern = |Alternative { parts, class }: Alternative| {
                let texts = parts.iter().map(|part| part.iter().collect()).collect();
                finish(texts, parts.iter().map(|part| part.iter().copied().map(syllable).collect()).collect(), Must::Be(class))
            };
            korean::alternatives(run).into_iter().map(pattern).collect()
        }
        [Piece::Word(word)] => {
            let forms = english::forms(word, cutter);
            forms.into_iter().map(|(text, unit)| finish(vec![text], vec![vec![unit]], Must::Stand)).collect()
        }
        _ => {
            // CCTV를 is CCTV.
            if let [.., Piece::Word(_), Piece::Hangul(tail)] = pieces.as_slice() {
                let kept = kept(tail).to_vec();
                pieces.pop();
                if !kept.is_empty() {
                    pieces.push(Piece::Hangul(kept));
                }
            }
            let must = if matches!(pieces.first(), Some(Piece::Hangul(_))) { Must::Be(Class::Whole) } else { Must::Stand };
            let mut patterns = vec![finish(vec![text(&pieces)], vec![units(&pieces, cutter)], must)];
            if let Some(number) = unhyphenated(&typed) {
                let unit = english::stem(&number, cutter);
                patterns.push(finish(vec![number], vec![vec![unit]], Must::Stand));
            }
            patterns
        }
    }
}

/// What a typed word finds besides itself.
pub(super) fn widened(typed: &str, cutter: &mut Cutter) -> Option<Widened> {
    let mut forms = Vec::new();
    for pattern in word(typed, cutter) {
        let text = pattern.texts.concat().trim().to_owned();
        if text != typed && !forms.contains(&text) {
            forms.push(text);
        }
    }
    (!forms.is_empty()).then(|| Widened { typed: typed.to_owned(), forms })
}

/// What a quoted phrase looks like: its letters in this order.
pub(super) fn phrase(typed: &str, cutter: &mut Cutter) -> Pattern {
    let typed = composed(typed);
    let pieces = pieces(&typed);
    Pattern { parts: vec![units(&pieces, cutter)], texts: vec![text(&pieces)], must: Must::Read, before: None, after: None }
}

/// A Hangul piece behind a Latin word, without particles and endings.
fn kept(tail: &[char]) -> &[char] {
    if particle::is(tail) {
        return &[];
    }
    let path = super::lexicon::Lattice::new(tail, None).path();
    let function = |kind: Kind| matches!(kind, Kind::Particle | Kind::Ending | Kind::Derived);
    let end = path.iter().rposition(|node| !function(node.entry.kind)).map_or(0, |last| path[last].to);
    let end =
        if path.iter().take_while(|node| node.to <= end).all(|node| node.entry.kind.nominal()) { end } else { tail.len() };
    &tail[..end]
}

fn units(pieces: &[Piece], cutter: &mut Cutter) -> Vec<Unit> {
    let units = pieces.iter().flat_map(|piece| match piece {
        Piece::Hangul(run) | Piece::Dense(run) => run.iter().copied().map(syllable).collect(),
        Piece::Word(word) => vec![english::stem(word, cutter)],
    });
    units.collect()
}

/// The pieces again as text; words stay apart.
fn text(pieces: &[Piece]) -> String {
    let mut text = String::new();
    for piece in pieces {
        match piece {
            Piece::Hangul(run) | Piece::Dense(run) => text.extend(run),
            Piece::Word(word) => {
                text.push(' ');
                text.push_str(word);
            }
        }
    }
    text
}

fn pieces(typed: &str) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = Vec::new();
    Cutter::for_queries().atoms(typed, &mut |atom| {
        let text = &typed[atom.from..atom.to];
        if atom.unit >> 63 == 1 {
            return pieces.push(Piece::Word(text.to_owned()));
        }
        let Some(char) = u32::try_from(atom.unit).ok().and_then(char::from_u32) else { return };
        match pieces.last_mut() {
            Some(Piece::Hangul(run)) if hangul::is(char) && !atom.apart => run.push(char),
            Some(Piece::Dense(run)) if !hangul::is(char) => run.push(char),
            _ if hangul::is(char) => pieces.push(Piece::Hangul(vec![char])),
            _ => pieces.push(Piece::Dense(vec![char])),
        }
    });
    pieces
}
