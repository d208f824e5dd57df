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
    limits::{back_off, back_off_at_home},
    lines, map,
    page::{Circle, Page, Step, read},
    revisit,
};
use crate::{
    clock::Time,
    crash,
    mention::{Envelope, Match, Op},
};

/// How long a stream rests that only a person can put right.
const REST: Duration = Duration::from_secs(15 * 60);

/// Mentions that a downward walk holds back, so that the oldest are appended first.
const HELD: usize = 2_000;

/// Posts that a downward walk knows again: more than any page has, for late ones lie between them, and
/// some may be deleted before the next walk.
const MARKS: usize = 200;

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
                    Error::Home(_) => now.plus(back_off_at_home(self.failures)),
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
        let marks: Option<Vec<String>> = saved.and_then(|saved| serde_json::from_str(&saved).ok());
        match (stream.order, marks) {
            (Order::OldestFirst, Some(marks)) if !marks.is_empty() => self.up(marks).await,
            (Order::OldestFirst, _) => self.down(&stream.first, stream.first_pages, None).await,
            (Order::NewestFirst, None) => self.down(&stream.page, stream.first_pages, None).await,
            (Order::NewestFirst, marks) => self.down(&stream.page, stream.max_pages, marks).await,
        }
    }

    /// From the oldest mark upwards. Posts that were numbered before the newest mark but shown after it
    /// lie among the marks; those that are marks themselves are known.
    async fn up(&self, mut marks: Vec<String>) -> Result<Walk, Error> {
        let stream = self.stream();
        let (mut walk, mut circle, mut step) = (Walk::default(), Circle::default(), Step::first(&stream.page));
        let mut cursor = marks[0].clone();
        for _ in 0..stream.max_pages {
            let Some(mut page) = self.page(&stream.page, &step, &cursor).await? else { break };
            let seen: Vec<String> = page.records.iter().map(|(own, _)| own.clone()).collect();
            page.records.retain(|(own, _)| !marks.contains(own));
            let Some(newest) = seen.last().filter(|_| !page.records.is_empty()) else { break };
            walk.pages += 1;
            circle.pass(&page)?;
            cursor.clone_from(newest);
            marks.retain(|mark| !seen.contains(mark));
            marks.extend(seen);
            marks.drain(..marks.len().saturating_sub(stream.overlap + 1));
            walk.items += self.keep(self.mentions(&page)).await?;
            self.save(&marks).await?;
            match page.next {
                Some(next) => step = next,
                None => break,
            }
        }
        Ok(walk)
    }

    /// From the newest downwards, to a page that has a mark of the last walk; none before the first.
    async fn down(&self, paging: &Paging, most: u32, marks: Option<Vec<String>>) -> Result<Walk, Error> {
        let stream = self.stream();
        let first_walk = marks.is_none();
        let marks = marks.unwrap_or_default();
        let (mut walk, mut circle, mut step) = (Walk::default(), Circle::default(), Step::first(paging));
        // Pages as they come, newest first; each of them is oldest first.
        let mut held: Vec<Vec<Envelope>> = Vec::new();
        let mut seen: Vec<Vec<String>> = Vec::new();
        for number in 1..=most {
            let Some(mut page) = self.page(paging, &step, "").await? else { break };
            let count = page.records.len();
            page.records.retain(|(cursor, _)| !marks.contains(cursor));
            if page.records.is_empty() {
                break;
            }
            walk.pages += 1;
            circle.pass(&page)?;
            seen.push(page.records.iter().map(|(cursor, _)| cursor.clone()).collect());
            held.push(self.mentions(&page));
            if held.iter().map(Vec::len).sum::<usize>() >= HELD {
                walk.items += self.release(&mut held).await?;
            }
            match page.next {
                Some(next) if page.records.len() == count => step = next,
                _ => break,
            }
            if number == most && !first_walk {
                self.discard("page_cap", 1);
                tracing::warn!(
                    account = %self.account.config.key,
                    stream = %stream.name,
                    "a walk ended at max_pages; older posts are left out"
                );
            }
        }
        walk.items += self.release(&mut held).await?;
        if !seen.is_empty() {
            let keep = if stream.order == Order::OldestFirst { stream.overlap + 1 } else { MARKS };
            let all: Vec<String> = marks.into_iter().chain(seen.into_iter().rev().flatten()).collect();
            self.save(&all[all.len().saturating_sub(keep)..]).await?;
        }
        Ok(walk)
    }

    /// Remembers how far the stream is read: marks of the newest posts, the newest last.
    async fn save(&self, marks: &[String]) -> Result<(), Error> {
        let text = serde_json::to_string(marks).map_err(|error| Error::Home(error.to_string()))?;
        self.home.save_cursor(&self.cursor_name(), &text).await
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
            about: &self.account.about(),
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
        crash::point("connect");
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
