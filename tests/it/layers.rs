//! Who may import whom: the arrows of the architecture, read from the sources.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use regex::Regex;

use crate::tidy::{files, production, sources, without_comments};

/// What travels, who works, what time it is: everybody may name these, and they only each other.
const LEAVES: &[&str] = &["case", "clock", "crash", "mention", "metrics", "query", "secret", "staff", "text"];

/// What each module may name besides the leaves.
const ARROWS: &[(&str, &[&str])] = &[
    ("bus", &[]),
    ("classify", &[]),
    ("sample", &[]),
    ("search", &[]),
    ("sla", &[]),
    ("control", &[]),
    ("telemetry", &[]),
    ("progress", &[]),
    ("dispatch", &["classify"]),
    ("queue", &["sla"]),
    ("desk", &["dispatch", "queue", "sla"]),
    ("connect", &["bus", "desk"]),
    ("notify", &["bus", "queue"]),
    ("web", &["desk", "queue", "search", "sla"]),
    ("pipeline", &["bus", "classify", "desk", "dispatch"]),
    ("index", &["queue", "search"]),
    ("lease", &["queue"]),
    ("rules", &["classify", "dispatch", "pipeline", "queue", "sla"]),
];

/// These put the stages together and may name them all.
const ABOVE: &[&str] = &["app", "backup", "cli", "demo", "learn", "lib", "main", "replay", "training"];

/// Every platform is a file in `connectors/`; the program itself knows none. One that the word alone would
/// not tell from English stands with its host.
const PLATFORMS: &[&str] = &[
    "mastodon",
    "twitter",
    "x.com",
    "naver",
    "bluesky",
    "bsky",
    "kakao",
    "instagram",
    "facebook",
    "youtube",
    "tiktok",
    "reddit",
    "discourse",
    "telegram",
    "whatsapp",
    "threads.net",
    "linkedin",
    "zendesk",
    "tistory",
    "daum.net",
    "weibo",
    "lemmy",
    "misskey",
    "pixelfed",
    "stackexchange",
    "hackernews",
    "ycombinator",
    "trustpilot",
    "epeople",
];

/// The module of a file: `src/bus/day.rs` and `src/bus/mod.rs` belong to `bus`.
fn module(path: &Path) -> String {
    let inside = path.strip_prefix("src").unwrap();
    inside.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs").to_owned()
}

/// Where the paths that start at the root of the crate, or leave the module of `path`, lead.
fn names(path: &Path, text: &str) -> BTreeSet<String> {
    // In src/bus/mod.rs `super` is the root; in src/bus/day.rs and in a test module it is one step further.
    let rooted = Regex::new(r"\b(?:(\$?crate|moksori)|((?:super\s*::\s*)*super))\s*::\s*(\{|[a-z_]\w*)").unwrap();
    let depth = path.iter().count() - 2 + usize::from(!path.ends_with("mod.rs"));
    let mut names = BTreeSet::new();
    for found in rooted.captures_iter(text) {
        if let Some(supers) = found.get(2) {
            let first = &text[..found.get(0).unwrap().start()];
            let inner = usize::from(first.contains("mod tests {"));
            if supers.as_str().matches("super").count() < depth + inner {
                continue;
            }
        }
        if &found[3] == "{" {
            names.extend(group(&text[found.get(0).unwrap().end()..]));
        } else {
            names.insert(found[3].to_owned());
        }
    }
    names
}

/// The first names of a group `{a::b, c::{d, e}}`, of which `text` is what follows the opening brace.
fn group(text: &str) -> Vec<String> {
    let mut names = Vec::new();
    let (mut depth, mut name, mut first) = (0, String::new(), true);
    for letter in text.chars() {
        match letter {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                names.push(std::mem::take(&mut name));
                first = true;
            }
            _ if depth == 0 && first && (letter.is_alphanumeric() || letter == '_') => name.push(letter),
            _ if depth == 0 && !name.is_empty() => first = false,
            _ => {}
        }
    }
    names.push(name);
    names.retain(|name| !name.is_empty() && name != "self");
    names
}

