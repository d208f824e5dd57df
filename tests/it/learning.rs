//! Learning on the desk: what agents correct becomes training text once it was reviewed, and leaves with its post.

use std::{path::PathBuf, time::Duration};

use moksori::{
    app::App,
    case::CaseId,
    classify::{
        Classifier,
        model::{self, Example, Options},
    },
    config::Config,
    control::{self, Answer, Request},
    desk::{Error, LabelBefore},
    mention::{Label, Lang, MentionId},
    queue::{self, Feedback, Review, ReviewState},
    staff::Role,
    training::Data,
};
use serde_json::{Value, json};

use crate::{
    commands::{moksori, readme_desk, said},
    kit::{self, Desk, SHOP, kafka::kafka, postgres::postgres},
};

const COMPLAINT: &str = "주문한 지 열흘인데 배송이 아직도 안 와요. 전화는 010-0000-1234";

async fn corrections(desk: &Desk, state: ReviewState) -> Vec<Feedback> {
    let teams = desk.viewer("LE").await.visible_teams();
    desk.app.store.read(move |reader| reader.feedback(&teams, state, 10)).await.unwrap()
}

fn of(feedback: &Feedback, state: ReviewState) -> Review {
    Review { mention: feedback.mention, at: feedback.at, state, label: None }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_correction_is_reviewed_learnt_and_gone_with_its_post() {
    kit::run(async |desk| {
        let post = desk.sample.post("minji", COMPLAINT, None, Some(SHOP), desk.clock.now(), Some(90));
        let row = desk.case_saying("배송이 아직도").await;
        let (kg, le) = (desk.viewer("KG").await, desk.viewer("LE").await);
        let id = row.case.id;
        desk.app.desk.set_label(&kg, id, Label::Question).await.unwrap();
        let [feedback] = corrections(desk, ReviewState::New).await.try_into().unwrap();
        assert_eq!((feedback.said, feedback.was, feedback.unsure), (Label::Question, row.case.label, false));
        assert!(
            feedback.text.whole().contains("[phone]") && !feedback.text.whole().contains("1234"),
            "{}",
            feedback.text.whole()
        );

        // An agent does not decide what is learnt, nor does somebody of another desk see it.
        let denied = desk.app.desk.review(&kg, of(&feedback, ReviewState::Accepted)).await;
        assert!(matches!(denied, Err(Error::Denied(denied)) if denied.needs == Role::Lead));
        desk.app.desk.review(&le, of(&feedback, ReviewState::Accepted)).await.unwrap();
        let learnt = desk.app.store.read(|reader| reader.accepted_feedback(MentionId(0), 10)).await.unwrap();
        assert_eq!(
            learnt.iter().map(|one| (one.label, one.mention)).collect::<Vec<_>>(),
            [(Label::Question, feedback.mention)]
        );

        assert!(desk.sample.delete(&post));
        desk.until("the correction is gone", async |desk| {
            corrections(desk, ReviewState::Accepted).await.is_empty().then_some(())
        })
        .await;
        let late = desk.app.desk.review(&le, of(&feedback, ReviewState::Accepted)).await;
        assert!(matches!(late, Err(Error::TooLate(_))), "{late:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_taken_back_is_as_if_it_had_not_been_said() {
    kit::run(async |desk| {
        desk.sample.post("minji", COMPLAINT, None, Some(SHOP), desk.clock.now(), Some(90));
        let before = desk.case_saying("배송이 아직도").await.case;
        let (kg, sb) = (desk.viewer("KG").await, desk.viewer("SB").await);
        desk.app.desk.set_label(&kg, before.id, Label::Question).await.unwrap();
        let first = LabelBefore { label: Label::Question, unsure: false, by: Some(kg.id) };
        desk.app.desk.set_label(&sb, before.id, Label::Other).await.unwrap();
        desk.app.desk.unlabel(&sb, before.id, first).await.unwrap();
        let [feedback] = corrections(desk, ReviewState::New).await.try_into().unwrap();
        assert_eq!((feedback.said, feedback.by.as_str()), (Label::Question, "KG"), "the first word is back");
        let machine = LabelBefore { label: before.label, unsure: before.unsure, by: None };
        desk.app.desk.unlabel(&kg, before.id, machine).await.unwrap();
        let after = desk.look(before.id).await.case;
        assert_eq!((after.label, after.unsure, after.labelled_by), (before.label, before.unsure, None));
        assert_eq!(corrections(desk, ReviewState::New).await, []);
    })
    .await;
}

/// A model that was trained in a moment, on next to nothing.
fn tiny(name: &str) -> Vec<u8> {
    let words = ["고장", "언제", "추가", "바보", "감사"];
    let examples = (0..3_u32).flat_map(|source| {
        words.iter().zip(Label::ALL).flat_map(move |(word, label)| {
            (0..20_u32).map(move |number| Example {
                text: format!("{word} {} 이야기", char::from_u32(0xac00 + 28 * (number * 7 + source)).unwrap()),
                lang: Lang::Ko,
                label,
                own: Some(label),
                read: None,
                judge_only: false,
                only_not: None,
                source: format!("source {source}"),
                licence: "Apache-2.0".to_owned(),
                weight: 1.0,
                answers: None,
            })
        })
    });
    let rules = Classifier::from_patterns([]).unwrap();
    let options = Options { name: name.to_owned(), bits: 10, rounds: 2, ..Options::default() };
    model::train(&rules, &examples.collect::<Vec<_>>(), &options).unwrap().as_bytes().to_vec()
}

fn saved(config: &Config, name: &str, bytes: &[u8]) -> PathBuf {
    let path = config.data.directory.join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

async fn ask(config: &Config, command: &str, args: Value) -> Result<Value, String> {
    let request = Request { command: command.to_owned(), args };
    match control::ask(&config.data.directory, &request).await.unwrap().expect("the desk runs") {
        Answer::Ok(value) => Ok(value),
        Answer::Error(error) => Err(error),
    }
}

/// Posts, corrects what the classifier says of it, and so learns which model judged.
async fn judged_by(desk: &Desk, author: &str) -> u32 {
    let text = format!("{author} 손님 주문 배송이 아직도 안 와요");
    desk.sample.post(author, &text, None, Some(SHOP), desk.clock.now(), None);
    let case = desk.case_saying(&format!("{author} 손님")).await.case;
    let label = if case.label == Label::Other { Label::Abuse } else { Label::Other };
    desk.app.desk.set_label(&desk.viewer("KG").await, case.id, label).await.unwrap();
    let of = |id: CaseId| move |feedback: &&Feedback| feedback.case == id;
    corrections(desk, ReviewState::New).await.iter().find(of(case.id)).expect("it is kept").model
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_is_promoted_without_a_restart_and_judgements_say_by_which() {
    kit::run(async |desk| {
        let judge = || desk.app.pipeline.judges().model;
        assert_eq!((judge(), judged_by(desk, "mira").await), (1, 1), "the one that came with the program");
        let file = saved(&desk.config, "candidate.bin", &tiny("candidate"));
        let answer = ask(&desk.config, "model use", json!({ "role": "judge", "file": file })).await.unwrap();
        assert_eq!((&answer["version"], judge()), (&json!(2), 2));
        assert_eq!(judged_by(desk, "jun").await, 2);

        let broken = saved(&desk.config, "broken.bin", &tiny("candidate")[..200]);
        let refused = ask(&desk.config, "model use", json!({ "role": "judge", "file": broken })).await.unwrap_err();
        assert!(refused.contains("broken.bin is no model that can be used"), "{refused}");
        let refused = ask(&desk.config, "model use", json!({ "role": "judge", "version": 9 })).await.unwrap_err();
        assert!(refused.contains("there is no model 9"), "{refused}");
        assert_eq!(judge(), 2, "what was refused changes nothing");

        ask(&desk.config, "model rollback", Value::Null).await.unwrap();
        ask(&desk.config, "model use", json!({ "role": "shadow", "version": 2 })).await.unwrap();
        assert_eq!((judge(), judged_by(desk, "sora").await), (1, 1));
        let counted = moksori::metrics::scrape(&desk.app.registry).unwrap();
        assert!(counted.contains("moksori_classify_model_version{role=\"shadow\"} 2"), "{counted}");
        assert_eq!(counted.matches("moksori_classify_shadow_total{").count(), 1, "one post was read by both");
        let list = ask(&desk.config, "model list", Value::Null).await.unwrap();
        let roles: Vec<_> =
            list["models"].as_array().unwrap().iter().map(|model| (&model["role"], &model["built_in"])).collect();
        assert_eq!(roles, [(&json!("shadow"), &json!(false)), (&json!("judge"), &json!(true))]);
        assert_eq!(list["models"][0]["card"]["name"], "candidate");

        // Rules that are published keep the model, and what was accepted is printed for training.
        ask(&desk.config, "rules publish", Value::Null).await.unwrap();
        assert_eq!(judge(), 1);
        let le = desk.viewer("LE").await;
        for feedback in corrections(desk, ReviewState::New).await {
            desk.app.desk.review(&le, of(&feedback, ReviewState::Accepted)).await.unwrap();
        }
        let lines = ask(&desk.config, "feedback", Value::Null).await.unwrap();
        assert_eq!(lines["lines"].as_array().unwrap().len(), 3);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_node_follows_a_promotion() {
    let what = "that every node follows a promotion";
    let (Some(postgres), Some(kafka)) = (postgres(what), kafka(what)) else { return };
    let (_one, _other) = (postgres.shared(), kafka.shared());
    let topics = ["mentions", "dead", "case_events"]
        .map(|topic| format!("[bus.topics.{topic}]\nname = \"learning-{topic}\"\npartitions = 1\nreplication = 1\n"));
    let text = format!(
        "[bus]\nengine = \"kafka\"\n[[bus.cluster]]\nname = \"main\"\nbrokers = \"{}\"\n[bus.kafka]\ngroup = \"learning\"\n{}",
        kafka.bootstrap(),
        topics.concat()
    );
    let log = Config::from_texts(&[("kafka.toml".into(), text)], &[]).unwrap().bus;
    let clock = moksori::clock::Clock::by_hand(kit::noon());
    let (dir, sample) = (tempfile::tempdir().unwrap(), kit::sample(&clock).await);
    let url = postgres.database();
    let node = async |name: &str, roles: Vec<moksori::config::Role>| {
        std::fs::create_dir_all(dir.path().join(name)).unwrap();
        let mut config = kit::config(&dir.path().join(name), &sample);
        config.queue = queue::Config::at(&url, 6, Duration::from_secs(5));
        config.bus = log.clone();
        config.server.roles = roles;
        queue::Store::migrate(&config.data.directory, &config.queue).unwrap();
        let app = App::start(config.clone(), clock.clone()).await.unwrap();
        (config, app)
    };
    let (config, first) = node("first", vec![moksori::config::Role::Triage, moksori::config::Role::Web]).await;
    let (_, second) = node("second", vec![moksori::config::Role::Triage]).await;
    let judges = |app: &App| (app.pipeline.judges().model, app.pipeline.judges().shadow.as_ref().map(|(version, _)| *version));
    assert_eq!((judges(&first), judges(&second)), ((1, None), (1, None)));
    let file = saved(&config, "candidate.bin", &tiny("candidate"));
    ask(&config, "model use", json!({ "role": "judge", "file": file })).await.unwrap();
    ask(&config, "model use", json!({ "role": "shadow", "version": 1 })).await.unwrap();
    assert_eq!(judges(&first), (2, Some(1)));
    for look in 0.. {
        if judges(&second) == (2, Some(1)) {
            break;
        }
        assert!(look < 1_500, "the other node still has {:?}", judges(&second));
        clock.advance(Duration::from_millis(250));
        kit::breathe().await;
    }
    for app in [first, second] {
        let stopping = tokio::spawn(app.stop());
        clock.advance(Duration::from_secs(60));
        assert!(stopping.await.unwrap(), "a stage did not stop");
    }
}

#[test]
fn training_takes_corrections_along_and_nothing_that_is_held_out() {
    let line = |text: &str, label: &str| {
        format!("{}\n", json!({ "id": "feedback-1", "text": text, "label": label, "lang": "ko", "was": "other", "by": "KG" }))
    };
    let mut data = Data::default();
    data.learn_from(&line("개통이 안 돼요", "complaint")).unwrap();
    data.held_out = std::mem::take(&mut data.train);
    let lines = [line("개통이  안 돼요", "question"), line("재입고 언제 되나요 010-0000-1234", "question")].concat();
    data.learn_from(&lines).unwrap();
    let learnt: Vec<_> =
        data.train.iter().map(|example| (example.text.as_str(), example.label, example.source.as_str())).collect();
    assert_eq!(learnt, [("재입고 언제 되나요 [phone]", Label::Question, "feedback")]);
    let wrong = data.learn_from("{}").unwrap_err();
    assert!(format!("{wrong:#}").starts_with("feedback:1: "), "{wrong:#}");
}

#[test]
fn a_candidate_that_is_worse_is_refused_with_the_figures() {
    let dir = readme_desk();
    std::fs::write(dir.path().join("candidate.bin"), tiny("candidate")).unwrap();
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/rules/corpus/ko/telecom.jsonl");
    let promote = |more: &[&str]| moksori(dir.path(), &[&["model", "promote", "candidate.bin"], more].concat());
    let unseen = promote(&[]);
    assert!(!unseen.status.success() && said(&unseen).contains("say with --on which labelled texts"), "{}", said(&unseen));
    let refused = promote(&["--on", corpus]);
    assert!(!refused.status.success(), "{}", said(&refused));
    let all = said(&refused).lines().find(|line| line.starts_with("all")).unwrap_or_default().to_owned();
    assert!(all.contains(" 311 ") && all.ends_with("  worse"), "{}", said(&refused));
    assert!(said(&refused).contains("worse beyond noise and was not promoted"), "{}", said(&refused));
    assert!(said(&moksori(dir.path(), &["model", "list", "--config", "moksori.toml"])).contains("1  judge"));
    let forced = promote(&["--force"]);
    assert!(said(&forced).contains("model 2 judges from now on"), "{}", said(&forced));
    let better = moksori(dir.path(), &["model", "promote", "1", "--on", corpus]);
    assert!(said(&better).contains("  better") && said(&better).contains("model 1 judges from now on"), "{}", said(&better));
    let back = moksori(dir.path(), &["model", "rollback"]);
    assert!(said(&back).contains("model 2 judges again"), "{}", said(&back));
    assert_eq!(said(&moksori(dir.path(), &["feedback"])), "", "nobody has corrected anything");
}
