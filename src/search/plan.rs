//! From a parsed query to a plan: which tokens at which offsets, for the index and the tail alike.
//!
//! [`analyse`] is where a typed word becomes what is looked for: `typed` says what it may look like, the pairs of
//! those forms find candidates, and `check` looks at each candidate's text.

use std::{ops::Bound, sync::Arc};

use jiff::{civil::DateTime, tz::TimeZone};
use tantivy::{
    DocId, Searcher, Term,
    index::SegmentReader,
    query::{
        AllQuery, Bm25StatisticsProvider, Bm25Weight, BooleanQuery, BoostQuery, ConstScoreQuery, EmptyQuery, EnableScoring,
        Occur, PhraseQuery, Query as Tantivy, RangeQuery, RegexQuery, TermQuery, Weight,
        doc_predicate_query::{DocPredicateQuery, FunctionPredicate},
    },
    schema::IndexRecordOption,
    tokenizer::TokenStream,
};

use super::{
    Error, Scope, Widened,
    check::{self, Pattern, Sought},
    checked::{Checked, Window},
    files::Fields,
    judged::Memory,
    korean::hangul,
    table::{Case, CaseIs, Table},
    tail,
    tokens::{Cutter, WORD, composed},
    typed,
};
use crate::{
    mention::MentionId,
    query::{Field, Node, Query},
};

/// What is looked for.
pub(super) enum Plan {
    All(Vec<Plan>),
    Any(Vec<Plan>),
    Not(Box<Plan>),
    Phrase(Phrase),
    Prefix(Prefix),
    /// What the inner plan finds; a post with the phrase as it was typed ranks before one with another form.
    Prefer(Box<Plan>, Phrase),
    Word(Word),
    Exact(Which, String),
    /// From and to, both included.
    Reach(u64, u64),
    /// Milliseconds, the end not included.
    Posted(i64, i64),
    Case(Arc<Case>),
}

/// How much more the word as it was typed weighs than another of its forms.
pub(super) const PREFERRED: f32 = 4.0;

/// Tokens with their offsets and keys; how much they weigh is known when the query is ranked.
#[derive(Clone, Default)]
pub(super) struct Phrase {
    pub(super) tokens: Vec<(u32, String, u64)>,
    /// Positions from its beginning to the place of the next word.
    pub(super) width: u32,
    pub(super) weight: Option<Bm25Weight>,
}

/// What `candidates` finds, if the text has the word.
pub(super) struct Word {
    pub(super) candidates: Box<Plan>,
    pub(super) sought: Arc<Sought>,
    /// Of which only the weight counts.
    pub(super) weight: Phrase,
}

/// A word that begins with one of these.
pub(super) struct Prefix {
    pub(super) starts: Vec<String>,
}

/// A field that holds one exact word.
#[derive(Clone, Copy)]
pub(super) enum Which {
    Lang,
    Platform,
    Account,
    Author,
}

/// What a query may know besides itself.
pub(super) struct Sight<'a> {
    pub(super) table: &'a Table,
    pub(super) scope: &'a Scope,
    pub(super) zone: &'a TimeZone,
}

/// What a plan becomes a query of tantivy with.
pub(super) struct Context<'a> {
    pub(super) searcher: &'a Searcher,
    pub(super) memory: &'a Arc<Memory>,
    pub(super) window: Arc<Window>,
}

/// The plan of a query; `None` when it contains nothing that can be looked for.
pub(super) fn plan(query: &Query, sight: &Sight<'_>) -> Option<Plan> {
    match &query.root {
        None => Some(Plan::All(Vec::new())),
        Some(root) => compile(root, sight, &mut Cutter::for_queries()),
    }
}

fn compile(node: &Node, sight: &Sight<'_>, cutter: &mut Cutter) -> Option<Plan> {
    let mut many = |nodes: &[Node]| nodes.iter().filter_map(|node| compile(node, sight, cutter)).collect::<Vec<_>>();
    match node {
        Node::All(nodes) => Some(many(nodes)).filter(|parts| !parts.is_empty()).map(Plan::All),
        Node::Any(nodes) => Some(many(nodes)).filter(|parts| !parts.is_empty()).map(Plan::Any),
        Node::Not(node) => compile(node, sight, cutter).map(|part| Plan::Not(Box::new(part))),
        Node::Word(word) => analyse(word, cutter).map(|plan| prefer(plan, phrase(word, cutter))),
        Node::Phrase(words) => quoted(words, cutter),
        Node::Prefix(start) => prefix(start),
        Node::Near { words, within } => near(words, u32::from(*within), cutter),
        Node::Field(field) => Some(condition(field, sight)),
    }
}

