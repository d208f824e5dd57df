//! The console over a real store, through its socket.

mod finding;
mod protection;
mod refusals;

use std::{path::Path, sync::atomic::AtomicI64};

use reqwest::{Client, Method, StatusCode, redirect::Policy};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::{
    case::{CaseId, Priority},
    clock::{Clock, Time},
    desk::{self, Finding, Intake, Judged, Route},
    mention::{Author, Envelope, Label, Lang, Mark, TimeQuality, Verdict},
    queue::{self, Capability, CatalogConfig, NewAgent, Store},
    search,
    sla::Policies,
    staff::Role,
    text,
    web::security::Token,
};

const POLICY: &str = r#"
[[policy]]
id = "all"
targets = { triage = "11m", first_response = "12m", next_response = "30m", resolution = "24h" }
warn = ["80%"]
"#;

struct Shop {
    base: String,
    client: Client,
    clock: Clock,
    desk: Arc<Desk>,
    search: Arc<Search>,
    stop: watch::Sender<bool>,
    server: tokio::task::JoinHandle<()>,
    posts: AtomicI64,
    _dir: TempDir,
}

#[derive(Clone)]
struct Who {
    cookie: String,
    csrf: String,
}

struct Got {
    status: StatusCode,
    headers: reqwest::header::HeaderMap,
    text: String,
}

impl Got {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

fn open_search(dir: &Path, registry: &Registry) -> Arc<Search> {
    let config = search::Config {
        commit_every: Duration::from_secs(60),
        commit_docs: 1_000,
        writer_heap_bytes: 15_000_000,
        time_zone: "Asia/Seoul".into(),
    };
    std::fs::create_dir_all(dir).unwrap();
    Arc::new(Search::open(dir, config, search::Metrics::new(registry).unwrap()).unwrap().0)
}

impl Shop {
    async fn open() -> Shop {
        let dir = tempfile::tempdir().unwrap();
        let clock = Clock::by_hand(Time::parse("2026-11-20T12:00:00+09:00").unwrap());
        let registry = Registry::new();
        let settings = queue::Config::sqlite(4, 1_000);
        let store = Store::open(dir.path(), settings, clock.clone(), queue::Metrics::new(&registry).unwrap()).unwrap();
        let team = |key: &str, en: &str| (key.into(), "shop".into(), en.into(), en.into(), "Asia/Seoul".into());
        let catalog = CatalogConfig {
            brands: vec![("shop".into(), "가게".into(), "Shop".into())],
            teams: vec![team("cs", "Care"), team("vip", "VIP")],
            accounts: vec![("main".into(), "shop".into(), "shop_kr".into())],
        };
        store.set_catalog(catalog).await.unwrap();
        let length = text::LengthRule {
            unit: text::Unit::Graphemes,
            max: 60,
            url: Some(23),
            bare_mentions: false,
            ..Default::default()
        };
        let capability = Capability { reply: true, length: Some(length) };
        let set: Result<(), queue::Error> =
            store.write(queue::Urgency::Person, move |tx| tx.set_capability("main", &capability)).await;
        set.unwrap();
        store.refresh_catalog().await.unwrap();
        let policies = Policies::parse(&[("sla.toml".into(), POLICY.into())], 1).unwrap();
        let config = desk::Config {
            undo_window: Duration::from_secs(5),
            hurry: Duration::from_secs(15),
            session: Duration::from_secs(43_200),
            link: Duration::from_secs(600),
            mask_abuse: true,
            exposure_limit: 3,
        };
        let desk = Desk::new(store, policies, config, clock.clone(), desk::Metrics::new(&registry).unwrap());
        let search = open_search(&dir.path().join("index"), &registry);
        let config =
            Config { dispositions: vec![("answered".into(), "답변".into(), "Answered".into())], ..Config::default() };
        let site = Site { desk: Arc::clone(&desk), search: Arc::clone(&search), registry, health: Arc::new(Vec::new), config };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let (stop, stopped) = watch::channel(false);
        let server = tokio::spawn(serve(listener, site, Router::new(), stopped));
        // The first test to come installs it for all.
        drop(rustls::crypto::ring::default_provider().install_default());
        let client = Client::builder().redirect(Policy::none()).build().unwrap();
        Shop { base, client, clock, desk, search, stop, server, posts: AtomicI64::new(0), _dir: dir }
    }

    async fn hire(&self, initials: &str, teams: &[(&str, Role)]) -> Who {
        let catalog = self.desk.store().catalog();
        let agent = NewAgent {
            name: initials.into(),
            email: format!("{initials}@shop.kr"),
            initials: initials.into(),
            password_hash: Some(hash_password("right horse").unwrap()),
            teams: teams.iter().map(|(key, role)| (catalog.team_by_key(key).unwrap().id, *role)).collect(),
        };
        let agent = self.desk.put_agent(agent).await.unwrap();
        let token = self.desk.start_session(agent).await.unwrap().token;
        Who { cookie: format!("moksori={token}"), csrf: Token::parse(&token).unwrap().csrf() }
    }

