//! What is due when: policies, business calendars, and the clocks of a case. Pure: no I/O, no wall clock.
//!
//! The desk asks [`Policies::choose`] for the policy of a case, [`start`]s its clocks, and passes every
//! event that touches a clock through [`SlaClock`]; what comes back as [`Fired`] it writes as events.
//! The store keeps each field of a clock in a column and wakes the desk at `next_fire_at`.

use std::{fmt, sync::Arc};

use serde::Deserialize;

mod calendar;
mod clock;
mod file;
mod policy;

pub use calendar::Calendar;
pub use clock::{SlaClock, promise, start};
pub use policy::{Facts, Policies, Policy, Warn};

/// What a clock waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Somebody claims the case or confirms its label.
    Triage,
    /// The first public reply of a person.
    FirstResponse,
    /// The answer to the oldest customer post since our last reply.
    NextResponse,
    /// The case is resolved; the only kind that pauses.
    Resolution,
    /// The next update that we owe.
    Progress,
    /// A time that we named; set with [`promise`], never by a policy.
    Promise,
}

impl Kind {
    /// All of them, in the order of a case's life.
    pub const ALL: [Kind; 6] =
        [Kind::Triage, Kind::FirstResponse, Kind::NextResponse, Kind::Resolution, Kind::Progress, Kind::Promise];

    /// The word for it in rules, JSON and the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Triage => "triage",
            Kind::FirstResponse => "first_response",
            Kind::NextResponse => "next_response",
            Kind::Resolution => "resolution",
            Kind::Progress => "progress",
            Kind::Promise => "promise",
        }
    }

    /// The kind whose word is `word`.
    pub fn parse(word: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.as_str() == word)
    }
}

/// Where a clock stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Time runs, the deadline is ahead.
    Running,
    /// Time stands still; there is no deadline now.
    Paused,
    /// Past the deadline and still owed.
    Breached,
    /// Done in time.
    Met,
    /// Done after the deadline.
    MetLate,
    /// Nothing is owed any more, for a reason.
    Cancelled,
}

impl State {
    /// All of them.
    pub const ALL: [State; 6] = [State::Running, State::Paused, State::Breached, State::Met, State::MetLate, State::Cancelled];

    /// The word for it in JSON and in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Running => "running",
            State::Paused => "paused",
            State::Breached => "breached",
            State::Met => "met",
            State::MetLate => "met_late",
            State::Cancelled => "cancelled",
        }
    }

    /// The state whose word is `word`.
    pub fn parse(word: &str) -> Option<State> {
        State::ALL.into_iter().find(|state| state.as_str() == word)
    }

    /// Something is still owed.
    pub fn open(self) -> bool {
        matches!(self, State::Running | State::Paused | State::Breached)
    }
}

/// Which moment a clock counts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// When the customer posted, to the second by the source's word.
    Posted,
    /// When we first saw the post, because the source does not say better.
    Ingested,
}

impl Origin {
    /// All of them.
    pub const ALL: [Origin; 2] = [Origin::Posted, Origin::Ingested];

    /// The word for it in rules, JSON and the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Origin::Posted => "posted",
            Origin::Ingested => "ingested",
        }
    }

    /// The origin whose word is `word`.
    pub fn parse(word: &str) -> Option<Origin> {
        Origin::ALL.into_iter().find(|origin| origin.as_str() == word)
    }
}

/// Why a resolution clock stands still.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PauseReason {
    /// We asked the customer.
    WaitingCustomer,
    /// We asked somebody else.
    WaitingThirdParty,
    /// The law forbids us to go on.
    LegalHold,
}

impl PauseReason {
    /// All of them.
    pub const ALL: [PauseReason; 3] = [PauseReason::WaitingCustomer, PauseReason::WaitingThirdParty, PauseReason::LegalHold];

    /// The word for it in rules, JSON and the store.
    pub fn as_str(self) -> &'static str {
        match self {
            PauseReason::WaitingCustomer => "waiting_customer",
            PauseReason::WaitingThirdParty => "waiting_third_party",
            PauseReason::LegalHold => "legal_hold",
        }
    }

    /// The reason whose word is `word`.
    pub fn parse(word: &str) -> Option<PauseReason> {
        PauseReason::ALL.into_iter().find(|reason| reason.as_str() == word)
    }
}

