//! Terms and phrases that more people write this week than in the weeks before. Pure.
//!
//! A person counts once a term and week, so that nobody raises a word alone. What rises is decided by a
//! log-likelihood ratio over how many write a term now and how many did before.

use std::{
    collections::{HashMap, HashSet},
    hash::{DefaultHasher, Hash, Hasher},
};

use super::tokens::composed;
use crate::mention::MentionId;

/// Weeks that are compared: this one and the four before.
pub const WEEKS: usize = 5;
/// Fewer people than this are no sign.
const FEWEST: u32 = 4;
/// How many times the usual a term must be written.
const TIMES: f64 = 2.0;
/// The log-likelihood ratio that chance exceeds once in a thousand.
const SURE: f64 = 10.83;
/// Most terms named.
const MOST: usize = 20;
/// Example posts of a term.
const EXAMPLES: usize = 2;
/// Words of a text that are looked at.
const WORDS: usize = 200;

/// A post, by what counts here.
#[derive(Clone, Copy, Debug)]
pub struct Voice<'a> {
    /// Which.
    pub mention: MentionId,
    /// Masked text.
    pub text: &'a str,
    /// Who wrote it.
    pub author: &'a str,
    /// 0 is this week, 1 the last one.
    pub week: usize,
}

/// A term that rises.
#[derive(Clone, Debug, PartialEq)]
pub struct Rising {
    /// A word without its particle, or two words.
    pub term: String,
    /// People who wrote it, oldest week first, this week last.
    pub weeks: [u32; WEEKS],
    /// This week's share of all voices over that of the weeks before, which counts as half a person at least.
    pub times: f64,
    /// Posts of this week that have it, newest first as they came.
    pub examples: Vec<MentionId>,
}

/// Particles and endings, longest first: what stands behind a word without being its sense.
const TAILS: [&str; 46] = [
    "이라고만",
    "라고만",
    "에서는",
    "에서도",
    "으로는",
    "이라고",
    "입니다",
    "습니다",
    "합니다",
    "됩니다",
    "이에요",
    "네요",
    "나요",
    "에서",
    "에게",
    "한테",
    "으로",
    "라고",
    "하고",
    "까지",
    "부터",
    "보다",
    "처럼",
    "만큼",
    "이랑",
    "이나",
    "예요",
    "해요",
    "돼요",
    "는데",
    "은데",
    "지만",
    "이",
    "가",
    "은",
    "는",
    "을",
    "를",
    "에",
    "의",
    "도",
    "만",
    "로",
    "와",
    "과",
    "요",
];

/// Words that say nothing, in both languages.
const EMPTY: [&str; 60] = [
    "그리고",
    "그래서",
    "그런데",
    "하지만",
    "너무",
    "진짜",
    "정말",
    "계속",
    "자꾸",
    "아직",
    "아직도",
    "지금",
    "오늘",
    "어제",
    "이거",
    "그거",
    "저는",
    "제가",
    "이번",
    "그냥",
    "완전",
    "많이",
    "다시",
    "먼저",
    "그럼",
    "혹시",
    "the",
    "and",
    "for",
    "that",
    "this",
    "with",
    "you",
    "your",
    "are",
    "was",
    "has",
    "have",
    "had",
    "not",
    "but",
    "they",
    "their",
    "its",
    "from",
    "what",
    "when",
    "why",
    "how",
    "who",
    "can",
    "will",
    "just",
    "out",
    "get",
    "got",
    "all",
    "any",
    "been",
    "our",
];

