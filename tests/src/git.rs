//! A Git server of this machine, `git http-backend` behind HTTP, with one repository: who commits pushes to it, and
//! whoever likes fetches from it. Must not know what is committed, or by whom it is read.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderName};
use hyper::service::service_fn;
use hyper::{Request, Response, body::Incoming};
use hyper_util::rt::TokioIo;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::task::AbortHandle;
use tokio::time::timeout;

/// The branch that all is on.
pub const BRANCH: &str = "main";
/// How long Git may take for anything.
const PATIENCE: Duration = Duration::from_mins(1);

/// A repository on a server, and a checkout of it.
#[derive(Debug)]
pub struct Repository {
    directory: TempDir,
    address: SocketAddr,
    serving: AbortHandle,
}

impl Drop for Repository {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Repository {
    /// Starts one, with nothing in it.
    pub async fn start() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("the address of a listener");
        let served = directory.path().join("served");
        let root = served.clone();
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let root = root.clone();
                let service = service_fn(move |request| answered(root.clone(), request));
                tokio::spawn(async move {
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        })
        .abort_handle();
        let repository = Self {
            directory,
            address,
            serving,
        };
        let branch = format!("--initial-branch={BRANCH}");
        let bare = served.join("all.git");
        let bare = bare.to_str().expect("a path is text");
        let checkout = repository.checkout();
        let here = repository.directory.path();
        git(here, &["init", "--quiet", "--bare", &branch, bare]).await;
        git(here, &["-C", bare, "config", "http.receivepack", "true"]).await;
        let url = repository.url();
        git(here, &["init", "--quiet", &branch, "checkout"]).await;
        git(&checkout, &["remote", "add", "origin", &url]).await;
        repository
    }

    /// Where it is fetched from.
    pub fn url(&self) -> String {
        format!("http://{}/all.git", self.address)
    }

    /// The directory whose content is committed.
    pub fn checkout(&self) -> PathBuf {
        self.directory.path().join("checkout")
    }

    /// Commits the checkout as it is, and pushes that. The commit.
    pub async fn push(&self) -> String {
        let checkout = self.checkout();
        git(&checkout, &["add", "--all"]).await;
        git(&checkout, &["commit", "--quiet", "--message", "As it shall be"]).await;
        git(&checkout, &["push", "--quiet", "origin", BRANCH]).await;
        git(&checkout, &["rev-parse", "HEAD"]).await.trim().to_owned()
    }
}

/// Runs Git, which knows nobody's settings; what it prints.
async fn git(directory: &Path, arguments: &[&str]) -> String {
    let running = Command::new("git")
        .args(["-c", "user.name=tests", "-c", "user.email=tests@example.com"])
        .args(arguments)
        .current_dir(directory)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("NO_PROXY", "*")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = timeout(PATIENCE, running).await.expect("Git ends");
    let output = output.expect("Git is there");
    assert!(output.status.success(), "git {arguments:?}: {output:?}");
    String::from_utf8(output.stdout).expect("it prints text")
}

/// What `git http-backend` answers, which is a program of the CGI kind.
async fn answered(root: PathBuf, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let header = |name: HeaderName| {
        let value = head.headers.get(name).and_then(|it| it.to_str().ok());
        value.unwrap_or_default()
    };
    let mut backend = Command::new("git")
        .arg("http-backend")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("GIT_PROTOCOL", header(HeaderName::from_static("git-protocol")))
        .env("REMOTE_ADDR", "127.0.0.1")
        .env("REQUEST_METHOD", head.method.as_str())
        .env("PATH_INFO", head.uri.path())
        .env("QUERY_STRING", head.uri.query().unwrap_or_default())
        .env("CONTENT_TYPE", header(CONTENT_TYPE))
        .env("HTTP_CONTENT_ENCODING", header(CONTENT_ENCODING))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("Git is there");
    let mut stdin = backend.stdin.take().expect("it is piped");
    let asking = async move {
        // It may have answered before it has read all.
        let _ = stdin.write_all(&body).await;
    };
    let (output, ()) = timeout(PATIENCE, async {
        tokio::join!(backend.wait_with_output(), asking)
    })
    .await
    .expect("it ends");
    Ok(response(&output.expect("it can be waited for").stdout))
}

/// An answer in HTTP: a CGI program writes headers, one of which is the status, an empty line, and the body.
fn response(written: &[u8]) -> Response<Full<Bytes>> {
    let end = written.windows(4).position(|it| it == b"\r\n\r\n");
    let (head, body) = written.split_at(end.expect("it writes headers"));
    let mut response = Response::builder();
    for line in std::str::from_utf8(head).expect("headers are text").lines() {
        let (name, value) = line.split_once(": ").expect("a name and a value");
        response = match name {
            "Status" => response.status(&value[..3]),
            _ => response.header(name, value),
        };
    }
    let body = Bytes::copy_from_slice(&body[4..]);
    response.body(Full::new(body)).expect("a response")
}
