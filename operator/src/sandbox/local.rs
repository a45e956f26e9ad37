//! [`LocalSandbox`]: the daemon as a process of this machine, for whoever has no cluster.
//!
//! Run by root, each sandbox has a user of its own, that nothing else runs under: its code can neither read
//! other users' private files nor signal their processes, and whatever it leaves behind can be told by its
//! owner. Run by anybody else, code in the sandbox is **not** kept from that user's files and processes;
//! resource limits and the protocol's guarantees hold all the same. In neither case is the network closed.
//! For code that is not trusted at all there is the Pod.
//!
//! The daemon's stdin is its lifeline: when this process ends, however it ends, the daemon ends its session.

use std::fs::{self, File, Permissions};
use std::io::Read as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{ChildStderr, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use tempfile::TempDir;
use tokio::sync::{Mutex, watch};
use tokio::time::timeout;
use tracing::{debug, warn};

use super::account::{Account, Prey, threads_of_this_user};
use super::client::{Attach, Client, Timing};
use super::link::{Connection, Dial, DialError, Identity};
use super::process::{ProcessDial, Told};
use super::protocol::seal::HexId;
use super::{
    BootId, CallId, Cell, Chunk, DaemonStatus, Executed, FilePut, InstallationSecret, Sandbox, SandboxError,
    Variables, WasReset,
};

/// What the daemon says when it can be connected to.
const LISTENING: &[u8] = b"cataloger_sandbox: listening";

/// How long it may take to say that. It imports nothing before.
const START: Duration = Duration::from_secs(30);

/// How long the daemon may take to end its session and itself, and then everything else to be gone.
const END: Duration = Duration::from_secs(15);

/// How long it may take to remove what the session has written.
const SWEEP: Duration = Duration::from_mins(1);

/// Removes what a session has written, as the user who has written it: any depth, any modes.
const SWEEPER: &str = "
import os, sys
source, count = sys.argv[1], int(sys.argv[2])
sys.path.insert(0, source)
from cataloger_sandbox import linux, sweep
own, shared = sys.argv[3:3 + count], sys.argv[3 + count:]
failed = [line for path in own for line in sweep.empty(path)]
failed += [line for path in shared for line in sweep.empty(path, os.getuid())]
if shared:
    linux.remove_ipc()
print('\\n'.join(failed[:5]), end='')
";

/// What the names of sandboxes' directories begin with, and the file in there that is locked.
const PREFIX: &str = "cataloger-sandbox-";
const LOCK: &str = ".lock";

/// A directory as young as this may be one that is just being made.
const YOUNG: Duration = Duration::from_mins(1);

/// Where anybody may write.
const SHARED: [&str; 3] = ["/tmp", "/var/tmp", "/dev/shm"];

/// What a session on this machine may use.
#[derive(Debug, Clone)]
pub struct LocalLimits {
    /// Memory of all its processes, in bytes.
    pub memory: u64,
    /// Its processes.
    pub processes: u32,
    /// The size of a file, in bytes.
    pub file_size: u64,
    /// Time on a processor for each process.
    pub cpu: Duration,
    /// Open files of each process.
    pub open_files: u64,
    /// Threads of its user: more than that user has already.
    pub threads: u64,
}

impl Default for LocalLimits {
    fn default() -> Self {
        Self {
            memory: 2 << 30,
            processes: 256,
            file_size: 1 << 30,
            cpu: Duration::from_hours(1),
            open_files: 4096,
            threads: 512,
        }
    }
}

/// A Python with the data packages, and the sandbox's own package.
#[derive(Debug, Clone)]
pub struct Interpreter {
    /// The Python.
    pub python: PathBuf,
    /// The directory that holds `__main__.py` and `cataloger_sandbox`.
    pub package: PathBuf,
}

/// What to start.
#[derive(Debug)]
pub struct LocalOptions {
    /// With which Python.
    pub interpreter: Interpreter,
    /// Who drives it. It lives no longer than this process, so that nobody else needs to know.
    pub identity: Identity,
    /// The first session's environment.
    pub env: Variables,
    /// What a session may use.
    pub limits: LocalLimits,
    /// Which modules a session finds imported; the data packages, if not said.
    pub preload: Option<Vec<String>>,
    /// How patient to be.
    pub timing: Timing,
}

impl LocalOptions {
    /// With the usual limits.
    pub fn new(interpreter: Interpreter, env: Variables) -> Self {
        Self {
            interpreter,
            identity: Identity {
                secret: InstallationSecret::random(),
                run: HexId::random().to_string(),
                epoch: 1,
            },
            env,
            limits: LocalLimits::default(),
            preload: None,
            timing: Timing::default(),
        }
    }
}

/// A sandbox on this machine.
///
/// [`Sandbox::close`] ends it and waits until nothing of it is left; dropping it does so in the background.
#[derive(Debug)]
pub struct LocalSandbox {
    client: Client,
    dial: LocalDial,
    daemon: Mutex<Option<Daemon>>,
    directory: PathBuf,
    pid: u32,
}

impl LocalSandbox {
    /// Starts the daemon, and waits until it can be called.
    pub async fn start(options: LocalOptions) -> Result<Self, SandboxError> {
        let LocalOptions {
            interpreter,
            identity,
            env,
            limits,
            preload,
            timing,
        } = options;
        let socket = format!("cataloger-{}", HexId::random());
        let (mut daemon, launcher, pid) = Daemon::start(interpreter, &socket, &limits, preload.as_deref())?;
        let directory = launcher.work.clone();
        let connected = async {
            daemon.is_listening().await?;
            let dial = LocalDial::new(launcher, socket, &daemon);
            let client = Client::connect(dial.clone(), identity, Attach::New { env }, timing).await?;
            Ok((dial, client))
        };
        match connected.await {
            Ok((dial, client)) => Ok(Self {
                client,
                dial,
                daemon: Mutex::new(Some(daemon)),
                directory,
                pid,
            }),
            Err(error) => {
                // Why it could not be started matters more than what stays of it.
                drop(tokio::task::spawn_blocking(move || daemon.end()).await);
                Err(error)
            }
        }
    }

    /// The session's directory, where [`Sandbox::put_file`] puts files.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Streams to the daemon, for another client of it.
    pub fn dial(&self) -> LocalDial {
        self.dial.clone()
    }

    /// The daemon's process.
    pub fn pid(&self) -> u32 {
        self.pid
    }
}

#[async_trait]
impl Sandbox for LocalSandbox {
    async fn execute(
        &self,
        id: CallId,
        cell: &Cell,
        output: &mut (dyn FnMut(Chunk) + Send),
    ) -> Result<Executed, SandboxError> {
        self.client.execute(id, cell, output).await
    }

    async fn reset(&self, id: CallId, env: &Variables) -> Result<WasReset, SandboxError> {
        self.client.reset(id, env).await
    }

    async fn put_file(
        &self,
        id: CallId,
        path: &str,
        content: Bytes,
        append: bool,
    ) -> Result<FilePut, SandboxError> {
        self.client.put_file(id, path, content, append).await
    }

    async fn interrupt(&self, id: CallId) -> Result<(), SandboxError> {
        self.client.interrupt(id).await
    }

    async fn acknowledge(&self, through: CallId) -> Result<(), SandboxError> {
        self.client.acknowledge(through).await
    }

    async fn status(&self) -> Result<DaemonStatus, SandboxError> {
        self.client.status().await
    }

    async fn close(&self) -> Result<(), SandboxError> {
        // Held until the end, so that whoever closes a second time waits for the first.
        let mut daemon = self.daemon.lock().await;
        let Some(daemon) = daemon.take() else {
            return Ok(());
        };
        if let Err(error) = self.client.close().await {
            debug!(%error, "the daemon was not told to end; its lifeline tells it");
        }
        // What blocks in there has deadlines.
        match tokio::task::spawn_blocking(move || daemon.end()).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(message)) => Err(SandboxError::Leftovers { message }),
            Err(error) => Err(SandboxError::Leftovers {
                message: error.to_string(),
            }),
        }
    }

    fn last_call(&self) -> CallId {
        self.client.last_call()
    }

    fn boot(&self) -> BootId {
        self.client.boot()
    }
}

