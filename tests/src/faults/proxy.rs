//! A proxy before one of the places that an operator talks to by HTTP. It is spoken to in the clear; to an API server it
//! speaks as the configuration of whoever made it says.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, UPGRADE};
use hyper::http::request::Parts;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connect, HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioIo};
use kube::Config;
use kube::client::ConfigExt as _;
use secrecy::ExposeSecret as _;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::sleep;

use super::{Act, Moment, Place, Points, exec, names};

type Body = UnsyncBoxBody<Bytes, io::Error>;
type Send = Box<
    dyn Fn(Request<Full<Bytes>>) -> BoxFuture<'static, io::Result<Response<Incoming>>>
        + std::marker::Send
        + Sync,
>;

/// The proxy. It ends when it is dropped, and takes no connection from then on.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    severed: watch::Sender<()>,
    accepting: AbortHandle,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Proxy {
    /// Before a bucket at an address such as `http://127.0.0.1:9000`.
    pub async fn bucket(upstream: &str, points: &Points) -> Self {
        Self::plain(Place::Bucket, upstream, points).await
    }

    /// Before models at such an address.
    pub async fn model(upstream: &str, points: &Points) -> Self {
        Self::plain(Place::Model, upstream, points).await
    }

    /// Before an API server, in the name of whoever the configuration is of.
    pub async fn api(config: &Config, points: &Points) -> Self {
        let https = config
            .rustls_https_connector_with_connector(tcp())
            .expect("it can be connected to");
        let token = config.auth_info.token.as_ref().map(|token| {
            HeaderValue::from_str(&format!("Bearer {}", token.expose_secret())).expect("a token is text")
        });
        let base = config.cluster_url.to_string();
        Self::start(Onward {
            place: Place::Api,
            base: base.trim_end_matches('/').to_owned(),
            token,
            send: sending(https),
            points: points.clone(),
        })
        .await
    }

    async fn plain(place: Place, upstream: &str, points: &Points) -> Self {
        Self::start(Onward {
            place,
            base: upstream.trim_end_matches('/').to_owned(),
            token: None,
            send: sending(tcp()),
            points: points.clone(),
        })
        .await
    }

    async fn start(onward: Onward) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port of the loopback");
        let address = listener.local_addr().expect("the address of a listener");
        let (severed, told) = watch::channel(());
        let onward = Arc::new(onward);
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // Whoever asks waits for small answers.
                let _ = stream.set_nodelay(true);
                let mut severed = told.clone();
                severed.mark_unchanged();
                let (onward, ours) = (Arc::clone(&onward), severed.clone());
                let service = service_fn(move |request| handle(Arc::clone(&onward), ours.clone(), request));
                tokio::spawn(async move {
                    let connection = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .with_upgrades();
                    // That it breaks is what this is for.
                    tokio::select! {
                        _ = connection => {}
                        Ok(()) = severed.changed() => {}
                    }
                });
            }
        })
        .abort_handle();
        Self {
            address,
            severed,
            accepting,
        }
    }

    /// Where it is.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Of an API server's: how to reach it, for `KUBECONFIG`.
    pub fn kubeconfig(&self) -> String {
        let server = self.url();
        serde_json::json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "proxy",
            "clusters": [{"name": "proxy", "cluster": {"server": server}}],
            "users": [{"name": "proxy", "user": {}}],
            "contexts": [{"name": "proxy", "context": {"cluster": "proxy", "user": "proxy"}}],
        })
        .to_string()
    }

    /// Breaks all connections that there are: requests, watches and streams to sandboxes.
    pub fn sever(&self) {
        self.severed.send_replace(());
    }
}

/// How requests go on.
struct Onward {
    place: Place,
    /// Scheme and authority.
    base: String,
    token: Option<HeaderValue>,
    send: Send,
    points: Points,
}

fn tcp() -> HttpConnector {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp
}

fn sending(connector: impl Connect + Clone + std::marker::Send + Sync + 'static) -> Send {
    // A connection of its own for each: what breaks, breaks where a test wants it.
    let client = Client::builder(TokioExecutor::new())
        .pool_max_idle_per_host(0)
        .build(connector);
    Box::new(move |request| {
        let response = client.request(request);
        Box::pin(async move { response.await.map_err(io::Error::other) })
    })
}

