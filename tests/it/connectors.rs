//! The contract of every file in connectors/, and the engine against the sample platform.

use std::{
    collections::BTreeSet,
    io::Write,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

mod fresh;
mod guard;
mod kinds;
mod replies;

use moksori::{
    case::ReplyId,
    clock::{Clock, Time},
    connect::{
        Account, AccountConfig, Config, Connect, ConnectorFile, Do, Error, Fault, Home, Metrics, OwnIds, Playback, Poller,
        Secret, SecretSource, Tray, load_files, test_account, test_file, toml_files,
    },
    desk::{Outgoing, Watched},
    mention::{Envelope, Lang, Op, Side},
    sample::{Sample, SampleAccount},
};

const START: Time = Time(1_795_000_000_000);

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("connectors")
}

/// The connector files of the program, and one for each kind of stream that a platform may have.
fn files() -> Vec<PathBuf> {
    let mut files = toml_files(&directory()).unwrap();
    assert!(files.len() >= 2, "{files:?}");
    files.extend(toml_files(&kinds::directory()).unwrap());
    files
}

fn metrics() -> Metrics {
    Metrics::new(&prometheus::Registry::new()).unwrap()
}

fn home() -> (Arc<Tray>, Home) {
    let tray = Arc::new(Tray::default());
    (tray.clone(), Home::Tray(tray))
}

fn ids(mentions: &[Envelope]) -> Vec<String> {
    mentions.iter().map(Envelope::key).collect()
}

/// One connector file on its recorded replies, with a clock that the test turns.
struct Bench {
    file: Arc<ConnectorFile>,
    playback: Playback,
    clock: Clock,
}

impl Bench {
    async fn new(path: &Path) -> Bench {
        let mut file = ConnectorFile::load(path).unwrap();
        file.request.timeout.0 = Duration::from_millis(500);
        let playback = Playback::start(path, &file).await.unwrap();
        Bench { file: Arc::new(file), playback, clock: Clock::by_hand(START) }
    }

    /// The pollers of a fresh process: nothing is remembered but what `home` keeps.
    fn pollers(&self, home: &Home) -> Vec<Poller> {
        let config = test_account(&self.file, &self.playback.url);
        let account = Account::new(self.file.clone(), config, OwnIds::default(), self.clock.clone(), metrics()).unwrap();
        Poller::of(&account, home).unwrap().into_iter().filter(|poller| !poller.revisits()).collect()
    }
}

/// Polled connectors only: others have no requests to go wrong.
async fn benches() -> Vec<(PathBuf, Bench)> {
    let mut benches = Vec::new();
    for path in files() {
        let bench = Bench::new(&path).await;
        if bench.file.streams.iter().any(|stream| stream.cursor.is_some()) {
            benches.push((path, bench));
        }
    }
    benches
}

#[tokio::test]
async fn every_file_makes_of_its_recorded_replies_what_it_says() {
    for path in files() {
        let report = test_file(&path).await.unwrap();
        assert!(report.faults.is_empty(), "{}:\n{report}", path.display());
        let file = ConnectorFile::load(&path).unwrap();
        let expected = file.recorded.iter().map(|recorded| recorded.expect.len()).sum::<usize>();
        assert!(expected > 0, "{} expects nothing of its recorded replies", path.display());
        let mentions: Vec<&Envelope> = report.streams.iter().flat_map(|(_, mentions)| mentions).collect();
        for one in &mentions {
            assert_eq!(Envelope::parse(&serde_json::to_vec(one).unwrap()).as_ref(), Ok(*one), "the bus takes it");
        }
        // Every field that the map names comes out of some recorded reply.
        let map = file.map.as_ref().unwrap();
        let some = |found: fn(&Envelope) -> bool| mentions.iter().any(|one| found(one));
        for (name, mapped, seen) in [
            ("local_ref", map.local_ref.is_some(), some(|one| one.local_ref.is_some())),
            ("parent", map.parent.is_some(), some(|one| one.parent.is_some())),
            ("conversation", map.conversation.is_some(), some(|one| one.conversation.is_some())),
            ("author_name", map.author_name.is_some(), some(|one| one.author.as_ref().is_some_and(|by| by.name.is_some()))),
            ("author_reach", map.author_reach.is_some(), some(|one| one.author.as_ref().is_some_and(|by| by.reach.is_some()))),
            ("text", map.text.is_some(), some(|one| !one.text.is_empty())),
            ("lang", map.lang.is_some(), some(|one| one.lang.is_some())),
            ("url", map.url.is_some(), some(|one| one.url.is_some())),
            ("posted_at", map.posted_at.is_some(), some(|one| one.posted_at.is_some())),
            ("likes", map.likes.is_some(), some(|one| one.engagement.is_some())),
        ] {
            assert_eq!(mapped, seen, "{}: {name}", path.display());
        }
    }
}

