//! What policies say, written out in snapshots, and what they must never say.

use super::*;

fn owner() -> Owner {
    Owner {
        installation: "main".into(),
        namespace: "sales".into(),
        catalog: "shop".into(),
        uid: "0b5e".into(),
        run: "20261122T090000Z".into(),
    }
}

fn labels() -> BTreeMap<String, String> {
    [("app".to_owned(), "postgres".to_owned())].into()
}

#[test]
fn lets_out_to_what_was_named_and_nothing_else() {
    let destinations = [
        Destination {
            peer: Peer::addresses(["192.0.2.7".parse().unwrap(), "2001:db8::7".parse().unwrap()]),
            port: Port::Number(5432),
        },
        Destination {
            peer: Peer::Pods {
                namespace: "data".into(),
                labels: labels(),
            },
            port: Port::Named("sql".into()),
        },
    ];
    let policy = policy(&owner(), "cataloger-sandboxes", &destinations, &[]);
    insta::assert_snapshot!(serde_yaml::to_string(&policy).unwrap());
}

#[test]
fn lets_out_to_dns_only_on_request() {
    let policy = policy(&owner(), "cataloger-sandboxes", &[], &usual_dns());
    insta::assert_snapshot!(serde_yaml::to_string(&policy).unwrap());
}

#[test]
fn who_reaches_nothing_has_no_rule() {
    let spec = policy(&owner(), "x", &[], &[]).spec.unwrap();
    assert_eq!(spec.egress, None);
    assert_eq!(spec.policy_types.unwrap(), ["Ingress", "Egress"]);
}

/// To Kubernetes, no peers are all peers.
#[test]
fn a_peer_that_nobody_is_lets_nothing_through() {
    let nobody = [
        Peer::Blocks(Vec::new()),
        Peer::Pods {
            namespace: "data".into(),
            labels: BTreeMap::new(),
        },
    ];
    for peer in nobody {
        let destination = Destination {
            peer,
            port: Port::Number(5432),
        };
        assert_eq!(
            policy(&owner(), "x", &[destination], &[]).spec.unwrap().egress,
            None
        );
    }
}
