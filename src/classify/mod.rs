//! What a mention is: complaint, question, proposal, abuse or other, in which language, and why.
//!
//! Pure: text in, [`Verdict`] out. The pipeline hands over normalised and masked text. Rules are data
//! (`rules/classify/*.toml`, see [`rules`]); what they say is where a trained model ([`model`]) starts from. Without
//! one, the rules and the text's shape decide alone. `docs/labels.md` says what the labels mean.

pub mod compare;
pub mod corpus;
mod filter;
mod lang;
pub mod model;
mod pattern;
pub mod rules;
mod score;

use std::{borrow::Cow, ops::Range, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::mention::{Label, Lang, Verdict};
use crate::text::{Folded, fold_obfuscation};
use filter::Filter;
use lang::Languages;
use model::{Model, Signs};
use rules::Rule;
use score::Sum;

/// How much of a text is read: nobody says what they want only after this many bytes.
const READ_BYTES: usize = 6_000;

/// When the classifier abstains.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Below this confidence the verdict is `unsure` and a person sorts the mention.
    pub unsure_below: f32,
}

impl Default for Config {
    fn default() -> Config {
        Config { unsure_below: 0.4 }
    }
}

/// Why rule files were refused; the set in force stays.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A file cannot be read as rules.
    #[error("{file}:{line}: {problem}; {remedy}")]
    File {
        /// Name of the file.
        file: String,
        /// Line, from 1.
        line: usize,
        /// What is wrong.
        problem: String,
        /// What to do about it.
        remedy: String,
    },
    /// One rule is wrong.
    #[error("{file}:{line}: rule {rule:?}: {problem}; {remedy}")]
    Rule {
        /// Name of the file.
        file: String,
        /// Line, from 1, where the rule begins.
        line: usize,
        /// Id of the rule.
        rule: String,
        /// What is wrong.
        problem: String,
        /// What to do about it.
        remedy: String,
    },
}

impl Error {
    /// Never: a person has to edit a file.
    pub fn is_retryable(&self) -> bool {
        false
    }
}

/// What is known of a mention when it is classified.
#[derive(Clone, Copy, Debug, Default)]
pub struct Input<'a> {
    /// The text, normalised and masked.
    pub text: &'a str,
    /// The source's own guess at the language (BCP 47).
    pub lang_hint: Option<&'a str>,
    /// Label of the customer's post that this one answers, or that our answer above it answered: "same here" and
    /// "still nothing" under a complaint are complaints.
    pub answers: Option<Label>,
    /// The post addresses one of our accounts.
    pub addressed: bool,
}

/// A compiled set of rules.
pub struct Classifier {
    rules: Vec<Rule>,
    filter: Filter,
    languages: Languages,
    model: Option<Arc<Model>>,
    probe: Option<fn(&str)>,
    config: Config,
}

impl std::fmt::Debug for Classifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Classifier").field("rules", &self.rules.len()).field("model", &self.model.is_some()).finish()
    }
}

impl Classifier {
    /// Compiles rule files, each a (name, text); all of them or none.
    ///
    /// # Errors
    /// The first fault found, with file, line, rule and remedy. Examples are not run: see [`Classifier::check`].
    pub fn parse(files: &[(String, String)]) -> Result<Classifier, Error> {
        Classifier::compile(rules::read_files(files)?)
    }

