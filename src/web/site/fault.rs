//! The one place where what went wrong gets its status and its words.
//!
//! A handler returns a [`Fault`]; the layer [`draw`] makes of it a page, a toast, a JSON problem or a
//! bare status, in the language of whoever asked. Internal texts go to the log, with the request's id.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{Html, IntoResponse, Redirect, Response},
};
use serde_json::json;

use super::{Console, RequestId, say, session::Asker};
use crate::{
    desk, queue, search,
    staff::{Denied, Role},
    web::{
        security::{Refused, Sent, local_path},
        views::{ErrorPage, Flash, Frame, Problem, RowPush, problem_words},
    },
};

/// Why a request was not done.
#[derive(Clone, Debug)]
pub(super) enum Fault {
    /// No session, or it ended.
    SignedOut,
    /// No such case, or none that this person may see.
    NoCase(i64),
    /// Nothing else is here either.
    NoPage,
    /// The role does not allow it.
    Forbidden(Role),
    /// The form's token does not fit the session.
    Stale,
    /// Somebody else has the case.
    Claimed(String),
    /// A colleague has just answered the same post.
    Answered(String),
    /// A text, reason or choice is missing.
    Empty,
    /// The text is so much longer than the platform takes.
    TooLong(usize),
    /// The moment has passed.
    TooLate,
    /// The account cannot answer from here.
    LinkOnly,
    /// A name or value that the desk does not know.
    Unknown(String),
    /// The request itself is malformed, in words.
    Malformed(StatusCode, String),
    /// The framework could not read it.
    Unread(StatusCode),
    /// The store cannot write.
    ReadOnly(String),
    /// Ours; the text is for the log only.
    Failed(String),
}

/// Every cause of an error in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

impl From<queue::Error> for Fault {
    fn from(error: queue::Error) -> Fault {
        if error.is_retryable() || matches!(error, queue::Error::Closed) {
            return Fault::ReadOnly(chain(&error));
        }
        Fault::Failed(chain(&error))
    }
}

impl From<desk::Error> for Fault {
    fn from(error: desk::Error) -> Fault {
        match error {
            desk::Error::NotFound(case) => Fault::NoCase(case.0),
            desk::Error::Denied(Denied { needs }) => Fault::Forbidden(needs),
            desk::Error::Claimed { initials } => Fault::Claimed(initials),
            desk::Error::Answered { initials, .. } => Fault::Answered(initials),
            desk::Error::Empty => Fault::Empty,
            desk::Error::TooLong { over } => Fault::TooLong(over),
            desk::Error::TooLate(_) => Fault::TooLate,
            desk::Error::LinkOnly => Fault::LinkOnly,
            desk::Error::Unknown { name, .. } => Fault::Unknown(name),
            desk::Error::Store(error) => error.into(),
        }
    }
}

impl From<Denied> for Fault {
    fn from(denied: Denied) -> Fault {
        Fault::Forbidden(denied.needs)
    }
}

impl From<askama::Error> for Fault {
    fn from(error: askama::Error) -> Fault {
        Fault::Failed(chain(&error))
    }
}

impl From<search::Error> for Fault {
    fn from(error: search::Error) -> Fault {
        Fault::Failed(chain(&error))
    }
}

