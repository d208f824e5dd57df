//! Other spellings of loan words, and the spellings that people mix up: 메세지 and 메시지, 까페 and 카페.

use super::hangul::{self, AE, E, NONE};
use crate::search::lexicon::{Kind, Lexicon};

/// Pieces that are written both ways; each is tried in both directions.
const PAIRS: [(&str, &str); 62] = [
    ("메세", "메시"),
    ("소세지", "소시지"),
    ("컨텐", "콘텐"),
    ("콘텐츠", "콘텐트"),
    ("컨셉", "콘셉트"),
    ("컨트롤", "콘트롤"),
    ("컨테스트", "콘테스트"),
    ("서비", "써비"),
    ("까페", "카페"),
    ("빠리", "파리"),
    ("뻐스", "버스"),
    ("버스", "뻐스"),
    ("쇼파", "소파"),
    ("악세사리", "액세서리"),
    ("악세서리", "액세서리"),
    ("리더쉽", "리더십"),
    ("멤버쉽", "멤버십"),
    ("파트너쉽", "파트너십"),
    ("스킨쉽", "스킨십"),
    ("인턴쉽", "인턴십"),
    ("스폰서쉽", "스폰서십"),
    ("초콜렛", "초콜릿"),
    ("초코렛", "초콜릿"),
    ("쵸콜렛", "초콜릿"),
    ("쵸코", "초코"),
    ("캡쳐", "캡처"),
    ("픽쳐", "픽처"),
    ("벤쳐", "벤처"),
    ("쥬스", "주스"),
    ("비젼", "비전"),
    ("텔레비젼", "텔레비전"),
    ("네비", "내비"),
    ("수퍼", "슈퍼"),
    ("로멘", "로맨"),
    ("스케쥴", "스케줄"),
    ("화이팅", "파이팅"),
    ("디지탈", "디지털"),
    ("알콜", "알코올"),
    ("케익", "케이크"),
    ("케잌", "케이크"),
    ("렌탈", "렌털"),
    ("어플", "앱"),
    ("앱", "어플"),
    ("싸이트", "사이트"),
    ("싸이즈", "사이즈"),
    ("싸이코", "사이코"),
    ("쎄일", "세일"),
    ("쏘스", "소스"),
    ("쎈터", "센터"),
    ("센타", "센터"),
    ("후라이", "프라이"),
    ("화일", "파일"),
    ("데이타", "데이터"),
    ("모니타", "모니터"),
    ("컴퓨타", "컴퓨터"),
    ("밧데리", "배터리"),
    ("빳데리", "배터리"),
    ("바테리", "배터리"),
    ("리모콘", "리모컨"),
    ("에어콘", "에어컨"),
    ("카달로그", "카탈로그"),
    ("로케트", "로켓"),
];

/// Most spellings that are tried beside the typed one.
const MOST: usize = 4;

/// Another spelling of the word is a noun that the lexicon knows, and this one is none.
pub(crate) fn mends(word: &[char]) -> bool {
    let known = |word: &[char]| Lexicon::get().has(word, |kind| kind == Kind::Noun);
    let typed: String = word.iter().collect();
    let foreign = PAIRS.iter().any(|(one, other)| typed.contains(one) || typed.contains(other));
    foreign && !known(word) && variants(word).iter().any(|variant| known(variant))
}

/// Spellings that mean the same, without the typed one.
pub(crate) fn variants(word: &[char]) -> Vec<Vec<char>> {
    let typed: String = word.iter().collect();
    let mut found: Vec<String> = Vec::new();
    let mut add = |variant: String| {
        if variant != typed && !found.contains(&variant) && found.len() < MOST {
            found.push(variant);
        }
    };
    for (one, other) in PAIRS {
        for (from, to) in [(one, other), (other, one)] {
            let whole = from.chars().count() > 1 || typed == from;
            if whole && typed.contains(from) && !typed.contains(to) {
                add(typed.replacen(from, to, 1));
            }
        }
    }
    // 초콜렛, 초콜릿, 쵸콜릿: what differs is one of the syllables that foreign sounds end in.
    let lexicon = Lexicon::get();
    if word.len() >= 3 {
        for (at, syllable) in word.iter().enumerate() {
            let Some((lead, vowel, tail)) = hangul::split(*syllable) else { continue };
            let other = match vowel {
                AE => E,
                E => AE,
                _ => continue,
            };
            let mut variant = word.to_vec();
            variant[at] = hangul::join(lead, other, tail);
            // A word of its own means something else.
            if !lexicon.has(&variant, |kind| kind != Kind::Unknown) && (at > 0 || tail == NONE) {
                add(variant.into_iter().collect());
            }
        }
    }
    found.into_iter().map(|variant| variant.chars().collect()).collect()
}
