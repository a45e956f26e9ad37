//! Which Catalogs are looked at, and when: what has changed, what a session says, and what waited for something else.
//!
//! Must not know what a look does.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::stream;
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _};
use kube::core::DeserializeGuard;
use kube::{Api, ResourceExt as _};
use kube_runtime::controller::{self, ReconcileRequest, applier};
use kube_runtime::reflector::{self, ObjectRef, Store};
use kube_runtime::{WatchStreamExt as _, watcher};
use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{MissedTickBehavior, interval};
use tracing::{debug, info, warn};

use super::dereference::provider_of;
use super::{Context, after_error, reconcile, sweep};
use crate::api::Catalog;
use crate::runtime::health::Health;
use crate::sessions::Key;

type Guarded = DeserializeGuard<Catalog>;

/// So many Catalogs are looked at together.
const TOGETHER: u16 = 32;

/// How often what nobody owns is looked for.
const SWEEP: Duration = Duration::from_mins(10);

/// How often it is seen whether looks are still taken.
const PULSE: Duration = Duration::from_secs(10);

/// How long that may take. A look has several answers to wait for, each of which comes or is given up soon.
const HANGS: Duration = Duration::from_mins(5);

/// No Catalog can have this name: who is asked to look at it finds out at once that there is none.
const NOBODY: &str = "(nobody)";

/// What is watched: one namespace, or all.
struct Place {
    namespace: Option<String>,
    store: Store<Guarded>,
    looks: UnboundedSender<ObjectRef<Guarded>>,
    /// A look was taken, whatever came of it.
    turned: Arc<Notify>,
}

impl Place {
    fn has(&self, namespace: &str) -> bool {
        self.namespace.as_deref().is_none_or(|own| own == namespace)
    }
}

/// Looks after Catalogs until the future is dropped. `looks` says whom a session, or somebody else, wants looked at.
pub async fn run(context: Arc<Context>, looks: UnboundedReceiver<Key>, health: &Health) {
    let synced = health.condition("the list of Catalogs");
    let namespaces = &context.settings.namespaces;
    let namespaces: Vec<Option<String>> = if namespaces.is_empty() {
        vec![None]
    } else {
        namespaces.iter().cloned().map(Some).collect()
    };
    let mut places = Vec::new();
    let mut controllers = Vec::new();
    for namespace in namespaces {
        let (place, controller) = controller(namespace, &context);
        places.push(place);
        controllers.push(controller);
    }
    let known = async {
        for place in &places {
            // It fails only when its writer is gone, and with it all of this.
            let _ = place.store.wait_until_ready().await;
        }
        synced.set(true);
        info!("all Catalogs are known");
        tokio::join!(sweeps(&context, &places), pulses(health, &places));
    };
    let all = futures::future::join_all(controllers);
    tokio::select! {
        _ = all => {}
        () = known => {}
        () = dispatch(looks, &context, &places) => {}
    }
}

