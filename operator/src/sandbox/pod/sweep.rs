//! Sandboxes that nobody needs any more: found by their labels, and removed.
//!
//! Owner references don't cross namespaces, and finalizers would hold a Catalog whose operator is gone. Must not
//! know which runs there are: whoever calls says which ones live.

use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Client;
use tracing::info;

use super::Patience;
use super::cluster::Cluster;
use super::manifest::{CATALOG_UID, COMPONENT, INSTALLATION, RUN};
use crate::sandbox::NotStarted;

/// What a sweep has removed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Swept {
    /// Names of Pods.
    pub pods: Vec<String>,
    /// Names of policies.
    pub policies: Vec<String>,
}

/// Removes the Pods and policies of an installation in a namespace whose run does not live, by the UID of its
/// Catalog and its name. What is not this installation's stays.
pub async fn sweep(
    client: &Client,
    namespace: &str,
    installation: &str,
    patience: &Patience,
    lives: impl Fn(&str, &str) -> bool + Send,
) -> Result<Swept, NotStarted> {
    let cluster = Cluster::new(client, namespace);
    let (component, sandbox) = COMPONENT;
    let selector = format!("{component}={sandbox},{INSTALLATION}={installation}");
    let mut swept = Swept::default();
    // Policies first: one that is made between the two questions has no Pod yet, and must not look abandoned.
    let policies = cluster.policies(&selector).await?;
    let mut kept = BTreeSet::new();
    for pod in cluster.labelled(&selector).await? {
        let (Some(name), Some(uid)) = (&pod.metadata.name, &pod.metadata.uid) else {
            continue;
        };
        if alive(&pod.metadata, &lives) {
            kept.insert(name.clone());
            continue;
        }
        info!(namespace, name, "a sandbox whose run has ended is removed");
        cluster.remove(name, uid, patience).await?;
        swept.pods.push(name.clone());
    }
    for policy in policies {
        let Some(name) = &policy.metadata.name else {
            continue;
        };
        if !alive(&policy.metadata, &lives) && !kept.contains(name) {
            cluster.lift(name).await?;
            swept.policies.push(name.clone());
        }
    }
    Ok(swept)
}

fn alive(metadata: &ObjectMeta, lives: &impl Fn(&str, &str) -> bool) -> bool {
    let label = |name| {
        let labels = metadata.labels.as_ref();
        labels.and_then(|it| it.get(name)).map_or("", String::as_str)
    };
    lives(label(CATALOG_UID), label(RUN))
}
