//! A trial of an installation: a Catalog of the sample database is made as a user makes one, waited for, and removed.
//!
//! Must not know the operator: it sees of it what everybody sees.

use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, PostParams};
use kube::{Api, Client};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use thiserror::Error;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::ANSWER;
use crate::api::catalog::Artifacts;
use crate::api::{Catalog, ModelProvider, REQUESTED_AT};

/// How long until it is looked at again.
const LOOK: Duration = Duration::from_secs(1);
/// Where the sandbox's image has the sample.
const SAMPLE: &str = "sqlite:////opt/sample/shop.db";

/// What is tried.
#[derive(Debug, Clone)]
pub struct Trial {
    /// The namespace of what is made.
    pub namespace: String,
    /// What all of it is called; also the prefix of the pages.
    pub name: String,
    /// How long the run may take.
    pub patience: Duration,
}

/// Why there is no page.
#[derive(Debug, Error)]
pub enum TrialError {
    /// The API server refuses something, or does not answer.
    #[error("{what} in the namespace {namespace} can't be {done}: {message}")]
    Api {
        /// What was asked for.
        what: String,
        /// Where.
        namespace: String,
        /// What should have been done.
        done: &'static str,
        /// What happened.
        message: String,
    },
    /// The operator says that it can't.
    #[error("the Catalog {catalog} can't be made: {reason}: {message}")]
    Stalled {
        /// Namespace and name.
        catalog: String,
        /// A reason of the conditions.
        reason: String,
        /// What to do.
        message: String,
    },
    /// It takes too long.
    #[error(
        "the Catalog {catalog} has no page after {waited:?}; the last that was said: {last}. Is the operator there, does it lead, and does it look at this namespace?"
    )]
    Late {
        /// Namespace and name.
        catalog: String,
        /// How long was waited.
        waited: Duration,
        /// The last message.
        last: String,
    },
}

impl Trial {
    /// Makes a Catalog of the sample, and waits for its page; `tell` is given what the operator says meanwhile.
    pub async fn run(&self, client: &Client, tell: &mut dyn FnMut(&str)) -> Result<Artifacts, TrialError> {
        // Of a trial that was cut off.
        self.remove(client).await?;
        for (kind, object) in self.objects() {
            match kind {
                "Secret" => self.create::<Secret>(client, kind, object).await?,
                "ModelProvider" => self.create::<ModelProvider>(client, kind, object).await?,
                _ => self.create::<Catalog>(client, kind, object).await?,
            }
        }
        self.published(client, tell).await
    }

    /// Removes all that was made, but for the pages.
    pub async fn remove(&self, client: &Client) -> Result<(), TrialError> {
        self.delete::<Catalog>(client, "Catalog").await?;
        self.delete::<ModelProvider>(client, "ModelProvider").await?;
        self.delete::<Secret>(client, "Secret").await
    }

    /// What a user would apply. The builtin model needs no key, and is asked for by name: the operator's default may
    /// cost money.
    fn objects(&self) -> [(&'static str, Value); 3] {
        let name = &self.name;
        let asked = jiff::Timestamp::now().to_string();
        let object = |version: &str, kind: &'static str, annotations: Value, rest: (&str, Value)| {
            let labels = json!({"app.kubernetes.io/part-of": "cataloger"});
            let metadata = json!({"name": name, "labels": labels, "annotations": annotations});
            let object = json!({"apiVersion": version, "kind": kind, "metadata": metadata, rest.0: rest.1});
            (kind, object)
        };
        let ours = "cataloger.dev/v1alpha1";
        let catalog = json!({
            "database": {"secretRef": {"name": name}},
            "tables": ["*"],
            "storage": {"s3": {"prefix": name}},
            "model": {"providerRef": {"name": name}},
            "backoffLimit": 0,
            "retention": {"runs": 1},
        });
        [
            object("v1", "Secret", json!({}), ("stringData", json!({"url": SAMPLE}))),
            object(ours, "ModelProvider", json!({}), ("spec", json!({"builtin": {}}))),
            // Else it would adopt what the last trial has published, and prove nothing.
            object(ours, "Catalog", json!({REQUESTED_AT: asked}), ("spec", catalog)),
        ]
    }

