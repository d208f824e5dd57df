//! What is sent to us: `POST /ingest/ACCOUNT` takes a delivery, `GET` answers a platform's challenge.
//!
//! A delivery is checked from the cheap to the dear: who it is for, what it is written in, how long it is, who
//! signed it and when, what it holds. It is answered with 202 only when all of it is durable in the bus; its id is
//! remembered after that, so that a crash between the two takes it twice and the desk, which knows posts by their
//! id, once.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    Json, Router,
    body::Body,
    extract::{Path, RawQuery, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::post,
};
use futures_util::StreamExt as _;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tokio::sync::{Semaphore, watch};

use self::{
    body::{Malformed, Written},
    verify::{Delivery, Keys},
};
use super::{
    Account, Error, Home, Status,
    format::{ChallengeAnswer, Part, Webhook},
    health::State as Fares,
    map,
};
use crate::{
    clock::Time,
    desk::{SENT, Wishes},
    mention::{Envelope, Match},
    text::hex,
};

mod body;
#[cfg(test)]
mod tests;
mod verify;

/// A sender has this long for a body.
const BODY_WITHIN: Duration = Duration::from_secs(10);
/// Deliveries of one account that are read at the same time.
const AT_ONCE: usize = 32;
/// Longest id of a delivery.
const ID_BYTES: usize = 255;
/// When a sender comes back after a log that takes nothing, in seconds.
const LOG_AGAIN: u64 = 5;
/// And after a pause.
const PAUSED_AGAIN: u64 = 60;
/// How often people are told how deliveries fare, in milliseconds.
const TOLD_EVERY: i64 = 5_000;

/// The accounts that are sent to.
#[derive(Debug)]
pub struct Hooks {
    hooks: BTreeMap<String, Hook>,
    home: Home,
    wishes: watch::Receiver<Wishes>,
}

#[derive(Debug)]
struct Hook {
    account: Arc<Account>,
    /// By the name of the secret.
    keys: BTreeMap<String, Keys>,
    window: Mutex<Window>,
    at_once: Semaphore,
}

/// Deliveries taken since a window began.
#[derive(Debug, Default)]
struct Window {
    since: Time,
    taken: u32,
    /// When people were last told how deliveries fare.
    told: Time,
}

/// Why a delivery is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum Refusal {
    #[error("no account of this name is sent to")]
    Unknown,
    #[error("{0}")]
    Unsigned(&'static str),
    #[error("the time of sending is too far from now")]
    Stale,
    #[error("send JSON: application/json or application/x-ndjson, not compressed")]
    Media,
    #[error("{0}")]
    Malformed(String),
    #[error("nothing was taken: some items are wrong")]
    Items(Vec<body::ItemError>),
    #[error("the delivery is too large: at most {0}")]
    TooLarge(String),
    #[error("the body did not arrive in time")]
    Slow,
    #[error("too many deliveries")]
    Limited(u64),
    #[error("the log takes nothing now; nothing was taken")]
    NotKept,
    #[error("the account is paused; nothing was taken")]
    Paused,
}

