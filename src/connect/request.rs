//! One HTTP exchange under guard: allowed host, public address, one time limit, one size limit.

use std::{collections::BTreeMap, sync::OnceLock, time::Duration};

use futures_util::StreamExt;
use minijinja::Value;
use reqwest::{
    Client, ClientBuilder, Method, Response,
    header::{self, HeaderMap, HeaderName, HeaderValue},
    redirect,
};
use url::Url;

use super::{Error, body::Body, guard, guard::Guard, template::Template};

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

impl Call {
    /// Adds headers, and a body: JSON, else a form whose empty fields are left out.
    ///
    /// # Errors
    /// When a template's value is missing, or is no header.
    pub(super) fn fill(
        &mut self,
        headers: &BTreeMap<String, Template>,
        form: &BTreeMap<String, Template>,
        json: Option<&Body>,
        values: &Value,
    ) -> Result<(), Error> {
        for (name, template) in headers {
            self.header(name, &template.render(values)?)?;
        }
        self.body = Some(match json {
            Some(body) => ("application/json", body.render(values)?.to_string().into_bytes()),
            None => {
                let mut pairs = url::form_urlencoded::Serializer::new(String::new());
                for (name, template) in form {
                    let value = template.render(values)?;
                    if !value.is_empty() {
                        pairs.append_pair(name, &value);
                    }
                }
                ("application/x-www-form-urlencoded", pairs.finish().into_bytes())
            }
        })
        .filter(|_| self.method != Method::GET);
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

/// What a platform wants to hear to say that nothing has changed, by URL. It counts only once the posts of that
/// answer are durable: else a failure would leave them out for good.
#[derive(Debug, Default)]
pub(super) struct Validators {
    known: BTreeMap<Url, HeaderMap>,
    fresh: BTreeMap<Url, HeaderMap>,
}

impl Validators {
    /// Most URLs that are remembered.
    const MOST: usize = 64;

    /// Makes a request conditional.
    pub fn put(&self, call: &mut Call) {
        for (name, value) in self.known.get(&call.url).into_iter().flatten() {
            call.headers.insert(name, value.clone());
        }
    }

    /// Remembers what an answer said, until the walk is over.
    pub fn learn(&mut self, answer: &Answer) {
        let pairs = [(header::ETAG, header::IF_NONE_MATCH), (header::LAST_MODIFIED, header::IF_MODIFIED_SINCE)];
        let found = pairs.into_iter().filter_map(|(said, asked)| Some((asked, answer.headers.get(said)?.clone())));
        self.fresh.insert(answer.url.clone(), found.collect());
    }

    /// The walk is over: what was learned counts if it went well.
    pub fn end(&mut self, well: bool) {
        let fresh = std::mem::take(&mut self.fresh);
        if well && self.known.len() + fresh.len() <= Validators::MOST {
            self.known.extend(fresh);
        } else if well {
            self.known = fresh;
        }
    }
}

/// The client of one account.
#[derive(Clone, Debug)]
pub struct Http {
    client: Client,
    /// Waits as long as a stream stays open.
    patient: OnceLock<Client>,
    guard: Guard,
    allow_private: bool,
    timeout: Duration,
    max_bytes: usize,
}

impl Http {
    /// The client of an account.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new(guard: Guard, allow_private: bool, timeout: Duration, max_bytes: usize) -> Result<Http, Error> {
        let client = client(allow_private, timeout).timeout(timeout).build();
        let client = client.map_err(|error| Error::Refused(format!("no HTTP client: {}", reason(&error))))?;
        Ok(Http { client, patient: OnceLock::new(), guard, allow_private, timeout, max_bytes })
    }

    /// Longest answer and longest message.
    pub fn max_bytes(&self) -> usize {
        self.max_bytes
    }

    /// Sends `call` and reads only the head of the answer: its body may never end.
    ///
    /// # Errors
    /// As for [`Http::send`].
    pub async fn open(&self, call: Call) -> Result<Response, Error> {
        let mut call = call;
        let scheme = match call.url.scheme() {
            "wss" => "https",
            "ws" => "http",
            _ => "",
        };
        if !scheme.is_empty() {
            let whole = call.url.as_str().split_once(':').map_or(String::new(), |(_, rest)| format!("{scheme}:{rest}"));
            call.url = Url::parse(&whole).map_err(|error| Error::Refused(format!("not a URL: {error}")))?;
        }
        self.guard.check(&call.url)?;
        let client = match self.patient.get() {
            Some(client) => client,
            None => {
                let made = client(self.allow_private, self.timeout).http1_only().build();
                let made = made.map_err(|error| Error::Refused(format!("no HTTP client: {}", reason(&error))))?;
                self.patient.get_or_init(|| made)
            }
        };
        let request = client.request(call.method, call.url).headers(call.headers).send();
        let response = tokio::time::timeout(self.timeout, request).await.map_err(|_| Error::Timeout(self.timeout))?;
        response.map_err(|error| self.failure(error))
    }

    /// Sends `call` and reads the whole answer.
    ///
    /// # Errors
    /// [`Error::Unreached`] when nothing was sent; [`Error::Broken`], [`Error::Timeout`] and
    /// [`Error::TooLarge`] when the platform may have acted.
    pub async fn send(&self, call: Call) -> Result<Answer, Error> {
        self.guard.check(&call.url)?;
        let mut request = self.client.request(call.method, call.url).headers(call.headers);
        if let Some((kind, body)) = call.body {
            request = request.header(reqwest::header::CONTENT_TYPE, kind).body(body);
        }
        let response = request.send().await.map_err(|error| self.failure(error))?;
        self.read(response).await
    }

    /// Reads the whole of an answer.
    ///
    /// # Errors
    /// As for [`Http::send`].
    pub async fn read(&self, response: Response) -> Result<Answer, Error> {
        tokio::time::timeout(self.timeout, self.read_all(response)).await.map_err(|_| Error::Timeout(self.timeout))?
    }

    async fn read_all(&self, response: Response) -> Result<Answer, Error> {
        let url = response.url().clone();
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

/// A client that follows no redirect, uses no proxy and looks at every address.
fn client(allow_private: bool, timeout: Duration) -> ClientBuilder {
    // The first caller installs it; later ones find it there.
    let _installed = rustls::crypto::ring::default_provider().install_default();
    let builder = Client::builder()
        .redirect(redirect::Policy::none())
        .no_proxy()
        .referer(false)
        .user_agent(concat!("moksori/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(timeout.min(Duration::from_secs(10)));
    match guard::resolver(allow_private) {
        Some(resolver) => builder.dns_resolver(resolver),
        None => builder,
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