/// How processes of a sandbox are started.
#[derive(Debug, Clone)]
struct Launcher {
    interpreter: Interpreter,
    account: Option<Account>,
    work: PathBuf,
    tmp: PathBuf,
}

impl Launcher {
    /// A command of the sandbox's Python, under its account, that knows nothing of our environment.
    fn command(&self) -> Command {
        let mut command = Command::new(&self.interpreter.python);
        let beside = self
            .interpreter
            .python
            .parent()
            .unwrap_or(Path::new("/"))
            .display();
        command
            .args(["-I", "-S"])
            .env_clear()
            .env("PATH", format!("{beside}:/usr/local/bin:/usr/bin:/bin"))
            .env("HOME", &self.work)
            .env("TMPDIR", &self.tmp)
            .env("LANG", "C.UTF-8")
            .current_dir(&self.work)
            .process_group(0);
        if let Some(account) = self.account {
            account.apply(&mut command);
        }
        command
    }

    /// Where this sandbox's user writes among others; only with a user of its own can it be told what is its.
    fn shared(&self) -> impl Iterator<Item = &'static str> {
        SHARED
            .into_iter()
            .filter(|path| self.account.is_some() && Path::new(path).is_dir())
    }

    /// Removes what the session has written, wherever it could.
    fn sweep(&self) -> Result<(), String> {
        let Launcher {
            interpreter,
            work,
            tmp,
            ..
        } = self;
        let mut command = self.command();
        command
            .args(["-c", SWEEPER])
            .arg(&interpreter.package)
            .arg("2")
            .args([work, tmp])
            .args(self.shared());
        command
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let child = command
            .spawn()
            .map_err(|error| format!("files could not be removed: {error}"))?;
        let pid = child.id();
        let (done, waited) = std::sync::mpsc::channel();
        std::thread::spawn(move || done.send(child.wait_with_output()));
        let output = match waited.recv_timeout(SWEEP) {
            Ok(Ok(output)) => output,
            Ok(Err(error)) => return Err(format!("files could not be removed: {error}")),
            Err(_) => {
                kill(pid);
                return Err(format!("files could not be removed within {} s", SWEEP.as_secs()));
            }
        };
        let said = String::from_utf8_lossy(if output.status.success() {
            &output.stdout
        } else {
            &output.stderr
        });
        if said.trim().is_empty() {
            Ok(())
        } else {
            Err(format!("files could not be removed: {}", said.trim()))
        }
    }
}

