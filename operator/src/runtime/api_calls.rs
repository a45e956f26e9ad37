//! Counts what is asked of the API server, by what it is asked of and what it answers; of a replica that leads no more
//! nothing is asked that changes anything.
//!
//! It must not change a call, nor know why it is made.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::{Method, Request, Response, StatusCode};
use kube::client::retry::RetryPolicy;
use kube::{Client, Config};
use tower::buffer::BufferLayer;
use tower::retry::RetryLayer;
use tower::util::option_layer;
use tower::{Layer, Service};

use super::connection;
use super::fence::Fence;
use super::metrics::Metrics;
use super::metrics::labels::{ApiOutcome, Resource, Verb};

/// How many calls wait for one that is on its way to be sent.
const QUEUE: usize = 1024;

/// A client whose calls are counted. A call that the client itself makes again counts once.
pub fn client(config: Config, metrics: &Metrics) -> Result<Client, kube::Error> {
    fenced(config, metrics, &Fence::default())
}

/// One that changes nothing unless this replica leads. Not for the lease itself.
pub fn fenced(mut config: Config, metrics: &Metrics, fence: &Fence) -> Result<Client, kube::Error> {
    // Not kube's own, which are below the fence: each try is kept by it.
    let tries = std::mem::take(&mut config.default_retry).then(RetryPolicy::server_retry);
    let builder = connection::builder(config)?;
    Ok(builder
        .with_layer(&BufferLayer::new(QUEUE))
        .with_layer(&Keep(fence.clone()))
        .with_layer(&option_layer(tries.map(RetryLayer::new)))
        .with_layer(&CountCalls(metrics.clone()))
        .build())
}

#[derive(Clone)]
struct Keep(Fence);

impl<S> Layer<S> for Keep {
    type Service = Kept<S>;

    fn layer(&self, inner: S) -> Kept<S> {
        Kept {
            inner,
            fence: self.0.clone(),
        }
    }
}

#[derive(Clone)]
struct Kept<S> {
    inner: S,
    fence: Fence,
}

impl<S, B> Service<Request<B>> for Kept<S>
where
    S: Service<Request<B>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // Who execs into a Pod drives a sandbox, by whatever method.
        let reads = request.method() == Method::GET && !request.uri().path().ends_with("/exec");
        let (fence, call) = (self.fence.clone(), self.inner.call(request));
        Box::pin(async move {
            if !reads {
                fence.pass().await;
            }
            // Nothing is sent before this.
            call.await
        })
    }
}

#[derive(Clone)]
struct CountCalls(Metrics);

impl<S> Layer<S> for CountCalls {
    type Service = Counted<S>;

    fn layer(&self, inner: S) -> Counted<S> {
        Counted {
            inner,
            metrics: self.0.clone(),
        }
    }
}

struct Counted<S> {
    inner: S,
    metrics: Metrics,
}

impl<S, B, R> Service<Request<B>> for Counted<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let uri = request.uri();
        let (verb, resource) = asked(request.method(), uri.path(), uri.query().unwrap_or_default());
        let (metrics, call) = (self.metrics.clone(), self.inner.call(request));
        Box::pin(async move {
            let answer = call.await;
            let outcome = answer
                .as_ref()
                .map_or(ApiOutcome::Failed, |answer| outcome(answer.status()));
            metrics.api_called(verb, resource, outcome);
            answer
        })
    }
}

fn outcome(status: StatusCode) -> ApiOutcome {
    match status.as_u16() {
        404 => ApiOutcome::Missing,
        409 => ApiOutcome::Conflict,
        429 => ApiOutcome::Throttled,
        400..500 => ApiOutcome::Refused,
        500.. => ApiOutcome::Failed,
        _ => ApiOutcome::Ok,
    }
}

