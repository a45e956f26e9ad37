//! What a schedule needs now, and what its status says then: pure functions of what is asked for, what there is and
//! the time.
//!
//! The operator may die between any two steps that follow from a plan. A Catalog is made before the status says so,
//! and its name follows from its slot alone: whoever plans again finds it there.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::ResourceExt as _;

use super::build::{name_of_request, name_of_slot};
use super::children::{Child, Outcome};
use super::reason::{Reason, Standing};
use super::slots::{Rule, due};
use crate::api::catalog_schedule::{CatalogSchedule, CatalogScheduleStatus, ConcurrencyPolicy, ManualRun};
use crate::api::validate::validate_schedule;
use crate::api::{CATALOG_SHORT, REQUESTED_AT};
use crate::controllers::announce::Announcement;
use crate::cron::{self, Cron};
use crate::llm::cut;

/// How much of a message a condition and an event hold.
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
}

/// What is to be done.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    /// In this order.
    pub(super) make: Vec<Make>,
    /// The status, as far as it does not depend on what is made.
    pub(super) status: CatalogScheduleStatus,
    pub(super) standing: Standing,
    /// When something is due again; none, if nothing ever is.
    pub(super) next: Option<Timestamp>,
    pub(super) zone: TimeZone,
    pub(super) news: Vec<Announcement>,
    /// Catalogs that are one too many, once the status is written.
    pub(super) remove: Vec<Child>,
}

/// What came of making a Catalog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Made {
    /// It is made.
    New,
    /// It was there, and is ours: it was made before the operator died.
    Found,
    /// Somebody else's has the name.
    Foreign,
    /// The API server does not take it.
    Refused(String),
    /// It did not come to that.
    Failed(String),
}

fn news(warning: bool, reason: &str, action: &str, message: impl AsRef<str>) -> Announcement {
    Announcement {
        warning,
        reason: reason.to_owned(),
        action: action.to_owned(),
        message: cut(message.as_ref(), MESSAGE),
    }
}

/// Makes a plan.
pub(super) fn plan(facts: &Facts<'_>) -> Plan {
    let schedule = facts.schedule;
    let mut status = schedule.status.clone().unwrap_or_default();
    status.observed_generation = schedule.metadata.generation;
    let mut told = follow(&mut status, facts);
    let mut make = Vec::new();
    make.extend(requested(&mut status, facts));
    let mut plan = Plan {
        make,
        status,
        standing: Standing::new(Reason::Suspended, "spec.suspend is true: no Catalogs are made"),
        next: None,
        zone: TimeZone::UTC,
        news: Vec::new(),
        remove: remove(facts),
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
                    told.extend(begin(&mut plan, facts, slot, coming.late, coming.many));
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
    })
}

/// A slot has come.
fn begin(
    plan: &mut Plan,
    facts: &Facts<'_>,
    slot: Timestamp,
    late: bool,
    many: bool,
) -> Option<Announcement> {
    let schedule = facts.schedule;
    if late {
        let known = plan.status.last_missed_time.replace(Time(slot));
        let message =
            format!("no Catalog was made for {slot}: it is later than spec.startingDeadlineSeconds allows");
        return known
            .is_none_or(|known| known.0 != slot)
            .then(|| news(true, "MissSchedule", "Schedule", message));
    }
    let running: Vec<Child> = active(facts.children).cloned().collect();
    let name = name_of_slot(&schedule.name_any(), slot);
    let there = running.iter().any(|child| child.name == name);
    let mut replaces = Vec::new();
    match schedule.spec.concurrency_policy {
        // One that is there already, be it that nobody has written so, can't be in its own way.
        ConcurrencyPolicy::Forbid if !there => {
            if let Some(other) = running.first() {
                plan.standing = Standing::new(
                    Reason::AlreadyActive,
                    format!(
                        "the Catalog of {slot} waits for {}, which has not ended: spec.concurrencyPolicy is Forbid",
                        other.name
                    ),
                );
                return None;
            }
        }
        ConcurrencyPolicy::Replace if !there => replaces = running,
        _ => {}
    }
    plan.make.push(Make {
        name,
        slot: Some(slot),
        requested: None,
        replaces,
    });
    many.then(|| {
        let message = "more than 100 times of the schedule were missed, of which only the last is made up for: look at the clock, or set spec.startingDeadlineSeconds";
        news(true, "TooManyMissedTimes", "Schedule", message)
    })
}

