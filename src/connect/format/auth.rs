//! `[auth]`: how to get and renew tokens.

use std::{collections::BTreeMap, time::Duration};

use serde::Deserialize;

use super::{Path, Span, Template};
use crate::connect::body::Body;

/// How an account proves who it is, beyond secrets in headers.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Auth {
    /// Gets the first token: `auth.access`.
    pub login: Option<TokenCall>,
    /// Gets the next one, when it ends or a row says `do = "refresh"`; reads `auth.refresh`.
    pub refresh: Option<TokenCall>,
    /// Signs a token: `auth.jwt`.
    pub jwt: Option<Jwt>,
}

/// A request for tokens. The file's own headers do not go with it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenCall {
    /// POST unless said otherwise.
    #[serde(default = "post")]
    pub method: String,
    /// Path below the account's base, or a whole URL on an allowed host.
    pub path: Template,
    /// Query.
    #[serde(default)]
    pub query: BTreeMap<String, Template>,
    /// Headers.
    #[serde(default)]
    pub headers: BTreeMap<String, Template>,
    /// A form.
    #[serde(default)]
    pub form: BTreeMap<String, Template>,
    /// A JSON object, in place of a form.
    pub json: Option<Body>,
    /// The access token in the answer.
    pub access: Path,
    /// The refresh token.
    pub refresh: Option<Path>,
    /// Seconds for which the access token is good.
    pub expires_in: Option<Path>,
    /// Until when it is good: RFC 3339 or seconds since 1970.
    pub expires_at: Option<Path>,
    /// Other values to keep: `auth.NAME`.
    #[serde(default)]
    pub keep: BTreeMap<String, Path>,
}

fn post() -> String {
    "POST".into()
}

/// How a JWT is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Algorithm {
    /// ECDSA on P-256 with SHA-256.
    ES256,
    /// RSA PKCS #1 v1.5 with SHA-256.
    RS256,
}

/// A token that we sign ourselves.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Jwt {
    /// How.
    pub algorithm: Algorithm,
    /// The private key, PEM.
    pub key: Template,
    /// Header fields, besides `alg` and `typ`.
    #[serde(default)]
    pub header: BTreeMap<String, Template>,
    /// Claims, besides `iat` and `exp`; read `now` in seconds.
    pub claims: Body,
    /// How long it is good.
    #[serde(default = "quarter_hour")]
    pub lifetime: Span,
}

fn quarter_hour() -> Span {
    Span(Duration::from_secs(15 * 60))
}
