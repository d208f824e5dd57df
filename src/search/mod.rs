//! The search stage: every post, findable the moment it is committed, in a tantivy index of its own.
//!
//! Documents are mentions: their text as 2-grams (`tokens.rs`) and the facts that never change. What
//! changes while people work (label, status, team, assignee) lives in a table in memory (`table.rs`), so
//! that work on a case re-indexes nothing. What is newer than the last tantivy commit is a tail in memory
//! (`tail.rs`), matched by the same tokens and the same plan (`plan.rs`). `index` feeds it from the events
//! and `web` asks it; rights are applied before anything is counted.

mod alike;
mod check;
mod checked;
mod commit;
mod english;
pub mod eval;
mod facets;
mod files;
mod find;
mod korean;
mod lexicon;
mod plan;
pub mod rise;
mod snippet;
mod table;
mod tail;
mod tokens;
mod typed;

#[cfg(test)]
mod tests;

use std::{
    collections::HashSet,
    path::Path,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, mpsc},
    thread::JoinHandle,
    time::Duration,
};

use jiff::{civil::Date, tz::TimeZone};
use serde::{Deserialize, Serialize};
use tantivy::Searcher;

pub use self::alike::Alike;
use crate::{
    case::{CaseId, Seq, Status},
    clock::Time,
    mention::{Label, Lang, MentionId},
    metrics::DELAY_SECONDS,
    query::Query,
    staff::{AgentId, TeamId},
};

/// The `[search]` section.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// How long a post may live in memory only; until then a crash reads it from the store again.
    #[serde(with = "crate::clock::span")]
    pub commit_every: Duration,
    /// Commit earlier when so many posts wait.
    pub commit_docs: usize,
    /// Memory of the index writer; tantivy takes 15,000,000 at least.
    pub writer_heap_bytes: usize,
    /// Where the days of `posted:` begin and end: `Asia/Seoul`.
    pub time_zone: String,
}

/// What went wrong in the index.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another process writes this index.
    #[error("open the search index: another process uses it")]
    Locked,
    /// The configured time zone is not in the database.
    #[error("find the time zone {0}")]
    Zone(String),
    /// The index does not answer; the store is the truth and can rebuild it.
    #[error("use the search index: {0}")]
    Index(#[from] tantivy::TantivyError),
    /// The directory cannot be used.
    #[error("use the directory of the search index: {0}")]
    Directory(#[from] std::io::Error),
    /// Commits fail or are too slow; give the batch again later.
    #[error("take more posts: {0} wait to be committed")]
    Behind(usize),
    /// The thread that commits has ended.
    #[error("reach the thread that commits the search index")]
    Stopped,
}

impl Error {
    /// The same call may succeed later.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Error::Index(_) | Error::Directory(_) | Error::Behind(_))
    }
}

crate::metrics! {
    /// Metrics of the search stage.
    pub struct Metrics {
        /// Posts that can be found, without the tail.
        documents: IntGauge = "moksori_search_documents",
        /// Posts that can be found and wait for the next commit; grows when commits fail.
        tail: IntGauge = "moksori_search_tail_documents",
        /// Commits of the index.
        commits: IntCounter = "moksori_search_commits_total",
        /// Commits that failed; the posts stay findable and are tried again. Free the disk.
        failures: IntCounter = "moksori_search_commit_failures_total",
        /// How long a commit takes.
        commit_seconds: Histogram = "moksori_search_commit_seconds" (DELAY_SECONDS),
        /// How long a query takes; 0.1 is the promise for 99 of 100.
        query_seconds: Histogram = "moksori_search_query_seconds" (DELAY_SECONDS),
    }
}

/// What is indexed of a mention.
#[derive(Clone, Debug)]
pub struct Post {
    /// Whose document it is.
    pub mention: MentionId,
    /// It was never indexed before: nothing older needs to be looked for. True for the usual case.
    pub new: bool,
    /// The masked, normalised text.
    pub text: String,
    /// Its language.
    pub lang: Lang,
    /// Key of the platform.
    pub platform: String,
    /// Keys of the accounts that caught it.
    pub accounts: Vec<String>,
    /// Handle of the author.
    pub author: String,
    /// When it was posted.
    pub posted_at: Time,
    /// Reach of the author.
    pub reach: u64,
}

