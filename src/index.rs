//! Keeps the search index in step with the store by following its events.
//!
//! The index is a cache: what it has is named by the sequence number in its last commit, and everything
//! after that is read again from the store, at start as well as while running.

mod alerts;
mod exports;

use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
    time::Duration,
};

use tokio::sync::{mpsc, oneshot, watch};

pub use self::{alerts::Watcher, exports::Exporter};
use crate::{
    case::{CaseId, EventKind, Seq},
    clock::{Clock, Time},
    mention::{MentionId, platform},
    queue::{self, CaseFactsRow, PostRow, Reader, Store, Urgency},
    search::{self, Batch, Facts, Names, Post, Scope, Search},
    staff::{AgentId, TeamId},
};

/// Events read at once.
const EVENTS: u32 = 1_000;
/// Events read at once for an index that is built beside the one that answers, so that news do not wait for it.
const BUILD: u32 = 500;
/// How long after a failure another index is begun.
const AGAIN: Duration = Duration::from_secs(600);
/// Cases or mentions read at once while the table of facts is filled.
const FACTS: u32 = 5_000;

/// Why the index could not be brought up to date.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store failed.
    #[error("could not read the store")]
    Store(#[from] queue::Error),
    /// The index failed.
    #[error("could not write the index")]
    Search(#[from] search::Error),
    /// A task was cancelled.
    #[error("the index was stopped in the middle")]
    Stopped,
}

/// Asks a running follower to build the index again.
#[derive(Clone, Debug)]
pub struct Reindex(mpsc::Sender<oneshot::Sender<usize>>);

impl Reindex {
    /// Builds the index again from the store; returns its documents once it is as new as the store was.
    ///
    /// # Errors
    /// [`Error::Stopped`] when the desk stops meanwhile.
    pub async fn run(&self) -> Result<usize, Error> {
        let (answer, answered) = oneshot::channel();
        self.0.send(answer).await.map_err(|_| Error::Stopped)?;
        answered.await.map_err(|_| Error::Stopped)
    }
}

/// Follows the store's events into the index.
pub struct Follower {
    store: Arc<Store>,
    search: Arc<Search>,
    clock: Clock,
    seq: Seq,
    newest: MentionId,
    asks: mpsc::Receiver<oneshot::Sender<usize>>,
    ask: mpsc::Sender<oneshot::Sender<usize>>,
    purging: Option<tokio::task::JoinHandle<()>>,
    building: Option<Building>,
    /// Those who asked for it.
    waiting: Vec<oneshot::Sender<usize>>,
    /// No other index is begun before.
    not_before: Time,
}

/// The index that is built beside the one that answers.
struct Building {
    seq: Seq,
    newest: MentionId,
    /// It writes to disk.
    settling: Option<tokio::task::JoinHandle<Result<(), search::Error>>>,
    /// It has come to the end once, and only news are missing.
    settled: bool,
}

/// How far a step came.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    /// There may be more to do.
    Moved,
    /// There is nothing to do until the index that is built is on disk.
    Settling,
    /// Everything is done.
    Done,
}

impl Follower {
    /// A follower that goes on after `seq`, with the table of facts filled from the store.
    ///
    /// # Errors
    /// When store or index fail.
    pub async fn new(store: Arc<Store>, search: Arc<Search>, clock: Clock, seq: Seq) -> Result<Follower, Error> {
        let newest = store.read(move |reader| reader.newest_mention_at(seq)).await?;
        let (ask, asks) = mpsc::channel(1);
        let building = match search.building() {
            Some(seq) => {
                let newest = store.read(move |reader| reader.newest_mention_at(seq)).await?;
                Some(Building { seq, newest, settling: None, settled: false })
            }
            None => None,
        };
        let (waiting, not_before) = (Vec::new(), clock.now());
        let follower = Follower { store, search, clock, seq, newest, asks, ask, purging: None, building, waiting, not_before };
        follower.load_names().await?;
        follower.load_facts().await?;
        Ok(follower)
    }

    /// A handle that asks this follower to build the index again.
    pub fn reindex(&self) -> Reindex {
        Reindex(self.ask.clone())
    }

