//! Checks a resource by the schema that the cluster has of it, and says what is wrong in words for people.
//!
//! As the API server does, it takes a null for a field that is not said. Unlike it, it takes no field that
//! the schema doesn't know (`kubectl` doesn't either). Must not know what the fields mean; which rules hold where is
//! in the schema, what they are in `api`.

use std::sync::LazyLock;

use jsonschema::error::{TypeKind, ValidationErrorKind};
use jsonschema::paths::LocationSegment;
use jsonschema::{JsonType, ValidationError, Validator};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::CustomResourceExt as _;
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::locate::Of;
use super::words;
use crate::api::field::{FieldPath, Step};
use crate::api::validate::broken_rules;
use crate::api::{Catalog, ModelProvider, catalog_schedule};

/// Something that is wrong in a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) path: FieldPath,
    /// Whether it is wrong that it is there, or what is there.
    pub(super) of: Of,
    pub(super) message: String,
}

/// How a kind of resource must look.
pub(super) struct Shape {
    schema: Value,
    validator: Validator,
}

pub(super) static CATALOG: LazyLock<Shape> = LazyLock::new(|| of_definition(&Catalog::crd()));
pub(super) static CATALOG_SCHEDULE: LazyLock<Shape> =
    LazyLock::new(|| of_definition(&catalog_schedule::definition()));
pub(super) static MODEL_PROVIDER: LazyLock<Shape> = LazyLock::new(|| of_definition(&ModelProvider::crd()));
pub(super) static SECRET: LazyLock<Shape> = LazyLock::new(of_type::<Secret>);
pub(super) static CONFIG_MAP: LazyLock<Shape> = LazyLock::new(of_type::<ConfigMap>);

fn of_type<T: JsonSchema>() -> Shape {
    let mut generator = SchemaSettings::openapi3()
        .with(|settings| settings.inline_subschemas = true)
        .into_generator();
    let mut schema = generator.root_schema_for::<T>().to_value();
    // What must be in it is told instead.
    schema["required"] = json!([]);
    Shape::new(schema)
}

fn of_definition(
    definition: &k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
) -> Shape {
    let whole = definition.spec.versions.iter().find_map(|version| {
        let schema = serde_json::to_value(version.schema.as_ref()?).ok()?;
        schema.get("openAPIV3Schema").cloned()
    });
    let whole = whole.unwrap_or_default();
    // The rest is the same for all kinds; a status is not the user's.
    let metadata = SECRET.schema["properties"]["metadata"].clone();
    Shape::new(json!({
        "type": "object",
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": metadata,
            "spec": whole["properties"]["spec"],
        },
        "required": ["spec"],
        "x-kubernetes-validations": whole["x-kubernetes-validations"],
    }))
}

impl Shape {
    fn new(mut schema: Value) -> Self {
        name_types(&mut schema);
        #[expect(clippy::expect_used, reason = "tests make all of them")]
        let validator = jsonschema::draft202012::new(&schema).expect("the schemas are part of the program");
        Self { schema, validator }
    }

    /// Takes out what does not count, and says what is wrong with the rest.
    pub(super) fn check(&self, resource: &mut Value) -> Vec<Finding> {
        let mut findings = Vec::new();
        tidy(&self.schema, resource, &FieldPath::root(), &mut findings);
        findings.extend(self.validator.iter_errors(resource).map(|error| finding(&error)));
        let broken = broken_rules(&self.schema, resource).into_iter();
        findings.extend(broken.map(|violation| Finding {
            path: violation.path,
            of: Of::Value,
            message: violation.message,
        }));
        findings
    }
}

/// Says for JSON Schema what Kubernetes says in words of its own.
fn name_types(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            if fields.get("x-kubernetes-int-or-string") == Some(&Value::Bool(true)) {
                fields.insert("type".to_owned(), json!(["integer", "string"]));
            }
            fields.values_mut().for_each(name_types);
        }
        Value::Array(entries) => entries.iter_mut().for_each(name_types),
        _ => {}
    }
}

