//! Users and processes of the machine: an account for one sandbox, and what still runs under it.
//!
//! Linux only, by `/proc`. Must not know what the processes are for.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal, geteuid, kill_process, pidfd_open, pidfd_send_signal};

/// Far above what anybody assigns: distributions stop at 2^16, directories and containers' ranges below this.
const HIGH: std::ops::Range<u32> = 1_800_000_000..1_900_000_000;

/// For a container whose user namespace has no more than the usual 2^16.
const LOW: std::ops::Range<u32> = 20_000..60_000;

/// A user and a group that nobody else has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Account(u32);

impl Account {
    /// Whether accounts can be had at all.
    pub(super) fn available() -> bool {
        geteuid().is_root()
    }

    /// One that nothing runs under; none if this process is not root's.
    pub(super) fn unused() -> Result<Option<Self>, String> {
        if !Self::available() {
            return Ok(None);
        }
        let maps = ["/proc/self/uid_map", "/proc/self/gid_map"]
            .map(|path| fs::read_to_string(path).unwrap_or_default());
        let range = [HIGH, LOW]
            .into_iter()
            .find(|range| maps.iter().all(|map| is_mapped(map, range)))
            .ok_or("this user namespace has no users but root to run the sandbox under; run as a user other than root")?;
        let taken: BTreeSet<u32> = processes()
            .values()
            .flat_map(|process| process.uids.clone())
            .collect();
        let uid = std::iter::repeat_with(|| rand::random_range(range.clone()))
            .take(1000)
            .find(|uid| !taken.contains(uid))
            .ok_or("found no user that nothing runs under")?;
        Ok(Some(Self(uid)))
    }

    /// The account of a uid, if that can be one.
    pub(super) fn of(uid: u32) -> Option<Self> {
        let fits = HIGH.contains(&uid) || LOW.contains(&uid) && !known_users().any(|known| known == uid);
        fits.then_some(Self(uid))
    }

    pub(super) fn uid(self) -> u32 {
        self.0
    }

    /// Has a command run under this account, without supplementary groups.
    pub(super) fn apply(self, command: &mut Command) {
        // With a uid, and as root, the standard library clears the supplementary groups.
        command.gid(self.0).uid(self.0);
    }
}

/// Whether a map of `/proc/self/{uid,gid}_map` has all of a range.
fn is_mapped(map: &str, range: &std::ops::Range<u32>) -> bool {
    map.lines().any(|line| {
        let mut fields = line.split_ascii_whitespace().map(str::parse::<u64>);
        match (fields.next(), fields.nth(1)) {
            (Some(Ok(inside)), Some(Ok(length))) => {
                inside <= range.start.into() && u64::from(range.end) <= inside.saturating_add(length)
            }
            _ => false,
        }
    })
}

/// Users that somebody has made on this machine.
fn known_users() -> impl Iterator<Item = u32> {
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let uids: Vec<u32> = users
        .lines()
        .filter_map(|line| line.split(':').nth(2)?.parse().ok())
        .collect();
    uids.into_iter()
}

struct Process {
    parent: u32,
    uids: Vec<u32>,
    threads: u64,
    zombie: bool,
}

/// All processes that can be seen.
fn processes() -> BTreeMap<u32, Process> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            Some((pid, process(pid)?))
        })
        .collect()
}

fn process(pid: u32) -> Option<Process> {
    // Not the owner of the directory: that is root for processes that can't be traced.
    let status = fs::read(format!("/proc/{pid}/status")).ok()?;
    let status = String::from_utf8_lossy(&status);
    let field = |name: &str| {
        status
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
            .map(str::trim)
    };
    Some(Process {
        parent: field("PPid")?.parse().ok()?,
        uids: field("Uid")?
            .split_ascii_whitespace()
            .filter_map(|uid| uid.parse().ok())
            .collect(),
        threads: field("Threads")
            .and_then(|threads| threads.parse().ok())
            .unwrap_or(1),
        zombie: field("State").is_some_and(|state| state.starts_with(['Z', 'X'])),
    })
}

/// How many threads the user of this process has: what `RLIMIT_NPROC` counts.
pub(super) fn threads_of_this_user() -> u64 {
    let uid = geteuid().as_raw();
    processes()
        .values()
        .filter(|process| process.uids.first() == Some(&uid))
        .map(|process| process.threads)
        .sum()
}

/// Which processes to end.
#[derive(Debug, Clone, Copy)]
pub(super) enum Prey {
    /// All of an account.
    Of(Account),
    /// All below a process, but not that process.
    Below(u32),
}

impl Prey {
    fn list(self) -> Vec<u32> {
        let all = processes();
        let is_prey = |pid: &u32| match self {
            Self::Of(account) => all[pid].uids.contains(&account.0),
            Self::Below(root) => {
                let mut at = *pid;
                // Bounded, for a table that was read while it changed.
                for _ in 0..all.len() {
                    match all.get(&at) {
                        Some(process) if process.parent == root => return true,
                        Some(process) => at = process.parent,
                        None => break,
                    }
                }
                false
            }
        };
        all.keys()
            .copied()
            .filter(|pid| !all[pid].zombie && is_prey(pid))
            .collect()
    }

    /// Kills until nothing is left, or `within` has passed. Says how many are left.
    pub(super) fn hunt(self, within: Duration) -> usize {
        let deadline = Instant::now() + within;
        loop {
            let prey = self.list();
            if prey.is_empty() || Instant::now() > deadline {
                return prey.len();
            }
            for pid in prey {
                self.kill(pid);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn kill(self, number: u32) {
        let Some(pid) = i32::try_from(number).ok().and_then(Pid::from_raw) else {
            return;
        };
        // Whatever fails is seen by the next look at the table.
        match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(held) => {
                // The number may have been given to another process since the table was read.
                let still = match self {
                    Self::Of(account) => {
                        process(number).is_some_and(|process| process.uids.contains(&account.0))
                    }
                    Self::Below(_) => true,
                };
                if still {
                    let _ = pidfd_send_signal(&held, Signal::KILL);
                }
            }
            Err(rustix::io::Errno::NOSYS) => drop(kill_process(pid, Signal::KILL)),
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_user_namespaces() {
        assert!(is_mapped("         0          0 4294967295\n", &HIGH));
        assert!(!is_mapped("0 100000 65536\n", &HIGH));
        assert!(is_mapped("0 100000 65536\n", &LOW));
        assert!(is_mapped("0 1000 1\n1 100000 65536\n", &LOW));
        assert!(!is_mapped("0 1000 1\n", &LOW) && !is_mapped("", &LOW) && !is_mapped("nonsense", &LOW));
    }

    #[test]
    fn what_is_below_a_process_is_found_and_ended() {
        let mut child = Command::new("/bin/sh")
            .args(["-c", "sleep 1000 & sleep 1000 & wait"])
            .spawn()
            .unwrap();
        let prey = Prey::Below(child.id());
        while prey.list().len() < 2 {
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(prey.hunt(Duration::from_secs(10)), 0);
        child.wait().unwrap();
    }

    #[test]
    fn accounts_drop_all_of_root() {
        let Some(account) = Account::unused().unwrap() else {
            eprintln!("skipped: accounts need root");
            return;
        };
        let mut command = Command::new("/usr/bin/id");
        account.apply(&mut command);
        let said = String::from_utf8(command.output().unwrap().stdout).unwrap();
        let uid = account.uid();
        assert_eq!(said.trim(), format!("uid={uid} gid={uid} groups={uid}"));
    }
}
