//! Cases as the desk loads and saves them: one unfinished case for a brand, a contact and a conversation.

use moksori::{
    case::{Actor, CaseId, EventKind, Priority, Status},
    clock::Time,
    mention::Label,
    queue::{Case, Error, Tx},
    sla::{Kind, PolicyRef},
};

use super::{Posted, Shop, case_of, minutes_after_noon, on_both, open_case, policy, post, running, same, take};

impl Shop {
    /// Loads a case and saves it with a change.
    async fn change(&self, id: CaseId, change: impl Fn(&mut Case) + Send + 'static) {
        self.write(move |tx| {
            let mut case = tx.load_case(id)?.unwrap();
            change(&mut case);
            tx.save_case(&case)
        })
        .await;
    }
}

fn resolved(case: &mut Case) {
    case.status = Status::Resolved;
    case.resolved_at = Some(minutes_after_noon(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_case_is_loaded_as_it_was_opened() {
    on_both(async |shop| {
        let (id, new) = shop
            .write(|tx| {
                let posted = take(tx, &post("1", "mira"))?;
                let mut new = case_of(tx, posted);
                new.priority = Priority::High;
                new.unsure = true;
                new.clocks = vec![running(Kind::Triage, 11), running(Kind::FirstResponse, 12)];
                Ok((tx.insert_case(&new)?, new))
            })
            .await;
        let case = shop.write(move |tx| tx.load_case(id)).await.unwrap();
        same(&case, &shop.read(move |reader| reader.case(id)).await.unwrap());
        assert_eq!((case.id, case.status, case.mentions, case.latest_mention), (id, Status::New, 1, new.mention));
        assert_eq!((case.brand, case.account, case.contact, case.mention), (new.brand, new.account, new.contact, new.mention));
        assert_eq!((case.conversation, case.priority, case.team), (new.conversation, Priority::High, shop.care));
        assert_eq!((case.label, case.confidence, case.unsure), (Label::Complaint, 0.93_f32, true));
        assert_eq!((case.rule.as_str(), case.rules, &case.policy), ("late", 1, &policy(1)));
        assert_eq!((case.opened_at, case.unanswered_since), (shop.clock.now(), Some(new.unanswered_since)));
        assert_eq!(case.signature, new.signature, "all 64 bits");
        assert_eq!((case.assignee, case.labelled_by, case.resolved_at, case.disposition), (None, None, None, None));
        assert_eq!((case.transfers, case.notes), (0, 0));
        assert_eq!(case.clocks, new.clocks);
        assert!(shop.write(|tx| tx.load_case(CaseId(999))).await.is_none());
        assert!(shop.read(|reader| reader.case(CaseId(999))).await.is_none());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_field_of_a_case_is_saved() {
    on_both(async |shop| {
        let (id, first) = shop.write(|tx| open_case(tx, &post("1", "mira"))).await;
        let second = shop.write(|tx| take(tx, &post("2", "mira"))).await;
        let side = shop.store.catalog().account_by_key("side").unwrap().id;
        let (vip, kg, sb) = (shop.vip, shop.kg, shop.sb);
        let saved = shop
            .write(move |tx| {
                let mut case = tx.load_case(id)?.unwrap();
                case.account = side;
                case.latest_mention = second.mention;
                case.mentions = 2;
                case.status = Status::WaitingThirdParty;
                case.priority = Priority::Crisis;
                case.team = vip;
                case.assignee = Some(kg);
                case.label = Label::Abuse;
                case.confidence = 0.125;
                case.unsure = true;
                case.labelled_by = Some(sb);
                case.policy = PolicyRef { id: "vip".into(), version: 7 };
                case.resolved_at = Some(Time(5));
                case.disposition = Some("답변 완료".into());
                case.transfers = 3;
                case.unanswered_since = None;
                case.notes = 4;
                case.clocks = vec![running(Kind::Resolution, 60)];
                tx.save_case(&case)?;
                Ok(case)
            })
            .await;
        same(&shop.write(move |tx| tx.load_case(id)).await.unwrap(), &saved);
        same(&shop.read(move |reader| reader.case(id)).await.unwrap(), &saved);
        assert_ne!(first.mention, second.mention);
    })
    .await;
}

/// A second case of the same brand, contact and conversation.
fn again(tx: &mut Tx<'_>, posted: Posted) -> Result<CaseId, Error> {
    let new = case_of(tx, posted);
    tx.insert_case(&new)
}

#[tokio::test(flavor = "multi_thread")]
async fn one_conversation_has_one_unfinished_case() {
    on_both(async |shop| {
        let (first, posted) = shop.write(|tx| open_case(tx, &post("1", "mira"))).await;
        shop.refused(move |tx| again(tx, posted)).await;
        shop.change(first, |case| case.status = Status::WaitingCustomer).await;
        shop.refused(move |tx| again(tx, posted)).await;
        shop.change(first, resolved).await;
        let second = shop.write(move |tx| again(tx, posted)).await;
        shop.refused(move |tx| {
            let mut case = tx.load_case(first)?.unwrap();
            case.status = Status::Open;
            tx.save_case(&case)
        })
        .await;
        shop.change(second, |case| case.status = Status::Closed).await;
        shop.change(first, |case| case.status = Status::Open).await;
        let totals = shop.read(|reader| reader.totals()).await;
        assert_eq!(totals.by_status.iter().map(|(_, cases)| cases).sum::<u64>(), 2);
        let cafe = shop.store.catalog().account_by_key("cup").unwrap().clone();
        shop.write(move |tx| {
            let new = moksori::queue::NewCase { brand: cafe.brand, account: cafe.id, ..case_of(tx, posted) };
            tx.insert_case(&new)
        })
        .await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_names_its_unfinished_case_or_else_its_newest() {
    on_both(async |shop| {
        let (brand, (first, posted)) = (shop.brand, shop.write(|tx| open_case(tx, &post("1", "mira"))).await);
        let found = async || {
            let case = shop.write(move |tx| tx.case_in_conversation(brand, posted.contact, posted.mention.0)).await;
            case.map(|case| case.id)
        };
        assert_eq!(found().await, Some(first));
        shop.change(first, resolved).await;
        assert_eq!(found().await, Some(first), "a finished one may come back");
        let second = shop.write(move |tx| again(tx, posted)).await;
        assert_eq!(found().await, Some(second));
        shop.change(second, resolved).await;
        assert_eq!(found().await, Some(second), "the newest of the finished ones");
        shop.change(first, |case| case.status = Status::Open).await;
        assert_eq!(found().await, Some(first), "what is unfinished comes first, however old");
        let other = shop.store.catalog().brand_by_key("cafe").unwrap().id;
        let none = shop.write(move |tx| {
            Ok([
                tx.case_in_conversation(other, posted.contact, posted.mention.0)?.is_some(),
                tx.case_in_conversation(brand, moksori::mention::ContactId(99), posted.mention.0)?.is_some(),
                tx.case_in_conversation(brand, posted.contact, -1)?.is_some(),
            ])
        });
        assert_eq!(none.await, [false; 3]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_other_cases_of_a_contact_are_the_unfinished_ones_of_the_brand() {
    on_both(async |shop| {
        let (first, posted) = shop.write(|tx| open_case(tx, &post("1", "mira"))).await;
        let (second, _) = shop.write(|tx| open_case(tx, &post("2", "mira"))).await;
        let (third, _) = shop.write(|tx| open_case(tx, &post("3", "mira"))).await;
        shop.write(|tx| open_case(tx, &post("4", "dahye"))).await;
        shop.change(third, resolved).await;
        let brand = shop.brand;
        let mut others = shop.write(move |tx| tx.other_cases(brand, posted.contact)).await;
        others.sort_unstable();
        assert_eq!(others, [(first, shop.account, u64::MAX - 7), (second, shop.account, u64::MAX - 7)]);
        let cafe = shop.store.catalog().brand_by_key("cafe").unwrap().id;
        assert!(shop.write(move |tx| tx.other_cases(cafe, posted.contact)).await.is_empty());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mention_knows_the_cases_that_it_opened_and_joined() {
    on_both(async |shop| {
        let (first, opener) = shop.write(|tx| open_case(tx, &post("1", "mira"))).await;
        let (second, joiner) = shop.write(|tx| open_case(tx, &post("2", "dahye"))).await;
        shop.write(move |tx| {
            tx.join_mention(first, joiner.mention)?;
            tx.join_mention(first, joiner.mention)
        })
        .await;
        assert_eq!(shop.write(move |tx| tx.cases_of_mention(opener.mention)).await, [first]);
        assert_eq!(shop.write(move |tx| tx.cases_of_mention(joiner.mention)).await, [first, second]);
        assert_eq!(shop.words("SELECT count(*) FROM case_mention"), ["1"], "joining twice is joining once");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cases_of_posts_that_address_nobody_are_known_by_their_signatures() {
    on_both(async |shop| {
        shop.write(|tx| open_case(tx, &post("1", "mira"))).await;
        let opened_at = shop.clock.now();
        shop.clock.advance(std::time::Duration::from_secs(60));
        let (brand, overheard) = shop
            .write(|tx| {
                let posted = take(tx, &post("2", "jun"))?;
                let new = case_of(tx, posted);
                tx.insert_case(&new)?;
                Ok((new.brand, tx.overheard(Time(0))?))
            })
            .await;
        assert_eq!(overheard, [], "both were written to us");
        shop.words("UPDATE mention_match SET addressed = 0");
        let lately = opened_at.plus(std::time::Duration::from_secs(1));
        let (all, late) = shop.write(move |tx| Ok((tx.overheard(Time(0))?, tx.overheard(lately)?))).await;
        assert_eq!((all, late), (vec![(brand, u64::MAX - 7); 2], vec![(brand, u64::MAX - 7)]));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn notes_and_pauses_are_kept_with_their_times() {
    on_both(async |shop| {
        let (id, _) = shop.write(|tx| open_case(tx, &post("1", "mira"))).await;
        let kg = shop.kg;
        let notes =
            shop.write(move |tx| Ok([tx.insert_note(id, kg, "note", "하나")?, tx.insert_note(id, kg, "handover", "둘")?]));
        let notes = notes.await;
        assert!(notes[0] < notes[1]);
        let clock = running(Kind::Resolution, 60);
        for reason in [Some("waiting_customer"), None, None, Some("legal_hold")] {
            let clock = clock.clone();
            shop.write(move |tx| tx.record_pause(id, &clock, reason)).await;
            shop.clock.advance(std::time::Duration::from_secs(60));
        }
        let noon = super::kit::noon().0;
        let pauses = shop.words("SELECT reason, started_at, ended_at FROM pause ORDER BY started_at");
        let first = format!("waiting_customer|{noon}|{}", noon + 60_000);
        assert_eq!(pauses, [first, format!("legal_hold|{}|-", noon + 180_000)]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_about_a_case_bears_the_time_of_its_transaction() {
    on_both(async |shop| {
        let (id, posted) = shop.write(|tx| open_case(tx, &post("1", "mira"))).await;
        let kg = shop.kg;
        shop.clock.advance(std::time::Duration::from_secs(1));
        shop.write(move |tx| {
            tx.case_event(id, Some(posted.mention), Actor::Customer, EventKind::Opened, None);
            tx.case_event(id, None, Actor::Agent(kg), EventKind::Labelled, Some(r#"{"to":"question"}"#.into()));
            tx.case_event(id, None, Actor::System, EventKind::Warned, None);
            Ok(())
        })
        .await;
        let events = shop.read(move |reader| reader.case_events(id)).await;
        assert!(events.iter().all(|event| event.case == Some(id) && event.at == shop.clock.now()), "{events:?}");
        let told: Vec<_> = events.iter().map(|event| (event.actor, event.kind, event.mention)).collect();
        let (customer, agent) = (Actor::Customer, Actor::Agent(kg));
        assert_eq!(told[0], (customer, EventKind::Opened, Some(posted.mention)));
        assert_eq!(told[1..], [(agent, EventKind::Labelled, None), (Actor::System, EventKind::Warned, None)]);
        assert_eq!(events[1].payload.as_deref(), Some(r#"{"to":"question"}"#));
        assert!(shop.read(|reader| reader.case_events(CaseId(999))).await.is_empty());
    })
    .await;
}
