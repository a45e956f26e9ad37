//! The real sandbox image in a real container: what a Pod is to the daemon, without a cluster.
//!
//! `runc` runs the image's root file system as the kubelet would under the restricted profile: read-only
//! root, no capabilities, uid 1000, a PID namespace, a memory cgroup. The stream is an exec of the thin
//! client. Nothing here knows what is run in it.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use cataloger::sandbox::process::ProcessDial;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::OnceCell;
use tokio::time::timeout;

use crate::oci::{self, Contained};

const PYTHON: &str = "/opt/venv/bin/python-untraceable";
const SOURCE: &str = "/opt/cataloger";
const NAME: &str = "cataloger-test-";
const START: Duration = Duration::from_mins(1);

/// How a container differs from the usual one.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Arguments for the daemon.
    pub arguments: Vec<String>,
    /// The memory cgroup's limit.
    pub memory: Option<u64>,
    /// Whether it shares the machine's network, to reach databases on its loopback.
    pub network: bool,
    /// Directories of the machine that it sees, read-only.
    pub mounts: Vec<(PathBuf, PathBuf)>,
}

/// A running container, gone when it is dropped.
#[derive(Debug)]
pub struct Container {
    id: String,
    state: PathBuf,
    process: Child,
    _bundle: TempDir,
}

/// The directory with the sandbox image's root file system, built at the first call.
pub async fn root_filesystem() -> &'static Path {
    static BUILT: OnceCell<PathBuf> = OnceCell::const_new();
    BUILT
        .get_or_init(|| async {
            if let Ok(given) = std::env::var("CATALOGER_TEST_ROOTFS") {
                return PathBuf::from(given);
            }
            PathBuf::from(last_line("sandbox-image/build", &["--rootfs"]).await)
        })
        .await
}

/// Runs a script of this repository; the last line that it prints.
pub async fn last_line(script: &str, arguments: &[&str]) -> String {
    let output = Command::new(repository().join(script))
        .args(arguments)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .await
        .unwrap_or_else(|error| panic!("{script}: {error}"));
    assert!(output.status.success(), "{script} failed");
    let text = String::from_utf8(output.stdout).expect("it prints text");
    text.lines().last().expect("it prints a line").to_owned()
}

/// The top of this repository.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the tests are one below the top")
}

impl Container {
    /// Starts one, and waits until its daemon listens.
    pub async fn start(settings: &Settings) -> io::Result<Self> {
        static ABANDONED: std::sync::Once = std::sync::Once::new();
        let root = root_filesystem().await;
        let bundle = tempfile::tempdir()?;
        let id = format!("{NAME}{}-{:08x}", std::process::id(), rand::random::<u32>());
        std::fs::write(
            bundle.path().join("config.json"),
            serde_json::to_vec(&configuration(root, &id, settings))?,
        )?;
        let state = std::env::temp_dir().join("cataloger-test-containers");
        ABANDONED.call_once(|| remove_abandoned(&state));
        let mut process = Command::new("runc")
            .arg("--root")
            .arg(&state)
            .args(["run", "--bundle"])
            .arg(bundle.path())
            .arg(&id)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let stderr = process.stderr.take().expect("it is piped");
        let mut lines = BufReader::new(stderr).lines();
        let mut said = String::new();
        loop {
            let line = timeout(START, lines.next_line())
                .await
                .map_err(|_| io::Error::other(format!("the container is not ready in time: {said}")))??;
            match line {
                Some(line) if line == "cataloger_sandbox: listening" => break,
                Some(line) => said = format!("{said}\n{line}"),
                None => return Err(io::Error::other(format!("the container ended: {said}"))),
            }
        }
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Ok(Self {
            id,
            state,
            process,
            _bundle: bundle,
        })
    }

    fn runc(&self) -> Command {
        let mut command = Command::new("runc");
        command.arg("--root").arg(&self.state).stdin(Stdio::null());
        command
    }

    /// Streams to its daemon, as exec makes them.
    pub fn dial(&self) -> ProcessDial {
        let (state, id) = (self.state.clone(), self.id.clone());
        ProcessDial::new(move || {
            let mut command = std::process::Command::new("runc");
            command
                .arg("--root")
                .arg(&state)
                .args(["exec", "--user", "1000:1000", &id])
                .args([PYTHON, "-I", "-S", SOURCE, "connect", "--socket", &id]);
            command
        })
    }

    /// Ends all that is in it with a signal to its first process, from outside.
    pub async fn signal(&self, name: &str) -> io::Result<()> {
        self.runc().args(["kill", &self.id, name]).status().await?;
        Ok(())
    }

    /// Waits until its first process has ended; how.
    pub async fn wait(&mut self) -> io::Result<Option<i32>> {
        Ok(timeout(START, self.process.wait()).await??.code())
    }

    /// Ends it, and waits until it has.
    pub async fn remove(mut self) -> io::Result<()> {
        delete(&self.state, &self.id);
        timeout(START, self.process.wait()).await??;
        Ok(())
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        delete(&self.state, &self.id);
    }
}

/// Ends a container and removes what `runc` knows of it. One that is gone already is as good.
fn delete(state: &Path, id: &str) {
    let _ = std::process::Command::new("runc")
        .arg("--root")
        .arg(state)
        .args(["delete", "--force", id])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .status();
}

/// Removes containers whose test was killed before it could.
fn remove_abandoned(state: &Path) {
    for entry in std::fs::read_dir(state).into_iter().flatten().flatten() {
        let id = entry.file_name().to_string_lossy().into_owned();
        let owner = id.strip_prefix(NAME).and_then(|rest| rest.split('-').next());
        if owner.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            delete(state, &id);
        }
    }
}

fn configuration(root: &Path, id: &str, settings: &Settings) -> Value {
    // A name of its own: abstract sockets belong to the network, which some containers share.
    let mut arguments = vec![PYTHON, "-I", "-S", SOURCE, "daemon", "--socket", id];
    arguments.extend(settings.arguments.iter().map(String::as_str));
    oci::configuration(&Contained {
        root,
        id,
        user: 1000,
        arguments: &arguments,
        environment: &["PATH=/opt/venv/bin:/usr/local/bin:/usr/bin:/bin"],
        directory: "/work",
        scratch: &["/work", "/tmp"],
        mounts: &settings.mounts,
        network: settings.network,
        memory: settings.memory,
    })
}
