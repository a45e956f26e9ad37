//! Which rights the chart gives, to the operator and to people. No cluster is changed.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::rendered::ALL;
use crate::template;

#[tokio::test]
async fn rights_are_given_in_the_namespaces_that_are_listed_and_nowhere_else() {
    let objects = template(&ALL).await;
    assert!(
        !objects
            .iter()
            .any(|object| object["kind"] == "ClusterRoleBinding")
    );
    let bound: BTreeSet<_> = objects
        .iter()
        .filter(|object| object["kind"] == "RoleBinding")
        .map(|object| {
            let metadata = &object["metadata"];
            format!("{}/{}", metadata["namespace"], metadata["name"]).replace('"', "")
        })
        .collect();
    let wanted = [
        "sales/docs",
        "finance/docs",
        "sales/docs-services",
        "finance/docs-services",
        "databases/docs-services",
        "platform/docs-provider",
        "docs-sandboxes/docs-sandboxes",
        "finance/docs-sandboxes",
        "cataloger-system/docs-own",
        "sales/docs-selftest",
    ];
    assert_eq!(bound, wanted.iter().map(|name| (*name).to_owned()).collect());
}

/// What people may do by the roles that are added to Kubernetes' own: what they write, and not what the operator says of
/// it. A budget is kept by what its provider's status says was spent.
#[tokio::test]
async fn who_edits_a_namespace_writes_resources_and_no_status() {
    let objects = template(&[]).await;
    let kinds: BTreeSet<&str> = objects
        .iter()
        .filter(|object| object["kind"] == "CustomResourceDefinition")
        .map(|object| object["spec"]["names"]["plural"].as_str().unwrap())
        .collect();
    assert_eq!(kinds.len(), 3, "{kinds:?}");
    let added: Vec<&Value> = objects
        .iter()
        .filter(|object| {
            let labels = &object["metadata"]["labels"];
            labels["rbac.authorization.k8s.io/aggregate-to-edit"] == "true"
        })
        .collect();
    assert_eq!(added.len(), 2, "{added:#?}");
    for role in added {
        for rule in role["rules"].as_array().unwrap() {
            assert_eq!(rule["apiGroups"], json!(["cataloger.dev"]));
            let resources = rule["resources"].as_array().unwrap();
            let resources: BTreeSet<&str> = resources.iter().map(|it| it.as_str().unwrap()).collect();
            // No "*", which subresources are among, and none of those.
            assert_eq!(resources, kinds, "{role:#}");
        }
    }
}

#[tokio::test]
async fn without_rights_none_are_given_to_the_test_either() {
    let objects = template(&["rbac.create=false"]).await;
    let rights: Vec<&Value> = objects
        .iter()
        .filter(|object| object["kind"].as_str().unwrap().contains("Role"))
        .collect();
    assert_eq!(rights, Vec::<&Value>::new());
    assert!(objects.iter().any(|object| object["kind"] == "Pod"));
}
