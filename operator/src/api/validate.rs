//! What a schema can't say: the rules that the API server checks by CEL and by the type of a list, once more
//! as plain functions, for whoever reads a resource without an API server and for the operator's own check.
//!
//! The messages are those of the rules, word for word; a test sees to it. Must not know a client or a file.

use std::collections::BTreeSet;

use super::field::FieldPath;
use super::{CatalogSpec, ModelProviderSpec};

/// What is said of a prefix.
pub(super) const PREFIX: &str =
    "prefix must not begin or end with a slash, nor have empty parts, '.' or '..' between slashes";
/// What is said of a volume.
pub(super) const VOLUME: &str = "say exactly one of persistentVolumeClaim and emptyDir";
/// What is said of a provider.
pub(super) const PROVIDER: &str = "say exactly one of anthropic, openai and builtin";

/// A rule that is broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// By what.
    pub path: FieldPath,
    /// What the rule says.
    pub message: String,
}

impl Violation {
    fn new(path: FieldPath, message: &str) -> Self {
        Self {
            path,
            message: message.to_owned(),
        }
    }
}

/// Which rules a Catalog breaks.
pub fn validate(spec: &CatalogSpec) -> Vec<Violation> {
    let root = FieldPath::of(["spec"]);
    let mut violations = Vec::new();
    let mut seen = BTreeSet::new();
    for (at, table) in spec.tables.iter().enumerate() {
        if !seen.insert(table) {
            violations.push(Violation {
                path: root.key("tables").index(at),
                message: format!("{table:?} is there already"),
            });
        }
    }
    // As the rule has it: an empty part is also before the first and after the last slash.
    if spec
        .storage
        .s3
        .prefix
        .split('/')
        .any(|part| matches!(part, "" | "." | ".."))
    {
        let path = root.key("storage").key("s3").key("prefix");
        violations.push(Violation::new(path, PREFIX));
    }
    let volumes = spec.sandbox.iter().flat_map(|sandbox| &sandbox.volumes);
    for (at, volume) in volumes.enumerate() {
        if volume.persistent_volume_claim.is_some() == volume.empty_dir.is_some() {
            let path = root.key("sandbox").key("volumes").index(at);
            violations.push(Violation::new(path, VOLUME));
        }
    }
    violations
}

/// Which rules a `ModelProvider` breaks.
pub fn validate_provider(spec: &ModelProviderSpec) -> Vec<Violation> {
    let said = [
        spec.anthropic.is_some(),
        spec.openai.is_some(),
        spec.builtin.is_some(),
    ];
    if said.into_iter().filter(|said| *said).count() == 1 {
        return Vec::new();
    }
    vec![Violation::new(FieldPath::of(["spec"]), PROVIDER)]
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::{Catalog, ModelProvider, definitions, duration};
    use super::*;

    fn catalog(change: impl Fn(&mut Value)) -> Catalog {
        let mut value = json!({
            "apiVersion": "cataloger.dev/v1alpha1", "kind": "Catalog", "metadata": {"name": "sales"},
            "spec": {
                "database": {"secretRef": {"name": "db"}},
                "tables": ["orders", "sales.*"],
                "storage": {"s3": {"prefix": "docs/sales"}},
            },
        });
        change(&mut value["spec"]);
        serde_json::from_value(value).unwrap()
    }

    fn said(violations: &[Violation]) -> Vec<String> {
        violations
            .iter()
            .map(|violation| format!("{}: {}", violation.path, violation.message))
            .collect()
    }

    #[test]
    fn what_is_right_is_taken() {
        assert_eq!(validate(&catalog(|_| ()).spec), []);
        let both = catalog(|spec| {
            spec["sandbox"] = json!({"volumes": [
                {"name": "a", "emptyDir": {"sizeLimit": "1Gi"}},
                {"name": "b", "persistentVolumeClaim": {"claimName": "c"}},
            ]});
        });
        assert_eq!(validate(&both.spec), []);
    }

    #[test]
    fn doubled_tables_are_found() {
        let twice = catalog(|spec| spec["tables"] = json!(["a", "b", "a", "b", "A"]));
        assert_eq!(
            said(&validate(&twice.spec)),
            [
                "spec.tables[2]: \"a\" is there already",
                "spec.tables[3]: \"b\" is there already"
            ]
        );
    }

    #[test]
    fn prefixes_are_names_between_slashes() {
        for (prefix, right) in [
            ("a", true),
            ("a/b.c/..d", true),
            ("a b", true),
            ("/a", false),
            ("a/", false),
            ("a//b", false),
            (".", false),
            ("a/./b", false),
            ("a/..", false),
        ] {
            let catalog = catalog(|spec| spec["storage"]["s3"]["prefix"] = json!(prefix));
            assert_eq!(validate(&catalog.spec).is_empty(), right, "{prefix}");
        }
    }

    #[test]
    fn volumes_are_one_thing() {
        let volumes = catalog(|spec| {
            let empty = json!({"sizeLimit": "1Gi"});
            spec["sandbox"] = json!({"volumes": [
                {"name": "a"},
                {"name": "b", "emptyDir": empty, "persistentVolumeClaim": {"claimName": "c"}},
            ]});
        });
        assert_eq!(
            said(&validate(&volumes.spec)),
            [0, 1].map(|at| format!("spec.sandbox.volumes[{at}]: {VOLUME}"))
        );
    }

    #[test]
    fn providers_are_one_thing() {
        for (spec, right) in [
            (json!({}), false),
            (json!({"builtin": {}}), true),
            (json!({"openai": {}}), true),
            (json!({"openai": {}, "builtin": {}}), false),
        ] {
            let provider: ModelProvider = serde_json::from_value(json!({
                "apiVersion": "cataloger.dev/v1alpha1", "kind": "ModelProvider",
                "metadata": {"name": "x"}, "spec": spec,
            }))
            .unwrap();
            assert_eq!(validate_provider(&provider.spec).is_empty(), right, "{spec}");
        }
    }

    /// All rules of a schema, by their messages, and the lists that are sets.
    fn rules(schema: &Value, at: &str, found: &mut BTreeSet<String>) {
        if schema["x-kubernetes-list-type"] == "set" {
            found.insert(format!("set {at}"));
        }
        for rule in schema["x-kubernetes-validations"]
            .as_array()
            .into_iter()
            .flatten()
        {
            found.insert(rule["message"].as_str().unwrap().to_owned());
        }
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            rules(property, &format!("{at}.{name}"), found);
        }
        for inner in ["items", "additionalProperties"] {
            if schema[inner].is_object() {
                rules(&schema[inner], at, found);
            }
        }
    }

    #[test]
    fn these_are_all_the_rules_that_there_are() {
        let mut found = BTreeSet::new();
        for definition in definitions() {
            let schema = serde_json::to_value(&definition.spec.versions[0].schema).unwrap();
            rules(&schema["openAPIV3Schema"], "", &mut found);
        }
        // Durations check themselves where they are read.
        let known = [PREFIX, VOLUME, PROVIDER, duration::RULE, "set .spec.tables"];
        assert_eq!(found, known.map(str::to_owned).into());
    }
}
