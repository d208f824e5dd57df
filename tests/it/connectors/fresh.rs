//! How fresh mentions are with many accounts at once, and how many requests that takes of those allowed.

use std::{collections::BTreeMap, convert::Infallible, sync::PoisonError};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::Request,
    http::Response,
};
use futures_util::{StreamExt, stream};

use super::*;

const EACH: usize = 25;
const SECONDS: u64 = 6;

/// A platform of many accounts: what is posted to one is in its list at once, and on its stream.
#[derive(Clone)]
struct Platform {
    posts: Arc<std::sync::Mutex<Vec<(usize, String)>>>,
    told: tokio::sync::broadcast::Sender<(usize, String)>,
}

impl Platform {
    fn post(&self, account: usize, id: usize) {
        let at = Clock::System.now();
        let post = format!("{{\"id\": \"{id}\", \"uri\": \"u:{id}\", \"by\": \"a\", \"text\": \"x\", \"at\": \"{at}\"}}");
        self.posts.lock().unwrap_or_else(PoisonError::into_inner).push((account, post.clone()));
        let _listeners = self.told.send((account, post));
    }

    fn answer(&self, request: &Request) -> Response<Body> {
        let mut parts = request.uri().path().trim_start_matches('/').split('/');
        let account: usize = parts.next().unwrap().parse().unwrap();
        if parts.next() == Some("stream") {
            let heard = stream::unfold(self.told.subscribe(), |mut told| async { Some((told.recv().await.ok()?, told)) });
            let mine = heard.filter_map(move |(to, post)| async move {
                (to == account).then(|| Ok::<_, Infallible>(Bytes::from(format!("event: update\ndata: {post}\n\n"))))
            });
            let response = Response::builder().header("content-type", "text/event-stream");
            return response.body(Body::from_stream(mine)).unwrap();
        }
        let posts = self.posts.lock().unwrap_or_else(PoisonError::into_inner);
        let newest: Vec<&str> =
            posts.iter().rev().filter(|(to, _)| *to == account).take(20).map(|(_, post)| post.as_str()).collect();
        Response::new(Body::from(format!("{{\"posts\": [{}], \"end\": true}}", newest.join(","))))
    }
}

fn percentile(sorted: &[u64], part: f64) -> u64 {
    sorted[((sorted.len() - 1) as f64 * part).round() as usize]
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_accounts_at_once_are_as_fresh_as_they_shall_be() {
    let text = std::fs::read_to_string(kinds::directory().join("live.toml")).unwrap();
    let text = text.replace("[map]\n", "[limits]\nrequests = 300\nper = \"1m\"\n\n[map]\n").replacen("\"2s\"", "\"60s\"", 1);
    let live = ConnectorFile::parse(Path::new("live.toml"), &text).unwrap();
    let from = text.find("[stream.live]").unwrap();
    let until = text.find("[[recorded]]").unwrap();
    let polled = format!("{}{}", &text[..from], &text[until..]).replace("connector = \"live\"", "connector = \"polled\"");
    let polled = ConnectorFile::parse(Path::new("polled.toml"), &polled).unwrap();
    let files = BTreeMap::from([("live".to_owned(), Arc::new(live)), ("polled".to_owned(), Arc::new(polled))]);

    let platform = Platform { posts: Arc::default(), told: tokio::sync::broadcast::channel(1_000).0 };
    for account in 0..2 * EACH {
        platform.post(account, 1_000_000 + account);
    }
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let serving = platform.clone();
    let router = Router::new().fallback(move |request: Request| {
        let answer = serving.answer(&request);
        async { answer }
    });
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });

    let (tray, through) = home();
    let account = |number: usize| AccountConfig {
        base: Some(format!("{base}/{number}").parse().unwrap()),
        interval: Duration::from_secs(1),
        allow_private: true,
        ..AccountConfig::new(&number.to_string(), if number < EACH { "polled" } else { "live" })
    };
    let config = Config { directory: directory(), token_key: None, accounts: (0..2 * EACH).map(account).collect() };
    let registry = prometheus::Registry::new();
    let counted = Metrics::new(&registry).unwrap();
    let connect = Arc::new(Connect::new(&config, &files, through, Clock::System, counted.clone()).unwrap());
    let (stop, stopping) = tokio::sync::watch::channel(false);
    let (_due, replies) = tokio::sync::watch::channel(0);
    let running: Vec<_> = (0..2 * EACH)
        .map(|number| tokio::spawn(connect.clone().run(number.to_string(), replies.clone(), Duration::ZERO, stopping.clone())))
        .collect();
    // All have begun.
    let begun = async {
        while tray.with(|kept| kept.mentions.len()) < 2 * EACH {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), begun).await.expect("all begin");
    let started = Clock::System.now();
    let mut ticks = tokio::time::interval(Duration::from_millis(17));
    let mut id = 0;
    while Clock::System.now().since(started) < Duration::from_secs(SECONDS) {
        ticks.tick().await;
        platform.post(id * 7 % (2 * EACH), id);
        id += 1;
    }
    let seen = |tray: &Tray| tray.with(|kept| kept.mentions.iter().map(|one| one.native_id.clone()).collect::<BTreeSet<_>>());
    let all = async {
        while seen(&tray).len() < id + 2 * EACH {
            ticks.tick().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), all).await.expect("none is lost");
    let elapsed = Clock::System.now().since(started);
    stop.send(true).unwrap();
    for one in running {
        one.await.unwrap();
    }
    let lags = |connector: &str| {
        let mut lags: Vec<u64> = tray.with(|kept| {
            let posted = kept.mentions.iter().filter(|one| one.source.starts_with(connector) && one.posted_at >= Some(started));
            posted.map(|one| one.first_seen_at.since(one.posted_at.unwrap()).as_millis() as u64).collect()
        });
        lags.sort_unstable();
        (percentile(&lags, 0.5), percentile(&lags, 0.99), lags.len())
    };
    let made = counted.requests.with_label_values(&["polled", "ok"]).get();
    let allowed = EACH as f64 * 300.0 * elapsed.as_secs_f64() / 60.0;
    let ((poll_half, poll_most, polls), (live_half, live_most, lives)) = (lags("polled"), lags("live"));
    println!(
        "{EACH} accounts polled at 1 s: p50 {poll_half} ms, p99 {poll_most} ms ({polls} posts), {made} requests of {allowed:.0} allowed; \
         {EACH} streams: p50 {live_half} ms, p99 {live_most} ms ({lives} posts)"
    );
    assert!((made as f64) < allowed, "{made} of {allowed}");
    // A busy machine is slow, not a minute late.
    assert!(poll_most < 5_000 && live_most < 5_000, "{poll_most} {live_most}");
}
