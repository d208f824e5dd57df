//! The query language: what people type into the search box, as a closed tree with limits.
//!
//! Words are joined by AND. `"a phrase"`, `-without`, `OR`, `( )`, `start*`, `"a b"~3` and fields such
//! as `label:complaint` or `posted:2026-11-01..11-21`. Parsing never fails on plain text, only on
//! something that was meant and not finished, and then says at which character.

mod field;

use std::{fmt, iter::Peekable, str::FromStr};

use jiff::civil::DateTime;

use crate::{
    case::Status,
    mention::{Label, Lang},
    text::normalise,
};

pub(crate) use field::UNSORTED;

/// Longest query, in characters.
pub const MAX_CHARS: usize = 1_000;
/// Most words, phrases and fields in a query.
pub const MAX_TERMS: usize = 64;
/// Deepest nesting of parentheses and exclusions.
pub const MAX_DEPTH: usize = 16;
/// Widest `~n`.
pub const MAX_WITHIN: u8 = 10;

/// A parsed query.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// The tree; `None` when nothing was typed, which finds everything.
    pub root: Option<Node>,
}

/// One part of a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    /// Every part must match.
    All(Vec<Node>),
    /// One of the parts must match.
    Any(Vec<Node>),
    /// The part must not match.
    Not(Box<Node>),
    /// A word, as typed.
    Word(String),
    /// A word that begins so.
    Prefix(String),
    /// Words that stand together in this order.
    Phrase(String),
    /// Words of which each has at most `within` others between itself and the next.
    Near {
        /// The words, as typed.
        words: String,
        /// How many words may stand in between.
        within: u8,
    },
    /// A fact of the post or of its case.
    Field(Field),
}

/// A condition on a fact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Field {
    /// The label in force; none asks for what nobody has sorted.
    Label(Option<Label>),
    /// Key of the team.
    Team(String),
    /// Language of the text.
    Lang(Lang),
    /// Key of the platform.
    Platform(String),
    /// Key of the account that caught the post.
    Account(String),
    /// Handle of the author.
    Author(String),
    /// Initials of the assignee, without the `^`.
    Agent(String),
    /// Where the case stands.
    Status(Status),
    /// How its clocks went.
    Sla(Sla),
    /// What else there is.
    Has(Has),
    /// Number of the incident that the case belongs to.
    Incident(u32),
    /// Key of how the case ended.
    Disposition(String),
    /// Reach of the author, from and to, both included.
    Reach(u64, u64),
    /// When it was posted, from (included) and until (not included), in the zone of whoever asks.
    Posted(Option<DateTime>, Option<DateTime>),
    /// Whole seconds from the post to our first answer, from and to, both included.
    Answered(u64, u64),
}

/// How the clocks of a case went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sla {
    /// One of them passed its deadline.
    Breached,
    /// All that have ended were in time.
    Met,
}

/// What a case or post has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Has {
    /// A reply of ours.
    Reply,
    /// A note to colleagues.
    Note,
    /// A picture or film.
    Media,
}

/// Why a query cannot be run, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.text())]
pub struct Error {
    /// The character, counted from 1.
    pub at: usize,
    /// What is wrong there.
    pub kind: Kind,
}

/// What can be wrong with a query; the pages word it in the reader's language.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// More than [`MAX_CHARS`] characters.
    TooLong,
    /// More than [`MAX_TERMS`] words, phrases and fields.
    TooManyTerms,
    /// Nested deeper than [`MAX_DEPTH`].
    TooDeep,
    /// A quote is not closed.
    QuoteNotClosed,
    /// A parenthesis is not closed.
    ParenthesisNotClosed,
    /// A parenthesis closes that never opened.
    ParenthesisNotOpened,
    /// Nothing stands between two parentheses.
    EmptyParentheses,
    /// `OR` lacks a side.
    OrLacksSide,
    /// There is no field of this name.
    UnknownField(String),
    /// A field's value is missing or not one of its kind.
    BadValue {
        /// The field.
        field: &'static str,
        /// What it takes.
        takes: &'static str,
    },
}

