//! The partitions that this process holds: what was read ahead, in bounded memory, and what the two sides ask
//! of each other. The thread that polls puts in, the pipeline takes out.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::{Notify, watch};

use crate::{
    bus::{Batch, Error, Record},
    mention::Mark,
};

/// A batch is handed out once it has so many bytes, however many records were asked for.
const BATCH_BYTES: usize = 4 << 20;

/// What the polling thread and the reader share.
pub(super) struct Parts {
    held: Mutex<Held>,
    /// Something can be taken.
    pub(super) news: Notify,
    /// True once nobody reads any more.
    pub(super) closing: watch::Sender<bool>,
    records: usize,
    bytes: usize,
}

#[derive(Default)]
struct Held {
    parts: BTreeMap<i32, Part>,
    /// The partition that was served last; the next one is next.
    served: i32,
    /// The store holds everything before; for the group's offsets.
    stored: BTreeMap<i32, i64>,
    /// What the reader is to be told.
    fault: Option<Error>,
    ended: bool,
}

/// One partition.
struct Part {
    /// The topic's id.
    log: Arc<str>,
    /// What the store holds before the next batch.
    from: Mark,
    /// The least offset that may come next.
    expects: i64,
    ahead: VecDeque<Record>,
    bytes: usize,
    skipped: u64,
    /// The topic's end, as far as is known.
    end: i64,
    paused: bool,
    /// The store is asked again where it stands; until then nothing of it is taken or put in.
    astray: bool,
}

impl Part {
    fn next(&self) -> i64 {
        self.ahead.front().map_or(self.expects, |record| record.position.0)
    }
}

impl Parts {
    pub(super) fn new(records: usize, bytes: usize) -> Parts {
        Parts { held: Mutex::default(), news: Notify::new(), closing: watch::Sender::new(false), records, bytes }
    }

    /// The partition is read from `position` on.
    pub(super) fn begin(&self, part: i32, log: &str, from: Mark, position: i64, skipped: u64, end: i64) {
        let (log, ahead) = (log.into(), VecDeque::new());
        let part_ = Part { log, from, expects: position, ahead, bytes: 0, skipped, end, paused: false, astray: false };
        self.with(|held| held.parts.insert(part, part_));
    }

    /// The partition went to somebody else.
    pub(super) fn forget(&self, part: i32) {
        self.with(|held| {
            held.parts.remove(&part);
            held.stored.remove(&part);
        });
    }

    /// Takes in what was polled; says which partitions are full now.
    pub(super) fn put(&self, polled: &mut Vec<(i32, Record)>) -> Vec<i32> {
        let full = self.with(|held| {
            let mut full = Vec::new();
            for (number, record) in polled.drain(..) {
                let Some(part) = held.parts.get_mut(&number) else { continue };
                if part.astray || record.position.0 < part.expects {
                    continue;
                }
                part.expects = record.position.0 + 1;
                part.end = part.end.max(part.expects);
                part.bytes += record.bytes.len();
                part.ahead.push_back(record);
                if !part.paused && (part.ahead.len() >= self.records || part.bytes >= self.bytes) {
                    part.paused = true;
                    full.push(number);
                }
            }
            full
        });
        self.news.notify_one();
        full
    }

    /// The paused partitions that have room again; they count as not paused from now on.
    pub(super) fn roomy(&self) -> Vec<i32> {
        self.with(|held| {
            let roomy = |part: &Part| part.paused && part.ahead.len() <= self.records / 2 && part.bytes <= self.bytes / 2;
            let parts = held.parts.iter_mut().filter(|(_, part)| roomy(part));
            parts.map(|(number, part)| (part.paused = false, *number).1).collect()
        })
    }

    /// How many are paused.
    pub(super) fn paused(&self) -> usize {
        self.with(|held| held.parts.values().filter(|part| part.paused).count())
    }

    /// The next batch of the partition whose turn it is, if there is one.
    pub(super) fn take(&self, max: usize) -> Result<Option<Batch>, Error> {
        self.with(|held| {
            let ready = |(_, part): &(&i32, &Part)| !part.astray && !part.ahead.is_empty();
            let after = held.parts.range(held.served.saturating_add(1)..).find(ready);
            let Some(number) = after.or_else(|| held.parts.iter().find(ready)).map(|(number, _)| *number) else {
                return match held.fault.take() {
                    Some(fault) => Err(fault),
                    None if held.ended => Err(Error::Closed),
                    None => Ok(None),
                };
            };
            held.served = number;
            let Some(part) = held.parts.get_mut(&number) else { return Ok(None) };
            let mut bytes = 0;
            let fits = |record: &&Record| {
                let room = bytes < BATCH_BYTES;
                bytes += record.bytes.len();
                room
            };
            let count = part.ahead.iter().take(max.max(1)).take_while(fits).count();
            let records: Vec<Record> = part.ahead.drain(..count).collect();
            part.bytes -= records.iter().map(|record| record.bytes.len()).sum::<usize>();
            let next = records.last().map_or(part.expects, |last| last.position.0 + 1);
            let to = Mark { log: Arc::clone(&part.log), next };
            let from = std::mem::replace(&mut part.from, to.clone());
            Ok(Some(Batch { part: number.into(), from, to, records, skipped: std::mem::take(&mut part.skipped) }))
        })
    }

    /// What was read ahead of it is worth nothing: the store must be asked again.
    pub(super) fn go_astray(&self, part: Option<i32>) {
        self.with(|held| {
            for (_, part) in held.parts.iter_mut().filter(|(number, _)| part.is_none_or(|part| part == **number)) {
                (part.astray, part.bytes) = (true, 0);
                part.ahead.clear();
            }
        });
    }

