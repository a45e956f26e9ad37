//! Where a database is, from the host in its URL: what a policy has to let through, and which names the sandbox
//! has to know.
//!
//! A policy sees packets after a Service's address was replaced by a Pod's. So a Service becomes its Pods, by its
//! selector and its target port, and never its cluster IP. The sandbox has no DNS: the name becomes an entry of
//! its hosts file. What is found holds for the life of the sandbox; Pods behind a selector may change, addresses
//! may not. Must not know users or passwords: it is given a host and a port.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::api::ListParams;
use kube::{Api, Client};
use thiserror::Error;
use tokio::time::timeout;

use super::cluster::ask;
use super::policy::{Destination, Peer, Port};
use crate::sandbox::{NotStarted, Obstacle};

/// How long a name may take.
const LOOKUP: Duration = Duration::from_secs(10);

/// What a sandbox needs to reach a host.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reach {
    /// What its policy lets through.
    pub destinations: Vec<Destination>,
    /// What its hosts file says.
    pub hosts: BTreeMap<IpAddr, Vec<String>>,
}

/// Why a host can't be reached.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReachError {
    /// Nobody knows the name.
    #[error(
        "the database's host {host:?} has no address ({message}): look at the host in the database's URL; a Service is best named as NAME.NAMESPACE.svc"
    )]
    Unknown {
        /// The name.
        host: String,
        /// What the resolver said.
        message: String,
    },
    /// There is no such Service.
    #[error(
        "the database's host {host:?} is the Service {service}, which is not there: look at its name and namespace"
    )]
    NoService {
        /// The name.
        host: String,
        /// The Service's namespace and name.
        service: String,
    },
    /// The Service does not have this port.
    #[error(
        "the Service {service} has no TCP port {port} (it has {}): look at the port in the database's URL",
        list(known)
    )]
    NoPort {
        /// The Service's namespace and name.
        service: String,
        /// The port that was wanted.
        port: u16,
        /// The ports that it has.
        known: Vec<u16>,
    },
    /// Nothing is behind the Service.
    #[error("the Service {service} has no endpoints: look at whether the database runs")]
    NoEndpoints {
        /// The Service's namespace and name.
        service: String,
    },
    /// The address means something else in a sandbox, or is none of a database.
    #[error(
        "the database's host {host:?} has the address {address}, which is {what}: name an address that the cluster's Pods reach"
    )]
    Local {
        /// The name.
        host: String,
        /// Its address.
        address: IpAddr,
        /// What that is.
        what: &'static str,
    },
    /// The API server could not be asked.
    #[error(transparent)]
    Cluster(#[from] NotStarted),
}

fn list(ports: &[u16]) -> String {
    let ports: Vec<_> = ports.iter().map(u16::to_string).collect();
    if ports.is_empty() {
        "none".to_owned()
    } else {
        ports.join(", ")
    }
}

/// Who knows names that are not the cluster's.
#[async_trait]
pub trait Resolver: Send + Sync {
    /// The addresses of a name.
    async fn addresses(&self, host: &str) -> io::Result<Vec<IpAddr>>;
}

/// The resolver of this machine, or of this Pod.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemResolver;

#[async_trait]
impl Resolver for SystemResolver {
    async fn addresses(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        let found = timeout(LOOKUP, tokio::net::lookup_host((host, 0)))
            .await
            .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        Ok(found.map(|address| address.ip()).collect())
    }
}

/// What a name may be in a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Name {
    /// An address.
    Address(IpAddr),
    /// A Service, or a Pod of one; if it is not `certain`, a host outside may have the name.
    Service {
        namespace: String,
        name: String,
        pod: Option<String>,
        certain: bool,
    },
    /// A host outside.
    Outside,
}

impl Name {
    /// As a Pod of the namespace `home` would understand it.
    fn read(host: &str, home: &str, domain: &str) -> Self {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        if let Ok(address) = bare.parse() {
            return Self::Address(address);
        }
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let inside = host.strip_suffix(&format!(".svc.{domain}"));
        let certain = inside.or_else(|| host.strip_suffix(".svc"));
        let labels: Vec<_> = certain.unwrap_or(&host).split('.').collect();
        let service = |namespace: &str, name: &str, pod: Option<&str>| Self::Service {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            pod: pod.map(str::to_owned),
            certain: certain.is_some(),
        };
        match (labels.as_slice(), certain.is_some()) {
            ([name], false) => service(home, name, None),
            ([name, namespace], _) => service(namespace, name, None),
            ([pod, name, namespace], true) => service(namespace, name, Some(pod)),
            _ => Self::Outside,
        }
    }
}

