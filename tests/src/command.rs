//! Runs the real `cataloger`, with an environment of its own.

use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::model_server::{KEY, ModelServer};
use crate::place::interpreter;
use crate::s3;

/// How long a command may take.
const PATIENCE: Duration = Duration::from_mins(3);

/// What a command did.
#[derive(Debug)]
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// What it wrote to standard output.
    pub stdout: String,
    /// What it wrote to standard error.
    pub stderr: String,
}

impl Output {
    /// Its exit code, if it ended by itself.
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }
}

/// A command of `cataloger`.
#[derive(Debug)]
pub struct Cataloger(Command);

/// The program that was built with these tests.
pub fn program() -> PathBuf {
    let tests = std::env::current_exe().expect("a test is a program");
    let built = tests.ancestors().find_map(|folder| {
        let program = folder.join("cataloger");
        program.is_file().then_some(program)
    });
    built.expect("`cargo build --workspace --bins` has built cataloger")
}

impl Cataloger {
    /// `cataloger` with these arguments, and nothing in its environment but what it needs to run.
    pub async fn new<A: AsRef<str>>(arguments: impl IntoIterator<Item = A>) -> Self {
        let mut command = Command::new(program());
        for argument in arguments {
            command.arg(argument.as_ref());
        }
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", std::env::temp_dir())
            .env("USER", "tester")
            .env("CATALOGER_PYTHON", interpreter().await.python)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        Self(command)
    }

    /// With another argument, as it is.
    #[must_use]
    pub fn argument(mut self, argument: impl AsRef<std::ffi::OsStr>) -> Self {
        self.0.arg(argument);
        self
    }

    /// With a variable in its environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.0.env(name, value);
        self
    }

    /// In a directory.
    #[must_use]
    pub fn within(mut self, directory: &std::path::Path) -> Self {
        self.0.current_dir(directory);
        self
    }

    /// With models.
    #[must_use]
    pub fn models(self, server: &ModelServer) -> Self {
        self.env("ANTHROPIC_BASE_URL", &server.url())
            .env("ANTHROPIC_API_KEY", KEY)
            .env("OPENAI_BASE_URL", &format!("{}/v1", server.url()))
            .env("OPENAI_API_KEY", KEY)
    }

    /// With a bucket at an address.
    #[must_use]
    pub fn bucket(self, endpoint: &str) -> Self {
        self.env("AWS_ENDPOINT_URL_S3", endpoint)
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", s3::ID)
            .env("AWS_SECRET_ACCESS_KEY", s3::SECRET)
    }

    /// Starts it.
    pub fn start(mut self) -> Running {
        Running(self.0.spawn().expect("cataloger starts"))
    }

    /// Runs it to its end.
    pub async fn run(self) -> Output {
        self.start().end().await
    }
}

/// A command that runs.
#[derive(Debug)]
pub struct Running(Child);

impl Running {
    /// Its process.
    pub fn pid(&self) -> u32 {
        self.0.id().expect("it was not waited for")
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = i32::try_from(self.pid()).expect("process ids are small");
        let pid = rustix::process::Pid::from_raw(pid).expect("a process id");
        // It may have ended by itself.
        let _ = rustix::process::kill_process(pid, signal);
    }

    /// Waits for its end.
    pub async fn end(self) -> Output {
        self.end_within(PATIENCE).await
    }

    /// Waits for its end, for as long as that may take.
    pub async fn end_within(mut self, patience: Duration) -> Output {
        let mut stdout = self.0.stdout.take().expect("it is piped");
        let mut stderr = self.0.stderr.take().expect("it is piped");
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let all = async {
            tokio::join!(
                self.0.wait(),
                stdout.read_to_end(&mut out),
                stderr.read_to_end(&mut err)
            )
        };
        let (status, ..) = timeout(patience, all).await.expect("it ends in time");
        Output {
            status: status.expect("it can be waited for"),
            stdout: String::from_utf8_lossy(&out).into_owned(),
            stderr: String::from_utf8_lossy(&err).into_owned(),
        }
    }
}
