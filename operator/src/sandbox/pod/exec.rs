//! Streams to a Pod's daemon: the thin client, run by exec. Nothing else in the code uses exec.
//!
//! kube's `AttachedProcess` has habits that this file keeps from everybody else: its pipes hold 1 KiB unless
//! told otherwise, one unread stream stops all others, and nothing in it has a timeout. How it behaves when
//! streams end is in the tests: they have to pass before kube is raised.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{AttachParams, AttachedProcess};
use kube::client::UpgradeConnectionError;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::manifest::CONTAINER;
use super::start::{ended, leaving};
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

/// How often, and after which times, the reason of a Pod's end is looked for.
const LOOKS: u32 = 5;
const LOOK: Duration = Duration::from_millis(300);

/// How long a process whose streams have ended may take to say why.
const LAST_WORDS: Duration = Duration::from_millis(250);

/// Streams to the daemon of one Pod.
#[derive(Debug, Clone)]
pub struct ExecDial {
    pods: Api<Pod>,
    name: String,
    uid: String,
    command: Vec<String>,
    /// Why the Pod is leaving, once that is known.
    known: Arc<Mutex<Option<String>>>,
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
            known: Arc::default(),
        }
    }

    /// What has become of the Pod: why there is none any more, if that is so.
    async fn gone(&self) -> Option<String> {
        let pod = timeout(ASK, self.pods.get_opt(&self.name)).await.ok()?.ok()?;
        let (why, over) = match pod.filter(|pod| pod.metadata.uid.as_deref() == Some(&self.uid)) {
            Some(pod) => (leaving(&pod), ended(&pod).is_some()),
            None => (Some("its Pod was deleted".to_owned()), true),
        };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        // What was said first says why; later it is only gone.
        if known.is_none() {
            *known = why;
        }
        known.clone().filter(|_| over)
    }

    async fn exec(&self) -> kube::Result<AttachedProcess> {
        // Without stdin some runtimes cut the output off.
        let streams = AttachParams::default()
            .container(CONTAINER)
            .stdin(true)
            .stdout(true)
            .stderr(true)
            .max_stdin_buf_size(PIPE_BYTES)
            .max_stdout_buf_size(PIPE_BYTES)
            .max_stderr_buf_size(PIPE_BYTES);
        let command = self.command.iter().map(String::as_str);
        self.pods.exec(&self.name, command, &streams).await
    }
}

#[async_trait]
impl Dial for ExecDial {
    async fn dial(&self) -> Result<Connection, DialError> {
        // An exec may open and then say that there is no container: the Pod knows better whether to go on.
        let (process, gone) = tokio::join!(self.exec(), self.gone());
        match (process, gone) {
            (_, Some(why)) => Err(DialError::Gone(why)),
            (Ok(process), None) => joined(process),
            (Err(error), None) => Err(DialError::Unreachable(refused(&error))),
        }
    }

    async fn epitaph(&self) -> Option<String> {
        for _ in 0..LOOKS {
            drop(self.gone().await);
            let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).clone();
            if known.is_some() {
                return known;
            }
            // The daemon was quicker than who writes down why it was ended.
            sleep(LOOK).await;
        }
        None
    }
}

fn refused(error: &kube::Error) -> String {
    let forbidden = match error {
        kube::Error::UpgradeConnection(UpgradeConnectionError::ProtocolSwitch(status)) => {
            status.as_u16() == 403
        }
        _ => false,
    };
    if forbidden {
        "exec is forbidden: the operator needs `get` and `create` on `pods/exec` there".to_owned()
    } else {
        format!("exec failed: {error}")
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
