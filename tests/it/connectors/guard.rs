//! S4: nobody makes a connector call this machine or its neighbours, however the address is written.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

/// Spellings of this machine that have fooled somebody's check.
const HERE: [&str; 24] = [
    "127.0.0.1",
    "127.1",
    "127.0.1",
    "127.255.255.254",
    "0177.0.0.1",
    "0x7f.1",
    "0x7f.0.0.1",
    "0x7f000001",
    "2130706433",
    "017700000001",
    "0",
    "0.0.0.0",
    "１２７.0.0.1",
    "①②⑦.0.0.1",
    "127。0。0。1",
    "127.0.0.1.",
    "localhost",
    "LOCALHOST",
    "localhost.",
    "[::1]",
    "[0:0:0:0:0:0:0:1]",
    "[::]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
];

#[tokio::test]
async fn private_addresses_are_refused_unless_the_account_permits_them() {
    let stage = stage().await;
    let called = Arc::new(AtomicUsize::new(0));
    let canary = tokio::net::TcpListener::bind(("0.0.0.0", 0)).await.unwrap();
    let port = canary.local_addr().unwrap().port();
    let six = tokio::net::TcpListener::bind(("::1", port)).await;
    for listener in [Some(canary), six.ok()].into_iter().flatten() {
        let called = Arc::clone(&called);
        tokio::spawn(async move {
            while listener.accept().await.is_ok() {
                called.fetch_add(1, Ordering::SeqCst);
            }
        });
    }
    let file = Arc::new(ConnectorFile::load(&directory().join("mastodon.toml")).unwrap());
    let ask = async |host: &str, scheme: &str, allow_private: bool| {
        let mut config = stage.connect.accounts()[0].config.clone();
        config.base = Some(format!("{scheme}://{host}:{port}").parse().unwrap());
        config.allow_private = allow_private;
        match Account::new(file.clone(), config, OwnIds::default(), stage.clock.clone(), metrics()) {
            Err(error) => error,
            Ok(account) => tokio::time::timeout(Duration::from_millis(300), account.identify())
                .await
                .map_or(Error::Timeout(Duration::ZERO), |answer| answer.unwrap_err()),
        }
    };
    let mut tried = 0;
    for host in HERE {
        for scheme in ["http", "https"] {
            let error = ask(host, scheme, false).await;
            // Not every resolver knows a name that ends in a dot.
            assert!(!error.is_retryable() || host == "localhost.", "{scheme}://{host}: {error}");
            tried += 1;
        }
    }
    println!("S4: {tried} spellings of this machine, {} connections", called.load(Ordering::SeqCst));
    assert_eq!(called.load(Ordering::SeqCst), 0, "somebody was called");
    ask("127.0.0.1", "http", true).await;
    assert_eq!(called.load(Ordering::SeqCst), 1, "the canary is alive");
}
