//! Signing in, the one-time link and the pages that say what went wrong.

use askama::Template;

use super::Frame;
use crate::staff::Role;

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
    /// What, in words.
    pub words: String,
    /// What was typed into the form that was refused.
    pub typed: Vec<String>,
    /// The page with that form.
    pub behind: Option<String>,
    /// Where to sign in, for whoever is not.
    pub sign_in: String,
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
