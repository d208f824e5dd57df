//! The queues of the teams: their order, their filters, and figures that agree with their rows.

use moksori::{
    case::{CaseId, Priority, Status},
    clock::Time,
    mention::{Envelope, Label, Lang, Verdict},
    queue::{NewCase, Owner, QueueCounts, QueueFilter},
    sla::{Kind, SlaClock, State},
    staff::TeamId,
};

use super::{Posted, Shop, case_of, minutes_after_noon, on_both, open_case, post, running, take, texts, verdict};

impl Shop {
    /// Opens a case by `author`, as `change` wants it.
    async fn case(&self, author: &'static str, change: impl Fn(&mut NewCase) + Send + 'static) -> CaseId {
        self.write(move |tx| {
            let posted = take(tx, &post(author, author))?;
            let mut new = case_of(tx, posted);
            change(&mut new);
            tx.insert_case(&new)
        })
        .await
    }

    /// The queue of both teams of the shop, or what a filter leaves of it.
    async fn queue(&self, filter: QueueFilter) -> Vec<CaseId> {
        let (viewer, now) = (self.kg, self.clock.now());
        let rows = self.read(move |reader| reader.queue(&filter, viewer, now, 100)).await;
        rows.into_iter().map(|row| row.case.id).collect()
    }

    async fn counts(&self, filter: QueueFilter) -> QueueCounts {
        let now = self.clock.now();
        self.read(move |reader| reader.queue_counts(&filter, now)).await
    }

    fn all(&self) -> QueueFilter {
        QueueFilter { teams: vec![self.care, self.vip], ..QueueFilter::default() }
    }
}

fn due(minutes: i64) -> impl Fn(&mut NewCase) + Send + 'static {
    move |new| new.clocks = vec![running(Kind::FirstResponse, minutes)]
}

fn breached(minutes: i64) -> impl Fn(&mut NewCase) + Send + 'static {
    move |new| new.clocks = vec![SlaClock { state: State::Breached, ..running(Kind::FirstResponse, minutes) }]
}

