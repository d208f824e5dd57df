//! `moksori train` and `moksori eval`: reads labelled text, trains the model, says how right it is.

use std::{
    collections::{BTreeMap, HashSet},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::{
    classify::{
        Classifier,
        model::{self, CORPUS, Example, Model, Options, Report},
    },
    clock::Clock,
    learn::text_of,
    mention::{Label, Lang},
    text,
};

/// Options of `moksori train`.
#[derive(Debug, clap::Args)]
pub struct TrainArgs {
    /// Folder of rules, with its corpus and public text.
    #[arg(long, default_value = "rules")]
    rules: PathBuf,
    /// Where to put the model.
    #[arg(long, default_value = "model.bin")]
    out: PathBuf,
    /// What the model is called.
    #[arg(long, default_value = "default")]
    name: String,
    /// How much of what the model is sure of should be right: the higher, the more is left to people.
    #[arg(long, default_value_t = 0.9, value_parser = precision)]
    precision: f32,
}

fn precision(text: &str) -> Result<f32, String> {
    match text.parse() {
        Ok(share) if (0.5..1.0).contains(&share) => Ok(share),
        _ => Err("it must be a share from 0.5 to below 1, like 0.9".to_owned()),
    }
}

/// Options of `moksori eval`.
#[derive(Debug, clap::Args)]
pub struct EvalArgs {
    /// JSON Lines {text, label, lang?}, gzipped or not.
    #[arg(required_unless_present_any = ["leave_out", "held_out"])]
    files: Vec<PathBuf>,
    /// One JSON document instead of tables.
    #[arg(long)]
    json: bool,
    /// A model file; the model of the program otherwise.
    #[arg(long)]
    model: Option<PathBuf>,
    /// Score the rules alone.
    #[arg(long, conflicts_with = "model")]
    rules_only: bool,
    /// Folder of rules.
    #[arg(long, default_value = "rules")]
    rules: PathBuf,
    /// Train without each source in turn, and score what was left out.
    #[arg(long, conflicts_with_all = ["model", "rules_only", "held_out"])]
    leave_out: bool,
    /// Score what is held out of training.
    #[arg(long)]
    held_out: bool,
}

/// Trains a model, on the corrections in `feedback` too, and writes it to a file.
///
/// # Errors
/// When data cannot be read, are too little, or the file cannot be written.
pub fn run_train(args: &TrainArgs, feedback: &str, clock: &Clock) -> Result<()> {
    let mut data = Data::load(&args.rules)?;
    data.learn_from(feedback)?;
    let date = clock.now().timestamp().strftime("%Y-%m-%d").to_string();
    let options = Options {
        name: args.name.clone(),
        date,
        held_out: data.held_out_names(),
        precision: args.precision,
        ..Options::default()
    };
    let model = model::train(&rules_of(&args.rules)?, &data.train, &options)?;
    write(&args.out, model.as_bytes())?;
    for table in &model.card().tables {
        println!(
            "{}: temperature {:.2}, sure from {:.3} on: {:.1} % right in {:.1} % of the texts of sources left out in turn",
            table.lang.as_str(),
            table.temperature,
            table.unsure_below,
            table.precision * 100.0,
            table.coverage * 100.0,
        );
    }
    println!("{}: {} bytes, trained on {} texts", args.out.display(), model.as_bytes().len(), data.train.len());
    Ok(())
}

/// Writes a file so that there is either the old one or the new one: a running program may have mapped the old.
fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let context = || format!("could not write {}", path.display());
    let beside = path.with_extension("part");
    std::fs::write(&beside, bytes).with_context(context)?;
    std::fs::rename(&beside, path).with_context(context)
}

