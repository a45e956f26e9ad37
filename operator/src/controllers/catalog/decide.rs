//! What a look at a Catalog comes to: its next status, and the session that begins once that is written.
//!
//! Reads what a Catalog refers to and gets a place in the queue; must not write anything, nor start a session.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::conditions::{self, Facts, Problem};
use super::due::{FOLLOW, Next, QUEUED, Sight, expiry, is, is_under_way, meanwhile, next, patience};
use super::lifecycle::{self, Summary};
use super::reason::Reason;
use super::validate::{self, Valid};
use super::{Context, build, dereference};
use crate::api::Catalog;
use crate::api::catalog::{CatalogStatus, RunStatus};
use crate::controllers::now;
use crate::controllers::provider::Verdict;
use crate::runtime::metrics::labels::Reconciled;
use crate::sessions::queue::Place;
use crate::sessions::{Assignment, Key, Stop, View};

/// How often a Catalog is looked at for which nothing happens: what nobody tells of is found then.
const REST: Duration = Duration::from_hours(1);

/// How often, if its prompts are its own: all `ConfigMaps` of a cluster would have to be watched to hear of a change.
const PROMPTS: Duration = Duration::from_mins(1);

/// What a look comes to, before anything is written.
pub(super) struct Decision {
    pub status: CatalogStatus,
    pub next: Next,
    /// A session that begins once the status is written.
    pub start: Option<Box<Assignment>>,
    /// When to look again.
    pub again: Duration,
    /// For who counts.
    pub outcome: Reconciled,
}

/// When to look again while nothing is heard.
pub(super) fn rest(catalog: &Catalog) -> Duration {
    if catalog.spec.prompts.is_some() {
        PROMPTS
    } else {
        REST
    }
}

/// Decides what a look comes to.
pub(super) async fn decide(
    catalog: &Catalog,
    key: &Key,
    old: &CatalogStatus,
    view: &View,
    context: &Context,
) -> Decision {
    let now = now();
    let spec = &catalog.spec;
    let mut status = old.clone();
    let (sight, summary, obstacle) = observe(&mut status, view, spec.backoff_limit, now);
    let valid = valid(catalog, key, context).await;
    let mut problem = valid.as_ref().err().cloned();
    let (mut then, mut start) = (Next::Rest, None);
    match &valid {
        Ok(valid) => {
            then = next(&valid.wanted, &status, sight, now);
            // An end is written down before anything else begins.
            let over = matches!(view, View::Over { .. });
            if let Next::Begin { run, before } = &then
                && !over
            {
                match begin(catalog, key, valid, (run, *before), &mut status, context, now).await {
                    Ok(assignment) => start = assignment.map(Box::new),
                    Err(why) => problem = Some(why),
                }
            } else if sight == Sight::Absent {
                if then == Next::TakeBack && !over {
                    lifecycle::take_back(&mut status, &valid.wanted.settings, now);
                }
                // Who waits for nothing must not stand in the queue.
                context.sessions.leave(key);
                if spec.suspend {
                    lifecycle::suspend(&mut status, now);
                }
            }
        }
        Err(why) => {
            if let Sight::Running { elapsed, stopping } = sight {
                then = if why.passes {
                    let timeout = spec.limits.timeout.into();
                    meanwhile((spec.suspend, timeout), &status, (elapsed, stopping), now)
                } else {
                    Next::Stop(Stop::Replaced)
                };
            } else {
                context.sessions.leave(key);
                stand_still(&mut status, spec.suspend, why, now);
                // What is wrong with the next run is nothing to one that has ended.
                if !spec.suspend {
                    then = expiry(validate::ttl(spec), &status, now);
                }
            }
        }
    }
    let wanted = valid.as_ref().ok().map(|valid| &valid.wanted);
    let again = match &then {
        Next::Wait(left) => (*left).clamp(Duration::from_millis(200), rest(catalog)),
        Next::Follow | Next::Stop(_) => FOLLOW,
        Next::Begin { .. } if start.is_some() => FOLLOW,
        Next::Begin { .. } if problem.is_none() => QUEUED,
        _ => match &problem {
            Some(why) if why.passes => patience(reconciling_since(old, why), now),
            _ => rest(catalog),
        },
    };
    conditions::update(
        &mut status,
        &Facts {
            wanted,
            suspended: spec.suspend,
            // Of a run that goes on, nothing is wrong.
            problem: problem
                .as_ref()
                .filter(|why| !why.passes || matches!(sight, Sight::Absent)),
            obstacle: obstacle.as_deref(),
            summary: summary.as_ref(),
            generation: catalog.metadata.generation,
            now,
        },
    );
    let outcome = match &problem {
        Some(why) if why.passes => Reconciled::Waiting,
        Some(_) => Reconciled::Stalled,
        None if matches!(then, Next::Rest) => Reconciled::Ok,
        None => Reconciled::Waiting,
    };
    Decision {
        status,
        next: then,
        start,
        again,
        outcome,
    }
}