/// Terms that rise, surest first.
pub fn rising<'a>(voices: impl IntoIterator<Item = Voice<'a>>) -> Vec<Rising> {
    let mut all = [0_u32; WEEKS];
    let mut people: HashSet<u64> = HashSet::new();
    let mut terms: HashMap<String, ([u32; WEEKS], Vec<MentionId>)> = HashMap::new();
    for voice in voices {
        let Some(slot) = WEEKS.checked_sub(1 + voice.week) else { continue };
        all[slot] += 1;
        for term in terms_of(voice.text) {
            if !people.insert(hash(&(&term, voice.week, voice.author))) {
                continue;
            }
            let (weeks, examples) = terms.entry(term).or_default();
            weeks[slot] += 1;
            if voice.week == 0 && examples.len() < EXAMPLES {
                examples.push(voice.mention);
            }
        }
    }
    let (now, before) = (f64::from(all[WEEKS - 1]), f64::from(all[..WEEKS - 1].iter().sum::<u32>()));
    let mut risen: Vec<(f64, Rising)> = Vec::new();
    for (term, (weeks, examples)) in terms {
        let (here, there) = (weeks[WEEKS - 1], weeks[..WEEKS - 1].iter().sum::<u32>());
        let times = (f64::from(here) / now.max(1.0)) / (f64::from(there).max(0.5) / before.max(1.0));
        let sure = likelihood(f64::from(here), f64::from(there), now, before);
        if here >= FEWEST && times >= TIMES && sure >= SURE {
            risen.push((sure, Rising { term, weeks, times, examples }));
        }
    }
    risen.sort_by(|(a, one), (b, other)| b.total_cmp(a).then_with(|| one.term.cmp(&other.term)));
    without_parts(risen.into_iter().map(|(_, rising)| rising).collect())
}

/// Dunning's log-likelihood ratio of `here` of `now` against `there` of `before`.
fn likelihood(here: f64, there: f64, now: f64, before: f64) -> f64 {
    let share = (here + there) / (now + before).max(1.0);
    let part = |seen: f64, expected: f64| if seen > 0.0 && expected > 0.0 { seen * (seen / expected).ln() } else { 0.0 };
    2.0 * (part(here, now * share) + part(there, before * share))
}

/// A word that is nearly always said within a phrase that rises as well is named by the phrase; of two phrases
/// that share a word the surer one.
fn without_parts(risen: Vec<Rising>) -> Vec<Rising> {
    let now = |one: &Rising| one.weeks[WEEKS - 1];
    let words = |one: &Rising| one.term.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let phrases: Vec<(Vec<String>, u32)> =
        risen.iter().filter(|one| one.term.contains(' ')).map(|one| (words(one), now(one))).collect();
    let mut kept: Vec<Rising> = Vec::new();
    for one in risen {
        let own = words(&one);
        let inside = |(phrase, count): &(Vec<String>, u32)| phrase.contains(&own[0]) && *count * 10 >= now(&one) * 7;
        let said = kept.iter().any(|known| own.len() > 1 && words(known).iter().any(|word| own.contains(word)));
        if said || own.len() == 1 && phrases.iter().any(inside) {
            continue;
        }
        kept.push(one);
        if kept.len() == MOST {
            break;
        }
    }
    kept
}

fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// The words of a text without what stands behind them, and its pairs of neighbours; each once.
fn terms_of(text: &str) -> HashSet<String> {
    let text = composed(text);
    let mut terms = HashSet::new();
    let mut left = WORDS;
    for clause in text.split(['.', ',', '!', '?', '\n', '…', ';', '(', ')', '"']) {
        let mut last: Option<String> = None;
        for word in clause.split_whitespace() {
            if left == 0 {
                return terms;
            }
            left -= 1;
            let word = stem(word);
            if let (Some(last), Some(word)) = (&last, &word) {
                terms.insert(format!("{last} {word}"));
            }
            terms.extend(word.clone());
            last = word;
        }
    }
    terms
}

