//! Dispatch files: what a person writes, checked.
//!
//! `[[rule]]` has an `id`, an optional `when` whose conditions must all hold (lists: one of them must), and
//! exactly one of `case = { team, priority, policy }`, `fold = {}` and `hold = { team }`. The last rule of
//! all has no `when`. `[[rule.example]]` gives `facts` and what the whole set makes of them: `expect =
//! "case TEAM [PRIORITY]"`, `"fold"` or `"hold TEAM"`.

use regex::Regex;
use serde::Deserialize;
use toml::Spanned;

use super::{DEFAULT_TEAM, Dispatcher, Error, Facts, Known, Missed};
use crate::case::Priority;
use crate::classify;
use crate::mention::{Label, Lang, Side};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    rule: Vec<Spanned<Written>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    id: String,
    #[serde(default)]
    when: When,
    case: Option<WrittenCase>,
    fold: Option<Nothing>,
    hold: Option<WrittenHold>,
    #[serde(default)]
    example: Vec<Example>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenCase {
    team: String,
    #[serde(default)]
    priority: Priority,
    policy: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenHold {
    team: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

/// The conditions of a rule; what is left out holds.
#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct When {
    label: Vec<Label>,
    unsure: Option<bool>,
    lang: Vec<Lang>,
    platform: Vec<String>,
    account: Vec<String>,
    brand: Vec<String>,
    keyword: Vec<String>,
    reach_min: Option<u64>,
    side: Option<Side>,
    addressed: Option<bool>,
    confidence_min: Option<f32>,
    confidence_max: Option<f32>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Example {
    #[serde(default)]
    facts: Given,
    expect: String,
}

/// The facts of an example; what is left out is the usual.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Given {
    label: Label,
    confidence: f32,
    unsure: bool,
    lang: Lang,
    platform: String,
    account: String,
    brand: String,
    text: String,
    reach: u64,
    side: Side,
    addressed: bool,
}

impl Default for Given {
    fn default() -> Given {
        Given {
            label: Label::Complaint,
            confidence: 0.9,
            unsure: false,
            lang: Lang::Ko,
            platform: String::new(),
            account: String::new(),
            brand: String::new(),
            text: String::new(),
            reach: 0,
            side: Side::Customer,
            addressed: true,
        }
    }
}

/// A checked rule.
#[derive(Debug)]
pub(super) struct Rule {
    file: String,
    line: usize,
    pub(super) id: String,
    when: When,
    keyword: Option<Regex>,
    pub(super) target: Target,
    examples: Vec<Example>,
}

/// What a rule does.
#[derive(Debug)]
pub(super) enum Target {
    Case { team: String, priority: Priority, policy: Option<String> },
    Fold,
    Hold { team: String },
}

/// Reads rule files, each a (name, text), in order.
pub(super) fn read_files(files: &[(String, String)], known: &Known) -> Result<Vec<Rule>, Error> {
    let mut rules: Vec<Rule> = Vec::new();
    for (name, text) in files {
        let line_of = |at: usize| text[..text.floor_char_boundary(at)].matches('\n').count() + 1;
        let file: File = toml::from_str(text).map_err(|error| Error::Rule {
            file: name.clone(),
            line: error.span().map_or(1, |span| line_of(span.start)),
            key: "toml".into(),
            problem: error.message().replace('\n', " "),
            remedy: "correct the key or its value; several values are a list in brackets".into(),
        })?;
        for written in file.rule {
            let at = Place { file: name, line: line_of(written.span().start), id: written.get_ref().id.clone() };
            let rule = at.rule(written.into_inner(), known)?;
            if let Some(same) = rules.iter().find(|other| other.id == rule.id) {
                let problem = format!("the id is taken by {}:{}", same.file, same.line);
                return Err(at.fault("id", problem, "give each rule its own id"));
            }
            if let Some(last) = rules.last().filter(|last| last.when == When::default()) {
                let problem = format!("it never runs: {} at {}:{} has no conditions", last.id, last.file, last.line);
                return Err(at.fault("when", problem, "put the rule without `when` last"));
            }
            rules.push(rule);
        }
    }
    let last = rules.last();
    if last.is_none_or(|last| last.when != When::default()) {
        let end = files.last();
        return Err(Error::Rule {
            file: last.map(|rule| rule.file.clone()).or(end.map(|(name, _)| name.clone())).unwrap_or_else(|| "dispatch".into()),
            line: last.map_or(1, |rule| rule.line),
            key: last.map_or_else(|| "rule".into(), |rule| format!("{}.when", rule.id)),
            problem: "no rule fits what all others pass over".into(),
            remedy: "end with a rule without `when`".into(),
        });
    }
    Ok(rules)
}

/// Where a rule stands, for messages.
struct Place<'a> {
    file: &'a str,
    line: usize,
    id: String,
}

