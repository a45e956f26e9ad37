//! Where answers come from: the trait [`Model`], and the client that implements it for each wire
//! format.
//!
//! A conversation is kept as [`Message`]s. A model's answers stay in it as the JSON that came, so that
//! thinking blocks go back byte for byte; another model than the one that wrote them gets only text and
//! calls. This module must not know what is asked or why, nor Kubernetes, a sandbox or a store.

pub mod account;
mod anthropic;
mod builtin;
mod client;
mod config;
mod error;
mod http;
mod openai;
pub mod prices;
mod probe;
mod raw;
pub mod retry;
mod sse;
pub mod usage;

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::time::Instant;

pub use builtin::Builtin;
pub use config::{
    Anthropic, Http, MaxTokensField, ModelSpec, OpenAi, OpenAiApi, Provider, Providers, Timeouts,
};
pub use error::{Class, ModelError};
pub use probe::Probed;
pub use raw::Raw;
pub use usage::Usage;

/// A model that can be asked.
#[async_trait]
pub trait Model: Send + Sync {
    /// Asks for the next turn of a conversation. `progress` sees what comes while it comes, for the eye only:
    /// the turn has it again.
    ///
    /// Dropping the future ends the request; what the provider had done by then is paid and lost.
    async fn complete(
        &self,
        request: &Request<'_>,
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<Turn, ModelError>;

    /// Which model this is; of several, the one that is asked first.
    fn spec(&self) -> &ModelSpec;
}

/// Whether one more request can be paid for, after these failed.
pub type Again<'a> = dyn Fn(&[Attempt]) -> bool + Send + Sync + 'a;

/// What a model is asked.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// The system prompt.
    pub system: &'a str,
    /// The conversation, oldest first. See [`Request::check`] for what is valid.
    pub messages: &'a [Message],
    /// The tools that the model may call. It can't be made to: the current models refuse that.
    pub tools: &'a [Tool],
    /// The most tokens that the answer may have, thinking included.
    pub max_output_tokens: u32,
    /// Whether the provider may be asked to keep the prompt for the next turn (where it has to be asked).
    pub cache: bool,
    /// When the answer is of no more use. No retry is waited for beyond it.
    pub deadline: Option<Instant>,
    /// Whether one more request can be paid for. A [`retry::Chain`] asks it before a request that failed or was
    /// refused is sent again, or to a fallback, with all that was tried so far for this turn. If it can't, the
    /// last error (or the refusal) is final, as if all had been tried. Without it, everything can.
    pub again: Option<&'a Again<'a>>,
}

impl fmt::Debug for Request<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Request")
            .field("system", &self.system)
            .field("messages", &self.messages)
            .field("tools", &self.tools)
            .field("max_output_tokens", &self.max_output_tokens)
            .field("cache", &self.cache)
            .field("deadline", &self.deadline)
            // A function has no face.
            .field("again", &self.again.is_some())
            .finish()
    }
}

/// A tool that a model may call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tool {
    /// Its name.
    pub name: String,
    /// What it is for, to the model.
    pub description: String,
    /// The JSON schema of its arguments, an object.
    pub parameters: Value,
}

/// One message of a conversation.
///
/// It can be journaled as JSON, but not within an internally tagged, untagged or flattened type: serde can't
/// carry [`Raw`] through those.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Message {
    /// From the one who asks.
    User(String),
    /// From the model.
    Assistant(Box<Turn>),
    /// The results of all calls of the turn before, in one message and alone: text beside them makes models
    /// answer with nothing.
    ToolResults(Vec<ToolResult>),
}

/// What a call came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolResult {
    /// The call's id.
    pub id: String,
    /// What the model is told.
    pub content: String,
    /// Whether that is an error.
    #[serde(default)]
    pub is_error: bool,
}

/// What a model answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Turn {
    /// Which model was asked.
    pub asked: ModelSpec,
    /// Which model says that it answered.
    pub model: String,
    /// How it speaks.
    pub wire: Wire,
    /// Its answer as it came. Without it, only text and calls are sent back (see [`Turn::forget_raw`]).
    pub raw: Option<Raw>,
    /// Its text, without its thoughts.
    pub text: String,
    /// The tools that it calls.
    pub tool_calls: Vec<ToolCall>,
    /// Why it stopped.
    pub stop: StopReason,
    /// What the provider says about that, such as the reason of a refusal.
    pub stop_detail: Option<String>,
    /// What it used.
    pub usage: Usage,
    /// Whether some of the usage is our own estimate, because what was reported can't be true.
    pub estimated: bool,
    /// The size of the request.
    pub sent_bytes: u64,
    /// The provider's name for the request, for its support.
    pub request_id: Option<String>,
    /// What was tried before and failed.
    #[serde(default)]
    pub attempts: Vec<Attempt>,
}

