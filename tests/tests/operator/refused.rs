//! A namespace that the operator is to look after, and may not: it may be gone, and the rights with it.

use cataloger_tests::author::Author;
use cataloger_tests::operator::{handled, is};
use serde_json::json;

use crate::outside::Ground;
use crate::schedules::{active, idle};

const NAME: &str = "shop";

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_that_is_refused_keeps_the_others_from_nothing() {
    let Some(ground) = Ground::new("refused", Author::default()).await else {
        return;
    };
    let tenant = ground.operator.another_tenant("a").await;
    let replica = ground
        .start_beside(&tenant, "one", "3s", Some("cataloger-tests-foreign"))
        .await;
    ground.leads(&tenant, "one").await;
    tenant.begin(NAME, &ground.url, json!({})).await;
    tenant.succeeded(NAME).await;
    tenant.apply(idle(&tenant, "nightly", json!({}))).await;
    let schedules = tenant.schedules();
    tenant
        .until_of(&schedules, "nightly", "followed", |it| !active(it).is_empty())
        .await;
    // What is asked for there is waited for, and nobody takes it for not there.
    let provider =
        json!({"model": {"providerRef": {"name": "claude", "namespace": "cataloger-tests-foreign"}}});
    tenant.begin("foreign", &ground.url, provider).await;
    let waits = tenant
        .until("foreign", "waiting", |it| handled(it) && is(it, "Ready", "False"))
        .await;
    let told = format!("{:?}", waits.status);
    assert!(
        told.contains("may not see those of its namespace"),
        "{told}\n{}",
        replica.log()
    );
}
