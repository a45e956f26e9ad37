//! Each error, and what can heal it.

use std::time::Duration;

use serde_json::json;

use super::*;
use crate::agent::budget::UsedUp;
use crate::agent::prompts::Prompts;
use crate::llm::{Attempt, ModelSpec, Usage};
use crate::run::preflight;
use crate::sandbox::{CallId, Loss, NotStarted, Obstacle};
use crate::store::preflight::PreflightError;
use crate::store::{Operation, Problem, RunId};

use Remedy::{Change, Nothing, Retry};

/// What is expected of an error: what heals it, and whether the run goes on.
type Expected = (RunError, Remedy, bool);

fn check(table: Vec<Expected>) {
    for (error, remedy, resumable) in table {
        assert_eq!(error.remedy(), remedy, "{error:?}");
        assert_eq!(error.is_resumable(), resumable, "{error:?}");
    }
}

fn text() -> String {
    "x".to_owned()
}

fn run() -> RunId {
    "20261121T120000Z".parse().unwrap()
}

#[test]
fn of_runs() {
    let prompt = Prompts::load(std::path::Path::new("/nowhere")).unwrap_err();
    check(vec![
        (RunError::Input(text()), Change, true),
        (RunError::Prompt(prompt), Change, true),
        (RunError::Database { message: text() }, Retry, true),
        (
            RunError::Occupied {
                on: text(),
                run: run(),
            },
            Retry,
            false,
        ),
        (RunError::NotResumable(text()), Retry, false),
        (RunError::NoName { from: run() }, Retry, false),
        (RunError::Interrupted, Nothing, true),
    ]);
}

#[test]
fn of_stores() {
    let message = text;
    let after = Duration::from_secs(1);
    let bucket = text();
    for (problem, remedy) in [
        (Problem::Unreachable { message: message() }, Retry),
        (Problem::Timeout { after }, Retry),
        (Problem::Unavailable { message: message() }, Retry),
        (Problem::Contended, Retry),
        (Problem::Protocol { message: message() }, Retry),
        (Problem::Throttled { message: message() }, Retry),
        (Problem::Address { message: message() }, Change),
        (Problem::Denied { message: message() }, Change),
        (Problem::NoCredentials { message: message() }, Change),
        (Problem::NoBucket { bucket }, Change),
        (Problem::Unsupported { message: message() }, Change),
        (Problem::Full { message: message() }, Change),
        (Problem::Blocked { message: message() }, Change),
        (Problem::TooLarge { size: 1 }, Change),
        (Problem::TooMany { most: 1 }, Change),
        (Problem::Refused { message: message() }, Change),
        (Problem::File { message: message() }, Change),
    ] {
        let error = StoreError {
            operation: Operation::Put,
            on: text(),
            problem,
        };
        check(vec![
            (error.clone().into(), remedy, true),
            (JournalError::from(error.clone()).into(), remedy, true),
            (PreflightError::from(error).into(), remedy, true),
        ]);
    }
    let on = text;
    check(vec![
        (
            PreflightError::ConditionIgnored {
                on: on(),
                message: text(),
            }
            .into(),
            Change,
            true,
        ),
        (
            PreflightError::Untrue {
                on: on(),
                message: text(),
            }
            .into(),
            Change,
            true,
        ),
    ]);
}

#[test]
fn of_journals() {
    let (on, message, run) = (text(), text(), run());
    check(vec![
        (JournalError::Overtaken { run, number: 7 }.into(), Nothing, true),
        (
            JournalError::Damaged {
                on: on.clone(),
                message,
            }
            .into(),
            Retry,
            false,
        ),
        (JournalError::Foreign { on, version: 2 }.into(), Retry, false),
        (JournalError::Full { run }.into(), Retry, false),
    ]);
}

#[test]
fn of_sandboxes() {
    let (message, id, after) = (text, CallId(1), Duration::from_secs(1));
    for (error, remedy) in [
        (SandboxError::Superseded { ours: 1, theirs: 2 }, Nothing),
        (SandboxError::Lost(Loss::Gone { message: message() }), Retry),
        (SandboxError::Busy { id, running: None }, Retry),
        (SandboxError::Full { id }, Retry),
        (SandboxError::Forgotten { id }, Retry),
        (SandboxError::Conflict { id }, Retry),
        (SandboxError::Invalid { message: message() }, Change),
        (SandboxError::ProofRefused, Retry),
        (SandboxError::NotClaimed, Retry),
        (SandboxError::Protocol { message: message() }, Change),
        (SandboxError::Timeout { what: text(), after }, Retry),
        (SandboxError::Setup { message: message() }, Retry),
        (SandboxError::Leftovers { message: message() }, Retry),
        (SandboxError::Closed, Retry),
    ] {
        check(vec![(error.into(), remedy, true)]);
    }
    for (obstacle, remedy) in [
        (Obstacle::Unschedulable, Retry),
        (Obstacle::ImageMissing, Change),
        (Obstacle::ImageDenied, Change),
        (Obstacle::ImageUnavailable, Retry),
        (Obstacle::Unmountable, Retry),
        (Obstacle::Crashing, Change),
        (Obstacle::Quota, Retry),
        (Obstacle::Refused, Change),
        (Obstacle::Forbidden, Change),
        (Obstacle::Occupied, Change),
        (Obstacle::Gone, Retry),
        (Obstacle::Slow, Retry),
        (Obstacle::Unreachable, Retry),
    ] {
        let message = message();
        let error = SandboxError::from(NotStarted { obstacle, message });
        check(vec![(error.into(), remedy, true)]);
    }
}

