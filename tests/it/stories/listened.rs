//! They did not write to us: a post that names the brand and mentions nobody is found by listening, its homonym is not.

use moksori::{
    clock::{Clock, Time},
    connect::AccountConfig,
    staff::Role,
};
use reqwest::StatusCode;
use serde_json::json;

use super::words::{self, Posts};
use crate::{kit, sources::Browser};

/// What its search answers when a test of the file asks.
const RECORDED: &str = r#"
[[recorded]]
path = "/search"
body = '{"posts": []}'
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_post_that_mentions_nobody_is_found_and_its_homonym_is_held_back() {
    let posts = Posts::default();
    let base = words::serve(words::router(posts.clone())).await;
    let folder = tempfile::tempdir().unwrap();
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("connectors/mastodon.toml");
    std::fs::copy(root, folder.path().join("mastodon.toml")).unwrap();
    std::fs::write(folder.path().join("square.toml"), words::file("square", "{{ account.host }}") + RECORDED).unwrap();
    let changes = |config: &mut moksori::config::Config| {
        config.connect.directory = folder.path().to_owned();
        let account = AccountConfig {
            base: Some(base),
            allow_private: true,
            interval: std::time::Duration::from_secs(1),
            ..AccountConfig::new("shop-square", "square")
        };
        config.brands[0].accounts.push(account);
    };
    kit::run_with(Clock::by_hand(kit::noon()), changes, async |desk| {
        desk.hire("MG", Role::Manager).await;
        let manager = Browser::of(desk, "MG").await;
        let say = |id: &str, text: &str, at: Time| {
            posts.lock().unwrap().push(json!({ "id": id, "by": format!("author-{id}"), "text": text, "at": at.0 }));
        };
        say("1", "솔방울 배송이 또 늦네. 일주일째 안 와서 화나요", desk.clock.now());
        say("2", "솔방울 주우러 산에 갔다가 배송 기사님을 만났다", desk.clock.now());

        // It is tried on the past before it is saved: nothing has been collected yet.
        let home = "/sources/shop-square";
        let query = "솔방울 배송 -산";
        let tried = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("name", "brand name")
            .append_pair("q", query)
            .finish();
        let (status, page) = manager.get(&format!("{home}?{tried}")).await;
        assert_eq!(status, StatusCode::OK);
        assert!(page.contains("would have caught 0"), "{page}");
        let fields = [("name", "brand name"), ("q", query)];
        assert_eq!(manager.post(home, &format!("{home}/listen"), &fields).await, StatusCode::SEE_OTHER);

        let row = desk.case_saying("또 늦네").await;
        assert!(!row.mention.addressed, "nobody wrote to us");
        let (_, page) = manager.get(&format!("/cases/{}", row.case.id.0)).await;
        assert!(page.contains("Caught by &#39;brand name&#39; of Pinecone Market") || page.contains("brand name"), "{page}");
        assert!(page.contains("Not written to us"), "how to answer such a post is shown: {page}");
        for _ in 0..40 {
            desk.clock.advance(std::time::Duration::from_millis(250));
            kit::breathe().await;
        }
        assert_eq!(desk.totals().await.mentions, 1, "the homonym is no mention at all");
        desk.until("the past knows it now", async |_| {
            manager.get(&format!("{home}?{tried}")).await.1.contains("would have caught 1").then_some(())
        })
        .await;

        // What is paused brings nothing; what goes on brings what came meanwhile.
        assert_eq!(manager.post("/sources", &format!("{home}/pause"), &[]).await, StatusCode::SEE_OTHER);
        for _ in 0..20 {
            desk.clock.advance(std::time::Duration::from_millis(250));
            kit::breathe().await;
        }
        say("3", "솔방울 배송 상자가 찢어져서 왔어요. 환불해 주세요", desk.clock.now());
        for _ in 0..40 {
            desk.clock.advance(std::time::Duration::from_millis(250));
            kit::breathe().await;
        }
        assert_eq!(desk.totals().await.mentions, 1, "paused");
        assert_eq!(manager.post("/sources", &format!("{home}/resume"), &[]).await, StatusCode::SEE_OTHER);
        desk.case_saying("찢어져서").await;

        // What one wrote and others copied is one case; the copies are kept, and found beside it.
        let copied = "솔방울 배송을 시켰더니 상자가 비어 있었어요. 고객센터는 전화를 안 받고 환불도 안 해 준대요";
        say("4", copied, desk.clock.now());
        let first = desk.case_saying("비어 있었어요").await;
        say("5", &format!("{copied}!!"), desk.clock.now());
        say(
            "6",
            "솔방울 배송 기사님이 문 앞에 던지고 가셨어요. 안에 든 유리컵이 다 깨졌는데 누구한테 말해야 하나요",
            desk.clock.now(),
        );
        let other = desk.case_saying("던지고").await;
        assert_eq!((desk.totals().await.mentions, other.case.id.0 - first.case.id.0), (5, 1), "the copy has no case");
    })
    .await;
}
