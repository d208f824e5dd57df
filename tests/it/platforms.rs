//! Connector files against servers that others wrote, where they can be had on this machine: they answer what no
//! recorded reply of ours would.

use std::{
    net::TcpStream,
    path::Path,
    sync::{Arc, OnceLock},
    time::Duration,
};

use moksori::{
    case::ReplyId,
    clock::Clock,
    connect::{Account, AccountConfig, ConnectorFile, Home, Metrics, Outbox, OwnIds, Poller, Secret, SecretSource, Tray},
    desk::{Outgoing, Watched},
    mention::{Envelope, Lang, Op, Side, TimeQuality},
};
use serde_json::Value as Json;

use crate::kit::engines::{Server, have, say_skipped};

mod accounts;
mod bluesky;

/// How long a server may take to do what it was asked for.
const PATIENCE: Duration = Duration::from_secs(30);

/// One account of a connector file, stepped by hand.
struct Desk {
    account: Arc<Account>,
    tray: Arc<Tray>,
    home: Home,
}

impl Desk {
    fn new(connector: &str, config: AccountConfig) -> Desk {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("connectors/{connector}.toml"));
        let file = Arc::new(ConnectorFile::load(&path).unwrap());
        let metrics = Metrics::new(&prometheus::Registry::new()).unwrap();
        let config = AccountConfig { interval: Duration::ZERO, allow_private: true, ..config };
        let account = Account::new(file, config, OwnIds::default(), Clock::System, metrics).unwrap();
        let tray = Arc::new(Tray::default());
        Desk { account, home: Home::Tray(tray.clone()), tray }
    }

    /// Steps a stream until one of the mentions that it brings is what `wanted` says.
    async fn until(&self, stream: &str, wanted: impl Fn(&Envelope) -> bool) -> Envelope {
        let mut poller = self.poller(stream);
        let (began, mut seen) = (Clock::System.now(), Vec::new());
        loop {
            let last = poller.step().await;
            let found = self.tray.with(|kept| std::mem::take(&mut kept.mentions));
            if let Some(one) = found.iter().find(|one| wanted(one)) {
                return one.clone();
            }
            seen.extend(found);
            assert!(Clock::System.now().since(began) < PATIENCE, "stream {stream}: {last:?}, and only {seen:#?}");
            Clock::System.sleep_until(Clock::System.now().plus(Duration::from_millis(50))).await;
        }
    }

    fn poller(&self, stream: &str) -> Poller {
        Poller::of(&self.account, &self.home).unwrap().into_iter().find(|one| one.stream_name() == stream).unwrap()
    }

    /// Walks a stream once, as a fresh process does; how many mentions that brought. A server may drop a connection.
    async fn walk(&self, stream: &str) -> usize {
        let began = Clock::System.now();
        loop {
            match self.poller(stream).step().await {
                Ok(walk) => return walk.items,
                Err(error) => assert!(error.is_retryable() && Clock::System.now().since(began) < PATIENCE, "{stream}: {error}"),
            }
            Clock::System.sleep_until(Clock::System.now().plus(Duration::from_millis(50))).await;
        }
    }

    /// What somebody works on from now on.
    fn watch(&self, posts: &[&Envelope]) {
        let watched = posts.iter().map(|one| Watched {
            native_id: one.native_id.clone(),
            local_ref: one.local_ref.clone().unwrap(),
            version: one.version(),
            engagement: one.engagement,
        });
        self.tray.with(|kept| kept.watched = watched.collect());
    }

    /// Sends one reply to `target`, again where nothing was sent because a server dropped the connection; what became
    /// of it.
    async fn reply(&self, id: i64, target: &Envelope, text: &str) -> String {
        let author = target.author.as_ref().unwrap();
        let reply = Outgoing {
            id: ReplyId(id),
            account: self.account.config.key.clone(),
            text: text.into(),
            target_native_id: target.native_id.clone(),
            target_local_ref: target.local_ref.clone(),
            target_handle: author.handle.clone(),
            visibility: target.visibility.clone(),
            idempotency_key: format!("key-{id}"),
            lang: Lang::Ko,
            attempts: 1,
            target_conversation: target.conversation.clone(),
            extra: target.extra.clone(),
        };
        let began = Clock::System.now();
        loop {
            self.tray.with(|kept| kept.due.push_back(reply.clone()));
            Outbox::new(self.home.clone(), std::slice::from_ref(&self.account)).step().await.unwrap();
            let outcome = self.tray.with(|kept| kept.outcomes.pop()).unwrap().1;
            if !outcome.starts_with("retry ") || Clock::System.now().since(began) > PATIENCE {
                return outcome;
            }
        }
    }
}

