//! The training corpus (`rules/corpus/<lang>/<trade>.jsonl`) and its lint: text of our own that teaches the
//! model must be labelled soundly, say nothing twice, copy nobody, and be as varied as what people really
//! write. Pure: the command line and the tests read the files.

mod alike;
mod variety;

use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;

use crate::mention::{Label, Lang};

pub use self::variety::{Figures, Reference, Row, Source};

/// Every trade needs at least this many posts of each label, or the label is learnt from the other trades alone.
const LEAST_PER_LABEL: usize = 5;
/// Domains that belong to nobody.
const NOBODYS: [&str; 2] = [".example", "example.com"];

/// One post of the corpus: a line of JSON.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Post {
    /// `<lang>-<trade>-<number>`, unique.
    pub id: String,
    /// Korean or English.
    pub lang: Lang,
    /// The trade that it is about; also the file's name.
    pub trade: String,
    /// The manner of which platform: never a feature, since it leaks the label.
    pub platform: String,
    /// What it is, by `docs/labels.md`.
    pub label: Label,
    /// What it is besides.
    #[serde(default)]
    pub also: Vec<Label>,
    /// The post.
    pub text: String,
    /// The post that it answers.
    #[serde(default)]
    pub answers: Option<Answered>,
}

/// The post above.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answered {
    /// What that one is.
    pub label: Label,
    /// Its text.
    pub text: String,
}

/// Text that somebody else wrote, which the corpus must not copy.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Public {
    /// Where it comes from; by default the file's name says.
    #[serde(default)]
    pub source: String,
    /// Its language.
    pub lang: Lang,
    /// Its label in our terms, where its source gives one.
    pub label: Option<Label>,
    /// The text.
    pub text: String,
}

/// Something to mend.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Where: `ko/bank.jsonl:12` or an id, or a group of posts.
    pub place: String,
    /// What is wrong and what to do.
    pub problem: String,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.place, self.problem)
    }
}

/// What the lint says.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// All that is wrong; empty when the corpus may be trained on.
    pub problems: Vec<Problem>,
    /// How varied each group is, beside the floor from real text.
    pub rows: Vec<Row>,
}

fn problem(place: impl Into<String>, problem: impl Into<String>) -> Problem {
    Problem { place: place.into(), problem: problem.into() }
}

/// Reads one file, named `<lang>/<trade>.jsonl`; lines that are no posts are problems.
pub fn read(name: &str, text: &str) -> (Vec<Post>, Vec<Problem>) {
    let (mut posts, mut problems) = (Vec::new(), Vec::new());
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let place = format!("{name}:{}", number + 1);
        match serde_json::from_str::<Post>(line) {
            Ok(post) => {
                let (lang, trade) = (post.lang.as_str(), &post.trade);
                if name != format!("{lang}/{trade}.jsonl") {
                    problems.push(problem(&place, format!("belongs into {lang}/{trade}.jsonl by its fields")));
                }
                problems.extend(fields(&post).into_iter().map(|wrong| problem(&place, wrong)));
                posts.push(post);
            }
            Err(error) => problems.push(problem(place, format!("is no post of the corpus: {error}"))),
        }
    }
    (posts, problems)
}

/// What is wrong with one post by itself.
fn fields(post: &Post) -> Vec<String> {
    let mut wrong = Vec::new();
    if !matches!(post.lang, Lang::Ko | Lang::En) {
        wrong.push("lang must be \"ko\" or \"en\"".to_owned());
    }
    let number = post.id.strip_prefix(&format!("{}-{}-", post.lang.as_str(), post.trade));
    if !number.is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit())) {
        wrong.push(format!("the id {:?} must be <lang>-<trade>-<number>", post.id));
    }
    if post.platform.is_empty() {
        wrong.push("platform is empty".to_owned());
    }
    if post.also.contains(&post.label) {
        wrong.push(format!("also repeats the label \"{}\"", post.label.as_str()));
    }
    let answered = post.answers.as_ref().map(|answers| answers.text.as_str());
    for text in [Some(post.text.as_str()), answered].into_iter().flatten() {
        if text.trim().is_empty() {
            wrong.push("a text is empty".to_owned());
        }
        let plain = crate::text::normalise(text);
        if plain != text {
            wrong.push(format!("is not in normal form, write {plain:?}"));
        }
        let masked = crate::text::mask(&plain);
        if masked != plain {
            wrong.push(format!("holds a number or address, write it as the pipeline masks it: {masked:?}"));
        }
        if let Some(domain) = domains(&plain).find(|domain| !NOBODYS.iter().any(|free| domain.ends_with(free))) {
            wrong.push(format!("points to {domain}, which may be somebody's: end it in .example"));
        }
    }
    wrong
}

/// The hosts of the addresses in `text`.
fn domains(text: &str) -> impl Iterator<Item = &str> {
    text.split("://").skip(1).map(|rest| {
        let host = rest.split(|c: char| !(c.is_ascii_alphanumeric() || c == '.' || c == '-')).next().unwrap_or_default();
        host.trim_end_matches('.')
    })
}

/// Judges the whole corpus. `reference` says how varied real text is; `public` is what must not be copied.
pub fn lint(posts: &[Post], reference: &Reference, public: &[Public]) -> Report {
    let mut problems = unique(posts);
    problems.extend(complete(posts));
    for lang in [Lang::Ko, Lang::En] {
        let ours: Vec<(&str, &str)> =
            posts.iter().filter(|post| post.lang == lang).map(|post| (post.id.as_str(), post.text.as_str())).collect();
        let theirs: Vec<(&str, &str)> =
            public.iter().filter(|text| text.lang == lang).map(|text| (text.source.as_str(), text.text.as_str())).collect();
        problems.extend(alike::near_duplicates(&ours, lang));
        problems.extend(alike::copies(&ours, &theirs, lang));
    }
    let rows = variety::rows(posts, reference);
    problems.extend(rows.iter().flat_map(Row::problems));
    problems.sort();
    Report { problems, rows }
}

fn unique(posts: &[Post]) -> Vec<Problem> {
    let mut seen = HashMap::new();
    posts.iter().filter_map(|post| seen.insert(&post.id, ()).map(|()| problem(&post.id, "this id is used twice"))).collect()
}

/// Every trade has every label, in either language.
fn complete(posts: &[Post]) -> Vec<Problem> {
    let mut counts: BTreeMap<(&str, &str), [usize; 5]> = BTreeMap::new();
    for post in posts {
        let counts = counts.entry((post.lang.as_str(), &post.trade)).or_default();
        if let Some(index) = Label::ALL.iter().position(|label| *label == post.label) {
            counts[index] += 1;
        }
    }
    let mut problems = Vec::new();
    for ((lang, trade), counts) in counts {
        for (label, count) in Label::ALL.iter().zip(counts).filter(|(_, count)| *count < LEAST_PER_LABEL) {
            let text = format!("has {count} posts of {}, fewer than {LEAST_PER_LABEL}: write more", label.as_str());
            problems.push(problem(format!("{lang}/{trade}.jsonl"), text));
        }
    }
    problems
}

#[cfg(test)]
mod tests;
