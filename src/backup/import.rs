//! An exported desk into an empty store and the log of whatever engines the configuration names.
//!
//! How far it has come stands in the store, written in the transaction of the rows it tells of: an import that
//! was interrupted goes on exactly there when it is run again, and no desk starts before it is done.

use std::{
    fs::File,
    io::{BufRead, BufReader, Lines as ReadLines},
    path::Path,
    sync::Arc,
};

use anyhow::{Context, Result, bail};
use base64::{Engine, engine::general_purpose::STANDARD};
use prometheus::Registry;
use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;

use super::{
    export::{Export, FORMAT, Lines, PAGE},
    files,
    manifest::{self, MANIFEST},
    restore::told,
};
use crate::{
    app,
    bus::{Bus, Entry, Position},
    case::CaseId,
    clock::Clock,
    config::Config,
    control,
    progress::{Progress, Unit},
    queue::{self, Store, Table, Urgency},
};

/// The cursor in the store under which an import keeps how far it has come.
const CURSOR: &str = "import";

/// Bytes that are appended to the log at once.
const APPEND_BYTES: usize = 1 << 20;

/// How far an import has come.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Reached {
    /// Digest of the export's manifest.
    export: String,
    /// The table that is being loaded; after the last one, the log's tail.
    table: usize,
    /// Lines of it that are done.
    lines: u64,
}

/// What was imported.
#[derive(Clone, Debug)]
pub struct Imported {
    /// What the export says of itself.
    pub export: Export,
    /// Lines that an earlier, interrupted run had done.
    pub resumed: u64,
    /// Cases with a reply that was held back, once for each reply.
    pub parked: Vec<CaseId>,
}

impl std::fmt::Display for Imported {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let rows = self.export.lines() - self.export.mentions.lines;
        write!(f, "imported: {rows} rows, {} unread mentions", self.export.mentions.lines)?;
        if self.resumed > 0 {
            write!(f, ", of which {} were there from an earlier run", self.resumed)?;
        }
        write!(f, "\n{}", told(&self.parked))
    }
}

/// Refuses a store into which an import was not finished.
///
/// # Errors
/// When there is one, with the remedy; or the store's own.
pub async fn unfinished_import(store: &Store) -> Result<()> {
    if store.read(|reader| reader.cursor(CURSOR)).await?.is_some() {
        bail!("an import into this store was not finished: run moksori import again, it goes on where it was");
    }
    Ok(())
}

/// `moksori import`: loads the export in `from` into the empty store and the log of this configuration.
///
/// # Errors
/// When the export is not whole or of another schema, the store is not empty, or it or the log fails; running it
/// again goes on.
pub async fn import(config: &Config, from: &Path, clock: &Clock) -> Result<Imported> {
    let from = std::path::absolute(from)?;
    let data = config.data.directory.clone();
    let checked = from.clone();
    let (export, digest) = spawn_blocking(move || check(&checked)).await??;
    files::create_dir(&data)?;
    super::unfinished(&data)?;
    let _lock = control::lock(&data)?;
    let registry = Registry::new();
    let (dir, settings) = (data.clone(), config.queue.clone());
    spawn_blocking(move || Store::migrate(&dir, &settings)).await??;
    let mut load = Load { from, export, reached: Reached { export: digest, ..Reached::default() }, clock: clock.clone() };
    let bus = app::open_bus(config, clock, &registry)?;
    let parked = load.run(config, &bus).await;
    bus.close().await;
    let (resumed, parked) = parked?;
    Ok(Imported { export: load.export, resumed, parked })
}

struct Load {
    from: std::path::PathBuf,
    export: Export,
    reached: Reached,
    clock: Clock,
}

impl Load {
    async fn run(&mut self, config: &Config, bus: &Arc<Bus>) -> Result<(u64, Vec<CaseId>)> {
        let tables = queue::tables()?;
        let store = self.open(config)?;
        let resumed = self.begin(&store, &tables, bus).await?;
        let (mut progress, mut done) =
            (Progress::new("import", Unit::Pieces, self.export.lines(), self.clock.clone()), resumed);
        let mut seen = |more: u64| {
            done += more;
            progress.at(done);
        };
        while let Some(lines) = self.export.tables.get(self.reached.table).cloned() {
            let table = tables.iter().find(|table| table.name == lines.name && table.columns == lines.columns);
            let table = table.with_context(|| format!("this program has no table {}", lines.name))?;
            if kept_here(&lines.name, bus) {
                self.table(&store, table, &lines, &mut seen).await?;
            }
            self.reached.table += 1;
            self.reached.lines = 0;
            self.save(&store).await?;
        }
        // Opened anew: what a store remembers of its tables is of the time before they were loaded.
        close(store).await?;
        let store = self.open(config)?;
        self.tail(&store, bus, &mut seen).await?;
        let parked = store
            .write(Urgency::Batch, |tx| {
                tx.drop_cursor(CURSOR)?;
                tx.park_outbox()
            })
            .await?;
        close(store).await?;
        Ok((resumed, parked))
    }

    fn open(&self, config: &Config) -> Result<Arc<Store>> {
        let metrics = queue::Metrics::new(&Registry::new())?;
        let store = Store::open(&config.data.directory, config.queue.clone(), self.clock.clone(), metrics);
        store.context("failed to open the store")
    }

