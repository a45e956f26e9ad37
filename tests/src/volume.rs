//! Directories of this machine that sandboxes in Pods may read: a volume on the node, and a claim to it.
//!
//! For the tests' own cluster, whose node this machine is. Must not know what is in a directory.

use std::path::Path;

use cataloger::sandbox::pod::PodOptions;
use cataloger::sandbox::pod::manifest::{Volume, VolumeSource};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use kube::Api;
use kube::api::DeleteParams;

use crate::cluster::{Cluster, apply};

/// The namespace of the claims, and so of the sandboxes that have one.
pub const NAMESPACE: &str = "cataloger-tests-volumes";

/// A claim to a directory of this machine.
#[derive(Debug, Clone)]
pub struct Claim {
    name: String,
    namespace: String,
    cluster: Cluster,
}

impl Claim {
    /// A claim to a directory, which must be readable by everybody.
    pub async fn new(cluster: &Cluster, directory: &Path) -> Self {
        cluster.namespace(NAMESPACE).await;
        Self::within(cluster, NAMESPACE, directory).await
    }

    /// A claim in a namespace.
    pub async fn within(cluster: &Cluster, namespace: &str, directory: &Path) -> Self {
        let name = format!("tests-{}-{:08x}", std::process::id(), rand::random::<u32>());
        let volume = format!(
            "{{apiVersion: v1, kind: PersistentVolume, metadata: {{name: {name}}}, spec: {{capacity: {{storage: 1Gi}}, accessModes: [ReadOnlyMany], storageClassName: '', persistentVolumeReclaimPolicy: Retain, hostPath: {{path: '{}', type: Directory}}, claimRef: {{name: {name}, namespace: {namespace}}}}}}}",
            directory.display()
        );
        let claim = format!(
            "{{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {{name: {name}, namespace: {namespace}}}, spec: {{accessModes: [ReadOnlyMany], storageClassName: '', volumeName: {name}, resources: {{requests: {{storage: 1Gi}}}}}}}}"
        );
        for object in [volume, claim] {
            let object: serde_yaml::Value = serde_yaml::from_str(&object).expect("YAML");
            apply(&cluster.admin, &object).await;
        }
        Self {
            name,
            namespace: namespace.to_owned(),
            cluster: cluster.clone(),
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Lets a sandbox see it at a path: it has to be in the claim's namespace.
    pub fn mount(&self, options: &mut PodOptions, path: &str) {
        options.client = self.cluster.admin.clone();
        options.namespace.clone_from(&self.namespace);
        options.shape.volumes.push(Volume {
            name: "files".into(),
            source: VolumeSource::Claim(self.name.clone()),
            mounts: vec![(path.into(), None)],
        });
    }

    /// Removes it, once no sandbox needs it any more. The directory stays.
    pub async fn remove(self) {
        let admin = &self.cluster.admin;
        let claims: Api<PersistentVolumeClaim> = Api::namespaced(admin.clone(), &self.namespace);
        let volumes: Api<PersistentVolume> = Api::all(admin.clone());
        let now = DeleteParams::default();
        claims.delete(&self.name, &now).await.expect("it is there");
        volumes.delete(&self.name, &now).await.expect("it is there");
    }
}
