//! `[limits]`: how much a platform lets us ask, and where it tells us what is left.

use std::time::Duration;

use regex::Regex;
use reqwest::header::HeaderName;
use serde::{Deserialize, Deserializer, de};

use super::{Path, Span};

/// How a platform writes the time at which its limit is lifted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ResetFormat {
    /// `2026-11-20T03:00:00.000000Z`.
    #[default]
    Iso8601,
    /// Seconds since 1970.
    Unix,
    /// Seconds from now, with or without a fraction.
    Seconds,
}

/// Where an answer tells a number or a time.
#[derive(Clone, Debug)]
pub enum Told {
    /// In a header.
    Header(String),
    /// In its body.
    Body(Path),
}

impl<'de> Deserialize<'de> for Told {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.starts_with('$') {
            return Path::parse(&text).map(Told::Body).map_err(de::Error::custom);
        }
        text.parse::<HeaderName>().map_err(|_| de::Error::custom(format!("`{text}` is neither a header nor a path")))?;
        Ok(Told::Header(text))
    }
}

/// The number of requests left inside a header that says more.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateIn {
    /// The header.
    pub header: String,
    /// A regular expression whose first group is the number.
    #[serde(deserialize_with = "pattern")]
    pub pattern: Regex,
}

fn pattern<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Regex, D::Error> {
    let text = String::deserialize(deserializer)?;
    let regex = Regex::new(&text).map_err(|error| de::Error::custom(format!("`{text}` is no regular expression: {error}")))?;
    if regex.captures_len() < 2 {
        return Err(de::Error::custom(format!("`{text}` has no group; put the number in ( )")));
    }
    Ok(regex)
}

/// An allowance of cost units over a longer window. What is left of it survives a restart.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Allowance {
    /// What people call it.
    pub name: String,
    /// Units in one window.
    pub units: u64,
    /// Length of the window, from its first request; with a zone and `1d`, from midnight to midnight there.
    pub per: Span,
    /// The time zone at whose midnight it is full again.
    pub zone: Option<String>,
    /// Units that polling leaves over for replies.
    #[serde(default)]
    pub reserve: u64,
}

/// How much a platform lets us ask.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Requests in one window, for platforms that do not say so in headers.
    pub requests: u32,
    /// Length of the window.
    pub per: Span,
    /// Requests that polling leaves over for replies.
    pub reserve: u32,
    /// Where an answer says how many requests are left: a header, or a path into the body.
    pub remaining: Option<Told>,
    /// Where it says when the window ends.
    pub reset: Option<Told>,
    /// How that time is written.
    pub reset_as: ResetFormat,
    /// The number of requests left inside a header that says more.
    pub rate_in: Option<RateIn>,
    /// Seconds in the body of a success for which the platform wants to be left alone.
    pub backoff: Option<Path>,
    /// Whether each stream and action has a window of its own, as where every endpoint is counted by itself.
    pub each: bool,
    /// Longer allowances beside it, such as a day's quota.
    #[serde(rename = "budget")]
    pub budgets: Vec<Allowance>,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            requests: 60,
            per: Span(Duration::from_secs(60)),
            reserve: 5,
            remaining: None,
            reset: None,
            reset_as: ResetFormat::Iso8601,
            rate_in: None,
            backoff: None,
            each: false,
            budgets: Vec::new(),
        }
    }
}

impl Limits {
    /// Whether what is left stands in bodies.
    pub fn reads_body(&self) -> bool {
        let body = |told: &Option<Told>| matches!(told, Some(Told::Body(_)));
        body(&self.remaining) || body(&self.reset) || self.backoff.is_some()
    }
}
