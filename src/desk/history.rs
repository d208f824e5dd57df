//! Newer rules judge what is stored already.

use super::{Desk, Error};
use crate::{
    case::{Actor, EventKind},
    mention::{MentionId, Verdict},
    queue::Urgency,
};

impl Desk {
    /// Writes what rules of version `rules` say of these mentions, and relabels the unfinished cases they
    /// opened unless a person has set the label. Nothing moves to another team, no clock changes. Returns how
    /// many were written.
    ///
    /// # Errors
    /// The store's; nothing is written then.
    pub async fn rejudge(&self, verdicts: Vec<(MentionId, Verdict)>, rules: u32) -> Result<usize, Error> {
        self.transact(Urgency::Batch, move |ledger| {
            let mut written = 0;
            for (mention, verdict) in &verdicts {
                if !ledger.tx.rejudge(*mention, verdict, rules)? {
                    continue;
                }
                written += 1;
                let cases = ledger.tx.cases_of_mention(*mention)?;
                for id in &cases {
                    ledger.relabel(*id, *mention, verdict)?;
                    ledger.mention_event(Some(*id), *mention, Actor::System, EventKind::Rejudged);
                }
                if cases.is_empty() {
                    ledger.mention_event(None, *mention, Actor::System, EventKind::Rejudged);
                }
            }
            Ok(written)
        })
        .await
    }
}
