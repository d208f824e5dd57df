//! What the pages show: plain values that handlers fill and `templates/` draw.
//!
//! A view knows no store and no command. Everything said in words or figures is derived here from
//! stored values, the viewer's language and zone, and one `now` per page.

mod case;
mod insight;
mod other;
mod queue;
mod review;
mod search;
mod sources;

use std::borrow::Borrow;

use jiff::tz::TimeZone;

pub use self::{
    case::{Answer, CasePage, Contact, Earlier, LengthRule, LogLine, May, Passage, Presence, ReplyBubble, ThreadItem},
    insight::{AlertRow, Columns, Example, ExportRow, ExportsPage, InsightPage, RisingRow, SavedPage, SavedRow},
    other::{ErrorPage, Failure, LinkPage, Problem, SignIn, problem_words},
    queue::{Counts, Filter, Group, GroupKind, Left, List, Peek, PeekPanel, QueuePage, Row, RowPush, RowsPage},
    review::{Correction, ReviewPage, ReviewTab},
    search::{Facet, FacetItem, Hit, HitCase, Lookalike, SearchPage},
    sources::{Catch, Failing, Faring, Heard, Quota, Source, SourcePage, SourcePush, SourcesPage, StreamLine},
};
use super::{
    assets,
    format::{self, Unit},
    words::{Language, Words, fill, parts},
};
use crate::{
    case::{EventKind, Status},
    clock::Time,
    mention::{Label, Reason},
    text::PostText,
};

/// The colours that a person asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Theme {
    /// As the device says.
    #[default]
    Auto,
    /// Light.
    Light,
    /// Dark.
    Dark,
}

impl Theme {
    /// All of them, in the order of the switch.
    pub const ALL: [Theme; 3] = [Theme::Auto, Theme::Light, Theme::Dark];

    /// The value of `data-theme` and of the cookie.
    pub fn code(self) -> &'static str {
        match self {
            Theme::Auto => "auto",
            Theme::Light => "light",
            Theme::Dark => "dark",
        }
    }

    /// The theme whose code is `code`.
    pub fn parse(code: &str) -> Option<Theme> {
        Theme::ALL.into_iter().find(|theme| theme.code() == code)
    }
}

/// Which tab of the bottom bar a page belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Room {
    /// A team's queue, or a case.
    #[default]
    Queue,
    /// One's own cases.
    Mine,
    /// Search.
    Search,
    /// Sources.
    Sources,
    /// Signing in, errors.
    Outside,
}

/// Who looks.
#[derive(Clone, Debug, Default)]
pub struct Me {
    /// Two letters that sign replies.
    pub initials: String,
    /// Name as colleagues see it.
    pub name: String,
}

/// A line of the navigation.
#[derive(Clone, Debug, Default)]
pub struct NavItem {
    /// What it says.
    pub name: String,
    /// Where it leads.
    pub href: String,
    /// How many unfinished cases are there.
    pub open: Option<u64>,
    /// It is the page shown.
    pub current: bool,
}

/// One word of several that a person chooses from.
#[derive(Clone, Debug, Default)]
pub struct Choice {
    /// What is sent.
    pub value: String,
    /// What is shown.
    pub name: String,
    /// It is chosen now.
    pub chosen: bool,
}

/// A team that a case can go to.
#[derive(Clone, Debug, Default)]
pub struct Receiver {
    /// The team; chosen if the case is there already.
    pub team: Choice,
    /// The people whom the viewer may give it to there: initials and name.
    pub people: Vec<Choice>,
}

/// What was just done, with a way back.
#[derive(Clone, Debug, Default)]
pub struct Flash {
    /// What happened, in words.
    pub text: String,
    /// Path that undoes it (`/cases/8123/undo`) and the event that is undone.
    pub undo: Option<(String, i64)>,
    /// It is bad news.
    pub bad: bool,
    /// A colleague was faster: the reply in the composer can be sent all the same.
    pub anyway: bool,
}

/// What every page has around its own part.
#[derive(Clone, Debug)]
pub struct Frame {
    /// The language of the page.
    pub language: Language,
    /// Its words.
    pub w: &'static Words,
    /// The colours.
    pub theme: Theme,
    /// The zone of the viewer's team.
    pub zone: TimeZone,
    /// The time at which the page is drawn.
    pub now: Time,
    /// The token that every form carries; empty without a session.
    pub csrf: String,
    /// Path and query of this page, for the way back after a switch or a sign-in.
    pub here: String,
    /// Who looks; `None` before signing in.
    pub me: Option<Me>,
    /// The tab.
    pub room: Room,
    /// One's own cases and the teams.
    pub nav: Vec<NavItem>,
    /// The stream of this page: `/live?room=queue&team=cs-1&since=412`; `None` for a still page.
    pub live: Option<String>,
    /// What was just done.
    pub flash: Option<Flash>,
    /// The store cannot write.
    pub read_only: bool,
    /// Abuse is told of, not shown.
    pub mask: bool,
    /// Abusive posts that the viewer has read today, and how many are enough; 0 for no limit.
    pub exposed: (u32, u32),
}