/// A client of this test's own: its connections end with the test's runtime.
fn client() -> reqwest::Client {
    let _installed = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::new()
}

/// snac2 with its two users (`scripts/snac.sh`).
struct Snac {
    server: Server,
}

impl Snac {
    /// The server, started on first use; none if the test of `what` must be skipped.
    fn start(what: &str) -> Option<&'static Snac> {
        static SERVER: OnceLock<Result<Snac, String>> = OnceLock::new();
        have(
            what,
            SERVER.get_or_init(|| {
                let server = Server::new("snac", "fetch", 1)?;
                let port = server.port;
                server.start(|| TcpStream::connect(("127.0.0.1", port)).map(drop).map_err(|error| error.to_string()));
                Ok(Snac { server })
            }),
        )
    }

    fn base(&self) -> String {
        format!("http://127.0.0.1:{}", self.server.port)
    }

    /// A token of `user`, by the steps that an app goes through.
    async fn token(&self, user: &str) -> String {
        let password = std::fs::read_to_string(self.server.dir.join(format!("{user}.password"))).unwrap();
        let nowhere = "urn:ietf:wg:oauth:2.0:oob";
        let app = [("client_name", "test"), ("redirect_uris", nowhere), ("scopes", "read write")];
        let app: Json = self.post("/api/v1/apps", None, &app).await;
        let id = app["client_id"].as_str().unwrap();
        let login = [("login", user), ("passwd", password.trim()), ("redir", nowhere), ("cid", id), ("state", "")];
        let request = client().post(format!("{}/oauth/x-snac-login", self.base())).form(&login);
        let code = request.send().await.unwrap().text().await.unwrap();
        let secret = app["client_secret"].as_str().unwrap();
        let exchange = [
            ("grant_type", "authorization_code"),
            ("code", code.trim()),
            ("client_id", id),
            ("client_secret", secret),
            ("redirect_uri", nowhere),
        ];
        self.post("/oauth/token", None, &exchange).await["access_token"].as_str().unwrap().to_owned()
    }

    async fn post(&self, path: &str, token: Option<&str>, form: &[(&str, &str)]) -> Json {
        let mut request = client().post(format!("{}{path}", self.base())).form(form);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let answer = request.send().await.unwrap();
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
        answer.json().await.unwrap()
    }
}

/// Isso, which has comments as JSON and as feeds (`scripts/isso.sh`): where it listens.
async fn isso(what: &'static str) -> Option<String> {
    static SERVER: OnceLock<Result<Server, String>> = OnceLock::new();
    let start = || {
        let server = Server::new("isso", "fetch", 1)?;
        let port = server.port;
        server.start(|| TcpStream::connect(("127.0.0.1", port)).map(drop).map_err(|error| error.to_string()));
        Ok(server)
    };
    let server = tokio::task::spawn_blocking(move || have(what, SERVER.get_or_init(start))).await.unwrap()?;
    Some(format!("http://127.0.0.1:{}", server.port))
}

/// Writes a comment below a page, as a visitor does.
async fn comment(base: &str, page: &str, author: &str, text: &str) -> Json {
    let body = serde_json::json!({"text": text, "author": author, "title": "상품"});
    let answer = client().post(format!("{base}/new?uri={page}")).json(&body).send().await.unwrap();
    assert!(answer.status().is_success(), "{}", answer.status());
    answer.json().await.unwrap()
}

#[tokio::test]
async fn comments_of_a_website_are_read() {
    let Some(base) = isso("the Isso file against Isso").await else { return };
    let config =
        AccountConfig { base: Some(base.parse().unwrap()), handle: "shop".into(), ..AccountConfig::new("site", "isso") };
    let desk = Desk::new("isso", config);
    let first = comment(&base, "/product/7", "민지", "배터리가 3시간도\n안 가요 & <환불>").await;
    let one = desk.until("latest", |one| one.text.contains("3시간도")).await;
    assert_eq!((one.native_id.as_str(), one.side), (first["id"].to_string().as_str(), Side::Customer));
    assert!(one.text.contains("안 가요 &"), "{one:?}");
    assert_eq!((one.conversation.as_deref(), one.author.as_ref().unwrap().handle.as_str()), (Some("/product/7"), "민지"));
    assert_eq!(desk.walk("latest").await, 0);
    comment(&base, "/product/8", "shop", "확인하겠습니다").await;
    assert_eq!(desk.until("latest", |_| true).await.side, Side::Ours);
}

