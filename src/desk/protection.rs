//! What protects people: looking at abuse is asked for and counted, and a break gives everything back.

use jiff::tz::TimeZone;

use super::{Count, Desk, Error};
use crate::{
    case::{Actor, CaseId, EventKind},
    clock::Time,
    mention::MentionId,
    queue::{Catalog, Urgency},
    staff::{Action, Viewer},
};

/// The zone in which somebody's pages show times: that of their first team.
pub fn zone_of(viewer: &Viewer, catalog: &Catalog) -> TimeZone {
    let team = viewer.teams.first().and_then(|(team, _)| catalog.team(*team));
    team.and_then(|team| TimeZone::get(&team.zone).ok()).unwrap_or(TimeZone::UTC)
}

/// The day that it is for somebody, in their zone: "2026-11-20".
pub fn day_of(viewer: &Viewer, catalog: &Catalog, now: Time) -> String {
    now.timestamp().to_zoned(zone_of(viewer, catalog)).date().to_string()
}

impl Desk {
    /// Whether abuse is masked until somebody asks for it.
    pub fn masks_abuse(&self) -> bool {
        self.config.mask_abuse
    }

    /// So many abusive posts a day, and a person is offered a pause; 0 never.
    pub fn exposure_limit(&self) -> u32 {
        self.config.exposure_limit
    }

    /// Somebody looks at the text of an abusive post of a case: the case's log says who, and it counts as one
    /// exposure of theirs today, however often they look.
    ///
    /// # Errors
    /// [`Error::Unknown`] when the case has no such post, or none that is masked.
    pub async fn reveal(&self, viewer: &Viewer, id: CaseId, post: MentionId) -> Result<(), Error> {
        let view = self.look(viewer, id).await?;
        let masked = |text: &crate::text::PostText| text.seen(self.masks_abuse()).is_err();
        if !view.thread.iter().any(|one| one.id == post && one.deleted_at.is_none() && masked(&one.text)) {
            return Err(Error::Unknown { what: "masked post", name: post.0.to_string() });
        }
        let who = viewer.clone();
        self.command(viewer, Action::Read, id, move |ledger, case| {
            let day = day_of(&who, &ledger.tx.catalog(), ledger.now());
            if ledger.tx.expose(who.id, &day, post, case.id)? {
                ledger.tally.push(Count::Exposed);
            }
            ledger.mention_event(Some(case.id), post, Actor::Agent(who.id), EventKind::Revealed);
            Ok(())
        })
        .await
    }

    /// Somebody takes a break: every case of theirs goes back to its queue with its clocks as they are. It is no
    /// hand-over, and nobody asks why. Returns how many went back.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn take_break(&self, viewer: &Viewer) -> Result<usize, Error> {
        let agent = viewer.id;
        self.transact(Urgency::Person, move |ledger| {
            let held = ledger.tx.held_by(agent)?;
            for id in &held {
                let Some(mut case) = ledger.tx.load_case(*id)?.filter(|case| case.assignee == Some(agent)) else { continue };
                ledger.settle(&mut case);
                ledger.put_back(&mut case, agent, EventKind::Break);
                ledger.tx.save_case(&case)?;
            }
            ledger.tally.push(Count::Break);
            Ok(held.len())
        })
        .await
    }
}
