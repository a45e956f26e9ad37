//! [`Client`]: a [`Sandbox`] over any stream that can be dialled again.
//!
//! An actor owns the connection. When it breaks, the actor dials at once, then ever more slowly, and asks
//! again, with the same ids, for every answer that is still waited for. It gives up when a deadline has
//! passed, or when it learns that the sandbox is gone, has restarted, or belongs to a later controller.
//!
//! Must not know what carries the streams.

mod actor;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};
use tokio_util::task::AbortOnDropHandle;

use self::actor::{Actor, Command, RECONNECTS, Request, Shared, Waiter, closed};
pub use super::link::{Connection, Dial, DialError, Guard, Identity};
use super::protocol::NUMBER_LIMIT;
use super::protocol::frames::MAX_FRAME;
use super::protocol::messages::{ControllerMessage, Execute, FileData, PutFile, Reset, render};
use super::protocol::seal::TAG_BYTES;
use super::{
    BootId, CallId, Cell, Chunk, DaemonStatus, Executed, FilePut, MAX_FILE_PART, Sandbox, SandboxError,
    Variables, WasReset,
};

/// How a client comes to a sandbox.
#[derive(Debug)]
pub enum Attach {
    /// The caller has just made it, and nothing has run in it: an unclaimed daemon gets its key, and the
    /// first session this environment. Once the handshake is done, no claim is sent ever again.
    New {
        /// The first session's environment.
        env: Variables,
    },
    /// Somebody (an earlier leader, say) has claimed it. It gets no claim, whatever it says.
    Existing {
        /// Which daemon it was, if that is known: another one is a loss.
        boot: Option<BootId>,
    },
}

/// How patient a client is.
#[derive(Debug, Clone)]
pub struct Timing {
    /// For dialling and shaking hands, each time.
    pub handshake: Duration,
    /// How long the sandbox may be out of reach before it counts as lost.
    pub outage: Duration,
    /// The first wait between two tries (the very first retry waits for nothing).
    pub backoff: Duration,
    /// The longest.
    pub backoff_limit: Duration,
    /// How long after its timeout and its grace an `execute` may take to be answered; also how long any
    /// other call may take. Only time with a connection counts. The daemon answers in time by itself, but
    /// may have to start a session first, and three times in vain: so this is minutes.
    pub slack: Duration,
    /// How long the daemon may take to end everything.
    pub close: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            outage: Duration::from_mins(1),
            backoff: Duration::from_millis(20),
            backoff_limit: Duration::from_secs(2),
            slack: Duration::from_mins(7),
            close: Duration::from_secs(10),
        }
    }
}

/// How often a connection to a sandbox that broke was made anew, by all clients of this process. For who measures.
pub fn reconnects() -> u64 {
    RECONNECTS.load(Ordering::Relaxed)
}

/// A sandbox over streams that may break.
///
/// Dropping the client ends its connection; the sandbox, and the call that runs in it, live on.
pub struct Client {
    commands: mpsc::UnboundedSender<Command>,
    shared: Arc<Shared>,
    boot: BootId,
    patience: Duration,
    _actor: AbortOnDropHandle<()>,
}

impl fmt::Debug for Client {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Client")
            .field("boot", &self.boot)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// Connects, and waits until the daemon is ready.
    pub async fn connect(
        dial: impl Dial,
        identity: Identity,
        attach: Attach,
        timing: Timing,
    ) -> Result<Self, SandboxError> {
        let (commands, inbox) = mpsc::unbounded_channel();
        let (ready, first) = oneshot::channel();
        let shared = Arc::new(Shared::default());
        let patience = timing.outage + timing.slack;
        let actor = Actor::new(dial, identity, attach, timing, Arc::clone(&shared), inbox, ready);
        let actor = AbortOnDropHandle::new(tokio::spawn(actor.run()));
        match first.await {
            Ok(boot) => Ok(Self {
                commands,
                shared,
                boot,
                patience,
                _actor: actor,
            }),
            Err(_) => Err(shared.end()),
        }
    }

    fn command(&self, command: Command) -> Result<(), SandboxError> {
        self.commands.send(command).map_err(|_| self.shared.end())
    }

    /// Asks for a call, and has `output` see its output until the answer is there.
    async fn call<T: DeserializeOwned>(
        &self,
        id: CallId,
        kind: &'static str,
        message: &ControllerMessage,
        budget: Duration,
        output: Option<&mut (dyn FnMut(Chunk) + Send)>,
    ) -> Result<T, SandboxError> {
        if id.0 == 0 || id.0 >= NUMBER_LIMIT {
            return Err(SandboxError::invalid(format!(
                "{id} can't be the id of a call: they go from 1 to 2^53 - 1"
            )));
        }
        let body = render(message).map_err(|error| SandboxError::invalid(error.to_string()))?;
        if body.len() + TAG_BYTES > MAX_FRAME {
            let message = format!(
                "{kind} of {} bytes is over the protocol's limit of {MAX_FRAME} bytes",
                body.len()
            );
            return Err(SandboxError::Invalid { message });
        }
        let (chunks, mut incoming) = mpsc::unbounded_channel();
        let (reply, mut answer) = oneshot::channel();
        let chunks = output.is_some().then_some(chunks);
        let waiter = Waiter {
            chunks,
            seen: 0,
            reply,
        };
        self.command(Command::Call(Request {
            id,
            kind,
            body: body.into(),
            budget,
            waiter,
        }))?;
        self.shared.last.fetch_max(id.0, Ordering::Relaxed);

        let mut ignored = |_: Chunk| {};
        let output = output.unwrap_or(&mut ignored);
        let answer = loop {
            tokio::select! {
                biased;
                Some(chunk) = incoming.recv() => output(chunk),
                answer = &mut answer => break answer,
            }
        };
        while let Ok(chunk) = incoming.try_recv() {
            output(chunk);
        }
        let body = answer.map_err(|_| self.shared.end())??;
        serde_json::from_value(Value::Object(body))
            .map_err(|_| SandboxError::protocol(format!("the answer to {kind} {id} is not as expected")))
    }
}

