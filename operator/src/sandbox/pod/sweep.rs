//! Sandboxes that nobody needs any more: found by their labels, and removed.
//!
//! Owner references don't cross namespaces, and finalizers would hold a Catalog whose operator is gone. Must not
//! know which runs there are: whoever calls says which ones live.

use std::collections::BTreeSet;

use futures::{StreamExt, stream};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Client;
use tracing::info;

use super::Patience;
use super::cluster::Cluster;
use super::manifest::{CATALOG_UID, COMPONENT, INSTALLATION, RUN};
use crate::sandbox::NotStarted;

/// How many Pods are waited for at once: one whose node is gone must not keep the others from going.
const AT_ONCE: usize = 16;

/// What a sweep has removed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Swept {
    /// Names of Pods.
    pub pods: Vec<String>,
    /// Names of policies.
    pub policies: Vec<String>,
}

/// Removes the Pods and policies of an installation in a namespace whose run does not live, by the UID of its
/// Catalog and its name. What is not this installation's stays. What can't be removed keeps nothing else from it.
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
    // Policies first: one that is made between the two questions has no Pod yet, and must not look abandoned.
    let policies = cluster.policies(&selector).await?;
    let (living, abandoned): (Vec<_>, Vec<_>) = (cluster.labelled(&selector).await?.into_iter())
        .map(|pod| pod.metadata)
        .partition(|pod| alive(pod, &lives));
    let mut kept: BTreeSet<String> = living.into_iter().filter_map(|pod| pod.name).collect();
    let mut swept = Swept::default();
    let mut stays = None;
    let named = abandoned.into_iter().filter_map(|pod| pod.name.zip(pod.uid));
    let mut removed = stream::iter(named)
        .map(async |(name, uid)| {
            info!(namespace, name, "a sandbox whose run has ended is removed");
            (cluster.remove(&name, &uid, patience).await, name)
        })
        .buffer_unordered(AT_ONCE);
    while let Some((removed, name)) = removed.next().await {
        match removed {
            Ok(()) => swept.pods.push(name),
            Err(error) => {
                // Its policy holds it.
                kept.insert(name);
                stays.get_or_insert(error);
            }
        }
    }
    drop(removed);
    for policy in policies {
        let Some(name) = &policy.metadata.name else {
            continue;
        };
        if !alive(&policy.metadata, &lives) && !kept.contains(name) {
            match cluster.lift(name).await {
                Ok(()) => swept.policies.push(name.clone()),
                Err(error) => {
                    stays.get_or_insert(error);
                }
            }
        }
    }
    stays.map_or(Ok(swept), Err)
}

fn alive(metadata: &ObjectMeta, lives: &impl Fn(&str, &str) -> bool) -> bool {
    let label = |name| {
        let labels = metadata.labels.as_ref();
        labels.and_then(|it| it.get(name)).map_or("", String::as_str)
    };
    lives(label(CATALOG_UID), label(RUN))
}
