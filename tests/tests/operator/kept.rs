//! Which runs are kept under a prefix, and that nothing is left of the others.

use std::collections::BTreeSet;

use cataloger_tests::operator::{Operator, Tenant, read};
use cataloger_tests::served::Served;
use serde_json::json;

use crate::{anthropic, model, saying};

/// The runs of which a Catalog has something in the bucket: in their folders, and in their journals.
async fn left(tenant: &Tenant<'_>, name: &str) -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut folders, mut journals) = (BTreeSet::new(), BTreeSet::new());
    for object in tenant.objects(name).await {
        match object.strip_prefix(".journal/") {
            Some(entry) => journals.insert(entry.split('/').next().unwrap().to_owned()),
            None => folders.insert(object.split('/').next().unwrap().to_owned()),
        };
    }
    (folders, journals)
}

#[tokio::test(flavor = "multi_thread")]
async fn old_runs_go_but_for_those_with_comments() {
    let Some(operator) = Operator::shared().await else {
        return;
    };
    let (tenant, shop) = (operator.tenant("b"), Served::postgres_shop());
    let server = model(saying("<p>again and again</p>")).await;
    let name = tenant.unique("kept");
    let mut rest = anthropic(&tenant, &server).await;
    rest["retention"] = json!({"runs": 1});
    tenant.begin(&name, &shop.reader(), rest).await;
    let first = tenant.succeeded(&name).await.status.unwrap().artifacts.unwrap();
    tenant.comment(&name, "Keep this.").await;

    let mut runs = vec![first.timestamp.clone()];
    for value in ["two", "three"] {
        tenant.again(&name, value).await;
        let status = tenant.succeeded(&name).await.status.unwrap();
        runs.push(status.artifacts.unwrap().timestamp);
        // The newest, and what a person has spoken of: of the second nothing is left once there is a third.
        let kept = BTreeSet::from([first.timestamp.clone(), runs[runs.len() - 1].clone()]);
        assert_eq!(left(&tenant, &name).await, (kept.clone(), kept), "{runs:?}");
    }
    assert_eq!(runs.len(), 3);
    assert!(runs.is_sorted_by(|one, next| one < next), "{runs:?}");
    // And of those, all is there.
    let objects = tenant.objects(&name).await;
    let comments = format!("{}/comments/", first.timestamp);
    assert!(objects.iter().any(|it| it.starts_with(&comments)), "{objects:#?}");
    for run in [&runs[0], &runs[2]] {
        for object in crate::WHOLE {
            assert!(objects.contains(&format!("{run}/{object}")), "{run}/{object}");
        }
    }
    assert!(!read(&first.catalog).await.is_empty());
    assert_eq!(server.problems(), Vec::<String>::new());
}
