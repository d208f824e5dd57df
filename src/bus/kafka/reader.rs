//! The pipeline's side of the consumer: it takes what the polling thread has read ahead.

use std::sync::Arc;

use super::parts::Parts;
use crate::{
    bus::{Batch, Error},
    mention::Mark,
};

/// Reads the partitions that the group gives to this process.
pub struct Reader {
    pub(super) parts: Arc<Parts>,
}

impl Reader {
    pub(in crate::bus) async fn next(&mut self, max: usize) -> Result<Batch, Error> {
        loop {
            // News from before this is kept, so none is missed.
            if let Some(batch) = self.parts.take(max)? {
                return Ok(batch);
            }
            self.parts.news.notified().await;
        }
    }

    pub(in crate::bus) fn reset(&mut self, part: i64) {
        self.parts.go_astray(i32::try_from(part).ok());
    }

    pub(in crate::bus) fn stored(&mut self, part: i64, to: &Mark) {
        if let Ok(part) = i32::try_from(part) {
            self.parts.stored(part, to.next);
        }
    }

    pub(in crate::bus) fn lag(&self) -> i64 {
        self.parts.lags().iter().map(|(_, lag)| lag).sum()
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.parts.closing.send_replace(true);
    }
}
