//! What holds the code in a sandbox: looked at from inside, as hostile code would, and in what the cluster knows.

use cataloger::sandbox::pod::PodSandbox;
use cataloger::sandbox::pod::manifest::{Volume, VolumeSource};
use cataloger::sandbox::{CallId, Sandbox, Variables};
use cataloger_tests::cluster::{Cluster, SANDBOXES};
use cataloger_tests::databases;
use cataloger_tests::volume::Claim;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::Api;

use crate::{bare, on_the_cluster, open, output};

on_the_cluster!(
    has_no_privilege_and_no_token,
    has_its_secret_over_the_stream_only,
    reads_a_database_on_a_volume,
    has_room_only_where_it_was_given,
);

async fn has_no_privilege_and_no_token(cluster: Cluster) {
    let namespaces: Api<Namespace> = Api::all(cluster.admin.clone());
    let labels = namespaces.get(SANDBOXES).await.unwrap().metadata.labels.unwrap();
    assert_eq!(labels["pod-security.kubernetes.io/enforce"], "restricted");
    let sandbox = open(bare(&cluster)).await.unwrap();
    let seen = output(
        &sandbox,
        1,
        "import os\n\
         status = dict(line.split(':\\t') for line in open('/proc/self/status').read().splitlines() if ':\\t' in line)\n\
         def fails(do):\n    try: do()\n    except OSError as error: return type(error).__name__\n    return 'done'\n\
         print(os.getuid(), os.getgid(), os.getgroups())\n\
         print([int(status['Cap' + kind], 16) for kind in ('Inh', 'Prm', 'Eff', 'Bnd', 'Amb')], status['NoNewPrivs'], status['Seccomp'])\n\
         print(fails(lambda: open('/etc/x', 'w')), fails(lambda: open('/opt/cataloger/x', 'w')))\n\
         print(os.path.exists('/var/run/secrets/kubernetes.io'), os.path.exists('/run/secrets/kubernetes.io'))\n\
         print(sorted(name for name in os.environ if 'SERVICE' in name or 'KUBERNETES' in name or name.endswith('_PORT')))\n\
         print([path for path in ('/run/containerd/containerd.sock', '/var/run/docker.sock') if os.path.exists(path)])\n\
         print(sum(name.isdigit() for name in os.listdir('/proc')) < 10)",
    )
    .await;
    let expected = "1000 1000 [1000]\n[0, 0, 0, 0, 0] 1 2\nOSError OSError\nFalse False\n[]\n[]\nTrue\n";
    assert_eq!(seen, expected);
    sandbox.close().await.unwrap();
}

const URL: &str = "postgresql://reader:s3cr3t-of-the-database@db.example.com/shop";

async fn has_its_secret_over_the_stream_only(cluster: Cluster) {
    let env = Variables::from_iter([("DATABASE_URL", URL)]);
    let sandbox = PodSandbox::open(bare(&cluster), None, &env).await.unwrap();
    let code = "import os\nos.environ['DATABASE_URL'].rsplit('@')[1]";
    assert_eq!(output(&sandbox, 1, code).await, "'db.example.com/shop'\n");
    let pod: Pod = cluster.pods().get(sandbox.name()).await.unwrap();
    let manifest = serde_json::to_string(&pod).unwrap();
    let logs = cluster
        .pods()
        .logs(sandbox.name(), &kube::api::LogParams::default())
        .await
        .unwrap();
    for text in [manifest, logs] {
        assert!(
            !text.contains("s3cr3t") && !text.contains("DATABASE_URL"),
            "{text}"
        );
    }
    sandbox.close().await.unwrap();
}

/// A claim on a directory of the node, with a SQLite file in it; the sandbox is in the claim's namespace.
async fn reads_a_database_on_a_volume(cluster: Cluster) {
    if !cluster.own {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("shop.db");
    databases::sqlite(&file, "CREATE TABLE orders AS SELECT 7 AS id");
    let claim = Claim::new(&cluster, directory.path()).await;
    let mut options = cluster.options();
    claim.mount(&mut options, "/data");
    let env = Variables::from_iter([("DATABASE_URL", "sqlite:////data/shop.db")]);
    let sandbox = PodSandbox::open(options, None, &env).await.unwrap();
    let read = "connect_database().table('orders').to_pandas().id.tolist()";
    assert_eq!(output(&sandbox, 1, read).await, "[7]\n");
    let write = "try: open('/data/x', 'w')\nexcept OSError as error: print(error.errno)";
    assert_eq!(output(&sandbox, 2, write).await, "30\n");
    sandbox.close().await.unwrap();
    claim.remove().await;
}

async fn has_room_only_where_it_was_given(cluster: Cluster) {
    let mut options = bare(&cluster);
    options.shape.work = Quantity("8Mi".into());
    options.shape.volumes = vec![Volume {
        name: "room".into(),
        source: VolumeSource::Empty(Quantity("64Mi".into())),
        mounts: vec![("/room".into(), None)],
    }];
    let sandbox = open(options).await.unwrap();
    let fill = "import os\n\
         def fill(path, megabytes):\n    \
         try:\n        with open(path, 'wb') as file:\n            for _ in range(megabytes): file.write(bytes(1 << 20))\n    \
         except OSError as error: return error.strerror\n    return 'fits'\n\
         print(fill('/work/x', 16), fill('/room/x', 16), sep=', ')";
    assert_eq!(output(&sandbox, 1, fill).await, "No space left on device, fits\n");
    // What was given beside its own directories is emptied with them.
    let reset = sandbox.reset(CallId(2), &Variables::new()).await.unwrap();
    assert!(reset.ok, "{reset:?}");
    assert_eq!(
        output(&sandbox, 3, "import os\nos.listdir('/room'), os.listdir('/work')").await,
        "([], [])\n"
    );
    sandbox.close().await.unwrap();
}
