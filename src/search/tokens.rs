//! How text becomes searchable tokens: 2-grams with positions for Korean, Chinese and Japanese, words for the rest.
//!
//! A chain of Hangul, Han or Kana gives every pair of neighbours, also over a space, and the syllables with
//! which a word begins or the chain ends, so that one-syllable words are found. Tantivy's own n-grams have no
//! positions, so a word could not be a phrase of them. A Latin or digit run is one token, lower-cased,
//! English words by their stem. Chains end where the script changes or a sentence ends: `쿠폰WELCOME10을` is
//! 쿠폰, `welcome10`, 을. A syllable takes one position and a word [`WORD`], spaces take none, so 고객센터 and
//! 고객 센터 are the same pairs. Digits with hyphens between are also one token without them, so that 2024-1103-77 is
//! found as 2024110377.

use std::borrow::Cow;

use super::tail;
use tantivy::tokenizer::{Language, RawTokenizer, Stemmer, TextAnalyzer, Token, TokenStream, Tokenizer};
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

/// Name and version of this cutting; an index made by another is rebuilt.
pub(super) const ANALYZER: &str = "cjk2/3";

/// Positions that a Latin word takes; a Korean word has about as many syllables.
pub(super) const WORD: u32 = 4;

/// Fewest digits of a number that is also one token without its hyphens.
const MIN_DIGITS: usize = 7;

/// Longer runs are cut to this many characters, in the index and in the query alike.
const MAX_RUN: usize = 40;

/// The text with Hangul composed; Mac file names and some apps send it in pieces.
pub(super) fn composed(text: &str) -> Cow<'_, str> {
    let plain = |char: char| char.is_ascii() || ('가'..='힣').contains(&char);
    if text.chars().all(plain) || is_nfc_quick(text.chars()) == IsNormalized::Yes {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(text.nfc().collect())
    }
}

/// Without hyphens, if these are digits and single hyphens between them, not too few and not too many.
pub(super) fn unhyphenated(number: &str) -> Option<String> {
    let runs: Vec<&str> = number.split('-').collect();
    let digits = |run: &&str| !run.is_empty() && run.bytes().all(|byte| byte.is_ascii_digit());
    let joined = runs.concat();
    (runs.len() > 1 && runs.iter().all(digits) && (MIN_DIGITS..=MAX_RUN).contains(&joined.len())).then_some(joined)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Script {
    /// Hangul, Han, Kana: no spaces to rely on.
    Dense,
    /// Letters and digits of every other script.
    Word,
    /// Everything between.
    None,
}

/// The character as it is indexed, and its script.
fn folded(char: char) -> (char, Script) {
    let char = match char {
        'a'..='z' | '0'..='9' => return (char, Script::Word),
        'A'..='Z' => return (char.to_ascii_lowercase(), Script::Word),
        '\0'..='\x7f' => return (char, Script::None),
        '가'..='힣' => return (char, Script::Dense),
        // Full-width forms of ASCII.
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(char) - 0xfee0).unwrap_or(char),
        _ => char,
    };
    match char {
        '\u{1100}'..='\u{11ff}' // Hangul in pieces
        | '\u{3130}'..='\u{318f}' // ㅋㅋ, ㅠㅠ
        | '\u{3005}'..='\u{3007}' | '\u{3041}'..='\u{3096}' | '\u{30a1}'..='\u{30fa}' | '\u{30fc}'..='\u{30fe}'
        | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{323af}'
        | '\u{ff66}'..='\u{ff9f}' => (char, Script::Dense),
        _ if char.is_alphanumeric() => (char.to_lowercase().next().unwrap_or(char), Script::Word),
        _ => (char, Script::None),
    }
}

/// A syllable or a word of a text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Atom {
    /// The syllable's code, or the word's key with the highest bit set.
    pub(super) unit: u64,
    /// Its first byte.
    pub(super) from: usize,
    /// The byte behind it.
    pub(super) to: usize,
    /// A space or a sign stands in front of it.
    pub(super) apart: bool,
    /// What stands in front of it ends a sentence or a thought.
    pub(super) hard: bool,
}

