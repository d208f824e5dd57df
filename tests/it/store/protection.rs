//! What protects people: which posts are abuse, who has read them, and what somebody has.

use moksori::{
    case::CaseId,
    mention::{Envelope, Label, MentionId, Reason, Side, Verdict},
    queue::{Error, Tx},
    text::Masked,
};

use super::{SQUARE, Shop, case_of, on_both, open_case, post, take, texts, verdict};

fn abuse(unsure: bool) -> Verdict {
    let reason = |label, weight| Reason { rule: "r".into(), words: "w".into(), weight, label };
    let reasons = vec![reason(Label::Abuse, 2.0), reason(Label::Question, -0.5)];
    Verdict { label: Label::Abuse, unsure, reasons, ..verdict() }
}

impl Shop {
    /// What a page is told of a post, and every other way to it with the same.
    async fn veil(&self, mention: MentionId) -> Option<Masked> {
        self.read(move |reader| {
            let view = reader.mentions(&[mention])?.remove(0).text;
            let post = reader.posts(&[mention])?.remove(0).text;
            assert_eq!(view, post);
            Ok(view.seen(true).err())
        })
        .await
    }
}

fn sorted_as(tx: &mut Tx<'_>, case: CaseId, label: Label, by: Option<moksori::staff::AgentId>) -> Result<(), Error> {
    let mut case = tx.load_case(case)?.unwrap();
    (case.label, case.labelled_by) = (label, by);
    tx.save_case(&case)
}

#[tokio::test(flavor = "multi_thread")]
async fn abuse_is_what_the_classifier_surely_calls_so_unless_a_person_says_otherwise() {
    on_both(async |shop| {
        let (kg, care) = (shop.kg, shop.care);
        let (case, first) = shop.write(|tx| open_case(tx, &post("1", "mira"))).await;
        let first = first.mention;
        assert_eq!(shop.veil(first).await, None);
        shop.write(move |tx| tx.rejudge(first, &abuse(true), 2)).await;
        assert_eq!(shop.veil(first).await, None, "the classifier is not sure");
        shop.write(move |tx| tx.rejudge(first, &abuse(false), 3)).await;
        let told = Some(Masked { lines: 1, asks: true });
        assert_eq!(shop.veil(first).await, told, "with the question that it saw");
        // A later post of the case has a word of its own; a post of ours is never abuse.
        let later = shop.write(move |tx| {
            let posted = take(tx, &post("2", "mira"))?;
            tx.join_mention(case, posted.mention)?;
            let ours = Envelope { side: Side::Ours, ..post("3", "shop_kr") };
            let (contact, _) = tx.contact(SQUARE, ours.author.as_ref().unwrap())?;
            let ours = tx.insert_mention(&ours, contact, None, &abuse(false), texts(&ours.text), 1)?;
            Ok((posted.mention, ours))
        });
        let (second, ours) = later.await;
        assert_eq!((shop.veil(second).await, shop.veil(ours).await), (None, None));
        // A person says that it is none: of the post that opened the case. Of a later one the classifier's word holds.
        shop.write(move |tx| sorted_as(tx, case, Label::Complaint, Some(kg))).await;
        assert_eq!(shop.veil(first).await, None);
        shop.write(move |tx| tx.rejudge(second, &abuse(false), 3)).await;
        assert_eq!(shop.veil(second).await, told);
        // And what a person calls abuse is, with all that belongs to it.
        shop.write(move |tx| tx.rejudge(second, &verdict(), 4)).await;
        shop.write(move |tx| sorted_as(tx, case, Label::Abuse, Some(kg))).await;
        assert!(shop.veil(first).await.is_some());
        assert_eq!(shop.veil(second).await, Some(Masked { lines: 1, asks: false }));
        // The other ways to a text: the case's page, an earlier case, a queue, a correction.
        let (other, _) = shop.write(|tx| open_case(tx, &post("4", "mira"))).await;
        let seen = shop.read(move |reader| {
            let view = reader.case_view(case, kg)?.unwrap();
            let earlier = reader.case_view(other, kg)?.unwrap().earlier;
            let row = reader.queue_row(case, kg)?.unwrap();
            assert_eq!(row.case.team, care);
            Ok([view.thread[0].text.clone(), earlier[0].text.clone(), row.mention.text])
        });
        assert!(seen.await.iter().all(|text| text.seen(true).is_err()));
        shop.write(move |tx| tx.correct(second, case, Label::Abuse, kg)).await;
        let corrections = shop.read(move |reader| reader.feedback(&[care], moksori::queue::ReviewState::New, 9)).await;
        assert!(corrections[0].text.seen(true).is_err());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_post_is_read_once_a_day_and_person() {
    on_both(async |shop| {
        let (kg, sb) = (shop.kg, shop.sb);
        let (case, posted) = shop.write(|tx| open_case(tx, &post("1", "mira"))).await;
        let post = posted.mention;
        for (who, day, first) in
            [(kg, "2026-11-20", true), (kg, "2026-11-20", false), (kg, "2026-11-21", true), (sb, "2026-11-20", true)]
        {
            assert_eq!(shop.write(move |tx| tx.expose(who, day, post, case)).await, first, "{who:?} on {day}");
        }
        let read = async |who, day| shop.read(move |reader| reader.exposures(who, day)).await;
        assert_eq!((read(kg, "2026-11-20").await, read(kg, "2026-11-21").await, read(sb, "2026-11-20").await), (1, 1, 1));
        assert_eq!(read(sb, "2026-11-21").await, 0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_has_is_unfinished_and_theirs() {
    on_both(async |shop| {
        let (kg, sb) = (shop.kg, shop.sb);
        let made = shop.write(move |tx| {
            let mut made = Vec::new();
            for (name, owner, done) in
                [("1", Some(kg), false), ("2", Some(sb), false), ("3", Some(kg), true), ("4", None, false)]
            {
                let posted = take(tx, &post(name, name))?;
                let new = case_of(tx, posted);
                let id = tx.insert_case(&new)?;
                let mut case = tx.load_case(id)?.unwrap();
                case.assignee = owner;
                if done {
                    case.status = moksori::case::Status::Resolved;
                }
                tx.save_case(&case)?;
                made.push(id);
            }
            Ok(made)
        });
        let made = made.await;
        assert_eq!(shop.write(move |tx| tx.held_by(kg)).await, [made[0]]);
        assert_eq!(shop.write(move |tx| tx.held_by(sb)).await, [made[1]]);
    })
    .await;
}
