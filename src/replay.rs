//! Does things again: dead letters once their cause is gone, and the judging of history by newer rules.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::{
    bus::{Bus, Entry},
    classify::Input,
    clock::Time,
    control::Request,
    desk::Desk,
    dispatch::{DEFAULT_TEAM, Facts, Outcome},
    mention::{Label, MentionId, Side, Verdict, platform},
    pipeline::Judges,
    queue::{Catalog, DeadLetter, Past, Urgency},
};

/// Dead letters or mentions looked at together.
const PAGE: u32 = 500;
/// So many bytes of dead letters are held at once, or one that is larger.
const HELD: i64 = 4 << 20;

/// Carries out `replay dead` with `{reason?}`, or `replay history` with `{since_ms, apply}`.
/// `seen` is told how many were looked at.
///
/// # Errors
/// Those of [`dead`] and [`history`].
pub async fn run(request: &Request, bus: &Bus, desk: &Desk, judges: Arc<Judges>, seen: &(dyn Fn(u64) + Sync)) -> Result<Value> {
    if request.command == "replay dead" {
        return dead(bus, desk, request.args["reason"].as_str(), seen).await;
    }
    let span = Duration::from_millis(request.args["since_ms"].as_u64().unwrap_or(0));
    let since = desk.clock().now().minus(span);
    history(desk, judges, since, request.args["apply"].as_bool().unwrap_or(false), seen).await
}

/// Appends every dead letter that was not replayed yet to the bus again, and marks it. What is stored already
/// stays as it is; what fails again becomes a dead letter again. `reason` picks those whose reason contains it.
/// `seen` is told how many were looked at.
///
/// # Errors
/// The store's and the bus's; what was appended until then stays appended, and going on repeats nothing that counts.
pub async fn dead(bus: &Bus, desk: &Desk, reason: Option<&str>, seen: &(dyn Fn(u64) + Sync)) -> Result<Value> {
    let (mut after, mut looked, mut replayed) = (0, 0, 0);
    loop {
        let letters = desk.store().read(move |reader| reader.dead_letters(after, PAGE)).await?;
        let Some(last) = letters.last() else { break };
        after = last.id;
        looked += letters.len() as u64;
        let mut due: Vec<DeadLetter> = letters
            .into_iter()
            // An erased one has nothing left to replay.
            .filter(|letter| letter.replayed_at.is_none() && letter.size > 0)
            .filter(|letter| reason.is_none_or(|reason| letter.reason.contains(reason)))
            .collect();
        while !due.is_empty() {
            let ids: Arc<[i64]> = due.drain(..fitting(&due)).map(|letter| letter.id).collect();
            let asked = Arc::clone(&ids);
            let letters = desk.store().read(move |reader| reader.dead_bytes(&asked)).await?;
            // Erased since it was listed: nothing is left of it either.
            let letters = letters.into_iter().filter(|(_, bytes)| !bytes.is_empty());
            bus.append(letters.map(|(id, bytes)| Entry::again(bytes, format!("dead/{id}"))).collect())
                .await
                .context("failed to append to the bus")?;
            // A crash before this line appends them once more, which stores nothing twice.
            replayed += ids.len() as u64;
            desk.store().write(Urgency::Batch, move |tx| tx.mark_replayed(&ids)).await?;
        }
        seen(looked);
    }
    Ok(json!({ "dead_letters": looked, "replayed": replayed }))
}

/// How many of the first letters are held at once: at least one.
fn fitting(letters: &[DeadLetter]) -> usize {
    let mut held = 0;
    let more = letters.iter().take_while(|letter| {
        held += letter.size;
        held <= HELD
    });
    more.count().max(1)
}

/// Judges customers' mentions since `since` again by the rules in force, and says what differs; with `apply`
/// the new labels are written, to unfinished cases too unless a person has set theirs. No case moves.
///
/// # Errors
/// The store's.
pub async fn history(desk: &Desk, judges: Arc<Judges>, since: Time, apply: bool, seen: &(dyn Fn(u64) + Sync)) -> Result<Value> {
    let mut found = Findings::default();
    let mut after = MentionId(0);
    loop {
        let page = desk.store().read(move |reader| reader.past(after, since, PAGE)).await?;
        let Some(last) = page.last() else { break };
        after = last.mention;
        let (judges, catalog, rules) = (Arc::clone(&judges), desk.store().catalog(), judges.version);
        let judged = tokio::task::spawn_blocking(move || {
            page.into_iter().map(|past| judge(&judges, &catalog, past)).collect::<Vec<_>>()
        });
        let mut changed: Vec<(MentionId, Verdict)> = Vec::new();
        for (past, verdict, elsewhere) in judged.await? {
            found.elsewhere += u64::from(elsewhere);
            // A mention comes once for each case that it opened.
            if found.last.replace(past.mention) == Some(past.mention) {
                continue;
            }
            found.mentions += 1;
            let (before, now) = (word(past.label, past.unsure), word(verdict.label, verdict.unsure));
            if before != now {
                *found.changes.entry(format!("{before} -> {now}")).or_default() += 1;
                changed.push((past.mention, verdict));
            }
        }
        found.changed += changed.len() as u64;
        if apply && !changed.is_empty() {
            found.written += desk.rejudge(changed, rules).await? as u64;
        }
        seen(found.mentions);
    }
    Ok(json!({
        "rules": judges.version,
        "mentions": found.mentions,
        "changed": found.changed,
        "changes": found.changes,
        "cases_elsewhere": found.elsewhere,
        "written": found.written,
    }))
}

#[derive(Default)]
struct Findings {
    last: Option<MentionId>,
    mentions: u64,
    changed: u64,
    changes: BTreeMap<String, u64>,
    elsewhere: u64,
    written: u64,
}

fn word(label: Label, unsure: bool) -> &'static str {
    if unsure { "unsorted" } else { label.as_str() }
}

/// The new verdict, and whether today's rules would send the case to another team or to none.
fn judge(judges: &Judges, catalog: &Catalog, past: Past) -> (Past, Verdict, bool) {
    let lang = past.lang.as_str();
    let verdict =
        judges.read(&Input { text: &past.text, lang_hint: Some(lang), answers: past.answers, addressed: past.addressed });
    let elsewhere = past.case.as_ref().is_some_and(|case| {
        let outcome = judges
            .dispatcher
            .decide(&Facts {
                label: verdict.label,
                confidence: verdict.confidence,
                unsure: verdict.unsure,
                lang: verdict.lang,
                platform: platform(&past.source),
                account: &case.account,
                brand: &case.brand,
                text: &past.text,
                reach: past.reach,
                side: Side::Customer,
                addressed: past.addressed,
            })
            .outcome;
        match outcome {
            Outcome::Fold => true,
            Outcome::Case { team, .. } | Outcome::Hold { team } => {
                team != DEFAULT_TEAM && catalog.team_by_key(team).is_none_or(|team| team.id != case.team)
            }
        }
    });
    (past, verdict, elsewhere)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dead_letters_are_held_by_the_megabyte_and_a_larger_one_alone() {
        let of = |sizes: &[i64]| -> Vec<DeadLetter> {
            let letter = |size: &i64| DeadLetter {
                id: 0,
                log: String::new(),
                part: 0,
                position: 0,
                at: Time(0),
                reason: String::new(),
                size: *size,
                replayed_at: None,
            };
            sizes.iter().map(letter).collect()
        };
        assert_eq!(fitting(&of(&[HELD - 1, 1, 1])), 2);
        assert_eq!(fitting(&of(&[3 * HELD, 1])), 1);
        assert_eq!(fitting(&of(&[1; 9])), 9);
    }
}
