//! The Helm chart, as platform teams render it and install it.

mod commands;
mod examples;
mod installed;
mod rendered;
mod rights;
mod schemas;

use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::time::Duration;

use cataloger_tests::script::{repository, tool};
use serde::Deserialize as _;
use serde_json::Value;
use tokio::process::Command;
use tokio::time::timeout;

/// The chart of this checkout.
fn chart() -> PathBuf {
    repository().join("charts/cataloger")
}

/// Runs Helm; it knows no cluster but by its arguments, and nobody's settings.
async fn helm(arguments: &[&str]) -> Output {
    let home = tempfile::tempdir().expect("a directory");
    let running = Command::new(tool("helm"))
        .args(arguments)
        .env("HELM_CACHE_HOME", home.path())
        .env("HELM_CONFIG_HOME", home.path())
        .env("HELM_DATA_HOME", home.path())
        .env_remove("KUBECONFIG")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = timeout(Duration::from_mins(10), running).await;
    output.expect("Helm ends").expect("Helm is there")
}

/// Runs Helm, which has to be content; what it prints.
async fn helped(arguments: &[&str]) -> String {
    let output = helm(arguments).await;
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "helm {arguments:?}: {out}\n{err}");
    out
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What the chart renders, with values set as `--set-json` has it.
async fn template(values: &[&str]) -> Vec<Value> {
    let chart = chart();
    let mut arguments = vec![
        "template",
        "cataloger",
        chart.to_str().expect("a path is text"),
        "--namespace",
        "cataloger-system",
    ];
    for value in values {
        arguments.extend(["--set-json", value]);
    }
    documents(&helped(&arguments).await)
}

fn documents(text: &str) -> Vec<Value> {
    serde_yaml::Deserializer::from_str(text)
        .map(|document| Value::deserialize(document).expect("YAML"))
        .filter(|object| !object.is_null())
        .collect()
}
