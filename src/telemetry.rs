//! Where log lines go: to standard error, filtered by `MOKSORI_LOG`, as JSON unless a person watches.

use std::io::{self, IsTerminal};

use tracing_subscriber::{EnvFilter, filter::ParseError};

/// The environment variable that sets what is logged: `info`, or `info,moksori::connect=debug`.
pub const VARIABLE: &str = "MOKSORI_LOG";

/// Why logging could not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The variable holds no filter.
    #[error("{VARIABLE} is not a filter such as info or moksori=debug")]
    Filter(#[source] ParseError),
    /// It was started before.
    #[error("logging was started before")]
    Twice,
}

impl Error {
    /// Whether the same call may succeed later; never.
    pub fn is_retryable(&self) -> bool {
        false
    }
}

/// Starts logging for the whole process. `filter` is the value of [`VARIABLE`], if it is set. Lines are JSON
/// when `json` asks for it or standard error is not a terminal.
///
/// # Errors
/// When `filter` is not one, or logging was started before.
pub fn init(filter: Option<&str>, json: bool) -> Result<(), Error> {
    let filter = EnvFilter::try_new(filter.unwrap_or("info")).map_err(Error::Filter)?;
    // A line that cannot be written is lost. To say so would need standard error, and to fail at that ends the thread.
    let lines = tracing_subscriber::fmt().with_writer(io::stderr).log_internal_errors(false).with_env_filter(filter);
    let started =
        if json || !io::stderr().is_terminal() { lines.json().flatten_event(true).try_init() } else { lines.try_init() };
    started.map_err(|_twice| Error::Twice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_that_is_none_is_refused_and_logging_starts_once() {
        assert!(matches!(init(Some("moksori=loud"), false), Err(Error::Filter(_))));
        init(Some("off"), true).unwrap();
        assert!(matches!(init(None, false), Err(Error::Twice)));
    }
}
