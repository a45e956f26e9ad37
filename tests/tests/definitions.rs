//! The kinds, as a real API server has them: their defaults, the examples, and what `kubectl explain` says. Nothing is
//! stored: all is a dry run. What is refused is in `api.rs`.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use cataloger_tests::cluster::{Cluster, apply, cluster, dry_run};
use cataloger_tests::operator::{definitions, until};
use cataloger_tests::script::{output, repository};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use kube::api::DynamicObject;
use serde::Deserialize;
use serde_json::{Value, json};

/// Where the objects would be that name no namespace: nobody else has any there.
const NAMESPACE: &str = "cataloger-tests-definitions";

/// The cluster, with the kinds of this checkout.
async fn defined() -> Cluster {
    let cluster = cluster().await;
    let api: Api<CustomResourceDefinition> = Api::all(cluster.admin.clone());
    for definition in definitions().await {
        apply(&cluster.admin, &definition).await;
        let name = definition["metadata"]["name"].as_str().unwrap();
        let established = |it: &CustomResourceDefinition| {
            let conditions = it.status.iter().flat_map(|it| it.conditions.iter().flatten());
            let has = |name: &str| {
                conditions
                    .clone()
                    .any(|it| it.type_ == name && it.status == "True")
            };
            assert!(!has("NonStructuralSchema"), "{:?}", it.status);
            has("Established")
        };
        let seen = until(&api, name, Duration::from_mins(1), established).await;
        seen.unwrap_or_else(|last| panic!("{name} is not served: {last:?}"));
    }
    cluster.namespace(NAMESPACE).await;
    cluster
}

/// Creates an object as kubectl does, which refuses unknown fields; nothing is stored.
async fn tried(cluster: &Cluster, object: &Value) -> kube::Result<DynamicObject> {
    dry_run(&cluster.admin, object, NAMESPACE).await
}

