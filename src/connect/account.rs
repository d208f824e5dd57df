//! One account at work: its secrets and settings, its budget, and who it is.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use minijinja::{Value, context};
use reqwest::Method;
use tokio::sync::OnceCell;
use url::Url;

use super::{
    AccountConfig, Error, Home, Metrics, Secret,
    auth::{Keeper, Wallet},
    decode::decode,
    file::ConnectorFile,
    format::{BodyAs, Ingress, Setting},
    guard::Guard,
    health::Health,
    limits::{Budget, Price},
    request::Http,
    seal::Sealer,
    template::scalar,
};
use crate::{
    clock::{Clock, Time},
    crash,
    mention::{Envelope, Op},
};

/// Ids of all our accounts, by source: a post by one of them is ours, whichever stream it came through.
#[derive(Clone, Debug, Default)]
pub struct OwnIds(Arc<Mutex<BTreeSet<(String, String)>>>);

impl OwnIds {
    /// Remembers an account of ours.
    pub fn add(&self, source: &str, native_id: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert((source.to_owned(), native_id.to_owned()));
    }

    /// Whether an author is one of us.
    pub fn has(&self, source: &str, native_id: &str) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(&(source.to_owned(), native_id.to_owned()))
    }
}

/// One account with the file that runs it.
#[derive(Debug)]
pub struct Account {
    /// Its configuration.
    pub config: AccountConfig,
    /// Its connector.
    pub file: Arc<ConnectorFile>,
    /// Platform and instance.
    pub source: String,
    pub(super) own: OwnIds,
    pub(super) clock: Clock,
    pub(super) metrics: Metrics,
    pub(super) http: Option<Http>,
    secrets: Mutex<BTreeMap<String, Secret>>,
    pub(super) budget: Mutex<Budget>,
    pub(super) wallet: Wallet,
    pub(super) keeper: OnceLock<Keeper>,
    /// What the last walk of each stream took, in requests and units, by its cursor's name.
    pub(super) walks: Mutex<BTreeMap<String, (u32, u32)>>,
    pub(super) health: Mutex<Health>,
    pub(super) recalled: OnceCell<()>,
    native_id: OnceCell<String>,
    about: OnceLock<Value>,
    /// What its connector file does not fit, by stream and field.
    complaints: Mutex<BTreeMap<String, String>>,
}

impl Account {
    /// Puts an account and its file together.
    ///
    /// # Errors
    /// What the configuration lacks for this connector.
    pub fn new(
        file: Arc<ConnectorFile>,
        config: AccountConfig,
        own: OwnIds,
        clock: Clock,
        metrics: Metrics,
    ) -> Result<Arc<Account>, Error> {
        let fail = |reason: String| Error::Account { account: config.key.clone(), reason };
        if let Some(name) = config.secrets.keys().find(|name| !file.secrets.contains(name)) {
            return Err(fail(format!("connector {} knows no secret `{name}`; remove it", file.connector)));
        }
        if let Some(name) = config.settings.keys().find(|name| !file.settings.iter().any(|one| one.name == **name)) {
            return Err(fail(format!("connector {} knows no setting `{name}`; remove it", file.connector)));
        }
        let missing = |one: &&Setting| one.default.is_none() && !config.settings.contains_key(&one.name);
        if let Some(one) = file.settings.iter().find(missing) {
            return Err(fail(format!("add settings.{} = \"...\"", one.name)));
        }
        let mut secrets = BTreeMap::new();
        for name in &file.secrets {
            let source = config.secrets.get(name);
            let source =
                source.ok_or_else(|| fail(format!("add secrets.{name} = {{ env = \"NAME\" }} or {{ file = \"PATH\" }}")))?;
            secrets.insert(name.clone(), source.read().map_err(|error| fail(format!("secret `{name}`: {error}")))?);
        }
        let http = match (file.ingress, &config.base, &config.path) {
            (Ingress::Poll | Ingress::Webhook, Some(base), _) => {
                let guard = Guard::new(&file.hosts, base, config.allow_private);
                guard.check(base).map_err(|error| fail(format!("base: {error}")))?;
                let defaults = &file.request;
                Some(Http::new(guard, config.allow_private, defaults.timeout.0, defaults.max_bytes)?)
            }
            (Ingress::Webhook, None, _) => None,
            (Ingress::Poll, None, _) => return Err(fail("add base = \"https://HOST\"".into())),
            (Ingress::File, _, None) => return Err(fail("add path = \"FILE.jsonl\"".into())),
            (Ingress::File, ..) => None,
        };
        let mut account = Account {
            source: String::new(),
            own,
            clock,
            metrics,
            http,
            secrets: Mutex::new(secrets),
            budget: Mutex::new(Budget::new(&file.limits)),
            wallet: Wallet::default(),
            keeper: OnceLock::new(),
            walks: Mutex::default(),
            health: Mutex::default(),
            recalled: OnceCell::new(),
            native_id: OnceCell::new_with(config.native_id.clone()),
            about: OnceLock::new(),
            complaints: Mutex::default(),
            config,
            file,
        };
        account.source = format!("{}:{}", account.file.connector, account.file.instance.render(&account.values(context! {}))?);
        if let Some(native_id) = &account.config.native_id {
            account.own.add(&account.source, native_id);
        }
        Ok(Arc::new(account))
    }

