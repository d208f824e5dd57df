//! One stream of one account: when it is looked at again, and what becomes of each record.
//!
//! A step is one walk ([`super::walk`]). It comes again after the account's interval; sooner where posts
//! come, later where a platform's allowance has to last. After a failure it waits longer each time.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use minijinja::context;
use serde_json::Value as Json;

use super::{
    Account, Error, Home, Listen,
    format::{Ingress, Map, Stream},
    limits::{Price, back_off, back_off_at_home},
    listen::{self, Shard, Verdict},
    map,
    request::Validators,
};
use crate::{
    clock::Time,
    mention::{Envelope, Match, Op},
};

/// How long a stream rests that only a person can put right.
const REST: Duration = Duration::from_secs(15 * 60);

/// Walks that find nothing after which a stream is idle.
const IDLE: u32 = 3;

/// What a step did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Walk {
    /// Pages, or blocks of a file, that were read.
    pub pages: usize,
    /// Mentions that were appended.
    pub items: usize,
}

/// What a walk is for, where a stream is walked several times.
#[derive(Clone, Debug, Default)]
pub(super) struct Topic {
    /// The hashtag.
    pub tag: String,
    /// The part of a listening query.
    pub shard: Option<Arc<Shard>>,
}

/// One stream of one account.
#[derive(Debug)]
pub struct Poller {
    pub(super) account: Arc<Account>,
    pub(super) home: Home,
    pub(super) topic: Topic,
    pub(super) validators: Mutex<Validators>,
    at: usize,
    failures: u32,
    empty: u32,
    live: bool,
    next_at: Time,
}

impl Poller {
    /// All streams of an account; one for each tag or query where a stream is about those.
    ///
    /// # Errors
    /// When a listening query of the account cannot be read.
    pub fn of(account: &Arc<Account>, home: &Home) -> Result<Vec<Poller>, Error> {
        Poller::hearing(account, home, &account.config.listen)
    }

    /// The same, with these listening queries instead of the configuration's.
    ///
    /// # Errors
    /// When one of them cannot be read.
    pub fn hearing(account: &Arc<Account>, home: &Home, heard: &[Listen]) -> Result<Vec<Poller>, Error> {
        let mut pollers = Vec::new();
        for (at, stream) in account.file.streams.iter().enumerate() {
            let topics = if stream.per_tag {
                let tags = account.config.tags.iter();
                tags.map(|tag| Topic { tag: tag.trim_start_matches('#').to_owned(), shard: None }).collect()
            } else if stream.per_query {
                let shards = listen::shards(heard, &account.file.dialect);
                let shards = shards.map_err(|reason| Error::Account { account: account.config.key.clone(), reason })?;
                shards.into_iter().map(|shard| Topic { tag: String::new(), shard: Some(Arc::new(shard)) }).collect()
            } else {
                vec![Topic::default()]
            };
            pollers.extend(topics.into_iter().map(|topic| Poller {
                account: account.clone(),
                home: home.clone(),
                topic,
                validators: Mutex::default(),
                at,
                failures: 0,
                empty: 0,
                live: false,
                next_at: Time(0),
            }));
        }
        Ok(pollers)
    }

    /// The stream's name.
    pub fn stream_name(&self) -> &str {
        &self.stream().name
    }

    /// Whether it looks again at known posts or walks known threads; one account of each source does.
    pub fn revisits(&self) -> bool {
        !self.stream().discovers()
    }

    /// Whom it polls for.
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// Whether it is walked at all: a stream may be nothing but a live connection.
    pub(super) fn walks(&self) -> bool {
        !self.stream().path.is_empty() || self.account.file.ingress != Ingress::Poll
    }

    /// When the next step does something.
    pub fn next_at(&self) -> Time {
        self.next_at
    }

    /// While a live connection brings the posts, the walk is only a sweep; when one opens or breaks, the gap is walked at once.
    pub(super) fn set_live(&mut self, live: bool) {
        if self.live != live {
            self.next_at = Time(0);
        }
        self.live = live;
    }

