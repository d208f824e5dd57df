//! What the search index is made of: the facts of posts and of cases, and the counts of the whole desk.

use moksori::{
    case::{Actor, CaseId, EventKind, Seq, Status},
    mention::{Envelope, Label, Lang, MentionId},
    queue::{CaseFactsRow, NewEvent, Tx},
    sla::{Kind, SlaClock, State},
};

use super::{Shop, minutes_after_noon, on_both, open_case, post, running, take};

#[tokio::test(flavor = "multi_thread")]
async fn a_posts_row_names_all_that_caught_it() {
    on_both(async |shop| {
        let cup = shop.store.catalog().account_by_key("cup").unwrap().clone();
        let cafe = cup.brand;
        let mention = shop
            .write(move |tx| {
                let mention = take(tx, &post("1", "mira"))?.mention;
                tx.add_match(mention, cup.brand, cup.id, false, Some("커피"))?;
                tx.add_match(mention, cup.brand, cup.id, false, Some("라떼"))?;
                Ok(mention)
            })
            .await;
        let rows = shop.read(move |reader| reader.posts(&[MentionId(99), mention])).await;
        assert_eq!(rows.len(), 1, "what is unknown is left out");
        let row = &rows[0];
        assert_eq!((row.mention, row.text.whole(), row.author.as_str()), (mention, "1 배송이 안 와요", "mira"));
        assert_eq!((row.lang, row.label, row.reach, row.deleted), (Lang::Ko, Label::Complaint, 120, false));
        assert_eq!((row.source.as_str(), row.posted_at), (super::SQUARE, minutes_after_noon(0)));
        let (mut accounts, mut brands) = (row.accounts.clone(), row.brands.clone());
        accounts.sort_unstable();
        brands.sort_unstable();
        assert_eq!((accounts, brands), (vec!["cup".to_owned(), "main".to_owned()], vec![shop.brand, cafe]));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_facts_of_a_case_follow_its_mentions_and_its_clocks() {
    on_both(async |shop| {
        let (kg, vip) = (shop.kg, shop.vip);
        let envelope = Envelope { media: vec!["https://square/a.png".into()], ..post("1", "mira") };
        let (first, posted) = shop.write(move |tx| open_case(tx, &envelope)).await;
        let joined = shop.write(|tx| take(tx, &post("2", "mira"))).await.mention;
        let (second, other) = shop.write(|tx| open_case(tx, &post("3", "dahye"))).await;
        let plain = CaseFactsRow {
            case: second,
            mentions: vec![other.mention],
            brand: shop.brand,
            team: shop.care,
            label: Some(Label::Complaint),
            status: Status::New,
            assignee: None,
            breached: false,
            met: false,
            answered: false,
            answered_at: None,
            posted_at: minutes_after_noon(0),
            disposition: None,
            noted: false,
            media: false,
        };
        shop.write(move |tx| {
            tx.join_mention(first, joined)?;
            let mut case = tx.load_case(first)?.unwrap();
            (case.mentions, case.team, case.assignee, case.status) = (2, vip, Some(kg), Status::Open);
            (case.label, case.notes, case.disposition) = (Label::Question, 1, Some("refund".into()));
            let late = Some(minutes_after_noon(5));
            case.clocks = vec![
                SlaClock { state: State::Met, met_at: Some(minutes_after_noon(7)), ..running(Kind::FirstResponse, 12) },
                SlaClock { state: State::Breached, breached_at: late, ..running(Kind::Resolution, 5) },
            ];
            tx.save_case(&case)
        })
        .await;
        let full = CaseFactsRow {
            case: first,
            mentions: vec![posted.mention, joined],
            team: vip,
            label: Some(Label::Question),
            status: Status::Open,
            assignee: Some(kg),
            breached: true,
            met: true,
            answered: true,
            answered_at: Some(minutes_after_noon(7)),
            disposition: Some("refund".into()),
            noted: true,
            media: true,
            ..plain.clone()
        };
        let asked = shop.read(move |reader| reader.case_facts(&[second, CaseId(99), first])).await;
        assert_eq!(asked, [plain.clone(), full.clone()], "in the order asked for");
        let after = async |id, limit| shop.read(move |reader| reader.case_facts_after(CaseId(id), limit)).await;
        assert_eq!(after(0, 10).await, [full.clone(), plain.clone()]);
        assert_eq!(after(0, 1).await, [full]);
        assert_eq!(after(first.0, 10).await, [plain]);
        assert!(after(second.0, 10).await.is_empty());

        let doubt = async |unsure, labelled_by| {
            shop.write(move |tx| {
                let mut case = tx.load_case(second)?.unwrap();
                (case.unsure, case.labelled_by) = (unsure, labelled_by);
                tx.save_case(&case)
            })
            .await;
            shop.read(move |reader| reader.case_facts(&[second])).await[0].label
        };
        assert_eq!(doubt(true, None).await, None, "nobody has sorted it");
        assert_eq!(doubt(true, Some(kg)).await, Some(Label::Complaint));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn posts_without_a_case_are_those_that_no_case_holds() {
    on_both(async |shop| {
        let brand = shop.brand;
        let (case, opener) = shop.write(|tx| open_case(tx, &post("1", "mira"))).await;
        let (joined, folded, second) = shop
            .write(move |tx| {
                let joined = take(tx, &post("2", "mira"))?.mention;
                tx.join_mention(case, joined)?;
                Ok((joined, take(tx, &post("3", "mira"))?.mention, take(tx, &post("4", "mira"))?.mention))
            })
            .await;
        let after = async |id, limit| shop.read(move |reader| reader.caseless_after(id, limit)).await;
        assert_eq!(after(MentionId(0), 10).await, [(folded, brand), (second, brand)]);
        assert_eq!(after(MentionId(0), 1).await, [(folded, brand)]);
        assert_eq!(after(folded, 10).await, [(second, brand)]);
        assert!(opener.mention < joined);
    })
    .await;
}

fn noted(tx: &mut Tx<'_>, mention: MentionId) {
    let (at, actor, kind) = (tx.now, Actor::Customer, EventKind::Noted);
    tx.event(NewEvent { case: None, mention: Some(mention), at, actor, kind, payload: None });
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_mention_of_a_moment_is_the_newest_that_its_events_name() {
    on_both(async |shop| {
        let newest = async |seq| shop.read(move |reader| reader.newest_mention_at(Seq(seq))).await;
        assert_eq!(newest(9).await, MentionId(0));
        let first = shop.store.follow().borrow().0;
        shop.write(|tx| {
            for mention in [5, 9, 7] {
                noted(tx, MentionId(mention));
            }
            Ok(())
        })
        .await;
        assert_eq!(newest(first).await, MentionId(0));
        assert_eq!(newest(first + 1).await, MentionId(5));
        assert_eq!(newest(first + 3).await, MentionId(9));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_totals_count_each_thing_once() {
    on_both(async |shop| {
        totals_of(shop).await;
    })
    .await;
}

async fn totals_of(shop: &Shop) {
    let (kg, account) = (shop.kg, shop.account);
    shop.write(move |tx| {
        let (id, posted) = open_case(tx, &post("1", "mira"))?;
        let (unsure, _) = open_case(tx, &post("2", "dahye"))?;
        open_case(tx, &post("3", "mira"))?;
        let mut case = tx.load_case(unsure)?.unwrap();
        (case.unsure, case.status) = (true, Status::Open);
        case.clocks = vec![running(Kind::Triage, 11), running(Kind::Resolution, 60)];
        tx.save_case(&case)?;
        for kind in [EventKind::Met, EventKind::Breached, EventKind::Breached, EventKind::Warned] {
            tx.case_event(id, None, Actor::System, kind, None);
        }
        let reply =
            tx.insert_reply(id, posted.mention, account, kg, "갑니다", moksori::case::ReplyState::Queued, tx.now, "k")?;
        tx.set_reply_sent(reply, "r1", None, minutes_after_noon(1))?;
        tx.bury("", 0, 1, "nonsense", b"x")
    })
    .await;
    let totals = shop.read(|reader| reader.totals()).await;
    assert_eq!((totals.mentions, totals.contacts, totals.clocks, totals.dead_letters), (3, 2, 2, 1));
    assert_eq!((totals.met, totals.breached, totals.events, totals.replies_sent), (1, 2, 4, 1));
    assert_eq!(totals.by_label, [("complaint".to_owned(), 2), ("unsorted".to_owned(), 1)], "most first");
    assert_eq!(totals.by_status, [("new".to_owned(), 2), ("open".to_owned(), 1)]);
}
