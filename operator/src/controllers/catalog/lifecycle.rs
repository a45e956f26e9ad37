//! What becomes of the status when a session moves on or ends: pure functions from one status to the next.
//!
//! Must not know why a run was due, nor who writes the status.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::due::{backoff, is, is_under_way};
use super::reason::Reason;
use crate::agent::budget::Spent;
use crate::api::catalog::{Artifacts, CatalogStatus, PastRun, Phase, RunStatus, UsageStatus};
use crate::llm::cut;
use crate::run::{GoodRun, Kind, Outcome, Remedy};
use crate::runtime::metrics::labels::RunOutcome;
use crate::sessions::{Ended, Progress, Stage, Stop, Trouble};

/// How many runs a status remembers.
const HISTORY: usize = 10;
/// How much of a message a status holds.
const MESSAGE: usize = 1000;
/// How long until a store that is away is asked again. It is the bucket of many Catalogs, or of one.
const STORE_AGAIN: Duration = Duration::from_secs(30);

/// Why a run ended that nobody wants any more.
const REPLACED: &str = "something else is asked for now";

/// What the summary came to, for its condition: said once, when a run has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Summary {
    /// It is there.
    Published,
    /// It is not, because of this.
    Failed(String),
}

/// What a run is at, as its session says.
pub(super) fn follow(status: &mut CatalogStatus, progress: &Progress, now: Timestamp) {
    let Some(run) = &mut status.run else { return };
    let (phase, reason) = match progress.stage {
        Stage::Preparing => (Phase::Pending, Reason::Preparing),
        Stage::Provisioning => (Phase::Provisioning, Reason::Provisioning),
        Stage::Cataloging => (Phase::Cataloging, Reason::Cataloging),
        Stage::Summarizing => (Phase::Summarizing, Reason::Summarizing),
    };
    enter(run, phase, reason, now);
    run.id = progress.run.map(|run| run.to_string()).or(run.id.take());
    run.agent = progress.agent.map(|role| role.id().to_owned());
    run.model = Some(progress.model.clone()).filter(|model| !model.is_empty());
    run.iteration = progress.turn;
    run.usage = Some(usage(&progress.spent));
    run.sandbox.clone_from(&progress.sandbox);
    let waits = [&progress.obstacle, &progress.store_away, &progress.unasked];
    let message = waits
        .into_iter()
        .find_map(Option::as_ref)
        .unwrap_or(&progress.message);
    // As long as it runs: what is said of each moment is soon something else.
    let message = match &progress.anew {
        Some(why) => format!("{message}; {why}"),
        None => message.clone(),
    };
    run.message = Some(cut(&message, MESSAGE));
}

/// The run waits, or is told why it can't go on.
pub(super) fn wait(status: &mut CatalogStatus, reason: Reason, message: &str, now: Timestamp) {
    if let Some(run) = status.run.as_mut().filter(|run| is_under_way(run)) {
        count_spent(run, reason);
        enter(run, Phase::Pending, reason, now);
        run.message = Some(cut(message, MESSAGE));
        run.sandbox = None;
    }
}

/// Nothing runs, and nothing shall.
pub(super) fn suspend(status: &mut CatalogStatus, now: Timestamp) {
    if let Some(run) = status.run.as_mut().filter(|run| is_under_way(run)) {
        count_spent(run, Reason::Suspended);
        enter(run, Phase::Suspended, Reason::Suspended, now);
        run.message = Some("suspended; it goes on where it was".to_owned());
        run.sandbox = None;
    }
}

/// A try that failed stays spent when something else than the next one is waited for: nothing says so afterwards.
fn count_spent(run: &mut RunStatus, next: Reason) {
    if next != Reason::BackingOff && is(run, Reason::BackingOff) {
        run.attempt += 1;
    }
}

/// What the last good catalog is of is asked for again: its run is the one that the status tells of.
pub(super) fn take_back(status: &mut CatalogStatus, settings: &str, now: Timestamp) {
    if status.run.as_ref().is_some_and(is_under_way) {
        finish(status, Phase::Failed, Reason::Replaced, REPLACED, now);
    }
    let Some(artifacts) = &status.artifacts else {
        return;
    };
    let id = Some(artifacts.timestamp.clone());
    let past = status.history.iter().find(|past| past.id == id);
    status.run = Some(RunStatus {
        phase: Some(Phase::Succeeded),
        reason: Some(Reason::Adopted.to_string()),
        message: Some("what the last good catalog is of is asked for again: it stands for it".to_owned()),
        attempt: past.map_or(1, |past| past.attempts),
        fingerprint: artifacts.fingerprint.clone(),
        settings: Some(settings.to_owned()),
        started_at: past.and_then(|past| past.started_at.clone()),
        finished_at: past.map_or(Some(Time(now)), |past| past.finished_at.clone()),
        phase_since: Some(Time(now)),
        usage: past.and_then(|past| past.usage.clone()),
        id,
        ..RunStatus::default()
    });
}

