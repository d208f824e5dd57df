//! What is published and must keep step with the code: docs/metrics.md and docs/mention.schema.json.
//!
//! `UPDATE=1 cargo test --test it catalogue` writes docs/metrics.md anew.

use std::{collections::BTreeSet, env, fmt::Write, fs, path::Path};

use moksori::{
    bus,
    clock::Time,
    connect, desk, lease,
    mention::{Author, Engagement, Envelope, Match, Op, Side, TimeQuality},
    metrics::Entry,
    notify, pipeline, queue, search, web,
};
use regex::Regex;
use serde_json::{Map, Value};

use crate::tidy::{production, sources};

/// Every stage that counts something, in flow order.
pub fn stages() -> Vec<(&'static str, Vec<Entry>)> {
    vec![
        ("connect", connect::Metrics::catalogue()),
        ("bus", bus::Metrics::catalogue()),
        ("pipeline", pipeline::Metrics::catalogue()),
        ("desk", desk::Metrics::catalogue()),
        ("queue", queue::Metrics::catalogue()),
        ("lease", lease::Metrics::catalogue()),
        ("notify", notify::Metrics::catalogue()),
        ("search", search::Metrics::catalogue()),
        ("web", web::Metrics::catalogue()),
    ]
}

fn page() -> String {
    let mut page = String::from(
        "# Metrics\n\n\
         What `/metrics` shows. Printed from the code by a test (`UPDATE=1 cargo test --test it catalogue`); do not edit.\n",
    );
    for (stage, entries) in stages() {
        write!(page, "\n## {stage}\n\n| metric | kind | labels | what it says |\n|---|---|---|---|\n").unwrap();
        for entry in entries {
            let kind = entry.kind.trim_start_matches("Int").trim_end_matches("Vec").to_lowercase();
            let labels = entry.labels.iter().map(|label| format!("`{label}`")).collect::<Vec<_>>().join(", ");
            let help = entry.help.replace('|', "\\|");
            writeln!(page, "| `{}` | {kind} | {labels} | {help} |", entry.name).unwrap();
        }
    }
    page
}

#[test]
fn the_catalogue_of_metrics_is_up_to_date() {
    let path = "docs/metrics.md";
    if env::var_os("UPDATE").is_some() {
        fs::write(path, page()).unwrap();
    }
    let written = fs::read_to_string(path).unwrap_or_default();
    assert!(written == page(), "{path} is stale: run UPDATE=1 cargo test --test it catalogue");
}