/// A word without its tail; none when it tells nothing: a number, a name, an address, one letter.
fn stem(word: &str) -> Option<String> {
    if word.starts_with(['@', '[']) || word.contains("://") {
        return None;
    }
    let word: String = word.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase();
    let hangul = |c: char| matches!(c, '가'..='힣');
    if word.chars().any(|c| c.is_whitespace() || !c.is_alphanumeric() && c != '-') || word.chars().all(|c| c.is_numeric()) {
        return None;
    }
    if EMPTY.contains(&word.as_str()) {
        return None;
    }
    let mut stem = word.as_str();
    if word.chars().next_back().is_some_and(hangul) {
        let tail = TAILS.iter().find(|tail| stem.strip_suffix(**tail).is_some_and(|rest| rest.chars().count() >= 2));
        stem = tail.and_then(|tail| stem.strip_suffix(*tail)).unwrap_or(stem);
    }
    let least = if stem.is_ascii() { 3 } else { 2 };
    (stem.chars().count() >= least && !EMPTY.contains(&stem) && stem.chars().any(|c| !matches!(c, 'ㄱ'..='ㅣ')))
        .then(|| stem.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(voices: &[(String, String, usize)]) -> Vec<Rising> {
        let voice =
            |(id, (text, author, week)): (i64, &(String, String, usize))| (MentionId(id), text.clone(), author.clone(), *week);
        let owned: Vec<_> = (1..).zip(voices).map(voice).collect();
        rising(owned.iter().map(|(mention, text, author, week)| Voice { mention: *mention, text, author, week: *week }))
    }

    /// Five weeks of the same talk, in which this week ten people meet a broken payment.
    fn weeks() -> Vec<(String, String, usize)> {
        let talk = ["배송이 늦어요", "쿠폰을 어떻게 쓰나요?", "When will my parcel arrive?", "사이즈 교환하고 싶어요"];
        let mut voices = Vec::new();
        for week in 0..WEEKS {
            for number in 0..40 {
                voices.push((talk[number % 4].to_owned(), format!("a{week}-{number}"), week));
            }
        }
        for number in 0..10 {
            let text = ["카드 결제가 안 돼요. 결제 오류라고 나와요", "결제 오류가 났어요!", "결제 오류 때문에 주문을 못 해요"]
                [number % 3];
            voices.push((text.to_owned(), format!("b{number}"), 0));
        }
        voices
    }

    #[test]
    fn what_more_people_say_this_week_is_named_with_examples() {
        let found = named(&weeks());
        let terms: Vec<&str> = found.iter().map(|one| one.term.as_str()).collect();
        assert_eq!(terms[0], "결제 오류", "{terms:?}");
        assert!(!terms.iter().any(|term| ["배송", "쿠폰", "parcel", "결제", "오류"].contains(term)), "{terms:?}");
        assert_eq!((found[0].weeks, found[0].examples.len()), ([0, 0, 0, 0, 10], EXAMPLES));
        assert!(found[0].times > 10.0 && found[0].examples.iter().all(|post| post.0 > 200), "{:?}", found[0]);
    }

    #[test]
    fn one_person_raises_nothing_and_a_quiet_week_has_no_news() {
        let mut voices: Vec<_> = weeks().into_iter().filter(|(_, author, _)| author.starts_with('a')).collect();
        assert_eq!(named(&voices), []);
        voices.extend((0..50).map(|_| ("결제 오류 결제 오류".to_owned(), "loud".to_owned(), 0)));
        assert_eq!(named(&voices), []);
        assert_eq!(rising([]), []);
        // A week with twice the posts is not news about each of its words.
        voices.retain(|(_, author, _)| author != "loud");
        let more: Vec<_> = voices
            .iter()
            .filter(|(_, _, week)| *week == 0)
            .map(|(text, author, _)| (text.clone(), format!("{author}x"), 0))
            .collect();
        voices.extend(more);
        assert_eq!(named(&voices), []);
    }

    #[test]
    fn words_lose_what_stands_behind_them() {
        for (word, expected) in [
            ("결제가", Some("결제")),
            ("결제에서는", Some("결제")),
            ("오류라고", Some("오류")),
            ("튕겨요", Some("튕겨")),
            // One syllable says too little to be cut loose.
            ("앱이", Some("앱이")),
            ("나이가", Some("나이")),
            ("App", Some("app")),
            ("(Refund)", Some("refund")),
            ("12,000", None),
            ("@shop_kr", None),
            ("https://a.example", None),
            ("ㅋㅋㅋ", None),
            ("the", None),
            ("환불", Some("환불")),
            ("WELCOME10", Some("welcome10")),
            ("[전화번호]", None),
        ] {
            assert_eq!(stem(word).as_deref(), expected, "{word}");
        }
    }
}
