//! The program as its users start it: what it prints, what it refuses, how it ends.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

use tempfile::TempDir;

pub fn moksori(directory: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_moksori"))
        .args(args)
        .current_dir(directory)
        .env("SHOP_TOKEN", "sample-token")
        .env_remove("MOKSORI_LOG")
        .output()
        .unwrap()
}

pub fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// A desk as README.md sets one up, with a file to read posts from.
pub fn readme_desk() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for folder in ["rules", "rules/classify", "connectors"] {
        std::fs::create_dir_all(dir.path().join(folder)).unwrap();
        for entry in std::fs::read_dir(root.join(folder)).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_file() {
                std::fs::copy(&path, dir.path().join(folder).join(path.file_name().unwrap())).unwrap();
            }
        }
    }
    // The recorded replies of a connector lie beside it.
    let recorded = dir.path().join("connectors/mastodon");
    std::fs::create_dir_all(&recorded).unwrap();
    for entry in std::fs::read_dir(root.join("connectors/mastodon")).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, recorded.join(path.file_name().unwrap())).unwrap();
    }
    let readme = std::fs::read_to_string(root.join("README.md")).unwrap();
    let sample = readme.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    let file = "[server]\nlisten = \"127.0.0.1:0\"\n";
    std::fs::write(dir.path().join("moksori.toml"), format!("{file}{sample}")).unwrap();
    dir
}

#[test]
fn the_configuration_of_the_readme_is_right() {
    let dir = readme_desk();
    let checked = moksori(dir.path(), &["check"]);
    assert!(checked.status.success(), "{}", said(&checked));
    assert!(said(&checked).contains("1 brand, 1 team, all is well"), "{}", said(&checked));
}

#[test]
fn a_broken_rule_is_refused_with_its_line_and_the_old_one_stays_in_force() {
    let dir = readme_desk();
    let published = moksori(dir.path(), &["rules", "publish"]);
    assert!(said(&published).contains("version 1 is in force"), "{}", said(&published));

    let rules = dir.path().join("rules/classify/abuse.toml");
    let text = std::fs::read_to_string(&rules).unwrap();
    std::fs::write(&rules, format!("{text}\n[[rule]]\nid = \"x\"\nlabel = \"complaint\"\nweight = 1.0\nregex = \"(a\"\nmatch = [\"a\"]\nno_match = [\"b\"]\n"))
        .unwrap();
    // A blank line, then the rule.
    let line = text.lines().count() + 2;
    for command in [&["check"][..], &["rules", "publish"]] {
        let refused = moksori(dir.path(), command);
        assert!(!refused.status.success());
        let message = said(&refused);
        assert!(
            message.contains(&format!("abuse.toml:{line}:")) && message.contains("rule \"x\"") && message.contains("simplify"),
            "{message}, not at line {line}"
        );
    }
    std::fs::write(&rules, text).unwrap();
    let published = moksori(dir.path(), &["rules", "publish"]);
    assert!(said(&published).contains("version 1 is in force"), "a refused set takes no number: {}", said(&published));
}

#[test]
fn a_broken_connector_and_a_wrong_key_are_named() {
    let dir = readme_desk();
    let file = dir.path().join("connectors/file.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("colour = \"red\"\n{text}")).unwrap();
    let refused = said(&moksori(dir.path(), &["check"]));
    assert!(refused.contains("file.toml:1") && refused.contains("colour"), "{refused}");
    std::fs::write(&file, text).unwrap();

    let config = dir.path().join("moksori.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace("handle = ", "handel = ")).unwrap();
    let refused = said(&moksori(dir.path(), &["check"]));
    assert!(refused.contains("moksori.toml:") && refused.contains("handel"), "{refused}");
}

