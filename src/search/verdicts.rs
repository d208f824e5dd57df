//! What the check has said of candidates before: the texts of a segment never change, and so neither does this.
//!
//! The next page of a search, a filter more, an alert that looks each half minute: all ask for the same words again.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use tantivy::{DocId, TERMINATED, index::SegmentId};

use super::check::Pattern;

/// All of it together; what was not asked for longest goes first.
const MAX_BYTES: usize = 256 << 20;
/// A word with fewer candidates in a segment is checked each time.
pub(super) const MIN_CANDIDATES: u64 = 64;

/// The second bit of each document.
const GOOD: u64 = 0xaaaa_aaaa_aaaa_aaaa;

/// Two bits a document: it is known, it is good.
pub(super) struct Verdicts {
    bits: Box<[AtomicU64]>,
    complete: AtomicBool,
}

impl Verdicts {
    fn new(documents: u32) -> Verdicts {
        let bits = (0..documents.div_ceil(32)).map(|_| AtomicU64::new(0)).collect();
        Verdicts { bits, complete: AtomicBool::new(false) }
    }

    pub(super) fn get(&self, doc: DocId) -> Option<bool> {
        let bits = self.bits.get(doc as usize / 32)?.load(Ordering::Relaxed) >> (doc % 32 * 2);
        (bits & 1 == 1).then_some(bits & 2 == 2)
    }

    pub(super) fn set(&self, doc: DocId, good: bool) {
        if let Some(word) = self.bits.get(doc as usize / 32) {
            word.fetch_or((1 | u64::from(good) << 1) << (doc % 32 * 2), Ordering::Relaxed);
        }
    }

    /// Every candidate of the segment is known.
    pub(super) fn complete(&self) -> bool {
        self.complete.load(Ordering::Acquire)
    }

    pub(super) fn set_complete(&self) {
        self.complete.store(true, Ordering::Release);
    }

    /// The first good document from `doc` on, once all are known.
    pub(super) fn next_good(&self, doc: DocId) -> DocId {
        let mut mask = u64::MAX << (doc % 32 * 2);
        for (place, word) in self.bits.iter().enumerate().skip(doc as usize / 32) {
            let good = word.load(Ordering::Relaxed) & GOOD & mask;
            if good != 0 {
                return u32::try_from(place).map_or(TERMINATED, |place| place * 32 + good.trailing_zeros() / 2);
            }
            mask = u64::MAX;
        }
        TERMINATED
    }

    fn bytes(&self) -> usize {
        self.bits.len() * size_of::<AtomicU64>()
    }
}

/// The verdicts of many words and segments.
#[derive(Default)]
pub(super) struct Memory(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    /// With when it was asked for last, counted in questions.
    entries: HashMap<(SegmentId, Arc<[Pattern]>), (u64, Arc<Verdicts>)>,
    questions: u64,
    bytes: usize,
}

impl Memory {
    /// What was said of the patterns in a segment of so many documents.
    pub(super) fn of(&self, segment: SegmentId, patterns: &Arc<[Pattern]>, documents: u32) -> Arc<Verdicts> {
        let mut guard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = &mut *guard;
        kept.questions += 1;
        let entry = kept.entries.entry((segment, Arc::clone(patterns))).or_insert_with(|| {
            let verdicts = Arc::new(Verdicts::new(documents));
            kept.bytes += verdicts.bytes();
            (0, verdicts)
        });
        entry.0 = kept.questions;
        let verdicts = Arc::clone(&entry.1);
        while kept.bytes > MAX_BYTES && kept.entries.len() > 1 {
            let oldest = kept.entries.iter().min_by_key(|(_, (asked, _))| *asked).map(|(key, _)| key.clone());
            let Some((_, gone)) = oldest.and_then(|key| kept.entries.remove(&key)) else { break };
            kept.bytes -= gone.bytes();
        }
        verdicts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::search::{tokens::Cutter, typed};

    #[test]
    fn what_was_said_is_kept_until_too_much_is() {
        let verdicts = Verdicts::new(33);
        verdicts.set(31, true);
        verdicts.set(32, false);
        verdicts.set(99, true);
        assert_eq!([30, 31, 32, 99].map(|doc| verdicts.get(doc)), [None, Some(true), Some(false), None]);

        verdicts.set(3, true);
        assert_eq!([0, 3, 4, 31, 32, 33, 900].map(|doc| verdicts.next_good(doc)), {
            [3, 3, 31, 31, TERMINATED, TERMINATED, TERMINATED]
        });

        let memory = Memory::default();
        let word = |word: &str| -> Arc<[Pattern]> { typed::word(word, &mut Cutter::for_queries()).into() };
        let segment = SegmentId::generate_random();
        memory.of(segment, &word("배송"), 100).set(7, true);
        assert_eq!(memory.of(segment, &word("배송"), 100).get(7), Some(true));
        assert_eq!(memory.of(segment, &word("환불"), 100).get(7), None);
        assert_eq!(memory.of(SegmentId::generate_random(), &word("배송"), 100).get(7), None);
        // Half of what may be kept, three times.
        let large = u32::try_from(MAX_BYTES * 2).unwrap();
        for other in ["하나", "둘", "셋"] {
            memory.of(segment, &word("배송"), 100);
            memory.of(segment, &word(other), large);
        }
        assert_eq!(memory.of(segment, &word("배송"), 100).get(7), Some(true), "it was asked for meanwhile");
        assert!(memory.0.lock().unwrap().bytes <= MAX_BYTES);
    }
}
