//! That what the schemas say is what is enforced: every limit on both sides of it, and every default.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::*;
use crate::api::definitions;

/// Resources of a kind that together have everything in them.
fn full(kind: &str) -> Vec<Value> {
    let specs = if kind == "Catalog" {
        vec![json!({
            "database": {"secretRef": {"name": "db", "key": "url"}, "allowWritable": true},
            "tables": ["a"],
            "storage": {"s3": {
                "bucket": "pages", "prefix": "p/q", "region": "eu", "endpoint": "https://h",
                "forcePathStyle": true, "credentialsSecretRef": {"name": "s3"},
            }},
            "model": {"providerRef": {"name": "m", "namespace": "n"}, "name": "x", "fallbacks": ["y"]},
            "intent": "i",
            "prompts": {"configMapRef": {"name": "p"}},
            "limits": {
                "maxTokens": 5000, "maxCost": 1.5, "maxIterations": 5, "timeout": "5m",
                "executeTimeout": "5s", "maxRows": 5,
            },
            "sandbox": {
                "image": "i", "runtimeClassName": "r",
                "resources": {
                    "limits": {"cpu": 1}, "requests": {"memory": "1Gi"},
                },
                "nodeSelector": {"a": "b"},
                "tolerations": [
                    {"key": "a", "operator": "Exists", "effect": "NoSchedule"},
                    {"key": "a", "value": "v", "effect": "NoExecute", "tolerationSeconds": 5},
                ],
                "volumes": [
                    {"name": "a-1", "emptyDir": {"sizeLimit": "1Gi"}},
                    {"name": "b-1", "persistentVolumeClaim": {"claimName": "c"}},
                ],
                "volumeMounts": [{"name": "a-1", "mountPath": "/a", "subPath": "b"}],
                "egress": [{"cidr": "10.0.0.0/8", "port": 443}],
            },
            "suspend": true,
            "backoffLimit": 5,
            "ttlSecondsAfterFinished": 5,
            "retention": {"runs": 5},
        })]
    } else if kind == "CatalogSchedule" {
        vec![json!({
            "schedule": "@daily",
            "timeZone": "Europe/Berlin",
            "suspend": true,
            "concurrencyPolicy": "Forbid",
            "startingDeadlineSeconds": 5,
            "successfulCatalogsHistoryLimit": 5,
            "failedCatalogsHistoryLimit": 5,
            "jitterSeconds": 5,
            "catalogTemplate": {
                "metadata": {"labels": {"a": "b"}, "annotations": {"a": "b"}},
                "spec": full("Catalog")[0]["spec"],
            },
        })]
    } else {
        let key = json!({"name": "a", "key": "k"});
        vec![
            json!({
                "openai": {"apiKeySecretRef": key, "baseURL": "https://h", "api": "Responses"},
                "defaultModel": "x",
                "fallbacks": ["y"],
                "prices": {"x": {"input": 1, "output": 1, "cacheWrite": 1, "cacheRead": 1}},
                "limits": {"requestsPerMinute": 5, "tokensPerMinute": 5000},
                "budget": {"amount": 5, "period": "Day"},
                "allowedNamespaces": ["a"],
            }),
            json!({"anthropic": {"apiKeySecretRef": key, "baseURL": "https://h"}}),
            json!({"builtin": {}}),
        ]
    };
    let resource = |spec| {
        json!({
            "apiVersion": "cataloger.dev/v1alpha1", "kind": kind,
            "metadata": {"name": "x"}, "spec": spec,
        })
    };
    specs.into_iter().map(resource).collect()
}

fn errors(resource: &Value) -> String {
    let (resources, faults) = resources::read(&resource.to_string(), "c.yaml");
    let found = resources.catalogs.len() + resources.schedules.len() + resources.providers.len();
    assert_eq!(found == 1, faults.is_empty(), "{resource}");
    let faults: Vec<String> = faults.iter().map(Fault::to_string).collect();
    faults.join("\n")
}

