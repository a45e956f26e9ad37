//! Writes of a Catalog: its status, and its end. Each within a time, and only over the object that was looked at.
//!
//! Must not know what a status means.

use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::{Api, Client, ResourceExt as _};
use serde_json::json;
use thiserror::Error;
use tokio::time::timeout;

use crate::api::catalog::{Catalog, CatalogStatus};
use crate::api::{GROUP, VERSION};
use crate::controllers::ANSWER;

/// Who writes the status.
pub(super) const WRITER: &str = "cataloger";

/// Why something was not written.
#[derive(Debug, Error)]
pub(super) enum ApplyError {
    /// Somebody has changed the object meanwhile: it has to be looked at again.
    #[error("{catalog} has changed meanwhile")]
    Stale {
        /// Namespace and name.
        catalog: String,
    },
    /// The API server refuses it, or can't be asked.
    #[error("{what} {catalog}: {message}; it is tried again")]
    Api {
        /// What was done.
        what: &'static str,
        /// Namespace and name.
        catalog: String,
        /// What the API server said.
        message: String,
    },
}

fn full_name(catalog: &Catalog) -> String {
    format!(
        "{}/{}",
        catalog.namespace().unwrap_or_default(),
        catalog.name_any()
    )
}

/// Asks the API server, within a time.
pub(super) async fn ask<T>(
    what: &'static str,
    catalog: String,
    call: impl Future<Output = kube::Result<T>>,
) -> Result<T, ApplyError> {
    match timeout(ANSWER, call).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(kube::Error::Api(status))) if status.code == 409 => Err(ApplyError::Stale { catalog }),
        Ok(Err(error)) => Err(ApplyError::Api {
            what,
            catalog,
            message: error.to_string(),
        }),
        Err(_) => Err(ApplyError::Api {
            what,
            catalog,
            message: format!("no answer in {} s", ANSWER.as_secs()),
        }),
    }
}

/// Writes the whole status over the object that was looked at; what it is now.
pub(super) async fn status(
    client: &Client,
    catalog: &Catalog,
    status: &CatalogStatus,
) -> Result<Catalog, ApplyError> {
    let name = catalog.name_any();
    // What is left out is removed by the API server, so the status has to be whole; and without the version of what
    // was looked at, two leaders could both write.
    let patch = json!({
        "apiVersion": format!("{GROUP}/{VERSION}"),
        "kind": "Catalog",
        "metadata": {"name": name, "resourceVersion": catalog.resource_version()},
        "status": status,
    });
    let catalogs: Api<Catalog> = Api::namespaced(client.clone(), &catalog.namespace().unwrap_or_default());
    let params = PatchParams::apply(WRITER).force();
    let patch = Patch::Apply(&patch);
    ask(
        "writing the status of",
        full_name(catalog),
        catalogs.patch_status(&name, &params, &patch),
    )
    .await
}

/// Deletes a Catalog whose time is over, if it is still the one that was looked at.
pub(super) async fn delete(client: &Client, catalog: &Catalog) -> Result<(), ApplyError> {
    let catalogs: Api<Catalog> = Api::namespaced(client.clone(), &catalog.namespace().unwrap_or_default());
    let params = DeleteParams {
        preconditions: Some(Preconditions {
            uid: catalog.uid(),
            resource_version: catalog.resource_version(),
        }),
        ..DeleteParams::default()
    };
    ask(
        "deleting",
        full_name(catalog),
        catalogs.delete(&catalog.name_any(), &params),
    )
    .await?;
    Ok(())
}
