//! Why a condition is as it is: a closed list, for machines.

use std::fmt;

/// The reasons of conditions, events and runs. Each is in `docs/conditions.md`, with what to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Reason {
    // All is well.
    Succeeded,
    Adopted,
    LastRunFailed,
    Handled,
    NotStalled,
    // Under way.
    Pending,
    Queued,
    Preparing,
    Provisioning,
    Cataloging,
    Summarizing,
    BackingOff,
    Suspended,
    // Waits for something.
    SecretMissing,
    SecretKeyMissing,
    SecretUnusable,
    SecretForbidden,
    DatabaseUrlInvalid,
    PromptsMissing,
    PromptsInvalid,
    ProviderMissing,
    ProviderNotReady,
    BudgetUsedUp,
    ClusterUnavailable,
    // Refused.
    Invalid,
    NotAllowed,
    NotConfigured,
    NotUnderstood,
    // Failed.
    SandboxFailed,
    DatabaseFailed,
    StorageFailed,
    ModelFailed,
    LimitReached,
    AgentFailed,
    Overtaken,
    Overdue,
    Replaced,
    // Of single conditions.
    SandboxRunning,
    SandboxStarting,
    SandboxBlocked,
    NoSandbox,
    Published,
    NotPublished,
    SummaryFailed,
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The names are the words that users know: renaming a variant is a change of the API.
        fmt::Debug::fmt(self, formatter)
    }
}
