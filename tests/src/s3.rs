//! S3 servers for tests: a real one (versitygw), and a made-up one that misbehaves as it is told.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use cataloger::store::s3::{S3Credentials, S3Timing};
use cataloger::store::{S3Options, S3Store};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tempfile::TempDir;
use tokio::task::JoinHandle;

use crate::script::tool;

const START: Duration = Duration::from_mins(1);
/// The name of that key.
pub const ID: &str = "tests";

/// The secret key of every server of the tests.
pub const SECRET: &str = "s3-secret/key+of=tests";

/// The bucket that every server has.
pub const BUCKET: &str = "pages";

/// Where the server of the tests' cluster is, for this machine.
pub const ENDPOINT: &str = "http://198.19.0.34:7070";

/// Short times, so that a test of what hangs does not take long itself.
pub const TIMING: S3Timing = S3Timing {
    connect: Duration::from_secs(2),
    read: Duration::from_secs(20),
    attempt: Duration::from_secs(20),
    operation: Duration::from_secs(40),
    attempts: 3,
};

fn credentials(id: &str, secret: &str) -> S3Credentials {
    S3Credentials {
        access_key_id: id.into(),
        secret_access_key: secret.into(),
        session_token: None,
    }
}

fn options(endpoint: &str) -> S3Options {
    S3Options {
        endpoint: Some(endpoint.to_owned()),
        region: Some("us-east-1".into()),
        credentials: Some(credentials(ID, SECRET)),
        timing: TIMING,
        ..S3Options::new(BUCKET)
    }
}

/// How to reach the server of the tests' cluster from this machine.
pub fn in_cluster() -> S3Options {
    options(ENDPOINT)
}

/// A real S3 server with a directory of its own. It ends when it is dropped.
#[derive(Debug)]
pub struct Server {
    process: Child,
    directory: TempDir,
    endpoint: String,
    keys: (&'static str, &'static str),
}

/// Starts versitygw on a free port of an address, with the id and the secret of who may do everything, and waits for it;
/// its log goes to a directory.
pub(crate) fn versitygw(
    directory: &Path,
    address: &str,
    (id, secret): (&str, &str),
    arguments: &[&str],
) -> (Child, String) {
    let path = directory.join("log");
    let log = std::fs::File::create(&path).expect("a log");
    let port = TcpListener::bind((address, 0))
        .and_then(|listener| listener.local_addr())
        .expect("a port of an own address")
        .port();
    let address = format!("{address}:{port}");
    let mut process = Command::new(tool("versitygw"))
        .args(["--quiet", "--keep-alive", "--port", &address])
        .args(arguments)
        .env("ROOT_ACCESS_KEY", id)
        .env("ROOT_SECRET_KEY", secret)
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("a log"))
        .stderr(log)
        .spawn()
        .expect("versitygw starts");
    let deadline = Instant::now() + START;
    while TcpStream::connect(&address).is_err() {
        if let Ok(Some(status)) = process.try_wait() {
            let log = std::fs::read_to_string(&path);
            panic!("versitygw ended: {status}: {log:?}");
        }
        assert!(Instant::now() < deadline, "versitygw does not answer in time");
        std::thread::yield_now();
    }
    (process, address)
}

impl Server {
    /// Starts one with an empty bucket.
    pub fn start() -> Self {
        Self::start_with(BUCKET, &[])
    }

    /// Starts one with an empty bucket of this name, and more arguments.
    pub(crate) fn start_with(bucket: &str, more: &[&str]) -> Self {
        Self::started("127.0.0.1", (ID, SECRET), bucket, more)
    }

    /// Starts one at an address of this machine, since Pods don't reach its loopback, with keys of its own.
    pub fn start_at(address: &str, keys: (&'static str, &'static str)) -> Self {
        Self::started(address, keys, BUCKET, &[])
    }

    fn started(address: &str, keys: (&'static str, &'static str), bucket: &str, more: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let data = directory.path().join("data");
        std::fs::create_dir_all(data.join(bucket)).expect("a bucket");
        let data = data.to_str().expect("a path is text");
        let arguments = [more, &["posix", data]].concat();
        let (process, address) = versitygw(directory.path(), address, keys, &arguments);
        Self {
            process,
            directory,
            endpoint: format!("http://{address}"),
            keys,
        }
    }

    /// Where it is.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// How to reach its bucket.
    pub fn options(&self) -> S3Options {
        let (id, secret) = self.keys;
        S3Options {
            credentials: Some(credentials(id, secret)),
            ..options(&self.endpoint)
        }
    }

    /// A store in its bucket, with connections of its own.
    pub async fn store(&self) -> S3Store {
        S3Store::open(self.options()).await.expect("a store")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = &self.directory;
    }
}

