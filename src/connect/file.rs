//! A connector file: one platform, its streams, its actions and its recorded replies.
//!
//! `docs/connectors.md` explains it to people. Everything that can be wrong in a file is found when it
//! is read, with the line, the key and the remedy; unknown keys are refused.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path as FilePath, PathBuf},
};

use serde::Deserialize;

use super::{
    format::{
        Action, ActionKind, Auth, Defaults, Dialect, Do, ErrorRow, Identify, Ingress, Join, Limits, Listen, Map, Recorded,
        RecordedReply, Setting, Stream, Webhook,
    },
    template::Template,
};

mod check;

/// The version of the format that this program reads.
pub const FORMAT: u8 = 1;

/// What is wrong with a file of ours, and how to put it right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileError {
    /// The file.
    pub file: PathBuf,
    /// Its line, counted from 1.
    pub line: usize,
    /// The key on that line, where there is one.
    pub key: Option<String>,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub remedy: String,
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: ", self.file.display(), self.line)?;
        if let Some(key) = &self.key {
            write!(f, "{key}: ")?;
        }
        write!(f, "{}; {}", self.message, self.remedy)
    }
}

/// A whole connector file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConnectorFile {
    /// The platform: what stands before the colon of `source`.
    pub connector: String,
    /// Version of the format; 1.
    pub format: u8,
    /// How posts come in.
    #[serde(default)]
    pub ingress: Ingress,
    /// Hosts that may be called besides the account's own base.
    #[serde(default)]
    pub hosts: Vec<String>,
    /// What stands after the colon of `source`.
    pub instance: Template,
    /// Names of the secrets that an account must bring.
    #[serde(default)]
    pub secrets: Vec<String>,
    /// Plain values that an account must bring, or may.
    #[serde(default)]
    pub settings: Vec<Setting>,
    /// What all requests have in common.
    #[serde(default)]
    pub request: Defaults,
    /// How to get and renew tokens.
    #[serde(default)]
    pub auth: Auth,
    /// How the platform's own search is written.
    #[serde(default)]
    pub dialect: Dialect,
    /// How much the platform lets us ask.
    #[serde(default)]
    pub limits: Limits,
    /// How to learn who the account is.
    pub identify: Option<Identify>,
    /// Where the fields of a mention come from; a stream may bring its own.
    pub map: Option<Map>,
    /// What is put into every record.
    #[serde(default, rename = "join")]
    pub joins: Vec<Join>,
    /// What is sent to us.
    pub webhook: Option<Webhook>,
    /// What to read.
    #[serde(default, rename = "stream")]
    pub streams: Vec<Stream>,
    /// What can be done.
    #[serde(default, rename = "action")]
    pub actions: Vec<Action>,
    /// What to do about an answer that is no success; the first row that fits counts.
    #[serde(default, rename = "error")]
    pub errors: Vec<ErrorRow>,
    /// Tags of the account that the recorded replies are for.
    #[serde(default)]
    pub recorded_tags: Vec<String>,
    /// Settings of that account.
    #[serde(default)]
    pub recorded_settings: BTreeMap<String, String>,
    /// Listening queries of that account.
    #[serde(default)]
    pub recorded_queries: Vec<Listen>,
    /// Replies of ours that are tried on the recorded ones.
    #[serde(default, rename = "recorded_reply")]
    pub recorded_replies: Vec<RecordedReply>,
    /// Replies that test the file.
    #[serde(default, rename = "recorded")]
    pub recorded: Vec<Recorded>,
}

/// Whether a connector may be called so.
pub(super) fn is_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    !name.is_empty() && name.bytes().all(plain)
}

impl ConnectorFile {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn load(path: &FilePath) -> Result<ConnectorFile, FileError> {
        let text = std::fs::read_to_string(path).map_err(|error| FileError {
            file: path.to_owned(),
            line: 1,
            key: None,
            message: format!("cannot be read: {error}"),
            remedy: "check that it exists, is UTF-8 and readable by this user".into(),
        })?;
        ConnectorFile::parse(path, &text)
    }

    /// Reads and checks `text`, which is what stands in `path`.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn parse(path: &FilePath, text: &str) -> Result<ConnectorFile, FileError> {
        let file: ConnectorFile = toml::from_str(text).map_err(|error| {
            let start = error.span().map_or(0, |span| span.start.min(text.len()));
            let line = text.as_bytes()[..start].iter().filter(|byte| **byte == b'\n').count() + 1;
            let key = text.lines().nth(line - 1).and_then(|line| line.split_once('=')).map(|(key, _)| key.trim().to_owned());
            let remedy = if error.message().starts_with("unknown field") {
                "remove the key or spell it like one of these"
            } else {
                "docs/connectors.md shows the form"
            };
            let message = error.message().replace('\n', " ");
            FileError { file: path.to_owned(), line, key, message, remedy: remedy.into() }
        })?;
        check::check(&file).map_err(|check::Wrong { header, index, key, message, remedy }| FileError {
            file: path.to_owned(),
            line: line_of(text, header, index, key),
            key: Some(key.to_owned()),
            message,
            remedy: remedy.to_owned(),
        })?;
        Ok(file)
    }

    /// The row of the error table for an answer; the defaults are those of most platforms.
    pub fn on_error(&self, status: u16, body: &serde_json::Value) -> Do {
        let row = self.errors.iter().find(|row| row.fits(status, body));
        row.map_or_else(
            || match status {
                429 => Do::BackOff,
                // Sent elsewhere for now, too slow, too early: as passing as what a gateway says.
                302 | 307 | 408 | 425 | 500.. => Do::Retry,
                _ => Do::Stop,
            },
            |row| row.action,
        )
    }

    /// The map of a stream.
    pub fn map_of<'file>(&'file self, stream: &'file Stream) -> Option<&'file Map> {
        stream.map.as_ref().or(self.map.as_ref())
    }

    /// The reply action, if the platform has one.
    pub fn reply(&self) -> Option<&Action> {
        self.actions.iter().find(|action| action.kind == ActionKind::Reply)
    }
}

/// The line of `key` below the `index`-th `header`, or of the header where the key is absent.
fn line_of(text: &str, header: &str, index: usize, key: &str) -> usize {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let start = match header {
        "" => 0,
        _ => lines.iter().enumerate().filter(|(_, line)| line.starts_with(header)).nth(index).map_or(0, |(at, _)| at),
    };
    let inside = lines[start..].iter().skip(1).take_while(|line| header.is_empty() || !line.starts_with("[["));
    let is_key = |line: &str| line.strip_prefix(key).is_some_and(|rest| rest.trim_start().starts_with('='));
    let first = usize::from(lines.get(start).is_some_and(|line| header.is_empty() && is_key(line)));
    match (first, inside.enumerate().find(|(_, line)| is_key(line))) {
        (0, Some((at, _))) => start + at + 2,
        _ => start + 1,
    }
}

#[cfg(test)]
mod tests;
