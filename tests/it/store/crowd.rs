//! R11: PostgreSQL has no connection left, or cuts those that there are: waits are bounded, then it goes on.

use std::{path::Path, sync::Arc, time::Duration};

use moksori::{
    clock::Clock,
    queue::{Config, Error, Metrics, Store, Tx, Urgency},
};
use postgres::{Client, NoTls};
use prometheus::Registry;

use crate::kit;

/// Somebody else's connections, as many as the server gives.
fn crowd(url: String) -> Vec<Client> {
    std::iter::from_fn(|| Client::connect(&url, NoTls).ok()).collect()
}

/// Cuts everybody's connections to a database but our own.
fn cut(admin: &str, database: &str) {
    let name = database.rsplit('/').next().unwrap().to_owned();
    let mut client = Client::connect(admin, NoTls).unwrap();
    client.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", &[&name]).unwrap();
}

async fn apart<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    // The client brings a runtime along, and a test has one already.
    tokio::task::spawn_blocking(work).await.unwrap()
}

async fn note(store: &Arc<Store>, value: &'static str) -> Result<(), Error> {
    store.write(Urgency::Person, move |tx: &mut Tx<'_>| tx.save_cursor("crowd", value)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn r11_without_a_connection_left_people_are_told_soon_and_it_goes_on_by_itself() {
    let Some(server) = kit::postgres::postgres("a server with no connection left") else { return };
    let _alone = server.alone();
    let (url, admin) = (server.database(), server.admin());
    let config = Config::at(&url, 4, Duration::from_secs(2));
    Store::migrate(Path::new(""), &config).unwrap();
    let store = Store::open(Path::new(""), config, Clock::System, Metrics::new(&Registry::new()).unwrap()).unwrap();
    note(&store, "first").await.unwrap();

    // Cut, with room for new ones: nobody loses more than one answer.
    let (asked, database) = (admin.clone(), url.clone());
    apart(move || cut(&asked, &database)).await;
    if note(&store, "second").await.is_err() {
        note(&store, "second").await.unwrap();
    }
    assert_eq!(store.read(|reader| reader.cursor("crowd")).await.unwrap().as_deref(), Some("second"));

    // Cut, and others take every place at once.
    let elsewhere = server.database();
    let filled = apart(move || {
        let mut others = crowd(elsewhere.clone());
        cut(&admin, &url);
        others.extend(crowd(elsewhere));
        others
    })
    .await;
    assert!(filled.len() > 10, "{}", filled.len());
    let mut refused = 0;
    for _ in 0..5 {
        let begun_at = Clock::System.now();
        let told = note(&store, "third").await;
        let took = Clock::System.now().since(begun_at);
        assert!(took < Duration::from_secs(15), "{took:?}");
        if let Err(error) = told {
            assert!(error.is_retryable(), "{error:?}");
            refused += 1;
        }
    }
    assert!(refused > 0, "the store had a place after all");

    apart(move || drop(filled)).await;
    let begun_at = Clock::System.now();
    while note(&store, "fourth").await.is_err() {
        assert!(Clock::System.now().since(begun_at) < Duration::from_secs(60), "it does not come back");
    }
    assert_eq!(store.read(|reader| reader.cursor("crowd")).await.unwrap().as_deref(), Some("fourth"));
    apart(move || store.close()).await;
}