/// After a cut nobody knows whether a reply is out: what is looked for must be what the platform shows.
#[tokio::test]
async fn a_look_up_that_does_not_find_our_reply_is_told() {
    let looked = |file: &ConnectorFile| file.recorded_replies.iter().any(|reply| reply.found.is_some());
    let tried = files().iter().filter(|path| looked(&ConnectorFile::load(path).unwrap())).count();
    assert!(tried >= 6, "{tried} connector files try their look-up");
    let dir = tempfile::tempdir().unwrap();
    let text = std::fs::read_to_string(directory().join("lemmy.toml")).unwrap();
    let beside = dir.path().join("lemmy");
    std::fs::create_dir(&beside).unwrap();
    for entry in std::fs::read_dir(directory().join("lemmy")).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), beside.join(entry.file_name())).unwrap();
    }
    let path = dir.path().join("lemmy.toml");
    std::fs::write(&path, text.replace("item.comment.content == reply.text", "item.comment.content == reply.text ~ '!'"))
        .unwrap();
    let report = test_file(&path).await.unwrap();
    assert!(report.faults.iter().any(|fault| fault.contains("not found among our posts")), "{report}");
}

#[tokio::test]
async fn the_example_of_the_manual_works() {
    let manual = std::fs::read_to_string(directory().with_file_name("docs").join("connectors.md")).unwrap();
    let example = manual.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("forum.toml");
    std::fs::write(&path, example).unwrap();
    let report = test_file(&path).await.unwrap();
    assert!(report.faults.is_empty(), "{report}");
    assert!(report.to_string().contains("@minji"), "{report}");
}

#[tokio::test]
async fn a_fault_is_reported_with_what_there_is_instead() {
    let folder = tempfile::tempdir().unwrap();
    let text = std::fs::read_to_string(directory().join("file.toml")).unwrap().replace("reach = 306", "reach = 307");
    std::fs::create_dir(folder.path().join("file")).unwrap();
    std::fs::copy(directory().join("file/posts.jsonl"), folder.path().join("file/posts.jsonl")).unwrap();
    std::fs::write(folder.path().join("file.toml"), text.replace("[map]\n", "[map]\ntime_as = \"rfc2822\"\n")).unwrap();
    let untimely = test_file(&folder.path().join("file.toml")).await.unwrap().to_string();
    assert!(untimely.contains("posted_at: `2026-"), "a time that the map cannot read: {untimely}");
    std::fs::write(folder.path().join("file.toml"), text).unwrap();
    let report = test_file(&folder.path().join("file.toml")).await.unwrap();
    assert_eq!(report.faults.len(), 1, "{report}");
    assert!(report.faults[0].contains("\"reach\":307") && report.faults[0].contains("\"reach\":306"), "{report}");
}

#[tokio::test]
async fn every_stream_resumes_after_a_crash_at_any_append_and_then_finds_nothing_new() {
    for (path, bench) in benches().await {
        let (whole, through) = home();
        for mut poller in bench.pollers(&through) {
            poller.step().await.unwrap();
        }
        let expected = whole.with(|kept| ids(&kept.mentions));
        assert!(!expected.is_empty(), "{}", path.display());

        for crash_at in 0.. {
            let (tray, through) = home();
            tray.with(|kept| kept.appends_left = Some(crash_at));
            let mut crashed = false;
            for mut poller in bench.pollers(&through) {
                crashed |= poller.step().await.is_err();
            }
            tray.with(|kept| kept.appends_left = None);
            for mut poller in bench.pollers(&through) {
                poller.step().await.unwrap();
            }
            let (mut found, mut wanted) = (tray.with(|kept| ids(&kept.mentions)), expected.clone());
            found.sort();
            wanted.sort();
            assert_eq!(found, wanted, "{} after a crash at append {crash_at}", path.display());
            if !crashed {
                assert!(crash_at > 0);
                break;
            }
        }

        for mut poller in bench.pollers(&through) {
            assert_eq!(poller.step().await.unwrap().items, 0, "{} {}", path.display(), poller.stream_name());
        }
    }
}

