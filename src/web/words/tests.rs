//! Tests of the words: complete, used, and as the design gives them.

use std::collections::BTreeSet;

use super::*;

/// The fields of [`Words`], from its own source.
fn fields(source: &str) -> Vec<(&str, &str)> {
    source.lines().filter_map(|line| line.trim().strip_suffix("\",")?.split_once(": \"")).collect()
}

fn places(text: &str) -> BTreeSet<&str> {
    text.split('{').skip(1).filter_map(|rest| rest.split_once('}')).map(|(name, _)| name).collect()
}

#[test]
fn both_languages_have_the_same_places_and_buttons() {
    let (ko, en) = (fields(include_str!("ko.rs")), fields(include_str!("en.rs")));
    assert!(ko.len() > 200, "{}", ko.len());
    for ((name, ko), (other, en)) in ko.into_iter().zip(en) {
        assert_eq!(name, other);
        assert_eq!(places(ko), places(en), "{name}");
        assert_eq!(ko.contains('['), en.contains('['), "{name}");
        assert!(!ko.contains('!') && !en.contains('!'), "{name} does not shout");
    }
}

#[test]
fn every_word_is_used() {
    let mut used: String = ["", "/case", "/insight", "/other", "/queue", "/review", "/search", "/sources"]
        .map(|part| std::fs::read_to_string(format!("{}/src/web/views{part}.rs", env!("CARGO_MANIFEST_DIR"))).unwrap())
        .concat();
    used.push_str(include_str!("../words.rs").split_once("impl Words").unwrap().1);
    for file in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/templates")).unwrap() {
        used.push_str(&std::fs::read_to_string(file.unwrap().path()).unwrap());
    }
    // What only handlers say.
    let said_by_handlers = |name: &str| {
        ["did_", "lost_", "src_stale"].iter().any(|start| name.starts_with(start)) || ["lst_facts", "caught_by"].contains(&name)
    };
    let filters = ["filter_label", "filter_lang", "filter_platform", "filter_owner", "filter_state", "filter_account"];
    let facet = |name: &str| name.starts_with("facet_") || name.starts_with("period_");
    let spoken = |name: &str| {
        used.match_indices(name).any(|(at, _)| {
            let ends = |after: char| after.is_alphanumeric() || after == '_';
            used[..at].ends_with('.') && !used[at + name.len()..].starts_with(ends)
        })
    };
    let elsewhere = |name: &str| {
        filters.contains(&name)
            || facet(name)
            || ["me", "all_labels", "rise_summary", "rise_summary_posts", "sort_best", "sort_new", "sort_old"].contains(&name)
    };
    let unused: Vec<&str> = fields(include_str!("en.rs"))
        .into_iter()
        .map(|(name, _)| name)
        .filter(|name| !spoken(name) && !said_by_handlers(name) && !elsewhere(name))
        .collect();
    assert_eq!(unused, Vec::<&str>::new(), "nobody says these");
}

#[test]
fn the_states_say_exactly_what_was_agreed() {
    let table = [
        (KO.loading, "불러오는 중", EN.loading, "Loading"),
        (KO.live, "실시간", EN.live, "Live"),
        (KO.late, "{n}초 전 상태예요", EN.late, "As of {n} s ago"),
        (
            KO.disconnected,
            "연결이 끊겼어요. 시계는 계속 가지만 새 글은 보이지 않아요. 다시 연결하는 중이에요({n}번째). [지금 연결]",
            EN.disconnected,
            "Connection lost. Clocks keep running but new posts will not show. Reconnecting (try {n}). [Connect now]",
        ),
        (KO.parked, "다른 창에서 실시간으로 보고 있어요. [여기서 보기]", EN.parked, "Live in another window. [Use this one]"),
        (
            KO.failed,
            "이 부분을 그리지 못했어요. 저장된 것은 그대로예요. 다시 해 보세요. 오류 번호 {id}",
            EN.failed,
            "This part could not be drawn. What is stored is unchanged. Try again. Error {id}",
        ),
        (
            KO.read_only,
            "지금은 저장할 수 없어 읽기만 돼요. 쓰던 글은 이 브라우저에 두었어요.",
            EN.read_only,
            "Nothing can be saved right now, reading only. Your text is kept in this browser.",
        ),
        (
            KO.forbidden,
            "이 화면은 {role} 권한이 필요해요. {team}의 {lead}에게 요청하세요.",
            EN.forbidden,
            "This page needs the {role} role. Ask {lead} of {team}.",
        ),
        (
            KO.not_found,
            "{number}번 사건이 없거나 볼 수 없어요. 번호를 확인하거나 검색해 보세요.",
            EN.not_found,
            "Case {number} does not exist or is not yours to see. Check the number or search.",
        ),
        (
            KO.signed_out,
            "로그인이 끝났어요. 다시 로그인하면 이 화면으로 돌아와요.",
            EN.signed_out,
            "You were signed out. Sign in and you return here.",
        ),
        (
            KO.empty_queue,
            "기다리는 사건이 없어요. 마지막 접수 {time}.",
            EN.empty_queue,
            "Nothing is waiting. Last post came in at {time}.",
        ),
        (
            KO.empty_filtered,
            "이 조건에 맞는 사건이 없어요. [조건 지우기]",
            EN.empty_filtered,
            "No case matches these filters. [Clear]",
        ),
        (KO.empty_mine, "맡은 사건이 없어요. [다음 사건 맡기 c]", EN.empty_mine, "You hold no case. [Claim next c]"),
        (
            KO.search_empty,
            "‘{q}’ 결과가 없어요. 띄어쓰기를 빼거나 ‘{hint}’로 찾아보세요.",
            EN.search_empty,
            "No result for '{q}'. Try '{hint}' or fewer words.",
        ),
        (KO.wrong, "이메일이나 비밀번호가 달라요.", EN.wrong, "E-mail or password is not right."),
        (KO.locked, "{n}분 뒤에 다시 해 보세요.", EN.locked, "Try again in {n} min."),
    ];
    for (ko, in_ko, en, in_en) in table {
        assert_eq!((ko, en), (in_ko, in_en));
    }
}

