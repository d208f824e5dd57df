//! What an answer is written in, as JSON: paths and maps know nothing else.

use encoding_rs::{EUC_KR, Encoding, UTF_8};
use feed_rs::{model, parser};
use quick_xml::{Reader, events::Event};
use serde_json::{Map, Value as Json, json};
use sha2::{Digest, Sha256};

use super::{Error, format::BodyAs, request::Answer};
use crate::text::hex;

/// Deepest nesting of XML.
const DEEPEST: usize = 64;

/// The JSON of an answer.
///
/// # Errors
/// [`Error::Garbage`] with where it stops being what the file says; never its text.
pub(super) fn decode(answer: &Answer, kind: BodyAs) -> Result<Json, Error> {
    match kind {
        BodyAs::Json => serde_json::from_slice(&answer.body).map_err(|error| Error::Garbage(not_json(&error))),
        BodyAs::Feed => feed(&text(answer)),
        BodyAs::Xml => xml(&text(answer)),
    }
}

/// Where JSON ends to be JSON; serde would quote the text.
pub(super) fn not_json(error: &serde_json::Error) -> String {
    let kind = format!("{:?}", error.classify()).to_lowercase();
    format!("not JSON: {kind} error at line {} column {}", error.line(), error.column())
}

/// The text of an answer: HTTP says how it is encoded, else its first bytes, else the XML declaration.
fn text(answer: &Answer) -> String {
    let header = answer.headers.get(reqwest::header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let charset = header.and_then(|kind| kind.split(';').find_map(|part| part.trim().strip_prefix("charset=")));
    let declared = || {
        let start = String::from_utf8_lossy(&answer.body[..answer.body.len().min(200)]).into_owned();
        let rest = start.split_once("<?xml")?.1.split("?>").next()?.split_once("encoding=")?.1.to_owned();
        Some(rest.trim_matches(['"', '\'', ' ']).split(['"', '\'', ' ']).next()?.to_owned())
    };
    let named = charset.map(|name| name.trim_matches('"').to_owned()).or_else(declared);
    let encoding = named.and_then(|name| label(&name)).unwrap_or(UTF_8);
    // A byte order mark goes before what anybody says.
    let (text, _, _) = encoding.decode(&answer.body);
    // The declaration no longer tells the truth.
    match text.trim_start().strip_prefix("<?xml").and_then(|rest| rest.split_once("?>")) {
        Some((_, rest)) => rest.to_owned(),
        None => text.into_owned(),
    }
}

/// The encoding of a name; Korean sites use some that the standard does not know.
fn label(name: &str) -> Option<&'static Encoding> {
    let korean = ["cp949", "ms949", "x-windows-949", "uhc"].iter().any(|one| one.eq_ignore_ascii_case(name));
    if korean { Some(EUC_KR) } else { Encoding::for_label(name.as_bytes()) }
}

/// A feed of any kind in one shape.
fn feed(text: &str) -> Result<Json, Error> {
    let parser =
        parser::Builder::new().id_generator(|links, _, _| links.first().map(|link| link.href.clone()).unwrap_or_default());
    let feed =
        parser.build().parse(text.as_bytes()).map_err(|_| Error::Garbage("neither RSS nor Atom nor JSON Feed".into()))?;
    let title = feed.title.map(|title| title.content);
    Ok(json!({ "title": title, "entries": feed.entries.into_iter().map(entry).collect::<Vec<_>>() }))
}

fn entry(entry: model::Entry) -> Json {
    let (published, updated) =
        (entry.published.or(entry.updated).map(|at| at.to_rfc3339()), entry.updated.map(|at| at.to_rfc3339()));
    let url = entry.links.iter().find(|link| link.rel.as_deref().is_none_or(|rel| rel == "alternate")).or(entry.links.first());
    let url = url.map(|link| link.href.clone());
    let title = entry.title.map(|title| title.content);
    let summary = entry.summary.map(|summary| summary.content);
    let body = entry.content.and_then(|content| content.body).or_else(|| summary.clone());
    // What has no id and no address is known by what it says.
    let id = if entry.id.is_empty() {
        let all = format!(
            "{}\n{}\n{}",
            title.as_deref().unwrap_or(""),
            published.as_deref().unwrap_or(""),
            body.as_deref().unwrap_or("")
        );
        hex(&Sha256::digest(all.as_bytes())[..16])
    } else {
        entry.id
    };
    let found = [
        ("id", Some(json!(id))),
        ("title", title.map(Json::from)),
        ("text_html", body.map(Json::from)),
        ("summary_html", summary.map(Json::from)),
        ("url", url.map(Json::from)),
        ("author", entry.authors.into_iter().filter_map(|author| author.name).find(|name| !name.is_empty()).map(Json::from)),
        ("published", published.map(Json::from)),
        ("updated", updated.map(Json::from)),
        ("categories", Some(entry.categories.into_iter().map(|one| one.label.unwrap_or(one.term)).collect())),
    ];
    Json::Object(found.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect())
}

