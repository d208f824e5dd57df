//! Saved searches: kept, shared, told about.

use std::{collections::HashMap, sync::Arc, time::Duration};

use axum::{
    Form,
    extract::{Path, State},
    response::{IntoResponse, Redirect, Response},
};
use jiff::tz::TimeZone;
use serde::Deserialize;

use super::{Console, fault::Fault, fill::team_name, html, session::Visit};
use crate::{
    clock::Time,
    desk::NewSearch,
    query::Query,
    queue::{AlertRule, SavedSearch, SearchAlert},
    web::views::{self, AlertRow, SavedPage, SavedRow},
};

/// Alerts on the page.
const ALERTS: u32 = 50;
/// Periods that an alert may look at, in hours.
const HOURS: std::ops::RangeInclusive<u32> = 1..=168;

/// The form behind "save".
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Fields {
    q: String,
    name: String,
    team: String,
    alert: String,
    least: Option<u32>,
    times: Option<f64>,
    hours: Option<u32>,
}

impl Fields {
    fn rule(&self) -> Result<Option<AlertRule>, Fault> {
        let hours = self.hours.unwrap_or(1);
        let period = Duration::from_secs(3_600) * hours;
        let threshold = self.least.unwrap_or(1).max(1);
        let times = self.times.unwrap_or(3.0);
        if !self.alert.is_empty() && !HOURS.contains(&hours) {
            return Err(Fault::Unknown(hours.to_string()));
        }
        match self.alert.as_str() {
            "" => Ok(None),
            "count" => Ok(Some(AlertRule::Count { threshold, period })),
            "spike" if (1.0..=100.0).contains(&times) => {
                Ok(Some(AlertRule::Spike { percent: (times * 100.0).round() as u32, threshold, period }))
            }
            "spike" => Err(Fault::Unknown(times.to_string())),
            other => Err(Fault::Unknown(other.to_owned())),
        }
    }
}

fn address(query: &str) -> String {
    format!("/search?{}", url::form_urlencoded::Serializer::new(String::new()).append_pair("q", query).finish())
}

/// The query narrowed to exactly the time of an alert, in the zone of the index.
fn narrowed(query: &str, alert: &SearchAlert, zone: &TimeZone) -> String {
    let minute = |at: Time| at.timestamp().to_zoned(zone.clone()).strftime("%Y-%m-%dT%H:%M").to_string();
    let last = alert.until.minus(Duration::from_secs(60));
    let either = query.split_whitespace().any(|word| word == "OR");
    let query = if either { format!("({query})") } else { query.to_owned() };
    format!("{query} posted:{}..{}", minute(alert.from), minute(last))
}

/// `GET /saved`; whoever opens it has seen the alerts.
pub(super) async fn page(State(console): State<Arc<Console>>, visit: Visit) -> Result<Response, Fault> {
    let desktop = console.desktop(&visit);
    let viewer = visit.viewer.clone();
    let zone = console.site.search.zone().clone();
    let (page, newest) = console
        .read(move |reader| {
            let teams = viewer.visible_teams();
            let saved = reader.saved_searches(viewer.id, &teams)?;
            let ids: Vec<i64> = saved.iter().map(|one| one.id).collect();
            let alerts = reader.search_alerts(&ids, ALERTS)?;
            let unseen = reader.unseen_alerts(viewer.id, &teams)?;
            let by_id: HashMap<i64, &SavedSearch> = saved.iter().map(|one| (one.id, one)).collect();
            let rows = saved.iter().map(|one| SavedRow {
                id: one.id,
                name: one.name.clone(),
                query: one.query.clone(),
                href: address(&one.query),
                team: one.team.and_then(|team| reader.catalog.team(team)).map(|team| team_name(team, desktop.f.language)),
                mine: one.agent == viewer.id,
                alert: one.alert,
            });
            let told = alerts.iter().zip(0_u64..).filter_map(|(alert, place)| {
                let saved = by_id.get(&alert.saved)?;
                Some(AlertRow {
                    name: saved.name.clone(),
                    at: alert.at,
                    found: alert.found,
                    period: alert.until.since(alert.from),
                    usual: alert.usual,
                    href: address(&narrowed(&saved.query, alert, &zone)),
                    fresh: place < unseen,
                })
            });
            let f = desktop.frame(reader, views::Room::Search, "/saved")?;
            Ok((SavedPage { alerts: told.collect(), rows: rows.collect(), f }, alerts.first().map(|alert| alert.id)))
        })
        .await?;
    if let Some(newest) = newest {
        console.site.desk.see_alerts(&visit.viewer, newest).await?;
    }
    Ok(html(&page)?.into_response())
}

/// `POST /saved`.
pub(super) async fn save(
    State(console): State<Arc<Console>>,
    visit: Visit,
    Form(fields): Form<Fields>,
) -> Result<Response, Fault> {
    let query: Result<Query, _> = fields.q.parse();
    if let Err(error) = query {
        return Err(Fault::Malformed(
            axum::http::StatusCode::UNPROCESSABLE_ENTITY,
            super::say::query(visit.taste.language, &error),
        ));
    }
    let team = match fields.team.as_str() {
        "" => None,
        key => {
            let catalog = console.site.desk.store().catalog();
            Some(catalog.team_by_key(key).ok_or_else(|| Fault::Unknown(key.to_owned()))?.id)
        }
    };
    let new = NewSearch { alert: fields.rule()?, name: fields.name, query: fields.q, team };
    console.site.desk.save_search(&visit.viewer, new).await?;
    Ok(Redirect::to("/saved").into_response())
}

/// `POST /saved/{id}/delete`.
pub(super) async fn delete(State(console): State<Arc<Console>>, visit: Visit, Path(id): Path<i64>) -> Result<Response, Fault> {
    match console.site.desk.drop_search(&visit.viewer, id).await? {
        true => Ok(Redirect::to("/saved").into_response()),
        false => Err(Fault::NoPage),
    }
}
