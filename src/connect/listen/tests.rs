//! How queries are asked for on a platform, and what is kept of what it gives.

use super::*;
use crate::mention::Author;

fn full() -> Dialect {
    toml::from_str("and = ' '\nor = ' OR '\nnot = '-{}'\nphrase = '\"{}\"'\ngroup = '({})'\nlang = 'lang:{}'\nmax_chars = 512")
        .unwrap()
}

fn asked(text: &str, dialect: &Dialect) -> Vec<String> {
    let queries = [Listen { name: "q".into(), text: text.into() }];
    shards(&queries, dialect).unwrap().into_iter().map(|shard| shard.text).collect()
}

#[test]
fn a_query_is_asked_for_in_the_platforms_words() {
    for (text, expected) in [
        ("한빛전자", "한빛전자"),
        ("한빛전자 -채용", "한빛전자 -채용"),
        ("한빛전자 (배송 OR \"환불 요청\") lang:ko", "한빛전자 (배송 OR \"환불 요청\") lang:ko"),
        ("a -(b OR c)", "a -(b OR c)"),
        ("hanbit -\"no way\"", "hanbit -\"no way\""),
        ("hanbit ser*", "hanbit"),
        ("hanbit label:complaint", "hanbit"),
        ("\"a b\"~3 c", "a b c"),
        ("(a b) OR c", "(a b) OR c"),
    ] {
        assert_eq!(asked(text, &full()), [expected], "{text}");
    }
}

#[test]
fn what_a_platform_cannot_say_is_asked_more_widely_never_more_narrowly() {
    let plain: Dialect = toml::from_str("and = ' '").unwrap();
    assert_eq!(asked("한빛전자 -채용 lang:ko", &plain), ["한빛전자"]);
    assert_eq!(asked("\"환불 요청\" 한빛", &plain), ["환불 요청 한빛"]);
    assert_eq!(asked("a OR b", &plain), ["a", "b"], "no OR: one walk for each");
    assert_eq!(asked("x (a OR b)", &plain), ["x"], "the OR is left to the filter");
    let none = Dialect::default();
    assert_eq!(asked("a b", &none), ["a"], "one word of them");
    // A phrase that cannot be excluded as such must not exclude its words.
    let not: Dialect = toml::from_str("and = ' '\nnot = '-{}'").unwrap();
    assert_eq!(asked("a -\"b c\"", &not), ["a"]);
    let error = shards(&[Listen { name: "q".into(), text: "-a".into() }], &none).unwrap_err();
    assert!(error.contains("no word"), "{error}");
    let error = shards(&[Listen { name: "q".into(), text: "(a".into() }], &none).unwrap_err();
    assert!(error.contains("`q`") && error.contains("parenthesis"), "{error}");
}

#[test]
fn a_query_that_is_too_long_is_divided_at_its_alternatives() {
    let dialect = Dialect { max_chars: Some(20), ..full() };
    let parts = asked("(aaaaaa OR bbbbbb OR cccccc OR dddddd)", &dialect);
    assert_eq!(parts, ["aaaaaa OR bbbbbb", "cccccc OR dddddd"]);
    let parts = asked("x (aaaaaa OR bbbbbb OR cccccc)", &dialect);
    assert!(parts.iter().all(|part| part.chars().count() <= 20 && part.contains('x')), "{parts:?}");
    assert_eq!(parts.len(), 3, "{parts:?}");
    let long = [Listen { name: "long".into(), text: "aaaaaaaaaaaa bbbbbbbbbbbbbbbb".into() }];
    assert!(shards(&long, &dialect).unwrap_err().contains("`long` takes 29 characters"), "what has no OR cannot be divided");
    let queries = [Listen { name: "q".into(), text: "aaaaaa OR bbbbbb OR cccccc".into() }];
    let cursors: BTreeSet<String> = shards(&queries, &dialect).unwrap().into_iter().map(|shard| shard.cursor).collect();
    assert_eq!(cursors.len(), 2, "each part has its own cursor");
}

#[test]
fn the_full_query_decides_what_is_kept() {
    let judge = |query: &str, text: &str, lang: Option<&str>| {
        let shards = shards(&[Listen { name: "q".into(), text: query.into() }], &full()).unwrap();
        let author = Author { native_id: "1".into(), handle: "minji".into(), name: None, reach: Some(306) };
        let mention = Envelope {
            source: "x:main".into(),
            text: text.into(),
            lang: lang.map(str::to_owned),
            author: Some(author),
            ..Envelope::default()
        };
        shards[0].judge(&mention)
    };
    let (caught, filtered) = (Verdict::Caught, Verdict::Other("filtered"));
    for (query, text, lang, expected) in [
        ("한빛전자", "한빛전자는 배송이 느려요", None, caught),
        ("한빛전자", "한빛 전자 배송", None, caught),
        ("한빛전자 -채용", "한빛전자 신입 채용", None, filtered),
        ("hb-20", "the HB-20 is broken", None, caught),
        ("hanbit", "hanbitx", None, filtered),
        ("hanbit", "Hanbit은 왜", None, caught),
        ("한빛 hanbit*", "한빛 hanbits", None, caught),
        ("\"환불 요청\"", "환불  요청했어요", None, caught),
        ("\"환불 요청\"", "요청 환불", None, filtered),
        ("\"배송 지연\"~2", "배송이 또 다시 지연", None, caught),
        ("\"배송 지연\"~1", "배송이 또 다시 지연", None, filtered),
        ("한빛 lang:ko", "한빛", Some("en"), Verdict::Other("foreign_language")),
        ("한빛 lang:ko", "한빛", Some("ko-KR"), caught),
        ("한빛 lang:ko", "한빛", None, caught),
        ("한빛 -author:minji", "한빛", None, filtered),
        ("한빛 label:complaint", "한빛", None, caught),
        ("한빛 (배송 OR 환불)", "한빛 환불", None, caught),
        ("한빛 (배송 OR 환불)", "한빛 교환", None, filtered),
    ] {
        assert_eq!(judge(query, text, lang), expected, "{query} | {text}");
    }
}
