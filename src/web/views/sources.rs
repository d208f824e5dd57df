//! Sources: how each account fares, and what it listens for.

use askama::Template;

use super::{Frame, LabelView, Place};
use crate::{clock::Time, mention::Lang, web::format};

/// How an account or a stream fares, the worst last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Faring {
    /// A person paused it.
    Paused,
    /// What it brings is fresh.
    #[default]
    Up,
    /// It has said nothing yet.
    New,
    /// The platform or an allowance lets it ask no more for now.
    Limited,
    /// It failed and is tried again.
    Waiting,
    /// It should have brought something by now.
    Late,
    /// The whole account fails.
    Open,
    /// Only a person can put it right.
    Stopped,
}

impl Faring {
    /// Nothing has come for longer than it may.
    pub fn stale(self) -> bool {
        self >= Faring::Late
    }

    /// In words.
    pub fn word(self, f: &Frame) -> &'static str {
        match self {
            Faring::Paused => f.w.src_paused,
            Faring::Up => f.w.src_up,
            Faring::New => f.w.src_new,
            Faring::Limited => f.w.src_limited,
            Faring::Waiting => f.w.src_waiting,
            Faring::Late => f.w.src_late,
            Faring::Open => f.w.src_open,
            Faring::Stopped => f.w.src_stopped,
        }
    }

    /// Its shape.
    pub fn icon(self) -> &'static str {
        match self {
            Faring::Paused => "circle-pause",
            Faring::Up => "circle-check",
            Faring::New => "circle",
            Faring::Limited => "hourglass",
            Faring::Waiting => "refresh-cw",
            Faring::Late => "clock",
            Faring::Open => "wifi-off",
            Faring::Stopped => "octagon-alert",
        }
    }
}

/// What is left of an allowance.
#[derive(Clone, Debug, Default)]
pub struct Quota {
    /// Its name.
    pub name: String,
    /// Units left.
    pub left: u64,
    /// Units of a whole window.
    pub of: u64,
    /// When it is full again.
    pub resets_at: Time,
}

impl Quota {
    /// Share that is left, in per cent.
    pub fn percent(&self) -> u64 {
        (self.left * 100).checked_div(self.of).unwrap_or(100).min(100)
    }
}

/// Failures of one kind.
#[derive(Clone, Debug, Default)]
pub struct Failing {
    /// The stream.
    pub stream: String,
    /// How many.
    pub count: u64,
    /// The last one, in the connector's words.
    pub last: String,
    /// What helps: `wait`, `access`, `network`, `connector`, `settings` or `store`.
    pub remedy: String,
}

impl Failing {
    /// What helps, in words.
    pub fn fix(&self, f: &Frame) -> &'static str {
        match self.remedy.as_str() {
            "wait" => f.w.fix_wait,
            "access" => f.w.fix_access,
            "network" => f.w.fix_network,
            "settings" => f.w.fix_settings,
            "store" => f.w.fix_store,
            _ => f.w.fix_connector,
        }
    }
}

/// One stream of an account.
#[derive(Clone, Debug, Default)]
pub struct StreamLine {
    /// Its name.
    pub name: String,
    /// How it fares.
    pub faring: Faring,
    /// When it last went well.
    pub last_success: Option<Time>,
    /// The newest post that it brought.
    pub newest: Option<Time>,
    /// When it is tried again.
    pub next: Option<Time>,
}

/// One account.
#[derive(Clone, Debug, Default)]
pub struct Source {
    /// Its key.
    pub key: String,
    /// What customers type after the @.
    pub handle: String,
    /// Its connector, once it has said so.
    pub connector: String,
    /// Its brand.
    pub brand: String,
    /// How it fares: as its worst stream.
    pub faring: Faring,
    /// When all of it last went well.
    pub last_success: Option<Time>,
    /// The newest post.
    pub newest: Option<Time>,
    /// How fresh it shall be.
    pub goal: std::time::Duration,
    /// Its streams.
    pub streams: Vec<StreamLine>,
    /// What is left of its allowances.
    pub quotas: Vec<Quota>,
    /// Failures since its start.
    pub failures: Vec<Failing>,
    /// Who paused it, and when.
    pub paused: Option<(String, Time)>,
    /// When somebody asked for a look, if it has not looked since.
    pub asked: Option<Time>,
}

impl Source {
    /// Nothing has come for longer than it may.
    pub fn stale(&self) -> bool {
        self.faring.stale()
    }

    /// "goal within 5 s".
    pub fn goal(&self, f: &Frame) -> String {
        f.with(f.w.src_goal, "span", format::duration(self.goal.max(std::time::Duration::from_secs(1)), f.language))
    }

    /// Who paused it, and when, in words.
    pub fn paused_words(&self, f: &Frame) -> Option<String> {
        let (name, at) = self.paused.as_ref()?;
        Some(crate::web::words::fill(f.w.src_paused_by, &[("name", name), ("time", &f.time(*at))]))
    }

    /// When it is tried again, where that is not soon.
    pub fn next(&self) -> Option<Time> {
        if self.faring == Faring::Up {
            return None;
        }
        let waits = |one: &&StreamLine| matches!(one.faring, Faring::Limited | Faring::Waiting | Faring::Open | Faring::Late);
        self.streams.iter().filter(waits).filter_map(|one| one.next).min()
    }
}

/// The connectors page.
#[derive(Clone, Debug, Template)]
#[template(path = "sources.html")]
pub struct SourcesPage {
    /// Around it.
    pub f: Frame,
    /// The accounts, worst first.
    pub sources: Vec<Source>,
}

/// Accounts as they are pushed.
#[derive(Clone, Debug, Template)]
#[template(path = "source_push.html")]
pub struct SourcePush<'a> {
    /// Around it.
    pub f: &'a Frame,
    /// The account.
    pub source: &'a Source,
}

/// A query that is listened for.
#[derive(Clone, Debug, Default)]
pub struct Heard {
    /// Its name.
    pub name: String,
    /// The query.
    pub query: String,
    /// It can be removed here; others stand in the configuration.
    pub saved: bool,
}

/// A post that a query would have caught.
#[derive(Clone, Debug)]
pub struct Catch {
    /// Its case, where it has one that this person may see.
    pub case: Option<i64>,
    /// The label of that case.
    pub label: Option<LabelView>,
    /// Where it was written.
    pub place: Place,
    /// Its author.
    pub author: String,
    /// Its language.
    pub lang: Lang,
    /// When.
    pub at: Time,
    /// Pieces of the text; true for what was looked for.
    pub snippet: Vec<(bool, String)>,
    /// Others that say nearly the same.
    pub alike: usize,
}

/// One account with what it listens for.
#[derive(Clone, Debug, Template)]
#[template(path = "source.html")]
pub struct SourcePage {
    /// Around it.
    pub f: Frame,
    /// The account.
    pub source: Source,
    /// What it listens for.
    pub heard: Vec<Heard>,
    /// The name of the query in the form.
    pub name: String,
    /// The query in the form.
    pub q: String,
    /// What is wrong with it.
    pub error: Option<String>,
    /// How many posts it would have caught; none before it is tried.
    pub total: Option<u64>,
    /// Some of them.
    pub catches: Vec<Catch>,
}
