//! What is wrong with a connector file is found when it is read, with its line, key and remedy.

use std::path::Path;

use super::*;
use crate::connect::format::Do;

const GOOD: &str = r#"connector = "demo"
format = 1
instance = "{{ account.host }}"

[map]
native_id = "$.id"
author_id = "$.by"

[[stream]]
name = "posts"
path = "/posts"
records = "$.items[*]"
cursor = "$.id"

[[error]]
status = ["503"]
do = "back_off"

[[error]]
status = ["400"]
body = "$.rate_limited"
do = "back_off"
"#;

fn parse(text: &str) -> Result<ConnectorFile, FileError> {
    ConnectorFile::parse(Path::new("demo.toml"), text)
}

#[test]
fn a_broken_file_is_refused_with_line_key_and_remedy() {
    assert!(parse(GOOD).is_ok());
    for (from, to, line, key, message) in [
        ("format = 1", "format = 2", 2, "format", "format 2 is not 1"),
        ("connector = \"demo\"", "connector = \"De mo\"", 1, "connector", "lower-case"),
        ("format = 1", "format = 1\nhost = \"x\"", 3, "host", "unknown field `host`"),
        ("\"/posts\"", "\"/posts/{{ acount.id }}\"", 11, "path", "unknown value `acount`"),
        ("$.items[*]", "$.items[", 12, "records", "RFC 9535"),
        ("cursor = \"$.id\"", "pace = 2", 9, "cursor", "needs a cursor"),
        ("cursor = \"$.id\"", "cursor = \"$.id\"\npace = 0", 14, "pace", "start at 1"),
        (
            "cursor = \"$.id\"",
            "cursor = \"$.id\"\norder = \"newest_first\"\npage = { kind = \"cursor\" }",
            15,
            "page",
            "walks upwards",
        ),
        ("cursor = \"$.id\"", "cursor = \"$.id\"\norder = \"sideways\"", 14, "order", "sideways"),
        ("[\"503\"]", "[\"5x\"]", 16, "status", "not a status"),
        ("\"back_off\"", "\"panic\"", 17, "do", "panic"),
        ("[map]", "[request]\ntimeout = \"soon\"\n[map]", 6, "timeout", "not a span of time"),
        ("native_id = \"$.id\"\n", "", 5, "", "native_id"),
    ] {
        let error = parse(&GOOD.replacen(from, to, 1)).unwrap_err();
        assert!(error.message.contains(message), "{to}: {error}");
        assert_eq!(error.line, line, "{error}");
        assert_eq!(error.key.as_deref().unwrap_or(""), key, "{error}");
        assert!(!error.remedy.is_empty() && error.to_string().starts_with(&format!("demo.toml:{line}: ")), "{error}");
    }
}

#[test]
fn two_streams_of_one_name_are_told_apart_by_line() {
    let stream = &GOOD[GOOD.find("[[stream]]").unwrap()..GOOD.find("[[error]]").unwrap()];
    let error =
        parse(&GOOD.replace("[[error]]\nstatus = [\"503\"]", &format!("{stream}[[error]]\nstatus = [\"503\"]"))).unwrap_err();
    assert_eq!((error.line, error.key.as_deref()), (16, Some("name")), "{error}");
}

#[test]
fn the_first_row_that_fits_an_error_counts() {
    let file = parse(GOOD).unwrap();
    let none = serde_json::Value::Null;
    for (status, body, expected) in [
        (503, none.clone(), Do::BackOff),
        (500, none.clone(), Do::Retry),
        (429, none.clone(), Do::BackOff),
        (400, none.clone(), Do::Stop),
        (400, serde_json::json!({"rate_limited": true}), Do::BackOff),
        (302, none, Do::Stop),
    ] {
        assert_eq!(file.on_error(status, &body), expected, "{status} {body}");
    }
}