/// The directories of a sandbox.
#[derive(Debug)]
struct Place {
    /// Held for as long as the directories are in use: whoever can take it may remove them.
    _lock: File,
    top: TempDir,
    launcher: Launcher,
}

impl Place {
    fn make(interpreter: Interpreter) -> Result<Self, String> {
        let account = Account::unused()?;
        let parent = parent(account.is_some());
        remove_abandoned(&parent, &interpreter);
        let top = tempfile::Builder::new()
            .prefix(PREFIX)
            .tempdir_in(&parent)
            .map_err(|error| format!("no directory could be made in {}: {error}", parent.display()))?;
        let (work, tmp) = (top.path().join("work"), top.path().join("tmp"));
        let make = || -> std::io::Result<File> {
            if account.is_some() {
                // Passed through by the account, and nothing else: it can't replace what is in there.
                fs::set_permissions(top.path(), Permissions::from_mode(0o711))?;
            }
            for path in [&work, &tmp] {
                fs::DirBuilder::new().mode(0o700).create(path)?;
                if let Some(account) = account {
                    chown(path, Some(account.uid()), Some(account.uid()))?;
                }
            }
            let lock = File::create(top.path().join(LOCK))?;
            lock.try_lock()?;
            Ok(lock)
        };
        let lock = make().map_err(|error| {
            format!(
                "no directories could be made in {}: {error}",
                top.path().display()
            )
        })?;
        Ok(Self {
            _lock: lock,
            top,
            launcher: Launcher {
                interpreter,
                account,
                work,
                tmp,
            },
        })
    }
}

/// Removes directories of sandboxes whose `cataloger` was killed. Their processes have ended by themselves.
fn remove_abandoned(parent: &Path, interpreter: &Interpreter) {
    let own = rustix::process::geteuid().as_raw();
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let top = entry.path();
        let is_ours = entry.file_name().to_string_lossy().starts_with(PREFIX)
            && fs::symlink_metadata(&top).is_ok_and(|found| found.is_dir() && found.uid() == own)
            && fs::metadata(top.join(LOCK))
                .and_then(|found| found.modified())
                .is_ok_and(|made| {
                    SystemTime::now()
                        .duration_since(made)
                        .is_ok_and(|age| age > YOUNG)
                });
        let Some(lock) = is_ours.then(|| File::open(top.join(LOCK)).ok()).flatten() else {
            continue;
        };
        if lock.try_lock().is_err() {
            continue;
        }
        let (work, tmp) = (top.join("work"), top.join("tmp"));
        let owner = fs::symlink_metadata(&work).map(|found| found.uid());
        let account = owner.ok().filter(|uid| *uid != own).and_then(Account::of);
        let launcher = Launcher {
            interpreter: interpreter.clone(),
            account,
            work,
            tmp,
        };
        let removed = launcher
            .sweep()
            .and_then(|()| fs::remove_dir_all(&top).map_err(|error| error.to_string()));
        debug!(path = %top.display(), ?removed, "directories of a sandbox that was not closed");
    }
}

