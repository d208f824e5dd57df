//! The lint finds each fault, and nothing where there is none.

use super::*;

fn line(id: &str, label: &str, text: &str) -> String {
    let fields = serde_json::json!({ "id": id, "lang": "en", "trade": "bank", "platform": "x", "label": label, "text": text });
    fields.to_string()
}

fn post(id: &str, label: Label, text: &str) -> Post {
    let (id, trade, platform, text) = (id.to_owned(), "bank".to_owned(), "x".to_owned(), text.to_owned());
    Post { id, lang: Lang::En, trade, platform, label, also: Vec::new(), text, answers: None }
}

fn faults(line: &str) -> Vec<String> {
    read("en/bank.jsonl", line).1.iter().map(ToString::to_string).collect()
}

#[test]
fn a_sound_line_is_a_post() {
    let text = line("en-bank-1", "question", "@brand does https://bank.example/fees still hold? call 0000");
    assert_eq!(faults(&text), Vec::<String>::new());
    assert_eq!(read("en/bank.jsonl", &format!("{text}\n\n")).0.len(), 1);
}

#[test]
fn each_wrong_line_is_named_with_its_place() {
    let good = line("en-bank-1", "question", "when?");
    let cases = [
        (good.replace("question", "query"), "en/bank.jsonl:1: is no post of the corpus: unknown variant"),
        (good.replace("\"platform\"", "\"plattform\""), "en/bank.jsonl:1: is no post of the corpus: unknown field"),
        (good.replace("when?", " "), "en/bank.jsonl:1: a text is empty"),
        (good.replace("en-bank-1", "bank-1"), "en/bank.jsonl:1: the id \"bank-1\" must be"),
        (good.replace("\"en\"", "\"ja\"").replace("en-", "ja-"), "en/bank.jsonl:1: belongs into ja/bank.jsonl"),
        (
            good.replace("when?", "call me on 010-1234-5678"),
            "en/bank.jsonl:1: holds a number or address, write it as the pipeline masks it: \"call me on [phone]\"",
        ),
        (good.replace("when?", "see https://bank.com/x"), "en/bank.jsonl:1: points to bank.com,"),
        (good.replace("when?", "ｗｈｅｎ"), "en/bank.jsonl:1: is not in normal form, write \"when\""),
        (good.replace("\"label\"", "\"also\":[\"question\"],\"label\""), "en/bank.jsonl:1: also repeats"),
        (format!("{good}\n[]"), "en/bank.jsonl:2: is no post"),
    ];
    for (text, expected) in cases {
        let found = faults(&text);
        assert!(found.first().is_some_and(|first| first.starts_with(expected)), "{text}\n{found:?}");
    }
}

#[test]
fn twins_copies_and_gaps_are_found() {
    let long = "my transfer has been pending since the second of may";
    let posts = [
        post("en-bank-1", Label::Complaint, long),
        post("en-bank-2", Label::Complaint, "My transfer has been pending since the third of May!!"),
        post("en-bank-2", Label::Other, "the branch on the corner has a new mural of an otter"),
    ];
    let public =
        |source: &str, lang, text: &str| Public { source: source.into(), lang, label: Some(Label::Other), text: text.into() };
    let public = [
        public("forum", Lang::En, "The branch on the corner: has a new mural of an otter."),
        public("film", Lang::Ko, long),
        public("chat", Lang::En, "thank you"),
    ];
    let found: Vec<String> = lint(&posts, &Reference::default(), &public).problems.iter().map(ToString::to_string).collect();
    let starts = [
        "en-bank-1: says nearly the same as en-bank-2",
        "en-bank-2: copies forum",
        "en-bank-2: this id is used twice",
        "en/bank.jsonl: has 0 posts of abuse",
    ];
    for start in starts {
        assert_eq!(found.iter().filter(|problem| problem.starts_with(start)).count(), 1, "{start}\n{found:#?}");
    }
}

/// Forty posts; with a `frame`, all of them in it.
fn forty(frame: bool) -> Vec<Post> {
    // A different word for each number, so that free text never says anything twice.
    let word = |n: u32| -> String { (0..4).map(|i| char::from(b'a' + ((n >> (3 * i)) % 8) as u8)).collect() };
    let text = |n: u32| match frame {
        true => format!("could you please add {} to the app", word(n * 37)),
        false => (0..8).map(|i| word(n * 97 + i * 389)).collect::<Vec<_>>().join(" "),
    };
    (0..40).map(|n| post(&format!("en-bank-{n}"), Label::Proposal, &text(n))).collect()
}

#[test]
fn one_frame_with_forty_fillings_is_monotonous() {
    let figures = Figures { phrases: 0.95, openings: 0.9, endings: 0.95 };
    let source = Source { name: "forum".into(), lang: Lang::En, label: Label::Proposal, few: figures, many: figures };
    let reference = Reference { source: vec![source] };
    let monotonous = |posts: &[Post]| {
        let problems = lint(posts, &reference, &[]).problems;
        problems.iter().filter(|p| p.problem.starts_with("is monotonous")).map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(monotonous(&forty(false)), Vec::<String>::new());
    let found = monotonous(&forty(true));
    assert_eq!(found.len(), 3, "{found:#?}");
    assert!(found[1].contains("often: \"could you\" 40"), "{found:#?}");
}

#[test]
fn figures_do_not_depend_on_how_much_there_is() {
    let public = |n: u32| Public {
        source: "forum".into(),
        lang: Lang::En,
        label: Some(Label::Other),
        text: format!("opening{} of the text and its ending{}", n % 50, n % 70),
    };
    let measured = |texts: u32| Reference::measure(&(0..texts).map(public).collect::<Vec<_>>()).source;
    assert_eq!(measured(239), [], "too few for the large draw");
    let (some, many) = (measured(700)[0].few, measured(2_800)[0].few);
    assert!((some.openings - many.openings).abs() < 0.02, "{some:?} {many:?}");
    assert!(some.openings < some.endings && some.endings < 1.0, "{some:?}");
}
