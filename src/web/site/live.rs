//! The live streams: what changed in the store, drawn for each viewer who may see it.
//!
//! Content is pushed (rows, the parts of a case), order is only told (`order`) and pulled by the page.
//! One feeder a stream follows the event sequence; it reads at most four times a second, merges what
//! happened to a case into one drawing, and never waits for a slow browser.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Deref,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use askama::Template;
use axum::{
    Json,
    body::Body,
    extract::{RawQuery, State},
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
};
use serde_json::json;
use tokio::sync::watch;

use super::{Console, fault::Fault, fill::left, pages::Desktop, room::Room, session::Visit, sources};
use crate::{
    case::{CaseId, EventKind, Seq},
    clock::Time,
    queue::{QueueRow, Reader},
    staff::{Action, authorize},
    web::{
        sse::{BATCH_GAP, BEAT, Message, Order as Moves, Pipe},
        views::{CasePage, Row, RowPush, ThreadItem},
    },
};

/// Live streams of one session; a browser allows six connections a host.
const STREAMS: usize = 4;
/// Events read at once; who has missed more pulls the page anew.
const MOST_EVENTS: u32 = 1_000;
/// Cases of a list whose places are known.
const KNOWN: u32 = 500;
/// How often a page of sources is brought up to date.
const LOOK_AT_SOURCES: std::time::Duration = std::time::Duration::from_secs(2);
/// Rows drawn for one message; beyond it pulling is cheaper.
const MOST_ROWS: usize = 16;

/// The parts of a case's page that change while somebody looks.
#[derive(Template)]
#[template(path = "case_push.html")]
pub(super) struct CasePush(pub CasePage);

impl Deref for CasePush {
    type Target = CasePage;

    fn deref(&self) -> &CasePage {
        &self.0
    }
}

/// A stream that runs.
struct Running {
    id: u64,
    pipe: Pipe,
}

/// The streams that run, by session.
#[derive(Default)]
pub(super) struct Streams {
    open: Mutex<HashMap<[u8; 32], Vec<Running>>>,
    last: AtomicU64,
}

impl Streams {
    /// Adds a stream; none when there are four, unless it takes the oldest one's place.
    fn open(self: &Arc<Self>, session: [u8; 32], pipe: &Pipe, take: bool) -> Option<Open> {
        let id = self.last.fetch_add(1, Ordering::Relaxed);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let streams = open.entry(session).or_default();
        if streams.len() >= STREAMS {
            if !take {
                return None;
            }
            let oldest = streams.remove(0).pipe;
            oldest.push(&Message::Parked);
            oldest.close();
        }
        streams.push(Running { id, pipe: pipe.clone() });
        Some(Open { streams: Arc::clone(self), session, id })
    }
}

/// One running stream; gone from the list when dropped.
struct Open {
    streams: Arc<Streams>,
    session: [u8; 32],
    id: u64,
}

impl Drop for Open {
    fn drop(&mut self) {
        let mut open = self.streams.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(streams) = open.get_mut(&self.session) {
            streams.retain(|running| running.id != self.id);
            if streams.is_empty() {
                open.remove(&self.session);
            }
        }
    }
}

/// What a stream shows.
enum Place {
    List(Box<Room>),
    Case(CaseId),
    Sources,
}

/// Ends the feeder when the response is dropped.
struct Reading {
    pipe: Pipe,
    feeder: Option<tokio::task::JoinHandle<()>>,
    _open: Option<Open>,
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.pipe.close();
        if let Some(feeder) = &self.feeder {
            feeder.abort();
        }
    }
}

/// `GET /live/now`: the server's time.
pub(super) async fn now(State(console): State<Arc<Console>>, _visit: Visit) -> Json<serde_json::Value> {
    Json(json!({ "now": console.site.desk.clock().now().0 }))
}

