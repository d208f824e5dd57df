//! What the store keeps for the sources: deliveries that were taken.

use moksori::queue::Urgency;

use super::{Shop, on_both};

impl Shop {
    async fn keeps(&self, account: &'static str, id: &'static str) -> bool {
        self.write(move |tx| tx.keep_delivery(account, id)).await
    }

    async fn knows(&self, account: &'static str, id: &'static str) -> bool {
        self.read(move |reader| reader.knows_delivery(account, id)).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_is_new_once_for_each_account_and_on_every_node() {
    on_both(async |shop| {
        assert!(!shop.knows("reviews", "d1").await);
        assert!(shop.keeps("reviews", "d1").await);
        assert!(shop.knows("reviews", "d1").await);
        assert!(!shop.keeps("reviews", "d1").await);
        assert!(!shop.knows("notes", "d1").await);
        assert!(shop.keeps("notes", "d1").await);
        let other = shop.second();
        let again = other.write(Urgency::Person, |tx| tx.keep_delivery("reviews", "d1")).await;
        assert!(!again.unwrap(), "another node");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_newest_deliveries_are_kept() {
    on_both(async |shop| {
        assert!(shop.keeps("reviews", "old").await);
        assert!(shop.keeps("reviews", "middle").await);
        // As if so many had come between them.
        shop.words("UPDATE delivery SET id = id - 200000 WHERE name = 'old' RETURNING id");
        assert!(shop.keeps("reviews", "new").await);
        assert!(!shop.knows("reviews", "old").await);
        assert!(shop.knows("reviews", "middle").await && shop.knows("reviews", "new").await);
    })
    .await;
}