/// Takes over into the status what is seen of the session: what that is for what comes next, what its summary came to,
/// and what is in the way of its sandbox.
fn observe(
    status: &mut CatalogStatus,
    view: &View,
    backoff_limit: u32,
    now: Timestamp,
) -> (Sight, Option<Summary>, Option<String>) {
    match view {
        View::Absent => (Sight::Absent, None, None),
        View::Running {
            progress,
            elapsed,
            stopping,
        } => {
            lifecycle::follow(status, progress, now);
            let sight = Sight::Running {
                elapsed: *elapsed,
                stopping: stopping.is_some(),
            };
            (sight, None, progress.obstacle.clone())
        }
        View::Over {
            progress,
            ended,
            stopped,
        } => {
            let summary = lifecycle::end(status, (ended, progress, *stopped), backoff_limit, now);
            (Sight::Absent, summary, None)
        }
    }
}

/// Nothing can run; of a Catalog that is suspended nothing would.
fn stand_still(status: &mut CatalogStatus, suspended: bool, why: &Problem, now: Timestamp) {
    if suspended {
        lifecycle::suspend(status, now);
    } else {
        lifecycle::wait(status, why.reason, &why.message, now);
    }
}

/// Since when a thing is missing, as far as a condition says.
fn reconciling_since<'a>(status: &'a CatalogStatus, problem: &Problem) -> Option<&'a Time> {
    let reason = problem.reason.to_string();
    if let Some(run) = status
        .run
        .as_ref()
        .filter(|run| run.reason.as_ref() == Some(&reason))
    {
        return run.phase_since.as_ref();
    }
    let told = status.conditions.iter().find(|it| it.reason == reason)?;
    Some(&told.last_transition_time)
}

async fn valid(catalog: &Catalog, key: &Key, context: &Context) -> Result<Valid, Problem> {
    let found = dereference::dereference(
        &context.client,
        &context.accounts,
        &context.settings,
        &key.namespace,
        &catalog.spec,
    )
    .await?;
    let prompts = Arc::clone(&context.prompts.borrow());
    validate::validate(catalog, &found, &context.settings, &prompts)
}

/// Gets a place for a run and all that it needs; nothing, if it has to wait for its turn.
async fn begin(
    catalog: &Catalog,
    key: &Key,
    valid: &Valid,
    (run, before): (&RunStatus, bool),
    status: &mut CatalogStatus,
    context: &Context,
    now: Timestamp,
) -> Result<Option<Assignment>, Problem> {
    let adopt =
        status.artifacts.is_none() && status.history.is_empty() && run.id.is_none() && run.attempt == 1;
    let same = status
        .run
        .as_ref()
        .is_some_and(|known| is_under_way(known) && known.fingerprint == run.fingerprint);
    if !same
        || status
            .run
            .as_ref()
            .is_some_and(|known| is(known, Reason::BackingOff))
    {
        status.run = Some(run.clone());
    }
    let usable = usable(valid, context);
    if let Err(why) = usable {
        context.sessions.leave(key);
        lifecycle::wait(status, why.reason, &why.message, now);
        return Err(why);
    }
    if let Place::Waiting { position, of } = context.sessions.ask(key, before) {
        let message = format!(
            "waits for its turn: {position} of {of} in the queue; {} runs may be under way at once",
            context.settings.most_runs
        );
        lifecycle::wait(status, Reason::Queued, &message, now);
        return Ok(None);
    }
    let due = build::Due { run, adopt };
    match Box::pin(build::assignment(context, catalog, key, valid, due)).await {
        Ok(assignment) => {
            status.run = Some(run.clone());
            Ok(Some(assignment))
        }
        Err(why) => {
            // Others can use the place meanwhile.
            context.sessions.leave(key);
            lifecycle::wait(status, why.reason, &why.message, now);
            Err(why)
        }
    }
}

/// Whether the provider can be asked now.
fn usable(valid: &Valid, context: &Context) -> Result<(), Problem> {
    let Some(provider) = &valid.provider else {
        return Ok(());
    };
    let (reason, message) = match context.accounts.verdict(provider) {
        Verdict::Usable => return Ok(()),
        Verdict::Unknown { message } => (Reason::ProviderNotReady, format!("the {provider}: {message}")),
        Verdict::Missing => (
            Reason::ProviderMissing,
            format!("there is no {provider}: create it, or name another one"),
        ),
        Verdict::NotReady { reason, message } => (
            Reason::ProviderNotReady,
            format!("the {provider} is not ready ({}): {message}", reason.as_str()),
        ),
        Verdict::Closed { until, message } => (
            Reason::BudgetUsedUp,
            format!("the {provider} is closed until {until}: {message}"),
        ),
    };
    Err(Problem {
        reason,
        message,
        passes: true,
    })
}
