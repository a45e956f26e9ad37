//! The operator's image: what is in it, and that it runs in a Pod under the restricted profile.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use cataloger_tests::cluster::{Cluster, cluster};
use cataloger_tests::place::python;
use cataloger_tests::s3;
use cataloger_tests::script::{self, last_line};
use futures::TryStreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{DeleteParams, LogParams, PostParams, WatchEvent, WatchParams};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;
use tokio::sync::OnceCell;
use tokio::time::timeout;

/// The namespace of its Pods.
const NAMESPACE: &str = "cataloger-tests-operator";
const TIME: Duration = Duration::from_mins(1);

/// The image's name, built at the first call.
async fn built() -> &'static str {
    static BUILT: OnceCell<String> = OnceCell::const_new();
    BUILT
        .get_or_init(|| async {
            match std::env::var("CATALOGER_TEST_OPERATOR_IMAGE") {
                Ok(given) => given,
                Err(_) => last_line("operator/image", &["--image"]).await,
            }
        })
        .await
}

/// The image's name, in the cluster from now on.
async fn loaded(cluster: &Cluster) -> &'static str {
    let image = built().await;
    if cluster.own {
        script::run("tests/cluster/load", &[image]).await;
    }
    image
}

/// A directory with the image's files.
async fn unpacked() -> TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().to_str().expect("it is text");
    script::run("tests/unpack", &[built().await, path]).await;
    directory
}

/// What a program said, and whether it ended well.
#[derive(Debug)]
struct Ended {
    well: bool,
    said: String,
}

/// Runs the image's program to its end, in a Pod under the restricted profile.
async fn run(cluster: &Cluster, arguments: &[&str], environment: &[(&str, &str)]) -> Ended {
    cluster.namespace(NAMESPACE).await;
    let environment: Vec<_> = environment
        .iter()
        .map(|(name, value)| json!({"name": name, "value": value}))
        .collect();
    // No uid: the kubelet runs it only if the image says one, and that is not root's.
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"generateName": "operator-"},
        "spec": {
            "automountServiceAccountToken": false, "enableServiceLinks": false, "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 0,
            "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{
                "name": "operator", "image": loaded(cluster).await, "args": arguments, "env": environment,
                "imagePullPolicy": if cluster.own { "Never" } else { "IfNotPresent" },
                "resources": {"limits": {"memory": "256Mi"}},
                "securityContext": {"allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true,
                                    "capabilities": {"drop": ["ALL"]}},
            }],
        },
    });
    let pod: Pod = serde_json::from_value(pod).expect("a Pod");
    let pods: Api<Pod> = Api::namespaced(cluster.admin.clone(), NAMESPACE);
    let made = pods
        .create(&PostParams::default(), &pod)
        .await
        .expect("the profile lets it in");
    let name = made.metadata.name.expect("it has a name");
    let phase = timeout(TIME, ended(&pods, &name)).await;
    let logs = pods.logs(&name, &LogParams::default()).await;
    let last = pods.get(&name).await.expect("it is there").status;
    pods.delete(&name, &DeleteParams::default().grace_period(0))
        .await
        .expect("it is there");
    Ended {
        well: phase.unwrap_or_else(|_| panic!("it does not end: {last:?}")) == "Succeeded",
        said: logs.expect("it ran"),
    }
}

/// The phase that a Pod ends in.
async fn ended(pods: &Api<Pod>, name: &str) -> String {
    let only = WatchParams::default().fields(&format!("metadata.name={name}"));
    let events = pods.watch(&only, "0").await.expect("it can be watched");
    let mut events = Box::pin(events);
    loop {
        let event = events.try_next().await.expect("it can be watched");
        let Some(WatchEvent::Added(pod) | WatchEvent::Modified(pod)) = event else {
            continue;
        };
        let phase = pod.status.and_then(|it| it.phase).unwrap_or_default();
        if ["Succeeded", "Failed"].contains(&phase.as_str()) {
            return phase;
        }
    }
}

/// What is below a directory and no directory, by name.
fn files(directory: &Path, below: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).expect("it can be read") {
        let path = entry.expect("it can be read").path();
        let about = path.symlink_metadata().expect("it can be read");
        if about.is_dir() {
            found.extend(files(&path, below));
        } else {
            let name = path
                .strip_prefix(below)
                .expect("it is below")
                .to_string_lossy()
                .into_owned();
            found.push(name);
        }
    }
    found.sort();
    found
}

#[tokio::test]
async fn it_holds_the_program_and_four_files() {
    let root = unpacked().await;
    assert_eq!(
        files(root.path(), root.path()),
        [
            "etc/group",
            "etc/nsswitch.conf",
            "etc/passwd",
            "etc/ssl/certs/ca-certificates.crt",
            "usr/bin/cataloger"
        ]
    );
}