/// Removes nulls and unknown fields, and makes integers of `2.0`.
fn tidy(schema: &Value, value: &mut Value, path: &FieldPath, findings: &mut Vec<Finding>) {
    match value {
        Value::Object(fields) => {
            let known = schema["properties"].as_object();
            let others = &schema["additionalProperties"];
            // Nothing said of what is in it: anything may be.
            let free = known.is_none() && others.is_null();
            fields.retain(|name, inner| {
                let path = path.key(name);
                let inner_schema = known.and_then(|known| known.get(name));
                match inner_schema.or_else(|| others.is_object().then_some(others)) {
                    Some(_) if inner.is_null() => false,
                    Some(schema) => {
                        tidy(schema, inner, &path, findings);
                        true
                    }
                    None if free => true,
                    None => {
                        findings.push(Finding {
                            path,
                            of: Of::Key,
                            message: unknown(name, known),
                        });
                        false
                    }
                }
            });
        }
        Value::Array(entries) => {
            for (at, entry) in entries.iter_mut().enumerate() {
                tidy(&schema["items"], entry, &path.index(at), findings);
            }
        }
        Value::Number(number) if schema["type"] == "integer" => {
            if let Some(integer) = number.as_f64().and_then(integer) {
                *value = integer.into();
            }
        }
        _ => {}
    }
}

/// The integer that a float is, where there is no doubt.
fn integer(float: f64) -> Option<i64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "it has no fraction and is in range"
    )]
    (float.fract() == 0.0 && float.abs() < EXACT).then_some(float as i64)
}

fn unknown(name: &str, known: Option<&Map<String, Value>>) -> String {
    let known: Vec<&str> = known
        .into_iter()
        .flatten()
        .map(|(name, _)| name.as_str())
        .collect();
    if let Some(near) = words::nearest(name, &known) {
        return format!("there is no such field; did you mean {near}?");
    }
    if known.is_empty() {
        return "there is no such field, nor any other".to_owned();
    }
    if known.len() > 12 {
        return "there is no such field".to_owned();
    }
    format!("there is no such field; there are {}", words::list(&known))
}

fn finding(error: &ValidationError<'_>) -> Finding {
    let mut path = FieldPath::root();
    for segment in error.instance_path() {
        path = path.then(match segment {
            LocationSegment::Property(name) => Step::Key(name.into_owned()),
            LocationSegment::Index(index) => Step::Index(index),
        });
    }
    let mut of = Of::Value;
    if let ValidationErrorKind::Required { property } = error.kind() {
        path = path.key(property.as_str().unwrap_or_default());
        of = Of::Key;
    }
    Finding {
        message: message(error),
        path,
        of,
    }
}

fn message(error: &ValidationError<'_>) -> String {
    let instance = error.instance();
    match error.kind() {
        ValidationErrorKind::Required { .. } => "is missing".to_owned(),
        ValidationErrorKind::Type { kind } => {
            let wanted = match kind {
                TypeKind::Single(wanted) => vec![*wanted],
                TypeKind::Multiple(wanted) => wanted.iter().collect(),
            };
            let text = wanted == [JsonType::String];
            let wanted: Vec<&str> = wanted.into_iter().map(kind_of_type).collect();
            let quotes = match instance.as_ref() {
                Value::Number(_) | Value::Bool(_) if text => ": put it in quotes",
                _ => "",
            };
            format!(
                "must be {}, but is {}{quotes}",
                wanted.join(" or "),
                words::kind(instance)
            )
        }
        ValidationErrorKind::Enum { options } => {
            let options: Vec<&str> = options
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .collect();
            let said = instance.as_str().unwrap_or_default();
            match words::nearest(said, &options) {
                Some(near) => format!("there is no {}; did you mean {near}?", words::quote(said)),
                None => format!("must be one of {}", words::list(&options)),
            }
        }
        ValidationErrorKind::Minimum { limit } => format!("must be at least {}", number(limit)),
        ValidationErrorKind::Maximum { limit } => format!("must be at most {}", number(limit)),
        ValidationErrorKind::MinLength { limit: 1 } | ValidationErrorKind::MinItems { limit: 1 } => {
            "must not be empty".to_owned()
        }
        ValidationErrorKind::MinLength { limit } => format!("must have at least {limit} characters"),
        ValidationErrorKind::MaxLength { limit } => format!("must have at most {limit} characters"),
        ValidationErrorKind::MinItems { limit } => format!("must have at least {limit} entries"),
        ValidationErrorKind::MaxItems { limit } => format!("must have at most {limit} entries"),
        // None of our schemas says more. Values are not shown: they may be secrets.
        _ => error.masked().to_string(),
    }
}

fn kind_of_type(wanted: JsonType) -> &'static str {
    match wanted {
        JsonType::Null => "nothing",
        JsonType::Boolean => "true or false",
        JsonType::Integer => "a whole number",
        JsonType::Number => "a number",
        JsonType::String => "text",
        JsonType::Array => "a list",
        JsonType::Object => "a mapping",
    }
}

/// Limits are kept as floats.
fn number(limit: &Value) -> String {
    limit
        .as_f64()
        .and_then(integer)
        .map_or_else(|| limit.to_string(), |integer| integer.to_string())
}
