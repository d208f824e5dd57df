//! The files: what is read, what is chosen, and how a mistake is told.

use super::*;

fn parse(text: &str) -> Result<Policies, Error> {
    Policies::parse(&[("sla.toml".into(), text.into())], 3)
}

fn facts() -> Facts<'static> {
    Facts {
        label: Label::Complaint,
        team: "care",
        lang: Lang::Ko,
        source: "mastodon:social.example.kr",
        brand: "shop",
        priority: Priority::Normal,
        reach: 10,
        tags: &[],
    }
}

fn shipped() -> Policies {
    let file = |name: &str| (name.to_owned(), std::fs::read_to_string(name).unwrap());
    Policies::parse(&[file("rules/sla.toml"), file("rules/calendars.toml")], 1).unwrap()
}

#[test]
fn the_shipped_rules_hold_their_examples() {
    let policies = shipped();
    policies.run_examples().unwrap();
    let ids: Vec<_> = policies.iter().map(|policy| policy.reference().id.to_string()).collect();
    assert_eq!(ids, ["crisis", "office", "proposals", "default"]);
    let default = policies.choose(&facts());
    assert_eq!(default.reference().to_string(), "default@1");
    assert_eq!(default.target(Kind::FirstResponse), Some(Duration::from_secs(720)));
    assert_eq!(default.target(Kind::Promise), None);
    assert_eq!(policies.choose(&Facts { priority: Priority::Crisis, ..facts() }).reference().id.as_ref(), "crisis");
    assert_eq!(policies.choose(&Facts { label: Label::Proposal, ..facts() }).reference().id.as_ref(), "proposals");
}

