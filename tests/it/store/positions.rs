//! How far each consumer of the bus has come: moved by compare-and-set, so that nothing is taken twice.

use moksori::{
    mention::Mark,
    queue::{Error, Urgency},
};

use super::{Shop, on_both};

fn at(log: &str, next: i64) -> Mark {
    Mark { log: log.into(), next }
}

impl Shop {
    async fn advance(&self, consumer: &'static str, part: i64, from: Mark, to: Mark) -> bool {
        self.write(move |tx| tx.advance(consumer, part, &from, &to)).await
    }

    async fn mark(&self, consumer: &'static str, part: i64) -> Mark {
        self.read(move |reader| reader.mark(consumer, part)).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_consumer_begins_at_the_beginning_and_a_batch_moves_it_once() {
    on_both(async |shop| {
        assert_eq!(shop.mark("triage", 0).await, Mark::default());
        assert!(shop.advance("triage", 0, Mark::default(), at("", 5)).await);
        assert_eq!(shop.mark("triage", 0).await, at("", 5));
        assert!(!shop.advance("triage", 0, Mark::default(), at("", 5)).await, "the same batch came again");
        assert!(!shop.advance("triage", 0, Mark::default(), at("", 9)).await, "a longer batch from the same place");
        assert_eq!(shop.mark("triage", 0).await, at("", 5));
        assert!(shop.advance("triage", 0, at("", 5), at("", 9)).await);
        assert_eq!(shop.mark("triage", 0).await, at("", 9));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_wrong_place_or_the_wrong_log_moves_nothing() {
    on_both(async |shop| {
        assert!(!shop.advance("triage", 0, at("", 7), at("", 9)).await, "a place where a new consumer is not");
        assert!(!shop.advance("triage", 0, at("topic-a", 0), at("topic-a", 9)).await, "a log that it never read");
        assert_eq!(shop.mark("triage", 0).await, Mark::default());
        assert!(shop.advance("triage", 0, Mark::default(), at("topic-a", 8)).await);
        for wrong in [at("topic-b", 8), at("", 8), at("topic-a", 7), at("topic-a", 9), Mark::default()] {
            assert!(!shop.advance("triage", 0, wrong.clone(), at("topic-a", 99)).await, "{wrong:?}");
        }
        assert_eq!(shop.mark("triage", 0).await, at("topic-a", 8));
        assert!(shop.advance("triage", 0, at("topic-a", 8), at("topic-b", 0)).await, "a topic made anew");
        assert_eq!(shop.mark("triage", 0).await, at("topic-b", 0));
        assert!(!shop.advance("triage", 0, Mark::default(), at("", 3)).await, "the beginning of another log");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn consumers_and_partitions_do_not_disturb_each_other() {
    on_both(async |shop| {
        let all = [("triage", 0), ("triage", 1), ("replay", 0), ("replay", 1)];
        for (steps, (consumer, part)) in (1..).zip(all) {
            assert!(shop.advance(consumer, part, Mark::default(), at("log", steps)).await);
        }
        for (steps, (consumer, part)) in (1..).zip(all) {
            assert_eq!(shop.mark(consumer, part).await, at("log", steps), "{consumer} {part}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_fails_leaves_its_consumer_where_it_was() {
    on_both(async |shop| {
        assert!(shop.advance("triage", 0, Mark::default(), at("", 5)).await);
        let failed = shop.store.write(Urgency::Batch, |tx| {
            assert!(tx.advance("triage", 0, &at("", 5), &at("", 6))?);
            tx.bury("", 0, 5, "half", b"half")?;
            Err::<(), _>(Error::Closed)
        });
        assert!(failed.await.is_err());
        let crashed = shop.store.write(Urgency::Batch, |tx| -> Result<(), Error> {
            assert!(tx.advance("triage", 0, &at("", 5), &at("", 6))?);
            panic!("a fault in a command");
        });
        assert!(crashed.await.is_err());
        assert_eq!(shop.mark("triage", 0).await, at("", 5));
        assert_eq!(shop.read(|reader| reader.totals()).await.dead_letters, 0);
        assert!(shop.advance("triage", 0, at("", 5), at("", 6)).await, "the store goes on");
    })
    .await;
}