/// Which Catalogs are too many: of those that have ended, the oldest.
fn remove(facts: &Facts<'_>) -> Vec<Child> {
    let spec = &facts.schedule.spec;
    let mut remove = Vec::new();
    for (outcome, limit) in [
        (Outcome::Succeeded, spec.successful_catalogs_history_limit),
        (Outcome::Failed, spec.failed_catalogs_history_limit),
    ] {
        let mut ended: Vec<&Child> = facts
            .children
            .iter()
            .filter(|child| child.outcome == outcome)
            .collect();
        ended.sort_by(|one, other| (one.started, &one.name).cmp(&(other.started, &other.name)));
        let many = ended
            .len()
            .saturating_sub(usize::try_from(limit).unwrap_or(usize::MAX));
        remove.extend(ended.into_iter().take(many).cloned());
    }
    remove
}

/// Takes into a plan what came of one Catalog of it.
pub(super) fn settle(plan: &mut Plan, make: &Make, made: &Made) {
    let name = &make.name;
    match made {
        Made::New | Made::Found => {
            for gone in &make.replaces {
                plan.status.active.retain(|active| active != &gone.name);
                let message = format!("{} was deleted, since {name} takes its place", gone.name);
                plan.news.push(news(false, "CatalogReplaced", "Replace", message));
            }
            let known = plan.status.active.contains(name);
            if !known {
                plan.status.active.push(name.clone());
                plan.status.active.sort_unstable();
            }
            if let Some(slot) = make.slot {
                plan.status.last_schedule_time = Some(Time(slot));
            }
            if let Some(at) = make.requested.clone() {
                plan.status.requested = Some(ManualRun {
                    at,
                    catalog: name.clone(),
                });
            }
            // Of `@every 1s` all slots of a minute have one.
            if *made == Made::New || !known {
                let how = if *made == Made::New {
                    "is made"
                } else {
                    "was there already"
                };
                let message = format!("the Catalog {name} {how}");
                plan.news.push(news(false, "CatalogCreated", "Create", message));
            }
        }
        Made::Foreign => {
            plan.standing = Standing::new(
                Reason::NameTaken,
                format!(
                    "there is a Catalog {name} that this schedule has not made, and it is left alone: delete or rename it, or wait for the next time"
                ),
            );
        }
        Made::Refused(why) => {
            plan.standing = Standing::new(
                Reason::TemplateRefused,
                format!("the API server refuses the Catalog {name}: {why}; correct spec.catalogTemplate"),
            );
        }
        Made::Failed(why) => {
            plan.standing = Standing::new(
                Reason::CreateFailed,
                format!("the Catalog {name} could not be made: {why}; it is tried again"),
            );
        }
    }
}

/// Writes the conditions, and tells of a standing that is new. The plan is complete then.
pub(super) fn conclude(plan: &mut Plan, schedule: &CatalogSchedule, now: Timestamp) {
    let before = schedule.status.clone().unwrap_or_default().conditions;
    let Standing { reason, message } = plan.standing.clone();
    let old = before.iter().find(|it| it.type_ == "Ready");
    let same = old.is_some_and(|old| {
        old.reason == reason.as_str()
            && (reason == Reason::Scheduled || old.message == cut(&message, MESSAGE))
    });
    if !same && (reason != Reason::Scheduled || old.is_some()) {
        let warning = reason.ready() == "False";
        plan.news
            .push(news(warning, reason.as_str(), "Schedule", &message));
    }
    let condition = |kind: &str, truth: &str| {
        let known = before.iter().find(|it| it.type_ == kind && it.status == truth);
        Condition {
            type_: kind.to_owned(),
            status: truth.to_owned(),
            reason: reason.as_str().to_owned(),
            message: cut(&message, MESSAGE),
            observed_generation: schedule.metadata.generation,
            last_transition_time: known
                .map_or_else(|| Time(whole(now)), |it| it.last_transition_time.clone()),
        }
    };
    // Both are there only while they are true, as kstatus wants it.
    plan.status.conditions = vec![condition("Ready", reason.ready())];
    if reason == Reason::CreateFailed {
        plan.status.conditions.push(condition("Reconciling", "True"));
    }
    if reason.is_stalled() {
        plan.status.conditions.push(condition("Stalled", "True"));
    }
}

/// In whole seconds, as a status has it.
fn whole(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

#[cfg(test)]
mod tests;
