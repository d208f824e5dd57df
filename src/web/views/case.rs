//! The case page: header, thread, composer, contact and log.

use askama::Template;

use super::{Choice, ClockView, Frame, LabelView, Lookalike, Place, Receiver};
use crate::{
    case::{EventKind, ReplyState, Status},
    clock::Time,
    mention::{Lang, Reason},
    web::format,
};

/// A post of the thread.
#[derive(Clone, Debug, Default)]
pub struct Passage {
    /// Row id of the mention.
    pub id: i64,
    /// Who wrote it, without the @.
    pub handle: String,
    /// The text, or what is told of it.
    pub text: String,
    /// The text is abuse and not shown.
    pub masked: bool,
    /// It is the first such post of the thread.
    pub first_masked: bool,
    /// Its language.
    pub lang: Lang,
    /// When it was posted.
    pub at: Time,
    /// One of our accounts wrote it.
    pub ours: bool,
    /// It stands before the post that opened the case.
    pub before: bool,
    /// It was edited.
    pub edited: bool,
    /// When its author deleted it; its text is not shown then.
    pub deleted_at: Option<Time>,
    /// Where a person can read it.
    pub url: Option<String>,
}

impl Passage {
    /// Where a person can read it, if that is a web address.
    pub fn link(&self) -> Option<&str> {
        format::safe_url(self.url.as_deref()?)
    }
}

/// A reply of ours on its way, or there.
#[derive(Clone, Debug)]
pub struct ReplyBubble {
    /// Row id in the outbox.
    pub id: i64,
    /// Initials of its writer.
    pub by: String,
    /// As it goes out, signature and all.
    pub text: String,
    /// When it was written.
    pub at: Time,
    /// Where it stands.
    pub state: ReplyState,
    /// When it leaves; counted down while it can be taken back.
    pub due: Time,
    /// When the platform took it.
    pub sent_at: Option<Time>,
    /// Why it failed, in words.
    pub reason: Option<String>,
    /// Where a person can read it.
    pub url: Option<String>,
    /// The viewer may take it back until `due`: the event to undo.
    pub undo: Option<i64>,
}

impl ReplyBubble {
    /// It can still be taken back.
    pub fn undoable(&self, f: &Frame) -> bool {
        self.undo.is_some() && self.state == ReplyState::Queued && self.due > f.now
    }

    /// It waits for a person's decision.
    pub fn stuck(&self) -> bool {
        matches!(self.state, ReplyState::Failed | ReplyState::Unknown)
    }

    /// It was held back after a restore: to be sent or discarded.
    pub fn parked(&self) -> bool {
        self.state == ReplyState::Parked
    }

    /// The state in words.
    pub fn words(&self, f: &Frame) -> String {
        if self.undoable(f) {
            let seconds = self.due.since(f.now).as_millis().div_ceil(1_000);
            return f.with(f.w.sending_in, "n", seconds);
        }
        f.with(f.w.reply_state(self.state), "time", self.sent_at.map(|at| f.time(at)).unwrap_or_default())
    }

    /// Icon of the state.
    pub fn icon(&self) -> &'static str {
        match self.state {
            ReplyState::Sent => "check",
            ReplyState::Failed => "octagon-alert",
            ReplyState::Unknown | ReplyState::Parked => "circle-help",
            ReplyState::Undone => "undo-2",
            ReplyState::Queued | ReplyState::Sending => "send",
        }
    }

    /// Where a person can read it, if that is a web address.
    pub fn link(&self) -> Option<&str> {
        format::safe_url(self.url.as_deref()?)
    }
}

/// One thing in the thread, in the order of time.
#[derive(Clone, Debug)]
pub enum ThreadItem {
    /// A post on the platform.
    Post(Passage),
    /// A word between colleagues.
    Note {
        /// Row id.
        id: i64,
        /// Initials.
        by: String,
        /// What it says.
        text: String,
        /// When.
        at: Time,
    },
    /// A reply of ours.
    Reply(ReplyBubble),
}

/// How long a reply may be; `static/composer.js` counts by it, the server decides.
#[derive(Clone, Debug, Default)]
pub struct LengthRule {
    /// `characters`, `graphemes` or `weighted`.
    pub unit: &'static str,
    /// The limit.
    pub max: u32,
    /// What a link counts, where it has a fixed length.
    pub url: Option<u32>,
    /// For `weighted`: ranges of code points that count one ("0-4351,8192-8205"); all else counts two.
    pub light: String,
}

