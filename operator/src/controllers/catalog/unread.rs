//! Catalogs that this release can't read: they are told so, and disturb nobody.
//!
//! Must not know what would have been asked for.

use std::time::Duration;

use kube::api::{ApiResource, DynamicObject, Patch, PatchParams};
use kube::core::error_boundary::InvalidObject;
use kube::{Api, Resource as _};
use kube_runtime::controller::Action;
use serde_json::{Value, json};
use tracing::warn;

use super::Context;
use super::apply::{self, ApplyError};
use super::events::News;
use super::reason::Reason;
use crate::api::Catalog;
use crate::controllers::now;
use crate::llm::cut;
use crate::sessions::Key;

/// Nothing changes by itself.
const AGAIN: Duration = Duration::from_hours(1);
/// The API server may think otherwise of what it holds.
const REFUSED: Duration = Duration::from_mins(10);

/// Says in the conditions of a Catalog that it is not understood, and leaves the rest of its status as it is.
pub(super) async fn tell(context: &Context, object: &InvalidObject) -> Result<Action, ApplyError> {
    let metadata = &object.metadata;
    let (Some(name), Some(namespace)) = (metadata.name.as_deref(), metadata.namespace.as_deref()) else {
        return Ok(Action::await_change());
    };
    let key = Key {
        uid: metadata.uid.clone().unwrap_or_default(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    };
    // What it asks for now is not known, so nothing of it may go on, nor stand in the way of others.
    context.sessions.give_up(&key);
    let resource = ApiResource::erase::<Catalog>(&());
    let catalogs: Api<DynamicObject> = Api::namespaced_with(context.client.clone(), namespace, &resource);
    let found = apply::ask("reading", key.to_string(), catalogs.get_opt(name)).await?;
    let Some(found) = found else {
        return Ok(Action::await_change());
    };
    let message = format!(
        "this release of the operator can't read it: {}; correct it, or upgrade the operator and its definitions",
        cut(&object.error, 500)
    );
    let old = found.data.get("status").cloned().unwrap_or_else(|| json!({}));
    let status = changed(&old, metadata.generation, &message);
    if status == old {
        return Ok(Action::requeue(AGAIN));
    }
    // What is applied has to be whole, and what can't be read may not be written once more: only what changes is sent.
    let patch = json!({
        "metadata": {"resourceVersion": found.metadata.resource_version},
        "status": {
            "observedGeneration": status["observedGeneration"], "phase": status["phase"],
            "conditions": status["conditions"],
        },
    });
    let params = PatchParams {
        field_manager: Some(apply::WRITER.to_owned()),
        ..PatchParams::default()
    };
    let patch = Patch::Merge(&patch);
    let written = apply::ask(
        "writing the status of",
        key.to_string(),
        catalogs.patch_status(name, &params, &patch),
    );
    let again = match written.await {
        Ok(_) => AGAIN,
        Err(error @ ApplyError::Stale { .. }) => return Err(error),
        // An event says it then.
        Err(error) => {
            warn!(catalog = %key, %error, "a Catalog that can't be read could not be told so");
            REFUSED
        }
    };
    let news = News {
        warning: true,
        reason: Reason::NotUnderstood.to_string(),
        action: "Validate",
        message,
    };
    let reference = k8s_openapi::api::core::v1::ObjectReference {
        api_version: Some(Catalog::api_version(&()).into_owned()),
        kind: Some(Catalog::kind(&()).into_owned()),
        name: Some(key.name.clone()),
        namespace: Some(key.namespace.clone()),
        uid: Some(key.uid.clone()),
        ..Default::default()
    };
    context.announcer.tell(reference, news.into());
    Ok(Action::requeue(again))
}

/// The status with conditions that say so. Members that nobody here knows stay.
fn changed(old: &Value, generation: Option<i64>, message: &str) -> Value {
    let mut status = old.clone();
    status["observedGeneration"] = json!(generation);
    status["phase"] = json!("Failed");
    let mut conditions: Vec<Value> = old["conditions"].as_array().cloned().unwrap_or_default();
    let published = !old["artifacts"].is_null();
    let ready = if published { "True" } else { "False" };
    for (kind, truth) in [("Ready", ready), ("Reconciling", "False"), ("Stalled", "True")] {
        let known = conditions.iter().position(|it| it["type"] == kind);
        let since = known
            .map(|at| &conditions[at])
            .filter(|it| it["status"] == truth)
            .map_or_else(|| json!(now().to_string()), |it| it["lastTransitionTime"].clone());
        let condition = json!({
            "type": kind, "status": truth, "reason": Reason::NotUnderstood.to_string(),
            "message": message, "observedGeneration": generation, "lastTransitionTime": since,
        });
        match known {
            Some(at) => conditions[at] = condition,
            None => conditions.push(condition),
        }
    }
    status["conditions"] = json!(conditions);
    status
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_have_written_stays() {
        let old = json!({
            "phase": "Succeeded", "artifacts": {"catalog": "s3://x", "new": 1}, "later": {"a": 2},
            "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}],
        });
        let new = changed(&old, Some(3), "why");
        assert_eq!(
            (&new["artifacts"], &new["later"]),
            (&old["artifacts"], &old["later"])
        );
        assert_eq!(new["conditions"][0]["status"], "True");
        assert_eq!(new["conditions"][0]["lastTransitionTime"], "2026-01-01T00:00:00Z");
        assert_eq!(new["conditions"][2]["reason"], "NotUnderstood");
        assert_eq!(changed(&new, Some(3), "why"), new);
        assert_eq!(
            changed(&json!({}), None, "why")["conditions"][0]["status"],
            "False"
        );
    }
}
