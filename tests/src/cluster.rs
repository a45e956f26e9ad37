//! The Kubernetes of the tests, and sandboxes in it as the operator makes them: by the role that it is installed
//! with, in a namespace that enforces the restricted profile and lets nothing through.
//!
//! Must not know what a test is about. `tests/cluster` brings the cluster up; `CATALOGER_TEST_KUBECONFIG` names
//! another one.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use cataloger::runtime::api_calls;
use cataloger::runtime::metrics::Metrics;
use cataloger::sandbox::InstallationSecret;
use cataloger::sandbox::pod::manifest::{Owner, PullPolicy, Shape};
use cataloger::sandbox::pod::{Patience, PodOptions, sweep};
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Namespace, Pod, ServiceAccount};
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams, PostParams, TypeMeta};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::GroupVersionKind;
use kube::{Api, Client, Config};
use serde::Deserialize as _;
use serde_json::Value;
use tokio::sync::OnceCell;

use crate::place::RUN;
use crate::relay::Relay;
use crate::script::{last_line, repository, run};
use crate::volume;

/// The namespace of the tests' sandboxes.
pub const SANDBOXES: &str = "cataloger-tests-sandboxes";
/// The namespace of whoever makes them.
const SYSTEM: &str = "cataloger-tests-system";
/// Their installation: what they have in common with no operator.
pub const INSTALLATION: &str = "tests";

/// A client, as the operator has it.
fn client(config: Config) -> Client {
    api_calls::client(config, &Metrics::new()).expect("a client")
}

/// The cluster.
#[derive(Clone)]
pub struct Cluster {
    /// Whoever may do everything.
    pub admin: Client,
    /// The operator, with the role that it is installed with.
    pub operator: Client,
    /// The sandbox's image, by the name that the cluster has it under.
    pub image: String,
    /// Whether it is the one of `tests/cluster`, whose parts can be stopped.
    pub own: bool,
    /// Where its API server is, and what it is trusted by.
    pub config: Config,
    _use: Arc<Option<File>>,
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Cluster")
            .field("own", &self.own)
            .finish_non_exhaustive()
    }
}

/// The cluster, brought up at the first call.
pub async fn cluster() -> Cluster {
    Box::pin(brought_up()).await
}

async fn brought_up() -> Cluster {
    // What is the same for all tests of a process. Clients are not: each test has a runtime of its own.
    static READY: OnceCell<(PathBuf, String, Arc<Option<File>>)> = OnceCell::const_new();
    let own = std::env::var_os("CATALOGER_TEST_KUBECONFIG").is_none();
    let (path, image, in_use) = READY
        .get_or_init(|| async {
            let path = PathBuf::from(last_line("tests/cluster/up", &[]).await);
            let in_use = own.then(|| {
                let lock = File::open("/run/lock/cataloger-cluster.users").expect("a cluster has it");
                lock.lock_shared().expect("it can be shared");
                lock
            });
            let image = match std::env::var("CATALOGER_TEST_SANDBOX_IMAGE") {
                Ok(given) => given,
                Err(_) => last_line("sandbox-image/build", &["--image"]).await,
            };
            if own {
                run("tests/cluster/load", &[&image]).await;
            }
            let config = config(&path).await;
            let admin = client(config);
            install(&admin).await;
            tidy(&admin).await;
            (path, image, Arc::new(in_use))
        })
        .await
        .clone();
    let config = config(&path).await;
    let admin = client(config.clone());
    let mut token = config.clone();
    token.auth_info = kube::config::AuthInfo {
        token: Some(token_of_operator(&admin).await.into()),
        ..kube::config::AuthInfo::default()
    };
    let operator = client(token);
    Cluster {
        admin,
        operator,
        image,
        own,
        config,
        _use: in_use,
    }
}

async fn config(path: &std::path::Path) -> Config {
    let kubeconfig = Kubeconfig::read_from(path).expect("a KUBECONFIG");
    Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .expect("a usable KUBECONFIG")
}

/// The manifests that users install, under names of the tests.
async fn install(admin: &Client) {
    let text = std::fs::read_to_string(repository().join("charts/manifests/sandboxes.yaml"))
        .expect("the manifests are there")
        .replace("cataloger-sandboxes", SANDBOXES)
        .replace("cataloger-services", "cataloger-tests-services")
        .replace("cataloger-system", SYSTEM);
    let system = format!(
        "apiVersion: v1\nkind: Namespace\nmetadata: {{name: {SYSTEM}}}\n---\napiVersion: v1\nkind: ServiceAccount\nmetadata: {{name: cataloger, namespace: {SYSTEM}}}\n"
    );
    let documents: Vec<_> = serde_yaml::Deserializer::from_str(&(system + "---\n" + &text))
        .map(|document| serde_yaml::Value::deserialize(document).expect("YAML"))
        .collect();
    for object in documents {
        apply(admin, &object).await;
    }
}

/// Creates an object of any kind as kubectl does, which refuses unknown fields; nothing is stored. `namespace` is where
/// it would be if it does not say so itself.
pub async fn dry_run(admin: &Client, object: &Value, namespace: &str) -> kube::Result<DynamicObject> {
    let types = TypeMeta::deserialize(object).expect("it has a kind");
    let resource = ApiResource::from_gvk(&GroupVersionKind::try_from(&types).expect("it has a kind"));
    let everywhere = ["Namespace", "ClusterRole", "ClusterRoleBinding"].contains(&types.kind.as_str());
    let api: Api<DynamicObject> = if everywhere {
        Api::all_with(admin.clone(), &resource)
    } else {
        let namespace = object["metadata"]["namespace"].as_str().unwrap_or(namespace);
        Api::namespaced_with(admin.clone(), namespace, &resource)
    };
    let url = format!("{}?dryRun=All&fieldValidation=Strict", api.resource_url());
    let request = hyper::Request::post(url)
        .header("content-type", "application/json")
        .body(serde_json::to_vec(object).expect("JSON"))
        .expect("a request");
    admin.request(request).await
}

