//! One suite, two transports: a sandbox as a process of this machine, or the real image in a Pod.

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use cataloger::sandbox::client::{Attach, Client, Connection, Dial, DialError, Identity, Timing};
use cataloger::sandbox::local::{Interpreter, LocalOptions, LocalSandbox};
use cataloger::sandbox::pod::reach::{SystemResolver, reach};
use cataloger::sandbox::pod::{PodOptions, PodSandbox};
use cataloger::sandbox::{
    CallId, Cell, Chunk, DaemonStatus, Executed, InstallationSecret, Sandbox, SandboxError, Variables,
    WasReset,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use tokio::sync::OnceCell;

use crate::cluster::{Cluster, cluster};
use crate::script::{last_line, repository};
use crate::volume::Claim;

/// The run that every sandbox of the tests belongs to.
pub const RUN: &str = "20261121T120000Z";

/// Where a sandbox is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// A process on this machine.
    Local,
    /// The image, in a Pod of the tests' cluster.
    Pod,
}

/// What a test wants of its sandbox.
#[derive(Debug, Clone, Default)]
pub struct Wish {
    /// With the data packages imported; it takes seconds longer to start.
    pub packages: bool,
    /// How much memory the session may use.
    pub memory: Option<u64>,
    /// The limit of the Pod's memory cgroup, which the daemon finds by itself.
    pub cgroup: Option<u64>,
    /// How many processes.
    pub processes: Option<u32>,
    /// The environment of its session.
    pub env: Vec<(String, String)>,
    /// The host and the port of a database that a Pod may reach; a process may reach all.
    pub reach: Option<(String, u16)>,
    /// What a Pod sees at `/data`; a process sees all.
    pub data: Option<Claim>,
}

impl Wish {
    /// For the daemon.
    fn arguments(&self) -> Vec<String> {
        let mut arguments = Vec::new();
        let mut argument = |name: &str, value: String| arguments.extend([name.to_owned(), value]);
        if !self.packages {
            argument("--preload", String::new());
        }
        if let Some(bytes) = self.memory {
            argument("--memory-limit", bytes.to_string());
        }
        if let Some(number) = self.processes {
            argument("--process-limit", number.to_string());
        }
        arguments
    }

    /// For a Pod.
    async fn pod(&self, cluster: &Cluster) -> PodOptions {
        let mut options = cluster.options();
        options.shape.arguments = self.arguments();
        if let Some(bytes) = self.cgroup {
            let resources = &mut options.shape.resources;
            for amounts in [&mut resources.requests, &mut resources.limits] {
                let memory = Quantity(bytes.to_string());
                amounts.get_or_insert_default().insert("memory".into(), memory);
            }
        }
        if let Some((host, port)) = &self.reach {
            let found = reach(
                &cluster.operator,
                &SystemResolver,
                "sales",
                "cluster.local",
                host,
                *port,
            )
            .await
            .expect("the database is there");
            options.destinations = found.destinations;
            options.names.hosts = found.hosts;
        }
        if let Some(claim) = &self.data {
            claim.mount(&mut options, "/data");
        }
        options
    }
}

/// The Python of local sandboxes: `CATALOGER_PYTHON`, or the one that `sandbox-image/environment` makes.
pub async fn python() -> PathBuf {
    static MADE: OnceCell<PathBuf> = OnceCell::const_new();
    match std::env::var_os("CATALOGER_PYTHON") {
        Some(given) => PathBuf::from(given),
        None => MADE
            .get_or_init(|| async { PathBuf::from(last_line("sandbox-image/environment", &[]).await) })
            .await
            .clone(),
    }
}

/// That Python, with the sandbox's package.
pub async fn interpreter() -> Interpreter {
    Interpreter {
        python: python().await,
        package: repository().join("sandbox-image/src"),
    }
}

enum Host {
    Local(Box<LocalSandbox>),
    Pod(Box<PodSandbox>, Box<Cluster>),
}

/// A sandbox under test. Calls get their ids from it.
pub struct Subject {
    host: Host,
    place: Place,
    next: AtomicU64,
    seen: Mutex<String>,
}

impl std::fmt::Debug for Subject {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Subject({:?})", self.place)
    }
}

/// The controller that the tests are, in an epoch.
pub fn identity(epoch: u64) -> Identity {
    Identity {
        secret: InstallationSecret::new(*b"an installation secret for tests"),
        run: RUN.to_owned(),
        epoch,
    }
}

/// A dial of any transport.
pub struct AnyDial(pub Box<dyn Dial>);

#[async_trait]
impl Dial for AnyDial {
    async fn dial(&self) -> Result<Connection, DialError> {
        self.0.dial().await
    }

    async fn epitaph(&self) -> Option<String> {
        self.0.epitaph().await
    }
}

impl Subject {
    /// A sandbox without the data packages.
    pub async fn bare(place: Place) -> Self {
        Self::start(place, Wish::default()).await
    }

    /// A sandbox with the data packages.
    pub async fn full(place: Place) -> Self {
        Self::start(
            place,
            Wish {
                packages: true,
                ..Wish::default()
            },
        )
        .await
    }

    /// A sandbox as wished.
    pub async fn start(place: Place, wish: Wish) -> Self {
        // What waits for clusters is large, and tests should not have to be.
        Box::pin(Self::started(place, wish)).await
    }

