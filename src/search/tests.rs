//! Stories of the whole stage: what is found, by whom, before and after a commit, a crash and damage.

mod rebuild;

use std::{collections::BTreeSet, fs, path::Path};

use prometheus::Registry;

use super::*;

pub(super) fn open(dir: &Path) -> (Search, Opened) {
    let config = Config {
        commit_every: Duration::from_secs(3_600),
        commit_docs: 10_000,
        writer_heap_bytes: 15_000_000,
        time_zone: "Asia/Seoul".into(),
    };
    Search::open(dir, config, Metrics::new(&Registry::new()).unwrap()).unwrap()
}

pub(super) fn post(mention: i64, text: &str) -> Post {
    Post {
        mention: MentionId(mention),
        new: true,
        text: text.into(),
        lang: Lang::Ko,
        platform: "mastodon".into(),
        accounts: vec!["shop".into()],
        author: "minji".into(),
        posted_at: Time(1_795_000_000_000 + mention * 60_000),
        reach: mention.unsigned_abs() * 100,
    }
}

pub(super) fn facts(mention: i64, team: i64) -> Facts {
    Facts {
        case: Some(CaseId(mention)),
        team: Some(TeamId(team)),
        label: Some(Label::ALL[usize::try_from(mention % 5).unwrap()]),
        status: Some(Status::New),
        ..Facts::new(MentionId(mention), 1)
    }
}

/// A batch in which every post is a case of team 1.
pub(super) fn batch(posts: Vec<Post>, seq: i64) -> Batch {
    let facts = posts.iter().map(|post| facts(post.mention.0, 1)).collect();
    Batch { upserts: posts, facts, seq: Seq(seq), ..Batch::default() }
}

pub(super) fn scope() -> Scope {
    Scope { teams: vec![TeamId(1)], brands: vec![1] }
}

pub(super) fn found(search: &Search, query: &str, order: Order) -> Found {
    let query = query.parse().unwrap_or_else(|error| panic!("{query}: {error}"));
    search.find(&query, &scope(), order, Page { offset: 0, limit: 10_000 }).unwrap()
}

pub(super) fn ids(search: &Search, query: &str) -> Vec<i64> {
    let found = found(search, query, Order::Oldest);
    assert_eq!(found.total, found.hits.len());
    found.hits.iter().map(|hit| hit.mention.0).collect()
}

/// Opens an index with these posts, numbered from 1, and asks each query before and after a commit.
fn check(posts: &[&str], table: &[(&str, &[i64])]) {
    let dir = tempfile::tempdir().unwrap();
    let (search, _) = open(dir.path());
    search.apply(batch((1..).zip(posts).map(|(id, text)| post(id, text)).collect(), 1)).unwrap();
    for when in ["in the tail", "committed"] {
        for (query, expected) in table {
            assert_eq!(ids(&search, query), *expected, "{query} {when}");
        }
        search.flush().unwrap();
    }
}

#[test]
fn words_are_found_as_people_write_them() {
    let posts = [
        "무료배송이라더니 안 와요",                       // 1
        "배송이 너무 늦어서 환불하고 싶어요",             // 2
        "앱이 자꾸 튕겨요",                               // 3
        "쿠폰WELCOME10을 썼는데 아이폰15프로는 제외래요", // 4
        "고객센터 전화연결이 안 됩니다",                  // 5
        "고객 센터에 물어봤어요",                         // 6
        "Delivery was delayed, the app crashed",          // 7
        "맵이 이상해요 지연 없이 배달",                   // 8
        "東京タワーへの配送",                             // 9
        "ＷＥＬＣＯＭＥ 할인",                            // 10
    ];
    let table: &[(&str, &[i64])] = &[
        ("", &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]),
        ("배송", &[1, 2]),
        ("배송이", &[1, 2]),
        ("배송 환불", &[2]),
        ("배송 OR 센터", &[1, 2, 5, 6]),
        ("배송 -환불", &[1]),
        ("-배송 센터", &[5, 6]),
        ("-배송", &[3, 4, 5, 6, 7, 8, 9, 10]),
        ("배송*", &[2]),
        ("앱", &[3]),
        ("앱*", &[3]),
        ("이", &[]),
        ("요", &[]),
        ("WELCOME10", &[4]),
        ("welcome", &[10]),
        ("welc*", &[4, 10]),
        ("아이폰15", &[4]),
        ("아이폰15프로", &[4]),
        ("15", &[4]),
        ("\"고객 센터\"", &[5, 6]),
        ("고객센터", &[5, 6]),
        ("\"센터 고객\"", &[]),
        ("delivered", &[]),
        ("deliveries", &[7]),
        ("deliv*", &[7]),
        ("crashes", &[7]),
        ("\"delivery delayed\"", &[]),
        ("\"was delayed\"", &[7]),
        ("\"delivery crashed\"~4", &[7]),
        ("\"crashed delivery\"~4", &[7]),
        ("\"delivery crashed\"~3", &[]),
        ("\"배송 환불\"~2", &[2]),
        ("\"배송 싶어\"~1", &[]),
        ("タワー", &[9]),
        ("配送", &[9]),
        ("!!! 배송", &[1, 2]),
        ("!!!", &[]),
        ("(배송 OR 앱) -(무료 OR crash)", &[2, 3]),
    ];
    check(&posts, table);
}

