//! What is asked of the API server for the Catalogs of a schedule, each within a time. Must not know why.

use kube::api::{DeleteParams, DynamicObject, PostParams, Preconditions, PropagationPolicy};
use kube::{Api, Client, ResourceExt as _};

use super::children::{Child, controller};
use super::plan::Made;
use crate::api::{Catalog, CatalogSchedule, MANAGER};
use crate::controllers::apply::{self, ApplyError, answered};

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
    let Err(refusal) = answered(api.create(&params, catalog)).await else {
        return Made::New;
    };
    match refusal.code {
        Some(409) if refusal.reason == "AlreadyExists" => {
            match answered(any(client, schedule).get_opt(&catalog.name_any())).await {
                Ok(Some(object)) if is_of(&object, schedule) => Made::Found,
                Ok(Some(_)) => Made::Foreign,
                Ok(None) => Made::Failed("it was there, and is gone".to_owned()),
                Err(refusal) => Made::Failed(refusal.message),
            }
        }
        Some(400 | 422) => Made::Refused(refusal.message),
        _ => Made::Failed(refusal.message),
    }
}

/// Deletes Catalogs. One that can't be deleted keeps no other from it; the first of those is told.
pub(super) async fn delete_all(
    client: &Client,
    schedule: &CatalogSchedule,
    children: &[Child],
) -> Result<(), ApplyError> {
    let mut all = Ok(());
    for child in children {
        let deleted = delete(client, schedule, child).await;
        all = all.and(deleted);
    }
    all
}

/// Deletes a Catalog, if it is still the one that was seen. Its run is stopped with it.
async fn delete(client: &Client, schedule: &CatalogSchedule, child: &Child) -> Result<(), ApplyError> {
    let params = DeleteParams {
        propagation_policy: Some(PropagationPolicy::Background),
        preconditions: Some(Preconditions {
            uid: Some(child.uid.clone()),
            resource_version: None,
        }),
        ..DeleteParams::default()
    };
    match answered(any(client, schedule).delete(&child.name, &params)).await {
        Ok(_) => Ok(()),
        // It is gone, or another one has its name.
        Err(refusal) if matches!(refusal.code, Some(404 | 409)) => Ok(()),
        Err(refusal) => Err(ApplyError::Api {
            what: "deleting",
            object: child.name.clone(),
            message: refusal.message,
        }),
    }
}