impl Place<'_> {
    fn fault(&self, key: &str, problem: impl Into<String>, remedy: impl Into<String>) -> Error {
        let (file, line) = (self.file.to_owned(), self.line);
        Error::Rule { file, line, key: format!("{}.{key}", self.id), problem: problem.into(), remedy: remedy.into() }
    }

    fn rule(&self, written: Written, known: &Known) -> Result<Rule, Error> {
        let Written { id, when, case, fold, hold, example } = written;
        if id.trim().is_empty() {
            return Err(self.fault("id", "it is empty", "name the rule"));
        }
        self.check_when(&when, known)?;
        let target = match (case, fold, hold) {
            (Some(WrittenCase { team, priority, policy }), None, None) => {
                self.check_team("case.team", &team, known)?;
                if let Some(policy) = policy.as_ref().filter(|policy| !known.policies.contains(policy)) {
                    return Err(self.fault("case.policy", format!("unknown policy {policy:?}"), one_of(&known.policies)));
                }
                Target::Case { team, priority, policy }
            }
            (None, Some(Nothing {}), None) => Target::Fold,
            (None, None, Some(WrittenHold { team })) => {
                self.check_team("hold.team", &team, known)?;
                Target::Hold { team }
            }
            _ => return Err(self.fault("case", "not exactly one of case, fold and hold", "keep one of them")),
        };
        let keyword = match when.keyword.as_slice() {
            [] => None,
            words => {
                Some(classify::keywords(words).map_err(|problem| self.fault("when.keyword", problem, "use shorter words"))?)
            }
        };
        Ok(Rule { file: self.file.to_owned(), line: self.line, id, when, keyword, target, examples: example })
    }

    fn check_when(&self, when: &When, known: &Known) -> Result<(), Error> {
        if let Some(brand) = when.brand.iter().find(|brand| !known.brands.contains(brand)) {
            return Err(self.fault("when.brand", format!("unknown brand {brand:?}"), one_of(&known.brands)));
        }
        if when.keyword.iter().any(|word| word.trim().is_empty()) {
            return Err(self.fault("when.keyword", "an empty word is in every text", "take it out"));
        }
        for (key, value) in [("when.confidence_min", when.confidence_min), ("when.confidence_max", when.confidence_max)] {
            if let Some(value) = value.filter(|value| !(0.0..=1.0).contains(value)) {
                return Err(self.fault(key, format!("{value} is not within 0 and 1"), "confidence goes from 0 to 1"));
            }
        }
        Ok(())
    }

    fn check_team(&self, key: &str, team: &str, known: &Known) -> Result<(), Error> {
        if team == DEFAULT_TEAM || known.teams.iter().any(|known| known == team) {
            return Ok(());
        }
        Err(self.fault(key, format!("unknown team {team:?}"), format!("{}, or {DEFAULT_TEAM}", one_of(&known.teams))))
    }
}

fn one_of(names: &[String]) -> String {
    if names.is_empty() { "none is configured".into() } else { format!("use one of {}", names.join(", ")) }
}

