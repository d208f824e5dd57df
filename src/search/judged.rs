//! What the check has said of candidates before: the texts of a segment never change, and so neither does this.
//!
//! The next page of a search, a filter more, an alert that looks each half minute: all ask for the same words again.

use std::{
    cmp::Reverse,
    collections::HashMap,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU32, AtomicUsize, Ordering},
    },
};

use tantivy::{
    DocId,
    index::{SegmentId, SegmentReader},
};

use super::check::{Mark, Sought};

/// All of it together; what was not asked for longest goes first.
const MAX_BYTES: usize = 256 << 20;
/// What a word takes besides its hits, about.
const WORD_BYTES: usize = 2_048;
/// Segments of which times are kept.
const MOST_TIMES: usize = 1_000;
/// Documents that are judged at once.
pub(super) const BLOCK: u32 = 1 << 14;

/// Documents that are looked at together.
pub(super) const STRETCH: u32 = BLOCK * 16;

/// When the first and the last post of each stretch of a segment were posted.
type Times = Arc<[(i64, i64)]>;

/// A document of a block in which the word stands, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Hit(u32);

impl Hit {
    pub(super) fn new(doc: DocId, mark: Mark) -> Hit {
        Hit(((doc % BLOCK) << 8) | u32::from(mark.0))
    }

    /// Its number in the block.
    pub(super) fn doc(self) -> u32 {
        self.0 >> 8
    }

    pub(super) fn mark(self) -> Mark {
        Mark((self.0 & 0xff) as u8)
    }
}

/// Where a word stands in a segment, as far as somebody has asked.
pub(super) struct Judged {
    blocks: Box<[OnceLock<Box<[Hit]>>]>,
    /// About how many candidates there are.
    candidates: OnceLock<u32>,
    known: AtomicU32,
    hits: AtomicU32,
    bytes: AtomicUsize,
    all_bytes: Arc<AtomicUsize>,
}

impl Judged {
    pub(super) fn new(documents: u32, all_bytes: Arc<AtomicUsize>) -> Judged {
        let blocks: Box<[_]> = (0..documents.div_ceil(BLOCK)).map(|_| OnceLock::new()).collect();
        let bytes = WORD_BYTES + size_of_val::<[OnceLock<Box<[Hit]>>]>(&blocks);
        all_bytes.fetch_add(bytes, Ordering::Relaxed);
        let (known, hits) = (AtomicU32::new(0), AtomicU32::new(0));
        Judged { blocks, candidates: OnceLock::new(), known, hits, bytes: AtomicUsize::new(bytes), all_bytes }
    }

    /// The hits of a block in order, if they are known.
    pub(super) fn block(&self, block: usize) -> Option<&[Hit]> {
        self.blocks.get(block)?.get().map(|hits| &**hits)
    }

    /// The same after `judge` has said which they are, unless another query was faster.
    pub(super) fn settle(&self, block: usize, judge: impl FnOnce() -> Box<[Hit]>) -> &[Hit] {
        let Some(place) = self.blocks.get(block) else { return &[] };
        place.get_or_init(|| {
            let hits = judge();
            let bytes = size_of_val::<[Hit]>(&hits);
            self.hits.fetch_add(u32::try_from(hits.len()).unwrap_or(u32::MAX), Ordering::Relaxed);
            self.known.fetch_add(1, Ordering::Relaxed);
            self.bytes.fetch_add(bytes, Ordering::Relaxed);
            self.all_bytes.fetch_add(bytes, Ordering::Relaxed);
            hits
        })
    }

    pub(super) fn blocks(&self) -> usize {
        self.blocks.len()
    }

    /// About how many candidates there are, as `count` says the first time.
    pub(super) fn candidates(&self, count: impl FnOnce() -> u32) -> u32 {
        *self.candidates.get_or_init(count)
    }

    /// How many hits there are, once every block is known.
    pub(super) fn hits(&self) -> Option<u32> {
        (self.known.load(Ordering::Relaxed) as usize == self.blocks.len()).then(|| self.hits.load(Ordering::Relaxed))
    }
}

impl Drop for Judged {
    fn drop(&mut self) {
        self.all_bytes.fetch_sub(*self.bytes.get_mut(), Ordering::Relaxed);
    }
}

/// What is known of many words and segments.
#[derive(Default)]
pub(super) struct Memory {
    kept: Mutex<Kept>,
    bytes: Arc<AtomicUsize>,
    times: Mutex<HashMap<SegmentId, Times>>,
}

