//! One stream of one account: a step is one walk over what is new there.
//!
//! Upwards (`oldest_first`), the cursor moves with every page; downwards (`newest_first`, and the
//! first walk of any stream), it moves when the walk is over. It never moves before the pages are
//! durable, so a crash reads some posts twice and loses none; the desk knows them by their id.

use std::{sync::Arc, time::Duration};

use minijinja::context;
use reqwest::Method;
use serde_json::Value as Json;

use super::{
    Account, Error, Home,
    format::{Do, Ingress, Order, Paging, Stream},
    limits::back_off,
    lines, map,
    page::{Circle, Page, Step, read},
    revisit,
};
use crate::{
    clock::Time,
    mention::{Envelope, Match, Op},
};

/// How long a stream rests that only a person can put right.
const REST: Duration = Duration::from_secs(15 * 60);

/// Mentions that a downward walk holds back, so that the oldest are appended first.
const HELD: usize = 2_000;

/// Cursors that a downward walk remembers: some of the posts may be deleted before the next one.
const MARKS: usize = 20;

/// What a step did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Walk {
    /// Pages, or blocks of a file, that were read.
    pub pages: usize,
    /// Mentions that were appended.
    pub items: usize,
}

/// One stream of one account.
#[derive(Debug)]
pub struct Poller {
    pub(super) account: Arc<Account>,
    pub(super) home: Home,
    at: usize,
    tag: String,
    failures: u32,
    next_at: Time,
}

impl Poller {
    /// All streams of an account; one for each tag where a stream is about tags.
    pub fn of(account: &Arc<Account>, home: &Home) -> Vec<Poller> {
        let mut pollers = Vec::new();
        for (at, stream) in account.file.streams.iter().enumerate() {
            let tags = if stream.per_tag { account.config.tags.as_slice() } else { &[String::new()] };
            pollers.extend(tags.iter().map(|tag| Poller {
                account: account.clone(),
                home: home.clone(),
                at,
                tag: tag.trim_start_matches('#').to_owned(),
                failures: 0,
                next_at: Time(0),
            }));
        }
        pollers
    }

    /// The stream's name.
    pub fn stream_name(&self) -> &str {
        &self.stream().name
    }

    /// Whether it looks again at known posts; one account of each source does.
    pub fn revisits(&self) -> bool {
        self.stream().revisit.is_some()
    }

    /// Whom it polls for.
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// When the next step does something.
    pub fn next_at(&self) -> Time {
        self.next_at
    }

    pub(super) fn stream(&self) -> &Stream {
        &self.account.file.streams[self.at]
    }

    /// The name of its cursor.
    pub(super) fn cursor_name(&self) -> String {
        let tag = if self.tag.is_empty() { String::new() } else { format!("/{}", self.tag) };
        format!("{}/{}{tag}", self.account.config.key, self.stream().name)
    }

    /// Walks once, unless it is too early; and says in [`Poller::next_at`] when to come again.
    ///
    /// # Errors
    /// Why the walk broke off. What was appended until then is kept; the cursor is where it can go on.
    pub async fn step(&mut self) -> Result<Walk, Error> {
        if self.account.clock.now() < self.next_at {
            return Ok(Walk::default());
        }
        let result = self.walk().await;
        let now = self.account.clock.now();
        let up = self.account.metrics.up.with_label_values(&[self.account.config.key.as_str(), self.stream_name()]);
        self.next_at = match &result {
            Ok(_) => {
                self.failures = 0;
                up.set(1);
                now.plus(self.account.config.interval.saturating_mul(self.stream().pace))
            }
            Err(Error::Spent(until)) => *until,
            Err(error) => {
                self.failures = self.failures.saturating_add(1);
                up.set(0);
                match error {
                    Error::Status { until: Some(until), .. } => *until,
                    error if !error.is_retryable() => now.plus(REST),
                    _ => now.plus(back_off(self.failures)),
                }
            }
        };
        result
    }

    async fn walk(&self) -> Result<Walk, Error> {
        if self.account.file.ingress == Ingress::File {
            return lines::read(self).await;
        }
        self.account.identify().await?;
        if self.revisits() {
            return revisit::look_again(self).await;
        }
        let stream = self.stream();
        let saved = self.home.cursor(&self.cursor_name()).await?;
        match (stream.order, saved) {
            (Order::OldestFirst, Some(cursor)) => self.up(cursor).await,
            (Order::OldestFirst, None) => self.down(&stream.first, stream.first_pages, None).await,
            (Order::NewestFirst, saved) => self.down(&stream.page, stream.max_pages, Some(saved.unwrap_or_default())).await,
        }
    }

    /// From the cursor upwards.
    async fn up(&self, mut cursor: String) -> Result<Walk, Error> {
        let stream = self.stream();
        let (mut walk, mut circle, mut step) = (Walk::default(), Circle::default(), Step::first());
        for _ in 0..stream.max_pages {
            let Some(mut page) = self.page(&stream.page, &step, &cursor).await? else { break };
            // Some servers send the post at the cursor again.
            page.records.retain(|(own, _)| *own != cursor);
            let Some((newest, _)) = page.records.last().cloned() else { break };
            walk.pages += 1;
            let looped = circle.pass(&page);
            if looped.is_ok() {
                walk.items += self.keep(self.mentions(&page)).await?;
                self.home.save_cursor(&self.cursor_name(), &newest).await?;
                cursor = newest;
            }
            looped?;
            match page.next {
                Some(next) => step = next,
                None => break,
            }
        }
        Ok(walk)
    }

