//! Requests in an account's name: made of templates, sent within its budget, judged by its file.

use std::{collections::BTreeMap, sync::PoisonError};

use minijinja::{Value, context};
use reqwest::Method;
use serde_json::Value as Json;
use url::Url;

use super::{
    Account, Error,
    format::{Action, CursorLost, Do, Stream},
    limits::{Price, reset_at, retry_after, told},
    request::{Answer, Call},
    template::Template,
};
use crate::clock::Time;

impl Account {
    /// The URL of a rendered path: below the base, unless it is whole already.
    fn url(&self, path: &str) -> Result<Url, Error> {
        let base = self.config.base.as_ref().map_or("", |base| base.as_str().trim_end_matches('/'));
        let whole = ["https://", "http://", "wss://", "ws://"].iter().any(|scheme| path.starts_with(scheme));
        let whole = if whole { path.to_owned() } else { format!("{base}{path}") };
        // The text is not repeated: it may hold a key.
        Url::parse(&whole).map_err(|error| Error::Refused(format!("not a URL: {error}")))
    }

    /// A request without the file's headers; empty query values are left out.
    pub(super) fn bare_request(
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
        Ok(Call { method, ..Call::get(url) })
    }

    /// A request with the file's headers.
    pub(super) fn request(
        &self,
        method: Method,
        path: &Template,
        query: &BTreeMap<String, Template>,
        values: &Value,
    ) -> Result<Call, Error> {
        let mut call = self.bare_request(method, path, query, values)?;
        self.put_headers(&mut call)?;
        Ok(call)
    }

    /// A request for a URL that the platform gave us, such as the next page.
    pub(super) fn request_of(&self, url: Url) -> Result<Call, Error> {
        let mut call = Call::get(url);
        self.put_headers(&mut call)?;
        Ok(call)
    }

    fn put_headers(&self, call: &mut Call) -> Result<(), Error> {
        let values = self.values(context! {});
        for (name, template) in &self.file.request.headers {
            let value = template.render(&values)?;
            if !value.is_empty() {
                call.header(name, &value)?;
            }
        }
        Ok(())
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
        call.fill(&action.headers, &action.form, action.json.as_ref(), &values)?;
        Ok(call)
    }

    /// Sends a request within the budget; only a success is `Ok`. Old tokens are renewed, once.
    ///
    /// # Errors
    /// [`Error::Spent`] without a request, [`Error::Status`] with what the file says to do, and all
    /// that can happen to an exchange.
    pub(super) async fn send(&self, call: Call, price: &Price<'_>, lost: Option<&CursorLost>) -> Result<Answer, Error> {
        let mut call = call;
        if self.ready().await? {
            self.put_headers(&mut call)?;
        }
        let access = self.wallet.access();
        match self.send_once(call.clone(), price, lost).await {
            Err(Error::Status { action: Do::Refresh, .. }) if self.reread_secrets() || self.renew(access).await? => {
                self.put_headers(&mut call)?;
                self.send_once(call, price, lost).await
            }
            other => other,
        }
    }

    /// Sends a request within the budget.
    pub(super) async fn send_once(&self, call: Call, price: &Price<'_>, lost: Option<&CursorLost>) -> Result<Answer, Error> {
        let http = self.http.as_ref().ok_or_else(|| Error::Refused("this connector makes no requests".into()))?;
        self.spend(price)?;
        let result = http.send(call).await.and_then(|answer| self.judge(answer, price, lost));
        self.count(result.as_ref().map_or_else(Error::word, |_| "ok"));
        result
    }

    /// Takes what a request costs from the budget.
    pub(super) fn spend(&self, price: &Price<'_>) -> Result<(), Error> {
        let now = self.clock.now();
        self.budget.lock().unwrap_or_else(PoisonError::into_inner).take(now, price).map_err(Error::Spent)
    }

    /// Counts a request by its outcome.
    pub(super) fn count(&self, outcome: &str) {
        self.metrics.requests.with_label_values(&[self.file.connector.as_str(), outcome]).inc();
    }

    /// Takes in what an answer says of the budget, and turns what is no success into what to do about it.
    pub(super) fn judge(&self, answer: Answer, price: &Price<'_>, lost: Option<&CursorLost>) -> Result<Answer, Error> {
        let now = self.clock.now();
        let (limits, errors) = (&self.file.limits, &self.file.errors);
        let success = (200..300).contains(&answer.status) || answer.status == 304;
        let reads_body = !success || limits.reads_body() || errors.iter().any(|row| row.status.has(answer.status));
        let body = if reads_body { serde_json::from_slice(&answer.body).unwrap_or(Json::Null) } else { Json::Null };
        self.budget.lock().unwrap_or_else(PoisonError::into_inner).learn(&answer.headers, &body, now, price.of);
        // Some platforms say what went wrong under a status of success.
        if success && !errors.iter().any(|row| row.body.is_some() && row.fits(answer.status, &body)) {
            return Ok(answer);
        }
        if lost.is_some_and(|lost| lost.fits(answer.status, &body)) {
            return Err(Error::CursorLost);
        }
        let action = self.file.on_error(answer.status, &body);
        let reset = limits.reset.as_ref().and_then(|place| told(place, &answer.headers, &body));
        let reset = reset.and_then(|text| reset_at(&text, limits.reset_as, now));
        // Every answer carries the reset; it is a time to come back at only after a limit.
        let reset = reset.filter(|at| action == Do::BackOff && *at > now);
        let until: Option<Time> = retry_after(&answer.headers, now).or(reset);
        let reason = self.file.reply().and_then(|action| action.reason.as_ref()?.first(&body)?.as_str().map(str::to_owned));
        Err(Error::Status { status: answer.status, action, until, reason })
    }
}