/// The shortest good object of a kind, with more in its spec.
fn shortest(kind: &str, more: &Value) -> Value {
    let mut spec = match kind {
        "Catalog" => json!({
            "database": {"secretRef": {"name": "shop"}},
            "tables": ["orders"],
            "storage": {"s3": {"prefix": "shop"}},
        }),
        "ModelProvider" => json!({"builtin": {}}),
        "CatalogSchedule" => json!({
            "schedule": "@daily",
            "catalogTemplate": {"spec": shortest("Catalog", &json!({}))["spec"]},
        }),
        other => panic!("what is a {other}?"),
    };
    json_patch::merge(&mut spec, more);
    json!({
        "apiVersion": "cataloger.dev/v1alpha1", "kind": kind,
        "metadata": {"name": "definitions-test"}, "spec": spec,
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shortest_manifest_gets_the_defaults() {
    let cluster = defined().await;
    let made = tried(&cluster, &shortest("Catalog", &json!({}))).await.unwrap();
    let spec = &made.data["spec"];
    assert_eq!(spec["database"]["secretRef"]["key"], "url");
    assert_eq!(spec["limits"]["maxTokens"], 100_000);
    assert_eq!(spec["backoffLimit"], 2);
    let made = tried(&cluster, &shortest("CatalogSchedule", &json!({})))
        .await
        .unwrap();
    let spec = &made.data["spec"];
    assert_eq!(
        (&spec["concurrencyPolicy"], &spec["suspend"]),
        (&json!("Allow"), &json!(false))
    );
    assert_eq!(
        (
            &spec["successfulCatalogsHistoryLimit"],
            &spec["failedCatalogsHistoryLimit"]
        ),
        (&json!(3), &json!(1))
    );
    assert_eq!(spec["catalogTemplate"]["spec"]["limits"]["maxTokens"], 100_000);
    // Part of the limits leaves the rest as it is.
    let some = shortest("Catalog", &json!({"limits": {"maxRows": 5}}));
    let made = tried(&cluster, &some).await.unwrap();
    assert_eq!(made.data["spec"]["limits"]["maxTokens"], 100_000);
    assert_eq!(made.data["spec"]["limits"]["maxRows"], 5);
}

/// The manifests in `docs/examples`.
fn examples() -> Vec<(PathBuf, Vec<Value>)> {
    let directory = std::fs::read_dir(repository().join("docs/examples")).unwrap();
    let files = directory.map(|entry| entry.unwrap().path());
    let mut examples: Vec<_> = files
        .filter(|path| path.extension().is_some_and(|it| it == "yaml"))
        .map(|path| {
            let text = std::fs::read_to_string(&path).unwrap();
            let objects = serde_yaml::Deserializer::from_str(&text)
                .map(|document| Value::deserialize(document).unwrap())
                .collect();
            (path, objects)
        })
        .collect();
    examples.sort_by(|one, other| one.0.cmp(&other.0));
    examples
}

#[tokio::test(flavor = "multi_thread")]
async fn every_example_is_taken() {
    let cluster = defined().await;
    let examples = examples();
    assert!(examples.len() >= 7, "{examples:?}");
    for (path, objects) in examples {
        for object in objects {
            if let Err(error) = tried(&cluster, &object).await {
                panic!("{}: {} {error}", path.display(), object["kind"]);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_examples_have_every_field() {
    for definition in definitions().await {
        let kind = &definition["spec"]["names"]["kind"];
        let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        let mut fields = BTreeSet::new();
        fields_of(&schema["properties"]["spec"], "spec", &mut fields);
        for (_, objects) in examples() {
            for object in objects.iter().filter(|object| object["kind"] == *kind) {
                remove(&object["spec"], "spec", &mut fields);
            }
        }
        // Of Kubernetes' own types some will do, and the example of a Catalog has what a template may say.
        let own = |field: &&String| {
            ![
                "spec.sandbox.resources.",
                "spec.sandbox.tolerations.",
                "spec.catalogTemplate.spec.",
            ]
            .iter()
            .any(|there| field.starts_with(there))
        };
        let missing: Vec<_> = fields.iter().filter(own).collect();
        assert!(missing.is_empty(), "no example of {kind} has {missing:?}");
    }
}

/// The names of all fields of a schema, down to the last; entries of lists and maps have none.
fn fields_of(schema: &Value, path: &str, found: &mut BTreeSet<String>) {
    let properties = schema["properties"].as_object();
    for (name, property) in properties.into_iter().flatten() {
        let path = format!("{path}.{name}");
        found.insert(path.clone());
        fields_of(property, &path, found);
    }
    for inner in ["items", "additionalProperties"] {
        if schema[inner].is_object() {
            fields_of(&schema[inner], path, found);
        }
    }
}

fn remove(value: &Value, path: &str, fields: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                let below = format!("{path}.{name}");
                fields.remove(&below);
                remove(member, &below, fields);
                // A map's key is no field.
                remove(member, path, fields);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| remove(item, path, fields)),
        _ => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_field_is_explained() {
    let cluster = defined().await;
    let api: Api<CustomResourceDefinition> = Api::all(cluster.admin.clone());
    for definition in definitions().await {
        let name = definition["metadata"]["name"].as_str().unwrap();
        let served = serde_json::to_value(api.get(name).await.unwrap()).unwrap();
        let schema = &served["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        let mut silent = Vec::new();
        unexplained(schema, "", &mut silent);
        let ours = ["apiVersion", "kind", "metadata"];
        silent.retain(|path| !ours.contains(&path.trim_start_matches('.')));
        assert!(
            silent.is_empty(),
            "{name} does not say what these are: {silent:?}"
        );

        let kind = definition["spec"]["names"]["singular"].as_str().unwrap();
        let explained = output("tests/cluster/kubectl", &["explain", &format!("{kind}.spec")]).await;
        assert!(
            !explained.contains("<no description>") && !explained.contains("Auto-generated"),
            "{explained}"
        );
        for field in schema["properties"]["spec"]["properties"]
            .as_object()
            .unwrap()
            .keys()
        {
            assert!(explained.contains(field.as_str()), "{field}: {explained}");
        }
    }
}

fn unexplained(schema: &Value, path: &str, silent: &mut Vec<String>) {
    let properties = schema["properties"].as_object();
    for (name, property) in properties.into_iter().flatten() {
        let path = format!("{path}.{name}");
        if property["description"].as_str().is_none_or(str::is_empty) {
            silent.push(path.clone());
        }
        unexplained(property, &path, silent);
    }
    for inner in ["items", "additionalProperties"] {
        if schema[inner].is_object() {
            unexplained(&schema[inner], &format!("{path}[]"), silent);
        }
    }
}
