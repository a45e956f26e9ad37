//! Drives a run: does what is next (`run/next.rs`), until nothing is. What came of an act is in the journal before its
//! effect is used, so a run that is cut off anywhere goes on where it was.
//!
//! It must not decide what is next.

mod ask;
mod execute;
mod pages;
mod ready;
mod task;

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::claim::{Whose, claim, difference};
use super::event::{Event, Phase, Watch};
use super::journal::{self, Journal, JournalError, persist};
use super::next::{Act, Deed, Here, next};
use super::outcome::{Outcome, SoFar};
use super::record::Record;
use super::state::State;
use super::workplace::Workplace;
use super::{Kind, Parts, Plan, RunError, sha256};
use crate::agent::prompts::Role;
use crate::sandbox::BootId;
use crate::store::RunId;

/// How many names are tried for a run.
const NAMES: u32 = 100;

/// Begins a run, and drives it to its end.
pub async fn start(plan: &Plan, parts: &Parts, watch: &Watch<'_>) -> Result<Outcome, RunError> {
    check(plan, parts)?;
    parts.stop().check()?;
    watch(&Event::Phase(Phase::Preparing));
    // To its end, also when nobody wants the run any more: it must remove what it writes.
    let proof = parts
        .proven
        .prove(&*parts.store, &parts.layout, prover(plan))
        .await?;
    parts.stop().check()?;
    let leftover = proof.leftover.map(|leftover| {
        format!("an object of the preflight stays, and old runs can't be removed: {leftover}")
    });
    let first = RunId::at(SystemTime::now());
    let mut from = first;
    for _ in 0..NAMES {
        let run = persist(&parts.cancel, || parts.layout.next_free(&*parts.store, from)).await?;
        let mut journal = Journal::new(
            (&*parts.store, &parts.layout),
            &parts.redactor,
            &parts.cancel,
            watch,
            (run, 0),
        );
        match journal.append(Record::Claimed(claim(plan, parts, run))).await {
            Ok(entry) => {
                let state = State::new(entry).map_err(|problem| damaged(parts, run, problem))?;
                watch(&Event::Claimed {
                    run,
                    folder: parts.store.uri(&parts.layout.run_folder(run)),
                });
                return Engine::new(plan, parts, watch, journal, state, leftover)
                    .drive()
                    .await;
            }
            Err(JournalError::Overtaken { .. }) => from = run.following(),
            Err(error) => return Err(error.into()),
        }
    }
    Err(RunError::NoName { from: first })
}

/// Whose probes of the store are this Catalog's own: its leader proves the store for one run at a time.
fn prover(plan: &Plan) -> Option<u64> {
    let claimant = &plan.claimant;
    let catalog = claimant.catalog.as_ref()?;
    let hash = sha256(format!("{}|{catalog}", claimant.installation).as_bytes());
    u64::from_str_radix(hash.get(..16)?, 16).ok()
}

/// Goes on with a run, to its end.
pub async fn resume(
    plan: &Plan,
    parts: &Parts,
    (run, whose): (RunId, Whose),
    watch: &Watch<'_>,
) -> Result<Outcome, RunError> {
    check(plan, parts)?;
    parts.stop().check()?;
    let entries = journal::load(&*parts.store, &parts.layout, &parts.cancel, run).await?;
    let Ok(count) = u32::try_from(entries.len()) else {
        return Err(JournalError::Full { run }.into());
    };
    if count == 0 {
        return Err(RunError::NotResumable(format!(
            "run {run} has no journal at {}",
            parts.store.uri(&parts.layout.journal_folder(run))
        )));
    }
    let mut state = State::fold(entries).map_err(|problem| damaged(parts, run, problem))?;
    let wanted = claim(plan, parts, run);
    if let Some(difference) = difference(&state.claim, &wanted, whose) {
        return Err(RunError::NotResumable(format!(
            "run {run} was begun for something else ({difference}): ask for the same, or start another run"
        )));
    }
    let mut journal = Journal::new(
        (&*parts.store, &parts.layout),
        &parts.redactor,
        &parts.cancel,
        watch,
        (run, count),
    );
    watch(&Event::Resumed {
        run,
        folder: parts.store.uri(&parts.layout.run_folder(run)),
        entries: count,
        so_far: SoFar::of(&state, &*parts.store, &parts.layout),
    });
    if state.finished.is_none() {
        let entry = journal.append(Record::Resumed { limits: plan.limits }).await?;
        state
            .apply(entry)
            .map_err(|problem| damaged(parts, run, problem))?;
    }
    Engine::new(plan, parts, watch, journal, state, None)
        .drive()
        .await
}

fn damaged(parts: &Parts, run: RunId, message: String) -> RunError {
    RunError::Journal(JournalError::Damaged {
        on: parts.store.uri(&parts.layout.journal_folder(run)),
        message,
    })
}

/// What can be seen to be wrong before anything is done.
fn check(plan: &Plan, parts: &Parts) -> Result<(), RunError> {
    if plan.tables.is_empty() {
        return Err(RunError::Input("no tables are named".to_owned()));
    }
    if plan.limits.cost.is_some()
        && let Some(unknown) = std::iter::once(&plan.model)
            .chain(&plan.fallbacks)
            .find(|model| parts.prices.get(model).is_none())
    {
        return Err(RunError::Input(format!(
            "the cost is limited, and what {unknown} costs is not known: give its prices in a ModelProvider, or no limit of cost"
        )));
    }
    Ok(())
}

struct Engine<'a> {
    plan: &'a Plan,
    parts: &'a Parts,
    watch: &'a Watch<'a>,
    journal: Journal<'a>,
    state: State,
    place: Workplace<'a>,
    began: Instant,
    phase: Option<Phase>,
    /// The sandbox in whose session nothing was done but the survey.
    surveyed: Option<BootId>,
    replaced: u32,
    warnings: Vec<String>,
    no_summary: Option<String>,
}

