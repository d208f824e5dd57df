//! The pages that show work: queues, one's own cases, a case, the peek pane.

use std::sync::Arc;

use axum::{
    extract::{Path, RawQuery, State},
    http::{HeaderMap, header},
    response::{IntoResponse, Redirect, Response},
};

use super::{
    Console,
    fault::Fault,
    fill::{Fill, team_name},
    html,
    room::Room,
    session::Visit,
    sources,
};
use crate::{
    case::CaseId,
    desk::day_of,
    mention::MentionId,
    queue::{CaseView, Owner, QueueFilter, Reader},
    sla::Policies,
    staff::{Action, Viewer, authorize},
    web::views::{self, CasePage, Flash, Frame, Me, NavItem, Peek, PeekPanel, Presence, QueuePage, RowsPage},
};

/// What every page of somebody is drawn with; goes into the reading closure.
#[derive(Clone)]
pub(super) struct Desktop {
    /// Who looks.
    pub viewer: Viewer,
    /// For the warnings of clocks.
    pub policies: Arc<Policies>,
    /// How a case can end.
    pub dispositions: Vec<(String, String, String)>,
    /// The frame of the page, without navigation.
    pub f: Frame,
    /// The last event before the page was read.
    pub seq: i64,
    /// The session, by the hash of its token.
    pub session: [u8; 32],
    /// Abusive posts that this person asked to see, of the case that is drawn.
    pub shown: Vec<MentionId>,
}

impl Desktop {
    /// What filling needs.
    pub(super) fn fill<'a>(&'a self, reader: &'a Reader<'_>) -> Fill<'a> {
        Fill {
            viewer: &self.viewer,
            policies: &self.policies,
            catalog: reader.catalog,
            dispositions: &self.dispositions,
            shown: &self.shown,
        }
    }

    /// The frame, with how much abuse this person has read today.
    fn exposed(&self, reader: &Reader<'_>) -> Result<Frame, Fault> {
        let mut f = self.f.clone();
        f.exposed.0 = reader.exposures(self.viewer.id, &day_of(&self.viewer, reader.catalog, f.now))?;
        Ok(f)
    }

    /// The frame with the navigation: one's own cases and the teams.
    pub(super) fn frame(&self, reader: &Reader<'_>, room: views::Room, current: &str) -> Result<Frame, Fault> {
        let mut f = self.exposed(reader)?;
        f.room = room;
        let mine =
            QueueFilter { teams: self.viewer.visible_teams(), owner: Owner::Agent(self.viewer.id), ..QueueFilter::default() };
        let item = |name: String, href: String, open: u64| NavItem { current: href == current, name, href, open: Some(open) };
        f.nav = vec![item(f.w.mine.into(), "/mine".into(), reader.queue_counts(&mine, f.now)?.open)];
        let open = reader.team_counts(f.now)?;
        for team in reader.catalog.teams.iter().filter(|team| authorize(&self.viewer, Action::Read, team.id).is_ok()) {
            let count = open.iter().find(|(id, _)| *id == team.id).map_or(0, |(_, counts)| counts.open);
            f.nav.push(item(team_name(team, f.language), format!("/queue/{}", team.key), count));
        }
        if let Some(open) = super::review::waiting(reader, &self.viewer)? {
            f.nav.push(item(f.w.review.into(), "/review".into(), open));
        }
        let still = |name: &str, href: &str, open: Option<u64>| NavItem {
            current: href == current,
            name: name.into(),
            href: href.into(),
            open,
        };
        let listens = |team: &crate::queue::Team| authorize(&self.viewer, Action::Listen, team.id).is_ok();
        if reader.catalog.teams.iter().any(listens) {
            f.nav.push(still(f.w.sources, "/sources", None));
        }
        let unseen = reader.unseen_alerts(self.viewer.id, &self.viewer.visible_teams())?;
        f.nav.push(still(f.w.saved, "/saved", (unseen > 0).then_some(unseen)));
        f.nav.push(still(f.w.insight, "/insight", None));
        Ok(f)
    }
}

impl Console {
    /// What this person's pages are drawn with.
    pub(super) fn desktop(&self, visit: &Visit) -> Desktop {
        let store = self.site.desk.store();
        let mut f = Frame::new(visit.taste.language, self.zone(&visit.viewer), self.site.desk.clock().now());
        f.theme = visit.taste.theme;
        f.read_only = self.site.desk.healthy().is_err();
        f.mask = self.site.desk.masks_abuse();
        f.exposed.1 = self.site.desk.exposure_limit();
        f.csrf = visit.token.csrf();
        f.here.clone_from(&visit.here);
        f.me = Some(Me { initials: visit.viewer.initials.clone(), name: visit.viewer.name.clone() });
        Desktop {
            viewer: visit.viewer.clone(),
            policies: self.site.desk.policies(),
            dispositions: self.site.config.dispositions.clone(),
            f,
            seq: store.follow().borrow().0,
            session: visit.token.stored(),
            shown: Vec::new(),
        }
    }