    /// Goes on where an earlier run was interrupted, or begins in an empty store; returns the lines done before.
    async fn begin(&mut self, store: &Store, tables: &[Table], bus: &Bus) -> Result<u64> {
        if let Some(text) = store.read(|reader| reader.cursor(CURSOR)).await? {
            let reached: Reached = serde_json::from_str(&text).context("the store holds an import of another version")?;
            if reached.export != self.reached.export {
                bail!("the import of another export into this store was not finished: go on with that, or take an empty store");
            }
            let whole = self.export.tables.iter().take(reached.table).map(|table| table.lines).sum::<u64>();
            let done = whole + reached.lines;
            self.reached = reached;
            return Ok(done);
        }
        for table in tables.iter().cloned() {
            let name = table.name.clone();
            let count = store.read(move |reader| reader.count(&table)).await?;
            if count > 0 {
                bail!("the store is not empty, {name} has {count} rows: import takes a new, empty one");
            }
        }
        if bus.embedded().is_some_and(|log| log.end().0 > 0) {
            bail!("the log is not empty: import takes a new, empty data directory");
        }
        self.save(store).await?;
        Ok(0)
    }

    async fn save(&self, store: &Store) -> Result<()> {
        let reached = serde_json::to_string(&self.reached)?;
        store.write(Urgency::Batch, move |tx| tx.save_cursor(CURSOR, &reached)).await.context("failed to write the store")
    }

    async fn table(&mut self, store: &Store, table: &Table, lines: &Lines, seen: &mut impl FnMut(u64)) -> Result<()> {
        let mut reader = Reading::of(&self.from.join(&lines.file), self.reached.lines)?;
        loop {
            let mut rows = Vec::new();
            while rows.len() < PAGE
                && let Some(line) = reader.next()?
            {
                let row = table.parse(&line).with_context(|| format!("{}, line {}: not a row", lines.file, reader.number))?;
                rows.push(row);
            }
            let count = rows.len() as u64;
            self.reached.lines += count;
            let (table, reached) = (table.clone(), serde_json::to_string(&self.reached)?);
            store
                .write(Urgency::Batch, move |tx| {
                    tx.load(&table, &rows)?;
                    tx.count_on(&table)?;
                    tx.save_cursor(CURSOR, &reached)
                })
                .await
                .with_context(|| format!("failed to load {}", lines.name))?;
            if count == 0 {
                return Ok(());
            }
            seen(count);
        }
    }

    /// Appends what the old desk had not handled.
    async fn tail(&mut self, store: &Store, bus: &Bus, seen: &mut impl FnMut(u64)) -> Result<()> {
        if let Some(log) = bus.embedded() {
            // The positions were kept: the new log's numbers follow the old one's.
            log.go_on_from(Position(self.export.position));
        }
        let file = self.export.mentions.file.clone();
        let mut reader = Reading::of(&self.from.join(&file), self.reached.lines)?;
        loop {
            let (mut entries, mut bytes) = (Vec::new(), 0);
            while entries.len() < PAGE
                && bytes < APPEND_BYTES
                && let Some(line) = reader.next()?
            {
                let entry = entry(&line).with_context(|| format!("{file}, line {}: not a record", reader.number))?;
                bytes += entry.bytes.len();
                entries.push(entry);
            }
            let count = entries.len() as u64;
            if count == 0 {
                return Ok(());
            }
            bus.append(entries).await.context("failed to append to the log")?;
            // A crash before this line appends them once more, which stores nothing twice.
            self.reached.lines += count;
            self.save(store).await?;
            seen(count);
        }
    }
}

/// Whether a table's rows mean anything in the new desk: leases never do, positions only of a log that counts on.
fn kept_here(table: &str, bus: &Bus) -> bool {
    match table {
        "lease" => false,
        "position" => bus.embedded().is_some(),
        _ => true,
    }
}

/// A record of the log's tail as it is appended.
fn entry(line: &str) -> Option<Entry> {
    let (position, bytes): (i64, String) = serde_json::from_str(line).ok()?;
    let bytes = STANDARD.decode(bytes).ok()?;
    Some(Entry::again(bytes, format!("import/{position}")))
}

/// The lines of a file, counted.
struct Reading {
    lines: ReadLines<BufReader<File>>,
    number: u64,
}

impl Reading {
    /// Begins after the first `skipped` lines.
    fn of(path: &Path, skipped: u64) -> Result<Reading> {
        let file = File::open(path).with_context(|| format!("failed to read {}", path.display()))?;
        let mut reading = Reading { lines: BufReader::new(file).lines(), number: 0 };
        while reading.number < skipped && reading.next()?.is_some() {}
        Ok(reading)
    }

    fn next(&mut self) -> Result<Option<String>> {
        let line = self.lines.next().transpose().context("failed to read the export")?;
        self.number += u64::from(line.is_some());
        Ok(line)
    }
}

/// Reads an export's manifest and checks every file against it; returns its digest too.
fn check(from: &Path) -> Result<(Export, String)> {
    let path = from.join(MANIFEST);
    let export: Export = manifest::read(from, "export", ("export", FORMAT), "; a backup is for moksori restore")?;
    let known = queue::newest_schema();
    if export.schema != known {
        bail!("the export has schema {}, this program writes {known}: export and import with one version", export.schema);
    }
    let names = |tables: Vec<String>| tables.join(", ");
    let (exported, here) = (
        names(export.tables.iter().map(|table| table.name.clone()).collect()),
        names(queue::tables()?.into_iter().map(|table| table.name).collect()),
    );
    if exported != here {
        bail!("{} has the tables {exported}; this program has {here}", path.display());
    }
    for lines in export.tables.iter().chain([&export.mentions]) {
        let (_, found) = files::digest(&from.join(&lines.file))?;
        if found != lines.sha256 {
            bail!("{} is not as it was written: export again", from.join(&lines.file).display());
        }
    }
    Ok((export, files::digest(&path)?.1))
}

async fn close(store: Arc<Store>) -> Result<()> {
    Ok(spawn_blocking(move || store.close()).await?)
}
