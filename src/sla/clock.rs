//! One promise and its time: a clock from its start to met, met late or cancelled.
//!
//! Plain data with pure transitions. Each takes the policy that the clock names and the time now, and
//! answers with what it caused. Once breached, `breached_at` is `deadline_at`: a breach happens at the
//! deadline, however late somebody looks; `detected_at` says when somebody did.

use std::time::Duration;

use super::{BreachReason, CancelReason, Fired, Kind, Origin, PauseReason, Policy, PolicyRef, State};
use crate::clock::Time;

/// A clock of a case. At most one of a kind is open per case, except promises.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlaClock {
    /// What it waits for.
    pub kind: Kind,
    /// Which round of this kind: 1 for the first.
    pub cycle: u32,
    /// The policy and its version; what it says now does not move this clock.
    pub policy: PolicyRef,
    /// Where it stands.
    pub state: State,
    /// What it counts from.
    pub origin_at: Time,
    /// Whose word `origin_at` is.
    pub origin_source: Origin,
    /// How much business time there is.
    pub target: Duration,
    /// Business time used up to `since`.
    pub elapsed: Duration,
    /// When `elapsed` was last brought up to date.
    pub since: Time,
    /// When it is due; [`Time::NEVER`] while paused.
    pub deadline_at: Time,
    /// Bit i: the policy's warning i has fired, or was already past when it could have.
    pub fired: u32,
    /// When [`SlaClock::settle`] has something to do next; [`Time::NEVER`] if nothing is left.
    pub next_fire_at: Time,
    /// When it was done, by the platform's time.
    pub met_at: Option<Time>,
    /// When it was breached: the deadline.
    pub breached_at: Option<Time>,
    /// When the breach was seen.
    pub detected_at: Option<Time>,
    /// Why it was cancelled.
    pub cancelled: Option<CancelReason>,
    /// Why it was breached.
    pub breach_reason: Option<BreachReason>,
}

/// Starts a clock at `origin_at` (not after `now`); none if the policy has no target of this kind.
///
/// A deadline that is past already is breached at once, at its deadline. Warnings that are past already are
/// skipped: their bits are set in `fired`, which is all there is to log.
pub fn start(
    policy: &Policy,
    kind: Kind,
    cycle: u32,
    origin_at: Time,
    origin_source: Origin,
    now: Time,
) -> Option<(SlaClock, Vec<Fired>)> {
    let target = policy.target(kind)?;
    let origin_at = origin_at.min(now);
    let deadline_at = policy.calendar().add(origin_at, target);
    Some(SlaClock::begin(policy, kind, cycle, (origin_at, origin_source), target, deadline_at, now))
}

/// Starts the clock of a time that we named; no calendar or later policy moves it.
pub fn promise(policy: &Policy, cycle: u32, promised_at: Time, now: Time) -> (SlaClock, Vec<Fired>) {
    let target = policy.calendar().between(now, promised_at);
    SlaClock::begin(policy, Kind::Promise, cycle, (now, Origin::Ingested), target, promised_at, now)
}

impl SlaClock {
    fn begin(
        policy: &Policy,
        kind: Kind,
        cycle: u32,
        (origin_at, origin_source): (Time, Origin),
        target: Duration,
        deadline_at: Time,
        now: Time,
    ) -> (SlaClock, Vec<Fired>) {
        let mut clock = SlaClock {
            kind,
            cycle,
            policy: policy.reference(),
            state: State::Running,
            origin_at,
            origin_source,
            target,
            elapsed: Duration::ZERO,
            since: origin_at,
            deadline_at,
            fired: 0,
            next_fire_at: deadline_at,
            met_at: None,
            breached_at: None,
            detected_at: None,
            cancelled: None,
            breach_reason: None,
        };
        if now < deadline_at {
            clock.aim(policy, now);
        }
        let fired = clock.settle(policy, now);
        (clock, fired)
    }

    /// Business time used up to `now`, the overdue part included.
    pub fn consumed(&self, policy: &Policy, now: Time) -> Duration {
        match self.state {
            State::Running | State::Breached => self.elapsed + policy.calendar().between(self.since, now),
            State::Paused | State::Met | State::MetLate | State::Cancelled => self.elapsed,
        }
    }

