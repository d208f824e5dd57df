//! Tests of the classifier: labels, reasons, languages, broken rule files.

use std::collections::HashMap;

use super::*;
use crate::text::{mask, normalise};

fn shipped() -> Classifier {
    let mut paths: Vec<_> = std::fs::read_dir("rules/classify").unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let files: Vec<_> = paths.iter().map(|path| (path.display().to_string(), std::fs::read_to_string(path).unwrap())).collect();
    Classifier::parse(&files).unwrap_or_else(|error| panic!("{error}"))
}

/// As the program judges: rules and the model that it carries.
fn whole() -> Classifier {
    shipped().with_model(Model::shipped().unwrap())
}

#[test]
fn the_shipped_rules_hold_their_examples() {
    let classifier = shipped();
    assert!(classifier.len() >= 90, "{} rules", classifier.len());
    if let Err(faults) = classifier.check() {
        panic!("{}", faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"));
    }
}

/// How rules and model do on a sample's own labels, which the model was not trained on: printed, and held to a floor.
/// `cargo test --lib classify -- --nocapture accuracy`
#[test]
fn accuracy_on_the_sample_shop() {
    let Ok(lines) = std::fs::read_to_string("samples/shop/posts.jsonl") else { return };
    let classifier = whole();
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
    assert!(sure >= 0.9 && share <= 0.2, "{sure} {share}");
}

fn files(text: &str) -> Vec<(String, String)> {
    vec![("rules.toml".to_owned(), text.to_owned())]
}

fn verdict(classifier: &Classifier, text: &str, answers: Option<Label>) -> Verdict {
    let text = normalise(text).into_owned();
    classifier.read(&Input { text: &mask(&text), lang_hint: None, answers, addressed: true })
}

#[test]
fn ordinary_posts_get_their_label() {
    let classifier = whole();
    for (text, label) in [
        ("열흘째 배송이 안 와요", Label::Complaint),
        ("The zip broke on the second day", Label::Complaint),
        ("이 의자 접을 수 있나요?", Label::Question),
        ("Do you ship to Busan?", Label::Question),
        ("다크모드 추가해 주세요", Label::Proposal),
        ("It would be great if you sold refills", Label::Proposal),
        ("시1발 개새1끼들아", Label::Abuse),
        ("병.신 같은 놈들", Label::Abuse),
        ("ㅅㅣ발놈들 뒤져라", Label::Abuse),
        ("f*ck you all, m.o.r.o.n.s, you are idi0ts", Label::Abuse),
        ("찾아가서 죽여버린다", Label::Abuse),
        ("쓰레기 앱 ㅅㅂ 렉 개심하네", Label::Complaint),
        ("존나 재밌다", Label::Other),
        ("너무 예뻐요 감사합니다", Label::Other),
        ("재택부업 월 300만 카톡문의", Label::Other),
        ("골목에 불법주차가 너무 심합니다. 단속해 주세요", Label::Complaint),
        ("횡단보도를 설치해 주세요", Label::Proposal),
    ] {
        let verdict = verdict(&classifier, text, None);
        assert!(verdict.label == label && !verdict.unsure, "{text}: {verdict:?}");
        assert!(verdict.reasons.len() <= 5 && !verdict.reasons.is_empty());
        assert!(verdict.reasons.iter().all(|reason| reason.words.chars().count() <= 22), "{verdict:?}");
    }
}

#[test]
fn a_disguised_insult_is_one() {
    let classifier = whole();
    for text in [
        "시1발 새끼들아 전화 좀 받아라",
        "야 이 ㅅㅂ놈들아",
        "병.신 같은 상담원 새끼",
        "병 신 새 끼 들",
        "ㅂㅅ같은 것들 일을 그따위로 하냐",
        "ㅅㅣ발놈들",
        "씨@@발 놈들 다 뒤져라",
        "개새1끼들",
        "미친놈들ㅋㅋ 니들 다 꺼져 ㅄ들아",
        "you f*cking idiots",
        "go to hell you stup1d b!tch",
        "m.o.r.o.n.s, all of you",
        "you are all fuuuucking morons",
        "stupid a$$holes, i hope you die",
    ] {
        let verdict = verdict(&classifier, text, None);
        assert_eq!(verdict.label, Label::Abuse, "{text}: {verdict:?}");
    }
}

#[test]
fn profanity_at_a_thing_is_no_abuse() {
    let classifier = whole();
    for (text, label) in [
        ("ㅅㅂ 앱이 또 튕기네 로그인도 안되고", Label::Complaint),
        ("존나 느려서 결제가 안 됨 환불해줘라", Label::Complaint),
        ("좆망겜 서버 또 터짐", Label::Complaint),
        ("와 존나 맛있다 또 시켜야지", Label::Other),
        ("개꿀 ㅋㅋㅋ 미쳤다 진짜 너무 좋아", Label::Other),
        ("this damn app crashes every time i pay", Label::Complaint),
        ("the wifi is shit again, third outage this week", Label::Complaint),
        ("holy shit this burger is so good", Label::Other),
        ("so fucking happy with my new phone", Label::Other),
    ] {
        let verdict = verdict(&classifier, text, None);
        assert_eq!(verdict.label, label, "{text}: {verdict:?}");
    }
}

#[test]
fn what_says_nothing_is_left_to_a_person() {
    let classifier = whole();
    for text in ["", "음", "아까 그거 말인데", "12345", "@pine"] {
        let verdict = verdict(&classifier, text, None);
        assert!(verdict.unsure || verdict.label == Label::Other, "{text}: {verdict:?}");
    }
}

#[test]
fn an_answer_is_read_in_its_thread() {
    let classifier = whole();
    let alone = verdict(&classifier, "나도 똑같아요", None);
    let below = verdict(&classifier, "나도 똑같아요", Some(Label::Complaint));
    assert!(below.label == Label::Complaint && !below.unsure && below.confidence > alone.confidence, "{below:?}");
    for short in ["me too", "same here", "저도 똑같아요", "저도요"] {
        let short = verdict(&classifier, short, Some(Label::Complaint));
        assert!(short.label == Label::Complaint && !short.unsure, "{short:?}");
    }
    for thanks in ["네 감사합니다", "ok thanks"] {
        let thanks = verdict(&classifier, thanks, Some(Label::Complaint));
        assert_eq!(thanks.label, Label::Other, "{thanks:?}");
    }
    let below_praise = verdict(&classifier, "ㅇㅈ", Some(Label::Other));
    assert_ne!(below_praise.label, Label::Complaint);
}

#[test]
fn reasons_quote_the_masked_text_as_it_was_written() {
    let verdict = verdict(&whole(), "야 이 미친 새1끼들아 010-1234-5678로 전화해", None);
    let words: Vec<_> = verdict.reasons.iter().map(|reason| reason.words.as_str()).collect();
    assert!(words.iter().any(|words| words.contains("새1끼")), "{words:?}");
    assert!(!words.iter().any(|words| words.contains("1234")), "{words:?}");
}

#[test]
fn force_settles_and_forbid_excludes() {
    let rule = |id: &str, label: &str, word: &str, rest: &str| {
        format!("[[rule]]\nid='{id}'\nlabel='{label}'\nweight=1\nany=['{word}']\n{rest}\nmatch=['{word}']\nno_match=['x']\n")
    };
    let rules =
        [("a", "abuse", "alpha", ""), ("b", "question", "beta", "force=true"), ("c", "other", "gamma", "forbid='abuse'")];
    let text: String = rules.iter().map(|(id, label, word, rest)| rule(id, label, word, rest)).collect();
    let classifier = Classifier::parse(&files(&text)).unwrap();
    assert_eq!(classifier.check(), Ok(()));
    for (text, label) in [("alpha", Label::Abuse), ("alpha alpha beta", Label::Question), ("alpha gamma", Label::Other)] {
        assert_eq!(verdict(&classifier, text, None).label, label, "{text}");
    }
    assert!(verdict(&classifier, "alpha beta", None).confidence >= 0.95);
}

#[test]
fn the_parts_of_a_rule_must_all_hold() {
    let text = r#"[[rule]]
id = "r"
label = "complaint"
lang = ["ko"]
weight = 1.0
regex = 'App\b'
any = ["down", "느려"]
all = ["오늘"]
not = 'test'
match = ["오늘 APP이 느려"]
no_match = ["오늘 apple 느려", "app 느려", "오늘 app test 느려", "오늘 app downtown"]"#;
    let classifier = Classifier::parse(&files(text)).unwrap();
    assert_eq!(classifier.check(), Ok(()));
    let other_language =
        classifier.read(&Input { text: "the app is down and 오늘 it was not up", addressed: true, ..Input::default() });
    assert!(other_language.reasons.iter().all(|reason| reason.rule != "r"), "the rule is Korean");
}

#[test]
fn a_broken_file_says_what_to_do() {
    let good = "[[rule]]\nid = 'a'\nlabel = 'complaint'\nweight = 1.0\nany = ['x']\nmatch = ['x']\nno_match = ['y']\n";
    for (text, expected) in [
        (good.replace("any", "anny"), "rules.toml:5: rule \"a\": unknown field `anny`"),
        (good.replace("complaint", "angry"), "rules.toml:3: rule \"a\": unknown variant `angry`"),
        (good.replace("1.0", "0.0"), "rules.toml:1: rule \"a\": weight 0 is not within 0 and 10"),
        (good.replace("any = ['x']", ""), "rules.toml:1: rule \"a\": nothing to look for; add regex, any or all"),
        (good.replace("no_match = ['y']", ""), "rules.toml:1: rule \"a\": examples are missing; add"),
        (good.replace("\nmatch = ['x']", ""), "rules.toml:1: rule \"a\": examples are missing"),
        (good.replace("any = ['x']", "any = [' ']"), "rules.toml:1: rule \"a\": an empty literal matches everything"),
        (good.replace("'a'", "'a b'"), "rules.toml:1: rule \"a b\": the id must have 1 to 80 characters without spaces"),
        (format!("{good}{good}"), "rules.toml:8: rule \"a\": the id is taken by rules.toml:1; give each rule its own id"),
        (good.replace("any = ['x']", "regex = '('"), "rules.toml:1: rule \"a\": the pattern does not compile: "),
        (good.replace("any = ['x']", "regex = 'x*'"), "rules.toml:1: rule \"a\": the pattern matches an empty text"),
        (
            good.replace("any = ['x']", r"regex = '\w{1000}{1000}'"),
            "rules.toml:1: rule \"a\": the pattern grows over 524288 bytes",
        ),
        (
            good.replace("any = ['x']", &format!("regex = '{}'", "ab|".repeat(9_000))),
            "rules.toml:1: rule \"a\": the pattern has 27000 bytes",
        ),
        (String::new(), "rules.toml:1: the file has no [[rule]]; add one or delete the file"),
        ("[[rule".into(), "rules.toml:1: "),
    ] {
        let error = Classifier::parse(&files(&text)).unwrap_err();
        assert!(error.to_string().starts_with(expected), "{error}\n{text}");
        assert!(!error.is_retryable());
    }
    let wrong = Classifier::parse(&files(&good.replace("no_match = ['y']", "no_match = ['x y']"))).unwrap();
    let faults: Vec<_> = wrong.check().unwrap_err().iter().map(ToString::to_string).collect();
    let expected = "rules.toml:1: rule \"a\": matches its example \"x y\"; narrow the rule or move the text to match";
    assert_eq!(faults, [expected]);
    assert!(Classifier::from_patterns(["complaint no tab"]).is_err());
}

#[test]
fn hostile_texts_cost_little() {
    let classifier = whole();
    let patterns =
        Classifier::from_patterns([r"other	(a+)+$", r"other	(.*){20}x", r"complaint	배송[^.!?]{0,12}(안|못|늦)"]).unwrap();
    for text in [
        "a".repeat(10_000),
        "배송".repeat(3_400),
        "안 ".repeat(3_000),
        "시1".repeat(3_000),
        "[@#".repeat(3_300),
        "\u{1f600}".repeat(2_500),
    ] {
        for classifier in [&classifier, &patterns] {
            let start = cpu();
            verdict(classifier, &text, Some(Label::Complaint));
            let millis = (cpu() - start) as f64 / 1e6;
            println!("{millis:.2} ms for {} bytes of {:?}", text.len(), &text[..text.floor_char_boundary(6)]);
            assert!(millis < 250.0, "a text must not stop the stream");
        }
    }
}

/// How the rules see real petitions, which nobody has labelled: printed.
/// A desk on which more than a third is unsorted is worse than rules alone.
#[test]
fn a_third_of_a_brands_posts_is_unsorted_at_most() {
    let classifier = whole();
    for brand in ["shop", "office", "bank"] {
        let Ok(lines) = std::fs::read_to_string(format!("samples/{brand}/posts.jsonl")) else { continue };
        let posts: Vec<serde_json::Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let texts: Vec<&str> =
            posts.iter().filter(|post| post["op"] == "post").map(|post| post["text"].as_str().unwrap()).collect();
        let unsure = texts.iter().filter(|text| verdict(&classifier, text, None).unsure).count();
        println!("{brand}: {unsure} of {} are unsorted", texts.len());
        assert!(unsure * 3 <= texts.len(), "{brand}: {unsure} of {}", texts.len());
    }
}

/// Nanoseconds that this thread has run, by Linux's count; 0 elsewhere.
fn cpu() -> u64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    stat.split(' ').next().and_then(|nanos| nanos.parse().ok()).unwrap_or_default()
}

