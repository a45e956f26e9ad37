//! What is understood, and how.

use secrecy::ExposeSecret as _;

use super::*;

const FULL: &str = r#"
# What a team keeps in one file.
apiVersion: v1
kind: Namespace
metadata: {name: sales}
---
apiVersion: v1
kind: Secret
metadata: {name: sales-db, namespace: sales, creationTimestamp: null}
type: Opaque
stringData:
  url: "postgresql://reader:hunter2@db/sales\n"
data: {dsn: aHVudGVyMg==}
---
apiVersion: v1
kind: Secret
metadata: {name: claude}
stringData: {key: sk-hunter2}
---
apiVersion: v1
kind: Secret
metadata: {name: elsewhere, namespace: sales}
---
apiVersion: cataloger.dev/v1alpha1
kind: ModelProvider
metadata: {name: claude, namespace: sales}
spec:
  anthropic: {apiKeySecretRef: {name: claude, key: key}}
  defaultModel: claude-sonnet-5-5
---
apiVersion: v1
kind: ConfigMap
metadata: {name: words}
data: {a: b}
---
apiVersion: cataloger.dev/v1alpha1
kind: Catalog
metadata:
  name: sales
  namespace: sales
  labels: {team: a}
spec:
  database: {secretRef: {name: sales-db}}
  tables: [orders, sales.*]
  storage: {s3: {prefix: docs/sales, bucket: pages, region: null}}
  model: {providerRef: {name: claude}, fallbacks: null}
  limits: {maxTokens: 2e5, maxRows: 5.0}
  sandbox: {resources: {limits: {cpu: 2, memory: 1Gi}}}
status: {phase: Nonsense}
"#;

#[test]
fn a_file_of_many_documents_is_read_as_a_cluster_would() {
    let manifest = manifest(FULL);
    let spec = &manifest.catalog.spec;
    assert_eq!(spec.tables, ["orders", "sales.*"]);
    assert_eq!((spec.limits.max_tokens, spec.limits.max_rows), (200_000, 5));
    assert_eq!(spec.limits.max_iterations, 50);
    assert_eq!(spec.storage.s3.region, None);
    assert!(spec.model.as_ref().unwrap().fallbacks.is_empty());
    let limits = spec
        .sandbox
        .as_ref()
        .unwrap()
        .resources
        .as_ref()
        .unwrap()
        .limits
        .as_ref();
    assert_eq!(limits.unwrap()["cpu"].0, "2");
    assert_eq!(manifest.catalog.status, None);
    assert_eq!(
        manifest.notes,
        [
            "Namespace sales (v1) (document 1) is not used: a run needs no such resource",
            "Secret sales/elsewhere (document 4) is not used: neither the Catalog nor its ModelProvider refers to it",
            "ConfigMap words (document 6) is not used: neither the Catalog nor its ModelProvider refers to it",
        ]
    );
    let url = manifest.database_url().unwrap().unwrap();
    assert_eq!(url.expose_secret(), "postgresql://reader:hunter2@db/sales");
    let dsn = manifest.secret("sales-db", "dsn").unwrap().unwrap();
    assert_eq!(dsn.expose_secret(), "hunter2");
    assert!(manifest.secret("other", "x").unwrap().is_none());
    assert_eq!(manifest.provider().unwrap().unwrap().name_any(), "claude");
    assert_eq!(manifest.secrets.len(), 3);
    let shown = format!("{manifest:?} {manifest:#?}");
    assert!(!shown.contains("hunter2"), "{shown}");
}

#[test]
fn json_and_lists_are_read_too() {
    let values: Vec<serde_json::Value> = documents::Documents::read(FULL).0.values;
    let stream: Vec<String> = values.iter().map(ToString::to_string).collect();
    assert_eq!(manifest(&stream.join("\n")).catalog, manifest(FULL).catalog);
    let list = serde_json::json!({"apiVersion": "v1", "kind": "List", "items": values});
    let listed = manifest(&serde_json::to_string_pretty(&list).unwrap());
    assert_eq!(listed.catalog, manifest(FULL).catalog);
    assert_eq!(listed.secrets.len(), 3);
    assert_eq!(listed.notes.len(), 3);
    // As the API returns it: the items don't repeat their kind.
    let bare = "
apiVersion: cataloger.dev/v1alpha1
kind: CatalogList
metadata: {resourceVersion: '1'}
items:
- metadata: {name: x}
  spec: {database: {secretRef: {name: y}}, tables: [z], storage: {s3: {prefix: p}}}
";
    assert_eq!(manifest(bare).catalog.name_any(), "x");
}

