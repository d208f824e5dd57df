//! A line between the browser and the app that a test can cut, and that can answer in the app's place.
//!
//! It carries one request a connection. `Host` passes unchanged, so the browser's own origin stays its origin.

use std::sync::{Arc, Mutex};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy},
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// What the line does, and what went over it.
struct Line {
    /// Answers that replace the app's: method and path begin so, then the whole answer.
    instead: Mutex<Vec<(&'static str, &'static str)>>,
    /// `Last-Event-ID` of each stream that was asked for.
    streams: Mutex<Vec<Option<String>>>,
    /// How many of them run.
    running: watch::Sender<usize>,
    cut: watch::Sender<bool>,
    held: watch::Sender<bool>,
}

/// The line; new windows of a test go to [`Proxy::url`].
pub struct Proxy {
    pub url: String,
    line: Arc<Line>,
}

impl Proxy {
    /// Starts a line to `app`.
    pub async fn start(app: std::net::SocketAddr) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let line = Line {
            instead: Mutex::default(),
            streams: Mutex::default(),
            running: watch::Sender::new(0),
            cut: watch::Sender::new(false),
            held: watch::Sender::new(false),
        };
        let line = Arc::new(line);
        let shared = Arc::clone(&line);
        tokio::spawn(async move {
            while let Ok((browser, _)) = listener.accept().await {
                tokio::spawn(carry(browser, app, Arc::clone(&shared)));
            }
        });
        Proxy { url, line }
    }

    /// The next request that begins with `start` gets `answer` and never reaches the app.
    pub fn answer_once(&self, start: &'static str, answer: &'static str) {
        self.line.instead.lock().unwrap().push((start, answer));
    }

    /// While cut, running streams have ended and new ones are hung up on.
    pub async fn cut_streams(&self, cut: bool) {
        self.line.cut.send_replace(cut);
        if cut {
            drop(self.line.running.subscribe().wait_for(|running| *running == 0).await);
        }
    }

    /// While held, what is posted reaches the app and its answer waits.
    pub fn hold_answers(&self, held: bool) {
        self.line.held.send_replace(held);
    }

    /// `Last-Event-ID` of each stream that was asked for so far.
    pub fn streams(&self) -> Vec<Option<String>> {
        self.line.streams.lock().unwrap().clone()
    }
}

/// Counts a stream while it runs.
struct Running<'a>(&'a watch::Sender<usize>);

impl<'a> Running<'a> {
    fn new(running: &'a watch::Sender<usize>) -> Running<'a> {
        running.send_modify(|running| *running += 1);
        Running(running)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|running| *running -= 1);
    }
}

async fn carry(mut browser: TcpStream, app: std::net::SocketAddr, line: Arc<Line>) -> std::io::Result<()> {
    let mut request = Vec::new();
    let end = loop {
        if browser.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
        if let Some(end) = request.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
    };
    let head = String::from_utf8_lossy(&request[..end]).into_owned();
    let header = |name: &str| {
        head.lines()
            .filter_map(|text| text.split_once(": "))
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    };
    let length: usize = header("content-length").map_or(0, |length| length.parse().unwrap());
    while request.len() < end + 4 + length {
        browser.read_buf(&mut request).await?;
    }
    let stream = head.starts_with("GET /live?");
    if stream {
        line.streams.lock().unwrap().push(header("last-event-id").map(str::to_owned));
    }
    let instead = {
        let mut instead = line.instead.lock().unwrap();
        instead.iter().position(|(start, _)| head.starts_with(start)).map(|at| instead.remove(at).1)
    };
    if let Some(answer) = instead {
        return browser.write_all(answer.as_bytes()).await;
    }
    let mut cut = line.cut.subscribe();
    let _running = stream.then(|| Running::new(&line.running));
    if stream && *cut.borrow() {
        return Ok(());
    }
    let lines = head.lines().filter(|text| !text.to_lowercase().starts_with("connection:"));
    let head: String = lines.map(|text| format!("{text}\r\n")).collect();
    let mut app = TcpStream::connect(app).await?;
    app.write_all(format!("{head}Connection: close\r\n\r\n").as_bytes()).await?;
    app.write_all(&request[end + 4..]).await?;
    if head.starts_with("POST ") {
        drop(line.held.subscribe().wait_for(|held| !held).await);
    }
    tokio::select! {
        copied = copy(&mut app, &mut browser) => drop(copied?),
        _cut = cut.wait_for(|cut| stream && *cut) => {}
    }
    Ok(())
}
