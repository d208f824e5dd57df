//! The console's handlers: from a request to a view and back, over the desk, the store and the index.
//!
//! Each request passes the same layers: an id and a span, security headers, one place where faults get
//! their status and words ([`fault`]), a time limit, the CSRF guard. Handlers read through
//! [`Desk::look`](crate::desk::Desk::look) and the store's reader, with the rights checked first, and
//! change something only by a command of the desk.

mod ops;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, middleware, routing::get};
use prometheus::Registry;
use tokio::{net::TcpListener, sync::watch};

use super::{
    assets,
    security::{self, Cookies},
};
use crate::{desk::Desk, search::Search};

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
}

/// The console's routes, for tests: live streams end with the last copy of it.
pub fn router(site: Site) -> Router {
    let (never, stop) = watch::channel(false);
    routes(site, stop, Some(never))
}

fn routes(site: Site, _stop: watch::Receiver<bool>, _never: Option<watch::Sender<bool>>) -> Router {
    let cookies = Cookies { tls: site.config.https };
    let console = Arc::new(Console { site, cookies });
    Router::new()
        .route("/static/{file}", get(assets::serve))
        .route("/metrics", get(ops::metrics))
        .route("/health/live", get(ops::live))
        .route("/health/ready", get(ops::ready))
        .layer(middleware::from_fn(security::headers))
        .with_state(console)
}

/// Serves the console until `stop` turns true; then live streams end and running requests are answered.
pub async fn serve(listener: TcpListener, site: Site, stop: watch::Receiver<bool>) {
    let service = routes(site, stop.clone(), None).into_make_service_with_connect_info::<SocketAddr>();
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
