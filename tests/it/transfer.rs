//! A whole desk moved to other engines: every row equal, what was not handled yet taken in once.

use std::{collections::BTreeMap, time::Duration};

use moksori::{
    app::{self, App},
    backup,
    bus::Entry,
    case::{CaseId, EventKind, ReplyState, Status},
    clock::Clock,
    config::Config,
    desk::{HandOver, NewReply},
    mention::{Author, Envelope, Label, Match},
    queue::{self, Cell, Store, Urgency},
    sla::PauseReason,
};
use prometheus::Registry;

use crate::kit::{self, Desk, SHOP, kafka::kafka, postgres::postgres};

/// Every row of every table.
type Rows = BTreeMap<String, Vec<Vec<Cell>>>;

/// What the store of a desk at rest holds.
pub async fn rows(config: &Config) -> Rows {
    let metrics = queue::Metrics::new(&Registry::new()).unwrap();
    let store = Store::open(&config.data.directory, config.queue.clone(), Clock::System, metrics).unwrap();
    let mut rows = Rows::new();
    for table in queue::tables().unwrap() {
        let name = table.name.clone();
        let found = store.read(move |reader| reader.dump(&table, &[], 1_000_000)).await.unwrap();
        rows.insert(name, found);
    }
    tokio::task::spawn_blocking(move || store.close()).await.unwrap();
    rows
}

/// Complains unless every row is the same, but for what a move must change.
pub fn assert_moved(old: &Rows, new: &Rows, keeps_positions: bool) {
    let state = |word: &str| Cell::Text(word.into());
    let mut old = old.clone();
    let mut parked = 0;
    for reply in old.get_mut("reply").unwrap() {
        for cell in reply.iter_mut() {
            if *cell == state("queued") || *cell == state("sending") {
                *cell = state("parked");
                parked += 1;
            }
        }
    }
    old.get_mut("lease").unwrap().clear();
    if !keeps_positions {
        old.get_mut("position").unwrap().clear();
    }
    for (table, before) in &old {
        let mut after = new[table].clone();
        if table == "event" {
            let added = after.split_off(before.len());
            assert_eq!(added.len(), parked, "each reply that was held back is one event: {added:?}");
            assert!(added.iter().all(|event| event.contains(&state("reply_parked"))));
        }
        assert_eq!(after.len(), before.len(), "rows of {table}");
        for (after, before) in after.iter().zip(before) {
            assert_eq!(after, before, "a row of {table}");
        }
    }
}

/// Starts a desk over this configuration in the place of the one that runs, which stops.
async fn replace(desk: &mut Desk, config: Config) {
    let app = App::start(config.clone(), desk.clock.clone()).await.unwrap();
    desk.config = config;
    let old = std::mem::replace(&mut desk.app, app);
    let stopping = tokio::spawn(old.stop());
    desk.clock.advance(Duration::from_secs(60));
    assert!(stopping.await.unwrap());
}

