//! The number beside a value is the number of hits behind it, whoever asks.

use std::time::Duration;

use jiff::civil::date;

use super::super::tests::{Dice, open, post};
use super::super::{Batch, Facts, Found, Names, Order, Page, Scope, Search};
use crate::{
    case::{CaseId, Seq, Status},
    clock::Time,
    mention::{Label, Lang, MentionId},
    staff::{AgentId, TeamId},
};

/// Posts of two brands and three teams, some without a case, some in both brands.
fn crowd(search: &Search, from: i64, to: i64, dice: &mut Dice) {
    let team = |team, key: &str| (TeamId(team), key.to_owned());
    search.set_names(Names { teams: vec![team(1, "care"), team(2, "vip"), team(3, "cup")], agents: Vec::new() });
    let (mut upserts, mut facts) = (Vec::new(), Vec::new());
    for id in from..to {
        let mut one = post(id, ["배송 지연", "배송 문의", "환불"][dice.below(3)]);
        one.lang = [Lang::Ko, Lang::En][dice.below(2)];
        one.platform = ["square", "forum"][dice.below(2)].into();
        one.accounts =
            [vec!["main"], vec!["Main", "side"], vec!["cup"]][dice.below(3)].iter().map(|key| (*key).into()).collect();
        one.posted_at =
            Time(Time::parse("2026-11-20T00:00:00+09:00").unwrap().0 - 3_600_000 * i64::try_from(dice.below(2_000)).unwrap());
        upserts.push(one);
        for brand in [1, 2].into_iter().filter(|brand| *brand == 1 || id % 5 == 0) {
            let mut row = Facts::new(MentionId(id), brand);
            if dice.below(4) > 0 {
                row.case = Some(CaseId(id * 10 + i64::from(brand)));
                row.team = Some(TeamId(if brand == 2 { 3 } else { 1 + i64::try_from(dice.below(2)).unwrap() }));
                row.label = Some(Label::ALL[dice.below(Label::ALL.len())]);
                row.status = Some(Status::ALL[dice.below(Status::ALL.len())]);
                row.assignee = Some(AgentId(1));
                (row.breached, row.met, row.replied) = (dice.below(4) == 0, dice.below(2) == 0, dice.below(2) == 0);
                row.answered = (dice.below(2) == 0).then(|| Duration::from_secs(60 * u64::try_from(dice.below(30)).unwrap()));
                row.disposition = (dice.below(2) == 0).then(|| ["refund", "Answered"][dice.below(2)].into());
            }
            facts.push(row);
        }
    }
    search.apply(Batch { upserts, facts, deletes: Vec::new(), seq: Seq(to) }).unwrap();
}

fn asked(search: &Search, query: &str, scope: &Scope) -> Found {
    let since = [date(2026, 11, 13), date(2026, 10, 20), date(2025, 11, 20)];
    search.find_page(&query.parse().unwrap(), scope, Order::Newest, Page { offset: 0, limit: 5 }, &since).unwrap()
}

#[test]
fn the_number_beside_a_value_is_the_number_of_hits_behind_it() {
    let dir = tempfile::tempdir().unwrap();
    let (search, _) = open(dir.path());
    let mut dice = Dice(3);
    crowd(&search, 1, 300, &mut dice);
    search.flush().unwrap();
    crowd(&search, 300, 400, &mut dice);
    search.apply(Batch { deletes: vec![MentionId(7), MentionId(310)], seq: Seq(401), ..Batch::default() }).unwrap();
    let scopes = [(vec![1], vec![]), (vec![1, 2], vec![1]), (vec![1, 2, 3], vec![1, 2]), (vec![3], vec![]), (vec![], vec![2])];
    for (teams, brands) in scopes {
        let scope = Scope { teams: teams.into_iter().map(TeamId).collect(), brands };
        for query in ["배송", "", "배송 -label:abuse", "reach:>9000 OR sla:met"] {
            let found = asked(&search, query, &scope);
            let mut fields = std::collections::BTreeSet::new();
            for facet in &found.facets {
                let narrower = format!("({query}) {}:{}", facet.field, facet.value).replace("() ", "");
                assert_eq!(asked(&search, &narrower, &scope).total, facet.count, "{narrower} for {scope:?}");
                fields.insert(facet.field);
            }
            let expected = if scope.teams.is_empty() { 4 } else { 9 };
            assert!(fields.len() == expected || found.total == 0, "{query} has only {fields:?} for {scope:?}");
        }
    }
}

#[test]
fn a_new_post_ranks_before_an_old_one_that_says_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let (search, _) = open(dir.path());
    let mut posts: Vec<_> =
        ["배송 지연", "배송 지연", "배송 지연 배송 지연 배송"].iter().zip(1..).map(|(text, id)| post(id, text)).collect();
    let day = Duration::from_secs(86_400);
    posts[0].posted_at = posts[2].posted_at.minus(day * 400);
    posts[1].posted_at = posts[2].posted_at;
    let facts = (1..=3).map(|id| Facts::new(MentionId(id), 1)).collect();
    search.apply(Batch { upserts: posts, facts, deletes: Vec::new(), seq: Seq(1) }).unwrap();
    for when in ["in the tail", "committed"] {
        let scope = Scope { teams: Vec::new(), brands: vec![1] };
        let query = "지연".parse().unwrap();
        let found = search.find(&query, &scope, Order::Best, Page { offset: 0, limit: 9 }).unwrap();
        let order: Vec<i64> = found.hits.iter().map(|hit| hit.mention.0).collect();
        assert!(order.iter().position(|id| *id == 2) < order.iter().position(|id| *id == 1), "{order:?} {when}");
        let scores: Vec<f32> = found.hits.iter().map(|hit| hit.score).collect();
        assert!(scores.is_sorted_by(|a, b| a >= b), "{scores:?}");
        search.flush().unwrap();
    }
}

#[test]
fn a_word_as_it_was_typed_ranks_before_its_other_forms() {
    let dir = tempfile::tempdir().unwrap();
    let (search, _) = open(dir.path());
    let texts = ["고객센터 느려요", "고객이 느리네요", "너무 느렸어요", "느린 앱", "고객은 느리네요"];
    let posts: Vec<_> = texts
        .iter()
        .zip(1..)
        .map(|(text, id)| super::super::Post { posted_at: Time(1_795_000_000_000), ..post(id, text) })
        .collect();
    let facts = (1..=5).map(|id| Facts::new(MentionId(id), 1)).collect();
    search.apply(Batch { upserts: posts, facts, deletes: Vec::new(), seq: Seq(1) }).unwrap();
    for when in ["in the tail", "committed"] {
        let scope = Scope { teams: Vec::new(), brands: vec![1] };
        let found = search.find(&"느리네요".parse().unwrap(), &scope, Order::Best, Page { offset: 0, limit: 9 }).unwrap();
        let mut first: Vec<i64> = found.hits.iter().take(2).map(|hit| hit.mention.0).collect();
        first.sort_unstable();
        assert!(found.total > 2, "nothing was widened {when}");
        assert_eq!(first, [2, 5], "{when}: {:?}", found.hits);
        search.flush().unwrap();
    }
}
