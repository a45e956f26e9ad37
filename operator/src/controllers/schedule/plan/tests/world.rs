//! A cluster of one schedule, played at random: time passes, Catalogs end, somebody asks for one by hand, the API server
//! refuses for a while. The operator has views that are old, loses writes to others, and dies between any two steps.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::json;

use super::*;

/// What happens before a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Event {
    Nothing,
    Succeeds,
    Fails,
    Asked,
    /// The API server takes no Catalog as the template says it, or takes them again.
    Refuses,
    Takes,
}

/// How a look goes.
#[derive(Debug, Clone, Copy)]
struct Turn {
    seconds: i64,
    event: Event,
    /// After so many steps the operator dies.
    steps: usize,
    /// So many changes of Catalogs have not been told yet, and so many of the schedule.
    lag: (usize, usize),
    /// Whether somebody writes the schedule before its status is written.
    overtaken: bool,
}

/// What the operator knows besides the cluster; gone when it dies.
#[derive(Default)]
struct Operator {
    /// What its watches can have told, since it listed all that there was, and how far they have come.
    catalogs: Vec<Vec<Child>>,
    told: usize,
    schedules: Vec<CatalogSchedule>,
    read: usize,
    /// Made, and in no status yet.
    unwritten: BTreeSet<String>,
}

struct World {
    schedule: CatalogSchedule,
    version: usize,
    catalogs: BTreeMap<String, Child>,
    /// All that was ever made.
    made: BTreeSet<String>,
    refuses: bool,
    /// Whether the last try was refused of which the status tells; unknown after one that was not, and that the operator
    /// died after.
    refused: Option<bool>,
    now: Timestamp,
    operator: Operator,
    planted: Planted,
}

/// A bug that the play has to find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Planted {
    None,
    /// What was made, and is in no status yet, is not kept in mind.
    Forgets,
    /// What is asked for as a slot comes is not waited for.
    Begins,
    /// A slot that passes heals a refusal.
    Heals,
}

impl World {
    fn new(spec: Value, planted: Planted) -> Self {
        let mut world = Self {
            schedule: schedule(spec),
            version: 0,
            catalogs: BTreeMap::new(),
            made: BTreeSet::new(),
            refuses: false,
            refused: Some(false),
            now: at("2026-11-26T12:00:00Z"),
            operator: Operator::default(),
            planted,
        };
        world.starts();
        world
    }

    /// A process starts: it lists all before it looks.
    fn starts(&mut self) {
        self.operator = Operator::default();
        self.catalogs_change();
        self.schedule_changes();
    }

    fn catalogs_change(&mut self) {
        let all = self.catalogs.values().cloned().collect();
        self.operator.catalogs.push(all);
    }

    fn schedule_changes(&mut self) {
        self.version += 1;
        self.schedule.metadata.resource_version = Some(self.version.to_string());
        self.operator.schedules.push(self.schedule.clone());
    }

    fn happens(&mut self, event: Event) {
        match event {
            Event::Nothing => {}
            Event::Succeeds | Event::Fails => {
                let mut all = self.catalogs.values_mut();
                if let Some(child) = all.find(|it| it.outcome == Outcome::Active) {
                    child.outcome = if event == Event::Succeeds {
                        Outcome::Succeeded
                    } else {
                        Outcome::Failed
                    };
                    child.finished = Some(self.now);
                    self.catalogs_change();
                }
            }
            Event::Asked => {
                let value = self.now.to_string();
                self.schedule
                    .annotations_mut()
                    .insert(REQUESTED_AT.to_owned(), value);
                self.schedule_changes();
            }
            Event::Refuses | Event::Takes => self.refuses = event == Event::Refuses,
        }
    }

