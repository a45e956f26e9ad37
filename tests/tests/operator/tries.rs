//! Which failures are tried again, how often, and what is said of that.

use std::net::TcpListener;

use cataloger::api::Catalog;
use cataloger::api::catalog::Phase;
use cataloger_tests::operator::{NODE, Operator, condition, handled, phase, run};
use cataloger_tests::served::Served;
use serde_json::json;

fn has_failed(catalog: &Catalog) -> bool {
    handled(catalog) && phase(catalog) == Some(Phase::Failed)
}

/// A port of the node that nobody listens on any more.
fn left() -> u16 {
    let listener = TcpListener::bind((NODE, 0)).expect("a port of an own address");
    listener.local_addr().expect("it has one").port()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_pass_is_tried_again_and_then_given_up() {
    let Some(operator) = Operator::shared().await else {
        return;
    };
    let (tenant, shop) = (operator.tenant("a"), Served::postgres_shop());
    let (name, other) = (tenant.unique("away"), tenant.unique("misspelt"));
    let away = format!("postgresql://reader:none@{NODE}:{}/shop", left());
    tenant.begin(&name, &away, json!({"backoffLimit": 1})).await;
    // What no try can heal gets none, though it might have two.
    let misspelt = json!({"tables": ["no_such_table"]});
    tenant.begin(&other, &shop.reader(), misspelt).await;
    // A Service without endpoints is a database that is away, too.
    let empty = tenant.unique("empty");
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": empty},
        "spec": {"ports": [{"port": 5432}]},
    });
    tenant.apply(service).await;
    let nobody = format!("postgresql://reader:none@{empty}/shop");
    tenant.begin(&empty, &nobody, json!({"backoffLimit": 0})).await;

    let waits = tenant
        .until(&name, "about to be tried again", |it| {
            run(it).reason.as_deref() == Some("BackingOff")
        })
        .await;
    let tried = run(&waits);
    assert_eq!((tried.phase, tried.attempt), (Some(Phase::Pending), 1));
    let message = tried.message.unwrap();
    assert!(
        message.starts_with("try 1 of 2 failed and is made again in 10 s: "),
        "{message}"
    );
    let (since, next) = (tried.phase_since.unwrap().0, tried.next_attempt_at.unwrap().0);
    assert_eq!(next.duration_since(since).as_secs(), 10);
    let reconciling = condition(&waits, "Reconciling").unwrap();
    assert_eq!(
        (reconciling.status.as_str(), reconciling.reason.as_str()),
        ("True", "BackingOff")
    );

    let failed = tenant.until(&name, "given up", has_failed).await;
    let last = run(&failed);
    assert_eq!(
        (last.reason.as_deref(), last.attempt),
        (Some("DatabaseFailed"), 2)
    );
    assert!(last.next_attempt_at.is_none() && last.sandbox.is_none());
    let stalled = condition(&failed, "Stalled").unwrap();
    assert_eq!(
        (stalled.status.as_str(), stalled.reason.as_str()),
        ("True", "DatabaseFailed")
    );
    let past = failed.status.unwrap().history;
    assert_eq!((past.len(), past[0].attempts), (1, 2));
    let told = tenant.told(&name, "DatabaseFailed").await;
    for reason in ["TryFailed", "DatabaseFailed"] {
        let times = told.iter().filter(|(it, _)| it == reason).count();
        assert_eq!(times, 1, "{reason}: {told:#?}");
    }

    let unserved = run(&tenant.until(&empty, "failed", has_failed).await);
    assert_eq!(unserved.reason.as_deref(), Some("DatabaseFailed"), "{unserved:?}");
    let message = unserved.message.unwrap();
    assert!(message.contains("has no endpoints"), "{message}");

    let refused = tenant.until(&other, "refused", has_failed).await;
    assert_eq!(
        (run(&refused).reason.as_deref(), run(&refused).attempt),
        (Some("Invalid"), 1)
    );
    let told = tenant.told(&other, "Invalid").await;
    assert!(
        told.iter().any(|(_, note)| note.contains("no_such_table")),
        "{told:#?}"
    );
    assert!(!told.iter().any(|(reason, _)| reason == "TryFailed"), "{told:#?}");

    // Mended, and asked for: it begins at its first try.
    tenant.secret(&name, &[("url", &shop.reader_again())]).await;
    tenant.again(&name, "mended").await;
    let mended = tenant
        .until(&name, "succeeded", |it| {
            handled(it) && phase(it) == Some(Phase::Succeeded)
        })
        .await;
    let past = mended.status.unwrap().history;
    let attempts: Vec<u32> = past.iter().map(|run| run.attempts).collect();
    assert_eq!(attempts, [1, 2]);
}
