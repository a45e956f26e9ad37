//! When to ask again, when to ask another model, and when to give up.

mod chain;

use std::time::Duration;

use super::{Class, ModelError};

pub use chain::Chain;

/// How patiently a model is asked again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// How many times it is asked in all.
    pub attempts: u32,
    /// The first wait, doubled each time.
    pub first: Duration,
    /// The longest of these waits. A provider may ask for a longer one.
    pub longest: Duration,
    /// How long may be waited in all.
    pub patience: Duration,
}

impl RetryPolicy {
    /// With another model to turn to.
    pub const WITH_FALLBACK: Self = Self {
        attempts: 4,
        patience: Duration::from_secs(30),
        ..Self::ALONE
    };
    /// With none.
    pub const ALONE: Self = Self {
        attempts: 9,
        first: Duration::from_secs(1),
        longest: Duration::from_mins(1),
        patience: Duration::from_mins(5),
    };
}

/// What is done about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// The same is asked again, after a wait.
    Again(Duration),
    /// Another model is asked.
    Next,
    /// The error is final.
    GiveUp,
}

/// What has happened so far with one model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tried {
    /// How many times it has failed.
    pub failures: u32,
    /// How long was waited.
    pub waited: Duration,
}

/// What to do about a failure. `left` is the time to the deadline, `jitter` a random number from 0 to 1.
pub fn decide(
    policy: &RetryPolicy,
    tried: Tried,
    error: &ModelError,
    left: Option<Duration>,
    jitter: f64,
) -> Decision {
    match error.class() {
        Class::Elsewhere => return Decision::Next,
        Class::Shorten | Class::Stop => return Decision::GiveUp,
        Class::Retry => {}
    }
    let wait = wait(policy, tried.failures, error.retry_after(), jitter);
    let impatient = tried.failures >= policy.attempts
        || tried.waited.saturating_add(wait) > policy.patience
        || left.is_some_and(|left| wait >= left);
    if impatient {
        Decision::Next
    } else {
        Decision::Again(wait)
    }
}

/// Half of the wait is fixed, half is random, so that those who failed together don't come back together. What
/// the provider asks for is a floor.
fn wait(policy: &RetryPolicy, failures: u32, asked: Option<Duration>, jitter: f64) -> Duration {
    let jitter = jitter.clamp(0.0, 1.0);
    let doubled = 2_u32.saturating_pow(failures.saturating_sub(1).min(30));
    let full = policy.first.saturating_mul(doubled).min(policy.longest);
    let own = full.mul_f64(0.5 + jitter / 2.0);
    match asked {
        Some(asked) if asked >= own => asked.saturating_add(policy.first.mul_f64(jitter)),
        _ => own,
    }
}

#[cfg(test)]
mod tests {
    use super::super::error::tests::status;
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn after(failures: u32, error: &ModelError, left: Option<Duration>, jitter: f64) -> Decision {
        let tried = Tried {
            failures,
            waited: Duration::ZERO,
        };
        decide(&RetryPolicy::ALONE, tried, error, left, jitter)
    }

    #[test]
    fn waits_double_and_are_bounded() {
        let error = status(529, None);
        assert_eq!(after(1, &error, None, 1.0), Decision::Again(SECOND));
        assert_eq!(after(1, &error, None, 0.0), Decision::Again(SECOND / 2));
        assert_eq!(after(4, &error, None, 1.0), Decision::Again(SECOND * 8));
        assert_eq!(after(8, &error, None, 1.0), Decision::Again(SECOND * 60));
        assert_eq!(after(9, &error, None, 0.0), Decision::Next);
    }

    #[test]
    fn retry_after_is_a_floor() {
        assert_eq!(
            after(1, &status(429, Some(20)), None, 0.0),
            Decision::Again(SECOND * 20)
        );
        assert_eq!(
            after(1, &status(429, Some(20)), None, 1.0),
            Decision::Again(SECOND * 21)
        );
        assert_eq!(
            after(6, &status(429, Some(1)), None, 0.0),
            Decision::Again(SECOND * 16)
        );
        // Longer than is waited in all: there is no point in waiting less.
        assert_eq!(after(1, &status(429, Some(3600)), None, 0.0), Decision::Next);
        assert_eq!(after(1, &status(429, Some(u64::MAX)), None, 1.0), Decision::Next);
    }

    #[test]
    fn nothing_is_waited_for_beyond_the_deadline() {
        let error = status(503, None);
        assert_eq!(after(1, &error, Some(SECOND), 1.0), Decision::Next);
        assert_eq!(after(1, &error, Some(SECOND * 2), 1.0), Decision::Again(SECOND));
        assert_eq!(after(1, &error, Some(Duration::ZERO), 0.0), Decision::Next);
    }

    #[test]
    fn patience_ends() {
        let tried = Tried {
            failures: 3,
            waited: Duration::from_secs(299),
        };
        let decision = decide(&RetryPolicy::ALONE, tried, &status(500, None), None, 0.5);
        assert_eq!(decision, Decision::Next);
    }

    #[test]
    fn what_can_not_help_is_not_done() {
        for code in [400, 401, 413, 422] {
            assert_eq!(
                after(1, &status(code, Some(1)), None, 0.0),
                Decision::GiveUp,
                "{code}"
            );
        }
        for code in [403, 404] {
            assert_eq!(
                after(1, &status(code, Some(1)), None, 0.0),
                Decision::Next,
                "{code}"
            );
        }
    }
}