#[test]
fn a_number_is_the_same_with_and_without_its_hyphens() {
    let posts =
        ["주문 2024-1103-77 언제 와요", "주문 2024110377번이요", "20241103-77", "2024-1103-78", "1103-77만", "#2024-1103-77a"];
    let table: &[(&str, &[i64])] = &[
        ("2024110377", &[1, 2, 3]),
        ("2024-1103-77", &[1, 2, 3]),
        ("2024-110377", &[1, 2, 3]),
        ("-2024-1103-77 주문", &[]),
        ("1103-77", &[1, 5]),
        ("2024-1103-78", &[4]),
    ];
    check(&posts, table);
}

#[test]
fn hangul_in_pieces_finds_and_is_found() {
    use unicode_normalization::UnicodeNormalization;
    let pieces = |text: &str| text.nfd().collect::<String>();
    check(&["환불 요청", &pieces("환불 요청")], &[("환불", &[1, 2]), (&pieces("환불"), &[1, 2]), ("불", &[])]);
}

#[test]
fn facts_of_posts_and_cases_are_found() {
    let dir = tempfile::tempdir().unwrap();
    let (search, _) = open(dir.path());
    let team = |team, key: &str| (TeamId(team), key.to_owned());
    search.set_names(Names { teams: vec![team(1, "CS-1"), team(2, "cs-2")], agents: vec![(AgentId(5), "KG".into())] });
    let mut posts: Vec<Post> = (1..=6).map(|id| post(id, "배송 지연")).collect();
    posts[1].platform = "naver".into();
    posts[1].lang = Lang::En;
    posts[2].accounts = vec!["Shop".into(), "help".into()];
    posts[3].author = "Suji".into();
    // 2026-11-20 in Seoul begins at 15:00 the day before in UTC.
    for (post, at) in posts.iter_mut().zip(["19T14:59", "19T15:00", "20T14:59", "20T15:00", "21T00:00", "22T00:00"]) {
        post.posted_at = Time::parse(&format!("2026-11-{at}:00Z")).unwrap();
    }
    let mut batch = batch(posts, 1);
    batch.facts[4] = Facts { breached: true, met: true, replied: true, ..batch.facts[4].clone() };
    batch.facts[3].label = None;
    batch.facts[5] = Facts { status: Some(Status::Resolved), assignee: Some(AgentId(5)), met: true, ..batch.facts[5].clone() };
    search.apply(batch).unwrap();
    let table: &[(&str, &[i64])] = &[
        ("platform:naver", &[2]),
        ("platform:Mastodon", &[1, 3, 4, 5, 6]),
        ("lang:en", &[2]),
        ("account:help", &[3]),
        ("account:SHOP -account:help", &[1, 2, 4, 5, 6]),
        ("author:suji", &[4]),
        ("reach:>400", &[5, 6]),
        ("reach:<=200", &[1, 2]),
        ("posted:2026-11-20", &[2, 3]),
        ("posted:2026-11-20..21", &[2, 3, 4, 5]),
        ("posted:>2026-11-20", &[4, 5, 6]),
        ("posted:<2026-11-20", &[1]),
        ("label:question", &[1, 6]),
        ("label:question OR platform:naver", &[1, 2, 6]),
        ("-label:question 지연", &[2, 3, 4, 5]),
        ("status:resolved", &[6]),
        ("team:cs-1", &[1, 2, 3, 4, 5, 6]),
        ("team:cs-2", &[]),
        ("team:nobody", &[]),
        ("agent:^kg", &[6]),
        ("sla:breached", &[5]),
        ("sla:met", &[6]),
        ("has:reply", &[5]),
        ("has:note", &[]),
        ("label:unsorted", &[4]),
        ("label:other", &[]),
    ];
    for when in ["in the tail", "committed"] {
        for (query, expected) in table {
            assert_eq!(ids(&search, query), *expected, "{query} {when}");
        }
        let facets = found(&search, "지연", Order::Best).facets;
        let count = |field, value: &str| facets.iter().find(|f| f.field == field && f.value == value).map(|f| f.count);
        assert_eq!(count("team", "CS-1"), Some(6));
        assert_eq!((count("label", "question"), count("label", "unsorted")), (Some(2), Some(1)));
        assert_eq!(count("platform", "naver"), Some(1));
        assert_eq!(count("lang", "ko"), Some(5));
        assert_eq!((count("status", "new"), count("status", "closed")), (Some(5), None));
        search.flush().unwrap();
    }
    search.set_facts(&[Facts { status: Some(Status::Closed), ..facts(1, 1) }]);
    assert_eq!(ids(&search, "status:closed 지연"), [1], "work on a case needs no indexing");
}