/// Scores the classifier and prints what came out.
///
/// # Errors
/// When a file cannot be read or used.
pub fn run_eval(args: &EvalArgs) -> Result<()> {
    let rules = rules_of(&args.rules)?;
    let rows = if args.leave_out {
        let data = Data::load(&args.rules)?;
        leave_out(&rules, &data)?
    } else {
        let model = match (&args.model, args.rules_only) {
            (_, true) => None,
            (Some(path), _) => Some(Model::open(path)?.into()),
            (None, _) => Some(Model::shipped()?),
        };
        let mut sets: Vec<(String, Vec<Example>)> = Vec::new();
        if args.held_out {
            sets.extend(by_source(Data::load(&args.rules)?.held_out));
        }
        for file in &args.files {
            sets.push((file.display().to_string(), read(file, |_| {})?));
        }
        let score = |(name, examples): (String, Vec<Example>)| (name, model::evaluate(&rules, model.as_deref(), &examples));
        sets.into_iter().map(score).collect()
    };
    match (args.json, &rows[..]) {
        (true, [(_, report)]) => println!("{}", serde_json::to_string_pretty(report)?),
        (true, rows) => println!("{}", serde_json::to_string_pretty(&rows.iter().cloned().collect::<BTreeMap<_, _>>())?),
        (false, [(_, report)]) => print_report(report),
        (false, rows) => print_rows(rows),
    }
    Ok(())
}

/// What the name of a source ends with where its labels are those that somebody read.
const READ: &str = ", read";

/// Each source with the figures of a model that never saw it, by the source's labels; then what was read of it by ours.
///
/// # Errors
/// When there is too little to train on.
pub fn leave_out(rules: &Classifier, data: &Data) -> Result<Vec<(String, Report)>> {
    let mut rows = Vec::new();
    for fold in model::leave_out(rules, &data.train, &Options::default())? {
        let mine = |example: &&Example| example.lang == fold.lang && fold.sources.contains(&example.source);
        for (name, examples) in by_source(data.train.iter().filter(mine).cloned().collect()) {
            let by = |label: fn(&Example) -> Option<Label>| -> Vec<Example> {
                let labelled = |example: &Example| Some(Example { label: label(example)?, ..example.clone() });
                examples.iter().filter_map(labelled).collect()
            };
            let read = by(|example| example.read);
            rows.push((name.clone(), model::evaluate(rules, Some(&fold.model), &by(|example| example.own))));
            if !read.is_empty() {
                rows.push((format!("{name}{READ}"), model::evaluate(rules, Some(&fold.model), &read)));
            }
        }
    }
    Ok(rows)
}

fn by_source(examples: Vec<Example>) -> Vec<(String, Vec<Example>)> {
    let mut sets: BTreeMap<String, Vec<Example>> = BTreeMap::new();
    for example in examples {
        sets.entry(format!("{} {}", example.lang.as_str(), example.source)).or_default().push(example);
    }
    sets.into_iter().collect()
}

fn print_rows(rows: &[(String, Report)]) {
    println!("{:32} {:>6} {:>9} {:>9} {:>6} {:>9} {:>10}", "", "texts", "accuracy", "macro F1", "ECE", "coverage", "precision");
    for (name, r) in rows {
        let Report { texts, accuracy, macro_f1, ece, coverage, precision_at_coverage, .. } = r;
        println!(
            "{name:32} {texts:>6} {accuracy:>9.3} {macro_f1:>9.3} {ece:>6.3} {coverage:>9.3} {precision_at_coverage:>10.3}"
        );
    }
    for lang in ["ko", "en"] {
        for (what, wanted) in [("sources", false), ("sources as they were read", true)] {
            let of = |(name, _): &&(String, Report)| name.starts_with(lang) && name.ends_with(READ) == wanted;
            let mine: Vec<&Report> = rows.iter().filter(of).map(|(_, report)| report).collect();
            if mine.len() < 2 {
                continue;
            }
            let mean = |of: fn(&Report) -> f64| mine.iter().map(|report| of(report)).sum::<f64>() / mine.len() as f64;
            let (right, f1, ece) = (mean(|report| report.accuracy), mean(|report| report.macro_f1), mean(|report| report.ece));
            println!("{lang}: mean of {} {what}: accuracy {right:.3}, macro F1 {f1:.3}, ECE {ece:.3}", mine.len());
        }
    }
}

