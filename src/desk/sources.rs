//! What people ask of the sources: to rest, to go on, to be looked at now, to listen for something.
//!
//! It is written into the store, where the connectors of whichever node read it.

use std::collections::{BTreeMap, BTreeSet};

use super::{Desk, Error};
use crate::{
    case::BrandId,
    clock::Time,
    query::{Field, Node, Query},
    queue::{Catalog, Listening, Urgency},
    staff::{Action, Role, Viewer, authorize},
};

/// Under this name an account keeps how its streams fare.
pub const STATUS: &str = "status";
/// Under this name an account keeps how what is sent to it fares: that may come to any node.
pub const SENT: &str = "sent";
/// Under this name an account keeps what the configuration has it listen for.
pub const LISTEN: &str = "listen";
/// Under this name an account keeps by whom it was paused; nothing is nobody.
pub const PAUSE: &str = "pause";
/// Under this name an account keeps when somebody last asked for a look now.
pub const TEST: &str = "test";
/// Longest name of a listening query, in characters.
const NAME_CHARS: usize = 60;

/// What people want of the sources.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wishes {
    /// Accounts that shall rest.
    pub paused: BTreeSet<String>,
    /// When accounts were asked for a look now.
    pub tests: BTreeMap<String, Time>,
    /// What is listened for besides the configuration.
    pub listening: Vec<Listening>,
}

/// Whether somebody may do that in some team of a brand.
pub fn may_in_brand(catalog: &Catalog, viewer: &Viewer, action: Action, brand: BrandId) -> bool {
    catalog.teams.iter().any(|team| team.brand == brand && authorize(viewer, action, team.id).is_ok())
}

impl Desk {
    /// What people want of the sources now.
    ///
    /// # Errors
    /// The store's.
    pub async fn wishes(&self) -> Result<Wishes, Error> {
        self.store
            .read(|reader| {
                let paused = reader.source_states(PAUSE)?.into_iter().filter(|(_, by, _)| !by.is_empty());
                Ok(Wishes {
                    paused: paused.map(|(account, ..)| account).collect(),
                    tests: reader.source_states(TEST)?.into_iter().map(|(account, _, at)| (account, at)).collect(),
                    listening: reader.listening()?,
                })
            })
            .await
    }

    /// Whether somebody may see and steer an account: a manager or operator of its brand.
    ///
    /// # Errors
    /// [`Error::Unknown`] for an account that is not there or whose brand is not theirs.
    pub fn may_listen(&self, viewer: &Viewer, account: &str) -> Result<(), Error> {
        let catalog = self.store.catalog();
        let unknown = || Error::Unknown { what: "account", name: account.to_owned() };
        let brand = catalog.account_by_key(account).ok_or_else(unknown)?.brand;
        if may_in_brand(&catalog, viewer, Action::Listen, brand) {
            return Ok(());
        }
        match may_in_brand(&catalog, viewer, Action::Read, brand) {
            true => Err(crate::staff::Denied { needs: Role::Manager }.into()),
            false => Err(unknown()),
        }
    }

    /// Lets an account rest, or go on. What was sent meanwhile is read then, as far as the platform still has it.
    ///
    /// # Errors
    /// A role that may not, or the store's.
    pub async fn pause_source(&self, viewer: &Viewer, account: &str, paused: bool) -> Result<(), Error> {
        self.may_listen(viewer, account)?;
        self.save_source_state(account, PAUSE, if paused { &viewer.initials } else { "" }).await
    }

    /// Asks an account to look at once.
    ///
    /// # Errors
    /// A role that may not, or the store's.
    pub async fn test_source(&self, viewer: &Viewer, account: &str) -> Result<(), Error> {
        self.may_listen(viewer, account)?;
        self.save_source_state(account, TEST, &self.clock.now().0.to_string()).await
    }

    /// Saves what an account listens for, instead of the query of that name.
    ///
    /// # Errors
    /// [`Error::Empty`] without a name or words, [`Error::Unknown`] for what cannot be listened for; a role that
    /// may not, or the store's.
    pub async fn save_listening(&self, viewer: &Viewer, account: &str, name: &str, query: &str) -> Result<(), Error> {
        self.may_listen(viewer, account)?;
        let name: String = name.trim().chars().take(NAME_CHARS).collect();
        let parsed: Query =
            query.parse().map_err(|error: crate::query::Error| Error::Unknown { what: "query", name: error.to_string() })?;
        if name.is_empty() || parsed.root.is_none() {
            return Err(Error::Empty);
        }
        if let Some(field) = cannot_be_heard(&parsed) {
            return Err(Error::Unknown { what: "listening field", name: field.to_owned() });
        }
        let (account, query, by) = (account.to_owned(), query.trim().to_owned(), viewer.id);
        self.transact(Urgency::Person, move |ledger| Ok(ledger.tx.save_listening(&account, &name, &query, by)?)).await
    }

    /// Listens for that no more.
    ///
    /// # Errors
    /// A role that may not, or the store's.
    pub async fn drop_listening(&self, viewer: &Viewer, account: &str, name: &str) -> Result<(), Error> {
        self.may_listen(viewer, account)?;
        let (account, name) = (account.to_owned(), name.to_owned());
        self.transact(Urgency::Person, move |ledger| Ok(ledger.tx.drop_listening(&account, &name)?)).await.map(|_| ())
    }
}

/// The first condition on something that a post does not have when it is found: only words, language and author
/// are there then.
pub fn cannot_be_heard(query: &Query) -> Option<&'static str> {
    fn of(node: &Node) -> Option<&'static str> {
        match node {
            Node::All(nodes) | Node::Any(nodes) => nodes.iter().find_map(of),
            Node::Not(node) => of(node),
            Node::Word(_) | Node::Prefix(_) | Node::Phrase(_) | Node::Near { .. } => None,
            Node::Field(field) => match field {
                Field::Lang(_) | Field::Author(_) => None,
                Field::Label(_) => Some("label:"),
                Field::Team(_) => Some("team:"),
                Field::Platform(_) => Some("platform:"),
                Field::Account(_) => Some("account:"),
                Field::Agent(_) => Some("agent:"),
                Field::Status(_) => Some("status:"),
                Field::Sla(_) => Some("sla:"),
                Field::Has(_) => Some("has:"),
                Field::Reach(..) => Some("reach:"),
                Field::Posted(..) => Some("posted:"),
                Field::Answered(..) => Some("answered:"),
                Field::Incident(_) => Some("incident:"),
                Field::Disposition(_) => Some("disposition:"),
            },
        }
    }
    query.root.as_ref().and_then(of)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_post_has_when_it_is_found_can_be_listened_for() {
        for (query, field) in [
            ("솔방울 -나무 \"배송 지연\" lang:ko author:minji", None),
            ("(환불 OR 교환) 솔방울*", None),
            ("솔방울 -(label:abuse OR 나무)", Some("label:")),
            ("솔방울 posted:2026-11-01..", Some("posted:")),
        ] {
            assert_eq!(cannot_be_heard(&query.parse().unwrap()), field, "{query}");
        }
    }
}
