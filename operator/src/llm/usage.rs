//! What a turn used: what the provider says where that can be true, else our own estimate.

use std::ops::{Add, AddAssign};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{ModelError, ModelSpec, Request};

/// Tokens by kind. No token is in two of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Usage {
    /// Sent, and neither read from a cache nor written to one.
    pub input: u64,
    /// Received, thinking included.
    pub output: u64,
    /// Sent, and written to a cache.
    pub cache_write: u64,
    /// Sent, and read from a cache.
    pub cache_read: u64,
}

impl Usage {
    /// What counts against a token budget: all but what was read from a cache.
    #[must_use]
    pub fn budget_tokens(&self) -> u64 {
        self.input
            .saturating_add(self.cache_write)
            .saturating_add(self.output)
    }

    /// What was sent, cached or not.
    #[must_use]
    pub fn prompt(&self) -> u64 {
        self.input
            .saturating_add(self.cache_write)
            .saturating_add(self.cache_read)
    }

    /// All of them.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.prompt().saturating_add(self.output)
    }
}

impl Add for Usage {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            input: self.input.saturating_add(other.input),
            output: self.output.saturating_add(other.output),
            cache_write: self.cache_write.saturating_add(other.cache_write),
            cache_read: self.cache_read.saturating_add(other.cache_read),
        }
    }
}

impl AddAssign for Usage {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

/// What a provider says, believed or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Reported {
    pub(crate) input: Option<i64>,
    pub(crate) output: Option<i64>,
    pub(crate) cache_write: Option<i64>,
    pub(crate) cache_read: Option<i64>,
}

impl Reported {
    /// Of Anthropic's `usage`.
    pub(crate) fn anthropic(usage: &Value) -> Self {
        Self {
            input: number(usage, &["input_tokens"]),
            output: number(usage, &["output_tokens"]),
            cache_write: number(usage, &["cache_creation_input_tokens"]),
            cache_read: number(usage, &["cache_read_input_tokens"]),
        }
    }

    /// Of OpenAI's `usage`, in Chat Completions or Responses. There the cached tokens are part of the prompt,
    /// and the thoughts (with some servers, though not with all) of the answer.
    pub(crate) fn openai(usage: &Value) -> Self {
        let first = |paths: &[&[&str]]| paths.iter().find_map(|path| number(usage, path));
        let prompt = first(&[&["prompt_tokens"], &["input_tokens"]]);
        let output = first(&[&["completion_tokens"], &["output_tokens"]]);
        let cache_read = first(&[
            &["prompt_tokens_details", "cached_tokens"],
            &["input_tokens_details", "cached_tokens"],
            &["prompt_cache_hit_tokens"],
            &["cache_read_input_tokens"],
        ]);
        let cache_write = first(&[
            &["prompt_tokens_details", "cache_write_tokens"],
            &["input_tokens_details", "cache_write_tokens"],
            &["cache_creation_input_tokens"],
        ]);
        let total = number(usage, &["total_tokens"]);
        // Not more can have been cached than was sent; where it says so, none was.
        let positive = |value: Option<i64>| value.unwrap_or(0).max(0);
        let cached = positive(cache_read).saturating_add(positive(cache_write));
        let (cache_read, cache_write) = match prompt {
            Some(prompt) if cached > prompt => (None, None),
            _ => (cache_read, cache_write),
        };
        let cached = positive(cache_read).saturating_add(positive(cache_write));
        let output = match (prompt, output, total) {
            (Some(prompt), Some(output), Some(total)) if prompt >= 0 && output >= 0 => {
                Some(output.max(total.saturating_sub(prompt)))
            }
            _ => output,
        };
        Self {
            input: prompt.map(|prompt| prompt.saturating_sub(cached)),
            output,
            cache_write,
            cache_read,
        }
    }

    /// What several events say of the same request: it only grows.
    pub(crate) fn merge(&mut self, later: Self) {
        self.input = self.input.max(later.input);
        self.output = self.output.max(later.output);
        self.cache_write = self.cache_write.max(later.cache_write);
        self.cache_read = self.cache_read.max(later.cache_read);
    }
}