/// `GET /live?room=queue&team=cs-1&since=412`: the stream of a page.
pub(super) async fn stream(
    State(console): State<Arc<Console>>,
    visit: Visit,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, Fault> {
    let query = query.unwrap_or_default();
    let given: HashMap<String, String> = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    let text = |name: &str| given.get(name).map(String::as_str);
    let place = match text("room") {
        Some("case") => {
            let number = text("case").and_then(|case| case.parse().ok()).ok_or(Fault::NoPage)?;
            console.look(&visit.viewer, number).await?;
            Place::Case(CaseId(number))
        }
        Some(room @ ("queue" | "mine")) => {
            let team = (room == "queue").then(|| text("team").unwrap_or_default().to_owned());
            let viewer = visit.viewer.clone();
            let room = console.read(move |reader| Room::open(reader, &viewer, team.as_deref(), &query)).await?;
            Place::List(Box::new(room))
        }
        Some("sources") => Place::Sources,
        _ => return Err(Fault::NoPage),
    };
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok()).and_then(|id| id.parse().ok());
    let since = last.or_else(|| text("since").and_then(|since| since.parse().ok()));
    let pipe = Pipe::default();
    let take = text("take").is_some();
    let reading = match console.streams.open(visit.token.stored(), &pipe, take) {
        Some(open) => {
            let feeder = Feeder {
                console: Arc::clone(&console),
                visit,
                place,
                pipe: pipe.clone(),
                known: BTreeMap::new(),
                drawn: BTreeMap::new(),
            };
            Reading { pipe, feeder: Some(tokio::spawn(feeder.run(since.map(Seq)))), _open: Some(open) }
        }
        None => {
            pipe.push(&Message::Parked);
            pipe.close();
            Reading { pipe, feeder: None, _open: None }
        }
    };
    let frames = futures_util::stream::unfold(reading, |reading| async move {
        let frame = reading.pipe.next().await?;
        Some((Ok::<_, std::convert::Infallible>(frame), reading))
    });
    let headers = [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-store")];
    Ok((headers, Body::from_stream(frames)).into_response())
}

/// Where a case stands in a list: crisis first, then by time, then overdue.
type Spot = (bool, bool, i64);

fn spot(line: &QueueRow, now: Time) -> Spot {
    let due = line.case.nearest_clock().map_or(i64::MAX, |clock| clock.deadline_at.0);
    (line.case.priority != crate::case::Priority::Crisis, due <= now.0, due)
}

/// Ends when the service stops; a dropped sender means the same.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    drop(stop.wait_for(|stop| *stop).await);
}

struct Feeder {
    console: Arc<Console>,
    visit: Visit,
    place: Place,
    pipe: Pipe,
    /// The cases of the list, with their places.
    known: BTreeMap<CaseId, Spot>,
    /// The sources of the page, as they were drawn.
    drawn: BTreeMap<String, String>,
}

/// What a look at the events made.
struct News {
    messages: Vec<Message>,
    known: BTreeMap<CaseId, Spot>,
    seq: Seq,
}

impl Feeder {
    async fn run(mut self, since: Option<Seq>) {
        if let Err(fault) = self.follow(since).await {
            tracing::warn!(?fault, "a live stream ended");
        }
        self.pipe.close();
        if let Place::Case(case) = self.place {
            self.console.presence.leave(case, self.visit.viewer.id);
            self.console.revealed.leave(self.visit.token.stored(), case);
        }
    }

