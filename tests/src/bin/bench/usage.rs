//! What processes use: the memory of one at its most, that of all below it together, time on a processor.

use std::collections::HashMap;
use std::time::Duration;

/// How often it is looked at. To look takes a while, too.
const PAUSE: Duration = Duration::from_millis(200);

/// The most memory, in KiB.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Peak {
    /// Of the process itself.
    pub(crate) own: u64,
    /// Of all below it, at one time. What several of them share counts once.
    pub(crate) below: u64,
}

/// Looks at a process until it ends.
pub(crate) async fn watch(pid: u32) -> Peak {
    let mut peak = Peak::default();
    while let Some(own) = most(pid) {
        peak.own = peak.own.max(own);
        peak.below = peak.below.max(below(pid).into_iter().filter_map(now).sum());
        tokio::time::sleep(PAUSE).await;
    }
    peak
}

/// How long all that this process has started, and waited for, was on a processor.
pub(crate) fn worked() -> Duration {
    times("/proc/self/stat", 13)
}

/// How long a process was on a processor.
pub(crate) fn processor(pid: u32) -> Duration {
    times(&format!("/proc/{pid}/stat"), 11)
}

/// Two fields after the name: as a user, and in the system.
fn times(file: &str, skip: usize) -> Duration {
    let stat = std::fs::read_to_string(file).unwrap_or_default();
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let ticks = fields.split_whitespace().skip(skip).take(2);
    let ticks: u64 = ticks.filter_map(|field| field.parse::<u64>().ok()).sum();
    // To programs, Linux counts in hundredths of a second, however its own clock ticks.
    Duration::from_millis(ticks * 10)
}

/// What a process has of memory at the moment, in KiB.
pub(crate) fn resident(pid: u32) -> Option<u64> {
    field(&format!("/proc/{pid}/status"), "VmRSS:")
}

/// KiB as MiB.
#[expect(clippy::cast_precision_loss, reason = "figures for people")]
pub(crate) fn mebibytes(kibibytes: u64) -> f64 {
    kibibytes as f64 / 1024.0
}

/// The most that a process has had.
fn most(pid: u32) -> Option<u64> {
    field(&format!("/proc/{pid}/status"), "VmHWM:")
}

/// What a process has, its share of what it shares; all of it, where that can't be read.
fn now(pid: u32) -> Option<u64> {
    field(&format!("/proc/{pid}/smaps_rollup"), "Pss:")
        .or_else(|| field(&format!("/proc/{pid}/status"), "VmRSS:"))
}

fn field(file: &str, name: &str) -> Option<u64> {
    let text = std::fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// All processes that a process has begun, and those that these have.
fn below(pid: u32) -> Vec<u32> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let child = entry.file_name().to_str().and_then(|name| name.parse().ok());
        if let Some((child, parent)) = child.and_then(|child| Some((child, parent(child)?))) {
            children.entry(parent).or_default().push(child);
        }
    }
    let mut found = children.remove(&pid).unwrap_or_default();
    let mut next = 0;
    while let Some(child) = found.get(next) {
        let more = children.remove(child).unwrap_or_default();
        found.extend(more);
        next += 1;
    }
    found
}

fn parent(pid: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before may hold anything.
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}
