//! Abuse by keyboard: `v` shows a masked post, `b` offers a break, and leaving the case masks it again.

use std::{env, path::Path};

use moksori::{clock::Clock, mention::Label};
use serde_json::json;

use super::{Chrome, base, complaints, key, open, screenshots::picture, sign_in, until_page};
use crate::kit::{self, SHOP};

const WIDTHS: [(u32, u32); 3] = [(1440, 900), (390, 844), (360, 800)];
const SKINS: [(&str, &str); 4] = [("ko", "light"), ("en", "dark"), ("ko", "dark"), ("en", "light")];

#[tokio::test(flavor = "multi_thread")]
async fn a_masked_post_is_revealed_and_a_break_taken_by_keyboard() {
    let target = env::var_os("SCREENSHOTS");
    let target = target.as_deref().map(Path::new);
    kit::run_on(Clock::System, async |desk| {
        let curse = "야 이 멍텅구리들아\n환불 신청한 지가 언제인데\n언제 줄 거야?";
        for (author, text) in [("angry_b", curse), ("mira", "주문 배송이 아직도 안 와요"), ("jun", "환불이 열흘째 안 됩니다")]
        {
            desk.sample.post(author, text, None, Some(SHOP), desk.clock.now(), Some(90));
        }
        let (case, other) = (desk.case_saying("멍텅구리").await.case, desk.case_saying("배송이 아직도").await.case.id);
        let team = desk.app.store.catalog().team(case.team).unwrap().key.clone();
        let case = case.id;
        let le = desk.viewer("LE").await;
        desk.app.desk.set_label(&le, case, Label::Abuse).await.unwrap();
        desk.app.desk.claim(&le, other).await.unwrap();
        let chrome = Chrome::start();
        let (path, shown) =
            (format!("/cases/{}", case.0), "document.querySelector('#thread').textContent.includes('멍텅구리')");
        for (width, height) in WIDTHS {
            let driver = chrome.window(width, height).await;
            driver.goto(base(desk)).await.unwrap();
            sign_in(desk, &driver, "LE").await;
            for (lang, theme) in SKINS {
                open(desk, &driver, lang, theme, &format!("/queue/{team}?case={}", case.0)).await;
                picture(&driver, target, "masked-queue", lang, theme, width).await;
                open(desk, &driver, lang, theme, &path).await;
                until_page(
                    &driver,
                    "it is masked",
                    &format!("return !document.documentElement.outerHTML.includes('멍텅구리') && !{shown}"),
                )
                .await;
                picture(&driver, target, "masked-case", lang, theme, width).await;
                key(&driver, "KeyV", "ㅍ", json!({})).await;
                until_page(&driver, "it is shown", &format!("return {shown}")).await;
                picture(&driver, target, "revealed-case", lang, theme, width).await;
                key(&driver, "KeyB", "ㅠ", json!({})).await;
                until_page(&driver, "a break is offered", "return document.activeElement.matches('#break:popover-open .main')")
                    .await;
                picture(&driver, target, "break", lang, theme, width).await;
                key(&driver, "Escape", "Escape", json!({ "windowsVirtualKeyCode": 27 })).await;
                until_page(&driver, "no break was taken", "return !document.querySelector(':popover-open')").await;
                assert!(driver.current_url().await.unwrap().path().starts_with("/cases/"), "Esc closes the offer alone");
            }
            assert_eq!(complaints(&driver).await, Vec::<String>::new());
            driver.quit().await.unwrap();
        }
        let driver = chrome.window(1440, 900).await;
        driver.goto(base(desk)).await.unwrap();
        sign_in(desk, &driver, "LE").await;
        open(desk, &driver, "en", "light", "/mine").await;
        key(&driver, "KeyB", "b", json!({})).await;
        until_page(&driver, "a break is offered", "return document.activeElement.matches('#break:popover-open .main')").await;
        key(&driver, "Enter", "Enter", json!({ "windowsVirtualKeyCode": 13, "text": "\r" })).await;
        until_page(
            &driver,
            "the case went back",
            "return !document.querySelector('.row') && !!document.querySelector('#toast .flash')",
        )
        .await;
        assert_eq!(desk.look(other).await.case.assignee, None);
        let day = moksori::desk::day_of(&le, &desk.app.store.catalog(), desk.clock.now());
        let read = desk.app.store.read(move |reader| reader.exposures(le.id, &day)).await.unwrap();
        assert_eq!(read, 1, "however often it was looked at");
        driver.quit().await.unwrap();
    })
    .await;
}
