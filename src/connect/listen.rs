//! Listening queries: how a platform is asked for them, and which of what it gives is meant.
//!
//! A platform's search says less than ours. What it cannot express is left out of what is asked, so that
//! it gives more, never less; the full query then decides here. A query that is too long is asked in parts.

use std::{collections::BTreeSet, str::FromStr};

use sha2::{Digest, Sha256};

use super::format::{Dialect, Listen};
use crate::{
    mention::Envelope,
    query::{Field, Node, Query},
    text::{hex, normalise},
};

/// What is asked of a platform at once, for one query.
#[derive(Clone, Debug)]
pub(super) struct Shard {
    /// The query's name.
    pub name: String,
    /// What the platform is asked for, in its own words.
    pub text: String,
    /// What its cursor is called: another text is another walk.
    pub cursor: String,
    full: Query,
}

/// What the full query says of a mention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is meant.
    Caught,
    /// It is not, for this reason.
    Other(&'static str),
}

/// The queries of an account as the platform is asked for them.
///
/// # Errors
/// The first query that cannot be read, or asks for nothing that the platform can look for.
pub(super) fn shards(queries: &[Listen], dialect: &Dialect) -> Result<Vec<Shard>, String> {
    let mut shards = Vec::new();
    let mut names = BTreeSet::new();
    for listen in queries {
        if !names.insert(&listen.name) {
            return Err(format!("two listening queries are called `{}`; rename one", listen.name));
        }
        let full = Query::from_str(&listen.text).map_err(|error| format!("listening query `{}`: {error}", listen.name))?;
        let nothing = || format!("listening query `{}` has no word that the platform can look for; add one", listen.name);
        let root = full.root.as_ref().ok_or_else(nothing)?;
        let texts = divide(root, dialect);
        if texts.is_empty() || texts.iter().any(String::is_empty) {
            return Err(nothing());
        }
        let limit = dialect.max_chars.unwrap_or(usize::MAX);
        if let Some(long) = texts.iter().find(|text| text.chars().count() > limit) {
            let length = long.chars().count();
            return Err(format!(
                "listening query `{}` takes {length} characters on this platform, which allows {limit}; divide it with OR, or shorten it",
                listen.name
            ));
        }
        shards.extend(texts.into_iter().map(|text| Shard {
            name: listen.name.clone(),
            cursor: format!("{}:{}", listen.name, &hex(&Sha256::digest(text.as_bytes()))[..8]),
            text,
            full: full.clone(),
        }));
    }
    Ok(shards)
}

/// The texts that together ask for at least what `node` means: one if it is short enough, else one for as many of its
/// alternatives as fit.
fn divide(node: &Node, dialect: &Dialect) -> Vec<String> {
    let limit = dialect.max_chars.unwrap_or(usize::MAX);
    let fits = |text: &String| text.chars().count() <= limit;
    if let Some(whole) = written(node, dialect, false).filter(fits) {
        return vec![whole];
    }
    let alternatives = alternatives(node);
    let mut parts: Vec<Vec<Node>> = Vec::new();
    for one in alternatives {
        let joined = |part: &Vec<Node>| part.iter().cloned().chain([one.clone()]).collect::<Vec<_>>();
        let room = parts
            .last()
            .map(joined)
            .filter(|more| written(&Node::Any(more.clone()), dialect, false).is_some_and(|text| fits(&text)));
        match (parts.last_mut(), room) {
            (Some(last), Some(more)) => *last = more,
            _ => parts.push(vec![one]),
        }
    }
    let text = |part: Vec<Node>| match <[Node; 1]>::try_from(part) {
        Ok([one]) => written(&one, dialect, false),
        Err(several) => written(&Node::Any(several), dialect, false),
    };
    parts.into_iter().map(|part| text(part).unwrap_or_default()).collect()
}

