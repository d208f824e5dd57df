//! The text of a post on its way to a reader: abuse is not shown until somebody asks for it.
//!
//! The store says which posts are abuse ([`Veil`]), [`PostText::seen`] is the one place that decides what a
//! reader gets. The text has no other way out but [`PostText::whole`], which only the index, the classifier's
//! training and the API for programs take.

use std::fmt;

use crate::mention::{Label, Reason};

/// What stands between a text and its readers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Veil {
    /// Nothing.
    #[default]
    Open,
    /// It is abuse.
    Abuse {
        /// The classifier also saw a question in it.
        asks: bool,
    },
}

impl Veil {
    /// The veil of an abusive post that the classifier gave this label for these reasons.
    pub fn of_abuse(label: Label, reasons: &[Reason]) -> Veil {
        // What spoke for another label than the post's has a negative weight.
        let cue = |reason: &Reason| reason.label == Label::Question && reason.weight < 0.0;
        Veil::Abuse { asks: label == Label::Question || reasons.iter().any(cue) }
    }
}

/// What is told of a text that is not shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Masked {
    /// Lines that are not empty.
    pub lines: usize,
    /// It also asks something.
    pub asks: bool,
}

impl fmt::Display for Masked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (plural, asks) = (if self.lines == 1 { "" } else { "s" }, if self.asks { ", contains a question" } else { "" });
        write!(f, "[masked: abuse, {} line{plural}{asks}]", self.lines)
    }
}

/// The text of a post, personal data masked; what a reader sees of it comes from [`PostText::seen`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PostText {
    whole: String,
    veil: Veil,
}

impl PostText {
    /// A text behind its veil.
    pub fn new(whole: impl Into<String>, veil: Veil) -> PostText {
        PostText { whole: whole.into(), veil }
    }

    /// What a reader sees: the text, or what is told of it. With `masking` off, or for who asked for it, the text.
    ///
    /// # Errors
    /// What is told instead.
    pub fn seen(&self, masking: bool) -> Result<&str, Masked> {
        match self.veil {
            Veil::Abuse { asks } if masking => {
                let lines = self.whole.lines().filter(|line| !line.trim().is_empty()).count();
                Err(Masked { lines: lines.max(1), asks: asks || asks_by_mark(&self.whole) })
            }
            _ => Ok(&self.whole),
        }
    }

    /// The text for programs, never for a page.
    pub fn whole(&self) -> &str {
        &self.whole
    }

    /// The same, taken.
    pub fn into_whole(self) -> String {
        self.whole
    }
}

/// It has a question mark outside of links.
fn asks_by_mark(text: &str) -> bool {
    text.split_whitespace().filter(|word| !word.contains("://")).any(|word| word.contains(['?', '？']))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(label: Label, weight: f32) -> Reason {
        Reason { rule: "r".into(), words: "w".into(), weight, label }
    }

    #[test]
    fn abuse_is_told_of_and_not_shown() {
        let text = "이 멍청이들아\n\n환불은 언제 해\n당장 답해";
        let open = PostText::new(text, Veil::Open);
        assert_eq!(open.seen(true), Ok(text));
        let abuse = PostText::new(text, Veil::of_abuse(Label::Abuse, &[reason(Label::Abuse, 2.0)]));
        assert_eq!(abuse.seen(true), Err(Masked { lines: 3, asks: false }));
        assert_eq!(abuse.seen(false), Ok(text), "switched off, or revealed");
        assert_eq!(abuse.seen(true).unwrap_err().to_string(), "[masked: abuse, 3 lines]");
    }

    #[test]
    fn a_question_is_a_mark_outside_links_or_what_the_classifier_saw() {
        let asks = |text: &str, veil| PostText::new(text, veil).seen(true).unwrap_err().asks;
        let none = Veil::Abuse { asks: false };
        assert!(asks("야 이 바보야 언제 와?", none) && asks("언제 와？", none));
        assert!(!asks("바보 https://shop.kr/?a=b", none) && !asks("바보", none));
        let veil = Veil::of_abuse(Label::Abuse, &[reason(Label::Abuse, 2.0), reason(Label::Question, -0.4)]);
        assert!(asks("바보 언제 와요", veil));
        // A person's word: the classifier had called it a question.
        assert!(asks("바보", Veil::of_abuse(Label::Question, &[])));
        // A rule that speaks against a question says nothing of one.
        assert!(!asks("바보", Veil::of_abuse(Label::Abuse, &[reason(Label::Question, 0.4)])));
    }
}
