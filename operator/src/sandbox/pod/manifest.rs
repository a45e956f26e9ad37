//! What the sandbox's Pod looks like: a pure function of whose it is and what it may use.
//!
//! The container is all that stands between a model's code and a cluster, so everything here is as narrow as
//! Kubernetes lets it be. Must not know what is secret: whoever reads a Pod's manifest learns nothing.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use k8s_openapi::api::core::v1::{
    Capabilities, Container, EmptyDirVolumeSource, HostAlias, LocalObjectReference,
    PersistentVolumeClaimVolumeSource, Pod, PodDNSConfig, PodDNSConfigOption, PodSecurityContext, PodSpec,
    ResourceRequirements, SeccompProfile, SecurityContext, Toleration, Volume as PodVolume,
    VolumeMount as PodVolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use sha2::{Digest as _, Sha256};

use super::policy::Peer;

/// The name of the container.
pub const CONTAINER: &str = "sandbox";

/// What every sandbox of every installation has: `cataloger.dev/component=sandbox`.
pub const COMPONENT: (&str, &str) = ("cataloger.dev/component", "sandbox");
/// The label with the installation that a sandbox belongs to.
pub const INSTALLATION: &str = "cataloger.dev/installation";
/// The label with the Catalog's UID.
pub const CATALOG_UID: &str = "cataloger.dev/catalog-uid";
/// The label with the run.
pub const RUN: &str = "cataloger.dev/run";
/// The label that only one sandbox has: its name.
pub const NAME: &str = "cataloger.dev/sandbox";
/// The annotation with the Catalog's namespace and name, for people.
pub const CATALOG: &str = "cataloger.dev/catalog";

/// Version and kind of a Catalog.
const KIND: (&str, &str) = ("cataloger.dev/v1alpha1", "Catalog");

/// The uid and gid of everything in the sandbox. The image has a user of it.
const UID: i64 = 1000;

/// Whose a sandbox is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// The installation of the operator; at most 63 characters, as labels have them.
    pub installation: String,
    /// The Catalog's namespace.
    pub namespace: String,
    /// The Catalog's name.
    pub catalog: String,
    /// The Catalog's UID.
    pub uid: String,
    /// The run: its timestamp.
    pub run: String,
}

impl Owner {
    /// The name of the sandbox's Pod and policy. The same owner has the same one, whoever asks.
    pub fn name(&self) -> String {
        let mut hash = Sha256::new();
        for part in [&self.installation, &self.uid, &self.run] {
            hash.update(part.as_bytes());
            hash.update([0]);
        }
        let hash = hex::encode(&hash.finalize()[..5]);
        // So much of the Catalog's name that the whole is good for a label.
        let catalog: String = self
            .catalog
            .chars()
            .filter(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || *it == '-')
            .take(40)
            .collect();
        format!("sandbox-{catalog}-{hash}")
    }

    /// The labels of all that belongs to the sandbox.
    pub fn labels(&self) -> BTreeMap<String, String> {
        [
            (COMPONENT.0, COMPONENT.1.to_owned()),
            ("app.kubernetes.io/managed-by", "cataloger".to_owned()),
            (INSTALLATION, self.installation.clone()),
            (CATALOG_UID, self.uid.clone()),
            (RUN, self.run.clone()),
            (NAME, self.name()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }

    /// Name, namespace, labels and annotations of an object that belongs to the sandbox.
    pub(super) fn metadata(&self, namespace: &str) -> ObjectMeta {
        ObjectMeta {
            name: Some(self.name()),
            namespace: Some(namespace.to_owned()),
            labels: Some(self.labels()),
            annotations: Some([(CATALOG.to_owned(), format!("{}/{}", self.namespace, self.catalog))].into()),
            owner_references: (self.namespace == namespace).then(|| vec![self.reference()]),
            ..ObjectMeta::default()
        }
    }

    /// Of what lies beside the Catalog: Kubernetes itself removes it with the Catalog, also while no operator runs. No
    /// sweep would find it, which may not look into every namespace. References don't reach into others.
    fn reference(&self) -> OwnerReference {
        OwnerReference {
            api_version: KIND.0.to_owned(),
            kind: KIND.1.to_owned(),
            name: self.catalog.clone(),
            uid: self.uid.clone(),
            controller: None,
            block_owner_deletion: None,
        }
    }
}

/// When a node fetches the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PullPolicy {
    /// If it has none of that name.
    #[default]
    IfNotPresent,
    /// Each time.
    Always,
    /// Never: it has to be there.
    Never,
}

impl PullPolicy {
    fn as_str(self) -> &'static str {
        match self {
            Self::IfNotPresent => "IfNotPresent",
            Self::Always => "Always",
            Self::Never => "Never",
        }
    }
}

