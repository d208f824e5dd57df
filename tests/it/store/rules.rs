//! Published rule sets, and the catalog of brands, teams and accounts.

use moksori::{
    clock::Time,
    queue::{Capability, CatalogConfig, Error, NewCase, Published, Urgency},
    sla::{Kind, SlaClock, State},
    text::{LengthRule, Unit},
};

use super::{Shop, case_of, catalog, on_both, policy, post, running, same, take};

impl Shop {
    async fn publish(&self, digest: &'static str) -> u32 {
        self.write(move |tx| tx.publish_rules(digest, &files(digest))).await
    }
}

fn files(digest: &str) -> Vec<(String, String)> {
    vec![("classify.toml".into(), format!("# {digest} \"규칙\"\n")), ("sla.toml".into(), String::new())]
}

#[tokio::test(flavor = "multi_thread")]
async fn rule_sets_are_numbered_and_the_same_files_keep_their_number() {
    on_both(async |shop| {
        assert_eq!(shop.read(|reader| reader.latest_rules()).await, None);
        assert_eq!(shop.read(|reader| reader.newest_ruleset_version()).await, 0);
        assert_eq!([shop.publish("a").await, shop.publish("a").await], [1, 1]);
        assert_eq!([shop.publish("b").await, shop.publish("b").await], [2, 2]);
        assert_eq!(shop.publish("a").await, 3, "going back is a version too");
        let published = Published { version: 3, digest: "a".into(), files: files("a") };
        assert_eq!(shop.read(|reader| reader.latest_rules()).await, Some(published));
        assert_eq!(shop.read(|reader| reader.newest_ruleset_version()).await, 3);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_are_remembered_as_long_as_a_clock_of_theirs_is_open() {
    on_both(async |shop| {
        for digest in ["a", "b", "c", "d"] {
            shop.publish(digest).await;
        }
        shop.write(|tx| {
            let states = [(1, State::Running), (2, State::Met), (3, State::Paused), (4, State::Breached)];
            for (version, state) in states {
                let name = format!("post {version}");
                let posted = take(tx, &post(&name, &name))?;
                let clock = SlaClock { policy: policy(version), state, ..running(Kind::Resolution, 60) };
                let new = NewCase { policy: policy(version), clocks: vec![clock], ..case_of(tx, posted) };
                tx.insert_case(&new)?;
            }
            Ok(())
        })
        .await;
        let open = shop.read(|reader| reader.rules_of_open_clocks()).await;
        assert_eq!(open.iter().map(|rules| rules.version).collect::<Vec<_>>(), [1, 3, 4]);
        assert_eq!(open[1].files, files("c"));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn setting_the_same_catalog_again_changes_nothing() {
    on_both(async |shop| {
        let tables = || {
            let statements =
                ["SELECT * FROM brand ORDER BY id", "SELECT * FROM team ORDER BY id", "SELECT * FROM account ORDER BY id"];
            statements.map(|sql| shop.words(sql))
        };
        let before = tables();
        assert_eq!(before.each_ref().map(Vec::len), [2, 3, 3]);
        let again = shop.store.set_catalog(catalog()).await.unwrap();
        assert_eq!(tables(), before);
        same(&again.teams, &shop.store.catalog().teams);
        let asked = shop.write(|tx| Ok(tx.catalog().teams.len())).await;
        assert_eq!(asked, 3, "a transaction sees it too");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_catalog_changes_names_and_keeps_what_is_gone_from_it() {
    on_both(async |shop| {
        let length = LengthRule { unit: Unit::Graphemes, max: 500, url: Some(23), bare_mentions: true, ..Default::default() };
        let capability = Capability { reply: true, length: Some(length) };
        let told = capability.clone();
        shop.write(move |tx| tx.set_capability("main", &told)).await;
        let changed = CatalogConfig {
            brands: vec![("shop".into(), "상점".into(), "Store".into())],
            teams: vec![("care".into(), "shop".into(), "돌봄".into(), "Care".into(), "Europe/Berlin".into())],
            accounts: vec![("main".into(), "shop".into(), "store_kr".into())],
        };
        let catalog = shop.store.set_catalog(changed).await.unwrap();
        assert_eq!(catalog.brand_by_key("shop").map(|brand| (brand.id, brand.name_ko.as_str())), Some((shop.brand, "상점")));
        assert_eq!(catalog.team_by_key("care").map(|team| (team.id, team.zone.as_str())), Some((shop.care, "Europe/Berlin")));
        let main = catalog.account_by_key("main").unwrap();
        assert_eq!((main.id, main.handle.as_str(), &main.capability), (shop.account, "store_kr", &capability));
        assert!(catalog.team_by_key("bar").is_some(), "cases may refer to it");
        let ids = catalog.teams.windows(2).all(|pair| pair[0].id < pair[1].id);
        assert!(ids, "in the order in which they came: {:?}", catalog.teams);
        let none = Capability { reply: false, length: None };
        shop.write(move |tx| tx.set_capability("main", &none)).await;
        assert!(!shop.store.refresh_catalog().await.unwrap().account_by_key("main").unwrap().capability.reply);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_opened_again_is_as_it_was() {
    on_both(async |shop| {
        shop.publish("a").await;
        shop.write(|tx| tx.save_cursor("main/mentions", "12")).await;
        let before = shop.store.catalog();
        let again = shop.reopened();
        same(&again.catalog().accounts, &before.accounts);
        assert_eq!(again.follow().borrow().0, shop.store.follow().borrow().0);
        let kept =
            again.read(|reader| Ok::<_, Error>((reader.latest_rules()?.unwrap().version, reader.cursor("main/mentions")?)));
        assert_eq!(kept.await.unwrap(), (1, Some("12".into())));
        let closed = shop.store.write(Urgency::Person, |tx| tx.save_cursor("main/mentions", "13")).await;
        assert!(matches!(closed, Err(Error::Closed)), "{closed:?}");
        assert!(again.read(|reader| reader.watched("nowhere", Time(0), 1)).await.unwrap().is_empty());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_two_accounts_can_do_is_known_however_they_tell_it_at_once() {
    on_both(async |shop| {
        for _ in 0..20 {
            let tell = async |account: &'static str, reply: bool| {
                let capability = Capability { reply, length: None };
                shop.write(move |tx| tx.set_capability(account, &capability)).await;
                shop.store.refresh_catalog().await.unwrap();
            };
            for reply in [true, false] {
                tokio::join!(tell("main", reply), tell("side", reply), tell("cup", reply));
                let catalog = shop.store.catalog();
                assert!(catalog.accounts.iter().all(|account| account.capability.reply == reply), "{:?}", catalog.accounts);
            }
        }
    })
    .await;
}
