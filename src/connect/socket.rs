//! A connection that stays open, as messages: HTTP bodies that do not end, and WebSockets.
//!
//! A WebSocket is opened with the same guarded client as any request (RFC 6455, 4.1), so it goes where
//! requests may go and nowhere else.

use std::{collections::VecDeque, pin::Pin, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use futures_util::{SinkExt, Stream, StreamExt};
use reqwest::{StatusCode, Upgraded, header};
use tokio::time::timeout;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{self, protocol::Role, protocol::WebSocketConfig},
};

use super::{
    Error,
    request::{Answer, Call, Http},
    sse::{Cutter, Message},
};
use crate::clock::random_bytes;

/// What RFC 6455 has a server mix into its answer.
const MAGIC: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

type Bytes = Pin<Box<dyn Stream<Item = reqwest::Result<axum::body::Bytes>> + Send>>;

/// An open connection.
pub(super) struct Socket {
    kind: Kind,
    heartbeat: Duration,
    ready: VecDeque<Message>,
}

enum Kind {
    Body { bytes: Bytes, cutter: Cutter },
    WebSocket(Box<WebSocketStream<Upgraded>>),
}

/// How a connection is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Speech {
    /// Server-sent events.
    Events,
    /// A message a line.
    Lines,
    /// A message a frame.
    WebSocket,
}

impl Socket {
    /// Opens a connection; the answer, if it is no success, is for the caller to judge.
    ///
    /// # Errors
    /// What can happen to an exchange.
    pub async fn open(http: &Http, call: Call, speech: Speech, heartbeat: Duration) -> Result<Result<Socket, Answer>, Error> {
        let mut call = call;
        let key = BASE64_STANDARD.encode(random_bytes::<16>());
        match speech {
            Speech::Events => call.header("accept", "text/event-stream")?,
            Speech::Lines => {}
            Speech::WebSocket => {
                let pairs = [("connection", "Upgrade"), ("upgrade", "websocket"), ("sec-websocket-version", "13")];
                for (name, value) in pairs.into_iter().chain([("sec-websocket-key", key.as_str())]) {
                    call.header(name, value)?;
                }
            }
        }
        let response = http.open(call).await?;
        let wanted = if speech == Speech::WebSocket { StatusCode::SWITCHING_PROTOCOLS } else { StatusCode::OK };
        if response.status() != wanted {
            return http.read(response).await.map(Err);
        }
        let kind = if speech == Speech::WebSocket {
            let said = response.headers().get(header::SEC_WEBSOCKET_ACCEPT);
            if said.is_none_or(|said| said.as_bytes() != accept(&key).as_bytes()) {
                return Err(Error::Garbage("not the answer of a WebSocket".into()));
            }
            let raw = response.upgrade().await.map_err(|_| Error::Broken("the WebSocket was not opened".into()))?;
            let limits =
                WebSocketConfig::default().max_message_size(Some(http.max_bytes())).max_frame_size(Some(http.max_bytes()));
            Kind::WebSocket(Box::new(WebSocketStream::from_raw_socket(raw, Role::Client, Some(limits)).await))
        } else {
            let html =
                response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"));
            if html {
                return Err(Error::Garbage("a page for people in place of a stream".into()));
            }
            Kind::Body {
                bytes: Box::pin(response.bytes_stream()),
                cutter: Cutter::new(speech == Speech::Events, http.max_bytes()),
            }
        };
        Ok(Ok(Socket { kind, heartbeat, ready: VecDeque::new() }))
    }

    /// Says something over a WebSocket.
    ///
    /// # Errors
    /// When the connection broke.
    pub async fn say(&mut self, text: String) -> Result<(), Error> {
        match &mut self.kind {
            Kind::Body { .. } => Ok(()),
            Kind::WebSocket(socket) => socket.send(text.into()).await.map_err(broken),
        }
    }

    /// The next message.
    ///
    /// # Errors
    /// [`Error::Broken`] when the connection ended, [`Error::Timeout`] when nothing was heard for a heartbeat, and
    /// [`Error::TooLarge`] for a message that does not end.
    pub async fn next(&mut self) -> Result<Message, Error> {
        loop {
            if let Some(message) = self.ready.pop_front() {
                return Ok(message);
            }
            match &mut self.kind {
                Kind::Body { bytes, cutter } => {
                    let piece = timeout(self.heartbeat, bytes.next()).await.map_err(|_| Error::Timeout(self.heartbeat))?;
                    let piece = piece.ok_or_else(ended)?.map_err(|_| ended())?;
                    self.ready.extend(cutter.push(&piece).ok_or(Error::TooLarge(cutter.longest()))?);
                }
                Kind::WebSocket(socket) => {
                    let frame = match timeout(self.heartbeat / 2, socket.next()).await {
                        Ok(frame) => frame,
                        Err(_) => {
                            // It may just have nothing to say: it is asked.
                            socket.send(tungstenite::Message::Ping(Default::default())).await.map_err(broken)?;
                            timeout(self.heartbeat / 2, socket.next()).await.map_err(|_| Error::Timeout(self.heartbeat))?
                        }
                    };
                    let data = match frame.ok_or_else(ended)?.map_err(broken)? {
                        tungstenite::Message::Text(text) => text.to_string(),
                        tungstenite::Message::Binary(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
                        tungstenite::Message::Close(_) => return Err(ended()),
                        _ => continue,
                    };
                    self.ready.push_back(Message { data, ..Message::default() });
                }
            }
        }
    }
}

/// What a server answers to the key of a client.
pub(super) fn accept(key: &str) -> String {
    BASE64_STANDARD.encode(openssl::sha::sha1(format!("{key}{MAGIC}").as_bytes()))
}

fn ended() -> Error {
    Error::Broken("the stream ended".into())
}

fn broken(error: tungstenite::Error) -> Error {
    match error {
        tungstenite::Error::Capacity(_) => Error::TooLarge(0),
        _ => ended(),
    }
}
