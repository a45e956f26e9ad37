//! What Flux and Argo CD make of a Catalog, by their own libraries: every status that it ever had, not only the last.

use cataloger::api::catalog::Phase;
use cataloger::api::{Catalog, ModelProvider};
use cataloger_tests::author::Author;
use cataloger_tests::model_server::KEY;
use cataloger_tests::operator::{Operator, Tenant, Verdict, argocd, handled, is, kstatus, phase};
use cataloger_tests::served::Served;
use serde_json::json;

use crate::{anthropic, model};

/// Every state that a Catalog is seen in until it is as it should be.
async fn recorded(
    tenant: &Tenant<'_>,
    name: &str,
    what: &str,
    mut holds: impl FnMut(&Catalog) -> bool,
) -> Vec<Catalog> {
    let mut all = Vec::new();
    let watching = tenant.until(name, what, |catalog| {
        all.push(catalog.clone());
        holds(catalog)
    });
    watching.await;
    all
}

fn words(verdicts: Vec<Verdict>) -> Vec<String> {
    let mut words: Vec<String> = verdicts.into_iter().map(|it| it.status).collect();
    words.dedup();
    words
}

/// What Flux says of each, without repetitions.
async fn flux(catalogs: &[Catalog]) -> Vec<String> {
    words(kstatus(catalogs).await)
}

/// What Argo CD says of each, without repetitions.
async fn argo(catalogs: &[Catalog]) -> Vec<String> {
    words(argocd(catalogs).await)
}

