//! What resources are called. Must not know what is called so.

use kube::ResourceExt;
use serde_json::Value;

use super::locate::Of;
use super::schema::Finding;
use super::words;
use crate::api::field::FieldPath;

/// `namespace/name`, or `name`, of a resource.
pub(super) fn full_name<K: ResourceExt>(resource: &K) -> String {
    in_namespace(resource.namespace().as_deref(), &resource.name_any())
}

/// `namespace/name`, or `name`.
pub(super) fn in_namespace(namespace: Option<&str>, name: &str) -> String {
    namespace.map_or_else(|| name.to_owned(), |namespace| format!("{namespace}/{name}"))
}

/// The names that every resource must have, and what may be in them.
pub(super) fn check(resource: &Value) -> Vec<Finding> {
    let metadata = FieldPath::of(["metadata"]);
    let mut findings = Vec::new();
    let mut look = |field: &str, required: bool, dots: bool, most: usize| {
        let path = metadata.key(field);
        let (of, message) = match &resource["metadata"][field] {
            Value::Null if required => (Of::Key, "is missing".to_owned()),
            Value::String(name) if !is_name(name, dots, most) => {
                let dot = if dots { ", '-' and '.'" } else { " and '-'" };
                let message = format!(
                    "{} is no name: write small letters, digits{dot}, with a letter or a digit at both ends, at most {most} in all",
                    words::quote(name)
                );
                (Of::Value, message)
            }
            _ => return,
        };
        findings.push(Finding { path, of, message });
    };
    look("name", true, true, 253);
    look("namespace", false, false, 63);
    findings
}

fn is_name(name: &str, dots: bool, most: usize) -> bool {
    let label = |label: &str| {
        let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        !label.is_empty() && label.bytes().all(inner) && !label.starts_with('-') && !label.ends_with('-')
    };
    name.len() <= most
        && if dots {
            name.split('.').all(label)
        } else {
            label(name)
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_kubernetes() {
        for (name, dots, right) in [
            ("a", true, true),
            ("a.b-c.0", true, true),
            ("a.b", false, false),
            ("a..b", true, false),
            ("-a", false, false),
            ("a-", false, false),
            ("A", true, false),
            ("a_b", true, false),
            ("é", true, false),
            ("", true, false),
        ] {
            assert_eq!(is_name(name, dots, 63), right, "{name}");
        }
        assert!(is_name(&"a".repeat(63), false, 63) && !is_name(&"a".repeat(64), false, 63));
        assert_eq!(in_namespace(None, "a"), "a");
        assert_eq!(in_namespace(Some("n"), "a"), "n/a");
    }
}
