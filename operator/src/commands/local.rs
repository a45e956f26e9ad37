//! Sandboxes on this machine, for runs without a cluster.

use async_trait::async_trait;

use crate::run::Sandboxes;
use crate::sandbox::local::{Interpreter, LocalOptions, LocalSandbox};
use crate::sandbox::{BootId, Sandbox, SandboxError, Variables};
use crate::store::RunId;

/// Makes processes of this machine. They end with this process, so there is never an earlier one.
#[derive(Debug, Clone)]
pub struct LocalSandboxes {
    /// The Python.
    pub interpreter: Interpreter,
    /// Which modules a session finds imported; the data packages, if not said.
    pub preload: Option<Vec<String>>,
}

#[async_trait]
impl Sandboxes for LocalSandboxes {
    async fn open(
        &self,
        _run: RunId,
        _known: Option<&BootId>,
        env: &Variables,
    ) -> Result<Box<dyn Sandbox>, SandboxError> {
        let mut options = LocalOptions::new(self.interpreter.clone(), env.clone());
        options.preload.clone_from(&self.preload);
        Ok(Box::new(LocalSandbox::start(options).await?))
    }
}
