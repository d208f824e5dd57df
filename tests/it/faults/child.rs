//! The process to which something happens: how it is started, asked, killed and ended.

use std::{
    fs::{self, File},
    net::SocketAddr,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Child as Process, Command, ExitStatus, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use moksori::clock::{Clock, Time};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::shop::{PATIENCE, Shop};

/// Logs are numbered, for a test may run several processes.
static STARTED: AtomicUsize = AtomicUsize::new(0);

/// How a process is started.
#[derive(Default)]
pub struct Start<'a> {
    /// A stage and the pass of one of its points at which it dies by itself.
    pub crash: Option<(&'a str, u64)>,
    pub environment: Vec<(String, String)>,
    /// What it does, of what there is to do; everything otherwise.
    pub roles: Option<&'a str>,
    /// Its log has no room for a single line.
    pub mute: bool,
}

/// A running desk of its own.
pub struct Child {
    process: Process,
    log: PathBuf,
    started_at: Time,
    address: Option<SocketAddr>,
}

impl Child {
    /// Starts the program.
    pub fn start(config: &Path, start: &Start<'_>) -> Child {
        let log = config.with_extension(format!("{}.log", STARTED.fetch_add(1, Ordering::Relaxed)));
        let mut command = Command::new(env!("CARGO_BIN_EXE_moksori"));
        command.args(["run", "--config"]).arg(config).env("MOKSORI_LOG", "info").env_remove("MOKSORI_CRASH_AT");
        if let Some((stage, pass)) = start.crash {
            command.env("MOKSORI_CRASH_AT", format!("{stage}:{pass}"));
        }
        command.args(start.roles.iter().flat_map(|roles| ["--roles", roles]));
        command.envs(start.environment.iter().cloned());
        let started_at = Clock::System.now();
        let file = File::create(&log).unwrap();
        let stderr = if start.mute { File::options().write(true).open("/dev/full").unwrap() } else { file };
        let process = command.stdout(Stdio::null()).stderr(stderr).spawn().unwrap();
        Child { process, log, started_at, address: None }
    }

    /// For how long it has run.
    pub fn age(&self) -> Duration {
        Clock::System.now().since(self.started_at)
    }

    /// Whether it was seen to have started.
    pub fn is_up(&self) -> bool {
        self.address.is_some()
    }

    /// Whether it has said that it started.
    pub fn up(&mut self) -> bool {
        if self.address.is_none() {
            let log = self.log();
            let line = log.lines().find(|line| line.contains("\"message\":\"started\""));
            self.address = line.map(|line| {
                let line: Value = serde_json::from_str(line).unwrap();
                let address = line["address"].as_str().or(line["fields"]["address"].as_str());
                address.unwrap_or_else(|| panic!("no address in {line}")).parse().unwrap()
            });
        }
        self.address.is_some()
    }

    /// Its log.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// The end of its log, for who reads why a test failed.
    pub fn tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }

    /// What it had to warn of.
    pub fn warnings(&self) -> Vec<String> {
        let log = self.log();
        let lines = log.lines().filter(|line| line.contains("\"WARN\"") || line.contains("\"ERROR\""));
        lines.map(str::to_owned).collect()
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.process.try_wait().unwrap()
    }

    /// Kills it with signal 9.
    pub fn kill(&mut self) -> ExitStatus {
        self.process.kill().unwrap();
        self.process.wait().unwrap()
    }

    /// Asks it to end, and says how it did and how long it took.
    pub async fn terminate(mut self) -> (ExitStatus, Duration) {
        let asked_at = Clock::System.now();
        kill_process(Pid::from_child(&self.process), Signal::TERM).unwrap();
        loop {
            let took = Clock::System.now().since(asked_at);
            match self.ended() {
                Some(status) => return (status, took),
                None if took > Duration::from_secs(20) => panic!("it does not end\n{}", self.tail()),
                None => Clock::System.sleep(Duration::from_millis(5)).await,
            }
        }
    }

    /// The most memory that it ever had is from now on the most that it has had since.
    pub fn forget_peak(&self) {
        fs::write(format!("/proc/{}/clear_refs", self.process.id()), "5").unwrap();
    }

    /// A line of `/proc/PID/status` in KiB: `VmRSS` is the memory now, `VmHWM` the most it ever was.
    pub fn memory_kib(&self, line: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find_map(|known| known.strip_prefix(line)?.strip_prefix(':')).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// One request to its console; 0 when it does not answer.
    pub async fn http(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        self.request(method, path, headers, body).await.unwrap_or_else(|error| Answer {
            status: 0,
            head: String::new(),
            body: error.to_string(),
        })
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.http("GET", path, &[], "").await
    }

    async fn request(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> std::io::Result<Answer> {
        let address = self.address.expect("it has started");
        let mut stream = TcpStream::connect(address).await?;
        let mut text = format!("{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n");
        for (name, value) in headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str(&format!("content-length: {}\r\n\r\n{body}", body.len()));
        stream.write_all(text.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        let answer = String::from_utf8_lossy(&answer);
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        Ok(Answer { status, head: head.to_owned(), body: body.to_owned() })
    }

    /// The sum of a metric over its labels.
    pub async fn metric(&self, name: &str) -> Option<f64> {
        let answer = self.get("/metrics").await;
        let lines = answer.body.lines().filter(|line| line.split([' ', '{']).next() == Some(name));
        let values: Vec<f64> = lines.filter_map(|line| line.rsplit(' ').next()?.parse().ok()).collect();
        (!values.is_empty()).then(|| values.iter().sum())
    }

    /// Hires a person and signs them in.
    pub async fn sign_in(&self, shop: &Shop) -> Person {
        let teams = ["shop-cs:lead", "shop-orders:lead", "shop-product:lead"];
        let args = json!({ "name": "KG", "email": "kg@example.com", "initials": "KG", "teams": teams, "password": null });
        // The socket for commands may come a moment after the console.
        let answer = loop {
            match shop.command("user add", args.clone()).await {
                Ok(answer) => break answer,
                Err(why) => assert!(why == "nobody is there" && self.age() < PATIENCE, "{why}"),
            }
            Clock::System.sleep(Duration::from_millis(10)).await;
        };
        let token = answer["link"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
        let form = [("content-type", "application/x-www-form-urlencoded"), ("sec-fetch-site", "same-origin")];
        let origin = format!("http://{}", self.address.unwrap());
        let headers = [form[0], form[1], ("origin", origin.as_str())];
        let answer = self.http("POST", "/link", &headers, &format!("token={token}")).await;
        let cookie = answer.head.lines().find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case("set-cookie").then(|| value.split(';').next().unwrap().to_owned())
        });
        let cookie = cookie.unwrap_or_else(|| panic!("{answer:?}"));
        let session = self.http("GET", "/api/v1/session", &[("cookie", &cookie)], "").await;
        let session: Value = serde_json::from_str(&session.body).unwrap();
        Person { cookie, csrf: session["csrf"].as_str().unwrap().to_owned() }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // It may be dead already.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// What the console answered.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

/// Somebody who is signed in; sessions outlive processes.
pub struct Person {
    cookie: String,
    csrf: String,
}

impl Person {
    pub async fn page(&self, child: &Child, path: &str) -> Answer {
        child.http("GET", path, &[("cookie", &self.cookie)], "").await
    }

    /// Writes a note on a case; what was answered with 200 must be there for good.
    pub async fn note(&self, child: &Child, case: i64, text: &str) -> Answer {
        let headers = [
            ("cookie", self.cookie.as_str()),
            ("x-csrf-token", self.csrf.as_str()),
            ("content-type", "application/json"),
            ("sec-fetch-site", "same-origin"),
        ];
        let body = json!({ "text": text }).to_string();
        child.http("POST", &format!("/api/v1/cases/{case}/note"), &headers, &body).await
    }
}

/// The signal that ended it.
pub fn signal(status: ExitStatus) -> Option<i32> {
    status.signal()
}