/// What a made-up server does wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// It overwrites, whatever the condition says.
    IgnoresCondition,
    /// It says that the object is there, and overwrites it.
    OverwritesAndDenies,
    /// It answers so many requests with an error, then does what it is asked.
    Answers {
        /// How many.
        times: usize,
        /// The status.
        status: u16,
        /// The code.
        code: &'static str,
    },
    /// It does what it is asked the first so many times, but the answer is lost.
    LosesAnswers(usize),
    /// It never answers.
    Hangs,
}

#[derive(Debug)]
struct State {
    fault: Fault,
    objects: BTreeMap<String, Bytes>,
    requests: Vec<String>,
}

/// A made-up S3 server: objects, their creation and removal, and a fault. It checks no signature.
#[derive(Debug)]
pub struct Fake {
    state: Arc<Mutex<State>>,
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Fake {
    /// Starts one.
    pub async fn start(fault: Fault) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port of the loopback");
        let address = listener.local_addr().expect("an address");
        let state = Arc::new(Mutex::new(State {
            fault,
            objects: BTreeMap::new(),
            requests: Vec::new(),
        }));
        let shared = Arc::clone(&state);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let state = Arc::clone(&shared);
                tokio::spawn(async move {
                    let service = service_fn(|request| answer(Arc::clone(&state), request));
                    let connection = hyper::server::conn::http1::Builder::new();
                    // A lost answer ends its connection with an error.
                    let _ = connection.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Self { state, address, task }
    }

    /// How to reach its bucket.
    pub fn options(&self) -> S3Options {
        options(&format!("http://{}", self.address))
    }

    /// A store in its bucket.
    pub async fn store(&self) -> S3Store {
        S3Store::open(self.options()).await.expect("a store")
    }

    /// Method and path of every request so far.
    pub fn requests(&self) -> Vec<String> {
        lock(&self.state).requests.clone()
    }

    /// The objects that it holds.
    pub fn objects(&self) -> BTreeMap<String, Bytes> {
        lock(&self.state).objects.clone()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn lock(state: &Mutex<State>) -> std::sync::MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Debug)]
struct Lost;

impl std::fmt::Display for Lost {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("the answer is lost")
    }
}

impl std::error::Error for Lost {}

async fn answer(state: Arc<Mutex<State>>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Lost> {
    let (head, body) = request.into_parts();
    let content = body.collect().await.map_err(|_| Lost)?.to_bytes();
    let path = head.uri.path().to_owned();
    let only_new = head.headers.contains_key("if-none-match");
    let fault = {
        let mut state = lock(&state);
        state.requests.push(format!("{} {path}", head.method));
        let fault = state.fault.clone();
        match &mut state.fault {
            Fault::Answers { times, .. } | Fault::LosesAnswers(times) => *times = times.saturating_sub(1),
            _ => {}
        }
        fault
    };
    match fault {
        Fault::Hangs => std::future::pending::<Result<(), Infallible>>()
            .await
            .map_or_else(|never| match never {}, |()| Err(Lost)),
        Fault::Answers {
            times: 1..,
            status,
            code,
        } => Ok(failure(status, code)),
        fault => {
            let done = serve(&mut lock(&state), &head.method, path, content, only_new, &fault);
            match fault {
                Fault::LosesAnswers(1..) => Err(Lost),
                _ => Ok(done),
            }
        }
    }
}

fn serve(
    state: &mut State,
    method: &Method,
    path: String,
    content: Bytes,
    only_new: bool,
    fault: &Fault,
) -> Response<Full<Bytes>> {
    let exists = state.objects.contains_key(&path);
    match *method {
        Method::PUT => {
            let refused = only_new && exists && *fault != Fault::IgnoresCondition;
            if !refused || *fault == Fault::OverwritesAndDenies {
                state.objects.insert(path, content);
            }
            if refused {
                failure(412, "PreconditionFailed")
            } else {
                Response::new(Full::default())
            }
        }
        Method::GET => match state.objects.get(&path) {
            Some(content) => Response::new(Full::new(content.clone())),
            None => failure(404, "NoSuchKey"),
        },
        Method::DELETE => {
            state.objects.remove(&path);
            let mut response = Response::new(Full::default());
            *response.status_mut() = StatusCode::NO_CONTENT;
            response
        }
        _ => failure(501, "NotImplemented"),
    }
}

fn failure(status: u16, code: &str) -> Response<Full<Bytes>> {
    let text = format!("<Error><Code>{code}</Code><Message>as the test wants it</Message></Error>");
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = StatusCode::from_u16(status).expect("a status");
    response
}
