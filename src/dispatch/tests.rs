//! Tests of dispatch: every condition, explanations, broken files.

use super::*;

fn known() -> Known {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    Known {
        teams: names(&["shop-cs", "shop-orders", "shop-product", "office-desk", "office-plan", "bank-help", "bank-cards"]),
        policies: names(&["standard", "crisis"]),
        brands: names(&["shop", "office", "bank"]),
    }
}

fn files(texts: &[&str]) -> Vec<(String, String)> {
    texts.iter().enumerate().map(|(i, text)| (format!("{}.toml", i + 1), (*text).to_owned())).collect()
}

fn facts(text: &str) -> Facts<'_> {
    Facts {
        label: Label::Complaint,
        confidence: 0.8,
        unsure: false,
        lang: Lang::Ko,
        platform: "forum",
        account: "main",
        brand: "shop",
        text,
        reach: 10,
        side: Side::Customer,
        addressed: true,
    }
}

const LAST: &str = "[[rule]]\nid = 'last'\nfold = {}\n";

#[test]
fn the_shipped_rules_hold_their_examples() {
    let read = |path: &str| (path.to_owned(), std::fs::read_to_string(path).unwrap());
    let all = ["samples/shop/rules", "samples/office/rules", "samples/bank/rules", "rules"]
        .map(|folder| read(&format!("{folder}/dispatch.toml")));
    let dispatcher = Dispatcher::parse(&all, &known()).unwrap();
    assert_eq!(dispatcher.check(), Ok(()));
    let alone = Dispatcher::parse(&all[3..], &Known::default()).unwrap();
    assert_eq!(alone.check(), Ok(()), "the default rules need no configuration");
    assert!(all[..3].iter().all(|(_, text)| text.contains("[[rule.example]]")));
}

#[test]
fn each_condition_decides() {
    let usual = facts("환불이 안 돼요, App");
    for (when, fits) in [
        ("label = ['complaint', 'question']", true),
        ("label = ['abuse']", false),
        ("unsure = false", true),
        ("unsure = true", false),
        ("lang = ['ko']", true),
        ("lang = ['en', 'ja']", false),
        ("platform = ['forum']", true),
        ("platform = ['other']", false),
        ("account = ['main']", true),
        ("account = ['second']", false),
        ("brand = ['shop']", true),
        ("brand = ['office']", false),
        ("keyword = ['교환', '환불']", true),
        ("keyword = ['app']", true),
        ("keyword = ['ap']", false),
        ("reach_min = 10", true),
        ("reach_min = 11", false),
        ("side = 'customer'", true),
        ("side = 'other'", false),
        ("addressed = true", true),
        ("addressed = false", false),
        ("confidence_min = 0.8", true),
        ("confidence_min = 0.9", false),
        ("confidence_max = 0.8", true),
        ("confidence_max = 0.5", false),
        ("label = ['complaint'], reach_min = 11", false),
    ] {
        let rule = format!("[[rule]]\nid = 'first'\nwhen = {{ {when} }}\nhold = {{ team = 'shop-cs' }}\n");
        let dispatcher = Dispatcher::parse(&files(&[&rule, LAST]), &known()).unwrap();
        let expected = if fits { "first" } else { "last" };
        assert_eq!(dispatcher.decide(&usual).rule, expected, "{when}");
        let steps = dispatcher.explain(&usual);
        assert_eq!(steps.last().unwrap().rule, expected);
        if !fits {
            let missed = steps[0].missed.as_ref().unwrap();
            assert!(when.contains(missed.key) && !missed.wanted.is_empty(), "{missed:?}");
            assert!(!missed.found.contains("환불"), "explanations carry no text");
        }
    }
}

#[test]
fn the_first_rule_that_fits_decides() {
    let rules = "
        [[rule]]
        id = 'loud'
        when = { reach_min = 10000 }
        case = { team = 'shop-cs', priority = 'high', policy = 'crisis' }
        [[rule]]
        id = 'rest'
        case = { team = 'default' }
        [[rule.example]]
        facts = { reach = 20000 }
        expect = 'case shop-cs high'
        [[rule.example]]
        expect = 'fold'
    ";
    let dispatcher = Dispatcher::parse(&files(&[rules]), &known()).unwrap();
    let loud = dispatcher.decide(&Facts { reach: 10_000, ..facts("") });
    assert_eq!(loud.outcome, Outcome::Case { team: "shop-cs", priority: Priority::High, policy: Some("crisis") });
    let rest = dispatcher.decide(&facts(""));
    assert_eq!(rest.outcome, Outcome::Case { team: DEFAULT_TEAM, priority: Priority::Normal, policy: None });
    let faults = dispatcher.check().unwrap_err();
    assert_eq!(
        faults.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["1.toml:6: rest.example 2: expected \"fold\", rule rest makes it \"case default\"; \
          change the example, the rule or their order"]
    );
}

#[test]
fn a_broken_file_says_what_to_do() {
    let case = |rest: &str| format!("\n[[rule]]\nid = 'a'\n{rest}\n{LAST}");
    for (text, expected) in [
        (case("case = { team = 'cs' }"), "1.toml:2: a.case.team: unknown team \"cs\"; use one of shop-cs"),
        (case("hold = { team = 'cs' }"), "1.toml:2: a.hold.team: unknown team"),
        (
            case("case = { team = 'shop-cs', policy = 'gold' }"),
            "1.toml:2: a.case.policy: unknown policy \"gold\"; use one of standard, crisis",
        ),
        (
            case("when = { brand = ['shoe'] }\nfold = {}"),
            "1.toml:2: a.when.brand: unknown brand \"shoe\"; use one of shop, office",
        ),
        (case("when = { keyword = [' '] }\nfold = {}"), "1.toml:2: a.when.keyword: an empty word"),
        (case("when = { confidence_min = 1.5 }\nfold = {}"), "1.toml:2: a.when.confidence_min: 1.5 is not within 0 and 1"),
        (case("when = { lang = ['ko'] }"), "1.toml:2: a.case: not exactly one of case, fold and hold; keep one"),
        (case("fold = {}\nhold = { team = 'shop-cs' }"), "1.toml:2: a.case: not exactly one"),
        (case("fold = {}"), "1.toml:5: last.when: it never runs: a at 1.toml:2 has no conditions; put the rule"),
        (case("when = { colour = 'red' }\nfold = {}"), "1.toml:4: toml: unknown field `colour`"),
        (
            case("when = { label = 'complaint' }\nfold = {}"),
            "1.toml:4: toml: invalid type: string \"complaint\", expected a sequence; correct",
        ),
        (case("when = { label = ['angry'] }\nfold = {}"), "1.toml:4: toml: unknown variant `angry`"),
        (
            LAST.replace("fold", "when = { reach_min = 1 }\nfold"),
            "1.toml:1: last.when: no rule fits what all others pass over; end with",
        ),
        (
            format!("{}{LAST}", LAST.replace("fold", "when = { reach_min = 1 }\nfold")),
            "1.toml:5: last.id: the id is taken by 1.toml:1",
        ),
        (LAST.replace("last", " "), "1.toml:1:  .id: it is empty"),
        (String::new(), "1.toml:1: rule: no rule fits"),
        ("[[rule]\n".into(), "1.toml:1: toml: "),
    ] {
        let error = Dispatcher::parse(&files(&[&text]), &known()).unwrap_err();
        assert!(error.to_string().starts_with(expected), "{error}\n{text}");
        assert!(!error.is_retryable());
    }
}
