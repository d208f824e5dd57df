//! Learning on the desk: what agents correct becomes training text once it was reviewed, and leaves with its post.

use moksori::{
    desk::{Error, LabelBefore},
    mention::{Label, MentionId},
    queue::{Feedback, Review, ReviewState},
    staff::Role,
};

use crate::kit::{self, Desk, SHOP};

const COMPLAINT: &str = "주문한 지 열흘인데 배송이 아직도 안 와요. 전화는 010-0000-1234";

async fn corrections(desk: &Desk, state: ReviewState) -> Vec<Feedback> {
    let teams = desk.viewer("LE").await.visible_teams();
    desk.app.store.read(move |reader| reader.feedback(&teams, state, 10)).await.unwrap()
}

fn of(feedback: &Feedback, state: ReviewState) -> Review {
    Review { mention: feedback.mention, at: feedback.at, state, label: None }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_correction_is_reviewed_learnt_and_gone_with_its_post() {
    kit::run(async |desk| {
        let post = desk.sample.post("minji", COMPLAINT, None, Some(SHOP), desk.clock.now(), Some(90));
        let row = desk.case_saying("배송이 아직도").await;
        let (kg, le) = (desk.viewer("KG").await, desk.viewer("LE").await);
        let id = row.case.id;
        desk.app.desk.set_label(&kg, id, Label::Question).await.unwrap();
        let [feedback] = corrections(desk, ReviewState::New).await.try_into().unwrap();
        assert_eq!((feedback.said, feedback.was, feedback.unsure), (Label::Question, row.case.label, false));
        assert!(feedback.text.contains("[phone]") && !feedback.text.contains("1234"), "{}", feedback.text);

        // An agent does not decide what is learnt, nor does somebody of another desk see it.
        let denied = desk.app.desk.review(&kg, of(&feedback, ReviewState::Accepted)).await;
        assert!(matches!(denied, Err(Error::Denied(denied)) if denied.needs == Role::Lead));
        desk.app.desk.review(&le, of(&feedback, ReviewState::Accepted)).await.unwrap();
        let learnt = desk.app.store.read(|reader| reader.accepted_feedback(MentionId(0), 10)).await.unwrap();
        assert_eq!(
            learnt.iter().map(|one| (one.label, one.mention)).collect::<Vec<_>>(),
            [(Label::Question, feedback.mention)]
        );

        assert!(desk.sample.delete(&post));
        desk.until("the correction is gone", async |desk| {
            corrections(desk, ReviewState::Accepted).await.is_empty().then_some(())
        })
        .await;
        let late = desk.app.desk.review(&le, of(&feedback, ReviewState::Accepted)).await;
        assert!(matches!(late, Err(Error::TooLate(_))), "{late:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_taken_back_is_as_if_it_had_not_been_said() {
    kit::run(async |desk| {
        desk.sample.post("minji", COMPLAINT, None, Some(SHOP), desk.clock.now(), Some(90));
        let before = desk.case_saying("배송이 아직도").await.case;
        let (kg, sb) = (desk.viewer("KG").await, desk.viewer("SB").await);
        desk.app.desk.set_label(&kg, before.id, Label::Question).await.unwrap();
        let first = LabelBefore { label: Label::Question, unsure: false, by: Some(kg.id) };
        desk.app.desk.set_label(&sb, before.id, Label::Other).await.unwrap();
        desk.app.desk.unlabel(&sb, before.id, first).await.unwrap();
        let [feedback] = corrections(desk, ReviewState::New).await.try_into().unwrap();
        assert_eq!((feedback.said, feedback.by.as_str()), (Label::Question, "KG"), "the first word is back");
        let machine = LabelBefore { label: before.label, unsure: before.unsure, by: None };
        desk.app.desk.unlabel(&kg, before.id, machine).await.unwrap();
        let after = desk.look(before.id).await.case;
        assert_eq!((after.label, after.unsure, after.labelled_by), (before.label, before.unsure, None));
        assert_eq!(corrections(desk, ReviewState::New).await, []);
    })
    .await;
}
