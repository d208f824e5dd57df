//! A platform sends everything it has as lines over one connection that stays open: what is listened for comes in as
//! it is said, through heartbeats, breaks and silence, and once.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    body::{Body, Bytes},
    extract::Query,
    routing::get,
};
use futures_util::stream;
use moksori::{
    clock::{Clock, Time},
    connect::{AccountConfig, Listen},
    staff::Role,
};
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use super::words::{self, Posts};
use crate::{
    kit::{self, Desk},
    sources::Browser,
};

/// Longer than any pause of a test on a busy machine; shorter than a test may take.
const HEARTBEAT: &str = "3s";

/// What its file has beside the search.
const LIVE: &str = r#"
[stream.live]
kind = "ndjson"
path = "/stream"
query = { after = "{{ cursor }}" }
heartbeat = "HEARTBEAT"
cursor = "$.seq"

[[stream.live.event]]
when = "{{ item.post is defined }}"
records = "$.post"

[[stream.live.event]]
when = "{{ item.gone is defined }}"
map = { op = "delete", native_id = "$.gone" }
"#;

type Piece = Result<Bytes, std::io::Error>;

#[derive(Clone, Default)]
struct Wire {
    /// From where each connection went on, and its other end.
    lines: Arc<Mutex<Vec<(String, UnboundedSender<Piece>)>>>,
    /// What a search finds.
    posts: Posts,
}

impl Wire {
    async fn start(&self) -> url::Url {
        let lines = self.lines.clone();
        let open = move |Query(asked): Query<Vec<(String, String)>>| {
            let (say, heard) = unbounded_channel::<Piece>();
            let after = asked.into_iter().find(|(name, _)| name == "after").map(|(_, after)| after).unwrap_or_default();
            lines.lock().unwrap().push((after, say));
            let pieces = stream::unfold(heard, |mut heard| async { heard.recv().await.map(|piece| (piece, heard)) });
            async move { Body::from_stream(pieces) }
        };
        words::serve(words::router(self.posts.clone()).route("/stream", get(open))).await
    }

    /// Says something on the newest connection.
    fn say(&self, piece: Piece) {
        self.lines.lock().unwrap().last().unwrap().1.send(piece).unwrap();
    }

    /// From where each connection so far went on.
    fn resumed(&self) -> Vec<String> {
        self.lines.lock().unwrap().iter().map(|(after, _)| after.clone()).collect()
    }

    /// Waits until so many connections have been opened.
    async fn opened(&self, desk: &Desk, count: usize) {
        desk.until("the connection is open", async |_| (self.resumed().len() >= count).then_some(())).await;
    }
}

fn post(id: &str, text: &str, at: Time) -> Value {
    words::post(id, &format!("author-{id}"), text, at.0)
}

fn line(seq: u64, post: &Value) -> String {
    format!("{}\n", json!({ "seq": seq, "post": post }))
}

