//! What was just done, carried over a redirect in a cookie: a code, a case and an event, never words.

use axum::{
    http::{HeaderMap, HeaderName, HeaderValue, header},
    response::{IntoResponse, Redirect, Response},
};

use super::{fault::Fault, session::Visit};
use crate::web::{security::cookie, views::Flash, words::Words};

/// What a person did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Did {
    Claim,
    GiveBack,
    Label,
    HandOver,
    Note,
    Reply,
    Retry,
    Send,
    Discard,
    Undo,
    Answered,
    Wait,
    GoOn,
    Reveal,
    Break,
    Resolve,
    Accept,
    Reject,
    SourcePause,
    SourceResume,
    SourceTest,
    Listen,
    Unlisten,
}

impl Did {
    const ALL: [Did; 23] = [
        Did::Claim,
        Did::GiveBack,
        Did::Label,
        Did::HandOver,
        Did::Note,
        Did::Reply,
        Did::Retry,
        Did::Send,
        Did::Discard,
        Did::Undo,
        Did::Answered,
        Did::Wait,
        Did::GoOn,
        Did::Reveal,
        Did::Break,
        Did::Resolve,
        Did::Accept,
        Did::Reject,
        Did::SourcePause,
        Did::SourceResume,
        Did::SourceTest,
        Did::Listen,
        Did::Unlisten,
    ];

    fn code(self) -> &'static str {
        match self {
            Did::Claim => "claim",
            Did::GiveBack => "give-back",
            Did::Label => "label",
            Did::HandOver => "handover",
            Did::Note => "note",
            Did::Reply => "reply",
            Did::Retry => "retry",
            Did::Send => "send",
            Did::Discard => "discard",
            Did::Undo => "undo",
            Did::Answered => "answered",
            Did::Wait => "wait",
            Did::GoOn => "go-on",
            Did::Reveal => "reveal",
            Did::Break => "break",
            Did::Resolve => "resolve",
            Did::Accept => "accept",
            Did::Reject => "reject",
            Did::SourcePause => "source-pause",
            Did::SourceResume => "source-resume",
            Did::SourceTest => "source-test",
            Did::Listen => "listen",
            Did::Unlisten => "unlisten",
        }
    }

    /// In words.
    fn words(self, w: &Words) -> &'static str {
        match self {
            Did::Claim => w.did_claim,
            Did::GiveBack => w.did_give_back,
            Did::Label => w.did_label,
            Did::HandOver => w.did_hand_over,
            Did::Note => w.did_note,
            Did::Reply => w.did_reply,
            Did::Retry => w.did_retry,
            Did::Send => w.did_send,
            Did::Discard => w.did_discard,
            Did::Undo => w.did_undo,
            Did::Answered => w.did_answered,
            Did::Wait => w.ev_waiting,
            Did::GoOn => w.did_go_on,
            Did::Reveal => w.did_reveal,
            Did::Break => w.did_break,
            Did::Resolve => w.did_resolve,
            Did::Accept => w.did_accept,
            Did::Reject => w.did_reject,
            Did::SourcePause => w.did_src_pause,
            Did::SourceResume => w.did_src_resume,
            Did::SourceTest => w.did_src_test,
            Did::Listen => w.did_lst_save,
            Did::Unlisten => w.did_lst_remove,
        }
    }
}

/// A deed with the way back, where there is one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Done {
    pub did: Did,
    /// Its number; of a review the number of the post.
    pub case: i64,
    /// The event that undoing undoes; of a review the time of the correction.
    pub undo: Option<i64>,
}

impl Done {
    /// For the toast.
    pub(super) fn flash(self, w: &Words) -> Flash {
        let path = match self.did {
            Did::Accept | Did::Reject => format!("/review/{}", self.case),
            _ => format!("/cases/{}/undo", self.case),
        };
        let undo = self.undo.map(|event| (path, event));
        Flash { text: self.did.words(w).into(), undo, ..Flash::default() }
    }

    /// `Set-Cookie` for the next page.
    pub(super) fn cookie(self) -> HeaderValue {
        let text = format!("{}.{}.{}", self.did.code(), self.case, self.undo.unwrap_or(0));
        set(&text, 30)
    }
}

fn set(value: &str, seconds: u32) -> HeaderValue {
    let text = format!("flash={value}; Path=/; Max-Age={seconds}; SameSite=Lax; HttpOnly");
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("flash=; Path=/; Max-Age=0"))
}

/// Leads to another page, in whichever way was asked, and says there what was done.
pub(super) fn go(visit: &Visit, there: &str, done: Done) -> Result<Response, Fault> {
    let cookie = (header::SET_COOKIE, done.cookie());
    if visit.htmx {
        let to = HeaderValue::from_str(there).map_err(|error| Fault::Failed(error.to_string()))?;
        return Ok(([cookie, (HeaderName::from_static("hx-redirect"), to)], "").into_response());
    }
    Ok(([cookie], Redirect::to(there)).into_response())
}

/// The flash that a request brings.
pub(super) fn take(headers: &HeaderMap, w: &Words) -> Option<Flash> {
    let mut parts = cookie(headers, "flash")?.split('.');
    let code = parts.next()?;
    let did = Did::ALL.into_iter().find(|did| did.code() == code)?;
    let case = parts.next()?.parse().ok()?;
    let undo: i64 = parts.next()?.parse().ok()?;
    Some(Done { did, case, undo: (undo > 0).then_some(undo) }.flash(w))
}

/// Takes the cookie back once its flash was shown.
pub(super) fn spent(mut response: Response, shown: bool) -> Response {
    if shown {
        response.headers_mut().append(header::SET_COOKIE, set("", 0));
    }
    response
}
