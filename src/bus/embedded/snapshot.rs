//! A copy of the log's files while others append to them.

use std::path::Path;

use rusqlite::OpenFlags;

use super::{Error, day};

/// Copies the day files of `dir` into `to`, oldest first, each of one moment; returns their names. What `hold`
/// gives is held while a file is copied, so that nobody waits for the copy with the file's lock in hand.
pub(super) fn copy<T>(dir: &Path, to: &Path, hold: impl Fn() -> T) -> Result<Vec<String>, Error> {
    let mut names = Vec::new();
    for date in day::dates(dir)? {
        let name = day::name(date);
        let (from, to) = (dir.join(&name), to.join(&name));
        let _held = hold();
        match day::connect(&from, OpenFlags::empty()) {
            // Retention was faster.
            Err(_) if !from.exists() => continue,
            connection => {
                let connection = connection?;
                connection.execute("VACUUM INTO ?1", [to.to_string_lossy()]).map_err(Error::database("copy a file"))?;
            }
        }
        names.push(name);
    }
    Ok(names)
}