/// It would be found out at the start, when the desk is down.
#[test]
fn what_a_start_refuses_the_check_refuses_too() {
    let dir = readme_desk();
    let config = dir.path().join("moksori.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    let account = "[[brand.account]]\nkey = \"shop-feed\"\nconnector = \"rss\"\n\n[[team]]";
    for (from, to, words) in [
        (
            "\"SHOP_TOKEN\"",
            "\"SHOP_TOKEN_OF_NOBODY\"",
            "account shop-mastodon: secret `token`: environment variable SHOP_TOKEN_OF_NOBODY is not set",
        ),
        ("base = ", "# base = ", "account shop-mastodon: add base = "),
        ("\"mastodon\"", "\"mastodn\"", "no connector `mastodn`; there are appstore, "),
        ("[[team]]", account, "account shop-feed: add "),
    ] {
        std::fs::write(&config, text.replacen(from, to, 1)).unwrap();
        let refused = moksori(dir.path(), &["check"]);
        assert!(!refused.status.success() && said(&refused).contains(words), "{}, not {words}", said(&refused));
    }
}

#[test]
fn people_and_searches_work_on_a_desk_that_is_down() {
    let dir = readme_desk();
    let added = moksori(
        dir.path(),
        &["user", "add", "--email", "kg@example.com", "--name", "Kim", "--initials", "KG", "--team", "cs:lead"],
    );
    assert!(said(&added).contains("/link/"), "{}", said(&added));
    let wrong = moksori(
        dir.path(),
        &["user", "add", "--email", "kg@example.com", "--name", "Kim", "--initials", "KG", "--team", "css:lead"],
    );
    assert!(said(&wrong).contains("there is no team \"css\"; there are cs"), "{}", said(&wrong));
    let add = |email: &str, initials: &str| {
        let args = ["user", "add", "--email", email, "--name", "Lee", "--initials", initials, "--team", "cs:agent"];
        said(&moksori(dir.path(), &args))
    };
    let taken = add("lee@example.com", "KG");
    assert!(taken.contains("somebody else signs as KG") && !taken.contains("UNIQUE"), "{taken}");
    assert!(add("kgexample", "LE").contains("\"kgexample\" is no e-mail address"));
    // A place that cannot be made: the link leads nowhere.
    std::os::unix::fs::symlink("gone", dir.path().join("elsewhere")).unwrap();
    let refused = Command::new(env!("CARGO_BIN_EXE_moksori"))
        .args(["search", "배송"])
        .current_dir(dir.path())
        .env("MOKSORI__DATA__DIRECTORY", "elsewhere")
        .output()
        .unwrap();
    let refused = said(&refused);
    assert!(refused.contains("failed to create data.directory, ") && refused.contains("elsewhere"), "{refused}");
    assert!(add(" KG@example.com", "KG").starts_with("changed; sign-in link"));
    let found = moksori(dir.path(), &["search", "배송", "--json"]);
    assert_eq!(serde_json::from_slice::<serde_json::Value>(&found.stdout).unwrap()["total"], 0);
    let wrong = moksori(dir.path(), &["search", "\"배송"]);
    assert!(said(&wrong).contains("the quote at character 1 is not closed"), "{}", said(&wrong));
    assert!(said(&moksori(dir.path(), &["reindex"])).contains("0 documents"));
}

#[test]
fn a_demo_ends_by_itself_with_a_summary() {
    let dir = tempfile::tempdir().unwrap();
    let output = moksori(dir.path(), &["demo", "--listen", "127.0.0.1:0", "--data", "demo", "--for", "6s"]);
    let text = said(&output);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("http://127.0.0.1:") && text.contains("/link/"), "{text}");
    let count = |name: &str| -> u64 {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("no {name} in {text}"));
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    assert!(count("mentions") > 20 && count("cases") > 10, "{text}");
    assert!(text.contains("breached") && text.contains("documents"), "{text}");
    assert!(!text.contains("will be tried again: answered 404"), "a platform without streams is no trouble: {text}");
    // What was kept can be looked at; the next demo on it starts anew.
    assert!(dir.path().join("demo/desk/desk.db").exists());
    let again = moksori(dir.path(), &["demo", "--listen", "127.0.0.1:0", "--data", "demo", "--for", "1s"]);
    let mentions = said(&again).lines().find_map(|line| line.strip_prefix("mentions")?.trim().parse::<u64>().ok());
    assert!(again.status.success() && mentions < Some(count("mentions")), "{}", said(&again));
}

/// Stands in for the real servers of `demo --live`: a search and two feeds answer, the third feed does not.
async fn open_web() -> String {
    use axum::{Json, Router, extract::Query, http::StatusCode, routing::get};
    use std::collections::BTreeMap;
    let feed = |title: &str| {
        format!(
            "<rss version=\"2.0\"><channel><title>t</title><item><title>{title}</title><guid>{title}</guid>\
             <pubDate>Fri, 20 Nov 2026 12:10:00 +0900</pubDate></item></channel></rss>"
        )
    };
    let (tag, forum) = (feed("a tagged post about borrowck"), feed("a question of the forum"));
    let found = serde_json::json!({ "hits": [{ "objectID": "1", "author": "dpark", "created_at_i": 1_795_000_000, "title": "borrowck, explained" }] });
    let routes = Router::new()
        .route("/tags/borrowck.rss", get(async move || tag))
        .route("/posts.rss", get(async move || forum))
        .route(
            "/api/v1/search_by_date",
            get(async move |Query(asked): Query<BTreeMap<String, String>>| {
                // There is one page.
                Json(if asked.get("page").is_some_and(|page| page == "0") { found } else { serde_json::json!({ "hits": [] }) })
            }),
        )
        .route("/feed/tag/borrowck", get(async || StatusCode::BAD_GATEWAY));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
    url
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_demo_says_which_servers_answer_and_goes_on_without_the_others() {
    let base = open_web().await;
    let dir = tempfile::tempdir().unwrap();
    let told = tokio::task::spawn_blocking(move || {
        let args =
            ["demo", "--listen", "127.0.0.1:0", "--data", "demo", "--for", "8s", "--live", "#borrowck", "--live-base", &base];
        let output = moksori(dir.path(), &args);
        let found = moksori::queue::Store::open(
            &dir.path().join("demo/desk"),
            moksori::queue::Config::sqlite(1, 1_000),
            moksori::clock::Clock::System,
            moksori::queue::Metrics::new(&prometheus::Registry::new()).unwrap(),
        );
        (said(&output), output.status.success(), found.unwrap(), dir)
    });
    let (text, well, store, _dir) = told.await.unwrap();
    assert!(well, "{text}");
    for line in ["live-tag: answers", "live-hackernews: answers", "live-forum: answers", "live-feed: not reached (answered 502"]
    {
        assert!(text.contains(line), "{line}: {text}");
    }
    let rows = store.read(|reader| reader.totals()).await.unwrap();
    assert!(rows.mentions > 3, "the sample brands went on: {text}");
    let refused = tokio::task::spawn_blocking(|| moksori(Path::new("."), &["demo", "--live", "two words"])).await.unwrap();
    assert!(!refused.status.success() && said(&refused).contains("one word of letters"), "{}", said(&refused));
}
