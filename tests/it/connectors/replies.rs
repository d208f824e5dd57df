//! Replies with facets and in parts: what is asked before, what goes out, and a thread whose receipts are lost.

use std::sync::{Mutex, PoisonError};

use axum::{Json as Answer, Router, body::Bytes, extract::State, http::StatusCode, http::Uri};
use serde_json::{Value as Json, json};

use super::{
    kinds::{path, posts_of, started, state},
    *,
};

fn reply(id: i64, text: &str, summoned: bool) -> Outgoing {
    Outgoing {
        id: ReplyId(id),
        account: "test".into(),
        text: text.into(),
        target_native_id: "u:1".into(),
        target_local_ref: Some("1".into()),
        target_handle: "min".into(),
        visibility: None,
        idempotency_key: format!("key-{id}"),
        lang: Lang::Ko,
        attempts: 1,
        target_conversation: None,
        extra: [("summoned".to_owned(), summoned.to_string())].into(),
    }
}

async fn delivered(bench: &Bench, home: &Home, reply: Outgoing) -> (String, Vec<Json>) {
    let (account, _) = started(bench, home, None);
    let Home::Tray(tray) = home else { unreachable!("a tray") };
    tray.with(|kept| kept.due.push_back(reply));
    bench.playback.asked();
    moksori::connect::Outbox::new(home.clone(), &[account]).step().await.unwrap();
    let outcome = tray.with(|kept| kept.outcomes.pop().unwrap().1);
    (outcome, posts_of(&bench.playback.asked()))
}

#[tokio::test]
async fn a_reply_names_its_links_and_people_and_what_it_answers() {
    let bench = Bench::new(&path("thread")).await;
    let (_, through) = home();
    let text = "첫째 @minji.example.com #a @x";
    let (outcome, sent) = delivered(&bench, &through, reply(1, text, true)).await;
    assert_eq!(outcome, "sent u:11");
    assert_eq!(
        sent,
        [json!({
            "text": text, "lang": "ko",
            "facets": [
                {"start": 7, "end": 25, "kind": "mention", "value": "did:plc:minji"},
                {"start": 26, "end": 28, "kind": "tag", "value": "a"},
            ],
            "to": {"root": "c1", "parent": "c1", "id": "1"},
        })],
        "who is nobody is plain text; what is empty is left out"
    );
}

#[tokio::test]
async fn a_reply_is_sent_only_where_the_platform_permits_it() {
    let bench = Bench::new(&path("thread")).await;
    let (_, through) = home();
    let (outcome, sent) = delivered(&bench, &through, reply(1, "첫째", false)).await;
    assert!(outcome.starts_with("failed the platform lets us answer only"), "{outcome}");
    assert!(sent.is_empty());
}

#[tokio::test]
async fn a_long_reply_is_a_thread_that_goes_on_where_it_broke_off() {
    let bench = Bench::new(&path("thread")).await;
    let (tray, through) = home();
    let text = "첫째 부분은 여기까지입니다 그리고 나서는 조금 뒤에 둘째 부분이 옵니다";
    // Who is answered is asked for first: without that nothing was sent, whatever became of the question.
    for fault in [Fault::Status(429, Some(30)), Fault::Status(503, None), Fault::Truncated] {
        bench.playback.misbehave(&[fault]);
        let (outcome, sent) = delivered(&bench, &through, reply(1, text, true)).await;
        assert!(outcome.starts_with("retry ") && sent.is_empty(), "{fault:?}: {outcome} {sent:?}");
    }
    let (outcome, sent) = delivered(&bench, &through, reply(2, text, true)).await;
    assert_eq!(outcome, "sent u:11", "the case shows where it begins");
    let to: Vec<&Json> = sent.iter().map(|one| &one["to"]).collect();
    assert_eq!(to, [&json!({"root": "c1", "parent": "c1", "id": "1"}), &json!({"root": "c1", "parent": "c11", "id": "11"})]);
    let words: Vec<&str> = sent.iter().map(|one| one["text"].as_str().unwrap()).collect();
    assert_eq!(words.join(" "), text);

    // A crash between the two: only the second is sent.
    let before = state(&tray, "reply/2").unwrap();
    let first: Vec<Json> = serde_json::from_str::<Vec<Json>>(&before).unwrap().into_iter().take(1).collect();
    tray.with(|kept| kept.states.insert(("test".into(), "reply/3".into()), serde_json::to_string(&first).unwrap()));
    let (outcome, sent) = delivered(&bench, &through, reply(3, text, true)).await;
    assert_eq!((outcome.as_str(), sent.len()), ("sent u:11", 1));
    assert_eq!(sent[0]["to"], json!({"root": "c1", "parent": "c11", "id": "11"}));

    let (outcome, sent) = delivered(&bench, &through, reply(4, &"가".repeat(91), true)).await;
    assert!(outcome.starts_with("failed the text is longer") && sent.is_empty(), "{outcome}");
}