/// Why a clock was cancelled; counted, so that marking as spam is no way to hit targets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CancelReason {
    /// The post was spam.
    Spam,
    /// The same post came twice.
    Duplicate,
    /// The author or the platform took the post down.
    Deleted,
    /// The case went into another, which took over the clock's origin.
    Merged,
    /// A person decided that no reply is due.
    NoReplyNeeded,
    /// The case was resolved, so that this clock has nothing left to wait for.
    Resolved,
    /// The case's new policy has no target of this kind.
    PolicyChange,
    /// Started in error: a join undone, a label corrected.
    Mistake,
}

impl CancelReason {
    /// All of them.
    pub const ALL: [CancelReason; 8] = [
        CancelReason::Spam,
        CancelReason::Duplicate,
        CancelReason::Deleted,
        CancelReason::Merged,
        CancelReason::NoReplyNeeded,
        CancelReason::Resolved,
        CancelReason::PolicyChange,
        CancelReason::Mistake,
    ];

    /// The word for it in JSON and in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            CancelReason::Spam => "spam",
            CancelReason::Duplicate => "duplicate",
            CancelReason::Deleted => "deleted",
            CancelReason::Merged => "merged",
            CancelReason::NoReplyNeeded => "no_reply_needed",
            CancelReason::Resolved => "resolved",
            CancelReason::PolicyChange => "policy_change",
            CancelReason::Mistake => "mistake",
        }
    }

    /// The reason whose word is `word`.
    pub fn parse(word: &str) -> Option<CancelReason> {
        CancelReason::ALL.into_iter().find(|reason| reason.as_str() == word)
    }
}

/// What put a clock past its deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BreachReason {
    /// Time ran out.
    Deadline,
    /// A new policy's target was already used up; breached at the change, never back-dated.
    PolicyChange,
    /// A merged case brought an earlier origin.
    Merge,
}

impl BreachReason {
    /// All of them.
    pub const ALL: [BreachReason; 3] = [BreachReason::Deadline, BreachReason::PolicyChange, BreachReason::Merge];

    /// The word for it in JSON and in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            BreachReason::Deadline => "deadline",
            BreachReason::PolicyChange => "policy_change",
            BreachReason::Merge => "merge",
        }
    }

    /// The reason whose word is `word`.
    pub fn parse(word: &str) -> Option<BreachReason> {
        BreachReason::ALL.into_iter().find(|reason| reason.as_str() == word)
    }
}

/// Name and version of a policy, as a clock remembers it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PolicyRef {
    /// The policy's id in the rules.
    pub id: Arc<str>,
    /// The published version of the rules it stood in.
    pub version: u32,
}

impl fmt::Display for PolicyRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.id, self.version)
    }
}

/// What one transition of a clock caused; each becomes one event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fired {
    /// A warning became due.
    Warned {
        /// Its place in the policy's list, and its bit in [`SlaClock::fired`].
        threshold: u32,
        /// When it was due; earlier than now if we were late.
        at: crate::clock::Time,
    },
    /// The deadline passed.
    Breached {
        /// The deadline.
        at: crate::clock::Time,
    },
    /// The platform's time proves a reply to have been in time; [`Fired::Met`] follows.
    BreachWithdrawn,
    /// Done in time.
    Met,
    /// Done, too late.
    MetLate,
    /// Nothing is owed any more.
    Cancelled(CancelReason),
}

/// Why a set of policies and calendars was refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A file says something that cannot be used.
    #[error("read {file}:{line}: `{key}`: {problem}")]
    Refused {
        /// Name of the file as it was given.
        file: String,
        /// Line, from 1.
        line: usize,
        /// The key that holds it.
        key: String,
        /// What is wrong, and what to write instead.
        problem: String,
    },
    /// None of the files has a policy.
    #[error("read the sla policies: there is none in {files}; add a [[policy]] without `when` as the default")]
    NoPolicy {
        /// The files that were read.
        files: String,
    },
}

impl Error {
    /// Never: the files must change first.
    pub fn is_retryable(&self) -> bool {
        false
    }
}
