//! Which Catalogs stay, and which pages: below one prefix, and in the status when their Catalog is gone.

use std::collections::BTreeSet;

use cataloger::api::CatalogSchedule;
use cataloger::api::catalog::Phase;
use cataloger_tests::operator::{Operator, phase};
use cataloger_tests::served::Served;
use kube::ResourceExt as _;
use serde_json::json;

use super::{ask, catalogs, change, handled, idle, stands};

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
        ask(&tenant, &name, value).await;
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
    let known = handled(&tenant, &name, "two").await;

    // Where fewer are kept, the oldest goes.
    let mut ended = catalogs(&tenant, &name).await;
    ended.sort_by_key(|it| {
        let run = it.status.as_ref().and_then(|it| it.run.as_ref());
        let began = run.and_then(|run| run.started_at.clone()).map(|at| at.0);
        (began, it.name_any())
    });
    let fewer = json!({"spec": {"successfulCatalogsHistoryLimit": 1}});
    change(&tenant, &name, fewer).await;
    tenant.gone(&ended[0].name_any()).await;
    let left = catalogs(&tenant, &name).await;
    assert_eq!(left[0].name_any(), ended[1].name_any());
    // When the other one's time is over, its pages are still known.
    assert_eq!(left[0].spec.ttl_seconds_after_finished, None);
    let at_once = json!({"spec": {"catalogTemplate": {"spec": {"ttlSecondsAfterFinished": 0}}}});
    change(&tenant, &name, at_once).await;
    tenant.gone(&ended[1].name_any()).await;
    let after = stands(&tenant, &name, "Suspended").await;
    let artifacts = |it: &CatalogSchedule| it.status.clone().and_then(|it| it.artifacts);
    assert!(artifacts(&known).is_some());
    assert_eq!(artifacts(&after), artifacts(&known));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_those_that_failed_the_newest_are_kept() {
    let Some(operator) = Operator::shared().await else {
        return;
    };
    let tenant = operator.tenant("a");
    let name = tenant.unique("failing");
    // Nobody has allowed that image: so each is given up at once.
    let refused = tenant.catalog(
        &name,
        json!({"sandbox": {"image": "registry.example.com/other:1"}}),
    );
    let more = json!({
        "suspend": true, "failedCatalogsHistoryLimit": 9, "catalogTemplate": {"spec": refused["spec"]},
    });
    tenant.apply(idle(&tenant, &name, more)).await;
    for value in ["one", "two", "three", "four"] {
        ask(&tenant, &name, value).await;
        handled(&tenant, &name, value).await;
    }
    // Several may be of one second: then their names decide.
    let mut made = BTreeSet::new();
    for catalog in catalogs(&tenant, &name).await {
        assert_eq!(phase(&catalog), Some(Phase::Failed));
        let created = catalog.metadata.creation_timestamp.clone().map(|at| at.0);
        made.insert((created, catalog.name_any()));
    }
    assert_eq!(made.len(), 4, "{made:?}");
    let names: Vec<String> = made.into_iter().map(|(_, name)| name).collect();
    change(&tenant, &name, json!({"spec": {"failedCatalogsHistoryLimit": 2}})).await;
    for oldest in &names[..2] {
        tenant.gone(oldest).await;
    }
    let left: BTreeSet<String> = catalogs(&tenant, &name)
        .await
        .iter()
        .map(kube::ResourceExt::name_any)
        .collect();
    assert_eq!(left, names[2..].iter().cloned().collect());
    let told = tenant.told(&name, "CatalogFailed").await;
    assert!(
        told.iter().any(|(reason, _)| reason == "CatalogFailed"),
        "{told:?}"
    );
}
