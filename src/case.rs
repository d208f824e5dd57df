//! A case: what an agent works on, its states, and the kinds of event in its life.

use serde::{Deserialize, Serialize};

use crate::staff::AgentId;

/// Number of a case, as people say it: `#8123`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CaseId(pub i64);

/// Row id of a brand that the desk watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BrandId(pub i64);

/// Row id of an account of ours on a platform.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AccountId(pub i64);

/// Row id of a reply in the outbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ReplyId(pub i64);

/// Place in the one gap-free sequence of events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seq(pub i64);

/// Where a case stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Nobody has claimed it yet.
    New,
    /// Somebody works on it.
    Open,
    /// We asked the customer.
    WaitingCustomer,
    /// We asked somebody else.
    WaitingThirdParty,
    /// Done, unless the customer writes again within the reopen window.
    Resolved,
    /// Done for good.
    Closed,
}

impl Status {
    /// All of them, in the order of a case's life.
    pub const ALL: [Status; 6] =
        [Status::New, Status::Open, Status::WaitingCustomer, Status::WaitingThirdParty, Status::Resolved, Status::Closed];

    /// The word for it in JSON, URLs and the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::New => "new",
            Status::Open => "open",
            Status::WaitingCustomer => "waiting_customer",
            Status::WaitingThirdParty => "waiting_third_party",
            Status::Resolved => "resolved",
            Status::Closed => "closed",
        }
    }

    /// The status whose word is `word`.
    pub fn parse(word: &str) -> Option<Status> {
        Status::ALL.into_iter().find(|status| status.as_str() == word)
    }

    /// Somebody else's turn.
    pub fn waiting(self) -> bool {
        matches!(self, Status::WaitingCustomer | Status::WaitingThirdParty)
    }

    /// Still somebody's work.
    pub fn unfinished(self) -> bool {
        !matches!(self, Status::Resolved | Status::Closed)
    }
}

/// How much a case presses, apart from its clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    /// May wait.
    Low,
    /// The usual.
    #[default]
    Normal,
    /// Before the usual.
    High,
    /// Before everything else.
    Crisis,
}

impl Priority {
    /// All of them, least first; the store keeps the index.
    pub const ALL: [Priority; 4] = [Priority::Low, Priority::Normal, Priority::High, Priority::Crisis];

    /// The word for it in rules, JSON and URLs.
    pub fn as_str(self) -> &'static str {
        match self {
            Priority::Low => "low",
            Priority::Normal => "normal",
            Priority::High => "high",
            Priority::Crisis => "crisis",
        }
    }
}

/// Who did something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Actor {
    /// The pipeline, the alarm loop or the outbox.
    System,
    /// Somebody outside, on a platform.
    Customer,
    /// One of us.
    Agent(AgentId),
}

/// What happened: the kinds of the event sequence. Payloads carry ids and enums, never text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// A mention opened the case.
    Opened,
    /// A mention joined the case.
    Joined,
    /// A resolved case came back because the customer wrote again.
    Reopened,
    /// A mention was kept without a case.
    Folded,
    /// A mention of ours, or of neither side, was kept.
    Noted,
    /// A mention's text or facts changed.
    Edited,
    /// Newer rules judged a mention again, and otherwise.
    Rejudged,
    /// A mention was deleted by its author; its text is gone.
    Deleted,
    /// Somebody took the case.
    Claimed,
    /// Somebody put it back into the queue.
    GivenBack,
    /// It went to another team or person, with a reason.
    HandedOver,
    /// A person set the label.
    Labelled,
    /// A note to colleagues was written.
    NoteWritten,
    /// A reply entered the outbox.
    ReplyQueued,
    /// A reply was taken back by its writer before it left, or discarded after it was held back.
    ReplyUndone,
    /// The platform took a reply.
    ReplySent,
    /// The platform refused a reply.
    ReplyFailed,
    /// Nobody knows whether the platform took a reply.
    ReplyUnknown,
    /// A reply was held back: the desk came out of a backup or from another store.
    ReplyParked,
    /// We answered on the platform itself.
    AnsweredThere,
    /// We wait for the customer or a third party.
    Waiting,
    /// We wait no longer.
    WentOn,
    /// Somebody looked at the text of an abusive post.
    Revealed,
    /// Who had it took a break; it is back in its queue.
    Break,
    /// Done, with a disposition.
    Resolved,
    /// A clock passed a warning.
    Warned,
    /// A clock passed its deadline.
    Breached,
    /// A recorded breach was withdrawn: the platform's time proves the reply came in time.
    BreachWithdrawn,
    /// A clock was met in time.
    Met,
    /// A clock was met after its deadline.
    MetLate,
    /// A clock was cancelled, with a reason.
    ClockCancelled,
}

