//! Posts as they happen: one live connection of a stream, and how its messages become mentions.
//!
//! The stream's ordinary walk fills the gap each time the connection opens, and goes on slowly as a sweep;
//! while there is no connection it is walked as if there were none. Posts that come both ways are known by
//! their id.

use std::{collections::BTreeMap, time::Duration};

use futures_util::FutureExt;
use minijinja::context;
use reqwest::Method;
use serde_json::Value as Json;

use super::{
    Error, Poller, Walk,
    format::{
        LiveKind,
        live::{EventData, Live, LiveEvent},
    },
    request::Call,
    socket::{Socket, Speech},
    sse::Message,
    template::Template,
};
use crate::{
    clock::Time,
    mention::{Envelope, Op},
};

/// Most messages that are appended at once.
const BATCH: usize = 500;

/// How often the resume value is saved: after a crash so much comes again.
const SAVED_EVERY: Duration = Duration::from_secs(1);

/// An open connection of one stream, for all who listen to it.
pub(super) struct Connection {
    socket: Socket,
    cursor: Option<String>,
    saved_at: Time,
}

impl Connection {
    /// Opens the live connection of a stream, where the last one left off.
    ///
    /// # Errors
    /// Why it does not open.
    pub async fn open(listeners: &[Poller], live: &Live) -> Result<Connection, Error> {
        let poller = first(listeners)?;
        let account = &poller.account;
        account.identify().await?;
        let http = account.http.as_ref().ok_or_else(|| Error::Refused("this connector makes no requests".into()))?;
        let cursor = poller.home.cursor(&name(poller)).await?;
        let call = request(poller, live, cursor.as_deref())?;
        account.spend(&poller.price())?;
        let speech = match live.kind {
            LiveKind::Sse => Speech::Events,
            LiveKind::Ndjson => Speech::Lines,
            LiveKind::Websocket => Speech::WebSocket,
        };
        let opened = Socket::open(http, call, speech, live.heartbeat.0).await.and_then(|opened| match opened {
            Ok(socket) => Ok(socket),
            Err(answer) => Err(match account.judge(answer, &poller.price(), None) {
                Ok(answer) => Error::Garbage(format!("no stream, but {}", answer.status)),
                Err(error) => error,
            }),
        });
        account.count(opened.as_ref().map_or_else(Error::word, |_| "ok"));
        let mut socket = opened?;
        for message in &live.send {
            socket.say(message.render(&account.values(poller.topic_values("")))?).await?;
        }
        Ok(Connection { socket, cursor, saved_at: Time(0) })
    }

    /// Waits for messages and appends what they bring; how many mentions that was.
    ///
    /// # Errors
    /// When the connection broke, or the bus does not take what came.
    pub async fn step(&mut self, listeners: &[Poller], live: &Live) -> Result<usize, Error> {
        let batch = self.hear().await?;
        self.take(listeners, live, batch).await
    }

    /// Waits for messages. Who stops waiting loses none.
    ///
    /// # Errors
    /// When the connection broke.
    pub(super) async fn hear(&mut self) -> Result<Vec<Message>, Error> {
        let mut batch = vec![self.socket.next().await?];
        // What has come meanwhile goes along; a connection that broke says so next time.
        while batch.len() < BATCH
            && let Some(Ok(message)) = self.socket.next().now_or_never()
        {
            batch.push(message);
        }
        Ok(batch)
    }

    /// Appends what messages bring; how many mentions that was. Let it end: what was heard comes only once.
    ///
    /// # Errors
    /// When the bus does not take it.
    pub(super) async fn take(&mut self, listeners: &[Poller], live: &Live, batch: Vec<Message>) -> Result<usize, Error> {
        let poller = first(listeners)?;
        let mut mentions = Vec::new();
        for message in batch {
            let id = message.id.clone();
            let Some(json) = parse(poller, live, &message) else { continue };
            let resume = live.cursor.as_ref().and_then(|path| super::template::scalar(path.first(&json)?));
            self.cursor = resume.or(id).or(self.cursor.take());
            let Some(event) = live.events.iter().find(|event| fits(poller, event, &message, &json)) else {
                poller.discard("no_event", 1);
                continue;
            };
            for mention in records(poller, event, &json, listeners) {
                mentions.extend(known(poller, mention).await?);
            }
        }
        let count = poller.keep(mentions).await?;
        let now = poller.account.clock.now();
        if let Some(cursor) = self.cursor.as_ref().filter(|_| now >= self.saved_at.plus(SAVED_EVERY)) {
            poller.home.save_cursor(&name(poller), cursor).await?;
            self.saved_at = now;
        }
        Ok(count)
    }
}

