//! A whole desk as text: every table a file of JSON Lines, and the log's unread tail.

use std::{
    fs::File,
    io::{BufWriter, Write},
    path::Path,
    sync::Arc,
};

use anyhow::{Context, Result, bail};
use base64::{Engine, engine::general_purpose::STANDARD};
use prometheus::Registry;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio::task::spawn_blocking;

use super::{
    files::{self, Staged},
    import,
    manifest::MANIFEST,
    take::embedded,
};
use crate::{
    app,
    bus::Bus,
    clock::Clock,
    config::Config,
    control,
    mention::Mark,
    pipeline::CONSUMER,
    progress::{Progress, Unit},
    queue::{self, Reader, Store},
    text::hex,
};

/// The layout of an export that this program writes and reads.
pub(super) const FORMAT: u32 = 1;
/// The file of the log's unread tail.
pub(super) const TAIL: &str = "mentions.jsonl";
/// Rows or records handled at once.
pub(super) const PAGE: usize = 1_000;

/// What an export holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Export {
    /// Layout of the export.
    pub export: u32,
    /// Version of the program that made it.
    pub moksori: String,
    /// When.
    pub exported_at: String,
    /// Schema of the rows.
    pub schema: usize,
    /// Where the log's tail begins: the first record that the desk has not handled.
    pub position: i64,
    /// The tables, in their order.
    pub tables: Vec<Lines>,
    /// The log's tail.
    pub mentions: Lines,
}

/// A file of lines.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lines {
    /// Its path within the export.
    pub file: String,
    /// The table's name; of the log's tail, `mentions`.
    pub name: String,
    /// What the values of a line are.
    pub columns: Vec<String>,
    /// How many lines there are.
    pub lines: u64,
    /// SHA-256 of its bytes, in hex.
    pub sha256: String,
}

impl Export {
    /// Rows and records.
    pub fn lines(&self) -> u64 {
        self.tables.iter().map(|table| table.lines).sum::<u64>() + self.mentions.lines
    }
}

/// Writes lines and keeps their digest.
struct Writer {
    file: BufWriter<File>,
    hasher: Sha256,
    lines: u64,
}

impl Writer {
    fn create(path: &Path) -> Result<Writer> {
        Ok(Writer { file: BufWriter::new(files::create(path)?), hasher: Sha256::new(), lines: 0 })
    }

    fn line(&mut self, mut line: String) -> Result<()> {
        line.push('\n');
        self.hasher.update(&line);
        self.lines += 1;
        Ok(self.file.write_all(line.as_bytes())?)
    }

    fn finish(self, file: String, name: &str, columns: Vec<String>) -> Result<Lines> {
        self.file.into_inner().map_err(std::io::IntoInnerError::into_error)?.sync_all()?;
        Ok(Lines { file, name: name.to_owned(), columns, lines: self.lines, sha256: hex(&self.hasher.finalize()) })
    }
}

/// `moksori export`: writes the desk of this configuration, which must be at rest, into the folder `to`.
///
/// # Errors
/// When the desk runs, it is not embedded, or the disk is full.
pub async fn export(config: &Config, to: &Path, clock: &Clock) -> Result<Export> {
    embedded(config)?;
    let (to, data) = (std::path::absolute(to)?, &config.data.directory);
    if !data.join("desk.db").exists() {
        bail!("there is no desk in {}", data.display());
    }
    super::unfinished(data)?;
    let _lock = control::lock(data).context("an export is of a desk at rest: stop it first")?;
    write(config, &to, clock).await.map_err(|error| files::say_full(error, "the export", &to))
}

async fn write(config: &Config, to: &Path, clock: &Clock) -> Result<Export> {
    let registry = Registry::new();
    let staged = Staged::begin(to)?;
    let tables = staged.path().join("tables");
    files::create_dir(&tables)?;
    let store = Store::open(&config.data.directory, config.queue.clone(), clock.clone(), queue::Metrics::new(&registry)?)?;
    import::unfinished_import(&store).await?;
    let ticking = clock.clone();
    let lines = store.read(move |reader| rows(reader, &tables, ticking)).await?;
    let unread = store.read(|reader| reader.mark(CONSUMER, 0)).await?;
    let bus = app::open_bus(config, clock, &registry)?;
    let mentions = tail(&bus, unread.clone(), &staged.path().join(TAIL), clock).await;
    bus.close().await;
    spawn_blocking(move || store.close()).await?;
    let export = Export {
        export: FORMAT,
        moksori: env!("CARGO_PKG_VERSION").to_owned(),
        exported_at: clock.now().to_string(),
        schema: queue::newest_schema(),
        position: unread.next,
        tables: lines,
        mentions: mentions?,
    };
    files::write(&staged.path().join(MANIFEST), &serde_json::to_vec_pretty(&export)?)?;
    files::sync(&staged.path().join("tables"))?;
    staged.finish()?;
    Ok(export)
}

/// Writes every table, all of one moment.
fn rows(reader: &Reader<'_>, dir: &Path, clock: Clock) -> Result<Vec<Lines>> {
    let tables = queue::tables()?;
    let total = tables.iter().map(|table| reader.count(table)).sum::<Result<u64, _>>()?;
    let (mut progress, mut done) = (Progress::new("export", Unit::Pieces, total, clock), 0);
    let mut written = Vec::new();
    for table in tables {
        let file = format!("{}.jsonl", table.name);
        let mut writer = Writer::create(&dir.join(&file))?;
        let mut after = Vec::new();
        loop {
            let rows = reader.dump(&table, &after, PAGE)?;
            let Some(last) = rows.last() else { break };
            after = table.key(last);
            for row in &rows {
                writer.line(table.line(row))?;
            }
            done += rows.len() as u64;
            progress.at(done);
        }
        written.push(writer.finish(format!("tables/{file}"), &table.name, table.columns)?);
    }
    Ok(written)
}

/// Writes what the desk has not handled yet.
async fn tail(bus: &Bus, from: Mark, path: &Path, clock: &Clock) -> Result<Lines> {
    let mut writer = Writer::create(path)?;
    let end = bus.ends().await?.iter().map(|(_, end)| end.0).sum::<i64>();
    let mut at = from.next;
    let waiting = u64::try_from(end - at).unwrap_or(0);
    let mut progress = Progress::new("export of what is not handled yet", Unit::Pieces, waiting, clock.clone());
    let mut reader = bus.reader(Arc::new(move |_| {
        let from = from.clone();
        Box::pin(async move { Ok(from) })
    }))?;
    while at < end {
        let batch = reader.next(PAGE).await.context("failed to read the log")?;
        at = batch.to.next;
        for record in batch.records.iter().filter(|record| !record.erased) {
            writer.line(json!([record.position.0, STANDARD.encode(&record.bytes)]).to_string())?;
        }
        progress.at(writer.lines);
    }
    writer.finish(TAIL.to_owned(), "mentions", vec!["position".into(), "bytes".into()])
}
