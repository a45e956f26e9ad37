//! The examples for Argo CD and Flux that install the chart: what it makes of their values.

use cataloger_tests::script::repository;
use serde_json::Value;

use crate::{chart, documents, helped};

/// The object of this kind in an example.
fn example(file: &str, kind: &str) -> Value {
    let path = repository().join("docs/examples/gitops").join(file);
    let objects = documents(&std::fs::read_to_string(path).expect("it is there"));
    let found = objects.into_iter().find(|it| it["kind"] == kind);
    found.unwrap_or_else(|| panic!("{file} has no {kind}"))
}

#[tokio::test]
async fn the_chart_takes_the_values_of_the_examples() {
    let argo = example("argocd/operator-helm.yaml", "Application");
    let flux = example("flux/operator-helm.yaml", "HelmRelease");
    let (argo_source, flux_chart) = (&argo["spec"]["source"], &flux["spec"]["chart"]["spec"]);
    let directory = tempfile::tempdir().expect("a directory");
    for (path, values, release, namespace) in [
        (
            &argo_source["path"],
            &argo_source["helm"]["valuesObject"],
            &argo_source["helm"]["releaseName"],
            &argo["spec"]["destination"]["namespace"],
        ),
        (
            &flux_chart["chart"],
            &flux["spec"]["values"],
            &flux["spec"]["releaseName"],
            &flux["spec"]["targetNamespace"],
        ),
    ] {
        let chart = chart();
        assert!(chart.ends_with(path.as_str().expect("a path")), "{path}");
        let file = directory.path().join("values.json");
        std::fs::write(&file, values.to_string()).expect("it is written");
        let rendered = helped(&[
            "template",
            release.as_str().expect("a name"),
            chart.to_str().expect("a path is text"),
            "--namespace",
            namespace.as_str().expect("a name"),
            "--values",
            file.to_str().expect("a path is text"),
        ])
        .await;
        let objects = documents(&rendered);
        let deployment = objects.iter().find(|it| it["kind"] == "Deployment");
        let deployment = deployment.expect("a Deployment");
        let container = &deployment["spec"]["template"]["spec"]["containers"][0];
        // The tags are the chart's.
        let ours = |name: &str| format!("registry.example.com/{name}:{}", env!("CARGO_PKG_VERSION"));
        assert_eq!(container["image"], ours("cataloger-operator"));
        let settings = objects
            .iter()
            .find(|it| !it["data"]["CATALOGER_BUCKET"].is_null());
        let settings = &settings.expect("settings")["data"];
        for (name, value) in [
            ("CATALOGER_SANDBOX_IMAGE", ours("cataloger-sandbox").as_str()),
            ("CATALOGER_BUCKET", "documentation"),
            ("CATALOGER_BUCKET_REGION", "eu-central-1"),
            ("CATALOGER_MODEL", "builtin"),
        ] {
            assert_eq!(settings[name], value, "{name}: {settings:#}");
        }
    }
}
