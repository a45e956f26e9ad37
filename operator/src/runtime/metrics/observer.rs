//! What the events of a run say of what it uses.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use super::Metrics;
use super::labels::{ModelOutcome, Phase, TokenKind, Tool, ToolOutcome};
use crate::agent::budget::Spent;
use crate::llm::{Progress, Provider, Usage};
use crate::run::Event;

/// Watches one run while it is driven. It counts each thing once, also what a run has used before it was gone on
/// with.
pub struct RunObserver {
    metrics: Metrics,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    spent: Spent,
    phase: Option<Phase>,
    /// Who is asked and has not answered.
    asked: Option<Provider>,
}

impl fmt::Debug for RunObserver {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("RunObserver")
    }
}

impl RunObserver {
    pub(super) fn new(metrics: Metrics) -> Self {
        Self {
            metrics,
            seen: Mutex::default(),
        }
    }

    /// Takes an event of the run.
    pub fn observe(&self, event: &Event) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Resumed { so_far, .. } => seen.spent = so_far.spent,
            Event::Phase(phase) => self.at(&mut seen, Some((*phase).into())),
            Event::Model(Progress::Asked { model }) => seen.asked = Some(model.provider),
            Event::Model(Progress::Retrying { .. } | Progress::FellBack { .. }) => self.failed(&mut seen),
            Event::Answered { model, spent, .. } => {
                seen.asked = None;
                self.metrics
                    .model_called(model.provider.into(), ModelOutcome::Answered);
                self.used(&mut seen, spent);
            }
            Event::Unanswered { spent, .. } => {
                self.failed(&mut seen);
                self.used(&mut seen, spent);
            }
            Event::Ran { ok, .. } => self.called(Tool::ExecutePython, *ok),
            Event::Checked { problem } => self.called(Tool::SubmitHtml, problem.is_none()),
            _ => {}
        }
    }

    /// Takes what the whole run has used, where an outcome says that.
    pub fn spent(&self, spent: &Spent) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        self.used(&mut seen, spent);
    }

    /// The run is at nothing any more. How it ended is counted by who writes that down.
    pub fn over(&self) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        self.at(&mut seen, None);
    }

    fn at(&self, seen: &mut Seen, phase: Option<Phase>) {
        if let Some(before) = std::mem::replace(&mut seen.phase, phase) {
            self.metrics.active_runs(before).dec();
        }
        if let Some(phase) = phase {
            self.metrics.active_runs(phase).inc();
        }
    }

    /// Who was asked did not answer.
    fn failed(&self, seen: &mut Seen) {
        if let Some(provider) = seen.asked.take() {
            self.metrics.model_called(provider.into(), ModelOutcome::Failed);
        }
    }

    fn called(&self, tool: Tool, ok: bool) {
        let outcome = if ok { ToolOutcome::Ok } else { ToolOutcome::Error };
        self.metrics.tool_called(tool, outcome);
    }

    fn used(&self, seen: &mut Seen, spent: &Spent) {
        let before = std::mem::replace(&mut seen.spent, *spent);
        for kind in TokenKind::ALL {
            let more = tokens(&spent.usage, *kind).saturating_sub(tokens(&before.usage, *kind));
            self.metrics.tokens_used(*kind, more);
        }
        if let Some((now, before)) = spent.cost.zip(before.cost) {
            self.metrics.paid(now.0.saturating_sub(before.0));
        }
    }
}

impl Drop for RunObserver {
    fn drop(&mut self) {
        let mut seen = std::mem::take(self.seen.get_mut().unwrap_or_else(PoisonError::into_inner));
        self.at(&mut seen, None);
    }
}