impl EventKind {
    /// All kinds; the store keeps the word.
    pub const ALL: [EventKind; 31] = {
        use EventKind::*;
        [
            Opened,
            Joined,
            Reopened,
            Folded,
            Noted,
            Edited,
            Rejudged,
            Deleted,
            Claimed,
            GivenBack,
            HandedOver,
            Labelled,
            NoteWritten,
            ReplyQueued,
            ReplyUndone,
            ReplySent,
            ReplyFailed,
            ReplyUnknown,
            ReplyParked,
            AnsweredThere,
            Waiting,
            WentOn,
            Revealed,
            Break,
            Resolved,
            Warned,
            Breached,
            BreachWithdrawn,
            Met,
            MetLate,
            ClockCancelled,
        ]
    };

    /// The word for it in JSON and in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            EventKind::Opened => "opened",
            EventKind::Joined => "joined",
            EventKind::Reopened => "reopened",
            EventKind::Folded => "folded",
            EventKind::Noted => "noted",
            EventKind::Edited => "edited",
            EventKind::Rejudged => "rejudged",
            EventKind::Deleted => "deleted",
            EventKind::Claimed => "claimed",
            EventKind::GivenBack => "given_back",
            EventKind::HandedOver => "handed_over",
            EventKind::Labelled => "labelled",
            EventKind::NoteWritten => "note_written",
            EventKind::ReplyQueued => "reply_queued",
            EventKind::ReplyUndone => "reply_undone",
            EventKind::ReplySent => "reply_sent",
            EventKind::ReplyFailed => "reply_failed",
            EventKind::ReplyUnknown => "reply_unknown",
            EventKind::ReplyParked => "reply_parked",
            EventKind::AnsweredThere => "answered_there",
            EventKind::Waiting => "waiting",
            EventKind::WentOn => "went_on",
            EventKind::Revealed => "revealed",
            EventKind::Break => "break",
            EventKind::Resolved => "resolved",
            EventKind::Warned => "warned",
            EventKind::Breached => "breached",
            EventKind::BreachWithdrawn => "breach_withdrawn",
            EventKind::Met => "met",
            EventKind::MetLate => "met_late",
            EventKind::ClockCancelled => "clock_cancelled",
        }
    }

    /// The kind whose word is `word`.
    pub fn parse(word: &str) -> Option<EventKind> {
        EventKind::ALL.into_iter().find(|kind| kind.as_str() == word)
    }
}

/// Where a reply stands on its way to the platform.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReplyState {
    /// Waits for its due time or for the platform.
    Queued,
    /// Committed as sending before the call was made.
    Sending,
    /// The platform has it.
    Sent,
    /// The platform refused it; a person decides.
    Failed,
    /// The call's outcome is not known; looked up or shown, never sent again by itself.
    Unknown,
    /// Taken back by its writer before it left, or discarded.
    Undone,
    /// Was on its way when the desk was copied, and may have gone since; a person decides.
    Parked,
}

impl ReplyState {
    /// All of them.
    pub const ALL: [ReplyState; 7] = [
        ReplyState::Queued,
        ReplyState::Sending,
        ReplyState::Sent,
        ReplyState::Failed,
        ReplyState::Unknown,
        ReplyState::Undone,
        ReplyState::Parked,
    ];

    /// The word for it in JSON and in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            ReplyState::Queued => "queued",
            ReplyState::Sending => "sending",
            ReplyState::Sent => "sent",
            ReplyState::Failed => "failed",
            ReplyState::Unknown => "unknown",
            ReplyState::Undone => "undone",
            ReplyState::Parked => "parked",
        }
    }

    /// The state whose word is `word`.
    pub fn parse(word: &str) -> Option<ReplyState> {
        ReplyState::ALL.into_iter().find(|state| state.as_str() == word)
    }
}
