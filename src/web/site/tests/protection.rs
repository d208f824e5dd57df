//! Abuse is masked on every page until somebody asks for it; reading it is counted; a break gives everything back.

use super::{finding::index, *};
use crate::{
    case::EventKind,
    mention::{MentionId, Reason},
    queue::{Reader, Urgency},
};

/// A word that is in no page by chance.
const TELLING: &str = "멍텅구리자식";

/// What the classifier says of it.
fn abuse() -> Verdict {
    let reason = |words: &str, weight, label| Reason { rule: "curse-1".into(), words: words.into(), weight, label };
    Verdict {
        lang: Lang::Ko,
        label: Label::Abuse,
        confidence: 0.97,
        unsure: false,
        model: 0,
        reasons: vec![reason(TELLING, 2.0, Label::Abuse), reason("언제", -0.5, Label::Question)],
    }
}

impl Shop {
    async fn store<T: Send + 'static>(
        &self,
        work: impl FnMut(&mut queue::Tx<'_>) -> Result<T, queue::Error> + Send + 'static,
    ) -> T {
        self.desk.store().write(Urgency::Person, work).await.unwrap()
    }

    async fn look<T: Send + 'static>(&self, work: impl FnOnce(&Reader<'_>) -> Result<T, queue::Error> + Send + 'static) -> T {
        self.desk.store().read(work).await.unwrap()
    }

    /// A post that the classifier surely calls abuse opens a case.
    async fn curse(&self, text: &str, thread: Option<&str>) -> String {
        let thread = self.post("cs", text, MINUTE, thread).await;
        let (post, case) = self.look(|reader| Ok((reader.totals()?.mentions, reader.case(CaseId(1))?.is_some()))).await;
        assert!(case);
        self.store(move |tx| {
            let post = MentionId(i64::try_from(post).unwrap());
            tx.rejudge(post, &abuse(), 2)?;
            for id in tx.cases_of_mention(post)? {
                let mut case = tx.load_case(id)?.unwrap();
                case.label = Label::Abuse;
                tx.save_case(&case)?;
            }
            Ok(())
        })
        .await;
        thread
    }

    async fn kinds(&self, case: i64) -> Vec<EventKind> {
        self.look(move |reader| Ok(reader.case_events(CaseId(case))?.into_iter().map(|event| event.kind).collect())).await
    }
}

