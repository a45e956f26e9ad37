//! Sandboxes of one Catalog's run, as Pods: where the database is is found out anew for each.
//!
//! Must not know what code is run there.

use std::sync::Arc;

use async_trait::async_trait;
use kube::Client;

use crate::run::Sandboxes;
use crate::sandbox::pod::manifest::{Names, Owner, Shape};
use crate::sandbox::pod::policy::Destination;
use crate::sandbox::pod::reach::{ReachError, SystemResolver, reach};
use crate::sandbox::pod::{PodOptions, PodSandbox};
use crate::sandbox::{BootId, InstallationSecret, NotStarted, Sandbox, SandboxError, Variables};
use crate::sessions::{SandboxNews, Tell};
use crate::store::RunId;

/// What a sandbox is made of.
#[derive(Clone)]
pub(super) struct PodSandboxes {
    /// The cluster.
    pub client: Client,
    /// Where the Pods are.
    pub namespace: String,
    /// Whose they are; the run is put in.
    pub owner: Owner,
    /// What their keys are derived from.
    pub secret: InstallationSecret,
    /// Which leader this is.
    pub epoch: u64,
    /// What they may use.
    pub shape: Shape,
    /// What they may reach besides the database.
    pub egress: Vec<Destination>,
    /// The hosts and ports of the database.
    pub database: Vec<(String, u16)>,
    /// The cluster's domain.
    pub domain: String,
    /// Hears how it goes.
    pub tell: Tell,
}

impl PodSandboxes {
    async fn options(&self, run: RunId) -> Result<PodOptions, SandboxError> {
        let owner = Owner {
            run: run.to_string(),
            ..self.owner.clone()
        };
        let mut options = PodOptions::new(
            self.client.clone(),
            &self.namespace,
            owner,
            self.secret.clone(),
            self.shape.clone(),
        );
        options.epoch = self.epoch;
        options.destinations.clone_from(&self.egress);
        let mut names = Names::default();
        for (host, port) in &self.database {
            // As a Pod of the Catalog's namespace would understand the name.
            let found = reach(
                &self.client,
                &SystemResolver,
                &self.owner.namespace,
                &self.domain,
                host,
                *port,
            );
            let found = found.await.map_err(no_way)?;
            options.destinations.extend(found.destinations);
            for (address, hosts) in found.hosts {
                names.hosts.entry(address).or_default().extend(hosts);
            }
        }
        options.names = names;
        let tell = Arc::clone(&self.tell);
        options.tell = Arc::new(move |why: &NotStarted| tell(SandboxNews::Waits(why.to_string())));
        Ok(options)
    }
}

fn no_way(error: ReachError) -> SandboxError {
    match error {
        ReachError::Cluster(why) => SandboxError::NotStarted(why),
        // A Service may be made, a name be entered: all but an address that means something else.
        error => SandboxError::NoWay {
            passes: !matches!(error, ReachError::Local { .. }),
            message: error.to_string(),
        },
    }
}

#[async_trait]
impl Sandboxes for PodSandboxes {
    async fn open(
        &self,
        run: RunId,
        known: Option<&BootId>,
        env: &Variables,
    ) -> Result<Box<dyn Sandbox>, SandboxError> {
        let options = self.options(run).await?;
        let sandbox = PodSandbox::open(options, known, env).await?;
        (self.tell)(SandboxNews::Runs(format!(
            "{}/{}",
            self.namespace,
            sandbox.name()
        )));
        Ok(Box::new(sandbox))
    }
}
