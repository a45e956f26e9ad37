//! Schedules: what thousands cost that are not due, and how soon a thousand of the same minute have their Catalogs.
//!
//! The Catalogs are suspended: what is measured is the schedules' work, not that of runs.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use cataloger::api::{CatalogSchedule, SCHEDULE};
use futures::{StreamExt as _, stream};
use jiff::Timestamp;
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::{Api, ResourceExt as _};
use serde_json::json;

use super::process::Process;
use super::{HANDS, PATIENCE, catalog};
use crate::usage::{self, mebibytes};

/// How often it is looked whether all are made.
const PAUSE: Duration = Duration::from_millis(500);
/// So long before their time the schedules have to be there, in seconds.
const AHEAD: i64 = 30;
const CALLS: &str = "cataloger_api_calls_total";

/// How many of which.
pub(crate) struct Size {
    /// That are not due.
    pub(crate) idle: u32,
    /// That are due in one minute.
    pub(crate) due: u32,
    /// How long the idle ones are watched.
    pub(crate) stretch: Duration,
}

/// All of it.
pub(crate) async fn all(size: Size) {
    let Some(operator) = Process::start(1).await else {
        println!("bench: schedules are left out: the cluster is not the tests' own");
        return;
    };
    let nothing = watched(&operator, 0, size.stretch).await;
    // The next 29 February.
    create(&operator, "idle", size.idle, "0 0 29 2 *").await;
    operator.rests().await;
    let idle = watched(&operator, size.idle, size.stretch).await;
    println!(
        "bench: {} idle schedules: resident memory {:.1} MiB, without {:.1} MiB ratio={:.2}",
        size.idle,
        mebibytes(idle),
        mebibytes(nothing),
        mebibytes(idle) / mebibytes(nothing)
    );
    due(&operator, size.due).await;
    let schedules = schedules(&operator);
    schedules
        .delete_collection(&DeleteParams::default(), &ListParams::default())
        .await
        .expect("they can be deleted");
    operator.end().await;
}

fn schedules(operator: &Process) -> Api<CatalogSchedule> {
    Api::namespaced(operator.cluster.admin.clone(), &operator.tenant())
}

async fn create(operator: &Process, name: &str, number: u32, schedule: &str) {
    let (api, began) = (schedules(operator), Instant::now());
    stream::iter(0..number)
        .for_each_concurrent(HANDS, async |index| {
            let name = format!("{name}-{index}");
            let template = catalog(operator, &name, true);
            let schedule: CatalogSchedule = serde_json::from_value(json!({
                "apiVersion": "cataloger.dev/v1alpha1", "kind": "CatalogSchedule",
                "metadata": {"name": name},
                "spec": {"schedule": schedule, "catalogTemplate": {"spec": template["spec"]}},
            }))
            .expect("a schedule");
            let created = api.create(&PostParams::default(), &schedule).await;
            created.expect("it is created");
        })
        .await;
    println!(
        "bench: {number} schedules created in {:.1} s",
        began.elapsed().as_secs_f64()
    );
}

/// What is asked while nothing happens; the memory after it.
async fn watched(operator: &Process, number: u32, stretch: Duration) -> u64 {
    operator.rests().await;
    let (before, worked) = (operator.metrics().await, usage::processor(operator.pid()));
    tokio::time::sleep(stretch).await;
    let (after, worked) = (
        operator.metrics().await,
        usage::processor(operator.pid()).saturating_sub(worked),
    );
    let calls = after.sum(CALLS, "", &[]) - before.sum(CALLS, "", &[]);
    let others = after.sum(CALLS, "", &["\"leases\""]) - before.sum(CALLS, "", &["\"leases\""]);
    println!(
        "bench: operator with {number} idle schedules for {:.0} s: {:.1} API calls a minute, {:.1} of them not for its lease; on a processor {:.2} s",
        stretch.as_secs_f64(),
        calls * 60.0 / stretch.as_secs_f64(),
        others * 60.0 / stretch.as_secs_f64(),
        worked.as_secs_f64(),
    );
    usage::resident(operator.pid()).expect("it runs")
}

/// As many in one minute.
async fn due(operator: &Process, number: u32) {
    // Time to create them all, by what that took for others, and a little more.
    let ahead = AHEAD + i64::from(number / 20);
    let slot = (Timestamp::now().as_second() + ahead).div_euclid(60) * 60 + 60;
    let (hour, minute) = (slot.rem_euclid(86_400) / 3600, slot.rem_euclid(3600) / 60);
    create(operator, "due", number, &format!("{minute} {hour} * * *")).await;
    operator.rests().await;
    let left = slot - Timestamp::now().as_second();
    println!("bench: {number} schedules are known {left} s before their time");
    let before = usage::resident(operator.pid()).expect("it runs");
    let (calls, worked) = (operator.metrics().await, usage::processor(operator.pid()));
    let of = ListParams::default().labels(SCHEDULE);
    let (mut peak, mut made_after, api) = (before, None, operator.catalogs());
    let began = Instant::now();
    let wanted = usize::try_from(number).expect("a small number");
    loop {
        assert!(
            began.elapsed() < PATIENCE,
            "they are not all made: {}",
            operator.told()
        );
        peak = peak.max(usage::resident(operator.pid()).unwrap_or_default());
        let late = Timestamp::now().as_millisecond() - slot * 1000;
        if late > 0 {
            if made_after.is_none() {
                let made = api.list_metadata(&of).await.expect("they can be listed").items;
                made_after = (made.len() >= wanted).then_some(late);
            }
            // To list thousands of schedules is work, too.
            if made_after.is_none() {
                tokio::time::sleep(PAUSE).await;
                continue;
            }
            let known = schedules(operator).list(&ListParams::default()).await;
            let known = known.expect("they can be listed").items;
            let told = known.iter().filter(|it| {
                let status = it.status.as_ref();
                it.name_any().starts_with("due-") && status.is_some_and(|it| it.last_schedule_time.is_some())
            });
            if told.count() == wanted {
                println!(
                    "bench: {number} schedules of one minute: the last Catalog was there {:.1} s after it, the last status {:.1} s",
                    seconds(made_after.unwrap_or_default()),
                    seconds(Timestamp::now().as_millisecond() - slot * 1000),
                );
                break;
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
    operator.rests().await;
    let worked = usage::processor(operator.pid()).saturating_sub(worked);
    let made = api.list_metadata(&of).await.expect("they can be listed").items;
    let names: BTreeSet<String> = made
        .iter()
        .map(|it| it.metadata.name.clone().unwrap_or_default())
        .collect();
    let after = operator.metrics().await;
    let creations = |metrics: &super::process::Metrics| -> f64 {
        let of = |outcome: &str| {
            let labels = format!("verb=\"create\",resource=\"catalogs\",outcome=\"{outcome}\"");
            metrics.sum(CALLS, &labels, &[])
        };
        of("ok") + of("conflict")
    };
    println!(
        "bench: {} Catalogs by {} names for {number} schedules, {} asked for; resident memory at its most {:.1} MiB, before {:.1} MiB ratio={:.2}; on a processor {:.2} s",
        made.len(),
        names.len(),
        creations(&after) - creations(&calls),
        mebibytes(peak),
        mebibytes(before),
        mebibytes(peak) / mebibytes(before),
        worked.as_secs_f64(),
    );
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn seconds(milliseconds: i64) -> f64 {
    milliseconds as f64 / 1000.0
}
