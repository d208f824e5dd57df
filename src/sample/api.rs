//! The routes: what a connector may ask of the sample platform.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use axum::{
    Json as Body, Router,
    body::Bytes,
    extract::{Path, RawQuery, Request, State as Shelf},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use serde_json::{Value as Json, json};

use super::{
    Shared,
    state::{Post, State, tags},
    view,
};

/// Requests a window; no limit that anybody on this machine would meet.
const LIMIT: u64 = 1_000_000;

pub(super) fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/api/v2/instance", get(instance))
        .route("/api/v1/notifications", get(notifications))
        .route("/api/v1/timelines/tag/{tag}", get(tag_timeline))
        .route("/api/v1/accounts/verify_credentials", get(verify))
        .route("/api/v1/accounts/{id}/statuses", get(account_statuses))
        .route("/api/v1/statuses", get(statuses).post(create))
        .route("/api/v1/statuses/{id}", get(status))
        .route("/api/v1/statuses/{id}/context", get(context))
        .fallback(async || error(StatusCode::NOT_FOUND, "Record not found"))
        .layer(middleware::from_fn_with_state(shared.clone(), weather))
        .with_state(shared)
}

/// Whatever was ordered to go wrong; and the rate limit's headers.
async fn weather(Shelf(shared): Shelf<Arc<Shared>>, request: Request, next: Next) -> Response {
    let mut stalled = shared.stalled.subscribe();
    // The sender lives as long as the router, so this ends only when the server moves again.
    drop(stalled.wait_for(|stalled| !stalled).await);
    let posting = request.method() == axum::http::Method::POST;
    let (failure, requests) = {
        let mut state = shared.state();
        state.requests += 1;
        (state.failures.pop_front(), state.requests)
    };
    let mut response = match failure {
        Some((status, retry_after)) => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            let mut response = error(status, status.canonical_reason().unwrap_or("Error")).into_response();
            if let Some(seconds) = retry_after {
                response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
            }
            response
        }
        None => next.run(request).await,
    };
    if posting {
        let mut state = shared.state();
        if state.lost_answers > 0 {
            state.lost_answers -= 1;
            return error(StatusCode::BAD_GATEWAY, "Bad Gateway").into_response();
        }
    }
    let reset = format!("{:.6}", shared.clock.now().plus(Duration::from_secs(300)).timestamp());
    let headers = [
        ("x-ratelimit-limit", LIMIT.to_string()),
        ("x-ratelimit-remaining", (LIMIT - requests % LIMIT).to_string()),
        ("x-ratelimit-reset", reset),
    ];
    for (name, value) in headers {
        if let Ok(value) = value.parse() {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

/// An answer that is no success.
type Refusal = (StatusCode, Body<Json>);

fn error(status: StatusCode, text: &str) -> Refusal {
    (status, Body(json!({ "error": text })))
}

/// The account that a bearer token belongs to.
fn caller(state: &State, headers: &HeaderMap) -> Result<usize, Refusal> {
    let token = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    token
        .and_then(|token| state.accounts.iter().position(|account| account.token.as_deref() == Some(token)))
        .ok_or_else(|| error(StatusCode::UNAUTHORIZED, "The access token is invalid"))
}

fn pairs(query: Option<String>) -> Vec<(String, String)> {
    url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()).into_owned().collect()
}

/// One page of the posts or notifications `ids`, which are oldest first, and the Link header to its
/// neighbours. With `min_id` a page is the one just above it, else the newest; it is newest first.
fn page<'state>(
    url: &str,
    path: &str,
    query: &[(String, String)],
    most: usize,
    ids: impl DoubleEndedIterator<Item = &'state String>,
    show: impl Fn(&str) -> Option<Json>,
) -> Response {
    let value = |name: &str| query.iter().find(|(key, _)| key == name).map(|(_, value)| value);
    let limit = value("limit").and_then(|text| text.parse().ok()).unwrap_or(most / 2).clamp(1, most);
    let (above, below) = (value("min_id").max(value("since_id")), value("max_id"));
    let found = ids.filter(|id| above.is_none_or(|above| *id > above) && below.is_none_or(|below| *id < below));
    let found: Vec<&String> = if value("min_id").is_some() {
        let mut lowest: Vec<&String> = found.take(limit).collect();
        lowest.reverse();
        lowest
    } else {
        found.rev().take(limit).collect()
    };
    let neighbour = |name: &str, id: &str, rel: &str| {
        let kept = query.iter().filter(|(key, _)| !matches!(key.as_str(), "min_id" | "max_id" | "since_id"));
        let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(kept).append_pair(name, id).finish();
        format!("<{url}{path}?{query}>; rel=\"{rel}\"")
    };
    let link = found
        .first()
        .zip(found.last())
        .map(|(newest, oldest)| format!("{}, {}", neighbour("max_id", oldest, "next"), neighbour("min_id", newest, "prev")));
    let mut response = Body(Json::Array(found.into_iter().filter_map(|id| show(id)).collect())).into_response();
    if let Some(link) = link.and_then(|link| link.parse().ok()) {
        response.headers_mut().insert(header::LINK, link);
    }
    response
}

