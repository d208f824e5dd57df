//! Runs a plan over the index and the tail, and counts only what the asker may see.

use std::{cell::RefCell, cmp::Reverse, collections::HashMap, ops::Range, sync::Arc};

use jiff::civil::Date;

use tantivy::{
    DocId, Searcher, Term,
    index::SegmentReader,
    query::{Bm25StatisticsProvider, EnableScoring, Weight},
    schema::Field,
};

use super::{
    Error, Found, Hit, Live, Order, Page, Scope, Shared,
    facets::Facets,
    judged::{Memory, STRETCH},
    plan::{self, Context, Plan, Sight},
    tail::{self, Tail},
    tokens::Cutter,
};
use crate::{case::CaseId, mention::MentionId, query::Query};

/// What is asked besides the query.
pub(super) struct Wanted<'a> {
    pub(super) scope: &'a Scope,
    pub(super) order: Order,
    pub(super) page: Page,
    /// Days since which hits are counted.
    pub(super) since: &'a [Date],
    /// Everything is looked at, however long that takes; otherwise as much as a page needs.
    pub(super) all: bool,
}

/// Hits after which a page is told that there are more: as many as an export takes.
pub(super) const MOST: usize = 50_000;
/// Documents that a page looks at, whether the asker may see them or not.
const LOOKED_AT: usize = 1_000_000;
/// A text that must be read counts as so many.
const READING: usize = 10;

pub(super) fn find(shared: &Shared, live: &Live, query: &Query, wanted: &Wanted<'_>) -> Result<Found, Error> {
    let sight = Sight { table: &live.table, scope: wanted.scope, zone: &shared.zone };
    match plan::plan(query, &sight) {
        Some(plan) => Ok(Found { widened: plan::widened(query), ..run(shared, live, plan, wanted)? }),
        None => Ok(Found::default()),
    }
}

/// Counts what was posted within a time, in milliseconds, the end not included.
pub(super) fn count(
    shared: &Shared,
    live: &Live,
    query: &Query,
    wanted: &Wanted<'_>,
    (from, until): (i64, i64),
) -> Result<usize, Error> {
    let sight = Sight { table: &live.table, scope: wanted.scope, zone: &shared.zone };
    let Some(plan) = plan::plan(query, &sight) else { return Ok(0) };
    Ok(run(shared, live, Plan::All(vec![Plan::Posted(from, until), plan]), wanted)?.total)
}

/// Runs a plan.
pub(super) fn run(shared: &Shared, live: &Live, mut plan: Plan, wanted: &Wanted<'_>) -> Result<Found, Error> {
    let mut cutter = Cutter::for_posts();
    let context = Context { searcher: &live.searcher, memory: &shared.memory, window: Arc::default() };
    let weight = match wanted.order {
        Order::Best => {
            let statistics = Statistics::new(live, &mut cutter);
            if live.tail.len() > 0 {
                plan.weigh(&shared.fields, &statistics)?;
            }
            let scoring = EnableScoring::enabled_from_statistics_provider(&statistics, &live.searcher);
            plan.tantivy(&shared.fields, &context)?.weight(scoring)?
        }
        Order::Newest | Order::Oldest => {
            plan.tantivy(&shared.fields, &context)?.weight(EnableScoring::disabled_from_searcher(&live.searcher))?
        }
    };
    let mut counted = Counted::new(live, wanted, Facets::new(&live.table, wanted.since, &shared.zone))?;
    for waiting in live.tail.posts() {
        let post = &waiting.post;
        if let Some(score) = tail::matches(&plan, waiting, &mut cutter)
            && counted.hit(post.mention, post.posted_at.0, score)
        {
            let words = [("platform", &post.platform), ("lang", &post.lang.as_str().to_owned())];
            words.into_iter().for_each(|(field, word)| counted.facets.word(field, word, 1));
            post.accounts.iter().for_each(|account| counted.facets.word("account", &account.to_lowercase(), 1));
        }
    }
    for stretch in stretches(live, &shared.memory, wanted)? {
        if counted.enough(&stretch, context.window.judged()) {
            counted.more = true;
            break;
        }
        context.window.set(stretch.docs.start, stretch.docs.end);
        counted.stretch(&stretch, weight.as_ref())?;
    }
    Ok(counted.found())
}

