//! What protects the people who read: which posts are abuse, and who has read how many of them.

use super::{
    Error, Reader, Tx,
    sql::{Row, Value},
};
use crate::{
    case::CaseId,
    mention::{Label, MentionId, Reason},
    staff::AgentId,
    text::{PostText, Veil},
};

/// SQL: nothing, where the mention `m` may be shown as it is; else what the classifier called it, and why.
///
/// Abuse is what the classifier surely called so, unless a person sorted the case that it opened otherwise; and
/// every post of a case that a person called abuse. Our own words never are.
pub(super) const VEIL: &str = "CASE WHEN m.side <> 'ours' AND (
     EXISTS (SELECT 1 FROM cases vc WHERE vc.mention_id = m.id AND vc.labelled_by IS NOT NULL AND vc.label = 'abuse')
     OR EXISTS (SELECT 1 FROM case_mention vm JOIN cases vc ON vc.id = vm.case_id WHERE vm.mention_id = m.id
         AND vc.labelled_by IS NOT NULL AND vc.label = 'abuse')
     OR (m.label = 'abuse' AND m.unsure = 0 AND NOT EXISTS (SELECT 1 FROM cases vc WHERE vc.mention_id = m.id
         AND vc.labelled_by IS NOT NULL AND vc.label <> 'abuse')))
     THEN m.label || coalesce((SELECT vj.reasons FROM judgement vj WHERE vj.mention_id = m.id), '[]') END";

/// The text in one column, with what [`VEIL`] says in another.
pub(super) fn post_text(row: &Row<'_>, text: usize, veil: usize) -> Result<PostText, Error> {
    let whole: String = row.get(text)?;
    let Some(veil) = row.get::<Option<&str>>(veil)? else { return Ok(PostText::new(whole, Veil::Open)) };
    let (label, reasons) = veil.split_at(veil.find('[').unwrap_or(veil.len()));
    let reasons: Vec<Reason> = serde_json::from_str(reasons).unwrap_or_default();
    Ok(PostText::new(whole, Veil::of_abuse(Label::parse(label).unwrap_or(Label::Abuse), &reasons)))
}

impl Tx<'_> {
    /// Keeps that somebody read an abusive post on a day ("2026-11-20"); false when they had read it that day.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn expose(&mut self, agent: AgentId, day: &str, mention: MentionId, case: CaseId) -> Result<bool, Error> {
        let written = self.sql.execute(
            "INSERT INTO exposure (agent_id, day, mention_id, case_id, at) VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO NOTHING",
            &[agent.0.into(), day.into(), mention.0.into(), case.0.into(), self.now.0.into()],
        )?;
        Ok(written == 1)
    }

    /// The unfinished cases that somebody has.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn held_by(&self, agent: AgentId) -> Result<Vec<CaseId>, Error> {
        let sql = "SELECT id FROM cases WHERE finished = 0 AND assignee_id = ?1 ORDER BY id";
        self.sql.all(sql, &[agent.0.into()], |row| Ok(CaseId(row.get(0)?)))
    }
}

impl Reader<'_> {
    /// How many abusive posts somebody has read on a day ("2026-11-20").
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn exposures(&self, agent: AgentId, day: &str) -> Result<u32, Error> {
        let sql = "SELECT count(*) FROM exposure WHERE agent_id = ?1 AND day = ?2";
        let count = self.sql.one(sql, &[agent.0.into(), Value::Text(day)], |row| row.get::<i64>(0))?;
        Ok(u32::try_from(count).unwrap_or(u32::MAX))
    }
}
