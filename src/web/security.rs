//! What keeps the console safe: headers, cookies, tokens, passwords, CSRF and the sign-in throttle.
//!
//! Nothing here knows a store. A session's token lives in the browser's cookie; the store keeps only
//! its SHA-256, so a stolen database signs nobody in.

use std::{
    collections::{HashMap, VecDeque},
    sync::{LazyLock, Mutex, PoisonError},
    time::Duration,
};

use argon2::{
    Argon2,
    password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString},
};
use axum::{
    body::{Body, Bytes, to_bytes},
    extract::Request,
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::clock::{Time, random_bytes};

/// What may be loaded and from where: our own files, nothing inline, no picture of a platform.
pub const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
     connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// The largest body that a console request has.
const BODY_LIMIT: usize = 256 * 1024;

/// Tries to sign in that one e-mail and one address each have within [`TRY_WINDOW`].
const TRIES: usize = 10;
const TRY_WINDOW: Duration = Duration::from_secs(60);
/// Names remembered by the throttle; beyond it the oldest are forgotten.
const TRY_NAMES: usize = 10_000;

/// Middleware: the security headers of every answer.
pub async fn headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let out = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // Not `no-referrer`: with it a browser sends `Origin: null` with our own forms.
        (header::REFERRER_POLICY, "same-origin"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        out.insert(name, HeaderValue::from_static(value));
    }
    // Pages carry people's words: no cache keeps them. Static files say otherwise themselves.
    out.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// A secret that a browser or a program holds: 256 random bits, printed as base64url.
#[derive(Clone)]
pub struct Token(String);

impl Token {
    /// A new one.
    pub fn new() -> Token {
        Token(URL_SAFE_NO_PAD.encode(random_bytes::<32>()))
    }

    /// One that somebody sent; `None` when it cannot be one of ours.
    pub fn parse(text: &str) -> Option<Token> {
        let ours = text.len() == 43 && URL_SAFE_NO_PAD.decode(text).is_ok_and(|bytes| bytes.len() == 32);
        ours.then(|| Token(text.into()))
    }

    /// What is sent to its holder, once.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What the store keeps.
    pub fn stored(&self) -> [u8; 32] {
        Sha256::digest(self.0.as_bytes()).into()
    }

    /// The token that forms of this session carry; it tells nothing about the session's own.
    pub fn csrf(&self) -> String {
        let digest = Sha256::new().chain_update(b"csrf\0").chain_update(self.0.as_bytes()).finalize();
        URL_SAFE_NO_PAD.encode(digest)
    }
}

impl Default for Token {
    fn default() -> Token {
        Token::new()
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[redacted]")
    }
}

/// How cookies are written: with TLS they are bound to this host and never sent in the clear.
#[derive(Clone, Copy, Debug)]
pub struct Cookies {
    /// The console is reached by https.
    pub tls: bool,
}

impl Cookies {
    /// Name of the session's cookie.
    pub fn session_name(self) -> &'static str {
        if self.tls { "__Host-moksori" } else { "moksori" }
    }

    /// The session that a request carries.
    pub fn session(self, headers: &HeaderMap) -> Option<Token> {
        Token::parse(cookie(headers, self.session_name())?)
    }

    /// `Set-Cookie` that starts a session of `lasts`.
    pub fn start(self, token: &Token, lasts: Duration) -> HeaderValue {
        self.set(self.session_name(), token.reveal(), lasts, true)
    }

    /// `Set-Cookie` that ends the session.
    pub fn end(self) -> HeaderValue {
        self.set(self.session_name(), "", Duration::ZERO, true)
    }

    /// `Set-Cookie` of a taste (`lang`, `theme`) that lasts a year. `value` must be one of our codes.
    pub fn prefer(self, name: &str, value: &str) -> HeaderValue {
        self.set(name, value, Duration::from_secs(365 * 86_400), false)
    }

    fn set(self, name: &str, value: &str, lasts: Duration, secret: bool) -> HeaderValue {
        let hidden = if secret { "; HttpOnly" } else { "" };
        let secure = if self.tls { "; Secure" } else { "" };
        let text = format!("{name}={value}; Path=/; Max-Age={}; SameSite=Lax{hidden}{secure}", lasts.as_secs());
        HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static(""))
    }
}

/// The value of one cookie of a request.
pub fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok()).flat_map(|line| line.split(';')).find_map(
        |pair| {
            let (key, value) = pair.trim().split_once('=')?;
            (key == name).then_some(value)
        },
    )
}

/// Middleware: a request that may change something comes from a page of ours and carries its token.
///
/// The token is the header `x-csrf-token` or the form field `csrf`. Without a session (signing in)
/// the origin alone decides. A refused request gets a bare 403 with [`Refused`] in its extensions,
/// for the layer that draws error pages.
pub async fn guard(cookies: Cookies, request: Request, next: Next) -> Response {
    if matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS) {
        return next.run(request).await;
    }
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, BODY_LIMIT).await else { return StatusCode::PAYLOAD_TOO_LARGE.into_response() };
    let mut response = if trusted(cookies, &parts.headers, &body) {
        next.run(Request::from_parts(parts, Body::from(body.clone()))).await
    } else {
        let mut response = StatusCode::FORBIDDEN.into_response();
        response.extensions_mut().insert(Refused);
        response
    };
    if response.status().is_client_error() || response.status().is_server_error() {
        response.extensions_mut().insert(Sent(body));
    }
    response
}