    /// Fires what is due at `now`: the warnings passed since last time, or the breach.
    ///
    /// Idempotent. A warning that was missed until after the deadline says nothing any more and is left out.
    pub fn settle(&mut self, policy: &Policy, now: Time) -> Vec<Fired> {
        if self.state != State::Running || now < self.next_fire_at {
            return Vec::new();
        }
        if now >= self.deadline_at {
            return vec![self.breach(self.deadline_at, now, BreachReason::Deadline)];
        }
        let mut due: Vec<(Time, u32)> = self
            .ahead(policy)
            .map(|(threshold, used)| (self.at(policy, used), threshold))
            .filter(|(at, _)| *at <= now)
            .collect();
        due.sort_unstable();
        self.aim(policy, now);
        due.into_iter().map(|(at, threshold)| Fired::Warned { threshold, at }).collect()
    }

    /// What it waits for was done at `at`, by the platform's time; it is clamped to between origin and now
    /// (then `met_at` differs from `at`, which the caller counts).
    ///
    /// Done at the deadline is done in time. Done later is a breach at the deadline first, recorded before or not.
    /// A recorded breach is withdrawn if `at` is not after the deadline.
    pub fn meet(&mut self, policy: &Policy, at: Time, now: Time) -> Vec<Fired> {
        if !self.state.open() {
            return Vec::new();
        }
        // Only the platform's own word withdraws a breach: cut down to a wall clock that was put back, it proves nothing.
        let proven = self.state != State::Breached || at <= self.deadline_at;
        let at = at.min(now).max(self.origin_at);
        let in_time = proven && at <= self.deadline_at;
        let mut fired = Vec::new();
        match self.state {
            State::Running if !in_time => fired.push(self.breach(self.deadline_at, now, BreachReason::Deadline)),
            State::Breached if in_time => {
                (self.breached_at, self.detected_at, self.breach_reason) = (None, None, None);
                fired.push(Fired::BreachWithdrawn);
            }
            _ => {}
        }
        self.met_at = Some(at);
        self.close(policy, if in_time { State::Met } else { State::MetLate }, at);
        fired.push(if in_time { Fired::Met } else { Fired::MetLate });
        fired
    }

    /// Stops the time of a running resolution clock, if its policy lets `reason` do that; all else is left alone.
    pub fn pause(&mut self, policy: &Policy, reason: PauseReason, now: Time) -> Vec<Fired> {
        let fired = self.settle(policy, now);
        if self.kind == Kind::Resolution && self.state == State::Running && policy.pauses(reason) {
            self.count(policy, now);
            self.state = State::Paused;
            (self.deadline_at, self.next_fire_at) = (Time::NEVER, Time::NEVER);
        }
        fired
    }

    /// Lets the time of a paused clock run again; the rest of the target is added from now on.
    pub fn resume(&mut self, policy: &Policy, now: Time) -> Vec<Fired> {
        if self.state == State::Paused {
            self.since = self.since.max(now);
            self.state = State::Running;
            self.deadline_at = self.at(policy, self.target);
            self.aim(policy, now);
        }
        self.settle(policy, now)
    }

    /// Ends an open clock without its being met. A breach until now stays on record.
    pub fn cancel(&mut self, policy: &Policy, reason: CancelReason, now: Time) -> Vec<Fired> {
        let mut fired = self.settle(policy, now);
        if self.state.open() {
            self.close(policy, State::Cancelled, now);
            self.cancelled = Some(reason);
            fired.push(Fired::Cancelled(reason));
        }
        fired
    }

