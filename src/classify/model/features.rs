//! What the model sees of a text: hashed pieces of words, endings, openings and shape.
//!
//! Names, addresses and numbers are one sign each, so that a source's habits teach nothing. Every piece
//! knows where it stood, so that the strongest can be shown as words.

use std::ops::Range;

use super::{LABELS, Signs};
use crate::text::url_at;

/// Changes whenever a text yields other pieces than before: a model reads only those it was trained on.
pub(super) const VERSION: u32 = 2;

/// What each kind counts beside the others, in the order of [`Kind`].
pub(super) const FACTORS: [f32; Kind::COUNT] = [1.0, 1.0, 1.0, 0.5, 0.7];

/// From so many pieces on a kind counts no more: a long story is not surer than a short one.
pub(super) const ENOUGH: [f32; Kind::COUNT] = [500.0, 120.0, 60.0, f32::MAX, f32::MAX];

/// From this sum on, rules are said to see a label.
const SEEN: f32 = 0.5;

/// Pieces are weighed by their kind: each kind of a text has the same length, whatever the text's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    /// Letters within a word.
    Letters,
    /// Words and neighbours.
    Words,
    /// How sentences begin and end.
    Edges,
    /// Length, marks, thread.
    Shape,
    /// Rules that fired.
    Rules,
}

impl Kind {
    pub(super) const COUNT: usize = 5;
}

/// One piece.
#[derive(Clone, Copy, Debug)]
pub(super) struct Piece {
    pub(super) hash: u32,
    pub(super) kind: Kind,
    /// Bytes of the text.
    pub(super) from: u32,
    pub(super) to: u32,
}

/// Signs that stand for whole things.
const URL: char = '\u{e000}';
const NAME: char = '\u{e001}';
const MASK: char = '\u{e002}';
const DIGIT: char = '0';

/// A letter as the model reads it.
#[derive(Clone, Copy)]
struct Letter {
    c: char,
    from: u32,
    to: u32,
}

/// A run of letters of one class.
#[derive(Clone, Copy)]
struct Token {
    from: usize,
    to: usize,
    word: bool,
}

/// Buffers that are used again for the next text.
#[derive(Default)]
pub(super) struct Reader {
    letters: Vec<Letter>,
    tokens: Vec<Token>,
    pub(super) pieces: Vec<Piece>,
}

impl Reader {
    /// Reads a text and all that is known of it into `pieces`.
    pub(super) fn read_all(&mut self, text: &str, signs: &Signs<'_>) {
        self.pieces.clear();
        if let Some(folded) = signs.folded {
            self.spell(folded);
            self.cut();
            self.words();
            // Where these stood in the text as it was written is not known.
            for piece in &mut self.pieces {
                (piece.from, piece.to) = (0, 0);
            }
        }
        self.read(text);
        for rule in signs.rules {
            self.sign(Kind::Rules, rule);
        }
        // Which labels the rules see together, and whether there is a question mark: a fault with a question is neither alone.
        let seen = (0..LABELS).filter(|label| signs.nudge[*label] >= SEEN).fold(0, |seen, label| seen | 1 << label);
        let asks = u32::from(self.letters.iter().any(|letter| letter.c == '?'));
        for sign in [seen, 1 << LABELS | asks << (LABELS + 1) | seen] {
            self.pieces.push(Piece { hash: finish(step(seed(60), sign)), kind: Kind::Rules, from: 0, to: 0 });
        }
        if let Some(label) = signs.answers {
            self.sign(Kind::Shape, label.as_str());
        }
    }

    /// How many pieces there are of each kind.
    pub(super) fn counts(&self) -> [u32; Kind::COUNT] {
        let mut counts = [0; Kind::COUNT];
        self.pieces.iter().for_each(|piece| counts[piece.kind as usize] += 1);
        counts
    }

    /// Where the words of the text stand.
    pub(super) fn words_of(&self) -> impl Iterator<Item = Range<usize>> {
        let place = |token: &Token| self.letters[token.from].from as usize..self.letters[token.to - 1].to as usize;
        self.tokens.iter().filter(|token| token.word).map(place)
    }

    /// Adds the pieces of `text` itself.
    fn read(&mut self, text: &str) {
        self.spell(text);
        self.cut();
        self.words();
        self.edges();
        self.shape(text);
    }

