//! Policies: which one a case gets, and what it asks for.

use std::{sync::Arc, time::Duration};

use serde::Deserialize;

use super::{
    Calendar, Error, Kind, Origin, PauseReason, PolicyRef,
    file::{self, Example, Place, parse_length},
    start,
};
use crate::{
    case::Priority,
    clock::Time,
    mention::{Label, Lang, TimeQuality},
};

/// What is known of a case when its policy is chosen.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// Its label.
    pub label: Label,
    /// Key of its team.
    pub team: &'a str,
    /// Language of the post.
    pub lang: Lang,
    /// Platform, or platform and instance: `mastodon:social.example.kr`.
    pub source: &'a str,
    /// Key of the brand.
    pub brand: &'a str,
    /// How much it presses.
    pub priority: Priority,
    /// Followers or subscribers of the author; 0 if not known.
    pub reach: u64,
    /// Tags of the contact.
    pub tags: &'a [String],
}

/// Targets, calendar and warnings for the cases that it matches.
#[derive(Clone, Debug)]
pub struct Policy {
    pub(super) reference: PolicyRef,
    pub(super) when: When,
    pub(super) targets: [Option<Duration>; Kind::ALL.len()],
    pub(super) origin: Origin,
    pub(super) calendar: Arc<Calendar>,
    pub(super) warn: Vec<Warn>,
    pub(super) pauses: Vec<PauseReason>,
    pub(super) reopen_window: Duration,
    pub(super) max_backdate: Duration,
    pub(super) examples: Vec<(Place, Example)>,
}

impl Policy {
    /// Its id and version, as a clock keeps them.
    pub fn reference(&self) -> PolicyRef {
        self.reference.clone()
    }

    /// How much time there is for `kind`; none if it owes no such thing.
    pub fn target(&self, kind: Kind) -> Option<Duration> {
        self.targets[kind as usize]
    }

    /// The time that counts.
    pub fn calendar(&self) -> &Calendar {
        &self.calendar
    }

    /// Its warnings; the place in this list is the bit in a clock's `fired`.
    pub fn warnings(&self) -> &[Warn] {
        &self.warn
    }

    /// Does `reason` stop a resolution clock?
    pub fn pauses(&self, reason: PauseReason) -> bool {
        self.pauses.contains(&reason)
    }

    /// How long after its resolution a case comes back when its customer writes again.
    pub fn reopen_window(&self) -> Duration {
        self.reopen_window
    }

    /// A post older than this is history: no case, no clocks.
    pub fn max_backdate(&self) -> Duration {
        self.max_backdate
    }

    /// What a post's clocks count from: when it was posted if the source says so exactly, else when it was seen.
    ///
    /// A time after `seen_at` is no better than `seen_at`; the caller counts it.
    pub fn origin(&self, posted_at: Option<Time>, quality: TimeQuality, seen_at: Time) -> (Time, Origin) {
        match posted_at {
            Some(at) if quality == TimeQuality::Exact && at <= seen_at && self.origin == Origin::Posted => (at, Origin::Posted),
            _ => (seen_at, Origin::Ingested),
        }
    }
}

/// The policies of one published version of the rules.
#[derive(Clone, Debug)]
pub struct Policies {
    /// All but the last, in their order.
    special: Vec<Policy>,
    /// The last: it has no conditions.
    default: Policy,
    /// Policies of earlier versions that open clocks still go by.
    earlier: Vec<Policy>,
}

impl Policies {
    /// Reads files of policies and calendars, in order, as one list, and runs its examples.
    ///
    /// `files` are pairs of name and text; the last policy of all is the default and has no `when`.
    ///
    /// # Errors
    /// The first thing that is wrong, with file, line, key and what to write instead.
    pub fn parse(files: &[(String, String)], version: u32) -> Result<Policies, Error> {
        let mut special = file::read(files, version)?;
        let Some(default) = special.pop() else {
            let files = files.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
            return Err(Error::NoPolicy { files: if files.is_empty() { "no file".into() } else { files } });
        };
        let policies = Policies { special, default, earlier: Vec::new() };
        policies.run_examples()?;
        Ok(policies)
    }

    /// The first policy that matches; the default if none does.
    pub fn choose(&self, facts: &Facts<'_>) -> &Policy {
        self.special.iter().find(|policy| policy.when.matches(facts)).unwrap_or(&self.default)
    }

