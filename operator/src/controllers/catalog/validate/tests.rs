//! What a Catalog may ask for, by its namespace and by the operator's configuration.

use serde_json::{Value, json};

use super::*;
use crate::controllers::settings::{Allowed, DefaultModel, OwnBucket};

fn settings() -> Settings {
    Settings {
        installation: "cataloger".into(),
        namespaces: std::collections::BTreeSet::new(),
        home: "cataloger-system".into(),
        sandboxes: "cataloger-sandboxes".into(),
        domain: "cluster.local".into(),
        shape: Shape::new("sandbox:1"),
        most_runs: 10,
        bucket: Some(OwnBucket {
            options: S3Options {
                endpoint: Some("https://s3.example".into()),
                ..S3Options::new("pages")
            },
            prefix: "docs".parse().unwrap(),
        }),
        model: DefaultModel {
            model: Some("builtin".parse().unwrap()),
            ..DefaultModel::default()
        },
        allowed: Allowed::default(),
        grace: Duration::from_secs(20),
    }
}

fn catalog(change: impl Fn(&mut Value)) -> Catalog {
    let mut value = json!({
        "apiVersion": "cataloger.dev/v1alpha1", "kind": "Catalog",
        "metadata": {"name": "shop", "namespace": "sales"},
        "spec": {
            "database": {"secretRef": {"name": "db"}},
            "tables": ["orders", "customers"],
            "storage": {"s3": {"prefix": "shop"}},
        },
    });
    change(&mut value);
    serde_json::from_value(value).unwrap()
}

fn nothing() -> Found {
    Found {
        provider: None,
        prompts: None,
    }
}

fn judge(settings: &Settings, change: impl Fn(&mut Value)) -> Result<Valid, Problem> {
    validate(
        &catalog(change),
        &nothing(),
        settings,
        &Prompts::embedded().unwrap(),
    )
}

fn refused(change: impl Fn(&mut Value)) -> Problem {
    let problem = judge(&settings(), change).unwrap_err();
    assert!(!problem.passes, "{problem:?}");
    problem
}

#[test]
fn a_short_one_goes_to_the_operators_bucket_below_its_namespace() {
    let valid = judge(&settings(), |_| ()).unwrap();
    assert_eq!(valid.prefix.as_str(), "docs/sales/shop");
    assert!(matches!(valid.bucket, Bucket::Own) && !valid.at_home);
    assert_eq!(valid.models.model.to_string(), "builtin");
    // What it names is the operator's own.
    let named = judge(&settings(), |it| {
        it["spec"]["storage"]["s3"]["bucket"] = json!("pages");
    });
    assert!(matches!(named.unwrap().bucket, Bucket::Own));
}

#[test]
fn nobody_reaches_what_is_not_theirs() {
    type Change = fn(&mut Value);
    let cases: [(Change, &str); 10] = [
        (
            |it| it["spec"]["storage"]["s3"]["bucket"] = json!("secrets"),
            "spec.storage.s3.bucket \"secrets\"",
        ),
        (
            |it| it["spec"]["storage"]["s3"]["endpoint"] = json!("https://mine.example"),
            "",
        ),
        (
            |it| {
                it["spec"]["storage"]["s3"] = json!({
                    "prefix": "x", "bucket": "mine", "endpoint": "http://169.254.169.254",
                    "credentialsSecretRef": {"name": "keys"},
                });
            },
            "--allow-endpoint",
        ),
        (
            |it| it["spec"]["sandbox"] = json!({"image": "evil:1"}),
            "--allow-image",
        ),
        (
            |it| it["spec"]["sandbox"] = json!({"runtimeClassName": "runc"}),
            "--allow-runtime-class",
        ),
        (
            |it| it["spec"]["sandbox"] = json!({"nodeSelector": {"node-role": "control"}}),
            "\"node-role=control\"",
        ),
        (
            |it| it["spec"]["sandbox"] = json!({"tolerations": [{"operator": "Exists"}]}),
            "--allow-toleration",
        ),
        (
            |it| it["spec"]["sandbox"] = json!({"egress": [{"cidr": "10.0.0.0/8", "port": 443}]}),
            "--allow-egress",
        ),
        (
            |it| it["spec"]["sandbox"] = json!({"egress": [{"cidr": "10.0.0.0/99", "port": 443}]}),
            "",
        ),
        (
            |it| it["spec"]["storage"]["s3"]["prefix"] = json!("a/../../other"),
            "",
        ),
    ];
    for (change, says) in cases {
        let problem = refused(change);
        assert!(problem.message.contains(says), "{problem:?}");
        let expected = if says.is_empty() {
            Reason::Invalid
        } else {
            Reason::NotAllowed
        };
        assert_eq!(problem.reason, expected, "{problem:?}");
    }
}

