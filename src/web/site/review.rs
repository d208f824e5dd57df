//! The review page: leads and managers decide which corrections the classifier learns from.

use std::sync::Arc;

use axum::{
    Form,
    extract::{Path, Query as Params, State},
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use serde::Deserialize;

use super::{
    Console,
    fault::Fault,
    fill::percent,
    flash::{self, Did, Done},
    html,
    pages::number_of,
    session::Visit,
};
use crate::{
    clock::Time,
    mention::{Label, MentionId},
    queue::{Feedback, Reader, Review, ReviewState},
    staff::{Action, Role, TeamId, Viewer, authorize},
    web::views::{Correction, Frame, LabelView, ReviewPage, ReviewTab, Room},
};

/// Corrections on a page: what a person looks through at a time.
const PAGE: u32 = 50;
/// Corrections in a download: a year of a busy desk.
const EXPORT: u32 = 50_000;

/// The teams whose corrections this person reviews.
fn teams(viewer: &Viewer) -> Vec<TeamId> {
    viewer.visible_teams().into_iter().filter(|team| authorize(viewer, Action::Review, *team).is_ok()).collect()
}

/// How many corrections wait for this person; none for who reviews nothing.
pub(super) fn waiting(reader: &Reader<'_>, viewer: &Viewer) -> Result<Option<u64>, Fault> {
    let teams = teams(viewer);
    if teams.is_empty() {
        return Ok(None);
    }
    Ok(Some(reader.feedback_waiting(&teams)?))
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Asked {
    state: Option<String>,
}

fn correction(feedback: Feedback, f: &Frame) -> Correction {
    let was = match feedback.unsure {
        true => LabelView { label: None, percent: None, doubtful: false },
        false => LabelView { label: Some(feedback.was), percent: Some(percent(feedback.confidence)), doubtful: false },
    };
    Correction {
        mention: feedback.mention.0,
        case: feedback.case.0,
        text: f.said(&feedback.text, false).text,
        lang: feedback.lang,
        answers: feedback.answers,
        was,
        said: feedback.said,
        label: feedback.label,
        by: feedback.by,
        at: feedback.at,
        reviewed_by: feedback.reviewed_by,
    }
}

/// `GET /review`.
pub(super) async fn page(
    State(console): State<Arc<Console>>,
    visit: Visit,
    Params(asked): Params<Asked>,
    headers: axum::http::HeaderMap,
) -> Result<Response, Fault> {
    let mut desktop = console.desktop(&visit);
    let flash = flash::take(&headers, desktop.f.w);
    desktop.f.flash.clone_from(&flash);
    let state = asked.state.as_deref().and_then(ReviewState::parse).unwrap_or_default();
    let page = console
        .read(move |reader| {
            let teams = teams(&desktop.viewer);
            if teams.is_empty() {
                return Err(Fault::Forbidden(Role::Lead));
            }
            let f = desktop.frame(reader, Room::Queue, "/review")?;
            let counts = reader.feedback_counts(&teams)?;
            let tabs = ReviewState::ALL.into_iter().zip(counts);
            let items = reader.feedback(&teams, state, PAGE)?;
            Ok(ReviewPage {
                state,
                tabs: tabs.map(|(tab, count)| ReviewTab { state: tab, count, current: tab == state }).collect(),
                items: items.into_iter().map(|one| correction(one, &f)).collect(),
                f,
            })
        })
        .await?;
    Ok(flash::spent(html(&page)?.into_response(), flash.is_some()))
}

/// The fields of a decision.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Fields {
    at: Option<i64>,
    r#do: Option<String>,
    label: Option<String>,
    /// Of an undo: the time of the correction.
    event: Option<i64>,
}

/// `POST /review/{mention}`.
pub(super) async fn decide(
    State(console): State<Arc<Console>>,
    visit: Visit,
    Path(mention): Path<String>,
    Form(fields): Form<Fields>,
) -> Result<Response, Fault> {
    let mention = number_of(&mention)?;
    let at = fields.at.or(fields.event).ok_or(Fault::Empty)?;
    let (state, label, did) = match (fields.r#do.as_deref(), fields.label, fields.event) {
        (Some("accept"), None, _) => (ReviewState::Accepted, None, Did::Accept),
        (Some("reject"), None, _) => (ReviewState::Rejected, None, Did::Reject),
        (Some("back"), None, _) | (None, None, Some(_)) => (ReviewState::New, None, Did::Undo),
        (None, Some(word), _) => {
            let label = Label::parse(&word).ok_or(Fault::Unknown(word))?;
            (ReviewState::Accepted, Some(label), Did::Accept)
        }
        _ => return Err(Fault::Empty),
    };
    let review = Review { mention: MentionId(mention), at: Time(at), state, label };
    console.site.desk.review(&visit.viewer, review).await?;
    let done = Done { did, case: mention, undo: (did != Did::Undo).then_some(at) };
    let there = if fields.r#do.as_deref() == Some("back") { visit.page.as_str() } else { "/review" };
    let there = if there.starts_with("/review") { there } else { "/review" };
    flash::go(&visit, there, done)
}

/// `GET /review/corrections.jsonl`: accepted corrections of one's teams, as training reads them.
pub(super) async fn export(State(console): State<Arc<Console>>, visit: Visit) -> Result<Response, Fault> {
    let lines = console
        .read(move |reader| {
            let teams = teams(&visit.viewer);
            if teams.is_empty() {
                return Err(Fault::Forbidden(Role::Lead));
            }
            Ok(reader.feedback(&teams, ReviewState::Accepted, EXPORT)?.iter().map(Feedback::line).collect::<String>())
        })
        .await?;
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/jsonl; charset=utf-8")),
        (header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment; filename=\"corrections.jsonl\"")),
    ];
    Ok((headers, lines).into_response())
}
