//! The console's handlers: from a request to a view and back, over the desk, the store and the index.
//!
//! Each request passes the same layers: an id and a span, security headers, one place where faults get
//! their status and words ([`fault`]), a time limit, the CSRF guard. Handlers read through
//! [`Desk::look`](crate::desk::Desk::look) and the store's reader, with the rights checked first, and
//! change something only by a command of the desk.

mod alike;
mod api;
mod commands;
mod exports;
mod facets;
mod fault;
mod fill;
mod finding;
mod flash;
mod insight;
mod live;
mod ops;
mod pages;
mod presence;
mod revealed;
mod review;
mod room;
mod saved;
mod say;
mod session;
mod sources;

#[cfg(test)]
mod tests;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use askama::Template;
use axum::{
    Router,
    extract::{DefaultBodyLimit, MatchedPath, Request},
    http::{HeaderName, HeaderValue},
    middleware::{self, Next},
    response::{Html, IntoResponse, Response},
    routing::{get, post, put},
};
use jiff::tz::TimeZone;
use prometheus::Registry;
use tokio::{
    net::TcpListener,
    sync::{Semaphore, watch},
};
use tracing::Instrument;

pub use self::ops::{Health, Metrics, Operator};
use self::{fault::Fault, live::Streams, presence::Presence};
use super::{
    assets,
    security::{self, Cookies, Throttle},
};
use crate::{
    clock::random_word,
    desk::{self, Desk},
    search::Search,
    staff::Viewer,
};

/// The largest body that is read.
const BODY_BYTES: usize = 64 * 1024;
/// A request is answered within this, or not at all; a stream has begun by then.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);
/// Passwords checked at the same time.
const HASHING: usize = 2;
/// A slow client holds the end of the service no longer than this.
const LAST_ANSWERS: Duration = Duration::from_secs(2);

/// Settings of the console.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// It is reached by https: cookies are bound to the host and never sent in the clear.
    pub https: bool,
    /// Anybody may read `/metrics`; otherwise only this machine.
    pub public_metrics: bool,
    /// How a case can end: key, Korean and English name.
    pub dispositions: Vec<(String, String, String)>,
}

/// What the console stands on.
pub struct Site {
    /// Commands, and the store behind them.
    pub desk: Arc<Desk>,
    /// The index.
    pub search: Arc<Search>,
    /// What `/metrics` prints.
    pub registry: Registry,
    /// The other parts of this process.
    pub health: Health,
    /// Settings.
    pub config: Config,
}

/// What went wrong in the console, outside of a request.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The password cannot be hashed.
    #[error("hash the password: {0}")]
    Password(String),
}

impl Error {
    /// Never: another password is needed.
    pub fn is_retryable(&self) -> bool {
        false
    }
}

/// argon2id of a password, for the store.
///
/// # Errors
/// When the password is longer than the algorithm takes.
pub fn hash_password(password: &str) -> Result<String, Error> {
    security::hash_password(password).map_err(|error| Error::Password(error.to_string()))
}

/// Path of the page that a one-time link opens; its button posts the token. Requests are logged by route, so
/// the token is in no log.
pub fn link_path(token: &str) -> String {
    format!("/link/{token}")
}

/// What every handler shares.
struct Console {
    site: Site,
    cookies: Cookies,
    throttle: Throttle,
    hashing: Semaphore,
    presence: Presence,
    /// Abusive posts that somebody asked to see.
    revealed: revealed::Revealed,
    streams: Arc<Streams>,
    /// What rose, of the last minutes.
    recent: insight::Recent,
    stop: watch::Receiver<bool>,
    /// Keeps a console alive that nobody stops.
    _never: Option<watch::Sender<bool>>,
}

impl Console {
    /// The zone in which a person sees times: that of their first team.
    fn zone(&self, viewer: &Viewer) -> TimeZone {
        desk::zone_of(viewer, &self.site.desk.store().catalog())
    }
}

/// A view drawn.
fn html(page: &impl Template) -> Result<Html<String>, Fault> {
    Ok(Html(page.render()?))
}

/// Number of a request: in its span, in `x-request-id`, and shown to people when it failed.
#[derive(Clone)]
struct RequestId(String);

/// Layer: an id and a span. The span names the route, never the address: addresses carry tokens and queries.
async fn identify(mut request: Request, next: Next) -> Response {
    let id = random_word::<5>();
    request.extensions_mut().insert(RequestId(id.clone()));
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned()).unwrap_or_default();
    let span = tracing::debug_span!("request", request.id = id, method = %request.method(), route);
    let mut response = next.run(request).instrument(span).await;
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(HeaderName::from_static("x-request-id"), id);
    }
    response
}

/// Layer: nobody waits for ever.
async fn limit_time(request: Request, next: Next) -> Response {
    match tokio::time::timeout(ANSWER_WITHIN, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Fault::Failed(format!("no answer within {} s", ANSWER_WITHIN.as_secs())).into_response(),
    }
}