    /// A customer's post, in a thread of its own unless one is named.
    async fn post(&self, team: &str, words: &str, age: Duration, thread: Option<&str>) -> String {
        let route = Route::Case { team: team.into(), priority: Priority::Normal, policy: None };
        self.bring(route, words, age, thread).await
    }

    /// A post that nobody needs to work on.
    async fn fold(&self, words: &str) {
        self.bring(Route::Fold, words, Duration::ZERO, None).await;
    }

    async fn bring(&self, route: Route, words: &str, age: Duration, thread: Option<&str>) -> String {
        let at = self.posts.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        let catalog = self.desk.store().catalog();
        let account = catalog.account_by_key("main").unwrap();
        let now = self.clock.now();
        let native_id = format!("post-{at}");
        let conversation = thread.map_or_else(|| native_id.clone(), str::to_owned);
        let envelope = Envelope {
            v: 1,
            source: "town:square".into(),
            native_id,
            conversation: Some(conversation.clone()),
            // One author a thread: what the same person writes elsewhere joins their open case.
            author: Some(Author {
                native_id: conversation.clone(),
                handle: format!("user_{at}"),
                name: None,
                reach: Some(12_400),
            }),
            text: words.into(),
            posted_at: Some(now.minus(age)),
            time_quality: TimeQuality::Exact,
            first_seen_at: now,
            ..Envelope::default()
        };
        let verdict =
            Verdict { lang: Lang::Ko, label: Label::Complaint, confidence: 0.93, unsure: false, model: 0, reasons: Vec::new() };
        let judged = Judged {
            position: at,
            envelope,
            masked: words.into(),
            original: None,
            signature: u64::MAX / (at.unsigned_abs() + 1),
            verdict,
            findings: vec![Finding {
                brand: account.brand,
                account: account.id,
                addressed: true,
                query: None,
                route,
                rule: "all".into(),
            }],
            rules: 1,
        };
        let mark = |next| Mark { log: "".into(), next };
        let intake =
            Intake { consumer: "triage", part: 0, from: mark(at), to: mark(at + 1), mentions: vec![judged], dead: Vec::new() };
        assert_eq!(self.desk.take_in(Arc::new(intake)).await.unwrap(), desk::Taken::Stored);
        conversation
    }