fn print_report(report: &Report) {
    println!("texts                  {:>9}", report.texts);
    println!("accuracy               {:>9.3}", report.accuracy);
    println!("macro F1               {:>9.3}", report.macro_f1);
    println!("ECE                    {:>9.3}", report.ece);
    println!("coverage               {:>9.3}", report.coverage);
    println!("precision at coverage  {:>9.3}\n", report.precision_at_coverage);
    println!(
        "{:10} {:>7} {:>9} {:>7} {:>7}   called {}",
        "",
        "texts",
        "precision",
        "recall",
        "F1",
        Label::ALL.map(|l| format!("{:>9}", l.as_str())).join(" ")
    );
    for label in Label::ALL {
        let Some(score) = report.per_label.get(label.as_str()) else { continue };
        let row = report.confusion[label as usize].map(|count| format!("{count:>9}")).join(" ");
        println!(
            "{:10} {:>7} {:>9.3} {:>7.3} {:>7.3}          {row}",
            label.as_str(),
            score.texts,
            score.precision,
            score.recall,
            score.f1
        );
    }
    for (lang, report) in &report.by_language {
        println!("\n{lang}");
        print_report(report);
    }
}

/// The rules of classification in a folder.
fn rules_of(directory: &Path) -> Result<Classifier> {
    let mut texts = Vec::new();
    for path in files(&directory.join("classify"), "toml")? {
        let text = std::fs::read_to_string(&path).with_context(|| format!("could not read {}", path.display()))?;
        texts.push((path.display().to_string(), text));
    }
    Ok(Classifier::parse(&texts)?)
}

/// What `rules/public/sources.toml` says of the data.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sources {
    corpus: Corpus,
    source: BTreeMap<String, Public>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Corpus {
    weight: f32,
    held_out: Vec<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Public {
    licence: String,
    #[serde(rename = "origin")]
    _origin: String,
    weight: f32,
    only_not: Option<Label>,
    /// What was read of it judges models and teaches none.
    #[serde(default)]
    judge_only: bool,
    #[serde(default)]
    held_out: bool,
}

/// Labelled text, parted.
#[derive(Clone, Debug, Default)]
pub struct Data {
    /// What may be trained on.
    pub train: Vec<Example>,
    /// What is held out for the end.
    pub held_out: Vec<Example>,
}

/// A line of labelled text; other fields are of no interest here.
#[derive(Deserialize)]
struct Line {
    text: String,
    label: Option<Label>,
    /// The label by docs/labels.md, where `label` is the source's, or missing, and somebody has read the text.
    read: Option<Label>,
    lang: Option<String>,
    answers: Option<Answers>,
}

#[derive(Deserialize)]
struct Answers {
    label: Option<Label>,
}

impl Data {
    /// Reads the corpus (`corpus/<lang>/<trade>.jsonl`) and the public text (`public/`) in a folder of rules.
    /// Of texts that are the same but for case and spaces, the first is kept; one that is held out anywhere is never trained on.
    ///
    /// # Errors
    /// When a file cannot be read or a line is wrong.
    pub fn load(rules: &Path) -> Result<Data> {
        let listing = rules.join("public/sources.toml");
        let text = std::fs::read_to_string(&listing).with_context(|| no_rules(&listing))?;
        let sources: Sources = toml::from_str(&text).with_context(|| listing.display().to_string())?;
        let mut data = Data::default();
        for lang in ["ko", "en"] {
            for path in files(&rules.join("corpus").join(lang), "jsonl")? {
                let trade = stem(&path);
                let examples = read(&path, |example| {
                    example.source = format!("{CORPUS}{trade}");
                    example.licence = "Apache-2.0".to_owned();
                    example.weight = sources.corpus.weight;
                })?;
                data.part(sources.corpus.held_out.contains(&trade), examples);
            }
        }
        for path in files(&rules.join("public"), "gz")? {
            let name = stem(&path);
            let Some(source) = sources.source.get(&name) else {
                bail!("{} is not listed; name its licence and weight in {}", path.display(), listing.display());
            };
            let examples = read(&path, |example| {
                example.source.clone_from(&name);
                example.licence.clone_from(&source.licence);
                example.judge_only = source.judge_only;
                if example.teaches_what_was_read() {
                    example.label = example.read.unwrap_or(example.label);
                    example.weight = sources.corpus.weight;
                } else {
                    example.weight = source.weight;
                    example.only_not = source.only_not.filter(|_| example.label == Label::Other);
                }
            })?;
            data.part(source.held_out, examples);
        }
        data.keep_apart();
        Ok(data)
    }

    fn part(&mut self, held_out: bool, examples: Vec<Example>) {
        if held_out { &mut self.held_out } else { &mut self.train }.extend(examples);
    }

    /// Adds what was corrected on a desk: JSON Lines as `moksori feedback` prints them. These are real customers' words
    /// about what this desk is for, so they count twice what a text of the corpus does.
    ///
    /// # Errors
    /// When a line is wrong.
    pub fn learn_from(&mut self, feedback: &str) -> Result<()> {
        let examples = parse("feedback", feedback, |example| {
            example.licence = "own".to_owned();
            example.weight = 3.0;
        })?;
        // Before the rest: of twins the first is kept.
        self.train.splice(0..0, examples);
        self.keep_apart();
        Ok(())
    }

    /// Drops twins, and from training whatever is held out.
    fn keep_apart(&mut self) {
        let mut known = HashSet::new();
        self.held_out.retain(|example| known.insert(twin_key(&example.text)));
        self.train.retain(|example| known.insert(twin_key(&example.text)));
    }

    /// Names of what is held out.
    pub fn held_out_names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.held_out.iter().map(|example| example.source.clone()).collect();
        names.sort();
        names.dedup();
        names
    }
}

