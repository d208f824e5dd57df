//! Look-alikes: posts that say nearly the same words, and posts about the same problem.
//!
//! The first by the 64-bit signatures of [`crate::text::signature`], all of which are compared in one pass
//! over a column; the second by the few tokens that tell a text from the others.

use std::{cmp::Reverse, collections::HashSet};

use tantivy::{
    Term,
    query::{Bm25StatisticsProvider, Bm25Weight},
};

use super::{
    Error, Live, Order, Page, Post, Scope, Shared,
    find::{self, Statistics, Wanted},
    plan::{Phrase, Plan},
    tail::{self, Waiting},
    tokens::{Cutter, composed},
};
use crate::{
    case::CaseId,
    mention::{Lang, MentionId},
    text,
};

/// Tokens that a text is known by.
const TELLING: usize = 24;
/// A token that more than one in so many posts has tells nothing.
const COMMON: u64 = 12;
/// Share of the telling tokens' weight that a post must have to be about the same.
const SAME: f32 = 0.15;
/// Signatures compared at a time.
const BLOCK: usize = 1_024;

/// A post like another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Alike {
    /// Which.
    pub mention: MentionId,
    /// Its case, if it has one.
    pub case: Option<CaseId>,
    /// It says the same in nearly the same words.
    pub copy: bool,
    /// How like, from 0 to 1.
    pub score: f32,
}

/// Calls `found` for each post that `scope` may see whose signature is like one of `wanted`, with the place of
/// that one.
pub(super) fn copies(
    live: &Live,
    wanted: &[u64],
    scope: &Scope,
    mut found: impl FnMut(usize, MentionId, u64),
) -> Result<(), Error> {
    let mut check = |signature: u64, mention: &dyn Fn() -> MentionId| {
        for (place, wanted) in wanted.iter().enumerate() {
            if text::alike(signature, *wanted) {
                let mention = mention();
                if live.table.visible(mention, scope).next().is_some() {
                    found(place, mention, signature);
                }
            }
        }
    };
    let mut block = [0_u64; BLOCK];
    for segment in live.searcher.segment_readers() {
        let columns = segment.fast_fields();
        let mentions = columns.column_first_or_default::<i64>("mention")?;
        let signatures = columns.column_first_or_default::<u64>("signature")?;
        let alive = segment.alive_bitset();
        for start in (0..segment.max_doc()).step_by(BLOCK) {
            let count = BLOCK.min((segment.max_doc() - start) as usize);
            signatures.get_range(u64::from(start), &mut block[..count]);
            for (doc, signature) in (start..).zip(&block[..count]) {
                let mention = || MentionId(mentions.get_val(doc));
                if alive.is_none_or(|alive| alive.is_alive(doc)) {
                    check(*signature, &|| {
                        let mention = mention();
                        // One that was deleted or replaced since has no row under a number that nobody has.
                        let gone = live.dead.contains(&mention) || live.dying.contains(&mention);
                        if gone { MentionId(i64::MIN) } else { mention }
                    });
                }
            }
        }
    }
    for waiting in live.tail.posts() {
        check(waiting.signature(), &|| waiting.post.mention);
    }
    Ok(())
}

/// Posts like `text`, most alike first; those of `but` are left out.
pub(super) fn alike(
    shared: &Shared,
    live: &Live,
    text: &str,
    but: &[MentionId],
    scope: &Scope,
    limit: usize,
) -> Result<Vec<Alike>, Error> {
    let signature = text::signature(text);
    let mut all: Vec<Alike> = Vec::new();
    copies(live, &[signature], scope, |_, mention, other| {
        if !but.contains(&mention) {
            let case = live.table.visible(mention, scope).next().and_then(|row| row.case());
            let score = 1.0 - (signature ^ other).count_ones() as f32 / 64.0;
            all.push(Alike { mention, case, copy: true, score });
        }
    })?;
    let newest_first = |one: &Alike| (Reverse(one.score.to_bits()), Reverse(one.mention));
    all.sort_unstable_by_key(newest_first);
    all.truncate(limit);
    if all.len() < limit {
        let known: HashSet<MentionId> = all.iter().map(|one| one.mention).chain(but.iter().copied()).collect();
        let others = similar(shared, live, text, scope, limit + known.len())?;
        all.extend(others.into_iter().filter(|one| !known.contains(&one.mention)).take(limit - all.len()));
    }
    Ok(all)
}

