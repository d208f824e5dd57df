//! Pictures of each page in Korean and English, light and dark, wide and narrow: `make screenshots`.
//! Without `SCREENSHOTS` the same pages are only checked: no sideways scrolling, nothing blocked.

use std::{env, path::Path, time::Duration};

use moksori::{clock::Clock, desk::NewReply, mention::Label, staff::Role};
use serde_json::json;
use thirtyfour::prelude::*;

use super::{Chrome, base, complaints, open, sign_in};
use crate::kit::{self, SHOP};

#[tokio::test(flavor = "multi_thread")]
async fn screenshots() {
    let target = env::var_os("SCREENSHOTS");
    kit::run_on(Clock::System, async |desk| {
        furnish(desk).await;
        let chrome = Chrome::start();
        for (width, height) in [(1440, 900), (390, 844)] {
            let driver = chrome.window(width, height).await;
            driver.goto(base(desk)).await.unwrap();
            for (lang, theme) in [("ko", "light"), ("en", "dark"), ("ko", "dark"), ("en", "light")] {
                open(desk, &driver, lang, theme, "/sign-in").await;
                picture(&driver, target.as_deref().map(Path::new), "sign-in", lang, theme, width).await;
            }
            sign_in(desk, &driver, "LE").await;
            let case = desk.case_saying("모락").await.case.id.0;
            for (lang, theme) in [("ko", "light"), ("en", "dark"), ("ko", "dark"), ("en", "light")] {
                for (name, path) in [
                    ("queue", format!("/queue/shop-cs?case={case}")),
                    ("case", format!("/cases/{case}")),
                    ("similar", format!("/cases/{case}?tab=similar")),
                    ("search", "/search?q=%EB%B0%B0%EC%86%A1".to_owned()),
                    ("review", "/review".to_owned()),
                    ("saved", "/saved".to_owned()),
                    ("exports", "/exports".to_owned()),
                    ("insight", "/insight".to_owned()),
                ] {
                    open(desk, &driver, lang, theme, &path).await;
                    picture(&driver, target.as_deref().map(Path::new), name, lang, theme, width).await;
                }
            }
            assert_eq!(complaints(&driver).await, Vec::<String>::new());
            driver.quit().await.unwrap();
        }
    })
    .await;
}

/// Enough posts, clocks and work for every part of a page to show something.
async fn furnish(desk: &kit::Desk) {
    let ago = |seconds: u64| desk.clock.now().minus(Duration::from_secs(seconds));
    let posts = [
        (
            "minji_k",
            "주문한 지 열흘인데 배송이 아직도 안 와요. 고객센터는 전화도 안 받고 챗봇만 나오네요. 주문번호 PN-20261103-4471",
            655,
            90,
        ),
        ("haneul", "M 사이즈 재입고는 언제쯤 될까요? 지난달부터 기다리고 있어요.", 120, 310),
        ("dark_fan", "앱에 다크 모드 넣어 주시면 좋겠어요. 밤에 눈이 부셔요", 60, 48),
        (
            "sora.lee",
            "모락 500 가습기 어댑터가 너무 뜨거워요. 타는 냄새도 나는데 안전한 거 맞나요? 영상 찍어 두었어요",
            300,
            12_400,
        ),
        ("dan_p", "Still waiting for my refund after two weeks, any update please?", 400, 830),
        ("jun_ho", "환불 신청한 지 열흘이 지났는데 처리가 안 됩니다", 760, 120),
        ("yerin", "배송 빠르고 포장도 예뻐요. 감사합니다!", 30, 15),
        ("kim_cs", "쿠폰이 적용이 안 돼요. 결제가 계속 실패합니다", 200, 66),
        ("emma_w", "How do I change the delivery address for an order I placed this morning?", 45, 210),
        ("park_b", "상담원 연결이 30분째 안 되네요. 전화 주세요 010-0000-1234", 500, 75),
    ];
    for (author, text, age, reach) in posts {
        desk.sample.post(author, text, None, Some(SHOP), ago(age), Some(reach));
    }
    let case = desk.case_saying("모락").await.case;
    let kg = desk.viewer("KG").await;
    desk.until("all have come", async |desk| (desk.totals().await.mentions >= 10).then_some(())).await;
    desk.app.desk.claim(&kg, case.id).await.unwrap();
    desk.app.desk.note(&kg, case.id, "상품팀에 어댑터 로트 번호를 물어봤어요.".into()).await.unwrap();
    let text = "불편을 드려 죄송해요. 우선 사용을 멈춰 주시고, 어댑터 옆면의 로트 번호를 알려 주세요.".into();
    desk.app.desk.reply(&kg, case.id, NewReply { text, despite_colleague: false }).await.unwrap();
    desk.until("the reply has gone", async |desk| desk.sample.posts_by(SHOP).pop()).await;
    let sb = desk.viewer("SB").await;
    let coupon = desk.case_saying("쿠폰이").await.case;
    desk.app.desk.claim(&sb, coupon.id).await.unwrap();
    // What a person says of a label is kept for the review, whatever the classifier had said.
    for (words, label) in [("M 사이즈", Label::Other), ("Still waiting", Label::Question), ("상담원 연결", Label::Other)]
    {
        let case = desk.case_saying(words).await.case;
        desk.app.desk.set_label(&kg, case.id, label).await.unwrap();
    }
}