impl Error {
    fn text(&self) -> String {
        let at = self.at;
        match &self.kind {
            Kind::TooLong => format!("the query is longer than {MAX_CHARS} characters"),
            Kind::TooManyTerms => format!("the query has more than {MAX_TERMS} words, from character {at} on"),
            Kind::TooDeep => format!("the query is nested deeper than {MAX_DEPTH} at character {at}"),
            Kind::QuoteNotClosed => format!("the quote at character {at} is not closed"),
            Kind::ParenthesisNotClosed => format!("the parenthesis at character {at} is not closed"),
            Kind::ParenthesisNotOpened => format!("the parenthesis at character {at} closes nothing"),
            Kind::EmptyParentheses => format!("the parentheses at character {at} are empty"),
            Kind::OrLacksSide => format!("the OR at character {at} needs a word on each side"),
            Kind::UnknownField(name) => format!("there is no field {name} (character {at})"),
            Kind::BadValue { field, takes } => format!("{field} at character {at} takes {takes}"),
        }
    }
}

impl FromStr for Query {
    type Err = Error;

    fn from_str(text: &str) -> Result<Query, Error> {
        if text.chars().count() > MAX_CHARS {
            return Err(Error { at: MAX_CHARS + 1, kind: Kind::TooLong });
        }
        let mut parser = Parser { tokens: lex(text)?.into_iter().peekable(), terms: 0 };
        let root = parser.any(0)?;
        match parser.tokens.next() {
            Some(Token { at, .. }) => Err(Error { at, kind: Kind::ParenthesisNotOpened }),
            None => Ok(Query { root }),
        }
    }
}

/// A piece of the typed text, and where it begins.
struct Token {
    at: usize,
    kind: Lexeme,
}

enum Lexeme {
    Open,
    Close,
    Minus,
    Or,
    Term(Node),
}

fn is_quote(char: char) -> bool {
    matches!(char, '"' | '“' | '”')
}

/// Cuts the text; a term is whole after this, so that the parser only sees structure.
fn lex(text: &str) -> Result<Vec<Token>, Error> {
    let chars: Vec<char> = text.chars().collect();
    let mut tokens = Vec::new();
    let mut next = 0;
    while let Some(&char) = chars.get(next) {
        let (start, at) = (next, next + 1);
        next += 1;
        let kind = match char {
            _ if char.is_whitespace() => continue,
            '(' => Lexeme::Open,
            ')' => Lexeme::Close,
            '-' if chars.get(next).is_some_and(|after| !after.is_whitespace() && *after != ')') => Lexeme::Minus,
            _ if is_quote(char) => {
                let words = quoted(&chars, &mut next, at)?;
                let digits = |from: usize| chars[from..].iter().take_while(|char| char.is_ascii_digit()).count();
                let within = if chars.get(next) == Some(&'~') { digits(next + 1) } else { 0 };
                let words = normalise(&words).into_owned();
                if within == 0 {
                    Lexeme::Term(Node::Phrase(words))
                } else {
                    let number: String = chars[next + 1..=next + within].iter().collect();
                    next += 1 + within;
                    let within = number.parse().unwrap_or(MAX_WITHIN).min(MAX_WITHIN);
                    Lexeme::Term(Node::Near { words, within })
                }
            }
            _ => {
                while chars.get(next).is_some_and(|char| !char.is_whitespace() && !is_quote(*char) && !"()".contains(*char)) {
                    next += 1;
                }
                let word: String = chars[start..next].iter().collect();
                match word.as_str() {
                    "OR" => Lexeme::Or,
                    "AND" => continue,
                    _ => Lexeme::Term(term(word, &chars, &mut next, at)?),
                }
            }
        };
        tokens.push(Token { at, kind });
    }
    Ok(tokens)
}

/// What stands up to the closing quote; `next` is just behind the opening one.
fn quoted(chars: &[char], next: &mut usize, at: usize) -> Result<String, Error> {
    let length = chars[*next..].iter().position(|char| is_quote(*char));
    let length = length.ok_or(Error { at, kind: Kind::QuoteNotClosed })?;
    let words = chars[*next..*next + length].iter().collect();
    *next += length + 1;
    Ok(words)
}

/// A word, a beginning or a field; a field's value may be quoted.
fn term(word: String, chars: &[char], next: &mut usize, at: usize) -> Result<Node, Error> {
    if let Some((name, value)) = word.split_once(':') {
        let named = !name.is_empty() && name.chars().all(|char| char.is_ascii_alphabetic());
        // An address is not a field, and neither is a time of day.
        if named && !value.starts_with("//") {
            let value = match chars.get(*next) {
                Some(char) if value.is_empty() && is_quote(*char) => {
                    *next += 1;
                    let quote_at = *next;
                    quoted(chars, next, quote_at)?
                }
                _ => value.to_owned(),
            };
            return field::parse(name, &value).map(Node::Field).map_err(|kind| Error { at, kind });
        }
    }
    Ok(match word.strip_suffix('*') {
        Some(start) => Node::Prefix(normalise(start).into_owned()),
        None => Node::Word(normalise(&word).into_owned()),
    })
}

