//! What one gets without this project: tantivy with its default words, over the same posts and queries.

use std::path::Path;

use anyhow::Result;
use serde_json::{Value, json};
use tantivy::{
    Index, TantivyDocument,
    collector::{Count, TopDocs},
    query::QueryParser,
    schema::{FAST, STORED, Schema, TEXT},
};
use tokio::time::Instant;

use crate::{COMMIT, Figures, HEAP, PAGE, ROUNDS, machine, texts::Texts};

/// Indexes and asks; the filters of queries are left out, for it knows none of the facts.
pub(crate) fn measure(dir: &Path, texts: &Texts, figures: &mut Figures) -> Result<Value> {
    let mut schema = Schema::builder();
    let text = schema.add_text_field("text", TEXT | STORED);
    let mention = schema.add_i64_field("mention", FAST);
    let posted = schema.add_i64_field("posted", FAST);
    std::fs::create_dir_all(dir)?;
    let index = Index::create_in_dir(dir, schema.build())?;
    let mut writer = index.writer_with_num_threads(1, HEAP)?;
    let cpu = machine::cpu_seconds()?;
    for number in 0..figures.docs {
        let mut document = TantivyDocument::new();
        document.add_text(text, texts.post(number));
        document.add_i64(mention, i64::try_from(number)?);
        document.add_i64(posted, i64::try_from(number)?);
        writer.add_document(document)?;
        if (number + 1).is_multiple_of(COMMIT) {
            writer.commit()?;
        }
    }
    writer.commit()?;
    writer.wait_merging_threads()?;
    figures.indexed(machine::cpu_seconds()? - cpu, dir)?;

    let searcher = index.reader()?.searcher();
    let mut parser = QueryParser::for_index(&index, vec![text]);
    parser.set_conjunction_by_default();
    for round in 0..=ROUNDS {
        for place in 0..figures.queries.len() {
            let asked = &figures.queries[place];
            if asked.kind == "filter" {
                continue;
            }
            let begun = Instant::now();
            let (query, _) = parser.parse_query_lenient(&asked.query);
            let best = TopDocs::with_limit(PAGE).order_by_score();
            let (_, total) = searcher.search(&query, &(best, Count))?;
            figures.answered(round, place, begun.elapsed(), total);
        }
    }
    Ok(json!({ "engine": "tantivy, default words" }))
}
