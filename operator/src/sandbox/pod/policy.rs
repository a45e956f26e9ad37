//! What a sandbox may reach: the network policy of one sandbox, a pure function of its destinations.
//!
//! Nothing comes in. Out goes what the database needs, what was asked for, and nothing else: also no DNS, for
//! names are a way out for data. Must not know how a destination was found.

use std::collections::BTreeMap;
use std::net::IpAddr;

use k8s_openapi::api::networking::v1::{
    IPBlock, NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::manifest::{NAME, Owner};

/// Something that a sandbox may reach over TCP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// Who.
    pub peer: Peer,
    /// On which port.
    pub port: Port,
}

/// Who may be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Peer {
    /// Addresses, as CIDRs.
    Blocks(Vec<String>),
    /// Pods of a namespace, by their labels.
    Pods {
        /// Their namespace.
        namespace: String,
        /// Their labels.
        labels: BTreeMap<String, String>,
    },
}

impl Peer {
    /// Single addresses.
    pub fn addresses(addresses: impl IntoIterator<Item = IpAddr>) -> Self {
        Self::Blocks(addresses.into_iter().map(block).collect())
    }
}

/// The CIDR of one address.
fn block(address: IpAddr) -> String {
    let bits = if address.is_ipv4() { 32 } else { 128 };
    format!("{address}/{bits}")
}

/// A port of a [`Peer`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Port {
    /// Its number.
    Number(u16),
    /// The name that the Pods' containers give it.
    Named(String),
}

/// The label that Kubernetes gives each namespace.
const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";

/// Where a cluster's DNS usually is: its Pods, and the address of a cache on the node.
pub fn usual_dns() -> Vec<Peer> {
    let labels = [("k8s-app".to_owned(), "kube-dns".to_owned())].into();
    let namespace = "kube-system".to_owned();
    vec![
        Peer::Pods { namespace, labels },
        Peer::Blocks(vec!["169.254.20.10/32".to_owned()]),
    ]
}

/// The policy of a sandbox. It has to be there before the Pod is. `dns` are the servers that it may ask for names.
pub fn policy(owner: &Owner, namespace: &str, destinations: &[Destination], dns: &[Peer]) -> NetworkPolicy {
    let tcp = destinations.iter().map(|destination| {
        let port = match &destination.port {
            Port::Number(number) => IntOrString::Int(i32::from(*number)),
            Port::Named(name) => IntOrString::String(name.clone()),
        };
        rule(&destination.peer, vec![port_of("TCP", port)])
    });
    let names = dns.iter().map(|server| {
        let port = IntOrString::Int(53);
        rule(server, vec![port_of("UDP", port.clone()), port_of("TCP", port)])
    });
    let egress: Vec<_> = tcp.chain(names).flatten().collect();
    NetworkPolicy {
        metadata: owner.metadata(namespace),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(LabelSelector {
                match_labels: Some([(NAME.to_owned(), owner.name())].into()),
                match_expressions: None,
            }),
            policy_types: Some(vec!["Ingress".into(), "Egress".into()]),
            ingress: None,
            egress: (!egress.is_empty()).then_some(egress),
        }),
    }
}

/// None for a peer that nobody is: to Kubernetes a rule without peers is one for everybody.
fn rule(peer: &Peer, ports: Vec<NetworkPolicyPort>) -> Option<NetworkPolicyEgressRule> {
    let to: Vec<_> = match peer {
        Peer::Blocks(blocks) => blocks.iter().map(|cidr| address(cidr)).collect(),
        Peer::Pods { labels, .. } if labels.is_empty() => Vec::new(),
        Peer::Pods { namespace, labels } => vec![pods(namespace, labels)],
    };
    (!to.is_empty()).then_some(NetworkPolicyEgressRule {
        to: Some(to),
        ports: Some(ports),
    })
}

fn pods(namespace: &str, labels: &BTreeMap<String, String>) -> NetworkPolicyPeer {
    NetworkPolicyPeer {
        namespace_selector: Some(LabelSelector {
            match_labels: Some([(NAMESPACE_NAME.to_owned(), namespace.to_owned())].into()),
            match_expressions: None,
        }),
        pod_selector: Some(LabelSelector {
            match_labels: Some(labels.clone()),
            match_expressions: None,
        }),
        ip_block: None,
    }
}

fn address(cidr: &str) -> NetworkPolicyPeer {
    NetworkPolicyPeer {
        ip_block: Some(IPBlock {
            cidr: cidr.to_owned(),
            except: None,
        }),
        ..NetworkPolicyPeer::default()
    }
}

fn port_of(protocol: &str, port: IntOrString) -> NetworkPolicyPort {
    NetworkPolicyPort {
        protocol: Some(protocol.into()),
        port: Some(port),
        end_port: None,
    }
}

#[cfg(test)]
mod tests;
