//! One key corrects a label and one takes it back; on the review page a key accepts and the next correction waits.

use moksori::{clock::Clock, mention::Label};
use serde_json::json;

use super::{Chrome, base, complaints, key, open, sign_in, until_page};
use crate::kit::{self, SHOP};

#[tokio::test(flavor = "multi_thread")]
async fn a_label_is_corrected_and_reviewed_by_keys_alone() {
    kit::run_on(Clock::System, async |desk| {
        for (author, text) in [("mira", "주문 배송이 아직도 안 와요"), ("jun", "환불이 열흘째 안 됩니다 답답해요")] {
            desk.sample.post(author, text, None, Some(SHOP), desk.clock.now(), None);
        }
        let (first, second) = (desk.case_saying("배송이 아직도").await.case, desk.case_saying("환불이 열흘째").await.case);
        let chrome = Chrome::start();
        let driver = chrome.window(1440, 900).await;
        driver.goto(base(desk)).await.unwrap();
        sign_in(desk, &driver, "LE").await;

        open(desk, &driver, "en", "light", &format!("/cases/{}", first.id.0)).await;
        let pressed = |label: &str| {
            format!("return document.querySelector('.labels [aria-pressed]')?.value === '{label}' && !!document.querySelector('#toast .flash')")
        };
        key(&driver, "Digit5", "5", json!({})).await;
        until_page(&driver, "the label is other", &pressed("other")).await;
        key(&driver, "KeyZ", "ㅋ", json!({})).await;
        until_page(&driver, "the label is back", "return document.querySelector('.labels [aria-pressed]')?.value !== 'other'").await;
        assert_eq!(desk.look(first.id).await.case.labelled_by, None, "as if nobody had said anything");

        let le = desk.viewer("LE").await;
        for case in [&first, &second] {
            desk.app.desk.set_label(&le, case.id, Label::Other).await.unwrap();
        }
        open(desk, &driver, "en", "light", "/review").await;
        let left = |count: usize| format!("return document.querySelectorAll('.reviewing .hit').length === {count}");
        until_page(&driver, "both wait", &left(2)).await;
        until_page(&driver, "the first is selected", "return !!document.querySelector('.hit[data-ui-selected]')").await;
        key(&driver, "KeyA", "ㅁ", json!({})).await;
        until_page(&driver, "one is accepted, the next is selected", &left(1)).await;
        until_page(&driver, "the next is selected", "return !!document.querySelector('.hit[data-ui-selected]')").await;
        key(&driver, "KeyX", "ㅌ", json!({})).await;
        until_page(&driver, "nothing is left", "return !!document.querySelector('.reviewing .empty')").await;
        let teams = le.visible_teams();
        let counts = desk.app.store.read(move |reader| reader.feedback_counts(&teams)).await.unwrap();
        assert_eq!(counts, [0, 1, 1]);
        assert_eq!(complaints(&driver).await, Vec::<String>::new());
        driver.quit().await.unwrap();
    })
    .await;
}
