//! What other systems send to `/ingest/ACCOUNT`: cases of it, once, across restarts and with a full log.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, Mac as _};
use moksori::{
    app::App,
    clock::Clock,
    config::Config,
    connect::{AccountConfig, Secret, SecretSource},
};
use reqwest::StatusCode;
use serde_json::{Value, json};
use sha2::Sha256;

use crate::kit;

const KEY: &[u8] = b"a key of the sample shop, known to nobody else";

/// The shop's own reviews, sent by its website.
pub fn reviews(config: &mut Config) {
    let mut account = AccountConfig::new("shop-reviews", "webhook");
    let secret = Secret::new(&format!("whsec_{}", STANDARD.encode(KEY)));
    account.secrets.insert("signing".into(), SecretSource::Given(secret));
    config.brands[0].accounts.push(account);
}

/// Sends a delivery, signed as the Standard Webhooks specification says, at `clock`'s time.
pub async fn deliver(app: &App, clock: &Clock, id: &str, body: &Value) -> (StatusCode, Value) {
    let (timestamp, body) = ((clock.now().0 / 1_000).to_string(), body.to_string());
    let mut mac = Hmac::<Sha256>::new_from_slice(KEY).unwrap();
    mac.update(format!("{id}.{timestamp}.{body}").as_bytes());
    let signature = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
    let request = reqwest::Client::new()
        .post(format!("http://{}/ingest/shop-reviews", app.address))
        .header("content-type", "application/json")
        .header("webhook-id", id)
        .header("webhook-timestamp", timestamp)
        .header("webhook-signature", signature);
    let response = request.body(body).send().await.unwrap();
    (response.status(), response.json().await.unwrap())
}

fn review(id: &str, text: &str) -> Value {
    json!({ "id": id, "author": { "id": "c-7", "handle": "hayun" }, "text": text, "created_at": kit::noon().to_string() })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_becomes_a_case_and_its_repetition_none() {
    let text = "주문한 지 열흘인데 아직 안 왔어요. 환불해 주세요";
    kit::run_with(Clock::by_hand(kit::noon()), reviews, async |desk| {
        let review = review("r-1", text);
        let first = deliver(&desk.app, &desk.clock, "d-1", &review).await;
        assert_eq!(first, (StatusCode::ACCEPTED, json!({ "accepted": 1, "duplicate": 0 })));
        let again = deliver(&desk.app, &desk.clock, "d-1", &review).await;
        assert_eq!(again, (StatusCode::ACCEPTED, json!({ "accepted": 0, "duplicate": 1 })));
        // The same post in a delivery of another id is in the log twice, and one case.
        assert_eq!(deliver(&desk.app, &desk.clock, "d-2", &review).await.1, json!({ "accepted": 1, "duplicate": 0 }));
        let row = desk.case_saying("열흘인데").await;
        assert_eq!(row.mention.source, "webhook:shop-reviews");
        desk.all_is_read().await;
        assert_eq!((desk.queue().await.len(), desk.totals().await.mentions), (1, 1));
        // No cookie, no CSRF token: the console's guards are not in the way, and its pages are not beside it.
        let page = reqwest::get(format!("http://{}/ingest/shop-reviews", desk.app.address)).await.unwrap();
        assert_eq!(page.status(), StatusCode::NOT_FOUND, "there is no challenge to answer");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_is_known_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Clock::by_hand(kit::noon());
    let sample = kit::sample(&clock).await;
    let mut config = kit::config(dir.path(), &sample);
    reviews(&mut config);
    let stop = async |app: App| {
        let stopping = tokio::spawn(app.stop());
        clock.advance(Duration::from_secs(60));
        assert!(stopping.await.unwrap());
    };
    let app = App::start(config.clone(), clock.clone()).await.unwrap();
    assert_eq!(deliver(&app, &clock, "d-1", &review("r-1", "왜 안 와요")).await.1["accepted"], 1);
    stop(app).await;
    let app = App::start(config, clock.clone()).await.unwrap();
    let again = deliver(&app, &clock, "d-1", &review("r-1", "왜 안 와요")).await.1;
    assert_eq!(again, json!({ "accepted": 0, "duplicate": 1 }));
    assert_eq!(app.bus.ends().await.unwrap()[0].1.0, 1, "it is in the log once");
    stop(app).await;
}