/// Scanners look for its crates in a section of the program, and nowhere else: there is no lock file in the image.
#[tokio::test]
async fn its_program_names_its_crates() {
    let root = unpacked().await;
    let (section, rest) = (root.path().join("section"), root.path().join("rest"));
    let dumped = Command::new("objcopy")
        .arg(format!("--dump-section=.dep-v0={}", section.display()))
        .arg(root.path().join("usr/bin/cataloger"))
        .arg(rest)
        .status();
    assert!(dumped.await.expect("objcopy is there").success());
    let unpack = "import sys, zlib; sys.stdout.buffer.write(zlib.decompress(open(sys.argv[1], 'rb').read()))";
    let text = Command::new(python().await)
        .args(["-c", unpack])
        .arg(&section)
        .output();
    let text = text.await.expect("there is a Python").stdout;
    let told: Value = serde_json::from_slice(&text).expect("it is JSON");
    let told: BTreeSet<(String, String)> = told["packages"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|it| {
            (
                it["name"].as_str().unwrap().into(),
                it["version"].as_str().unwrap().into(),
            )
        })
        .collect();

    let lock = std::fs::read_to_string(script::repository().join("Cargo.lock")).expect("it can be read");
    let value = |line: Option<&str>, name| {
        let value = line?.strip_prefix(name)?.strip_prefix(" = \"")?;
        Some(value.strip_suffix('"')?.to_owned())
    };
    let locked: BTreeSet<(String, String)> = lock
        .split("[[package]]\n")
        .filter_map(|package| {
            let mut lines = package.lines();
            Some((value(lines.next(), "name")?, value(lines.next(), "version")?))
        })
        .collect();
    assert!(told.is_subset(&locked), "{:?}", told.difference(&locked));
    let has = |name| told.iter().any(|(told, _)| told == name);
    for part in ["cataloger", "kube", "tokio", "aws-sdk-s3", "rustls"] {
        assert!(has(part), "{part}");
    }
    for other in ["cataloger-tests", "proptest", "insta"] {
        assert!(!has(other), "{other} is for tests");
    }
}

#[tokio::test]
async fn it_runs_without_rights_on_a_root_that_it_cannot_write() {
    let cluster = cluster().await;
    let ended = run(&cluster, &["--version"], &[]).await;
    assert!(ended.well, "{ended:?}");
    assert_eq!(
        ended.said.trim(),
        concat!("cataloger ", env!("CARGO_PKG_VERSION"))
    );
}

/// Both images say which version they are of: the crate's. Another test holds the chart to it.
#[tokio::test]
async fn its_label_and_the_sandboxes_have_the_crates_version() {
    let cluster = cluster().await;
    if !cluster.own {
        // Of images that somebody else has given there is no more than a name.
        return;
    }
    for image in [built().await, &cluster.image] {
        let label = "org.opencontainers.image.version";
        let version = last_line("tests/image-label", &[image, label]).await;
        assert_eq!(version, env!("CARGO_PKG_VERSION"), "{image}");
    }
}

#[tokio::test]
async fn it_trusts_what_everybody_trusts_and_nothing_of_this_machine() {
    let certificates = |path: &Path| {
        let bundle = std::fs::read_to_string(path).expect("a bundle");
        let blocks: Vec<_> = bundle
            .split_inclusive("-----END CERTIFICATE-----")
            .map(str::trim)
            .map(str::to_owned)
            .collect();
        blocks
            .into_iter()
            .filter(|block| !block.is_empty())
            .collect::<Vec<_>>()
    };
    let root = unpacked().await;
    let bundle = certificates(&root.path().join("etc/ssl/certs/ca-certificates.crt"));
    assert!(bundle.len() > 100, "{}", bundle.len());
    for entry in std::fs::read_dir("/usr/local/share/ca-certificates")
        .into_iter()
        .flatten()
        .flatten()
    {
        let path = entry.path();
        if path.is_file() {
            for added in certificates(&path) {
                assert!(!bundle.contains(&added), "{}", path.display());
            }
        }
    }
}

#[tokio::test]
async fn it_resolves_names() {
    let cluster = cluster().await;
    if !cluster.own {
        return;
    }
    let comment = async |host: &str| {
        let page = format!("s3://{}/there", s3::BUCKET);
        let endpoint = format!("http://{host}:7070");
        let arguments = ["comment", "well done", "--output", &page];
        let environment = [
            ("AWS_ENDPOINT_URL", endpoint.as_str()),
            ("AWS_ACCESS_KEY_ID", s3::ID),
            ("AWS_SECRET_ACCESS_KEY", s3::SECRET),
            ("AWS_REGION", "us-east-1"),
        ];
        run(&cluster, &arguments, &environment).await.said
    };
    // The bucket answered: it was found, and it is empty.
    let said = comment("s3.cataloger-tests").await;
    assert!(said.contains("there is no catalog"), "{said}");
    let said = comment("elsewhere.cataloger-tests").await;
    assert!(
        said.contains("elsewhere.cataloger-tests") && !said.contains("there is no catalog"),
        "{said}"
    );
}
