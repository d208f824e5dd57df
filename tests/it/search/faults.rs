//! Faults and attacks of docs/faults.md that meet the index: R18, S2, S9, S14. Each prints its figure.

use std::{fs, sync::Arc, time::Duration};

use moksori::{
    clock::Clock,
    index::Follower,
    query::Query,
    search::{Order, Page},
};
use unicode_normalization::UnicodeNormalization;

use super::{Place, open_search};

const WORDS: [&str; 16] = [
    "배송",
    "지연",
    "환불",
    "교환",
    "쿠폰",
    "결제",
    "오류",
    "앱",
    "고객센터",
    "사이즈",
    "delivery",
    "late",
    "refund",
    "app",
    "crash",
    "WELCOME10",
];

/// The same numbers on every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % limit
    }

    fn text(&mut self) -> String {
        (0..4 + self.below(8)).map(|_| WORDS[self.below(WORDS.len())]).collect::<Vec<_>>().join(" ")
    }
}

/// The clock of the wall, in milliseconds.
fn now() -> f64 {
    Clock::System.now().0 as f64
}

/// The value that so many of a hundred do not exceed.
fn percentile(mut values: Vec<f64>, percent: usize) -> f64 {
    values.sort_by(f64::total_cmp);
    values[(values.len() * percent / 100).min(values.len() - 1)]
}