    /// The partitions whose position must be asked for again.
    pub(super) fn astray(&self) -> Vec<i32> {
        self.with(|held| held.parts.iter().filter(|(_, part)| part.astray).map(|(number, _)| *number).collect())
    }

    /// The ids of the topic that the partitions were begun with, each once.
    pub(super) fn logs(&self) -> Vec<Arc<str>> {
        self.with(|held| {
            let mut logs: Vec<Arc<str>> = held.parts.values().map(|part| Arc::clone(&part.log)).collect();
            logs.dedup();
            logs
        })
    }

    /// The store holds everything before `next`.
    pub(super) fn stored(&self, part: i32, next: i64) {
        self.with(|held| held.stored.insert(part, next));
    }

    /// What was stored since this was asked last.
    pub(super) fn take_stored(&self) -> BTreeMap<i32, i64> {
        self.with(|held| std::mem::take(&mut held.stored))
    }

    /// Where the topic ends now.
    pub(super) fn ends_at(&self, part: i32, end: i64) {
        self.with(|held| {
            if let Some(part) = held.parts.get_mut(&part) {
                part.end = part.end.max(end);
            }
        });
    }

    /// For each partition, the records that were not taken yet.
    pub(super) fn lags(&self) -> Vec<(i32, i64)> {
        self.with(|held| held.parts.iter().map(|(number, part)| (*number, (part.end - part.next()).max(0))).collect())
    }

    /// Tells the reader what is wrong.
    pub(super) fn fail(&self, fault: Error) {
        self.with(|held| held.fault = Some(fault));
        self.news.notify_one();
    }

    /// Nothing comes any more.
    pub(super) fn end(&self) {
        self.with(|held| held.ended = true);
        self.news.notify_one();
    }

    fn with<T>(&self, look: impl FnOnce(&mut Held) -> T) -> T {
        look(&mut self.held.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::Position;

    fn record(position: i64, bytes: usize) -> Record {
        Record { position: Position(position), bytes: vec![0; bytes], erased: false }
    }

    fn put(parts: &Parts, part: i32, positions: impl Iterator<Item = i64>) -> Vec<i32> {
        parts.put(&mut positions.map(|at| (part, record(at, 10))).collect())
    }

    fn begin(parts: &Parts, part: i32, position: i64) {
        parts.begin(part, "t", Mark { log: "t".into(), next: position }, position, 0, position);
    }

    fn positions(batch: &Batch) -> Vec<i64> {
        batch.records.iter().map(|record| record.position.0).collect()
    }

    #[test]
    fn partitions_are_served_in_turn_and_batches_join() {
        let parts = Parts::new(100, 1 << 20);
        begin(&parts, 0, 5);
        begin(&parts, 3, 0);
        put(&parts, 0, 5..10);
        put(&parts, 3, 0..2);
        let taken: Vec<(i64, Vec<i64>, i64, i64)> = std::iter::from_fn(|| parts.take(3).unwrap())
            .map(|batch| (batch.part, positions(&batch), batch.from.next, batch.to.next))
            .collect();
        assert_eq!(taken, [(3, vec![0, 1], 0, 2), (0, vec![5, 6, 7], 5, 8), (0, vec![8, 9], 8, 10)]);
    }

    #[test]
    fn a_full_partition_pauses_until_half_of_it_is_taken() {
        let parts = Parts::new(10, 1 << 20);
        begin(&parts, 1, 0);
        assert_eq!(put(&parts, 1, 0..9), [0; 0]);
        assert_eq!(put(&parts, 1, 9..12), [1], "said once");
        assert_eq!((parts.roomy(), parts.paused()), (vec![], 1));
        parts.take(7).unwrap();
        assert_eq!((parts.roomy(), parts.paused()), (vec![1], 0));
        let bytes = Parts::new(1_000, 25);
        begin(&bytes, 1, 0);
        assert_eq!(put(&bytes, 1, 0..3), [1], "by bytes too");
    }

    #[test]
    fn what_comes_twice_or_for_nobody_is_left_out() {
        let parts = Parts::new(100, 1 << 20);
        begin(&parts, 0, 5);
        put(&parts, 0, 3..7);
        put(&parts, 0, 6..8);
        put(&parts, 9, 0..3);
        assert_eq!(positions(&parts.take(9).unwrap().unwrap()), [5, 6, 7]);
        put(&parts, 0, 8..9);
        parts.forget(0);
        assert!(parts.take(9).unwrap().is_none());
    }

    #[test]
    fn a_partition_gone_astray_gives_nothing_until_it_begins_again() {
        let parts = Parts::new(100, 1 << 20);
        begin(&parts, 0, 5);
        put(&parts, 0, 5..7);
        parts.go_astray(Some(0));
        put(&parts, 0, 7..9);
        assert!(parts.take(9).unwrap().is_none());
        assert_eq!(parts.astray(), [0]);
        parts.begin(0, "t", Mark { log: "t".into(), next: 2 }, 4, 2, 9);
        put(&parts, 0, 4..6);
        let batch = parts.take(9).unwrap().unwrap();
        assert_eq!((positions(&batch), batch.from.next, batch.skipped), (vec![4, 5], 2, 2));
        assert_eq!(parts.lags(), [(0, 3)]);
        parts.end();
        assert!(matches!(parts.take(9), Err(Error::Closed)));
    }
}
