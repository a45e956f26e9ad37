//! Objects that this release can't read: they are told so, and disturb nobody.
//!
//! Must not know what one asks for.

use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::core::error_boundary::InvalidObject;
use serde_json::{Value, json};
use tracing::warn;

use super::announce::{Announcement, Announcer};
use super::apply::{self, ApplyError, Ours};
use super::now;
use crate::llm::cut;

/// Nothing changes by itself.
const AGAIN: Duration = Duration::from_hours(1);
/// The API server may think otherwise of what it holds.
const REFUSED: Duration = Duration::from_mins(10);

/// What is said in a status, as the kind has it.
pub(super) struct Verdict {
    /// The word for it.
    pub(super) reason: String,
    /// Conditions, and whether they hold.
    pub(super) conditions: Vec<(&'static str, bool)>,
    /// The rest that changes.
    pub(super) members: Value,
}

/// Says in the conditions of an object that it is not understood, and leaves the rest of its status as it is. `judge`
/// sees that status. When to look again.
pub(super) async fn tell<K: Ours>(
    client: &Client,
    announcer: &Announcer,
    object: &InvalidObject,
    judge: impl FnOnce(&Value) -> Verdict,
) -> Result<Duration, ApplyError> {
    let metadata = &object.metadata;
    let (Some(name), Some(namespace)) = (metadata.name.as_deref(), metadata.namespace.as_deref()) else {
        return Ok(AGAIN);
    };
    let full_name = format!("{namespace}/{name}");
    let objects = apply::any::<K>(client, namespace);
    let found = apply::ask("reading", full_name.clone(), objects.get_opt(name)).await?;
    let Some(found) = found else {
        return Ok(AGAIN);
    };
    let message = format!(
        "this release of the operator can't read it: {}; correct it, or upgrade the operator and its definitions",
        cut(&object.error, 500)
    );
    let old = found.data.get("status").cloned().unwrap_or_else(|| json!({}));
    let verdict = judge(&old);
    let reason = verdict.reason.clone();
    let Some(members) = changed(&old, verdict, metadata.generation, &message) else {
        return Ok(AGAIN);
    };
    // What is applied has to be whole, and what can't be read may not be written once more: only what changes is sent.
    let again = match apply::members::<K>(client, &found, &members).await {
        Ok(()) => AGAIN,
        Err(error @ ApplyError::Stale { .. }) => return Err(error),
        // An event says it then.
        Err(error) => {
            warn!(%error, "an object that can't be read could not be told so");
            REFUSED
        }
    };
    let reference = ObjectReference {
        api_version: Some(K::api_version(&()).into_owned()),
        kind: Some(K::kind(&()).into_owned()),
        name: Some(name.to_owned()),
        namespace: Some(namespace.to_owned()),
        uid: metadata.uid.clone(),
        ..ObjectReference::default()
    };
    let told = Announcement {
        warning: true,
        reason,
        action: "Validate".to_owned(),
        message,
    };
    announcer.tell(reference, told);
    Ok(again)
}

/// The members of a status that are to say so; none if they do. Conditions that nobody here knows stay.
fn changed(old: &Value, verdict: Verdict, generation: Option<i64>, message: &str) -> Option<Value> {
    let mut members = verdict.members;
    members["observedGeneration"] = json!(generation);
    let mut conditions: Vec<Value> = old["conditions"].as_array().cloned().unwrap_or_default();
    for (kind, holds) in verdict.conditions {
        let truth = if holds { "True" } else { "False" };
        let known = conditions.iter().position(|it| it["type"] == kind);
        let since = known
            .map(|at| &conditions[at])
            .filter(|it| it["status"] == truth)
            .map_or_else(|| json!(now().to_string()), |it| it["lastTransitionTime"].clone());
        let condition = json!({
            "type": kind, "status": truth, "reason": verdict.reason,
            "message": message, "observedGeneration": generation, "lastTransitionTime": since,
        });
        match known {
            Some(at) => conditions[at] = condition,
            None => conditions.push(condition),
        }
    }
    members["conditions"] = json!(conditions);
    let mut sent = members.as_object().into_iter().flatten();
    // What is sent as nothing is not there then.
    let is_said = sent.all(|(name, value)| old[name.as_str()] == *value);
    (!is_said).then_some(members)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(ready: bool) -> Verdict {
        Verdict {
            reason: "NotUnderstood".to_owned(),
            conditions: vec![("Ready", ready), ("Stalled", true)],
            members: json!({"phase": "Failed", "next": null}),
        }
    }

    #[test]
    fn what_others_have_written_stays() {
        let since = "2026-01-01T00:00:00Z";
        let old = json!({
            "phase": "Succeeded", "later": {"a": 2}, "next": "soon",
            "conditions": [
                {"type": "Odd", "status": "Maybe"},
                {"type": "Ready", "status": "True", "lastTransitionTime": since},
            ],
        });
        let new = changed(&old, verdict(true), Some(3), "why").unwrap();
        assert_eq!(
            (&new["phase"], &new["observedGeneration"]),
            (&json!("Failed"), &json!(3))
        );
        assert!(new.get("later").is_none() && new["next"].is_null());
        assert_eq!(new["conditions"][0], old["conditions"][0]);
        assert_eq!(new["conditions"][1]["lastTransitionTime"], since);
        assert_eq!(
            (&new["conditions"][1]["reason"], &new["conditions"][2]["status"]),
            (&json!("NotUnderstood"), &json!("True"))
        );
        let mut merged = old;
        json_patch::merge(&mut merged, &new);
        assert_eq!(merged["later"], json!({"a": 2}));
        assert!(merged.get("next").is_none());
        assert_eq!(changed(&merged, verdict(true), Some(3), "why"), None);
        let fallen = changed(&merged, verdict(false), Some(3), "why").unwrap();
        assert_eq!(fallen["conditions"][1]["status"], "False");
        assert_ne!(fallen["conditions"][1]["lastTransitionTime"], since);
    }

    #[test]
    fn a_status_that_is_none_can_be_told() {
        for odd in [json!({}), json!({"conditions": "none"})] {
            let new = changed(&odd, verdict(false), None, "why").unwrap();
            assert_eq!(new["conditions"][0]["status"], "False");
            assert!(new["observedGeneration"].is_null());
        }
    }
}
