//! The pages around search: what is found, kept, told, taken out, and what rises; by whom.

use super::*;
use crate::{
    case::Seq,
    mention::MentionId,
    queue::{AlertRule, ExportState, Urgency},
};

/// Everything in the store, as the index follows it.
pub(super) async fn index(shop: &Shop) {
    let store = shop.desk.store();
    let cases = store.read(|reader| reader.case_facts_after(CaseId(0), 1_000)).await.unwrap();
    let folded = store.read(|reader| reader.caseless_after(MentionId(0), 1_000)).await.unwrap();
    let ids: Vec<MentionId> =
        cases.iter().flat_map(|row| row.mentions.clone()).chain(folded.iter().map(|(id, _)| *id)).collect();
    let posts = store.read(move |reader| reader.posts(&ids)).await.unwrap();
    let upserts = posts.into_iter().map(|row| search::Post {
        mention: row.mention,
        new: false,
        text: row.text.into_whole(),
        lang: row.lang,
        platform: "town".into(),
        accounts: row.accounts,
        author: row.author,
        posted_at: row.posted_at,
        reach: row.reach,
    });
    let facts = cases.iter().flat_map(|row| {
        row.mentions.iter().map(|mention| search::Facts {
            case: Some(row.case),
            team: Some(row.team),
            label: row.label,
            status: Some(row.status),
            replied: row.answered,
            disposition: row.disposition.clone(),
            ..search::Facts::new(*mention, 1)
        })
    });
    let facts = facts.chain(folded.iter().map(|(mention, _)| search::Facts::new(*mention, 1)));
    let catalog = store.catalog();
    let teams = catalog.teams.iter().map(|team| (team.id, team.key.clone())).collect();
    shop.search.set_names(search::Names { teams, agents: Vec::new() });
    let batch = search::Batch { upserts: upserts.collect(), facts: facts.collect(), deletes: Vec::new(), seq: Seq(1) };
    shop.search.apply(batch).unwrap();
}

fn encoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

