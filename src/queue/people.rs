//! People, their teams, their sessions and one-time links.

use super::{Error, Reader, Tx};
use crate::{
    clock::Time,
    staff::{AgentId, Role, TeamId, Viewer},
};

/// A person as an operator enters them.
#[derive(Clone, Debug)]
pub struct NewAgent {
    /// Name as colleagues see it.
    pub name: String,
    /// For signing in.
    pub email: String,
    /// Two to four letters that sign replies.
    pub initials: String,
    /// Argon2id hash; none for one who signs in by a link only.
    pub password_hash: Option<String>,
    /// What they are in each of their teams.
    pub teams: Vec<(TeamId, Role)>,
}

/// What sign-in needs to know of a person.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// Who.
    pub agent: AgentId,
    /// Argon2id hash, if they have a password.
    pub password_hash: Option<String>,
}

/// A person who is signed in.
#[derive(Clone, Debug)]
pub struct Session {
    /// Who, with their teams.
    pub viewer: Viewer,
    /// Their own choice of language, if they made one.
    pub locale: Option<String>,
}

impl Tx<'_> {
    /// Adds a person, or changes the one with this e-mail.
    ///
    /// # Errors
    /// When the store cannot be written, or somebody else has the initials.
    pub fn put_agent(&mut self, agent: &NewAgent) -> Result<AgentId, Error> {
        let id: i64 = self.sql.one(
            "INSERT INTO agent (email, name, initials, password_hash) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (email) DO UPDATE SET name = excluded.name, initials = excluded.initials,
             password_hash = coalesce(excluded.password_hash, agent.password_hash), disabled_at = NULL RETURNING id",
            &[
                (&agent.email.to_lowercase()).into(),
                (&agent.name).into(),
                (&agent.initials).into(),
                (&agent.password_hash).into(),
            ],
            |row| row.get(0),
        )?;
        self.sql.execute("DELETE FROM membership WHERE agent_id = ?1", &[id.into()])?;
        for (team, role) in &agent.teams {
            self.sql.execute(
                "INSERT INTO membership (agent_id, team_id, role) VALUES (?1, ?2, ?3)",
                &[id.into(), team.0.into(), role.as_str().into()],
            )?;
        }
        Ok(AgentId(id))
    }

    /// Starts a session; the token itself is never stored.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn start_session(&mut self, token_hash: &[u8], agent: AgentId, expires_at: Time) -> Result<(), Error> {
        self.sql.execute("DELETE FROM session WHERE expires_at <= ?1", &[self.now.0.into()])?;
        self.sql.execute(
            "INSERT INTO session (token_hash, agent_id, created_at, expires_at) VALUES (?1, ?2, ?3, ?4)",
            &[token_hash.into(), agent.0.into(), self.now.0.into(), expires_at.0.into()],
        )?;
        Ok(())
    }

    /// Ends a session.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn end_session(&mut self, token_hash: &[u8]) -> Result<(), Error> {
        self.sql.execute("DELETE FROM session WHERE token_hash = ?1", &[token_hash.into()])?;
        Ok(())
    }

    /// Keeps a person's choice of language.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn set_locale(&mut self, agent: AgentId, locale: &str) -> Result<(), Error> {
        self.sql.execute("UPDATE agent SET locale = ?2 WHERE id = ?1", &[agent.0.into(), locale.into()])?;
        Ok(())
    }

    /// Makes a one-time link for a person.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn put_link(&mut self, token_hash: &[u8], agent: AgentId, expires_at: Time) -> Result<(), Error> {
        self.sql.execute(
            "INSERT INTO sign_in_link (token_hash, agent_id, expires_at) VALUES (?1, ?2, ?3)",
            &[token_hash.into(), agent.0.into(), expires_at.0.into()],
        )?;
        Ok(())
    }

    /// Uses a one-time link up; none when it is unknown, used or too old.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn use_link(&mut self, token_hash: &[u8]) -> Result<Option<AgentId>, Error> {
        self.sql.optional(
            "UPDATE sign_in_link SET used_at = ?2 WHERE token_hash = ?1 AND used_at IS NULL AND expires_at > ?2 RETURNING agent_id",
            &[token_hash.into(), self.now.0.into()],
            |row| Ok(AgentId(row.get(0)?)),
        )
    }
}

impl Tx<'_> {
    /// The initials of a person.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn initials_of(&self, agent: AgentId) -> Result<Option<String>, Error> {
        self.sql.optional("SELECT initials FROM agent WHERE id = ?1", &[agent.0.into()], |row| row.get(0))
    }
}

impl Reader<'_> {
    /// What sign-in needs; none for an unknown or disabled e-mail.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn credentials(&self, email: &str) -> Result<Option<Credentials>, Error> {
        self.sql.optional(
            "SELECT id, password_hash FROM agent WHERE email = ?1 AND disabled_at IS NULL",
            &[(&email.to_lowercase()).into()],
            |row| Ok(Credentials { agent: AgentId(row.get(0)?), password_hash: row.get(1)? }),
        )
    }

    /// The session with this token, if it still runs at `now` and its person is not disabled.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn session(&self, token_hash: &[u8], now: Time) -> Result<Option<Session>, Error> {
        let found: Option<i64> = self.sql.optional(
            "SELECT agent_id FROM session WHERE token_hash = ?1 AND expires_at > ?2",
            &[token_hash.into(), now.0.into()],
            |row| row.get(0),
        )?;
        let Some(agent) = found else {
            return Ok(None);
        };
        let locale = self.sql.optional("SELECT locale FROM agent WHERE id = ?1", &[agent.into()], |row| row.get(0))?.flatten();
        Ok(self.viewer(AgentId(agent))?.map(|viewer| Session { viewer, locale }))
    }

    /// A person with their teams; none when unknown or disabled.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn viewer(&self, agent: AgentId) -> Result<Option<Viewer>, Error> {
        let found: Option<(String, String)> = self.sql.optional(
            "SELECT initials, name FROM agent WHERE id = ?1 AND disabled_at IS NULL",
            &[agent.0.into()],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        let Some((initials, name)) = found else {
            return Ok(None);
        };
        let teams = self.sql.all("SELECT team_id, role FROM membership WHERE agent_id = ?1", &[agent.0.into()], |row| {
            Ok((TeamId(row.get(0)?), row.get::<String>(1)?))
        })?;
        let teams = teams.into_iter().filter_map(|(team, role)| Some((team, Role::parse(&role)?))).collect();
        Ok(Some(Viewer { id: agent, initials, name, teams }))
    }

    /// The person with these initials.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn agent_by_initials(&self, initials: &str) -> Result<Option<AgentId>, Error> {
        self.sql.optional("SELECT id FROM agent WHERE initials = ?1 AND disabled_at IS NULL", &[initials.into()], |row| {
            Ok(AgentId(row.get(0)?))
        })
    }

    /// People who may work in a team: id, initials, name.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn colleagues(&self, team: TeamId) -> Result<Vec<(AgentId, String, String)>, Error> {
        self.sql.all(
            "SELECT a.id, a.initials, a.name FROM membership m JOIN agent a ON a.id = m.agent_id
             WHERE m.team_id = ?1 AND m.role IN ('agent', 'lead', 'manager') AND a.disabled_at IS NULL ORDER BY a.initials",
            &[team.0.into()],
            |row| Ok((AgentId(row.get(0)?), row.get(1)?, row.get(2)?)),
        )
    }
}
