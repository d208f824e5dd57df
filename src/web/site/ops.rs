//! For those who run it: `/metrics` with facts read from the store at scrape, and `/health`.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use prometheus::Registry;
use serde_json::{Value, json};

use crate::{desk::Desk, metrics::scrape, queue, staff::TeamId};

crate::metrics! {
    /// Facts of the whole desk, read from the store when they are asked for.
    pub struct Metrics {
        /// Unfinished cases, by team; an emptied queue reports 0.
        open: IntGaugeVec = "moksori_queue_open_cases" ["team"],
        /// Unfinished cases past a deadline, by team. Should be 0.
        overdue: IntGaugeVec = "moksori_queue_overdue_cases" ["team"],
        /// Unfinished cases of nobody, by team.
        unclaimed: IntGaugeVec = "moksori_queue_unclaimed_cases" ["team"],
        /// Seconds until the next deadline of a team; absent while none is ahead.
        next_deadline: IntGaugeVec = "moksori_queue_next_deadline_seconds" ["team"],
        /// Replies of which nobody knows whether the platform took them; a person decides.
        in_doubt: IntGauge = "moksori_queue_replies_in_doubt",
    }
}

/// What is not well besides the store: a part, and why in words. Asked at each look at `/health`.
pub type Health = Arc<dyn Fn() -> Vec<(&'static str, String)> + Send + Sync>;

/// What the pages for operators stand on; every process has them, with a console or without.
pub struct Operator {
    /// The store's figures.
    pub desk: Arc<Desk>,
    /// What `/metrics` prints.
    pub registry: Registry,
    /// Anybody may read `/metrics`; otherwise only this machine.
    pub public_metrics: bool,
    /// Print the figures of the whole desk too; one process of several is enough.
    pub whole_desk: bool,
    /// The other parts of this process.
    pub health: Health,
}

/// The operators' routes.
pub(super) fn routes<S: Clone + Send + Sync + 'static>(operator: Arc<Operator>) -> Router<S> {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/health", get(health))
        .route("/health/live", get(live))
        .route("/health/ready", get(ready))
        .with_state(operator)
}

/// A look at the store that takes longer than this means: not ready.
const READY_WITHIN: Duration = Duration::from_secs(2);

/// The address that a request came from, when it came straight from it.
pub(super) fn peer(request: &Request) -> Option<SocketAddr> {
    request.extensions().get::<axum::extract::ConnectInfo<SocketAddr>>().map(|info| info.0)
}

/// A proxy on this machine speaks for others: what it passes on is not from here.
fn forwarded(headers: &HeaderMap) -> bool {
    ["forwarded", "x-forwarded-for", "x-real-ip"].iter().any(|name| headers.contains_key(*name))
}

/// `GET /metrics`.
async fn metrics(State(operator): State<Arc<Operator>>, request: Request) -> Response {
    let local = peer(&request).is_some_and(|peer| peer.ip().is_loopback()) && !forwarded(request.headers());
    if !local && !operator.public_metrics {
        return StatusCode::NOT_FOUND.into_response();
    }
    let facts = match operator.whole_desk {
        true => facts(&operator).await.unwrap_or_else(|error| {
            tracing::warn!(error = format!("{error:#}"), "could not read the figures of the store");
            String::new()
        }),
        false => String::new(),
    };
    match scrape(&operator.registry) {
        Ok(text) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text + &facts).into_response(),
        Err(error) => {
            tracing::error!(error = &error as &dyn std::error::Error, "could not print the metrics");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

async fn facts(operator: &Operator) -> Result<String, Box<dyn std::error::Error + Send + Sync>> {
    let registry = Registry::new();
    let metrics = Metrics::new(&registry)?;
    let now = operator.desk.clock().now();
    let (teams, in_doubt) = operator
        .desk
        .store()
        .read(move |reader| {
            let counts = reader.team_counts(now)?;
            let of = |team: TeamId| counts.iter().find(|(id, _)| *id == team).map(|(_, counts)| *counts).unwrap_or_default();
            let teams: Vec<_> = reader.catalog.teams.iter().map(|team| (team.key.clone(), of(team.id))).collect();
            Ok::<_, queue::Error>((teams, reader.replies_in_doubt()?.len()))
        })
        .await?;
    let whole = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    for (team, counts) in teams {
        metrics.open.with_label_values(&[&team]).set(whole(counts.open));
        metrics.overdue.with_label_values(&[&team]).set(whole(counts.overdue));
        metrics.unclaimed.with_label_values(&[&team]).set(whole(counts.unclaimed));
        if let Some(due) = counts.next_due {
            metrics.next_deadline.with_label_values(&[&team]).set(whole(due.since(now).as_secs()));
        }
    }
    metrics.in_doubt.set(i64::try_from(in_doubt).unwrap_or(i64::MAX));
    Ok(scrape(&registry)?)
}

/// `GET /health/live`: the process answers.
async fn live() -> &'static str {
    "live\n"
}

/// Why the store cannot be read, if it cannot.
async fn store_trouble(operator: &Operator) -> Option<&'static str> {
    match tokio::time::timeout(READY_WITHIN, operator.desk.store().read(|reader| reader.next_fire())).await {
        Ok(Ok(_)) => None,
        Ok(Err(error)) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "not ready: the store cannot be read");
            Some("the store cannot be read")
        }
        Err(_) => Some("the store is too slow"),
    }
}

/// `GET /health/ready`: the store can be read.
async fn ready(State(operator): State<Arc<Operator>>) -> Response {
    match store_trouble(&operator).await {
        None => "ready\n".into_response(),
        Some(trouble) => (StatusCode::SERVICE_UNAVAILABLE, format!("{trouble}\n")).into_response(),
    }
}

/// `GET /health`: `ok`, `degraded` with what is not well while work goes on, or `down` with status 503.
async fn health(State(operator): State<Arc<Operator>>) -> Response {
    let store = store_trouble(&operator).await;
    let mut troubles: serde_json::Map<String, Value> =
        (operator.health)().into_iter().map(|(part, why)| (part.to_owned(), why.into())).collect();
    if let Some(trouble) = store {
        troubles.insert("store".to_owned(), trouble.into());
    }
    let status = match (store, troubles.is_empty()) {
        (Some(_), _) => "down",
        (None, false) => "degraded",
        (None, true) => "ok",
    };
    let code = if store.is_some() { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    (code, Json(json!({ "status": status, "troubles": troubles }))).into_response()
}