#[tokio::test]
async fn every_stream_outlives_what_platforms_do_to_it() {
    for (path, bench) in benches().await {
        for fault in [
            Fault::Status(429, Some(30)),
            Fault::Status(429, None),
            Fault::Status(500, None),
            Fault::Status(503, Some(30)),
            Fault::Html,
            Fault::Truncated,
            Fault::Endless,
            Fault::Bomb,
            Fault::Stalled,
            Fault::Redirect,
        ] {
            let (tray, through) = home();
            for mut poller in bench.pollers(&through) {
                let name = format!("{} {} {fault:?}", path.display(), poller.stream_name());
                // Who we are is asked first; that goes well here.
                poller.account().identify().await.unwrap();
                let before = tray.with(|kept| (kept.mentions.len(), kept.cursors.clone()));
                bench.playback.asked();
                bench.playback.misbehave(&[fault]);
                let error = poller.step().await.expect_err(&name);
                let kind = match fault {
                    Fault::Status(..) | Fault::Redirect => matches!(error, Error::Status { .. }),
                    Fault::Html => matches!(error, Error::Garbage(_)),
                    Fault::Truncated => matches!(error, Error::Broken(_)),
                    Fault::Endless | Fault::Bomb => matches!(error, Error::TooLarge(_)),
                    Fault::Stalled => matches!(error, Error::Timeout(_)),
                };
                assert!(kind, "{name}: {error:?}");
                assert_eq!(bench.playback.asked().len(), 1, "{name}: no redirect is followed, nothing is asked twice");
                assert_eq!(tray.with(|kept| (kept.mentions.len(), kept.cursors.clone())), before, "{name}: the cursor stands");

                // Until the time that the platform or the back-off says, nothing is asked.
                let wait = poller.next_at().since(bench.clock.now());
                match fault {
                    Fault::Status(_, Some(seconds)) => assert_eq!(wait, Duration::from_secs(seconds.into()), "{name}"),
                    Fault::Redirect => assert_eq!((error.is_retryable(), wait), (false, Duration::from_secs(900)), "{name}"),
                    _ => assert!(wait >= Duration::from_millis(500) && wait <= Duration::from_millis(750), "{name}: {wait:?}"),
                }
                bench.clock.advance(wait - Duration::from_millis(1));
                assert_eq!(poller.step().await.unwrap().pages, 0, "{name}");
                assert!(bench.playback.asked().is_empty(), "{name}");
                bench.clock.advance(Duration::from_millis(1));
                assert!(poller.step().await.unwrap().items > 0, "{name}");
            }
        }
    }
}

#[tokio::test]
async fn every_login_is_renewed_when_its_token_has_ended() {
    let mut logins = 0;
    for (path, bench) in benches().await {
        if bench.file.auth.login.is_none() && bench.file.auth.refresh.is_none() {
            continue;
        }
        logins += 1;
        let renews = |status: u16| bench.file.on_error(status, &serde_json::json!({})) == Do::Refresh;
        let by_row = bench.file.errors.iter().any(|row| row.action == Do::Refresh);
        assert!(by_row, "{}: no row says do = \"refresh\"", path.display());
        let Some(status) = [401, 403, 400].into_iter().find(|status| renews(*status)) else { continue };
        let (_, through) = home();
        for mut poller in bench.pollers(&through) {
            poller.account().identify().await.unwrap();
            bench.playback.misbehave(&[Fault::Status(status, None)]);
            let walk = poller.step().await.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            assert!(walk.items > 0, "{} {}", path.display(), poller.stream_name());
        }
    }
    assert!(logins > 0);
}

