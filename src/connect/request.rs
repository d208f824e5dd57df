//! One HTTP exchange under guard: allowed host, public address, one time limit, one size limit.

use std::time::Duration;

use futures_util::StreamExt;
use reqwest::{
    Client, Method,
    header::{HeaderMap, HeaderName, HeaderValue},
    redirect,
};
use url::Url;

use super::{Error, guard, guard::Guard};

/// A request, ready to go.
#[derive(Clone, Debug)]
pub struct Call {
    /// The method.
    pub method: Method,
    /// The URL with its query.
    pub url: Url,
    /// Headers; those with secrets are marked sensitive.
    pub headers: HeaderMap,
    /// Content type and body.
    pub body: Option<(&'static str, Vec<u8>)>,
}

impl Call {
    /// A GET of `url` without headers.
    pub fn get(url: Url) -> Call {
        Call { method: Method::GET, url, headers: HeaderMap::new(), body: None }
    }

    /// Adds a header whose value no log shows.
    ///
    /// # Errors
    /// When name or value are no header; the value is not repeated.
    pub fn header(&mut self, name: &str, value: &str) -> Result<(), Error> {
        let refused = || Error::Refused(format!("`{name}` is not a header, or its value is not"));
        let mut value = HeaderValue::from_str(value).map_err(|_| refused())?;
        value.set_sensitive(true);
        self.headers.insert(name.parse::<HeaderName>().map_err(|_| refused())?, value);
        Ok(())
    }
}

/// An answer, whole.
#[derive(Clone, Debug)]
pub struct Answer {
    /// What was asked.
    pub url: Url,
    /// The HTTP status.
    pub status: u16,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body, decompressed.
    pub body: Vec<u8>,
}

/// The client of one account.
#[derive(Clone, Debug)]
pub struct Http {
    client: Client,
    guard: Guard,
    timeout: Duration,
    max_bytes: usize,
}

impl Http {
    /// A client that follows no redirect, uses no proxy and looks at every address.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new(guard: Guard, allow_private: bool, timeout: Duration, max_bytes: usize) -> Result<Http, Error> {
        // The first caller installs it; later ones find it there.
        let _installed = rustls::crypto::ring::default_provider().install_default();
        let mut builder = Client::builder()
            .redirect(redirect::Policy::none())
            .no_proxy()
            .referer(false)
            .user_agent(concat!("moksori/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(timeout.min(Duration::from_secs(10)))
            .timeout(timeout);
        if let Some(resolver) = guard::resolver(allow_private) {
            builder = builder.dns_resolver(resolver);
        }
        let client = builder.build().map_err(|error| Error::Refused(format!("no HTTP client: {}", reason(&error))))?;
        Ok(Http { client, guard, timeout, max_bytes })
    }

    /// Sends `call` and reads the whole answer.
    ///
    /// # Errors
    /// [`Error::Unreached`] when nothing was sent; [`Error::Broken`], [`Error::Timeout`] and
    /// [`Error::TooLarge`] when the platform may have acted.
    pub async fn send(&self, call: Call) -> Result<Answer, Error> {
        self.guard.check(&call.url)?;
        let url = call.url.clone();
        let mut request = self.client.request(call.method, call.url).headers(call.headers);
        if let Some((kind, body)) = call.body {
            request = request.header(reqwest::header::CONTENT_TYPE, kind).body(body);
        }
        let response = request.send().await.map_err(|error| self.failure(error))?;
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        let mut body = Vec::new();
        let mut chunks = response.bytes_stream();
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|error| self.failure(error))?;
            // Counted after decompression, chunk by chunk: a bomb is dropped when it passes the limit.
            if body.len() + chunk.len() > self.max_bytes {
                return Err(Error::TooLarge(self.max_bytes));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer { url, status, headers, body })
    }

    fn failure(&self, error: reqwest::Error) -> Error {
        let mut source = std::error::Error::source(&error);
        while let Some(inner) = source {
            if let Some(Error::Refused(why)) = inner.downcast_ref::<Error>() {
                return Error::Refused(why.clone());
            }
            source = inner.source();
        }
        if error.is_connect() {
            return Error::Unreached(reason(&error));
        }
        if error.is_timeout() { Error::Timeout(self.timeout) } else { Error::Broken(reason(&error)) }
    }
}

/// The innermost cause in words; never the URL, which may hold a key.
fn reason(error: &reqwest::Error) -> String {
    let mut innermost: &dyn std::error::Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    if innermost.is::<reqwest::Error>() { "the exchange failed".to_owned() } else { innermost.to_string() }
}