/// The console's routes, for tests: live streams end with the last copy of it.
pub fn router(site: Site) -> Router {
    let (never, stop) = watch::channel(false);
    routes(site, stop, Some(never))
}

fn routes(site: Site, stop: watch::Receiver<bool>, never: Option<watch::Sender<bool>>) -> Router {
    let cookies = Cookies { tls: site.config.https };
    let operator = Operator {
        desk: Arc::clone(&site.desk),
        registry: site.registry.clone(),
        public_metrics: site.config.public_metrics,
        whole_desk: true,
        health: Arc::clone(&site.health),
    };
    let console = Arc::new(Console {
        site,
        cookies,
        throttle: Throttle::default(),
        hashing: Semaphore::new(HASHING),
        presence: Presence::default(),
        revealed: revealed::Revealed::default(),
        streams: Arc::default(),
        recent: insight::Recent::default(),
        stop,
        _never: never,
    });
    Router::new()
        .route("/", get(pages::home))
        .route("/sign-in", get(session::form).post(session::sign_in))
        .route("/sign-out", post(session::sign_out))
        .route("/link/{token}", get(session::link))
        .route("/link", post(session::use_link))
        .route("/preferences", post(session::prefer))
        .route("/queue/{team}", get(pages::queue))
        .route("/queue/{team}/rows", get(pages::queue_rows))
        .route("/queue/{team}/claim-next", post(commands::claim_next_of))
        .route("/mine", get(pages::mine))
        .route("/mine/rows", get(pages::mine_rows))
        .route("/claim-next", post(commands::claim_next))
        .route("/break", post(commands::take_break))
        .route("/cases/{number}", get(pages::case))
        .route("/cases/{number}/peek", get(pages::peek))
        .route("/cases/{number}/draft", put(commands::draft))
        .route("/cases/{number}/{command}", post(commands::run))
        .route("/review", get(review::page))
        .route("/review/corrections.jsonl", get(review::export))
        .route("/review/{mention}", post(review::decide))
        .route("/search", get(finding::page))
        .route("/sources", get(sources::page))
        .route("/sources/{account}", get(sources::one))
        .route("/sources/{account}/{command}", post(sources::run))
        .route("/saved", get(saved::page).post(saved::save))
        .route("/saved/{id}/delete", post(saved::delete))
        .route("/exports", get(exports::page).post(exports::begin))
        .route("/exports/{id}/cancel", post(exports::cancel))
        .route("/exports/{id}/{kind}", get(exports::download))
        .route("/insight", get(insight::page))
        .route("/live", get(live::stream))
        .route("/live/now", get(live::now))
        .route("/presence", post(commands::presence))
        .route("/api/v1/session", get(api::session))
        .route("/api/v1/queue", get(api::queue))
        .route("/api/v1/cases/{number}", get(api::one))
        .route("/api/v1/cases/{number}/{command}", post(api::command))
        .route("/api/v1/search", get(api::search))
        .route("/static/{file}", get(assets::serve))
        .merge(ops::routes(Arc::new(operator)))
        .fallback(|| async { Fault::NoPage })
        .layer(DefaultBodyLimit::max(BODY_BYTES))
        .layer(middleware::from_fn(move |request, next| security::guard(cookies, request, next)))
        .layer(middleware::from_fn(limit_time))
        .layer(middleware::from_fn_with_state(Arc::clone(&console), fault::draw))
        .layer(middleware::from_fn(security::headers))
        .layer(middleware::from_fn(identify))
        .with_state(console)
}

/// Serves the console, and routes of other stages `beside` it that have guards of their own, until `stop` turns true; then live streams end and running requests are answered.
pub async fn serve(listener: TcpListener, site: Site, beside: Router, stop: watch::Receiver<bool>) {
    serve_routes(listener, routes(site, stop.clone(), None).merge(beside), stop).await;
}

/// Serves the operators' pages alone, for a process without a console.
pub async fn serve_operator(listener: TcpListener, operator: Operator, beside: Router, stop: watch::Receiver<bool>) {
    let routes = ops::routes(Arc::new(operator)).layer(middleware::from_fn(limit_time)).merge(beside);
    serve_routes(listener, routes, stop).await;
}

async fn serve_routes(listener: TcpListener, routes: Router, stop: watch::Receiver<bool>) {
    let service = routes.into_make_service_with_connect_info::<SocketAddr>();
    let stopped = |mut stop: watch::Receiver<bool>| async move {
        // A dropped sender means the same as a signal.
        drop(stop.wait_for(|stop| *stop).await);
    };
    let server = axum::serve(listener, service).with_graceful_shutdown(stopped(stop.clone())).into_future();
    let too_late = async {
        stopped(stop).await;
        tokio::time::sleep(LAST_ANSWERS).await;
    };
    tokio::select! {
        served = server => if let Err(error) = served {
            tracing::error!(error = &error as &dyn std::error::Error, "the console has stopped");
        },
        () = too_late => tracing::warn!("some requests were cut off"),
    }
}
