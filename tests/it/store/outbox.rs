//! The outbox: each reply is handed out once; and the cursors and watch lists of the connectors.

use moksori::{
    case::{CaseId, ReplyId, ReplyState},
    clock::Time,
    mention::{Envelope, MentionId, Side},
    queue::Outgoing,
};

use super::{SQUARE, Shop, minutes_after_noon, on_both, open_case, post, take};

impl Shop {
    async fn answered_case(&self) -> (CaseId, MentionId) {
        let envelope = Envelope { local_ref: Some("77".into()), visibility: Some("private".into()), ..post("1", "mira") };
        let (case, posted) = self.write(move |tx| open_case(tx, &envelope)).await;
        (case, posted.mention)
    }

    /// Puts a reply into the outbox, by KG, due so many minutes after noon.
    async fn reply(&self, (case, mention): (CaseId, MentionId), text: &'static str, state: ReplyState, due: i64) -> ReplyId {
        let (account, kg, due) = (self.account, self.kg, minutes_after_noon(due));
        self.write(move |tx| tx.insert_reply(case, mention, account, kg, text, state, due, &format!("key {text}"))).await
    }

    async fn taken(&self, accounts: &[&str]) -> Option<Outgoing> {
        let accounts: Vec<String> = accounts.iter().map(|key| (*key).to_owned()).collect();
        self.write(move |tx| tx.take_reply(&accounts)).await
    }

