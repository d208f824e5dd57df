//! Sends one reply, and says what is known of it afterwards.

use minijinja::{Value, context};
use reqwest::Method;

use super::{
    Account, Error,
    account::json,
    format::{Action, AnswerMap, Do, Idempotency, Lookup},
    map::time,
    request::Answer,
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

/// The values of a reply's templates.
fn values(reply: &Outgoing) -> Value {
    context! {
        reply => context! {
            text => reply.text,
            target_native_id => reply.target_native_id,
            target_local_ref => reply.target_local_ref.as_ref().unwrap_or(&reply.target_native_id),
            target_handle => reply.target_handle,
            visibility => reply.visibility.as_deref().unwrap_or(""),
            idempotency_key => reply.idempotency_key,
            lang => if reply.lang == crate::mention::Lang::Und { "" } else { reply.lang.as_str() },
        }
    }
}

/// Sends `reply` through `account`.
pub(super) async fn send(account: &Account, action: &Action, reply: &Outgoing) -> Outcome {
    let attempt = async {
        account.identify().await.map_err(|error| match error {
            // Nothing of the reply was sent, whatever became of the question.
            Error::Broken(why) => Error::Unreached(why),
            Error::Timeout(_) | Error::TooLarge(_) | Error::Garbage(_) => Error::Unreached(error.to_string()),
            other => other,
        })?;
        account.send(account.action_request(action, values(reply))?, false).await
    };
    match attempt.await {
        Ok(answer) => match json(&answer).ok().and_then(|json| receipt(account, &action.answer, &json)) {
            Some(receipt) => Outcome::Sent(receipt),
            None => doubt(account, action, reply, "an answer without the new post").await,
        },
        Err(error) => judge(account, action, reply, error).await,
    }
}

/// What an error says of the reply.
async fn judge(account: &Account, action: &Action, reply: &Outgoing, error: Error) -> Outcome {
    let text = error.to_string();
    match error {
        Error::Spent(until) => Outcome::Later { why: text, until: Some(until), doubtful: false },
        Error::Unreached(_) | Error::Home(_) => Outcome::Later { why: text, until: None, doubtful: false },
        Error::Status { action: Do::BackOff | Do::Refresh, until, .. } => Outcome::Later { why: text, until, doubtful: false },
        // A gateway may say 5xx for a platform that has acted.
        Error::Status { status, .. } if status >= 500 => doubt(account, action, reply, &text).await,
        Error::Status { reason, .. } => Outcome::Failed(reason.map_or(text.clone(), |reason| format!("{text}: {reason}"))),
        Error::Broken(_) | Error::Timeout(_) | Error::TooLarge(_) | Error::Garbage(_) => {
            doubt(account, action, reply, &text).await
        }
        Error::Refused(_) | Error::Template { .. } | Error::Account { .. } | Error::File(_) | Error::Loop => {
            Outcome::Failed(text)
        }
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
    let values = account.values(values(reply));
    let answer: Answer = account.send(account.request(Method::GET, &lookup.path, &lookup.query, &values)?, false).await?;
    let answer = json(&answer)?;
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
    let text = |field: &Option<super::template::Field>| field.as_ref().and_then(|field| field.text(json, &about));
    Some(Receipt {
        native_id: map.native_id.text(json, &about)?,
        local_ref: text(&map.local_ref),
        url: text(&map.url).filter(|url| url.starts_with("https://") || url.starts_with("http://")),
        at: text(&map.posted_at).and_then(|text| time(&text, map.time_as)).unwrap_or(now),
    })
}
