//! An account's tokens: got by a login, renewed before they end, signed by ourselves, kept over a restart.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use minijinja::{Value, context};
use reqwest::Method;
use serde::{Deserialize, Serialize};

use super::{
    Account, Error, Home,
    decode::decode,
    format::{BodyAs, Do, Path, TokenCall},
    jwt,
    limits::Price,
    seal::Sealer,
    template::scalar,
};
use crate::clock::Time;

/// A token is renewed so long before it ends.
const EARLY: Duration = Duration::from_secs(30);

/// What an account has been given.
#[derive(Clone, Default, Serialize, Deserialize)]
struct Tokens {
    access: Option<String>,
    refresh: Option<String>,
    ends_at: Option<Time>,
    #[serde(default)]
    kept: BTreeMap<String, String>,
    #[serde(skip)]
    jwt: Option<(String, Time)>,
}

/// The tokens of one account, and where they are kept.
#[derive(Default)]
pub(super) struct Wallet {
    tokens: Mutex<Tokens>,
    /// Held while tokens are got, so that all streams of an account log in once.
    renewing: tokio::sync::Mutex<bool>,
    warned: AtomicBool,
}

impl fmt::Debug for Wallet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl Wallet {
    fn tokens(&self) -> std::sync::MutexGuard<'_, Tokens> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What templates read as `auth`.
    pub fn values(&self) -> Value {
        let tokens = self.tokens().clone();
        let named = [("access", tokens.access), ("refresh", tokens.refresh), ("jwt", tokens.jwt.map(|(jwt, _)| jwt))];
        let mut all = tokens.kept;
        all.extend(named.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
        Value::from_serialize(all)
    }

    /// The access token, to know later whether it is another one.
    pub fn access(&self) -> Option<String> {
        self.tokens().access.clone()
    }
}

/// Where an account keeps what must survive a restart.
#[derive(Clone, Debug)]
pub(super) struct Keeper {
    pub home: Home,
    pub sealer: Option<Sealer>,
}

impl Account {
    /// Whether this account's connector gets tokens.
    fn has_tokens(&self) -> bool {
        self.file.auth.login.is_some() || self.file.auth.refresh.is_some()
    }

    /// Sees to it that requests can be made: knows what was left of the allowances, signs, and gets tokens where there are none or they are about to end.
    /// True if there are new ones.
    ///
    /// # Errors
    /// Why there are none.
    pub(super) async fn ready(&self) -> Result<bool, Error> {
        self.recall_budget().await?;
        if !self.has_tokens() && self.file.auth.jwt.is_none() {
            return Ok(false);
        }
        let mut recalled = self.wallet.renewing.lock().await;
        if !*recalled {
            self.recall().await?;
            *recalled = true;
        }
        let now = self.clock.now();
        let signed = self.sign(now)?;
        let good = {
            let tokens = self.wallet.tokens();
            tokens.access.is_some() && tokens.ends_at.is_none_or(|end| now < end.minus(EARLY))
        };
        if good || !self.has_tokens() {
            return Ok(signed);
        }
        self.get_tokens().await?;
        Ok(true)
    }

    /// Gets other tokens than `refused`; true if there are some.
    ///
    /// # Errors
    /// Why there are none.
    pub(super) async fn renew(&self, refused: Option<String>) -> Result<bool, Error> {
        if !self.has_tokens() {
            self.wallet.tokens().jwt = None;
            return self.sign(self.clock.now());
        }
        let _one = self.wallet.renewing.lock().await;
        // Another stream may have been quicker.
        if self.wallet.access() == refused {
            self.get_tokens().await?;
        }
        Ok(true)
    }

    /// Signs a token of our own where the last one is about to end.
    fn sign(&self, now: Time) -> Result<bool, Error> {
        let Some(jwt) = &self.file.auth.jwt else { return Ok(false) };
        if self.wallet.tokens().jwt.as_ref().is_some_and(|(_, end)| now < end.minus(EARLY)) {
            return Ok(false);
        }
        let signed = jwt::sign(jwt, &self.values(context! {}), now)?;
        self.wallet.tokens().jwt = Some((signed, now.plus(jwt.lifetime.0)));
        Ok(true)
    }

