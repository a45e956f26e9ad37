//! What each way to name a database becomes, without a cluster.

use serde_json::{Value, json};

use super::*;

fn spec(value: Value) -> ServiceSpec {
    serde_json::from_value(value).unwrap()
}

fn slice(addresses: &[&str], port: u16) -> EndpointSlice {
    serde_json::from_value(json!({
        "metadata": {}, "addressType": "IPv4",
        "endpoints": [{"addresses": addresses, "hostname": "postgres-0"}],
        "ports": [{"port": port}],
    }))
    .unwrap()
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn place(host: &'static str, pod: Option<&'static str>) -> Place<'static> {
    Place {
        namespace: "data",
        service: "data/postgres",
        host,
        pod,
    }
}

fn hosts_file(addresses: &[&str], name: &str) -> BTreeMap<IpAddr, Vec<String>> {
    addresses
        .iter()
        .map(|it| (address(it), vec![name.to_owned()]))
        .collect()
}

#[test]
fn names_are_read_as_a_pod_would() {
    let read = |host| Name::read(host, "sales", "cluster.local");
    let service = |namespace: &str, name: &str, pod: Option<&str>, certain| Name::Service {
        namespace: namespace.into(),
        name: name.into(),
        pod: pod.map(str::to_owned),
        certain,
    };
    assert_eq!(read("192.0.2.1"), Name::Address(address("192.0.2.1")));
    assert_eq!(read("[2001:db8::1]"), Name::Address(address("2001:db8::1")));
    assert_eq!(read("postgres"), service("sales", "postgres", None, false));
    assert_eq!(read("postgres.data"), service("data", "postgres", None, false));
    assert_eq!(read("Postgres.data.svc"), service("data", "postgres", None, true));
    assert_eq!(
        read("postgres.data.svc.cluster.local."),
        service("data", "postgres", None, true)
    );
    assert_eq!(
        read("postgres-0.postgres.data.svc.cluster.local"),
        service("data", "postgres", Some("postgres-0"), true)
    );
    assert_eq!(read("db.example.com"), Name::Outside);
    assert_eq!(read("a.b.c.d.svc"), Name::Outside);
}

#[test]
fn a_service_becomes_its_pods_and_their_port() {
    let spec = spec(json!({
        "clusterIP": "10.96.0.7", "clusterIPs": ["10.96.0.7"], "selector": {"app": "postgres"},
        "ports": [{"port": 80, "targetPort": 8080}, {"port": 5432, "targetPort": "sql"}],
    }));
    let reach = inside(&place("postgres.data", None), &spec, &[], 5432).unwrap();
    let expected = Destination {
        peer: Peer::Pods {
            namespace: "data".into(),
            labels: [("app".to_owned(), "postgres".to_owned())].into(),
        },
        port: Port::Named("sql".into()),
    };
    assert_eq!(reach.destinations, [expected]);
    assert_eq!(reach.hosts, hosts_file(&["10.96.0.7"], "postgres.data"));

    let error = inside(&place("postgres.data", None), &spec, &[], 5433).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the Service data/postgres has no TCP port 5433 (it has 80, 5432): look at the port in the database's URL"
    );
}

#[test]
fn a_headless_service_is_reached_on_the_port_of_its_pods() {
    let spec = spec(json!({
        "clusterIP": "None", "clusterIPs": ["None"], "selector": {"app": "postgres"},
        "ports": [{"port": 5432, "targetPort": 9999}],
    }));
    let slices = [slice(&["10.1.0.4"], 9999), slice(&["10.1.0.5", "10.1.0.4"], 9999)];
    let reach = inside(&place("postgres.data.svc", None), &spec, &slices, 5432).unwrap();
    assert_eq!(reach.destinations[0].port, Port::Number(5432));
    assert_eq!(
        reach.hosts,
        hosts_file(&["10.1.0.4", "10.1.0.5"], "postgres.data.svc")
    );

    let host = "postgres-1.postgres.data.svc";
    let error = inside(&place(host, Some("postgres-1")), &spec, &slices, 5432).unwrap_err();
    assert!(matches!(error, ReachError::NoEndpoints { .. }), "{error}");
}

#[test]
fn a_service_without_selector_becomes_what_was_listed_for_it() {
    let spec = spec(json!({"clusterIP": "10.96.0.8", "ports": [{"port": 5432, "targetPort": 6000}]}));
    let slices = [slice(&["192.0.2.10", "169.254.169.254"], 6432)];
    let reach = inside(&place("outside.data.svc", None), &spec, &slices, 5432).unwrap();
    let expected = Destination {
        peer: Peer::Blocks(vec!["192.0.2.10/32".into()]),
        port: Port::Number(6432),
    };
    assert_eq!(reach.destinations, [expected]);
    assert_eq!(reach.hosts, hosts_file(&["10.96.0.8"], "outside.data.svc"));
    let error = inside(&place("outside.data.svc", None), &spec, &[], 5432).unwrap_err();
    assert!(matches!(error, ReachError::NoEndpoints { .. }), "{error}");
}

#[test]
fn a_host_outside_becomes_its_addresses() {
    let reach = outside(
        "DB.example.com.",
        vec![address("192.0.2.3"), address("2001:db8::3")],
        3306,
    )
    .unwrap();
    assert_eq!(
        reach.destinations[0].peer,
        Peer::Blocks(vec!["192.0.2.3/32".into(), "2001:db8::3/128".into()])
    );
    assert_eq!(
        reach.hosts,
        hosts_file(&["192.0.2.3", "2001:db8::3"], "db.example.com")
    );
    let reach = outside("192.0.2.3", vec![address("192.0.2.3")], 3306).unwrap();
    assert!(reach.hosts.is_empty());
}

#[test]
fn addresses_that_no_database_has_are_refused() {
    for text in [
        "127.0.0.1",
        "::1",
        "0.0.0.0",
        "169.254.169.254",
        "fe80::1",
        "::ffff:127.0.0.1",
        "224.0.0.1",
    ] {
        let error = outside("db.example.com", vec![address(text)], 5432).unwrap_err();
        assert!(matches!(error, ReachError::Local { .. }), "{text}: {error}");
    }
}
