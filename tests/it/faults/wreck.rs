//! How far each stage had come when the process died: what a kill struck.

use std::{fs, path::Path};

use moksori::{
    bus::{self, Bus},
    clock::Clock,
    config::Config,
    pipeline::CONSUMER,
    queue::{self, Store},
};
use prometheus::Registry;

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
