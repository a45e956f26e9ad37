//! What can go wrong with a sandbox, and what to do then. The errors alone decide.

use std::time::Duration;

use thiserror::Error;

use super::CallId;
use super::protocol::seal::BootId;

/// What to do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Ask again, with the same id.
    Retry,
    /// Wait for (or end) what is in the way, then ask again with the same id.
    Wait,
    /// This sandbox is of no more use: make another one, and rebuild its state.
    Rebuild,
    /// Trying again can't help.
    Stop,
}

/// What went wrong with a sandbox.
#[derive(Debug, Clone, Error)]
#[non_exhaustive]
pub enum SandboxError {
    /// A later controller has taken over.
    #[error(
        "another controller (epoch {theirs}) has taken over the sandbox from this one (epoch {ours}): stop here, the other one goes on"
    )]
    Superseded {
        /// The epoch of this controller.
        ours: u64,
        /// The epoch of the other one.
        theirs: u64,
    },
    /// The sandbox is gone, and its session with it.
    #[error("the sandbox is lost: {0}; start another one and run again what is needed")]
    Lost(#[from] Loss),
    /// Another call runs.
    #[error("call {id} was not run because {} still runs: wait for it or interrupt it", other(*.running))]
    Busy {
        /// The call that was not run.
        id: CallId,
        /// The one that runs.
        running: Option<CallId>,
    },
    /// Too many answers wait.
    #[error(
        "call {id} was not run because too many answers wait in the sandbox: acknowledge those that are in the journal"
    )]
    Full {
        /// The call that was not run.
        id: CallId,
    },
    /// The id was used before, and its answer is gone.
    #[error(
        "call {id} was run before and its answer was acknowledged or has been overtaken: start another sandbox"
    )]
    Forgotten {
        /// The call.
        id: CallId,
    },
    /// The id was used for something else.
    #[error("call {id} was something else before: ids must never be used twice")]
    Conflict {
        /// The call.
        id: CallId,
    },
    /// The call can't be right.
    #[error("the call is not valid: {message}")]
    Invalid {
        /// What is wrong with it.
        message: String,
    },
    /// The daemon does not take our proof.
    #[error(
        "the sandbox does not accept this controller's key: it was made by another installation, or the installation's secret has changed; delete it and start another one"
    )]
    ProofRefused,
    /// Nobody has claimed the daemon, and this controller must not.
    #[error("the sandbox has no key yet, so nothing of this run can have happened in it; start another one")]
    NotClaimed,
    /// Daemon and controller don't understand one another.
    #[error("the sandbox does not speak as expected: {message}; use the sandbox image of the same release")]
    Protocol {
        /// What was not understood.
        message: String,
    },
    /// No answer, though the stream is alive.
    #[error("no answer to {what} within {} s of connection", after.as_secs())]
    Timeout {
        /// What was asked.
        what: String,
        /// How long this controller waited, not counting the time without a connection.
        after: Duration,
    },
    /// The sandbox could not be made.
    #[error("the sandbox could not be started: {message}")]
    Setup {
        /// What failed and what to do about it.
        message: String,
    },
    /// The Pod did not start.
    #[error("the sandbox's Pod did not start: {0}")]
    NotStarted(#[from] NotStarted),
    /// A sandbox would not reach the database.
    #[error("{message}")]
    NoWay {
        /// What is in the way, and what to do.
        message: String,
        /// Whether it may go away by itself.
        passes: bool,
    },
    /// The sandbox has ended, but not all that belonged to it.
    #[error("the sandbox was closed, but something of it stays: {message}")]
    Leftovers {
        /// What stays.
        message: String,
    },
    /// This sandbox was closed.
    #[error("the sandbox was closed")]
    Closed,
}

fn other(running: Option<CallId>) -> String {
    running.map_or_else(|| "another call".to_owned(), |id| format!("call {id}"))
}

impl SandboxError {
    /// What to do about it.
    pub fn class(&self) -> Class {
        match self {
            Self::Timeout { .. } | Self::NoWay { passes: true, .. } => Class::Retry,
            Self::Busy { .. } | Self::Full { .. } => Class::Wait,
            Self::NotStarted(why) => why.obstacle.class(),
            Self::Lost(_) | Self::Forgotten { .. } | Self::ProofRefused | Self::NotClaimed => Class::Rebuild,
            Self::Superseded { .. }
            | Self::Conflict { .. }
            | Self::Invalid { .. }
            | Self::Protocol { .. }
            | Self::Setup { .. }
            | Self::NoWay { .. }
            | Self::Leftovers { .. }
            | Self::Closed => Class::Stop,
        }
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::Invalid {
            message: message.into(),
        }
    }

