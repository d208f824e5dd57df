//! What the console promises its users, in a real browser: a list that holds still, clocks that are the
//! server's, a line that heals, a composer that loses nothing, and all of it without a script.
//!
//! Bounds are several times what is promised, for a busy machine.

use std::time::Duration;

use moksori::{
    case::{CaseId, ReplyState, Status},
    clock::Clock,
    mention::Label,
    queue::NewAgent,
    staff::Role,
};
use serde_json::{Value, json};
use thirtyfour::prelude::*;

use super::{Chrome, ask, base, complaints, devtools, key, open, proxy::Proxy, sign_in, until_page};
use crate::kit::{self, Desk, SHOP};

const QUEUE: &str = "/queue/shop-orders";

/// The page says that it is live.
const UP: &str = "return !document.querySelector('#live-state').matches('.late, [hidden]')";

/// Looks that a thing which must not happen gets before it is believed.
const LOOKS: u32 = 20;

/// A delivery complaint that came `age` seconds ago, which lands in the list of [`QUEUE`].
fn complain(desk: &Desk, author: &str, age: u64) {
    let text = format!("{author} 주문 배송이 아직도 안 와요. 열흘째 기다리는데 언제 오나요");
    desk.sample.post(author, &text, None, Some(SHOP), desk.clock.now().minus(Duration::from_secs(age)), Some(90));
}

async fn complaint(desk: &Desk, author: &str, age: u64) -> CaseId {
    complain(desk, author, age);
    desk.case_saying(&format!("{author} 주문")).await.case.id
}

async fn point_at(driver: &WebDriver, css: &str) {
    let element = driver.find(By::Css(css)).await.unwrap();
    driver.action_chain().move_to_element_center(&element).perform().await.unwrap();
}

/// Where each row in the window stands.
async fn places(driver: &WebDriver) -> Value {
    ask(
        driver,
        "Object.fromEntries([...document.querySelectorAll('.row')].map(row => [row.dataset.number, row.getBoundingClientRect().y]).filter(([, y]) => y > 0 && y < innerHeight))",
    )
    .await
}

