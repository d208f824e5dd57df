//! Sends one reply, and says what is known of it afterwards.

use minijinja::context;

use super::{
    Account, Error, Home,
    compose::{self, Parent},
    decode::decode,
    format::{Action, AnswerMap, BodyAs, Do, Idempotency, Lookup},
    limits::Price,
    map::time,
    request::Answer,
    template::Field,
};
use crate::{
    clock::Time,
    desk::{Outgoing, Receipt},
};

/// What is known of a reply after an attempt.
#[derive(Clone, Debug)]
pub(super) enum Outcome {
    /// The platform has it.
    Sent(Receipt),
    /// It may be sent again, at the soonest then: the platform does not have it, or would know it again.
    Later {
        /// What happened.
        why: String,
        /// When the platform will listen, if it said so.
        until: Option<Time>,
        /// The platform may have it already.
        doubtful: bool,
    },
    /// The platform refused it; a person decides.
    Failed(String),
    /// Nobody knows.
    Unknown(String),
}

/// What one reply takes from the budget.
fn price(action: &Action) -> Price<'static> {
    Price { of: "reply", units: action.cost, polling: false }
}

/// Sends `reply` through `account`: one post, or the posts of a thread that are not out yet.
pub(super) async fn send(account: &Account, home: &Home, action: &Action, reply: &Outgoing) -> Outcome {
    if let Some(allowed) = &action.allowed
        && !allowed.holds(&account.values(context! { extra => reply.extra })).unwrap_or(false)
    {
        return Outcome::Failed("the platform lets us answer only posts that speak to us; answer it on the platform".into());
    }
    let Some(parts) = compose::parts(action, reply) else {
        return Outcome::Failed("the text is longer than the platform takes; shorten it".into());
    };
    let name = format!("reply/{}", reply.id.0);
    let several = parts.len() > 1;
    let before = if several { compose::sent_before(home, account, &name).await } else { Ok(Vec::new()) };
    let mut sent: Vec<Parent> = match before {
        Ok(sent) => sent,
        Err(error) => return Outcome::Later { why: error.to_string(), until: None, doubtful: false },
    };
    for (number, text) in parts.iter().enumerate().skip(sent.len()) {
        let one = compose::part_of(reply, number, text);
        let (outcome, parent) = send_one(account, action, &one, sent.last()).await;
        let Outcome::Sent(receipt) = outcome else { return outcome };
        let root = sent.first().map_or_else(|| parent.root.clone(), |first| first.root.clone());
        sent.push(Parent { root, ..parent.of(&receipt) });
        // What is out must be known before the next one is, or it would be sent again.
        if several && let Err(error) = compose::remember(home, account, &name, &sent).await {
            return Outcome::Unknown(format!("{} of {} posts are out; {error}", sent.len(), parts.len()));
        }
    }
    match sent.into_iter().next().and_then(|first| first.receipt(account.clock.now())) {
        Some(receipt) => Outcome::Sent(receipt),
        None => Outcome::Failed("there is nothing to send".into()),
    }
}

/// Sends one post; the other value is what the next one would answer.
async fn send_one(account: &Account, action: &Action, reply: &Outgoing, before: Option<&Parent>) -> (Outcome, Parent) {
    let attempt = async {
        let prepared = async {
            account.identify().await?;
            compose::values(account, action, reply, before).await
        };
        let (values, parent) = prepared.await.map_err(|error| match error {
            // Nothing of the reply was sent, whatever became of the question.
            Error::Broken(why) => Error::Unreached(why),
            Error::Timeout(_) | Error::TooLarge(_) | Error::Garbage(_) => Error::Unreached(error.to_string()),
            other => other,
        })?;
        Ok((account.send(account.action_request(action, values)?, &price(action), None).await, parent))
    };
    match attempt.await {
        Err(error) => (judge(account, action, reply, error).await, Parent::default()),
        Ok((Err(error), parent)) => (judge(account, action, reply, error).await, parent),
        Ok((Ok(answer), parent)) => {
            let json = decode(&answer, BodyAs::Json).ok();
            let receipt = json.as_ref().and_then(|json| receipt(account, &action.answer, json));
            let parent = Parent { values: compose::kept(account, action, json.as_ref()), ..parent };
            match receipt {
                Some(receipt) => (Outcome::Sent(receipt), parent),
                None => (doubt(account, action, reply, "an answer without the new post").await, parent),
            }
        }
    }
}

