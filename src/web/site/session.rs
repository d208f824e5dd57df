//! Who asks: signing in and out, one-time links, language and colours.

use std::{sync::Arc, time::Duration};

use axum::{
    Form,
    extract::{FromRequestParts, Path, Query, Request, State},
    http::{HeaderMap, StatusCode, header, request::Parts},
    response::{IntoResponse, Redirect, Response},
};
use jiff::tz::TimeZone;
use serde::Deserialize;

use super::{Console, fault::Fault, html, ops};
use crate::{
    desk::SignIn as Started,
    staff::Viewer,
    web::{
        security::{self, Token, cookie, local_path},
        views::{self, Failure, Frame, LinkPage, Me, Theme},
        words::Language,
    },
};

/// How long a browser keeps the cookie; the store decides when the session ends.
const COOKIE: Duration = Duration::from_secs(30 * 86_400);

/// A person who is signed in, with the page's tastes.
#[derive(Clone, Debug)]
pub(super) struct Visit {
    /// Who, with their teams.
    pub viewer: Viewer,
    /// The session's token.
    pub token: Token,
    /// Language and colours.
    pub taste: Taste,
    /// htmx asks for a piece of page.
    pub htmx: bool,
    /// The page in the browser, path and query, as htmx tells.
    pub page: String,
    /// Path and query of this request.
    pub here: String,
}

/// Language and colours.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taste {
    /// The language of the page.
    pub language: Language,
    /// The colours.
    pub theme: Theme,
}

impl Taste {
    /// The person's own choice, then the browser's cookie, then what the browser likes best.
    fn of(headers: &HeaderMap, locale: Option<&str>) -> Taste {
        let accepted = headers.get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let chosen = cookie(headers, "lang").and_then(Language::parse).or_else(|| locale.and_then(Language::parse));
        Taste {
            language: chosen.unwrap_or_else(|| Language::accepted(accepted)),
            theme: cookie(headers, "theme").and_then(Theme::parse).unwrap_or_default(),
        }
    }
}

/// Anybody who asks, signed in or not.
#[derive(Clone, Debug)]
pub(super) struct Asker {
    viewer: Option<Viewer>,
    token: Option<Token>,
    taste: Taste,
}

impl Asker {
    /// Who sent these headers; a store that cannot be read makes everybody a stranger.
    pub(super) async fn find(console: &Console, headers: &HeaderMap) -> Asker {
        let token = console.cookies.session(headers);
        let session = match &token {
            Some(token) => console.site.desk.session(token.reveal()).await.ok().flatten(),
            None => None,
        };
        let locale = session.as_ref().and_then(|session| session.locale.clone());
        Asker { taste: Taste::of(headers, locale.as_deref()), viewer: session.map(|session| session.viewer), token }
    }

    /// The frame of a page for them, without navigation.
    pub(super) fn frame(&self, console: &Console, here: &str) -> Frame {
        let zone = self.viewer.as_ref().map_or(TimeZone::UTC, |viewer| console.zone(viewer));
        let mut f = Frame::new(self.taste.language, zone, console.site.desk.clock().now());
        f.theme = self.taste.theme;
        f.here = here.into();
        f.csrf = self.token.as_ref().map(Token::csrf).unwrap_or_default();
        f.me = self.viewer.as_ref().map(|viewer| Me { initials: viewer.initials.clone(), name: viewer.name.clone() });
        f
    }
}

impl FromRequestParts<Arc<Console>> for Visit {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, console: &Arc<Console>) -> Result<Visit, Fault> {
        let token = console.cookies.session(&parts.headers).ok_or(Fault::SignedOut)?;
        let session = console.site.desk.session(token.reveal()).await?.ok_or(Fault::SignedOut)?;
        let text = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok());
        let page = text("hx-current-url").and_then(|url| url::Url::parse(url).ok());
        Ok(Visit {
            taste: Taste::of(&parts.headers, session.locale.as_deref()),
            viewer: session.viewer,
            token,
            htmx: text("hx-request").is_some(),
            page: page.map(|url| format!("{}?{}", url.path(), url.query().unwrap_or_default())).unwrap_or_default(),
            here: parts.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned(),
        })
    }
}

#[derive(Deserialize)]
pub(super) struct Next {
    next: Option<String>,
}

fn sign_in_page(f: Frame, next: &str, email: String, failure: Option<Failure>, status: StatusCode) -> Result<Response, Fault> {
    let page = views::SignIn { f, next: local_path(next).into(), email, failure };
    Ok((status, html(&page)?).into_response())
}

/// `GET /sign-in`.
pub(super) async fn form(
    State(console): State<Arc<Console>>,
    headers: HeaderMap,
    Query(query): Query<Next>,
) -> Result<Response, Fault> {
    let asker = Asker::find(&console, &headers).await;
    let next = query.next.unwrap_or_else(|| "/".into());
    if asker.viewer.is_some() {
        return Ok(Redirect::to(local_path(&next)).into_response());
    }
    sign_in_page(asker.frame(&console, "/sign-in"), &next, String::new(), None, StatusCode::OK)
}

#[derive(Deserialize)]
pub(super) struct Credentials {
    email: String,
    password: String,
    #[serde(default)]
    next: String,
}

