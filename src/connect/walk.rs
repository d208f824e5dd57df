//! One walk over what is new in a stream.
//!
//! Upwards (`oldest_first`), the cursor moves with every page; downwards (`newest_first`, and the
//! first walk of any stream), it moves when the walk is over. It never moves before the pages are
//! durable, so a crash reads some posts twice and loses none; the desk knows them by their id.

use std::sync::PoisonError;

use minijinja::{Value, context};

use super::{
    Error, Poller, Walk, follow,
    format::{Do, Ingress, Order, Paging, TimeFormat},
    lines,
    mark::{HighWater, Place},
    page::{Circle, Page, Step, read},
    revisit,
};
use crate::mention::Envelope;

/// Mentions that a downward walk holds back, so that the oldest are appended first.
const HELD: usize = 2_000;

/// Fewest posts that a downward walk knows again, and at least twice what the widest page has: late ones lie between
/// them, and some may be deleted before the next walk.
const MARKS: usize = 200;

impl Poller {
    /// Walks once.
    pub(super) async fn walk(&self) -> Result<Walk, Error> {
        if self.account.file.ingress == Ingress::File {
            return lines::read(self).await;
        }
        self.account.identify().await?;
        let stream = self.stream();
        if stream.revisit.is_some() {
            return revisit::look_again(self).await;
        }
        if stream.follow.is_some() {
            return follow::walk_threads(self).await;
        }
        let saved = self.home.cursor(&self.cursor_name()).await?;
        let place = saved.and_then(|saved| Place::parse(&saved));
        match (stream.order, place) {
            (Order::OldestFirst, Some(place)) if !place.marks.is_empty() => self.up(place.marks).await,
            (Order::OldestFirst, _) => self.down(&stream.first, stream.first_pages, None, "").await,
            (Order::NewestFirst, None) => self.down(&stream.page, stream.first_pages, None, "").await,
            (Order::NewestFirst, Some(place)) => {
                let asked = self.high_water().asked(place.back(stream.overlap))?;
                match self.down(&stream.page, stream.max_pages, Some(place.clone()), &asked).await {
                    // Once without it: down to a post that is known, or as far as the platform goes.
                    Err(Error::CursorLost) if !asked.is_empty() => {
                        tracing::warn!(
                            account = %self.account.config.key,
                            stream = %stream.name,
                            "the cursor is older than the platform remembers; walking once without it"
                        );
                        self.down(&stream.page, stream.max_pages, Some(place), "").await
                    }
                    result => result,
                }
            }
        }
    }