#[test]
fn rights_come_before_counting_and_paging() {
    let dir = tempfile::tempdir().unwrap();
    let (search, _) = open(dir.path());
    let mut batch = batch((1..=90).map(|id| post(id, "배송 지연")).collect(), 1);
    for (facts, number) in batch.facts.iter_mut().zip(0..) {
        *facts = match number % 3 {
            0 => self::facts(facts.mention.0, 1),
            1 => self::facts(facts.mention.0, 2),
            _ => Facts::new(facts.mention, 7),
        };
    }
    search.apply(batch).unwrap();
    let query: Query = "배송".parse().unwrap();
    for when in ["in the tail", "committed"] {
        for (teams, brands, expected) in
            [(vec![1], vec![], 30), (vec![1], vec![7], 60), (vec![2, 1], vec![], 60), (vec![], vec![1], 0)]
        {
            let scope = Scope { teams: teams.into_iter().map(TeamId).collect(), brands };
            let page = |offset| search.find(&query, &scope, Order::Newest, Page { offset, limit: 20 }).unwrap();
            let (first, second) = (page(0), page(20));
            assert_eq!((first.total, second.total), (expected, expected), "{when}");
            let facets: usize = first.facets.iter().filter(|facet| facet.field == "platform").map(|facet| facet.count).sum();
            assert_eq!(facets, expected, "facets count nothing hidden");
            let pages: BTreeSet<i64> = first.hits.iter().chain(&second.hits).map(|hit| hit.mention.0).collect();
            assert_eq!(pages.len(), expected.min(40), "pages do not overlap");
            assert!(first.hits.is_sorted_by_key(|hit| -hit.mention.0));
        }
        search.flush().unwrap();
    }
}

#[test]
fn edits_and_deletes_count_at_once_and_after_every_commit() {
    let dir = tempfile::tempdir().unwrap();
    let (search, _) = open(dir.path());
    search.apply(batch(vec![post(1, "처음 글"), post(2, "둘째 글"), post(3, "셋째 글")], 3)).unwrap();
    search.flush().unwrap();
    let edit = |id, text| Post { new: false, ..post(id, text) };
    search.apply(batch(vec![edit(1, "고친 글")], 4)).unwrap();
    search.apply(Batch { deletes: vec![MentionId(2)], seq: Seq(5), ..Batch::default() }).unwrap();
    search.apply(batch(vec![post(4, "넷째 글"), edit(4, "다시 글")], 7)).unwrap();
    for when in ["in the tail", "committed", "purged"] {
        assert_eq!(ids(&search, "글"), [1, 3, 4], "{when}");
        assert_eq!(ids(&search, "고친"), [1], "{when}");
        assert_eq!(ids(&search, "처음 OR 둘째 OR 넷째"), [0; 0], "{when}");
        match when {
            "in the tail" => search.flush().unwrap(),
            _ => search.purge().unwrap(),
        }
    }
    drop(search);
    let (search, opened) = open(dir.path());
    assert_eq!(opened, Opened { seq: Seq(7), rebuilt: false });
    search.set_facts(&(1..=4).map(|id| facts(id, 1)).collect::<Vec<_>>());
    assert_eq!(ids(&search, "글"), [1, 3, 4]);
}

