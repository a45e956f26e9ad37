//! What `kubectl get` shows of a resource, and by which of its fields it finds one.

use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use serde_json::{Value, json};

use crate::{GROUP, Kinds, corpus, merged};

/// A resource that is there for a while.
struct Stored<'a> {
    kinds: &'a Kinds,
    kind: &'static str,
    name: String,
}

impl<'a> Stored<'a> {
    /// What the corpus has of a kind, with a change of its spec and a status.
    async fn new(kinds: &'a Kinds, kind: &'static str, name: &str, spec: Value, status: Value) -> Self {
        let change = json!({"metadata": {"name": name}, "spec": spec});
        let mut resource = merged(&corpus()[kind]["base"], &change);
        resource["apiVersion"] = json!(format!("{GROUP}/v1alpha1"));
        let (api, patch) = (kinds.api(kind), PatchParams::apply("cataloger-tests"));
        api.patch(name, &patch, &Patch::Apply(&resource)).await.unwrap();
        let status = json!({"apiVersion": resource["apiVersion"], "kind": kind, "status": status});
        api.patch_status(name, &patch, &Patch::Apply(&status))
            .await
            .unwrap();
        Self {
            kinds,
            kind,
            name: name.to_owned(),
        }
    }

    /// That it is found by the value of a field, and not by another one.
    async fn is_found(&self, field: &str, value: &str) {
        let found = async |value: &str| {
            let fields = format!("metadata.name={},{field}={value}", self.name);
            let all = self.kinds.api(self.kind);
            all.list(&ListParams::default().fields(&fields))
                .await
                .unwrap()
                .items
                .len()
        };
        assert_eq!((found(value).await, found("another").await), (1, 0), "{field}");
    }

    /// Its columns, the usual ones and those of `-o wide`.
    async fn columns(&self) -> (Vec<String>, Vec<String>) {
        let url = self.kinds.api(self.kind).resource_url().to_owned();
        let request = hyper::Request::get(format!("{url}/{}", self.name))
            .header("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")
            .body(Vec::new())
            .unwrap();
        let table: Value = self.kinds.0.admin.request(request).await.unwrap();
        let columns = table["columnDefinitions"].as_array().unwrap();
        let cells = table["rows"][0]["cells"].as_array().unwrap();
        let shown = |wide: bool| -> Vec<String> {
            let all = columns.iter().zip(cells);
            let these = all.filter(|(column, _)| (column["priority"] != 0) == wide);
            these
                .map(|(column, cell)| format!("{}: {cell}", column["name"].as_str().unwrap()))
                .collect()
        };
        (shown(false), shown(true))
    }

    async fn remove(self) {
        let api = self.kinds.api(self.kind);
        api.delete(&self.name, &DeleteParams::default()).await.unwrap();
    }
}

/// Every field that a definition lets a kind be selected by.
fn selectable(kind: &str) -> Vec<String> {
    let definitions = cataloger::api::definitions();
    let mut definition = definitions.iter().filter(|it| it.spec.names.kind == kind);
    let version = &definition.next().unwrap().spec.versions[0];
    let fields = version.selectable_fields.iter().flatten();
    fields
        .map(|field| field.json_path.trim_start_matches('.').to_owned())
        .collect()
}

