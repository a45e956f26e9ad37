//! Whose a run is, and what it was begun for.

use super::journal::{self, JournalError, persist};
use super::record::{Asked, Claim, PromptUsed, Record};
use super::{Parts, Plan, RunError, sha256};
use crate::agent::prompts::Role;
use crate::store::RunId;

/// How many runs are looked through for one to go on with.
const UNFINISHED: usize = 100;

/// Whose runs may be gone on with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// One's own.
    Mine,
    /// Anybody's: a person has named the run.
    Anybodys,
}

/// The newest run that was begun for the same, by the same, and has not come to its end.
pub async fn unfinished(plan: &Plan, parts: &Parts) -> Result<Option<RunId>, RunError> {
    let runs = persist(&parts.cancel, || parts.layout.journals(&*parts.store)).await?;
    for run in runs.into_iter().rev().take(UNFINISHED) {
        parts.stop().check()?;
        let begun = match journal::first(&*parts.store, &parts.layout, &parts.cancel, run).await {
            Ok(Some(first)) => first.record,
            // What can't be read is none of ours.
            Ok(None) | Err(JournalError::Damaged { .. } | JournalError::Foreign { .. }) => continue,
            Err(error) => return Err(error.into()),
        };
        let Record::Claimed(begun) = begun else { continue };
        if difference(&begun, &claim(plan, parts, run), Whose::Mine).is_some() {
            continue;
        }
        // What has its report is finished.
        let key = parts.layout.run(run);
        if persist(&parts.cancel, || parts.store.head(&key)).await?.is_none() {
            return Ok(Some(run));
        }
    }
    Ok(None)
}

/// The claim of a run, without secrets: as it will be read again.
pub(super) fn claim(plan: &Plan, parts: &Parts, run: RunId) -> Claim {
    let clean = |text: &str| parts.redactor.redact(text).into_owned();
    let asked = Asked {
        database: clean(plan.database.shown()),
        tables: plan.tables.iter().map(|table| clean(table)).collect(),
        intent: plan.intent.as_deref().map(clean),
        storage: parts.layout.place(&*parts.store),
        model: plan.model.clone(),
        fallbacks: plan.fallbacks.clone(),
        prompts: Role::ALL
            .map(|role| PromptUsed::from(parts.prompts.get(role)))
            .to_vec(),
    };
    let mut manifest = plan.manifest.clone();
    parts.redactor.redact_json(&mut manifest);
    Claim {
        run,
        cataloger: env!("CARGO_PKG_VERSION").to_owned(),
        installation: plan.claimant.installation.clone(),
        catalog: plan.claimant.catalog.clone(),
        order: plan.claimant.order.clone(),
        subject: plan.claimant.subject.clone(),
        fingerprint: fingerprint(&asked),
        asked,
        limits: plan.limits,
        manifest,
    }
}

/// A hash of all that can change the result. The order of the tables does not matter.
fn fingerprint(asked: &Asked) -> String {
    let mut same = asked.clone();
    same.tables.sort();
    sha256(serde_json::to_string(&same).unwrap_or_default().as_bytes())
}

/// In what a run that was begun differs from what is wanted. Where its pages are does not matter: there it was
/// found.
pub(super) fn difference(begun: &Claim, wanted: &Claim, whose: Whose) -> Option<String> {
    let sorted = |claim: &Claim| {
        let mut tables = claim.asked.tables.clone();
        tables.sort();
        tables
    };
    let models = |claim: &Claim| (claim.asked.model.clone(), claim.asked.fallbacks.clone());
    let differs = [
        (
            "the installation",
            whose == Whose::Mine && begun.installation != wanted.installation,
        ),
        ("the Catalog's UID", begun.catalog != wanted.catalog),
        ("the order", whose == Whose::Mine && begun.order != wanted.order),
        ("the database", begun.asked.database != wanted.asked.database),
        ("the list of tables", sorted(begun) != sorted(wanted)),
        ("the intent", begun.asked.intent != wanted.asked.intent),
        ("the model", models(begun) != models(wanted)),
        ("the set of prompts", begun.asked.prompts != wanted.asked.prompts),
    ];
    differs
        .into_iter()
        .find(|(_, differs)| *differs)
        .map(|(what, _)| format!("{what} of it is another"))
}
