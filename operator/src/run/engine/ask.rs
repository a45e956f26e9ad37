//! Asks the model, and keeps account of what was paid.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::Engine;
use crate::agent::prompts::Role;
use crate::agent::{SYSTEM, Step, tools};
use crate::llm::{Attempt, Class, ModelError, Progress, Request, StopReason, Usage};
use crate::run::event::Event;
use crate::run::record::Record;
use crate::run::{RunError, clean};

impl Engine<'_> {
    pub(super) async fn ask(&mut self, role: Role) -> Result<(), RunError> {
        let Some(work) = self.state.of(role) else {
            return Err(self.broken("no agent is at work"));
        };
        let agent = &work.agent;
        let (limits, spent) = (agent.limits(), agent.spent());
        (self.watch)(&Event::Asking {
            turn: spent.turns + 1,
            of: limits.turns,
        });
        let (prices, stop) = (&self.parts.prices, self.parts.stop());
        let failed = Mutex::new(Vec::new());
        let again = |attempts: &[Attempt]| {
            if let Ok(mut failed) = failed.lock() {
                attempts.clone_into(&mut failed);
            }
            let mut with = spent;
            let used = attempts
                .iter()
                .fold(Usage::default(), |sum, attempt| sum + attempt.spent);
            with.add(used, prices.cost_of_attempts(attempts));
            // Who hands over begins nothing new.
            !stop.is_wanted() && limits.used_up(&with, Duration::ZERO).is_none()
        };
        let tools = tools::definitions();
        let left = limits.time.saturating_sub(self.elapsed());
        let request = Request {
            system: SYSTEM,
            messages: agent.messages(),
            tools: &tools,
            max_output_tokens: agent.max_output(),
            cache: true,
            deadline: Some(Instant::now() + left),
            again: Some(&again),
        };
        let (watch, redactor) = (self.watch, &self.parts.redactor);
        let mut text = redactor.stream();
        let under_way = AtomicBool::new(false);
        let mut progress = |progress: Progress| {
            match progress {
                Progress::Asked { .. } => under_way.store(true, Ordering::Relaxed),
                // It waits, or is about to, for a request that was not sent yet.
                Progress::Waiting { .. } | Progress::Retrying { .. } | Progress::FellBack { .. } => {
                    under_way.store(false, Ordering::Relaxed);
                }
                _ => {}
            }
            if let Some(event) = clean::progress(progress, redactor, &mut text) {
                watch(&Event::Model(event));
            }
        };
        let answer = tokio::select! {
            // What has come was paid for.
            biased;
            answer = self.parts.model.complete(&request, &mut progress) => Some(answer),
            () = stop.wanted_unless(|| under_way.load(Ordering::Relaxed)) => None,
        };
        match answer {
            None => {
                let failed = failed.into_inner().unwrap_or_default();
                if !failed.is_empty() {
                    self.note_unanswered("interrupted", failed).await?;
                }
                Err(RunError::Interrupted)
            }
            // Another model would have been asked: whoever goes on does that.
            Some(Ok(turn))
                if turn.stop == StopReason::Refusal
                    && stop.is_wanted()
                    && !self.plan.fallbacks.is_empty() =>
            {
                let mut attempts = turn.attempts;
                attempts.push(Attempt {
                    problem: format!("{} refused", turn.asked),
                    asked: turn.asked,
                    spent: turn.usage,
                    waited: Duration::ZERO,
                });
                self.note_unanswered("interrupted", attempts).await?;
                Err(RunError::Interrupted)
            }
            Some(Ok(mut turn)) => {
                clean::turn(&mut turn, redactor);
                let cost = prices.cost_of(&turn);
                let (model, text) = (turn.asked.clone(), turn.text.clone());
                self.note(Record::Answered { turn, cost }).await?;
                (self.watch)(&Event::Answered {
                    model,
                    text,
                    spent: self.state.spent(),
                    limits: self.state.limits,
                });
                Ok(())
            }
            Some(Err(error)) => self.unanswered(role, error).await,
        }
    }

    async fn unanswered(&mut self, role: Role, error: ModelError) -> Result<(), RunError> {
        let attempts = match &error {
            ModelError::Exhausted { attempts, .. } => attempts.clone(),
            error => vec![Attempt {
                asked: error.model().unwrap_or_else(|| self.parts.model.spec()).clone(),
                problem: error.to_string(),
                spent: error.spent(),
                waited: Duration::ZERO,
            }],
        };
        self.note_unanswered(&error.to_string(), attempts).await?;
        if error.class() == Class::Shorten {
            // If nothing can be left out any more, the agent gives up.
            return self.note(Record::Shortened).await;
        }
        let over = self
            .state
            .of(role)
            .is_some_and(|work| matches!(work.agent.next(self.elapsed()), Step::GiveUp(_)));
        // That is why it was not asked again.
        if over {
            return Ok(());
        }
        // Or that is.
        self.parts.stop().check()?;
        Err(error.into())
    }

    async fn note_unanswered(&mut self, problem: &str, mut attempts: Vec<Attempt>) -> Result<(), RunError> {
        for attempt in &mut attempts {
            attempt.problem = self.redact(&attempt.problem);
        }
        let cost = self.parts.prices.cost_of_attempts(&attempts);
        let problem = self.redact(problem);
        self.note(Record::Unanswered {
            problem: problem.clone(),
            attempts,
            cost,
        })
        .await?;
        let spent = self.state.spent();
        (self.watch)(&Event::Unanswered { problem, spent });
        Ok(())
    }
}
