//! What the engine does for each kind of stream and reply, on the files in `kinds/`. The contract of all connector
//! files (`../connectors.rs`) holds for them too.

use std::{collections::BTreeMap, path::Path, sync::PoisonError};

use moksori::{
    connect::{State, Status},
    mention::Engagement,
};
use serde_json::{Value as Json, json};

use super::*;

pub(super) fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/connectors/kinds")
}

pub(super) fn path(name: &str) -> PathBuf {
    directory().join(format!("{name}.toml"))
}

/// An account on recorded replies, as a fresh process has it; `key` seals what it keeps.
pub(super) fn started(bench: &Bench, home: &Home, key: Option<&str>) -> (Arc<Account>, Vec<Poller>) {
    let account = test_account(&bench.file, &bench.playback.url);
    let config = Config {
        directory: directory(),
        token_key: key.map(|key| SecretSource::Given(Secret::new(key))),
        accounts: vec![AccountConfig { brand: "test".into(), interval: Duration::from_secs(10), ..account }],
    };
    let files = BTreeMap::from([(bench.file.connector.clone(), bench.file.clone())]);
    let connect = Connect::new(&config, &files, home.clone(), bench.clock.clone(), metrics()).unwrap();
    (connect.accounts()[0].clone(), connect.pollers())
}

/// Turns the clock to the next step of a stream.
fn wait(bench: &Bench, poller: &Poller) {
    bench.clock.advance(poller.next_at().since(bench.clock.now()));
}

pub(super) fn state(tray: &Tray, name: &str) -> Option<String> {
    tray.with(|kept| kept.states.get(&("test".to_owned(), name.to_owned())).cloned())
}

pub(super) fn posts_of(asked: &[moksori::connect::Asked]) -> Vec<Json> {
    let sent = asked.iter().filter(|one| one.method == "POST");
    sent.map(|one| serde_json::from_str(&one.body).unwrap_or_else(|_| json!(one.body))).collect()
}

#[tokio::test]
async fn an_expired_token_is_renewed_and_a_rotated_one_survives_a_restart_sealed() {
    let bench = Bench::new(&path("search")).await;
    let (tray, through) = home();
    let (_, mut pollers) = started(&bench, &through, Some("key of the installation"));
    // The platform says that the token is old: it is renewed and the page asked for again.
    bench.playback.misbehave(&[Fault::Status(200, None)]);
    pollers[0].step().await.expect_err("a token call that gives no token");
    wait(&bench, &pollers[0]);
    bench.playback.asked();
    bench.playback.misbehave(&[]);
    assert!(pollers[0].step().await.unwrap().items > 0);
    let asked = bench.playback.asked();
    assert_eq!((asked[0].path.as_str(), asked[1].path.as_str()), ("/oauth/token", "/2/search"), "{asked:?}");

    wait(&bench, &pollers[0]);
    bench.playback.misbehave(&[Fault::Status(401, None)]);
    pollers[0].step().await.unwrap();
    let asked = bench.playback.asked();
    let paths: Vec<&str> = asked.iter().map(|one| one.path.as_str()).collect();
    assert_eq!(paths, ["/2/search", "/oauth/token", "/2/search"], "renewed once, and asked again");
    assert_eq!(posts_of(&asked), [json!({"grant_type": "refresh_token", "refresh_token": "r1"})]);

    // What was given last is kept, and nobody can read it.
    let sealed = state(&tray, "tokens").unwrap();
    // With their quotes: two letters alone may be anywhere in what is sealed.
    assert!(!sealed.contains("\"r2\"") && !sealed.contains("\"t2\""), "{sealed}");
    let (_, mut again) = started(&bench, &through, Some("key of the installation"));
    wait(&bench, &pollers[0]);
    again[0].step().await.unwrap();
    assert_eq!(bench.playback.asked().len(), 1, "no login after a restart");
    // With another key they are no use; they are got anew.
    let (_, mut other) = started(&bench, &through, Some("another key"));
    wait(&bench, &pollers[0]);
    other[0].step().await.unwrap();
    assert_eq!(bench.playback.asked()[0].path, "/oauth/token");
    // They end: renewed before a request is refused.
    bench.clock.advance(Duration::from_secs(7_200));
    other[0].step().await.unwrap();
    assert_eq!(bench.playback.asked()[0].path, "/oauth/token");
}