    async fn load_names(&self) -> Result<(), Error> {
        let agents = self.store.read(|reader| reader.initials_of_all()).await?;
        let teams = self.store.catalog().teams.iter().map(|team| (team.id, team.key.clone())).collect();
        self.search.set_names(Names { teams, agents });
        Ok(())
    }

    async fn load_facts(&self) -> Result<(), Error> {
        let mut after = CaseId(0);
        loop {
            let rows = self.store.read(move |reader| reader.case_facts_after(after, FACTS)).await?;
            let Some(last) = rows.last() else { break };
            after = last.case;
            let facts: Vec<Facts> = rows.iter().flat_map(facts_of_case).collect();
            self.search.set_facts(&facts);
        }
        let mut after = MentionId(0);
        loop {
            let rows = self.store.read(move |reader| reader.caseless_after(after, FACTS)).await?;
            let Some((last, _)) = rows.last() else { break };
            after = *last;
            let facts: Vec<Facts> = rows.iter().map(|(mention, brand)| Facts::new(*mention, brand_number(brand.0))).collect();
            self.search.set_facts(&facts);
        }
        Ok(())
    }

    /// Follows until `stop` turns true, then writes what is open.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        // A crash between a delete and its purge leaves the text in the index files.
        self.purge();
        let mut commits = self.store.follow();
        loop {
            commits.mark_unchanged();
            match self.advance().await {
                Ok(Step::Moved) => {}
                Ok(step) => {
                    let settling = self.building.as_mut().and_then(|building| building.settling.as_mut());
                    let settled = async {
                        match settling {
                            Some(settling) if step == Step::Settling => settling.await,
                            _ => std::future::pending().await,
                        }
                    };
                    tokio::select! {
                        changed = commits.changed() => if changed.is_err() { break },
                        result = settled => self.settled(result).await,
                        Some(asker) = self.asks.recv() => {
                            self.waiting.push(asker);
                            self.start_over(true).await;
                        }
                        _ = stop.changed() => break,
                    }
                }
                Err(error) => {
                    tracing::error!(error = &error as &dyn std::error::Error, "the index is behind, trying again");
                    tokio::select! {
                        () = self.clock.sleep(Duration::from_secs(1)) => {}
                        _ = stop.changed() => break,
                    }
                }
            }
        }
        // What the stages that stopped before this one have just committed.
        while matches!(self.follow().await, Ok(events) if events > 0) {}
        if let Some(purging) = self.purging.take() {
            drop(purging.await);
        }
        let search = self.search;
        match tokio::task::spawn_blocking(move || search.flush()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::error!(error = &error as &dyn std::error::Error, "the last posts will be indexed at the next start")
            }
            Err(error) => tracing::error!(error = &error as &dyn std::error::Error, "the index crashed while it was closed"),
        }
    }

    /// Indexes the next events, and goes on with an index that is built beside; false when there is nothing to do.
    ///
    /// # Errors
    /// When store or index fail; the same events are read again then.
    pub async fn step(&mut self) -> Result<bool, Error> {
        let step = self.advance().await?;
        if step == Step::Settling
            && let Some(settling) = self.building.as_mut().and_then(|building| building.settling.take())
        {
            let result = settling.await;
            self.settled(result).await;
        }
        Ok(step != Step::Done)
    }

    async fn advance(&mut self) -> Result<Step, Error> {
        let events = self.follow().await?;
        // News come first.
        let step = if events < EVENTS as usize { self.build().await? } else { Step::Moved };
        Ok(if events > 0 { Step::Moved } else { step })
    }

    /// Brings the next events into the index that answers; returns how many.
    async fn follow(&mut self) -> Result<usize, Error> {
        let Some(news) = News::read(&self.store, self.seq, EVENTS).await? else { return Ok(0) };
        let (events, seq) = (news.events, news.seq);
        let batch = news.batch(&mut self.newest);
        let deletes = !batch.deletes.is_empty();
        if deletes {
            let (deleted, before) = (batch.deletes.clone(), exports::too_old(self.clock.now()));
            self.store.write(Urgency::Batch, move |tx| tx.expire_exports(before, &deleted)).await?;
        }
        let search = Arc::clone(&self.search);
        tokio::task::spawn_blocking(move || search.apply(batch)).await.map_err(|_| Error::Stopped)??;
        self.seq = seq;
        if deletes {
            self.purge();
        }
        Ok(events)
    }

    /// Begins another index beside the one that answers; `anew` when the facts of all cases are read anew too.
    async fn start_over(&mut self, anew: bool) {
        let search = Arc::clone(&self.search);
        let begun = async {
            tokio::task::spawn_blocking(move || search.rebuild()).await.map_err(|_| Error::Stopped)??;
            if anew {
                self.load_names().await?;
                self.load_facts().await?;
            }
            Ok(())
        };
        match begun.await {
            Ok(()) => {
                tracing::info!("another search index is built from the store, this one answers meanwhile");
                self.building = Some(Building { seq: Seq(0), newest: MentionId(0), settling: None, settled: false });
            }
            Err(error) => self.give_up(&error).await,
        }
    }

    /// Brings the next events into the index that is built.
    async fn build(&mut self) -> Result<Step, Error> {
        if self.building.is_none() && self.search.outdated() && self.clock.now() >= self.not_before {
            self.start_over(false).await;
            return Ok(Step::Moved);
        }
        let Some(building) = &mut self.building else { return Ok(Step::Done) };
        match &mut building.settling {
            Some(settling) if settling.is_finished() => {
                let result = settling.await;
                self.settled(result).await;
                return Ok(Step::Moved);
            }
            Some(_) => return Ok(Step::Settling),
            None => {}
        }
        let news = News::read(&self.store, building.seq, BUILD).await?;
        let end = news.is_none();
        let mut full = false;
        if let Some(news) = news {
            building.seq = news.seq;
            let (batch, search) = (news.batch(&mut building.newest), Arc::clone(&self.search));
            match tokio::task::spawn_blocking(move || search.build(batch)).await.map_err(|_| Error::Stopped)? {
                Ok(much) => full = much,
                Err(error) => {
                    self.give_up(&error.into()).await;
                    return Ok(Step::Moved);
                }
            }
        }
        if building.settled && building.seq >= self.seq {
            self.take_over().await?;
        } else if full || end {
            let search = Arc::clone(&self.search);
            building.settled = end;
            building.settling = Some(tokio::task::spawn_blocking(move || search.settle(end)));
        }
        Ok(Step::Moved)
    }

    /// What was given to the index that is built is on disk, or could not be written.
    async fn settled(&mut self, result: Result<Result<(), search::Error>, tokio::task::JoinError>) {
        match result {
            Ok(Ok(())) => {
                if let Some(building) = &mut self.building {
                    building.settling = None;
                }
            }
            Ok(Err(error)) => self.give_up(&error.into()).await,
            Err(_) => self.give_up(&Error::Stopped).await,
        }
    }

    async fn take_over(&mut self) -> Result<(), Error> {
        let search = Arc::clone(&self.search);
        if !tokio::task::spawn_blocking(move || search.take_over()).await.map_err(|_| Error::Stopped)? {
            return Ok(());
        }
        // Events that only the new one has are read again, for their facts.
        if let Some(built) = self.building.take() {
            self.newest = self.newest.max(built.newest);
        }
        let documents = self.search.documents();
        tracing::info!(documents, "the new search index answers");
        for asker in self.waiting.drain(..) {
            if asker.send(documents).is_err() {
                tracing::debug!("whoever asked for a new index has gone");
            }
        }
        self.purge();
        Ok(())
    }

    /// Removes what was built, for it may be what fills the disk.
    async fn give_up(&mut self, error: &Error) {
        tracing::error!(
            error = error as &dyn std::error::Error,
            "the new search index was given up, the old one answers; another is begun in {} minutes",
            AGAIN.as_secs() / 60
        );
        self.building = None;
        self.waiting.clear();
        self.not_before = self.clock.now().plus(AGAIN);
        let search = Arc::clone(&self.search);
        if tokio::task::spawn_blocking(move || search.give_up()).await.is_err() {
            tracing::error!("removing the new search index crashed");
        }
    }

    /// Has deleted text rewritten out of the index files, beside the stream: it may take a while.
    fn purge(&mut self) {
        let search = Arc::clone(&self.search);
        let before = self.purging.take();
        self.purging = Some(tokio::spawn(async move {
            if let Some(before) = before {
                // Its own failure was told already.
                drop(before.await);
            }
            match tokio::task::spawn_blocking(move || search.purge()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    tracing::error!(error = &error as &dyn std::error::Error, "deleted text is still in the index files")
                }
                Err(error) => tracing::error!(error = &error as &dyn std::error::Error, "purging the index crashed"),
            }
        }));
    }
}

