//! That a file is judged as a cluster judges it, which is asked the same in `tests/tests/api.rs`.

use serde_json::{Value, json};

use super::*;

/// A JSON merge patch.
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (name, value) in patch {
        merge(&mut target[name], value);
    }
}

#[test]
fn what_a_cluster_refuses_is_refused_from_a_file() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/corpus/refusals.yaml");
    let text = std::fs::read_to_string(path).unwrap();
    let corpus: Value = serde_yaml::from_str(&text).unwrap();
    let mut seen = 0;
    for kind in ["Catalog", "ModelProvider"] {
        let of = |change: &Value| {
            let mut resource = corpus[kind]["base"].clone();
            merge(&mut resource, change);
            let (_, faults) = resources::read(&resource.to_string(), "c.yaml");
            faults
        };
        for case in corpus[kind]["taken"].as_array().unwrap() {
            assert_eq!(of(&json!({"spec": case["spec"]})), [], "{case}");
        }
        for case in corpus[kind]["refused"].as_array().unwrap() {
            let faults = of(&case["change"]);
            // A file has no past.
            if case["was"].is_object() {
                assert_eq!(faults, [], "{case}");
                continue;
            }
            let right = |it: &Fault| {
                it.path.to_string() == case["at"].as_str().unwrap()
                    && it.message.contains(case["says"].as_str().unwrap())
            };
            assert!(faults.iter().any(right), "{case}: {faults:?}");
            seen += 1;
        }
    }
    assert!(seen > 100, "{seen}");
}
