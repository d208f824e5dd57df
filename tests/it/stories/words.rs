//! A platform whose search knows words and nothing else: exclusions are ours to keep.

use std::sync::{Arc, Mutex};

use axum::{Json, Router, extract::Query, routing::get};
use serde_json::{Value, json};

/// What was posted there, oldest first: `id`, `by`, `text`, and `at` in milliseconds.
pub type Posts = Arc<Mutex<Vec<Value>>>;

/// Its connector file, called `name`, up to its stream `search`.
pub fn file(name: &str, instance: &str) -> String {
    format!(
        r#"
connector = "{name}"
format = 1
instance = "{instance}"
recorded_queries = [{{ name = "brand", text = "솔방울" }}]

[dialect]
and = " "

[map]
native_id = "$.id"
author_id = "$.by"
text = "$.text"
posted_at = "$.at"
time_as = "unix_ms"

[[stream]]
name = "search"
path = "/search"
query = {{ q = "{{{{ query.text }}}}" }}
per_query = true
records = "$.posts[*]"
cursor = "$.id"
order = "newest_first"
"#
    )
}

/// A post as it has them.
pub fn post(id: &str, by: &str, text: &str, at: i64) -> Value {
    json!({ "id": id, "by": by, "text": text, "at": at })
}

/// Its search: the newest post comes first.
pub fn router(posts: Posts) -> Router {
    let search = move |Query(asked): Query<Vec<(String, String)>>| {
        let words = asked.iter().find(|(name, _)| name == "q").map_or("", |(_, q)| q).split(' ');
        let has = |post: &&Value| words.clone().all(|word| post["text"].as_str().unwrap().contains(word));
        let found: Vec<Value> = posts.lock().unwrap().iter().rev().filter(has).cloned().collect();
        async move { Json(json!({ "posts": found })) }
    };
    Router::new().route("/search", get(search))
}

/// Serves it, and whatever else it has, until the test ends.
pub async fn serve(router: Router) -> url::Url {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    url
}
