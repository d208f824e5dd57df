//! Business time at its edges, and against a walk minute by minute.

use super::*;
use crate::sla::Policies;

fn calendar(zone: &str, week: &str, dates: &str) -> Calendar {
    let text = format!(
        "[[policy]]\nid = \"z\"\ntargets = {{ triage = \"1m\" }}\ncalendar = \"c\"\n\
         [[calendar]]\nid = \"c\"\nzone = \"{zone}\"\nweek = {{ {week} }}\ndates = {{ {dates} }}\n"
    );
    let policies = Policies::parse(&[("t".into(), text)], 1).unwrap();
    policies.named("z").unwrap().calendar().clone()
}

fn office(zone: &str) -> Calendar {
    let days = ["mon", "tue", "wed", "thu", "fri"].map(|day| format!(r#"{day} = ["13:00-18:00", "09:00-12:00"]"#)).join(", ");
    calendar(zone, &days, "2026-12-25 = [], 2026-12-24 = [\"10:00-12:00\"], 2026-12-26 = [\"09:00-11:00\"]")
}

/// Each day alike.
fn daily(zone: &str, openings: &str) -> Calendar {
    let days = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"].map(|day| format!("{day} = [{openings}]")).join(", ");
    calendar(zone, &days, "")
}

fn at(text: &str) -> Time {
    Time::parse(text).unwrap()
}

fn minutes(count: u64) -> Duration {
    Duration::from_secs(count * 60)
}

#[track_caller]
fn check(calendar: &Calendar, from: &str, span: u64, expected: &str) {
    let (from, expected) = (at(from), at(expected));
    assert_eq!(calendar.add(from, minutes(span)).to_string(), expected.to_string(), "{from} plus {span} minutes");
    assert_eq!(calendar.between(from, expected), minutes(span), "from {from} to {expected}");
}

#[test]
fn around_the_clock_is_one_addition() {
    check(&Calendar::Always, "2028-02-28T23:59:00Z", 24 * 60, "2028-02-29T23:59:00Z");
    assert_eq!(Calendar::Always.between(Time(9), Time(5)), Duration::ZERO);
}

#[test]
fn an_office_with_lunch_weekend_and_holidays() {
    let office = office("Asia/Seoul");
    for (from, span, expected) in [
        ("2026-11-20T09:00:00+09:00", 180, "2026-11-20T12:00:00+09:00"),
        ("2026-11-20T09:00:00+09:00", 181, "2026-11-20T13:01:00+09:00"),
        ("2026-11-20T12:30:00+09:00", 1, "2026-11-20T13:01:00+09:00"),
        ("2026-11-20T12:00:00+09:00", 1, "2026-11-20T13:01:00+09:00"),
        ("2026-11-20T17:59:00+09:00", 1, "2026-11-20T18:00:00+09:00"),
        ("2026-11-20T17:59:00+09:00", 2, "2026-11-23T09:01:00+09:00"),
        ("2026-11-21T03:00:00+09:00", 60, "2026-11-23T10:00:00+09:00"),
        // Special hours, a holiday, a Saturday that is open for once, Sunday.
        ("2026-12-23T18:00:00+09:00", 120, "2026-12-24T12:00:00+09:00"),
        ("2026-12-23T18:00:00+09:00", 240, "2026-12-26T11:00:00+09:00"),
        ("2026-12-23T18:00:00+09:00", 241, "2026-12-28T09:01:00+09:00"),
    ] {
        check(&office, from, span, expected);
    }
    assert_eq!(office.add(at("2026-11-21T03:00:00+09:00"), Duration::ZERO), at("2026-11-21T03:00:00+09:00"));
    assert_eq!(office.between(at("2026-11-23T10:00:00+09:00"), at("2026-11-20T10:00:00+09:00")), Duration::ZERO);
    let half_a_second = Duration::from_millis(500);
    assert_eq!(office.add(at("2026-11-20T17:59:59.750+09:00"), half_a_second), at("2026-11-23T09:00:00.250+09:00"));
}

#[test]
fn a_leap_day_is_a_day() {
    // 2028-02-29 is a Tuesday.
    check(&office("Asia/Seoul"), "2028-02-28T17:00:00+09:00", 60 + 480 + 60, "2028-03-01T10:00:00+09:00");
}

#[test]
fn openings_past_midnight_belong_to_their_first_day() {
    let night = calendar("Asia/Seoul", r#"fri = ["22:00-06:00"], sat = ["05:00-07:00"]"#, "2026-11-28 = []");
    check(&night, "2026-11-20T12:00:00+09:00", 8 * 60, "2026-11-21T06:00:00+09:00");
    // Where two openings overlap, time counts once.
    check(&night, "2026-11-20T12:00:00+09:00", 9 * 60, "2026-11-21T07:00:00+09:00");
    check(&night, "2026-11-21T03:00:00+09:00", 60, "2026-11-21T04:00:00+09:00");
    // A closed Saturday ends no Friday night.
    check(&night, "2026-11-27T12:00:00+09:00", 8 * 60, "2026-11-28T06:00:00+09:00");
    check(&night, "2026-11-27T12:00:00+09:00", 8 * 60 + 1, "2026-12-04T22:01:00+09:00");
}

#[test]
fn whole_days_leave_no_hole() {
    check(&daily("Asia/Seoul", r#""00:00-24:00""#), "2026-11-20T12:34:00+09:00", 10_000, "2026-11-27T11:14:00+09:00");
}

#[test]
fn days_on_which_clocks_are_set() {
    let zone = "America/New_York";
    for (openings, from, span, expected) in [
        // 8 March 2026: 02:00 becomes 03:00. The night shift has 7 hours, the day 23.
        (r#""22:00-06:00""#, "2026-03-07T22:00:00-05:00", 7 * 60, "2026-03-08T06:00:00-04:00"),
        (r#""00:00-24:00""#, "2026-03-08T00:00:00-05:00", 23 * 60, "2026-03-09T00:00:00-04:00"),
        (r#""09:00-17:00""#, "2026-03-07T16:00:00-05:00", 120, "2026-03-08T10:00:00-04:00"),
        // What would open in the missing hour opens at the change; what would end in it ends there.
        (r#""02:30-05:00""#, "2026-03-08T00:00:00-05:00", 120, "2026-03-08T05:00:00-04:00"),
        (r#""01:00-02:30""#, "2026-03-08T00:00:00-05:00", 60, "2026-03-08T03:00:00-04:00"),
        // An opening that does not exist that day leaves nothing.
        (r#""02:10-02:50""#, "2026-03-08T00:00:00-05:00", 40, "2026-03-09T02:50:00-04:00"),
        // 1 November 2026: 02:00 becomes 01:00. The night shift has 9 hours, the day 25.
        (r#""22:00-06:00""#, "2026-10-31T22:00:00-04:00", 9 * 60, "2026-11-01T06:00:00-05:00"),
        (r#""00:00-24:00""#, "2026-11-01T00:00:00-04:00", 25 * 60, "2026-11-02T00:00:00-05:00"),
        (r#""09:00-17:00""#, "2026-10-31T16:00:00-04:00", 120, "2026-11-01T10:00:00-05:00"),
        // Both edges mean the first of the two.
        (r#""01:00-01:30""#, "2026-11-01T00:00:00-04:00", 30, "2026-11-01T01:30:00-04:00"),
        (r#""01:30-03:00""#, "2026-11-01T00:00:00-04:00", 150, "2026-11-01T03:00:00-05:00"),
    ] {
        check(&daily(zone, openings), from, span, expected);
    }
}

#[test]
fn a_calendar_that_never_opens_again_ends() {
    let hours = Hours { zone: TimeZone::UTC, week: Default::default(), dates: BTreeMap::new() };
    assert_eq!(Calendar::Business(hours).add(at("9990-01-01T00:00:00Z"), minutes(1)), Time::NEVER);
}

/// A linear congruential generator: the same cases in every run.
struct Lcg(u64);

impl Lcg {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// Is the desk open in the minute that begins at `at`? By the hands of the wall clock alone.
fn open_at(hours: &Hours, at: Time) -> bool {
    let wall = hours.zone.to_datetime(at.timestamp());
    let minute = u32::from(wall.hour().unsigned_abs()) * 60 + u32::from(wall.minute().unsigned_abs());
    let inside = |date: Date, minute: u32| hours.on(date).iter().any(|o| o.open <= minute && minute < o.close);
    inside(wall.date(), minute) || inside(wall.date().yesterday().unwrap(), minute + DAY_MINUTES)
}

#[test]
fn counting_agrees_with_a_walk_minute_by_minute() {
    let mut random = Lcg(20_261_120);
    let zones = ["Asia/Seoul", "America/New_York", "Europe/London", "Australia/Lord_Howe", "Asia/Kathmandu", "UTC"];
    // A week in which each zone that sets its clocks does so, and a leap day.
    let weeks = ["2026-03-07", "2026-03-28", "2026-04-03", "2026-10-03", "2026-10-24", "2026-10-30", "2028-02-27"];
    let mut counted = 0;
    for case in 0..600 {
        let zone = TimeZone::get(zones[case % zones.len()]).unwrap();
        // Edges keep away from 00:30 to 03:30, where a time may come twice or never: those have their own table.
        let mut opening = || {
            let open = 210 + 15 * u32::try_from(random.below(80)).unwrap();
            let length = 15 * u32::try_from(1 + random.below(60)).unwrap();
            let close = open + length;
            let early = close.saturating_sub(DAY_MINUTES);
            Opening { open, close: if early > 30 && early < 210 { DAY_MINUTES + 210 } else { close.min(open + DAY_MINUTES) } }
        };
        let mut hours = Hours { zone, week: Default::default(), dates: BTreeMap::new() };
        for day in 0..7 {
            hours.week[day] = (0..(case + day) % 4).map(|_| opening()).collect();
            hours.week[day].sort_unstable();
        }
        let first: Date = weeks[case % weeks.len()].parse().unwrap();
        hours.dates.insert(first.tomorrow().unwrap(), Vec::new());
        let mut special = vec![opening(), opening()];
        special.sort_unstable();
        hours.dates.insert(first.checked_add(2.days()).unwrap(), special);

        let midnight = Time(first.at(0, 0, 0, 0).to_zoned(TimeZone::UTC).unwrap().timestamp().as_millisecond());
        let from = midnight.plus(minutes(random.below(3 * 1_440)));
        let span = 1 + random.below(1_200);
        let calendar = Calendar::Business(hours.clone());
        let (mut walked, mut left) = (from, span);
        while left > 0 {
            left -= u64::from(open_at(&hours, walked));
            walked = walked.plus(minutes(1));
        }
        assert_eq!(calendar.add(from, minutes(span)), walked, "case {case}: {span} minutes from {from} in {hours:?}");
        assert_eq!(calendar.between(from, walked), minutes(span), "case {case}");
        let part = walked.since(from).as_secs() / 120;
        let middle = from.plus(minutes(part));
        let split = calendar.between(from, middle) + calendar.between(middle, walked);
        assert_eq!(split, minutes(span), "case {case}: time is neither lost nor doubled at {middle}");
        counted += 1;
    }
    assert_eq!(counted, 600);
}
