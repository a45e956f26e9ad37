//! `run.json`: how a run came about, for who asks where a page came from. It follows from the journal alone, so
//! it is the same whoever writes it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Subject;
use super::preflight::Survey;
use super::record::{Asked, Moment};
use super::state::{State, Work};
use crate::agent::budget::Limits;
use crate::agent::prompts::Role;
use crate::llm::ModelSpec;
use crate::llm::prices::Cost;
use crate::redact::Redactor;
use crate::store::RunId;

/// The version of the format.
const VERSION: u32 = 1;

/// The report of a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    version: u32,
    run: RunId,
    cataloger: String,
    fingerprint: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    order: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<Subject>,
    started_at: Moment,
    finished_at: Moment,
    /// While it was driven: the time between attempts does not count.
    seconds: f64,
    attempts: u32,
    asked: Asked,
    /// What of it was found, and how it was shown that nothing can be written.
    database: Option<Survey>,
    limits: Limits,
    manifest: Value,
    usage: Usage,
    catalog: Option<Agent>,
    summary: Option<Agent>,
    objects: BTreeMap<String, Object>,
    warnings: Vec<String>,
}

/// Tokens and money.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    turns: u32,
    /// Those that count against the limit.
    tokens: u64,
    input: u64,
    output: u64,
    cache_write: u64,
    cache_read: u64,
    /// In US dollars; null if it is not known.
    cost: Option<f64>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Agent {
    began_at: Moment,
    seconds: f64,
    usage: Usage,
    calls: usize,
    models: Vec<Answered>,
    /// Why a model was asked again, or another one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    retries: Vec<Retry>,
    earlier_runs: Vec<RunId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct Answered {
    asked: ModelSpec,
    model: String,
    turns: u32,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct Retry {
    asked: ModelSpec,
    problem: String,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct Object {
    bytes: u64,
    sha256: String,
}

fn usage(spent: &crate::agent::budget::Spent) -> Usage {
    Usage {
        turns: spent.turns,
        tokens: spent.usage.budget_tokens(),
        input: spent.usage.input,
        output: spent.usage.output,
        cache_write: spent.usage.cache_write,
        cache_read: spent.usage.cache_read,
        cost: spent.cost.map(Cost::dollars),
    }
}

fn agent(work: &Work, finished: Moment) -> Agent {
    let (ended, failure) = work.ended.clone().unwrap_or((finished, None));
    Agent {
        began_at: work.began,
        seconds: ended.since(work.began).as_secs_f64(),
        usage: usage(&work.agent.spent()),
        calls: work.cells.len(),
        models: work
            .answered
            .iter()
            .map(|((asked, answered), turns)| Answered {
                asked: asked.clone(),
                model: answered.clone(),
                turns: *turns,
            })
            .collect(),
        retries: work
            .failed
            .iter()
            .map(|attempt| Retry {
                asked: attempt.asked.clone(),
                problem: attempt.problem.clone(),
            })
            .collect(),
        earlier_runs: work.beginning.earlier.clone(),
        failure: failure.map(|failure| failure.to_string()),
    }
}

/// The report of a run that is finished, as it is written; none of one that is not.
pub(super) fn text(state: &State, redactor: &Redactor) -> Option<Result<String, serde_json::Error>> {
    let report = report(state)?;
    Some(serde_json::to_value(&report).map(|mut report| {
        // Redacted as values: as a text it might be no JSON any more.
        redactor.redact_json(&mut report);
        format!("{report:#}\n")
    }))
}

fn report(state: &State) -> Option<Report> {
    let finish = state.finished.as_ref()?;
    let part = |role| state.of(role).map(|work| agent(work, finish.at));
    Some(Report {
        version: VERSION,
        run: state.claim.run,
        cataloger: state.claim.cataloger.clone(),
        fingerprint: state.claim.fingerprint.clone(),
        order: state.claim.order.clone(),
        subject: state.claim.subject.clone(),
        started_at: state.began,
        finished_at: finish.at,
        seconds: state.driven().as_secs_f64(),
        attempts: state.attempts,
        asked: state.claim.asked.clone(),
        database: state.survey.clone(),
        limits: state.limits,
        manifest: state.claim.manifest.clone(),
        usage: usage(&state.spent()),
        catalog: part(Role::Cataloging),
        summary: part(Role::Summary),
        objects: state
            .published
            .iter()
            .map(|published| {
                let object = Object {
                    bytes: published.bytes,
                    sha256: published.sha256.clone(),
                };
                (published.name.clone(), object)
            })
            .collect(),
        warnings: finish.warnings.clone(),
    })
}

/// What a report says of the run that it is of, in every version.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Identity {
    run: RunId,
    fingerprint: String,
    finished_at: Moment,
}

/// Whether something is a report of a run that is finished, perhaps as another release writes it.
pub(super) fn is_of(state: &State, content: &[u8]) -> bool {
    let Some(finish) = &state.finished else {
        return false;
    };
    serde_json::from_slice::<Identity>(content).is_ok_and(|there| {
        there.run == state.claim.run
            && there.fingerprint == state.claim.fingerprint
            && there.finished_at == finish.at
    })
}
