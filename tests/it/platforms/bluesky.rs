//! The Bluesky file on a whole network of the AT Protocol (`scripts/atproto.sh`): sessions, search, mentions, answers
//! with facets and in parts, deletes. It is half a gigabyte of packages, so only who asks for it gets it.

use moksori::connect::Listen;
use serde_json::json;

use super::*;

/// Where the network's personal data server listens; none, said aloud, unless MOKSORI_ATPROTO asks for it.
async fn network(what: &'static str) -> Option<String> {
    static SERVER: OnceLock<Result<Server, String>> = OnceLock::new();
    if std::env::var_os("MOKSORI_ATPROTO").is_none() {
        say_skipped(what, "half a gigabyte, and MOKSORI_ATPROTO is not set; make platforms does");
        return None;
    }
    let start = || {
        let server = Server::new("atproto", "fetch", 6)?;
        let ready = server.dir.join("network.txt");
        server.start(|| match std::fs::read_to_string(&ready) {
            Ok(text) if text.lines().any(|line| line == "ready") => Ok(()),
            Ok(text) => Err(text),
            Err(error) => Err(error.to_string()),
        });
        Ok(server)
    };
    let server = tokio::task::spawn_blocking(move || have(what, SERVER.get_or_init(start))).await.unwrap()?;
    Some(format!("http://127.0.0.1:{}", server.port))
}

/// Somebody with an account.
struct Person {
    base: String,
    handle: String,
    did: String,
    token: String,
}

impl Person {
    async fn join(base: &str, name: &str) -> Person {
        let handle = format!("{name}.test");
        let body = json!({"handle": handle, "email": format!("{name}@example.com"), "password": "sample-password"});
        let answer = call(base, "com.atproto.server.createAccount", None, body).await;
        let text = |key: &str| answer[key].as_str().unwrap().to_owned();
        Person { base: base.to_owned(), handle, did: text("did"), token: text("accessJwt") }
    }

    async fn call(&self, method: &str, body: Json) -> Json {
        call(&self.base, method, Some(&self.token), body).await
    }

    /// Writes a post that mentions the people it begins with; its address.
    async fn post(&self, mentioned: Option<&Person>, text: &str) -> String {
        let name = mentioned.map_or(String::new(), |person| format!("@{} ", person.handle));
        let facets = mentioned.map(|person| {
            json!([{"index": {"byteStart": 0, "byteEnd": name.len() - 1},
                    "features": [{"$type": "app.bsky.richtext.facet#mention", "did": person.did}]}])
        });
        let mut record = json!({"$type": "app.bsky.feed.post", "text": format!("{name}{text}"), "langs": ["ko"],
                                "createdAt": Clock::System.now().to_string()});
        if let Some(facets) = facets {
            record["facets"] = facets;
        }
        let body = json!({"repo": self.did, "collection": "app.bsky.feed.post", "record": record});
        self.call("com.atproto.repo.createRecord", body).await["uri"].as_str().unwrap().to_owned()
    }

    async fn delete(&self, uri: &str) {
        let rkey = uri.rsplit('/').next().unwrap();
        let body = json!({"repo": self.did, "collection": "app.bsky.feed.post", "rkey": rkey});
        self.call("com.atproto.repo.deleteRecord", body).await;
    }

    /// The posts that it has written, newest first.
    async fn posts(&self) -> Vec<Json> {
        let url = format!("{}/xrpc/com.atproto.repo.listRecords?repo={}&collection=app.bsky.feed.post", self.base, self.did);
        let answer: Json = client().get(url).send().await.unwrap().json().await.unwrap();
        answer["records"].as_array().unwrap().clone()
    }
}

async fn call(base: &str, method: &str, token: Option<&str>, body: Json) -> Json {
    let mut request = client().post(format!("{base}/xrpc/{method}")).json(&body);
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    let answer = request.send().await.unwrap();
    let status = answer.status();
    let text = answer.text().await.unwrap();
    assert!(status.is_success(), "{method}: {status}: {text}");
    serde_json::from_str(&text).unwrap_or_default()
}