impl Refusal {
    fn status(&self) -> StatusCode {
        match self {
            Refusal::Unknown => StatusCode::NOT_FOUND,
            Refusal::Unsigned(_) | Refusal::Stale => StatusCode::UNAUTHORIZED,
            Refusal::Media => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Refusal::Malformed(_) | Refusal::Items(_) => StatusCode::BAD_REQUEST,
            Refusal::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Refusal::Slow => StatusCode::REQUEST_TIMEOUT,
            Refusal::Limited(_) => StatusCode::TOO_MANY_REQUESTS,
            Refusal::NotKept | Refusal::Paused => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// The word for it in metrics.
    fn word(&self) -> &'static str {
        match self {
            Refusal::Unknown => "unknown",
            Refusal::Unsigned(_) => "unsigned",
            Refusal::Stale => "stale",
            Refusal::Media | Refusal::Malformed(_) | Refusal::Items(_) | Refusal::Slow => "malformed",
            Refusal::TooLarge(_) => "too_large",
            Refusal::Limited(_) => "limited",
            Refusal::NotKept => "not_kept",
            Refusal::Paused => "paused",
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut answer = json!({ "error": self.to_string() });
        if let Refusal::Items(items) = &self {
            answer["items"] = json!(items);
        }
        let mut response = (self.status(), Json(answer)).into_response();
        let after = match self {
            Refusal::Limited(seconds) => Some(seconds),
            Refusal::NotKept => Some(LOG_AGAIN),
            Refusal::Paused => Some(PAUSED_AGAIN),
            _ => None,
        };
        if let Some(seconds) = after {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}

impl Hooks {
    /// The accounts whose connector says how they are sent to.
    ///
    /// # Errors
    /// A secret that cannot be read, or is none.
    pub fn new(accounts: &[Arc<Account>], home: Home, wishes: watch::Receiver<Wishes>) -> Result<Hooks, Error> {
        let mut hooks = BTreeMap::new();
        for account in accounts.iter().filter(|account| account.file.webhook.is_some()) {
            hooks.insert(account.config.key.clone(), Hook::new(account)?);
        }
        Ok(Hooks { hooks, home, wishes })
    }

    /// `/ingest/{account}`.
    pub fn routes(self) -> Router {
        Router::new().route("/ingest/{account}", post(take).get(answer_challenge)).with_state(Arc::new(self))
    }

    /// What a recorded delivery would bring, whoever signed it.
    ///
    /// # Errors
    /// What its sender would be told.
    pub(super) fn played(
        account: &Arc<Account>,
        headers: &BTreeMap<String, String>,
        bytes: &[u8],
    ) -> Result<Vec<Envelope>, String> {
        let hook = Hook::new(account).map_err(|error| error.to_string())?;
        let kind = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-type"));
        let written = Written::of(kind.map_or("application/json", |(_, kind)| kind.as_str()));
        let taken = written.ok_or(Refusal::Media).and_then(|written| {
            let webhook = account.file.webhook.as_ref().ok_or(Refusal::Unknown)?;
            hook.mentions(webhook, bytes, written, account.clock.now())
        });
        taken.map_err(|refusal| match refusal {
            Refusal::Items(items) => {
                items.iter().map(|one| format!("item {}: {}", one.item, one.error)).collect::<Vec<_>>().join("; ")
            }
            other => other.to_string(),
        })
    }

    fn hook(&self, account: &str) -> Result<(&Hook, &Webhook), Refusal> {
        let hook = self.hooks.get(account).ok_or(Refusal::Unknown)?;
        Ok((hook, hook.account.file.webhook.as_ref().ok_or(Refusal::Unknown)?))
    }

    /// Takes a delivery; how many mentions were accepted, and how many deliveries were known.
    async fn take(&self, account: &str, headers: &HeaderMap, body: Body) -> Result<(usize, usize), Refusal> {
        let (hook, webhook) = self.hook(account)?;
        let outcome = self.take_for(hook, webhook, headers, body).await;
        let word = match &outcome {
            Ok((_, 0)) => "accepted",
            Ok(_) => "duplicate",
            Err(refusal) => refusal.word(),
        };
        hook.account.metrics.deliveries.with_label_values(&[hook.account.file.connector.as_str(), word]).inc();
        if let Err(refusal) = &outcome {
            tracing::debug!(%account, "a delivery was not taken: {refusal}");
        }
        outcome
    }

    async fn take_for(
        &self,
        hook: &Hook,
        webhook: &Webhook,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<(usize, usize), Refusal> {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let written = Written::of(text("content-type")).ok_or(Refusal::Media)?;
        if !matches!(text("content-encoding"), "" | "identity") {
            return Err(Refusal::Media);
        }
        let id = webhook.id.as_deref().map(text).unwrap_or_default();
        if webhook.id.is_some() && (id.is_empty() || id.len() > ID_BYTES) {
            return Err(Refusal::Unsigned("the delivery's id is missing or too long"));
        }
        let signatures = text(&webhook.signature.header);
        if signatures.is_empty() {
            return Err(Refusal::Unsigned("the signature is missing"));
        }
        if text("content-length").parse::<usize>().is_ok_and(|length| length > webhook.max_bytes) {
            return Err(Refusal::TooLarge(format!("{} bytes", webhook.max_bytes)));
        }
        let _turn = hook.at_once.try_acquire().map_err(|_| Refusal::Limited(1))?;
        let bytes = read(body, webhook.max_bytes).await?;

        let timestamp = webhook.timestamp.as_deref().map(text).unwrap_or_default();
        let delivery = Delivery { id, timestamp, body: &bytes };
        let now = hook.account.clock.now();
        let keys = hook.keys.get(&webhook.signature.secret).ok_or(Refusal::Unsigned("the signature is wrong"))?;
        if !keys.signed(&webhook.signature, &delivery, signatures, now) {
            return Err(Refusal::Unsigned("the signature is wrong"));
        }
        if webhook.timestamp.is_some() {
            let sent = timestamp.parse::<i64>().ok().and_then(|seconds| seconds.checked_mul(1_000)).map(Time);
            let near = |sent: Time| now.since(sent).max(sent.since(now)) <= webhook.tolerance.0;
            if !sent.is_some_and(near) {
                return Err(Refusal::Stale);
            }
        }
        if self.wishes.borrow().paused.contains(&hook.account.config.key) {
            return Err(Refusal::Paused);
        }
        hook.count(webhook, now)?;

        // An id that is not signed could be changed on the way; the bytes could not.
        let name = match webhook.signature.signed.0.contains(&Part::Id) {
            true => id.to_owned(),
            false => hex(&Sha256::digest(&bytes)),
        };
        let account = hook.account.config.key.as_str();
        let not_kept = |error: Error| {
            tracing::warn!(%account, "a delivery could not be kept; its sender is asked to come again: {error}");
            Refusal::NotKept
        };
        if self.home.knows_delivery(account, &name).await.map_err(not_kept)? {
            return Ok((0, 1));
        }
        let mentions = hook.mentions(webhook, &bytes, written, now)?;
        let count = mentions.len();
        let newest = hook.account.keep(&self.home, &webhook.name, mentions).await.map_err(not_kept)?;
        // Two of one id at the same moment are both in the log, and one case.
        if !self.home.keep_delivery(account, &name).await.map_err(not_kept)? {
            return Ok((0, 1));
        }
        self.tell(hook, webhook, now, newest).await;
        Ok((count, 0))
    }

    /// Tells people now and then that deliveries come in. They come when they come: no silence is too long.
    async fn tell(&self, hook: &Hook, webhook: &Webhook, now: Time, newest: Option<Time>) {
        {
            let mut window = hook.window.lock().unwrap_or_else(PoisonError::into_inner);
            if now.0 - window.told.0 < TOLD_EVERY {
                return;
            }
            window.told = now;
        }
        let account = hook.account.config.key.as_str();
        let unknown = hook.account.unknown_status(&format!("{account}/{}", webhook.name));
        let (last_success, goal, next_at) = (Some(now), Duration::ZERO, Time::NEVER);
        let status = Status { state: Fares::Up, last_success, newest, goal, next_at, ..unknown };
        if let Err(error) = self.home.save_state(account, SENT, &json!([status]).to_string()).await {
            tracing::debug!(%account, "how deliveries fare could not be told: {error}");
        }
    }

    fn challenge(&self, account: &str, query: &str) -> Result<Response, Refusal> {
        let (hook, webhook) = self.hook(account)?;
        let challenge = webhook.challenge.as_ref().ok_or(Refusal::Unknown)?;
        let parameter = |wanted: &str| {
            url::form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == wanted).map(|(_, value)| value.into_owned())
        };
        let asked = parameter(&challenge.parameter)
            .filter(|text| !text.is_empty() && text.len() <= ID_BYTES)
            .ok_or(Refusal::Unsigned("the challenge is missing or too long"))?;
        if let Some(verify) = &challenge.verify {
            let given = parameter(&verify.parameter).unwrap_or_default();
            let now = hook.account.clock.now();
            if !hook.keys.get(&verify.secret).is_some_and(|keys| keys.is(&given, now)) {
                return Err(Refusal::Unsigned("the challenge's secret is wrong"));
            }
        }
        Ok(match (challenge.answer, &challenge.key, hook.keys.get(&webhook.signature.secret)) {
            (ChallengeAnswer::Json, Some(key), Some(keys)) => {
                Json(json!({ key.as_str(): keys.sign(&webhook.signature, &asked) })).into_response()
            }
            _ => ([(header::X_CONTENT_TYPE_OPTIONS, "nosniff")], asked).into_response(),
        })
    }
}

impl Hook {
    fn new(account: &Arc<Account>) -> Result<Hook, Error> {
        let mut keys = BTreeMap::new();
        let now = account.clock.now();
        for (name, source) in &account.config.secrets {
            let fail = |reason: String| Error::Account {
                account: account.config.key.clone(),
                reason: format!("secret `{name}`: {reason}"),
            };
            keys.insert(name.clone(), Keys::read(source, now).map_err(fail)?);
        }
        let account = Arc::clone(account);
        Ok(Hook { account, keys, window: Mutex::default(), at_once: Semaphore::new(AT_ONCE) })
    }

    /// Counts a delivery of one who is allowed to send.
    fn count(&self, webhook: &Webhook, now: Time) -> Result<(), Refusal> {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        if now >= window.since.plus(webhook.per.0) {
            *window = Window { since: now, taken: 0, told: window.told };
        }
        if window.taken >= webhook.requests {
            let left = window.since.plus(webhook.per.0).since(now);
            return Err(Refusal::Limited(left.as_secs() + 1));
        }
        window.taken += 1;
        Ok(())
    }

    fn mentions(&self, webhook: &Webhook, bytes: &[u8], written: Written, now: Time) -> Result<Vec<Envelope>, Refusal> {
        let matched = Match {
            brand: self.account.config.brand.clone(),
            account: self.account.config.key.clone(),
            addressed: webhook.addressed,
            query: None,
        };
        let facts = map::Facts {
            source: &self.account.source,
            own: &self.account.own,
            matched: Some(&matched),
            about: &self.account.about(),
            now,
        };
        let map = webhook.map.as_ref().or(self.account.file.map.as_ref());
        let map = map.ok_or_else(|| Refusal::Malformed("the connector has no map".into()))?;
        body::mentions(webhook, map, bytes, written, &facts).map_err(|malformed| match malformed {
            Malformed::NotJson(reason) => Refusal::Malformed(reason),
            Malformed::TooMany(most) => Refusal::TooLarge(format!("{most} items")),
            Malformed::Items(items) => Refusal::Items(items),
        })
    }
}

/// The whole body, if it is short enough and comes in time.
async fn read(body: Body, most: usize) -> Result<Vec<u8>, Refusal> {
    let whole = async {
        let (mut bytes, mut parts) = (Vec::new(), body.into_data_stream());
        while let Some(part) = parts.next().await {
            let part = part.map_err(|_| Refusal::Malformed("the body broke off".into()))?;
            if bytes.len() + part.len() > most {
                return Err(Refusal::TooLarge(format!("{most} bytes")));
            }
            bytes.extend_from_slice(&part);
        }
        Ok(bytes)
    };
    tokio::time::timeout(BODY_WITHIN, whole).await.unwrap_or(Err(Refusal::Slow))
}

/// `POST /ingest/{account}`.
async fn take(State(hooks): State<Arc<Hooks>>, Path(account): Path<String>, headers: HeaderMap, body: Body) -> Response {
    match hooks.take(&account, &headers, body).await {
        Ok((accepted, duplicate)) => {
            (StatusCode::ACCEPTED, Json(json!({ "accepted": accepted, "duplicate": duplicate }))).into_response()
        }
        Err(refusal) => refusal.into_response(),
    }
}

/// `GET /ingest/{account}`.
async fn answer_challenge(
    State(hooks): State<Arc<Hooks>>,
    Path(account): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Response> {
    hooks.challenge(&account, &query.unwrap_or_default()).map_err(IntoResponse::into_response)
}
