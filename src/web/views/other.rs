//! Search, signing in, the one-time link and the pages that say what went wrong.

use std::time::Duration;

use askama::Template;

use super::{Choice, Frame, LabelView, Place};
use crate::{case::Status, clock::Time, mention::Lang, staff::Role, web::format};

/// One case that a search found.
#[derive(Clone, Debug)]
pub struct Hit {
    /// Its number.
    pub number: i64,
    /// Where it stands.
    pub status: Status,
    /// Its label.
    pub label: LabelView,
    /// Where it was written.
    pub place: Place,
    /// Its language.
    pub lang: Lang,
    /// When it was posted.
    pub at: Time,
    /// Its team.
    pub team: String,
    /// Who answered, and in how long.
    pub answered: Option<(String, Duration)>,
    /// Pieces of the text; true for what was looked for.
    pub snippet: Vec<(bool, String)>,
    /// How it ended, in words.
    pub disposition: Option<String>,
    /// Reach of its author.
    pub reach: Option<u64>,
}

/// A narrower search.
#[derive(Clone, Debug, Default)]
pub struct FacetItem {
    /// What it narrows to.
    pub name: String,
    /// How many hits are left.
    pub count: u64,
    /// Where it leads; to the wider search when it is on.
    pub href: String,
    /// It narrows now.
    pub on: bool,
}

/// Narrower searches of one kind.
#[derive(Clone, Debug, Default)]
pub struct Facet {
    /// Its word.
    pub title: String,
    /// Its items.
    pub items: Vec<FacetItem>,
}

/// The search page.
#[derive(Clone, Debug, Template)]
#[template(path = "search.html")]
pub struct SearchPage {
    /// Around it.
    pub f: Frame,
    /// What is looked for, as typed.
    pub q: String,
    /// How many cases; `None` before a search.
    pub total: Option<u64>,
    /// How long it took.
    pub took: Duration,
    /// The hits of this page.
    pub hits: Vec<Hit>,
    /// Narrower searches.
    pub facets: Vec<Facet>,
    /// `best` and `new`.
    pub sorts: Vec<Choice>,
    /// What is wrong with the query, in words, pointing at the place.
    pub error: Option<String>,
    /// A better query, when nothing was found.
    pub hint: Option<String>,
    /// Where the page before is.
    pub previous: Option<String>,
    /// Where the next page is.
    pub next: Option<String>,
}

impl SearchPage {
    /// "0.006".
    pub fn seconds(&self) -> String {
        format!("{:.3}", self.took.as_secs_f64())
    }

    /// What a hit says of its answer.
    pub fn answered(&self, hit: &Hit) -> Option<String> {
        let (name, span) = hit.answered.as_ref()?;
        let span = format::duration(*span, self.f.language);
        Some(crate::web::words::fill(self.f.w.answered_in, &[("name", name), ("time", &span)]))
    }

    /// The lines of the help, as queries with what each finds.
    pub fn help(&self) -> [(&'static str, &'static str); 5] {
        let w = self.f.w;
        match self.f.language {
            super::Language::Ko => [
                ("배송 지연", w.help_and),
                ("\"고객 센터\"", w.help_phrase),
                ("배송 -교환", w.help_not),
                ("환불 OR 취소", w.help_or),
                ("label:complaint", w.help_field),
            ],
            super::Language::En => [
                ("late delivery", w.help_and),
                ("\"customer service\"", w.help_phrase),
                ("delivery -exchange", w.help_not),
                ("refund OR cancel", w.help_or),
                ("label:complaint", w.help_field),
            ],
        }
    }
}

/// Why somebody was not signed in. One text for every wrong e-mail, password or link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// E-mail or password is not right.
    Wrong,
    /// Too many tries; how many minutes to wait.
    Locked(u64),
    /// The session ended.
    SignedOut,
    /// The one-time link is spent.
    Spent,
}

impl Failure {
    /// In words.
    pub fn words(self, f: &Frame) -> String {
        match self {
            Failure::Wrong => f.w.wrong.into(),
            Failure::Locked(minutes) => f.with(f.w.locked, "n", minutes),
            Failure::SignedOut => f.w.signed_out.into(),
            Failure::Spent => f.w.link_spent.into(),
        }
    }
}

/// The sign-in page.
#[derive(Clone, Debug, Template)]
#[template(path = "signin.html")]
pub struct SignIn {
    /// Around it.
    pub f: Frame,
    /// Where to go afterwards; a path of this site.
    pub next: String,
    /// What was typed as e-mail.
    pub email: String,
    /// What went wrong.
    pub failure: Option<Failure>,
}

/// The page that a one-time link opens; its button posts the token.
#[derive(Clone, Debug, Template)]
#[template(path = "link.html")]
pub struct LinkPage {
    /// Around it.
    pub f: Frame,
    /// The token.
    pub token: String,
    /// Where to go afterwards.
    pub next: String,
}

/// What went wrong.
#[derive(Clone, Debug)]
pub enum Problem {
    /// 403: the role that is needed, and team and lead to ask, where there are.
    Forbidden {
        /// The least role that may.
        needs: Role,
        /// Team, and initials of its lead.
        ask: Option<(String, String)>,
    },
    /// 404 of a case, also of another team's.
    NoCase(i64),
    /// 404 of anything else.
    NoPage,
    /// 403 of a form: its token does not fit the session.
    StaleForm,
    /// 5xx, with an id that the log has too.
    Failed(String),
    /// 503: nothing can be saved.
    ReadOnly,
}

/// A page that says what went wrong, what is safe and what to do.
#[derive(Clone, Debug, Template)]
#[template(path = "error.html")]
pub struct ErrorPage {
    /// Around it.
    pub f: Frame,
    /// What.
    pub problem: Problem,
}

impl ErrorPage {
    /// In words.
    pub fn words(&self) -> String {
        problem_words(&self.f, &self.problem)
    }
}

/// A problem in words: for the page, and for the toast that an htmx request gets.
pub fn problem_words(f: &Frame, problem: &Problem) -> String {
    use crate::web::words::fill;
    match problem {
        Problem::Forbidden { needs, ask: Some((team, lead)) } => {
            fill(f.w.forbidden, &[("role", f.w.role(*needs)), ("team", team), ("lead", lead)])
        }
        Problem::Forbidden { needs, ask: None } => fill(f.w.forbidden_role, &[("role", f.w.role(*needs))]),
        Problem::NoCase(number) => f.with(f.w.not_found, "number", number),
        Problem::NoPage => f.w.no_page.into(),
        Problem::StaleForm => f.w.stale_form.into(),
        Problem::Failed(id) => f.with(f.w.failed, "id", id),
        Problem::ReadOnly => f.w.read_only.into(),
    }
}
