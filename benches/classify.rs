//! How many texts a second of one processor the classifier judges: normalise, mask, rules, model.
//!
//! `cargo bench --bench classify -- [FILE...]`, JSON Lines with `text`; the posts of the corpus otherwise. `first` is the
//! speed when the texts are new, `again` when they come again: lazily built automata are faster then.

#[path = "machine.rs"]
#[expect(dead_code, reason = "the journey measures more of the machine than this")]
mod machine;

use std::{hint::black_box, path::Path};

use anyhow::{Context, Result, ensure};
use moksori::{
    classify::{Classifier, Input, model::Model},
    text,
};
use serde_json::{Value, json};

/// How much processor time a figure rests on.
const SECONDS: f64 = 3.0;

fn main() -> Result<()> {
    let mut files: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    if files.is_empty() {
        for lang in ["ko", "en"] {
            for entry in std::fs::read_dir(format!("rules/corpus/{lang}"))? {
                files.push(entry?.path().display().to_string());
            }
        }
        files.sort();
    }
    let mut texts = Vec::new();
    for file in &files {
        let content = std::fs::read_to_string(file).with_context(|| format!("could not read {file}"))?;
        for line in content.lines() {
            let line: Value = serde_json::from_str(line).with_context(|| format!("{file} is not JSON Lines"))?;
            texts.push(line["text"].as_str().context("a line has no text")?.to_owned());
        }
    }
    ensure!(!texts.is_empty(), "there is no text in {files:?}");
    let rules = rules(Path::new("rules/classify"))?;
    let whole = rules.with_model(Model::shipped()?);
    let characters = texts.iter().map(|text| text.chars().count()).sum::<usize>() as f64 / texts.len() as f64;
    let model = whole.model().cloned();
    println!(
        "{}",
        json!({
            "texts": texts.len(),
            "mean_characters": (characters * 10.0).round() / 10.0,
            "rules_and_model_per_cpu_second": measure(&whole, model.as_deref(), &texts)?,
            "rules_alone_per_cpu_second": measure(&whole, None, &texts)?,
            "load": machine::load()?,
        })
    );
    Ok(())
}

fn rules(directory: &Path) -> Result<Classifier> {
    let mut paths = std::fs::read_dir(directory)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    paths.sort();
    let read = |path: &std::path::PathBuf| Ok((path.display().to_string(), std::fs::read_to_string(path)?));
    Ok(Classifier::parse(&paths.iter().map(read).collect::<Result<Vec<_>>>()?)?)
}

/// Texts by processor time on this one thread, new and again.
fn measure(classifier: &Classifier, model: Option<&Model>, texts: &[String]) -> Result<Value> {
    let judge_all = || {
        for raw in texts {
            let normalised = text::normalise(raw);
            let masked = text::mask(&normalised);
            black_box(classifier.read_with(model, &Input { text: &masked, addressed: true, ..Input::default() }));
        }
    };
    let begun = machine::cpu_seconds()?;
    judge_all();
    let first = texts.len() as f64 / (machine::cpu_seconds()? - begun).max(0.01);
    let (begun, mut judged) = (machine::cpu_seconds()?, 0);
    loop {
        judge_all();
        judged += texts.len();
        let spent = machine::cpu_seconds()? - begun;
        if spent >= SECONDS {
            return Ok(json!({ "first": first as u64, "again": (judged as f64 / spent) as u64 }));
        }
    }
}