    /// Compiles lines of `label TAB regex`, each with weight 1; what benches measure with.
    ///
    /// A label that is none of ours counts for `other`.
    ///
    /// # Errors
    /// The first line that is no pattern.
    pub fn from_patterns<'a>(lines: impl IntoIterator<Item = &'a str>) -> Result<Classifier, Error> {
        Classifier::compile(rules::read_patterns(lines)?)
    }

    fn compile(sources: Vec<rules::Source>) -> Result<Classifier, Error> {
        let rules = sources.into_iter().map(Rule::compile).collect::<Result<Vec<_>, _>>()?;
        let filter = Filter::build(rules.iter().map(|rule| rule.trigger.as_str()));
        Ok(Classifier { rules, filter, languages: Languages::default(), model: None, probe: None, config: Config::default() })
    }

    /// The same rules with another threshold.
    pub fn with_config(mut self, config: Config) -> Classifier {
        self.config = config;
        self
    }

    /// The same rules with a trained model beside them.
    pub fn with_model(mut self, model: Arc<Model>) -> Classifier {
        self.model = Some(model);
        self
    }

    /// The trained model beside the rules, if there is one.
    pub fn model(&self) -> Option<&Arc<Model>> {
        self.model.as_ref()
    }

    /// Something that looks at every text before it is read; tests stumble with it.
    pub fn with_probe(mut self, probe: fn(&str)) -> Classifier {
        self.probe = Some(probe);
        self
    }

    /// How many rules there are.
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// True without any rule.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Runs every rule's own examples.
    ///
    /// # Errors
    /// All examples that come out wrong, each with file, line and rule.
    pub fn check(&self) -> Result<(), Vec<Error>> {
        let mut faults = Vec::new();
        for (index, rule) in self.rules.iter().enumerate() {
            let examples = [(&rule.source.matches, true), (&rule.source.no_matches, false)];
            for (example, expected) in examples.iter().flat_map(|(texts, expected)| texts.iter().map(move |t| (t, *expected))) {
                let text = crate::text::normalise(example);
                let masked = crate::text::mask(&text);
                let mut fires = false;
                self.each_hit(&masked, fold_obfuscation(&masked).as_ref(), Lang::Und, |hit, _| fires |= hit == index);
                if fires != expected {
                    let (is, remedy) = match expected {
                        true => ("does not match", "widen the rule or move the text to no_match"),
                        false => ("matches", "narrow the rule or move the text to match"),
                    };
                    faults.push(rule.source.fault(format!("{is} its example {example:?}"), remedy));
                }
            }
        }
        if faults.is_empty() { Ok(()) } else { Err(faults) }
    }

    /// The language of a text.
    pub fn language(&self, text: &str, hint: Option<&str>) -> Lang {
        self.languages.detect(head(text), hint)
    }

    /// Classifies one mention.
    pub fn read(&self, input: &Input<'_>) -> Verdict {
        self.read_with(self.model.as_deref(), input)
    }

    /// Classifies one mention with another model than the one in force, or with the rules alone.
    pub fn read_with(&self, model: Option<&Model>, input: &Input<'_>) -> Verdict {
        let (lang, folded, sum) = self.prepare(input);
        self.conclude(model, input, lang, folded.as_ref(), sum)
    }

    /// Classifies one mention, and says what it would be by `other` instead of the model in force.
    pub fn read_both(&self, other: &Model, input: &Input<'_>) -> (Verdict, Verdict) {
        let (lang, folded, sum) = self.prepare(input);
        let conclude = |model, sum| self.conclude(model, input, lang, folded.as_ref(), sum);
        (conclude(self.model.as_deref(), sum.clone()), conclude(Some(other), sum))
    }

    /// All that is known of a text before a model is asked.
    fn prepare<'a>(&'a self, input: &Input<'a>) -> (Lang, Option<Folded>, Sum<'a>) {
        let text = head(input.text);
        if let Some(probe) = self.probe {
            probe(text);
        }
        let lang = self.languages.detect(text, input.lang_hint);
        let folded = fold_obfuscation(text);
        let sum = self.sum(text, folded.as_ref(), lang, input.answers);
        (lang, folded, sum)
    }

    fn conclude(
        &self,
        model: Option<&Model>,
        input: &Input<'_>,
        lang: Lang,
        folded: Option<&Folded>,
        mut sum: Sum<'_>,
    ) -> Verdict {
        let opinion = model.and_then(|model| {
            let (rules, nudge) = (sum.rules(), sum.nudge());
            let folded = folded.map(|folded| folded.text.as_str());
            model.read(head(input.text), lang, &Signs { folded, rules: &rules, nudge, answers: input.answers })
        });
        match opinion {
            Some(opinion) => sum.verdict_of_model(lang, &opinion),
            None => {
                sum.add_shape(input);
                sum.verdict(lang, self.config.unsure_below)
            }
        }
    }

    /// What the rules and the thread say of a text.
    fn sum<'a>(&'a self, text: &'a str, folded: Option<&Folded>, lang: Lang, answers: Option<Label>) -> Sum<'a> {
        let mut sum = Sum::new(text);
        sum.add_thread(answers);
        self.each_hit(text, folded, lang, |index, place| {
            let rule = &self.rules[index];
            sum.add(&rule.source.id, rule.source.label, rule.source.weight, place);
            if rule.source.force {
                sum.force(rule.source.label);
            }
            if let Some(label) = rule.source.forbid {
                sum.forbid(label);
            }
        });
        sum.add_echo(answers);
        sum
    }

    /// What a model sees of a text besides its letters.
    fn signs(&self, text: &str, lang: Lang, answers: Option<Label>, then: impl FnOnce(&Signs<'_>)) {
        let folded = fold_obfuscation(text);
        let mut sum = self.sum(text, folded.as_ref(), lang, answers);
        let (rules, nudge) = (sum.rules(), sum.nudge());
        then(&Signs { folded: folded.as_ref().map(|folded| folded.text.as_str()), rules: &rules, nudge, answers });
    }

    /// Calls `found` with each rule that fires in `text` and the place where it does.
    fn each_hit(&self, text: &str, folded: Option<&Folded>, lang: Lang, mut found: impl FnMut(usize, Range<usize>)) {
        let lower = if text.bytes().any(|b| b.is_ascii_uppercase()) {
            Cow::Owned(text.to_ascii_lowercase())
        } else {
            Cow::Borrowed(text)
        };
        let candidates = self.filter.candidates(&lower);
        let fire = |candidates: &[bool], form: &str, reads_folded: bool, found: &mut dyn FnMut(usize, Range<usize>)| {
            let rules = self.rules.iter().enumerate().zip(candidates).filter(|(_, candidate)| **candidate);
            for ((index, rule), _) in rules.filter(|((_, rule), _)| rule.source.folded == reads_folded) {
                rule.fires(form, lang).into_iter().for_each(|place| found(index, place));
            }
        };
        fire(&candidates, &lower, false, &mut found);
        match folded {
            Some(folded) => fire(&self.filter.candidates(&folded.text), &folded.text, true, &mut |index, place| {
                found(index, folded.origin(text, place));
            }),
            None => fire(&candidates, &lower, true, &mut found),
        }
    }
}

/// A pattern that finds any of `words` as a rule's `any` does, ignoring case; dispatch has keywords too.
///
/// # Errors
/// When they are too many or too long, in words.
pub fn keywords(words: &[String]) -> Result<regex::Regex, String> {
    pattern::compile(&format!("(?i:{})", pattern::any_of(words)))
}

/// The part of a text that is read.
fn head(text: &str) -> &str {
    &text[..text.floor_char_boundary(READ_BYTES)]
}

#[cfg(test)]
mod tests;
