//! Sources: how each account fares, what it rests or is looked at, what it listens for and would have caught.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use askama::Template as _;
use axum::{
    Form,
    extract::{Path, Query as Params, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Redirect, Response},
};
use serde::Deserialize;

use super::{
    Console,
    fault::Fault,
    fill::{self, named},
    flash::{self, Did, Done},
    html,
    pages::Desktop,
    say,
    session::Visit,
};
use crate::{
    case::CaseId,
    clock::Time,
    desk::{LISTEN, PAUSE, SENT, STATUS, TEST, cannot_be_heard, may_in_brand},
    mention::platform,
    query::{Field, Node, Query},
    queue::{Account, Reader},
    search::{Found, Order, Page, Scope},
    staff::{Action, Viewer, authorize},
    text::{alike, signature},
    web::views::{self, Catch, Failing, Faring, Heard, Place, Quota, Source, SourcePage, SourcePush, SourcesPage, StreamLine},
    web::words,
};

/// A source may be behind for so long before that is news, or for three times its goal.
const PATIENCE: Duration = Duration::from_secs(60);
/// What a query is tried on.
const WEEK: Duration = Duration::from_secs(7 * 86_400);
/// Posts that a try looks at, and shows.
const TRIED: usize = 100;
const SHOWN: usize = 20;

/// How one stream fares, as its connector wrote it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Fared {
    connector: String,
    stream: String,
    state: String,
    last_success: Option<Time>,
    newest: Option<Time>,
    #[serde(with = "crate::clock::span")]
    goal: Duration,
    budget: Vec<Left>,
    failures: Vec<Failed>,
    next_at: Time,
}

#[derive(Debug, Deserialize)]
struct Left {
    name: String,
    left: u64,
    of: u64,
    resets_at: Time,
}

#[derive(Debug, Deserialize)]
struct Failed {
    count: u64,
    last: String,
    remedy: String,
}

#[derive(Debug, Deserialize)]
struct Named {
    name: String,
    text: String,
}

impl Fared {
    /// How long it may be silent.
    fn patience(&self) -> Duration {
        PATIENCE.max(self.goal * 3)
    }

    fn faring(&self, now: Time) -> Faring {
        let behind = |at: Time| now.since(at) > self.patience();
        let late = match self.last_success {
            Some(at) => behind(at),
            None => !self.failures.is_empty(),
        };
        match self.state.as_str() {
            "paused" => Faring::Paused,
            "stopped" => Faring::Stopped,
            "open" => Faring::Open,
            // It waits for a time that it was told; what comes after that is late.
            "limited" if !behind(self.next_at) => Faring::Limited,
            "up" if !behind(self.next_at) => Faring::Up,
            "waiting" if self.last_success.is_none() && self.failures.is_empty() => Faring::New,
            "waiting" if !late => Faring::Waiting,
            _ => Faring::Late,
        }
    }
}

/// What the store knows of an account.
struct Told<'catalog> {
    account: &'catalog Account,
    fared: Vec<Fared>,
    /// By whom it was paused, and when.
    paused: Option<(String, Time)>,
}

impl Told<'_> {
    /// A live connection beside walks: without it what they bring is slower, not missing.
    fn spare(&self, one: &Fared) -> bool {
        // One connection may stand beside a walk for each query.
        let walks = |walks: &str, other: &Fared| {
            other.stream != one.stream
                && other.stream.strip_prefix(walks).is_some_and(|topic| topic.is_empty() || topic.starts_with('/'))
        };
        one.stream.strip_suffix("/live").is_some_and(|stream| self.fared.iter().any(|other| walks(stream, other)))
    }

    fn needed(&self) -> impl Iterator<Item = &Fared> {
        self.fared.iter().filter(|one| !self.spare(one))
    }

    fn faring(&self, now: Time) -> Faring {
        match self.paused {
            Some(_) => Faring::Paused,
            None => self.needed().map(|one| one.faring(now)).max().unwrap_or(Faring::New),
        }
    }

    /// As fresh as its stalest stream.
    fn last_success(&self) -> Option<Time> {
        self.needed().map(|one| one.last_success).min().flatten()
    }
}

