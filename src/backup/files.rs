//! Files and folders that only their owner may read, and that are on the disk when we say so.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use rusqlite::ErrorCode;
use sha2::{Digest, Sha256};

use crate::text::hex;

/// Bytes read at once.
const CHUNK: usize = 1 << 20;

/// Refuses a directory that holds anything.
pub(super) fn must_be_empty(dir: &Path) -> Result<()> {
    match fs::read_dir(dir) {
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => bail!("{} is not empty: name a new folder or an empty one", dir.display()),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error).with_context(|| format!("{} cannot be used", dir.display())),
    }
}

/// A folder that is made beside its place and named only when it is whole; removed when it is not.
pub(super) struct Staged {
    to: PathBuf,
    partial: PathBuf,
    whole: bool,
}

impl Staged {
    /// Where a folder is made until it is whole.
    pub(super) fn partial(to: &Path) -> PathBuf {
        to.with_file_name(format!(".{}.partial", to.file_name().unwrap_or_default().to_string_lossy()))
    }

    /// Begins to make the folder `to`, which must be absent or empty.
    pub(super) fn begin(to: &Path) -> Result<Staged> {
        must_be_empty(to)?;
        let Some(parent) = to.parent().filter(|_| to.file_name().is_some()) else {
            bail!("{} cannot be replaced: name a folder in it", to.display());
        };
        create_dir(parent)?;
        if to.exists() && !same_disk(to, parent) {
            bail!("{} is a disk of its own: name a folder on it, {}", to.display(), to.join("moksori").display());
        }
        let staged = Staged { to: to.to_owned(), partial: Staged::partial(to), whole: false };
        // What one that was killed has left.
        remove_all(&staged.partial);
        create_dir(&staged.partial)?;
        Ok(staged)
    }

    /// Where its files go.
    pub(super) fn path(&self) -> &Path {
        &self.partial
    }

    /// Names it; it is on the disk when this returns.
    pub(super) fn finish(mut self) -> Result<()> {
        sync(&self.partial)?;
        fs::rename(&self.partial, &self.to).with_context(|| format!("failed to name {}", self.to.display()))?;
        self.whole = true;
        sync(self.to.parent().unwrap_or(&self.to))
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.whole {
            remove_all(&self.partial);
        }
    }
}

/// Says in front that the disk is full, if that is why `what` failed.
pub(super) fn say_full(error: anyhow::Error, what: &str, place: &Path) -> anyhow::Error {
    match is_full(&error) {
        true => error.context(format!("no space is left for {what} {}: nothing of it was kept", place.display())),
        false => error,
    }
}

/// Makes a folder, and those above it, that only its owner may enter.
pub(super) fn create_dir(dir: &Path) -> Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir).with_context(|| format!("failed to make {}", dir.display()))
}

/// Makes a file that only its owner may read.
pub(super) fn create(path: &Path) -> Result<File> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    file.with_context(|| format!("failed to make {}", path.display()))
}

/// Writes a file that only its owner may read, and all of it or nothing.
pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(".partial");
    let fresh = PathBuf::from(fresh);
    let mut file = create(&fresh)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).with_context(|| format!("failed to write {}", path.display()))?;
    fs::rename(&fresh, path).with_context(|| format!("failed to write {}", path.display()))
}

/// The size of a file and the SHA-256 of its bytes, in hex.
pub(super) fn digest(path: &Path) -> Result<(u64, String)> {
    let mut hasher = Sha256::new();
    let bytes = pass(path, |chunk| {
        hasher.update(chunk);
        Ok(())
    })?;
    Ok((bytes, hex(&hasher.finalize())))
}

/// Copies a file to one that only its owner may read; it is on the disk when this returns. `seen` is told of the
/// bytes as they go.
pub(super) fn copy(from: &Path, to: &Path, seen: &mut dyn FnMut(u64)) -> Result<()> {
    let mut file = create(to)?;
    pass(from, |chunk| {
        seen(chunk.len() as u64);
        file.write_all(chunk)
    })?;
    file.sync_all().with_context(|| format!("failed to write {}", to.display()))
}

/// Hands a file's bytes to `take`; returns how many there were.
fn pass(path: &Path, mut take: impl FnMut(&[u8]) -> io::Result<()>) -> Result<u64> {
    let mut read = || {
        let mut file = File::open(path)?;
        let (mut chunk, mut bytes) = (vec![0; CHUNK], 0);
        loop {
            let count = file.read(&mut chunk)?;
            if count == 0 {
                return io::Result::Ok(bytes);
            }
            take(&chunk[..count])?;
            bytes += count as u64;
        }
    };
    read().with_context(|| format!("failed to copy {}", path.display()))
}

/// Waits until a file, or the names in a folder, are on the disk.
pub(super) fn sync(path: &Path) -> Result<()> {
    File::open(path).and_then(|file| file.sync_all()).with_context(|| format!("failed to write {}", path.display()))
}

/// The bytes of all files in a folder and below; what vanishes meanwhile counts nothing.
pub(super) fn size(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(facts) if facts.is_dir() => size(&entry.path()),
            Ok(facts) => facts.len(),
            Err(_) => 0,
        })
        .sum()
}

/// Whether two paths are on one file system; so what is made at one can be moved to the other.
fn same_disk(one: &Path, other: &Path) -> bool {
    let device = |path: &Path| fs::metadata(path).map(|facts| facts.dev()).ok();
    device(one) == device(other)
}

/// Removes what we made; it may never have been made.
pub(super) fn remove_all(path: &Path) {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    if let Err(error) = removed
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(error = %error, "could not remove {}", path.display());
    }
}

/// Whether an error means that the disk is full.
fn is_full(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let sqlite = cause.downcast_ref::<rusqlite::Error>().and_then(rusqlite::Error::sqlite_error_code);
        let system = cause.downcast_ref::<io::Error>().map(io::Error::kind);
        sqlite == Some(ErrorCode::DiskFull)
            || matches!(system, Some(io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded))
            || matches!(cause.downcast_ref(), Some(crate::bus::Error::Full))
    })
}