impl Fault {
    /// The status of the answer.
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Fault::SignedOut => StatusCode::UNAUTHORIZED,
            Fault::NoCase(_) | Fault::NoPage => StatusCode::NOT_FOUND,
            Fault::Forbidden(_) | Fault::Stale => StatusCode::FORBIDDEN,
            Fault::Claimed(_) | Fault::Answered(_) | Fault::TooLate | Fault::LinkOnly => StatusCode::CONFLICT,
            Fault::Empty | Fault::TooLong(_) | Fault::Unknown(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Fault::Malformed(status, _) | Fault::Unread(status) => *status,
            Fault::ReadOnly(_) => StatusCode::SERVICE_UNAVAILABLE,
            Fault::Failed(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The word for it in JSON.
    fn code(&self) -> &'static str {
        match self {
            Fault::SignedOut => "signed_out",
            Fault::NoCase(_) => "no_case",
            Fault::NoPage => "not_found",
            Fault::Forbidden(_) => "forbidden",
            Fault::Stale => "csrf",
            Fault::Claimed(_) => "claimed",
            Fault::Answered(_) => "answered",
            Fault::Empty => "empty",
            Fault::TooLong(_) => "too_long",
            Fault::TooLate => "too_late",
            Fault::LinkOnly => "link_only",
            Fault::Unknown(_) => "unknown",
            Fault::Malformed(..) | Fault::Unread(_) => "malformed",
            Fault::ReadOnly(_) => "read_only",
            Fault::Failed(_) => "failed",
        }
    }

    /// What a person reads.
    pub(super) fn words(&self, f: &Frame, id: &str) -> String {
        let problem = match self {
            Fault::SignedOut => return f.w.signed_out.into(),
            Fault::Claimed(initials) => return f.with(f.w.lost_claim, "name", initials),
            Fault::Answered(initials) => return say::answered(f.language, initials),
            Fault::Empty => return say::empty(f.language),
            Fault::TooLong(over) => return f.with(f.w.too_long, "n", over),
            Fault::TooLate => return say::too_late(f.language),
            Fault::LinkOnly => return f.w.link_only.into(),
            Fault::Unknown(name) => return say::unknown(f.language, name),
            Fault::Malformed(_, text) => return text.clone(),
            Fault::Unread(StatusCode::PAYLOAD_TOO_LARGE) => return say::too_much(f.language),
            Fault::NoPage | Fault::Unread(StatusCode::METHOD_NOT_ALLOWED) => Problem::NoPage,
            Fault::Unread(_) => return say::unread(f.language),
            Fault::NoCase(number) => Problem::NoCase(*number),
            Fault::Forbidden(needs) => Problem::Forbidden { needs: *needs, ask: None },
            Fault::Stale => Problem::StaleForm,
            Fault::ReadOnly(_) => Problem::ReadOnly,
            Fault::Failed(_) => Problem::Failed(id.into()),
        };
        problem_words(f, &problem)
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let mut response = self.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// How an answer must look.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    Page,
    Toast,
    Json,
    Bare,
}

fn shape(path: &str, headers: &HeaderMap) -> Shape {
    let accepts = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or("*/*");
    if path.starts_with("/api/") {
        Shape::Json
    } else if path.starts_with("/live") {
        Shape::Bare
    } else if headers.contains_key("hx-request") {
        // Also when it would take a stream, as each of htmx's requests says.
        Shape::Toast
    } else if accepts.contains("text/event-stream") {
        Shape::Bare
    } else if accepts.contains("text/html") || accepts.contains("*/*") {
        Shape::Page
    } else {
        Shape::Bare
    }
}

/// Path and query of the page that a form was on, which is one of ours: the guard has looked where it comes from.
fn page_behind(headers: &HeaderMap) -> Option<String> {
    let page = url::Url::parse(headers.get(header::REFERER)?.to_str().ok()?).ok()?;
    let path = page[url::Position::BeforePath..url::Position::AfterQuery].to_owned();
    (local_path(&path) == path).then_some(path)
}

/// Whether one of our handlers has drawn it.
fn said(response: &Response) -> bool {
    let kind = response.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    kind.is_some_and(|kind| !kind.starts_with("text/plain"))
}

/// Layer: words for every fault of the handlers within.
pub(super) async fn draw(State(console): State<Arc<Console>>, request: Request, next: Next) -> Response {
    let (method, uri, headers) = (request.method().clone(), request.uri().clone(), request.headers().clone());
    let id = request.extensions().get::<RequestId>().map(|id| id.0.clone()).unwrap_or_default();
    let response = next.run(request).await;
    let fault = match (response.extensions().get::<Fault>(), response.extensions().get::<Refused>()) {
        (Some(fault), _) => fault.clone(),
        (None, Some(Refused)) => Fault::Stale,
        // What the framework answers by itself is bare or in English: a wrong path, method, form or query.
        (None, None) => match response.status() {
            status if !status.is_client_error() || said(&response) => return response,
            StatusCode::NOT_FOUND => Fault::NoPage,
            status => Fault::Unread(status),
        },
    };
    match &fault {
        Fault::Failed(error) => tracing::error!(request.id = id, error, "a request failed"),
        Fault::ReadOnly(error) => tracing::warn!(request.id = id, error, "the store cannot be used"),
        _ => {}
    }
    let here = uri.path_and_query().map_or("/", |path| path.as_str());
    let shape = shape(uri.path(), &headers);
    let typed = response.extensions().get::<Sent>().map(Sent::typed).unwrap_or_default();
    let behind = (method != Method::GET).then(|| page_behind(&headers)).flatten();
    let next = if method == Method::GET { here } else { behind.as_deref().unwrap_or("/") };
    let next: String = url::form_urlencoded::byte_serialize(next.as_bytes()).collect();
    let sign_in = format!("/sign-in?next={next}");
    if matches!(fault, Fault::SignedOut) && shape == Shape::Page && typed.is_empty() {
        return Redirect::to(&sign_in).into_response();
    }
    let asker = Asker::find(&console, &headers).await;
    let mut f = asker.frame(&console, here);
    let words = fault.words(&f, &id);
    let mut answer = match shape {
        Shape::Json => axum::Json(json!({ "error": { "code": fault.code(), "message": words } })).into_response(),
        Shape::Bare => words.into_response(),
        // The page's own script says that the session has ended, and where to sign in.
        Shape::Toast if matches!(fault, Fault::SignedOut) => ().into_response(),
        Shape::Toast => {
            let anyway = matches!(fault, Fault::Answered(_));
            let flash = Flash { text: words, bad: true, anyway, ..Flash::default() };
            let push = RowPush { f: &f, rows: &[], counts: None, flash: Some(&flash) };
            push.render().map_or_else(|_| ().into_response(), |html| Html(html).into_response())
        }
        Shape::Page => {
            f.read_only = matches!(fault, Fault::ReadOnly(_));
            let page = ErrorPage { f, words, typed, behind, sign_in };
            page.render().map_or_else(|_| ().into_response(), |html| Html(html).into_response())
        }
    };
    *answer.status_mut() = fault.status();
    if fault.status().is_server_error()
        && let Ok(id) = HeaderValue::from_str(&id)
    {
        answer.headers_mut().insert(HeaderName::from_static("x-error-id"), id);
    }
    answer
}