fn among<T: PartialEq<U>, U: ?Sized>(wanted: &[T], found: &U) -> bool {
    wanted.is_empty() || wanted.iter().any(|one| one == found)
}

impl Rule {
    /// The key of the first condition that does not hold.
    pub(super) fn missed(&self, facts: &Facts<'_>) -> Option<&'static str> {
        let when = &self.when;
        // Keywords last: they are the only condition that reads the text.
        let conditions = [
            ("brand", among(&when.brand, facts.brand)),
            ("account", among(&when.account, facts.account)),
            ("platform", among(&when.platform, facts.platform)),
            ("label", among(&when.label, &facts.label)),
            ("unsure", when.unsure.is_none_or(|unsure| unsure == facts.unsure)),
            ("lang", among(&when.lang, &facts.lang)),
            ("side", when.side.is_none_or(|side| side == facts.side)),
            ("addressed", when.addressed.is_none_or(|addressed| addressed == facts.addressed)),
            ("reach_min", when.reach_min.is_none_or(|least| facts.reach >= least)),
            ("confidence_min", when.confidence_min.is_none_or(|least| facts.confidence >= least)),
            ("confidence_max", when.confidence_max.is_none_or(|most| facts.confidence <= most)),
        ];
        let missed = conditions.into_iter().find(|(_, holds)| !holds).map(|(key, _)| key);
        missed.or_else(|| self.keyword.as_ref().is_some_and(|words| !words.is_match(facts.text)).then_some("keyword"))
    }

    /// Puts the missed condition `key` into words.
    pub(super) fn describe(&self, key: &'static str, facts: &Facts<'_>) -> Missed {
        let when = &self.when;
        let number = |value: Option<f32>| value.map_or_else(String::new, |value| value.to_string());
        let (wanted, found) = match key {
            "brand" => (when.brand.join(", "), facts.brand.to_owned()),
            "account" => (when.account.join(", "), facts.account.to_owned()),
            "platform" => (when.platform.join(", "), facts.platform.to_owned()),
            "label" => (words(&when.label, Label::as_str), facts.label.as_str().to_owned()),
            "unsure" => (when.unsure.unwrap_or_default().to_string(), facts.unsure.to_string()),
            "lang" => (words(&when.lang, Lang::as_str), facts.lang.as_str().to_owned()),
            "side" => (when.side.map_or("", Side::as_str).to_owned(), facts.side.as_str().to_owned()),
            "addressed" => (when.addressed.unwrap_or_default().to_string(), facts.addressed.to_string()),
            "reach_min" => (when.reach_min.unwrap_or_default().to_string(), facts.reach.to_string()),
            "confidence_min" => (number(when.confidence_min), facts.confidence.to_string()),
            "confidence_max" => (number(when.confidence_max), facts.confidence.to_string()),
            _ => (when.keyword.join(", "), String::new()),
        };
        Missed { key, wanted, found }
    }

    /// The examples that the whole set decides otherwise.
    pub(super) fn check_examples(&self, all: &Dispatcher) -> Vec<Error> {
        let mut faults = Vec::new();
        for (index, example) in self.examples.iter().enumerate() {
            let Given { label, confidence, unsure, lang, reach, side, addressed, .. } = example.facts;
            let Given { platform, account, brand, text, .. } = &example.facts;
            let facts = Facts { label, confidence, unsure, lang, platform, account, brand, text, reach, side, addressed };
            let decision = all.decide(&facts);
            let outcome = decision.outcome.to_string();
            if outcome != example.expect {
                let at = Place { file: &self.file, line: self.line, id: self.id.clone() };
                let problem = format!("expected {:?}, rule {} makes it {outcome:?}", example.expect, decision.rule);
                faults.push(at.fault(
                    &format!("example {}", index + 1),
                    problem,
                    "change the example, the rule or their order",
                ));
            }
        }
        faults
    }
}

fn words<T: Copy>(values: &[T], word: fn(T) -> &'static str) -> String {
    values.iter().map(|value| word(*value)).collect::<Vec<_>>().join(", ")
}