/// A volume besides the sandbox's own, and where it is seen.
#[derive(Debug, Clone, PartialEq)]
pub struct Volume {
    /// Its name.
    pub name: String,
    /// What it is.
    pub source: VolumeSource,
    /// Where it is seen: a path, and which part of the volume.
    pub mounts: Vec<(String, Option<String>)>,
}

/// What may be mounted. There is nothing else, on purpose.
#[derive(Debug, Clone, PartialEq)]
pub enum VolumeSource {
    /// A claim, read only.
    Claim(String),
    /// An empty directory on the node's disk, up to a size.
    Empty(Quantity),
}

/// What a sandbox may use.
#[derive(Debug, Clone, PartialEq)]
pub struct Shape {
    /// The image.
    pub image: String,
    /// When it is fetched.
    pub pull: PullPolicy,
    /// The secrets to fetch it with.
    pub pull_secrets: Vec<String>,
    /// Requests and limits.
    pub resources: ResourceRequirements,
    /// Memory for files below `/work`. It counts as memory of the container.
    pub work: Quantity,
    /// Memory for files below `/tmp`. It counts as memory of the container.
    pub tmp: Quantity,
    /// A runtime class, such as one for gVisor or Kata.
    pub runtime_class: Option<String>,
    /// Whether its root is nobody on the node: a user namespace.
    pub user_namespace: bool,
    /// Labels of the nodes that it may run on.
    pub node_selector: BTreeMap<String, String>,
    /// Taints that it tolerates.
    pub tolerations: Vec<Toleration>,
    /// Volumes besides its own.
    pub volumes: Vec<Volume>,
    /// When the cluster ends it, if nobody else did.
    pub deadline: Duration,
    /// Arguments for the daemon.
    pub arguments: Vec<String>,
}

impl Shape {
    /// An image with the usual resources, for an hour.
    pub fn new(image: impl Into<String>) -> Self {
        let amounts = |pairs: [(&str, &str); 3]| {
            Some(
                pairs
                    .map(|(name, amount)| (name.to_owned(), Quantity(amount.to_owned())))
                    .into(),
            )
        };
        Self {
            image: image.into(),
            pull: PullPolicy::default(),
            pull_secrets: Vec::new(),
            resources: ResourceRequirements {
                requests: amounts([
                    ("cpu", "100m"),
                    ("memory", "512Mi"),
                    ("ephemeral-storage", "64Mi"),
                ]),
                limits: amounts([("cpu", "2"), ("memory", "2Gi"), ("ephemeral-storage", "1Gi")]),
                claims: None,
            },
            work: Quantity("512Mi".into()),
            tmp: Quantity("256Mi".into()),
            runtime_class: None,
            user_namespace: false,
            node_selector: BTreeMap::new(),
            tolerations: Vec::new(),
            volumes: Vec::new(),
            deadline: Duration::from_hours(1),
            arguments: Vec::new(),
        }
    }
}

/// How a sandbox resolves names.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Names {
    /// Names that it knows without asking anybody.
    pub hosts: BTreeMap<IpAddr, Vec<String>>,
    /// The DNS servers that it may ask for others: a way out for data.
    pub dns: Vec<Peer>,
}

/// The Pod of a sandbox.
pub fn pod(owner: &Owner, namespace: &str, shape: &Shape, names: &Names) -> Pod {
    let mut metadata = owner.metadata(namespace);
    if let Some(annotations) = &mut metadata.annotations {
        // Moving it would cost the run's state, and it ends soon by itself.
        annotations.insert(
            "cluster-autoscaler.kubernetes.io/safe-to-evict".into(),
            "false".into(),
        );
    }
    Pod {
        metadata,
        spec: Some(spec(shape, names)),
        status: None,
    }
}

