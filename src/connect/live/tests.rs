//! What becomes of a live connection that misbehaves; the files are those of the contract test.

use std::{path::PathBuf, sync::Arc};

use super::*;
use crate::{
    clock::Clock,
    connect::{Account, ConnectorFile, Fault, Home, Metrics, OwnIds, Playback, Tray, test_account},
};

struct Bench {
    playback: Playback,
    poller: Poller,
    live: Live,
    tray: Arc<Tray>,
}

async fn bench(name: &str, change: impl FnOnce(String) -> String) -> Bench {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/it/connectors/kinds");
    let path = directory.join(format!("{name}.toml"));
    let mut file = ConnectorFile::parse(&path, &change(std::fs::read_to_string(&path).unwrap())).unwrap();
    file.request.max_bytes = 10_000;
    file.request.timeout.0 = Duration::from_millis(500);
    let playback = Playback::start(&path, &file).await.unwrap();
    let (file, tray) = (Arc::new(file), Arc::new(Tray::default()));
    let config = test_account(&file, &playback.url);
    let metrics = Metrics::new(&prometheus::Registry::new()).unwrap();
    let account = Account::new(file, config, OwnIds::default(), Clock::System, metrics).unwrap();
    let poller = Poller::of(&account, &Home::Tray(tray.clone())).unwrap().remove(0);
    let live = poller.stream().live.clone().unwrap();
    Bench { playback, poller, live, tray }
}

impl Bench {
    async fn open(&self) -> Result<Connection, Error> {
        Connection::open(std::slice::from_ref(&self.poller), &self.live).await
    }

    async fn step(&self, connection: &mut Connection) -> Result<usize, Error> {
        connection.step(std::slice::from_ref(&self.poller), &self.live).await
    }

    /// Steps until the connection breaks.
    async fn until_it_breaks(&self) -> Error {
        let mut connection = match self.open().await {
            Ok(connection) => connection,
            Err(error) => return error,
        };
        loop {
            if let Err(error) = self.step(&mut connection).await {
                return error;
            }
        }
    }

    fn ids(&self) -> Vec<String> {
        self.tray.with(|kept| kept.mentions.iter().map(|one| one.native_id.clone()).collect())
    }
}

fn quick(text: String) -> String {
    text.replace("heartbeat = \"2s\"", "heartbeat = \"200ms\"")
}

#[tokio::test]
async fn a_connection_that_does_not_open_says_why() {
    for name in ["live", "socket"] {
        let bench = bench(name, |text| text).await;
        for fault in [Fault::Status(429, Some(30)), Fault::Status(503, None), Fault::Redirect, Fault::Html, Fault::Stalled] {
            bench.playback.misbehave(&[fault]);
            let error = match bench.open().await {
                Err(error) => error,
                // A body that stalls is silence.
                Ok(mut connection) => bench.step(&mut connection).await.unwrap_err(),
            };
            let kind = match fault {
                Fault::Status(429, _) => matches!(error, Error::Status { status: 429, until: Some(_), .. }),
                Fault::Status(..) | Fault::Redirect => matches!(error, Error::Status { .. }),
                Fault::Stalled => matches!(error, Error::Timeout(_)),
                _ => matches!(error, Error::Garbage(_)),
            };
            assert!(kind, "{name} {fault:?}: {error:?}");
        }
        assert!(bench.ids().is_empty(), "{name}");
    }
}

#[tokio::test]
async fn silence_a_cut_and_a_message_without_end_break_a_connection() {
    let bench = bench("live", quick).await;
    assert!(matches!(bench.until_it_breaks().await, Error::Timeout(_)), "silence");
    assert_eq!(bench.ids(), ["u:4"], "what came before is kept");
    bench.playback.misbehave(&[Fault::Truncated]);
    assert!(matches!(bench.until_it_breaks().await, Error::Broken(_)));
    bench.playback.misbehave(&[Fault::Endless]);
    let error = bench.until_it_breaks().await;
    assert!(matches!(error, Error::TooLarge(10_000)), "{error:?}");
}

#[tokio::test]
async fn a_websocket_that_answers_is_alive_and_resumes_from_its_place() {
    let bench = bench("socket", quick).await;
    let mut connection = bench.open().await.unwrap();
    bench.step(&mut connection).await.unwrap();
    while bench.ids().len() < 2 {
        bench.step(&mut connection).await.unwrap();
    }
    // Nothing more comes, but the other side answers a ping: no step ends for longer than a heartbeat.
    let more = tokio::time::timeout(Duration::from_millis(700), bench.step(&mut connection)).await;
    assert!(more.is_err(), "{more:?}");
    drop(connection);
    bench.playback.asked();
    drop(bench.open().await.unwrap());
    let asked = bench.playback.asked();
    let cursor = asked[0].query.iter().find(|(name, _)| name == "cursor").map(|(_, value)| value.clone());
    assert!(["5", "7"].contains(&cursor.as_deref().unwrap_or("")), "saved with the first message, a second apart: {cursor:?}");
}

#[tokio::test]
async fn a_delete_is_for_a_post_that_we_have() {
    let bench = bench("live", quick).await;
    let known =
        Envelope { source: "live:main".into(), native_id: "u:2".into(), local_ref: Some("2".into()), ..Envelope::default() };
    bench.tray.with(|kept| kept.mentions.push(known));
    bench.until_it_breaks().await;
    let deletes: Vec<String> = bench
        .tray
        .with(|kept| kept.mentions.iter().filter(|one| one.op == Op::Delete).map(|one| one.native_id.clone()).collect());
    assert_eq!(deletes, ["u:2"], "2 is called u:2, and nobody knows 9999");
}

#[tokio::test]
async fn a_live_connection_goes_nowhere_that_a_request_may_not_go() {
    for target in
        ["wss://evil.example/socket", "ws://169.254.169.254/socket", "wss://user:pass@127.0.0.1/socket", "https://[::1]/socket"]
    {
        let bench =
            bench("socket", |text| text.replace("path = \"/socket\"\nquery", &format!("path = \"{target}\"\nquery"))).await;
        let refused = bench.open().await.err();
        assert!(matches!(refused, Some(Error::Refused(_))), "{target}: {refused:?}");
        assert!(bench.playback.asked().is_empty(), "{target}");
    }
}

#[tokio::test]
async fn a_connection_that_the_account_leaves_empty_is_not_opened() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("connectors/bluesky.toml");
    let file = Arc::new(ConnectorFile::load(&path).unwrap());
    for (jetstream, opened) in [("", false), ("wss://jetstream2.us-east.bsky.network/subscribe", true)] {
        let mut config = test_account(&file, &"http://127.0.0.1:9".parse().unwrap());
        config.settings.insert("jetstream".into(), jetstream.into());
        let metrics = Metrics::new(&prometheus::Registry::new()).unwrap();
        let account = Account::new(file.clone(), config, OwnIds::default(), Clock::System, metrics).unwrap();
        let pollers = Poller::of(&account, &Home::Tray(Arc::default())).unwrap();
        assert_eq!(pollers.iter().any(|poller| poller.live().is_some()), opened, "{jetstream:?}");
    }
}
