//! Two processes on one desk at the same moment: whoever is second finds that it was done, or tries again.

use std::{collections::BTreeSet, sync::Arc};

use moksori::{
    case::{CaseId, Priority, ReplyState},
    clock::{Clock, Time},
    config::Config,
    desk::{self, Desk, Finding, Intake, Judged, Route, Taken},
    mention::{Author, Envelope, Mark, Op},
    queue::{Error, Store, Tx, Urgency},
    sla::Policies,
};
use prometheus::Registry;

use super::{SQUARE, Shop, on_both, open_case, post, verdict};

const POLICY: &str = r#"
[[policy]]
id = "all"
targets = { triage = "11m", first_response = "12m", next_response = "30m", resolution = "24h" }
"#;

/// Writes, and writes again as often as the store asks for it: what the pipeline does.
pub async fn stubborn<T: Send + 'static>(
    store: &Store,
    urgency: Urgency,
    work: impl FnMut(&mut Tx<'_>) -> Result<T, Error> + Clone + Send + 'static,
) -> Result<T, Error> {
    for _ in 0..100 {
        match store.write(urgency, work.clone()).await {
            Err(error) if error.is_retryable() => crate::kit::breathe().await,
            done => return done,
        }
    }
    panic!("a hundred tries were not enough");
}

/// A desk over one of the stores.
fn desk(store: Arc<Store>, clock: &Clock) -> Arc<Desk> {
    let policies = Policies::parse(&[("sla.toml".into(), POLICY.into())], 1).unwrap();
    let config = Config::from_texts(&[], &[]).unwrap().desk;
    Desk::new(store, policies, config, clock.clone(), desk::Metrics::new(&Registry::new()).unwrap())
}

/// Takes a batch in, as often as the store asks for it.
async fn take_in(desk: &Desk, batch: Intake) -> Taken {
    let batch = Arc::new(batch);
    for _ in 0..100 {
        match desk.take_in(Arc::clone(&batch)).await {
            Err(error) if error.is_retryable() => crate::kit::breathe().await,
            done => return done.unwrap(),
        }
    }
    panic!("a hundred tries were not enough");
}

impl Shop {
    fn both_desks(&self) -> [Arc<Desk>; 2] {
        [desk(Arc::clone(&self.store), &self.clock), desk(self.second(), &self.clock)]
    }