/// What one text costs, printed: `cargo test --lib classify -- --nocapture costs`, with `PATTERNS=file`
/// for lines of `label TAB regex`. A debug build is several times slower than a release.
#[test]
fn what_a_text_costs() {
    let Ok(lines) = std::fs::read_to_string("samples/shop/posts.jsonl") else { return };
    let texts: Vec<String> = lines
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["text"].as_str().map(str::to_owned))
        .collect();
    let patterns = std::env::var("PATTERNS").ok().map(|path| std::fs::read_to_string(path).unwrap());
    let classifier = patterns.map_or_else(shipped, |patterns| Classifier::from_patterns(patterns.lines()).unwrap());
    let mut unsure = 0;
    let (rounds, mut start) = (20, cpu());
    for (index, text) in texts.iter().cycle().take(texts.len() * (rounds + 1)).enumerate() {
        // The first round fills the regex engine's caches.
        if index == texts.len() {
            start = cpu();
        }
        let text = normalise(text);
        unsure += u32::from(classifier.read(&Input { text: &mask(&text), addressed: true, ..Input::default() }).unsure);
    }
    let micros = (cpu() - start) as f64 / 1_000.0 / (texts.len() * rounds) as f64;
    println!("{micros:.1} us a text with {} rules, {unsure} unsure", classifier.len());
}
