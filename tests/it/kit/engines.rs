//! What Kafka and PostgreSQL have in common here: a script of this repository runs the server, once per run of
//! the tests, and ends it with them.
//!
//! The script reads its standard input, whose other end this process holds and never closes: however this
//! process ends, the script sees it, kills the server and deletes its files (`scripts/with-parent.sh`).

use std::{
    env, fs,
    io::{self, Write},
    net::TcpListener,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard},
    thread,
    time::Duration,
};

use moksori::clock::{Clock, random_bytes};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};

/// How long a server may take until it answers, on a machine with much else to do.
const PATIENCE: Duration = Duration::from_secs(90);

/// A server of this run's own, on 127.0.0.1.
pub struct Server {
    script: PathBuf,
    pub dir: PathBuf,
    pub port: u16,
    running: Mutex<Option<(Child, ChildStdin)>>,
    users: RwLock<()>,
}

/// Held by a test that a fault in the server would disturb.
pub struct Shared<'a>(#[expect(dead_code, reason = "what counts is when it is dropped")] RwLockReadGuard<'a, ()>);

/// Held by a test that kills or stops the server.
pub struct Alone<'a>(#[expect(dead_code, reason = "what counts is when it is dropped")] RwLockWriteGuard<'a, ()>);

impl Server {
    /// A server with `ports` free ports in a row, not started; or why this machine cannot have it, which
    /// `scripts/NAME.sh ASK` says.
    pub fn new(name: &str, ask: &str, ports: u16) -> Result<Server, String> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("scripts/{name}.sh"));
        let answer = Command::new(&script).arg(ask).output().map_err(|error| format!("{}: {error}", script.display()))?;
        if !answer.status.success() {
            return Err(String::from_utf8_lossy(&answer.stderr).trim().to_owned());
        }
        let port = free_ports(ports);
        let dir = env::temp_dir().join(format!("moksori-{name}-{}-{port}", std::process::id()));
        Ok(Server { script, dir, port, running: Mutex::new(None), users: RwLock::new(()) })
    }

    /// Starts it and waits until `answers`, which says what is still wrong.
    pub fn start(&self, mut answers: impl FnMut() -> Result<(), String>) {
        let mut running = self.running.lock().unwrap();
        assert!(running.is_none(), "{} runs already", self.script.display());
        let mut command = Command::new(&self.script);
        command.args(["run", "--with-parent", "--port", &self.port.to_string(), "--dir"]).arg(&self.dir);
        // A group of its own: Ctrl-C in a terminal is for the tests, and the server follows them.
        let mut child = command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let stdin = child.stdin.take().unwrap();
        let began = Clock::System.now();
        while let Err(why) = answers() {
            let ended = child.try_wait().unwrap();
            if ended.is_some() || Clock::System.now().since(began) > PATIENCE {
                let log = fs::read_to_string(self.dir.join("log.txt")).unwrap_or_default();
                panic!("{} does not answer ({why}); it ended: {ended:?}; its log:\n{log}", self.script.display());
            }
            thread::sleep(Duration::from_millis(50));
        }
        *running = Some((child, stdin));
    }

    /// The server's process, while it runs.
    pub fn pid(&self) -> Pid {
        fs::read_to_string(self.dir.join("pid")).ok().and_then(|text| parse_pid(text.trim())).expect("it was started")
    }

    /// Whether it was started and neither killed nor stopped since.
    pub fn runs(&self) -> bool {
        self.running.lock().unwrap().is_some()
    }

    /// Sends a signal to the server and to the processes that it has started, and waits until it has ended.
    /// Nothing happens if it does not run.
    pub fn end(&self, signal: Signal, children: bool) {
        let Some((mut child, stdin)) = self.running.lock().unwrap().take() else { return };
        let pid = self.pid();
        let mut victims = vec![pid];
        if children {
            victims.extend(children_of(pid));
        }
        for victim in &victims {
            // One may have ended by itself just now.
            kill_process(*victim, signal).ok();
        }
        let began = Clock::System.now();
        while child.try_wait().unwrap().is_none() || victims.iter().any(|victim| alive(*victim)) {
            assert!(Clock::System.now().since(began) < PATIENCE, "{} does not end", self.script.display());
            thread::sleep(Duration::from_millis(20));
        }
        // Closed only now, or the script would take it for the end of the tests and delete the files.
        drop(stdin);
    }

    /// Waits until no test is about to kill or stop the server, and keeps them waiting.
    pub fn shared(&self) -> Shared<'_> {
        Shared(self.users.read().unwrap_or_else(|poisoned| poisoned.into_inner()))
    }

    /// Waits until no other test uses the server, as far as they say so, and keeps them waiting.
    pub fn alone(&self) -> Alone<'_> {
        Alone(self.users.write().unwrap_or_else(|poisoned| poisoned.into_inner()))
    }
}

