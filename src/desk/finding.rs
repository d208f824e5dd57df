//! What people keep of their searches, and what they take out: saved searches, alerts seen, exports.

use super::{Desk, Error};
use crate::{
    case::CaseId,
    mention::MentionId,
    queue::{AlertRule, SavedSearch, Urgency},
    staff::{Action, TeamId, Viewer, authorize},
};

/// Longest name of a saved search, in characters.
const NAME: usize = 80;
/// Longest reason of an export, in characters.
const REASON: usize = 500;
/// Searches that one person may keep.
const KEPT: usize = 100;

/// A search to keep.
#[derive(Clone, Debug)]
pub struct NewSearch {
    /// What it is called.
    pub name: String,
    /// In the language of the search page, checked.
    pub query: String,
    /// The team that shares it.
    pub team: Option<TeamId>,
    /// When it tells.
    pub alert: Option<AlertRule>,
}

/// A text that must be there and must not be endless.
fn text(text: &str, most: usize) -> Result<String, Error> {
    let text = text.trim();
    match text.chars().count() {
        0 => Err(Error::Empty),
        count if count > most => Err(Error::TooLong { over: count - most }),
        _ => Ok(text.to_owned()),
    }
}

impl Desk {
    /// Keeps a search.
    ///
    /// # Errors
    /// [`Error::Empty`] and [`Error::TooLong`] of its name, [`Error::Denied`] for a team that is not theirs,
    /// [`Error::TooLate`] when they keep a hundred already; else the store's.
    pub async fn save_search(&self, viewer: &Viewer, new: NewSearch) -> Result<i64, Error> {
        let (name, query) = (text(&new.name, NAME)?, text(&new.query, crate::query::MAX_CHARS)?);
        if let Some(team) = new.team {
            authorize(viewer, Action::Read, team)?;
        }
        let agent = viewer.id;
        let mine = self.store().read(move |reader| reader.saved_searches(agent, &[])).await?;
        if mine.len() >= KEPT {
            return Err(Error::TooLate("a hundred searches are kept already"));
        }
        let search =
            SavedSearch { id: 0, agent, team: new.team, name, query, alert: new.alert, told_until: crate::clock::Time(0) };
        self.transact(Urgency::Person, move |ledger| Ok(ledger.tx.save_search(&search)?)).await
    }

    /// Forgets a search of theirs; false when there is none.
    ///
    /// # Errors
    /// The store's.
    pub async fn drop_search(&self, viewer: &Viewer, id: i64) -> Result<bool, Error> {
        let agent = viewer.id;
        self.transact(Urgency::Person, move |ledger| Ok(ledger.tx.drop_search(id, agent)?)).await
    }

    /// They have seen the alerts up to this one.
    ///
    /// # Errors
    /// The store's.
    pub async fn see_alerts(&self, viewer: &Viewer, alert: i64) -> Result<(), Error> {
        let agent = viewer.id;
        self.transact(Urgency::Person, move |ledger| Ok(ledger.tx.see_alerts(agent, alert)?)).await
    }

    /// Begins an export of posts that a search found for them; who and why stay on record.
    ///
    /// # Errors
    /// [`Error::Empty`] and [`Error::TooLong`] of the reason; else the store's.
    pub async fn begin_export(
        &self,
        viewer: &Viewer,
        query: &str,
        reason: &str,
        posts: Vec<(MentionId, Option<CaseId>)>,
    ) -> Result<i64, Error> {
        let (agent, query, reason) = (viewer.id, query.to_owned(), text(reason, REASON)?);
        let count = posts.len();
        let begin = move |ledger: &mut super::Ledger<'_, '_>| Ok(ledger.tx.begin_export(agent, &query, &reason, &posts)?);
        let id = self.transact(Urgency::Person, begin).await?;
        tracing::info!(export.id = id, agent = viewer.initials, posts = count, "an export begins");
        Ok(id)
    }

    /// Stops an export of theirs; false when it has ended or is not theirs.
    ///
    /// # Errors
    /// The store's.
    pub async fn cancel_export(&self, viewer: &Viewer, id: i64) -> Result<bool, Error> {
        let agent = viewer.id;
        self.transact(Urgency::Person, move |ledger| Ok(ledger.tx.cancel_export(id, agent)?)).await
    }

    /// An export leaves the desk.
    ///
    /// # Errors
    /// The store's.
    pub async fn count_download(&self, viewer: &Viewer, id: i64) -> Result<(), Error> {
        self.transact(Urgency::Person, move |ledger| Ok(ledger.tx.count_download(id)?)).await?;
        tracing::info!(export.id = id, agent = viewer.initials, "an export was downloaded");
        Ok(())
    }
}
