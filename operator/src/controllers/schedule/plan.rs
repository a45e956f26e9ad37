//! What a schedule needs now, and what its status says then: pure functions of what is asked for, what there is and
//! the time.
//!
//! The operator may die between any two steps that follow from a plan. A Catalog is made before the status says so,
//! and its name follows from its slot alone: whoever plans again finds it there. `settle` takes in what came of each,
//! `leaving` says which go.

mod leaving;
mod settle;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt as _;

use self::leaving::leaving;
use super::build::{name_of_request, name_of_slot};
use super::children::{Child, Outcome};
use super::reason::{Reason, Standing};
use super::slots::{Rule, due};
use crate::api::catalog_schedule::{CatalogSchedule, CatalogScheduleStatus, ConcurrencyPolicy};
use crate::api::validate::validate_schedule;
use crate::api::{CATALOG_SHORT, REQUESTED_AT};
use crate::controllers::announce::Announcement;
use crate::cron::{self, Cron};

pub(super) use settle::{Made, conclude, settle, waits};

/// How much of a message a condition holds.
const MESSAGE: usize = 600;

/// What a plan follows from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Facts<'a> {
    pub(super) schedule: &'a CatalogSchedule,
    pub(super) children: &'a [Child],
    pub(super) now: Timestamp,
}

/// A Catalog to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Make {
    pub(super) name: String,
    /// For which slot, if not by hand.
    pub(super) slot: Option<Timestamp>,
    /// What was asked for by hand.
    pub(super) requested: Option<String>,
    /// Those that make place for it.
    pub(super) replaces: Vec<Child>,
    /// Whether it makes up for more times than can be meant.
    pub(super) many: bool,
}

/// What is to be done.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    /// In this order.
    pub(super) make: Vec<Make>,
    /// The status, as far as it does not depend on what is made.
    pub(super) status: CatalogScheduleStatus,
    pub(super) standing: Standing,
    /// How it has stood since a Catalog could not be made, if that is not over.
    refused: Option<Standing>,
    /// When something is due again; none, if nothing ever is.
    pub(super) next: Option<Timestamp>,
    pub(super) zone: TimeZone,
    pub(super) news: Vec<Announcement>,
    /// Catalogs that go, once the status is written.
    pub(super) remove: Vec<Child>,
    /// When the next one goes.
    pub(super) expires: Option<Timestamp>,
}

fn news(warning: bool, reason: &str, action: &str, message: impl Into<String>) -> Announcement {
    Announcement {
        warning,
        reason: reason.to_owned(),
        action: action.to_owned(),
        message: message.into(),
    }
}

/// Makes a plan.
pub(super) fn plan(facts: &Facts<'_>) -> Plan {
    let schedule = facts.schedule;
    let mut status = schedule.status.clone().unwrap_or_default();
    status.observed_generation = schedule.metadata.generation;
    let mut told = follow(&mut status, facts);
    let make = requested(&mut status, facts);
    let (remove, expires) = leaving(facts);
    let mut plan = Plan {
        make: Vec::from_iter(make),
        status,
        standing: Standing::new(Reason::Suspended, "spec.suspend is true: no Catalogs are made"),
        refused: refused(schedule),
        next: None,
        zone: TimeZone::UTC,
        news: Vec::new(),
        remove,
        expires,
    };
    let spec = &schedule.spec;
    match read(schedule) {
        Err(standing) => plan.standing = standing,
        Ok((cron, zone)) => {
            plan.zone = zone.clone();
            let rule = Rule {
                cron: &cron,
                zone: &zone,
                since: since(schedule, facts.now),
                deadline: spec.starting_deadline_seconds.map(i64::from),
                jitter: i64::from(spec.jitter_seconds.unwrap_or_default()),
                uid: schedule.metadata.uid.as_deref().unwrap_or_default(),
            };
            let coming = due(&rule, facts.now);
            if coming.next.is_none() && coming.slot.is_none() {
                plan.standing = Standing::new(
                    Reason::NeverDue,
                    format!(
                        "{:?} names no day that comes within five years, as 30 February does not: correct spec.schedule",
                        spec.schedule
                    ),
                );
            } else if !spec.suspend {
                plan.next = coming.next;
                plan.standing = scheduled(coming.next);
                if let Some(slot) = coming.slot {
                    if coming.late {
                        told.extend(missed(&mut plan.status, slot));
                    } else {
                        begin(&mut plan, facts, slot, coming.many);
                    }
                }
            }
        }
    }
    plan.status.next_schedule_time = plan.next.map(Time);
    plan.news = told;
    plan
}

fn scheduled(next: Option<Timestamp>) -> Standing {
    let message = next.map_or_else(
        || "no time of it comes any more".to_owned(),
        |next| format!("the next Catalog is made at {next}"),
    );
    Standing::new(Reason::Scheduled, message)
}

/// The schedule and its zone.
fn read(schedule: &CatalogSchedule) -> Result<(Cron, TimeZone), Standing> {
    let spec = &schedule.spec;
    let cron: Cron = spec.schedule.parse().map_err(|why| {
        let message = format!("spec.schedule {:?} can't be read: {why}", spec.schedule);
        Standing::new(Reason::InvalidSchedule, message)
    })?;
    let zone = cron::zone(spec.time_zone.as_deref())
        .map_err(|why| Standing::new(Reason::UnknownTimeZone, format!("spec.timeZone: {why}")))?;
    // What an older definition has let pass. Its own words come first.
    match validate_schedule(spec).first() {
        Some(broken) => Err(Standing::new(
            Reason::NotUnderstood,
            format!("{}: {}", broken.path, broken.message),
        )),
        None => Ok((cron, zone)),
    }
}

