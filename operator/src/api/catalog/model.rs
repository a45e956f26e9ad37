//! Which models write a Catalog.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::rules::{Each, Obey, models, names};

/// Which model writes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(transform = Obey([&models::OTHERS]))]
pub struct ModelChoice {
    /// The `ModelProvider` that serves the model. If not said, the operator's default provider. A change makes a run
    /// due if that is another service or model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider_ref: Option<ProviderRef>,
    /// The model, as its provider names it. Example: `claude-sonnet-5-5`. If not said, the provider's
    /// `defaultModel`. A change makes a run due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 200), transform = Obey([&models::MODEL]))]
    pub name: Option<String>,
    /// Models of the same provider to go on with when that one can't, in this order. Example: `[claude-haiku-4-5]`.
    /// If not said, the provider's `fallbacks`. At most 5, none twice, and not the one in `name`. A change makes a
    /// run due.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 5),
        inner(length(min = 1, max = 200)),
        transform = Each([&models::MODEL]),
        extend("x-kubernetes-list-type" = "set"),
    )]
    pub fallbacks: Vec<String>,
}

/// A `ModelProvider`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProviderRef {
    /// Its name. Example: `claude`. Until it is there, the Catalog waits for it.
    #[schemars(length(min = 1, max = 253), transform = Obey([&names::SUBDOMAIN]))]
    pub name: String,
    /// Its namespace. Example: `platform`. If not said, the Catalog's own. A provider of another namespace has to
    /// allow the Catalog's in `allowedNamespaces`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), transform = Obey([&names::LABEL]))]
    pub namespace: Option<String>,
}