pub async fn picture(driver: &WebDriver, target: Option<&Path>, page: &str, lang: &str, theme: &str, width: u32) {
    let wide = driver.execute("return document.documentElement.scrollWidth - window.innerWidth", Vec::new()).await.unwrap();
    assert!(wide.json().as_i64() <= Some(0), "{page} in {lang} scrolls sideways at {width} px by {}", wide.json());
    if let Some(target) = target {
        std::fs::create_dir_all(target).unwrap();
        // Fonts and the first tick of the clocks.
        kit::breathe().await;
        driver.screenshot(&target.join(format!("{page}-{lang}-{theme}-{width}.png"))).await.unwrap();
    }
}

/// The pages of the sources, with one that is well, one that is behind and one that a person paused.
#[tokio::test(flavor = "multi_thread")]
async fn screenshots_of_sources() {
    let target = env::var_os("SCREENSHOTS");
    let more = |config: &mut moksori::config::Config| {
        for key in ["shop-reviews", "shop-notes"] {
            let mut account = moksori::connect::AccountConfig::new(key, "webhook");
            let secret = moksori::connect::Secret::new("a secret of the pictures");
            account.secrets.insert("signing".into(), moksori::connect::SecretSource::Given(secret));
            config.brands[0].accounts.push(account);
        }
    };
    kit::run_with(Clock::System, more, async |desk| {
        furnish(desk).await;
        desk.hire("MG", Role::Manager).await;
        let (manager, now) = (desk.viewer("MG").await, desk.clock.now());
        let behind = json!([{
            "account": "shop-reviews", "connector": "naver", "stream": "cafe", "state": "limited", "goal": "5m",
            "last_success": now.minus(Duration::from_secs(5_400)), "newest": now.minus(Duration::from_secs(6_000)),
            "budget": [{ "name": "search", "left": 120, "of": 25_000, "resets_at": now.plus(Duration::from_secs(7_200)) }],
            "failures": [
                { "kind": "limited", "count": 3, "last": "rate budget spent until 00:00", "remedy": "wait" },
                { "kind": "client_error", "count": 12, "last": "answered 401", "remedy": "access" },
            ],
            "next_at": now.minus(Duration::from_secs(3_000)),
        }]);
        desk.app.desk.save_source_state("shop-reviews", "status", &behind.to_string()).await.unwrap();
        desk.app.desk.pause_source(&manager, "shop-notes", true).await.unwrap();
        let query = "배송 (지연 OR 안) -상자";
        desk.app.desk.save_listening(&manager, "shop-mastodon", "delivery", query).await.unwrap();
        let tried = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("name", "배송 이야기")
            .append_pair("q", "배송 -포장")
            .finish();
        let chrome = Chrome::start();
        for (width, height) in [(1440, 900), (360, 800)] {
            let driver = chrome.window(width, height).await;
            driver.goto(base(desk)).await.unwrap();
            sign_in(desk, &driver, "MG").await;
            for (lang, theme) in [("ko", "light"), ("en", "dark"), ("ko", "dark"), ("en", "light")] {
                for (name, path) in
                    [("source", format!("/sources/shop-mastodon?{tried}")), ("behind", "/queue/shop-cs".to_owned())]
                {
                    open(desk, &driver, lang, theme, &path).await;
                    picture(&driver, target.as_deref().map(Path::new), name, lang, theme, width).await;
                }
            }
            assert_eq!(complaints(&driver).await, Vec::<String>::new());
            driver.quit().await.unwrap();
        }
    })
    .await;
}
