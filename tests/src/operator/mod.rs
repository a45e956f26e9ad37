//! Operators as users install them: from `charts/manifests`, in the tests' cluster, as Pods.
//!
//! Each has namespaces of its own, and looks at no others, so that several can work in one cluster: those of other
//! tests, and what `make deploy` has installed. They go when the test is over that made them, or the process, however it
//! ended.
//! Must not know what a test is about.

mod argocd;
pub mod audit;
mod kstatus;
mod leftovers;
mod manifests;
mod outside;
mod release;
mod tenant;
mod until;
mod verdicts;

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::{DeleteParams, EvictParams, ListParams, LogParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::sync::{OnceCell, watch};

use crate::cluster::{Cluster, apply, cluster};
use crate::s3;
use crate::script::{self, last_line};

pub use argocd::argocd;
pub use kstatus::kstatus;
pub use leftovers::{Janitor, janitor};
pub use manifests::{definitions, rendered, rules};
pub use outside::Outside;
pub use release::release;
pub use tenant::{PATIENCE, Tenant, bucket, condition, handled, is, merge, phase, read, run};
pub use until::{gone, until};
pub use verdicts::Verdict;

/// How long an operator may take to be there.
const START: Duration = Duration::from_secs(90);
/// What is written on all that belongs to an operator of the tests: the process that made it.
pub const PROCESS: &str = "cataloger.dev/tests-process";
/// Where the tests' model servers are, for Pods.
pub const NODE: &str = "198.18.255.1";

/// How an operator is to be.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How many Pods.
    pub replicas: u32,
    /// Its environment, beside what every operator of the tests is told.
    pub environment: BTreeMap<String, String>,
    /// Which namespaces of Catalogs it has: the ends of their names.
    pub tenants: Vec<&'static str>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            replicas: 1,
            environment: BTreeMap::new(),
            tenants: vec!["a", "b"],
        }
    }
}

/// Has the cluster know our kinds; their definitions.
pub async fn define_kinds(client: &Client) -> Vec<Value> {
    let definitions = definitions().await;
    for definition in &definitions {
        apply(client, definition).await;
    }
    definitions
}

impl Settings {
    /// With a setting: `CATALOGER_` goes before its name.
    #[must_use]
    pub fn set(mut self, name: &str, value: &str) -> Self {
        self.environment
            .insert(format!("CATALOGER_{name}"), value.to_owned());
        self
    }

    /// With so many Pods, which notice soon that another one is gone.
    #[must_use]
    pub fn replicas(mut self, replicas: u32) -> Self {
        self.replicas = replicas;
        self.set("LEASE_DURATION", "6s")
    }
}

/// How many operators tests hold at the moment.
static HELD: LazyLock<watch::Sender<usize>> = LazyLock::new(|| watch::channel(0).0);

#[derive(Debug)]
struct Held;

impl Held {
    fn new() -> Self {
        HELD.send_modify(|held| *held += 1);
        Self
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        HELD.send_modify(|held| *held -= 1);
    }
}

/// Waits until nobody else in this process holds an operator.
pub async fn alone() {
    // The sender lives as long as the process.
    let _ = HELD.subscribe().wait_for(|held| *held <= 1).await;
}

/// An operator, and the namespaces that are its own.
#[derive(Debug)]
pub struct Operator {
    /// The cluster that it is in.
    pub cluster: Cluster,
    /// What all names of its own begin with.
    pub name: String,
    _held: Held,
    /// None of the one that is shared: it goes with the process.
    _janitor: Option<Janitor>,
}

impl Operator {
    /// The one that most tests of a process use; installed at the first call. It may ask model servers of this machine.
    /// None where the cluster is not the tests' own, and has neither their servers nor this machine for a node.
    pub async fn shared() -> Option<Self> {
        static SHARED: OnceCell<Result<(String, Janitor), String>> = OnceCell::const_new();
        let held = Held::new();
        let cluster = cluster().await;
        if !cluster.own {
            return None;
        }
        let settings = Settings::default().set("ALLOW_BASE_URL", &format!("http://{NODE}:*"));
        let installed = SHARED.get_or_init(|| Box::pin(installed(&cluster, "shared", &settings)));
        // What does not come up for one test would not for the next.
        let (name, _) = installed.await.as_ref().unwrap_or_else(|why| panic!("{why}"));
        Some(Self {
            name: name.clone(),
            cluster,
            _held: held,
            _janitor: None,
        })
    }