/// What a typed word may look like in a post.
fn analyse(word: &str, cutter: &mut Cutter) -> Option<Plan> {
    let patterns = typed::word(word, cutter);
    let other = |typed: &Pattern| patterns.iter().any(|pattern| pattern.parts != typed.parts);
    let typed = Some(typed::phrase(word, cutter)).filter(other);
    checked(patterns, typed, cutter)
}

/// Exact before widened. What is one phrase anyway needs no preference.
fn prefer(plan: Plan, typed: Phrase) -> Plan {
    match plan {
        Plan::Phrase(_) | Plan::Word(_) => plan,
        _ if typed.tokens.is_empty() => plan,
        _ => Plan::Prefer(Box::new(plan), typed),
    }
}

/// Words in this order. Those of other scripts need no check: they are whole tokens.
fn quoted(words: &str, cutter: &mut Cutter) -> Option<Plan> {
    let pattern = typed::phrase(words, cutter);
    if pattern.dense() { checked(vec![pattern], None, cutter) } else { any_of([phrase(words, cutter)]) }
}

fn checked(patterns: Vec<Pattern>, typed: Option<Pattern>, cutter: &mut Cutter) -> Option<Plan> {
    let mut texts: Vec<&Vec<String>> = Vec::new();
    let mut parts = Vec::new();
    for pattern in &patterns {
        if !texts.contains(&&pattern.texts) {
            texts.push(&pattern.texts);
            parts.extend(candidates(pattern, cutter));
        }
    }
    let inner = if parts.len() > 1 { Plan::Any(parts) } else { parts.pop()? };
    if patterns.iter().all(Pattern::found_by_tokens) {
        return Some(inner);
    }
    let weight = phrase(&patterns.first()?.texts.concat(), cutter);
    Some(Plan::Word(Word { candidates: Box::new(inner), sought: Arc::new(Sought { patterns, typed }), weight }))
}

/// Where a pattern may stand, and perhaps more.
fn candidates(pattern: &Pattern, cutter: &mut Cutter) -> Option<Plan> {
    let single = |text: &str| text.chars().next().filter(|char| text.chars().count() == 1 && hangul::is(*char));
    let part = |text: &String| {
        let phrase = phrase(text, cutter);
        match single(text) {
            // Inside of words only what is no particle and no ending: 배달앱, 손댔다.
            Some(char) if pattern.anywhere(char) => Some(Plan::Prefix(Prefix { starts: vec![char.to_string()] })),
            Some(char) => {
                let with = |adverb: char| self::phrase(&String::from_iter([adverb, char]), &mut Cutter::for_queries());
                any_of([phrase].into_iter().chain(check::BEFORE_VERBS.chars().map(with)))
            }
            None => any_of([phrase]),
        }
    };
    let mut parts: Vec<Plan> = pattern.texts.iter().map(part).collect::<Option<_>>()?;
    if parts.len() > 1 { Some(Plan::All(parts)) } else { parts.pop() }
}

/// The words of a query that find more than their letters, and what they find.
pub(super) fn widened(query: &Query) -> Vec<Widened> {
    let mut found = Vec::new();
    let mut waiting: Vec<&Node> = query.root.iter().collect();
    while let Some(node) = waiting.pop() {
        match node {
            Node::All(nodes) | Node::Any(nodes) => waiting.extend(nodes.iter().rev()),
            Node::Word(word) => found.extend(typed::widened(word, &mut Cutter::for_queries())),
            _ => {}
        }
    }
    found
}

fn any_of(phrases: impl IntoIterator<Item = Phrase>) -> Option<Plan> {
    let mut parts: Vec<Plan> = phrases.into_iter().filter(|phrase| !phrase.tokens.is_empty()).map(Plan::Phrase).collect();
    if parts.len() > 1 { Some(Plan::Any(parts)) } else { parts.pop() }
}

fn phrase(words: &str, cutter: &mut Cutter) -> Phrase {
    let words = composed(words);
    let mut cuts = cutter.cut(&words);
    let mut tokens = Vec::new();
    while cuts.advance() {
        let token = cuts.token();
        tokens.push((u32::try_from(token.position).unwrap_or(u32::MAX), token.text.clone(), tail::key(&token.text)));
    }
    Phrase { tokens, width: cuts.width(), weight: None }
}

