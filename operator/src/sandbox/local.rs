//! [`LocalSandbox`]: the daemon as a process of this machine, for whoever has no cluster.
//!
//! Run by root, each sandbox has a user of its own, that nothing else runs under: its code can neither read
//! other users' private files nor signal their processes, and whatever it leaves behind can be told by its
//! owner. Run by anybody else, code in the sandbox is **not** kept from that user's files and processes;
//! resource limits and the protocol's guarantees hold all the same. In neither case is the network closed.
//! For code that is not trusted at all there is the Pod.
//!
//! The daemon's stdin is its lifeline: when this process ends, however it ends, the daemon ends its session.

mod daemon;

use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{Mutex, watch};
use tracing::debug;

use self::daemon::{Daemon, Launcher};
use super::client::{Attach, Client, Driven, Timing};
use super::link::{Connection, Dial, DialError, Identity};
use super::process::{ProcessDial, Told};
use super::protocol::seal::HexId;
use super::{InstallationSecret, Sandbox, SandboxError, Variables};

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
impl Driven for LocalSandbox {
    fn client(&self) -> &Client {
        &self.client
    }

    async fn end(&self) -> Result<(), SandboxError> {
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