fn enter(run: &mut RunStatus, phase: Phase, reason: Reason, now: Timestamp) {
    let reason = reason.to_string();
    if run.phase != Some(phase) || run.reason.as_deref() != Some(&reason) {
        run.phase = Some(phase);
        run.reason = Some(reason);
        run.phase_since = Some(Time(now));
    }
}

/// A session has ended. What the summary came to, if that is known now.
pub(super) fn end(
    status: &mut CatalogStatus,
    (ended, progress, stopped): (&Ended, &Progress, Option<Stop>),
    backoff_limit: u32,
    now: Timestamp,
) -> Option<Summary> {
    if status.run.is_some() {
        // What it had used and published by then.
        follow(status, progress, now);
    }
    let run = status.run.get_or_insert_default();
    run.sandbox = None;
    run.agent = None;
    match ended {
        Ended::Succeeded(outcome) => Some(succeeded(status, outcome, now)),
        Ended::Adopted(good) => Some(adopted(status, good, now)),
        Ended::Failed(trouble) => {
            failed(status, reason_of(trouble.kind), trouble, backoff_limit, now);
            None
        }
        Ended::Stopped => {
            match stopped {
                Some(Stop::Suspended) => suspend(status, now),
                Some(Stop::Replaced | Stop::Deleted) => {
                    finish(status, Phase::Failed, Reason::Replaced, REPLACED, now);
                }
                Some(Stop::Overdue) => failed(status, Reason::Overdue, &overdue(), backoff_limit, now),
                None => wait(status, Reason::Pending, "it was interrupted, and goes on", now),
            }
            None
        }
        // Whoever leads next goes on from what the status says.
        Ended::HandedOver => None,
    }
}

fn overdue() -> Trouble {
    Trouble {
        kind: Kind::Sandbox,
        message: "the run was at the same step for longer than its limits allow, and did not end by itself"
            .to_owned(),
        remedy: Remedy::Retry,
        not_before: None,
        resumable: true,
    }
}

/// How a session has ended, as it is counted, by what the status says of its run since.
pub(super) fn counted(ended: &Ended, stopped: Option<Stop>, status: &CatalogStatus) -> RunOutcome {
    match (ended, stopped) {
        (Ended::Succeeded(_), _) => RunOutcome::Succeeded,
        (Ended::Adopted(_), _) => RunOutcome::Adopted,
        (Ended::HandedOver, _) => RunOutcome::HandedOver,
        (Ended::Stopped, Some(Stop::Suspended)) => RunOutcome::Suspended,
        (Ended::Stopped, Some(Stop::Replaced)) => RunOutcome::Replaced,
        (Ended::Stopped, Some(Stop::Deleted)) => RunOutcome::Deleted,
        (Ended::Failed(_) | Ended::Stopped, _) => match &status.run {
            Some(run) if is_under_way(run) => RunOutcome::Retried,
            _ => RunOutcome::Failed,
        },
    }
}

fn succeeded(status: &mut CatalogStatus, outcome: &Outcome, now: Timestamp) -> Summary {
    let uri = |name: &str| uri(&outcome.objects, name);
    let fingerprint = status.run.as_ref().and_then(|run| run.fingerprint.clone());
    status.artifacts = artifacts(&outcome.run.to_string(), fingerprint, &uri);
    let summary = outcome
        .summary_failure
        .as_ref()
        .map_or(Summary::Published, |why| Summary::Failed(why.clone()));
    if let Some(run) = &mut status.run {
        run.id = Some(outcome.run.to_string());
        run.iteration = outcome.spent.turns;
        run.usage = Some(usage(&outcome.spent));
    }
    let message = match &summary {
        Summary::Published => "catalog and summary are published".to_owned(),
        Summary::Failed(why) => format!("the catalog is published; there is no summary: {why}"),
    };
    finish(status, Phase::Succeeded, Reason::Succeeded, &message, now);
    summary
}

fn adopted(status: &mut CatalogStatus, good: &GoodRun, now: Timestamp) -> Summary {
    let uri = |name: &str| uri(&good.objects, name);
    let id = good.run.to_string();
    let fingerprint = status.run.as_ref().and_then(|run| run.fingerprint.clone());
    status.artifacts = artifacts(&id, fingerprint, &uri);
    if let Some(run) = &mut status.run {
        run.id = Some(id);
        run.usage = None;
    }
    let message = "a run of the same Catalog, for the same, was found under its prefix and stands for it";
    finish(status, Phase::Succeeded, Reason::Adopted, message, now);
    if uri("recent_summary.html").is_some() {
        Summary::Published
    } else {
        Summary::Failed("the run that was found has none; its run.json says why".to_owned())
    }
}

fn uri(objects: &[(String, String)], name: &str) -> Option<String> {
    let found = objects.iter().find(|(known, _)| known == name);
    found.map(|(_, uri)| uri.clone())
}