/// What a page says of a post.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// Its text, or what is told of it.
    pub text: String,
    /// The text is not shown.
    pub masked: bool,
}

impl Frame {
    /// A frame for somebody who has not signed in, or the start of one for who has.
    pub fn new(language: Language, zone: TimeZone, now: Time) -> Frame {
        Frame {
            language,
            w: language.words(),
            theme: Theme::Auto,
            zone,
            now,
            csrf: String::new(),
            here: "/".into(),
            me: None,
            room: Room::Outside,
            nav: Vec::new(),
            live: None,
            flash: None,
            read_only: false,
            mask: true,
            exposed: (0, 0),
        }
    }

    /// What this page says of a post; `shown` where whoever looks has asked for it.
    pub fn said(&self, text: &PostText, shown: bool) -> Said {
        match text.seen(self.mask && !shown) {
            Ok(text) => Said { text: text.into(), masked: false },
            Err(masked) => Said { text: (self.w.masked)(masked.lines, masked.asks), masked: true },
        }
    }

    /// Pieces of a post, true for what was looked for; of a masked one what is told of it.
    pub fn snippet(&self, text: &PostText, cut: impl Fn(&str) -> Vec<(String, bool)>) -> Vec<(bool, String)> {
        let said = self.said(text, false);
        if said.masked {
            return vec![(false, said.text)];
        }
        cut(&said.text).into_iter().map(|(piece, marked)| (marked, piece)).collect()
    }

    /// "Exposure today 7/20", for who has read abuse.
    pub fn exposure(&self) -> Option<String> {
        let (read, enough) = self.exposed;
        let figure = if enough == 0 { read.to_string() } else { format!("{read}/{enough}") };
        (read > 0).then(|| self.with(self.w.exposure, "n", figure))
    }

    /// The viewer has read as much abuse today as one should.
    pub fn pause(&self) -> bool {
        self.exposed.1 > 0 && self.exposed.0 >= self.exposed.1
    }

    /// What a break would do.
    pub fn break_words(&self) -> String {
        (self.w.break_says)(self.nav.first().and_then(|mine| mine.open).unwrap_or(0))
    }

    /// The language that the switch offers.
    pub fn other_language(&self) -> Language {
        match self.language {
            Language::Ko => Language::En,
            Language::En => Language::Ko,
        }
    }

    /// Id of the stream's element: another stream has another id, so that a swap replaces it.
    pub fn live_id(&self) -> String {
        let hash = self
            .live
            .iter()
            .flat_map(|url| url.bytes())
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        format!("live-{hash:016x}")
    }

    /// Address of a file under `static/`.
    pub fn asset(&self, name: &str) -> String {
        assets::href(name)
    }

    /// Address of an icon.
    pub fn icon(&self, name: &str) -> String {
        format!("{}#{name}", assets::href("icons.svg"))
    }

    /// Fills the one place of a pattern.
    pub fn with(&self, pattern: &str, name: &str, value: impl std::fmt::Display) -> String {
        fill(pattern, &[(name, &value.to_string())])
    }

    /// Text before the button, the button, and text after it.
    pub fn parts(&self, sentence: &'static str) -> (&'static str, &'static str, &'static str) {
        parts(sentence)
    }

    // A template hands over a value or a borrowed one, as it comes: hence `Borrow`.

    /// A time of today, or with its date.
    pub fn time(&self, at: impl Borrow<Time>) -> String {
        format::short_time(*at.borrow(), self.now, &self.zone, self.language)
    }

    /// A time with its date.
    pub fn date_time(&self, at: impl Borrow<Time>) -> String {
        format::date_time(*at.borrow(), &self.zone, self.language)
    }

    /// A day.
    pub fn date(&self, at: impl Borrow<Time>) -> String {
        format::date(*at.borrow(), &self.zone, self.language)
    }

    /// How long ago.
    pub fn age(&self, at: impl Borrow<Time>) -> String {
        format::age(self.now.since(*at.borrow()), self.language)
    }