fn tokens(usage: &Usage, kind: TokenKind) -> u64 {
    match kind {
        TokenKind::Input => usage.input,
        TokenKind::Output => usage.output,
        TokenKind::CacheRead => usage.cache_read,
        TokenKind::CacheWrite => usage.cache_write,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{has, value};
    use std::time::Duration;

    use super::*;
    use crate::agent::budget::Limits;
    use crate::llm::ModelSpec;
    use crate::llm::prices::Cost;
    use crate::run::{self, SoFar};
    use crate::store::RunId;

    fn model(name: &str) -> ModelSpec {
        name.parse().unwrap()
    }

    fn spent(input: u64, output: u64, cost: Option<u64>) -> Spent {
        Spent {
            usage: Usage {
                input,
                output,
                cache_read: 7,
                ..Usage::default()
            },
            cost: cost.map(Cost),
            turns: 1,
        }
    }

    fn answered(spent: Spent) -> Event {
        Event::Answered {
            model: model("openai/b"),
            text: String::new(),
            spent,
            limits: Limits {
                tokens: 1,
                cost: None,
                turns: 1,
                time: Duration::ZERO,
            },
        }
    }

    fn asked(name: &str) -> Event {
        Event::Model(Progress::Asked { model: model(name) })
    }

    #[test]
    fn what_is_used_is_counted_once() {
        let metrics = Metrics::new();
        let observer = metrics.run_observer();
        observer.observe(&Event::Resumed {
            run: RunId::at(std::time::UNIX_EPOCH),
            folder: String::new(),
            entries: 3,
            so_far: SoFar {
                spent: spent(100, 10, Some(1_000_000)),
                ..SoFar::default()
            },
        });
        observer.observe(&answered(spent(150, 30, Some(1_500_000))));
        observer.observe(&answered(spent(150, 31, Some(1_750_000))));
        observer.spent(&spent(160, 31, None));
        observer.spent(&spent(160, 31, None));
        assert!(has(&metrics, "cataloger_tokens_total{kind=\"input\"} 60"));
        assert!(has(&metrics, "cataloger_tokens_total{kind=\"output\"} 21"));
        assert!(has(&metrics, "cataloger_tokens_total{kind=\"cache_read\"} 0"));
        assert!(has(&metrics, "cataloger_cost_dollars_total 0.75"));
    }

    #[test]
    fn models_and_tools_are_counted_by_outcome() {
        let metrics = Metrics::new();
        let calls = |provider: &str, outcome: &str| {
            value(
                &metrics,
                &format!("cataloger_model_calls_total{{provider=\"{provider}\",outcome=\"{outcome}\"}}"),
            )
        };
        let observer = metrics.run_observer();
        for event in [
            asked("anthropic/a"),
            Event::Model(Progress::Retrying {
                model: model("anthropic/a"),
                problem: String::new(),
                after: Duration::ZERO,
            }),
            asked("anthropic/a"),
            Event::Model(Progress::FellBack {
                from: model("anthropic/a"),
                to: model("openai/b"),
                problem: String::new(),
            }),
            asked("openai/b"),
            answered(Spent::default()),
            asked("openai/b"),
            Event::Unanswered {
                problem: String::new(),
                spent: Spent::default(),
            },
            Event::Ran {
                ok: true,
                told: String::new(),
                took: Duration::ZERO,
            },
            Event::Checked {
                problem: Some(String::new()),
            },
            Event::Checked { problem: None },
        ] {
            observer.observe(&event);
        }
        assert_eq!(
            (calls("anthropic", "failed"), calls("anthropic", "answered")),
            (2, 0)
        );
        assert_eq!((calls("openai", "failed"), calls("openai", "answered")), (1, 1));
        for (tool, outcome, count) in [
            ("execute_python", "ok", 1),
            ("execute_python", "error", 0),
            ("submit_html", "ok", 1),
            ("submit_html", "error", 1),
        ] {
            assert!(has(
                &metrics,
                &format!("cataloger_tool_calls_total{{tool=\"{tool}\",outcome=\"{outcome}\"}} {count}")
            ));
        }
        // One that is stopped while it asks has no answer, and that is nobody's failure.
        observer.observe(&asked("builtin"));
        observer.over();
        drop(observer);
        assert_eq!(calls("builtin", "failed"), 0);
    }

    #[test]
    fn runs_under_way_are_in_one_phase() {
        let metrics = Metrics::new();
        let active = |phase: &str| value(&metrics, &format!("cataloger_active_runs{{phase=\"{phase}\"}}"));
        let (one, other) = (metrics.run_observer(), metrics.run_observer());
        one.observe(&Event::Phase(run::Phase::Preparing));
        other.observe(&Event::Phase(run::Phase::Preparing));
        other.observe(&Event::Phase(run::Phase::Cataloging));
        other.observe(&Event::Phase(run::Phase::Cataloging));
        assert_eq!((active("preparing"), active("cataloging")), (1, 1));
        one.over();
        drop((one, other));
        assert_eq!((active("preparing"), active("cataloging")), (0, 0));
    }
}