    async fn follow(&mut self, since: Option<Seq>) -> Result<(), Fault> {
        let console = Arc::clone(&self.console);
        let clock = console.site.desk.clock().clone();
        let mut commits = console.site.desk.store().follow();
        let mut presence = console.presence.follow();
        let mut stop = console.stop.clone();
        let at_start = *commits.borrow_and_update();
        let mut seen = since.unwrap_or(at_start).min(at_start);
        self.touch();
        // Not the newest event: a browser that drops out now must be sent what it missed before.
        self.pipe.push(&Message::Hello { now: clock.now(), seq: seen, version: env!("CARGO_PKG_VERSION") });
        self.learn().await?;
        let mut beat_at = clock.now().plus(BEAT);
        // How sources fare is no event of a case: it is looked for.
        let looks = matches!(self.place, Place::Sources);
        let mut look_at = clock.now();
        let mut first = true;
        loop {
            if seen < *commits.borrow() || first {
                let missed = first;
                first = false;
                if seen < *commits.borrow_and_update() {
                    seen = self.news(seen, missed).await?;
                    // Between two looks; the first was at once.
                    tokio::select! {
                        () = tokio::time::sleep(BATCH_GAP) => {}
                        () = stopped(&mut stop) => return Ok(()),
                    }
                    continue;
                }
            }
            tokio::select! {
                changed = commits.changed() => if changed.is_err() { return Ok(()) },
                () = stopped(&mut stop) => return Ok(()),
                changed = presence.changed() => {
                    let case = *presence.borrow_and_update();
                    if changed.is_ok() && matches!(self.place, Place::Case(own) if own == case) {
                        self.push_case(case, seen).await?;
                    }
                }
                () = clock.sleep_until(look_at), if looks => {
                    look_at = clock.now().plus(LOOK_AT_SOURCES);
                    self.push_sources(seen).await?;
                }
                () = clock.sleep_until(beat_at) => {
                    beat_at = clock.now().plus(BEAT);
                    if console.site.desk.session(self.visit.token.reveal()).await?.is_none() {
                        self.pipe.push(&Message::SignedOut);
                        return Ok(());
                    }
                    self.touch();
                    self.pipe.push(&Message::Beat { now: clock.now(), seq: seen, version: env!("CARGO_PKG_VERSION") });
                }
            }
        }
    }

    fn touch(&self) {
        if let Place::Case(case) = self.place {
            self.console.presence.touch(case, &self.visit.viewer, false, self.console.site.desk.clock().now());
        }
    }

    /// The list as it is, so that later news can be told as in, out or moved.
    async fn learn(&mut self) -> Result<(), Fault> {
        let Place::List(room) = &self.place else { return Ok(()) };
        let (room, viewer, now) = (room.clone(), self.visit.viewer.id, self.console.site.desk.clock().now());
        self.known = self
            .console
            .read(move |reader| {
                let lines = reader.queue(&room.filter, viewer, now, KNOWN)?;
                Ok(lines.iter().map(|line| (line.case.id, spot(line, now))).collect())
            })
            .await?;
        Ok(())
    }

    /// Draws what happened after `seen`; `missed` while the page was on its way here.
    async fn news(&mut self, seen: Seq, missed: bool) -> Result<Seq, Fault> {
        match &self.place {
            Place::Sources => Ok(*self.console.site.desk.store().follow().borrow()),
            Place::Case(case) => {
                let case = *case;
                let (events, seq) = self.events(seen).await?;
                if events.iter().any(|(id, _)| *id == case) {
                    self.push_case(case, seq).await?;
                }
                Ok(seq)
            }
            Place::List(room) => {
                let (events, seq) = self.events(seen).await?;
                let (room, known) = (room.clone(), std::mem::take(&mut self.known));
                let desktop = self.console.desktop(&self.visit);
                let news =
                    self.console.read(move |reader| draw_list(reader, &desktop, &room, known, &events, seq, missed)).await?;
                self.known = news.known;
                news.messages.iter().for_each(|message| self.pipe.push(message));
                Ok(news.seq)
            }
        }
    }

    /// The cases that something happened to after `seen`, with what.
    async fn events(&self, seen: Seq) -> Result<(Vec<(CaseId, EventKind)>, Seq), Fault> {
        let events = self.console.read(move |reader| Ok(reader.events_after(seen, MOST_EVENTS)?)).await?;
        if events.len() >= MOST_EVENTS as usize {
            self.pipe.push(&Message::Resync);
            return Ok((Vec::new(), *self.console.site.desk.store().follow().borrow()));
        }
        let seq = events.last().map_or(seen, |event| event.seq);
        Ok((events.into_iter().filter_map(|event| Some((event.case?, event.kind))).collect(), seq))
    }

