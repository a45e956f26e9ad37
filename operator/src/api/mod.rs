//! The kinds of `cataloger.dev/v1alpha1`: what a user writes and reads. No client and no behaviour.

pub mod catalog;
pub mod catalog_schedule;
pub mod duration;
pub mod field;
pub mod model_provider;
mod rules;
mod schemas;
pub mod validate;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt as _;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use catalog::{Catalog, CatalogSpec, CatalogStatus};
pub use catalog_schedule::{CatalogSchedule, CatalogScheduleSpec, CatalogScheduleStatus};
pub use model_provider::{ModelProvider, ModelProviderSpec, ModelProviderStatus};
use rules::{Obey, names};

/// The API's group.
pub const GROUP: &str = "cataloger.dev";

/// The API's version.
pub const VERSION: &str = "v1alpha1";

/// What all kinds are together: `kubectl get cataloger`.
pub const CATEGORY: &str = "cataloger";

/// The short name of `Catalog`: `kubectl get ctlg`.
pub const CATALOG_SHORT: &str = "ctlg";

/// The short name of `CatalogSchedule`: `kubectl get csched`.
pub const CATALOG_SCHEDULE_SHORT: &str = "csched";

/// The short name of `ModelProvider`: `kubectl get mprov`.
pub const MODEL_PROVIDER_SHORT: &str = "mprov";

/// The annotation whose every new value makes one more run due.
pub const REQUESTED_AT: &str = "cataloger.dev/requestedAt";

/// The field manager by which the operator writes statuses and what it makes, as `kubectl --show-managed-fields`
/// shows it; also the value of [`MANAGED_BY`].
pub const MANAGER: &str = "cataloger";

/// The label of what is made by the operator; its value is [`MANAGER`].
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";

/// The label of the Catalogs of a schedule; its value is the schedule's name.
pub const SCHEDULE: &str = "cataloger.dev/schedule";

/// The annotation of the Catalogs of a schedule that says for which time of it they were made.
pub const SCHEDULED_AT: &str = "cataloger.dev/scheduledAt";

/// The definitions of all kinds, as `crds/` holds them.
pub fn definitions() -> Vec<CustomResourceDefinition> {
    vec![
        Catalog::crd(),
        catalog_schedule::definition(),
        ModelProvider::crd(),
    ]
}

/// A key of a Secret in the same namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretKeyRef {
    /// The Secret's name, in the same namespace. Example: `model-keys`.
    #[schemars(length(min = 1, max = 253), transform = Obey([&names::SUBDOMAIN]))]
    pub name: String,
    /// The key in it. Example: `anthropic`.
    #[schemars(length(min = 1, max = 253), transform = Obey([&names::KEY]))]
    pub key: String,
}

/// A Secret in the same namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretRef {
    /// The Secret's name, in the same namespace. Example: `documentation-bucket`.
    #[schemars(length(min = 1, max = 253), transform = Obey([&names::SUBDOMAIN]))]
    pub name: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: &str = "
apiVersion: cataloger.dev/v1alpha1
kind: Catalog
metadata:
  name: sales
spec:
  database: {secretRef: {name: sales-db}}
  tables: [orders, sales.*]
  storage: {s3: {prefix: docs/sales}}
";

    #[test]
    fn a_short_manifest_is_enough() {
        let catalog: Catalog = serde_yaml::from_str(SHORT).unwrap();
        let spec = catalog.spec;
        assert_eq!(spec.database.secret_ref.key, "url");
        assert_eq!(
            (
                spec.limits.max_tokens,
                spec.limits.max_iterations,
                spec.limits.max_rows
            ),
            (100_000, 50, 20)
        );
        assert_eq!(spec.limits.timeout.to_string(), "30m");
        assert_eq!((spec.backoff_limit, spec.suspend), (2, false));
        assert!(spec.storage.s3.bucket.is_none() && spec.model.is_none() && spec.sandbox.is_none());
    }

    #[test]
    fn part_of_the_limits_leaves_the_rest_as_it_is() {
        let text = format!("{SHORT}  limits: {{maxRows: 5, timeout: 90s}}\n");
        let limits = serde_yaml::from_str::<Catalog>(&text).unwrap().spec.limits;
        assert_eq!((limits.max_rows, limits.max_tokens), (5, 100_000));
        assert_eq!(limits.timeout, duration::Duration::from_secs(90));
    }

    #[test]
    fn mistakes_are_named() {
        for (line, says) in [
            ("  tabels: []\n", "unknown field `tabels`"),
            ("  limits: {maxToken: 5}\n", "unknown field `maxToken`"),
            ("  limits: {timeout: 5 minutes}\n", "is no duration"),
            ("  backoffLimit: -1\n", "expected u32"),
        ] {
            let error = serde_yaml::from_str::<Catalog>(&format!("{SHORT}{line}"))
                .unwrap_err()
                .to_string();
            assert!(error.contains(says), "{line}: {error}");
        }
    }

    #[test]
    fn what_is_not_said_is_not_written() {
        let catalog: Catalog = serde_yaml::from_str(SHORT).unwrap();
        let text = serde_yaml::to_string(&catalog).unwrap();
        assert!(!text.contains("null"), "{text}");
        let status = serde_json::to_value(CatalogStatus::default()).unwrap();
        assert_eq!(status, serde_json::json!({}));
    }
}