#[tokio::test]
async fn a_login_that_is_refused_stands_still_and_is_not_hammered() {
    let bench = Bench::new(&path("search")).await;
    let (_, through) = home();
    let (account, mut pollers) = started(&bench, &through, None);
    bench.playback.misbehave(&[Fault::Status(401, None)]);
    let error = pollers[0].step().await.unwrap_err();
    assert!(!error.is_retryable(), "{error:?}");
    assert_eq!(bench.playback.asked().len(), 1);
    assert_eq!(account.statuses()[0].state, State::Stopped);
    assert_eq!(account.statuses()[0].failures[0].remedy, "access");
}

#[tokio::test]
async fn a_walk_asks_above_its_high_water_mark_and_once_without_it_if_that_is_too_old() {
    let text = std::fs::read_to_string(path("search"))
        .unwrap()
        .replace("body = '{\"meta\": {\"result_count\": 0}}'", "status = 400\nbody = '{\"too_old\": true}'");
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("search.toml"), text).unwrap();
    let bench = Bench::new(&folder.path().join("search.toml")).await;
    let (tray, through) = home();
    let (_, mut pollers) = started(&bench, &through, None);
    assert_eq!(pollers[0].step().await.unwrap().items, 2, "the one about jobs is not meant");
    let cursor = tray.with(|kept| kept.cursors.values().next().cloned().unwrap());
    assert_eq!(serde_json::from_str::<Json>(&cursor).unwrap()["high"], "1000", "{cursor}");
    bench.playback.asked();
    wait(&bench, &pollers[0]);
    assert_eq!(pollers[0].step().await.unwrap().items, 0, "down to what is known");
    let asked = bench.playback.asked();
    let since: Vec<bool> = asked.iter().map(|one| one.query.iter().any(|(name, _)| name == "since_id")).collect();
    assert_eq!(since, [true, false], "{asked:?}");
}

