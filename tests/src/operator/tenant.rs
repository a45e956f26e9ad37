//! A namespace of somebody who writes Catalogs: what they apply, what they read of it, and where the pages are.

use std::fmt::Debug;
use std::time::Duration;

use bytes::Bytes;
use cataloger::api::catalog::{Phase, RunStatus};
use cataloger::api::{Catalog, CatalogSchedule, ModelProvider, REQUESTED_AT};
use cataloger::store::{Depth, Key, S3Store, Store as _, list_all};
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::Api;
use kube::api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{Operator, gone, until};
use crate::cluster::{apply, try_apply};
use crate::command::Cataloger;
use crate::s3;

/// How long anything may take: a sandbox's image may have to be read from the disk, with others at work.
pub const PATIENCE: Duration = Duration::from_mins(3);

/// A namespace of an operator.
#[derive(Debug)]
pub struct Tenant<'a> {
    operator: &'a Operator,
    /// Its name.
    pub namespace: String,
}

impl<'a> Tenant<'a> {
    pub(super) fn new(operator: &'a Operator, namespace: String) -> Self {
        Self { operator, namespace }
    }

    /// A name that nothing else in it has.
    pub fn unique(&self, name: &str) -> String {
        format!("{name}-{:08x}", rand::random::<u32>())
    }

    fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.operator.cluster.admin.clone(), &self.namespace)
    }

    /// Its Catalogs.
    pub fn catalogs(&self) -> Api<Catalog> {
        self.api()
    }

    /// Its schedules.
    pub fn schedules(&self) -> Api<CatalogSchedule> {
        self.api()
    }

    /// Its providers.
    pub fn providers(&self) -> Api<ModelProvider> {
        self.api()
    }

    /// Applies an object in it.
    pub async fn apply(&self, mut object: Value) {
        object["metadata"]["namespace"] = self.namespace.as_str().into();
        apply(&self.operator.cluster.admin, &object).await;
    }

    /// Applies an object in it, if the API server takes it; unknown fields are refused.
    pub async fn try_apply(&self, mut object: Value) -> kube::Result<DynamicObject> {
        object["metadata"]["namespace"] = self.namespace.as_str().into();
        let mut strict = PatchParams::apply("cataloger-tests").force();
        strict.field_validation = Some(kube::api::ValidationDirective::Strict);
        try_apply(&self.operator.cluster.admin, &object, &strict).await
    }

    /// Applies a Secret.
    pub async fn secret(&self, name: &str, entries: &[(&str, &str)]) {
        let entries: serde_json::Map<String, Value> = entries
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).into()))
            .collect();
        let metadata = json!({"name": name});
        self.apply(
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": entries}),
        )
        .await;
    }

    /// The shortest Catalog over a database; its pages are below its name. The rest of its spec is merged in.
    pub fn catalog(&self, name: &str, rest: Value) -> Value {
        let mut spec = json!({
            "database": {"secretRef": {"name": name}},
            "tables": ["customers", "orders"],
            "storage": {"s3": {"prefix": name}},
        });
        merge(&mut spec, rest);
        json!({
            "apiVersion": "cataloger.dev/v1alpha1", "kind": "Catalog",
            "metadata": {"name": name}, "spec": spec,
        })
    }

    /// Applies a Catalog and the Secret with its database's URL.
    pub async fn begin(&self, name: &str, url: &str, rest: Value) {
        self.secret(name, &[("url", url)]).await;
        self.apply(self.catalog(name, rest)).await;
    }

    /// Applies a provider.
    pub async fn provider(&self, name: &str, spec: Value) {
        self.apply(json!({
            "apiVersion": "cataloger.dev/v1alpha1", "kind": "ModelProvider",
            "metadata": {"name": name}, "spec": spec,
        }))
        .await;
    }

    /// Asks for one more run.
    pub async fn again(&self, name: &str, value: &str) {
        let annotation = json!({"metadata": {"annotations": {REQUESTED_AT: value}}});
        self.patch(name, annotation).await;
    }

    /// Changes a Catalog.
    pub async fn patch(&self, name: &str, change: Value) {
        self.catalogs()
            .patch(name, &PatchParams::default(), &Patch::Merge(&change))
            .await
            .unwrap_or_else(|error| panic!("{name} can't be changed: {error}"));
    }

    /// Deletes a Catalog.
    pub async fn delete(&self, name: &str) {
        self.catalogs()
            .delete(name, &DeleteParams::default())
            .await
            .unwrap_or_else(|error| panic!("{name} can't be deleted: {error}"));
    }

    /// Waits until a Catalog is as it should be.
    pub async fn until(&self, name: &str, what: &str, holds: impl FnMut(&Catalog) -> bool) -> Catalog {
        self.until_of(&self.catalogs(), name, what, holds).await
    }

    /// Waits until an object in it is as it should be.
    pub async fn until_of<K>(&self, api: &Api<K>, name: &str, what: &str, holds: impl FnMut(&K) -> bool) -> K
    where
        K: Clone + DeserializeOwned + Debug + serde::Serialize,
    {
        match until(api, name, PATIENCE, holds).await {
            Ok(object) => object,
            Err(last) => {
                let last = serde_json::to_string_pretty(&last).unwrap_or_default();
                let (events, logs) = (self.events(name).await, self.operator.logs().await);
                panic!("{name}: not {what}: {last}\nevents: {events:#?}\n{logs}")
            }
        }
    }

    /// Waits until a Catalog is gone.
    pub async fn gone(&self, name: &str) {
        if let Err(last) = gone(&self.catalogs(), name, PATIENCE).await {
            panic!("{name} stays: {last:?}\n{}", self.operator.logs().await);
        }
    }

    /// Waits until the run of a Catalog's spec, as it is now, has come to a good end.
    pub async fn succeeded(&self, name: &str) -> Catalog {
        self.until(name, "succeeded", |catalog| {
            assert!(phase(catalog) != Some(Phase::Failed), "{:#?}", catalog.status);
            handled(catalog) && phase(catalog) == Some(Phase::Succeeded)
        })
        .await
    }

    /// What was reported about an object in it: reason and note.
    pub async fn events(&self, name: &str) -> Vec<(String, String)> {
        let events: Api<Event> = self.api();
        let all = events
            .list(&ListParams::default())
            .await
            .expect("events can be listed");
        all.items
            .into_iter()
            .filter(|event| {
                let about = event.regarding.as_ref().and_then(|it| it.name.as_deref());
                about == Some(name)
            })
            .map(|event| (event.reason.unwrap_or_default(), event.note.unwrap_or_default()))
            .collect()
    }

    /// What was reported about an object in it, once this reason is among that: events come after what they tell of.
    pub async fn told(&self, name: &str, reason: &str) -> Vec<(String, String)> {
        let began = tokio::time::Instant::now();
        loop {
            let events = self.events(name).await;
            if events.iter().any(|(it, _)| it == reason) {
                return events;
            }
            assert!(began.elapsed() < PATIENCE, "{name}: no {reason}: {events:#?}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Says something of a Catalog's pages, as a person does by the command.
    pub async fn comment(&self, name: &str, text: &str) {
        let folder = format!(
            "s3://{}/{}/{}/{name}",
            s3::BUCKET,
            self.operator.name,
            self.namespace
        );
        let said = Cataloger::new(["comment", "--output", &folder, "--user", "ann", text])
            .await
            .bucket(s3::ENDPOINT)
            .run()
            .await;
        assert_eq!(said.code(), Some(0), "{}", said.stderr);
    }

    /// The names of all objects in the bucket that belong to a Catalog, without what they have in common.
    pub async fn objects(&self, name: &str) -> Vec<String> {
        let prefix = format!("{}/{}/{name}", self.operator.name, self.namespace);
        let bucket = bucket().await;
        let folder = Key::new(prefix.clone()).expect("a key");
        let listed = list_all(&bucket, Some(folder), Depth::Everything, 10_000).await;
        let mut names: Vec<String> = listed
            .expect("it can be listed")
            .objects
            .into_iter()
            .map(|object| {
                object
                    .key
                    .as_str()
                    .trim_start_matches(&prefix)
                    .trim_start_matches('/')
                    .to_owned()
            })
            .collect();
        names.sort();
        names
    }
}

/// The bucket of the tests' cluster, from this machine.
pub async fn bucket() -> S3Store {
    S3Store::open(s3::in_cluster()).await.expect("a bucket")
}

/// What is at a URI of a status.
pub async fn read(uri: &str) -> Bytes {
    let key = uri
        .strip_prefix(&format!("s3://{}/", s3::BUCKET))
        .unwrap_or_else(|| panic!("{uri} is not in the tests' bucket"));
    let key = Key::new(key).expect("a key");
    let object = bucket().await.get(&key).await.expect("it can be read");
    object
        .unwrap_or_else(|| panic!("there is nothing at {uri}"))
        .content
}

/// A Catalog's phase.
pub fn phase(catalog: &Catalog) -> Option<Phase> {
    catalog.status.as_ref()?.phase
}

/// What a Catalog's status says of its run.
pub fn run(catalog: &Catalog) -> RunStatus {
    let status = catalog.status.as_ref();
    status.and_then(|status| status.run.clone()).unwrap_or_default()
}

/// A Catalog's condition.
pub fn condition<'a>(catalog: &'a Catalog, name: &str) -> Option<&'a Condition> {
    let conditions = &catalog.status.as_ref()?.conditions;
    conditions.iter().find(|condition| condition.type_ == name)
}

/// Whether a Catalog's condition is so.
pub fn is(catalog: &Catalog, name: &str, status: &str) -> bool {
    condition(catalog, name).is_some_and(|condition| condition.status == status)
}

/// Whether its status speaks of its spec as it is, and of the last run that was asked for.
pub fn handled(catalog: &Catalog) -> bool {
    let Some(status) = &catalog.status else {
        return false;
    };
    let asked = catalog
        .metadata
        .annotations
        .as_ref()
        .and_then(|it| it.get(REQUESTED_AT));
    status.observed_generation == catalog.metadata.generation
        && status.last_handled_reconcile_at.as_ref() == asked
}

/// Merges one into another, as a merge patch that takes nothing away.
pub fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}