    /// Reads from the store.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Reader<'_>) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Fault> {
        self.site.desk.store().read(work).await
    }

    /// A case for its page, rights checked.
    pub(super) async fn look(&self, viewer: &Viewer, number: i64) -> Result<CaseView, Fault> {
        Ok(self.site.desk.look(viewer, CaseId(number)).await?)
    }

    /// The case's page with everything around it.
    pub(super) async fn case_page(&self, mut desktop: Desktop, number: i64, log_open: bool) -> Result<CasePage, Fault> {
        desktop.shown = self.revealed.of(desktop.session, CaseId(number));
        let view = self.look(&desktop.viewer, number).await?;
        let presence = self.presence.others(CaseId(number), desktop.viewer.id, desktop.f.now);
        self.read(move |reader| {
            let current = reader.catalog.team(view.case.team).map(|team| format!("/queue/{}", team.key)).unwrap_or_default();
            let mut f = desktop.frame(reader, views::Room::Queue, &current)?;
            f.live = Some(format!("/live?room=case&case={number}&since={}", desktop.seq));
            let mut page = desktop.fill(reader).case(&view, f, log_open);
            let posts: Vec<i64> = view.thread.iter().filter(|post| !post.addressed).map(|post| post.id.0).collect();
            page.caught = sources::caught(reader, &desktop, &posts)?.into_values().collect();
            page.unaddressed = !view.thread.iter().any(|post| post.addressed);
            page.receivers = desktop.fill(reader).receivers(reader, &view.case, desktop.f.language)?;
            page.presence = presence.into_iter().map(|(initials, writing)| Presence { initials, writing }).collect();
            Ok(page)
        })
        .await
    }

    /// The peek pane's content; none for a case that this person may not see.
    pub(super) async fn peek(&self, desktop: &Desktop, number: i64) -> Result<Option<Peek>, Fault> {
        let view = match self.look(&desktop.viewer, number).await {
            Ok(view) => view,
            Err(Fault::NoCase(_)) => return Ok(None),
            Err(fault) => return Err(fault),
        };
        let mut desktop = desktop.clone();
        desktop.shown = self.revealed.of(desktop.session, view.case.id);
        self.read(move |reader| {
            let Some(line) = reader.queue_row(view.case.id, desktop.viewer.id)? else { return Ok(None) };
            let fill = desktop.fill(reader);
            let at = view.thread.iter().position(|post| post.id == view.case.latest_mention);
            let parent = at.and_then(|at| at.checked_sub(1)).and_then(|before| view.thread.get(before));
            let f = desktop.exposed(reader)?;
            Ok(Some(Peek {
                post: line.mention.id.0,
                exposure: f.exposure().map(|words| (words, f.pause())),
                row: fill.row(&line, &f),
                name: line.mention.name.clone(),
                parent: parent.filter(|post| post.deleted_at.is_none()).map(|post| f.said(&post.text, false).text),
                reasons: fill.reasons(&line.mention, &f),
                url: line.mention.url.clone(),
                may_work: authorize(&desktop.viewer, Action::Work, line.case.team).is_ok(),
                status: line.case.status,
                receivers: fill.receivers(reader, &line.case, desktop.f.language)?,
            }))
        })
        .await
    }
}

/// `GET /`: the first team's queue.
pub(super) async fn home(State(console): State<Arc<Console>>, visit: Visit) -> Result<Response, Fault> {
    let catalog = console.site.desk.store().catalog();
    let first = catalog.teams.iter().find(|team| authorize(&visit.viewer, Action::Read, team.id).is_ok());
    Ok(Redirect::to(&first.map_or_else(|| "/mine".into(), |team| format!("/queue/{}", team.key))).into_response())
}

async fn list_page(
    console: &Console,
    visit: &Visit,
    team: Option<String>,
    query: String,
    flash: Option<Flash>,
) -> Result<Response, Fault> {
    let mut desktop = console.desktop(visit);
    desktop.f.flash = flash;
    console.revealed.leave_all(desktop.session);
    let asked: Option<i64> = url::form_urlencoded::parse(query.as_bytes())
        .find(|(name, _)| name == "case")
        .and_then(|(_, value)| value.parse().ok());
    let peek = match asked {
        Some(number) => console.peek(&desktop, number).await?,
        None => None,
    };
    let page = console
        .read(move |reader| {
            let room = Room::open(reader, &desktop.viewer, team.as_deref(), &query)?;
            let tab = if room.team.is_some() { views::Room::Queue } else { views::Room::Mine };
            let mut f = desktop.frame(reader, tab, &room.path())?;
            f.live = Some(room.live(desktop.seq));
            let mut list = room.list(reader, &desktop.fill(reader), &f, desktop.seq)?;
            list.warning = sources::warning(reader, &desktop)?;
            Ok(QueuePage {
                title: room.title(&f),
                path: room.path(),
                pull: room.pull(),
                filters: room.filters(reader, &f)?,
                list,
                peek,
                f,
            })
        })
        .await?;
    Ok(html(&page)?.into_response())
}

