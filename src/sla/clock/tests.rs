//! The life of a clock, as tables.

use super::*;
use crate::sla::Policies;

const MINUTE: i64 = 60_000;
/// 2026-11-20T12:00:00 in Seoul, a Friday.
const NOON: i64 = 1_795_143_600_000;

/// So many minutes after noon.
fn at(minutes: i64) -> Time {
    Time(NOON + minutes * MINUTE)
}

fn policies() -> Policies {
    let text = r#"
        [[policy]]
        id = "tight"
        when = { team = ["tight"] }
        targets = { first_response = "5m", resolution = "30m" }
        warn = ["80%"]
        [[policy]]
        id = "office"
        when = { team = ["office"] }
        targets = { first_response = "1h", resolution = "4h" }
        calendar = "office"
        warn = ["-10m", "50%"]
        [[policy]]
        id = "bare"
        when = { team = ["bare"] }
        targets = { resolution = "1h" }
        pauses = ["legal_hold"]
        [[policy]]
        id = "usual"
        targets = { triage = "6m", first_response = "12m", next_response = "30m", resolution = "1h" }
        warn = ["50%", "80%", "-2m"]

        [[calendar]]
        id = "office"
        zone = "Asia/Seoul"
        week = { mon = ["09:00-12:00", "13:00-18:00"], fri = ["09:00-12:00", "13:00-18:00"] }
    "#;
    Policies::parse(&[("t".into(), text.into())], 1).unwrap()
}

fn started(policies: &Policies, id: &str, kind: Kind, now: i64) -> (SlaClock, Vec<Fired>) {
    start(policies.named(id).unwrap(), kind, 1, at(0), Origin::Posted, at(now)).unwrap()
}

fn warned(threshold: u32, minutes_tenths: i64) -> Fired {
    Fired::Warned { threshold, at: Time(NOON + minutes_tenths * MINUTE / 10) }
}

#[test]
fn words_are_read_as_they_are_written() {
    use crate::sla::{BreachReason as B, CancelReason as C, Kind as K, Origin as O, PauseReason as P, State as S};
    assert!(K::ALL.into_iter().all(|word| K::parse(word.as_str()) == Some(word)));
    assert!(S::ALL.into_iter().all(|word| S::parse(word.as_str()) == Some(word)));
    assert!(O::ALL.into_iter().all(|word| O::parse(word.as_str()) == Some(word)));
    assert!(P::ALL.into_iter().all(|word| P::parse(word.as_str()) == Some(word)));
    assert!(C::ALL.into_iter().all(|word| C::parse(word.as_str()) == Some(word)));
    assert!(B::ALL.into_iter().all(|word| B::parse(word.as_str()) == Some(word)));
    assert!(K::ALL.into_iter().enumerate().all(|(place, kind)| kind as usize == place), "targets are found by place");
    assert_eq!(S::ALL.into_iter().filter(|state| state.open()).count(), 3);
}

