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
    user: String,
    password_key: &'static str,
    metrics: Metrics,
    trouble: Mutex<Trouble>,
}

#[derive(Default)]
struct Trouble {
    /// Why no broker can be reached, as far as is known.
    down: Option<String>,
    /// A broker said that user and password are wrong.
    refused: Option<String>,
}

impl Watch {
    pub(super) fn new(cluster: &Cluster, metrics: Metrics) -> Watch {
        Watch(Arc::new(Watched {
            cluster: cluster.name.clone(),
            user: cluster.user.clone().unwrap_or_default(),
            password_key: cluster.password_key(),
            metrics,
            trouble: Mutex::default(),
        }))
    }

    /// Why the cluster cannot be used, if it cannot.
    pub(super) fn trouble(&self) -> Option<Error> {
        let cluster = self.0.cluster.clone();
        self.with(|trouble| match (&trouble.refused, &trouble.down) {
            (Some(why), _) => {
                let (user, key, why) = (self.0.user.clone(), self.0.password_key, why.clone());
                Some(Error::Refused { cluster, user, key, why })
            }
            (None, Some(why)) => Some(Error::Unreachable { cluster, why: why.clone() }),
            (None, None) => None,
        })
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
            if refused {
                trouble.refused = Some(reason.to_owned());
            } else if kind != "other" {
                trouble.down = Some(reason.to_owned());
            }
            first
        });
        if first && kind != "other" {
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
