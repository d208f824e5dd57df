//! An index that is built beside the one that answers, and every moment at which that may end early.

use super::*;
use crate::search::files::Mark;

/// Posts 1 to 3 in an index that another analyser made, up to event 9.
fn outdated(dir: &Path) -> Search {
    let (search, _) = open(dir);
    search.apply(batch(posts(1..4), 9)).unwrap();
    search.flush().unwrap();
    drop(search);
    let meta = dir.join("meta.json");
    let of = |analyzer: &str| Mark { seq: Seq(9), analyzer: analyzer.into(), building: false }.payload();
    let text = fs::read_to_string(&meta).unwrap().replace(&of(tokens::ANALYZER), &of("cjk2/0"));
    fs::write(&meta, text.replace(tokens::ANALYZER, "cjk2/0")).unwrap();
    again(dir, Seq(9))
}

/// Opens it once more, and gives it the facts as whoever follows the store does.
fn again(dir: &Path, seq: Seq) -> Search {
    let (search, opened) = open(dir);
    assert_eq!(opened, Opened { seq, rebuilt: false });
    search.set_facts(&(1..20).map(|id| facts(id, 1)).collect::<Vec<_>>());
    search
}

fn posts(numbers: std::ops::Range<i64>) -> Vec<Post> {
    numbers.map(|id| post(id, &format!("배송 {id}번"))).collect()
}

/// What lies in the directory itself and in the one below.
fn files(dir: &Path) -> (bool, bool) {
    let any = |dir: &Path| fs::read_dir(dir).is_ok_and(|mut files| files.any(|file| file.unwrap().path().is_file()));
    (any(dir), any(&dir.join("beside")))
}

#[test]
fn an_index_of_another_analyser_answers_until_the_new_one_has_everything() {
    let dir = tempfile::tempdir().unwrap();
    let search = outdated(dir.path());
    assert!(search.outdated() && search.building().is_none());
    assert_eq!(ids(&search, "배송"), [1, 2, 3]);
    search.rebuild().unwrap();
    search.apply(batch(posts(4..5), 10)).unwrap();
    assert!(!search.build(Batch { upserts: posts(1..4), seq: Seq(9), ..Batch::default() }).unwrap());
    search.settle(true).unwrap();
    assert_eq!(search.building(), Some(Seq(9)));
    assert!(!search.take_over(), "the old one has an event more");
    assert_eq!((ids(&search, "배송"), search.outdated()), (vec![1, 2, 3, 4], true));
    search.build(Batch { upserts: posts(4..5), seq: Seq(10), ..Batch::default() }).unwrap();
    assert!(search.take_over());
    assert_eq!((ids(&search, "배송"), search.outdated(), search.building()), (vec![1, 2, 3, 4], false, None));
    search.flush().unwrap();
    drop(search);
    assert_eq!(files(dir.path()), (false, true), "the old one is removed");
    let search = again(dir.path(), Seq(10));
    assert!(!search.outdated());
    assert_eq!(ids(&search, "배송"), [1, 2, 3, 4]);

    // And back into the directory itself.
    search.rebuild().unwrap();
    search.build(Batch { upserts: posts(1..5), seq: Seq(10), ..Batch::default() }).unwrap();
    search.settle(true).unwrap();
    assert!(search.take_over());
    drop(search);
    assert_eq!(files(dir.path()), (true, false));
    assert_eq!(ids(&again(dir.path(), Seq(10)), "배송"), [1, 2, 3, 4]);
}

#[test]
fn what_the_old_index_writes_meanwhile_keeps_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let search = outdated(dir.path());
    search.apply(batch(posts(4..5), 10)).unwrap();
    search.flush().unwrap();
    drop(search);
    let search = again(dir.path(), Seq(10));
    assert!(search.outdated());
    assert_eq!(ids(&search, "배송"), [1, 2, 3, 4]);
}