#[tokio::test]
async fn pages_that_go_in_a_circle_are_left_within_three() {
    for (path, bench) in benches().await {
        let (_, through) = home();
        bench.playback.go_in_circles();
        let mut loops = 0;
        for mut poller in bench.pollers(&through) {
            poller.account().identify().await.unwrap();
            bench.playback.asked();
            loops += usize::from(matches!(poller.step().await, Err(Error::Loop)));
            assert!(bench.playback.asked().len() <= 3, "{} {}", path.display(), poller.stream_name());
        }
        let pages = bench.file.streams.iter().any(|stream| stream.pages());
        assert!(loops > 0 || !pages, "{}: no recorded reply has a next page", path.display());
    }
}

/// A desk's side of the sample platform: two accounts of ours, stepped by hand.
struct Stage {
    sample: Sample,
    clock: Clock,
    tray: Arc<Tray>,
    connect: Connect,
}

async fn stage() -> Stage {
    let clock = Clock::by_hand(START);
    let accounts = ["pine", "office"].map(|handle| SampleAccount {
        handle: handle.into(),
        name: handle.into(),
        token: format!("token-{handle}"),
    });
    let sample = Sample::start(([127, 0, 0, 1], 0).into(), clock.clone(), &accounts).await.unwrap();
    let (tray, through) = home();
    let connect = connect(&sample, through, &clock);
    Stage { sample, clock, tray, connect }
}

fn connect(sample: &Sample, through: Home, clock: &Clock) -> Connect {
    let accounts = ["pine", "office"].map(|handle| AccountConfig {
        brand: handle.into(),
        base: Some(sample.url.parse().unwrap()),
        handle: handle.into(),
        secrets: [("token".to_owned(), SecretSource::Given(Secret::new(&format!("token-{handle}"))))].into(),
        tags: vec!["소나무".into()],
        interval: Duration::from_millis(300),
        allow_private: true,
        ..AccountConfig::new(handle, "mastodon")
    });
    let config = Config { directory: directory(), accounts: accounts.to_vec(), token_key: None };
    Connect::new(&config, &load_files(&directory()).unwrap(), through, clock.clone(), metrics()).unwrap()
}

impl Stage {
    /// Every stream once; what came of it.
    async fn poll(&self) -> Vec<Envelope> {
        for account in self.connect.accounts() {
            account.identify().await.unwrap();
        }
        for mut poller in self.connect.pollers() {
            poller.step().await.unwrap();
        }
        self.tray.with(|kept| std::mem::take(&mut kept.mentions))
    }

    fn reply(&self, id: i64, target: &str) -> Outgoing {
        Outgoing {
            id: ReplyId(id),
            account: "pine".into(),
            text: "확인하겠습니다. 내일 https://example.com/a 로 알려 드릴게요 ^KG".into(),
            target_native_id: self.sample.uri(target).unwrap(),
            target_local_ref: Some(target.into()),
            target_handle: "minji".into(),
            visibility: Some("unlisted".into()),
            idempotency_key: format!("key-{id}"),
            lang: Lang::Ko,
            attempts: 1,
            target_conversation: None,
            extra: Default::default(),
        }
    }

    fn outcomes(&self) -> Vec<(i64, String)> {
        self.tray.with(|kept| std::mem::take(&mut kept.outcomes)).into_iter().map(|(id, outcome)| (id.0, outcome)).collect()
    }
}

#[tokio::test]
async fn a_post_comes_in_once_through_each_stream_that_sees_it_and_our_own_is_ours() {
    let stage = stage().await;
    let at = START.minus(Duration::from_secs(60));
    let first = stage.sample.post(
        "minji",
        "배송이 <b>언제</b> 오나요\n\n#소나무 https://example.com/0123456789/0123456789/0123456789",
        None,
        Some("pine"),
        at,
        Some(306),
    );
    let found = stage.poll().await;
    assert_eq!(found.len(), 3, "the mention, and the tag for each account: {found:?}");
    let one = found.iter().find(|one| one.matched[0].addressed).unwrap();
    assert_eq!(one.source, "mastodon:127.0.0.1");
    assert_eq!(one.native_id, stage.sample.uri(&first).unwrap());
    assert_eq!((one.local_ref.as_deref(), one.side, one.posted_at), (Some(first.as_str()), Side::Customer, Some(at)));
    assert_eq!(one.text, "@pine 배송이 <b>언제</b> 오나요\n#소나무 example.com/0123456789/0123456");
    assert_eq!(one.author.as_ref().unwrap().reach, Some(306));
    let tagged = found.iter().find(|one| !one.matched[0].addressed).unwrap();
    assert_eq!(tagged.matched[0].query.as_deref(), Some("#소나무"));

    // Both of our accounts write: one to a customer, one to the other of us.
    let answer = stage.sample.post("pine", "곧 갑니다", Some(&first), Some("minji"), START, None);
    stage.sample.post("office", "우리끼리", None, Some("pine"), START, None);
    stage.clock.advance(Duration::from_secs(60));
    let found = stage.poll().await;
    assert!(found.iter().all(|one| one.side == Side::Ours), "{found:?}");
    let ours = found.iter().find(|one| one.local_ref.as_deref() == Some(answer.as_str())).unwrap();
    assert_eq!(ours.parent.as_deref(), Some(first.as_str()));
    stage.clock.advance(Duration::from_secs(60));
    assert_eq!(stage.poll().await, []);
}

