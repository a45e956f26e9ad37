//! [`PodSandbox`]: the daemon in a Pod of its own, behind a network policy, reached by exec.
//!
//! State lives in the cluster: whoever knows the owner finds the Pod, and whoever has the installation's secret
//! can go on with it. Dropping a sandbox leaves the Pod to the next one; [`Sandbox::close`] removes it, and
//! [`sweep`] what nobody has closed.

mod cluster;
pub mod exec;
pub mod manifest;
pub mod policy;
pub mod reach;
mod start;
mod sweep;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::Client as KubeClient;
use tracing::{debug, info};

pub use self::cluster::Patience;
use self::cluster::{Cluster, Created};
use self::exec::ExecDial;
use self::manifest::{Names, Owner, Shape};
use self::policy::Destination;
use self::start::leaving;
pub use self::sweep::{Swept, sweep};
use super::client::{Attach, Client, Driven, Timing};
use super::link::Identity;
use super::{BootId, Class, InstallationSecret, NotStarted, Obstacle, Sandbox, SandboxError, Variables};

/// How often a Pod is made anew that is gone as soon as it is found.
const TRIES: u32 = 3;

/// A sandbox to be had.
#[derive(Clone)]
pub struct PodOptions {
    /// The cluster.
    pub client: KubeClient,
    /// The namespace of the Pod.
    pub namespace: String,
    /// Whose it is.
    pub owner: Owner,
    /// What its key is derived from.
    pub secret: InstallationSecret,
    /// The epoch of this controller.
    pub epoch: u64,
    /// What it may use.
    pub shape: Shape,
    /// What it may reach.
    pub destinations: Vec<Destination>,
    /// Names that it knows, and DNS servers that it may ask: a way out for data.
    pub names: Names,
    /// How patient to be with the cluster.
    pub patience: Patience,
    /// How patient to be with the daemon.
    pub timing: Timing,
    /// Hears what is in the way of the Pod while it starts.
    pub tell: Arc<dyn Fn(&NotStarted) + Send + Sync>,
}

impl fmt::Debug for PodOptions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("PodOptions")
            .field("namespace", &self.namespace)
            .field("owner", &self.owner)
            .field("epoch", &self.epoch)
            .finish_non_exhaustive()
    }
}

impl PodOptions {
    /// With the usual patience, for a sandbox that reaches nothing.
    pub fn new(
        client: KubeClient,
        namespace: impl Into<String>,
        owner: Owner,
        secret: InstallationSecret,
        shape: Shape,
    ) -> Self {
        Self {
            client,
            namespace: namespace.into(),
            owner,
            secret,
            epoch: 1,
            shape,
            destinations: Vec::new(),
            names: Names::default(),
            patience: Patience::default(),
            timing: Timing::default(),
            tell: Arc::new(|_| {}),
        }
    }

    /// Who drives it.
    pub fn identity(&self) -> Identity {
        Identity {
            secret: self.secret.clone(),
            run: self.owner.run.clone(),
            epoch: self.epoch,
        }
    }
}

/// A sandbox in a Pod.
#[derive(Debug)]
pub struct PodSandbox {
    client: Client,
    cluster: Cluster,
    options: PodOptions,
    name: String,
    uid: String,
}

impl PodSandbox {
    /// The sandbox of the options' owner: the one that is there, if it still is `known` (or nothing is known of
    /// it), else a new one, whose first session has `env`.
    pub async fn open(
        options: PodOptions,
        known: Option<&BootId>,
        env: &Variables,
    ) -> Result<Self, SandboxError> {
        // What waits for clusters is large, and whoever calls should not have to be.
        Box::pin(Self::found_or_made(options, known, env)).await
    }

    async fn found_or_made(
        options: PodOptions,
        known: Option<&BootId>,
        env: &Variables,
    ) -> Result<Self, SandboxError> {
        let cluster = Cluster::new(&options.client, &options.namespace);
        let name = options.owner.name();
        let mut known = known.cloned();
        let mut tries = 0;
        loop {
            tries += 1;
            let found = cluster.find(&name).await?;
            let is_new = found.is_none();
            let uid = match found {
                Some(pod) => {
                    let uid = owned(&pod, &options.owner)?;
                    if let Some(why) = leaving(&pod) {
                        info!(
                            name,
                            why, "a sandbox of this run is of no use any more; it gets another one"
                        );
                        cluster.remove(&name, &uid, &options.patience).await?;
                        known = None;
                        continue;
                    }
                    // Somebody may have deleted it meanwhile.
                    cluster.apply(&allowed(&options)).await?;
                    uid
                }
                None => match make(&cluster, &options).await? {
                    Some(uid) => uid,
                    // Somebody else made it just now.
                    None if tries < TRIES => continue,
                    None => return Err(occupied(&name).into()),
                },
            };
            let attach = match known.clone().filter(|_| !is_new) {
                Some(boot) => Attach::Existing { boot: Some(boot) },
                None => Attach::New { env: env.clone() },
            };
            let error = match connect(&cluster, &options, &name, &uid, attach).await {
                Ok(client) => {
                    return Ok(Self {
                        client,
                        cluster,
                        options,
                        name,
                        uid,
                    });
                }
                // One that ends at its first moment may have been seen running: it has not started all the same.
                Err(SandboxError::Lost(loss)) if is_new => {
                    match cluster
                        .started(&name, &uid, &options.patience, &*options.tell)
                        .await
                    {
                        Ok(()) => SandboxError::Lost(loss),
                        Err(why) => why.into(),
                    }
                }
                Err(error) => error,
            };
            let again = !is_new && error.class() == Class::Rebuild && tries < TRIES;
            if again {
                info!(name, %error, "the sandbox of this run can't be gone on with; it gets another one");
                cluster.remove(&name, &uid, &options.patience).await?;
                known = None;
                continue;
            }
            if !matches!(error, SandboxError::Superseded { .. }) {
                discard(&cluster, &options, &name, &uid).await;
            }
            return Err(error);
        }
    }