async fn handle(
    onward: Arc<Onward>,
    severed: watch::Receiver<()>,
    mut request: Request<Incoming>,
) -> io::Result<Response<Body>> {
    let (path, query) = {
        let uri = request.uri();
        (uri.path().to_owned(), uri.query().unwrap_or_default().to_owned())
    };
    let named = names::name(onward.place, request.method(), &path, &query);
    let upgrade = request
        .headers()
        .contains_key(UPGRADE)
        .then(|| hyper::upgrade::on(&mut request));
    let (parts, body) = request.into_parts();
    // Also of what is refused: whoever does not read all that comes breaks the connection.
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let point = onward.points.ask(onward.place, named);
    match onward.points.judge(&point, Moment::Before, (&path, &body)) {
        Act::Pass => {}
        Act::Cut => return Err(io::Error::other("cut before it was passed on")),
        Act::Answer(status) => return Ok(refusal(onward.place, status)),
        Act::Wait(time) => sleep(time).await,
    }
    let mut response = (onward.send)(onward.request(parts, body.clone())).await?;
    let status = response.status();
    if let Some(down) = upgrade
        && status == StatusCode::SWITCHING_PROTOCOLS
    {
        let (up, points) = (hyper::upgrade::on(&mut response), onward.points.clone());
        tokio::spawn(stream(down, up, points, severed));
        return Ok(response.map(|_| whole(Bytes::new())));
    }
    if names::is_watch(&query) {
        return Ok(response.map(|body| body.map_err(io::Error::other).boxed_unsync()));
    }
    let (parts, answer) = response.into_parts();
    let answer = answer.collect().await.map_err(io::Error::other)?.to_bytes();
    let after = Moment::After {
        status: Some(status.as_u16()),
    };
    match onward.points.judge(&point, after, (&path, &body)) {
        Act::Pass => {}
        Act::Cut => return Err(io::Error::other("cut before it was told")),
        Act::Answer(status) => return Ok(refusal(onward.place, status)),
        Act::Wait(time) => sleep(time).await,
    }
    Ok(Response::from_parts(parts, whole(answer)))
}

async fn stream(
    down: hyper::upgrade::OnUpgrade,
    up: hyper::upgrade::OnUpgrade,
    points: Points,
    mut severed: watch::Receiver<()>,
) {
    let passing = async {
        if let (Ok(down), Ok(up)) = tokio::join!(down, up) {
            exec::pass(down, up, &points).await;
        }
    };
    tokio::select! {
        () = passing => {}
        Ok(()) = severed.changed() => {}
    }
}

impl Onward {
    /// The host stays as it is: it may be part of a signature.
    fn request(&self, mut parts: Parts, body: Bytes) -> Request<Full<Bytes>> {
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        parts.uri = [&self.base, path].concat().parse().expect("a URL");
        if let Some(token) = &self.token {
            parts.headers.insert(AUTHORIZATION, token.clone());
        }
        Request::from_parts(parts, Full::new(body))
    }
}

fn whole(content: Bytes) -> Body {
    Full::new(content).map_err(|never| match never {}).boxed_unsync()
}

/// An error, in the words of whoever is asked.
fn refusal(place: Place, status: u16) -> Response<Body> {
    let (kind, text) = match place {
        Place::Bucket => {
            let code = match status {
                403 => "AccessDenied",
                429 | 503 => "SlowDown",
                _ => "InternalError",
            };
            let text = format!("<Error><Code>{code}</Code><Message>as the test wants it</Message></Error>");
            ("application/xml", text)
        }
        Place::Api | Place::Sandbox => {
            let text = serde_json::json!({
                "apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Failure", "code": status,
                "message": "as the test wants it", "reason": "as the test wants it",
            });
            ("application/json", text.to_string())
        }
        Place::Model => {
            let error = serde_json::json!({"type": "api_error", "message": "as the test wants it"});
            let text = serde_json::json!({"type": "error", "error": error});
            ("application/json", text.to_string())
        }
    };
    let mut response = Response::new(whole(Bytes::from(text)));
    *response.status_mut() = StatusCode::from_u16(status).expect("a status");
    let kind = HeaderValue::from_static(kind);
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}
