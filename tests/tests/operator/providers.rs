//! Models, by way of providers.

use cataloger::api::ModelProvider;
use cataloger::api::catalog::{CatalogStatus, Phase};
use cataloger_tests::author::{Asker, Author, asked_again, place};
use cataloger_tests::model_server::{Failure, KEY, ModelServer, Recorded, Script, Wire};
use cataloger_tests::operator::{NODE, Operator, argocd, condition, kstatus, phase, read, run};
use cataloger_tests::served::Served;
use kube::api::DeleteParams;
use serde_json::{Value, json};

use crate::{anthropic, model, saying, slow};

#[tokio::test(flavor = "multi_thread")]
async fn anthropic_is_asked_with_its_key() {
    let Some(operator) = Operator::shared().await else {
        return;
    };
    let (tenant, shop) = (operator.tenant("a"), Served::postgres_shop());
    let server = model(saying("<p>Said by Claude</p>")).await;
    let name = tenant.unique("claude");
    let choice = anthropic(&tenant, &server).await;
    tenant.begin(&name, &shop.reader(), choice).await;
    let catalog = tenant.succeeded(&name).await;
    let status = catalog.status.unwrap();
    assert_eq!(
        status.run.as_ref().unwrap().model.as_deref(),
        Some("anthropic/claude-sonnet-5-5")
    );
    assert!(status.run.unwrap().usage.unwrap().cost.unwrap() > 0.0);
    let page = read(&status.artifacts.unwrap().catalog).await;
    assert!(String::from_utf8_lossy(&page).contains("Said by Claude"));
    assert_eq!(server.problems(), Vec::<String>::new());
    let requests = server.requests();
    assert!(
        requests
            .iter()
            .all(|request| request.header("x-api-key") == Some(KEY))
    );
    // The key is where it belongs.
    assert!(!operator.all_logs().await.contains(KEY));
}