/// What a request is, as the API server would put it.
fn asked(method: &Method, path: &str, query: &str) -> (Verb, Resource) {
    let mut parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    // `api/v1` or `apis/GROUP/VERSION`.
    let version = if parts.first() == Some(&"apis") { 3 } else { 2 };
    parts.drain(..version.min(parts.len()));
    if let ["namespaces", _, _, ..] = parts[..] {
        parts.drain(..2);
    }
    let (kind, name, of) = (parts.first(), parts.get(1), parts.get(2));
    let resource = match (kind.copied().unwrap_or_default(), of.copied()) {
        ("catalogs", None) => Resource::Catalogs,
        ("catalogs", Some("status")) => Resource::CatalogsStatus,
        ("catalogschedules", None) => Resource::CatalogSchedules,
        ("catalogschedules", Some("status")) => Resource::CatalogSchedulesStatus,
        ("modelproviders", None) => Resource::ModelProviders,
        ("modelproviders", Some("status")) => Resource::ModelProvidersStatus,
        ("pods", None) => Resource::Pods,
        ("pods", Some("exec")) => Resource::PodsExec,
        ("networkpolicies", None) => Resource::NetworkPolicies,
        ("secrets", None) => Resource::Secrets,
        ("configmaps", None) => Resource::ConfigMaps,
        ("events", None) => Resource::Events,
        ("leases", None) => Resource::Leases,
        _ => Resource::Other,
    };
    let watches = query
        .split('&')
        .any(|it| matches!(it, "watch=true" | "watch=1" | "watch"));
    let verb = match *method {
        Method::POST => Verb::Create,
        Method::PUT => Verb::Update,
        Method::PATCH => Verb::Patch,
        Method::DELETE => Verb::Delete,
        _ if watches => Verb::Watch,
        _ if name.is_none() && kind.is_some() => Verb::List,
        _ => Verb::Get,
    };
    (verb, resource)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use futures::FutureExt as _;
    use kube::client::Body;
    use tower::ServiceExt as _;

    use super::super::metrics::tests::has;
    use super::*;

    #[test]
    fn requests_are_told_apart() {
        for (method, uri, verb, resource) in [
            (
                "GET",
                "/apis/cataloger.dev/v1alpha1/catalogs?limit=500",
                Verb::List,
                Resource::Catalogs,
            ),
            (
                "GET",
                "/apis/cataloger.dev/v1alpha1/catalogs?watch=true&a=b",
                Verb::Watch,
                Resource::Catalogs,
            ),
            (
                "GET",
                "/apis/cataloger.dev/v1alpha1/namespaces/a/catalogs?a=1&watch=1",
                Verb::Watch,
                Resource::Catalogs,
            ),
            (
                "GET",
                "/apis/cataloger.dev/v1alpha1/namespaces/a/catalogs/b",
                Verb::Get,
                Resource::Catalogs,
            ),
            (
                "PATCH",
                "/apis/c/v1/namespaces/a/catalogs/b/status?force=true",
                Verb::Patch,
                Resource::CatalogsStatus,
            ),
            (
                "PATCH",
                "/apis/c/v1/namespaces/a/modelproviders/b/status",
                Verb::Patch,
                Resource::ModelProvidersStatus,
            ),
            ("POST", "/api/v1/namespaces/a/pods", Verb::Create, Resource::Pods),
            (
                "DELETE",
                "/api/v1/namespaces/a/pods/b",
                Verb::Delete,
                Resource::Pods,
            ),
            (
                "GET",
                "/api/v1/namespaces/a/pods/b/exec?stdin=true",
                Verb::Get,
                Resource::PodsExec,
            ),
            (
                "GET",
                "/api/v1/namespaces/a/pods/b/log",
                Verb::Get,
                Resource::Other,
            ),
            (
                "PUT",
                "/apis/coordination.k8s.io/v1/namespaces/a/leases/b",
                Verb::Update,
                Resource::Leases,
            ),
            (
                "PATCH",
                "/apis/n/v1/namespaces/a/networkpolicies/b",
                Verb::Patch,
                Resource::NetworkPolicies,
            ),
            // An object whose name is that of a kind.
            (
                "GET",
                "/api/v1/namespaces/a/secrets/pods",
                Verb::Get,
                Resource::Secrets,
            ),
            ("GET", "/api/v1/namespaces/pods", Verb::Get, Resource::Other),
            ("GET", "/version", Verb::Get, Resource::Other),
            ("GET", "/", Verb::Get, Resource::Other),
        ] {
            let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
            let found = asked(&method.parse().unwrap(), path, query);
            assert_eq!(found, (verb, resource), "{method} {uri}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_leads_no_more_changes_nothing() {
        let fence = Fence::default();
        let asked = Arc::new(AtomicU32::new(0));
        let ask = async |method: Method, path: &str| {
            let asked = Arc::clone(&asked);
            let server = tower::service_fn(move |_: Request<Body>| {
                let asked = Arc::clone(&asked);
                async move {
                    asked.fetch_add(1, Ordering::Relaxed);
                    Ok::<_, Infallible>(Response::new(()))
                }
            });
            let request = Request::builder().method(method).uri(path);
            let answer = Keep(fence.clone())
                .layer(server)
                .oneshot(request.body(Body::empty()).unwrap());
            answer.now_or_never().is_some()
        };
        let pod = "/api/v1/namespaces/a/pods/b";
        assert!(ask(Method::DELETE, pod).await);
        let now = tokio::time::Instant::now();
        fence.guard(super::super::lease::Holding::until_then(now));
        for (method, path, passes) in [
            (Method::GET, pod, true),
            (Method::GET, "/api/v1/namespaces/a/pods/b/exec", false),
            (Method::POST, "/api/v1/namespaces/a/pods", false),
            (Method::PATCH, "/apis/c/v1/namespaces/a/catalogs/b/status", false),
            (Method::DELETE, pod, false),
        ] {
            assert_eq!(ask(method.clone(), path).await, passes, "{method} {path}");
        }
        assert_eq!(asked.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn also_a_call_that_is_made_again_asks_at_the_door() {
        for leads in [true, false] {
            let (fence, asked) = (Fence::default(), Arc::new(AtomicU32::new(0)));
            let (door, count) = (fence.clone(), Arc::clone(&asked));
            // Too busy at first, and the lease is over by then.
            let server = axum::Router::new().fallback(async move || {
                if count.fetch_add(1, Ordering::Relaxed) > 0 {
                    return StatusCode::OK;
                }
                if !leads {
                    door.guard(super::super::lease::Holding::until_then(
                        tokio::time::Instant::now(),
                    ));
                }
                StatusCode::SERVICE_UNAVAILABLE
            });
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("http://{}", listener.local_addr().unwrap());
            tokio::spawn(async move { axum::serve(listener, server).await });
            let config = Config::new(url.parse().unwrap());
            let client = fenced(config, &Metrics::new(), &fence).unwrap();
            let call = client.request_text(
                Request::delete("/api/v1/namespaces/a/pods/b")
                    .body(vec![])
                    .unwrap(),
            );
            let patience = Duration::from_secs(if leads { 30 } else { 2 });
            let answer = tokio::time::timeout(patience, call).await;
            assert_eq!(answer.is_ok(), leads);
            assert_eq!(asked.load(Ordering::Relaxed), if leads { 2 } else { 1 });
        }
    }

    #[tokio::test]
    async fn answers_are_counted_by_what_they_are() {
        let metrics = Metrics::new();
        let server = tower::service_fn(async |request: Request<Body>| {
            let status: u16 = request.uri().query().unwrap().parse().unwrap();
            if status == 0 {
                return Err("no connection");
            }
            Ok(Response::builder().status(status).body(()).unwrap())
        });
        for status in [200, 201, 101, 404, 409, 429, 403, 422, 500, 504, 0] {
            let request = Request::get(format!("/api/v1/namespaces/a/secrets/b?{status}"));
            let counted = CountCalls(metrics.clone()).layer(server);
            drop(counted.oneshot(request.body(Body::empty()).unwrap()).await);
        }
        for (outcome, count) in [
            ("ok", 3),
            ("missing", 1),
            ("conflict", 1),
            ("throttled", 1),
            ("refused", 2),
            ("failed", 3),
        ] {
            let labels = format!("verb=\"get\",resource=\"secrets\",outcome=\"{outcome}\"");
            let line = format!("cataloger_api_calls_total{{{labels}}} {count}");
            assert!(has(&metrics, &line), "{line}");
        }
    }
}