    /// The case goes by another policy from now on: time used is kept, the new target applies.
    ///
    /// If the new target is used up already, the clock is breached now, never earlier. What is breached already
    /// stays as it is, and so does a promise.
    pub fn retarget(&mut self, old_policy: &Policy, new_policy: &Policy, now: Time) -> Vec<Fired> {
        let mut fired = self.settle(old_policy, now);
        let moves = matches!(self.state, State::Running | State::Paused) && self.kind != Kind::Promise;
        if !moves || self.policy == new_policy.reference() {
            return fired;
        }
        let Some(target) = new_policy.target(self.kind) else {
            fired.extend(self.cancel(old_policy, CancelReason::PolicyChange, now));
            return fired;
        };
        self.count(old_policy, now);
        self.policy = new_policy.reference();
        self.target = target;
        self.fired = 0;
        if self.elapsed >= target {
            fired.push(self.breach(now, now, BreachReason::PolicyChange));
            return fired;
        }
        if self.state == State::Running {
            self.deadline_at = self.at(new_policy, target);
        }
        self.aim(new_policy, now);
        fired
    }

    /// A case with an open clock of this kind and an earlier origin was merged into this one's: it counts from there.
    ///
    /// If that puts the deadline into the past, the clock is breached at that deadline. What is breached already
    /// keeps its breach. Time before the old origin counts in full, for a pause is known of this clock only.
    pub fn adopt_origin(&mut self, policy: &Policy, origin_at: Time, origin_source: Origin, now: Time) -> Vec<Fired> {
        let mut fired = self.settle(policy, now);
        if !self.state.open() || self.kind == Kind::Promise || origin_at >= self.origin_at {
            return fired;
        }
        self.elapsed += policy.calendar().between(origin_at, self.origin_at);
        (self.origin_at, self.origin_source) = (origin_at, origin_source);
        if self.state == State::Breached {
            return fired;
        }
        if self.elapsed >= self.target {
            let deadline_at = policy.calendar().add(origin_at, self.target).min(self.since);
            fired.push(self.breach(deadline_at, now, BreachReason::Merge));
            return fired;
        }
        if self.state == State::Running {
            self.deadline_at = self.at(policy, self.target);
            if self.deadline_at <= now {
                fired.push(self.breach(self.deadline_at, now, BreachReason::Merge));
                return fired;
            }
        }
        self.aim(policy, now);
        fired
    }

    /// Warnings that have not fired, with the business time at which they do.
    fn ahead<'a>(&self, policy: &'a Policy) -> impl Iterator<Item = (u32, Duration)> + use<'a> {
        let (fired, target) = (self.fired, self.target);
        let warnings = (0..).zip(policy.warnings());
        warnings.filter(move |(bit, _)| fired & (1 << bit) == 0).map(move |(bit, warn)| (bit, warn.due(target)))
    }

    /// When `used` of business time will have been used, if nothing stops the clock.
    fn at(&self, policy: &Policy, used: Duration) -> Time {
        policy.calendar().add(self.since, used.saturating_sub(self.elapsed))
    }

    /// Marks the warnings that are past at `now`, and finds what comes next.
    fn aim(&mut self, policy: &Policy, now: Time) {
        let mut next = self.target;
        if !policy.warnings().is_empty() {
            let used = self.consumed(policy, now);
            for (bit, due) in self.ahead(policy) {
                if due <= used {
                    self.fired |= 1 << bit;
                } else {
                    next = next.min(due);
                }
            }
        }
        self.next_fire_at = match self.state {
            State::Running if next < self.target => self.deadline_at.min(self.at(policy, next)),
            State::Running => self.deadline_at,
            _ => Time::NEVER,
        };
    }

    /// Brings `elapsed` up to now. A wall clock that was put back takes nothing away and counts nothing twice.
    fn count(&mut self, policy: &Policy, now: Time) {
        self.elapsed = self.consumed(policy, now);
        self.since = self.since.max(now);
    }

    fn breach(&mut self, at: Time, now: Time, reason: BreachReason) -> Fired {
        self.state = State::Breached;
        (self.deadline_at, self.next_fire_at) = (at, Time::NEVER);
        (self.breached_at, self.detected_at, self.breach_reason) = (Some(at), Some(now), Some(reason));
        Fired::Breached { at }
    }

    fn close(&mut self, policy: &Policy, state: State, at: Time) {
        self.count(policy, at);
        self.state = state;
        self.next_fire_at = Time::NEVER;
    }
}

#[cfg(test)]
mod tests;
