//! From one status to the next, and what is told of that.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::*;
use crate::api::catalog::Artifacts;

fn run(phase: Phase, reason: &str) -> RunStatus {
    RunStatus {
        id: Some("20261121T120000Z".into()),
        phase: Some(phase),
        reason: Some(reason.into()),
        message: Some("so it is".into()),
        attempt: 1,
        finished_at: matches!(phase, Phase::Succeeded | Phase::Failed)
            .then(|| Time(jiff::Timestamp::UNIX_EPOCH)),
        ..RunStatus::default()
    }
}

fn status(run: Option<RunStatus>) -> CatalogStatus {
    CatalogStatus {
        run,
        ..CatalogStatus::default()
    }
}

fn told(old: &CatalogStatus, new: &CatalogStatus) -> Vec<String> {
    let mark = |news: &News| if news.warning { "!" } else { "" };
    events(old, new)
        .iter()
        .map(|news| format!("{}{}", mark(news), news.reason))
        .collect()
}

#[test]
fn what_a_person_wants_to_know_is_told_once() {
    let nothing = status(None);
    let running = status(Some(run(Phase::Cataloging, "Cataloging")));
    assert_eq!(told(&nothing, &running), ["RunStarted"]);
    assert_eq!(told(&running, &running), [""; 0]);
    let mut done = status(Some(run(Phase::Succeeded, "Succeeded")));
    done.artifacts = Some(Artifacts {
        timestamp: "20261121T120000Z".into(),
        fingerprint: None,
        catalog: "s3://a".into(),
        summary: None,
        catalog_script: None,
        summary_script: None,
        run: None,
    });
    assert_eq!(told(&running, &done), ["Published", "!SummaryFailed"]);
    assert_eq!(told(&done, &done), [""; 0]);
    let failed = status(Some(run(Phase::Failed, "ModelFailed")));
    assert_eq!(told(&running, &failed), ["!ModelFailed"]);
    let backing_off = status(Some(run(Phase::Pending, "BackingOff")));
    assert_eq!(told(&running, &backing_off), ["!TryFailed"]);
    assert_eq!(told(&backing_off, &backing_off), [""; 0]);
    let suspended = status(Some(run(Phase::Suspended, "Suspended")));
    assert_eq!(told(&running, &suspended), ["Suspended"]);
    assert_eq!(told(&suspended, &running), ["Resumed"]);
    assert_eq!(
        told(&nothing, &status(Some(run(Phase::Succeeded, "Adopted")))),
        ["Adopted"]
    );
}

#[test]
fn what_is_missing_is_told_when_it_comes_up() {
    let condition = |kind: &str, reason: &str| Condition {
        type_: kind.into(),
        status: "True".into(),
        reason: reason.into(),
        message: "m".repeat(2000),
        observed_generation: None,
        last_transition_time: Time(jiff::Timestamp::UNIX_EPOCH),
    };
    let with = |kind, reason| CatalogStatus {
        conditions: vec![condition(kind, reason)],
        ..CatalogStatus::default()
    };
    let (nothing, missing) = (CatalogStatus::default(), with("Reconciling", "SecretMissing"));
    assert_eq!(told(&nothing, &missing), ["!SecretMissing"]);
    assert_eq!(told(&missing, &missing), [""; 0]);
    assert_eq!(
        told(&missing, &with("Reconciling", "SecretKeyMissing")),
        ["!SecretKeyMissing"]
    );
    assert_eq!(told(&nothing, &with("Stalled", "NotAllowed")), ["!NotAllowed"]);
    assert_eq!(told(&nothing, &with("Reconciling", "Cataloging")), [""; 0]);
}
