//! The records of a delivery: one object, a list, or lines of JSON, and what is wrong with each by its number.

use serde::Serialize;
use serde_json::Value as Json;

use super::super::{decode::not_json, format::Map, format::Webhook, map};
use crate::mention::Envelope;

/// Errors that one answer lists at most.
const MOST_ERRORS: usize = 20;

/// What is wrong with one record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct ItemError {
    /// Its place, counted from 1: the line, in lines of JSON.
    pub item: usize,
    /// What is wrong with it; never its text.
    pub error: String,
}

/// Why a body is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Malformed {
    /// It is not JSON at all.
    NotJson(String),
    /// More records than one delivery may have.
    TooMany(usize),
    /// These records are wrong; nothing was taken.
    Items(Vec<ItemError>),
}

/// How a body is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    /// One document.
    Json,
    /// A document a line.
    Lines,
}

impl Written {
    /// By the content type; none for one that is no JSON.
    pub fn of(content_type: &str) -> Option<Written> {
        let kind = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match kind.as_str() {
            "application/json" => Some(Written::Json),
            "application/x-ndjson" | "application/ndjson" | "application/jsonl" => Some(Written::Lines),
            _ => (kind.starts_with("application/") && kind.ends_with("+json")).then_some(Written::Json),
        }
    }
}

/// The mentions of a body: all of them, or what is wrong.
pub(super) fn mentions(
    webhook: &Webhook,
    map: &Map,
    body: &[u8],
    written: Written,
    facts: &map::Facts<'_>,
) -> Result<Vec<Envelope>, Malformed> {
    let mut wrong = Vec::new();
    let mut found: Vec<(usize, Json)> = Vec::new();
    let mut documents: Vec<(usize, Json)> = Vec::new();
    match written {
        Written::Lines => {
            for (at, line) in body.split(|byte| *byte == b'\n').enumerate() {
                match serde_json::from_slice(line.trim_ascii()) {
                    _ if line.trim_ascii().is_empty() => {}
                    Ok(json) => documents.push((at + 1, json)),
                    Err(error) => wrong.push(ItemError { item: at + 1, error: not_json(&error) }),
                }
                if documents.len() > webhook.max_items {
                    return Err(Malformed::TooMany(webhook.max_items));
                }
            }
        }
        Written::Json => match serde_json::from_slice(body).map_err(|error| Malformed::NotJson(not_json(&error)))? {
            Json::Array(items) => documents.extend(items.into_iter().enumerate().map(|(at, json)| (at + 1, json))),
            json => documents.push((1, json)),
        },
    }
    for (at, document) in &documents {
        if !document.is_object() {
            wrong.push(ItemError { item: *at, error: "it is not a JSON object".into() });
            continue;
        }
        found.extend(webhook.records.all(document).into_iter().map(|record| (*at, record.clone())));
        if found.len() > webhook.max_items {
            return Err(Malformed::TooMany(webhook.max_items));
        }
    }
    let mut mentions = Vec::with_capacity(found.len());
    for (at, record) in &found {
        match mention(webhook, map, record, facts) {
            Ok(mention) => mentions.push(mention),
            Err(error) => wrong.push(ItemError { item: *at, error }),
        }
    }
    if wrong.is_empty() {
        return Ok(mentions);
    }
    wrong.sort_by_key(|one| one.item);
    wrong.truncate(MOST_ERRORS);
    Err(Malformed::Items(wrong))
}

fn mention(webhook: &Webhook, map: &Map, record: &Json, facts: &map::Facts<'_>) -> Result<Envelope, String> {
    let item = match &webhook.item {
        Some(path) => path.first(record).ok_or("no_item: the record has no post inside")?,
        None => record,
    };
    let mention = map::mention(map, item, facts).map_err(|reason| match reason {
        "no_id" => "no_id: the field that native_id is mapped from is missing".to_owned(),
        "no_author" => "no_author: the field that author_id is mapped from is missing".to_owned(),
        other => other.to_owned(),
    })?;
    // A poller must do with what a platform sends; whoever sends to us can be told.
    if let Some((name, _)) = map::unread(map, item, &mention, facts.about) {
        return Err(format!("{name}: not a time as time_as of the map says"));
    }
    let bytes = serde_json::to_vec(&mention).map_err(|error| error.to_string())?;
    Envelope::parse(&bytes)
}
