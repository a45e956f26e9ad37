//! What an operator that the chart installs finds in the tests' cluster: its namespaces, its keys, and values that say
//! where all is. Must not know who installs it.

use serde_json::{Value, json};

use super::{NODE, PROCESS, prepared};
use crate::cluster::{Cluster, apply};
use crate::s3;

/// Makes the namespaces of a release, the operator's and that of its Catalogs, `NAME-system` and `NAME-a`, and its keys.
/// The values to install it with.
pub async fn release(cluster: &Cluster, name: &str) -> Value {
    let image = prepared(cluster).await;
    let process = std::process::id().to_string();
    for which in ["system", "a"] {
        let labels = json!({PROCESS: process, "pod-security.kubernetes.io/enforce": "restricted"});
        let metadata = json!({"name": format!("{name}-{which}"), "labels": labels});
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata});
        apply(&cluster.admin, &namespace).await;
    }
    let keys = json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": "cataloger-keys", "namespace": format!("{name}-system")},
        "stringData": {"AWS_ACCESS_KEY_ID": s3::ID, "AWS_SECRET_ACCESS_KEY": s3::SECRET},
    });
    apply(&cluster.admin, &keys).await;
    let image_of = |full: &str, pull: &str| {
        let (repository, tag) = full.rsplit_once(':').expect("it has a tag");
        json!({"repository": repository, "tag": tag, "pullPolicy": pull})
    };
    json!({
        "fullnameOverride": "cataloger",
        "installation": name,
        "image": image_of(image, "Never"),
        "sandbox": {
            "image": image_of(&cluster.image, "never"),
            "namespace": {"name": format!("{name}-sandboxes"), "labels": {PROCESS: process}},
        },
        "watchNamespaces": [format!("{name}-a")],
        // Where the databases of the tests are.
        "rbac": {"databaseNamespaces": ["cataloger-tests"]},
        "bucket": {
            "name": s3::BUCKET, "prefix": name, "region": "us-east-1",
            "endpoint": "http://s3.cataloger-tests:7070", "pathStyle": true,
        },
        "allow": {"baseUrls": [format!("http://{NODE}:*")]},
        // The models of the tests listen wherever there is room.
        "networkPolicy": {"extraEgress": [{"to": [{"ipBlock": {"cidr": format!("{NODE}/32")}}]}]},
    })
}
