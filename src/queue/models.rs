//! The models that judge beside the rules: held here by version, so that all nodes use the same one and
//! going back is one word.

use super::{Error, Reader, Tx, sql::Row};
use crate::clock::Time;

/// What a model does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ModelRole {
    /// Its word counts.
    Judge,
    /// It is asked beside, and only counted.
    Shadow,
}

impl ModelRole {
    /// The word for it on the command line and in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            ModelRole::Judge => "judge",
            ModelRole::Shadow => "shadow",
        }
    }
}

/// A model of the store, without its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredModel {
    /// Its number, from 1.
    pub version: u32,
    /// When it came.
    pub added_at: Time,
    /// A name for exactly these bytes.
    pub digest: String,
    /// It came with the program.
    pub built_in: bool,
    /// What it was trained on and how well it does, as JSON.
    pub card: String,
    /// When it last began to judge, if it ever did.
    pub judged_at: Option<Time>,
}

/// Which models are in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ModelsInUse {
    /// Grows with every choice: who knows this one knows them all.
    pub choice: i64,
    /// Whose word counts; none without a model.
    pub judge: Option<u32>,
    /// Who is asked beside.
    pub shadow: Option<u32>,
}

fn model_of(row: &Row<'_>) -> Result<StoredModel, Error> {
    Ok(StoredModel {
        version: row.get(0)?,
        added_at: Time(row.get(1)?),
        digest: row.get(2)?,
        built_in: row.get(3)?,
        card: row.get(4)?,
        judged_at: row.get::<Option<i64>>(5)?.map(Time),
    })
}

impl Tx<'_> {
    /// Adds a model, `built_in` if it came with the program; the same bytes keep their number.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn add_model(&mut self, digest: &str, built_in: bool, card: &str, bytes: &[u8]) -> Result<u32, Error> {
        let known = "SELECT version FROM model WHERE digest = ?1";
        if let Some(version) = self.sql.optional(known, &[digest.into()], |row| row.get(0))? {
            return Ok(version);
        }
        let version: u32 = self.sql.one("SELECT coalesce(max(version), 0) + 1 FROM model", &[], |row| row.get(0))?;
        self.sql.execute(
            "INSERT INTO model (version, added_at, digest, built_in, card, bytes) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            &[version.into(), self.now.0.into(), digest.into(), built_in.into(), card.into(), bytes.into()],
        )?;
        Ok(version)
    }

    /// From now on this version does that; without one nobody does.
    ///
    /// # Errors
    /// When the store cannot be written, or has no such version.
    pub fn choose_model(&mut self, role: ModelRole, version: Option<u32>) -> Result<(), Error> {
        self.sql.execute(
            "INSERT INTO model_choice (at, role, version) VALUES (?1, ?2, ?3)",
            &[self.now.0.into(), role.as_str().into(), version.into()],
        )?;
        Ok(())
    }
}

impl Reader<'_> {
    /// All models, newest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn models(&self) -> Result<Vec<StoredModel>, Error> {
        let sql = "SELECT version, added_at, digest, built_in, card,
             (SELECT max(at) FROM model_choice c WHERE c.version = m.version AND c.role = 'judge')
             FROM model m ORDER BY version DESC";
        self.sql.all(sql, &[], model_of)
    }

    /// The bytes of a model.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn model_bytes(&self, version: u32) -> Result<Option<Vec<u8>>, Error> {
        self.sql.optional("SELECT bytes FROM model WHERE version = ?1", &[version.into()], |row| row.get(0))
    }

    /// Which models are in use now.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn models_in_use(&self) -> Result<ModelsInUse, Error> {
        let chosen = |role: ModelRole| {
            let sql = "SELECT version FROM model_choice WHERE role = ?1 ORDER BY id DESC LIMIT 1";
            Ok::<_, Error>(self.sql.optional(sql, &[role.as_str().into()], |row| row.get::<Option<u32>>(0))?.flatten())
        };
        let choice = self.sql.one("SELECT coalesce(max(id), 0) FROM model_choice", &[], |row| row.get(0))?;
        Ok(ModelsInUse { choice, judge: chosen(ModelRole::Judge)?, shadow: chosen(ModelRole::Shadow)? })
    }

    /// The models that judged before the present one, the latest first; none where there was no model.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn former_judges(&self) -> Result<Vec<Option<u32>>, Error> {
        let sql = "SELECT version FROM model_choice WHERE role = 'judge' ORDER BY id DESC LIMIT 100";
        let chosen: Vec<Option<u32>> = self.sql.all(sql, &[], |row| row.get(0))?;
        let Some((present, former)) = chosen.split_first() else { return Ok(Vec::new()) };
        Ok(former.iter().copied().filter(|version| version != present).collect())
    }
}
