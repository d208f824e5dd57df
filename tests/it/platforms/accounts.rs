//! The manual's accounts, and what one of them decides about the requests that go out.

use std::{collections::BTreeMap, sync::Mutex};

use axum::{Router, extract::Request};
use moksori::connect::Listen;
use serde::Deserialize;

use super::*;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn the_accounts_of_the_manual_fit_their_files_and_each_file_has_one() {
    let manual = std::fs::read_to_string(root().join("docs/platforms.md")).unwrap();
    let block = manual.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    let table: toml::Table = toml::from_str(block).unwrap();
    let mut shown = Vec::new();
    for value in table["brand"]["account"].as_array().unwrap() {
        let mut config = AccountConfig::deserialize(value.clone()).unwrap();
        let name = config.connector.clone();
        // The manual's secrets are nobody's.
        config.secrets.values_mut().for_each(|secret| *secret = SecretSource::Given(Secret::new("none")));
        let file = Arc::new(ConnectorFile::load(&root().join(format!("connectors/{name}.toml"))).unwrap());
        let metrics = Metrics::new(&prometheus::Registry::new()).unwrap();
        Account::new(file, config, OwnIds::default(), Clock::System, metrics).unwrap_or_else(|error| panic!("{name}: {error}"));
        shown.push(name);
    }
    for entry in std::fs::read_dir(root().join("connectors")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        assert!(manual.contains(&format!("| `{name}` |")), "docs/platforms.md has no row for {name}");
        let local = ["file", "isso", "webhook"].contains(&name.as_str());
        assert!(local || shown.contains(&name), "docs/platforms.md shows no account for {name}");
    }
}

/// A server that answers everything with `body` and remembers what it was asked.
async fn answering(body: &'static str) -> (String, Arc<Mutex<Vec<(String, BTreeMap<String, String>)>>>) {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let kept = asked.clone();
    let router = Router::new().fallback(move |request: Request| {
        let headers = request.headers().iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()));
        kept.lock().unwrap().push((request.uri().path().to_owned(), headers.collect()));
        async move { body }
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (base, asked)
}

#[tokio::test]
async fn an_account_of_naver_chooses_between_the_hub_and_the_old_platform() {
    let (base, asked) = answering(r#"{"items": []}"#).await;
    for (profile, path, id, other) in [
        (None, "/search/v1/cafearticle", "x-ncp-apigw-api-key-id", "x-naver-client-id"),
        (Some("legacy"), "/v1/search/cafearticle.json", "x-naver-client-id", "x-ncp-apigw-api-key-id"),
    ] {
        let secret = |text: &str| SecretSource::Given(Secret::new(text));
        let config = AccountConfig {
            base: Some(base.parse().unwrap()),
            settings: profile.map(|profile| ("profile".to_owned(), profile.to_owned())).into_iter().collect(),
            secrets: [("client_id".to_owned(), secret("the-id")), ("client_secret".to_owned(), secret("the-secret"))].into(),
            listen: vec![Listen { name: "brand".into(), text: "소나무".into() }],
            ..AccountConfig::new("naver", "naver")
        };
        Desk::new("naver", config).poller("cafe").step().await.unwrap();
        let (asked_path, headers) = asked.lock().unwrap().pop().unwrap();
        assert_eq!(asked_path, path);
        assert_eq!(headers.get(id).map(String::as_str), Some("the-id"), "{headers:?}");
        assert!(headers.get(other).is_none_or(String::is_empty), "a key goes only where it belongs: {headers:?}");
    }
}
