//! One case with everything that its page shows.

use moksori::{
    case::{Actor, CaseId, EventKind, ReplyState, Status},
    clock::Time,
    mention::{Envelope, Label, MentionId, Side, TimeQuality},
    queue::{Texts, named_conversation},
    sla::Kind,
};

use super::{SQUARE, Shop, case_of, minutes_after_noon, on_both, open_case, post, running, take, texts, verdict};

impl Shop {
    /// Stores a post of a thread that the source names.
    async fn in_thread(&self, envelope: Envelope, thread: &str) -> super::Posted {
        let conversation = named_conversation(SQUARE, thread);
        self.write(move |tx| {
            let (contact, _) = tx.contact(SQUARE, envelope.author.as_ref().unwrap())?;
            let mention = tx.insert_mention(&envelope, contact, Some(conversation), &verdict(), texts(&envelope.text), 1)?;
            Ok(super::Posted { mention, contact })
        })
        .await
    }
}

fn posted_at(native_id: &str, author: &str, minutes: i64) -> Envelope {
    Envelope { posted_at: Some(minutes_after_noon(minutes)), ..post(native_id, author) }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_of_a_case_shows_its_whole_life() {
    on_both(async |shop| {
        let (kg, sb, account) = (shop.kg, shop.sb, shop.account);
        let second = shop.in_thread(posted_at("2", "mira", 2), "thread").await;
        let opener = shop.in_thread(posted_at("1", "mira", 1), "thread").await;
        let ours = shop.in_thread(Envelope { side: Side::Ours, ..posted_at("3", "shop_kr", 3) }, "thread").await;
        let stranger = shop.in_thread(posted_at("x", "dahye", 1), "another thread").await;
        let elsewhere = shop.write(|tx| take(tx, &posted_at("4", "mira", 0))).await;
        let id = shop
            .write(move |tx| {
                let mut new = case_of(tx, opener);
                new.conversation = named_conversation(SQUARE, "thread");
                new.clocks = vec![running(Kind::FirstResponse, 12)];
                let id = tx.insert_case(&new)?;
                tx.join_mention(id, elsewhere.mention)?;
                let mut case = tx.load_case(id)?.unwrap();
                (case.assignee, case.notes) = (Some(kg), 2);
                tx.save_case(&case)?;
                tx.insert_note(id, sb, "note", "첫 메모")?;
                tx.insert_note(id, kg, "handover", "부탁해요")?;
                tx.insert_reply(id, opener.mention, account, kg, "갑니다 ^KG", ReplyState::Queued, Time(5), "key")?;
                tx.case_event(id, Some(opener.mention), Actor::Customer, EventKind::Opened, None);
                tx.case_event(id, None, Actor::Agent(sb), EventKind::NoteWritten, None);
                assert_eq!(tx.put_draft(kg, id, "note", "아직", 0)?, Ok(1));
                Ok(id)
            })
            .await;
        let view = shop.read(move |reader| reader.case_view(id, kg)).await.unwrap();
        let thread: Vec<MentionId> = view.thread.iter().map(|mention| mention.id).collect();
        assert_eq!(thread, [elsewhere.mention, opener.mention, second.mention, ours.mention], "by time, whatever came first");
        assert!(!thread.contains(&stranger.mention));
        assert_eq!(view.thread[3].side, Side::Ours);
        assert_eq!((view.case.id, view.assignee.as_deref(), view.case.clocks.len()), (id, Some("KG"), 1));
        let notes: Vec<_> =
            view.notes.iter().map(|note| (note.initials.as_str(), note.kind.as_str(), note.text.as_str())).collect();
        assert_eq!(notes, [("SB", "note", "첫 메모"), ("KG", "handover", "부탁해요")]);
        assert!(view.notes.iter().all(|note| note.at == shop.clock.now()));
        let replies: Vec<_> = view.replies.iter().map(|(reply, initials)| (reply.text.as_str(), initials.as_str())).collect();
        assert_eq!(replies, [("갑니다 ^KG", "KG")]);
        let events: Vec<_> = view.events.iter().map(|(event, who)| (event.kind, who.as_deref())).collect();
        assert_eq!(events, [(EventKind::Opened, None), (EventKind::NoteWritten, Some("SB"))]);
        assert_eq!(view.drafts, [("note".to_owned(), "아직".to_owned(), 1)]);
        assert!(view.earlier.is_empty());
        let theirs = shop.read(move |reader| reader.case_view(id, sb)).await.unwrap();
        assert!(theirs.drafts.is_empty(), "a draft is its writer's alone");
        assert!(shop.read(move |reader| reader.case_view(CaseId(99), kg)).await.is_none());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thread_that_began_with_a_post_of_ours_holds_what_followed_it() {
    on_both(async |shop| {
        let root = shop.write(|tx| take(tx, &Envelope { side: Side::Ours, ..posted_at("root", "shop_kr", 0) })).await.mention;
        let id = shop
            .write(move |tx| {
                let envelope = posted_at("1", "mira", 1);
                let (contact, _) = tx.contact(SQUARE, envelope.author.as_ref().unwrap())?;
                let mention = tx.insert_mention(&envelope, contact, Some(root.0), &verdict(), texts("답글"), 1)?;
                let new = moksori::queue::NewCase { conversation: root.0, ..case_of(tx, super::Posted { mention, contact }) };
                tx.insert_case(&new)
            })
            .await;
        let kg = shop.kg;
        let view = shop.read(move |reader| reader.case_view(id, kg)).await.unwrap();
        let texts: Vec<_> = view.thread.iter().map(|mention| mention.text.whole()).collect();
        assert_eq!(texts, ["root 배송이 안 와요", "답글"]);
        assert!(!view.thread[1].addressed, "nothing says that it addressed us");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn earlier_cases_of_the_contact_stand_newest_first_and_short() {
    on_both(async |shop| {
        let long = "가나다라마바사아자차".repeat(20);
        let text = long.clone();
        let first = shop
            .write(move |tx| {
                let envelope = Envelope { text: text.clone(), ..post("1", "mira") };
                let (id, _) = open_case(tx, &envelope)?;
                let mut case = tx.load_case(id)?.unwrap();
                (case.status, case.disposition) = (Status::Resolved, Some("answered".into()));
                tx.save_case(&case)?;
                Ok(id)
            })
            .await;
        let (second, _) = shop.write(|tx| open_case(tx, &post("2", "mira"))).await;
        let (third, _) = shop.write(|tx| open_case(tx, &post("3", "mira"))).await;
        shop.write(|tx| open_case(tx, &post("4", "dahye"))).await;
        let kg = shop.kg;
        let earlier = shop.read(move |reader| reader.case_view(second, kg)).await.unwrap().earlier;
        assert_eq!(earlier.iter().map(|case| case.id).collect::<Vec<_>>(), [third, first]);
        assert_eq!((earlier[1].status.as_str(), earlier[1].disposition.as_deref()), ("resolved", Some("answered")));
        assert_eq!((earlier[1].label, earlier[1].opened_at), (Label::Complaint, shop.clock.now()));
        assert_eq!(earlier[1].text.whole(), long);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mention_is_shown_with_every_fact() {
    on_both(async |shop| {
        let envelope = Envelope {
            author: Some(moksori::mention::Author {
                native_id: "9".into(),
                handle: "mira".into(),
                name: Some("미라 🌲".into()),
                reach: Some(u64::MAX),
            }),
            url: Some("https://square/1".into()),
            edited_at: Some(minutes_after_noon(4)),
            time_quality: TimeQuality::Day,
            first_seen_at: minutes_after_noon(5),
            media: vec!["https://square/1.png".into(), "https://square/2.png".into()],
            ..post("1", "mira")
        };
        let expected = verdict();
        let mention = shop
            .write(move |tx| {
                let (contact, _) = tx.contact(SQUARE, envelope.author.as_ref().unwrap())?;
                let texts = Texts { masked: "안녕", original: Some("안녕!"), signature: u64::MAX };
                tx.insert_mention(&envelope, contact, None, &verdict(), texts, 1)
            })
            .await;
        let unknown = MentionId(99);
        let other = shop.write(|tx| take(tx, &post("2", "dahye"))).await.mention;
        let views = shop.read(move |reader| reader.mentions(&[unknown, other, mention])).await;
        let ids: Vec<MentionId> = views.iter().map(|view| view.id).collect();
        assert_eq!(ids, [other, mention], "in the order asked for, what is unknown left out");
        let view = &views[1];
        assert_eq!((view.id, view.side, view.text.whole()), (mention, Side::Customer, "안녕"));
        assert_eq!((view.handle.as_str(), view.name.as_deref()), ("mira", Some("미라 🌲")));
        assert_eq!(view.reach, Some(i64::MAX.unsigned_abs()), "as much as the store can count");
        assert_eq!((view.posted_at, view.time_quality), (minutes_after_noon(0), TimeQuality::Day));
        assert_eq!((view.first_seen_at, view.edited_at), (minutes_after_noon(5), Some(minutes_after_noon(4))));
        assert_eq!((view.deleted_at, view.url.as_deref()), (None, Some("https://square/1")));
        assert_eq!((&view.reasons, view.media.len(), view.source.as_str()), (&expected.reasons, 2, SQUARE));
        assert!(!view.addressed);
    })
    .await;
}