#[tokio::test(flavor = "multi_thread")]
async fn crisis_comes_first_then_time_left_then_no_deadline_then_the_overdue_oldest_first() {
    on_both(async |shop| {
        shop.clock.advance(std::time::Duration::from_secs(30 * 60));
        let overdue_new = shop.case("a", breached(20)).await;
        let later = shop.case("b", due(90)).await;
        let overdue_old = shop.case("c", breached(10)).await;
        let free = shop.case("d", |_| ()).await;
        let soon = shop.case("e", due(40)).await;
        let just_over = shop.case("f", due(29)).await;
        let crisis = shop
            .case("g", |new| {
                due(120)(new);
                new.priority = Priority::Crisis;
            })
            .await;
        let high = shop
            .case("h", |new| {
                due(80)(new);
                new.priority = Priority::High;
            })
            .await;
        let twin = shop.case("i", due(40)).await;
        let expected = [crisis, soon, twin, high, later, free, overdue_old, overdue_new, just_over];
        assert_eq!(shop.queue(shop.all()).await, expected);
        let (filter, viewer, now) = (shop.all(), shop.kg, shop.clock.now());
        let few = shop.read(move |reader| reader.queue(&filter, viewer, now, 3)).await;
        assert_eq!(few.iter().map(|row| row.case.id).collect::<Vec<_>>(), [crisis, soon, twin]);
        let counts = shop.counts(shop.all()).await;
        let next_due = Some(minutes_after_noon(40));
        assert_eq!(counts, QueueCounts { open: 9, overdue: 3, unclaimed: 9, next_due });
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_finished_case_is_in_no_queue_and_an_empty_queue_counts_nothing() {
    on_both(async |shop| {
        let empty = QueueCounts { open: 0, overdue: 0, unclaimed: 0, next_due: None };
        assert_eq!(shop.counts(shop.all()).await, empty);
        let id = shop.case("a", due(5)).await;
        shop.write(move |tx| {
            let mut case = tx.load_case(id)?.unwrap();
            case.status = Status::Resolved;
            tx.save_case(&case)
        })
        .await;
        assert_eq!(shop.counts(shop.all()).await, empty);
        assert!(shop.queue(shop.all()).await.is_empty());
        assert!(shop.read(|reader| reader.team_counts(Time::NEVER)).await.is_empty());
        let viewer = shop.kg;
        assert!(shop.read(move |reader| reader.queue_row(id, viewer)).await.is_some(), "but it can still be shown");
        assert!(shop.read(move |reader| reader.queue_row(CaseId(99), viewer)).await.is_none());
    })
    .await;
}

/// One case for each value that a filter can ask for, besides a plain one.
async fn one_of_each(shop: &Shop) -> [(CaseId, QueueFilter); 10] {
    let (all, kg, vip) = (shop.all(), shop.kg, shop.vip);
    let side = shop.store.catalog().account_by_key("side").unwrap().id;
    let team = shop.case("team", move |new| new.team = vip).await;
    let label = shop.case("label", |new| new.label = Label::Proposal).await;
    let unsure = shop.case("unsure", |new| new.unsure = true).await;
    let account = shop.case("account", move |new| new.account = side).await;
    let speaking = |source: &'static str, lang| {
        shop.write(move |tx| {
            let envelope = Envelope { source: source.into(), ..post("x", "x") };
            let (contact, _) = tx.contact(source, envelope.author.as_ref().unwrap())?;
            let verdict = Verdict { lang, ..verdict() };
            let mention = tx.insert_mention(&envelope, contact, None, &verdict, texts("x"), 1)?;
            let new = case_of(tx, Posted { mention, contact });
            tx.insert_case(&new)
        })
    };
    let lang = speaking("town:elsewhere", Lang::En).await;
    let platform = speaking("village:green", Lang::Ko).await;
    let whole = speaking("hamlet", Lang::Ko).await;
    let mine = shop.case("mine", |_| ()).await;
    shop.write(move |tx| {
        let mut case = tx.load_case(mine)?.unwrap();
        case.assignee = Some(kg);
        tx.save_case(&case)
    })
    .await;
    let waiting = shop.case("waiting", |_| ()).await;
    shop.write(move |tx| {
        let mut case = tx.load_case(waiting)?.unwrap();
        case.status = Status::WaitingThirdParty;
        tx.save_case(&case)
    })
    .await;
    let plain = shop.case("plain", |_| ()).await;
    [
        (team, QueueFilter { teams: vec![vip], ..all.clone() }),
        (label, QueueFilter { label: Some(Label::Proposal), ..all.clone() }),
        (unsure, QueueFilter { unsure: true, ..all.clone() }),
        (account, QueueFilter { account: Some(side), ..all.clone() }),
        (lang, QueueFilter { lang: Some(Lang::En), ..all.clone() }),
        (platform, QueueFilter { platform: Some("village".into()), ..all.clone() }),
        (whole, QueueFilter { platform: Some("hamlet".into()), ..all.clone() }),
        (mine, QueueFilter { owner: Owner::Agent(kg), ..all.clone() }),
        (waiting, QueueFilter { status: Some(Status::WaitingThirdParty), ..all.clone() }),
        (plain, all),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn each_filter_leaves_what_it_says_and_the_figures_agree() {
    on_both(async |shop| {
        let each = one_of_each(shop).await;
        for (id, filter) in &each[..9] {
            assert_eq!(shop.queue(filter.clone()).await, [*id], "{filter:?}");
            assert_eq!(shop.counts(filter.clone()).await.open, 1, "{filter:?}");
        }
        assert_eq!(shop.queue(shop.all()).await.len(), 10);
        let nobody = QueueFilter { owner: Owner::Nobody, ..shop.all() };
        assert_eq!(shop.queue(nobody.clone()).await.len(), 9);
        assert_eq!((shop.counts(nobody).await.unclaimed, shop.counts(shop.all()).await.unclaimed), (9, 9));
        let nothing = [
            QueueFilter::default(),
            QueueFilter { teams: vec![TeamId(99)], ..shop.all() },
            QueueFilter { owner: Owner::Agent(shop.sb), ..shop.all() },
            QueueFilter { platform: Some("vill".into()), ..shop.all() },
            QueueFilter { platform: Some("%".into()), ..shop.all() },
            QueueFilter { platform: Some("vill_ge".into()), ..shop.all() },
            QueueFilter { platform: Some("VILLAGE".into()), ..shop.all() },
        ];
        for filter in nothing {
            assert!(shop.queue(filter.clone()).await.is_empty(), "{filter:?}");
            assert_eq!(shop.counts(filter).await.open, 0);
        }
        let now = shop.clock.now();
        let mut teams = shop.read(move |reader| reader.team_counts(now)).await;
        teams.sort_by_key(|(team, _)| *team);
        let one = async |team| (team, shop.counts(QueueFilter { teams: vec![team], ..shop.all() }).await);
        assert_eq!(teams, [one(shop.care).await, one(shop.vip).await]);
        assert_eq!(teams.iter().map(|(_, counts)| counts.open).collect::<Vec<_>>(), [9, 1]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_narrow_each_other() {
    on_both(async |shop| {
        let (kg, vip) = (shop.kg, shop.vip);
        let whole = QueueFilter {
            teams: vec![vip],
            label: Some(Label::Question),
            unsure: true,
            status: Some(Status::New),
            lang: Some(Lang::Ko),
            platform: Some("town".into()),
            account: Some(shop.account),
            owner: Owner::Agent(kg),
        };
        let id = shop
            .case("whole", move |new| {
                (new.team, new.label, new.unsure) = (vip, Label::Question, true);
                new.clocks = vec![running(Kind::FirstResponse, 12)];
            })
            .await;
        shop.write(move |tx| {
            let mut case = tx.load_case(id)?.unwrap();
            case.assignee = Some(kg);
            tx.save_case(&case)
        })
        .await;
        one_of_each(shop).await;
        assert_eq!(shop.queue(whole.clone()).await, [id]);
        let next_due = Some(minutes_after_noon(12));
        assert_eq!(shop.counts(whole.clone()).await, QueueCounts { open: 1, overdue: 0, unclaimed: 0, next_due });
        let narrower = [
            QueueFilter { teams: vec![shop.care], ..whole.clone() },
            QueueFilter { label: Some(Label::Abuse), ..whole.clone() },
            QueueFilter { lang: Some(Lang::Ja), ..whole.clone() },
            QueueFilter { platform: Some("village".into()), ..whole.clone() },
            QueueFilter { account: Some(moksori::case::AccountId(99)), ..whole.clone() },
            QueueFilter { owner: Owner::Nobody, ..whole },
        ];
        for filter in narrower {
            assert!(shop.queue(filter.clone()).await.is_empty(), "{filter:?}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_shows_the_newest_mention_who_has_it_a_draft_and_trouble() {
    on_both(async |shop| {
        let (id, posted) = shop.write(|tx| open_case(tx, &post("1", "mira"))).await;
        let (kg, sb, account) = (shop.kg, shop.sb, shop.account);
        let row = async |viewer| shop.read(move |reader| reader.queue_row(id, viewer)).await.unwrap();
        let first = row(kg).await;
        assert_eq!((first.assignee, first.draft, first.trouble), (None, false, false));
        assert_eq!((first.mention.text.whole(), first.mention.handle.as_str()), ("1 배송이 안 와요", "mira"));
        assert!(first.mention.addressed);
        shop.write(move |tx| {
            let newer = take(tx, &post("2", "mira"))?;
            let mut case = tx.load_case(id)?.unwrap();
            (case.latest_mention, case.assignee, case.mentions) = (newer.mention, Some(sb), 2);
            case.clocks = vec![running(Kind::FirstResponse, 12)];
            tx.save_case(&case)?;
            assert_eq!(tx.put_draft(kg, id, "reply", "안녕하세요", 0)?, Ok(1));
            let failed = moksori::case::ReplyState::Failed;
            tx.insert_reply(id, posted.mention, account, sb, "가고 있어요 ^SB", failed, Time(1), "key")
        })
        .await;
        let later = row(kg).await;
        assert_eq!((later.assignee.as_deref(), later.draft, later.trouble), (Some("SB"), true, true));
        assert_eq!((later.mention.text.whole(), later.case.clocks.len()), ("2 배송이 안 와요", 1));
        assert!(!row(sb).await.draft, "a draft is its writer's");
        shop.write(move |tx| Ok(tx.put_draft(kg, id, "reply", "", 1)?.is_ok())).await;
        assert!(!row(kg).await.draft, "an empty draft is none");
    })
    .await;
}
