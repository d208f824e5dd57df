//! The search page: a query in the reader's words, hits that they may see, narrower searches.

use std::{collections::HashMap, sync::Arc, time::Duration};

use axum::{
    extract::{Query as Params, State},
    http::StatusCode,
    response::{IntoResponse, Redirect, Response},
};
use jiff::civil::Date;
use serde::Deserialize;

use super::{
    Console, alike, facets,
    fault::Fault,
    fill::{self, team_name},
    html,
    pages::Desktop,
    say,
    session::Visit,
};
use crate::{
    case::ReplyState,
    clock::Time,
    mention::platform,
    query::Query,
    queue::{Case, Catalog, Reader},
    search::{Found, Order, Page, Scope},
    staff::{AgentId, TeamId, Viewer},
    text,
    web::{
        format::safe_url,
        views::{self, Choice, Hit, HitCase, LabelView, Place, SearchPage},
    },
};

/// Hits of a page.
pub(super) const PAGE: usize = 20;
/// Forms of a widened word that the header names.
const FORMS: usize = 5;
/// Pages beyond this are never asked for by a person.
const LAST_PAGE: usize = 50;

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Asked {
    pub q: String,
    pub sort: String,
    pub page: Option<usize>,
    /// Look-alikes of this case instead.
    pub like: Option<i64>,
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

    pub(super) fn address(&self, q: &str, page: usize) -> String {
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

/// What this person may find: cases of their teams, and posts without a case of these teams' brands.
pub(super) fn scope(viewer: &Viewer, catalog: &Catalog) -> Scope {
    let teams = viewer.visible_teams();
    let brand = |team: &TeamId| catalog.team(*team).and_then(|team| u32::try_from(team.brand.0).ok());
    Scope { brands: teams.iter().filter_map(brand).collect(), teams }
}

impl Console {
    /// Runs a query within what this person may see; hits are counted since these days.
    pub(super) async fn find(&self, viewer: &Viewer, query: Query, asked: &Asked, since: Vec<Date>) -> Result<Found, Fault> {
        let (search, scope) = (Arc::clone(&self.site.search), scope(viewer, &self.site.desk.store().catalog()));
        let (order, page) = (asked.order(), Page { offset: asked.number() * PAGE, limit: PAGE });
        let found = tokio::task::spawn_blocking(move || search.find_page(&query, &scope, order, page, &since)).await;
        Ok(found.map_err(|error| Fault::Failed(error.to_string()))??)
    }
}

/// Events that the index may be behind without a word: it follows within a second.
const BEHIND: i64 = 5_000;

/// The index lacks much of what the store has.
fn behind(console: &Console) -> bool {
    let newest = console.site.desk.store().follow().borrow().0;
    newest - console.site.search.seq().0 > BEHIND
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
        more: false,
        behind: behind(&console),
        took: Duration::ZERO,
        widened: Vec::new(),
        hits: Vec::new(),
        facets: Vec::new(),
        sorts: Vec::new(),
        sort: asked.sort.clone(),
        teams: Vec::new(),
        error: None,
        hint: None,
        previous: None,
        next: None,
        like: asked.like,
    };
    if let Some(number) = asked.like {
        return alike::page(&console, &visit, desktop, empty, number).await;
    }
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
    let found = console.find(&visit.viewer, query.clone(), &asked, facets::days(&desktop.f)).await?;
    let took = started.elapsed();
    // An old link, or posts that were deleted meanwhile: the last page there is.
    if found.hits.is_empty() && found.total > 0 && number > 0 {
        let last = ((found.total - 1) / PAGE).min(number - 1);
        return Ok(Redirect::to(&asked.address(&asked.q, last)).into_response());
    }
    let hint = if found.total == 0 { hint(&console, &visit.viewer, &asked.q).await? } else { None };
    let total = u64::try_from(found.total).unwrap_or(u64::MAX);
    let (uncounted, next) = (found.more, found.total > (number + 1) * PAGE && number + 1 < LAST_PAGE);
    let sort = |code: &str, name: &str, order: Order| {
        let wanted = Asked { sort: code.into(), ..Asked::default() };
        Choice { value: wanted.address(&asked.q, 0), name: name.into(), chosen: asked.order() == order }
    };
    let w = empty.f.w;
    let sorts = vec![
        sort("", w.sort_best, Order::Best),
        sort("new", w.sort_new, Order::Newest),
        sort("old", w.sort_old, Order::Oldest),
    ];
    let widened = found.widened.iter().map(|word| {
        let forms: Vec<&str> = word.forms.iter().take(FORMS).map(String::as_str).collect();
        format!("{} → {}", word.typed, forms.join(", "))
    });
    let widened = widened.collect();
    let (facets, mut hits) = {
        let (console, desktop, asked) = (Arc::clone(&console), desktop.clone(), asked.clone());
        let search = Arc::clone(&console.site.search);
        let cut = move |text: &str| search.snippet(&query, text);
        console
            .read(move |reader| Ok((facets::facets(reader, &desktop, &found, &asked), hits(reader, &desktop, &found, cut)?)))
            .await?
    };
    console.count_copies(&visit.viewer, &mut hits).await?;
    let catalog = console.site.desk.store().catalog();
    let team = |team: &TeamId| {
        let team = catalog.team(*team)?;
        Some(Choice { value: team.key.clone(), name: team_name(team, empty.f.language), chosen: false })
    };
    let page = SearchPage {
        teams: visit.viewer.visible_teams().iter().filter_map(team).collect(),
        total: Some(total),
        more: uncounted,
        took,
        widened,
        hits,
        facets,
        sorts,
        hint,
        previous: (number > 0).then(|| asked.address(&asked.q, number - 1)),
        next: next.then(|| asked.address(&asked.q, number + 1)),
        ..empty
    };
    framed(&console, desktop, page, StatusCode::OK).await
}

pub(super) async fn framed(
    console: &Console,
    desktop: Desktop,
    mut page: SearchPage,
    status: StatusCode,
) -> Result<Response, Fault> {
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
    let found = console.find(viewer, query, &Asked::default(), Vec::new()).await?;
    Ok((found.total > 0).then_some(close))
}

/// The hits as the page draws them; of several posts of a case the first.
pub(super) fn hits(
    reader: &Reader<'_>,
    desktop: &Desktop,
    found: &Found,
    cut: impl Fn(&str) -> Vec<(String, bool)>,
) -> Result<Vec<Hit>, Fault> {
    let ids: Vec<_> = found.hits.iter().map(|hit| hit.mention).collect();
    let mentions: HashMap<_, _> = reader.mentions(&ids)?.into_iter().map(|mention| (mention.id, mention)).collect();
    let initials: HashMap<_, _> = reader.initials_of_all()?.into_iter().collect();
    let mut shown: Vec<Hit> = Vec::new();
    for hit in &found.hits {
        let Some(mention) = mentions.get(&hit.mention) else { continue };
        let case = match hit.case {
            Some(number) => {
                // The index may be a moment behind the store, also in whose case it is.
                let visible = reader.case(number)?.filter(|case| desktop.viewer.visible_teams().contains(&case.team));
                let Some(case) = visible else { continue };
                if shown.iter().any(|known| known.case.as_ref().is_some_and(|known| known.number == number.0)) {
                    continue;
                }
                Some(case)
            }
            None => None,
        };
        let account = case.as_ref().and_then(|case| reader.catalog.account(case.account)).filter(|_| mention.addressed);
        let folded = LabelView { label: Some(mention.label), percent: None, doubtful: false };
        let url = mention.url.as_deref().filter(|_| case.is_none()).and_then(safe_url).map(str::to_owned);
        shown.push(Hit {
            mention: mention.id,
            label: case.as_ref().map_or(folded, fill::label),
            place: Place { platform: platform(&mention.source).into(), account: account.map(|account| account.handle.clone()) },
            lang: mention.lang,
            at: mention.posted_at,
            snippet: desktop.f.snippet(&mention.text, &cut),
            reach: mention.reach,
            url,
            signature: text::signature(mention.text.whole()),
            copies: 0,
            like: None,
            case: case.map(|case| hit_case(reader, desktop, &case, mention.posted_at, &initials)).transpose()?,
        });
    }
    Ok(shown)
}

fn hit_case(
    reader: &Reader<'_>,
    desktop: &Desktop,
    case: &Case,
    posted_at: Time,
    initials: &HashMap<AgentId, String>,
) -> Result<HitCase, Fault> {
    let language = desktop.f.language;
    let answer = reader.replies(case.id)?.into_iter().find(|reply| reply.state == ReplyState::Sent);
    let answered = answer.and_then(|reply| {
        let by = initials.get(&reply.agent)?;
        Some((format!("^{by}"), reply.sent_at?.since(posted_at)))
    });
    Ok(HitCase {
        number: case.id.0,
        status: case.status,
        team: reader.catalog.team(case.team).map(|team| team_name(team, language)).unwrap_or_default(),
        answered,
        disposition: case.disposition.as_deref().map(|key| desktop.fill(reader).disposition(key, language)),
        answer: None,
    })
}
