//! Look-alikes of a case: who said the same before, and what we answered.

use std::{collections::HashMap, sync::Arc};

use axum::{http::StatusCode, response::Response};

use super::{
    Console,
    fault::Fault,
    finding::{framed, hits, scope},
    pages::Desktop,
    session::Visit,
};
use crate::{
    case::{CaseId, ReplyState},
    mention::MentionId,
    queue::CaseView,
    search::{Alike, Found},
    staff::Viewer,
    web::views::{Hit, Lookalike, SearchPage},
};

/// Look-alikes beside a case.
const BESIDE: usize = 8;
/// Look-alikes on a page of their own.
const PAGE: usize = 50;
/// Every signature is compared with those of a page; over so many posts that takes longer than a page may.
const COUNTED: usize = 1_000_000;

impl Console {
    /// Posts like the customer's words of a case, of its brand and within what this person may see, without its own.
    async fn alike(&self, viewer: &Viewer, view: &CaseView, limit: usize) -> Result<Vec<Alike>, Fault> {
        let own: Vec<MentionId> = view.thread.iter().map(|post| post.id).collect();
        let first = view.thread.iter().find(|post| post.id == view.case.mention && post.deleted_at.is_none());
        let Some(text) = first.map(|post| post.text.whole().to_owned()) else { return Ok(Vec::new()) };
        let catalog = self.site.desk.store().catalog();
        let brand = catalog.team(view.case.team).map(|team| team.brand);
        let mut scope = scope(viewer, &catalog);
        // What another brand's customers say is not the same, and its answers are not ours to give.
        scope.teams.retain(|team| catalog.team(*team).map(|team| team.brand) == brand);
        scope.brands.retain(|one| brand.is_some_and(|brand| i64::from(*one) == brand.0));
        let search = Arc::clone(&self.site.search);
        // Several posts of one case are shown once.
        let found = tokio::task::spawn_blocking(move || search.alike(&text, &own, &scope, limit * 2)).await;
        let mut found = found.map_err(|error| Fault::Failed(error.to_string()))??;
        let mut cases = vec![view.case.id];
        found.retain(|one| match one.case {
            Some(case) if cases.contains(&case) => false,
            Some(case) => {
                cases.push(case);
                true
            }
            None => true,
        });
        found.truncate(limit);
        Ok(found)
    }

    /// The same as hits of a page, each with the answer that it got.
    async fn alike_hits(&self, desktop: &Desktop, view: &CaseView, limit: usize) -> Result<Vec<Hit>, Fault> {
        let alike = self.alike(&desktop.viewer, view, limit).await?;
        let found = Found {
            total: alike.len(),
            more: false,
            hits: alike
                .iter()
                .map(|one| crate::search::Hit { mention: one.mention, case: one.case, score: one.score })
                .collect(),
            facets: Vec::new(),
            widened: Vec::new(),
        };
        let (desktop, search) = (desktop.clone(), Arc::clone(&self.site.search));
        self.read(move |reader| {
            let everything = crate::query::Query::default();
            let mut hits = hits(reader, &desktop, &found, |text| search.snippet(&everything, text))?;
            let scores: HashMap<MentionId, &Alike> = alike.iter().map(|one| (one.mention, one)).collect();
            for hit in &mut hits {
                hit.like = scores.get(&hit.mention).map(|one| ((one.score * 100.0).round() as u8, one.copy));
                if let Some(case) = &mut hit.case {
                    let sent = reader.replies(CaseId(case.number))?.into_iter().find(|reply| reply.state == ReplyState::Sent);
                    case.answer = sent.map(|reply| reply.text);
                }
            }
            Ok(hits)
        })
        .await
    }

    /// What the tab beside a case shows.
    pub(super) async fn lookalikes(&self, desktop: &Desktop, view: &CaseView) -> Result<Vec<Lookalike>, Fault> {
        let hits = self.alike_hits(desktop, view, BESIDE).await?;
        Ok(hits.into_iter().map(|hit| Lookalike { words: hit.likeness(&desktop.f).unwrap_or_default(), hit }).collect())
    }

    /// Counts, beside each hit, how many other posts say nearly the same.
    pub(super) async fn count_copies(&self, viewer: &Viewer, hits: &mut [Hit]) -> Result<(), Fault> {
        let signatures: Vec<u64> = hits.iter().map(|hit| hit.signature).collect();
        if signatures.is_empty() || self.site.search.documents() > COUNTED {
            return Ok(());
        }
        let (search, scope) = (Arc::clone(&self.site.search), scope(viewer, &self.site.desk.store().catalog()));
        let counts = tokio::task::spawn_blocking(move || search.copies(&signatures, &scope)).await;
        let counts = counts.map_err(|error| Fault::Failed(error.to_string()))??;
        for (hit, count) in hits.iter_mut().zip(counts) {
            hit.copies = u64::try_from(count.saturating_sub(1)).unwrap_or(0);
        }
        Ok(())
    }
}

/// `GET /search?like=8123`.
pub(super) async fn page(
    console: &Console,
    visit: &Visit,
    desktop: Desktop,
    empty: SearchPage,
    number: i64,
) -> Result<Response, Fault> {
    let view = console.look(&visit.viewer, number).await?;
    let started = tokio::time::Instant::now();
    let hits = console.alike_hits(&desktop, &view, PAGE).await?;
    let total = u64::try_from(hits.len()).unwrap_or(u64::MAX);
    let page = SearchPage { total: Some(total), took: started.elapsed(), hits, ..empty };
    framed(console, desktop, page, StatusCode::OK).await
}
