//! Plays the recorded replies of a connector file, over HTTP on 127.0.0.1; the contract test asks a [`Playback`] to
//! misbehave in all the ways in which platforms do.

use std::{
    collections::{BTreeMap, VecDeque},
    convert::Infallible,
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Request, State},
    http::{HeaderName, Response, StatusCode, header, request::Parts},
};
use futures_util::{SinkExt, StreamExt, stream};
use hyper_util::rt::TokioIo;
use tokio::task::JoinHandle;
use tokio_tungstenite::{WebSocketStream, tungstenite::protocol::Role};
use url::Url;

use super::{
    ConnectorFile, Error, FileError,
    format::{Played, Recorded},
    socket::accept,
};

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
    /// What is delivered to us, with its body.
    pub(super) fn deliveries(&self) -> impl Iterator<Item = &(Recorded, String)> {
        self.shared.recorded.iter().filter(|(recorded, _)| recorded.path.starts_with("/ingest"))
    }

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