/// Hands out the engine, or says aloud that the test of `what` is skipped.
pub fn have<'e, E>(what: &str, engine: &'e Result<E, String>) -> Option<&'e E> {
    let ci = env::var("CI").as_deref() == Ok("true");
    engine.as_ref().map_err(|why| skip(what, why, ci)).ok()
}

/// Nothing is skipped in CI.
fn skip(what: &str, why: &str, ci: bool) {
    assert!(!ci, "CI tests everything, but not {what}: {why}");
    say_skipped(what, why);
}

/// Says so, also in CI: for what runs only when somebody asks for it.
pub fn say_skipped(what: &str, why: &str) {
    // Past the test harness, which shows what a passing test prints to nobody.
    let mut terminal = io::stderr();
    writeln!(terminal, "SKIPPED: {what}: {why}").unwrap();
}

/// The first of `count` free ports in a row. They are below those that the system gives to outgoing
/// connections: a client that keeps calling a dead server at one of those may get through to itself.
fn free_ports(count: u16) -> u16 {
    for _ in 0..1_000 {
        let first = 16_000 + u16::from_le_bytes(random_bytes()) % 16_000;
        let free = (first..first + count).map(|port| TcpListener::bind(("127.0.0.1", port))).collect::<Result<Vec<_>, _>>();
        if free.is_ok() {
            return first;
        }
    }
    panic!("no {count} free ports in a row");
}

fn parse_pid(text: &str) -> Option<Pid> {
    Pid::from_raw(text.parse().ok()?)
}

fn children_of(pid: Pid) -> Vec<Pid> {
    let number = pid.as_raw_nonzero();
    let text = fs::read_to_string(format!("/proc/{number}/task/{number}/children")).unwrap_or_default();
    text.split_whitespace().filter_map(parse_pid).collect()
}

/// Whether a process is there and no zombie.
fn alive(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
    let zombie = stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('Z'));
    test_kill_process(pid).is_ok() && !zombie
}

mod tests {
    use std::{
        io::{BufRead, BufReader},
        sync::OnceLock,
    };

    use super::*;
    use crate::kit::{kafka::Kafka, postgres::Postgres};

    /// Set for a run of this binary that only starts servers and says so.
    const VICTIM: &str = "MOKSORI_VICTIM_OF_A_TEST";

    /// The victim's part of the test below.
    #[test]
    fn servers_that_wait_for_their_tests_to_die() {
        if env::var_os(VICTIM).is_none() {
            return;
        }
        let postgres = Postgres::start().unwrap();
        let kafka = Kafka::start();
        let servers = [Some(&postgres.server), kafka.as_ref().ok().map(|kafka| &kafka.server)];
        for server in servers.into_iter().flatten() {
            println!("server {} {}", server.pid().as_raw_nonzero(), server.dir.display());
        }
        println!("ready");
        loop {
            thread::park();
        }
    }

    #[test]
    fn servers_end_with_their_tests_and_leave_no_files() {
        static THERE: OnceLock<Result<Server, String>> = OnceLock::new();
        if have("that servers end with their tests", THERE.get_or_init(|| Server::new("postgres", "check", 1))).is_none() {
            return;
        }
        let mut victim = Command::new(env::current_exe().unwrap())
            .args(["--exact", "--nocapture", "kit::engines::tests::servers_that_wait_for_their_tests_to_die"])
            .env(VICTIM, "1")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(victim.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut servers = Vec::new();
        for line in lines.take_while(|line| line != "ready") {
            if let Some((pid, dir)) = line.rsplit_once("server ").and_then(|(_, server)| server.split_once(' ')) {
                let pid = parse_pid(pid).unwrap();
                let mut all = children_of(pid);
                all.push(pid);
                assert!(all.iter().all(|pid| alive(*pid)) && Path::new(dir).exists());
                servers.push((all, PathBuf::from(dir)));
            }
        }
        assert!(!servers.is_empty());
        victim.kill().unwrap();
        victim.wait().unwrap();
        let died = Clock::System.now();
        for (pids, dir) in servers {
            while pids.iter().any(|pid| alive(*pid)) || dir.exists() {
                assert!(Clock::System.now().since(died) < Duration::from_secs(10), "{} is still there", dir.display());
                thread::sleep(Duration::from_millis(20));
            }
        }
    }

    #[test]
    #[should_panic(expected = "CI tests everything, but not the moon: it is far away")]
    fn ci_skips_nothing() {
        skip("the moon", "it is far away", true);
    }
}
