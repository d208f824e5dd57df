//! Secrets: read by name from the environment or a file, and shown to nobody. A leaf.

use std::{env::VarError, fmt, io, path::Path};

use serde::{Serialize, Serializer};

/// Something that no log, page or error may show; it prints `[redacted]`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps `value`, without the line end that files have.
    pub fn new(value: &str) -> Secret {
        Secret(value.trim_end_matches(['\r', '\n']).to_owned())
    }

    /// What the environment variable `name` holds.
    ///
    /// # Errors
    /// When it is not set, or no text.
    pub fn from_env(name: &str) -> Result<Secret, VarError> {
        std::env::var(name).map(|value| Secret::new(&value))
    }

    /// What the file holds, and nothing else may be in it.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn from_file(path: &Path) -> io::Result<Secret> {
        std::fs::read_to_string(path).map(|value| Secret::new(&value))
    }

    /// The secret itself, for the request it belongs to.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("[redacted]")
    }
}