#[test]
fn the_first_response_is_judged_by_the_platforms_time() {
    let policies = policies();
    let usual = policies.named("usual").unwrap();
    let breached = Fired::Breached { at: at(12) };
    // When the alarm settled before (if it did), when the platform took the reply, when we learn it, what follows.
    for (settled, replied, now, expected, state) in [
        (None, at(3), at(3), vec![Fired::Met], State::Met),
        (None, at(12), at(12), vec![Fired::Met], State::Met),
        (None, Time(at(12).0 + 1), at(13), vec![breached, Fired::MetLate], State::MetLate),
        // It lands before the timer fires, and hides no breach.
        (None, at(20), at(20), vec![breached, Fired::MetLate], State::MetLate),
        // In time, learnt of late: before the breach was recorded, and after.
        (None, at(11), at(20), vec![Fired::Met], State::Met),
        (Some(at(15)), at(11), at(20), vec![Fired::BreachWithdrawn, Fired::Met], State::Met),
        (Some(at(12)), at(12), at(12), vec![Fired::BreachWithdrawn, Fired::Met], State::Met),
        (Some(at(15)), at(16), at(20), vec![Fired::MetLate], State::MetLate),
        // A time ahead of ours is ours, one before the post is the post's.
        (None, at(99), at(5), vec![Fired::Met], State::Met),
        (None, at(99), at(13), vec![breached, Fired::MetLate], State::MetLate),
        (None, at(-99), at(13), vec![Fired::Met], State::Met),
    ] {
        let (mut clock, _) = started(&policies, "usual", Kind::FirstResponse, 0);
        if let Some(settled) = settled {
            assert_eq!(clock.settle(usual, settled), [breached]);
        }
        let case = format!("settled {settled:?}, replied {replied}, now {now}");
        assert_eq!(clock.meet(usual, replied, now), expected, "{case}");
        assert_eq!(clock.state, state, "{case}");
        assert_eq!(clock.met_at, Some(replied.min(now).max(at(0))), "{case}");
        let late = state == State::MetLate;
        assert_eq!(clock.breached_at, late.then_some(at(12)), "{case}");
        assert_eq!(clock.detected_at, late.then_some(settled.unwrap_or(now)), "{case}");
        assert_eq!(clock.breach_reason, late.then_some(BreachReason::Deadline), "{case}");
        assert_eq!(clock.next_fire_at, Time::NEVER, "{case}");
        let before = clock.clone();
        assert_eq!(clock.meet(usual, at(1), at(30)), [], "{case}");
        assert_eq!(clock.settle(usual, at(30)), [], "{case}");
        assert_eq!(clock.cancel(usual, CancelReason::Spam, at(30)), [], "{case}");
        assert_eq!(clock, before, "what is closed stays as it is: {case}");
    }
}

#[test]
fn each_alarm_rings_once_at_its_time() {
    let policies = policies();
    let usual = policies.named("usual").unwrap();
    let (mut clock, fired) = started(&policies, "usual", Kind::FirstResponse, 0);
    assert_eq!(fired, []);
    let mut heard = Vec::new();
    let mut alarms = Vec::new();
    while clock.next_fire_at < Time::NEVER {
        let now = clock.next_fire_at;
        assert_eq!(clock.settle(usual, Time(now.0 - 1)), [], "nothing rings early");
        alarms.push(now);
        heard.extend(clock.settle(usual, now));
        assert_eq!(clock.settle(usual, now), [], "nothing rings twice");
    }
    assert_eq!(alarms, [at(6), Time(NOON + 96 * MINUTE / 10), at(10), at(12)]);
    assert_eq!(heard, [warned(0, 60), warned(1, 96), warned(2, 100), Fired::Breached { at: at(12) }]);
    assert_eq!(clock.fired, 0b111);
}

#[test]
fn after_a_restart_the_missed_alarms_ring_once_and_a_breach_says_it_all() {
    let policies = policies();
    let usual = policies.named("usual").unwrap();
    for (restarted, expected) in [
        (5, vec![]),
        (9, vec![warned(0, 60)]),
        (11, vec![warned(0, 60), warned(1, 96), warned(2, 100)]),
        (12, vec![Fired::Breached { at: at(12) }]),
        (10_000, vec![Fired::Breached { at: at(12) }]),
    ] {
        let (mut clock, _) = started(&policies, "usual", Kind::FirstResponse, 0);
        assert_eq!(clock.settle(usual, at(restarted)), expected, "after {restarted} minutes");
        let before = clock.clone();
        assert_eq!(clock.settle(usual, at(restarted)), [], "after {restarted} minutes");
        assert_eq!(clock, before);
        if restarted >= 12 {
            assert_eq!((clock.breached_at, clock.detected_at), (Some(at(12)), Some(at(restarted))));
            assert_eq!(clock.consumed(usual, at(restarted)), at(restarted).since(at(0)), "overdue grows");
        }
    }
}

