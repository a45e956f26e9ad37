//! How a Catalog's sandbox differs from the operator's usual one.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ResourceRequirements, Toleration};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::rules::{Obey, names, places, sandbox};
use crate::api::schemas;

/// How the sandbox differs from the operator's usual one.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(transform = Obey([&sandbox::MOUNTED]))]
pub struct SandboxOptions {
    /// The image, which must be one of Cataloger's sandbox of the same release, or made from it. Example:
    /// `registry.example.com/team/sandbox:1.2`. If not said, the operator's. It has to allow another one
    /// (`--allow-image`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512), transform = Obey([&names::IMAGE]))]
    pub image: Option<String>,
    /// Processors, memory and disk. What is not said is as usual.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schemas::resources")]
    pub resources: Option<ResourceRequirements>,
    /// A runtime class, such as one for gVisor or Kata. Example: `gvisor`. If not said, the operator's. It has to
    /// allow another one (`--allow-runtime-class`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), transform = Obey([&names::SUBDOMAIN]))]
    pub runtime_class_name: Option<String>,
    /// Labels of the nodes that it may run on; a node must have them all. Example: `{pool: batch}`. If not said, it
    /// may run on any. At most 16. The operator has to allow each (`--allow-node-selector`).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schemas::node_selector")]
    pub node_selector: BTreeMap<String, String>,
    /// Taints that it tolerates. Example: `[{key: dedicated, value: batch, effect: NoSchedule}]`. If not said, none.
    /// At most 32. The operator has to allow their keys (`--allow-toleration`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schemas::tolerations")]
    pub tolerations: Vec<Toleration>,
    /// Volumes besides its own, such as a claim that holds a database file. Example: `[{name: files,
    /// persistentVolumeClaim: {claimName: sales-files}}]`. If not said, none. At most 16, none with the name of
    /// another. With a claim the sandbox runs in the Catalog's namespace, where the operator needs the rights that
    /// it has in the namespace of sandboxes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 16),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]),
    )]
    pub volumes: Vec<Volume>,
    /// Where the volumes are seen. Example: `[{name: files, mountPath: /data}]`. If not said, nowhere. At most 16; no path twice, and none in another.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 16),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["mountPath"]),
        transform = Obey([&sandbox::MOUNTS_APART]),
    )]
    pub volume_mounts: Vec<VolumeMount>,
    /// What may be reached besides the database, over TCP. Example: `[{cidr: 10.20.0.0/16, port: 5432}]`. If not
    /// said, nothing. At most 16, none twice. The operator has to allow the networks (`--allow-egress`). Names are not resolved there: see
    /// `docs/pods.md`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 16),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["cidr", "port"]),
    )]
    pub egress: Vec<Egress>,
}

/// A volume of the sandbox: a claim, which is read only, or an empty directory. Exactly one of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(transform = Obey([&sandbox::VOLUME]))]
pub struct Volume {
    /// Its name, for `volumeMounts`. Example: `files`. `work` and `tmp` are the sandbox's own.
    #[schemars(length(min = 1, max = 63), transform = Obey([&names::LABEL, &sandbox::VOLUME_OWN]))]
    pub name: String,
    /// A claim in the Catalog's namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persistent_volume_claim: Option<Claim>,
    /// An empty directory on the node's disk, for files of the run. It ends with the sandbox.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub empty_dir: Option<EmptyDir>,
}

/// A claim in the Catalog's namespace. It is mounted read only, and what is in it must be readable for uid 1000.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Claim {
    /// The claim's name. Example: `sales-files`.
    #[schemars(length(min = 1, max = 253), transform = Obey([&names::SUBDOMAIN]))]
    pub claim_name: String,
}

/// An empty directory of a limited size.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EmptyDir {
    /// How large it may become. Example: `1Gi`. A sandbox that exceeds it is evicted.
    #[schemars(schema_with = "schemas::quantity")]
    pub size_limit: Quantity,
}

/// Where a volume is seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VolumeMount {
    /// The volume's name, which must be in `volumes`. Example: `files`.
    #[schemars(length(min = 1, max = 63), transform = Obey([&names::LABEL]))]
    pub name: String,
    /// The path in the sandbox. Example: `/data`. Absolute, without `:`, `.` and `..`, and not in what the sandbox
    /// needs itself: `/work`, `/tmp`, `/usr`, `/opt`, `/etc` and their kind.
    #[schemars(length(min = 2, max = 512), transform = Obey([&sandbox::MOUNT, &sandbox::MOUNT_OWN]))]
    pub mount_path: String,
    /// A path in the volume, of which only what is below is seen. Example: `shop/2026`. If not said, all of it.
    /// Relative, without `.` and `..`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512), transform = Obey([&sandbox::PART]))]
    pub sub_path: Option<String>,
}

/// Addresses and a port that may be reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Egress {
    /// Addresses, as a CIDR. Example: `10.20.0.0/16`, or `192.0.2.7/32` for a single one.
    #[schemars(length(min = 3, max = 64), transform = Obey([&places::CIDR]))]
    pub cidr: String,
    /// The TCP port. Example: `443`.
    #[schemars(range(min = 1, max = 65_535))]
    pub port: u16,
}
