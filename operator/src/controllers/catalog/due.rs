//! What a Catalog needs next: a pure function of what is asked for, what the status says and what its session does.
//!
//! Must not know a client or a clock: the time is given. Every phase has a deadline here.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::reason::Reason;
use crate::api::catalog::{CatalogStatus, Phase, RunStatus};
use crate::sessions::Stop;

/// How often a run that is under way is looked at, for its status to follow.
pub(super) const FOLLOW: Duration = Duration::from_secs(15);

/// How often who waits for a turn is looked at, for its status to tell how many go before it.
pub(super) const QUEUED: Duration = Duration::from_mins(1);

/// How long a sandbox may take, beyond what the run itself waits for it.
const PROVISIONING: Duration = Duration::from_mins(20);

/// How much longer than its own limit a run may take until it is taken for hung: it ends by itself long before, unless
/// its store is away more than once, each time for as long as that is waited for.
const SLACK: Duration = Duration::from_mins(45);

/// What is asked for, as far as it decides when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    /// A hash of all that can change the result.
    pub fingerprint: String,
    /// A hash of what only matters after a failure.
    pub settings: String,
    /// The value of the annotation that asks for one more run.
    pub requested_at: Option<String>,
    /// Whether nothing shall run.
    pub suspend: bool,
    /// How long a run may take.
    pub timeout: Duration,
    /// How long the Catalog lives after its run.
    pub ttl: Option<Duration>,
}

/// What is seen of the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sight {
    /// There is none.
    Absent,
    /// It is under way.
    Running {
        /// For how long.
        elapsed: Duration,
        /// Whether it was told to stop already.
        stopping: bool,
    },
}

/// What to do.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Next {
    /// Nothing, until something changes.
    Rest,
    /// Nothing, for so long.
    Wait(Duration),
    /// The session goes on.
    Follow,
    /// The session has to stop.
    Stop(Stop),
    /// This run has to begin, or to be gone on with.
    Begin {
        /// As the status shall have it.
        run: Box<RunStatus>,
        /// Whether it was under way before.
        before: bool,
    },
    /// What the last good catalog is of is asked for again: it stands for that, and nothing is to be made.
    TakeBack,
    /// The Catalog has lived long enough.
    Expire,
}

/// Whether a run has not come to its end.
pub(super) fn is_under_way(run: &RunStatus) -> bool {
    !matches!(run.phase, Some(Phase::Succeeded | Phase::Failed))
}

/// What to do next.
pub(super) fn next(wanted: &Wanted, status: &CatalogStatus, sight: Sight, now: Timestamp) -> Next {
    let run = status.run.as_ref();
    let same = |run: &RunStatus| run.fingerprint.as_deref() == Some(&wanted.fingerprint);
    if let Sight::Running { elapsed, stopping } = sight {
        let replaced = !stopping && !wanted.suspend && run.is_some_and(|run| !same(run));
        return if replaced {
            Next::Stop(Stop::Replaced)
        } else {
            meanwhile((wanted.suspend, wanted.timeout), status, (elapsed, stopping), now)
        };
    }
    if wanted.suspend {
        return Next::Rest;
    }
    let Some(run) = run else {
        return begin(wanted, now);
    };
    let asked = wanted.requested_at.is_some() && wanted.requested_at != status.last_handled_reconcile_at;
    if !same(run) {
        return if is_made(wanted, status) && !asked {
            Next::TakeBack
        } else {
            begin(wanted, now)
        };
    }
    if is_under_way(run) {
        let wait = run.next_attempt_at.as_ref().map_or(Duration::ZERO, |at| {
            // Never longer than was meant: the clock may have been set back since.
            let meant = run.phase_since.as_ref().map(|since| until(at, since.0));
            until(at, now).min(meant.unwrap_or(Duration::MAX))
        });
        return if wait.is_zero() {
            go_on(run, wanted, now)
        } else {
            Next::Wait(wait)
        };
    }
    if asked {
        return begin(wanted, now);
    }
    let failed = run.phase == Some(Phase::Failed);
    if failed && is(run, Reason::Replaced) {
        // What replaced it was taken back.
        return go_on(run, wanted, now);
    }
    if failed && run.settings.as_deref() != Some(&wanted.settings) {
        let again = RunStatus {
            attempt: 1,
            started_at: Some(Time(now)),
            ..run.clone()
        };
        return go_on(&again, wanted, now);
    }
    expiry(wanted.ttl, status, now)
}

/// What becomes of a session that is under way for so long, and may have been told to stop, whatever is asked for now:
/// what that is may not be known for a while, and `suspend` and the run's `timeout` hold all the same.
pub(super) fn meanwhile(
    (suspend, timeout): (bool, Duration),
    status: &CatalogStatus,
    (elapsed, stopping): (Duration, bool),
    now: Timestamp,
) -> Next {
    match &status.run {
        _ if stopping => Next::Follow,
        _ if suspend => Next::Stop(Stop::Suspended),
        Some(run) if is_overdue(run, timeout, elapsed, now) => Next::Stop(Stop::Overdue),
        _ => Next::Follow,
    }
}