    /// When the next walk is due; never where there is nothing to walk.
    pub(super) fn next_walk(&self) -> Time {
        if self.walks() { self.next_at } else { Time::NEVER }
    }

    pub(super) fn stream(&self) -> &Stream {
        &self.account.file.streams[self.at]
    }

    /// The stream's name among those of all accounts.
    pub(super) fn full_name(&self) -> String {
        format!("{}/{}", self.account.config.key, self.stream().name)
    }

    /// The name of its cursor.
    pub(super) fn cursor_name(&self) -> String {
        let topic = match &self.topic.shard {
            Some(shard) => format!("/{}", shard.cursor),
            None if self.topic.tag.is_empty() => String::new(),
            None => format!("/{}", self.topic.tag),
        };
        format!("{}{topic}", self.full_name())
    }

    /// What one of its requests takes.
    pub(super) fn price(&self) -> Price<'_> {
        let stream = self.stream();
        Price { of: &stream.name, units: stream.cost, polling: true }
    }

    /// Walks once, unless it is too early; and says in [`Poller::next_at`] when to come again.
    ///
    /// # Errors
    /// Why the walk broke off. What was appended until then is kept; the cursor is where it can go on.
    pub async fn step(&mut self) -> Result<Walk, Error> {
        let now = self.account.clock.now();
        if now < self.next_at {
            return Ok(Walk::default());
        }
        if let Err(until) = self.account.permit(now) {
            self.next_at = until;
            return Ok(Walk::default());
        }
        let result = self.walk().await;
        let now = self.account.clock.now();
        self.validators.lock().unwrap_or_else(PoisonError::into_inner).end(result.is_ok());
        let up = self.account.metrics.up.with_label_values(&[self.account.config.key.as_str(), self.stream_name()]);
        self.next_at = match &result {
            Ok(walk) => {
                self.failures = 0;
                up.set(1);
                self.empty = if walk.items > 0 { 0 } else { self.empty.saturating_add(1) };
                now.plus(self.pause(now, walk))
            }
            Err(Error::Spent(until)) => *until,
            Err(error) => {
                self.failures = self.failures.saturating_add(1);
                up.set(0);
                match error {
                    Error::Status { until: Some(until), .. } => *until,
                    error if !error.is_retryable() => now.plus(REST),
                    Error::Home(_) => now.plus(back_off_at_home(self.failures)),
                    _ => now.plus(back_off(self.failures)),
                }
            }
        };
        self.account.note(&self.cursor_name(), &result, self.next_at).await;
        result
    }

    /// How long to wait after a walk that went well. The interval is the goal: a post is not older than it when it
    /// is seen. Where posts come it is halved if the platform's window allows, and an allowance that would not last
    /// goes before it, to streams where posts come twice as much as to idle ones.
    fn pause(&self, now: Time, walk: &Walk) -> Duration {
        let (stream, goal) = (self.stream(), self.account.config.interval);
        let requests = u32::try_from(walk.pages).unwrap_or(u32::MAX).saturating_add(1);
        let (all_requests, all_units) = {
            let mut walks = self.account.walks.lock().unwrap_or_else(PoisonError::into_inner);
            walks.insert(self.cursor_name(), (requests, requests.saturating_mul(stream.cost)));
            walks.values().fold((0_u32, 0_u32), |(a, b), (c, d)| (a.saturating_add(*c), b.saturating_add(*d)))
        };
        let (window, allowance) = {
            let budget = self.account.budget.lock().unwrap_or_else(PoisonError::into_inner);
            budget.pace(now, &stream.name, all_requests, all_units)
        };
        let pace = if self.live { stream.pace_live } else { stream.pace };
        let base = goal.saturating_mul(pace);
        let base = if self.empty == 0 && pace == 1 { (base / 2).max(window).min(base) } else { base };
        let weight = if self.empty == 0 {
            0.75
        } else if self.empty >= IDLE {
            1.5
        } else {
            1.0
        };
        base.max(allowance.mul_f64(weight))
    }

    /// The mention of one record.
    pub(super) fn mention(&self, record: &Json) -> Option<Envelope> {
        let map = self.account.file.map_of(self.stream())?;
        self.mentions_by(map, record, std::slice::from_ref(self)).pop()
    }

    /// The mentions that `map` makes of the post inside a record for those who listen; what is none is counted.
    pub(super) fn mentions_by(&self, map: &Map, record: &Json, listeners: &[Poller]) -> Vec<Envelope> {
        let Some(path) = &self.stream().item else { return self.mentions_of(map, record, listeners) };
        let Some(item) = path.first(record) else {
            self.discard("no_item", 1);
            return Vec::new();
        };
        // What was joined stands beside the post.
        match (item.as_object(), record.get("joined")) {
            (Some(item), Some(joined)) => {
                let mut item = item.clone();
                item.insert("joined".into(), joined.clone());
                self.mentions_of(map, &Json::Object(item), listeners)
            }
            _ => self.mentions_of(map, item, listeners),
        }
    }

    /// The mentions that `map` makes of a post: one for each query of `listeners` that means it, however many parts it
    /// is asked in. What is none is counted.
    pub(super) fn mentions_of(&self, map: &Map, item: &Json, listeners: &[Poller]) -> Vec<Envelope> {
        let facts = map::Facts {
            source: &self.account.source,
            own: &self.account.own,
            matched: None,
            now: self.account.clock.now(),
            about: &self.account.about(),
        };
        let mention = match map::mention(map, item, &facts) {
            Ok(mention) => mention,
            Err(reason) => {
                self.discard(reason, 1);
                return Vec::new();
            }
        };
        if let Some((name, said)) = map::unread(map, item, &mention, facts.about) {
            self.account.complain(&self.stream().name, name, &said);
        }
        if mention.op == Op::Delete {
            return vec![mention];
        }
        let (mut catches, mut other) = (Vec::new(), None);
        for listener in listeners {
            let shard = listener.topic.shard.as_ref();
            match shard.map_or(Verdict::Caught, |shard| shard.judge(&mention)) {
                Verdict::Caught => catches.push(listener.catch()),
                Verdict::Other(reason) => other = Some(reason),
            }
        }
        catches.dedup();
        if let Some(reason) = other.filter(|_| catches.is_empty()) {
            self.discard(reason, 1);
        }
        let caught = |catch: Option<Match>| Envelope { matched: catch.into_iter().collect(), ..mention.clone() };
        catches.into_iter().map(caught).collect()
    }

    /// What catches its posts; nothing where it looks at known ones.
    fn catch(&self) -> Option<Match> {
        let stream = self.stream();
        let query = match (&self.topic.shard, &stream.matched) {
            (Some(shard), _) => Some(shard.name.clone()),
            (None, matched) => matched.as_ref().and_then(|query| query.render(&context! { tag => self.topic.tag }).ok()),
        };
        stream.discovers().then(|| Match {
            brand: self.account.config.brand.clone(),
            account: self.account.config.key.clone(),
            addressed: stream.addressed,
            query,
        })
    }

    /// Appends mentions and counts them once they are durable.
    pub(super) async fn keep(&self, mentions: Vec<Envelope>) -> Result<usize, Error> {
        let count = mentions.len();
        let newest = self.account.keep(&self.home, self.stream_name(), mentions).await?;
        self.account.newest(&self.cursor_name(), newest);
        Ok(count)
    }

    /// Counts records that became no mention.
    pub(super) fn discard(&self, reason: &str, count: u64) {
        self.account.metrics.discarded.with_label_values(&[self.account.file.connector.as_str(), reason]).inc_by(count);
    }
}