fn bytes(text: &str) -> Piece {
    Ok(Bytes::from(text.to_owned()))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_platform_sends_as_lines_comes_in_as_it_is_said_and_nothing_is_lost_in_a_break() {
    let wire = Wire::default();
    let base = wire.start().await;
    let folder = tempfile::tempdir().unwrap();
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("connectors/mastodon.toml");
    std::fs::copy(root, folder.path().join("mastodon.toml")).unwrap();
    std::fs::write(
        folder.path().join("wire.toml"),
        [words::file("wire", "main"), LIVE.replace("HEARTBEAT", HEARTBEAT)].concat(),
    )
    .unwrap();
    let changes = |config: &mut moksori::config::Config| {
        config.connect.directory = folder.path().to_owned();
        let listen = |name: &str, text: &str| Listen { name: name.into(), text: text.into() };
        let account = AccountConfig {
            base: Some(base),
            allow_private: true,
            // No walk comes by itself: what is found came over the connection, or fills its gap.
            interval: Duration::from_secs(86_400),
            // The first is asked in two parts, for the platform knows no OR.
            listen: vec![listen("brand", "(솔방울 배송) OR (솔방울 환불)"), listen("market", "솔방울마켓")],
            ..AccountConfig::new("shop-wire", "wire")
        };
        config.brands[0].accounts.push(account);
    };
    kit::run_with(Clock::by_hand(kit::noon()), changes, async |desk| {
        desk.hire("MG", Role::Manager).await;
        let now = desk.clock.now();
        wire.opened(desk, 1).await;

        // A line in two pieces, cut inside a letter.
        let whole = line(1, &post("1", "솔방울 배송이 늦어서 환불받고 싶어요. 어떻게 하나요", now));
        let cut = whole.find("늦").unwrap() + 1;
        wire.say(Ok(Bytes::copy_from_slice(&whole.as_bytes()[..cut])));
        kit::breathe().await;
        wire.say(Ok(Bytes::copy_from_slice(&whole.as_bytes()[cut..])));
        let alive = async |words: &str| {
            desk.until(words, async |desk| {
                wire.say(bytes("\n"));
                desk.queue().await.into_iter().find(|row| row.mention.text.whole().contains(words))
            })
            .await
        };
        alive("늦어서").await;
        let logged = async || desk.app.bus.ends().await.unwrap()[0].1.0;
        assert_eq!(logged().await, 1, "both parts of the query mean it, and it is one record");

        // Empty lines are signs of life for longer than a heartbeat; all parts share the one connection.
        for _ in 0..350 {
            wire.say(bytes("\n"));
            kit::breathe().await;
        }
        assert_eq!(wire.resumed(), [""], "one connection, from now on");
        // What nobody listens for is passed over, and so is a line that is none; both move the place to go on from.
        desk.clock.advance(Duration::from_secs(2));
        wire.say(bytes(&format!("not JSON\n{}", line(2, &post("2", "솔방울 주우러 산에 갔다", now)))));
        // The connection breaks in the middle of a line. One post falls into the gap, and the stream forgets it.
        let third = line(3, &post("3", "솔방울마켓 상자가 찢어져서 왔어요. 환불해 주세요", now));
        wire.posts.lock().unwrap().push(post("4", "솔방울 환불은 언제 되나요? 일주일째 기다려요", now));
        desk.until("the place is kept", async |desk| {
            (desk.app.desk.cursor("shop-wire/search/live").await.unwrap().as_deref() == Some("2")).then_some(())
        })
        .await;
        wire.say(bytes(&third[..third.len() / 3]));
        kit::breathe().await;
        wire.say(Err(std::io::Error::other("cut")));
        desk.case_saying("일주일째 기다려요").await;
        wire.opened(desk, 2).await;
        assert_eq!(wire.resumed()[..2], ["", "2"], "it goes on behind what is durable");
        wire.say(bytes(&third));
        let torn = alive("찢어져서").await.mention.id.0;
        let caught = desk.app.store.read(move |reader| reader.catches(&[torn])).await.unwrap();
        assert!(!caught.is_empty(), "it says which query caught it");
        assert_eq!(desk.totals().await.mentions, 3, "each once, and what nobody listens for not at all");

        // Silence for longer than a heartbeat is a broken connection.
        let opened = wire.resumed().len();
        wire.opened(desk, opened + 1).await;
        wire.say(bytes("{\"seq\": 4, \"gone\": \"4\"}\n{\"seq\": 5, \"gone\": \"9999\"}\n"));
        desk.until("the deleted one is gone", async |desk| {
            desk.queue().await.iter().all(|row| !row.mention.text.whole().contains("기다려요")).then_some(())
        })
        .await;
        let (_, page) = Browser::of(desk, "MG").await.get("/sources/shop-wire").await;
        assert!(page.contains("search/live") && !page.contains("class=\"source stale\""), "{page}");
    })
    .await;
}
