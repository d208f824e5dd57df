//! The surface stems of a verb or adjective: the few shapes that a stem has in front of its endings.
//!
//! 비싸: 비싸 (다, 고, 지), 비싼, 비쌀, 비쌈, 비쌉 (니다), 비쌌 (다). Every other inflected form begins with
//! one of them, so the forms of a stem find all of its inflections. [`lemmas`] goes the other way.

use super::hangul::{self, *};
use crate::search::lexicon::{Kind, Lexicon};

/// What may follow a surface stem.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Shape {
    /// The stem itself, or without its ㄹ, ㅎ: endings that begin with a consonant, and 으.
    Base,
    /// With 아 or 어 melted in: 요, 서, 도, 야, 라, another verb, or nothing.
    Open,
    /// A stem into which 아 or 어 melts without a trace: 가, 보내.
    Either,
    /// With 았 or 었 melted in.
    Past,
    /// With ㄴ, ㄹ, ㅁ, ㅂ melted in; often the end of the word.
    Closed,
    /// Without its ㄹ: only in front of ㄴ, ㅅ and 오.
    Dropped,
    /// A stem that ends in a vowel only in front of vowels: 들 (었다), 지 (었다).
    BeforeVowel,
}

/// A surface stem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Form {
    pub(crate) text: Vec<char>,
    pub(crate) shape: Shape,
}

/// ㅂ stays in these last syllables: 뽑아, 씹어, 입어.
const KEEPS_B: &str = "뽑씹업입잡접좁집꼽붑굽";
/// ㄷ becomes ㄹ in front of vowels in these stems.
const D_TO_L: [&str; 9] = ["걷", "긷", "깨닫", "눋", "듣", "묻", "붇", "싣", "일컫"];
/// ㅅ goes in front of vowels in these last syllables.
const LOSES_S: &str = "긋낫붓잇잣짓젓";
/// ㅎ goes in these last syllables: 빨갛, 하얗, 그렇.
const LOSES_H: &str = "갛겋렇랗맣멓얗옇떻넣헣";
/// 르 only loses its vowel in these stems.
const PLAIN_REU: [&str; 6] = ["따르", "치르", "들르", "다다르", "우러르", "잇따르"];

/// Stems that are one word in several spellings.
const TWINS: [&[&str]; 6] = [
    &["재미있", "재밌", "잼있", "재미나"],
    &["예쁘", "이쁘"],
    &["멋있", "멋잇"],
    &["맛있", "맛잇"],
    &["재미없", "잼없"],
    &["바라", "바래"],
];

/// The other spellings of a stem.
pub(crate) fn twins(stem: &[char]) -> impl Iterator<Item = Vec<char>> {
    let is = |word: &&str| word.chars().eq(stem.iter().copied());
    let group = TWINS.iter().find(|group| group.iter().any(is));
    group.into_iter().flat_map(|group| group.iter()).filter(move |word| !is(word)).map(|word| word.chars().collect())
}

/// All surface stems of `stem`, the stem itself first.
pub(crate) fn forms(stem: &[char]) -> Vec<Form> {
    let Some((&last, head)) = stem.split_last() else { return Vec::new() };
    let Some((lead, vowel, tail)) = hangul::split(last) else { return Vec::new() };
    let mut all = Forms { head, all: Vec::new() };
    let traceless = tail == NONE && matches!(vowel, A | AE | EO | E | YEO | YE) && last != '하';
    all.add(&[last], if traceless { Shape::Either } else { Shape::Base });
    if tail == T_SS {
        // 재밋다, as people in a hurry write 재밌다.
        all.add(&[join(lead, vowel, T_S)], Shape::Base);
    }
    let before = head.last().and_then(|syllable| hangul::split(*syllable)).map(|(_, vowel, _)| vowel);
    let word: String = stem.iter().collect();
    match tail {
        NONE => {
            for tail in [T_N, T_L, T_M, T_B] {
                all.add(&[join(lead, vowel, tail)], Shape::Closed);
            }
            all.vowel_stem(&word, last, (lead, vowel), before);
        }
        T_L => {
            all.add(&[join(lead, vowel, NONE)], Shape::Dropped);
            for tail in [T_N, T_B, T_LM] {
                all.add(&[join(lead, vowel, tail)], Shape::Closed);
            }
        }
        T_B if !KEEPS_B.contains(last) => {
            let bare = join(lead, vowel, NONE);
            for ending in ['우', '운', '울', '움'] {
                all.add(&[bare, ending], if ending == '우' { Shape::Base } else { Shape::Closed });
            }
            for (open, past) in [('워', '웠'), ('와', '왔')] {
                // 도와, 고와, and 가까와 as some write it.
                if open == '워' || matches!(vowel, A | O) {
                    all.add(&[bare, open], Shape::Open);
                    all.add(&[bare, past], Shape::Past);
                }
            }
        }
        T_D if D_TO_L.iter().any(|stem| word.ends_with(stem)) => {
            all.add(&[join(lead, vowel, T_L)], Shape::BeforeVowel);
        }
        T_S if LOSES_S.contains(last) => all.add(&[join(lead, vowel, NONE)], Shape::BeforeVowel),
        T_H if LOSES_H.contains(last) && word != "넣" => {
            all.add(&[join(lead, vowel, NONE)], Shape::Base);
            for tail in [T_N, T_L, T_M, T_B] {
                all.add(&[join(lead, vowel, tail)], Shape::Closed);
            }
            let open = if matches!(vowel, YA | YEO) { [YAE, YE] } else { [AE, AE] };
            for vowel in open {
                all.melted(lead, vowel);
            }
        }
        _ => {}
    }
    all.all
}

