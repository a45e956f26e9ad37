//! What is asked of the API server for a lease.
//!
//! It must not know when.

use async_trait::async_trait;
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::PostParams;
use kube::{Api, Client};

/// What can become of a call, but an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Somebody else was first.
    Conflict,
    /// There is none, or no such namespace.
    Missing,
    /// The operator may not do that.
    Forbidden(String),
    /// Something that may pass.
    Failed(String),
}

/// The calls of one lease. Who calls bounds the time of each.
#[async_trait]
pub(super) trait Calls: Send + Sync + 'static {
    async fn get(&self) -> Result<Lease, Refusal>;

    async fn create(&self, lease: &Lease) -> Result<Lease, Refusal>;

    /// Only if it is still the version that this one is of.
    async fn replace(&self, lease: &Lease) -> Result<Lease, Refusal>;
}

/// By a client of the API server.
pub(super) struct Cluster {
    leases: Api<Lease>,
    name: String,
}

impl Cluster {
    pub(super) fn new(client: Client, namespace: &str, name: &str) -> Self {
        Self {
            leases: Api::namespaced(client, namespace),
            name: name.to_owned(),
        }
    }
}

#[async_trait]
impl Calls for Cluster {
    async fn get(&self) -> Result<Lease, Refusal> {
        Ok(self.leases.get(&self.name).await?)
    }

    async fn create(&self, lease: &Lease) -> Result<Lease, Refusal> {
        Ok(self.leases.create(&PostParams::default(), lease).await?)
    }

    async fn replace(&self, lease: &Lease) -> Result<Lease, Refusal> {
        let params = PostParams::default();
        Ok(self.leases.replace(&self.name, &params, lease).await?)
    }
}

impl From<kube::Error> for Refusal {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => match status.code {
                404 => Self::Missing,
                409 => Self::Conflict,
                403 => Self::Forbidden(status.message),
                _ => Self::Failed(status.message),
            },
            other => Self::Failed(other.to_string()),
        }
    }
}
