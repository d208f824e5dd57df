//! Sends one reply, and says what is known of it afterwards.

use minijinja::context;

use super::{
    Account, Error, Home,
    compose::{self, Parent},
    decode::decode,
    format::{Action, BodyAs, Do, Idempotency, Lookup},
    limits::Price,
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
    match compose::sent_before(home, account, action, reply).await {
        Ok(sent) => deliver(account, home, action, reply, sent, false).await,
        Err(error) => unsent(error),
    }
}

/// Settles a reply that was being sent when the process ended: what is in doubt is looked for, the rest is sent.
///
/// # Errors
/// When the desk does not say which of its posts are out.
pub(super) async fn settle(account: &Account, home: &Home, action: &Action, reply: &Outgoing) -> Result<Outcome, Error> {
    let sent = compose::sent_before(home, account, action, reply).await?;
    Ok(deliver(account, home, action, reply, sent, true).await)
}

/// Sends what comes after `sent`; the first of it may be out already where it is `in_doubt`.
async fn deliver(
    account: &Account,
    home: &Home,
    action: &Action,
    reply: &Outgoing,
    mut sent: Vec<Parent>,
    mut in_doubt: bool,
) -> Outcome {
    if let Some(allowed) = &action.allowed
        && !allowed.holds(&account.values(context! { extra => reply.extra })).unwrap_or(false)
    {
        return Outcome::Failed("the platform lets us answer only posts that speak to us; answer it on the platform".into());
    }
    let Some(parts) = compose::parts(action, reply) else {
        return Outcome::Failed("the text is longer than the platform takes; shorten it".into());
    };
    for (number, text) in parts.iter().enumerate().skip(sent.len()) {
        let one = compose::part_of(reply, number, text);
        let post = Post { account, action, reply: &one, before: sent.last() };
        let out = if in_doubt { post.settle().await } else { post.send().await };
        in_doubt = false;
        match out {
            Ok(out) => sent.push(out),
            Err(outcome) => return outcome.after(sent.len(), parts.len()),
        }
        // What is out must be known before the next one is, or it would be sent again.
        if parts.len() > 1
            && let Err(error) = compose::remember(home, account, reply, &sent).await
        {
            return Outcome::Unknown(error.to_string()).after(sent.len(), parts.len());
        }
    }
    match sent.into_iter().next() {
        Some(first) => Outcome::Sent(first.receipt()),
        None => Outcome::Failed("there is nothing to send".into()),
    }
}

impl Outcome {
    /// What became of a thread of which `out` posts of `all` are out.
    fn after(self, out: usize, all: usize) -> Outcome {
        let told = |why: String| if out == 0 { why } else { format!("{out} of {all} posts are out; {why}") };
        match self {
            Outcome::Sent(receipt) => Outcome::Sent(receipt),
            Outcome::Later { why, until, doubtful } => Outcome::Later { why: told(why), until, doubtful },
            Outcome::Failed(why) => Outcome::Failed(told(why)),
            Outcome::Unknown(why) => Outcome::Unknown(told(why)),
        }
    }
}

/// One post of a reply.
struct Post<'reply> {
    account: &'reply Account,
    action: &'reply Action,
    reply: &'reply Outgoing,
    /// The post of its thread that it answers, which is not the first one's case.
    before: Option<&'reply Parent>,
}

