//! Where mentions go and replies come from: the bus and the desk, or a tray that a test looks into.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
};

use super::Error;
use crate::{
    case::ReplyId,
    clock::Time,
    mention::{Envelope, Lang},
    text::LengthRule,
};

/// A mention that somebody works on, to be looked at again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watched {
    /// The platform's global id.
    pub native_id: String,
    /// The id that its API wants.
    pub local_ref: String,
    /// [`Envelope::version`] of what we have.
    pub version: i64,
}

/// A reply that is due; it is committed as `sending`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// Which reply.
    pub id: ReplyId,
    /// Key of the account that answers.
    pub account: String,
    /// What it says, signed.
    pub text: String,
    /// The post that it answers.
    pub target_native_id: String,
    /// How the platform's API calls that post.
    pub target_local_ref: Option<String>,
    /// Its author's handle.
    pub target_handle: String,
    /// Who can see that post; the reply is never wider.
    pub visibility: Option<String>,
    /// The same for every attempt.
    pub idempotency_key: String,
    /// Its language.
    pub lang: Lang,
}

/// The platform's word that it has a reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The new post's global id.
    pub native_id: String,
    /// Its local id.
    pub local_ref: Option<String>,
    /// Where a person can read it.
    pub url: Option<String>,
    /// When it was posted.
    pub at: Time,
}

/// What an account can do; the console shows it without knowing the platform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capability {
    /// `reply`, or `link_only` where the platform takes no replies through its API.
    pub reply: &'static str,
    /// How long a reply may be.
    pub length: Option<LengthRule>,
}

/// Where mentions go and replies come from.
#[derive(Clone, Debug)]
pub enum Home {
    /// In memory: connector tests.
    Tray(Arc<Tray>),
}

/// What a test puts in and takes out.
#[derive(Debug, Default)]
pub struct Tray {
    kept: Mutex<Kept>,
}

/// The contents of a [`Tray`].
#[derive(Debug, Default)]
pub struct Kept {
    /// Appended mentions, in order.
    pub mentions: Vec<Envelope>,
    /// Cursors by name.
    pub cursors: BTreeMap<String, String>,
    /// After so many more appends, they fail: a crash.
    pub appends_left: Option<usize>,
    /// What revisits look at.
    pub watched: Vec<Watched>,
    /// Replies that are due.
    pub due: VecDeque<Outgoing>,
    /// Replies that a crash left in `sending`.
    pub in_doubt: Vec<Outgoing>,
    /// What became of replies: id, and `sent URI`, `failed REASON`, `retry TIME` or `unknown REASON`.
    pub outcomes: Vec<(ReplyId, String)>,
    /// What accounts can do.
    pub capabilities: BTreeMap<String, Capability>,
}

impl Tray {
    /// Looks into it or changes it.
    pub fn with<T>(&self, look: impl FnOnce(&mut Kept) -> T) -> T {
        look(&mut self.kept.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Home {
    /// Makes mentions durable.
    pub(super) async fn append(&self, mentions: Vec<Envelope>) -> Result<(), Error> {
        if mentions.is_empty() {
            return Ok(());
        }
        match self {
            Home::Tray(tray) => tray.with(|kept| {
                if let Some(left) = &mut kept.appends_left {
                    *left = left.checked_sub(1).ok_or_else(|| Error::Home("crashed".into()))?;
                }
                kept.mentions.extend(mentions);
                Ok(())
            }),
        }
    }

    /// Where a walk left off.
    pub(super) async fn cursor(&self, name: &str) -> Result<Option<String>, Error> {
        match self {
            Home::Tray(tray) => Ok(tray.with(|kept| kept.cursors.get(name).cloned())),
        }
    }

    /// Remembers where a walk is; what lies before is durable.
    pub(super) async fn save_cursor(&self, name: &str, value: &str) -> Result<(), Error> {
        match self {
            Home::Tray(tray) => {
                tray.with(|kept| kept.cursors.insert(name.to_owned(), value.to_owned()));
                Ok(())
            }
        }
    }

    /// Unfinished mentions to look at again.
    pub(super) async fn watched(&self, _source: &str, _since: Time, limit: usize) -> Result<Vec<Watched>, Error> {
        match self {
            Home::Tray(tray) => Ok(tray.with(|kept| kept.watched.iter().take(limit).cloned().collect())),
        }
    }

    /// The next due reply of one of `accounts`.
    pub(super) async fn take_reply(&self, accounts: &[String]) -> Result<Option<Outgoing>, Error> {
        match self {
            Home::Tray(tray) => Ok(tray.with(|kept| {
                let at = kept.due.iter().position(|reply| accounts.contains(&reply.account))?;
                kept.due.remove(at)
            })),
        }
    }

    /// Replies that a crash left in `sending`.
    pub(super) async fn replies_in_doubt(&self) -> Result<Vec<Outgoing>, Error> {
        match self {
            Home::Tray(tray) => Ok(tray.with(|kept| std::mem::take(&mut kept.in_doubt))),
        }
    }

    /// The platform has it.
    pub(super) async fn reply_sent(&self, id: ReplyId, receipt: Receipt) -> Result<(), Error> {
        match self {
            Home::Tray(tray) => tray.note(id, format!("sent {}", receipt.native_id)),
        }
        Ok(())
    }

    /// The platform does not have it; tried again at `retry_at`, or a person decides.
    pub(super) async fn reply_failed(&self, id: ReplyId, reason: &str, retry_at: Option<Time>) -> Result<(), Error> {
        match self {
            Home::Tray(tray) => tray.note(id, retry_at.map_or(format!("failed {reason}"), |at| format!("retry {at}"))),
        }
        Ok(())
    }

    /// Nobody knows.
    pub(super) async fn reply_unknown(&self, id: ReplyId, reason: &str) -> Result<(), Error> {
        match self {
            Home::Tray(tray) => tray.note(id, format!("unknown {reason}")),
        }
        Ok(())
    }

    /// Tells the desk what an account can do.
    pub(super) async fn set_account(&self, account: &str, capability: Capability) -> Result<(), Error> {
        match self {
            Home::Tray(tray) => {
                tray.with(|kept| kept.capabilities.insert(account.to_owned(), capability));
                Ok(())
            }
        }
    }
}

impl Tray {
    fn note(&self, id: ReplyId, outcome: String) {
        self.with(|kept| kept.outcomes.push((id, outcome)));
    }
}
