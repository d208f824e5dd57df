//! `[[action]]`: what can be done on a platform.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Path, Template, TimeFormat};
use crate::{
    connect::{body::Body, template::Field},
    text::LengthRule,
};

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
    /// A JSON object, in place of a form: its strings are templates.
    pub json: Option<Body>,
    /// Query.
    #[serde(default)]
    pub query: BTreeMap<String, Template>,
    /// What it costs in the units of `[[limits.budget]]`.
    #[serde(default = "one")]
    pub cost: u32,
    /// Renders true where the platform lets us answer; reads `extra`, what `[map.extra]` kept of the mention.
    pub allowed: Option<Template>,
    /// Links, mentions and tags in the text as `reply.facets`.
    pub facets: Option<Facets>,
    /// How a handle becomes what a facet calls a person by.
    pub resolve: Option<Resolve>,
    /// Asked before: what the action wants to know of the post that it answers, as `reply.parent.NAME`.
    pub target: Option<Target>,
    /// A text that is too long for one post becomes several.
    pub thread: Option<Thread>,
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

fn one() -> u32 {
    1
}

/// In what the places of facets are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Facets {
    /// Bytes of UTF-8.
    Utf8Bytes,
}

/// Asks what a handle stands for; reads `handle`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resolve {
    /// Path below the account's base.
    pub path: Template,
    /// Query.
    #[serde(default)]
    pub query: BTreeMap<String, Template>,
    /// The answer's word for the person; a mention without one is plain text.
    pub value: Path,
}

/// Asks for the post that is answered; reads `reply`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// Path below the account's base.
    pub path: Template,
    /// Query.
    #[serde(default)]
    pub query: BTreeMap<String, Template>,
    /// What to take from the answer, the first path that has a value, by name: `reply.parent.NAME`.
    pub values: BTreeMap<String, Vec<Path>>,
}

/// A reply in several posts, each answering the one before.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Thread {
    /// Most posts of one reply.
    pub max: usize,
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
    /// More of it that the next post of a thread wants to know, as `reply.parent.NAME`.
    #[serde(default)]
    pub values: BTreeMap<String, Field>,
}
