//! Plans, one by one; and in `world` a small cluster in which the operator dies anywhere, and each slot still gets one
//! Catalog.

mod world;

use serde_json::{Value, json};

use super::*;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn schedule(spec: Value) -> CatalogSchedule {
    let mut whole = json!({
        "schedule": "*/10 * * * *",
        "catalogTemplate": {"spec": {
            "database": {"secretRef": {"name": "db"}}, "tables": ["a"], "storage": {"s3": {"prefix": "p"}},
        }},
    });
    let Value::Object(spec) = spec else {
        panic!("members")
    };
    for (name, value) in spec {
        whole[name] = value;
    }
    serde_json::from_value(json!({
        "apiVersion": "cataloger.dev/v1alpha1", "kind": "CatalogSchedule",
        "metadata": {
            "name": "nightly", "namespace": "n", "uid": "u", "generation": 3,
            "creationTimestamp": "2026-11-26T12:00:00Z",
        },
        "spec": whole,
    }))
    .unwrap()
}

fn child(name: &str, outcome: Outcome, started: &str) -> Child {
    Child {
        name: name.to_owned(),
        uid: format!("uid of {name}"),
        finished: (outcome != Outcome::Active).then(|| plus(at(started), 60)),
        outcome,
        started: Some(at(started)),
        artifacts: None,
    }
}

fn plus(time: Timestamp, seconds: i64) -> Timestamp {
    Timestamp::from_second(time.as_second() + seconds).unwrap()
}

fn planned(schedule: &CatalogSchedule, children: &[Child], now: &str) -> Plan {
    let mut plan = plan(&Facts {
        schedule,
        children,
        now: at(now),
    });
    conclude(&mut plan, schedule, at(now));
    plan
}

fn names(plan: &Plan) -> Vec<&str> {
    plan.make.iter().map(|make| make.name.as_str()).collect()
}

fn told(plan: &Plan) -> Vec<&str> {
    plan.news.iter().map(|news| news.reason.as_str()).collect()
}

fn ready(plan: &Plan) -> (&str, &str) {
    let ready = &plan.status.conditions[0];
    (&ready.status, &ready.reason)
}

/// 12:10 in minutes.
const TEN: &str = "nightly-29928250";

#[test]
fn a_slot_that_has_come_gets_its_catalog() {
    let mut it = schedule(json!({}));
    let plan = planned(&it, &[], "2026-11-26T12:09:59Z");
    assert_eq!((names(&plan).len(), ready(&plan)), (0, ("True", "Scheduled")));
    assert_eq!(
        plan.status.next_schedule_time,
        Some(Time(at("2026-11-26T12:10:00Z")))
    );
    assert!(told(&plan).is_empty());
    let mut plan = planned(&it, &[], "2026-11-26T12:10:00Z");
    assert_eq!(names(&plan), [TEN]);
    let make = plan.make[0].clone();
    settle(&mut plan, &make, &Made::New);
    assert_eq!(plan.status.active, [TEN]);
    assert_eq!(
        plan.status.last_schedule_time,
        Some(Time(at("2026-11-26T12:10:00Z")))
    );
    assert_eq!(told(&plan), ["CatalogCreated"]);
    // The next look has nothing to do, and nothing to write.
    it.status = Some(plan.status.clone());
    let running = [child(TEN, Outcome::Active, "2026-11-26T12:10:00Z")];
    let again = planned(&it, &running, "2026-11-26T12:10:05Z");
    assert_eq!((names(&again).len(), told(&again).len()), (0, 0));
    assert_eq!(again.status, plan.status);
    // It was written down by nobody: found again.
    it.status = None;
    let mut lost = planned(&it, &running, "2026-11-26T12:10:05Z");
    assert_eq!(names(&lost), [TEN]);
    settle(&mut lost, &make, &Made::Found);
    assert_eq!(lost.status.active, [TEN]);
}

