//! What is wrong with a schedule, and what stands in its way.

use cataloger_tests::operator::{Operator, argocd, kstatus};
use kube::ResourceExt as _;
use serde_json::json;

use super::{change, idle, stands};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_said_where_its_author_looks() {
    let Some(operator) = Operator::shared().await else {
        return;
    };
    let tenant = operator.tenant("b");
    let bad_label =
        json!({"metadata": {"labels": {"-bad-": "x"}}, "spec": tenant.catalog("x", json!({}))["spec"]});
    for (more, why, says) in [
        (
            json!({"schedule": "99 * * * *"}),
            "InvalidSchedule",
            "the minute \"99\" is above 59",
        ),
        (
            json!({"timeZone": "Europe/Nowhere"}),
            "UnknownTimeZone",
            "Europe/Nowhere",
        ),
        (json!({"schedule": "0 0 30 2 *"}), "NeverDue", "30 February"),
        (json!({"catalogTemplate": bad_label}), "TemplateRefused", "-bad-"),
    ] {
        let name = tenant.unique("wrong");
        tenant.apply(idle(&tenant, &name, more)).await;
        let it = stands(&tenant, &name, why).await;
        let status = it.status.as_ref().expect("it was looked at");
        assert!(status.conditions[0].message.contains(says), "{status:#?}");
        assert_eq!(kstatus(std::slice::from_ref(&it)).await[0].status, "Failed");
        let health = argocd(std::slice::from_ref(&it)).await.remove(0);
        assert_eq!(health.status, "Degraded");
        assert!(health.message.starts_with(why), "{health:?}");
        let events = tenant.told(&name, why).await;
        assert!(
            events
                .iter()
                .any(|(reason, note)| reason == why && note.contains(says)),
            "{events:?}"
        );
        // It is healed by a correction.
        let right = idle(&tenant, &name, json!({"schedule": "0 0 29 2 *"}));
        let right = json!({"spec": {
            "schedule": "0 0 29 2 *", "timeZone": "Etc/UTC", "suspend": true,
            "catalogTemplate": {"metadata": null, "spec": right["spec"]["catalogTemplate"]["spec"]},
        }});
        change(&tenant, &name, right).await;
        let healed = stands(&tenant, &name, "Suspended").await;
        assert_eq!(kstatus(std::slice::from_ref(&healed)).await[0].status, "Current");
        assert_eq!(argocd(&[healed]).await[0].status, "Suspended");
    }

    // A Catalog of somebody else's is left alone.
    let name = tenant.unique("taken");
    let now = jiff::Timestamp::now().as_second() / 60;
    let names: Vec<String> = (now..now + 5).map(|minute| format!("{name}-{minute}")).collect();
    for other in &names {
        tenant
            .apply(tenant.catalog(other, json!({"suspend": true})))
            .await;
    }
    tenant.apply(idle(&tenant, &name, json!({}))).await;
    stands(&tenant, &name, "NameTaken").await;
    change(&tenant, &name, json!({"spec": {"suspend": true}})).await;
    for other in &names {
        assert!(
            tenant
                .catalogs()
                .get(other)
                .await
                .expect("it is there")
                .owner_references()
                .is_empty()
        );
    }
}