#[test]
fn what_is_allowed_is_taken() {
    let mut settings = settings();
    settings.allowed = Allowed {
        images: ["team/*"].into_iter().collect(),
        endpoints: ["https://minio.example"].into_iter().collect(),
        node_selectors: ["pool=sandbox"].into_iter().collect(),
        tolerations: ["sandbox"].into_iter().collect(),
        egress: vec!["10.0.0.0/8".parse().unwrap()],
        ..Allowed::default()
    };
    let valid = judge(&settings, |it| {
        it["spec"]["storage"]["s3"] = json!({
            "prefix": "x/y", "bucket": "mine", "endpoint": "https://minio.example",
            "credentialsSecretRef": {"name": "keys"},
        });
        it["spec"]["sandbox"] = json!({
            "image": "team/sandbox:2",
            "nodeSelector": {"pool": "sandbox"},
            "tolerations": [{"key": "sandbox", "operator": "Exists"}],
            "egress": [{"cidr": "10.1.2.0/24", "port": 443}],
            "resources": {"limits": {"memory": "4Gi"}},
            "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "shop"}}],
            "volumeMounts": [{"name": "data", "mountPath": "/data"}],
        });
    })
    .unwrap();
    // A bucket of one's own has no namespaces in it.
    assert_eq!(valid.prefix.as_str(), "x/y");
    assert!(valid.at_home && valid.shape.image == "team/sandbox:2");
    let limits = valid.shape.resources.limits.unwrap();
    assert_eq!(
        (limits["memory"].0.as_str(), limits["cpu"].0.as_str()),
        ("4Gi", "2")
    );
    assert_eq!(valid.egress.len(), 1);
}

#[test]
fn a_bucket_of_ones_own_is_where_the_operators_is_unless_it_is_said() {
    let region = |operators: Option<&str>, change: Value| {
        let mut settings = settings();
        settings.allowed.endpoints = ["https://minio.example"].into_iter().collect();
        settings.bucket.as_mut().unwrap().options.region = Some("eu-central-1".into());
        settings.bucket.as_mut().unwrap().options.endpoint = operators.map(Into::into);
        let valid = judge(&settings, |it| {
            let s3 = &mut it["spec"]["storage"]["s3"];
            *s3 = json!({"prefix": "x", "bucket": "mine", "credentialsSecretRef": {"name": "keys"}});
            let more = change.as_object().unwrap().clone();
            s3.as_object_mut().unwrap().extend(more);
        });
        match valid.unwrap().bucket {
            Bucket::Theirs { options, .. } => options.region,
            Bucket::Own => panic!("not theirs"),
        }
    };
    assert_eq!(region(None, json!({})).as_deref(), Some("eu-central-1"));
    assert_eq!(
        region(None, json!({"region": "us-west-2"})).as_deref(),
        Some("us-west-2")
    );
    assert_eq!(region(None, json!({"endpoint": "https://minio.example"})), None);
    // Another server's word says nothing of AWS.
    assert_eq!(region(Some("https://s3.example"), json!({})), None);
}

#[test]
fn without_a_bucket_or_a_model_it_is_said_what_to_do() {
    let mut without = settings();
    without.bucket = None;
    let problem = judge(&without, |_| ()).unwrap_err();
    assert_eq!(problem.reason, Reason::NotConfigured);
    assert!(problem.message.contains("credentialsSecretRef"), "{problem:?}");
    let mut without = settings();
    without.model = DefaultModel::default();
    let problem = judge(&without, |_| ()).unwrap_err();
    assert!(problem.message.contains("providerRef"), "{problem:?}");
}

#[test]
fn only_what_can_change_the_result_changes_the_fingerprint() {
    let wanted = |change: fn(&mut Value)| judge(&settings(), change).unwrap().wanted;
    let usual = wanted(|_| ());
    for same in [
        (|it| it["spec"]["tables"] = json!(["customers", "orders"])) as fn(&mut Value),
        |it| it["spec"]["suspend"] = json!(true),
        |it| it["spec"]["ttlSecondsAfterFinished"] = json!(60),
        |it| it["spec"]["retention"] = json!({"runs": 3}),
        |it| it["metadata"]["labels"] = json!({"a": "b"}),
        |it| it["spec"]["storage"]["s3"]["bucket"] = json!("pages"),
        |it| it["spec"]["limits"] = json!({"maxTokens": 5000}),
        |it| it["spec"]["backoffLimit"] = json!(0),
    ] {
        assert_eq!(wanted(same).fingerprint, usual.fingerprint);
    }
    for other in [
        (|it| it["spec"]["tables"] = json!(["orders"])) as fn(&mut Value),
        |it| it["spec"]["database"]["secretRef"]["key"] = json!("other"),
        |it| it["spec"]["intent"] = json!("Is revenue complete?"),
        |it| it["spec"]["storage"]["s3"]["prefix"] = json!("elsewhere"),
        |it| it["metadata"]["namespace"] = json!("marketing"),
    ] {
        assert_ne!(wanted(other).fingerprint, usual.fingerprint);
    }
    assert_ne!(
        wanted(|it| it["spec"]["limits"] = json!({"maxTokens": 5000})).settings,
        usual.settings
    );
    assert_eq!(
        wanted(|it| it["metadata"]["annotations"] = json!({"cataloger.dev/requestedAt": "now"}))
            .requested_at
            .as_deref(),
        Some("now")
    );
}