#[test]
fn every_metric_is_catalogued_and_well_named() {
    let mut catalogued = BTreeSet::new();
    for (stage, entries) in stages() {
        for entry in entries {
            let name = entry.name;
            // A pure stage counts nothing itself: the desk counts for sla, the pipeline for classify.
            let named_after = name.split('_').nth(1).unwrap_or_default();
            let module = Path::new("src").join(named_after);
            assert!(module.is_dir() || module.with_extension("rs").exists(), "{name} in {stage} is not named after a stage");
            assert_eq!(name.ends_with("_total"), entry.kind.contains("Counter"), "{name}: counters end in _total");
            if entry.kind.starts_with("Histogram") {
                assert!(name.ends_with("_seconds") || name.ends_with("_bytes"), "{name} does not say its unit");
            }
            assert!(entry.help.ends_with('.'), "{name}: its help is no sentence");
            assert!(catalogued.insert(name), "{name} is there twice");
        }
    }
    let declared = Regex::new(r#":\s*\w+\s*=\s*"(moksori_\w+)""#).unwrap();
    for (path, text) in sources("src") {
        for found in declared.captures_iter(&production(&text)) {
            let name = found.get(1).unwrap().as_str();
            assert!(catalogued.contains(name), "{}: add the stage of {name} to tests/it/catalogue.rs", path.display());
        }
    }
}

/// An envelope in which every field is there.
fn full() -> Envelope {
    let text = || Some("x".to_owned());
    let author = Author { native_id: "7".into(), handle: "kim".into(), name: text(), reach: Some(1) };
    let matched = Match { brand: "shop".into(), account: "main".into(), addressed: true, query: text() };
    Envelope {
        v: Envelope::VERSION,
        op: Op::Upsert,
        source: "platform:host.example".into(),
        native_id: "1".into(),
        local_ref: text(),
        side: Side::Customer,
        conversation: text(),
        parent: text(),
        author: Some(author),
        text: "x".into(),
        lang: text(),
        url: text(),
        posted_at: Some(Time(1)),
        time_quality: TimeQuality::Exact,
        edited_at: Some(Time(1)),
        first_seen_at: Time(1),
        matched: vec![matched],
        visibility: text(),
        engagement: Some(Engagement { replies: 1, shares: 1, likes: 1 }),
        media: vec!["x".into()],
        extra: [("x".to_owned(), "x".to_owned())].into(),
    }
}

fn object(value: &Value) -> &Map<String, Value> {
    value.as_object().unwrap_or_else(|| panic!("{value} is no object"))
}

fn words(value: &Value) -> BTreeSet<&str> {
    value.as_array().into_iter().flatten().map(|word| word.as_str().unwrap()).collect()
}

/// Compares the properties of a schema with the keys of a value, at every depth.
fn compare(at: &str, schema: &Value, value: &Value) {
    let names = |map: &Map<String, Value>| map.keys().cloned().collect::<BTreeSet<_>>();
    assert_eq!(names(object(&schema["properties"])), names(object(value)), "{at}: schema and program differ");
    for (name, value) in object(value) {
        let property = &schema["properties"][name];
        assert!(property["description"].is_string(), "{at}.{name} has no description");
        let value = value.get(0).unwrap_or(value);
        let items = property.get("items").unwrap_or(property);
        // One whose keys are anybody's has none to compare.
        if value.is_object() && items.get("additionalProperties").is_none_or(Value::is_boolean) {
            compare(&format!("{at}.{name}"), items, value);
        }
    }
}

#[test]
fn the_schema_of_a_mention_is_what_the_program_reads() {
    let schema: Value = serde_json::from_str(&fs::read_to_string("docs/mention.schema.json").unwrap()).unwrap();
    let envelope = serde_json::to_value(full()).unwrap();
    compare("mention", &schema, &envelope);

    // The program refuses a mention without a field exactly where the schema requires it.
    let mut required = words(&schema["required"]);
    required.extend(words(&schema["then"]["required"]));
    let refuses = |value: &Value| Envelope::parse(&serde_json::to_vec(value).unwrap()).is_err();
    assert!(!refuses(&envelope));
    for name in object(&envelope).keys() {
        let mut without = envelope.clone();
        without.as_object_mut().unwrap().remove(name);
        assert_eq!(refuses(&without), required.contains(name.as_str()), "without {name}");
    }
    for pointer in ["/author", "/matched/0", "/engagement"] {
        let property = pointer.split('/').nth(1).unwrap();
        let part = &schema["properties"][property];
        let required = words(&part.get("items").unwrap_or(part)["required"]);
        for name in object(envelope.pointer(pointer).unwrap()).keys() {
            let mut without = envelope.clone();
            without.pointer_mut(pointer).unwrap().as_object_mut().unwrap().remove(name);
            assert_eq!(refuses(&without), required.contains(name.as_str()), "without {pointer}/{name}");
        }
    }
    let mut unknown = envelope.clone();
    unknown["surprise"] = true.into();
    assert!(refuses(&unknown) && schema["additionalProperties"] == false);

    // A word is in the schema exactly if the program reads it.
    for (name, wrong) in [("op", "insert"), ("side", "us"), ("time_quality", "hour")] {
        let known = words(&schema["properties"][name]["enum"]);
        for word in known.iter().copied().chain([wrong]) {
            let mut with = envelope.clone();
            with[name] = word.into();
            assert_eq!(refuses(&with), !known.contains(word), "{name}: {word}");
        }
        assert_eq!(known.len(), 3, "{name}: the program knows three");
    }
}
