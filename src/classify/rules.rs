//! Rule files: what a person writes in `rules/classify/*.toml`, checked and compiled.
//!
//! A rule fires once a text. `regex` and `any` and `all` must each hold if they are given, `not` must not.
//! Matching ignores case; `\b \w \d \s` are ASCII; a literal's Latin edge is a word's edge. With
//! `folded = true` the text is read without disguises (시1발, f*ck). `force = true` settles the label;
//! `forbid` takes one out of the race. Every rule has examples that must and that must not match.

use std::ops::Range;

use serde::Deserialize;
use toml::Spanned;

use super::{Error, pattern};
use crate::mention::{Label, Lang};

/// How many rules a set may have.
const MAX_RULES: usize = 5_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    rule: Vec<Spanned<Written>>,
}

/// A rule as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    id: String,
    label: Label,
    #[serde(default)]
    lang: Vec<Lang>,
    weight: f32,
    regex: Option<String>,
    #[serde(default)]
    any: Vec<String>,
    #[serde(default)]
    all: Vec<String>,
    not: Option<String>,
    #[serde(default)]
    folded: bool,
    #[serde(default)]
    force: bool,
    forbid: Option<Label>,
    #[serde(rename = "match", default)]
    matches: Vec<String>,
    #[serde(rename = "no_match", default)]
    no_matches: Vec<String>,
}

/// A rule as it was read, and where.
#[derive(Debug)]
pub(super) struct Source {
    file: String,
    line: usize,
    pub(super) id: String,
    pub(super) label: Label,
    lang: Vec<Lang>,
    pub(super) weight: f32,
    regex: Option<String>,
    any: Vec<String>,
    all: Vec<String>,
    not: Option<String>,
    pub(super) folded: bool,
    pub(super) force: bool,
    pub(super) forbid: Option<Label>,
    pub(super) matches: Vec<String>,
    pub(super) no_matches: Vec<String>,
}

impl Source {
    pub(super) fn fault(&self, problem: impl Into<String>, remedy: impl Into<String>) -> Error {
        let (file, line, rule) = (self.file.clone(), self.line, self.id.clone());
        Error::Rule { file, line, rule, problem: problem.into(), remedy: remedy.into() }
    }
}

/// Reads rule files, each a (name, text).
pub(super) fn read_files(files: &[(String, String)]) -> Result<Vec<Source>, Error> {
    let mut sources: Vec<Source> = Vec::new();
    for (name, text) in files {
        let line_of = |at: usize| text[..text.floor_char_boundary(at)].matches('\n').count() + 1;
        let file: File = toml::from_str(text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            let (line, problem) = (line_of(at), error.message().replace('\n', " "));
            let remedy = "correct the key or its value; docs/labels.md shows a rule".to_owned();
            match rule_before(text, at) {
                Some(rule) => Error::Rule { file: name.clone(), line, rule, problem, remedy },
                None => Error::File { file: name.clone(), line, problem, remedy },
            }
        })?;
        if file.rule.is_empty() {
            let (problem, remedy) = ("the file has no [[rule]]".into(), "add one or delete the file".into());
            return Err(Error::File { file: name.clone(), line: 1, problem, remedy });
        }
        for written in file.rule {
            let line = line_of(written.span().start);
            let Written { id, label, lang, weight, regex, any, all, not, folded, force, forbid, matches, no_matches } =
                written.into_inner();
            let file = name.clone();
            let source = Source {
                file,
                line,
                id,
                label,
                lang,
                weight,
                regex,
                any,
                all,
                not,
                folded,
                force,
                forbid,
                matches,
                no_matches,
            };
            check_form(&source, &sources)?;
            sources.push(source);
        }
    }
    Ok(sources)
}

