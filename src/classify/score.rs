//! Adds up what speaks for each label and turns the sum into a verdict.

use std::ops::Range;

use super::{Input, model::Opinion};
use crate::mention::{Label, Lang, Reason, Verdict};

/// How many reasons an agent reads.
const REASONS: usize = 5;
/// How many characters of a match are shown.
const WORDS: usize = 22;

/// The growing sum over one text.
#[derive(Clone)]
pub(super) struct Sum<'a> {
    text: &'a str,
    scores: [f32; 5],
    reasons: Vec<Hit<'a>>,
    forced: Option<Label>,
    forbidden: [bool; 5],
}

#[derive(Clone)]
struct Hit<'a> {
    rule: &'a str,
    label: Label,
    weight: f32,
    place: Range<usize>,
}

impl<'a> Sum<'a> {
    pub(super) fn new(text: &'a str) -> Sum<'a> {
        Sum { text, scores: [0.0; 5], reasons: Vec::with_capacity(8), forced: None, forbidden: [false; 5] }
    }

    pub(super) fn add(&mut self, rule: &'a str, label: Label, weight: f32, place: Range<usize>) {
        self.reasons.push(Hit { rule, label, weight, place });
    }

    pub(super) fn force(&mut self, label: Label) {
        self.forced = self.forced.or(Some(label));
    }

    pub(super) fn forbid(&mut self, label: Label) {
        self.forbidden[label as usize] = true;
    }

    /// The label of the post that this one answers.
    pub(super) fn add_thread(&mut self, answers: Option<Label>) {
        if let Some(label @ (Label::Complaint | Label::Question | Label::Proposal)) = answers {
            let short = self.text.chars().nth(40).is_none();
            self.add("thread.answers", label, if short { 1.4 } else { 0.4 }, 0..0);
        }
    }

    /// "Same here" says what the post above it says.
    pub(super) fn add_echo(&mut self, answers: Option<Label>) {
        let same = self.reasons.iter().find(|hit| hit.rule.starts_with("thread.same")).map(|hit| hit.place.clone());
        if let (Some(label @ (Label::Complaint | Label::Question | Label::Proposal)), Some(place)) = (answers, same) {
            self.add("thread.echo", label, 2.2, place);
        }
    }

    /// Ids of what fired.
    pub(super) fn rules(&self) -> Vec<&'a str> {
        self.reasons.iter().map(|hit| hit.rule).collect()
    }

    /// How far the rules push each label before the model says anything.
    pub(super) fn nudge(&mut self) -> [f32; 5] {
        self.add_up();
        self.settle();
        std::mem::take(&mut self.scores)
    }

    /// The label that the model finds likeliest, unless a rule forces or forbids it.
    pub(super) fn verdict_of_model(mut self, lang: Lang, opinion: &Opinion) -> Verdict {
        let mut probabilities = opinion.probabilities;
        for (probability, forbidden) in probabilities.iter_mut().zip(self.forbidden) {
            *probability = if forbidden { 0.0 } else { *probability };
        }
        let left = probabilities.iter().sum::<f32>().max(1e-6);
        let chance = |label: Label| probabilities[label as usize] / left;
        // On a tie the earlier label wins: a complaint missed costs most.
        let best = Label::ALL.into_iter().rev().max_by(|a, b| chance(*a).total_cmp(&chance(*b))).unwrap_or(Label::Other);
        let label = self.forced.unwrap_or(best);
        let confidence = if self.forced.is_some() { chance(label).max(0.95) } else { chance(label) };
        for (place, label, weight) in &opinion.words {
            self.add("model", *label, *weight, place.clone());
        }
        let reasons = self.take_reasons(label);
        Verdict {
            lang,
            label,
            confidence,
            unsure: self.forced.is_none() && confidence < opinion.unsure_below,
            model: 0,
            reasons,
        }
    }

    /// What the text's form says, whatever its words are.
    pub(super) fn add_shape(&mut self, input: &Input<'_>) {
        let text = self.text;
        let end = text.trim_end_matches(|c: char| {
            c.is_whitespace() || "ㅠㅜㅋㅎ~!.;^)".contains(c) || c > '\u{2000}' && !c.is_alphanumeric()
        });
        if let Some(at) = text.rfind('?') {
            // A question that the text goes on after is less of one.
            let weight = if end.ends_with('?') { 0.7 } else { 0.35 };
            let from = text[..at].rfind(['.', '!', '?', '\n']).map_or(0, |before| before + 1);
            self.add("question.mark", Label::Question, weight, from..at + 1);
        }
        let words = text.chars().filter(|c| c.is_alphanumeric() && !matches!(c, 'ㄱ'..='ㅣ')).take(3).count();
        if words < 3 {
            self.add("shape.no_words", Label::Other, 0.8, 0..text.len());
        }
        // Who speaks to us wants something put right more often than not; who speaks of us mostly chats.
        if !input.addressed {
            self.add("shape.not_addressed", Label::Other, 0.15, 0..0);
        } else if !text.contains('?') && words == 3 {
            self.add("shape.addressed", Label::Complaint, 0.15, 0..0);
        }
    }

