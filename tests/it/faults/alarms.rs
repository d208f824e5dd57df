//! R8: a restart with many open clocks, some of them overdue: each breach is one event, at its deadline.

use std::time::Duration;

use moksori::{
    app::App,
    clock::{Clock, Time},
    sla::Kind,
};

use super::{
    Engines, Line, check,
    ledger::{USUAL, Unruly},
    shop::{PATIENCE, Shop, dice, until},
    sized,
};

/// One line a post, in order.
const ORDERLY: Unruly = Unruly { doubled: 0, swapped: 0, edited: 0, deleted: 0, ..USUAL };
/// After this the customer's post must have been looked at.
const TRIAGE: Duration = Duration::from_secs(360);

#[tokio::test(flavor = "multi_thread")]
async fn r8_a_restart_fires_what_is_overdue_once_and_the_rest_in_time() {
    overdue(Engines::Embedded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn r8_a_restart_fires_what_is_overdue_once_and_the_rest_in_time_outgrown() {
    overdue(Engines::Outgrown).await;
}

async fn overdue(engines: Engines) {
    // Each case has three clocks. Some are overdue at the restart, some run out in the seconds after it.
    let (clocks, late, soon) = match engines {
        Engines::Embedded => sized((10_000, 500, 200), (100_000, 5_000, 2_000)),
        Engines::Outgrown => sized((3_000, 200, 200), (100_000, 5_000, 2_000)),
    };
    let mut dice = dice("R8");
    let Some(shop) = Shop::open("R8", engines, "") else { return };
    // Thirteen of twenty posts open a case.
    let mut ledger = shop.ledger(clocks / 3 * 20 / 13 + 20, ORDERLY, &mut dice);
    let stands = Clock::System.now();
    let spread = Duration::from_secs(sized(10, 20));
    let mut number = 0_u32;
    for (index, post) in ledger.posts.iter_mut().enumerate() {
        let left = match number {
            // Due while the desk is down, for its clock stands still until then.
            _ if number < late => Duration::from_millis(u64::from(number) + 1),
            _ if number < late + soon => spread + spread.mul_f64(f64::from(number - late) / f64::from(soon)),
            _ => TRIAGE.mul_f64(0.9),
        };
        post.posted_at = stands.minus(TRIAGE - left.min(TRIAGE));
        number += u32::from(post.complaint && post.opener == index);
    }
    ledger.write_rest(&mut dice);
    let clock = Clock::by_hand(stands);
    let app = App::start(shop.config.clone(), clock).await.unwrap();
    let posts = ledger.posts.len() as u64;
    while app.store.read(|reader| reader.totals()).await.unwrap().mentions < posts {
        assert!(Clock::System.now().since(stands) < 5 * PATIENCE, "it does not read the file");
        Clock::System.sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(app.store.read(|reader| reader.totals()).await.unwrap().breached, 0, "nothing is due while the clock stands");
    assert!(app.stop().await);
    Clock::System.sleep_until(stands.plus(Duration::from_millis(u64::from(late) + 10))).await;

    let mut child = shop.started().await;
    let ready_at = Clock::System.now();
    let all = f64::from(late + soon);
    until(&mut child, "all of them have fired", PATIENCE, async |child| {
        (child.metric("moksori_sla_breached_total").await? >= all).then_some(())
    })
    .await;
    let found = shop.settle(child, &ledger, 0).await;

    let cases = check::cases_of(&shop.config).await;
    let open = cases.iter().map(|case| case.clocks.len()).sum::<usize>();
    let breached = cases.iter().flat_map(|case| &case.clocks).filter(|clock| clock.kind == Kind::Triage);
    let seen: Vec<(Time, Time)> = breached.filter_map(|clock| Some((clock.deadline_at, clock.detected_at?))).collect();
    let overdue: Vec<_> = seen.iter().filter(|(due, _)| *due < ready_at).collect();
    let rebuilt_at = overdue.iter().map(|(_, seen)| *seen).max().unwrap();
    let mut lateness: Vec<Duration> =
        seen.iter().filter(|(due, _)| *due > rebuilt_at).map(|(due, seen)| seen.since(*due)).collect();
    lateness.sort();
    assert!(lateness.len() > 20, "too few clocks ran out after the restart: {}", lateness.len());
    let rebuild = rebuilt_at.since(ready_at);
    let p99 = lateness[lateness.len() * 99 / 100];
    Line::new("R8", engines)
        .of("clocks", open, clocks)
        .of("overdue", overdue.len(), late)
        .found(&found)
        .is("rebuild_ms", rebuild.as_millis())
        .is("fired_after", lateness.len())
        .is("late_p99_ms", p99.as_millis())
        .is("late_max_ms", lateness.last().unwrap().as_millis())
        .print();
    assert!(rebuild < Duration::from_secs(10), "{rebuild:?}; 2 s are allowed");
    assert!(p99 < Duration::from_secs(1), "{p99:?}; 50 ms are allowed");
}
