//! That every rule of a schema is known here, is provoked where it holds, and keeps out what others could not take.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::field::Step;
use super::super::rules::places;
use super::super::{
    CATALOG_SCHEDULE_SHORT, CATALOG_SHORT, CATEGORY, MODEL_PROVIDER_SHORT, REQUESTED_AT, SCHEDULE,
    SCHEDULED_AT, definitions,
};
use super::*;
use crate::store::{Location, Prefix};

/// What the corpus says of a kind.
struct Kind {
    schema: Value,
    corpus: Value,
}

impl Kind {
    fn all() -> Vec<Self> {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/corpus/refusals.yaml");
        let text = std::fs::read_to_string(path).unwrap();
        let corpus: Value = serde_yaml::from_str(&text).unwrap();
        definitions()
            .iter()
            .map(|definition| {
                let whole = serde_json::to_value(&definition.spec.versions[0].schema).unwrap();
                let rules = whole["openAPIV3Schema"]["x-kubernetes-validations"].clone();
                Self {
                    schema: json!({
                        "properties": {"spec": spec_schema(definition)},
                        "x-kubernetes-validations": rules,
                    }),
                    corpus: with_template(&corpus, &definition.spec.names.kind),
                }
            })
            .collect()
    }

    fn cases(&self, list: &str) -> Vec<Value> {
        self.corpus[list].as_array().unwrap().clone()
    }

    fn resource(&self, change: &Value) -> Value {
        let mut resource = self.corpus["base"].clone();
        json_patch::merge(&mut resource, change);
        resource
    }
}

/// What holds for a Catalog holds for one in a template.
fn with_template(corpus: &Value, kind: &str) -> Value {
    let mut own = corpus[kind].clone();
    if own["template"].is_null() {
        return own;
    }
    for list in ["taken", "refused"] {
        for case in corpus["Catalog"][list].as_array().unwrap() {
            let mut case = case.clone();
            let change = if list == "taken" {
                &mut case
            } else {
                let at = case["at"]
                    .as_str()
                    .unwrap()
                    .replacen("spec", "spec.catalogTemplate.spec", 1);
                case["at"] = json!(at);
                &mut case["change"]
            };
            let spec = change["spec"].take();
            change["spec"] = json!({"catalogTemplate": {"spec": spec}});
            own[list].as_array_mut().unwrap().push(case);
        }
    }
    own
}

/// Where something holds, whatever the index or the name of the entry.
fn place(mut schema: &Value, path: &FieldPath) -> String {
    let mut place = String::new();
    for step in path.steps() {
        match step {
            Step::Index(_) => {
                place += "[]";
                schema = &schema["items"];
            }
            Step::Key(name) if schema["properties"][name].is_object() => {
                place += if place.is_empty() { "" } else { "." };
                place += name;
                schema = &schema["properties"][name];
            }
            Step::Key(_) => {
                place += ".*";
                schema = &schema["additionalProperties"];
            }
        }
    }
    place
}

/// Each rule, and each list without doubles, with its place.
fn said(schema: &Value, path: &str, found: &mut BTreeSet<(String, String)>) {
    for rule in schema["x-kubernetes-validations"]
        .as_array()
        .into_iter()
        .flatten()
    {
        let field = rule["fieldPath"].as_str().unwrap_or_default();
        found.insert((
            format!("{path}{field}"),
            rule["message"].as_str().unwrap().to_owned(),
        ));
    }
    if matches!(schema["x-kubernetes-list-type"].as_str(), Some("set" | "map")) {
        found.insert((format!("{path}[]"), "is there already".to_owned()));
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let path = if path.is_empty() {
            name.clone()
        } else {
            format!("{path}.{name}")
        };
        said(property, &path, found);
    }
    if schema["items"].is_object() {
        said(&schema["items"], &format!("{path}[]"), found);
    }
    if schema["additionalProperties"].is_object() {
        said(&schema["additionalProperties"], &format!("{path}.*"), found);
    }
}

