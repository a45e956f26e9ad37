//! The road of a run: sandbox, catalog, publish, summary, publish, outcome. Each step that reaches outside is in
//! the journal before its effect is used, so a run that is cut off anywhere goes on where it was.

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
use super::outcome::{Outcome, SoFar};
use super::record::{Failure, Record};
use super::state::State;
use super::workplace::Workplace;
use super::{Kind, Parts, Plan, RunError, report, sha256};
use crate::agent::Step;
use crate::agent::prompts::Role;
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

    async fn road(&mut self) -> Result<(), RunError> {
        if self.state.finished.is_none() {
            self.catalog().await?;
            self.summarize().await?;
            let warnings = std::mem::take(&mut self.warnings);
            self.note(Record::Finished { warnings }).await?;
        }
        let Some(report) = report::report(&self.state) else {
            return Err(self.broken("the run is not finished"));
        };
        // Redacted as values: as a text it might be no JSON any more.
        let mut report = serde_json::to_value(&report).map_err(|error| self.broken(&error.to_string()))?;
        self.parts.redactor.redact_json(&mut report);
        let key = self.parts.layout.run(self.journal.run());
        self.report(&key, format!("{report:#}\n")).await
    }

    async fn catalog(&mut self) -> Result<(), RunError> {
        let page = self.page(Role::Cataloging).await?;
        let run = self.journal.run();
        let layout = &self.parts.layout;
        let (script, catalog) = (layout.catalog_script(run), layout.catalog(run));
        // The page last: who sees it sees all that belongs to it.
        self.publish(&script, self.script(Role::Cataloging)).await?;
        match self.fit(Role::Cataloging, &page, &catalog)? {
            Some(page) => self.publish(&catalog, page).await,
            None => Ok(()),
        }
    }

    /// A summary that fails leaves the catalog as it is.
    async fn summarize(&mut self) -> Result<(), RunError> {
        let role = Role::Summary;
        let page = self.page(role).await;
        let summary = self.parts.layout.summary(self.journal.run());
        match page.and_then(|page| self.fit(role, &page, &summary)) {
            Ok(page) => {
                let script = self.parts.layout.summary_script(self.journal.run());
                self.publish(&script, self.script(role)).await?;
                match page {
                    Some(page) => self.publish(&summary, page).await,
                    None => Ok(()),
                }
            }
            Err(error) if error.spares_the_run() => {
                let message = match &error {
                    // It speaks of the catalog, which is there.
                    RunError::NoPage(failure) => failure.to_string(),
                    error => error.to_string(),
                };
                let message = self.redact(&message);
                let ended = self.state.of(role).map(|work| work.ended.is_some());
                if ended == Some(false) {
                    let failure = Some(Failure::Trouble(message.clone()));
                    self.note(Record::Ended { role, failure }).await?;
                }
                self.warn(&format!("there is no summary: {message}"));
                self.no_summary = Some(message);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Lets an agent work until it has handed in its page, or has now.
    async fn page(&mut self, role: Role) -> Result<String, RunError> {
        if let Some(work) = self.state.of(role) {
            match (work.page(), &work.ended) {
                (Some(page), Some(_)) => return Ok(page.to_owned()),
                (_, Some((_, Some(failure)))) => return Err(RunError::NoPage(failure.clone())),
                // What needs no sandbox gets none.
                _ => match work.agent.next(self.elapsed()) {
                    Step::Done { .. } | Step::GiveUp(_) => return self.work(role).await,
                    _ => {}
                },
            }
        }
        if role == Role::Cataloging {
            // Before anything is paid for: is there a sandbox, and does it reach the database?
            self.make_ready(role).await?;
        }
        if self.state.of(role).is_none() {
            let beginning = self.task(role).await?;
            let earlier = beginning.earlier.clone();
            self.note(Record::Began(beginning)).await?;
            (self.watch)(&Event::Began { role, earlier });
        }
        self.make_ready(role).await?;
        (self.watch)(&Event::Phase(role.into()));
        self.work(role).await
    }

    /// Does what the agent wants, until it is done or gives up.
    async fn work(&mut self, role: Role) -> Result<String, RunError> {
        let failure = loop {
            self.parts.stop().check()?;
            let elapsed = self.elapsed();
            let Some(work) = self.state.of(role) else {
                return Err(self.broken("no agent is at work"));
            };
            match work.agent.next(elapsed) {
                Step::Ask => self.ask(role).await?,
                Step::Execute { index, code } => {
                    let code = code.to_owned();
                    self.execute(role, index, code).await?;
                }
                Step::Check { page, .. } => {
                    let problem = self.problem(role, page);
                    self.note(Record::Checked {
                        problem: problem.clone(),
                    })
                    .await?;
                    (self.watch)(&Event::Checked { problem });
                }
                Step::Done { page } => {
                    let page = page.to_owned();
                    self.note(Record::Ended { role, failure: None }).await?;
                    return Ok(page);
                }
                Step::GiveUp(defeat) => break Failure::Defeat(defeat),
            }
        };
        let ended = Record::Ended {
            role,
            failure: Some(failure.clone()),
        };
        self.note(ended).await?;
        Err(RunError::NoPage(failure))
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
