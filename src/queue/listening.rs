//! What is sent to us, and what is listened for: deliveries that were taken, queries that people saved, posts that these
//! caught.

use super::{Error, Reader, Tx};
use crate::{case::BrandId, clock::Time, mention::MentionId, staff::AgentId};

/// A listening query that a person saved for an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listening {
    /// Key of the account.
    pub account: String,
    /// Its name, for people; unique within the account.
    pub name: String,
    /// What is looked for, in the query language.
    pub query: String,
    /// Who saved it.
    pub by: Option<AgentId>,
    /// When.
    pub at: Time,
}

/// Ids of deliveries that are kept, of all accounts together. An older one that is sent again is taken again, and its
/// posts are known by their own ids.
const DELIVERIES: i64 = 200_000;

/// What caught a post that nobody addressed to us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caught {
    /// The post.
    pub mention: MentionId,
    /// Whose query it was.
    pub brand: BrandId,
    /// The query's name, or the hashtag.
    pub query: String,
}

impl Reader<'_> {
    /// Which listening queries of which brands caught these posts, by post.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn catches(&self, posts: &[i64]) -> Result<Vec<Caught>, Error> {
        self.sql.all(
            "SELECT DISTINCT mention_id, brand_id, query FROM mention_match
             WHERE mention_id IN (SELECT value FROM json_each(?1)) AND addressed = 0 AND query <> ''
             ORDER BY mention_id, brand_id, query",
            &[posts.into()],
            |row| Ok(Caught { mention: MentionId(row.get(0)?), brand: BrandId(row.get(1)?), query: row.get(2)? }),
        )
    }

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

    /// The saved listening queries, by account and name.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn listening(&self) -> Result<Vec<Listening>, Error> {
        self.sql.all("SELECT account, name, query, by_agent, at FROM listening ORDER BY account, name", &[], |row| {
            Ok(Listening {
                account: row.get(0)?,
                name: row.get(1)?,
                query: row.get(2)?,
                by: row.get::<Option<i64>>(3)?.map(AgentId),
                at: Time(row.get(4)?),
            })
        })
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

    /// Saves a listening query, instead of the one of its name.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn save_listening(&mut self, account: &str, name: &str, query: &str, by: AgentId) -> Result<(), Error> {
        self.sql.execute(
            "INSERT INTO listening (account, name, query, by_agent, at) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (account, name) DO UPDATE SET query = excluded.query, by_agent = excluded.by_agent, at = excluded.at",
            &[account.into(), name.into(), query.into(), by.0.into(), self.now.0.into()],
        )?;
        Ok(())
    }

    /// Removes a listening query; false if there is none.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn drop_listening(&mut self, account: &str, name: &str) -> Result<bool, Error> {
        let gone =
            self.sql.execute("DELETE FROM listening WHERE account = ?1 AND name = ?2", &[account.into(), name.into()])?;
        Ok(gone == 1)
    }
}