    /// A status in words.
    pub fn status(&self, status: impl Borrow<Status>) -> &'static str {
        self.w.status(*status.borrow())
    }

    /// What happened, in words.
    pub fn event(&self, kind: impl Borrow<EventKind>) -> &'static str {
        self.w.event(*kind.borrow())
    }

    /// "214 cases".
    pub fn cases(&self, count: impl Borrow<u64>) -> String {
        (self.w.cases)(*count.borrow())
    }

    /// "214 posts".
    pub fn posts(&self, count: impl Borrow<u64>) -> String {
        (self.w.posts)(*count.borrow())
    }

    /// Reach in short.
    pub fn short(&self, count: impl Borrow<u64>) -> String {
        format::short_count(*count.borrow(), self.language)
    }

    /// The zone's name.
    pub fn zone_name(&self) -> &str {
        self.zone.iana_name().unwrap_or("UTC")
    }

    /// A stranger's text as it is shown.
    pub fn tame(&self, text: &str) -> String {
        format::tame(text)
    }

    /// The themes: code, word, and whether it is on.
    pub fn themes(&self) -> [(&'static str, &'static str, bool); 3] {
        let words = [self.w.theme_auto, self.w.theme_light, self.w.theme_dark];
        let mut words = words.into_iter();
        Theme::ALL.map(|theme| (theme.code(), words.next().unwrap_or_default(), theme == self.theme))
    }

    /// The labels that a person may set: code and word.
    pub fn labels(&self) -> [(&'static str, &'static str); 5] {
        Label::ALL.map(|label| (label.as_str(), self.w.label(Some(label))))
    }

    /// Where a reason comes from and what it weighs: "rule ship-1 · complaint +1.2".
    pub fn weighed(&self, reason: &Reason) -> String {
        let label = self.w.label(Some(reason.label));
        match reason.rule.as_str() {
            "model" => format!("{} · {label} {:+.1}", self.w.model, reason.weight),
            rule => format!("{} {rule} · {label} {:+.1}", self.w.rule, reason.weight),
        }
    }
}

/// What a clock runs towards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Promise {
    /// Somebody sorts a case that the classifier could not.
    Triage,
    /// The first answer.
    #[default]
    FirstResponse,
    /// The next answer.
    NextResponse,
    /// The end.
    Resolution,
}

/// How a clock goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Course {
    /// It runs; whether it is soon or over follows from the time.
    #[default]
    Running,
    /// It stands, with this much left, and why.
    Paused {
        /// Milliseconds left.
        left_ms: i64,
        /// In words.
        reason: String,
    },
    /// Outside the calendar: it goes on at this time.
    Closed(Time),
    /// Kept.
    Met,
    /// Kept, but late.
    MetLate,
    /// No longer owed, and why.
    Cancelled(String),
}

/// One clock of a case.
#[derive(Clone, Debug, Default)]
pub struct ClockView {
    /// What it runs towards.
    pub promise: Promise,
    /// The deadline.
    pub due: Time,
    /// The whole length that was promised, in milliseconds: the bar's full width.
    pub target_ms: i64,
    /// With this much or less left it is soon, in milliseconds.
    pub warn_ms: i64,
    /// How it goes.
    pub course: Course,
    /// It counts from intake, not from the post: when it was posted and when it was seen.
    pub late_intake: Option<(Time, Time)>,
}

impl ClockView {
    /// Milliseconds left at `now`; negative when over.
    pub fn left_ms(&self, now: Time) -> i64 {
        match &self.course {
            Course::Paused { left_ms, .. } => *left_ms,
            _ => self.due.0.saturating_sub(now.0),
        }
    }

