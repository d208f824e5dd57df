//! Undoes the usual disguises of an insult: 시1발, 병.신, f*ck, 시 발 새 끼, ㅅㅣ발.

use std::ops::Range;

use super::normalise::compose_jamo;

/// A text without the disguises, and where each part of it stood.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Folded {
    /// What rules with `folded = true` read; lower-case.
    pub text: String,
    /// For each byte of `text`, the byte of the original.
    origins: Vec<u32>,
}

impl Folded {
    /// Where the bytes `found` of `text` stood in the original.
    pub fn origin(&self, original: &str, found: Range<usize>) -> Range<usize> {
        let at = |index: usize| self.origins.get(index).map_or(original.len(), |o| *o as usize);
        let start = at(found.start);
        let last = if found.is_empty() { start } else { at(found.end - 1) };
        let width = original[last..].chars().next().map_or(0, char::len_utf8);
        start..if found.is_empty() { start } else { last + width }
    }

    fn push(&mut self, c: char, origin: usize) {
        let start = self.text.len();
        self.text.push(c);
        self.origins.extend(std::iter::repeat_n(origin as u32, self.text.len() - start));
    }
}

/// Removes digits and symbols inside words (a Latin one that stands for a letter becomes it) and spaces between single letters, joins loose jamo to
/// syllables and shortens a letter said three times or more.
///
/// `None` when there is nothing to undo, as in most texts.
pub fn fold_obfuscation(text: &str) -> Option<Folded> {
    if !disguised(text) {
        return None;
    }
    let chars: Vec<(usize, char)> = text.char_indices().collect();
    let kind = |i: usize| chars.get(i).map_or(Kind::Space, |(_, c)| Kind::of(*c));
    let mut folded = Folded::default();
    let mut i = 0;
    while i < chars.len() {
        let (origin, c) = chars[i];
        let after_letter = i > 0 && kind(i - 1) == Kind::Letter;
        match kind(i) {
            Kind::Letter => {
                let run = chars[i..].iter().take_while(|(_, next)| *next == c).count();
                let kept = if run >= 3 { 1 } else { run };
                for (origin, c) in &chars[i..i + kept] {
                    folded.push(c.to_ascii_lowercase(), *origin);
                }
                i += run;
            }
            // A disguise is short; a longer run is a separator that people mean.
            Kind::Symbol => {
                let run = (i..chars.len()).take_while(|j| kind(*j) == Kind::Symbol).count();
                let disguise = after_letter && run <= 3 && kind(i + run) == Kind::Letter;
                let latin = |at: usize| chars.get(at).is_some_and(|(_, c)| c.is_ascii_alphabetic());
                for (origin, c) in &chars[i..i + run] {
                    match leet(*c) {
                        Some(letter) if disguise && run == 1 && latin(i - 1) && latin(i + 1) => folded.push(letter, *origin),
                        _ if disguise => {}
                        _ => folded.push(*c, *origin),
                    }
                }
                i += run;
            }
            Kind::Space => {
                let single = |at: usize, side: usize| kind(at) == Kind::Letter && kind(side) == Kind::Space;
                let alone = i > 0 && single(i - 1, i.wrapping_sub(2)) && single(i + 1, i + 2);
                if !alone {
                    folded.push(c, origin);
                }
                i += 1;
            }
        }
    }
    Some(join_jamo(folded))
}

/// Could folding change anything but the case?
fn disguised(text: &str) -> bool {
    let (mut before, mut kept, mut run) = (' ', ' ', 0);
    let mut word = 0;
    for c in text.chars() {
        run = if c == before { run + 1 } else { 1 };
        match Kind::of(c) {
            Kind::Letter => {
                let glued = Kind::of(before) == Kind::Symbol && Kind::of(kept) == Kind::Letter;
                if glued || run >= 3 || matches!(c, 'ㅏ'..='ㅣ') {
                    return true;
                }
                word += 1;
                kept = c;
            }
            Kind::Space if word == 1 => return true,
            Kind::Space => (word, kept) = (0, ' '),
            Kind::Symbol => {}
        }
        before = c;
    }
    false
}

/// The letter that a digit or symbol stands for within a Latin word.
fn leet(c: char) -> Option<char> {
    Some(match c {
        '0' => 'o',
        '1' | '!' | '|' => 'i',
        '3' => 'e',
        '4' | '@' => 'a',
        '5' | '$' => 's',
        _ => return None,
    })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Letter,
    Symbol,
    Space,
}

impl Kind {
    fn of(c: char) -> Kind {
        match c {
            // The usual characters first: the tables of Unicode are slow.
            '가'..='힣' | 'a'..='z' | 'A'..='Z' => Kind::Letter,
            ' ' | '\t'..='\r' => Kind::Space,
            '\0'..='\u{7f}' => Kind::Symbol,
            _ if c.is_whitespace() => Kind::Space,
            _ if c.is_alphabetic() => Kind::Letter,
            _ => Kind::Symbol,
        }
    }
}

/// Keyboard letters that make syllables, joined.
fn join_jamo(folded: Folded) -> Folded {
    let loose = |c: char| matches!(c, 'ㄱ'..='ㅣ');
    if !folded.text.chars().any(|c| matches!(c, 'ㅏ'..='ㅣ')) {
        return folded;
    }
    let mut joined = Folded::default();
    let (mut letters, mut origins, mut out) = (Vec::new(), Vec::new(), String::new());
    for (index, c) in folded.text.char_indices().chain([(folded.text.len(), ' ')]) {
        if loose(c) {
            letters.push(c);
            origins.push(folded.origins[index] as usize);
            continue;
        }
        if !letters.is_empty() {
            let count = letters.len();
            compose_jamo(&mut letters, &mut out);
            let parts = out.chars().count().max(1);
            for (part, c) in out.drain(..).enumerate() {
                joined.push(c, origins[(part * count / parts).min(count - 1)]);
            }
            origins.clear();
        }
        if index < folded.text.len() {
            joined.push(c, folded.origins[index] as usize);
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disguises_fall() {
        for (from, to) in [
            ("시1발", "시발"),
            ("병.신", "병신"),
            ("f*ck YOU", "fck you"),
            ("sh1t b!tch d1e", "shit bitch die"),
            ("시 발 새 끼", "시발새끼"),
            ("ㅅㅣ발", "시발"),
            ("ㅅㅂ", "ㅅㅂ"),
            ("fuuuuck", "fuck"),
            ("씨@@발", "씨발"),
            ("역시 발매일", "역시 발매일"),
            ("배송이 3일째", "배송이 3일째"),
            ("good", "good"),
            ("", ""),
            ("끝 - 시작", "끝 - 시작"),
        ] {
            let folded = fold_obfuscation(from).map_or(from.to_ascii_lowercase(), |folded| folded.text);
            assert_eq!(folded, to, "{from}");
        }
    }

    #[test]
    fn what_was_found_is_shown_as_it_was_written() {
        for (text, word, shown) in [
            ("야 시1발 뭐", "시발", "시1발"),
            ("you f*ck off", "fck", "f*ck"),
            ("와 ㅅㅣ발", "시발", "ㅅㅣ발"),
            ("a b", "ab", "a b"),
        ] {
            let folded = fold_obfuscation(text).unwrap();
            let start = folded.text.find(word).unwrap();
            assert_eq!(&text[folded.origin(text, start..start + word.len())], shown);
        }
        assert_eq!(Folded::default().origin("", 0..0), 0..0);
    }
}
