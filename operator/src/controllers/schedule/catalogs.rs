//! What is asked of the API server for the Catalogs of a schedule, each within a time. Must not know why.

use kube::api::{DeleteParams, DynamicObject, PostParams, Preconditions, PropagationPolicy};
use kube::core::Status;
use kube::{Api, Client, ResourceExt as _};
use tokio::time::timeout;

use super::children::{Child, controller};
use super::plan::Made;
use crate::api::{Catalog, CatalogSchedule, MANAGER};
use crate::controllers::ANSWER;
use crate::controllers::apply::{self, ApplyError};

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

/// The schedule as it is, whatever a watch has told so far; none, if it is gone or another one.
pub(super) async fn current(
    client: &Client,
    schedule: &CatalogSchedule,
) -> Result<Option<CatalogSchedule>, ApplyError> {
    let api: Api<CatalogSchedule> =
        Api::namespaced(client.clone(), &schedule.namespace().unwrap_or_default());
    let name = schedule.name_any();
    let found = apply::ask("reading", apply::full_name(schedule), api.get_opt(&name)).await?;
    Ok(found.filter(|it| it.uid() == schedule.uid() && it.metadata.deletion_timestamp.is_none()))
}

/// A Catalog of the schedule, by its name, whatever a watch has told so far.
pub(super) async fn child(
    client: &Client,
    schedule: &CatalogSchedule,
    name: &str,
) -> Result<Option<Child>, ApplyError> {
    let found = apply::ask(
        "reading a Catalog of",
        apply::full_name(schedule),
        any(client, schedule).get_opt(name),
    )
    .await?;
    Ok(found
        .filter(|object| is_of(object, schedule))
        .map(|object| Child::read(&object)))
}

fn any(client: &Client, schedule: &CatalogSchedule) -> Api<DynamicObject> {
    apply::any::<Catalog>(client, &schedule.namespace().unwrap_or_default())
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