#[tokio::test]
async fn an_abusive_post_is_in_no_page_and_in_no_stream() {
    let shop = Shop::open().await;
    let who = shop.hire("KG", &[("cs", Role::Lead)]).await;
    let operator = shop.hire("MG", &[("cs", Role::Manager)]).await;
    let text = format!("이 {TELLING}들아\n\n환불 언제 해\n{TELLING}");
    let thread = shop.curse(&text, None).await;
    // Another case of the same words, one that a person called abuse, and one by the same person.
    shop.curse(&format!("{text} 정말"), None).await;
    shop.post("cs", &format!("그냥 {TELLING}"), MINUTE, None).await;
    assert_eq!(shop.form("/cases/3/label", &who, "label=abuse", "ko").await.status, StatusCode::OK);
    for week in 0..3 {
        shop.fold(&format!("세탁기 소음 {week}")).await;
    }
    index(&shop).await;
    let mut pages: Vec<String> = [
        "/queue/cs",
        "/queue/cs?case=1",
        "/queue/cs/rows",
        "/queue/cs?label=abuse",
        "/mine",
        "/mine/rows",
        "/cases/1",
        "/cases/1?tab=log",
        "/cases/1?tab=similar",
        "/cases/1/peek",
        "/cases/2",
        "/cases/3",
        "/review",
        "/saved",
        "/exports",
        "/insight",
        "/insight?label=abuse",
        "/sources",
        "/search?like=1",
    ]
    .map(str::to_owned)
    .into();
    pages.push(format!("/search?q={}", url::form_urlencoded::byte_serialize("환불".as_bytes()).collect::<String>()));
    let tried: String = url::form_urlencoded::byte_serialize("환불".as_bytes()).collect();
    pages.push(format!("/sources/main?name=x&q={tried}"));
    for language in ["ko", "en"] {
        for path in &pages {
            for viewer in [&who, &operator] {
                let headers = [("accept", "text/html"), ("accept-language", language)];
                let got = shop.ask(Method::GET, path, Some(viewer), &headers, "").await;
                assert!([StatusCode::OK, StatusCode::FORBIDDEN].contains(&got.status), "{path}: {}", got.status);
                assert!(!got.text.contains(TELLING), "{path} shows it: {}", got.text);
            }
        }
    }
    let row = shop.get("/queue/cs", Some(&who)).await.text;
    assert!(row.contains("가려진 글: 욕설, 3줄, 질문 있음") && row.contains("curse-1"), "{row}");
    assert!(row.contains("가려진 글: 욕설, 1줄<"), "a person's word, and nothing that asks: {row}");
    let found = shop.get(&pages[pages.len() - 2], Some(&who)).await.text;
    assert!(found.contains("가려진 글: 욕설, 3줄, 질문 있음"), "{found}");
    // What is pushed, to a list and to a case.
    let listen =
        async |path: &str| shop.client.get(format!("{}{path}", shop.base)).header("cookie", &who.cookie).send().await.unwrap();
    let (mut list, mut case) = (listen("/live?room=queue&team=cs").await, listen("/live?room=case&case=1").await);
    until(&mut list, "event: hello").await;
    until(&mut case, "event: hello").await;
    shop.post("cs", "그리고 이것도", Duration::ZERO, Some(&thread)).await;
    assert_eq!(shop.form("/cases/2/claim", &operator, "", "ko").await.status, StatusCode::OK);
    let pushed = until(&mut list, "<li id=\"case-2\"").await + &until(&mut case, "그리고 이것도").await;
    assert!(pushed.contains("Masked: abuse, 3 lines, contains a question") && !pushed.contains(TELLING), "{pushed}");
    // A program gets the text.
    assert!(shop.get("/api/v1/cases/1", Some(&who)).await.text.contains(TELLING));
    shop.close().await;
}

