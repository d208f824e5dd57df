//! `[webhook]`: what a platform sends to us, and how we know that it is the platform.

use std::time::Duration;

use serde::{Deserialize, Deserializer, de};

use super::{Map, Path, Span};

/// What comes in at `/ingest/ACCOUNT`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    /// The name that it has in metrics and counts, as a stream has one.
    #[serde(default = "name")]
    pub name: String,
    /// Header with the delivery's id; a repeated one is accepted and not taken again. Where it is not signed, a
    /// delivery is known by its bytes instead.
    pub id: Option<String>,
    /// Header with the time of sending, in seconds since 1970.
    pub timestamp: Option<String>,
    /// How a delivery is signed.
    pub signature: Signature,
    /// How far the time of sending may be from now.
    #[serde(default = "five_minutes")]
    pub tolerance: Span,
    /// Longest body.
    #[serde(default = "one_mebibyte")]
    pub max_bytes: usize,
    /// Most records of one delivery.
    #[serde(default = "one_thousand")]
    pub max_items: usize,
    /// Deliveries that are taken in one window.
    #[serde(default = "six_hundred")]
    pub requests: u32,
    /// Length of the window.
    #[serde(default = "one_minute")]
    pub per: Span,
    /// How the platform makes sure that it is us.
    pub challenge: Option<Challenge>,
    /// The records of a delivery; of each of its parts, where it is a list or lines of JSON.
    pub records: Path,
    /// The post inside a record, where it is not the record itself.
    pub item: Option<Path>,
    /// Posts address the account.
    #[serde(default)]
    pub addressed: bool,
    /// Its own map, instead of the file's.
    pub map: Option<Map>,
}

fn name() -> String {
    "webhook".into()
}
fn five_minutes() -> Span {
    Span(Duration::from_secs(300))
}
fn one_minute() -> Span {
    Span(Duration::from_secs(60))
}
fn one_mebibyte() -> usize {
    1 << 20
}
fn one_thousand() -> usize {
    1_000
}
fn six_hundred() -> u32 {
    600
}

impl Webhook {
    /// What cannot be true of it: key, what is wrong, what to do. `has_map` is whether the file has a map.
    pub fn fault(&self, has_map: bool, secrets: &[String]) -> Option<(&'static str, String, &'static str)> {
        let signed = |part: &Part| self.signature.signed.0.contains(part);
        let unknown = |secret: &String| !secrets.contains(secret);
        let verify = self.challenge.as_ref().and_then(|challenge| challenge.verify.as_ref());
        if self.map.is_none() && !has_map {
            return Some(("map", "no map says where the fields come from".into(), "add [map] or [webhook.map]"));
        }
        if let Some(secret) =
            [Some(&self.signature.secret), verify.map(|one| &one.secret)].into_iter().flatten().find(|one| unknown(one))
        {
            return Some(("secret", format!("no secret is called `{secret}`"), "name it in secrets"));
        }
        if !signed(&Part::Body) {
            return Some(("signed", "the body is not signed".into(), "write signed = \"{{ body }}\""));
        }
        if signed(&Part::Id) && self.id.is_none() {
            return Some(("signed", "the id is signed and no header has it".into(), "write id = \"HEADER\""));
        }
        if signed(&Part::Timestamp) != self.timestamp.is_some() {
            return Some((
                "timestamp",
                "a time that is not signed can be changed by anybody, and a signed one needs its header".into(),
                "name it both in timestamp = \"HEADER\" and in signed, or in neither",
            ));
        }
        let challenge = self.challenge.as_ref()?;
        match challenge.answer {
            ChallengeAnswer::Json if challenge.key.is_none() => {
                Some(("key", "the answer's key is missing".into(), "write key = \"response_token\""))
            }
            ChallengeAnswer::Text if challenge.verify.is_none() => Some((
                "verify",
                "anybody could have any text repeated".into(),
                "write verify = { parameter = \"...\", secret = \"...\" }",
            )),
            _ => None,
        }
    }
}

/// How bytes are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    /// Hexadecimal.
    #[default]
    Hex,
    /// Base64.
    Base64,
}

/// HMAC-SHA256 over a delivery.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signature {
    /// Header with the signature; several are divided by spaces, and one that is right is enough.
    pub header: String,
    /// What stands before each: `sha256=`, `v1,`.
    #[serde(default)]
    pub prefix: String,
    /// How it is written.
    #[serde(default)]
    pub encoding: Encoding,
    /// What is signed; knows `id`, `timestamp` and `body`.
    #[serde(default)]
    pub signed: Signed,
    /// Name of the secret that is the key. It may hold several, divided by spaces or lines, while they are
    /// changed; one that starts with `whsec_` is base64.
    pub secret: String,
}

/// A part of what is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// As it stands.
    Text(String),
    /// The delivery's id.
    Id,
    /// The time of sending, as the header has it.
    Timestamp,
    /// The body, byte for byte.
    Body,
}

/// What is signed. No template: a body need not be text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed(pub Vec<Part>);

impl Default for Signed {
    fn default() -> Self {
        Signed(vec![Part::Body])
    }
}

impl<'de> Deserialize<'de> for Signed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let source = String::deserialize(deserializer)?;
        let mut parts = Vec::new();
        let mut rest = source.as_str();
        while let Some((text, after)) = rest.split_once("{{") {
            let (name, after) =
                after.split_once("}}").ok_or_else(|| de::Error::custom(format!("`{source}` has a {{{{ without its }}}}")))?;
            if !text.is_empty() {
                parts.push(Part::Text(text.to_owned()));
            }
            parts.push(match name.trim() {
                "id" => Part::Id,
                "timestamp" => Part::Timestamp,
                "body" => Part::Body,
                other => {
                    return Err(de::Error::custom(format!(
                        "unknown value `{other}` in what is signed; there are id, timestamp, body"
                    )));
                }
            });
            rest = after;
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        Ok(Signed(parts))
    }
}

/// How a challenge is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChallengeAnswer {
    /// A JSON object with the signature of the challenge, written as signatures of deliveries are.
    Json,
    /// The challenge itself, as text.
    Text,
}

/// A question that the platform asks by GET before it sends anything.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Challenge {
    /// The query parameter that holds it.
    pub parameter: String,
    /// How it is answered.
    pub answer: ChallengeAnswer,
    /// For `json`: the key under which the signature stands.
    pub key: Option<String>,
    /// For `text`: a parameter that must hold this secret, by name.
    pub verify: Option<Verify>,
}

/// Proof that a challenge comes from the platform.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Verify {
    /// The query parameter.
    pub parameter: String,
    /// Name of the secret that it must hold.
    pub secret: String,
}
