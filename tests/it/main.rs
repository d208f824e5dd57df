//! The one test binary: house rules, connectors, and the stories that the desk is for.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

mod backup;
mod browser;
mod bus_kafka;
mod bus_kafka_mock;
mod catalogue;
mod commands;
mod connectors;
mod corpus;
mod deploy;
mod faults;
mod ingest;
mod kit;
mod layers;
mod learning;
mod leases;
mod migrations;
mod platforms;
mod schema;
mod search;
mod sources;
mod store;
mod stories;
mod tidy;
mod transfer;
