//! When a run is bought: by what is new, and by nothing else.

use cataloger_tests::author::{Asker, Author, place};
use cataloger_tests::operator::{Operator, handled, is, phase, read};
use cataloger_tests::served::Served;
use serde_json::json;

use crate::{anthropic, model, saying};

#[tokio::test(flavor = "multi_thread")]
async fn a_second_run_knows_the_first_and_what_was_said_of_it() {
    let Some(operator) = Operator::shared().await else {
        return;
    };
    let (tenant, shop) = (operator.tenant("a"), Served::postgres_shop());
    let server = model(Author::default()).await;
    let name = tenant.unique("twice");
    let choice = anthropic(&tenant, &server).await;
    tenant.begin(&name, &shop.reader(), choice).await;
    let first = tenant.succeeded(&name).await.status.unwrap().artifacts.unwrap();

    tenant.comment(&name, "Orders of 1999 are tests.").await;

    let asked = server.requests().len();
    tenant.again(&name, "once more").await;
    let second = tenant
        .until(&name, "run twice", |catalog| {
            // What is published stays good while the next one is made.
            assert!(is(catalog, "Ready", "True") && !is(catalog, "Reconciling", "True"));
            let status = catalog.status.as_ref().unwrap();
            handled(catalog)
                && status
                    .artifacts
                    .as_ref()
                    .is_some_and(|it| it.timestamp != first.timestamp)
        })
        .await;
    let second = tenant.succeeded(second.metadata.name.as_deref().unwrap()).await;
    let status = second.status.unwrap();
    assert_eq!(status.history.len(), 2);
    assert_eq!(status.history[1].id.as_ref(), Some(&first.timestamp));
    let requests = server.requests().split_off(asked);
    let task = |asker| {
        let request = requests
            .iter()
            .find(|request| place(request) == (asker, 0))
            .unwrap();
        request.json()["messages"][0]["content"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    assert!(task(Asker::Catalog).contains("Orders of 1999 are tests."));
    let summary = task(Asker::Summary);
    assert!(summary.contains(&first.timestamp) && summary.contains("Orders of 1999 are tests."));
    assert!(!read(&first.catalog).await.is_empty());
    assert_eq!(server.problems(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_change_the_result_buys_no_run() {
    let Some(operator) = Operator::shared().await else {
        return;
    };
    let (tenant, shop) = (operator.tenant("a"), Served::postgres_shop());
    let server = model(Author::default()).await;
    let name = tenant.unique("thrifty");
    let choice = anthropic(&tenant, &server).await;
    tenant.begin(&name, &shop.reader(), choice).await;
    let first = tenant.succeeded(&name).await.status.unwrap();
    let asked = server.requests().len();
    for change in [
        json!({"limits": {"maxRows": 7, "timeout": "10m"}}),
        json!({"backoffLimit": 1}),
        json!({"retention": {"runs": 50}}),
        json!({"suspend": true}),
        json!({"suspend": false}),
        json!({"sandbox": {"resources": {"limits": {"memory": "1Gi"}}}}),
    ] {
        tenant.patch(&name, json!({"spec": change})).await;
        let after = tenant.until(&name, "seen", handled).await;
        assert_eq!(after.status.unwrap().artifacts, first.artifacts, "{change}");
    }
    tenant.succeeded(&name).await;
    assert_eq!(server.requests().len(), asked);
    // And this does.
    tenant
        .patch(&name, json!({"spec": {"intent": "What is an order?"}}))
        .await;
    let after = tenant
        .until(&name, "run anew", |catalog| {
            let status = catalog.status.as_ref().unwrap();
            handled(catalog) && status.artifacts != first.artifacts
        })
        .await;
    assert!(after.status.unwrap().artifacts.is_some());
    assert!(server.requests().len() > asked);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_catalog_that_comes_back_takes_its_last_run_over() {
    let Some(operator) = Operator::shared().await else {
        return;
    };
    let (tenant, shop) = (operator.tenant("b"), Served::postgres_shop());
    let server = model(saying("<p>once</p>")).await;
    let name = tenant.unique("back");
    let (choice, url) = (anthropic(&tenant, &server).await, shop.reader());
    tenant.begin(&name, &url, choice.clone()).await;
    let first = tenant.succeeded(&name).await.status.unwrap().artifacts.unwrap();
    let asked = server.requests().len();
    tenant.delete(&name).await;
    tenant.gone(&name).await;
    // The bucket is left alone.
    assert!(!read(&first.catalog).await.is_empty());
    tenant.begin(&name, &url, choice).await;
    let again = tenant.succeeded(&name).await;
    assert!(is(&again, "Ready", "True"));
    assert_eq!(again.status.unwrap().artifacts, Some(first));
    assert_eq!(server.requests().len(), asked);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_catalog_goes_when_its_time_is_over_and_its_pages_stay() {
    let Some(operator) = Operator::shared().await else {
        return;
    };
    let (tenant, shop) = (operator.tenant("b"), Served::postgres_shop());
    let name = tenant.unique("short");
    tenant
        .begin(&name, &shop.reader(), json!({"ttlSecondsAfterFinished": 2}))
        .await;
    let mut uri = None;
    let ended = tenant.until(&name, "succeeded", |catalog| {
        let artifacts = catalog.status.as_ref().and_then(|it| it.artifacts.clone());
        uri = artifacts.map(|it| it.catalog);
        phase(catalog) == Some(cataloger::api::catalog::Phase::Succeeded)
    });
    ended.await;
    tenant.gone(&name).await;
    assert!(!read(&uri.unwrap()).await.is_empty());
}