/// Finds a host, as a Pod of the namespace `home` would. `domain` is the cluster's, such as `cluster.local`.
pub async fn reach(
    client: &Client,
    resolver: &dyn Resolver,
    home: &str,
    domain: &str,
    host: &str,
    port: u16,
) -> Result<Reach, ReachError> {
    match Name::read(host, home, domain) {
        Name::Address(address) => outside(host, vec![address], port),
        Name::Service {
            namespace,
            name,
            pod,
            certain,
        } => {
            let services: Api<Service> = Api::namespaced(client.clone(), &namespace);
            let found = ask("looking for the database's Service", services.get_opt(&name)).await;
            let found = match found {
                // Where the operator may look for none, such as in a namespace that `db.corp` seems to name.
                Err(error) if !certain && error.obstacle == Obstacle::Forbidden => None,
                found => found?,
            };
            let service = format!("{namespace}/{name}");
            match found.and_then(|it| it.spec) {
                Some(spec) => {
                    if let Some(external) = &spec.external_name {
                        return outside(host, resolve(resolver, external).await?, port);
                    }
                    let slices = slices(client, &namespace, &name).await?;
                    let place = Place {
                        namespace: &namespace,
                        service: &service,
                        host,
                        pod: pod.as_deref(),
                    };
                    inside(&place, &spec, &slices, port)
                }
                None if certain => Err(ReachError::NoService {
                    host: host.to_owned(),
                    service,
                }),
                None => outside(host, resolve(resolver, host).await?, port),
            }
        }
        Name::Outside => outside(host, resolve(resolver, host).await?, port),
    }
}

async fn resolve(resolver: &dyn Resolver, host: &str) -> Result<Vec<IpAddr>, ReachError> {
    let unknown = |message: String| ReachError::Unknown {
        host: host.to_owned(),
        message,
    };
    let addresses = resolver
        .addresses(host)
        .await
        .map_err(|error| unknown(error.to_string()))?;
    if addresses.is_empty() {
        return Err(unknown("the resolver knows none".into()));
    }
    Ok(addresses)
}

async fn slices(client: &Client, namespace: &str, name: &str) -> Result<Vec<EndpointSlice>, NotStarted> {
    let slices: Api<EndpointSlice> = Api::namespaced(client.clone(), namespace);
    let params = ListParams::default().labels(&format!("kubernetes.io/service-name={name}"));
    Ok(ask(
        "listing the endpoints of the database's Service",
        slices.list(&params),
    )
    .await?
    .items)
}

/// A host outside the cluster: its addresses, as they are now.
fn outside(host: &str, addresses: Vec<IpAddr>, port: u16) -> Result<Reach, ReachError> {
    for address in &addresses {
        if let Some(what) = unfit(*address) {
            return Err(ReachError::Local {
                host: host.to_owned(),
                address: *address,
                what,
            });
        }
    }
    Ok(Reach {
        destinations: vec![Destination {
            peer: Peer::addresses(addresses.iter().copied()),
            port: Port::Number(port),
        }],
        hosts: hosts(host, addresses),
    })
}

/// What an address is that no database has.
fn unfit(address: IpAddr) -> Option<&'static str> {
    let address = address.to_canonical();
    if address.is_loopback() {
        Some("the sandbox itself")
    } else if address.is_unspecified() {
        Some("no address")
    } else if address.is_multicast() {
        Some("a group of hosts")
    } else if match address {
        IpAddr::V4(it) => it.is_link_local(),
        IpAddr::V6(it) => it.is_unicast_link_local(),
    } {
        // Where clouds have what tells a node its credentials.
        Some("a link-local address")
    } else {
        None
    }
}

