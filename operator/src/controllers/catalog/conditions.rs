//! The conditions of a Catalog: what holds, out of what its status says of the run.
//!
//! Pure. The phase follows from the run as well. Must not know who reads them, but that kstatus does: `Reconciling` and
//! `Stalled` are true only when something is wrong or not done, and `Ready` speaks of the last good catalog.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::due::{Wanted, is, is_made, is_under_way};
use super::lifecycle::Summary;
use super::reason::Reason;
use crate::api::catalog::{CatalogStatus, Phase, RunStatus};
use crate::controllers::whole_second;
use crate::llm::cut;

/// How much of a message a condition holds.
const MESSAGE: usize = 1000;

/// Why what is asked for can't be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    /// For machines.
    pub reason: Reason,
    /// What is wrong and what to do.
    pub message: String,
    /// Whether it may go away by itself, or by another object.
    pub passes: bool,
}

/// What the conditions follow from, besides the status.
#[derive(Debug, Clone)]
pub(super) struct Facts<'a> {
    /// What is asked for; none if that is not understood or refused.
    pub wanted: Option<&'a Wanted>,
    /// Whether nothing shall run.
    pub suspended: bool,
    /// Why nothing can run.
    pub problem: Option<&'a Problem>,
    /// What is in the way of the sandbox, while it is.
    pub obstacle: Option<&'a str>,
    /// What the summary came to, if a run has ended just now.
    pub summary: Option<&'a Summary>,
    /// The generation of the spec.
    pub generation: Option<i64>,
    /// The time.
    pub now: Timestamp,
}

/// The truth value of a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Truth {
    True,
    False,
    Unknown,
}

