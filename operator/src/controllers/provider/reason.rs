//! How a provider stands: the reasons of its conditions, a closed list, with what each of them means.

use std::fmt;

/// Why a provider can be used, or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// It can be used.
    Ready,
    /// Nobody has looked yet.
    Checking,
    /// The spec says something that this operator can't make sense of.
    NotUnderstood,
    /// The operator's configuration does not allow its base URL.
    NotAllowed,
    /// There is a budget, and a model of no known price.
    PriceUnknown,
    /// There is no such Secret.
    SecretMissing,
    /// The operator may not read the Secret.
    SecretForbidden,
    /// The Secret lacks the key, or none is named where one is needed.
    KeyMissing,
    /// What is there is no key: it is empty, or no text.
    KeyEmpty,
    /// The provider does not take the key.
    KeyRefused,
    /// The provider, or the API server that has its key, does not answer.
    Unreachable,
    /// The budget is used up.
    BudgetUsedUp,
}

impl Reason {
    /// The status of the condition `Ready`.
    pub fn ready(self) -> &'static str {
        match self {
            Self::Ready => "True",
            Self::Checking | Self::Unreachable => "Unknown",
            _ => "False",
        }
    }

    /// Whether nothing but a change by a person can help.
    pub fn is_stalled(self) -> bool {
        matches!(
            self,
            Self::NotUnderstood | Self::NotAllowed | Self::PriceUnknown | Self::KeyEmpty | Self::KeyRefused
        )
    }

    /// Whether something is waited for that may come by itself.
    pub fn waits(self) -> bool {
        matches!(
            self,
            Self::Checking
                | Self::SecretMissing
                | Self::SecretForbidden
                | Self::KeyMissing
                | Self::Unreachable
        )
    }

    /// As it stands in a condition.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "Ready",
            Self::Checking => "Checking",
            Self::NotUnderstood => "NotUnderstood",
            Self::NotAllowed => "NotAllowed",
            Self::PriceUnknown => "PriceUnknown",
            Self::SecretMissing => "SecretMissing",
            Self::SecretForbidden => "SecretForbidden",
            Self::KeyMissing => "KeyMissing",
            Self::KeyEmpty => "KeyEmpty",
            Self::KeyRefused => "KeyRefused",
            Self::Unreachable => "Unreachable",
            Self::BudgetUsedUp => "BudgetUsedUp",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// How a provider stands, whatever is left of its budget.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) reason: Reason,
    pub(super) message: String,
}

impl Standing {
    pub(super) fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
        }
    }
}