/// Cuts text into tokens, for the index, the tail, the query and the snippet alike.
#[derive(Clone)]
pub(super) struct Cutter {
    stemmer: TextAnalyzer,
    /// Also give syllables alone where a word begins and where a chain ends, and numbers without their hyphens;
    /// queries leave them out.
    singles: bool,
}

impl Cutter {
    /// Cuts what is searched.
    pub(super) fn for_posts() -> Cutter {
        let stemmer = TextAnalyzer::builder(RawTokenizer::default()).filter(Stemmer::new(Language::English)).build();
        Cutter { stemmer, singles: true }
    }

    /// Cuts what is searched for.
    pub(super) fn for_queries() -> Cutter {
        Cutter { singles: false, ..Cutter::for_posts() }
    }

    /// The tokens of `text`, which must be [`composed`].
    pub(super) fn cut<'a>(&'a mut self, text: &'a str) -> Cuts<'a> {
        let mut cuts =
            Cuts { cutter: self, text, at: 0, position: 0, last: None, next: None, step: Step::Done, token: Token::default() };
        cuts.next = cuts.read();
        cuts
    }

    /// Calls `sink` with each syllable and each word of `text`, which must be [`composed`].
    pub(super) fn atoms(&mut self, text: &str, sink: &mut dyn FnMut(Atom)) {
        let mut cuts = self.cut(text);
        while let Some(Letters { char, mut atom }) = cuts.next {
            if char.is_none() {
                cuts.word(atom);
                atom.unit = tail::key(&cuts.token.text) | 1 << 63;
            }
            sink(atom);
            cuts.next = cuts.read();
        }
    }

    /// Calls `sink` with each token of any text.
    pub(super) fn each(&mut self, text: &str, sink: &mut dyn FnMut(&Token)) {
        self.cut(&composed(text)).process(sink);
    }
}

impl Tokenizer for Cutter {
    type TokenStream<'a> = Cuts<'a>;

    fn token_stream<'a>(&'a mut self, text: &'a str) -> Cuts<'a> {
        self.cut(text)
    }
}

/// A syllable, or a word of another script.
#[derive(Clone, Copy)]
struct Letters {
    char: Option<char>,
    atom: Atom,
}

impl Letters {
    /// It goes on where `last` ended, over a space at most.
    fn chained(&self, last: Option<Letters>) -> bool {
        self.char.is_some() && !self.atom.hard && last.is_some_and(|last| last.char.is_some())
    }

    /// A word begins with it.
    fn begins(&self, last: Option<Letters>) -> bool {
        self.atom.apart || !self.chained(last)
    }
}

/// What is given next of the letters that were read last.
#[derive(Clone, Copy)]
enum Step {
    Pair,
    End,
    /// The number that begins with the word.
    Number,
    Done,
}

/// The tokens of one text.
pub(super) struct Cuts<'a> {
    cutter: &'a mut Cutter,
    text: &'a str,
    /// Byte at which the next character begins.
    at: usize,
    /// Position of the next letters.
    position: u32,
    last: Option<Letters>,
    next: Option<Letters>,
    step: Step,
    token: Token,
}