    /// A batch of one mention, at a place of a partition.
    fn batch(&self, part: i64, place: i64, envelope: Envelope) -> Intake {
        let route = Route::Case { team: "care".into(), priority: Priority::Normal, policy: None };
        let (brand, account) = (self.brand, self.account);
        let finding = Finding { brand, account, addressed: true, query: None, route, rule: "all".into() };
        let judged = Judged {
            position: place,
            masked: envelope.text.clone(),
            original: Some(envelope.text.clone()),
            envelope,
            signature: 7,
            verdict: verdict(),
            findings: vec![finding],
            rules: 1,
        };
        let mark = |next| Mark { log: "".into(), next };
        Intake { consumer: "triage", part, from: mark(place), to: mark(place + 1), mentions: vec![judged], dead: Vec::new() }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_place_of_the_bus_is_taken_once() {
    on_both(async |shop| {
        let [one, two] = shop.both_desks();
        for place in 0..50 {
            let batch = |author: &str| shop.batch(0, place, post(&format!("{place} by {author}"), author));
            let (first, second) = tokio::join!(take_in(&one, batch("one")), take_in(&two, batch("two")));
            let stored = [first, second].iter().filter(|taken| **taken == Taken::Stored).count();
            assert_eq!(stored, 1, "place {place}: {first:?}, {second:?}");
        }
        assert_eq!(shop.read(|reader| reader.mark("triage", 0)).await.next, 50);
        assert_eq!(shop.read(|reader| reader.totals()).await.mentions, 50, "who was second changed nothing");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_contact_that_writes_twice_at_once_is_one_contact() {
    on_both(async |shop| {
        let [one, two] = shop.both_desks();
        for round in 0..50 {
            let author = format!("author {round}");
            let batch = |part: i64| shop.batch(part, round, post(&format!("{round} in {part}"), &author));
            let both = tokio::join!(take_in(&one, batch(0)), take_in(&two, batch(1)));
            assert_eq!(both, (Taken::Stored, Taken::Stored), "round {round}");
        }
        let totals = shop.read(|reader| reader.totals()).await;
        assert_eq!((totals.mentions, totals.contacts), (100, 50));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_source_and_a_new_policy_come_from_two_sides_at_once() {
    on_both(async |shop| {
        let second = shop.second();
        for round in 0..30 {
            let open = move |side: &'static str| {
                move |tx: &mut Tx<'_>| {
                    let source = format!("town:{round}");
                    let author = Author { native_id: side.into(), handle: side.into(), name: None, reach: None };
                    let envelope = Envelope { source, author: Some(author), ..post(side, side) };
                    let posted = super::take(tx, &envelope)?;
                    let mut new = super::case_of(tx, posted);
                    new.policy = super::policy(round);
                    tx.insert_case(&new)
                }
            };
            let (one, two) = tokio::join!(
                stubborn(&shop.store, Urgency::Batch, open("one")),
                stubborn(&second, Urgency::Batch, open("two"))
            );
            assert_ne!(one.unwrap(), two.unwrap());
        }
        assert_eq!(shop.words("SELECT count(*) FROM source"), ["30"]);
        assert_eq!(shop.words("SELECT count(*) FROM policy"), ["30"]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_post_from_two_partitions_opens_one_case() {
    on_both(async |shop| {
        let [one, two] = shop.both_desks();
        for round in 0..30 {
            let batch = |part: i64| shop.batch(part, round, post(&format!("post {round}"), "mira"));
            let both = tokio::join!(take_in(&one, batch(0)), take_in(&two, batch(1)));
            assert_eq!(both, (Taken::Stored, Taken::Stored), "round {round}");
        }
        assert_eq!(shop.read(|reader| reader.totals()).await.mentions, 30);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_case_is_claimed_by_exactly_one() {
    on_both(async |shop| {
        let [one, two] = shop.both_desks();
        let (kg, sb) = (shop.kg, shop.sb);
        let viewers = shop.read(move |reader| Ok((reader.viewer(kg)?.unwrap(), reader.viewer(sb)?.unwrap()))).await;
        let cases: Vec<CaseId> =
            shop.write(|tx| (0..40).map(|nth| Ok(open_case(tx, &post(&nth.to_string(), &nth.to_string()))?.0)).collect()).await;
        for id in cases {
            let claims = tokio::join!(one.claim(&viewers.0, id), two.claim(&viewers.1, id));
            let holder = shop.read(move |reader| reader.case(id)).await.unwrap().assignee;
            match claims {
                (Ok(()), Err(desk::Error::Claimed { initials })) => assert_eq!((holder, initials.as_str()), (Some(kg), "KG")),
                (Err(desk::Error::Claimed { initials }), Ok(())) => assert_eq!((holder, initials.as_str()), (Some(sb), "SB")),
                other => panic!("{id:?}: {other:?}"),
            }
        }
        let claimed = shop.words("SELECT count(*), count(DISTINCT case_id) FROM event WHERE kind = 'claimed'");
        assert_eq!(claimed, ["40|40"], "one event each");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_post_that_is_created_and_deleted_at_once_leaves_no_text() {
    const ROUNDS: i64 = 200;
    on_both(async |shop| {
        let [one, two] = shop.both_desks();
        for round in 0..ROUNDS {
            let create = shop.batch(0, round, post(&format!("canary {round}"), &format!("author {round}")));
            let delete = Envelope { op: Op::Delete, author: None, text: String::new(), ..create.mentions[0].envelope.clone() };
            let delete = shop.batch(1, round, delete);
            if round % 2 == 0 {
                tokio::join!(take_in(&one, create), take_in(&two, delete));
            } else {
                tokio::join!(take_in(&one, delete), take_in(&two, create));
            }
        }
        assert_eq!(shop.words("SELECT native_id, text FROM mention WHERE text <> ''"), [""; 0]);
        assert_eq!(shop.words("SELECT text FROM mention_original"), [""; 0]);
        let asked = shop.words("SELECT count(DISTINCT native_id) FROM erasure");
        assert_eq!(asked, [ROUNDS.to_string()], "the bus is asked to erase each");
        assert_eq!(shop.words("SELECT count(*) FROM cases"), shop.words("SELECT count(*) FROM mention"));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_is_handed_to_one_connector_only() {
    const REPLIES: usize = 120;
    on_both(async |shop| {
        let (kg, account) = (shop.kg, shop.account);
        shop.write(move |tx| {
            let (case, posted) = open_case(tx, &post("1", "mira"))?;
            for nth in 0..REPLIES {
                let key = nth.to_string();
                tx.insert_reply(case, posted.mention, account, kg, "갑니다", ReplyState::Queued, Time(0), &key)?;
            }
            Ok(())
        })
        .await;
        let mut takers = tokio::task::JoinSet::new();
        for taker in 0..6 {
            let store = if taker % 2 == 0 { Arc::clone(&shop.store) } else { shop.second() };
            takers.spawn(async move {
                let mut taken = Vec::new();
                let take = |tx: &mut Tx<'_>| tx.take_reply(&["main".to_owned()]);
                while let Some(reply) = stubborn(&store, Urgency::Person, take).await.unwrap() {
                    assert_eq!(reply.attempts, 1);
                    taken.push(reply.id.0);
                }
                taken
            });
        }
        let taken: Vec<i64> = takers.join_all().await.concat();
        assert_eq!(taken.len(), REPLIES);
        assert_eq!(taken.iter().collect::<BTreeSet<_>>().len(), REPLIES, "one of them went out twice");
        assert_eq!(shop.read(|reader| reader.replies_in_doubt()).await.len(), REPLIES);
        assert_eq!(shop.words(&format!("SELECT count(*) FROM source WHERE key <> '{SQUARE}'")), ["0"]);
    })
    .await;
}
