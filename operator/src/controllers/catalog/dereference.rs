//! What a Catalog refers to, read from the API: its provider, from what is watched, and its prompts.
//!
//! Secrets are not among it: they are read when a run begins. Must not judge what it finds.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::time::timeout;

use super::conditions::Problem;
use super::reason::Reason;
use crate::api::{CatalogSpec, ModelProvider};
use crate::controllers::ANSWER;
use crate::controllers::provider::{Accounts, ProviderKey, Verdict};
use crate::controllers::settings::Settings;

/// What was found.
#[derive(Debug, Clone)]
pub(super) struct Found {
    /// The provider: of the Catalog, or the operator's; none if the operator's models are no resource.
    pub provider: Option<(ProviderKey, Arc<ModelProvider>)>,
    /// The texts of its own prompts, by the names of their files.
    pub prompts: Option<BTreeMap<String, String>>,
}

/// Which provider a Catalog of a namespace means.
pub(super) fn provider_of(spec: &CatalogSpec, namespace: &str, settings: &Settings) -> Option<ProviderKey> {
    let named = spec.model.as_ref().and_then(|model| model.provider_ref.as_ref());
    match named {
        Some(named) => Some(ProviderKey::named(
            named.namespace.as_deref().unwrap_or(namespace),
            &named.name,
        )),
        None => settings
            .model
            .provider
            .as_ref()
            .map(|(namespace, name)| ProviderKey::named(namespace, name)),
    }
}

/// Reads it.
pub(super) async fn dereference(
    client: &Client,
    accounts: &Accounts,
    settings: &Settings,
    namespace: &str,
    spec: &CatalogSpec,
) -> Result<Found, Problem> {
    let provider = match provider_of(spec, namespace, settings) {
        None => None,
        Some(key) => match accounts.get(&key) {
            Some(provider) => Some((key, provider)),
            None => return Err(absent(&key, &accounts.verdict(&key))),
        },
    };
    let prompts = match &spec.prompts {
        None => None,
        Some(prompts) => Some(texts(client, namespace, &prompts.config_map_ref.name).await?),
    };
    Ok(Found { provider, prompts })
}

/// Why a provider is not there.
fn absent(key: &ProviderKey, verdict: &Verdict) -> Problem {
    let (reason, message) = match verdict {
        Verdict::Missing => (
            Reason::ProviderMissing,
            format!("there is no {key}: create it, or name another one"),
        ),
        Verdict::Unknown { message }
        | Verdict::NotReady { message, .. }
        | Verdict::Closed { message, .. } => (
            Reason::ProviderNotReady,
            format!("the {key} can't be used: {message}"),
        ),
        Verdict::Usable => (
            Reason::ProviderNotReady,
            format!("the {key} has changed just now; it is looked at again"),
        ),
    };
    Problem {
        reason,
        message,
        passes: true,
    }
}

async fn texts(client: &Client, namespace: &str, name: &str) -> Result<BTreeMap<String, String>, Problem> {
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let problem = |reason, message| Problem {
        reason,
        message,
        passes: true,
    };
    match timeout(ANSWER, maps.get_opt(name)).await {
        Ok(Ok(Some(map))) => Ok(map.data.unwrap_or_default()),
        Ok(Ok(None)) => Err(problem(
            Reason::PromptsMissing,
            format!(
                "the ConfigMap {namespace}/{name} of spec.prompts is not there: create it with cataloging.yaml, summary.yaml or both"
            ),
        )),
        Ok(Err(error)) => Err(problem(
            Reason::ClusterUnavailable,
            format!("the ConfigMap {namespace}/{name} of spec.prompts can't be read: {error}"),
        )),
        Err(_) => Err(problem(
            Reason::ClusterUnavailable,
            format!("the ConfigMap {namespace}/{name} of spec.prompts could not be read in time"),
        )),
    }
}