impl<'a> Engine<'a> {
    fn new(
        plan: &'a Plan,
        parts: &'a Parts,
        watch: &'a Watch<'a>,
        journal: Journal<'a>,
        state: State,
        warning: Option<String>,
    ) -> Self {
        let mut engine = Self {
            plan,
            parts,
            watch,
            place: Workplace::new(&*parts.sandboxes, parts.stop(), journal.run()),
            journal,
            state,
            began: Instant::now(),
            phase: None,
            surveyed: None,
            replaced: 0,
            warnings: Vec::new(),
            no_summary: None,
        };
        if engine.state.finished.is_none() {
            for name in parts.redactor.weak() {
                engine.warn(&format!(
                    "{name} is too short or too common to be hidden everywhere: choose a better one"
                ));
            }
        }
        if let Some(warning) = warning {
            engine.warn(&warning);
        }
        engine
    }

    async fn drive(mut self) -> Result<Outcome, RunError> {
        let driven = self.road().await;
        // However it ended, nothing of it stays; but what somebody else goes on with is theirs.
        let theirs = match &driven {
            Err(RunError::Interrupted) => self.parts.stop().is_hand_over(),
            Err(error) => error.kind() == Kind::Overtaken,
            Ok(()) => false,
        };
        if theirs {
            self.place.leave();
        } else if let Err(error) = self.place.close().await {
            self.warn(&error.to_string());
        }
        driven?;
        let (store, layout) = (&*self.parts.store, &self.parts.layout);
        Ok(Outcome::of(
            &self.state,
            store,
            layout,
            self.no_summary.as_deref(),
        ))
    }

    /// What is next, again and again, to the last.
    async fn road(&mut self) -> Result<(), RunError> {
        loop {
            let act = next(&self.state, &self.here());
            match act {
                Act::For(role, deed) => match self.perform(role, deed).await {
                    // It leaves the catalog as it is, and is told when all is done.
                    Err(error) if role == Role::Summary && error.spares_the_run() => {
                        let message = match &error {
                            // It speaks of the catalog, which is there.
                            RunError::NoPage(failure) => failure.to_string(),
                            error => error.to_string(),
                        };
                        self.no_summary = Some(self.redact(&message));
                    }
                    performed => performed?,
                },
                Act::Finish => self.finish().await?,
                Act::Report => return self.report().await,
                Act::Fail(failure) => return Err(RunError::NoPage(failure)),
            }
        }
    }

    fn here(&self) -> Here<'_> {
        Here {
            sandbox: self.place.boot(),
            elapsed: self.elapsed(),
            no_summary: self.no_summary.as_deref(),
        }
    }

    /// Does something for an agent, and notes what came of it.
    async fn perform(&mut self, role: Role, deed: Deed) -> Result<(), RunError> {
        // Who is told to stop begins nothing new; but what is accepted is published.
        if !matches!(deed, Deed::Publish(_)) {
            self.parts.stop().check()?;
        }
        if matches!(deed, Deed::Ask | Deed::Execute { .. } | Deed::Check { .. }) {
            self.enter(role.into());
        }
        match deed {
            Deed::Prepare(stage) => self.prepare(role, stage).await,
            Deed::Begin => {
                let beginning = self.task(role).await?;
                let earlier = beginning.earlier.clone();
                self.note(Record::Began(beginning)).await?;
                (self.watch)(&Event::Began { role, earlier });
                Ok(())
            }
            Deed::Ask => self.ask(role).await,
            Deed::Execute { index, code } => self.execute(role, index, code).await,
            Deed::Check { page } => {
                let problem = self.page(role, &page).err();
                self.note(Record::Checked {
                    problem: problem.clone(),
                })
                .await?;
                (self.watch)(&Event::Checked { problem });
                Ok(())
            }
            Deed::End(failure) => self.note(Record::Ended { role, failure }).await,
            Deed::Publish(object) => self.publish(role, object).await,
        }
    }

    async fn finish(&mut self) -> Result<(), RunError> {
        let journaled = self
            .state
            .of(Role::Summary)
            .and_then(|work| work.ended.as_ref()?.1.as_ref())
            .map(ToString::to_string);
        if let Some(failure) = self.no_summary.clone().or(journaled) {
            self.warn(&format!("there is no summary: {failure}"));
        }
        let warnings = std::mem::take(&mut self.warnings);
        self.note(Record::Finished { warnings }).await
    }

    /// Writes an entry, then takes what it says as known.
    async fn note(&mut self, record: Record) -> Result<(), RunError> {
        let entry = self.journal.append(record).await?;
        let applied = self.state.apply(entry);
        applied.map_err(|problem| damaged(self.parts, self.journal.run(), problem))
    }

    /// How long the run was driven, up to now.
    fn elapsed(&self) -> Duration {
        self.state.driven_before() + self.began.elapsed().saturating_sub(self.journal.waited())
    }

    /// Tells what the run is at, once.
    fn enter(&mut self, phase: Phase) {
        if self.phase.replace(phase) != Some(phase) {
            (self.watch)(&Event::Phase(phase));
        }
    }

    fn redact(&self, text: &str) -> String {
        self.parts.redactor.redact(text).into_owned()
    }

    fn warn(&mut self, message: &str) {
        let message = self.redact(message);
        tracing::debug!(message);
        (self.watch)(&Event::Warning(message.clone()));
        self.warnings.push(message);
    }

    fn broken(&self, message: &str) -> RunError {
        damaged(self.parts, self.journal.run(), message.to_owned())
    }
}