#[test]
fn templates_hold_no_words_of_their_own_and_nothing_the_policy_blocks() {
    for file in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/templates")).unwrap() {
        let path = file.unwrap().path();
        let source = std::fs::read_to_string(&path).unwrap();
        let name = path.display();
        for blocked in
            ["hx-on", "js:", "javascript:", " style=", "<style", "hx-vars", "hx-live", "|safe", "onclick", "hx-trigger"]
        {
            assert!(!source.contains(blocked), "{name} has {blocked}");
        }
        assert_eq!(source.matches("</script").count(), source.matches("></script>").count(), "{name} has an inline script");
        for attribute in ["aria-label=\"", "title=\"", "placeholder=\"", "alt=\""] {
            for (at, _) in source.match_indices(attribute) {
                assert!(source[at + attribute.len()..].starts_with('{'), "{name}: {attribute} is not from the words");
            }
        }
        let text = strip(&strip(&strip(&strip(&source, "{#", "#}"), "{%", "%}"), "{{", "}}"), "<", ">");
        let letters: String = text.chars().filter(|letter| letter.is_alphabetic()).collect();
        // The letters on the keys themselves are the same in every language.
        let allowed = "JKOCUTHYRNEGQGMGSZAXVB";
        assert!(letters.chars().all(|letter| allowed.contains(letter)), "{name} says {letters:?}");
    }
}

fn strip(text: &str, open: &str, close: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, inside)) = rest.split_once(open) {
        out.push_str(before);
        rest = inside.split_once(close).map_or("", |(_, after)| after);
    }
    out + rest
}

#[test]
fn particles_follow_the_last_sound() {
    for (word, pair, together) in [
        ("배송", "을를", "배송을"),
        ("문의", "을를", "문의를"),
        ("불만", "으로", "불만으로"),
        ("문의", "으로", "문의로"),
        ("메일", "으로", "메일로"),
        ("CS-1", "은는", "CS-1은"),
        ("CS-2", "은는", "CS-2는"),
        ("KG", "이가", "KG가"),
        ("VM", "과와", "VM과"),
        ("", "을를", "를"),
    ] {
        assert_eq!(josa(word, pair), together);
    }
}

#[test]
fn places_are_filled_once_and_sentences_give_up_their_button() {
    assert_eq!(fill("{a} and {b}", &[("a", "{b}"), ("b", "2")]), "{b} and 2");
    assert_eq!(fill("no place", &[]), "no place");
    assert_eq!(parts(EN.parked), ("Live in another window.", "Use this one", ""));
    assert_eq!((EN.cases)(1), "1 case");
    assert_eq!((KO.cases)(12_400), "12,400건");
    assert_eq!((KO.labelled_as)("불만"), "불만으로 고쳤어요");
    for (header, language) in [
        ("ko-KR,ko;q=0.9,en;q=0.8", Language::Ko),
        ("en;q=0.5, ko;q=0.7", Language::Ko),
        ("fr", Language::En),
        ("", Language::En),
        ("en-US,en", Language::En),
    ] {
        assert_eq!(Language::accepted(header), language, "{header}");
    }
}
