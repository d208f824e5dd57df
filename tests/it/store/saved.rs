//! Saved searches, what they tell, who has seen it; and exports, part by part.

use std::time::Duration;

use moksori::{
    case::CaseId,
    clock::Time,
    mention::MentionId,
    queue::{AlertRule, EXPORT_PART, ExportState, SavedSearch},
};

use super::{minutes_after_noon, on_both};

#[tokio::test(flavor = "multi_thread")]
async fn a_search_is_kept_shared_and_told_of_once() {
    on_both(async |shop| {
        let (kg, sb, care, vip) = (shop.kg, shop.sb, shop.care, shop.vip);
        let hour = Duration::from_secs(3_600);
        let mine = SavedSearch {
            id: 0,
            agent: kg,
            team: None,
            name: "나만".into(),
            query: "배송 \"지연\"".into(),
            alert: None,
            told_until: Time(0),
        };
        let alert = Some(AlertRule::Spike { percent: 350, threshold: 5, period: hour });
        let ours = SavedSearch { team: Some(care), name: "같이".into(), alert, ..mine.clone() };
        let (first, second) = (mine.clone(), ours.clone());
        let (mine_id, ours_id) = shop.write(move |tx| Ok((tx.save_search(&first)?, tx.save_search(&second)?))).await;
        let (mine, ours) = (SavedSearch { id: mine_id, ..mine }, SavedSearch { id: ours_id, ..ours });
        let kept = async |agent, teams: Vec<_>| shop.read(move |reader| reader.saved_searches(agent, &teams)).await;
        assert_eq!(kept(kg, vec![]).await, [ours.clone(), mine.clone()], "by name");
        assert_eq!(kept(sb, vec![care]).await, std::slice::from_ref(&ours));
        assert_eq!(kept(sb, vec![vip]).await, []);
        assert_eq!(shop.read(|reader| reader.searches_that_tell()).await, std::slice::from_ref(&ours));
        let tell = async |from, until| {
            let (from, until) = (minutes_after_noon(from), minutes_after_noon(until));
            shop.write(move |tx| tx.tell_alert(ours_id, from, until, 9, Some(250))).await
        };
        assert!(tell(0, 60).await);
        assert!(!tell(0, 60).await && !tell(30, 90).await, "that time was told");
        assert!(tell(60, 120).await);
        let told = shop.read(move |reader| reader.search_alerts(&[ours_id, mine_id], 10)).await;
        assert_eq!(
            (told.len(), told[0].from, told[0].until),
            (2, minutes_after_noon(60), minutes_after_noon(120)),
            "newest first"
        );
        assert_eq!((told[0].saved, told[0].found, told[0].usual), (ours_id, 9, Some(250)));
        let unseen = async |agent, teams: Vec<_>| shop.read(move |reader| reader.unseen_alerts(agent, &teams)).await;
        assert_eq!((unseen(kg, vec![]).await, unseen(sb, vec![care]).await, unseen(sb, vec![vip]).await), (2, 2, 0));
        let (older, newer) = (told[1].id, told[0].id);
        shop.write(move |tx| tx.see_alerts(sb, older)).await;
        assert_eq!(unseen(sb, vec![care]).await, 1);
        shop.write(move |tx| tx.see_alerts(sb, newer)).await;
        shop.write(move |tx| tx.see_alerts(sb, older)).await;
        assert_eq!((unseen(sb, vec![care]).await, unseen(kg, vec![]).await), (0, 2), "seen stays seen");
        assert!(!shop.write(move |tx| tx.drop_search(ours_id, sb)).await, "not theirs");
        assert!(shop.write(move |tx| tx.drop_search(ours_id, kg)).await);
        assert!(shop.read(move |reader| reader.search_alerts(&[ours_id], 10)).await.is_empty());
        let counted = SavedSearch { alert: Some(AlertRule::Count { threshold: 7, period: hour * 24 }), ..mine.clone() };
        let third = counted.clone();
        let id = shop.write(move |tx| tx.save_search(&third)).await;
        assert_eq!(kept(kg, vec![]).await.last(), Some(&SavedSearch { id, ..counted }));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_is_filled_part_by_part_and_its_lines_go_when_a_post_goes() {
    on_both(async |shop| {
        let (kg, sb) = (shop.kg, shop.sb);
        let count = i64::try_from(EXPORT_PART).unwrap() + 2;
        let posts: Vec<_> = (1..=count).map(|id| (MentionId(id), (id % 2 == 0).then_some(CaseId(id)))).collect();
        let (all, few) = (posts.clone(), posts[..3].to_vec());
        let (first, second, none) = shop
            .write(move |tx| {
                let begin = |tx: &mut moksori::queue::Tx<'_>, posts: &[_]| tx.begin_export(kg, "배송 OR \"a\"", "보고", posts);
                Ok((begin(tx, &all)?, begin(tx, &few)?, begin(tx, &[])?))
            })
            .await;
        let next = async || shop.read(|reader| reader.next_export_part()).await;
        let state = async |id| {
            let export = shop.read(move |reader| reader.export(id)).await.unwrap();
            (export.state, export.done, export.total, export.finished_at.is_some())
        };
        assert_eq!(state(none).await, (ExportState::Done, 0, 0, true));
        let part = next().await.unwrap();
        assert_eq!((part.export, part.agent, part.part, &part.posts[..]), (first, kg, 0, &posts[..EXPORT_PART]));
        let again = part.clone();
        assert!(shop.write(move |tx| tx.fill_export(&again, "{\"text\":\"가\"}\n")).await);
        assert!(!shop.write(move |tx| tx.fill_export(&part, "twice")).await, "somebody was first");
        assert_eq!(state(first).await, (ExportState::Running, EXPORT_PART as u64, count as u64, false));
        let part = next().await.unwrap();
        assert_eq!((part.part, part.posts.len()), (1, 2));
        assert!(shop.write(move |tx| tx.fill_export(&part, "{\"text\":\"나\"}\n")).await);
        assert_eq!(state(first).await, (ExportState::Done, count as u64, count as u64, true));
        assert_eq!(shop.read(move |reader| reader.export_lines(first)).await, ["{\"text\":\"가\"}\n", "{\"text\":\"나\"}\n"]);
        let left = next().await.unwrap();
        assert_eq!(left.export, second);
        assert!(!shop.write(move |tx| tx.cancel_export(second, sb)).await, "not theirs");
        assert!(shop.write(move |tx| tx.cancel_export(second, kg)).await);
        assert!(!shop.write(move |tx| tx.fill_export(&left, "late")).await, "it was stopped meanwhile");
        assert_eq!((state(second).await.0, next().await), (ExportState::Cancelled, None));
        shop.write(move |tx| tx.count_download(first)).await;
        let ids = |exports: Vec<moksori::queue::Export>| exports.iter().map(|one| one.id).collect::<Vec<_>>();
        assert_eq!(ids(shop.read(|reader| reader.exports(None, 10)).await), [none, second, first]);
        assert_eq!(ids(shop.read(move |reader| reader.exports(Some(sb), 10)).await), [0; 0]);
        let export = shop.read(move |reader| reader.export(first)).await.unwrap();
        assert_eq!((export.downloads, export.initials.as_str(), export.reason.as_str()), (1, "KG", "보고"));
        let expire = async |before, deleted: Vec<MentionId>| shop.write(move |tx| tx.expire_exports(before, &deleted)).await;
        assert_eq!(expire(Time(0), vec![MentionId(9_999)]).await, 0);
        assert_eq!(expire(Time(0), vec![MentionId(count)]).await, 1);
        assert_eq!(state(first).await.0, ExportState::Expired);
        assert!(shop.read(move |reader| reader.export_lines(first)).await.is_empty());
        let once = shop.write(move |tx| tx.begin_export(kg, "x", "y", &[(MentionId(1), None)])).await;
        let part = next().await.unwrap();
        shop.write(move |tx| tx.fill_export(&part, "z\n")).await;
        assert_eq!((expire(minutes_after_noon(0), vec![]).await, expire(minutes_after_noon(1), vec![]).await), (0, 1));
        assert_eq!(state(once).await.0, ExportState::Expired);
    })
    .await;
}
