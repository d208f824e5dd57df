//! The newest records in memory, so that consumers which keep up never touch the disk.

use std::collections::VecDeque;

use super::{
    Position, Record,
    chunk::{self, Chunk},
};

/// The newest chunks, without a hole between them, up to a number of bytes.
pub(super) struct Recent {
    chunks: VecDeque<Chunk>,
    bytes: usize,
    cap: usize,
    /// How often it was purged; see [`Recent::publish`].
    pub(super) purges: u64,
}

impl Recent {
    pub(super) fn new(cap: usize) -> Recent {
        Recent { chunks: VecDeque::new(), bytes: 0, cap, purges: 0 }
    }

    /// The records from `from` on, or none when the disk must be asked.
    pub(super) fn records(&self, from: Position, max: usize) -> Option<Vec<Record>> {
        if self.chunks.front()?.first > from {
            return None;
        }
        let mut records = Vec::new();
        let start = self.chunks.partition_point(|chunk| chunk.next() <= from);
        for chunk in self.chunks.range(start..) {
            if chunk::collect(chunk.first, &chunk.body, from, max, &mut records) {
                break;
            }
        }
        Some(records)
    }

    /// Takes what a commit made durable. `purges` was read before that commit: if somebody erased since,
    /// these chunks may hold what was erased from the disk meanwhile, so they are left out.
    pub(super) fn publish(&mut self, chunks: Vec<Chunk>, purges: u64) {
        if purges != self.purges {
            return;
        }
        for chunk in chunks {
            self.bytes += chunk.body.len();
            self.chunks.push_back(chunk);
        }
        while self.bytes > self.cap
            && let Some(oldest) = self.chunks.pop_front()
        {
            self.bytes -= oldest.body.len();
        }
    }

    /// Forgets everything.
    pub(super) fn purge(&mut self) {
        self.chunks = VecDeque::new();
        self.bytes = 0;
        self.purges += 1;
    }
}