#[test]
fn what_becomes_of_catalogs_is_in_the_status() {
    let mut it = schedule(json!({"successfulCatalogsHistoryLimit": 1, "failedCatalogsHistoryLimit": 0}));
    it.status = Some(
        serde_json::from_value(json!({
            "active": ["a", "b", "c", "gone"], "lastScheduleTime": "2026-11-26T12:40:00Z",
        }))
        .unwrap(),
    );
    let mut good = child("b", Outcome::Succeeded, "2026-11-26T12:20:00Z");
    good.artifacts = Some(
        serde_json::from_value(json!({"timestamp": "20261126T122000Z", "catalog": "s3://b/catalog.html"}))
            .unwrap(),
    );
    let children = [
        child("a", Outcome::Succeeded, "2026-11-26T12:10:00Z"),
        good.clone(),
        child("c", Outcome::Failed, "2026-11-26T12:30:00Z"),
        child("d", Outcome::Active, "2026-11-26T12:05:00Z"),
    ];
    let plan = planned(&it, &children, "2026-11-26T12:41:00Z");
    assert_eq!(plan.status.active, ["d"]);
    assert_eq!(plan.status.artifacts, good.artifacts);
    assert_eq!(
        plan.status.last_successful_time,
        Some(Time(at("2026-11-26T12:21:00Z")))
    );
    assert_eq!(
        told(&plan),
        [
            "CatalogSucceeded",
            "CatalogSucceeded",
            "CatalogFailed",
            "CatalogGone"
        ]
    );
    // The oldest go, and none that is under way.
    let removed: Vec<&str> = plan.remove.iter().map(|child| child.name.as_str()).collect();
    assert_eq!(removed, ["a", "c"]);
    assert_eq!(ready(&plan), ("True", "Scheduled"));
    // What was good stays, also when its Catalog goes.
    it.status = Some(plan.status.clone());
    let later = planned(&it, &[], "2026-11-26T12:42:00Z");
    assert_eq!(
        (&later.status.artifacts, later.status.active.len()),
        (&good.artifacts, 0)
    );
}

#[test]
fn an_earlier_catalog_is_allowed_waited_for_or_replaced() {
    let running = [child("nightly-1", Outcome::Active, "2026-11-26T12:00:00Z")];
    let now = "2026-11-26T12:10:01Z";
    let allow = planned(&schedule(json!({})), &running, now);
    assert_eq!((names(&allow), allow.make[0].replaces.len()), (vec![TEN], 0));

    let forbid = schedule(json!({"concurrencyPolicy": "Forbid"}));
    let waits = planned(&forbid, &running, now);
    assert_eq!(
        (names(&waits).len(), ready(&waits)),
        (0, ("True", "AlreadyActive"))
    );
    assert_eq!(
        (told(&waits), &waits.status.last_schedule_time),
        (vec!["AlreadyActive"], &None)
    );
    // It is told once, and begins when the other one has ended.
    let mut waiting = forbid.clone();
    waiting.status = Some(waits.status.clone());
    let still = planned(&waiting, &running, "2026-11-26T12:12:00Z");
    assert_eq!((names(&still).len(), told(&still).len()), (0, 0));
    let ended = [child("nightly-1", Outcome::Succeeded, "2026-11-26T12:00:00Z")];
    assert_eq!(names(&planned(&waiting, &ended, "2026-11-26T12:13:00Z")), [TEN]);
    // Its own Catalog is not in its way.
    let own = [child(TEN, Outcome::Active, now)];
    assert_eq!(names(&planned(&forbid, &own, now)), [TEN]);

    let replace = schedule(json!({"concurrencyPolicy": "Replace"}));
    let mut plan = planned(&replace, &running, now);
    let make = plan.make[0].clone();
    assert_eq!(make.replaces, running);
    settle(&mut plan, &make, &Made::New);
    assert_eq!(
        (&plan.status.active[..], told(&plan)),
        (&[TEN.to_owned()][..], vec!["CatalogReplaced", "CatalogCreated"])
    );
    assert!(planned(&replace, &own, now).make[0].replaces.is_empty());
}

#[test]
fn what_is_wrong_is_told_once_with_what_to_do() {
    for (spec, reason, says) in [
        (
            json!({"schedule": "0 0 * * 7"}),
            "InvalidSchedule",
            "the day of the week \"7\" is above 6",
        ),
        (
            json!({"schedule": "TZ=UTC 0 0 * * *"}),
            "InvalidSchedule",
            "name it in timeZone",
        ),
        (
            json!({"timeZone": "Europe/Nowhere"}),
            "UnknownTimeZone",
            "is no time zone",
        ),
        (
            json!({"schedule": "0 0 30 2 *"}),
            "NeverDue",
            "as 30 February does not",
        ),
        (
            json!({"suspend": true, "schedule": "0 0 30 2 *"}),
            "NeverDue",
            "correct spec.schedule",
        ),
    ] {
        let mut it = schedule(spec.clone());
        let plan = planned(&it, &[], "2026-11-26T12:30:00Z");
        assert_eq!(
            (ready(&plan), told(&plan)),
            (("False", reason), vec![reason]),
            "{spec}"
        );
        assert!(
            plan.news[0].warning && plan.news[0].message.contains(says),
            "{:?}",
            plan.news
        );
        let stalled = &plan.status.conditions[1];
        assert_eq!((&*stalled.type_, &*stalled.status), ("Stalled", "True"));
        assert_eq!((plan.make.len(), plan.next), (0, None));
        it.status = Some(plan.status.clone());
        let again = planned(&it, &[], "2026-11-26T14:30:00Z");
        assert_eq!((&again.status, told(&again).len()), (&plan.status, 0));
    }
    let it = schedule(json!({}));
    for (made, reason, second) in [
        (Made::Foreign, "NameTaken", "Stalled"),
        (
            Made::Refused("spec.tables: no".to_owned()),
            "TemplateRefused",
            "Stalled",
        ),
        (
            Made::Failed("no answer".to_owned()),
            "CreateFailed",
            "Reconciling",
        ),
    ] {
        let mut plan = plan(&Facts {
            schedule: &it,
            children: &[],
            now: at("2026-11-26T12:10:00Z"),
        });
        let make = plan.make[0].clone();
        settle(&mut plan, &make, &made);
        conclude(&mut plan, &it, at("2026-11-26T12:10:00Z"));
        assert_eq!((ready(&plan), told(&plan)), (("False", reason), vec![reason]));
        assert_eq!(plan.status.conditions[1].type_, second);
        // The slot stays due.
        assert_eq!(plan.status.last_schedule_time, None);
    }
}

