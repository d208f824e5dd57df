//! Listening: the queries of an account, and how a platform writes one.

use serde::{Deserialize, Serialize};

/// One listening query of an account, in the language of the search box (`src/query.rs`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listen {
    /// Its name, for people: which query caught a mention.
    pub name: String,
    /// What to look for.
    pub text: String,
}

/// `[dialect]`: how the platform's own search is written. What it cannot say is asked for more widely, and the
/// full query is matched here.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Dialect {
    /// Between parts that must all be there.
    pub and: Option<String>,
    /// Between parts of which one must be there.
    pub or: Option<String>,
    /// Around what must not be there; `{}` stands for it.
    pub not: Option<String>,
    /// Around words in that order.
    pub phrase: Option<String>,
    /// Around parts that belong together.
    pub group: Option<String>,
    /// A language.
    pub lang: Option<String>,
    /// Longest query; a longer one is asked in parts.
    pub max_chars: Option<usize>,
}