#[test]
fn the_schemas_say_all_the_rules_and_no_others() {
    let mut known = BTreeSet::new();
    for rule in rules::ALL.iter().copied().flatten() {
        known.insert(rule.message.to_owned());
    }
    let mut all = BTreeSet::new();
    for kind in Kind::all() {
        let mut found = BTreeSet::new();
        said(&kind.schema, "", &mut found);
        all.extend(found.into_iter().map(|(_, message)| message));
    }
    all.remove("is there already");
    assert_eq!(all, known);
}

#[test]
fn every_rule_is_provoked_where_it_holds() {
    for kind in Kind::all() {
        let mut wanted = BTreeSet::new();
        said(&kind.schema, "", &mut wanted);
        for case in kind.cases("refused") {
            let resource = kind.resource(&case["change"]);
            let mut violations = broken_rules(&kind.schema, &resource);
            if case["was"].is_object() {
                let [old, new] = [kind.resource(&case["was"]), resource].map(|mut resource| {
                    let spec = resource["spec"].take();
                    serde_json::from_value::<ModelProviderSpec>(spec).unwrap()
                });
                assert_eq!(violations, [], "{case}");
                violations = validate_provider_change(&old, &new);
                assert_eq!(validate_provider_change(&new, &new), []);
            }
            for violation in &violations {
                let mut message = violation.message.clone();
                if message.ends_with("is there already") {
                    message = "is there already".to_owned();
                }
                wanted.remove(&(place(&kind.schema, &violation.path), message));
            }
            // What only a schema says has other words at a server.
            if case["server"].is_null() || case["says"] == "is there already" {
                let right = |it: &Violation| {
                    it.path.to_string() == case["at"].as_str().unwrap()
                        && it.message.contains(case["says"].as_str().unwrap())
                };
                assert!(violations.iter().any(right), "{case}: {violations:?}");
            }
        }
        assert_eq!(
            wanted,
            BTreeSet::new(),
            "nothing in tests/corpus/refusals.yaml provokes these"
        );
    }
}

#[test]
fn what_is_right_is_taken() {
    for kind in Kind::all() {
        for case in kind.cases("taken") {
            let resource = kind.resource(&json!({"spec": case["spec"]}));
            assert_eq!(broken_rules(&kind.schema, &resource), [], "{case}");
        }
    }
}

#[test]
fn typed_specs_are_judged_with_their_defaults() {
    let spec = |limits: Value| -> CatalogSpec {
        serde_json::from_value(json!({
            "database": {"secretRef": {"name": "db"}},
            "tables": ["orders"],
            "storage": {"s3": {"prefix": "docs"}},
            "limits": limits,
        }))
        .unwrap()
    };
    assert_eq!(validate(&spec(json!({}))), []);
    let violations = validate(&spec(json!({"timeout": "30s"})));
    assert_eq!(violations.len(), 1);
    assert_eq!(violations[0].path.to_string(), "spec.limits.executeTimeout");
    let provider = |spec| serde_json::from_value::<ModelProviderSpec>(spec).unwrap();
    let openai = provider(json!({"openai": {"baseURL": "https://h"}}));
    let builtin = provider(json!({"builtin": {}}));
    assert_eq!(validate_provider(&openai), []);
    assert_eq!(validate_provider(&provider(json!({}))).len(), 1);
    assert_eq!(validate_provider_change(&openai, &builtin).len(), 1);
    assert_eq!(validate_provider_change(&openai, &openai), []);
}