#[test]
fn a_slot_can_be_missed() {
    let mut it = schedule(json!({"startingDeadlineSeconds": 60}));
    let plan = planned(&it, &[], "2026-11-26T12:15:00Z");
    assert_eq!((plan.make.len(), told(&plan)), (0, vec!["MissSchedule"]));
    assert_eq!(
        plan.status.last_missed_time,
        Some(Time(at("2026-11-26T12:10:00Z")))
    );
    assert_eq!(plan.status.last_schedule_time, None);
    it.status = Some(plan.status);
    assert_eq!(told(&planned(&it, &[], "2026-11-26T12:16:00Z")).len(), 0);
    assert_eq!(names(&planned(&it, &[], "2026-11-26T12:20:30Z")).len(), 1);
    // That there were many is told when one of them is made up for, and not at each try.
    let mut many = planned(&schedule(json!({})), &[], "2026-11-28T12:16:00Z");
    assert_eq!((many.make.len(), told(&many).len()), (1, 0));
    let make = many.make[0].clone();
    settle(&mut many, &make, &Made::Failed("no answer".to_owned()));
    assert_eq!(told(&many).len(), 0);
    settle(&mut many, &make, &Made::New);
    assert_eq!(told(&many), ["CatalogCreated", "TooManyMissedTimes"]);
    // Nothing is made while it is suspended, and one afterwards.
    let mut it = schedule(json!({"suspend": true}));
    let plan = planned(&it, &[], "2026-11-26T13:00:00Z");
    assert_eq!(
        (plan.make.len(), ready(&plan), plan.next),
        (0, ("True", "Suspended"), None)
    );
    it.spec.suspend = false;
    assert_eq!(planned(&it, &[], "2026-11-26T13:05:00Z").make.len(), 1);
}

#[test]
fn what_is_asked_for_by_hand_is_made_once() {
    let mut it = schedule(json!({"suspend": true}));
    it.annotations_mut()
        .insert(REQUESTED_AT.to_owned(), "now".to_owned());
    let mut plan = planned(&it, &[], "2026-11-26T12:01:00Z");
    assert_eq!(plan.make.len(), 1);
    let make = plan.make[0].clone();
    settle(&mut plan, &make, &Made::New);
    assert_eq!(
        (&plan.status.last_handled_reconcile_at, &plan.status.active),
        (&None, &vec![make.name.clone()])
    );
    it.status = Some(plan.status);
    let running = [child(&make.name, Outcome::Active, "2026-11-26T12:01:00Z")];
    let goes_on = planned(&it, &running, "2026-11-26T12:02:00Z");
    assert_eq!(
        (goes_on.make.len(), &goes_on.status.last_handled_reconcile_at),
        (0, &None)
    );
    for children in [
        vec![child(&make.name, Outcome::Failed, "2026-11-26T12:01:00Z")],
        Vec::new(),
    ] {
        let ended = planned(&it, &children, "2026-11-26T12:03:00Z");
        assert_eq!(ended.status.last_handled_reconcile_at.as_deref(), Some("now"));
        assert_eq!((ended.make.len(), &ended.status.requested), (0, &None));
        let mut after = it.clone();
        after.status = Some(ended.status);
        assert_eq!(planned(&after, &[], "2026-11-26T12:04:00Z").make.len(), 0);
    }
}