fn check_form(source: &Source, earlier: &[Source]) -> Result<(), Error> {
    if source.id.is_empty() || source.id.len() > 80 || source.id.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err(source.fault("the id must have 1 to 80 characters without spaces", "choose another id"));
    }
    if let Some(same) = earlier.iter().find(|other| other.id == source.id) {
        let first = format!("the id is taken by {}:{}", same.file, same.line);
        return Err(source.fault(first, "give each rule its own id"));
    }
    if !(source.weight > 0.0 && source.weight <= 10.0) {
        return Err(source.fault(format!("weight {} is not within 0 and 10", source.weight), "1 is a usual weight"));
    }
    if source.regex.is_none() && source.any.is_empty() && source.all.is_empty() {
        return Err(source.fault("nothing to look for", "add regex, any or all"));
    }
    if source.any.iter().chain(&source.all).any(|literal| literal.trim().is_empty()) {
        return Err(source.fault("an empty literal matches everything", "take it out of any or all"));
    }
    if source.matches.is_empty() || source.no_matches.is_empty() {
        return Err(source.fault("examples are missing", "add at least one text to match and one to no_match"));
    }
    if earlier.len() >= MAX_RULES {
        return Err(source.fault(format!("more than {MAX_RULES} rules"), "merge some of them"));
    }
    Ok(())
}

/// Id of the rule that the faulty place `at` belongs to, as far as the text shows it.
fn rule_before(text: &str, at: usize) -> Option<String> {
    let table = text[..text.floor_char_boundary(at + 1)].rfind("[[rule]]")?;
    let rule = text[table..].split("\n[[").next()?;
    let line = rule.lines().find_map(|line| line.trim_start().strip_prefix("id"))?;
    let value = line.trim_start().strip_prefix('=')?.trim();
    Some(value.trim_matches(['"', '\'']).to_owned())
}

/// Reads lines of `label TAB regex`.
pub(super) fn read_patterns<'a>(lines: impl IntoIterator<Item = &'a str>) -> Result<Vec<Source>, Error> {
    let mut sources = Vec::new();
    for (index, line) in lines.into_iter().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let (file, line_number) = ("patterns".to_owned(), index + 1);
        let Some((label, regex)) = line.split_once('\t') else {
            let (problem, remedy) = ("no tab in the line".into(), "write label, tab, regex".into());
            return Err(Error::File { file, line: line_number, problem, remedy });
        };
        sources.push(Source {
            file,
            line: line_number,
            id: format!("p{line_number}"),
            label: Label::parse(label).unwrap_or(Label::Other),
            lang: Vec::new(),
            weight: 1.0,
            regex: Some(regex.to_owned()),
            any: Vec::new(),
            all: Vec::new(),
            not: None,
            folded: false,
            force: false,
            forbid: None,
            matches: Vec::new(),
            no_matches: Vec::new(),
        });
    }
    Ok(sources)
}

/// A compiled rule.
pub(super) struct Rule {
    pub(super) source: Source,
    /// What must be found first, and where the rule is said to have fired.
    pub(super) trigger: regex::Regex,
    also: Vec<regex::Regex>,
    not: Option<regex::Regex>,
}

impl Rule {
    pub(super) fn compile(source: Source) -> Result<Rule, Error> {
        let mut patterns: Vec<String> = source.regex.iter().map(|regex| pattern::rewrite(regex)).collect();
        if !source.any.is_empty() {
            patterns.push(pattern::any_of(&source.any));
        }
        patterns.extend(source.all.iter().map(|literal| pattern::any_of(std::slice::from_ref(literal))));
        let refuse = |problem: String| source.fault(problem, "simplify it, or split it into several rules");
        let mut also = Vec::new();
        for one in &patterns {
            also.push(pattern::compile(one).map_err(refuse)?);
        }
        let not = source.not.as_ref().map(|not| pattern::compile(&pattern::rewrite(not)).map_err(refuse)).transpose()?;
        let trigger = also.remove(0);
        if trigger.is_match("") {
            return Err(source.fault("the pattern matches an empty text", "demand at least one letter"));
        }
        Ok(Rule { source, trigger, also, not })
    }

    /// Where it fires in a lower-cased text.
    pub(super) fn fires(&self, text: &str, lang: Lang) -> Option<Range<usize>> {
        let spoken = self.source.lang.is_empty() || lang == Lang::Und || self.source.lang.contains(&lang);
        let place = if spoken { self.trigger.find(text)?.range() } else { return None };
        let holds =
            self.also.iter().all(|regex| regex.is_match(text)) && !self.not.as_ref().is_some_and(|not| not.is_match(text));
        holds.then_some(place)
    }
}
