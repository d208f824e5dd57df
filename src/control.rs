//! How commands reach a live desk: a socket in the data directory, and the lock that says who lives there.
//!
//! `moksori search`, `reindex`, `rules publish` and their kin [`ask`] the running process. When nobody
//! listens they take the [`DirLock`] and do the work themselves. Only the directory's owner may connect.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{UnixListener, UnixStream},
    sync::Semaphore,
    time::timeout,
};

/// Name of the socket in the data directory.
pub const SOCKET: &str = "control.sock";

const MAX_REQUEST_BYTES: u64 = 1 << 20;
const MAX_ANSWER_BYTES: u64 = 64 << 20;
const MAX_CONNECTIONS: usize = 16;

/// How long either side waits for the other's line to arrive once it is being sent.
const LINE_TIME: Duration = Duration::from_secs(10);

/// How long a command may take; publishing rules tries them on history.
const COMMAND_TIME: Duration = Duration::from_secs(600);

/// What a command asks of the live desk: one line of JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// The command's name.
    pub command: String,
    /// Its arguments.
    #[serde(default)]
    pub args: serde_json::Value,
}

/// What the live desk says: one line of JSON, `{"ok": ...}` or `{"error": "..."}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Answer {
    /// The command's result.
    Ok(serde_json::Value),
    /// Why it failed, for a person to read.
    Error(String),
}

/// Carries out one request.
pub type Handler = Arc<dyn Fn(Request) -> Pin<Box<dyn Future<Output = Answer> + Send>> + Send + Sync>;

/// Why the live desk could not be reached, or the directory not be locked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another process runs here.
    #[error("another moksori (pid {pid}) uses this data directory")]
    InUse {
        /// Its process id; `unknown` if it has not written it yet.
        pid: String,
    },
    /// A file or the socket failed.
    #[error("{} cannot be used", path.display())]
    Io {
        /// Which one.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The running desk did not answer in time, or not with an answer.
    #[error("the running moksori gave no proper answer")]
    NoAnswer,
}

impl Error {
    /// Whether the same call may succeed later.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Error::InUse { .. } | Error::NoAnswer)
    }

    fn io(path: &Path) -> impl Fn(io::Error) -> Error + '_ {
        move |source| Error::Io { path: path.to_owned(), source }
    }
}

/// While it lives, no other process can lock the same directory. A crash frees it.
#[derive(Debug)]
pub struct DirLock {
    _file: File,
}

/// Takes the data directory for this process.
///
/// # Errors
/// [`Error::InUse`] names the process that has it.
pub fn lock(dir: &Path) -> Result<DirLock, Error> {
    let path = dir.join("lock");
    let open = File::options().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
    let mut file = open.map_err(Error::io(&path))?;
    match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let mut pid = String::new();
            file.read_to_string(&mut pid).map_err(Error::io(&path))?;
            let pid = if pid.trim().is_empty() { "unknown".into() } else { pid.trim().into() };
            return Err(Error::InUse { pid });
        }
        locked => locked.map_err(|errno| Error::io(&path)(errno.into()))?,
    }
    file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id())).map_err(Error::io(&path))?;
    Ok(DirLock { _file: file })
}

/// Answers requests on the socket of `dir` until `shutdown` is done. The caller holds the [`DirLock`], so
/// a socket that is there already is a dead process's and is replaced.
///
/// # Errors
/// When the socket cannot be made.
pub async fn serve(dir: &Path, handler: Handler, shutdown: impl Future<Output = ()>) -> Result<(), Error> {
    let path = dir.join(SOCKET);
    let listener = bind(dir, &path).map_err(Error::io(&path))?;
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    tokio::pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else { continue };
        let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else { continue };
        let handler = Arc::clone(&handler);
        tokio::spawn(async move {
            if let Err(error) = converse(stream, handler).await {
                tracing::debug!(error = &error as &dyn std::error::Error, "a command went away");
            }
            drop(slot);
        });
    }
    fs::remove_file(&path).map_err(Error::io(&path))
}

/// Sends a request to the desk that runs in `dir`; `None` when none runs there.
///
/// # Errors
/// When one runs and does not answer properly, or may not be asked.
pub async fn ask(dir: &Path, request: &Request) -> Result<Option<Answer>, Error> {
    let path = dir.join(SOCKET);
    let mut stream = match UnixStream::connect(&path).await {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => return Ok(None),
        stream => stream.map_err(Error::io(&path))?,
    };
    let exchange = async {
        stream.write_all(&line(request)?).await?;
        read_line(&mut stream, MAX_ANSWER_BYTES).await
    };
    let answer = timeout(COMMAND_TIME + LINE_TIME, exchange).await.map_err(|_late| Error::NoAnswer)?;
    let answer = answer.map_err(Error::io(&path))?;
    serde_json::from_slice(&answer).map(Some).map_err(|_not_json| Error::NoAnswer)
}

