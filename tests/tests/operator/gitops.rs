//! What Flux and its like make of a Catalog, by its own library: every status that it ever had, not only the last.

use cataloger::api::Catalog;
use cataloger::api::catalog::Phase;
use cataloger_tests::author::Author;
use cataloger_tests::operator::{Operator, Tenant, handled, is, kstatus, phase};
use cataloger_tests::served::Served;
use serde_json::json;

use crate::{anthropic, model};

/// Every state that a Catalog is seen in until it is as it should be. Before the operator has seen it there is no
/// status, and what that means is up to each tool.
async fn recorded(
    tenant: &Tenant<'_>,
    name: &str,
    what: &str,
    mut holds: impl FnMut(&Catalog) -> bool,
) -> Vec<Catalog> {
    let mut all = Vec::new();
    let watching = tenant.until(name, what, |catalog| {
        if catalog.status.is_some() {
            all.push(catalog.clone());
        }
        holds(catalog)
    });
    watching.await;
    all
}

/// What is said of each, without repetitions.
async fn said(catalogs: &[Catalog]) -> Vec<String> {
    let mut said: Vec<String> = kstatus(catalogs).await.into_iter().map(|it| it.status).collect();
    said.dedup();
    said
}

fn done(catalog: &Catalog) -> bool {
    handled(catalog) && phase(catalog) == Some(Phase::Succeeded)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_run_is_in_progress_and_then_current_and_stays_so() {
    let Some(operator) = Operator::shared().await else {
        return;
    };
    let (tenant, shop) = (operator.tenant("a"), Served::postgres_shop());
    let server = model(Author::default()).await;
    let name = tenant.unique("flux");
    let choice = anthropic(&tenant, &server).await;
    tenant.begin(&name, &shop.reader(), choice).await;
    let first = recorded(&tenant, &name, "succeeded", done).await;
    assert_eq!(said(&first).await, ["InProgress", "Current"]);
    let last = first.last().and_then(|it| it.status.clone()).unwrap();

    // A run that is repeated changes nothing for who looks at the resource.
    tenant.again(&name, "again").await;
    let again = recorded(&tenant, &name, "run again", |it| {
        done(it) && it.status.as_ref().unwrap().artifacts != last.artifacts
    });
    assert_eq!(said(&again.await).await, ["Current"]);
    // Nor does one that fails.
    tenant.secret(&name, &[("url", &shop.url())]).await;
    tenant.again(&name, "as a writer").await;
    let failed = recorded(&tenant, &name, "failed", |it| {
        handled(it) && phase(it) == Some(Phase::Failed)
    });
    assert_eq!(said(&failed.await).await, ["Current"]);
    // A change of the spec does, until it is done.
    tenant.secret(&name, &[("url", &shop.reader_again())]).await;
    tenant
        .patch(&name, json!({"spec": {"intent": "What is an order?"}}))
        .await;
    let changed = recorded(&tenant, &name, "succeeded", done).await;
    let verdicts = said(&changed).await;
    assert!(verdicts.ends_with(&["Current".to_owned()]), "{verdicts:?}");
    assert!(verdicts.contains(&"InProgress".to_owned()), "{verdicts:?}");
    assert!(!verdicts.contains(&"Failed".to_owned()), "{verdicts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_waited_for_is_in_progress() {
    let Some(operator) = Operator::shared().await else {
        return;
    };
    let tenant = operator.tenant("b");
    let name = tenant.unique("waits");
    tenant.apply(tenant.catalog(&name, json!({}))).await;
    let told = |it: &Catalog| handled(it) && is(it, "Ready", "False");
    let waits = recorded(&tenant, &name, "told what is missing", told).await;
    assert_eq!(said(&waits).await, ["InProgress"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_its_author_can_heal_has_failed() {
    let Some(operator) = Operator::shared().await else {
        return;
    };
    let (tenant, shop) = (operator.tenant("b"), Served::postgres_shop());
    let ends = |it: &Catalog| handled(it) && is(it, "Stalled", "True");
    // Refused at once, and failed in its run.
    let name = tenant.unique("refused");
    let refused = json!({"sandbox": {"image": "registry.example.com/own:1"}});
    tenant.begin(&name, &shop.reader(), refused).await;
    let refused = recorded(&tenant, &name, "refused", ends).await;
    assert_eq!(said(&refused).await.last().unwrap(), "Failed");
    let name = tenant.unique("failed");
    tenant.begin(&name, &shop.url(), json!({})).await;
    let failed = recorded(&tenant, &name, "failed", ends).await;
    assert_eq!(said(&failed).await, ["InProgress", "Failed"]);
}
