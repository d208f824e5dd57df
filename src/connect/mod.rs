//! Runs the connector files: polls platforms, reads files, appends mentions to the bus, delivers replies.
//!
//! The first stage of a mention's journey, and the last of a reply's. A platform is a file in
//! `connectors/` (`docs/connectors.md`); nothing here knows one by name. A page is durable in the bus
//! before its cursor moves, so a crash reads again and never loses.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use url::Url;

mod account;
mod action;
mod ask;
mod auth;
mod body;
mod compose;
mod decode;
mod facets;
mod file;
mod follow;
mod format;
mod guard;
mod health;
mod home;
mod html;
mod jwt;
mod limits;
mod lines;
mod listen;
mod live;
mod map;
mod mark;
mod outbox;
mod page;
mod poll;
mod recorded;
mod rehearse;
mod request;
mod revisit;
mod run;
mod seal;
mod socket;
mod sse;
mod template;
mod trial;
mod walk;
mod webhook;

pub use account::{Account, OwnIds};
pub use file::{ConnectorFile, FileError};
pub use format::{Do, Listen};
pub use health::{BudgetStatus, FailureStatus, State, Status};
pub use home::{Home, Tray};
pub use html::html_to_text;
pub use outbox::Outbox;
pub use poll::{Poller, Walk};
pub use recorded::{Asked, Fault, Playback};
pub use rehearse::{Report, test_account, test_file};
pub use run::{Connect, check_accounts, load_files};
pub use trial::{SCHEMA, new_file, test_live};
pub use webhook::Hooks;

pub use crate::secret::Secret;

use crate::clock::Time;

/// The part of moksori.toml that is about connectors.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The folder of the connector files.
    pub directory: PathBuf,
    /// Where the key is that seals tokens which must survive a restart; without one they are not kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_key: Option<SecretSource>,
    /// Our accounts and listening posts.
    pub accounts: Vec<AccountConfig>,
}

/// One account of a brand on one platform, or one file that somebody writes posts to.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccountConfig {
    /// Its name in rules, metrics and cursors; unique.
    pub key: String,
    /// Key of its brand.
    #[serde(default)]
    pub brand: String,
    /// Which connector file runs it.
    pub connector: String,
    /// Where the platform is; `https`. Only file connectors have none.
    #[serde(default, with = "url_text", skip_serializing_if = "Option::is_none")]
    pub base: Option<Url>,
    /// What people type after the @.
    #[serde(default)]
    pub handle: String,
    /// The account's own id; asked from the platform if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub native_id: Option<String>,
    /// Where its secrets are.
    #[serde(default)]
    pub secrets: BTreeMap<String, SecretSource>,
    /// Plain values that its connector asks for.
    #[serde(default)]
    pub settings: BTreeMap<String, String>,
    /// What to listen for, beyond what speaks to us.
    #[serde(default)]
    pub listen: Vec<Listen>,
    /// Hashtags to listen to, without the #.
    #[serde(default)]
    pub tags: Vec<String>,
    /// How fresh its mentions shall be.
    #[serde(default = "five_seconds", with = "crate::clock::span")]
    pub interval: Duration,
    /// Permits http and private addresses: for a platform of your own inside the company.
    #[serde(default)]
    pub allow_private: bool,
    /// The file to read, for file connectors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
}

impl AccountConfig {
    /// An account with nothing but what every account has.
    pub fn new(key: &str, connector: &str) -> AccountConfig {
        AccountConfig {
            key: key.into(),
            brand: String::new(),
            connector: connector.into(),
            base: None,
            handle: String::new(),
            native_id: None,
            secrets: BTreeMap::new(),
            settings: BTreeMap::new(),
            listen: Vec::new(),
            tags: Vec::new(),
            interval: five_seconds(),
            allow_private: false,
            path: None,
        }
    }
}

fn five_seconds() -> Duration {
    Duration::from_secs(5)
}

/// The `url` crate is built without serde.
mod url_text {
    use serde::{Deserialize, Deserializer, Serializer, de};
    use url::Url;

    pub(super) fn serialize<S: Serializer>(url: &Option<Url>, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(url.as_ref().map_or("", Url::as_str))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Url>, D::Error> {
        let text = String::deserialize(deserializer)?;
        Url::parse(&text).map(Some).map_err(|error| de::Error::custom(format!("`{text}` is not a URL: {error}")))
    }
}

/// Where a secret comes from. There is no way to write one into the configuration itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SecretSource {
    /// An environment variable.
    Env(String),
    /// A file that holds nothing else.
    File(PathBuf),
    /// Already at hand: the demo's and the tests'.
    #[serde(skip)]
    Given(Secret),
}

impl SecretSource {
    /// Reads the secret.
    ///
    /// # Errors
    /// Where it was looked for in vain.
    pub fn read(&self) -> Result<Secret, String> {
        match self {
            SecretSource::Env(name) => Secret::from_env(name).map_err(|_| format!("environment variable {name} is not set")),
            SecretSource::File(path) => Secret::from_file(path).map_err(|error| format!("{}: {error}", path.display())),
            SecretSource::Given(secret) => Ok(secret.clone()),
        }
    }
}

