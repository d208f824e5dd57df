//! Unsent texts, kept on the server so that a closed tab loses nothing.

use super::{Error, Tx};
use crate::{case::CaseId, staff::AgentId};

impl Tx<'_> {
    /// Keeps an unsent text; refuses when `version` is not the stored one, and says which is.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn put_draft(
        &mut self,
        agent: AgentId,
        case: CaseId,
        kind: &str,
        text: &str,
        version: i64,
    ) -> Result<Result<i64, i64>, Error> {
        // By the store's own word, so that of two who write at once one is refused.
        let kept = if version == 0 {
            self.sql.execute(
                "INSERT INTO draft (agent_id, case_id, kind, text, version, changed_at) VALUES (?1, ?2, ?3, ?4, 1, ?5) ON
                 CONFLICT DO NOTHING",
                &[agent.0.into(), case.0.into(), kind.into(), text.into(), self.now.0.into()],
            )?
        } else {
            self.sql.execute(
                "UPDATE draft SET text = ?4, version = version + 1, changed_at = ?5
                 WHERE agent_id = ?1 AND case_id = ?2 AND kind = ?3 AND version = ?6",
                &[agent.0.into(), case.0.into(), kind.into(), text.into(), self.now.0.into(), version.into()],
            )?
        };
        if kept == 1 {
            return Ok(Ok(version + 1));
        }
        let stored = self.sql.optional(
            "SELECT version FROM draft WHERE agent_id = ?1 AND case_id = ?2 AND kind = ?3",
            &[agent.0.into(), case.0.into(), kind.into()],
            |row| row.get(0),
        )?;
        Ok(Err(stored.unwrap_or(0)))
    }

    /// Drops an unsent text, because it was sent.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn drop_draft(&mut self, agent: AgentId, case: CaseId, kind: &str) -> Result<(), Error> {
        self.sql.execute(
            "DELETE FROM draft WHERE agent_id = ?1 AND case_id = ?2 AND kind = ?3",
            &[agent.0.into(), case.0.into(), kind.into()],
        )?;
        Ok(())
    }
}
