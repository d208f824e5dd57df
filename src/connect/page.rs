//! Pages of one walk: their records, the way to the next, and the alarm when they go in a circle.

use std::collections::{BTreeMap, BTreeSet};

use reqwest::header::{HeaderMap, LINK};
use serde_json::Value as Json;
use url::Url;

use super::{
    Account, Error,
    decode::decode,
    format::{CursorAs, Join, Order, Paging, Stream},
    request::Answer,
    template::scalar,
};

/// A page, oldest record first.
#[derive(Debug)]
pub(super) struct Page {
    /// The records with what to remember of each.
    pub records: Vec<(String, Json)>,
    /// How to get to the next one.
    pub next: Option<Step>,
}

impl Page {
    /// What is remembered of each record, oldest first.
    pub fn cursors(&self) -> Vec<String> {
        self.records.iter().map(|(cursor, _)| cursor.clone()).collect()
    }
}

/// How to ask for a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Ask with these values: `page.number`, `page.token`, `page.offset`.
    Ask {
        /// The page's number, counted from 1.
        number: usize,
        /// The token of the page before.
        token: String,
        /// Records so far.
        offset: usize,
    },
    /// Ask for this URL, which the platform gave.
    Follow(Url),
}

impl Step {
    /// The first page.
    pub fn first(paging: &Paging) -> Step {
        let (number, offset) = match paging {
            Paging::Number { first, .. } => (*first, 0),
            Paging::Offset { first, .. } => (1, *first),
            _ => (1, 0),
        };
        Step::Ask { number, token: String::new(), offset }
    }
}

/// Reads an answer as a page of `stream`, which was asked for as `step`.
///
/// # Errors
/// [`Error::Garbage`] when it is no JSON, or a record has nothing to remember it by.
pub(super) fn read(answer: &Answer, account: &Account, stream: &Stream, paging: &Paging, step: &Step) -> Result<Page, Error> {
    let file = &account.file;
    let json = decode(answer, stream.body_as.unwrap_or(file.request.body_as))?;
    let beside: Vec<Beside<'_>> = file.joins.iter().chain(&stream.joins).map(|join| Beside::of(join, &json)).collect();
    let found = stream.records.all(&json);
    if found.is_empty() && !json.is_array() && !json.is_object() {
        return Err(Error::Garbage("JSON, but neither a list nor an object".into()));
    }
    let mut records = Vec::with_capacity(found.len());
    for record in found {
        let cursor = match &stream.cursor {
            Some(path) => path.first(record).and_then(scalar),
            None => Some(String::new()),
        };
        // Without it the walk cannot go on from here: better to stop than to skip.
        let cursor = cursor.ok_or_else(|| Error::Garbage(format!("a record of stream {} without its cursor", stream.name)))?;
        let cursor = if stream.cursor_as == CursorAs::Time { of_its_own(cursor, record, account, stream) } else { cursor };
        records.push((cursor, joined(record, stream, &beside)));
    }
    let (number, offset) = match step {
        Step::Ask { number, offset, .. } => (*number, *offset),
        Step::Follow(_) => (1, 0),
    };
    let ask = |token: String| Step::Ask { number: number + 1, token, offset: offset + records.len() };
    let ended = stream.stop.as_ref().and_then(|stop| stop.first(&json)).is_some_and(truthy);
    let next = if records.is_empty() || ended {
        None
    } else {
        match paging {
            Paging::None => None,
            Paging::Cursor => Some(ask(String::new())),
            Paging::Offset { last, .. } => {
                Some(ask(String::new())).filter(|_| last.is_none_or(|last| offset + records.len() <= last))
            }
            Paging::Number { last, .. } => Some(ask(String::new())).filter(|_| last.is_none_or(|last| number < last)),
            Paging::Link { rel } => link(&answer.headers, rel).map(|next| follow(&answer.url, &next)).transpose()?,
            Paging::Token { value } => value.first(&json).and_then(scalar).filter(|token| !token.is_empty()).map(ask),
            Paging::NextUrl { value } => {
                let next = value.first(&json).and_then(Json::as_str).filter(|next| !next.is_empty());
                next.map(|next| follow(&answer.url, next)).transpose()?
            }
        }
    };
    if stream.page_order == Order::NewestFirst {
        records.reverse();
    }
    Ok(Page { records, next })
}

/// Posts may share a time: what is remembered of one names it too.
fn of_its_own(cursor: String, record: &Json, account: &Account, stream: &Stream) -> String {
    let item = stream.item.as_ref().map_or(Some(record), |path| path.first(record));
    let id = item.zip(account.file.map_of(stream)).and_then(|(item, map)| map.native_id.text(item, &account.about()));
    format!("{cursor}|{}", id.unwrap_or_else(|| record.to_string()))
}