/// Values just within and just beyond what a schema says of one.
fn around(schema: &Value, pointer: &str, current: &Value) -> Vec<(Value, bool)> {
    let mut values = Vec::new();
    let text = |length: u64| json!("a".repeat(usize::try_from(length).unwrap()));
    let step = if schema["type"] == "integer" {
        1.0
    } else {
        0.000_001
    };
    let number = |value: f64| {
        if schema["type"] == "integer" {
            #[expect(clippy::cast_possible_truncation, reason = "limits are small")]
            return json!(value as i64);
        }
        json!(value)
    };
    if let Some(limit) = schema["minimum"].as_f64() {
        values.extend([(number(limit), true), (number(limit - step), false)]);
    }
    if let Some(limit) = schema["maximum"].as_f64() {
        values.extend([(number(limit), true), (number(limit + step), false)]);
    }
    // What wants more than letters has its examples in the corpus.
    let plain = current
        .as_str()
        .is_some_and(|it| it.bytes().all(|it| it.is_ascii_lowercase()));
    if let Some(limit) = schema["minLength"].as_u64() {
        values.push((text(limit - 1), false));
        if plain {
            values.push((text(limit), true));
        }
    }
    if let Some(limit) = schema["maxLength"].as_u64() {
        values.push((text(limit + 1), false));
        if plain {
            values.push((text(limit), true));
        }
    }
    // A toleration for a time has one effect only.
    let options = schema["enum"]
        .as_array()
        .filter(|_| !pointer.ends_with("/1/effect"));
    for option in options.into_iter().flatten() {
        values.push((option.clone(), true));
        values.push((json!(option.as_str().unwrap().to_lowercase()), false));
    }
    for (limit, change) in [
        (schema["minItems"].as_u64(), -1),
        (schema["maxItems"].as_u64(), 1),
    ] {
        let Some(limit) = limit else { continue };
        let list = |length: u64| {
            // Texts may have to differ.
            let item = |at| match &current[0] {
                Value::String(text) => json!(format!("{text}{at}")),
                // What tells entries apart.
                Value::Object(fields) => {
                    let mut fields = fields.clone();
                    fields.extend(match pointer.rsplit('/').next() {
                        Some("volumes") => [("name".into(), json!(format!("a-{}", at + 1)))],
                        Some("volumeMounts") => [("mountPath".into(), json!(format!("/v{at}")))],
                        Some("egress") => [("port".into(), json!(at + 1))],
                        _ => [("key".into(), json!("a"))],
                    });
                    Value::Object(fields)
                }
                other => other.clone(),
            };
            Value::Array((0..length).map(item).collect())
        };
        values.push((list(limit), true));
        values.push((list(limit.checked_add_signed(change).unwrap()), false));
    }
    values
}

#[derive(Default)]
struct Seen {
    limits: usize,
    defaults: usize,
    fields: BTreeSet<String>,
    missing: BTreeSet<String>,
}

/// Without a field.
fn without(resource: &Value, pointer: &str, name: &str) -> Value {
    let mut changed = resource.clone();
    let parent = changed.pointer_mut(pointer).unwrap();
    parent.as_object_mut().unwrap().remove(name);
    changed
}

fn walk(schema: &Value, pointer: &str, resource: &Value, seen: &mut Seen) {
    for (value, right) in around(schema, pointer, resource.pointer(pointer).unwrap()) {
        let mut changed = resource.clone();
        *changed.pointer_mut(pointer).unwrap() = value.clone();
        let said = errors(&changed);
        assert_eq!(said.is_empty(), right, "{pointer} = {value}: {said}");
        seen.limits += 1;
    }
    if !schema["default"].is_null() {
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        let (resources, faults) = resources::read(&without(resource, parent, name).to_string(), "c.yaml");
        assert_eq!(faults, []);
        let catalogs = resources
            .catalogs
            .iter()
            .map(|it| serde_json::to_value(&it.resource));
        let schedules = resources
            .schedules
            .iter()
            .map(|it| serde_json::to_value(&it.resource));
        let providers = resources
            .providers
            .iter()
            .map(|it| serde_json::to_value(&it.resource));
        let read = catalogs
            .chain(schedules)
            .chain(providers)
            .next()
            .unwrap()
            .unwrap();
        assert_eq!(read.pointer(pointer), Some(&schema["default"]), "{pointer}");
        seen.defaults += 1;
    }
    for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
        let field = format!("{pointer}/{name}");
        let shape = field.replace(|it: char| it.is_ascii_digit(), "*");
        if resource.pointer(&field).is_none() {
            seen.missing.insert(shape);
            continue;
        }
        seen.fields.insert(shape);
        walk(inner, &field, resource, seen);
    }
    if schema["type"] == "object" && schema["additionalProperties"] != json!({"type": "string"}) {
        let mut changed = resource.clone();
        changed.pointer_mut(pointer).unwrap()["somethingElse"] = json!([1]);
        let said = errors(&changed);
        assert!(said.contains("somethingElse"), "{pointer}: {said}");
    }
    for name in schema["required"].as_array().into_iter().flatten() {
        let name = name.as_str().unwrap();
        let said = errors(&without(resource, pointer, name));
        assert!(said.contains(&format!("{name}: is missing")), "{pointer}: {said}");
    }
    let value = resource.pointer(pointer).unwrap();
    if schema["items"].is_object() {
        for at in 0..value.as_array().unwrap().len() {
            walk(&schema["items"], &format!("{pointer}/{at}"), resource, seen);
        }
    }
    if schema["additionalProperties"].is_object() {
        let name = value.as_object().unwrap().keys().next().unwrap();
        let inner = format!("{pointer}/{name}");
        walk(&schema["additionalProperties"], &inner, resource, seen);
    }
}

#[test]
fn what_the_schemas_say_is_what_holds() {
    for definition in definitions() {
        let kind = definition.spec.names.kind;
        let schema = serde_json::to_value(&definition.spec.versions[0].schema).unwrap();
        let schema = schema.pointer("/openAPIV3Schema/properties/spec").unwrap();
        let mut seen = Seen::default();
        for resource in full(&kind) {
            assert_eq!(errors(&resource), "");
            walk(schema, "/spec", &resource, &mut seen);
        }
        let untested: Vec<&String> = seen.missing.difference(&seen.fields).collect();
        assert!(untested.is_empty(), "{untested:?}");
        let defaults = match kind.as_str() {
            "Catalog" => 10,
            "CatalogSchedule" => 14,
            _ => 2,
        };
        assert_eq!(seen.defaults, defaults);
        assert!(seen.limits > 30, "{kind}: {}", seen.limits);
    }
}
