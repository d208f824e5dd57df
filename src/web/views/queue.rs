//! The queue: its rows, groups, counts and the peek pane.

use askama::Template;

use super::{Choice, ClockView, Frame, LabelView, Place, Receiver};
use crate::{
    case::Status,
    clock::Time,
    mention::{Lang, Reason},
    web::words::fill,
};

/// Why a row no longer belongs to the list that somebody is holding.
#[derive(Clone, Debug)]
pub enum Left {
    /// Initials of who took it.
    ClaimedBy(String),
    /// Initials of who resolved it.
    ResolvedBy(String),
    /// Name of the team that has it now.
    MovedTo(String),
    /// Any other cause.
    Otherwise,
}

/// One case in a list.
#[derive(Clone, Debug, Default)]
pub struct Row {
    /// The case's number.
    pub number: i64,
    /// The version that a claim must still find.
    pub version: i64,
    /// The nearest open clock.
    pub clock: Option<ClockView>,
    /// Its label.
    pub label: LabelView,
    /// The first reason for the label.
    pub why: Option<Reason>,
    /// Who wrote the post, without the @.
    pub handle: String,
    /// The post, or what is told of it.
    pub text: String,
    /// The post is abuse and not shown.
    pub masked: bool,
    /// Language of the post.
    pub lang: Lang,
    /// Where it was written.
    pub place: Place,
    /// Reach of its author.
    pub reach: Option<u64>,
    /// When it was posted.
    pub posted_at: Time,
    /// Only the day is known.
    pub day_only: bool,
    /// Initials of who has it.
    pub owner: Option<String>,
    /// The viewer has it.
    pub mine: bool,
    /// The viewer may claim it.
    pub may_claim: bool,
    /// How many notes it has.
    pub notes: u32,
    /// Somebody keeps a draft in it.
    pub draft: bool,
    /// It is in the list only because somebody holds the list.
    pub left: Option<Left>,
}

impl Row {
    /// `data-state` of the row.
    pub fn state(&self, f: &Frame) -> &'static str {
        self.clock.as_ref().map_or("met", |clock| clock.state(f))
    }

    /// The first reason in a few words.
    pub fn why_words(&self, f: &Frame) -> String {
        let Some(reason) = &self.why else { return f.w.unsure_why.into() };
        why_words(reason, f)
    }

    /// Language, reach and age.
    pub fn facts(&self, f: &Frame) -> String {
        let mut facts = self.lang.as_str().to_string();
        if let Some(reach) = self.reach {
            facts.push_str(" · ");
            facts.push_str(&f.short(reach));
        }
        facts.push_str(if self.day_only { " · ~" } else { " · " });
        facts.push_str(&f.age(self.posted_at));
        facts
    }

    /// What replaces platform and owner of a row that left.
    pub fn left_words(&self, f: &Frame) -> Option<String> {
        Some(match self.left.as_ref()? {
            Left::ClaimedBy(name) => f.with(f.w.claimed_by, "name", name),
            Left::ResolvedBy(name) => f.with(f.w.resolved_by, "name", name),
            Left::MovedTo(name) => f.with(f.w.moved_to, "name", name),
            Left::Otherwise => f.w.left_list.into(),
        })
    }
}

/// "rule ship-1: 배송+멈춤", cut to what a row holds.
pub(super) fn why_words(reason: &Reason, f: &Frame) -> String {
    let whole = match reason.rule.as_str() {
        "model" if reason.words.is_empty() => f.w.model.into(),
        "model" => format!("{}: {}", f.w.model, reason.words),
        _ if reason.words.is_empty() => format!("{} {}", f.w.rule, reason.rule),
        _ => format!("{}: {}", f.w.rule, reason.words),
    };
    let whole = f.tame(&whole);
    if whole.chars().count() <= 22 { whole } else { whole.chars().take(21).chain(['…']).collect() }
}

/// The three groups, always in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupKind {
    /// Priority crisis.
    Crisis,
    /// Least time left first.
    ByTime,
    /// Overdue, oldest first.
    Overdue,
}

impl GroupKind {
    /// Id of its list.
    pub fn id(self) -> &'static str {
        match self {
            GroupKind::Crisis => "group-crisis",
            GroupKind::ByTime => "group-time",
            GroupKind::Overdue => "group-overdue",
        }
    }
}

/// Rows of one kind.
#[derive(Clone, Debug)]
pub struct Group {
    /// Which.
    pub kind: GroupKind,
    /// In order.
    pub rows: Vec<Row>,
}

