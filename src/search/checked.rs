//! The check of candidates as a tantivy query: what the pairs find, if the text itself agrees.
//!
//! A word is judged by blocks of documents, each when a query first comes to it, and what was said is kept.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicUsize, Ordering},
    },
};

use tantivy::{
    DocId, DocSet, Score, TERMINATED, TantivyError, Term,
    fieldnorm::FieldNormReader,
    index::SegmentReader,
    query::{Bm25Weight, EnableScoring, Explanation, Query, Scorer, Weight},
    schema::{
        Field,
        document::{DeserializeError, DocumentDeserialize, DocumentDeserializer},
    },
    store::StoreReader,
};

use super::{
    check::{Mark, Memo, Sought, Text},
    judged::{BLOCK, Hit, Judged, Memory},
    tokens::Cutter,
};

/// Blocks of texts that a query keeps at hand.
const TEXT_BLOCKS: usize = 8;

/// The documents of a segment that a query is about to look at; what it finds outside does not matter.
pub(super) struct Window {
    from: AtomicU32,
    until: AtomicU32,
    /// How many texts were read for the query.
    judged: Arc<AtomicUsize>,
}

impl Default for Window {
    fn default() -> Window {
        Window { from: AtomicU32::new(0), until: AtomicU32::new(TERMINATED), judged: Arc::default() }
    }
}

impl Window {
    /// From now on it begins at `from` and ends before `until`.
    pub(super) fn set(&self, from: DocId, until: DocId) {
        self.from.store(from, Ordering::Relaxed);
        self.until.store(until, Ordering::Relaxed);
    }

    /// How many texts were read so far.
    pub(super) fn judged(&self) -> usize {
        self.judged.load(Ordering::Relaxed)
    }
}

/// Posts that `candidates` finds and in whose text the word stands.
pub(super) struct Checked {
    pub(super) candidates: Box<dyn Query>,
    pub(super) sought: Arc<Sought>,
    /// What the word weighs by.
    pub(super) terms: Vec<Term>,
    pub(super) text: Field,
    pub(super) memory: Arc<Memory>,
    pub(super) window: Arc<Window>,
}

impl Clone for Checked {
    fn clone(&self) -> Checked {
        Checked {
            candidates: self.candidates.box_clone(),
            sought: Arc::clone(&self.sought),
            terms: self.terms.clone(),
            text: self.text,
            memory: Arc::clone(&self.memory),
            window: Arc::clone(&self.window),
        }
    }
}

impl fmt::Debug for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Checked({:?})", self.candidates)
    }
}

impl Query for Checked {
    fn weight(&self, scoring: EnableScoring<'_>) -> tantivy::Result<Box<dyn Weight>> {
        let (unranked, weight) = match scoring {
            EnableScoring::Enabled { searcher, statistics_provider } if !self.terms.is_empty() => {
                let weight = Bm25Weight::for_terms(statistics_provider, &self.terms)?;
                (EnableScoring::disabled_from_searcher(searcher), Some(weight))
            }
            _ => (scoring, None),
        };
        Ok(Box::new(CheckedWeight {
            candidates: self.candidates.weight(unranked)?.into(),
            weight,
            sought: Arc::clone(&self.sought),
            text: self.text,
            memory: Arc::clone(&self.memory),
            window: Arc::clone(&self.window),
        }))
    }
}

struct CheckedWeight {
    candidates: Arc<dyn Weight>,
    weight: Option<Bm25Weight>,
    sought: Arc<Sought>,
    text: Field,
    memory: Arc<Memory>,
    window: Arc<Window>,
}

impl Weight for CheckedWeight {
    fn scorer(&self, reader: &SegmentReader, boost: Score) -> tantivy::Result<Box<dyn Scorer>> {
        let mut judge = None;
        let judged = self.memory.of(reader.segment_id(), &self.sought, reader.max_doc());
        let open = || {
            Ok::<Judge, TantivyError>(Judge {
                candidates: self.candidates.scorer(reader, 1.0)?,
                texts: reader.get_store_reader(TEXT_BLOCKS)?,
                sought: Arc::clone(&self.sought),
                cutter: Cutter::for_posts(),
                memo: Memo::default(),
                read: Arc::clone(&self.window.judged),
            })
        };
        if judged.hits().is_none() {
            judge = Some(open()?);
        }
        let candidates =
            judged.candidates(|| judge.as_ref().map_or(0, |judge| u32::try_from(judge.candidates.cost()).unwrap_or(u32::MAX)));
        let weight = match &self.weight {
            Some(weight) => Some((weight.boost_by(boost), reader.get_fieldnorms_reader(self.text)?)),
            None => None,
        };
        let until = self.window.until.load(Ordering::Relaxed).min(reader.max_doc());
        let (doc, mark) = (TERMINATED, Mark::default());
        let mut scorer = CheckedScorer { judged, judge, candidates, weight, until, block: 0, place: 0, doc, mark };
        scorer.go_to(self.window.from.load(Ordering::Relaxed));
        Ok(Box::new(scorer))
    }