struct Parser {
    tokens: Peekable<std::vec::IntoIter<Token>>,
    terms: usize,
}

impl Parser {
    /// Alternatives joined by OR, up to a closing parenthesis or the end.
    fn any(&mut self, depth: usize) -> Result<Option<Node>, Error> {
        let mut sides = Vec::new();
        let mut or_at = None;
        loop {
            let side = self.all(depth)?;
            let next_or = self.tokens.next_if(|token| matches!(token.kind, Lexeme::Or)).map(|token| token.at);
            match (side, or_at.or(next_or)) {
                (Some(side), _) => sides.push(side),
                (None, Some(at)) => return Err(Error { at, kind: Kind::OrLacksSide }),
                (None, None) => return Ok(None),
            }
            or_at = next_or;
            if or_at.is_none() {
                return Ok(joined(sides, Node::Any));
            }
        }
    }

    /// Words side by side, up to an OR, a closing parenthesis or the end.
    fn all(&mut self, depth: usize) -> Result<Option<Node>, Error> {
        let mut parts = Vec::new();
        while let Some(token) = self.tokens.next_if(|token| !matches!(token.kind, Lexeme::Or | Lexeme::Close)) {
            parts.push(self.part(token, depth)?);
        }
        Ok(joined(parts, Node::All))
    }

    fn part(&mut self, Token { at, kind }: Token, depth: usize) -> Result<Node, Error> {
        if depth >= MAX_DEPTH && !matches!(kind, Lexeme::Term(_)) {
            return Err(Error { at, kind: Kind::TooDeep });
        }
        match kind {
            Lexeme::Term(node) => {
                self.terms += 1;
                if self.terms > MAX_TERMS { Err(Error { at, kind: Kind::TooManyTerms }) } else { Ok(node) }
            }
            Lexeme::Open => {
                let inner = self.any(depth + 1)?;
                match self.tokens.next() {
                    Some(_close) => inner.ok_or(Error { at, kind: Kind::EmptyParentheses }),
                    None => Err(Error { at, kind: Kind::ParenthesisNotClosed }),
                }
            }
            Lexeme::Minus => match self.tokens.next() {
                Some(Token { at, kind: Lexeme::Or }) => Err(Error { at, kind: Kind::OrLacksSide }),
                Some(Token { at, kind: Lexeme::Close }) => Err(Error { at, kind: Kind::ParenthesisNotOpened }),
                Some(token) => Ok(Node::Not(Box::new(self.part(token, depth + 1)?))),
                // The lexer makes a minus only in front of something; `-AND` alone is left over.
                None => Ok(Node::Word("-".into())),
            },
            Lexeme::Or => Err(Error { at, kind: Kind::OrLacksSide }),
            Lexeme::Close => Err(Error { at, kind: Kind::ParenthesisNotOpened }),
        }
    }
}

/// One part stands for itself.
fn joined(mut parts: Vec<Node>, join: fn(Vec<Node>) -> Node) -> Option<Node> {
    match parts.len() {
        0 | 1 => parts.pop(),
        _ => Some(join(parts)),
    }
}

impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.root {
            Some(root) => root.fmt(f),
            None => f.write_str("everything"),
        }
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |f: &mut fmt::Formatter<'_>, name: &str, nodes: &[Node]| {
            write!(f, "({name}")?;
            nodes.iter().try_for_each(|node| write!(f, " {node}"))?;
            f.write_str(")")
        };
        match self {
            Node::All(nodes) => list(f, "and", nodes),
            Node::Any(nodes) => list(f, "or", nodes),
            Node::Not(node) => write!(f, "(not {node})"),
            Node::Word(word) => f.write_str(word),
            Node::Prefix(start) => write!(f, "{start}*"),
            Node::Phrase(words) => write!(f, "\"{words}\""),
            Node::Near { words, within } => write!(f, "\"{words}\"~{within}"),
            Node::Field(field) => field.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests;