/// What Argo CD says of the last one, and why.
async fn argo_of_last(catalogs: &[Catalog]) -> (String, String) {
    let last = argocd(&catalogs[catalogs.len() - 1..]).await.remove(0);
    (last.status, last.message)
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
    assert_eq!(flux(&first).await, ["InProgress", "Current"]);
    assert_eq!(argo(&first).await, ["Progressing", "Healthy"]);
    // Who looks there meanwhile reads what is done.
    let said: Vec<String> = argocd(&first).await.into_iter().map(|it| it.message).collect();
    for phase in ["Provisioning: ", "Cataloging: ", "the catalog of "] {
        assert!(said.iter().any(|it| it.starts_with(phase)), "{phase}: {said:#?}");
    }
    let last = first.last().and_then(|it| it.status.clone()).unwrap();

    // A run that is repeated changes nothing for who looks at the resource.
    tenant.again(&name, "again").await;
    let again = recorded(&tenant, &name, "run again", |it| {
        done(it) && it.status.as_ref().unwrap().artifacts != last.artifacts
    });
    let again = again.await;
    assert_eq!(flux(&again).await, ["Current"]);
    assert_eq!(argo(&again).await, ["Healthy"]);
    // Nor does one that fails.
    tenant.secret(&name, &[("url", &shop.url())]).await;
    tenant.again(&name, "as a writer").await;
    let failed = recorded(&tenant, &name, "failed", |it| {
        handled(it) && phase(it) == Some(Phase::Failed)
    });
    let failed = failed.await;
    assert_eq!(flux(&failed).await, ["Current"]);
    assert_eq!(argo(&failed).await, ["Healthy"]);
    let (_, why) = argo_of_last(&failed).await;
    assert!(why.contains("a later run failed (DatabaseFailed)"), "{why}");
    // A change of the spec does, until it is done.
    tenant.secret(&name, &[("url", &shop.reader_again())]).await;
    tenant
        .patch(&name, json!({"spec": {"intent": "What is an order?"}}))
        .await;
    let changed = recorded(&tenant, &name, "succeeded", done).await;
    let verdicts = flux(&changed).await;
    assert!(verdicts.ends_with(&["Current".to_owned()]), "{verdicts:?}");
    assert!(verdicts.contains(&"InProgress".to_owned()), "{verdicts:?}");
    assert!(!verdicts.contains(&"Failed".to_owned()), "{verdicts:?}");
    let verdicts = argo(&changed).await;
    assert!(verdicts.ends_with(&["Healthy".to_owned()]), "{verdicts:?}");
    assert!(verdicts.contains(&"Progressing".to_owned()), "{verdicts:?}");
    assert!(!verdicts.contains(&"Degraded".to_owned()), "{verdicts:?}");
    // What is suspended is there as before, and says that it rests.
    tenant.patch(&name, json!({"spec": {"suspend": true}})).await;
    let rests = |it: &Catalog| handled(it) && phase(it) == Some(Phase::Suspended);
    let rests = recorded(&tenant, &name, "suspended", rests).await;
    assert_eq!(flux(&rests).await.last().unwrap(), "Current");
    let (health, why) = argo_of_last(&rests).await;
    assert_eq!(health, "Suspended");
    assert!(why.contains("; the catalog of "), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_suspended_from_the_start_is_in_progress() {
    let Some(operator) = Operator::shared().await else {
        return;
    };
    let (tenant, shop) = (operator.tenant("a"), Served::postgres_shop());
    let name = tenant.unique("rests");
    tenant
        .begin(&name, &shop.reader(), json!({"suspend": true}))
        .await;
    let rests = |it: &Catalog| handled(it) && phase(it) == Some(Phase::Suspended);
    let rests = recorded(&tenant, &name, "suspended", rests).await;
    // Nothing is there that could be current.
    assert_eq!(flux(&rests).await, ["InProgress"]);
    assert_eq!(argo(&rests).await.last().unwrap(), "Suspended");
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
    assert_eq!(flux(&waits).await, ["InProgress"]);
    assert_eq!(argo(&waits).await, ["Progressing"]);
    let (_, why) = argo_of_last(&waits).await;
    assert!(why.starts_with("Pending: ") && why.contains(&name), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_is_waited_for_and_then_current() {
    let Some(operator) = Operator::shared().await else {
        return;
    };
    let tenant = operator.tenant("b");
    let server = model(Author::default()).await;
    let name = tenant.unique("provider");
    let spec = json!({
        "anthropic": {"apiKeySecretRef": {"name": name, "key": "key"}, "baseURL": server.url()},
        "defaultModel": "claude-sonnet-5-5",
    });
    let providers = tenant.providers();
    let until = async |reason: &str| {
        let mut all = Vec::new();
        let watching = tenant.until_of(&providers, &name, reason, |it: &ModelProvider| {
            all.push(it.clone());
            let conditions = it.status.iter().flat_map(|it| &it.conditions);
            conditions
                .into_iter()
                .any(|it| it.type_ == "Ready" && it.reason == reason)
        });
        watching.await;
        let last = argocd(&all[all.len() - 1..]).await.remove(0);
        (
            words(kstatus(&all).await),
            words(argocd(&all).await),
            last.message,
        )
    };
    let only = |word: &str| vec![word.to_owned()];
    tenant.provider(&name, spec).await;
    let (flux, argo, why) = until("SecretMissing").await;
    assert_eq!((flux, argo), (only("InProgress"), only("Progressing")));
    assert!(why.starts_with("SecretMissing: "), "{why}");
    tenant.secret(&name, &[("key", "sk-of-another-account")]).await;
    let (flux, argo, why) = until("KeyRefused").await;
    assert_eq!(flux.last(), only("Failed").last());
    assert_eq!(argo.last(), only("Degraded").last());
    assert!(why.starts_with("KeyRefused: "), "{why}");
    tenant.secret(&name, &[("key", KEY)]).await;
    let (flux, argo, _) = until("Ready").await;
    assert_eq!(flux.last(), only("Current").last());
    assert_eq!(argo.last(), only("Healthy").last());
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
    assert_eq!(flux(&refused).await.last().unwrap(), "Failed");
    let (health, why) = argo_of_last(&refused).await;
    assert_eq!(health, "Degraded");
    assert!(why.starts_with("NotAllowed: "), "{why}");
    let name = tenant.unique("failed");
    tenant.begin(&name, &shop.url(), json!({})).await;
    let failed = recorded(&tenant, &name, "failed", ends).await;
    assert_eq!(flux(&failed).await, ["InProgress", "Failed"]);
    assert_eq!(argo(&failed).await, ["Progressing", "Degraded"]);
    let (_, why) = argo_of_last(&failed).await;
    assert!(why.starts_with("DatabaseFailed: "), "{why}");
}
