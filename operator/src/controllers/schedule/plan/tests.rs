//! Plans, one by one; and a small world in which the operator dies anywhere, and each slot still gets one Catalog.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
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
    let many = planned(&schedule(json!({})), &[], "2026-11-28T12:16:00Z");
    assert_eq!((many.make.len(), told(&many)), (1, vec!["TooManyMissedTimes"]));
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

/// A cluster of one schedule, of which the operator may have an old view.
struct World {
    schedule: CatalogSchedule,
    /// How each has come out, by name.
    catalogs: BTreeMap<String, Child>,
    /// All that was ever made.
    made: BTreeSet<String>,
    now: Timestamp,
}

impl World {
    /// A look that ends after so many steps.
    fn look(&mut self, mut steps: usize) {
        let mut step = || {
            let goes_on = steps > 0;
            steps = steps.saturating_sub(1);
            goes_on
        };
        let children: Vec<Child> = self.catalogs.values().cloned().collect();
        let mut plan = plan(&Facts {
            schedule: &self.schedule,
            children: &children,
            now: self.now,
        });
        for make in plan.make.clone() {
            for child in &make.replaces {
                if !step() {
                    return;
                }
                self.catalogs.remove(&child.name);
            }
            if !step() {
                return;
            }
            let there = self.catalogs.contains_key(&make.name);
            if !there {
                assert!(self.made.insert(make.name.clone()), "{} is made twice", make.name);
                let started = Some(self.now);
                let child = Child {
                    started,
                    ..child(&make.name, Outcome::Active, "2026-11-26T12:00:00Z")
                };
                self.catalogs.insert(make.name.clone(), child);
            }
            settle(&mut plan, &make, if there { &Made::Found } else { &Made::New });
        }
        conclude(&mut plan, &self.schedule, self.now);
        if !step() {
            return;
        }
        self.schedule.status = Some(plan.status);
        for child in &plan.remove {
            if !step() {
                return;
            }
            assert_ne!(child.outcome, Outcome::Active);
            self.catalogs.remove(&child.name);
        }
    }
}

proptest! {
    #[test]
    fn each_slot_gets_one_catalog_wherever_the_operator_dies(
        policy in proptest::sample::select(vec!["Allow", "Forbid", "Replace"]),
        jitter in 0_u32..300,
        turns in proptest::collection::vec((1_i64..900, 0_usize..7, 0_usize..6), 1..80),
    ) {
        let mut world = World {
            schedule: schedule(json!({"concurrencyPolicy": policy, "jitterSeconds": jitter})),
            catalogs: BTreeMap::new(),
            made: BTreeSet::new(),
            now: at("2026-11-26T12:00:00Z"),
        };
        for (seconds, steps, what) in turns {
            world.now = plus(world.now, seconds);
            // One of those under way ends.
            if what < 2 && let Some(child) = world.catalogs.values_mut().find(|it| it.outcome == Outcome::Active) {
                child.outcome = if what == 0 { Outcome::Succeeded } else { Outcome::Failed };
                child.finished = Some(world.now);
            }
            if what == 2 {
                let value = world.now.to_string();
                world.schedule.annotations_mut().insert(REQUESTED_AT.to_owned(), value);
            }
            let before = world.schedule.status.as_ref().and_then(|it| it.last_schedule_time.clone());
            world.look(steps);
            // Without a death nothing is left to do.
            world.look(usize::MAX);
            let after = world.schedule.status.as_ref().and_then(|it| it.last_schedule_time.clone());
            prop_assert!(before <= after);
            if policy == "Forbid" {
                let slots = world.catalogs.values().filter(|it| it.outcome == Outcome::Active && !it.name.contains("-m"));
                prop_assert!(slots.count() <= 1);
            }
            let ended = world.catalogs.values().filter(|it| it.outcome == Outcome::Succeeded).count();
            prop_assert!(ended <= 3);
        }
    }
}