#[tokio::test]
async fn a_long_absence_is_caught_up_page_by_page_and_a_crash_in_it_loses_nothing() {
    let stage = stage().await;
    stage.sample.post("minji", "처음", None, Some("pine"), START, None);
    let mut seen: BTreeSet<String> = stage.poll().await.into_iter().map(|one| one.native_id).collect();
    let posted: Vec<String> =
        (0..250).map(|n| stage.sample.post("minji", &format!("글 {n}"), None, Some("pine"), START, None)).collect();
    stage.tray.with(|kept| kept.appends_left = Some(2));
    let mut mentions = stage.connect.pollers().into_iter().find(|poller| poller.stream_name() == "mentions").unwrap();
    assert!(matches!(mentions.step().await, Err(Error::Home(_))));
    assert_eq!(stage.tray.with(|kept| kept.mentions.len()), 160, "two pages of eighty are durable");
    stage.tray.with(|kept| kept.appends_left = None);
    stage.clock.advance(Duration::from_secs(60));
    assert_eq!(mentions.step().await.unwrap().items, 90);
    let found = stage.tray.with(|kept| std::mem::take(&mut kept.mentions));
    let order: Vec<String> = found.iter().filter_map(|one| one.local_ref.clone()).collect();
    assert_eq!(order, posted, "oldest first, nothing twice");
    seen.extend(found.into_iter().map(|one| one.native_id));
    assert_eq!(seen.len(), 251);
}

#[tokio::test]
async fn a_post_that_shows_up_late_is_not_passed_over() {
    let stage = stage().await;
    let post = |n: usize| stage.sample.post("minji", &format!("글 {n} #소나무"), None, Some("pine"), START, None);
    let ids: Vec<String> = (0..10).map(post).collect();
    stage.sample.delete(&ids[7]);
    assert_eq!(stage.poll().await.len(), 9 * 3, "as a mention, and by tag for both accounts");
    stage.clock.advance(Duration::from_secs(60));
    assert!(stage.sample.restore(&ids[7]));
    let late = stage.poll().await;
    assert_eq!(late.iter().map(|one| one.local_ref.as_deref()).collect::<Vec<_>>(), [Some(ids[7].as_str()); 3]);
    stage.clock.advance(Duration::from_secs(60));
    assert_eq!(stage.poll().await, []);
}

#[tokio::test]
async fn edits_and_deletes_of_watched_posts_are_seen_but_a_broken_list_deletes_nothing() {
    let stage = stage().await;
    let kept = ["하나", "둘", "셋"].map(|text| stage.sample.post("minji", text, None, Some("pine"), START, None));
    let found = stage.poll().await;
    let watched = |one: &Envelope| Watched {
        native_id: one.native_id.clone(),
        local_ref: one.local_ref.clone().unwrap(),
        version: one.version(),
        engagement: one.engagement,
    };
    stage.tray.with(|tray| tray.watched = found.iter().map(watched).collect());
    stage.clock.advance(Duration::from_secs(60));
    assert_eq!(stage.poll().await, [], "nothing has changed");

    stage.clock.advance(Duration::from_secs(60));
    assert!(stage.sample.edit(&kept[0], "하나, 고침"));
    assert!(stage.sample.delete(&kept[1]));
    let found = stage.poll().await;
    assert_eq!(found.len(), 2, "{found:?}");
    assert_eq!((found[0].op, found[0].text.as_str()), (Op::Upsert, "@pine 하나, 고침"));
    assert_eq!((found[1].op, &found[1].native_id), (Op::Delete, &stage.sample.uri(&kept[1]).unwrap()));
    assert!(found[0].version() > START.0 && found[0].matched.is_empty());

    let mut again = stage.connect.pollers().into_iter().find(|poller| poller.stream_name() == "revisit").unwrap();
    stage.sample.fail_next(1, 503, None);
    assert!(again.step().await.is_err());
    assert_eq!(stage.tray.with(|kept| kept.mentions.len()), 0);
}

