//! The console: pages for people (`templates/`, `static/`), and what keeps them safe and live.
//!
//! A view is filled by a handler, drawn by a template, morphed in place by htmx. Nothing here calls
//! a platform: a reply is a row in the outbox.

pub mod assets;
pub mod format;
pub mod security;
pub mod sheet;
mod site;
pub mod sse;
pub mod views;
pub mod words;

pub use site::{Config, Error, Health, Metrics, Operator, Site, hash_password, link_path, router, serve, serve_operator};
