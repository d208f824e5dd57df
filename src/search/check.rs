//! Is a place where the letters of an alternative stand really the word?
//!
//! The index finds posts by pairs of syllables; this looks at the text itself: whether the place begins and
//! ends where words do, by the lexicon where the letters alone do not tell. The same check marks what
//! matched in a snippet.

use std::{cell::RefCell, collections::HashMap, hash::BuildHasherDefault, ops::Range};

use tantivy::query::Bm25Weight;

use super::{
    korean::{self, Class, hangul, particle, verb},
    lexicon::{Kind, Lattice, Lexicon, MAX_RUN, Node},
    plan::PREFERRED,
    table::IdHasher,
    tokens::{Atom, Cutter},
};

/// How much dearer the reading with the word may be than the cheapest, by the number of its syllables.
const MARGIN: [i32; 4] = [0, 10, 60, 110];
/// The same where a word begins.
const FIRST_MARGIN: [i32; 4] = [0, 30, 160, 160];

/// Words that the lexicon or the eye takes for compounds of shorter ones.
const OPAQUE: [&str; 46] = [
    "배우자",
    "집단",
    "집중",
    "집착",
    "집회",
    "집행",
    "집계",
    "집합",
    "뇌물",
    "세뇌",
    "돈까스",
    "돈가스",
    "양돈",
    "기사회생",
    "영화제작",
    "영화제목",
    "과거사정리",
    "방법",
    "방향",
    "방송",
    "방금",
    "방문",
    "법칙",
    "차이",
    "차별",
    "꿈틀",
    "술래",
    "개월",
    "개인",
    "개선",
    "개발",
    "개봉",
    "개혁",
    "폰트",
    "칼로리",
    "앱솔루트",
    "아쉬워",
    "아쉬운",
    "아쉬울",
    "아쉬움",
    "아쉽",
    "며느리",
    "거느리",
    "비웃",
    "기웃",
    "끊임",
];

/// The same for stems of verbs.
const VERB_MARGIN: [i32; 3] = [0, 5, 90];
/// The same for stems in the middle of a word.
const INNER_MARGIN: [i32; 3] = [0, 0, 60];

/// What the lexicon is asked of a place; verbs of each shape and length follow.
const ASKED_NOUN: u32 = 0;
const ASKED_START: u32 = 1;
const ASKED_ADVERB: u32 = 2;
const ASKED_VERB: u32 = 3;

/// One syllable or word to find.
pub(super) type Unit = u64;

/// Something to look for in a text.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Pattern {
    /// Between the parts a particle and a space may stand.
    pub(super) parts: Vec<Vec<Unit>>,
    /// The same as text, for who looks them up by pairs.
    pub(super) texts: Vec<String>,
    pub(super) must: Must,
    /// A sign right before it: `#`, `@`.
    pub(super) before: Option<char>,
    /// A sign right behind it: `%`.
    pub(super) after: Option<char>,
}

/// A word to find.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Sought {
    /// What it may look like.
    pub(super) patterns: Vec<Pattern>,
    /// How it was typed, if posts that have it so rank before others.
    pub(super) typed: Option<Pattern>,
}

/// How a word stands in a text: how often, and whether as it was typed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Mark(pub(super) u8);

impl Mark {
    /// More often than this weighs no more.
    const MOST: u8 = 15;
    const EXACT: u8 = 128;

    pub(super) fn new(count: u8, exact: bool) -> Mark {
        Mark(count.min(Mark::MOST) | if exact { Mark::EXACT } else { 0 })
    }

    /// How much it weighs in a text of this length.
    pub(super) fn score(self, weight: &Bm25Weight, norm: u8) -> f32 {
        let preferred = if self.0 & Mark::EXACT == 0 { 1.0 } else { 1.0 + PREFERRED };
        weight.score(norm, u32::from(self.0 & Mark::MOST)) * preferred
    }
}

