//! What is sent to us and listened for: deliveries that were taken, saved queries, posts that these caught.

use moksori::queue::{Caught, Urgency};

use super::{Shop, on_both, post, take};

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

#[tokio::test(flavor = "multi_thread")]
async fn a_listening_query_is_saved_changed_and_removed() {
    on_both(async |shop| {
        let by = shop.kg;
        shop.write(move |tx| tx.save_listening("x", "rival", "솔방울 -나무", by)).await;
        shop.write(move |tx| tx.save_listening("x", "rival", "솔방울 -나무 -산", by)).await;
        shop.write(move |tx| tx.save_listening("a", "name", "\"솔방울 마켓\"", by)).await;
        let all = shop.read(|reader| reader.listening()).await;
        let words: Vec<_> = all.iter().map(|one| (one.account.as_str(), one.name.as_str(), one.query.as_str())).collect();
        assert_eq!(words, [("a", "name", "\"솔방울 마켓\""), ("x", "rival", "솔방울 -나무 -산")]);
        assert_eq!((all[0].by, all[0].at), (Some(by), shop.clock.now()));
        assert!(shop.write(|tx| tx.drop_listening("x", "rival")).await);
        assert!(!shop.write(|tx| tx.drop_listening("x", "rival")).await);
        assert_eq!(shop.read(|reader| reader.listening()).await.len(), 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_post_remembers_which_query_of_which_brand_caught_it() {
    on_both(async |shop| {
        let cup = shop.store.catalog().account_by_key("cup").unwrap().clone();
        let mention = shop.write(|tx| take(tx, &post("1", "mira"))).await.mention;
        assert_eq!(shop.read(move |reader| reader.catches(&[mention.0])).await, [], "it was addressed to us");
        shop.write(move |tx| {
            tx.add_match(mention, cup.brand, cup.id, false, Some("라떼"))?;
            tx.add_match(mention, cup.brand, cup.id, false, None)
        })
        .await;
        let found = shop.read(move |reader| reader.catches(&[mention.0, 99])).await;
        assert_eq!(found, [Caught { mention, brand: cup.brand, query: "라떼".into() }]);
    })
    .await;
}