#[tokio::test]
async fn revealing_shows_the_post_until_the_case_is_left_and_is_counted_and_logged() {
    let shop = Shop::open().await;
    let who = shop.hire("KG", &[("cs", Role::Agent)]).await;
    let other = shop.hire("SB", &[("cs", Role::Agent)]).await;
    let text = format!("{TELLING} 환불해");
    let thread = shop.curse(&text, None).await;
    shop.curse(&format!("{text} 당장"), Some(&thread)).await;
    let page = shop.get("/cases/1", Some(&who)).await.text;
    let button = r#"name="post" value="1" data-key="v""#;
    assert!(page.contains(button) && page.contains("보기 <kbd>V</kbd>"), "{page}");
    assert_eq!(page.matches("data-key=\"v\"").count(), 1, "the key is the first one's");
    assert_eq!(page.matches("formaction=\"/cases/1/reveal\"").count(), 2);
    assert!(!page.contains("오늘 노출"), "nothing to say yet");
    // Without a script: the answer is the page, and shows it.
    let plain = [("content-type", "application/x-www-form-urlencoded"), ("accept", "text/html"), ("accept-language", "ko")];
    let body = format!("csrf={}&post=1", who.csrf);
    let shown = shop.ask(Method::POST, "/cases/1/reveal", Some(&who), &plain, &body).await;
    assert_eq!(shown.status, StatusCode::OK);
    assert!(shown.text.contains(&format!(">{text}<")) && !shown.text.contains(&format!("{text} 당장")), "{}", shown.text);
    assert!(shown.text.contains("오늘 노출 1/3") && shown.text.contains("사건을 떠나면 다시 가려요"), "{}", shown.text);
    assert!(!shop.get("/queue/cs/rows", Some(&who)).await.text.contains(TELLING), "only there");
    assert!(!shop.get("/cases/1", Some(&other)).await.text.contains(TELLING), "only to who asked");
    // From a tab of the case it is still shown, from elsewhere it is masked again.
    let tab = [("accept", "text/html"), ("referer", &*format!("{}/cases/1", shop.base))];
    assert!(shop.ask(Method::GET, "/cases/1?tab=similar", Some(&who), &tab, "").await.text.contains(TELLING));
    assert!(!shop.get("/cases/1", Some(&who)).await.text.contains(TELLING), "the case was left");
    let masked = async || !shop.get("/cases/1/peek", Some(&who)).await.text.contains(TELLING);
    let again = shop.form("/cases/1/reveal", &who, "post=2", "ko").await;
    assert!(again.status == StatusCode::OK && !masked().await, "a list's peek shows what was asked for there");
    assert!(shop.get("/queue/cs", Some(&who)).await.status == StatusCode::OK && masked().await, "the list was loaded anew");
    // With one: the parts of the page, what is pushed, and the second look of the day counts no more.
    let listen = shop.client.get(format!("{}/live?room=case&case=1", shop.base)).header("cookie", &who.cookie);
    let mut stream = listen.send().await.unwrap();
    until(&mut stream, "event: hello").await;
    let headers = [
        ("content-type", "application/x-www-form-urlencoded"),
        ("hx-request", "true"),
        ("hx-current-url", &*format!("{}/cases/1", shop.base)),
        ("accept-language", "en"),
    ];
    let body = |post: i64| format!("csrf={}&post={post}", who.csrf);
    let parts = shop.ask(Method::POST, "/cases/1/reveal", Some(&who), &headers, &body(1)).await;
    assert!(parts.text.contains(&format!(">{text}<")) && parts.text.contains("Exposure today 2/3"), "{}", parts.text);
    let parts = shop.ask(Method::POST, "/cases/1/reveal", Some(&who), &headers, &body(2)).await;
    assert!(parts.text.contains(&format!("{text} 당장")) && parts.text.contains("Exposure today 2/3"), "{}", parts.text);
    until(&mut stream, &format!("{text} 당장")).await;
    drop(stream);
    // The log says who looked; a post that is not masked, or of another case, cannot be revealed.
    assert_eq!(shop.kinds(1).await.iter().filter(|kind| **kind == EventKind::Revealed).count(), 4);
    let log = shop.get("/cases/1?tab=log", Some(&other)).await.text;
    assert!(log.contains("<b>가린 글 봄</b> KG"), "{log}");
    shop.post("cs", "배송이 멈췄어요", MINUTE, None).await;
    for (case, post) in [(2, 3), (2, 1), (1, 99)] {
        let got = shop.form(&format!("/cases/{case}/reveal"), &who, &format!("post={post}"), "ko").await;
        assert!(got.status.is_client_error(), "{case} {post}: {}", got.status);
    }
    // At the limit a pause is offered, and nothing is forced.
    shop.curse(&format!("또 {text}"), None).await;
    let parts = shop.form("/cases/3/reveal", &who, "post=4", "ko").await;
    assert_eq!(parts.status, StatusCode::OK);
    let page = shop.get("/cases/3", Some(&who)).await.text;
    assert!(page.contains("오늘 노출 3/3") && page.contains("잠시 쉬어도 돼요"), "{page}");
    assert!(page.contains("formaction=\"/cases/3/reveal\""), "one more is possible: {page}");
    // What "claim next" brings is not abuse then, though it has waited longest; by hand it can be claimed.
    let next = shop.form("/queue/cs/claim-next", &who, "", "ko").await;
    assert_eq!(next.header("hx-redirect"), "/cases/2", "{}", next.text);
    let none = shop.form("/queue/cs/claim-next", &who, "", "ko").await;
    assert_eq!((none.status, none.header("hx-redirect")), (StatusCode::OK, ""));
    let others = shop.form("/queue/cs/claim-next", &other, "", "ko").await;
    assert_eq!(others.header("hx-redirect"), "/cases/1");
    assert_eq!(shop.form("/cases/3/claim", &who, "", "ko").await.status, StatusCode::OK);
    // The next day of their team begins at nought.
    shop.clock.advance(Duration::from_secs(12 * 3_600));
    assert!(!shop.get("/cases/3", Some(&who)).await.text.contains("오늘 노출"));
    shop.close().await;
}

