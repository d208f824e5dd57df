//! Runs a connector file against its recorded replies, over HTTP on 127.0.0.1.
//!
//! `moksori connector test FILE` prints the [`Report`]; the contract test asks a [`Playback`] to
//! misbehave in all the ways in which platforms do.

use std::{
    collections::{BTreeMap, VecDeque},
    convert::Infallible,
    fmt,
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Request, State},
    http::{HeaderName, Response, StatusCode, header, request::Parts},
};
use futures_util::{SinkExt, StreamExt, stream};
use hyper_util::rt::TokioIo;
use serde_json::Value as Json;
use tokio::{task::JoinHandle, time::timeout};
use tokio_tungstenite::{WebSocketStream, tungstenite::protocol::Role};
use url::Url;

use super::{
    Account, AccountConfig, ConnectorFile, Error, FileError, Home, Hooks, Metrics, OwnIds, Poller, Secret, SecretSource, Tray,
    format::{Ingress, Played, Recorded},
    jwt,
    live::Connection,
    socket::accept,
};
use crate::{clock::Clock, desk::Watched, mention::Envelope};

/// How a playback misbehaves for one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A status with an empty JSON object, and `Retry-After` in seconds.
    Status(u16, Option<u32>),
    /// A page for people, with status 200.
    Html,
    /// The first half of the body, under a length that promises all of it.
    Truncated,
    /// A body that does not end.
    Endless,
    /// A small body that unpacks to a very large one.
    Bomb,
    /// Headers, and then nothing.
    Stalled,
    /// A redirect to a private address.
    Redirect,
}

/// One request as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Its method.
    pub method: String,
    /// Its path.
    pub path: String,
    /// Its query, decoded, in order.
    pub query: Vec<(String, String)>,
    /// What it said.
    pub body: String,
}

/// Longest request that a playback reads.
const LONGEST_REQUEST: usize = 1 << 20;

/// How long a live connection is listened to after its last message.
const QUIET: Duration = Duration::from_millis(300);

/// A server on 127.0.0.1 that answers with recorded replies.
#[derive(Debug)]
pub struct Playback {
    /// Where it listens.
    pub url: Url,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    base: String,
    recorded: Vec<(Recorded, String)>,
    faults: Mutex<VecDeque<Fault>>,
    asked: Mutex<Vec<Asked>>,
    looping: Mutex<bool>,
}