#[test]
fn what_is_past_at_the_start_is_skipped_or_breached() {
    let policies = policies();
    for (now, mask, next, expected) in [
        (0, 0b000, at(6), vec![]),
        (6, 0b001, Time(NOON + 96 * MINUTE / 10), vec![]),
        (7, 0b001, Time(NOON + 96 * MINUTE / 10), vec![]),
        (11, 0b111, at(12), vec![]),
        (12, 0, Time::NEVER, vec![Fired::Breached { at: at(12) }]),
        (600, 0, Time::NEVER, vec![Fired::Breached { at: at(12) }]),
    ] {
        let (clock, fired) = started(&policies, "usual", Kind::FirstResponse, now);
        assert_eq!((clock.fired, clock.next_fire_at, fired), (mask, next, expected), "started after {now} minutes");
        assert_eq!((clock.origin_at, clock.deadline_at), (at(0), at(12)));
    }
    let usual = policies.named("usual").unwrap();
    let (ahead, _) = start(usual, Kind::Triage, 1, at(5), Origin::Posted, at(0)).unwrap();
    assert_eq!((ahead.origin_at, ahead.deadline_at), (at(0), at(6)), "no origin lies ahead of us");
    // A warning that is longer than the target has nothing to say.
    let (short, _) = start(policies.named("tight").unwrap(), Kind::FirstResponse, 1, at(0), Origin::Posted, at(0)).unwrap();
    assert_eq!((short.fired, short.next_fire_at), (0, at(4)));
    assert_eq!(start(policies.named("tight").unwrap(), Kind::Triage, 1, at(0), Origin::Posted, at(0)), None);
}

#[test]
fn only_resolution_pauses_and_the_rest_is_added_anew() {
    let policies = policies();
    let usual = policies.named("usual").unwrap();
    for kind in [Kind::Triage, Kind::FirstResponse, Kind::NextResponse] {
        let (mut clock, _) = started(&policies, "usual", kind, 0);
        let before = clock.clone();
        assert_eq!(clock.pause(usual, PauseReason::LegalHold, at(1)), []);
        assert_eq!(clock, before, "{kind:?}");
        assert_eq!(clock.resume(usual, at(2)), []);
        assert_eq!(clock, before, "{kind:?}");
    }
    let (mut clock, _) = started(&policies, "usual", Kind::Resolution, 0);
    assert_eq!(clock.pause(usual, PauseReason::WaitingCustomer, at(20)), []);
    assert_eq!((clock.state, clock.deadline_at, clock.next_fire_at), (State::Paused, Time::NEVER, Time::NEVER));
    let paused = clock.clone();
    assert_eq!(clock.pause(usual, PauseReason::LegalHold, at(30)), []);
    assert_eq!(clock.settle(usual, at(9_000)), []);
    assert_eq!(clock, paused, "nothing rings in a pause");
    assert_eq!(clock.consumed(usual, at(9_000)).as_secs(), 20 * 60);
    assert_eq!(clock.resume(usual, at(100)), []);
    assert_eq!((clock.deadline_at, clock.next_fire_at), (at(140), at(110)));
    assert_eq!(clock.resume(usual, at(105)), []);
    assert_eq!(clock.deadline_at, at(140), "a second resume changes nothing");
    assert_eq!(clock.pause(usual, PauseReason::WaitingThirdParty, at(120)), [warned(0, 1_100)]);
    assert_eq!(clock.resume(usual, at(200)), []);
    assert_eq!((clock.deadline_at, clock.fired), (at(220), 0b001));
    assert_eq!(clock.settle(usual, at(225)), [Fired::Breached { at: at(220) }]);
    // Too late to pause, and breached while somebody tried.
    assert_eq!(clock.pause(usual, PauseReason::LegalHold, at(230)), []);
    assert_eq!(clock.state, State::Breached);

    let (mut late, _) = started(&policies, "usual", Kind::Resolution, 0);
    assert_eq!(late.pause(usual, PauseReason::LegalHold, at(61)), [Fired::Breached { at: at(60) }]);
    let (mut met, _) = started(&policies, "usual", Kind::Resolution, 0);
    assert_eq!(met.pause(usual, PauseReason::LegalHold, at(20)), []);
    assert_eq!(met.meet(usual, at(500), at(500)), [Fired::Met], "a pause runs into no deadline");
    let bare = policies.named("bare").unwrap();
    let (mut strict, _) = started(&policies, "bare", Kind::Resolution, 0);
    assert_eq!(strict.pause(bare, PauseReason::WaitingCustomer, at(20)), []);
    assert_eq!(strict.state, State::Running, "the policy does not let this pause it");
}

