//! Manifests, good and bad.

mod bounds;
mod corpus;
mod good;
mod models;

use proptest::prelude::*;

use super::*;

/// The least that a Catalog needs; more can be put behind `spec:` and at its end.
const GOOD: &str = "\
apiVersion: cataloger.dev/v1alpha1
kind: Catalog
metadata:
  name: sales
spec:
  database: {secretRef: {name: sales-db}}
  tables: [orders, sales.*]
  storage: {s3: {prefix: docs/sales}}
";

fn manifest(text: &str) -> Manifest {
    read(text, "c.yaml", None).unwrap_or_else(|error| panic!("{text}\n{error}"))
}

fn refused(text: &str) -> String {
    match read(text, "c.yaml", None) {
        Ok(manifest) => panic!("{text}\nwas taken: {manifest:?}"),
        Err(error) => error.to_string(),
    }
}

/// What is put in place of what, and what is said then, without what is the same in all.
const MISTAKES: &[(&str, &str, &[&str])] = &[
    (
        "  tables:",
        "  tabels:",
        &[
            "5:1: spec.tables: is missing",
            "7:3: spec.tabels: there is no such field; did you mean tables?",
        ],
    ),
    ("[orders, sales.*]", "", &["7:3: spec.tables: is missing"]),
    (
        "[orders, sales.*]",
        "[]",
        &["7:11: spec.tables: must not be empty"],
    ),
    (
        "[orders, sales.*]",
        "orders",
        &["7:11: spec.tables: must be a list, but is text"],
    ),
    (
        "[orders, sales.*]",
        "[orders, 1, 'a b']",
        &[
            "7:20: spec.tables[1]: must be text, but is a number: put it in quotes",
            "7:23: spec.tables[2]: must name a table: TABLE, SCHEMA.TABLE or a pattern such as sales.*, without spaces and ';'; odd names in double quotes, as \"Odd Name\"",
        ],
    ),
    (
        "[orders, sales.*]",
        "[a, b, a]",
        &["7:18: spec.tables[2]: \"a\" is there already"],
    ),
    (
        "  database: {secretRef: {name: sales-db}}\n",
        "",
        &["5:1: spec.database: is missing"],
    ),
    (
        "{secretRef: {name: sales-db}}",
        "postgres://u:hunter2@h",
        &["6:13: spec.database: must be a mapping, but is text"],
    ),
    (
        "{name: sales-db}",
        "{key: url}",
        &["6:14: spec.database.secretRef.name: is missing"],
    ),
    (
        "spec:\n",
        "spec:\n  limits: {timeout: 5 minutes, maxRows: 0, executeTimeout: 0s}\n",
        &[
            "6:21: spec.limits.timeout: must be a duration of at most 1000h, such as 90s, 30m or 1h30m",
            "6:41: spec.limits.maxRows: must be at least 1",
            "6:60: spec.limits.executeTimeout: must be a duration of at most 1000h, such as 90s, 30m or 1h30m",
        ],
    ),
    (
        "spec:\n",
        "spec:\n  limits: {maxIteration: 5, maxCost: -1, foo: 1}\n",
        &[
            "6:12: spec.limits.maxIteration: there is no such field; did you mean maxIterations?",
            "6:38: spec.limits.maxCost: must be at least 0",
            "6:42: spec.limits.foo: there is no such field; there are executeTimeout, maxCost, maxIterations, maxRows, maxTokens and timeout",
        ],
    ),
    (
        "spec:\n",
        "spec:\n  backoffLimit: \"2\"\n  suspend: yes\n  intent: 5\n  retention: {runs: 1.5}\n",
        &[
            "6:17: spec.backoffLimit: must be a whole number, but is text",
            "7:12: spec.suspend: must be true or false, but is text",
            "8:11: spec.intent: must be text, but is a number: put it in quotes",
            "9:21: spec.retention.runs: must be a whole number, but is a number with a fraction",
        ],
    ),
    (
        "docs/sales",
        "/docs/sales",
        &[
            "8:26: spec.storage.s3.prefix: prefix must not begin or end with a slash, nor have empty parts, '.' or '..' between slashes",
        ],
    ),
    (
        "docs/sales",
        "docs/sales, endpoint: \"ftp://u:hunter2@h\"",
        &[
            "8:48: spec.storage.s3.endpoint: must be a URL such as https://s3.example.com:9000, without a user, a password, a query or a fragment",
        ],
    ),
    (
        "spec:\n",
        "spec:\n  sandbox: {volumes: [{name: x}]}\n",
        &["6:23: spec.sandbox.volumes[0]: say exactly one of persistentVolumeClaim and emptyDir"],
    ),
    (
        "spec:\n",
        "spec:\n  sandbox: {nodeSelector: {a: 1}, volumeMounts: [{name: x, mountPath: data}]}\n",
        &[
            "6:31: spec.sandbox.nodeSelector.a: must be text, but is a number: put it in quotes",
            "6:49: spec.sandbox.volumeMounts: each of volumeMounts must name one of volumes: add the volume, or name one that is there",
            "6:71: spec.sandbox.volumeMounts[0].mountPath: must be an absolute path such as /data: no ':', no '.' or '..' between slashes, no slash at its end",
        ],
    ),
    (
        "spec:\n",
        "spec:\n  sandbox: {resources: {limits: {cpu: true}}}\n",
        &["6:39: spec.sandbox.resources.limits.cpu: must be a whole number or text, but is true or false"],
    ),
    (
        "  name: sales\n",
        "  name: Sales_1\n  namespace: a.b\n  labls: {}\n",
        &[
            "4:9: metadata.name: \"Sales_1\" is no name: write small letters, digits, '-' and '.', with a letter or a digit at both ends, at most 253 in all",
            "5:14: metadata.namespace: \"a.b\" is no name: write small letters, digits and '-', with a letter or a digit at both ends, at most 63 in all",
            "6:3: metadata.labls: there is no such field; did you mean labels?",
        ],
    ),
    (
        "  name: sales\n",
        "  name: sales\n  annotations: {at: 2026}\n",
        &["5:21: metadata.annotations.at: must be text, but is a number: put it in quotes"],
    ),
    (
        "spec:\n",
        "sepc: {}\nspec:\n",
        &["5:1: sepc: there is no such field; did you mean spec?"],
    ),
];

