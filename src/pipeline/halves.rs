//! A batch that the store refuses is halved until the record that it refuses stands alone.

use crate::{
    desk::{self, Intake},
    mention::Mark,
};

/// The same batch with its one mention as a dead letter.
pub(super) fn bury(intake: &Intake, error: &desk::Error) -> Intake {
    let mut buried = Intake { mentions: Vec::new(), ..intake.clone() };
    for judged in &intake.mentions {
        let bytes = serde_json::to_vec(&judged.envelope).unwrap_or_default();
        buried.dead.push((judged.position, format!("could not be stored: {error}"), bytes));
    }
    buried
}

/// Two batches that together are this one.
pub(super) fn split(intake: &Intake) -> (Intake, Intake) {
    let middle = intake.mentions.len() / 2;
    let (first, second) = intake.mentions.split_at(middle);
    let between = Mark { log: intake.to.log.clone(), next: second.first().map_or(intake.to.next, |judged| judged.position) };
    (
        Intake { mentions: first.to_vec(), to: between.clone(), ..intake.clone() },
        Intake { mentions: second.to_vec(), from: between, dead: Vec::new(), ..intake.clone() },
    )
}