/// What is known of a mention within one brand, kept in memory; the newest entry counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Which mention.
    pub mention: MentionId,
    /// The store's number of the brand.
    pub brand: u32,
    /// The case it belongs to; none when it was folded.
    pub case: Option<CaseId>,
    /// The team whose case it is.
    pub team: Option<TeamId>,
    /// The label in force.
    pub label: Option<Label>,
    /// Where the case stands.
    pub status: Option<Status>,
    /// Who has the case.
    pub assignee: Option<AgentId>,
    /// A clock of the case passed its deadline.
    pub breached: bool,
    /// A clock of the case was met and none was breached.
    pub met: bool,
    /// The case has a reply of ours.
    pub replied: bool,
    /// How long after the post the first reply came.
    pub answered: Option<Duration>,
    /// Key of how the case ended.
    pub disposition: Option<String>,
    /// Number of the incident that the case belongs to.
    pub incident: Option<u32>,
    /// The case has a note.
    pub noted: bool,
    /// The mention has pictures or films.
    pub media: bool,
}

impl Facts {
    /// Nothing is known yet but that `brand` has it, without a case.
    pub fn new(mention: MentionId, brand: u32) -> Facts {
        Facts {
            mention,
            brand,
            case: None,
            team: None,
            label: None,
            status: None,
            assignee: None,
            breached: false,
            met: false,
            replied: false,
            answered: None,
            disposition: None,
            incident: None,
            noted: false,
            media: false,
        }
    }
}

/// News for the index.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// New and changed posts.
    pub upserts: Vec<Post>,
    /// Mentions that are gone, with their text and their facts.
    pub deletes: Vec<MentionId>,
    /// New and changed facts.
    pub facts: Vec<Facts>,
    /// The last event that this batch contains.
    pub seq: Seq,
}

/// Keys of teams and initials of agents, as queries and facets name them.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// Teams by key.
    pub teams: Vec<(TeamId, String)>,
    /// Agents by initials.
    pub agents: Vec<(AgentId, String)>,
}

/// What a person may find: cases of these teams, and posts without a case of these brands.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// Teams whose cases may be seen.
    pub teams: Vec<TeamId>,
    /// Brands whose folded posts may be seen.
    pub brands: Vec<u32>,
}

/// Which hits come first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// Those that fit best: BM25, of which a post of today keeps half as much again as a very old one.
    #[default]
    Best,
    /// The newest post.
    Newest,
    /// The oldest post.
    Oldest,
}

/// Which part of the hits is wanted.
#[derive(Clone, Copy, Debug)]
pub struct Page {
    /// Hits to skip.
    pub offset: usize,
    /// Hits to give.
    pub limit: usize,
}

/// A found mention.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hit {
    /// Which mention.
    pub mention: MentionId,
    /// Its case, if it has one.
    pub case: Option<CaseId>,
    /// How well it fits; zero unless ordered by [`Order::Best`].
    pub score: f32,
}

/// How many hits share a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facet {
    /// Name of the field, as the query language calls it.
    pub field: &'static str,
    /// The value, as the query language writes it.
    pub value: String,
    /// How many.
    pub count: usize,
}

/// A word of the query that finds more than its letters: 튕김 finds 튕겨요 and 튕겼다.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Widened {
    /// As typed.
    pub typed: String,
    /// What is found besides, the likeliest first: 튕기, 튕긴, 튕겨, 튕겼. Words in posts begin so or contain it.
    pub forms: Vec<String>,
}

/// The answer to a query.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    /// All hits that may be seen, not only those of the page.
    pub total: usize,
    /// The page.
    pub hits: Vec<Hit>,
    /// Counts over all hits, by the fields of the query language; see [`Search::find_since`] for days.
    pub facets: Vec<Facet>,
    /// The words of the query that were widened.
    pub widened: Vec<Widened>,
}

/// What [`Search::open`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// The last event that the index contains; follow the events from here. Zero for an empty index.
    pub seq: Seq,
    /// The index was damaged or made by another version, and was emptied.
    pub rebuilt: bool,
}

