//! The corpus that the model learns from: sound, varied, and nobody else's.

use std::path::{Path, PathBuf};

use moksori::{learn, mention::Lang};

const CORPUS: &str = "rules/corpus";

#[test]
fn the_corpus_may_be_trained_on() {
    let public: Vec<PathBuf> = Some(PathBuf::from("rules/public")).into_iter().filter(|path| path.exists()).collect();
    let (posts, report) = learn::lint(Path::new(CORPUS), &public).unwrap();
    let problems: Vec<String> = report.problems.iter().map(ToString::to_string).collect();
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    for lang in [Lang::Ko, Lang::En] {
        let count = posts.iter().filter(|post| post.lang == lang).count();
        assert!(count >= 3_000, "{} has {count} posts", lang.as_str());
        let groups = report.rows.iter().filter(|row| row.group.starts_with(lang.as_str()));
        assert!(groups.count() >= 12 + 5, "every trade and label is large enough to be judged");
    }
    assert!(report.rows.iter().all(|row| row.floor.phrases > 0.5), "every group has real text to compare with");
}

#[test]
fn a_corpus_that_is_not_there_is_said_so() {
    let error = learn::lint(Path::new("rules/sla.toml/none"), &[]).unwrap_err();
    assert!(format!("{error:#}").starts_with("failed to read rules/sla.toml/none"), "{error:#}");
    let empty = tempfile::tempdir().unwrap();
    let error = learn::lint(empty.path(), &[]).unwrap_err().to_string();
    assert!(error.ends_with("holds no corpus: expected <lang>/<trade>.jsonl"), "{error}");
}
