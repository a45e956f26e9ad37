//! The manifests that users install, as kustomize renders them; under other names, and as rules of what they allow.
//!
//! Must not know a cluster.

use std::collections::BTreeSet;

use serde::Deserialize as _;
use serde_json::{Value, json};

use super::audit::{Rule, Scope};
use crate::script::{output, repository};

/// Every object of `charts/manifests`.
pub async fn rendered() -> Vec<Value> {
    let base = repository().join("charts/manifests");
    let base = base.to_str().expect("a path is text");
    let text = output("tests/cluster/kubectl", &["kustomize", base]).await;
    serde_yaml::Deserializer::from_str(&text)
        .map(|document| Value::deserialize(document).expect("kustomize prints YAML"))
        .collect()
}

/// The definitions of our kinds among them.
pub async fn definitions() -> Vec<Value> {
    let mut objects = rendered().await;
    objects.retain(|object| object["kind"] == "CustomResourceDefinition");
    objects
}

/// The same for an installation beside others: with namespaces, and what belongs to none, under names of its own.
pub(super) fn renamed(objects: &[Value], name: &str) -> Vec<Value> {
    let text = serde_json::to_string(objects)
        .expect("JSON")
        .replace("cataloger-sandboxes", &format!("{name}-sandboxes"))
        .replace("cataloger-services", &format!("{name}-services"))
        .replace("cataloger-system", &format!("{name}-system"))
        .replace("cataloger-installation", &format!("{name}-installation"));
    let mut objects: Vec<Value> = serde_json::from_str(&text).expect("JSON");
    for object in &mut objects {
        // The lease is called as the installation is.
        let everywhere = ["ClusterRole", "ClusterRoleBinding", "Lease"];
        if everywhere.iter().any(|kind| object["kind"] == *kind) && object["metadata"]["name"] == "cataloger"
        {
            object["metadata"]["name"] = name.into();
        }
        let rules = object.get_mut("rules").and_then(Value::as_array_mut);
        for rule in rules.into_iter().flatten() {
            if rule["resourceNames"] == json!(["cataloger"]) {
                rule["resourceNames"] = json!([name]);
            }
        }
        if object["roleRef"]["kind"] == "ClusterRole" && object["roleRef"]["name"] == "cataloger" {
            object["roleRef"]["name"] = name.into();
        }
    }
    objects
}

/// All that the manifests allow the operator, one verb on one resource at a time.
pub fn rules(objects: &[Value]) -> BTreeSet<Rule> {
    let mut rules = BTreeSet::new();
    for binding in objects {
        let scope = match binding["kind"].as_str() {
            Some("ClusterRoleBinding") => Scope::Everywhere,
            Some("RoleBinding") => Scope::Namespace(text(&binding["metadata"]["namespace"])),
            _ => continue,
        };
        let role = &binding["roleRef"];
        let found = objects.iter().find(|object| {
            let here = object["kind"] == "ClusterRole"
                || object["metadata"]["namespace"] == binding["metadata"]["namespace"];
            object["kind"] == role["kind"] && object["metadata"]["name"] == role["name"] && here
        });
        let found = found.unwrap_or_else(|| panic!("{role} is not there"));
        for rule in list(&found["rules"]) {
            for (group, resource, verb) in product(rule) {
                let names = list(&rule["resourceNames"]).iter().map(text).collect();
                rules.insert(Rule {
                    scope: scope.clone(),
                    group,
                    resource,
                    verb,
                    names,
                });
            }
        }
    }
    rules
}

fn product(rule: &Value) -> Vec<(String, String, String)> {
    let mut all = Vec::new();
    for group in list(&rule["apiGroups"]) {
        for resource in list(&rule["resources"]) {
            for verb in list(&rule["verbs"]) {
                all.push((text(group), text(resource), text(verb)));
            }
        }
    }
    all
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