/// What stands beside the records of an answer, by its key.
struct Beside<'json> {
    join: &'json Join,
    by_key: BTreeMap<String, &'json Json>,
}

impl<'json> Beside<'json> {
    fn of(join: &'json Join, json: &'json Json) -> Beside<'json> {
        let keyed = join.records.all(json).into_iter().filter_map(|one| Some((scalar(join.key.first(one)?)?, one)));
        Beside { join, by_key: keyed.collect() }
    }
}

/// The record with what stood beside it, as `joined` of its post.
fn joined(record: &Json, stream: &Stream, beside: &[Beside<'_>]) -> Json {
    let mut record = record.clone();
    let item = stream.item.as_ref().map_or(Some(&record), |path| path.first(&record));
    let found: serde_json::Map<String, Json> = beside
        .iter()
        .filter_map(|one| {
            let key = scalar(one.join.on.first(item?)?)?;
            Some((one.join.name.clone(), (*one.by_key.get(&key)?).clone()))
        })
        .collect();
    if let (false, Some(record)) = (found.is_empty(), record.as_object_mut()) {
        record.insert("joined".into(), Json::Object(found));
    }
    record
}

/// A next page by its URL, which may be relative to the one that was asked.
fn follow(asked: &Url, next: &str) -> Result<Step, Error> {
    asked.join(next).map(Step::Follow).map_err(|error| Error::Garbage(format!("the next page is no URL: {error}")))
}

/// Whether a value says yes: true, or a number that is not 0, or a text that is neither empty nor `false`.
fn truthy(value: &Json) -> bool {
    match value {
        Json::Bool(truth) => *truth,
        Json::Number(number) => number.as_f64() != Some(0.0),
        Json::String(text) => !text.is_empty() && text != "false",
        Json::Null => false,
        Json::Array(_) | Json::Object(_) => true,
    }
}

/// The URL of a relation in the `Link` header (RFC 8288).
fn link(headers: &HeaderMap, rel: &str) -> Option<String> {
    headers.get_all(LINK).iter().filter_map(|value| value.to_str().ok()).find_map(|value| {
        value.split('<').skip(1).find_map(|part| {
            let (url, parameters) = part.split_once('>')?;
            let named = parameters.split([';', ',']).any(|parameter| {
                let relations = parameter.trim().strip_prefix("rel=").map(|relations| relations.trim_matches('"'));
                relations.is_some_and(|relations| relations.split_whitespace().any(|one| one == rel))
            });
            named.then(|| url.to_owned())
        })
    })
}

/// Notices a walk that goes in a circle, at the first page that has nothing new to say.
#[derive(Debug, Default)]
pub(super) struct Circle(BTreeSet<String>);

impl Circle {
    /// Remembers a page.
    ///
    /// # Errors
    /// [`Error::Loop`] when each of its records has been here in this walk.
    pub fn pass(&mut self, page: &Page) -> Result<(), Error> {
        self.see(&page.cursors())
    }

    /// Remembers what a page had.
    ///
    /// # Errors
    /// As for [`Circle::pass`].
    pub fn see(&mut self, cursors: &[String]) -> Result<(), Error> {
        let mut fresh = cursors.is_empty();
        for cursor in cursors {
            fresh |= self.0.insert(cursor.clone());
        }
        if fresh { Ok(()) } else { Err(Error::Loop) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_headers_are_read() {
        let header = |text: &str| HeaderMap::from_iter([(LINK, text.parse().unwrap())]);
        let both = header("<https://h/a?max_id=1,2>; rel=\"next\", <https://h/b?min_id=4>; rel=\"prev\"");
        assert_eq!(link(&both, "next").unwrap(), "https://h/a?max_id=1,2");
        assert_eq!(link(&both, "prev").unwrap(), "https://h/b?min_id=4");
        assert_eq!(link(&both, "last"), None);
        assert_eq!(link(&header("<https://h/c>; title=\"x\"; rel=\"last next\""), "next").unwrap(), "https://h/c");
        assert_eq!(link(&header("nonsense"), "next"), None);
    }

    #[test]
    fn a_circle_is_noticed_when_a_page_says_nothing_new() {
        let page = |ids: &[&str]| Page { records: ids.iter().map(|id| ((*id).to_owned(), Json::Null)).collect(), next: None };
        let mut circle = Circle::default();
        assert!(circle.pass(&page(&["4", "3"])).is_ok());
        assert!(circle.pass(&page(&["3", "2"])).is_ok(), "an overlap is none");
        assert!(matches!(circle.pass(&page(&["4", "3"])), Err(Error::Loop)));
        assert!(circle.pass(&page(&[])).is_ok());
    }
}
