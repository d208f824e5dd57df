//! What a backup says of itself; without it a folder is no backup.

use std::path::{Component, Path};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::files;
use crate::queue;

/// The manifest's name; it is written last.
pub const MANIFEST: &str = "manifest.json";

/// The layout of a backup that this program writes and reads.
const FORMAT: u32 = 1;

/// What a backup holds, and of which moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Layout of the backup.
    pub format: u32,
    /// Version of the program that made it.
    pub moksori: String,
    /// When it was begun.
    pub taken_at: String,
    /// Schema of the store.
    pub schema: usize,
    /// Number of the store's last event: the moment that the backup is of.
    pub event: i64,
    /// How far the store had read the log.
    pub positions: Vec<Standing>,
    /// The published rules; they are in the store.
    pub rules: Option<Rules>,
    /// The files of the backup.
    pub files: Vec<Kept>,
    /// What the desk needs besides and the backup does not hold: configuration and connector files.
    pub beside: Vec<Kept>,
}

/// A file and how to know it again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kept {
    /// Its path within the backup; of a file beside it, the path where it was.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// SHA-256 of its bytes, in hex.
    pub sha256: String,
}

/// How far one consumer had read one partition of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Standing {
    /// Who reads.
    pub consumer: String,
    /// The partition.
    pub part: i64,
    /// The log's own id; empty for the embedded one.
    pub log: String,
    /// The next record.
    pub next: i64,
}

/// The rules in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rules {
    /// Their version.
    pub version: u32,
    /// Their digest.
    pub digest: String,
}

/// Reads what a folder says of itself, a backup or an export; the layout it has stands under a key of its own.
/// `other` is told to whoever took one for the other.
pub(super) fn read<T: DeserializeOwned>(dir: &Path, what: &str, (key, known): (&str, u32), other: &str) -> Result<T> {
    let path = dir.join(MANIFEST);
    let text = std::fs::read(&path).with_context(|| {
        format!("{} is no {what}, or one that was not finished: it has no {MANIFEST} that can be read", dir.display())
    })?;
    let damaged = || format!("{} is damaged", path.display());
    let fields: serde_json::Value = serde_json::from_slice(&text).with_context(damaged)?;
    match fields[key].as_u64() {
        Some(format) if format == u64::from(known) => serde_json::from_value(fields).with_context(damaged),
        Some(format) => bail!("{} has format {format}, this program knows {known}: run a newer moksori", dir.display()),
        None => bail!("{} is not the manifest of {} {what}{other}", path.display(), if what == "export" { "an" } else { "a" }),
    }
}

impl Kept {
    /// Reads a file to its end to know it again as `name`.
    pub(super) fn of(name: String, path: &Path) -> Result<Kept> {
        let (bytes, sha256) = files::digest(path)?;
        Ok(Kept { name, bytes, sha256 })
    }
}

impl Manifest {
    /// A manifest of what a copy of the store holds, without files.
    pub(super) fn new(taken_at: String, copy: queue::Snapshot) -> Manifest {
        let standing = |(consumer, part, mark): (String, i64, crate::mention::Mark)| Standing {
            consumer,
            part,
            log: mark.log.to_string(),
            next: mark.next,
        };
        Manifest {
            format: FORMAT,
            moksori: env!("CARGO_PKG_VERSION").to_owned(),
            taken_at,
            schema: copy.schema,
            event: copy.event.0,
            positions: copy.marks.into_iter().map(standing).collect(),
            rules: copy.rules.map(|(version, digest)| Rules { version, digest }),
            files: Vec::new(),
            beside: Vec::new(),
        }
    }

    /// Bytes of all its files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    /// Reads the manifest of a backup and checks every file against it; nothing is changed. `seen` is told of the
    /// bytes of each file that was read.
    ///
    /// # Errors
    /// When it is no backup, a newer program made it, or a file is missing, cut short or changed.
    pub fn check(dir: &Path, seen: &mut dyn FnMut(u64)) -> Result<Manifest> {
        let path = dir.join(MANIFEST);
        let manifest: Manifest = read(dir, "backup", ("format", FORMAT), "")?;
        let known = queue::newest_schema();
        if manifest.schema > known {
            bail!("the backup has schema {}, this program knows {known}: run a newer moksori", manifest.schema);
        }
        if !manifest.files.iter().any(|file| file.name == "desk.db") {
            bail!("{} names no desk.db: it is damaged", path.display());
        }
        for file in &manifest.files {
            let inside = Path::new(&file.name).components().all(|part| matches!(part, Component::Normal(_)));
            if !inside || file.name.is_empty() {
                bail!("{} names {:?}, which is no place within a backup", path.display(), file.name);
            }
            let found = Kept::of(file.name.clone(), &dir.join(&file.name))?;
            if found != *file {
                bail!(
                    "{} is not as it was written: it has {} bytes and SHA-256 {}, the manifest says {} and {}. Take another backup",
                    dir.join(&file.name).display(),
                    found.bytes,
                    found.sha256,
                    file.bytes,
                    file.sha256
                );
            }
            seen(file.bytes);
        }
        Ok(manifest)
    }
}
