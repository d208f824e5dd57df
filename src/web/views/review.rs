//! The review page: what people said of the classifier's labels, and what it shall learn.

use askama::Template;

use super::{Frame, LabelView};
use crate::{
    clock::Time,
    mention::{Label, Lang},
    queue::ReviewState,
    web::words::fill,
};

/// A correction.
#[derive(Clone, Debug)]
pub struct Correction {
    /// Row id of the post.
    pub mention: i64,
    /// Number of the case.
    pub case: i64,
    /// The post, masked.
    pub text: String,
    /// Its language.
    pub lang: Lang,
    /// Label of the post that it answers.
    pub answers: Option<Label>,
    /// What the classifier had said.
    pub was: LabelView,
    /// What the person said.
    pub said: Label,
    /// What is to be learnt.
    pub label: Label,
    /// Initials of the person.
    pub by: String,
    /// When they said it.
    pub at: Time,
    /// Initials of who reviewed it.
    pub reviewed_by: Option<String>,
}

/// One of the three lists.
#[derive(Clone, Debug)]
pub struct ReviewTab {
    /// Which.
    pub state: ReviewState,
    /// How many corrections are in it.
    pub count: u64,
    /// It is the one shown.
    pub current: bool,
}

/// The review page.
#[derive(Clone, Debug, Template)]
#[template(path = "review.html")]
pub struct ReviewPage {
    /// Around it.
    pub f: Frame,
    /// The list that is shown.
    pub state: ReviewState,
    /// All lists.
    pub tabs: Vec<ReviewTab>,
    /// Its corrections.
    pub items: Vec<Correction>,
}

impl ReviewPage {
    /// Name of a list.
    pub fn name(&self, state: &ReviewState) -> &'static str {
        match state {
            ReviewState::New => self.f.w.review_new,
            ReviewState::Accepted => self.f.w.review_accepted,
            ReviewState::Rejected => self.f.w.review_rejected,
        }
    }

    /// A label as people say it.
    pub fn word(&self, label: &Label) -> &'static str {
        self.f.w.label(Some(*label))
    }

    /// "KG said: question".
    pub fn said(&self, item: &Correction) -> String {
        fill(self.f.w.review_said, &[("name", &item.by), ("label", self.f.w.label(Some(item.said)))])
    }

    /// "SB: accepted as question", of what was reviewed.
    pub fn outcome(&self, item: &Correction) -> Option<String> {
        let by = item.reviewed_by.as_ref()?;
        let words = if self.state == ReviewState::Accepted { self.f.w.review_accepted_as } else { self.f.w.review_rejected_by };
        Some(fill(words, &[("name", by), ("label", self.f.w.label(Some(item.label)))]))
    }

    /// Labels that can be learnt instead of what the person said.
    pub fn others(&self, item: &Correction) -> Vec<(usize, Label)> {
        (1..).zip(Label::ALL).filter(|(_, label)| *label != item.said).collect()
    }
}
