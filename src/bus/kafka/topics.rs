//! Topics at start: each is made if it is not there, and must be as it is configured if it is.

use std::time::Duration;

use rdkafka::{
    ClientConfig,
    admin::{AdminClient, AdminOptions, ConfigResource, NewTopic, OwnedResourceSpecifier, ResourceSpecifier, TopicReplication},
    client::Client,
    error::{KafkaError, RDKafkaErrorCode},
    metadata::Metadata,
};

use super::{
    MAX_RECORD_BYTES,
    config::{Cleanup, Topic},
    watch::Watch,
};
use crate::{bus::Error, clock::Clock};

/// How long one question to a broker may take.
const ASK: Duration = Duration::from_secs(2);

/// A topic with the key under `[bus.topics]` that describes it.
pub(super) type Wanted<'a> = (&'static str, &'a Topic);

/// Waits until a broker answers, up to `within`; a refused password ends it at once. Blocks.
pub(super) fn connect<C: rdkafka::ClientContext>(
    client: &Client<C>,
    watch: &Watch,
    clock: &Clock,
    within: Duration,
) -> Result<Metadata, Error> {
    let began = clock.now();
    loop {
        let answer = client.fetch_metadata(None, Duration::from_millis(500));
        match (answer, watch.trouble()) {
            (Ok(metadata), _) if !metadata.brokers().is_empty() => {
                watch.answered();
                return Ok(metadata);
            }
            (_, Some(refused @ Error::Refused { .. })) => return Err(refused),
            (answer, trouble) if clock.now().since(began) >= within => {
                let why = answer.err().map_or_else(|| "no broker is known".to_owned(), |error| error.to_string());
                return Err(trouble.unwrap_or_else(|| watch.unreachable(why)));
            }
            _ => {}
        }
    }
}

