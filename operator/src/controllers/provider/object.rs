//! A `ModelProvider` as the API server has it. The parts are read one by one: what another version wrote must not
//! hide what was spent, nor disturb the others.

use kube::ResourceExt as _;
use kube::api::{ApiResource, DynamicObject};
use serde_json::Value;

use crate::api::model_provider::Spending;
use crate::api::validate::validate_provider;
use crate::api::{ModelProvider, ModelProviderStatus};

/// The kind, for requests.
pub(super) fn resource() -> ApiResource {
    ApiResource::erase::<ModelProvider>(&())
}

/// What is read of it.
#[derive(Debug, Clone)]
pub(super) struct Object {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) uid: String,
    pub(super) version: Option<String>,
    pub(super) generation: Option<i64>,
    /// Without its status; or why it can't be understood.
    pub(super) provider: Result<ModelProvider, String>,
    pub(super) status: ModelProviderStatus,
    /// What was spent; or that nobody knows.
    pub(super) spending: Result<Option<Spending>, ()>,
}

impl Object {
    pub(super) fn read(object: DynamicObject) -> Self {
        let status = object.data.get("status").cloned().unwrap_or_default();
        let spending = match status.get("spending") {
            None | Some(Value::Null) => Ok(None),
            Some(spending) => serde_json::from_value(spending.clone()).map(Some).map_err(|_| ()),
        };
        Self {
            namespace: object.namespace().unwrap_or_default(),
            name: object.name_any(),
            uid: object.uid().unwrap_or_default(),
            version: object.resource_version(),
            generation: object.metadata.generation,
            spending,
            // What is not understood is written anew.
            status: serde_json::from_value(status).unwrap_or_default(),
            provider: provider(object),
        }
    }
}

fn provider(mut object: DynamicObject) -> Result<ModelProvider, String> {
    object.metadata.managed_fields = None;
    let mut spec = object.data;
    let spec = spec.get_mut("spec").map(Value::take).unwrap_or_default();
    let spec = serde_json::from_value(spec).map_err(|error| format!("spec: {error}"))?;
    if let Some(violation) = validate_provider(&spec).first() {
        return Err(format!("{}: {}", violation.path, violation.message));
    }
    Ok(ModelProvider {
        metadata: object.metadata,
        spec,
        status: None,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(spec: &Value, status: &Value) -> Object {
        let object = json!({
            "apiVersion": "cataloger.dev/v1alpha1", "kind": "ModelProvider",
            "metadata": {"name": "a", "namespace": "n", "uid": "u", "resourceVersion": "7", "generation": 2,
                "managedFields": [{"manager": "x"}]},
            "spec": spec, "status": status,
        });
        Object::read(serde_json::from_value(object).unwrap())
    }

    #[test]
    fn what_is_understood_is_read() {
        let spending = json!({"since": "2026-11-26T00:00:00Z", "until": "2026-11-27T00:00:00Z", "spent": 1.5, "reserved": 0});
        let object = read(
            &json!({"builtin": {}}),
            &json!({"spending": spending, "observedGeneration": 2}),
        );
        let provider = object.provider.unwrap();
        assert!(provider.spec.builtin.is_some() && provider.metadata.managed_fields.is_none());
        assert_eq!(
            (object.status.observed_generation, object.generation),
            (Some(2), Some(2))
        );
        assert_eq!(object.spending.unwrap().unwrap().spent.to_string(), "1.5");
        // A spec of tomorrow, and a status that nobody wrote so.
        let odd = read(
            &json!({"builtin": {}, "quantum": {}}),
            &json!({"spending": spending, "conditions": "fine"}),
        );
        assert!(odd.provider.unwrap_err().contains("unknown field `quantum`"));
        assert_eq!(odd.status, ModelProviderStatus::default());
        assert!(odd.spending.unwrap().is_some());
        assert!(
            read(&json!({"builtin": {}}), &json!({"spending": {"spent": "much"}}))
                .spending
                .is_err()
        );
        let both = json!({"builtin": {}, "openai": {"baseURL": "https://h"}});
        let both = read(&both, &json!(null));
        assert_eq!(
            both.provider.unwrap_err(),
            "spec: say exactly one of anthropic, openai and builtin"
        );
    }
}
