//! The index of another analyser answers while another is built from the store, and news come in.

use std::{fs, path::Path, sync::Arc};

use moksori::{case::Seq, index::Follower, search::Search};

use super::{Place, open_search};

/// Makes an index on disk look as if another analyser had made it.
fn outdate(dir: &Path) {
    let list = dir.join("index/meta.json");
    let text = fs::read_to_string(&list).unwrap();
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    let payload = value["payload"].as_str().unwrap();
    let (seq, rest) = payload.split_once(' ').unwrap();
    let (analyzer, _) = rest.split_once(' ').unwrap();
    let old = format!("{seq} old/1");
    let sum = old.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    fs::write(list, text.replace(payload, &format!("{old} {sum:016x}")).replace(analyzer, "old/1")).unwrap();
}

/// Ends the search of a place and opens it again over what `change` made of its files.
async fn reopen(place: &mut Place, change: impl FnOnce(&Path)) -> Follower {
    let (empty, _) = open_search(&place.dir.path().join("nothing"));
    drop(std::mem::replace(&mut place.search, empty));
    change(place.dir.path());
    let (search, opened) = open_search(place.dir.path());
    assert!(!opened.rebuilt);
    place.search = search;
    follower(place, opened.seq).await
}

async fn follower(place: &Place, seq: Seq) -> Follower {
    let (store, search) = (Arc::clone(place.desk.store()), Arc::clone(&place.search));
    Follower::new(store, search, place.clock.clone(), seq).await.unwrap()
}

/// 1,200 posts in an index that another analyser made.
async fn outdated() -> (Place, Follower) {
    let mut place = Place::open().await;
    for begin in (0..1_200).step_by(200) {
        let texts: Vec<String> = (begin..begin + 200).map(|number| format!("배송 지연 {number}")).collect();
        place.post_at(Some("care"), &texts, place.clock.now()).await;
    }
    place.index().await;
    place.search.flush().unwrap();
    let follower = reopen(&mut place, outdate).await;
    (place, follower)
}

fn total(place: &Place) -> usize {
    place.find("배송", &["care"]).total
}

#[tokio::test(flavor = "multi_thread")]
async fn the_old_index_answers_until_the_new_one_has_everything() {
    let (mut place, mut follower) = outdated().await;
    assert!(place.search.outdated());
    let (mut posts, mut steps) = (1_200, 0);
    while follower.step().await.unwrap() {
        // Found a step after it was committed, whatever is built.
        assert_eq!(total(&place), posts, "after {steps} steps");
        steps += 1;
        if steps < 5 {
            place.post(Some("care"), &["배송 새 글"]).await;
            posts += 1;
        }
    }
    assert!(steps > 5 && !place.search.outdated() && place.search.building().is_none());
    assert_eq!((total(&place), place.find("label:complaint 새", &["care"]).total), (posts, 4));
    place.post(Some("care"), &["배송 마지막"]).await;
    while follower.step().await.unwrap() {}
    place.search.flush().unwrap();
    drop(follower);
    let follower = reopen(&mut place, |_| ()).await;
    assert!(!place.search.outdated());
    assert_eq!(total(&place), posts + 1);
    drop(follower);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_goes_on_with_the_index_that_was_being_built() {
    let (mut place, mut follower) = outdated().await;
    while place.search.building().is_none_or(|seq| seq < Seq(1_000)) {
        assert!(follower.step().await.unwrap());
    }
    place.search.settle(false).unwrap();
    let built = place.search.building().unwrap();
    drop(follower);
    let mut follower = reopen(&mut place, |_| ()).await;
    assert_eq!((place.search.building(), total(&place)), (Some(built), 1_200));
    while follower.step().await.unwrap() {}
    assert!(!place.search.outdated());
    assert_eq!(total(&place), 1_200);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_no_other_index_can_be_made_the_old_one_goes_on() {
    let (mut place, _) = outdated().await;
    // A link to nowhere cannot be made a directory.
    let block = |dir: &Path| std::os::unix::fs::symlink(dir.join("nowhere"), dir.join("index/beside")).unwrap();
    let mut follower = reopen(&mut place, block).await;
    place.post(Some("care"), &["배송 새 글"]).await;
    while follower.step().await.unwrap() {}
    assert_eq!((total(&place), place.search.outdated(), place.search.building()), (1_201, true, None));
    fs::remove_file(place.dir.path().join("index/beside")).unwrap();
    assert!(!follower.step().await.unwrap(), "not at once again");
    place.clock.advance(std::time::Duration::from_secs(601));
    while follower.step().await.unwrap() {}
    assert_eq!((total(&place), place.search.outdated()), (1_201, false));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_for_another_index_is_answered_when_it_answers() {
    let mut place = Place::open().await;
    place.post(Some("care"), &["배송 하나", "배송 둘"]).await;
    place.index().await;
    let search: Arc<Search> = Arc::clone(&place.search);
    let follower = follower(&place, place.seq).await;
    let reindex = follower.reindex();
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let running = tokio::spawn(follower.run(stopped));
    assert_eq!(reindex.run().await.unwrap(), 2);
    assert_eq!((total(&place), search.building()), (2, None));
    stop.send(true).unwrap();
    running.await.unwrap();
    let beside = fs::read_dir(place.dir.path().join("index/beside")).unwrap();
    assert!(beside.count() > 3);
}
