//! A run of records as one row holds it: each with its length before it.

use super::{Position, Record};

/// Length of a record that was erased.
const ERASED: u32 = u32::MAX;

/// A row is closed once it has so many bytes, so that a reader never loads much more than it wants.
const ROW_BYTES: usize = 256 << 10;

/// A read ends once it has so many bytes, however many records were asked for.
pub(super) const READ_BYTES: usize = 4 << 20;

/// Records with consecutive numbers, encoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Chunk {
    pub(super) first: Position,
    pub(super) count: i64,
    pub(super) body: Vec<u8>,
}

impl Chunk {
    pub(super) fn new(first: Position) -> Chunk {
        Chunk { first, count: 0, body: Vec::new() }
    }

    /// The position after its last record.
    pub(super) fn next(&self) -> Position {
        Position(self.first.0.saturating_add(self.count))
    }

    pub(super) fn is_full(&self) -> bool {
        self.body.len() >= ROW_BYTES
    }

    /// Appends a record; `None` is one that was erased.
    pub(super) fn push(&mut self, record: Option<&[u8]>) {
        // An append is far below 4 GiB, and so is each of its records.
        let length = record.map_or(ERASED, |bytes| u32::try_from(bytes.len()).unwrap_or(ERASED));
        self.body.extend_from_slice(&length.to_le_bytes());
        self.body.extend_from_slice(record.unwrap_or_default());
        self.count += 1;
    }
}

/// The records of an encoded body in order; an erased one is `None`. A body that is cut short ends early.
pub(super) fn decode(body: &[u8]) -> impl Iterator<Item = Option<&[u8]>> {
    let mut rest = body;
    std::iter::from_fn(move || {
        let (length, after) = rest.split_first_chunk()?;
        let length = u32::from_le_bytes(*length);
        if length == ERASED {
            rest = after;
            return Some(None);
        }
        let (record, after) = after.split_at_checked(usize::try_from(length).ok()?)?;
        rest = after;
        Some(Some(record))
    })
}

/// Adds to `out` the records of a body that starts at `first`: those from `from` on, until `out` has `max` of
/// them or enough bytes. Says whether it is full then.
pub(super) fn collect(first: Position, body: &[u8], from: Position, max: usize, out: &mut Vec<Record>) -> bool {
    let before = usize::try_from(from.0.saturating_sub(first.0)).unwrap_or(0);
    let mut bytes: usize = out.iter().map(|record| record.bytes.len()).sum();
    for (position, record) in (first.0..).zip(decode(body)).skip(before) {
        if out.len() >= max || bytes >= READ_BYTES {
            break;
        }
        let text = record.unwrap_or_default();
        bytes += text.len();
        out.push(Record { position: Position(position), bytes: text.to_vec(), erased: record.is_none() });
    }
    out.len() >= max || bytes >= READ_BYTES
}