/// Where a sandbox's directories go: where temporary ones go, if an account can pass to there.
fn parent(account: bool) -> PathBuf {
    let usual = std::env::temp_dir();
    let passable = |path: &Path| {
        path.ancestors()
            .all(|path| fs::metadata(path).is_ok_and(|found| found.permissions().mode() & 0o001 != 0))
    };
    if account && !passable(&usual) {
        PathBuf::from("/tmp")
    } else {
        usual
    }
}

fn kill(pid: u32) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw) {
        // Gone already is as good.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
}

/// The daemon's process.
#[derive(Debug)]
struct Daemon {
    rest: Option<Rest>,
    told: Told,
    listening: watch::Receiver<bool>,
    exit: watch::Receiver<Option<ExitStatus>>,
}

/// All that has to be ended and removed with a daemon.
#[derive(Debug)]
struct Rest {
    place: Place,
    pid: u32,
    lifeline: Option<ChildStdin>,
    exit: watch::Receiver<Option<ExitStatus>>,
}

impl Daemon {
    fn start(
        interpreter: Interpreter,
        socket: &str,
        limits: &LocalLimits,
        preload: Option<&[String]>,
    ) -> Result<(Self, Launcher, u32), SandboxError> {
        let failed = |message: String| SandboxError::Setup { message };
        let place = Place::make(interpreter).map_err(failed)?;
        let launcher = &place.launcher;
        // A user that others run under too has its limit on threads used up in part already.
        let others = if launcher.account.is_some() {
            0
        } else {
            threads_of_this_user()
        };
        let rlimits = [
            ("fsize", limits.file_size),
            ("cpu", limits.cpu.as_secs()),
            ("nproc", others + limits.threads),
            ("nofile", limits.open_files),
            ("core", 0),
        ];
        let mut command = launcher.command();
        command
            .arg(&launcher.interpreter.package)
            .args(["daemon", "--exit-with-stdin", "--socket", socket])
            .args([
                Path::new("--work"),
                &launcher.work,
                Path::new("--tmp"),
                &launcher.tmp,
            ])
            .arg(format!("--memory-limit={}", limits.memory))
            .arg(format!("--process-limit={}", limits.processes))
            .args(
                rlimits
                    .iter()
                    .map(|(name, value)| format!("--rlimit={name}={value}")),
            )
            .args(launcher.account.map(|_| "--own-uid"));
        if let Some(modules) = preload {
            command.arg(format!("--preload={}", modules.join(",")));
        }
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());

