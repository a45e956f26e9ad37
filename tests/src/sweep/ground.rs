//! Where the cases of a sweep are: one place in the cluster, one database, and a model that plays its part. Each case
//! has a namespace, an installation, a lease and a prefix of its own, so that several can go at once.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use cataloger::api::Catalog;
use cataloger::api::catalog::Phase;
use cataloger::sandbox::pod::manifest::INSTALLATION;
use cataloger::store::{Key, Store as _};
use k8s_openapi::api::core::v1::{Namespace, Pod};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::Api;
use kube::api::{DeleteParams, ListParams};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::author::{Author, Move, page};
use crate::faults::{Points, Proxy};
use crate::model_server::{KEY, ModelServer};
use crate::operator::{Operator, Outside, Tenant, bucket, handled, phase};
use crate::s3;
use crate::served::Served;

/// How long what nobody needs may stay.
const LEAVING: Duration = Duration::from_mins(1);
const LOOK: Duration = Duration::from_millis(300);
/// The run that is there before: what the summary compares with.
pub(super) const EARLIER: &str = "20260101T000000Z";

/// What all cases stand on.
#[derive(Debug)]
pub struct Ground {
    pub(super) operator: Operator,
    _shop: Served,
    database: String,
    logs: TempDir,
}

impl Ground {
    /// A place of its own; none where the cluster is not the tests' own.
    pub async fn new(what: &str) -> Option<Self> {
        let operator = Operator::without_pods(what).await?;
        let shop = Served::postgres_shop();
        // Else the server counts its rows some time between two runs, and both would tell another number.
        shop.execute("ANALYZE");
        Some(Self {
            operator,
            database: shop.reader(),
            _shop: shop,
            logs: tempfile::tempdir().expect("a directory"),
        })
    }
}

/// What a model does in each run: some code, two pieces of it at once, a page; and for the summary the same in short.
pub(super) fn author() -> Author {
    Author {
        catalog: vec![
            Move::Execute("db = connect_database()\nsorted(db.list_tables())".into()),
            Move::Both(
                "orders = db.table('orders')\nrows = orders.count().execute()\nrows".into(),
                "total = 40 + 2\ntotal / 0".into(),
            ),
            Move::Submit(page("<p>3 orders</p>")),
        ],
        summary: vec![
            Move::Execute("import os\nsorted(os.listdir('.'))".into()),
            Move::Submit(page("<p>An order more</p>")),
        ],
        latency: Duration::ZERO,
    }
}

/// An installation with proxies before all that it talks to.
pub(super) struct Scene<'a> {
    pub(super) ground: &'a Ground,
    pub(super) tenant: Tenant<'a>,
    pub(super) installation: String,
    pub(super) server: ModelServer,
    pub(super) points: Points,
    pub(super) api: Proxy,
    bucket: Proxy,
    model: Proxy,
    kubeconfig: PathBuf,
    log: PathBuf,
}

impl<'a> Scene<'a> {
    /// Of this name, which no other one of the ground has.
    pub(super) async fn new(ground: &'a Ground, name: &str, points: Points, author: Author) -> Self {
        let operator = &ground.operator;
        let tenant = operator.another_tenant(name).await;
        let server = ModelServer::start().await;
        server.think(author.brain());
        let upstream = s3::in_cluster().endpoint.expect("it has an address");
        let api = Proxy::api(&operator.cluster.config, &points).await;
        let kubeconfig = ground.logs.path().join(format!("{name}.kubeconfig"));
        std::fs::write(&kubeconfig, api.kubeconfig()).expect("a file");
        Self {
            installation: tenant.namespace.clone(),
            bucket: Proxy::bucket(&upstream, &points).await,
            model: Proxy::model(&server.url(), &points).await,
            log: ground.logs.path().join(format!("{name}.log")),
            ground,
            tenant,
            server,
            points,
            api,
            kubeconfig,
        }
    }

