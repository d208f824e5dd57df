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
    fn schema() -> (Schema, Fields) {
        let mut schema = Schema::builder();
        let text =
            TextFieldIndexing::default().set_tokenizer(ANALYZER).set_index_option(IndexRecordOption::WithFreqsAndPositions);
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
}

impl Files {
    /// The writer, made anew after an error.
    pub(super) fn writer(&mut self) -> Result<&mut IndexWriter, Error> {
        let writer = match self.writer.take() {
            Some(writer) => writer,
            None => writer(&self.index, self.heap_bytes)?,
        };
        Ok(self.writer.insert(writer))
    }
}

/// The commit's payload: how far the index has come, who cut its tokens, and a sum over both, for
/// nothing else guards the list that it is kept in.
pub(super) fn payload(seq: Seq) -> String {
    let text = format!("{} {ANALYZER}", seq.0);
    format!("{text} {:016x}", tail::key(&text))
}

fn position(payload: &str) -> Option<Seq> {
    let seq = Seq(payload.split(' ').next()?.parse().ok()?);
    (payload == self::payload(seq)).then_some(seq)
}

/// Opens the index in `dir`; one that is damaged or of another version is emptied.
pub(super) fn open(dir: &Path, heap_bytes: usize) -> Result<(Files, Opened), Error> {
    fs::create_dir_all(dir)?;
    match attempt(dir, heap_bytes) {
        Ok((files, seq)) => Ok((files, Opened { seq, rebuilt: false })),
        Err(Attempt::Failed(error)) => Err(error),
        Err(Attempt::Unusable(why)) => {
            tracing::warn!(search.reason = why, "the search index cannot be used, it is built again: {why}");
            clear(dir)?;
            match attempt(dir, heap_bytes) {
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
    if exists("meta.json") != exists(".managed.json") {
        return Err(Attempt::Unusable("one of its own lists is missing".into()));
    }
    let (schema, fields) = Fields::schema();
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
    let own = |name: &Path| name == Path::new("meta.json") || name.to_string_lossy().starts_with('.') || managed.contains(name);
    if !names(dir).map_err(|error| Attempt::Failed(error.into()))?.iter().all(|name| own(name)) {
        return Err(Attempt::Unusable("it does not know all of its files".into()));
    }
    let metas = index.load_metas()?;
    let seq = match &metas.payload {
        None if metas.segments.is_empty() => Seq(0),
        payload => (payload.as_deref().and_then(position))
            .ok_or_else(|| Attempt::Unusable("it is of another version, or its position is damaged".into()))?,
    };
    index.tokenizers().register(ANALYZER, Cutter::for_posts());
    let reader = index.reader_builder().reload_policy(ReloadPolicy::Manual).try_into()?;
    Ok((Files { index, fields, reader, writer: Some(writer), heap_bytes }, seq))
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

/// Removes the files of an index; a damaged one still holds texts, so it is not kept aside.
fn clear(dir: &Path) -> io::Result<()> {
    names(dir)?.iter().try_for_each(|name| fs::remove_file(dir.join(name)))
}
