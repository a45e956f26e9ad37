//! How a schedule stands: the reasons of its conditions, a closed list.

/// Why a schedule is followed, or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Reason {
    /// It is followed.
    Scheduled,
    /// Its author has suspended it.
    Suspended,
    /// Its time has come, and an earlier Catalog has not ended.
    AlreadyActive,
    /// The text is no schedule.
    InvalidSchedule,
    /// There is no such zone.
    UnknownTimeZone,
    /// No day is such a day.
    NeverDue,
    /// The API server refuses a Catalog as the template says it.
    TemplateRefused,
    /// Somebody else's Catalog has the name.
    NameTaken,
    /// A Catalog could not be made just now.
    CreateFailed,
    /// Another release wrote it, with fields that this one does not know.
    NotUnderstood,
}

impl Reason {
    /// Those of a Catalog that could not be made.
    pub(super) const REFUSALS: [Self; 3] = [Self::TemplateRefused, Self::NameTaken, Self::CreateFailed];

    /// The status of the condition `Ready`.
    pub(super) fn ready(self) -> &'static str {
        match self {
            Self::Scheduled | Self::Suspended | Self::AlreadyActive => "True",
            _ => "False",
        }
    }

    /// Whether nothing but a change by a person can help.
    pub(super) fn is_stalled(self) -> bool {
        self.ready() == "False" && self != Self::CreateFailed
    }

    /// As it stands in a condition.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Scheduled => "Scheduled",
            Self::Suspended => "Suspended",
            Self::AlreadyActive => "AlreadyActive",
            Self::InvalidSchedule => "InvalidSchedule",
            Self::UnknownTimeZone => "UnknownTimeZone",
            Self::NeverDue => "NeverDue",
            Self::TemplateRefused => "TemplateRefused",
            Self::NameTaken => "NameTaken",
            Self::CreateFailed => "CreateFailed",
            Self::NotUnderstood => "NotUnderstood",
        }
    }
}

/// How a schedule stands.
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
