//! The reference of the API, in Markdown, out of the definitions alone: what `kubectl explain` says, on one page.
//!
//! Must not know a kind.

use std::fmt::Write as _;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, CustomResourceDefinitionVersion,
};
use serde_json::Value;

use crate::api::{CATEGORY, GROUP, REQUESTED_AT, VERSION};

/// How to make the page anew.
pub(super) const COMMAND: &str = "cargo run -- crds --reference docs/api.md";

/// The page.
pub(super) fn render(definitions: &[CustomResourceDefinition]) -> String {
    let links: Vec<String> = definitions
        .iter()
        .map(|it| &it.spec.names.kind)
        .map(|kind| format!("[{kind}](#{})", kind.to_lowercase()))
        .collect();
    let mut page = format!(
        "<!-- Generated from operator/src/api. To make it anew: {COMMAND} -->

# The API, `{GROUP}/{VERSION}`

{}. Each field, as `kubectl explain` has it, and what is refused. `kubectl get {CATEGORY}` shows all of all kinds.

A run is due for each new state of what can change its result, which the fields say, and for each new value of an annotation:

```sh
kubectl annotate catalog sales --overwrite {REQUESTED_AT}=\"$(date -u +%FT%TZ)\"
```

What is not said has the default; where there is none, the text says what is then. Fields that the API does not know are refused by `kubectl`, and left out where a client does not ask for that. A definition as this one wants Kubernetes 1.31 or later.
",
        match links.split_last() {
            Some((last, most)) => format!("{} and {last}", most.join(", ")),
            None => String::new(),
        }
    );
    for definition in definitions {
        kind(&mut page, definition);
    }
    page
}

fn kind(page: &mut String, definition: &CustomResourceDefinition) {
    let names = &definition.spec.names;
    let Some(version) = definition.spec.versions.first() else {
        return;
    };
    let schema = serde_json::to_value(&version.schema).unwrap_or_default();
    let schema = &schema["openAPIV3Schema"];
    let short: Vec<String> = names
        .short_names
        .iter()
        .flatten()
        .map(|it| format!("`{it}`"))
        .collect();
    _ = write!(
        page,
        "\n## {}\n\n{} Plural `{}`, short {}.\n",
        names.kind,
        text(schema),
        names.plural,
        short.join(", ")
    );
    for part in ["spec", "status"] {
        object(
            page,
            &schema["properties"][part],
            &format!("{}.{part}", names.kind),
        );
    }
    columns(page, version);
}

/// A table of the members of an object, and one for each object in it.
fn object(page: &mut String, schema: &Value, path: &str) {
    let Some(properties) = schema["properties"].as_object() else {
        return;
    };
    _ = write!(page, "\n### {path}\n\n");
    let about = text(schema);
    if !about.is_empty() {
        _ = write!(page, "{about}\n\n");
    }
    if properties.is_empty() {
        page.push_str("No fields.\n");
        return;
    }
    page.push_str("| field | type | default | |\n| --- | --- | --- | --- |\n");
    let required = schema["required"].as_array();
    for (name, property) in properties {
        let needed = required.into_iter().flatten().any(|it| it == name);
        let usual = match &property["default"] {
            Value::Null if needed => "**required**".to_owned(),
            // Its members have their own.
            Value::Null | Value::Object(_) => String::new(),
            usual => format!("`{}`", plain(usual)),
        };
        let kind = kind_of(property, &format!("{path}.{name}"));
        let about = text(property);
        // An object has all of it in its own section.
        let about = match about.split_once(". ") {
            Some((first, _)) if property["properties"].is_object() => format!("{first}."),
            _ => about,
        };
        let about = about.replace('|', "\\|");
        _ = writeln!(page, "| `{name}` | {kind} | {usual} | {about} |");
    }
    let mut rules = Vec::new();
    rules_of(schema, "", &mut rules);
    for (name, property) in properties {
        rules_of(property, name, &mut rules);
        for inner in ["items", "additionalProperties"] {
            if property[inner]["properties"].is_null() {
                rules_of(&property[inner], name, &mut rules);
            }
        }
    }
    if !rules.is_empty() {
        page.push_str("\nWhat is refused, and what is said then:\n\n");
        for (name, message) in rules {
            let of = if name.is_empty() {
                String::new()
            } else {
                format!("`{name}`: ")
            };
            _ = writeln!(page, "- {of}{message}");
        }
    }
    for (name, property) in properties {
        let path = format!("{path}.{name}");
        object(page, property, &path);
        object(page, &property["items"], &format!("{path}[]"));
        object(page, &property["additionalProperties"], &format!("{path}.*"));
    }
}