/// From when on slots count.
fn since(schedule: &CatalogSchedule, now: Timestamp) -> Timestamp {
    let last = schedule
        .status
        .as_ref()
        .and_then(|it| it.last_schedule_time.as_ref());
    let made = schedule.metadata.creation_timestamp.as_ref();
    last.or(made).map_or(now, |time| time.0)
}

/// Brings the status up to what has become of the Catalogs.
fn follow(status: &mut CatalogScheduleStatus, facts: &Facts<'_>) -> Vec<Announcement> {
    let mut told = Vec::new();
    for name in &status.active {
        let child = facts.children.iter().find(|child| child.name == *name);
        match child.map(|child| &child.outcome) {
            Some(Outcome::Active) => {}
            Some(Outcome::Succeeded) => {
                told.push(news(
                    false,
                    "CatalogSucceeded",
                    "Watch",
                    format!("{name} has ended well"),
                ));
            }
            Some(Outcome::Failed) => {
                let message = format!("{name} was given up: kubectl describe {CATALOG_SHORT} {name}");
                told.push(news(true, "CatalogFailed", "Watch", message));
            }
            None => told.push(news(false, "CatalogGone", "Watch", format!("{name} was deleted"))),
        }
    }
    status.active = active(facts.children).map(|child| child.name.clone()).collect();
    status.active.sort_unstable();
    let good = facts
        .children
        .iter()
        .filter(|it| it.outcome == Outcome::Succeeded);
    let newest = good.max_by_key(|child| child.finished);
    if let Some((newest, finished)) = newest.and_then(|child| Some((child, child.finished?)))
        && status
            .last_successful_time
            .as_ref()
            .is_none_or(|known| known.0 <= finished)
    {
        status.last_successful_time = Some(Time(finished));
        if newest.artifacts.is_some() {
            status.artifacts.clone_from(&newest.artifacts);
        }
    }
    told
}

fn active(children: &[Child]) -> impl Iterator<Item = &Child> {
    children.iter().filter(|it| it.outcome == Outcome::Active)
}

/// What somebody asks for by hand: once for each value of the annotation, whatever the clock says, and also while the
/// schedule is suspended.
fn requested(status: &mut CatalogScheduleStatus, facts: &Facts<'_>) -> Option<Make> {
    let schedule = facts.schedule;
    let value = schedule.annotations().get(REQUESTED_AT)?;
    if status.last_handled_reconcile_at.as_ref() == Some(value) {
        status.requested = None;
        return None;
    }
    if let Some(known) = status.requested.as_ref().filter(|known| known.at == *value) {
        let name = &known.catalog;
        if active(facts.children).all(|child| child.name != *name) {
            // Ended, or gone.
            status.last_handled_reconcile_at = Some(value.clone());
            status.requested = None;
        }
        return None;
    }
    Some(Make {
        name: name_of_request(&schedule.name_any(), &schedule.uid().unwrap_or_default(), value),
        slot: None,
        requested: Some(value.clone()),
        replaces: Vec::new(),
        many: false,
    })
}

/// A slot has come, and it is too late for it.
fn missed(status: &mut CatalogScheduleStatus, slot: Timestamp) -> Option<Announcement> {
    let known = status.last_missed_time.replace(Time(slot));
    let message =
        format!("no Catalog was made for {slot}: it is later than spec.startingDeadlineSeconds allows");
    known
        .is_none_or(|known| known.0 != slot)
        .then(|| news(true, "MissSchedule", "Schedule", message))
}

/// A slot has come.
fn begin(plan: &mut Plan, facts: &Facts<'_>, slot: Timestamp, many: bool) {
    let schedule = facts.schedule;
    let name = name_of_slot(&schedule.name_any(), slot);
    let mut replaces = Vec::new();
    if schedule.spec.concurrency_policy == ConcurrencyPolicy::Replace {
        let running: Vec<Child> = active(facts.children).cloned().collect();
        if running.iter().all(|child| child.name != name) {
            replaces = running;
            // Nor does it take the place of what is asked for in the same moment, which might be made anew then.
            replaces.retain(|child| plan.make.iter().all(|make| make.name != child.name));
        }
    }
    let make = Make {
        name,
        slot: Some(slot),
        requested: None,
        replaces,
        many,
    };
    if !waits(plan, schedule, &make) {
        plan.make.push(make);
    }
}

/// How a schedule has stood since a Catalog of it could not be made: until one is made, or it is changed. A slot that
/// passes meanwhile heals nothing.
fn refused(schedule: &CatalogSchedule) -> Option<Standing> {
    let status = schedule.status.as_ref()?;
    let ready = status.conditions.iter().find(|it| it.type_ == "Ready")?;
    let reason = Reason::REFUSALS
        .into_iter()
        .find(|it| it.as_str() == ready.reason)?;
    (ready.observed_generation == schedule.metadata.generation)
        .then(|| Standing::new(reason, ready.message.clone()))
}

#[cfg(test)]
mod tests;