#[test]
fn mistakes_in_a_catalog_are_placed_and_explained() {
    for (from, to, expected) in MISTAKES {
        let text = GOOD.replacen(from, to, 1);
        assert_ne!(text, GOOD);
        let said = refused(&text);
        let lines: Vec<&str> = said
            .lines()
            .map(|line| {
                let line = line.strip_prefix("c.yaml:").unwrap();
                let (line, about) = line.rsplit_once(" (document 1, Catalog ").unwrap();
                assert!(matches!(about, "sales)" | "Sales_1)"), "{about}");
                line
            })
            .collect();
        assert_eq!(&lines, expected, "{text}");
        assert!(!said.contains("hunter2"), "{said}");
    }
}

#[test]
fn mistakes_in_a_file_are_placed_and_explained() {
    let second = |text: &str| format!("{GOOD}---\n{text}");
    let of = |from: &str, to: &str| GOOD.replacen(from, to, 1);
    let write = "apiVersion: cataloger.dev/v1alpha1";
    for (text, expected) in [
        (String::new(), format!("c.yaml is empty: write a Catalog into it ({write}, kind: Catalog)")),
        ("# a: 1\n---\n---\n".into(), format!("c.yaml is empty: write a Catalog into it ({write}, kind: Catalog)")),
        ("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n---\napiVersion: v1\nkind: Secret\nmetadata: {name: y}\n".into(),
            format!("c.yaml holds no Catalog, but Secret y and ConfigMap x: add a document with {write} and kind: Catalog")),
        (of("cataloger.dev/v1alpha1", "backstage.io/v1alpha1"),
            format!("c.yaml holds no Catalog, but Catalog sales (backstage.io/v1alpha1): add a document with {write} and kind: Catalog")),
        (second(&of("name: sales\n", "name: other\n")),
            "c.yaml holds several Catalogs, sales and other: choose one by --catalog NAME".into()),
        (second(GOOD), "c.yaml:13:9: metadata.name: document 1 has one of that name already: remove one (document 2, Catalog sales)".into()),
        ("x\n".into(), "c.yaml:1:1: must be a resource with apiVersion, kind, metadata and spec, but is text (document 1)".into()),
        (second("- 1\n"), "c.yaml:10:1: must be a resource with apiVersion, kind, metadata and spec, but is a list (document 2)".into()),
        ("a: 1\n".into(), "c.yaml:1:1: apiVersion: is missing (document 1)".into()),
        (of("kind: Catalog\n", ""), "c.yaml:1:1: kind: is missing (document 1)".into()),
        (of("kind: Catalog", "kind: [Catalog]"), "c.yaml:2:7: kind: must be text, but is a list (document 1)".into()),
        (of("kind: Catalog", "kind: Catalogue"),
            "c.yaml:2:7: kind: cataloger.dev/v1alpha1 has no kind \"Catalogue\"; did you mean Catalog? (document 1, Catalogue sales)".into()),
        (of("kind: Catalog", "kind: Database"),
            "c.yaml:2:7: kind: cataloger.dev/v1alpha1 has no kind \"Database\"; there are Catalog, CatalogSchedule and ModelProvider (document 1, Database sales)".into()),
        (of("dev/v1alpha1", "dev/v1"), "c.yaml:1:13: apiVersion: \"cataloger.dev/v1\" has no Catalog; write cataloger.dev/v1alpha1 (document 1, Catalog sales)".into()),
        (of("cataloger.dev/v1alpha1", "v1"), "c.yaml:1:13: apiVersion: \"v1\" has no Catalog; write cataloger.dev/v1alpha1 (document 1, Catalog sales)".into()),
        (of("cataloger.dev", "cataloger.io"),
            "c.yaml:1:13: apiVersion: \"cataloger.io/v1alpha1\" has no Catalog; write cataloger.dev/v1alpha1 (document 1, Catalog sales)".into()),
        (of("metadata:\n  name: sales\n", ""), "c.yaml:1:1: metadata.name: is missing (document 1, Catalog)".into()),
        (of("  name: sales\n", "  generateName: sales-\n"), "c.yaml:3:1: metadata.name: is missing (document 1, Catalog)".into()),
        (of("spec:\n", "spec:\n  limits: {}\n  limits: {}\n"), "c.yaml:7:3: spec.limits: the key is there twice: remove one (document 1)".into()),
        (of("spec:\n", "spec:\n\tlimits: {}\n"),
            "c.yaml:6:1: it is not YAML: found character that cannot start any token, while scanning for the next token; YAML is indented by spaces, not by tabs (document 1)".into()),
        (of("name: sales\n", "name: {{ .Values.name }}\n"),
            "c.yaml:4:10: metadata.name: a key that is not text; if this is a template with {{ … }}, render it first (document 1)".into()),
        (second("apiVersion: v1\nkind: Secret\nmetadata: {name: db}\ndata: {url: hunter2}\nstringData: {port: 5432}\n"),
            "c.yaml:13:13: data.url: is not base64: write plain text under stringData instead of data (document 2, Secret db)\n\
             c.yaml:14:20: stringData.port: must be text, but is a number: put it in quotes (document 2, Secret db)".into()),
        (second("apiVersion: v2\nkind: Secret\nmetadata: {name: db}\n"), "c.yaml:10:13: apiVersion: \"v2\" has no Secret; write v1 (document 2, Secret db)".into()),
        (second("apiVersion: cataloger.dev/v1alpha1\nkind: ModelProvider\nmetadata: {name: p}\nspec: {openai: {api: chatCompletion}, builtin: {x: 1}}\n"),
            "c.yaml:13:7: spec: say exactly one of anthropic, openai and builtin (document 2, ModelProvider p)\n\
             c.yaml:13:16: spec.openai: say apiKeySecretRef, or the baseURL of a server of your own that needs no key (document 2, ModelProvider p)\n\
             c.yaml:13:22: spec.openai.api: there is no \"chatCompletion\"; did you mean ChatCompletions? (document 2, ModelProvider p)\n\
             c.yaml:13:49: spec.builtin.x: there is no such field, nor any other (document 2, ModelProvider p)".into()),
        (second("apiVersion: cataloger.dev/v1alpha1\nkind: ModelProvider\nmetadata: {name: p}\nspec: {openai: {baseURL: 'http://h', api: Assistants}}\n"),
            "c.yaml:13:43: spec.openai.api: must be one of ChatCompletions and Responses (document 2, ModelProvider p)".into()),
        (second("apiVersion: cataloger.dev/v1alpha1\nkind: ModelProvider\nmetadata: {name: p}\nspec: {openai: {baseURL: 'http://h'}, builtin: {}}\n"),
            "c.yaml:13:7: spec: say exactly one of anthropic, openai and builtin (document 2, ModelProvider p)".into()),
        ("kind: List\napiVersion: v1\nitems:\n- kind: Catalog\n  apiVersion: cataloger.dev/v1alpha1\n  metadata: {name: x}\n  spec: {tables: a}\n".into(),
            "c.yaml:7:3: items[0].spec.database: is missing (document 1, Catalog x)\n\
             c.yaml:7:3: items[0].spec.storage: is missing (document 1, Catalog x)\n\
             c.yaml:7:18: items[0].spec.tables: must be a list, but is text (document 1, Catalog x)".into()),
    ] {
        assert_eq!(refused(&text), expected, "{text}");
    }
}

