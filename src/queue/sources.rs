//! What the desk keeps for its sources besides cursors: which deliveries were taken.

use super::{Error, Reader, Tx};

/// Ids of deliveries that are kept, of all accounts together. An older one that is sent again is taken again, and its
/// posts are known by their own ids.
const DELIVERIES: i64 = 200_000;

impl Reader<'_> {
    /// Whether a delivery that was sent to an account was taken.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn knows_delivery(&self, account: &str, id: &str) -> Result<bool, Error> {
        let found =
            self.sql.all("SELECT id FROM delivery WHERE account = ?1 AND name = ?2", &[account.into(), id.into()], |row| {
                row.get::<i64>(0)
            })?;
        Ok(!found.is_empty())
    }
}

impl Tx<'_> {
    /// Remembers a delivery and forgets the oldest; false if it was known.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn keep_delivery(&mut self, account: &str, id: &str) -> Result<bool, Error> {
        let new = self.sql.execute(
            "INSERT INTO delivery (account, name, at) VALUES (?1, ?2, ?3) ON CONFLICT (account, name) DO NOTHING",
            &[account.into(), id.into(), self.now.0.into()],
        )?;
        if new == 1 {
            self.sql.execute("DELETE FROM delivery WHERE id <= (SELECT max(id) FROM delivery) - ?1", &[DELIVERIES.into()])?;
        }
        Ok(new == 1)
    }
}
