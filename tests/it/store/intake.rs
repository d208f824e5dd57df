//! How posts enter and leave the store: contacts, mentions, tombstones, erasures, dead letters.

use moksori::{
    clock::Time,
    mention::{Author, Engagement, Envelope, Label, Side},
    queue::{Erasure, Texts},
};

use super::{Posted, SQUARE, Shop, on_both, post, take, texts, verdict};
use crate::kit;

#[tokio::test(flavor = "multi_thread")]
async fn a_post_is_found_by_its_names_and_by_no_other() {
    on_both(async |shop| {
        let envelope = Envelope { local_ref: Some("77".into()), ..post("https://square/1", "mira") };
        let Posted { mention, contact } = shop.write(move |tx| take(tx, &envelope)).await;
        shop.write(move |tx| {
            let stored = tx.find_mention(SQUARE, "https://square/1")?.unwrap();
            assert_eq!((stored.id, stored.contact, stored.conversation), (mention, contact, mention.0));
            assert_eq!((stored.version, stored.posted_at), (kit::noon().0, kit::noon()));
            assert_eq!((stored.side, stored.label, stored.deleted), (Side::Customer, Label::Complaint, false));
            assert_eq!(tx.find_mention(SQUARE, "77")?.unwrap().id, mention);
            assert_eq!(tx.find_native(SQUARE, "https://square/1")?.unwrap().id, mention);
            assert!(tx.find_native(SQUARE, "77")?.is_none(), "by the global id alone");
            assert!(tx.find_mention("town:other", "https://square/1")?.is_none(), "on another platform");
            assert!(tx.find_mention(SQUARE, "https://square/2")?.is_none());
            Ok(())
        })
        .await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_post_is_never_stored_twice() {
    on_both(async |shop| {
        shop.write(|tx| take(tx, &post("1", "mira"))).await;
        shop.refused(|tx| take(tx, &post("1", "mira"))).await;
        shop.refused(|tx| take(tx, &post("1", "dahye"))).await;
        let elsewhere = Envelope { source: "town:other".into(), ..post("1", "mira") };
        shop.write(move |tx| take(tx, &elsewhere)).await;
        let totals = shop.read(|reader| reader.totals()).await;
        assert_eq!((totals.mentions, totals.contacts), (2, 2), "what was refused left nothing behind");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_contact_keeps_the_handles_it_had() {
    on_both(async |shop| {
        let author = |handle: &str, name: Option<&str>, reach| Author {
            native_id: "9".into(),
            handle: handle.into(),
            name: name.map(str::to_owned),
            reach,
        };
        let first = author("mira", None, Some(5));
        let (contact, stranger) = shop.write(move |tx| tx.contact(SQUARE, &first)).await;
        assert!(stranger);
        for (minutes, handle) in [(1, "mira"), (2, "mira_kim"), (3, "mira"), (4, "미라")] {
            shop.clock.advance(std::time::Duration::from_secs(60));
            let now = author(handle, Some("미라"), None);
            let known = shop.write(move |tx| tx.contact(SQUARE, &now)).await;
            assert_eq!(known, (contact, false), "after {minutes} minutes");
            assert_eq!(shop.write(move |tx| tx.handle_of(contact)).await.as_deref(), Some(handle));
        }
        let history = shop.words("SELECT handle, until FROM contact_handle ORDER BY until");
        let noon = kit::noon().0;
        let until = |handle: &str, minutes: i64| format!("{handle}|{}", noon + minutes * 60_000);
        assert_eq!(history, [until("mira", 2), until("mira_kim", 3), until("mira", 4)]);
        assert_eq!(shop.words("SELECT name, reach FROM contact"), ["미라|5"], "a reach that is not told is kept");
        let elsewhere = author("mira", None, None);
        let (other, stranger) = shop.write(move |tx| tx.contact("town:other", &elsewhere)).await;
        assert!(stranger && other != contact, "the same id on another platform is another person");
        assert_eq!(shop.write(|tx| tx.handle_of(moksori::mention::ContactId(999))).await, None);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tombstone_outlives_its_process_and_is_seen_by_every_other() {
    on_both(async |shop| {
        let second = shop.second();
        let ask = |tx: &mut moksori::queue::Tx<'_>| {
            Ok::<_, moksori::queue::Error>((tx.tombstoned(SQUARE, "1")?, tx.tombstoned("town:other", "1")?))
        };
        assert_eq!(shop.write(ask).await, (false, false));
        let at_once = shop.write(move |tx| {
            tx.set_tombstone(SQUARE, "1")?;
            tx.set_tombstone(SQUARE, "1")?;
            ask(tx)
        });
        assert_eq!(at_once.await, (true, false));
        assert_eq!(second.write(moksori::queue::Urgency::Batch, ask).await.unwrap(), (true, false));
        assert!(!shop.words("SELECT hash FROM tombstone").concat().contains("square"), "nothing can be read from it");
        assert_eq!(shop.reopened().write(moksori::queue::Urgency::Batch, ask).await.unwrap(), (true, false));
    })
    .await;
}

/// What stands in the text columns of the tables that hold a customer's words.
fn words_of_customers(shop: &Shop) -> String {
    ["SELECT text, url, media FROM mention", "SELECT text FROM mention_original", "SELECT reasons FROM judgement"]
        .into_iter()
        .flat_map(|sql| shop.words(sql))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_takes_the_text_and_asks_the_bus_to_do_the_same() {
    on_both(async |shop| {
        let envelope = Envelope {
            text: "카나리아 010-1234-5678".into(),
            url: Some("https://square/카나리아".into()),
            media: vec!["https://square/카나리아.png".into()],
            ..post("1", "mira")
        };
        let mention = shop
            .write(move |tx| {
                let (contact, _) = tx.contact(SQUARE, envelope.author.as_ref().unwrap())?;
                let texts =
                    Texts { masked: "카나리아 [전화]", original: Some("카나리아 010-1234-5678"), signature: 3 };
                let mut verdict = verdict();
                verdict.reasons[0].words = "카나리아".into();
                let mention = tx.insert_mention(&envelope, contact, None, &verdict, texts, 1)?;
                tx.bury("", 0, 4, "half of it", b"... \"native_id\":\"1-long\" ...")?;
                tx.bury("", 0, 5, "another", b"... \"native_id\":\"2\" ...")?;
                Ok(mention)
            })
            .await;
        assert_eq!(words_of_customers(shop).matches("카나리아").count(), 5);
        shop.write(move |tx| tx.erase_mention(mention)).await;
        assert!(!words_of_customers(shop).contains("카나리아"), "{}", words_of_customers(shop));
        assert_eq!(shop.words("SELECT count(*) FROM mention_original"), ["0"]);
        assert_eq!(shop.words("SELECT count(*) FROM judgement"), ["0"]);
        assert!(shop.read(move |reader| reader.mentions(&[mention])).await.is_empty());
        let row = shop.read(move |reader| reader.posts(&[mention])).await.remove(0);
        assert!(row.deleted && row.text.whole().is_empty(), "{row:?}");
        assert!(shop.write(|tx| tx.find_native(SQUARE, "1")).await.unwrap().deleted);
        let pending = shop.write(|tx| tx.pending_erasures()).await;
        assert_eq!(pending.len(), 1);
        assert_eq!((pending[0].source.as_str(), pending[0].native_id.as_str()), (SQUARE, "1"));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erased_post_leaves_the_dead_letters_too() {
    on_both(async |shop| {
        shop.write(|tx| {
            tx.bury("", 0, 4, "cut off", b"\xff{\"native_id\":\"https://square/1\",\"text\":\"secret\"")?;
            tx.bury("", 0, 5, "cut off", b"{\"native_id\":\"https://square/2\"")?;
            tx.erase_from_bus(SQUARE, "https://square/1")?;
            tx.erase_from_bus(SQUARE, "https://square/3")
        })
        .await;
        let pending = shop.write(|tx| tx.pending_erasures()).await;
        let ids: Vec<&str> = pending.iter().map(|erasure: &Erasure| erasure.native_id.as_str()).collect();
        assert_eq!(ids, ["https://square/1", "https://square/3"], "in the order in which they were asked for");
        let first = pending[..1].to_vec();
        shop.write(move |tx| tx.erasures_done(&first)).await;
        assert_eq!(shop.write(|tx| tx.pending_erasures()).await, pending[1..]);
        let letters = shop.read(|reader| reader.dead_letters(0, 10)).await;
        let left: Vec<_> = letters.iter().map(|letter| (letter.position, letter.size)).collect();
        let other = b"{\"native_id\":\"https://square/2\"";
        assert_eq!(left, [(4, 0), (5, other.len() as i64)], "the letter stays, its bytes go");
        let ids: Vec<i64> = letters.iter().map(|letter| letter.id).collect();
        let held = shop.read(move |reader| reader.dead_bytes(&ids)).await;
        assert_eq!(held, [(letters[0].id, Vec::new()), (letters[1].id, other.to_vec())]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_is_kept_once_for_each_place_in_each_log() {
    on_both(async |shop| {
        let bytes: Vec<u8> = (0..=255).collect();
        let kept = bytes.clone();
        shop.write(move |tx| {
            for (log, part, position) in [("", 0, 1), ("", 0, 1), ("", 1, 1), ("", 0, 2), ("topic", 0, 1), ("topic", 0, 1)] {
                tx.bury(log, part, position, "nonsense", &kept)?;
            }
            Ok(())
        })
        .await;
        shop.write(|tx| tx.bury("", 0, 1, "the same place later", b"other")).await;
        assert_eq!(shop.read(|reader| reader.totals()).await.dead_letters, 4);
        let letters = shop.read(|reader| reader.dead_letters(0, 10)).await;
        let ids: Vec<i64> = letters.iter().map(|letter| letter.id).collect();
        let held = shop.read(move |reader| reader.dead_bytes(&ids)).await;
        let first = letters.iter().all(|letter| letter.reason == "nonsense") && held.iter().all(|(_, held)| *held == bytes);
        assert!(first && held.len() == 4, "the first to come counts, to the last byte: {letters:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_version_replaces_the_text_and_keeps_what_it_does_not_tell() {
    on_both(async |shop| {
        let first = Envelope { local_ref: Some("77".into()), url: Some("https://square/1".into()), ..post("1", "mira") };
        let mention = shop
            .write(move |tx| {
                let (contact, _) = tx.contact(SQUARE, first.author.as_ref().unwrap())?;
                let texts = Texts { masked: "old [전화]", original: Some("old 010-1234-5678"), signature: 3 };
                tx.insert_mention(&first, contact, None, &verdict(), texts, 1)
            })
            .await;
        let edited_at = Time(kit::noon().0 + 5_000);
        let edit = Envelope { edited_at: Some(edited_at), media: vec!["https://square/b.png".into()], ..post("1", "mira") };
        shop.write(move |tx| {
            let verdict = moksori::mention::Verdict { label: Label::Question, reasons: Vec::new(), ..verdict() };
            tx.update_mention(mention, &edit, &verdict, texts("new"), 2)?;
            tx.update_metrics(mention, Engagement { replies: 3, shares: 0, likes: 9 }, Some(1_000))
        })
        .await;
        let view = shop.read(move |reader| reader.mentions(&[mention])).await.remove(0);
        assert_eq!((view.text.whole(), view.label, view.edited_at), ("new", Label::Question, Some(edited_at)));
        assert_eq!((view.url.as_deref(), view.reach), (Some("https://square/1"), Some(1_000)));
        assert_eq!(view.media, ["https://square/b.png"]);
        assert!(view.reasons.is_empty(), "the old text's reasons went with it");
        assert_eq!(shop.words("SELECT count(*) FROM mention_original"), ["0"]);
        assert_eq!(shop.words("SELECT local_ref, replies, shares, likes FROM mention"), ["77|3|-|9"]);
        let stored = shop.write(|tx| tx.find_native(SQUARE, "1")).await.unwrap();
        assert_eq!((stored.version, stored.label), (edited_at.0, Label::Question));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_caught_a_post_is_remembered_once() {
    on_both(async |shop| {
        let mention = shop.write(|tx| take(tx, &post("1", "mira"))).await.mention;
        let (brand, account) = (shop.brand, shop.account);
        let catalog = shop.store.catalog();
        let (side, cafe) = (catalog.account_by_key("side").unwrap().id, catalog.brand_by_key("cafe").unwrap().id);
        shop.write(move |tx| {
            tx.add_match(mention, brand, account, true, None)?;
            for _ in 0..2 {
                tx.add_match(mention, brand, account, false, Some("#가게"))?;
                tx.add_match(mention, brand, side, false, None)?;
            }
            assert!(tx.matched_brand(mention, brand)? && !tx.matched_brand(mention, cafe)?);
            Ok(())
        })
        .await;
        let rows = shop
            .words("SELECT a.key, addressed, query FROM mention_match m JOIN account a ON a.id = m.account_id ORDER BY 1, 3");
        assert_eq!(rows, ["main|1|", "main|0|#가게", "side|0|"]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parents_label_is_found_by_either_name_and_our_answer_hands_it_down() {
    on_both(async |shop| {
        shop.write(|tx| {
            take(tx, &Envelope { local_ref: Some("77".into()), ..post("1", "mira") })?;
            take(tx, &Envelope { side: Side::Ours, ..post("2", "shop_kr") })?;
            take(tx, &Envelope { side: Side::Ours, parent: Some("77".into()), ..post("3", "shop_kr") })?;
            take(tx, &Envelope { side: Side::Other, parent: Some("1".into()), ..post("4", "a_bot") })
        })
        .await;
        let labels = async |source: &str, ids: &[&str]| {
            let ask: Vec<_> = ids.iter().map(|id| (source.to_owned(), (*id).to_owned())).collect();
            shop.read(move |reader| reader.labels(&ask)).await
        };
        let complaint = Some(Label::Complaint);
        assert_eq!(labels(SQUARE, &["1", "77", "3"]).await, [complaint; 3]);
        assert_eq!(labels(SQUARE, &["2", "4", "5"]).await, [None; 3]);
        assert_eq!(labels("town:other", &["1"]).await, [None]);
    })
    .await;
}