/// One of everything that a desk can hold; returns the words of its cases.
async fn live_through(desk: &mut Desk) -> Vec<(&'static str, CaseId)> {
    let (kg, le) = (desk.viewer("KG").await, desk.viewer("LE").await);
    let texts = [
        ("sent", "배송이 아직도 안 와요. 열흘째예요"),
        ("failed", "환불 신청한 지 3주인데 처리가 안 됩니다"),
        ("queued", "앱이 자꾸 꺼져서 주문을 못 하겠어요"),
        ("noted", "쿠폰이 적용이 안 돼요. 결제가 계속 실패합니다"),
        ("waiting", "사이즈가 안 맞아서 교환하고 싶은데 접수가 안 돼요"),
        ("resolved", "세탁기에서 타는 냄새가 나고 물이 새요. 수리 접수가 안 됩니다"),
        ("edited", "주문한 물건이 깨져서 왔어요. 사과도 없네요"),
        ("unknown", "예약한 물건이 품절이라며 취소됐어요. 보상해 주세요"),
        ("sending", "영수증을 세 번이나 달라고 했는데 아직도 안 줘요"),
        ("deleted", "상담 전화를 한 시간째 안 받아요. 너무합니다"),
    ];
    let (mut cases, mut posts) = (Vec::new(), Vec::new());
    for (number, (what, text)) in texts.iter().enumerate() {
        let author = format!("a{number}");
        posts.push(desk.sample.post(&author, text, None, Some(SHOP), desk.clock.now(), Some(40)));
        cases.push((*what, desk.case_saying(text).await.case.id));
    }
    let id = |what: &str| cases.iter().find(|(known, _)| *known == what).unwrap().1;
    let reply = async |desk: &Desk, case: CaseId, text: &str| {
        desk.app.desk.reply(&kg, case, NewReply { text: text.into(), despite_colleague: false }).await.unwrap()
    };
    reply(desk, id("sent"), "오늘 보내 드릴게요.").await;
    desk.until("it is sent", async |desk| (desk.look(id("sent")).await.replies[0].0.state == ReplyState::Sent).then_some(()))
        .await;
    for (what, state) in [("failed", ReplyState::Failed), ("unknown", ReplyState::Unknown), ("sending", ReplyState::Sending)] {
        let answer = reply(desk, id(what), "확인하고 있어요.").await;
        let set = move |tx: &mut queue::Tx<'_>| tx.set_reply_state(answer.id, state, Some("거절했어요"), None);
        desk.app.store.write(Urgency::Person, set).await.unwrap();
    }
    desk.app.desk.note(&kg, id("noted"), "‘\\n’ 그리고 \"따옴표\"\n둘째 줄 🙂".into()).await.unwrap();
    desk.app.desk.set_label(&kg, id("noted"), Label::Question).await.unwrap();
    desk.app.desk.put_draft(&kg, id("noted"), "reply".into(), "쓰다 만 글".into(), 0).await.unwrap().unwrap();
    let team = desk.app.store.catalog().teams.iter().map(|team| team.id).find(|team| *team != kg.teams[0].0).unwrap();
    let to = HandOver { team, agent: None, reason: "우리 일이 아니에요".into() };
    desk.app.desk.hand_over(&le, id("noted"), to).await.unwrap();
    desk.app.desk.wait_for(&kg, id("waiting"), PauseReason::WaitingCustomer).await.unwrap();
    desk.app.desk.answered_there(&kg, id("resolved")).await.unwrap();
    desk.app.desk.resolve(&kg, id("resolved"), "answered".into()).await.unwrap();
    assert!(desk.sample.edit(&posts[6], "주문한 물건이 깨져서 왔어요. 사진도 있어요"));
    assert!(desk.sample.delete(&posts[9]));
    desk.until("the delete has come", async |desk| desk.look(id("deleted")).await.thread[0].deleted_at).await;
    let dead = Entry { key: "x/1".into(), thread: "x/1".into(), bytes: b"\xff\x00 no mention".to_vec() };
    desk.app.bus.append(vec![dead]).await.unwrap();
    desk.expect_dead_letters = 1;
    desk.until("it is a dead letter", async |desk| (desk.totals().await.dead_letters == 1).then_some(())).await;
    // Last, and due only tomorrow: it waits in the outbox.
    let answer = reply(desk, id("queued"), "앱을 새로 받아 주세요.").await;
    let later = desk.clock.now().plus(Duration::from_secs(86_400));
    let hold = move |tx: &mut queue::Tx<'_>| tx.set_reply_state(answer.id, ReplyState::Queued, None, Some(later));
    desk.app.store.write(Urgency::Person, hold).await.unwrap();
    cases
}

/// Appends to the log of a desk at rest what its connectors might have: three posts, one of them twice, and poison.
async fn unread(config: &Config) -> u64 {
    let bus = app::open_bus(config, &Clock::System, &Registry::new()).unwrap();
    let post = |name: &str| {
        let mention = Envelope {
            v: Envelope::VERSION,
            source: "mastodon:late.example".into(),
            native_id: format!("https://late.example/{name}"),
            author: Some(Author { native_id: name.into(), handle: name.into(), ..Author::default() }),
            text: format!("{name} 주문이 아직도 안 와요. 배송이 너무 늦어요"),
            posted_at: Some(kit::noon()),
            first_seen_at: kit::noon(),
            matched: vec![Match { account: "shop-mastodon".into(), brand: "shop".into(), addressed: true, ..Match::default() }],
            ..Envelope::default()
        };
        Entry::of(&mention).unwrap()
    };
    let poison = Entry { key: "x/2".into(), thread: "x/2".into(), bytes: vec![0, 159, 146, 150] };
    let entries = vec![post("late1"), post("late2"), poison, post("late1"), post("late3")];
    let count = entries.len() as u64;
    bus.append(entries).await.unwrap();
    bus.close().await;
    count
}

