//! What breaks the format becomes a dead letter with its reason, and the stream goes on.

use moksori::{bus::Entry, pipeline::Judges, rules};

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
        let poison = poison.into_iter().map(|bytes| Entry { bytes, ..Entry::default() }).collect();
        desk.app.bus.append(poison).await.unwrap();
        desk.sample.post("mira", "포인트가 갑자기 사라졌어요. 확인해 주세요", None, Some(SHOP), desk.clock.now(), None);
        desk.case_saying("포인트가 갑자기").await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_poison_halts_the_pipeline_and_says_why() {
    kit::run(async |desk| {
        desk.expect_dead_letters = 550;
        assert_eq!(desk.app.pipeline.healthy(), Ok(()));
        desk.app.bus.append(vec![Entry { bytes: b"poison".to_vec(), ..Entry::default() }; 550]).await.unwrap();
        let why = desk.until("the pipeline halts", async |desk| desk.app.pipeline.healthy().err()).await;
        assert!(why.starts_with("550 records in a row became dead letters"), "{why}");
        assert!(why.ends_with("start again, or raise pipeline.dead_limit_run"), "{why}");
        let shown = moksori::metrics::scrape(&desk.app.registry).unwrap();
        assert!(shown.contains("moksori_pipeline_halted 1"));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_that_crashes_the_rules_is_buried_alone() {
    kit::run(async |desk| {
        let judges = desk.app.pipeline.judges();
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let files = rules::Files::load(&[root.join("samples/shop/rules"), root.join("rules")]).unwrap();
        let rules = files.check(judges.version, &desk.app.store.catalog()).unwrap();
        let classifier = rules.judges.classifier.with_probe(|text| {
            assert!(!text.contains("폭탄"), "a rule with a fault");
        });
        desk.app.pipeline.set_judges(Judges { classifier, ..rules.judges });
        desk.expect_dead_letters = 1;
        for text in ["배송이 안 와요. 너무 늦습니다", "폭탄 세일인가요?", "환불이 안 돼요. 답답합니다"]
        {
            desk.sample.post("mira", text, None, Some(SHOP), desk.clock.now(), None);
        }
        desk.case_saying("배송이 안 와요").await;
        desk.case_saying("환불이 안 돼요").await;
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
