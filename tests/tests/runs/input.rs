//! Bad input: each is named on standard error, has its exit code, and leaves nothing behind.

use std::fmt::Write as _;
use std::path::Path;

use cataloger_tests::command::{Cataloger, Output};

use crate::scene::{self, MODEL, Scene};

const MANIFEST: &str = "
apiVersion: cataloger.dev/v1alpha1
kind: Catalog
metadata: {name: shop}
spec:
  database: {secretRef: {name: shop-db}}
  tables: [orders]
  storage: {s3: {prefix: docs/shop, bucket: pages}}
  model: {providerRef: {name: house}}
---
apiVersion: v1
kind: Secret
metadata: {name: shop-db}
stringData: {url: 'sqlite:////srv/shop.db'}
---
apiVersion: v1
kind: Secret
metadata: {name: keys}
stringData: {model: sk-test-0123456789abcdef}
---
apiVersion: cataloger.dev/v1alpha1
kind: ModelProvider
metadata: {name: house}
spec:
  openai: {apiKeySecretRef: {name: keys, key: model}, api: ChatCompletions, baseURL: 'http://127.0.0.1:9/v1'}
  defaultModel: gpt-5.5
";

/// The manifest with something in it replaced.
async fn manifest(directory: &Path, from: &str, to: &str, more: &[&str]) -> Output {
    assert!(MANIFEST.contains(from), "{from}");
    let file = directory.join("catalog.yaml");
    std::fs::write(&file, MANIFEST.replacen(from, to, 1)).unwrap();
    let mut arguments = vec!["run", "-f", file.to_str().unwrap()];
    arguments.extend(more);
    Cataloger::new(arguments).await.run().await
}

