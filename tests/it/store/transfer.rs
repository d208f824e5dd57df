//! A store as rows: read table by table, written into an empty one, going on from there; and what is held back then.

use std::sync::Arc;

use moksori::{
    case::{EventKind, ReplyState, Seq},
    queue::{Cell, Store, Table, Urgency, tables},
};

use super::{Engine, minutes_after_noon, on_both, open_case, post};

/// All rows of a table, three at a time.
async fn rows(store: &Arc<Store>, table: &Table) -> Vec<Vec<Cell>> {
    let mut all: Vec<Vec<Cell>> = Vec::new();
    loop {
        let (asked, after) = (table.clone(), all.last().map_or_else(Vec::new, |row| table.key(row)));
        let page = store.read(move |reader| reader.dump(&asked, &after, 3)).await.unwrap();
        if page.is_empty() {
            return all;
        }
        all.extend(page);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_moves_row_by_row_and_new_rows_come_after_the_moved_ones() {
    on_both(async |shop| {
        let opened = shop.write(|tx| open_case(tx, &post("1", "mira"))).await;
        shop.write(|tx| tx.bury("", 0, 7, "not JSON", b"\xff\x00")).await;
        shop.write(|tx| tx.save_cursor("importing", "half")).await;
        shop.write(|tx| tx.drop_cursor("importing")).await;
        assert_eq!(shop.read(|reader| reader.cursor("importing")).await, None);

        let elsewhere = match Engine::postgres() {
            Some(engine) => engine,
            None => Engine::Sqlite(tempfile::tempdir().unwrap()),
        };
        let other = elsewhere.store(&shop.clock);
        for table in tables().unwrap() {
            let moved = rows(&shop.store, &table).await;
            let counted = table.clone();
            assert_eq!(shop.read(move |reader| reader.count(&counted)).await, moved.len() as u64, "{}", table.name);
            let (loaded, lines) = (table.clone(), moved.clone());
            let load = move |tx: &mut moksori::queue::Tx<'_>| {
                tx.load(&loaded, &lines)?;
                tx.count_on(&loaded)
            };
            other.write(Urgency::Batch, load).await.unwrap();
            assert_eq!(rows(&other, &table).await, moved, "{}", table.name);
            for row in &moved {
                assert_eq!(table.parse(&table.line(row)).as_ref(), Some(row), "{}", table.name);
            }
        }
        other.refresh_catalog().await.unwrap();
        let next = other.write(Urgency::Batch, |tx| open_case(tx, &post("2", "juno"))).await.unwrap();
        assert!(next.0 > opened.0 && next.1.mention > opened.1.mention, "ids go on after the moved ones");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_desk_that_was_moved_sends_nothing_by_itself_and_knows_nobody_who_was_signed_in() {
    on_both(async |shop| {
        let (case, posted) = shop.write(|tx| open_case(tx, &post("1", "mira"))).await;
        let (account, kg, mention) = (shop.account, shop.kg, posted.mention);
        for (text, state) in [("a", ReplyState::Queued), ("b", ReplyState::Sending), ("c", ReplyState::Sent)] {
            shop.write(move |tx| tx.insert_reply(case, mention, account, kg, text, state, minutes_after_noon(0), text)).await;
        }
        shop.write(move |tx| tx.start_session(b"token", kg, minutes_after_noon(60))).await;
        shop.write(move |tx| tx.put_link(b"link", kg, minutes_after_noon(60))).await;
        let seen = shop.store.follow().borrow().0;

        assert_eq!(shop.write(|tx| tx.park_outbox()).await, [case, case]);
        shop.write(|tx| tx.end_all_sessions()).await;

        let mut states: Vec<_> = shop.read(move |reader| reader.replies(case)).await.iter().map(|one| one.state).collect();
        states.sort_by_key(|state| state.as_str());
        assert_eq!(states, [ReplyState::Parked, ReplyState::Parked, ReplyState::Sent]);
        assert_eq!(shop.write(|tx| tx.take_reply(&["main".to_owned()])).await, None);
        let events = shop.read(move |reader| reader.events_after(Seq(seen), 9)).await;
        assert!(
            events.len() == 2 && events.iter().all(|event| event.kind == EventKind::ReplyParked && event.case == Some(case))
        );
        assert!(shop.read(|reader| reader.session(b"token", minutes_after_noon(1))).await.is_none());
        assert_eq!(shop.write(|tx| tx.use_link(b"link")).await, None);
        assert_eq!(shop.words("SELECT count(*) FROM session"), ["0"]);
        assert_eq!(shop.write(|tx| tx.park_outbox()).await, [], "once");
    })
    .await;
}
