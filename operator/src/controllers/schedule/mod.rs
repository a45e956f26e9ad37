//! The controller of `CatalogSchedule`s: makes a Catalog at each slot, and removes those that are too many.
//!
//! What is to be done is a pure plan; it is carried out here, and each step of it may be the last one of this process.
//! Must not know how a Catalog is run: it sees only how each has come out.

mod build;
mod catalogs;
mod children;
mod memory;
mod plan;
mod reason;
mod slots;
mod watch;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use kube::core::DeserializeGuard;
use kube::{Client, Resource as _, ResourceExt as _};
use kube_runtime::controller::Action;
use serde_json::{Value, json};
use tracing::{Instrument as _, info, info_span, warn};

use self::children::{Child, Children};
use self::memory::{Held, Memory};
use self::plan::{Facts, Made, Plan, conclude, plan, settle, waits};
use self::reason::Reason;
pub use self::watch::run;
use super::announce::Announcer;
use super::apply::{self, ApplyError};
use super::now;
use super::settings::Settings;
use super::unread::{self, Verdict};
use crate::api::CatalogSchedule;
use crate::runtime::lease::Holding;
use crate::runtime::metrics::Metrics;
use crate::runtime::metrics::labels::{Kind, Reconciled};

/// How often a schedule is looked at for which nothing happens.
const REST: Duration = Duration::from_hours(1);
/// After a slot has come, its Catalog is made so much later: clocks differ a little.
const AFTER: Duration = Duration::from_millis(100);
/// When a Catalog is tried again that the API server refuses, if nobody changes the schedule.
const REFUSED: Duration = Duration::from_mins(10);
/// When one is tried again that could not be made.
const FAILED: Duration = Duration::from_secs(10);

/// What the controller works with.
pub struct Context {
    client: Client,
    settings: Settings,
    holding: Holding,
    announcer: Announcer,
    metrics: Metrics,
    children: Children,
    memory: Memory,
}

impl fmt::Debug for Context {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Context")
    }
}

impl Context {
    /// Of no schedule yet.
    pub fn new(
        client: Client,
        settings: Settings,
        holding: Holding,
        announcer: Announcer,
        metrics: Metrics,
    ) -> Self {
        Self {
            client,
            settings,
            holding,
            announcer,
            metrics,
            children: Children::new(),
            memory: Memory::default(),
        }
    }
}

/// Looks at a schedule once.
async fn reconcile(
    object: Arc<DeserializeGuard<CatalogSchedule>>,
    context: Arc<Context>,
) -> Result<Action, ApplyError> {
    let began = Instant::now();
    let result = match &object.0 {
        Ok(schedule) => {
            let span = info_span!("reconcile", schedule = %apply::full_name(schedule));
            Box::pin(look(schedule, &context)).instrument(span).await
        }
        Err(unreadable) => {
            unread::tell::<CatalogSchedule>(&context.client, &context.announcer, unreadable, unreadable_one)
                .await
                .map(|again| (again, Reconciled::Stalled))
        }
    };
    let outcome = match &result {
        Ok((_, outcome)) => *outcome,
        Err(error) => error.outcome(),
    };
    context
        .metrics
        .reconciled(Kind::Schedule, outcome, began.elapsed());
    result.map(|(again, _)| Action::requeue(again))
}

/// What the status of one says that can't be read: nothing comes next.
fn unreadable_one(_status: &Value) -> Verdict {
    Verdict {
        reason: Reason::NotUnderstood.as_str().to_owned(),
        conditions: vec![("Ready", false), ("Stalled", true)],
        members: json!({"nextScheduleTime": null}),
    }
}

async fn look(cached: &CatalogSchedule, context: &Context) -> Result<(Duration, Reconciled), ApplyError> {
    let Some(uid) = cached.uid() else {
        return Ok((REST, Reconciled::Ok));
    };
    if cached.meta().deletion_timestamp.is_some() {
        context.memory.forget(&uid);
        return Ok((REST, Reconciled::Ok));
    }
    let mut schedule = cached.clone();
    let mut children = known(&schedule, &uid, context).await?;
    let mut planned = plan(&Facts {
        schedule: &schedule,
        children: &children,
        now: now(),
    });
    let generation = schedule.metadata.generation;
    let tried = |make| context.memory.held(&uid, make, generation).is_none();
    if planned.make.iter().any(tried) {
        // What was seen may be old, and a Catalog is dear: the last word is the API server's.
        let Some(current) = catalogs::current(&context.client, &schedule).await? else {
            return Ok((REST, Reconciled::Ok));
        };
        if current.resource_version() != schedule.resource_version() {
            schedule = current;
            children = known(&schedule, &uid, context).await?;
            planned = plan(&Facts {
                schedule: &schedule,
                children: &children,
                now: now(),
            });
        }
    }
    let retry = carry_out(&mut planned, &schedule, &uid, context).await?;
    conclude(&mut planned, &schedule, now());
    if Some(&planned.status) != schedule.status.as_ref() {
        write(&planned, &schedule, context).await?;
    }
    context.memory.written(&uid);
    for told in std::mem::take(&mut planned.news) {
        context.announcer.tell(schedule.object_ref(&()), told);
    }
    catalogs::delete_all(&context.client, &schedule, &planned.remove).await?;
    let outcome = match planned.standing.reason {
        Reason::Scheduled | Reason::Suspended => Reconciled::Ok,
        Reason::AlreadyActive => Reconciled::Waiting,
        Reason::CreateFailed => Reconciled::Retry,
        _ => Reconciled::Stalled,
    };
    let next = planned.next.into_iter().chain(planned.expires).min();
    let next = next.map_or(REST, until);
    Ok((next.min(retry.unwrap_or(REST)).min(REST), outcome))
}

