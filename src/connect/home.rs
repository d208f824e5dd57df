//! Where mentions go and replies come from: the bus and the desk, or a tray that a test looks into.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use super::Error;
use crate::{
    bus::{Bus, Entry},
    case::ReplyId,
    clock::Time,
    desk::{Capability, Desk, Outgoing, Receipt, Watched, Wishes},
    mention::Envelope,
};

/// Bytes that are appended at once; a first walk may bring more.
const APPEND_BYTES: usize = 1 << 20;

/// Where mentions go and replies come from.
#[derive(Clone)]
pub enum Home {
    /// A running desk.
    Live {
        /// Where mentions go.
        bus: Arc<Bus>,
        /// Where replies and cursors are.
        desk: Arc<Desk>,
    },
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
    /// What accounts keep, by account and name.
    pub states: BTreeMap<(String, String), String>,
    /// First posts of the threads of open cases.
    pub threads: Vec<Watched>,
    /// After so many more appends, they fail: a crash.
    pub appends_left: Option<usize>,
    /// What revisits look at.
    pub watched: Vec<Watched>,
    /// Replies that are due.
    pub due: VecDeque<Outgoing>,
    /// Replies that a crash left in `sending`.
    pub in_doubt: Vec<Outgoing>,
    /// So many outcomes are not taken: the store is unwell.
    pub refused_outcomes: usize,
    /// What became of replies: id, and `sent URI`, `failed REASON`, `retry TIME` or `unknown REASON`.
    pub outcomes: Vec<(ReplyId, String)>,
    /// Ids of deliveries, by account.
    pub deliveries: BTreeSet<(String, String)>,
    /// What accounts can do.
    pub capabilities: BTreeMap<String, Capability>,
}

impl Tray {
    /// Looks into it or changes it.
    pub fn with<T>(&self, look: impl FnOnce(&mut Kept) -> T) -> T {
        look(&mut self.kept.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl fmt::Debug for Home {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Home::Live { .. } => "Home::Live",
            Home::Tray(_) => "Home::Tray",
        })
    }
}

/// The desk's or the bus's failure; what was to be kept will be brought again.
fn failed(error: impl fmt::Display) -> Error {
    Error::Home(error.to_string())
}

impl Home {
    /// Makes mentions durable.
    pub(super) async fn append(&self, mentions: Vec<Envelope>) -> Result<(), Error> {
        if mentions.is_empty() {
            return Ok(());
        }
        match self {
            Home::Live { bus, .. } => {
                let (mut batch, mut bytes) = (Vec::new(), 0);
                for mention in &mentions {
                    let entry = Entry::of(mention).map_err(failed)?;
                    bytes += entry.bytes.len();
                    batch.push(entry);
                    if bytes >= APPEND_BYTES {
                        bus.append(std::mem::take(&mut batch)).await.map_err(failed)?;
                        bytes = 0;
                    }
                }
                if !batch.is_empty() {
                    bus.append(batch).await.map_err(failed)?;
                }
                Ok(())
            }
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
            Home::Live { desk, .. } => desk.cursor(name).await.map_err(failed),
            Home::Tray(tray) => Ok(tray.with(|kept| kept.cursors.get(name).cloned())),
        }
    }

    /// Remembers where a walk is; what lies before is durable.
    pub(super) async fn save_cursor(&self, name: &str, value: &str) -> Result<(), Error> {
        match self {
            Home::Live { desk, .. } => desk.save_cursor(name, value).await.map_err(failed),
            Home::Tray(tray) => {
                tray.with(|kept| kept.cursors.insert(name.to_owned(), value.to_owned()));
                Ok(())
            }
        }
    }

    /// What people want of the sources; a tray has nobody who wants anything.
    pub(super) async fn wishes(&self) -> Result<Wishes, Error> {
        match self {
            Home::Live { desk, .. } => desk.wishes().await.map_err(failed),
            Home::Tray(_) => Ok(Wishes::default()),
        }
    }

    /// Whether a delivery to an account was taken.
    pub(super) async fn knows_delivery(&self, account: &str, id: &str) -> Result<bool, Error> {
        match self {
            Home::Live { desk, .. } => desk.knows_delivery(account, id).await.map_err(failed),
            Home::Tray(tray) => Ok(tray.with(|kept| kept.deliveries.contains(&(account.to_owned(), id.to_owned())))),
        }
    }

    /// Remembers a delivery whose mentions are durable; false if it was known.
    pub(super) async fn keep_delivery(&self, account: &str, id: &str) -> Result<bool, Error> {
        match self {
            Home::Live { desk, .. } => desk.keep_delivery(account, id).await.map_err(failed),
            Home::Tray(tray) => Ok(tray.with(|kept| kept.deliveries.insert((account.to_owned(), id.to_owned())))),
        }
    }

    /// What an account keeps under a name.
    pub(super) async fn state(&self, account: &str, name: &str) -> Result<Option<String>, Error> {
        match self {
            Home::Live { desk, .. } => desk.source_state(account, name).await.map_err(failed),
            Home::Tray(tray) => Ok(tray.with(|kept| kept.states.get(&(account.to_owned(), name.to_owned())).cloned())),
        }
    }