#[test]
fn a_cancel_needs_a_reason_and_hides_no_breach() {
    let policies = policies();
    let usual = policies.named("usual").unwrap();
    for (now, expected, breached) in [
        (5, vec![Fired::Cancelled(CancelReason::Spam)], None),
        (13, vec![Fired::Breached { at: at(12) }, Fired::Cancelled(CancelReason::Spam)], Some(at(12))),
    ] {
        let (mut clock, _) = started(&policies, "usual", Kind::FirstResponse, 0);
        assert_eq!(clock.cancel(usual, CancelReason::Spam, at(now)), expected);
        assert_eq!((clock.state, clock.cancelled), (State::Cancelled, Some(CancelReason::Spam)));
        assert_eq!((clock.breached_at, clock.next_fire_at), (breached, Time::NEVER));
    }
}

#[test]
fn a_new_policy_keeps_the_time_used() {
    let policies = policies();
    let [usual, tight, office, bare] = ["usual", "tight", "office", "bare"].map(|id| policies.named(id).unwrap());

    let (mut clock, _) = started(&policies, "usual", Kind::FirstResponse, 0);
    assert_eq!(clock.retarget(usual, tight, at(3)), []);
    assert_eq!((clock.policy.id.as_ref(), clock.deadline_at, clock.next_fire_at), ("tight", at(5), at(4)));
    assert_eq!(clock.retarget(tight, usual, at(4)), [warned(0, 40)]);
    assert_eq!((clock.deadline_at, clock.next_fire_at, clock.fired), (at(12), at(6), 0));
    let before = clock.clone();
    assert_eq!(clock.retarget(usual, usual, at(5)), []);
    assert_eq!(clock, before, "the same policy changes nothing");

    // Used up by the new target: breached now, not before; and what was done until now was done in time.
    assert_eq!(clock.retarget(usual, tight, at(9)), [warned(0, 60), Fired::Breached { at: at(9) }]);
    assert_eq!((clock.deadline_at, clock.breached_at, clock.detected_at), (at(9), Some(at(9)), Some(at(9))));
    assert_eq!(clock.breach_reason, Some(BreachReason::PolicyChange));
    let breached = clock.clone();
    assert_eq!(clock.retarget(tight, usual, at(10)), []);
    assert_eq!(clock, breached, "no policy heals a breach");
    assert_eq!(clock.meet(tight, at(8), at(11)), [Fired::BreachWithdrawn, Fired::Met]);

    // Past the old deadline already: that breach comes first, and stands.
    let (mut overdue, _) = started(&policies, "usual", Kind::FirstResponse, 0);
    assert_eq!(overdue.retarget(usual, tight, at(20)), [Fired::Breached { at: at(12) }]);
    assert_eq!((overdue.breach_reason, overdue.policy.id.as_ref()), (Some(BreachReason::Deadline), "usual"));

    let (mut just, _) = started(&policies, "usual", Kind::FirstResponse, 0);
    assert_eq!(just.retarget(usual, tight, at(5)), [Fired::Breached { at: at(5) }]);

    // From around the clock to an office that is at lunch until 13:00: 7 of 60 minutes are used.
    let (mut moved, _) = started(&policies, "usual", Kind::FirstResponse, 0);
    assert_eq!(moved.retarget(usual, office, at(7)), [warned(0, 60)]);
    assert_eq!((moved.deadline_at, moved.next_fire_at), (at(113), at(83)));
    // A merge from 11:05 uses up the rest: in office hours alone by 13:05, in truth by the change.
    assert_eq!(moved.adopt_origin(office, at(-55), Origin::Posted, at(10)), [Fired::Breached { at: at(7) }]);

    // A pause stays one; a target used up in it is a breach all the same.
    let (mut paused, _) = started(&policies, "usual", Kind::Resolution, 0);
    paused.pause(usual, PauseReason::WaitingCustomer, at(20));
    assert_eq!(paused.retarget(usual, tight, at(500)), []);
    assert_eq!((paused.state, paused.deadline_at, paused.next_fire_at), (State::Paused, Time::NEVER, Time::NEVER));
    assert_eq!(paused.resume(tight, at(600)), []);
    assert_eq!(paused.deadline_at, at(610));
    let (mut used, _) = started(&policies, "usual", Kind::Resolution, 0);
    used.pause(usual, PauseReason::WaitingCustomer, at(40));
    assert_eq!(used.retarget(usual, tight, at(500)), [Fired::Breached { at: at(500) }]);

    // A policy without this kind asks for nothing.
    let (mut freed, _) = started(&policies, "usual", Kind::FirstResponse, 0);
    assert_eq!(freed.retarget(usual, bare, at(3)), [Fired::Cancelled(CancelReason::PolicyChange)]);
}