fn artifacts(
    run: &str,
    fingerprint: Option<String>,
    uri: &dyn Fn(&str) -> Option<String>,
) -> Option<Artifacts> {
    Some(Artifacts {
        timestamp: run.to_owned(),
        fingerprint,
        catalog: uri("catalog.html")?,
        summary: uri("recent_summary.html"),
        catalog_script: uri("catalog_script.py"),
        summary_script: uri("summary_script.py"),
        run: uri("run.json"),
    })
}

fn failed(status: &mut CatalogStatus, reason: Reason, trouble: &Trouble, backoff_limit: u32, now: Timestamp) {
    let Some(run) = &mut status.run else { return };
    if !trouble.resumable {
        run.id = None;
    }
    let attempt = run.attempt.max(1);
    match trouble.remedy {
        // No try is spent on what the run stands on: it could not even begin, or has waited for as long as it could.
        Remedy::Retry if trouble.kind == Kind::Store && trouble.resumable => {
            enter(run, Phase::Pending, reason, now);
            let seconds = STORE_AGAIN.as_secs();
            let message = format!("it is tried again in {seconds} s: {}", trouble.message);
            run.message = Some(cut(&message, MESSAGE));
            run.next_attempt_at = now.checked_add(STORE_AGAIN).ok().map(Time);
        }
        // Nor on a budget: whoever begins again asks whether it is open.
        Remedy::Retry if trouble.not_before.is_some() => {
            enter(run, Phase::Pending, Reason::BudgetUsedUp, now);
            run.message = Some(cut(&trouble.message, MESSAGE));
            run.next_attempt_at = now.checked_add(backoff(1)).ok().map(Time);
        }
        Remedy::Retry if attempt <= backoff_limit => {
            let pause = backoff(attempt);
            enter(run, Phase::Pending, Reason::BackingOff, now);
            let message = format!(
                "try {attempt} of {} failed and is made again in {} s: {}",
                backoff_limit + 1,
                pause.as_secs(),
                trouble.message
            );
            run.message = Some(cut(&message, MESSAGE));
            run.next_attempt_at = now.checked_add(pause).ok().map(Time);
        }
        // Nothing has failed: somebody else drives it, or did until now.
        Remedy::Nothing => {
            enter(run, Phase::Pending, reason, now);
            run.message = Some(cut(&trouble.message, MESSAGE));
            run.next_attempt_at = now.checked_add(backoff(1)).ok().map(Time);
        }
        Remedy::Retry | Remedy::Change => finish(status, Phase::Failed, reason, &trouble.message, now),
    }
}

/// The reason of a condition for a kind of trouble.
fn reason_of(kind: Kind) -> Reason {
    match kind {
        Kind::Input => Reason::Invalid,
        Kind::Sandbox => Reason::SandboxFailed,
        Kind::Database => Reason::DatabaseFailed,
        Kind::Store => Reason::StorageFailed,
        Kind::Model => Reason::ModelFailed,
        Kind::Budget => Reason::LimitReached,
        Kind::Agent => Reason::AgentFailed,
        Kind::Overtaken => Reason::Overtaken,
        Kind::Interrupted => Reason::Pending,
    }
}

/// The run has come to an end: it goes into the history, and what asked for it is handled.
fn finish(status: &mut CatalogStatus, phase: Phase, reason: Reason, message: &str, now: Timestamp) {
    let Some(run) = &mut status.run else { return };
    enter(run, phase, reason, now);
    run.message = Some(cut(message, MESSAGE));
    run.finished_at = Some(Time(now));
    run.next_attempt_at = None;
    if reason != Reason::Replaced && run.requested_at.is_some() {
        status.last_handled_reconcile_at.clone_from(&run.requested_at);
    }
    let page = status
        .artifacts
        .as_ref()
        .filter(|artifacts| phase == Phase::Succeeded && Some(&artifacts.timestamp) == run.id.as_ref());
    let past = PastRun {
        id: run.id.clone(),
        phase,
        started_at: run.started_at.clone(),
        finished_at: run.finished_at.clone(),
        reason: run.reason.clone(),
        message: run.message.clone(),
        attempts: run.attempt,
        usage: run.usage.clone(),
        catalog: page.map(|artifacts| artifacts.catalog.clone()),
    };
    // A run that was tried once more after its end is one run.
    status
        .history
        .retain(|known| known.id.is_none() || known.id != past.id);
    status.history.insert(0, past);
    status.history.truncate(HISTORY);
}

/// What was used, as a status shows it.
fn usage(spent: &Spent) -> UsageStatus {
    UsageStatus {
        tokens: spent.usage.budget_tokens(),
        input: spent.usage.input,
        cache_write: spent.usage.cache_write,
        cache_read: spent.usage.cache_read,
        output: spent.usage.output,
        cost: spent.cost.map(crate::llm::prices::Cost::dollars),
    }
}

#[cfg(test)]
mod tests;
