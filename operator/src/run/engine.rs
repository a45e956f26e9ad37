//! The road of a run: sandbox, catalog, publish, summary, publish, outcome. Each step that reaches outside is in
//! the journal before its effect is used, so a run that is cut off anywhere goes on where it was.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::context::Reader;
use super::event::{Event, Phase, Watch};
use super::journal::{self, Journal, JournalError, persist};
use super::record::{Beginning, Claim, Failure, Raised, Ran, Ready, Record};
use super::script::{self, Fate};
use super::state::State;
use super::told::told;
use super::workplace::{File, Ids, Workplace, call_id};
use super::{Parts, Plan, RunError, preflight as survey, publish, report};
use crate::agent::prompts::{Role, Value, Values};
use crate::agent::{SYSTEM, Step, budget::Spent, tools};
use crate::html;
use crate::llm::prices::Cost;
use crate::llm::{Arguments, Attempt, Class as ModelClass, ModelError, Progress, Request, Turn, Usage};
use crate::redact::Redactor;
use crate::sandbox::{Cell, Class as SandboxClass, Executed, State as VariablesState, Status, Variables};
use crate::store::preflight;
use crate::store::{Key, RunId};

/// How much of the output of a piece of code a model sees, in bytes.
const OUTPUT: u32 = 16 * 1024;
/// How often, in one attempt, a lost sandbox is replaced.
const REPLACEMENTS: u32 = 3;
/// How many names are tried for a run.
const NAMES: u32 = 100;
/// How many runs are looked through for one to go on with.
const UNFINISHED: usize = 100;
/// Opens the database as the model's code will, and leaves nothing behind.
const CONNECT: &str = "connect_database().disconnect()";

/// A run that has come to its end.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The run.
    pub run: RunId,
    /// Where its objects are, by their names, in the order in which they were written.
    pub objects: Vec<(String, String)>,
    /// Why there is no summary, if there is none.
    pub summary_failure: Option<String>,
    /// What it used.
    pub spent: Spent,
    /// How long it was driven.
    pub driven: Duration,
    /// What else there is to know.
    pub warnings: Vec<String>,
}

/// Begins a run, and drives it to its end.
pub async fn start(plan: &Plan, parts: &Parts, watch: &Watch<'_>) -> Result<Outcome, RunError> {
    check(plan, parts)?;
    watch(&Event::Phase(Phase::Preparing));
    let proof = tokio::select! {
        proof = preflight::prove(&*parts.store, &parts.layout) => proof?,
        () = parts.cancel.cancelled() => return Err(RunError::Interrupted),
    };
    let mut warnings: Vec<String> = parts
        .redactor
        .weak()
        .iter()
        .map(|name| format!("{name} is too short or too common to be hidden everywhere: choose a better one"))
        .collect();
    if let Some(leftover) = proof.leftover {
        warnings.push(format!(
            "an object of the preflight stays, and old runs can't be removed: {leftover}"
        ));
    }
    let mut from = RunId::at(SystemTime::now());
    for _ in 0..NAMES {
        let run = persist(&parts.cancel, || parts.layout.next_free(&*parts.store, from)).await?;
        let mut journal = Journal::new(
            (&*parts.store, &parts.layout),
            &parts.redactor,
            &parts.cancel,
            run,
            0,
        );
        match journal.append(Record::Claimed(claim(plan, parts, run))).await {
            Ok(entry) => {
                let state = State::new(entry).map_err(|problem| damaged(parts, run, problem))?;
                watch(&Event::Claimed {
                    run,
                    folder: parts.store.uri(&parts.layout.run_folder(run)),
                });
                return Engine::new(plan, parts, watch, journal, state, warnings)
                    .drive()
                    .await;
            }
            Err(JournalError::Overtaken { .. }) => from = run.following(),
            Err(error) => return Err(error.into()),
        }
    }
    Err(RunError::NotResumable(format!(
        "{NAMES} names from {from} on were taken by others: try again"
    )))
}