/// How long until something may be done.
fn until(next: Timestamp) -> Duration {
    let left = next.duration_since(Timestamp::now());
    Duration::try_from(left).unwrap_or_default() + AFTER
}

/// The Catalogs of a schedule: what the watch has told, and of those that are known otherwise, since the status names
/// them or they were made just now, what the API server says.
async fn known(schedule: &CatalogSchedule, uid: &str, context: &Context) -> Result<Vec<Child>, ApplyError> {
    let mut children = context.children.of(uid);
    let unwritten = context.memory.unwritten(uid);
    let written = schedule.status.iter().flat_map(|status| &status.active);
    for name in written.chain(&unwritten) {
        if children.iter().all(|child| child.name != *name)
            && let Some(child) = catalogs::child(&context.client, schedule, name).await?
        {
            children.push(child);
        }
    }
    Ok(children)
}

/// Makes what is to be made. When to try again, if that is sooner than the next slot.
async fn carry_out(
    planned: &mut Plan,
    schedule: &CatalogSchedule,
    uid: &str,
    context: &Context,
) -> Result<Option<Duration>, ApplyError> {
    let mut retry: Option<Duration> = None;
    let sooner = |retry: Option<Duration>, wait| Some(retry.map_or(wait, |known| known.min(wait)));
    let generation = schedule.metadata.generation;
    context.memory.wanted(uid, &planned.make);
    for make in planned.make.clone() {
        if waits(planned, schedule, &make) {
            continue;
        }
        if let Some((standing, wait)) = context.memory.held(uid, &make, generation) {
            planned.standing = standing;
            retry = sooner(retry, wait);
            continue;
        }
        if !context.holding.is_held_now() {
            // It was away for a while: somebody else may lead.
            return Err(ApplyError::Stale {
                object: apply::full_name(schedule),
            });
        }
        let made = match catalogs::delete_all(&context.client, schedule, &make.replaces).await {
            Ok(()) => {
                let catalog = build::catalog(schedule, &make.name, make.slot, &planned.zone);
                catalogs::make(&context.client, schedule, &catalog).await
            }
            Err(error) => Made::Failed(error.to_string()),
        };
        settle(planned, &make, &made);
        let wait = match made {
            Made::New | Made::Found => {
                if made == Made::New {
                    info!(catalog = make.name, "a Catalog is made");
                }
                context.memory.made(uid, &make.name);
                continue;
            }
            Made::Foreign | Made::Refused(_) => REFUSED,
            Made::Failed(_) => FAILED,
        };
        retry = sooner(retry, wait);
        let held = Held {
            name: make.name,
            generation,
            until: Instant::now() + wait,
            standing: planned.standing.clone(),
        };
        context.memory.hold(uid, held);
    }
    Ok(retry)
}

async fn write(planned: &Plan, schedule: &CatalogSchedule, context: &Context) -> Result<(), ApplyError> {
    let written = if context.holding.is_held_now() {
        apply::status(&context.client, schedule, &planned.status).await
    } else {
        Err(ApplyError::Stale {
            object: apply::full_name(schedule),
        })
    };
    context.metrics.status_written(apply::outcome(&written));
    written
}

/// When to look again after a failure.
#[expect(clippy::needless_pass_by_value, reason = "kube gives it so")]
fn after_error(
    object: Arc<DeserializeGuard<CatalogSchedule>>,
    error: &ApplyError,
    _context: Arc<Context>,
) -> Action {
    if let ApplyError::Api { .. } = error {
        warn!(schedule = object.name_any(), %error, "a CatalogSchedule could not be looked after");
    }
    Action::requeue(error.again())
}
