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

/// One file with every key of the format.
const WHOLE: &str = include_str!("tests/whole.toml");

#[test]
fn a_file_may_hold_every_key_of_the_format() {
    let file = ConnectorFile::parse(std::path::Path::new("whole.toml"), WHOLE).unwrap();
    assert_eq!((file.streams.len(), file.actions.len()), (5, 1));
    assert_eq!(file.settings[1].default.as_deref(), Some("v26.0"));
}

#[test]
fn what_spans_keys_is_checked_with_line_key_and_remedy() {
    for (good, bad, key, message) in [
        ("zone = \"Asia/Seoul\"", "zone = \"Asia/Soul\"", "zone", "`Asia/Soul` is no time zone"),
        ("units = 25000", "units = 5", "units", "nothing is left to poll with"),
        ("pattern = \"rem:(\\\\d+)\"", "pattern = \"rem\"", "rate_in", "has no group"),
        ("per_query = true", "per_query = false", "query", "no query is walked for"),
        ("since = \"{{ cursor }}\"", "since = \"now\"", "since", "does not read the mark"),
        (
            "[[stream.live.event]]\nname = \"update\"",
            "[[stream.live.event]]\nname = \"update\"\nkind = 1",
            "kind",
            "unknown field",
        ),
        ("kind = \"sse\"", "kind = \"ndjson\"", "name", "only server-sent events have names"),
        ("allowed = \"{{ extra.summoned }}\"", "allowed = \"true\"", "allowed", "does not read `extra`"),
        ("thread = { max = 5 }", "thread = { max = 0 }", "thread", "max of 1 or more"),
        (
            "signature = { header = \"webhook-signature\", prefix = \"v1,\", encoding = \"base64\"",
            "signature = { header = \"webhook-signature\", prefix = \"v1,\", encoding = \"base32\"",
            "signature",
            "unknown variant",
        ),
        ("settings = [\"app_id\", ", "settings = [\"app_id\", 3, ", "settings", "a setting is \"name\" or"),
        ("facets = \"{{ reply.facets }}\"", "facets = \"{{ env.HOME }}\"", "", "unknown value `env`"),
        ("refresh = \"$.refresh_token\"", "", "refresh", "the refresh has nothing to send"),
    ] {
        assert!(WHOLE.contains(good), "{good}");
        let text = WHOLE.replacen(good, bad, 1);
        let error = ConnectorFile::parse(std::path::Path::new("whole.toml"), &text).unwrap_err();
        assert!(error.message.contains(message), "{good}: {error}");
        assert!(error.line > 1 && error.key.clone().unwrap_or_default().contains(key), "{good}: {error}");
    }
}
