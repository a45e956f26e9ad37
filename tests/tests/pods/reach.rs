//! What a sandbox reaches, with packets that are really sent: its database, and nothing else.

use std::net::IpAddr;

use async_trait::async_trait;
use cataloger::sandbox::pod::policy::{Destination, Peer, Port};
use cataloger::sandbox::pod::reach::{Reach, ReachError, Resolver, SystemResolver, reach};
use cataloger::sandbox::pod::{PodOptions, PodSandbox};
use cataloger::sandbox::{Sandbox, Variables};
use cataloger_tests::cluster::{Cluster, apply};
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::Api;
use kube::api::{DeleteParams, ListParams};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;

use crate::{bare, on_the_cluster, open, output};

on_the_cluster!(
    reaches_the_database_that_is_a_service,
    reaches_a_service_by_its_pods,
    reaches_a_host_outside_by_its_address,
    reaches_nothing_by_default,
    is_reached_by_nobody,
    resolves_names_only_on_request,
    is_told_what_is_wrong_with_a_host,
);

/// Tries connections, all at once, for so long as one that a policy drops would take to come through.
const TRY: &str = "\
import socket, concurrent.futures as f
def tries(place):
    host, port = place
    try:
        with socket.create_connection((host, port), timeout=2): return 'open'
    except socket.gaierror: return 'no such name'
    except TimeoutError: return 'closed'
    except OSError as error: return type(error).__name__
def trying(*places):
    with f.ThreadPoolExecutor(32) as pool: return list(pool.map(tries, places))
";

const LISTEN: &str = "import socket\nserver = socket.create_server(('', 8080))";

/// The address of a sandbox's Pod.
async fn address(cluster: &Cluster, name: &str) -> String {
    let pod = cluster.pods().get(name).await.unwrap();
    pod.status.unwrap().pod_ip.unwrap()
}

/// Where the tests' PostgreSQL is.
struct Postgres {
    pod: IpAddr,
    service: IpAddr,
}

async fn postgres(cluster: &Cluster) -> Postgres {
    let services: Api<Service> = Api::namespaced(cluster.admin.clone(), "cataloger-tests");
    let spec = services
        .get("postgres")
        .await
        .expect("the tests' servers are up")
        .spec
        .unwrap();
    let labels: Vec<_> = spec
        .selector
        .unwrap()
        .iter()
        .map(|(n, v)| format!("{n}={v}"))
        .collect();
    let pods: Api<Pod> = Api::namespaced(cluster.admin.clone(), "cataloger-tests");
    let found = pods
        .list(&ListParams::default().labels(&labels.join(",")))
        .await
        .unwrap();
    let address = found
        .items
        .iter()
        .find_map(|pod| pod.status.as_ref()?.pod_ip.clone());
    Postgres {
        pod: address.expect("it runs").parse().unwrap(),
        service: spec.cluster_ip.unwrap().parse().unwrap(),
    }
}

async fn found(cluster: &Cluster, host: &str, port: u16) -> Result<Reach, ReachError> {
    reach(
        &cluster.operator,
        &SystemResolver,
        "sales",
        "cluster.local",
        host,
        port,
    )
    .await
}

fn that_reaches(cluster: &Cluster, reach: Reach) -> PodOptions {
    let mut options = bare(cluster);
    options.destinations = reach.destinations;
    options.names.hosts = reach.hosts;
    options
}

/// A listener of this machine on an address of the cluster's node, that Pods could reach. Its port.
async fn host_of_the_test(address: IpAddr) -> u16 {
    let listener = TcpListener::bind((address, 0))
        .await
        .expect("an address of this machine");
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(b"here").await;
        }
    });
    port
}

/// The address of the cluster's node, which is this machine.
fn node(cluster: &Cluster) -> IpAddr {
    cluster.config.cluster_url.host().unwrap().parse().unwrap()
}