fn hosts(host: &str, addresses: impl IntoIterator<Item = IpAddr>) -> BTreeMap<IpAddr, Vec<String>> {
    // As Kubernetes wants names; who asks for one may write it as they like.
    let name = host.trim_end_matches('.').to_ascii_lowercase();
    if name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok() {
        return BTreeMap::new();
    }
    addresses
        .into_iter()
        .map(|address| (address, vec![name.clone()]))
        .collect()
}

/// Which Service, by which name.
struct Place<'a> {
    namespace: &'a str,
    service: &'a str,
    host: &'a str,
    pod: Option<&'a str>,
}

fn inside(
    place: &Place<'_>,
    spec: &ServiceSpec,
    slices: &[EndpointSlice],
    port: u16,
) -> Result<Reach, ReachError> {
    let service = place.service.to_owned();
    let cluster: Vec<IpAddr> = spec
        .cluster_ips
        .iter()
        .flatten()
        .chain(&spec.cluster_ip)
        .filter_map(|it| it.parse().ok())
        .collect();
    let direct = cluster.is_empty() || place.pod.is_some();
    let listed = spec.ports.iter().flatten().find(|it| {
        it.port == i32::from(port) && it.protocol.as_deref().is_none_or(|protocol| protocol == "TCP")
    });
    let addresses = if direct {
        endpoints(slices, place.pod)
    } else {
        cluster
    };
    if addresses.is_empty() {
        return Err(ReachError::NoEndpoints { service });
    }
    // Without a cluster IP nothing is translated: the port in the URL is the Pod's.
    let (target, listed) = match (direct, listed) {
        (true, listed) => (Port::Number(port), listed),
        (false, Some(listed)) => (target(listed, port), Some(listed)),
        (false, None) => {
            let known = spec
                .ports
                .iter()
                .flatten()
                .filter_map(|it| u16::try_from(it.port).ok());
            return Err(ReachError::NoPort {
                service,
                port,
                known: known.collect(),
            });
        }
    };
    let destinations = match spec.selector.clone().filter(|labels| !labels.is_empty()) {
        Some(labels) => vec![Destination {
            peer: Peer::Pods {
                namespace: place.namespace.to_owned(),
                labels,
            },
            port: target,
        }],
        None => by_hand(slices, listed, direct.then_some(port)),
    };
    if destinations.is_empty() {
        return Err(ReachError::NoEndpoints { service });
    }
    Ok(Reach {
        destinations,
        hosts: hosts(place.host, addresses),
    })
}

fn target(listed: &ServicePort, port: u16) -> Port {
    match &listed.target_port {
        Some(IntOrString::String(name)) => Port::Named(name.clone()),
        Some(IntOrString::Int(number)) => Port::Number(u16::try_from(*number).unwrap_or(port)),
        None => Port::Number(port),
    }
}

/// The addresses behind a Service, or of one Pod of it.
fn endpoints(slices: &[EndpointSlice], pod: Option<&str>) -> Vec<IpAddr> {
    let endpoints = slices.iter().flat_map(|slice| &slice.endpoints);
    let mut found: Vec<IpAddr> = endpoints
        .filter(|it| pod.is_none_or(|pod| it.hostname.as_deref() == Some(pod)))
        .flat_map(|it| &it.addresses)
        .filter_map(|it| it.parse().ok())
        .collect();
    found.sort_unstable();
    found.dedup();
    found
}

/// What is behind a Service without a selector: addresses that somebody has listed, with their own ports.
fn by_hand(slices: &[EndpointSlice], listed: Option<&ServicePort>, direct: Option<u16>) -> Vec<Destination> {
    let name = listed.and_then(|it| it.name.as_deref()).unwrap_or_default();
    let mut destinations = Vec::new();
    for slice in slices {
        let ports = slice.ports.iter().flatten();
        let named = ports.filter(|it| it.name.as_deref().unwrap_or_default() == name);
        let number = named
            .filter_map(|it| it.port)
            .find_map(|it| u16::try_from(it).ok());
        let addresses = endpoints(std::slice::from_ref(slice), None);
        let addresses: Vec<_> = addresses.into_iter().filter(|it| unfit(*it).is_none()).collect();
        if let (Some(number), false) = (direct.or(number), addresses.is_empty()) {
            destinations.push(Destination {
                peer: Peer::addresses(addresses),
                port: Port::Number(number),
            });
        }
    }
    destinations
}

#[cfg(test)]
mod tests;
