//! What leaves towards a company's other systems: the relays of the store's tables to Kafka topics.
//!
//! `case-events` carries every event of the one sequence, keyed by its case; `dead` names every record that
//! could not be handled, with its reason. Both carry ids and words of enums, never a customer's text: the
//! record itself is where the letter says, in the topic of mentions. A relay notes its place in the store
//! after Kafka has what came before, so after a crash the last page may come twice; whoever reads knows an
//! event by its number and a letter by its id.

use std::{sync::Arc, time::Duration};

use serde::Serialize;
use tokio::sync::watch;

use crate::{
    bus::{Bus, Entry, Relay},
    case::{Actor, Seq},
    clock::Clock,
    mention::Mark,
    queue::{self, DeadLetter, Event, Store, Urgency},
};

/// Rows relayed at once.
const PAGE: u32 = 500;
/// After a failure it is tried again this much later; dead letters are looked for as often.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

crate::metrics! {
    /// What the relays count.
    pub struct Metrics {
        /// Rows that a relay has brought to its topic.
        relayed: IntCounterVec = "moksori_notify_relayed_total" ["topic"],
        /// Pages that a topic did not take; they are tried again. Worry when it grows: the broker is away.
        failed: IntCounterVec = "moksori_notify_failed_total" ["topic"],
    }
}

/// Why a page did not arrive.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("the store failed")]
    Store(#[from] queue::Error),
    #[error("the topic did not take it")]
    Bus(#[from] crate::bus::Error),
    #[error("it cannot be written as JSON")]
    Json(#[from] serde_json::Error),
}

/// Brings the store's tables to their topics.
pub struct Relays {
    /// Where rows come from.
    pub store: Arc<Store>,
    /// Where they go.
    pub bus: Arc<Bus>,
    /// For waiting.
    pub clock: Clock,
    /// What is counted.
    pub metrics: Metrics,
}

/// An event as other systems see it.
#[derive(Serialize)]
struct CaseEvent<'a> {
    v: u32,
    seq: i64,
    case: Option<i64>,
    mention: Option<i64>,
    at: String,
    actor: &'static str,
    agent: Option<i64>,
    kind: &'static str,
    payload: Option<&'a serde_json::value::RawValue>,
}

/// A dead letter as other systems see it.
#[derive(Serialize)]
struct Dead<'a> {
    v: u32,
    id: i64,
    log: &'a str,
    part: i64,
    position: i64,
    at: String,
    reason: &'a str,
}

fn event_entry(event: &Event) -> Result<Entry, serde_json::Error> {
    let key = match (event.case, event.mention) {
        (Some(case), _) => case.0.to_string(),
        (None, Some(mention)) => format!("mention/{}", mention.0),
        (None, None) => "desk".to_owned(),
    };
    let (actor, agent) = match event.actor {
        Actor::System => ("system", None),
        Actor::Customer => ("customer", None),
        Actor::Agent(agent) => ("agent", Some(agent.0)),
    };
    let line = CaseEvent {
        v: 1,
        seq: event.seq.0,
        case: event.case.map(|case| case.0),
        mention: event.mention.map(|mention| mention.0),
        at: event.at.to_string(),
        actor,
        agent,
        kind: event.kind.as_str(),
        payload: event.payload.as_deref().map(serde_json::from_str).transpose()?,
    };
    Ok(Entry { thread: key.clone(), key, bytes: serde_json::to_vec(&line)? })
}

fn dead_entry(letter: &DeadLetter) -> Result<Entry, serde_json::Error> {
    let DeadLetter { id, log, part, position, at, reason, .. } = letter;
    let line = Dead { v: 1, id: *id, log, part: *part, position: *position, at: at.to_string(), reason };
    let key = format!("{log}/{part}/{position}");
    Ok(Entry { thread: key.clone(), key, bytes: serde_json::to_vec(&line)? })
}

impl Relays {
    /// Relays until `stop` turns true.
    pub async fn run(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        let mut commits = self.store.follow();
        loop {
            commits.mark_unchanged();
            let more = self.step(Relay::CaseEvents).await | self.step(Relay::Dead).await;
            if more {
                if *stop.borrow() {
                    return;
                }
                continue;
            }
            tokio::select! {
                _ = stop.changed() => return,
                // Dead letters are no events.
                () = self.clock.sleep(AGAIN_AFTER) => {}
                changed = commits.changed() => if changed.is_err() { return },
            }
        }
    }

    /// Relays one page; false when there was none or it failed.
    async fn step(&self, relay: Relay) -> bool {
        let name = match relay {
            Relay::CaseEvents => "case_events",
            Relay::Dead => "dead",
        };
        match self.page(relay).await {
            Ok(0) => false,
            Ok(count) => {
                self.metrics.relayed.with_label_values(&[name]).inc_by(count);
                true
            }
            Err(error) => {
                self.metrics.failed.with_label_values(&[name]).inc();
                tracing::warn!(relay = name, error = &error as &dyn std::error::Error, "a relay failed and will try again");
                self.clock.sleep(AGAIN_AFTER).await;
                false
            }
        }
    }

    async fn page(&self, relay: Relay) -> Result<u64, Error> {
        let consumer = match relay {
            Relay::CaseEvents => "relay:case-events",
            Relay::Dead => "relay:dead",
        };
        let from = self.store.read(move |reader| reader.mark(consumer, 0)).await?;
        let after = from.next;
        let (entries, last) = match relay {
            Relay::Dead => {
                let letters = self.store.read(move |reader| reader.dead_letters(after, PAGE)).await?;
                let last = letters.last().map_or(after, |letter| letter.id);
                (letters.iter().map(dead_entry).collect::<Result<Vec<_>, _>>()?, last)
            }
            Relay::CaseEvents => {
                let events = self.store.read(move |reader| reader.events_after(Seq(after), PAGE)).await?;
                let last = events.last().map_or(after, |event| event.seq.0);
                (events.iter().map(event_entry).collect::<Result<Vec<_>, _>>()?, last)
            }
        };
        let count = entries.len() as u64;
        if count > 0 {
            self.bus.relay(relay, &entries).await?;
            let to = Mark { log: Arc::clone(&from.log), next: last };
            self.store.write(Urgency::Batch, move |tx| tx.advance(consumer, 0, &from, &to).map(|_moved| ())).await?;
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        case::{CaseId, EventKind},
        clock::Time,
    };

    #[test]
    fn an_event_is_keyed_by_its_case_and_holds_its_payload_as_json() {
        let event = Event {
            seq: Seq(7),
            case: Some(CaseId(3)),
            mention: None,
            at: Time(0),
            actor: Actor::System,
            kind: EventKind::Breached,
            payload: Some(r#"{"clock":"first_response","cycle":1}"#.into()),
        };
        let entry = event_entry(&event).unwrap();
        assert_eq!(entry.key, "3");
        assert_eq!(
            String::from_utf8(entry.bytes).unwrap(),
            r#"{"v":1,"seq":7,"case":3,"mention":null,"at":"1970-01-01T00:00:00.000Z","actor":"system","agent":null,"kind":"breached","payload":{"clock":"first_response","cycle":1}}"#
        );
    }
}
