//! The check of candidates as a tantivy query: what the pairs find, if the text itself agrees.

use std::{fmt, sync::Arc};

use tantivy::{
    DocId, DocSet, Score, TERMINATED, TantivyDocument, TantivyError,
    index::SegmentReader,
    query::{EnableScoring, Explanation, Query, Scorer, Weight},
    schema::{Field, Value},
    store::StoreReader,
};

use super::{
    check::{Pattern, Text},
    tokens::Cutter,
    verdicts::{MIN_CANDIDATES, Memory, Verdicts},
};

/// Blocks of texts that a query keeps at hand.
const BLOCKS: usize = 8;

/// Posts that `candidates` finds and in whose text one of the patterns stands.
pub(super) struct Checked {
    pub(super) candidates: Box<dyn Query>,
    pub(super) patterns: Arc<[Pattern]>,
    pub(super) text: Field,
    pub(super) memory: Arc<Memory>,
}

impl Clone for Checked {
    fn clone(&self) -> Checked {
        let (patterns, memory) = (Arc::clone(&self.patterns), Arc::clone(&self.memory));
        Checked { candidates: self.candidates.box_clone(), patterns, text: self.text, memory }
    }
}

impl fmt::Debug for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Checked({:?})", self.candidates)
    }
}

impl Query for Checked {
    fn weight(&self, scoring: EnableScoring<'_>) -> tantivy::Result<Box<dyn Weight>> {
        let candidates = self.candidates.weight(scoring)?;
        let (patterns, memory) = (Arc::clone(&self.patterns), Arc::clone(&self.memory));
        Ok(Box::new(CheckedWeight { candidates, patterns, text: self.text, memory }))
    }
}

struct CheckedWeight {
    candidates: Box<dyn Weight>,
    patterns: Arc<[Pattern]>,
    text: Field,
    memory: Arc<Memory>,
}

impl Weight for CheckedWeight {
    fn scorer(&self, reader: &SegmentReader, boost: Score) -> tantivy::Result<Box<dyn Scorer>> {
        let candidates = self.candidates.scorer(reader, boost)?;
        let many = candidates.cost() >= MIN_CANDIDATES;
        let verdicts = || self.memory.of(reader.segment_id(), &self.patterns, reader.max_doc());
        let mut scorer = CheckedScorer {
            candidates,
            verdicts: many.then(verdicts),
            all: true,
            patterns: Arc::clone(&self.patterns),
            texts: reader.get_store_reader(BLOCKS)?,
            text: self.text,
            cutter: Cutter::for_posts(),
        };
        let first = scorer.candidates.doc();
        scorer.settle(first);
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

struct CheckedScorer {
    candidates: Box<dyn Scorer>,
    verdicts: Option<Arc<Verdicts>>,
    /// No candidate was passed over.
    all: bool,
    patterns: Arc<[Pattern]>,
    texts: StoreReader,
    text: Field,
    cutter: Cutter,
}

impl CheckedScorer {
    /// The first of the candidates from `doc` on that passes. When all are known, those between are not looked at.
    fn settle(&mut self, mut doc: DocId) -> DocId {
        if let Some(verdicts) = self.verdicts.as_ref().filter(|verdicts| verdicts.complete()) {
            let good = verdicts.next_good(doc);
            return if good > doc { self.candidates.seek(good) } else { doc };
        }
        while doc != TERMINATED && !self.passes(doc) {
            doc = self.candidates.advance();
        }
        if let Some(verdicts) = self.verdicts.as_ref().filter(|_| doc == TERMINATED && self.all) {
            verdicts.set_complete();
        }
        doc
    }

    /// A text that cannot be read passes: finding too much is better than hiding a post.
    fn passes(&mut self, doc: DocId) -> bool {
        if let Some(verdict) = self.verdicts.as_ref().and_then(|verdicts| verdicts.get(doc)) {
            return verdict;
        }
        let Ok(document) = self.texts.get::<TantivyDocument>(doc) else {
            self.all = false;
            return true;
        };
        let text = document.get_first(self.text).and_then(|value| value.as_str());
        let verdict = text.is_none_or(|text| Text::new(text, &mut self.cutter).matches(&self.patterns));
        if let Some(verdicts) = &self.verdicts {
            verdicts.set(doc, verdict);
        }
        verdict
    }
}

impl DocSet for CheckedScorer {
    fn advance(&mut self) -> DocId {
        let doc = self.doc();
        if let Some(verdicts) = self.verdicts.as_ref().filter(|verdicts| doc != TERMINATED && verdicts.complete()) {
            return self.candidates.seek(verdicts.next_good(doc + 1));
        }
        let next = self.candidates.advance();
        self.settle(next)
    }

    fn seek(&mut self, target: DocId) -> DocId {
        self.all = false;
        let next = self.candidates.seek(target);
        self.settle(next)
    }

    fn doc(&self) -> DocId {
        self.candidates.doc()
    }

    fn size_hint(&self) -> u32 {
        self.candidates.size_hint()
    }

    fn cost(&self) -> u64 {
        // Each candidate is read, so others should lead.
        self.candidates.cost().saturating_mul(8)
    }
}

impl Scorer for CheckedScorer {
    fn score(&mut self) -> Score {
        self.candidates.score()
    }
}