    /// `normal`, `warning`, `breached`, `paused` or `met`: the value of `data-state`.
    pub fn state(&self, f: &Frame) -> &'static str {
        match self.course {
            Course::Met | Course::MetLate => "met",
            Course::Cancelled(_) => "normal",
            Course::Paused { .. } | Course::Closed(_) => "paused",
            Course::Running => match self.left_ms(f.now) {
                ..=0 => "breached",
                left if left <= self.warn_ms => "warning",
                _ => "normal",
            },
        }
    }

    /// Only a running clock is ticked by the page.
    pub fn running(&self) -> bool {
        self.course == Course::Running
    }

    /// What stands in the place of the digits.
    pub fn digits(&self, f: &Frame) -> String {
        match &self.course {
            Course::Met => f.w.met.into(),
            Course::MetLate => f.w.met_late.into(),
            Course::Cancelled(_) => f.w.cancelled.into(),
            Course::Closed(from) => f.with(f.w.starts, "time", f.time(*from)),
            Course::Running | Course::Paused { .. } => format::countdown(self.left_ms(f.now)).0,
        }
    }

    /// The unit behind the digits, where they need one.
    pub fn unit(&self, f: &Frame) -> &'static str {
        if !matches!(self.course, Course::Running | Course::Paused { .. }) {
            return "";
        }
        match format::countdown(self.left_ms(f.now)).1 {
            Unit::Minutes => "",
            Unit::Hours => f.w.hours,
            Unit::Days => f.w.days,
        }
    }

    /// The state's word: shape, word and colour always come together.
    pub fn word(&self, f: &Frame) -> &'static str {
        match &self.course {
            Course::Met => f.w.met,
            Course::MetLate => f.w.met_late,
            Course::Cancelled(_) => f.w.cancelled,
            _ => match self.state(f) {
                "breached" => f.w.overdue,
                "warning" => f.w.soon,
                "paused" => f.w.paused,
                _ => f.w.left,
            },
        }
    }

    /// The state's shape.
    pub fn icon(&self, f: &Frame) -> &'static str {
        if matches!(self.course, Course::Cancelled(_)) { "x" } else { state_icon(self.state(f)) }
    }

    /// Width of the bar, of 88.
    pub fn bar(&self, f: &Frame) -> i64 {
        let left = self.left_ms(f.now);
        if left <= 0 { 88 } else { left.saturating_mul(88).checked_div(self.target_ms).unwrap_or(88).clamp(0, 88) }
    }

    /// What it runs towards, in words.
    pub fn promise_word(&self, w: &Words) -> &'static str {
        match self.promise {
            Promise::Triage => w.triage,
            Promise::FirstResponse => w.first_response,
            Promise::NextResponse => w.next_response,
            Promise::Resolution => w.resolution,
        }
    }

    /// "posted 14:08, seen 14:20", when it counts from intake.
    pub fn intake(&self, f: &Frame) -> Option<String> {
        let (posted, seen) = self.late_intake?;
        Some(fill(f.w.intake_tip, &[("posted", &f.time(posted)), ("seen", &f.time(seen))]))
    }
}

/// The shape of a state; `static/clock.js` knows the same.
fn state_icon(state: &str) -> &'static str {
    match state {
        "breached" => "octagon-alert",
        "warning" => "triangle-alert",
        "paused" => "circle-pause",
        "met" => "check",
        _ => "clock",
    }
}

/// A label as it is shown, with how sure it is.
#[derive(Clone, Copy, Debug, Default)]
pub struct LabelView {
    /// `None`: nobody could sort it.
    pub label: Option<Label>,
    /// Calibrated, of a hundred; `None` where a person set it.
    pub percent: Option<u8>,
    /// Below what the team trusts.
    pub doubtful: bool,
}

impl LabelView {
    /// Class of the chip.
    pub fn class(self) -> &'static str {
        self.label.map_or("unsorted", Label::as_str)
    }

    /// Icon of the chip.
    pub fn icon(self) -> &'static str {
        match self.label {
            Some(Label::Complaint) => "message-square-warning",
            Some(Label::Question) => "circle-help",
            Some(Label::Proposal) => "lightbulb",
            Some(Label::Abuse) => "shield-alert",
            Some(Label::Other) | None => "tag",
        }
    }

    /// The label in words; with a question mark where it is doubtful.
    pub fn word(self, f: &Frame) -> String {
        let word = f.w.label(self.label);
        if self.doubtful && self.label.is_some() { format!("{word}?") } else { word.into() }
    }

    /// Per cent, where it says something.
    pub fn sure(self) -> Option<u8> {
        self.percent.filter(|_| self.label.is_some())
    }

    /// A person set it.
    pub fn corrected(self) -> bool {
        self.label.is_some() && self.percent.is_none()
    }

    /// What a screen reader says.
    pub fn spoken(self, w: &Words) -> String {
        let label = w.label(self.label);
        match self.percent {
            Some(percent) if self.label.is_some() => {
                fill(w.label_spoken, &[("label", label), ("percent", &percent.to_string())])
            }
            None if self.label.is_some() => fill(w.label_person, &[("label", label)]),
            _ => label.into(),
        }
    }
}

/// Where a post was written: platform and the account it was written to.
#[derive(Clone, Debug, Default)]
pub struct Place {
    /// The platform's key; shown as two letters.
    pub platform: String,
    /// Our account, or `None` for a keyword hit.
    pub account: Option<String>,
}

impl Place {
    /// Two letters.
    pub fn mark(&self) -> String {
        format::mark(&self.platform)
    }
}

#[cfg(test)]
mod tests;
