//! What serde cannot see in a connector file: what spans keys and tables.

use super::{
    super::{
        format::{Action, Idempotency, Ingress, LiveKind, Order, Paging, Statuses, Stream, TokenCall},
        template::Template,
    },
    ConnectorFile, FORMAT, is_name,
};

/// What is wrong, and where.
pub(super) struct Wrong {
    /// The header of its table, empty at the top of the file.
    pub header: &'static str,
    /// Which table of that header.
    pub index: usize,
    /// The key.
    pub key: &'static str,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub remedy: &'static str,
}

type Checked = Result<(), Wrong>;

/// A place in a file where things can be wrong.
#[derive(Clone, Copy)]
pub(super) struct Place(pub &'static str, pub usize);

impl Place {
    pub fn wrong(self, key: &'static str, message: impl Into<String>, remedy: &'static str) -> Checked {
        Err(Wrong { header: self.0, index: self.1, key, message: message.into(), remedy })
    }
}

const TOP: Place = Place("", 0);

/// Checks a whole file.
///
/// # Errors
/// The first thing that is wrong.
pub(super) fn check(file: &ConnectorFile) -> Checked {
    top(file)?;
    auth(file)?;
    budgets(file)?;
    for (index, one) in file.streams.iter().enumerate() {
        let place = Place("[[stream]]", index);
        if file.streams[..index].iter().any(|other| other.name == one.name) {
            return place.wrong("name", format!("two streams are called `{}`", one.name), "give each its own name");
        }
        stream(file, one, place)?;
        live(one, place)?;
    }
    for (index, one) in file.actions.iter().enumerate() {
        action(one, Place("[[action]]", index))?;
    }
    for (index, one) in file.recorded.iter().enumerate() {
        if one.reply.is_some() == one.body.is_some() {
            let message = "a recorded reply has a file or a body, one of them";
            return Place("[[recorded]]", index).wrong("reply", message, "write reply = \"page.json\" or body = \"...\"");
        }
    }
    Ok(())
}

fn top(file: &ConnectorFile) -> Checked {
    if file.format != FORMAT {
        return TOP.wrong("format", format!("format {} is not {FORMAT}", file.format), "write format = 1");
    }
    if !is_name(&file.connector) {
        return TOP.wrong("connector", "a connector's name is lower-case letters, digits and _", "rename it");
    }
    for (at, setting) in file.settings.iter().enumerate() {
        if file.settings[..at].iter().any(|other| other.name == setting.name) {
            return TOP.wrong("settings", format!("two settings are called `{}`", setting.name), "remove one of them");
        }
    }
    match &file.webhook {
        None if file.ingress == Ingress::Webhook => {
            TOP.wrong("ingress", "what is sent to us is described nowhere", "add [webhook]")
        }
        Some(webhook) => match webhook.fault(file.map.is_some(), &file.secrets) {
            Some((key, message, remedy)) => Place("[webhook]", 0).wrong(key, message, remedy),
            None => Ok(()),
        },
        None => Ok(()),
    }
}

fn auth(file: &ConnectorFile) -> Checked {
    for (header, call) in [("[auth.login]", &file.auth.login), ("[auth.refresh]", &file.auth.refresh)] {
        let Some(TokenCall { form, json, method, .. }) = call else { continue };
        if !form.is_empty() && json.is_some() {
            return Place(header, 0).wrong("form", "a request has a form or JSON, not both", "remove one of them");
        }
        http_method(method, Place(header, 0))?;
    }
    if file.auth.refresh.is_some() && file.auth.login.as_ref().is_some_and(|login| login.refresh.is_none()) {
        let message = "the refresh has nothing to send: no path says where the refresh token stands";
        return Place("[auth.login]", 0).wrong("refresh", message, "write refresh = \"$.refresh_token\"");
    }
    let reads = |template: &Template| template.reads("auth");
    if file.auth.login.is_none() && file.auth.refresh.is_none() && file.auth.jwt.is_none() {
        let used = file.request.headers.values().any(reads);
        if used {
            return Place("[request]", 0).wrong(
                "headers",
                "`auth` is read and nothing gets it",
                "add [auth.login] or [auth.jwt]",
            );
        }
    }
    Ok(())
}

fn budgets(file: &ConnectorFile) -> Checked {
    for (index, budget) in file.limits.budgets.iter().enumerate() {
        let place = Place("[[limits.budget]]", index);
        if let Some(zone) = &budget.zone
            && let Err(error) = jiff::tz::TimeZone::get(zone)
        {
            return place.wrong("zone", format!("`{zone}` is no time zone: {error}"), "write one like \"Asia/Seoul\"");
        }
        if budget.units <= budget.reserve || budget.per.0.is_zero() {
            return place.wrong("units", "nothing is left to poll with", "make units more than reserve, and per more than 0s");
        }
        if budget.zone.is_some() && budget.per.0.as_secs() != 86_400 {
            return place.wrong("per", "only a day ends at a zone's midnight", "write per = \"1d\", or remove zone");
        }
    }
    Ok(())
}

fn stream(file: &ConnectorFile, one: &Stream, place: Place) -> Checked {
    if file.map_of(one).is_none() && !one.live.as_ref().is_some_and(|live| live.events.iter().all(|event| event.map.is_some()))
    {
        return place.wrong("map", "no map says where the fields come from", "add [map] or [stream.map]");
    }
    if file.ingress != Ingress::File && one.discovers() && one.cursor.is_none() && !(one.live.is_some() && one.path.is_empty())
    {
        return place.wrong("cursor", "a polled stream needs a cursor", "name what to remember: cursor = \"$.id\"");
    }
    if one.order == Order::NewestFirst && matches!(one.page, Paging::Cursor) {
        let remedy = "set order = \"oldest_first\" or page by link, token, number, offset or next_url";
        return place.wrong("page", "kind cursor walks upwards", remedy);
    }
    if one.pace == 0 || one.pace_live == 0 || one.max_pages == 0 || one.first_pages == 0 {
        return place.wrong("pace", "pace, pace_live, max_pages and first_pages start at 1", "write 1 or more");
    }
    if one.revisit.as_ref().is_some_and(|revisit| revisit.batch == 0 || revisit.limit == 0) {
        return place.wrong("revisit", "batch and limit start at 1", "write 1 or more");
    }
    if one.follow.as_ref().is_some_and(|follow| follow.limit == 0) {
        return place.wrong("follow", "limit starts at 1", "write 1 or more");
    }
    if [one.revisit.is_some(), one.follow.is_some(), one.live.is_some()].into_iter().filter(|is| *is).count() > 1 {
        return place.wrong("name", "a stream is a revisit, a follow or live, one of them", "make two streams of it");
    }
    if one.since.is_some() && one.order != Order::NewestFirst {
        return place.wrong(
            "since",
            "a high-water mark is for newest_first",
            "set order = \"newest_first\", or read cursor in query",
        );
    }
    if one.since.as_ref().is_some_and(|since| !since.reads("cursor")) {
        return place.wrong("since", "it does not read the mark", "write since = \"{{ cursor }}\"");
    }
    if one.cursor_lost.as_ref().is_some_and(|lost| lost.status == Statuses::default()) {
        return place.wrong("cursor_lost", "no status says so", "write cursor_lost = { status = [\"400\"] }");
    }
    if one.per_query && one.per_tag {
        return place.wrong("per_query", "a walk is for a tag or a query, not both", "make two streams of it");
    }
    if !one.per_query && std::iter::once(&one.path).chain(one.query.values()).any(|template| template.reads("query")) {
        return place.wrong("query", "`query` is read, and no query is walked for", "write per_query = true");
    }
    Ok(())
}

fn live(one: &Stream, place: Place) -> Checked {
    let Some(live) = &one.live else { return Ok(()) };
    if live.events.is_empty() {
        return place.wrong("event", "no message is taken", "add [[stream.live.event]]");
    }
    if live.heartbeat.0.is_zero() {
        return place.wrong("heartbeat", "silence of 0s is always", "write heartbeat = \"30s\"");
    }
    if live.kind != LiveKind::Sse && live.events.iter().any(|event| event.name.is_some()) {
        return place.wrong("name", "only server-sent events have names", "write when = \"{{ item.kind == '...' }}\"");
    }
    if live.kind != LiveKind::Websocket && !live.send.is_empty() {
        return place.wrong("send", "only a WebSocket is spoken to", "set kind = \"websocket\", or remove send");
    }
    Ok(())
}

fn action(one: &Action, place: Place) -> Checked {
    if one.idempotency == Idempotency::Lookup && one.lookup.is_none() {
        return place.wrong("idempotency", "lookup needs to know where to look", "add [action.lookup]");
    }
    if !one.form.is_empty() && one.json.is_some() {
        return place.wrong("form", "an action sends a form or JSON, not both", "remove one of them");
    }
    if one.thread.as_ref().is_some_and(|thread| thread.max == 0 || one.length.is_none()) {
        let message = "a thread needs max of 1 or more, and a length to be divided by";
        return place.wrong("thread", message, "write max = 5 and add length");
    }
    if one.resolve.is_some() && one.facets.is_none() {
        return place.wrong("facets", "nobody asks for what resolve finds", "write facets = \"utf8_bytes\"");
    }
    if one.allowed.as_ref().is_some_and(|allowed| !allowed.reads("extra")) {
        return place.wrong("allowed", "it does not read `extra`", "write allowed = \"{{ extra.NAME }}\" and [map.extra]");
    }
    http_method(&one.method, place)
}

fn http_method(method: &str, place: Place) -> Checked {
    match reqwest::Method::from_bytes(method.as_bytes()) {
        Ok(_) => Ok(()),
        Err(_) => place.wrong("method", "this is no HTTP method", "write POST or PUT"),
    }
}
