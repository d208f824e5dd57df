//! The clocks of cases: saved field by field, and woken in the order in which they fire.

use std::time::Duration;

use moksori::{
    case::CaseId,
    clock::Time,
    sla::{BreachReason, CancelReason, Kind, Origin, PolicyRef, SlaClock, State},
};

use super::{Shop, case_of, minutes_after_noon, on_both, open_case, post, running, take};

/// Clocks that between them use every value of every field.
fn all_kinds() -> Vec<SlaClock> {
    let mut clocks = Vec::new();
    for (kind, state) in Kind::ALL.into_iter().zip(State::ALL) {
        clocks.push(SlaClock { state, ..running(kind, 12) });
    }
    // A paused clock has no deadline and never fires.
    clocks[1].deadline_at = Time::NEVER;
    clocks[1].next_fire_at = Time::NEVER;
    for (index, reason) in CancelReason::ALL.into_iter().enumerate() {
        let cycle = 2 + u32::try_from(index).unwrap();
        let cancelled = Some(reason);
        let next_fire_at = Time::NEVER;
        clocks.push(SlaClock { cycle, state: State::Cancelled, cancelled, next_fire_at, ..running(Kind::Promise, 12) });
    }
    for (cycle, reason) in (2..).zip(BreachReason::ALL) {
        clocks.push(SlaClock {
            cycle,
            policy: PolicyRef { id: "vip 정책".into(), version: cycle },
            state: State::MetLate,
            origin_at: Time(-5),
            origin_source: Origin::Ingested,
            target: Duration::from_millis(1),
            elapsed: Duration::from_millis(u64::MAX / 4_000_000),
            since: Time(3),
            deadline_at: Time(4),
            fired: u32::MAX,
            next_fire_at: Time::NEVER,
            met_at: Some(Time(6)),
            breached_at: Some(Time(4)),
            detected_at: Some(Time(5)),
            cancelled: None,
            breach_reason: Some(reason),
            ..running(Kind::Resolution, 12)
        });
    }
    clocks.sort_by_key(|clock| (clock.kind, clock.cycle));
    clocks
}

#[tokio::test(flavor = "multi_thread")]
async fn every_field_of_every_clock_is_saved_and_loaded() {
    on_both(async |shop| {
        let id = shop
            .write(|tx| {
                let posted = take(tx, &post("1", "mira"))?;
                let new = moksori::queue::NewCase { clocks: all_kinds(), ..case_of(tx, posted) };
                tx.insert_case(&new)
            })
            .await;
        assert_eq!(shop.write(move |tx| tx.load_case(id)).await.unwrap().clocks, all_kinds(), "as opened");
        let turned = |clock: SlaClock| SlaClock { fired: clock.fired ^ 1, since: Time(77), met_at: Some(Time(78)), ..clock };
        let (other, _) = shop.write(|tx| open_case(tx, &post("2", "dahye"))).await;
        shop.write(move |tx| {
            let mut case = tx.load_case(id)?.unwrap();
            case.clocks = all_kinds().into_iter().map(turned).collect();
            tx.save_case(&case)?;
            let mut case = tx.load_case(other)?.unwrap();
            case.clocks = all_kinds();
            tx.save_case(&case)
        })
        .await;
        let expected: Vec<SlaClock> = all_kinds().into_iter().map(turned).collect();
        assert_eq!(shop.read(move |reader| reader.case(id)).await.unwrap().clocks, expected, "as saved again");
        assert_eq!(shop.read(move |reader| reader.case(other)).await.unwrap().clocks, all_kinds(), "as saved first");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_case_has_one_open_clock_of_a_kind_but_many_promises() {
    on_both(async |shop| {
        let (id, _) = shop.write(|tx| open_case(tx, &post("1", "mira"))).await;
        let two = |kind| vec![running(kind, 12), SlaClock { cycle: 2, ..running(kind, 30) }];
        shop.refused(move |tx| {
            let mut case = tx.load_case(id)?.unwrap();
            case.clocks = two(Kind::NextResponse);
            tx.save_case(&case)
        })
        .await;
        shop.write(move |tx| {
            let mut case = tx.load_case(id)?.unwrap();
            case.clocks = two(Kind::NextResponse);
            case.clocks[0].state = State::Met;
            case.clocks.extend(two(Kind::Promise));
            tx.save_case(&case)
        })
        .await;
        assert_eq!(shop.read(move |reader| reader.case(id)).await.unwrap().clocks.len(), 4);
    })
    .await;
}

/// A case whose clocks fire so many minutes after noon.
async fn firing(shop: &Shop, name: &'static str, minutes: &'static [i64]) -> CaseId {
    shop.write(move |tx| {
        let posted = take(tx, &post(name, name))?;
        let mut new = case_of(tx, posted);
        new.clocks = Kind::ALL.into_iter().zip(minutes).map(|(kind, minutes)| running(kind, *minutes)).collect();
        tx.insert_case(&new)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn cases_fire_soonest_first_each_once_and_no_more_than_asked_for() {
    on_both(async |shop| {
        assert_eq!(shop.read(|reader| reader.next_fire()).await, None);
        let late = firing(shop, "late", &[9]).await;
        let twice = firing(shop, "twice", &[8, 1]).await;
        let soon = firing(shop, "soon", &[3, 40]).await;
        let paused = firing(shop, "paused", &[]).await;
        shop.write(move |tx| {
            let mut case = tx.load_case(paused)?.unwrap();
            let clock = running(Kind::Resolution, 1);
            case.clocks = vec![SlaClock { state: State::Paused, next_fire_at: Time::NEVER, ..clock }];
            tx.save_case(&case)
        })
        .await;
        assert_eq!(shop.read(|reader| reader.next_fire()).await, Some(minutes_after_noon(1)));
        let due =
            async |minutes, limit| shop.read(move |reader| reader.cases_to_fire(minutes_after_noon(minutes), limit)).await;
        assert!(due(0, 10).await.is_empty());
        assert_eq!(due(1, 10).await, [twice], "at its time it is due");
        assert_eq!(due(8, 10).await, [twice, soon]);
        assert_eq!(due(60, 10).await, [twice, soon, late]);
        assert_eq!(due(60, 2).await, [twice, soon]);
        let free = shop.write(move |tx| tx.load_free_cases(&[soon, CaseId(i64::MAX), twice])).await;
        assert_eq!(free.iter().map(|case| (case.id, case.clocks.len())).collect::<Vec<_>>(), [(twice, 2), (soon, 2)]);
        shop.write(move |tx| {
            let mut case = tx.load_case(twice)?.unwrap();
            case.clocks.iter_mut().for_each(|clock| clock.next_fire_at = Time::NEVER);
            tx.save_case(&case)
        })
        .await;
        assert_eq!(due(60, 10).await, [soon, late]);
        assert_eq!(shop.read(|reader| reader.next_fire()).await, Some(minutes_after_noon(3)));
        // A warning that is due long since waits for a deadline that is due just now.
        shop.write(move |tx| {
            let mut case = tx.load_case(soon)?.unwrap();
            case.clocks[0].deadline_at = minutes_after_noon(90);
            tx.save_case(&case)
        })
        .await;
        assert_eq!(due(10, 10).await, [late, soon]);
    })
    .await;
}
