//! What is asked of the API server for an object of ours, each within a time. A status is written only over what was
//! looked at.
//!
//! Must not know what a status means.

use std::time::Duration;

use k8s_openapi::NamespaceResourceScope;
use kube::api::{ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, Preconditions};
use kube::{Api, Client, Resource, ResourceExt as _};
use serde::Serialize;
use serde_json::{Value, json};
use thiserror::Error;
use tokio::time::timeout;

use super::ANSWER;
use crate::api::MANAGER;
use crate::runtime::metrics::labels::{Reconciled, StatusOutcome};

/// Why something was not done.
#[derive(Debug, Error)]
pub(super) enum ApplyError {
    /// Somebody has changed the object meanwhile: it has to be looked at again.
    #[error("{object} has changed meanwhile")]
    Stale {
        /// Namespace and name.
        object: String,
    },
    /// The API server refuses it, or can't be asked.
    #[error("{what} {object}: {message}; it is tried again")]
    Api {
        /// What was done.
        what: &'static str,
        /// Namespace and name.
        object: String,
        /// What the API server said.
        message: String,
    },
}

impl ApplyError {
    /// What became of a look that ended so.
    pub(super) fn outcome(&self) -> Reconciled {
        match self {
            Self::Stale { .. } => Reconciled::Retry,
            Self::Api { .. } => Reconciled::Error,
        }
    }

    /// When to look again.
    pub(super) fn again(&self) -> Duration {
        match self {
            // The change is on its way to us.
            Self::Stale { .. } => Duration::from_millis(500),
            Self::Api { .. } => Duration::from_secs(5),
        }
    }
}

/// What became of a write.
pub(super) fn outcome(written: &Result<(), ApplyError>) -> StatusOutcome {
    match written {
        Ok(()) => StatusOutcome::Ok,
        Err(ApplyError::Stale { .. }) => StatusOutcome::Conflict,
        Err(ApplyError::Api { .. }) => StatusOutcome::Error,
    }
}

/// A kind of ours.
pub(super) trait Ours: Resource<DynamicType = (), Scope = NamespaceResourceScope> {}

impl<K: Resource<DynamicType = (), Scope = NamespaceResourceScope>> Ours for K {}

/// Namespace and name.
pub(super) fn full_name(object: &impl Ours) -> String {
    let namespace = object.namespace().unwrap_or_default();
    format!("{namespace}/{}", object.name_any())
}

/// Those of a kind in a namespace, readable or not.
pub(super) fn any<K: Ours>(client: &Client, namespace: &str) -> Api<DynamicObject> {
    Api::namespaced_with(client.clone(), namespace, &ApiResource::erase::<K>(&()))
}

/// Why the API server has not done what it was asked for.
#[derive(Debug)]
pub(super) struct Refusal {
    /// The status of its answer; none, if there was no answer.
    pub(super) code: Option<u16>,
    /// Its word for that.
    pub(super) reason: String,
    /// For people.
    pub(super) message: String,
}

/// Waits for an answer of the API server, within a time.
pub(super) async fn answered<T>(call: impl Future<Output = kube::Result<T>>) -> Result<T, Refusal> {
    let message = match timeout(ANSWER, call).await {
        Ok(Ok(answer)) => return Ok(answer),
        Ok(Err(kube::Error::Api(status))) => {
            return Err(Refusal {
                code: Some(status.code),
                reason: status.reason,
                message: status.message,
            });
        }
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("no answer in {} s", ANSWER.as_secs()),
    };
    Err(Refusal {
        code: None,
        reason: String::new(),
        message,
    })
}

/// As [`answered`], with an error that says what was asked.
pub(super) async fn ask<T>(
    what: &'static str,
    object: String,
    call: impl Future<Output = kube::Result<T>>,
) -> Result<T, ApplyError> {
    answered(call).await.map_err(|refusal| match refusal.code {
        Some(409) => ApplyError::Stale { object },
        _ => ApplyError::Api {
            what,
            object,
            message: refusal.message,
        },
    })
}

/// Writes the whole status over the object that was looked at.
pub(super) async fn status<K: Ours>(
    client: &Client,
    object: &K,
    status: &impl Serialize,
) -> Result<(), ApplyError> {
    let name = object.name_any();
    // What is left out is removed by the API server, so the status has to be whole; and without the version of what
    // was looked at, two leaders could both write.
    let patch = json!({
        "apiVersion": K::api_version(&()), "kind": K::kind(&()),
        "metadata": {"name": name, "resourceVersion": object.resource_version()},
        "status": status,
    });
    let params = PatchParams::apply(MANAGER).force();
    write::<K>(client, object.meta(), &params, &Patch::Apply(&patch)).await
}

/// Writes these members of the status over an object that was looked at, and leaves the others as they are.
pub(super) async fn members<K: Ours>(
    client: &Client,
    object: &DynamicObject,
    members: &Value,
) -> Result<(), ApplyError> {
    let patch = json!({
        "metadata": {"resourceVersion": object.metadata.resource_version},
        "status": members,
    });
    let params = PatchParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PatchParams::default()
    };
    write::<K>(client, &object.metadata, &params, &Patch::Merge(&patch)).await
}

async fn write<K: Ours>(
    client: &Client,
    metadata: &kube::api::ObjectMeta,
    params: &PatchParams,
    patch: &Patch<&Value>,
) -> Result<(), ApplyError> {
    let name = metadata.name.as_deref().unwrap_or_default();
    let namespace = metadata.namespace.as_deref().unwrap_or_default();
    let objects = any::<K>(client, namespace);
    let written = objects.patch_status(name, params, patch);
    ask("writing the status of", format!("{namespace}/{name}"), written).await?;
    Ok(())
}

/// Deletes an object, if it is still the one that was looked at.
pub(super) async fn delete<K: Ours>(client: &Client, object: &K) -> Result<(), ApplyError> {
    let objects = any::<K>(client, &object.namespace().unwrap_or_default());
    let params = DeleteParams {
        preconditions: Some(Preconditions {
            uid: object.uid(),
            resource_version: object.resource_version(),
        }),
        ..DeleteParams::default()
    };
    let name = object.name_any();
    ask("deleting", full_name(object), objects.delete(&name, &params)).await?;
    Ok(())
}