/// The query as a list of which one must match: `a (b OR c)` is `a b` or `a c`.
fn alternatives(node: &Node) -> Vec<Node> {
    match node {
        Node::Any(parts) => parts.iter().flat_map(alternatives).collect(),
        Node::All(parts) => {
            let Some(at) = parts.iter().position(|part| matches!(part, Node::Any(_))) else { return vec![node.clone()] };
            let with = |one: Node| {
                Node::All(
                    parts
                        .iter()
                        .enumerate()
                        .map(|(index, part)| if index == at { one.clone() } else { part.clone() })
                        .collect(),
                )
            };
            alternatives(&parts[at]).into_iter().flat_map(|one| alternatives(&with(one))).collect()
        }
        _ => vec![node.clone()],
    }
}

/// The node in the platform's words, or none where it has no words for it. Inside `not`, only what it can say exactly
/// may be said: a wider exclusion would lose posts.
fn written(node: &Node, dialect: &Dialect, exact: bool) -> Option<String> {
    let around = |frame: &Option<String>, text: &str| Some(frame.as_ref()?.replace("{}", text));
    let grouped = |node: &Node, text: String| match node {
        Node::Any(_) | Node::All(_) => around(&dialect.group, &text),
        _ => Some(text),
    };
    match node {
        Node::Word(word) => Some(word.clone()),
        Node::Phrase(words) => around(&dialect.phrase, words).or_else(|| words_of(words, dialect, exact)),
        Node::Near { words, .. } => words_of(words, dialect, exact),
        // Most searches take a beginning for a whole word.
        Node::Prefix(_) => None,
        Node::All(parts) => {
            let texts: Vec<Option<String>> =
                parts.iter().map(|part| written(part, dialect, exact).and_then(|text| grouped(part, text))).collect();
            if exact && texts.iter().any(Option::is_none) {
                return None;
            }
            let texts: Vec<String> = texts.into_iter().flatten().collect();
            match (&dialect.and, texts.len()) {
                (_, 0) => None,
                (_, 1) => texts.into_iter().next(),
                (Some(and), _) => Some(texts.join(and)),
                // One of them is wider than all.
                (None, _) => texts.into_iter().next().filter(|_| !exact),
            }
        }
        Node::Any(parts) => {
            let texts: Option<Vec<String>> = parts
                .iter()
                .map(|part| {
                    written(part, dialect, exact).and_then(|text| match part {
                        Node::All(_) => around(&dialect.group, &text).or(Some(text)),
                        _ => grouped(part, text),
                    })
                })
                .collect();
            Some(texts?.join(dialect.or.as_ref()?))
        }
        Node::Not(inner) => {
            let text = written(inner, dialect, true).and_then(|text| grouped(inner, text))?;
            around(&dialect.not, &text).filter(|_| !exact)
        }
        Node::Field(Field::Lang(lang)) => around(&dialect.lang, lang.as_str()),
        Node::Field(_) => None,
    }
}

fn words_of(words: &str, dialect: &Dialect, exact: bool) -> Option<String> {
    let words: Vec<&str> = words.split_whitespace().collect();
    match (&dialect.and, words.len()) {
        _ if exact => None,
        (_, 0) => None,
        (Some(and), _) => Some(words.join(and)),
        (None, _) => Some(words[0].to_owned()),
    }
}

impl Shard {
    /// Whether the full query means `mention`.
    pub fn judge(&self, mention: &Envelope) -> Verdict {
        let Some(root) = &self.full.root else { return Verdict::Caught };
        let text = normalise(&mention.text).to_lowercase();
        match holds(root, &text, mention) {
            Some(false) if wrong_language(root, mention) => Verdict::Other("foreign_language"),
            Some(false) => Verdict::Other("filtered"),
            _ => Verdict::Caught,
        }
    }
}

/// Whether a part that the whole query needs is a language other than the mention's.
fn wrong_language(node: &Node, mention: &Envelope) -> bool {
    match node {
        Node::Field(Field::Lang(_)) => holds(node, "", mention) == Some(false),
        Node::All(parts) => parts.iter().any(|part| wrong_language(part, mention)),
        _ => false,
    }
}