    /// One for a single test, in the same place: `name` is what is different.
    pub async fn own(name: &str, settings: &Settings) -> Option<Self> {
        let held = Held::new();
        let cluster = cluster().await;
        if !cluster.own {
            return None;
        }
        let installed = Box::pin(installed(&cluster, name, settings)).await;
        let (name, janitor) = installed.unwrap_or_else(|why| panic!("{why}"));
        Some(Self {
            cluster,
            name,
            _held: held,
            _janitor: Some(janitor),
        })
    }

    /// One that was installed otherwise, under such names and labels.
    pub fn installed_as(cluster: &Cluster, name: &str, tenants: &[&str]) -> Self {
        Self {
            cluster: cluster.clone(),
            name: name.to_owned(),
            _held: Held::new(),
            _janitor: Some(janitor(name, tenants)),
        }
    }

    /// What all names of the one begin with that a test calls so: settings may have to say it beforehand.
    pub fn name_of(what: &str) -> String {
        format!("cataloger-e2e-{}-{what}", std::process::id())
    }

    /// The namespace of its Pods.
    pub fn system(&self) -> String {
        format!("{}-system", self.name)
    }

    /// The namespace of its sandboxes.
    pub fn sandboxes(&self) -> String {
        format!("{}-sandboxes", self.name)
    }