/// One page of the live posts that `fits` picks.
fn page_of_posts(state: &State, path: &str, query: Option<String>, fits: impl Fn(&Post) -> bool) -> Response {
    let ids = state.posts.iter().filter(|(_, post)| !post.deleted && fits(post)).map(|(id, _)| id);
    page(&state.url, path, &pairs(query), 40, ids, |id| Some(view::status(state, id, state.live(id)?)))
}

async fn instance(Shelf(shared): Shelf<Arc<Shared>>) -> Response {
    let url = shared.state().url.clone();
    Body(json!({
        "domain": url.trim_start_matches("http://"),
        "title": "Sample",
        "version": "4.5.2",
        "configuration": {"statuses": {"max_characters": 500, "characters_reserved_per_url": 23}},
    }))
    .into_response()
}

async fn verify(Shelf(shared): Shelf<Arc<Shared>>, headers: HeaderMap) -> Result<Response, Refusal> {
    let state = shared.state();
    let own = caller(&state, &headers)?;
    Ok(Body(view::account(&state, &state.accounts[own])).into_response())
}

async fn notifications(
    Shelf(shared): Shelf<Arc<Shared>>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    let state = shared.state();
    let own = caller(&state, &headers)?;
    let query = pairs(query);
    let wanted = query.iter().all(|(key, value)| key != "types[]" || value == "mention");
    let live = state.notifications.iter().filter(|(_, one)| wanted && one.to == own && state.live(&one.post).is_some());
    let show = |id: &str| view::notification(&state, id, state.notifications.get(id)?);
    Ok(page(&state.url, "/api/v1/notifications", &query, 80, live.map(|(id, _)| id), show))
}

async fn tag_timeline(Shelf(shared): Shelf<Arc<Shared>>, Path(tag): Path<String>, RawQuery(query): RawQuery) -> Response {
    let state = shared.state();
    let has_tag = |post: &Post| tags(&post.text).any(|own| own.to_lowercase() == tag.to_lowercase());
    let path = format!("/api/v1/timelines/tag/{}", encoded(&tag));
    page_of_posts(&state, &path, query, |post| post.visibility == "public" && has_tag(post))
}

async fn account_statuses(
    Shelf(shared): Shelf<Arc<Shared>>,
    headers: HeaderMap,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    let state = shared.state();
    caller(&state, &headers)?;
    let path = format!("/api/v1/accounts/{id}/statuses");
    Ok(page_of_posts(&state, &path, query, |post| state.accounts[post.author].id == id))
}

async fn statuses(
    Shelf(shared): Shelf<Arc<Shared>>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    let state = shared.state();
    caller(&state, &headers)?;
    let ids = pairs(query).into_iter().filter(|(key, _)| key == "id[]");
    let found = ids.filter_map(|(_, id)| Some(view::status(&state, &id, state.live(&id)?)));
    Ok(Body(Json::Array(found.collect())).into_response())
}