/// What some events changed.
struct News {
    events: usize,
    seq: Seq,
    posts: Vec<PostRow>,
    cases: Vec<CaseFactsRow>,
}

impl News {
    /// The next events after `after`.
    async fn read(store: &Store, after: Seq, limit: u32) -> Result<Option<News>, queue::Error> {
        store
            .read(move |reader| {
                let events = reader.events_after(after, limit)?;
                let Some(last) = events.last() else { return Ok(None) };
                let seq = last.seq;
                let mut posts = BTreeSet::new();
                let mut cases = BTreeSet::new();
                for event in &events {
                    cases.extend(event.case);
                    if matches!(
                        event.kind,
                        EventKind::Opened
                            | EventKind::Joined
                            | EventKind::Reopened
                            | EventKind::Folded
                            | EventKind::Noted
                            | EventKind::Edited
                            | EventKind::Rejudged
                            | EventKind::Deleted
                            | EventKind::AnsweredThere
                            | EventKind::ReplySent
                    ) {
                        posts.extend(event.mention);
                    }
                }
                let posts = reader.posts(&posts.into_iter().collect::<Vec<_>>())?;
                let cases = reader.case_facts(&cases.into_iter().collect::<Vec<_>>())?;
                Ok(Some(News { events: events.len(), seq, posts, cases }))
            })
            .await
    }

