//! Tests of the model: its file, its training, its reasons.

use super::*;
use crate::classify::{Classifier, Input};

fn rules() -> Classifier {
    Classifier::from_patterns(["complaint\tlate", "abuse\tidiot"]).unwrap()
}

/// Two sources that complain and ask, in their own words.
fn examples() -> Vec<Example> {
    let mut examples = Vec::new();
    for (source, things) in
        [("corpus/a", ["parcel", "box", "letter"]), ("b", ["app", "page", "site"]), ("c", ["train", "bus", "tram"])]
    {
        for thing in things {
            for (label, form) in [
                (Label::Complaint, "the X does not work at all"),
                (Label::Complaint, "still no X, this is terrible"),
                (Label::Question, "where can i find the X"),
                (Label::Question, "how much is a X today"),
                (Label::Other, "i love the X so much"),
            ] {
                examples.push(Example {
                    text: form.replace('X', thing),
                    lang: Lang::En,
                    label,
                    own: Some(label),
                    read: None,
                    judge_only: false,
                    only_not: None,
                    source: source.to_owned(),
                    licence: "Apache-2.0".to_owned(),
                    weight: 1.0,
                    answers: None,
                });
            }
        }
    }
    examples
}

fn options() -> Options {
    Options { bits: 12, date: "2026-11-26".to_owned(), held_out: vec!["corpus/z".to_owned()], ..Options::default() }
}

#[test]
fn training_is_the_same_each_time_and_carries_over() {
    let model = train(&rules(), &examples(), &options()).unwrap();
    assert_eq!(model.as_bytes(), train(&rules(), &examples(), &options()).unwrap().as_bytes());
    let opinion = model.read("where can i find the museum", Lang::En, &Signs::default()).unwrap();
    assert_eq!(top(&opinion.probabilities), Label::Question as usize, "{opinion:?}");
    assert!(model.read("어디서 찾나요", Lang::Ko, &Signs::default()).is_none(), "it knows no Korean");
    let sources: Vec<_> = model.card().data.iter().map(|source| (source.name.as_str(), source.texts)).collect();
    assert_eq!(sources, [("b", 15), ("c", 15), ("corpus/a", 15)]);
}

#[test]
fn what_is_left_out_is_judged_by_a_model_that_never_saw_it() {
    let folds = leave_out(&rules(), &examples(), &options()).unwrap();
    let names: Vec<_> = folds.iter().map(|fold| fold.sources.join(" ")).collect();
    assert_eq!(names, ["b", "c", "corpus/a"]);
    for fold in folds {
        let test: Vec<_> = examples().into_iter().filter(|example| fold.sources.contains(&example.source)).collect();
        let report = evaluate(&rules(), Some(&fold.model), &test);
        assert!(report.texts == 15 && report.macro_f1 > 0.9, "{report:?}");
        let learnt_all = train(&rules(), &examples(), &options()).unwrap();
        assert_ne!(fold.model.as_bytes(), learnt_all.as_bytes());
    }
    let one: Vec<_> = examples().into_iter().filter(|example| example.source == "b").collect();
    assert!(train(&rules(), &one, &options()).unwrap_err().to_string().contains("one source"));
}

#[test]
fn the_file_is_mapped_and_a_broken_one_is_refused() {
    let model = train(&rules(), &examples(), &options()).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("model.bin");
    std::fs::write(&path, model.as_bytes()).unwrap();
    let mapped = Model::open(&path).unwrap();
    assert_eq!(mapped.card(), model.card());
    let text = "the museum does not work";
    let read = |model: &Model| model.read(text, Lang::En, &Signs::default()).unwrap();
    assert_eq!(read(&mapped), read(&model));

    let whole = model.as_bytes().to_vec();
    let changed = |at: usize| {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        bytes
    };
    for (bytes, problem) in [
        (changed(whole.len() - 1), "it is damaged"),
        (changed(60), "it is damaged"),
        (whole[..whole.len() - 9].to_vec(), "it is damaged"),
        (changed(0), "do not begin as a model does"),
        (changed(8), "its format have version"),
        (changed(12), "its features have version"),
        (Vec::new(), "its 0 bytes do not begin as a model does"),
        (b"PK\x03\x04 something else entirely, and long enough to hold a head of fifty bytes".to_vec(), "do not begin"),
    ] {
        std::fs::write(&path, &bytes).unwrap();
        let error = Model::open(&path).unwrap_err();
        assert!(error.to_string().contains(problem) && error.to_string().contains("model.bin"), "{error}");
        assert!(!error.is_retryable());
    }
    let missing = Model::open(&directory.path().join("none.bin")).unwrap_err();
    assert!(missing.to_string().contains("none.bin"), "{missing}");
}

#[test]
fn a_byte_keeps_a_weight_nearly() {
    for weight in [-2.0_f32, -0.5, -0.01, 0.0, 0.003, 0.2, 1.9, 2.0] {
        let kept = file::byte(weight, 2.0);
        let part = f32::from(kept as i8) / 127.0;
        let back = part * part.abs() * 2.0;
        assert!((back - weight).abs() <= 0.02_f32.max(weight.abs() * 0.03), "{weight} {back}");
    }
}

#[test]
fn the_words_that_decided_are_named() {
    let model = Arc::new(train(&rules(), &examples(), &options()).unwrap());
    let classifier = rules().with_model(model);
    let verdict = classifier.read(&Input { text: "the museum is terrible and late", addressed: true, ..Input::default() });
    assert_eq!(verdict.label, Label::Complaint);
    let reasons: Vec<_> = verdict.reasons.iter().map(|reason| (reason.rule.as_str(), reason.words.as_str())).collect();
    assert!(reasons.contains(&("model", "terrible")) && reasons.contains(&("p1", "late")), "{reasons:?}");
    assert!(verdict.reasons.len() <= 5);
}

#[test]
fn the_shipped_model_fits_and_names_its_data() {
    let model = Model::shipped().unwrap();
    assert!(model.as_bytes().len() <= 8 << 20, "{} bytes", model.as_bytes().len());
    let card = model.card();
    assert!(card.data.iter().all(|source| !source.licence.is_empty() && !source.licence.contains("NC")), "{card:?}");
    assert_eq!(card.held_out, ["corpus/telecom", "goemotions", "kote"]);
    assert!(card.data.iter().all(|source| !card.held_out.contains(&source.name)));
    assert_eq!(card.tables.iter().map(|table| table.lang).collect::<Vec<_>>(), [Lang::Ko, Lang::En]);
}
