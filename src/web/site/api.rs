//! The JSON API under `/api/v1`: the same session, rights and commands as the pages.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, Query as Params, RawQuery, State, rejection::JsonRejection},
    http::StatusCode,
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Console,
    commands::Fields,
    fault::Fault,
    finding::{Asked, PAGE},
    pages::number_of,
    room::Room,
    session::Visit,
};
use crate::{
    query::Query,
    queue::{Case, MentionView, Reader},
    sla::SlaClock,
};

type Answer = Result<Json<Value>, Fault>;

fn clock(clock: &SlaClock) -> Value {
    json!({
        "kind": clock.kind.as_str(),
        "cycle": clock.cycle,
        "state": clock.state.as_str(),
        "policy": clock.policy.to_string(),
        "origin_at": clock.origin_at.to_string(),
        "origin": clock.origin_source.as_str(),
        "target_seconds": clock.target.as_secs(),
        "deadline_at": (clock.deadline_at != crate::clock::Time::NEVER).then(|| clock.deadline_at.to_string()),
        "met_at": clock.met_at.map(|at| at.to_string()),
        "breached_at": clock.breached_at.map(|at| at.to_string()),
        "cancelled": clock.cancelled.map(|reason| reason.as_str()),
    })
}

fn case(reader: &Reader<'_>, case: &Case, assignee: Option<&str>) -> Value {
    let catalog = reader.catalog;
    json!({
        "number": case.id.0,
        "status": case.status.as_str(),
        "priority": case.priority.as_str(),
        "label": (!case.unsure || case.labelled_by.is_some()).then(|| case.label.as_str()),
        "confidence": case.labelled_by.is_none().then_some(case.confidence),
        "team": catalog.team(case.team).map(|team| &team.key),
        "account": catalog.account(case.account).map(|account| &account.key),
        "assignee": assignee,
        "rule": case.rule,
        "opened_at": case.opened_at.to_string(),
        "resolved_at": case.resolved_at.map(|at| at.to_string()),
        "disposition": case.disposition,
        "transfers": case.transfers,
        "clocks": case.clocks.iter().map(clock).collect::<Vec<_>>(),
    })
}

fn mention(mention: &MentionView) -> Value {
    json!({
        "id": mention.id.0,
        "side": mention.side.as_str(),
        "source": mention.source,
        "author": { "handle": mention.handle, "name": mention.name, "reach": mention.reach },
        "text": mention.deleted_at.is_none().then(|| mention.text.whole()),
        "lang": mention.lang.as_str(),
        "url": mention.url,
        "posted_at": mention.posted_at.to_string(),
        "edited_at": mention.edited_at.map(|at| at.to_string()),
        "deleted_at": mention.deleted_at.map(|at| at.to_string()),
        "reasons": mention.reasons,
    })
}

/// `GET /api/v1/session`: who one is, and the token that each change must carry as `x-csrf-token`.
pub(super) async fn session(State(console): State<Arc<Console>>, visit: Visit) -> Answer {
    let catalog = console.site.desk.store().catalog();
    let teams = visit.viewer.teams.iter().filter_map(|(id, role)| {
        let team = catalog.team(*id)?;
        Some(json!({ "team": team.key, "role": role.as_str() }))
    });
    let teams: Vec<Value> = teams.collect();
    Ok(Json(
        json!({ "initials": visit.viewer.initials, "name": visit.viewer.name, "teams": teams, "csrf": visit.token.csrf() }),
    ))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "the fields are read as a room's filters; here unknown ones are refused")]
pub(super) struct QueueParams {
    team: Option<String>,
    label: Option<String>,
    lang: Option<String>,
    platform: Option<String>,
    account: Option<String>,
    owner: Option<String>,
    status: Option<String>,
    shown: Option<u32>,
}

/// `GET /api/v1/queue?team=cs-1&label=complaint`; without a team one's own cases.
pub(super) async fn queue(
    State(console): State<Arc<Console>>,
    visit: Visit,
    Params(params): Params<QueueParams>,
    RawQuery(query): RawQuery,
) -> Answer {
    let now = console.site.desk.clock().now();
    let query = query.unwrap_or_default();
    let answer = console
        .read(move |reader| {
            let room = Room::open(reader, &visit.viewer, params.team.as_deref(), &query)?;
            let counts = reader.queue_counts(&room.filter, now)?;
            let lines = reader.queue(&room.filter, visit.viewer.id, now, room.shown)?;
            let cases = lines.iter().map(|line| {
                let mut one = case(reader, &line.case, line.assignee.as_deref());
                one["mention"] = mention(&line.mention);
                one
            });
            Ok(json!({
                "counts": {
                    "open": counts.open,
                    "overdue": counts.overdue,
                    "unclaimed": counts.unclaimed,
                    "next_due": counts.next_due.map(|at| at.to_string()),
                },
                "cases": cases.collect::<Vec<_>>(),
            }))
        })
        .await?;
    Ok(Json(answer))
}

