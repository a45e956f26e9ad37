//! Times that were missed, and times that are moved a little.

use cataloger::api::{CatalogSchedule, CatalogScheduleStatus};
use cataloger_tests::operator::{Operator, Tenant};
use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt as _;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use super::{active, catalogs, change, idle, reason, stands};

/// A time before now, in whole seconds.
fn before(seconds: i64) -> Timestamp {
    let then = Timestamp::now() - SignedDuration::from_secs(seconds);
    Timestamp::from_second(then.as_second()).unwrap()
}

fn status(schedule: &CatalogSchedule) -> &CatalogScheduleStatus {
    schedule.status.as_ref().expect("it was looked at")
}

/// A schedule that goes on after an outage: this was the last time of it that was handled.
async fn goes_on(tenant: &Tenant<'_>, name: &str, last: Timestamp, mut more: Value) {
    more["suspend"] = true.into();
    tenant.apply(idle(tenant, name, more)).await;
    stands(tenant, name, "Suspended").await;
    let patch = Patch::Merge(json!({"status": {"lastScheduleTime": last.to_string()}}));
    let schedules = tenant.schedules();
    let patched = schedules
        .patch_status(name, &PatchParams::default(), &patch)
        .await;
    patched.expect("the admin may");
    change(tenant, name, json!({"spec": {"suspend": false}})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_an_outage_the_last_time_is_made_up_for_if_it_is_not_too_late() {
    let Some(operator) = Operator::shared().await else {
        return;
    };
    let tenant = operator.tenant("b");
    // Each hour, twenty minutes ago: the next one is far off.
    let slot = Timestamp::from_second(before(20 * 60).as_second() / 60 * 60).unwrap();
    let minute = slot.as_second() / 60 % 60;
    let hourly = format!("{minute} * * * *");
    let hours = |hours: i64| slot - SignedDuration::from_hours(hours);

    for (what, missed, many) in [("few", 3, false), ("many", 120, true)] {
        let name = tenant.unique(what);
        goes_on(&tenant, &name, hours(missed), json!({"schedule": hourly})).await;
        let made = |it: &CatalogSchedule| {
            let last = status(it).last_schedule_time.as_ref();
            last.is_some_and(|last| last.0 == slot) && !active(it).is_empty()
        };
        let it = tenant
            .until_of(&tenant.schedules(), &name, "made up for", made)
            .await;
        let only = format!("{name}-{}", slot.as_second() / 60);
        assert_eq!(active(&it), std::slice::from_ref(&only));
        let next = status(&it).next_schedule_time.as_ref().map(|next| next.0);
        assert_eq!(next, Some(hours(-1)));
        let all = catalogs(&tenant, &name).await;
        assert_eq!((all.len(), all[0].name_any()), (1, only));
        // Events come in the order in which they were told.
        let told = if many {
            "TooManyMissedTimes"
        } else {
            "CatalogCreated"
        };
        let events = tenant.told(&name, told).await;
        let count = |wanted: &str| events.iter().filter(|(reason, _)| reason == wanted).count();
        assert_eq!(count("CatalogCreated"), 1, "{events:?}");
        assert_eq!(count("TooManyMissedTimes"), usize::from(many), "{events:?}");
    }

    let name = tenant.unique("late");
    let strict = json!({"schedule": hourly, "startingDeadlineSeconds": 60});
    goes_on(&tenant, &name, hours(3), strict).await;
    let missed = |it: &CatalogSchedule| status(it).last_missed_time.is_some();
    let it = tenant
        .until_of(&tenant.schedules(), &name, "missed", missed)
        .await;
    let time = |time: &Option<_>| {
        let time: &Option<k8s_openapi::apimachinery::pkg::apis::meta::v1::Time> = time;
        time.as_ref().map(|time| time.0)
    };
    assert_eq!(
        (
            reason(&it),
            time(&status(&it).last_missed_time),
            time(&status(&it).last_schedule_time),
            time(&status(&it).next_schedule_time),
        ),
        (Some("Scheduled"), Some(slot), Some(hours(3)), Some(hours(-1)))
    );
    assert_eq!(catalogs(&tenant, &name).await.len(), 0);
    let events = tenant.told(&name, "MissSchedule").await;
    assert!(
        events.iter().any(|(reason, _)| reason == "MissSchedule"),
        "{events:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_moved_a_little_is_made_when_its_status_says() {
    let Some(operator) = Operator::shared().await else {
        return;
    };
    let tenant = operator.tenant("a");
    let name = tenant.unique("moved");
    // Half a minute from now, and up to ten seconds later.
    let (last, apart) = (before(60), 90);
    let slot = last + SignedDuration::from_secs(apart);
    let moved = json!({"schedule": format!("@every {apart}s"), "jitterSeconds": 10});
    goes_on(&tenant, &name, last, moved).await;
    let mut foretold = None;
    let made = |it: &CatalogSchedule| {
        let last = status(it).last_schedule_time.as_ref().map(|last| last.0);
        if last != Some(slot) && reason(it) == Some("Scheduled") {
            foretold = status(it).next_schedule_time.as_ref().map(|next| next.0);
        }
        last == Some(slot)
    };
    tenant.until_of(&tenant.schedules(), &name, "made", made).await;
    change(&tenant, &name, json!({"spec": {"suspend": true}})).await;
    let foretold = foretold.expect("its status says when");
    assert!(
        slot <= foretold && foretold <= slot + SignedDuration::from_secs(10),
        "{slot} {foretold}"
    );
    let only = format!("{name}-{}", slot.as_second() / 60);
    let catalog = tenant.catalogs().get(&only).await.expect("it was made");
    let created = catalog.metadata.creation_timestamp.expect("it was made").0;
    assert!(created >= foretold, "{created} {foretold}");
}
