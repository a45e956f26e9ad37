//! With an operator that dies between two steps.

use std::sync::Arc;

use cataloger::api::CatalogSchedule;
use cataloger_tests::faults::{Act, Moment, Points, Proxy, Victim};
use cataloger_tests::operator::{Operator, Outside, Tenant, gone};
use cataloger_tests::s3;
use kube::api::DeleteParams;
use serde_json::json;

use super::{PATIENCE, catalogs, change, idle, reason};

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
