//! A copy of the log's files while others append to them.

use std::path::Path;

use rusqlite::OpenFlags;

use super::{Error, day};

/// Copies the day files of `dir` into `to`, oldest first, each of one moment; returns their names.
pub(super) fn copy(dir: &Path, to: &Path) -> Result<Vec<String>, Error> {
    let mut names = Vec::new();
    for date in day::dates(dir)? {
        let name = day::name(date);
        let (from, to) = (dir.join(&name), to.join(&name));
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