#[test]
fn a_crash_while_another_index_is_built_leaves_the_old_and_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let search = outdated(dir.path());
    search.rebuild().unwrap();
    search.build(Batch { upserts: posts(1..2), seq: Seq(3), ..Batch::default() }).unwrap();
    drop(search);
    let search = again(dir.path(), Seq(9));
    assert_eq!(search.building(), None, "nothing was written of it");
    search.rebuild().unwrap();
    search.build(Batch { upserts: posts(1..2), seq: Seq(3), ..Batch::default() }).unwrap();
    search.settle(false).unwrap();
    search.build(Batch { upserts: posts(2..3), seq: Seq(6), ..Batch::default() }).unwrap();
    drop(search);
    let search = again(dir.path(), Seq(9));
    assert_eq!((search.building(), ids(&search, "배송")), (Some(Seq(3)), vec![1, 2, 3]));
    search.build(Batch { upserts: posts(2..4), seq: Seq(9), ..Batch::default() }).unwrap();
    search.settle(true).unwrap();
    // It is complete on disk, and nobody has said so.
    drop(search);
    let search = again(dir.path(), Seq(9));
    assert_eq!((search.building(), search.outdated(), ids(&search, "배송")), (None, false, vec![1, 2, 3]));
    drop(search);
    assert_eq!(files(dir.path()), (false, true));
}

#[test]
fn a_damaged_or_strange_unfinished_index_is_begun_again() {
    let dir = tempfile::tempdir().unwrap();
    let search = outdated(dir.path());
    search.rebuild().unwrap();
    search.build(Batch { upserts: posts(1..2), seq: Seq(3), ..Batch::default() }).unwrap();
    search.settle(false).unwrap();
    drop(search);
    let beside = dir.path().join("beside");
    for entry in fs::read_dir(&beside).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.extension().is_some_and(|extension| extension == "idx") {
            fs::write(entry, b"").unwrap();
        }
    }
    let search = again(dir.path(), Seq(9));
    assert_eq!((search.building(), ids(&search, "배송")), (Some(Seq(0)), vec![1, 2, 3]));
    drop(search);
    fs::write(beside.join("meta.json"), b"{").unwrap();
    let search = again(dir.path(), Seq(9));
    assert_eq!((search.building(), ids(&search, "배송")), (None, vec![1, 2, 3]));
    assert_eq!(files(dir.path()), (true, false));
}

#[test]
fn a_disk_that_takes_no_more_leaves_the_old_index() {
    let dir = tempfile::tempdir().unwrap();
    let search = outdated(dir.path());
    search.rebuild().unwrap();
    search.build(Batch { upserts: posts(1..3), seq: Seq(6), ..Batch::default() }).unwrap();
    // From now on no file can be made there.
    let beside = dir.path().join("beside");
    fs::remove_dir_all(&beside).unwrap();
    fs::write(&beside, b"").unwrap();
    assert!(search.settle(true).unwrap_err().is_retryable());
    assert!(!search.take_over());
    search.give_up();
    assert_eq!((search.building(), ids(&search, "배송")), (None, vec![1, 2, 3]));
    assert!(search.rebuild().is_err());
    search.apply(batch(posts(4..5), 10)).unwrap();
    search.flush().unwrap();
    assert_eq!((search.building(), ids(&search, "배송")), (None, vec![1, 2, 3, 4]));
    fs::remove_file(&beside).unwrap();
    search.rebuild().unwrap();
    search.build(Batch { upserts: posts(1..5), seq: Seq(10), ..Batch::default() }).unwrap();
    search.settle(true).unwrap();
    assert!(search.take_over());
    assert_eq!(ids(&search, "배송"), [1, 2, 3, 4]);
}

#[test]
fn what_is_deleted_while_another_index_is_built_is_in_neither() {
    let dir = tempfile::tempdir().unwrap();
    let search = outdated(dir.path());
    search.rebuild().unwrap();
    search.build(Batch { upserts: posts(1..4), seq: Seq(9), ..Batch::default() }).unwrap();
    search.settle(false).unwrap();
    search.apply(Batch { deletes: vec![MentionId(2)], seq: Seq(10), ..Batch::default() }).unwrap();
    search.purge().unwrap();
    let next = search.next().unwrap();
    let word = tantivy::Term::from_field_text(next.shared.fields.text, "2");
    assert_eq!(next.shared.read().searcher.doc_freq(&word).unwrap(), 0);
    search.build(Batch { deletes: vec![MentionId(2)], seq: Seq(10), ..Batch::default() }).unwrap();
    search.settle(true).unwrap();
    assert!(search.take_over());
    assert_eq!(ids(&search, "배송"), [1, 3]);
}