#[tokio::test]
async fn a_reply_reaches_the_platform_once_whatever_happens_to_its_answers() {
    let stage = stage().await;
    let post = stage.sample.post("minji", "도와주세요", None, Some("pine"), START, None);
    let mut outbox = stage.connect.outbox();
    outbox.announce().await.unwrap();
    let capability = stage.tray.with(|kept| kept.capabilities["pine"].clone());
    let length = capability.length.unwrap();
    assert_eq!((capability.reply, length.max, length.url), (true, 500, Some(23)));

    // Plainly sent.
    stage.tray.with(|kept| kept.due.push_back(stage.reply(1, &post)));
    assert!(outbox.step().await.unwrap());
    let received = stage.sample.posts_by("pine");
    assert_eq!(received.len(), 1);
    assert_eq!(received[0].text, format!("@minji {}", stage.reply(1, &post).text));
    assert_eq!((received[0].in_reply_to.as_deref(), received[0].visibility.as_str()), (Some(post.as_str()), "unlisted"));
    assert_eq!(received[0].idempotency_key.as_deref(), Some("key-1"));
    assert_eq!(stage.outcomes(), [(1, format!("sent {}", stage.sample.uri(&received[0].id).unwrap()))]);

    // Its answer was lost: tried again with the same key, known again.
    stage.sample.lose_answers(1);
    let mut second = stage.reply(2, &post);
    second.text = "두 번째".into();
    stage.tray.with(|kept| kept.due.push_back(second.clone()));
    outbox.step().await.unwrap();
    let outcomes = stage.outcomes();
    assert!(outcomes[0].1.starts_with("sent "), "found among our posts: {outcomes:?}");

    // Limited: not before the platform says so.
    stage.sample.fail_next(1, 429, Some(90));
    let mut third = stage.reply(3, &post);
    third.text = "세 번째".into();
    stage.tray.with(|kept| kept.due.push_back(third.clone()));
    outbox.step().await.unwrap();
    assert_eq!(stage.outcomes(), [(3, format!("retry {}", START.plus(Duration::from_secs(90))))]);

    // A crash left all of them in doubt: none is posted twice, the one that never arrived is.
    stage.tray.with(|kept| kept.in_doubt = vec![stage.reply(1, &post), second, third]);
    let mut restarted = stage.connect.outbox();
    restarted.settle().await.unwrap();
    assert!(stage.outcomes().iter().all(|(_, outcome)| outcome.starts_with("sent ")));
    let keys: Vec<String> = stage.sample.posts_by("pine").into_iter().filter_map(|one| one.idempotency_key).collect();
    assert_eq!(keys, ["key-1", "key-2", "key-3"]);

    // Refused: a person reads why.
    let mut fourth = stage.reply(4, &post);
    fourth.target_local_ref = Some("nothing".into());
    stage.tray.with(|kept| kept.due.push_back(fourth));
    restarted.step().await.unwrap();
    assert_eq!(stage.outcomes()[0].1, "failed answered 404: The post you are trying to reply to does not appear to exist.");

    // Sent, but the store was unwell just then: it is told again, nothing is sent again.
    let mut fifth = stage.reply(5, &post);
    fifth.text = "다섯 번째".into();
    stage.tray.with(|kept| (kept.due.push_back(fifth), kept.refused_outcomes = 1));
    assert!(restarted.step().await.is_err());
    let sent = stage.sample.posts_by("pine").len();
    restarted.step().await.unwrap();
    assert!(stage.outcomes()[0].1.starts_with("sent "));
    assert_eq!(stage.sample.posts_by("pine").len(), sent);
}

