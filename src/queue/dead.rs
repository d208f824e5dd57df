//! Dead letters: what could not be handled, kept with its reason until somebody replays it.

use super::{Error, Reader, Tx};
use crate::clock::Time;

/// What could not be handled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// Row id.
    pub id: i64,
    /// The log that it came from: empty for the embedded one, else the topic's id.
    pub log: String,
    /// Its partition.
    pub part: i64,
    /// Its place there.
    pub position: i64,
    /// When it was buried.
    pub at: Time,
    /// Why, in words.
    pub reason: String,
    /// How many bytes it has; 0 once its post was erased.
    pub size: i64,
    /// When it was sent through the desk again.
    pub replayed_at: Option<Time>,
}

impl Reader<'_> {
    /// What is known of the dead letters after `after`, oldest first, at most `limit`. They may be large:
    /// [`Reader::dead_bytes`] has what they hold.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn dead_letters(&self, after: i64, limit: u32) -> Result<Vec<DeadLetter>, Error> {
        self.sql.all(
            "SELECT id, log, part, position, at, reason, CAST(length(bytes) AS BIGINT), replayed_at
             FROM dead_letter WHERE id > ?1 ORDER BY id LIMIT ?2",
            &[after.into(), limit.into()],
            |row| {
                Ok(DeadLetter {
                    id: row.get(0)?,
                    log: row.get(1)?,
                    part: row.get(2)?,
                    position: row.get(3)?,
                    at: Time(row.get(4)?),
                    reason: row.get(5)?,
                    size: row.get(6)?,
                    replayed_at: row.get::<Option<i64>>(7)?.map(Time),
                })
            },
        )
    }

    /// These dead letters as they came, oldest first, with their ids.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn dead_bytes(&self, ids: &[i64]) -> Result<Vec<(i64, Vec<u8>)>, Error> {
        self.sql.all(
            "SELECT id, bytes FROM dead_letter WHERE id IN (SELECT value FROM json_each(?1)) ORDER BY id",
            &[ids.into()],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
    }
}

impl Tx<'_> {
    /// These were sent through the desk again.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn mark_replayed(&mut self, ids: &[i64]) -> Result<(), Error> {
        self.sql.execute(
            "UPDATE dead_letter SET replayed_at = ?2 WHERE id IN (SELECT value FROM json_each(?1))",
            &[ids.into(), self.now.0.into()],
        )?;
        Ok(())
    }
}
