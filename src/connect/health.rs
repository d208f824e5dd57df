//! How each stream fares, for people; and the breaker that spares a platform which is down.

use std::{collections::BTreeMap, sync::PoisonError, time::Duration};

use serde::{Deserialize, Serialize};

use super::{Account, Error, Walk, limits::back_off};
use crate::{clock::Time, desk::STATUS};

/// Failures in a row of all streams of an account after which it is only probed.
const OPENS_AT: u32 = 5;

/// How often a changed status is written at most, where its state is the same.
const WRITTEN_EVERY: Duration = Duration::from_secs(5);

/// What a stream does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Its last walk went well.
    Up,
    /// It failed and will be tried again, or has not begun.
    #[default]
    Waiting,
    /// The platform or an allowance lets it ask no more for now.
    Limited,
    /// The whole account fails; it is probed now and then.
    Open,
    /// Only a person can put it right.
    Stopped,
    /// A person paused it.
    Paused,
}

/// What is left of an allowance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BudgetStatus {
    /// Its name in the connector file.
    pub name: String,
    /// Units left.
    pub left: u64,
    /// Units of a whole window.
    pub of: u64,
    /// When it is full again.
    pub resets_at: Time,
}

/// Failures of one kind since the start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailureStatus {
    /// The word for it in `moksori_connect_requests_total`.
    pub kind: String,
    /// How many.
    pub count: u64,
    /// The last one, in words.
    pub last: String,
    /// What helps: `wait`, `access`, `network`, `connector`, `settings` or `store`.
    pub remedy: String,
}

/// How one stream fares. The console shows it, `moksori_connect_stream_up` counts it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Key of the account.
    pub account: String,
    /// Its connector.
    pub connector: String,
    /// The stream; with its tag or query where it has one.
    pub stream: String,
    /// What it does.
    pub state: State,
    /// When a walk last went well.
    pub last_success: Option<Time>,
    /// The newest post that it has brought.
    pub newest: Option<Time>,
    /// How fresh its mentions shall be.
    #[serde(with = "crate::clock::span")]
    pub goal: Duration,
    /// What is left of the account's allowances.
    pub budget: Vec<BudgetStatus>,
    /// Failures by kind.
    pub failures: Vec<FailureStatus>,
    /// When it comes again.
    pub next_at: Time,
}

/// How an account fares.
#[derive(Debug, Default)]
pub(super) struct Health {
    streams: BTreeMap<String, Status>,
    in_a_row: u32,
    probe_at: Time,
    written_at: Time,
    changed: bool,
}

impl Health {
    /// Whether the whole account is down.
    fn open(&self) -> bool {
        self.in_a_row >= OPENS_AT
    }

    /// Takes in a failure or a success of the platform.
    fn take_in(&mut self, error: Option<&Error>) {
        match error {
            None => self.in_a_row = 0,
            Some(error) if error.platform_is_down() => {
                self.in_a_row = self.in_a_row.saturating_add(1);
            }
            Some(_) => {}
        }
    }
}

impl Error {
    /// Whether it speaks of the platform as a whole, not of one request.
    fn platform_is_down(&self) -> bool {
        match self {
            Error::Status { status, .. } => *status >= 500,
            Error::Unreached(_) | Error::Broken(_) | Error::Timeout(_) | Error::TooLarge(_) | Error::Garbage(_) => true,
            _ => false,
        }
    }

    /// What helps against it, as a key for the pages.
    fn remedy(&self) -> &'static str {
        match self {
            Error::Spent(_) | Error::Status { status: 429, .. } => "wait",
            Error::Status { status: 401 | 403, .. } => "access",
            Error::Status { status, .. } if *status >= 500 => "wait",
            Error::Unreached(_) | Error::Broken(_) | Error::Timeout(_) => "network",
            Error::Account { .. } | Error::Refused(_) => "settings",
            Error::Home(_) => "store",
            _ => "connector",
        }
    }
}

impl Account {
    /// Whether a stream may ask now: of an account that is down one does, once in a while.
    ///
    /// # Errors
    /// When the next one may.
    pub(super) fn permit(&self, now: Time) -> Result<(), Time> {
        let mut health = self.health.lock().unwrap_or_else(PoisonError::into_inner);
        if !health.open() {
            return Ok(());
        }
        if now < health.probe_at {
            return Err(health.probe_at);
        }
        health.probe_at = now.plus(back_off(health.in_a_row).max(self.config.interval));
        Ok(())
    }

    /// Remembers when the newest post of a stream was posted.
    pub(super) fn newest(&self, name: &str, at: Option<Time>) {
        let mut health = self.health.lock().unwrap_or_else(PoisonError::into_inner);
        let status = health.streams.entry(name.to_owned()).or_insert_with(|| self.unknown_status(name));
        status.newest = status.newest.max(at);
    }