impl Turn {
    /// Keeps only text and calls, so that nothing else is sent back: for an answer that had to be changed
    /// (thinking blocks are signed).
    pub fn forget_raw(&mut self) {
        self.raw = None;
    }

    /// What this turn used, failed attempts included.
    #[must_use]
    pub fn spent(&self) -> Usage {
        self.attempts
            .iter()
            .fold(self.usage, |sum, attempt| sum + attempt.spent)
    }

    /// Whether there is nothing in it. Such a turn must not be sent back as it is.
    pub fn is_empty(&self) -> bool {
        self.text.trim().is_empty() && self.tool_calls.is_empty()
    }
}

/// A request that failed, or was refused, before another one succeeded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// Which model was asked.
    pub asked: ModelSpec,
    /// What went wrong.
    pub problem: String,
    /// What it had used by then, as far as known.
    pub spent: Usage,
    /// How long was waited afterwards.
    pub waited: Duration,
}

/// How a provider speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wire {
    /// Anthropic's Messages.
    Messages,
    /// OpenAI's Chat Completions.
    Chat,
    /// OpenAI's Responses.
    Responses,
    /// No wire at all.
    Builtin,
}

/// A call of a tool.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ToolCall {
    /// Its id, which the result must bear.
    pub id: String,
    /// The tool.
    pub name: String,
    /// With what.
    pub arguments: Arguments,
}

/// The arguments of a call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Arguments {
    /// An object.
    Given(Map<String, Value>),
    /// Something else. The call must not be run, but it must be answered.
    Malformed {
        /// What is wrong, for the model.
        problem: String,
        /// The begin of what came.
        text: String,
    },
}

impl Arguments {
    /// Reads what came as text. None at all counts as no arguments, as long as the answer was `complete`.
    pub(crate) fn parse(text: &str, complete: bool) -> Self {
        if text.trim().is_empty() && complete {
            return Self::Given(Map::new());
        }
        let problem = match serde_json::from_str::<Value>(text) {
            Ok(Value::Object(given)) => return Self::Given(given),
            Ok(other) => format!("the arguments are {}, not a JSON object", kind(&other)),
            Err(_) if !complete => "the arguments were cut off before their end".to_owned(),
            Err(error) => format!("the arguments are not valid JSON: {error}"),
        };
        Self::Malformed {
            problem,
            text: cut(text, 300),
        }
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// The begin of a text, marked where it was cut.
pub(crate) fn cut(text: &str, characters: usize) -> String {
    match text.char_indices().nth(characters) {
        None => text.to_owned(),
        Some((at, _)) => format!("{}…", &text[..at]),
    }
}

/// Why a model stopped.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// It had said what it wanted.
    EndTurn,
    /// It had no tokens left.
    MaxTokens,
    /// It wrote a stop sequence.
    StopSequence,
    /// It waits for the results of its calls.
    ToolUse,
    /// It wants to be asked again, with its turn as the last message.
    PauseTurn,
    /// It, or a filter, refuses to answer.
    Refusal,
    /// The conversation has filled its window.
    ContextWindowExceeded,
    /// Something that we don't know.
    Other(String),
}

/// What happens while a model answers. For the eye only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// A request is sent: from here on it may have to be paid. Whoever waits before that says it after that.
    Asked {
        /// To whom.
        model: ModelSpec,
    },
    /// A request may not be sent yet.
    Waiting {
        /// To whom.
        model: ModelSpec,
        /// What is waited for.
        why: String,
    },
    /// It thinks.
    Thinking {
        /// So many bytes more.
        bytes: usize,
    },
    /// It writes.
    Text(String),
    /// It begins a call.
    Call {
        /// Of this tool.
        name: String,
    },
    /// It writes arguments.
    Arguments {
        /// So many bytes more.
        bytes: usize,
    },
    /// The request failed, and is sent again. What came of the answer is void.
    Retrying {
        /// To whom.
        model: ModelSpec,
        /// What went wrong.
        problem: String,
        /// After this long.
        after: Duration,
    },
    /// Another model is asked. What came of the answer is void.
    FellBack {
        /// Instead of this one,
        from: ModelSpec,
        /// this one,
        to: ModelSpec,
        /// because of this.
        problem: String,
    },
}

