//! Insight: the words that more people write this week, of a brand and a label, within what one may see.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    extract::{Query as Params, State},
    response::{IntoResponse, Response},
};
use jiff::{ToSpan, civil::Date};
use serde::Deserialize;

use super::{Console, fault::Fault, fill::named, html, session::Visit};
use crate::{
    case::{BrandId, CaseId},
    clock::Time,
    mention::{Label, MentionId},
    query::{Field, Node, Query},
    queue::{Brand, PostRow},
    search::{
        Order, Page, Scope, Search,
        rise::{self, Rising, Voice, WEEKS},
    },
    text::PostText,
    web::{
        format,
        views::{self, Choice, Columns, Example, InsightPage, RisingRow},
    },
};

/// Posts read of a week; of a busier one the newest.
const READ: usize = 8_000;
/// What was found is shown again for this long.
const KEPT: Duration = Duration::from_secs(600);

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Asked {
    brand: String,
    label: String,
}

/// What was found for a scope and a label.
#[derive(Debug, Default)]
struct Found {
    /// Posts by week, oldest first.
    totals: [usize; WEEKS],
    read: usize,
    rising: Vec<Rising>,
    /// Texts and cases of the examples.
    examples: HashMap<MentionId, (PostText, Option<CaseId>)>,
}

/// Teams, brands, label and first day: what decides the answer.
type Key = (Vec<i64>, Vec<u32>, Option<Label>, Date);

/// Answers of the last minutes.
#[derive(Default)]
pub(super) struct Recent(Mutex<HashMap<Key, (Time, Arc<Found>)>>);

impl Recent {
    fn get(&self, key: &Key, now: Time) -> Option<Arc<Found>> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|_, (at, _)| now.since(*at) < KEPT);
        kept.get(key).map(|(_, found)| Arc::clone(found))
    }

    fn put(&self, key: Key, now: Time, found: &Arc<Found>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key, (now, Arc::clone(found)));
    }
}

/// The weeks up to today, oldest first, as first and last day.
fn weeks(today: Date) -> Vec<(Date, Date)> {
    let week = |back: i64| {
        let last = today.checked_sub((back * 7).days()).ok()?;
        Some((last.checked_sub(6.days()).ok()?, last))
    };
    (0..WEEKS).rev().filter_map(|back| week(i64::try_from(back).ok()?)).collect()
}

/// The query for the posts of these days.
fn query(label: Option<Label>, (first, last): (Date, Date)) -> Query {
    let midnight = |day: Date| day.at(0, 0, 0, 0);
    let posted = Field::Posted(Some(midnight(first)), last.tomorrow().ok().map(midnight));
    let fields = [Some(posted), label.map(|label| Field::Label(Some(label)))];
    Query { root: Some(Node::All(fields.into_iter().flatten().map(Node::Field).collect())) }
}

/// The newest posts of each week with their cases, and how many there are.
fn posts(
    search: &Search,
    scope: &Scope,
    label: Option<Label>,
    weeks: &[(Date, Date)],
) -> Result<Vec<(usize, Vec<crate::search::Hit>)>, Fault> {
    let page = Page { offset: 0, limit: READ };
    let find = |week: &(Date, Date)| {
        let found = search.find(&query(label, *week), scope, Order::Newest, page)?;
        Ok((found.total, found.hits))
    };
    weeks.iter().map(find).collect()
}

impl Console {
    async fn rising(&self, scope: Scope, label: Option<Label>, today: Date, now: Time) -> Result<Arc<Found>, Fault> {
        let key: Key = (scope.teams.iter().map(|team| team.0).collect(), scope.brands.clone(), label, today);
        if let Some(found) = self.recent.get(&key, now) {
            return Ok(found);
        }
        let search = Arc::clone(&self.site.search);
        let asked = tokio::task::spawn_blocking(move || posts(&search, &scope, label, &weeks(today))).await;
        let by_week = asked.map_err(|error| Fault::Failed(error.to_string()))??;
        let found = self
            .read(move |reader| {
                let mut found = Found::default();
                let mut voices: Vec<(PostRow, usize)> = Vec::new();
                let mut cases: HashMap<MentionId, Option<CaseId>> = HashMap::new();
                for (week, (total, hits)) in by_week.iter().rev().enumerate() {
                    if let Some(slot) = found.totals.iter_mut().nth_back(week) {
                        *slot = *total;
                    }
                    for hits in hits.chunks(1_000) {
                        let ids: Vec<MentionId> = hits.iter().map(|hit| hit.mention).collect();
                        cases.extend(hits.iter().map(|hit| (hit.mention, hit.case)));
                        voices.extend(reader.posts(&ids)?.into_iter().filter(|post| !post.deleted).map(|post| (post, week)));
                    }
                }
                found.read = voices.len();
                found.rising = rise::rising(voices.iter().map(|(post, week)| Voice {
                    mention: post.mention,
                    text: post.text.whole(),
                    author: &post.author,
                    week: *week,
                }));
                let named: Vec<MentionId> = found.rising.iter().flat_map(|one| one.examples.iter().copied()).collect();
                for (post, _) in voices.into_iter().filter(|(post, _)| named.contains(&post.mention)) {
                    found.examples.insert(post.mention, (post.text, cases.get(&post.mention).copied().flatten()));
                }
                Ok(found)
            })
            .await?;
        let found = Arc::new(found);
        self.recent.put(key, now, &found);
        Ok(found)
    }
}