/// What makes two texts the same to a reader.
pub fn twin_key(text: &str) -> String {
    text.to_lowercase().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Reads JSON Lines {text, label, lang?, answers?}, gzipped or not. The source is the file's name, until `finish` says more.
///
/// # Errors
/// When the file cannot be read or a line is wrong; names the line.
pub fn read(path: &Path, finish: impl FnMut(&mut Example)) -> Result<Vec<Example>> {
    let examples = parse(&path.display().to_string(), &text_of(path)?, finish)?;
    if examples.is_empty() {
        bail!("{} holds no text", path.display());
    }
    Ok(examples)
}

/// The lines of a file or of a desk, by its name.
fn parse(name: &str, content: &str, mut finish: impl FnMut(&mut Example)) -> Result<Vec<Example>> {
    let languages = Classifier::from_patterns([])?;
    let mut examples = Vec::new();
    for (index, line) in content.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let place = || format!("{name}:{}: expected {{\"text\", \"label\", \"lang\"?}}", index + 1);
        let line: Line = serde_json::from_str(line).with_context(place)?;
        let normalised = text::normalise(&line.text);
        let text = text::mask(&normalised).into_owned();
        let lang =
            line.lang.as_deref().and_then(Lang::parse).unwrap_or_else(|| languages.language(&text, line.lang.as_deref()));
        let mut example = Example {
            text,
            lang,
            label: line.label.or(line.read).context("it has no label").with_context(place)?,
            own: line.label,
            read: line.read,
            judge_only: false,
            only_not: None,
            source: stem(Path::new(name)),
            licence: String::new(),
            weight: 1.0,
            answers: line.answers.and_then(|answers| answers.label),
        };
        finish(&mut example);
        examples.push(example);
    }
    Ok(examples)
}

/// `banking77` of `rules/public/banking77.jsonl.gz`.
pub(crate) fn stem(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.split('.').next().unwrap_or_default().to_owned()
}