    /// The same for an index whose newest post is `newest`, which moves on.
    fn batch(self, newest: &mut MentionId) -> Batch {
        let known = *newest;
        let in_cases: HashSet<MentionId> = self.cases.iter().flat_map(|case| case.mentions.iter().copied()).collect();
        let mut batch = Batch { seq: self.seq, ..Batch::default() };
        batch.facts = self.cases.iter().flat_map(facts_of_case).collect();
        for post in self.posts {
            if !in_cases.contains(&post.mention) {
                batch.facts.extend(post.brands.iter().map(|brand| Facts::new(post.mention, brand_number(brand.0))));
            }
            *newest = (*newest).max(post.mention);
            if post.deleted {
                batch.deletes.push(post.mention);
            } else {
                batch.upserts.push(document(post, known));
            }
        }
        batch
    }
}

fn document(post: PostRow, newest: MentionId) -> Post {
    Post {
        mention: post.mention,
        // Ids only grow, so anything above the newest indexed one cannot be in the index yet.
        new: post.mention > newest,
        text: post.text.into_whole(),
        lang: post.lang,
        platform: platform(&post.source).to_owned(),
        accounts: post.accounts,
        author: post.author,
        posted_at: post.posted_at,
        reach: post.reach,
    }
}

fn facts_of_case(row: &CaseFactsRow) -> impl Iterator<Item = Facts> + '_ {
    row.mentions.iter().map(|mention| Facts {
        case: Some(row.case),
        team: Some(row.team),
        label: row.label,
        status: Some(row.status),
        assignee: row.assignee,
        breached: row.breached,
        met: row.met,
        replied: row.answered,
        answered: row.answered_at.map(|at| at.since(row.posted_at)),
        disposition: row.disposition.clone(),
        noted: row.noted,
        media: row.media,
        ..Facts::new(*mention, brand_number(row.brand.0))
    })
}

/// Brands are few; search keeps them small.
fn brand_number(brand: i64) -> u32 {
    u32::try_from(brand).unwrap_or(0)
}

/// What somebody may find, or those of one of their teams.
fn scope_of(reader: &Reader<'_>, agent: AgentId, team: Option<TeamId>) -> Result<Scope, queue::Error> {
    let mut teams = reader.viewer(agent)?.map(|viewer| viewer.visible_teams()).unwrap_or_default();
    teams.retain(|one| team.is_none_or(|team| team == *one));
    let brand = |team: &TeamId| reader.catalog.team(*team).map(|team| brand_number(team.brand.0));
    Ok(Scope { brands: teams.iter().filter_map(brand).collect(), teams })
}
