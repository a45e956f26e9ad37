//! Answers probes and scrapes: `/healthz`, `/readyz`, `/metrics`.
//!
//! It must not know what is measured, nor who is ill.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use super::health::Health;
use super::metrics::{self, Metrics};

/// How long a client may take to say what it wants, also the next thing.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long a connection may last, however it is used.
const LONGEST: Duration = Duration::from_mins(10);

/// How long what was begun may take to end.
const GRACE: Duration = Duration::from_secs(2);

/// How many connections there are at once. The next ones wait.
const CONNECTIONS: usize = 128;

/// The most bytes of a request's head.
const HEAD: usize = 16 * 1024;

/// Why nobody can be answered.
#[derive(Debug, Error)]
pub enum HttpError {
    /// Somebody else listens there.
    #[error("{address} is taken: stop what listens there, or choose another address with --listen")]
    Taken {
        /// The address.
        address: SocketAddr,
    },
    /// The system does not let us listen there.
    #[error("can't listen on {address} ({source}): choose another address with --listen")]
    NotBound {
        /// The address.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
}

/// Listens.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, HttpError> {
    TcpListener::bind(address)
        .await
        .map_err(|source| match source.kind() {
            io::ErrorKind::AddrInUse => HttpError::Taken { address },
            _ => HttpError::NotBound { address, source },
        })
}

#[derive(Clone)]
struct Known {
    health: Health,
    metrics: Metrics,
}

/// Answers until `stop`, and ends what was begun by then.
pub async fn serve(listener: TcpListener, health: Health, metrics: Metrics, stop: CancellationToken) {
    let router = Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(scrape))
        .with_state(Known { health, metrics });
    let (connections, places) = (TaskTracker::new(), Arc::new(Semaphore::new(CONNECTIONS)));
    let accept = async || {
        // It is never closed.
        let place = Arc::clone(&places).acquire_owned().await.ok();
        (listener.accept().await, place)
    };
    loop {
        let (accepted, place) = tokio::select! {
            accepted = accept() => accepted,
            () = stop.cancelled() => break,
        };
        match accepted {
            Ok((stream, _)) => {
                let (router, stop) = (router.clone(), stop.clone());
                connections.spawn(async move {
                    answer(stream, router, stop).await;
                    drop(place);
                });
            }
            // Of a client that is gone already, or for want of files: those come back.
            Err(error) => {
                warn!(%error, "a connection was not accepted");
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

async fn answer(stream: TcpStream, router: Router, stop: CancellationToken) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .max_buf_size(HEAD)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = async { tokio::select! { () = stop.cancelled() => {}, () = sleep(LONGEST) => {} } } => {
            connection.as_mut().graceful_shutdown();
            timeout(GRACE, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended {
        debug!(%error, "a connection to the operator broke");
    }
}

async fn healthz(State(known): State<Known>) -> Response {
    told(known.health.hanging())
}

/// A replica that does not lead is ready too: to lead.
async fn readyz(State(known): State<Known>) -> Response {
    told(
        known
            .health
            .missing()
            .into_iter()
            .map(|name| format!("not yet: {name}")),
    )
}

fn told(wrong: impl IntoIterator<Item = String>) -> Response {
    let wrong: Vec<String> = wrong.into_iter().collect();
    if wrong.is_empty() {
        return "ok\n".into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, wrong.join("\n") + "\n").into_response()
}

async fn scrape(State(known): State<Known>) -> Response {
    match known.metrics.encode() {
        Ok(text) => ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::task::JoinHandle;

    use super::*;

    const ANYWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

    struct Stage {
        address: SocketAddr,
        health: Health,
        stop: CancellationToken,
        server: JoinHandle<()>,
    }

    async fn stage() -> Stage {
        let listener = bind(ANYWHERE).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (health, stop) = (Health::default(), CancellationToken::new());
        let server = tokio::spawn(serve(listener, health.clone(), Metrics::new(), stop.clone()));
        Stage {
            address,
            health,
            stop,
            server,
        }
    }

    impl Stage {
        /// Status, media type and body.
        async fn ask(&self, request: &str) -> String {
            let mut stream = TcpStream::connect(self.address).await.unwrap();
            let text = format!("{request} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
            stream.write_all(text.as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            answer
        }
    }

    #[tokio::test]
    async fn probes_are_answered_with_what_is_wrong() {
        let stage = stage().await;
        let caches = stage.health.condition("the caches are filled");
        let answer = stage.ask("GET /readyz").await;
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        assert!(
            answer.ends_with("\r\n\r\nnot yet: the caches are filled\n"),
            "{answer}"
        );
        caches.set(true);
        for path in ["/readyz", "/healthz"] {
            let answer = stage.ask(&format!("GET {path}")).await;
            assert!(
                answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\nok\n"),
                "{answer}"
            );
        }
        let _hangs = stage.health.pulse("a loop", Duration::ZERO);
        let answer = stage.ask("GET /healthz").await;
        assert!(
            answer.starts_with("HTTP/1.1 503 ") && answer.contains("a loop has not turned"),
            "{answer}"
        );
    }

    #[tokio::test]
    async fn scrapes_are_answered() {
        let stage = stage().await;
        let answer = stage.ask("GET /metrics").await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert!(
            answer.contains("\r\ncontent-type: application/openmetrics-text; version=1.0.0"),
            "{answer}"
        );
        assert!(
            answer.contains("\ncataloger_leader 0\n") && answer.ends_with("\n# EOF\n"),
            "{answer}"
        );
    }

    #[tokio::test]
    async fn nothing_else_is_answered() {
        let stage = stage().await;
        for (request, status) in [
            ("GET /", "404"),
            ("GET /metrics/", "404"),
            ("POST /healthz", "405"),
            ("nonsense", "400"),
        ] {
            let answer = stage.ask(request).await;
            assert!(
                answer.starts_with(&format!("HTTP/1.1 {status} ")),
                "{request}: {answer}"
            );
        }
        let long = format!("GET /{}", "x".repeat(HEAD));
        let answer = stage.ask(&long).await;
        assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
    }

    #[tokio::test]
    async fn a_stop_waits_for_nobody_who_is_silent() {
        let stage = stage().await;
        let mut silent = TcpStream::connect(stage.address).await.unwrap();
        stage.ask("GET /healthz").await;
        stage.stop.cancel();
        stage.server.await.unwrap();
        assert_eq!(silent.read(&mut [0]).await.unwrap(), 0);
        TcpStream::connect(stage.address).await.unwrap_err();
    }

    #[tokio::test]
    async fn an_address_that_is_taken_is_told() {
        let listener = bind(ANYWHERE).await.unwrap();
        let address = listener.local_addr().unwrap();
        let error = bind(address).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("{address} is taken: stop what listens there, or choose another address with --listen")
        );
        let nobody = bind("192.0.2.1:1".parse().unwrap()).await.unwrap_err();
        assert!(matches!(nobody, HttpError::NotBound { .. }), "{nobody}");
    }
}