/// What the lexicon has said of words in other texts: it is asked the same again and again.
#[derive(Default)]
pub(super) struct Memo(RefCell<HashMap<i64, i32, BuildHasherDefault<IdHasher>>>);

impl Memo {
    /// What `weigh` says of a place in a run, asked for `what`.
    fn gap(&self, chars: &[char], (from, to): (usize, usize), what: u32, weigh: impl FnOnce() -> i32) -> i32 {
        let mix = |key: u64, part: u64| (key.rotate_left(26) ^ part).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let place = (from as u64) << 40 | (to as u64) << 32 | u64::from(what);
        let key = chars.iter().fold(mix(0, place), |key, char| mix(key, u64::from(u32::from(*char))));
        *self.0.borrow_mut().entry(key.cast_signed()).or_insert_with(weigh)
    }
}

/// What the place must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Must {
    /// As the lexicon sees it.
    Be(Class),
    /// Letters in this order; over a space only from the beginning of a word.
    Stand,
    /// Letters in this order, wherever.
    Read,
}

/// Adverbs that people write together with a short verb.
pub(super) const BEFORE_VERBS: &str = "안못잘더또꼭";

/// Syllables that are particles and endings more often than words.
const ENDINGS: &str = "이가은는을를도만의에로와과나다고지서게요네까며면해한인적";

/// Verbs that people write together with what stands in front.
const ATTACHED: &str = "없있같싶좋많않되돼된될됐";

impl Pattern {
    /// It holds Korean, Chinese or Japanese.
    pub(super) fn dense(&self) -> bool {
        self.parts.iter().flatten().any(|unit| char_of(*unit).is_some())
    }

    /// The tokens of the index find it and nothing else.
    pub(super) fn found_by_tokens(&self) -> bool {
        !self.dense() && self.parts.len() == 1 && self.before.is_none() && self.after.is_none()
    }

    /// A part that is this syllable may stand in the middle of a word.
    pub(super) fn anywhere(&self, char: char) -> bool {
        match self.must {
            Must::Be(Class::Whole) => false,
            Must::Be(Class::Verb(_)) => self.parts.len() > 1 || ATTACHED.contains(char) || unmistakable(char),
            Must::Be(Class::Noun) => !ENDINGS.contains(char),
            _ => true,
        }
    }
}

/// A text taken apart.
pub(super) struct Text<'a> {
    text: &'a str,
    atoms: Vec<Atom>,
    memo: &'a Memo,
}

/// The syllable is a stem and nothing else, so that it may stand inside of words: 저녁늦게, 손씻고.
fn unmistakable(char: char) -> bool {
    let closed = hangul::split(char).is_some_and(|(_, _, tail)| tail != hangul::NONE);
    let has = |wanted: fn(Kind) -> bool| Lexicon::get().has(&[char], wanted);
    closed && has(|kind| kind == Kind::Stem) && !has(|kind| kind != Kind::Stem)
}

/// The unit of a syllable.
pub(super) fn syllable(char: char) -> Unit {
    u64::from(u32::from(char))
}

fn char_of(unit: Unit) -> Option<char> {
    u32::try_from(unit).ok().and_then(char::from_u32)
}