    /// A Catalog with a provider of its own, whose name is in the paths of what it is asked, and the page of an earlier
    /// run.
    pub(super) async fn begin(&self, name: &str) {
        self.tenant.secret("anthropic", &[("key", KEY)]).await;
        let key = json!({"name": "anthropic", "key": "key"});
        let spec = json!({
            "anthropic": {"apiKeySecretRef": key, "baseURL": format!("{}/{name}", self.model.url())},
            "defaultModel": "claude-sonnet-5-5",
        });
        self.tenant.provider(name, spec).await;
        let prefix = self.prefix(name);
        let key = Key::new(format!("{prefix}/{EARLIER}/catalog.html")).expect("a key");
        let earlier = Bytes::from(page("<p>2 orders</p>"));
        let put = bucket()
            .await
            .put(&key, earlier, cataloger::store::ContentType::Html)
            .await;
        put.expect("it can be written");
        let choice = json!({"model": {"providerRef": {"name": name}}});
        self.tenant.begin(name, &self.ground.database, choice).await;
    }

    /// What the keys of a Catalog's objects begin with.
    pub(super) fn prefix(&self, name: &str) -> String {
        format!("{}/{}/{name}", self.ground.operator.name, self.tenant.namespace)
    }

    /// The operator, by a name.
    pub(super) fn command(&self, identity: &str, more: &[(&str, &str)]) -> tokio::process::Command {
        let environment = more
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned()))
            .collect();
        self.ground.operator.outside(&Outside {
            installation: &self.installation,
            identity,
            namespaces: vec![self.tenant.namespace.clone()],
            kubeconfig: &self.kubeconfig,
            bucket: &self.bucket.url(),
            log: &self.log,
            environment,
        })
    }

    /// The last lines of all its logs.
    pub(super) fn log(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(60)..].join("\n")
    }

    /// Waits until a Catalog's run is over, for as long as that may take; what became of it.
    pub(super) async fn over(&self, name: &str, patience: Duration) -> Result<Catalog, String> {
        let over = |catalog: &Catalog| {
            let ended = [Some(Phase::Succeeded), Some(Phase::Failed)];
            handled(catalog) && ended.contains(&phase(catalog))
        };
        let catalogs = self.tenant.catalogs();
        match crate::operator::until(&catalogs, name, patience, over).await {
            Ok(catalog) if phase(&catalog) == Some(Phase::Succeeded) => Ok(catalog),
            Ok(catalog) => Err(format!("it has failed: {}", shown(&json!(catalog.status)))),
            Err(last) => Err(format!(
                "it does not end: {}",
                shown(&json!(last.and_then(|it| it.status)))
            )),
        }
    }

    /// Waits until its sandboxes and their policies are gone; those that stay.
    pub(super) async fn leftovers(&self) -> Vec<String> {
        let began = Instant::now();
        loop {
            let left = self.sandboxes().await;
            if left.is_empty() || began.elapsed() > LEAVING {
                return left;
            }
            sleep(LOOK).await;
        }
    }

    /// Its sandboxes, and their policies.
    pub(super) async fn sandboxes(&self) -> Vec<String> {
        let ours = ListParams::default().labels(&format!("{INSTALLATION}={}", self.installation));
        let (admin, namespace) = (
            &self.ground.operator.cluster.admin,
            self.ground.operator.sandboxes(),
        );
        let pods: Api<Pod> = Api::namespaced(admin.clone(), &namespace);
        let policies: Api<NetworkPolicy> = Api::namespaced(admin.clone(), &namespace);
        let pods = pods.list_metadata(&ours).await.expect("they can be listed").items;
        let policies = policies
            .list_metadata(&ours)
            .await
            .expect("they can be listed")
            .items;
        let pods = pods.into_iter().map(|it| ("Pod", it.metadata.name));
        let policies = policies.into_iter().map(|it| ("policy", it.metadata.name));
        pods.chain(policies)
            .map(|(kind, name)| format!("{kind} {}", name.unwrap_or_default()))
            .collect()
    }

    /// Removes what the cluster has of it.
    pub(super) async fn remove(&self) {
        let namespaces: Api<Namespace> = Api::all(self.ground.operator.cluster.admin.clone());
        // The next process would.
        let _ = namespaces
            .delete(&self.tenant.namespace, &DeleteParams::default())
            .await;
    }
}

fn shown(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}