    async fn ask(&self, method: Method, path: &str, who: Option<&Who>, headers: &[(&str, &str)], body: &str) -> Got {
        let mut request = self.client.request(method, format!("{}{path}", self.base)).body(body.to_owned());
        if let Some(who) = who {
            request = request.header("cookie", &who.cookie);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.send().await.unwrap();
        Got { status: response.status(), headers: response.headers().clone(), text: response.text().await.unwrap() }
    }

    async fn get(&self, path: &str, who: Option<&Who>) -> Got {
        self.ask(Method::GET, path, who, &[("accept", "text/html"), ("accept-language", "ko")], "").await
    }

    async fn form(&self, path: &str, who: &Who, fields: &str, language: &str) -> Got {
        let headers = [
            ("content-type", "application/x-www-form-urlencoded"),
            ("hx-request", "true"),
            ("accept-language", language),
            ("accept", "text/html, text/event-stream"),
        ];
        self.ask(Method::POST, path, Some(who), &headers, &format!("csrf={}&{fields}", who.csrf)).await
    }

    async fn close(self) {
        self.stop.send_replace(true);
        tokio::time::timeout(Duration::from_secs(10), self.server).await.unwrap().unwrap();
    }
}

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn nobody_sees_anything_without_a_session() {
    let shop = Shop::open().await;
    for path in ["/", "/queue/cs?label=complaint", "/mine", "/cases/1", "/cases/1/peek", "/search?q=x"] {
        let got = shop.get(path, None).await;
        let next: String = url::form_urlencoded::byte_serialize(path.as_bytes()).collect();
        assert_eq!((got.status, got.header("location")), (StatusCode::SEE_OTHER, format!("/sign-in?next={next}").as_str()));
    }
    for path in
        ["/api/v1/session", "/api/v1/queue?team=cs", "/api/v1/cases/1", "/api/v1/search?q=x", "/live?room=mine", "/live/now"]
    {
        assert_eq!(shop.get(path, None).await.status, StatusCode::UNAUTHORIZED, "{path}");
    }
    let form = [("content-type", "application/x-www-form-urlencoded"), ("hx-request", "true")];
    for path in ["/cases/1/claim", "/claim-next", "/queue/cs/claim-next", "/presence"] {
        let got = shop.ask(Method::POST, path, None, &form, "case=1&state=viewing").await;
        assert_eq!(got.status, StatusCode::UNAUTHORIZED, "{path}");
    }
    let open = shop.get("/sign-in", None).await;
    assert_eq!(open.status, StatusCode::OK);
    assert!(open.header("content-security-policy").starts_with("default-src 'none'; script-src 'self'"));
    assert_eq!(shop.get("/nowhere", None).await.status, StatusCode::NOT_FOUND);
    shop.close().await;
}

#[tokio::test]
async fn only_ones_own_pages_change_anything() {
    let shop = Shop::open().await;
    let who = shop.hire("KG", &[("cs", Role::Agent)]).await;
    shop.post("cs", "배송이 멈췄어요", MINUTE, None).await;
    let form = ("content-type", "application/x-www-form-urlencoded");
    let right = format!("csrf={}", who.csrf);
    let table: [(&str, &[(&str, &str)], &str); 3] = [
        ("no token", &[form], "a=b"),
        ("another's", &[form], "csrf=AAAA"),
        ("another site", &[form, ("origin", "https://evil.example")], &right),
    ];
    for (what, headers, body) in table {
        let got = shop.ask(Method::POST, "/cases/1/claim", Some(&who), headers, body).await;
        assert_eq!(got.status, StatusCode::FORBIDDEN, "{what}");
    }
    assert_eq!(shop.form("/cases/1/claim", &who, "colour=red", "en").await.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(shop.form("/cases/1/claim", &who, "", "en").await.status, StatusCode::OK);
    shop.close().await;
}

#[tokio::test]
async fn another_teams_case_is_no_case() {
    let shop = Shop::open().await;
    let who = shop.hire("KG", &[("cs", Role::Agent)]).await;
    let reader = shop.hire("MK", &[("vip", Role::Marketer)]).await;
    shop.post("vip", "VIP 고객이에요", MINUTE, None).await;
    for path in ["/cases/1", "/cases/1/peek"] {
        let (theirs, none) = (shop.get(path, Some(&who)).await, shop.get(&path.replace('1', "999"), Some(&who)).await);
        assert_eq!((theirs.status, none.status), (StatusCode::NOT_FOUND, StatusCode::NOT_FOUND), "{path}");
        assert!(theirs.text.contains("1번 사건이 없거나 볼 수 없어요") && !theirs.text.contains("VIP 고객"), "{}", theirs.text);
    }
    for path in ["/queue/vip", "/queue/vip/rows", "/live?room=queue&team=vip", "/live?room=case&case=1", "/api/v1/cases/1"] {
        assert_eq!(shop.get(path, Some(&who)).await.status, StatusCode::NOT_FOUND, "{path}");
    }
    for name in ["claim", "label", "reply", "note", "handover", "resolve", "undo", "nonsense"] {
        let got = shop.form(&format!("/cases/1/{name}"), &who, "label=purple&text=x", "ko").await;
        assert_eq!(got.status, StatusCode::NOT_FOUND, "{name}");
    }
    assert!(!shop.get("/queue/cs?case=1", Some(&who)).await.text.contains("VIP 고객"));
    // Who may only read is told which role it takes.
    assert_eq!(shop.get("/cases/1", Some(&reader)).await.status, StatusCode::OK);
    let got = shop.form("/cases/1/claim", &reader, "", "ko").await;
    assert_eq!(got.status, StatusCode::FORBIDDEN);
    assert!(got.text.contains("hx-target=\"#toast\"") && got.text.contains("상담원"), "{}", got.text);
    shop.close().await;
}

#[tokio::test]
async fn the_second_claim_is_told_who_was_first() {
    let shop = Shop::open().await;
    let (first, second) = (shop.hire("KG", &[("cs", Role::Agent)]).await, shop.hire("SB", &[("cs", Role::Agent)]).await);
    shop.post("cs", "배송이 멈췄어요", MINUTE, None).await;
    let got = shop.form("/cases/1/claim", &first, "", "en").await;
    assert_eq!(got.status, StatusCode::OK);
    assert!(got.text.contains("Claimed") && got.text.contains("/cases/1/undo"), "{}", got.text);
    for (language, words) in [("ko", "KG 님"), ("en", "KG claimed it first.")] {
        let got = shop.form("/cases/1/claim", &second, "", language).await;
        assert_eq!(got.status, StatusCode::CONFLICT);
        assert!(got.text.contains("hx-target=\"#toast\"") && got.text.contains(words), "{}", got.text);
    }
    let json = [("content-type", "application/json"), ("x-csrf-token", second.csrf.as_str())];
    let got = shop.ask(Method::POST, "/api/v1/cases/1/claim", Some(&second), &json, "{}").await;
    let problem: Value = serde_json::from_str(&got.text).unwrap();
    assert_eq!((got.status, problem["error"]["code"].as_str()), (StatusCode::CONFLICT, Some("claimed")));
    shop.close().await;
}

#[tokio::test]
async fn a_reply_waits_can_be_taken_back_and_keeps_its_text_when_refused() {
    let shop = Shop::open().await;
    let who = shop.hire("KG", &[("cs", Role::Agent)]).await;
    shop.post("cs", "배송이 멈췄어요", MINUTE, None).await;
    let long = "가".repeat(61);
    let got = shop.form("/cases/1/reply", &who, &format!("text={long}"), "en").await;
    assert_eq!(got.status, StatusCode::UNPROCESSABLE_ENTITY);
    // 61 and " ^KG", and the customer's handle that goes in front.
    assert!(got.text.contains("13 too many"), "{}", got.text);
    // Without a script the page comes back with what was typed.
    let plain = [("content-type", "application/x-www-form-urlencoded"), ("accept", "text/html")];
    let body = format!("csrf={}&text={long}", who.csrf);
    let got = shop.ask(Method::POST, "/cases/1/reply", Some(&who), &plain, &body).await;
    assert_eq!(got.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(got.text.contains(&long) && got.text.starts_with("<!doctype html>"));
    let body = format!("csrf={}&text=확인했어요", who.csrf);
    let got = shop.ask(Method::POST, "/cases/1/reply", Some(&who), &plain, &body).await;
    assert_eq!((got.status, got.header("location")), (StatusCode::SEE_OTHER, "/cases/1"));
    assert!(got.header("set-cookie").starts_with("flash=reply.1."), "{}", got.header("set-cookie"));
    let view = shop.get("/cases/1", Some(&who)).await.text;
    assert!(view.contains("확인했어요 ^KG") && view.contains("/cases/1/undo"), "{view}");
    let event = got.header("set-cookie").split(['.', ';']).nth(2).unwrap().to_owned();
    let json = [("content-type", "application/json"), ("x-csrf-token", who.csrf.as_str())];
    let body = format!("{{\"event\":{event}}}");
    let got = shop.ask(Method::POST, "/api/v1/cases/1/undo", Some(&who), &json, &body).await;
    assert_eq!(serde_json::from_str::<Value>(&got.text).unwrap()["text"], "확인했어요");
    let got = shop.ask(Method::POST, "/api/v1/cases/1/undo", Some(&who), &json, &body).await;
    assert_eq!(got.status, StatusCode::CONFLICT);
    shop.close().await;
}

#[tokio::test]
async fn what_a_colleague_has_just_answered_is_answered_again_only_on_purpose() {
    let shop = Shop::open().await;
    let (first, second) = (shop.hire("KG", &[("cs", Role::Agent)]).await, shop.hire("SB", &[("cs", Role::Agent)]).await);
    shop.post("cs", "배송이 멈췄어요", MINUTE, None).await;
    assert_eq!(shop.form("/cases/1/reply", &first, "text=확인할게요", "ko").await.status, StatusCode::OK);
    assert_eq!(shop.form("/cases/1/give-back", &first, "", "ko").await.status, StatusCode::OK);
    let refused = shop.form("/cases/1/reply", &second, "text=저도요", "ko").await;
    assert!(refused.status == StatusCode::CONFLICT && refused.text.contains("name=\"despite_colleague\""), "{}", refused.text);
    let sent = shop.form("/cases/1/reply", &second, "text=저도요&despite_colleague=true", "ko").await;
    assert_eq!(sent.status, StatusCode::OK, "{}", sent.text);
    shop.close().await;
}

#[tokio::test]
async fn a_case_waits_goes_on_and_is_given_to_a_person() {
    let shop = Shop::open().await;
    let agent = shop.hire("KG", &[("cs", Role::Agent)]).await;
    let lead = shop.hire("LE", &[("cs", Role::Lead)]).await;
    shop.post("cs", "배송이 멈췄어요", MINUTE, None).await;
    let page = async |who| shop.get("/cases/1", Some(who)).await.text;
    let offers = async |who| (page(who).await.contains("/cases/1/wait\""), page(who).await.contains("/cases/1/go-on\""));
    assert_eq!(offers(&agent).await, (true, false));
    assert_eq!(shop.form("/cases/1/go-on", &agent, "", "ko").await.status, StatusCode::CONFLICT, "it does not wait");
    assert_eq!(shop.form("/cases/1/wait", &agent, "for=third_party", "ko").await.status, StatusCode::OK);
    assert_eq!(offers(&agent).await, (false, true));
    assert!(page(&agent).await.contains("외부 답 대기"));
    assert_eq!(shop.form("/cases/1/go-on", &agent, "", "ko").await.status, StatusCode::OK);
    assert_eq!(offers(&agent).await, (true, false));
    // Whoever may assign sees the people of each team; an agent sees teams.
    assert!(page(&lead).await.contains("value=\"cs/KG\"") && !page(&agent).await.contains("value=\"cs/"));
    let given = async |who| shop.form("/cases/1/handover", who, "to=cs/KG&reason=쇼핑몰 담당", "ko").await.status;
    assert_eq!((given(&agent).await, given(&lead).await), (StatusCode::OK, StatusCode::OK));
    assert!(!page(&lead).await.contains("value=\"cs/KG\""), "it is theirs already");
    shop.close().await;
}

#[tokio::test]
async fn a_draft_is_kept_once_and_never_overwritten_unseen() {
    let shop = Shop::open().await;
    let who = shop.hire("KG", &[("cs", Role::Agent)]).await;
    shop.post("cs", "배송이 멈췄어요", MINUTE, None).await;
    let put = async |version: &str, text: &str| {
        let quoted = format!("\"{version}\"");
        let headers = [
            ("content-type", "application/x-www-form-urlencoded"),
            ("if-match", quoted.as_str()),
            ("x-csrf-token", who.csrf.as_str()),
        ];
        shop.ask(Method::PUT, "/cases/1/draft", Some(&who), &headers, &format!("kind=reply&text={text}")).await
    };
    let got = put("0", "first").await;
    assert_eq!((got.status, got.header("etag")), (StatusCode::NO_CONTENT, "\"1\""));
    let got = put("0", "other").await;
    assert_eq!(got.status, StatusCode::PRECONDITION_FAILED);
    assert_eq!(serde_json::from_str::<Value>(&got.text).unwrap(), json!({ "version": 1, "text": "first" }));
    assert_eq!(put("1", "second").await.header("etag"), "\"2\"");
    assert!(shop.get("/cases/1", Some(&who)).await.text.contains(">second</textarea>"));
    shop.close().await;
}

#[tokio::test]
async fn signing_in_says_one_thing_for_every_failure_and_leads_nowhere_else() {
    let shop = Shop::open().await;
    shop.hire("KG", &[("cs", Role::Agent)]).await;
    let form = [("content-type", "application/x-www-form-urlencoded"), ("accept-language", "en")];
    let sign_in = async |email: &str, password: &str, next: &str| {
        let body = format!("email={email}&password={password}&next={next}");
        shop.ask(Method::POST, "/sign-in", None, &form, &body).await
    };
    for (next, there) in [
        ("/queue/cs%3Flabel%3Dabuse", "/queue/cs?label=abuse"),
        ("https://evil.example", "/"),
        ("//evil", "/"),
        ("/%5Cevil", "/"),
    ] {
        let got = sign_in("KG@shop.kr", "right horse", next).await;
        assert_eq!((got.status, got.header("location")), (StatusCode::SEE_OTHER, there), "{next}");
        let cookie = got.header("set-cookie");
        assert!(cookie.starts_with("moksori=") && cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax"), "{cookie}");
    }
    let (wrong, nobody) = (sign_in("KG@shop.kr", "wrong", "/").await, sign_in("NO@shop.kr", "wrong", "/").await);
    assert_eq!((wrong.status, nobody.status), (StatusCode::UNAUTHORIZED, StatusCode::UNAUTHORIZED));
    assert_eq!(wrong.text.replace("KG@", "NO@"), nobody.text);
    let mut locked = false;
    for _ in 0..12 {
        locked |= sign_in("KG@shop.kr", "wrong", "/").await.status == StatusCode::TOO_MANY_REQUESTS;
    }
    assert!(locked);
    shop.close().await;
}

#[tokio::test]
async fn a_link_signs_in_once_and_for_ten_minutes() {
    let shop = Shop::open().await;
    shop.hire("KG", &[("cs", Role::Agent)]).await;
    let agent = shop.desk.credentials("kg@shop.kr").await.unwrap().unwrap().agent;
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let token = shop.desk.sign_in_link(agent).await.unwrap();
    for _ in 0..2 {
        // A program that looks at links uses nothing up.
        let page = shop.get(&link_path(&token), None).await;
        assert_eq!(page.status, StatusCode::OK);
        assert!(page.text.contains(&token) && page.text.contains("action=\"/link\""));
    }
    let got = shop.ask(Method::POST, "/link", None, &form, &format!("token={token}")).await;
    assert_eq!((got.status, got.header("location")), (StatusCode::SEE_OTHER, "/"));
    let cookie = got.header("set-cookie").split(';').next().unwrap().to_owned();
    let who = Who { cookie, csrf: String::new() };
    assert_eq!(shop.get("/", Some(&who)).await.header("location"), "/queue/cs");
    assert_eq!(shop.ask(Method::POST, "/link", None, &form, &format!("token={token}")).await.status, StatusCode::GONE);
    let late = shop.desk.sign_in_link(agent).await.unwrap();
    shop.clock.advance(Duration::from_secs(601));
    assert_eq!(shop.ask(Method::POST, "/link", None, &form, &format!("token={late}")).await.status, StatusCode::GONE);
    shop.close().await;
}

#[tokio::test]
async fn a_queue_is_in_order_and_its_posts_are_inert() {
    let shop = Shop::open().await;
    let who = shop.hire("KG", &[("cs", Role::Agent)]).await;
    shop.post("cs", "둘째로 급한 글", 2 * MINUTE, None).await;
    shop.post("cs", "넘긴 글", 20 * MINUTE, None).await;
    shop.post("cs", "<script>alert(1)</script><img src=x>\u{202e}급한 글", 10 * MINUTE, None).await;
    let page = shop.get("/queue/cs", Some(&who)).await.text;
    let places = ["id=\"case-3\"", "id=\"case-1\"", "id=\"case-2\""].map(|id| page.find(id).unwrap());
    assert!(places.is_sorted(), "{places:?}");
    assert!(page.find("group-overdue").unwrap() < places[2] && page.contains("data-state=\"breached\""));
    for evil in ["<script>alert", "<img", "\u{202e}"] {
        assert!(!page.contains(evil), "{evil:?}");
    }
    assert!(page.contains("&#60;script&#62;"));
    let rows = shop.get("/queue/cs/rows?label=question", Some(&who)).await.text;
    assert!(!rows.contains("id=\"case-") && rows.contains("href=\"/queue/cs\""), "{rows}");
    let peek = shop.get("/cases/2/peek", Some(&who)).await.text;
    assert!(peek.contains("넘긴 글") && !peek.contains("<html"));
    let mine = shop.get("/mine", Some(&who)).await.text;
    assert!(mine.contains("맡은 사건이 없어요"), "{mine}");
    shop.close().await;
}

#[tokio::test]
async fn the_api_takes_only_what_it_knows() {
    let shop = Shop::open().await;
    let who = shop.hire("KG", &[("cs", Role::Agent)]).await;
    shop.post("cs", "배송이 멈췄어요", MINUTE, None).await;
    let session: Value = serde_json::from_str(&shop.get("/api/v1/session", Some(&who)).await.text).unwrap();
    assert_eq!((session["initials"].as_str(), session["csrf"].as_str()), (Some("KG"), Some(who.csrf.as_str())));
    let queue: Value = serde_json::from_str(&shop.get("/api/v1/queue?team=cs", Some(&who)).await.text).unwrap();
    assert_eq!((&queue["counts"]["open"], &queue["cases"][0]["mention"]["text"]), (&json!(1), &json!("배송이 멈췄어요")));
    assert_eq!(shop.get("/api/v1/queue?team=cs&colour=red", Some(&who)).await.status, StatusCode::BAD_REQUEST);
    let json = [("content-type", "application/json"), ("x-csrf-token", who.csrf.as_str())];
    let post = async |name: &str, body: &str| {
        shop.ask(Method::POST, &format!("/api/v1/cases/1/{name}"), Some(&who), &json, body).await
    };
    let got = post("claim", "{\"assignee\": 7}").await;
    assert_eq!(got.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(serde_json::from_str::<Value>(&got.text).unwrap()["error"]["code"], "malformed");
    assert_eq!(post("claim", "{").await.status, StatusCode::BAD_REQUEST);
    assert_eq!(post("label", "{\"label\": \"purple\"}").await.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(post("label", "{\"label\": \"question\"}").await.status, StatusCode::OK);
    assert_eq!(post("resolve", "{\"disposition\": \"answered\"}").await.status, StatusCode::OK);
    let one: Value = serde_json::from_str(&shop.get("/api/v1/cases/1", Some(&who)).await.text).unwrap();
    assert_eq!((one["status"].as_str(), one["label"].as_str()), (Some("resolved"), Some("question")));
    shop.close().await;
}

#[tokio::test]
async fn metrics_are_for_this_machine_and_health_for_all() {
    let shop = Shop::open().await;
    shop.post("cs", "배송이 멈췄어요", 20 * MINUTE, None).await;
    let got = shop.get("/metrics", None).await;
    assert_eq!(got.status, StatusCode::OK);
    for line in [
        "moksori_queue_open_cases{team=\"cs\"} 1",
        "moksori_queue_open_cases{team=\"vip\"} 0",
        "moksori_queue_overdue_cases{team=\"cs\"} 1",
    ] {
        assert!(got.text.contains(line), "{line} in {}", got.text);
    }
    let passed_on = shop.ask(Method::GET, "/metrics", None, &[("x-forwarded-for", "198.51.100.7")], "").await;
    assert_eq!(passed_on.status, StatusCode::NOT_FOUND);
    assert_eq!(shop.get("/health/live", None).await.text, "live\n");
    assert_eq!(shop.get("/health/ready", None).await.text, "ready\n");
    shop.close().await;
}

#[tokio::test]
async fn a_search_finds_ones_own_teams_cases_and_says_where_a_query_is_wrong() {
    let shop = Shop::open().await;
    let who = shop.hire("KG", &[("cs", Role::Agent)]).await;
    shop.post("cs", "배송이 멈췄어요", MINUTE, None).await;
    shop.post("vip", "배송이 늦어요", MINUTE, None).await;
    let facts = shop.desk.store().read(|reader| reader.case_facts(&[CaseId(1), CaseId(2)])).await.unwrap();
    let ids: Vec<_> = facts.iter().map(|row| row.mentions[0]).collect();
    let posts = shop.desk.store().read(move |reader| reader.posts(&ids)).await.unwrap();
    let upserts = posts.into_iter().map(|row| search::Post {
        mention: row.mention,
        new: true,
        text: row.text.into_whole(),
        lang: row.lang,
        platform: "town".into(),
        accounts: row.accounts,
        author: row.author,
        posted_at: row.posted_at,
        reach: row.reach,
    });
    let rows = facts.iter().map(|row| search::Facts {
        case: Some(row.case),
        team: Some(row.team),
        label: row.label,
        status: Some(row.status),
        ..search::Facts::new(row.mentions[0], 1)
    });
    let batch = search::Batch { upserts: upserts.collect(), facts: rows.collect(), ..search::Batch::default() };
    shop.search.apply(batch).unwrap();
    let page = shop.get("/search?q=%EB%B0%B0%EC%86%A1", Some(&who)).await.text;
    assert!(page.contains("<mark>배송") && page.contains("href=\"/cases/1\"") && !page.contains("/cases/2"), "{page}");
    let found: Value = serde_json::from_str(&shop.get("/api/v1/search?q=%EB%B0%B0%EC%86%A1", Some(&who)).await.text).unwrap();
    assert_eq!((&found["total"], found["hits"].as_array().map(Vec::len)), (&json!(1), Some(1)));
    let wrong = shop.get("/search?q=%22abc", Some(&who)).await;
    assert_eq!(wrong.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(wrong.text.contains("1번째 글자에서 연 따옴표를 닫으세요."), "{}", wrong.text);
    shop.close().await;
}

/// Reads a stream until it says `wanted`.
async fn until(stream: &mut reqwest::Response, wanted: &str) -> String {
    let mut heard = String::new();
    let reading = async {
        while let Some(chunk) = stream.chunk().await.unwrap() {
            heard.push_str(&String::from_utf8_lossy(&chunk));
            if heard.contains(wanted) {
                return;
            }
        }
        panic!("the stream ended without {wanted}");
    };
    let in_time = tokio::time::timeout(Duration::from_secs(20), reading).await;
    assert!(in_time.is_ok(), "no {wanted} in {heard}");
    heard
}

#[tokio::test]
async fn a_stream_pushes_rows_and_tells_the_order() {
    let shop = Shop::open().await;
    let (who, other) = (shop.hire("KG", &[("cs", Role::Agent)]).await, shop.hire("SB", &[("cs", Role::Agent)]).await);
    let thread = shop.post("cs", "배송이 멈췄어요", MINUTE, None).await;
    let listen =
        async |path: &str| shop.client.get(format!("{}{path}", shop.base)).header("cookie", &who.cookie).send().await.unwrap();
    let mut all = listen("/live?room=queue&team=cs&since=1").await;
    assert_eq!(all.headers()["content-type"], "text/event-stream");
    assert!(until(&mut all, "\"version\"").await.starts_with("event: hello\nid: "));
    let mut case = listen("/live?room=case&case=1").await;
    until(&mut case, "event: hello").await;
    let mut free = listen("/live?room=queue&team=cs&owner=none").await;
    until(&mut free, "event: hello").await;
    // The customer writes again: the row changes in place, also for the case's page.
    shop.post("cs", "아직도 안 와요", Duration::ZERO, Some(&thread)).await;
    let heard = until(&mut all, "아직도 안 와요").await;
    assert!(heard.contains("<hx-partial hx-target=\"#case-1\" hx-swap=\"outerMorph\">"), "{heard}");
    assert!(until(&mut case, "아직도 안 와요").await.contains("hx-target=\"#thread\""));
    // Another team's post is nobody's business here; a new one of ours is counted, not inserted.
    shop.post("vip", "남의 글", Duration::ZERO, None).await;
    shop.post("cs", "새 글", Duration::ZERO, None).await;
    let heard = until(&mut all, "\"in\":1").await;
    assert!(heard.contains("event: order\n"), "{heard}");
    assert!(!heard.contains("남의 글") && !heard.contains("<li id=\"case-3\""), "{heard}");
    // Claimed by another: the row of the unclaimed list says so and leaves.
    assert_eq!(shop.form("/cases/1/claim", &other, "", "en").await.status, StatusCode::OK);
    assert!(until(&mut free, "\"out\":1").await.contains("SB"));
    // The fifth window is parked; taking over parks the oldest.
    let _fourth = listen("/live?room=mine").await;
    assert!(until(&mut listen("/live?room=mine").await, "event: parked").await.starts_with("event: parked"));
    let mut taken = listen("/live?room=mine&take=1").await;
    until(&mut taken, "event: hello").await;
    until(&mut all, "event: parked").await;
    // What was missed is sent to who says where they were; a session that ended is told at the next beat.
    let resumed = shop.client.get(format!("{}/live?room=case&case=1&take=1", shop.base)).header("cookie", &who.cookie);
    let mut resumed = resumed.header("last-event-id", "1").send().await.unwrap();
    assert!(until(&mut resumed, "#thread").await.contains("아직도 안 와요"));
    shop.desk.end_session(who.cookie.trim_start_matches("moksori=")).await.unwrap();
    shop.clock.advance(Duration::from_secs(16));
    until(&mut resumed, "event: signedout").await;
    shop.close().await;
}

#[tokio::test]
async fn a_label_is_corrected_taken_back_and_reviewed() {
    let shop = Shop::open().await;
    let agent = shop.hire("KG", &[("cs", Role::Agent)]).await;
    let lead = shop.hire("LE", &[("cs", Role::Lead)]).await;
    let other = shop.hire("VL", &[("vip", Role::Lead)]).await;
    shop.post("cs", "이 가격에 언제까지 파나요", MINUTE, None).await;
    let page = shop.get("/cases/1", Some(&agent)).await.text;
    assert!(page.contains(r#"value="question" data-key="2""#), "one click, one key: {page}");

    // One click, and one back: nothing is learnt.
    let got = shop.form("/cases/1/label", &agent, "label=question", "en").await;
    assert!(got.status == StatusCode::OK && got.text.contains("Label changed"), "{}", got.text);
    assert!(shop.get("/review", Some(&lead)).await.text.contains("KG 님: 문의"));
    let event = got.text.split("name=\"event\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    assert_eq!(shop.form("/cases/1/undo", &agent, &format!("event={event}"), "en").await.status, StatusCode::OK);
    let case = shop.desk.store().read(|reader| reader.case(CaseId(1))).await;
    let case: crate::queue::Case = Result::<_, queue::Error>::unwrap(case).unwrap();
    assert_eq!((case.label, case.labelled_by, case.unsure), (Label::Complaint, None, false), "as the classifier had it");
    assert!(shop.get("/review", Some(&lead)).await.text.contains("볼 교정이 없어요"));

    assert_eq!(shop.form("/cases/1/label", &agent, "label=question", "en").await.status, StatusCode::OK);
    for (who, status) in [(&agent, StatusCode::FORBIDDEN), (&lead, StatusCode::OK), (&other, StatusCode::OK)] {
        assert_eq!(shop.get("/review", Some(who)).await.status, status);
    }
    assert!(!shop.get("/review", Some(&other)).await.text.contains("가격에"), "another team's posts");
    let page = shop.get("/review", Some(&lead)).await.text;
    let at = page.split("name=\"at\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    assert_eq!(shop.form("/review/1", &other, &format!("at={at}&do=accept"), "en").await.status, StatusCode::CONFLICT);
    assert_eq!(shop.form("/review/1", &agent, &format!("at={at}&do=accept"), "en").await.status, StatusCode::FORBIDDEN);
    assert_eq!(
        shop.form("/review/1", &lead, &format!("at={at}&do=dance"), "en").await.status,
        StatusCode::UNPROCESSABLE_ENTITY
    );

    // Without a script: a form, a redirect, a word of what was done with the way back.
    let plain = [("content-type", "application/x-www-form-urlencoded"), ("accept", "text/html"), ("accept-language", "en")];
    let decide = async |fields: &str| {
        let body = format!("csrf={}&{fields}", lead.csrf);
        shop.ask(Method::POST, "/review/1", Some(&lead), &plain, &body).await
    };
    let got = decide(&format!("at={at}&label=proposal")).await;
    assert_eq!((got.status, got.header("location")), (StatusCode::SEE_OTHER, "/review"));
    assert_eq!(got.header("set-cookie").split(';').next(), Some(format!("flash=accept.1.{at}").as_str()));
    let lines = shop.get("/review/corrections.jsonl", Some(&lead)).await;
    let line: Value = serde_json::from_str(lines.text.trim()).unwrap();
    assert_eq!((line["label"].as_str(), line["was"].as_str()), (Some("proposal"), Some("complaint")));
    assert_eq!(line["text"], "이 가격에 언제까지 파나요");
    assert!(shop.get("/review?state=accepted", Some(&lead)).await.text.contains("LE 님이 받아들였어요: 제안"));
    assert_eq!(decide(&format!("event={at}")).await.status, StatusCode::SEE_OTHER);
    assert_eq!(shop.get("/review/corrections.jsonl", Some(&lead)).await.text, "", "put back: not learnt");
    shop.close().await;
}
