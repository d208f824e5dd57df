//! The corpus on the command line: reading it, and its lint.

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use clap::Subcommand;

use crate::{
    classify::corpus::{self, Post, Problem, Public, Reference, Report},
    training::stem,
};

/// The corpus of training text.
#[derive(Debug, Subcommand)]
pub enum CorpusCommand {
    /// Check the corpus: fields, labels, twins, copies of public text, and whether it is as varied as real text.
    Lint {
        /// Its folder: `<lang>/<trade>.jsonl`, and `reference.toml` with figures of real text.
        #[arg(default_value = "rules/corpus")]
        directory: PathBuf,
        /// Public text that must not be copied: JSON Lines, gzipped or not, or folders of them.
        #[arg(long, default_value = "rules/public")]
        public: Vec<PathBuf>,
    },
    /// Measure how varied real text is, and print it as a reference.toml.
    Reference {
        /// JSON Lines {source, lang, label, text}, gzipped or not, or folders of them.
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
}

/// Runs a command on the corpus.
///
/// # Errors
/// When a file cannot be read, or the corpus may not be trained on as it is.
pub fn run(command: CorpusCommand) -> Result<()> {
    match command {
        CorpusCommand::Lint { directory, public } => {
            let (posts, report) = lint(&directory, &public)?;
            print_rows(&report);
            if !report.problems.is_empty() {
                let lines: Vec<String> = report.problems.iter().map(ToString::to_string).collect();
                bail!("{}\n{} problems in {} posts", lines.join("\n"), lines.len(), posts.len());
            }
            println!("{} posts, all is well", posts.len());
        }
        CorpusCommand::Reference { files } => {
            print!("{}", toml::to_string(&Reference::measure(&public_texts(&files)?))?);
        }
    }
    Ok(())
}

/// Reads the corpus in `directory` and judges it.
///
/// # Errors
/// When a file cannot be read; what is wrong inside is in the report.
pub fn lint(directory: &Path, public: &[PathBuf]) -> Result<(Vec<Post>, Report)> {
    let (posts, problems) = posts(directory)?;
    let path = directory.join("reference.toml");
    let reference: Reference =
        toml::from_str(&text_of(&path)?).with_context(|| format!("failed to read {}", path.display()))?;
    let mut report = corpus::lint(&posts, &reference, &public_texts(public)?);
    report.problems.splice(0..0, problems);
    Ok((posts, report))
}

/// The posts of a corpus, and what is wrong with its lines.
///
/// # Errors
/// When there is none.
pub fn posts(directory: &Path) -> Result<(Vec<Post>, Vec<Problem>)> {
    let (mut posts, mut problems) = (Vec::new(), Vec::new());
    for path in files_in(directory)? {
        let name = path.strip_prefix(directory).unwrap_or(&path).display().to_string();
        let (read, wrong) = corpus::read(&name, &text_of(&path)?);
        posts.extend(read);
        problems.extend(wrong);
    }
    if posts.is_empty() {
        bail!("{} holds no corpus: expected <lang>/<trade>.jsonl", directory.display());
    }
    Ok((posts, problems))
}

fn public_texts(places: &[PathBuf]) -> Result<Vec<Public>> {
    let mut texts = Vec::new();
    for path in places {
        for path in files_in(path)? {
            for (number, line) in text_of(&path)?.lines().enumerate() {
                let text = serde_json::from_str(line).with_context(|| format!("{}:{}", path.display(), number + 1))?;
                texts.push(match text {
                    Public { source, .. } if source.is_empty() => Public { source: stem(&path), ..text },
                    named => named,
                });
            }
        }
    }
    Ok(texts)
}

/// A file, or the JSON Lines under a folder, in order.
pub(super) fn files_in(place: &Path) -> Result<Vec<PathBuf>> {
    if !place.is_dir() {
        return Ok(vec![place.to_owned()]);
    }
    let mut found = Vec::new();
    for entry in std::fs::read_dir(place).with_context(|| format!("failed to read {}", place.display()))? {
        let path = entry?.path();
        let name = path.to_string_lossy().into_owned();
        if path.is_dir() {
            found.extend(files_in(&path)?);
        } else if name.ends_with(".jsonl") || name.ends_with(".jsonl.gz") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// The text of a file, unzipped if its name ends in `.gz`.
pub(crate) fn text_of(path: &Path) -> Result<String> {
    let read = || -> std::io::Result<String> {
        let (mut file, mut text) = (File::open(path)?, String::new());
        match path.extension().is_some_and(|extension| extension == "gz") {
            true => flate2::read::MultiGzDecoder::new(file).read_to_string(&mut text)?,
            false => file.read_to_string(&mut text)?,
        };
        Ok(text)
    };
    read().with_context(|| format!("failed to read {}", path.display()))
}

fn print_rows(report: &Report) {
    println!("share that differs in a draw of fixed size, and the least that real text allows");
    println!("{:<32} {:>6} {:>15} {:>15} {:>15}", "group", "posts", "phrases", "openings", "endings");
    for row in &report.rows {
        let pair = |has: f64, floor: f64| format!("{has:.3} >= {floor:.3}");
        let (has, floor) = (&row.figures, &row.floor);
        println!(
            "{:<32} {:>6} {:>15} {:>15} {:>15}",
            row.group,
            row.posts,
            pair(has.phrases, floor.phrases),
            pair(has.openings, floor.openings),
            pair(has.endings, floor.endings),
        );
    }
}
