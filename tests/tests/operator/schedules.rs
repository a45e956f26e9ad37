//! Catalogs by the clock: beside a real `CronJob`, as they go on and go wrong, and with an operator that dies.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use cataloger::api::{Catalog, CatalogSchedule, REQUESTED_AT, SCHEDULED_AT};
use cataloger_tests::faults::{Act, Moment, Points, Proxy, Victim};
use cataloger_tests::operator::{Operator, Outside, Tenant, argocd, gone, kstatus, read};
use cataloger_tests::s3;
use cataloger_tests::served::Served;
use k8s_openapi::api::batch::v1::Job;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};

/// Longer than two minutes by the clock, and two runs of them.
const PATIENCE: Duration = Duration::from_mins(8);

/// A schedule of Catalogs that do nothing: they are suspended, and so active for ever.
fn idle(tenant: &Tenant<'_>, name: &str, more: Value) -> Value {
    let template = tenant.catalog(name, json!({"suspend": true}));
    let mut spec = json!({"schedule": "@every 1s", "catalogTemplate": {"spec": template["spec"]}});
    let Value::Object(more) = more else {
        panic!("no members: {more}")
    };
    for (field, value) in more {
        spec[field] = value;
    }
    json!({
        "apiVersion": "cataloger.dev/v1alpha1", "kind": "CatalogSchedule",
        "metadata": {"name": name}, "spec": spec,
    })
}

async fn change(tenant: &Tenant<'_>, name: &str, change: Value) {
    let (schedules, patch) = (tenant.schedules(), Patch::Merge(change));
    let changed = schedules.patch(name, &PatchParams::default(), &patch).await;
    changed.unwrap_or_else(|error| panic!("{name}: {error}"));
}

fn reason(schedule: &CatalogSchedule) -> Option<&str> {
    let status = schedule.status.as_ref()?;
    if status.observed_generation != schedule.metadata.generation {
        return None;
    }
    let ready = status.conditions.iter().find(|it| it.type_ == "Ready")?;
    Some(&ready.reason)
}

async fn stands(tenant: &Tenant<'_>, name: &str, as_wanted: &str) -> CatalogSchedule {
    let holds = |it: &CatalogSchedule| reason(it) == Some(as_wanted);
    tenant.until_of(&tenant.schedules(), name, as_wanted, holds).await
}

fn active(schedule: &CatalogSchedule) -> &[String] {
    schedule.status.as_ref().map_or(&[], |status| &status.active)
}

