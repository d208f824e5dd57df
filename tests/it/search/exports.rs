//! Exports: what leaves the desk, and what never does.

use std::{sync::Arc, time::Duration};

use moksori::{
    case::CaseId,
    index::Exporter,
    mention::MentionId,
    queue::{EXPORT_PART, Error, ExportState, Urgency},
    staff::Viewer,
};
use serde_json::Value;

use super::{Place, desk_over, open_store};

impl Place {
    async fn begin(&self, viewer: &Viewer, query: &str, teams: &[&str]) -> i64 {
        let posts: Vec<(MentionId, Option<CaseId>)> =
            self.find(query, teams).hits.iter().map(|hit| (hit.mention, hit.case)).collect();
        self.desk.begin_export(viewer, query, "보고서", posts).await.unwrap()
    }

    fn exporter(&self) -> Exporter {
        Exporter { store: Arc::clone(self.desk.store()), clock: self.clock.clone(), mask_abuse: true }
    }

    async fn state(&self, id: i64) -> (ExportState, u64) {
        let export = self.desk.store().read(move |reader| reader.export(id)).await.unwrap().unwrap();
        (export.state, export.done)
    }

    async fn lines(&self, id: i64) -> Vec<Value> {
        let parts = self.desk.store().read(move |reader| reader.export_lines(id)).await.unwrap();
        parts.iter().flat_map(|part| part.lines()).map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_goes_on_after_a_restart_and_holds_each_post_once() {
    let mut place = Place::open().await;
    let kg = place.hire("KG", &["care"]).await;
    let texts: Vec<String> = (0..2 * EXPORT_PART + 7).map(|number| format!("배송 지연 {number}")).collect();
    place.post_at(Some("care"), &texts, place.clock.now()).await;
    place.post(None, &["배송 안내 고마워요"]).await;
    place.post(Some("bar"), &["배송 커피"]).await;
    place.index().await;
    let id = place.begin(&kg, "배송", &["care"]).await;
    assert!(place.exporter().step().await.unwrap());
    assert_eq!(place.state(id).await, (ExportState::Running, EXPORT_PART as u64));
    // The process ends here; another one goes on.
    place.desk.store().close();
    let store = open_store(place.dir.path(), &place.clock);
    store.refresh_catalog().await.unwrap();
    place.desk = desk_over(store, &place.clock);
    while place.exporter().step().await.unwrap() {}
    assert_eq!(place.state(id).await, (ExportState::Done, texts.len() as u64 + 1));
    let lines = place.lines(id).await;
    let mut seen: Vec<&str> = lines.iter().map(|line| line["text"].as_str().unwrap()).collect();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!((lines.len(), seen.len()), (texts.len() + 1, texts.len() + 1));
    let folded = lines.iter().find(|line| line["text"] == "배송 안내 고마워요").unwrap();
    assert_eq!((&folded["case"], &folded["team"], &folded["account"]), (&Value::Null, &Value::Null, &"main".into()));
    let case = lines.iter().find(|line| line["text"] == "배송 지연 3").unwrap();
    assert_eq!((&case["team"], &case["status"], &case["label"]), (&"care".into(), &"new".into(), &"complaint".into()));
    assert!(!lines.iter().any(|line| line.to_string().contains("user_")), "no author leaves");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_is_stopped_by_its_owner_and_ends_with_its_day() {
    let mut place = Place::open().await;
    let (kg, sb) = (place.hire("KG", &["care"]).await, place.hire("SB", &["care"]).await);
    place.post(Some("care"), &["배송 하나", "배송 둘"]).await;
    place.index().await;
    let stopped = place.begin(&kg, "배송", &["care"]).await;
    assert!(!place.desk.cancel_export(&sb, stopped).await.unwrap(), "not theirs");
    assert!(place.desk.cancel_export(&kg, stopped).await.unwrap());
    assert!(!place.exporter().step().await.unwrap(), "nothing is left to read");
    assert_eq!(place.state(stopped).await, (ExportState::Cancelled, 0));
    let kept = place.begin(&kg, "배송", &["care"]).await;
    while place.exporter().step().await.unwrap() {}
    assert!(!place.desk.cancel_export(&kg, kept).await.unwrap(), "it has ended");
    place.desk.count_download(&kg, kept).await.unwrap();
    let sweep = async |place: &Place| {
        let before = place.clock.now().minus(Duration::from_secs(86_400));
        let swept = place.desk.store().write(Urgency::Batch, move |tx| tx.expire_exports(before, &[])).await;
        swept.map_err(|error: Error| error).unwrap()
    };
    assert_eq!(sweep(&place).await, 0);
    place.clock.advance(Duration::from_secs(86_401));
    assert_eq!((sweep(&place).await, sweep(&place).await), (1, 0));
    assert_eq!((place.state(kept).await.0, place.lines(kept).await.len()), (ExportState::Expired, 0));
    let record = place.desk.store().read(move |reader| reader.exports(None, 10)).await.unwrap();
    let record: Vec<_> = record.iter().map(|one| (one.initials.as_str(), one.reason.as_str(), one.downloads)).collect();
    assert_eq!(record, [("KG", "보고서", 1), ("KG", "보고서", 0)], "who and why stay");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_may_no_longer_see_or_what_was_deleted_does_not_leave() {
    let mut place = Place::open().await;
    let kg = place.hire("KG", &["care"]).await;
    place.post(Some("care"), &["배송 하나", "배송 둘"]).await;
    place.post(None, &["배송 셋"]).await;
    place.index().await;
    let first = place.begin(&kg, "배송", &["care"]).await;
    // Moved to another team, and out of the brand, before the part is read.
    place.hire("KG", &["bar"]).await;
    while place.exporter().step().await.unwrap() {}
    assert_eq!((place.state(first).await.0, place.lines(first).await.len()), (ExportState::Done, 0));
    place.hire("KG", &["care"]).await;
    let second = place.begin(&kg, "배송", &["care"]).await;
    let other = place.begin(&kg, "셋", &["care"]).await;
    while place.exporter().step().await.unwrap() {}
    assert_eq!(place.lines(second).await.len(), 3);
    let deleted = place.find("하나", &["care"]).hits[0].mention;
    let gone = place.desk.store().write(Urgency::Batch, move |tx| {
        tx.erase_mention(deleted)?;
        tx.expire_exports(moksori::clock::Time(0), &[deleted])
    });
    let gone: Result<usize, Error> = gone.await;
    assert_eq!(gone.unwrap(), 2, "both exports that name the post");
    assert_eq!((place.state(second).await.0, place.lines(second).await.len()), (ExportState::Expired, 0));
    assert_eq!(place.state(other).await.0, ExportState::Done);
    assert!(place.desk.begin_export(&kg, "배송", "  ", Vec::new()).await.is_err(), "a reason is needed");
}

#[tokio::test(flavor = "multi_thread")]
async fn abuse_leaves_as_what_is_told_of_it() {
    let mut place = Place::open().await;
    let kg = place.hire("KG", &["care"]).await;
    place.post(Some("care"), &["배송 이 멍텅구리야\n언제 와?", "배송 하나"]).await;
    place.index().await;
    let case = place.find("멍텅구리야", &["care"]).hits[0].case.unwrap();
    place.desk.set_label(&kg, case, moksori::mention::Label::Abuse).await.unwrap();
    let mut texts = Vec::new();
    for mask_abuse in [true, false] {
        let id = place.begin(&kg, "배송", &["care"]).await;
        let exporter = Exporter { mask_abuse, ..place.exporter() };
        while exporter.step().await.unwrap() {}
        let mut lines: Vec<String> = place.lines(id).await.iter().map(|line| line["text"].as_str().unwrap().into()).collect();
        lines.sort();
        texts.push(lines);
    }
    assert_eq!(
        texts,
        [["[masked: abuse, 2 lines, contains a question]", "배송 하나"], ["배송 이 멍텅구리야\n언제 와?", "배송 하나"]]
    );
}
