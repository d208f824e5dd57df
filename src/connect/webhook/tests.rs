//! Deliveries over a socket, signed as several platforms sign them, and all that is refused.

use std::{net::SocketAddr, path::Path};

use axum::body::Bytes;
use reqwest::{Client, StatusCode};
use serde_json::Value;

use super::*;
use crate::{
    clock::Clock,
    connect::{AccountConfig, ConnectorFile, Metrics, OwnIds, Secret, SecretSource, Tray},
    mention::Side,
};

const NOW: Time = Time(1_795_000_000_000);
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A platform that signs as told, in one line of `[webhook]` each.
fn file(scheme: &str) -> ConnectorFile {
    let text = format!(
        "connector = 'demo'\nformat = 1\ningress = 'webhook'\ninstance = '{{{{ account.key }}}}'\nsecrets = ['signing', 'word']\n\
         [map]\nnative_id = '$.id'\nauthor_id = '$.by'\ntext = '$.text'\nposted_at = '$.at'\n[webhook]\nrecords = '$'\n{scheme}"
    );
    ConnectorFile::parse(Path::new("demo.toml"), &text).unwrap()
}

const STANDARD: &str = r#"id = "webhook-id"
timestamp = "webhook-timestamp"
signature = { header = "webhook-signature", prefix = "v1,", encoding = "base64", signed = "{{ id }}.{{ timestamp }}.{{ body }}", secret = "signing" }
"#;

struct Desk {
    url: String,
    tray: Arc<Tray>,
    clock: Clock,
    keys: Keys,
    client: Client,
    server: tokio::task::JoinHandle<()>,
}

impl Drop for Desk {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Desk {
    async fn of(file: ConnectorFile) -> Desk {
        let signing = SecretSource::Given(Secret::new(SECRET));
        let mut config = AccountConfig { brand: "shop".into(), ..AccountConfig::new("reviews", "demo") };
        config.secrets.insert("signing".into(), signing.clone());
        config.secrets.insert("word".into(), SecretSource::Given(Secret::new("sesame")));
        let clock = Clock::by_hand(NOW);
        let metrics = Metrics::new(&prometheus::Registry::new()).unwrap();
        let account = Account::new(Arc::new(file), config, OwnIds::default(), clock.clone(), metrics).unwrap();
        let tray = Arc::new(Tray::default());
        let hooks = Hooks::new(&[account], Home::Tray(Arc::clone(&tray)), watch::channel(Wishes::default()).1).unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address: SocketAddr = listener.local_addr().unwrap();
        let server = tokio::spawn(async move { axum::serve(listener, hooks.routes()).await.unwrap() });
        let _installed = rustls::crypto::ring::default_provider().install_default();
        let keys = Keys::read(&signing, NOW).unwrap();
        Desk { url: format!("http://{address}/ingest/reviews"), tray, clock, keys, client: Client::new(), server }
    }

    async fn send(&self, headers: &[(&str, &str)], body: impl Into<Bytes>) -> (StatusCode, Value, String) {
        let mut request = self.client.post(&self.url).body(body.into());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.send().await.unwrap();
        let after = response.headers().get("retry-after").map(|value| value.to_str().unwrap().to_owned());
        (response.status(), response.json().await.unwrap(), after.unwrap_or_default())
    }

    /// Sends as Standard Webhooks has it, `late` seconds late.
    async fn deliver(&self, id: &str, late: i64, kind: &str, body: &str) -> (StatusCode, Value, String) {
        let timestamp = (self.clock.now().0 / 1_000 - late).to_string();
        let signed = format!("{id}.{timestamp}.{body}");
        let file = file(STANDARD);
        let signature = self.keys.sign(&file.webhook.unwrap().signature, &signed);
        let headers =
            [("content-type", kind), ("webhook-id", id), ("webhook-timestamp", &timestamp), ("webhook-signature", &signature)];
        self.send(&headers, body.to_owned()).await
    }

