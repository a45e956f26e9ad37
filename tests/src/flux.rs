//! Flux's kustomize-controller as a process of this machine, and a Git repository whose commits it is given.
//!
//! source-controller is not there: who has an artifact may hand it to Flux as an `ExternalArtifact`, and what is handed
//! over here is what `git archive` makes of a commit. `tests/flux` builds the program. Must not know what a
//! test is about.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::service::service_fn;
use hyper::{Request, Response, body::Incoming};
use hyper_util::rt::TokioIo;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams};
use kube::core::GroupVersionKind;
use kube::{Api, Client};
use serde::Deserialize as _;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::task::AbortHandle;

use crate::cluster::apply;
use crate::operator::until;
use crate::script::{last_line, output};

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

/// kustomize-controller, and what it is given.
pub struct Flux {
    admin: Client,
    namespace: String,
    repository: TempDir,
    archive: Arc<Mutex<Bytes>>,
    address: std::net::SocketAddr,
    serving: AbortHandle,
    _controller: Child,
}

impl std::fmt::Debug for Flux {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Flux")
            .field("namespace", &self.namespace)
            .finish_non_exhaustive()
    }
}

impl Drop for Flux {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// What it is called, the artifact and the Kustomization.
const NAME: &str = "from-git";

impl Flux {
    /// Starts one for a namespace, with an empty repository; none where the program is not there.
    pub async fn start(admin: &Client, namespace: &str) -> Option<Self> {
        let cache = std::env::var_os("CATALOGER_CACHE").unwrap_or_else(|| "/var/cache/cataloger".into());
        let program = PathBuf::from(cache).join("tools/kustomize-controller");
        if !program.exists() {
            eprintln!("left out, as {} is not there: tests/flux", program.display());
            return None;
        }
        define_gitops_kinds(admin).await;
        let controller = Command::new(program)
            .args([
                "--watch-all-namespaces=false",
                "--feature-gates=ExternalArtifact=true",
            ])
            .args(["--metrics-addr=0", "--health-addr=0", "--log-level=error"])
            .env("RUNTIME_NAMESPACE", namespace)
            .env("KUBECONFIG", last_line("tests/cluster/up", &[]).await)
            .env("NO_PROXY", "*")
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("it starts");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("the address of a listener");
        let archive = Arc::new(Mutex::new(Bytes::new()));
        let served = Arc::clone(&archive);
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let served = Arc::clone(&served);
                let service = service_fn(move |_: Request<Incoming>| {
                    let body = served.lock().expect("nobody panics with it").clone();
                    async move { Ok::<_, hyper::Error>(Response::new(Full::new(body))) }
                });
                tokio::spawn(async move {
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        })
        .abort_handle();
        let flux = Self {
            admin: admin.clone(),
            namespace: namespace.to_owned(),
            repository: tempfile::tempdir().expect("a directory"),
            archive,
            address,
            serving,
            _controller: controller,
        };
        flux.git(&["init", "--quiet"]).await;
        Some(flux)
    }

    async fn git(&self, arguments: &[&str]) -> Vec<u8> {
        let output = Command::new("git")
            .args(["-c", "user.name=tests", "-c", "user.email=tests@example.com"])
            .args(arguments)
            .current_dir(self.repository.path())
            .output()
            .await
            .expect("git is there");
        assert!(output.status.success(), "git {arguments:?}: {output:?}");
        output.stdout
    }

    fn api(&self, version: &str, kind: &str) -> Api<DynamicObject> {
        let (group, version) = version.split_once('/').expect("a group and a version");
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        Api::namespaced_with(self.admin.clone(), &self.namespace, &resource)
    }

    /// The Kustomizations.
    pub fn kustomizations(&self) -> Api<DynamicObject> {
        self.api("kustomize.toolkit.fluxcd.io/v1", "Kustomization")
    }

    /// Commits this manifest, or that there is none, and hands the commit over. Its revision.
    pub async fn commit(&self, manifest: Option<&Value>) -> String {
        let directory = self.repository.path();
        // kustomize takes none without any resource.
        let note = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": NAME}});
        let items: Vec<&Value> = std::iter::once(&note).chain(manifest).collect();
        let list = json!({"apiVersion": "v1", "kind": "List", "items": items});
        let kustomization = json!({
            "apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", "resources": ["all.yaml"],
        });
        for (file, content) in [("all.yaml", list), ("kustomization.yaml", kustomization)] {
            std::fs::write(directory.join(file), content.to_string()).expect("it is written");
        }
        self.git(&["add", "--all"]).await;
        self.git(&["commit", "--quiet", "--message", "As it shall be"])
            .await;
        let commit = self.git(&["rev-parse", "HEAD"]).await;
        let commit = String::from_utf8(commit).expect("text").trim().to_owned();
        let archive = Bytes::from(self.git(&["archive", "--format=tar.gz", "HEAD"]).await);
        let digest = format!("sha256:{}", hex::encode(Sha256::digest(&archive)));
        *self.archive.lock().expect("nobody panics with it") = archive;
        let revision = format!("main@sha1:{commit}");
        self.hand_over(&revision, &digest, &commit).await;
        revision
    }

    async fn hand_over(&self, revision: &str, digest: &str, commit: &str) {
        let version = "source.toolkit.fluxcd.io/v1";
        let object = json!({
            "apiVersion": version, "kind": "ExternalArtifact",
            "metadata": {"name": NAME, "namespace": self.namespace},
        });
        apply(&self.admin, &object).await;
        let now = k8s_openapi::jiff::Timestamp::now().to_string();
        let path = format!("{commit}.tar.gz");
        let status = json!({"status": {
            "artifact": {
                "path": path, "url": format!("http://{}/{path}", self.address),
                "revision": revision, "digest": digest, "lastUpdateTime": now,
            },
            "conditions": [{
                "type": "Ready", "status": "True", "reason": "Succeeded", "message": "", "lastTransitionTime": now,
            }],
        }});
        self.api(version, "ExternalArtifact")
            .patch_status(NAME, &PatchParams::default(), &Patch::Merge(&status))
            .await
            .expect("it takes the status");
    }

    /// Has Flux keep the cluster as the commit says, and wait until all in it is as it should be. Its name.
    pub async fn follow(&self) -> &'static str {
        let object = json!({
            "apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization",
            "metadata": {"name": NAME, "namespace": self.namespace},
            "spec": {
                "interval": "1h", "retryInterval": "5s", "prune": true, "wait": true, "timeout": "5m", "path": "./",
                "targetNamespace": self.namespace,
                "sourceRef": {"kind": "ExternalArtifact", "name": NAME},
            },
        });
        apply(&self.admin, &object).await;
        NAME
    }
}
