//! The index on disk: its fields, how a post becomes a document, and opening it whatever state it is in.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use tantivy::{
    Index, IndexReader, IndexSettings, IndexWriter, ReloadPolicy, TantivyDocument, TantivyError,
    directory::{MmapDirectory, error::LockError},
    indexer::IndexWriterOptions,
    schema::{FAST, Field, INDEXED, IndexRecordOption, STRING, Schema, TextFieldIndexing, TextOptions},
    store::Compressor,
};

use super::{
    Error, Opened, Post, tail,
    tokens::{ANALYZER, Cutter, composed},
};
use crate::case::Seq;

/// The fields of a document. Only the text is stored, for the check of candidates.
#[derive(Clone, Copy)]
pub(super) struct Fields {
    pub(super) mention: Field,
    pub(super) text: Field,
    pub(super) lang: Field,
    pub(super) platform: Field,
    pub(super) account: Field,
    pub(super) author: Field,
    pub(super) posted: Field,
    pub(super) reach: Field,
    pub(super) signature: Field,
}

impl Fields {
    fn schema(analyzer: &str) -> (Schema, Fields) {
        let mut schema = Schema::builder();
        let text =
            TextFieldIndexing::default().set_tokenizer(analyzer).set_index_option(IndexRecordOption::WithFreqsAndPositions);
        let fields = Fields {
            // Indexed too, so that a document can be deleted by it.
            mention: schema.add_i64_field("mention", INDEXED | FAST),
            text: schema.add_text_field("text", TextOptions::default().set_indexing_options(text).set_stored()),
            lang: schema.add_text_field("lang", STRING | FAST),
            platform: schema.add_text_field("platform", STRING | FAST),
            account: schema.add_text_field("account", STRING | FAST),
            author: schema.add_text_field("author", STRING),
            posted: schema.add_i64_field("posted", FAST),
            reach: schema.add_u64_field("reach", FAST),
            signature: schema.add_u64_field("signature", FAST),
        };
        (schema.build(), fields)
    }

    /// `signature` is the one of the post's text.
    pub(super) fn document(&self, post: &Post, signature: u64) -> TantivyDocument {
        let mut document = TantivyDocument::new();
        document.add_i64(self.mention, post.mention.0);
        document.add_text(self.text, composed(&post.text));
        document.add_text(self.lang, post.lang.as_str());
        document.add_text(self.platform, &post.platform);
        for account in &post.accounts {
            document.add_text(self.account, account.to_lowercase());
        }
        document.add_text(self.author, post.author.to_lowercase());
        document.add_i64(self.posted, post.posted_at.0);
        document.add_u64(self.reach, post.reach);
        document.add_u64(self.signature, signature);
        document
    }
}

/// An open index.
pub(super) struct Files {
    pub(super) index: Index,
    pub(super) fields: Fields,
    pub(super) reader: IndexReader,
    pub(super) writer: Option<IndexWriter>,
    heap_bytes: usize,
    analyzer: String,
}

impl Files {
    /// It was made by another analyser.
    pub(super) fn outdated(&self) -> bool {
        self.analyzer != ANALYZER
    }

    /// What a commit says of itself: how far the index has come, who cut its tokens, whether it is still `building`,
    /// and a sum over all, for nothing else guards the list that it is kept in.
    pub(super) fn payload(&self, seq: Seq, building: bool) -> String {
        Mark { seq, analyzer: self.analyzer.clone(), building }.payload()
    }

    /// The writer, made anew after an error.
    pub(super) fn writer(&mut self) -> Result<&mut IndexWriter, Error> {
        let writer = match self.writer.take() {
            Some(writer) => writer,
            None => writer(&self.index, self.heap_bytes)?,
        };
        Ok(self.writer.insert(writer))
    }
}

/// What a commit says of itself.
pub(super) struct Mark {
    pub(super) seq: Seq,
    pub(super) analyzer: String,
    pub(super) building: bool,
}

impl Mark {
    fn new() -> Mark {
        Mark { seq: Seq(0), analyzer: ANALYZER.into(), building: false }
    }

    pub(super) fn payload(&self) -> String {
        let text = format!("{} {}{}", self.seq.0, self.analyzer, if self.building { " building" } else { "" });
        format!("{text} {:016x}", tail::key(&text))
    }

    fn parse(payload: &str) -> Option<Mark> {
        let mut words = payload.split(' ');
        let (seq, analyzer) = (Seq(words.next()?.parse().ok()?), words.next()?.to_owned());
        let mark = Mark { seq, analyzer, building: words.next()? == "building" };
        (mark.payload() == payload).then_some(mark)
    }

    /// What the index in `slot` says of itself; it may be damaged all the same.
    fn read(slot: &Path) -> Option<Mark> {
        let list: serde_json::Value = serde_json::from_slice(&fs::read(slot.join(LIST)).ok()?).ok()?;
        Mark::parse(list["payload"].as_str()?)
    }
}

/// Tantivy's list of what belongs to an index.
const LIST: &str = "meta.json";

/// The directories of an index: it lies in `dir` or, after it was built beside another, in this one below.
const BESIDE: &str = "beside";

/// Where the index lies that answers. After a crash in the moment of a change both may be complete.
pub(super) fn current(dir: &Path) -> PathBuf {
    let beside = dir.join(BESIDE);
    let rank = |slot: &Path| Mark::read(slot).map(|mark| (!mark.building, mark.analyzer == ANALYZER, mark.seq));
    if rank(&beside) > rank(dir) { beside } else { dir.to_owned() }
}