    /// From the newest downwards, to the marks of the last walk.
    async fn down(&self, paging: &Paging, most: u32, marks: Option<String>) -> Result<Walk, Error> {
        let stream = self.stream();
        let first_walk = marks.as_ref().is_none_or(String::is_empty);
        let old: Vec<String> = marks.as_deref().and_then(|marks| serde_json::from_str(marks).ok()).unwrap_or_default();
        let (mut walk, mut circle, mut step) = (Walk::default(), Circle::default(), Step::first());
        let mut top: Vec<String> = Vec::new();
        let mut held: Vec<Vec<Envelope>> = Vec::new();
        let mut met = false;
        for number in 1..=most {
            let Some(mut page) = self.page(paging, &step, "").await? else { break };
            if page.records.is_empty() {
                break;
            }
            walk.pages += 1;
            circle.pass(&page)?;
            if let Some(last) = page.records.iter().rposition(|(cursor, _)| old.contains(cursor)) {
                met = true;
                page.records.drain(..=last);
            }
            let room = MARKS.saturating_sub(top.len());
            top.extend(page.records.iter().rev().take(room).map(|(cursor, _)| cursor.clone()));
            held.push(self.mentions(&page));
            if held.iter().map(Vec::len).sum::<usize>() >= HELD {
                walk.items += self.release(&mut held).await?;
            }
            match page.next {
                Some(next) if !met => step = next,
                _ => break,
            }
            if number == most && !first_walk {
                self.discard("page_cap", 1);
                tracing::warn!(account = %self.account.config.key, stream = %stream.name, "a walk ended at max_pages; older posts are left out");
            }
        }
        walk.items += self.release(&mut held).await?;
        let Some(newest) = top.first().cloned() else { return Ok(walk) };
        let mark = if stream.order == Order::OldestFirst {
            newest
        } else {
            top.extend(old);
            top.truncate(MARKS);
            serde_json::to_string(&top).unwrap_or_default()
        };
        self.home.save_cursor(&self.cursor_name(), &mark).await?;
        Ok(walk)
    }

    async fn release(&self, held: &mut Vec<Vec<Envelope>>) -> Result<usize, Error> {
        self.keep(held.drain(..).rev().flatten().collect()).await
    }

    /// One page; none where the file says that there is nothing to see.
    async fn page(&self, paging: &Paging, step: &Step, cursor: &str) -> Result<Option<Page>, Error> {
        let call = match step {
            Step::Ask { number, token, offset } => {
                let page = context! { number => number, token => token, offset => offset };
                self.account.stream_request(self.stream(), context! { cursor => cursor, tag => self.tag, page => page }, &[])?
            }
            Step::Follow(url) => self.account.request_of(Method::GET, url.clone(), &self.account.values(context! {}))?,
        };
        match self.account.send(call, true).await {
            Ok(answer) => read(&answer, self.stream(), paging, step).map(Some),
            Err(Error::Status { action: Do::Skip, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The mentions of a page, oldest first; what is none is counted.
    fn mentions(&self, page: &Page) -> Vec<Envelope> {
        page.records.iter().filter_map(|(_, record)| self.mention(record)).collect()
    }

    /// The mention of one record.
    pub(super) fn mention(&self, record: &Json) -> Option<Envelope> {
        let stream = self.stream();
        let matched = stream.revisit.is_none().then(|| Match {
            brand: self.account.config.brand.clone(),
            account: self.account.config.key.clone(),
            addressed: stream.addressed,
            query: stream.matched.as_ref().and_then(|query| query.render(&context! { tag => self.tag }).ok()),
        });
        let item = match &stream.item {
            Some(path) => path.first(record).ok_or("no_item"),
            None => Ok(record),
        };
        let facts = map::Facts {
            source: &self.account.source,
            own: &self.account.own,
            matched: matched.as_ref(),
            now: self.account.clock.now(),
        };
        let map = self.account.file.map_of(stream)?;
        item.and_then(|item| map::mention(map, item, &facts)).map_err(|reason| self.discard(reason, 1)).ok()
    }

    /// Appends mentions and counts them once they are durable.
    pub(super) async fn keep(&self, mentions: Vec<Envelope>) -> Result<usize, Error> {
        let metrics = &self.account.metrics;
        let connector = self.account.file.connector.as_str();
        let posted: Vec<Time> = mentions.iter().filter(|one| one.op == Op::Upsert).filter_map(|one| one.posted_at).collect();
        let count = mentions.len();
        self.home.append(mentions).await?;
        metrics.items.with_label_values(&[connector, self.stream_name()]).inc_by(count as u64);
        let now = self.account.clock.now();
        for at in posted {
            metrics.lag.with_label_values(&[connector]).observe(now.since(at).as_secs_f64());
        }
        Ok(count)
    }

    /// Counts records that became no mention.
    pub(super) fn discard(&self, reason: &str, count: u64) {
        self.account.metrics.discarded.with_label_values(&[self.account.file.connector.as_str(), reason]).inc_by(count);
    }
}
