//! The search page: a query in the reader's words, hits that they may see, narrower searches.

use std::{collections::HashMap, sync::Arc, time::Duration};

use axum::{
    extract::{Query as Params, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Deserialize;

use super::{
    Console,
    fault::Fault,
    fill::{self, team_name},
    html,
    pages::Desktop,
    say,
    session::Visit,
};
use crate::{
    case::{CaseId, ReplyState, Status},
    mention::{Label, platform},
    query::Query,
    queue::Reader,
    search::{Found, Order, Page, Scope},
    staff::Viewer,
    web::views::{self, Choice, Facet, FacetItem, Hit, Place, SearchPage},
};

/// Hits of a page.
pub(super) const PAGE: usize = 20;
/// Pages beyond this are never asked for by a person.
const LAST_PAGE: usize = 50;

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Asked {
    pub q: String,
    pub sort: String,
    pub page: Option<usize>,
}

impl Asked {
    /// Which hits come first.
    pub(super) fn order(&self) -> Order {
        match self.sort.as_str() {
            "new" | "newest" => Order::Newest,
            "old" | "oldest" => Order::Oldest,
            _ => Order::Best,
        }
    }

    /// The page, from 0.
    pub(super) fn number(&self) -> usize {
        self.page.unwrap_or(1).clamp(1, LAST_PAGE) - 1
    }

    fn address(&self, q: &str, page: usize) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.append_pair("q", q);
        if self.order() != Order::Best {
            query.append_pair("sort", &self.sort);
        }
        if page > 0 {
            query.append_pair("page", &(page + 1).to_string());
        }
        format!("/search?{}", query.finish())
    }
}

/// Cases of one's teams; a post without a case has no page to open.
fn scope(viewer: &Viewer) -> Scope {
    Scope { teams: viewer.visible_teams(), brands: Vec::new() }
}

impl Console {
    /// Runs a query within what this person may see.
    pub(super) async fn find(&self, viewer: &Viewer, query: Query, order: Order, page: usize) -> Result<Found, Fault> {
        let (search, scope) = (Arc::clone(&self.site.search), scope(viewer));
        let page = Page { offset: page * PAGE, limit: PAGE };
        let found = tokio::task::spawn_blocking(move || search.find(&query, &scope, order, page)).await;
        Ok(found.map_err(|error| Fault::Failed(error.to_string()))??)
    }
}

/// `GET /search`.
pub(super) async fn page(
    State(console): State<Arc<Console>>,
    visit: Visit,
    Params(asked): Params<Asked>,
) -> Result<Response, Fault> {
    let mut desktop = console.desktop(&visit);
    desktop.f.room = views::Room::Search;
    let empty = SearchPage {
        f: desktop.f.clone(),
        q: asked.q.clone(),
        total: None,
        took: Duration::ZERO,
        hits: Vec::new(),
        facets: Vec::new(),
        sorts: Vec::new(),
        error: None,
        hint: None,
        previous: None,
        next: None,
    };
    if asked.q.trim().is_empty() {
        return framed(&console, desktop, empty, StatusCode::OK).await;
    }
    let query: Query = match asked.q.parse() {
        Ok(query) => query,
        Err(error) => {
            let error = Some(say::query(desktop.f.language, &error));
            return framed(&console, desktop, SearchPage { error, ..empty }, StatusCode::UNPROCESSABLE_ENTITY).await;
        }
    };
    let (number, started) = (asked.number(), tokio::time::Instant::now());
    let found = console.find(&visit.viewer, query.clone(), asked.order(), number).await?;
    let took = started.elapsed();
    let hint = if found.total == 0 { hint(&console, &visit.viewer, &asked.q).await? } else { None };
    let total = u64::try_from(found.total).unwrap_or(u64::MAX);
    let more = found.total > (number + 1) * PAGE && number + 1 < LAST_PAGE;
    let sort = |code: &str, name: &str, order: Order| {
        let wanted = Asked { sort: code.into(), ..Asked::default() };
        Choice { value: wanted.address(&asked.q, 0), name: name.into(), chosen: asked.order() == order }
    };
    let sorts = vec![sort("", empty.f.w.sort_best, Order::Best), sort("new", empty.f.w.sort_new, Order::Newest)];
    let (facets, hits) = {
        let (console, desktop, asked) = (Arc::clone(&console), desktop.clone(), asked.clone());
        let search = Arc::clone(&console.site.search);
        let cut = move |text: &str| search.snippet(&query, text);
        console.read(move |reader| Ok((facets(reader, &desktop, &found, &asked), hits(reader, &desktop, &found, cut)?))).await?
    };
    let page = SearchPage {
        total: Some(total),
        took,
        hits,
        facets,
        sorts,
        hint,
        previous: (number > 0).then(|| asked.address(&asked.q, number - 1)),
        next: more.then(|| asked.address(&asked.q, number + 1)),
        ..empty
    };
    framed(&console, desktop, page, StatusCode::OK).await
}

async fn framed(console: &Console, desktop: Desktop, mut page: SearchPage, status: StatusCode) -> Result<Response, Fault> {
    page.f = console.read(move |reader| desktop.frame(reader, views::Room::Search, "/search")).await?;
    Ok((status, html(&page)?).into_response())
}

/// The same words without their spaces, where that finds something: Korean is spaced as people please.
async fn hint(console: &Console, viewer: &Viewer, q: &str) -> Result<Option<String>, Fault> {
    let close: String = q.split_whitespace().collect();
    if close == q || q.contains(['"', ':', '(']) {
        return Ok(None);
    }
    let Ok(query) = close.parse() else { return Ok(None) };
    let found = console.find(viewer, query, Order::Best, 0).await?;
    Ok((found.total > 0).then_some(close))
}

fn hits(
    reader: &Reader<'_>,
    desktop: &Desktop,
    found: &Found,
    cut: impl Fn(&str) -> Vec<(String, bool)>,
) -> Result<Vec<Hit>, Fault> {
    let (fill, f) = (desktop.fill(reader), &desktop.f);
    let ids: Vec<_> = found.hits.iter().map(|hit| hit.mention).collect();
    let mentions: HashMap<_, _> = reader.mentions(&ids)?.into_iter().map(|mention| (mention.id, mention)).collect();
    let initials: HashMap<_, _> = reader.initials_of_all()?.into_iter().collect();
    let mut hits: Vec<Hit> = Vec::new();
    for hit in &found.hits {
        let (Some(mention), Some(number)) = (mentions.get(&hit.mention), hit.case) else { continue };
        // The index may be a moment behind the store, also in whose case it is.
        let visible = reader.case(number)?.filter(|case| desktop.viewer.visible_teams().contains(&case.team));
        let Some(case) = visible else { continue };
        if hits.iter().any(|known| known.number == number.0) {
            continue;
        }
        let answered = reader.replies(CaseId(number.0))?.into_iter().find(|reply| reply.state == ReplyState::Sent);
        let answered = answered.and_then(|reply| {
            let by = initials.get(&reply.agent)?;
            Some((format!("^{by}"), reply.sent_at?.since(mention.posted_at)))
        });
        let account = reader.catalog.account(case.account).filter(|_| mention.addressed);
        hits.push(Hit {
            number: number.0,
            status: case.status,
            label: fill::label(&case),
            place: Place { platform: platform(&mention.source).into(), account: account.map(|account| account.handle.clone()) },
            lang: mention.lang,
            at: mention.posted_at,
            team: reader.catalog.team(case.team).map(|team| team_name(team, f.language)).unwrap_or_default(),
            answered,
            snippet: cut(&mention.text).into_iter().map(|(piece, marked)| (marked, piece)).collect(),
            disposition: case.disposition.as_deref().map(|key| fill.disposition(key, f.language)),
            reach: mention.reach,
        });
    }
    Ok(hits)
}

/// Narrower searches; one that is on leads back to the wider search.
fn facets(reader: &Reader<'_>, desktop: &Desktop, found: &Found, asked: &Asked) -> Vec<Facet> {
    let f = &desktop.f;
    let mut facets: Vec<Facet> = Vec::new();
    for facet in &found.facets {
        let (title, name) = match facet.field {
            "label" => (f.w.facet_label, Label::parse(&facet.value).map(|label| f.w.label(Some(label)).to_owned())),
            "team" => (f.w.facet_team, reader.catalog.team_by_key(&facet.value).map(|team| team_name(team, f.language))),
            "platform" => (f.w.facet_platform, None),
            "lang" => (f.w.facet_lang, None),
            "status" => (f.w.facet_state, Status::parse(&facet.value).map(|status| f.w.status(status).to_owned())),
            _ => continue,
        };
        let term = format!("{}:{}", facet.field, facet.value);
        let on = asked.q.split_whitespace().any(|word| word == term);
        let q = if on {
            asked.q.split_whitespace().filter(|word| *word != term).collect::<Vec<_>>().join(" ")
        } else {
            format!("{} {term}", asked.q.trim())
        };
        let item = FacetItem {
            name: name.unwrap_or_else(|| facet.value.clone()),
            count: u64::try_from(facet.count).unwrap_or(u64::MAX),
            href: asked.address(&q, 0),
            on,
        };
        match facets.last_mut().filter(|last| last.title == title) {
            Some(last) => last.items.push(item),
            None => facets.push(Facet { title: title.into(), items: vec![item] }),
        }
    }
    facets
}
