//! What a person would want to be told when a status changes: a pure function of both.
//!
//! Must not know how it is told.

use super::due::is;
use super::reason::Reason;
use crate::api::catalog::{CatalogStatus, Phase, RunStatus};
use crate::controllers::announce::Announcement;

/// Something to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct News {
    /// Whether something is wrong.
    pub warning: bool,
    /// For machines.
    pub reason: String,
    /// What was done, in a word.
    pub action: &'static str,
    /// For people.
    pub message: String,
}

impl From<News> for Announcement {
    fn from(news: News) -> Self {
        Self {
            warning: news.warning,
            reason: news.reason,
            action: news.action.to_owned(),
            message: news.message,
        }
    }
}

fn news(
    warning: bool,
    reason: impl std::fmt::Display,
    action: &'static str,
    message: impl Into<String>,
) -> News {
    News {
        warning,
        reason: reason.to_string(),
        action,
        message: message.into(),
    }
}

/// What there is to tell.
pub(super) fn events(old: &CatalogStatus, new: &CatalogStatus) -> Vec<News> {
    let mut told = Vec::new();
    if let Some(run) = &new.run {
        told.extend(of_run(old, run, new));
    }
    // Why nothing can run: once, when it comes up or becomes another.
    let refused = |status: &CatalogStatus| {
        let condition = |kind: &str| {
            let found = status.conditions.iter().find(|it| it.type_ == kind)?;
            (found.status == "True").then(|| (found.reason.clone(), found.message.clone()))
        };
        condition("Stalled").or_else(|| condition("Reconciling").filter(|(reason, _)| is_a_problem(reason)))
    };
    let ended = told.iter().any(|news| news.warning);
    if let Some((reason, message)) = refused(new)
        && refused(old).is_none_or(|(known, _)| known != reason)
        && !ended
    {
        told.push(news(true, reason, "Validate", message));
    }
    told
}

/// Reasons of what is missing or refused, as against steps of a run.
fn is_a_problem(reason: &str) -> bool {
    [
        Reason::SecretMissing,
        Reason::SecretKeyMissing,
        Reason::SecretUnusable,
        Reason::SecretForbidden,
        Reason::DatabaseUrlInvalid,
        Reason::PromptsMissing,
        Reason::PromptsInvalid,
        Reason::ProviderMissing,
        Reason::ProviderNotReady,
        Reason::BudgetUsedUp,
    ]
    .iter()
    .any(|known| known.to_string() == reason)
}

fn of_run(old: &CatalogStatus, run: &RunStatus, new: &CatalogStatus) -> Vec<News> {
    let before = old.run.as_ref();
    let was = before.and_then(|run| run.phase);
    let mut told = Vec::new();
    let message = run.message.as_deref().unwrap_or_default();
    if let Some(id) = &run.id
        && before.and_then(|run| run.id.as_ref()) != Some(id)
        && !is(run, Reason::Adopted)
    {
        if before.is_some_and(|before| before.id.is_some()) {
            // Another one takes its place; what it had paid is lost.
            told.push(news(true, "BegunAnew", "Run", message));
        }
        let model = run.model.as_deref().unwrap_or("the model");
        told.push(news(
            false,
            "RunStarted",
            "Run",
            format!("run {id} has begun, with {model}"),
        ));
    }
    let backed_off = |run: &RunStatus| is(run, Reason::BackingOff).then_some(run.attempt);
    if let Some(attempt) = backed_off(run)
        && before.and_then(backed_off) != Some(attempt)
    {
        told.push(news(true, "TryFailed", "Run", message));
    }
    let ended_before = before.and_then(|run| run.finished_at.as_ref());
    if run.finished_at.is_some() && run.finished_at.as_ref() != ended_before {
        match run.phase {
            Some(Phase::Succeeded) if is(run, Reason::Adopted) => {
                told.push(news(false, Reason::Adopted, "Adopt", message));
            }
            Some(Phase::Succeeded) => {
                let page = new.artifacts.as_ref().map_or("", |it| it.catalog.as_str());
                let whole = new.artifacts.as_ref().is_some_and(|it| it.summary.is_some());
                told.push(news(
                    false,
                    Reason::Published,
                    "Publish",
                    format!("the catalog is at {page}"),
                ));
                if !whole {
                    told.push(news(true, Reason::SummaryFailed, "Publish", message));
                }
            }
            Some(Phase::Failed) if is(run, Reason::Replaced) => {
                told.push(news(false, Reason::Replaced, "Stop", message));
            }
            Some(Phase::Failed) => {
                let reason = run.reason.clone().unwrap_or_default();
                told.push(news(
                    true,
                    reason,
                    "Run",
                    format!("the run was given up: {message}"),
                ));
            }
            _ => {}
        }
    }
    if run.phase == Some(Phase::Suspended) && was != Some(Phase::Suspended) {
        told.push(news(false, Reason::Suspended, "Suspend", message));
    }
    if was == Some(Phase::Suspended) && run.phase.is_some_and(|phase| phase != Phase::Suspended) {
        told.push(news(false, "Resumed", "Resume", "it goes on where it was"));
    }
    told
}

#[cfg(test)]
mod tests;
