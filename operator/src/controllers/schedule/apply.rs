//! What is asked of the API server for a schedule, each within a time. Must not know why.

use kube::api::{
    DeleteParams, DynamicObject, Patch, PatchParams, PostParams, Preconditions, PropagationPolicy,
};
use kube::core::Status;
use kube::{Api, Client, ResourceExt as _};
use serde_json::{Value, json};
use thiserror::Error;
use tokio::time::timeout;

use super::children::{Child, controller};
use super::plan::Made;
use crate::api::{Catalog, CatalogSchedule, CatalogScheduleStatus, GROUP, MANAGER, VERSION};
use crate::controllers::ANSWER;

/// Why something was not done.
#[derive(Debug, Error)]
pub(super) enum ApplyError {
    /// Somebody has changed the object meanwhile: it has to be looked at again.
    #[error("{schedule} has changed meanwhile")]
    Stale {
        /// Namespace and name.
        schedule: String,
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

/// An answer of the API server, or why there is none.
enum Answer<T> {
    Right(T),
    Wrong(Box<Status>),
    None(String),
}

async fn ask<T>(call: impl Future<Output = kube::Result<T>>) -> Answer<T> {
    match timeout(ANSWER, call).await {
        Ok(Ok(answer)) => Answer::Right(answer),
        Ok(Err(kube::Error::Api(status))) => Answer::Wrong(status),
        Ok(Err(error)) => Answer::None(error.to_string()),
        Err(_) => Answer::None(format!("no answer in {} s", ANSWER.as_secs())),
    }
}

/// The answer, or the error for `object`.
async fn must<T>(
    what: &'static str,
    object: String,
    call: impl Future<Output = kube::Result<T>>,
) -> Result<T, ApplyError> {
    match ask(call).await {
        Answer::Right(answer) => Ok(answer),
        Answer::Wrong(status) if status.code == 409 => Err(ApplyError::Stale { schedule: object }),
        Answer::Wrong(status) => Err(ApplyError::Api {
            what,
            object,
            message: status.message.clone(),
        }),
        Answer::None(message) => Err(ApplyError::Api {
            what,
            object,
            message,
        }),
    }
}

fn full_name(schedule: &CatalogSchedule) -> String {
    format!(
        "{}/{}",
        schedule.namespace().unwrap_or_default(),
        schedule.name_any()
    )
}

/// The schedule as it is, whatever a watch has told so far; none, if it is gone or another one.
pub(super) async fn current(
    client: &Client,
    schedule: &CatalogSchedule,
) -> Result<Option<CatalogSchedule>, ApplyError> {
    let api: Api<CatalogSchedule> =
        Api::namespaced(client.clone(), &schedule.namespace().unwrap_or_default());
    let name = schedule.name_any();
    let found = must("reading", full_name(schedule), api.get_opt(&name)).await?;
    Ok(found.filter(|it| it.uid() == schedule.uid() && it.metadata.deletion_timestamp.is_none()))
}

/// A Catalog of the schedule, by its name, whatever a watch has told so far.
pub(super) async fn child(
    client: &Client,
    schedule: &CatalogSchedule,
    name: &str,
) -> Result<Option<Child>, ApplyError> {
    let found = must(
        "reading a Catalog of",
        full_name(schedule),
        any(client, schedule).get_opt(name),
    )
    .await?;
    Ok(found
        .filter(|object| is_of(object, schedule))
        .map(|object| Child::read(&object)))
}

fn any(client: &Client, schedule: &CatalogSchedule) -> Api<DynamicObject> {
    let kind = kube::api::ApiResource::erase::<Catalog>(&());
    Api::namespaced_with(client.clone(), &schedule.namespace().unwrap_or_default(), &kind)
}

fn is_of(object: &DynamicObject, schedule: &CatalogSchedule) -> bool {
    controller(&object.metadata).is_some_and(|(uid, _)| schedule.metadata.uid.as_deref() == Some(uid))
}

/// Makes a Catalog, unless it is there.
pub(super) async fn make(client: &Client, schedule: &CatalogSchedule, catalog: &Catalog) -> Made {
    let api: Api<Catalog> = Api::namespaced(client.clone(), &schedule.namespace().unwrap_or_default());
    let params = PostParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PostParams::default()
    };
    match ask(api.create(&params, catalog)).await {
        Answer::Right(_) => Made::New,
        Answer::Wrong(status) if status.code == 409 && status.reason == "AlreadyExists" => {
            match ask(any(client, schedule).get_opt(&catalog.name_any())).await {
                Answer::Right(Some(object)) if is_of(&object, schedule) => Made::Found,
                Answer::Right(Some(_)) => Made::Foreign,
                Answer::Right(None) => Made::Failed("it was there, and is gone".to_owned()),
                Answer::Wrong(status) => Made::Failed(status.message.clone()),
                Answer::None(why) => Made::Failed(why),
            }
        }
        Answer::Wrong(status) if matches!(status.code, 400 | 422) => Made::Refused(status.message.clone()),
        Answer::Wrong(status) => Made::Failed(status.message.clone()),
        Answer::None(why) => Made::Failed(why),
    }
}

/// Deletes a Catalog, if it is still the one that was seen. Its run is stopped with it.
pub(super) async fn delete(
    client: &Client,
    schedule: &CatalogSchedule,
    child: &Child,
) -> Result<(), ApplyError> {
    let params = DeleteParams {
        propagation_policy: Some(PropagationPolicy::Background),
        preconditions: Some(Preconditions {
            uid: Some(child.uid.clone()),
            resource_version: None,
        }),
        ..DeleteParams::default()
    };
    match ask(any(client, schedule).delete(&child.name, &params)).await {
        Answer::Right(_) => Ok(()),
        // It is gone, or another one has its name.
        Answer::Wrong(status) if matches!(status.code, 404 | 409) => Ok(()),
        Answer::Wrong(status) => Err(refused(child, status.message.clone())),
        Answer::None(why) => Err(refused(child, why)),
    }
}

fn refused(child: &Child, message: String) -> ApplyError {
    ApplyError::Api {
        what: "deleting",
        object: child.name.clone(),
        message,
    }
}

/// Writes the whole status over the schedule that was looked at.
pub(super) async fn status(
    client: &Client,
    schedule: &CatalogSchedule,
    status: &CatalogScheduleStatus,
) -> Result<(), ApplyError> {
    let api: Api<DynamicObject> = schedules(client, &schedule.namespace().unwrap_or_default());
    let name = schedule.name_any();
    let patch = patch(&name, schedule.resource_version().as_deref(), &json!(status));
    write(&api, &name, full_name(schedule), &patch).await
}

/// The schedules of a namespace, readable or not.
pub(super) fn schedules(client: &Client, namespace: &str) -> Api<DynamicObject> {
    let kind = kube::api::ApiResource::erase::<CatalogSchedule>(&());
    Api::namespaced_with(client.clone(), namespace, &kind)
}

/// What is there under a name, readable or not.
pub(super) async fn raw(api: &Api<DynamicObject>, name: &str) -> Result<Option<DynamicObject>, ApplyError> {
    must("reading", name.to_owned(), api.get_opt(name)).await
}

/// What is applied. What is left out is removed by the API server; without the version, two leaders could both write.
pub(super) fn patch(name: &str, version: Option<&str>, status: &Value) -> Value {
    json!({
        "apiVersion": format!("{GROUP}/{VERSION}"),
        "kind": "CatalogSchedule",
        "metadata": {"name": name, "resourceVersion": version},
        "status": status,
    })
}

/// Applies a patch of a status.
pub(super) async fn write(
    api: &Api<DynamicObject>,
    name: &str,
    full_name: String,
    patch: &Value,
) -> Result<(), ApplyError> {
    let params = PatchParams::apply(MANAGER).force();
    let patch = Patch::Apply(patch);
    must(
        "writing the status of",
        full_name,
        api.patch_status(name, &params, &patch),
    )
    .await?;
    Ok(())
}
