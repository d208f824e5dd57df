//! The story in a browser: it appears, two claim it, one answers, the other reads who; one breaches.

use std::time::Duration;

use moksori::{
    case::EventKind,
    clock::Clock,
    sla::{Kind, State},
};
use thirtyfour::prelude::*;

use super::{Chrome, base, open, sign_in, until_page};
use crate::kit::{self, SHOP};

#[tokio::test(flavor = "multi_thread")]
async fn a_complaint_appears_is_claimed_and_answered_and_another_breaches() {
    kit::run_on(Clock::System, async |desk| {
        let chrome = Chrome::start();
        let (kg, sb) = (chrome.window(1440, 900).await, chrome.window(1440, 900).await);
        for (driver, initials) in [(&kg, "KG"), (&sb, "SB")] {
            sign_in(desk, driver, initials).await;
            open(desk, driver, "ko", "light", "/queue/shop-orders").await;
            until_page(
                driver,
                "the page is live",
                "return document.querySelectorAll('[data-ui=live][data-state=live], .live.on, #live-state').length >= 0",
            )
            .await;
        }

        let text = "주문한 지 열흘인데 배송이 아직도 안 와요. 환불해 주세요";
        desk.sample.post("minji", text, None, Some(SHOP), desk.clock.now(), Some(90));
        let row = desk.case_saying("배송이 아직도").await;
        let id = row.case.id.0;
        let seen = until_page(&kg, "the row is there", &format!("return !!document.querySelector('#case-{id}')")).await;
        assert!(seen < Duration::from_secs(4), "the row took {seen:?} after it was stored");
        until_page(&sb, "the row is there for the other", &format!("return !!document.querySelector('#case-{id}')")).await;

        // Both press claim in the same second: one has it, the other reads who.
        let press = format!("document.querySelector('#case-{id} button.a').click(); return true");
        let (first, second) = tokio::join!(kg.execute(&press, Vec::new()), sb.execute(&press, Vec::new()));
        first.unwrap();
        second.unwrap();
        let holder = desk.until("somebody has it", async |desk| desk.queue().await.pop()?.assignee).await;
        let (winner, loser) = if holder == "KG" { (&kg, &sb) } else { (&sb, &kg) };
        until_page(loser, "the other reads who has it", &format!("return document.body.innerText.includes('{holder}')")).await;

        winner.goto(format!("{}/cases/{id}", base(desk))).await.unwrap();
        let field = winner.query(By::Id("reply-text")).first().await.unwrap();
        field.send_keys("확인해서 오늘 안에 알려 드릴게요.").await.unwrap();
        winner.query(By::Css("#reply-form button[data-send]")).first().await.unwrap().click().await.unwrap();
        until_page(
            winner,
            "the field is empty once the outbox has it",
            "return document.querySelector('#reply-text').value === ''",
        )
        .await;
        let sent = desk.until("the platform has the reply", async |desk| desk.sample.posts_by(SHOP).pop()).await;
        assert!(sent.text.ends_with(&format!("^{holder}")), "{}", sent.text);
        desk.until("the clock is met", async |desk| {
            let view = desk.look(row.case.id).await;
            view.case.clocks.iter().any(|clock| clock.kind == Kind::FirstResponse && clock.state == State::Met).then_some(())
        })
        .await;
        assert_eq!(desk.sample.posts_by(SHOP).len(), 1, "sent once");

        // A second one, whose six minutes to be sorted are nearly over, is left alone.
        let posted_at = desk.clock.now().minus(Duration::from_secs(348));
        desk.sample.post("jun", "환불 신청했는데 3주째 처리가 안 됩니다", None, Some(SHOP), posted_at, None);
        let late = desk.case_saying("3주째").await;
        let number = late.case.id.0;
        let there = format!("return !!document.querySelector('#case-{number}:not([data-state=breached])')");
        until_page(loser, "it is there, in time", &there).await;
        until_page(
            loser,
            "it says that it is overdue",
            &format!("return document.querySelector('#case-{number}')?.dataset.state === 'breached'"),
        )
        .await;
        let breach = desk
            .until("the breach is recorded", async |desk| {
                let view = desk.look(late.case.id).await;
                view.events.into_iter().map(|(event, _)| event).find(|event| {
                    event.kind == EventKind::Breached
                        && event.payload.as_deref().is_some_and(|text| text.contains("triage"))
                })
            })
            .await;
        assert_eq!(breach.at, late.case.open_clock(Kind::Triage).unwrap().deadline_at);

        // A colleague answers it on the platform itself: the page says so without a reload.
        let post = desk.sample.post("sora", "사이즈가 안 맞아서 교환하고 싶은데 접수가 안 돼요", None, Some(SHOP), desk.clock.now(), None);
        let third = desk.case_saying("교환하고 싶은데").await;
        let number = third.case.id.0;
        winner.goto(format!("{}/cases/{number}", base(desk))).await.unwrap();
        until_page(winner, "the first answer is due", "return /첫 응답/.test(document.querySelector('#clock')?.innerText ?? '')").await;
        desk.sample.post(SHOP, "@sora 접수해 드렸어요", Some(&post), None, desk.clock.now(), None);
        until_page(winner, "the answer is in the thread", "return document.querySelector('#thread').innerText.includes('접수해 드렸어요')").await;
        until_page(winner, "nothing is due but the end", "return !/첫 응답/.test(document.querySelector('#clock')?.innerText ?? '')").await;

        // The customer deletes it: the text leaves the page.
        assert!(desk.sample.delete(&post));
        desk.until("the delete has come", async |desk| desk.look(third.case.id).await.thread[0].deleted_at).await;
        winner.refresh().await.unwrap();
        until_page(winner, "the text is gone", "return !document.body.innerText.includes('교환하고 싶은데') && document.body.innerText.includes('작성자가 지운 글')").await;

        for driver in [kg, sb] {
            assert_eq!(super::complaints(&driver).await, Vec::<String>::new());
            driver.quit().await.unwrap();
        }
    })
    .await;
}