/// XML as JSON: `{"@attribute": ..., "child": ..., "$text": ...}`; an element of nothing but text is that text, and
/// one that repeats is a list. The root element is a key too.
fn xml(text: &str) -> Result<Json, Error> {
    let mut reader = Reader::from_str(text);
    let broken = |at: u64| Error::Garbage(format!("not XML at byte {at}"));
    let mut open: Vec<(String, Map<String, Json>)> = vec![(String::new(), Map::new())];
    loop {
        let at = reader.buffer_position();
        match reader.read_event().map_err(|_| broken(at))? {
            Event::Start(start) if open.len() <= DEEPEST => {
                open.push(element(&start).ok_or_else(|| broken(at))?);
            }
            Event::Start(_) => return Err(Error::Garbage("XML that is nested too deep".into())),
            Event::Empty(start) => {
                let (name, content) = element(&start).ok_or_else(|| broken(at))?;
                close(&mut open, name, content);
            }
            Event::End(_) => {
                let (name, content) = open.pop().filter(|_| !open.is_empty()).ok_or_else(|| broken(at))?;
                close(&mut open, name, content);
            }
            Event::Text(more) => say(&mut open, &more),
            Event::CData(more) => say(&mut open, &more),
            Event::GeneralRef(entity) => {
                say(&mut open, &htmlize::unescape(format!("&{};", &*entity)));
            }
            Event::Eof => break,
            _ => {}
        }
    }
    if open.iter().any(|(_, content)| content.keys().any(|name| name.eq_ignore_ascii_case("html"))) {
        return Err(Error::Garbage("a page for people in place of XML".into()));
    }
    let whole = open.pop().filter(|(_, content)| open.is_empty() && !content.is_empty());
    whole.map(|(_, content)| Json::Object(content)).ok_or_else(|| Error::Garbage("XML that is cut off, or none".into()))
}

fn element(start: &quick_xml::events::BytesStart<'_>) -> Option<(String, Map<String, Json>)> {
    let name = start.name().as_ref().to_owned();
    let mut content = Map::new();
    for attribute in start.attributes() {
        let attribute = attribute.ok()?;
        content.insert(format!("@{}", attribute.key.as_ref()), htmlize::unescape(&*attribute.value).into());
    }
    Some((name, content))
}

fn say(open: &mut [(String, Map<String, Json>)], text: &str) {
    if let Some((_, content)) = open.last_mut() {
        match content.get_mut("$text") {
            Some(Json::String(said)) => said.push_str(text),
            _ if text.trim().is_empty() => {}
            _ => {
                content.insert("$text".into(), text.into());
            }
        }
    }
}

