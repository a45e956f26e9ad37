//! That a real API server and the reader of files judge alike: what is in `tests/corpus/refusals.yaml`, and texts
//! that nobody thought of. The kinds are there a second time, in a group of this test's own, so that nobody else's
//! depend on what is tried here.

mod columns;

use cataloger::manifest::{self, ManifestError};
use cataloger_tests::cluster::{Cluster, apply, cluster};
use cataloger_tests::operator::until;
use cataloger_tests::script::repository;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, ApiResource, DynamicObject};
use kube::core::{GroupVersionKind, Status};
use rand::RngExt as _;
use serde_json::{Value, json};

const GROUP: &str = "api.cataloger-tests.dev";
const NAMESPACE: &str = "cataloger-tests-api";

/// The kinds in a group of their own.
struct Kinds(Cluster);

impl Kinds {
    async fn there() -> Self {
        let cluster = cluster().await;
        let api: Api<CustomResourceDefinition> = Api::all(cluster.admin.clone());
        for definition in cataloger::api::definitions() {
            let mut definition = serde_json::to_value(definition).unwrap();
            let names = &mut definition["spec"]["names"];
            let plural = names["plural"].as_str().unwrap().to_owned();
            for shared in ["shortNames", "categories"] {
                names.as_object_mut().unwrap().remove(shared);
            }
            definition["spec"]["group"] = json!(GROUP);
            definition["metadata"]["name"] = json!(format!("{plural}.{GROUP}"));
            definition["apiVersion"] = json!("apiextensions.k8s.io/v1");
            definition["kind"] = json!("CustomResourceDefinition");
            apply(&cluster.admin, &definition).await;
            let name = format!("{plural}.{GROUP}");
            let generation = api.get(&name).await.unwrap().metadata.generation;
            let served = |it: &CustomResourceDefinition| {
                let mut conditions = it.status.iter().flat_map(|it| it.conditions.iter().flatten());
                it.metadata.generation >= generation
                    && conditions.any(|it| it.type_ == "Established" && it.status == "True")
            };
            let seen = until(&api, &name, std::time::Duration::from_mins(1), served).await;
            seen.unwrap_or_else(|last| panic!("{name} is not served: {last:?}"));
        }
        cluster.namespace(NAMESPACE).await;
        Self(cluster)
    }

    fn api(&self, kind: &str) -> Api<DynamicObject> {
        let kind = GroupVersionKind::gvk(GROUP, "v1alpha1", kind);
        Api::namespaced_with(self.0.admin.clone(), NAMESPACE, &ApiResource::from_gvk(&kind))
    }

    /// What the server says of a resource, without storing it.
    async fn tried(&self, resource: &Value, validation: &str) -> Result<Value, Box<Status>> {
        let url = self
            .api(resource["kind"].as_str().unwrap())
            .resource_url()
            .to_owned();
        let url = format!("{url}?dryRun=All&fieldValidation={validation}");
        self.send("POST", &url, resource).await
    }

    /// What the server says of a change of a stored resource.
    async fn changed(&self, old: &Value, new: &Value) -> Result<Value, Box<Status>> {
        let url = self.api(old["kind"].as_str().unwrap()).resource_url().to_owned();
        let mut old = old.clone();
        let name = format!("changed-{:016x}", rand::random::<u64>());
        old["metadata"]["name"] = json!(name);
        let stored = self.send("POST", &url, &old).await.unwrap();
        let mut new = new.clone();
        new["metadata"] = stored["metadata"].clone();
        let said = self.send("PUT", &format!("{url}/{name}?dryRun=All"), &new).await;
        let api = self.api(old["kind"].as_str().unwrap());
        api.delete(&name, &kube::api::DeleteParams::default())
            .await
            .unwrap();
        said
    }

    async fn send(&self, method: &str, url: &str, body: &Value) -> Result<Value, Box<Status>> {
        let mut body = body.clone();
        body["apiVersion"] = json!(format!("{GROUP}/v1alpha1"));
        let request = hyper::Request::builder()
            .method(method)
            .uri(url)
            .header("content-type", "application/json")
            .body(serde_json::to_vec(&body).unwrap())
            .unwrap();
        match self.0.admin.request::<Value>(request).await {
            Ok(object) => Ok(object),
            Err(kube::Error::Api(status)) => Err(status),
            Err(other) => panic!("the API server does not answer: {other}"),
        }
    }
}

/// What a file's reader says of a resource: places and messages.
fn read(resource: &Value) -> Vec<(String, String)> {
    match manifest::read(&resource.to_string(), "x.yaml", None) {
        Err(ManifestError::Wrong(faults)) => faults
            .into_iter()
            .map(|fault| (fault.path.to_string(), fault.message))
            .collect(),
        // Of a provider or a schedule alone nothing can be run.
        Ok(_) | Err(ManifestError::NoCatalog { .. } | ManifestError::OnlySchedule { .. }) => Vec::new(),
        Err(other) => panic!("{resource}: {other}"),
    }
}