#[tokio::test]
async fn posts_of_one_time_are_told_apart_by_an_id_that_is_made_of_the_account() {
    let text = std::fs::read_to_string(path("reviews")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("reviews.toml");
    std::fs::write(&file, text.replace("native_id = \"$.id\"", "native_id = \"{{ setting.app }}/{{ item.id }}\"")).unwrap();
    let bench = Bench::new(&file).await;
    let (tray, through) = home();
    let (_, mut pollers) = started(&bench, &through, None);
    assert!(pollers[0].step().await.unwrap().items > 0);
    let place: Json = serde_json::from_str(&tray.with(|kept| kept.cursors.values().next().cloned().unwrap())).unwrap();
    let marks = place["marks"].as_array().unwrap();
    assert!(marks.iter().all(|mark| mark.as_str().unwrap().contains("|77/")), "what may change is no part of a mark: {place}");
}

#[tokio::test]
async fn an_allowance_survives_a_restart_and_slows_the_walks_so_that_it_lasts() {
    let bench = Bench::new(&path("search")).await;
    let (tray, through) = home();
    let (account, mut pollers) = started(&bench, &through, None);
    pollers[0].step().await.unwrap();
    let left = account.statuses()[0].budget[0].clone();
    assert_eq!((left.name.as_str(), left.left, left.of), ("day", 996, 1_000), "two pages of two units");
    let wait = pollers[0].next_at().since(bench.clock.now());
    assert!(wait > Duration::from_secs(30), "986 units have to last until midnight in Seoul: {wait:?}");
    assert!(state(&tray, "budgets").unwrap().contains("996"));

    let (account, mut again) = started(&bench, &through, None);
    again[0].step().await.unwrap();
    assert_eq!(account.statuses()[0].budget[0].left, 994, "it goes on where it was");
    tray.with(|kept| {
        let resets = json!({"day": {"units": 11, "resets_at": left.resets_at.0}}).to_string();
        kept.states.insert(("test".into(), "budgets".into()), resets);
    });
    let (account, mut spent) = started(&bench, &through, None);
    let error = spent[0].step().await.unwrap_err();
    assert!(matches!(error, Error::Spent(until) if until == left.resets_at), "{error:?}");
    assert_eq!(account.statuses()[0].state, State::Limited);
    assert_eq!(spent[0].next_at(), left.resets_at);
}

#[tokio::test]
async fn a_feed_is_asked_for_only_when_it_has_changed_but_never_lost_to_a_failure() {
    let bench = Bench::new(&path("feed")).await;
    let (tray, through) = home();
    let (_, mut pollers) = started(&bench, &through, None);
    tray.with(|kept| kept.appends_left = Some(0));
    pollers[0].step().await.expect_err("the log is down");
    tray.with(|kept| kept.appends_left = None);
    wait(&bench, &pollers[0]);
    assert_eq!(pollers[0].step().await.unwrap().items, 2, "a 304 here would have lost them");
    wait(&bench, &pollers[0]);
    let walk = pollers[0].step().await.unwrap();
    assert_eq!((walk.pages, walk.items), (0, 0), "304");
}

#[tokio::test]
async fn an_account_that_is_down_is_probed_by_one_stream_at_a_time() {
    let bench = Bench::new(&path("search")).await;
    let (tray, through) = home();
    let (account, mut pollers) = started(&bench, &through, None);
    let mut second = Poller::of(&account, &through).unwrap();
    account.identify().await.unwrap();
    for _ in 0..5 {
        bench.playback.misbehave(&[Fault::Status(503, None)]);
        pollers[0].step().await.expect_err("down");
        wait(&bench, &pollers[0]);
    }
    assert_eq!(account.statuses()[0].state, State::Open);
    let kept: Vec<Status> = serde_json::from_str(&state(&tray, "status").unwrap()).unwrap();
    assert_eq!((kept[0].state, kept[0].failures[0].kind.as_str(), kept[0].failures[0].count), (State::Open, "server_error", 5));
    bench.playback.asked();
    bench.playback.misbehave(&[Fault::Status(503, None)]);
    pollers[0].step().await.expect_err("the probe");
    assert_eq!(second[0].step().await.unwrap().pages, 0);
    assert_eq!(bench.playback.asked().len(), 1, "the other one waits");
    wait(&bench, &second[0]);
    assert!(second[0].step().await.unwrap().items > 0, "it is back");
    wait(&bench, &pollers[0]);
    pollers[0].step().await.unwrap();
    assert_eq!(account.statuses()[0].state, State::Up);
}

#[tokio::test]
async fn a_thread_is_followed_while_it_is_open_and_its_end_is_a_delete() {
    let bench = Bench::new(&path("thread")).await;
    let (tray, through) = home();
    let (_, mut pollers) = started(&bench, &through, None);
    let root = |id: &str| Watched { native_id: format!("u:{id}"), local_ref: id.into(), version: 0, engagement: None };
    tray.with(|kept| kept.threads = vec![root("1"), root("9")]);
    let follow = pollers.iter_mut().find(|poller| poller.stream_name() == "replies").unwrap();
    follow.step().await.unwrap();
    let found = tray.with(|kept| std::mem::take(&mut kept.mentions));
    let seen: Vec<(&str, Op)> = found.iter().map(|one| (one.native_id.as_str(), one.op)).collect();
    assert_eq!(seen, [("u:2", Op::Upsert), ("u:9", Op::Delete)]);
    assert!(found[0].matched.is_empty(), "it belongs to its thread, nothing caught it");
    tray.with(|kept| kept.threads = vec![root("1")]);
    bench.clock.advance(Duration::from_secs(60));
    assert_eq!(follow.step().await.unwrap().items, 0, "known");
}

#[tokio::test]
async fn a_post_that_spreads_is_told_once_for_each_count() {
    let bench = Bench::new(&path("thread")).await;
    let (tray, through) = home();
    let (_, mut pollers) = started(&bench, &through, None);
    let at = Time::parse("2026-11-20T03:00:00Z").unwrap().0;
    let counted = |likes| Some(Engagement { replies: 0, shares: 0, likes });
    let post = |likes| Watched { native_id: "u:1".into(), local_ref: "1".into(), version: at, engagement: counted(likes) };
    let again = pollers.iter_mut().find(|poller| poller.stream_name() == "again").unwrap();
    for (known, news) in [(3, 1), (900, 0)] {
        tray.with(|kept| kept.watched = vec![post(known)]);
        assert_eq!(again.step().await.unwrap().items, news, "{known}");
        bench.clock.advance(Duration::from_secs(60));
    }
    let told = tray.with(|kept| std::mem::take(&mut kept.mentions));
    assert_eq!((told[0].op, told[0].engagement), (Op::Metrics, counted(900)));
}

/// A server of its own for one live stream: each connection gives what it is told and ends.
async fn streaming(script: Vec<&'static str>) -> (String, Arc<std::sync::Mutex<Vec<String>>>) {
    use axum::{Router, body::Body, extract::Request, http::Response};
    let asked = Arc::new(std::sync::Mutex::new(Vec::new()));
    let (seen, script) = (asked.clone(), Arc::new(std::sync::Mutex::new(script)));
    let answer = move |request: Request| {
        let (seen, script) = (seen.clone(), script.clone());
        async move {
            let path = request.uri().path().to_owned();
            let number = {
                let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                seen.push(request.uri().to_string());
                seen.iter().filter(|uri| uri.starts_with("/stream")).count()
            };
            let mut script = script.lock().unwrap_or_else(PoisonError::into_inner);
            if path == "/stream" && !script.is_empty() {
                return Response::builder()
                    .header("content-type", "text/event-stream")
                    .body(Body::from(script.remove(0)))
                    .unwrap();
            }
            if path == "/stream" {
                return Response::builder().status(503).body(Body::empty()).unwrap();
            }
            // What was posted while no connection was open is found by the walk.
            let gap = if number >= 2 {
                r#"{"id": "7", "uri": "u:7", "by": "a", "text": "틈", "at": "2026-11-20T03:00:00Z"},"#
            } else {
                ""
            };
            let first = r#"{"id": "1", "uri": "u:1", "by": "a", "text": "하나", "at": "2026-11-20T01:00:00Z"}"#;
            Response::builder().body(Body::from(format!("{{\"posts\": [{gap}{first}], \"end\": true}}"))).unwrap()
        }
    };
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await.unwrap() });
    (base, asked)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_stream_that_breaks_is_opened_again_and_its_gap_is_filled() {
    let event = |id: u32| -> &'static str {
        let text = format!(
            "event: update\ndata: {{\"id\": \"{id}\", \"uri\": \"u:{id}\", \"by\": \"a\", \"text\": \"x\", \"at\": \"2026-11-20T04:00:00Z\"}}\n\n"
        );
        Box::leak(text.into_boxed_str())
    };
    let (base, asked) = streaming(vec![event(5), event(6)]).await;
    let (tray, through) = home();
    let file = Arc::new(ConnectorFile::load(&path("live")).unwrap());
    let config = Config {
        directory: directory(),
        token_key: None,
        accounts: vec![AccountConfig {
            base: Some(base.parse().unwrap()),
            interval: Duration::from_secs(3_600),
            allow_private: true,
            ..AccountConfig::new("a", "live")
        }],
    };
    let files = BTreeMap::from([("live".to_owned(), file)]);
    let clock = Clock::by_hand(START);
    let connect = Arc::new(Connect::new(&config, &files, through, clock.clone(), metrics()).unwrap());
    let (stop, stopping) = tokio::sync::watch::channel(false);
    let (_due, replies) = tokio::sync::watch::channel(0);
    let running = tokio::spawn(connect.run("a".to_owned(), replies, Duration::ZERO, stopping));
    let wanted: BTreeSet<String> = ["u:1", "u:5", "u:6", "u:7"].map(str::to_owned).into();
    let found = || tray.with(|kept| kept.mentions.iter().map(|one| one.native_id.clone()).collect::<Vec<_>>());
    let all_found = async {
        while found().into_iter().collect::<BTreeSet<_>>() != wanted {
            clock.advance(Duration::from_millis(10));
            tokio::task::yield_now().await;
        }
    };
    let in_time = tokio::time::timeout(Duration::from_secs(60), all_found).await;
    assert!(in_time.is_ok(), "{:?} of {wanted:?}; asked {:?}", found(), asked.lock().unwrap());
    stop.send(true).unwrap();
    tokio::time::timeout(Duration::from_secs(30), running).await.expect("it stops at once").unwrap();
    let all = found();
    assert_eq!(all.len(), wanted.len(), "what the walk knows is not brought again: {all:?}");
}

