//! What is said to a model: all of it, until the window is nearly full; then old results go, many at once, so
//! that what stays the same stays in the provider's cache.
//!
//! It must not know what calls do, nor what may be used.

use crate::llm::{Message, ToolResult, Turn};

/// From so many tokens of a request on, old results go.
const NEARLY_FULL: u64 = 120_000;
/// So many of the last messages with results stay whole.
const KEPT: usize = 3;
/// Once they have gone, so many more messages with results come before they go again: what is sent changes then,
/// and the provider's cache of it is of no more use.
const AGAIN: usize = 4;
/// A result that is shorter, in bytes, is not worth removing.
const WORTH: usize = 600;

/// The messages, the oldest first.
#[derive(Debug, Clone)]
pub(super) struct Conversation {
    messages: Vec<Message>,
    /// How many messages with results there were when old ones went last.
    cleared_at: usize,
}

impl Conversation {
    pub(super) fn new(task: String) -> Self {
        Self {
            messages: vec![Message::User(task)],
            cleared_at: 0,
        }
    }

    pub(super) fn messages(&self) -> &[Message] {
        &self.messages
    }

    pub(super) fn said(&mut self, text: String) {
        self.messages.push(Message::User(text));
    }

    pub(super) fn answered(&mut self, turn: &Turn) {
        let full = turn.usage.prompt() >= NEARLY_FULL;
        self.messages.push(Message::Assistant(Box::new(turn.clone())));
        if full && self.with_results().len() >= self.cleared_at + AGAIN {
            self.clear();
        }
    }

    pub(super) fn results(&mut self, results: Vec<ToolResult>) {
        self.messages.push(Message::ToolResults(results));
    }

    /// Adds to what was said last: text after results makes models answer with nothing.
    pub(super) fn append(&mut self, text: &str) {
        let last = match self.messages.last_mut() {
            Some(Message::User(said)) => said,
            Some(Message::ToolResults(results)) if !results.is_empty() => {
                let last = results.len() - 1;
                &mut results[last].content
            }
            _ => return self.said(text.to_owned()),
        };
        last.push_str("\n\n");
        last.push_str(text);
    }

    /// Removes old results; whether there were any.
    pub(super) fn clear(&mut self) -> bool {
        let with_results = self.with_results();
        self.cleared_at = with_results.len();
        let old = with_results.len().saturating_sub(KEPT);
        let mut cleared = false;
        for at in &with_results[..old] {
            let Message::ToolResults(results) = &mut self.messages[*at] else {
                continue;
            };
            for result in results.iter_mut().filter(|result| result.content.len() > WORTH) {
                result.content = format!(
                    "[This result of {} characters was removed to make room. The variables are still there: print \
                     again what you need, and only that.]",
                    result.content.chars().count()
                );
                cleared = true;
            }
        }
        cleared
    }

    fn with_results(&self) -> Vec<usize> {
        (0..self.messages.len())
            .filter(|at| matches!(self.messages[*at], Message::ToolResults(_)))
            .collect()
    }
}