#[test]
fn a_merge_brings_the_earliest_origin_and_hides_no_breach() {
    let policies = policies();
    let usual = policies.named("usual").unwrap();
    let (mut clock, _) = started(&policies, "usual", Kind::FirstResponse, 0);
    let before = clock.clone();
    assert_eq!(clock.adopt_origin(usual, at(2), Origin::Ingested, at(3)), []);
    assert_eq!(clock, before, "a later origin changes nothing");
    assert_eq!(clock.adopt_origin(usual, at(-5), Origin::Ingested, at(3)), []);
    assert_eq!((clock.origin_at, clock.origin_source, clock.deadline_at), (at(-5), Origin::Ingested, at(7)));
    assert_eq!((clock.fired, clock.next_fire_at), (0b001, Time(NOON + 46 * MINUTE / 10)), "what is past is skipped");

    for (origin, deadline) in [(-10, 2), (-12, 0), (-30, -18)] {
        let (mut clock, _) = started(&policies, "usual", Kind::FirstResponse, 0);
        assert_eq!(clock.adopt_origin(usual, at(origin), Origin::Posted, at(3)), [Fired::Breached { at: at(deadline) }]);
        assert_eq!((clock.deadline_at, clock.breached_at, clock.detected_at), (at(deadline), Some(at(deadline)), Some(at(3))));
        assert_eq!(clock.breach_reason, Some(BreachReason::Merge));
    }

    // Breached already: the breach stays one, the origin moves.
    let (mut overdue, _) = started(&policies, "usual", Kind::FirstResponse, 20);
    assert_eq!(overdue.adopt_origin(usual, at(-5), Origin::Posted, at(21)), []);
    assert_eq!((overdue.origin_at, overdue.breached_at), (at(-5), Some(at(12))));
    assert_eq!(overdue.consumed(usual, at(21)).as_secs(), 26 * 60);

    // Pauses of this clock are kept.
    let (mut paused, _) = started(&policies, "usual", Kind::Resolution, 0);
    paused.pause(usual, PauseReason::WaitingCustomer, at(20));
    let whole = paused.clone().adopt_origin(usual, at(-40), Origin::Posted, at(100));
    assert_eq!(whole, [Fired::Breached { at: at(20) }], "used up when the pause began");
    assert_eq!(paused.adopt_origin(usual, at(-30), Origin::Posted, at(100)), []);
    assert_eq!((paused.state, paused.deadline_at), (State::Paused, Time::NEVER));
    assert_eq!(paused.resume(usual, at(200)), []);
    assert_eq!(paused.deadline_at, at(210));
}