/// Makes and checks the topics of one cluster, of which `known` is the metadata. Blocks.
pub(super) fn ensure(config: &ClientConfig, watch: Watch, known: &Metadata, wanted: &[Wanted<'_>]) -> Result<(), Error> {
    let (missing, there): (Vec<Wanted<'_>>, Vec<_>) =
        wanted.iter().copied().partition(|(_, topic)| !known.topics().iter().any(|known| known.name() == topic.name));
    let mut differences = Vec::new();
    for (key, topic) in &there {
        let found = known.topics().iter().find(|known| known.name() == topic.name).map_or(0, |known| known.partitions().len());
        if i64::try_from(found).unwrap_or(0) < i64::from(topic.partitions) {
            differences.push(difference(key, topic, "partitions", &found.to_string(), &topic.partitions.to_string()));
        }
    }
    let admin: AdminClient<Watch> = config.create_with_context(watch).map_err(Error::kafka("reach the brokers"))?;
    differences.extend(block_on(async {
        create(&admin, &missing).await?;
        configured(&admin, &there).await
    })?);
    if differences.is_empty() { Ok(()) } else { Err(Error::Topics(differences.join("; "))) }
}

/// Runs it on a thread of its own, for the caller's may belong to a runtime.
fn block_on<T: Send>(work: impl Future<Output = Result<T, Error>> + Send) -> Result<T, Error> {
    std::thread::scope(|scope| {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let thread = scope.spawn(|| match runtime {
            Ok(runtime) => runtime.block_on(work),
            Err(error) => Err(Error::Topics(format!("they could not be checked: {error}"))),
        });
        thread.join().unwrap_or(Err(Error::Closed))
    })
}

async fn create(admin: &AdminClient<Watch>, missing: &[Wanted<'_>]) -> Result<(), Error> {
    if missing.is_empty() {
        return Ok(());
    }
    let settings: Vec<Vec<(&str, String)>> = missing.iter().map(|(_, topic)| settings(topic)).collect();
    let largest = MAX_RECORD_BYTES.to_string();
    let topics: Vec<NewTopic<'_>> = missing
        .iter()
        .zip(&settings)
        .map(|((_, topic), settings)| {
            let new = NewTopic::new(&topic.name, topic.partitions, TopicReplication::Fixed(topic.replication));
            settings.iter().fold(new.set("max.message.bytes", &largest), |new, (key, value)| new.set(key, value))
        })
        .collect();
    let options = AdminOptions::new().request_timeout(Some(ASK * 5)).operation_timeout(Some(ASK * 5));
    for made in admin.create_topics(&topics, &options).await.map_err(Error::kafka("make topics"))? {
        match made {
            Ok(name) => tracing::info!(topic = name, "topic made"),
            // Another process was faster.
            Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((name, code)) => {
                return Err(Error::Topics(format!("topic \"{name}\" could not be made: {code}: make it by hand")));
            }
        }
    }
    Ok(())
}

/// What is otherwise than it is configured.
async fn configured(admin: &AdminClient<Watch>, there: &[Wanted<'_>]) -> Result<Vec<String>, Error> {
    if there.is_empty() {
        return Ok(Vec::new());
    }
    let asked: Vec<ResourceSpecifier<'_>> = there.iter().map(|(_, topic)| ResourceSpecifier::Topic(&topic.name)).collect();
    let answer = admin.describe_configs(&asked, &AdminOptions::new().request_timeout(Some(ASK * 3))).await;
    let configs = match answer {
        Ok(configs) => configs,
        // Brokers that are not Kafka's own may not know the question.
        Err(KafkaError::AdminOp(code @ (RDKafkaErrorCode::UnsupportedFeature | RDKafkaErrorCode::OperationTimedOut))) => {
            unchecked(code);
            return Ok(Vec::new());
        }
        Err(error) => return Err(Error::kafka("check the topics")(error)),
    };
    let mut differences = Vec::new();
    for config in configs {
        let config = match config {
            Ok(config) => config,
            Err(code) => {
                unchecked(code);
                continue;
            }
        };
        let OwnedResourceSpecifier::Topic(name) = &config.specifier else { continue };
        for (key, topic) in there.iter().filter(|(_, topic)| topic.name == *name) {
            differences.extend(settings(topic).into_iter().filter_map(|(name, wanted)| {
                let found = value(&config, name);
                let same = found == wanted || (name == "cleanup.policy" && same_policy(&found, &wanted));
                (!same).then(|| difference(key, topic, name, &found, &wanted))
            }));
        }
    }
    Ok(differences)
}

fn unchecked(code: RDKafkaErrorCode) {
    tracing::warn!("the brokers do not say how topics are configured, so it is not checked: {code}");
}

fn value(config: &ConfigResource, name: &str) -> String {
    config.get(name).and_then(|entry| entry.value.clone()).unwrap_or_default()
}

fn same_policy(one: &str, other: &str) -> bool {
    let sorted = |text: &str| {
        let mut words: Vec<String> = text.split(',').map(|word| word.trim().to_owned()).collect();
        words.sort();
        words
    };
    sorted(one) == sorted(other)
}

/// What the topic is made with and must have.
fn settings(topic: &Topic) -> Vec<(&'static str, String)> {
    let millis = |span: Duration| span.as_millis().to_string();
    let mut settings = vec![("cleanup.policy", topic.cleanup.as_str().to_owned()), ("retention.ms", millis(topic.retention))];
    if topic.cleanup != Cleanup::Delete {
        settings.push(("max.compaction.lag.ms", millis(topic.compact_within)));
    }
    settings
}

/// Topic, key, found, wanted, remedy.
fn difference(key: &str, topic: &Topic, what: &str, found: &str, wanted: &str) -> String {
    let ours = match what {
        "cleanup.policy" => "cleanup",
        "retention.ms" => "retention",
        "max.compaction.lag.ms" => "compact_within",
        other => other,
    };
    format!(
        "topic \"{}\" on cluster \"{}\" has {what} {found}, wanted is {wanted}: alter the topic, or set bus.topics.{key}.{ours}",
        topic.name, topic.cluster
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_names_everything_that_one_needs() {
        let topic = Topic {
            name: "m".into(),
            cluster: "main".into(),
            partitions: 6,
            replication: 3,
            retention: Duration::from_hours(24),
            cleanup: Cleanup::CompactDelete,
            compact_within: Duration::from_hours(1),
        };
        assert_eq!(
            difference("mentions", &topic, "retention.ms", "1", "86400000"),
            "topic \"m\" on cluster \"main\" has retention.ms 1, wanted is 86400000: alter the topic, or set \
             bus.topics.mentions.retention"
        );
        let names: Vec<&str> = settings(&topic).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["cleanup.policy", "retention.ms", "max.compaction.lag.ms"]);
        assert_eq!(settings(&Topic { cleanup: Cleanup::Delete, ..topic }).len(), 2, "what is not compacted has no lag");
        assert!(same_policy("delete, compact", "compact,delete") && !same_policy("delete", "compact,delete"));
    }
}
