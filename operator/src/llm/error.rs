//! What can go wrong with a model, and what to do then. The errors alone decide.

use std::time::Duration;

use jiff::Timestamp;
use thiserror::Error;

use super::{Attempt, ModelSpec, Usage};

/// What to do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Ask the same again, after a while.
    Retry,
    /// Asking the same again can't help, but another model may answer.
    Elsewhere,
    /// Ask with less: the conversation is too long.
    Shorten,
    /// Nothing but a change by a person can help.
    Stop,
}

/// What went wrong with a model.
#[derive(Debug, Clone, Error)]
#[non_exhaustive]
pub enum ModelError {
    /// No connection.
    #[error(
        "{model} could not be reached at {host} ({message}): check the base URL, the network and the proxy"
    )]
    Unreachable {
        /// Which model was asked.
        model: ModelSpec,
        /// Where.
        host: String,
        /// What the connection said.
        message: String,
    },
    /// The connection broke, or the stream ended too early.
    #[error("the answer of {model} broke off ({message})")]
    Broken {
        /// Which model was asked.
        model: ModelSpec,
        /// How.
        message: String,
        /// What it had used by then, as far as known.
        spent: Usage,
    },
    /// Nothing came.
    #[error("{model} was silent for {} s", after.as_secs_f32())]
    Silent {
        /// Which model was asked.
        model: ModelSpec,
        /// For how long.
        after: Duration,
        /// What it had used by then, as far as known.
        spent: Usage,
    },
    /// Something came all the time, but no end.
    #[error("{model} had not ended its answer after {} s", after.as_secs_f32())]
    TooSlow {
        /// Which model was asked.
        model: ModelSpec,
        /// For how long.
        after: Duration,
        /// What it had used by then, as far as known.
        spent: Usage,
    },
    /// The time of the whole run is over.
    #[error("the time was over before {model} answered")]
    Deadline {
        /// Which model was asked.
        model: ModelSpec,
        /// What it had used by then, as far as known.
        spent: Usage,
    },
    /// It answered with an error.
    #[error("{model} answered with error {status}: {message}{}", advice(*.status))]
    Status {
        /// Which model was asked.
        model: ModelSpec,
        /// HTTP's status, or the one that an error within a stream stands for.
        status: u16,
        /// What it said, and its name for the request, for its support.
        message: String,
        /// How long it asks to wait.
        retry_after: Option<Duration>,
        /// What it had used by then, as far as known.
        spent: Usage,
    },
    /// Nothing is left to pay with.
    #[error("{model} can't be paid for any more: {message}; add credit or raise the limit at the provider")]
    Quota {
        /// Which model was asked.
        model: ModelSpec,
        /// What it said.
        message: String,
    },
    /// Whoever pays allows no more for now.
    #[error("{message}")]
    Budget {
        /// Which model was to be asked.
        model: ModelSpec,
        /// Whose budget it is, and what is left of it.
        message: String,
        /// When there is a new one.
        opens_at: Timestamp,
    },
    /// Nobody could say whether it can be paid for.
    #[error("{model} was not asked: {message}")]
    NoLeave {
        /// Which model was to be asked.
        model: ModelSpec,
        /// Why not.
        message: String,
    },
    /// The conversation does not fit.
    #[error("the conversation is too long for {model}: {message}")]
    TooLong {
        /// Which model was asked.
        model: ModelSpec,
        /// What it said.
        message: String,
    },
    /// The answer is not what its wire format says.
    #[error(
        "{model} answered with something else than its API says ({message}): check the base URL and the API"
    )]
    NotUnderstood {
        /// Which model was asked.
        model: ModelSpec,
        /// What is wrong with it.
        message: String,
        /// What it had used by then, as far as known.
        spent: Usage,
    },
    /// The conversation is not one.
    #[error("the conversation is not valid: {message}")]
    Invalid {
        /// What is wrong with it.
        message: String,
    },
    /// There is no such model here.
    #[error("{message}")]
    Setup {
        /// What is missing and what to do about it.
        message: String,
    },
    /// All was tried.
    #[error("{last}{}", tried(.attempts))]
    Exhausted {
        /// All that failed, in order, the last one included.
        attempts: Vec<Attempt>,
        /// The last error.
        last: Box<ModelError>,
    },
}

fn advice(status: u16) -> &'static str {
    match status {
        401 => "; check the API key",
        403 => "; check what the API key may do",
        404 => "; check the name of the model and the base URL",
        300..=399 => "; give the base URL that it leads to",
        _ => "",
    }
}

fn tried(attempts: &[Attempt]) -> String {
    let mut models: Vec<String> = Vec::new();
    for attempt in attempts {
        let model = attempt.asked.to_string();
        if !models.contains(&model) {
            models.push(model);
        }
    }
    match (attempts.len(), models.len()) {
        (0 | 1, _) => String::new(),
        (times, 1) => format!(" (asked {times} times)"),
        (times, _) => format!(" (asked {times} times: {})", models.join(", ")),
    }
}

impl ModelError {
    /// What to do about it.
    pub fn class(&self) -> Class {
        match self {
            Self::Unreachable { .. } | Self::Broken { .. } | Self::Silent { .. } | Self::NoLeave { .. } => {
                Class::Retry
            }
            Self::Status { status, .. } => match status {
                408 | 429 | 500 | 502 | 503 | 504 | 529 => Class::Retry,
                403 | 404 => Class::Elsewhere,
                // 401 among them: another model must not hide that a key is wrong.
                400..500 => Class::Stop,
                _ => Class::Elsewhere,
            },
            Self::TooSlow { .. } | Self::Quota { .. } | Self::NotUnderstood { .. } => Class::Elsewhere,
            Self::TooLong { .. } => Class::Shorten,
            // No other model is paid for by somebody else.
            Self::Budget { .. } | Self::Deadline { .. } | Self::Invalid { .. } | Self::Setup { .. } => {
                Class::Stop
            }
            Self::Exhausted { last, .. } => last.class(),
        }
    }