#[test]
fn a_purge_leaves_no_word_of_a_deleted_post_on_disk() {
    let dir = tempfile::tempdir().unwrap();
    let (search, _) = open(dir.path());
    let known = |word: &str| {
        let part = search.current();
        let live = part.shared.read();
        let term = tantivy::Term::from_field_text(part.shared.fields.text, word);
        live.searcher.doc_freq(&term).unwrap()
    };
    let dictionaries = || {
        let names = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path());
        names.filter(|name| name.extension().is_some_and(|extension| extension == "term")).count()
    };
    search.apply(batch(vec![post(1, "비밀"), post(2, "다른 글")], 2)).unwrap();
    search.flush().unwrap();
    search.apply(batch(vec![post(3, "비밀"), post(4, "또 다른 글")], 4)).unwrap();
    search.apply(Batch { deletes: vec![MentionId(1), MentionId(3)], seq: Seq(5), ..Batch::default() }).unwrap();
    search.flush().unwrap();
    assert_eq!((known("비밀"), ids(&search, "비밀")), (1, vec![]), "not found, but still on disk");
    search.purge().unwrap();
    assert_eq!((known("비밀"), known("다른")), (0, 2));
    assert_eq!(dictionaries(), search.current().shared.read().searcher.segment_readers().len(), "old files are gone");
    assert_eq!(ids(&search, "글"), [2, 4]);
    search.apply(Batch { deletes: vec![MentionId(2), MentionId(4)], seq: Seq(6), ..Batch::default() }).unwrap();
    search.purge().unwrap();
    assert_eq!(dictionaries(), 0);
}

#[test]
fn a_crash_loses_what_was_not_committed_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let (search, opened) = open(dir.path());
    assert_eq!(opened, Opened { seq: Seq(0), rebuilt: false });
    search.apply(batch(vec![post(1, "하나")], 10)).unwrap();
    search.flush().unwrap();
    search.apply(batch(vec![post(2, "둘")], 20)).unwrap();
    assert_eq!((search.seq(), search.documents()), (Seq(20), 2));
    drop(search);
    let (search, opened) = open(dir.path());
    assert_eq!(opened, Opened { seq: Seq(10), rebuilt: false });
    assert_eq!(search.documents(), 1);
    search.apply(Batch { seq: Seq(30), ..Batch::default() }).unwrap();
    search.flush().unwrap();
    drop(search);
    assert_eq!(open(dir.path()).1.seq, Seq(30), "events without posts move the position too");
}

#[test]
fn one_index_has_one_writer() {
    let dir = tempfile::tempdir().unwrap();
    let (search, _) = open(dir.path());
    let second = Search::open(dir.path(), search.settings.config.clone(), Metrics::new(&Registry::new()).unwrap());
    assert!(matches!(second, Err(Error::Locked)));
}

