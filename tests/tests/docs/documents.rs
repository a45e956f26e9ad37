//! Manifests, policies and values of the chart, as whom they are for takes them.

use cataloger_tests::cluster::{cluster, dry_run};
use cataloger_tests::operator::define_kinds;
use cataloger_tests::script::{repository, tool};
use serde::Deserialize as _;
use serde_json::Value;
use tokio::process::Command;

use crate::{blocks, pages};

/// Where the objects of the documentation would be.
const NAMESPACE: &str = "cataloger-tests-docs";

/// The kinds that the API server of the tests has; those of Argo CD, Flux and the like are checked elsewhere.
fn is_known(object: &Value) -> bool {
    let version = object["apiVersion"].as_str().unwrap_or_default();
    ["v1", "apps/v1", "batch/v1", "policy/v1"].contains(&version)
        || version.starts_with("cataloger.dev/")
        || version.contains(".k8s.io/") && !version.starts_with("kustomize.")
}

/// Objects of a text, if it is YAML of such.
fn objects(text: &str) -> Vec<Value> {
    // After an error it would go on for ever.
    serde_yaml::Deserializer::from_str(text)
        .map_while(|document| Value::deserialize(document).ok())
        .filter(|object| object["kind"].is_string() && object["apiVersion"].is_string())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn manifests_are_taken_by_an_api_server() {
    let cluster = cluster().await;
    define_kinds(&cluster.admin).await;
    cluster.namespace(NAMESPACE).await;
    let (mut tried, mut wrong) = (0, Vec::new());
    for page in pages().await {
        for block in blocks(&page) {
            // Also those that a command is given.
            for mut object in objects(&block.text).into_iter().chain(heredocs(&block.text)) {
                if !is_known(&object) {
                    continue;
                }
                tried += 1;
                // The namespaces of the documentation are not there.
                if let Some(namespace) = object["metadata"].get_mut("namespace") {
                    *namespace = NAMESPACE.into();
                }
                if let Err(error) = dry_run(&cluster.admin, &object, NAMESPACE).await {
                    wrong.push(format!("{}: {error}", block.at()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(tried > 3, "only {tried} manifests were found");
}

fn heredocs(text: &str) -> Vec<Value> {
    let inner = text
        .split_once("<<END\n")
        .and_then(|(_, rest)| rest.split_once("\nEND"));
    inner.map(|(inner, _)| objects(inner)).unwrap_or_default()
}

/// Policies and the like are JSON, and values of the chart are what it takes.
#[tokio::test]
async fn documents_in_blocks_are_well_formed() {
    let directory = tempfile::tempdir().expect("a directory");
    for page in pages().await {
        for block in blocks(&page) {
            match block.language.as_str() {
                "json" => {
                    let read = serde_json::from_str::<Value>(&block.text.replace('…', ""));
                    assert!(read.is_ok(), "{}: {read:?}", block.at());
                }
                "yaml" => {
                    for document in serde_yaml::Deserializer::from_str(&block.text) {
                        let read = Value::deserialize(document);
                        assert!(read.is_ok(), "{}: {read:?}", block.at());
                        let values = read.unwrap_or_default();
                        if values["networkPolicy"].is_null() {
                            continue;
                        }
                        let file = directory.path().join("values.yaml");
                        std::fs::write(&file, &block.text).expect("it is written");
                        let output = Command::new(tool("helm"))
                            .args(["template", "cataloger", "charts/cataloger", "--values"])
                            .arg(&file)
                            .current_dir(repository())
                            .output()
                            .await
                            .expect("it is there");
                        let said = String::from_utf8_lossy(&output.stderr).into_owned();
                        assert!(output.status.success(), "{}: {said}", block.at());
                    }
                }
                _ => {}
            }
        }
    }
}

/// Overlays of the plain manifests, as kustomize builds them.
#[tokio::test]
async fn overlays_can_be_built() {
    let mut built = 0;
    for page in pages().await {
        for block in blocks(&page).iter().filter(|it| it.language == "yaml") {
            for mut overlay in objects(&block.text) {
                let ours = |path: &Value| {
                    path.as_str()
                        .is_some_and(|path| path.ends_with("charts/manifests"))
                };
                let resources = overlay["resources"].as_array_mut();
                let Some(path) = resources.and_then(|all| all.iter_mut().find(|path| ours(path))) else {
                    continue;
                };
                *path = "../../charts/manifests".into();
                let directory = tempfile::tempdir_in(repository().join("tests")).expect("a directory");
                let text = serde_yaml::to_string(&overlay).expect("it was read");
                std::fs::write(directory.path().join("kustomization.yaml"), text).expect("it is written");
                let output = Command::new(repository().join("tests/cluster/kubectl"))
                    .arg("kustomize")
                    .arg(directory.path())
                    .output()
                    .await
                    .expect("it is there");
                let said = String::from_utf8_lossy(&output.stderr);
                assert!(output.status.success(), "{}: {said}", block.at());
                let made = String::from_utf8_lossy(&output.stdout);
                for setting in overlay["configMapGenerator"][0]["literals"]
                    .as_array()
                    .into_iter()
                    .flatten()
                {
                    let (name, value) = setting
                        .as_str()
                        .and_then(|it| it.split_once('='))
                        .expect("a setting");
                    let there = made.lines().any(|line| {
                        line.trim()
                            .strip_prefix(name)
                            .is_some_and(|rest| rest.trim_start_matches(": ").trim_matches('"') == value)
                    });
                    assert!(there, "{}: {name} is not in what it builds", block.at());
                }
                built += 1;
            }
        }
    }
    assert!(built > 0, "there is no overlay");
}