fn refuses(output: &Output, code: i32, says: &[&str]) {
    assert_eq!(output.code(), Some(code), "{}", output.stderr);
    for part in says {
        assert!(output.stderr.contains(part), "{part}: {}", output.stderr);
    }
    assert_eq!(output.stdout, "");
    assert!(!output.stderr.contains("panicked"), "{}", output.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_manifest_is_said_with_its_place() {
    let directory = tempfile::tempdir().unwrap();
    for (from, to, says) in [
        (
            "tables:",
            "tabels:",
            &["catalog.yaml:7:3", "spec.tabels", "did you mean tables?"][..],
        ),
        (
            "api: ChatCompletions",
            "api: ChatCompletion",
            &["spec.openai.api", "did you mean ChatCompletions?"],
        ),
        ("tables: [orders]", "tables: []", &["spec.tables"]),
        ("tables: [orders]", "tables: [orders, orders]", &["spec.tables"]),
        (
            "prefix: docs/shop",
            "prefix: /docs/shop/",
            &["prefix must not begin or end with a slash"],
        ),
        ("kind: Catalog", "kind: Catalogue", &["Catalog"]),
        ("v1alpha1", "v1", &["v1alpha1"]),
        (
            "baseURL: 'http://127.0.0.1:9/v1'",
            "baseURL: 'ftp://x'",
            &["baseURL"],
        ),
        (
            "{name: house}\nspec:\n  openai",
            "{name: other}\nspec:\n  openai",
            &["house", "--model"],
        ),
        (
            "{name: shop-db}\nstringData",
            "{name: other-db}\nstringData",
            &["shop-db", "DATABASE_URL"],
        ),
        ("url: 'sqlite", "uri: 'sqlite", &["shop-db", "url", "uri"]),
        (
            "'sqlite:////srv/shop.db'",
            "'oracle://u:hunter2@h/d'",
            &["of a kind that can't be opened", "postgresql://"],
        ),
        (", bucket: pages", "", &["bucket", "--output"]),
        ("spec:\n  database", "spec: [\n  database", &["catalog.yaml:"]),
    ] {
        let output = manifest(directory.path(), from, to, &[]).await;
        refuses(&output, 2, says);
        assert!(!output.stderr.contains("hunter2"), "{}", output.stderr);
    }
    let missing = Cataloger::new(["run", "-f", "/nowhere/catalog.yaml"])
        .await
        .run()
        .await;
    refuses(&missing, 2, &["/nowhere/catalog.yaml", "No such file"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_is_asked_for() {
    let scene = Scene::new().await;
    let database = scene.database();
    let pages = scene.pages();
    let place = pages.to_str().unwrap();
    for (arguments, says) in [
        (
            &["--output", place, "--model", MODEL][..],
            &["say which tables"][..],
        ),
        (&["--table", "orders", "--model", MODEL], &["--output DIRECTORY"]),
        (
            &["--table", "orders", "--output", place],
            &["--model anthropic/NAME"],
        ),
        (
            &["--table", "orders", "--output", "gs://x", "--model", MODEL],
            &["--output:", "s3://bucket/prefix"],
        ),
        (
            &["--table", "orders", "--output", place, "--model", "gemini/x"],
            &["names no model"],
        ),
        (
            &["--table", "orders", "--output", place, "--model", MODEL],
            &["needs an API key", "ANTHROPIC_API_KEY"],
        ),
        (
            &[
                "--table",
                "o",
                "--output",
                place,
                "--model",
                MODEL,
                "--max-cost",
                "a",
            ],
            &["amount of US dollars"],
        ),
        (
            &[
                "--table",
                "o",
                "--output",
                place,
                "--model",
                MODEL,
                "--timeout",
                "soon",
            ],
            &["90s"],
        ),
        (
            &[
                "--table",
                "o",
                "--output",
                place,
                "--model",
                MODEL,
                "--max-tokens",
                "5",
            ],
            &["1000"],
        ),
    ] {
        let mut all = vec!["run"];
        all.extend(arguments);
        let output = Cataloger::new(all)
            .await
            .env("DATABASE_URL", &database)
            .run()
            .await;
        refuses(&output, 2, says);
    }
    let output = Cataloger::new(["run", "--table", "orders", "--output", place, "--model", MODEL])
        .await
        .run()
        .await;
    refuses(&output, 2, &["set DATABASE_URL"]);
    assert!(!pages.exists());
    assert_eq!(scene.server.requests().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_of_cost_needs_a_price() {
    let scene = Scene::new().await;
    let output = scene
        .run(&["--max-cost", "1", "--fallback", "openai/nobody-knows"])
        .await;
    refuses(&output, 2, &["openai/nobody-knows", "prices"]);
    assert_eq!(scene.server.requests().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn prompts_are_strict() {
    let scene = Scene::new().await;
    let prompts = scene.directory.path().join("prompts");
    std::fs::create_dir(&prompts).unwrap();
    let own = |template: &str| {
        let mut text = String::from("id: summary\nversion: '2'\ndescription: mine\ninputs:\n");
        for (name, kind) in [("run", "string"), ("current", "string")] {
            let _ = writeln!(
                text,
                "  {name}: {{type: {kind}, required: true, description: it}}"
            );
        }
        let _ = write!(text, "template: |\n  You compare descriptions. {template}\n");
        std::fs::write(prompts.join("summary.yaml"), text).unwrap();
    };
    let given = ["--prompts", prompts.to_str().unwrap()];
    for (template, says) in [
        (
            "{{ run }}",
            &["summary.yaml, line 6", "`current` is not used"][..],
        ),
        (
            "{{ run }} {{ current }} {{ earlier }}",
            &["summary.yaml, line 8", "earlier"],
        ),
        ("{{ run }} {{ curent }}", &["summary.yaml, line 8", "curent"]),
    ] {
        own(template);
        refuses(&scene.run(&given).await, 2, says);
    }
    assert_eq!(scene.server.requests().len(), 0);
    // One that is right is used, and its hash is recorded.
    own("{{ run }} {{ current }}");
    let output = scene.run(&given).await;
    assert_eq!(output.code(), Some(0), "{}", output.stderr);
    let run = &scene::runs(&scene.pages())[0];
    let report = scene::is_whole(&scene.pages(), run);
    assert_eq!(report["asked"]["prompts"][1]["version"], "2");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_nobody_serves_is_named() {
    let scene = Scene::new().await;
    let command = scene.command(&["--output", "s3://pages/docs"]).await;
    let output = command.bucket("http://127.0.0.1:9").run().await;
    refuses(&output, 5, &["s3://pages/docs", "can't be reached"]);
    let command = scene.command(&["--output", "s3://pages/docs"]).await;
    let output = command.bucket("127.0.0.1").run().await;
    refuses(&output, 5, &["endpoint"]);
    assert_eq!(scene.server.requests().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn comments_need_a_catalog_and_words() {
    let scene = Scene::new().await;
    let pages = scene.pages();
    let place = pages.to_str().unwrap();
    let comment = async |arguments: &[&str]| {
        let mut all = vec!["comment", "--output", place];
        all.extend(arguments);
        Cataloger::new(all).await.run().await
    };
    refuses(&comment(&["hm"]).await, 2, &["no catalog at"]);
    refuses(&comment(&[" "]).await, 2, &["is empty"]);
    refuses(
        &comment(&[&"x".repeat(20_000)]).await,
        2,
        &["longer than 10000 bytes"],
    );
    refuses(
        &comment(&["--run", "20261121T120000Z", "hm"]).await,
        2,
        &["no catalog of run 20261121T120000Z"],
    );
    refuses(
        &comment(&["--run", "yesterday", "hm"]).await,
        2,
        &["20261121T120000Z"],
    );
}
