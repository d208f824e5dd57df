//! From a platform's record to a mention: the field map of a connector file, applied.

use serde_json::Value as Json;

use super::{
    OwnIds,
    format::{Map, TextFormat, TimeFormat},
    html::html_to_text,
    template::Field,
};
use crate::{
    clock::Time,
    mention::{Author, Engagement, Envelope, Match, Op, Side, TimeQuality},
};

/// What a mention gets that is not in its record.
#[derive(Clone, Debug)]
pub(super) struct Facts<'walk> {
    /// Platform and instance.
    pub source: &'walk str,
    /// Our own accounts.
    pub own: &'walk OwnIds,
    /// What caught it; nothing for a file or a second look.
    pub matched: Option<&'walk Match>,
    /// Now.
    pub now: Time,
    /// What fields may read besides the item.
    pub about: &'walk minijinja::Value,
}

/// Makes a mention of `item`.
///
/// # Errors
/// Why it is none, as a word for the metrics.
pub(super) fn mention(map: &Map, item: &Json, facts: &Facts<'_>) -> Result<Envelope, &'static str> {
    let text = |field: &Option<Field>| field.as_ref().and_then(|field| field.text(item, facts.about));
    let count =
        |field: &Option<Field>| text(field).and_then(|text| text.parse::<f64>().ok()).map(|number| number.max(0.0) as u64);
    let native_id = map.native_id.text(item, facts.about).ok_or("no_id")?;
    let source = text(&map.source).unwrap_or_else(|| facts.source.to_owned());
    let op = match text(&map.op).as_deref() {
        Some("delete") => Op::Delete,
        Some("metrics") => Op::Metrics,
        _ => Op::Upsert,
    };
    let handle = text(&map.author_handle);
    let author = text(&map.author_id).or_else(|| handle.clone()).map(|native_id| Author {
        handle: handle.unwrap_or_else(|| native_id.clone()),
        native_id,
        name: text(&map.author_name),
        reach: count(&map.author_reach),
    });
    if op == Op::Upsert && author.is_none() {
        return Err("no_author");
    }
    let ours = author.as_ref().is_some_and(|author| facts.own.has(&source, &author.native_id));
    let side = match text(&map.side).as_deref() {
        _ if ours => Side::Ours,
        Some("ours") => Side::Ours,
        Some("other") => Side::Other,
        _ => Side::Customer,
    };
    let posted_at = text(&map.posted_at).and_then(|text| time(&text, map.time_as));
    let body = text(&map.text).unwrap_or_default();
    let counts = [&map.replies, &map.shares, &map.likes].map(count);
    Ok(Envelope {
        v: Envelope::VERSION,
        op,
        source,
        native_id,
        local_ref: text(&map.local_ref),
        side,
        conversation: text(&map.conversation),
        parent: text(&map.parent),
        author,
        text: match map.text_as {
            TextFormat::Plain => body,
            TextFormat::Html => html_to_text(&body),
        },
        lang: text(&map.lang),
        url: text(&map.url).filter(|url| url.starts_with("https://") || url.starts_with("http://")),
        posted_at,
        time_quality: match (posted_at, map.time_as) {
            (None, _) => TimeQuality::Unknown,
            (Some(_), TimeFormat::Day) => TimeQuality::Day,
            (Some(_), _) => TimeQuality::Exact,
        },
        edited_at: text(&map.edited_at).and_then(|text| time(&text, map.time_as)),
        first_seen_at: facts.now,
        matched: facts.matched.cloned().into_iter().collect(),
        visibility: text(&map.visibility),
        engagement: counts.iter().any(Option::is_some).then(|| {
            let [replies, shares, likes] = counts.map(Option::unwrap_or_default);
            Engagement { replies, shares, likes }
        }),
        media: map.media.as_ref().map(|field| field.texts(item, facts.about)).unwrap_or_default(),
        extra: map.extra.iter().filter_map(|(name, field)| Some((name.clone(), field.text(item, facts.about)?))).collect(),
    })
}

/// A time that `item` says and nobody can read: the name of its field, and what it says.
pub(super) fn unread(map: &Map, item: &Json, mention: &Envelope, about: &minijinja::Value) -> Option<(&'static str, String)> {
    let times = [("posted_at", &map.posted_at, mention.posted_at), ("edited_at", &map.edited_at, mention.edited_at)];
    let said = |field: &Option<Field>| field.as_ref().and_then(|field| field.text(item, about));
    times.into_iter().filter(|(_, _, read)| read.is_none()).find_map(|(name, field, _)| Some((name, said(field)?)))
}

/// Writes a time as `format`, so that a platform reads it as it writes it.
pub(super) fn written(at: Time, format: TimeFormat) -> String {
    let zoned = at.timestamp().to_zoned(jiff::tz::TimeZone::UTC);
    match format {
        TimeFormat::Rfc3339 => at.to_string(),
        TimeFormat::Rfc2822 => jiff::fmt::rfc2822::to_string(&zoned).unwrap_or_default(),
        TimeFormat::Unix => (at.0 / 1_000).to_string(),
        TimeFormat::UnixMs => at.0.to_string(),
        TimeFormat::Day => zoned.strftime("%Y%m%d").to_string(),
    }
}

/// Reads a time written as `format`.
pub(super) fn time(text: &str, format: TimeFormat) -> Option<Time> {
    match format {
        TimeFormat::Rfc3339 => Time::parse(text).or_else(|| {
            let at = jiff::Timestamp::strptime("%Y-%m-%dT%H:%M:%S%.f%z", text).ok()?;
            Some(Time(at.as_millisecond()))
        }),
        TimeFormat::Rfc2822 => Some(Time(jiff::fmt::rfc2822::parse(text).ok()?.timestamp().as_millisecond())),
        TimeFormat::Unix => text.parse::<f64>().ok().map(|seconds| Time((seconds * 1_000.0) as i64)),
        TimeFormat::UnixMs => text.parse().ok().map(Time),
        TimeFormat::Day => {
            let digits: String = text.chars().filter(char::is_ascii_digit).take(8).collect();
            let day = jiff::civil::Date::strptime("%Y%m%d", digits).ok()?;
            Some(Time(day.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_millisecond()))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: Time = Time(1_795_000_000_000);

    fn map(source: &str) -> Map {
        toml::from_str(source).unwrap()
    }

    fn mapped(map: &Map, item: &Json) -> Result<Envelope, &'static str> {
        let own = OwnIds::default();
        own.add("p:host", "me");
        mention(map, item, &Facts { source: "p:host", own: &own, matched: None, now: NOW, about: &minijinja::context! {} })
    }

    #[test]
    fn every_field_is_mapped() {
        let all = map(r#"
            native_id = "$.uri"
            local_ref = "$.id"
            conversation = "$.thread"
            parent = "$.parent"
            author_id = "$.by.id"
            author_handle = "$.by.handle"
            author_name = "$.by.name"
            author_reach = "$.by.followers"
            text = "$.html"
            text_as = "html"
            lang = "$.lang"
            url = "$.url"
            posted_at = "$.at"
            edited_at = "$.edited"
            visibility = "$.seen_by"
            replies = "$.n.replies"
            shares = "$.n.shares"
            likes = "$.n.likes"
            media = "$.media[*].url"
            extra = { cid = "$.cid", none = "$.none" }
        "#);
        let item = json!({
            "uri": "u:1", "cid": "c1", "id": 1, "thread": "t", "parent": "0", "by": {"id": "a", "handle": "min", "name": "민지", "followers": 12},
            "html": "<p>안녕<br>하세요</p>", "lang": "ko", "url": "https://host/1", "at": "2026-11-20T03:00:00Z",
            "edited": "2026-11-20T03:01:00Z", "seen_by": "public", "n": {"replies": 1, "shares": 2, "likes": 3},
            "media": [{"url": "https://host/a.png"}, {"url": "https://host/b.png"}],
        });
        let mention = mapped(&all, &item).unwrap();
        assert_eq!(
            mention,
            Envelope {
                v: 1,
                op: Op::Upsert,
                source: "p:host".into(),
                native_id: "u:1".into(),
                local_ref: Some("1".into()),
                side: Side::Customer,
                conversation: Some("t".into()),
                parent: Some("0".into()),
                author: Some(Author {
                    native_id: "a".into(),
                    handle: "min".into(),
                    name: Some("민지".into()),
                    reach: Some(12)
                }),
                text: "안녕\n하세요".into(),
                lang: Some("ko".into()),
                url: Some("https://host/1".into()),
                posted_at: Time::parse("2026-11-20T03:00:00Z"),
                time_quality: TimeQuality::Exact,
                edited_at: Time::parse("2026-11-20T03:01:00Z"),
                first_seen_at: NOW,
                matched: vec![],
                visibility: Some("public".into()),
                engagement: Some(Engagement { replies: 1, shares: 2, likes: 3 }),
                media: vec!["https://host/a.png".into(), "https://host/b.png".into()],
                extra: [("cid".to_owned(), "c1".to_owned())].into(),
            }
        );
        let bytes = serde_json::to_vec(&mention).unwrap();
        assert_eq!(Envelope::parse(&bytes).unwrap(), mention, "the bus takes it");
    }

    #[test]
    fn our_own_post_is_ours_and_a_strange_url_is_dropped() {
        let small = map("native_id = '$.id'\nauthor_id = '$.by'\nurl = '$.url'");
        let mention = mapped(&small, &json!({"id": "1", "by": "me", "url": "javascript:alert(1)"})).unwrap();
        assert_eq!((mention.side, mention.url, mention.time_quality), (Side::Ours, None, TimeQuality::Unknown));
        assert_eq!(mapped(&small, &json!({"by": "me"})).unwrap_err(), "no_id");
        assert_eq!(mapped(&small, &json!({"id": "1"})).unwrap_err(), "no_author");
    }

    #[test]
    fn times_come_in_many_forms() {
        for (text, format, expected) in [
            ("2026-11-20T03:00:00.123Z", TimeFormat::Rfc3339, "2026-11-20T03:00:00.123Z"),
            ("2026-11-20T12:10:00+0900", TimeFormat::Rfc3339, "2026-11-20T03:10:00.000Z"),
            ("Fri, 20 Nov 2026 12:00:00 +0900", TimeFormat::Rfc2822, "2026-11-20T03:00:00.000Z"),
            ("1795000000.5", TimeFormat::Unix, "2026-11-18T11:06:40.500Z"),
            ("1795000000500", TimeFormat::UnixMs, "2026-11-18T11:06:40.500Z"),
            ("20261120", TimeFormat::Day, "2026-11-20T00:00:00.000Z"),
            ("2026-11-20", TimeFormat::Day, "2026-11-20T00:00:00.000Z"),
        ] {
            assert_eq!(time(text, format).unwrap().to_string(), expected, "{text}");
        }
        assert_eq!(time("어제", TimeFormat::Day), None);
    }
}
