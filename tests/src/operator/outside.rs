//! Operators as processes of this machine, which can be killed at any moment: with all that is installed for one in the
//! cluster, but no Pod. Must not know what happens to them.

use std::fs::OpenOptions;
use std::path::Path;
use std::process::Stdio;

use serde_json::json;
use tokio::process::Command;

use super::{Held, Operator, PROCESS, Tenant, janitor, manifests, rendered};
use crate::cluster::{apply, cluster};
use crate::{command, s3};

/// How an operator outside is to be.
#[derive(Debug)]
pub struct Outside<'a> {
    /// What its lease and its sandboxes are named by.
    pub installation: &'a str,
    /// What it is called among those of that installation.
    pub identity: &'a str,
    /// The namespaces whose Catalogs it looks after.
    pub namespaces: Vec<String>,
    /// Where it finds how to reach the API server.
    pub kubeconfig: &'a Path,
    /// Where its bucket is.
    pub bucket: &'a str,
    /// Where its logs go.
    pub log: &'a Path,
    /// What is added to its environment.
    pub environment: Vec<(&'a str, String)>,
}

impl Operator {
    /// Where operators outside can work.
    pub async fn without_pods(what: &str) -> Option<Self> {
        let held = Held::new();
        let cluster = cluster().await;
        if !cluster.own {
            return None;
        }
        let name = Self::name_of(what);
        let janitor = janitor(&name, &[]);
        let mut objects = manifests::renamed(&rendered().await, &name);
        let pods = ["Deployment", "PodDisruptionBudget", "Service", "ConfigMap"];
        objects.retain(|object| !pods.iter().any(|kind| object["kind"] == *kind));
        objects.sort_by_key(|object| object["kind"] != "Namespace");
        for mut object in objects {
            if object["kind"] != "CustomResourceDefinition" {
                object["metadata"]["labels"][PROCESS] = std::process::id().to_string().into();
            }
            apply(&cluster.admin, &object).await;
        }
        Some(Self {
            cluster,
            name,
            _held: held,
            _janitor: Some(janitor),
        })
    }

    /// One more namespace for Catalogs, there from now on. Whoever does not delete it leaves that to the next process.
    pub async fn another_tenant(&self, which: &str) -> Tenant<'_> {
        let tenant = self.tenant(which);
        let labels = json!({
            "pod-security.kubernetes.io/enforce": "restricted",
            PROCESS: std::process::id().to_string(),
        });
        let metadata = json!({"name": tenant.namespace, "labels": labels});
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata});
        apply(&self.cluster.admin, &namespace).await;
        tenant
    }

    /// The command that is one.
    pub fn outside(&self, outside: &Outside<'_>) -> Command {
        let log = OpenOptions::new().create(true).append(true).open(outside.log);
        let log = log.expect("a log can be written");
        let mut command = Command::new(command::program());
        command
            .arg("operator")
            .args(["--log-format", "text"])
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", std::env::temp_dir())
            .env("KUBECONFIG", outside.kubeconfig)
            .env("CATALOGER_LISTEN", "127.0.0.1:0")
            .env("POD_NAME", outside.identity)
            .env("POD_NAMESPACE", self.system())
            .env("CATALOGER_NAMESPACE", outside.namespaces.join(","))
            .env("CATALOGER_INSTALLATION", outside.installation)
            .env("CATALOGER_SANDBOX_NAMESPACE", self.sandboxes())
            .env("CATALOGER_SANDBOX_IMAGE", &self.cluster.image)
            .env("CATALOGER_SANDBOX_PULL_POLICY", "never")
            .env("CATALOGER_BUCKET", s3::BUCKET)
            .env("CATALOGER_BUCKET_PREFIX", &self.name)
            .env("CATALOGER_BUCKET_ENDPOINT", outside.bucket)
            .env("CATALOGER_BUCKET_REGION", "us-east-1")
            .env("CATALOGER_BUCKET_PATH_STYLE", "true")
            .env("CATALOGER_LEASE_DURATION", "6s")
            .env("CATALOGER_ALLOW_BASE_URL", "http://127.0.0.1:*")
            .env("AWS_ACCESS_KEY_ID", s3::ID)
            .env("AWS_SECRET_ACCESS_KEY", s3::SECRET)
            .env("RUST_LOG", "info")
            .envs(
                outside
                    .environment
                    .iter()
                    .map(|(name, value)| (*name, value.as_str())),
            )
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true);
        command
    }
}
