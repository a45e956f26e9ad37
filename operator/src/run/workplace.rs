//! The sandbox of a run: getting one, making it as an agent needs it, and running code in it.
//!
//! Ids of calls follow from the journal, so whoever drives the run asks for the same call by the same id. It
//! must not know what the code is for.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::sleep;

use super::record::Ran;
use super::stop::Stop;
use super::{RunError, Sandboxes};
use crate::sandbox::{
    BootId, CallId, Cell, Chunk, Class, Executed, MAX_FILE_PART, Sandbox, SandboxError, State, Status,
    Variables,
};
use crate::store::RunId;

/// For each entry of a journal there are so many ids; the upper half is for calls of the model. People see them in
/// tracebacks.
const IDS: u64 = 100_000;
/// How long a call of another may be waited for.
const PATIENCE: u32 = 50;
const PAUSE: Duration = Duration::from_millis(200);
/// How often a sandbox is asked again that is there, and silent for minutes.
const TIMEOUTS: u32 = 2;

/// The sandbox of a run, when there is one.
pub(super) struct Workplace<'a> {
    sandboxes: &'a dyn Sandboxes,
    stop: Stop<'a>,
    run: RunId,
    sandbox: Option<(BootId, Box<dyn Sandbox>)>,
}

/// Ids for the calls that make a sandbox ready, before entry `next` of the journal says that it is.
#[derive(Debug)]
pub(super) struct Ids(u64);

impl Ids {
    pub(super) fn before(next: u32) -> Self {
        Self(u64::from(next) * IDS)
    }

    fn take(&mut self) -> CallId {
        self.0 += 1;
        CallId(self.0)
    }
}

/// The id of a call of the model.
pub(super) fn call_id(from: u32, index: usize) -> CallId {
    CallId(u64::from(from) * IDS + IDS / 2 + index as u64)
}

/// A file for the session.
#[derive(Debug, Clone)]
pub(super) struct File {
    pub(super) path: String,
    pub(super) content: Bytes,
}

impl<'a> Workplace<'a> {
    pub(super) fn new(sandboxes: &'a dyn Sandboxes, stop: Stop<'a>, run: RunId) -> Self {
        Self {
            sandboxes,
            stop,
            run,
            sandbox: None,
        }
    }

    /// Gets a sandbox.
    pub(super) async fn open(&mut self, known: Option<&BootId>, env: &Variables) -> Result<(), RunError> {
        let sandbox = tokio::select! {
            biased;
            () = self.stop.wanted() => return Err(RunError::Interrupted),
            sandbox = self.sandboxes.open(self.run, known, env) => sandbox?,
        };
        self.sandbox = Some((sandbox.boot(), sandbox));
        Ok(())
    }

    /// Lets go of a sandbox that is of no more use.
    pub(super) async fn discard(&mut self) {
        if let Err(error) = self.close().await {
            tracing::debug!(%error, "a lost sandbox could not be closed");
        }
    }

    /// Lets go of a sandbox that is somebody else's now.
    pub(super) fn leave(&mut self) {
        self.sandbox = None;
    }

    /// Ends the sandbox.
    pub(super) async fn close(&mut self) -> Result<(), SandboxError> {
        match self.sandbox.take() {
            Some((_, sandbox)) => sandbox.close().await,
            None => Ok(()),
        }
    }

    /// Which sandbox it is, if there is one.
    pub(super) fn boot(&self) -> Option<&BootId> {
        self.sandbox.as_ref().map(|(boot, _)| boot)
    }

    fn sandbox(&self) -> Result<&dyn Sandbox, SandboxError> {
        self.sandbox
            .as_ref()
            .map(|(_, sandbox)| &**sandbox)
            .ok_or(SandboxError::Closed)
    }

    /// Starts a fresh session.
    pub(super) async fn reset(&self, ids: &mut Ids, env: &Variables) -> Result<(), RunError> {
        let id = ids.take();
        let reset = self
            .call(|| async { self.sandbox()?.reset(id, env).await })
            .await?;
        if reset.ok {
            return Ok(());
        }
        Err(RunError::Sandbox(SandboxError::Setup {
            message: reset.detail.unwrap_or(reset.status),
        }))
    }

    /// Writes a file into the session's directory.
    pub(super) async fn put(&self, ids: &mut Ids, file: &File) -> Result<(), RunError> {
        let mut rest = file.content.clone();
        let mut append = false;
        loop {
            let part = rest.split_to(rest.len().min(MAX_FILE_PART));
            let id = ids.take();
            let put = self
                .call(|| async {
                    self.sandbox()?
                        .put_file(id, &file.path, part.clone(), append)
                        .await
                })
                .await?;
            if !put.ok {
                let why = put.detail.unwrap_or(put.status);
                return Err(RunError::Sandbox(SandboxError::Setup {
                    message: format!("{} could not be written: {why}", file.path),
                }));
            }
            if rest.is_empty() {
                return Ok(());
            }
            append = true;
        }
    }