/// The kinds of the survey's failures, as Python writes them.
#[test]
fn of_databases() {
    let refused = |kinds: &[&str]| {
        let failures: Vec<_> = kinds
            .iter()
            .map(|kind| json!({"kind": kind, "problem": "p", "advice": "a"}))
            .collect();
        let document = json!({
            "preflight": 1, "engine": "", "version": "", "role": "", "tables": [], "failures": failures,
        });
        preflight::read(document).unwrap().unwrap_err()
    };
    for passing in [
        "unresolved",
        "refused",
        "timeout",
        "unreachable",
        "silent",
        "server",
        "busy",
        "starting",
        "unexpected",
    ] {
        check(vec![
            (refused(&[passing]).into(), Retry, true),
            (refused(&[passing, "writable"]).into(), Change, true),
        ]);
    }
    for staying in [
        "url",
        "bad_name",
        "no_such_table",
        "no_match",
        "ambiguous",
        "too_many_tables",
        "password",
        "tls",
        "no_database",
        "no_right",
        "not_admitted",
        "no_role",
        "pooler",
        "locked",
        "driver",
        "writable",
        "what a later release finds",
    ] {
        check(vec![(refused(&[staying]).into(), Change, true)]);
    }
}

fn model() -> ModelSpec {
    "anthropic/a".parse().unwrap()
}

fn status(status: u16) -> ModelError {
    ModelError::Status {
        model: model(),
        status,
        message: text(),
        retry_after: None,
        spent: Usage::default(),
    }
}

#[test]
fn of_models() {
    let (model, message, spent, after) = (model, text, Usage::default(), Duration::from_secs(1));
    let unreachable = ModelError::Unreachable {
        model: model(),
        host: text(),
        message: message(),
    };
    let exhausted = |asked: &[&str], last: ModelError| ModelError::Exhausted {
        attempts: asked
            .iter()
            .map(|asked| Attempt {
                asked: asked.parse().unwrap(),
                problem: text(),
                spent,
                waited: after,
            })
            .collect(),
        last: Box::new(last),
    };
    let invalid = ModelError::Invalid { message: message() };
    for (error, remedy) in [
        (unreachable.clone(), Retry),
        (
            ModelError::Broken {
                model: model(),
                message: message(),
                spent,
            },
            Retry,
        ),
        (
            ModelError::Silent {
                model: model(),
                after,
                spent,
            },
            Retry,
        ),
        (
            ModelError::TooSlow {
                model: model(),
                after,
                spent,
            },
            Retry,
        ),
        (
            ModelError::Deadline {
                model: model(),
                spent,
            },
            Change,
        ),
        (
            ModelError::Quota {
                model: model(),
                message: message(),
            },
            Change,
        ),
        (
            ModelError::TooLong {
                model: model(),
                message: message(),
            },
            Change,
        ),
        (
            ModelError::NotUnderstood {
                model: model(),
                message: message(),
                spent,
            },
            Retry,
        ),
        (ModelError::Setup { message: message() }, Change),
        (
            ModelError::NoLeave {
                model: model(),
                message: message(),
            },
            Retry,
        ),
        (exhausted(&["anthropic/a", "anthropic/a"], unreachable), Retry),
        (exhausted(&["anthropic/a", "anthropic/a"], status(404)), Change),
        (exhausted(&["openai/b", "anthropic/a"], status(404)), Retry),
    ] {
        check(vec![(error.into(), remedy, true)]);
    }
    check(vec![
        (invalid.clone().into(), Change, false),
        (exhausted(&[], invalid).into(), Change, false),
    ]);
    for code in [401, 408, 425, 429, 500, 501, 502, 503, 504, 529] {
        check(vec![(status(code).into(), Retry, true)]);
    }
    for code in [301, 400, 402, 403, 404, 409, 413, 422] {
        check(vec![(status(code).into(), Change, true)]);
    }
}

#[test]
fn of_budgets() {
    let opens_at = "2026-12-01T00:00:00Z".parse().unwrap();
    let budget = ModelError::Budget {
        model: model(),
        message: text(),
        opens_at,
    };
    for error in [
        budget.clone(),
        ModelError::Exhausted {
            attempts: Vec::new(),
            last: Box::new(budget),
        },
    ] {
        let error = RunError::from(error);
        assert_eq!(error.not_before(), Some(opens_at), "{error}");
        check(vec![(error, Retry, true)]);
    }
    assert_eq!(RunError::from(status(429)).not_before(), None);
}

#[test]
fn of_agents() {
    let limit = Duration::from_secs(1);
    for (defeat, remedy, resumable) in [
        (Defeat::UsedUp(UsedUp::Turns { limit: 3 }), Change, true),
        (Defeat::UsedUp(UsedUp::Time { limit }), Change, true),
        (Defeat::Refused { detail: None }, Change, true),
        (Defeat::Silent, Retry, true),
        (Defeat::Clumsy, Retry, true),
        (Defeat::Circling, Retry, true),
        (Defeat::TooLong, Change, false),
    ] {
        let error = RunError::NoPage(Failure::Defeat(defeat));
        check(vec![(error, remedy, resumable)]);
    }
    check(vec![(RunError::NoPage(Failure::Trouble(text())), Retry, false)]);
}
