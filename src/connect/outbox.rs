//! Delivers replies: what agents wrote leaves here, once.
//!
//! A reply is committed as `sending` before the platform is called, so after a crash it is in doubt,
//! never forgotten. With a key that the platform remembers it is sent again; else it is looked up, or
//! shown to a person. Nothing is posted twice on a guess.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use super::{
    Account, Error, Home,
    action::{Outcome, send, settle},
    format::Action,
    limits::back_off,
};
use crate::{
    case::ReplyId,
    clock::Time,
    crash,
    desk::{Capability, Outgoing},
    text::LengthRule,
};

/// Attempts after which a person decides; with back-off that is over half an hour.
const ATTEMPTS: u32 = 12;

/// The replies of all accounts.
#[derive(Debug)]
pub struct Outbox {
    home: Home,
    accounts: BTreeMap<String, Arc<Account>>,
    doubtful: BTreeSet<ReplyId>,
    /// What a platform said and the desk could not take: told again before the next reply leaves.
    untold: Option<(Arc<Account>, Outgoing, Outcome)>,
}

impl Outbox {
    /// An outbox for the accounts whose platforms take replies.
    pub fn new(home: Home, accounts: &[Arc<Account>]) -> Outbox {
        for account in accounts {
            account.keep_at(&home, None);
        }
        let accounts = accounts.iter().map(|account| (account.config.key.clone(), account.clone())).collect();
        Outbox { home, accounts, doubtful: BTreeSet::new(), untold: None }
    }

    /// Tells the desk what each account can do.
    ///
    /// # Errors
    /// When the desk does not take it.
    pub async fn announce(&self) -> Result<(), Error> {
        for (key, account) in &self.accounts {
            let action = account.file.reply();
            let parts = action.and_then(|action| action.thread.as_ref()).map(|thread| thread.max);
            let length = action.and_then(|action| action.length.clone()).map(|length| LengthRule { parts, ..length });
            self.home.set_account(key, Capability { reply: action.is_some(), length }).await?;
        }
        Ok(())
    }

    /// Settles what a crash left in doubt of these accounts; asked once, at start.
    ///
    /// # Errors
    /// When the desk cannot be asked or told.
    pub async fn settle(&mut self) -> Result<(), Error> {
        self.tell().await?;
        for reply in self.home.replies_in_doubt().await? {
            let Some((account, action)) = self.way(&reply) else { continue };
            let outcome = settle(&account, &self.home, &action, &reply).await?;
            self.untold = Some((account, reply, outcome));
            self.tell().await?;
        }
        Ok(())
    }

    /// Shows to people what a crash left in doubt of accounts that can reply no more.
    ///
    /// # Errors
    /// When the desk cannot be asked or told.
    pub(super) async fn give_up_orphans(&self) -> Result<(), Error> {
        for reply in self.home.replies_in_doubt().await? {
            if self.way(&reply).is_none() {
                self.home.reply_unknown(reply.id, "its account takes no replies any more").await?;
            }
        }
        Ok(())
    }

    /// Sends one reply that is due; false if there is none.
    ///
    /// # Errors
    /// When the desk cannot be asked or told.
    pub async fn step(&mut self) -> Result<bool, Error> {
        self.tell().await?;
        let able = self.accounts.iter().filter(|(_, account)| account.file.reply().is_some());
        let keys: Vec<String> = able.map(|(key, _)| key.clone()).collect();
        let Some(reply) = self.home.take_reply(&keys).await? else { return Ok(false) };
        match self.way(&reply) {
            Some((account, action)) => {
                crash::point("outbox");
                let outcome = send(&account, &self.home, &action, &reply).await;
                crash::point("outbox");
                self.untold = Some((account, reply, outcome));
                self.tell().await?;
            }
            None => self.home.reply_failed(reply.id, "its account takes no replies", None).await?,
        }
        Ok(true)
    }

    /// When to look again for replies, if none is queued meanwhile.
    pub(super) async fn next_due(&self, now: Time) -> Result<Time, Error> {
        // What is due and was not taken is another account's: it must not keep this loop busy.
        Ok(self.home.next_reply_due().await?.map_or(Time::NEVER, |due| due.max(now.plus(Duration::from_millis(250)))))
    }

    fn way(&self, reply: &Outgoing) -> Option<(Arc<Account>, Action)> {
        let account = self.accounts.get(&reply.account)?;
        Some((account.clone(), account.file.reply()?.clone()))
    }

    /// Tells the desk what became of the last reply, if it does not know yet.
    async fn tell(&mut self) -> Result<(), Error> {
        let Some((account, reply, outcome)) = self.untold.take() else { return Ok(()) };
        let told = self.report(&account, &reply, outcome.clone()).await;
        if told.is_err() {
            self.untold = Some((account, reply, outcome));
        }
        told
    }

    async fn report(&mut self, account: &Account, reply: &Outgoing, outcome: Outcome) -> Result<(), Error> {
        let word = match outcome {
            Outcome::Sent(receipt) => {
                self.home.reply_sent(reply.id, receipt).await?;
                "sent"
            }
            Outcome::Later { why, until, doubtful } if reply.attempts < ATTEMPTS => {
                self.doubtful.extend(doubtful.then_some(reply.id));
                let soon = account.clock.now().plus(back_off(reply.attempts));
                self.home.reply_failed(reply.id, &why, Some(until.unwrap_or(soon).max(soon))).await?;
                "retried"
            }
            Outcome::Later { why, doubtful, .. } if doubtful || self.doubtful.contains(&reply.id) => {
                self.home.reply_unknown(reply.id, &why).await?;
                "unknown"
            }
            Outcome::Later { why, .. } | Outcome::Failed(why) => {
                self.home.reply_failed(reply.id, &why, None).await?;
                "failed"
            }
            Outcome::Unknown(why) => {
                self.home.reply_unknown(reply.id, &why).await?;
                "unknown"
            }
        };
        if word != "retried" {
            self.doubtful.remove(&reply.id);
        }
        account.metrics.replies.with_label_values(&[account.file.connector.as_str(), word]).inc();
        Ok(())
    }
}
