//! How right a classifier is, and whether it knows when it is not.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Example, LABELS, Model};
use crate::{
    classify::{Classifier, Input},
    mention::{Label, Verdict},
};

/// Figures over one set of texts. Shares are from 0 to 1.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Report {
    /// How many texts.
    pub texts: usize,
    /// Share whose label is right, abstentions counted by their guess.
    pub accuracy: f64,
    /// Mean F1 of the labels that the texts have.
    pub macro_f1: f64,
    /// Figures of each label that the texts have.
    pub per_label: BTreeMap<&'static str, LabelScore>,
    /// Expected calibration error: how far confidence is from being right, over ten bins.
    pub ece: f64,
    /// Share that the classifier does not abstain from.
    pub coverage: f64,
    /// Share of those that is right.
    pub precision_at_coverage: f64,
    /// How many texts of each label (row) were called what (column), in the order of `Label::ALL`.
    pub confusion: [[u64; LABELS]; LABELS],
    /// The same for each language, where there is more than one.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub by_language: BTreeMap<&'static str, Report>,
}

/// Figures of one label.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct LabelScore {
    /// How many texts have it.
    pub texts: u64,
    /// Share of the texts called so that are.
    pub precision: f64,
    /// Share of its texts that were found.
    pub recall: f64,
    /// Their harmonic mean.
    pub f1: f64,
}

/// Scores `rules` with `model`, or the rules alone, on labelled texts.
pub fn evaluate(rules: &Classifier, model: Option<&Model>, examples: &[Example]) -> Report {
    let judged: Vec<(&Example, Verdict)> = examples
        .iter()
        .map(|example| {
            let input = Input {
                text: &example.text,
                lang_hint: Some(example.lang.as_str()),
                answers: example.answers,
                addressed: true,
            };
            (example, rules.read_with(model, &input))
        })
        .collect();
    let mut report = Report::of(judged.iter());
    let mut languages: BTreeMap<&'static str, Vec<&(&Example, Verdict)>> = BTreeMap::new();
    for one in &judged {
        languages.entry(one.0.lang.as_str()).or_default().push(one);
    }
    if languages.len() > 1 {
        report.by_language = languages.into_iter().map(|(lang, judged)| (lang, Report::of(judged.into_iter()))).collect();
    }
    report
}

impl Report {
    fn of<'a>(judged: impl Iterator<Item = &'a (&'a Example, Verdict)>) -> Report {
        let mut report = Report::default();
        // Texts, rights and confidence of each tenth.
        let mut bins = [(0.0_f64, 0.0_f64, 0.0_f64); 10];
        let (mut sure, mut sure_right) = (0_u64, 0_u64);
        for (example, verdict) in judged {
            let right = verdict.label == example.label;
            report.texts += 1;
            report.confusion[example.label as usize][verdict.label as usize] += 1;
            let bin = &mut bins[((verdict.confidence * 10.0) as usize).min(9)];
            *bin = (bin.0 + 1.0, bin.1 + f64::from(u8::from(right)), bin.2 + f64::from(verdict.confidence));
            if !verdict.unsure {
                sure += 1;
                sure_right += u64::from(right);
            }
        }
        let share = |part: u64, whole: u64| if whole == 0 { 0.0 } else { part as f64 / whole as f64 };
        let all = report.texts as u64;
        let right = (0..LABELS).map(|label| report.confusion[label][label]).sum();
        report.accuracy = share(right, all);
        report.coverage = share(sure, all);
        report.precision_at_coverage = share(sure_right, sure);
        report.ece = bins.iter().map(|(_, right, confidence)| (right - confidence).abs()).sum::<f64>() / (all as f64).max(1.0);
        for label in Label::ALL {
            let (row, at) = (report.confusion[label as usize], label as usize);
            let (texts, called) = (row.iter().sum(), report.confusion.iter().map(|row| row[at]).sum());
            if texts > 0 {
                let f1 = share(2 * row[at], texts + called);
                let score = LabelScore { texts, precision: share(row[at], called), recall: share(row[at], texts), f1 };
                report.per_label.insert(label.as_str(), score);
            }
        }
        report.macro_f1 =
            report.per_label.values().map(|score| score.f1).sum::<f64>() / (report.per_label.len() as f64).max(1.0);
        report
    }
}