/// What BM25 wants to know, over the index and the tail together.
pub(super) struct Statistics<'a> {
    searcher: &'a Searcher,
    tail: &'a Tail,
    posts: u64,
    tokens: u64,
    /// The words of `near` ask for the same tokens again and again.
    frequencies: RefCell<(HashMap<Term, u64>, &'a mut Cutter)>,
}

impl<'a> Statistics<'a> {
    pub(super) fn new(live: &'a Live, cutter: &'a mut Cutter) -> Statistics<'a> {
        let (posts, tokens) = live.tail.sizes(cutter);
        let frequencies = RefCell::new((HashMap::new(), cutter));
        Statistics { searcher: &live.searcher, tail: &live.tail, posts, tokens, frequencies }
    }
}

impl Bm25StatisticsProvider for Statistics<'_> {
    fn total_num_tokens(&self, field: Field) -> tantivy::Result<u64> {
        Ok(self.searcher.total_num_tokens(field)? + self.tokens)
    }

    fn total_num_docs(&self) -> tantivy::Result<u64> {
        Ok(self.searcher.total_num_docs()? + self.posts)
    }

    fn doc_freq(&self, term: &Term) -> tantivy::Result<u64> {
        let mut guard = self.frequencies.borrow_mut();
        let (known, cutter) = &mut *guard;
        if let Some(frequency) = known.get(term) {
            return Ok(*frequency);
        }
        let waiting = term.value().as_str().map_or(0, |token| self.tail.frequency(tail::key(token), cutter));
        let frequency = self.searcher.doc_freq(term)? + waiting;
        known.insert(term.clone(), frequency);
        Ok(frequency)
    }
}

/// Documents that are looked at one after the other, and when the first and the last of them were posted.
struct Stretch<'a> {
    segment: &'a SegmentReader,
    docs: Range<DocId>,
    times: (i64, i64),
}

/// The whole index in stretches, in the order in which a page looks at them.
fn stretches<'a>(live: &'a Live, memory: &Memory, wanted: &Wanted<'_>) -> Result<Vec<Stretch<'a>>, Error> {
    let mut all = Vec::new();
    for segment in live.searcher.segment_readers() {
        if wanted.all {
            all.push(Stretch { segment, docs: 0..segment.max_doc(), times: (0, 0) });
            continue;
        }
        let times = memory.times(segment)?;
        let starts = (0..segment.max_doc()).step_by(STRETCH as usize);
        let docs = starts.map(|start| start..segment.max_doc().min(start + STRETCH));
        all.extend(docs.zip(times.iter()).map(|(docs, times)| Stretch { segment, docs, times: *times }));
    }
    match wanted.order {
        Order::Oldest => all.sort_by_key(|stretch| stretch.times.0),
        Order::Best | Order::Newest => all.sort_by_key(|stretch| Reverse(stretch.times.1)),
    }
    Ok(all)
}

/// A hit, with what it is ordered by in front.
type Ranked = (i64, i64, MentionId, Option<CaseId>, f32);

/// A post as old as this has half of the advantage that new ones have.
const HALF_LIFE: f32 = 30.0 * 86_400_000.0;
/// What a post of this moment gains over one that is very old, as a share of its score.
pub(super) const ADVANTAGE: f32 = 0.5;

/// What a score is multiplied by: age counts from the newest post, so that the same index ranks the same.
fn freshness(posted: i64, newest: i64) -> f32 {
    let age = newest.saturating_sub(posted).max(0) as f32;
    1.0 + ADVANTAGE * (-age / HALF_LIFE).exp2()
}

/// The hits so far: all counted, the best kept.
struct Counted<'a> {
    live: &'a Live,
    wanted: &'a Wanted<'a>,
    newest: i64,
    total: usize,
    /// Not everything was looked at.
    more: bool,
    looked_at: usize,
    best: Vec<Ranked>,
    facets: Facets<'a>,
}

