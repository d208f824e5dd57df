//! Finds posts that say the same as another one: of ours (near duplicates) or of somebody else (copies).

use std::collections::{HashMap, HashSet};

use super::{Problem, problem};
use crate::mention::Lang;

/// Two posts of ours that share so much of their letters teach one thing twice.
const NEAR: f64 = 0.6;
/// A post that shares so much with public text is a copy of it.
const COPY: f64 = 0.8;
/// Shorter texts are alike by chance: everybody writes "thank you so much".
const LEAST_RUNS: usize = 8;
/// A run of letters in more texts than this tells nothing about any two of them.
const COMMON: usize = 200;

/// The runs of letters of a text, hashed: of three syllables in Korean, of five letters in English.
fn runs(text: &str, lang: Lang) -> HashSet<u64> {
    let length = if lang == Lang::Ko { 3 } else { 5 };
    let letters: Vec<char> = text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect();
    letters.windows(length).map(|run| run.iter().fold(0xcbf2_9ce4_8422_2325, |hash, c| mix(hash ^ u64::from(*c)))).collect()
}

/// The finaliser of splitmix64.
fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// Texts by their runs, to find those that share many.
struct Index {
    texts: Vec<HashSet<u64>>,
    holders: HashMap<u64, Vec<usize>>,
}

impl Index {
    fn new(texts: &[(&str, &str)], lang: Lang) -> Index {
        let texts: Vec<HashSet<u64>> = texts.iter().map(|(_, text)| runs(text, lang)).collect();
        let mut holders: HashMap<u64, Vec<usize>> = HashMap::new();
        for (number, runs) in texts.iter().enumerate() {
            runs.iter().for_each(|run| holders.entry(*run).or_default().push(number));
        }
        holders.retain(|_, texts| texts.len() <= COMMON);
        Index { texts, holders }
    }

    /// The texts whose overlap with `wanted` is at least `least` of all their runs together.
    fn like(&self, wanted: &HashSet<u64>, least: f64) -> Vec<usize> {
        if wanted.len() < LEAST_RUNS {
            return Vec::new();
        }
        let mut sharing: HashMap<usize, usize> = HashMap::new();
        for number in wanted.iter().filter_map(|run| self.holders.get(run)).flatten() {
            *sharing.entry(*number).or_default() += 1;
        }
        // Common runs are not counted, so this only says who is worth a closer look.
        sharing.retain(|_, shared| *shared * 3 >= wanted.len());
        let mut found: Vec<usize> = sharing.into_keys().filter(|number| self.overlap(wanted, *number) >= least).collect();
        found.sort_unstable();
        found
    }

    /// What the two have in common, of all that they have.
    #[expect(clippy::cast_precision_loss, reason = "lengths of short texts")]
    fn overlap(&self, wanted: &HashSet<u64>, number: usize) -> f64 {
        let text = &self.texts[number];
        let shared = wanted.intersection(text).count();
        if text.len() < LEAST_RUNS { 0.0 } else { shared as f64 / (wanted.len() + text.len() - shared) as f64 }
    }
}

/// Pairs of ours, (id, text), that are nearly the same.
pub(super) fn near_duplicates(ours: &[(&str, &str)], lang: Lang) -> Vec<Problem> {
    let index = Index::new(ours, lang);
    let mut problems = Vec::new();
    for (number, (id, text)) in ours.iter().enumerate() {
        for other in index.like(&index.texts[number], NEAR).into_iter().filter(|other| *other > number) {
            let (other, twin) = ours[other];
            problems.push(problem(*id, format!("says nearly the same as {other}, rewrite one: {text:?} and {twin:?}")));
        }
    }
    problems
}

/// Posts of ours, (id, text), that are in public text, (source, text).
pub(super) fn copies(ours: &[(&str, &str)], public: &[(&str, &str)], lang: Lang) -> Vec<Problem> {
    // Ours is the smaller side, so it is the one indexed.
    let index = Index::new(ours, lang);
    let mut problems = Vec::new();
    for (source, text) in public {
        for found in index.like(&runs(text, lang), COPY) {
            problems.push(problem(ours[found].0, format!("copies {source}, write it in other words: {text:?}")));
        }
    }
    problems
}
