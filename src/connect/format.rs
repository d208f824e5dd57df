//! The parts of a connector file: requests, limits, maps, streams, actions, recorded replies.
//!
//! Each type is one table of the format; [`super::file`] reads the whole and checks what spans tables.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use serde::{Deserialize, Deserializer, de};

use super::template::{Field, Path, Template};
use crate::text::LengthRule;

mod webhook;

pub use webhook::{Challenge, ChallengeAnswer, Encoding, Part, Signature, Signed, Verify, Webhook};

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
}

impl Default for Defaults {
    fn default() -> Self {
        Defaults { headers: BTreeMap::new(), timeout: Span(Duration::from_secs(20)), max_bytes: 4 << 20 }
    }
}

/// How a platform writes the time at which its limit is lifted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ResetFormat {
    /// `2026-11-20T03:00:00.000000Z`.
    #[default]
    Iso8601,
    /// Seconds since 1970.
    Unix,
    /// Seconds from now, with or without a fraction.
    Seconds,
}

/// How much a platform lets us ask.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Requests in one window, for platforms that do not say so in headers.
    pub requests: u32,
    /// Length of the window.
    pub per: Span,
    /// Requests that polling leaves over for replies.
    pub reserve: u32,
    /// Header with the number of requests left.
    pub remaining: Option<String>,
    /// Header with the time at which the window ends.
    pub reset: Option<String>,
    /// How that time is written.
    pub reset_as: ResetFormat,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            requests: 60,
            per: Span(Duration::from_secs(60)),
            reserve: 5,
            remaining: None,
            reset: None,
            reset_as: ResetFormat::Iso8601,
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

/// How a text is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TextFormat {
    /// As it is.
    #[default]
    Plain,
    /// HTML, to be turned into lines.
    Html,
}

/// How times of posts are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimeFormat {
    /// RFC 3339.
    #[default]
    Rfc3339,
    /// Seconds since 1970.
    Unix,
    /// Milliseconds since 1970.
    UnixMs,
    /// Only a day, `2026-11-20` or `20261120`: the mention's time quality is `day`.
    Day,
}

/// Where each field of a mention comes from.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Map {
    /// The platform's global id.
    pub native_id: Field,
    /// The id that its API wants in a reply.
    pub local_ref: Option<Field>,
    /// Whole `source`, where items name their own.
    pub source: Option<Field>,
    /// `upsert` or `delete`, where items say so.
    pub op: Option<Field>,
    /// `customer`, `ours` or `other`, where items say so.
    pub side: Option<Field>,
    /// The thread.
    pub conversation: Option<Field>,
    /// The post that this one answers.
    pub parent: Option<Field>,
    /// The author's id; never changes when the handle does.
    pub author_id: Option<Field>,
    /// The author's handle.
    pub author_handle: Option<Field>,
    /// The author's displayed name.
    pub author_name: Option<Field>,
    /// The author's followers.
    pub author_reach: Option<Field>,
    /// The text.
    pub text: Option<Field>,
    /// How the text is written.
    #[serde(default)]
    pub text_as: TextFormat,
    /// The platform's guess at the language.
    pub lang: Option<Field>,
    /// Where a person can read it.
    pub url: Option<Field>,
    /// When it was posted.
    pub posted_at: Option<Field>,
    /// When it was last edited.
    pub edited_at: Option<Field>,
    /// How both times are written.
    #[serde(default)]
    pub time_as: TimeFormat,
    /// Who can see it, in the platform's word.
    pub visibility: Option<Field>,
    /// How often it was answered.
    pub replies: Option<Field>,
    /// How often it was passed on.
    pub shares: Option<Field>,
    /// How often it was liked.
    pub likes: Option<Field>,
    /// Addresses of pictures and films.
    pub media: Option<Field>,
}

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
    /// `page.offset` counts the records so far; until a page is empty.
    Offset,
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

/// How a platform keeps a repeated call from acting twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Idempotency {
    /// It remembers a key that we send.
    Key,
    /// We choose the new post's id.
    ChosenId,
    /// It does not, but what was posted can be looked up.
    Lookup,
    /// It does not; a call without an answer is shown to a person.
    None,
}

/// What can be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActionKind {
    /// Answer a post.
    Reply,
}

/// One thing that can be done.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Action {
    /// What it is.
    pub kind: ActionKind,
    /// POST unless said otherwise.
    #[serde(default = "post")]
    pub method: String,
    /// Path below the account's base, or a whole URL on an allowed host.
    pub path: Template,
    /// Headers, besides the file's.
    #[serde(default)]
    pub headers: BTreeMap<String, Template>,
    /// A form; a field whose value is empty is left out.
    #[serde(default)]
    pub form: BTreeMap<String, Template>,
    /// A JSON object of strings, in place of a form.
    #[serde(default)]
    pub json: BTreeMap<String, Template>,
    /// How long a reply may be.
    pub length: Option<LengthRule>,
    /// What keeps it from acting twice.
    pub idempotency: Idempotency,
    /// How to look up what was posted, for `lookup`.
    pub lookup: Option<Lookup>,
    /// The new post's fields in the answer.
    pub answer: AnswerMap,
    /// The platform's reason in a refusal, for the agent.
    pub reason: Option<Path>,
}

fn post() -> String {
    "POST".into()
}

/// Finds a reply whose call had no answer among the account's own posts.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lookup {
    /// Path below the account's base.
    pub path: Template,
    /// Query.
    #[serde(default)]
    pub query: BTreeMap<String, Template>,
    /// The posts of the answer.
    pub records: Path,
    /// Renders true for the post that is our reply; reads `item` and `reply`.
    pub when: Template,
}

/// The new post's fields in the answer to an action.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnswerMap {
    /// Its global id.
    pub native_id: Field,
    /// Its local id.
    pub local_ref: Option<Field>,
    /// Where a person can read it.
    pub url: Option<Field>,
    /// When it was posted.
    pub posted_at: Option<Field>,
    /// How that time is written.
    #[serde(default)]
    pub time_as: TimeFormat,
}

/// Status codes: `"404"` or a class, `"5xx"`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statuses(Vec<String>);

impl Statuses {
    /// Whether `status` is among them.
    pub fn has(&self, status: u16) -> bool {
        let text = status.to_string();
        self.0.iter().any(|one| *one == text || one.strip_suffix("xx").is_some_and(|class| text.starts_with(class)))
    }
}

impl<'de> Deserialize<'de> for Statuses {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let list = Vec::<String>::deserialize(deserializer)?;
        for one in &list {
            let digits = one.strip_suffix("xx").unwrap_or(one);
            let whole = if one.ends_with("xx") { 1 } else { 3 };
            if digits.len() != whole || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(de::Error::custom(format!("`{one}` is not a status like \"404\" or \"5xx\"")));
            }
        }
        Ok(Statuses(list))
    }
}

/// What to do about an answer that is no success.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Do {
    /// Wait as long as the platform says, else longer each time.
    BackOff,
    /// Try again soon, later each time.
    Retry,
    /// Only a person can help: say so, and look again in a quarter of an hour.
    Stop,
    /// There is nothing to see: as if the page were empty.
    Skip,
    /// Read the secrets again from where they come from, then retry.
    Refresh,
}

/// One row of the error table.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ErrorRow {
    /// The status codes that it is about.
    pub status: Statuses,
    /// And only if the answer has a value here.
    pub body: Option<Path>,
    /// What to do.
    #[serde(rename = "do")]
    pub action: Do,
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

fn get() -> String {
    "GET".into()
}
fn ok() -> u16 {
    200
}
