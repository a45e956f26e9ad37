//! What statuses and events of Pods mean, in the words of real clusters.

#![expect(
    clippy::needless_pass_by_value,
    reason = "literals of JSON read better by value"
)]

use serde_json::{Value, json};

use super::*;

fn pod(status: Value) -> Pod {
    let pod = json!({
        "metadata": {"name": "sandbox-shop", "uid": "1"},
        "spec": {"containers": [], "restartPolicy": "Never"},
        "status": status,
    });
    serde_json::from_value(pod).unwrap()
}

fn with_state(state: Value, last: Value) -> Pod {
    pod(json!({
        "phase": "Pending",
        "containerStatuses": [{
            "name": "sandbox", "image": "x", "imageID": "", "ready": false, "restartCount": 0,
            "state": state, "lastState": last,
        }],
    }))
}

fn waiting(reason: &str, message: &str) -> Progress {
    judge(
        Some(&with_state(
            json!({"waiting": {"reason": reason, "message": message}}),
            json!({}),
        )),
        "1",
    )
}

/// What an obstacle is read from is what runtimes and registries say, word for word.
#[test]
fn what_is_in_the_way_of_an_image_is_told() {
    let cases = [
        (
            "rpc error: code = NotFound desc = failed to pull and unpack image \"registry.example.com/no:1\": failed to resolve reference \"registry.example.com/no:1\": registry.example.com/no:1: not found",
            Obstacle::ImageMissing,
        ),
        ("manifest unknown: manifest unknown", Obstacle::ImageMissing),
        (
            "failed to authorize: failed to fetch anonymous token: unexpected status: 401 Unauthorized",
            Obstacle::ImageDenied,
        ),
        (
            "pull access denied, repository does not exist or may require authorization: server message: insufficient_scope: authorization failed",
            Obstacle::ImageDenied,
        ),
        ("dial tcp 192.0.2.1:443: i/o timeout", Obstacle::ImageUnavailable),
    ];
    for (message, expected) in cases {
        for reason in ["ErrImagePull", "ImagePullBackOff"] {
            let Progress::Waiting(Some(why)) = waiting(reason, message) else {
                panic!("{reason} {message} is waited for");
            };
            assert_eq!(why.obstacle, expected, "{message}");
            assert_eq!(why.message, format!("{reason}: {message}"));
        }
    }
}

#[test]
fn what_can_never_start_is_not_waited_for() {
    for (reason, expected) in [
        ("ErrImageNeverPull", Obstacle::ImageMissing),
        ("InvalidImageName", Obstacle::ImageMissing),
        ("CrashLoopBackOff", Obstacle::Crashing),
    ] {
        let Progress::Failed(why) = waiting(reason, "so it is") else {
            panic!("{reason} has failed");
        };
        assert_eq!(why.obstacle, expected);
    }
}

#[test]
fn a_crash_says_what_the_container_said() {
    let terminated =
        json!({"terminated": {"exitCode": 2, "reason": "Error", "message": "no such option: --x\n"}});
    let expected = "its container ended (Error, exit code 2), and said: no such option: --x";
    for pod in [
        with_state(terminated.clone(), json!({})),
        with_state(json!({"waiting": {"reason": "CrashLoopBackOff"}}), terminated),
    ] {
        let Progress::Failed(why) = judge(Some(&pod), "1") else {
            panic!("it has failed");
        };
        assert_eq!(
            (why.obstacle, why.message.as_str()),
            (Obstacle::Crashing, expected)
        );
    }
}

#[test]
fn what_is_on_its_way_is_waited_for() {
    assert_eq!(waiting("ContainerCreating", ""), Progress::Waiting(None));
    assert_eq!(waiting("PodInitializing", ""), Progress::Waiting(None));
    assert_eq!(judge(Some(&pod(json!({}))), "1"), Progress::Waiting(None));
    let running = with_state(
        json!({"running": {"startedAt": "2026-11-22T09:00:00Z"}}),
        json!({}),
    );
    assert_eq!(judge(Some(&running), "1"), Progress::Running);
}

#[test]
fn no_room_on_any_node_is_told_and_waited_for() {
    let pod = pod(json!({"phase": "Pending", "conditions": [{
        "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
        "message": "0/1 nodes are available: 1 Insufficient memory.",
    }]}));
    let Progress::Waiting(Some(why)) = judge(Some(&pod), "1") else {
        panic!("it is waited for");
    };
    assert_eq!(why.obstacle, Obstacle::Unschedulable);
    assert_eq!(
        why.to_string(),
        "0/1 nodes are available: 1 Insufficient memory.; look at the nodes' free room, and at the sandbox's requests, node selector and tolerations"
    );
}

#[test]
fn a_pod_that_is_not_there_is_gone() {
    let other = pod(json!({"phase": "Running"}));
    for found in [None, Some(&other)] {
        let Progress::Failed(why) = judge(found, "2") else {
            panic!("it is gone");
        };
        assert_eq!(why.obstacle, Obstacle::Gone);
    }
}

#[test]
fn the_end_of_a_pod_is_told_with_its_reason() {
    let evicted = pod(json!({
        "phase": "Failed", "reason": "Evicted",
        "message": "Usage of EmptyDir volume \"work\" exceeds the limit \"1Gi\".",
    }));
    assert_eq!(
        ended(&evicted).unwrap(),
        "its Pod was ended: Evicted: Usage of EmptyDir volume \"work\" exceeds the limit \"1Gi\"."
    );
    let drained = pod(json!({
        "phase": "Failed",
        "conditions": [{"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI",
                        "message": "Eviction API: evicting"}],
        "containerStatuses": [{
            "name": "sandbox", "image": "x", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"terminated": {"exitCode": 137, "reason": "Error"}},
        }],
    }));
    assert_eq!(
        ended(&drained).unwrap(),
        "its Pod was ended: EvictionByEvictionAPI: Eviction API: evicting; its container ended (Error, exit code 137)"
    );
    let Progress::Failed(why) = judge(Some(&drained), "1") else {
        panic!("it has failed");
    };
    assert_eq!(why.obstacle, Obstacle::Gone);
    let killed = with_state(
        json!({"terminated": {"exitCode": 137, "reason": "OOMKilled"}}),
        json!({}),
    );
    assert_eq!(
        ended(&killed).unwrap(),
        "its container ended (OOMKilled, exit code 137)"
    );
    assert_eq!(ended(&pod(json!({"phase": "Running"}))), None);
}

fn event(kind: &str, reason: &str, at: &str) -> Event {
    serde_json::from_value(json!({
        "metadata": {}, "involvedObject": {}, "type": kind, "reason": reason,
        "message": format!("{reason} happened"), "lastTimestamp": at,
    }))
    .unwrap()
}

#[test]
fn events_tell_what_a_status_does_not() {
    let mount = event("Warning", "FailedMount", "2026-11-22T09:00:02Z");
    let events = [
        event("Warning", "FailedScheduling", "2026-11-22T09:00:00Z"),
        event("Normal", "Scheduled", "2026-11-22T09:00:03Z"),
        mount,
    ];
    let why = warned(&events).unwrap();
    assert_eq!(why.obstacle, Obstacle::Unmountable);
    assert_eq!(why.message, "FailedMount: FailedMount happened");
    assert_eq!(warned(&events[1..2]), None);
    assert_eq!(
        warned(&[event("Warning", "Sneezed", "2026-11-22T09:00:00Z")]),
        None
    );
}
