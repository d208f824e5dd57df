//! Pages of one walk: their records, the way to the next, and the alarm when they go in a circle.

use std::collections::BTreeSet;

use reqwest::header::{HeaderMap, LINK};
use serde_json::Value as Json;
use url::Url;

use super::{
    Error,
    account::json,
    format::{Order, Paging, Stream},
    request::Answer,
};

/// A page, oldest record first.
#[derive(Debug)]
pub(super) struct Page {
    /// The records with what to remember of each.
    pub records: Vec<(String, Json)>,
    /// How to get to the next one.
    pub next: Option<Step>,
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
    pub fn first() -> Step {
        Step::Ask { number: 1, token: String::new(), offset: 0 }
    }
}

/// Reads an answer as a page of `stream`, which was asked for as `step`.
///
/// # Errors
/// [`Error::Garbage`] when it is no JSON, or a record has nothing to remember it by.
pub(super) fn read(answer: &Answer, stream: &Stream, paging: &Paging, step: &Step) -> Result<Page, Error> {
    let json = json(answer)?;
    let found = stream.records.all(&json);
    if found.is_empty() && !json.is_array() && !json.is_object() {
        return Err(Error::Garbage("JSON, but neither a list nor an object".into()));
    }
    let mut records = Vec::with_capacity(found.len());
    for record in found {
        let cursor = match &stream.cursor {
            Some(path) => path.first(record).and_then(|value| match value {
                Json::String(text) => Some(text.clone()),
                Json::Number(number) => Some(number.to_string()),
                _ => None,
            }),
            None => Some(String::new()),
        };
        // Without it the walk cannot go on from here: better to stop than to skip.
        let cursor = cursor.ok_or_else(|| Error::Garbage(format!("a record of stream {} without its cursor", stream.name)))?;
        records.push((cursor, record.clone()));
    }
    let (number, offset) = match step {
        Step::Ask { number, offset, .. } => (*number, *offset),
        Step::Follow(_) => (1, 0),
    };
    let ask = |token: String| Step::Ask { number: number + 1, token, offset: offset + records.len() };
    let next = if records.is_empty() {
        None
    } else {
        match paging {
            Paging::None => None,
            Paging::Cursor | Paging::Offset => Some(ask(String::new())),
            Paging::Link { rel } => link(&answer.headers, rel).map(Step::Follow),
            Paging::Token { value } => {
                value.first(&json).and_then(Json::as_str).filter(|token| !token.is_empty()).map(|token| ask(token.into()))
            }
        }
    };
    if stream.page_order == Order::NewestFirst {
        records.reverse();
    }
    Ok(Page { records, next })
}

/// The URL of a relation in the `Link` header (RFC 8288).
fn link(headers: &HeaderMap, rel: &str) -> Option<Url> {
    headers.get_all(LINK).iter().filter_map(|value| value.to_str().ok()).find_map(|value| {
        value.split('<').skip(1).find_map(|part| {
            let (url, parameters) = part.split_once('>')?;
            let named = parameters.split([';', ',']).any(|parameter| {
                let relations = parameter.trim().strip_prefix("rel=").map(|relations| relations.trim_matches('"'));
                relations.is_some_and(|relations| relations.split_whitespace().any(|one| one == rel))
            });
            named.then(|| Url::parse(url).ok()).flatten()
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
        let mut fresh = page.records.is_empty();
        for (cursor, _) in &page.records {
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
        assert_eq!(link(&both, "next").unwrap().as_str(), "https://h/a?max_id=1,2");
        assert_eq!(link(&both, "prev").unwrap().as_str(), "https://h/b?min_id=4");
        assert_eq!(link(&both, "last"), None);
        assert_eq!(link(&header("<https://h/c>; title=\"x\"; rel=\"last next\""), "next").unwrap().as_str(), "https://h/c");
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
