//! Two models on the same texts: is the candidate better, worse, or is the difference noise?
//!
//! Only texts on which the two differ tell anything. Were they equally good, each would win half of those;
//! how unlikely the actual split is then (the sign test) decides.

use crate::mention::Label;

/// A split that chance alone brings less often than this is no noise. Strict, since six rows are looked at.
const CHANCE: f64 = 0.01;

/// What both say of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// What it is.
    pub truth: Label,
    /// What the model in use says, be it unsure or not.
    pub current: Label,
    /// What the candidate says.
    pub candidate: Label,
}

/// How a candidate stands to the model in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Better, beyond noise.
    Better,
    /// As good, as far as these texts tell.
    Same,
    /// Worse, beyond noise.
    Worse,
}

/// All texts, or those of one label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Which; all where none.
    pub label: Option<Label>,
    /// How many texts.
    pub texts: usize,
    /// Right by the model in use.
    pub current: usize,
    /// Right by the candidate.
    pub candidate: usize,
    /// Right by the candidate alone.
    pub gained: usize,
    /// Right by the model in use alone.
    pub lost: usize,
}

impl Row {
    fn of(label: Option<Label>, readings: &[Reading]) -> Row {
        let mut row = Row { label, texts: 0, current: 0, candidate: 0, gained: 0, lost: 0 };
        for reading in readings.iter().filter(|reading| label.is_none_or(|label| reading.truth == label)) {
            let (current, candidate) = (reading.current == reading.truth, reading.candidate == reading.truth);
            row.texts += 1;
            row.current += usize::from(current);
            row.candidate += usize::from(candidate);
            row.gained += usize::from(candidate && !current);
            row.lost += usize::from(current && !candidate);
        }
        row
    }

    /// Better, worse or neither.
    pub fn change(&self) -> Change {
        if split_by_chance(self.gained, self.lost) >= CHANCE {
            return Change::Same;
        }
        if self.gained > self.lost { Change::Better } else { Change::Worse }
    }
}

/// The comparison: all texts first, then each label that occurs.
pub fn compare(readings: &[Reading]) -> Vec<Row> {
    let labels = Label::ALL.into_iter().map(Some);
    std::iter::once(None).chain(labels).map(|label| Row::of(label, readings)).filter(|row| row.texts > 0).collect()
}

/// How often fair coins split at least this unevenly.
#[expect(clippy::cast_precision_loss, reason = "counts of texts")]
fn split_by_chance(gained: usize, lost: usize) -> f64 {
    let tosses = gained + lost;
    // ln C(n, k) - n ln 2, from k = 0 on.
    let mut log = -(tosses as f64) * std::f64::consts::LN_2;
    let mut tail = 0.0;
    for k in 0..=gained.min(lost) {
        tail += log.exp();
        log += ((tosses - k) as f64).ln() - ((k + 1) as f64).ln();
    }
    (2.0 * tail).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn readings(right_both: usize, gained: usize, lost: usize) -> Vec<Reading> {
        let (truth, wrong) = (Label::Question, Label::Other);
        let reading = |current, candidate| Reading { truth, current, candidate };
        let mut all = vec![reading(truth, truth); right_both];
        all.extend(vec![reading(wrong, truth); gained]);
        all.extend(vec![reading(truth, wrong); lost]);
        all
    }

    #[test]
    fn only_a_split_beyond_noise_is_a_change() {
        for (gained, lost, expected) in [
            (0, 0, Change::Same),
            (1, 0, Change::Same),
            (7, 0, Change::Same),
            (8, 0, Change::Better),
            (0, 8, Change::Worse),
            (30, 20, Change::Same),
            (60, 30, Change::Better),
            (450, 550, Change::Worse),
            (490, 510, Change::Same),
        ] {
            let row = compare(&readings(100, gained, lost))[0];
            assert_eq!(row.change(), expected, "{gained} gained, {lost} lost: {}", split_by_chance(gained, lost));
            assert_eq!((row.texts, row.candidate), (100 + gained + lost, 100 + gained));
        }
    }

    #[test]
    fn the_test_is_the_exact_one() {
        assert!((split_by_chance(8, 0) - 2.0 / 256.0).abs() < 1e-12);
        assert!((split_by_chance(3, 1) - 10.0 / 16.0).abs() < 1e-12);
        assert!((split_by_chance(5, 5) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn a_label_that_is_lost_shows_though_the_whole_is_the_same() {
        let mut all = readings(0, 20, 0);
        let lost = Reading { truth: Label::Abuse, current: Label::Abuse, candidate: Label::Complaint };
        all.extend(vec![lost; 20]);
        let rows = compare(&all);
        assert_eq!(rows.iter().map(|row| row.label).collect::<Vec<_>>(), [None, Some(Label::Question), Some(Label::Abuse)]);
        assert_eq!(rows.iter().map(Row::change).collect::<Vec<_>>(), [Change::Same, Change::Better, Change::Worse]);
    }
}