/// What goes wrong between a platform and us.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file of ours is wrong.
    #[error("{0}")]
    File(FileError),
    /// An account's configuration is wrong.
    #[error("account {account}: {reason}")]
    Account {
        /// Its key.
        account: String,
        /// What is wrong, and the remedy.
        reason: String,
    },
    /// A request that must not be made.
    #[error("request refused: {0}")]
    Refused(String),
    /// Nothing was sent.
    #[error("not reached: {0}")]
    Unreached(String),
    /// The connection broke; the platform may have acted.
    #[error("connection broke: {0}")]
    Broken(String),
    /// Time is up; the platform may have acted.
    #[error("no whole answer within {0:?}")]
    Timeout(Duration),
    /// The answer is longer than the file allows.
    #[error("answer longer than {0} bytes")]
    TooLarge(usize),
    /// The answer is not what the file describes.
    #[error("unexpected answer: {0}")]
    Garbage(String),
    /// The answer is no success.
    #[error("answered {status}")]
    Status {
        /// The HTTP status.
        status: u16,
        /// What the file says to do.
        action: Do,
        /// When to come back, if the platform said so.
        until: Option<Time>,
        /// The platform's reason, for an agent, never for a log.
        reason: Option<String>,
    },
    /// No request is left in this window.
    #[error("rate budget spent until {0}")]
    Spent(Time),
    /// The platform does not remember as far back as the cursor.
    #[error("the cursor is older than the platform remembers")]
    CursorLost,
    /// The same page came twice in one walk.
    #[error("pages go round in a circle")]
    Loop,
    /// A template's value is missing.
    #[error("template `{template}`: {reason}")]
    Template {
        /// The template as written.
        template: String,
        /// The kind of failure; never a value.
        reason: String,
    },
    /// The bus or the desk did not take what we brought.
    #[error("not kept: {0}")]
    Home(String),
}

impl Error {
    /// Whether the same thing may go well later without anybody's help.
    pub fn is_retryable(&self) -> bool {
        match self {
            Error::Status { action, .. } => *action != Do::Stop,
            Error::File(_) | Error::Account { .. } | Error::Refused(_) | Error::Template { .. } => false,
            _ => true,
        }
    }

    /// The word for it in metrics.
    fn word(&self) -> &'static str {
        match self {
            Error::Status { status: 429, .. } | Error::Spent(_) => "limited",
            Error::Status { status, .. } if *status >= 500 => "server_error",
            Error::Status { .. } => "client_error",
            Error::Unreached(_) | Error::Broken(_) => "network",
            Error::Timeout(_) => "timeout",
            Error::TooLarge(_) => "too_large",
            Error::Garbage(_) | Error::Loop => "garbage",
            Error::CursorLost => "client_error",
            Error::File(_) | Error::Account { .. } | Error::Refused(_) | Error::Template { .. } => "refused",
            Error::Home(_) => "not_kept",
        }
    }
}

crate::metrics! {
    /// What connectors count.
    pub struct Metrics {
        /// Requests to platforms by outcome: ok, limited, client_error, server_error, network, timeout, too_large, garbage, refused.
        requests: IntCounterVec = "moksori_connect_requests_total" ["connector", "outcome"],
        /// Mentions appended to the bus; the same post may come through several streams.
        items: IntCounterVec = "moksori_connect_items_total" ["connector", "stream"],
        /// Seconds from a post's own time until it was durable here; worry when it nears the first response's promise.
        lag: HistogramVec = "moksori_connect_lag_seconds" ["connector"] (LAG_SECONDS),
        /// Records that became no mention: no_item, no_id, no_author, broken_line, page_cap,
        /// filtered, foreign_language, unknown_post, no_event.
        discarded: IntCounterVec = "moksori_connect_discarded_total" ["connector", "reason"],
        /// Replies by outcome: sent, retried, failed, unknown.
        replies: IntCounterVec = "moksori_connect_replies_total" ["connector", "outcome"],
        /// Deliveries sent to us by outcome: accepted, duplicate, unsigned, stale, malformed, too_large, limited, not_kept, paused.
        deliveries: IntCounterVec = "moksori_connect_deliveries_total" ["connector", "outcome"],
        /// 1 while the last walk of a stream went well, 0 while it waits after a failure.
        up: IntGaugeVec = "moksori_connect_stream_up" ["account", "stream"],
    }
}

/// Buckets for the lag, in seconds: polling adds its interval, so a second is good and a minute is not.
const LAG_SECONDS: &[f64] = &[0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 720.0, 3_600.0, 86_400.0];

/// The files of a folder that are connectors: `*.toml`, by name.
///
/// # Errors
/// When the folder cannot be listed.
pub fn toml_files(directory: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(directory)?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    files.sort();
    Ok(files)
}
