//! Mentions that were judged before, for those who judge them again with newer rules.

use super::{Error, Reader, Tx, cases::member, pages::handed_down, sql::Row};
use crate::{
    case::{CaseId, Priority},
    clock::Time,
    mention::{Label, Lang, MentionId, Verdict},
    staff::TeamId,
};

/// A stored mention with what judging it needs, and what was decided then.
#[derive(Clone, Debug, PartialEq)]
pub struct Past {
    /// Which mention.
    pub mention: MentionId,
    /// Masked text.
    pub text: String,
    /// Its language as it was found then.
    pub lang: Lang,
    /// Platform and instance.
    pub source: String,
    /// Its author's reach.
    pub reach: u64,
    /// It addresses one of our accounts.
    pub addressed: bool,
    /// The label that the post which it answers hands down.
    pub answers: Option<Label>,
    /// What the classifier said.
    pub label: Label,
    /// The classifier had abstained.
    pub unsure: bool,
    /// The case that it opened: number, keys of brand and account, team, priority.
    pub case: Option<PastCase>,
}

/// Where a mention's case was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PastCase {
    /// Which case.
    pub id: CaseId,
    /// Key of its brand.
    pub brand: String,
    /// Key of the account that was addressed.
    pub account: String,
    /// Whose queue it is in.
    pub team: TeamId,
    /// How much it presses.
    pub priority: Priority,
    /// A person has set its label.
    pub by_person: bool,
}

fn past_of(row: &Row<'_>) -> Result<Past, Error> {
    let word = |index| row.get::<&str>(index);
    let case = match row.get::<Option<i64>>(10)? {
        None => None,
        Some(id) => Some(PastCase {
            id: CaseId(id),
            brand: row.get(11)?,
            account: row.get(12)?,
            team: TeamId(row.get(13)?),
            priority: member(&Priority::ALL, row.get(14)?, "priority")?,
            by_person: row.get::<Option<i64>>(15)?.is_some(),
        }),
    };
    Ok(Past {
        mention: MentionId(row.get(0)?),
        text: row.get(1)?,
        lang: Lang::parse(word(2)?).unwrap_or_default(),
        source: row.get(3)?,
        reach: u64::try_from(row.get::<Option<i64>>(4)?.unwrap_or(0)).unwrap_or(0),
        addressed: row.get::<i64>(5)? != 0,
        answers: row.get::<Option<&str>>(6)?.or(row.get::<Option<&str>>(7)?).and_then(Label::parse),
        label: Label::parse(word(8)?).ok_or(Error::Unknown { what: "label" })?,
        unsure: row.get(9)?,
        case,
    })
}

impl Reader<'_> {
    /// Customers' mentions after `after` that were posted since `since` and still have their text, each once
    /// for every case it opened.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn past(&self, after: MentionId, since: Time, limit: u32) -> Result<Vec<Past>, Error> {
        // A case of the last mention must not be cut off by the limit, which therefore counts mentions.
        let answers = |name: &str| {
            let label = handed_down("p");
            format!("(SELECT {label} FROM mention p WHERE p.source_id = m.source_id AND p.{name} = m.parent LIMIT 1)")
        };
        let (by_id, by_ref) = (answers("native_id"), answers("local_ref"));
        let sql = format!(
            "SELECT m.id, m.text, m.lang, s.key, m.reach,
                 coalesce((SELECT max(addressed) FROM mention_match mm WHERE mm.mention_id = m.id), 0),
                 {by_id}, {by_ref},
                 m.label, m.unsure, c.id, b.key, a.key, c.team_id, c.priority, c.labelled_by
             FROM (SELECT * FROM mention WHERE id > ?1 AND posted_at >= ?2 AND side = 'customer' AND deleted_at IS NULL
                   ORDER BY id LIMIT ?3) m
             JOIN source s ON s.id = m.source_id LEFT JOIN cases c ON c.mention_id = m.id
             LEFT JOIN brand b ON b.id = c.brand_id LEFT JOIN account a ON a.id = c.account_id ORDER BY m.id, c.id"
        );
        self.sql.all(&sql, &[after.0.into(), since.0.into(), limit.into()], past_of)
    }
}

impl Tx<'_> {
    /// Writes what newer rules say of a mention; false when it is gone or a still newer version judged it.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn rejudge(&mut self, id: MentionId, verdict: &Verdict, rules: u32) -> Result<bool, Error> {
        let known = self.sql.execute(
            "UPDATE mention SET lang = ?2, label = ?3, confidence = ?4, unsure = ?5 WHERE id = ?1 AND deleted_at IS NULL
             AND NOT EXISTS (SELECT 1 FROM judgement j WHERE j.mention_id = ?1 AND j.rules > ?6)",
            &[
                id.0.into(),
                verdict.lang.as_str().into(),
                verdict.label.as_str().into(),
                verdict.confidence.into(),
                verdict.unsure.into(),
                rules.into(),
            ],
        )?;
        if known == 1 {
            self.sql.execute("DELETE FROM judgement WHERE mention_id = ?1", &[id.0.into()])?;
            self.judge(id, verdict, rules)?;
        }
        Ok(known == 1)
    }
}