fn close(open: &mut [(String, Map<String, Json>)], name: String, mut content: Map<String, Json>) {
    let value = match content.remove("$text") {
        Some(Json::String(text)) if content.is_empty() => Json::String(text.trim().to_owned()),
        Some(text) => {
            content.insert("$text".into(), text);
            Json::Object(content)
        }
        None => Json::Object(content),
    };
    let Some((_, parent)) = open.last_mut() else { return };
    match parent.get_mut(&name) {
        Some(Json::Array(list)) => list.push(value),
        Some(first) => *first = Json::Array(vec![first.take(), value]),
        None => {
            parent.insert(name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use reqwest::header::{CONTENT_TYPE, HeaderMap};

    use super::*;

    fn answer(kind: &str, body: &[u8]) -> Answer {
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, kind.parse().unwrap())]);
        Answer { url: "https://h/".parse().unwrap(), status: 200, headers, body: body.to_vec() }
    }

    #[test]
    fn feeds_of_every_kind_have_one_shape() {
        let rss = r#"<?xml version="1.0"?><rss version="2.0" xmlns:dc="http://purl.org/dc/elements/1.1/"><channel><title>소식</title>
            <item><guid>1</guid><title>하나</title><link>https://h/1</link><description>&lt;b&gt;본문&lt;/b&gt;</description>
            <pubDate>Fri, 20 Nov 2026 12:00:00 +0900</pubDate><dc:creator>민지</dc:creator><category>a</category></item>
            <item><title>때 없음</title></item></channel></rss>"#;
        let read = decode(&answer("application/rss+xml", rss.as_bytes()), BodyAs::Feed).unwrap();
        assert_eq!(read["title"], "소식");
        let one = &read["entries"][0];
        assert_eq!((&one["id"], &one["title"], &one["url"]), (&json!("1"), &json!("하나"), &json!("https://h/1")));
        assert_eq!(
            (&one["text_html"], &one["author"], &one["categories"]),
            (&json!("<b>본문</b>"), &json!("민지"), &json!(["a"]))
        );
        assert_eq!(one["published"], "2026-11-20T03:00:00+00:00");
        let timeless = &read["entries"][1];
        assert!(timeless.get("published").is_none() && timeless.get("updated").is_none(), "{timeless}");
        assert_eq!(timeless["id"].as_str().unwrap().len(), 32, "known by what it says: {timeless}");
        let again = decode(&answer("application/rss+xml", rss.as_bytes()), BodyAs::Feed).unwrap();
        assert_eq!(again["entries"][1]["id"], timeless["id"]);

        let atom = r#"<feed xmlns="http://www.w3.org/2005/Atom"><title>t</title><id>f</id><updated>2026-11-20T03:00:00Z</updated>
            <entry><id>urn:1</id><title>a</title><updated>2026-11-20T04:00:00Z</updated><author><name>kim</name></author>
            <link href="https://h/a"/><content type="html">&lt;p&gt;x&lt;/p&gt;</content></entry></feed>"#;
        let read = decode(&answer("application/atom+xml", atom.as_bytes()), BodyAs::Feed).unwrap();
        assert_eq!((&read["entries"][0]["id"], &read["entries"][0]["text_html"]), (&json!("urn:1"), &json!("<p>x</p>")));
        let json_feed = r#"{"version": "https://jsonfeed.org/version/1.1", "title": "t", "items": [{"id": "9", "content_text": "hi", "url": "https://h/9"}]}"#;
        let read = decode(&answer("application/feed+json", json_feed.as_bytes()), BodyAs::Feed).unwrap();
        assert_eq!((&read["entries"][0]["id"], &read["entries"][0]["text_html"]), (&json!("9"), &json!("hi")));
        assert!(matches!(decode(&answer("text/html", b"<!doctype html><p>x"), BodyAs::Feed), Err(Error::Garbage(_))));
    }

    #[test]
    fn korean_encodings_are_read_whoever_names_them() {
        let xml = "<?xml version=\"1.0\" encoding=\"EUC-KR\"?><rss version=\"2.0\"><channel><title>t</title><item><guid>1</guid><title>똠방각하 배송</title></item></channel></rss>";
        let (bytes, _, _) = encoding_rs::EUC_KR.encode(xml);
        let title = |kind: &str, bytes: &[u8]| {
            decode(&answer(kind, bytes), BodyAs::Feed).unwrap()["entries"][0]["title"].as_str().unwrap().to_owned()
        };
        assert_eq!(title("text/xml", &bytes), "똠방각하 배송", "by its declaration");
        assert_eq!(title("text/xml; charset=\"cp949\"", &bytes), "똠방각하 배송", "by HTTP");
        assert_eq!(title("text/xml; charset=utf-8", xml.as_bytes()), "똠방각하 배송", "HTTP goes before the declaration");
    }

    #[test]
    fn xml_is_read_by_paths() {
        let text = "<r a='1'><item id=\"x&amp;y\">하나</item><item><![CDATA[<둘>]]> &lt;</item><one><k>v</k></one><e/></r>";
        let read = decode(&answer("text/xml", text.as_bytes()), BodyAs::Xml).unwrap();
        assert_eq!(
            read,
            json!({"r": {"@a": "1", "item": [{"@id": "x&y", "$text": "하나"}, "<둘> <"], "one": {"k": "v"}, "e": {}}})
        );
        for broken in ["", "<r>", "<r></s>", &"<a>".repeat(100), "<!doctype html><html><p>x</p></html>"] {
            assert!(matches!(decode(&answer("text/xml", broken.as_bytes()), BodyAs::Xml), Err(Error::Garbage(_))), "{broken}");
        }
    }
}
