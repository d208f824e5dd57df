//! A desk out of a backup: it sends nothing that may have been sent, until a person says so.

use std::{fs, path::Path, time::Duration};

use moksori::{
    app::App,
    backup::{self, MANIFEST, Order},
    bus,
    case::{CaseId, EventKind, ReplyId, ReplyState},
    clock::Clock,
    desk::{Error, NewReply},
    queue,
};

use crate::kit::{self, Desk, SHOP};

/// Answers a case; the reply waits in the outbox until the clock moves.
async fn answer(desk: &Desk, case: CaseId, text: &str) -> ReplyId {
    let kg = desk.viewer("KG").await;
    desk.app.desk.reply(&kg, case, NewReply { text: text.into(), despite_colleague: false }).await.unwrap().id
}

async fn state(desk: &Desk, case: CaseId) -> ReplyState {
    desk.look(case).await.replies[0].0.state
}

/// Backs the running desk up as the command does.
async fn back_up(desk: &Desk, to: &Path) -> anyhow::Result<backup::Manifest> {
    let order = Order::new(&desk.config, &to.with_file_name("moksori.toml"), to).unwrap();
    backup::ask(&desk.config, order, &Clock::System).await
}

/// Puts the desk in `data` into the place of the running one, which stops first.
async fn move_to(desk: &mut Desk, data: &Path) {
    desk.config.data.directory = data.to_owned();
    let app = App::start(desk.config.clone(), desk.clock.clone()).await.unwrap();
    let old = std::mem::replace(&mut desk.app, app);
    let stopping = tokio::spawn(old.stop());
    desk.clock.advance(Duration::from_secs(60));
    assert!(stopping.await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_on_its_way_at_the_backup_is_sent_by_a_person_or_never() {
    let place = tempfile::tempdir().unwrap();
    kit::run(async |desk| {
        let complaints = [
            "배송이 아직도 안 와요. 열흘째예요",
            "환불 신청한 지 3주인데 처리가 안 됩니다",
            "앱이 자꾸 꺼져서 주문을 못 하겠어요",
        ];
        let mut cases = Vec::new();
        for (author, text) in ["minji", "jun", "hana"].iter().zip(complaints) {
            desk.sample.post(author, text, None, Some(SHOP), desk.clock.now(), None);
            cases.push(desk.case_saying(text).await.case.id);
        }
        let mut replies = Vec::new();
        for (number, case) in cases.iter().enumerate() {
            replies.push(answer(desk, *case, &format!("확인했어요 {number}.")).await);
        }
        let to = place.path().join("backup");
        let manifest = back_up(desk, &to).await.unwrap();
        assert!(manifest.positions.iter().any(|standing| standing.consumer == "triage" && standing.next > 0));

        // After the backup the first one goes; the other two are taken back, and the desk is lost.
        let kg = desk.viewer("KG").await;
        for number in [1, 2] {
            desk.app.desk.undo_reply(&kg, cases[number], replies[number]).await.unwrap();
        }
        desk.until("the platform has the first", async |desk| desk.sample.posts_by(SHOP).pop()).await;
        let data = place.path().join("data");
        let restored = backup::restore(&to, &data, &Clock::System).await.unwrap();
        assert_eq!(restored.parked, cases);
        move_to(desk, &data).await;

        // What our own timeline shows has been sent; of the others nobody knows, and nobody guesses.
        desk.until("the first is known as sent", async |desk| (state(desk, cases[0]).await == ReplyState::Sent).then_some(()))
            .await;
        for _ in 0..200 {
            desk.clock.advance(Duration::from_millis(250));
            kit::breathe().await;
        }
        assert_eq!(desk.sample.posts_by(SHOP).len(), 1, "nothing is sent by itself");
        for number in [1, 2] {
            let view = desk.look(cases[number]).await;
            assert_eq!(view.replies[0].0.state, ReplyState::Parked);
            assert_eq!(view.events.iter().filter(|(event, _)| event.kind == EventKind::ReplyParked).count(), 1);
        }

        let le = desk.viewer("LE").await;
        desk.app.desk.send_parked(&le, cases[1], replies[1]).await.unwrap();
        desk.app.desk.discard_reply(&le, cases[2], replies[2]).await.unwrap();
        desk.until("the second is sent", async |desk| (state(desk, cases[1]).await == ReplyState::Sent).then_some(())).await;
        assert_eq!(state(desk, cases[2]).await, ReplyState::Undone);
        assert_eq!(desk.sample.posts_by(SHOP).len(), 2);
        // Decided is decided.
        for number in [0, 1, 2] {
            for twice in [
                desk.app.desk.send_parked(&le, cases[number], replies[number]).await,
                desk.app.desk.discard_reply(&le, cases[number], replies[number]).await,
            ] {
                assert!(matches!(twice, Err(Error::TooLate(_))), "{number}");
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_desk_on_other_engines_is_sent_to_their_own_tools() {
    let place = tempfile::tempdir().unwrap();
    let sample = kit::sample(&Clock::System).await;
    let embedded = kit::config(place.path(), &sample);
    let (mut store, mut log) = (embedded.clone(), embedded);
    store.queue = queue::Config::at("postgres://moksori@127.0.0.1:1/nowhere", 4, Duration::from_secs(1));
    log.bus.engine = bus::Engine::Kafka;
    for (config, words) in [(store, "pg_dump"), (log, "mentions in Kafka")] {
        let order = Order::new(&config, Path::new("moksori.toml"), &place.path().join("backup")).unwrap();
        let refused = backup::ask(&config, order, &Clock::System).await.unwrap_err();
        assert!(refused.to_string().contains(words), "{refused:#}");
        let refused = backup::export(&config, &place.path().join("export"), &Clock::System).await.unwrap_err();
        assert!(refused.to_string().contains(words), "{refused:#}");
    }
    assert!(!place.path().join("backup").exists() && !place.path().join("export").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_goes_only_where_nothing_is_and_a_restore_takes_only_what_is_whole() {
    let place = tempfile::tempdir().unwrap();
    let to = place.path().join("deep/backup");
    kit::run(async |desk| {
        desk.sample.post("minji", "배송이 아직도 안 와요. 열흘째예요", None, Some(SHOP), desk.clock.now(), None);
        desk.case_saying("아직도 안").await;
        let link = desk.app.desk.sign_in_link(desk.viewer("KG").await.id).await.unwrap();
        back_up(desk, &to).await.unwrap();
        let again = back_up(desk, &to).await.unwrap_err();
        assert!(again.to_string().contains("is not empty"), "{again:#}");
        let data = place.path().join("data");
        backup::restore(&to, &data, &Clock::System).await.unwrap();
        move_to(desk, &data).await;
        assert!(desk.app.desk.use_link(&link).await.unwrap().is_none(), "links of the old desk are void");
    })
    .await;

    let data = place.path().join("elsewhere");
    let refused = async |what: &str, words: &str| {
        let error = backup::restore(&to, &data, &Clock::System).await.unwrap_err();
        assert!(format!("{error:#}").contains(words), "{what}: {error:#}");
        assert!(!data.exists(), "{what}");
    };
    let manifest = fs::read_to_string(to.join(MANIFEST)).unwrap();
    let log = fs::read_dir(to.join("bus")).unwrap().next().unwrap().unwrap().path();
    let whole = fs::read(&log).unwrap();
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    for (what, bytes) in [("a flipped bit", flipped), ("cut short", whole[..whole.len() - 1].to_vec())] {
        fs::write(&log, bytes).unwrap();
        refused(what, "is not as it was written").await;
    }
    fs::remove_file(&log).unwrap();
    refused("a file is missing", "failed to copy").await;
    fs::write(&log, whole).unwrap();
    for (what, from, into, words) in [
        ("a newer layout", "\"format\": 1", "\"format\": 2", "run a newer moksori"),
        ("a newer schema", "\"schema\": ", "\"schema\": 9", "run a newer moksori"),
        ("a way out", "bus/mentions", "../bus/mentions", "no place within a backup"),
        ("half a manifest", "}", "", "is damaged"),
    ] {
        assert!(manifest.contains(from));
        fs::write(to.join(MANIFEST), manifest.replacen(from, into, 1)).unwrap();
        refused(what, words).await;
    }
    fs::remove_file(to.join(MANIFEST)).unwrap();
    refused("no manifest", "was not finished").await;
    fs::write(to.join(MANIFEST), &manifest).unwrap();
    let full = backup::restore(&to, to.parent().unwrap(), &Clock::System).await.unwrap_err();
    assert!(full.to_string().contains("is not empty"), "{full:#}");
    // A restore that was killed leaves its folder, and no desk starts beside it.
    fs::create_dir_all(data.join("restoring")).unwrap();
    assert!(backup::unfinished(&data).unwrap_err().to_string().contains("restore again"));
    fs::remove_dir_all(&data).unwrap();
    backup::restore(&to, &data, &Clock::System).await.unwrap();
    backup::unfinished(&data).unwrap();
}