impl Request<'_> {
    /// Says what is wrong with the conversation. It begins with the user; results follow a turn with calls,
    /// answer each of them once, and are followed by a turn; nothing else follows a turn with calls.
    pub fn check(&self) -> Result<(), ModelError> {
        let invalid = |index: usize, message: &str| {
            Err(ModelError::Invalid {
                message: format!("message {index}: {message}"),
            })
        };
        let mut before: Option<&Message> = None;
        for (index, message) in self.messages.iter().enumerate() {
            let calls = match before {
                Some(Message::Assistant(turn)) => turn.tool_calls.as_slice(),
                _ => &[],
            };
            match message {
                Message::ToolResults(results) => {
                    if calls.is_empty() {
                        return invalid(index, "results without calls before them");
                    }
                    let same = results.len() == calls.len()
                        && calls
                            .iter()
                            .all(|call| results.iter().any(|result| result.id == call.id));
                    if !same {
                        return invalid(index, "the results are not those of the calls before them");
                    }
                }
                Message::User(text) => {
                    if !calls.is_empty() {
                        return invalid(index, "calls must be answered by their results alone");
                    }
                    if matches!(before, Some(Message::ToolResults(_))) {
                        return invalid(
                            index,
                            "text after results: put it into a result, or wait for a turn",
                        );
                    }
                    if text.trim().is_empty() {
                        return invalid(index, "an empty message");
                    }
                }
                Message::Assistant(_) => match before {
                    None => return invalid(index, "a conversation begins with the user"),
                    Some(Message::Assistant(turn)) if turn.stop != StopReason::PauseTurn => {
                        return invalid(index, "two turns of the model in a row");
                    }
                    Some(_) => {}
                },
            }
            before = Some(message);
        }
        match before {
            None => invalid(0, "there is none"),
            Some(Message::Assistant(turn)) if turn.stop != StopReason::PauseTurn => {
                invalid(self.messages.len() - 1, "the last word must not be the model's")
            }
            Some(_) => Ok(()),
        }
    }

    /// Whether one more request can be paid for after these.
    pub(crate) fn may_go_on(&self, attempts: &[Attempt]) -> bool {
        self.again.is_none_or(|again| again(attempts))
    }

    /// The last turn of a model in the conversation.
    pub(crate) fn last_turn(&self) -> Option<&Turn> {
        self.messages.iter().rev().find_map(|message| match message {
            Message::Assistant(turn) => Some(turn.as_ref()),
            _ => None,
        })
    }

    /// The id that a result must bear for `asked`: the one that the model gave, or, of another model's call,
    /// one that every provider takes (Mistral's templates want nine letters and digits).
    pub(crate) fn result_id(&self, at: usize, result: &ToolResult, asked: &ModelSpec, wire: Wire) -> String {
        let before = at.checked_sub(1).and_then(|index| self.messages.get(index));
        let Some(Message::Assistant(turn)) = before else {
            return result.id.clone();
        };
        if turn.raw_for(asked, wire).is_some() {
            return result.id.clone();
        }
        turn.tool_calls
            .iter()
            .position(|call| call.id == result.id)
            .map_or_else(|| result.id.clone(), |call| call_id(at - 1, call))
    }
}

impl Turn {
    /// The answer as it came, if it came from `asked`.
    pub(crate) fn raw_for(&self, asked: &ModelSpec, wire: Wire) -> Option<&Raw> {
        if self.asked == *asked && self.wire == wire {
            self.raw.as_ref()
        } else {
            None
        }
    }

    /// The ids of the calls that came without one, or with one that was there before, are made up here.
    pub(crate) fn name_calls(calls: &mut [ToolCall], message: usize) -> bool {
        let mut changed = false;
        for index in 0..calls.len() {
            let taken = calls[..index].iter().any(|other| other.id == calls[index].id);
            if taken || calls[index].id.is_empty() {
                calls[index].id = call_id(message, index);
                changed = true;
            }
        }
        changed
    }
}

/// The id of a call that has none of its own: nine letters and digits, the same each time.
pub(crate) fn call_id(message: usize, call: usize) -> String {
    format!("c{:05}{:03}", message % 100_000, call % 1_000)
}

