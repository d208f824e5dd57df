//! What a Korean word that somebody typed may look like in a post: text in, alternatives out.
//!
//! The word is read by the lexicon as a noun with its particles, as an inflected verb or adjective, or as an
//! expression of both (관심없다). A noun is looked for without its particles, a verb in each of its surface
//! stems; `check` then decides whether a place where they stand is the word.

pub(crate) mod hangul;
mod loan;
pub(crate) mod particle;
pub(crate) mod verb;

use super::lexicon::{Kind, Lattice, Lexicon, MAX_RUN, Node, has_final};
use hangul::{NONE, T_B, T_L, T_M, T_N, T_S};
use verb::{Form, Shape};

/// What must be true where an alternative stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Class {
    /// It is a noun, or a part of a compound.
    Noun,
    /// It is the stem of a verb or adjective, of this shape.
    Verb(Shape),
    /// It begins where a word begins.
    Whole,
}

/// One thing to look for. Between its parts a particle and a space may stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Alternative {
    pub(crate) parts: Vec<Vec<char>>,
    pub(crate) class: Class,
}

/// Readings that cost at most so much more than the cheapest are believed too.
const DOUBT: i32 = 60;

/// Demonstratives whose ㄴ-form is a word of its own: 이런, 어떤.
const DEMONSTRATIVE: [&str; 5] = ["이렇", "그렇", "저렇", "어떻", "요렇"];

/// What a run of Hangul syllables may look like in a post; the most likely comes first.
pub(crate) fn alternatives(run: &[char]) -> Vec<Alternative> {
    let mut found = Vec::new();
    if run.is_empty() || run.len() > MAX_RUN || !run.iter().all(|char| hangul::is(*char)) {
        add(&mut found, vec![run.to_vec()], Class::Whole);
        return found;
    }
    let lexicon = Lexicon::get();
    let lattice = Lattice::new(run, None);
    let listed = lexicon.has(run, |kind| matches!(kind, Kind::Noun | Kind::Number));
    // 감독님의, 국민들은: the honour and the plural are not looked for.
    let bare = (2..run.len()).find(|at| matches!(run[*at], '님' | '들') && particle::is(&run[at + 1..]));
    if let Some(at) = bare
        && lexicon.has(&run[..at], |kind| kind == Kind::Noun)
    {
        noun(&mut found, &run[..at]);
        return found;
    }
    let path = lattice.path();
    let verbal = path.first().is_some_and(|node| node.entry.kind.verbal());
    // 써비스: the usual spelling is a noun that the lexicon knows, where it does not know the typed one.
    let loan = (3..=run.len()).find(|end| particle::is(&run[*end..]) && loan::mends(&run[..*end]));
    if let Some(end) = loan {
        noun(&mut found, &run[..end]);
        return found;
    }
    if let ['안' | '못'] = run {
        add(&mut found, vec![run.to_vec()], Class::Whole);
        return found;
    }
    // 늦, 없, 싫: what ends so is a stem that somebody typed, not a name.
    let stem = run.len() == 1
        && lexicon.has(run, |kind| kind == Kind::Stem)
        && hangul::split(run[0]).is_some_and(|(_, _, tail)| !matches!(tail, NONE | 1 | T_N | T_L | T_M | T_B | T_S | 21))
        && !"밖끝앞낮젖빚".contains(run[0]);
    if stem {
        for form in verb::forms(run) {
            add(&mut found, vec![form.text], Class::Verb(form.shape));
        }
        return found;
    }
    if listed && !verbal && (lattice.noun_gap(0, run.len()) <= DOUBT * 2 || run.len() == 1) && run[0] != '만' {
        noun(&mut found, run);
        return found;
    }
    // 볼만한: what is worth it is one expression.
    let worth = (0..run.len().saturating_sub(1)).find(|at| {
        let after_l = |before: &char| hangul::split(*before).is_some_and(|(_, _, tail)| tail == hangul::T_L);
        run[*at] == '만' && run[..*at].last().is_none_or(after_l)
    });
    if let Some(at) = worth
        && !verb::suited(&['하'], &run[at + 1..]).is_empty()
    {
        for form in verb::forms(&['하']) {
            add(&mut found, vec![run[..=at].iter().chain(&form.text).copied().collect()], Class::Verb(form.shape));
        }
        return found;
    }
    read(&mut found, run, &path);
    // A noun and its particle may look like a verb: 배우는. And the other way round.
    let begins = |node: &Node, to: usize| node.from == 0 && node.to == to;
    for end in (2..run.len()).filter(|end| particle::is(&run[*end..])) {
        let gap = lattice.gap(|node| begins(node, end) && node.entry.kind == Kind::Noun);
        if verbal && gap <= DOUBT {
            noun(&mut found, &run[..end]);
        }
    }
    if !verbal && lattice.gap(|node| node.from == 0 && node.entry.kind.verbal()) <= DOUBT {
        let node = lattice.nodes().iter().filter(|node| node.from == 0 && node.entry.kind.verbal());
        for node in node.filter(|node| {
            lattice.gap(|other| other.to == node.to && other.from == 0 && other.entry.kind == node.entry.kind) <= DOUBT
        }) {
            predicate(&mut found, run, &[], *node);
        }
    }
    if found.is_empty() {
        add(&mut found, vec![run.to_vec()], Class::Whole);
    }
    found
}

