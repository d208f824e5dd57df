//! What replays need: past mentions with what was decided then, new judgements, dead letters with their bytes.

use moksori::{
    case::Priority,
    mention::{Envelope, Label, Lang, MentionId, Side, Verdict},
    queue::{DeadLetter, PastCase},
};

use super::{minutes_after_noon, on_both, open_case, post, take, verdict};

#[tokio::test(flavor = "multi_thread")]
async fn the_past_is_what_customers_said_with_what_was_decided_then() {
    on_both(async |shop| {
        let at = |id: &str, minutes| Envelope { posted_at: Some(minutes_after_noon(minutes)), ..post(id, "mira") };
        let sb = shop.sb;
        let (case, opener, answer, erased) = shop
            .write(move |tx| {
                take(tx, &at("old", -60))?;
                let (case, opener) = open_case(tx, &at("1", 0))?;
                take(tx, &Envelope { side: Side::Ours, ..at("ours", 1) })?;
                let answer = take(tx, &Envelope { parent: Some("1".into()), ..at("2", 2) })?;
                let erased = take(tx, &at("gone", 3))?;
                let mut changed = tx.load_case(case)?.unwrap();
                changed.labelled_by = Some(sb);
                tx.save_case(&changed)?;
                Ok((case, opener.mention, answer.mention, erased.mention))
            })
            .await;
        shop.write(move |tx| tx.erase_mention(erased)).await;
        let past = async |after, limit| shop.read(move |reader| reader.past(after, minutes_after_noon(0), limit)).await;
        let found = past(MentionId(0), 10).await;
        assert_eq!(found.iter().map(|past| past.mention).collect::<Vec<_>>(), [opener, answer]);
        let (first, second) = (&found[0], &found[1]);
        assert_eq!((first.text.as_str(), first.lang, first.source.as_str()), ("1 배송이 안 와요", Lang::Ko, super::SQUARE));
        assert_eq!((first.reach, first.addressed, first.label, first.unsure), (120, true, Label::Complaint, false));
        assert_eq!((first.answers, second.answers), (None, Some(Label::Complaint)));
        let (brand, account) = ("shop".to_owned(), "main".to_owned());
        let priority = Priority::Normal;
        assert_eq!(first.case, Some(PastCase { id: case, brand, account, team: shop.care, priority, by_person: true }));
        assert_eq!(second.case, None);
        assert_eq!(past(MentionId(0), 1).await, found[..1]);
        assert_eq!(past(opener, 10).await, found[1..]);
        assert!(past(erased, 10).await.is_empty());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_judgement_replaces_an_older_one_and_never_the_other_way() {
    on_both(async |shop| {
        let mention = shop.write(|tx| take(tx, &post("1", "mira"))).await.mention;
        let judged = async |label, rules| {
            shop.write(move |tx| tx.rejudge(mention, &Verdict { label, lang: Lang::En, unsure: true, ..verdict() }, rules))
                .await
        };
        assert!(judged(Label::Question, 5).await);
        assert!(!judged(Label::Abuse, 4).await, "older rules come late");
        let view = shop.read(move |reader| reader.mentions(&[mention])).await.remove(0);
        assert_eq!((view.label, view.lang, view.reasons), (Label::Question, Lang::En, verdict().reasons));
        assert!(judged(Label::Proposal, 5).await);
        shop.write(move |tx| tx.erase_mention(mention)).await;
        assert!(!judged(Label::Other, 9).await, "it is gone");
        assert_eq!(shop.words("SELECT count(*) FROM judgement"), ["0"], "and its words do not come back");
        assert!(!shop.write(|tx| tx.rejudge(MentionId(99), &verdict(), 9)).await);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_read_in_order_and_know_when_they_were_replayed() {
    on_both(async |shop| {
        shop.write(|tx| {
            tx.bury("", 0, 7, "first", b"\x00\xff")?;
            tx.bury("topic", 2, 3, "둘째", b"")?;
            tx.bury("topic", 2, 4, "third", b"3")
        })
        .await;
        let letters = async |after, limit| shop.read(move |reader| reader.dead_letters(after, limit)).await;
        let all = letters(0, 10).await;
        let (log, reason) = (String::new(), "first".to_owned());
        let (id, at) = (all[0].id, shop.clock.now());
        assert_eq!(all[0], DeadLetter { id, log, part: 0, position: 7, at, reason, size: 2, replayed_at: None });
        let some = [all[2].id, id, i64::MAX];
        let held = shop.read(move |reader| reader.dead_bytes(&some)).await;
        assert_eq!(held, [(id, vec![0, 255]), (all[2].id, b"3".to_vec())], "in their order, and no others");
        let told: Vec<_> = all.iter().map(|letter| (letter.log.as_str(), letter.part, letter.position)).collect();
        assert_eq!(told, [("", 0, 7), ("topic", 2, 3), ("topic", 2, 4)]);
        assert_eq!(letters(0, 2).await, all[..2]);
        assert_eq!(letters(id, 10).await, all[1..]);
        shop.clock.advance(std::time::Duration::from_secs(1));
        let ids = [all[0].id, all[2].id];
        shop.write(move |tx| tx.mark_replayed(&ids)).await;
        let replayed: Vec<_> = letters(0, 10).await.iter().map(|letter| letter.replayed_at).collect();
        assert_eq!(replayed, [Some(shop.clock.now()), None, Some(shop.clock.now())]);
        shop.write(|tx| tx.mark_replayed(&[])).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_asked_beforehand_finds_what_it_would_have_found() {
    on_both(async |shop| {
        let known = Envelope { local_ref: Some("77".into()), ..post("1", "mira") };
        let (brand, account) = (shop.brand, shop.account);
        let (case, posted) = shop.write(move |tx| open_case(tx, &known)).await;
        shop.write(|tx| tx.set_tombstone(super::SQUARE, "dead")).await;
        shop.write(move |tx| {
            let answer = Envelope { parent: Some("77".into()), ..post("2", "mira") };
            let batch = [answer.clone(), post("1", "mira"), post("dead", "x"), post("3", "newcomer"), post("3", "newcomer")];
            tx.prefetch(&batch.iter().collect::<Vec<_>>())?;
            assert_eq!(tx.find_native(super::SQUARE, "1")?.unwrap().id, posted.mention);
            assert_eq!(tx.find_mention(super::SQUARE, "77")?.unwrap().id, posted.mention);
            assert!(tx.find_native(super::SQUARE, "2")?.is_none());
            assert!(tx.tombstoned(super::SQUARE, "dead")? && !tx.tombstoned(super::SQUARE, "2")?);
            assert!(tx.matched_brand(posted.mention, brand)?);
            assert_eq!(tx.contact(super::SQUARE, answer.author.as_ref().unwrap())?, (posted.contact, false));
            assert_eq!(tx.other_cases(brand, posted.contact)?, [(case, account, u64::MAX - 7)]);
            let newcomer = post("3", "newcomer").author.unwrap();
            let (contact, stranger) = tx.contact(super::SQUARE, &newcomer)?;
            assert!(stranger);
            assert_eq!(tx.contact(super::SQUARE, &newcomer)?, (contact, false), "the second time they are known");
            let stored = take(tx, &batch[3])?;
            assert_eq!(tx.find_native(super::SQUARE, "3")?.unwrap().id, stored.mention, "what it wrote itself it sees");
            tx.erase_mention(stored.mention)?;
            assert!(tx.find_native(super::SQUARE, "3")?.unwrap().deleted);
            Ok(())
        })
        .await;
    })
    .await;
}