async fn reaches_the_database_that_is_a_service(cluster: Cluster) {
    if !cluster.own {
        return;
    }
    let postgres = postgres(&cluster).await;
    let host = "postgres.cataloger-tests.svc.cluster.local";
    let reach = found(&cluster, host, 5432).await.unwrap();
    assert!(
        matches!(&reach.destinations[0].peer, Peer::Pods { namespace, .. } if namespace == "cataloger-tests")
    );
    let mut options = that_reaches(&cluster, reach);
    options.shape.arguments.clear();
    let password = "s3cr%25t%2Fwith%40odd%3Aparts";
    let url = format!("postgresql://postgres:{password}@{host}:5432/postgres");
    let sandbox = PodSandbox::open(options, None, &Variables::from_iter([("DATABASE_URL", url)]))
        .await
        .unwrap();
    let read = "connect_database().sql('select 6 * 7 as answer').to_pandas().answer.tolist()";
    assert_eq!(output(&sandbox, 1, read).await, "[42]\n");
    // The same server by its other addresses is as open; all else that there is in a cluster is closed.
    let (node, here) = (node(&cluster), host_of_the_test(node(&cluster)).await);
    let Postgres { pod, service } = postgres;
    let tried = output(
        &sandbox,
        2,
        &format!(
            "{TRY}trying(('{pod}', 5432), ('{service}', 5432), ('{pod}', 5433), ('{node}', {here}), ('{node}', 6443), ('{node}', 10250), \
             ('198.19.0.1', 443), ('mariadb.cataloger-tests.svc', 3306), ('198.19.0.33', 3306), ('198.19.0.10', 53))"
        ),
    )
    .await;
    assert_eq!(
        tried,
        "['open', 'open', 'closed', 'closed', 'closed', 'closed', 'closed', 'no such name', 'closed', 'closed']\n"
    );
    sandbox.close().await.unwrap();
}

/// A Service whose port is not its Pods' port, and has a name.
async fn reaches_a_service_by_its_pods(cluster: Cluster) {
    let server = open(bare(&cluster)).await.unwrap();
    let name = server.name().to_owned();
    // The server is a Pod of the tests: here, another sandbox, that listens, with a policy that lets us in.
    let namespace = cataloger_tests::cluster::SANDBOXES;
    for object in [
        format!(
            "{{apiVersion: v1, kind: Service, metadata: {{name: {name}, namespace: {namespace}}}, spec: {{selector: {{cataloger.dev/sandbox: {name}}}, ports: [{{port: 80, targetPort: 8080}}]}}}}"
        ),
        format!(
            "{{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {{name: {name}-in, namespace: {namespace}}}, spec: {{podSelector: {{matchLabels: {{cataloger.dev/sandbox: {name}}}}}, policyTypes: [Ingress], ingress: [{{ports: [{{port: 8080}}, {{port: 8081}}]}}]}}}}"
        ),
    ] {
        apply(
            &cluster.admin,
            &serde_yaml::from_str::<serde_json::Value>(&object).unwrap(),
        )
        .await;
    }
    let listen = "import socket, threading\nservers = [socket.create_server(('', port)) for port in (8080, 8081)]\nlen(servers)";
    assert_eq!(output(&server, 1, listen).await, "2\n");
    let host = format!("{name}.{namespace}");
    let reach = loop {
        // The Service's endpoints come a moment after it.
        match found(&cluster, &host, 80).await {
            Ok(reach) => break reach,
            Err(ReachError::NoEndpoints { .. }) => tokio::task::yield_now().await,
            Err(error) => panic!("{error}"),
        }
    };
    assert_eq!(reach.destinations[0].port, Port::Number(8080));
    let sandbox = open(that_reaches(&cluster, reach)).await.unwrap();
    let pod = cluster
        .pods()
        .get(&name)
        .await
        .unwrap()
        .status
        .unwrap()
        .pod_ip
        .unwrap();
    let code = format!("{TRY}trying(('{host}', 80), ('{pod}', 8080), ('{pod}', 8081), ('{host}', 81))");
    assert_eq!(
        output(&sandbox, 1, &code).await,
        "['open', 'open', 'closed', 'closed']\n"
    );
    let error = found(&cluster, &host, 81).await.expect_err("it has no such port");
    assert!(error.to_string().contains("(it has 80)"), "{error}");
    sandbox.remove().await.unwrap();
    server.remove().await.unwrap();
    let services: Api<Service> = Api::namespaced(cluster.admin.clone(), namespace);
    let policies: Api<k8s_openapi::api::networking::v1::NetworkPolicy> =
        Api::namespaced(cluster.admin.clone(), namespace);
    services.delete(&name, &DeleteParams::default()).await.unwrap();
    policies
        .delete(&format!("{name}-in"), &DeleteParams::default())
        .await
        .unwrap();
}

/// Names that the test has made up.
struct Names(IpAddr);

#[async_trait]
impl Resolver for Names {
    async fn addresses(&self, host: &str) -> std::io::Result<Vec<IpAddr>> {
        match host {
            "db.example.com" => Ok(vec![self.0]),
            _ => Err(std::io::Error::other("no such name")),
        }
    }
}

