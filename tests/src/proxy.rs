//! Stands between a program and a real S3 server, and tells a test of each answer before the program has it: the
//! moment to end the program.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

/// An answer of the server.
#[derive(Debug)]
pub struct Answer {
    /// What was done.
    pub method: String,
    /// To what.
    pub path: String,
    /// With what.
    pub body: Bytes,
    /// How it went.
    pub status: u16,
}

impl Answer {
    /// The entry of a journal that was created, if it was one.
    pub fn entry(&self) -> Option<u32> {
        let name = self.path.split_once("/.journal/")?.1.split_once('/')?.1;
        let number = name.strip_suffix(".json")?.parse().ok()?;
        (self.method == "PUT" && self.status == 200).then_some(number)
    }
}

/// What a proxy does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// It answers with this status instead of asking the server.
    Answers(u16),
    /// It asks the server, but its answer is lost.
    LosesTheAnswer,
}

/// The proxy. It ends when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    accepting: AbortHandle,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Proxy {
    /// Starts one before the server at an address such as `http://127.0.0.1:9000`.
    pub async fn start(upstream: &str, tell: impl Fn(&Answer) + Send + Sync + 'static) -> Self {
        Self::with_trouble(upstream, tell, |_, _| None).await
    }

    /// With trouble for some methods and paths.
    pub async fn with_trouble(
        upstream: &str,
        tell: impl Fn(&Answer) + Send + Sync + 'static,
        trouble: impl Fn(&str, &str) -> Option<Trouble> + Send + Sync + 'static,
    ) -> Self {
        let upstream = upstream.trim_start_matches("http://").to_owned();
        let (tell, trouble) = (Arc::new(tell), Arc::new(trouble));
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port of the loopback");
        let address = listener.local_addr().expect("the address of a listener");
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (upstream, tell, trouble) = (upstream.clone(), Arc::clone(&tell), Arc::clone(&trouble));
                let service = service_fn(move |request: Request<Incoming>| {
                    let (upstream, tell) = (upstream.clone(), Arc::clone(&tell));
                    let trouble = trouble(request.method().as_str(), request.uri().path());
                    async move {
                        if let Some(Trouble::Answers(status)) = trouble {
                            return refuse(request, status).await;
                        }
                        let response = forward(&upstream, &*tell, request).await?;
                        match trouble {
                            Some(_) => Err(io::Error::other("the answer is lost")),
                            None => Ok(response),
                        }
                    }
                });
                tokio::spawn(async move {
                    // The program may be gone.
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        })
        .abort_handle();
        Self { address, accepting }
    }

    /// Where it is.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

async fn refuse(request: Request<Incoming>, status: u16) -> io::Result<Response<Full<Bytes>>> {
    // Who does not read all that comes breaks the connection.
    request.into_body().collect().await.map_err(io::Error::other)?;
    let text = "<Error><Code>ServiceUnavailable</Code><Message>as the test wants it</Message></Error>";
    Response::builder()
        .status(status)
        .body(Full::new(Bytes::from_static(text.as_bytes())))
        .map_err(io::Error::other)
}

/// The host stays as it is: it is part of the signature.
async fn forward(
    upstream: &str,
    tell: &(dyn Fn(&Answer) + Send + Sync),
    request: Request<Incoming>,
) -> io::Result<Response<Full<Bytes>>> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let (method, path) = (parts.method.to_string(), parts.uri.path().to_owned());
    let stream = TcpStream::connect(upstream).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(io::Error::other)?;
    tokio::spawn(connection);
    let response = sender
        .send_request(Request::from_parts(parts, Full::new(body.clone())))
        .await
        .map_err(io::Error::other)?;
    let (parts, answer) = response.into_parts();
    let content = answer.collect().await.map_err(io::Error::other)?.to_bytes();
    tell(&Answer {
        method,
        path,
        body,
        status: parts.status.as_u16(),
    });
    Ok(Response::from_parts(parts, Full::new(content)))
}
