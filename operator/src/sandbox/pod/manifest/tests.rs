//! What a Pod looks like, written out in snapshots, and what its name may be.

use k8s_openapi::api::core::v1::Toleration;
use proptest::prelude::*;

use super::*;

fn owner() -> Owner {
    Owner {
        installation: "main".into(),
        namespace: "sales".into(),
        catalog: "shop".into(),
        uid: "0b5e3c1e-6e5a-4a51-9f0a-7d3f5b6a1c2d".into(),
        run: "20261122T090000Z".into(),
    }
}

fn yaml(shape: &Shape, names: &Names) -> String {
    serde_yaml::to_string(&pod(&owner(), "cataloger-sandboxes", shape, names)).unwrap()
}

#[test]
fn the_usual_pod() {
    let names = Names {
        hosts: [("198.51.100.7".parse().unwrap(), vec!["db.example.com".to_owned()])].into(),
        dns: Vec::new(),
    };
    insta::assert_snapshot!(yaml(
        &Shape::new("registry.example.com/cataloger-sandbox:1"),
        &names
    ));
}

/// Not all of this can be run everywhere: user namespaces, gVisor and Kata need a runtime that has them.
#[test]
fn a_pod_with_all_that_can_be_asked_for() {
    let mut shape = Shape::new("registry.example.com/cataloger-sandbox:1");
    shape.pull = PullPolicy::Always;
    shape.pull_secrets = vec!["registry".into()];
    shape.runtime_class = Some("gvisor".into());
    shape.user_namespace = true;
    shape.node_selector = [("pool".to_owned(), "sandboxes".to_owned())].into();
    shape.tolerations = vec![Toleration {
        key: Some("sandboxes".into()),
        operator: Some("Exists".into()),
        ..Toleration::default()
    }];
    shape.volumes = vec![
        Volume {
            name: "shop".into(),
            source: VolumeSource::Claim("shop-database".into()),
            mounts: vec![("/data".into(), Some("shop".into()))],
        },
        Volume {
            name: "room".into(),
            source: VolumeSource::Empty(Quantity("5Gi".into())),
            mounts: vec![("/room".into(), None)],
        },
    ];
    shape.arguments = vec!["--process-limit".into(), "64".into()];
    let names = Names {
        hosts: BTreeMap::new(),
        dns: super::super::policy::usual_dns(),
    };
    insta::assert_snapshot!(yaml(&shape, &names));
}

#[test]
fn what_lies_beside_the_catalog_goes_with_it() {
    let owners = |namespace: &str| owner().metadata(namespace).owner_references.unwrap_or_default();
    assert_eq!(owners("cataloger-sandboxes"), []);
    let [it] = &owners("sales")[..] else {
        panic!("it has one owner");
    };
    assert_eq!(
        (
            it.api_version.as_str(),
            it.kind.as_str(),
            it.name.as_str(),
            &it.uid
        ),
        ("cataloger.dev/v1alpha1", "Catalog", "shop", &owner().uid)
    );
    // That would take a right of its own.
    assert_eq!(it.block_owner_deletion, None);
}

proptest! {
    #[test]
    fn names_are_good_for_labels_and_differ(
        catalog in "[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?",
        uid in "[0-9a-f-]{1,36}",
        other in "[0-9a-f-]{1,36}",
    ) {
        let owner = Owner { catalog, uid, ..owner() };
        let name = owner.name();
        prop_assert!(name.len() <= 63, "{name}");
        prop_assert!(name.starts_with(|it: char| it.is_ascii_lowercase()));
        prop_assert!(name.ends_with(|it: char| it.is_ascii_alphanumeric()));
        prop_assert!(name.chars().all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || it == '-'));
        prop_assert_eq!(&name, &owner.clone().name());
        if other != owner.uid {
            prop_assert_ne!(name, Owner { uid: other, ..owner }.name());
        }
    }
}
