//! How text becomes searchable tokens: 2-grams with positions for Korean, Chinese and Japanese, words for the rest.
//!
//! A run of Hangul, Han or Kana gives its first syllable (so that one-syllable words are found) and every
//! pair of neighbours; tantivy's own n-grams have no positions, so a word could not be a phrase of them.
//! A Latin or digit run is one token, lower-cased, English words by their stem. Runs end where the script
//! changes: `쿠폰WELCOME10을` is 쿠폰, `welcome10`, 을. A syllable takes one position and a word
//! [`WORD`], spaces take none, so "고객 센터" typed as a phrase also finds 고객센터.

use std::borrow::Cow;

use tantivy::tokenizer::{Language, RawTokenizer, Stemmer, TextAnalyzer, Token, TokenStream, Tokenizer};
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

/// Name and version of this cutting; an index made by another is rebuilt.
pub(super) const ANALYZER: &str = "cjk2/1";

/// Positions that a Latin word takes; a Korean word has about as many syllables.
pub(super) const WORD: u32 = 4;

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

/// Cuts text into tokens, for the index, the tail, the query and the snippet alike.
#[derive(Clone)]
pub(super) struct Cutter {
    stemmer: TextAnalyzer,
    /// Also give the first syllable of a longer run; queries leave it out.
    firsts: bool,
}

impl Cutter {
    /// Cuts what is searched.
    pub(super) fn for_posts() -> Cutter {
        let stemmer = TextAnalyzer::builder(RawTokenizer::default()).filter(Stemmer::new(Language::English)).build();
        Cutter { stemmer, firsts: true }
    }

    /// Cuts what is searched for.
    pub(super) fn for_queries() -> Cutter {
        Cutter { firsts: false, ..Cutter::for_posts() }
    }

    /// The tokens of `text`, which must be [`composed`].
    pub(super) fn cut<'a>(&'a mut self, text: &'a str) -> Cuts<'a> {
        Cuts { cutter: self, text, at: 0, position: 0, pair: None, pending: false, token: Token::default() }
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

/// The tokens of one text.
pub(super) struct Cuts<'a> {
    cutter: &'a mut Cutter,
    text: &'a str,
    /// Byte at which the next character begins.
    at: usize,
    /// Position of the next character.
    position: u32,
    /// The last character of an unfinished dense run and where it begins.
    pair: Option<(char, usize)>,
    /// The first syllable of the run has been read but not given.
    pending: bool,
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

    fn give(&mut self, from: usize, to: usize, position: u32) {
        self.token.offset_from = from;
        self.token.offset_to = to;
        self.token.position = position as usize;
    }

    /// The next token of a dense run whose last character is `last`; `None` when the run is over.
    fn next_in_run(&mut self, (last, from): (char, usize)) -> bool {
        let next = self.peek().filter(|(_, script, _)| *script == Script::Dense);
        if std::mem::take(&mut self.pending) && (self.cutter.firsts || next.is_none()) {
            self.token.text.clear();
            self.token.text.push(last);
            self.give(from, self.at, self.position - 1);
            return true;
        }
        let Some((char, _, end)) = next else {
            self.pair = None;
            return false;
        };
        self.token.text.clear();
        self.token.text.push(last);
        self.token.text.push(char);
        self.give(from, end, self.position - 1);
        self.pair = Some((char, self.at));
        self.at = end;
        self.position += 1;
        true
    }

    fn word(&mut self) {
        let from = self.at;
        let (mut length, mut english) = (0, true);
        self.token.text.clear();
        while let Some((char, Script::Word, end)) = self.peek() {
            if length < MAX_RUN {
                self.token.text.push(char);
            }
            english &= char.is_ascii_lowercase();
            length += 1;
            self.at = end;
        }
        if english && length > 2 {
            let word = std::mem::take(&mut self.token.text);
            let mut stem = self.cutter.stemmer.token_stream(&word);
            if stem.advance() {
                self.token.text.push_str(&stem.token().text);
            }
        }
        self.give(from, self.at, self.position);
        self.position += WORD;
    }
}

impl TokenStream for Cuts<'_> {
    fn advance(&mut self) -> bool {
        if let Some(pair) = self.pair
            && self.next_in_run(pair)
        {
            return true;
        }
        while let Some((char, script, end)) = self.peek() {
            match script {
                Script::None => self.at = end,
                Script::Word => {
                    self.word();
                    return true;
                }
                Script::Dense => {
                    let from = std::mem::replace(&mut self.at, end);
                    self.position += 1;
                    self.pending = true;
                    self.pair = Some((char, from));
                    return self.next_in_run((char, from));
                }
            }
        }
        false
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
            ("배송", "배@0 배송@0"),
            ("배송이 늦다", "배@0 배송@0 송이@1 늦@3 늦다@3"),
            ("이 앱", "이@0 앱@1"),
            ("쿠폰WELCOME10을", "쿠@0 쿠폰@0 welcome10@2 을@6"),
            ("아이폰15프로", "아@0 아이@0 이폰@1 15@3 프@7 프로@7"),
            ("Ｐａｙ１０", "pay10@0"),
            ("Delivery delayed", "deliveri@0 delay@4"),
            ("don't", "don@0 t@4"),
            ("ㅋㅋㅋ", "ㅋ@0 ㅋㅋ@0 ㅋㅋ@1"),
            ("東京タワー", "東@0 東京@0 京タ@1 タワ@2 ワー@3"),
            ("é É", "é@0 é@4"),
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
    fn queries_leave_out_the_first_syllable_of_longer_runs() {
        let table = [("배송이", "배송@0 송이@1"), ("앱", "앱@0"), ("앱 오류", "앱@0 오류@1"), ("S사", "s@0 사@4")];
        for (text, expected) in table {
            assert_eq!(cut(Cutter::for_queries(), text), expected, "{text}");
        }
    }

    #[test]
    fn offsets_lead_back_to_the_text() {
        let text = "새 앱ABC가 Crashed";
        let mut found = Vec::new();
        Cutter::for_posts().each(text, &mut |token| found.push(&text[token.offset_from..token.offset_to]));
        assert_eq!(found, ["새", "앱", "ABC", "가", "Crashed"]);
    }

    #[test]
    fn endless_runs_are_cut_alike_everywhere() {
        let long = "x1".repeat(500);
        assert_eq!(cut(Cutter::for_posts(), &long), cut(Cutter::for_queries(), &long));
        assert_eq!(cut(Cutter::for_posts(), &long), format!("{}@0", "x1".repeat(20)));
    }
}