    async fn push_sources(&mut self, seq: Seq) -> Result<(), Fault> {
        let (desktop, mut drawn) = (self.console.desktop(&self.visit), std::mem::take(&mut self.drawn));
        let (messages, drawn) = self
            .console
            .read(move |reader| {
                let messages = sources::changes(reader, &desktop, &mut drawn)?;
                Ok((messages, drawn))
            })
            .await?;
        self.drawn = drawn;
        messages.into_iter().for_each(|html| self.pipe.push(&Message::Partial(seq, html)));
        Ok(())
    }

    async fn push_case(&self, case: CaseId, seq: Seq) -> Result<(), Fault> {
        let desktop = self.console.desktop(&self.visit);
        match self.console.case_page(desktop, case.0, false).await {
            Ok(page) => self.pipe.push(&Message::Partial(seq, CasePush(page).render()?)),
            // It went where this person sees nothing: the page says so when it is drawn anew.
            Err(Fault::NoCase(_)) => self.pipe.push(&Message::Resync),
            Err(fault) => return Err(fault),
        }
        Ok(())
    }
}

/// Does this kind of event bring a case into a list that did not have it?
fn brings(kind: EventKind) -> bool {
    use EventKind::{Break, Claimed, Edited, GivenBack, HandedOver, Joined, Labelled, Opened, Rejudged, Reopened, Waiting};
    matches!(
        kind,
        Opened | Reopened | HandedOver | GivenBack | Break | Labelled | Claimed | Joined | Edited | Rejudged | Waiting
    )
}

/// The rows that changed, and what that did to the order.
fn draw_list(
    reader: &Reader<'_>,
    desktop: &Desktop,
    room: &Room,
    mut known: BTreeMap<CaseId, Spot>,
    events: &[(CaseId, EventKind)],
    seq: Seq,
    missed: bool,
) -> Result<News, Fault> {
    let (f, fill) = (&desktop.f, desktop.fill(reader));
    let mut cases: BTreeMap<CaseId, bool> = BTreeMap::new();
    for (case, kind) in events {
        *cases.entry(*case).or_default() |= brings(*kind);
    }
    let (mut moves, mut rows, mut touched) = (Moves::default(), Vec::new(), false);
    for (case, brought) in cases {
        let Some(line) = reader.queue_row(case, desktop.viewer.id)? else { continue };
        let visible = authorize(&desktop.viewer, Action::Read, line.case.team).is_ok();
        let holds = visible && room.holds(&line);
        let place = spot(&line, f.now);
        let before = if holds { known.insert(case, place) } else { known.remove(&case) };
        let opened = events.iter().any(|(id, kind)| *id == case && matches!(kind, EventKind::Opened | EventKind::Reopened));
        let before = before.filter(|_| !(missed && opened));
        match (before, holds) {
            (None, true) => moves.arrived += u64::from(brought),
            (Some(before), true) => moves.moved += u64::from(before != place),
            (Some(_), false) => moves.left += 1,
            // It may have left before this stream knew the list; its row says so where it is still shown.
            (None, false) if missed => {}
            (None, false) => continue,
        }
        touched = true;
        // A case that has just come in is in no page yet.
        if before.is_none() && holds && opened {
            continue;
        }
        let mut row = if visible { fill.row(&line, f) } else { Row { number: case.0, ..Row::default() } };
        if !holds {
            row.left = Some(left(&line, reader.catalog, room.team.as_ref().map(|team| team.id), f.language));
        }
        rows.push(row);
    }
    let mut messages = Vec::new();
    if touched {
        let counts = room.counts(reader, f)?;
        if rows.len() > MOST_ROWS {
            rows.clear();
            messages.push(Message::Resync);
        }
        let push = RowPush { f, rows: &rows, counts: Some(&counts), flash: None };
        messages.push(Message::Partial(seq, push.render()?));
        if moves != Moves::default() {
            messages.push(Message::Order(seq, moves));
        }
    }
    Ok(News { messages, known, seq })
}
