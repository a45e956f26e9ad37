//! Which schedules are looked at, and when: what has changed, what has become of their Catalogs, and all of them after
//! the clock was set. Must not know what a look does.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use futures::future::{BoxFuture, join_all};
use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt as _;
use tokio::time::{MissedTickBehavior, interval};
use tracing::info;

use super::children::{Children, Owner};
use super::{Context, after_error, reconcile};
use crate::api::CatalogSchedule;
use crate::controllers::place::{self, Looking};
use crate::runtime::health::Health;

type Place = place::Place<CatalogSchedule>;

/// How often it is seen whether looks are still taken, and whether the clock goes as it should.
const PULSE: Duration = Duration::from_secs(10);

/// How long that may take.
const HANGS: Duration = Duration::from_mins(5);

/// How much a clock may go wrong between two pulses before all schedules are looked at.
const SET: SignedDuration = SignedDuration::from_secs(1);

/// Looks after schedules until the future is dropped.
pub async fn run(context: Arc<Context>, health: &Health) {
    let namespaces = place::namespaces(&context.settings.namespaces);
    let opened = namespaces.into_iter().map(|namespace| open(namespace, &context));
    let (places, controllers): (Vec<Place>, Vec<_>) = opened.unzip();
    let watches = places.iter().map(|place| {
        let tell = |owner: Owner| place.look_at(&owner.namespace, &owner.name);
        let client = context.client.clone();
        context.children.watch(client, place.namespace(), tell)
    });
    let looked_after = controllers
        .into_iter()
        .zip(&places)
        .map(|(controller, place)| async {
            // Who does not know what there is would wait for nothing, or make it anew.
            context.children.complete(place.namespace()).await;
            controller.await;
        });
    let known = async {
        join_all(places.iter().map(Place::heard)).await;
        info!(
            namespaces = places.len(),
            "the CatalogSchedules are known that may be"
        );
        pulses(health, &places, &context.children).await;
    };
    tokio::select! {
        _ = join_all(looked_after) => {}
        () = known => {}
        _ = join_all(watches) => {}
    }
}

/// The controller of a namespace, or of all.
fn open(namespace: Option<String>, context: &Arc<Context>) -> (Place, BoxFuture<'static, ()>) {
    let looking = Looking {
        client: context.client.clone(),
        context: Arc::clone(context),
        reconcile: |object, context| reconcile(object, context).boxed(),
        after_error,
    };
    Place::open(namespace, looking, |_, _| {})
}

/// Tells that looks are taken, by having one taken; and has all taken when the clock was set: who sleeps till a slot
/// sleeps by another clock than the one on the wall.
async fn pulses(health: &Health, places: &[Place], children: &Children) {
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
                for object in place.all() {
                    place.look_at(&object.namespace().unwrap_or_default(), &object.name_any());
                }
            }
            if children.knows(place.namespace()) {
                place.turn().await;
            }
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
