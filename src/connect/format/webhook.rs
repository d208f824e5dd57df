//! `[webhook]`: what a platform sends to us, and how we know that it is the platform.

use serde::Deserialize;

use super::{Map, Path, Span, Template};

/// What comes in at `/ingest/ACCOUNT`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    /// The name that it has in metrics and counts, as a stream has one.
    #[serde(default = "name")]
    pub name: String,
    /// Header with the delivery's id; a repeated one is accepted and not taken again.
    pub id: Option<String>,
    /// Header with the time of sending, in seconds since 1970.
    pub timestamp: Option<String>,
    /// How a delivery is signed.
    pub signature: Option<Signature>,
    /// How old or new a delivery may be.
    #[serde(default = "five_minutes")]
    pub tolerance: Span,
    /// How the platform makes sure that it is us.
    pub challenge: Option<Challenge>,
    /// The records of a delivery.
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
    Span(std::time::Duration::from_secs(300))
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
    /// Header with the signature; several are divided by spaces.
    pub header: String,
    /// What stands before each: `sha256=`, `v1,`.
    #[serde(default)]
    pub prefix: String,
    /// How it is written.
    #[serde(default)]
    pub encoding: Encoding,
    /// What is signed; reads `id`, `timestamp` and `body`.
    #[serde(default = "body")]
    pub signed: Template,
    /// Name of the secret that is the key; one that starts with `whsec_` is base64.
    pub secret: String,
}

fn body() -> Template {
    Template::whole("body")
}

/// How a challenge is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChallengeAnswer {
    /// A JSON object with the signature of the challenge.
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