#[test]
fn a_damaged_index_is_emptied_never_trusted() {
    let dir = tempfile::tempdir().unwrap();
    let (search, _) = open(dir.path());
    search.apply(batch((1..=50).map(|id| post(id, "배송 지연 app")).collect(), 50)).unwrap();
    search.flush().unwrap();
    search.apply(Batch { deletes: vec![MentionId(1)], seq: Seq(51), ..Batch::default() }).unwrap();
    search.flush().unwrap();
    drop(search);
    let names = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name());
    let whole: Vec<(_, Vec<u8>)> = names.map(|name| (name.clone(), fs::read(dir.path().join(name)).unwrap())).collect();
    let reopened = |name: &std::ffi::OsString, damage: Option<&[u8]>| {
        let copy = tempfile::tempdir().unwrap();
        for (name, bytes) in &whole {
            fs::write(copy.path().join(name), bytes).unwrap();
        }
        match damage {
            Some(bytes) => fs::write(copy.path().join(name), bytes).unwrap(),
            None => fs::remove_file(copy.path().join(name)).unwrap(),
        }
        let (search, opened) = open(copy.path());
        // A deleted post has no facts, so it stays away even where the list forgets that it was deleted.
        search.set_facts(&(2..=50).map(|id| facts(id, 1)).collect::<Vec<_>>());
        let before = ids(&search, "배송");
        search.apply(batch(vec![post(51, "새 배송")], 52)).unwrap();
        search.flush().unwrap();
        assert_eq!(ids(&search, "새"), [51], "{name:?} can be used again");
        (opened, before)
    };
    let empty = (Opened { seq: Seq(0), rebuilt: true }, vec![]);
    let intact = (Opened { seq: Seq(51), rebuilt: false }, (2..=50).collect::<Vec<i64>>());
    assert_eq!(reopened(&whole[0].0, Some(&whole[0].1)), intact);
    let mut kinds = BTreeSet::new();
    for (name, bytes) in whole.iter().filter(|(_, bytes)| !bytes.is_empty()) {
        for damage in [Some(&bytes[..bytes.len() / 2]), Some(&[][..]), None] {
            assert_eq!(reopened(name, damage), empty, "{name:?} {:?}", damage.map(<[u8]>::len));
        }
        let list = Path::new(name).extension().is_some_and(|extension| extension == "json") || *name == ".managed.json";
        let step = if list { 29 } else { bytes.len().div_ceil(3) };
        for at in (0..bytes.len()).step_by(step) {
            let mut flipped = bytes.clone();
            flipped[at] ^= 0x15;
            let found = reopened(name, Some(&flipped));
            // Not every letter of the lists matters; no other file may pass.
            assert!(found == empty || list && found == intact, "{name:?} flipped at {at}: {found:?}");
        }
        kinds.insert(Path::new(name).extension().unwrap_or(name).to_owned());
    }
    assert!(kinds.len() >= 8, "every type of file was damaged: {kinds:?}");
}

#[test]
fn an_index_of_other_fields_is_built_again() {
    let dir = tempfile::tempdir().unwrap();
    let (search, _) = open(dir.path());
    search.apply(batch(vec![post(1, "글")], 9)).unwrap();
    search.flush().unwrap();
    drop(search);
    let meta = dir.path().join("meta.json");
    let text = fs::read_to_string(&meta).unwrap();
    assert!(text.contains("\"reach\""));
    fs::write(&meta, text.replace("\"reach\"", "\"breadth\"")).unwrap();
    assert_eq!(open(dir.path()).1, Opened { seq: Seq(0), rebuilt: true });
}

/// The same numbers on every run.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % limit
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }

    fn join(&mut self, from: &[&str], most: usize) -> String {
        (0..=self.below(most)).map(|_| self.pick(from)).collect()
    }
}

const PIECES: [&str; 24] = [
    "배송",
    "배",
    "송이",
    "환불",
    " ",
    " ",
    " ",
    "앱",
    "이",
    "가",
    "app",
    "App",
    "crash",
    "10",
    "ＡＰＰ",
    "아이폰",
    "15",
    ".",
    "ㅋㅋ",
    "東京",
    "-",
    "é",
    "고객",
    "센터",
];