impl Drop for Playback {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Playback {
    /// Starts a server that plays the replies recorded in or beside the file at `path`.
    ///
    /// # Errors
    /// When a reply file is missing, or no port can be had.
    pub async fn start(path: &Path, file: &ConnectorFile) -> Result<Playback, Error> {
        let beside = path.with_extension("");
        let mut recorded = Vec::with_capacity(file.recorded.len());
        for reply in &file.recorded {
            let body = match (&reply.body, &reply.reply) {
                (Some(body), _) => body.clone(),
                (None, Some(name)) => std::fs::read_to_string(beside.join(name)).map_err(|error| {
                    Error::File(FileError {
                        file: beside.join(name),
                        line: 1,
                        key: None,
                        message: format!("cannot be read: {error}"),
                        remedy: "put the recorded reply there".into(),
                    })
                })?,
                (None, None) => String::new(),
            };
            recorded.push((reply.clone(), body));
        }
        let no_port = |error: std::io::Error| Error::Unreached(format!("127.0.0.1: {error}"));
        let listener = tokio::net::TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.map_err(no_port)?;
        let base = format!("http://{}", listener.local_addr().map_err(no_port)?);
        let url = Url::parse(&base).map_err(|error| Error::Refused(error.to_string()))?;
        let shared =
            Arc::new(Shared { base, recorded, faults: Mutex::default(), asked: Mutex::default(), looping: Mutex::default() });
        let router = Router::new().fallback(answer).with_state(shared.clone());
        let task = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                tracing::error!("the playback of recorded replies ended: {error}");
            }
        });
        Ok(Playback { url, shared, task })
    }

    /// The next requests fare so, one after the other.
    pub fn misbehave(&self, faults: &[Fault]) {
        lock(&self.shared.faults).extend(faults);
    }

    /// Every page is the first one, whatever is asked for.
    pub fn go_in_circles(&self) {
        *lock(&self.shared.looping) = true;
    }

    /// The requests so far; they are forgotten.
    pub fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut *lock(&self.shared.asked))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response<Body> {
    let (mut parts, body) = request.into_parts();
    let sent = axum::body::to_bytes(body, LONGEST_REQUEST).await.map(|bytes| bytes.to_vec()).unwrap_or_default();
    let asked = Asked {
        method: parts.method.to_string(),
        path: parts.uri.path().to_owned(),
        query: url::form_urlencoded::parse(parts.uri.query().unwrap_or("").as_bytes()).into_owned().collect(),
        body: String::from_utf8_lossy(&sent).into_owned(),
    };
    let fault = lock(&shared.faults).pop_front();
    let looping = *lock(&shared.looping);
    lock(&shared.asked).push(asked.clone());
    let fits = |recorded: &&(Recorded, String)| {
        let (reply, _) = *recorded;
        let path = percent_decoded(&asked.path);
        let has = |name: &str, value: &str| asked.query.iter().any(|(n, v)| n == name && v == value);
        reply.method == asked.method
            && (reply.path == asked.path || reply.path == path)
            && (looping || reply.query.iter().all(|(name, value)| has(name, value)))
            && (looping || reply.without.iter().all(|name| asked.query.iter().all(|(n, _)| n != name)))
            && reply.contains.iter().all(|text| asked.body.contains(text))
    };
    let found = shared.recorded.iter().find(fits);
    let (status, headers, body) = match found {
        Some((reply, body)) => (reply.status, reply.headers.clone(), body.replace("{base}", &shared.base)),
        None => (404, BTreeMap::new(), "{}".to_owned()),
    };
    let played = found.map_or(Played::Answer, |(reply, _)| reply.played);
    let mut response = Response::builder();
    for (name, value) in &headers {
        response = response.header(name, value.replace("{base}", &shared.base));
    }
    let named = headers.keys().any(|name| name.eq_ignore_ascii_case("content-type"));
    let response = if named { response } else { response.header(header::CONTENT_TYPE, "application/json") };
    // Nothing has changed since the client last asked.
    let etag = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("etag")).map(|(_, value)| value.as_bytes());
    let same = etag.is_some() && parts.headers.get(header::IF_NONE_MATCH).map(|value| value.as_bytes()) == etag;
    let built = match fault {
        None if same => Response::builder().status(304).body(Body::empty()),
        None if played == Played::Stream => {
            let start = stream::iter([Ok::<_, Infallible>(Bytes::from(body))]);
            response.status(status).body(Body::from_stream(start.chain(stream::pending())))
        }
        None if played == Played::Websocket => Ok(websocket(&mut parts, body)),
        None => response.status(status).body(Body::from(body)),
        Some(Fault::Status(status, wait)) => {
            let response = Response::builder().status(status);
            match wait {
                Some(seconds) => response.header(header::RETRY_AFTER, seconds),
                None => response,
            }
            .body(Body::from("{}"))
        }
        Some(Fault::Html) => Response::builder()
            .header(header::CONTENT_TYPE, "text/html")
            .body(Body::from("<!doctype html><html><body><h1>곧 돌아오겠습니다</h1></body></html>")),
        Some(Fault::Truncated) => {
            let half: Vec<u8> = body.as_bytes()[..body.len() / 2].to_vec();
            let parts = stream::iter([Ok(Bytes::from(half)), Err(std::io::Error::other("cut"))]);
            response.header(header::CONTENT_LENGTH, body.len()).body(Body::from_stream(parts))
        }
        Some(Fault::Endless) => {
            let spaces = Bytes::from(vec![b' '; 64 * 1024]);
            response.body(Body::from_stream(stream::repeat(spaces).map(Ok::<_, Infallible>)))
        }
        Some(Fault::Bomb) => response.header(header::CONTENT_ENCODING, "gzip").body(Body::from(bomb())),
        Some(Fault::Stalled) => response.body(Body::from_stream(stream::pending::<Result<Bytes, Infallible>>())),
        Some(Fault::Redirect) => {
            Response::builder().status(302).header(header::LOCATION, "http://169.254.169.254/").body(Body::empty())
        }
    };
    built.unwrap_or_else(|error| {
        let mut broken = Response::new(Body::from(error.to_string()));
        *broken.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        broken
    })
}