    /// Notes what became of a walk, and tells the store now and then.
    pub(super) async fn note(&self, name: &str, result: &Result<Walk, Error>, next_at: Time) {
        let now = self.clock.now();
        let told = {
            let mut health = self.health.lock().unwrap_or_else(PoisonError::into_inner);
            health.take_in(result.as_ref().err());
            let open = health.open();
            let status = health.streams.entry(name.to_owned()).or_insert_with(|| self.unknown_status(name));
            let before = status.state;
            status.next_at = next_at;
            match result {
                Ok(_) => {
                    status.state = State::Up;
                    status.last_success = Some(now);
                }
                Err(error) => {
                    status.state = match error {
                        Error::Spent(_) | Error::Status { status: 429, .. } => State::Limited,
                        error if !error.is_retryable() => State::Stopped,
                        _ if open => State::Open,
                        _ => State::Waiting,
                    };
                    add(&mut status.failures, error);
                }
            }
            health.changed |= before != status_of(&health.streams, name);
            health.told(now)
        };
        if told {
            self.tell().await;
        }
        self.keep_budget().await;
    }

    /// A stream of which nothing is known but its name.
    pub(super) fn unknown_status(&self, name: &str) -> Status {
        Status {
            account: self.config.key.clone(),
            connector: self.file.connector.clone(),
            stream: name.split_once('/').map_or(name, |(_, stream)| stream).to_owned(),
            state: State::Waiting,
            last_success: None,
            newest: None,
            goal: self.config.interval,
            budget: Vec::new(),
            failures: Vec::new(),
            next_at: Time(0),
        }
    }

    /// How the account's streams fare.
    pub fn statuses(&self) -> Vec<Status> {
        let allowances = self.budget.lock().unwrap_or_else(PoisonError::into_inner).allowances();
        let budget: Vec<BudgetStatus> =
            allowances.into_iter().map(|(name, left, of, resets_at)| BudgetStatus { name, left, of, resets_at }).collect();
        let health = self.health.lock().unwrap_or_else(PoisonError::into_inner);
        health.streams.values().map(|status| Status { budget: budget.clone(), ..status.clone() }).collect()
    }

    async fn tell(&self) {
        let Some(keeper) = self.keeper.get() else { return };
        let Ok(text) = serde_json::to_string(&self.statuses()) else { return };
        if let Err(error) = keeper.home.save_state(&self.config.key, STATUS, &text).await {
            tracing::debug!(account = %self.config.key, "the status of {} could not be kept: {error}", self.config.key);
        }
    }

    /// Goes on with what was left of the allowances before a restart.
    pub(super) async fn recall_budget(&self) -> Result<(), Error> {
        let (Some(keeper), false) = (self.keeper.get(), self.file.limits.budgets.is_empty()) else { return Ok(()) };
        self.recalled
            .get_or_try_init(async || {
                if let Some(kept) = keeper.home.state(&self.config.key, "budgets").await? {
                    self.budget.lock().unwrap_or_else(PoisonError::into_inner).restore(&kept);
                }
                Ok(())
            })
            .await
            .copied()
    }

    /// Keeps what is left of the allowances.
    pub(super) async fn keep_budget(&self) {
        let kept = self.budget.lock().unwrap_or_else(PoisonError::into_inner).to_keep();
        let (Some(keeper), Some(kept)) = (self.keeper.get(), kept) else { return };
        if let Err(error) = keeper.home.save_state(&self.config.key, "budgets", &kept).await {
            tracing::debug!(account = %self.config.key, "what is left of the allowances could not be kept: {error}");
        }
    }
}

impl Health {
    /// Whether the store is to be told now.
    fn told(&mut self, now: Time) -> bool {
        let due = self.changed || now >= self.written_at.plus(WRITTEN_EVERY);
        if due {
            self.written_at = now;
            self.changed = false;
        }
        due
    }
}

fn status_of(streams: &BTreeMap<String, Status>, name: &str) -> State {
    streams.get(name).map(|status| status.state).unwrap_or_default()
}

fn add(failures: &mut Vec<FailureStatus>, error: &Error) {
    let (kind, last, remedy) = (error.word(), error.to_string(), error.remedy().to_owned());
    match failures.iter_mut().find(|one| one.kind == kind) {
        Some(one) => {
            one.count += 1;
            one.last = last;
            one.remedy = remedy;
        }
        None => failures.push(FailureStatus { kind: kind.to_owned(), count: 1, last, remedy }),
    }
}