    /// Adds a sign that does not come from the letters: a rule, the thread.
    fn sign(&mut self, kind: Kind, name: &str) {
        let hash = name.bytes().fold(seed(200 + kind as u32), |hash, b| step(hash, u32::from(b)));
        self.pieces.push(Piece { hash: finish(hash), kind, from: 0, to: 0 });
    }

    /// The text in lower case, with one sign for each name, address or number, and no letter said more than twice.
    fn spell(&mut self, text: &str) {
        self.letters.clear();
        let mut skip_to = 0;
        for (at, c) in text.char_indices() {
            if at < skip_to {
                continue;
            }
            let mut end = at + c.len_utf8();
            let c = match c {
                'h' | 'H' | 'w' | 'W' if let Some(length) = url_at(&text[at..]) => {
                    end = at + length;
                    URL
                }
                '@' => {
                    let length: usize =
                        text[at + 1..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').map(char::len_utf8).sum();
                    end = at + 1 + length;
                    if length == 0 { '@' } else { NAME }
                }
                '[' if let Some(length) = mask_at(&text[at..]) => {
                    end = at + length;
                    MASK
                }
                '0'..='9' => {
                    end = at + text[at..].bytes().take_while(u8::is_ascii_digit).count();
                    DIGIT
                }
                'A'..='Z' => c.to_ascii_lowercase(),
                '\u{2018}' | '\u{2019}' | '`' => '\'',
                '\u{201c}' | '\u{201d}' => '"',
                c if c.is_whitespace() => {
                    if c == '\n' {
                        '\n'
                    } else {
                        ' '
                    }
                }
                c => c,
            };
            skip_to = end;
            let (from, to) = (at as u32, end as u32);
            let count = self.letters.len();
            if c == ' ' && count > 0 && self.letters[count - 1].c == ' ' {
                continue;
            }
            if count > 1 && self.letters[count - 1].c == c && self.letters[count - 2].c == c {
                self.letters[count - 1].to = to;
                continue;
            }
            self.letters.push(Letter { c, from, to });
        }
    }

    /// Words and marks.
    fn cut(&mut self) {
        self.tokens.clear();
        let mut at = 0;
        while at < self.letters.len() {
            let c = self.letters[at].c;
            if c == ' ' {
                at += 1;
                continue;
            }
            let word = wordy(c);
            let mut end = at + 1;
            if word {
                while end < self.letters.len() {
                    let next = self.letters[end].c;
                    let apostrophe = next == '\'' && self.letters.get(end + 1).is_some_and(|l| l.c.is_ascii_alphabetic());
                    if !(wordy(next) && script(next) == script(c) || apostrophe) {
                        break;
                    }
                    end += 1;
                }
            } else {
                while end < self.letters.len() && self.letters[end].c == c {
                    end += 1;
                }
            }
            self.tokens.push(Token { from: at, to: end, word });
            at = end;
        }
    }

    fn push(&mut self, hash: u32, kind: Kind, from: usize, to: usize) {
        let (from, to) = (self.letters[from].from, self.letters[to - 1].to);
        self.pieces.push(Piece { hash: finish(hash), kind, from, to });
    }

    fn hash(&self, start: u32, from: usize, to: usize) -> u32 {
        self.letters[from..to].iter().fold(start, |hash, letter| step(hash, letter.c as u32))
    }

    fn words(&mut self) {
        let (mut before, mut before2): (Option<Token>, Option<Token>) = (None, None);
        for index in 0..self.tokens.len() {
            let token = self.tokens[index];
            let Token { from, to, .. } = token;
            let whole = self.hash(seed(1), from, to);
            self.push(whole, Kind::Words, from, to);
            if let Some(b) = before {
                let pair = self.hash(step(self.hash(seed(2), b.from, b.to), 32), from, to);
                self.push(pair, Kind::Words, b.from, to);
                if token.word && hangul(self.letters[from].c) && hangul(self.letters[b.to - 1].c) {
                    // Endings and particles outlive the nouns before them.
                    let left = b.from.max(b.to.saturating_sub(2));
                    let right = to.min(from + 2);
                    let pair = self.hash(step(self.hash(seed(3), left, b.to), 32), from, right);
                    self.push(pair, Kind::Words, left, right);
                    let close = self.hash(step(self.hash(seed(4), left, b.to), 32), from.max(to.saturating_sub(2)), to);
                    self.push(close, Kind::Words, left, to);
                }
                if let Some(bb) = before2 {
                    let skip = self.hash(step(self.hash(seed(5), bb.from, bb.to), 33), from, to);
                    self.push(skip, Kind::Words, bb.from, to);
                    if !hangul(self.letters[from].c) {
                        let three = self.hash(step(pair, 34), bb.from, bb.to);
                        self.push(three, Kind::Words, bb.from, to);
                    }
                }
            }
            if token.word {
                self.letters_of(token);
                before2 = before;
                before = Some(token);
            } else if matches!(self.letters[from].c, '.' | '!' | '?' | '\n') {
                before2 = before;
                before = Some(token);
            }
        }
    }

    /// Pieces of a word, with its edges.
    fn letters_of(&mut self, Token { from, to, .. }: Token) {
        let korean = hangul(self.letters[from].c);
        let (least, most) = if korean { (1, 4) } else { (3, 5) };
        // Both edges count as a letter each.
        let end = to - from + 2;
        let letter = |reader: &Reader, at: usize| match at {
            0 => '<',
            at if at == end - 1 => '>',
            at => reader.letters[from + at - 1].c,
        };
        for start in 0..end {
            let (mut hash, mut stem) = (seed(6), seed(7));
            for length in 1..=most.min(end - start) {
                let c = letter(self, start + length - 1);
                hash = step(hash, c as u32);
                let open = step(stem, open(c));
                stem = step(stem, c as u32);
                if length < least || length == 1 && (start == 0 || start == end - 1) {
                    continue;
                }
                let first = from + start.saturating_sub(1);
                let last = (from + start + length - 1).min(to);
                self.push(hash, Kind::Letters, first, last.max(first + 1));
                if korean && (2..=3).contains(&length) {
                    // 됐, 된 and 되 are one stem.
                    self.push(open, Kind::Letters, first, last.max(first + 1));
                }
            }
        }
    }

    fn edges(&mut self) {
        let mut start = 0;
        let count = self.tokens.len();
        let last_word = self.tokens.iter().rposition(|t| t.word && !laugh(self.letters[t.from].c));
        for index in 0..count {
            let token = self.tokens[index];
            let c = self.letters[token.from].c;
            let stop = matches!(c, '.' | '!' | '?' | '\n' | '~' | '\u{2026}');
            if !stop && index + 1 < count {
                continue;
            }
            let end = if stop { index } else { index + 1 };
            let mark = if c == '?' {
                1
            } else if c == '!' {
                2
            } else {
                0
            };
            self.sentence(start, end, mark, last_word.is_some_and(|last| last < end && last >= start));
            start = index + 1;
        }
    }

    /// The sentence of these tokens; `mark` says what ends it.
    fn sentence(&mut self, start: usize, end: usize, mark: u32, last: bool) {
        let words = |reader: &Reader, at: usize| reader.tokens[at].word && !laugh(reader.letters[reader.tokens[at].from].c);
        let Some(first) = (start..end).find(|at| words(self, *at)) else { return };
        let Some(final_word) = (start..end).rev().find(|at| words(self, *at)) else { return };
        let mut hash = seed(20);
        for at in first..end.min(first + 3) {
            let token = self.tokens[at];
            hash = self.hash(step(hash, 32), token.from, token.to);
            self.push(hash, Kind::Edges, self.tokens[first].from, token.to);
        }
        let Token { from, to, .. } = self.tokens[final_word];
        let c = self.letters[to - 1].c;
        let places: &[u32] = if last { &[0, 1] } else { &[0] };
        for place in places {
            let base = step(seed(21), *place);
            let marked = step(step(seed(22), *place), mark);
            if hangul(c) {
                for length in 1..=4.min(to - from) {
                    let hash = self.hash(base, to - length, to);
                    self.push(hash, Kind::Edges, to - length, to);
                    if length <= 3 {
                        let hash = self.hash(marked, to - length, to);
                        self.push(hash, Kind::Edges, to - length, to);
                    }
                    // The syllable before loses its first sound: -ㄹ까, -ㄴ가, -ㅂ니다.
                    if length < to - from {
                        let before = self.letters[to - length - 1].c;
                        if ('가'..='힣').contains(&before) {
                            let rime = (before as u32 - 0xac00) % 588;
                            let hash =
                                step(self.hash(step(base, 77), to - length, to), if length == 1 { rime } else { rime % 28 });
                            self.push(hash, Kind::Edges, to - length - 1, to);
                        }
                    }
                }
                if ('가'..='힣').contains(&c) {
                    let rime = (c as u32 - 0xac00) % 588;
                    self.push(step(step(base, 78), rime), Kind::Edges, to - 1, to);
                    self.push(step(step(marked, 78), rime), Kind::Edges, to - 1, to);
                }
            } else {
                let hash = self.hash(base, from, to);
                self.push(hash, Kind::Edges, from, to);
                let token = self.tokens[first];
                let hash = self.hash(marked, token.from, token.to);
                self.push(hash, Kind::Edges, token.from, token.to);
            }
        }
    }

    fn shape(&mut self, text: &str) {
        let words = self.tokens.iter().filter(|t| t.word).count();
        let mut signs: [u32; 24] = [0; 24];
        let mut used = 0;
        let mut add = |sign: u32| {
            if used < signs.len() {
                signs[used] = sign;
                used += 1;
            }
        };
        add(1_000 + (words + 1).ilog2());
        let has = |wanted: char| self.letters.iter().any(|l| l.c == wanted);
        for (sign, c) in [
            (1, URL),
            (2, NAME),
            (3, MASK),
            (4, '?'),
            (5, '!'),
            (6, 'ㅋ'),
            (7, 'ㅠ'),
            (8, 'ㅎ'),
            (9, '~'),
            (10, '^'),
            (11, '#'),
            (12, '\n'),
            (13, '\u{2026}'),
            (14, '%'),
            (15, ':'),
        ] {
            if has(c) {
                add(sign);
            }
        }
        let end = self.letters.iter().rev().find(|l| !laugh(l.c) && !matches!(l.c, ' ' | '\n' | '~' | '.')).map(|l| l.c);
        add(match end {
            Some('?') => 30,
            Some('!') => 31,
            _ => 32,
        });
        let upper = text.bytes().filter(u8::is_ascii_uppercase).count();
        let lower = text.bytes().filter(u8::is_ascii_lowercase).count();
        if upper > 8 && upper > lower {
            add(40);
        }
        for sign in &signs[..used] {
            self.pieces.push(Piece { hash: finish(step(seed(40), *sign)), kind: Kind::Shape, from: 0, to: 0 });
        }
    }
}

/// Length of a mask such as `[phone]` or `[NAME]`.
fn mask_at(text: &str) -> Option<usize> {
    let name = text[1..].bytes().take(12).take_while(u8::is_ascii_alphabetic).count();
    (name > 1 && text[1 + name..].starts_with(']')).then_some(name + 2)
}

fn wordy(c: char) -> bool {
    match c {
        'a'..='z' | '가'..='힣' | 'ㄱ'..='ㅣ' | '0'..='9' | URL | NAME | MASK => true,
        '\0'..='\u{7f}' => false,
        c => c.is_alphanumeric(),
    }
}

/// Hangul, laughing jamo and all others are different scripts.
fn script(c: char) -> u8 {
    match c {
        'ㅋ' | 'ㅎ' | 'ㅠ' | 'ㅜ' => 2,
        '가'..='힣' | 'ㄱ'..='ㅣ' => 1,
        URL | NAME | MASK => 3,
        _ => 0,
    }
}

/// A syllable without its last consonant.
fn open(c: char) -> u32 {
    let c = c as u32;
    if (0xac00..=0xd7a3).contains(&c) { c - (c - 0xac00) % 28 } else { c }
}

fn hangul(c: char) -> bool {
    matches!(c, '가'..='힣' | 'ㄱ'..='ㅣ')
}

/// Laughing and weeping stand behind a sentence, not in it.
fn laugh(c: char) -> bool {
    matches!(c, 'ㅋ' | 'ㅎ' | 'ㅠ' | 'ㅜ' | NAME | URL | MASK)
}

fn seed(kind: u32) -> u32 {
    step(0x811c_9dc5, kind)
}

fn step(hash: u32, value: u32) -> u32 {
    (hash ^ value).wrapping_mul(0x0100_0193).rotate_left(5) ^ (hash >> 11)
}

/// Spreads the last letters over all bits.
fn finish(hash: u32) -> u32 {
    let hash = (hash ^ (hash >> 16)).wrapping_mul(0x7feb_352d);
    let hash = (hash ^ (hash >> 15)).wrapping_mul(0x846c_a68b);
    hash ^ (hash >> 16)
}