/// Takes the request for a WebSocket, plays the lines of `body` as its messages and then only listens.
fn websocket(parts: &mut Parts, body: String) -> Response<Body> {
    let key = parts.headers.get(header::SEC_WEBSOCKET_KEY).and_then(|key| key.to_str().ok()).unwrap_or("").to_owned();
    let mut response = Response::new(Body::empty());
    let Some(upgrade) = parts.extensions.remove::<hyper::upgrade::OnUpgrade>() else {
        *response.status_mut() = StatusCode::BAD_REQUEST;
        return response;
    };
    tokio::spawn(async move {
        let Ok(raw) = upgrade.await else { return };
        let mut socket = WebSocketStream::from_raw_socket(TokioIo::new(raw), Role::Server, None).await;
        for line in body.lines() {
            if socket.send(line.to_owned().into()).await.is_err() {
                return;
            }
        }
        while let Some(Ok(_)) = socket.next().await {}
    });
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let pairs =
        [("connection", "Upgrade".to_owned()), ("upgrade", "websocket".to_owned()), ("sec-websocket-accept", accept(&key))];
    for (name, value) in pairs {
        response.headers_mut().extend(value.parse().ok().map(|value| (HeaderName::from_static(name), value)));
    }
    response
}

/// A gzip stream of some kilobytes that unpacks to 64 MiB of zeros: stored by hand as one deflate block
/// of the fixed code, a zero byte and then matches of 258 bytes at distance 1.
fn bomb() -> Vec<u8> {
    let mut out = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    let (mut bits, mut count) = (0_u32, 0_u32);
    let mut put = |out: &mut Vec<u8>, value: u32, length: u32| {
        bits |= value << count;
        count += length;
        while count >= 8 {
            out.push((bits & 0xff) as u8);
            bits >>= 8;
            count -= 8;
        }
    };
    put(&mut out, 0b011, 3); // last block, fixed code
    put(&mut out, 0b0000_1100, 8); // literal 0 is 00110000, most significant bit first
    for _ in 0..(64 << 20) / 258 {
        put(&mut out, 0b1010_0011, 8); // length 258 is code 285, 11000101
        put(&mut out, 0, 5); // distance 1
    }
    put(&mut out, 0, 7); // end of block
    put(&mut out, 0, 8);
    out.extend([0; 8]);
    out
}

fn percent_decoded(path: &str) -> String {
    let pair = format!("p={}", path.replace('+', "%2B"));
    url::form_urlencoded::parse(pair.as_bytes()).next().map(|(_, value)| value.into_owned()).unwrap_or_default()
}

/// What a connector file made of its recorded replies.
#[derive(Debug, Default)]
pub struct Report {
    /// The mentions by stream, in the order in which the bus would have them.
    pub streams: Vec<(String, Vec<Envelope>)>,
    /// What is not as it should be; the file is good if there is nothing.
    pub faults: Vec<String>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (stream, mentions) in &self.streams {
            writeln!(f, "{stream}: {} mentions", mentions.len())?;
            for one in mentions {
                let author = one.author.as_ref().map_or("-", |author| author.handle.as_str());
                let at = one.posted_at.map_or("-".to_owned(), |at| at.to_string());
                let text: String = one.text.replace('\n', " / ").chars().take(60).collect();
                writeln!(f, "  {at:24}  {:8}  @{author:28}  {text}", one.side.as_str())?;
            }
        }
        self.faults.iter().try_for_each(|fault| writeln!(f, "FAULT: {fault}"))
    }
}

/// An account for the recorded replies of `file`: every secret is `test`, but a key that signs is a new one, and its
/// own id comes from the file's `[identify]`.
pub fn test_account(file: &ConnectorFile, base: &Url) -> AccountConfig {
    let signs = |name: &str| file.auth.jwt.as_ref().filter(|jwt| jwt.key.names(name));
    let secret = |name: &String| {
        let key = signs(name).and_then(|jwt| jwt::new_key(jwt.algorithm)).unwrap_or_else(|| "test".into());
        (name.clone(), SecretSource::Given(Secret::new(&key)))
    };
    AccountConfig {
        brand: "test".into(),
        base: Some(base.clone()),
        secrets: file.secrets.iter().map(secret).collect(),
        tags: file.recorded_tags.clone(),
        settings: file.recorded_settings.clone(),
        listen: file.recorded_queries.clone(),
        interval: Duration::ZERO,
        allow_private: true,
        ..AccountConfig::new("test", &file.connector)
    }
}