/// Binds under another name first: nobody can connect before the mode is set.
fn bind(dir: &Path, path: &Path) -> io::Result<UnixListener> {
    let fresh = dir.join(format!("{SOCKET}.new"));
    match fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&fresh)?;
    fs::set_permissions(&fresh, fs::Permissions::from_mode(0o600))?;
    fs::rename(&fresh, path)?;
    Ok(listener)
}

async fn converse(mut stream: UnixStream, handler: Handler) -> io::Result<()> {
    let request = timeout(LINE_TIME, read_line(&mut stream, MAX_REQUEST_BYTES)).await??;
    let answer = match serde_json::from_slice(&request) {
        Ok(request) => timeout(COMMAND_TIME, handler(request))
            .await
            .unwrap_or_else(|_late| Answer::Error("the command took too long".into())),
        Err(error) => Answer::Error(format!("not a request: {error}")),
    };
    timeout(LINE_TIME, stream.write_all(&line(&answer)?)).await?
}

fn line(value: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    Ok(line)
}

async fn read_line(stream: &mut UnixStream, max: u64) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    BufReader::new(stream).take(max).read_until(b'\n', &mut line).await?;
    if line.pop() == Some(b'\n') { Ok(line) } else { Err(io::ErrorKind::InvalidData.into()) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tempfile::TempDir;
    use tokio::sync::oneshot;

    use super::*;

    fn request(command: &str) -> Request {
        Request { command: command.into(), args: json!({"query": "환불"}) }
    }

    async fn started(dir: &TempDir) -> (oneshot::Sender<()>, tokio::task::JoinHandle<Result<(), Error>>) {
        let handler: Handler = Arc::new(|request| {
            Box::pin(async move {
                match request.command.as_str() {
                    "echo" => Answer::Ok(request.args),
                    command => Answer::Error(format!("no command {command}")),
                }
            })
        });
        let (stop, stopped) = oneshot::channel();
        let dir = dir.path().to_owned();
        let server = tokio::spawn(async move {
            serve(&dir, handler, async {
                let _stop = stopped.await;
            })
            .await
        });
        tokio::task::yield_now().await;
        (stop, server)
    }

    #[tokio::test]
    async fn a_live_desk_answers_and_a_dead_one_does_not() {
        let dir = TempDir::new().unwrap();
        assert_eq!(ask(dir.path(), &request("echo")).await.unwrap(), None, "no socket");
        drop(std::os::unix::net::UnixListener::bind(dir.path().join(SOCKET)).unwrap());
        assert_eq!(ask(dir.path(), &request("echo")).await.unwrap(), None, "a dead process's socket");

        let (stop, server) = started(&dir).await;
        let mode = fs::metadata(dir.path().join(SOCKET)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(ask(dir.path(), &request("echo")).await.unwrap(), Some(Answer::Ok(json!({"query": "환불"}))));
        let refused = ask(dir.path(), &request("dance")).await.unwrap();
        assert_eq!(refused, Some(Answer::Error("no command dance".into())));

        stop.send(()).unwrap();
        server.await.unwrap().unwrap();
        assert_eq!(ask(dir.path(), &request("echo")).await.unwrap(), None);
        assert!(!dir.path().join(SOCKET).exists());
    }

    #[tokio::test]
    async fn nonsense_is_refused_in_words_and_too_much_is_cut_off() {
        let dir = TempDir::new().unwrap();
        let (_stop, _server) = started(&dir).await;
        for (sent, expected) in [
            ("{\"command\": 1}\n", "{\"error\":\"not a request"),
            ("{\"command\":\"echo\",\"extra\":1}\n", "{\"error\":\"not a request"),
            (&format!("{}\n", "x".repeat(2 << 20)), ""),
        ] {
            let mut stream = UnixStream::connect(dir.path().join(SOCKET)).await.unwrap();
            // The server may close before it has read all.
            let _sent = stream.write_all(sent.as_bytes()).await;
            let mut answer = Vec::new();
            let _closed = stream.read_to_end(&mut answer).await;
            let answer = String::from_utf8(answer).unwrap();
            assert!(answer.starts_with(expected) && answer.is_empty() == expected.is_empty(), "{answer}");
        }
        assert!(ask(dir.path(), &request("echo")).await.unwrap().is_some(), "it goes on after that");
    }

    #[test]
    fn a_second_process_is_told_who_has_the_directory() {
        let dir = TempDir::new().unwrap();
        let first = lock(dir.path()).unwrap();
        let expected = format!("another moksori (pid {}) uses this data directory", std::process::id());
        assert_eq!(lock(dir.path()).unwrap_err().to_string(), expected);
        drop(first);
        let _again = lock(dir.path()).unwrap();
        assert!(matches!(lock(&dir.path().join("nowhere")), Err(Error::Io { .. })));
    }
}
