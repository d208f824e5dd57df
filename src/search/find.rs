//! Runs a plan over the index and the tail, and counts only what the asker may see.

use std::{cell::RefCell, collections::HashMap};

use tantivy::{
    DocId, Searcher, Term,
    index::SegmentReader,
    query::{Bm25StatisticsProvider, EnableScoring, Weight},
    schema::Field,
};

use super::{
    Error, Facet, Found, Hit, Live, Order, Page, Scope, Shared,
    plan::{self, Sight},
    tail::{self, Tail},
    tokens::Cutter,
};
use crate::{
    case::{CaseId, Status},
    mention::{Label, MentionId},
    query::Query,
    staff::TeamId,
};

pub(super) fn find(
    shared: &Shared,
    live: &Live,
    query: &Query,
    scope: &Scope,
    order: Order,
    page: Page,
) -> Result<Found, Error> {
    let sight = Sight { table: &live.table, scope, zone: &shared.zone };
    let Some(mut plan) = plan::plan(query, &sight) else { return Ok(Found::default()) };
    let mut cutter = Cutter::for_posts();
    let weight = match order {
        Order::Best => {
            let statistics = Statistics::new(live, &mut cutter);
            if live.tail.len() > 0 {
                plan.weigh(&shared.fields, &statistics)?;
            }
            let scoring = EnableScoring::enabled_from_statistics_provider(&statistics, &live.searcher);
            plan.tantivy(&shared.fields, &live.searcher)?.weight(scoring)?
        }
        Order::Newest | Order::Oldest => {
            plan.tantivy(&shared.fields, &live.searcher)?.weight(EnableScoring::disabled_from_searcher(&live.searcher))?
        }
    };
    let mut counted = Counted::new(live, scope, order, page);
    for segment in live.searcher.segment_readers() {
        counted.segment(segment, weight.as_ref())?;
    }
    for waiting in live.tail.posts() {
        let post = &waiting.post;
        if let Some(score) = tail::matches(&plan, waiting, &mut cutter)
            && counted.hit(post.mention, post.posted_at.0, score)
        {
            counted.word("platform", &post.platform, 1);
            counted.word("lang", post.lang.as_str(), 1);
        }
    }
    Ok(Found { widened: plan::widened(query), ..counted.found() })
}

/// What BM25 wants to know, over the index and the tail together.
struct Statistics<'a> {
    searcher: &'a Searcher,
    tail: &'a Tail,
    posts: u64,
    tokens: u64,
    /// The words of `near` ask for the same tokens again and again.
    frequencies: RefCell<(HashMap<Term, u64>, &'a mut Cutter)>,
}

impl<'a> Statistics<'a> {
    fn new(live: &'a Live, cutter: &'a mut Cutter) -> Statistics<'a> {
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

/// The hits so far: all counted, the best kept.
struct Counted<'a> {
    live: &'a Live,
    scope: &'a Scope,
    order: Order,
    page: Page,
    total: usize,
    best: Vec<Ranked>,
    labels: [usize; Label::ALL.len()],
    statuses: [usize; Status::ALL.len()],
    teams: HashMap<TeamId, usize>,
    words: HashMap<(&'static str, String), usize>,
}

impl<'a> Counted<'a> {
    fn new(live: &'a Live, scope: &'a Scope, order: Order, page: Page) -> Counted<'a> {
        Counted {
            live,
            scope,
            order,
            page,
            total: 0,
            best: Vec::new(),
            labels: [0; Label::ALL.len()],
            statuses: [0; Status::ALL.len()],
            teams: HashMap::new(),
            words: HashMap::new(),
        }
    }