/// The complaint about one name, if there is one.
fn wrong(from: &str, to: &str, line: &str) -> Option<String> {
    let lower = |word: &str| word.chars().next().is_some_and(|letter| letter.is_ascii_lowercase());
    if from == to || !lower(to) || LEAVES.contains(&to) || ABOVE.contains(&from) {
        return None;
    }
    let allowed = if from == "config" {
        let stage = ARROWS.iter().any(|(stage, _)| *stage == to);
        stage && Regex::new(&format!(r"\b{to}\s*::\s*(\w*Config\b|\{{)")).unwrap().is_match(line)
    } else {
        ARROWS.iter().any(|(stage, names)| *stage == from && names.contains(&to))
    };
    (!allowed).then(|| format!("{from} names {to}"))
}

#[test]
fn no_module_names_another_against_the_arrows() {
    let known: BTreeSet<&str> = LEAVES.iter().chain(ABOVE).copied().chain(ARROWS.iter().map(|arrow| arrow.0)).collect();
    let mut complaints = Vec::new();
    for (path, text) in sources("src") {
        let from = module(&path);
        if from != "config" && !known.contains(from.as_str()) {
            complaints.push(format!("{}: the table has no module {from}", path.display()));
        }
        let code = without_comments(&text);
        for to in names(&path, &code) {
            complaints.extend(wrong(&from, &to, &code).map(|complaint| format!("{}: {complaint}", path.display())));
        }
    }
    assert!(complaints.is_empty(), "docs: ARCHITECTURE.md, the arrows\n{}", complaints.join("\n"));
}

#[test]
fn only_the_sample_knows_a_platform() {
    let mut complaints = Vec::new();
    for (path, text) in files("src", &["css", "html", "json", "rs", "sql", "toml", "txt"]) {
        if module(&path) == "sample" || path.ends_with("tests.rs") {
            continue;
        }
        // Comments and tests may give an example; code, pages and texts may not.
        let code = if path.extension().is_some_and(|extension| extension == "rs") { production(&text) } else { text };
        for (number, line) in code.lines().enumerate() {
            let line = line.to_lowercase();
            for platform in PLATFORMS.iter().filter(|platform| mentions(&line, platform)) {
                complaints.push(format!("{}:{}: {platform}", path.display(), number + 1));
            }
        }
    }
    assert!(complaints.is_empty(), "a platform is a file in connectors/\n{}", complaints.join("\n"));
}

/// Whether the word stands in the line by itself: "x.com" is not in "box.com".
fn mentions(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| !line[..at].ends_with(|before: char| before.is_alphanumeric() || before == '.'))
}

#[test]
fn the_scanner_sees_every_way_to_name_a_module() {
    let cases: BTreeMap<&str, &[&str]> = BTreeMap::from([
        ("use crate::desk::Desk;", &["desk"][..]),
        ("use crate::{clock::{Clock, Time}, queue, search::Index as I};", &["clock", "queue", "search"]),
        ("use crate::{\n    bus::Bus,\n    case::{self, CaseId},\n};", &["bus", "case"]),
        ("let x = crate::web::page(moksori::app::run());", &["app", "web"]),
        ("use super::super::connect::Engine;", &["connect"]),
        ("use super::chunk;", &[]),
        ("pub(crate) fn f() {}", &[]),
    ]);
    for (code, expected) in cases {
        assert_eq!(names(Path::new("src/bus/day.rs"), code).into_iter().collect::<Vec<_>>(), expected, "{code}");
    }
    assert_eq!(names(Path::new("src/bus/mod.rs"), "use super::desk;").into_iter().collect::<Vec<_>>(), ["desk"]);
    assert_eq!(names(Path::new("src/index.rs"), "use super::desk;").into_iter().collect::<Vec<_>>(), ["desk"]);
    let table = [
        ("bus", "desk", "", false),
        ("desk", "queue", "", true),
        ("queue", "desk", "", false),
        ("web", "config", "", false),
        ("config", "bus", "bus: crate::bus::Config", true),
        ("config", "bus", "crate::bus::Bus", false),
        ("case", "bus", "", false),
        ("case", "staff", "", true),
        ("cli", "web", "", true),
    ];
    for (from, to, code, allowed) in table {
        assert_eq!(wrong(from, to, code).is_none(), allowed, "{from} -> {to}");
    }
    assert!(mentions("https://x.com/a", "x.com") && !mentions("https://box.com", "x.com"));
    assert!(fs::metadata("src/lib.rs").is_ok(), "tests run in the root of the crate");
}
