//! `[map]`: where each field of a mention comes from.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::connect::template::Field;

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
    /// RFC 3339, or ISO 8601 with an offset like `+0000`.
    #[default]
    Rfc3339,
    /// As in e-mail: `Fri, 20 Nov 2026 12:00:00 +0900`.
    Rfc2822,
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
    /// Other values that an action wants to know of the mention it is for: `extra.NAME`.
    #[serde(default)]
    pub extra: BTreeMap<String, Field>,
}
