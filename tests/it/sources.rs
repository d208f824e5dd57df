//! The page of the sources: who may see it, what it says of an account, what is asked there; what is listened for.

use std::time::Duration;

use moksori::{
    clock::{Clock, Time},
    connect::Secret,
    query::Query,
    staff::Role,
};
use reqwest::{Client, StatusCode, redirect::Policy};
use serde_json::json;

use crate::kit::{self, Desk, SHOP};

/// A browser of one person.
pub struct Browser {
    client: Client,
    base: String,
    session: Secret,
}

impl Browser {
    /// Signs somebody in.
    pub async fn of(desk: &Desk, initials: &str) -> Browser {
        let started = desk.app.desk.start_session(desk.viewer(initials).await.id).await.unwrap();
        Browser {
            client: Client::builder().redirect(Policy::none()).build().unwrap(),
            base: format!("http://{}", desk.app.address),
            session: Secret::new(&format!("moksori={}", started.token)),
        }
    }

    /// A page.
    pub async fn get(&self, path: &str) -> (StatusCode, String) {
        let request = self.client.get(format!("{}{path}", self.base)).header("cookie", self.session.reveal());
        let response = request.header("accept", "text/html").header("accept-language", "en").send().await.unwrap();
        (response.status(), response.text().await.unwrap())
    }

    /// A page's live stream, until it has said each of `words`; what it said.
    pub async fn hear(&self, path: &str, words: &[&str]) -> String {
        let request = self.client.get(format!("{}{path}", self.base)).header("cookie", self.session.reveal());
        let mut response = request.header("accept-language", "en").send().await.unwrap();
        let (mut bytes, mut said) = (Vec::new(), String::new());
        let all = async {
            while !words.iter().all(|word| said.contains(word)) {
                bytes.extend(response.chunk().await.unwrap().expect("the stream goes on"));
                said = String::from_utf8_lossy(&bytes).into_owned();
            }
        };
        let in_time = tokio::time::timeout(Duration::from_secs(60), all).await;
        assert!(in_time.is_ok(), "{words:?} in {said}");
        said
    }

