//! Schedules that this release can't read: they are told so, and disturb nobody. Must not know what they ask for.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::core::error_boundary::InvalidObject;
use serde_json::{Value, json};

use super::Context;
use super::apply::{self, ApplyError};
use super::reason::Reason;
use crate::controllers::announce::Announcement;
use crate::controllers::now;
use crate::llm::cut;

/// Says in the conditions of a schedule that it is not understood, and leaves the rest of its status as it is.
pub(super) async fn tell(context: &Context, object: &InvalidObject) -> Result<(), ApplyError> {
    let metadata = &object.metadata;
    let (Some(name), Some(namespace)) = (metadata.name.as_deref(), metadata.namespace.as_deref()) else {
        return Ok(());
    };
    let api = apply::schedules(&context.client, namespace);
    let Some(found) = apply::raw(&api, name).await? else {
        return Ok(());
    };
    let message = format!(
        "this release of the operator can't read it: {}; correct it, or upgrade the operator and its definitions",
        cut(&object.error, 500)
    );
    let old = found.data.get("status").cloned().unwrap_or_else(|| json!({}));
    let status = changed(&old, metadata.generation, &message);
    if status == old {
        return Ok(());
    }
    let patch = apply::patch(name, found.metadata.resource_version.as_deref(), &status);
    apply::write(&api, name, format!("{namespace}/{name}"), &patch).await?;
    let reference = ObjectReference {
        api_version: Some("cataloger.dev/v1alpha1".to_owned()),
        kind: Some("CatalogSchedule".to_owned()),
        name: Some(name.to_owned()),
        namespace: Some(namespace.to_owned()),
        uid: metadata.uid.clone(),
        ..ObjectReference::default()
    };
    let told = Announcement {
        warning: true,
        reason: Reason::NotUnderstood.as_str().to_owned(),
        action: "Validate".to_owned(),
        message,
    };
    context.announcer.tell(reference, told);
    Ok(())
}

/// The status with conditions that say so. Members that nobody here knows stay.
fn changed(old: &Value, generation: Option<i64>, message: &str) -> Value {
    let mut status = old.clone();
    status["observedGeneration"] = json!(generation);
    if let Some(members) = status.as_object_mut() {
        members.remove("nextScheduleTime");
    }
    let mut conditions = Vec::new();
    for (kind, truth) in [("Ready", "False"), ("Stalled", "True")] {
        let mut known = old["conditions"].as_array().into_iter().flatten();
        let since = known
            .find(|it| it["type"] == kind && it["status"] == truth)
            .map_or_else(|| json!(now().to_string()), |it| it["lastTransitionTime"].clone());
        conditions.push(json!({
            "type": kind, "status": truth, "reason": Reason::NotUnderstood.as_str(), "message": message,
            "observedGeneration": generation, "lastTransitionTime": since,
        }));
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
            "lastScheduleTime": "2026-01-01T00:00:00Z", "nextScheduleTime": "2026-01-02T00:00:00Z", "later": 1,
            "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}],
        });
        let new = changed(&old, Some(3), "why");
        assert_eq!(
            (&new["lastScheduleTime"], &new["later"]),
            (&old["lastScheduleTime"], &old["later"])
        );
        assert!(new["nextScheduleTime"].is_null());
        assert_eq!(new["conditions"][0]["status"], "False");
        assert_eq!(new["conditions"][1]["type"], "Stalled");
        assert_eq!(changed(&new, Some(3), "why"), new);
    }
}