/// `GET /api/v1/cases/{number}`.
pub(super) async fn one(State(console): State<Arc<Console>>, visit: Visit, Path(number): Path<String>) -> Answer {
    let view = console.look(&visit.viewer, number_of(&number)?).await?;
    let answer = console
        .read(move |reader| {
            let mut answer = case(reader, &view.case, view.assignee.as_deref());
            answer["thread"] = view.thread.iter().map(mention).collect();
            answer["replies"] = (view.replies.iter())
                .map(|(reply, by)| {
                    json!({
                        "id": reply.id.0,
                        "by": by,
                        "text": reply.text,
                        "state": reply.state.as_str(),
                        "created_at": reply.created_at.to_string(),
                        "due_at": reply.due_at.to_string(),
                        "sent_at": reply.sent_at.map(|at| at.to_string()),
                        "url": reply.url,
                        "reason": reply.reason,
                    })
                })
                .collect();
            answer["notes"] = (view.notes.iter())
                .map(|note| json!({ "id": note.id, "by": note.initials, "at": note.at.to_string(), "kind": note.kind, "text": note.text }))
                .collect();
            answer["events"] = (view.events.iter())
                .map(|(event, by)| json!({ "seq": event.seq.0, "at": event.at.to_string(), "kind": event.kind.as_str(), "by": by }))
                .collect();
            Ok(answer)
        })
        .await?;
    Ok(Json(answer))
}

/// `POST /api/v1/cases/{number}/{command}` with the fields of the command as JSON.
pub(super) async fn command(
    State(console): State<Arc<Console>>,
    visit: Visit,
    Path((number, name)): Path<(String, String)>,
    fields: Result<Json<Fields>, JsonRejection>,
) -> Answer {
    let Json(fields) = fields.map_err(|refused| {
        // What stands behind the first line may repeat the body.
        Fault::Malformed(refused.status(), refused.body_text())
    })?;
    let outcome = console.command(&visit.viewer, number_of(&number)?, &name, fields).await?;
    Ok(Json(json!({
        "case": outcome.done.case,
        "event": outcome.done.undo,
        "reply": outcome.reply.map(|(id, due)| json!({ "id": id.0, "due_at": due.to_string() })),
        "text": outcome.text,
    })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SearchParams {
    q: String,
    #[serde(default)]
    sort: String,
    page: Option<usize>,
}

/// `GET /api/v1/search?q=`.
pub(super) async fn search(State(console): State<Arc<Console>>, visit: Visit, Params(params): Params<SearchParams>) -> Answer {
    let asked = Asked { q: params.q, sort: params.sort, page: params.page, like: None };
    let query: Query = asked
        .q
        .parse()
        .map_err(|error: crate::query::Error| Fault::Malformed(StatusCode::UNPROCESSABLE_ENTITY, error.to_string()))?;
    let found = console.find(&visit.viewer, query, &asked, Vec::new()).await?;
    let facets = found.facets.iter().map(|facet| json!({ "field": facet.field, "value": facet.value, "count": facet.count }));
    let facets: Vec<Value> = facets.collect();
    let (total, more) = (found.total, found.more);
    let widened = found.widened.iter().map(|word| json!({ "typed": word.typed, "forms": word.forms }));
    let widened: Vec<Value> = widened.collect();
    let hits = console
        .read(move |reader| {
            let ids: Vec<_> = found.hits.iter().map(|hit| hit.mention).collect();
            let mentions = reader.mentions(&ids)?;
            let mut hits = Vec::new();
            for hit in &found.hits {
                let Some(post) = mentions.iter().find(|post| post.id == hit.mention) else { continue };
                let found = match hit.case {
                    // The index may be a moment behind the store, also in whose case it is.
                    Some(number) => match reader.case(number)? {
                        Some(found) if visit.viewer.visible_teams().contains(&found.team) => case(reader, &found, None),
                        _ => continue,
                    },
                    None => Value::Null,
                };
                hits.push(json!({ "case": found, "mention": mention(post), "score": hit.score }));
            }
            Ok(hits)
        })
        .await?;
    Ok(Json(
        json!({ "total": total, "more": more, "page": asked.number() + 1, "page_size": PAGE, "hits": hits, "facets": facets, "widened": widened }),
    ))
}
