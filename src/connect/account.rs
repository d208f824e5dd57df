//! One account at work: its secrets, its budget, who it is, and requests in its name.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
};

use minijinja::{Value, context};
use reqwest::Method;
use serde_json::Value as Json;
use tokio::sync::OnceCell;
use url::Url;

use super::{
    AccountConfig, Error, Metrics, Secret,
    file::ConnectorFile,
    format::{Action, Do, Ingress, Setting, Stream},
    guard::Guard,
    limits::{Budget, retry_after},
    request::{Answer, Call, Http},
    template::Template,
};
use crate::clock::{Clock, Time};

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
    http: Option<Http>,
    secrets: Mutex<BTreeMap<String, Secret>>,
    budget: Mutex<Budget>,
    native_id: OnceCell<String>,
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
            native_id: OnceCell::new(),
            config,
            file,
        };
        account.source = format!("{}:{}", account.file.connector, account.file.instance.render(&account.values(context! {}))?);
        if let Some(native_id) = account.config.native_id.clone() {
            account.own.add(&account.source, &native_id);
            account.native_id = OnceCell::new_with(Some(native_id));
        }
        Ok(Arc::new(account))
    }

    /// Learns who the account is, if it is not known yet.
    ///
    /// # Errors
    /// When the platform does not say.
    pub async fn identify(&self) -> Result<(), Error> {
        let Some(identify) = &self.file.identify else { return Ok(()) };
        self.native_id
            .get_or_try_init(async || {
                let values = self.values(context! {});
                let call = self.request(Method::GET, &identify.path, &BTreeMap::new(), &values)?;
                let json = json(&self.send(call, true).await?)?;
                let id = identify.native_id.first(&json).and_then(|id| match id {
                    Json::String(id) => Some(id.clone()),
                    Json::Number(id) => Some(id.to_string()),
                    _ => None,
                });
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
        context! { secret => secret, ..context! { ..more, ..self.about() } }
    }

    /// The values that are no secret: the account and its settings.
    pub(super) fn about(&self) -> Value {
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

    /// The URL of a rendered path: below the base, unless it is whole already.
    fn url(&self, path: &str) -> Result<Url, Error> {
        let base = self.config.base.as_ref().map_or("", |base| base.as_str().trim_end_matches('/'));
        let whole =
            if path.starts_with("https://") || path.starts_with("http://") { path.to_owned() } else { format!("{base}{path}") };
        // The text is not repeated: it may hold a key.
        Url::parse(&whole).map_err(|error| Error::Refused(format!("not a URL: {error}")))
    }

    /// A request with the file's headers; empty query values are left out.
    pub(super) fn request(
        &self,
        method: Method,
        path: &Template,
        query: &BTreeMap<String, Template>,
        values: &Value,
    ) -> Result<Call, Error> {
        let mut url = self.url(&path.render(values)?)?;
        for (name, template) in query {
            let value = template.render(values)?;
            if !value.is_empty() {
                url.query_pairs_mut().append_pair(name, &value);
            }
        }
        self.request_of(method, url, values)
    }

    /// A request for a URL that the platform gave us, such as the next page.
    pub(super) fn request_of(&self, method: Method, url: Url, values: &Value) -> Result<Call, Error> {
        let mut call = Call { method, ..Call::get(url) };
        for (name, template) in &self.file.request.headers {
            call.header(name, &template.render(values)?)?;
        }
        Ok(call)
    }

    /// A request for a stream's page.
    pub(super) fn stream_request(&self, stream: &Stream, more: Value, ids: &[String]) -> Result<Call, Error> {
        let mut call = self.request(Method::GET, &stream.path, &stream.query, &self.values(more))?;
        if let Some(each) = stream.revisit.as_ref().and_then(|revisit| revisit.each.as_ref()) {
            for id in ids {
                call.url.query_pairs_mut().append_pair(each, id);
            }
        }
        Ok(call)
    }

    /// A request for an action.
    pub(super) fn action_request(&self, action: &Action, more: Value) -> Result<Call, Error> {
        let values = self.values(more);
        let method = Method::from_bytes(action.method.as_bytes()).map_err(|error| Error::Refused(error.to_string()))?;
        let mut call = self.request(method, &action.path, &action.query, &values)?;
        for (name, template) in &action.headers {
            call.header(name, &template.render(&values)?)?;
        }
        let filled = |fields: &BTreeMap<String, Template>| -> Result<Vec<(String, String)>, Error> {
            let pairs = fields.iter().map(|(name, template)| Ok((name.clone(), template.render(&values)?)));
            pairs.filter(|pair| pair.as_ref().map_or(true, |(_, value)| !value.is_empty())).collect()
        };
        call.body = Some(match &action.json {
            None => {
                let form = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(filled(&action.form)?).finish();
                ("application/x-www-form-urlencoded", form.into_bytes())
            }
            Some(body) => ("application/json", body.render(&values)?.to_string().into_bytes()),
        });
        Ok(call)
    }

    /// Sends a request within the budget; only a success is `Ok`.
    ///
    /// # Errors
    /// [`Error::Spent`] without a request, [`Error::Status`] with what the file says to do, and all
    /// that can happen to an exchange.
    pub(super) async fn send(&self, call: Call, polling: bool) -> Result<Answer, Error> {
        match self.send_once(call.clone(), polling).await {
            Err(Error::Status { action: Do::Refresh, .. }) if self.refresh() => {
                let mut again = call;
                let values = self.values(context! {});
                for (name, template) in &self.file.request.headers {
                    again.header(name, &template.render(&values)?)?;
                }
                self.send_once(again, polling).await
            }
            other => other,
        }
    }

    async fn send_once(&self, call: Call, polling: bool) -> Result<Answer, Error> {
        let http = self.http.as_ref().ok_or_else(|| Error::Refused("this connector makes no requests".into()))?;
        self.budget.lock().unwrap_or_else(PoisonError::into_inner).take(self.clock.now(), polling).map_err(Error::Spent)?;
        let result = http.send(call).await.and_then(|answer| self.judge(answer));
        let outcome = result.as_ref().map_or_else(Error::word, |_| "ok");
        self.metrics.requests.with_label_values(&[self.file.connector.as_str(), outcome]).inc();
        result
    }

    /// Takes the headers in, and turns what is no success into what to do about it.
    fn judge(&self, answer: Answer) -> Result<Answer, Error> {
        let now = self.clock.now();
        let limits = &self.file.limits;
        let success = (200..300).contains(&answer.status);
        let reads_body = !success || limits.reads_body() || self.file.errors.iter().any(|row| row.status.has(answer.status));
        let body = if reads_body { serde_json::from_slice(&answer.body).unwrap_or(Json::Null) } else { Json::Null };
        self.budget.lock().unwrap_or_else(PoisonError::into_inner).learn(&answer.headers, &body, now);
        // Some platforms say what went wrong under a status of success.
        if success && !self.file.errors.iter().any(|row| row.body.is_some() && row.fits(answer.status, &body)) {
            return Ok(answer);
        }
        let action = self.file.on_error(answer.status, &body);
        let told = limits.reset.as_ref().and_then(|told| super::limits::told(told, &answer.headers, &body));
        let reset = told.and_then(|text| super::limits::reset_at(&text, limits.reset_as, now));
        // Every answer carries the reset; it is a time to come back at only after a limit.
        let reset = reset.filter(|at| action == Do::BackOff && *at > now);
        let until: Option<Time> = retry_after(&answer.headers, now).or(reset);
        let reason = self.file.reply().and_then(|action| action.reason.as_ref()?.first(&body)?.as_str().map(str::to_owned));
        Err(Error::Status { status: answer.status, action, until, reason })
    }

    /// Reads the secrets again; whether any has changed.
    fn refresh(&self) -> bool {
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

/// The JSON of an answer.
///
/// # Errors
/// [`Error::Garbage`] with where it stops being JSON; never its text.
pub(super) fn json(answer: &Answer) -> Result<Json, Error> {
    serde_json::from_slice(&answer.body).map_err(|error| {
        Error::Garbage(format!("not JSON: {:?} error at line {} column {}", error.classify(), error.line(), error.column()))
    })
}
