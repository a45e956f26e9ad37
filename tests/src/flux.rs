//! Flux as processes of this machine, which fetch from a Git server of this machine and keep a namespace of the cluster
//! as its commits say. `tests/flux/build` builds them. Must not know what a test is about.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ApiResource, DeleteParams, DynamicObject};
use kube::core::GroupVersionKind;
use kube::{Api, Client};
use serde::Deserialize as _;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::cluster::apply;
use crate::databases::free_port;
use crate::git::{BRANCH, Repository};
use crate::operator::{gone, until};
use crate::script::{cache, last_line, output, repository as here};

/// Defines the kinds of Argo CD and Flux in the cluster.
pub async fn define_gitops_kinds(admin: &Client) {
    let definitions: Api<CustomResourceDefinition> = Api::all(admin.clone());
    for path in output("tests/gitops-kinds", &[]).await.lines() {
        let text = std::fs::read_to_string(path).expect("it is there");
        for document in serde_yaml::Deserializer::from_str(&text) {
            let definition = Value::deserialize(document).expect("YAML");
            apply(admin, &definition).await;
            let name = definition["metadata"]["name"].as_str().expect("a name");
            let served = |it: &CustomResourceDefinition| {
                let conditions = it.status.iter().flat_map(|it| it.conditions.iter().flatten());
                conditions
                    .into_iter()
                    .any(|it| it.type_ == "Established" && it.status == "True")
            };
            until(&definitions, name, Duration::from_mins(1), served)
                .await
                .unwrap_or_else(|last| panic!("{name} is not served: {last:?}"));
        }
    }
}

/// Its controllers, and the repository that they follow.
pub struct Flux {
    admin: Client,
    namespace: String,
    repository: Repository,
    _controllers: Vec<Child>,
    _storage: TempDir,
}

/// What the `GitRepository` and the `Kustomization` are called.
pub const NAME: &str = "cataloger";

impl std::fmt::Debug for Flux {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Flux")
            .field("namespace", &self.namespace)
            .finish_non_exhaustive()
    }
}

impl Flux {
    /// Starts it for a namespace, with an empty repository; none where the programs are not there.
    pub async fn start(admin: &Client, namespace: &str) -> Option<Self> {
        let programs = cache().join("flux");
        if !programs.join("version").exists() {
            eprintln!(
                "left out, as Flux is not in {}: tests/flux/build",
                programs.display()
            );
            return None;
        }
        define_gitops_kinds(admin).await;
        let kubeconfig = last_line("tests/cluster/up", &[]).await;
        let storage = tempfile::tempdir().expect("a directory");
        let at = format!("127.0.0.1:{}", free_port());
        let artifacts = [
            format!("--storage-path={}", storage.path().display()),
            format!("--storage-addr={at}"),
            format!("--storage-adv-addr={at}"),
        ];
        let started = |program: &str, more: &[String]| {
            Command::new(programs.join(program))
                .args(["--watch-all-namespaces=false", "--log-level=error"])
                .args(["--metrics-addr=0", "--health-addr=0"])
                .args(more)
                .env("RUNTIME_NAMESPACE", namespace)
                .env("KUBECONFIG", &kubeconfig)
                .env("NO_PROXY", "*")
                .stdin(Stdio::null())
                .kill_on_drop(true)
                .spawn()
                .expect("it starts")
        };
        Some(Self {
            admin: admin.clone(),
            namespace: namespace.to_owned(),
            repository: Repository::start().await,
            _controllers: vec![
                started("source-controller", &artifacts),
                started("kustomize-controller", &[]),
                started("helm-controller", &[]),
            ],
            _storage: storage,
        })
    }

    /// Objects of it.
    fn api(&self, group: &str, version: &str, kind: &str) -> Api<DynamicObject> {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        Api::namespaced_with(self.admin.clone(), &self.namespace, &resource)
    }

    /// The Kustomizations.
    pub fn kustomizations(&self) -> Api<DynamicObject> {
        self.api("kustomize.toolkit.fluxcd.io", "v1", "Kustomization")
    }

    /// The releases of charts.
    pub fn releases(&self) -> Api<DynamicObject> {
        self.api("helm.toolkit.fluxcd.io", "v2", "HelmRelease")
    }

    /// Has a directory of this checkout in the next commit, where it is here.
    pub async fn add(&self, path: &str) {
        let to = self.repository.checkout().join(path);
        std::fs::create_dir_all(&to).expect("it is made");
        let copied = Command::new("cp")
            .arg("-r")
            .arg(here().join(path).join("."))
            .arg(&to)
            .status()
            .await;
        assert!(copied.expect("cp is there").success(), "{path} is not copied");
    }

    /// Commits this manifest, or that there is none, and tells Flux, as a Git server's webhook does. Its revision.
    pub async fn commit(&self, manifest: Option<&Value>) -> String {
        // kustomize takes none without any resource.
        let note = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": NAME}});
        let items: Vec<&Value> = std::iter::once(&note).chain(manifest).collect();
        let list = json!({"apiVersion": "v1", "kind": "List", "items": items});
        let kustomization = json!({
            "apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", "resources": ["all.yaml"],
        });
        let directory = self.repository.checkout().join("deploy");
        std::fs::create_dir_all(&directory).expect("it is made");
        write(&directory.join("all.yaml"), &list);
        write(&directory.join("kustomization.yaml"), &kustomization);
        let commit = self.repository.push().await;
        let object = json!({
            "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository",
            "metadata": {
                "name": NAME, "namespace": self.namespace,
                "annotations": {"reconcile.fluxcd.io/requestedAt": commit},
            },
            "spec": {"url": self.repository.url(), "ref": {"branch": BRANCH}, "interval": "1h"},
        });
        apply(&self.admin, &object).await;
        format!("{BRANCH}@sha1:{commit}")
    }

    /// Has Flux keep the cluster as the commit says, and wait until all in it is as it should be.
    pub async fn follow(&self) {
        let object = json!({
            "apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization",
            "metadata": {"name": NAME, "namespace": self.namespace},
            "spec": {
                "interval": "1h", "retryInterval": "5s", "prune": true, "wait": true, "timeout": "5m",
                "path": "./deploy", "targetNamespace": self.namespace,
                "sourceRef": {"kind": "GitRepository", "name": NAME},
            },
        });
        apply(&self.admin, &object).await;
    }

    /// Takes away what it was told to do, while it is there to agree: no namespace goes before.
    pub async fn leave(self) {
        let repositories = self.api("source.toolkit.fluxcd.io", "v1", "GitRepository");
        for api in [self.kustomizations(), repositories] {
            let deleted = api.delete(NAME, &DeleteParams::default()).await;
            deleted.expect("it is there");
            let gone = gone(&api, NAME, Duration::from_mins(2)).await;
            gone.unwrap_or_else(|last| panic!("{NAME} stays: {last:?}"));
        }
    }
}

fn write(path: &Path, content: &Value) {
    std::fs::write(path, content.to_string()).expect("it is written");
}