/// Applies an object of any kind.
pub async fn apply(admin: &Client, object: &impl serde::Serialize) {
    try_apply(admin, object, &PatchParams::apply("cataloger-tests").force())
        .await
        .unwrap_or_else(|error| {
            let object = serde_json::to_value(object).unwrap_or_default();
            let (kind, name) = (&object["kind"], &object["metadata"]["name"]);
            panic!("{kind} {name} can't be applied: {error}")
        });
}

/// Applies an object of any kind, if the API server takes it.
pub async fn try_apply(
    admin: &Client,
    object: &impl serde::Serialize,
    how: &PatchParams,
) -> kube::Result<DynamicObject> {
    let object = serde_json::to_value(object).expect("an object");
    let object: DynamicObject = serde_json::from_value(object).expect("an object");
    let types = object.types.clone().expect("a kind");
    let kind = GroupVersionKind::try_from(&types).expect("a kind");
    let resource = ApiResource::from_gvk(&kind);
    let api: Api<DynamicObject> = match &object.metadata.namespace {
        Some(namespace) => Api::namespaced_with(admin.clone(), namespace, &resource),
        None => Api::all_with(admin.clone(), &resource),
    };
    let name = object.metadata.name.clone().expect("a name");
    api.patch(&name, how, &Patch::Apply(&object)).await
}

/// Removes sandboxes whose test was killed before it could.
async fn tidy(admin: &Client) {
    let lives = |uid: &str, _: &str| {
        let process = uid.split('-').next().unwrap_or_default();
        std::path::Path::new("/proc").join(process).exists()
    };
    for namespace in [SANDBOXES, volume::NAMESPACE] {
        sweep(admin, namespace, INSTALLATION, &Patience::default(), lives)
            .await
            .expect("abandoned sandboxes can be removed");
    }
}

async fn token_of_operator(admin: &Client) -> String {
    let accounts: Api<ServiceAccount> = Api::namespaced(admin.clone(), SYSTEM);
    let request = TokenRequest {
        spec: TokenRequestSpec {
            expiration_seconds: Some(4 * 3600),
            ..TokenRequestSpec::default()
        },
        ..TokenRequest::default()
    };
    let token = accounts
        .create_token_request("cataloger", &PostParams::default(), &request)
        .await
        .expect("a token");
    token.status.expect("a token").token
}

impl Cluster {
    /// A sandbox of a run that nobody else has, with little of everything.
    pub fn options(&self) -> PodOptions {
        let mut shape = Shape::new(&self.image);
        shape.pull = if self.own {
            PullPolicy::Never
        } else {
            PullPolicy::IfNotPresent
        };
        let mut options = PodOptions::new(
            self.operator.clone(),
            SANDBOXES,
            owner(),
            InstallationSecret::new(*b"an installation secret for tests"),
            shape,
        );
        options.patience.trouble = std::time::Duration::from_secs(3);
        options
    }

    /// An administrator whose connections go over a relay, and the relay; see [`Relay::start`] for `seed` and `mean`.
    pub async fn relayed(&self, seed: u64, mean: u64) -> (Client, Relay) {
        let mut config = self.config.clone();
        let host = config.cluster_url.host().expect("an API server").to_owned();
        let port = config.cluster_url.port_u16().unwrap_or(443);
        let relay = Relay::start(format!("{host}:{port}"), seed, mean).await;
        config.cluster_url = format!("https://{}", relay.address()).parse().expect("a URL");
        config.tls_server_name = Some(host);
        (client(config), relay)
    }

    /// The Pods of the tests' sandboxes.
    pub fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.admin.clone(), SANDBOXES)
    }

    /// Kills the container of a sandbox from outside, as the kernel does where memory has run out. Of our own
    /// cluster only: nobody but its node can.
    pub async fn kill(&self, name: &str) {
        let pod = self.pods().get(name).await.expect("the Pod is there");
        let statuses = pod
            .status
            .and_then(|it| it.container_statuses)
            .unwrap_or_default();
        let id = statuses
            .first()
            .and_then(|it| it.container_id.clone())
            .expect("it runs");
        let id = id.rsplit_once("//").map_or(id.as_str(), |(_, id)| id).to_owned();
        run("tests/cluster/signal", &[&id]).await;
    }

    /// A namespace that enforces the restricted profile, there from now on.
    pub async fn namespace(&self, name: &str) {
        let namespaces: Api<Namespace> = Api::all(self.admin.clone());
        let labels = serde_json::json!({"pod-security.kubernetes.io/enforce": "restricted"});
        let metadata = serde_json::json!({"name": name, "labels": labels});
        let namespace = serde_json::json!({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata});
        namespaces
            .patch(
                name,
                &PatchParams::apply("cataloger-tests"),
                &Patch::Apply(&namespace),
            )
            .await
            .expect("a namespace");
    }
}

/// An owner that nobody else is. Its UID begins with the process that tests, so that what it leaves can be told.
pub fn owner() -> Owner {
    Owner {
        installation: INSTALLATION.into(),
        namespace: "sales".into(),
        catalog: "shop".into(),
        uid: format!("{}-{:016x}", std::process::id(), rand::random::<u64>()),
        run: RUN.into(),
    }
}
