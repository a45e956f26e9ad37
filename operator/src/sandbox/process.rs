//! [`ProcessDial`]: a stream is the stdin and the stdout of a process that is started for it.
//!
//! Must not know what the process is. It lives in a process group of its own, so that Ctrl-C on a terminal
//! is not for it, and is killed when its connection is dropped.

use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::io::AsyncReadExt as _;
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::link::{Connection, Dial, DialError, Guard};

/// How much of what a process says on stderr is kept for error messages.
const TOLD_BYTES: usize = 4096;

/// How long a process whose streams have ended may take to say why.
const LAST_WORDS: Duration = Duration::from_millis(250);

/// The end of what a process said on stderr.
#[derive(Debug, Clone, Default)]
pub(super) struct Told(Arc<Mutex<Vec<u8>>>);

impl Told {
    pub(super) fn add(&self, bytes: &[u8]) {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        told.extend_from_slice(bytes);
        let excess = told.len().saturating_sub(TOLD_BYTES);
        told.drain(..excess);
    }

    /// What was said, if anything.
    pub(super) fn text(&self) -> Option<String> {
        let told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let text = String::from_utf8_lossy(&told).trim().to_owned();
        (!text.is_empty()).then_some(text)
    }
}

/// Starts a process for each stream.
pub struct ProcessDial {
    command: Box<dyn Fn() -> std::process::Command + Send + Sync>,
}

impl std::fmt::Debug for ProcessDial {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("ProcessDial")
    }
}

impl ProcessDial {
    /// `command` makes the command, but for its standard streams and its process group.
    pub fn new(command: impl Fn() -> std::process::Command + Send + Sync + 'static) -> Self {
        Self {
            command: Box::new(command),
        }
    }
}

#[async_trait]
impl Dial for ProcessDial {
    async fn dial(&self) -> Result<Connection, DialError> {
        let mut command = Command::from((self.command)());
        let program = command.as_std().get_program().to_owned();
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command
            .kill_on_drop(true)
            .process_group(0)
            .spawn()
            .map_err(|error| {
                DialError::Unreachable(format!("{} could not be started: {error}", program.display()))
            })?;
        let (Some(stdin), Some(stdout), Some(mut stderr)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(DialError::Unreachable(
                "a process without standard streams".into(),
            ));
        };
        let told = Told::default();
        let listening = tokio::spawn({
            let told = told.clone();
            async move {
                let mut buffer = [0; 1024];
                while let Ok(read @ 1..) = stderr.read(&mut buffer).await {
                    told.add(&buffer[..read]);
                }
            }
        });
        let guard = Box::new(Process {
            child,
            told,
            listening,
        });
        Ok(Connection {
            reader: Box::new(stdout),
            writer: Box::new(stdin),
            guard,
        })
    }
}

struct Process {
    child: Child,
    told: Told,
    listening: JoinHandle<()>,
}

#[async_trait]
impl Guard for Process {
    async fn explain(&mut self) -> Option<String> {
        // One that runs on (the stream was silent, say) has nothing to explain.
        let status = timeout(LAST_WORDS, self.child.wait()).await.ok()?.ok()?;
        drop(timeout(LAST_WORDS, &mut self.listening).await);
        Some(match self.told.text() {
            Some(told) => format!("{told} ({status})"),
            None => status.to_string(),
        })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    fn shell(script: &'static str) -> ProcessDial {
        ProcessDial::new(move || {
            let mut command = std::process::Command::new("/bin/sh");
            command.args(["-c", script]);
            command
        })
    }

    #[tokio::test]
    async fn streams_are_joined_and_the_end_is_explained() {
        let mut connection = shell("echo 'no daemon here' >&2; head -c 5; exit 3")
            .dial()
            .await
            .unwrap();
        connection.writer.write_all(b"hello").await.unwrap();
        let mut said = String::new();
        connection.reader.read_to_string(&mut said).await.unwrap();
        assert_eq!(said, "hello");
        assert_eq!(
            connection.guard.explain().await.unwrap(),
            "no daemon here (exit status: 3)"
        );
    }

    #[tokio::test]
    async fn a_dropped_connection_ends_its_process() {
        let mut connection = shell("echo $$; exec sleep 1000").dial().await.unwrap();
        let mut pid = [0; 16];
        let read = connection.reader.read(&mut pid).await.unwrap();
        let proc = format!("/proc/{}", std::str::from_utf8(&pid[..read]).unwrap().trim());
        assert!(std::path::Path::new(&proc).exists());
        assert_eq!(connection.guard.explain().await, None);
        drop(connection);
        for _ in 0..100 {
            if !std::path::Path::new(&proc).exists() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{proc} lives on");
    }

    #[tokio::test]
    async fn what_can_not_be_started_is_told() {
        let dial = ProcessDial::new(|| std::process::Command::new("/no/such/program"));
        let error = dial.dial().await.unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("/no/such/program could not be started"),
            "{error}"
        );
    }
}
