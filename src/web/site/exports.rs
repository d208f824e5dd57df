//! Exports: asked for with a reason, read in the background, downloaded as a file.

use std::sync::Arc;

use axum::{
    Form,
    extract::{Path, State},
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Redirect, Response},
};
use serde::Deserialize;

use super::{
    Console,
    fault::Fault,
    finding::{Asked, scope},
    html, say,
    session::Visit,
};
use crate::{
    query::Query,
    queue::ExportState,
    search::Page,
    staff::{Action, Viewer, authorize},
    web::{
        sheet::Sheet,
        views::{self, ExportRow, ExportsPage},
    },
};

/// Most posts of an export.
const MOST: usize = 50_000;
/// Exports on the page.
const SHOWN: u32 = 100;

/// The form behind "export".
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Fields {
    q: String,
    sort: String,
    reason: String,
}

/// Operators read the record of everybody's.
fn everybody(viewer: &Viewer) -> bool {
    viewer.visible_teams().iter().any(|team| authorize(viewer, Action::Operate, *team).is_ok())
}

/// `GET /exports`.
pub(super) async fn page(State(console): State<Arc<Console>>, visit: Visit) -> Result<Response, Fault> {
    let desktop = console.desktop(&visit);
    let page = console
        .read(move |reader| {
            let viewer = &desktop.viewer;
            let everybody = everybody(viewer);
            let exports = reader.exports((!everybody).then_some(viewer.id), SHOWN)?;
            let rows = exports.into_iter().map(|one| ExportRow {
                id: one.id,
                query: one.query,
                reason: one.reason,
                initials: one.initials,
                state: one.state,
                done: one.done,
                total: one.total,
                at: one.created_at,
                downloads: one.downloads,
                mine: one.agent == viewer.id,
            });
            Ok(ExportsPage { rows: rows.collect(), everybody, f: desktop.frame(reader, views::Room::Search, "/exports")? })
        })
        .await?;
    let mut response = html(&page)?.into_response();
    if page.running() {
        // Works without a script too.
        response.headers_mut().insert(header::REFRESH, HeaderValue::from_static("3"));
    }
    Ok(response)
}

/// `POST /exports`.
pub(super) async fn begin(
    State(console): State<Arc<Console>>,
    visit: Visit,
    Form(fields): Form<Fields>,
) -> Result<Response, Fault> {
    let query: Query = fields
        .q
        .parse()
        .map_err(|error| Fault::Malformed(StatusCode::UNPROCESSABLE_ENTITY, say::query(visit.taste.language, &error)))?;
    if fields.reason.trim().is_empty() {
        return Err(Fault::Empty);
    }
    let order = Asked { sort: fields.sort, ..Asked::default() }.order();
    let (search, scope) = (Arc::clone(&console.site.search), scope(&visit.viewer, &console.site.desk.store().catalog()));
    let page = Page { offset: 0, limit: MOST };
    let found = tokio::task::spawn_blocking(move || search.find(&query, &scope, order, page)).await;
    let found = found.map_err(|error| Fault::Failed(error.to_string()))??;
    let posts = found.hits.iter().map(|hit| (hit.mention, hit.case)).collect();
    console.site.desk.begin_export(&visit.viewer, &fields.q, &fields.reason, posts).await?;
    Ok(Redirect::to("/exports").into_response())
}

/// `POST /exports/{id}/cancel`.
pub(super) async fn cancel(State(console): State<Arc<Console>>, visit: Visit, Path(id): Path<i64>) -> Result<Response, Fault> {
    console.site.desk.cancel_export(&visit.viewer, id).await?;
    Ok(Redirect::to("/exports").into_response())
}

/// `GET /exports/{id}/csv`, `xlsx` or `jsonl`: only for who asked for it.
pub(super) async fn download(
    State(console): State<Arc<Console>>,
    visit: Visit,
    Path((id, kind)): Path<(i64, String)>,
) -> Result<Response, Fault> {
    let kind = Sheet::parse(&kind).ok_or(Fault::NoPage)?;
    let agent = visit.viewer.id;
    let file = console
        .read(move |reader| {
            let export = reader.export(id)?.filter(|export| export.agent == agent && export.state == ExportState::Done);
            if export.is_none() {
                return Err(Fault::NoPage);
            }
            let lines = reader.export_lines(id)?;
            kind.write(lines.iter().flat_map(|part| part.lines())).map_err(|error| Fault::Failed(error.to_string()))
        })
        .await?;
    console.site.desk.count_download(&visit.viewer, id).await?;
    let name = format!("attachment; filename=\"moksori-export-{id}.{}\"", kind.ending());
    let headers: [(HeaderName, String); 2] =
        [(header::CONTENT_TYPE, kind.media_type().to_owned()), (header::CONTENT_DISPOSITION, name)];
    Ok((headers, file).into_response())
}