    /// Whose it is.
    pub fn owner(&self) -> &Owner {
        &self.options.owner
    }

    /// The Pod's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The Pod's UID.
    pub fn uid(&self) -> &str {
        &self.uid
    }

    /// Deletes its Pod and its policy, whoever drives it, and waits until they are gone.
    pub async fn remove(&self) -> Result<(), SandboxError> {
        // The policy last: nothing runs any more that it could hold.
        let removed = async {
            self.cluster
                .remove(&self.name, &self.uid, &self.options.patience)
                .await?;
            self.cluster.lift(&self.name).await
        };
        removed.await.map_err(|error| SandboxError::Leftovers {
            message: error.message,
        })
    }

    /// Streams to the daemon, for another client of it.
    pub fn dial(&self) -> ExecDial {
        ExecDial::new(self.cluster.pods.clone(), &self.name, &self.uid)
    }
}

/// Makes policy and Pod; the Pod's UID, if there was none of its name.
async fn make(cluster: &Cluster, options: &PodOptions) -> Result<Option<String>, NotStarted> {
    let PodOptions { namespace, owner, .. } = options;
    // In this order: there is no moment in which it may reach anything else.
    cluster.apply(&allowed(options)).await?;
    let pod = manifest::pod(owner, namespace, &options.shape, &options.names);
    match cluster.create(&pod).await {
        Ok(Created::New(pod)) => Ok(Some(pod.metadata.uid.unwrap_or_default())),
        Ok(Created::Exists) => Ok(None),
        Err(error) => {
            // If it was made all the same, and only the answer was lost, the next try finds it.
            if error.obstacle != Obstacle::Unreachable {
                forget(cluster, &owner.name()).await;
            }
            Err(error)
        }
    }
}

fn allowed(options: &PodOptions) -> NetworkPolicy {
    policy::policy(
        &options.owner,
        &options.namespace,
        &options.destinations,
        &options.names.dns,
    )
}

async fn connect(
    cluster: &Cluster,
    options: &PodOptions,
    name: &str,
    uid: &str,
    attach: Attach,
) -> Result<Client, SandboxError> {
    cluster
        .started(name, uid, &options.patience, &*options.tell)
        .await?;
    let dial = ExecDial::new(cluster.pods.clone(), name, uid);
    Client::connect(dial, options.identity(), attach, options.timing.clone()).await
}

/// The UID of a Pod, if it is this owner's.
fn owned(pod: &Pod, owner: &Owner) -> Result<String, NotStarted> {
    let labels = pod.metadata.labels.clone().unwrap_or_default();
    if owner
        .labels()
        .iter()
        .all(|(name, value)| labels.get(name) == Some(value))
    {
        Ok(pod.metadata.uid.clone().unwrap_or_default())
    } else {
        Err(occupied(&owner.name()))
    }
}

fn occupied(name: &str) -> NotStarted {
    NotStarted {
        obstacle: Obstacle::Occupied,
        message: format!("there is a Pod {name} that is not this run's"),
    }
}

/// Removes what was made in vain. Why it was in vain matters more than what stays of it: the sweep finds that.
async fn discard(cluster: &Cluster, options: &PodOptions, name: &str, uid: &str) {
    match cluster.remove(name, uid, &options.patience).await {
        Ok(()) => forget(cluster, name).await,
        Err(error) => debug!(name, %error, "a Pod that was made in vain stays"),
    }
}

async fn forget(cluster: &Cluster, name: &str) {
    if let Err(error) = cluster.lift(name).await {
        debug!(name, %error, "a network policy that was made in vain stays");
    }
}

#[async_trait]
impl Driven for PodSandbox {
    fn client(&self) -> &Client {
        &self.client
    }

    async fn end(&self) -> Result<(), SandboxError> {
        match self.client.close().await {
            Ok(()) => {}
            // Another controller drives it: its Pod is not ours to remove.
            Err(error @ SandboxError::Superseded { .. }) => return Err(error),
            Err(error) => {
                debug!(name = self.name, %error, "the daemon was not told to end; its Pod is deleted");
            }
        }
        self.remove().await
    }
}
