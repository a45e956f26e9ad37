//! The last run under a prefix that came to its end, as its `run.json` tells of it: for a Catalog that is made anew,
//! which need not pay for what is there.
//!
//! What is read is data of a bucket: what is not understood is passed over, and nothing of it is obeyed.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::journal::persist;
use super::record::Moment;
use super::{RunError, Subject};
use crate::agent::budget::Spent;
use crate::llm::prices::Cost;
use crate::llm::{ModelSpec, Usage, cut};
use crate::store::{Layout, Problem, RunId, Store, StoreError};

/// How many runs are looked through: those that came to nothing have no report.
const LOOKED_THROUGH: usize = 100;
/// What a report may say at length.
const WARNINGS: usize = 100;
const TEXT: usize = 2000;

/// A run that came to its end.
#[derive(Debug, Clone, PartialEq)]
pub struct GoodRun {
    /// The run.
    pub run: RunId,
    /// For whom it was made, if that was somebody with a name.
    pub subject: Option<Subject>,
    /// What bought it.
    pub order: Option<String>,
    /// The engine's own hash of what it was asked.
    pub fingerprint: String,
    /// When it began.
    pub started_at: Moment,
    /// When it came to its end.
    pub finished_at: Moment,
    /// How often it was driven.
    pub attempts: u32,
    /// How long.
    pub driven: Duration,
    /// Where its objects are, by their names.
    pub objects: Vec<(String, String)>,
    /// Why there is no summary, if there is none.
    pub summary_failure: Option<String>,
    /// The models that answered, the one with the most turns first.
    pub models: Vec<ModelSpec>,
    /// What it used.
    pub spent: Spent,
    /// What else there is to know.
    pub warnings: Vec<String>,
}

impl GoodRun {
    /// Whether it was made for this Catalog, asking for the same, and answers the request of it that there is now.
    pub fn is_of(&self, subject: &Subject) -> bool {
        let answers = |own: &Subject| Subject {
            // Who asks for no run of its own takes one that somebody asked for.
            requested_at: subject.requested_at.as_ref().and(own.requested_at.clone()),
            ..own.clone()
        };
        self.subject.as_ref().map(answers).as_ref() == Some(subject)
    }
}

/// The newest run under a prefix with a catalog and a report. One that is under way has no report.
pub async fn last_good(
    store: &dyn Store,
    layout: &Layout,
    cancel: &CancellationToken,
) -> Result<Option<GoodRun>, RunError> {
    let runs = persist(cancel, || layout.runs(store)).await?;
    for run in runs.into_iter().rev().take(LOOKED_THROUGH) {
        if cancel.is_cancelled() {
            return Err(RunError::Interrupted);
        }
        let Some(content) = content(store, layout, cancel, run).await? else {
            continue;
        };
        let catalog = layout.catalog(run);
        if persist(cancel, || store.head(&catalog)).await?.is_none() {
            continue;
        }
        match serde_json::from_slice::<Written>(&content) {
            Ok(written) if written.run == run => return Ok(Some(written.into_run(store, layout))),
            Ok(written) => tracing::warn!(%run, of = %written.run, "a report of another run is passed over"),
            Err(error) => tracing::warn!(%run, %error, "a report that can't be read is passed over"),
        }
    }
    Ok(None)
}

async fn content(
    store: &dyn Store,
    layout: &Layout,
    cancel: &CancellationToken,
    run: RunId,
) -> Result<Option<Bytes>, StoreError> {
    let key = layout.run(run);
    match persist(cancel, || store.get(&key)).await {
        Ok(object) => Ok(object.map(|object| object.content)),
        // None that anybody of us wrote.
        Err(error) if matches!(error.problem, Problem::TooLarge { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// What is needed of a report, whichever release wrote it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    run: RunId,
    fingerprint: String,
    #[serde(default)]
    order: Option<String>,
    #[serde(default)]
    subject: Option<Subject>,
    started_at: Moment,
    finished_at: Moment,
    #[serde(default)]
    seconds: f64,
    #[serde(default)]
    attempts: u32,
    #[serde(default)]
    usage: Used,
    #[serde(default)]
    catalog: Option<Agent>,
    #[serde(default)]
    summary: Option<Agent>,
    #[serde(default)]
    objects: BTreeMap<String, Value>,
    #[serde(default)]
    warnings: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Used {
    turns: u32,
    input: u64,
    output: u64,
    cache_write: u64,
    cache_read: u64,
    cost: Option<f64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Agent {
    models: Vec<Answered>,
    failure: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Answered {
    asked: String,
    #[serde(default)]
    turns: u32,
}

impl Written {
    fn into_run(self, store: &dyn Store, layout: &Layout) -> GoodRun {
        let run = self.run;
        let mut turns = BTreeMap::<ModelSpec, u32>::new();
        let agents = [&self.catalog, &self.summary];
        for answered in agents.into_iter().flatten().flat_map(|agent| &agent.models) {
            if let Ok(model) = answered.asked.parse() {
                let sum = turns.entry(model).or_default();
                *sum = sum.saturating_add(answered.turns);
            }
        }
        let report = layout.run(run);
        // Only what runs are made of: a name is never a path.
        let known = self.objects.keys().filter_map(|name| layout.object(run, name));
        let keys: Vec<_> = known
            .filter(|key| *key != report)
            .chain([report.clone()])
            .collect();
        let summary = layout.summary(run);
        let failure = self.summary.and_then(|agent| agent.failure);
        let summary_failure = (!keys.contains(&summary))
            .then(|| failure.map_or_else(|| "run.json says why".to_owned(), |failure| cut(&failure, TEXT)));
        GoodRun {
            run,
            subject: self.subject,
            order: self.order,
            fingerprint: self.fingerprint,
            started_at: self.started_at,
            finished_at: self.finished_at,
            attempts: self.attempts,
            driven: Duration::try_from_secs_f64(self.seconds).unwrap_or_default(),
            objects: keys
                .iter()
                .map(|key| (key.name().to_owned(), store.uri(key)))
                .collect(),
            summary_failure,
            models: super::outcome::by_turns(turns),
            spent: self.usage.into(),
            warnings: self
                .warnings
                .iter()
                .take(WARNINGS)
                .map(|warning| cut(warning, TEXT))
                .collect(),
        }
    }
}

impl From<Used> for Spent {
    fn from(used: Used) -> Self {
        Self {
            usage: Usage {
                input: used.input,
                output: used.output,
                cache_write: used.cache_write,
                cache_read: used.cache_read,
            },
            cost: used.cost.map(micro),
            turns: used.turns,
        }
    }
}

/// From dollars.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "what is below or beyond becomes the least or the most"
)]
fn micro(dollars: f64) -> Cost {
    Cost((dollars * 1e6).round() as u64)
}

#[cfg(test)]
mod tests;
