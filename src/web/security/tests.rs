use super::*;

fn request(pairs: &[(&str, &str)]) -> HeaderMap {
    pairs.iter().map(|(name, value)| (name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap())).collect()
}

#[test]
fn only_a_page_of_ours_changes_anything() {
    let cookies = Cookies { tls: false };
    let session = Token::new();
    let cookie = format!("lang=ko; moksori={}", session.reveal());
    let right = format!("text=a%26b&csrf={}", session.csrf());
    let form = ("content-type", "application/x-www-form-urlencoded");
    let token = session.csrf();
    let table: &[(&str, &[(&str, &str)], &str, bool)] = &[
        ("token in the form", &[("cookie", &cookie), form, ("host", "desk:80"), ("origin", "http://desk:80")], &right, true),
        ("token in the header", &[("cookie", &cookie), ("x-csrf-token", &token)], "", true),
        ("no token", &[("cookie", &cookie), form], "text=a", false),
        ("another session's token", &[("cookie", &cookie), form], &format!("csrf={}", Token::new().csrf()), false),
        ("the session's own token", &[("cookie", &cookie), form], &format!("csrf={}", session.reveal()), false),
        ("a form sent as text", &[("cookie", &cookie), ("content-type", "text/plain")], &right, false),
        ("another site", &[("cookie", &cookie), form, ("host", "desk:80"), ("origin", "https://evil.example")], &right, false),
        (
            "a host that begins like ours",
            &[("cookie", &cookie), form, ("host", "desk"), ("origin", "http://desk.evil")],
            &right,
            false,
        ),
        ("a sandboxed page", &[("cookie", &cookie), form, ("host", "desk"), ("origin", "null")], &right, false),
        ("a sister site", &[("cookie", &cookie), form, ("sec-fetch-site", "same-site")], &right, false),
        ("signing in", &[form, ("sec-fetch-site", "same-origin")], "email=a", true),
        ("signing in from elsewhere", &[form, ("sec-fetch-site", "cross-site")], "email=a", false),
    ];
    for (name, headers, body, answer) in table {
        assert_eq!(trusted(cookies, &request(headers), body.as_bytes()), *answer, "{name}");
    }
}

#[test]
fn a_session_cookie_is_out_of_reach_of_scripts_and_bound_to_the_host_under_tls() {
    let token = Token::new();
    let plain = Cookies { tls: false }.start(&token, Duration::from_secs(60));
    assert_eq!(plain, format!("moksori={}; Path=/; Max-Age=60; SameSite=Lax; HttpOnly", token.reveal()));
    let tls = Cookies { tls: true };
    let bound = tls.start(&token, Duration::from_secs(60));
    assert_eq!(bound, format!("__Host-moksori={}; Path=/; Max-Age=60; SameSite=Lax; HttpOnly; Secure", token.reveal()));
    let found = tls.session(&request(&[("cookie", &format!("a=b; __Host-moksori={}", token.reveal()))])).unwrap();
    assert_eq!(found.stored(), token.stored());
    assert!(tls.session(&request(&[("cookie", &format!("moksori={}", token.reveal()))])).is_none());
    assert!(tls.session(&request(&[("cookie", "__Host-moksori=short")])).is_none());
    assert!(tls.end().to_str().unwrap().contains("Max-Age=0"));
    assert_eq!(format!("{token:?}"), "[redacted]");
    assert_ne!(Token::new().reveal(), Token::new().reveal());
}

#[test]
fn a_password_is_kept_as_argon2id_and_nobody_is_told_apart() {
    let hash = hash_password("바른 말 고운 말").unwrap();
    assert!(hash.starts_with("$argon2id$"), "{hash}");
    assert!(verify_password(Some(&hash), "바른 말 고운 말"));
    assert!(!verify_password(Some(&hash), "바른 말"));
    assert!(!verify_password(None, ""));
    assert!(!verify_password(Some("broken"), ""));
}

#[test]
fn ten_tries_a_minute_for_each_email_and_each_address() {
    let throttle = Throttle::default();
    let at = |seconds: i64| Time(1_000_000 + seconds * 1_000);
    for second in 0..10 {
        assert!(throttle.admit("A@b.kr", &format!("10.0.0.{second}"), at(second)).is_ok());
    }
    assert_eq!(throttle.admit(" a@B.kr", "10.0.0.99", at(20)), Err(Duration::from_secs(40)));
    assert!(throttle.admit("c@b.kr", "10.0.0.99", at(20)).is_ok());
    assert!(throttle.admit("a@b.kr", "10.0.0.99", at(60)).is_ok());
    assert!(throttle.admit("a@b.kr", "10.0.0.99", at(60)).is_err());
    throttle.clear("a@b.kr");
    assert!(throttle.admit("a@b.kr", "10.0.0.98", at(60)).is_ok());
    for second in 0..10 {
        assert!(throttle.admit(&format!("{second}@b.kr"), "9.9.9.9", at(70)).is_ok());
    }
    assert!(throttle.admit("new@b.kr", "9.9.9.9", at(70)).is_err());
}

#[test]
fn after_signing_in_one_stays_on_this_site() {
    for (next, path) in [
        ("/queue/cs-1?label=complaint", "/queue/cs-1?label=complaint"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("https://evil.example", "/"),
        ("", "/"),
        ("/a\nb", "/"),
    ] {
        assert_eq!(local_path(next), path);
    }
}