    fn high_water(&self) -> HighWater<'_> {
        let map = self.account.file.map_of(self.stream());
        HighWater::of(self.stream(), map.map_or(TimeFormat::Rfc3339, |map| map.time_as))
    }

    /// From the oldest mark upwards. Posts that were numbered before the newest mark but shown after it
    /// lie among the marks; those that are marks themselves are known.
    async fn up(&self, mut marks: Vec<String>) -> Result<Walk, Error> {
        let stream = self.stream();
        let (mut walk, mut circle, mut step) = (Walk::default(), Circle::default(), Step::first(&stream.page));
        let mut cursor = marks[0].clone();
        for _ in 0..stream.max_pages {
            let Some(mut page) = self.page(&stream.page, &step, &cursor).await? else { break };
            let seen = page.cursors();
            page.records.retain(|(own, _)| !marks.contains(own));
            let Some(newest) = seen.last().filter(|_| !page.records.is_empty()) else { break };
            walk.pages += 1;
            circle.pass(&page)?;
            cursor.clone_from(newest);
            marks.retain(|mark| !seen.contains(mark));
            marks.extend(seen);
            marks.drain(..marks.len().saturating_sub(stream.overlap + 1));
            walk.items += self.keep(self.mentions(&page)).await?;
            self.save(&Place { high: None, marks: marks.clone() }).await?;
            match page.next {
                Some(next) => step = next,
                None => break,
            }
        }
        Ok(walk)
    }

    /// From the newest downwards: to a page that has a mark of the last walk, or, where the platform was `asked` for
    /// what is above the high-water mark, to the end of what it gives.
    async fn down(&self, paging: &Paging, most: u32, place: Option<Place>, asked: &str) -> Result<Walk, Error> {
        let stream = self.stream();
        let first_walk = place.is_none();
        let Place { high: before, marks } = place.unwrap_or_default();
        let (mut walk, mut circle, mut step) = (Walk::default(), Circle::default(), Step::first(paging));
        // Pages as they come, newest first; each of them is oldest first.
        let mut held: Vec<Vec<Envelope>> = Vec::new();
        let mut seen: Vec<Vec<String>> = Vec::new();
        let (mut high, mut widest) = (None, 0);
        for number in 1..=most {
            let Some(mut page) = self.page(paging, &step, asked).await? else { break };
            let cursors = page.cursors();
            widest = widest.max(cursors.len());
            let late = cursors
                .first()
                .is_some_and(|oldest| !asked.is_empty() && self.high_water().overlaps(before.as_deref(), oldest));
            page.records.retain(|(cursor, _)| !marks.contains(cursor));
            if page.records.is_empty() && !late {
                break;
            }
            walk.pages += 1;
            circle.see(&cursors)?;
            high = self.high_water().raise(high, &cursors);
            seen.push(page.cursors());
            held.push(self.mentions(&page));
            if held.iter().map(Vec::len).sum::<usize>() >= HELD {
                walk.items += self.release(&mut held).await?;
            }
            match page.next {
                Some(next) if page.records.len() == cursors.len() || !asked.is_empty() => step = next,
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
        let fresh = seen.iter().any(|page| !page.is_empty());
        if fresh {
            let keep = if stream.order == Order::OldestFirst { stream.overlap + 1 } else { MARKS.max(2 * widest) };
            let all: Vec<String> = marks.into_iter().chain(seen.into_iter().rev().flatten()).collect();
            // A mark only where the file asks by it.
            let high = self.high_water().raise_over(before, high).filter(|_| stream.since.is_some());
            self.save(&Place { high, marks: all[all.len().saturating_sub(keep)..].to_vec() }).await?;
        }
        Ok(walk)
    }

    /// Remembers how far the stream is read.
    async fn save(&self, place: &Place) -> Result<(), Error> {
        self.home.save_cursor(&self.cursor_name(), &place.to_text()?).await
    }

    async fn release(&self, held: &mut Vec<Vec<Envelope>>) -> Result<usize, Error> {
        self.keep(held.drain(..).rev().flatten().collect()).await
    }

    /// One page; none where there is nothing to see: the file says so, or nothing has changed.
    async fn page(&self, paging: &Paging, step: &Step, cursor: &str) -> Result<Option<Page>, Error> {
        let stream = self.stream();
        let mut call = match step {
            Step::Ask { number, token, offset } => {
                let page = context! { number => number, token => token, offset => offset };
                self.account.stream_request(stream, context! { page => page, ..self.topic_values(cursor) }, &[])?
            }
            Step::Follow(url) => self.account.request_of(url.clone())?,
        };
        let conditional = self.account.file.request.conditional;
        if conditional {
            self.validators.lock().unwrap_or_else(PoisonError::into_inner).put(&mut call);
        }
        match self.account.send(call, &self.price(), stream.cursor_lost.as_ref()).await {
            Ok(answer) if answer.status == 304 => Ok(None),
            Ok(answer) => {
                let page = read(&answer, &self.account, stream, paging, step)?;
                if conditional {
                    self.validators.lock().unwrap_or_else(PoisonError::into_inner).learn(&answer);
                }
                Ok(Some(page))
            }
            Err(Error::Status { action: Do::Skip | Do::Gone, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What a stream's templates read of this walk.
    pub(super) fn topic_values(&self, cursor: &str) -> Value {
        let shard = self.topic.shard.as_ref();
        context! {
            cursor => cursor,
            tag => self.topic.tag,
            query => context! {
                name => shard.map_or("", |shard| shard.name.as_str()),
                text => shard.map_or("", |shard| shard.text.as_str()),
            },
        }
    }

    /// The mentions of a page, oldest first; what is none is counted.
    fn mentions(&self, page: &Page) -> Vec<Envelope> {
        page.records.iter().filter_map(|(_, record)| self.mention(record)).collect()
    }
}
