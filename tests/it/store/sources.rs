//! What connectors keep in the store, and which posts they look at again.

use moksori::{
    clock::Time,
    mention::{Engagement, Envelope},
    queue::{Outgoing, Watched},
};

use super::{SQUARE, minutes_after_noon, on_both, open_case, post, take};

#[tokio::test(flavor = "multi_thread")]
async fn an_account_keeps_what_it_was_given_last_under_each_name() {
    on_both(async |shop| {
        let state =
            async |account: &'static str, name: &'static str| shop.read(move |reader| reader.source_state(account, name)).await;
        assert_eq!(state("main", "tokens").await, None);
        for value in ["sealed", "마지막'\""] {
            shop.write(move |tx| tx.save_source_state("main", "tokens", value)).await;
            assert_eq!(state("main", "tokens").await.as_deref(), Some(value));
        }
        shop.write(|tx| tx.save_source_state("side", "tokens", "other")).await;
        shop.write(|tx| tx.save_source_state("main", "status", "[]")).await;
        assert_eq!(state("main", "tokens").await.as_deref(), Some("마지막'\""));
        let all = shop.read(|reader| reader.source_states("tokens")).await;
        assert_eq!(
            all.iter().map(|(key, value, _)| (key.as_str(), value.as_str())).collect::<Vec<_>>(),
            [("main", "마지막'\""), ("side", "other")]
        );
        assert!(all.iter().all(|(_, _, at)| *at == shop.clock.now()));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mention_is_found_by_either_name_in_its_source() {
    on_both(async |shop| {
        let known = Envelope { local_ref: Some("77".into()), ..post("uri:1", "mira") };
        shop.write(move |tx| take(tx, &known).map(|_| ())).await;
        let named =
            async |source: &'static str, called: &'static str| shop.read(move |reader| reader.native_id(source, called)).await;
        assert_eq!(named(SQUARE, "uri:1").await.as_deref(), Some("uri:1"));
        assert_eq!(named(SQUARE, "77").await.as_deref(), Some("uri:1"));
        assert_eq!(named(SQUARE, "78").await, None);
        assert_eq!(named("town:other", "77").await, None);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn threads_are_followed_while_their_case_is_open() {
    on_both(async |shop| {
        let counted = Engagement { replies: 0, shares: 2, likes: 3 };
        let root = Envelope {
            local_ref: Some("77".into()),
            first_seen_at: minutes_after_noon(1),
            engagement: Some(counted),
            ..post("1", "mira")
        };
        let version = root.version();
        shop.write(move |tx| open_case(tx, &root).map(|_| ())).await;
        let alone = Envelope { first_seen_at: minutes_after_noon(1), ..post("2", "mira") };
        shop.write(move |tx| take(tx, &alone).map(|_| ())).await;
        let open = async |since: Time| shop.read(move |reader| reader.open_threads(SQUARE, since, 10)).await;
        let expected = Watched { native_id: "1".into(), local_ref: "77".into(), version, engagement: Some(counted) };
        assert_eq!(open(Time(0)).await, [expected], "a post without a case is nobody's thread");
        assert_eq!(open(minutes_after_noon(2)).await, []);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_connector_kept_of_a_mention_comes_with_its_reply_and_goes_with_its_text() {
    on_both(async |shop| {
        let kept = Envelope { extra: [("summoned".to_owned(), "true".to_owned())].into(), ..post("1", "mira") };
        let (case, posted) = shop.write(move |tx| open_case(tx, &kept)).await;
        let (account, kg) = (shop.account, shop.kg);
        let queued = moksori::case::ReplyState::Queued;
        let mention = posted.mention;
        for key in ["a", "b"] {
            shop.write(move |tx| tx.insert_reply(case, mention, account, kg, key, queued, Time(0), key)).await;
        }
        let next = async || -> Option<Outgoing> { shop.write(|tx| tx.take_reply(&["main".to_owned()])).await };
        let extra = next().await.unwrap().extra;
        assert_eq!(extra.get("summoned").map(String::as_str), Some("true"));
        shop.write(move |tx| tx.erase_mention(mention)).await;
        assert!(next().await.unwrap().extra.is_empty(), "what was kept of a deleted post is gone");
    })
    .await;
}