/// Posts that share what is telling in `text`.
fn similar(shared: &Shared, live: &Live, text: &str, scope: &Scope, limit: usize) -> Result<Vec<Alike>, Error> {
    let mut cutter = Cutter::for_posts();
    let mut tokens: Vec<String> = Vec::new();
    let words = composed(text);
    cutter.each(&words, &mut |token| {
        // A pair over a space says which words stand together, not what they are.
        let whole = words.get(token.offset_from..token.offset_to).is_some_and(|word| !word.contains(char::is_whitespace));
        if whole && token.text.chars().count() > 1 && !tokens.contains(&token.text) {
            tokens.push(token.text.clone());
        }
    });
    let mut phrases = Vec::new();
    {
        let statistics = Statistics::new(live, &mut cutter);
        let all = statistics.total_num_docs()?;
        for token in tokens {
            let term = Term::from_field_text(shared.fields.text, &token);
            let having = statistics.doc_freq(&term)?;
            // What only this post says leads nowhere.
            if having > 1 && having.saturating_mul(COMMON) <= all.max(COMMON * 4) {
                let weight = Bm25Weight::for_terms(&statistics, &[term])?;
                let key = tail::key(&token);
                phrases.push((having, Phrase { tokens: vec![(0, token, key)], weight: Some(weight), ..Phrase::default() }));
            }
        }
    }
    phrases.sort_by_key(|(having, _)| *having);
    phrases.truncate(TELLING);
    if phrases.len() < 2 {
        return Ok(Vec::new());
    }
    let plan = Plan::Any(phrases.into_iter().map(|(_, phrase)| Plan::Phrase(phrase)).collect());
    let own = tail::matches(&plan, &Waiting::new(plain(text)), &mut cutter).unwrap_or(0.0);
    let wanted = Wanted { scope, order: Order::Best, page: Page { offset: 0, limit }, since: &[], all: false };
    let found = find::run(shared, live, plan, &wanted)?;
    let alike = found.hits.into_iter().map(|hit| {
        let score = (hit.score / own.max(f32::MIN_POSITIVE) / (1.0 + find::ADVANTAGE)).min(1.0);
        Alike { mention: hit.mention, case: hit.case, copy: false, score }
    });
    Ok(alike.filter(|one| one.score >= SAME).collect())
}

/// A post of which only the text counts.
fn plain(text: &str) -> Post {
    Post {
        mention: MentionId(0),
        new: true,
        text: text.to_owned(),
        lang: Lang::default(),
        platform: String::new(),
        accounts: Vec::new(),
        author: String::new(),
        posted_at: crate::clock::Time(0),
        reach: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{batch, facts, open, post, scope};
    use super::super::{Batch, Facts, Search};
    use super::*;
    use crate::{case::Seq, staff::TeamId};

    const POSTS: [&str; 12] = [
        "주문한 지 열흘이 지났는데 아직도 배송 준비중이라고만 나옵니다. 언제 보내주시나요?",
        "주문한지 열흘이 지났는데 아직도 배송 준비중이라고만 나옵니다!! 언제 보내주시나요",
        "일주일째 배송 준비중이에요. 도대체 언제 출고되나요",
        "배송 준비중에서 안 넘어가네요 언제 오나요 진짜",
        "어제 받은 셔츠 사이즈가 작아서 교환하고 싶은데 어디에 신청하면 되나요?",
        "사이즈 교환 신청은 어디에서 하면 되나요? 셔츠가 작아요",
        "My parcel has not arrived and nobody answers my mails",
        "my parcel has not arrived, and nobody answers my mails!",
        "nobody answers the mails I sent about my parcel",
        "Do you ship to Canada, and how much is it?",
        "앱이 자꾸 튕겨서 결제를 못 하겠어요",
        "오늘 날씨가 좋네요",
    ];

    fn like(search: &Search, id: i64) -> (Vec<i64>, Vec<i64>) {
        let text = POSTS[usize::try_from(id - 1).unwrap()];
        let (copies, others): (Vec<Alike>, Vec<Alike>) =
            search.alike(text, &[MentionId(id)], &scope(), 10).unwrap().into_iter().partition(|one| one.copy);
        let ids = |all: Vec<Alike>| all.iter().map(|one| one.mention.0).collect();
        (ids(copies), ids(others))
    }

    #[test]
    fn copies_come_first_then_what_is_about_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let (search, _) = open(dir.path());
        let said = (1..).zip(POSTS).map(|(id, text)| post(id, text));
        // What everybody says, so that it tells nothing.
        let chatter = [
            "언제 되나요 진짜",
            "어디에서 하면 되나요?",
            "아직도 안 오나요",
            "어제 받은 거 좋아요",
            "how much is it and do you",
        ];
        let chatter = (100..400).map(|id| post(id, chatter[usize::try_from(id % 5).unwrap()]));
        search.apply(batch(said.chain(chatter).collect(), 1)).unwrap();
        for when in ["in the tail", "committed"] {
            let table: [(i64, &[i64], &[i64]); 6] =
                [(1, &[2], &[3, 4]), (3, &[], &[1, 2, 4]), (5, &[], &[6]), (7, &[8], &[9]), (10, &[], &[]), (12, &[], &[])];
            for (id, copies, others) in table {
                let (found_copies, found_others) = like(&search, id);
                assert_eq!(found_copies, copies, "copies of {id} {when}");
                let mut found_others = found_others;
                found_others.sort_unstable();
                assert_eq!(found_others, others, "about the same as {id} {when}");
            }
            let signatures = [POSTS[0], POSTS[11], ""].map(text::signature);
            assert_eq!(search.copies(&signatures, &scope()).unwrap(), [2, 1, 0], "{when}");
            search.flush().unwrap();
        }
        search.apply(Batch { deletes: vec![MentionId(2)], seq: Seq(2), ..Batch::default() }).unwrap();
        assert_eq!(like(&search, 1).0, [0; 0], "what is deleted is like nothing");
        search.set_facts(&[facts(8, 2), Facts { team: None, case: None, ..facts(9, 1) }]);
        assert_eq!(like(&search, 7), (vec![], vec![9]), "another team's copy is not seen");
        let nobody = Scope { teams: vec![TeamId(9)], brands: vec![9] };
        assert!(search.alike(POSTS[0], &[], &nobody, 10).unwrap().is_empty());
        assert_eq!(search.copies(&[text::signature(POSTS[0])], &nobody).unwrap(), [0]);
    }
}
