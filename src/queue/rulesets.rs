//! Published rule sets: every version that ever judged anything, so that an old case can still be explained.

use super::{Error, Reader, Tx, sql::Row};

/// A published set of rule files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// Its number, from 1.
    pub version: u32,
    /// A name for exactly these files.
    pub digest: String,
    /// Name and text of each file, in order.
    pub files: Vec<(String, String)>,
}

fn published(row: &Row<'_>) -> Result<Published, Error> {
    let files: String = row.get(2)?;
    Ok(Published {
        version: row.get(0)?,
        digest: row.get(1)?,
        files: serde_json::from_str(&files).map_err(|_| super::cases::unknown("rule set"))?,
    })
}

impl Tx<'_> {
    /// Publishes rule files as the next version; the same files as the last version keep its number.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn publish_rules(&mut self, digest: &str, files: &[(String, String)]) -> Result<u32, Error> {
        let last: Option<(u32, String)> =
            self.sql.optional("SELECT version, digest FROM ruleset ORDER BY version DESC LIMIT 1", &[], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?;
        let version = match last {
            Some((version, known)) if known == digest => return Ok(version),
            Some((version, _)) => version + 1,
            None => 1,
        };
        let json = serde_json::to_string(files).unwrap_or_default();
        self.sql.execute(
            "INSERT INTO ruleset (version, published_at, digest, files) VALUES (?1, ?2, ?3, ?4)",
            &[version.into(), self.now.0.into(), digest.into(), (&json).into()],
        )?;
        Ok(version)
    }
}

impl Reader<'_> {
    /// The version in force.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn latest_rules(&self) -> Result<Option<Published>, Error> {
        self.sql.optional("SELECT version, digest, files FROM ruleset ORDER BY version DESC LIMIT 1", &[], published)
    }

    /// The number of the version in force; 0 before the first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn newest_ruleset_version(&self) -> Result<u32, Error> {
        self.sql.one("SELECT coalesce(max(version), 0) FROM ruleset", &[], |row| row.get(0))
    }

    /// Older versions whose policies still have open clocks.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn rules_of_open_clocks(&self) -> Result<Vec<Published>, Error> {
        self.sql.all(
            "SELECT version, digest, files FROM ruleset WHERE version IN ( SELECT DISTINCT p.version FROM clock k JOIN
                 policy p ON p.id = k.policy_id WHERE k.state <= 2) ORDER BY version",
            &[],
            published,
        )
    }
}