#[test]
fn secrets_that_lack_a_key_say_which_they_have() {
    let with = |secret: &str| {
        format!("{GOOD}---\napiVersion: v1\nkind: Secret\nmetadata: {{name: sales-db}}\n{secret}\n")
    };
    for (secret, says) in [
        (
            "stringData: {dsn: x, user: y}",
            "spec.database.secretRef wants the key url of the Secret sales-db, which in c.yaml has only dsn and user: add it to the Secret, or name a key that it has",
        ),
        (
            "type: Opaque",
            "spec.database.secretRef wants the key url of the Secret sales-db, which in c.yaml has no keys at all: add it to the Secret, or name a key that it has",
        ),
        (
            "data: {url: /w==}",
            "the key url of the Secret sales-db in c.yaml is not text, which spec.database.secretRef can't use: put the plain text into stringData",
        ),
        (
            "stringData: {url: ' '}",
            "the key url of the Secret sales-db in c.yaml is empty, which spec.database.secretRef can't use: put the plain text into stringData",
        ),
    ] {
        let error = manifest(&with(secret)).database_url().unwrap_err();
        assert_eq!(error.to_string(), says);
    }
    let error = manifest(&with("data: {url: /w==}"))
        .secret("sales-db", "x")
        .unwrap_err();
    assert!(
        error.to_string().starts_with("the Catalog wants the key x"),
        "{error}"
    );
    assert!(manifest(GOOD).database_url().unwrap().is_none());
}

#[test]
fn namespaces_keep_apart_where_both_are_said() {
    let text = |own: &str, secret: &str, provider: &str, reference: &str| {
        let said = |namespace: &str| match namespace {
            "" => String::new(),
            namespace => format!(", namespace: {namespace}"),
        };
        format!(
            "apiVersion: cataloger.dev/v1alpha1
kind: Catalog
metadata: {{name: c{}}}
spec:
  database: {{secretRef: {{name: db}}}}
  tables: [a]
  storage: {{s3: {{prefix: p}}}}
  model: {{providerRef: {{name: m{}}}}}
---
{{apiVersion: v1, kind: Secret, metadata: {{name: db{}}}, stringData: {{url: x}}}}
---
{{apiVersion: cataloger.dev/v1alpha1, kind: ModelProvider, metadata: {{name: m{}}}, spec: {{builtin: {{}}}}}}
",
            said(own),
            said(reference),
            said(secret),
            said(provider)
        )
    };
    for (own, secret, provider, reference, secret_found, provider_found) in [
        ("", "", "", "", true, true),
        ("a", "", "", "", true, true),
        ("", "a", "a", "", true, true),
        ("a", "a", "a", "", true, true),
        ("a", "b", "b", "", false, false),
        ("a", "a", "b", "b", true, true),
        ("a", "a", "a", "b", true, false),
        ("", "a", "b", "a", true, false),
    ] {
        let case = format!("{own:?} {secret:?} {provider:?} {reference:?}");
        let manifest = manifest(&text(own, secret, provider, reference));
        assert_eq!(manifest.database_url().unwrap().is_some(), secret_found, "{case}");
        assert_eq!(manifest.provider().is_ok(), provider_found, "{case}");
        let unused = usize::from(!secret_found) + usize::from(!provider_found);
        assert_eq!(manifest.notes.len(), unused, "{case}: {:?}", manifest.notes);
    }
    let apart = manifest(&text("a", "b", "b", ""));
    assert_eq!(
        apart.notes,
        [
            "Secret b/db (document 2) is not used: it is looked for as a/db",
            "ModelProvider b/m (document 3) is not used: it is looked for as a/m"
        ]
    );
    assert_eq!(
        apart.provider().unwrap_err().to_string(),
        "spec.model.providerRef of the Catalog names the ModelProvider a/m, which c.yaml does not hold (it holds b/m): add its document to the file, or give --model"
    );
    // The one of the namespace comes before one that says none.
    let both = format!(
        "{}---\n{{apiVersion: v1, kind: Secret, metadata: {{name: db, namespace: a}}, stringData: {{url: mine}}}}\n",
        text("a", "", "", "")
    );
    assert_eq!(
        manifest(&both).database_url().unwrap().unwrap().expose_secret(),
        "mine"
    );
}

#[test]
fn prompts_are_those_of_the_config_map() {
    let with = |namespace: &str, texts: &str| {
        manifest(&format!(
            "{GOOD}  prompts: {{configMapRef: {{name: words}}}}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: words{namespace}}}\n{texts}\n"
        ))
    };
    let held = with(
        "",
        "data: {summary.yaml: 'id: summary', README: x}\nbinaryData: {y: aGk=}",
    );
    let prompts = held.prompts().unwrap().unwrap();
    assert_eq!(prompts.origin, "the ConfigMap words");
    let names: Vec<&str> = prompts.texts.keys().map(String::as_str).collect();
    assert_eq!(names, ["README", "summary.yaml"]);
    assert_eq!(held.notes, [""; 0]);
    assert!(with("", "").prompts().unwrap().unwrap().texts.is_empty());
    assert!(manifest(GOOD).prompts().unwrap().is_none());
    let missing = manifest(&format!("{GOOD}  prompts: {{configMapRef: {{name: words}}}}\n"));
    assert_eq!(
        missing.prompts().unwrap_err().to_string(),
        "c.yaml: spec.prompts.configMapRef names the ConfigMap words, which the file does not hold: add its document, or give --prompts DIRECTORY"
    );
    assert_eq!(
        refused(&format!(
            "{GOOD}---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: words}}\ndata: {{a: 1}}\n"
        )),
        "c.yaml:13:11: data.a: must be text, but is a number: put it in quotes (document 2, ConfigMap words)"
    );
}