    /// Its Catalogs, as the operator gets to know them: what a watch has told, and by name what it knows of otherwise.
    fn known(&self, schedule: &CatalogSchedule) -> Vec<Child> {
        let mut children = self.operator.catalogs[self.operator.told].clone();
        let written = schedule.status.iter().flat_map(|status| &status.active);
        for name in written.chain(&self.operator.unwritten) {
            if children.iter().all(|child| child.name != *name) {
                children.extend(self.catalogs.get(name).cloned());
            }
        }
        children
    }

    fn plan(&self, schedule: &CatalogSchedule) -> Plan {
        let mut planned = plan(&Facts {
            schedule,
            children: &self.known(schedule),
            now: self.now,
        });
        if self.planted == Planted::Heals {
            planned.refused = None;
        }
        planned
    }

    /// A Catalog is created by its name.
    fn create(&mut self, make: &Make, policy: ConcurrencyPolicy) -> Made {
        if self.catalogs.contains_key(&make.name) {
            return Made::Found;
        }
        if self.refuses {
            return Made::Refused("no".to_owned());
        }
        assert!(self.made.insert(make.name.clone()), "{} is made twice", make.name);
        if make.slot.is_some() && policy != ConcurrencyPolicy::Allow {
            let beside: Vec<&String> = self
                .catalogs
                .values()
                .filter(|it| it.outcome == Outcome::Active)
                .map(|it| &it.name)
                .collect();
            // What is asked for in the same moment is not replaced.
            let just_asked = |name: &String| {
                let value = self.schedule.annotations().get(REQUESTED_AT);
                policy == ConcurrencyPolicy::Replace
                    && value.is_some_and(|value| *name == name_of_request("nightly", "u", value))
            };
            assert!(beside.into_iter().all(just_asked), "{:#?}", self.catalogs);
        }
        let child = Child {
            started: Some(self.now),
            ..child(&make.name, Outcome::Active, "2026-11-26T12:00:00Z")
        };
        self.catalogs.insert(make.name.clone(), child);
        self.catalogs_change();
        Made::New
    }

    fn delete(&mut self, child: &Child) {
        self.catalogs.remove(&child.name);
        self.catalogs_change();
    }

    /// A look, as `look` in `schedule/mod.rs` takes it.
    fn look(&mut self, turn: Turn) {
        if self.steps(turn).is_none() {
            self.starts();
        }
    }

    /// None, if the operator died.
    fn steps(&mut self, turn: Turn) -> Option<()> {
        let mut left = turn.steps;
        let mut step = move || {
            left = left.checked_sub(1)?;
            Some(())
        };
        let operator = &mut self.operator;
        let newest = operator.catalogs.len() - 1;
        operator.told = operator.told.max(newest.saturating_sub(turn.lag.0));
        let newest = operator.schedules.len() - 1;
        operator.read = operator.read.max(newest.saturating_sub(turn.lag.1));

        let mut seen = operator.schedules[operator.read].clone();
        let mut planned = self.plan(&seen);
        if !planned.make.is_empty() {
            seen = self.schedule.clone();
            planned = self.plan(&seen);
        }
        let mut refused = None;
        for make in planned.make.clone() {
            if self.planted != Planted::Begins && waits(&mut planned, &seen, &make) {
                continue;
            }
            for child in &make.replaces {
                step()?;
                self.delete(child);
            }
            step()?;
            let made = self.create(&make, seen.spec.concurrency_policy);
            settle(&mut planned, &make, &made);
            let not = matches!(made, Made::Refused(_));
            refused = Some(not || refused == Some(true));
            self.refused = self.refused.filter(|_| not);
            if !not && self.planted != Planted::Forgets {
                self.operator.unwritten.insert(make.name);
            }
        }
        conclude(&mut planned, &seen, self.now);
        if turn.overtaken {
            self.schedule_changes();
        }
        if Some(&planned.status) != seen.status.as_ref() {
            step()?;
            if seen.resource_version() != self.schedule.resource_version() {
                // Stale: it is looked at again.
                return Some(());
            }
            self.schedule.status = Some(planned.status);
            self.schedule_changes();
        }
        self.refused = refused.or(self.refused);
        self.operator.unwritten.clear();
        for child in &planned.remove {
            step()?;
            assert_ne!(child.outcome, Outcome::Active);
            self.delete(child);
        }
        Some(())
    }