/// What an error says of the reply.
async fn judge(account: &Account, action: &Action, reply: &Outgoing, error: Error) -> Outcome {
    let text = error.to_string();
    match error {
        Error::Spent(until) => Outcome::Later { why: text, until: Some(until), doubtful: false },
        Error::Unreached(_) | Error::Home(_) => Outcome::Later { why: text, until: None, doubtful: false },
        Error::Status { action: Do::BackOff | Do::Refresh, until, .. } => Outcome::Later { why: text, until, doubtful: false },
        Error::Status { action: Do::Gone, .. } => Outcome::Failed(format!("{text}: the post is gone")),
        // A gateway may say 5xx for a platform that has acted.
        Error::Status { status, .. } if status >= 500 => doubt(account, action, reply, &text).await,
        Error::Status { reason, .. } => Outcome::Failed(reason.map_or(text.clone(), |reason| format!("{text}: {reason}"))),
        Error::Broken(_) | Error::Timeout(_) | Error::TooLarge(_) | Error::Garbage(_) => {
            doubt(account, action, reply, &text).await
        }
        Error::Refused(_)
        | Error::Template { .. }
        | Error::Account { .. }
        | Error::File(_)
        | Error::Loop
        | Error::CursorLost => Outcome::Failed(text),
    }
}

/// What to do about a reply that the platform may or may not have.
pub(super) async fn doubt(account: &Account, action: &Action, reply: &Outgoing, why: &str) -> Outcome {
    let found = match &action.lookup {
        Some(lookup) => look_up(account, action, lookup, reply).await,
        None => Ok(None),
    };
    match (found, action.idempotency) {
        (Ok(Some(receipt)), _) => Outcome::Sent(receipt),
        (_, Idempotency::Key | Idempotency::ChosenId) => Outcome::Later { why: why.to_owned(), until: None, doubtful: true },
        // It may still be on its way: not found is not proof enough to post it in public again.
        (Ok(None), Idempotency::Lookup) => Outcome::Unknown(format!("{why}; not found among our posts")),
        (Err(error), _) => Outcome::Unknown(format!("{why}; looking it up: {error}")),
        (Ok(None), Idempotency::None) => Outcome::Unknown(why.to_owned()),
    }
}

/// Looks for a reply among the account's own posts.
async fn look_up(account: &Account, action: &Action, lookup: &Lookup, reply: &Outgoing) -> Result<Option<Receipt>, Error> {
    account.identify().await?;
    let values = account.values(context! { reply => compose::plain(reply) });
    let call = account.request(reqwest::Method::GET, &lookup.path, &lookup.query, &values)?;
    let answer: Answer = account.send(call, &Price { units: 1, ..price(action) }, None).await?;
    let answer = decode(&answer, BodyAs::Json)?;
    for item in lookup.records.all(&answer) {
        if lookup.when.holds(&context! { item => item, ..values.clone() })? {
            return Ok(receipt(account, &action.answer, item));
        }
    }
    Ok(None)
}

/// The new post's fields.
fn receipt(account: &Account, map: &AnswerMap, json: &serde_json::Value) -> Option<Receipt> {
    let (about, now) = (account.about(), account.clock.now());
    let text = |field: &Option<Field>| field.as_ref().and_then(|field| field.text(json, &about));
    Some(Receipt {
        native_id: map.native_id.text(json, &about)?,
        local_ref: text(&map.local_ref),
        url: text(&map.url).filter(|url| url.starts_with("https://") || url.starts_with("http://")),
        at: text(&map.posted_at).and_then(|text| time(&text, map.time_as)).unwrap_or(now),
    })
}