/// What `kubectl explain` has nothing to say of, or not enough.
fn unexplained(schema: &Value, path: &str, optional: bool, ours: bool, found: &mut Vec<String>) {
    let text = schema["description"]
        .as_str()
        .unwrap_or_default()
        .replace('\n', " ");
    if text.is_empty() {
        found.push(format!("{path} has no description"));
    }
    for value in schema["enum"].as_array().into_iter().flatten() {
        // What has ended is one of two.
        let said = text.contains(&format!("`{}`", value.as_str().unwrap()));
        if !said && !path.ends_with("history[].phase") {
            found.push(format!("{path} does not say what {value} means"));
        }
    }
    let plain = schema["properties"].is_null()
        && schema["type"] != "boolean"
        && (schema["type"] != "object" || schema["additionalProperties"].is_object());
    let usual = optional && schema["default"].is_null();
    if ours && plain && usual && !text.contains("f not said") {
        found.push(format!("{path} does not say what is if it is not said"));
    }
    if ours && plain && schema["enum"].is_null() && !text.contains("xample: ") {
        found.push(format!("{path} has no example"));
    }
    let required = &schema["required"];
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let needed = required.as_array().into_iter().flatten().any(|it| it == name);
        unexplained(property, &format!("{path}.{name}"), !needed, ours, found);
    }
    for inner in ["items", "additionalProperties"] {
        for (name, property) in schema[inner]["properties"].as_object().into_iter().flatten() {
            let required = &schema[inner]["required"];
            let needed = required.as_array().into_iter().flatten().any(|it| it == name);
            unexplained(property, &format!("{path}[].{name}"), !needed, ours, found);
        }
    }
}

#[test]
fn every_field_is_explained() {
    let mut found = Vec::new();
    for definition in definitions() {
        let kind = &definition.spec.names.kind;
        let schema = serde_json::to_value(&definition.spec.versions[0].schema).unwrap();
        let schema = &schema["openAPIV3Schema"];
        assert!(
            schema["description"]
                .as_str()
                .unwrap()
                .starts_with(&format!("A {kind} "))
        );
        let properties = &schema["properties"];
        unexplained(
            &properties["spec"],
            &format!("{kind}.spec"),
            false,
            true,
            &mut found,
        );
        let status = format!("{kind}.status");
        unexplained(&properties["status"], &status, false, false, &mut found);
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn names_of_the_api_are_those_of_the_definitions() {
    let shorts = [CATALOG_SHORT, CATALOG_SCHEDULE_SHORT, MODEL_PROVIDER_SHORT];
    for (definition, short) in definitions().iter().zip(shorts) {
        let names = &definition.spec.names;
        assert_eq!(names.short_names.as_deref(), Some(&[short.to_owned()][..]));
        assert_eq!(names.categories.as_deref(), Some(&[CATEGORY.to_owned()][..]));
        let version = &definition.spec.versions[0];
        assert!(version.selectable_fields.as_ref().unwrap().len() <= 8);
        for key in [REQUESTED_AT, SCHEDULE, SCHEDULED_AT] {
            assert!(key.starts_with(&format!("{}/", definition.spec.group)));
        }
    }
}

proptest! {
    #[test]
    fn prefixes_that_are_taken_are_prefixes(
        text in "([a-cA-Z.]|/|//|\\.\\.|\\.journal| |\u{a0}|\u{85}|\t|ü|20261121T120000Z|\\PC){0,8}",
    ) {
        if places::is_prefix(&text) && !text.is_empty() {
            prop_assert!(text.parse::<Prefix>().is_ok(), "{text:?}");
        }
    }

    #[test]
    fn buckets_that_are_taken_are_buckets(text in "[-A-Za-z0-9._:@/ ]{3,10}") {
        if holds(&places::BUCKET, &text) {
            prop_assert!(format!("s3://{text}/p").parse::<Location>().is_ok(), "{text:?}");
        }
    }

    #[test]
    fn networks_that_are_taken_are_networks(
        text in "([0-9]{1,3}\\.){3}[0-9]{1,3}/[0-9]{1,2}|[0-9a-f:]{1,20}(/[0-9]{1,3})?",
    ) {
        prop_assert!(!holds(&places::CIDR, &text) || text.parse::<ipnet::IpNet>().is_ok(), "{text:?}");
    }

    #[test]
    fn servers_that_are_taken_have_no_user(
        text in "https?://[a-z0-9.@:/?#\\\\\\[\\] -]{1,20}",
    ) {
        if holds(&places::ENDPOINT, &text)
            && let Ok(url) = reqwest::Url::parse(&text)
        {
            prop_assert!(url.username().is_empty() && url.password().is_none(), "{text:?}");
            prop_assert!(url.query().is_none() && url.fragment().is_none(), "{text:?}");
        }
    }
}

fn holds(rule: &Rule, text: &str) -> bool {
    matches!(rule.holds, Holds::Of(holds) if holds(&json!(text)))
}