#[derive(Default)]
struct Kept {
    /// With when it was asked for last, counted in questions.
    entries: HashMap<(SegmentId, Arc<Sought>), (u64, Arc<Judged>)>,
    questions: u64,
}

impl Kept {
    /// Forgets what was not asked for longest, down to so many bytes, but never what is asked now.
    fn forget(&mut self, most: usize) {
        let mut asked: Vec<(u64, usize)> =
            self.entries.values().map(|(asked, judged)| (*asked, judged.bytes.load(Ordering::Relaxed))).collect();
        asked.sort_unstable_by_key(|(asked, _)| Reverse(*asked));
        let mut bytes = 0;
        let kept = asked.iter().take_while(|(_, size)| {
            bytes += size;
            bytes <= most
        });
        let oldest = kept.last().map_or(self.questions, |(asked, _)| *asked);
        self.entries.retain(|_, (asked, _)| *asked >= oldest);
    }
}

impl Memory {
    /// What is known of a word in a segment of so many documents.
    pub(super) fn of(&self, segment: SegmentId, sought: &Arc<Sought>, documents: u32) -> Arc<Judged> {
        let mut guard = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = &mut *guard;
        kept.questions += 1;
        let entry = kept.entries.entry((segment, Arc::clone(sought)));
        let entry = entry.or_insert_with(|| (0, Arc::new(Judged::new(documents, Arc::clone(&self.bytes)))));
        entry.0 = kept.questions;
        let judged = Arc::clone(&entry.1);
        if self.bytes.load(Ordering::Relaxed) > MAX_BYTES {
            kept.forget(MAX_BYTES / 4 * 3);
        }
        judged
    }

    /// When the first and the last post of each stretch of a segment were posted.
    pub(super) fn times(&self, segment: &SegmentReader) -> tantivy::Result<Times> {
        let mut known = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(times) = known.get(&segment.segment_id()) {
            return Ok(Arc::clone(times));
        }
        let posted = segment.fast_fields().column_first_or_default::<i64>("posted")?;
        let mut values = vec![0; STRETCH as usize];
        let starts = (0..segment.max_doc()).step_by(STRETCH as usize);
        let times = starts.map(|start| {
            let values = &mut values[..STRETCH.min(segment.max_doc() - start) as usize];
            posted.get_range(u64::from(start), values);
            values.iter().fold((i64::MAX, i64::MIN), |(first, last), time| (first.min(*time), last.max(*time)))
        });
        let times: Times = times.collect();
        // Segments come and go; those that are left are soon read again.
        if known.len() >= MOST_TIMES {
            known.clear();
        }
        known.insert(segment.segment_id(), Arc::clone(&times));
        Ok(times)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::search::{tokens::Cutter, typed};

    #[test]
    fn what_was_said_is_kept_until_too_much_is() {
        let memory = Memory::default();
        let word = |word: &str| Arc::new(Sought { patterns: typed::word(word, &mut Cutter::for_queries()), typed: None });
        let segment = SegmentId::generate_random();
        let documents = BLOCK + 7;
        let judged = memory.of(segment, &word("배송"), documents);
        assert_eq!((judged.blocks(), judged.block(1), judged.hits()), (2, None, None));
        let hit = Hit::new(BLOCK + 3, Mark::new(2, true));
        assert_eq!((hit.doc(), hit.mark()), (3, Mark::new(2, true)));
        assert_eq!(judged.settle(1, || Box::new([hit])), [hit]);
        assert_eq!(judged.settle(1, || Box::new([])), [hit], "it is judged once");
        assert_eq!(judged.hits(), None, "the other block is not known");
        judged.settle(0, || Box::new([]));
        assert_eq!(judged.hits(), Some(1));

        assert_eq!(memory.of(segment, &word("배송"), documents).block(1), Some([hit].as_slice()));
        assert_eq!(memory.of(segment, &word("환불"), documents).block(1), None);
        assert_eq!(memory.of(SegmentId::generate_random(), &word("배송"), documents).block(1), None);
        drop(judged);
        // Almost half of what may be kept, three times.
        for other in ["하나", "둘", "셋"] {
            memory.of(segment, &word("배송"), documents);
            let large = vec![hit; MAX_BYTES / size_of::<Hit>() * 2 / 5];
            memory.of(segment, &word(other), documents).settle(0, || large.into());
        }
        let known = memory.of(segment, &word("배송"), documents);
        assert_eq!(known.block(1), Some([hit].as_slice()), "it was asked for meanwhile");
        assert!(memory.bytes.load(Ordering::Relaxed) <= MAX_BYTES);
        drop(known);
    }
}
