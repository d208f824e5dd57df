//! How far a long command has come: a bar on a terminal, a plain line now and then elsewhere.

use std::{
    io::{IsTerminal, Write},
    time::Duration,
};

use indicatif::{HumanBytes, ProgressBar, ProgressStyle};

use crate::clock::{Clock, Time};

/// Plain lines are this far apart.
const EVERY: Duration = Duration::from_secs(5);

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Bytes, shown in the unit that suits their number.
    Bytes,
    /// Rows, records, documents.
    Pieces,
}

/// How far one command has come, on standard error.
pub struct Progress {
    what: String,
    unit: Unit,
    total: u64,
    bar: Option<ProgressBar>,
    clock: Clock,
    told_at: Time,
}

impl Progress {
    /// Begins to tell of `what`; a `total` of 0 means that nobody knows.
    pub fn new(what: &str, unit: Unit, total: u64, clock: Clock) -> Progress {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = if total == 0 { ProgressBar::no_length() } else { ProgressBar::new(total) };
            let style = match (unit, total) {
                (Unit::Bytes, 0) => "{msg} {bytes} ({bytes_per_sec})",
                (Unit::Bytes, _) => "{msg} [{bar:30}] {bytes} / {total_bytes} ({bytes_per_sec}, {eta})",
                (Unit::Pieces, 0) => "{msg} {human_pos} ({per_sec})",
                (Unit::Pieces, _) => "{msg} [{bar:30}] {human_pos} / {human_len} ({per_sec}, {eta})",
            };
            let style = ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar());
            bar.with_style(style).with_message(what.to_owned())
        });
        let told_at = clock.now();
        Progress { what: what.to_owned(), unit, total, bar, clock, told_at }
    }

    /// So much is done now.
    pub fn at(&mut self, done: u64) {
        match &self.bar {
            Some(bar) => bar.set_position(done),
            None if self.clock.now().since(self.told_at) >= EVERY => {
                self.told_at = self.clock.now();
                // Nobody may be listening.
                drop(writeln!(std::io::stderr(), "{}", self.line(done)));
            }
            None => {}
        }
    }

    /// What a plain line says.
    fn line(&self, done: u64) -> String {
        let shown = |number: u64| match self.unit {
            Unit::Bytes => HumanBytes(number).to_string(),
            Unit::Pieces => number.to_string(),
        };
        match self.total {
            0 => format!("{}: {}", self.what, shown(done)),
            total => format!("{}: {} of {}", self.what, shown(done), shown(total)),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_names_what_is_done_of_what() {
        let clock = || Clock::by_hand(Time(0));
        let line = |unit, total| Progress::new("backup", unit, total, clock()).line(1_536);
        assert_eq!(line(Unit::Bytes, 3 << 20), "backup: 1.50 KiB of 3.00 MiB");
        assert_eq!(line(Unit::Pieces, 0), "backup: 1536");
        assert_eq!(line(Unit::Pieces, 2_000), "backup: 1536 of 2000");
    }
}
