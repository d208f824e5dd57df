//! The one consumer of the embedded log: it goes on where the store says that it stands.

use super::{Embedded, Position};
use crate::{
    bus::{Batch, Error, Marks},
    mention::Mark,
};

/// The log's one partition.
const PART: i64 = 0;

/// Reads the log from where the store stands.
pub struct Reader {
    log: Embedded,
    marks: Marks,
    /// What the store holds, and where to read on; unknown until the store was asked.
    at: Option<(Mark, Position)>,
}

impl Reader {
    pub(in crate::bus) fn new(log: Embedded, marks: Marks) -> Reader {
        Reader { log, marks, at: None }
    }

    pub(in crate::bus) async fn next(&mut self, max: usize) -> Result<Batch, Error> {
        let (from, position) = match &self.at {
            Some(at) => at.clone(),
            None => {
                let mark = (self.marks)(PART).await.map_err(Error::Marks)?;
                // What was read of another log says nothing of this one.
                let position = Position(if mark.log.is_empty() { mark.next } else { 0 });
                // A log that lost its unsynced end in a crash goes on after what is stored already.
                self.log.go_on_from(position);
                self.at.insert((mark, position)).clone()
            }
        };
        let read = self.log.read(position, max).await?;
        let to = Mark { log: "".into(), next: read.next.0 };
        self.at = Some((to.clone(), read.next));
        Ok(Batch { part: PART, from, to, records: read.records, skipped: read.skipped })
    }

    pub(in crate::bus) fn reset(&mut self) {
        self.at = None;
    }

    pub(in crate::bus) fn lag(&self) -> i64 {
        self.at.as_ref().map_or(0, |(_, position)| self.log.end().0 - position.0)
    }
}
