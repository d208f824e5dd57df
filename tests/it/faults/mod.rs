//! What may fail, one file a kind: nothing is lost, nothing doubled, and the desk says what is wrong.
//!
//! Every test writes a ledger of numbered posts ([`ledger`]), runs the real program on a directory of its own
//! ([`shop`], [`child`]), makes something fail, and compares ledger, store, events and index at the end
//! ([`check`]). Each takes its [`Engines`], and prints a [`Line`] of what was done of what was asked.
//! `MOKSORI_CHAOS=full` asks for the size of `make chaos`; `docs/testing.md` says how to read the lines.

mod alarms;
mod backup;
mod broker;
mod check;
mod child;
mod disk;
mod kill;
mod ledger;
mod locked;
mod order;
mod platform;
mod poison;
mod shim;
mod shop;
mod start;
mod stop;
mod wreck;

use std::fmt::{Display, Write};

/// What the desk stands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engines {
    /// SQLite and the embedded log.
    Embedded,
    /// What stands when one machine is not enough.
    Outgrown,
}

impl Engines {
    fn name(self) -> &'static str {
        match self {
            Engines::Embedded => "sqlite+embedded",
            Engines::Outgrown => "postgres+kafka",
        }
    }
}

/// One size for every `cargo test`, another for `make chaos`.
fn sized<T>(small: T, full: T) -> T {
    if full_size() { full } else { small }
}

fn full_size() -> bool {
    std::env::var("MOKSORI_CHAOS").is_ok_and(|size| size == "full")
}

/// What a test did, in one line: `R1 sqlite+embedded kills=200/200 lost=0 ready_ms=812`.
struct Line(String);

impl Line {
    fn new(fault: &str, engines: Engines) -> Line {
        Line(format!("{fault} {}", engines.name()))
    }

    /// So many were done of so many that were asked for.
    fn of(self, what: &str, done: impl Display, asked: impl Display) -> Line {
        self.is(what, format!("{done}/{asked}"))
    }

    fn is(mut self, what: &str, figure: impl Display) -> Line {
        write!(self.0, " {what}={figure}").unwrap();
        self
    }

    /// The oracle's answer; the test fails here if it is not spotless.
    fn found(self, found: &check::Found) -> Line {
        let line = self.is("lost", found.lost).is("doubled", found.doubled).is("moved", found.moved);
        assert!(
            found.complaints.is_empty(),
            "{}\n{} complaints\n{}",
            line.0,
            found.complaints.len(),
            found.complaints[..found.complaints.len().min(40)].join("\n")
        );
        line.is("posts", found.posts)
    }

    fn print(self) {
        println!("{}", self.0);
    }
}