fn add(found: &mut Vec<Alternative>, parts: Vec<Vec<char>>, class: Class) {
    let alternative = Alternative { parts, class };
    if !found.contains(&alternative) {
        found.push(alternative);
    }
}

/// A noun as it is, without 들 and 님, in its other spellings, and with a particle where it has two halves.
fn noun(found: &mut Vec<Alternative>, typed: &[char]) {
    let mut base = typed;
    while let Some((last, head)) = base.split_last()
        && (*last == '들' || *last == '님')
        && head.len() >= 2
        && !Lexicon::get().has(base, |kind| kind == Kind::Noun)
    {
        base = head;
    }
    add(found, vec![base.to_vec()], Class::Noun);
    for variant in loan::variants(base) {
        add(found, vec![variant], Class::Noun);
    }
    if base.len() >= 4 {
        let path = Lattice::new(base, None).path();
        if let [first, second] = path.as_slice()
            && first.to - first.from >= 2
            && second.to - second.from >= 2
            && [first, second].iter().all(|node| node.entry.kind == Kind::Noun)
        {
            add(found, vec![base[..first.to].to_vec(), base[first.to..].to_vec()], Class::Noun);
        }
    }
}

/// By the cheapest reading.
fn read(found: &mut Vec<Alternative>, run: &[char], path: &[Node]) {
    let mut end = path.len();
    while end > 0 && matches!(path[end - 1].entry.kind, Kind::Particle | Kind::Ending) {
        end -= 1;
    }
    let Some(last) = end.checked_sub(1).map(|last| path[last]) else {
        return add(found, vec![run.to_vec()], Class::Whole);
    };
    let head = &path[..end - 1];
    match last.entry.kind {
        Kind::Unknown if head.is_empty() && last.to == run.len() => unknown(found, run),
        kind if kind.nominal() => {
            // One syllable that is no particle is the end of a name: 장동건.
            let named = last.to + 1 == run.len() && !particle::is(&run[last.to..]);
            let base = if named { run } else { &run[..last.to] };
            let pure = head.iter().all(|node| {
                node.entry.kind.nominal() || node.entry.kind == Kind::Particle || node.entry.kind == Kind::Determiner
            });
            if pure { noun(found, base) } else { add(found, vec![base.to_vec()], Class::Whole) }
        }
        // One syllable that no sentence needs is the end of a name: 장동건.
        Kind::Derived if last.to == run.len() && last.to - last.from == 1 && "건균".contains(run[last.from]) => {
            noun(found, run)
        }
        Kind::Derived => {
            let base = &run[..last.from];
            match head.last() {
                Some(before) if before.entry.kind.nominal() && before.entry.kind != Kind::Bound && base.len() >= 2 => {
                    noun(found, base)
                }
                Some(_) => derived(found, run, last),
                None => add(found, vec![run.to_vec()], Class::Whole),
            }
        }
        kind if kind.verbal() => {
            // 고쳐 주세요 is about mending, not about giving.
            let giving = kind == Kind::Auxiliary && "주줘줬드".contains(run[last.from]);
            let main = head.iter().rposition(|node| node.entry.kind.verbal()).filter(|_| giving);
            match main {
                Some(main) => predicate(found, &run[..path[end - 2].to], &path[..main], path[main]),
                None => predicate(found, run, head, last),
            }
        }
        _ => add(found, vec![run[..last.to].to_vec()], Class::Whole),
    }
}

/// A word that the lexicon does not know, most often a name: without the particle that fits its last sound.
fn unknown(found: &mut Vec<Alternative>, run: &[char]) {
    let fits = |end: usize| {
        let closed = has_final(run[end - 1]);
        match run[end..] {
            ['은' | '이' | '을' | '과'] => closed,
            ['는' | '가' | '를' | '와'] => !closed,
            ['나' | '만' | '의' | '도' | '로' | '랑' | '라' | '고'] => false,
            _ => true,
        }
    };
    let end = (2..run.len()).find(|end| particle::is(&run[*end..]) && fits(*end));
    noun(found, &run[..end.unwrap_or(run.len())]);
}

