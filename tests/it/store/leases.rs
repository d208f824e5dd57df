//! Leases: one holder at a time, and another as soon as the first says nothing any more.

use std::{sync::Arc, time::Duration};

use moksori::queue::{Store, Urgency};

use super::on_both;
use crate::kit;

async fn takes(store: &Store, name: &'static str, holder: &'static str, ttl: Duration) -> bool {
    store.write(Urgency::Person, move |tx| tx.take_lease(name, holder, ttl)).await.unwrap()
}

const LONG: Duration = Duration::from_secs(3_600);

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_has_one_holder_who_may_renew_it_and_give_it_up() {
    on_both(async |shop| {
        let (one, two) = (Arc::clone(&shop.store), shop.second());
        assert!(takes(&one, "clock", "one", LONG).await);
        assert!(!takes(&two, "clock", "two", LONG).await);
        assert!(takes(&one, "clock", "one", LONG).await, "its holder renews it");
        assert!(takes(&two, "connect main", "two", LONG).await, "another lease is free");
        let dropped = async |store: &Store, holder: &'static str| {
            store.write(Urgency::Person, move |tx| tx.drop_lease("clock", holder)).await.unwrap();
        };
        dropped(&two, "two").await;
        assert!(!takes(&two, "clock", "two", LONG).await, "only its holder gives it up");
        dropped(&one, "one").await;
        assert!(takes(&two, "clock", "two", LONG).await);
        assert!(!takes(&one, "clock", "one", LONG).await);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_whose_holder_is_silent_is_taken_over_and_does_not_come_back() {
    on_both(async |shop| {
        let (one, two) = (Arc::clone(&shop.store), shop.second());
        assert!(takes(&one, "clock", "one", Duration::from_millis(400)).await);
        let mut tries = 0;
        // The time is the hand clock's here, and the server's on PostgreSQL.
        while !takes(&two, "clock", "two", LONG).await {
            shop.clock.advance(Duration::from_millis(20));
            kit::breathe().await;
            tries += 1;
            assert!(tries < 1_000, "it never ends");
        }
        assert!(tries > 0, "it was taken while it ran");
        assert!(!takes(&one, "clock", "one", LONG).await);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_who_ask_at_once_one_gets_the_lease() {
    on_both(async |shop| {
        let (one, two) = (Arc::clone(&shop.store), shop.second());
        for name in ["a", "b", "c", "d", "e", "f", "g", "h"] {
            let both = tokio::join!(takes(&one, name, "one", LONG), takes(&two, name, "two", LONG));
            assert_ne!(both.0, both.1, "{name}: {both:?}");
        }
    })
    .await;
}