/// Each account that somebody may see, as the store has it; worst first.
fn told<'reader>(
    reader: &'reader Reader<'_>,
    now: Time,
    may: impl Fn(&Account) -> bool,
) -> Result<Vec<(Faring, Told<'reader>)>, Fault> {
    let (statuses, pauses) = ([kept(reader, STATUS)?, kept(reader, SENT)?], kept(reader, PAUSE)?);
    let mut told: Vec<(Faring, Told<'_>)> = Vec::new();
    for account in reader.catalog.accounts.iter().filter(|account| may(account)) {
        let lists = statuses.iter().filter_map(|states| states.get(&account.key));
        let fared = lists.filter_map(|(text, _)| serde_json::from_str::<Vec<Fared>>(text).ok()).flatten().collect();
        let paused = pauses.get(&account.key).filter(|(by, _)| !by.is_empty()).cloned();
        let one = Told { account, fared, paused };
        told.push((one.faring(now), one));
    }
    told.sort_by(|(a, one), (b, other)| b.cmp(a).then_with(|| one.account.key.cmp(&other.account.key)));
    Ok(told)
}

/// What accounts keep under a name, and since when.
fn kept(reader: &Reader<'_>, name: &str) -> Result<BTreeMap<String, (String, Time)>, Fault> {
    Ok(reader.source_states(name)?.into_iter().map(|(account, value, at)| (account, (value, at))).collect())
}

/// Every account that somebody may see, as its page shows it.
pub(super) fn read(reader: &Reader<'_>, desktop: &Desktop, may: impl Fn(&Account) -> bool) -> Result<Vec<Source>, Fault> {
    let (tests, f) = (kept(reader, TEST)?, &desktop.f);
    let drawn = |(faring, told): (Faring, Told<'_>)| {
        let (account, fared) = (told.account, &told.fared);
        let asked = tests.get(&account.key).map(|(_, at)| *at);
        let brand = reader.catalog.brand(account.brand);
        let streams: Vec<StreamLine> = fared
            .iter()
            .map(|one| StreamLine {
                name: one.stream.clone(),
                faring: if told.spare(one) { one.faring(f.now).min(Faring::Waiting) } else { one.faring(f.now) },
                last_success: one.last_success,
                newest: one.newest,
                next: (one.next_at > Time(0) && one.next_at < Time::NEVER).then_some(one.next_at),
            })
            .collect();
        let looked = fared.iter().filter_map(|one| one.last_success).max();
        Source {
            key: account.key.clone(),
            handle: account.handle.clone(),
            connector: fared.first().map(|one| one.connector.clone()).unwrap_or_default(),
            brand: brand.map(|brand| named(f.language, &brand.name_ko, &brand.name_en).to_owned()).unwrap_or_default(),
            faring,
            last_success: told.last_success(),
            newest: fared.iter().filter_map(|one| one.newest).max(),
            goal: fared.iter().map(|one| one.goal).min().unwrap_or_default(),
            quotas: fared.iter().flat_map(|one| &one.budget).fold(Vec::new(), |mut quotas: Vec<Quota>, left| {
                if !quotas.iter().any(|known| known.name == left.name) {
                    quotas.push(Quota { name: left.name.clone(), left: left.left, of: left.of, resets_at: left.resets_at });
                }
                quotas
            }),
            failures: fared
                .iter()
                .flat_map(|one| {
                    let spare = told.spare(one);
                    one.failures.iter().map(move |failed| Failing {
                        stream: one.stream.clone(),
                        count: failed.count,
                        last: failed.last.clone(),
                        remedy: if spare { "wait".to_owned() } else { failed.remedy.clone() },
                    })
                })
                .collect(),
            asked: asked.filter(|at| looked.is_none_or(|looked| looked < *at)),
            streams,
            paused: told.paused,
        }
    };
    Ok(told(reader, f.now, may)?.into_iter().map(drawn).collect())
}

/// Whether somebody may steer an account of this brand.
pub(super) fn may_listen(reader: &Reader<'_>, viewer: &Viewer, account: &Account) -> bool {
    may_in_brand(reader.catalog, viewer, Action::Listen, account.brand)
}

/// What the queue says of sources of its reader's brands that bring nothing.
pub(super) fn warning(reader: &Reader<'_>, desktop: &Desktop) -> Result<Option<(String, bool)>, Fault> {
    let (viewer, f) = (&desktop.viewer, &desktop.f);
    let reads = |account: &Account| may_in_brand(reader.catalog, viewer, Action::Read, account.brand);
    let stale: Vec<Told<'_>> =
        told(reader, f.now, reads)?.into_iter().filter(|(faring, _)| faring.stale()).map(|(_, one)| one).collect();
    let text = match stale.as_slice() {
        [] => return Ok(None),
        [one] => match one.last_success() {
            Some(at) => words::fill(f.w.src_stale, &[("name", &one.account.key), ("time", &f.time(at))]),
            None => f.with(f.w.src_stale_never, "name", &one.account.key),
        },
        many => {
            let names: Vec<&str> = many.iter().map(|one| one.account.key.as_str()).collect();
            words::fill(f.w.src_stale_many, &[("n", &many.len().to_string()), ("names", &names.join(", "))])
        }
    };
    let steers = reader.catalog.accounts.iter().any(|account| may_listen(reader, viewer, account));
    Ok(Some((text, steers)))
}

/// Somebody who may steer no account at all has no such page.
fn steers(console: &Console, viewer: &Viewer) -> Result<(), Fault> {
    let catalog = console.site.desk.store().catalog();
    let mut teams = catalog.teams.iter().map(|team| authorize(viewer, Action::Listen, team.id));
    if teams.any(|may| may.is_ok()) {
        return Ok(());
    }
    Err(Fault::Forbidden(crate::staff::Role::Manager))
}

/// `GET /sources`.
pub(super) async fn page(State(console): State<Arc<Console>>, visit: Visit, headers: HeaderMap) -> Result<Response, Fault> {
    steers(&console, &visit.viewer)?;
    let mut desktop = console.desktop(&visit);
    let flash = flash::take(&headers, desktop.f.w);
    desktop.f.flash.clone_from(&flash);
    let page = console
        .read(move |reader| {
            let mut f = desktop.frame(reader, views::Room::Sources, "/sources")?;
            f.live = Some("/live?room=sources".into());
            let sources = read(reader, &desktop, |account| may_listen(reader, &desktop.viewer, account))?;
            Ok(SourcesPage { f, sources })
        })
        .await?;
    Ok(flash::spent(html(&page)?.into_response(), flash.is_some()))
}

/// The accounts that look otherwise than when a stream drew them last, drawn for it. Its first look draws all: nobody
/// knows when the page did.
pub(super) fn changes(
    reader: &Reader<'_>,
    desktop: &Desktop,
    drawn: &mut BTreeMap<String, String>,
) -> Result<Vec<String>, Fault> {
    let mut messages = Vec::new();
    for source in read(reader, desktop, |account| may_listen(reader, &desktop.viewer, account))? {
        let html = SourcePush { f: &desktop.f, source: &source }.render()?;
        let before = drawn.insert(source.key.clone(), html.clone());
        if before.as_ref() != Some(&html) {
            messages.push(html);
        }
    }
    Ok(messages)
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Asked {
    name: String,
    q: String,
}

/// `GET /sources/{account}?name&q`: the account, and what a query would have caught.
pub(super) async fn one(
    State(console): State<Arc<Console>>,
    visit: Visit,
    Path(account): Path<String>,
    Params(asked): Params<Asked>,
    headers: HeaderMap,
) -> Result<Response, Fault> {
    steers(&console, &visit.viewer)?;
    console.site.desk.may_listen(&visit.viewer, &account).map_err(|_| Fault::NoPage)?;
    let mut desktop = console.desktop(&visit);
    let flash = flash::take(&headers, desktop.f.w);
    desktop.f.flash.clone_from(&flash);
    let mut error = None;
    let mut tried: Option<(Query, Found)> = None;
    if !asked.q.trim().is_empty() {
        match asked.q.parse::<Query>() {
            Err(wrong) => error = Some(say::query(desktop.f.language, &wrong)),
            Ok(query) => match cannot_be_heard(&query) {
                Some(field) => error = Some(desktop.f.with(desktop.f.w.lst_facts, "name", field)),
                None => tried = Some((query.clone(), last_week(&console, &visit.viewer, &account, query).await?)),
            },
        }
    }
    let status = if error.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    let search = Arc::clone(&console.site.search);
    let page = console
        .read(move |reader| {
            let f = desktop.frame(reader, views::Room::Sources, "/sources")?;
            let source = read(reader, &desktop, |known| known.key == account)?.pop().ok_or(Fault::NoPage)?;
            let (total, catches) = match &tried {
                Some((query, found)) => (Some(found.total as u64), catches(reader, &desktop, &search, query, found)?),
                None => (None, Vec::new()),
            };
            let heard = heard(reader, &account)?;
            Ok(SourcePage { f, source, heard, name: asked.name, q: asked.q, error, total, catches })
        })
        .await?;
    Ok(flash::spent((status, html(&page)?).into_response(), flash.is_some()))
}

/// What an account listens for: by its configuration, and as people saved it.
fn heard(reader: &Reader<'_>, account: &str) -> Result<Vec<Heard>, Fault> {
    let named: Vec<Named> =
        reader.source_state(account, LISTEN)?.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
    let named = named.into_iter().map(|one| Heard { name: one.name, query: one.text, saved: false });
    let saved = reader.listening()?.into_iter().filter(|one| one.account == account);
    Ok(named.chain(saved.map(|one| Heard { name: one.name, query: one.query, saved: true })).collect())
}

/// The posts of the last seven days that a query finds, of cases and without, within what this person may see.
async fn last_week(console: &Console, viewer: &Viewer, account: &str, query: Query) -> Result<Found, Fault> {
    let store = console.site.desk.store();
    let brand = store.catalog().account_by_key(account).and_then(|account| u32::try_from(account.brand.0).ok());
    let scope = Scope { teams: viewer.visible_teams(), brands: brand.into_iter().collect() };
    let now = console.site.desk.clock().now();
    let first = now.minus(WEEK).timestamp().to_zoned(console.zone(viewer)).datetime();
    let days = Node::Field(Field::Posted(Some(first), None));
    let query = Query { root: Some(Node::All(query.root.into_iter().chain([days]).collect())) };
    let search = Arc::clone(&console.site.search);
    let page = Page { offset: 0, limit: TRIED };
    let found = tokio::task::spawn_blocking(move || search.find(&query, &scope, Order::Newest, page)).await;
    Ok(found.map_err(|error| Fault::Failed(error.to_string()))??)
}

/// The found posts, near-duplicates folded under the newest of them.
fn catches(
    reader: &Reader<'_>,
    desktop: &Desktop,
    search: &crate::search::Search,
    query: &Query,
    found: &Found,
) -> Result<Vec<Catch>, Fault> {
    let ids: Vec<_> = found.hits.iter().map(|hit| hit.mention).collect();
    let mentions: BTreeMap<_, _> = reader.mentions(&ids)?.into_iter().map(|mention| (mention.id.0, mention)).collect();
    let mut catches: Vec<(u64, Catch)> = Vec::new();
    for hit in &found.hits {
        let Some(mention) = mentions.get(&hit.mention.0).filter(|mention| mention.deleted_at.is_none()) else { continue };
        let sign = signature(mention.text.whole());
        if let Some((_, known)) = catches.iter_mut().find(|(known, _)| sign != 0 && alike(*known, sign)) {
            known.alike += 1;
            continue;
        }
        if catches.len() == SHOWN {
            continue;
        }
        let visible = |case: &crate::queue::Case| desktop.viewer.visible_teams().contains(&case.team);
        let case = match hit.case {
            Some(number) => reader.case(CaseId(number.0))?.filter(visible),
            None => None,
        };
        let snippet = desktop.f.snippet(&mention.text, |text| search.snippet(query, text));
        catches.push((
            sign,
            Catch {
                case: case.as_ref().map(|case| case.id.0),
                label: case.as_ref().map(fill::label),
                place: Place { platform: platform(&mention.source).into(), account: None },
                author: mention.handle.clone(),
                lang: mention.lang,
                at: mention.posted_at,
                snippet,
                alike: 0,
            },
        ));
    }
    Ok(catches.into_iter().map(|(_, one)| one).collect())
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Fields {
    name: String,
    q: String,
}

/// `POST /sources/{account}/{command}`: pause, resume, test, listen, unlisten.
pub(super) async fn run(
    State(console): State<Arc<Console>>,
    visit: Visit,
    Path((account, command)): Path<(String, String)>,
    Form(fields): Form<Fields>,
) -> Result<Response, Fault> {
    let (desk, viewer) = (&console.site.desk, &visit.viewer);
    let page = format!("/sources/{account}");
    let (did, next) = match command.as_str() {
        "pause" => {
            desk.pause_source(viewer, &account, true).await?;
            (Did::SourcePause, "/sources".to_owned())
        }
        "resume" => {
            desk.pause_source(viewer, &account, false).await?;
            (Did::SourceResume, "/sources".to_owned())
        }
        "test" => {
            desk.test_source(viewer, &account).await?;
            (Did::SourceTest, "/sources".to_owned())
        }
        "listen" => {
            desk.save_listening(viewer, &account, &fields.name, &fields.q).await?;
            (Did::Listen, page)
        }
        "unlisten" => {
            desk.drop_listening(viewer, &account, &fields.name).await?;
            (Did::Unlisten, page)
        }
        _ => return Err(Fault::NoPage),
    };
    let cookie = Done { did, case: 0, undo: None }.cookie();
    Ok(([(header::SET_COOKIE, cookie)], Redirect::to(&next)).into_response())
}

/// Which query of which brand caught a post that nobody addressed to us; in words, by mention.
pub(super) fn caught(reader: &Reader<'_>, desktop: &Desktop, posts: &[i64]) -> Result<BTreeMap<i64, String>, Fault> {
    let f = &desktop.f;
    let mut words = BTreeMap::new();
    for found in reader.catches(posts)? {
        let brand = reader.catalog.brand(found.brand);
        let brand = brand.map_or("", |brand| named(f.language, &brand.name_ko, &brand.name_en));
        let text = words::fill(f.w.caught_by, &[("query", &found.query), ("brand", brand)]);
        words.entry(found.mention.0).and_modify(|known: &mut String| *known = format!("{known} · {text}")).or_insert(text);
    }
    Ok(words)
}
