//! A `ConfigMap`: texts by their names. Must not know what they say.

use std::collections::BTreeMap;

use serde_json::Value;

use super::names::in_namespace;

/// A `ConfigMap` out of a file.
#[derive(Debug, Clone)]
pub(super) struct ConfigMap {
    /// Its name.
    pub(super) name: String,
    /// Its namespace, if it is said.
    pub(super) namespace: Option<String>,
    /// Its texts. What it holds as bytes is of no use here.
    pub(super) texts: BTreeMap<String, String>,
}

impl ConfigMap {
    /// Reads what has the shape of one.
    pub(super) fn read(value: &Value) -> Self {
        let text = |pointer| value.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        let texts = value["data"].as_object().into_iter().flatten();
        let texts = texts.filter_map(|(name, text)| Some((name.clone(), text.as_str()?.to_owned())));
        Self {
            name: text("/metadata/name").unwrap_or_default(),
            namespace: text("/metadata/namespace"),
            texts: texts.collect(),
        }
    }

    /// `namespace/name`, or `name`.
    pub(super) fn full_name(&self) -> String {
        in_namespace(self.namespace.as_deref(), &self.name)
    }
}
