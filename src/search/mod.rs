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
mod judged;
mod korean;
mod lexicon;
mod part;
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
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use jiff::{civil::Date, tz::TimeZone};
use serde::{Deserialize, Serialize};

pub use self::alike::Alike;
use self::part::{Live, Part, Settings, Shared};
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
        /// 1 while another index is built beside the one that answers.
        building: IntGauge = "moksori_search_building",
        /// Posts in the index that is built; it takes over with as many as the one that answers has.
        building_documents: IntGauge = "moksori_search_building_documents",
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
    /// There are more: `total` and `facets` count those that were looked at, the newest (or, if these come first, the
    /// oldest) of them all.
    pub more: bool,
    /// The page.
    pub hits: Vec<Hit>,
    /// Counts over all hits, by the fields of the query language; see [`Search::find_page`] for days.
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
///
/// One index answers. Another may be built beside it, for a new analyser or because somebody asks: whoever feeds
/// this one feeds that one too, with [`Search::build`] from its first event on, and has it take over in the end.
pub struct Search {
    settings: Settings,
    dir: PathBuf,
    current: RwLock<Arc<Part>>,
    next: Mutex<Option<Arc<Part>>>,
    /// Removes the files of one that is needed no more.
    leaving: Mutex<Option<JoinHandle<()>>>,
    /// The one that answers was made by another analyser.
    outdated: AtomicBool,
}

impl Search {
    /// Opens the index in `dir`, or makes one; what is damaged is thrown away, since the store can
    /// rebuild it. One of another analyser answers until another is built. The facts are not on disk: give them
    /// with [`Search::set_facts`].
    ///
    /// # Errors
    /// [`Error::Locked`] when another process has it; otherwise what the disk says.
    pub fn open(dir: &Path, config: Config, metrics: Metrics) -> Result<(Search, Opened), Error> {
        let zone = TimeZone::get(&config.time_zone).map_err(|_| Error::Zone(config.time_zone.clone()))?;
        let heap = config.writer_heap_bytes;
        let settings = Settings { config, zone, metrics };
        let slot = files::current(dir);
        let (files, opened) = files::open(&slot, heap)?;
        let outdated = AtomicBool::new(files.outdated());
        let current = Arc::new(Part::new(settings.clone(), files, &slot, opened.seq, false)?);
        let (current, next, leaving) = (RwLock::new(current), Mutex::new(None), Mutex::new(None));
        let search = Search { settings, dir: dir.to_owned(), current, next, leaving, outdated };
        search.resume();
        Ok((search, opened))
    }

