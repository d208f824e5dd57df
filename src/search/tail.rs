//! The posts that wait for the next commit: kept in memory and matched one by one, by the same plan.

use std::sync::{Arc, OnceLock};

use tantivy::fieldnorm::FieldNormReader;

use super::{
    Post,
    check::{Memo, Text},
    plan::{PREFERRED, Phrase, Plan, Prefix, Which},
    tokens::{Cutter, composed},
};
use crate::{mention::MentionId, text::signature};

/// A token as the tail knows it. Two tokens share one in 2^64, and then a query finds a post too many
/// for a few seconds.
pub(super) fn key(token: &str) -> u64 {
    token.bytes().fold(0xcbf2_9ce4_8422_2325, |key, byte| (key ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// A post that is not committed, cut when somebody first searches.
pub(super) struct Waiting {
    pub(super) post: Post,
    cut: OnceLock<Cut>,
    signature: OnceLock<u64>,
}

struct Cut {
    keys: Box<[u64]>,
    positions: Box<[u32]>,
}

impl Waiting {
    pub(super) fn new(post: Post) -> Waiting {
        Waiting { post, cut: OnceLock::new(), signature: OnceLock::new() }
    }

    /// The signature of its text.
    pub(super) fn signature(&self) -> u64 {
        *self.signature.get_or_init(|| signature(&self.post.text))
    }

    fn cut(&self, cutter: &mut Cutter) -> &Cut {
        self.cut.get_or_init(|| {
            let (mut keys, mut positions) = (Vec::new(), Vec::new());
            cutter.each(&self.post.text, &mut |token| {
                keys.push(key(&token.text));
                positions.push(u32::try_from(token.position).unwrap_or(u32::MAX));
            });
            Cut { keys: keys.into(), positions: positions.into() }
        })
    }
}

/// The waiting posts, oldest first. A removed one leaves its place empty, for a running commit counts.
#[derive(Default)]
pub(super) struct Tail(Vec<Option<Arc<Waiting>>>);

impl Tail {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn push(&mut self, post: Post) {
        self.0.push(Some(Arc::new(Waiting::new(post))));
    }

    pub(super) fn remove(&mut self, mention: MentionId) {
        for place in &mut self.0 {
            if place.as_ref().is_some_and(|waiting| waiting.post.mention == mention) {
                *place = None;
            }
        }
    }

    /// Forgets the oldest, which are committed now.
    pub(super) fn forget(&mut self, count: usize) {
        self.0.drain(..count.min(self.0.len()));
    }

    pub(super) fn posts(&self) -> impl Iterator<Item = &Arc<Waiting>> {
        self.0.iter().flatten()
    }

    /// How many posts there are, and how many tokens in all of them, as the index would remember it.
    pub(super) fn sizes(&self, cutter: &mut Cutter) -> (u64, u64) {
        let size = |waiting: &Arc<Waiting>| u64::from(FieldNormReader::id_to_fieldnorm(norm(waiting.cut(cutter))));
        self.posts().map(size).fold((0, 0), |(posts, tokens), size| (posts + 1, tokens + size))
    }

    /// How many posts contain the token.
    pub(super) fn frequency(&self, key: u64, cutter: &mut Cutter) -> u64 {
        self.posts().map(|waiting| u64::from(waiting.cut(cutter).keys.contains(&key))).sum()
    }
}

fn norm(cut: &Cut) -> u8 {
    FieldNormReader::fieldnorm_to_id(u32::try_from(cut.keys.len()).unwrap_or(u32::MAX))
}

/// Does the post match, and how well? The same answer as the index will give.
pub(super) fn matches(plan: &Plan, waiting: &Waiting, cutter: &mut Cutter) -> Option<f32> {
    let post = &waiting.post;
    let yes = |yes: bool| yes.then_some(0.0);
    match plan {
        Plan::All(parts) => parts.iter().try_fold(0.0, |sum, part| Some(sum + matches(part, waiting, cutter)?)),
        Plan::Any(parts) => {
            let scores = parts.iter().filter_map(|part| matches(part, waiting, cutter));
            scores.fold(None, |sum, score| Some(sum.unwrap_or_default() + score))
        }
        Plan::Not(part) => yes(matches(part, waiting, cutter).is_none()),
        Plan::Phrase(phrase) => phrase_matches(phrase, waiting, cutter),
        Plan::Prefer(inner, typed) => {
            let score = matches(inner, waiting, cutter)?;
            Some(score + phrase_matches(typed, waiting, cutter).map_or(0.0, |score| score * PREFERRED))
        }
        Plan::Word(word) => {
            matches(&word.candidates, waiting, cutter)?;
            let mark = Text::new(&composed(&post.text), cutter, &Memo::default()).judge(&word.sought)?;
            let weight = word.weight.weight.as_ref();
            Some(weight.map_or(0.0, |weight| mark.score(weight, norm(waiting.cut(cutter)))))
        }
        Plan::Prefix(prefix) => begins(prefix, post, cutter).then_some(1.0),
        Plan::Exact(which, value) => yes(match which {
            Which::Lang => post.lang.as_str() == value,
            Which::Platform => post.platform == *value,
            Which::Account => post.accounts.iter().any(|account| account.to_lowercase() == *value),
            Which::Author => post.author.to_lowercase() == *value,
        }),
        Plan::Reach(from, to) => yes((*from..=*to).contains(&post.reach)),
        Plan::Posted(from, until) => yes((*from..*until).contains(&post.posted_at.0)),
        Plan::Case(case) => yes(case.holds(post.mention)),
    }
}

fn phrase_matches(phrase: &Phrase, waiting: &Waiting, cutter: &mut Cutter) -> Option<f32> {
    let cut = waiting.cut(cutter);
    let count = occurrences(phrase, cut);
    (count > 0).then(|| phrase.weight.as_ref().map_or(0.0, |weight| weight.score(norm(cut), count)))
}

fn occurrences(phrase: &Phrase, cut: &Cut) -> u32 {
    let Some((&(first_offset, _, first), rest)) = phrase.tokens.split_first() else { return 0 };
    let at = |key: u64| cut.keys.iter().zip(&cut.positions).filter(move |(other, _)| **other == key).map(|(_, at)| *at);
    let mut count = 0;
    for start in at(first) {
        let stands = |(offset, _, key): &(u32, String, u64)| at(*key).any(|other| other + first_offset == start + offset);
        count += u32::from(rest.iter().all(stands));
    }
    count
}

fn begins(prefix: &Prefix, post: &Post, cutter: &mut Cutter) -> bool {
    let mut found = false;
    cutter.each(&post.text, &mut |token| found |= prefix.starts.iter().any(|start| token.text.starts_with(start)));
    found
}