async fn reaches_a_host_outside_by_its_address(cluster: Cluster) {
    if !cluster.own {
        return;
    }
    let node = node(&cluster);
    let (named, other) = (host_of_the_test(node).await, host_of_the_test(node).await);
    let reach = reach(
        &cluster.operator,
        &Names(node),
        "sales",
        "cluster.local",
        "db.example.com",
        named,
    )
    .await
    .unwrap();
    let mut options = that_reaches(&cluster, reach);
    // And what a Catalog adds.
    options.destinations.push(Destination {
        peer: Peer::Blocks(vec!["198.19.0.34/32".into(), format!("{node}/32")]),
        port: Port::Number(7070),
    });
    let sandbox = open(options).await.unwrap();
    let code = format!("{TRY}trying(('db.example.com', {named}), ('{node}', {named}), ('{node}', {other}))");
    assert_eq!(output(&sandbox, 1, &code).await, "['open', 'open', 'closed']\n");
    sandbox.close().await.unwrap();
}

async fn reaches_nothing_by_default(cluster: Cluster) {
    if !cluster.own {
        return;
    }
    let node = node(&cluster);
    let here = host_of_the_test(node).await;
    let Postgres { pod, service } = postgres(&cluster).await;
    let other = open(bare(&cluster)).await.unwrap();
    let neighbour = address(&cluster, other.name()).await;
    output(&other, 1, LISTEN).await;
    let sandbox = open(bare(&cluster)).await.unwrap();
    let code = format!(
        "{TRY}set(trying(('{node}', {here}), ('{pod}', 5432), ('{service}', 5432), ('{neighbour}', 8080), ('198.19.0.1', 443)))"
    );
    assert_eq!(output(&sandbox, 1, &code).await, "{'closed'}\n");
    // Datagrams are lost as well: nobody answers one that would be answered.
    let dns = "import socket\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\ns.settimeout(2)\n\
         question = b'\\x12\\x34\\x01\\x00\\x00\\x01\\x00\\x00\\x00\\x00\\x00\\x00\\x0akubernetes\\x07default\\x03svc\\x07cluster\\x05local\\x00\\x00\\x01\\x00\\x01'\n\
         try:\n    s.sendto(question, ('198.19.0.10', 53))\n    print(len(s.recv(512)) > 0)\nexcept OSError as error: print(type(error).__name__)";
    assert_eq!(output(&sandbox, 2, dns).await, "TimeoutError\n");
    sandbox.close().await.unwrap();
    other.close().await.unwrap();
}

async fn is_reached_by_nobody(cluster: Cluster) {
    if !cluster.own {
        return;
    }
    let server = open(bare(&cluster)).await.unwrap();
    output(&server, 1, LISTEN).await;
    let address = address(&cluster, server.name()).await;
    // From a Pod that may go everywhere.
    let mut options = bare(&cluster);
    options.destinations = vec![Destination {
        peer: Peer::Blocks(vec!["0.0.0.0/0".into()]),
        port: Port::Number(8080),
    }];
    let caller = open(options).await.unwrap();
    let code = format!("{TRY}trying(('{address}', 8080))");
    assert_eq!(output(&caller, 1, &code).await, "['closed']\n");
    caller.close().await.unwrap();
    server.close().await.unwrap();
}

async fn resolves_names_only_on_request(cluster: Cluster) {
    if !cluster.own {
        return;
    }
    let code = "import socket, time\nbegan = time.monotonic()\n\
         def resolve():\n    try: return socket.gethostbyname('kubernetes.default.svc.cluster.local')\n    except OSError as error: return type(error).__name__\n\
         resolve(), time.monotonic() - began < 1";
    let without = open(bare(&cluster)).await.unwrap();
    assert_eq!(output(&without, 1, code).await, "('gaierror', True)\n");
    without.close().await.unwrap();
    let mut options = bare(&cluster);
    options.names.dns = cataloger::sandbox::pod::policy::usual_dns();
    let with = open(options).await.unwrap();
    assert_eq!(output(&with, 1, code).await, "('198.19.0.1', True)\n");
    with.close().await.unwrap();
}

async fn is_told_what_is_wrong_with_a_host(cluster: Cluster) {
    for (host, expected) in [
        (
            "no-such.cataloger-tests.svc",
            "the Service cataloger-tests/no-such, which is not there",
        ),
        ("localhost", "which is the sandbox itself"),
        ("169.254.169.254", "which is a link-local address"),
        ("no-such-host.invalid", "has no address"),
    ] {
        let error = found(&cluster, host, 5432)
            .await
            .expect_err("it can't be reached")
            .to_string();
        assert!(error.contains(expected), "{host}: {error}");
    }
}