/// The surface stems of `stem` with which `text` may begin.
pub(crate) fn suited(stem: &[char], text: &[char]) -> Vec<Form> {
    let mut all = forms(stem);
    all.retain(|form| {
        text.starts_with(&form.text) && follows(form.shape, form.text.last(), text.get(form.text.len()).copied())
    });
    all
}

struct Forms<'a> {
    head: &'a [char],
    all: Vec<Form>,
}

impl Forms<'_> {
    fn add(&mut self, end: &[char], shape: Shape) {
        let text: Vec<char> = self.head.iter().chain(end).copied().collect();
        if !self.all.iter().any(|form| form.text == text) {
            self.all.push(Form { text, shape });
        }
    }

    fn melted(&mut self, lead: u32, vowel: u32) {
        self.add(&[join(lead, vowel, NONE)], Shape::Open);
        self.past(lead, vowel);
    }

    /// With ㅆ, or with ㅅ as people in a hurry write it.
    fn past(&mut self, lead: u32, vowel: u32) {
        self.add(&[join(lead, vowel, T_SS)], Shape::Past);
        self.add(&[join(lead, vowel, T_S)], Shape::Past);
    }

    /// 아 and 어 melt into a stem that ends in a vowel.
    fn vowel_stem(&mut self, word: &str, last: char, (lead, vowel): (u32, u32), before: Option<u32>) {
        let bright = matches!(before, Some(A | O));
        match (last, vowel) {
            ('하', _) => self.melted(lead, AE),
            ('르', _) => {
                if let Some((&previous, head)) = self.head.split_last()
                    && let Some((previous_lead, previous_vowel, NONE)) = hangul::split(previous)
                    && !PLAIN_REU.contains(&word)
                {
                    let shorter = Forms { head, all: Vec::new() };
                    let mut shorter = shorter;
                    let doubled = join(previous_lead, previous_vowel, T_L);
                    for vowel in if matches!(previous_vowel, A | O) { [A, A] } else { [EO, EO] } {
                        for (tail, shape) in [(NONE, Shape::Open), (T_SS, Shape::Past), (T_S, Shape::Past)] {
                            shorter.add(&[doubled, join(lead, vowel, tail)], shape);
                        }
                    }
                    self.all.append(&mut shorter.all);
                }
                // 따라, 치러.
                if PLAIN_REU.contains(&word) {
                    self.melted(lead, if bright { A } else { EO });
                }
            }
            ('푸', _) if self.head.is_empty() => self.melted(lead, EO),
            (_, EU) => {
                self.melted(lead, if bright { A } else { EO });
                // 바뻐, as people write 바빠.
                if bright {
                    self.melted(lead, EO);
                }
            }
            (_, O) => self.melted(lead, WA),
            (_, U) => self.melted(lead, WO),
            (_, I) => self.melted(lead, YEO),
            (_, OE) => self.melted(lead, WAE),
            // 바껴, as people write 바뀌어.
            (_, WI) => self.melted(lead, YEO),
            (_, A | AE | EO | E | YEO | YE | WAE) => self.past(lead, vowel),
            _ => {}
        }
    }
}

