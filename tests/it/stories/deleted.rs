//! A customer edits, then deletes: the newer text counts, and then no text is left anywhere.

use std::{path::Path, time::Duration};

use moksori::{
    bus::Entry,
    query::Query,
    search::{Order, Page, Scope},
};

use crate::kit::{self, SHOP};

const CANARY: &str = "카나리아고유어휘";

#[tokio::test(flavor = "multi_thread")]
async fn a_delete_removes_the_text_everywhere() {
    kit::run(async |desk| {
        let text = format!("상담원이 {CANARY} 라며 전화를 끊었어요. 너무 불친절합니다 010-1234-5678");
        let post = desk.sample.post("dahye", &text, None, Some(SHOP), desk.clock.now(), None);
        let row = desk.case_saying(CANARY).await;
        assert!(!row.mention.text.whole().contains("1234-5678"), "masked: {}", row.mention.text.whole());
        desk.until("it is found", async |desk| (found(desk) == 1).then_some(())).await;

        desk.sample.edit(&post, &format!("@{SHOP} 상담원이 {CANARY} 라며 전화를 끊었어요. 사과해 주세요"));
        desk.until("the edit has come", async |desk| {
            let row = desk.queue().await.pop()?;
            row.mention.text.whole().contains("사과해").then_some(())
        })
        .await;

        assert!(desk.sample.delete(&post));
        desk.until("the text is gone from the case", async |desk| {
            let row = desk.queue().await.pop()?;
            (row.mention.text.whole().is_empty() && row.mention.deleted_at.is_some()).then_some(())
        })
        .await;
        desk.until("it is found no more", async |desk| (found(desk) == 0).then_some(())).await;
        let directory = desk.config.data.directory.clone();
        let mut holders = Vec::new();
        for _ in 0..500 {
            holders = files_with(&directory, CANARY.as_bytes());
            if holders.is_empty() {
                break;
            }
            desk.clock.advance(Duration::from_millis(250));
            kit::breathe().await;
        }
        assert!(holders.is_empty(), "the text is still in {holders:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delete_that_came_first_wins() {
    kit::run(async |desk| {
        let source = "mastodon:somewhere.example";
        let delete = format!(r#"{{"v":1,"op":"delete","source":"{source}","native_id":"x1","first_seen_at":5}}"#);
        let create = format!(
            r#"{{"v":1,"source":"{source}","native_id":"x1","first_seen_at":{0},"posted_at":{0},"time_quality":"exact",
               "author":{{"native_id":"a","handle":"a"}},"text":"{CANARY}","matched":[{{"brand":"shop","account":"shop-mastodon","addressed":true}}]}}"#,
            desk.clock.now().0
        );
        for record in [delete, create] {
            desk.app.bus.append(vec![Entry { bytes: record.into_bytes(), ..Entry::default() }]).await.unwrap();
        }
        desk.all_is_read().await;
        assert_eq!(desk.totals().await.mentions, 0);
        desk.until("the text has left the bus", async |desk| {
            files_with(&desk.config.data.directory, CANARY.as_bytes()).is_empty().then_some(())
        })
        .await;
    })
    .await;
}

fn found(desk: &kit::Desk) -> usize {
    let query = CANARY.parse::<Query>().unwrap();
    let catalog = desk.app.store.catalog();
    let scope = Scope { teams: catalog.teams.iter().map(|team| team.id).collect(), brands: vec![1] };
    desk.app.search.as_ref().unwrap().find(&query, &scope, Order::Newest, Page { offset: 0, limit: 10 }).unwrap().total
}

fn files_with(directory: &Path, needle: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_with(&path, needle));
        } else if std::fs::read(&path).is_ok_and(|bytes| bytes.windows(needle.len()).any(|window| window == needle)) {
            found.push(path.display().to_string());
        }
    }
    found
}