        let told = Told::default();
        let (heard, listening) = watch::channel(false);
        let (ended, exit) = watch::channel(None);
        let (report, started) = std::sync::mpsc::sync_channel(1);
        let program = launcher.interpreter.python.display().to_string();
        let hearing = told.clone();
        std::thread::spawn(move || {
            // For this thread and what it starts: no program gives the sandbox another user's rights.
            let _ = rustix::thread::set_no_new_privs(true);
            let mut child = match command.spawn() {
                Ok(child) => child,
                Err(error) => {
                    return drop(report.send(Err(format!("{program} could not be started: {error}"))));
                }
            };
            let (stdin, stderr) = (child.stdin.take(), child.stderr.take());
            let listener = std::thread::spawn(move || listen(stderr, &hearing, &heard));
            drop(report.send(Ok((child.id(), stdin))));
            let status = child.wait().ok();
            // What it said last is part of how it ended. Its children may hold its stderr for longer.
            let deadline = Instant::now() + Duration::from_secs(1);
            while !listener.is_finished() && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(5));
            }
            ended.send_replace(status);
        });
        let (pid, lifeline) = match started.recv() {
            Ok(Ok(started)) => started,
            Ok(Err(message)) => return Err(failed(message)),
            Err(_) => return Err(failed("the daemon could not be started".into())),
        };
        let launcher = place.launcher.clone();
        let rest = Some(Rest {
            place,
            pid,
            lifeline,
            exit: exit.clone(),
        });
        Ok((
            Self {
                rest,
                told,
                listening,
                exit,
            },
            launcher,
            pid,
        ))
    }

    async fn is_listening(&mut self) -> Result<(), SandboxError> {
        let told = self.told.clone();
        let failed = |how: String| {
            let told = told.text().unwrap_or_else(|| "it said nothing".into());
            SandboxError::Setup {
                message: format!("the sandbox's daemon {how}: {told}"),
            }
        };
        let listens = timeout(START, self.listening.wait_for(|listening| *listening)).await;
        // What it gives is a lock, that must not be held while we wait further.
        match listens.map(|heard| heard.map(drop)) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => {
                let status = timeout(Duration::from_secs(2), self.exit.wait_for(Option::is_some)).await;
                let status = status.ok().and_then(Result::ok).and_then(|status| *status);
                Err(failed(status.map_or_else(
                    || "has ended".into(),
                    |status| format!("has ended ({status})"),
                )))
            }
            Err(_) => Err(failed(format!("did not listen within {} s", START.as_secs()))),
        }
    }

    /// Ends it all. Blocks, within deadlines.
    fn end(mut self) -> Result<(), String> {
        self.rest.take().map_or(Ok(()), Rest::end)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(rest) = self.rest.take() {
            std::thread::spawn(move || {
                if let Err(message) = rest.end() {
                    warn!(message, "something of a sandbox stays");
                }
            });
        }
    }
}

impl Rest {
    fn end(self) -> Result<(), String> {
        let Self {
            place,
            pid,
            lifeline,
            exit,
        } = self;
        // The daemon ends its session when this breaks, if it was not told before.
        drop(lifeline);
        let has_ended = |within: Duration| {
            let deadline = Instant::now() + within;
            while exit.borrow().is_none() && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(5));
            }
            exit.borrow().is_some()
        };
        if !has_ended(END) {
            // While it lives, orphans of its session become its children, where they are found.
            Prey::Below(pid).hunt(END);
            kill(pid);
            has_ended(Duration::from_secs(1));
        }
        let left = place
            .launcher
            .account
            .map_or(0, |account| Prey::Of(account).hunt(END));
        let swept = place.launcher.sweep();
        let path = place.top.path().to_owned();
        let removed = place
            .top
            .close()
            .map_err(|error| format!("{}: {error}", path.display()));
        if left > 0 {
            return Err(format!("{left} processes can't be ended"));
        }
        swept.and(removed)
    }
}

/// Reads what the daemon says until it says no more.
fn listen(stderr: Option<ChildStderr>, told: &Told, heard: &watch::Sender<bool>) {
    let Some(mut stderr) = stderr else {
        return;
    };
    let mut buffer = [0; 1024];
    let mut line = Vec::new();
    while let Ok(read @ 1..) = stderr.read(&mut buffer) {
        for byte in &buffer[..read] {
            if *byte != b'\n' {
                line.push(*byte);
            } else if std::mem::take(&mut line) == LISTENING {
                heard.send_replace(true);
            }
        }
        // A line without an end is none of the daemon's.
        line.truncate(1024);
        told.add(&buffer[..read]);
    }
}

/// The thin client, for as long as there is a daemon.
#[derive(Debug, Clone)]
pub struct LocalDial {
    process: Arc<ProcessDial>,
    exit: watch::Receiver<Option<ExitStatus>>,
    told: Told,
}

impl LocalDial {
    fn new(launcher: Launcher, socket: String, daemon: &Daemon) -> Self {
        let process = ProcessDial::new(move || {
            let mut command = launcher.command();
            command
                .arg(&launcher.interpreter.package)
                .args(["connect", "--socket", &socket]);
            command
        });
        Self {
            process: Arc::new(process),
            exit: daemon.exit.clone(),
            told: daemon.told.clone(),
        }
    }
}

#[async_trait]
impl Dial for LocalDial {
    async fn dial(&self) -> Result<Connection, DialError> {
        let status = *self.exit.borrow();
        match (status, self.told.text()) {
            (None, _) => self.process.dial().await,
            (Some(status), None) => Err(DialError::Gone(status.to_string())),
            (Some(status), Some(told)) => Err(DialError::Gone(format!("{status}: {told}"))),
        }
    }
}
