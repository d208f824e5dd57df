//! Corrections: kept with the post, reviewed once, gone when its text goes; and the models by version.

use moksori::{
    case::CaseId,
    mention::{Label, Lang, MentionId},
    queue::{Feedback, ModelRole, ModelsInUse, Review, ReviewState},
    text::{PostText, Veil},
};

use super::{Shop, case_of, on_both, open_case, post, take, texts, verdict};

impl Shop {
    async fn corrected(&self, post_id: &'static str, label: Label) -> (CaseId, MentionId) {
        let kg = self.kg;
        self.write(move |tx| {
            let (case, posted) = open_case(tx, &post(post_id, "mira"))?;
            tx.correct(posted.mention, case, label, kg)?;
            Ok((case, posted.mention))
        })
        .await
    }

    async fn corrections(&self, state: ReviewState) -> Vec<Feedback> {
        let care = self.care;
        self.read(move |reader| reader.feedback(&[care], state, 10)).await
    }

    async fn review(&self, feedback: &Feedback, state: ReviewState, label: Option<Label>) -> bool {
        let (review, sb) = (Review { mention: feedback.mention, at: feedback.at, state, label }, self.sb);
        self.write(move |tx| tx.review(&review, sb)).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_correction_is_kept_with_what_the_classifier_had_said() {
    on_both(async |shop| {
        let (case, mention) = shop.corrected("1", Label::Question).await;
        let expected = Feedback {
            mention,
            case,
            text: PostText::new("1 배송이 안 와요", Veil::Open),
            lang: Lang::Ko,
            answers: None,
            was: Label::Complaint,
            confidence: 0.93,
            unsure: false,
            model: 0,
            said: Label::Question,
            label: Label::Question,
            by: "KG".into(),
            at: shop.clock.now(),
            state: ReviewState::New,
            reviewed_by: None,
        };
        assert_eq!(shop.corrections(ReviewState::New).await, [expected]);
        let (care, vip) = (shop.care, shop.vip);
        assert_eq!(shop.read(move |reader| reader.feedback_counts(&[care, vip])).await, [1, 0, 0]);
        assert_eq!(shop.read(move |reader| reader.feedback_waiting(&[care, vip])).await, 1);
        assert_eq!(shop.read(move |reader| reader.feedback_waiting(&[vip])).await, 0, "another team's");
        assert_eq!(shop.read(move |reader| reader.feedback_counts(&[vip])).await, [0, 0, 0], "another team's");
        assert_eq!(shop.read(move |reader| reader.feedback(&[vip], ReviewState::New, 10)).await, []);
        assert_eq!(shop.write(move |tx| tx.feedback_team(mention)).await, Some(care));
        assert_eq!(shop.write(|tx| tx.feedback_team(MentionId(99))).await, None);
        // Whoever says what the classifier said takes it back.
        let kg = shop.kg;
        shop.write(move |tx| tx.correct(mention, case, Label::Complaint, kg)).await;
        assert_eq!(shop.corrections(ReviewState::New).await, []);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_sorts_what_the_classifier_left_teaches_it_too() {
    on_both(async |shop| {
        let kg = shop.kg;
        shop.write(move |tx| {
            let posted = take(tx, &post("1", "mira"))?;
            let unsure = moksori::mention::Verdict { unsure: true, model: 7, ..verdict() };
            tx.rejudge(posted.mention, &unsure, 2)?;
            let new = case_of(tx, posted);
            let case = tx.insert_case(&new)?;
            tx.correct(posted.mention, case, Label::Complaint, kg)
        })
        .await;
        let kept = shop.corrections(ReviewState::New).await;
        assert_eq!((kept[0].said, kept[0].was, kept[0].unsure, kept[0].model), (Label::Complaint, Label::Complaint, true, 7));
        let line: serde_json::Value = serde_json::from_str(&kept[0].line()).unwrap();
        assert_eq!((line["label"].as_str(), line["was"].as_str()), (Some("complaint"), Some("unsorted")));
        assert_eq!((line["model"].as_i64(), line["lang"].as_str(), line["by"].as_str()), (Some(7), Some("ko"), Some("KG")));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_was_accepted_is_learnt_and_a_newer_word_waits_again() {
    on_both(async |shop| {
        let (case, mention) = shop.corrected("1", Label::Question).await;
        let (_, other) = shop.corrected("2", Label::Other).await;
        let accepted = |after: i64| shop.read(move |reader| reader.accepted_feedback(MentionId(after), 10));
        assert_eq!(accepted(0).await, []);
        let waiting = shop.corrections(ReviewState::New).await;
        assert_eq!(waiting.iter().map(|one| one.mention).collect::<Vec<_>>(), [mention, other], "the oldest first");
        assert!(shop.review(&waiting[0], ReviewState::Accepted, Some(Label::Proposal)).await);
        assert!(shop.review(&waiting[1], ReviewState::Rejected, None).await);
        let learnt = accepted(0).await;
        assert_eq!(learnt.len(), 1);
        assert_eq!((learnt[0].said, learnt[0].label), (Label::Question, Label::Proposal), "the reviewer's word");
        assert_eq!(learnt[0].reviewed_by.as_deref(), Some("SB"));
        assert_eq!(accepted(mention.0).await, []);
        let care = shop.care;
        assert_eq!(shop.read(move |reader| reader.feedback_counts(&[care])).await, [0, 1, 1]);
        assert_eq!(shop.read(move |reader| reader.feedback_waiting(&[care])).await, 0);

        shop.clock.advance(std::time::Duration::from_secs(60));
        let kg = shop.kg;
        shop.write(move |tx| tx.correct(mention, case, Label::Other, kg)).await;
        assert_eq!(accepted(0).await, [], "a newer word waits for a review of its own");
        assert!(!shop.review(&waiting[0], ReviewState::Accepted, None).await, "the old one cannot be reviewed any more");
        let newer = shop.corrections(ReviewState::New).await;
        assert!(shop.review(&newer[0], ReviewState::Accepted, None).await);
        assert!(shop.review(&newer[0], ReviewState::New, None).await, "and back");
        let again = shop.corrections(ReviewState::New).await;
        assert_eq!((again[0].label, again[0].reviewed_by.as_deref()), (Label::Other, None));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_correction_goes_with_the_text_that_it_was_about() {
    on_both(async |shop| {
        let rows = || shop.words("SELECT mention_id FROM feedback ORDER BY mention_id");
        let (case, erased) = shop.corrected("1", Label::Question).await;
        let (_, edited) = shop.corrected("2", Label::Other).await;
        let (_, dropped) = shop.corrected("3", Label::Other).await;
        assert_eq!(rows().len(), 3);
        let kg = shop.kg;
        shop.write(move |tx| {
            tx.erase_mention(erased)?;
            tx.correct(erased, case, Label::Question, kg)
        })
        .await;
        assert_eq!(rows(), [edited.0.to_string(), dropped.0.to_string()], "nothing is kept of what is gone");
        shop.write(move |tx| {
            let mut envelope = post("2", "mira");
            envelope.edited_at = Some(super::minutes_after_noon(1));
            tx.update_mention(edited, &envelope, &verdict(), texts("new"), 2)
        })
        .await;
        assert_eq!(rows(), [dropped.0.to_string()], "it was said of the old text");
        shop.write(move |tx| tx.drop_feedback(dropped)).await;
        assert!(rows().is_empty());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn models_are_held_by_version_and_the_newest_choice_counts() {
    on_both(async |shop| {
        let add = |digest: &'static str| {
            shop.write(move |tx| {
                let (card, bytes) = (format!("{{\"name\":\"{digest}\"}}"), [0, 255, digest.as_bytes()[0]]);
                tx.add_model(digest, digest == "a", &card, &bytes)
            })
        };
        let choose = |role: ModelRole, version: Option<u32>| shop.write(move |tx| tx.choose_model(role, version));
        assert_eq!(shop.read(|reader| reader.models_in_use()).await, ModelsInUse::default());
        assert_eq!(shop.read(|reader| reader.former_judges()).await, []);
        assert_eq!([add("a").await, add("b").await, add("a").await], [1, 2, 1], "the same bytes keep their number");
        choose(ModelRole::Judge, Some(1)).await;
        choose(ModelRole::Shadow, Some(2)).await;
        let first = shop.read(|reader| reader.models_in_use()).await;
        assert_eq!((first.judge, first.shadow), (Some(1), Some(2)));
        shop.clock.advance(std::time::Duration::from_secs(60));
        choose(ModelRole::Judge, Some(2)).await;
        choose(ModelRole::Shadow, None).await;
        let second = shop.read(|reader| reader.models_in_use()).await;
        assert_eq!((second.judge, second.shadow), (Some(2), None));
        assert!(second.choice > first.choice);
        assert_eq!(shop.read(|reader| reader.former_judges()).await, [Some(1)]);
        choose(ModelRole::Judge, None).await;
        assert_eq!(shop.read(|reader| reader.former_judges()).await, [Some(2), Some(1)]);
        let models = shop.read(|reader| reader.models()).await;
        assert_eq!(models.iter().map(|model| (model.version, model.digest.as_str())).collect::<Vec<_>>(), [(2, "b"), (1, "a")]);
        assert_eq!(models.iter().map(|model| model.built_in).collect::<Vec<_>>(), [false, true]);
        assert_eq!(models[0].card, "{\"name\":\"b\"}");
        assert_eq!(models[0].judged_at, Some(shop.clock.now()));
        assert_eq!(shop.read(|reader| reader.model_bytes(1)).await, Some(vec![0, 255, b'a']));
        assert_eq!(shop.read(|reader| reader.model_bytes(9)).await, None);
    })
    .await;
}
