//! What breaks the format becomes a dead letter with its reason, and the stream goes on.

use crate::kit::{self, SHOP};

#[tokio::test(flavor = "multi_thread")]
async fn poison_is_buried_and_the_stream_goes_on() {
    kit::run(async |desk| {
        let deep = format!("{}1{}", "[".repeat(10_000), "]".repeat(10_000));
        let poison: Vec<Vec<u8>> = vec![
            b"\xff\xfe not utf-8".to_vec(),
            b"".to_vec(),
            b"null".to_vec(),
            br#"{"v":1,"source":7}"#.to_vec(),
            br#"{"v":1,"source":"x","native_id":"\ud800","first_seen_at":1}"#.to_vec(),
            deep.into_bytes(),
            vec![0; 10 * 1024 * 1024],
        ];
        desk.expect_dead_letters = poison.len() as u64;
        desk.app.bus.append(poison).await.unwrap();
        desk.sample.post("mira", "포인트가 갑자기 사라졌어요. 확인해 주세요", None, Some(SHOP), desk.clock.now(), None);
        desk.case_saying("포인트가 갑자기").await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_on_the_same_data_is_refused() {
    kit::run(async |desk| {
        let refused = moksori::app::App::start(desk.config.clone(), desk.clock.clone()).await;
        let message = format!("{:#}", refused.err().expect("refused"));
        assert!(message.contains("another moksori") && message.contains("uses this data directory"), "{message}");
    })
    .await;
}
