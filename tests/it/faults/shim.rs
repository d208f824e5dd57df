//! A disk that can be full, broken or without power: `shim.c`, built by the test and preloaded by the program.
//!
//! It needs no rights and no mounts, only a C compiler; without one the tests that need it are skipped aloud.

use std::{
    collections::HashMap,
    fs::{self, File, OpenOptions},
    os::unix::fs::{FileExt, MetadataExt},
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use super::shop::Shop;

/// The disk under one data directory.
pub struct Disk {
    library: PathBuf,
    control: File,
    control_path: PathBuf,
    journal: PathBuf,
    under: PathBuf,
}

impl Disk {
    /// The disk under the data of a shop that has not started yet; none without a C compiler.
    pub fn under(shop: &Shop, what: &str) -> Option<Disk> {
        Disk::new(shop.dir(), shop.data(), what)
    }

    fn new(dir: &Path, data: &Path, what: &str) -> Option<Disk> {
        let library = library(what)?;
        let (control_path, journal) = (dir.join("disk"), dir.join("journal"));
        fs::create_dir_all(data).unwrap();
        fs::create_dir_all(&journal).unwrap();
        let control = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&control_path).unwrap();
        control.set_len(4_096).unwrap();
        let disk = Disk { library, control, control_path, journal, under: data.canonicalize().unwrap() };
        disk.has_space();
        Some(disk)
    }

    /// The environment of a process that stands on this disk; `power` is to be lost some time.
    pub fn environment(&self, power: bool) -> Vec<(String, String)> {
        let mut variables = vec![
            ("LD_PRELOAD", &self.library),
            ("MOKSORI_SHIM_CONTROL", &self.control_path),
            ("MOKSORI_SHIM_UNDER", &self.under),
        ];
        variables.extend(power.then_some(("MOKSORI_SHIM_JOURNAL", &self.journal)));
        variables.into_iter().map(|(name, path)| (name.to_owned(), path.display().to_string())).collect()
    }

    fn set(&self, at: u64, value: i64) {
        self.control.write_all_at(&value.to_ne_bytes(), at * 8).unwrap();
    }

    fn told(&self, at: u64) -> i64 {
        let mut bytes = [0; 8];
        self.control.read_exact_at(&mut bytes, at * 8).unwrap();
        i64::from_ne_bytes(bytes)
    }

    /// From now on only so many bytes more can be allocated.
    pub fn has_left(&self, bytes: u64) {
        self.set(0, bytes as i64);
    }

    pub fn has_space(&self) {
        self.set(0, -1);
    }

    /// Whether fsync fails.
    pub fn breaks(&self, broken: bool) {
        self.set(1, broken.into());
    }

    /// Calls that were refused space so far.
    pub fn refused(&self) -> i64 {
        self.told(2)
    }

    /// Fsyncs that failed so far.
    pub fn failed(&self) -> i64 {
        self.told(3)
    }

    /// Discards every write that no fsync has made durable; returns how many. The process is dead.
    pub fn loses_power(&self) -> usize {
        let mut paths = HashMap::new();
        inodes(&self.under, &mut paths);
        let mut discarded = 0;
        for entry in fs::read_dir(&self.journal).unwrap().map(Result::unwrap) {
            let inode: u64 = entry.file_name().to_str().unwrap().parse().unwrap();
            let records = fs::read(entry.path()).unwrap();
            fs::remove_file(entry.path()).unwrap();
            // A file that was removed since needs nothing put back.
            let Some(path) = paths.get(&inode) else { continue };
            let file = OpenOptions::new().write(true).open(path).unwrap();
            let mut rest = records.as_slice();
            let mut undo = Vec::new();
            while let Some((head, tail)) = rest.split_first_chunk::<24>() {
                let number = |at: usize| u64::from_ne_bytes(head[at..at + 8].try_into().unwrap());
                // The record that was being written when the process died was not acted upon yet.
                let Some((bytes, after)) = tail.split_at_checked(number(16) as usize) else { break };
                undo.push((number(0), number(8), bytes));
                rest = after;
            }
            for (offset, size, bytes) in undo.into_iter().rev() {
                file.write_all_at(bytes, offset).unwrap();
                file.set_len(size).unwrap();
                discarded += 1;
            }
        }
        for path in paths.values().filter(|path| path.to_string_lossy().ends_with("-shm")) {
            fs::remove_file(path).unwrap();
        }
        discarded
    }
}

fn inodes(dir: &Path, paths: &mut HashMap<u64, PathBuf>) {
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let meta = entry.metadata().unwrap();
        if meta.is_dir() {
            inodes(&entry.path(), paths);
        } else if meta.is_file() {
            paths.insert(meta.ino(), entry.path());
        }
    }
}

/// The shim, built once for the whole run.
fn library(what: &str) -> Option<PathBuf> {
    static LIBRARY: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let built = LIBRARY.get_or_init(|| {
        let library = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("shim-{}.so", std::process::id()));
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/faults/shim.c");
        let mut compiler = Command::new("cc");
        compiler.args(["-O2", "-shared", "-fPIC", "-o"]).arg(&library).arg(source).arg("-lpthread");
        match compiler.output() {
            Ok(output) if output.status.success() => Ok(library),
            Ok(output) => panic!("shim.c does not compile: {}", String::from_utf8_lossy(&output.stderr)),
            Err(error) => Err(format!("cc cannot be run: {error}")),
        }
    });
    match built {
        Ok(library) => Some(library.clone()),
        Err(why) => {
            assert!(!std::env::var("CI").is_ok_and(|ci| ci == "true"), "{what} cannot be skipped in CI: {why}");
            println!("SKIPPED: {what}: {why}; install a C compiler");
            None
        }
    }
}

/// Runs a shell command on the disk, as the program would.
fn shell(disk: &Disk, command: &str) -> bool {
    let mut shell = Command::new("sh");
    shell.args(["-c", command]).current_dir(&disk.under).envs(disk.environment(true));
    shell.output().unwrap().status.success()
}

#[test]
fn the_disk_is_full_broken_and_without_power_when_it_is_told_to_be() {
    let dir = tempfile::tempdir().unwrap();
    let Some(disk) = Disk::new(dir.path(), &dir.path().join("data"), "the disk's own test") else { return };
    let read = |name: &str| fs::read_to_string(disk.under.join(name)).unwrap();
    assert!(shell(&disk, "printf safe > safe && sync safe && printf ' and more' >> safe && printf lost > lost"));
    assert_eq!((read("safe"), read("lost")), ("safe and more".into(), "lost".into()));
    assert!(disk.loses_power() >= 2);
    assert_eq!((read("safe"), read("lost")), ("safe".into(), String::new()), "only what was synced is there");

    assert!(shell(&disk, "printf other > safe"));
    disk.loses_power();
    assert_eq!(read("safe"), "safe", "it was emptied and written again");

    disk.has_left(3);
    assert!(!shell(&disk, "printf 12345 > full"));
    assert_eq!((read("full"), disk.refused() > 0), ("123".into(), true));
    disk.has_space();
    assert!(shell(&disk, "printf 12345 > full && sync full"));

    disk.breaks(true);
    assert!(!shell(&disk, "sync full"));
    assert_eq!(disk.failed(), 1);
}
