//! How sure to be: measured on texts of sources that the model was not trained on.

use super::{LABELS, softmax, top};

/// One text as a model judged it that had never seen its source.
#[derive(Clone, Debug)]
pub(super) struct Judged {
    pub(super) scores: [f32; LABELS],
    pub(super) label: usize,
    /// Sources count the same, however many texts they have.
    pub(super) weight: f32,
    /// A person labelled it for this, as something that a customer writes.
    pub(super) customer: bool,
}

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Doubt {
    pub(super) temperature: f32,
    pub(super) unsure_below: f32,
    pub(super) precision: f32,
    pub(super) coverage: f32,
}

/// The temperature under which probabilities come true, then the threshold for `precision` on what customers write.
pub(super) fn fit(judged: &[Judged], precision: f32) -> Doubt {
    let temperature = temperature(judged);
    let customers: Vec<Judged> = judged.iter().filter(|judged| judged.customer).cloned().collect();
    let (unsure_below, precision, coverage) =
        threshold(if customers.is_empty() { judged } else { &customers }, temperature, precision);
    Doubt { temperature, unsure_below, precision, coverage }
}

fn at(judged: &Judged, temperature: f32) -> [f32; LABELS] {
    softmax(judged.scores.map(|score| score / temperature))
}

/// The temperature with the least surprise.
fn temperature(judged: &[Judged]) -> f32 {
    let surprise = |temperature: f32| -> f32 {
        judged.iter().map(|judged| -at(judged, temperature)[judged.label].max(1e-6).ln() * judged.weight).sum()
    };
    let candidates = (0..60).map(|step| 0.3 * 1.05_f32.powi(step));
    candidates
        .map(|temperature| (temperature, surprise(temperature)))
        .min_by(|a, b| a.1.total_cmp(&b.1))
        .map_or(1.0, |best| best.0)
}

/// The lowest probability above which labels are right as often as `wanted`, how right they are there, and the share that lies there.
///
/// Where nothing is that good, the twentieth of the texts that the model is surest of.
fn threshold(judged: &[Judged], temperature: f32, wanted: f32) -> (f32, f32, f32) {
    let mut sorted: Vec<(f32, bool, f32)> = judged
        .iter()
        .map(|judged| {
            let probabilities = at(judged, temperature);
            let best = top(&probabilities);
            (probabilities[best], best == judged.label, judged.weight)
        })
        .collect();
    sorted.sort_by(|a, b| b.0.total_cmp(&a.0));
    let all: f32 = sorted.iter().map(|(_, _, weight)| weight).sum();
    let (mut right, mut total) = (0.0, 0.0);
    let mut best = (0.99, 0.0, 0.0);
    for (probability, correct, weight) in sorted {
        total += weight;
        right += if correct { weight } else { 0.0 };
        let small = total / all < 0.05;
        if small || right / total >= wanted {
            best = (probability, right / total, total / all);
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(score: f32, right: bool) -> Judged {
        Judged { scores: [score, 0.0, 0.0, 0.0, 0.0], label: usize::from(!right), weight: 1.0, customer: true }
    }

    #[test]
    fn who_is_too_sure_is_cooled() {
        // Right two times of three, but sure as if always.
        let too_sure: Vec<Judged> = (0..90).map(|index| judged(8.0, index % 3 != 0)).collect();
        let doubt = fit(&too_sure, 0.95);
        assert!(doubt.temperature > 2.0, "{doubt:?}");
        let shy: Vec<Judged> = (0..90).map(|_| judged(1.0, true)).collect();
        assert!(fit(&shy, 0.95).temperature < 0.5);
    }

    #[test]
    fn the_threshold_keeps_its_precision() {
        let mixed: Vec<Judged> = (0..100)
            .map(|index| judged(6.0, index % 50 != 0))
            .chain((0..100).map(|index| judged(1.0, index % 2 == 0)))
            .collect();
        let doubt = fit(&mixed, 0.95);
        assert!(doubt.precision >= 0.95 && (0.5..0.6).contains(&doubt.coverage), "{doubt:?}");
        let hopeless: Vec<Judged> = (0..100).map(|index| judged(index as f32 / 50.0, index % 2 == 0)).collect();
        assert!(fit(&hopeless, 0.95).coverage < 0.06);
    }
}
