//! The operator as a process of this machine, with namespaces of its own in the tests' cluster. Must not know what is
//! measured.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::process::Stdio;
use std::time::Duration;

use cataloger::api::Catalog;
use cataloger::store::{Depth, Key, Store as _, list_all};
use cataloger_tests::cluster::{Cluster, apply, cluster};
use cataloger_tests::command::program;
use cataloger_tests::operator::{Janitor, PROCESS, bucket, define_kinds, janitor, until};
use cataloger_tests::s3;
use cataloger_tests::script::last_line;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{DeleteParams, ListParams};
use serde_json::json;
use tempfile::NamedTempFile;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

/// How long it may take to begin, to end, and to tidy up.
const PATIENCE: Duration = Duration::from_mins(3);
/// How often it is looked at while it should come to rest.
const PAUSE: Duration = Duration::from_secs(2);

/// An operator that runs.
pub(super) struct Process {
    child: Child,
    port: u16,
    log: NamedTempFile,
    name: String,
    kubeconfig: String,
    runs: usize,
    /// The cluster that it looks after.
    pub(super) cluster: Cluster,
    _janitor: Janitor,
}

/// Its metrics: each series' value.
pub(super) struct Metrics(BTreeMap<String, f64>);

impl Metrics {
    /// A metric, all of its series added up that have this in their labels, and not that.
    pub(super) fn sum(&self, metric: &str, with: &str, without: &[&str]) -> f64 {
        let its = self.0.iter().filter(|(series, _)| {
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            name == metric && labels.contains(with) && !without.iter().any(|it| labels.contains(it))
        });
        its.map(|(_, value)| value).sum()
    }

    /// By how much each series of a metric is more than it was.
    pub(super) fn more<'a>(
        &'a self,
        before: &'a Self,
        metric: &'a str,
    ) -> impl Iterator<Item = (&'a str, f64)> {
        self.0.iter().filter_map(move |(series, value)| {
            let more = value - before.0.get(series).unwrap_or(&0.0);
            (series.starts_with(metric) && more > 0.0).then_some((series.as_str(), more))
        })
    }
}

/// Starts the program.
fn command(log: &NamedTempFile, kubeconfig: &str, name: &str, image: &str, port: u16, runs: usize) -> Child {
    Command::new(program())
        .arg("operator")
        .env_clear()
        .env("KUBECONFIG", kubeconfig)
        .env("HOME", std::env::temp_dir())
        .env("RUST_LOG", "info")
        .env("AWS_ACCESS_KEY_ID", s3::ID)
        .env("AWS_SECRET_ACCESS_KEY", s3::SECRET)
        .args(["--identity", name, "--allow-base-url", "http://127.0.0.1:*"])
        .args(["--model", "builtin", "--sandbox-pull-policy", "never"])
        .args(["--bucket", s3::BUCKET, "--bucket-prefix", name])
        .args(["--bucket-region", "us-east-1", "--bucket-path-style", "true"])
        .args(["--bucket-endpoint", s3::ENDPOINT])
        .args(["--installation", name, "--namespace", &format!("{name}-a")])
        .args(["--operator-namespace", &format!("{name}-system")])
        .args(["--sandbox-namespace", &format!("{name}-sandboxes")])
        .args(["--sandbox-image", image, "--max-runs", &runs.to_string()])
        .args(["--listen", &format!("127.0.0.1:{port}")])
        .stdin(Stdio::null())
        .stdout(log.reopen().expect("it is there"))
        .stderr(log.reopen().expect("it is there"))
        .kill_on_drop(true)
        .spawn()
        .expect("cataloger starts")
}