/// The desk of `person`, with an app password as an operator makes one.
async fn desk(person: &Person, listen: &str) -> Desk {
    let made = person.call("com.atproto.server.createAppPassword", json!({"name": "desk"})).await;
    let password = Secret::new(made["password"].as_str().unwrap());
    let config = AccountConfig {
        brand: "shop".into(),
        base: Some(person.base.parse().unwrap()),
        handle: person.handle.clone(),
        secrets: [("password".to_owned(), SecretSource::Given(password))].into(),
        listen: vec![Listen { name: "brand".into(), text: listen.into() }],
        ..AccountConfig::new("shop", "bluesky")
    };
    Desk::new("bluesky", config)
}

#[tokio::test]
async fn a_whole_bluesky_is_read_and_answered() {
    let Some(base) = network("the Bluesky file on a network of its own").await else { return };
    let (brand, minji) = (Person::join(&base, "brandcs").await, Person::join(&base, "minji").await);
    let desk = desk(&brand, "소나무폰").await;
    let asked = minji.post(Some(&brand), "배송이 일주일째 안 와요. 환불해 주세요").await;
    let told = minji.post(None, "소나무폰 업데이트 후 배터리가 너무 빨리 닳아요").await;

    let one = desk.until("mentions", |one| one.native_id == asked).await;
    assert_eq!((one.side, one.matched[0].addressed, one.lang.as_deref()), (Side::Customer, true, Some("ko")));
    assert_eq!(
        (one.conversation.as_deref(), one.author.as_ref().unwrap().handle.as_str()),
        (Some(asked.as_str()), "minji.test")
    );
    let heard = desk.until("search", |one| one.native_id == told).await;
    assert_eq!((heard.matched[0].addressed, heard.matched[0].query.as_deref()), (false, Some("brand")));

    // Longer than a post may be, with a link and a mention after letters of three bytes.
    let long = "확인이 늦어 죄송합니다. ".repeat(30);
    let text = format!("@minji.test 안녕하세요, https://example.com/주문 에서 보실 수 있습니다. #소나무 {long}");
    let outcome = desk.reply(1, &one, &text).await;
    assert!(outcome.starts_with("sent at://"), "{outcome}");
    let mut written = brand.posts().await;
    written.reverse();
    assert!(written.len() >= 2, "in parts: {written:#?}");
    let first = &written[0]["value"];
    assert_eq!(first["reply"]["parent"]["uri"], json!(asked));
    assert_eq!(first["langs"], json!(["ko"]));
    let spans: Vec<(String, Json)> = first["facets"]
        .as_array()
        .unwrap_or(&Vec::new())
        .iter()
        .map(|facet| {
            let place = |key: &str| facet["index"][key].as_u64().unwrap() as usize;
            let text = first["text"].as_str().unwrap();
            (text[place("byteStart")..place("byteEnd")].to_owned(), facet["features"][0].clone())
        })
        .collect();
    assert!(spans.iter().any(|(span, feature)| span == "@minji.test" && feature["did"] == json!(minji.did)), "{spans:?}");
    assert!(
        spans.iter().any(|(span, feature)| span.starts_with("https://example.com/") && feature["uri"] == json!(span)),
        "{spans:?}"
    );
    assert!(spans.iter().any(|(span, feature)| span == "#소나무" && feature["tag"] == json!("소나무")), "{spans:?}");
    for pair in written.windows(2) {
        assert_eq!(pair[1]["value"]["reply"]["parent"]["uri"], pair[0]["uri"], "each part answers the one before");
        assert_eq!(pair[1]["value"]["reply"]["root"]["uri"], json!(asked));
    }
    let mine = desk.until("own", |one| one.parent.as_deref() == Some(asked.as_str())).await;
    assert_eq!(mine.side, Side::Ours);

    // Its author thinks better of it.
    desk.watch(&[&one, &heard]);
    minji.delete(&asked).await;
    let gone = desk.until("revisit", |one| one.op == Op::Delete).await;
    assert_eq!(gone.native_id, asked);
}