/// A run of syllables must begin so, which the token of its first syllable says; a Latin word may go on.
/// Of a start that mixes both, a Latin word at the end is taken as whole.
fn prefix(start: &str) -> Option<Plan> {
    let mut phrase = phrase(start, &mut Cutter::for_queries());
    if let Some((0, pair, _)) = phrase.tokens.first()
        && pair.chars().count() == 2
        && let Some(first) = pair.chars().next().filter(|first| !first.is_ascii()).map(String::from)
    {
        let key = tail::key(&first);
        phrase.tokens.insert(0, (0, first, key));
    }
    match phrase.tokens.as_slice() {
        [(_, stem, _)] if phrase.width == WORD => {
            let letters = composed(start).chars().filter(|char| char.is_alphanumeric()).flat_map(char::to_lowercase).collect();
            let mut starts = vec![letters, stem.clone()];
            starts.dedup();
            Some(Plan::Prefix(Prefix { starts }))
        }
        _ => any_of([phrase]),
    }
}

/// Each word at most `within` words from the next, in either order: one exact phrase for each distance.
fn near(words: &str, within: u32, cutter: &mut Cutter) -> Option<Plan> {
    let words: Vec<Phrase> =
        words.split_whitespace().map(|word| phrase(word, cutter)).filter(|phrase| !phrase.tokens.is_empty()).collect();
    let apart = |first: &Phrase, second: &Phrase, gap: u32| {
        let moved = second.tokens.iter().map(|(offset, token, key)| (offset + first.width + gap, token.clone(), *key));
        Phrase { tokens: first.tokens.iter().cloned().chain(moved).collect(), width: 0, weight: None }
    };
    let pair = |pair: &[Phrase]| match pair {
        [first, second] => any_of((0..=within * WORD).flat_map(|gap| [apart(first, second, gap), apart(second, first, gap)])),
        _ => None,
    };
    match words.len() {
        0 | 1 => any_of(words),
        _ => Some(Plan::All(words.windows(2).filter_map(pair).collect())),
    }
}

fn condition(field: &Field, sight: &Sight<'_>) -> Plan {
    let case = |is| Plan::Case(Arc::new(Case { is, table: sight.table.clone(), scope: sight.scope.clone() }));
    match field {
        Field::Lang(lang) => Plan::Exact(Which::Lang, lang.as_str().to_owned()),
        Field::Platform(key) => Plan::Exact(Which::Platform, key.clone()),
        Field::Account(key) => Plan::Exact(Which::Account, key.clone()),
        Field::Author(handle) => Plan::Exact(Which::Author, handle.clone()),
        Field::Reach(from, to) => Plan::Reach(*from, *to),
        Field::Posted(from, until) => {
            let millis = |at: &DateTime| instant(*at, sight.zone);
            let start = from.as_ref().and_then(millis).unwrap_or(i64::MIN);
            Plan::Posted(start, until.as_ref().and_then(millis).unwrap_or(i64::MAX))
        }
        Field::Label(label) => case(CaseIs::Label(*label)),
        Field::Team(key) => case(CaseIs::Team(sight.table.team(key))),
        Field::Agent(initials) => case(CaseIs::Agent(sight.table.agent(initials))),
        Field::Status(status) => case(CaseIs::Status(*status)),
        Field::Sla(sla) => case(CaseIs::Sla(*sla)),
        Field::Has(has) => case(CaseIs::Has(*has)),
        Field::Incident(number) => case(CaseIs::Incident(*number)),
        Field::Disposition(key) => case(CaseIs::Disposition(sight.table.disposition(key))),
        Field::Answered(from, to) => case(CaseIs::Answered(*from, *to)),
    }
}

/// Milliseconds of a time on the wall in `zone`; one that the zone skips is the moment after.
pub(super) fn instant(at: DateTime, zone: &TimeZone) -> Option<i64> {
    at.to_zoned(zone.clone()).ok().map(|at| at.timestamp().as_millisecond())
}

impl Plan {
    /// Gives each phrase its weight for ranking in the tail, by the statistics that the index uses.
    pub(super) fn weigh(&mut self, fields: &Fields, statistics: &dyn Bm25StatisticsProvider) -> Result<(), Error> {
        match self {
            Plan::All(parts) | Plan::Any(parts) => parts.iter_mut().try_for_each(|part| part.weigh(fields, statistics)),
            Plan::Word(word) => word.weight.weigh(fields, statistics),
            Plan::Prefer(inner, typed) => {
                typed.weigh(fields, statistics)?;
                inner.weigh(fields, statistics)
            }
            Plan::Phrase(phrase) => phrase.weigh(fields, statistics),
            _ => Ok(()),
        }
    }