    /// The best label.
    ///
    /// Confidence is `1 - exp(-margin)`, the margin being how far the best sum is ahead of the second
    /// (of zero, if nothing speaks for a second): 0.5 gives 0.39, 1 gives 0.63, 2 gives 0.86. It grows with
    /// the margin and says nothing of probabilities until a model is calibrated.
    pub(super) fn verdict(mut self, lang: Lang, unsure_below: f32) -> Verdict {
        self.add_up();
        self.settle();
        for label in Label::ALL {
            if self.forbidden[label as usize] {
                self.scores[label as usize] = 0.0;
            }
        }
        let score = |label: Label| self.scores[label as usize];
        // On a tie the earlier label wins: a complaint missed costs most.
        let best = Label::ALL.into_iter().rev().max_by(|a, b| score(*a).total_cmp(&score(*b))).unwrap_or(Label::Other);
        let label = self.forced.unwrap_or(best);
        let second = Label::ALL.into_iter().filter(|other| *other != label).map(score).fold(0.0, f32::max);
        let margin = (score(label) - second).max(0.0);
        let confidence = if self.forced.is_some() { (1.0 - (-margin).exp()).max(0.95) } else { 1.0 - (-margin).exp() };
        let reasons = self.take_reasons(label);
        Verdict { lang, label, confidence, unsure: confidence < unsure_below, model: 0, reasons }
    }

    /// A failure with a question behind it is a complaint first: docs/labels.md, "A fault and a question".
    fn settle(&mut self) {
        if self.scores[Label::Complaint as usize] >= 1.0 {
            self.scores[Label::Question as usize] *= 0.6;
        }
    }

    /// Adds the weights. Rules of one family (what stands before the first dot of their ids) see the same
    /// thing in several ways: the heaviest counts whole, the next half, the next a quarter.
    fn add_up(&mut self) {
        self.reasons.sort_by(|a, b| b.weight.total_cmp(&a.weight));
        let family = |hit: &Hit<'a>| hit.rule.split_once('.').map(|(family, _)| family);
        for (index, hit) in self.reasons.iter().enumerate() {
            let kin = |other: &&Hit<'a>| other.label == hit.label && family(hit).is_some() && family(other) == family(hit);
            let earlier = self.reasons[..index].iter().filter(kin).count();
            self.scores[hit.label as usize] += hit.weight * 0.5_f32.powi(earlier as i32);
        }
    }

    /// Heaviest first; what spoke for another label is shown with a negative weight.
    fn take_reasons(&mut self, label: Label) -> Vec<Reason> {
        let mut hits = std::mem::take(&mut self.reasons);
        hits.sort_by(|a, b| b.weight.abs().total_cmp(&a.weight.abs()));
        hits.truncate(REASONS);
        let signed = |hit: &Hit<'_>| if hit.label == label { hit.weight } else { -hit.weight };
        hits.iter()
            .map(|hit| Reason {
                rule: hit.rule.to_owned(),
                words: words(self.text, hit.place.clone()),
                weight: signed(hit),
                label: hit.label,
            })
            .collect()
    }
}

/// The match with the rest of its last word, cut to what fits a label on a page.
fn words(text: &str, place: Range<usize>) -> String {
    let letter = |c: &char| c.is_alphanumeric();
    let rest: usize = text[place.end..].chars().take_while(letter).map(char::len_utf8).sum();
    let start: usize =
        if place.is_empty() { 0 } else { text[..place.start].chars().rev().take_while(letter).map(char::len_utf8).sum() };
    let end = if place.is_empty() { place.end } else { place.end + rest };
    let found = text[place.start - start..end].trim();
    if found.chars().count() <= WORDS {
        return found.replace('\n', " ");
    }
    // The match itself matters more than the word around it.
    let shown = text[place.start..end].trim_start();
    let cut: String = shown.chars().take(WORDS - 1).collect();
    if shown.chars().count() <= WORDS { shown.replace('\n', " ") } else { format!("{}…", cut.trim_end().replace('\n', " ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn confidence_grows_with_the_margin_and_abstains_without_one() {
        let verdict = |weights: &[(Label, f32)]| {
            let mut sum = Sum::new("x");
            for (label, weight) in weights {
                sum.add("r", *label, *weight, 0..1);
            }
            sum.verdict(Lang::Ko, 0.4)
        };
        let confidences: Vec<f32> =
            [0.3, 0.6, 1.0, 2.0, 5.0].iter().map(|w| verdict(&[(Label::Complaint, *w)]).confidence).collect();
        assert!(confidences.is_sorted() && confidences[0] < 0.4 && confidences[4] > 0.99, "{confidences:?}");
        assert!(verdict(&[]).unsure);
        let even = verdict(&[(Label::Question, 1.0), (Label::Complaint, 1.0)]);
        assert!(even.unsure && even.label == Label::Complaint);
    }

    #[test]
    fn reasons_are_short_and_heaviest_first() {
        let text = "환불해준다더니2주째연락이없고고객센터는전화를받지않고문자도없습니다 정말";
        let mut sum = Sum::new(text);
        for weight in [0.2, 0.9, 0.5, 0.4, 0.3, 0.6, 0.1] {
            sum.add("r", Label::Complaint, weight, 0..text.find("정말").unwrap());
        }
        sum.add("q", Label::Question, 0.7, 0.."환불".len());
        let reasons = sum.verdict(Lang::Ko, 0.4).reasons;
        assert_eq!(reasons.iter().map(|r| r.weight).collect::<Vec<_>>(), [0.9, -0.7, 0.6, 0.5, 0.4]);
        assert!(reasons.iter().all(|r| r.words.chars().count() <= WORDS && !r.words.is_empty()), "{reasons:?}");
        assert_eq!(words("배송이 늦어요 왜", 10..13), "늦어요");
    }
}
