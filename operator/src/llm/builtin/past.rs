//! What has happened so far, out of a conversation: which code was run, and what came of it.
//!
//! It must not know what any of it is for.

use crate::agent::tools::{EXECUTE, SUBMIT};
use crate::llm::{Arguments, Message, ToolCall, ToolResult};

/// What code leaves behind when its session is gone.
const LOST: &str = "NameError";

/// A conversation so far.
#[derive(Debug)]
pub(super) struct Past<'a> {
    task: &'a str,
    turns: usize,
    calls: Vec<(&'a ToolCall, &'a ToolResult)>,
}

impl<'a> Past<'a> {
    /// That of these messages.
    pub(super) fn of(messages: &'a [Message]) -> Self {
        let mut past = Self {
            task: "",
            turns: 0,
            calls: Vec::new(),
        };
        let mut asked: &[ToolCall] = &[];
        for message in messages {
            match message {
                Message::User(text) if past.task.is_empty() => past.task = text,
                Message::User(_) => {}
                Message::Assistant(turn) => {
                    past.turns += 1;
                    asked = &turn.tool_calls;
                }
                Message::ToolResults(results) => {
                    past.calls.extend(asked.iter().filter_map(|call| {
                        let result = results.iter().find(|result| result.id == call.id)?;
                        Some((call, result))
                    }));
                }
            }
        }
        past
    }

    /// What was asked for at first.
    pub(super) fn task(&self) -> &'a str {
        self.task
    }

    /// How many turns are left of so many.
    pub(super) fn turns_left(&self, of: usize) -> usize {
        of.saturating_sub(self.turns)
    }

    /// How often this code was run.
    pub(super) fn times(&self, code: &str) -> usize {
        self.cells().filter(|(ran, _)| *ran == code).count()
    }

    /// Whether this code was run, in a session that had all that it needs.
    pub(super) fn has_run(&self, code: &str) -> bool {
        self.cells().any(|(ran, result)| ran == code && !is_lost(result))
    }

    /// Whether the session that the last code ran in had lost what was made before.
    pub(super) fn lost(&self) -> bool {
        self.cells().last().is_some_and(|(_, result)| is_lost(result))
    }

    /// What came of all code, in order.
    pub(super) fn outputs(&self) -> impl Iterator<Item = &'a str> {
        self.cells().map(|(_, result)| result.content.as_str())
    }

    /// Code that failed, and the last line of what was said about it.
    pub(super) fn problems(&self) -> Vec<(&'a str, &'a str)> {
        self.cells()
            .filter(|(_, result)| result.is_error && !is_lost(result))
            .filter_map(|(code, result)| Some((code, result.content.trim().lines().next_back()?)))
            .collect()
    }

    /// How many pages were refused.
    pub(super) fn refusals(&self) -> usize {
        self.submitted().count()
    }

    /// Why the last page was refused.
    pub(super) fn last_refusal(&self) -> &'a str {
        self.submitted()
            .last()
            .map_or("", |result| result.content.as_str())
    }

    fn submitted(&self) -> impl Iterator<Item = &'a ToolResult> {
        self.calls
            .iter()
            .filter(|(call, _)| call.name == SUBMIT)
            .map(|(_, result)| *result)
    }

    fn cells(&self) -> impl Iterator<Item = (&'a str, &'a ToolResult)> {
        self.calls.iter().filter_map(|(call, result)| {
            let code = match &call.arguments {
                Arguments::Given(given) if call.name == EXECUTE => given.get("code")?.as_str()?,
                _ => return None,
            };
            Some((code, *result))
        })
    }
}

fn is_lost(result: &ToolResult) -> bool {
    result.is_error && result.content.lines().any(|line| line.starts_with(LOST))
}