    fn ids(&self) -> Vec<String> {
        self.tray.with(|kept| kept.mentions.iter().map(|one| one.native_id.clone()).collect())
    }
}

const JSON: &str = "application/json";

fn answer(accepted: usize, duplicate: usize) -> Value {
    json!({ "accepted": accepted, "duplicate": duplicate })
}

#[tokio::test]
async fn an_object_a_list_and_lines_are_taken_once() {
    let desk = Desk::of(file(STANDARD)).await;
    let one = r#"{"id":"1","by":"a","text":"왜 안 와요","at":"2026-11-20T03:00:00Z"}"#;
    assert_eq!(desk.deliver("d1", 0, JSON, one).await, (StatusCode::ACCEPTED, answer(1, 0), String::new()));
    assert_eq!(desk.deliver("d1", 0, JSON, one).await.1, answer(0, 1), "the same delivery");
    let list = r#"[{"id":"2","by":"a"},{"id":"3","by":"b"}]"#;
    assert_eq!(desk.deliver("d2", 299, "application/json; charset=utf-8", list).await.1, answer(2, 0));
    let lines = "{\"id\":\"4\",\"by\":\"a\"}\r\n\n{\"id\":\"5\",\"by\":\"b\"}";
    assert_eq!(desk.deliver("d3", -299, "application/x-ndjson", lines).await.1, answer(2, 0));
    assert_eq!(desk.deliver("d4", 0, JSON, "[]").await.1, answer(0, 0));
    assert_eq!(desk.ids(), ["1", "2", "3", "4", "5"]);
    desk.tray.with(|kept| {
        let first = &kept.mentions[0];
        assert_eq!((first.source.as_str(), first.side, first.first_seen_at), ("demo:reviews", Side::Customer, NOW));
        assert_eq!((first.matched[0].brand.as_str(), first.matched[0].account.as_str()), ("shop", "reviews"));
    });
}

#[tokio::test]
async fn what_is_not_signed_now_by_them_is_refused() {
    let desk = Desk::of(file(STANDARD)).await;
    let body = r#"{"id":"1","by":"a"}"#;
    for late in [301, -301, i64::from(i32::MAX)] {
        let (status, answer, _) = desk.deliver("d1", late, JSON, body).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{answer}");
        assert!(answer["error"].as_str().unwrap().contains("too far from now"), "{answer}");
    }
    let timestamp = (NOW.0 / 1_000).to_string();
    let good = desk.keys.sign(&file(STANDARD).webhook.unwrap().signature, &format!("d1.{timestamp}.{body}"));
    let base = [("content-type", JSON), ("webhook-id", "d1"), ("webhook-timestamp", timestamp.as_str())];
    for (wrong, value) in [
        ("webhook-signature", ""),
        ("webhook-signature", "v1,"),
        ("webhook-signature", "v1,AAAA"),
        ("webhook-signature", &good[3..]),
        ("webhook-signature", &good.to_lowercase()),
        ("x-other", &good),
    ] {
        let mut headers = base.to_vec();
        headers.push((wrong, value));
        assert_eq!(desk.send(&headers, body).await.0, StatusCode::UNAUTHORIZED, "{wrong}: {value}");
    }
    for at in 0..base.len() {
        let mut headers = base.to_vec();
        headers[at].1 = "another";
        headers.push(("webhook-signature", &good));
        let status = desk.send(&headers, body).await.0;
        assert!([StatusCode::UNAUTHORIZED, StatusCode::UNSUPPORTED_MEDIA_TYPE].contains(&status), "{headers:?}: {status}");
    }
    let mut signed = base.to_vec();
    signed.push(("webhook-signature", &good));
    assert_eq!(desk.send(&signed, r#"{"id":"1","by":"A"}"#).await.0, StatusCode::UNAUTHORIZED, "one byte differs");
    let mut packed = signed.clone();
    packed.push(("content-encoding", "gzip"));
    assert_eq!(desk.send(&packed, body).await.0, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert_eq!(desk.ids(), Vec::<String>::new());
    assert_eq!(desk.send(&signed, body).await.0, StatusCode::ACCEPTED, "and this is the right one");
    let elsewhere = desk.client.post(desk.url.replace("reviews", "nobody")).send().await.unwrap();
    assert_eq!(elsewhere.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn wrong_items_are_named_and_nothing_is_taken() {
    let desk = Desk::of(file(STANDARD)).await;
    let lines = "{\"id\":\"1\",\"by\":\"a\"}\n{\"by\":\"a\"}\n\n{\"id\":\"3\"}\nnonsense\n[]\n{\"id\":\"6\",\"by\":\"a\",\"at\":\"어제\"}";
    let (status, answer, _) = desk.deliver("d1", 0, "application/x-ndjson", lines).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let items: Vec<(u64, &str)> = answer["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["item"].as_u64().unwrap(), one["error"].as_str().unwrap().split([':', ' ']).next().unwrap()))
        .collect();
    assert_eq!(items, [(2, "no_id"), (4, "no_author"), (5, "not"), (6, "it"), (7, "posted_at")], "{answer}");
    for (body, why) in [("{", "not JSON: eof"), ("", "not JSON: eof"), ("7", "some items are wrong")] {
        let (status, answer, _) = desk.deliver("d1", 0, JSON, body).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        assert!(answer["error"].as_str().unwrap().contains(why), "{answer}");
    }
    let long = format!(r#"{{"id":"1","by":"a","text":"{}"}}"#, "가".repeat(100_000));
    let (status, answer, _) = desk.deliver("d1", 0, JSON, &long).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "the bus would bury it");
    assert!(answer["items"][0]["error"].as_str().unwrap().contains("262144"), "{answer}");
    assert!(!answer.to_string().contains('가'), "no answer repeats a text");
    assert_eq!(desk.ids(), Vec::<String>::new());
    assert_eq!(desk.deliver("d1", 0, JSON, r#"{"id":"1","by":"a"}"#).await.1, self::answer(1, 0), "put right, under its id");
}

#[tokio::test]
async fn too_much_is_refused_before_it_is_read() {
    let desk = Desk::of(file(&format!("{STANDARD}max_bytes = 200\nmax_items = 2\nrequests = 2\nper = '1m'"))).await;
    let large = format!(r#"{{"id":"1","by":"a","text":"{}"}}"#, "x".repeat(200));
    assert_eq!(desk.deliver("d0", 0, JSON, &large).await.0, StatusCode::PAYLOAD_TOO_LARGE);
    let parts = futures_util::stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from_static(&[b' '; 64])));
    let endless = reqwest::Body::wrap_stream(parts);
    let request = desk.client.post(&desk.url).header("content-type", JSON).header("webhook-id", "d0");
    let response = request.header("webhook-signature", "v1,AAAA").body(endless).send().await;
    // The server may close before the client has stopped to send.
    assert!(response.is_err() || response.is_ok_and(|answer| answer.status() == StatusCode::PAYLOAD_TOO_LARGE));
    let three = r#"[{"id":"1","by":"a"},{"id":"2","by":"a"},{"id":"3","by":"a"}]"#;
    assert_eq!(desk.deliver("d1", 0, JSON, three).await.0, StatusCode::PAYLOAD_TOO_LARGE);
    let one = r#"{"id":"1","by":"a"}"#;
    assert_eq!(desk.deliver("d2", 0, JSON, one).await.0, StatusCode::ACCEPTED);
    let (status, _, after) = desk.deliver("d3", 0, JSON, one).await;
    assert_eq!((status, after.as_str()), (StatusCode::TOO_MANY_REQUESTS, "61"));
    desk.clock.advance(Duration::from_secs(60));
    assert_eq!(desk.deliver("d3", 0, JSON, one).await.0, StatusCode::ACCEPTED);
}

#[tokio::test]
async fn a_log_that_takes_nothing_is_no_success_and_loses_nothing() {
    let desk = Desk::of(file(STANDARD)).await;
    desk.tray.with(|kept| kept.appends_left = Some(0));
    let one = r#"{"id":"1","by":"a"}"#;
    let (status, _, after) = desk.deliver("d1", 0, JSON, one).await;
    assert_eq!((status, after.as_str()), (StatusCode::SERVICE_UNAVAILABLE, "5"));
    desk.tray.with(|kept| kept.appends_left = None);
    assert_eq!(desk.deliver("d1", 0, JSON, one).await.1, answer(1, 0));
    assert_eq!(desk.ids(), ["1"]);
}

/// The schemes of platforms, as their files declare them: only the body is signed.
#[tokio::test]
async fn other_schemes_are_declared() {
    for (scheme, header) in [
        (
            "signature = { header = 'x-twitter-webhooks-signature', prefix = 'sha256=', encoding = 'base64', secret = 'signing' }",
            "x-twitter-webhooks-signature",
        ),
        ("signature = { header = 'X-Hub-Signature-256', prefix = 'sha256=', secret = 'signing' }", "x-hub-signature-256"),
        (
            "id = 'x-discourse-event-id'\nsignature = { header = 'X-Discourse-Event-Signature', prefix = 'sha256=', secret = 'signing' }",
            "x-discourse-event-signature",
        ),
    ] {
        let file = file(scheme);
        let signature = file.webhook.clone().unwrap().signature;
        let desk = Desk::of(file).await;
        let body = r#"{"id":"1","by":"a"}"#;
        let good = desk.keys.sign(&signature, body);
        let mut headers = vec![("content-type", JSON), ("x-discourse-event-id", "7"), (header, good.as_str())];
        assert_eq!(desk.send(&headers, body).await.1, answer(1, 0), "{scheme}");
        headers[1].1 = "8";
        assert_eq!(desk.send(&headers, body).await.1, answer(0, 1), "an id that is not signed lets nobody send twice");
        assert_eq!(desk.send(&headers, r#"{"id":"2","by":"a"}"#).await.0, StatusCode::UNAUTHORIZED);
    }
}

#[tokio::test]
async fn challenges_are_answered_to_those_who_may_ask() {
    let signature = "signature = { header = 's', prefix = 'sha256=', encoding = 'base64', secret = 'signing' }";
    let crc = Desk::of(file(&format!(
        "{signature}\nchallenge = {{ parameter = 'crc_token', answer = 'json', key = 'response_token' }}"
    )))
    .await;
    let scheme = file(signature).webhook.unwrap().signature;
    let answer: Value = crc.client.get(format!("{}?crc_token=abc", crc.url)).send().await.unwrap().json().await.unwrap();
    assert_eq!(answer, json!({ "response_token": crc.keys.sign(&scheme, "abc") }));
    let echo = "challenge = { parameter = 'hub.challenge', answer = 'text', verify = { parameter = 'hub.verify_token', secret = 'word' } }";
    let desk = Desk::of(file(&format!("{signature}\n{echo}"))).await;
    let ask = async |query: &str| {
        let response = desk.client.get(format!("{}?{query}", desk.url)).send().await.unwrap();
        (response.status(), response.headers()["content-type"].to_str().unwrap().to_owned(), response.text().await.unwrap())
    };
    let (status, kind, text) = ask("hub.mode=subscribe&hub.verify_token=sesame&hub.challenge=%3Cb%3E1158").await;
    assert_eq!((status, text.as_str()), (StatusCode::OK, "<b>1158"));
    assert!(kind.starts_with("text/plain"), "{kind}");
    for wrong in ["hub.verify_token=sesam&hub.challenge=1", "hub.challenge=1", "hub.verify_token=sesame", ""] {
        let (status, _, text) = ask(wrong).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{wrong}: {text}");
    }
    let none = Desk::of(file(signature)).await;
    assert_eq!(none.client.get(&none.url).send().await.unwrap().status(), StatusCode::NOT_FOUND);
}

#[test]
fn a_scheme_that_protects_nothing_is_no_scheme() {
    let load = |webhook: &str| {
        let text = format!(
            "connector = 'demo'\nformat = 1\ningress = 'webhook'\ninstance = 'x'\nsecrets = ['signing']\n\
             [map]\nnative_id = '$.id'\n[webhook]\nrecords = '$'\n{webhook}"
        );
        ConnectorFile::parse(Path::new("demo.toml"), &text)
    };
    for (webhook, key, why) in [
        ("", "", "missing field `signature`"),
        ("signature = { header = 's', secret = 'sing' }", "secret", "no secret is called `sing`"),
        ("signature = { header = 's', secret = 'signing', signed = '{{ id }}' }", "signed", "body is not signed"),
        ("signature = { header = 's', secret = 'signing', signed = '{{ id }}{{ body }}' }", "signed", "no header has it"),
        ("signature = { header = 's', secret = 'signing', signed = '{{ bdy }}' }", "signature", "unknown value `bdy`"),
        ("timestamp = 't'\nsignature = { header = 's', secret = 'signing' }", "timestamp", "changed by anybody"),
        (
            "challenge = { parameter = 'c', answer = 'text' }\nsignature = { header = 's', secret = 'signing' }",
            "verify",
            "anybody",
        ),
        ("challenge = { parameter = 'c', answer = 'json' }\nsignature = { header = 's', secret = 'signing' }", "key", "key"),
    ] {
        let error = load(webhook).unwrap_err();
        assert!(error.message.contains(why), "{webhook}: {error}");
        assert!(key.is_empty() || error.key.as_deref() == Some(key), "{webhook}: {error}");
    }
    assert!(load("signature = { header = 's', secret = 'signing' }").is_ok());
}