/// The index over every mention. Blocking: call it from `spawn_blocking`, but for [`Search::apply`].
pub struct Search {
    shared: Arc<Shared>,
    /// `None` only while dropping, which ends the thread.
    asks: Option<mpsc::Sender<commit::Ask>>,
    committer: Option<JoinHandle<()>>,
}

/// What callers and the committing thread share.
struct Shared {
    config: Config,
    zone: TimeZone,
    fields: files::Fields,
    metrics: Metrics,
    live: RwLock<Live>,
}

/// What can be found at this moment. A query holds the lock for reading, so it sees one moment only.
struct Live {
    searcher: Searcher,
    tail: tail::Tail,
    table: table::Table,
    /// Committed documents that have been deleted or replaced since the last commit began.
    dead: HashSet<MentionId>,
    /// The same before that, which the running commit removes.
    dying: HashSet<MentionId>,
    /// The last event applied.
    seq: Seq,
    /// An early commit has been asked for.
    asked: bool,
}

impl Shared {
    fn read(&self) -> RwLockReadGuard<'_, Live> {
        self.live.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Live> {
        self.live.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Search {
    /// Opens the index in `dir`, or makes one; what is damaged is thrown away, since the store can
    /// rebuild it. The facts are not on disk: give them with [`Search::set_facts`].
    ///
    /// # Errors
    /// [`Error::Locked`] when another process has it; otherwise what the disk says.
    pub fn open(dir: &Path, config: Config, metrics: Metrics) -> Result<(Search, Opened), Error> {
        let zone = TimeZone::get(&config.time_zone).map_err(|_| Error::Zone(config.time_zone.clone()))?;
        let (files, opened) = files::open(dir, config.writer_heap_bytes)?;
        let live = Live {
            searcher: files.reader.searcher(),
            tail: tail::Tail::default(),
            table: table::Table::default(),
            dead: HashSet::new(),
            dying: HashSet::new(),
            seq: opened.seq,
            asked: false,
        };
        metrics.documents.set(i64::try_from(live.searcher.num_docs()).unwrap_or(i64::MAX));
        let shared = Arc::new(Shared { config, zone, fields: files.fields, metrics, live: RwLock::new(live) });
        let (asks, inbox) = mpsc::channel();
        let committer = commit::Committer::new(Arc::clone(&shared), files, opened.seq);
        let committer = std::thread::Builder::new().name("search-commit".into()).spawn(move || committer.run(&inbox))?;
        Ok((Search { shared, asks: Some(asks), committer: Some(committer) }, opened))
    }

    /// Takes news; they are findable when this returns. Cheap enough for an async task.
    ///
    /// # Errors
    /// [`Error::Behind`] when far too much waits to be committed; give the batch again.
    pub fn apply(&self, batch: Batch) -> Result<(), Error> {
        let limit = self.shared.config.commit_docs;
        let mut guard = self.shared.write();
        let live = &mut *guard;
        if live.tail.len() > limit.saturating_mul(10) {
            return Err(Error::Behind(live.tail.len()));
        }
        for post in batch.upserts {
            if !post.new {
                live.tail.remove(post.mention);
                live.dead.insert(post.mention);
            }
            live.tail.push(post);
        }
        for facts in batch.facts {
            live.table.set(&facts);
        }
        for mention in batch.deletes {
            live.tail.remove(mention);
            live.dead.insert(mention);
            live.table.remove(mention);
        }
        live.seq = live.seq.max(batch.seq);
        self.shared.metrics.tail.set(i64::try_from(live.tail.len()).unwrap_or(i64::MAX));
        if live.tail.len() >= limit && !live.asked {
            live.asked = true;
            drop(guard);
            self.send(commit::Ask::Commit(None))?;
        }
        Ok(())
    }

    /// Takes facts without news of posts: at start, for everything in the store.
    pub fn set_facts(&self, facts: &[Facts]) {
        let mut live = self.shared.write();
        facts.iter().for_each(|facts| live.table.set(facts));
    }

    /// Takes the keys of teams and the initials of agents.
    pub fn set_names(&self, names: Names) {
        self.shared.write().table.names = Arc::new(names);
    }

    /// Writes everything to disk; the last call before the service ends.
    ///
    /// # Errors
    /// What the disk says.
    pub fn flush(&self) -> Result<(), Error> {
        self.ask(|reply| commit::Ask::Commit(Some(reply)))
    }

    /// Rewrites what deleted text is still in, so that none of it is left on disk. Call it some time
    /// after deletes, for many at once: it costs a merge of each touched part of the index.
    ///
    /// # Errors
    /// What the disk says.
    pub fn purge(&self) -> Result<(), Error> {
        self.ask(commit::Ask::Purge)
    }

    /// Forgets everything; the caller feeds it again from the first event on.
    ///
    /// # Errors
    /// What the disk says.
    pub fn reset(&self) -> Result<(), Error> {
        self.ask(commit::Ask::Reset)
    }

    /// The last event applied.
    pub fn seq(&self) -> Seq {
        self.shared.read().seq
    }

    /// How many posts can be found, committed or not; deleted ones may be counted until a commit.
    pub fn documents(&self) -> usize {
        let live = self.shared.read();
        usize::try_from(live.searcher.num_docs()).unwrap_or(usize::MAX).saturating_add(live.tail.len())
    }

    /// Runs a query over all that `scope` may see. Blocking.
    ///
    /// # Errors
    /// What the index says; never something about the query.
    pub fn find(&self, query: &Query, scope: &Scope, order: Order, page: Page) -> Result<Found, Error> {
        self.find_since(query, scope, order, page, &[])
    }

    /// The same, and counts the hits posted since the beginning of each of these days.
    ///
    /// # Errors
    /// What the index says; never something about the query.
    pub fn find_since(&self, query: &Query, scope: &Scope, order: Order, page: Page, since: &[Date]) -> Result<Found, Error> {
        let _timer = self.shared.metrics.query_seconds.start_timer();
        find::find(&self.shared, &self.shared.read(), query, &find::Wanted { scope, order, page, since })
    }

    /// How many posts a query finds that were posted from `from` until `until`, the end not included. Blocking.
    ///
    /// # Errors
    /// What the index says.
    pub fn count(&self, query: &Query, scope: &Scope, from: Time, until: Time) -> Result<usize, Error> {
        let wanted = find::Wanted { scope, order: Order::Newest, page: Page { offset: 0, limit: 0 }, since: &[] };
        find::count(&self.shared, &self.shared.read(), query, &wanted, (from.0, until.0))
    }

    /// The zone in which days of `posted:` begin and end.
    pub fn zone(&self) -> &TimeZone {
        &self.shared.zone
    }

    /// Posts like `text` that `scope` may see, most alike first: near copies, then those about the same. Those of
    /// `but` are left out. Blocking.
    ///
    /// # Errors
    /// What the index says.
    pub fn alike(&self, text: &str, but: &[MentionId], scope: &Scope, limit: usize) -> Result<Vec<Alike>, Error> {
        alike::alike(&self.shared, &self.shared.read(), text, but, scope, limit)
    }

    /// How many posts that `scope` may see are near copies of a text with each of these signatures, itself among
    /// them. One pass over all signatures. Blocking.
    ///
    /// # Errors
    /// What the index says.
    pub fn copies(&self, signatures: &[u64], scope: &Scope) -> Result<Vec<usize>, Error> {
        let mut counts = vec![0; signatures.len()];
        alike::copies(&self.shared.read(), signatures, scope, |place, _, _| counts[place] += 1)?;
        Ok(counts)
    }

    /// The part of `text` that `query` found, as pieces; true marks what was looked for.
    pub fn snippet(&self, query: &Query, text: &str) -> Vec<(String, bool)> {
        snippet::snippet(query, text)
    }

    fn send(&self, ask: commit::Ask) -> Result<(), Error> {
        self.asks.as_ref().ok_or(Error::Stopped)?.send(ask).map_err(|_| Error::Stopped)
    }

    fn ask(&self, ask: impl FnOnce(commit::Reply) -> commit::Ask) -> Result<(), Error> {
        let (reply, answer) = mpsc::sync_channel(1);
        self.send(ask(reply))?;
        answer.recv().map_err(|_| Error::Stopped)?
    }
}

impl Drop for Search {
    /// Ends the thread; what was not flushed is read from the store again.
    fn drop(&mut self) {
        self.asks = None;
        if let Some(Err(_panic)) = self.committer.take().map(JoinHandle::join) {
            tracing::error!("the thread that commits the search index had panicked");
        }
    }
}
