//! What people said of the classifier's labels: kept with a case's correction, reviewed, learnt from.

use super::{
    Error, Reader, Tx,
    protection::{VEIL, post_text},
    sql::{Row, Value},
};
use crate::{
    case::CaseId,
    clock::Time,
    mention::{Label, Lang, MentionId},
    staff::{AgentId, TeamId},
    text::PostText,
};

/// Where a correction stands on its way to training.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ReviewState {
    /// Nobody has looked at it yet.
    #[default]
    New,
    /// It is training text.
    Accepted,
    /// It is not.
    Rejected,
}

impl ReviewState {
    /// All of them, in the order of the review page.
    pub const ALL: [ReviewState; 3] = [ReviewState::New, ReviewState::Accepted, ReviewState::Rejected];

    /// The word for it in URLs and in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            ReviewState::New => "new",
            ReviewState::Accepted => "accepted",
            ReviewState::Rejected => "rejected",
        }
    }

    /// The state whose word is `word`.
    pub fn parse(word: &str) -> Option<ReviewState> {
        ReviewState::ALL.into_iter().find(|state| state.as_str() == word)
    }
}

/// A correction with the post that it is about.
#[derive(Clone, Debug, PartialEq)]
pub struct Feedback {
    /// The post.
    pub mention: MentionId,
    /// The case in which it was corrected.
    pub case: CaseId,
    /// Its masked text.
    pub text: PostText,
    /// Its language.
    pub lang: Lang,
    /// Label of the customer's post that it answers.
    pub answers: Option<Label>,
    /// What the classifier had said.
    pub was: Label,
    /// How sure it was.
    pub confidence: f32,
    /// It had abstained.
    pub unsure: bool,
    /// Version of the model that judged; 0 where there was none.
    pub model: u32,
    /// What the person said.
    pub said: Label,
    /// What to learn: the reviewer's word, else the person's.
    pub label: Label,
    /// Initials of the person.
    pub by: String,
    /// When they said it.
    pub at: Time,
    /// Where it stands.
    pub state: ReviewState,
    /// Initials of who reviewed it.
    pub reviewed_by: Option<String>,
}

impl Feedback {
    /// One line of JSON, as training and evaluation read it, and whose word it was.
    pub fn line(&self) -> String {
        let mut line = serde_json::json!({
            "id": format!("feedback-{}", self.mention.0),
            "lang": self.lang,
            "label": self.label,
            "text": self.text.whole(),
            "was": if self.unsure { "unsorted" } else { self.was.as_str() },
            "confidence": self.confidence,
            "model": self.model,
            "by": self.by,
            "at": self.at.to_string(),
        });
        if let Some(label) = self.answers {
            line["answers"] = serde_json::json!({ "label": label });
        }
        format!("{line}\n")
    }
}

/// What a reviewer decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Review {
    /// The post.
    pub mention: MentionId,
    /// The correction that was looked at, by its time: a newer one waits for its own review.
    pub at: Time,
    /// Accept, reject, or put back.
    pub state: ReviewState,
    /// The label to learn, where it is not the person's.
    pub label: Option<Label>,
}

const COLUMNS: &str = "f.mention_id, f.case_id, m.text, m.lang,
     (SELECT label FROM mention p WHERE p.source_id = m.source_id AND p.native_id = m.parent AND p.side = 'customer'),
     (SELECT label FROM mention p WHERE p.source_id = m.source_id AND p.local_ref = m.parent AND p.side = 'customer' LIMIT 1),
     f.was, f.confidence, f.unsure, f.model, f.said, f.label, a.initials, f.at, f.state, r.initials";

const FROM: &str =
    "FROM feedback f JOIN mention m ON m.id = f.mention_id JOIN cases c ON c.id = f.case_id JOIN agent a ON a.id = f.agent_id
     LEFT JOIN agent r ON r.id = f.reviewed_by";

fn feedback_of(row: &Row<'_>) -> Result<Feedback, Error> {
    let label = |index: usize| Label::parse(row.get(index)?).ok_or(Error::Unknown { what: "label" });
    Ok(Feedback {
        mention: MentionId(row.get(0)?),
        case: CaseId(row.get(1)?),
        text: post_text(row, 2, 16)?,
        lang: Lang::parse(row.get(3)?).unwrap_or_default(),
        answers: row.get::<Option<&str>>(4)?.or(row.get::<Option<&str>>(5)?).and_then(Label::parse),
        was: label(6)?,
        confidence: row.get(7)?,
        unsure: row.get(8)?,
        model: row.get(9)?,
        said: label(10)?,
        label: label(11)?,
        by: row.get(12)?,
        at: Time(row.get(13)?),
        state: ReviewState::parse(row.get(14)?).ok_or(Error::Unknown { what: "state of a correction" })?,
        reviewed_by: row.get(15)?,
    })
}

