#![doc = include_str!("../ARCHITECTURE.md")]

pub mod bus;
pub mod classify;
pub mod connect;
pub mod desk;
pub mod dispatch;
pub mod notify;
pub mod queue;
pub mod sample;
pub mod search;
pub mod sla;
pub mod web;

pub mod index;
pub mod lease;
pub mod pipeline;

pub mod case;
pub mod clock;
pub mod crash;
pub mod mention;
pub mod metrics;
pub mod query;
pub mod secret;
pub mod staff;
pub mod text;

pub mod app;
pub mod backup;
pub mod cli;
pub mod config;
pub mod control;
pub mod demo;
pub mod learn;
pub mod progress;
pub mod replay;
pub mod rules;
pub mod telemetry;
pub mod training;
