//! A place that is watched, one namespace or all: the objects of a kind that are there, and whose turn it is to be looked
//! at.
//!
//! Must not know what a look does.

use std::fmt::Debug;
use std::pin::pin;
use std::sync::Arc;

use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};
use kube::core::DeserializeGuard;
use kube::{Api, Client, Resource as _};
use kube_runtime::controller::Action;
use kube_runtime::controller::{self, ReconcileRequest, applier};
use kube_runtime::reflector::{self, ObjectRef, Store};
use kube_runtime::{WatchStreamExt as _, watcher};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::{Notify, watch as switch};
use tracing::{debug, warn};

use super::apply::{ApplyError, Ours};

/// What is there may not be readable.
pub(super) type Guarded<K> = DeserializeGuard<K>;

/// So many objects are looked at together.
const TOGETHER: u16 = 32;

/// No object can have this name: who is asked to look at it finds out at once that there is none.
const NOBODY: &str = "(nobody)";

/// What is watched: one namespace, or all.
pub(super) struct Place<K: Ours + 'static> {
    namespace: Option<String>,
    store: Store<Guarded<K>>,
    looks: UnboundedSender<ObjectRef<Guarded<K>>>,
    /// A look was taken, whatever came of it.
    turned: Arc<Notify>,
    /// The operator may not see what is there.
    refused: switch::Receiver<bool>,
}

/// A look that is being taken.
type Look = BoxFuture<'static, Result<Action, ApplyError>>;

/// How objects are looked at.
pub(super) struct Looking<K, C> {
    /// What asks the API server.
    pub client: Client,
    /// What a look needs.
    pub context: Arc<C>,
    /// A look.
    pub reconcile: fn(Arc<Guarded<K>>, Arc<C>) -> Look,
    /// When to look again after one that failed.
    pub after_error: fn(Arc<Guarded<K>>, &ApplyError, Arc<C>) -> Action,
}

/// Those that are asked for: one for each namespace, or one for all.
pub(super) fn namespaces<'a>(listed: impl IntoIterator<Item = &'a String>) -> Vec<Option<String>> {
    let listed: Vec<_> = listed.into_iter().cloned().map(Some).collect();
    if listed.is_empty() { vec![None] } else { listed }
}

/// Whether the operator is told that it may not watch something: also of a namespace that is gone, with the rights there.
pub(super) fn is_refused(error: &watcher::Error) -> bool {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchError(status) => status.code == 403,
        _ => false,
    }
}