    fn explain(&self, reader: &SegmentReader, doc: DocId) -> tantivy::Result<Explanation> {
        let mut scorer = self.scorer(reader, 1.0)?;
        if scorer.doc() > doc || scorer.seek(doc) != doc {
            return Err(TantivyError::InvalidArgument(format!("document #({doc}) does not match")));
        }
        Ok(Explanation::new("Checked", scorer.score()))
    }
}

/// Only the text of a document.
struct Stored(Option<String>);

impl DocumentDeserialize for Stored {
    fn deserialize<'de, D: DocumentDeserializer<'de>>(mut document: D) -> Result<Stored, DeserializeError> {
        Ok(Stored(document.next_field::<String>()?.map(|(_, text)| text)))
    }
}

/// Reads the texts of candidates and says what stands there.
struct Judge {
    candidates: Box<dyn Scorer>,
    texts: StoreReader,
    sought: Arc<Sought>,
    cutter: Cutter,
    memo: Memo,
    read: Arc<AtomicUsize>,
}

impl Judge {
    /// The hits of a block, which must lie behind those judged before.
    fn block(&mut self, block: usize) -> Box<[Hit]> {
        let from = u32::try_from(block).unwrap_or(u32::MAX).saturating_mul(BLOCK);
        let mut doc = self.candidates.doc();
        if doc < from {
            doc = self.candidates.seek(from);
        }
        let mut hits = Vec::new();
        let mut read = 0;
        while doc < from.saturating_add(BLOCK) && doc != TERMINATED {
            read += 1;
            if let Some(mark) = self.mark(doc) {
                hits.push(Hit::new(doc, mark));
            }
            doc = self.candidates.advance();
        }
        self.read.fetch_add(read, Ordering::Relaxed);
        hits.into()
    }

    /// A text that cannot be read passes: finding too much is better than hiding a post.
    fn mark(&mut self, doc: DocId) -> Option<Mark> {
        match self.texts.get::<Stored>(doc) {
            Ok(Stored(Some(text))) => Text::new(&text, &mut self.cutter, &self.memo).judge(&self.sought),
            _ => Some(Mark::new(1, false)),
        }
    }
}

struct CheckedScorer {
    judged: Arc<Judged>,
    /// `None` when everything is known.
    judge: Option<Judge>,
    candidates: u32,
    weight: Option<(Bm25Weight, FieldNormReader)>,
    /// Behind the last document that matters.
    until: DocId,
    block: usize,
    /// Of the document among the hits of the block.
    place: usize,
    doc: DocId,
    mark: Mark,
}

impl CheckedScorer {
    /// The first hit that is `target` or behind it.
    fn go_to(&mut self, target: DocId) -> DocId {
        let block = (target / BLOCK) as usize;
        if block != self.block {
            (self.block, self.place) = (block, 0);
        }
        let within = target % BLOCK;
        let place = self.place;
        let hits = self.hits();
        let place = place + hits.get(place..).map_or(0, |rest| rest.partition_point(|hit| hit.doc() < within));
        self.place = place;
        self.settle()
    }

    /// The hits of the block that it is in, which are judged if nobody has asked before.
    fn hits(&mut self) -> &[Hit] {
        let judge = &mut self.judge;
        match self.judged.block(self.block) {
            Some(hits) => hits,
            None => {
                self.judged.settle(self.block, || judge.as_mut().map_or_else(Box::default, |judge| judge.block(self.block)))
            }
        }
    }

    /// The hit at the place, or the first of the next block that has one.
    fn settle(&mut self) -> DocId {
        loop {
            let start = u32::try_from(self.block).unwrap_or(u32::MAX).saturating_mul(BLOCK);
            if start >= self.until {
                break;
            }
            let place = self.place;
            if let Some(hit) = self.hits().get(place).copied() {
                if start + hit.doc() >= self.until {
                    break;
                }
                (self.doc, self.mark) = (start + hit.doc(), hit.mark());
                return self.doc;
            }
            (self.block, self.place) = (self.block + 1, 0);
        }
        self.block = self.judged.blocks();
        self.doc = TERMINATED;
        TERMINATED
    }
}

impl DocSet for CheckedScorer {
    fn advance(&mut self) -> DocId {
        if self.doc == TERMINATED {
            return TERMINATED;
        }
        self.place += 1;
        self.settle()
    }

    fn seek(&mut self, target: DocId) -> DocId {
        if self.doc >= target { self.doc } else { self.go_to(target) }
    }

    fn doc(&self) -> DocId {
        self.doc
    }

    fn size_hint(&self) -> u32 {
        self.judged.hits().unwrap_or(self.candidates)
    }

    fn cost(&self) -> u64 {
        // Each candidate is read, so others should lead.
        self.judged.hits().map_or_else(|| u64::from(self.candidates) * 2, u64::from)
    }
}

impl Scorer for CheckedScorer {
    fn score(&mut self) -> Score {
        self.weight.as_ref().map_or(0.0, |(weight, norms)| self.mark.score(weight, norms.fieldnorm_id(self.doc)))
    }
}