    /// Runs code that no model has written.
    pub(super) async fn try_out(&self, ids: &mut Ids, cell: &Cell) -> Result<Executed, RunError> {
        self.execute(ids.take(), cell, &mut |_| {}).await
    }

    /// Runs code. A call that was made before, by whomever, is not made again: its answer comes.
    pub(super) async fn execute(
        &self,
        id: CallId,
        cell: &Cell,
        output: &mut (dyn FnMut(Chunk) + Send),
    ) -> Result<Executed, RunError> {
        let mut timeouts = 0;
        for _ in 0..PATIENCE {
            let sandbox = self.sandbox()?;
            let executed = tokio::select! {
                // Before the call, so that none is made any more.
                biased;
                () = self.stop.wanted() => {
                    // Who goes on asks for its answer by the same id; else nobody will want it.
                    if !self.stop.is_hand_over() {
                        let _ = sandbox.interrupt(id).await;
                    }
                    return Err(RunError::Interrupted);
                }
                executed = sandbox.execute(id, cell, output) => executed,
            };
            match executed {
                Err(error) => self.make_way(error, Some(id), &mut timeouts).await?,
                Ok(executed) => return Ok(executed),
            }
        }
        Err(RunError::Sandbox(SandboxError::Timeout {
            what: format!("call {id}"),
            after: PAUSE * PATIENCE,
        }))
    }

    /// Says that the answers of calls are in the journal.
    pub(super) async fn acknowledge(&self, id: CallId) {
        // What is not acknowledged now is with the next call.
        if let Ok(sandbox) = self.sandbox()
            && let Err(error) = sandbox.acknowledge(id).await
        {
            tracing::debug!(%error, "a call could not be acknowledged");
        }
    }

    /// Runs code again that made the variables of an agent; what came out differently, to be redacted.
    pub(super) async fn rebuild(
        &self,
        ids: &mut Ids,
        cells: &[Ran],
        cell: &Cell,
    ) -> Result<Vec<String>, RunError> {
        let mut differ = Vec::new();
        for (index, ran) in cells.iter().enumerate() {
            if !matches!(ran.status, Some(Status::Ok | Status::Error)) {
                differ.push(format!(
                    "call {} was not run again, since it did not end by itself",
                    index + 1
                ));
                continue;
            }
            let id = ids.take();
            let cell = Cell {
                code: ran.code.clone(),
                ..cell.clone()
            };
            let again = self.execute(id, &cell, &mut |_| {}).await?;
            self.acknowledge(id).await;
            if again.ok != ran.ok() || again.state == State::Lost {
                let how = again.error.map_or_else(
                    || format!("ended as {}", again.status.as_str()),
                    |raised| format!("raised {}: {}", raised.name, raised.message),
                );
                differ.push(format!("call {} {how}", index + 1));
            }
        }
        Ok(differ)
    }

    async fn call<T, F>(&self, what: impl Fn() -> F) -> Result<T, RunError>
    where
        F: Future<Output = Result<T, SandboxError>>,
    {
        let mut timeouts = 0;
        for _ in 0..PATIENCE {
            let result = tokio::select! {
                biased;
                () = self.stop.wanted() => return Err(RunError::Interrupted),
                result = what() => result,
            };
            match result {
                Err(error) => self.make_way(error, None, &mut timeouts).await?,
                Ok(value) => return Ok(value),
            }
        }
        Err(RunError::Sandbox(SandboxError::Timeout {
            what: "a sandbox that is busy".to_owned(),
            after: PAUSE * PATIENCE,
        }))
    }

    /// After an error, sees to it that the same call can be made again; the error, where that is of no use.
    async fn make_way(
        &self,
        error: SandboxError,
        own: Option<CallId>,
        timeouts: &mut u32,
    ) -> Result<(), RunError> {
        if let SandboxError::Busy {
            running: Some(other), ..
        } = error
            && Some(other) != own
        {
            // A call of an earlier driver: its answer was of no use to anybody.
            self.sandbox()?.interrupt(other).await?;
            sleep(PAUSE).await;
            return Ok(());
        }
        match error.class() {
            Class::Retry if *timeouts < TIMEOUTS => {
                tracing::warn!(%error, "asking the sandbox again");
                *timeouts += 1;
                Ok(())
            }
            Class::Wait => {
                sleep(PAUSE).await;
                Ok(())
            }
            _ => Err(error.into()),
        }
    }
}