/// A platform of each of three kinds that keeps what is written to it.
#[derive(Default)]
struct Platform {
    /// What is written, as its look-up shows it, oldest first.
    written: Mutex<Vec<Json>>,
    /// The receipt of the post with this number is lost.
    lose: Mutex<usize>,
}

impl Platform {
    async fn start() -> (Arc<Platform>, url::Url) {
        let platform = Arc::new(Platform::default());
        let router = Router::new().fallback(Platform::answer).with_state(platform.clone());
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        (platform, base)
    }

    fn written(&self) -> std::sync::MutexGuard<'_, Vec<Json>> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a post; its receipt.
    fn take(&self, post: Json, receipt: Json) -> (StatusCode, Json) {
        let mut written = self.written();
        written.push(post);
        // A gateway gives up on a platform that has acted.
        if *self.lose.lock().unwrap() == written.len() {
            (StatusCode::BAD_GATEWAY, json!({}))
        } else {
            (StatusCode::OK, receipt)
        }
    }

    async fn answer(State(platform): State<Arc<Platform>>, uri: Uri, body: Bytes) -> (StatusCode, Answer<Json>) {
        let sent: Option<Json> = serde_json::from_slice(&body).ok();
        let number = platform.written().len() + 1;
        let newest = || Json::Array(platform.written().iter().rev().cloned().collect());
        let (status, answer) = match (uri.path(), sent) {
            ("/posts", Some(sent)) => {
                let post = json!({"id": format!("1{number}"), "uri": format!("u:1{number}"), "cid": format!("c1{number}"),
                    "text": sent["text"], "to": sent["to"]});
                platform.take(post.clone(), post)
            }
            ("/posts/1", _) => (StatusCode::OK, json!({"id": "1", "cid": "c1"})),
            ("/mine", _) => (StatusCode::OK, newest()),

            ("/xrpc/com.atproto.server.createSession" | "/xrpc/com.atproto.server.getSession", _) => {
                (StatusCode::OK, json!({"did": "did:plc:us", "handle": "us", "accessJwt": "a", "refreshJwt": "r"}))
            }
            ("/xrpc/app.bsky.feed.getPosts", _) => {
                let root = json!({"uri": "at://root", "cid": "root"});
                (StatusCode::OK, json!({"posts": [{"uri": "u:1", "cid": "c1", "record": {"reply": {"root": root}}}]}))
            }
            ("/xrpc/com.atproto.repo.createRecord", Some(sent)) => {
                let (uri, cid) = (format!("at://did:plc:us/app.bsky.feed.post/{number}"), format!("c1{number}"));
                let receipt = json!({"uri": uri, "cid": cid});
                platform.take(json!({"uri": uri, "cid": cid, "value": sent["record"]}), receipt)
            }
            ("/xrpc/com.atproto.repo.listRecords", _) => (StatusCode::OK, json!({"records": newest()})),

            ("/2/oauth2/token", _) => (StatusCode::OK, json!({"access_token": "a", "refresh_token": "r", "expires_in": 7200})),
            ("/2/users/me", _) => (StatusCode::OK, json!({"data": {"id": "99"}})),
            ("/2/tweets", Some(sent)) => {
                let id = format!("1{number}");
                let to = json!([{"type": "replied_to", "id": sent["reply"]["in_reply_to_tweet_id"]}]);
                let receipt = json!({"data": {"id": id, "text": sent["text"]}});
                platform.take(json!({"id": id, "text": sent["text"], "referenced_tweets": to}), receipt)
            }
            ("/2/users/99/tweets", _) => (StatusCode::OK, json!({"data": newest()})),
            _ => (StatusCode::NOT_FOUND, json!({})),
        };
        (status, Answer(answer))
    }
}

/// What one written post says, what it is called and what it answers, on any of the three.
fn seen(post: &Json) -> (String, [Json; 2], [Json; 2]) {
    let (told, called, to) = match (post.get("value"), post.get("referenced_tweets")) {
        (Some(value), _) => {
            let parent = &value["reply"]["parent"];
            (value, [&post["uri"], &post["cid"]], [&parent["uri"], &parent["cid"]])
        }
        (_, Some(tweets)) => (post, [&post["id"], &Json::Null], [&tweets[0]["id"], &Json::Null]),
        _ => (post, [&post["id"], &post["cid"]], [&post["to"]["id"], &post["to"]["parent"]]),
    };
    (told["text"].as_str().unwrap().to_owned(), called.map(Json::clone), to.map(Json::clone))
}

