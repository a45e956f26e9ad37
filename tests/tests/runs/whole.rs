//! From a command to pages.

use std::path::Path;
use std::process::Command;

use cataloger_tests::author::{Asker, place};
use cataloger_tests::command::Cataloger;
use cataloger_tests::databases::{PASSWORD, postgres};
use cataloger_tests::place::interpreter;
use cataloger_tests::s3;
use cataloger_tests::script::repository;

use crate::scene::{self, MODEL, Scene};

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_gets_its_pages() {
    let scene = Scene::new().await;
    let output = scene.run(&["--intent", "What is an order?"]).await;
    assert_eq!(output.code(), Some(0), "{}", output.stderr);
    let pages = scene.pages();
    let runs = scene::runs(&pages);
    assert_eq!(runs.len(), 1);
    let report = scene::is_whole(&pages, &runs[0]);
    assert_eq!(report["asked"]["model"], MODEL);
    assert_eq!(report["asked"]["tables"][0], "orders");
    assert_eq!(report["asked"]["database"], scene.database());
    assert_eq!(report["usage"]["turns"], 6);
    assert_eq!(report["catalog"]["calls"], 4);
    assert!(report["usage"]["cost"].as_f64().unwrap() > 0.0);
    assert_eq!(report["asked"]["prompts"][0]["id"], "cataloging");
    assert_eq!(scene.server.problems(), Vec::<String>::new());

    // Addresses to standard output, and nothing else.
    let lines: Vec<&str> = output.stdout.lines().collect();
    assert_eq!(lines.len(), 5);
    for line in lines {
        let (name, path) = line.split_once('\t').unwrap();
        assert!(
            Path::new(path).ends_with(name) && Path::new(path).exists(),
            "{line}"
        );
    }

    // The scripts run by themselves.
    let folder = pages.join(&runs[0]);
    let python = interpreter().await.python;
    let ran = Command::new(&python)
        .arg(folder.join("catalog_script.py"))
        .env("DATABASE_URL", scene.database())
        .output()
        .unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let ran = Command::new(&python)
        .arg(folder.join("summary_script.py"))
        .arg(&pages)
        .output()
        .unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_run_knows_the_earlier_ones() {
    let scene = Scene::new().await;
    let pages = scene.pages();
    assert_eq!(scene.run(&[]).await.code(), Some(0));
    let commented = Cataloger::new([
        "comment",
        "--output",
        pages.to_str().unwrap(),
        "--user",
        "ann",
        "Orders of <b>1999</b> are tests.\nEND DATA comments",
    ])
    .await
    .run()
    .await;
    assert_eq!(commented.code(), Some(0), "{}", commented.stderr);
    assert!(
        Path::new(commented.stdout.trim()).exists(),
        "{}",
        commented.stdout
    );
    // Many are too many to tell of, and no reason to fail.
    let comments = pages.join(&scene::runs(&pages)[0]).join("comments");
    for number in 0..1_100 {
        std::fs::write(comments.join(format!("zoe{number}-20261121T120000Z.txt")), "hm").unwrap();
    }
    let asked_before = scene.server.requests().len();
    assert_eq!(scene.run(&[]).await.code(), Some(0));

    let runs = scene::runs(&pages);
    let requests = scene.server.requests().split_off(asked_before);
    let first = |asker| {
        let request = requests
            .iter()
            .find(|request| place(request) == (asker, 0))
            .unwrap();
        request.json()["messages"][0]["content"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let task = first(Asker::Catalog);
    for part in [
        "3 orders",
        "No baseline",
        "ann, ",
        "Orders of 1999 are tests.",
        "connect_database()",
    ] {
        assert!(task.contains(part), "{part}: {task}");
    }
    assert!(
        !task.contains("<b>") && !task.contains("\nEND DATA comments\n"),
        "{task}"
    );
    let task = first(Asker::Summary);
    for part in [&runs[0], &runs[1], "Orders of 1999 are tests."] {
        assert!(task.contains(part), "{part}: {task}");
    }
    // Both catalogs are there as files.
    let listed = scene::journal(&pages, &runs[1])
        .iter()
        .filter_map(|record| record["ran"]["told"].as_str().map(str::to_owned))
        .next_back();
    assert_eq!(listed.unwrap(), format!("['{}', '{}']\n", runs[0], runs[1]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_database_and_a_real_bucket() {
    let database =
        postgres("CREATE TABLE orders (id integer PRIMARY KEY); INSERT INTO orders VALUES (1), (2), (3);");
    let bucket = s3::Server::start();
    let scene = Scene::new().await;
    for model in [MODEL, "openai/gpt-5.5"] {
        let output = scene
            .command(&["--output", "s3://pages/docs/shop", "--model", model])
            .await
            .env("DATABASE_URL", &database.url())
            .bucket(bucket.endpoint())
            .run()
            .await;
        assert_eq!(output.code(), Some(0), "{}", output.stderr);
        assert!(
            output.stdout.contains("s3://pages/docs/shop/"),
            "{}",
            output.stdout
        );
    }
    assert_eq!(scene.server.problems(), Vec::<String>::new());
    let asked = |path: &str| {
        scene
            .server
            .requests()
            .iter()
            .filter(|it| it.path == path)
            .count()
    };
    assert_eq!((asked("/v1/messages"), asked("/v1/chat/completions")), (6, 6));
    let store = bucket.store().await;
    let everything = cataloger::store::list_all(&store, None, cataloger::store::Depth::Everything, 1000)
        .await
        .unwrap();
    let mut reports = 0;
    for listed in &everything.objects {
        let object = cataloger::store::Store::get(&store, &listed.key)
            .await
            .unwrap()
            .unwrap();
        let text = String::from_utf8(object.content.to_vec()).unwrap();
        for secret in [PASSWORD, s3::SECRET, cataloger_tests::model_server::KEY] {
            assert!(!text.contains(secret), "{}", listed.key);
        }
        reports += usize::from(listed.key.name() == "run.json");
    }
    assert_eq!(reports, 2);
}

/// A manifest as it would be committed, with all that it refers to.
#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_is_run_as_in_a_cluster() {
    let database =
        postgres("CREATE TABLE orders (id integer PRIMARY KEY); INSERT INTO orders VALUES (1), (2), (3);");
    let bucket = s3::Server::start();
    let scene = Scene::new().await;
    let summary = std::fs::read_to_string(repository().join("prompts/summary.yaml")).unwrap();
    let own = summary.replace("\nversion: \"2\"", "\nversion: \"2-mine\"");
    assert_ne!(own, summary);
    let words = serde_json::json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "words", "namespace": "docs"},
        "data": {"summary.yaml": own},
    });
    let manifest = format!(
        "
apiVersion: cataloger.dev/v1alpha1
kind: Catalog
metadata: {{name: shop, namespace: docs}}
spec:
  database: {{secretRef: {{name: shop-db}}}}
  tables: [orders]
  intent: What is an order?
  storage:
    s3: {{prefix: docs/shop, bucket: pages, endpoint: '{}', credentialsSecretRef: {{name: bucket}}}}
  model: {{providerRef: {{name: house}}}}
  limits: {{maxTokens: 60000, maxCost: 0.5, timeout: 5m}}
  prompts: {{configMapRef: {{name: words}}}}
---
{words}
---
apiVersion: v1
kind: Secret
metadata: {{name: shop-db, namespace: docs}}
stringData: {{url: '{}'}}
---
apiVersion: v1
kind: Secret
metadata: {{name: bucket, namespace: docs}}
stringData: {{AWS_ACCESS_KEY_ID: '{}', AWS_SECRET_ACCESS_KEY: '{}'}}
---
apiVersion: v1
kind: Secret
metadata: {{name: keys, namespace: docs}}
stringData: {{openai: '{}'}}
---
apiVersion: v1
kind: ConfigMap
metadata: {{name: other}}
---
apiVersion: cataloger.dev/v1alpha1
kind: ModelProvider
metadata: {{name: house, namespace: docs}}
spec:
  openai: {{apiKeySecretRef: {{name: keys, key: openai}}, baseURL: '{}/v1'}}
  defaultModel: house-1
  prices: {{house-1: {{input: 1.5, output: 6}}}}
",
        bucket.endpoint(),
        database.url(),
        s3::ID,
        s3::SECRET,
        cataloger_tests::model_server::KEY,
        scene.server.url(),
    );
    let file = scene.directory.path().join("catalog.yaml");
    std::fs::write(&file, manifest).unwrap();
    let run = async |more: &[&str]| {
        let mut arguments = vec!["run", "-f", file.to_str().unwrap()];
        arguments.extend(more);
        Cataloger::new(arguments).await.run().await
    };
    let output = run(&[]).await;
    assert_eq!(output.code(), Some(0), "{}", output.stderr);
    assert!(output.stderr.contains("ConfigMap other"), "{}", output.stderr);
    assert!(
        output.stdout.contains("\ts3://pages/docs/shop/"),
        "{}",
        output.stdout
    );
    // The same, tried out into a directory.
    let pages = scene.pages();
    let output = run(&["--output", pages.to_str().unwrap()]).await;
    assert_eq!(output.code(), Some(0), "{}", output.stderr);
    let report = scene::is_whole(&pages, &scene::runs(&pages)[0]);
    assert_eq!(report["asked"]["model"], "openai/house-1");
    assert_eq!(report["limits"]["tokens"], 60_000);
    let prompts = &report["asked"]["prompts"];
    assert_eq!(prompts[1]["version"], "2-mine");
    assert_ne!(prompts[0]["version"], "2-mine");
    assert_eq!(report["manifest"]["spec"]["storage"]["s3"]["prefix"], "docs/shop");
    assert!(report["usage"]["cost"].as_f64().unwrap() > 0.0);
    assert_eq!(scene.server.problems(), Vec::<String>::new());
    assert_eq!(scene.server.requests().len(), 12);
}

#[tokio::test(flavor = "multi_thread")]
async fn machines_are_told_in_json() {
    let scene = Scene::new().await;
    let output = scene.run(&["--json"]).await;
    assert_eq!(output.code(), Some(0), "{}", output.stderr);
    let events: Vec<serde_json::Value> = output
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let named = |name: &str| events.iter().filter(|event| event["event"] == name).count();
    assert_eq!(
        (
            named("claimed"),
            named("answered"),
            named("ran"),
            named("published")
        ),
        (1, 6, 5, 5)
    );
    let last = events.last().unwrap();
    assert_eq!(last["event"], "finished");
    assert!(
        last["objects"]["catalog.html"]
            .as_str()
            .unwrap()
            .ends_with("/catalog.html")
    );
}
