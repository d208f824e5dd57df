//! What a reply's templates read: its text with facets, what it answers, and the posts of a thread.

use std::collections::BTreeMap;

use minijinja::{Value, context};
use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::{
    Account, Error, Home,
    decode::decode,
    facets::{self, Facet},
    format::{Action, BodyAs, Target},
    limits::Price,
    template::scalar,
};
use crate::{
    clock::Time,
    desk::{Outgoing, Receipt},
    mention::Lang,
};

/// A post that is out, as the next one of its thread answers it. Kept until the whole reply is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Parent {
    /// Its global id.
    pub native_id: String,
    /// How the platform's API calls it.
    pub local_ref: Option<String>,
    /// Where a person can read it.
    pub url: Option<String>,
    /// When it was posted.
    pub at: Option<Time>,
    /// What the file keeps of it.
    pub values: BTreeMap<String, String>,
    /// What the file keeps of the post that the reply answers.
    pub root: BTreeMap<String, String>,
}

impl Parent {
    /// This one, as the platform took it.
    pub fn of(&self, receipt: &Receipt) -> Parent {
        Parent {
            native_id: receipt.native_id.clone(),
            local_ref: receipt.local_ref.clone(),
            url: receipt.url.clone(),
            at: Some(receipt.at),
            ..self.clone()
        }
    }

    /// The receipt of it.
    pub fn receipt(self, now: Time) -> Option<Receipt> {
        let at = self.at.unwrap_or(now);
        (!self.native_id.is_empty()).then_some(Receipt {
            native_id: self.native_id,
            local_ref: self.local_ref,
            url: self.url,
            at,
        })
    }
}

/// The texts of the posts that a reply is sent as; none if it takes more than the file allows.
pub(super) fn parts(action: &Action, reply: &Outgoing) -> Option<Vec<String>> {
    match (&action.thread, &action.length) {
        (Some(thread), Some(length)) => {
            let mut length = length.clone();
            length.parts = Some(thread.max);
            length.divide(&reply.text)
        }
        _ => Some(vec![reply.text.clone()]),
    }
}

/// One post of a reply. Each has a key of its own, or the platform would take the second for the first again.
pub(super) fn part_of(reply: &Outgoing, number: usize, text: &str) -> Outgoing {
    let key = if number == 0 { reply.idempotency_key.clone() } else { format!("{}-{number}", reply.idempotency_key) };
    Outgoing { text: text.to_owned(), idempotency_key: key, ..reply.clone() }
}

/// The posts of a reply that were out before a failure or a crash.
pub(super) async fn sent_before(home: &Home, account: &Account, name: &str) -> Result<Vec<Parent>, Error> {
    let kept = home.state(&account.config.key, name).await?;
    Ok(kept.and_then(|kept| serde_json::from_str(&kept).ok()).unwrap_or_default())
}

/// Remembers which posts of a reply are out.
pub(super) async fn remember(home: &Home, account: &Account, name: &str, sent: &[Parent]) -> Result<(), Error> {
    let text = serde_json::to_string(sent).map_err(|error| Error::Home(error.to_string()))?;
    home.save_state(&account.config.key, name, &text).await
}

/// What the file keeps of a new post, from the answer.
pub(super) fn kept(account: &Account, action: &Action, json: Option<&Json>) -> BTreeMap<String, String> {
    let about = account.about();
    let fields = action.answer.values.iter();
    fields.filter_map(|(name, field)| Some((name.clone(), field.text(json?, &about)?))).collect()
}

/// The plain values of a reply.
pub(super) fn plain(reply: &Outgoing) -> Value {
    context! {
        text => reply.text,
        target_native_id => reply.target_native_id,
        target_local_ref => reply.target_local_ref.as_ref().unwrap_or(&reply.target_native_id),
        target_handle => reply.target_handle,
        target_conversation => reply.target_conversation.as_ref().unwrap_or(&reply.target_native_id),
        visibility => reply.visibility.as_deref().unwrap_or(""),
        idempotency_key => reply.idempotency_key,
        lang => if reply.lang == Lang::Und { "" } else { reply.lang.as_str() },
        parent_native_id => reply.target_native_id,
        parent_local_ref => reply.target_local_ref.as_ref().unwrap_or(&reply.target_native_id),
        root_native_id => reply.target_conversation.as_ref().unwrap_or(&reply.target_native_id),
        extra => reply.extra,
    }
}

/// The values of a post that answers `before`, else the reply's target; asks the platform for what the file wants to
/// know first.
///
/// # Errors
/// When the platform does not say.
pub(super) async fn values(
    account: &Account,
    action: &Action,
    reply: &Outgoing,
    before: Option<&Parent>,
) -> Result<(Value, Parent), Error> {
    let plain = plain(reply);
    let asked = match (&action.target, before) {
        (Some(target), None) => ask_for_target(account, target, &plain).await?,
        (_, Some(before)) => before.root.clone(),
        (None, None) => BTreeMap::new(),
    };
    let parent = before.map_or_else(|| asked.clone(), |before| before.values.clone());
    let id = before.map_or_else(
        || (reply.target_native_id.clone(), reply.target_local_ref.clone()),
        |before| (before.native_id.clone(), before.local_ref.clone()),
    );
    let found = match action.facets {
        Some(_) => resolved(account, action, facets::find(&reply.text)).await?,
        None => Vec::new(),
    };
    let more = context! {
        parent_native_id => id.0.clone(),
        parent_local_ref => id.1.unwrap_or(id.0),
        parent => parent,
        root => asked.clone(),
        facets => Value::from_serialize(&found),
        ..plain
    };
    let now = account.clock.now();
    let values = context! { reply => more, now => now.to_string(), extra => reply.extra };
    Ok((values, Parent { root: asked, ..Parent::default() }))
}

fn price() -> Price<'static> {
    Price { of: "reply", units: 1, polling: false }
}

/// Asks for the post that is answered.
async fn ask_for_target(account: &Account, target: &Target, reply: &Value) -> Result<BTreeMap<String, String>, Error> {
    let values = account.values(context! { reply => reply });
    let call = account.request(Method::GET, &target.path, &target.query, &values)?;
    let json = decode(&account.send(call, &price(), None).await?, BodyAs::Json)?;
    let first = |paths: &Vec<super::format::Path>| paths.iter().find_map(|path| scalar(path.first(&json)?));
    Ok(target.values.iter().filter_map(|(name, paths)| Some((name.clone(), first(paths)?))).collect())
}

/// Facets whose people the platform knows; a mention of nobody is plain text.
async fn resolved(account: &Account, action: &Action, found: Vec<Facet>) -> Result<Vec<Facet>, Error> {
    let Some(resolve) = &action.resolve else { return Ok(found) };
    let mut known = Vec::new();
    for facet in found {
        if facet.kind != "mention" {
            known.push(facet);
            continue;
        }
        let values = account.values(context! { handle => facet.value });
        let call = account.request(Method::GET, &resolve.path, &resolve.query, &values)?;
        match account.send(call, &price(), None).await {
            Ok(answer) => {
                let json = decode(&answer, BodyAs::Json)?;
                let value = resolve.value.first(&json).and_then(scalar);
                known.extend(value.map(|value| Facet { value, ..facet }));
            }
            Err(Error::Status { status, .. }) if (400..500).contains(&status) && status != 429 => {}
            Err(error) => return Err(error),
        }
    }
    Ok(known)
}