#[tokio::test]
async fn a_platform_that_does_not_answer_makes_a_keyed_reply_wait_and_others_unknown() {
    let stage = stage().await;
    let post = stage.sample.post("minji", "도와주세요", None, Some("pine"), START, None);
    let mut file = ConnectorFile::load(&directory().join("mastodon.toml")).unwrap();
    file.request.timeout.0 = Duration::from_millis(300);
    for (idempotency, expected) in [("key", "retry "), ("none", "unknown ")] {
        let text = std::fs::read_to_string(directory().join("mastodon.toml")).unwrap();
        let text = text.replace("idempotency = \"key\"", &format!("idempotency = \"{idempotency}\""));
        let mut file = ConnectorFile::parse(Path::new("mastodon.toml"), &text).unwrap();
        file.request.timeout.0 = Duration::from_millis(300);
        file.actions[0].lookup = None;
        let (tray, through) = home();
        let config = stage.connect.accounts()[0].config.clone();
        let account = Account::new(Arc::new(file), config, OwnIds::default(), stage.clock.clone(), metrics()).unwrap();
        account.identify().await.unwrap();
        tray.with(|kept| kept.due.push_back(stage.reply(9, &post)));
        stage.sample.stall(true);
        moksori::connect::Outbox::new(through, &[account]).step().await.unwrap();
        stage.sample.stall(false);
        let outcome = tray.with(|kept| kept.outcomes[0].1.clone());
        assert!(outcome.starts_with(expected), "{idempotency}: {outcome}");
    }
}

