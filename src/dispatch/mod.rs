//! Where a classified mention goes: a case for a team, folded away, or held for a person to sort.
//!
//! Pure: facts in, [`Decision`] out. Rules are data (`rules/dispatch.toml` and its like for each brand,
//! see `rules.rs`), in the order of the files; the first that fits decides, and [`Dispatcher::explain`]
//! says why the ones before it did not.

mod rules;

use serde::{Deserialize, Serialize};

use crate::case::Priority;
use crate::mention::{Label, Lang, Side};
use rules::{Rule, Target};

/// The team word that means the first team of the mention's brand.
pub const DEFAULT_TEAM: &str = "default";

/// Names that rules may use: what the configuration declares.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Known {
    /// Keys of the teams.
    pub teams: Vec<String>,
    /// Keys of the SLA policies.
    pub policies: Vec<String>,
    /// Keys of the brands.
    pub brands: Vec<String>,
}

/// Why rule files were refused; the rules in force stay.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A key or value that cannot stand.
    #[error("{file}:{line}: {key}: {problem}; {remedy}")]
    Rule {
        /// Name of the file.
        file: String,
        /// Line, from 1.
        line: usize,
        /// The rule, or the key in it: `orders.case.team`.
        key: String,
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

/// What rules may ask about a mention.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Facts<'a> {
    /// The classifier's label.
    pub label: Label,
    /// Its confidence, 0 to 1.
    pub confidence: f32,
    /// The classifier abstained.
    pub unsure: bool,
    /// Language of the text.
    pub lang: Lang,
    /// The platform: what stands before the colon of the source.
    pub platform: &'a str,
    /// Key of the account through which it was seen.
    pub account: &'a str,
    /// Key of the brand.
    pub brand: &'a str,
    /// The masked text, for keywords.
    pub text: &'a str,
    /// Followers of the author; 0 if the source does not say.
    pub reach: u64,
    /// Who speaks.
    pub side: Side,
    /// The post addresses the account.
    pub addressed: bool,
}

/// What is to be done with a mention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome<'a> {
    /// A case in a team's queue.
    Case {
        /// Key of the team, or [`DEFAULT_TEAM`].
        team: &'a str,
        /// How much it presses.
        priority: Priority,
        /// Key of the SLA policy; `None` leaves the choice to sla.
        policy: Option<&'a str>,
    },
    /// Kept, counted and searchable, without a case.
    Fold,
    /// A case marked unsure: a person sorts it first.
    Hold {
        /// Key of the team, or [`DEFAULT_TEAM`].
        team: &'a str,
    },
}

impl std::fmt::Display for Outcome<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Outcome::Case { team, priority: Priority::Normal, .. } => write!(f, "case {team}"),
            Outcome::Case { team, priority, .. } => write!(f, "case {team} {}", priority.as_str()),
            Outcome::Fold => f.write_str("fold"),
            Outcome::Hold { team } => write!(f, "hold {team}"),
        }
    }
}

/// An outcome and the rule that chose it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision<'a> {
    /// What is to be done.
    pub outcome: Outcome<'a>,
    /// Id of the rule.
    pub rule: &'a str,
}

/// One rule that was tried, for "why is it here".
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    /// Id of the rule.
    pub rule: String,
    /// The first condition that did not hold; `None` for the rule that decided.
    pub missed: Option<Missed>,
}

/// A condition that did not hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Missed {
    /// Its key in `when`.
    pub key: &'static str,
    /// What the rule asks for.
    pub wanted: String,
    /// What the mention has; empty for `keyword`, since explanations carry no text.
    pub found: String,
}

/// A checked set of rules.
#[derive(Debug)]
pub struct Dispatcher {
    rules: Vec<Rule>,
}

impl Dispatcher {
    /// Reads rule files, each a (name, text), in order; all of them or none.
    ///
    /// # Errors
    /// The first fault found, with file, line, key and remedy. Examples are not run: see [`Dispatcher::check`].
    pub fn parse(files: &[(String, String)], known: &Known) -> Result<Dispatcher, Error> {
        Ok(Dispatcher { rules: rules::read_files(files, known)? })
    }

    /// Runs every rule's examples.
    ///
    /// # Errors
    /// All examples that come out otherwise than they say.
    pub fn check(&self) -> Result<(), Vec<Error>> {
        let faults: Vec<Error> = self.rules.iter().flat_map(|rule| rule.check_examples(self)).collect();
        if faults.is_empty() { Ok(()) } else { Err(faults) }
    }

    /// Decides by the first rule that fits.
    pub fn decide(&self, facts: &Facts<'_>) -> Decision<'_> {
        self.rules.iter().find(|rule| rule.missed(facts).is_none()).map_or(
            // Parsing has seen to it that the last rule fits everything.
            Decision { outcome: Outcome::Hold { team: DEFAULT_TEAM }, rule: "" },
            |rule| Decision { outcome: rule.outcome(), rule: &rule.id },
        )
    }

    /// Each rule that was tried, in order; the last one decided.
    pub fn explain(&self, facts: &Facts<'_>) -> Vec<Step> {
        let mut steps = Vec::new();
        for rule in &self.rules {
            let missed = rule.missed(facts).map(|key| rule.describe(key, facts));
            let decided = missed.is_none();
            steps.push(Step { rule: rule.id.clone(), missed });
            if decided {
                break;
            }
        }
        steps
    }
}

impl Rule {
    fn outcome(&self) -> Outcome<'_> {
        match &self.target {
            Target::Case { team, priority, policy } => Outcome::Case { team, priority: *priority, policy: policy.as_deref() },
            Target::Fold => Outcome::Fold,
            Target::Hold { team } => Outcome::Hold { team },
        }
    }
}

#[cfg(test)]
mod tests;