impl Tx<'_> {
    /// Keeps what a person says a post is. Who says what the classifier said without doubt takes an earlier
    /// correction back. Nothing is kept of a post whose text is gone.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn correct(&mut self, mention: MentionId, case: CaseId, label: Label, agent: AgentId) -> Result<(), Error> {
        let confirmed = self.sql.one(
            "SELECT EXISTS (SELECT 1 FROM mention WHERE id = ?1 AND label = ?2 AND unsure = 0)",
            &[mention.0.into(), label.as_str().into()],
            |row| row.get(0),
        )?;
        if confirmed {
            return self.drop_feedback(mention);
        }
        self.sql.execute(
            "INSERT INTO feedback (mention_id, case_id, was, confidence, unsure, model, said, label, agent_id, at, state)
             SELECT m.id, ?2, m.label, m.confidence, m.unsure,
                 coalesce((SELECT j.model FROM judgement j WHERE j.mention_id = m.id), 0), ?3, ?3, ?4, ?5, 'new'
             FROM mention m WHERE m.id = ?1 AND m.deleted_at IS NULL AND m.text <> ''
             ON CONFLICT (mention_id) DO UPDATE SET case_id = excluded.case_id, was = excluded.was,
                 confidence = excluded.confidence, unsure = excluded.unsure, model = excluded.model, said = excluded.said,
                 label = excluded.label, agent_id = excluded.agent_id, at = excluded.at, state = 'new', reviewed_by = NULL,
                 reviewed_at = NULL",
            &[mention.0.into(), case.0.into(), label.as_str().into(), agent.0.into(), self.now.0.into()],
        )?;
        Ok(())
    }

    /// Takes a correction back.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn drop_feedback(&mut self, mention: MentionId) -> Result<(), Error> {
        self.sql.execute("DELETE FROM feedback WHERE mention_id = ?1", &[mention.0.into()])?;
        Ok(())
    }

    /// The team of the case in which a post was corrected; none when nobody corrected it.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn feedback_team(&self, mention: MentionId) -> Result<Option<TeamId>, Error> {
        let sql = "SELECT c.team_id FROM feedback f JOIN cases c ON c.id = f.case_id WHERE f.mention_id = ?1";
        self.sql.optional(sql, &[mention.0.into()], |row| Ok(TeamId(row.get(0)?)))
    }

    /// Writes a reviewer's word; false when the correction has changed since, or is gone.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn review(&mut self, review: &Review, by: AgentId) -> Result<bool, Error> {
        let (open, label) = (review.state == ReviewState::New, review.label.map(Label::as_str));
        let written = self.sql.execute(
            "UPDATE feedback SET state = ?3, label = coalesce(?4, said), reviewed_by = ?5, reviewed_at = ?6
             WHERE mention_id = ?1 AND at = ?2",
            &[
                review.mention.0.into(),
                review.at.0.into(),
                review.state.as_str().into(),
                label.into(),
                (!open).then_some(by.0).into(),
                (!open).then_some(self.now.0).into(),
            ],
        )?;
        Ok(written == 1)
    }
}

impl Reader<'_> {
    /// Corrections in these teams' cases, oldest first where nobody has looked yet, else newest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn feedback(&self, teams: &[TeamId], state: ReviewState, limit: u32) -> Result<Vec<Feedback>, Error> {
        let teams: Vec<i64> = teams.iter().map(|team| team.0).collect();
        let order = if state == ReviewState::New { "ASC" } else { "DESC" };
        let sql = format!(
            "SELECT {COLUMNS}, {VEIL} {FROM} WHERE f.state = ?1 AND c.team_id IN (SELECT value FROM json_each(?2))
             ORDER BY f.at {order}, f.mention_id {order} LIMIT ?3"
        );
        self.sql.all(&sql, &[state.as_str().into(), Value::Ids(&teams), limit.into()], feedback_of)
    }

    /// How many corrections of these teams nobody has looked at.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn feedback_waiting(&self, teams: &[TeamId]) -> Result<u64, Error> {
        let teams: Vec<i64> = teams.iter().map(|team| team.0).collect();
        let sql = "SELECT count(*) FROM feedback f JOIN cases c ON c.id = f.case_id
             WHERE f.state = 'new' AND c.team_id IN (SELECT value FROM json_each(?1))";
        self.sql.one(sql, &[Value::Ids(&teams)], |row| Ok(u64::try_from(row.get::<i64>(0)?).unwrap_or(0)))
    }

    /// How many corrections of these teams stand in each state, in the order of [`ReviewState::ALL`].
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn feedback_counts(&self, teams: &[TeamId]) -> Result<[u64; 3], Error> {
        let teams: Vec<i64> = teams.iter().map(|team| team.0).collect();
        let mut counts = [0; 3];
        let sql = "SELECT f.state, count(*) FROM feedback f JOIN cases c ON c.id = f.case_id
             WHERE c.team_id IN (SELECT value FROM json_each(?1)) GROUP BY f.state";
        self.sql.each(sql, &[Value::Ids(&teams)], |row| {
            let state = ReviewState::parse(row.get(0)?);
            if let Some(index) = ReviewState::ALL.iter().position(|known| Some(*known) == state) {
                counts[index] = u64::try_from(row.get::<i64>(1)?).unwrap_or(0);
            }
            Ok(())
        })?;
        Ok(counts)
    }

    /// Accepted corrections of the whole desk after `after`, in the order of the posts: training text.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn accepted_feedback(&self, after: MentionId, limit: u32) -> Result<Vec<Feedback>, Error> {
        let sql = format!(
            "SELECT {COLUMNS}, {VEIL} {FROM} WHERE f.state = 'accepted' AND f.mention_id > ?1 ORDER BY f.mention_id LIMIT ?2"
        );
        self.sql.all(&sql, &[after.0.into(), limit.into()], feedback_of)
    }
}