    /// Says where this account keeps what must survive a restart, and the key that seals its tokens there.
    pub(super) fn keep_at(&self, home: &Home, sealer: Option<&Sealer>) {
        self.keeper.get_or_init(|| Keeper { home: home.clone(), sealer: sealer.cloned() });
    }

    /// Learns who the account is, if it is not known yet.
    ///
    /// # Errors
    /// When the platform does not say.
    pub async fn identify(&self) -> Result<(), Error> {
        self.ready().await?;
        let Some(identify) = &self.file.identify else { return Ok(()) };
        self.native_id
            .get_or_try_init(async || {
                let values = self.values(context! {});
                let call = self.request(Method::GET, &identify.path, &BTreeMap::new(), &values)?;
                let price = Price { of: "identify", units: 1, polling: true };
                let json = decode(&self.send(call, &price, None).await?, BodyAs::Json)?;
                let id = identify.native_id.first(&json).and_then(scalar);
                let id = id.ok_or_else(|| Error::Garbage("no id of our own account".into()))?;
                self.own.add(&self.source, &id);
                Ok(id)
            })
            .await
            .map(|_| ())
    }

    /// The values that templates read, with `more` besides the account's.
    pub(super) fn values(&self, more: Value) -> Value {
        let secrets = self.secrets.lock().unwrap_or_else(PoisonError::into_inner);
        let secret: BTreeMap<&str, &str> = secrets.iter().map(|(name, secret)| (name.as_str(), secret.reveal())).collect();
        context! { secret => secret, auth => self.wallet.values(), ..context! { ..more, ..self.about() } }
    }

    /// The values that are no secret: the account and its settings. They stay as they are once its id is known.
    pub(super) fn about(&self) -> Value {
        let known = self.native_id.initialized() || self.file.identify.is_none();
        if known { self.about.get_or_init(|| self.about_now()).clone() } else { self.about_now() }
    }

    fn about_now(&self) -> Value {
        let config = &self.config;
        let setting =
            |one: &Setting| Some((one.name.clone(), config.settings.get(&one.name).or(one.default.as_ref())?.clone()));
        let settings: BTreeMap<String, String> = self.file.settings.iter().filter_map(setting).collect();
        context! {
            account => context! {
                key => config.key,
                brand => config.brand,
                handle => config.handle,
                native_id => self.native_id.get().cloned().unwrap_or_default(),
                host => config.base.as_ref().and_then(Url::host_str).unwrap_or(&config.key),
                base => config.base.as_ref().map_or("", |base| base.as_str().trim_end_matches('/')),
            },
            setting => settings,
        }
    }

    /// Appends mentions of a stream and counts them once they are durable; when the newest was posted.
    pub(super) async fn keep(&self, home: &Home, stream: &str, mentions: Vec<Envelope>) -> Result<Option<Time>, Error> {
        let connector = self.file.connector.as_str();
        let posted: Vec<Time> = mentions.iter().filter(|one| one.op == Op::Upsert).filter_map(|one| one.posted_at).collect();
        let count = mentions.len();
        home.append(mentions).await?;
        crash::point("connect");
        self.metrics.items.with_label_values(&[connector, stream]).inc_by(count as u64);
        let (now, lag) = (self.clock.now(), self.metrics.lag.with_label_values(&[connector]));
        posted.iter().for_each(|at| lag.observe(now.since(*at).as_secs_f64()));
        Ok(posted.into_iter().max())
    }

    /// Says, once, that a stream's posts have a time that their map cannot read. The post is kept without it.
    pub(super) fn complain(&self, stream: &str, field: &str, said: &str) {
        let mut complaints = self.complaints.lock().unwrap_or_else(PoisonError::into_inner);
        let Entry::Vacant(complaint) = complaints.entry(format!("{stream}/{field}")) else { return };
        let account = &self.config.key;
        tracing::warn!(%account, %stream, "{field} of stream {stream} is no time as time_as of the map says; posts are kept without it");
        let said: String = said.chars().take(40).collect();
        complaint.insert(format!("stream {stream}, {field}: `{said}` is no time as time_as of the map says"));
    }

    /// What its connector file does not fit.
    pub(super) fn complaints(&self) -> Vec<String> {
        self.complaints.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Reads the secrets again; whether any has changed.
    pub(super) fn reread_secrets(&self) -> bool {
        let mut secrets = self.secrets.lock().unwrap_or_else(PoisonError::into_inner);
        let mut changed = false;
        for (name, source) in &self.config.secrets {
            if let Ok(secret) = source.read()
                && secrets.get(name) != Some(&secret)
            {
                secrets.insert(name.clone(), secret);
                changed = true;
            }
        }
        changed
    }
}