/// What to say of a place among the rules that cannot be read.
fn no_rules(place: &Path) -> String {
    format!("could not read {}; name the folder of rules with --rules", place.display())
}

/// Files in a folder by extension, in the order of their names.
fn files(directory: &Path, extension: &str) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(directory).with_context(|| no_rules(directory))?;
    let mut paths: Vec<PathBuf> = entries.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    paths.retain(|path| path.extension().is_some_and(|found| found == extension));
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use sha2::{Digest, Sha256};

    use super::*;
    use crate::classify::Input;

    #[test]
    fn no_held_out_text_is_trained_on() {
        let data = Data::load(Path::new("rules")).unwrap();
        assert_eq!(data.held_out_names(), ["corpus/telecom", "goemotions", "kote"]);
        assert!(data.train.len() > 20_000 && data.held_out.len() > 4_000, "{} {}", data.train.len(), data.held_out.len());
        let held: HashSet<String> = data.held_out.iter().map(|example| twin_key(&example.text)).collect();
        let twins: Vec<_> = data.train.iter().filter(|example| held.contains(&twin_key(&example.text))).collect();
        assert!(twins.is_empty(), "{twins:?}");
        let model = Model::shipped().unwrap();
        for source in &model.card().data {
            let texts = data.train.iter().filter(|example| example.source == source.name).count();
            assert_eq!(
                texts, source.texts,
                "{}: train the model again: moksori train --out rules/model/default.bin",
                source.name
            );
        }
    }

    /// Neither a faster way to read a text nor a better one may change a verdict unnoticed.
    #[test]
    fn verdicts_stay_what_they_were() {
        let rules = rules_of(Path::new("rules")).unwrap();
        let model = Model::shipped().unwrap();
        let data = Data::load(Path::new("rules")).unwrap();
        let mut rows = Vec::new();
        for (source, examples) in by_source([data.train, data.held_out].concat()) {
            let (mut digest, mut sure, mut texts) = (Sha256::new(), 0.0, 0);
            for example in examples.iter().step_by(16) {
                let input = Input { text: &example.text, answers: example.answers, addressed: true, ..Input::default() };
                let verdict = rules.read_with(Some(&model), &input);
                digest.update([verdict.lang as u8, verdict.label as u8, u8::from(verdict.unsure)]);
                let reasons = verdict.reasons.iter().map(|reason| format!("{} {};", reason.rule, reason.words));
                digest.update(reasons.collect::<String>());
                (sure, texts) = (sure + f64::from(verdict.confidence), texts + 1);
            }
            rows.push((source, texts, text::hex(&digest.finalize()[..8]), sure / f64::from(texts)));
        }
        let path = "rules/model/verdicts.tsv";
        if std::env::var_os("UPDATE").is_some() {
            let lines = rows.iter().map(|(source, texts, digest, sure)| format!("{source}\t{texts}\t{digest}\t{sure:.7}\n"));
            std::fs::write(path, lines.collect::<String>()).unwrap();
        }
        let golden = std::fs::read_to_string(path).unwrap();
        assert_eq!(golden.lines().count(), rows.len());
        for (line, (source, texts, digest, sure)) in golden.lines().zip(rows) {
            let remedy = format!("if that is meant: UPDATE=1 cargo test --lib verdicts_stay, which writes {path}");
            let (same, was) = line.rsplit_once('\t').unwrap();
            assert_eq!(same, format!("{source}\t{texts}\t{digest}"), "labels or reasons have changed; {remedy}");
            assert!((was.parse::<f64>().unwrap() - sure).abs() < 1e-6, "{line}: now {sure}; {remedy}");
        }
    }

    #[test]
    fn twins_are_kept_once_and_held_out_wins() {
        let example = |text: &str, source: &str| Example {
            text: text.to_owned(),
            lang: Lang::En,
            label: Label::Other,
            own: None,
            read: None,
            judge_only: false,
            only_not: None,
            source: source.to_owned(),
            licence: String::new(),
            weight: 1.0,
            answers: None,
        };
        let train = vec![example("Late  again", "a"), example("late again", "b"), example("fine", "a")];
        let mut data = Data { train, held_out: vec![example("FINE", "c")] };
        data.keep_apart();
        assert_eq!(data.train.iter().map(|example| example.source.as_str()).collect::<Vec<_>>(), ["a"]);
    }

    #[test]
    fn what_was_read_teaches_unless_it_only_judges() {
        let directory = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| {
            let path = directory.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            let mut bytes = Vec::new();
            flate2::read::GzEncoder::new(text.as_bytes(), flate2::Compression::fast()).read_to_end(&mut bytes).unwrap();
            std::fs::write(path, if name.ends_with(".gz") { &bytes } else { text.as_bytes() }).unwrap();
        };
        let source = |name: &str, more: &str| {
            format!("[source.{name}]\nlicence = \"MIT\"\norigin = \"x\"\nweight = 0.5\nonly_not = \"abuse\"\n{more}\n")
        };
        let corpus = "[corpus]\nweight = 1.5\nheld_out = []\n".to_owned();
        put("public/sources.toml", &(corpus + &source("taught", "") + &source("judged", "judge_only = true")));
        put("corpus/ko/shop.jsonl", "{\"text\":\"배송이 늦어요\",\"label\":\"complaint\"}\n");
        put("corpus/en/shop.jsonl", "{\"text\":\"so late\",\"label\":\"complaint\"}\n");
        let read = r#"{"text":"T read","label":"other","read":"complaint","lang":"en"}
{"text":"T unread","label":"other","lang":"en"}
{"text":"T new","read":"question","lang":"en"}
"#;
        put("public/taught.jsonl.gz", read);
        put("public/judged.jsonl.gz", &read.replace("T ", "J ").lines().take(2).collect::<Vec<_>>().join("\n"));
        let data = Data::load(directory.path()).unwrap();
        let of = |text: &str| {
            let example = data.train.iter().find(|example| example.text == text).unwrap();
            (example.label, example.own, example.only_not, example.weight)
        };
        let (complaint, other, abuse) = (Label::Complaint, Label::Other, Some(Label::Abuse));
        assert_eq!(of("T read"), (complaint, Some(other), None, 1.5));
        assert_eq!(of("T unread"), (other, Some(other), abuse, 0.5));
        assert_eq!(of("T new"), (Label::Question, None, None, 1.5));
        assert_eq!(of("J read"), (other, Some(other), abuse, 0.5));
        put("public/taught.jsonl.gz", "{\"text\":\"x\",\"lang\":\"en\"}");
        let error = format!("{:#}", Data::load(directory.path()).unwrap_err());
        assert!(error.contains("taught.jsonl.gz:1") && error.contains("it has no label"), "{error}");
    }

    #[test]
    fn a_precision_is_a_share() {
        assert_eq!(precision("0.95"), Ok(0.95));
        for wrong in ["95", "1", "0.2", "high", "NaN"] {
            assert!(precision(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_wrong_line_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("posts.jsonl");
        std::fs::write(&path, "{\"text\":\"배송 언제 와요\",\"label\":\"question\"}\n{\"text\":\"x\",\"label\":\"angry\"}\n")
            .unwrap();
        let error = format!("{:#}", read(&path, |_| {}).unwrap_err());
        assert!(error.contains("posts.jsonl:2") && error.contains("angry"), "{error}");
        std::fs::write(&path, "{\"text\":\"배송 언제 와요\",\"label\":\"question\",\"id\":7}\n").unwrap();
        let examples = read(&path, |_| {}).unwrap();
        assert_eq!((examples[0].lang, examples[0].source.as_str()), (Lang::Ko, "posts"));
        std::fs::write(&path, "").unwrap();
        assert!(read(&path, |_| {}).unwrap_err().to_string().contains("holds no text"));
    }
}