#[test]
fn the_tail_and_the_index_give_the_same_answers() {
    let dir = tempfile::tempdir().unwrap();
    let (search, _) = open(dir.path());
    let mut dice = Dice(7);
    let posts: Vec<Post> =
        (1..=400).map(|id| Post { reach: u64::try_from(id % 7).unwrap(), ..post(id, &dice.join(&PIECES, 14)) }).collect();
    search.apply(batch(posts, 1)).unwrap();
    let fields = ["label:complaint", "reach:>3", "lang:ko", "platform:x", "-label:abuse", "has:media"];
    let queries: Vec<String> = (0..400)
        .map(|number| {
            let mut word = || dice.join(&PIECES, 2).replace(['-', ' ', '.'], "가");
            let (a, b, c) = (word(), word(), word());
            let field = fields[number % fields.len()];
            [
                a.clone(),
                format!("{a} {b}"),
                format!("{a} OR {b}"),
                format!("{a} -{b}"),
                format!("\"{a} {b}\""),
                format!("\"{a} {b} {c}\"~2"),
                format!("{a}*"),
                format!("({a} OR {field}) {b}"),
                format!("{field} -({a} OR {b}*)"),
                format!("-{a}"),
            ][number % 10]
                .clone()
        })
        .collect();
    let ask = |query: &String| (found(&search, query, Order::Newest), found(&search, query, Order::Best));
    let before: Vec<_> = queries.iter().map(ask).collect();
    assert!(before.iter().filter(|(found, _)| found.total > 0).count() > 200, "most queries find something");
    search.flush().unwrap();
    // Once from the texts, and once from what was remembered of them.
    for (query, (newest, best)) in queries.iter().zip(&before).cycle().take(2 * queries.len()) {
        let (newest_after, best_after) = ask(query);
        assert_eq!(newest_after, *newest, "{query}");
        assert_eq!((best_after.total, &best_after.facets), (best.total, &best.facets), "{query}");
        for (after, before) in best_after.hits.iter().zip(&best.hits) {
            assert!((after.score - before.score).abs() < 1e-3, "{query}: {after:?} was {before:?}");
        }
    }
}

#[test]
fn a_page_stops_looking_when_it_has_seen_what_an_export_takes_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let (search, _) = open(dir.path());
    let most = i64::try_from(find::MOST).unwrap();
    let posts = |ids: std::ops::RangeInclusive<i64>| ids.map(|id| post(id, "late")).collect();
    search.apply(batch(posts(1..=1_000), 1)).unwrap();
    search.flush().unwrap();
    let query = "late".parse().unwrap();
    let ask = |order, last: i64| {
        let page = search.find_page(&query, &scope(), order, Page { offset: 0, limit: 10 }, &[]).unwrap();
        let first = if order == Order::Oldest { (1..=10).collect::<Vec<_>>() } else { (last - 9..=last).rev().collect() };
        assert_eq!(page.hits.iter().map(|hit| hit.mention.0).collect::<Vec<_>>(), first, "{order:?}");
        (page.total, page.more)
    };
    assert_eq!(ask(Order::Newest, 1_000), (1_000, false));
    search.apply(batch(posts(1_001..=1_000 + most), 2)).unwrap();
    search.flush().unwrap();
    assert_eq!(ask(Order::Newest, 1_000 + most), (find::MOST, true));
    // The old ones come first here, and do not suffice.
    assert_eq!(ask(Order::Oldest, 1_000 + most), (1_000 + find::MOST, false));
    assert_eq!(found(&search, "late", Order::Newest).total, 1_000 + find::MOST, "who asks for all gets all");
}

#[test]
fn hostile_queries_are_answered_or_refused_by_the_parser() {
    let dir = tempfile::tempdir().unwrap();
    let (search, _) = open(dir.path());
    search.apply(batch((1..=20).map(|id| post(id, "배송 지연 app crash 10")).collect(), 1)).unwrap();
    search.flush().unwrap();
    search.apply(batch((21..=40).map(|id| post(id, "배송 지연 app crash 10")).collect(), 2)).unwrap();
    let pieces: Vec<String> = serde_json::from_str(include_str!("../../tests/search/hostile.json")).unwrap();
    let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
    let mut dice = Dice(11);
    let mut answered = 0;
    for _ in 0..20_000 {
        let text = dice.join(&pieces, 12);
        if let Ok(query) = text.parse::<Query>() {
            let order = [Order::Best, Order::Newest][dice.below(2)];
            let found = search.find(&query, &scope(), order, Page { offset: dice.below(3), limit: 5 });
            assert!(found.is_ok(), "{text:?}: {found:?}");
            search.snippet(&query, "배송 지연 app crash 10");
            answered += 1;
        }
    }
    assert!(answered > 5_000, "{answered} were answered");
}