/// Whether `node` holds; nothing where a post that has just come in cannot say.
fn holds(node: &Node, text: &str, mention: &Envelope) -> Option<bool> {
    match node {
        Node::All(parts) => decided(parts, false, text, mention),
        Node::Any(parts) => decided(parts, true, text, mention),
        Node::Not(inner) => holds(inner, text, mention).map(|held| !held),
        Node::Word(word) => Some(places(text, word).next().is_some()),
        Node::Prefix(start) => Some(starts(text, start)),
        Node::Phrase(words) => Some(phrase(text, words)),
        Node::Near { words, within } => Some(near(text, words, usize::from(*within))),
        Node::Field(Field::Lang(lang)) => {
            let said = mention.lang.as_deref().filter(|said| !said.is_empty() && *said != "und")?;
            Some(said.split(['-', '_']).next().is_some_and(|said| said.eq_ignore_ascii_case(lang.as_str())))
        }
        Node::Field(Field::Author(handle)) => {
            let author = mention.author.as_ref()?;
            Some(author.handle.eq_ignore_ascii_case(handle.trim_start_matches('@')))
        }
        Node::Field(Field::Platform(platform)) => Some(mention.platform() == platform),
        Node::Field(Field::Reach(from, to)) => Some((*from..=*to).contains(&mention.author.as_ref()?.reach?)),
        Node::Field(_) => None,
    }
}

/// What parts say together, of which one that says `word` decides.
fn decided(parts: &[Node], word: bool, text: &str, mention: &Envelope) -> Option<bool> {
    let said: Vec<Option<bool>> = parts.iter().map(|part| holds(part, text, mention)).collect();
    if said.contains(&Some(word)) {
        Some(word)
    } else if said.contains(&None) {
        None
    } else {
        Some(!word)
    }
}

/// Where a word stands. Of Latin letters and digits it is whole; a Korean one may have particles and be written with
/// other spaces.
fn places<'text>(text: &'text str, word: &str) -> impl Iterator<Item = usize> + use<'text> {
    let word = normalise(word).to_lowercase();
    let found: Vec<usize> = text
        .match_indices(&word)
        .map(|(at, _)| at)
        .filter(|at| !word.is_empty() && whole(text, *at, *at + word.len()))
        .collect();
    let spaced = found.is_empty() && word.chars().count() >= 3 && !word.is_ascii();
    let squeezed = spaced && text.chars().filter(|c| !c.is_whitespace()).collect::<String>().contains(&word);
    found.into_iter().chain(squeezed.then_some(0))
}

/// Whether neither end of a place cuts a Latin word.
fn whole(text: &str, from: usize, to: usize) -> bool {
    let latin = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    let cut = |before: Option<char>, after: Option<char>| latin(before) && latin(after);
    !cut(text[..from].chars().next_back(), text[from..].chars().next())
        && !cut(text[..to].chars().next_back(), text[to..].chars().next())
}

fn starts(text: &str, start: &str) -> bool {
    let start = normalise(start).to_lowercase();
    text.match_indices(&start)
        .any(|(at, _)| whole(text, at, at) || at == 0 || !text[..at].ends_with(|c: char| c.is_ascii_alphanumeric()))
}

fn phrase(text: &str, words: &str) -> bool {
    let squeeze = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let (text, words) = (squeeze(text), squeeze(&normalise(words).to_lowercase()));
    places(&text, &words).next().is_some()
}

/// Whether each word has at most `within` others between itself and the next.
fn near(text: &str, words: &str, within: usize) -> bool {
    let typed = normalise(words).to_lowercase();
    let tokens: Vec<&str> = text.split_whitespace().collect();
    let at = |word: &str| -> Vec<usize> {
        tokens.iter().enumerate().filter(|(_, token)| places(token, word).next().is_some()).map(|(at, _)| at).collect()
    };
    let mut reached: Option<Vec<usize>> = None;
    for word in typed.split_whitespace() {
        let found = at(word);
        reached = Some(match reached {
            None => found,
            Some(before) => found.into_iter().filter(|at| before.iter().any(|one| one.abs_diff(*at) <= within + 1)).collect(),
        });
    }
    reached.is_some_and(|reached| !reached.is_empty())
}

#[cfg(test)]
mod tests;