    async fn started(place: Place, wish: Wish) -> Self {
        let env: Variables = wish.env.iter().map(|(n, v)| (n.clone(), v.clone())).collect();
        let host = match place {
            Place::Local => {
                let mut options = LocalOptions::new(interpreter().await, env);
                options.identity = identity(1);
                if !wish.packages {
                    options.preload = Some(Vec::new());
                }
                if let Some(bytes) = wish.memory {
                    options.limits.memory = bytes;
                }
                if let Some(number) = wish.processes {
                    options.limits.processes = number;
                }
                let sandbox = LocalSandbox::start(options).await;
                Host::Local(Box::new(sandbox.expect("a local sandbox starts")))
            }
            Place::Pod => {
                let cluster = Box::new(cluster().await);
                let options = wish.pod(&cluster).await;
                let sandbox = PodSandbox::open(options, None, &env).await;
                Host::Pod(Box::new(sandbox.expect("a Pod starts")), cluster)
            }
        };
        Self {
            host,
            place,
            next: AtomicU64::new(0),
            seen: Mutex::default(),
        }
    }

    /// Where it is.
    pub fn place(&self) -> Place {
        self.place
    }

    /// The trait object.
    pub fn sandbox(&self) -> &dyn Sandbox {
        match &self.host {
            Host::Local(sandbox) => &**sandbox,
            Host::Pod(sandbox, _) => &**sandbox,
        }
    }

    /// Its Pod, and the cluster.
    pub fn pod(&self) -> (&PodSandbox, &Cluster) {
        match &self.host {
            Host::Pod(sandbox, cluster) => (sandbox, cluster),
            Host::Local(_) => panic!("this subject is no Pod"),
        }
    }

    /// Another stream to its daemon.
    pub fn dial(&self) -> AnyDial {
        match &self.host {
            Host::Local(sandbox) => AnyDial(Box::new(sandbox.dial())),
            Host::Pod(sandbox, _) => AnyDial(Box::new(sandbox.dial())),
        }
    }

    /// Another controller of an epoch, that takes over.
    pub async fn take_over(&self, epoch: u64) -> Result<Client, SandboxError> {
        let attach = Attach::Existing {
            boot: Some(self.sandbox().boot()),
        };
        Client::connect(self.dial(), identity(epoch), attach, Timing::default()).await
    }

    /// The next call's id.
    pub fn id(&self) -> CallId {
        CallId(self.next.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// What the last call showed while it ran.
    pub fn seen(&self) -> String {
        self.seen.lock().expect("nobody panics with it").clone()
    }

    /// Runs a cell as the next call, and acknowledges its answer.
    pub async fn cell(&self, cell: Cell) -> Executed {
        let id = self.id();
        self.seen.lock().expect("nobody panics with it").clear();
        let mut show = |chunk: Chunk| {
            self.seen
                .lock()
                .expect("nobody panics with it")
                .push_str(&chunk.text);
        };
        let executed = self
            .sandbox()
            .execute(id, &cell, &mut show)
            .await
            .unwrap_or_else(|error| panic!("call {id} of {:?}: {error}", cell.code.get(..80)));
        self.sandbox()
            .acknowledge(id)
            .await
            .expect("it takes an acknowledgement");
        executed
    }

    /// Runs code with a short timeout, 20 s, and a short grace.
    pub async fn run(&self, code: &str) -> Executed {
        self.cell(Cell {
            timeout: Duration::from_secs(20),
            grace: Duration::from_millis(500),
            ..Cell::new(code)
        })
        .await
    }

    /// Runs code that must end well; its output.
    pub async fn output(&self, code: &str) -> String {
        let executed = self.run(code).await;
        assert!(executed.ok, "{code}: {executed:?}");
        executed.output
    }

    /// Puts an empty file into the session's directory, for code there that waits for it.
    pub async fn touch(&self, name: &str) {
        let id = self.id();
        let put = self
            .sandbox()
            .put_file(id, name, bytes::Bytes::new(), false)
            .await
            .expect("it can be put");
        assert!(put.ok, "{put:?}");
        self.sandbox()
            .acknowledge(id)
            .await
            .expect("it takes an acknowledgement");
    }

    /// Ends the session and begins another.
    pub async fn reset(&self, env: &[(&str, &str)]) -> WasReset {
        let id = self.id();
        let env: Variables = env
            .iter()
            .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
            .collect();
        let reset = self.sandbox().reset(id, &env).await.expect("it can be reset");
        self.sandbox()
            .acknowledge(id)
            .await
            .expect("it takes an acknowledgement");
        reset
    }

    /// How the daemon is.
    pub async fn status(&self) -> DaemonStatus {
        self.sandbox().status().await.expect("it tells its status")
    }

    /// What a file of the session's directory holds.
    pub fn file(&self, name: &str) -> Vec<u8> {
        match &self.host {
            Host::Local(sandbox) => std::fs::read(sandbox.directory().join(name)).expect("it is there"),
            Host::Pod(..) => panic!("files of a Pod are not read here"),
        }
    }

    /// Kills the daemon, as nothing but an accident or hostile code would.
    pub async fn kill_daemon(&self) {
        match &self.host {
            Host::Local(sandbox) => {
                let pid = i32::try_from(sandbox.pid())
                    .ok()
                    .and_then(rustix::process::Pid::from_raw);
                rustix::process::kill_process(pid.expect("it has one"), rustix::process::Signal::KILL)
                    .expect("it can be killed");
            }
            Host::Pod(sandbox, cluster) => cluster.kill(sandbox.name()).await,
        }
    }

    /// Ends it, however it is, whoever drives it.
    pub async fn discard(mut self) {
        match &mut self.host {
            Host::Local(sandbox) => sandbox.close().await.expect("nothing is left of it"),
            Host::Pod(sandbox, _) => sandbox.remove().await.expect("it can be removed"),
        }
    }

    /// Ends it, and looks that nothing is left.
    pub async fn close(self) {
        self.sandbox().close().await.expect("it can be closed");
    }
}
