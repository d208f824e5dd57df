//! What a client of a cluster says of itself: its log, its errors, whether it is connected.

use std::sync::{Arc, Mutex, PoisonError};

use rdkafka::{
    ClientContext, Statistics,
    config::RDKafkaLogLevel,
    error::{KafkaError, RDKafkaErrorCode},
};

use super::config::Cluster;
use crate::bus::{Error, Metrics};

/// Watches over the clients of one cluster; clones watch together.
#[derive(Clone)]
pub(super) struct Watch(Arc<Watched>);

struct Watched {
    cluster: String,
    brokers: String,
    user: String,
    password_key: &'static str,
    metrics: Metrics,
    trouble: Mutex<Trouble>,
}

#[derive(Default)]
struct Trouble {
    /// What a broker failed with last.
    last: Option<String>,
    /// Why no broker can be reached.
    down: Option<String>,
    /// A broker said that user and password are wrong.
    refused: Option<String>,
}

impl Watch {
    pub(super) fn new(cluster: &Cluster, metrics: Metrics) -> Watch {
        Watch(Arc::new(Watched {
            cluster: cluster.name.clone(),
            brokers: cluster.brokers.clone(),
            user: cluster.user.clone().unwrap_or_default(),
            password_key: cluster.password_key(),
            metrics,
            trouble: Mutex::default(),
        }))
    }

    /// Why the cluster cannot be used, if it cannot.
    pub(super) fn trouble(&self) -> Option<Error> {
        self.with(|trouble| match (&trouble.refused, &trouble.down) {
            (Some(why), _) => {
                let (cluster, user) = (self.0.cluster.clone(), self.0.user.clone());
                let (key, why) = (self.0.password_key, why.clone());
                Some(Error::Refused { cluster, user, key, why })
            }
            (None, Some(why)) => Some(self.unreachable(why.clone())),
            (None, None) => None,
        })
    }

    /// No broker answers.
    pub(super) fn unreachable(&self, why: String) -> Error {
        Error::Unreachable { cluster: self.0.cluster.clone(), brokers: self.0.brokers.clone(), why }
    }

    /// A broker answered.
    pub(super) fn answered(&self) {
        self.with(|trouble| *trouble = Trouble::default());
    }

    fn with<T>(&self, look: impl FnOnce(&mut Trouble) -> T) -> T {
        look(&mut self.0.trouble.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl ClientContext for Watch {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        let cluster = self.0.cluster.as_str();
        match level {
            RDKafkaLogLevel::Info | RDKafkaLogLevel::Notice | RDKafkaLogLevel::Debug => {
                tracing::debug!(cluster, facility, "kafka client: {message}");
            }
            _ => tracing::warn!(cluster, facility, "kafka client: {message}"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let code = error.rdkafka_error_code();
        // A wrong password comes as one or the other, as the mechanism has it.
        let refused = code == Some(RDKafkaErrorCode::Authentication)
            || code == Some(RDKafkaErrorCode::SaslAuthenticationFailed)
            || reason.contains("SASL authentication");
        let kind = match code {
            _ if refused => "authentication",
            Some(RDKafkaErrorCode::AllBrokersDown) => "all_brokers_down",
            Some(RDKafkaErrorCode::BrokerTransportFailure) => "transport",
            Some(RDKafkaErrorCode::Resolve) => "resolve",
            Some(RDKafkaErrorCode::SSL) => "tls",
            _ => "other",
        };
        self.0.metrics.kafka_errors.with_label_values(&[kind]).inc();
        let first = self.with(|trouble| {
            let first = trouble.down.is_none() && trouble.refused.is_none();
            match kind {
                "authentication" => trouble.refused = Some(reason.to_owned()),
                // It says how many, and the one before says why.
                "all_brokers_down" => trouble.down = trouble.last.take().or_else(|| Some(reason.to_owned())),
                "other" => {}
                _ => trouble.last = Some(reason.to_owned()),
            }
            first && (trouble.down.is_some() || trouble.refused.is_some())
        });
        if first {
            let cluster = self.0.cluster.as_str();
            tracing::warn!(cluster, kind, reason, "no connection to kafka");
        }
    }

    fn stats(&self, statistics: Statistics) {
        if statistics.brokers.values().any(|broker| broker.state == "UP") {
            self.answered();
        }
    }
}