/// `GET /queue/{team}`.
pub(super) async fn queue(
    State(console): State<Arc<Console>>,
    visit: Visit,
    Path(team): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Fault> {
    let flash = super::flash::take(&headers, visit.taste.language.words());
    let page = list_page(&console, &visit, Some(team), query.unwrap_or_default(), flash.clone()).await?;
    Ok(super::flash::spent(page, flash.is_some()))
}

/// `GET /mine`.
pub(super) async fn mine(
    State(console): State<Arc<Console>>,
    visit: Visit,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Fault> {
    let flash = super::flash::take(&headers, visit.taste.language.words());
    let page = list_page(&console, &visit, None, query.unwrap_or_default(), flash.clone()).await?;
    Ok(super::flash::spent(page, flash.is_some()))
}

async fn rows_of(console: &Console, visit: &Visit, team: Option<String>, query: String) -> Result<Response, Fault> {
    let desktop = console.desktop(visit);
    let page = console
        .read(move |reader| {
            let room = Room::open(reader, &desktop.viewer, team.as_deref(), &query)?;
            let mut list = room.list(reader, &desktop.fill(reader), &desktop.f, desktop.seq)?;
            list.warning = sources::warning(reader, &desktop)?;
            Ok(RowsPage { list, f: desktop.f })
        })
        .await?;
    Ok(html(&page)?.into_response())
}

/// `GET /queue/{team}/rows`: the pull.
pub(super) async fn queue_rows(
    State(console): State<Arc<Console>>,
    visit: Visit,
    Path(team): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Fault> {
    rows_of(&console, &visit, Some(team), query.unwrap_or_default()).await
}

/// `GET /mine/rows`: the pull.
pub(super) async fn mine_rows(
    State(console): State<Arc<Console>>,
    visit: Visit,
    RawQuery(query): RawQuery,
) -> Result<Response, Fault> {
    rows_of(&console, &visit, None, query.unwrap_or_default()).await
}

/// `GET /cases/{number}`.
pub(super) async fn case(
    State(console): State<Arc<Console>>,
    visit: Visit,
    Path(number): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Fault> {
    let number = number_of(&number)?;
    let mut desktop = console.desktop(&visit);
    let flash = super::flash::take(&headers, desktop.f.w);
    desktop.f.flash.clone_from(&flash);
    let tab = |name: &str| query.as_ref().is_some_and(|query| query.split('&').any(|pair| pair == name));
    let (log_open, similar) = (tab("tab=log"), tab("tab=similar"));
    if !from_itself(&headers, number) {
        console.revealed.leave(desktop.session, CaseId(number));
    }
    let mut page = console.case_page(desktop.clone(), number, log_open).await?;
    if similar {
        let view = console.look(&visit.viewer, number).await?;
        page.similar = Some(console.lookalikes(&desktop, &view).await?);
    }
    Ok(super::flash::spent(html(&page)?.into_response(), flash.is_some()))
}

/// The page was asked for from the case itself: another tab of it, another language.
fn from_itself(headers: &HeaderMap, number: i64) -> bool {
    let referer = headers.get(header::REFERER).and_then(|value| value.to_str().ok());
    let page = referer.and_then(|referer| url::Url::parse(referer).ok());
    page.is_some_and(|page| page.path() == format!("/cases/{number}") || page.path() == format!("/cases/{number}/reveal"))
}

/// `GET /cases/{number}/peek`.
pub(super) async fn peek(
    State(console): State<Arc<Console>>,
    visit: Visit,
    Path(number): Path<String>,
) -> Result<Response, Fault> {
    let number = number_of(&number)?;
    let desktop = console.desktop(&visit);
    let peek = console.peek(&desktop, number).await?.ok_or(Fault::NoCase(number))?;
    Ok(html(&PeekPanel { f: desktop.f, peek: Some(peek) })?.into_response())
}

/// The number of a case in a path; anything else is no page.
pub(super) fn number_of(text: &str) -> Result<i64, Fault> {
    text.parse().map_err(|_| Fault::NoPage)
}
