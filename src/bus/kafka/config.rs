//! What an operator says about Kafka: clusters, topics, and how hard to try.

use std::{path::PathBuf, time::Duration};

use rdkafka::{ClientConfig, config::RDKafkaLogLevel};
use serde::{Deserialize, Serialize};

use crate::{bus::Error, clock::span, secret::Secret};

/// One Kafka cluster, by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cluster {
    /// What the topics call it.
    pub name: String,
    /// Addresses of some of its brokers, with commas between them.
    pub brokers: String,
    /// How one speaks to it.
    #[serde(default)]
    pub security: Security,
    /// How one shows who one is, where `security` says that one must.
    #[serde(default)]
    pub mechanism: Option<Mechanism>,
    /// As whom.
    #[serde(default)]
    pub user: Option<String>,
    /// The environment variable with the password.
    #[serde(default)]
    pub password_env: Option<String>,
    /// The file with the password and nothing else.
    #[serde(default)]
    pub password_file: Option<PathBuf>,
    /// Certificates that the brokers' are signed by, where the system does not know them.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
}

/// How one speaks to a cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Security {
    /// In the clear, to everybody.
    #[default]
    Plaintext,
    /// Encrypted, to everybody.
    Tls,
    /// In the clear, with a password.
    SaslPlaintext,
    /// Encrypted, with a password.
    SaslTls,
}

/// How a password is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mechanism {
    /// As it is.
    #[serde(rename = "PLAIN")]
    Plain,
    /// By a proof that one knows it.
    #[serde(rename = "SCRAM-SHA-256")]
    ScramSha256,
    /// By a proof that one knows it.
    #[serde(rename = "SCRAM-SHA-512")]
    ScramSha512,
}

/// The topics.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Topics {
    /// Every mention that comes in.
    pub mentions: Topic,
    /// A relay of the store's dead letters.
    pub dead: Topic,
    /// A relay of the store's events.
    pub case_events: Topic,
}

/// One topic; it is made if it is not there, and must be as it is said here if it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Topic {
    /// Its name.
    pub name: String,
    /// Name of its cluster.
    pub cluster: String,
    /// At least so many partitions.
    pub partitions: i32,
    /// Copies of each, when it is made.
    pub replication: i32,
    /// How long records are kept.
    #[serde(with = "span")]
    pub retention: Duration,
    /// How records go.
    pub cleanup: Cleanup,
    /// Where it compacts: within this time only the newest record of a key is left.
    #[serde(with = "span")]
    pub compact_within: Duration,
}

/// How records of a topic go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cleanup {
    /// By age.
    #[serde(rename = "delete")]
    Delete,
    /// When a newer one has the same key.
    #[serde(rename = "compact")]
    Compact,
    /// By age, and when a newer one has the same key.
    #[serde(rename = "compact,delete")]
    CompactDelete,
}

impl Cleanup {
    /// As Kafka spells it.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Cleanup::Delete => "delete",
            Cleanup::Compact => "compact",
            Cleanup::CompactDelete => "compact,delete",
        }
    }
}

/// How the clients behave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Workers of one group share the partitions.
    pub group: String,
    /// A worker that is silent for so long loses its partitions.
    #[serde(with = "span")]
    pub session_timeout: Duration,
    /// How long the brokers may take to answer at start.
    #[serde(with = "span")]
    pub connect_timeout: Duration,
    /// After so long an append that no broker has taken fails, and what brought it tries again.
    #[serde(with = "span")]
    pub append_timeout: Duration,
    /// Memory for records on their way to the brokers.
    pub queue_bytes: usize,
    /// Memory for records that were read ahead, for each partition.
    pub buffer_bytes: usize,
    /// How many records may be read ahead, for each partition.
    pub buffer_records: usize,
}