#[test]
fn a_name_chooses_among_catalogs() {
    let in_namespace = |namespace: &str| {
        let line = format!("  name: sales\n  namespace: {namespace}\n");
        GOOD.replacen("  name: sales\n", &line, 1)
    };
    let other = GOOD.replacen("name: sales\n", "name: other\n", 1);
    let text = format!("{}---\n{}---\n{other}", in_namespace("a"), in_namespace("b"));
    let chosen = |name| read(&text, "c.yaml", Some(name));
    assert_eq!(chosen("other").unwrap().catalog.name_any(), "other");
    assert_eq!(
        chosen("b/sales").unwrap().catalog.metadata.namespace.as_deref(),
        Some("b")
    );
    assert_eq!(
        chosen("a/sales").unwrap().notes,
        [
            "Catalog b/sales (document 2) is not used: another Catalog is chosen",
            "Catalog other (document 3) is not used: another Catalog is chosen"
        ]
    );
    assert_eq!(
        chosen("sales").unwrap_err().to_string(),
        "c.yaml holds several Catalogs, a/sales and b/sales: choose one by --catalog NAME"
    );
    assert_eq!(
        chosen("none").unwrap_err().to_string(),
        "c.yaml holds no Catalog none, but a/sales, b/sales and other: give one of these names"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn no_text_is_too_odd(
        text in "([a-c]|[-:{}\\[\\]&*!|>'\"%@`,?#~]|\n|  |<<|\\PC){0,60}",
        at in 0_usize..400,
        cut in 0_usize..30,
    ) {
        drop(read(&text, "c.yaml", None));
        let at = at.min(GOOD.len());
        let end = (at + cut).min(GOOD.len());
        drop(read(&format!("{}{text}{}", &GOOD[..at], &GOOD[end..]), "c.yaml", None));
    }
}