impl fmt::Display for StopReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::EndTurn => "end_turn",
            Self::MaxTokens => "max_tokens",
            Self::StopSequence => "stop_sequence",
            Self::ToolUse => "tool_use",
            Self::PauseTurn => "pause_turn",
            Self::Refusal => "refusal",
            Self::ContextWindowExceeded => "context_window_exceeded",
            Self::Other(reason) => reason,
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A turn with these calls.
    pub(crate) fn turn(asked: &str, calls: &[&str]) -> Turn {
        Turn {
            asked: asked.parse().unwrap(),
            model: asked.into(),
            wire: Wire::Messages,
            raw: None,
            text: "text".into(),
            tool_calls: calls
                .iter()
                .map(|id| ToolCall {
                    id: (*id).into(),
                    name: "execute_python".into(),
                    arguments: Arguments::Given(Map::new()),
                })
                .collect(),
            stop: StopReason::ToolUse,
            stop_detail: None,
            usage: Usage::default(),
            estimated: false,
            sent_bytes: 0,
            request_id: None,
            attempts: Vec::new(),
        }
    }

    /// A request of these messages.
    pub(crate) fn request(messages: &[Message]) -> Request<'_> {
        Request {
            system: "system",
            messages,
            tools: &[],
            max_output_tokens: 100,
            cache: true,
            deadline: None,
            again: None,
        }
    }

    fn said(text: &str) -> Message {
        Message::User(text.into())
    }

    fn results(ids: &[&str]) -> Message {
        Message::ToolResults(
            ids.iter()
                .map(|id| ToolResult {
                    id: (*id).into(),
                    content: "1".into(),
                    is_error: false,
                })
                .collect(),
        )
    }

    fn answered(calls: &[&str]) -> Message {
        Message::Assistant(Box::new(turn("anthropic/a", calls)))
    }

    #[test]
    fn conversations_are_checked() {
        let good: &[&[Message]] = &[
            &[said("a")],
            &[said("a"), answered(&["1", "2"]), results(&["2", "1"])],
            &[said("a"), answered(&[]), said("go on")],
        ];
        for messages in good {
            request(messages).check().unwrap();
        }
        let bad: &[(&[Message], &str)] = &[
            (&[], "there is none"),
            (&[said(" ")], "empty"),
            (&[answered(&[]), said("a")], "begins with the user"),
            (&[said("a"), answered(&[])], "the last word"),
            (
                &[said("a"), answered(&["1"]), said("b")],
                "by their results alone",
            ),
            (
                &[said("a"), answered(&["1"]), results(&[])],
                "not those of the calls",
            ),
            (
                &[said("a"), answered(&["1"]), results(&["2"])],
                "not those of the calls",
            ),
            (&[said("a"), results(&["2"])], "without calls"),
            (
                &[said("a"), answered(&["1"]), results(&["1"]), said("b")],
                "text after results",
            ),
            (&[said("a"), answered(&[]), answered(&[]), said("b")], "in a row"),
        ];
        for (messages, what) in bad {
            let error = request(messages).check().unwrap_err();
            assert!(error.to_string().contains(what), "{error}");
            assert_eq!(error.class(), Class::Stop);
        }
    }

    #[test]
    fn arguments_say_what_is_wrong() {
        assert_eq!(Arguments::parse(" ", true), Arguments::Given(Map::new()));
        let problem = |text: &str, complete| match Arguments::parse(text, complete) {
            Arguments::Malformed { problem, .. } => problem,
            Arguments::Given(given) => panic!("{given:?}"),
        };
        assert_eq!(
            problem("[1]", true),
            "the arguments are a list, not a JSON object"
        );
        assert!(problem("{\"a\": ", true).contains("not valid JSON: EOF"));
        assert_eq!(
            problem("{\"a\": ", false),
            "the arguments were cut off before their end"
        );
        assert_eq!(problem("", false), "the arguments were cut off before their end");
    }

    #[test]
    fn a_conversation_survives_the_journal() {
        let mut with_raw = turn("anthropic/a", &["1"]);
        let raw = r#"[{"type":"thinking", "signature":"x\u00e9", "thinking":""},{"z":1e400,"a":12345678901234567890123}]"#;
        with_raw.raw = Some(Raw::parse(raw).unwrap());
        with_raw.stop = StopReason::Other("odd".into());
        let messages = vec![said("a"), Message::Assistant(Box::new(with_raw)), results(&["1"])];
        let text = serde_json::to_string(&messages).unwrap();
        let back: Vec<Message> = serde_json::from_str(&text).unwrap();
        assert_eq!(back, messages);
        let Message::Assistant(turn) = &back[1] else {
            panic!()
        };
        assert_eq!(turn.raw.as_ref().unwrap().as_str(), raw);
    }

    #[test]
    fn missing_and_repeated_ids_are_made_up() {
        let mut calls = turn("openai/a", &["", "x", "x"]).tool_calls;
        assert!(Turn::name_calls(&mut calls, 3));
        let ids: Vec<&str> = calls.iter().map(|call| call.id.as_str()).collect();
        assert_eq!(ids, ["c00003000", "x", "c00003002"]);
        assert!(!Turn::name_calls(&mut calls, 3));
    }
}