    /// Goes on with the index that was being built when the process ended, if it can be used.
    fn resume(&self) {
        let slot = files::other(&self.dir, &self.current().slot);
        let opened = match files::unfinished(&slot) {
            true => files::open(&slot, self.settings.config.writer_heap_bytes),
            false => return files::discard(&slot),
        };
        match opened.and_then(|(files, opened)| Part::new(self.settings.clone(), files, &slot, opened.seq, true)) {
            Ok(part) => {
                *self.next_lock() = Some(Arc::new(part));
                self.settings.metrics.building.set(1);
            }
            Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, "the new index is begun again"),
        }
    }

    fn current(&self) -> Arc<Part> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn next(&self) -> Option<Arc<Part>> {
        self.next_lock().clone()
    }

    fn next_lock(&self) -> MutexGuard<'_, Option<Arc<Part>>> {
        self.next.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes news; they are findable when this returns. Cheap enough for an async task.
    ///
    /// # Errors
    /// [`Error::Behind`] when far too much waits to be committed; give the batch again.
    pub fn apply(&self, batch: Batch) -> Result<(), Error> {
        // No text of a deleted post is left in the one or the other.
        if let Some(next) = self.next().filter(|_| !batch.deletes.is_empty()) {
            next.apply(Batch { deletes: batch.deletes.clone(), ..Batch::default() })?;
        }
        self.current().apply(batch)
    }

    /// Takes facts without news of posts: at start, for everything in the store.
    pub fn set_facts(&self, facts: &[Facts]) {
        let current = self.current();
        let mut live = current.shared.write();
        facts.iter().for_each(|facts| live.table.set(facts));
    }

    /// Takes the keys of teams and the initials of agents.
    pub fn set_names(&self, names: Names) {
        self.current().shared.write().table.names = Arc::new(names);
    }

    /// Writes everything to disk; the last call before the service ends.
    ///
    /// # Errors
    /// What the disk says.
    pub fn flush(&self) -> Result<(), Error> {
        self.current().ask(|reply| commit::Ask::Commit(Some(reply)))
    }

    /// Rewrites what deleted text is still in, so that none of it is left on disk. Call it some time
    /// after deletes, for many at once: it costs a merge of each touched part of the index.
    ///
    /// # Errors
    /// What the disk says.
    pub fn purge(&self) -> Result<(), Error> {
        self.current().ask(commit::Ask::Purge)?;
        self.next().map_or(Ok(()), |next| next.ask(commit::Ask::Purge))
    }

    /// The index that answers was made by another analyser, so that another should be built.
    pub fn outdated(&self) -> bool {
        self.outdated.load(Ordering::Relaxed)
    }

    /// The last event of the index that is built, if one is.
    pub fn building(&self) -> Option<Seq> {
        self.next().map(|next| next.shared.read().seq)
    }

    /// Begins another index beside the one that answers; one that is being built already is begun again. Feed it
    /// with [`Search::build`], from the first event on.
    ///
    /// # Errors
    /// What the disk says; the one that answers goes on.
    pub fn rebuild(&self) -> Result<(), Error> {
        let mut next = self.next_lock();
        let slot = files::other(&self.dir, &self.current().slot);
        match next.as_ref() {
            Some(next) => next.ask(commit::Ask::Empty)?,
            None => {
                self.discard(None);
                files::discard(&slot);
                let (files, opened) = files::open(&slot, self.settings.config.writer_heap_bytes)?;
                *next = Some(Arc::new(Part::new(self.settings.clone(), files, &slot, opened.seq, true)?));
                self.settings.metrics.building.set(1);
            }
        }
        Ok(())
    }

    /// Gives posts to the index that is built; facts are known already. True when so many wait that
    /// [`Search::settle`] should be called first.
    ///
    /// # Errors
    /// [`Error::Behind`] when far too much waits; [`Error::Stopped`] when none is built.
    pub fn build(&self, batch: Batch) -> Result<bool, Error> {
        let next = self.next().ok_or(Error::Stopped)?;
        next.apply(Batch { facts: Vec::new(), ..batch })?;
        Ok(next.shared.read().tail.len() >= self.settings.config.commit_docs)
    }

    /// Writes the index that is built to disk; when it has come to the end, as one that may answer.
    ///
    /// # Errors
    /// What the disk says.
    pub fn settle(&self, end: bool) -> Result<(), Error> {
        let next = self.next().ok_or(Error::Stopped)?;
        next.ask(|reply| if end { commit::Ask::Complete(reply) } else { commit::Ask::Commit(Some(reply)) })
    }

    /// From now on the index that was built answers, and the old one is removed; false while it has not everything
    /// that the old one has. Call [`Search::settle`] at the end first.
    pub fn take_over(&self) -> bool {
        let mut next = self.next_lock();
        let Some(new) = next.clone().filter(|new| !new.shared.building.load(Ordering::Relaxed)) else { return false };
        let old = {
            let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
            {
                let (old, mut live) = (current.shared.read(), new.shared.write());
                if live.seq < old.seq {
                    return false;
                }
                live.table = old.table.clone();
                new.shared.tell(&live);
            }
            *next = None;
            std::mem::replace(&mut *current, new)
        };
        self.outdated.store(false, Ordering::Relaxed);
        self.built();
        self.discard(Some(&old));
        true
    }

    /// Removes what was built; the one that answers goes on.
    pub fn give_up(&self) {
        if let Some(next) = self.next_lock().take() {
            self.built();
            self.discard(Some(&next));
        }
    }

    /// Tells the metrics that none is built any more.
    fn built(&self) {
        self.settings.metrics.building.set(0);
        self.settings.metrics.building_documents.set(0);
    }

    /// Removes an index, after the one before that is gone.
    fn discard(&self, part: Option<&Part>) {
        let mut leaving = self.leaving.lock().unwrap_or_else(PoisonError::into_inner);
        let handle = part.and_then(Part::discard);
        if let Some(Err(_panic)) = std::mem::replace(&mut *leaving, handle).map(JoinHandle::join) {
            tracing::error!("the thread that removed an index had panicked");
        }
    }

    /// The last event applied.
    pub fn seq(&self) -> Seq {
        self.current().shared.read().seq
    }

    /// How many posts can be found, committed or not; deleted ones may be counted until a commit.
    pub fn documents(&self) -> usize {
        let part = self.current();
        let live = part.shared.read();
        usize::try_from(live.searcher.num_docs()).unwrap_or(usize::MAX).saturating_add(live.tail.len())
    }

    /// Runs a query over all that `scope` may see. Blocking.
    ///
    /// # Errors
    /// What the index says; never something about the query.
    pub fn find(&self, query: &Query, scope: &Scope, order: Order, page: Page) -> Result<Found, Error> {
        self.run(query, &find::Wanted { scope, order, page, since: &[], all: true })
    }

    fn run(&self, query: &Query, wanted: &find::Wanted<'_>) -> Result<Found, Error> {
        let _timer = self.settings.metrics.query_seconds.start_timer();
        let part = self.current();
        find::find(&part.shared, &part.shared.read(), query, wanted)
    }

    /// The same as a page shows it: so soon as 50,000 hits were counted, or a million posts looked at, no more than the
    /// page needs. Also counts the hits posted since the beginning of each of these days.
    ///
    /// # Errors
    /// What the index says; never something about the query.
    pub fn find_page(&self, query: &Query, scope: &Scope, order: Order, page: Page, since: &[Date]) -> Result<Found, Error> {
        self.run(query, &find::Wanted { scope, order, page, since, all: false })
    }

    /// How many posts a query finds that were posted from `from` until `until`, the end not included. Blocking.
    ///
    /// # Errors
    /// What the index says.
    pub fn count(&self, query: &Query, scope: &Scope, from: Time, until: Time) -> Result<usize, Error> {
        let wanted = find::Wanted { scope, order: Order::Newest, page: Page { offset: 0, limit: 0 }, since: &[], all: true };
        let part = self.current();
        find::count(&part.shared, &part.shared.read(), query, &wanted, (from.0, until.0))
    }

    /// The zone in which days of `posted:` begin and end.
    pub fn zone(&self) -> &TimeZone {
        &self.settings.zone
    }

    /// Posts like `text` that `scope` may see, most alike first: near copies, then those about the same. Those of
    /// `but` are left out. Blocking.
    ///
    /// # Errors
    /// What the index says.
    pub fn alike(&self, text: &str, but: &[MentionId], scope: &Scope, limit: usize) -> Result<Vec<Alike>, Error> {
        let part = self.current();
        alike::alike(&part.shared, &part.shared.read(), text, but, scope, limit)
    }

    /// How many posts that `scope` may see are near copies of a text with each of these signatures, itself among
    /// them. One pass over all signatures. Blocking.
    ///
    /// # Errors
    /// What the index says.
    pub fn copies(&self, signatures: &[u64], scope: &Scope) -> Result<Vec<usize>, Error> {
        let mut counts = vec![0; signatures.len()];
        alike::copies(&self.current().shared.read(), signatures, scope, |place, _, _| counts[place] += 1)?;
        Ok(counts)
    }

    /// The part of `text` that `query` found, as pieces; true marks what was looked for.
    pub fn snippet(&self, query: &Query, text: &str) -> Vec<(String, bool)> {
        snippet::snippet(query, text)
    }
}

impl Drop for Search {
    fn drop(&mut self) {
        self.discard(None);
    }
}
