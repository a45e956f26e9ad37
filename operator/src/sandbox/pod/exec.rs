//! Streams to a Pod's daemon: the thin client, run by exec. Nothing else in the code uses exec.
//!
//! kube's `AttachedProcess` has habits that this file keeps from everybody else: its pipes hold 1 KiB unless
//! told otherwise, one unread stream stops all others, and nothing in it has a timeout. How it behaves when
//! streams end is in the tests: they have to pass before kube is raised.

use std::time::Duration;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{AttachParams, AttachedProcess};
use kube::client::UpgradeConnectionError;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::manifest::CONTAINER;
use super::start::ended;
use crate::sandbox::link::{Connection, Dial, DialError, Guard};
use crate::sandbox::process::Told;

/// The thin client: joins its standard streams to the daemon's socket.
const CONNECT: [&str; 5] = [
    "/opt/venv/bin/python-untraceable",
    "-I",
    "-S",
    "/opt/cataloger",
    "connect",
];

/// What a stream may hold that nobody has read yet.
const PIPE_BYTES: usize = 256 * 1024;

/// How long it may take to ask the API server about a Pod.
const ASK: Duration = Duration::from_secs(5);

/// How long a process whose streams have ended may take to say why.
const LAST_WORDS: Duration = Duration::from_millis(250);

/// Streams to the daemon of one Pod.
#[derive(Debug, Clone)]
pub struct ExecDial {
    pods: Api<Pod>,
    name: String,
    uid: String,
    command: Vec<String>,
}

impl ExecDial {
    /// To the Pod of this name, as long as it is the one with this UID.
    pub fn new(pods: Api<Pod>, name: impl Into<String>, uid: impl Into<String>) -> Self {
        Self::of(pods, name, uid, CONNECT)
    }

    /// With another command than the thin client, for comparison.
    pub fn of<'a>(
        pods: Api<Pod>,
        name: impl Into<String>,
        uid: impl Into<String>,
        command: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        Self {
            pods,
            name: name.into(),
            uid: uid.into(),
            command: command.into_iter().map(str::to_owned).collect(),
        }
    }

    /// What a failed exec means: the Pod is asked, which knows more.
    async fn explain(&self, error: kube::Error) -> DialError {
        if let kube::Error::UpgradeConnection(UpgradeConnectionError::ProtocolSwitch(status)) = &error
            && status.as_u16() == 403
        {
            return DialError::Unreachable(
                "exec is forbidden: the operator needs `get` and `create` on `pods/exec` there".into(),
            );
        }
        match timeout(ASK, self.pods.get_opt(&self.name)).await {
            Ok(Ok(None)) => DialError::Gone("its Pod was deleted".into()),
            Ok(Ok(Some(pod))) if pod.metadata.uid.as_deref() != Some(&self.uid) => {
                DialError::Gone("its Pod was deleted, and another one has its name".into())
            }
            Ok(Ok(Some(pod))) => match ended(&pod) {
                Some(how) => DialError::Gone(how),
                None => DialError::Unreachable(format!("exec failed: {error}")),
            },
            Ok(Err(_)) | Err(_) => DialError::Unreachable(format!("exec failed: {error}")),
        }
    }
}

#[async_trait]
impl Dial for ExecDial {
    async fn dial(&self) -> Result<Connection, DialError> {
        // Without stdin some runtimes cut the output off.
        let streams = AttachParams::default()
            .container(CONTAINER)
            .stdin(true)
            .stdout(true)
            .stderr(true)
            .max_stdin_buf_size(PIPE_BYTES)
            .max_stdout_buf_size(PIPE_BYTES)
            .max_stderr_buf_size(PIPE_BYTES);
        match self
            .pods
            .exec(&self.name, self.command.iter().map(String::as_str), &streams)
            .await
        {
            Ok(process) => joined(process),
            Err(error) => Err(self.explain(error).await),
        }
    }
}

fn joined(mut process: AttachedProcess) -> Result<Connection, DialError> {
    let (Some(stdin), Some(stdout), Some(stderr)) = (process.stdin(), process.stdout(), process.stderr())
    else {
        return Err(DialError::Unreachable("exec without standard streams".into()));
    };
    let told = Told::default();
    let listening = tokio::spawn(listen(stderr, told.clone()));
    Ok(Connection {
        reader: Box::new(stdout),
        writer: Box::new(stdin),
        guard: Box::new(Exec {
            process,
            told,
            listening,
        }),
    })
}

/// Unread, it would stop the other streams.
async fn listen(mut stderr: impl AsyncRead + Unpin, told: Told) {
    let mut buffer = [0; 1024];
    while let Ok(read @ 1..) = stderr.read(&mut buffer).await {
        told.add(&buffer[..read]);
    }
}

/// Dropping it breaks the websocket. The thin client in the Pod ends when it hears no more beats.
struct Exec {
    process: AttachedProcess,
    told: Told,
    listening: JoinHandle<()>,
}

#[async_trait]
impl Guard for Exec {
    async fn explain(&mut self) -> Option<String> {
        let status = self.process.take_status()?;
        // None: the connection was lost, and nobody knows of the process.
        let status = timeout(LAST_WORDS, status).await.ok()??;
        drop(timeout(LAST_WORDS, &mut self.listening).await);
        let how = status.message.or(status.reason);
        match (self.told.text(), how) {
            (Some(told), Some(how)) => Some(format!("{told} ({how})")),
            (told, how) => told.or(how),
        }
    }
}

impl Drop for Exec {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

#[cfg(test)]
mod tests;