    async fn get_tokens(&self) -> Result<(), Error> {
        let auth = &self.file.auth;
        let has_refresh = self.wallet.tokens().refresh.is_some() || auth.login.is_none();
        if let (Some(refresh), true) = (&auth.refresh, has_refresh) {
            match self.ask_for_tokens(refresh).await {
                // It has ended too, or was used already: only a login helps.
                Err(Error::Status { status, .. }) if auth.login.is_some() && (400..500).contains(&status) && status != 429 => {}
                other => return other,
            }
        }
        match &auth.login {
            Some(login) => self.ask_for_tokens(login).await,
            None => Ok(()),
        }
    }

    async fn ask_for_tokens(&self, ask: &TokenCall) -> Result<(), Error> {
        let values = self.values(context! {});
        let method = Method::from_bytes(ask.method.as_bytes()).map_err(|error| Error::Refused(error.to_string()))?;
        let mut call = self.bare_request(method, &ask.path, &ask.query, &values)?;
        call.fill(&ask.headers, &ask.form, ask.json.as_ref(), &values)?;
        let price = Price { of: "auth", units: 0, polling: false };
        let answer = self.send_once(call, &price, None).await.map_err(|error| match error {
            // What helps against an old token does not help here.
            Error::Status { status, action: Do::Refresh, until, reason } => {
                Error::Status { status, action: Do::Stop, until, reason }
            }
            other => other,
        })?;
        let json = decode(&answer, BodyAs::Json)?;
        let text = |path: &Path| path.first(&json).and_then(scalar);
        let now = self.clock.now();
        let access = text(&ask.access).ok_or_else(|| Error::Garbage("an answer without a token".into()))?;
        let ends_in = ask.expires_in.as_ref().and_then(text).and_then(|text| text.parse::<f64>().ok());
        let ends_at = ask.expires_at.as_ref().and_then(text).and_then(|text| match text.parse::<f64>() {
            Ok(seconds) => Some(Time((seconds * 1_000.0) as i64)),
            Err(_) => Time::parse(&text),
        });
        {
            let mut tokens = self.wallet.tokens();
            tokens.access = Some(access);
            // A platform that does not rotate it names it once.
            tokens.refresh = ask.refresh.as_ref().and_then(text).or(tokens.refresh.take());
            tokens.ends_at =
                ends_in.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()).map(|span| now.plus(span)).or(ends_at);
            for (name, path) in &ask.keep {
                tokens.kept.extend(text(path).map(|value| (name.clone(), value)));
            }
        }
        self.keep_tokens().await;
        Ok(())
    }

    /// Keeps the tokens over a restart. A platform that rotates them forgets the old ones, so they are kept first.
    async fn keep_tokens(&self) {
        let Some(keeper) = self.keeper.get() else { return };
        let key = &self.config.key;
        let Some(sealer) = &keeper.sealer else {
            if !self.wallet.warned.swap(true, Ordering::Relaxed) {
                tracing::warn!(
                    account = %key,
                    "tokens of {key} are not kept over a restart: name a key with connect.token_key = {{ env = \"NAME\" }}"
                );
            }
            return;
        };
        let text = serde_json::to_string(&*self.wallet.tokens()).ok();
        let Some(sealed) = text.and_then(|text| sealer.seal(key, &text)) else { return };
        if let Err(error) = keeper.home.save_state(key, "tokens", &sealed).await {
            tracing::warn!(account = %key, "tokens of {key} could not be kept: {error}");
        }
    }

    async fn recall(&self) -> Result<(), Error> {
        let Some(Keeper { home, sealer: Some(sealer) }) = self.keeper.get() else { return Ok(()) };
        let key = &self.config.key;
        let Some(sealed) = home.state(key, "tokens").await? else { return Ok(()) };
        match sealer.open(key, &sealed).and_then(|text| serde_json::from_str(&text).ok()) {
            Some(tokens) => *self.wallet.tokens() = tokens,
            None => tracing::warn!(account = %key, "kept tokens of {key} were sealed with another key; getting new ones"),
        }
        Ok(())
    }
}
