//! `moksori search-eval`: a file of posts is indexed, a file of queries is run, and every hit is printed, so that
//! anybody can measure what is found. Two plain ways of searching can be asked for beside ours.

use std::{
    collections::HashMap,
    fs,
    io::{self, BufRead, BufReader, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use prometheus::Registry;
use serde::Deserialize;
use tantivy::{
    Index, TantivyDocument, Term,
    collector::DocSetCollector,
    query::{BooleanQuery, EmptyQuery, Occur, PhraseQuery, Query as Tantivy, TermQuery},
    schema::{Field, IndexRecordOption, STORED, Schema, TextFieldIndexing, TextOptions, Value},
    tokenizer::{LowerCaser, RemoveLongFilter, SimpleTokenizer, TextAnalyzer, TokenStream},
};

use super::{
    Batch, Config, Error, Facts, Metrics, Order, Page, Post, Scope, Search,
    tokens::{ANALYZER, Cutter, composed},
};
use crate::{
    case::Seq,
    clock::Time,
    mention::{Lang, MentionId},
    query::{Node, Query},
};

/// How to search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// As the console does.
    Moksori,
    /// Words as tantivy's default tokenizer cuts them, all of them wanted.
    Default,
    /// Each word as a phrase of its pairs of syllables, all of them wanted, nothing more.
    Pairs,
}

/// Why nothing could be measured.
#[derive(Debug, thiserror::Error)]
pub enum EvalError {
    /// A file cannot be read, or the answers not be written.
    #[error("could not read {path}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A line is not what it should be.
    #[error("{path}:{line}: expected {takes}")]
    Line {
        /// Which file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What a line should be.
        takes: &'static str,
        /// Why.
        source: serde_json::Error,
    },
    /// The answers cannot be written.
    #[error("could not write the answers")]
    Write(#[from] io::Error),
    /// The index does not answer.
    #[error(transparent)]
    Search(#[from] Error),
}

impl From<tantivy::TantivyError> for EvalError {
    fn from(error: tantivy::TantivyError) -> EvalError {
        EvalError::Search(Error::Index(error))
    }
}

#[derive(Deserialize)]
struct Doc {
    id: serde_json::Value,
    text: String,
}

#[derive(Deserialize)]
struct Asked {
    #[serde(alias = "query_id")]
    id: serde_json::Value,
    #[serde(alias = "text")]
    query: String,
}

fn lines<T: for<'a> Deserialize<'a>>(path: &Path, takes: &'static str) -> Result<Vec<T>, EvalError> {
    let read = |source| EvalError::Read { path: path.to_owned(), source };
    let mut rows = Vec::new();
    for (line, text) in (1..).zip(BufReader::new(fs::File::open(path).map_err(read)?).lines()) {
        let text = text.map_err(read)?;
        if !text.trim().is_empty() {
            let row = serde_json::from_str(&text);
            rows.push(row.map_err(|source| EvalError::Line { path: path.to_owned(), line, takes, source })?);
        }
    }
    Ok(rows)
}

/// Indexes the JSON Lines file `docs` of `{id, text}`, runs each `{id|query_id, query|text}` of `queries` over it,
/// and writes one line `{"query_id", "doc_ids"}` a query, with all hits in the order of the file. The index lives
/// in `scratch`, a directory that is made and removed.
///
/// # Errors
/// What cannot be read, with its line, and what the disk says.
pub fn evaluate(docs: &Path, queries: &Path, engine: Engine, scratch: &Path, out: &mut dyn Write) -> Result<(), EvalError> {
    let docs: Vec<Doc> = lines(docs, "{\"id\": …, \"text\": …}")?;
    let queries: Vec<Asked> = lines(queries, "{\"id\": …, \"query\": …}")?;
    let answered = match engine {
        Engine::Moksori => ours(&docs, &queries, scratch, out),
        Engine::Default => {
            let words =
                TextAnalyzer::builder(SimpleTokenizer::default()).filter(RemoveLongFilter::limit(40)).filter(LowerCaser);
            plain(&docs, &queries, words.build(), out)
        }
        Engine::Pairs => plain(&docs, &queries, TextAnalyzer::from(Cutter::for_posts()), out),
    };
    if scratch.exists() {
        fs::remove_dir_all(scratch)?;
    }
    answered
}

fn answer(out: &mut dyn Write, asked: &Asked, docs: &[Doc], mut hits: Vec<usize>) -> Result<(), EvalError> {
    hits.sort_unstable();
    let ids: Vec<&serde_json::Value> = hits.into_iter().filter_map(|hit| docs.get(hit)).map(|doc| &doc.id).collect();
    writeln!(out, "{}", serde_json::json!({ "query_id": asked.id, "doc_ids": ids }))?;
    Ok(())
}

fn ours(docs: &[Doc], queries: &[Asked], scratch: &Path, out: &mut dyn Write) -> Result<(), EvalError> {
    let config = Config {
        commit_every: Duration::from_secs(3_600),
        commit_docs: 20_000,
        writer_heap_bytes: 64_000_000,
        time_zone: "Asia/Seoul".into(),
    };
    let metrics = Metrics::new(&Registry::new()).map_err(|error| io::Error::other(error.to_string()))?;
    let (search, _) = Search::open(scratch, config, metrics)?;
    for (number, chunk) in docs.chunks(10_000).enumerate() {
        let ids = || (number * 10_000..).filter_map(|row| i64::try_from(row).ok()).map(MentionId);
        let post = |(mention, doc): (MentionId, &Doc)| Post {
            mention,
            new: true,
            text: doc.text.clone(),
            lang: Lang::Und,
            platform: "file".into(),
            accounts: Vec::new(),
            author: String::new(),
            posted_at: Time(mention.0),
            reach: 0,
        };
        let facts = ids().take(chunk.len()).map(|mention| Facts::new(mention, 1)).collect();
        let upserts = ids().zip(chunk).map(post).collect();
        let seq = Seq(i64::try_from(number).unwrap_or(i64::MAX) + 1);
        search.apply(Batch { upserts, facts, seq, ..Batch::default() })?;
        search.flush()?;
    }
    let scope = Scope { teams: Vec::new(), brands: vec![1] };
    for asked in queries {
        // What the query language refuses is looked for as it stands.
        let query = asked.query.parse::<Query>().unwrap_or_else(|_| Query { root: Some(Node::Word(asked.query.clone())) });
        let found = search.find(&query, &scope, Order::Oldest, Page { offset: 0, limit: docs.len() })?;
        let hits = found.hits.iter().filter_map(|hit| usize::try_from(hit.mention.0).ok()).collect();
        answer(out, asked, docs, hits)?;
    }
    Ok(())
}

fn plain(docs: &[Doc], queries: &[Asked], mut analyzer: TextAnalyzer, out: &mut dyn Write) -> Result<(), EvalError> {
    let mut schema = Schema::builder();
    let indexing =
        TextFieldIndexing::default().set_tokenizer(ANALYZER).set_index_option(IndexRecordOption::WithFreqsAndPositions);
    let text = schema.add_text_field("text", TextOptions::default().set_indexing_options(indexing));
    let row = schema.add_u64_field("row", STORED);
    let index = Index::create_in_ram(schema.build());
    index.tokenizers().register(ANALYZER, analyzer.clone());
    let mut writer = index.writer_with_num_threads(1, 64_000_000)?;
    for (number, doc) in (0_u64..).zip(docs) {
        let mut document = TantivyDocument::new();
        document.add_text(text, composed(&doc.text));
        document.add_u64(row, number);
        writer.add_document(document)?;
    }
    writer.commit()?;
    let searcher = index.reader()?.searcher();
    for asked in queries {
        let found = searcher.search(&wanted(&asked.query, text, &mut analyzer), &DocSetCollector)?;
        let mut hits = Vec::new();
        for address in found {
            let document: TantivyDocument = searcher.doc(address)?;
            hits.extend(document.get_first(row).and_then(|value| value.as_u64()).and_then(|row| usize::try_from(row).ok()));
        }
        answer(out, asked, docs, hits)?;
    }
    Ok(())
}

/// Every word, each as a phrase of its tokens; quoted words as one phrase.
fn wanted(query: &str, field: Field, analyzer: &mut TextAnalyzer) -> Box<dyn Tantivy> {
    let query = composed(query);
    let quoted = query.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let words = quoted.map_or_else(|| query.split_whitespace().collect(), |words| vec![words]);
    let mut clauses: Vec<(Occur, Box<dyn Tantivy>)> = Vec::new();
    for word in words {
        // The syllables that stand alone say nothing that the pairs do not.
        let mut terms: HashMap<usize, Term> = HashMap::new();
        let mut stream = analyzer.token_stream(word);
        while stream.advance() {
            let token = stream.token();
            let longer = terms.get(&token.position).is_none_or(|term| term.serialized_value_bytes().len() < token.text.len());
            if longer {
                terms.insert(token.position, Term::from_field_text(field, &token.text));
            }
        }
        let mut terms: Vec<(usize, Term)> = terms.into_iter().collect();
        terms.sort_by_key(|(position, _)| *position);
        let single = |(_, term): &(usize, Term)| {
            term.value().as_str().is_some_and(|token| token.chars().count() == 1 && !token.is_ascii())
        };
        if terms.len() > 1 && terms.last().is_some_and(single) {
            terms.pop();
        }
        match terms.len() {
            0 => {}
            1 => clauses.push((Occur::Must, Box::new(TermQuery::new(terms.remove(0).1, IndexRecordOption::Basic)))),
            _ => clauses.push((Occur::Must, Box::new(PhraseQuery::new_with_offset(terms)))),
        }
    }
    if clauses.is_empty() { Box::new(EmptyQuery) } else { Box::new(BooleanQuery::new(clauses)) }
}