#[tokio::test(flavor = "multi_thread")]
async fn openai_is_asked_in_both_of_its_ways() {
    let Some(operator) = Operator::shared().await else {
        return;
    };
    let (tenant, shop) = (operator.tenant("b"), Served::postgres_shop());
    let server = model(Author::default()).await;
    let (key, url) = (tenant.unique("openai"), shop.reader());
    tenant.secret(&key, &[("key", KEY)]).await;
    for api in ["ChatCompletions", "Responses"] {
        let name = tenant.unique(&api.to_lowercase());
        let spec: Value = json!({
            "openai": {
                "apiKeySecretRef": {"name": key, "key": "key"},
                "baseURL": format!("{}/v1", server.url()),
                "api": api,
            },
            "defaultModel": "gpt-test",
            "prices": {"gpt-test": {"input": 1, "output": 2}},
        });
        tenant.provider(&name, spec).await;
        let choice = json!({"model": {"providerRef": {"name": name}}});
        tenant.begin(&name, &url, choice).await;
        let status = tenant.succeeded(&name).await.status.unwrap();
        assert_eq!(status.run.unwrap().model.as_deref(), Some("openai/gpt-test"));
    }
    let spoken = |responses: bool| {
        let requests = server.requests();
        requests
            .iter()
            .filter(|request| matches!(request.wire(), Some(Wire::Responses { .. })) == responses)
            .count()
    };
    assert!(spoken(true) > 0 && spoken(false) > 0);
    assert_eq!(server.problems(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_says_what_was_spent() {
    let Some(operator) = Operator::shared().await else {
        return;
    };
    let (tenant, shop) = (operator.tenant("a"), Served::postgres_shop());
    let server = model(Author::default()).await;
    let name = tenant.unique("spender");
    tenant.secret(&name, &[("key", KEY)]).await;
    let spec = json!({
        "anthropic": {"apiKeySecretRef": {"name": name, "key": "key"}, "baseURL": server.url()},
        "defaultModel": "claude-sonnet-5-5",
        "budget": {"amount": 10, "period": "Day"},
    });
    tenant.provider(&name, spec).await;
    let ready = |provider: &cataloger::api::ModelProvider| {
        let conditions = provider.status.iter().flat_map(|it| &it.conditions);
        conditions
            .into_iter()
            .any(|it| it.type_ == "Ready" && it.status == "True")
    };
    let choice = json!({"model": {"providerRef": {"name": name}}});
    let catalog = format!("{name}-shop");
    tenant.begin(&catalog, &shop.reader(), choice).await;
    let cost = tenant
        .succeeded(&catalog)
        .await
        .status
        .unwrap()
        .run
        .unwrap()
        .usage
        .unwrap()
        .cost
        .unwrap();
    let spent = |provider: &cataloger::api::ModelProvider| {
        let spending = provider.status.as_ref().and_then(|it| it.spending.as_ref());
        spending.is_some_and(|it| it.reserved == 0.0 && (it.spent - cost).abs() < 1e-6)
    };
    tenant
        .until_of(&tenant.providers(), &name, "all that was spent", |it| {
            ready(it) && spent(it)
        })
        .await;
}

/// A provider's condition `Ready`: its status and reason.
fn ready(provider: &ModelProvider) -> Option<(&str, &str)> {
    let conditions = &provider.status.as_ref()?.conditions;
    let ready = conditions.iter().find(|it| it.type_ == "Ready")?;
    Some((&ready.status, &ready.reason))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_waited_for_and_tried() {
    let Some(operator) = Operator::shared().await else {
        return;
    };
    let (tenant, shop) = (operator.tenant("b"), Served::postgres_shop());
    let server = model(Author::default()).await;
    let name = tenant.unique("keyless");
    let spec = json!({
        "anthropic": {"apiKeySecretRef": {"name": name, "key": "claude"}, "baseURL": server.url()},
        "defaultModel": "claude-sonnet-5-5",
    });
    tenant.provider(&name, spec).await;
    let catalog = format!("{name}-shop");
    let choice = json!({"model": {"providerRef": {"name": name}}});
    tenant.begin(&catalog, &shop.reader(), choice).await;
    let is = async |status: &str, reason: &str| {
        let wanted = Some((status, reason));
        tenant
            .until_of(&tenant.providers(), &name, reason, |it| ready(it) == wanted)
            .await
    };
    is("False", "SecretMissing").await;
    tenant.secret(&name, &[("claude", "sk-of-another-account")]).await;
    let refused = is("False", "KeyRefused").await;
    let status = refused.status.unwrap();
    assert!(status.checked_at.is_none(), "{status:?}");
    assert!(
        status
            .conditions
            .iter()
            .any(|it| it.type_ == "Stalled" && it.status == "True"),
        "{status:?}"
    );
    assert!(server.requests().is_empty());
    tenant.secret(&name, &[("claude", KEY)]).await;
    let works = is("True", "Ready").await.status.unwrap();
    assert!(
        works.checked_at.is_some() && works.conditions.len() == 1,
        "{works:?}"
    );
    // Whoever waited for it goes on.
    tenant.succeeded(&catalog).await;
    let logs = operator.all_logs().await;
    assert!(!logs.contains(KEY) && !logs.contains("sk-of-another-account"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_renewed_in_the_middle_of_a_run_costs_it_nothing() {
    let Some(operator) = Operator::shared().await else {
        return;
    };
    let (tenant, shop) = (operator.tenant("a"), Served::postgres_shop());
    let server = ModelServer::start_at(NODE).await;
    let (author, mut refused) = (Author::default(), false);
    // The old one ends before the second answer.
    server.think(move |recorded| {
        if place(recorded) == (Asker::Catalog, 1) && !std::mem::replace(&mut refused, true) {
            return Script::Fail(Failure::new(401));
        }
        author.answer(recorded)
    });
    let name = tenant.unique("renewed");
    let choice = anthropic(&tenant, &server).await;
    tenant.begin(&name, &shop.reader(), choice).await;
    let began = tenant
        .until(&name, "a run that its key has stopped", |catalog| {
            let run = run(catalog);
            let reason = run.reason.as_deref();
            run.id.is_some() && matches!(reason, Some("BackingOff" | "ProviderNotReady"))
        })
        .await;
    let done = tenant.succeeded(&name).await;
    assert_eq!(run(&done).id, run(&began).id);
    let history = done.status.unwrap().history;
    assert_eq!(history.len(), 1, "{history:?}");
    // What was refused is all that was asked again.
    assert_eq!(asked_again(&server), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_is_made_anew_in_the_middle_of_a_run_pays_for_the_rest() {
    let Some(operator) = Operator::shared().await else {
        return;
    };
    let (tenant, shop) = (operator.tenant("b"), Served::postgres_shop());
    let server = model(slow(2)).await;
    let name = tenant.unique("anew");
    let choice = anthropic(&tenant, &server).await;
    let provider = choice["model"]["providerRef"]["name"]
        .as_str()
        .unwrap()
        .to_owned();
    tenant.begin(&name, &shop.reader(), choice).await;
    tenant
        .until(&name, "a run that asks", |catalog| {
            phase(catalog) == Some(Phase::Cataloging)
        })
        .await;
    let providers = tenant.providers();
    let old = providers.get(&provider).await.unwrap();
    providers
        .delete(&provider, &DeleteParams::default())
        .await
        .unwrap();
    let waits = tenant
        .until(&name, "a run that misses its provider", |catalog| {
            let message = run(catalog).message;
            message.is_some_and(|message| message.contains(&format!("{provider} is not there")))
        })
        .await;
    tenant.provider(&provider, json!(old.spec)).await;
    let done = tenant.succeeded(&name).await;
    assert!(run(&waits).id.is_some());
    assert_eq!(run(&done).id, run(&waits).id);
    assert_eq!(asked_again(&server), 0);
    // It is the new one that has paid.
    tenant
        .until_of(&providers, &provider, "what the rest has cost", |it| {
            let spending = it.status.as_ref().and_then(|it| it.spending.as_ref());
            it.metadata.uid != old.metadata.uid && spending.is_some_and(|it| it.spent > 0.0)
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_budget_that_is_used_up_closes() {
    let Some(operator) = Operator::shared().await else {
        return;
    };
    let (tenant, shop) = (operator.tenant("a"), Served::postgres_shop());
    let server = model(Author::default()).await;
    let name = tenant.unique("poor");
    tenant.secret(&name, &[("key", KEY)]).await;
    let spec = |amount: f64| {
        json!({
            "openai": {"apiKeySecretRef": {"name": name, "key": "key"}, "baseURL": format!("{}/v1", server.url())},
            "defaultModel": "gpt-test",
            "prices": {"gpt-test": {"input": 0, "output": 1000}},
            "budget": {"amount": amount, "period": "Month"},
        })
    };
    let is = async |reason: &str| {
        tenant
            .until_of(&tenant.providers(), &name, reason, |it| {
                ready(it).is_some_and(|(_, it)| it == reason)
            })
            .await
    };
    tenant.provider(&name, spec(1000.0)).await;
    let catalog = format!("{name}-shop");
    let choice = json!({"model": {"providerRef": {"name": name}}});
    tenant.begin(&catalog, &shop.reader(), choice).await;
    let done = tenant.succeeded(&catalog).await;
    let cost = run(&done).usage.unwrap().cost.unwrap();
    let settled = |it: &ModelProvider| {
        let spending = it.status.as_ref().and_then(|it| it.spending.as_ref());
        spending.is_some_and(|it| it.reserved == 0.0 && (it.spent - cost).abs() < 1e-6)
    };
    tenant
        .until_of(&tenant.providers(), &name, "all that was spent", settled)
        .await;
    // Nothing is left.
    tenant.provider(&name, spec(cost / 2.0)).await;
    let closed = is("BudgetUsedUp").await;
    // It rests as it was told to: that is no failure to whoever applied it.
    assert_eq!(
        kstatus(std::slice::from_ref(&closed)).await[0].status,
        "InProgress"
    );
    assert_eq!(argocd(std::slice::from_ref(&closed)).await[0].status, "Suspended");
    let closed = closed.status.unwrap();
    let message = &closed.conditions[0].message;
    assert!(
        message.contains("a month is used up") && message.contains("it opens again at"),
        "{message}"
    );
    // Who wants a run now waits, says so, and keeps the last good catalog.
    let asked = server.requests().len();
    tenant.again(&catalog, "again").await;
    let waits = tenant
        .until(&catalog, "a run that waits for the budget", |catalog| {
            run(catalog).reason.as_deref() == Some("BudgetUsedUp")
        })
        .await;
    let told = condition(&waits, "Ready").unwrap();
    assert!(
        told.status == "True" && told.message.contains("a later run waits: "),
        "{told:?}"
    );
    assert_eq!(server.requests().len(), asked);
    // It opens, and closes again in the middle of that run: what is left is what an answer may cost at the most, and
    // hardly more, so that the first one closes it.
    let most = |recorded: &Recorded| recorded.json()["max_tokens"].as_f64().unwrap();
    let most = server.requests().iter().map(most).fold(0.0, f64::max) / 1000.0;
    tenant.provider(&name, spec(cost + most + 0.05 * cost)).await;
    tenant
        .until(&catalog, "a run that the budget has cut off", |catalog| {
            let run = run(catalog);
            run.id.is_some() && run.reason.as_deref() == Some("BudgetUsedUp")
        })
        .await;
    let cut_off = server.requests().len();
    assert_eq!(cut_off, asked + 1);
    tenant.provider(&name, spec(1000.0)).await;
    tenant
        .until(&catalog, "the end of that run", |catalog| {
            let handled =
                |status: &CatalogStatus| status.last_handled_reconcile_at.as_deref() == Some("again");
            catalog.status.as_ref().is_some_and(handled) && phase(catalog) == Some(Phase::Succeeded)
        })
        .await;
    // Nothing was paid twice.
    let requests = server.requests();
    assert!(requests.len() > cut_off);
    let asked: Vec<Value> = requests[asked..].iter().map(Recorded::json).collect();
    for (at, one) in asked.iter().enumerate() {
        assert!(!asked[..at].contains(one), "asked again: {one}");
    }
}
