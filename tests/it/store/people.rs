//! People, their sessions and one-time links.

use moksori::{
    clock::Time,
    queue::NewAgent,
    staff::{AgentId, Role},
};

use super::{Shop, minutes_after_noon, on_both, person};

impl Shop {
    /// What no command does yet: an operator disables a person.
    async fn disable(&self, initials: &str) {
        let sql = format!("UPDATE agent SET disabled_at = 1 WHERE initials = '{initials}'");
        self.engine.words(&sql);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_is_known_by_email_whatever_its_case_and_is_changed_by_it() {
    on_both(async |shop| {
        let (kg, care, vip) = (shop.kg, shop.care, shop.vip);
        let hashed = NewAgent { password_hash: Some("hash".into()), ..person("KG", vec![(care, Role::Lead)]) };
        assert_eq!(shop.write(move |tx| tx.put_agent(&hashed)).await, kg, "the same person");
        let renamed =
            NewAgent { name: "김가".into(), email: "kg@example.COM".into(), ..person("GA", vec![(vip, Role::Manager)]) };
        assert_eq!(shop.write(move |tx| tx.put_agent(&renamed)).await, kg);
        let viewer = shop.read(move |reader| reader.viewer(kg)).await.unwrap();
        assert_eq!((viewer.initials.as_str(), viewer.name.as_str()), ("GA", "김가"));
        assert_eq!(viewer.teams, [(vip, Role::Manager)], "what they were before is gone");
        let credentials = shop.read(|reader| reader.credentials("KG@example.com")).await.unwrap();
        assert_eq!((credentials.agent, credentials.password_hash.as_deref()), (kg, Some("hash")), "a hash is kept");
        assert!(shop.read(|reader| reader.credentials("nobody@example.com")).await.is_none());
        assert_eq!(shop.read(|reader| reader.agent_by_initials("GA")).await, Some(kg));
        assert_eq!(shop.read(|reader| reader.agent_by_initials("KG")).await, None);
        assert_eq!(shop.write(move |tx| tx.initials_of(kg)).await.as_deref(), Some("GA"));
        assert_eq!(shop.write(|tx| tx.initials_of(AgentId(99))).await, None);
        let mut all = shop.read(|reader| reader.initials_of_all()).await;
        all.sort_unstable();
        assert_eq!(all, [(kg, "GA".to_owned()), (shop.sb, "SB".to_owned())]);
        let taken = NewAgent { email: "third@example.com".into(), ..person("SB", Vec::new()) };
        shop.refused(move |tx| tx.put_agent(&taken)).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn colleagues_are_those_who_work_in_the_team() {
    on_both(async |shop| {
        let (care, vip) = (shop.care, shop.vip);
        let ids = shop
            .write(move |tx| {
                let roles = [("AA", Role::Lead), ("ZZ", Role::Manager), ("MM", Role::Marketer), ("OO", Role::Operator)];
                let hired = roles.map(|(initials, role)| tx.put_agent(&person(initials, vec![(care, role)])));
                hired.into_iter().collect::<Result<Vec<_>, _>>()
            })
            .await;
        let colleagues = async |team| {
            let rows = shop.read(move |reader| reader.colleagues(team)).await;
            rows.into_iter().map(|(_, initials, _)| initials).collect::<Vec<_>>()
        };
        assert_eq!(colleagues(care).await, ["AA", "KG", "SB", "ZZ"], "in the order of their initials");
        assert_eq!(colleagues(vip).await, ["KG", "SB"]);
        let first = shop.read(move |reader| reader.colleagues(care)).await.remove(0);
        assert_eq!(first, (ids[0], "AA".into(), "AA 씨".into()));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_runs_until_its_end_or_until_it_is_ended() {
    on_both(async |shop| {
        let (kg, sb) = (shop.kg, shop.sb);
        shop.write(move |tx| {
            tx.start_session(b"\x00\xffone", kg, minutes_after_noon(10))?;
            tx.start_session(b"two", sb, minutes_after_noon(20))?;
            tx.set_locale(kg, "en")
        })
        .await;
        let who = async |token: &'static [u8], at: Time| {
            let session = shop.read(move |reader| reader.session(token, at)).await;
            session.map(|session| (session.viewer.id, session.locale))
        };
        assert_eq!(who(b"\x00\xffone", minutes_after_noon(9)).await, Some((kg, Some("en".into()))));
        assert_eq!(who(b"\x00\xffone", minutes_after_noon(10)).await, None, "it has run out");
        assert_eq!(who(b"two", minutes_after_noon(9)).await, Some((sb, None)));
        assert_eq!(who(b"three", minutes_after_noon(9)).await, None);
        shop.write(|tx| tx.end_session(b"two")).await;
        assert_eq!(who(b"two", minutes_after_noon(9)).await, None);
        shop.clock.advance(std::time::Duration::from_secs(600));
        shop.write(move |tx| tx.start_session(b"four", kg, minutes_after_noon(30))).await;
        assert_eq!(shop.words("SELECT count(*) FROM session"), ["1"], "what has run out is swept");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_is_good_once_and_not_for_ever() {
    on_both(async |shop| {
        let kg = shop.kg;
        shop.write(move |tx| {
            tx.put_link(b"one", kg, minutes_after_noon(10))?;
            tx.put_link(b"two", kg, minutes_after_noon(10))
        })
        .await;
        let used = async |token: &'static [u8]| shop.write(move |tx| tx.use_link(token)).await;
        assert_eq!(used(b"one").await, Some(kg));
        assert_eq!(used(b"one").await, None, "a second time");
        assert_eq!(used(b"three").await, None);
        shop.clock.advance(std::time::Duration::from_secs(600));
        assert_eq!(used(b"two").await, None, "too late");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disabled_person_is_nobody_until_entered_again() {
    on_both(async |shop| {
        let (kg, care) = (shop.kg, shop.care);
        shop.write(move |tx| tx.start_session(b"one", kg, minutes_after_noon(10))).await;
        let known = async || {
            let now = minutes_after_noon(1);
            shop.read(move |reader| {
                Ok([
                    reader.session(b"one", now)?.is_some(),
                    reader.viewer(kg)?.is_some(),
                    reader.credentials("kg@example.com")?.is_some(),
                    reader.agent_by_initials("KG")?.is_some(),
                    reader.colleagues(care)?.iter().any(|(agent, _, _)| *agent == kg),
                ])
            })
            .await
        };
        assert_eq!(known().await, [true; 5]);
        shop.disable("KG").await;
        assert_eq!(known().await, [false; 5]);
        shop.write(move |tx| tx.put_agent(&person("KG", vec![(care, Role::Agent)]))).await;
        assert_eq!(known().await, [true; 5]);
    })
    .await;
}