fn spec(shape: &Shape, names: &Names) -> PodSpec {
    let deadline = i64::try_from(shape.deadline.as_secs()).unwrap_or(i64::MAX);
    PodSpec {
        active_deadline_seconds: Some(deadline.max(1)),
        automount_service_account_token: Some(false),
        containers: vec![container(shape)],
        dns_config: names.dns.is_empty().then(no_dns),
        dns_policy: Some(
            if names.dns.is_empty() {
                "None"
            } else {
                "ClusterFirst"
            }
            .to_owned(),
        ),
        enable_service_links: Some(false),
        host_aliases: some(
            names
                .hosts
                .iter()
                .map(|(address, hosts)| HostAlias {
                    ip: address.to_string(),
                    hostnames: Some(hosts.clone()),
                })
                .collect(),
        ),
        host_users: shape.user_namespace.then_some(false),
        image_pull_secrets: some(
            shape
                .pull_secrets
                .iter()
                .map(|name| LocalObjectReference { name: name.clone() })
                .collect(),
        ),
        node_selector: Some(shape.node_selector.clone()).filter(|it| !it.is_empty()),
        // A second daemon in the same Pod would be a sandbox that nobody has claimed.
        restart_policy: Some("Never".into()),
        runtime_class_name: shape.runtime_class.clone(),
        security_context: Some(PodSecurityContext {
            run_as_group: Some(UID),
            run_as_non_root: Some(true),
            run_as_user: Some(UID),
            seccomp_profile: Some(SeccompProfile {
                type_: "RuntimeDefault".into(),
                localhost_profile: None,
            }),
            ..PodSecurityContext::default()
        }),
        termination_grace_period_seconds: Some(5),
        tolerations: some(shape.tolerations.clone()),
        volumes: Some(volumes(shape)),
        ..PodSpec::default()
    }
}

fn container(shape: &Shape) -> Container {
    let own = [("work", "/work"), ("tmp", "/tmp")].map(|(name, path)| PodVolumeMount {
        name: name.into(),
        mount_path: path.into(),
        ..PodVolumeMount::default()
    });
    let more = shape.volumes.iter().flat_map(|volume| {
        volume.mounts.iter().map(|(path, part)| PodVolumeMount {
            name: volume.name.clone(),
            mount_path: path.clone(),
            sub_path: part.clone(),
            read_only: matches!(volume.source, VolumeSource::Claim(_)).then_some(true),
            ..PodVolumeMount::default()
        })
    });
    Container {
        name: CONTAINER.into(),
        image: Some(shape.image.clone()),
        image_pull_policy: Some(shape.pull.as_str().into()),
        args: some(arguments(shape)),
        resources: Some(shape.resources.clone()),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            capabilities: Some(Capabilities {
                add: None,
                drop: Some(vec!["ALL".into()]),
            }),
            privileged: Some(false),
            read_only_root_filesystem: Some(true),
            run_as_non_root: Some(true),
            ..SecurityContext::default()
        }),
        // What the daemon says when it can't start is all that is known of a container that crashes.
        termination_message_policy: Some("FallbackToLogsOnError".into()),
        volume_mounts: Some(own.into_iter().chain(more).collect()),
        working_dir: Some("/work".into()),
        ..Container::default()
    }
}

/// What follows the image's entry point, which is the daemon.
fn arguments(shape: &Shape) -> Vec<String> {
    let writable = shape
        .volumes
        .iter()
        .filter(|volume| matches!(volume.source, VolumeSource::Empty(_)))
        .flat_map(|volume| &volume.mounts)
        .flat_map(|(path, _)| ["--writable".to_owned(), path.clone()]);
    writable.chain(shape.arguments.iter().cloned()).collect()
}

fn volumes(shape: &Shape) -> Vec<PodVolume> {
    // In memory: full is full at once, where a directory on the node's disk may grow until somebody looks.
    let own = [("work", &shape.work), ("tmp", &shape.tmp)].map(|(name, size)| PodVolume {
        name: name.into(),
        empty_dir: Some(EmptyDirVolumeSource {
            medium: Some("Memory".into()),
            size_limit: Some(size.clone()),
        }),
        ..PodVolume::default()
    });
    let more = shape.volumes.iter().map(|volume| {
        let (claim, empty) = match &volume.source {
            VolumeSource::Claim(name) => (Some(name.clone()), None),
            VolumeSource::Empty(size) => (None, Some(size.clone())),
        };
        PodVolume {
            name: volume.name.clone(),
            persistent_volume_claim: claim.map(|claim_name| PersistentVolumeClaimVolumeSource {
                claim_name,
                read_only: Some(true),
            }),
            empty_dir: empty.map(|size| EmptyDirVolumeSource {
                medium: None,
                size_limit: Some(size),
            }),
            ..PodVolume::default()
        }
    });
    own.into_iter().chain(more).collect()
}

/// Asking fails at once: nothing listens there. To be refused by a policy would take each lookup its timeout.
fn no_dns() -> PodDNSConfig {
    let option = |name: &str| PodDNSConfigOption {
        name: Some(name.into()),
        value: Some("1".into()),
    };
    PodDNSConfig {
        nameservers: Some(vec!["127.0.0.1".into()]),
        options: Some(vec![option("timeout"), option("attempts")]),
        searches: None,
    }
}

fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}

#[cfg(test)]
mod tests;
