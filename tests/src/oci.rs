//! Configurations of containers like those that the kubelet and containerd make for a Pod under the restricted profile:
//! read-only root, no capabilities, no root, namespaces and a cgroup of its own.
//!
//! Nothing here knows what runs in one, or runs it.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

/// What is one container's own.
#[derive(Debug)]
pub struct Contained<'a> {
    /// Where the image's root file system lies.
    pub root: &'a Path,
    /// The container's name.
    pub id: &'a str,
    /// Whom it runs as, user and group.
    pub user: u32,
    /// The program and its arguments.
    pub arguments: &'a [&'a str],
    /// `NAME=VALUE`.
    pub environment: &'a [&'a str],
    /// Where it starts.
    pub directory: &'a str,
    /// Directories of its own that it can write to, and that hold nothing yet.
    pub scratch: &'a [&'a str],
    /// Files and directories of the machine that it sees, read-only: there, and here.
    pub mounts: &'a [(PathBuf, PathBuf)],
    /// Whether it shares the machine's network, to reach its loopback.
    pub network: bool,
    /// The memory cgroup's limit.
    pub memory: Option<u64>,
}

/// The configuration, for `config.json`.
pub fn configuration(contained: &Contained<'_>) -> Value {
    let Contained { id, user, .. } = contained;
    let mut namespaces = vec!["pid", "ipc", "uts", "mount"];
    if !contained.network {
        namespaces.push("network");
    }
    let namespaces: Vec<_> = namespaces.into_iter().map(|kind| json!({"type": kind})).collect();
    let scratch = |path: &str, size: &str| {
        json!({
            "destination": path, "type": "tmpfs", "source": "tmpfs",
            "options": ["nosuid", "nodev", "mode=1777", format!("uid={user}"), format!("gid={user}"),
                        format!("size={size}")],
        })
    };
    let mut mounts = vec![
        json!({"destination": "/proc", "type": "proc", "source": "proc"}),
        json!({"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
               "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]}),
        json!({"destination": "/dev/pts", "type": "devpts", "source": "devpts",
               "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]}),
        json!({"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue",
               "options": ["nosuid", "noexec", "nodev"]}),
        json!({"destination": "/sys", "type": "sysfs", "source": "sysfs",
               "options": ["nosuid", "noexec", "nodev", "ro"]}),
        json!({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
               "options": ["nosuid", "noexec", "nodev", "relatime", "ro"]}),
        scratch("/dev/shm", "64m"),
    ];
    mounts.extend(contained.scratch.iter().map(|path| scratch(path, "512m")));
    for (from, to) in contained.mounts {
        mounts.push(json!({"destination": to, "type": "bind", "source": from, "options": ["rbind", "ro"]}));
    }
    let mut resources = json!({"pids": {"limit": 2048}});
    if let Some(bytes) = contained.memory {
        resources["memory"] = json!({"limit": bytes, "swap": bytes});
    }
    json!({
        "ociVersion": "1.0.2",
        "hostname": "sandbox",
        "root": {"path": contained.root, "readonly": true},
        "process": {
            "terminal": false,
            "user": {"uid": user, "gid": user},
            "args": contained.arguments,
            "env": contained.environment,
            "cwd": contained.directory,
            "capabilities": {"bounding": [], "effective": [], "inheritable": [], "permitted": [], "ambient": []},
            "noNewPrivileges": true,
        },
        "mounts": mounts,
        "linux": {
            "cgroupsPath": format!("/cataloger-test/{id}"),
            "namespaces": namespaces,
            "resources": resources,
            "maskedPaths": ["/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
                            "/proc/sched_debug", "/sys/firmware"],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
        },
    })
}
