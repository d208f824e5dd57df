//! What the store keeps, as plain rows; and the catalog of brands, accounts and teams.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::{Error, Tx, sql::Sql};
use crate::{
    case::{AccountId, BrandId, CaseId, Priority, Status},
    clock::Time,
    mention::{ContactId, Label, MentionId},
    sla::SlaClock,
    staff::{AgentId, TeamId},
    text::LengthRule,
};

/// A brand that the desk watches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Brand {
    /// Row id.
    pub id: BrandId,
    /// Key in configuration, rules and URLs.
    pub key: String,
    /// Korean name.
    pub name_ko: String,
    /// English name.
    pub name_en: String,
}

/// A team of a brand, with its queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Team {
    /// Row id.
    pub id: TeamId,
    /// Key in configuration, rules and URLs.
    pub key: String,
    /// Whose team.
    pub brand: BrandId,
    /// Korean name.
    pub name_ko: String,
    /// English name.
    pub name_en: String,
    /// IANA zone in which its pages show times.
    pub zone: String,
}

/// An account of ours on a platform.
#[derive(Clone, Debug, PartialEq)]
pub struct Account {
    /// Row id.
    pub id: AccountId,
    /// Key in configuration, rules and URLs.
    pub key: String,
    /// Whose account.
    pub brand: BrandId,
    /// What customers type after the @.
    pub handle: String,
    /// What its connector can do.
    pub capability: Capability,
}

/// Whether and how an account can answer, as its connector told.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Capability {
    /// The connector can post replies; otherwise an agent answers on the site.
    pub reply: bool,
    /// How long a reply may be.
    pub length: Option<LengthRule>,
}

/// Brands, teams and accounts; replaced whole when the configuration changes.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    /// All brands.
    pub brands: Vec<Brand>,
    /// All teams.
    pub teams: Vec<Team>,
    /// All accounts.
    pub accounts: Vec<Account>,
    account_by_key: HashMap<String, usize>,
}

/// The catalog as the configuration wants it.
#[derive(Clone, Debug, Default)]
pub struct CatalogConfig {
    /// Key, Korean and English name.
    pub brands: Vec<(String, String, String)>,
    /// Key, brand's key, Korean and English name, zone.
    pub teams: Vec<(String, String, String, String, String)>,
    /// Key, brand's key, handle.
    pub accounts: Vec<(String, String, String)>,
}

impl Catalog {
    /// The brand with this id.
    pub fn brand(&self, id: BrandId) -> Option<&Brand> {
        self.brands.iter().find(|brand| brand.id == id)
    }

    /// The brand with this key.
    pub fn brand_by_key(&self, key: &str) -> Option<&Brand> {
        self.brands.iter().find(|brand| brand.key == key)
    }

    /// The team with this id.
    pub fn team(&self, id: TeamId) -> Option<&Team> {
        self.teams.iter().find(|team| team.id == id)
    }

    /// The team with this key.
    pub fn team_by_key(&self, key: &str) -> Option<&Team> {
        self.teams.iter().find(|team| team.key == key)
    }

    /// The account with this id.
    pub fn account(&self, id: AccountId) -> Option<&Account> {
        self.accounts.iter().find(|account| account.id == id)
    }

    /// The account with this key.
    pub fn account_by_key(&self, key: &str) -> Option<&Account> {
        self.account_by_key.get(key).and_then(|index| self.accounts.get(*index))
    }

    /// A catalog that is in no store: keys and names are right, ids are made up. For checking rules.
    pub fn sketch(wanted: &CatalogConfig) -> Catalog {
        let ids = 1_i64..;
        let brands: Vec<Brand> = ids
            .clone()
            .zip(&wanted.brands)
            .map(|(id, (key, ko, en))| Brand { id: BrandId(id), key: key.clone(), name_ko: ko.clone(), name_en: en.clone() })
            .collect();
        let teams = ids
            .zip(&wanted.teams)
            .filter_map(|(id, (key, brand, ko, en, zone))| {
                let brand = brands.iter().find(|known| known.key == *brand)?.id;
                let (key, name_ko, name_en, zone) = (key.clone(), ko.clone(), en.clone(), zone.clone());
                Some(Team { id: TeamId(id), key, brand, name_ko, name_en, zone })
            })
            .collect();
        Catalog { brands, teams, accounts: Vec::new(), account_by_key: HashMap::new() }
    }

    pub(super) fn load(sql: &Sql) -> Result<Catalog, Error> {
        let brands = sql.all("SELECT id, key, name_ko, name_en FROM brand ORDER BY id", &[], |row| {
            Ok(Brand { id: BrandId(row.get(0)?), key: row.get(1)?, name_ko: row.get(2)?, name_en: row.get(3)? })
        })?;
        let teams = sql.all("SELECT id, key, brand_id, name_ko, name_en, zone FROM team ORDER BY id", &[], |row| {
            Ok(Team {
                id: TeamId(row.get(0)?),
                key: row.get(1)?,
                brand: BrandId(row.get(2)?),
                name_ko: row.get(3)?,
                name_en: row.get(4)?,
                zone: row.get(5)?,
            })
        })?;
        let accounts = sql.all("SELECT id, key, brand_id, handle, reply, length FROM account ORDER BY id", &[], |row| {
            let length: Option<&str> = row.get(5)?;
            Ok(Account {
                id: AccountId(row.get(0)?),
                key: row.get(1)?,
                brand: BrandId(row.get(2)?),
                handle: row.get(3)?,
                capability: Capability {
                    reply: row.get::<&str>(4)? == "reply",
                    length: length.and_then(|json| serde_json::from_str(json).ok()),
                },
            })
        })?;
        let account_by_key = accounts.iter().enumerate().map(|(index, account)| (account.key.clone(), index)).collect();
        Ok(Catalog { brands, teams, accounts, account_by_key })
    }
}

