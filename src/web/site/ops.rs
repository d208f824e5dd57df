//! For those who run it: `/metrics` with facts read from the store at scrape, and `/health`.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use prometheus::Registry;

use super::Console;
use crate::{
    metrics::scrape,
    queue::{self, QueueFilter},
};

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
pub(super) async fn metrics(State(console): State<Arc<Console>>, request: Request) -> Response {
    let local = peer(&request).is_some_and(|peer| peer.ip().is_loopback()) && !forwarded(request.headers());
    if !local && !console.site.config.public_metrics {
        return StatusCode::NOT_FOUND.into_response();
    }
    let facts = facts(&console).await.unwrap_or_else(|error| {
        tracing::warn!(error = format!("{error:#}"), "could not read the figures of the store");
        String::new()
    });
    match scrape(&console.site.registry) {
        Ok(text) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text + &facts).into_response(),
        Err(error) => {
            tracing::error!(error = &error as &dyn std::error::Error, "could not print the metrics");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

async fn facts(console: &Console) -> Result<String, Box<dyn std::error::Error + Send + Sync>> {
    let registry = Registry::new();
    let metrics = Metrics::new(&registry)?;
    let now = console.site.desk.clock().now();
    let (teams, in_doubt) = console
        .site
        .desk
        .store()
        .read(move |reader| {
            let mut teams = Vec::new();
            for team in &reader.catalog.teams {
                let filter = QueueFilter { teams: vec![team.id], ..QueueFilter::default() };
                teams.push((team.key.clone(), reader.queue_counts(&filter, now)?));
            }
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
pub(super) async fn live() -> &'static str {
    "live\n"
}

/// `GET /health/ready`: the store can be read.
pub(super) async fn ready(State(console): State<Arc<Console>>) -> Response {
    let look = console.site.desk.store().read(|reader| reader.next_fire());
    match tokio::time::timeout(READY_WITHIN, look).await {
        Ok(Ok(_)) => "ready\n".into_response(),
        Ok(Err(error)) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "not ready: the store cannot be read");
            (StatusCode::SERVICE_UNAVAILABLE, "the store cannot be read\n").into_response()
        }
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "the store is too slow\n").into_response(),
    }
}