impl Process {
    /// Starts one that leads; none where the cluster is not the tests' own, and has no bucket.
    pub(super) async fn start(runs: usize) -> Option<Self> {
        let cluster = cluster().await;
        if !cluster.own {
            return None;
        }
        let kubeconfig = last_line("tests/cluster/up", &[]).await;
        let name = format!("cataloger-bench-{}", std::process::id());
        let janitor = janitor(&name, &["a"]);
        define_kinds(&cluster.admin).await;
        for end in ["system", "sandboxes", "a"] {
            let labels = json!({
                PROCESS: std::process::id().to_string(),
                "pod-security.kubernetes.io/enforce": "restricted",
            });
            let metadata = json!({"name": format!("{name}-{end}"), "labels": labels});
            let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata});
            apply(&cluster.admin, &namespace).await;
        }
        // Nobody takes it in between, or the start fails.
        let free = TcpListener::bind("127.0.0.1:0").expect("a port of the loopback");
        let port = free.local_addr().expect("an address").port();
        drop(free);
        let log = NamedTempFile::new().expect("a file");
        let child = command(&log, &kubeconfig, &name, &cluster.image, port, runs);
        let operator = Self {
            child,
            port,
            log,
            name,
            kubeconfig,
            runs,
            cluster,
            _janitor: janitor,
        };
        let leases: Api<Lease> = Api::namespaced(
            operator.cluster.admin.clone(),
            &format!("{}-system", operator.name),
        );
        let held = |lease: &Lease| {
            let holder = lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_ref());
            holder.is_some_and(|holder| !holder.is_empty())
        };
        let led = until(&leases, &operator.name, PATIENCE, held).await;
        led.unwrap_or_else(|_| panic!("it does not lead: {}", operator.told()));
        operator.rests().await;
        Some(operator)
    }

    /// Ends it as a crash does, and, after something was done, starts it anew: another life of the same replica.
    pub(super) async fn reborn(&mut self, meanwhile: impl Future<Output = ()>) {
        self.child.kill().await.expect("it runs");
        meanwhile.await;
        self.child = command(
            &self.log,
            &self.kubeconfig,
            &self.name,
            &self.cluster.image,
            self.port,
            self.runs,
        );
    }

    /// Its Catalogs.
    pub(super) fn catalogs(&self) -> Api<Catalog> {
        Api::namespaced(self.cluster.admin.clone(), &self.tenant())
    }

    /// Where they are.
    pub(super) fn tenant(&self) -> String {
        format!("{}-a", self.name)
    }

    /// Its sandboxes.
    pub(super) fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.cluster.admin.clone(), &format!("{}-sandboxes", self.name))
    }

    /// Its process.
    pub(super) fn pid(&self) -> u32 {
        self.child.id().expect("it was not waited for")
    }

    /// The last of what it has written.
    pub(super) fn told(&self) -> String {
        let text = std::fs::read_to_string(self.log.path()).unwrap_or_default();
        let lines: Vec<&str> = text.lines().rev().take(40).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    /// What it counts.
    pub(super) async fn metrics(&self) -> Metrics {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))
            .await
            .unwrap_or_else(|error| panic!("it is not there: {error}\n{}", self.told()));
        let request = b"GET /metrics HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n";
        stream.write_all(request).await.expect("it takes a request");
        let mut text = String::new();
        stream.read_to_string(&mut text).await.expect("it answers");
        let series = text.lines().filter(|line| line.starts_with("cataloger_"));
        let series = series.filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            Some((series.to_owned(), value.parse().ok()?))
        });
        Metrics(series.collect())
    }

    /// Waits until it has looked at nothing for a while.
    pub(super) async fn rests(&self) {
        let looks = async || self.metrics().await.sum("cataloger_reconciles_total", "", &[]);
        let resting = async {
            let mut before = looks().await;
            loop {
                sleep(PAUSE).await;
                let now = looks().await;
                if (now - before).abs() < 0.5 {
                    break;
                }
                before = now;
            }
        };
        let rested = timeout(PATIENCE, resting).await;
        rested.unwrap_or_else(|_| panic!("it does not come to rest: {}", self.told()));
    }

    /// Ends it in good order, with all that it has made. The namespaces go after it.
    pub(super) async fn end(mut self) {
        let catalogs = self.catalogs();
        catalogs
            .delete_collection(&DeleteParams::default(), &ListParams::default())
            .await
            .expect("Catalogs can be deleted");
        self.rests().await;
        let pid = i32::try_from(self.pid()).expect("process ids are small");
        let pid = rustix::process::Pid::from_raw(pid).expect("a process id");
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it runs");
        let ended = timeout(PATIENCE, self.child.wait()).await;
        let status = ended.expect("it ends in time").expect("it can be waited for");
        assert!(status.success(), "{status}: {}", self.told());
        let (bucket, folder) = (bucket().await, Key::new(self.name.clone()).expect("a key"));
        let listed = list_all(&bucket, Some(folder), Depth::Everything, 100_000).await;
        for object in listed.expect("it can be listed").objects {
            bucket.delete(&object.key).await.expect("it can be deleted");
        }
    }
}
