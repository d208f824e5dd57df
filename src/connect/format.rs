//! The parts of a connector file: requests, limits, logins, maps, streams, actions, recorded replies.
//!
//! Each type is one table of the format; [`super::file`] reads the whole and checks what spans tables.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Deserializer, de};

pub use super::template::Path;
use super::template::Template;

mod action;
pub mod auth;
mod error;
mod limits;
mod listen;
pub mod live;
mod map;
mod recorded;
mod stream;
pub mod webhook;

pub use action::{Action, ActionKind, AnswerMap, Idempotency, Lookup, Target};
pub use auth::{Auth, TokenCall};
pub use error::{CursorLost, Do, ErrorRow, Statuses};
pub use limits::{Allowance, Limits, ResetFormat, Told};
pub use listen::{Dialect, Listen};
pub use live::{Live, LiveKind};
pub use map::{Map, TextFormat, TimeFormat};
pub use recorded::{Played, Recorded, RecordedReply};
pub use stream::{CursorAs, Join, Order, Paging, Revisit, Stream};
pub use webhook::{ChallengeAnswer, Encoding, Part, Signature, Signed, Webhook};

/// A length of time as people write it: `300ms`, `20s`, `5m`, `7d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span(pub Duration);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::clock::span::deserialize(deserializer).map(Span)
    }
}

/// How posts come in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ingress {
    /// Asked for over HTTP, again and again.
    #[default]
    Poll,
    /// Read from a file of JSON Lines as it grows.
    File,
    /// Sent to us: `[webhook]`.
    Webhook,
}

/// What an answer is written in; paths read all of them as JSON.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BodyAs {
    /// JSON.
    #[default]
    Json,
    /// RSS, Atom or JSON Feed, as `{title, entries: [{id, title, text_html, summary_html, url, author, published, updated, categories}]}`.
    Feed,
    /// XML: an element is `{"@attribute": ..., "child": ..., "$text": ...}`, one that repeats is a list.
    Xml,
}

/// What all requests of a file have in common.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Defaults {
    /// Headers; this is where a token goes.
    pub headers: BTreeMap<String, Template>,
    /// Time for one request with its whole answer.
    pub timeout: Span,
    /// Longest answer, after decompression.
    pub max_bytes: usize,
    /// What answers are written in.
    pub body_as: BodyAs,
    /// Asks only for what has changed: `If-None-Match`, `If-Modified-Since`; 304 is an empty page.
    pub conditional: bool,
}

impl Default for Defaults {
    fn default() -> Self {
        Defaults {
            headers: BTreeMap::new(),
            timeout: Span(Duration::from_secs(20)),
            max_bytes: 4 << 20,
            body_as: BodyAs::Json,
            conditional: false,
        }
    }
}

/// How to learn who the account is.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identify {
    /// Path below the account's base, or a whole URL on an allowed host.
    pub path: Template,
    /// The account's own id in the answer.
    pub native_id: Path,
    /// Its handle in the answer.
    pub handle: Option<Path>,
}

/// A plain value that an account must bring, or may: one with a default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Its name: `{{ setting.NAME }}`.
    pub name: String,
    /// What holds where the account says nothing.
    pub default: Option<String>,
}

impl<'de> Deserialize<'de> for Setting {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = |value: Option<&toml::Value>| value.and_then(toml::Value::as_str).map(str::to_owned);
        match toml::Value::deserialize(deserializer)? {
            toml::Value::String(name) => Ok(Setting { name, default: None }),
            toml::Value::Table(table) if table.len() == 2 => match (text(table.get("name")), text(table.get("default"))) {
                (Some(name), Some(default)) => Ok(Setting { name, default: Some(default) }),
                _ => Err(de::Error::custom("a setting is \"name\" or { name = \"...\", default = \"...\" }, both strings")),
            },
            _ => Err(de::Error::custom("a setting is \"name\" or { name = \"...\", default = \"...\" }")),
        }
    }
}