    /// Keeps something of an account under a name.
    pub(super) async fn save_state(&self, account: &str, name: &str, value: &str) -> Result<(), Error> {
        match self {
            Home::Live { desk, .. } => desk.save_source_state(account, name, value).await.map_err(failed),
            Home::Tray(tray) => {
                tray.with(|kept| kept.states.insert((account.to_owned(), name.to_owned()), value.to_owned()));
                Ok(())
            }
        }
    }

    /// The global id of a stored mention that is called so, globally or by the platform's API.
    pub(super) async fn native_id(&self, source: &str, local_ref: &str) -> Result<Option<String>, Error> {
        match self {
            Home::Live { desk, .. } => desk.native_id(source, local_ref).await.map_err(failed),
            Home::Tray(tray) => Ok(tray.with(|kept| {
                let known =
                    kept.mentions.iter().find(|one| one.local_ref.as_deref() == Some(local_ref) || one.native_id == local_ref);
                known.map(|one| one.native_id.clone())
            })),
        }
    }

    /// First posts of the threads of open cases, newest first.
    pub(super) async fn open_threads(&self, source: &str, since: Time, limit: usize) -> Result<Vec<Watched>, Error> {
        match self {
            Home::Live { desk, .. } => desk.open_threads(source, since, limit).await.map_err(failed),
            Home::Tray(tray) => Ok(tray.with(|kept| kept.threads.iter().take(limit).cloned().collect())),
        }
    }

    /// Unfinished mentions to look at again.
    pub(super) async fn watched(&self, source: &str, since: Time, limit: usize) -> Result<Vec<Watched>, Error> {
        match self {
            Home::Live { desk, .. } => desk.watched(source, since, limit).await.map_err(failed),
            Home::Tray(tray) => Ok(tray.with(|kept| kept.watched.iter().take(limit).cloned().collect())),
        }
    }

    /// The next due reply of one of `accounts`.
    pub(super) async fn take_reply(&self, accounts: &[String]) -> Result<Option<Outgoing>, Error> {
        match self {
            Home::Live { desk, .. } => desk.take_reply(accounts).await.map_err(failed),
            Home::Tray(tray) => Ok(tray.with(|kept| {
                let at = kept.due.iter().position(|reply| accounts.contains(&reply.account))?;
                kept.due.remove(at)
            })),
        }
    }

    /// When the next queued reply is due.
    pub(super) async fn next_reply_due(&self) -> Result<Option<Time>, Error> {
        match self {
            Home::Live { desk, .. } => desk.next_reply_due().await.map_err(failed),
            Home::Tray(tray) => Ok(tray.with(|kept| (!kept.due.is_empty()).then_some(Time(0)))),
        }
    }

    /// Replies that a crash left in `sending`.
    pub(super) async fn replies_in_doubt(&self) -> Result<Vec<Outgoing>, Error> {
        match self {
            Home::Live { desk, .. } => desk.replies_in_doubt().await.map_err(failed),
            Home::Tray(tray) => Ok(tray.with(|kept| std::mem::take(&mut kept.in_doubt))),
        }
    }

    /// The platform has it.
    pub(super) async fn reply_sent(&self, id: ReplyId, receipt: Receipt) -> Result<(), Error> {
        match self {
            Home::Live { desk, .. } => desk.reply_sent(id, receipt).await.map_err(failed),
            Home::Tray(tray) => tray.note(id, format!("sent {}", receipt.native_id)),
        }
    }

    /// The platform does not have it; tried again at `retry_at`, or a person decides.
    pub(super) async fn reply_failed(&self, id: ReplyId, reason: &str, retry_at: Option<Time>) -> Result<(), Error> {
        match self {
            Home::Live { desk, .. } => desk.reply_failed(id, reason, retry_at).await.map_err(failed),
            Home::Tray(tray) => tray.note(id, retry_at.map_or(format!("failed {reason}"), |at| format!("retry {at}"))),
        }
    }

    /// Nobody knows.
    pub(super) async fn reply_unknown(&self, id: ReplyId, reason: &str) -> Result<(), Error> {
        match self {
            Home::Live { desk, .. } => desk.reply_unknown(id, reason).await.map_err(failed),
            Home::Tray(tray) => tray.note(id, format!("unknown {reason}")),
        }
    }

    /// Tells the desk what an account can do.
    pub(super) async fn set_account(&self, account: &str, capability: Capability) -> Result<(), Error> {
        match self {
            Home::Live { desk, .. } => desk.set_account(account, capability).await.map_err(failed),
            Home::Tray(tray) => {
                tray.with(|kept| kept.capabilities.insert(account.to_owned(), capability));
                Ok(())
            }
        }
    }
}

impl Tray {
    fn note(&self, id: ReplyId, outcome: String) -> Result<(), Error> {
        self.with(|kept| {
            if let Some(left) = kept.refused_outcomes.checked_sub(1) {
                kept.refused_outcomes = left;
                return Err(Error::Home("the store is unwell".into()));
            }
            kept.outcomes.push((id, outcome));
            Ok(())
        })
    }
}
