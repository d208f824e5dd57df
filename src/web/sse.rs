//! The live stream of one browser: how a message is framed, and how much may wait.
//!
//! Pure, so that it is tested without a store: `site/live.rs` follows the events, draws what changed
//! once in [`BATCH_GAP`] and pushes it into a [`Pipe`], from which the response reads.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::sync::Notify;

use crate::{case::Seq, clock::Time};

/// Bytes that may wait for one browser; beyond it everything waiting gives way to `resync`.
pub const BUFFER_LIMIT: usize = 32 * 1024;
/// Between two batches of rows: at most four a second.
pub const BATCH_GAP: Duration = Duration::from_millis(250);
/// A beat carries the server's time to browsers that hear nothing else.
pub const BEAT: Duration = Duration::from_secs(15);

/// One message of the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Pieces of page (`<hx-partial>`), swapped in as they come; true up to this event.
    Partial(Seq, String),
    /// First on every connection.
    Hello {
        /// The server's time.
        now: Time,
        /// The last event.
        seq: Seq,
        /// The program's version; another one than before offers a reload.
        version: &'static str,
    },
    /// Every [`BEAT`].
    Beat {
        /// The server's time.
        now: Time,
        /// The last event.
        seq: Seq,
        /// The program's version.
        version: &'static str,
    },
    /// The list's order is no longer the shown one.
    Order(Seq, Order),
    /// Too much was missed: pull the page anew.
    Resync,
    /// This browser has four live windows already.
    Parked,
    /// The session ended.
    SignedOut,
}

/// What changed about a list since the reader last saw it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Order {
    /// Cases that came in.
    pub arrived: u64,
    /// Cases that left.
    pub left: u64,
    /// Cases that changed places.
    pub moved: u64,
}

impl Message {
    /// The message as bytes of `text/event-stream`.
    pub fn frame(&self) -> String {
        let (event, seq, data) = match self {
            Message::Partial(seq, html) => (None, Some(*seq), html.clone()),
            Message::Hello { now, seq, version } => (Some("hello"), Some(*seq), pulse(*now, *seq, version)),
            Message::Beat { now, seq, version } => (Some("beat"), Some(*seq), pulse(*now, *seq, version)),
            Message::Order(seq, order) => {
                let Order { arrived, left, moved } = order;
                (Some("order"), Some(*seq), format!(r#"{{"in":{arrived},"out":{left},"moved":{moved}}}"#))
            }
            Message::Resync => (Some("resync"), None, "{}".into()),
            Message::Parked => (Some("parked"), None, "{}".into()),
            Message::SignedOut => (Some("signedout"), None, "{}".into()),
        };
        let mut out = String::with_capacity(data.len() + 64);
        if let Some(event) = event {
            out.push_str(&format!("event: {event}\n"));
        }
        if let Some(Seq(seq)) = seq {
            out.push_str(&format!("id: {seq}\n"));
        }
        // A carriage return would end the line too, and with it let a post speak as the server.
        for line in data.split(['\n', '\r']) {
            out.push_str("data: ");
            out.push_str(line);
            out.push('\n');
        }
        out.push('\n');
        out
    }
}

fn pulse(now: Time, Seq(seq): Seq, version: &str) -> String {
    format!(r#"{{"now":{},"seq":{seq},"version":{version:?}}}"#, now.0)
}

#[derive(Debug, Default)]
struct Waiting {
    frames: VecDeque<String>,
    bytes: usize,
    closed: bool,
}

/// From the feeder to the response of one browser; never holds more than [`BUFFER_LIMIT`].
#[derive(Clone, Debug, Default)]
pub struct Pipe {
    waiting: Arc<Mutex<Waiting>>,
    news: Arc<Notify>,
}

impl Pipe {
    /// Puts a message in. A browser too slow for what waits loses it all and is told to resync.
    pub fn push(&self, message: &Message) {
        let frame = message.frame();
        {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            if waiting.closed {
                return;
            }
            let resync = Message::Resync.frame();
            if waiting.bytes + frame.len() + resync.len() > BUFFER_LIMIT {
                waiting.frames.clear();
                waiting.bytes = resync.len();
                waiting.frames.push_back(resync);
            } else {
                waiting.bytes += frame.len();
                waiting.frames.push_back(frame);
            }
        }
        self.news.notify_one();
    }

    /// Ends the stream after what waits.
    pub fn close(&self) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).closed = true;
        self.news.notify_one();
    }

    /// The next frame; `None` when the stream has ended.
    pub async fn next(&self) -> Option<String> {
        loop {
            {
                let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(frame) = waiting.frames.pop_front() {
                    waiting.bytes -= frame.len();
                    return Some(frame);
                }
                if waiting.closed {
                    return None;
                }
            }
            self.news.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_framed_line_by_line_and_no_post_can_end_it() {
        let partial = Message::Partial(Seq(7), "<b>\n\n</b>\r\nevent: signedout".into());
        assert_eq!(partial.frame(), "id: 7\ndata: <b>\ndata: \ndata: </b>\ndata: \ndata: event: signedout\n\n");
        let hello = Message::Hello { now: Time(5), seq: Seq(9), version: "1" };
        assert_eq!(hello.frame(), "event: hello\nid: 9\ndata: {\"now\":5,\"seq\":9,\"version\":\"1\"}\n\n");
        let order = Message::Order(Seq(9), Order { arrived: 3, left: 2, moved: 1 });
        assert_eq!(order.frame(), "event: order\nid: 9\ndata: {\"in\":3,\"out\":2,\"moved\":1}\n\n");
        assert_eq!(Message::Resync.frame(), "event: resync\ndata: {}\n\n");
    }

    #[tokio::test]
    async fn a_slow_browser_costs_no_memory_and_is_told_to_resync() {
        let pipe = Pipe::default();
        let big = Message::Partial(Seq(1), "x".repeat(10_000));
        for _ in 0..3 {
            pipe.push(&big);
        }
        pipe.push(&big);
        assert_eq!(pipe.next().await.as_deref(), Some(Message::Resync.frame().as_str()));
        pipe.push(&big);
        assert_eq!(pipe.next().await.unwrap().len(), big.frame().len());
        let reader = tokio::spawn({
            let pipe = pipe.clone();
            async move { pipe.next().await }
        });
        tokio::task::yield_now().await;
        pipe.push(&Message::Parked);
        assert_eq!(reader.await.unwrap(), Some(Message::Parked.frame()));
        pipe.close();
        pipe.push(&big);
        assert_eq!(pipe.next().await, None);
    }
}
