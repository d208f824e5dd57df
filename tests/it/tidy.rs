//! House rules that a machine can hold: what a file opens with, how long it is, what it leaves undone.

use std::{
    fs,
    path::{Path, PathBuf},
};

use regex::Regex;

const MAX_LINES: usize = 700;

/// The files that may do what the compiler cannot check: one calls C, one maps a file.
const UNSAFE: [&str; 2] = ["src/bus/kafka/topic_id.rs", "src/classify/model/file.rs"];

/// What follows is a file's tests.
const TESTS: &str = "#[cfg(test)]\nmod tests {";

/// The Rust sources under `dir`, sorted, with their text.
pub fn sources(dir: &str) -> Vec<(PathBuf, String)> {
    files(dir, &["rs"])
}

/// The files under `dir` whose name ends in one of `extensions`, sorted, with their text.
pub fn files(dir: &str, extensions: &[&str]) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut dirs = vec![PathBuf::from(dir)];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display())) {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else if path.extension().is_some_and(|name| extensions.iter().any(|known| name == *known)) {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path, text));
            }
        }
    }
    found.sort();
    assert!(!found.is_empty(), "{dir} has no sources");
    found
}

/// The text without line comments; what stands in a string is code.
pub fn without_comments(text: &str) -> String {
    let comment = Regex::new(r#"(?m)(^|[^:"'])//.*$"#).unwrap();
    comment.replace_all(text, "$1").into_owned()
}

/// The text without comments and without its tests.
pub fn production(text: &str) -> String {
    let code = without_comments(text);
    code.split_once(TESTS).map_or(code.as_str(), |(production, _)| production).to_owned()
}

fn all() -> Vec<(PathBuf, String)> {
    ["src", "tests", "benches"].into_iter().flat_map(sources).collect()
}

/// What is wrong with one file.
fn complaints(path: &Path, text: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    if !text.starts_with("//! ") && !text.starts_with("#![doc = include_str!(") {
        complaints.push("does not open with //!".to_owned());
    }
    let lines = text.lines().count();
    if lines > MAX_LINES {
        complaints.push(format!("has {lines} lines, more than {MAX_LINES}"));
    }
    // Built from parts, or this file would find itself.
    let mut forbidden = ["todo!", "unimplemented!", "dbg!"].map(|name| format!(r"\b{name}[(\[{{]")).to_vec();
    forbidden.extend([r"#\[ignore\b", r"#!?\[allow\("].map(str::to_owned));
    let in_test = path.starts_with("tests") || path.ends_with("tests.rs");
    let kit = path.starts_with("tests/it/kit") || path.ends_with("tests/it/kit.rs");
    let code = without_comments(text);
    let (production, tests) = code.split_once(TESTS).unwrap_or((&code, ""));
    for pattern in forbidden {
        if let Some(found) = Regex::new(&pattern).unwrap().find(&code) {
            complaints.push(format!("has {}", found.as_str()));
        }
    }
    let unsafety = Regex::new(&format!(r"\b{0}\b|\b{0}_code\b", concat!("un", "safe"))).unwrap();
    if !UNSAFE.iter().any(|allowed| path.ends_with(allowed)) && unsafety.is_match(&code) {
        complaints.push(format!("is not safe, which only {} may be", UNSAFE.join(" and ")));
    }
    let sleep = Regex::new(r"\b(thread|time)::sleep\(|\buse (std::thread|tokio::time)::[^;]*\bsleep\b").unwrap();
    let tested = if in_test { production } else { tests };
    if !kit && let Some(found) = sleep.find(tested) {
        complaints.push(format!("sleeps in a test: {}", found.as_str()));
    }
    complaints
}

#[test]
fn every_file_keeps_the_house_rules() {
    let mut wrong = Vec::new();
    for (path, text) in all() {
        wrong.extend(complaints(&path, &text).into_iter().map(|complaint| format!("{} {complaint}", path.display())));
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn the_rules_find_what_they_forbid() {
    let doc = "//! What it is.\n";
    let cases = [
        ("src/a.rs", "fn main() {}".to_owned(), "does not open with //!"),
        ("src/a.rs", format!("{doc}{}", "\n".repeat(MAX_LINES)), "has 701 lines, more than 700"),
        ("src/a.rs", format!("{doc}fn a() {{ {}!() }}", "todo"), "has todo!"),
        ("src/a.rs", format!("{doc}#{}\nfn a() {{}}", "[ignore]"), "has #["),
        ("src/a.rs", format!("{doc}#[{}(dead_code)]", "allow"), "has #["),
        ("src/a.rs", format!("{doc}{} {{}}", concat!("un", "safe")), "is not safe"),
        ("src/a.rs", format!("{doc}#![expect({}_code)]", concat!("un", "safe")), "is not safe"),
        ("tests/it/a.rs", format!("{doc}std::thread::{}(a);", "sleep"), "sleeps in a test"),
        ("src/a/tests.rs", format!("{doc}tokio::time::{}(a).await;", "sleep"), "sleeps in a test"),
        (
            "src/a.rs",
            format!("{doc}#[cfg(test)]\nmod tests {{\n    tokio::time::{}(a).await;\n}}", "sleep"),
            "sleeps in a test",
        ),
    ];
    for (path, text, expected) in cases {
        let found = complaints(Path::new(path), &text);
        assert!(found.len() == 1 && found[0].starts_with(expected), "{text}\n{found:?}");
    }
    for (path, text) in [
        (UNSAFE[1], format!("{doc}{} {{}}", concat!("un", "safe"))),
        ("src/clock.rs", format!("{doc}tokio::time::{}(left).await;", "sleep")),
        ("tests/it/kit/mod.rs", format!("{doc}tokio::time::{}(left).await;", "sleep")),
        ("src/a.rs", format!("{doc}// {}!() is forbidden\nlet a = \"https://a.example\";", "todo")),
    ] {
        assert_eq!(complaints(Path::new(path), &text), Vec::<String>::new(), "{text}");
    }
}

/// Who may take a post's text past what masks abuse: programs, the index, and what compares texts without showing them.
const READ_WHOLE: [&str; 8] = [
    "src/cli.rs",
    "src/index.rs",
    "src/queue/feedback.rs",
    "src/web/site/alike.rs",
    "src/web/site/api.rs",
    "src/web/site/finding.rs",
    "src/web/site/insight.rs",
    "src/web/site/sources.rs",
];

#[test]
fn a_page_says_of_a_post_only_what_may_be_seen() {
    let reads = |text: &str| production(text).contains(".whole()") || production(text).contains(".into_whole()");
    let readers: Vec<String> = sources("src")
        .into_iter()
        .filter(|(path, text)| !path.to_string_lossy().contains("tests") && reads(text))
        .map(|(path, _)| path.to_string_lossy().into_owned())
        .collect();
    assert_eq!(readers, READ_WHOLE, "pages take Frame::said; who compares texts is named here");
    // Nor does one of these draw it: of each there is one use, and no snippet or view is made of it.
    for path in ["src/web/site/finding.rs", "src/web/site/sources.rs", "src/web/site/insight.rs", "src/web/site/alike.rs"] {
        assert_eq!(production(&fs::read_to_string(path).unwrap()).matches(".whole()").count(), 1, "{path}");
    }
}