impl Post<'_> {
    /// Sends it.
    ///
    /// # Errors
    /// What is known of it instead.
    async fn send(&self) -> Result<Parent, Outcome> {
        let prepared = async {
            self.account.identify().await?;
            let (values, root) = compose::values(self.account, self.action, self.reply, self.before).await?;
            Ok((self.account.action_request(self.action, values)?, root))
        };
        // Nothing of it has been sent, whatever became of the questions.
        let (call, root) = prepared.await.map_err(unsent)?;
        match self.account.send(call, &price(self.action), None).await {
            Ok(answer) => {
                let json = decode(&answer, BodyAs::Json).ok();
                match json.and_then(|json| Parent::of(self.account, &self.action.answer, &json)) {
                    Some(out) => Ok(Parent { root: Some(root), ..out }),
                    None => self.doubt("an answer without the new post").await,
                }
            }
            Err(error) if acted(&error) => self.doubt(&error.to_string()).await,
            Err(error) => Err(unsent(error)),
        }
    }

    /// Sends it unless it is out; nobody knows whether the call before was heard.
    async fn settle(&self) -> Result<Parent, Outcome> {
        // Keys are forgotten in time, and some servers know none: a look comes first where there is one.
        match self.doubt("stopped while it was being sent").await {
            Err(Outcome::Later { .. }) => self.send().await,
            known => known,
        }
    }

    /// What to do about a post that the platform may or may not have.
    async fn doubt(&self, why: &str) -> Result<Parent, Outcome> {
        let found = match &self.action.lookup {
            Some(lookup) => self.look_up(lookup).await,
            None => Ok(None),
        };
        Err(match (found, self.action.idempotency) {
            (Ok(Some(out)), _) => return Ok(out),
            (_, Idempotency::Key | Idempotency::ChosenId) => {
                Outcome::Later { why: why.to_owned(), until: None, doubtful: true }
            }
            // It may still be on its way: not found is not proof enough to post it in public again.
            (Ok(None), Idempotency::Lookup) => Outcome::Unknown(format!("{why}; not found among our posts")),
            (Err(error), _) => Outcome::Unknown(format!("{why}; looking it up: {error}")),
            (Ok(None), Idempotency::None) => Outcome::Unknown(why.to_owned()),
        })
    }

    /// Looks for it among the account's own posts.
    async fn look_up(&self, lookup: &Lookup) -> Result<Option<Parent>, Error> {
        let Post { account, action, reply, before } = self;
        account.identify().await?;
        let values = account.values(context! { reply => compose::plain(reply, *before) });
        let call = account.request(reqwest::Method::GET, &lookup.path, &lookup.query, &values)?;
        let answer = decode(&account.send(call, &Price { units: 1, ..price(action) }, None).await?, BodyAs::Json)?;
        for item in lookup.records.all(&answer) {
            if lookup.when.holds(&context! { item => item, ..values.clone() })? {
                let root = before.and_then(|before| before.root.clone());
                return Ok(Parent::of(account, &action.answer, item).map(|out| Parent { root, ..out }));
            }
        }
        Ok(None)
    }
}

/// Whether the platform may have acted on a call that ended so.
fn acted(error: &Error) -> bool {
    match error {
        // A gateway may say 5xx for a platform that has acted, and some send whoever has posted elsewhere.
        Error::Status { status, action, .. } => {
            !matches!(action, Do::BackOff | Do::Refresh | Do::Gone) && (*status >= 500 || *action == Do::Retry)
        }
        Error::Broken(_) | Error::Timeout(_) | Error::TooLarge(_) | Error::Garbage(_) => true,
        _ => false,
    }
}

/// What an error says of a post that the platform does not have.
fn unsent(error: Error) -> Outcome {
    let why = error.to_string();
    match error {
        Error::Spent(until) => Outcome::Later { why, until: Some(until), doubtful: false },
        Error::Status { action: Do::Gone, .. } => Outcome::Failed(format!("{why}: the post is gone")),
        Error::Status { status, action, until, .. }
            if status >= 500 || matches!(action, Do::BackOff | Do::Refresh | Do::Retry) =>
        {
            Outcome::Later { why, until, doubtful: false }
        }
        Error::Status { reason, .. } => Outcome::Failed(reason.map_or(why.clone(), |reason| format!("{why}: {reason}"))),
        error if error.is_retryable() => Outcome::Later { why, until: None, doubtful: false },
        _ => Outcome::Failed(why),
    }
}