impl Tx<'_> {
    pub(super) fn sync_catalog(&mut self, wanted: &CatalogConfig) -> Result<(), Error> {
        for (key, ko, en) in &wanted.brands {
            self.sql.execute(
                "INSERT INTO brand (key, name_ko, name_en) VALUES (?1, ?2, ?3)
                 ON CONFLICT (key) DO UPDATE SET name_ko = excluded.name_ko, name_en = excluded.name_en",
                &[key.into(), ko.into(), en.into()],
            )?;
        }
        for (key, brand, ko, en, zone) in &wanted.teams {
            self.sql.execute(
                "INSERT INTO team (brand_id, key, name_ko, name_en, zone) SELECT id, ?1, ?3, ?4, ?5 FROM brand WHERE key = ?2
                 ON CONFLICT (key) DO UPDATE SET brand_id = excluded.brand_id, name_ko = excluded.name_ko, name_en =
                 excluded.name_en, zone = excluded.zone",
                &[key.into(), brand.into(), ko.into(), en.into(), zone.into()],
            )?;
        }
        for (key, brand, handle) in &wanted.accounts {
            self.sql.execute(
                "INSERT INTO account (brand_id, key, handle) SELECT id, ?1, ?3 FROM brand WHERE key = ?2
                 ON CONFLICT (key) DO UPDATE SET brand_id = excluded.brand_id, handle = excluded.handle",
                &[key.into(), brand.into(), handle.into()],
            )?;
        }
        Ok(())
    }

    /// Keeps what an account's connector says it can do.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn set_capability(&mut self, account: &str, capability: &Capability) -> Result<(), Error> {
        let length = capability.length.as_ref().and_then(|rule| serde_json::to_string(rule).ok());
        self.sql.execute(
            "UPDATE account SET reply = ?2, length = ?3 WHERE key = ?1",
            &[account.into(), (if capability.reply { "reply" } else { "link_only" }).into(), (&length).into()],
        )?;
        Ok(())
    }
}

/// A case as the desk works on it; `clocks` are its open ones and the last cycle of each kind.
#[derive(Clone, Debug)]
pub struct Case {
    /// Its number.
    pub id: CaseId,
    /// Whose customer it is.
    pub brand: BrandId,
    /// The account that was addressed, and answers.
    pub account: AccountId,
    /// The customer.
    pub contact: ContactId,
    /// The thread.
    pub conversation: i64,
    /// The mention that opened it.
    pub mention: MentionId,
    /// The customer's newest mention; replies answer this one.
    pub latest_mention: MentionId,
    /// How many of the customer's mentions it holds.
    pub mentions: u32,
    /// Where it stands.
    pub status: Status,
    /// How much it presses.
    pub priority: Priority,
    /// Whose queue it is in.
    pub team: TeamId,
    /// Who has claimed it.
    pub assignee: Option<AgentId>,
    /// Its label; a person's word, once there is one.
    pub label: Label,
    /// The classifier's confidence.
    pub confidence: f32,
    /// The classifier abstained and no person has sorted it yet.
    pub unsure: bool,
    /// Who set the label, if a person did.
    pub labelled_by: Option<AgentId>,
    /// The dispatch rule that sent it here.
    pub rule: String,
    /// Version of the rules that judged it.
    pub rules: u32,
    /// When it was opened here.
    pub opened_at: Time,
    /// When it was resolved.
    pub resolved_at: Option<Time>,
    /// How it ended.
    pub disposition: Option<String>,
    /// Hand-overs so far.
    pub transfers: u32,
    /// Since when the customer has waited for our next word; none when we spoke last.
    pub unanswered_since: Option<Time>,
    /// Signature of its first text, for look-alikes.
    pub signature: u64,
    /// Notes so far.
    pub notes: u32,
    /// The policy its next clock follows.
    pub policy: crate::sla::PolicyRef,
    /// Its clocks, ordered by kind and cycle.
    pub clocks: Vec<SlaClock>,
}

impl Case {
    /// The open clock of one kind.
    pub fn open_clock(&self, kind: crate::sla::Kind) -> Option<&SlaClock> {
        self.clocks.iter().find(|clock| clock.kind == kind && clock.state.open())
    }

    /// The open clock that runs out first; what the queue orders by.
    pub fn nearest_clock(&self) -> Option<&SlaClock> {
        self.clocks.iter().filter(|clock| clock.state.open()).min_by_key(|clock| clock.deadline_at)
    }
}