async fn status(Shelf(shared): Shelf<Arc<Shared>>, headers: HeaderMap, Path(id): Path<String>) -> Result<Response, Refusal> {
    let state = shared.state();
    caller(&state, &headers)?;
    let post = state.live(&id).ok_or_else(|| error(StatusCode::NOT_FOUND, "Record not found"))?;
    Ok(Body(view::status(&state, &id, post)).into_response())
}

async fn context(Shelf(shared): Shelf<Arc<Shared>>, headers: HeaderMap, Path(id): Path<String>) -> Result<Response, Refusal> {
    let state = shared.state();
    caller(&state, &headers)?;
    let post = state.live(&id).ok_or_else(|| error(StatusCode::NOT_FOUND, "Record not found"))?;
    let mut ancestors = Vec::new();
    let mut parent = post.in_reply_to.as_ref();
    while let Some((id, post)) = parent.and_then(|id| Some((id, state.live(id)?))) {
        ancestors.push(view::status(&state, id, post));
        parent = post.in_reply_to.as_ref();
    }
    ancestors.reverse();
    // A reply is younger than what it answers, so one pass in order of ids finds the whole tree.
    let mut tree = vec![id.clone()];
    let mut descendants = Vec::new();
    for (reply, post) in state.posts.iter().filter(|(_, post)| !post.deleted) {
        if post.in_reply_to.as_ref().is_some_and(|parent| tree.contains(parent)) {
            tree.push(reply.clone());
            descendants.push(view::status(&state, reply, post));
        }
    }
    Ok(Body(json!({ "ancestors": ancestors, "descendants": descendants })).into_response())
}

async fn create(Shelf(shared): Shelf<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> Result<Response, Refusal> {
    let mut state = shared.state();
    let author = caller(&state, &headers)?;
    let is_json = headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
    let fields: BTreeMap<String, String> = if is_json {
        let object: BTreeMap<String, Json> = serde_json::from_slice(&body).unwrap_or_default();
        object.into_iter().filter_map(|(name, value)| Some((name, value.as_str()?.to_owned()))).collect()
    } else {
        url::form_urlencoded::parse(&body).into_owned().collect()
    };
    let field = |name: &str| fields.get(name).filter(|value| !value.is_empty()).cloned();
    let key = headers.get("idempotency-key").and_then(|value| value.to_str().ok()).map(str::to_owned);
    if let Some(id) = key.as_ref().and_then(|key| state.keys.get(&(author, key.clone())))
        && let Some(post) = state.live(id)
    {
        return Ok(Body(view::status(&state, id, post)).into_response());
    }
    let invalid = |why: &str| error(StatusCode::UNPROCESSABLE_ENTITY, &format!("Validation failed: {why}"));
    let text = field("status").filter(|text| !text.trim().is_empty()).ok_or_else(|| invalid("Text can't be blank"))?;
    let in_reply_to = field("in_reply_to_id");
    if in_reply_to.as_ref().is_some_and(|id| state.live(id).is_none()) {
        return Err(error(StatusCode::NOT_FOUND, "The post you are trying to reply to does not appear to exist."));
    }
    let now = shared.clock.now();
    let post = Post {
        text,
        in_reply_to,
        created_at: now,
        visibility: field("visibility").unwrap_or_else(|| "public".into()),
        lang: field("language"),
        through_api: Some(key.clone()),
        ..Post::by(author)
    };
    let id = state.add(now, post);
    if let Some(key) = key {
        state.keys.insert((author, key), id.clone());
    }
    let shown = state.live(&id).map(|post| view::status(&state, &id, post));
    Ok(Body(shown.unwrap_or(Json::Null)).into_response())
}

/// A tag as a part of a path.
fn encoded(tag: &str) -> String {
    url::form_urlencoded::byte_serialize(tag.as_bytes()).collect::<String>().replace('+', "%20")
}
