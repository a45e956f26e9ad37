//! A bucket that is away, before a run and in the middle of it, or refuses what it took before.

use std::sync::atomic::Ordering;
use std::time::Duration;

use cataloger::api::Catalog;
use cataloger::api::catalog::Phase;
use cataloger_tests::author::asked_again;
use cataloger_tests::operator::{condition, phase};
use serde_json::json;
use tokio::time::timeout;

use crate::outside::Ground;
use crate::slow;

const NAME: &str = "shop";

fn message(catalog: &Catalog) -> &str {
    let run = catalog.status.as_ref().and_then(|status| status.run.as_ref());
    run.and_then(|run| run.message.as_deref()).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_is_away_is_waited_for_and_nothing_is_paid_twice() {
    let Some(ground) = Ground::new("away", slow(1)).await else {
        return;
    };
    let tenant = ground.operator.another_tenant("a").await;
    let replica = ground.start(&tenant, "one", "3s").await;
    ground.leads(&tenant, "one").await;
    let away = |is: bool| replica.cuts.bucket.store(is, Ordering::Relaxed);

    // Before the run: no try is spent, and the status says what is waited for.
    away(true);
    tenant.begin(NAME, &ground.url, json!({})).await;
    let told = tenant
        .until(NAME, "told that the bucket is away", |it| {
            message(it).starts_with("it is tried again in 30 s")
        })
        .await;
    assert_eq!(phase(&told), Some(Phase::Pending));
    let reconciling = condition(&told, "Reconciling").unwrap();
    assert_eq!(
        (reconciling.status.as_str(), reconciling.reason.as_str()),
        ("True", "StorageFailed")
    );
    assert!(message(&told).contains("can't be reached"), "{}", message(&told));
    assert_eq!(ground.server.requests().len(), 0);

    // In the middle: it waits with the answer in its hands.
    away(false);
    let asked = timeout(Duration::from_mins(2), ground.server.asked(2)).await;
    asked.unwrap_or_else(|_| panic!("it does not go on: {}", replica.log()));
    away(true);
    let told = tenant
        .until(NAME, "told that it waits", |it| {
            message(it).starts_with("waits for the store")
        })
        .await;
    assert_eq!(phase(&told), Some(Phase::Cataloging));
    away(false);
    let catalog = tenant.succeeded(NAME).await;
    let past = &catalog.status.unwrap().history;
    assert_eq!((past.len(), past[0].attempts), (1, 1));
    assert_eq!(ground.server.requests().len(), 6);
    assert_eq!(ground.server.problems(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_refuses_stops_a_run_which_goes_on_with_another_limit() {
    let Some(ground) = Ground::new("refuses", slow(1)).await else {
        return;
    };
    let tenant = ground.operator.another_tenant("a").await;
    let replica = ground.start(&tenant, "one", "3s").await;
    ground.leads(&tenant, "one").await;
    ground.at_work(&tenant, NAME, json!({}), 2).await;
    let forbidden = |is: bool| replica.cuts.forbidden.store(is, Ordering::Relaxed);
    forbidden(true);
    let failed = tenant
        .until(NAME, "failed", |it| phase(it) == Some(Phase::Failed))
        .await;
    let ready = condition(&failed, "Ready").unwrap();
    assert_eq!(
        (ready.status.as_str(), ready.reason.as_str()),
        ("False", "StorageFailed")
    );
    assert!(ready.message.contains("AccessDenied"), "{}", ready.message);
    let paid = ground.server.requests().len();

    forbidden(false);
    let higher = json!({"spec": {"limits": {"maxIterations": 31}}});
    tenant.patch(NAME, higher).await;
    let catalog = tenant
        .until(NAME, "succeeded", |it| phase(it) == Some(Phase::Succeeded))
        .await;
    let status = catalog.status.unwrap();
    // The same run, from its journal: only what could not be written is asked for again.
    assert_eq!(status.history.len(), 1, "{:#?}", status.history);
    let again = asked_again(&ground.server);
    assert!(again <= 1, "{again} of {paid}: {:#?}", ground.server.requests());
    assert_eq!(ground.server.problems(), Vec::<String>::new());
}