fn answers(place: &Place) -> Vec<Vec<i64>> {
    let queries = [
        "배송",
        "배송 -환불",
        "\"배송 지연\"",
        "deliver*",
        "label:complaint 앱",
        "(team:care OR team:vip) 배송",
        "고객센터 OR refund",
    ];
    let ids = |query: &&str| place.find(query, &["care", "vip"]).hits.iter().map(|hit| hit.mention.0).collect();
    queries.iter().map(ids).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn r18_a_damaged_index_is_built_again_from_the_store_while_posts_come_in() {
    const POSTS: usize = 4_000;
    let mut place = Place::open().await;
    let mut dice = Dice(18);
    let mut batch = |count: usize| (0..count).map(|_| dice.text()).collect::<Vec<String>>();
    for _ in 0..POSTS / 200 {
        place
            .post_at(
                Some(if place.posts.load(std::sync::atomic::Ordering::SeqCst) % 400 == 0 { "care" } else { "vip" }),
                &batch(200),
                place.clock.now(),
            )
            .await;
    }
    place.index().await;
    place.search.flush().unwrap();
    let before = answers(&place);
    assert!(before.iter().all(|ids| !ids.is_empty()), "{before:?}");
    // What a quiet intake takes.
    let mut quiet = Vec::new();
    for _ in 0..10 {
        let (texts, began) = (batch(20), now());
        place.post_at(Some("vip"), &texts, place.clock.now()).await;
        quiet.push(now() - began);
    }
    place.index().await;
    let before = answers(&place);
    let dir = place.dir.path().join("index");
    let (empty, _) = open_search(&place.dir.path().join("nothing"));
    drop(std::mem::replace(&mut place.search, empty));
    let names: Vec<_> = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    let kind =
        |name: &std::path::PathBuf| name.extension().map_or_else(|| name.file_name().unwrap().to_owned(), ToOwned::to_owned);
    let mut kinds: Vec<_> = names.iter().filter(|name| fs::metadata(name).unwrap().len() > 0).map(kind).collect();
    kinds.sort_unstable();
    kinds.dedup();
    // Every kind of file is damaged once; an index is opened, found out, and built again.
    let (mut rates, mut busy) = (Vec::new(), Vec::new());
    for (at, kind_now) in kinds.iter().enumerate() {
        let victim = fs::read_dir(&dir)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .find(|name| kind(name) == *kind_now && fs::metadata(name).unwrap().len() > 0);
        let Some(victim) = victim else { continue };
        let mut bytes = fs::read(&victim).unwrap();
        match at % 3 {
            0 => bytes.truncate(bytes.len() / 2),
            1 => bytes.iter_mut().take(8).for_each(|byte| *byte ^= 0x5a),
            _ => bytes.clear(),
        }
        fs::write(&victim, bytes).unwrap();
        let (search, opened) = open_search(place.dir.path());
        assert!(opened.rebuilt, "{kind_now:?} was trusted");
        place.search = search;
        let store = Arc::clone(place.desk.store());
        let mut follower = Follower::new(store, Arc::clone(&place.search), place.clock.clone(), opened.seq).await.unwrap();
        let began = now();
        let building = tokio::spawn(async move { while follower.step().await.unwrap() {} });
        // Only while the first is built, so that the answers before and after can be compared.
        if at == 0 {
            while !building.is_finished() && busy.len() < 50 {
                let (texts, began) = (vec!["새 글 하나".to_owned(); 20], now());
                place.post_at(Some("vip"), &texts, place.clock.now()).await;
                busy.push(now() - began);
            }
        }
        building.await.unwrap();
        rates.push(place.search.documents() as f64 * 1_000.0 / (now() - began).max(1.0));
        place.search.flush().unwrap();
        assert_eq!(answers(&place), before, "after {kind_now:?}");
        let (empty, _) = open_search(&place.dir.path().join("nothing"));
        drop(std::mem::replace(&mut place.search, empty));
    }
    let (quiet, busy) = (percentile(quiet, 99), percentile(busy, 99));
    eprintln!(
        "R18: {} kinds of file, rebuilt at {:.0} posts a second (median); intake of 20 posts p99 {quiet:.0} ms, {busy:.0} ms while building",
        kinds.len(),
        percentile(rates.clone(), 50)
    );
    assert!(kinds.len() >= 6 && rates.len() == kinds.len(), "{kinds:?}");
    assert!(percentile(rates, 50) > 500.0, "a test build does this many even on a busy machine");
}

#[tokio::test(flavor = "multi_thread")]
async fn s2_disguised_letters_find_and_are_found() {
    let mut place = Place::open().await;
    let plain = "환불 요청 app";
    let nfd: String = plain.nfd().collect();
    let disguised = [
        plain.to_owned(),
        nfd.clone(),
        "환\u{200b}불 요\u{2060}청 a\u{200d}pp".into(),
        "\u{202e}환불\u{202c} 요청 app".into(),
        "환불 요청 ａｐｐ".into(),
        // Between the words it would end a thought, and a phrase does not reach over that.
        "😡환불 요청 app💥".into(),
    ];
    place.post_at(Some("care"), &disguised, place.clock.now()).await;
    place.index().await;
    let queries =
        ["환불 요청 app".to_owned(), nfd, "환불 APP".into(), "환\u{200b}불".into(), "\"환불 요청\"".into(), "ａｐｐ".into()];
    let mut missed = Vec::new();
    for query in &queries {
        let total = place.find(query, &["care"]).total;
        if total != disguised.len() {
            missed.push((query, total));
        }
    }
    eprintln!("S2: {} disguises, {} queries, {} do not find all", disguised.len(), queries.len(), missed.len());
    assert!(missed.is_empty(), "{missed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn s9_hostile_queries_are_refused_or_answered_in_time() {
    let mut place = Place::open().await;
    let mut dice = Dice(9);
    for _ in 0..10 {
        let texts: Vec<String> = (0..200).map(|_| dice.text()).collect();
        place.post_at(Some("care"), &texts, place.clock.now()).await;
    }
    place.index().await;
    place.search.flush().unwrap();
    let pieces: Vec<String> = serde_json::from_str(include_str!("../../search/hostile.json")).unwrap();
    let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
    let count = std::env::var("MOKSORI_FUZZ").ok().and_then(|count| count.parse().ok()).unwrap_or(3_000);
    let scope = place.scope(&["care"]);
    let (mut took, mut refused) = (Vec::new(), 0);
    for number in 0..count {
        let text: String = match number % 50 {
            0 => WORDS.join(" OR ").repeat(1 + dice.below(40)),
            1 => "(".repeat(dice.below(3_000)),
            _ => (0..=dice.below(14)).map(|_| pieces[dice.below(pieces.len())]).collect(),
        };
        let began = tokio::time::Instant::now();
        match text.parse::<Query>() {
            Ok(query) => {
                let order = [Order::Best, Order::Newest, Order::Oldest][dice.below(3)];
                let found = place.search.find(&query, &scope, order, Page { offset: 0, limit: 20 });
                assert!(found.is_ok(), "{text:?}: {:?}", found.err());
                place.search.snippet(&query, "배송 지연 app crash 10");
            }
            Err(error) => {
                assert!(error.at <= text.chars().count() + 1, "{text:?}: {error}");
                refused += 1;
            }
        }
        took.push(began.elapsed().as_secs_f64() * 1_000.0);
    }
    let (half, most) = (percentile(took.clone(), 50), percentile(took.clone(), 99));
    eprintln!("S9: {count} queries over 2,000 posts, {refused} refused, p50 {half:.2} ms, p99 {most:.2} ms");
    assert!(refused > 0 && refused < count);
    assert!(most <= 100.0 || cfg!(debug_assertions) && most <= 1_000.0, "p99 {most} ms");
}

#[tokio::test(flavor = "multi_thread")]
async fn s14_no_file_of_the_index_holds_a_deleted_word() {
    const CANARY: &str = "카나리아고유어휘";
    let mut place = Place::open().await;
    place.post(Some("care"), &[&format!("상담이 {CANARY} 라서"), "다른 글"]).await;
    place.index().await;
    place.search.flush().unwrap();
    // How many documents the files on disk name under the tokens of a word, whoever reads them.
    let on_disk = |token: &str| {
        let index = tantivy::Index::open_in_dir(place.dir.path().join("index")).unwrap();
        let field = index.schema().get_field("text").unwrap();
        let segments = index.reader().unwrap().searcher();
        segments.doc_freq(&tantivy::Term::from_field_text(field, token)).unwrap()
    };
    assert_eq!((on_disk("나리"), on_disk("다른")), (1, 1), "the word is in the index at first");
    let mention = place.find(CANARY, &["care"]).hits[0].mention;
    let deleted = moksori::search::Batch { deletes: vec![mention], seq: place.seq, ..Default::default() };
    place.search.apply(deleted).unwrap();
    let began = now();
    place.search.purge().unwrap();
    let took = now() - began;
    assert_eq!((on_disk("나리"), on_disk("카나"), place.find(CANARY, &["care"]).total), (0, 0, 0));
    assert_eq!(place.find("다른", &["care"]).total, 1);
    eprintln!("S14: nothing of the index holds the word {took:.0} ms after its post was deleted");
    assert!(Duration::from_millis(took as u64) < Duration::from_secs(300));
}
