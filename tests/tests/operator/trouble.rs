//! What is missing or wrong, how that is told, and what happens when it is there.

use cataloger::api::Catalog;
use cataloger::api::catalog::Phase;
use cataloger_tests::operator::{Operator, handled, is, phase};
use cataloger_tests::served::Served;
use serde_json::json;

/// Whether something that it says names this.
fn says(catalog: &Catalog, text: &str) -> bool {
    let conditions = catalog.status.iter().flat_map(|it| &it.conditions);
    conditions.into_iter().any(|it| it.message.contains(text))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_is_missing_is_named_and_waited_for() {
    let Some(operator) = Operator::shared().await else {
        return;
    };
    let (tenant, shop) = (operator.tenant("a"), Served::postgres_shop());
    let (name, url) = (tenant.unique("early"), shop.reader());
    tenant.apply(tenant.catalog(&name, json!({}))).await;
    tenant
        .until(&name, "told what is missing", |it| {
            handled(it) && is(it, "Ready", "False") && says(it, &name)
        })
        .await;
    // Neither a key that is not there nor an empty one is a URL.
    tenant.secret(&name, &[("other", &url)]).await;
    tenant
        .until(&name, "told of the key", |it| {
            says(it, "\"url\"") || says(it, " url")
        })
        .await;
    tenant.secret(&name, &[("other", &url), ("url", "")]).await;
    tenant
        .until(&name, "told that it is empty", |it| says(it, "empty"))
        .await;
    tenant
        .secret(&name, &[("url", "not a url, with a s3cr3t in it")])
        .await;
    let told = tenant
        .until(&name, "told that it is none", |it| {
            handled(it) && !says(it, "empty") && is(it, "Ready", "False")
        })
        .await;
    assert!(!format!("{:?}", told.status).contains("s3cr3t"));
    tenant.secret(&name, &[("url", &url)]).await;
    tenant
        .until(&name, "succeeded", |it| {
            handled(it) && phase(it) == Some(Phase::Succeeded)
        })
        .await;
    assert!(!operator.all_logs().await.contains("s3cr3t"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_can_write_is_refused_and_one_that_cannot_is_taken() {
    let Some(operator) = Operator::shared().await else {
        return;
    };
    let (tenant, shop) = (operator.tenant("b"), Served::postgres_shop());
    let name = tenant.unique("writer");
    tenant.begin(&name, &shop.url(), json!({})).await;
    tenant
        .until(&name, "refused", |it| {
            handled(it) && phase(it) == Some(Phase::Failed) && is(it, "Ready", "False")
        })
        .await;
    tenant.secret(&name, &[("url", &shop.reader())]).await;
    tenant.again(&name, "with another role").await;
    tenant
        .until(&name, "succeeded", |it| {
            handled(it) && phase(it) == Some(Phase::Succeeded)
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_re_run_that_fails_leaves_what_is_published() {
    let Some(operator) = Operator::shared().await else {
        return;
    };
    let (tenant, shop) = (operator.tenant("a"), Served::postgres_shop());
    let name = tenant.unique("kept");
    tenant.begin(&name, &shop.reader(), json!({})).await;
    let first = tenant.succeeded(&name).await.status.unwrap();
    tenant.secret(&name, &[("url", &shop.url())]).await;
    tenant.again(&name, "as a writer").await;
    let failed = tenant
        .until(&name, "failed", |it| {
            handled(it) && phase(it) == Some(Phase::Failed)
        })
        .await;
    assert!(is(&failed, "Ready", "True") && is(&failed, "CatalogPublished", "True"));
    let ready = cataloger_tests::operator::condition(&failed, "Ready").unwrap();
    assert_eq!(ready.reason, "LastRunFailed");
    let status = failed.status.unwrap();
    assert_eq!(status.artifacts, first.artifacts);
    assert_eq!(status.history.len(), 2);
}