#[test]
fn a_promise_is_kept_to_its_time() {
    let policies = policies();
    let [usual, office] = ["usual", "office"].map(|id| policies.named(id).unwrap());
    // Saturday, when the office is closed: 13:00 to 18:00 on Friday are the business time until then.
    let (mut clock, fired) = promise(office, 1, at(24 * 60), at(0));
    assert_eq!((fired, clock.kind, clock.deadline_at), (vec![], Kind::Promise, at(24 * 60)));
    assert_eq!((clock.target.as_secs(), clock.next_fire_at), (5 * 3_600, at(60 + 150)));
    assert_eq!(clock.retarget(office, usual, at(1)), []);
    assert_eq!(clock.adopt_origin(office, at(-60), Origin::Posted, at(1)), []);
    assert_eq!(clock.deadline_at, at(24 * 60));
    assert_eq!(clock.settle(office, at(24 * 60)), [Fired::Breached { at: at(24 * 60) }]);
    assert_eq!(promise(usual, 2, at(-1), at(0)).1, [Fired::Breached { at: at(-1) }]);
}

#[test]
fn an_office_clock_counts_office_hours() {
    let policies = policies();
    let office = policies.named("office").unwrap();
    // Noon is lunch: an hour is due at 14:00, warnings at 13:30 and 13:50.
    let (mut clock, _) = started(&policies, "office", Kind::FirstResponse, 0);
    assert_eq!((clock.deadline_at, clock.next_fire_at), (at(120), at(90)));
    assert_eq!(clock.consumed(office, at(75)).as_secs(), 15 * 60);
    assert_eq!(clock.settle(office, at(115)), [warned(1, 900), warned(0, 1_100)]);
    // Friday 17:00, paused in working hours, resumed on Saturday: three hours are left, from Monday 09:00 on.
    let (mut paused, _) = start(office, Kind::Resolution, 1, at(300), Origin::Posted, at(300)).unwrap();
    assert_eq!(paused.pause(office, PauseReason::WaitingCustomer, at(360)), []);
    assert_eq!(paused.elapsed.as_secs(), 3_600);
    assert_eq!(paused.resume(office, at(24 * 60)), []);
    assert_eq!(paused.deadline_at, Time::parse("2026-11-23T12:00:00+09:00").unwrap());
}

#[test]
fn a_wall_clock_that_is_put_back_breaches_nothing_and_counts_nothing_twice() {
    let policies = policies();
    let [usual, tight] = ["usual", "tight"].map(|id| policies.named(id).unwrap());
    let (mut clock, _) = started(&policies, "usual", Kind::Resolution, 0);
    let before = clock.clone();
    assert_eq!(clock.settle(usual, at(-120)), []);
    assert_eq!(clock, before);
    assert_eq!(clock.pause(usual, PauseReason::WaitingCustomer, at(10)), []);
    assert_eq!(clock.resume(usual, at(-120)), []);
    assert_eq!(clock.deadline_at, at(60), "as if it had not been put back");
    assert_eq!(clock.retarget(usual, tight, at(-120)), []);
    assert_eq!((clock.elapsed.as_secs(), clock.deadline_at), (600, at(30)));
    assert_eq!(clock.meet(tight, at(-120), at(-120)), [Fired::Met]);
    assert_eq!(clock.met_at, Some(at(0)));
    let usual = policies.named("usual").unwrap();
    let (mut breached, _) = started(&policies, "usual", Kind::FirstResponse, 12);
    assert_eq!(breached.meet(usual, at(20), at(-100)), [Fired::MetLate], "a wrong wall clock withdraws no breach");
}