    /// One of the namespaces of its Catalogs.
    pub fn tenant(&self, which: &str) -> Tenant<'_> {
        Tenant::new(self, format!("{}-{which}", self.name))
    }

    fn api(&self) -> Api<Pod> {
        Api::namespaced(self.cluster.admin.clone(), &self.system())
    }

    /// Its Pods that are not about to end.
    pub async fn pods(&self) -> Vec<Pod> {
        let its = ListParams::default().labels("app.kubernetes.io/name=cataloger");
        let pods = self.api().list(&its).await.expect("Pods can be listed");
        let stays = |pod: &Pod| pod.metadata.deletion_timestamp.is_none();
        pods.items.into_iter().filter(stays).collect()
    }

    /// The names of its Pods, that have a sandbox: of runs that are under way.
    pub async fn sandbox_pods(&self) -> Vec<String> {
        let pods: Api<Pod> = Api::namespaced(self.cluster.admin.clone(), &self.sandboxes());
        let found = pods
            .list(&ListParams::default())
            .await
            .expect("Pods can be listed");
        found
            .items
            .into_iter()
            .filter_map(|pod| pod.metadata.name)
            .collect()
    }

    /// The Pod that works: who holds the lease.
    pub async fn leader(&self) -> String {
        let leases: Api<Lease> = Api::namespaced(self.cluster.admin.clone(), &self.system());
        let holder = |lease: &Lease| {
            let spec = lease.spec.as_ref()?;
            spec.holder_identity.clone().filter(|holder| !holder.is_empty())
        };
        let led = until(&leases, &self.name, START, |lease| holder(lease).is_some()).await;
        let lease = led.unwrap_or_else(|last| panic!("nobody leads: {last:?}"));
        holder(&lease).expect("it was looked at")
    }

    /// Waits for another leader than this one.
    pub async fn leader_after(&self, old: &str) -> String {
        let leases: Api<Lease> = Api::namespaced(self.cluster.admin.clone(), &self.system());
        let holder = |lease: &Lease| lease.spec.as_ref()?.holder_identity.clone();
        let other = |lease: &Lease| holder(lease).is_some_and(|it| !it.is_empty() && it != old);
        let led = until(&leases, &self.name, START, other).await;
        let lease = led.unwrap_or_else(|last| panic!("nobody takes over from {old}: {last:?}"));
        holder(&lease).expect("it was looked at")
    }

    /// Ends a Pod of it as a node does that fails: without a word.
    pub async fn kill(&self, pod: &str) {
        let at_once = DeleteParams::default().grace_period(0);
        self.api().delete(pod, &at_once).await.expect("it is there");
    }

    /// Ends a Pod of it in good order.
    pub async fn stop(&self, pod: &str) {
        self.api()
            .delete(pod, &DeleteParams::default())
            .await
            .expect("it is there");
    }

    /// Ends a Pod of it as `kubectl drain` does on its node: by an eviction, once its budget lets it go.
    pub async fn drain(&self, pod: &str) {
        let budgets: Api<PodDisruptionBudget> = Api::namespaced(self.cluster.admin.clone(), &self.system());
        let lets_go = |budget: &PodDisruptionBudget| {
            let status = budget.status.as_ref();
            status.is_some_and(|status| status.disruptions_allowed > 0)
        };
        let may = until(&budgets, "cataloger", START, lets_go).await;
        may.unwrap_or_else(|last| panic!("{pod} may not go: {last:?}"));
        let evicted = self.api().evict(pod, &EvictParams::default()).await;
        evicted.expect("it may go");
    }

    /// The last lines that its Pods have written, for whoever reads why a test fails.
    pub async fn logs(&self) -> String {
        let mut text = String::new();
        let last = LogParams {
            tail_lines: Some(60),
            ..LogParams::default()
        };
        for pod in self.pods().await {
            let name = pod.metadata.name.unwrap_or_default();
            let logs = self.api().logs(&name, &last).await;
            let logs = logs.unwrap_or_else(|error| error.to_string());
            text += &["== ", &name, "\n", &logs, "\n"].concat();
        }
        text
    }

    /// All lines that its Pods have written, for what none of them may have.
    pub async fn all_logs(&self) -> String {
        let mut text = String::new();
        for pod in self.pods().await {
            let name = pod.metadata.name.unwrap_or_default();
            let logs = self.api().logs(&name, &LogParams::default()).await;
            text += &logs.unwrap_or_else(|error| panic!("{name} has no logs: {error}"));
        }
        // What is not there can't hold a secret.
        assert!(text.contains("this replica leads"), "{text}");
        text
    }

    /// What a Pod of it answers at a path, by the API server's proxy.
    pub async fn get(&self, pod: &str, path: &str) -> kube::Result<String> {
        let url = format!("/api/v1/namespaces/{}/pods/{pod}:8080/proxy{path}", self.system());
        let request = http_request(&url);
        self.cluster.admin.request_text(request).await
    }

    /// The value of a metric of a Pod, all its series added up; nothing if there is none.
    pub async fn metric(&self, pod: &str, name: &str, labels: &[&str]) -> Option<f64> {
        let text = self.get(pod, "/metrics").await.expect("it has metrics");
        let mut sum = None;
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (series, value) = line.rsplit_once(' ')?;
            let (metric, rest) = series.split_once('{').unwrap_or((series, ""));
            if metric == name && labels.iter().all(|label| rest.contains(label)) {
                sum = Some(sum.unwrap_or(0.0) + value.parse::<f64>().ok()?);
            }
        }
        sum
    }
}

fn http_request(path: &str) -> hyper::Request<Vec<u8>> {
    hyper::Request::get(path).body(Vec::new()).expect("a request")
}