#[tokio::test]
async fn a_thread_of_replies_is_whole_and_once_whichever_receipt_is_lost() {
    let words = |count: usize| (0..count).map(|number| format!("낱말{number:03}")).collect::<Vec<_>>().join(" ");
    for (file, text, target) in [
        (path("thread"), words(14), ["1", "c1"]),
        (directory().join("bluesky.toml"), words(110), ["u:1", "c1"]),
        (directory().join("x.toml"), words(90), ["1", ""]),
    ] {
        let target = target.map(|name| if name.is_empty() { Json::Null } else { json!(name) });
        // The receipt of one of three is lost; or the process ends with it, and the next one settles what is in doubt.
        for (lost, crashed) in [(1, false), (2, false), (3, false), (1, true), (2, true), (3, true)] {
            let case = format!("{} {lost} {crashed}", file.display());
            let (platform, base) = Platform::start().await;
            let connector = Arc::new(ConnectorFile::load(&file).unwrap());
            let config = test_account(&connector, &base);
            let account = Account::new(connector, config, OwnIds::default(), Clock::by_hand(START), metrics()).unwrap();
            let (tray, through) = home();
            let mut outbox = moksori::connect::Outbox::new(through, &[account]);
            let reply = reply(1, &text, true);
            tray.with(|kept| kept.due.push_back(reply.clone()));
            *platform.lose.lock().unwrap() = if crashed { 0 } else { lost };
            outbox.step().await.unwrap();
            let first = tray.with(|kept| std::mem::take(&mut kept.outcomes).remove(0).1);
            assert!(first.starts_with("sent "), "{case}: {first}");
            if crashed {
                platform.written().truncate(lost);
                let kept = state(&tray, "reply/1").unwrap();
                let known: Vec<Json> = serde_json::from_str::<Vec<Json>>(&kept).unwrap().into_iter().take(lost - 1).collect();
                tray.with(|kept| {
                    kept.states.insert(("test".into(), "reply/1".into()), json!(known).to_string());
                    kept.in_doubt = vec![reply];
                });
                outbox.settle().await.unwrap();
                assert_eq!(tray.with(|kept| std::mem::take(&mut kept.outcomes).remove(0).1), first, "{case}");
            }
            let written: Vec<_> = platform.written().iter().map(seen).collect();
            let texts: Vec<&str> = written.iter().map(|(text, ..)| text.as_str()).collect();
            assert_eq!((texts.len(), texts.join(" ")), (3, text.clone()), "{case}");
            let answered: Vec<&[Json; 2]> = written.iter().map(|(_, _, to)| to).collect();
            assert_eq!(answered, [&target, &written[0].1, &written[1].1], "{case}: each answers the one before");
            let roots: Vec<Json> = platform.written().iter().map(|one| one["value"]["reply"]["root"].clone()).collect();
            assert!(roots.iter().all(|root| *root == roots[0]), "{case}: {roots:?}");
        }
    }
}

#[tokio::test]
async fn a_thread_whose_next_post_nobody_can_find_says_how_far_it_came() {
    let bench = Bench::new(&path("thread")).await;
    let (tray, through) = home();
    let text = "첫째 부분은 여기까지입니다 그리고 나서는 조금 뒤에 둘째 부분이 옵니다";
    delivered(&bench, &through, reply(2, text, true)).await;
    let kept = state(&tray, "reply/2").unwrap();
    let first: Vec<Json> = serde_json::from_str::<Vec<Json>>(&kept).unwrap().into_iter().take(1).collect();
    tray.with(|kept| kept.states.insert(("test".into(), "reply/2".into()), json!(first).to_string()));
    tray.with(|kept| kept.in_doubt = vec![reply(2, text, true)]);
    let (account, _) = started(&bench, &through, None);
    bench.playback.asked();
    moksori::connect::Outbox::new(through.clone(), &[account]).settle().await.unwrap();
    let outcome = tray.with(|kept| kept.outcomes.pop().unwrap().1);
    let told = "unknown 1 of 2 posts are out; stopped while it was being sent; not found among our posts";
    assert_eq!((outcome.as_str(), posts_of(&bench.playback.asked())), (told, Vec::new()), "never sent again on a guess");
}