/// Goes on with a run, to its end.
pub async fn resume(plan: &Plan, parts: &Parts, run: RunId, watch: &Watch<'_>) -> Result<Outcome, RunError> {
    check(plan, parts)?;
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
    if let Some(difference) = difference(&state.claim, &wanted) {
        return Err(RunError::NotResumable(format!(
            "run {run} was begun for something else ({difference}): ask for the same, or start another run"
        )));
    }
    let mut journal = Journal::new(
        (&*parts.store, &parts.layout),
        &parts.redactor,
        &parts.cancel,
        run,
        count,
    );
    watch(&Event::Resumed {
        run,
        folder: parts.store.uri(&parts.layout.run_folder(run)),
        entries: count,
    });
    if state.finished.is_none() {
        let entry = journal.append(Record::Resumed { limits: plan.limits }).await?;
        state
            .apply(entry)
            .map_err(|problem| damaged(parts, run, problem))?;
    }
    Engine::new(plan, parts, watch, journal, state, Vec::new())
        .drive()
        .await
}

/// The newest run that was begun for the same, by the same, and has not come to its end.
pub async fn unfinished(plan: &Plan, parts: &Parts) -> Result<Option<RunId>, RunError> {
    let runs = persist(&parts.cancel, || parts.layout.journals(&*parts.store)).await?;
    for run in runs.into_iter().rev().take(UNFINISHED) {
        let first = journal::first(&*parts.store, &parts.layout, &parts.cancel, run).await;
        // What can't be read is none of ours.
        let Ok(Some(first)) = first else { continue };
        let Record::Claimed(begun) = first.record else {
            continue;
        };
        if difference(&begun, &claim(plan, parts, run)).is_some() {
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

fn claim(plan: &Plan, parts: &Parts, run: RunId) -> Claim {
    let asked = plan.asked(parts);
    Claim {
        run,
        cataloger: env!("CARGO_PKG_VERSION").to_owned(),
        installation: plan.claimant.installation.clone(),
        catalog: plan.claimant.catalog.clone(),
        fingerprint: asked.fingerprint(),
        asked,
        limits: plan.limits,
        manifest: plan.manifest.clone(),
    }
}

/// In what a run that was begun differs from what is wanted.
fn difference(begun: &Claim, wanted: &Claim) -> Option<String> {
    let differs = [
        ("the installation", begun.installation != wanted.installation),
        ("the Catalog's UID", begun.catalog != wanted.catalog),
        ("the database", begun.asked.database != wanted.asked.database),
        ("the intent", begun.asked.intent != wanted.asked.intent),
        (
            "the model",
            (&begun.asked.model, &begun.asked.fallbacks) != (&wanted.asked.model, &wanted.asked.fallbacks),
        ),
        ("the prompts", begun.asked.prompts != wanted.asked.prompts),
        ("the tables", begun.fingerprint != wanted.fingerprint),
    ];
    differs
        .into_iter()
        .find(|(_, differs)| *differs)
        .map(|(what, _)| format!("{what} of it is another"))
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
}

impl<'a> Engine<'a> {
    fn new(
        plan: &'a Plan,
        parts: &'a Parts,
        watch: &'a Watch<'a>,
        journal: Journal<'a>,
        state: State,
        warnings: Vec<String>,
    ) -> Self {
        for warning in &warnings {
            watch(&Event::Warning(warning.clone()));
        }
        Self {
            plan,
            parts,
            watch,
            place: Workplace::new(&*parts.sandboxes, &parts.cancel, journal.run()),
            journal,
            state,
            began: Instant::now(),
            replaced: 0,
            warnings,
        }
    }

    async fn drive(mut self) -> Result<Outcome, RunError> {
        let driven = self.road().await;
        // However it ended, nothing of it stays.
        if let Err(error) = self.place.close().await {
            self.warn(&error.to_string());
        }
        driven?;
        Ok(self.outcome())
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
        let mut text =
            serde_json::to_string_pretty(&report).map_err(|error| self.broken(&error.to_string()))?;
        text.push('\n');
        let key = self.parts.layout.run(self.journal.run());
        let published = self.write(&key, text).await?;
        self.published(&key, published.bytes);
        Ok(())
    }

    async fn catalog(&mut self) -> Result<(), RunError> {
        let page = self.page(Role::Cataloging, Phase::Cataloging).await?;
        let run = self.journal.run();
        let layout = &self.parts.layout;
        let (script, catalog) = (layout.catalog_script(run), layout.catalog(run));
        // The page last: who sees it sees all that belongs to it.
        self.publish(&script, self.script(Role::Cataloging)).await?;
        self.publish(&catalog, page).await
    }

    /// A summary that fails leaves the catalog as it is.
    async fn summarize(&mut self) -> Result<(), RunError> {
        let role = Role::Summary;
        match self.page(role, Phase::Summarizing).await {
            Ok(page) => {
                let run = self.journal.run();
                let layout = &self.parts.layout;
                let (script, summary) = (layout.summary_script(run), layout.summary(run));
                self.publish(&script, self.script(role)).await?;
                self.publish(&summary, page).await
            }
            Err(error) if error.spares_the_run() => {
                let message = self.parts.redactor.redact(&error.to_string()).into_owned();
                let ended = self.state.of(role).map(|work| work.ended.is_some());
                if ended == Some(false) {
                    let failure = Some(Failure::Trouble(message.clone()));
                    self.note(Record::Ended { role, failure }).await?;
                }
                self.warn(&format!(
                    "the catalog is published, but there is no summary: {message}"
                ));
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Lets an agent work until it has handed in its page, or has now.
    async fn page(&mut self, role: Role, phase: Phase) -> Result<String, RunError> {
        if let Some(work) = self.state.of(role) {
            match (work.page(), &work.ended) {
                (Some(page), Some(_)) => return Ok(page.to_owned()),
                (_, Some((_, Some(failure)))) => return Err(RunError::NoPage(failure.clone())),
                _ => {}
            }
        }
        if role == Role::Cataloging {
            // Before anything is paid for: is there a sandbox, and does it reach the database?
            self.make_ready(role).await?;
        }
        if self.state.of(role).is_none() {
            let beginning = self.task(role).await?;
            (self.watch)(&Event::Began {
                role,
                earlier: beginning.earlier.clone(),
            });
            self.note(Record::Began(beginning)).await?;
        }
        self.make_ready(role).await?;
        (self.watch)(&Event::Phase(phase));
        let failure = loop {
            if self.parts.cancel.is_cancelled() {
                return Err(RunError::Interrupted);
            }
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
                    (self.watch)(&Event::Checked {
                        problem: problem.clone(),
                    });
                    self.note(Record::Checked { problem }).await?;
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

    /// What an agent is told: the prompt with its inputs.
    async fn task(&self, role: Role) -> Result<Beginning, RunError> {
        let run = self.journal.run();
        let reader = self.reader();
        let earlier = reader.earlier(run).await?;
        let prompt = self.parts.prompts.get(role);
        let limits = match role {
            Role::Cataloging => self.state.limits.of_catalog(),
            Role::Summary => self.state.limits.after(&self.state.spent()),
        };
        let mut values = Values::new();
        values.insert("run", run.readable().into());
        values.insert("intent", self.plan.intent.clone().unwrap_or_default().into());
        values.insert("execute_seconds", self.plan.cell.timeout.as_secs().into());
        values.insert("max_turns", limits.turns.into());
        values.insert("max_tokens", limits.tokens.into());
        match role {
            Role::Cataloging => {
                let past = reader.past(&earlier).await?;
                values.insert("dialect", self.plan.database.kind().into());
                values.insert("tables", self.tables().into());
                values.insert("max_rows", self.plan.cell.max_rows.into());
                values.insert("previous_catalog", past.catalog.into());
                values.insert("previous_summary", past.summary.into());
                values.insert("previous_script", past.script.into());
                values.insert("comments", past.comments.into());
            }
            Role::Summary => {
                values.insert("current", file_name(run).into());
                values.insert(
                    "earlier",
                    Value::List(earlier.iter().copied().map(file_name).collect()),
                );
                values.insert("comments", reader.comments(&earlier).await?.into());
            }
        }
        // A prompt of one's own may ask for less.
        values.retain(|name, _| prompt.takes(name));
        let task = self.parts.redactor.redact(&prompt.render(&values)?).into_owned();
        Ok(Beginning { role, task, earlier })
    }

    fn reader(&self) -> Reader<'a> {
        Reader {
            store: &*self.parts.store,
            layout: &self.parts.layout,
            cancel: &self.parts.cancel,
        }
    }

    /// Sees to it that there is a sandbox with all that an agent has made in it.
    async fn make_ready(&mut self, role: Role) -> Result<(), RunError> {
        loop {
            match self.prepare(role).await {
                Err(RunError::Sandbox(error))
                    if error.class() == SandboxClass::Rebuild && self.replaced < REPLACEMENTS =>
                {
                    self.replace(&error.to_string()).await;
                }
                result => return result,
            }
        }
    }

    async fn prepare(&mut self, role: Role) -> Result<(), RunError> {
        let known = self.state.ready.clone();
        let env = self.variables(role);
        if self.place.is_empty() {
            (self.watch)(&Event::Phase(Phase::Provisioning));
        }
        let boot = self
            .place
            .open(known.as_ref().map(|ready| &ready.boot), &env)
            .await?;
        if known.is_some_and(|ready| ready.boot == boot && ready.role == role) {
            return Ok(());
        }
        let mut ids = Ids::before(self.journal.next());
        self.place.reset(&mut ids, &env).await?;
        match role {
            Role::Cataloging if self.state.survey.is_none() => self.survey(&mut ids).await?,
            Role::Cataloging => self.connect(&mut ids).await?,
            Role::Summary => {
                for file in self.files().await? {
                    self.place.put(&mut ids, &file).await?;
                }
            }
        }
        let cells = self.state.of(role).map_or(&[][..], |work| work.living_cells());
        let notice = if cells.is_empty() {
            None
        } else {
            (self.watch)(&Event::Rebuilding { cells: cells.len() });
            self.place
                .rebuild(&mut ids, cells, &self.cell(String::new()))
                .await?
        };
        let notice = notice.map(|notice| self.parts.redactor.redact(&notice).into_owned());
        self.note(Record::Ready(Ready { role, boot, notice })).await
    }

    /// Finds out whether the database is fit for the run, and which tables are meant.
    async fn survey(&mut self, ids: &mut Ids) -> Result<(), RunError> {
        let cell = survey::cell(&self.plan.tables, self.plan.allow_writable);
        let executed = self.place.try_out(ids, &cell).await?;
        let Some(mut document) = survey::document(&executed.output) else {
            return Err(self.not_opened(executed));
        };
        self.parts.redactor.redact_json(&mut document);
        let survey = survey::read(document).map_err(|problem| RunError::Database {
            message: self.redact(&format!("the survey of it can't be read: {problem}")),
        })??;
        if let Some(risk) = survey.risk() {
            self.warn(&risk);
        }
        (self.watch)(&Event::Surveyed(survey.clone()));
        self.note(Record::Surveyed(survey)).await
    }

    /// Opens the database as the model's code will. It was surveyed before.
    async fn connect(&self, ids: &mut Ids) -> Result<(), RunError> {
        let executed = self.place.try_out(ids, &Cell::new(CONNECT)).await?;
        if executed.ok {
            return Ok(());
        }
        Err(self.not_opened(executed))
    }

    fn not_opened(&self, executed: Executed) -> RunError {
        let message = executed.error.map_or_else(
            || {
                executed
                    .detail
                    .unwrap_or_else(|| executed.status.as_str().to_owned())
            },
            |raised| {
                let first = raised
                    .message
                    .trim()
                    .lines()
                    .next()
                    .unwrap_or_default()
                    .to_owned();
                format!("{}: {first}", raised.name)
            },
        );
        RunError::Database {
            message: self.redact(&message),
        }
    }

    /// The tables that an agent is to document.
    fn tables(&self) -> Vec<String> {
        let survey = self.state.survey.as_ref();
        survey.map_or_else(|| self.plan.tables.clone(), survey::Survey::names)
    }

    /// Only who catalogs sees the database.
    fn variables(&self, role: Role) -> Variables {
        let mut env = Variables::new();
        if role == Role::Cataloging {
            env.insert("DATABASE_URL", self.plan.database.url().clone());
        }
        env
    }

    /// The catalogs that the summary is made from.
    async fn files(&self) -> Result<Vec<File>, RunError> {
        let run = self.journal.run();
        let earlier = self
            .state
            .of(Role::Summary)
            .map_or(&[][..], |work| &work.beginning.earlier);
        let mut files = Vec::new();
        for run in std::iter::once(run).chain(earlier.iter().copied()) {
            // One that was removed meanwhile is missed by the code that looks for it, and the model sees that.
            if let Some(content) = self.reader().catalog(run).await? {
                files.push(File {
                    path: file_name(run),
                    content,
                });
            }
        }
        Ok(files)
    }

    /// Lets go of a lost sandbox.
    async fn replace(&mut self, problem: &str) {
        self.replaced += 1;
        self.warn(&format!("the sandbox is replaced: {problem}"));
        self.place.discard().await;
    }

    async fn ask(&mut self, role: Role) -> Result<(), RunError> {
        let Some(work) = self.state.of(role) else {
            return Err(self.broken("no agent is at work"));
        };
        let agent = &work.agent;
        let (limits, spent) = (agent.limits(), agent.spent());
        (self.watch)(&Event::Asking {
            turn: spent.turns + 1,
            of: limits.turns,
        });
        let prices = &self.parts.prices;
        let again = |attempts: &[Attempt]| {
            let mut with = spent;
            for attempt in attempts {
                let price = prices.get(&attempt.asked);
                with.add(attempt.spent, price.map(|price| price.cost(attempt.spent)));
            }
            limits.used_up(&with, Duration::ZERO).is_none()
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
        let mut progress = |progress: Progress| {
            if let Some(event) = clean_progress(progress, redactor, &mut text) {
                watch(&Event::Model(event));
            }
        };
        let answer = tokio::select! {
            answer = self.parts.model.complete(&request, &mut progress) => answer,
            () = self.parts.cancel.cancelled() => return Err(RunError::Interrupted),
        };
        match answer {
            Ok(mut turn) => {
                clean_turn(&mut turn, redactor);
                let cost = prices.cost_of(&turn);
                let text = turn.text.clone();
                self.note(Record::Answered { turn, cost }).await?;
                (self.watch)(&Event::Answered {
                    text,
                    spent: self.state.spent(),
                    limits: self.state.limits,
                });
                Ok(())
            }
            Err(error) => self.unanswered(role, error).await,
        }
    }

    async fn unanswered(&mut self, role: Role, error: ModelError) -> Result<(), RunError> {
        let mut attempts = match &error {
            ModelError::Exhausted { attempts, .. } => attempts.clone(),
            error => vec![Attempt {
                asked: self.parts.model.spec().clone(),
                problem: error.to_string(),
                spent: error.spent(),
                waited: Duration::ZERO,
            }],
        };
        for attempt in &mut attempts {
            attempt.problem = self.redact(&attempt.problem);
        }
        let cost = attempts
            .iter()
            .filter(|attempt| attempt.spent != Usage::default())
            .map(|attempt| Some(self.parts.prices.get(&attempt.asked)?.cost(attempt.spent)))
            .sum::<Option<Cost>>();
        let problem = self.redact(&error.to_string());
        self.note(Record::Unanswered {
            problem,
            attempts,
            cost,
        })
        .await?;
        if error.class() == ModelClass::Shorten {
            // If nothing can be left out any more, the agent gives up.
            return self.note(Record::Shortened).await;
        }
        let over = self
            .state
            .of(role)
            .is_some_and(|work| matches!(work.agent.next(self.elapsed()), Step::GiveUp(_)));
        // That is why it was not asked again.
        if over { Ok(()) } else { Err(error.into()) }
    }

    async fn execute(&mut self, role: Role, index: usize, code: String) -> Result<(), RunError> {
        (self.watch)(&Event::Running { code: code.clone() });
        let id = call_id(self.state.calls_from(), index);
        let cell = self.cell(code.clone());
        let watch = self.watch;
        let mut stream = self.parts.redactor.stream();
        let mut output = |chunk: crate::sandbox::Chunk| {
            let text = stream.push(&chunk.text);
            if !text.is_empty() {
                watch(&Event::Output(text));
            }
        };
        let began = Instant::now();
        let ran = match self.place.execute(id, &cell, &mut output).await {
            Ok(executed) => Ran {
                told: self.redact(&told(&executed)),
                code,
                status: Some(executed.status),
                state: executed.state,
                raised: executed.error.map(|raised| Raised {
                    name: self.redact(&raised.name),
                    message: self.redact(crate::llm::cut(&raised.message, 500).as_str()),
                }),
                milliseconds: executed.duration_ms,
            },
            Err(RunError::Sandbox(error))
                if error.class() == SandboxClass::Rebuild && self.replaced < REPLACEMENTS =>
            {
                self.replace(&error.to_string()).await;
                // It may be what broke the sandbox: it is not run again.
                Ran {
                    code,
                    told: "[The sandbox was lost while this code ran, so its result is not known. A new one is being \
                           made, and your earlier code is run there again. Files are gone. If this code needs much \
                           memory or many processes, do it with less.]"
                        .to_owned(),
                    status: None,
                    state: VariablesState::Kept,
                    raised: None,
                    milliseconds: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
                }
            }
            Err(error) => return Err(error),
        };
        (self.watch)(&Event::Ran {
            ok: ran.ok(),
            told: ran.told.clone(),
            took: Duration::from_millis(ran.milliseconds),
        });
        let lost = ran.status.is_none();
        self.note(Record::Ran(ran)).await?;
        if lost {
            return self.make_ready(role).await;
        }
        self.place.acknowledge(id).await;
        Ok(())
    }

    fn cell(&self, code: String) -> Cell {
        let left = self.state.limits.time.saturating_sub(self.elapsed());
        Cell {
            timeout: self.plan.cell.timeout.min(left.max(Duration::from_secs(1))),
            max_rows: self.plan.cell.max_rows,
            output_limit: OUTPUT,
            ..Cell::new(code)
        }
    }

    /// What is wrong with a page, for the model.
    fn problem(&self, role: Role, page: &str) -> Option<String> {
        let rules = match role {
            Role::Cataloging => html::Rules::CATALOG,
            Role::Summary => html::Rules::SUMMARY,
        };
        let refusal = html::check(page, &rules).err()?;
        Some(self.redact(&refusal.to_string()))
    }

    fn script(&self, role: Role) -> String {
        let cells: Vec<script::Ran<'_>> = self
            .state
            .of(role)
            .map_or(&[][..], |work| &work.cells)
            .iter()
            .zip(1..)
            .map(|(ran, number)| script::Ran {
                number,
                code: &ran.code,
                fate: fate(ran),
            })
            .collect();
        let kind = match role {
            Role::Cataloging => script::Kind::Catalog,
            Role::Summary => script::Kind::Summary,
        };
        let asked = &self.state.claim.asked;
        let (tables, model) = (asked.tables.join(", "), asked.model.to_string());
        let facts = [
            ("Database", asked.database.as_str()),
            ("Tables", tables.as_str()),
            ("Model", model.as_str()),
        ];
        script::script(kind, self.journal.run(), &facts, &cells)
    }

    async fn publish(&mut self, key: &Key, content: String) -> Result<(), RunError> {
        if self.state.is_published(key.name()) {
            return Ok(());
        }
        let published = self.write(key, content).await?;
        let bytes = published.bytes;
        self.note(Record::Published(published)).await?;
        self.published(key, bytes);
        Ok(())
    }

    async fn write(&self, key: &Key, content: String) -> Result<super::record::Published, RunError> {
        // It was redacted where it came from; nothing leaves that was not looked at once more.
        let content = self.redact(&content);
        publish::publish(
            &*self.parts.store,
            &self.parts.cancel,
            self.journal.run(),
            key,
            content,
        )
        .await
    }

    fn published(&self, key: &Key, bytes: u64) {
        (self.watch)(&Event::Published {
            name: key.name().to_owned(),
            uri: self.parts.store.uri(key),
            bytes,
        });
    }

    /// Writes an entry, then takes what it says as known.
    async fn note(&mut self, record: Record) -> Result<(), RunError> {
        let entry = self.journal.append(record).await?;
        let applied = self.state.apply(entry);
        applied.map_err(|problem| damaged(self.parts, self.journal.run(), problem))
    }

    /// How long the run was driven, up to now.
    fn elapsed(&self) -> Duration {
        self.state.driven_before() + self.began.elapsed()
    }

    fn redact(&self, text: &str) -> String {
        self.parts.redactor.redact(text).into_owned()
    }

    fn warn(&mut self, message: &str) {
        let message = self.redact(message);
        tracing::warn!(message);
        (self.watch)(&Event::Warning(message.clone()));
        self.warnings.push(message);
    }

    fn broken(&self, message: &str) -> RunError {
        damaged(self.parts, self.journal.run(), message.to_owned())
    }

    fn outcome(&self) -> Outcome {
        let run = self.journal.run();
        let folder = self.parts.layout.run_folder(run);
        let mut names: Vec<String> = self.state.published.iter().map(|it| it.name.clone()).collect();
        names.push(self.parts.layout.run(run).name().to_owned());
        let failure = self
            .state
            .of(Role::Summary)
            .and_then(|work| work.ended.clone()?.1);
        Outcome {
            run,
            objects: names
                .into_iter()
                .map(|name| {
                    let uri = self.parts.store.uri(&folder);
                    let uri = format!("{uri}/{name}");
                    (name, uri)
                })
                .collect(),
            summary_failure: failure.map(|failure| failure.to_string()).or_else(|| {
                (!self.state.is_published("recent_summary.html")).then(|| "it was not begun".to_owned())
            }),
            spent: self.state.spent(),
            driven: self.state.driven(),
            warnings: self
                .state
                .finished
                .as_ref()
                .map_or_else(Vec::new, |finish| finish.warnings.clone()),
        }
    }
}

/// As the files lie in a directory of earlier catalogs.
fn file_name(run: RunId) -> String {
    format!("{run}/catalog.html")
}

fn fate(ran: &Ran) -> Fate<'_> {
    match (ran.status, &ran.raised) {
        (Some(Status::Ok), _) => Fate::Ok,
        (Some(Status::Error), Some(raised)) => Fate::Raised {
            name: &raised.name,
            message: &raised.message,
        },
        (Some(Status::Timeout), _) => Fate::NotFinished("took too long and was interrupted; not run again"),
        (Some(Status::Interrupted), _) => Fate::NotFinished("was interrupted; not run again"),
        (Some(Status::OutOfMemory), _) => Fate::NotFinished("used too much memory; not run again"),
        (Some(Status::TooManyProcesses), _) => Fate::NotFinished("started too many processes; not run again"),
        (Some(Status::Unavailable), _) => Fate::NotFinished("was not run, since there was no session"),
        (Some(_), _) => Fate::NotFinished("ended its session; not run again"),
        (None, _) => Fate::NotFinished("was lost with its sandbox; not run again"),
    }
}

/// Without secrets. If there was one, what is signed or can't be looked into goes, too.
fn clean_turn(turn: &mut Turn, redactor: &Redactor) {
    let mut changed = turn
        .raw
        .as_ref()
        .is_some_and(|raw| !redactor.is_clean(raw.as_str()));
    let mut clean = |text: &mut String| {
        if let Cow::Owned(cleaned) = redactor.redact(text) {
            *text = cleaned;
            changed = true;
        }
    };
    clean(&mut turn.text);
    clean(&mut turn.model);
    turn.stop_detail.iter_mut().for_each(&mut clean);
    turn.request_id.iter_mut().for_each(&mut clean);
    for attempt in &mut turn.attempts {
        clean(&mut attempt.problem);
    }
    for call in &mut turn.tool_calls {
        clean(&mut call.id);
        clean(&mut call.name);
        match &mut call.arguments {
            Arguments::Given(given) => {
                let mut value = serde_json::Value::Object(std::mem::take(given));
                redactor.redact_json(&mut value);
                if let serde_json::Value::Object(cleaned) = value {
                    *given = cleaned;
                }
            }
            Arguments::Malformed { problem, text } => {
                clean(problem);
                clean(text);
            }
        }
    }
    // What is in the arguments is in the raw form as well.
    if changed {
        turn.forget_raw();
    }
}

fn clean_progress(
    progress: Progress,
    redactor: &Redactor,
    text: &mut crate::redact::RedactedStream,
) -> Option<Progress> {
    let clean = |problem: String| redactor.redact(&problem).into_owned();
    Some(match progress {
        Progress::Text(piece) => {
            let piece = text.push(&piece);
            if piece.is_empty() {
                return None;
            }
            Progress::Text(piece)
        }
        Progress::Call { name } => Progress::Call { name: clean(name) },
        Progress::Retrying {
            model,
            problem,
            after,
        } => Progress::Retrying {
            model,
            problem: clean(problem),
            after,
        },
        Progress::FellBack { from, to, problem } => Progress::FellBack {
            from,
            to,
            problem: clean(problem),
        },
        other => other,
    })
}