impl Cluster {
    /// What every client of this cluster is told.
    pub(super) fn client(&self) -> Result<ClientConfig, Error> {
        let wrong = |what: String| Error::Setting { cluster: self.name.clone(), what };
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.brokers)
            .set("client.id", "moksori")
            .set("socket.timeout.ms", "20000")
            .set("socket.connection.setup.timeout.ms", "10000")
            .set("reconnect.backoff.ms", "100")
            .set("reconnect.backoff.max.ms", "1000")
            .set("statistics.interval.ms", "1000")
            .set_log_level(RDKafkaLogLevel::Warning);
        config.set(
            "security.protocol",
            match self.security {
                Security::Plaintext => "plaintext",
                Security::Tls => "ssl",
                Security::SaslPlaintext => "sasl_plaintext",
                Security::SaslTls => "sasl_ssl",
            },
        );
        if let Some(path) = &self.ca_file {
            let path = path.to_str().ok_or_else(|| wrong("ca_file is no text: name another".into()))?;
            config.set("ssl.ca.location", path);
        }
        if matches!(self.security, Security::SaslPlaintext | Security::SaslTls) {
            let mechanism = match self.mechanism {
                Some(Mechanism::Plain) => "PLAIN",
                Some(Mechanism::ScramSha256) => "SCRAM-SHA-256",
                Some(Mechanism::ScramSha512) => "SCRAM-SHA-512",
                None => return Err(wrong("its security wants a mechanism: PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512".into())),
            };
            let user = self.user.as_ref().ok_or_else(|| wrong("its security wants a user".into()))?;
            let password = self.password().map_err(wrong)?;
            config.set("sasl.mechanism", mechanism).set("sasl.username", user).set("sasl.password", password.reveal());
        } else if self.user.is_some() || self.password_key() != "password_env" {
            return Err(wrong("it has a user or a password, and its security none: set security = \"sasl_tls\"".into()));
        }
        Ok(config)
    }

    /// The key that says where the password is.
    pub(super) fn password_key(&self) -> &'static str {
        if self.password_file.is_some() { "password_file" } else { "password_env" }
    }

    fn password(&self) -> Result<Secret, String> {
        match (&self.password_env, &self.password_file) {
            (Some(name), None) => Secret::from_env(name).map_err(|_| format!("environment variable {name} is not set")),
            (None, Some(path)) => Secret::from_file(path).map_err(|error| format!("password_file {}: {error}", path.display())),
            _ => Err("its security wants either password_env or password_file".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster(text: &str) -> Cluster {
        toml::from_str(&format!("name = \"main\"\nbrokers = \"a:1\"\n{text}")).unwrap()
    }

    fn refused(text: &str) -> String {
        cluster(text).client().err().unwrap().to_string()
    }

    #[test]
    fn a_cluster_says_what_it_lacks() {
        assert!(cluster("").client().is_ok());
        assert!(refused("security = \"sasl_tls\"").contains("wants a mechanism"));
        let sasl = "security = \"sasl_plaintext\"\nmechanism = \"SCRAM-SHA-512\"\n";
        assert!(refused(sasl).contains("wants a user"));
        assert!(refused(&format!("{sasl}user = \"u\"")).contains("password_env or password_file"));
        let unset = refused(&format!("{sasl}user = \"u\"\npassword_env = \"MOKSORI_NOT_SET\""));
        assert!(unset.contains("MOKSORI_NOT_SET is not set") && unset.contains("\"main\""), "{unset}");
        assert!(refused("user = \"u\"").contains("its security none"));
    }

    #[test]
    fn a_password_is_read_from_its_file_and_never_shown() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("password");
        std::fs::write(&file, "kept quiet\n").unwrap();
        let text = format!("security = \"sasl_tls\"\nmechanism = \"PLAIN\"\nuser = \"u\"\npassword_file = {file:?}");
        let cluster = cluster(&text);
        assert_eq!(cluster.client().unwrap().get("sasl.password"), Some("kept quiet"));
        let shown = format!("{cluster:?} {:?}", cluster.password().unwrap());
        assert!(shown.ends_with("[redacted]") && !shown.contains("quiet"), "{shown}");
    }
}