    async fn published(&self, client: &Client, tell: &mut dyn FnMut(&str)) -> Result<Artifacts, TrialError> {
        let catalogs: Api<Catalog> = Api::namespaced(client.clone(), &self.namespace);
        let deadline = Instant::now() + self.patience;
        let mut last = "nothing".to_owned();
        loop {
            let seen = timeout_at(deadline, catalogs.get(&self.name)).await;
            let Ok(seen) = seen else {
                return Err(self.late(last));
            };
            let seen = seen.map_err(|error| self.failed("the Catalog", "read", &error))?;
            let generation = seen.metadata.generation;
            if let Some(status) = seen.status.filter(|it| it.observed_generation == generation) {
                let condition = |name: &str| status.conditions.iter().find(|it| it.type_ == name);
                if let Some(ready) = condition("Ready") {
                    let said = format!("{}: {}", ready.reason, ready.message);
                    if said != last {
                        tell(&said);
                        last = said;
                    }
                }
                if let Some(stalled) = condition("Stalled").filter(|it| it.status == "True") {
                    return Err(TrialError::Stalled {
                        catalog: self.full(),
                        reason: stalled.reason.clone(),
                        message: stalled.message.clone(),
                    });
                }
                let ready = condition("Ready").is_some_and(|it| it.status == "True");
                if let Some(artifacts) = status.artifacts.filter(|_| ready) {
                    return Ok(artifacts);
                }
            }
            if Instant::now() >= deadline {
                return Err(self.late(last));
            }
            sleep(LOOK).await;
        }
    }

    async fn create<K>(&self, client: &Client, kind: &str, object: Value) -> Result<(), TrialError>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope> + Clone + DeserializeOwned + Serialize,
        K::DynamicType: Default,
        K: std::fmt::Debug,
    {
        let api: Api<K> = Api::namespaced(client.clone(), &self.namespace);
        let what = format!("the {kind} {}", self.name);
        let object = serde_json::from_value(object).map_err(|error| self.failed(&what, "written", &error))?;
        match timeout(ANSWER, api.create(&PostParams::default(), &object)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(self.failed(&what, "created", &error)),
            Err(_) => Err(self.failed(&what, "created", &"no answer in time")),
        }
    }

    /// Deletes an object and waits until it is gone; none is as good.
    async fn delete<K>(&self, client: &Client, kind: &str) -> Result<(), TrialError>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope> + Clone + DeserializeOwned,
        K::DynamicType: Default,
        K: std::fmt::Debug,
    {
        let api: Api<K> = Api::namespaced(client.clone(), &self.namespace);
        let what = format!("the {kind} {}", self.name);
        let deadline = Instant::now() + self.patience;
        loop {
            match timeout(ANSWER, api.delete(&self.name, &DeleteParams::default())).await {
                Ok(Err(kube::Error::Api(status))) if status.code == 404 => return Ok(()),
                Ok(Ok(_)) if Instant::now() < deadline => sleep(LOOK).await,
                Ok(Ok(_)) => return Err(self.failed(&what, "deleted", &"it stays")),
                Ok(Err(error)) => return Err(self.failed(&what, "deleted", &error)),
                Err(_) => return Err(self.failed(&what, "deleted", &"no answer in time")),
            }
        }
    }

    fn full(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    fn late(&self, last: String) -> TrialError {
        TrialError::Late {
            catalog: self.full(),
            waited: self.patience,
            last,
        }
    }

    fn failed(&self, what: &str, done: &'static str, error: &dyn std::fmt::Display) -> TrialError {
        TrialError::Api {
            what: what.to_owned(),
            namespace: self.namespace.clone(),
            done,
            message: error.to_string(),
        }
    }
}