/// The Catalogs of a schedule, by their names.
async fn catalogs(tenant: &Tenant<'_>, schedule: &str) -> Vec<Catalog> {
    let its = ListParams::default().labels(&format!("cataloger.dev/schedule={schedule}"));
    let mut all = tenant
        .catalogs()
        .list(&its)
        .await
        .expect("they can be listed")
        .items;
    all.sort_by_key(kube::ResourceExt::name_any);
    all
}

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
    let published = |it: &Catalog| {
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

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_said_where_its_author_looks() {
    let Some(operator) = Operator::shared().await else {
        return;
    };
    let tenant = operator.tenant("b");
    let bad_label =
        json!({"metadata": {"labels": {"-bad-": "x"}}, "spec": tenant.catalog("x", json!({}))["spec"]});
    for (more, why, says) in [
        (
            json!({"schedule": "99 * * * *"}),
            "InvalidSchedule",
            "the minute \"99\" is above 59",
        ),
        (
            json!({"timeZone": "Europe/Nowhere"}),
            "UnknownTimeZone",
            "Europe/Nowhere",
        ),
        (json!({"schedule": "0 0 30 2 *"}), "NeverDue", "30 February"),
        (json!({"catalogTemplate": bad_label}), "TemplateRefused", "-bad-"),
    ] {
        let name = tenant.unique("wrong");
        tenant.apply(idle(&tenant, &name, more)).await;
        let it = stands(&tenant, &name, why).await;
        let status = it.status.as_ref().expect("it was looked at");
        assert!(status.conditions[0].message.contains(says), "{status:#?}");
        assert_eq!(kstatus(std::slice::from_ref(&it)).await[0].status, "Failed");
        let health = argocd(std::slice::from_ref(&it)).await.remove(0);
        assert_eq!(health.status, "Degraded");
        assert!(health.message.starts_with(why), "{health:?}");
        let events = tenant.told(&name, why).await;
        assert!(
            events
                .iter()
                .any(|(reason, note)| reason == why && note.contains(says)),
            "{events:?}"
        );
        // It is healed by a correction.
        let right = idle(&tenant, &name, json!({"schedule": "0 0 29 2 *"}));
        let right = json!({"spec": {
            "schedule": "0 0 29 2 *", "timeZone": "Etc/UTC", "suspend": true,
            "catalogTemplate": {"metadata": null, "spec": right["spec"]["catalogTemplate"]["spec"]},
        }});
        change(&tenant, &name, right).await;
        let healed = stands(&tenant, &name, "Suspended").await;
        assert_eq!(kstatus(std::slice::from_ref(&healed)).await[0].status, "Current");
        assert_eq!(argocd(&[healed]).await[0].status, "Suspended");
    }

    // A Catalog of somebody else's is left alone.
    let name = tenant.unique("taken");
    let now = jiff::Timestamp::now().as_second() / 60;
    let names: Vec<String> = (now..now + 5).map(|minute| format!("{name}-{minute}")).collect();
    for other in &names {
        tenant
            .apply(tenant.catalog(other, json!({"suspend": true})))
            .await;
    }
    tenant.apply(idle(&tenant, &name, json!({}))).await;
    stands(&tenant, &name, "NameTaken").await;
    change(&tenant, &name, json!({"spec": {"suspend": true}})).await;
    for other in &names {
        assert!(
            tenant
                .catalogs()
                .get(other)
                .await
                .expect("it is there")
                .owner_references()
                .is_empty()
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_is_suspended_asked_by_hand_waits_and_replaces() {
    let Some(operator) = Operator::shared().await else {
        return;
    };
    let tenant = operator.tenant("a");
    let name = tenant.unique("byhand");
    let policy = json!({"suspend": true, "concurrencyPolicy": "Forbid"});
    tenant.apply(idle(&tenant, &name, policy)).await;
    stands(&tenant, &name, "Suspended").await;
    assert_eq!(catalogs(&tenant, &name).await.len(), 0);

    let ask = |value: &str| json!({"metadata": {"annotations": {REQUESTED_AT: value}}});
    change(&tenant, &name, ask("today")).await;
    let schedules = tenant.schedules();
    let one = |it: &CatalogSchedule| active(it).len() == 1;
    let asked = tenant.until_of(&schedules, &name, "asked by hand", one).await;
    let by_hand = active(&asked)[0].clone();
    assert!(by_hand.starts_with(&format!("{name}-m")), "{by_hand}");
    assert_eq!(
        asked.status.expect("it was looked at").last_handled_reconcile_at,
        None
    );

    // Its time comes, and it waits.
    change(&tenant, &name, json!({"spec": {"suspend": false}})).await;
    let waits = stands(&tenant, &name, "AlreadyActive").await;
    assert_eq!(waits.status.expect("it was looked at").last_schedule_time, None);
    assert_eq!(catalogs(&tenant, &name).await.len(), 1);
    // What was asked for takes the place of nobody, but a slot does of it.
    change(&tenant, &name, json!({"spec": {"concurrencyPolicy": "Replace"}})).await;
    let replaced = tenant
        .until_of(&schedules, &name, "replaced", |it| {
            it.status
                .as_ref()
                .is_some_and(|it| it.last_schedule_time.is_some())
                && !active(it).contains(&by_hand)
        })
        .await;
    change(&tenant, &name, json!({"spec": {"suspend": true}})).await;
    assert_eq!(active(&replaced).len(), 1);
    tenant.gone(&by_hand).await;
    // It is not made again.
    let handled = |it: &CatalogSchedule| {
        reason(it) == Some("Suspended")
            && it
                .status
                .as_ref()
                .and_then(|it| it.last_handled_reconcile_at.as_deref())
                == Some("today")
    };
    tenant.until_of(&schedules, &name, "handled", handled).await;
    assert!(
        tenant
            .catalogs()
            .get_opt(&by_hand)
            .await
            .expect("it can be asked")
            .is_none()
    );

    // Its Catalogs go with it.
    let left = catalogs(&tenant, &name).await;
    assert!(!left.is_empty());
    schedules
        .delete(&name, &DeleteParams::default())
        .await
        .expect("it is there");
    for catalog in left {
        tenant.gone(&catalog.name_any()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_at_once_write_below_one_prefix() {
    let Some(operator) = Operator::shared().await else {
        return;
    };
    let (tenant, shop) = (operator.tenant("b"), Served::postgres_shop());
    let name = tenant.unique("both");
    tenant.secret(&name, &[("url", &shop.reader())]).await;
    tenant.provider(&name, json!({"builtin": {}})).await;
    let rest = json!({"model": {"providerRef": {"name": name}}, "retention": {"runs": 5}});
    let template = json!({"spec": tenant.catalog(&name, rest)["spec"]});
    let more = json!({"suspend": true, "catalogTemplate": template});
    tenant.apply(idle(&tenant, &name, more)).await;
    for (number, value) in [(1, "one"), (2, "two")] {
        let ask = json!({"metadata": {"annotations": {REQUESTED_AT: value}}});
        change(&tenant, &name, ask).await;
        let asked = |it: &CatalogSchedule| {
            let status = it.status.as_ref();
            status.is_some_and(|it| {
                it.requested.as_ref().is_some_and(|it| it.at == value)
                    || it.last_handled_reconcile_at.as_deref() == Some(value)
            })
        };
        tenant.until_of(&tenant.schedules(), &name, value, asked).await;
        assert_eq!(catalogs(&tenant, &name).await.len(), number);
    }
    let mut runs = BTreeSet::new();
    for catalog in catalogs(&tenant, &name).await {
        let done = tenant.succeeded(&catalog.name_any()).await;
        let artifacts = done.status.and_then(|it| it.artifacts).expect("it has published");
        runs.insert(artifacts.timestamp);
    }
    assert_eq!(runs.len(), 2);
    let objects = tenant.objects(&name).await;
    for run in runs {
        assert!(objects.contains(&format!("{run}/catalog.html")), "{objects:?}");
    }
    let handled = |it: &CatalogSchedule| {
        let status = it.status.as_ref();
        status
            .is_some_and(|it| it.last_handled_reconcile_at.as_deref() == Some("two") && it.active.is_empty())
    };
    tenant
        .until_of(&tenant.schedules(), &name, "handled", handled)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_that_dies_makes_no_catalog_twice() {
    let Some(operator) = Operator::without_pods("dies").await else {
        return;
    };
    let tenant = operator.another_tenant("once").await;
    // The first dies when its Catalog is made and nobody has written so, the second before the status is written.
    let victim = Victim::default();
    let created = Arc::new(std::sync::Mutex::new(Vec::<u16>::new()));
    let points = {
        let (victim, created) = (victim.clone(), Arc::clone(&created));
        Points::new(move |seen| {
            let (what, kills) = (seen.point.what.as_str(), victim.kills());
            match (what, seen.moment) {
                ("POST catalogs", Moment::After { status }) => {
                    created.lock().expect("nobody panics").extend(status);
                    if kills == 0 && victim.kill() {
                        return Act::Cut;
                    }
                }
                ("PATCH catalogschedules/status", Moment::Before) if kills == 1 && victim.kill() => {
                    return Act::Cut;
                }
                _ => {}
            }
            Act::Pass
        })
    };
    let directory = tempfile::tempdir().unwrap();
    let api = Proxy::api(&operator.cluster.config, &points).await;
    let kubeconfig = directory.path().join("kubeconfig");
    std::fs::write(&kubeconfig, api.kubeconfig()).unwrap();
    let log = directory.path().join("log");
    let name = tenant.unique("once");
    // One name a minute, and a look each second: that of a minute that is not over is found again and again.
    tenant.apply(idle(&tenant, &name, json!({}))).await;
    for life in 0..3 {
        let mut child = victim.start(&mut operator.outside(&Outside {
            installation: &tenant.namespace,
            identity: &format!("replica-{life}"),
            namespaces: vec![tenant.namespace.clone()],
            kubeconfig: &kubeconfig,
            bucket: &s3::in_cluster().endpoint.expect("it has an address"),
            log: &log,
            environment: Vec::new(),
        }));
        if life < 2 {
            let ended = tokio::time::timeout(PATIENCE, child.wait()).await;
            let text = std::fs::read_to_string(&log).unwrap_or_default();
            assert!(ended.is_ok() && victim.kills() == life + 1, "{ended:?}\n{text}");
            victim.ended();
            continue;
        }
        let written = |it: &CatalogSchedule| {
            it.status
                .as_ref()
                .is_some_and(|it| it.last_schedule_time.is_some() && !it.active.is_empty())
        };
        let seen = cataloger_tests::operator::until(&tenant.schedules(), &name, PATIENCE, written).await;
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        seen.unwrap_or_else(|last| panic!("{last:#?}\n{text}"));
        change(&tenant, &name, json!({"spec": {"suspend": true}})).await;
        stands_outside(&tenant, &name, &log).await;
        child.kill().await.expect("it is there");
        victim.ended();
    }
    let made = catalogs(&tenant, &name).await;
    let statuses = created.lock().unwrap().clone();
    let new = statuses.iter().filter(|status| **status == 201).count();
    assert_eq!(new, made.len(), "{statuses:?}");
    let active = tenant.schedules().get(&name).await.unwrap();
    assert_eq!(
        active.status.unwrap().active,
        made.iter().map(kube::ResourceExt::name_any).collect::<Vec<_>>()
    );
    tenant
        .schedules()
        .delete(&name, &DeleteParams::default())
        .await
        .unwrap();
    gone(&tenant.schedules(), &name, PATIENCE).await.expect("it goes");
}

async fn stands_outside(tenant: &Tenant<'_>, name: &str, log: &std::path::Path) {
    let suspended = |it: &CatalogSchedule| reason(it) == Some("Suspended");
    let seen = cataloger_tests::operator::until(&tenant.schedules(), name, PATIENCE, suspended).await;
    if let Err(last) = seen {
        panic!("{last:#?}\n{}", std::fs::read_to_string(log).unwrap_or_default());
    }
}