/// Moves a desk that holds everything to the engines that `aim` sets, and lives on there.
async fn moves(aim: impl Fn(&mut Config)) {
    let place = tempfile::tempdir().unwrap();
    kit::run(async |desk| {
        let cases = live_through(desk).await;
        let session = desk.app.desk.start_session(desk.viewer("KG").await.id).await.unwrap();
        let old = desk.config.clone();
        let running = backup::export(&old, &place.path().join("export"), &Clock::System).await.unwrap_err();
        assert!(format!("{running:#}").contains("stop it first"), "{running:#}");
        let mut elsewhere = old.clone();
        elsewhere.data.directory = place.path().join("meanwhile");
        replace(desk, elsewhere).await;

        let tail = unread(&old).await;
        let before = rows(&old).await;
        let to = place.path().join("export");
        let export = backup::export(&old, &to, &Clock::System).await.unwrap();
        assert_eq!(export.mentions.lines, tail);
        // The old desk could be had back by other means; whoever starts it again holds its outbox back first.
        let said = backup::park(&old, &Clock::System).await.unwrap();
        assert!(said.starts_with("2 replies were on their way"), "{said}");
        assert_eq!(backup::park(&old, &Clock::System).await.unwrap(), "no reply was on its way");
        let mut new = old.clone();
        new.data.directory = place.path().join("new");
        aim(&mut new);
        let imported = backup::import(&new, &to, &Clock::System).await.unwrap();
        assert_eq!((imported.parked.len(), imported.resumed), (2, 0));
        assert_moved(&before, &rows(&new).await, new.bus == old.bus);
        let again = backup::import(&new, &to, &Clock::System).await.unwrap_err();
        assert!(format!("{again:#}").contains("is not empty"), "{again:#}");

        replace(desk, new).await;
        for name in ["late1", "late2", "late3"] {
            desk.case_saying(name).await;
        }
        desk.until("the poison is known", async |desk| (desk.totals().await.dead_letters == 2).then_some(())).await;
        desk.expect_dead_letters = 2;
        let open = desk.queue().await;
        for name in ["late1", "late2", "late3"] {
            assert_eq!(open.iter().filter(|row| row.mention.text.whole().contains(name)).count(), 1, "{name}");
        }
        assert_eq!(desk.totals().await.mentions, before["mention"].len() as u64 + 3);
        assert_eq!(desk.sample.posts_by(SHOP).len(), 1, "nothing was sent by itself");

        // The same people go on with the same cases, and new rows have new ids.
        let client = reqwest::Client::builder().build().unwrap();
        for (what, id) in &cases {
            let page = client.get(format!("http://{}/cases/{}", desk.app.address, id.0));
            let page = page.header("cookie", format!("moksori={}", session.token)).send().await.unwrap();
            assert_eq!(page.status(), 200, "{what}");
            let page = page.text().await.unwrap();
            assert_eq!(page.contains(&format!("/cases/{}/discard", id.0)), ["queued", "sending"].contains(what), "{what}");
        }
        let id = |what: &str| cases.iter().find(|(known, _)| *known == what).unwrap().1;
        assert_eq!(desk.look(id("resolved")).await.case.status, Status::Resolved);
        let (kg, le) = (desk.viewer("KG").await, desk.viewer("LE").await);
        desk.app.desk.note(&kg, id("waiting"), "옮긴 뒤의 메모".into()).await.unwrap();
        let parked = desk.look(id("queued")).await.replies[0].0.id;
        desk.app.desk.send_parked(&le, id("queued"), parked).await.unwrap();
        desk.until("it is sent now", async |desk| (desk.sample.posts_by(SHOP).len() == 2).then_some(())).await;
        desk.sample.post("new", "새로 온 불만이에요. 배송이 안 와요", None, Some(SHOP), desk.clock.now(), None);
        desk.case_saying("새로 온").await;
        let events: Vec<_> = desk.look(id("queued")).await.events.into_iter().map(|(event, _)| event).collect();
        assert!(events.is_sorted_by_key(|event| event.seq), "{events:?}");
        assert_eq!(events.iter().filter(|event| event.kind == EventKind::ReplyParked).count(), 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_desk_moves_to_another_directory_with_every_row() {
    moves(|_| {}).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_desk_moves_to_postgresql_and_kafka_with_every_row() {
    let what = "that a desk moves to PostgreSQL and Kafka with every row";
    let (Some(postgres), Some(kafka)) = (postgres(what), kafka(what)) else { return };
    let (_one, _other) = (postgres.shared(), kafka.shared());
    let topics = ["mentions", "dead", "case_events"]
        .map(|topic| format!("[bus.topics.{topic}]\nname = \"moved-{topic}\"\npartitions = 1\nreplication = 1\n"));
    let text = format!(
        "[bus]\nengine = \"kafka\"\n[[bus.cluster]]\nname = \"main\"\nbrokers = \"{}\"\n[bus.kafka]\ngroup = \"moved\"\n{}",
        kafka.bootstrap(),
        topics.concat()
    );
    let (url, log) = (postgres.database(), Config::from_texts(&[("kafka.toml".into(), text)], &[]).unwrap().bus);
    moves(|config| {
        config.queue = queue::Config::at(&url, 6, Duration::from_secs(5));
        config.bus = log.clone();
    })
    .await;
}
