//! Runs code of an agent.

use std::time::Duration;

use tokio::time::Instant;

use super::Engine;
use crate::agent::prompts::Role;
use crate::llm::cut;
use crate::run::RunError;
use crate::run::event::Event;
use crate::run::record::{Raised, Ran, Record};
use crate::run::told::told;
use crate::run::workplace::call_id;
use crate::sandbox::{Cell, State};

/// How much of the output of a piece of code a model sees, in bytes.
const OUTPUT: u32 = 16 * 1024;

impl Engine<'_> {
    pub(super) async fn execute(&mut self, role: Role, index: usize, code: String) -> Result<(), RunError> {
        (self.watch)(&Event::Running { code: code.clone() });
        let id = call_id(self.state.calls_from(), index);
        let cell = self.cell(role, code.clone());
        let watch = self.watch;
        let mut stream = self.parts.redactor.stream();
        let mut output = |chunk: crate::sandbox::Chunk| {
            let text = stream.push(&chunk.text);
            if !text.is_empty() {
                watch(&Event::Output(text));
            }
        };
        let began = Instant::now();
        let ran = match self.place.execute(id, &cell, &mut output).await {
            Ok(executed) => Ran {
                told: told(&executed, &self.parts.redactor),
                code,
                status: Some(executed.status),
                state: executed.state,
                raised: executed.error.map(|raised| Raised {
                    name: self.redact(&raised.name),
                    message: cut(&self.redact(&raised.message), 500),
                }),
                milliseconds: executed.duration_ms,
            },
            Err(RunError::Sandbox(error)) if self.is_replaceable(&error) => {
                self.replace(&error).await;
                // It may be what broke the sandbox: it is not run again.
                Ran {
                    code,
                    told: "[The sandbox was lost while this code ran, so its result is not known. A new one is being \
                           made, and your earlier code is run there again. Files are gone. If this code needs much \
                           memory or many processes, do it with less.]"
                        .to_owned(),
                    status: None,
                    state: State::Kept,
                    raised: None,
                    milliseconds: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
                }
            }
            Err(error) => return Err(error),
        };
        let event = Event::Ran {
            ok: ran.ok(),
            told: ran.told.clone(),
            took: Duration::from_millis(ran.milliseconds),
        };
        let lost = ran.status.is_none();
        self.note(Record::Ran(ran)).await?;
        (self.watch)(&event);
        if !lost {
            self.place.acknowledge(id).await;
        }
        Ok(())
    }

    /// Code within what is left of the time of its agent.
    pub(super) fn cell(&self, role: Role, code: String) -> Cell {
        let limits = self
            .state
            .of(role)
            .map_or(self.state.limits, |work| work.agent.limits());
        let left = limits.time.saturating_sub(self.elapsed());
        Cell {
            timeout: self.plan.cell.timeout.min(left.max(Duration::from_secs(1))),
            max_rows: self.plan.cell.max_rows,
            output_limit: OUTPUT,
            ..Cell::new(code)
        }
    }
}