#[tokio::test]
async fn a_post_with_a_number_below_the_mark_that_shows_late_is_found_within_the_overlap() {
    let text = std::fs::read_to_string(path("search")).unwrap();
    let overlapping = text.replace("cost = 2", "overlap = 1").replace(
        "query = { since_id = \"1000\" }\nbody = '{\"meta\": {\"result_count\": 0}}'",
        "query = { since_id = \"999\" }\nbody = '{\"data\": [{\"id\": \"1000\", \"author_id\": \"7\"}, \
         {\"id\": \"999\", \"author_id\": \"8\", \"text\": \"x\"}, \
         {\"id\": \"999.5\", \"author_id\": \"9\", \"text\": \"한빛전자 늦게 보임\"}]}'",
    );
    assert_ne!(text, overlapping);
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("search.toml"), overlapping).unwrap();
    let bench = Bench::new(&folder.path().join("search.toml")).await;
    let (tray, through) = home();
    let (_, mut pollers) = started(&bench, &through, None);
    pollers[0].step().await.unwrap();
    bench.playback.asked();
    wait(&bench, &pollers[0]);
    assert_eq!(pollers[0].step().await.unwrap().items, 1, "{:?}", bench.playback.asked());
    assert_eq!(tray.with(|kept| kept.mentions.last().unwrap().native_id.clone()), "999.5");
}
