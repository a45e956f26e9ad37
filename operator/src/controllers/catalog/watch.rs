//! Which Catalogs are looked at, and when: what has changed, what a session says, and what waited for something else.
//!
//! Must not know what a look does.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use futures::{FutureExt as _, StreamExt as _};
use kube::ResourceExt as _;
use kube_runtime::watcher::Event;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{MissedTickBehavior, interval};
use tracing::{info, warn};

use super::dereference::provider_of;
use super::{Context, after_error, reconcile, sweep};
use crate::api::Catalog;
use crate::controllers::place::{self, Looking};
use crate::runtime::health::Health;
use crate::sessions::Key;

type Guarded = place::Guarded<Catalog>;
type Place = place::Place<Catalog>;

/// How often what nobody owns is looked for.
const SWEEP: Duration = Duration::from_mins(10);

/// How often it is seen whether looks are still taken.
const PULSE: Duration = Duration::from_secs(10);

/// How long that may take. A look has several answers to wait for, each of which comes or is given up soon.
const HANGS: Duration = Duration::from_mins(5);

/// Looks after Catalogs until the future is dropped. `looks` says whom a session, or somebody else, wants looked at.
pub async fn run(context: Arc<Context>, looks: UnboundedReceiver<Key>, health: &Health) {
    let synced = health.condition("the list of Catalogs");
    let paid = health.condition("the list of ModelProviders");
    // Catalogs ask for their providers: those have to be known first.
    context.accounts.complete().await;
    paid.set(true);
    let namespaces = place::namespaces(&context.settings.namespaces);
    let opened = namespaces.into_iter().map(|namespace| open(namespace, &context));
    let (places, controllers): (Vec<Place>, Vec<_>) = opened.unzip();
    let known = async {
        join_all(places.iter().map(Place::heard)).await;
        synced.set(true);
        info!(namespaces = places.len(), "the Catalogs are known that may be");
        tokio::join!(sweeps(&context, &places), pulses(health, &places));
    };
    tokio::select! {
        _ = join_all(controllers) => {}
        () = known => {}
        () = dispatch(looks, &context, &places) => {}
    }
}

/// The controller of a namespace, or of all.
fn open(
    namespace: Option<String>,
    context: &Arc<Context>,
) -> (Place, futures::future::BoxFuture<'static, ()>) {
    let looking = Looking {
        client: context.client.clone(),
        context: Arc::clone(context),
        reconcile: |object, context| reconcile(object, context).boxed(),
        after_error,
    };
    let sessions = context.sessions.clone();
    Place::open(namespace, looking, move |event, here| match event {
        Event::Delete(object) => sessions.abandon(&key_of(object)),
        // What was deleted while nobody watched.
        Event::InitDone => {
            for key in sessions.keys() {
                if here.lacks(&key.namespace, &key.name, &key.uid) {
                    sessions.abandon(&key);
                }
            }
        }
        _ => {}
    })
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
                Some(key) if !places.iter().any(|it| it.has(&key.namespace, &key.name, &key.uid)) => {
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
    places.iter().flat_map(Place::all).collect()
}

fn look_at(places: &[Place], namespace: &str, name: &str) {
    for place in places {
        place.look_at(namespace, name);
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
            place.turn().await;
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
        // A sandbox of a Catalog that may not be seen would look as if it were nobody's.
        match places.iter().find(|place| !place.is_known()) {
            None => sweep::sweep(context, &all(places)).await,
            Some(place) => warn!(
                namespace = place.namespace(),
                "sandboxes that nobody needs are not looked for: the Catalogs here may not be seen"
            ),
        }
    }
}
