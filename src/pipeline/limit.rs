//! When so much becomes a dead letter that it cannot be the posts' fault, a person must look.

use std::collections::VecDeque;

use crate::desk::Intake;

/// Over how many records the share of dead letters is taken.
const WINDOW: usize = 1_000;

/// Counts dead letters among the newest records.
pub(super) struct DeadLimit {
    percent: usize,
    run: usize,
    /// Which of the newest records died, oldest first.
    window: VecDeque<bool>,
    dead: usize,
    in_a_row: usize,
    reached: Option<String>,
}

impl DeadLimit {
    pub(super) fn new(percent: usize, run: usize) -> DeadLimit {
        DeadLimit { percent, run, window: VecDeque::with_capacity(WINDOW), dead: 0, in_a_row: 0, reached: None }
    }

    /// Counts a batch that was stored.
    pub(super) fn count(&mut self, intake: &Intake) {
        let dead = intake.dead.iter().map(|(position, ..)| (*position, true));
        let mut fates: Vec<(i64, bool)> = intake.mentions.iter().map(|judged| (judged.position, false)).chain(dead).collect();
        if !intake.dead.is_empty() {
            fates.sort_unstable();
        }
        fates.into_iter().for_each(|(_, dead)| self.add(dead));
    }

    /// Why it is enough, if it is.
    pub(super) fn reached(&mut self) -> Option<String> {
        self.reached.take()
    }

    fn add(&mut self, dead: bool) {
        if self.window.len() == WINDOW && self.window.pop_front() == Some(true) {
            self.dead -= 1;
        }
        self.window.push_back(dead);
        self.dead += usize::from(dead);
        self.in_a_row = if dead { self.in_a_row + 1 } else { 0 };
        if self.run > 0 && self.in_a_row >= self.run {
            self.reach(format!("{} records in a row became dead letters", self.in_a_row), "dead_limit_run");
        } else if self.window.len() == WINDOW && self.dead * 100 > self.percent * WINDOW {
            self.reach(format!("{} of {WINDOW} records became dead letters", self.dead), "dead_limit_percent");
        }
    }

    fn reach(&mut self, what: String, key: &str) {
        self.reached = Some(format!("{what}: look at their reasons, then start again, or raise pipeline.{key}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// After how many records it was enough.
    fn enough(percent: usize, run: usize, mut dead: impl FnMut(usize) -> bool) -> Option<usize> {
        let mut limit = DeadLimit::new(percent, run);
        (1..=10_000).find(|number| {
            limit.add(dead(*number));
            limit.reached().is_some()
        })
    }

    #[test]
    fn ordinary_poison_never_stops_it_and_a_flood_does() {
        assert_eq!(enough(50, 500, |number| number % 10 == 0), None, "a tenth");
        assert_eq!(enough(50, 500, |number| number % 2 == 0), None, "exactly half");
        assert_eq!(enough(50, 500, |number| (1_000..1_499).contains(&number)), None, "a long run, and then it ends");
        assert_eq!(enough(50, 500, |number| number >= 1_000), Some(1_499), "one too many in a row");
        assert_eq!(enough(50, 500, |number| number % 3 > 0), Some(1_000), "two thirds, once it has seen enough");
        assert_eq!(enough(100, 0, |_| true), None, "both switched off");
        let reason = {
            let mut limit = DeadLimit::new(50, 2);
            (0..2).for_each(|_| limit.add(true));
            limit.reached().unwrap()
        };
        assert!(reason.starts_with("2 records in a row") && reason.ends_with("raise pipeline.dead_limit_run"), "{reason}");
    }
}