impl Truth {
    fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

struct Says {
    truth: Truth,
    reason: String,
    message: String,
}

fn says(truth: Truth, reason: Reason, message: impl Into<String>) -> Says {
    Says {
        truth,
        reason: reason.to_string(),
        message: message.into(),
    }
}

/// Brings the conditions and the phase of a status up to date.
pub(super) fn update(status: &mut CatalogStatus, facts: &Facts<'_>) {
    status.observed_generation = facts.generation;
    status.phase = Some(phase(status, facts));
    let told = [
        ("Ready", Some(ready(status, facts))),
        ("Reconciling", Some(reconciling(status, facts))),
        ("Stalled", Some(stalled(status, facts))),
        ("SandboxReady", Some(sandbox(status, facts))),
        ("CatalogPublished", Some(catalog(status))),
        ("SummaryPublished", summary(status, facts)),
    ];
    for (kind, says) in told {
        if let Some(says) = says {
            set(&mut status.conditions, kind, says, facts);
        }
    }
}

/// Sets a condition. The time of its last change stays while it is as true as before.
fn set(conditions: &mut Vec<Condition>, kind: &str, says: Says, facts: &Facts<'_>) {
    let at = conditions.iter().position(|it| it.type_ == kind);
    let since = at
        .map(|at| &conditions[at])
        .filter(|known| known.status == says.truth.as_str())
        .map(|known| known.last_transition_time.clone());
    let condition = Condition {
        type_: kind.to_owned(),
        status: says.truth.as_str().to_owned(),
        reason: says.reason,
        message: cut(&says.message, MESSAGE),
        observed_generation: facts.generation,
        last_transition_time: since.unwrap_or_else(|| Time(whole_second(facts.now))),
    };
    match at {
        Some(at) => conditions[at] = condition,
        None => conditions.push(condition),
    }
}

fn phase(status: &CatalogStatus, facts: &Facts<'_>) -> Phase {
    let run = status.run.as_ref();
    let stopped = run.is_none_or(|run| !is_under_way(run) || run.phase == Some(Phase::Suspended));
    if facts.suspended && stopped {
        return Phase::Suspended;
    }
    if let Some(problem) = facts.problem {
        return if problem.passes {
            Phase::Pending
        } else {
            Phase::Failed
        };
    }
    match run.and_then(|run| run.phase) {
        // Something else takes its place.
        Some(Phase::Failed) if run.is_some_and(|run| is(run, Reason::Replaced)) => Phase::Pending,
        Some(phase) => phase,
        None => Phase::Pending,
    }
}

/// Whether the last good catalog is of what is asked for now.
fn is_current(status: &CatalogStatus, facts: &Facts<'_>) -> bool {
    facts.wanted.is_some_and(|wanted| is_made(wanted, status))
}

/// The run that was given up, if it is of what is asked for now.
fn given_up<'a>(status: &'a CatalogStatus, facts: &Facts<'_>) -> Option<&'a RunStatus> {
    let run = status.run.as_ref()?;
    let wanted = facts.wanted?;
    let same = run.fingerprint.as_deref() == Some(&wanted.fingerprint)
        && run.settings.as_deref() == Some(&wanted.settings);
    (run.phase == Some(Phase::Failed) && same && !is(run, Reason::Replaced)).then_some(run)
}

fn reason(run: &RunStatus) -> String {
    run.reason.clone().unwrap_or_else(|| Reason::Pending.to_string())
}

fn message(run: &RunStatus) -> String {
    run.message.clone().unwrap_or_default()
}

/// Whether there is a good catalog, be it of before.
fn ready(status: &CatalogStatus, facts: &Facts<'_>) -> Says {
    let run = status.run.as_ref();
    if let Some(artifacts) = &status.artifacts {
        let of = format!(
            "the catalog of {} is at {}",
            artifacts.timestamp, artifacts.catalog
        );
        return match (run, facts.problem) {
            (Some(run), _) if run.phase == Some(Phase::Failed) && !is(run, Reason::Replaced) => says(
                Truth::True,
                Reason::LastRunFailed,
                format!("{of}; a later run failed ({}): {}", reason(run), message(run)),
            ),
            (_, Some(problem)) if !problem.passes => says(
                Truth::True,
                Reason::LastRunFailed,
                format!("{of}; no later run can begin: {}", problem.message),
            ),
            (_, Some(problem)) => {
                let waits = format!("{of}; a later run waits: {}", problem.message);
                says(Truth::True, Reason::Succeeded, waits)
            }
            (Some(run), None) if is(run, Reason::Adopted) => says(Truth::True, Reason::Adopted, of),
            (_, None) => says(Truth::True, Reason::Succeeded, of),
        };
    }
    if let Some(problem) = facts.problem {
        return says(Truth::False, problem.reason, &problem.message);
    }
    if facts.suspended {
        let message = "spec.suspend is true: nothing runs, and no catalog is there yet";
        return says(Truth::False, Reason::Suspended, message);
    }
    match run {
        Some(run) if run.phase == Some(Phase::Failed) => Says {
            truth: Truth::False,
            reason: reason(run),
            message: message(run),
        },
        Some(run) => Says {
            truth: Truth::Unknown,
            reason: reason(run),
            message: message(run),
        },
        None => says(Truth::Unknown, Reason::Pending, "no run has begun yet"),
    }
}

/// Whether a spec is not handled yet. A run that only repeats one is no reason.
fn reconciling(status: &CatalogStatus, facts: &Facts<'_>) -> Says {
    if let Some(problem) = facts.problem {
        // Of a spec that was done before, nothing is left to do.
        return if problem.passes && !is_current(status, facts) {
            says(Truth::True, problem.reason, &problem.message)
        } else {
            says(
                Truth::False,
                Reason::Handled,
                "nothing can be done with this spec",
            )
        };
    }
    if is_current(status, facts) {
        let message = "the last good catalog is of this spec";
        return says(Truth::False, Reason::Handled, message);
    }
    if let Some(run) = given_up(status, facts) {
        return says(
            Truth::False,
            Reason::Handled,
            format!("given up: {}", message(run)),
        );
    }
    if facts.suspended {
        return says(Truth::False, Reason::Suspended, "spec.suspend is true");
    }
    let run = status.run.as_ref();
    Says {
        truth: Truth::True,
        reason: run.map_or_else(|| Reason::Pending.to_string(), reason),
        message: run.map_or_else(|| "no run has begun yet".to_owned(), message),
    }
}

/// Whether nothing goes on without somebody's help.
fn stalled(status: &CatalogStatus, facts: &Facts<'_>) -> Says {
    if let Some(problem) = facts.problem.filter(|problem| !problem.passes) {
        return says(Truth::True, problem.reason, &problem.message);
    }
    match given_up(status, facts) {
        // A repeated run that failed leaves what it should have repeated.
        Some(run) if !is_current(status, facts) => Says {
            truth: Truth::True,
            reason: reason(run),
            message: message(run),
        },
        _ => says(Truth::False, Reason::NotStalled, ""),
    }
}

fn sandbox(status: &CatalogStatus, facts: &Facts<'_>) -> Says {
    let run = status.run.as_ref();
    match (run.and_then(|run| run.sandbox.as_ref()), facts.obstacle) {
        (_, Some(obstacle)) => says(Truth::False, Reason::SandboxBlocked, obstacle),
        (Some(name), None) => says(
            Truth::True,
            Reason::SandboxRunning,
            format!("the Pod {name} answers"),
        ),
        (None, None) if run.is_some_and(|run| run.phase == Some(Phase::Provisioning)) => {
            says(Truth::False, Reason::SandboxStarting, "the sandbox is being made")
        }
        (None, None) => says(Truth::False, Reason::NoSandbox, "no run needs one now"),
    }
}

fn catalog(status: &CatalogStatus) -> Says {
    match &status.artifacts {
        Some(artifacts) => says(Truth::True, Reason::Published, &artifacts.catalog),
        None => says(Truth::False, Reason::NotPublished, "no run has published one yet"),
    }
}

fn summary(status: &CatalogStatus, facts: &Facts<'_>) -> Option<Says> {
    match (facts.summary, &status.artifacts) {
        (Some(Summary::Failed(why)), _) => Some(says(Truth::False, Reason::SummaryFailed, why)),
        (_, Some(artifacts)) => match &artifacts.summary {
            Some(uri) => Some(says(Truth::True, Reason::Published, uri)),
            None => keep(status, "SummaryPublished"),
        },
        (_, None) => Some(says(
            Truth::False,
            Reason::NotPublished,
            "no run has published one yet",
        )),
    }
}

/// As it is, but for the generation.
fn keep(status: &CatalogStatus, kind: &str) -> Option<Says> {
    let known = status.conditions.iter().find(|it| it.type_ == kind)?;
    Some(Says {
        truth: match known.status.as_str() {
            "True" => Truth::True,
            "False" => Truth::False,
            _ => Truth::Unknown,
        },
        reason: known.reason.clone(),
        message: known.message.clone(),
    })
}

#[cfg(test)]
mod tests;
