//! `moksori model`: which models there are, which judges, and whether a candidate is good enough to.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, Result, bail};
use clap::Subcommand;
use serde::Deserialize;
use serde_json::{Value, json};

use super::corpus::{files_in, text_of};
use crate::{
    classify::{
        Classifier, Input,
        compare::{Change, Reading, Row, compare},
        model::Model,
    },
    config::Config,
    mention::{Label, Lang},
    queue::Catalog,
    rules,
};

/// The models of a desk.
#[derive(Debug, Subcommand)]
pub enum ModelCommand {
    /// Say which models there are, which one judges and which one is only asked.
    List,
    /// Let a model judge, on all nodes and without a restart, unless it is worse than the one that does now.
    Promote {
        /// A file that `moksori train` wrote, or a number of `moksori model list`.
        model: String,
        /// Labelled texts to compare the two on, {text, label}: best such as neither was trained on.
        #[arg(long, num_args = 1..)]
        on: Vec<PathBuf>,
        /// Promote it whatever the comparison says.
        #[arg(long)]
        force: bool,
    },
    /// Compare a model with the one that judges, and change nothing.
    Compare {
        /// A file that `moksori train` wrote, or a number of `moksori model list`.
        model: String,
        /// Labelled texts, {text, label}: best such as neither was trained on.
        #[arg(long, num_args = 1.., required = true)]
        on: Vec<PathBuf>,
    },
    /// Let the model that judged before judge again.
    Rollback,
    /// Ask a model beside the one that judges, and count where they differ; "off" ends it.
    Shadow {
        /// A file, a number of `moksori model list`, or "off".
        model: String,
    },
}

/// A labelled text.
#[derive(Debug, Deserialize)]
struct Labelled {
    text: String,
    label: Label,
    #[serde(default)]
    lang: Option<Lang>,
    #[serde(default)]
    answers: Option<Above>,
}

#[derive(Debug, Deserialize)]
struct Above {
    label: Label,
}

/// Runs a command on models; `ask` has the desk do something, whether it runs or not.
///
/// # Errors
/// When the desk refuses, a file cannot be read, or the candidate is worse.
pub async fn run(command: ModelCommand, config: &Config, ask: impl AsyncFn(&str, Value) -> Result<Value>) -> Result<()> {
    match command {
        ModelCommand::List => print_list(&ask("model list", Value::Null).await?),
        ModelCommand::Compare { model, on } => {
            let candidate = path_of(&model, &ask).await?;
            judge(candidate.as_deref(), &on, config, &ask).await?;
        }
        ModelCommand::Promote { model, on, force } => {
            let candidate = path_of(&model, &ask).await?;
            if on.is_empty() && !force {
                bail!("say with --on which labelled texts the two are compared on, or promote it unseen with --force");
            }
            if !on.is_empty() && !judge(candidate.as_deref(), &on, config, &ask).await? && !force {
                bail!("the candidate is worse beyond noise and was not promoted; --force promotes it all the same");
            }
            let answer = ask("model use", named(&model, "judge")?).await?;
            println!("model {} judges from now on", answer["version"]);
        }
        ModelCommand::Rollback => match ask("model rollback", Value::Null).await?["version"].as_u64() {
            Some(version) => println!("model {version} judges again"),
            None => bail!("no other model has judged here before"),
        },
        ModelCommand::Shadow { model } if model == "off" => {
            ask("model use", json!({ "role": "shadow" })).await?;
            println!("no model is asked beside");
        }
        ModelCommand::Shadow { model } => {
            let answer = ask("model use", named(&model, "shadow")?).await?;
            println!("model {} is asked beside and only counted", answer["version"]);
        }
    }
    Ok(())
}

/// A model as the desk is told of it: by number, or by a file that the desk can find wherever it runs.
fn named(model: &str, role: &str) -> Result<Value> {
    Ok(match model.parse::<u32>() {
        Ok(version) => json!({ "role": role, "version": version }),
        Err(_) => {
            let path = std::fs::canonicalize(model).with_context(|| format!("failed to read {model}"))?;
            json!({ "role": role, "file": path })
        }
    })
}