    /// Sends a form of a page.
    pub async fn post(&self, page: &str, path: &str, fields: &[(&str, &str)]) -> StatusCode {
        let (_, text) = self.get(page).await;
        let csrf = text.split("name=\"csrf\" value=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or("none");
        let mut form = vec![("csrf", csrf)];
        form.extend(fields);
        let request = self.client.post(format!("{}{path}", self.base)).header("cookie", self.session.reveal()).form(&form);
        request.send().await.unwrap().status()
    }
}

/// How a stream fares, as its connector writes it.
async fn fares(desk: &Desk, state: &str, last_success: Option<Time>, failures: serde_json::Value) {
    let status = json!([{
        "account": "shop-mastodon", "connector": "mastodon", "stream": "mentions", "state": state,
        "last_success": last_success, "newest": last_success, "goal": "5s",
        "budget": [{ "name": "reads", "left": 3_000, "of": 25_000, "resets_at": desk.clock.now().plus(Duration::from_secs(3_600)) }],
        "failures": failures, "next_at": desk.clock.now().plus(Duration::from_secs(5)),
    }]);
    desk.app.desk.save_source_state("shop-mastodon", "status", &status.to_string()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn managers_see_how_a_source_fares_and_everybody_when_it_is_behind() {
    kit::run(async |desk| {
        desk.hire("MG", Role::Manager).await;
        let (manager, agent) = (Browser::of(desk, "MG").await, Browser::of(desk, "KG").await);
        assert_eq!(agent.get("/sources").await.0, StatusCode::FORBIDDEN);
        assert!(!agent.get("/mine").await.1.contains("href=\"/sources\""));
        assert!(manager.get("/mine").await.1.contains("href=\"/sources\""));

        let now = desk.clock.now();
        fares(desk, "up", Some(now), json!([])).await;
        let (status, page) = manager.get("/sources").await;
        assert_eq!(status, StatusCode::OK);
        for words in ["id=\"source-shop-mastodon\"", "Coming in", "goal within 5 s", "Quota left reads", "12%", "room=sources"]
        {
            assert!(page.contains(words), "{words}: {page}");
        }
        assert!(!agent.get("/queue/shop-cs").await.1.contains("nothing has been read"));

        let failures = json!([{ "kind": "client_error", "count": 7, "last": "answered 401", "remedy": "access" }]);
        fares(desk, "waiting", Some(now.minus(Duration::from_secs(600))), failures).await;
        let (_, page) = manager.get("/sources").await;
        for words in ["Behind", "class=\"source stale\"", "answered 401", "7 times", "Put in a new one"] {
            assert!(page.contains(words), "{words}: {page}");
        }
        let (_, queue) = agent.get("/queue/shop-cs").await;
        assert!(queue.contains("shop-mastodon: nothing has been read since 11:50"), "{queue}");
        assert!(!queue.contains("href=\"/sources\""), "who may not look after it gets no link");
        assert!(agent.get("/queue/shop-cs/rows").await.1.contains("nothing has been read"), "the pull says so too");
        assert!(manager.get("/queue/shop-cs").await.1.contains("class=\"b\" href=\"/sources\""));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changed_between_the_page_and_the_first_look_of_its_stream_is_shown() {
    kit::run(async |desk| {
        desk.hire("MG", Role::Manager).await;
        let manager = Browser::of(desk, "MG").await;
        assert!(!manager.get("/sources").await.1.contains("Paused by"));
        assert_eq!(manager.post("/sources", "/sources/shop-mastodon/pause", &[]).await, StatusCode::SEE_OTHER);
        manager.hear("/live?room=sources", &["source-shop-mastodon", "Paused by MG"]).await;
    })
    .await;
}

/// The sample platform has no streams, as not every server of its kind has.
#[tokio::test(flavor = "multi_thread")]
async fn who_has_no_live_connection_is_read_by_walks_and_is_not_behind() {
    kit::run(async |desk| {
        desk.hire("MG", Role::Manager).await;
        let manager = Browser::of(desk, "MG").await;
        // A walk that the machine holds up is behind for as long, by a hand clock that goes on. By its dead stream alone
        // the source would be behind at every look.
        let page = desk
            .until("the connector has told of both, and is not behind", async |_| {
                let (_, page) = manager.get("/sources/shop-mastodon").await;
                let told = page.contains("mentions/live") && page.contains("answered 404") && page.contains("Coming in");
                (told && !page.contains("Behind")).then_some(page)
            })
            .await;
        assert!(page.contains("class=\"source\"") && page.contains("reads again by itself"), "{page}");
        desk.until("no page warns of it", async |_| {
            let (_, page) = manager.get("/queue/shop-cs").await;
            (!page.contains("class=\"banner stale-source\"")).then_some(())
        })
        .await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_is_paused_resumed_and_looked_at_by_those_who_may() {
    kit::run(async |desk| {
        desk.hire("MG", Role::Manager).await;
        let (manager, agent) = (Browser::of(desk, "MG").await, Browser::of(desk, "KG").await);
        let kept = async |name: &str| desk.app.desk.source_state("shop-mastodon", name).await.unwrap().unwrap_or_default();
        assert_eq!(agent.post("/mine", "/sources/shop-mastodon/pause", &[]).await, StatusCode::FORBIDDEN);
        assert_eq!(kept("pause").await, "");
        assert_eq!(manager.post("/sources", "/sources/shop-mastodon/pause", &[]).await, StatusCode::SEE_OTHER);
        assert_eq!(kept("pause").await, "MG");
        let (_, page) = manager.get("/sources").await;
        assert!(page.contains("Paused by MG at") && page.contains("/sources/shop-mastodon/resume"), "{page}");
        assert_eq!(manager.post("/sources", "/sources/shop-mastodon/resume", &[]).await, StatusCode::SEE_OTHER);
        assert_eq!(kept("pause").await, "");
        assert_eq!(manager.post("/sources", "/sources/shop-mastodon/test", &[]).await, StatusCode::SEE_OTHER);
        assert!(kept("test").await.parse::<i64>().is_ok());
        assert_eq!(manager.post("/sources", "/sources/nobody/pause", &[]).await, StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(manager.get("/sources/nobody").await.0, StatusCode::NOT_FOUND);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_is_tried_on_last_week_before_it_is_saved() {
    kit::run(async |desk| {
        desk.hire("MG", Role::Manager).await;
        let manager = Browser::of(desk, "MG").await;
        let say = |author: &str, text: &str| {
            desk.sample.post(author, text, None, Some(SHOP), desk.clock.now(), None);
        };
        say("bora", "사과 한 상자가 다 물렀어요. 환불해 주세요");
        say("hayun", "사과 한 상자가 다 물렀어요!! 환불해 주세요 ㅠㅠ");
        say("minji", "사과폰 화면이 안 켜져요. 수리해 주세요");
        desk.until("all are found", async |desk| {
            let search = desk.app.search.as_ref().unwrap();
            let scope = moksori::search::Scope { teams: desk.viewer("MG").await.visible_teams(), brands: vec![1] };
            let page = moksori::search::Page { offset: 0, limit: 10 };
            let found = search.find(&"사과*".parse::<Query>().unwrap(), &scope, moksori::search::Order::Newest, page).unwrap();
            (found.total == 3).then_some(())
        })
        .await;
        let (status, page) = manager.get("/sources/shop-mastodon?name=apple&q=%EC%82%AC%EA%B3%BC%2A%20-%ED%8F%B0").await;
        assert_eq!(status, StatusCode::OK);
        assert!(page.contains("caught 3") || page.contains("caught 2"), "{page}");
        assert!(page.contains("1 alike"), "near-duplicates are folded: {page}");
        let (status, page) = manager.get("/sources/shop-mastodon?q=label:abuse").await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
        assert!(page.contains("remove label:"), "{page}");
        assert_eq!(manager.get("/sources/shop-mastodon?q=%22open").await.0, StatusCode::UNPROCESSABLE_ENTITY);

        let home = "/sources/shop-mastodon";
        let save = async |name: &str, q: &str| manager.post(home, &format!("{home}/listen"), &[("name", name), ("q", q)]).await;
        assert_eq!(save("apple", "label:abuse").await, StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(save("", "사과").await, StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(save("apple", "사과 -사과폰").await, StatusCode::SEE_OTHER);
        let (_, page) = manager.get(home).await;
        assert!(page.contains("사과 -사과폰") && page.contains("value=\"apple\""), "{page}");
        assert_eq!(manager.post(home, &format!("{home}/unlisten"), &[("name", "apple")]).await, StatusCode::SEE_OTHER);
        assert!(!manager.get(home).await.1.contains("사과 -사과폰"));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_case_says_which_query_of_which_brand_caught_it() {
    kit::run_on(Clock::by_hand(kit::noon()), async |desk| {
        desk.sample.post("bora", "#솔방울마켓 사과가 물렀는데 환불이 안 돼요", None, None, desk.clock.now(), None);
        let row = desk.case_saying("물렀는데").await;
        let (status, page) = Browser::of(desk, "KG").await.get(&format!("/cases/{}", row.case.id.0)).await;
        assert_eq!(status, StatusCode::OK);
        assert!(page.contains("of Pinecone Market") && page.contains("솔방울마켓"), "{page}");
        assert!(page.contains("Not written to us"), "{page}");
        let addressed = desk.sample.post("hayun", "주문이 안 와요. 어떻게 된 건가요", None, Some(SHOP), desk.clock.now(), None);
        assert!(!addressed.is_empty());
        let row = desk.case_saying("주문이 안 와요").await;
        let (_, page) = Browser::of(desk, "KG").await.get(&format!("/cases/{}", row.case.id.0)).await;
        assert!(!page.contains("Not written to us"), "{page}");
    })
    .await;
}
