//! Operators as processes of this machine, each behind proxies of its own to bucket, API server and sandboxes. Models they
//! ask directly: where those are is part of what is asked for. Must not know what is done to them.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use cataloger_tests::author::Author;
use cataloger_tests::faults::{Act, Place, Point, Points, Proxy, Victim};
use cataloger_tests::model_server::{KEY, ModelServer};
use cataloger_tests::operator::{Operator, Outside, Tenant, until};
use cataloger_tests::s3;
use cataloger_tests::served::Served;
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Child;
use tokio::time::{Instant, sleep, timeout};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_mins(2);
/// How often a proxy is asked what it has seen.
const LOOK: Duration = Duration::from_millis(20);

/// What an operator is cut off from, or refused by.
#[derive(Debug, Default)]
pub(crate) struct Cuts {
    pub(crate) api: AtomicBool,
    pub(crate) bucket: AtomicBool,
    /// Its bucket is there, and lets it do nothing.
    pub(crate) forbidden: AtomicBool,
    /// A namespace in which it may do nothing.
    pub(crate) foreign: OnceLock<String>,
}

impl Cuts {
    fn act(&self, place: Place, path: &str) -> Act {
        let within = |namespace: &String| path.contains(&format!("/namespaces/{namespace}/"));
        if place == Place::Api && self.foreign.get().is_some_and(within) {
            return Act::Answer(403);
        }
        if place == Place::Bucket && self.forbidden.load(Ordering::Relaxed) {
            return Act::Answer(403);
        }
        let cut = match place {
            // Sandboxes are reached by way of the API server.
            Place::Api | Place::Sandbox => &self.api,
            Place::Bucket => &self.bucket,
            Place::Model => return Act::Pass,
        };
        if cut.load(Ordering::Relaxed) {
            Act::Cut
        } else {
            Act::Pass
        }
    }
}

/// One of the operators.
pub(crate) struct Replica {
    pub(crate) points: Points,
    pub(crate) cuts: Arc<Cuts>,
    pub(crate) api: Proxy,
    _bucket: Proxy,
    victim: Victim,
    child: Child,
    log: PathBuf,
}

impl Replica {
    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        self.victim.signal(signal);
    }

    /// Ends it as an accident would.
    pub(crate) async fn kill(&mut self) {
        assert!(self.victim.kill(), "it runs");
        self.child.wait().await.expect("it can be waited for");
        self.victim.ended();
    }

    /// Waits until it has ended by itself: its exit code, if it was not a signal that ended it.
    pub(crate) async fn ended(&mut self, within: Duration) -> Option<i32> {
        let ended = timeout(within, self.child.wait()).await;
        let status = ended.unwrap_or_else(|_| panic!("it does not end: {}", self.log()));
        self.victim.ended();
        status.expect("it can be waited for").code()
    }

    /// Waits until it has asked for something like this.
    pub(crate) async fn asks(&self, what: &str, like: impl Fn(&Point) -> bool) {
        let asked = async {
            while !self.points.writes().iter().any(&like) {
                sleep(LOOK).await;
            }
        };
        let in_time = timeout(PATIENCE, asked).await;
        in_time.unwrap_or_else(|_| panic!("it does not {what}: {}", self.log()));
    }

    /// The last that it has said.
    pub(crate) fn log(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(60)..].join("\n")
    }
}

/// What the operators of one installation share: its place in the cluster, a database, and a model.
pub(crate) struct Ground {
    pub(crate) operator: Operator,
    pub(crate) server: ModelServer,
    pub(crate) url: String,
    _shop: Served,
    logs: TempDir,
}

impl Ground {
    /// A place of its own; none where the cluster is not the tests' own.
    pub(crate) async fn new(what: &str, author: Author) -> Option<Self> {
        let operator = Operator::without_pods(what).await?;
        let server = ModelServer::start().await;
        server.think(author.brain());
        let shop = Served::postgres_shop();
        Some(Self {
            operator,
            server,
            url: shop.reader(),
            _shop: shop,
            logs: tempfile::tempdir().expect("a directory"),
        })
    }

    /// Starts an operator for the Catalogs of a namespace, which names its lease as well.
    pub(crate) async fn start(&self, tenant: &Tenant<'_>, identity: &str, lease: &str) -> Replica {
        self.start_beside(tenant, identity, lease, None).await
    }

    /// One that is to look after another namespace as well, in which it may do nothing.
    pub(crate) async fn start_beside(
        &self,
        tenant: &Tenant<'_>,
        identity: &str,
        lease: &str,
        foreign: Option<&str>,
    ) -> Replica {
        let cuts = Arc::new(Cuts {
            foreign: foreign.map(|it| it.to_owned().into()).unwrap_or_default(),
            ..Cuts::default()
        });
        let judge = Arc::clone(&cuts);
        let points = Points::new(move |seen| judge.act(seen.point.place, seen.path));
        let endpoint = s3::in_cluster().endpoint.expect("it has an address");
        let api = Proxy::api(&self.operator.cluster.config, &points).await;
        let bucket = Proxy::bucket(&endpoint, &points).await;
        let kubeconfig = self.logs.path().join(format!("{identity}.kubeconfig"));
        std::fs::write(&kubeconfig, api.kubeconfig()).expect("a file");
        let log = self.logs.path().join(format!("{identity}.log"));
        let mut command = self.operator.outside(&Outside {
            installation: &tenant.namespace,
            identity,
            namespaces: [Some(tenant.namespace.as_str()), foreign]
                .into_iter()
                .flatten()
                .map(str::to_owned)
                .collect(),
            kubeconfig: &kubeconfig,
            bucket: &endpoint,
            log: &log,
            environment: vec![
                // The bucket's address, too, has to be the same for all.
                ("HTTP_PROXY", bucket.url()),
                ("NO_PROXY", "127.0.0.1".to_owned()),
                ("CATALOGER_LEASE_DURATION", lease.to_owned()),
                ("CATALOGER_MODEL", "anthropic/claude-sonnet-5-5".to_owned()),
                ("ANTHROPIC_API_KEY", KEY.to_owned()),
                ("ANTHROPIC_BASE_URL", self.server.url()),
            ],
        });
        let victim = Victim::default();
        let child = victim.start(&mut command);
        Replica {
            points,
            cuts,
            api,
            _bucket: bucket,
            victim,
            child,
            log,
        }
    }

    /// Waits until an operator leads.
    pub(crate) async fn leads(&self, tenant: &Tenant<'_>, identity: &str) {
        let leases: Api<Lease> =
            Api::namespaced(self.operator.cluster.admin.clone(), &self.operator.system());
        let held = |lease: &Lease| {
            let spec = lease.spec.as_ref();
            spec.and_then(|spec| spec.holder_identity.as_deref()) == Some(identity)
        };
        let led = until(&leases, &tenant.namespace, PATIENCE, held).await;
        led.unwrap_or_else(|last| panic!("{identity} does not lead: {last:?}"));
    }

    /// Applies a Catalog over the database, and waits until the model was asked so often.
    pub(crate) async fn at_work(&self, tenant: &Tenant<'_>, name: &str, rest: Value, times: usize) {
        tenant.begin(name, &self.url, rest).await;
        let asked = timeout(PATIENCE, self.server.asked(times)).await;
        if asked.is_err() {
            let catalog = tenant.catalogs().get(name).await;
            panic!("{name} is not at work: {catalog:#?}");
        }
    }
}

/// How long something takes.
pub(crate) async fn took(what: impl Future<Output = ()>) -> Duration {
    let began = Instant::now();
    what.await;
    began.elapsed()
}