    /// The same for tantivy.
    pub(super) fn tantivy(&self, fields: &Fields, context: &Context<'_>) -> Result<Box<dyn Tantivy>, Error> {
        // A condition finds, it does not rank.
        let unranked = |query: Box<dyn Tantivy>| -> Box<dyn Tantivy> { Box::new(ConstScoreQuery::new(query, 0.0)) };
        let joined = |parts: &[Plan], occur| {
            let clauses = parts.iter().map(|part| Ok((occur, part.tantivy(fields, context)?)));
            clauses.collect::<Result<Vec<_>, Error>>().map(BooleanQuery::new)
        };
        Ok(match self {
            Plan::All(parts) if parts.is_empty() => unranked(Box::new(AllQuery)),
            Plan::All(parts) => Box::new(joined(parts, Occur::Must)?),
            Plan::Any(parts) => Box::new(joined(parts, Occur::Should)?),
            Plan::Not(part) => {
                let weight = part.tantivy(fields, context)?.weight(EnableScoring::disabled_from_searcher(context.searcher))?;
                unranked(Box::new(DocPredicateQuery::from(FunctionPredicate::from(outside(weight)))))
            }
            Plan::Phrase(phrase) => phrase.tantivy(fields),
            Plan::Prefer(inner, typed) => {
                let typed = Box::new(BoostQuery::new(typed.tantivy(fields), PREFERRED));
                Box::new(BooleanQuery::new(vec![(Occur::Must, inner.tantivy(fields, context)?), (Occur::Should, typed)]))
            }
            Plan::Word(word) => Box::new(Checked {
                candidates: word.candidates.tantivy(fields, context)?,
                sought: Arc::clone(&word.sought),
                terms: word.weight.terms(fields).map(|(_, term)| term).collect(),
                text: fields.text,
                memory: Arc::clone(context.memory),
                window: Arc::clone(&context.window),
            }),
            // Tokens are letters and digits, so nothing needs escaping.
            Plan::Prefix(prefix) => {
                Box::new(RegexQuery::from_pattern(&format!("({}).*", prefix.starts.join("|")), fields.text)?)
            }
            Plan::Exact(which, value) => {
                let field = match which {
                    Which::Lang => fields.lang,
                    Which::Platform => fields.platform,
                    Which::Account => fields.account,
                    Which::Author => fields.author,
                };
                unranked(Box::new(TermQuery::new(Term::from_field_text(field, value), IndexRecordOption::Basic)))
            }
            Plan::Reach(from, to) => {
                let bound = |end: u64| Bound::Included(Term::from_field_u64(fields.reach, end));
                unranked(Box::new(RangeQuery::new(bound(*from), bound(*to))))
            }
            Plan::Posted(from, until) => {
                let term = |end: i64| Term::from_field_i64(fields.posted, end);
                unranked(Box::new(RangeQuery::new(Bound::Included(term(*from)), Bound::Excluded(term(*until)))))
            }
            Plan::Case(case) => {
                let case = Arc::clone(case);
                let predicate = FunctionPredicate::from(move |segment: &SegmentReader| {
                    let case = Arc::clone(&case);
                    let ids = segment.fast_fields().column_first_or_default::<i64>("mention")?;
                    Ok(move |doc: DocId| case.holds(MentionId(ids.get_val(doc))))
                });
                unranked(Box::new(DocPredicateQuery::from(predicate)))
            }
        })
    }
}

/// What a part does not find. Tantivy's own exclusion seeks backwards in a phrase, which its scorer must
/// not be asked to do.
fn outside(
    weight: Box<dyn Weight>,
) -> impl Fn(&SegmentReader) -> tantivy::Result<Box<dyn Fn(DocId) -> bool + Send + Sync>> + Send + Sync + 'static {
    move |segment| {
        let mut found = vec![false; segment.max_doc() as usize];
        weight.for_each_no_score(segment, &mut |docs| {
            for doc in docs {
                if let Some(found) = found.get_mut(*doc as usize) {
                    *found = true;
                }
            }
        })?;
        Ok(Box::new(move |doc| !found.get(doc as usize).copied().unwrap_or(false)))
    }
}

impl Phrase {
    fn weigh(&mut self, fields: &Fields, statistics: &dyn Bm25StatisticsProvider) -> Result<(), Error> {
        let terms: Vec<Term> = self.terms(fields).map(|(_, term)| term).collect();
        if !terms.is_empty() {
            self.weight = Some(Bm25Weight::for_terms(statistics, &terms)?);
        }
        Ok(())
    }

    fn tantivy(&self, fields: &Fields) -> Box<dyn Tantivy> {
        let mut terms: Vec<(usize, Term)> = self.terms(fields).collect();
        match terms.len() {
            0 => Box::new(EmptyQuery),
            1 => Box::new(TermQuery::new(terms.remove(0).1, IndexRecordOption::WithFreqs)),
            _ => Box::new(PhraseQuery::new_with_offset(terms)),
        }
    }

    fn terms(&self, fields: &Fields) -> impl Iterator<Item = (usize, Term)> {
        let field = fields.text;
        self.tokens.iter().map(move |(offset, token, _)| (*offset as usize, Term::from_field_text(field, token)))
    }
}