/// Reads and checks the file at `path`, runs its streams on its recorded replies and compares what
/// comes out with what the file expects.
///
/// # Errors
/// When the file is wrong, or cannot be run at all.
pub async fn test_file(path: &Path) -> Result<Report, Error> {
    let file = Arc::new(ConnectorFile::load(path).map_err(Error::File)?);
    let mut report = Report::default();
    let expected: Vec<Json> = file
        .recorded
        .iter()
        .flat_map(|recorded| &recorded.expect)
        .filter_map(|table| serde_json::to_value(table).ok())
        .collect();
    let playback = Playback::start(path, &file).await?;
    let mut config = test_account(&file, &playback.url);
    if file.ingress == Ingress::File {
        config.path =
            file.recorded.first().and_then(|recorded| recorded.reply.as_ref()).map(|name| path.with_extension("").join(name));
    }
    let tray = Arc::new(Tray::default());
    let metrics = Metrics::new(&prometheus::Registry::new()).map_err(|error| Error::Refused(error.to_string()))?;
    let account = Account::new(file.clone(), config, OwnIds::default(), Clock::System, metrics)?;
    let mut watched: Vec<Watched> = Vec::new();
    for mut poller in Poller::of(&account, &Home::Tray(tray.clone()))? {
        // Looked at again is whatever the streams before it brought, as if it had been seen older.
        tray.with(|kept| {
            kept.watched.clone_from(&watched);
            kept.threads.clone_from(&watched);
        });
        if poller.walks()
            && let Err(error) = poller.step().await
        {
            report.faults.push(format!("stream {}: {error}", poller.stream_name()));
        }
        if let Err(error) = listen(&poller).await {
            report.faults.push(format!("stream {}, live: {error}", poller.stream_name()));
        }
        let mentions = tray.with(|kept| std::mem::take(&mut kept.mentions));
        watched.extend(mentions.iter().filter_map(|one| {
            Some(Watched {
                native_id: one.native_id.clone(),
                local_ref: one.local_ref.clone()?,
                version: i64::MIN,
                engagement: None,
            })
        }));
        watched.sort_by(|a, b| a.native_id.cmp(&b.native_id));
        watched.dedup_by(|a, b| a.native_id == b.native_id);
        report.streams.push((poller.stream_name().to_owned(), mentions));
    }
    if let Some(webhook) = &file.webhook {
        let mut mentions = Vec::new();
        for (recorded, body) in playback.shared.recorded.iter().filter(|(recorded, _)| recorded.path.starts_with("/ingest")) {
            match Hooks::played(&account, &recorded.headers, body.as_bytes()) {
                Ok(taken) => mentions.extend(taken),
                Err(refusal) => report.faults.push(format!("{}: {refusal}", webhook.name)),
            }
        }
        report.streams.push((webhook.name.clone(), mentions));
    }
    let found: Vec<Json> =
        report.streams.iter().flat_map(|(_, mentions)| mentions).filter_map(|one| serde_json::to_value(one).ok()).collect();
    for want in &expected {
        if !found.iter().any(|have| covers(have, want)) {
            let close =
                found.iter().find(|have| want.get("native_id").is_some() && have.get("native_id") == want.get("native_id"));
            let instead = close.map_or(String::new(), |have| format!("; there is {have}"));
            report.faults.push(format!("expected {want}{instead}"));
        }
    }
    Ok(report)
}

/// Opens the live connection of a stream, if it has one, and takes what comes.
async fn listen(poller: &Poller) -> Result<(), Error> {
    let Some(live) = &poller.stream().live else { return Ok(()) };
    let mut connection = Connection::open(poller, live).await?;
    while let Ok(step) = timeout(QUIET, connection.step(poller, live)).await {
        step?;
    }
    Ok(())
}

/// Whether `have` holds all that `want` says.
fn covers(have: &Json, want: &Json) -> bool {
    match (have, want) {
        (Json::Object(have), Json::Object(want)) => {
            want.iter().all(|(key, value)| have.get(key).is_some_and(|own| covers(own, value)))
        }
        (Json::Array(have), Json::Array(want)) => {
            have.len() == want.len() && have.iter().zip(want).all(|(have, want)| covers(have, want))
        }
        // People write times as text.
        (Json::Number(at), Json::String(text)) => {
            crate::clock::Time::parse(text).is_some_and(|time| at.as_i64() == Some(time.0))
        }
        _ => have == want,
    }
}
