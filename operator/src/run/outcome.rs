//! What a run has come to: at its end, and so far. It follows from the journal.
//!
//! It must not know who asks.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

use super::state::State;
use crate::agent::budget::Spent;
use crate::agent::prompts::Role;
use crate::llm::ModelSpec;
use crate::store::{Layout, RunId, Store};

/// A run that has come to its end.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The run.
    pub run: RunId,
    /// Where its objects are, by their names, in the order in which they were written.
    pub objects: Vec<(String, String)>,
    /// Why there is no summary, if there is none.
    pub summary_failure: Option<String>,
    /// The models that answered, the one with the most turns first.
    pub models: Vec<ModelSpec>,
    /// What it used.
    pub spent: Spent,
    /// How long it was driven.
    pub driven: Duration,
    /// What else there is to know.
    pub warnings: Vec<String>,
}

/// What a run that is gone on with has come to, for who has not seen it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SoFar {
    /// How often it was driven before.
    pub attempts: u32,
    /// The agent at work, if one has begun.
    pub role: Option<Role>,
    /// The model that answered it last.
    pub model: Option<ModelSpec>,
    /// What the whole run has used.
    pub spent: Spent,
    /// How long it was driven.
    pub driven: Duration,
    /// Where the objects are that are published, by their names.
    pub objects: Vec<(String, String)>,
}

impl Outcome {
    /// Of a run that is finished. `no_summary` says why there is no summary, where the journal does not.
    pub(super) fn of(state: &State, store: &dyn Store, layout: &Layout, no_summary: Option<&str>) -> Self {
        let run = state.claim.run;
        let mut objects = published(state, store, layout);
        let report = layout.run(run);
        objects.push((report.name().to_owned(), store.uri(&report)));
        let failure = state
            .of(Role::Summary)
            .and_then(|work| work.ended.as_ref()?.1.as_ref())
            .map(ToString::to_string)
            .or_else(|| no_summary.map(str::to_owned));
        let is_there = state.is_published(layout.summary(run).name());
        Self {
            run,
            objects,
            summary_failure: (!is_there).then(|| failure.unwrap_or_else(|| "run.json says why".to_owned())),
            models: state.models(),
            spent: state.spent(),
            driven: state.driven(),
            warnings: state
                .finished
                .as_ref()
                .map_or_else(Vec::new, |finish| finish.warnings.clone()),
        }
    }
}

impl SoFar {
    /// Of a run as its journal has it.
    pub(super) fn of(state: &State, store: &dyn Store, layout: &Layout) -> Self {
        let role = state.at_work();
        Self {
            attempts: state.attempts,
            role,
            model: role.and_then(|role| state.of(role)?.last_model()).cloned(),
            spent: state.spent(),
            driven: state.driven(),
            objects: published(state, store, layout),
        }
    }
}

/// Models, the one with the most turns first.
pub(super) fn by_turns(turns: BTreeMap<ModelSpec, u32>) -> Vec<ModelSpec> {
    let mut models: Vec<_> = turns.into_iter().collect();
    models.sort_by_key(|(_, turns)| Reverse(*turns));
    models.into_iter().map(|(model, _)| model).collect()
}

/// Where the published objects are, by their names.
fn published(state: &State, store: &dyn Store, layout: &Layout) -> Vec<(String, String)> {
    let published = state.published.iter();
    published
        .filter_map(|it| layout.object(state.claim.run, &it.name))
        .map(|key| (key.name().to_owned(), store.uri(&key)))
        .collect()
}
