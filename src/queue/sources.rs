//! What connectors keep in the store beside their cursors, and which posts they look at again.

use super::{Error, Reader, Tx, outbox::Watched, sql::Row};
use crate::{clock::Time, mention::Engagement};

const WATCHED: &str = "m.native_id, coalesce(m.local_ref, m.native_id), m.version, coalesce(m.replies, 0), coalesce(m.shares, 0), \
     coalesce(m.likes, 0)";

fn watched_of(row: &Row<'_>) -> Result<Watched, Error> {
    let count = |column| row.get::<i64>(column).map(|number| u64::try_from(number).unwrap_or(0));
    Ok(Watched {
        native_id: row.get(0)?,
        local_ref: row.get(1)?,
        version: row.get(2)?,
        engagement: Some(Engagement { replies: count(3)?, shares: count(4)?, likes: count(5)? }),
    })
}

impl Tx<'_> {
    /// Keeps something of an account under a name.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn save_source_state(&mut self, account: &str, name: &str, value: &str) -> Result<(), Error> {
        self.sql.execute(
            "INSERT INTO source_state (account, name, value, saved_at) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (account, name) DO UPDATE SET value = excluded.value, saved_at = excluded.saved_at",
            &[account.into(), name.into(), value.into(), self.now.0.into()],
        )?;
        Ok(())
    }
}

impl Reader<'_> {
    /// What an account keeps under a name.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn source_state(&self, account: &str, name: &str) -> Result<Option<String>, Error> {
        let sql = "SELECT value FROM source_state WHERE account = ?1 AND name = ?2";
        self.sql.optional(sql, &[account.into(), name.into()], |row| row.get(0))
    }

    /// What every account keeps under a name: its key, the value, and when it was kept; by key.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn source_states(&self, name: &str) -> Result<Vec<(String, String, Time)>, Error> {
        let sql = "SELECT account, value, saved_at FROM source_state WHERE name = ?1 ORDER BY account";
        self.sql.all(sql, &[name.into()], |row| Ok((row.get(0)?, row.get(1)?, Time(row.get(2)?))))
    }

    /// The global id of a stored mention of a source that is called so, globally or by the platform's API.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn native_id(&self, source: &str, called: &str) -> Result<Option<String>, Error> {
        self.sql.optional(
            "SELECT m.native_id FROM mention m WHERE m.source_id = (SELECT id FROM source WHERE key = ?1) AND
                 (m.native_id = ?2 OR m.local_ref = ?2) LIMIT 1",
            &[source.into(), called.into()],
            |row| row.get(0),
        )
    }

    /// Mentions of a source to look at again, seen since `since`; newest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn watched(&self, source: &str, since: Time, limit: u32) -> Result<Vec<Watched>, Error> {
        let sql = format!(
            "SELECT {WATCHED} FROM mention m WHERE m.source_id = (SELECT id FROM source WHERE key = ?1) AND m.local_ref IS NOT
                 NULL AND m.deleted_at IS NULL AND m.side = 'customer' AND m.first_seen_at >= ?2 ORDER BY m.id DESC LIMIT ?3"
        );
        self.sql.all(&sql, &[source.into(), since.0.into(), limit.into()], watched_of)
    }

    /// The posts that cases of a source began with which are still open, seen since `since`; newest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn open_threads(&self, source: &str, since: Time, limit: u32) -> Result<Vec<Watched>, Error> {
        let sql = format!(
            "SELECT {WATCHED} FROM mention m WHERE m.source_id = (SELECT id FROM source WHERE key = ?1) AND m.deleted_at IS NULL
                 AND m.first_seen_at >= ?2 AND EXISTS (SELECT 1 FROM cases c WHERE c.mention_id = m.id AND c.resolved_at IS NULL)
                 ORDER BY m.id DESC LIMIT ?3"
        );
        self.sql.all(&sql, &[source.into(), since.0.into(), limit.into()], watched_of)
    }
}
