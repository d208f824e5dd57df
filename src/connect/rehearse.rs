//! Runs a connector file against its recorded replies: `moksori connector test FILE` prints the [`Report`].

use std::{fmt, path::Path, sync::Arc, time::Duration};

use serde_json::Value as Json;
use tokio::time::timeout;
use url::Url;

use super::{
    Account, AccountConfig, ConnectorFile, Error, Home, Hooks, Metrics, Outbox, OwnIds, Playback, Poller, Secret, SecretSource,
    Tray,
    format::{Ingress, RecordedReply},
    jwt,
    live::Connection,
};
use crate::{
    case::ReplyId,
    clock::Clock,
    desk::{Outgoing, Watched},
    mention::{Envelope, Lang},
};

/// How long a live connection is listened to after its last message.
const QUIET: Duration = Duration::from_millis(300);

/// What a connector file made of its recorded replies.
#[derive(Debug, Default)]
pub struct Report {
    /// The mentions by stream, in the order in which the bus would have them.
    pub streams: Vec<(String, Vec<Envelope>)>,
    /// What is not as it should be; the file is good if there is nothing.
    pub faults: Vec<String>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (stream, mentions) in &self.streams {
            writeln!(f, "{stream}: {} mentions", mentions.len())?;
            for one in mentions {
                let author = one.author.as_ref().map_or("-", |author| author.handle.as_str());
                let at = one.posted_at.map_or("-".to_owned(), |at| at.to_string());
                let text: String = one.text.replace('\n', " / ").chars().take(60).collect();
                writeln!(f, "  {at:24}  {:8}  @{author:28}  {text}", one.side.as_str())?;
            }
        }
        self.faults.iter().try_for_each(|fault| writeln!(f, "FAULT: {fault}"))
    }
}

/// An account for the recorded replies of `file`: every secret is `test`, but a key that signs is a new one, and its
/// own id comes from the file's `[identify]`.
pub fn test_account(file: &ConnectorFile, base: &Url) -> AccountConfig {
    let signs = |name: &str| file.auth.jwt.as_ref().filter(|jwt| jwt.key.names(name));
    let secret = |name: &String| {
        let key = signs(name).and_then(|jwt| jwt::new_key(jwt.algorithm)).unwrap_or_else(|| "test".into());
        (name.clone(), SecretSource::Given(Secret::new(&key)))
    };
    AccountConfig {
        brand: "test".into(),
        base: Some(base.clone()),
        secrets: file.secrets.iter().map(secret).collect(),
        tags: file.recorded_tags.clone(),
        settings: file.recorded_settings.clone(),
        listen: file.recorded_queries.clone(),
        interval: Duration::ZERO,
        allow_private: true,
        ..AccountConfig::new("test", &file.connector)
    }
}

/// Reads and checks the file at `path`, runs its streams on its recorded replies and compares what
/// comes out with what the file expects.
///
/// # Errors
/// When the file is wrong, or cannot be run at all.
pub async fn test_file(path: &Path) -> Result<Report, Error> {
    let file = Arc::new(ConnectorFile::load(path).map_err(Error::File)?);
    let mut report = Report::default();
    let expected: Vec<Json> = file
        .recorded
        .iter()
        .flat_map(|recorded| &recorded.expect)
        .filter_map(|table| serde_json::to_value(table).ok())
        .collect();
    let playback = Playback::start(path, &file).await?;
    let mut config = test_account(&file, &playback.url);
    if file.ingress == Ingress::File {
        config.path =
            file.recorded.first().and_then(|recorded| recorded.reply.as_ref()).map(|name| path.with_extension("").join(name));
    }
    let tray = Arc::new(Tray::default());
    let metrics = Metrics::new(&prometheus::Registry::new()).map_err(|error| Error::Refused(error.to_string()))?;
    let account = Account::new(file.clone(), config, OwnIds::default(), Clock::System, metrics)?;
    let mut watched: Vec<Watched> = Vec::new();
    for mut poller in Poller::of(&account, &Home::Tray(tray.clone()))? {
        // Looked at again is whatever the streams before it brought, as if it had been seen older.
        tray.with(|kept| {
            kept.watched.clone_from(&watched);
            kept.threads.clone_from(&watched);
        });
        if poller.walks()
            && let Err(error) = poller.step().await
        {
            report.faults.push(format!("stream {}: {error}", poller.stream_name()));
        }
        if let Err(error) = listen(&poller).await {
            report.faults.push(format!("stream {}, live: {error}", poller.stream_name()));
        }
        let mentions = tray.with(|kept| std::mem::take(&mut kept.mentions));
        watched.extend(mentions.iter().filter_map(|one| {
            Some(Watched {
                native_id: one.native_id.clone(),
                local_ref: one.local_ref.clone()?,
                version: i64::MIN,
                engagement: None,
            })
        }));
        watched.sort_by(|a, b| a.native_id.cmp(&b.native_id));
        watched.dedup_by(|a, b| a.native_id == b.native_id);
        report.streams.push((poller.stream_name().to_owned(), mentions));
    }
    let brought: Vec<Envelope> = report.streams.iter().flat_map(|(_, mentions)| mentions).cloned().collect();
    for recorded in &file.recorded_replies {
        report.faults.extend(reply(&account, recorded, &brought).await?);
    }
    if let Some(webhook) = &file.webhook {
        let mut mentions = Vec::new();
        for (recorded, body) in playback.deliveries() {
            match Hooks::played(&account, &recorded.headers, body.as_bytes()) {
                Ok(taken) => mentions.extend(taken),
                Err(refusal) => report.faults.push(format!("{}: {refusal}", webhook.name)),
            }
        }
        report.streams.push((webhook.name.clone(), mentions));
    }
    report.faults.extend(account.complaints());
    let found: Vec<Json> =
        report.streams.iter().flat_map(|(_, mentions)| mentions).filter_map(|one| serde_json::to_value(one).ok()).collect();
    for want in &expected {
        if !found.iter().any(|have| covers(have, want)) {
            let close =
                found.iter().find(|have| want.get("native_id").is_some() && have.get("native_id") == want.get("native_id"));
            let instead = close.map_or(String::new(), |have| format!("; there is {have}"));
            report.faults.push(format!("expected {want}{instead}"));
        }
    }
    Ok(report)
}

