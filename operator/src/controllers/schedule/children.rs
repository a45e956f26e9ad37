//! Which Catalogs the schedules have, as the last watch says: of each only what its schedule wants to know.
//!
//! Must not know when one is due.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures::StreamExt as _;
use jiff::Timestamp;
use kube::api::{ApiResource, DynamicObject};
use kube::{Api, Client, ResourceExt as _};
use kube_runtime::WatchStreamExt as _;
use kube_runtime::watcher::{self, Event, watcher};
use serde_json::Value;
use tokio::sync::watch as switch;
use tracing::warn;

use crate::api::catalog::Artifacts;
use crate::api::{Catalog, SCHEDULE};

/// How a Catalog has come out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It has not ended.
    Active,
    /// It ended well.
    Succeeded,
    /// It was given up.
    Failed,
}

/// A Catalog of a schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Child {
    pub(super) name: String,
    pub(super) uid: String,
    pub(super) outcome: Outcome,
    /// When its run became due, or else when it was made.
    pub(super) started: Option<Timestamp>,
    pub(super) finished: Option<Timestamp>,
    pub(super) artifacts: Option<Artifacts>,
}

/// Where a schedule is, for who wants to look at it again.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Owner {
    pub(super) namespace: String,
    pub(super) name: String,
}

/// The schedule that controls a Catalog: its UID and its name.
pub(super) fn controller(object: &kube::core::ObjectMeta) -> Option<(&str, &str)> {
    let owners = object.owner_references.iter().flatten();
    let mut ours = owners.filter(|owner| {
        owner.controller == Some(true)
            && owner.kind == "CatalogSchedule"
            && owner.api_version.starts_with("cataloger.dev/")
    });
    ours.next().map(|owner| (owner.uid.as_str(), owner.name.as_str()))
}

impl Child {
    /// Of what the API server has. What another release wrote there, and cannot be read, is taken for not said.
    pub(super) fn read(object: &DynamicObject) -> Self {
        let status = &object.data["status"];
        let time = |value: &Value| value.as_str().and_then(|text| text.parse::<Timestamp>().ok());
        let created = object.metadata.creation_timestamp.as_ref().map(|time| time.0);
        Self {
            name: object.name_any(),
            uid: object.uid().unwrap_or_default(),
            outcome: match status["phase"].as_str() {
                Some("Succeeded") => Outcome::Succeeded,
                Some("Failed") => Outcome::Failed,
                _ => Outcome::Active,
            },
            started: time(&status["run"]["startedAt"]).or(created),
            finished: time(&status["run"]["finishedAt"]),
            artifacts: serde_json::from_value(status["artifacts"].clone()).ok(),
        }
    }
}

/// All that are known.
#[derive(Debug)]
pub(super) struct Children {
    /// By the UID of the schedule and their own names.
    of: Mutex<HashMap<String, BTreeMap<String, Child>>>,
    /// The namespaces of which all are; none is all of them.
    complete: switch::Sender<BTreeSet<Option<String>>>,
}

/// Whose they are: by the UID of the schedule and their own names.
type Owners = BTreeMap<(String, String), Owner>;

impl Children {
    pub(super) fn new() -> Self {
        Self {
            of: Mutex::default(),
            complete: switch::channel(BTreeSet::new()).0,
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, BTreeMap<String, Child>>> {
        self.of.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those of a schedule.
    pub(super) fn of(&self, uid: &str) -> Vec<Child> {
        self.lock()
            .get(uid)
            .map(|all| all.values().cloned().collect())
            .unwrap_or_default()
    }

    /// Waits until the watch of a namespace, or of all, has told all that there is.
    pub(super) async fn complete(&self, namespace: Option<&str>) {
        let namespace = namespace.map(str::to_owned);
        // The sender lives as long as `self`.
        let _ = (self.complete.subscribe())
            .wait_for(|done| done.contains(&namespace))
            .await;
    }

    /// Whether it has.
    pub(super) fn knows(&self, namespace: Option<&str>) -> bool {
        self.complete.borrow().contains(&namespace.map(str::to_owned))
    }

    /// Watches a namespace, or all, for ever. `tell` hears whose Catalogs have changed.
    pub(super) async fn watch(&self, client: Client, namespace: Option<&str>, tell: impl Fn(Owner)) {
        let kind = ApiResource::erase::<Catalog>(&());
        let api: Api<DynamicObject> = match namespace {
            Some(namespace) => Api::namespaced_with(client, namespace, &kind),
            None => Api::all_with(client, &kind),
        };
        let ours = watcher::Config::default().labels(SCHEDULE);
        let mut events = watcher(api, ours).default_backoff().boxed();
        let (mut there, mut listed) = (Owners::new(), Owners::new());
        while let Some(event) = events.next().await {
            match event {
                Ok(Event::Init) => listed.clear(),
                Ok(Event::InitApply(object)) => {
                    listed.extend(self.put(&object, &tell));
                }
                Ok(Event::InitDone) => {
                    let before = std::mem::replace(&mut there, std::mem::take(&mut listed));
                    for (gone, owner) in before {
                        if !there.contains_key(&gone) {
                            self.forget(&gone);
                            tell(owner);
                        }
                    }
                    let own = namespace.map(str::to_owned);
                    self.complete.send_if_modified(|done| done.insert(own));
                }
                Ok(Event::Apply(object)) => there.extend(self.put(&object, &tell)),
                Ok(Event::Delete(object)) => {
                    if let Some((gone, owner)) = owned(&object) {
                        self.forget(&gone);
                        there.remove(&gone);
                        tell(owner);
                    }
                }
                Err(error) => warn!(%error, "the Catalogs of schedules can't be watched now"),
            }
        }
    }

    /// Whose it is.
    fn put(&self, object: &DynamicObject, tell: &impl Fn(Owner)) -> Option<((String, String), Owner)> {
        let (key, owner) = owned(object)?;
        let child = Child::read(object);
        let mut all = self.lock();
        let siblings = all.entry(key.0.clone()).or_default();
        let known = siblings.get(&child.name);
        // Each turn of a run changes a Catalog: of no use here.
        let news = known != Some(&child);
        siblings.insert(child.name.clone(), child);
        drop(all);
        if news {
            tell(owner.clone());
        }
        Some((key, owner))
    }

    fn forget(&self, (uid, name): &(String, String)) {
        let mut all = self.lock();
        if let Some(siblings) = all.get_mut(uid) {
            siblings.remove(name);
            if siblings.is_empty() {
                all.remove(uid);
            }
        }
    }
}

/// Whose a Catalog is, if it is of a schedule: by UID and its own name, and for who looks at it.
fn owned(object: &DynamicObject) -> Option<((String, String), Owner)> {
    let (uid, owner) = controller(&object.metadata)?;
    let whose = Owner {
        namespace: object.namespace().unwrap_or_default(),
        name: owner.to_owned(),
    };
    Some(((uid.to_owned(), object.name_any()), whose))
}
