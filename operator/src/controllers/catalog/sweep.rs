//! Sandboxes that no run of a Catalog needs: those of Catalogs that are gone, and of operators that have died.
//!
//! Must not touch what belongs to another installation, nor a run that somebody may go on with.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kube::ResourceExt as _;
use kube::core::DeserializeGuard;
use tracing::{info, warn};

use super::Context;
use super::due::is_under_way;
use crate::api::Catalog;
use crate::api::catalog::Phase;
use crate::sandbox::pod;
use crate::sessions::View;

/// Looks for them once, and removes them.
pub(super) async fn sweep(context: &Context, catalogs: &[Arc<DeserializeGuard<Catalog>>]) {
    let mut living: BTreeMap<String, String> = BTreeMap::new();
    let mut unknown = BTreeSet::new();
    let mut namespaces = BTreeSet::from([context.settings.sandboxes.clone()]);
    for object in catalogs {
        let uid = object.uid().unwrap_or_default();
        match &object.0 {
            // Another release may be at it.
            Err(_) => {
                unknown.insert(uid);
            }
            Ok(catalog) => {
                if mounts_a_claim(catalog) {
                    namespaces.insert(object.namespace().unwrap_or_default());
                }
                if let Some(run) = run_under_way(catalog) {
                    living.insert(uid, run);
                }
            }
        }
    }
    let lives = |uid: &str, run: &str| {
        unknown.contains(uid)
            || living.get(uid).is_some_and(|known| known == run)
            // It may have claimed its run just now, or be closing its sandbox itself.
            || !matches!(context.sessions.view(uid), View::Absent)
    };
    let patience = pod::Patience::default();
    for namespace in namespaces {
        let swept = pod::sweep(
            &context.client,
            &namespace,
            &context.settings.installation,
            &patience,
            lives,
        );
        match swept.await {
            Ok(swept) if swept.pods.is_empty() && swept.policies.is_empty() => {}
            Ok(swept) => info!(
                namespace,
                pods = swept.pods.len(),
                policies = swept.policies.len(),
                "sandboxes that nobody needs were removed"
            ),
            Err(error) => warn!(namespace, %error, "sandboxes that nobody needs could not be looked for"),
        }
    }
}

fn mounts_a_claim(catalog: &Catalog) -> bool {
    let sandbox = catalog.spec.sandbox.iter();
    sandbox
        .flat_map(|sandbox| &sandbox.volumes)
        .any(|volume| volume.persistent_volume_claim.is_some())
}

fn run_under_way(catalog: &Catalog) -> Option<String> {
    let run = catalog.status.as_ref()?.run.as_ref()?;
    let goes_on = is_under_way(run) && run.phase != Some(Phase::Suspended);
    run.id.clone().filter(|_| goes_on)
}