impl Cuts<'_> {
    /// Where the next word would stand, once all tokens are read.
    pub(super) fn width(&self) -> u32 {
        self.position
    }

    fn peek(&self) -> Option<(char, Script, usize)> {
        let char = self.text.get(self.at..)?.chars().next()?;
        let (folded, script) = folded(char);
        Some((folded, script, self.at + char.len_utf8()))
    }

    /// The next syllable or word.
    fn read(&mut self) -> Option<Letters> {
        let before = self.at;
        let (char, script) = loop {
            let (char, script, next) = self.peek()?;
            if script != Script::None {
                break (char, script);
            }
            self.at = next;
        };
        let from = self.at;
        let between = &self.text[before..from];
        let apart = before == 0 || !between.is_empty();
        let hard = !between.chars().all(char::is_whitespace)
            && !matches!(between, "-" | "/" | "." | "," | ":" | "_" | "·" | "'" | "&" | "~");
        while let Some((_, found, next)) = self.peek()
            && found == script
        {
            self.at = next;
            if script == Script::Dense {
                break;
            }
        }
        let atom = Atom { unit: u64::from(u32::from(char)), from, to: self.at, apart, hard };
        Some(Letters { char: (script == Script::Dense).then_some(char), atom })
    }

    fn give(&mut self, from: usize, to: usize, position: u32) -> bool {
        self.token.offset_from = from;
        self.token.offset_to = to;
        self.token.position = position as usize;
        true
    }

    /// The byte behind the number with hyphens that begins with `atom`.
    fn number(&self, atom: Atom) -> Option<usize> {
        // Each run of digits and hyphens is read once, from its beginning.
        if self.text[..atom.from].ends_with('-') {
            return None;
        }
        let digits = self.text.get(atom.from..)?;
        let length = digits.find(|char: char| !char.is_ascii_digit() && char != '-').unwrap_or(digits.len());
        let number = digits[..length].trim_end_matches('-');
        if !number.contains('-') {
            return None;
        }
        let next = digits[number.len()..].chars().next();
        let whole = next.is_none_or(|char| folded(char).1 != Script::Word);
        (whole && unhyphenated(number).is_some()).then_some(atom.from + number.len())
    }

    /// Folds and stems a word into the token.
    fn word(&mut self, atom: Atom) {
        let mut english = true;
        let mut length = 0;
        self.token.text.clear();
        for char in self.text[atom.from..atom.to].chars() {
            let (char, _) = folded(char);
            if length < MAX_RUN {
                self.token.text.push(char);
            }
            english &= char.is_ascii_lowercase();
            length += 1;
        }
        if english && length > 2 {
            let word = std::mem::take(&mut self.token.text);
            let mut stem = self.cutter.stemmer.token_stream(&word);
            if stem.advance() {
                self.token.text.push_str(&stem.token().text);
            }
        }
    }
}

