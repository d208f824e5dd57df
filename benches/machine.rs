//! What the machine says of this process and of its disk: processor time, memory, load, fdatasync.

use std::{fs, io::Write, path::Path};

use anyhow::{Context, Result};
use tokio::time::Instant;

/// Clock ticks a second in `/proc`; the same on every Linux.
const TICKS: f64 = 100.0;

/// Processor time of all threads so far, in user and in system mode.
pub(crate) fn cpu_seconds() -> Result<f64> {
    let stat = fs::read_to_string("/proc/self/stat").context("the bench reads processor times from /proc: run it on Linux")?;
    // The name in parentheses may hold spaces; utime and stime are the 14th and the 15th field.
    let (_, fields) = stat.rsplit_once(')').context("/proc/self/stat has a form of its own")?;
    let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<f64>).sum::<Result<f64, _>>()?;
    Ok(ticks / TICKS)
}

/// The most memory this process ever had.
pub(crate) fn peak_megabytes() -> Result<f64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("/proc/self/status has no VmHWM")?;
    let kib: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib / 1024.0)
}

/// Processes that ran or wanted to, on average over the last minute.
pub(crate) fn load() -> Result<f64> {
    let text = fs::read_to_string("/proc/loadavg")?;
    Ok(text.split_whitespace().next().context("/proc/loadavg is empty")?.parse()?)
}

/// How many milliseconds each of a hundred fdatasyncs of 4 KiB takes in `dir`.
pub(crate) fn sync_times(dir: &Path) -> Result<Vec<f64>> {
    let mut file = fs::File::create(dir.join("fdatasync"))?;
    let mut times = Vec::with_capacity(100);
    for _ in 0..100 {
        file.write_all(&[b'x'; 4_096])?;
        let begun = Instant::now();
        file.sync_data()?;
        times.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    Ok(times)
}