/// Reads a feed of a server until an entry has this text, and not again what it has read.
async fn read_feed(base: &str, feed: &str, text: &str) -> Envelope {
    let config = AccountConfig {
        base: Some(base.parse().unwrap()),
        settings: [("feed".to_owned(), feed.to_owned())].into(),
        ..AccountConfig::new("feed", "rss")
    };
    let desk = Desk::new("rss", config);
    let one = desk.until("entries", |one| one.text.contains(text)).await;
    assert_eq!(desk.walk("entries").await, 0);
    one
}

#[tokio::test]
async fn feeds_of_other_peoples_servers_are_read() {
    let what = "the file for feeds against Isso and snac2";
    if let Some(base) = isso(what).await {
        comment(&base, "/product/9", "지우", "색이 사진과 달라요").await;
        let one = read_feed(&base, "/feed?uri=/product/9", "사진과 달라요").await;
        assert_eq!((one.author.unwrap().handle.as_str(), one.time_quality), ("지우", TimeQuality::Exact));
    }
    if let Some(snac) = tokio::task::spawn_blocking(move || Snac::start(what)).await.unwrap() {
        let minji = snac.token("minji").await;
        snac.post("/api/v1/statuses", Some(&minji), &[("status", "블로그에도 썼어요"), ("visibility", "public")]).await;
        let one = read_feed(&snac.base(), "/minji.rss", "블로그에도").await;
        assert_eq!(one.time_quality, TimeQuality::Exact);
    }
}

#[tokio::test]
async fn a_mention_on_a_server_that_speaks_mastodon_is_read_and_answered() {
    let Some(snac) = tokio::task::spawn_blocking(|| Snac::start("the Mastodon file against snac2")).await.unwrap() else {
        return;
    };
    let (ours, minji) = (snac.token("brandcs").await, snac.token("minji").await);
    let desk = Desk::new(
        "mastodon",
        AccountConfig {
            brand: "shop".into(),
            base: Some(snac.base().parse().unwrap()),
            handle: "brandcs".into(),
            secrets: [("token".to_owned(), SecretSource::Given(Secret::new(&ours)))].into(),
            tags: vec!["소나무".into(), "superphone".into()],
            ..AccountConfig::new("shop", "mastodon")
        },
    );
    let text = "@brandcs 배송이 일주일째 안 와요 & #superphone";
    let post = snac.post("/api/v1/statuses", Some(&minji), &[("status", text), ("visibility", "public")]).await;

    let one = desk.until("mentions", |one| one.text.contains("일주일째")).await;
    assert_eq!(one.native_id, post["uri"].as_str().unwrap());
    assert_eq!((one.side, one.matched[0].addressed, one.op), (Side::Customer, true, Op::Upsert));
    assert!(one.text.contains("안 와요 &"), "{one:?}");
    assert!(one.posted_at.is_some() && one.author.as_ref().unwrap().handle.starts_with("minji"), "{one:?}");

    let outcome = desk.reply(1, &one, "확인하겠습니다. 내일 알려 드릴게요").await;
    assert!(outcome.starts_with("sent http"), "{outcome}");
    let mine = desk.until("own", |one| one.text.contains("내일 알려")).await;
    assert_eq!((mine.side, outcome), (Side::Ours, format!("sent {}", mine.native_id)));
    assert_eq!(mine.parent, one.local_ref);
}

#[tokio::test]
async fn what_was_read_of_a_real_server_is_not_read_again_after_a_restart() {
    let Some(snac) = tokio::task::spawn_blocking(|| Snac::start("cursors against snac2")).await.unwrap() else { return };
    let (ours, minji) = (snac.token("brandcs").await, snac.token("minji").await);
    let config = AccountConfig {
        brand: "shop".into(),
        base: Some(snac.base().parse().unwrap()),
        handle: "brandcs".into(),
        secrets: [("token".to_owned(), SecretSource::Given(Secret::new(&ours)))].into(),
        tags: vec!["restart".into()],
        ..AccountConfig::new("restart", "mastodon")
    };
    let desk = Desk::new("mastodon", config);
    for number in 0..3 {
        let text = format!("{number}번째 글 #restart");
        snac.post("/api/v1/statuses", Some(&minji), &[("status", &text)]).await;
    }
    desk.until("tags", |one| one.text.contains("2번째")).await;
    assert_eq!(desk.walk("tags").await, 0, "a poller of a fresh process knows what was read");
    snac.post("/api/v1/statuses", Some(&minji), &[("status", "하나 더 #restart")]).await;
    desk.until("tags", |one| one.text.contains("하나 더")).await;
    assert_eq!(desk.tray.with(|kept| kept.mentions.len()), 0);
}
