//! What operators of the tests leave behind, and how it goes. Must not know how they are made.

use std::collections::BTreeMap;
use std::process::{ChildStdin, Command, Stdio};

use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use serde_json::json;

use super::PROCESS;
use crate::cluster::Cluster;
use crate::script::repository;

/// As long as it is held, an operator stays: it goes when this is dropped, or when the process has ended, however it
/// did. Then a pipe closes.
#[derive(Debug)]
pub struct Janitor {
    _pipe: Option<ChildStdin>,
}

/// Whoever removes an operator, and what is in these namespaces of its own.
#[expect(
    clippy::zombie_processes,
    reason = "it may outlive this process, whose end it waits for"
)]
pub fn janitor(name: &str, tenants: &[&str]) -> Janitor {
    if std::env::var_os("CATALOGER_TEST_KEEP").is_some() {
        return Janitor { _pipe: None };
    }
    let kubectl = repository().join("tests/cluster/kubectl");
    let namespaces: Vec<String> = tenants.iter().map(|tenant| format!("{name}-{tenant}")).collect();
    // Catalogs first, while somebody is there who ends their runs; and its rights last, while it may still use them.
    let script = r#"
        kubectl=$1 name=$2; shift 2
        cat
        for namespace; do
          "$kubectl" delete catalogs,modelproviders --all --namespace "$namespace" --timeout=20s
        done
        "$kubectl" delete deployments --all --namespace "$name-system" --timeout=20s
        "$kubectl" wait pods --all --for=delete --namespace "$name-system" --timeout=60s
        "$kubectl" delete namespace --wait=false "$name-system" "$name-sandboxes" "$@"
        "$kubectl" delete clusterrole,clusterrolebinding "$name" "$name-services" "$name-sandboxes"
    "#;
    let started = Command::new("setsid")
        .args(["sh", "-c", script, "sh"])
        .arg(kubectl)
        .arg(name)
        .args(namespaces)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let mut janitor = started.expect("setsid and sh are there");
    Janitor {
        _pipe: janitor.stdin.take(),
    }
}

/// Removes what operators of processes have left that are no more, and whose janitor is not there either.
pub(super) async fn tidy(cluster: &Cluster) {
    let admin = &cluster.admin;
    let ours = ListParams::default().labels(PROCESS);
    let dead = |labels: &Option<BTreeMap<String, String>>| {
        let process = labels.as_ref().and_then(|labels| labels.get(PROCESS));
        process.is_some_and(|process| !std::path::Path::new("/proc").join(process).exists())
    };
    let namespaces: Api<Namespace> = Api::all(admin.clone());
    for namespace in namespaces.list(&ours).await.expect("they can be listed") {
        let name = namespace.metadata.name.clone().unwrap_or_default();
        if !dead(&namespace.metadata.labels) {
            continue;
        }
        // Whoever would have taken a finalizer away may be gone.
        let catalogs: Api<cataloger::api::Catalog> = Api::namespaced(admin.clone(), &name);
        if let Ok(left) = catalogs.list_metadata(&ListParams::default()).await {
            let none = json!({"metadata": {"finalizers": null}});
            for catalog in left.items.into_iter().filter_map(|it| it.metadata.name) {
                let params = PatchParams::default();
                let _ = catalogs
                    .patch_metadata(&catalog, &params, &Patch::Merge(&none))
                    .await;
            }
        }
        let _ = namespaces.delete(&name, &DeleteParams::default()).await;
    }
    let roles: Api<ClusterRole> = Api::all(admin.clone());
    for role in roles.list(&ours).await.expect("they can be listed") {
        if dead(&role.metadata.labels) {
            let name = role.metadata.name.unwrap_or_default();
            let _ = roles.delete(&name, &DeleteParams::default()).await;
        }
    }
    let bindings: Api<ClusterRoleBinding> = Api::all(admin.clone());
    for binding in bindings.list(&ours).await.expect("they can be listed") {
        if dead(&binding.metadata.labels) {
            let name = binding.metadata.name.unwrap_or_default();
            let _ = bindings.delete(&name, &DeleteParams::default()).await;
        }
    }
}