/// The file of a model, be it named by number or by its path; none for the program's own.
async fn path_of(model: &str, ask: &impl AsyncFn(&str, Value) -> Result<Value>) -> Result<Option<PathBuf>> {
    match model.parse::<u32>() {
        Ok(version) => {
            let answer = ask("model file", json!({ "version": version })).await?;
            Ok(answer["file"].as_str().map(PathBuf::from))
        }
        Err(_) => Ok(Some(PathBuf::from(model))),
    }
}

/// Compares a candidate with what judges now and prints the table; false when it is worse beyond noise.
async fn judge(
    candidate: Option<&Path>,
    on: &[PathBuf],
    config: &Config,
    ask: &impl AsyncFn(&str, Value) -> Result<Value>,
) -> Result<bool> {
    let current = ask("model file", Value::Null).await?;
    let files = rules::Files::load(&config.rules.directories)?;
    let rules = files.check(0, &Catalog::sketch(&config.catalog()))?.judges.classifier;
    let model = |path: Option<&Path>| -> Result<Arc<Model>> {
        let Some(path) = path else { return Ok(Model::shipped()?) };
        Ok(Arc::new(Model::open(path).with_context(|| format!("{} is no model that can be used", path.display()))?))
    };
    let (current, candidate) = (model(current["file"].as_str().map(Path::new))?, model(candidate)?);
    let texts = texts(on)?;
    let readings: Vec<(Option<Lang>, Reading)> =
        texts.iter().map(|text| (text.lang, read(text, &rules, &current, &candidate))).collect();
    let rows = compare(&readings.iter().map(|(_, reading)| *reading).collect::<Vec<_>>());
    println!("{:<12} {:>6} {:>8} {:>10} {:>7} {:>5}", "", "texts", "current", "candidate", "gained", "lost");
    rows.iter().for_each(|row| print_row(row.label.map_or("all", Label::as_str), row));
    let mut fine = rows.iter().all(|row| row.change() != Change::Worse);
    for lang in Lang::ALL {
        let ours: Vec<Reading> = readings.iter().filter(|(of, _)| *of == Some(lang)).map(|(_, reading)| *reading).collect();
        if let Some(row) = compare(&ours).first().filter(|_| ours.len() < readings.len()) {
            print_row(lang.as_str(), row);
            fine &= row.change() != Change::Worse;
        }
    }
    Ok(fine)
}

fn read(text: &Labelled, rules: &Classifier, current: &Model, candidate: &Model) -> Reading {
    let normalised = crate::text::normalise(&text.text);
    let input = Input {
        text: &crate::text::mask(&normalised),
        lang_hint: text.lang.map(Lang::as_str),
        answers: text.answers.as_ref().map(|above| above.label),
        addressed: false,
    };
    let label = |model: &Model| rules.read_with(Some(model), &input).label;
    Reading { truth: text.label, current: label(current), candidate: label(candidate) }
}

fn texts(places: &[PathBuf]) -> Result<Vec<Labelled>> {
    let mut texts = Vec::new();
    for place in places {
        for path in files_in(place)? {
            for (number, line) in text_of(&path)?.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
                let text = serde_json::from_str(line).with_context(|| format!("{}:{}", path.display(), number + 1))?;
                texts.push(text);
            }
        }
    }
    if texts.is_empty() {
        bail!("there are no labelled texts to compare on");
    }
    Ok(texts)
}

#[expect(clippy::cast_precision_loss, reason = "counts of texts")]
fn print_row(name: &str, row: &Row) {
    let percent = |right: usize| format!("{:.1}%", right as f64 * 100.0 / row.texts as f64);
    let change = match row.change() {
        Change::Better => "better",
        Change::Same => "the same within noise",
        Change::Worse => "worse",
    };
    let (current, candidate) = (percent(row.current), percent(row.candidate));
    println!("{name:<12} {:>6} {current:>8} {candidate:>10} {:>7} {:>5}  {change}", row.texts, row.gained, row.lost);
}

fn print_list(answer: &Value) {
    let models = answer["models"].as_array().map(Vec::as_slice).unwrap_or_default();
    if models.is_empty() {
        println!("no model: the rules judge alone");
    }
    for model in models {
        let word = |name: &str| model[name].as_str().unwrap_or_default().to_owned();
        let origin = if model["built_in"] == true { "came with the program" } else { "" };
        println!("{:>4}  {:<7} added {}  {origin}", model["version"], word("role"), word("added_at"));
    }
}