/// Stems that dictionaries have and one of whose forms is `surface`.
pub(crate) fn lemmas(surface: &[char], auxiliary: bool) -> Vec<Vec<char>> {
    let Some((&last, head)) = surface.split_last() else { return Vec::new() };
    let Some((lead, vowel, tail)) = hangul::split(last) else { return Vec::new() };
    let with = |ends: &[char]| head.iter().chain(ends).copied().collect::<Vec<char>>();
    let mut guesses = vec![surface.to_vec()];
    let bare = join(lead, vowel, NONE);
    if matches!(tail, T_N | T_L | T_M | T_B | T_SS) {
        guesses.push(with(&[bare]));
    }
    // The ㄹ, ㅎ, ㅂ, ㅅ, ㄷ that went.
    for (went, from) in
        [(T_L, [NONE, T_N, T_B, T_LM].as_slice()), (T_H, &[NONE, T_N, T_L, T_M, T_B]), (T_S, &[NONE]), (T_D, &[T_L])]
    {
        if from.contains(&tail) {
            guesses.push(with(&[join(lead, vowel, went)]));
        }
    }
    if matches!(tail, NONE | T_SS) {
        let opens: &[u32] = match vowel {
            WA => &[O],
            WO => &[U],
            YEO => &[I, WI],
            WAE => &[OE],
            A | EO => &[EU, U],
            AE => &[A, EO],
            YAE | YE => &[YA, YEO],
            _ => &[],
        };
        for open in opens {
            guesses.push(with(&[join(lead, *open, NONE)]));
            guesses.push(with(&[join(lead, *open, T_H)]));
        }
        if vowel == AE {
            guesses.push(with(&['하']));
        }
    }
    if let Some((&previous, head)) = head.split_last()
        && let Some((previous_lead, previous_vowel, previous_tail)) = hangul::split(previous)
    {
        let shorter = |ends: &[char]| head.iter().chain(ends).copied().collect::<Vec<char>>();
        if previous_tail == NONE && "우운울움워웠와왔".contains(last) {
            guesses.push(shorter(&[join(previous_lead, previous_vowel, T_B)]));
        }
        if previous_tail == T_L && "라러랐렀".contains(last) {
            guesses.push(shorter(&[join(previous_lead, previous_vowel, NONE), '르']));
        }
    }
    let lexicon = Lexicon::get();
    let mut found: Vec<Vec<char>> = Vec::new();
    for guess in guesses {
        // The lexicon also has 들어 as a stem, which is 들 with an ending.
        if let Some(('어' | '아', stem)) = guess.split_last()
            && lexicon.has(stem, |kind| kind == Kind::Stem)
        {
            continue;
        }
        let listed = lexicon.has(&guess, |kind| kind == Kind::Stem || auxiliary && kind == Kind::Auxiliary);
        if listed && !found.contains(&guess) && forms(&guess).iter().any(|form| form.text == surface) {
            found.push(guess);
        }
    }
    // The lexicon also has changed stems as stems: 가까우, 가까워.
    let changed = |guess: &Vec<char>| {
        found.iter().any(|other| other != guess && irregular(other) && forms(other).iter().any(|form| form.text == *guess))
    };
    let real: Vec<Vec<char>> = found.iter().filter(|guess| !changed(guess)).cloned().collect();
    real
}

fn irregular(stem: &[char]) -> bool {
    stem.last().and_then(|last| hangul::split(*last)).is_some_and(|(_, _, tail)| matches!(tail, T_B | T_H))
        || stem.last() == Some(&'르')
}

/// Can an ending that begins with `next` follow a surface stem of this shape that ends in `last`?
pub(crate) fn follows(shape: Shape, last: Option<&char>, next: Option<char>) -> bool {
    let Some(next) = next else { return !matches!(shape, Shape::Dropped | Shape::BeforeVowel) };
    // 웃기넼ㅋㅋ: laughter runs into the ending.
    let next = match hangul::split(next) {
        Some((lead, vowel, T_K | T_H)) => join(lead, vowel, NONE),
        _ => next,
    };
    match shape {
        Shape::Base if next == '이' => matches!(last, Some('없' | '같')),
        Shape::Base => "겟곘엇앗다고지는네게기니나냐더드던거도든자면며려러서요세시십실신셔셨구군길므라랴듯죠잖질진긴겠은을음으습아어었았어여였오쇼소느남노나길렵잔쟈쥬네넹기긔".contains(next),
        Shape::Either => follows(Shape::Base, last, Some(next)) || follows(Shape::Open, last, Some(next)),
        Shape::Open => "있잇요서도야라다주보버드놓두가오지졌져질진질갔왔줘줬줄준줍봐봤볼본봄놔놨둬뒀둘둔댔대선섬옄용염여셔서써쓰쪄도돌볼버드달놓내냈낸낼낸나난났날먹치쳐친칠쳤죽죠줌본볼봅오온올와왔가간갈감감".contains(next),
        Shape::Past => "다어던는네지고습으을음거나냐니더던기겠구군길면죠잖었단답대데듯든자음슴을으".contains(next),
        Shape::Closed => match last.and_then(|last| hangul::split(*last)) {
            Some((_, _, T_L)) => !"다고아어았었으은을음며면네니냐는습려리던자기린렸".contains(next),
            Some((_, _, T_B)) => "니시디네".contains(next),
            Some((_, _, T_N)) => !"고아어았었으은을음면네니냐는습".contains(next),
            Some((_, _, T_M)) => !"고지다가기려면네니냐는습아어었았키".contains(next),
            _ => !"아어았었습".contains(next),
        },
        Shape::Dropped => "는네니나냐노남세시십실신셔셨오".contains(next),
        Shape::BeforeVowel => "아어았었으은을음을옴".contains(next),
    }
}