    fn minutes_pass(&self, minutes: u64) {
        self.clock.advance(std::time::Duration::from_secs(60 * minutes));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_is_handed_out_once_when_it_is_due_with_all_that_it_takes() {
    on_both(async |shop| {
        let case = shop.answered_case().await;
        assert_eq!(shop.read(|reader| reader.next_reply_due()).await, None);
        let later = shop.reply(case, "later", ReplyState::Queued, 2).await;
        let soon = shop.reply(case, "soon", ReplyState::Queued, 1).await;
        for state in [ReplyState::Sent, ReplyState::Failed, ReplyState::Unknown, ReplyState::Undone] {
            shop.reply(case, "not queued", state, 0).await;
        }
        assert_eq!(shop.read(|reader| reader.next_reply_due()).await, Some(minutes_after_noon(1)));
        assert_eq!(shop.taken(&["main"]).await, None, "it is not due yet");
        shop.minutes_pass(3);
        assert_eq!(shop.taken(&["side", "cup"]).await, None, "it is another account's");
        assert_eq!(shop.taken(&[]).await, None);
        let outgoing = shop.taken(&["side", "main"]).await.unwrap();
        let expected = Outgoing {
            id: soon,
            account: "main".into(),
            text: "soon".into(),
            target_native_id: "1".into(),
            target_local_ref: Some("77".into()),
            target_handle: "mira".into(),
            visibility: Some("private".into()),
            idempotency_key: "key soon".into(),
            lang: moksori::mention::Lang::Ko,
            attempts: 1,
            target_conversation: None,
            extra: Default::default(),
        };
        assert_eq!(outgoing, expected);
        assert_eq!(shop.read(|reader| reader.replies_in_doubt()).await, [expected]);
        assert_eq!(shop.taken(&["main"]).await.unwrap().id, later);
        assert_eq!(shop.taken(&["main"]).await, None, "both have been handed out");
        assert_eq!(shop.read(|reader| reader.replies_in_doubt()).await.len(), 2);
        assert_eq!(shop.read(|reader| reader.next_reply_due()).await, None);
        shop.write(move |tx| tx.set_reply_state(soon, ReplyState::Queued, Some("busy"), Some(minutes_after_noon(5)))).await;
        assert_eq!(shop.taken(&["main"]).await, None, "tried again no sooner than told");
        shop.minutes_pass(2);
        assert_eq!(shop.taken(&["main"]).await.unwrap().attempts, 2);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_is_loaded_as_it_was_written_and_remembers_what_became_of_it() {
    on_both(async |shop| {
        let case = shop.answered_case().await;
        let id = shop.reply(case, "갑니다 ^KG", ReplyState::Queued, 1).await;
        let load = async |id| shop.write(move |tx| tx.load_reply(id)).await;
        let reply = load(id).await.unwrap();
        assert_eq!(
            (reply.id, reply.case, reply.mention, reply.account, reply.agent),
            (id, case.0, case.1, shop.account, shop.kg)
        );
        assert_eq!((reply.text.as_str(), reply.state, reply.attempts), ("갑니다 ^KG", ReplyState::Queued, 0));
        assert_eq!((reply.created_at, reply.due_at), (shop.clock.now(), minutes_after_noon(1)));
        shop.write(move |tx| tx.set_reply_state(id, ReplyState::Failed, Some("너무 길어요"), None)).await;
        let failed = load(id).await.unwrap();
        assert_eq!((failed.state, failed.reason.as_deref()), (ReplyState::Failed, Some("너무 길어요")));
        assert_eq!(failed.due_at, reply.due_at, "kept when none is told");
        shop.write(move |tx| tx.set_reply_sent(id, "https://square/r1", Some("https://square/r1/view"), Time(42))).await;
        let sent = load(id).await.unwrap();
        assert_eq!((sent.state, sent.reason, sent.sent_at), (ReplyState::Sent, None, Some(Time(42))));
        assert_eq!(sent.native_id.as_deref(), Some("https://square/r1"));
        assert_eq!(sent.url.as_deref(), Some("https://square/r1/view"));
        assert_eq!(shop.write(|tx| tx.reply_with_native_id("https://square/r1")).await, Some(id));
        assert_eq!(shop.write(|tx| tx.reply_with_native_id("https://square/r2")).await, None);
        assert!(load(ReplyId(99)).await.is_none());
        let second = shop.reply(case, "둘", ReplyState::Queued, 1).await;
        let ids: Vec<ReplyId> = shop.read(move |reader| reader.replies(case.0)).await.iter().map(|reply| reply.id).collect();
        assert_eq!(ids, [id, second], "oldest first");
        assert_eq!(shop.read(|reader| reader.totals()).await.replies_sent, 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recent_reply_is_one_that_left_or_may_yet_leave() {
    on_both(async |shop| {
        let case = shop.answered_case().await;
        let recent = async |since: i64| {
            let found = shop.write(move |tx| tx.recent_reply(case.0, case.1, minutes_after_noon(since))).await;
            found.map(|reply| reply.text)
        };
        assert_eq!(recent(0).await, None);
        for (text, state) in [("failed", ReplyState::Failed), ("undone", ReplyState::Undone)] {
            shop.reply(case, text, state, 0).await;
        }
        assert_eq!(recent(0).await, None);
        let states = [ReplyState::Queued, ReplyState::Sending, ReplyState::Sent, ReplyState::Unknown];
        for (text, state) in ["one", "two", "three", "four"].into_iter().zip(states) {
            shop.reply(case, text, state, 0).await;
            assert_eq!(recent(0).await.as_deref(), Some(text), "the newest");
        }
        assert_eq!(recent(0).await.as_deref(), Some("four"), "the edge of the window counts");
        assert_eq!(recent(1).await, None, "too long ago");
        let other = shop.write(move |tx| tx.recent_reply(case.0, MentionId(99), minutes_after_noon(0))).await;
        assert!(other.is_none(), "it answered another mention");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_in_flight_is_known_by_its_words() {
    on_both(async |shop| {
        let case = shop.answered_case().await;
        let found = async |text: &'static str| shop.write(move |tx| tx.reply_in_flight(case.0, text)).await;
        shop.reply(case, "보냈어요 ^KG", ReplyState::Sent, 0).await;
        assert_eq!(found("@mira 보냈어요 ^KG").await, None, "it is in flight no more");
        let sending = shop.reply(case, "갑니다 ^KG", ReplyState::Sending, 0).await;
        let unknown = shop.reply(case, "100%_확실 ^KG", ReplyState::Unknown, 0).await;
        assert_eq!(found("@mira 갑니다 ^KG").await, Some(sending));
        assert_eq!(found("@mira 100%_확실 ^KG").await, Some(unknown), "no letter of it is a pattern");
        assert_eq!(found("@mira 100x 확실 ^KG").await, None);
        assert_eq!(found("@mira 갑니다").await, None, "less than the whole");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_says_what_was_saved_last() {
    on_both(async |shop| {
        let cursor = async |name: &'static str| shop.read(move |reader| reader.cursor(name)).await;
        assert_eq!(cursor("main/mentions").await, None);
        for value in ["12", "", "마지막/13?x='\""] {
            shop.write(move |tx| tx.save_cursor("main/mentions", value)).await;
            assert_eq!(cursor("main/mentions").await.as_deref(), Some(value));
        }
        assert_eq!(cursor("main/MENTIONS").await, None);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_looked_at_again_is_new_live_and_a_customers() {
    on_both(async |shop| {
        let seen = |native_id: &str, minutes| Envelope {
            local_ref: Some(format!("local {native_id}")),
            first_seen_at: minutes_after_noon(minutes),
            ..post(native_id, "mira")
        };
        let erased = shop
            .write(move |tx| {
                for envelope in [
                    seen("old", -10),
                    seen("edge", 0),
                    Envelope { local_ref: None, ..seen("nameless", 5) },
                    Envelope { side: Side::Ours, ..seen("ours", 5) },
                    Envelope { source: "town:other".into(), ..seen("elsewhere", 5) },
                    seen("new", 1),
                ] {
                    take(tx, &envelope)?;
                }
                Ok(take(tx, &seen("gone", 6))?.mention)
            })
            .await;
        shop.write(move |tx| tx.erase_mention(erased)).await;
        let watched = async |limit| {
            let found = shop.read(move |reader| reader.watched(SQUARE, minutes_after_noon(0), limit)).await;
            found.into_iter().map(|post| (post.native_id, post.local_ref, post.version)).collect::<Vec<_>>()
        };
        let row = |id: &str| (id.to_owned(), format!("local {id}"), minutes_after_noon(0).0);
        assert_eq!(watched(10).await, [row("new"), row("edge")], "newest first");
        assert_eq!(watched(1).await, [row("new")]);
        assert!(shop.read(|reader| reader.watched("nowhere", Time(0), 10)).await.is_empty());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_draft_is_replaced_only_by_who_saw_its_last_version() {
    on_both(async |shop| {
        let (case, _) = shop.answered_case().await;
        let (kg, sb) = (shop.kg, shop.sb);
        let put = async |agent, kind: &'static str, text: &'static str, version| {
            shop.write(move |tx| tx.put_draft(agent, case, kind, text, version)).await
        };
        assert_eq!(put(kg, "reply", "하나", 3).await, Err(0), "there is none yet");
        assert_eq!(put(kg, "reply", "하나", 0).await, Ok(1));
        assert_eq!(put(kg, "reply", "다른 창", 0).await, Err(1), "another window was faster");
        assert_eq!(put(kg, "reply", "둘", 1).await, Ok(2));
        assert_eq!(put(kg, "note", "메모", 0).await, Ok(1), "a note is another draft");
        assert_eq!(put(sb, "reply", "남의 것", 0).await, Ok(1), "so is somebody else's");
        let drafts = async |agent| {
            let mut drafts = shop.read(move |reader| reader.case_view(case, agent)).await.unwrap().drafts;
            drafts.sort_unstable();
            drafts
        };
        assert_eq!(drafts(kg).await, [("note".into(), "메모".into(), 1), ("reply".into(), "둘".into(), 2)]);
        shop.write(move |tx| tx.drop_draft(kg, case, "reply")).await;
        assert_eq!(drafts(kg).await, [("note".into(), "메모".into(), 1)]);
        assert_eq!(drafts(sb).await, [("reply".into(), "남의 것".into(), 1)]);
        assert_eq!(put(kg, "reply", "새로", 0).await, Ok(1), "and it begins anew");
    })
    .await;
}
