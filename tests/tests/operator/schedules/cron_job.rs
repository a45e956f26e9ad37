//! Beside a real `CronJob`, for two minutes by the clock.

use std::collections::BTreeSet;

use cataloger::api::{CatalogSchedule, SCHEDULED_AT};
use cataloger_tests::operator::{Operator, Tenant, argocd, kstatus, read};
use cataloger_tests::served::Served;
use k8s_openapi::api::batch::v1::Job;
use kube::api::ListParams;
use kube::{Api, ResourceExt as _};
use serde_json::json;

use super::{PATIENCE, active, catalogs, change, idle, reason};

fn minute_of(name: &str) -> String {
    name.rsplit('-').next().expect("it has an end").to_owned()
}

/// The same schedule as a `CronJob`, whose Jobs do nothing.
async fn cron_job(tenant: &Tenant<'_>, name: &str, schedule: &str, zone: &str) {
    let container = json!({"name": "nothing", "image": "localhost/pause:1"});
    tenant
        .apply(json!({
            "apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": name},
            "spec": {"schedule": schedule, "timeZone": zone, "jobTemplate": {"spec": {
                "suspend": true,
                "template": {"spec": {"restartPolicy": "Never", "containers": [container]}},
            }}},
        }))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_minute_has_a_catalog_as_a_cron_job_has_a_job() {
    let Some(operator) = Operator::shared().await else {
        return;
    };
    let (tenant, shop) = (operator.tenant("a"), Served::postgres_shop());
    let name = tenant.unique("minutes");
    tenant.secret(&name, &[("url", &shop.reader())]).await;
    tenant.provider(&name, json!({"builtin": {}})).await;
    let choice = json!({"model": {"providerRef": {"name": name}}});
    let template = json!({
        "metadata": {"labels": {"team": "shop"}},
        "spec": tenant.catalog(&name, choice)["spec"],
    });
    let mut schedule = idle(
        &tenant,
        &name,
        json!({"schedule": "*/1 * * * *", "timeZone": "Asia/Kathmandu", "concurrencyPolicy": "Forbid"}),
    );
    schedule["spec"]["catalogTemplate"] = template;
    tenant.apply(schedule).await;
    cron_job(&tenant, &name, "*/1 * * * *", "Asia/Kathmandu").await;

    let mut seen: Vec<CatalogSchedule> = Vec::new();
    let schedules = tenant.schedules();
    let watched = cataloger_tests::operator::until(&schedules, &name, PATIENCE, |it: &CatalogSchedule| {
        seen.extend(reason(it).is_some().then(|| it.clone()));
        // Once the second one has published.
        let made: BTreeSet<&String> = seen.iter().flat_map(active).collect();
        let ended = made.into_iter().filter(|name| !active(it).contains(name)).count();
        ended >= 2 && it.status.as_ref().is_some_and(|it| it.artifacts.is_some())
    });
    let last = watched
        .await
        .unwrap_or_else(|last| panic!("no two Catalogs: {last:#?}"));
    change(&tenant, &name, json!({"spec": {"suspend": true}})).await;
    let all = catalogs(&tenant, &name).await;
    assert!(all.len() >= 2, "{all:#?}");
    let (first, second) = (&all[0], &all[1]);
    let owner = &second.owner_references()[0];
    assert_eq!(
        (owner.kind.as_str(), owner.controller),
        ("CatalogSchedule", Some(true))
    );
    assert_eq!(second.labels()["team"], "shop");
    assert!(second.annotations()[SCHEDULED_AT].ends_with("+05:45"));

    // Two runs, of which the second has compared its page with the first's.
    let published = |it: &cataloger::api::Catalog| {
        it.status
            .clone()
            .and_then(|it| it.artifacts)
            .expect("it has published")
    };
    let (first, second) = (published(first), published(second));
    assert_ne!(first.timestamp, second.timestamp);
    let summary = read(second.summary.as_ref().expect("a summary")).await;
    let summary = String::from_utf8_lossy(&summary);
    assert!(summary.contains("compared with the one of"), "{summary}");
    let status = last.status.as_ref().expect("it was looked at");
    assert!(status.last_successful_time.is_some());
    assert!(
        !read(&status.artifacts.as_ref().expect("a page").catalog)
            .await
            .is_empty()
    );

    // The same minutes as the CronJob, by the same names.
    let jobs: Api<Job> = Api::namespaced(operator.cluster.admin.clone(), &tenant.namespace);
    let jobs = jobs
        .list(&ListParams::default())
        .await
        .expect("they can be listed")
        .items;
    let jobs: BTreeSet<String> = jobs
        .iter()
        .map(kube::ResourceExt::name_any)
        .filter(|job| job.starts_with(&name))
        .collect();
    let minutes: BTreeSet<String> = jobs.iter().map(|job| minute_of(job)).collect();
    for catalog in &all[..2] {
        // Who began just before a minute was over has had one more chance.
        let its = minute_of(&catalog.name_any());
        let early = minutes.first().is_some_and(|first| its < *first);
        assert!(early || jobs.contains(&catalog.name_any()), "{its}: {jobs:?}");
    }

    // A run by the clock is nothing to wait for.
    let mut verdicts: Vec<String> = kstatus(&seen).await.into_iter().map(|it| it.status).collect();
    verdicts.dedup();
    assert_eq!(verdicts, ["Current"]);
    let mut verdicts: Vec<String> = argocd(&seen).await.into_iter().map(|it| it.status).collect();
    verdicts.dedup();
    assert_eq!(verdicts, ["Healthy"]);
}
