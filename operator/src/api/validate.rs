//! The rules that the API server checks by CEL and by the type of a list, once more without an API server: for
//! whoever reads a resource from a file, and for the operator's own check of what an older definition let pass.
//!
//! The schemas say which rule holds where, so that none can be forgotten. Must not know a client or a file.

use std::sync::LazyLock;

use kube::CustomResourceExt as _;
use serde::Serialize;
use serde_json::Value;

use super::field::FieldPath;
use super::rules::{self, Holds, Rule};
use super::{Catalog, CatalogScheduleSpec, CatalogSpec, ModelProvider, ModelProviderSpec, catalog_schedule};

/// A rule that is broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// By what.
    pub path: FieldPath,
    /// What the rule says.
    pub message: String,
}

static CATALOG: LazyLock<Value> = LazyLock::new(|| spec_schema(&Catalog::crd()));
static CATALOG_SCHEDULE: LazyLock<Value> = LazyLock::new(|| spec_schema(&catalog_schedule::definition()));
static MODEL_PROVIDER: LazyLock<Value> = LazyLock::new(|| spec_schema(&ModelProvider::crd()));

/// Which rules a Catalog breaks.
pub fn validate(spec: &CatalogSpec) -> Vec<Violation> {
    of_spec(&CATALOG, spec)
}

/// Which rules a `CatalogSchedule` breaks, its name apart.
pub fn validate_schedule(spec: &CatalogScheduleSpec) -> Vec<Violation> {
    of_spec(&CATALOG_SCHEDULE, spec)
}

/// Which rules a `ModelProvider` breaks.
pub fn validate_provider(spec: &ModelProviderSpec) -> Vec<Violation> {
    of_spec(&MODEL_PROVIDER, spec)
}

/// Which rules a change of a `ModelProvider` breaks; what the new one breaks by itself is not among them.
pub fn validate_provider_change(old: &ModelProviderSpec, new: &ModelProviderSpec) -> Vec<Violation> {
    let [old, new] = [old, new].map(|spec| serde_json::to_value(spec).unwrap_or_default());
    let mut violations = Vec::new();
    for rule in rules_of(&MODEL_PROVIDER) {
        if matches!(rule.holds, Holds::Change(holds) if !holds(&old, &new)) {
            violations.push(violation(rule, &FieldPath::of(["spec"])));
        }
    }
    violations
}

/// Which rules of a schema a value breaks. What the schema says otherwise is not looked at; where a value is not
/// of the type that a rule is about, the rule says nothing.
pub fn broken_rules(schema: &Value, value: &Value) -> Vec<Violation> {
    let mut violations = Vec::new();
    walk(schema, value, &FieldPath::root(), &mut violations);
    violations
}

fn spec_schema(
    definition: &k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
) -> Value {
    let versions = definition.spec.versions.iter();
    let mut schemas = versions.filter_map(|version| serde_json::to_value(version.schema.as_ref()?).ok());
    let spec = schemas.find_map(|schema| schema.pointer("/openAPIV3Schema/properties/spec").cloned());
    spec.unwrap_or_default()
}

fn of_spec(schema: &Value, spec: &impl Serialize) -> Vec<Violation> {
    let mut violations = Vec::new();
    // Keys that are texts, and numbers that JSON has: this can't fail.
    let spec = serde_json::to_value(spec).unwrap_or_default();
    walk(schema, &spec, &FieldPath::of(["spec"]), &mut violations);
    violations
}

fn walk(schema: &Value, value: &Value, path: &FieldPath, violations: &mut Vec<Violation>) {
    if value.is_null() {
        return;
    }
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                let known = &schema["properties"][name];
                let schema = if known.is_null() {
                    &schema["additionalProperties"]
                } else {
                    known
                };
                walk(schema, member, &path.key(name), violations);
            }
        }
        Value::Array(entries) => {
            doubles(schema, entries, path, violations);
            for (at, entry) in entries.iter().enumerate() {
                walk(&schema["items"], entry, &path.index(at), violations);
            }
        }
        _ => {}
    }
    // After what is in it: who tells of a field tells of nothing in it any more.
    let broken = rules_of(schema).filter(|rule| matches!(rule.holds, Holds::Of(holds) if !holds(value)));
    violations.extend(broken.map(|rule| violation(rule, path)));
}

fn violation(rule: &Rule, path: &FieldPath) -> Violation {
    Violation {
        path: rule.field.map_or_else(|| path.clone(), |field| path.key(field)),
        message: rule.message.to_owned(),
    }
}

/// The rules that a schema says of a value itself.
fn rules_of(schema: &Value) -> impl Iterator<Item = &'static Rule> {
    let said = schema["x-kubernetes-validations"]
        .as_array()
        .into_iter()
        .flatten();
    said.filter_map(|said| {
        rules::ALL
            .iter()
            .copied()
            .flatten()
            .copied()
            .find(|rule| said["rule"] == rule.cel && said["message"] == rule.message)
    })
}

/// What is twice in a set, or has the same keys as another in a map.
fn doubles(schema: &Value, entries: &[Value], path: &FieldPath, violations: &mut Vec<Violation>) {
    let keys = &schema["x-kubernetes-list-map-keys"];
    let keys: Vec<&str> = keys
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let name = |entry: &Value| -> Option<String> {
        match schema["x-kubernetes-list-type"].as_str()? {
            "set" => Some(entry.to_string()),
            "map" => {
                let parts = keys.iter().map(|key| format!("{key} {}", entry[key]));
                Some(parts.collect::<Vec<_>>().join(" and "))
            }
            _ => None,
        }
    };
    for (at, entry) in entries.iter().enumerate() {
        let Some(name_here) = name(entry) else {
            return;
        };
        if entries[..at]
            .iter()
            .any(|other| name(other).as_ref() == Some(&name_here))
        {
            violations.push(Violation {
                path: path.index(at),
                message: format!("{name_here} is there already"),
            });
        }
    }
}

#[cfg(test)]
mod tests;