impl TokenStream for Cuts<'_> {
    fn advance(&mut self) -> bool {
        loop {
            let joined = self.next.filter(|next| next.chained(self.last));
            match (std::mem::replace(&mut self.step, Step::Done), self.last) {
                (Step::Pair, Some(Letters { char: Some(char), atom })) => {
                    if let Some(Letters { char: Some(next), atom: other }) = joined {
                        self.token.text.clear();
                        self.token.text.extend([char, next]);
                        return self.give(atom.from, other.to, self.position - 1);
                    }
                    self.step = Step::End;
                }
                (Step::End, Some(Letters { char: Some(char), atom })) if self.cutter.singles => {
                    self.token.text.clear();
                    self.token.text.push(char);
                    return self.give(atom.from, atom.to, self.position - 1);
                }
                (Step::Number, Some(Letters { atom, .. })) => {
                    let Some(to) = self.number(atom) else { continue };
                    self.token.text.clear();
                    self.token.text.extend(self.text[atom.from..to].split('-'));
                    return self.give(atom.from, to, self.position - WORD);
                }
                _ => {
                    let Some(letters) = self.next else { return false };
                    let begins = letters.begins(self.last);
                    let first = !letters.chained(self.last);
                    (self.last, self.next) = (Some(letters), self.read());
                    let Letters { char, atom } = letters;
                    let Some(char) = char else {
                        self.word(atom);
                        self.position += WORD;
                        if self.cutter.singles && self.token.text.bytes().all(|byte| byte.is_ascii_digit()) {
                            self.step = Step::Number;
                        }
                        return self.give(atom.from, atom.to, self.position - WORD);
                    };
                    self.position += 1;
                    let joined = self.next.is_some_and(|next| next.chained(self.last));
                    // A syllable that begins a word and ends a chain is given once.
                    self.step = if begins && !joined { Step::Done } else { Step::Pair };
                    if begins && (self.cutter.singles || first && !joined) {
                        self.token.text.clear();
                        self.token.text.push(char);
                        return self.give(atom.from, atom.to, self.position - 1);
                    }
                }
            }
        }
    }

    fn token(&self) -> &Token {
        &self.token
    }

    fn token_mut(&mut self) -> &mut Token {
        &mut self.token
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(mut cutter: Cutter, text: &str) -> String {
        let mut out = Vec::new();
        cutter.each(text, &mut |token| out.push(format!("{}@{}", token.text, token.position)));
        out.join(" ")
    }

    #[test]
    fn posts_are_cut_into_pairs_and_words() {
        let table = [
            ("", ""),
            ("!!! ... 😡", ""),
            ("앱", "앱@0"),
            ("배송", "배@0 배송@0 송@1"),
            ("배송이 늦다", "배@0 배송@0 송이@1 이늦@2 늦@3 늦다@3 다@4"),
            ("배송. 이", "배@0 배송@0 송@1 이@2"),
            ("이 앱", "이@0 이앱@0 앱@1"),
            ("쿠폰WELCOME10을", "쿠@0 쿠폰@0 폰@1 welcome10@2 을@6"),
            ("아이폰15프로", "아@0 아이@0 이폰@1 폰@2 15@3 프@7 프로@7 로@8"),
            ("Ｐａｙ１０", "pay10@0"),
            ("Delivery delayed", "deliveri@0 delay@4"),
            ("don't", "don@0 t@4"),
            ("ㅋㅋㅋ", "ㅋ@0 ㅋㅋ@0 ㅋㅋ@1 ㅋ@2"),
            ("東京タワー", "東@0 東京@0 京タ@1 タワ@2 ワー@3 ー@4"),
            ("é É", "é@0 é@4"),
            ("2024-1103-77", "2024@0 2024110377@0 1103@4 77@8"),
            ("번호 2024-1103-77번", "번@0 번호@0 호@1 2024@2 2024110377@2 1103@6 77@10 번@14"),
            ("1-2 2024-1103-77a 12-345", "1@0 2@4 2024@8 1103@12 77a@16 12@20 345@24"),
        ];
        for (text, expected) in table {
            assert_eq!(cut(Cutter::for_posts(), text), expected, "{text}");
        }
    }

    #[test]
    fn hangul_in_pieces_is_cut_like_hangul() {
        let pieces: String = "배송이 늦다".nfd().collect();
        assert_ne!(pieces, "배송이 늦다");
        assert_eq!(cut(Cutter::for_posts(), &pieces), cut(Cutter::for_posts(), "배송이 늦다"));
    }

    #[test]
    fn queries_leave_out_the_single_syllables_of_longer_runs() {
        let table = [("배송이", "배송@0 송이@1"), ("앱", "앱@0"), ("앱 오류", "앱오@0 오류@1"), ("S사", "s@0 사@4")];
        for (text, expected) in table {
            assert_eq!(cut(Cutter::for_queries(), text), expected, "{text}");
        }
    }

    #[test]
    fn offsets_lead_back_to_the_text() {
        let text = "새 앱ABC가 Crashed";
        let mut found = Vec::new();
        Cutter::for_posts().each(text, &mut |token| found.push(&text[token.offset_from..token.offset_to]));
        assert_eq!(found, ["새", "새 앱", "앱", "ABC", "가", "Crashed"]);
    }

    #[test]
    fn endless_runs_are_cut_alike_everywhere() {
        let long = "x1".repeat(500);
        assert_eq!(cut(Cutter::for_posts(), &long), cut(Cutter::for_queries(), &long));
        assert_eq!(cut(Cutter::for_posts(), &long), format!("{}@0", "x1".repeat(20)));
    }
}
