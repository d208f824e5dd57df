//! What a person reads when a request is refused, and what becomes of what they typed.

use super::*;

const TYPED: &str = "늦어서 미안해요 <b>";

fn encoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// A form of the page of case 1, sent without a script.
async fn send(shop: &Shop, path: &str, who: Option<&Who>, language: &str, fields: &str) -> Got {
    let headers = [
        ("content-type", "application/x-www-form-urlencoded"),
        ("accept", "text/html"),
        ("accept-language", language),
        ("referer", "http://shop.example/cases/1?tab=log"),
    ];
    shop.ask(Method::POST, path, who, &headers, fields).await
}

#[tokio::test]
async fn what_cannot_be_read_is_refused_in_the_language_of_the_page() {
    let shop = Shop::open().await;
    let who = shop.hire("KG", &[("cs", Role::Agent)]).await;
    shop.post("cs", "배송이 멈췄어요", MINUTE, None).await;
    let wrong = format!("csrf={}&version=x", who.csrf);
    for (language, words) in [("ko", "보낸 내용을 읽지 못했어요"), ("en", "could not be read")] {
        let page = send(&shop, "/cases/1/claim", Some(&who), language, &wrong).await;
        assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert!(page.text.contains(words) && page.text.contains("<h1"), "{}", page.text);
        let toast = shop.form("/cases/1/claim", &who, "version=x", language).await;
        assert_eq!(toast.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert!(toast.text.contains(words) && toast.text.contains("hx-partial"), "{}", toast.text);
    }
    for (path, fields) in [("/saved", "q=a&name=x&alert=count&least="), ("/presence", "case=x")] {
        let page = send(&shop, path, Some(&who), "ko", &format!("csrf={}&{fields}", who.csrf)).await;
        assert!(page.text.contains("읽지 못했어요") && !page.text.contains("deserialize"), "{path}: {}", page.text);
    }
    for path in ["/search?q=a&page=x", "/search?like=x", "/exports/x/csv"] {
        let page = shop.get(path, Some(&who)).await;
        assert_eq!(page.status, StatusCode::BAD_REQUEST, "{path}");
        assert!(page.text.contains("읽지 못했어요"), "{path}: {}", page.text);
    }
    // The address of a form that was refused, asked for again.
    let page = shop.get("/cases/1/reply", Some(&who)).await;
    assert_eq!(page.status, StatusCode::METHOD_NOT_ALLOWED);
    assert!(page.text.contains("이 주소에는 화면이 없어요"), "{}", page.text);
    let unknown = shop.form("/cases/1/label", &who, "label=foo", "ko").await;
    assert!(unknown.text.contains("‘foo’는 모르는 값이에요"), "{}", unknown.text);
    shop.close().await;
}

#[tokio::test]
async fn what_was_typed_comes_back_with_every_refusal_and_the_way_to_go_on() {
    let shop = Shop::open().await;
    let who = shop.hire("KG", &[("cs", Role::Agent)]).await;
    shop.post("cs", "배송이 멈췄어요", MINUTE, None).await;
    let typed = format!("text={}", encoded(TYPED));
    let long = format!("csrf={}&text={}", who.csrf, "a".repeat(100_000));
    let cases = [
        (format!("csrf={}&version=x&{typed}", who.csrf), StatusCode::UNPROCESSABLE_ENTITY, "늦어서 미안해요 &#60;b&#62;"),
        (format!("csrf=old&{typed}"), StatusCode::FORBIDDEN, "늦어서 미안해요 &#60;b&#62;"),
        (long, StatusCode::PAYLOAD_TOO_LARGE, "aaaa"),
    ];
    for (fields, status, kept) in cases {
        let page = send(&shop, "/cases/1/reply", Some(&who), "ko", &fields).await;
        assert_eq!(page.status, status);
        assert!(page.text.contains("<textarea") && page.text.contains(kept), "{}", page.text);
        assert!(page.text.contains("href=\"/cases/1?tab=log\""), "{}", page.text);
    }
    let huge = send(&shop, "/cases/1/reply", Some(&who), "ko", &"a".repeat(300_000)).await;
    assert_eq!(huge.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert!(huge.text.contains("줄여서 다시"), "{}", huge.text);

    // The session has ended meanwhile.
    let there = "/sign-in?next=%2Fcases%2F1%3Ftab%3Dlog";
    let page = send(&shop, "/cases/1/reply", None, "ko", &typed).await;
    assert_eq!(page.status, StatusCode::UNAUTHORIZED);
    assert!(page.text.contains("늦어서 미안해요") && page.text.contains(there), "{}", page.text);
    let page = send(&shop, "/cases/1/claim", None, "ko", "").await;
    assert_eq!((page.status, page.header("location")), (StatusCode::SEE_OTHER, there));
    // A password is not typed text.
    let page = send(&shop, "/sign-in", Some(&who), "ko", "csrf=old&email=a@b.kr&password=secret").await;
    assert!(page.status == StatusCode::FORBIDDEN && !page.text.contains("secret"), "{}", page.text);
    shop.close().await;
}

#[tokio::test]
async fn the_choice_of_a_receiver_says_that_people_are_among_them() {
    let shop = Shop::open().await;
    let who = shop.hire("KG", &[("cs", Role::Agent)]).await;
    shop.post("cs", "배송이 멈췄어요", MINUTE, None).await;
    let page = shop.get("/cases/1", Some(&who)).await.text;
    assert!(page.contains("<label>받을 팀이나 사람<select name=\"to\""), "{page}");
    shop.close().await;
}
