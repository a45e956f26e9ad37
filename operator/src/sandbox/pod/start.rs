//! Whether a Pod has started, and what is in its way: read off its status, a pure function.
//!
//! Must not know how a status is had, nor how long to wait.

use k8s_openapi::api::core::v1::{
    ContainerStateTerminated, ContainerStateWaiting, ContainerStatus, Event, Pod,
};

use super::manifest::CONTAINER;
use crate::sandbox::{NotStarted, Obstacle};

/// How far a Pod is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Progress {
    /// It may still start; what is in its way now, if that is known.
    Waiting(Option<NotStarted>),
    /// Its container runs.
    Running,
    /// It will never start.
    Failed(NotStarted),
}

fn because(obstacle: Obstacle, message: impl Into<String>) -> NotStarted {
    NotStarted {
        obstacle,
        message: message.into(),
    }
}

/// How far the Pod with this UID is, when this is what the API server has under its name.
pub(super) fn judge(pod: Option<&Pod>, uid: &str) -> Progress {
    let Some(pod) = pod.filter(|pod| pod.metadata.uid.as_deref() == Some(uid)) else {
        return Progress::Failed(because(Obstacle::Gone, "it was deleted"));
    };
    if let Some(how) = ended(pod) {
        let crashed = container(pod).is_some_and(|it| terminated(it).is_some()) && disruption(pod).is_none();
        let obstacle = if crashed {
            Obstacle::Crashing
        } else {
            Obstacle::Gone
        };
        return Progress::Failed(because(obstacle, how));
    }
    if pod.metadata.deletion_timestamp.is_some() {
        return Progress::Failed(because(Obstacle::Gone, "it is being deleted"));
    }
    if let Some(status) = container(pod) {
        if let Some(waiting) = status.state.as_ref().and_then(|state| state.waiting.as_ref()) {
            return held_up(status, waiting);
        }
        if status.state.as_ref().is_some_and(|state| state.running.is_some()) {
            return Progress::Running;
        }
    }
    Progress::Waiting(unscheduled(pod))
}

/// How a Pod has ended, if it has.
pub(super) fn ended(pod: &Pod) -> Option<String> {
    let status = pod.status.as_ref()?;
    let over = matches!(status.phase.as_deref(), Some("Failed" | "Succeeded"));
    // Ours is never started again; somebody's admission may have changed that.
    let final_end = pod.spec.as_ref().and_then(|it| it.restart_policy.as_deref()) == Some("Never");
    let terminated = container(pod).and_then(terminated).filter(|_| over || final_end);
    if !over && terminated.is_none() {
        return None;
    }
    let why = disruption(pod).or_else(|| sentence(status.reason.as_deref(), status.message.as_deref()));
    let how = terminated.map(exit);
    Some(match (why, how) {
        (Some(why), Some(how)) => format!("its Pod was ended: {why}; {how}"),
        (Some(why), None) => format!("its Pod was ended: {why}"),
        (None, Some(how)) => how,
        (None, None) => "its Pod has ended".to_owned(),
    })
}

/// Why a Pod is about to end, or has ended, if it is or has.
pub(super) fn leaving(pod: &Pod) -> Option<String> {
    let disrupted = || disruption(pod).map(|why| format!("its Pod was ended: {why}"));
    let deleted = || {
        pod.metadata
            .deletion_timestamp
            .as_ref()
            .map(|_| "its Pod was deleted".to_owned())
    };
    ended(pod).or_else(disrupted).or_else(deleted)
}

fn container(pod: &Pod) -> Option<&ContainerStatus> {
    let statuses = pod.status.as_ref()?.container_statuses.as_ref()?;
    statuses.iter().find(|status| status.name == CONTAINER)
}

fn terminated(status: &ContainerStatus) -> Option<&ContainerStateTerminated> {
    status.state.as_ref()?.terminated.as_ref()
}

/// Why the cluster has ended a Pod, if it has: a drained node, a more important Pod, a taint.
fn disruption(pod: &Pod) -> Option<String> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let condition = conditions
        .iter()
        .find(|it| it.type_ == "DisruptionTarget" && it.status == "True")?;
    sentence(condition.reason.as_deref(), condition.message.as_deref())
}

fn sentence(reason: Option<&str>, message: Option<&str>) -> Option<String> {
    match (given(reason), given(message)) {
        (Some(reason), Some(message)) => Some(format!("{reason}: {message}")),
        (one, other) => one.or(other).map(str::to_owned),
    }
}

