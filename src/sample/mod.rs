//! A small server on 127.0.0.1 that speaks Mastodon's API, for the demo and the tests.
//!
//! Customers post on it through [`Sample::post`] or a script ([`Sample::play`]); the desk's connector
//! reads and answers over HTTP as it would anywhere. It keeps everything in memory and can be told to
//! fail. It stands outside the journey: nothing here knows the desk.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

mod api;
mod play;
mod state;
mod view;

pub use play::Line;
pub use state::{Post, Received};

use crate::clock::{Clock, Time};
use state::State;

/// An account that the desk may use: it has a token.
#[derive(Clone, Debug)]
pub struct SampleAccount {
    /// What people type after the @.
    pub handle: String,
    /// The displayed name.
    pub name: String,
    /// Its bearer token.
    pub token: String,
}

/// The running server; it stops when the last handle is dropped.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Where it listens: `http://127.0.0.1:PORT`.
    pub url: String,
    shared: Arc<Shared>,
    _server: Arc<Server>,
}

#[derive(Debug)]
struct Shared {
    clock: Clock,
    stalled: watch::Sender<bool>,
    state: Mutex<State>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
struct Server(JoinHandle<()>);

impl Drop for Server {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Sample {
    /// Starts to listen; port 0 takes a free one.
    ///
    /// # Errors
    /// When the address cannot be had.
    pub async fn start(listen: SocketAddr, clock: Clock, accounts: &[SampleAccount]) -> std::io::Result<Sample> {
        let listener = TcpListener::bind(listen).await?;
        let url = format!("http://{}", listener.local_addr()?);
        let shared =
            Arc::new(Shared { clock, stalled: watch::Sender::new(false), state: Mutex::new(State::new(&url, accounts)) });
        let router = api::router(shared.clone());
        let task = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                tracing::error!("the sample platform ended: {error}");
            }
        });
        Ok(Sample { url, shared, _server: Arc::new(Server(task)) })
    }

    /// Posts `text`; a new author gets an account. `to` puts "@to " in front; returns the post's id.
    pub fn post(
        &self,
        author: &str,
        text: &str,
        in_reply_to: Option<&str>,
        to: Option<&str>,
        posted_at: Time,
        reach: Option<u64>,
    ) -> String {
        let mut state = self.shared.state();
        let now = self.shared.clock.now();
        let author = state.account(author, None, reach);
        let text = to.map_or(text.to_owned(), |to| format!("@{to} {text}"));
        state.add(now, Post { text, in_reply_to: in_reply_to.map(str::to_owned), created_at: posted_at, ..Post::by(author) })
    }

    /// Changes a post's text; false if there is no such post.
    pub fn edit(&self, id: &str, text: &str) -> bool {
        let now = self.shared.clock.now();
        self.shared.state().edit(id, text, now)
    }

    /// Takes a post down; false if there is no such post.
    pub fn delete(&self, id: &str) -> bool {
        self.shared.state().set_deleted(id, true)
    }

    /// Shows a post again that was taken down: it is late, for younger ones were seen before it.
    pub fn restore(&self, id: &str) -> bool {
        self.shared.state().set_deleted(id, false)
    }

    /// What an account has posted through the API, in order, deleted or not.
    pub fn posts_by(&self, handle: &str) -> Vec<Received> {
        self.shared.state().received(handle)
    }

    /// The global id of a post: what the desk calls `native_id`.
    pub fn uri(&self, id: &str) -> Option<String> {
        self.shared.state().uri(id)
    }

    /// The account's own id, as the API gives it.
    pub fn account_id(&self, handle: &str) -> Option<String> {
        self.shared.state().account_id(handle)
    }

    /// The next `count` requests are answered with `status`, and `Retry-After` in seconds.
    pub fn fail_next(&self, count: usize, status: u16, retry_after: Option<u32>) {
        self.shared.state().failures.extend(std::iter::repeat_n((status, retry_after), count));
    }

    /// The next `count` posts through the API are kept, but their answers are lost on the way.
    pub fn lose_answers(&self, count: usize) {
        self.shared.state().lost_answers = count;
    }

    /// While `stalled`, no request is answered.
    pub fn stall(&self, stalled: bool) {
        self.shared.stalled.send_replace(stalled);
    }

    /// How many requests there have been.
    pub fn requests(&self) -> u64 {
        self.shared.state().requests
    }
}
