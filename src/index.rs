//! Keeps the search index in step with the store by following its events.
//!
//! The index is a cache: what it has is named by the sequence number in its last commit, and everything
//! after that is read again from the store, at start as well as while running.

mod alerts;
mod exports;

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use tokio::sync::{mpsc, oneshot, watch};

pub use self::{alerts::Watcher, exports::Exporter};
use crate::{
    case::{CaseId, EventKind, Seq},
    clock::Clock,
    mention::{MentionId, platform},
    queue::{self, CaseFactsRow, PostRow, Reader, Store, Urgency},
    search::{self, Batch, Facts, Names, Post, Scope, Search},
    staff::{AgentId, TeamId},
};

/// Events read at once.
const EVENTS: u32 = 1_000;
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
}

impl Follower {
    /// A follower that goes on after `seq`, with the table of facts filled from the store.
    ///
    /// # Errors
    /// When store or index fail.
    pub async fn new(store: Arc<Store>, search: Arc<Search>, clock: Clock, seq: Seq) -> Result<Follower, Error> {
        let newest = store.read(move |reader| reader.newest_mention_at(seq)).await?;
        let (ask, asks) = mpsc::channel(1);
        let follower = Follower { store, search, clock, seq, newest, asks, ask, purging: None };
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
        let mut waiting: Vec<oneshot::Sender<usize>> = Vec::new();
        loop {
            commits.mark_unchanged();
            match self.step().await {
                Ok(true) => {}
                Ok(false) => {
                    for asker in waiting.drain(..) {
                        if asker.send(self.search.documents()).is_err() {
                            tracing::debug!("whoever asked for a new index has gone");
                        }
                    }
                    tokio::select! {
                        changed = commits.changed() => if changed.is_err() { break },
                        Some(asker) = self.asks.recv() => match self.start_over().await {
                            Ok(()) => waiting.push(asker),
                            Err(error) => {
                                tracing::error!(error = &error as &dyn std::error::Error, "the index could not be emptied");
                            }
                        },
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
        while matches!(self.step().await, Ok(true)) {}
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

    async fn start_over(&mut self) -> Result<(), Error> {
        let search = Arc::clone(&self.search);
        tokio::task::spawn_blocking(move || search.reset()).await.map_err(|_| Error::Stopped)??;
        self.seq = Seq(0);
        self.newest = MentionId(0);
        self.load_names().await?;
        self.load_facts().await
    }

    /// Indexes the next events; false when there are none.
    ///
    /// # Errors
    /// When store or index fail; the same events are read again then.
    pub async fn step(&mut self) -> Result<bool, Error> {
        let after = self.seq;
        let newest = self.newest;
        let read = self
            .store
            .read(move |reader| {
                let events = reader.events_after(after, EVENTS)?;
                let Some(last) = events.last() else { return Ok::<_, queue::Error>(None) };
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
                let facts = reader.case_facts(&cases.into_iter().collect::<Vec<_>>())?;
                Ok(Some((seq, posts, facts)))
            })
            .await?;
        let Some((seq, posts, cases)) = read else { return Ok(false) };
        let in_cases: HashMap<MentionId, CaseId> =
            cases.iter().flat_map(|case| case.mentions.iter().map(|mention| (*mention, case.case))).collect();
        let mut batch = Batch { seq, ..Batch::default() };
        batch.facts = cases.iter().flat_map(facts_of_case).collect();
        for post in posts {
            if !in_cases.contains_key(&post.mention) {
                batch.facts.extend(post.brands.iter().map(|brand| Facts::new(post.mention, brand_number(brand.0))));
            }
            self.newest = self.newest.max(post.mention);
            if post.deleted {
                batch.deletes.push(post.mention);
            } else {
                batch.upserts.push(document(post, newest));
            }
        }
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
        Ok(true)
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

fn document(post: PostRow, newest: MentionId) -> Post {
    Post {
        mention: post.mention,
        // Ids only grow, so anything above the newest indexed one cannot be in the index yet.
        new: post.mention > newest,
        text: post.text,
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
        label: Some(row.label),
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
