//! The process that is killed, and what its wreck looks like.

use std::{
    fs::{self, File},
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Child as Process, Command, ExitStatus, Stdio},
    time::Duration,
};

use moksori::{
    bus::{self, Bus},
    clock::{Clock, Time},
    config::Config,
    pipeline::CONSUMER,
    queue::{self, Store},
};
use prometheus::Registry;
use rustix::process::{Pid, Signal, kill_process};

/// A running desk of its own.
pub struct Child {
    process: Process,
    log: PathBuf,
    started_at: Time,
    up: bool,
}

impl Child {
    /// Starts the program; `crash` is a stage and the pass of one of its points at which it dies by itself.
    pub fn start(config: &Path, crash: Option<(&str, u64)>) -> Child {
        let log = config.with_extension("log");
        let mut command = Command::new(env!("CARGO_BIN_EXE_moksori"));
        command.args(["run", "--config"]).arg(config).env("MOKSORI_LOG", "info").env_remove("MOKSORI_CRASH_AT");
        if let Some((stage, pass)) = crash {
            command.env("MOKSORI_CRASH_AT", format!("{stage}:{pass}"));
        }
        let process = command.stdout(Stdio::null()).stderr(File::create(&log).unwrap()).spawn().unwrap();
        Child { process, log, started_at: Clock::System.now(), up: false }
    }

    /// For how long it has run.
    pub fn age(&self) -> Duration {
        Clock::System.now().since(self.started_at)
    }

    /// Whether it has said that it started.
    pub fn up(&mut self) -> bool {
        self.up = self.up || fs::read_to_string(&self.log).unwrap().contains("\"message\":\"started\"");
        self.up
    }

    /// Its log.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
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
                None if took > Duration::from_secs(20) => panic!("it does not end\n{}", self.log()),
                None => Clock::System.sleep(Duration::from_millis(5)).await,
            }
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // It may be dead already.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// The signal that ended it.
pub fn signal(status: ExitStatus) -> Option<i32> {
    status.signal()
}

/// How far each stage had come when the process died.
#[derive(Debug)]
pub struct Wreck {
    /// Bytes of the file that are safely behind.
    pub cursor: u64,
    /// The log's end.
    pub bus: i64,
    /// The pipeline's position.
    pub position: i64,
    /// The last event.
    pub event: i64,
    /// The last event in the index.
    pub index: i64,
    /// Replies that were under way.
    pub sending: usize,
}

impl Wreck {
    /// Reads a copy: opening the files repairs them, and that is for the next process to do.
    pub async fn of(config: &Config) -> Wreck {
        let data = &config.data.directory;
        let copy = tempfile::tempdir().unwrap();
        fs::create_dir(copy.path().join("bus")).unwrap();
        for part in ["", "bus"] {
            let Ok(entries) = fs::read_dir(data.join(part)) else { continue };
            for entry in entries.map(Result::unwrap) {
                let name = entry.file_name();
                // The shared memory of a dead process is made anew from its log.
                if name.to_string_lossy().contains(".db") && !name.to_string_lossy().ends_with("-shm") {
                    fs::copy(entry.path(), copy.path().join(part).join(name)).unwrap();
                }
            }
        }
        let registry = Registry::new();
        let bus = Bus::open(&copy.path().join("bus"), config.bus.clone(), Clock::System, bus::Metrics::new(&registry).unwrap());
        let bus = bus.unwrap();
        let metrics = queue::Metrics::new(&registry).unwrap();
        let store = Store::open(copy.path(), config.queue.clone(), Clock::System, metrics).unwrap();
        let (cursor, position, sending) = store
            .read(|reader| {
                Ok::<_, queue::Error>((
                    reader.cursor("shop-file/lines")?,
                    reader.mark(CONSUMER, 0)?.next,
                    reader.replies_in_doubt()?.len(),
                ))
            })
            .await
            .unwrap();
        let wreck = Wreck {
            cursor: cursor.map_or(0, |cursor| cursor.split(':').next().unwrap().parse().unwrap()),
            bus: bus.ends().await.unwrap()[0].1.0,
            position,
            event: store.follow().borrow().0,
            index: indexed(&data.join("index")),
            sending,
        };
        bus.close().await;
        tokio::task::spawn_blocking(move || store.close()).await.unwrap();
        wreck
    }

    /// The stages that had taken something in and not passed it on: a kill strikes them all.
    pub fn in_flight(&self, up: bool, written: u64) -> Vec<&'static str> {
        if !up {
            return vec!["startup"];
        }
        let stages = [
            ("connect", self.cursor < written),
            ("judging or store commit", self.position < self.bus),
            ("index commit", self.index < self.event),
            ("outbox", self.sending > 0),
        ];
        stages.into_iter().filter(|(_, struck)| *struck).map(|(stage, _)| stage).collect()
    }
}

/// The event that the index's last commit names.
fn indexed(index: &Path) -> i64 {
    let Ok(text) = fs::read_to_string(index.join("meta.json")) else { return 0 };
    let meta: serde_json::Value = serde_json::from_str(&text).unwrap();
    meta["payload"].as_str().and_then(|payload| payload.split(' ').find_map(|word| word.parse().ok())).unwrap_or(0)
}