/// `POST /sign-in`: one answer, and one length of time, for every wrong e-mail or password.
pub(super) async fn sign_in(State(console): State<Arc<Console>>, request: Request) -> Result<Response, Fault> {
    let address = ops::peer(&request).map(|peer| peer.ip().to_string()).unwrap_or_default();
    let headers = request.headers().clone();
    let Credentials { email, password, next } = read_form(request).await?;
    let asker = Asker::find(&console, &headers).await;
    let frame = || asker.frame(&console, "/sign-in");
    if let Err(wait) = console.throttle.admit(&email, &address, console.site.desk.clock().now()) {
        tracing::warn!("too many tries to sign in");
        let failure = Failure::Locked(wait.as_secs().div_ceil(60).max(1));
        return sign_in_page(frame(), &next, email, Some(failure), StatusCode::TOO_MANY_REQUESTS);
    }
    let known = console.site.desk.credentials(&email).await?;
    let hash = known.as_ref().and_then(|known| known.password_hash.clone());
    // Few at a time: each check takes memory and a core on purpose.
    let permit = console.hashing.acquire().await.map_err(|error| Fault::Failed(error.to_string()))?;
    let right = tokio::task::spawn_blocking(move || security::verify_password(hash.as_deref(), &password)).await;
    drop(permit);
    let agent = known.filter(|_| matches!(right, Ok(true))).map(|known| known.agent);
    let Some(agent) = agent else {
        tracing::warn!("a sign-in was refused");
        return sign_in_page(frame(), &next, email, Some(Failure::Wrong), StatusCode::UNAUTHORIZED);
    };
    console.throttle.clear(&email);
    let started = console.site.desk.start_session(agent).await?;
    begin(&console, &headers, &started, &next).await
}

/// A form's fields, by hand, because its handler needs the request's peer too.
async fn read_form<T: serde::de::DeserializeOwned>(request: Request) -> Result<T, Fault> {
    use axum::extract::FromRequest;
    let form = Form::<T>::from_request(request, &()).await;
    form.map(|Form(fields)| fields).map_err(|refused| Fault::Malformed(refused.status(), refused.body_text()))
}

/// Starts the browser's session; an older one of the same browser ends.
async fn begin(console: &Console, headers: &HeaderMap, started: &Started, next: &str) -> Result<Response, Fault> {
    if let Some(old) = console.cookies.session(headers) {
        console.site.desk.end_session(old.reveal()).await?;
    }
    tracing::info!(agent.id = started.agent.0, "signed in");
    let token = Token::parse(&started.token).ok_or_else(|| Fault::Failed("the desk made a token of another kind".into()))?;
    let cookie = console.cookies.start(&token, COOKIE);
    Ok(([(header::SET_COOKIE, cookie)], Redirect::to(local_path(next))).into_response())
}

/// `GET /link/{token}`: a page with a button, so that a previewing mail program uses nothing up.
pub(super) async fn link(
    State(console): State<Arc<Console>>,
    headers: HeaderMap,
    Path(token): Path<String>,
    Query(query): Query<Next>,
) -> Result<Response, Fault> {
    let asker = Asker::find(&console, &headers).await;
    let next = query.next.unwrap_or_else(|| "/".into());
    let mut f = asker.frame(&console, "/sign-in");
    f.me = None;
    Ok(html(&LinkPage { f, token, next: local_path(&next).into() })?.into_response())
}

#[derive(Deserialize)]
pub(super) struct LinkForm {
    token: String,
    #[serde(default)]
    next: String,
}

/// `POST /link`: uses the token up.
pub(super) async fn use_link(
    State(console): State<Arc<Console>>,
    headers: HeaderMap,
    Form(form): Form<LinkForm>,
) -> Result<Response, Fault> {
    match console.site.desk.use_link(&form.token).await? {
        Some(started) => begin(&console, &headers, &started, &form.next).await,
        None => {
            let f = Asker::find(&console, &headers).await.frame(&console, "/sign-in");
            sign_in_page(f, &form.next, String::new(), Some(Failure::Spent), StatusCode::GONE)
        }
    }
}

/// `POST /sign-out`.
pub(super) async fn sign_out(State(console): State<Arc<Console>>, headers: HeaderMap) -> Result<Response, Fault> {
    if let Some(token) = console.cookies.session(&headers) {
        console.site.desk.end_session(token.reveal()).await?;
        tracing::info!("signed out");
    }
    Ok(([(header::SET_COOKIE, console.cookies.end())], Redirect::to("/sign-in")).into_response())
}

#[derive(Deserialize)]
pub(super) struct Preferences {
    lang: Option<String>,
    theme: Option<String>,
    #[serde(default)]
    next: String,
}

/// `POST /preferences`: language and colours, for this browser and for the person.
pub(super) async fn prefer(
    State(console): State<Arc<Console>>,
    headers: HeaderMap,
    Form(form): Form<Preferences>,
) -> Result<Response, Fault> {
    let mut response = Redirect::to(local_path(&form.next)).into_response();
    let out = response.headers_mut();
    if let Some(language) = form.lang.as_deref().and_then(Language::parse) {
        out.append(header::SET_COOKIE, console.cookies.prefer("lang", language.code()));
        if let Some(viewer) = Asker::find(&console, &headers).await.viewer {
            console.site.desk.set_locale(viewer.id, language.code()).await?;
        }
    }
    if let Some(theme) = form.theme.as_deref().and_then(Theme::parse) {
        out.append(header::SET_COOKIE, console.cookies.prefer("theme", theme.code()));
    }
    Ok(response)
}