    fn status(&self) -> CatalogScheduleStatus {
        self.schedule.status.clone().unwrap_or_default()
    }

    fn count(&self, outcome: &Outcome) -> usize {
        self.catalogs.values().filter(|it| it.outcome == *outcome).count()
    }
}

fn turns() -> impl Strategy<Value = Vec<Turn>> {
    let event = proptest::sample::select(vec![
        Event::Nothing,
        Event::Nothing,
        Event::Succeeds,
        Event::Succeeds,
        Event::Fails,
        Event::Asked,
        Event::Refuses,
        Event::Takes,
    ]);
    let steps = prop_oneof![2 => Just(usize::MAX), 1 => 0_usize..7];
    let overtaken = prop_oneof![4 => Just(false), 1 => Just(true)];
    let turn = (1_i64..900, event, steps, (0_usize..4, 0_usize..3), overtaken);
    let turn = turn.prop_map(|(seconds, event, steps, lag, overtaken)| Turn {
        seconds,
        event,
        steps,
        lag,
        overtaken,
    });
    proptest::collection::vec(turn, 1..50)
}

/// Plays so many worlds; what was found wrong.
fn play(worlds: u32, planted: Planted) -> Result<(), String> {
    let config = ProptestConfig {
        cases: worlds,
        max_shrink_iters: if planted == Planted::None { 500 } else { 0 },
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let policy = proptest::sample::select(vec!["Allow", "Forbid", "Replace"]);
    let spec = (policy, 0_u32..300, proptest::option::of(60_u32..600));
    let outcome = TestRunner::new(config).run(&(spec, turns()), |((policy, jitter, deadline), turns)| {
        let spec = json!({
            "concurrencyPolicy": policy, "jitterSeconds": jitter, "startingDeadlineSeconds": deadline,
        });
        let mut world = World::new(spec, planted);
        for turn in turns {
            each_turn(&mut world, turn)?;
        }
        Ok(())
    });
    outcome.map_err(|error| error.to_string())
}

fn each_turn(world: &mut World, turn: Turn) -> Result<(), TestCaseError> {
    let calm = Turn {
        seconds: 0,
        event: Event::Nothing,
        steps: usize::MAX,
        lag: (0, 0),
        overtaken: false,
    };
    world.now = plus(world.now, turn.seconds);
    world.happens(turn.event);
    let before = world.status().last_schedule_time;
    world.look(turn);
    prop_assert!(before <= world.status().last_schedule_time);
    if turn.overtaken || turn.steps < usize::MAX {
        return Ok(());
    }
    // What nobody disturbs comes to its end at the second look, which sees all that was done at the first.
    world.look(calm);
    world.look(calm);
    let status = world.status();
    let active = world.catalogs.values().filter(|it| it.outcome == Outcome::Active);
    let active: Vec<String> = active.map(|it| it.name.clone()).collect();
    prop_assert_eq!(&status.active, &active);
    prop_assert!(world.count(&Outcome::Succeeded) <= 3 && world.count(&Outcome::Failed) <= 1);
    let ready = &status.conditions[0];
    let waits = ready.reason == "AlreadyActive";
    if let Some(refused) = world.refused {
        prop_assert_eq!(
            ready.reason == "TemplateRefused",
            refused && !waits,
            "{:#?}",
            status
        );
    }
    Ok(())
}

#[test]
fn each_slot_gets_one_catalog_wherever_the_operator_dies() {
    play(256, Planted::None).unwrap();
}

#[test]
fn it_would_be_found() {
    for planted in [Planted::Forgets, Planted::Begins, Planted::Heals] {
        assert!(play(2000, planted).is_err(), "{planted:?}");
    }
}
