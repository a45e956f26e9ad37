//! What one namespace may not do to others, and no namespace to the operator.

use cataloger::api::catalog::Phase;
use cataloger_tests::model_server::KEY;
use cataloger_tests::operator::{Operator, Tenant, condition, handled, is, phase};
use cataloger_tests::s3;
use cataloger_tests::served::Served;
use serde_json::{Value, json};

use crate::{model, saying};

/// What is closed unless the operator's configuration opens it: the field that the message names, and what a Catalog
/// says.
fn closed() -> Vec<(&'static str, Value)> {
    vec![
        (
            "sandbox.image",
            json!({"sandbox": {"image": "registry.example.com/own:1"}}),
        ),
        (
            "sandbox.runtimeClassName",
            json!({"sandbox": {"runtimeClassName": "own"}}),
        ),
        (
            "sandbox.nodeSelector",
            json!({"sandbox": {"nodeSelector": {"pool": "own"}}}),
        ),
        (
            "sandbox.tolerations",
            json!({"sandbox": {"tolerations": [{"key": "own", "operator": "Exists"}]}}),
        ),
        (
            "sandbox.egress",
            json!({"sandbox": {"egress": [{"cidr": "198.18.0.0/24", "port": 5432}]}}),
        ),
        (
            "storage.s3.bucket",
            json!({"storage": {"s3": {"bucket": "elsewhere"}}}),
        ),
        (
            "storage.s3.region",
            json!({"storage": {"s3": {"region": "elsewhere"}}}),
        ),
        (
            "storage.s3.endpoint",
            json!({"storage": {"s3": {
                "bucket": "elsewhere", "endpoint": "http://s3.elsewhere:7070",
                "credentialsSecretRef": {"name": "keys"},
            }}}),
        ),
    ]
}

/// Waits until nothing goes on with a Catalog since it is not allowed; the message.
async fn refused(tenant: &Tenant<'_>, name: &str) -> String {
    let refused = tenant
        .until(name, "refused", |it| handled(it) && is(it, "Stalled", "True"))
        .await;
    for kind in ["Stalled", "Ready"] {
        let told = condition(&refused, kind).unwrap();
        assert_eq!(told.reason, "NotAllowed", "{name}, {kind}: {}", told.message);
    }
    assert!(is(&refused, "Ready", "False"));
    condition(&refused, "Stalled").unwrap().message.clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_allowed_is_refused_by_name() {
    let Some(operator) = Operator::shared().await else {
        return;
    };
    let (tenant, shop) = (operator.tenant("b"), Served::postgres_shop());
    let url = shop.reader();
    let mut names = Vec::new();
    for (field, spec) in closed() {
        let last = field.rsplit('.').next().unwrap();
        let name = tenant.unique(&last.to_lowercase());
        tenant.begin(&name, &url, spec).await;
        names.push((field, name));
    }
    for (field, name) in names {
        let why = refused(&tenant, &name).await;
        assert!(why.starts_with(&format!("spec.{field} ")), "{field}: {why}");
        assert!(tenant.objects(&name).await.is_empty(), "{field}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_of_ones_own_is_never_given_the_operators_keys() {
    let Some(operator) = Operator::shared().await else {
        return;
    };
    let (tenant, shop) = (operator.tenant("b"), Served::postgres_shop());
    let name = tenant.unique("own-keys");
    let keys = format!("{name}-keys");
    tenant
        .secret(
            &keys,
            &[
                ("AWS_ACCESS_KEY_ID", s3::ID),
                ("AWS_SECRET_ACCESS_KEY", s3::SECRET),
            ],
        )
        .await;
    let spec = json!({"storage": {"s3": {
        "bucket": s3::BUCKET, "endpoint": "http://s3.cataloger-tests:7070", "forcePathStyle": true,
        "credentialsSecretRef": {"name": keys},
    }}});
    tenant.begin(&name, &shop.reader(), spec).await;
    let why = refused(&tenant, &name).await;
    assert!(why.starts_with("spec.storage.s3.endpoint "), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_elsewhere_has_to_allow_it() {
    let Some(operator) = Operator::shared().await else {
        return;
    };
    let (keeper, other, shop) = (
        operator.tenant("a"),
        operator.tenant("b"),
        Served::postgres_shop(),
    );
    let server = model(saying("<p>lent</p>")).await;
    let name = keeper.unique("lender");
    keeper.secret(&name, &[("key", KEY)]).await;
    let mut spec = json!({
        "anthropic": {"apiKeySecretRef": {"name": name, "key": "key"}, "baseURL": server.url()},
        "defaultModel": "claude-sonnet-5-5",
    });
    keeper.provider(&name, spec.clone()).await;
    let choice = json!({"model": {"providerRef": {"name": name, "namespace": keeper.namespace}}});
    other.begin(&name, &shop.reader(), choice).await;
    let why = refused(&other, &name).await;
    assert!(why.contains("spec.allowedNamespaces"), "{why}");
    assert!(server.requests().is_empty());
    spec["allowedNamespaces"] = json!([other.namespace]);
    keeper.provider(&name, spec).await;
    other
        .until(&name, "succeeded", |it| phase(it) == Some(Phase::Succeeded))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_base_url_elsewhere_is_refused() {
    let Some(operator) = Operator::shared().await else {
        return;
    };
    let (tenant, shop) = (operator.tenant("a"), Served::postgres_shop());
    let name = tenant.unique("elsewhere");
    tenant.secret(&name, &[("key", KEY)]).await;
    let spec = json!({
        "openai": {"apiKeySecretRef": {"name": name, "key": "key"}, "baseURL": "http://198.18.255.2:1/v1"},
        "defaultModel": "gpt-test",
    });
    tenant.provider(&name, spec).await;
    let choice = json!({"model": {"providerRef": {"name": name}}});
    tenant.begin(&name, &shop.reader(), choice).await;
    // Of the provider it is its owner's to mend; the Catalog waits.
    let waits = tenant
        .until(&name, "refused", |it| {
            let told = condition(it, "Ready");
            handled(it) && told.is_some_and(|told| told.message.contains("is not ready (NotAllowed)"))
        })
        .await;
    let why = condition(&waits, "Ready").unwrap();
    assert_eq!(
        (why.status.as_str(), why.reason.as_str()),
        ("False", "ProviderNotReady")
    );
}