/// Whether the last good catalog is of what is asked for.
pub(super) fn is_made(wanted: &Wanted, status: &CatalogStatus) -> bool {
    let artifacts = status.artifacts.as_ref();
    artifacts.and_then(|it| it.fingerprint.as_ref()) == Some(&wanted.fingerprint)
}

/// When a Catalog goes whose run has ended, if it is to.
pub(super) fn expiry(ttl: Option<Duration>, status: &CatalogStatus, now: Timestamp) -> Next {
    let run = status.run.as_ref().filter(|run| !is_under_way(run));
    match (ttl, run.and_then(|run| run.finished_at.as_ref())) {
        (Some(ttl), Some(finished)) => {
            let end = Time(finished.0.saturating_add(ttl).unwrap_or(Timestamp::MAX));
            match until(&end, now) {
                Duration::ZERO => Next::Expire,
                left => Next::Wait(left),
            }
        }
        _ => Next::Rest,
    }
}

/// Whether a run's reason is this one.
pub(super) fn is(run: &RunStatus, reason: Reason) -> bool {
    run.reason.as_deref() == Some(reason.to_string().as_str())
}

/// The deadline of each phase: whoever is beyond it is taken for hung.
fn deadline(phase: Phase, timeout: Duration) -> Option<Duration> {
    match phase {
        // Looking through a bucket ends by itself, each of its calls does.
        Phase::Pending => Some(SLACK),
        Phase::Provisioning => Some(PROVISIONING),
        Phase::Cataloging | Phase::Summarizing => Some(timeout + SLACK),
        // Nothing runs that could hang.
        Phase::Succeeded | Phase::Failed | Phase::Suspended => None,
    }
}

fn is_overdue(run: &RunStatus, timeout: Duration, elapsed: Duration, now: Timestamp) -> bool {
    let Some(limit) = run.phase.and_then(|phase| deadline(phase, timeout)) else {
        return false;
    };
    // The session's own time too: a clock that jumps must not end a run.
    let since = run.phase_since.as_ref().map_or(Duration::ZERO, |since| {
        Duration::try_from(now.duration_since(since.0)).unwrap_or_default()
    });
    since.min(elapsed) > limit
}

/// A new run.
fn begin(wanted: &Wanted, now: Timestamp) -> Next {
    let run = RunStatus {
        attempt: 1,
        started_at: Some(Time(now)),
        ..RunStatus::default()
    };
    Next::Begin {
        run: Box::new(due(&run, wanted, now)),
        before: false,
    }
}

/// The same run, from where it is.
fn go_on(run: &RunStatus, wanted: &Wanted, now: Timestamp) -> Next {
    // Only a try that failed is spent: who was suspended, or lost its operator, has not failed.
    let spent = u32::from(is(run, Reason::BackingOff));
    let again = RunStatus {
        attempt: run.attempt.max(1) + spent,
        ..run.clone()
    };
    Next::Begin {
        run: Box::new(due(&again, wanted, now)),
        before: run.id.is_some(),
    }
}

fn due(run: &RunStatus, wanted: &Wanted, now: Timestamp) -> RunStatus {
    RunStatus {
        phase: Some(Phase::Pending),
        reason: Some(Reason::Preparing.to_string()),
        message: Some("about to begin".to_owned()),
        fingerprint: Some(wanted.fingerprint.clone()),
        settings: Some(wanted.settings.clone()),
        // The value that bought it stays: another one buys another run.
        requested_at: if run.fingerprint.is_some() {
            run.requested_at.clone()
        } else {
            wanted.requested_at.clone()
        },
        phase_since: Some(Time(now)),
        finished_at: None,
        next_attempt_at: None,
        sandbox: None,
        ..run.clone()
    }
}

/// How long until a moment; nothing if it is over.
pub(super) fn until(moment: &Time, now: Timestamp) -> Duration {
    Duration::try_from(moment.0.duration_since(now)).unwrap_or_default()
}

/// The wait after a failed try, as a Job has it: ten seconds, doubled, at most six minutes.
pub(super) fn backoff(attempt: u32) -> Duration {
    let doubled = 10_u64.saturating_mul(1 << attempt.saturating_sub(1).min(10));
    Duration::from_secs(doubled.min(360))
}

/// The wait for something that is missing: soon at first, and slower the longer it takes.
pub(super) fn patience(since: Option<&Time>, now: Timestamp) -> Duration {
    let waited = since.map_or(Duration::ZERO, |since| {
        Duration::try_from(now.duration_since(since.0)).unwrap_or_default()
    });
    (waited / 4).clamp(Duration::from_secs(3), Duration::from_mins(5))
}

#[cfg(test)]
mod tests;