    /// Which model it is about, if it is about one.
    pub fn model(&self) -> Option<&ModelSpec> {
        match self {
            Self::Unreachable { model, .. }
            | Self::Broken { model, .. }
            | Self::Silent { model, .. }
            | Self::TooSlow { model, .. }
            | Self::Deadline { model, .. }
            | Self::Status { model, .. }
            | Self::Quota { model, .. }
            | Self::Budget { model, .. }
            | Self::NoLeave { model, .. }
            | Self::TooLong { model, .. }
            | Self::NotUnderstood { model, .. } => Some(model),
            Self::Invalid { .. } | Self::Setup { .. } => None,
            Self::Exhausted { last, .. } => last.model(),
        }
    }

    /// The error that all trying ended with: itself, but for one that says what all was tried.
    pub fn last(&self) -> &Self {
        match self {
            Self::Exhausted { last, .. } => last.last(),
            error => error,
        }
    }

    /// Whether it is sure that nothing has to be paid for it: nothing was sent, or the provider said no at once.
    pub(crate) fn is_free(&self) -> bool {
        match self {
            Self::Broken { .. }
            | Self::Silent { .. }
            | Self::TooSlow { .. }
            | Self::Deadline { .. }
            | Self::NotUnderstood { .. } => false,
            Self::Status { spent, .. } => *spent == Usage::default(),
            Self::Unreachable { .. }
            | Self::Quota { .. }
            | Self::Budget { .. }
            | Self::NoLeave { .. }
            | Self::TooLong { .. }
            | Self::Invalid { .. }
            | Self::Setup { .. } => true,
            Self::Exhausted { attempts, .. } => attempts.is_empty(),
        }
    }

    /// How long the provider asks to wait.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            Self::Exhausted { last, .. } => last.retry_after(),
            _ => None,
        }
    }

    /// What the provider had used when it failed, as far as known: it may have to be paid for.
    pub fn spent(&self) -> Usage {
        match self {
            Self::Broken { spent, .. }
            | Self::Silent { spent, .. }
            | Self::TooSlow { spent, .. }
            | Self::Deadline { spent, .. }
            | Self::Status { spent, .. }
            | Self::NotUnderstood { spent, .. } => *spent,
            Self::Exhausted { attempts, .. } => attempts
                .iter()
                .fold(Usage::default(), |sum, attempt| sum + attempt.spent),
            _ => Usage::default(),
        }
    }

    /// The same, with what was used by then.
    #[must_use]
    pub(crate) fn having_spent(mut self, usage: Usage) -> Self {
        match &mut self {
            Self::Broken { spent, .. }
            | Self::Silent { spent, .. }
            | Self::TooSlow { spent, .. }
            | Self::Deadline { spent, .. }
            | Self::Status { spent, .. }
            | Self::NotUnderstood { spent, .. } => *spent = usage,
            _ => {}
        }
        self
    }

    /// What is to be sent can't be written as JSON.
    #[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
    pub(crate) fn not_json(error: serde_json::Error) -> Self {
        Self::Invalid {
            message: error.to_string(),
        }
    }

    pub(crate) fn setup(message: impl Into<String>) -> Self {
        Self::Setup {
            message: message.into(),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// An error with this status.
    pub(crate) fn status(status: u16, retry_after: Option<u64>) -> ModelError {
        ModelError::Status {
            model: "anthropic/a".parse().unwrap(),
            status,
            message: "no".into(),
            retry_after: retry_after.map(Duration::from_secs),
            spent: Usage::default(),
        }
    }

    #[test]
    fn only_what_may_pass_is_retried() {
        for code in [408, 429, 500, 502, 503, 504, 529] {
            assert_eq!(status(code, None).class(), Class::Retry, "{code}");
        }
        for code in [302, 400, 401, 402, 403, 404, 409, 413, 422, 501, 505] {
            assert_ne!(status(code, None).class(), Class::Retry, "{code}");
        }
        for code in [400, 401, 413, 422] {
            assert_eq!(status(code, None).class(), Class::Stop, "{code}");
        }
    }

    #[test]
    fn messages_say_what_to_do() {
        assert_eq!(
            status(401, None).to_string(),
            "anthropic/a answered with error 401: no; check the API key"
        );
        let attempt = |asked: &str| Attempt {
            asked: asked.parse().unwrap(),
            problem: "no".into(),
            spent: Usage {
                output: 2,
                ..Usage::default()
            },
            waited: Duration::ZERO,
        };
        let exhausted = ModelError::Exhausted {
            attempts: vec![
                attempt("anthropic/a"),
                attempt("anthropic/a"),
                attempt("openai/b"),
            ],
            last: Box::new(status(529, Some(3))),
        };
        assert_eq!(
            exhausted.to_string(),
            "anthropic/a answered with error 529: no (asked 3 times: anthropic/a, openai/b)"
        );
        assert_eq!(exhausted.class(), Class::Retry);
        assert_eq!(exhausted.spent().output, 6);
        assert_eq!(exhausted.retry_after(), Some(Duration::from_secs(3)));
    }
}