/// Did a page of ours send this?
fn trusted(cookies: Cookies, headers: &HeaderMap, body: &[u8]) -> bool {
    if !same_origin(headers) {
        return false;
    }
    let Some(session) = cookies.session(headers) else { return true };
    let expected = session.csrf();
    let fits = |given: &str| bool::from(given.as_bytes().ct_eq(expected.as_bytes()));
    if let Some(given) = headers.get("x-csrf-token") {
        return given.to_str().is_ok_and(fits);
    }
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.starts_with("application/x-www-form-urlencoded")
        && url::form_urlencoded::parse(body).find(|(name, _)| name == "csrf").is_some_and(|(_, given)| fits(&given))
}

/// In the extensions of an answer that [`guard`] gave.
#[derive(Clone, Copy, Debug)]
pub struct Refused;

/// In the extensions of an answer that says that nothing was done: the body that came, for whoever must not lose
/// what they typed.
#[derive(Clone, Debug)]
pub struct Sent(Bytes);

impl Sent {
    /// What a person typed into its form: never a password, a token or a choice.
    pub fn typed(&self) -> Vec<String> {
        let fields = url::form_urlencoded::parse(&self.0);
        let typed = fields.filter(|(name, text)| matches!(&**name, "text" | "reason" | "q") && !text.trim().is_empty());
        typed.map(|(_, text)| text.into_owned()).collect()
    }
}

/// The browser says that a page of this origin sent it; a program that says neither has no cookies to abuse.
fn same_origin(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).map(|value: &HeaderValue| value.to_str().unwrap_or("?"));
    if text(HeaderName::from_static("sec-fetch-site")).is_some_and(|site| site != "same-origin" && site != "none") {
        return false;
    }
    match text(header::ORIGIN) {
        None => true,
        Some(origin) => {
            let host = text(header::HOST).unwrap_or_default();
            origin.split_once("://").is_some_and(|(_, authority)| authority.eq_ignore_ascii_case(host))
        }
    }
}

/// A path of this site to go to after signing in; "/" for anything that might lead elsewhere.
pub fn local_path(next: &str) -> &str {
    let leads_away =
        !next.starts_with('/') || next[1..].starts_with(['/', '\\']) || next.contains(|c: char| c.is_control() || c == '\\');
    if leads_away { "/" } else { next }
}

/// argon2id of a password, for the store. Takes tens of milliseconds: call it off the async threads.
///
/// # Errors
/// When the password is longer than the algorithm takes.
pub fn hash_password(password: &str) -> Result<String, argon2::password_hash::Error> {
    let salt = SaltString::encode_b64(&random_bytes::<16>())?;
    Ok(Argon2::default().hash_password(password.as_bytes(), &salt)?.to_string())
}

/// Is this the password? Without a stored hash (nobody has that e-mail) it takes just as long and
/// says no. Call it off the async threads.
pub fn verify_password(stored: Option<&str>, password: &str) -> bool {
    static NOBODY: LazyLock<String> = LazyLock::new(|| hash_password(Token::new().reveal()).unwrap_or_default());
    let Ok(hash) = PasswordHash::new(stored.unwrap_or(&NOBODY)) else { return false };
    Argon2::default().verify_password(password.as_bytes(), &hash).is_ok() && stored.is_some()
}

/// Counts the tries to sign in, by e-mail and by address.
#[derive(Debug, Default)]
pub struct Throttle {
    tries: Mutex<HashMap<String, VecDeque<Time>>>,
}

impl Throttle {
    /// Counts one try.
    ///
    /// # Errors
    /// How long to wait, when the e-mail or the address has had its tries.
    pub fn admit(&self, email: &str, address: &str, now: Time) -> Result<(), Duration> {
        let mut tries = self.tries.lock().unwrap_or_else(PoisonError::into_inner);
        let start = now.minus(TRY_WINDOW);
        if tries.len() >= TRY_NAMES {
            tries.retain(|_, times| times.back().is_some_and(|last| *last > start));
        }
        let keys = [format!("e:{}", email.trim().to_lowercase()), format!("a:{address}")];
        for key in &keys {
            let Some(times) = tries.get_mut(key) else { continue };
            while times.front().is_some_and(|first| *first <= start) {
                times.pop_front();
            }
            if times.len() >= TRIES {
                return Err(times.front().map_or(TRY_WINDOW, |first| first.plus(TRY_WINDOW).since(now)));
            }
        }
        for key in keys {
            tries.entry(key).or_default().push_back(now);
        }
        Ok(())
    }

    /// Forgets the tries of an e-mail that has signed in.
    pub fn clear(&self, email: &str) {
        let mut tries = self.tries.lock().unwrap_or_else(PoisonError::into_inner);
        tries.remove(&format!("e:{}", email.trim().to_lowercase()));
    }
}

#[cfg(test)]
mod tests;
