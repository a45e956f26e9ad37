//! How the API server is reached: small frames are on their way at once.
//!
//! kube's own client leaves Nagle's algorithm on: a frame waits until the one before it was acknowledged, which is 40 ms
//! when the other side has nothing to say. A call in a sandbox is one small frame. Must not know what is asked.

use http_body_util::BodyExt as _;
use hyper::Response;
use hyper::body::Incoming;
use hyper_timeout::TimeoutConnector;
use hyper_util::client::legacy::Client as Http;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use kube::Config;
use kube::client::{Body, ClientBuilder, ConfigExt as _, DynBody};
use tower::util::BoxService;
use tower::{BoxError, ServiceBuilder, ServiceExt as _};

/// What sends requests: as kube has it.
type Stack = BoxService<hyper::Request<Body>, Response<Box<DynBody>>, BoxError>;

/// What a client is made of: as kube makes it, but for that, and without its tries: whoever looks at each of them adds
/// those above. Behind a proxy, or with certificates that a program hands out and that end, it is kube's own.
pub(super) fn builder(config: Config) -> kube::Result<ClientBuilder<Stack>> {
    if config.proxy_url.is_some() || config.auth_info.exec.is_some() {
        return ClientBuilder::try_from(config);
    }
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    let mut connector = TimeoutConnector::new(config.rustls_https_connector_with_connector(tcp)?);
    connector.set_connect_timeout(config.connect_timeout);
    connector.set_read_timeout(config.read_timeout);
    connector.set_write_timeout(config.write_timeout);
    let http: Http<_, Body> = Http::builder(TokioExecutor::new()).build(connector);
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .map_err(BoxError::from)
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(http)
        .map_response(|response: Response<Incoming>| {
            response.map(|body| Box::new(body.map_err(BoxError::from)) as Box<DynBody>)
        });
    Ok(ClientBuilder::new(service.boxed(), config.default_namespace))
}