/// Presses `.` and says how far the selected row moved.
async fn show_new_order(driver: &WebDriver, rows: usize) -> f64 {
    let y = "document.querySelector('[data-ui-selected]').getBoundingClientRect().y";
    let before = ask(driver, y).await.as_f64().unwrap();
    key(driver, "Period", ".", json!({})).await;
    until_page(driver, "the new order shows", &format!("return document.querySelectorAll('.row').length === {rows}")).await;
    ask(driver, y).await.as_f64().unwrap() - before
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_holds_still_until_its_reader_lets_go() {
    kit::run_on(Clock::System, async |desk| {
        let teams = desk.app.store.catalog().teams.iter().map(|team| (team.id, Role::Agent)).collect();
        let agent = NewAgent {
            name: "Pat".into(),
            email: "pat@example.com".into(),
            initials: "PW".into(),
            password_hash: Some(moksori::web::hash_password("a long password").unwrap()),
            teams,
        };
        desk.app.desk.put_agent(agent).await.unwrap();
        let chrome = Chrome::start();
        let driver = chrome.window(1440, 700).await;
        for n in 0..24 {
            complain(desk, &format!("buyer{n:02}"), 20 + n * 5);
        }

        // 1: a stranger signs in and is where they wanted to be.
        driver.goto(format!("{}{QUEUE}", base(desk))).await.unwrap();
        let address = driver.current_url().await.unwrap();
        assert_eq!((address.path(), address.query()), ("/sign-in", Some("next=%2Fqueue%2Fshop-orders")));
        driver.find(By::Name("email")).await.unwrap().send_keys("pat@example.com").await.unwrap();
        driver.find(By::Name("password")).await.unwrap().send_keys("a long password").await.unwrap();
        driver.find(By::Css("form.card button.main")).await.unwrap().click().await.unwrap();
        driver.query(By::Css("#rows")).first().await.unwrap();
        assert_eq!(driver.current_url().await.unwrap().path(), QUEUE);

        // 2: no page works around its own policy; what it complains of is looked at in the end.
        let case = complaint(desk, "policy", 10).await.0;
        for path in
            ["/mine", "/search?q=%EB%B0%B0%EC%86%A1", &format!("/cases/{case}"), &format!("/cases/{case}?tab=log"), QUEUE]
        {
            open(desk, &driver, "ko", "light", path).await;
            let policy = ask(&driver, "(await fetch(location.href)).headers.get('content-security-policy')").await;
            let policy = policy.as_str().unwrap_or_default();
            assert!(policy.contains("default-src 'none'") && policy.contains("script-src 'self';"), "{path}: {policy:?}");
        }
        until_page(&driver, "all are here", "return document.querySelectorAll('.row').length === 25").await;

        pushed_in_time(desk, &driver, case).await;
        digits(&driver).await;

        // 17: a Korean layout makes ㅓ of J.
        key(&driver, "KeyJ", "ㅓ", json!({})).await;
        key(&driver, "KeyJ", "ㅓ", json!({})).await;
        let second = "[...document.querySelectorAll('.row')].indexOf(document.querySelector('[data-ui-selected]'))";
        assert_eq!(ask(&driver, second).await, 1, "two presses of J select the second row");

        // 5: fourteen posts come in and six cases move; no row does. Only the pointer holds the list: no key was used.
        open(desk, &driver, "ko", "light", QUEUE).await;
        until_page(&driver, "the line is up", UP).await;
        point_at(&driver, ".row:nth-child(3)").await;
        let before = places(&driver).await;
        assert!(before.as_object().unwrap().len() >= 5, "{before}");
        for n in 0..14 {
            complain(desk, &format!("late{n:02}"), 200 + n * 10);
        }
        let lead = desk.viewer("LE").await;
        let moved: Vec<CaseId> = desk
            .queue()
            .await
            .iter()
            .rev()
            .filter(|row| row.mention.text.whole().contains("buyer"))
            .take(6)
            .map(|row| row.case.id)
            .collect();
        for case in &moved {
            desk.app.desk.set_label(&lead, *case, Label::Proposal).await.unwrap();
        }
        until_page(
            &driver,
            "the pill counts",
            "return document.querySelector('#pill span').textContent === '새 글 14 · 순서 바뀜 6'",
        )
        .await;
        let chip = format!("return document.querySelector('#case-{} .chip').textContent.includes('제안')", moved[0].0);
        until_page(&driver, "its content is pushed all the same", &chip).await;
        assert_eq!(places(&driver).await, before);

        // 6: the order comes when it is asked for, and the selected case stays under the eyes.
        for _ in 0..3 {
            key(&driver, "KeyJ", "j", json!({})).await;
        }
        let drift = show_new_order(&driver, 39).await;
        assert!(drift.abs() <= 1.0, "{drift} px at the top");
        driver.execute("scrollTo(0, 200)", Vec::new()).await.unwrap();
        for n in 0..2 {
            complain(desk, &format!("later{n}"), 400 + n * 10);
        }
        until_page(
            &driver,
            "the pill counts again",
            "return document.querySelector('#pill:not([hidden]) span')?.textContent === '새 글 2'",
        )
        .await;
        let drift = show_new_order(&driver, 41).await;
        assert!(drift.abs() <= 1.0, "{drift} px when scrolled");

        struck(desk, &driver, case).await;
        claimed_by_another(desk, &driver).await;
        hostile(desk, &driver).await;
        assert_eq!(complaints(&driver).await, Vec::<String>::new());
        driver.quit().await.unwrap();
    })
    .await;
}

/// 4: what is stored is on the page in a quarter of a second.
async fn pushed_in_time(desk: &Desk, driver: &WebDriver, case: i64) {
    until_page(driver, "the line is up", UP).await;
    let watch = format!(
        "window.seen = {{}}; new MutationObserver(() => {{ const n = document.querySelector('#case-{case} .flags')?.textContent.trim(); if (n) seen[n] ??= Date.now(); }}).observe(document.body, {{ subtree: true, childList: true, characterData: true }})"
    );
    driver.execute(watch, Vec::new()).await.unwrap();
    let kg = desk.viewer("KG").await;
    let mut took = Vec::new();
    for n in 1..=12 {
        desk.app.desk.note(&kg, CaseId(case), format!("{n}")).await.unwrap();
        let stored = desk.clock.now().0;
        until_page(driver, "the row counts the note", &format!("return !!window.seen['{n}']")).await;
        took.push(ask(driver, &format!("window.seen['{n}']")).await.as_i64().unwrap() - stored);
    }
    took.sort_unstable();
    assert!(took[6] < 1_000 && took[11] < 2_000, "milliseconds from stored to visible: {took:?}");
}

/// 12: digits that cannot be misread and do not jump.
async fn digits(driver: &WebDriver) {
    let clock = "(await import(document.querySelector('script[src*=\"clock\"]').src)).countdown";
    for (left, shown) in
        [(3_600_000, json!(["1:00", "시간"])), (3_599_000, json!(["59:59", ""])), (-1_000, json!(["+00:01", ""]))]
    {
        assert_eq!(ask(driver, &format!("({clock})({left})")).await, shown);
    }
    let widths = "['11:11', '00:00'].map(text => { const time = document.querySelector('.row .left').cloneNode(); time.textContent = text; time.style.display = 'inline'; time.style.minWidth = 0; document.querySelector('.row .t').append(time); const range = document.createRange(); range.selectNodeContents(time); const { width } = range.getBoundingClientRect(); time.remove(); return width; })";
    let widths = ask(driver, widths).await;
    assert!(widths[0].as_f64() > Some(10.0) && widths[0] == widths[1], "{widths}");
}

/// 8: a press just after its row changed opens nothing; a later one does.
async fn struck(desk: &Desk, driver: &WebDriver, case: i64) {
    let press = format!(
        "sessionStorage.clear(); document.addEventListener('htmx:after:swap', () => {{ const at = performance.now(); setTimeout(() => {{ sessionStorage.after = performance.now() - at; document.querySelector('#case-{case} .p').dispatchEvent(new MouseEvent('click', {{ bubbles: true, cancelable: true, detail: 1 }})); }}, 200); }}, {{ once: true }})"
    );
    let kg = desk.viewer("KG").await;
    for n in 0.. {
        assert!(n < 5, "this machine is too slow to press in time");
        driver.execute(press.as_str(), Vec::new()).await.unwrap();
        desk.app.desk.note(&kg, CaseId(case), format!("again {n}")).await.unwrap();
        until_page(driver, "it was pressed", "return !!sessionStorage.after").await;
        if ask(driver, "Number(sessionStorage.after)").await.as_f64() < Some(450.0) {
            break;
        }
        driver.goto(format!("{}{QUEUE}", base(desk))).await.unwrap();
    }
    assert_eq!(driver.current_url().await.unwrap().path(), QUEUE);
    let outlined = format!("return document.querySelector('#case-{case}').hasAttribute('data-ui-struck')");
    until_page(driver, "the row is outlined", &outlined).await;
    until_page(driver, "the outline goes", &outlined.replace("return ", "return !")).await;
    let press = format!(
        "document.querySelector('#case-{case} .p').dispatchEvent(new MouseEvent('click', {{ bubbles: true, cancelable: true, detail: 1 }}))"
    );
    driver.execute(press, Vec::new()).await.unwrap();
    until_page(driver, "a later press opens", "return location.pathname.startsWith('/cases/')").await;
}

/// 7: a row that a colleague claims meanwhile stays where it is, and says so.
async fn claimed_by_another(desk: &Desk, driver: &WebDriver) {
    driver.goto(format!("{}{QUEUE}?owner=none", base(desk))).await.unwrap();
    until_page(driver, "the line is up", UP).await;
    point_at(driver, ".row:nth-child(3)").await;
    let before = places(driver).await;
    let number = ask(driver, "document.querySelector('.row:nth-child(3)').dataset.number").await.as_str().unwrap().to_owned();
    let sb = desk.viewer("SB").await;
    desk.app.desk.claim(&sb, CaseId(number.parse().unwrap())).await.unwrap();
    let row = format!("document.querySelector('#case-{number}')");
    until_page(driver, "the row says who", &format!("return {row}.querySelector('.gone')?.textContent === 'SB 님이 맡았어요'"))
        .await;
    assert_eq!(ask(driver, &format!("{row}.querySelectorAll('button').length")).await, 0);
    assert_eq!(ask(driver, &format!("getComputedStyle({row}.querySelector('.p')).opacity")).await, "0.55");
    assert_eq!(places(driver).await, before);
}

/// 27: a post that would like to run, to turn the text around and to break out of its row.
async fn hostile(desk: &Desk, driver: &WebDriver) {
    let text = format!(
        "적대 배송 <script>window.pwned=1</script><img src=x onerror=window.pwned=1> \u{202e}txet denrut\u{202c}{} [눌러요](javascript:window.pwned=1) javascript:window.pwned=1",
        "\u{200b}\u{200d}\u{2060}".repeat(100)
    );
    desk.sample.post("h<b>x", &text, None, Some(SHOP), desk.clock.now(), None);
    let row = desk.case_saying("적대 배송").await;
    let (number, team) = (row.case.id.0, desk.app.store.catalog().team(row.case.team).unwrap().key.clone());
    for path in [format!("/queue/{team}"), format!("/cases/{number}"), "/search?q=%EC%A0%81%EB%8C%80".into()] {
        open(desk, driver, "ko", "light", &path).await;
        let text = "document.querySelector('main').innerText";
        until_page(driver, "it is shown as text", &format!("return {text}.includes('<script>window.pwned=1</script>')")).await;
        assert_eq!(ask(driver, &format!("/[\\u202a-\\u202e\\u2066-\\u2069\\u200b]/.test({text})")).await, false, "{path}");
        assert_eq!(ask(driver, "window.pwned ?? null").await, Value::Null, "{path}");
        assert_eq!(ask(driver, "[...document.links].filter(link => !/^https?:/.test(link.href)).length").await, 0, "{path}");
        assert_eq!(ask(driver, "document.querySelectorAll('main img, main script').length").await, 0, "{path}");
        let wide = ask(driver, "document.documentElement.scrollWidth - innerWidth").await;
        assert!(wide.as_i64() <= Some(0), "{path} is {wide} px too wide");
        if path.starts_with("/queue") {
            assert_eq!(ask(driver, &format!("document.querySelector('#case-{number}').offsetHeight")).await, 64);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clocks_are_the_servers_and_the_line_heals() {
    kit::run_on(Clock::System, async |desk| {
        let chrome = Chrome::start();
        let driver = chrome.window(1440, 900).await;
        let proxy = Proxy::start(desk.app.address).await;
        sign_in(desk, &driver, "KG").await;
        let hour = "{ const Real = Date, off = 3600000; window.Date = class extends Real { constructor(...given) { given.length ? super(...given) : super(Real.now() + off); } static now() { return Real.now() + off; } }; }";
        devtools(&driver, "Page.addScriptToEvaluateOnNewDocument", json!({ "source": hour })).await;

        // 13: the first request for the stream fails, the second comes soon.
        let case = complaint(desk, "clock", 30).await.0;
        proxy.answer_once("GET /live?", "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        driver.goto(format!("{}{QUEUE}", proxy.url)).await.unwrap();
        desk.until("the stream is asked for again", async |_| (proxy.streams().len() >= 2).then_some(())).await;
        until_page(&driver, "the page is live", UP).await;

        // 10: the browser's clock is an hour off, what is left is not.
        let row = format!("document.querySelector('#case-{case}')");
        let due = ask(&driver, &format!("{row}.dataset.due")).await.as_str().unwrap().parse::<i64>().unwrap();
        assert!((ask(&driver, "Date.now()").await.as_i64().unwrap() - desk.clock.now().0 - 3_600_000).abs() < 60_000);
        let (mut looks, mut shown) = (0, Vec::new());
        while looks < 60 || shown.len() < 3 {
            assert!(looks < 2_000, "the digits stand still: {shown:?}");
            looks += 1;
            let before = desk.clock.now().0;
            let digits = ask(&driver, &format!("{row}.querySelector('.left').textContent")).await.as_str().unwrap().to_owned();
            let after = desk.clock.now().0;
            let (minutes, seconds) = digits.split_once(':').unwrap();
            let said = (minutes.parse::<i64>().unwrap() * 60 + seconds.parse::<i64>().unwrap()) * 1_000;
            assert!((due - after - 5_000..=due - before + 10_000).contains(&said), "{digits} is not {} ms", due - after);
            if shown.last() != Some(&digits) {
                shown.push(digits);
            }
            kit::breathe().await;
        }

        // The pushed row is faster than the answer, and takes the pressed button away; the answer shows all the same.
        proxy.hold_answers(true);
        driver.execute(format!("{row}.querySelector('button.a').click()"), Vec::new()).await.unwrap();
        until_page(&driver, "the row is pushed", &format!("return !{row}.querySelector('button.a')")).await;
        proxy.hold_answers(false);
        until_page(&driver, "it can be undone", "return !!document.querySelector('#toast [data-key=z]')").await;

        // 13: what came while the line was cut is not missed.
        let asked = proxy.streams().len();
        proxy.cut_streams(true).await;
        let missed = complaint(desk, "missed", 30).await.0;
        proxy.cut_streams(false).await;
        until_page(&driver, "it came after all", &format!("return !!document.querySelector('#case-{missed}')")).await;
        let again = proxy.streams().split_off(asked);
        assert!(again.iter().flatten().any(|id| id.parse::<i64>().is_ok()), "no Last-Event-ID: {again:?}");

        // 11: a cut line does not keep a row from being overdue.
        let late = complaint(desk, "late", 340).await;
        let row = format!("document.querySelector('#case-{}')", late.0);
        until_page(&driver, "it is there in time", &format!("return !!{row} && {row}.dataset.state !== 'breached'")).await;
        let due = ask(&driver, &format!("{row}.dataset.due")).await.as_str().unwrap().parse::<i64>().unwrap();
        proxy.cut_streams(true).await;
        until_page(&driver, "it is overdue", &format!("return {row}.dataset.state === 'breached'")).await;
        let over = desk.clock.now().0 - due;
        assert!((-50..15_000).contains(&over), "overdue {over} ms after its deadline");
        until_page(&driver, "it counts up", &format!("return /^\\+00:(?!00)[0-5]\\d$/.test({row}.querySelector('.left').textContent)")).await;
        until_page(&driver, "the page says that it is cut off", "return !document.querySelector('#lost').hidden").await;

        refused_by_us(desk, &driver, &proxy, CaseId(case)).await;
        let trouble = complaints(&driver).await;
        assert_eq!(trouble, Vec::<String>::new());
        driver.quit().await.unwrap();
    })
    .await;
}

/// 21: the server fails on a reply; nothing is lost and nothing is queued.
async fn refused_by_us(desk: &Desk, driver: &WebDriver, proxy: &Proxy, case: CaseId) {
    driver.goto(format!("{}/cases/{}", proxy.url, case.0)).await.unwrap();
    let field = driver.query(By::Id("reply-text")).first().await.unwrap();
    let text = "확인해서 알려 드릴게요.";
    field.send_keys(text).await.unwrap();
    proxy.answer_once(
        "POST /cases/",
        "HTTP/1.1 500 Internal Server Error\r\nX-Error-Id: c0ffee0123\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    );
    key(driver, "Enter", "Enter", json!({ "modifiers": 2, "windowsVirtualKeyCode": 13 })).await;
    let trouble = "document.querySelector('#reply-form .trouble')";
    until_page(driver, "it says so", &format!("return !{trouble}.hidden && {trouble}.textContent.includes('c0ffee0123')"))
        .await;
    assert_eq!(ask(driver, "document.querySelector('#reply-text').value").await, text);
    assert!(desk.look(case).await.replies.is_empty());
    driver.find(By::Css("#reply-form [data-send]")).await.unwrap().click().await.unwrap();
    until_page(driver, "the second try is taken", "return document.querySelector('#reply-text').value === ''").await;
    assert_eq!(desk.look(case).await.replies.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_typed_is_sent_once_or_comes_back() {
    kit::run_on(Clock::System, async |desk| {
        let chrome = Chrome::start();
        let driver = chrome.window(1440, 900).await;
        sign_in(desk, &driver, "KG").await;
        let case = complaint(desk, "typed", 30).await;
        open(desk, &driver, "ko", "light", &format!("/cases/{}", case.0)).await;
        let field = driver.query(By::Id("reply-text")).first().await.unwrap();
        field.click().await.unwrap();
        let value = "document.querySelector('#reply-text').value";
        let sends = "window.sends = 0; document.addEventListener('htmx:before:request', e => { if (e.target.id === 'reply-form') sends += 1; })";
        driver.execute(sends, Vec::new()).await.unwrap();

        // 17: the key that moves in a list types in a field.
        key(&driver, "KeyJ", "ㅓ", json!({})).await;
        assert_eq!(ask(&driver, value).await, "ㅓ");
        field.clear().await.unwrap();
        field.click().await.unwrap();

        // A colleague's note redraws the head of the case around an open menu; what is written in it stays.
        driver.find(By::Css("summary[data-key=t]")).await.unwrap().click().await.unwrap();
        driver.find(By::Css("input[name=reason]")).await.unwrap().send_keys("물류 쪽 일이에요").await.unwrap();
        let sb = desk.viewer("SB").await;
        desk.app.desk.note(&sb, case, "살펴보는 중".into()).await.unwrap();
        until_page(&driver, "the note is pushed", "return !!document.querySelector('#thread .note')").await;
        let reason = "document.querySelector('details.menu[open] input[name=reason]')?.value ?? null";
        assert_eq!(ask(&driver, reason).await, "물류 쪽 일이에요");
        field.click().await.unwrap();

        // 16: Ctrl+Enter ends a composition and no more.
        devtools(&driver, "Input.imeSetComposition", json!({ "text": "살펴볼게요", "selectionStart": 5, "selectionEnd": 5 })).await;
        assert_eq!(ask(&driver, value).await, "살펴볼게요");
        for code in [229, 13] {
            key(&driver, "Enter", "Process", json!({ "modifiers": 2, "windowsVirtualKeyCode": code, "type": "rawKeyDown" })).await;
        }
        for _ in 0..LOOKS {
            assert_eq!(ask(&driver, "sends").await, 0);
            kit::breathe().await;
        }
        assert!(desk.look(case).await.replies.is_empty());
        devtools(&driver, "Input.insertText", json!({ "text": "살펴볼게요" })).await;
        assert_eq!(ask(&driver, value).await, "살펴볼게요");
        driver.execute("document.querySelector('#reply-text').setSelectionRange(2, 2)", Vec::new()).await.unwrap();
        key(&driver, "Enter", "Enter", json!({ "modifiers": 2, "windowsVirtualKeyCode": 13 })).await;
        until_page(&driver, "the outbox has it", &format!("return {value} === ''")).await;
        assert_eq!(ask(&driver, "sends").await, 1);
        assert_eq!(desk.look(case).await.replies.len(), 1);

        // 22: taken back in time: nothing goes out, text and caret are there again.
        until_page(&driver, "the toast offers it too", "return !!document.querySelector('#toast [data-key=z]')").await;
        driver.query(By::Css("#thread .reply [data-key=z]")).first().await.unwrap().click().await.unwrap();
        until_page(&driver, "the text is back", &format!("return {value} === '살펴볼게요'")).await;
        assert_eq!(ask(&driver, "document.querySelector('#reply-text').selectionStart").await, 2);
        assert_eq!(desk.look(case).await.replies[0].0.state, ReplyState::Undone);
        key(&driver, "Enter", "Enter", json!({ "modifiers": 2, "windowsVirtualKeyCode": 13 })).await;
        until_page(&driver, "the outbox has it again", &format!("return {value} === ''")).await;
        desk.until("it went out", async |desk| {
            desk.look(case).await.replies.iter().any(|(reply, _)| reply.state == ReplyState::Sent).then_some(())
        })
        .await;
        assert_eq!(desk.sample.posts_by(SHOP).len(), 1, "one post for two sends and one undo");
        until_page(&driver, "the page says that it was sent", "return !!document.querySelector('#thread .reply[data-state=sent]')").await;
        assert_eq!(complaints(&driver).await, Vec::<String>::new());
        driver.quit().await.unwrap();
    })
    .await;
}

/// 3: all of it by whole pages.
#[tokio::test(flavor = "multi_thread")]
async fn who_was_signed_out_meanwhile_reads_why_nothing_was_sent() {
    kit::run_on(Clock::System, async |desk| {
        let chrome = Chrome::start();
        let driver = chrome.window(1440, 900).await;
        sign_in(desk, &driver, "KG").await;
        let case = complaint(desk, "late", 30).await;
        open(desk, &driver, "en", "light", &format!("/cases/{}", case.0)).await;
        driver.query(By::Id("reply-text")).first().await.unwrap().send_keys("It is on its way").await.unwrap();
        driver.delete_cookie("moksori").await.unwrap();
        driver.find(By::Css("#reply-form [data-send]")).await.unwrap().click().await.unwrap();
        let told = "return document.querySelector('#toast').textContent.includes('You were signed out') \
                    && document.querySelector('#reply-text').value === 'It is on its way'";
        until_page(&driver, "it says who must sign in again, and keeps the text", told).await;
        driver.find(By::Css("#toast button")).await.unwrap().click().await.unwrap();
        until_page(&driver, "one can sign in", "return location.pathname === '/sign-in'").await;
        assert!(driver.current_url().await.unwrap().query().is_some_and(|query| query.contains("cases")));
        driver.quit().await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_script_a_case_is_claimed_answered_and_resolved() {
    kit::run_on(Clock::System, async |desk| {
        let chrome = Chrome::start();
        let driver = chrome.window_with(1440, 900, json!({ "profile.managed_default_content_settings.javascript": 2 })).await;
        let case = complaint(desk, "plain", 30).await;
        sign_in(desk, &driver, "KG").await;
        driver.goto(format!("{}{QUEUE}", base(desk))).await.unwrap();
        let live = driver.find(By::Id("live-state")).await.unwrap();
        assert!(!live.is_displayed().await.unwrap(), "the page's script ran");
        point_at(&driver, &format!("#case-{}", case.0)).await;
        driver.find(By::Css(format!("#case-{} button.a", case.0))).await.unwrap().click().await.unwrap();
        driver.query(By::Id("reply-text")).first().await.unwrap().send_keys("오늘 안에 알려 드릴게요.").await.unwrap();
        assert_eq!(driver.current_url().await.unwrap().path(), format!("/cases/{}", case.0));
        driver.find(By::Css("#reply-form [data-send]")).await.unwrap().click().await.unwrap();
        driver.query(By::Css("#thread .reply")).first().await.unwrap();
        driver.find(By::Css("summary[data-key=e]")).await.unwrap().click().await.unwrap();
        driver.find(By::Css("select[name=disposition] option[value=solved]")).await.unwrap().click().await.unwrap();
        driver.find(By::Css("form[action$='/resolve'] button.main")).await.unwrap().click().await.unwrap();
        let view = desk
            .until("it is resolved", async |desk| {
                let view = desk.look(case).await;
                (view.case.status == Status::Resolved).then_some(view)
            })
            .await;
        assert_eq!((view.assignee.as_deref(), view.replies.len()), (Some("KG"), 1));
        driver.quit().await.unwrap();
    })
    .await;
}
