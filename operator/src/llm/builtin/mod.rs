//! The builtin model: no network and no key. It plays a model's side of the same loop, by rules: it writes Python,
//! reads what comes of it, and hands in a page.
//!
//! Everything follows from the conversation, so a run that was cut off goes on with the same next step. It must
//! not know a database, a sandbox or a store: it has the two tools, as any model.

mod cells;
mod facts;
mod page;
mod past;
mod summary;
mod task;

use async_trait::async_trait;
use serde_json::{Map, Value};

use self::past::Past;
use self::task::Task;
use super::{
    Arguments, Model, ModelError, ModelSpec, Progress, Request, StopReason, ToolCall, Turn, Usage, Wire,
    call_id,
};
use crate::agent::tools::{EXECUTE, SUBMIT};

/// How many calls a turn may have.
const CALLS: usize = 20;
/// What was begun so often, and lost each time, is not begun again.
const BEGINNINGS: usize = 3;

/// The builtin model.
#[derive(Debug, Clone)]
pub struct Builtin {
    spec: ModelSpec,
}

/// What it does next.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Move {
    /// Runs these pieces of code.
    Run(Vec<String>),
    /// Hands in this page.
    Submit(String),
    /// Gives up, for this reason.
    Stop(String),
}

impl Builtin {
    /// The model of this name: there is only one, whatever it is called.
    pub fn new(spec: ModelSpec) -> Self {
        Self { spec }
    }

    fn turn(&self, request: &Request<'_>, next: Move) -> Turn {
        let (text, calls, stop) = match next {
            Move::Run(codes) => {
                let calls = codes.into_iter().take(CALLS).map(|code| (EXECUTE, "code", code));
                (String::new(), calls.collect(), StopReason::ToolUse)
            }
            Move::Submit(page) => (
                String::new(),
                vec![(SUBMIT, "content", page)],
                StopReason::ToolUse,
            ),
            Move::Stop(reason) => (reason, Vec::new(), StopReason::Refusal),
        };
        let tool_calls = calls
            .into_iter()
            .enumerate()
            .map(|(index, (name, argument, value))| ToolCall {
                id: call_id(request.messages.len(), index),
                name: name.to_owned(),
                arguments: Arguments::Given(Map::from_iter([(argument.to_owned(), Value::String(value))])),
            })
            .collect();
        Turn {
            asked: self.spec.clone(),
            model: self.spec.to_string(),
            wire: Wire::Builtin,
            raw: None,
            stop_detail: (!text.is_empty()).then(|| text.clone()),
            text,
            tool_calls,
            stop,
            usage: Usage::default(),
            estimated: false,
            sent_bytes: 0,
            request_id: None,
            attempts: Vec::new(),
        }
    }
}

#[async_trait]
impl Model for Builtin {
    async fn complete(
        &self,
        request: &Request<'_>,
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<Turn, ModelError> {
        request.check()?;
        progress(Progress::Asked {
            model: self.spec.clone(),
        });
        let turn = self.turn(request, next(request));
        for call in &turn.tool_calls {
            progress(Progress::Call {
                name: call.name.clone(),
            });
        }
        Ok(turn)
    }

    fn spec(&self) -> &ModelSpec {
        &self.spec
    }
}

fn next(request: &Request<'_>) -> Move {
    let past = Past::of(request.messages);
    match Task::read(past.task()) {
        Ok(Task::Catalog(task)) => catalog(&task, &past),
        Ok(Task::Summary(task)) => summary::next(&task, &past),
        Err(problem) => Move::Stop(problem),
    }
}

/// The way to a catalog: look around, measure, relate, write.
fn catalog(task: &task::Catalog, past: &Past<'_>) -> Move {
    let begin = cells::begin(task);
    let begun = past.times(&begin[begin.len() - 1]);
    let lost = past.lost();
    if begun == 0 || (lost && begun < BEGINNINGS) {
        return Move::Run(begin);
    }
    let facts = facts::Facts::read(past.outputs());
    let groups = facts::groups(&facts.found, task.max_turns);
    let wanted = groups.iter().map(|group| cells::profile(group));
    let mut codes: Vec<String> = facts.pages.iter().map(|page| cells::more(page)).collect();
    codes.extend(wanted);
    codes.retain(|code| !past.has_run(code));
    if !codes.is_empty() && past.turns_left(task.max_turns) > 2 {
        codes.truncate(CALLS);
        return Move::Run(codes);
    }
    let relate = cells::RELATE.to_owned();
    if !past.has_run(&relate) && past.turns_left(task.max_turns) > 1 {
        return Move::Run(vec![relate]);
    }
    match past.refusals() {
        refused @ 0..=2 => Move::Submit(page::catalog(task, &facts, &past.problems(), refused)),
        _ => Move::Stop(format!(
            "the builtin model's page was not accepted: {}",
            past.last_refusal()
        )),
    }
}

#[cfg(test)]
mod tests;