    fn segment(&mut self, segment: &SegmentReader, weight: &dyn Weight) -> Result<(), Error> {
        let columns = segment.fast_fields();
        let mentions = columns.column_first_or_default::<i64>("mention")?;
        let posted = columns.column_first_or_default::<i64>("posted")?;
        let mut words = Vec::new();
        for name in ["platform", "lang"] {
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
                    let count = column.term_ords(doc).next().and_then(|term| counts.get_mut(usize::try_from(term).ok()?));
                    if let Some(count) = count {
                        *count += 1;
                    }
                }
            }
        })?;
        let mut word = String::new();
        for (name, column, counts) in words {
            for (term, count) in (0..).zip(counts).filter(|(_, count)| *count > 0) {
                word.clear();
                column.ord_to_str(term, &mut word)?;
                self.word(name, &word, count);
            }
        }
        Ok(())
    }

    /// Counts a hit, if the asker may see it.
    fn hit(&mut self, mention: MentionId, posted: i64, score: f32) -> bool {
        let Some(row) = self.live.table.visible(mention, self.scope).next() else { return false };
        self.total += 1;
        let count = |counts: &mut [usize], index: Option<usize>| {
            if let Some(count) = index.and_then(|index| counts.get_mut(index)) {
                *count += 1;
            }
        };
        count(&mut self.labels, Label::ALL.iter().position(|label| Some(*label) == row.label()));
        count(&mut self.statuses, Status::ALL.iter().position(|status| Some(*status) == row.status()));
        if let Some(team) = row.team() {
            *self.teams.entry(team).or_default() += 1;
        }
        let (first, score) = match self.order {
            // Scores are not negative, and so are ordered like their bits. The last bits differ with the
            // order in which parts were summed up.
            Order::Best => (i64::from(score.to_bits() >> 6), score),
            Order::Newest => (posted, 0.0),
            Order::Oldest => (posted.saturating_neg(), 0.0),
        };
        self.best.push((first, posted, mention, row.case(), score));
        // Twice the wanted number is kept, so that cutting back is rare.
        if self.best.len() > self.wanted().saturating_mul(2).max(1_000) {
            self.cut();
        }
        true
    }

    fn wanted(&self) -> usize {
        self.page.offset.saturating_add(self.page.limit)
    }

    fn cut(&mut self) {
        let wanted = self.wanted();
        if wanted < self.best.len() {
            self.best.select_nth_unstable_by_key(wanted, |hit| std::cmp::Reverse((hit.0, hit.1, hit.2)));
            self.best.truncate(wanted);
        }
    }

    fn word(&mut self, field: &'static str, word: &str, count: usize) {
        *self.words.entry((field, word.to_owned())).or_default() += count;
    }

    fn found(mut self) -> Found {
        self.cut();
        self.best.sort_unstable_by_key(|hit| std::cmp::Reverse((hit.0, hit.1, hit.2)));
        let page = self.best.iter().skip(self.page.offset).take(self.page.limit);
        let hits = page.map(|&(_, _, mention, case, score)| Hit { mention, case, score }).collect();
        let names = &self.live.table.names;
        let team_name = |team: TeamId| {
            names.teams.iter().find(|(id, _)| *id == team).map_or_else(|| team.0.to_string(), |(_, name)| name.clone())
        };
        let labels = Label::ALL.iter().zip(self.labels).map(|(label, count)| ("label", label.as_str().to_owned(), count));
        let statuses =
            Status::ALL.iter().zip(self.statuses).map(|(status, count)| ("status", status.as_str().to_owned(), count));
        let teams = self.teams.into_iter().map(|(team, count)| ("team", team_name(team), count));
        let words = self.words.into_iter().map(|((field, word), count)| (field, word, count));
        let mut facets: Vec<Facet> = (labels.chain(teams).chain(words).chain(statuses))
            .filter(|(_, _, count)| *count > 0)
            .map(|(field, value, count)| Facet { field, value, count })
            .collect();
        let place = |field: &str| ["label", "team", "platform", "lang", "status"].iter().position(|name| *name == field);
        facets.sort_by(|a, b| (place(a.field), b.count, &a.value).cmp(&(place(b.field), a.count, &b.value)));
        Found { total: self.total, hits, facets, widened: Vec::new() }
    }
}