/// The directory of the two that is not `slot`.
pub(super) fn other(dir: &Path, slot: &Path) -> PathBuf {
    if slot == dir { dir.join(BESIDE) } else { dir.to_owned() }
}

/// An index of this analyser in `slot` was being built.
pub(super) fn unfinished(slot: &Path) -> bool {
    Mark::read(slot).is_some_and(|mark| mark.building && mark.analyzer == ANALYZER)
}

/// Removes an index that nobody needs.
pub(super) fn discard(slot: &Path) {
    let removed = if !slot.exists() {
        Ok(())
    } else if slot.ends_with(BESIDE) {
        fs::remove_dir_all(slot)
    } else {
        clear(slot)
    };
    if let Err(error) = removed {
        tracing::warn!(error = &error as &dyn std::error::Error, "the files of an index that nobody needs are still there");
    }
}

/// Opens the index in `slot`; one that is damaged or of other fields is emptied.
pub(super) fn open(slot: &Path, heap_bytes: usize) -> Result<(Files, Opened), Error> {
    fs::create_dir_all(slot)?;
    match attempt(slot, heap_bytes) {
        Ok((files, seq)) => Ok((files, Opened { seq, rebuilt: false })),
        Err(Attempt::Failed(error)) => Err(error),
        Err(Attempt::Unusable(why)) => {
            tracing::warn!(search.reason = why, "the search index cannot be used, it is built again: {why}");
            clear(slot)?;
            match attempt(slot, heap_bytes) {
                Ok((files, seq)) => Ok((files, Opened { seq, rebuilt: true })),
                Err(Attempt::Failed(error)) => Err(error),
                Err(Attempt::Unusable(why)) => Err(TantivyError::InternalError(why).into()),
            }
        }
    }
}

enum Attempt {
    /// Another index in its place would fail as well.
    Failed(Error),
    /// The index is no good.
    Unusable(String),
}

impl From<TantivyError> for Attempt {
    fn from(error: TantivyError) -> Attempt {
        match error {
            TantivyError::LockFailure(LockError::LockBusy, _) => Attempt::Failed(Error::Locked),
            TantivyError::LockFailure(..) | TantivyError::InvalidArgument(_) => Attempt::Failed(error.into()),
            other => Attempt::Unusable(other.to_string()),
        }
    }
}

fn attempt(dir: &Path, heap_bytes: usize) -> Result<(Files, Seq), Attempt> {
    let exists = |name: &str| dir.join(name).exists();
    if exists(LIST) != exists(".managed.json") {
        return Err(Attempt::Unusable("one of its own lists is missing".into()));
    }
    // One of another analyser has the same fields, or it is no good.
    let analyzer = Mark::read(dir).unwrap_or_else(Mark::new).analyzer;
    let (schema, fields) = Fields::schema(&analyzer);
    let settings = IndexSettings {
        docstore_compression: Compressor::None,
        docstore_compress_dedicated_thread: false,
        // A query reads single texts, here and there.
        docstore_blocksize: 4_096,
        ..IndexSettings::default()
    };
    let directory = MmapDirectory::open(dir).map_err(TantivyError::from)?;
    let index = Index::builder().schema(schema).settings(settings).open_or_create(directory)?;
    // The lock comes first: what another process is writing looks damaged.
    let writer = writer(&index, heap_bytes)?;
    let damaged = index.validate_checksum()?;
    if !damaged.is_empty() {
        return Err(Attempt::Unusable(format!("{} of its files are damaged", damaged.len())));
    }
    let managed = index.directory().list_managed_files();
    let own = |name: &Path| name == Path::new(LIST) || name.to_string_lossy().starts_with('.') || managed.contains(name);
    if !names(dir).map_err(|error| Attempt::Failed(error.into()))?.iter().all(|name| own(name)) {
        return Err(Attempt::Unusable("it does not know all of its files".into()));
    }
    let metas = index.load_metas()?;
    let seq = match &metas.payload {
        None if metas.segments.is_empty() => Seq(0),
        payload => match payload.as_deref().and_then(Mark::parse) {
            Some(mark) => mark.seq,
            None => return Err(Attempt::Unusable("its position is damaged".into())),
        },
    };
    index.tokenizers().register(&analyzer, Cutter::for_posts());
    let reader = index.reader_builder().reload_policy(ReloadPolicy::Manual).try_into()?;
    Ok((Files { index, fields, reader, writer: Some(writer), heap_bytes, analyzer }, seq))
}

fn writer(index: &Index, heap_bytes: usize) -> Result<IndexWriter, TantivyError> {
    let options = IndexWriterOptions::builder().memory_budget_per_thread(heap_bytes).num_worker_threads(1).num_merge_threads(1);
    index.writer_with_options(options.build())
}

/// The names of the files in `dir`.
fn names(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            names.push(entry.file_name().into());
        }
    }
    Ok(names)
}

/// Removes the files of an index, first the list without which it is none; a damaged one still holds texts, so it is
/// not kept aside.
fn clear(dir: &Path) -> io::Result<()> {
    if dir.join(LIST).exists() {
        fs::remove_file(dir.join(LIST))?;
    }
    names(dir)?.iter().try_for_each(|name| fs::remove_file(dir.join(name)))
}
