//! A complaint is posted, claimed by one of two, answered with ^KG; another is left alone and breaches.

use std::time::Duration;

use moksori::{
    case::{EventKind, ReplyState, Status},
    clock::Time,
    desk::{Error, NewReply},
    mention::Label,
    sla::{Kind, State},
};

use crate::kit::{self, SHOP};

const TEXT: &str = "주문한 지 열흘인데 배송이 아직도 안 와요. 고객센터는 전화도 안 받네요";

#[tokio::test(flavor = "multi_thread")]
async fn a_complaint_is_answered_and_its_clock_is_met() {
    kit::run(async |desk| {
        let posted_at = desk.clock.now();
        desk.clock.advance(Duration::from_secs(20));
        let post = desk.sample.post("minji", TEXT, None, Some(SHOP), posted_at, Some(90));
        let row = desk.case_saying("배송이 아직도").await;
        assert_eq!((row.case.label, row.case.status), (Label::Complaint, Status::New));
        let clock = row.case.open_clock(Kind::FirstResponse).unwrap();
        assert_eq!(clock.origin_at, posted_at, "the clock starts when the customer posted");
        assert_eq!(clock.deadline_at, posted_at.plus(Duration::from_secs(720)));

        let (kg, sb) = (desk.viewer("KG").await, desk.viewer("SB").await);
        let (first, second) = tokio::join!(desk.app.desk.claim(&kg, row.case.id), desk.app.desk.claim(&sb, row.case.id));
        let winner = if first.is_ok() { "KG" } else { "SB" };
        let told = first.err().or(second.err()).expect("one of two loses");
        assert!(matches!(told, Error::Claimed { initials } if initials == winner));

        let answering = desk.viewer(winner).await;
        let reply = NewReply { text: "확인해서 오늘 안에 알려 드릴게요.".into(), despite_colleague: false };
        desk.app.desk.reply(&answering, row.case.id, reply).await.unwrap();
        let sent = desk.until("the platform has the reply", async |desk| desk.sample.posts_by(SHOP).pop()).await;
        assert!(sent.text.ends_with(&format!("확인해서 오늘 안에 알려 드릴게요. ^{winner}")), "{}", sent.text);
        assert_eq!(sent.in_reply_to.as_deref(), Some(post.as_str()));
        let view = desk
            .until("the reply is known as sent", async |desk| {
                let view = desk.look(row.case.id).await;
                (view.replies[0].0.state == ReplyState::Sent).then_some(view)
            })
            .await;
        let first = view.case.clocks.iter().find(|clock| clock.kind == Kind::FirstResponse).unwrap();
        assert_eq!(first.state, State::Met);
        assert!(first.met_at.unwrap() <= first.deadline_at);

        // Our own timeline brings the reply back; it changes nothing and nothing is sent twice.
        for _ in 0..40 {
            desk.clock.advance(Duration::from_millis(250));
            tokio::task::yield_now().await;
        }
        assert_eq!(desk.sample.posts_by(SHOP).len(), 1);
        let kinds: Vec<_> = desk.look(row.case.id).await.events.iter().map(|(event, _)| event.kind).collect();
        assert_eq!(kinds.iter().filter(|kind| **kind == EventKind::ReplySent).count(), 1);
        assert!(!kinds.contains(&EventKind::AnsweredThere), "{kinds:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_answers_breaches_at_its_deadline_to_the_second() {
    kit::run(async |desk| {
        let posted_at = desk.clock.now();
        desk.sample.post("jun", "환불 신청한 지 3주인데 처리가 안 됩니다", None, Some(SHOP), posted_at, None);
        let row = desk.case_saying("환불 신청한").await;
        let deadline = row.case.open_clock(Kind::FirstResponse).unwrap().deadline_at;
        assert_eq!(deadline, posted_at.plus(Duration::from_secs(720)));

        desk.clock.advance(deadline.since(desk.clock.now()) - Duration::from_millis(1));
        tokio::task::yield_now().await;
        assert!(breach(&desk.look(row.case.id).await).is_none(), "not a millisecond early");
        // Somebody looks two hours later: the breach is recorded at its deadline all the same.
        desk.clock.advance(Duration::from_secs(7_200));
        let at = desk.until("the breach is recorded", async |desk| breach(&desk.look(row.case.id).await)).await;
        assert_eq!(at, deadline);

        // A late answer is met late, and the breach stays.
        let kg = desk.viewer("KG").await;
        let reply = NewReply { text: "늦어서 죄송해요. 지금 환불했어요.".into(), despite_colleague: false };
        desk.app.desk.reply(&kg, row.case.id, reply).await.unwrap();
        let view = desk
            .until("the clock is met late", async |desk| {
                let view = desk.look(row.case.id).await;
                view.case
                    .clocks
                    .iter()
                    .any(|clock| clock.kind == Kind::FirstResponse && clock.state == State::MetLate)
                    .then_some(view)
            })
            .await;
        assert_eq!(breach(&view), Some(deadline));
    })
    .await;
}

fn breach(view: &moksori::queue::CaseView) -> Option<Time> {
    let breached = view.events.iter().filter(|(event, _)| {
        event.kind == EventKind::Breached && event.payload.as_deref().is_some_and(|payload| payload.contains("first_response"))
    });
    let times: Vec<Time> = breached.map(|(event, _)| event.at).collect();
    assert!(times.len() <= 1, "a breach is one event: {times:?}");
    times.first().copied()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_written_on_the_platform_itself_stops_the_clock() {
    kit::run(async |desk| {
        let post = desk.sample.post(
            "sora",
            "사이즈가 안 맞아서 교환하고 싶은데 접수가 안 돼요",
            None,
            Some(SHOP),
            desk.clock.now(),
            None,
        );
        let row = desk.case_saying("교환하고 싶은데").await;
        desk.clock.advance(Duration::from_secs(60));
        let answered_at = desk.clock.now();
        desk.sample.post(SHOP, "@sora 접수해 드렸어요", Some(&post), None, answered_at, None);
        let clock = desk
            .until("the clock has stopped", async |desk| {
                let view = desk.look(row.case.id).await;
                view.case.clocks.into_iter().find(|clock| clock.kind == Kind::FirstResponse && clock.state == State::Met)
            })
            .await;
        assert_eq!(clock.met_at, Some(answered_at));
        assert_eq!(desk.totals().await.mentions, 2, "our own post opens nothing");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follow_up_joins_its_case_and_starts_the_next_response() {
    kit::run(async |desk| {
        let post =
            desk.sample.post("yuna", "쿠폰이 적용이 안 돼요. 결제가 계속 실패합니다", None, Some(SHOP), desk.clock.now(), None);
        let row = desk.case_saying("쿠폰이 적용이").await;
        let kg = desk.viewer("KG").await;
        desk.app.desk.answered_there(&kg, row.case.id).await.unwrap();
        desk.clock.advance(Duration::from_secs(30));
        let again = desk.clock.now();
        desk.sample.post("yuna", "답변 감사한데 여전히 안 되네요", Some(&post), Some(SHOP), again, None);
        let view = desk
            .until("the follow-up has joined", async |desk| {
                let view = desk.look(row.case.id).await;
                (view.case.mentions == 2).then_some(view)
            })
            .await;
        let next = view.case.open_clock(Kind::NextResponse).expect("the customer waits again");
        assert_eq!(next.origin_at, again);
        assert_eq!(desk.queue().await.len(), 1, "no second case");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_whose_receipt_is_lost_is_not_sent_twice() {
    kit::run(async |desk| {
        desk.sample.post("hana", "앱이 자꾸 꺼져서 주문을 못 하겠어요", None, Some(SHOP), desk.clock.now(), None);
        let row = desk.case_saying("앱이 자꾸").await;
        desk.sample.lose_answers(1);
        let kg = desk.viewer("KG").await;
        let reply = NewReply { text: "고쳤어요. 앱을 새로 받아 주세요.".into(), despite_colleague: false };
        desk.app.desk.reply(&kg, row.case.id, reply).await.unwrap();
        desk.until("the reply is known as sent", async |desk| {
            (desk.look(row.case.id).await.replies[0].0.state == ReplyState::Sent).then_some(())
        })
        .await;
        assert_eq!(desk.sample.posts_by(SHOP).len(), 1);
    })
    .await;
}