/// Installs an operator; the name that all of it has, and who removes it, or why it does not come up.
async fn installed(cluster: &Cluster, what: &str, settings: &Settings) -> Result<(String, Janitor), String> {
    let image = prepared(cluster).await;
    let name = Operator::name_of(what);
    let janitor = janitor(&name, &settings.tenants);
    for object in objects(cluster, image, &name, settings).await {
        apply(&cluster.admin, &object).await;
    }
    let deployments: Api<Deployment> = Api::namespaced(cluster.admin.clone(), &format!("{name}-system"));
    let wanted = i32::try_from(settings.replicas).expect("a small number");
    let all = |it: &Deployment| it.status.as_ref().and_then(|it| it.ready_replicas) == Some(wanted);
    let ready = until(&deployments, "cataloger", START, all).await;
    if let Err(last) = ready {
        let operator = Operator {
            cluster: cluster.clone(),
            name,
            _held: Held::new(),
            _janitor: Some(janitor),
        };
        let status = last.and_then(|it| it.status);
        return Err(format!(
            "the operator does not come up: {status:?}\n{}",
            operator.logs().await
        ));
    }
    Ok((name, janitor))
}

/// What is done once in a process: the operator's image, in the cluster from then on, and order.
async fn prepared(cluster: &Cluster) -> &'static str {
    static PREPARED: OnceCell<String> = OnceCell::const_new();
    let prepared = async || {
        let image = match std::env::var("CATALOGER_TEST_OPERATOR_IMAGE") {
            Ok(given) => given,
            Err(_) => last_line("tests/operator-image", &[]).await,
        };
        script::run("tests/cluster/load", &[&image]).await;
        leftovers::tidy(cluster).await;
        image
    };
    PREPARED.get_or_init(|| Box::pin(prepared())).await
}

/// All that is to be applied, in that order.
async fn objects(cluster: &Cluster, image: &str, name: &str, settings: &Settings) -> Vec<Value> {
    let namespaces: Vec<String> = settings
        .tenants
        .iter()
        .map(|tenant| format!("{name}-{tenant}"))
        .collect();
    let mut environment = BTreeMap::from(
        [
            ("CATALOGER_NAMESPACE", namespaces.join(",")),
            ("CATALOGER_INSTALLATION", name.to_owned()),
            ("CATALOGER_SANDBOX_NAMESPACE", format!("{name}-sandboxes")),
            ("CATALOGER_SANDBOX_IMAGE", cluster.image.clone()),
            ("CATALOGER_SANDBOX_PULL_POLICY", "never".to_owned()),
            ("CATALOGER_BUCKET", s3::BUCKET.to_owned()),
            ("CATALOGER_BUCKET_PREFIX", name.to_owned()),
            (
                "CATALOGER_BUCKET_ENDPOINT",
                "http://s3.cataloger-tests:7070".to_owned(),
            ),
            ("CATALOGER_BUCKET_REGION", "us-east-1".to_owned()),
            ("CATALOGER_BUCKET_PATH_STYLE", "true".to_owned()),
            ("RUST_LOG", "info".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value)),
    );
    environment.extend(settings.environment.clone());

    let mut objects = manifests::renamed(&rendered().await, name);
    objects.insert(
        0,
        json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": "cataloger-keys", "namespace": format!("{name}-system")},
            "stringData": {"AWS_ACCESS_KEY_ID": s3::ID, "AWS_SECRET_ACCESS_KEY": s3::SECRET},
        }),
    );
    objects.extend(namespaces.iter().map(|namespace| {
        let labels = json!({"pod-security.kubernetes.io/enforce": "restricted"});
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": labels}})
    }));
    for object in &mut objects {
        match object["kind"].as_str().unwrap_or_default() {
            "ConfigMap" => {
                for (name, value) in &environment {
                    object["data"][name] = value.as_str().into();
                }
            }
            "Deployment" => {
                object["spec"]["replicas"] = settings.replicas.into();
                let container = &mut object["spec"]["template"]["spec"]["containers"][0];
                container["image"] = image.into();
                container["imagePullPolicy"] = "Never".into();
            }
            "CustomResourceDefinition" => continue,
            _ => {}
        }
        object["metadata"]["labels"][PROCESS] = std::process::id().to_string().into();
    }
    // Namespaces and kinds before all that needs them.
    objects.sort_by_key(|object| match object["kind"].as_str() {
        Some("Namespace") => 0,
        Some("CustomResourceDefinition") => 1,
        Some("Deployment") => 3,
        _ => 2,
    });
    objects
}