#[test]
fn a_refusal_stands_until_a_catalog_is_made_or_the_schedule_is_changed() {
    for (made, reason) in [
        (Made::Foreign, "NameTaken"),
        (Made::Refused("spec.tables: no".to_owned()), "TemplateRefused"),
        (Made::Failed("no answer".to_owned()), "CreateFailed"),
    ] {
        let mut it = schedule(json!({"startingDeadlineSeconds": 60}));
        let mut tried = plan(&Facts {
            schedule: &it,
            children: &[],
            now: at("2026-11-26T12:10:00Z"),
        });
        let make = tried.make[0].clone();
        settle(&mut tried, &make, &made);
        conclude(&mut tried, &it, at("2026-11-26T12:10:00Z"));
        it.status = Some(tried.status.clone());
        // Its time is over, and nothing is tried: nothing is better. All that is known of it is in the status, as after
        // a restart of the operator.
        for now in ["2026-11-26T12:12:00Z", "2026-11-26T12:18:00Z"] {
            let late = planned(&it, &[], now);
            assert_eq!((late.make.len(), ready(&late)), (0, ("False", reason)), "{now}");
            assert!(!told(&late).contains(&reason), "{:?}", late.news);
            assert_eq!(late.status.conditions, tried.status.conditions);
            it.status = Some(late.status);
        }
        // The next one is made, or the schedule is changed.
        let mut next = plan(&Facts {
            schedule: &it,
            children: &[],
            now: at("2026-11-26T12:20:00Z"),
        });
        let make = next.make[0].clone();
        settle(&mut next, &make, &Made::New);
        conclude(&mut next, &it, at("2026-11-26T12:20:00Z"));
        assert_eq!(ready(&next), ("True", "Scheduled"));
        it.metadata.generation = Some(4);
        assert_eq!(
            ready(&planned(&it, &[], "2026-11-26T12:18:00Z")),
            ("True", "Scheduled")
        );
    }
}

#[test]
fn what_is_asked_for_as_a_slot_comes_counts_as_active() {
    for policy in ["Forbid", "Replace"] {
        let mut it = schedule(json!({"concurrencyPolicy": policy}));
        it.annotations_mut()
            .insert(REQUESTED_AT.to_owned(), "now".to_owned());
        let facts = Facts {
            schedule: &it,
            children: &[],
            now: at("2026-11-26T12:10:00Z"),
        };
        let mut both = plan(&facts);
        let [by_hand, slot] = &both.make.clone()[..] else {
            panic!("{:?}", both.make)
        };
        assert_eq!((slot.name.as_str(), slot.replaces.len()), (TEN, 0));
        assert!(!waits(&mut both, &it, by_hand));
        // It can't be made: nobody waits for it.
        settle(&mut both, by_hand, &Made::Foreign);
        assert!(!waits(&mut both, &it, slot));
        // It is made.
        settle(&mut both, by_hand, &Made::New);
        assert_eq!(waits(&mut both, &it, slot), policy == "Forbid");
        if policy == "Forbid" {
            conclude(&mut both, &it, facts.now);
            assert_eq!(ready(&both), ("True", "AlreadyActive"));
        }
        // The operator has died before it wrote that down: it is found again, and nobody takes its place before that.
        let children = [child(&by_hand.name, Outcome::Active, "2026-11-26T12:10:00Z")];
        let again = planned(&it, &children, "2026-11-26T12:10:05Z");
        let wanted = if policy == "Forbid" {
            vec![by_hand.name.as_str()]
        } else {
            vec![by_hand.name.as_str(), TEN]
        };
        assert_eq!(names(&again), wanted);
        assert!(again.make.iter().all(|make| make.replaces.is_empty()));
    }
}

#[test]
fn one_whose_time_is_over_goes_once_its_pages_are_known() {
    let mut it = schedule(json!({}));
    it.spec.catalog_template.spec.ttl_seconds_after_finished = Some(300);
    let mut good = child("nightly-1", Outcome::Succeeded, "2026-11-26T12:00:00Z");
    good.artifacts = Some(
        serde_json::from_value(json!({"timestamp": "20261126T120000Z", "catalog": "s3://b/catalog.html"}))
            .unwrap(),
    );
    let children = [
        good.clone(),
        child("nightly-2", Outcome::Active, "2026-11-26T11:00:00Z"),
        child("nightly-3", Outcome::Failed, "2026-11-26T12:02:00Z"),
    ];
    let waits = planned(&it, &children, "2026-11-26T12:05:59Z");
    assert_eq!(
        (waits.remove.len(), waits.expires),
        (0, Some(at("2026-11-26T12:06:00Z")))
    );
    // However late it is seen.
    let over = planned(&it, &children, "2026-11-26T12:06:00Z");
    assert_eq!(over.remove, [good.clone()]);
    assert_eq!(over.status.artifacts, good.artifacts);
    assert_eq!(over.expires, Some(at("2026-11-26T12:08:00Z")));
}