/// The rules of a schema itself, with the member that each is about.
fn rules_of(schema: &Value, name: &str, rules: &mut Vec<(String, String)>) {
    for rule in schema["x-kubernetes-validations"]
        .as_array()
        .into_iter()
        .flatten()
    {
        let field = rule["fieldPath"].as_str().unwrap_or_default();
        let place = format!("{name}{field}").trim_start_matches('.').to_owned();
        // An object tells of its own rules in its own section.
        if !name.is_empty() && !schema["properties"].is_null() {
            continue;
        }
        if let Some(message) = rule["message"].as_str() {
            rules.push((place, message.to_owned()));
        }
    }
}

fn columns(page: &mut String, version: &CustomResourceDefinitionVersion) {
    page.push_str("\nThe columns of `kubectl get`, and of `kubectl get --output wide`:\n\n| column | field | |\n| --- | --- | --- |\n");
    for column in version.additional_printer_columns.iter().flatten() {
        let wide = if column.priority.unwrap_or_default() > 0 {
            "wide"
        } else {
            ""
        };
        _ = writeln!(page, "| {} | `{}` | {wide} |", column.name, column.json_path);
    }
    let fields: Vec<String> = version
        .selectable_fields
        .iter()
        .flatten()
        .map(|field| format!("`{}`", field.json_path.trim_start_matches('.')))
        .collect();
    if !fields.is_empty() {
        _ = write!(
            page,
            "\nFields for `kubectl get --field-selector`: {}.\n",
            fields.join(", ")
        );
    }
}

/// What is there, with a link to its members, and between which bounds.
fn kind_of(schema: &Value, path: &str) -> String {
    let link = |text: &str, path: &str| {
        let anchor: String = path
            .to_lowercase()
            .chars()
            .filter(|it| it.is_alphanumeric() || matches!(it, '-' | '_'))
            .collect();
        format!("[{text}](#{anchor})")
    };
    let of = |schema: &Value, path: &str| {
        if schema["properties"].is_object() {
            link("object", path)
        } else if schema["x-kubernetes-int-or-string"] == true {
            "amount".to_owned()
        } else {
            schema["type"].as_str().unwrap_or("any").to_owned()
        }
    };
    let name = if schema["items"].is_object() {
        format!("list of {}", of(&schema["items"], &format!("{path}[]")))
    } else if schema["additionalProperties"].is_object() {
        format!(
            "map to {}",
            of(&schema["additionalProperties"], &format!("{path}.*"))
        )
    } else {
        of(schema, path)
    };
    let bounds = bounds(schema);
    if bounds.is_empty() {
        name
    } else {
        format!("{name}, {}", bounds.join(", "))
    }
}

fn bounds(schema: &Value) -> Vec<String> {
    let mut bounds = Vec::new();
    for (least, most, what) in [
        ("minimum", "maximum", ""),
        ("minLength", "maxLength", " characters"),
        ("minItems", "maxItems", " entries"),
        ("minProperties", "maxProperties", " entries"),
    ] {
        let [least, most] = [least, most].map(|it| schema[it].as_f64());
        match (least, most) {
            (Some(least), Some(most)) => bounds.push(format!("{least} to {most}{what}")),
            // What a type can't hold anyway is no bound.
            (Some(least), None) if least > 0.0 => bounds.push(format!("at least {least}{what}")),
            (None, Some(most)) => bounds.push(format!("at most {most}{what}")),
            _ => {}
        }
    }
    match schema["x-kubernetes-list-type"].as_str() {
        Some("set") => bounds.push("none twice".to_owned()),
        Some("map") => {
            let keys = schema["x-kubernetes-list-map-keys"].as_array();
            let keys: Vec<String> = keys
                .into_iter()
                .flatten()
                .map(|it| format!("`{}`", plain(it)))
                .collect();
            bounds.push(format!("no {} twice", keys.join(" with ")));
        }
        _ => {}
    }
    bounds
}

/// A value as one writes it.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn text(schema: &Value) -> String {
    let text = schema["description"].as_str().unwrap_or_default();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::api;

    #[test]
    fn the_committed_reference_is_that_of_the_types() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/api.md");
        let committed = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            committed == render(&api::definitions()),
            "{path} is not what the types say: {COMMAND}"
        );
    }

    #[test]
    fn every_link_leads_somewhere() {
        let page = render(&api::definitions());
        let anchors: BTreeSet<String> = page
            .lines()
            .filter_map(|line| line.strip_prefix("## ").or_else(|| line.strip_prefix("### ")))
            .map(|title| {
                title
                    .to_lowercase()
                    .chars()
                    .filter(|it| it.is_alphanumeric())
                    .collect()
            })
            .collect();
        let links = page
            .split("](#")
            .skip(1)
            .map(|rest| rest.split(')').next().unwrap());
        let mut seen = 0;
        for link in links {
            assert!(anchors.contains(link), "{link}");
            seen += 1;
        }
        assert!(seen > 20, "{seen}");
    }
}