impl<'a> Text<'a> {
    /// Takes apart a text, which must be [`super::tokens::composed`].
    pub(super) fn new(text: &'a str, cutter: &mut Cutter, memo: &'a Memo) -> Text<'a> {
        let mut atoms = Vec::with_capacity(text.len() / 3);
        cutter.atoms(text, &mut |atom| atoms.push(atom));
        Text { text, atoms, memo }
    }

    /// How the word stands here, if it does.
    pub(super) fn judge(&self, sought: &Sought) -> Option<Mark> {
        let word = |start: &usize| {
            let unit = self.atoms[*start].unit;
            let begins = |pattern: &&Pattern| pattern.parts.first().and_then(|part| part.first()) == Some(&unit);
            sought.patterns.iter().filter(begins).any(|pattern| self.stands(pattern, *start).is_some())
        };
        let count = (0..self.atoms.len()).filter(word).take(usize::from(Mark::MOST)).count();
        let count = u8::try_from(count).ok().filter(|count| *count > 0)?;
        Some(Mark::new(count, sought.typed.as_ref().is_some_and(|typed| self.places(typed).next().is_some())))
    }

    /// The places of a pattern, in bytes.
    pub(super) fn places(&self, pattern: &Pattern) -> impl Iterator<Item = Range<usize>> {
        let first = pattern.parts.first().and_then(|part| part.first()).copied();
        let starts = self.atoms.iter().enumerate().filter(move |(_, atom)| Some(atom.unit) == first);
        starts.filter_map(move |(start, _)| {
            let end = self.stands(pattern, start)?;
            Some(self.atoms[start].from..self.atoms[end - 1].to)
        })
    }

    /// A word begins here: behind a space, a sign or another script.
    fn begins(&self, at: usize) -> bool {
        at == 0
            || self.atoms.get(at).is_none_or(|atom| atom.apart)
            || char_of(self.atoms[at - 1].unit).is_none() != char_of(self.atoms[at].unit).is_none()
    }

    fn unit(&self, at: usize) -> Option<Unit> {
        self.atoms.get(at).map(|atom| atom.unit)
    }

    /// The atom behind the pattern, if it stands at `start`.
    fn stands(&self, pattern: &Pattern, start: usize) -> Option<usize> {
        let end = self.reach(&pattern.parts, start)?;
        if (start + 1..end).any(|at| self.atoms[at].hard) {
            return None;
        }
        let crossing = (start + 1..end).any(|at| self.atoms[at].apart);
        let expression = pattern.parts.len() > 1 && matches!(pattern.must, Must::Be(Class::Verb(_)));
        if crossing && !expression && pattern.must != Must::Read && !self.begins(start) {
            return None;
        }
        let (from, to) = (self.atoms[start].from, self.atoms[end - 1].to);
        if pattern.before.is_some_and(|sign| !self.text[..from].ends_with(sign)) {
            return None;
        }
        if pattern.before == Some('#') && !self.ends(end) {
            return None;
        }
        if pattern.after.is_some_and(|sign| {
            !self.text[to..].starts_with(sign)
                && !self.text[to..].trim_start().starts_with(if sign == '%' { "프로" } else { "\u{0}" })
        }) {
            return None;
        }
        let good = match pattern.must {
            Must::Stand | Must::Read => true,
            Must::Be(class) => self.is(class, pattern, start, end, crossing),
        };
        good.then_some(end)
    }

    /// Behind the parts, if they stand at `at` one after the other.
    fn reach(&self, parts: &[Vec<Unit>], at: usize) -> Option<usize> {
        let Some((part, rest)) = parts.split_first() else { return Some(at) };
        let mut end = at;
        for unit in part {
            if self.unit(end) != Some(*unit) {
                return None;
            }
            end += 1;
        }
        if rest.is_empty() {
            return Some(end);
        }
        self.reach(rest, end).or_else(|| {
            let inside = particle::INSIDE.iter().filter(|particle| {
                let mut at = end;
                particle.chars().all(|char| {
                    at += 1;
                    self.atoms.get(at - 1).is_some_and(|atom| atom.unit == syllable(char) && !atom.apart)
                })
            });
            inside.filter_map(|particle| self.reach(rest, end + particle.chars().count())).next()
        })
    }

    /// The run of syllables without a space around an atom.
    fn run(&self, at: usize) -> Range<usize> {
        let dense = |at: usize| char_of(self.atoms[at].unit).is_some_and(hangul::is);
        let mut from = at;
        while from > 0 && !self.atoms[from].apart && dense(from - 1) && at - from < MAX_RUN / 2 - 4 {
            from -= 1;
        }
        let mut to = at + 1;
        while to < self.atoms.len() && !self.atoms[to].apart && dense(to) && to - from < MAX_RUN {
            to += 1;
        }
        from..to
    }

    fn chars(&self, range: Range<usize>) -> Vec<char> {
        let plain = |char| match hangul::split(char) {
            // 웃기넼ㅋㅋ: laughter that ran into the ending.
            Some((lead, vowel, hangul::T_K)) => hangul::join(lead, vowel, hangul::NONE),
            _ => char,
        };
        self.atoms[range].iter().filter_map(|atom| char_of(atom.unit)).map(plain).collect()
    }

    /// Nothing but a particle stands between here and the end of the word.
    fn ends(&self, at: usize) -> bool {
        if at >= self.atoms.len() || self.begins(at) {
            return true;
        }
        let run = self.run(at);
        particle::is(&self.chars(at..run.end))
    }

    fn is(&self, class: Class, pattern: &Pattern, start: usize, end: usize, crossing: bool) -> bool {
        if !char_of(self.atoms[start].unit).is_some_and(hangul::is) {
            return true;
        }
        match class {
            Class::Whole if end - start == 1 => self.begins(start) && (self.begins(end) || self.adverb(start)),
            Class::Whole => self.begins(start) || end - start >= 4 || self.starts_word(start),
            Class::Noun => self.noun(pattern, start, end, crossing),
            Class::Verb(shape) => self.verb(shape, pattern, start, end),
        }
    }

    /// The syllable is an adverb in front of a verb: 안돼요, but not 안내.
    fn adverb(&self, start: usize) -> bool {
        let chars = self.chars(self.run(start));
        let adverb = |node: &Node| node.from == 0 && node.to == 1 && node.entry.kind == Kind::Adverb;
        self.memo.gap(&chars, (0, 1), ASKED_ADVERB, || Lattice::new(&chars, None).gap(adverb)) <= 5
    }

    fn starts_word(&self, start: usize) -> bool {
        let run = self.run(start);
        let at = start - run.start;
        let chars = self.chars(run);
        let starts = |node: &Node| node.from == at && !matches!(node.entry.kind, Kind::Ending | Kind::Particle | Kind::Unknown);
        self.memo.gap(&chars, (at, at), ASKED_START, || Lattice::new(&chars, None).gap(starts)) <= MARGIN[1]
    }

    fn noun(&self, pattern: &Pattern, start: usize, end: usize, crossing: bool) -> bool {
        let length: usize = pattern.parts.iter().map(Vec::len).sum();
        if crossing {
            if length <= 2 {
                return false;
            }
            // What stands behind the last space must be a word, not the beginning of another.
            let last = (start..end).rev().find(|at| self.begins(*at)).unwrap_or(start);
            return self.ends(end) || self.noun_gap(last, end) <= MARGIN[(end - last).min(3)];
        }
        if length <= 3 && self.opaque(start, end) {
            return false;
        }
        if self.begins(start) && self.ends(end) && length >= 2 {
            return true;
        }
        if length >= 4 {
            return true;
        }
        let margin = if self.begins(start) { FIRST_MARGIN } else { MARGIN }[length];
        self.noun_gap(start, end) <= margin
    }

    /// It is a piece of a word that only looks like a compound.
    fn opaque(&self, start: usize, end: usize) -> bool {
        OPAQUE.iter().any(|word| {
            let length = word.chars().count();
            let stands = |from: usize| word.chars().enumerate().all(|(at, char)| self.unit(from + at) == Some(syllable(char)));
            length > end - start && (end.saturating_sub(length)..=start).any(stands)
        })
    }

    fn noun_gap(&self, start: usize, end: usize) -> i32 {
        let run = self.run(start);
        let chars = self.chars(run.clone());
        let (from, to) = (start - run.start, end.saturating_sub(run.start));
        self.memo.gap(&chars, (from, to), ASKED_NOUN, || Lattice::new(&chars, Some((from, to))).noun_gap(from, to))
    }

    fn verb(&self, shape: verb::Shape, pattern: &Pattern, start: usize, end: usize) -> bool {
        let length = pattern.parts.last().map_or(0, Vec::len);
        let first = end - length;
        if self.opaque(first, end) {
            return false;
        }
        let next =
            self.atoms.get(end).filter(|atom| !atom.apart).and_then(|atom| char_of(atom.unit)).filter(|char| hangul::is(*char));
        let last = char_of(self.atoms[end - 1].unit);
        let crossing = (first + 1..end).any(|at| self.atoms[at].apart);
        if pattern.parts.len() > 1 || length >= 3 || crossing {
            return length >= 3 || verb::follows(shape, last.as_ref(), next);
        }
        if !verb::follows(shape, last.as_ref(), next) {
            return false;
        }
        if length == 1 && char_of(self.atoms[first].unit).is_some_and(|char| ATTACHED.contains(char)) {
            return true;
        }
        let run = self.run(first);
        let chars = self.chars(run.clone());
        let alone = length == 1 && !self.begins(first) && !char_of(self.atoms[first].unit).is_some_and(unmistakable);
        let adverb = first.checked_sub(1).and_then(|at| char_of(self.atoms[at].unit));
        if alone && !(adverb.is_some_and(|char| BEFORE_VERBS.contains(char)) && self.begins(first - 1)) {
            return false;
        }
        let mut from = first - run.start;
        // 볼만하다: the verb in front says what 만 is.
        if chars.get(from) == Some(&'만') && length >= 2 {
            let before = first.checked_sub(1).and_then(|at| char_of(self.atoms[at].unit)).and_then(hangul::split);
            return before.is_some_and(|(_, _, tail)| tail == hangul::T_L);
        }
        // 못하다: the adverb is not part of the stem.
        if length >= 2 && matches!(chars.get(from), Some('안' | '못')) && self.begins(first) {
            from += 1;
        }
        let to = first - run.start + length;
        let known = Lexicon::get().has(&chars[from..to], Kind::verbal);
        // A stem that the lexicon does not know is one where a word begins.
        if length >= 2 && !known && self.begins(start) {
            return true;
        }
        let nominal = last.and_then(hangul::split).is_some_and(|(_, _, tail)| tail == hangul::T_M);
        let asked = ASKED_VERB + (shape as u32 * 4 + length.min(3) as u32) * 2 + u32::from(nominal);
        let wanted = |node: &Node| {
            let goes_on = node.to > to && verb::follows(shape, last.as_ref(), chars.get(to).copied());
            // 팔아먹고, 올라가: verbs of their own that begin with this one.
            let compound =
                shape == verb::Shape::Open || shape == verb::Shape::Base && matches!(chars.get(to), Some('아' | '어'));
            let verbal = match node.entry.kind {
                Kind::Stem | Kind::Auxiliary => node.to == to || goes_on && compound,
                // 사라진 begins with 사 and is another verb.
                Kind::StemAnd => {
                    let own = || korean::stem_length(&chars[from..node.to]) <= to - from;
                    let helped = compound && shape != verb::Shape::Open
                        || length >= 2 && matches!(shape, verb::Shape::Open | verb::Shape::Either);
                    node.to == to || goes_on && (helped || own())
                }
                // 도움, 슬픔.
                Kind::Determiner => node.to == to && shape == verb::Shape::Closed,
                Kind::Adverb => goes_on && length >= 2,
                Kind::Noun => node.to == to && shape == verb::Shape::Closed && length >= 2 && nominal,
                _ => false,
            };
            node.from == from && verbal
        };
        let gap = self.memo.gap(&chars, (from, to), asked, || Lattice::new(&chars, None).gap(wanted));
        // What stands behind a number counts it: 3기.
        let margin = match shape {
            _ if alone || self.begins(start) && (start == 0 || self.atoms[start].apart) => VERB_MARGIN,
            verb::Shape::Closed => [0, 0, 20],
            _ => INNER_MARGIN,
        };
        gap <= margin[length.min(2)]
    }
}
