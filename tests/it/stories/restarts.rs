//! The plug is pulled between events: clocks, cases and the index are as they were.

use std::time::Duration;

use moksori::{
    app::App,
    case::EventKind,
    clock::Clock,
    query::Query,
    search::{Order, Page, Scope},
    sla::Kind,
};

use crate::kit::{self, SHOP};

#[tokio::test(flavor = "multi_thread")]
async fn what_was_due_while_the_desk_was_down_is_recorded_at_its_deadline() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Clock::by_hand(kit::noon());
    let sample = kit::sample(&clock).await;
    let config = kit::config(dir.path(), &sample);
    let app = App::start(config.clone(), clock.clone()).await.unwrap();
    let text = "세탁기에서 타는 냄새가 나고 물이 새요. 수리 접수가 안 됩니다";
    sample.post("bora", text, None, Some(SHOP), clock.now(), None);
    let facts = tick_until(&clock, async || {
        app.store.read(|reader| reader.case_facts_after(moksori::case::CaseId(0), 10)).await.unwrap().pop()
    })
    .await;
    let deadline = {
        let case = app.store.read(move |reader| reader.case(facts.case)).await.unwrap().unwrap();
        case.open_clock(Kind::FirstResponse).unwrap().deadline_at
    };
    stop(app, &clock).await;

    clock.advance(Duration::from_secs(3_600));
    let app = App::start(config, clock.clone()).await.unwrap();
    let breach = tick_until(&clock, async || {
        let events = app.store.read(|reader| reader.events_after(moksori::case::Seq(0), 1_000)).await.unwrap();
        events.into_iter().find(|event| {
            event.kind == EventKind::Breached
                && event.payload.as_deref().is_some_and(|payload| payload.contains("first_response"))
        })
    })
    .await;
    assert_eq!(breach.at, deadline);
    let scope = Scope { teams: app.store.catalog().teams.iter().map(|team| team.id).collect(), brands: vec![1] };
    let query = "냄새가".parse::<Query>().unwrap();
    let found = tick_until(&clock, async || {
        let found = app.search.as_ref().unwrap().find(&query, &scope, Order::Best, Page { offset: 0, limit: 10 }).unwrap();
        (found.total > 0).then_some(found)
    })
    .await;
    assert_eq!(found.total, 1, "indexed once, before and after");
    stop(app, &clock).await;
}

async fn tick_until<T>(clock: &Clock, look: impl AsyncFn() -> Option<T>) -> T {
    for _ in 0..600 {
        if let Some(found) = look().await {
            return found;
        }
        clock.advance(Duration::from_millis(250));
        kit::breathe().await;
    }
    panic!("waited in vain");
}

async fn stop(app: App, clock: &Clock) {
    let stopping = tokio::spawn(app.stop());
    clock.advance(Duration::from_secs(60));
    assert!(stopping.await.unwrap());
}