#[test]
fn all_conditions_must_hold_each_for_one_of_its_words() {
    let tags = ["vip".to_owned()];
    let with_tag = Facts { tags: &tags, ..facts() };
    for (when, facts, matches) in [
        (r#"label = ["complaint"]"#, facts(), true),
        (r#"label = ["question", "complaint"]"#, facts(), true),
        (r#"label = ["question"]"#, facts(), false),
        (r#"team = ["care"]"#, facts(), true),
        (r#"team = ["car"]"#, facts(), false),
        (r#"lang = ["ko"]"#, facts(), true),
        (r#"lang = ["en"]"#, facts(), false),
        (r#"platform = ["mastodon"]"#, facts(), true),
        (r#"platform = ["mastodon:social.example.kr"]"#, facts(), false),
        (r#"source = ["mastodon:social.example.kr"]"#, facts(), true),
        (r#"source = ["mastodon"]"#, facts(), false),
        (r#"brand = ["shop"]"#, facts(), true),
        (r#"brand = ["office"]"#, facts(), false),
        (r#"priority = ["normal", "low"]"#, facts(), true),
        (r#"priority = ["high"]"#, facts(), false),
        ("reach_min = 10", facts(), true),
        ("reach_min = 11", facts(), false),
        (r#"tags = ["vip"]"#, facts(), false),
        (r#"tags = ["vip"]"#, with_tag, true),
        (r#"label = ["complaint"], reach_min = 11"#, facts(), false),
        (r#"label = ["complaint"], reach_min = 9"#, facts(), true),
    ] {
        let text = format!(
            "[[policy]]\nid = \"a\"\nwhen = {{ {when} }}\ntargets = {{ triage = \"1m\" }}\n\
             [[policy]]\nid = \"z\"\ntargets = {{ triage = \"2m\" }}\n"
        );
        let chosen = parse(&text).unwrap().choose(&facts).reference();
        assert_eq!(chosen, PolicyRef { id: if matches { "a" } else { "z" }.into(), version: 3 }, "{when}");
    }
}

#[test]
fn the_first_match_wins_and_files_are_one_list() {
    let first = "[[policy]]\nid = \"a\"\nwhen = { team = [\"care\"] }\ntargets = { triage = \"1m\" }\n";
    let second = "[[policy]]\nid = \"b\"\nwhen = { team = [\"care\"] }\ntargets = { triage = \"1m\" }\n\
                  [[policy]]\nid = \"z\"\ntargets = { triage = \"1m\" }\n";
    let files = [("one".to_owned(), first.to_owned()), ("two".to_owned(), second.to_owned())];
    let policies = Policies::parse(&files, 1).unwrap();
    assert_eq!(policies.choose(&facts()).reference().id.as_ref(), "a");
    assert!(policies.named("b").is_some());
    assert!(policies.named("c").is_none());
}

#[test]
fn a_clock_finds_its_policy_again() {
    let text = |target: &str| format!("[[policy]]\nid = \"z\"\ntargets = {{ triage = \"{target}\" }}\n");
    let older = Policies::parse(&[("sla.toml".into(), text("1m"))], 1).unwrap();
    let mut policies = Policies::parse(&[("sla.toml".into(), text("2m"))], 2).unwrap();
    let old = PolicyRef { id: "z".into(), version: 1 };
    let target = |policies: &Policies, policy: &PolicyRef| policies.get(policy).target(Kind::Triage).unwrap().as_secs();
    assert_eq!(target(&policies, &old), 120, "what the id means now");
    assert_eq!(target(&policies, &PolicyRef { id: "gone".into(), version: 1 }), 120, "the default");
    policies.remember(older);
    assert_eq!(target(&policies, &old), 60, "its own version");
    assert_eq!(target(&policies, &PolicyRef { id: "z".into(), version: 2 }), 120);
    assert_eq!(policies.choose(&facts()).reference().version, 2, "an earlier version is never chosen");
}

#[test]
fn defaults_and_lengths() {
    let policies = parse("[[policy]]\nid = \"z\"\ntargets = { resolution = \"1d2h3m4s\" }").unwrap();
    let policy = policies.choose(&facts());
    assert_eq!(policy.target(Kind::Resolution), Some(Duration::from_secs(86_400 + 7_200 + 180 + 4)));
    assert_eq!(policy.reopen_window(), Duration::from_hours(168));
    assert_eq!(policy.max_backdate(), Duration::from_hours(24));
    assert!(PauseReason::ALL.into_iter().all(|reason| policy.pauses(reason)));
    for bad in ["", "12", "m", "1m1h", "1m1m", "-1m", "1.5h", "1 m", "1w", "3651d", "99999999999999999999s", "1분"] {
        assert_eq!(parse_length(bad), None, "{bad}");
    }
}

#[test]
fn origin_is_the_posts_time_only_if_it_is_exact_and_not_ahead() {
    let policies = parse("[[policy]]\nid = \"z\"\ntargets = { triage = \"1m\" }").unwrap();
    let policy = policies.choose(&facts());
    let seen = Time(10_000);
    for (posted, quality, expected) in [
        (Some(Time(4_000)), TimeQuality::Exact, (Time(4_000), Origin::Posted)),
        (Some(Time(10_000)), TimeQuality::Exact, (seen, Origin::Posted)),
        (Some(Time(10_001)), TimeQuality::Exact, (seen, Origin::Ingested)),
        (Some(Time(4_000)), TimeQuality::Day, (seen, Origin::Ingested)),
        (Some(Time(4_000)), TimeQuality::Unknown, (seen, Origin::Ingested)),
        (None, TimeQuality::Exact, (seen, Origin::Ingested)),
    ] {
        assert_eq!(policy.origin(posted, quality, seen), expected, "{posted:?} {quality:?}");
    }
    let ingested = parse("[[policy]]\nid = \"z\"\norigin = \"ingested\"\ntargets = { triage = \"1m\" }").unwrap();
    assert_eq!(ingested.choose(&facts()).origin(Some(Time(4)), TimeQuality::Exact, seen), (seen, Origin::Ingested));
}

#[test]
fn warnings_count_in_the_targets_time() {
    let warn = |text: &str| Warn::try_from(text.to_owned());
    let target = Duration::from_secs(720);
    assert_eq!(warn("50%").unwrap().due(target).as_secs(), 360);
    assert_eq!(warn("-2m").unwrap().due(target).as_secs(), 600);
    assert_eq!(warn("-1h").unwrap().due(target), Duration::ZERO);
    for bad in ["0%", "100%", "50", "2m", "-0m", "-50%", "%", "-", "half"] {
        assert!(warn(bad).unwrap_err().contains("is no warning; write"), "{bad}");
    }
}

#[test]
fn a_mistake_is_told_with_file_line_key_and_remedy() {
    let policy = "[[policy]]\nid = \"z\"\ntargets = { first_response = \"12m\" }\n";
    let calendar = "[[calendar]]\nid = \"c\"\nzone = \"Asia/Seoul\"\n[calendar.week]\nmon = [\"09:00-18:00\"]\n";
    for (text, expected) in [
        (String::new(), "read the sla policies: there is none in sla.toml; add a [[policy]] without `when` as the default"),
        (policy.replace("12m", "12x"), r#"sla.toml:3: `first_response`: "12x" is no length of time; write "90s""#),
        (policy.replace("12m", "0s"), "sla.toml:3: `targets`: target first_response is zero; make it longer"),
        (
            policy.replace("first_response", "first_reply"),
            "sla.toml:3: `first_reply`: unknown field `first_reply`, expected one of",
        ),
        (policy.replace("first_response = \"12m\"", ""), "sla.toml:3: `targets`: no target; write at least"),
        (policy.replace("targets", "target"), "sla.toml:3: `target`: unknown field `target`, expected one of"),
        (format!("{policy}warn = [\n  \"50%\",\n  \"soon\",\n]"), "sla.toml:4: `warn`: \"soon\" is no warning; write"),
        (format!("{policy}calendar = \"kr\""), "sla.toml:4: `calendar`: no calendar kr; there are 24x7"),
        (
            format!("{policy}when = {{ label = [\"complain\"] }}"),
            "sla.toml:4: `label`: unknown variant `complain`, expected one of",
        ),
        (
            format!("{policy}when = {{ team = [\"care\"] }}"),
            "sla.toml:2: `id`: the last policy is the default; add one without",
        ),
        (format!("{policy}{}", policy.replace('z', "y")), "sla.toml:2: `id`: policy z matches everything"),
        (
            format!("{}when = {{ reach_min = 1 }}\n{policy}", policy),
            "sla.toml:6: `id`: policy z exists already; give this one another id",
        ),
        (
            format!("{policy}[[policy.example]]\nkind = \"triage\"\norigin = \"noon\"\ndeadline = \"2026-11-20T12:00:00Z\""),
            "sla.toml:6: `origin`: \"noon\" is no time; write",
        ),
        (
            format!(
                "{policy}[[policy.example]]\nkind = \"triage\"\norigin = \"2026-11-20T12:00:00Z\"\ndeadline = \"2026-11-20T12:00:00Z\""
            ),
            "sla.toml:4: `policy.example`: z has no target triage; add one",
        ),
        (
            format!(
                "{policy}[[policy.example]]\nkind = \"first_response\"\norigin = \"2026-11-20T12:00:00Z\"\ndeadline = \"2026-11-20T12:13:00Z\""
            ),
            "sla.toml:4: `policy.example`: the deadline of this example is 2026-11-20T12:12:00.000Z, not 2026-11-20T12:13:00.000Z; change",
        ),
        (
            format!(
                "{}when = {{ team = [\"office\"] }}\n[[policy.example]]\nkind = \"first_response\"\norigin = \"2026-11-20T12:00:00Z\"\ndeadline = \"2026-11-20T12:12:00Z\"\n{policy}",
                policy.replace('z', "office")
            ),
            "sla.toml:5: `policy.example`: this example of office gets policy z; change its facts",
        ),
        (format!("{policy}{calendar}{calendar}"), "sla.toml:10: `id`: calendar c exists already; give"),
        (format!("{policy}{}", calendar.replace("\"c\"", "\"24x7\"")), "sla.toml:5: `id`: calendar 24x7 exists already; give"),
        (format!("{policy}{}", calendar.replace("Seoul", "Soul")), "sla.toml:6: `zone`: no time zone Asia/Soul; write a name"),
        (format!("{policy}{}", calendar.replace("09:00-18:00", "9-18")), "sla.toml:8: `mon`: \"9-18\" is no opening; write"),
        (
            format!("{policy}{}", calendar.replace("09:00-18:00", "09:00-09:00")),
            "sla.toml:8: `mon`: \"09:00-09:00\" is no opening",
        ),
        (
            format!("{policy}{}", calendar.replace("09:00-18:00", "24:00-06:00")),
            "sla.toml:8: `mon`: \"24:00-06:00\" is no opening",
        ),
        (
            format!("{policy}{}", calendar.replace("\"09:00-18:00\"", "")),
            "sla.toml:7: `calendar.week`: this calendar never opens; write",
        ),
        (
            format!("{policy}{}", calendar.replace("mon", "monday")),
            "sla.toml:8: `monday`: unknown field `monday`, expected one of",
        ),
        (
            format!("{policy}{calendar}[calendar.dates]\n2026-02-30 = []"),
            "sla.toml:10: `2026-02-30`: 2026-02-30 is no date; write 2026-01-01",
        ),
        (
            format!("{}calendar = \"c\"\n{}", policy.replace("12m", "3650d"), calendar.replace("18:00", "09:01")),
            "sla.toml:3: `targets`: target first_response takes ten years of this calendar; make it shorter",
        ),
        ("policy = 3".into(), "sla.toml:1: `policy`: invalid type: integer `3`, expected a sequence"),
        ("[[policy]".into(), "sla.toml:1: "),
    ] {
        let said = parse(&text).unwrap_err().to_string();
        assert!(said.contains(expected), "expected {expected}\nsaid     {said}\nfor\n{text}");
    }
}
