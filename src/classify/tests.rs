use std::collections::HashMap;

use super::*;
use crate::text::{mask, normalise};

fn shipped() -> Classifier {
    let mut paths: Vec<_> = std::fs::read_dir("rules/classify").unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let files: Vec<_> = paths.iter().map(|path| (path.display().to_string(), std::fs::read_to_string(path).unwrap())).collect();
    Classifier::parse(&files).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn the_shipped_rules_hold_their_examples() {
    let classifier = shipped();
    assert!(classifier.len() >= 90, "{} rules", classifier.len());
    if let Err(faults) = classifier.check() {
        panic!("{}", faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"));
    }
}

/// How the rules do on a sample's own labels: printed, and held to a modest floor.
/// `cargo test --lib classify -- --nocapture accuracy`
#[test]
fn accuracy_on_the_sample_shop() {
    let Ok(lines) = std::fs::read_to_string("samples/shop/posts.jsonl") else { return };
    let classifier = shipped();
    let mut labels: HashMap<String, Label> = HashMap::new();
    let mut table = [[0_u32; 6]; 5];
    let half = std::env::var("SAMPLE_HALF").ok();
    for (index, line) in lines.lines().enumerate() {
        let post: serde_json::Value = serde_json::from_str(line).unwrap();
        let Some(expected) = post["expect"].as_str().and_then(Label::parse) else { continue };
        let text = normalise(post["text"].as_str().unwrap()).into_owned();
        let text = mask(&text);
        let answers = post["reply_to"].as_str().and_then(|id| labels.get(id)).copied();
        let input = Input { text: &text, lang_hint: post["lang"].as_str(), answers, addressed: post["to"].is_string() };
        let verdict = classifier.read(&input);
        labels.insert(post["id"].as_str().unwrap_or_default().to_owned(), verdict.label);
        if half.as_ref().is_some_and(|half| half != &(index % 2).to_string()) {
            continue;
        }
        let column = if verdict.unsure { 5 } else { verdict.label as usize };
        table[expected as usize][column] += 1;
        if column != expected as usize && half.is_some() {
            let why: Vec<_> = verdict.reasons.iter().map(|r| format!("{} {:.1} {}", r.rule, r.weight, r.words)).collect();
            println!(
                "{} -> {}{} {:.2} | {text} | {why:?}",
                expected.as_str(),
                verdict.label.as_str(),
                if verdict.unsure { "?" } else { "" },
                verdict.confidence
            );
        }
    }
    println!("{:10} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}", "", "complaint", "question", "proposal", "abuse", "other", "unsure");
    for label in Label::ALL {
        let row: Vec<_> = table[label as usize].iter().map(|n| format!("{n:>9}")).collect();
        println!("{:10} {}", label.as_str(), row.join(" "));
    }
    let all: u32 = table.iter().flatten().sum();
    let unsure: u32 = table.iter().map(|row| row[5]).sum();
    let right: u32 = (0..5).map(|i| table[i][i]).sum();
    let (sure, share) = (f64::from(right) / f64::from(all - unsure), f64::from(unsure) / f64::from(all));
    println!("{all} posts, right among the sure {:.1} %, unsure {:.1} %", sure * 100.0, share * 100.0);
    assert!(sure >= 0.75 && share <= 0.30, "{sure} {share}");
}