impl Poller {
    /// Its live connection, unless the file leaves it to the account, whose settings make an empty path of it.
    pub(super) fn live(&self) -> Option<Live> {
        let live = self.stream().live.clone()?;
        let path = live.path.render(&self.account.values(self.topic_values("")));
        // One that cannot be rendered is reported when it is opened.
        (!path.is_ok_and(|path| path.is_empty())).then_some(live)
    }

    /// What its live connection is called: by a tag or query only where it asks for that one.
    fn line(&self) -> String {
        let asks = |live: &Live| {
            let mut asked = std::iter::once(&live.path).chain(live.query.values()).chain(&live.send);
            asked.any(|template| template.reads("query") || template.reads("tag"))
        };
        if self.stream().live.as_ref().is_some_and(asks) { self.cursor_name() } else { self.full_name() }
    }

    /// Notes how its live connection fares, beside its walks.
    pub(super) async fn note_live(&self, result: &Result<Walk, Error>, next_at: Time) {
        let name = if self.walks() { name(self) } else { self.line() };
        self.account.note(&name, result, next_at).await;
    }
}

/// The name of the resume value.
fn name(poller: &Poller) -> String {
    format!("{}/live", poller.line())
}

/// Those who listen to the same connection: where the platform sends everything, all queries of a stream and their
/// parts do, or each would have everything sent again.
pub(super) fn by_connection(pollers: Vec<Poller>) -> Vec<Vec<Poller>> {
    let mut lines: BTreeMap<String, Vec<Poller>> = BTreeMap::new();
    for poller in pollers {
        lines.entry(poller.line()).or_default().push(poller);
    }
    lines.into_values().collect()
}

/// The one in whose name a connection is opened.
fn first(listeners: &[Poller]) -> Result<&Poller, Error> {
    listeners.first().ok_or_else(|| Error::Refused("nobody listens".into()))
}

fn request(poller: &Poller, live: &Live, cursor: Option<&str>) -> Result<Call, Error> {
    let values = poller.account.values(poller.topic_values(cursor.unwrap_or("")));
    let mut call = poller.account.request(Method::GET, &live.path, &live.query, &values)?;
    if let (LiveKind::Sse, None, Some(id)) = (live.kind, &live.cursor, cursor) {
        call.header("last-event-id", id)?;
    }
    Ok(call)
}

/// What a message says, as JSON: a bare text is a JSON string.
fn parse(poller: &Poller, live: &Live, message: &Message) -> Option<Json> {
    let text = live.events.iter().any(|event| event.data == EventData::Text && event.name == message.name);
    if text {
        return Some(Json::String(message.data.clone()));
    }
    match serde_json::from_str(&message.data) {
        Ok(json) => Some(json),
        Err(_) => {
            poller.discard("broken_line", 1);
            None
        }
    }
}

fn fits(poller: &Poller, event: &LiveEvent, message: &Message, json: &Json) -> bool {
    let holds = |when: &Template| when.holds(&context! { item => json, ..poller.account.about() }).unwrap_or(false);
    (event.name.is_none() || event.name == message.name) && event.when.as_ref().is_none_or(holds)
}

/// The mentions of a message.
fn records(poller: &Poller, event: &LiveEvent, json: &Json, listeners: &[Poller]) -> Vec<Envelope> {
    let inner: Option<Json> = event.unwrap.as_ref().and_then(|path| {
        let text = path.first(json)?.as_str()?;
        Some(serde_json::from_str(text).unwrap_or_else(|_| Json::String(text.to_owned())))
    });
    let json = inner.as_ref().unwrap_or(json);
    let records = event.records.as_ref().map_or(vec![json], |path| path.all(json));
    let map = event.map.as_ref().or(poller.account.file.map_of(poller.stream()));
    // An event that says where its posts are, or has its own map, has no use for where the walk's are.
    let own = event.records.is_some() || event.map.is_some();
    let Some(map) = map else { return Vec::new() };
    let mentions = |record| match own {
        true => poller.mentions_of(map, record, listeners),
        false => poller.mentions_by(map, record, listeners),
    };
    records.into_iter().flat_map(mentions).collect()
}

/// A delete is for a post that we have; the platform may call it by its local id.
async fn known(poller: &Poller, mention: Envelope) -> Result<Option<Envelope>, Error> {
    if mention.op == Op::Upsert {
        return Ok(Some(mention));
    }
    let called = mention.local_ref.as_ref().unwrap_or(&mention.native_id);
    match poller.home.native_id(&mention.source, called).await? {
        Some(native_id) => Ok(Some(Envelope { native_id, ..mention })),
        None => {
            poller.discard("unknown_post", 1);
            Ok(None)
        }
    }
}

#[cfg(test)]
mod tests;