fn ready(reason: &str) -> Value {
    json!({
        "type": "Ready", "status": "True", "reason": reason, "message": "it is published",
        "lastTransitionTime": "2026-11-21T12:00:00Z",
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_and_selectors_of_a_catalog_find_what_they_name() {
    let kinds = Kinds::there().await;
    let name = format!("columns-{:016x}", rand::random::<u64>());
    let named = |what: &str| format!("{name}-{what}");
    let spec = json!({
        "database": {"secretRef": {"name": named("db")}},
        "model": {"providerRef": {"name": named("provider")}},
        "prompts": {"configMapRef": {"name": named("prompts")}},
        "storage": {"s3": {"bucket": "selected", "credentialsSecretRef": {"name": named("keys")}}},
    });
    let status = json!({
        "phase": "Succeeded",
        "conditions": [ready("Succeeded")],
        "run": {
            "attempt": 1, "iteration": 7, "model": "builtin", "message": "it is done",
            "usage": {
                "tokens": 1234, "input": 1000, "cacheWrite": 0, "cacheRead": 0, "output": 234, "cost": 0.5,
            },
        },
        "artifacts": {"timestamp": "20261121T120000Z", "catalog": "s3://pages/catalog.html"},
    });
    let stored = Stored::new(&kinds, "Catalog", &name, spec, status).await;
    let fields = [
        ("status.phase", "Succeeded".to_owned()),
        ("spec.suspend", "false".to_owned()),
        ("spec.database.secretRef.name", named("db")),
        ("spec.model.providerRef.name", named("provider")),
        ("spec.prompts.configMapRef.name", named("prompts")),
        ("spec.storage.s3.bucket", "selected".to_owned()),
        ("spec.storage.s3.credentialsSecretRef.name", named("keys")),
    ];
    assert_eq!(selectable("Catalog"), fields.each_ref().map(|it| it.0));
    for (field, value) in &fields {
        stored.is_found(field, value).await;
    }
    let (usual, wide) = stored.columns().await;
    assert!(usual[6].starts_with("Age: "), "{usual:?}");
    assert_eq!(
        usual[..6],
        [
            format!("Name: \"{name}\""),
            "Phase: \"Succeeded\"".into(),
            "Tables: \"[\\\"orders\\\",\\\"sales.*\\\"]\"".into(),
            "Model: \"builtin\"".into(),
            "Tokens: 1234".into(),
            "Last run: \"20261121T120000Z\"".into(),
        ]
    );
    assert_eq!(
        wide,
        [
            "Ready: \"Succeeded\"",
            "Turn: 7",
            "Cost: 0.5",
            "Catalog: \"s3://pages/catalog.html\"",
            "Message: \"it is published\"",
        ]
    );
    stored.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_and_selectors_of_a_provider_find_what_they_name() {
    let kinds = Kinds::there().await;
    let name = format!("columns-{:016x}", rand::random::<u64>());
    let (claude, other) = (format!("{name}-claude"), format!("{name}-other"));
    let key = |of: &str| json!({"apiKeySecretRef": {"name": format!("{of}-key"), "key": "key"}});
    let status = json!({
        "conditions": [ready("Ready")],
        "spending": {
            "since": "2026-11-01T00:00:00Z", "until": "2026-12-01T00:00:00Z", "spent": 1.5, "reserved": 0.25,
        },
    });
    let spec = json!({
        "openai": null, "anthropic": key(&claude), "defaultModel": "claude-sonnet-5-5",
        "budget": {"amount": 100},
    });
    let anthropic = Stored::new(&kinds, "ModelProvider", &claude, spec, status.clone()).await;
    let spec = json!({"openai": key(&other), "defaultModel": "gpt-test"});
    let openai = Stored::new(&kinds, "ModelProvider", &other, spec, status).await;

    assert_eq!(
        selectable("ModelProvider"),
        [
            "spec.anthropic.apiKeySecretRef.name",
            "spec.openai.apiKeySecretRef.name",
            "spec.defaultModel",
        ]
    );
    for (stored, field, value) in [
        (
            &anthropic,
            "spec.anthropic.apiKeySecretRef.name",
            format!("{claude}-key"),
        ),
        (
            &openai,
            "spec.openai.apiKeySecretRef.name",
            format!("{other}-key"),
        ),
        (&anthropic, "spec.defaultModel", "claude-sonnet-5-5".to_owned()),
        (&openai, "spec.defaultModel", "gpt-test".to_owned()),
    ] {
        stored.is_found(field, &value).await;
    }
    let (usual, wide) = anthropic.columns().await;
    assert!(usual[5].starts_with("Age: "), "{usual:?}");
    assert_eq!(
        usual[..5],
        [
            format!("Name: \"{claude}\""),
            "Model: \"claude-sonnet-5-5\"".into(),
            "Ready: \"True\"".into(),
            "Spent: 1.5".into(),
            "Budget: 100".into(),
        ]
    );
    assert_eq!(
        wide,
        [
            "Reason: \"Ready\"",
            "Reserved: 0.25",
            "Until: \"2026-12-01T00:00:00Z\"",
            "Message: \"it is published\"",
        ]
    );
    anthropic.remove().await;
    openai.remove().await;
}