/// 하 behind something short or bound: 대한, 볼만해요.
fn derived(found: &mut Vec<Alternative>, run: &[char], last: Node) {
    for stem in ['하', '되'] {
        if verb::suited(&[stem], &run[last.from..]).is_empty() {
            continue;
        }
        let head = &run[..last.from];
        for form in verb::forms(&[stem]) {
            add(found, vec![head.iter().chain(&form.text).copied().collect()], Class::Verb(form.shape));
        }
        return;
    }
    add(found, vec![run.to_vec()], Class::Whole);
}

/// A verb or adjective behind `head`: all its surface stems.
fn predicate(found: &mut Vec<Alternative>, run: &[char], head: &[Node], last: Node) {
    let stems = stems(&run[last.from..], last.entry.kind == Kind::Auxiliary || !head.is_empty());
    if stems.is_empty() {
        return add(found, vec![run[..last.to].to_vec()], Class::Whole);
    }
    // 관심이 없다: the particle may be there or not.
    let inside = head.last().map(|node| node.entry.kind);
    let base = match inside {
        Some(Kind::Particle) => head.len().checked_sub(2).map_or(0, |before| head[before].to),
        _ => last.from,
    };
    let split = inside.is_some_and(|kind| kind == Kind::Particle || kind.nominal()) && base > 0;
    let twins: Vec<Vec<char>> = stems.iter().flat_map(|stem| verb::twins(stem)).collect();
    for stem in stems.into_iter().chain(twins) {
        // 재미없다 is 재미가 없다 too.
        if let Some((&last, noun)) = stem.split_last()
            && head.is_empty()
            && !noun.is_empty()
            && (last == '없' || last == '있')
        {
            add(found, vec![noun.to_vec(), vec![last]], Class::Verb(Shape::Base));
            continue;
        }
        for Form { text, shape } in shown(&stem, run) {
            if split {
                add(found, vec![run[..base].to_vec(), text], Class::Verb(shape));
            } else {
                add(found, vec![run[..last.from].iter().chain(&text).copied().collect()], Class::Verb(shape));
            }
        }
    }
}

/// How many syllables of an inflected word are its stem, in the longest reading.
pub(crate) fn stem_length(word: &[char]) -> usize {
    let suits = |length: &usize| {
        let (surface, next) = (&word[..*length], word.get(*length).copied());
        let fits = |form: &Form| form.text == surface && verb::follows(form.shape, form.text.last(), next);
        verb::lemmas(surface, true).iter().any(|stem| verb::forms(stem).iter().any(fits))
    };
    (1..=word.len()).rev().find(suits).unwrap_or(0)
}

/// The stems that a predicate may have, by its longest surface stem.
pub(crate) fn stems(predicate: &[char], auxiliary: bool) -> Vec<Vec<char>> {
    // 잃어버렸다: a verb of its own, whether the lexicon has it or not.
    let away = ['버', '리'];
    if let Some(at) = (2..predicate.len()).find(|at| !verb::suited(&away, &predicate[*at..]).is_empty()) {
        return vec![predicate[..at].iter().chain(&away).copied().collect()];
    }
    for length in (1..=predicate.len().min(6)).rev() {
        let surface = &predicate[..length];
        let next = predicate.get(length).copied();
        let mut stems: Vec<Vec<char>> = verb::lemmas(surface, auxiliary);
        stems.retain(|stem| {
            verb::forms(stem).iter().any(|form| form.text == surface && verb::follows(form.shape, form.text.last(), next))
        });
        if stems.is_empty() {
            continue;
        }
        // 도와주, 고쳐주: the verb that is done for somebody.
        for stem in &mut stems {
            if let Some((&'주', open)) = stem.split_last()
                && let [main, ..] = verb::lemmas(open, false).as_slice()
                && open.len() >= 2
            {
                *stem = main.clone();
            }
        }
        // Heard is typed more often than lifted.
        if stems.iter().any(|stem| stem.ends_with(&['듣'])) {
            stems.retain(|stem| !stem.ends_with(&['들']));
        }
        return stems;
    }
    Vec::new()
}

fn shown(stem: &[char], run: &[char]) -> Vec<Form> {
    let mut forms = verb::forms(stem);
    let demonstrative = DEMONSTRATIVE.iter().any(|word| word.chars().eq(stem.iter().copied()));
    if demonstrative {
        forms.retain(|form| form.shape != Shape::Closed || run.starts_with(&form.text));
        forms.retain(|form| form.text.len() > 1 && (form.shape != Shape::Base || form.text == stem));
    }
    forms
}