    /// The policy with this id.
    pub fn named(&self, id: &str) -> Option<&Policy> {
        self.iter().find(|policy| &*policy.reference.id == id)
    }

    /// The policy that a clock names: of its version if that is known here, else what the id means now,
    /// else the default. A clock's target and deadline stand in the clock, so only warnings can differ.
    pub fn get(&self, policy: &PolicyRef) -> &Policy {
        let exact = self.iter().chain(&self.earlier).find(|known| known.reference == *policy);
        exact.or_else(|| self.named(&policy.id)).unwrap_or(&self.default)
    }

    /// Keeps the policies of an earlier version at hand for [`Policies::get`].
    pub fn remember(&mut self, older: Policies) {
        self.earlier.extend(older.special);
        self.earlier.push(older.default);
        self.earlier.extend(older.earlier);
    }

    /// All policies of this version, in their order; the default is last.
    pub fn iter(&self) -> impl Iterator<Item = &Policy> {
        self.special.iter().chain([&self.default])
    }

    /// Checks that every example gets the policy it stands in, and its deadline.
    ///
    /// # Errors
    /// The first example that does not.
    pub fn run_examples(&self) -> Result<(), Error> {
        for policy in self.iter() {
            for (place, example) in &policy.examples {
                let id = &policy.reference.id;
                let chosen = self.choose(&example.facts.borrowed());
                if chosen.reference != policy.reference {
                    let other = &chosen.reference.id;
                    return Err(place.refuse(format!(
                        "this example of {id} gets policy {other}; change its facts, or a `when`, or the order"
                    )));
                }
                let clock = start(policy, example.kind, 1, example.origin, Origin::Posted, example.origin);
                let Some((clock, _)) = clock else {
                    let kind = example.kind.as_str();
                    return Err(place.refuse(format!("{id} has no target {kind}; add one or give the example another kind")));
                };
                if clock.deadline_at != example.deadline {
                    return Err(place.refuse(format!(
                        "the deadline of this example is {}, not {}; change it, or targets or calendar of {id}",
                        clock.deadline_at, example.deadline
                    )));
                }
            }
        }
        Ok(())
    }
}

/// When to warn before a breach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Warn {
    /// When this many per cent of the target are used.
    Used(u32),
    /// When no more than this is left of the target.
    Left(Duration),
}

impl Warn {
    /// The business time, of a clock with this target, at which it is due.
    pub fn due(self, target: Duration) -> Duration {
        match self {
            Warn::Used(percent) => target * percent / 100,
            Warn::Left(left) => target.saturating_sub(left),
        }
    }
}

impl TryFrom<String> for Warn {
    type Error = String;

    fn try_from(text: String) -> Result<Warn, String> {
        let warn = match (text.strip_suffix('%'), text.strip_prefix('-')) {
            (Some(percent), None) => percent.parse().ok().filter(|percent| (1..100).contains(percent)).map(Warn::Used),
            (None, Some(left)) => parse_length(left).filter(|left| !left.is_zero()).map(Warn::Left),
            _ => None,
        };
        warn.ok_or(format!(r#""{text}" is no warning; write "80%" (1 to 99) or "-2m" (so long before the deadline)"#))
    }
}

/// Conditions: all that are given must hold, each for one of its words.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct When {
    label: Vec<Label>,
    team: Vec<String>,
    lang: Vec<Lang>,
    platform: Vec<String>,
    source: Vec<String>,
    brand: Vec<String>,
    priority: Vec<Priority>,
    tags: Vec<String>,
    reach_min: u64,
}

impl When {
    fn matches(&self, facts: &Facts<'_>) -> bool {
        fn any<T: PartialEq<U>, U>(wanted: &[T], has: &U) -> bool {
            wanted.is_empty() || wanted.iter().any(|one| one == has)
        }
        let platform = facts.source.split(':').next().unwrap_or_default();
        any(&self.label, &facts.label)
            && any(&self.team, &facts.team)
            && any(&self.lang, &facts.lang)
            && any(&self.platform, &platform)
            && any(&self.source, &facts.source)
            && any(&self.brand, &facts.brand)
            && any(&self.priority, &facts.priority)
            && (self.tags.is_empty() || self.tags.iter().any(|tag| facts.tags.contains(tag)))
            && facts.reach >= self.reach_min
    }
}

#[cfg(test)]
mod tests;
