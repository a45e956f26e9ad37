//! The secret of an installation, from which the keys of its sandboxes are derived: a Secret in the operator's own
//! namespace. Manifests and chart bring it empty, so that it goes with them; whoever needs it first fills it.
//!
//! Must not know what is derived from it.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::PostParams;
use kube::{Api, Client};
use thiserror::Error;
use tokio::time::timeout;

use super::ANSWER;
use crate::sandbox::InstallationSecret;

/// The key in the Secret.
const KEY: &str = "secret";

/// Why there is no secret.
#[derive(Debug, Error)]
pub enum InstallationError {
    /// The API server does not give it.
    #[error("the Secret {secret}, from which the keys of sandboxes are derived, can't be {what}: {message}")]
    Api {
        /// Namespace and name.
        secret: String,
        /// What was tried.
        what: &'static str,
        /// What happened.
        message: String,
    },
    /// It is not what was made.
    #[error(
        "the Secret {secret} does not hold 32 bytes in its key {KEY}: empty it while no run is under way, and it is filled anew: kubectl patch secret NAME --namespace NAMESPACE -p '{{\"data\":null}}'"
    )]
    Damaged {
        /// Namespace and name.
        secret: String,
    },
}

/// The secret: the one that is there, or a new one.
pub async fn secret(
    client: &Client,
    namespace: &str,
    name: &str,
) -> Result<InstallationSecret, InstallationError> {
    let full = || format!("{namespace}/{name}");
    let trouble = |what: &'static str| {
        move |error: kube::Error| InstallationError::Api {
            secret: full(),
            what,
            message: error.to_string(),
        }
    };
    let late = |what: &'static str| {
        move |_| InstallationError::Api {
            secret: full(),
            what,
            message: "no answer in time".to_owned(),
        }
    };
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let get = || async {
        timeout(ANSWER, secrets.get_opt(name))
            .await
            .map_err(late("read"))?
            .map_err(trouble("read"))
    };
    let parameters = PostParams::default();
    let (answer, what) = match get().await? {
        // It carries its resource version: who was first stays.
        Some(found) if is_empty(&found) => (
            timeout(ANSWER, secrets.replace(name, &parameters, &filled(found))).await,
            "filled",
        ),
        Some(found) => return held(found).ok_or_else(|| InstallationError::Damaged { secret: full() }),
        None => (
            timeout(ANSWER, secrets.create(&parameters, &filled(new(name)))).await,
            // The role lets it fill one, not make one.
            "made (make it yourself, empty, and it is filled)",
        ),
    };
    let kept = match answer {
        Ok(Ok(kept)) => Some(kept),
        // Another replica was first.
        Ok(Err(kube::Error::Api(status))) if status.code == 409 => get().await?,
        Ok(Err(error)) => return Err(trouble(what)(error)),
        Err(elapsed) => return Err(late(what)(elapsed)),
    };
    kept.and_then(held)
        .ok_or_else(|| InstallationError::Damaged { secret: full() })
}

fn new(name: &str) -> Secret {
    Secret {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            labels: Some([("app.kubernetes.io/part-of".to_owned(), "cataloger".to_owned())].into()),
            ..ObjectMeta::default()
        },
        ..Secret::default()
    }
}

fn is_empty(secret: &Secret) -> bool {
    secret.data.as_ref().is_none_or(BTreeMap::is_empty)
}

fn filled(mut secret: Secret) -> Secret {
    let bytes: [u8; 32] = rand::random();
    secret.data = Some([(KEY.to_owned(), ByteString(bytes.to_vec()))].into());
    secret
}

fn held(secret: Secret) -> Option<InstallationSecret> {
    let bytes: Option<[u8; 32]> = secret.data?.remove(KEY)?.0.try_into().ok();
    bytes.map(InstallationSecret::new)
}