/// What a server says of a resource: places as ours are written, and messages.
fn causes(status: &Status) -> Vec<(String, String)> {
    let details = status.details.iter().flat_map(|it| &it.causes);
    details
        .map(|cause| {
            // The entries of a map have brackets there.
            let parts = cause.field.split('[').enumerate();
            let place = parts.map(|(at, part)| match part.split_once(']') {
                Some((name, rest)) if name.parse::<u32>().is_err() => format!(".{name}{rest}"),
                _ if at > 0 => format!("[{part}"),
                _ => part.to_owned(),
            });
            let place: String = place.collect();
            // What is about the whole of it has no field there.
            (place.replace("<nil>", ""), cause.message.clone())
        })
        .collect()
}

fn merged(base: &Value, patch: &Value) -> Value {
    let mut merged = base.clone();
    json_patch::merge(&mut merged, patch);
    merged
}

fn corpus() -> Value {
    let text = std::fs::read_to_string(repository().join("tests/corpus/refusals.yaml")).unwrap();
    let mut corpus: Value = serde_yaml::from_str(&text).unwrap();
    // What holds for a Catalog holds for one in a template.
    for list in ["taken", "refused"] {
        for mut case in corpus["Catalog"][list].as_array().unwrap().clone() {
            let change = if list == "taken" {
                &mut case
            } else {
                let at = case["at"].as_str().unwrap();
                case["at"] = json!(at.replacen("spec", "spec.catalogTemplate.spec", 1));
                &mut case["change"]
            };
            let spec = change["spec"].take();
            change["spec"] = json!({"catalogTemplate": {"spec": spec}});
            corpus["CatalogSchedule"][list].as_array_mut().unwrap().push(case);
        }
    }
    corpus
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_is_refused_with_words_that_help() {
    let kinds = Kinds::there().await;
    let corpus = corpus();
    for kind in ["Catalog", "CatalogSchedule", "ModelProvider"] {
        let base = &corpus[kind]["base"];
        for case in corpus[kind]["refused"].as_array().unwrap() {
            let resource = merged(base, &case["change"]);
            let said = if case["was"].is_object() {
                kinds.changed(&merged(base, &case["was"]), &resource).await
            } else {
                let (at, says) = (case["at"].as_str().unwrap(), case["says"].as_str().unwrap());
                let faults = read(&resource);
                let right = faults
                    .iter()
                    .any(|(place, message)| place == at && message.contains(says));
                assert!(right, "{case}: {faults:?}");
                kinds.tried(&resource, "Strict").await
            };
            let causes = causes(&said.expect_err(&format!("{case} is taken")));
            let says = case["server"].as_str().or(case["says"].as_str()).unwrap();
            let right = |(place, message): &(String, String)| place == &case["at"] && message.contains(says);
            assert!(causes.iter().any(right), "{case}: {causes:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_right_is_taken() {
    let kinds = Kinds::there().await;
    let corpus = corpus();
    for kind in ["Catalog", "CatalogSchedule", "ModelProvider"] {
        let base = &corpus[kind]["base"];
        for case in corpus[kind]["taken"].as_array().unwrap() {
            let resource = merged(base, &json!({"spec": case["spec"]}));
            let said = if case["was"].is_object() {
                kinds.changed(&merged(base, &case["was"]), &resource).await
            } else {
                kinds.tried(&resource, "Strict").await
            };
            said.unwrap_or_else(|status| panic!("{case}: {}", status.message));
            assert_eq!(read(&resource), [], "{case}");
        }
    }
}

/// Pieces of which texts are made that are nearly right, for fields with rules: where they go, and what of.
const TEXTS: &[(&str, &[&str])] = &[
    ("/database/secretRef/name", &["a", "-", ".", "B", "_", "0", "é"]),
    ("/database/secretRef/key", &["a", "-", ".", "B", "_", "/", " "]),
    (
        "/tables/0",
        &[
            "a", "b", ".", "\"", "\"\"", " ", ";", "*", "?", "\t", "\u{a0}", "\u{85}", "é", "`", "'",
        ],
    ),
    ("/storage/s3/bucket", &["ab", "A", "-", ".", "_", "9", "/", ":"]),
    (
        "/storage/s3/prefix",
        &[
            "a",
            "/",
            ".",
            "..",
            " ",
            ".journal",
            "20261121T120000Z",
            "\u{3000}",
            "\t",
            "\u{7f}",
            "é",
            "/.",
        ],
    ),
    ("/storage/s3/region", &["a", "-", "1", "_", " ", "é"]),
    (
        "/storage/s3/endpoint",
        &[
            "http://", "https://", "h", ".", ":", "80", "/", "@", "?", "#", "[", "]", "::1", "\\", " ", "é",
            "%20",
        ],
    ),
    (
        "/model/name",
        &["a", "/", ":", " ", "\n", "\u{2028}", "é", "\u{200b}"],
    ),
    (
        "/limits/timeout",
        &["1", "0", "h", "m", "s", "ms", ".", "-", " ", "999999"],
    ),
    ("/sandbox/image", &["a", "/", ":", "@", "-", ".", " ", "B"]),
    ("/sandbox/runtimeClassName", &["a", "-", ".", "B"]),
    (
        "/sandbox/resources/limits/cpu",
        &["1", "0", ".", "m", "Mi", "K", "k", "-", "e3", " "],
    ),
    ("/sandbox/nodeSelector/pool", &["a", "-", ".", "_", "B", " ", "/"]),
    (
        "/sandbox/volumeMounts/0/mountPath",
        &["/", "a", ".", "..", ":", "work", "tmp", "usr", "\t", "é", " "],
    ),
    (
        "/sandbox/volumeMounts/0/subPath",
        &["/", "a", ".", "..", ":", "\t", "é", " "],
    ),
    (
        "/sandbox/egress/0/cidr",
        &[
            "10", ".", "0", "/", "8", ":", "::", "fe80", "ffff", "32", "128", "256", "%1", "08", "10.0.0.0",
            "/0",
        ],
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn servers_and_files_judge_alike() {
    let kinds = Kinds::there().await;
    let base = json!({
        "apiVersion": "cataloger.dev/v1alpha1", "kind": "Catalog", "metadata": {"name": "x"},
        "spec": {
            "database": {"secretRef": {"name": "db", "key": "url"}},
            "tables": ["orders"],
            "storage": {"s3": {
                "prefix": "p", "bucket": "pages", "region": "eu", "endpoint": "https://h",
                "credentialsSecretRef": {"name": "keys"},
            }},
            "model": {"name": "m"},
            "limits": {"timeout": "30m", "executeTimeout": "1ms"},
            "sandbox": {
                "image": "i", "runtimeClassName": "r",
                "resources": {"limits": {"cpu": 1}},
                "nodeSelector": {"pool": "a"},
                "volumes": [{"name": "a", "emptyDir": {"sizeLimit": "1Gi"}}],
                "volumeMounts": [{"name": "a", "mountPath": "/data", "subPath": "b"}],
                "egress": [{"cidr": "10.0.0.0/8", "port": 443}],
            },
        },
    });
    let (mut taken, mut refused) = (0, 0);
    for (pointer, pieces) in TEXTS {
        for _ in 0..40 {
            let text: String = (0..rand::rng().random_range(1..5))
                .map(|_| pieces[rand::rng().random_range(0..pieces.len())])
                .collect();
            let mut resource = base.clone();
            *resource["spec"].pointer_mut(pointer).expect("it is there") = json!(text);
            let (server, file) = (kinds.tried(&resource, "Strict").await, read(&resource));
            let said = server.as_ref().err().map(|status| &status.message);
            assert_eq!(
                said.is_none(),
                file.is_empty(),
                "{pointer} {text:?}: {said:?} {file:?}"
            );
            if file.is_empty() {
                taken += 1;
            } else {
                refused += 1;
            }
        }
    }
    assert!(taken > 50 && refused > 50, "{taken} taken, {refused} refused");
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_that_nobody_knows_are_refused_or_left_out() {
    let kinds = Kinds::there().await;
    let corpus = corpus();
    let change = json!({"spec": {"limits": {"maxToken": 5000}, "laterField": {"a": 1}}});
    let resource = merged(&corpus["Catalog"]["base"], &change);
    // As kubectl asks.
    let said = kinds.tried(&resource, "Strict").await.unwrap_err().message;
    for name in ["spec.limits.maxToken", "spec.laterField"] {
        assert!(said.contains(&format!("unknown field \"{name}\"")), "{said}");
    }
    // As older tools do: what an older or a newer operator does not know is never stored.
    let stored = kinds.tried(&resource, "Ignore").await.unwrap();
    assert_eq!(stored["spec"]["limits"]["maxTokens"], 100_000);
    assert!(stored["spec"]["limits"]["maxToken"].is_null() && stored["spec"]["laterField"].is_null());
    let spec: cataloger::api::CatalogSpec = serde_json::from_value(stored["spec"].clone()).unwrap();
    assert_eq!(cataloger::api::validate::validate(&spec), []);
}
