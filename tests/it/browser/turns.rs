//! Whose turn it is, in a browser: a colleague was faster, a third party is asked, a lead gives a case to a person.

use std::{env, path::Path};

use moksori::{clock::Clock, desk::NewReply};
use serde_json::json;
use thirtyfour::prelude::*;

use super::{Chrome, base, complaints, key, open, screenshots::picture, sign_in, until_page};
use crate::kit::{self, SHOP};

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_is_sent_all_the_same_and_a_case_waits_goes_on_and_changes_hands() {
    let target = env::var_os("SCREENSHOTS");
    let target = target.as_deref().map(Path::new);
    kit::run_on(Clock::System, async |desk| {
        let chrome = Chrome::start();
        let driver = chrome.window(1440, 900).await;
        driver.goto(base(desk)).await.unwrap();
        let text = "주문 배송이 아직도 안 와요. 열흘째 기다리는데 언제 오나요";
        desk.sample.post("minji", text, None, Some(SHOP), desk.clock.now(), Some(90));
        let case = desk.case_saying("열흘째").await.case.id;
        let kg = desk.viewer("KG").await;
        let reply = NewReply { text: "확인하고 있어요.".into(), despite_colleague: false };
        desk.app.desk.reply(&kg, case, reply).await.unwrap();
        desk.app.desk.give_back(&kg, case).await.unwrap();

        sign_in(desk, &driver, "SB").await;
        let page = format!("/cases/{}", case.0);
        open(desk, &driver, "ko", "light", &page).await;
        let field = driver.find(By::Css("#reply-text")).await.unwrap();
        field.send_keys("제가 알아볼게요.").await.unwrap();
        driver.find(By::Css("#reply-form [data-send]")).await.unwrap().click().await.unwrap();
        until_page(&driver, "it offers to send", "return !!document.querySelector('#toast [name=despite_colleague]')").await;
        let left = "return document.querySelector('#reply-text').value === '제가 알아볼게요.'";
        until_page(&driver, "the text is still there", left).await;
        picture(&driver, target, "anyway", "ko", "light", 1440).await;
        driver.find(By::Css("#toast [name=despite_colleague]")).await.unwrap().click().await.unwrap();
        desk.until("both replies are queued", async |desk| (desk.look(case).await.replies.len() == 2).then_some(())).await;
        until_page(&driver, "the field is empty", "return document.querySelector('#reply-text').value === ''").await;

        driver.find(By::Css("h1")).await.unwrap().click().await.unwrap();
        key(&driver, "KeyH", "h", json!({})).await;
        until_page(&driver, "the menu is open", "return !!document.querySelector('details[open] [name=for]')").await;
        picture(&driver, target, "wait", "ko", "light", 1440).await;
        driver.find(By::Css("details[open] [value=third_party]")).await.unwrap().click().await.unwrap();
        until_page(&driver, "it waits", "return document.querySelector('#owner > .tag').textContent === '외부 답 대기'").await;
        driver.find(By::Css("h1")).await.unwrap().click().await.unwrap();
        key(&driver, "KeyH", "h", json!({})).await;
        until_page(&driver, "it goes on", "return document.querySelector('#owner > .tag').textContent === '진행 중'").await;

        sign_in(desk, &driver, "LE").await;
        for (lang, theme, width) in [("ko", "light", 1440), ("en", "dark", 390)] {
            if width == 390 {
                driver.set_window_rect(0, 0, 390, 844).await.unwrap();
            }
            open(desk, &driver, lang, theme, &page).await;
            driver.find(By::Css("[data-key=t]")).await.unwrap().click().await.unwrap();
            picture(&driver, target, "hand-over", lang, theme, width).await;
        }
        let to = driver.find(By::Css("details[open] option[value$='/KG']")).await.unwrap();
        to.click().await.unwrap();
        driver.find(By::Css("details[open] [name=reason]")).await.unwrap().send_keys("knows the parcel").await.unwrap();
        driver.find(By::Css("details[open] button.main")).await.unwrap().click().await.unwrap();
        desk.until("KG has it", async |desk| (desk.look(case).await.case.assignee == Some(kg.id)).then_some(())).await;
        assert_eq!(complaints(&driver).await, Vec::<String>::new());
        driver.quit().await.unwrap();
    })
    .await;
}