impl<K> Place<K>
where
    K: Ours + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    /// A place, and what looks after it for as long as it is polled. `heard` is told of each event after it is in the
    /// place.
    pub(super) fn open<C: Send + Sync + 'static>(
        namespace: Option<String>,
        looking: Looking<K, C>,
        heard: impl Fn(&watcher::Event<Guarded<K>>, &Here<K>) + Send + 'static,
    ) -> (Self, BoxFuture<'static, ()>) {
        let api: Api<Guarded<K>> = match &namespace {
            Some(namespace) => Api::namespaced(looking.client, namespace),
            None => Api::all(looking.client),
        };
        let writer = reflector::store::Writer::default();
        let store = writer.as_reader();
        let (refuse, refused) = switch::channel(false);
        let here = Here {
            namespace: namespace.clone(),
            store: store.clone(),
        };
        let watched = watcher(api, watcher::Config::default())
            .default_backoff()
            .modify(|object| {
                // Who wrote what is of no use here, and most of what would be kept.
                let metadata = match &mut object.0 {
                    Ok(object) => object.meta_mut(),
                    Err(unreadable) => &mut unreadable.metadata,
                };
                metadata.managed_fields = None;
            })
            .reflect(writer)
            .inspect(move |event| match event {
                Ok(event) => heard(event, &here),
                Err(error) => {
                    let (kind, namespace) = (K::plural(&()), here.namespace.as_deref());
                    warn!(%kind, namespace, %error, "can't be watched now: is the definition there, and may they be read?");
                    if is_refused(error) {
                        refuse.send_replace(true);
                    }
                }
            })
            .applied_objects()
            .map_ok(|object| ReconcileRequest::from(ObjectRef::from_obj(&object)))
            // Errors of the watch are told above, and it goes on by itself.
            .filter_map(|request| std::future::ready(request.ok()));
        let (looks, asked) = unbounded_channel();
        let asked = stream::unfold(asked, |mut asked| async {
            let object = asked.recv().await?;
            Some((ReconcileRequest::from(object), asked))
        });
        let requests = stream::select(watched.boxed(), asked.boxed()).map(Ok::<_, watcher::Error>);
        let applied = applier(
            looking.reconcile,
            looking.after_error,
            looking.context,
            store.clone(),
            requests,
            controller::Config::default().concurrency(TOGETHER),
        );
        let turned = Arc::new(Notify::new());
        let turns = Arc::clone(&turned);
        let driven = async move {
            let mut applied = pin!(applied);
            while let Some(result) = applied.next().await {
                turns.notify_one();
                match result {
                    Err(controller::Error::ObjectNotFound(_)) | Ok(_) => {}
                    Err(error) => debug!(%error, "a look has failed"),
                }
            }
        };
        let place = Self {
            namespace,
            store,
            looks,
            turned,
            refused,
        };
        (place, driven.boxed())
    }

    /// Which namespace it is, if it is one.
    pub(super) fn namespace(&self) -> Option<&str> {
        self.namespace.as_deref()
    }

    /// Waits until it is known what is there, or that the operator may not know.
    pub(super) async fn heard(&self) {
        let mut refused = self.refused.clone();
        // Both fail only when the watch is gone, and with it all of this.
        tokio::select! {
            _ = self.store.wait_until_ready() => {}
            _ = refused.wait_for(|refused| *refused) => {}
        }
    }

    /// Whether it is known what is there.
    pub(super) fn is_known(&self) -> bool {
        matches!(self.store.wait_until_ready().now_or_never(), Some(Ok(())))
    }

    /// All that is there.
    pub(super) fn all(&self) -> Vec<Arc<Guarded<K>>> {
        self.store.state()
    }

    /// Whether there is an object of this name and UID.
    pub(super) fn has(&self, namespace: &str, name: &str, uid: &str) -> bool {
        has(&self.store, namespace, name, uid)
    }

    /// Has an object looked at, if it would be here.
    pub(super) fn look_at(&self, namespace: &str, name: &str) {
        if self.namespace.as_deref().is_none_or(|own| own == namespace) {
            // Nobody hears it any more when all ends.
            let _ = self.looks.send(ObjectRef::new(name).within(namespace));
        }
    }

    /// Has a look taken, and waits for it: so it is seen that some are. Where nothing is known none is.
    pub(super) async fn turn(&self) {
        if self.is_known() {
            let nobody = ObjectRef::new(NOBODY).within(self.namespace.as_deref().unwrap_or_default());
            // Nobody hears it any more when all ends.
            let _ = self.looks.send(nobody);
            self.turned.notified().await;
        }
    }
}

/// What is in a place, for who hears of its events.
pub(super) struct Here<K: Ours + 'static> {
    namespace: Option<String>,
    store: Store<Guarded<K>>,
}

impl<K: Ours + Clone + 'static> Here<K> {
    /// Whether an object that would be here is not: one of its name that was made since is another one.
    pub(super) fn lacks(&self, namespace: &str, name: &str, uid: &str) -> bool {
        let ours = self.namespace.as_deref().is_none_or(|own| own == namespace);
        ours && !has(&self.store, namespace, name, uid)
    }
}

fn has<K: Ours + Clone + 'static>(store: &Store<Guarded<K>>, namespace: &str, name: &str, uid: &str) -> bool {
    let there = store.get(&ObjectRef::new(name).within(namespace));
    there.is_some_and(|it| it.meta().uid.as_deref() == Some(uid))
}
