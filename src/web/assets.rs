//! The files under `static/`, carried inside the program.
//!
//! Pages link them with the hash of their content, so a browser keeps them for a year and still
//! never shows an old one.

use std::sync::LazyLock;

use axum::{
    extract::{Path, RawQuery},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};

/// One file, with the first bytes of its hash.
struct Asset {
    name: &'static str,
    kind: &'static str,
    bytes: &'static [u8],
    hash: String,
}

static ASSETS: LazyLock<Vec<Asset>> = LazyLock::new(|| {
    let css = "text/css; charset=utf-8";
    let js = "text/javascript; charset=utf-8";
    let text = "text/plain; charset=utf-8";
    let table: [(&str, &str, &[u8]); 13] = [
        ("tokens.css", css, include_bytes!("../../static/tokens.css")),
        ("app.css", css, include_bytes!("../../static/app.css")),
        ("rooms.css", css, include_bytes!("../../static/rooms.css")),
        ("htmx.min.js", js, include_bytes!("../../static/htmx.min.js")),
        ("hx-sse.min.js", js, include_bytes!("../../static/hx-sse.min.js")),
        ("live.js", js, include_bytes!("../../static/live.js")),
        ("clock.js", js, include_bytes!("../../static/clock.js")),
        ("keys.js", js, include_bytes!("../../static/keys.js")),
        ("composer.js", js, include_bytes!("../../static/composer.js")),
        ("icons.svg", "image/svg+xml", include_bytes!("../../static/icons.svg")),
        ("favicon.svg", "image/svg+xml", include_bytes!("../../static/favicon.svg")),
        ("LICENSE-htmx", text, include_bytes!("../../static/LICENSE-htmx")),
        ("LICENSE-lucide", text, include_bytes!("../../static/LICENSE-lucide")),
    ];
    table
        .into_iter()
        .map(|(name, kind, bytes)| Asset { name, kind, bytes, hash: URL_SAFE_NO_PAD.encode(&Sha256::digest(bytes)[..9]) })
        .collect()
});

/// Address of `name` with its hash: `/static/app.css?v=...`.
pub fn href(name: &str) -> String {
    match ASSETS.iter().find(|asset| asset.name == name) {
        Some(asset) => format!("/static/{name}?v={}", asset.hash),
        None => format!("/static/{name}"),
    }
}

/// `GET /static/{file}`.
pub async fn serve(Path(file): Path<String>, RawQuery(query): RawQuery, headers: HeaderMap) -> Response {
    let Some(asset) = ASSETS.iter().find(|asset| asset.name == file) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let tag = format!("\"{}\"", asset.hash);
    // Without the right hash it may be the file of another version: ask again next time.
    let asked_for_this = query.is_some_and(|query| query.strip_prefix("v=") == Some(asset.hash.as_str()));
    let cache = if asked_for_this { "public, max-age=31536000, immutable" } else { "no-cache" };
    let known = headers.get(header::IF_NONE_MATCH).and_then(|known| known.to_str().ok());
    let mut response = if known.is_some_and(|known| known.split(',').any(|one| one.trim().trim_start_matches("W/") == tag)) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        asset.bytes.into_response()
    };
    let out = response.headers_mut();
    out.insert(header::CONTENT_TYPE, HeaderValue::from_static(asset.kind));
    out.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        out.insert(header::ETAG, tag);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn get(file: &str, query: Option<&str>, known: Option<&str>) -> Response {
        let mut headers = HeaderMap::new();
        if let Some(known) = known {
            headers.insert(header::IF_NONE_MATCH, HeaderValue::from_str(known).unwrap());
        }
        serve(Path(file.into()), RawQuery(query.map(Into::into)), headers).await
    }

    #[tokio::test]
    async fn a_file_is_kept_only_under_its_own_hash() {
        let href = href("app.css");
        let (_, query) = href.split_once('?').unwrap();
        let response = get("app.css", Some(query), None).await;
        assert_eq!(response.headers()["content-type"], "text/css; charset=utf-8");
        assert_eq!(response.headers()["cache-control"], "public, max-age=31536000, immutable");
        let tag = response.headers()["etag"].to_str().unwrap().to_string();
        assert_eq!(get("app.css", Some("v=old"), None).await.headers()["cache-control"], "no-cache");
        assert_eq!(get("app.css", None, Some(&tag)).await.status(), StatusCode::NOT_MODIFIED);
        assert_eq!(get("app.css", None, Some("\"other\"")).await.status(), StatusCode::OK);
        assert_eq!(get("../Cargo.toml", None, None).await.status(), StatusCode::NOT_FOUND);
    }

    #[test]
    fn the_console_stays_within_its_weight() {
        let weigh = |ending: &str, vendored: bool| -> usize {
            let fits = |asset: &&Asset| asset.name.ends_with(ending) && asset.name.ends_with(".min.js") == vendored;
            ASSETS.iter().filter(fits).map(|asset| asset.bytes.len()).sum()
        };
        assert!(weigh(".js", true) <= 44_000, "htmx and its extension: {}", weigh(".js", true));
        assert!(weigh(".js", false) <= 28_000, "own scripts: {}", weigh(".js", false));
        let rooms = weigh("rooms.css", false);
        assert!(weigh(".css", false) - rooms <= 28_000, "styles of every page: {}", weigh(".css", false) - rooms);
        assert!(rooms <= 4_000, "styles of the other rooms: {rooms}");
        assert!(weigh(".svg", false) <= 14_000, "icons: {}", weigh(".svg", false));
    }
}