impl Group {
    /// Its heading.
    pub fn title(&self, f: &Frame) -> String {
        match self.kind {
            GroupKind::Crisis => f.w.group_crisis.into(),
            GroupKind::ByTime => f.w.group_time.into(),
            GroupKind::Overdue => format!("{} {}", f.w.group_overdue, self.rows.len()),
        }
    }
}

/// The figures above the list.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// Unfinished cases.
    pub open: u64,
    /// Past a deadline.
    pub overdue: u64,
    /// Of nobody.
    pub unclaimed: u64,
    /// The clock with the least time left.
    pub next: Option<ClockView>,
}

/// One filter: a query parameter with its choices.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// The parameter.
    pub name: String,
    /// Its word.
    pub title: String,
    /// What it can be; the empty choice "all" is drawn by the page.
    pub choices: Vec<Choice>,
}

/// The list with its figures.
#[derive(Clone, Debug, Default)]
pub struct List {
    /// The figures.
    pub counts: Counts,
    /// The rows.
    pub groups: Vec<Group>,
    /// How many cases match, shown or not.
    pub total: u64,
    /// Where fifty more are, when there are more and fewer than 200 are shown.
    pub more: Option<String>,
    /// A filter narrows the list; where it is without.
    pub clear: Option<String>,
    /// It shows the viewer's own cases.
    pub mine: bool,
    /// When the last post came in.
    pub last_seen: Option<Time>,
    /// Sources that bring nothing, in words; whether the reader may look after them.
    pub warning: Option<(String, bool)>,
    /// The event up to which this is true.
    pub seq: i64,
}

impl List {
    /// "50 of 212".
    pub fn shown(&self, f: &Frame) -> String {
        let shown: usize = self.groups.iter().map(|group| group.rows.len()).sum();
        fill(f.w.rows_shown, &[("shown", &shown.to_string()), ("total", &self.total.to_string())])
    }
}

/// The answer to a pull: figures and list, for `live.js` to morph.
#[derive(Clone, Debug, Template)]
#[template(path = "rows.html")]
pub struct RowsPage {
    /// Around it.
    pub f: Frame,
    /// The list.
    pub list: List,
}

/// A team's queue, or one's own cases.
#[derive(Clone, Debug, Template)]
#[template(path = "queue.html")]
pub struct QueuePage {
    /// Around it.
    pub f: Frame,
    /// Heading: the team.
    pub title: String,
    /// Path of the page without its query: the target of the filter form.
    pub path: String,
    /// Where `live.js` pulls the list: `/queue/cs-1/rows?...`.
    pub pull: String,
    /// The filters.
    pub filters: Vec<Filter>,
    /// The list.
    pub list: List,
    /// The case in the peek pane.
    pub peek: Option<Peek>,
}

/// What a decision to claim needs.
#[derive(Clone, Debug)]
pub struct Peek {
    /// The case as a row.
    pub row: Row,
    /// Row id of its post.
    pub post: i64,
    /// How much abuse the viewer has read today, in words; and whether a pause is due.
    pub exposure: Option<(String, bool)>,
    /// The name of its author.
    pub name: Option<String>,
    /// The post that it answers.
    pub parent: Option<String>,
    /// Every reason.
    pub reasons: Vec<Reason>,
    /// Where a person can read it.
    pub url: Option<String>,
    /// The viewer may label and hand over.
    pub may_work: bool,
    /// Where it stands.
    pub status: Status,
    /// Where it can go.
    pub receivers: Vec<Receiver>,
}

impl Peek {
    /// Where a person can read the post, if that is a web address.
    pub fn link(&self) -> Option<&str> {
        crate::web::format::safe_url(self.url.as_deref()?)
    }
}

/// The peek pane alone: the answer to `GET /cases/{n}/peek`.
#[derive(Clone, Debug, Template)]
#[template(path = "peek.html")]
pub struct PeekPanel {
    /// Around it.
    pub f: Frame,
    /// The case.
    pub peek: Option<Peek>,
}

/// Rows as they are pushed: each morphs the row of its case, wherever that is shown.
#[derive(Clone, Debug, Template)]
#[template(path = "push.html")]
pub struct RowPush<'a> {
    /// Around it.
    pub f: &'a Frame,
    /// The rows that changed.
    pub rows: &'a [Row],
    /// The figures, where they changed.
    pub counts: Option<&'a Counts>,
    /// What to say about it.
    pub flash: Option<&'a super::Flash>,
}
