//! `[[recorded]]`: replies that test a file.

use std::{collections::BTreeMap, path::PathBuf};

use serde::Deserialize;

/// How a recorded reply is played.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Played {
    /// As one answer.
    #[default]
    Answer,
    /// As the beginning of a stream that stays open: server-sent events, lines of JSON.
    Stream,
    /// Over a WebSocket: each line is a message.
    Websocket,
}

/// One recorded reply, and what must come of it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recorded {
    /// The method that it answers.
    #[serde(default = "get")]
    pub method: String,
    /// The path that it answers.
    pub path: String,
    /// Query parameters that must be there with these values.
    #[serde(default)]
    pub query: BTreeMap<String, String>,
    /// Query parameters that must not be there.
    #[serde(default)]
    pub without: Vec<String>,
    /// Texts that the request's body must hold.
    #[serde(default)]
    pub contains: Vec<String>,
    /// How it is played.
    #[serde(default, rename = "as")]
    pub played: Played,
    /// Its status.
    #[serde(default = "ok")]
    pub status: u16,
    /// Its headers; `{base}` stands for the account's base.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// A file beside the connector file, in the folder named like it.
    pub reply: Option<PathBuf>,
    /// Or the body itself.
    pub body: Option<String>,
    /// The mentions that the stream makes of it, or the start of each; in the order of the posts.
    #[serde(default)]
    pub expect: Vec<toml::Table>,
}

/// A reply to try on the recorded replies: whether the platform's side takes it shows in their `contains`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordedReply {
    /// Global id of the mention that is answered; one of those that the streams bring.
    pub to: String,
    /// What is written.
    pub text: String,
    /// Global id of the new post; else a word of the refusal.
    pub sent: Option<String>,
    /// Global id of the post as the look-up finds it, after a call of which nobody knows what became; nothing is sent.
    pub found: Option<String>,
    /// A part of the reason for which it is refused.
    pub refused: Option<String>,
}

fn get() -> String {
    "GET".into()
}
fn ok() -> u16 {
    200
}