fn number(value: &Value, path: &[&str]) -> Option<i64> {
    let value = path.iter().try_fold(value, |value, name| value.get(name))?;
    // Some gateways write 12.0. What is no number at all counts as not said; `as` saturates.
    #[expect(clippy::cast_possible_truncation)]
    value
        .as_i64()
        .or_else(|| value.as_f64().map(|float| float as i64))
}

/// What we know ourselves of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Measured {
    pub(crate) sent_bytes: u64,
    pub(crate) received_bytes: u64,
    /// The prompt's tokens and bytes in the turn before, if it was the same model's.
    pub(crate) before: Option<(u64, u64)>,
}

impl Measured {
    pub(crate) fn of(request: &Request<'_>, asked: &ModelSpec, bytes: usize) -> Self {
        Self {
            sent_bytes: bytes as u64,
            received_bytes: 0,
            before: request
                .last_turn()
                .filter(|turn| turn.asked == *asked)
                .map(|turn| (turn.usage.prompt(), turn.sent_bytes)),
        }
    }

    pub(crate) fn received(self, bytes: usize) -> Self {
        Self {
            received_bytes: bytes as u64,
            ..self
        }
    }

    /// An error before the answer began. If it was us who did not wait any longer, the provider may have read
    /// the prompt, and may want to be paid for it.
    pub(crate) fn unanswered(self, error: ModelError) -> ModelError {
        match error {
            ModelError::Silent { .. } | ModelError::TooSlow { .. } | ModelError::Deadline { .. } => {
                error.having_spent(settle(Reported::default(), self).0)
            }
            _ => error,
        }
    }
}

/// About four bytes are a token.
const BYTES: u64 = 4;
/// No text has sixteen bytes a token over its whole length: less is no count.
const IMPLAUSIBLE: u64 = 4;