/// Durations on the wire are whole milliseconds, and a limit that is not zero must not become zero.
fn milliseconds(duration: Duration) -> u64 {
    let rounded = duration.as_nanos().div_ceil(1_000_000);
    u64::try_from(rounded).unwrap_or(u64::MAX).min(NUMBER_LIMIT - 1)
}

#[async_trait]
impl Sandbox for Client {
    async fn execute(
        &self,
        id: CallId,
        cell: &Cell,
        output: &mut (dyn FnMut(Chunk) + Send),
    ) -> Result<Executed, SandboxError> {
        let message = ControllerMessage::Execute(Execute {
            id,
            code: cell.code.clone(),
            timeout_ms: milliseconds(cell.timeout),
            grace_ms: milliseconds(cell.grace),
            max_rows: cell.max_rows.into(),
            output_limit: cell.output_limit.into(),
        });
        let budget = cell.timeout + cell.grace;
        self.call(id, "execute", &message, budget, Some(output)).await
    }

    async fn reset(&self, id: CallId, env: &Variables) -> Result<WasReset, SandboxError> {
        let message = ControllerMessage::Reset(Reset { id, env: env.clone() });
        self.call(id, "reset", &message, Duration::ZERO, None).await
    }

    async fn put_file(
        &self,
        id: CallId,
        path: &str,
        content: Bytes,
        append: bool,
    ) -> Result<FilePut, SandboxError> {
        if content.len() > MAX_FILE_PART {
            return Err(SandboxError::invalid(format!(
                "{path}: {} bytes are too many for one put_file: send parts of at most {MAX_FILE_PART} bytes, each after the first with append",
                content.len()
            )));
        }
        let data = FileData(content);
        let message = ControllerMessage::PutFile(PutFile {
            id,
            path: path.to_owned(),
            data,
            append,
        });
        self.call(id, "put_file", &message, Duration::ZERO, None).await
    }

    async fn interrupt(&self, id: CallId) -> Result<(), SandboxError> {
        self.command(Command::Interrupt(id))
    }

    async fn acknowledge(&self, through: CallId) -> Result<(), SandboxError> {
        self.command(Command::Acknowledge(through))
    }

    async fn status(&self) -> Result<DaemonStatus, SandboxError> {
        let (reply, answer) = oneshot::channel();
        self.command(Command::Status(reply))?;
        // An outage ends in a loss by itself; what is bounded here is a daemon that is there and silent.
        let after = self.patience;
        match tokio::time::timeout(after, answer).await {
            Ok(answer) => answer.map_err(|_| self.shared.end()),
            Err(_) => Err(SandboxError::Timeout {
                what: "status".into(),
                after,
            }),
        }
    }

    async fn close(&self) -> Result<(), SandboxError> {
        let (reply, done) = oneshot::channel();
        match self.command(Command::Close(reply)) {
            Ok(()) => done.await.unwrap_or_else(|_| closed(&self.shared.end())),
            Err(end) => closed(&end),
        }
    }

    fn last_call(&self) -> CallId {
        CallId(self.shared.last.load(Ordering::Relaxed))
    }

    fn boot(&self) -> BootId {
        self.boot.clone()
    }
}

/// A sandbox that has a client of its daemon: its calls are the client's, and it ends in its own way.
#[async_trait]
pub trait Driven: Send + Sync {
    /// The client.
    fn client(&self) -> &Client;

    /// As [`Sandbox::close`].
    async fn end(&self) -> Result<(), SandboxError>;
}

#[async_trait]
impl<T: Driven> Sandbox for T {
    async fn execute(
        &self,
        id: CallId,
        cell: &Cell,
        output: &mut (dyn FnMut(Chunk) + Send),
    ) -> Result<Executed, SandboxError> {
        self.client().execute(id, cell, output).await
    }

    async fn reset(&self, id: CallId, env: &Variables) -> Result<WasReset, SandboxError> {
        self.client().reset(id, env).await
    }

    async fn put_file(
        &self,
        id: CallId,
        path: &str,
        content: Bytes,
        append: bool,
    ) -> Result<FilePut, SandboxError> {
        self.client().put_file(id, path, content, append).await
    }

    async fn interrupt(&self, id: CallId) -> Result<(), SandboxError> {
        self.client().interrupt(id).await
    }

    async fn acknowledge(&self, through: CallId) -> Result<(), SandboxError> {
        self.client().acknowledge(through).await
    }

    async fn status(&self) -> Result<DaemonStatus, SandboxError> {
        self.client().status().await
    }

    async fn close(&self) -> Result<(), SandboxError> {
        self.end().await
    }

    fn last_call(&self) -> CallId {
        self.client().last_call()
    }

    fn boot(&self) -> BootId {
        self.client().boot()
    }
}

#[cfg(test)]
mod tests;
