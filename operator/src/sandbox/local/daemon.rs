//! The daemon's process on this machine, its directories and its account: started whole, ended whole.
//!
//! Must not know how one speaks with the daemon.

use std::fs::{self, File, Permissions};
use std::io::Read as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{ChildStderr, ChildStdin, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant, SystemTime};

use tempfile::TempDir;
use tokio::sync::watch;
use tokio::time::timeout;
use tracing::{debug, warn};

use super::super::SandboxError;
use super::super::account::{Account, Prey, threads_of_this_user};
use super::super::process::Told;
use super::{Interpreter, LocalLimits};

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

/// How processes of a sandbox are started.
#[derive(Debug, Clone)]
pub(super) struct Launcher {
    pub(super) interpreter: Interpreter,
    account: Option<Account>,
    pub(super) work: PathBuf,
    tmp: PathBuf,
}

impl Launcher {
    /// A command of the sandbox's Python, under its account, that knows nothing of our environment.
    pub(super) fn command(&self) -> Command {
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
pub(super) struct Daemon {
    rest: Option<Rest>,
    pub(super) told: Told,
    listening: watch::Receiver<bool>,
    pub(super) exit: watch::Receiver<Option<ExitStatus>>,
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
    pub(super) fn start(
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

    pub(super) async fn is_listening(&mut self) -> Result<(), SandboxError> {
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
    pub(super) fn end(mut self) -> Result<(), String> {
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