fn given(text: Option<&str>) -> Option<&str> {
    text.map(str::trim).filter(|text| !text.is_empty())
}

fn exit(terminated: &ContainerStateTerminated) -> String {
    let code = terminated.exit_code;
    // Out of memory kills what uses most, so a later end may carry the reason: it is shown, and nothing follows
    // from it.
    let reason = given(terminated.reason.as_deref()).unwrap_or("Error");
    let how = format!("its container ended ({reason}, exit code {code})");
    match given(terminated.message.as_deref()) {
        Some(message) => format!("{how}, and said: {}", tail(message)),
        None => how,
    }
}

/// The end of what a container said; its begin is the less telling.
fn tail(message: &str) -> &str {
    const MOST: usize = 400;
    let from = message.len().saturating_sub(MOST);
    let from = (from..=message.len()).find(|at| message.is_char_boundary(*at));
    message[from.unwrap_or(message.len())..].trim()
}

fn held_up(status: &ContainerStatus, waiting: &ContainerStateWaiting) -> Progress {
    let reason = waiting.reason.as_deref().unwrap_or_default();
    let said = sentence(Some(reason), waiting.message.as_deref()).unwrap_or_default();
    match reason {
        "InvalidImageName" | "ErrImageNeverPull" => Progress::Failed(because(Obstacle::ImageMissing, said)),
        "ErrImagePull" | "ImagePullBackOff" | "ImageInspectError" | "RegistryUnavailable" => {
            Progress::Waiting(Some(because(image(&said), said)))
        }
        "CrashLoopBackOff" => {
            let last = status
                .last_state
                .as_ref()
                .and_then(|state| state.terminated.as_ref());
            let how = last.map_or(said, exit);
            Progress::Failed(because(Obstacle::Crashing, how))
        }
        // The entry point is not there, say. The kubelet tries again, in vain.
        "RunContainerError" | "CreateContainerError" | "CreateContainerConfigError" | "StartError" => {
            Progress::Waiting(Some(because(Obstacle::Unmountable, said)))
        }
        _ => Progress::Waiting(None),
    }
}

/// What a failed pull means, by the words of containerd, CRI-O and the registries.
fn image(said: &str) -> Obstacle {
    const DENIED: [&str; 8] = [
        "unauthorized",
        "authorization failed",
        "authentication required",
        "access denied",
        "access to the resource is denied",
        "forbidden",
        "insufficient_scope",
        "no basic auth credentials",
    ];
    const MISSING: [&str; 4] = ["not found", "manifest unknown", "no such image", "name unknown"];
    let said = said.to_lowercase();
    // A registry that wants nobody to know what it has says both: denied is what can be done about.
    if DENIED.iter().any(|words| said.contains(words)) {
        Obstacle::ImageDenied
    } else if MISSING.iter().any(|words| said.contains(words)) {
        Obstacle::ImageMissing
    } else {
        Obstacle::ImageUnavailable
    }
}

fn unscheduled(pod: &Pod) -> Option<NotStarted> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let scheduled = conditions.iter().find(|it| it.type_ == "PodScheduled")?;
    (scheduled.status == "False").then(|| {
        let why = scheduled.message.as_deref().unwrap_or("no node takes it");
        because(Obstacle::Unschedulable, why)
    })
}

/// What is in the way of a Pod by its events, of which the status says nothing: volumes, networks, runtimes. That no node
/// takes it the status says, and no more once one does.
pub(super) fn warned(events: &[Event]) -> Option<NotStarted> {
    let warnings = events
        .iter()
        .filter(|event| event.type_.as_deref() == Some("Warning"))
        .filter(|event| event.reason.as_deref() != Some("FailedScheduling"));
    let time = |event: &&Event| {
        let series = event.series.as_ref().and_then(|it| it.last_observed_time.clone());
        let seen = event.last_timestamp.clone().map(|it| it.0);
        let micro = series.or_else(|| event.event_time.clone()).map(|it| it.0);
        seen.max(micro)
    };
    let newest = warnings.max_by_key(time)?;
    let said = sentence(newest.reason.as_deref(), newest.message.as_deref())?;
    let obstacle = match newest.reason.as_deref()? {
        "FailedMount"
        | "FailedAttachVolume"
        | "FailedMapVolume"
        | "FailedCreatePodSandBox"
        | "NetworkNotReady"
        | "FailedCreatePodContainer" => Obstacle::Unmountable,
        _ => return None,
    };
    Some(because(obstacle, said))
}

#[cfg(test)]
mod tests;
