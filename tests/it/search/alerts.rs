//! Saved searches tell: why, once, whoever looks.

use std::{sync::Arc, time::Duration};

use moksori::{
    desk::NewSearch,
    index::Watcher,
    queue::{AlertRule, SearchAlert},
    staff::Viewer,
};

use super::Place;

const HOUR: Duration = Duration::from_secs(3_600);
const WEEK: Duration = Duration::from_secs(7 * 86_400);

impl Place {
    fn watcher(&self) -> Watcher {
        Watcher { store: Arc::clone(self.desk.store()), search: Arc::clone(&self.search), clock: self.clock.clone() }
    }

    async fn keep(&self, viewer: &Viewer, query: &str, team: Option<&str>, alert: AlertRule) -> i64 {
        let team = team.map(|key| self.desk.store().catalog().team_by_key(key).unwrap().id);
        let new = NewSearch { name: query.into(), query: query.into(), team, alert: Some(alert) };
        self.desk.save_search(viewer, new).await.unwrap()
    }

    async fn told(&self, id: i64) -> Vec<SearchAlert> {
        self.desk.store().read(move |reader| reader.search_alerts(&[id], 50)).await.unwrap()
    }

    async fn say(&self, team: &str, words: &str, count: usize) {
        let texts: Vec<String> = (0..count).map(|number| format!("{words} {number}")).collect();
        self.post_at(Some(team), &texts, self.clock.now().minus(Duration::from_secs(120))).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn so_many_in_a_period_are_told_once_and_again_in_the_next() {
    let mut place = Place::open().await;
    let kg = place.hire("KG", &["care"]).await;
    let rule = AlertRule::Count { threshold: 3, period: HOUR };
    let id = place.keep(&kg, "배송 OR 택배", Some("care"), rule).await;
    place.say("care", "배송 지연", 2).await;
    place.say("vip", "배송 지연", 9).await;
    place.index().await;
    assert_eq!(place.watcher().step().await.unwrap(), 0, "two are too few, and another team's do not count");
    place.say("care", "택배 분실", 1).await;
    place.index().await;
    // Two nodes look at the same moment, and again after a restart.
    let (one, other) = (place.watcher(), place.watcher());
    let (one, other) = tokio::join!(one.step(), other.step());
    assert_eq!(one.unwrap() + other.unwrap(), 1);
    assert_eq!(place.watcher().step().await.unwrap(), 0);
    let told = place.told(id).await;
    let [alert] = &told[..] else { panic!("{told:?}") };
    assert_eq!((alert.found, alert.usual, alert.until.since(alert.from)), (3, None, HOUR));
    // The link names exactly these posts.
    let zone = place.search.zone().clone();
    let minute = |at: moksori::clock::Time| at.timestamp().to_zoned(zone.clone()).strftime("%Y-%m-%dT%H:%M").to_string();
    let last = alert.until.minus(Duration::from_secs(60));
    let link = format!("(배송 OR 택배) posted:{}..{}", minute(alert.from), minute(last));
    assert_eq!(place.find(&link, &["care"]).total, 3, "{link}");
    place.clock.advance(HOUR / 2);
    place.say("care", "배송 지연", 5).await;
    place.index().await;
    assert_eq!(place.watcher().step().await.unwrap(), 0, "half of this hour was told already");
    place.clock.advance(HOUR / 2);
    assert_eq!(place.watcher().step().await.unwrap(), 1, "a new hour");
    assert_eq!(place.told(id).await.len(), 2);
    let unseen = async |viewer: &Viewer| {
        let (agent, teams) = (viewer.id, viewer.visible_teams());
        place.desk.store().read(move |reader| reader.unseen_alerts(agent, &teams)).await.unwrap()
    };
    let (sb, le) = (place.hire("SB", &["care"]).await, place.hire("LE", &["vip"]).await);
    assert_eq!((unseen(&kg).await, unseen(&sb).await, unseen(&le).await), (2, 2, 0), "the team shares it");
    let newest = place.told(id).await[0].id;
    place.desk.see_alerts(&sb, newest).await.unwrap();
    assert_eq!((unseen(&kg).await, unseen(&sb).await), (2, 0));
    assert!(!place.desk.drop_search(&sb, id).await.unwrap() && place.desk.drop_search(&kg, id).await.unwrap());
    assert_eq!(place.told(id).await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spike_is_measured_against_the_same_hours_of_past_weeks() {
    let mut place = Place::open().await;
    let kg = place.hire("KG", &["care"]).await;
    let rule = |percent| AlertRule::Spike { percent, threshold: 5, period: HOUR };
    let (three, six) = (place.keep(&kg, "배송", None, rule(300)).await, place.keep(&kg, "배송", None, rule(600)).await);
    let rare = place.keep(&kg, "환불", None, rule(300)).await;
    let now = place.clock.now();
    for weeks in 1..=4 {
        let texts: Vec<String> = (0..2).map(|number| format!("배송 {weeks} {number}")).collect();
        place.post_at(Some("care"), &texts, now.minus(WEEK * weeks).minus(HOUR / 2)).await;
        // Another hour of the same day says nothing about this one.
        let texts: Vec<String> = (0..40).map(|number| format!("배송 아침 {weeks} {number}")).collect();
        place.post_at(Some("care"), &texts, now.minus(WEEK * weeks).minus(HOUR * 5)).await;
    }
    place.say("care", "배송 지연", 8).await;
    place.say("care", "환불", 4).await;
    place.index().await;
    assert_eq!(place.watcher().step().await.unwrap(), 1);
    let told = place.told(three).await;
    assert_eq!(told.iter().map(|alert| (alert.found, alert.usual)).collect::<Vec<_>>(), [(8, Some(200))]);
    assert_eq!((place.told(six).await.len(), place.told(rare).await.len()), (0, 0), "four times is not six; four are too few");
}
