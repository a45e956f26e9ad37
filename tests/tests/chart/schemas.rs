//! JSON schemas of all kinds that the API server serves, and of the Prometheus Operator's that the chart has, as
//! kubeconform reads them: a file each, in which no field is allowed that the kind does not know.

use std::collections::BTreeSet;
use std::path::Path;

use cataloger_tests::cluster::cluster;
use cataloger_tests::script::output;
use serde_json::{Value, json};
use tempfile::TempDir;

/// What the chart has objects of.
const GROUPS: [&str; 8] = [
    "api/v1",
    "apis/apps/v1",
    "apis/policy/v1",
    "apis/networking.k8s.io/v1",
    "apis/rbac.authorization.k8s.io/v1",
    "apis/coordination.k8s.io/v1",
    "apis/apiextensions.k8s.io/v1",
    "apis/batch/v1",
];

/// Writes them into a directory; which kinds they are of.
pub(crate) async fn written() -> (TempDir, BTreeSet<String>) {
    let admin = cluster().await.admin;
    let directory = tempfile::tempdir().expect("a directory");
    let mut kinds = BTreeSet::new();
    for group in GROUPS {
        let request = hyper::Request::get(format!("/openapi/v3/{group}"));
        let request = request.body(Vec::new()).expect("a request");
        let mut document: Value = admin.request(request).await.expect("it has schemas");
        strict(&mut document["components"]["schemas"]);
        let components = document["components"].clone();
        for (name, schema) in components["schemas"].as_object().expect("a map") {
            for of in schema["x-kubernetes-group-version-kind"]
                .as_array()
                .into_iter()
                .flatten()
            {
                let kind = of["kind"].as_str().expect("a kind");
                let version = of["version"].as_str().expect("a version");
                let whole = json!({"$ref": format!("#/components/schemas/{name}"), "components": components});
                let file = format!("{}_{version}.json", kind.to_lowercase());
                std::fs::write(directory.path().join(file), whole.to_string()).expect("it is written");
                kinds.insert(kind.to_owned());
            }
        }
    }
    kinds.extend(of_monitoring(directory.path()).await);
    (directory, kinds)
}

/// Writes those that the Prometheus Operator defines; which kinds they are of.
async fn of_monitoring(directory: &Path) -> Vec<String> {
    let mut kinds = Vec::new();
    for path in output("tests/gitops-kinds", &["monitoring"]).await.lines() {
        let text = std::fs::read_to_string(path).expect("it is there");
        let definition: Value = serde_yaml::from_str(&text).expect("YAML");
        let kind = definition["spec"]["names"]["kind"].as_str().expect("a kind");
        for version in definition["spec"]["versions"].as_array().expect("a list") {
            let mut schema = version["schema"]["openAPIV3Schema"].clone();
            strict(&mut schema);
            let name = version["name"].as_str().expect("a name");
            let file = format!("{}_{name}.json", kind.to_lowercase());
            std::fs::write(directory.join(file), schema.to_string()).expect("it is written");
        }
        kinds.push(kind.to_owned());
    }
    kinds
}

/// No field that is not known; what is a number or a text is either.
fn strict(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            // A schema of JSON schemas: its own words are no fields of it.
            let known = members.get("properties").is_some_and(Value::is_object);
            if known && !members.contains_key("additionalProperties") && !members.contains_key("allOf") {
                members.insert("additionalProperties".to_owned(), false.into());
            }
            members.values_mut().for_each(strict);
        }
        Value::Array(items) => items.iter_mut().for_each(strict),
        _ => {}
    }
}