/// The controller of a namespace, or of all.
fn controller(
    namespace: Option<String>,
    context: &Arc<Context>,
) -> (Place, futures::future::BoxFuture<'static, ()>) {
    let client = context.client.clone();
    let api: Api<Guarded> = match &namespace {
        Some(namespace) => Api::namespaced(client, namespace),
        None => Api::all(client),
    };
    let writer = reflector::store::Writer::default();
    let store = writer.as_reader();
    let (looks, heard) = unbounded_channel();
    let sessions = context.sessions.clone();
    let watched = {
        let (store, own) = (store.clone(), namespace.clone());
        watcher(api, watcher::Config::default())
            .default_backoff()
            .modify(|object| {
                // Who wrote what is of no use here, and most of what would be kept.
                let metadata = match &mut object.0 {
                    Ok(catalog) => &mut catalog.metadata,
                    Err(unreadable) => &mut unreadable.metadata,
                };
                metadata.managed_fields = None;
            })
            .reflect(writer)
            .inspect(move |event| match event {
                Ok(watcher::Event::Delete(object)) => sessions.abandon(&key_of(object)),
                // What was deleted while nobody watched.
                Ok(watcher::Event::InitDone) => {
                    let ours = |key: &Key| own.as_ref().is_none_or(|own| *own == key.namespace);
                    for key in sessions.keys() {
                        if ours(&key) && !is_there(&store, &key) {
                            sessions.abandon(&key);
                        }
                    }
                }
                Err(error) => warn!(%error, "Catalogs can't be watched now"),
                Ok(_) => {}
            })
            .applied_objects()
            .map_ok(|object| ReconcileRequest::from(ObjectRef::from_obj(&object)))
            // Errors of the watch are told above, and it goes on by itself.
            .filter_map(|request| std::future::ready(request.ok()))
    };
    let heard = stream::unfold(heard, |mut heard| async {
        heard
            .recv()
            .await
            .map(|object| (ReconcileRequest::from(object), heard))
    });
    let requests = stream::select(watched.boxed(), heard.boxed()).map(Ok::<_, watcher::Error>);
    let config = controller::Config::default().concurrency(TOGETHER);
    let applied = applier(
        |object, context| reconcile(object, context).boxed(),
        after_error,
        Arc::clone(context),
        store.clone(),
        requests,
        config,
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
    let place = Place {
        namespace,
        store,
        looks,
        turned,
    };
    (place, driven.boxed())
}

/// Whether a Catalog is there: one of its name that was made since is another one.
fn is_there(store: &Store<Guarded>, key: &Key) -> bool {
    let there = store.get(&ObjectRef::new(&key.name).within(&key.namespace));
    there.is_some_and(|it| it.uid().as_ref() == Some(&key.uid))
}

pub(super) fn key_of(object: &Guarded) -> Key {
    Key {
        uid: object.uid().unwrap_or_default(),
        namespace: object.namespace().unwrap_or_default(),
        name: object.name_any(),
    }
}

/// Passes on who should be looked at, and adds who waits for what has changed.
async fn dispatch(mut looks: UnboundedReceiver<Key>, context: &Context, places: &[Place]) {
    let mut prompts = context.prompts.clone();
    let mut providers = pin!(context.accounts.changes());
    loop {
        tokio::select! {
            key = looks.recv() => match key {
                // Who began, or got a place, as its Catalog was deleted.
                Some(key) if !places.iter().any(|place| is_there(&place.store, &key)) => {
                    context.sessions.abandon(&key);
                }
                Some(key) => look_at(places, &key.namespace, &key.name),
                None => return,
            },
            Ok(()) = prompts.changed() => {
                for object in all(places) {
                    look_at(places, &object.namespace().unwrap_or_default(), &object.name_any());
                }
            }
            Some(provider) = providers.next() => {
                for object in all(places) {
                    let namespace = object.namespace().unwrap_or_default();
                    let Ok(catalog) = &object.0 else { continue };
                    if provider_of(&catalog.spec, &namespace, &context.settings).as_ref() == Some(&provider) {
                        look_at(places, &namespace, &object.name_any());
                    }
                }
            }
        }
    }
}

fn all(places: &[Place]) -> Vec<Arc<Guarded>> {
    places.iter().flat_map(|place| place.store.state()).collect()
}

fn look_at(places: &[Place], namespace: &str, name: &str) {
    for place in places.iter().filter(|place| place.has(namespace)) {
        // Nobody hears it any more when all ends.
        let _ = place.looks.send(ObjectRef::new(name).within(namespace));
    }
}

/// Tells that looks are taken, in all places: not by a clock, but by having one taken.
async fn pulses(health: &Health, places: &[Place]) {
    let pulse = health.pulse("the controller of Catalogs", HANGS);
    let mut ticks = interval(PULSE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        for place in places {
            let nobody = ObjectRef::new(NOBODY).within(place.namespace.as_deref().unwrap_or_default());
            // Nobody hears it any more when all ends.
            let _ = place.looks.send(nobody);
            place.turned.notified().await;
        }
        pulse.beat();
    }
}

/// Removes what nobody owns, now and then.
async fn sweeps(context: &Context, places: &[Place]) {
    let mut ticks = interval(SWEEP);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        sweep::sweep(context, &all(places)).await;
    }
}