#[tokio::test]
async fn a_file_is_read_as_it_grows() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("posts.jsonl");
    let config = AccountConfig { path: Some(path.clone()), interval: Duration::ZERO, ..AccountConfig::new("desk", "file") };
    let clock = Clock::by_hand(START);
    let (tray, through) = home();
    let registry = prometheus::Registry::new();
    let counted = Metrics::new(&registry).unwrap();
    let files = load_files(&directory()).unwrap();
    let config = Config { directory: directory(), accounts: vec![config], token_key: None };
    let connect = Connect::new(&config, &files, through, clock, counted.clone()).unwrap();
    let mut poller = connect.pollers().remove(0);
    let write = |text: &str| {
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(&path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    };
    assert_eq!(poller.step().await.unwrap().items, 0, "nobody has written yet");
    write("{\"id\": \"1\", \"author\": \"a\", \"text\": \"하나\"}\n{\"id\": \"2\", \"author\": \"a\", \"te");
    assert_eq!(poller.step().await.unwrap().items, 1);
    assert_eq!(poller.step().await.unwrap().items, 0, "a line without its end waits");
    write("xt\": \"둘\"}\nbroken\n\n[1]\n{\"text\": \"no id\"}\n{\"id\": \"3\", \"author\": \"a\"}\r\n");
    assert_eq!(poller.step().await.unwrap().items, 2);
    let long = format!("{{\"id\": \"{}\"}}\n", "x".repeat(2 << 20));
    write(&long);
    write("{\"id\": \"4\", \"author\": \"a\"}\n");
    assert_eq!(connect.pollers().remove(0).step().await.unwrap().items, 1, "after a restart, and past a line that is too long");
    let found = tray.with(|kept| kept.mentions.clone());
    assert_eq!(found.iter().map(|one| one.native_id.as_str()).collect::<Vec<_>>(), ["1", "2", "3", "4"]);
    assert_eq!((found[1].text.as_str(), found[1].source.as_str()), ("둘", "file:desk"));
    assert_eq!(counted.discarded.with_label_values(&["file", "broken_line"]).get(), 3);
    assert_eq!(counted.discarded.with_label_values(&["file", "no_id"]).get(), 1);
    let size = std::fs::metadata(&path).unwrap().len();
    assert_eq!(tray.with(|kept| kept.cursors["desk/lines"].clone()), format!("{size}:9"));
    // Somebody began it anew.
    std::fs::write(&path, "{\"id\": \"5\", \"author\": \"a\"}\n").unwrap();
    assert_eq!(poller.step().await.unwrap().items, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_is_being_written_is_read_whole() {
    const LINES: usize = 3_000;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("posts.jsonl");
    let config = AccountConfig { path: Some(path.clone()), interval: Duration::ZERO, ..AccountConfig::new("desk", "file") };
    let (tray, through) = home();
    let config = Config { directory: directory(), accounts: vec![config], token_key: None };
    let files = load_files(&directory()).unwrap();
    let connect = Connect::new(&config, &files, through, Clock::by_hand(START), metrics()).unwrap();
    let mut poller = connect.pollers().remove(0);
    let writing = std::thread::spawn(move || {
        let mut file = std::fs::File::create(path).unwrap();
        for number in 0..LINES {
            file.write_all(format!("{{\"id\": \"{number}\", \"auth").as_bytes()).unwrap();
            // Slow enough for the reader to see many a half.
            (0..number % 64).for_each(|_| std::thread::yield_now());
            file.write_all(b"or\": \"a\", \"text\": \"hello\"}\n").unwrap();
        }
    });
    let mut last = false;
    while !last {
        last = writing.is_finished();
        poller.step().await.unwrap();
    }
    let found: Vec<String> = tray.with(|kept| kept.mentions.iter().map(|one| one.native_id.clone()).collect());
    let wanted: Vec<String> = (0..LINES).map(|number| number.to_string()).collect();
    assert!(found == wanted, "{} of {LINES}", found.len());
}

#[tokio::test]
async fn the_loops_run_by_themselves_and_stop_when_told() {
    let stage = stage().await;
    let post = stage.sample.post("minji", "도와주세요", None, Some("pine"), START, None);
    let reply = stage.reply(1, &post);
    stage.tray.with(|kept| kept.due.push_back(reply));
    let (stop, stopping) = tokio::sync::watch::channel(false);
    let (_due, replies) = tokio::sync::watch::channel(0);
    let connect = Arc::new(connect(&stage.sample, Home::Tray(stage.tray.clone()), &stage.clock));
    let running = tokio::spawn(async move {
        let account = |key: &str| Arc::clone(&connect).run(key.to_owned(), replies.clone(), Duration::ZERO, stopping.clone());
        tokio::join!(account("pine"), account("office"))
    });
    let done =
        || stage.tray.with(|kept| !kept.outcomes.is_empty() && kept.mentions.iter().any(|one| one.side == Side::Customer));
    while !done() {
        stage.clock.advance(Duration::from_millis(100));
        tokio::task::yield_now().await;
    }
    stop.send(true).unwrap();
    tokio::time::timeout(Duration::from_secs(30), running).await.expect("it stops at once").unwrap();
    assert_eq!(stage.sample.posts_by("pine").len(), 1);
}

#[tokio::test]
async fn a_script_is_played_in_its_order() {
    let stage = stage().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("posts.jsonl");
    let script = r#"{"at": 0.2, "op": "post", "id": "s1", "author": "minji", "name": "민지", "reach": 306, "to": "pine", "age": 640, "lang": "ko", "text": "탄내가 나요", "expect": "complaint"}
{"at": 2, "op": "edit", "id": "s1", "text": "탄내가 많이 나요"}
{"at": 3, "op": "post", "id": "s2", "author": "minji", "to": "pine", "reply_to": "s1", "lang": "ko", "text": "사진도 있어요"}
{"at": 4, "op": "delete", "id": "s1"}
"#;
    std::fs::write(&path, script).unwrap();
    let playing = tokio::spawn({
        let sample = stage.sample.clone();
        async move { sample.play(&path, 2.0).await }
    });
    let mut found = Vec::new();
    while !playing.is_finished() {
        stage.clock.advance(Duration::from_millis(50));
        tokio::task::yield_now().await;
        found.extend(stage.poll().await);
    }
    assert_eq!(playing.await.unwrap().unwrap(), 4);
    found.extend(stage.poll().await);
    let texts: BTreeSet<&str> = found.iter().map(|one| one.text.as_str()).collect();
    assert!(texts.contains("@pine 사진도 있어요"), "{texts:?}");
    let first = found.iter().find(|one| one.text.contains("탄내")).unwrap();
    assert!(START.since(first.posted_at.unwrap()) > Duration::from_secs(600), "its age is kept");
    assert_eq!(first.author.as_ref().unwrap().name.as_deref(), Some("민지"));
}