/// The usage that counts, and whether some of it is an estimate.
///
/// The estimate is a floor, and only where what is reported is absent, zero, negative, shrinking though more
/// was sent, or too small for what was sent: an honest count may well be below four bytes a token.
pub(crate) fn settle(reported: Reported, measured: Measured) -> (Usage, bool) {
    let clean = |value: Option<i64>| value.and_then(|value| u64::try_from(value).ok());
    let negative = [reported.cache_write, reported.cache_read]
        .iter()
        .any(|value| value.is_some_and(|value| value < 0));
    let mut usage = Usage {
        input: clean(reported.input).unwrap_or(0),
        output: clean(reported.output).unwrap_or(0),
        cache_write: clean(reported.cache_write).unwrap_or(0),
        cache_read: clean(reported.cache_read).unwrap_or(0),
    };
    let mut estimated = false;

    let prompt = usage.prompt();
    let floor = measured.sent_bytes.div_ceil(BYTES);
    let shrinking = measured
        .before
        .is_some_and(|(tokens, bytes)| measured.sent_bytes >= bytes && prompt < tokens);
    let doubtful = negative
        || clean(reported.input).is_none()
        || prompt == 0
        || prompt < floor / IMPLAUSIBLE
        || shrinking;
    if doubtful && prompt < floor {
        usage.input += floor - prompt;
        estimated = true;
    }

    let floor = measured.received_bytes.div_ceil(BYTES);
    let doubtful = usage.output == 0 || usage.output < floor / IMPLAUSIBLE;
    if doubtful && usage.output < floor {
        usage.output = floor;
        estimated = true;
    }
    (usage, estimated)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn usage(input: u64, output: u64, cache_write: u64, cache_read: u64) -> Usage {
        Usage {
            input,
            output,
            cache_write,
            cache_read,
        }
    }

    fn measured(sent: u64, received: u64) -> Measured {
        Measured {
            sent_bytes: sent,
            received_bytes: received,
            before: None,
        }
    }

    #[test]
    fn the_budget_counts_all_but_cache_reads() {
        let all = usage(1, 10, 100, 1000);
        assert_eq!(
            (all.budget_tokens(), all.prompt(), all.total()),
            (111, 1101, 1111)
        );
        assert_eq!((all + all).total(), 2222);
        let most = usage(u64::MAX, u64::MAX, u64::MAX, u64::MAX);
        assert_eq!((most + most).budget_tokens(), u64::MAX);
    }

    #[test]
    fn what_can_be_true_is_believed() {
        let said = Reported::anthropic(&json!({
            "input_tokens": 5, "output_tokens": 60, "cache_creation_input_tokens": 100, "cache_read_input_tokens": 800
        }));
        assert_eq!(settle(said, measured(4400, 400)), (usage(5, 60, 100, 800), false));
        // All from the cache, and fewer tokens than a quarter of the bytes: still true.
        let said = Reported::anthropic(
            &json!({"input_tokens": 0, "output_tokens": 30, "cache_read_input_tokens": 500}),
        );
        assert_eq!(settle(said, measured(4000, 200)), (usage(0, 30, 0, 500), false));
    }

    #[test]
    fn what_can_not_be_true_is_estimated() {
        let cases = [
            json!(null),
            json!({}),
            json!({"input_tokens": null, "output_tokens": "many"}),
            json!({"input_tokens": 0, "output_tokens": 0}),
            json!({"input_tokens": -5, "output_tokens": -1, "cache_read_input_tokens": -900}),
            json!({"input_tokens": 1, "output_tokens": 1}),
        ];
        for case in cases {
            let (settled, estimated) = settle(Reported::anthropic(&case), measured(4001, 400));
            assert_eq!((settled, estimated), (usage(1001, 100, 0, 0), true), "{case}");
        }
        // What is known of the cache is kept.
        let (settled, estimated) = settle(
            Reported::anthropic(&json!({"cache_read_input_tokens": 900, "output_tokens": 50})),
            measured(4000, 400),
        );
        assert_eq!((settled, estimated), (usage(100, 50, 0, 900), true));
    }

    #[test]
    fn a_prompt_does_not_shrink_while_it_grows() {
        let said = Reported {
            input: Some(700),
            output: Some(10),
            ..Reported::default()
        };
        let with = |before| Measured {
            before: Some(before),
            ..measured(4000, 40)
        };
        assert_eq!(settle(said, with((800, 3000))), (usage(1000, 10, 0, 0), true));
        // Old results were cleared: it may.
        assert_eq!(settle(said, with((800, 5000))), (usage(700, 10, 0, 0), false));
        assert_eq!(settle(said, with((600, 3000))), (usage(700, 10, 0, 0), false));
    }

    #[test]
    fn openai_counts_the_cache_within_the_prompt() {
        let said = Reported::openai(&json!({
            "prompt_tokens": 1000, "completion_tokens": 50, "total_tokens": 1050,
            "prompt_tokens_details": {"cached_tokens": 900, "cache_write_tokens": 60}
        }));
        assert_eq!(settle(said, measured(4000, 200)).0, usage(40, 50, 60, 900));
        let said = Reported::openai(&json!({
            "input_tokens": 1000, "output_tokens": 50, "input_tokens_details": {"cached_tokens": 900}
        }));
        assert_eq!(settle(said, measured(4000, 200)).0, usage(100, 50, 0, 900));
        // Thoughts beside the answer, as some servers count them.
        let said =
            Reported::openai(&json!({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 115}));
        assert_eq!(said.output, Some(105));
        // More from the cache than there was.
        let said = Reported::openai(
            &json!({"prompt_tokens": 10, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 99}}),
        );
        assert_eq!((said.input, said.cache_read), (Some(10), None));
    }

    #[test]
    fn events_of_one_request_only_grow() {
        let mut said = Reported::anthropic(&json!({"input_tokens": 50, "output_tokens": 9}));
        said.merge(Reported::anthropic(
            &json!({"output_tokens": 4, "cache_read_input_tokens": 1.0}),
        ));
        assert_eq!(
            (said.input, said.output, said.cache_read),
            (Some(50), Some(9), Some(1))
        );
    }
}