    pub(crate) fn protocol(message: impl Into<String>) -> Self {
        Self::Protocol {
            message: message.into(),
        }
    }
}

/// Why a Pod did not start.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{message}; {}", obstacle.advice())]
pub struct NotStarted {
    /// What was in its way.
    pub obstacle: Obstacle,
    /// What the cluster said of it.
    pub message: String,
}

/// What can be in the way of a Pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Obstacle {
    /// No node takes it.
    Unschedulable,
    /// Its image is not there.
    ImageMissing,
    /// The registry does not give its image to this cluster.
    ImageDenied,
    /// Its image could not be had, for another reason.
    ImageUnavailable,
    /// What it is made of can't be had on the node: a volume, a runtime class, a network.
    Unmountable,
    /// Its container ends as soon as it has started.
    Crashing,
    /// The namespace has no room for it.
    Quota,
    /// The API server, or what it asks, does not want it.
    Refused,
    /// The operator may not do what is needed.
    Forbidden,
    /// Another's object has its name.
    Occupied,
    /// It disappeared.
    Gone,
    /// Nothing is known but that it took too long.
    Slow,
    /// The API server does not answer.
    Unreachable,
}

impl Obstacle {
    /// Its name, for conditions and metrics: a word of a closed list.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unschedulable => "Unschedulable",
            Self::ImageMissing => "ImageMissing",
            Self::ImageDenied => "ImageDenied",
            Self::ImageUnavailable => "ImageUnavailable",
            Self::Unmountable => "Unmountable",
            Self::Crashing => "Crashing",
            Self::Quota => "Quota",
            Self::Refused => "Refused",
            Self::Forbidden => "Forbidden",
            Self::Occupied => "Occupied",
            Self::Gone => "Gone",
            Self::Slow => "Slow",
            Self::Unreachable => "Unreachable",
        }
    }

    fn advice(self) -> &'static str {
        match self {
            Self::Unschedulable => {
                "look at the nodes' free room, and at the sandbox's requests, node selector and tolerations"
            }
            Self::ImageMissing => "look at the image's name and tag, and whether it was pushed",
            Self::ImageDenied => "give the sandboxes' namespace a pull secret, and name it for them",
            Self::ImageUnavailable => "look at whether the nodes reach the registry",
            Self::Unmountable => "look at the volumes and the runtime class that the sandbox asks for",
            Self::Crashing => "use the sandbox image of this release",
            Self::Quota => "raise the quota of the sandboxes' namespace, or let fewer runs go on at once",
            Self::Refused => "ask whoever keeps the cluster's admission policies",
            Self::Forbidden => "give the operator the role that it is installed with",
            Self::Occupied => "delete that object, or let the operator have a namespace for its sandboxes",
            Self::Gone => "another try gets another Pod",
            Self::Slow => "look at the Pod's events, and at the node",
            Self::Unreachable => "look at the API server",
        }
    }

    fn class(self) -> Class {
        match self {
            Self::Unschedulable | Self::Quota | Self::Unreachable => Class::Wait,
            Self::Gone | Self::Slow | Self::ImageUnavailable | Self::Unmountable => Class::Rebuild,
            Self::ImageMissing
            | Self::ImageDenied
            | Self::Crashing
            | Self::Refused
            | Self::Forbidden
            | Self::Occupied => Class::Stop,
        }
    }
}

/// How a sandbox was lost.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Loss {
    /// Its process, or its Pod, is gone.
    #[error("its process is gone ({message})")]
    Gone {
        /// How it ended.
        message: String,
    },
    /// The daemon has started anew.
    #[error("it has restarted (it was {expected}, and is {found})")]
    Restarted {
        /// Which daemon there was.
        expected: BootId,
        /// Which one there is.
        found: BootId,
    },
    /// It can't be reached.
    #[error("it could not be reached for {} s ({message})", after.as_secs())]
    Unreachable {
        /// For how long.
        after: Duration,
        /// What the last try said.
        message: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_say_what_to_do() {
        let busy = SandboxError::Busy {
            id: CallId(4),
            running: Some(CallId(3)),
        };
        assert_eq!(
            busy.to_string(),
            "call 4 was not run because call 3 still runs: wait for it or interrupt it"
        );
        assert_eq!(busy.class(), Class::Wait);
        let lost = SandboxError::from(Loss::Unreachable {
            after: Duration::from_mins(1),
            message: "no route".into(),
        });
        assert_eq!(
            lost.to_string(),
            "the sandbox is lost: it could not be reached for 60 s (no route); start another one and run again what is needed"
        );
        assert_eq!(lost.class(), Class::Rebuild);
    }
}