#[tokio::test]
async fn a_search_narrows_by_links_and_shows_posts_without_a_case() {
    let shop = Shop::open().await;
    let who = shop.hire("KG", &[("cs", Role::Agent)]).await;
    shop.post("cs", "배송이 멈췄어요", MINUTE, None).await;
    shop.post("cs", "배송이 늦어요 <b>정말</b>", 20 * 86_400 * MINUTE / 60, None).await;
    shop.post("vip", "배송이 아직이에요", MINUTE, None).await;
    shop.fold("배송 안내 고마워요").await;
    index(&shop).await;
    let page = shop.get(&format!("/search?q={}", encoded("배송")), Some(&who)).await.text;
    assert!(page.contains("글 3건") && page.contains("사건 없음") && page.contains("안내 고마워요"), "{page}");
    assert!(!page.contains("아직이에요") && !page.contains("VIP"), "another team's is neither shown nor counted: {page}");
    for facet in ["posted:&gt;=2026-11-13", "label:complaint", "account:main", "status:new"] {
        let value = encoded(&facet.replace("&gt;", ">"));
        assert!(page.contains(&format!("q={}+{value}", encoded("배송"))), "{facet} in {page}");
    }
    let beyond = shop.get(&format!("/search?q={}&sort=new&page=7", encoded("배송")), Some(&who)).await;
    let last = format!("/search?q={}&sort=new", encoded("배송"));
    assert_eq!((beyond.status, beyond.header("location")), (StatusCode::SEE_OTHER, last.as_str()));
    let week = encoded("배송 posted:>=2026-11-13");
    let page = shop.get(&format!("/search?q={week}"), Some(&who)).await.text;
    assert!(page.contains("글 2건") && page.contains("aria-current=\"true\"><span>최근 7일"), "{page}");
    let english = [("accept", "text/html"), ("accept-language", "en")];
    let wrong = shop.ask(Method::GET, "/search?q=answered:soon", Some(&who), &english, "").await;
    assert_eq!(wrong.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(wrong.text.contains("Answered at character 1 takes a span"), "{}", wrong.text);
    let wrong = shop.get("/search?q=answered:soon", Some(&who)).await;
    assert!(wrong.text.contains("1번째 글자의 answered에는 &#60;12m, &#62;1h나 12m..1h를 쓰세요."), "{}", wrong.text);
    let found: Value =
        serde_json::from_str(&shop.get(&format!("/api/v1/search?q={}&sort=oldest", encoded("배송")), Some(&who)).await.text)
            .unwrap();
    assert_eq!((&found["total"], found["hits"][0]["mention"]["text"].as_str()), (&json!(3), Some("배송이 늦어요 <b>정말</b>")));
    assert!(found["hits"].as_array().unwrap().iter().any(|hit| hit["case"].is_null()));
    // A queue is narrowed by state.
    assert_eq!(shop.form("/cases/1/claim", &who, "", "en").await.status, StatusCode::OK);
    let open = shop.get("/queue/cs?status=open", Some(&who)).await.text;
    assert!(open.contains("멈췄어요") && !open.contains("늦어요"), "{open}");
    shop.close().await;
}

#[tokio::test]
async fn a_case_shows_who_said_the_same_and_what_was_answered() {
    let shop = Shop::open().await;
    let who = shop.hire("KG", &[("cs", Role::Agent)]).await;
    let same = "주문한 지 열흘이 지났는데 아직도 배송 준비중이라고만 나옵니다";
    shop.post("cs", same, MINUTE, None).await;
    shop.post("cs", &format!("{same}!!"), MINUTE, None).await;
    shop.post("vip", &format!("{same}??"), MINUTE, None).await;
    shop.post("cs", "셔츠 사이즈가 작아요", MINUTE, None).await;
    assert_eq!(shop.form("/cases/2/reply", &who, "text=오늘 보내 드릴게요", "en").await.status, StatusCode::OK);
    let sent = shop.desk.store().write(Urgency::Person, |tx| {
        let reply = tx.load_case(CaseId(2))?.is_some();
        assert!(reply);
        tx.set_reply_sent(crate::case::ReplyId(1), "r1", None, tx.now)
    });
    let sent: Result<(), queue::Error> = sent.await;
    sent.unwrap();
    index(&shop).await;
    let rail = shop.get("/cases/1?tab=similar", Some(&who)).await.text;
    assert!(rail.contains("id=\"similar\"") && rail.contains("같은 말") && rail.contains("오늘 보내 드릴게요"), "{rail}");
    assert!(rail.contains("href=\"/cases/2\"") && !rail.contains("/cases/3") && !rail.contains("사이즈가"), "{rail}");
    let all = shop.get("/search?like=1", Some(&who)).await.text;
    assert!(all.contains("오늘 보내 드릴게요") && !all.contains("/cases/3"), "{all}");
    assert_eq!(shop.get("/search?like=3", Some(&who)).await.status, StatusCode::NOT_FOUND, "another team's case");
    let page = shop.get(&format!("/search?q={}", encoded("준비중")), Some(&who)).await.text;
    assert!(page.contains("같은 말 1건") && page.contains("/search?like=1"), "{page}");
    shop.close().await;
}

#[tokio::test]
async fn a_search_is_saved_told_of_and_forgotten_by_its_owner() {
    let shop = Shop::open().await;
    let (who, other) = (shop.hire("KG", &[("cs", Role::Agent)]).await, shop.hire("SB", &[("cs", Role::Agent)]).await);
    let form =
        format!("q={}&name={}&team=cs&alert=spike&least=5&times=3&hours=2", encoded("배송 OR 택배"), encoded("배송 지연"));
    let got = shop.form("/saved", &who, &form, "ko").await;
    assert_eq!((got.status, got.header("location")), (StatusCode::SEE_OTHER, "/saved"), "{}", got.text);
    let agent = shop.desk.store().read(|reader| reader.agent_by_initials("KG")).await.unwrap().unwrap();
    let kept = shop.desk.store().read(move |reader| reader.saved_searches(agent, &[])).await.unwrap();
    let period = 120 * MINUTE;
    assert_eq!(kept[0].alert, Some(AlertRule::Spike { percent: 300, threshold: 5, period }));
    let (id, now) = (kept[0].id, shop.clock.now());
    let told = shop.desk.store().write(Urgency::Batch, move |tx| tx.tell_alert(id, now.minus(period), now, 8, Some(200)));
    let told: Result<bool, queue::Error> = told.await;
    assert!(told.unwrap());
    let queue = shop.get("/queue/cs", Some(&other)).await.text;
    assert!(queue.contains("<span>저장한 검색</span> <b>1</b>"), "the team's alerts are counted: {queue}");
    let page = shop.get("/saved", Some(&other)).await.text;
    assert!(page.contains("글 8건이 모였어요. 지난 4주 같은 시간 평균 2건의 4배예요."), "{page}");
    let link = encoded("(배송 OR 택배) posted:2026-11-20T10:00..2026-11-20T11:59");
    assert!(page.contains(&link) && page.contains("새 알림") && !page.contains("/delete"), "{link} in {page}");
    assert!(!shop.get("/saved", Some(&other)).await.text.contains("새 알림"), "seen once");
    assert_eq!(shop.form(&format!("/saved/{id}/delete"), &other, "", "ko").await.status, StatusCode::NOT_FOUND);
    assert_eq!(shop.form(&format!("/saved/{id}/delete"), &who, "", "ko").await.status, StatusCode::SEE_OTHER);
    for (form, status) in [
        ("q=%22x&name=a", StatusCode::UNPROCESSABLE_ENTITY),
        ("q=x&name=", StatusCode::UNPROCESSABLE_ENTITY),
        ("q=x&name=a&team=vip", StatusCode::FORBIDDEN),
        ("q=x&name=a&team=nobody", StatusCode::UNPROCESSABLE_ENTITY),
        ("q=x&name=a&alert=spike&times=0.1", StatusCode::UNPROCESSABLE_ENTITY),
        ("q=x&name=a&alert=count&hours=9999", StatusCode::UNPROCESSABLE_ENTITY),
    ] {
        assert_eq!(shop.form("/saved", &who, form, "ko").await.status, status, "{form}");
    }
    shop.close().await;
}

#[tokio::test]
async fn an_export_is_asked_for_with_a_reason_and_downloaded_by_who_asked() {
    let shop = Shop::open().await;
    let (who, other) = (shop.hire("KG", &[("cs", Role::Agent)]).await, shop.hire("OP", &[("cs", Role::Operator)]).await);
    shop.post("cs", "=HYPERLINK(\"https://evil.example\") 배송", MINUTE, None).await;
    shop.post("vip", "배송 vip", MINUTE, None).await;
    index(&shop).await;
    let q = encoded("배송");
    assert_eq!(shop.form("/exports", &who, &format!("q={q}&reason=+"), "ko").await.status, StatusCode::UNPROCESSABLE_ENTITY);
    let got = shop.form("/exports", &who, &format!("q={q}&reason={}", encoded("11월 보고")), "ko").await;
    assert_eq!((got.status, got.header("location")), (StatusCode::SEE_OTHER, "/exports"));
    let page = shop.get("/exports", Some(&who)).await;
    assert!(page.text.contains("읽는 중 0/1") && page.text.contains("<progress"), "{}", page.text);
    assert_eq!(page.header("refresh"), "3", "until it is read");
    assert_eq!(shop.get("/exports/1/csv", Some(&who)).await.status, StatusCode::NOT_FOUND, "not before it is read");
    let part = shop.desk.store().read(|reader| reader.next_export_part()).await.unwrap().unwrap();
    assert_eq!(part.posts.len(), 1, "one's own team's alone");
    let line = "{\"case\":1,\"text\":\"=HYPERLINK(\\\"https://evil.example\\\") 배송\"}\n";
    let filled = shop.desk.store().write(Urgency::Batch, move |tx| tx.fill_export(&part, line));
    let filled: Result<bool, queue::Error> = filled.await;
    assert!(filled.unwrap());
    let csv = shop.get("/exports/1/csv", Some(&who)).await;
    assert_eq!(csv.header("content-type"), "text/csv; charset=utf-8");
    assert_eq!(csv.header("content-disposition"), "attachment; filename=\"moksori-export-1.csv\"");
    assert!(csv.text.contains("\"'=HYPERLINK(\"\"https://evil.example\"\") 배송\"\r\n"), "{}", csv.text);
    assert_eq!(shop.get("/exports/1/jsonl", Some(&who)).await.text, line);
    assert!(shop.get("/exports/1/xlsx", Some(&who)).await.text.starts_with("PK"));
    for path in ["/exports/1/exe", "/exports/9/csv", "/exports/x/csv"] {
        assert!(shop.get(path, Some(&who)).await.status.is_client_error(), "{path}");
    }
    // The operator reads the record, not the posts.
    let record = shop.get("/exports", Some(&other)).await.text;
    assert!(record.contains("11월 보고") && record.contains("3번 받음") && !record.contains("/exports/1/csv"), "{record}");
    assert_eq!(shop.get("/exports/1/csv", Some(&other)).await.status, StatusCode::NOT_FOUND);
    let state = shop.desk.store().read(|reader| reader.export(1)).await.unwrap().unwrap().state;
    assert_eq!(state, ExportState::Done);
    shop.close().await;
}

#[tokio::test]
async fn what_rises_is_shown_with_posts_that_one_may_see() {
    let shop = Shop::open().await;
    let (who, reader) = (shop.hire("KG", &[("cs", Role::Marketer)]).await, shop.hire("VI", &[("vip", Role::Marketer)]).await);
    let day = 1_440 * MINUTE;
    for week in 0..5_u32 {
        for number in 0..12 {
            shop.post("cs", &format!("배송 문의 {number}"), day * (7 * week) + MINUTE, None).await;
        }
    }
    for number in 0..6 {
        shop.post("cs", &format!("카드 결제 오류가 나요 {number}"), MINUTE, None).await;
    }
    index(&shop).await;
    let page = shop.get("/insight", Some(&who)).await.text;
    assert!(page.contains(">결제 오류</a>") && page.contains("처음 나온 말") && page.contains("<mark>결제</mark>"), "{page}");
    assert!(page.contains("role=\"img\" aria-label=\"주마다 쓴 사람 수, 이번 주 6명\"") && page.contains("<table>"), "{page}");
    assert!(page.contains("<td>12</td><td>12</td><td>12</td><td>12</td><td>18</td>"), "{page}");
    assert!(!page.contains(">배송"), "what is always said does not rise: {page}");
    let none = shop.get("/insight?label=proposal", Some(&who)).await.text;
    assert!(none.contains("눈에 띄게 늘어난 말이 없어요") && !none.contains("결제 오류"), "{none}");
    let theirs = shop.get("/insight", Some(&reader)).await.text;
    assert!(!theirs.contains("결제"), "another team's words: {theirs}");
    shop.close().await;
}

/// S9 of what may go wrong: `MOKSORI_FUZZ` says how many.
#[tokio::test]
async fn another_brands_posts_and_answers_are_not_like_a_case() {
    let shop = Shop::open().await;
    let row = |key: &str, brand: &str| (key.into(), brand.into(), key.into(), key.into(), "Asia/Seoul".into());
    let catalog = CatalogConfig {
        brands: vec![("shop".into(), "가게".into(), "Shop".into()), ("bank".into(), "은행".into(), "Bank".into())],
        teams: vec![row("cs", "shop"), row("vip", "shop"), row("help", "bank")],
        accounts: vec![("main".into(), "shop".into(), "shop_kr".into())],
    };
    shop.desk.store().set_catalog(catalog).await.unwrap();
    shop.desk.store().refresh_catalog().await.unwrap();
    let who = shop.hire("MO", &[("cs", Role::Manager), ("vip", Role::Manager), ("help", Role::Manager)]).await;
    let same = "주문한 지 열흘이 지났는데 아직도 배송 준비중이라고만 나옵니다";
    for team in ["cs", "vip", "help"] {
        shop.post(team, same, MINUTE, None).await;
    }
    index(&shop).await;
    for path in ["/cases/1?tab=similar", "/search?like=1"] {
        let page = shop.get(path, Some(&who)).await.text;
        assert!(page.contains("href=\"/cases/2\"") && !page.contains("href=\"/cases/3\""), "{path}: {page}");
    }
    shop.close().await;
}

#[tokio::test]
async fn s9_hostile_queries_are_answered_or_refused_over_http() {
    let shop = Shop::open().await;
    let who = shop.hire("KG", &[("cs", Role::Agent)]).await;
    shop.post("cs", "배송 지연 app crash 10", MINUTE, None).await;
    index(&shop).await;
    let pieces: Vec<String> = serde_json::from_str(include_str!("../../../../tests/search/hostile.json")).unwrap();
    let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
    // As an address has them, also what is no UTF-8 and no encoding.
    let broken = ["%", "%f", "%ff", "%00", "&q=", "&page=-1", "&page=99999999999999999999", "&sort=%ed%a0%80", "&like=x", "+"];
    let count = std::env::var("MOKSORI_FUZZ").ok().and_then(|count| count.parse().ok()).unwrap_or(200_u64);
    let mut state = 9_u64;
    let mut dice = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let (mut answered, mut refused) = (0, 0);
    for number in 0..count {
        let mut q = match number % 40 {
            0 => encoded(&"(".repeat(dice(3_000))),
            1 => encoded(&"배송 OR ".repeat(dice(400))),
            _ => (0..=dice(8)).map(|_| encoded(pieces[dice(pieces.len())])).collect(),
        };
        if dice(4) == 0 {
            q.push_str(broken[dice(broken.len())]);
        }
        let path = format!("{}?q={q}", ["/api/v1/search", "/search"][dice(2)]);
        let status = shop.get(&path, Some(&who)).await.status;
        assert!(status.is_success() || status.is_client_error(), "{status} for {path}");
        *if status.is_success() { &mut answered } else { &mut refused } += 1;
    }
    assert!(answered > count / 10 && refused > count / 10, "{answered} answered, {refused} refused");
    shop.close().await;
}
