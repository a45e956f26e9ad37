//! A Secret: texts that nobody may see. Must not know what they open.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{GeneralPurpose, GeneralPurposeConfig};
use secrecy::SecretString;
use serde_json::Value;

use super::locate::Of;
use super::names::in_namespace;
use super::schema::Finding;
use crate::api::field::FieldPath;

/// As lenient as the API server, which never looks at the last bits.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
);

/// What a key holds.
#[derive(Clone)]
pub(super) enum Content {
    Text(SecretString),
    /// Bytes that are no text. They are of no use here.
    Bytes,
}

/// A Secret out of a file.
#[derive(Clone)]
pub(super) struct Secret {
    /// Its name.
    pub(super) name: String,
    /// Its namespace, if it is said.
    pub(super) namespace: Option<String>,
    values: BTreeMap<String, Content>,
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Secret({} with {:?})", self.name, self.keys())
    }
}

impl Secret {
    /// Reads what has the shape of a Secret.
    pub(super) fn read(value: &Value, findings: &mut Vec<Finding>) -> Self {
        let text = |pointer| value.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        let mut values = BTreeMap::new();
        let mut wrong = |field: &str, key: &str, of: Of, message: &str| {
            findings.push(Finding {
                path: FieldPath::of([field, key]),
                of,
                message: message.to_owned(),
            });
        };
        for field in ["data", "stringData"] {
            for (key, value) in value[field].as_object().into_iter().flatten() {
                let Some(value) = value.as_str() else {
                    continue;
                };
                if !is_key(key) {
                    let message =
                        "is no key of a Secret: write letters, digits, '-', '_' and '.', at most 253 in all";
                    wrong(field, key, Of::Key, message);
                }
                if field == "stringData" {
                    values.insert(key.clone(), Content::Text(value.into()));
                    continue;
                }
                let packed = value.replace(['\r', '\n'], "");
                match BASE64.decode(packed) {
                    Ok(bytes) => {
                        let text = String::from_utf8(bytes).map(SecretString::from);
                        values.insert(key.clone(), text.map_or(Content::Bytes, Content::Text));
                    }
                    Err(_) => wrong(
                        field,
                        key,
                        Of::Value,
                        "is not base64: write plain text under stringData instead of data",
                    ),
                }
            }
        }
        Self {
            name: text("/metadata/name").unwrap_or_default(),
            namespace: text("/metadata/namespace"),
            values,
        }
    }

    /// What a key holds, if it is there.
    pub(super) fn get(&self, key: &str) -> Option<&Content> {
        self.values.get(key)
    }

    /// `namespace/name`, or `name`.
    pub(super) fn full_name(&self) -> String {
        in_namespace(self.namespace.as_deref(), &self.name)
    }

    /// Its keys.
    pub(super) fn keys(&self) -> Vec<&str> {
        self.values.keys().map(String::as_str).collect()
    }
}

fn is_key(key: &str) -> bool {
    let takes = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (1..=253).contains(&key.len()) && key.bytes().all(takes)
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;
    use serde_json::json;

    use super::*;

    #[test]
    fn both_ways_to_write_values_are_read() {
        let value = json!({
            "metadata": {"name": "db", "namespace": "sales"},
            "data": {"url": "aHVudGVy\nMg==\n", "both": "bm8=", "raw": "/w==", "bits": "aA==", "odd": "aB=="},
            "stringData": {"both": "yes"},
        });
        let mut findings = Vec::new();
        let secret = Secret::read(&value, &mut findings);
        assert_eq!(findings, []);
        assert_eq!(
            (secret.name.as_str(), secret.namespace.as_deref()),
            ("db", Some("sales"))
        );
        let get = |key| match secret.get(key) {
            Some(Content::Text(text)) => text.expose_secret(),
            Some(Content::Bytes) => "bytes",
            None => "nothing",
        };
        for (key, value) in [
            ("url", "hunter2"),
            ("both", "yes"),
            ("odd", "h"),
            ("raw", "bytes"),
            ("else", "nothing"),
        ] {
            assert_eq!(get(key), value);
        }
        assert_eq!(secret.keys().len(), 5);
        assert!(!format!("{secret:?}").contains("hunter2"), "{secret:?}");
    }

    #[test]
    fn what_is_no_base64_is_told_and_not_shown() {
        for value in ["hunter2", "hunter2=x", "aGk", "aG k="] {
            let mut findings = Vec::new();
            Secret::read(&json!({"data": {"x": value}}), &mut findings);
            assert_eq!(findings.len(), 1, "{value}");
            assert!(findings[0].message.contains("stringData") && !findings[0].message.contains(value));
        }
        let mut findings = Vec::new();
        Secret::read(
            &json!({"stringData": {"a b": "x", "": "x", "a.b-c_D": "x"}}),
            &mut findings,
        );
        assert_eq!(findings.len(), 2);
    }
}
