//! The same person writes to the brand, to its president and to a branch: one contact, one case, one answer.

use std::time::Duration;

use moksori::{
    clock::Clock,
    connect::{Secret, SecretSource},
    desk::{Error, NewReply},
    sample::{Sample, SampleAccount},
};

use crate::kit::{self, SHOP};

const PRESIDENT: &str = "pinecone_ceo";
const BRANCH: &str = "pinecone_seongsu";

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_three_accounts_gets_one_answer_from_the_one_that_was_asked() {
    let clock = Clock::by_hand(kit::noon());
    let account = |handle: &str| SampleAccount { handle: handle.into(), name: handle.into(), token: format!("{handle}-token") };
    let shop = SampleAccount { token: "sample-token".into(), ..account(SHOP) };
    let accounts = [shop, account(PRESIDENT), account(BRANCH)];
    let sample = Sample::start("127.0.0.1:0".parse().unwrap(), clock.clone(), &accounts).await.unwrap();
    let all_three = |config: &mut moksori::config::Config| {
        for (key, handle) in [("shop-president", PRESIDENT), ("shop-branch", BRANCH)] {
            let mut more = config.brands[0].accounts[0].clone();
            (more.key, more.handle, more.tags) = (key.into(), handle.into(), Vec::new());
            more.secrets.insert("token".into(), SecretSource::Given(Secret::new(&format!("{handle}-token"))));
            config.brands[0].accounts.push(more);
        }
    };
    kit::run_at(sample, clock, all_three, async |desk| {
        let mut asked = Vec::new();
        for (to, text) in [
            (SHOP, "환불 신청한 지 열흘인데 처리가 안 돼요. 왜 이렇게 늦나요"),
            (PRESIDENT, "사장님, 고객센터가 환불을 안 해 줘요. 열흘째입니다"),
            (BRANCH, "성수점에서 산 건데 환불이 열흘째 안 되고 있어요"),
        ] {
            asked.push((desk.sample.post("bora", text, None, Some(to), desk.clock.now(), None), to));
            desk.until("it is in the thread", async |desk| {
                let row = desk.queue().await.pop()?;
                desk.look(row.case.id).await.thread.iter().any(|post| post.text.whole().contains(text)).then_some(())
            })
            .await;
            desk.clock.advance(Duration::from_secs(120));
        }
        let rows = desk.queue().await;
        assert_eq!(rows.len(), 1, "one case");
        let case = rows[0].case.id;
        let view = desk.look(case).await;
        assert_eq!(view.thread.len(), 3);
        assert!(view.thread.iter().all(|post| post.contact == view.thread[0].contact), "one contact");

        let (kg, sb) = (desk.viewer("KG").await, desk.viewer("SB").await);
        desk.app.desk.claim(&kg, case).await.unwrap();
        let refused = desk.app.desk.claim(&sb, case).await.unwrap_err();
        assert!(matches!(refused, Error::Claimed { initials } if initials == "KG"), "a colleague sees that it is handled");
        assert_eq!(desk.queue().await[0].assignee.as_deref(), Some("KG"));

        let text = "기다리시게 해서 죄송해요. 오늘 환불해 드릴게요.".to_owned();
        desk.app.desk.reply(&kg, case, NewReply { text, despite_colleague: false }).await.unwrap();
        let all = |desk: &kit::Desk| -> Vec<(String, Option<String>)> {
            let mut answers = Vec::new();
            for handle in [SHOP, PRESIDENT, BRANCH] {
                answers.extend(desk.sample.posts_by(handle).into_iter().map(|post| (handle.to_owned(), post.in_reply_to)));
            }
            answers
        };
        desk.until("it is answered", async |desk| (!all(desk).is_empty()).then_some(())).await;
        // All that our own timelines bring back changes nothing.
        for _ in 0..40 {
            desk.clock.advance(Duration::from_millis(250));
            kit::breathe().await;
        }
        let answers = all(desk);
        assert_eq!(answers.len(), 1, "one answer: {answers:?}");
        let (by, to) = &answers[0];
        let asked_there = asked.iter().find(|(id, _)| Some(id) == to.as_ref()).map(|(_, handle)| *handle);
        assert_eq!(Some(by.as_str()), asked_there, "who was asked answers");
    })
    .await;
}
