//! `[[stream]]`: one thing to read, and how to walk over it.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{BodyAs, CursorLost, Live, Map, Path, Span, Statuses, Template};

/// In which order a walk takes the pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// From the cursor upwards; the cursor moves with every page.
    OldestFirst,
    /// From the newest down to the last walk's mark; the mark moves only when the walk is over.
    NewestFirst,
}

/// How to get from one page to the next.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Paging {
    /// There is one page.
    #[default]
    None,
    /// Ask again with the moved cursor until a page is empty; for `oldest_first`.
    Cursor,
    /// Follow the `Link` header until it, or the page, is empty.
    Link {
        /// The relation to follow.
        rel: String,
    },
    /// `page.token` is a value of the answer; until it is absent.
    Token {
        /// Where it stands.
        value: Path,
    },
    /// `page.offset` counts the records so far, from `first`; until a page is empty or the offset is beyond `last`.
    Offset {
        /// What the first page is asked with.
        #[serde(default)]
        first: usize,
        /// The greatest that the platform takes.
        last: Option<usize>,
    },
    /// `page.number` counts pages, from `first`; until a page is empty or the number is beyond `last`.
    Number {
        /// The first page's number.
        #[serde(default = "one_page")]
        first: usize,
        /// The greatest that the platform takes.
        last: Option<usize>,
    },
    /// The answer holds the next page's URL; until it is absent.
    NextUrl {
        /// Where it stands.
        value: Path,
    },
}

fn one_page() -> usize {
    1
}

/// What `cursor` is, where it is a high-water mark.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CursorAs {
    /// Opaque: the first page's newest record has it.
    #[default]
    Text,
    /// A number of any length: the greatest counts.
    Number,
    /// A time, written as `time_as` of the map says: the latest counts.
    Time,
}

/// Puts into each record what stands beside it in the answer.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Join {
    /// Its name there: `$.joined.NAME`.
    #[serde(rename = "as")]
    pub name: String,
    /// What stands beside, such as `$.includes.users[*]`.
    pub records: Path,
    /// What it is called by, inside itself.
    pub key: Path,
    /// What calls it, inside a record.
    pub on: Path,
}

/// Walks the threads of cases that are still open: the stream's `path` reads `root.native_id` and `root.local_ref`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Follow {
    /// How old a thread's first post may be.
    pub window: Span,
    /// Most threads to look at in one walk.
    pub limit: usize,
}

/// Looks again at posts that somebody works on.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Revisit {
    /// How old a post may be.
    pub window: Span,
    /// Ids in one request.
    pub batch: usize,
    /// Most posts to look at in one walk.
    pub limit: usize,
    /// Query parameter to repeat for each id; else the template value `ids` is a list.
    pub each: Option<String>,
    /// Asked for each post that is missing: deleted only if this says one of `gone`.
    pub confirm: Option<Template>,
    /// Status codes that mean deleted.
    #[serde(default)]
    pub gone: Statuses,
}

/// One thing to read.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stream {
    /// Its name, in metrics and cursors.
    pub name: String,
    /// Path below the account's base, or a whole URL on an allowed host.
    pub path: Template,
    /// Query; a parameter whose value is empty is left out.
    #[serde(default)]
    pub query: BTreeMap<String, Template>,
    /// The records of an answer.
    pub records: Path,
    /// The post inside a record, where it is not the record itself.
    pub item: Option<Path>,
    /// What to remember of a record, to go on from there.
    pub cursor: Option<Path>,
    /// In which order a walk takes the pages.
    #[serde(default = "oldest_first")]
    pub order: Order,
    /// How a page is sorted, if not like most: newest first.
    #[serde(default = "newest_first")]
    pub page_order: Order,
    /// How to get to the next page.
    #[serde(default)]
    pub page: Paging,
    /// How the first walk of `oldest_first` pages down from the newest; else it takes one page.
    #[serde(default)]
    pub first: Paging,
    /// Most pages of a stream's first walk; what is older is left.
    #[serde(default = "first_pages")]
    pub first_pages: u32,
    /// How many of the newest posts an `oldest_first` walk asks for again: what a platform numbers
    /// before it shows it would be passed over.
    #[serde(default)]
    pub overlap: usize,
    /// Most pages of any walk.
    #[serde(default = "max_pages")]
    pub max_pages: u32,
    /// Every how many of the account's intervals to look.
    #[serde(default = "one")]
    pub pace: u32,
    /// One walk for each tag of the account.
    #[serde(default)]
    pub per_tag: bool,
    /// Posts address the account.
    #[serde(default)]
    pub addressed: bool,
    /// The query that caught a post, for people.
    pub matched: Option<Template>,
    /// One walk for each listening query of the account: `query.text`, `query.name`.
    #[serde(default)]
    pub per_query: bool,
    /// What a request costs in the units of `[[limits.budget]]`.
    #[serde(default = "one")]
    pub cost: u32,
    /// What its answers are written in, instead of the file's.
    pub body_as: Option<BodyAs>,
    /// Put into its records, besides the file's.
    #[serde(default, rename = "join")]
    pub joins: Vec<Join>,
    /// True in an answer that has no page after it.
    pub stop: Option<Path>,
    /// For `newest_first`: asks only for what is newer than the high-water mark. Reads `cursor`, the mark as the
    /// records have it; what it renders is `cursor` in `path` and `query`.
    pub since: Option<Template>,
    /// What the mark is.
    #[serde(default)]
    pub cursor_as: CursorAs,
    /// How far below the mark a time is asked for again.
    pub overlap_time: Option<Span>,
    /// The answer to a cursor that is too old: the walk is made once without it.
    pub cursor_lost: Option<CursorLost>,
    /// Posts as they happen, over a connection that stays open.
    pub live: Option<Live>,
    /// Every how many intervals to look while that connection is up.
    #[serde(default = "pace_live")]
    pub pace_live: u32,
    /// This stream walks the threads of open cases.
    pub follow: Option<Follow>,
    /// Its own map, instead of the file's.
    pub map: Option<Map>,
    /// This stream looks again at known posts.
    pub revisit: Option<Revisit>,
}

fn oldest_first() -> Order {
    Order::OldestFirst
}
fn newest_first() -> Order {
    Order::NewestFirst
}
fn first_pages() -> u32 {
    5
}
fn max_pages() -> u32 {
    200
}
fn one() -> u32 {
    1
}
fn pace_live() -> u32 {
    12
}

impl Stream {
    /// Whether it has more than one page.
    pub fn pages(&self) -> bool {
        !matches!((&self.page, &self.first), (Paging::None, Paging::None))
    }

    /// Whether it is asked for by itself, not for what is known already.
    pub fn discovers(&self) -> bool {
        self.revisit.is_none() && self.follow.is_none()
    }
}
