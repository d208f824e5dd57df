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
    format::{Action, AnswerMap, BodyAs, Target},
    limits::Price,
    map::time,
    template::{Field, scalar},
};
use crate::{
    clock::Time,
    desk::{Outgoing, Receipt},
    mention::Lang,
};

/// A post of ours that is out, as the next one of its thread answers it. Kept until the whole reply is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Parent {
    /// Its global id.
    pub native_id: String,
    /// How the platform's API calls it.
    pub local_ref: Option<String>,
    /// Where a person can read it.
    pub url: Option<String>,
    /// When it was posted.
    pub at: Time,
    /// What the file keeps of it.
    pub values: BTreeMap<String, String>,
    /// What the file keeps of the post that the reply answers, if that was asked for.
    pub root: Option<BTreeMap<String, String>>,
}

impl Parent {
    /// The new post as an answer, or a look-up's item, tells of it; its root is not asked for.
    pub fn of(account: &Account, map: &AnswerMap, json: &Json) -> Option<Parent> {
        let (about, now) = (account.about(), account.clock.now());
        let text = |field: &Option<Field>| field.as_ref().and_then(|field| field.text(json, &about));
        let value = |(name, field): (&String, &Field)| Some((name.clone(), field.text(json, &about)?));
        Some(Parent {
            native_id: map.native_id.text(json, &about)?,
            local_ref: text(&map.local_ref),
            url: text(&map.url).filter(|url| url.starts_with("https://") || url.starts_with("http://")),
            at: text(&map.posted_at).and_then(|text| time(&text, map.time_as)).unwrap_or(now),
            values: map.values.iter().filter_map(value).collect(),
            root: None,
        })
    }

    /// The receipt of it.
    pub fn receipt(self) -> Receipt {
        Receipt { native_id: self.native_id, url: self.url, at: self.at }
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

/// Where it is kept which posts of a reply are out.
fn name(reply: &Outgoing) -> String {
    format!("reply/{}", reply.id.0)
}

/// The posts of a reply that were out before a failure or a crash.
pub(super) async fn sent_before(
    home: &Home,
    account: &Account,
    action: &Action,
    reply: &Outgoing,
) -> Result<Vec<Parent>, Error> {
    if action.thread.is_none() {
        return Ok(Vec::new());
    }
    let kept = home.state(&account.config.key, &name(reply)).await?;
    Ok(kept.and_then(|kept| serde_json::from_str(&kept).ok()).unwrap_or_default())
}

/// Remembers which posts of a reply are out.
pub(super) async fn remember(home: &Home, account: &Account, reply: &Outgoing, sent: &[Parent]) -> Result<(), Error> {
    let text = serde_json::to_string(sent).map_err(|error| Error::Home(error.to_string()))?;
    home.save_state(&account.config.key, &name(reply), &text).await
}

/// The plain values of a post that answers `before`, else the reply's target.
pub(super) fn plain(reply: &Outgoing, before: Option<&Parent>) -> Value {
    let target_ref = reply.target_local_ref.as_ref().unwrap_or(&reply.target_native_id);
    let parent_id = before.map_or(&reply.target_native_id, |before| &before.native_id);
    let parent_ref = before.map_or(target_ref, |before| before.local_ref.as_ref().unwrap_or(&before.native_id));
    context! {
        text => reply.text,
        target_native_id => reply.target_native_id,
        target_local_ref => target_ref,
        target_handle => reply.target_handle,
        target_conversation => reply.target_conversation.as_ref().unwrap_or(&reply.target_native_id),
        visibility => reply.visibility.as_deref().unwrap_or(""),
        idempotency_key => reply.idempotency_key,
        lang => if reply.lang == Lang::Und { "" } else { reply.lang.as_str() },
        parent_native_id => parent_id,
        parent_local_ref => parent_ref,
        root_native_id => reply.target_conversation.as_ref().unwrap_or(&reply.target_native_id),
        extra => reply.extra,
    }
}

/// The values of a post that answers `before`, else the reply's target; asks the platform for what the file wants to
/// know first. With what it keeps of the target.
///
/// # Errors
/// When the platform does not say.
pub(super) async fn values(
    account: &Account,
    action: &Action,
    reply: &Outgoing,
    before: Option<&Parent>,
) -> Result<(Value, BTreeMap<String, String>), Error> {
    let root = match (&action.target, before.and_then(|before| before.root.clone())) {
        (_, Some(known)) => known,
        (Some(target), None) => ask_for_target(account, target, &plain(reply, None)).await?,
        (None, None) => BTreeMap::new(),
    };
    let found = match action.facets {
        Some(_) => resolved(account, action, facets::find(&reply.text)).await?,
        None => Vec::new(),
    };
    let more = context! {
        parent => before.map_or(&root, |before| &before.values),
        root => root,
        facets => Value::from_serialize(&found),
        ..plain(reply, before)
    };
    let now = account.clock.now();
    Ok((context! { reply => more, now => now.to_string(), extra => reply.extra }, root))
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
