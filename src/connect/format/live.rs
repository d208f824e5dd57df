//! `[stream.live]`: posts as they happen, over a connection that stays open.

use std::{collections::BTreeMap, time::Duration};

use serde::Deserialize;

use super::{Map, Path, Span, Template};

/// How a connection that stays open is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LiveKind {
    /// Server-sent events.
    Sse,
    /// A JSON object a line; an empty line is a sign of life.
    Ndjson,
    /// A message a frame.
    Websocket,
}

/// A connection that stays open.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Live {
    /// How it is spoken.
    pub kind: LiveKind,
    /// Path below the account's base, or a whole URL on an allowed host; `wss` is for WebSockets.
    #[serde(alias = "url")]
    pub path: Template,
    /// Query; `cursor` is the resume value, empty at first.
    #[serde(default)]
    pub query: BTreeMap<String, Template>,
    /// Messages to send once a WebSocket is open.
    #[serde(default)]
    pub send: Vec<Template>,
    /// Silence for longer is a broken connection.
    #[serde(default = "half_a_minute")]
    pub heartbeat: Span,
    /// What to remember of a message, to resume from there: read as `cursor`.
    pub cursor: Option<Path>,
    /// What messages are; the first that fits counts, others are passed over.
    #[serde(rename = "event")]
    pub events: Vec<LiveEvent>,
}

fn half_a_minute() -> Span {
    Span(Duration::from_secs(30))
}

/// How the data of a message is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EventData {
    /// JSON.
    #[default]
    Json,
    /// A bare text, such as an id.
    Text,
}

/// One kind of message.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LiveEvent {
    /// The name of a server-sent event.
    pub name: Option<String>,
    /// Renders true for the message; reads `item`.
    pub when: Option<Template>,
    /// How its data is written.
    #[serde(default)]
    pub data: EventData,
    /// JSON that stands as a text inside the message, read before `records`.
    pub unwrap: Option<Path>,
    /// The records of the message; the message itself unless said.
    pub records: Option<Path>,
    /// Its own map, instead of the stream's; for example one with `op = "delete"`.
    pub map: Option<Map>,
}