impl<'a> Counted<'a> {
    fn new(live: &'a Live, wanted: &'a Wanted<'a>, facets: Facets<'a>) -> Result<Counted<'a>, Error> {
        let mut newest = live.tail.posts().map(|waiting| waiting.post.posted_at.0).max().unwrap_or(0);
        for segment in live.searcher.segment_readers().iter().filter(|segment| segment.num_docs() > 0) {
            newest = newest.max(segment.fast_fields().i64("posted")?.max_value());
        }
        Ok(Counted { live, wanted, newest, total: 0, more: false, looked_at: 0, best: Vec::new(), facets })
    }

    /// So much was looked at that a page can be shown, and nothing in this stretch or behind it belongs on it.
    fn enough(&mut self, next: &Stretch<'_>, read: usize) -> bool {
        let looked_at = self.looked_at.saturating_add(read.saturating_mul(READING));
        if self.wanted.all || self.total < MOST && looked_at < LOOKED_AT {
            return false;
        }
        self.cut();
        if self.best.len() < self.limit() {
            return false;
        }
        let last = self.best.iter().map(|hit| hit.0).min();
        match self.wanted.order {
            Order::Best => true,
            Order::Newest => last.is_none_or(|last| last > next.times.1),
            Order::Oldest => last.is_none_or(|last| last > next.times.0.saturating_neg()),
        }
    }

    fn stretch(&mut self, stretch: &Stretch<'_>, weight: &dyn Weight) -> Result<(), Error> {
        let segment = stretch.segment;
        let columns = segment.fast_fields();
        let mentions = columns.column_first_or_default::<i64>("mention")?;
        let posted = columns.column_first_or_default::<i64>("posted")?;
        let mut words = Vec::new();
        for name in ["platform", "lang", "account"] {
            if let Some(column) = columns.str(name)? {
                let counts = vec![0_usize; column.num_terms()];
                words.push((name, column, counts));
            }
        }
        let (alive, live) = (segment.alive_bitset(), self.live);
        let ranked = self.wanted.order == Order::Best;
        let mut scorer = weight.scorer(segment, 1.0)?;
        let mut doc = scorer.doc();
        if doc < stretch.docs.start {
            doc = scorer.seek(stretch.docs.start);
        }
        while doc < stretch.docs.end {
            let (this, score) = (doc, if ranked { scorer.score() } else { 0.0 });
            doc = scorer.advance();
            self.looked_at += 1;
            let (doc, mention) = (this, MentionId(mentions.get_val(this)));
            let gone = alive.is_some_and(|alive| !alive.is_alive(doc));
            if gone || live.dead.contains(&mention) || live.dying.contains(&mention) {
                continue;
            }
            if self.hit(mention, posted.get_val(doc), score) {
                for (_, column, counts) in &mut words {
                    for term in column.term_ords(doc) {
                        if let Some(count) = usize::try_from(term).ok().and_then(|term| counts.get_mut(term)) {
                            *count += 1;
                        }
                    }
                }
            }
        }
        let mut word = String::new();
        for (name, column, counts) in words {
            for (term, count) in (0..).zip(counts).filter(|(_, count)| *count > 0) {
                word.clear();
                column.ord_to_str(term, &mut word)?;
                self.facets.word(name, &word, count);
            }
        }
        Ok(())
    }

    /// Counts a hit, if the asker may see it.
    fn hit(&mut self, mention: MentionId, posted: i64, score: f32) -> bool {
        let mut rows = self.live.table.visible(mention, self.wanted.scope);
        let Some(row) = rows.next() else { return false };
        self.total += 1;
        self.facets.hit(posted, row, rows);
        let (first, score) = match self.wanted.order {
            // Scores are not negative, and so are ordered like their bits. The last bits differ with the
            // order in which parts were summed up.
            Order::Best => {
                let score = score * freshness(posted, self.newest);
                (i64::from(score.to_bits() >> 6), score)
            }
            Order::Newest => (posted, 0.0),
            Order::Oldest => (posted.saturating_neg(), 0.0),
        };
        self.best.push((first, posted, mention, row.case(), score));
        // Twice the wanted number is kept, so that cutting back is rare.
        if self.best.len() > self.limit().saturating_mul(2).max(1_000) {
            self.cut();
        }
        true
    }

    fn limit(&self) -> usize {
        self.wanted.page.offset.saturating_add(self.wanted.page.limit)
    }

    fn cut(&mut self) {
        let limit = self.limit();
        if limit < self.best.len() {
            self.best.select_nth_unstable_by_key(limit, |hit| Reverse((hit.0, hit.1, hit.2)));
            self.best.truncate(limit);
        }
    }

    fn found(mut self) -> Found {
        self.cut();
        self.best.sort_unstable_by_key(|hit| Reverse((hit.0, hit.1, hit.2)));
        let page = self.best.iter().skip(self.wanted.page.offset).take(self.wanted.page.limit);
        let hits = page.map(|&(_, _, mention, case, score)| Hit { mention, case, score }).collect();
        Found { total: self.total, more: self.more, hits, facets: self.facets.counts(), widened: Vec::new() }
    }
}