#[tokio::test]
async fn a_break_gives_every_case_back_with_its_clocks_and_says_nothing_else() {
    let shop = Shop::open().await;
    let who = shop.hire("KG", &[("cs", Role::Agent)]).await;
    let other = shop.hire("SB", &[("cs", Role::Agent)]).await;
    for words in ["배송이 멈췄어요", "환불이 안 돼요", "앱이 꺼져요"] {
        shop.post("cs", words, MINUTE, None).await;
    }
    for case in [1, 2] {
        assert_eq!(shop.form(&format!("/cases/{case}/claim"), &who, "", "ko").await.status, StatusCode::OK);
    }
    assert_eq!(shop.form("/cases/3/claim", &other, "", "ko").await.status, StatusCode::OK);
    assert_eq!(shop.form("/cases/2/wait", &who, "for=customer", "ko").await.status, StatusCode::OK);
    let got = shop.form("/cases/2/go-on", &who, "", "ko").await;
    assert!(got.text.contains("맡은 사건 2건을 돌려놓아요"), "what a break would do follows: {}", got.text);
    assert_eq!(shop.form("/cases/2/wait", &who, "for=customer", "ko").await.status, StatusCode::OK);
    let before = shop.look(|reader| Ok([reader.case(CaseId(1))?.unwrap(), reader.case(CaseId(2))?.unwrap()])).await;
    let page = shop.get("/queue/cs", Some(&who)).await.text;
    assert!(page.contains("쉬기: 맡은 사건 2건을 돌려놓아요. 기록에는 ‘쉼’만 남아요."), "{page}");
    let wrong = [("content-type", "application/x-www-form-urlencoded")];
    assert_eq!(shop.ask(Method::POST, "/break", Some(&who), &wrong, "").await.status, StatusCode::FORBIDDEN, "no token");
    let plain = [("content-type", "application/x-www-form-urlencoded"), ("accept", "text/html"), ("accept-language", "ko")];
    let got = shop.ask(Method::POST, "/break", Some(&who), &plain, &format!("csrf={}", who.csrf)).await;
    assert_eq!((got.status, got.header("location")), (StatusCode::SEE_OTHER, "/mine"));
    let after = shop.look(|reader| Ok([reader.case(CaseId(1))?.unwrap(), reader.case(CaseId(2))?.unwrap()])).await;
    for (before, after) in before.iter().zip(&after) {
        assert_eq!((after.assignee, after.transfers, &after.clocks), (None, before.transfers, &before.clocks));
        let last = *shop.kinds(after.id.0).await.last().unwrap();
        assert_eq!(last, EventKind::Break);
    }
    assert_eq!((after[0].status.as_str(), after[1].status.as_str()), ("new", "waiting_customer"));
    let theirs = shop.look(|reader| Ok(reader.case(CaseId(3))?.unwrap())).await;
    assert!(theirs.assignee.is_some(), "a colleague's stays");
    let log = shop.get("/cases/1?tab=log", Some(&other)).await.text;
    assert!(log.contains("<b>쉼</b> KG"), "{log}");
    assert!(shop.get("/queue/cs", Some(&who)).await.text.contains("쉬기: 맡은 사건이 없어요"));
    shop.close().await;
}
