//! Runs a plan over the index and the tail, and counts only what the asker may see.

use std::{cell::RefCell, collections::HashMap};

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
    plan::{self, Plan, Sight},
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
}

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
    let weight = match wanted.order {
        Order::Best => {
            let statistics = Statistics::new(live, &mut cutter);
            if live.tail.len() > 0 {
                plan.weigh(&shared.fields, &statistics)?;
            }
            let scoring = EnableScoring::enabled_from_statistics_provider(&statistics, &live.searcher);
            plan.tantivy(&shared.fields, &live.searcher, &shared.memory)?.weight(scoring)?
        }
        Order::Newest | Order::Oldest => plan
            .tantivy(&shared.fields, &live.searcher, &shared.memory)?
            .weight(EnableScoring::disabled_from_searcher(&live.searcher))?,
    };
    let mut counted = Counted::new(live, wanted, Facets::new(&live.table, wanted.since, &shared.zone))?;
    for segment in live.searcher.segment_readers() {
        counted.segment(segment, weight.as_ref())?;
    }
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
    best: Vec<Ranked>,
    facets: Facets<'a>,
}

impl<'a> Counted<'a> {
    fn new(live: &'a Live, wanted: &'a Wanted<'a>, facets: Facets<'a>) -> Result<Counted<'a>, Error> {
        let mut newest = live.tail.posts().map(|waiting| waiting.post.posted_at.0).max().unwrap_or(0);
        for segment in live.searcher.segment_readers().iter().filter(|segment| segment.num_docs() > 0) {
            newest = newest.max(segment.fast_fields().i64("posted")?.max_value());
        }
        Ok(Counted { live, wanted, newest, total: 0, best: Vec::new(), facets })
    }

    fn segment(&mut self, segment: &SegmentReader, weight: &dyn Weight) -> Result<(), Error> {
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
        weight.for_each(segment, &mut |doc: DocId, score| {
            let mention = MentionId(mentions.get_val(doc));
            let gone = alive.is_some_and(|alive| !alive.is_alive(doc));
            if gone || live.dead.contains(&mention) || live.dying.contains(&mention) {
                return;
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
        })?;
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
            self.best.select_nth_unstable_by_key(limit, |hit| std::cmp::Reverse((hit.0, hit.1, hit.2)));
            self.best.truncate(limit);
        }
    }

    fn found(mut self) -> Found {
        self.cut();
        self.best.sort_unstable_by_key(|hit| std::cmp::Reverse((hit.0, hit.1, hit.2)));
        let page = self.best.iter().skip(self.wanted.page.offset).take(self.wanted.page.limit);
        let hits = page.map(|&(_, _, mention, case, score)| Hit { mention, case, score }).collect();
        Found { total: self.total, hits, facets: self.facets.counts(), widened: Vec::new() }
    }
}
