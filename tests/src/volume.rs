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
    cluster: Cluster,
}

impl Claim {
    /// A claim to a directory, which must be readable by everybody.
    pub async fn new(cluster: &Cluster, directory: &Path) -> Self {
        cluster.namespace(NAMESPACE).await;
        let name = format!("tests-{}-{:08x}", std::process::id(), rand::random::<u32>());
        let volume = format!(
            "{{apiVersion: v1, kind: PersistentVolume, metadata: {{name: {name}}}, spec: {{capacity: {{storage: 1Gi}}, accessModes: [ReadOnlyMany], storageClassName: '', persistentVolumeReclaimPolicy: Retain, hostPath: {{path: '{}'}}, claimRef: {{name: {name}, namespace: {NAMESPACE}}}}}}}",
            directory.display()
        );
        let claim = format!(
            "{{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {{name: {name}, namespace: {NAMESPACE}}}, spec: {{accessModes: [ReadOnlyMany], storageClassName: '', volumeName: {name}, resources: {{requests: {{storage: 1Gi}}}}}}}}"
        );
        for object in [volume, claim] {
            apply(&cluster.admin, &serde_yaml::from_str(&object).expect("YAML")).await;
        }
        let cluster = cluster.clone();
        Self { name, cluster }
    }

    /// Lets a sandbox see it at a path: it has to be in the claim's namespace.
    pub fn mount(&self, options: &mut PodOptions, path: &str) {
        options.client = self.cluster.admin.clone();
        options.namespace = NAMESPACE.into();
        options.shape.volumes.push(Volume {
            name: "files".into(),
            source: VolumeSource::Claim(self.name.clone()),
            mounts: vec![(path.into(), None)],
        });
    }

    /// Removes it, once no sandbox needs it any more. The directory stays.
    pub async fn remove(self) {
        let admin = &self.cluster.admin;
        let claims: Api<PersistentVolumeClaim> = Api::namespaced(admin.clone(), NAMESPACE);
        let volumes: Api<PersistentVolume> = Api::all(admin.clone());
        let now = DeleteParams::default();
        claims.delete(&self.name, &now).await.expect("it is there");
        volumes.delete(&self.name, &now).await.expect("it is there");
    }
}
