//! Learning, from the command line and on a running desk: the corpus and its lint, models by version, what
//! agents corrected, and the comparison that stands before every promotion.

mod corpus;
mod models;
mod promote;

pub(crate) use self::corpus::text_of;
pub use self::{
    corpus::{CorpusCommand, lint, posts, run as corpus},
    models::{on_store, open, ship},
    promote::{ModelCommand, run as model},
};
