//! Which schedules are looked at, and when: what has changed, what has become of their Catalogs, and all of them after
//! the clock was set. Must not know what a look does.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::{BoxFuture, join_all};
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};
use jiff::{SignedDuration, Timestamp};
use kube::Api;
use kube::core::DeserializeGuard;
use kube_runtime::controller::{self, ReconcileRequest, applier};
use kube_runtime::reflector::{self, ObjectRef, Store};
use kube_runtime::{WatchStreamExt as _, watcher};
use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::time::{MissedTickBehavior, interval};
use tracing::{debug, info, warn};

use super::children::Owner;
use super::{Context, after_error, reconcile};
use crate::api::CatalogSchedule;
use crate::runtime::health::Health;

type Guarded = DeserializeGuard<CatalogSchedule>;

/// So many schedules are looked at together.
const TOGETHER: u16 = 32;

/// How often it is seen whether looks are still taken, and whether the clock goes as it should.
const PULSE: Duration = Duration::from_secs(10);

/// How long that may take.
const HANGS: Duration = Duration::from_mins(5);

/// How much a clock may go wrong between two pulses before all schedules are looked at.
const SET: SignedDuration = SignedDuration::from_secs(1);

/// No schedule can have this name: who is asked to look at it finds out at once that there is none.
const NOBODY: &str = "(nobody)";

/// What is watched: one namespace, or all.
struct Place {
    namespace: Option<String>,
    store: Store<Guarded>,
    looks: UnboundedSender<ObjectRef<Guarded>>,
    /// A look was taken, whatever came of it.
    turned: Arc<Notify>,
}

/// Looks after schedules until the future is dropped.
pub async fn run(context: Arc<Context>, health: &Health) {
    let namespaces = &context.settings.namespaces;
    let namespaces: Vec<Option<String>> = if namespaces.is_empty() {
        vec![None]
    } else {
        namespaces.iter().cloned().map(Some).collect()
    };
    let (mut places, mut controllers, mut watches) = (Vec::new(), Vec::new(), Vec::new());
    for namespace in &namespaces {
        let (place, controller) = controller(namespace.clone(), &context);
        let looks = place.looks.clone();
        let tell = move |owner: Owner| {
            // Nobody hears it any more when all ends.
            let _ = looks.send(ObjectRef::new(&owner.name).within(&owner.namespace));
        };
        let client = context.client.clone();
        watches.push(context.children.watch(client, namespace.as_deref(), tell));
        places.push(place);
        controllers.push(controller);
    }
    let looked_after = async {
        // Who does not know what there is would wait for nothing, or make it anew.
        context.children.complete(namespaces.len()).await;
        join_all(controllers).await;
    };
    let known = async {
        for place in &places {
            // It fails only when its writer is gone, and with it all of this.
            let _ = place.store.wait_until_ready().await;
        }
        info!("all CatalogSchedules are known");
        pulses(health, &places).await;
    };
    tokio::select! {
        () = looked_after => {}
        () = known => {}
        _ = join_all(watches) => {}
    }
}

/// The controller of a namespace, or of all.
fn controller(namespace: Option<String>, context: &Arc<Context>) -> (Place, BoxFuture<'static, ()>) {
    let client = context.client.clone();
    let api: Api<Guarded> = match &namespace {
        Some(namespace) => Api::namespaced(client, namespace),
        None => Api::all(client),
    };
    let writer = reflector::store::Writer::default();
    let store = writer.as_reader();
    let (looks, heard) = unbounded_channel();
    let watched = watcher(api, watcher::Config::default())
        .default_backoff()
        .modify(|object| {
            // Who wrote what is of no use here, and most of what would be kept.
            let metadata = match &mut object.0 {
                Ok(schedule) => &mut schedule.metadata,
                Err(unreadable) => &mut unreadable.metadata,
            };
            metadata.managed_fields = None;
        })
        .reflect(writer)
        .inspect(|event| {
            if let Err(error) = event {
                warn!(%error, "CatalogSchedules can't be watched now: is their definition there, and may they be read?");
            }
        })
        .applied_objects()
        .map_ok(|object| ReconcileRequest::from(ObjectRef::from_obj(&object)))
        // Errors of the watch are told above, and it goes on by itself.
        .filter_map(|request| std::future::ready(request.ok()));
    let heard = stream::unfold(heard, |mut heard| async {
        heard
            .recv()
            .await
            .map(|object| (ReconcileRequest::from(object), heard))
    });
    let requests = stream::select(watched.boxed(), heard.boxed()).map(Ok::<_, watcher::Error>);
    let applied = applier(
        |object, context| reconcile(object, context).boxed(),
        after_error,
        Arc::clone(context),
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
    let place = Place {
        namespace,
        store,
        looks,
        turned,
    };
    (place, driven.boxed())
}

/// Tells that looks are taken, by having one taken; and has all taken when the clock was set: who sleeps till a slot
/// sleeps by another clock than the one on the wall.
async fn pulses(health: &Health, places: &[Place]) {
    let pulse = health.pulse("the controller of CatalogSchedules", HANGS);
    let mut ticks = interval(PULSE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last = (Instant::now(), Timestamp::now());
    loop {
        ticks.tick().await;
        let time = (Instant::now(), Timestamp::now());
        let set = was_set(time.0.duration_since(last.0), time.1.duration_since(last.1));
        last = time;
        for place in places {
            if set {
                info!("the clock was set: all CatalogSchedules are looked at");
                for object in place.store.state() {
                    // Nobody hears it any more when all ends.
                    let _ = place.looks.send(ObjectRef::from_obj(&*object));
                }
            }
            let nobody = ObjectRef::new(NOBODY).within(place.namespace.as_deref().unwrap_or_default());
            let _ = place.looks.send(nobody);
            place.turned.notified().await;
        }
        pulse.beat();
    }
}

/// Whether the clock on the wall was set: what passed by one that nobody can set, and what it has shown meanwhile.
fn was_set(passed: Duration, shown: SignedDuration) -> bool {
    let passed = SignedDuration::try_from(passed).unwrap_or(SignedDuration::MAX);
    shown.is_negative() || shown.saturating_sub(passed).abs() > SET
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_set_either_way_is_noticed() {
        let hour = SignedDuration::from_hours(1);
        let (ten, late) = (SignedDuration::from_secs(10), SignedDuration::from_millis(900));
        for (passed, shown, set) in [
            (ten, ten, false),
            // It is kept right, little by little, or looked at a moment later than the other one.
            (ten, ten + late, false),
            (ten, ten - late, false),
            (ten, ten + late * 2, true),
            (ten, ten - late * 2, true),
            (ten, ten + hour, true),
            (ten, ten - hour, true),
            // Just before it, by less than a second: it was earlier than it is now.
            (SignedDuration::ZERO, -late, true),
            // The process did not run for a while, and no clock was set.
            (hour, hour, false),
            // The machine slept, and the clock that nobody can set slept with it.
            (ten, hour, true),
        ] {
            let time = Duration::try_from(passed).unwrap();
            assert_eq!(was_set(time, shown), set, "{passed} {shown}");
        }
        assert!(was_set(Duration::MAX, SignedDuration::ZERO));
    }
}
