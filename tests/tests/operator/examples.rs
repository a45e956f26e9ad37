//! The examples of `docs/examples/gitops`: what Argo CD, Flux and kustomize make of them, by the kinds that those
//! projects define themselves.

use std::path::PathBuf;

use cataloger_tests::cluster::try_apply;
use cataloger_tests::flux::define_gitops_kinds;
use cataloger_tests::operator::Operator;
use cataloger_tests::script::{output, repository};
use kube::api::{PatchParams, ValidationDirective};
use serde::Deserialize as _;
use serde_json::{Value, json};

fn documents(text: &str) -> Vec<Value> {
    serde_yaml::Deserializer::from_str(text)
        .map(|document| Value::deserialize(document).unwrap())
        .collect()
}

/// The examples of a tool, by their files.
fn examples(tool: &str) -> Vec<(PathBuf, Vec<Value>)> {
    let directory = repository().join("docs/examples/gitops").join(tool);
    let files = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    files
        .map(|path| {
            let objects = documents(&std::fs::read_to_string(&path).unwrap());
            (path, objects)
        })
        .collect()
}

/// An object of an example, by its file and kind.
pub(crate) fn example(tool: &str, file: &str, kind: &str) -> Value {
    let all = examples(tool);
    let (_, objects) = all.iter().find(|(path, _)| path.ends_with(file)).unwrap();
    objects.iter().find(|it| it["kind"] == kind).unwrap().clone()
}

/// What kustomize makes of a kustomization that lies in this repository.
async fn kustomized(directory: &std::path::Path) -> Vec<Value> {
    documents(
        &output(
            "tests/cluster/kubectl",
            &["kustomize", directory.to_str().unwrap()],
        )
        .await,
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn the_examples_are_what_argo_cd_and_flux_define() {
    let Some(operator) = Operator::shared().await else {
        return;
    };
    let admin = &operator.cluster.admin;
    define_gitops_kinds(admin).await;
    let mut strict = PatchParams::apply("cataloger-tests").force().dry_run();
    strict.field_validation = Some(ValidationDirective::Strict);
    let mut kinds = Vec::new();
    let sales = kustomized(&repository().join("docs/examples/gitops/sales")).await;
    let files = [
        examples("argocd"),
        examples("flux"),
        vec![("sales".into(), sales)],
    ];
    for (path, objects) in files.into_iter().flatten() {
        for mut object in objects {
            kinds.push(object["kind"].as_str().unwrap().to_owned());
            if object["kind"] != "Namespace" {
                // Theirs are not there.
                object["metadata"]["namespace"] = operator.tenant("a").namespace.as_str().into();
            }
            if let Err(error) = try_apply(admin, &object, &strict).await {
                panic!("{}: {error}", path.display());
            }
        }
    }
    for kind in [
        "Application",
        "GitRepository",
        "Kustomization",
        "HelmRelease",
        "Catalog",
    ] {
        assert!(kinds.iter().any(|it| it == kind), "{kind}: {kinds:?}");
    }
}

/// The overlay over the plain manifests that an example asks its tool for.
async fn overlay(images: Value, patches: Value) -> Vec<Value> {
    let directory = tempfile::tempdir_in(repository().join("tests")).unwrap();
    let kustomization = json!({
        "apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization",
        "resources": ["../../charts/manifests"], "images": images, "patches": patches,
    });
    let text = serde_yaml::to_string(&kustomization).unwrap();
    std::fs::write(directory.path().join("kustomization.yaml"), text).unwrap();
    kustomized(directory.path()).await
}

#[tokio::test]
async fn the_examples_change_the_plain_manifests_as_they_say() {
    let argo = example("argocd", "operator-kustomize.yaml", "Application");
    let argo = &argo["spec"]["source"]["kustomize"];
    let images = argo["images"].as_array().unwrap().iter().map(|image| {
        // As Argo CD has them: NAME=NEW:TAG.
        let (name, new) = image.as_str().unwrap().split_once('=').unwrap();
        let (new, tag) = new.rsplit_once(':').unwrap();
        json!({"name": name, "newName": new, "newTag": tag})
    });
    let by_argo = overlay(images.collect(), argo["patches"].clone()).await;
    let flux = example("flux", "operator-kustomize.yaml", "Kustomization");
    let by_flux = overlay(flux["spec"]["images"].clone(), flux["spec"]["patches"].clone()).await;
    for objects in [&by_argo, &by_flux] {
        let deployment = objects.iter().find(|it| it["kind"] == "Deployment").unwrap();
        let container = &deployment["spec"]["template"]["spec"]["containers"][0];
        assert_eq!(
            container["image"],
            "registry.example.com/cataloger-operator:0.1.0"
        );
        let environment = container["env"].as_array().unwrap();
        for (name, value) in [
            (
                "CATALOGER_SANDBOX_IMAGE",
                "registry.example.com/cataloger-sandbox:0.1.0",
            ),
            ("CATALOGER_BUCKET", "documentation"),
            ("CATALOGER_BUCKET_REGION", "eu-central-1"),
        ] {
            let set = json!({"name": name, "value": value});
            assert!(environment.contains(&set), "{environment:#?}");
        }
    }
    // Who deletes the Kustomization keeps what people have made.
    let definitions = by_flux
        .iter()
        .filter(|it| it["kind"] == "CustomResourceDefinition");
    for definition in definitions {
        let kept = &definition["metadata"]["annotations"]["kustomize.toolkit.fluxcd.io/prune"];
        assert_eq!(kept, "disabled", "{}", definition["metadata"]["name"]);
    }
}
