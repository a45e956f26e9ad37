//! Schemas of Kubernetes' own types, as far as we take them, in our words: those that come with the types hold
//! pages of what is of no use here, and no bounds. Must not know what a sandbox does with them.

use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::json;

use super::rules::{Obey, amounts, names, sandbox, schedules};
use schemars::transform::Transform as _;

/// The most labels of a node that can be asked for.
const LABELS: u32 = 16;
/// The most kinds of resources that can be asked for.
const RESOURCES: u32 = 8;

/// An amount: a whole number or a text.
pub(super) fn quantity(_: &mut SchemaGenerator) -> Schema {
    let mut schema = json_schema!({"x-kubernetes-int-or-string": true, "maxLength": 32});
    Obey([&amounts::QUANTITY]).transform(&mut schema);
    schema
}

/// Requests and limits, without claims: those would need more in the Pod.
pub(super) fn resources(generator: &mut SchemaGenerator) -> Schema {
    let amounts = |description: &str, generator: &mut SchemaGenerator| {
        json!({
            "type": "object",
            "description": description,
            "maxProperties": RESOURCES,
            "additionalProperties": quantity(generator),
        })
    };
    let requests = amounts(
        "What is set aside on a node, by the name of the resource: `cpu`, `memory`, `ephemeral-storage`. Example: `{cpu: 500m, memory: 1Gi}`. If not said, an amount is as usual: 100m, 512Mi and 64Mi.",
        generator,
    );
    let limits = amounts(
        "What the sandbox can't exceed, by the name of the resource. Example: `{cpu: 4, memory: 8Gi}`. Files below /work and /tmp are memory, too. If not said, an amount is as usual: 2, 2Gi and 1Gi. No limit may be less than its request: the cluster refuses the Pod then.",
        generator,
    );
    json_schema!({
        "type": "object",
        "nullable": true,
        "properties": {"requests": requests, "limits": limits},
    })
}

/// Labels of nodes.
pub(super) fn node_selector(_: &mut SchemaGenerator) -> Schema {
    let mut value = json_schema!({"type": "string", "maxLength": 63});
    Obey([&names::LABEL_VALUE]).transform(&mut value);
    json_schema!({"type": "object", "maxProperties": LABELS, "additionalProperties": value})
}

/// Taints that are tolerated.
pub(super) fn tolerations(_: &mut SchemaGenerator) -> Schema {
    let mut value = json_schema!({
        "type": "string",
        "maxLength": 63,
        "description": "The value of the taint, for the operator `Equal`. Example: `batch`. If not said, it is empty.",
    });
    Obey([&names::LABEL_VALUE]).transform(&mut value);
    let mut toleration = json_schema!({
        "type": "object",
        "description": "A taint that is tolerated.",
        "properties": {
            "key": {
                "type": "string",
                "maxLength": 316,
                "description": "The key of the taint. Example: `dedicated`. If not said, all keys are meant, which needs the operator `Exists`.",
            },
            "operator": {
                "type": "string",
                "enum": ["Equal", "Exists"],
                "description": "`Equal` (the taint has this value; if not said) or `Exists` (whatever its value is).",
            },
            "value": value,
            "effect": {
                "type": "string",
                "enum": ["NoSchedule", "PreferNoSchedule", "NoExecute"],
                "description": "The effect of the taint: `NoSchedule`, `PreferNoSchedule` or `NoExecute`; all of them, if not said.",
            },
            "tolerationSeconds": {
                "type": "integer",
                "format": "int64",
                "minimum": 0,
                "description": "For how many seconds a taint with the effect `NoExecute` is tolerated. Example: `300`. If not said, for ever.",
            },
        },
    });
    Obey([&sandbox::TOLERATION, &sandbox::TOLERATED_FOR]).transform(&mut toleration);
    json_schema!({"type": "array", "maxItems": 32, "items": toleration})
}

/// Labels of an object.
pub(super) fn labels(_: &mut SchemaGenerator) -> Schema {
    let mut value = json_schema!({"type": "string", "maxLength": 63});
    Obey([&names::LABEL_VALUE]).transform(&mut value);
    metadata(&value)
}

/// Annotations of an object.
pub(super) fn annotations(_: &mut SchemaGenerator) -> Schema {
    metadata(&json_schema!({"type": "string", "maxLength": 4096}))
}

fn metadata(value: &Schema) -> Schema {
    let mut schema = json_schema!({"type": "object", "maxProperties": 32, "additionalProperties": value});
    Obey([&schedules::OWN_KEYS]).transform(&mut schema);
    schema
}

/// Bounds how many entries a map has.
#[derive(Debug)]
pub(super) struct AtMost(pub(super) u32);

impl schemars::transform::Transform for AtMost {
    fn transform(&mut self, schema: &mut Schema) {
        schema.insert("maxProperties".to_owned(), json!(self.0));
    }
}
