//! Leases: who does what only one node should do. They spare work; for what is right nothing relies on them.

use std::time::Duration;

use super::{Error, Tx};

impl Tx<'_> {
    /// Takes a lease, or keeps it, for `ttl` from now; false while somebody else holds it. Time is the
    /// database's where several nodes share one, so that their clocks need not agree.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn take_lease(&mut self, name: &str, holder: &str, ttl: Duration) -> Result<bool, Error> {
        let ttl = i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX);
        let taken = self.sql.execute(
            self.sql.pick(
                "INSERT INTO lease (name, holder, expires_at) VALUES (?1, ?2, ?4 + ?3)
                 ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, expires_at = excluded.expires_at
                 WHERE lease.holder = excluded.holder OR lease.expires_at <= ?4",
                "INSERT INTO lease (name, holder, expires_at)
                 VALUES (?1, ?2, (extract(epoch FROM clock_timestamp()) * 1000)::bigint + ?3)
                 ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, expires_at = excluded.expires_at
                 WHERE lease.holder = excluded.holder OR lease.expires_at <= (extract(epoch FROM clock_timestamp()) * 1000)::bigint",
            ),
            &[name.into(), holder.into(), ttl.into(), self.now.0.into()],
        )?;
        Ok(taken == 1)
    }

    /// Gives a lease up, if it is `holder`'s.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn drop_lease(&mut self, name: &str, holder: &str) -> Result<(), Error> {
        self.sql.execute("DELETE FROM lease WHERE name = ?1 AND holder = ?2", &[name.into(), holder.into()])?;
        Ok(())
    }
}