/// May it be answered from here?
#[derive(Clone, Debug)]
pub enum Answer {
    /// Yes, within these rules.
    Reply {
        /// The account that speaks.
        account: String,
        /// What is appended: `^KG`.
        signature: String,
        /// How long it may be, signature included.
        rule: LengthRule,
    },
    /// Only on the platform itself.
    LinkOnly,
    /// The platform refuses.
    Blocked,
    /// The post is gone.
    Gone,
    /// The viewer may only read.
    ReadOnly,
}

/// What the viewer may do.
#[derive(Clone, Copy, Debug, Default)]
pub struct May {
    /// Claim it.
    pub claim: bool,
    /// Give it back.
    pub give_back: bool,
    /// Label, hand over, note, resolve.
    pub work: bool,
}

/// Who else is here.
#[derive(Clone, Debug, Default)]
pub struct Presence {
    /// Initials.
    pub initials: String,
    /// They are writing an answer.
    pub writing: bool,
}

/// An earlier case of the same author.
#[derive(Clone, Debug)]
pub struct Earlier {
    /// Its number.
    pub number: i64,
    /// Its status.
    pub status: Status,
    /// Its label.
    pub label: LabelView,
    /// The beginning of its text.
    pub text: String,
    /// When it was opened.
    pub at: Time,
}

/// The author.
#[derive(Clone, Debug, Default)]
pub struct Contact {
    /// Without the @.
    pub handle: String,
    /// The displayed name.
    pub name: Option<String>,
    /// Followers.
    pub reach: Option<u64>,
    /// Newest first.
    pub earlier: Vec<Earlier>,
}

/// A line of the timeline.
#[derive(Clone, Debug)]
pub struct LogLine {
    /// When.
    pub at: Time,
    /// What happened.
    pub kind: EventKind,
    /// Initials; `None` for the system or the customer.
    pub by: Option<String>,
    /// The rest, in words: from which team, which reason.
    pub detail: String,
}

/// A case.
#[derive(Clone, Debug, Template)]
#[template(path = "case.html")]
pub struct CasePage {
    /// Around it.
    pub f: Frame,
    /// Its number.
    pub number: i64,
    /// The version that a command must still find.
    pub version: i64,
    /// Where it stands.
    pub status: Status,
    /// Its label.
    pub label: LabelView,
    /// Every reason for it.
    pub reasons: Vec<Reason>,
    /// Its team.
    pub team: String,
    /// Path of the team's queue.
    pub queue: String,
    /// Initials of who has it.
    pub owner: Option<String>,
    /// The viewer has it.
    pub mine: bool,
    /// Where it was written.
    pub place: Place,
    /// How often it changed its team.
    pub transfers: u64,
    /// The nearest open one first.
    pub clocks: Vec<ClockView>,
    /// Posts, notes and replies.
    pub thread: Vec<ThreadItem>,
    /// May it be answered?
    pub answer: Answer,
    /// The stored drafts: reply and note, each with its version.
    pub reply_draft: (String, i64),
    /// See `reply_draft`.
    pub note_draft: (String, i64),
    /// The author.
    pub contact: Contact,
    /// The timeline, oldest first.
    pub log: Vec<LogLine>,
    /// The log tab is shown, not the contact.
    pub log_open: bool,
    /// The tab of look-alikes is shown, with these.
    pub similar: Option<Vec<Lookalike>>,
    /// What the viewer may do.
    pub may: May,
    /// Who else is here.
    pub presence: Vec<Presence>,
    /// Which queries of which brands caught its posts, in words.
    pub caught: Vec<String>,
    /// Nobody wrote it to us.
    pub unaddressed: bool,
    /// Where it can go.
    pub receivers: Vec<Receiver>,
    /// How it can end.
    pub dispositions: Vec<Choice>,
}

impl CasePage {
    /// The beginning of the first post of this case.
    pub fn subject(&self) -> String {
        let first = self.thread.iter().find_map(|item| match item {
            ThreadItem::Post(post) if !post.ours && !post.before && post.deleted_at.is_none() => Some(post.text.as_str()),
            _ => None,
        });
        let Some(line) = first.and_then(|text| text.lines().find(|line| !line.trim().is_empty())) else {
            return self.f.w.untitled.into();
        };
        let line = format::tame(line);
        if line.chars().count() <= 48 { line } else { line.chars().take(47).chain(['…']).collect() }
    }

    /// "3rd team": from the second on, how many teams had it.
    pub fn passed_on(&self) -> Option<String> {
        (self.transfers > 0).then(|| (self.f.w.transfers)(self.transfers + 1))
    }

    /// The last post of the customer, where it can be read and answered on the platform.
    pub fn source(&self) -> Option<&str> {
        self.thread.iter().rev().find_map(|item| match item {
            ThreadItem::Post(post) if !post.ours => post.link(),
            _ => None,
        })
    }
}