/// Sends a reply to what the streams brought; what is not as the file says.
async fn reply(account: &Arc<Account>, recorded: &RecordedReply, brought: &[Envelope]) -> Result<Option<String>, Error> {
    let Some(target) = brought.iter().find(|one| one.native_id == recorded.to) else {
        return Ok(Some(format!("a reply to {}, which no stream brings", recorded.to)));
    };
    let tray = Arc::new(Tray::default());
    tray.with(|kept| {
        let reply = Outgoing {
            id: ReplyId(1),
            account: account.config.key.clone(),
            text: recorded.text.clone(),
            target_native_id: target.native_id.clone(),
            target_local_ref: target.local_ref.clone(),
            target_handle: target.author.as_ref().map(|author| author.handle.clone()).unwrap_or_default(),
            visibility: target.visibility.clone(),
            idempotency_key: "test-1".into(),
            lang: target.lang.as_deref().and_then(Lang::parse).unwrap_or_default(),
            attempts: 1,
            target_conversation: target.conversation.clone(),
            extra: target.extra.clone(),
        };
        match recorded.found {
            Some(_) => kept.in_doubt.push(reply),
            None => kept.due.push_back(reply),
        }
    });
    let mut outbox = Outbox::new(Home::Tray(tray.clone()), std::slice::from_ref(account));
    match recorded.found {
        Some(_) => outbox.settle().await?,
        None => drop(outbox.step().await?),
    }
    let outcome = tray.with(|kept| kept.outcomes.pop()).map(|(_, outcome)| outcome).unwrap_or_default();
    let good = match (recorded.found.as_ref().or(recorded.sent.as_ref()), &recorded.refused) {
        (Some(id), _) => outcome == format!("sent {id}"),
        (None, Some(why)) => outcome.starts_with("failed ") && outcome.contains(why.as_str()),
        (None, None) => outcome.starts_with("sent "),
    };
    Ok((!good).then(|| format!("the reply `{}` ended as `{outcome}`", recorded.text)))
}

/// Opens the live connection of a stream, if it has one, and takes what comes.
async fn listen(poller: &Poller) -> Result<(), Error> {
    let Some(live) = &poller.stream().live else { return Ok(()) };
    let listeners = std::slice::from_ref(poller);
    let mut connection = Connection::open(listeners, live).await?;
    while let Ok(step) = timeout(QUIET, connection.step(listeners, live)).await {
        step?;
    }
    Ok(())
}

/// Whether `have` holds all that `want` says.
fn covers(have: &Json, want: &Json) -> bool {
    match (have, want) {
        (Json::Object(have), Json::Object(want)) => {
            want.iter().all(|(key, value)| have.get(key).is_some_and(|own| covers(own, value)))
        }
        (Json::Array(have), Json::Array(want)) => {
            have.len() == want.len() && have.iter().zip(want).all(|(have, want)| covers(have, want))
        }
        // People write times as text.
        (Json::Number(at), Json::String(text)) => {
            crate::clock::Time::parse(text).is_some_and(|time| at.as_i64() == Some(time.0))
        }
        _ => have == want,
    }
}
