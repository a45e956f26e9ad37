//! What came of the Catalogs of a plan, and how the schedule stands then. Pure. Must not know which slot is due.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::{MESSAGE, Make, Plan, news};
use crate::api::catalog_schedule::{CatalogSchedule, ConcurrencyPolicy, ManualRun};
use crate::controllers::schedule::reason::{Reason, Standing};
use crate::controllers::whole_second;
use crate::llm::cut;

/// What came of making a Catalog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::controllers::schedule) enum Made {
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

/// Whether a Catalog waits for one that has not ended. Asked again right before it is made: another one may have been
/// asked for by hand meanwhile.
pub(in crate::controllers::schedule) fn waits(
    plan: &mut Plan,
    schedule: &CatalogSchedule,
    make: &Make,
) -> bool {
    let Some(slot) = make.slot else {
        // What is asked for by hand waits for nobody.
        return false;
    };
    let active = &plan.status.active;
    // One that is there already, be it that nobody has written so, can't be in its own way.
    if schedule.spec.concurrency_policy != ConcurrencyPolicy::Forbid || active.contains(&make.name) {
        return false;
    }
    let Some(other) = active.first() else {
        return false;
    };
    plan.standing = Standing::new(
        Reason::AlreadyActive,
        format!(
            "the Catalog of {slot} waits for {other}, which has not ended: spec.concurrencyPolicy is Forbid"
        ),
    );
    true
}

/// Takes into a plan what came of one Catalog of it.
pub(in crate::controllers::schedule) fn settle(plan: &mut Plan, make: &Make, made: &Made) {
    let name = &make.name;
    match made {
        Made::New | Made::Found => begun(plan, make, *made == Made::New),
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

fn begun(plan: &mut Plan, make: &Make, new: bool) {
    let name = &make.name;
    // So one can be made again.
    plan.refused = None;
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
    if new || !known {
        let how = if new { "is made" } else { "was there already" };
        let message = format!("the Catalog {name} {how}");
        plan.news.push(news(false, "CatalogCreated", "Create", message));
        if make.many {
            let message = "more than 100 times of the schedule were missed, of which only the last is made up for: look at the clock, or set spec.startingDeadlineSeconds";
            plan.news
                .push(news(true, "TooManyMissedTimes", "Schedule", message));
        }
    }
}

/// Writes the conditions, and tells of a standing that is new. The plan is complete then.
pub(in crate::controllers::schedule) fn conclude(
    plan: &mut Plan,
    schedule: &CatalogSchedule,
    now: Timestamp,
) {
    if plan.standing.reason == Reason::Scheduled
        && let Some(refused) = plan.refused.take()
    {
        plan.standing = refused;
    }
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
                .map_or_else(|| Time(whole_second(now)), |it| it.last_transition_time.clone()),
        }
    };
    // Both are there once they were true, and stay: what was told of one that could not be read was no apply, and an
    // apply that leaves it out does not remove it.
    plan.status.conditions = vec![condition("Ready", reason.ready())];
    let others = [
        ("Reconciling", reason == Reason::CreateFailed),
        ("Stalled", reason.is_stalled()),
    ];
    for (kind, holds) in others {
        if holds || before.iter().any(|it| it.type_ == kind) {
            let truth = if holds { "True" } else { "False" };
            plan.status.conditions.push(condition(kind, truth));
        }
    }
}