/// `GET /insight?brand=shop&label=complaint`.
pub(super) async fn page(
    State(console): State<Arc<Console>>,
    visit: Visit,
    Params(asked): Params<Asked>,
) -> Result<Response, Fault> {
    let desktop = console.desktop(&visit);
    let catalog = console.site.desk.store().catalog();
    let teams = visit.viewer.visible_teams();
    let brand_of = |team: &crate::staff::TeamId| catalog.team(*team).map(|team| team.brand);
    let mut mine: Vec<BrandId> = teams.iter().filter_map(brand_of).collect();
    mine.sort_unstable();
    mine.dedup();
    let brands: Vec<Brand> = mine.iter().filter_map(|brand| catalog.brand(*brand)).cloned().collect();
    let brand = brands.iter().find(|brand| brand.key == asked.brand).or_else(|| brands.first()).cloned();
    let label = Label::parse(&asked.label);
    let Some(brand) = brand else { return Err(Fault::NoPage) };
    let scope = Scope {
        teams: teams.into_iter().filter(|team| brand_of(team) == Some(brand.id)).collect(),
        brands: u32::try_from(brand.id.0).into_iter().collect(),
    };
    let now = desktop.f.now;
    let today = now.timestamp().to_zoned(console.site.search.zone().clone()).date();
    let found = console.rising(scope, label, today, now).await?;
    let search = Arc::clone(&console.site.search);
    let page = console
        .read(move |reader| {
            let f = desktop.frame(reader, views::Room::Search, "/insight")?;
            Ok(draw(&search, f, &brands, &brand, label, today, &found))
        })
        .await?;
    Ok(html(&page)?.into_response())
}

fn whole(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

fn draw(
    search: &Search,
    f: views::Frame,
    brands: &[Brand],
    brand: &Brand,
    label: Option<Label>,
    today: Date,
    found: &Found,
) -> InsightPage {
    let choice = |one: &Brand| Choice {
        value: one.key.clone(),
        name: named(f.language, &one.name_ko, &one.name_en).to_owned(),
        chosen: one.id == brand.id,
    };
    let mut labels = vec![Choice { value: String::new(), name: f.w.all_labels.into(), chosen: label.is_none() }];
    labels.extend(Label::ALL.map(|one| Choice {
        value: one.as_str().into(),
        name: f.w.label(Some(one)).into(),
        chosen: label == Some(one),
    }));
    let days = weeks(today);
    let first = days.last().map_or(today, |(first, _)| *first);
    let start = |(day, _): &(Date, Date)| {
        let zone = search.zone().clone();
        let at = day.to_zoned(zone).map_or(f.now, |at| Time(at.timestamp().as_millisecond()));
        format::date(at, search.zone(), f.language)
    };
    let all: usize = found.totals.iter().sum();
    let rising = found.rising.iter().map(|one| {
        let phrase = if one.term.contains(' ') { format!("\"{}\"~1", one.term) } else { one.term.clone() };
        let label = label.map(|label| format!(" label:{}", label.as_str())).unwrap_or_default();
        let q = format!("{phrase} posted:>={first}{label}");
        let marked: Query = phrase.parse().unwrap_or_default();
        let examples = one.examples.iter().filter_map(|mention| {
            let (text, case) = found.examples.get(mention)?;
            let snippet = f.snippet(text, |text| search.snippet(&marked, text));
            Some(Example { case: case.map(|case| case.0), snippet })
        });
        RisingRow {
            term: one.term.clone(),
            href: format!("/search?{}", url::form_urlencoded::Serializer::new(String::new()).append_pair("q", &q).finish()),
            times: one.times,
            new: one.weeks[..WEEKS - 1].iter().sum::<u32>() == 0,
            columns: Columns {
                values: one.weeks.iter().map(|people| u64::from(*people)).collect(),
                summary: f.with(f.w.rise_summary, "n", one.weeks[WEEKS - 1]),
            },
            examples: examples.collect(),
        }
    });
    let rising: Vec<RisingRow> = rising.collect();
    InsightPage {
        brands: brands.iter().map(choice).collect(),
        labels,
        weeks: days.iter().map(start).collect(),
        totals: Columns {
            values: found.totals.map(whole).to_vec(),
            summary: f.with(f.w.rise_summary_posts, "n", found.totals[WEEKS - 1]),
        },
        read: (found.read < all).then_some(whole(found.read)),
        rising,
        f,
    }
}
